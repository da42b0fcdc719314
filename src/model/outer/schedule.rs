//! The outer learning rate of a step. Owns the schedules, and the sine that one of them needs; does not know what the rate is
//! for.

use std::f64::consts::FRAC_PI_2;

use super::{Outer, OuterOptimiser, OuterSchedule};
use crate::model::optimise::rate_least;
use crate::model::recipe::Optimiser;
use crate::model::thresholds::cut;

impl Outer {
    /// The learning rate of a step of a job of so many steps, or rounds where each is one: +0 where the step changes nothing, because what its schedule
    /// leaves of the rate is less than the optimiser's least.
    pub fn rate(&self, step: u64, steps: u64) -> f32 {
        let part = match self.schedule {
            OuterSchedule::Constant => 1.0,
            OuterSchedule::Cosine => cosine_part(step, steps),
        };
        cut((f64::from(self.eta) * part) as f32, rate_least(self.optimiser.rule()))
    }

    /// Steps whose rate changes something, of the first `done` of a job of so many steps: updates that have been made of its weights,
    /// or where some steps merged nothing, the most that can have been. Rates never rise.
    pub fn updates_within(&self, done: u64, steps: u64) -> u64 {
        if self.is_average() {
            return 0;
        }
        let (mut moving, mut end) = (0, done);
        while moving < end {
            let middle = moving + (end - moving) / 2;
            if self.rate(middle, steps) > 0.0 {
                moving = middle + 1;
            } else {
                end = middle;
            }
        }
        moving
    }
}

impl OuterOptimiser {
    /// The optimiser of a task whose thresholds it has.
    fn rule(self) -> Optimiser {
        match self {
            OuterOptimiser::Average | OuterOptimiser::Momentum | OuterOptimiser::Nesterov => Optimiser::Momentum,
            OuterOptimiser::Adam => Optimiser::Adam,
        }
    }
}

/// (1 + cos(pi s / S)) / 2 for a step s below S: with a relative error of at most 2^-50, and exactly 1 for step 0. By the sine of
/// half the angle, or of half its supplement, whichever is at most pi / 4: the rate of the last steps is as exact as that of
/// the first.
fn cosine_part(step: u64, steps: u64) -> f64 {
    let is_early = 2 * step < steps;
    let place = if is_early { step } else { steps.saturating_sub(step) };
    let sine = sine(place as f64 / steps as f64 * FRAC_PI_2);
    if is_early { 1.0 - sine * sine } else { sine * sine }
}

/// -1/3!, 1/5!, …, 1/17!.
const SINE_TERMS: [f64; 8] = [
    -1.0 / 6.0,
    1.0 / 120.0,
    -1.0 / 5_040.0,
    1.0 / 362_880.0,
    -1.0 / 39_916_800.0,
    1.0 / 6_227_020_800.0,
    -1.0 / 1_307_674_368_000.0,
    1.0 / 355_687_428_096_000.0,
];

/// The sine of 0 to pi / 4: the first terms of its series, from the last to the first. No library's: they differ.
fn sine(x: f64) -> f64 {
    let square = x * x;
    let series = SINE_TERMS.iter().rev().fold(0.0, |sum, term| sum * square + term);
    x + x * (square * series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ROUNDS_MAX;

    #[test]
    fn the_part_that_a_cosine_leaves_is_within_its_bound_and_falls_from_step_to_step() {
        for steps in [1, 2, 3, 40, 41, 1_000, u64::from(ROUNDS_MAX), 1 << 24] {
            let mut before = f64::INFINITY;
            let mut worst = 0.0f64;
            for step in (0..steps).filter(|step| steps < 10_000 || step % 997 < 2 || step + 999 > steps) {
                let part = cosine_part(step, steps);
                assert!(part < before && part > 0.0, "{step} of {steps}");
                before = part;
                let exact = (step as f64 / steps as f64 * FRAC_PI_2).cos().powi(2);
                // The cosine near pi / 2 is as good as its argument, and no better.
                let exact = if 2 * step < steps {
                    exact
                } else {
                    ((steps - step) as f64 / steps as f64 * FRAC_PI_2).sin().powi(2)
                };
                worst = worst.max((part - exact).abs() / (exact * f64::EPSILON));
            }
            assert!(worst <= 4.0, "{worst} of {steps}");
        }
        assert_eq!(cosine_part(0, 7), 1.0);
    }

    #[test]
    fn a_rate_below_the_least_is_plus_zero_and_steps_with_one_are_counted() {
        let outer = |optimiser, eta| Outer { optimiser, eta, schedule: OuterSchedule::Cosine, ..Outer::AVERAGE };
        let adam = outer(OuterOptimiser::Adam, 1e-12);
        assert!(adam.rate(0, 10) > 0.0);
        assert_eq!(adam.rate(9, 10).to_bits(), 0);
        let moving = (0..10).filter(|step| adam.rate(*step, 10) > 0.0).count() as u64;
        for (steps, expected) in [(0, 0), (1, 1), (10, moving), (moving, moving), (moving - 1, moving - 1)] {
            assert_eq!(adam.updates_within(steps, 10), expected);
        }
        assert_eq!(outer(OuterOptimiser::Momentum, 1e-12).updates_within(10, 10), 10);
        assert_eq!(outer(OuterOptimiser::Average, 1.0).updates_within(10, 10), 0);
        assert_eq!(Outer { schedule: OuterSchedule::Constant, ..adam }.rate(9, 10), 1e-12);
    }
}

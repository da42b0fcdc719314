//! How a learning rate goes over the steps of a job: how it rises, by which schedule it falls, and in which steps there is one at all.
//! Owns the schedules, and the sine that two of them need; does not know what the rate is for.

use std::f64::consts::FRAC_PI_2;

use super::named::named;
use super::thresholds::cut;

/// Rounds of a job, at most: the steps of which the learning rate is defined.
pub const ROUNDS_MAX: u32 = 1_000_000;
/// Steps of a job, at most: a line of each is kept.
pub const STEPS_MAX: u64 = 1 << 24;

/// How a learning rate goes over a job's steps, once it has risen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Schedule {
    /// It stays, or falls by its decay alone.
    #[default]
    Constant = 1,
    /// It falls along half a wave of the cosine, to nearly nothing in the last step.
    Cosine = 2,
    /// It stays for half of the steps, and then falls along half a wave of the cosine.
    FlatCosine = 3,
}

impl Schedule {
    /// All of them, in the order of their numbers, from 1 on.
    pub const ALL: [Schedule; 3] = [Schedule::Constant, Schedule::Cosine, Schedule::FlatCosine];
}

named!(Schedule: Constant "constant", Cosine "cosine", FlatCosine "flat_cosine");

/// All that the learning rate of a step depends on.
pub(super) struct Course {
    /// The rate at its height.
    pub eta: f32,
    /// From step to step, once it has risen, it is this part of the one before, whatever the schedule.
    pub decay: f32,
    pub schedule: Schedule,
    /// Steps in which it rises.
    pub warmup: u32,
    /// The steps that the schedule goes over, those in which it rises among them. Of no matter where it is constant.
    pub steps: u64,
    /// A rate below this is none.
    pub least: f32,
}

impl Course {
    /// The learning rate of a step: +0 where the step trains nothing, because there is less than the least of it.
    pub fn rate(&self, step: u64) -> f32 {
        cut((f64::from(self.eta) * self.part(step)) as f32, self.least)
    }

    /// What of the rate a step has.
    fn part(&self, step: u64) -> f64 {
        let warmup = u64::from(self.warmup);
        if step < warmup {
            return (step + 1) as f64 / (warmup + 1) as f64;
        }
        let (step, steps) = (step - warmup, self.steps.saturating_sub(warmup));
        let of_schedule = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Cosine => cosine_part(step, steps),
            Schedule::FlatCosine if step < steps / 2 => 1.0,
            Schedule::FlatCosine => cosine_part(step - steps / 2, steps - steps / 2),
        };
        power(f64::from(self.decay), step) * of_schedule
    }

    /// The first of so many steps from which on none has a rate, if there is one.
    pub fn first_step_without(&self, steps: u64) -> Option<u64> {
        let height = u64::from(self.warmup).min(steps.checked_sub(1)?);
        let first = first_where(height, steps, |step| self.rate(step) == 0.0);
        // A schedule that is over by then leaves the rate at its height nothing of what the steps before have.
        if first == height && (height == 0 || self.rate(height - 1) == 0.0) {
            return Some(0);
        }
        (first < steps).then_some(first)
    }

    /// Steps, of the first `done`, that have a rate.
    pub fn steps_with(&self, done: u64) -> u64 {
        let risen = done.min(self.warmup.into());
        let rising = risen - first_where(0, risen, |step| self.rate(step) > 0.0);
        rising + first_where(risen, done, |step| self.rate(step) == 0.0) - risen
    }
}

/// The first step from `start` to below `end` of which something holds that holds of all behind it; `end` where it does of none.
fn first_where(start: u64, end: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut start, mut end) = (start, end);
    while start < end {
        let middle = start + (end - start) / 2;
        if holds(middle) {
            end = middle;
        } else {
            start = middle + 1;
        }
    }
    start
}

/// A factor, so many times, by squaring: each product is rounded, in the order of docs/arithmetic.md.
fn power(factor: f64, times: u64) -> f64 {
    let (mut power, mut square, mut left) = (1.0, factor, times);
    // The power of 1, which most rates have, is 1.
    while left > 0 && factor != 1.0 {
        if left % 2 == 1 {
            power *= square;
        }
        square *= square;
        left /= 2;
    }
    power
}

/// The decay from step to step that comes to this one, or to a little more, in so many steps: the greatest f32 whose power is no
/// greater. By products alone, so that it is the same on every machine.
#[cfg(feature = "client")]
pub fn decay_of_step(decay: f32, steps: u32) -> f32 {
    let is_less = |bits: u64| power(f32::from_bits(bits as u32).into(), steps.into()) <= f64::from(decay);
    let first_above = first_where(0, u64::from(1.0f32.to_bits()) + 1, |bits| !is_less(bits));
    f32::from_bits(first_above.saturating_sub(1) as u32)
}

/// (1 + cos(pi s / S)) / 2 for a step s below S: with a relative error of at most 2^-50, exactly 1 for step 0, and 0 behind the last. By
/// the sine of half the angle, or of half its supplement, whichever is at most pi / 4: the rate of the last steps is as exact as that
/// of the first.
fn cosine_part(step: u64, steps: u64) -> f64 {
    if step >= steps {
        return 0.0;
    }
    let is_early = 2 * step < steps;
    let place = if is_early { step } else { steps - step };
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
        assert_eq!((cosine_part(0, 7), cosine_part(7, 7), cosine_part(0, 0)), (1.0, 0.0, 0.0));
    }

    fn course(schedule: Schedule, warmup: u32, steps: u64) -> Course {
        Course { eta: 0.5, decay: 1.0, schedule, warmup, steps, least: 1e-12 }
    }

    #[test]
    fn a_rate_rises_to_its_height_stays_where_it_is_flat_and_falls_behind() {
        let rates = |course: Course, steps| -> Vec<f32> { (0..steps).map(|step| course.rate(step)).collect() };
        assert_eq!(rates(course(Schedule::Constant, 3, 0), 5), [0.125, 0.25, 0.375, 0.5, 0.5]);
        let flat = rates(course(Schedule::FlatCosine, 2, 12), 13);
        assert_eq!(flat[2..8], [0.5; 6]);
        assert!(flat[8..].windows(2).all(|pair| pair[1] < pair[0]) && flat[12] == 0.0, "{flat:?}");
        let decaying = Course { decay: 0.5, ..course(Schedule::Constant, 1, 0) };
        assert_eq!(rates(decaying, 4), [0.25, 0.5, 0.25, 0.125]);
        // A job that ends while it rises.
        assert_eq!(rates(course(Schedule::Cosine, 7, 4), 4), [0.0625, 0.125, 0.1875, 0.25]);
    }

    #[test]
    fn steps_with_a_rate_are_found_wherever_they_are() {
        for schedule in Schedule::ALL {
            for (warmup, decay, least) in [
                (0, 1.0, 1e-12),
                (5, 1.0, 0.2),
                (5, 0.5, 0.1),
                (10, 1.0, 1e-12),
                (12, 0.9, 0.3),
                (12, 1.0, 0.6),
                (3, 1.0, 0.6),
                (0, 0.25, 1e-5),
            ] {
                let course = Course { decay, least, ..course(schedule, warmup, 10) };
                let with = |step| course.rate(step) > 0.0;
                for done in 0..=20 {
                    assert_eq!(course.steps_with(done), (0..done).filter(|step| with(*step)).count() as u64);
                }
                // Also of jobs that go on behind the schedule's end.
                for steps in [10, 20] {
                    let first = (0..steps).find(|first| !(*first..steps).any(with));
                    assert_eq!(course.first_step_without(steps), first, "{schedule}, {warmup}, {decay}, {least}");
                }
            }
        }
        assert_eq!(course(Schedule::Constant, 0, 0).first_step_without(0), None);
        assert_eq!(course(Schedule::Constant, 0, 0).first_step_without(u64::MAX), None);
    }

    #[cfg(feature = "client")]
    #[test]
    fn the_decay_of_a_step_comes_to_that_of_a_round_and_of_one_step_is_that() {
        for decay in [0.94, 0.5, 1.0, 1e-30] {
            assert_eq!(decay_of_step(decay, 1), decay);
            for steps in [2, 30, 1_000] {
                let of_step = decay_of_step(decay, steps);
                let come_to = |of_step: f32| power(of_step.into(), steps.into());
                assert!(come_to(of_step) <= f64::from(decay));
                assert!(of_step == 1.0 || come_to(of_step.next_up()) > f64::from(decay), "{decay}, {steps}");
            }
        }
        assert_eq!(decay_of_step(0.94, 30).to_bits(), 0x3f7f_78f8);
    }

    #[test]
    fn a_power_is_that_of_the_factor_and_falls_with_every_step() {
        assert_eq!((power(0.5, 10), power(1.0, u64::MAX), power(0.25, u64::MAX)), (1.0 / 1_024.0, 1.0, 0.0));
        let nearest = f64::from(1.0 - f32::EPSILON / 2.0);
        let near = |times| power(nearest, times);
        assert!((0..100_000).all(|times| near(times + 1) < near(times)));
        assert!((power(0.94, 40) - 0.94f64.powi(40)).abs() < 1e-15);
    }
}

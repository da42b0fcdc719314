//! The outer learning rate of a step, and in how many steps there is one. Does not know how a rate goes over steps.

use super::{Outer, OuterOptimiser};
use crate::model::optimise::rate_least;
use crate::model::recipe::Optimiser;
use crate::model::schedule::Course;

impl Outer {
    /// The learning rate of a step of a job of so many steps, or rounds where each is one: +0 where the step changes nothing,
    /// because what its schedule leaves of the rate is less than the optimiser's least.
    pub fn rate(&self, step: u64, steps: u64) -> f32 {
        self.course(steps).rate(step)
    }

    /// Steps whose rate changes something, of the first `done` of a job of so many steps: updates that have been made of its weights,
    /// or where some steps merged nothing, the most that can have been.
    pub fn updates_within(&self, done: u64, steps: u64) -> u64 {
        if self.is_average() { 0 } else { self.course(steps).steps_with(done) }
    }

    /// The first of so many steps from which on nothing changes, because no step has a rate; none where updates are added as they are.
    pub fn first_step_without_rate(&self, steps: u64) -> Option<u64> {
        self.course(steps).first_step_without(steps).filter(|_| !self.is_average())
    }

    fn course(&self, steps: u64) -> Course {
        let Outer { eta, eta_decay: decay, schedule, warmup, .. } = *self;
        Course { eta, decay, schedule, warmup, steps, least: rate_least(self.optimiser.rule()) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Schedule;

    #[test]
    fn a_rate_below_the_least_is_plus_zero_and_steps_with_one_are_counted() {
        let outer = |optimiser, eta| Outer { optimiser, eta, schedule: Schedule::Cosine, ..Outer::AVERAGE };
        let adam = outer(OuterOptimiser::Adam, 1e-12);
        assert!(adam.rate(0, 10) > 0.0);
        assert_eq!(adam.rate(9, 10).to_bits(), 0);
        let moving = (0..10).filter(|step| adam.rate(*step, 10) > 0.0).count() as u64;
        assert_eq!(adam.first_step_without_rate(10), Some(moving));
        for (steps, expected) in [(0, 0), (1, 1), (10, moving), (moving, moving), (moving - 1, moving - 1)] {
            assert_eq!(adam.updates_within(steps, 10), expected);
        }
        assert_eq!(outer(OuterOptimiser::Momentum, 1e-12).updates_within(10, 10), 10);
        assert_eq!(outer(OuterOptimiser::Average, 1.0).updates_within(10, 10), 0);
        assert_eq!(Outer { schedule: Schedule::Constant, ..adam }.rate(9, 10), 1e-12);
    }
}

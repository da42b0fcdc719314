//! Injected load: with a given probability the node is loaded for a while. Then it rejects the tasks that it may, and the first
//! of the others waits. Owns the draw; does not know tasks. Nothing here reaches a result.

use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{Rng as _, SeedableRng as _};

use super::Moment;

/// How long a draw holds, at most; no longer than the delay. One for each task would stop a job of many small steps: in every
/// other step some task would be struck.
const HOLDS_MAX: Duration = Duration::from_secs(1);

/// The node's injected load.
pub(super) struct InjectedLoad {
    probability: f64,
    delay: Duration,
    rng: ChaCha8Rng,
    drawn: Option<Draw>,
}

/// What was drawn.
#[derive(Clone, Copy)]
struct Draw {
    holds_until: Moment,
    is_loaded: bool,
    /// The first task that is taken waits until then, and no other.
    wait_until: Option<Moment>,
}

impl InjectedLoad {
    pub(super) fn new(probability: f64, delay: Duration, seed: u64) -> InjectedLoad {
        InjectedLoad { probability, delay, rng: ChaCha8Rng::seed_from_u64(seed), drawn: None }
    }

    /// How much longer the node turns tasks down, if it does. To be asked for every task that comes.
    pub(super) fn loaded_for(&mut self, now: Moment) -> Option<Duration> {
        let draw = match self.drawn.filter(|draw| now < draw.holds_until) {
            Some(draw) => draw,
            None => {
                let is_loaded = self.strikes();
                let wait_until = is_loaded.then(|| now.saturating_add(self.delay));
                *self.drawn.insert(Draw {
                    holds_until: now.saturating_add(self.delay.min(HOLDS_MAX)),
                    is_loaded,
                    wait_until,
                })
            }
        };
        draw.is_loaded.then(|| draw.holds_until - now)
    }

    /// Until when a task waits that is taken now.
    pub(super) fn take_wait(&mut self) -> Option<Moment> {
        self.drawn.as_mut()?.wait_until.take()
    }

    fn strikes(&mut self) -> bool {
        // 53 random bits below 1: never under probability 0, always under 1.
        let unit = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        unit < self.probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(3);

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    #[test]
    fn probability_0_never_strikes_and_1_always_does() {
        let load = |probability| InjectedLoad::new(probability, DELAY, 1);
        let (mut never, mut always, mut half) = (load(0.0), load(1.0), load(0.5));
        let seconds = || (0..10_000).map(Moment::from_secs);
        assert!(seconds().all(|now| never.loaded_for(now).is_none() && never.take_wait().is_none()));
        assert!(seconds().all(|now| always.loaded_for(now).is_some() && always.take_wait() == Some(now + DELAY)));
        let struck = seconds().filter(|&now| half.loaded_for(now).is_some()).count();
        assert!((4_000..6_000).contains(&struck), "{struck} of 10,000");
    }

    #[test]
    fn a_draw_holds_for_a_second_from_the_task_that_it_was_made_for() {
        let mut load = InjectedLoad::new(0.5, DELAY, 1);
        let mut changed_at = Vec::new();
        let mut before = load.loaded_for(at(0)).is_some();
        for ms in 1..100_000 {
            let is_loaded = load.loaded_for(at(ms)).is_some();
            changed_at.extend((is_loaded != before).then_some(ms));
            before = is_loaded;
        }
        assert!(changed_at.len() > 30 && changed_at.iter().all(|ms| ms % 1_000 == 0), "{changed_at:?}");
    }

    #[test]
    fn a_short_delay_is_drawn_for_anew_when_it_is_over() {
        for ms in [0, 20] {
            let mut load = InjectedLoad::new(1.0, at(ms), 1);
            for now in [at(5_000), at(5_000 + ms), at(5_000 + 2 * ms)] {
                assert_eq!((load.loaded_for(now), load.take_wait()), (Some(at(ms)), Some(now + at(ms))));
            }
        }
    }

    #[test]
    fn what_is_left_of_the_second_is_told_and_one_task_waits_for_what_is_left_of_the_delay() {
        let mut load = InjectedLoad::new(1.0, DELAY, 1);
        assert_eq!(load.loaded_for(at(5_000)), Some(Duration::from_millis(1_000)));
        assert_eq!(load.loaded_for(at(5_400)), Some(Duration::from_millis(600)));
        assert_eq!([load.take_wait(), load.take_wait()], [Some(at(8_000)), None]);
        // A new draw, a new wait.
        assert_eq!(load.loaded_for(at(6_000)), Some(Duration::from_millis(1_000)));
        assert_eq!(load.take_wait(), Some(at(9_000)));
    }
}

//! Injected load: with a given probability a task is delayed, and one that may be rejected is. Owns the draw; does not
//! know tasks. Nothing here reaches a result.

use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{Rng as _, SeedableRng as _};

/// The node's injected load.
pub(super) struct InjectedLoad {
    probability: f64,
    delay: Duration,
    rng: ChaCha8Rng,
}

impl InjectedLoad {
    pub(super) fn new(probability: f64, delay: Duration, seed: u64) -> InjectedLoad {
        InjectedLoad { probability, delay, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Whether a task that may be rejected is.
    pub(super) fn rejects(&mut self) -> bool {
        self.strikes()
    }

    /// How long a task waits before it is trained.
    pub(super) fn delay(&mut self) -> Duration {
        if self.strikes() { self.delay } else { Duration::ZERO }
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

    #[test]
    fn probability_0_never_strikes_and_1_always_does() {
        let load = |probability| InjectedLoad::new(probability, Duration::from_secs(3), 1);
        let (mut never, mut always, mut half) = (load(0.0), load(1.0), load(0.5));
        assert!((0..1000).all(|_| !never.rejects() && never.delay().is_zero()));
        assert!((0..1000).all(|_| always.rejects() && always.delay() == Duration::from_secs(3)));
        let struck = (0..10_000).filter(|_| half.rejects()).count();
        assert!((4_000..6_000).contains(&struck), "{struck} of 10,000");
    }
}

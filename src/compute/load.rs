//! Injected load: with a given probability a task is delayed, and one that may be rejected is. Owns the draw; does not
//! know tasks. Nothing here reaches a result.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{Rng as _, SeedableRng as _};

use crate::config::Probability;
use crate::net;

/// The node's injected load, shared by its links and workers.
#[derive(Clone)]
pub(super) struct InjectedLoad {
    probability: f64,
    delay: Duration,
    rng: Arc<Mutex<ChaCha8Rng>>,
}

impl InjectedLoad {
    pub(super) fn new(probability: Probability, delay: Duration) -> InjectedLoad {
        let mut seed = [0; 32];
        net::fill_random(&mut seed);
        let rng = Arc::new(Mutex::new(ChaCha8Rng::from_seed(seed)));
        InjectedLoad { probability: probability.get(), delay, rng }
    }

    /// Whether a task that may be rejected is.
    pub(super) fn rejects(&self) -> bool {
        self.strikes()
    }

    /// How long a task waits before it is trained.
    pub(super) fn delay(&self) -> Option<Duration> {
        (self.strikes() && !self.delay.is_zero()).then_some(self.delay)
    }

    fn strikes(&self) -> bool {
        let mut rng = self.rng.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // 53 random bits below 1: never under probability 0, always under 1.
        let unit = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        unit < self.probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probability_0_never_strikes_and_1_always_does() {
        let load = |text: &str| InjectedLoad::new(text.parse().unwrap(), Duration::from_secs(3));
        assert!((0..1000).all(|_| !load("0").rejects()));
        assert!((0..1000).all(|_| load("1").delay() == Some(Duration::from_secs(3))));
        let half = load("0.5");
        let struck = (0..10_000).filter(|_| half.rejects()).count();
        assert!((4_000..6_000).contains(&struck), "{struck} of 10,000");
    }
}

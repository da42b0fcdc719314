//! Waits between attempts that may fail. Owns how they grow, and how chance keeps those who wait from coming all at once;
//! pure: does not know what is attempted, or the clock.

use std::time::Duration;

/// The first wait, which chance may halve.
const WAIT_MIN: Duration = Duration::from_millis(100);

/// Waits that double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { next: WAIT_MIN }
    }
}

impl Backoff {
    /// How long to wait now, at most `most`, of which `chance` takes up to a half.
    pub fn wait(&mut self, most: Duration, chance: u64) -> Duration {
        let wait = self.next.min(most);
        self.next = wait * 2;
        // Those who have lost the same peer at the same moment do not all come back at another one.
        wait - wait.mul_f64(0.5 * (chance >> 11) as f64 / (1u64 << 53) as f64)
    }
}

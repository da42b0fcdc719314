//! Moments, as the engine is told them. Does not know any clock.

use std::time::Duration;

/// A moment, in microseconds since some moment that the caller fixes once. Never runs backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The moment so much later.
    pub fn after(self, wait: Duration) -> Time {
        self.after_us(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX))
    }

    /// The moment so many microseconds later.
    pub fn after_us(self, wait_us: u64) -> Time {
        Time(self.0.saturating_add(wait_us))
    }

    /// Microseconds since `earlier`; 0 if that is yet to come.
    pub fn since_us(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

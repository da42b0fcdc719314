//! When a client that cannot have its coordinator, not yet or not any more, dials again. Owns the schedule; pure: it is told the
//! time and what chance says, and does not know connections.

use std::time::Duration;

use crate::net::Backoff;

/// Waits double until they are so long.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A connection that ends sooner, with nothing said on it, ends nothing: the loss before it goes on.
const SETTLED: Duration = Duration::from_secs(5);

/// How long a lost coordinator is waited for.
#[derive(Clone, Debug)]
pub(super) struct RetryPolicy {
    retry_for: Duration,
    lost_at: Option<Duration>,
    back_at: Option<Duration>,
    /// What the next wait since the loss is.
    backoff: Backoff,
}

impl RetryPolicy {
    /// RetryPolicy for so long after each loss; none at all for 0.
    pub(super) fn new(retry_for: Duration) -> RetryPolicy {
        RetryPolicy { retry_for, lost_at: None, back_at: None, backoff: Backoff::default() }
    }

    /// How long it lasts.
    pub(super) fn retry_for(&self) -> Duration {
        self.retry_for
    }

    /// The coordinator has been lost.
    pub(super) fn lost(&mut self, now: Duration) {
        let is_the_same = self.back_at.take().is_some_and(|back| now.saturating_sub(back) < SETTLED);
        if !is_the_same || self.lost_at.is_none() {
            self.lost_at = Some(now);
            self.backoff = Backoff::default();
        }
    }

    /// The coordinator is there, and what it was asked for has come to nothing. Only news ends such a loss: what fails again and again
    /// a while after it was begun fails for ever.
    pub(super) fn in_vain(&mut self, now: Duration) {
        if self.lost_at.is_none() {
            self.lost(now);
        }
        self.back_at = None;
    }

    /// How long to wait before the next attempt, of which `chance` takes up to a half; `None` if it is time to give up.
    pub(super) fn wait(&mut self, now: Duration, chance: u64) -> Option<Duration> {
        let end = self.lost_at? + self.retry_for;
        let left = end.checked_sub(now).filter(|left| !left.is_zero())?;
        Some(self.backoff.wait(WAIT_MAX, chance).min(left))
    }

    /// The coordinator has no room, and makes some as others end: it is waited for so long again.
    pub(super) fn others_go_on(&mut self, now: Duration) {
        self.lost_at = Some(now);
    }

    /// The coordinator answers again; how long it was lost.
    pub(super) fn back(&mut self, now: Duration) -> Duration {
        self.back_at = Some(now);
        now.saturating_sub(self.lost_at.unwrap_or(now))
    }

    /// It has said something new: whatever comes now is a loss of its own.
    pub(super) fn settled(&mut self) {
        (self.lost_at, self.back_at) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn waits_double_up_to_five_seconds_and_chance_takes_up_to_half() {
        let mut retry = RetryPolicy::new(Duration::from_secs(300));
        retry.lost(ms(7));
        let waits: Vec<u64> = (0..8).map(|_| retry.wait(ms(7), 0).unwrap().as_millis() as u64).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        let wait = retry.wait(ms(7), u64::MAX).unwrap();
        assert!(wait >= ms(2500) && wait < ms(2501), "{wait:?}");
        for _ in 0..100 {
            assert_eq!(retry.wait(ms(7), 0), Some(ms(5000)));
        }
    }

    #[test]
    fn patience_ends_so_long_after_the_loss_and_the_last_wait_is_cut() {
        let mut retry = RetryPolicy::new(ms(1000));
        retry.lost(ms(500));
        assert_eq!(retry.wait(ms(1460), 0), Some(ms(40)));
        assert_eq!(retry.wait(ms(1500), 0), None);
        let mut none = RetryPolicy::new(Duration::ZERO);
        none.lost(ms(500));
        assert_eq!(none.wait(ms(500), 0), None);
    }

    #[test]
    fn who_waits_for_others_spends_no_patience_and_asks_no_faster() {
        let mut retry = RetryPolicy::new(ms(1_000));
        retry.lost(ms(0));
        for second in 0..100 {
            retry.others_go_on(ms(second * 1_000));
            assert!(retry.wait(ms(second * 1_000 + 900), 0).is_some(), "second {second}");
        }
        retry.others_go_on(ms(200_000));
        assert_eq!(retry.wait(ms(200_000), 0), Some(ms(1_000)), "the waits have grown, and patience cuts the last");
        assert_eq!(retry.wait(ms(201_000), 0), None);
    }

    #[test]
    fn a_coordinator_that_comes_and_goes_is_not_dialled_faster_and_not_for_ever() {
        let mut retry = RetryPolicy::new(ms(10_000));
        retry.lost(ms(0));
        retry.wait(ms(0), 0);
        assert_eq!(retry.back(ms(100)), ms(100));
        retry.lost(ms(200));
        assert_eq!(retry.wait(ms(200), 0), Some(ms(200)));
        assert_eq!(retry.back(ms(9_000)), ms(9_000));
        retry.lost(ms(10_000));
        assert_eq!(retry.wait(ms(10_000), 0), None);
    }

    #[test]
    fn what_fails_again_long_after_it_was_begun_is_not_tried_for_ever() {
        let mut retry = RetryPolicy::new(ms(60_000));
        for attempt in 0..6 {
            retry.in_vain(ms(attempt * 10_000));
            let waits = retry.wait(ms(attempt * 10_000), 0);
            assert_eq!(waits, Some(ms(100 << attempt)), "attempt {attempt}");
            retry.back(ms(attempt * 10_000 + 5_000));
        }
        retry.in_vain(ms(60_000));
        assert_eq!(retry.wait(ms(60_000), 0), None);
        // After a round it is another loss.
        retry.settled();
        retry.in_vain(ms(70_000));
        assert_eq!(retry.wait(ms(70_000), 0), Some(ms(100)));
    }

    #[test]
    fn a_loss_after_news_or_some_seconds_begins_anew() {
        for settle in [true, false] {
            let mut retry = RetryPolicy::new(ms(10_000));
            retry.lost(ms(0));
            retry.wait(ms(0), 0);
            retry.back(ms(9_000));
            if settle {
                retry.settled();
            }
            let lost = ms(if settle { 9_001 } else { 14_000 });
            retry.lost(lost);
            assert_eq!(retry.wait(lost + ms(9_900), 0), Some(ms(100)));
        }
    }
}

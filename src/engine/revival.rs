//! What happens when no node is there: a few waits that grow, then the job is given up. Owns the count of a job's revivals;
//! does not know nodes or how they are dialled.

use std::time::Duration;

use super::time::Time;

/// While no node is there all of them are dialled this often, however many they are.
const REDIAL_EVERY: Duration = Duration::from_secs(1);

/// A job's revivals.
#[derive(Default)]
pub(super) struct Revival {
    /// Since a task was last merged that was sent after a revival.
    used: u32,
    total: u32,
    /// When the last one began.
    since: Time,
    /// When the wait under way ends.
    until: Option<Time>,
    /// When every node is dialled again meanwhile.
    redial: Time,
}

/// What to do while no node is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait on.
    Wait { until: Time },
    /// Dial every node again, then wait on.
    Dial { until: Time },
    /// Dial every node, then wait for so long in all; look again at `until`.
    Begin { number: u32, wait: Duration, until: Time },
    /// Every wait has passed.
    GiveUp,
}

impl Revival {
    /// The revivals of a job that goes on after a pause or a restart: all of them again. No link is up yet after a restart,
    /// and whoever resumes a job has a reason.
    pub(super) fn going_on(total: u32) -> Revival {
        Revival { total, ..Revival::default() }
    }

    /// No node is there.
    pub(super) fn nobody(&mut self, now: Time, waits: &[Duration]) -> Step {
        if let Some(until) = self.until.filter(|&until| now < until) {
            if now < self.redial {
                return Step::Wait { until: self.redial.min(until) };
            }
            self.redial = now.after(REDIAL_EVERY);
            return Step::Dial { until: self.redial.min(until) };
        }
        let Some(&wait) = waits.get(self.used as usize) else { return Step::GiveUp };
        let until = now.after(wait);
        self.used += 1;
        self.total += 1;
        self.since = now;
        self.until = Some(until);
        self.redial = now.after(REDIAL_EVERY);
        Step::Begin { number: self.used, wait, until: self.redial.min(until) }
    }

    /// A node is there, or none is needed. The count stays: a node that comes and goes without finishing anything must
    /// not keep a job alive for ever.
    pub(super) fn not_needed(&mut self) {
        self.until = None;
    }

    /// A task was merged that was sent at `started`.
    pub(super) fn merged(&mut self, started: Time) {
        if started >= self.since {
            self.used = 0;
        }
    }

    /// Revivals after which nothing was merged that was sent since.
    pub(super) fn in_vain(&self) -> u32 {
        self.used
    }

    /// Revivals begun, over the whole job.
    pub(super) fn total(&self) -> u32 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    #[test]
    fn the_waits_follow_each_other_and_then_the_job_is_given_up() {
        let mut revival = Revival::default();
        assert_eq!(revival.nobody(at(10), &WAITS), Step::Begin { number: 1, wait: WAITS[0], until: at(11) });
        assert_eq!(revival.nobody(Time(10_999_999), &WAITS), Step::Wait { until: at(11) });
        assert_eq!(revival.nobody(at(11), &WAITS), Step::Begin { number: 2, wait: WAITS[1], until: at(12) });
        assert_eq!(revival.nobody(at(12), &WAITS), Step::Dial { until: at(13) });
        assert_eq!(revival.nobody(at(13), &WAITS), Step::GiveUp);
        assert_eq!(revival.total(), 2);
    }

    #[test]
    fn only_a_task_sent_after_the_revival_and_merged_resets_the_count() {
        let mut revival = Revival::default();
        revival.nobody(at(10), &WAITS);
        revival.not_needed();
        revival.merged(at(9));
        assert!(matches!(revival.nobody(at(20), &WAITS), Step::Begin { number: 2, .. }));
        revival.not_needed();
        revival.merged(at(21));
        assert!(matches!(revival.nobody(at(30), &WAITS), Step::Begin { number: 1, .. }));
        assert_eq!(revival.total(), 3);
    }
}

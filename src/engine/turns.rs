//! How several running jobs share the nodes: each hands out its tasks as if it were alone, and a node does what it has in the order in
//! which it came, so that jobs take turns there, task by task. That is fair where their tasks are alike. Where they are not, whoever
//! has had more of the nodes' time waits until the others have caught up. Owns how much each has had, and when one waits; does not know
//! tasks, steps or nodes.

use super::step_tasks::Live;
use super::time::Time;

/// Weight of the newest time in the average of a job's tasks.
const NEWEST_WEIGHT: f64 = 0.2;
/// Nobody waits longer than this for a job of which nothing is heard.
const WAIT_US_MAX: f64 = 1e6;
/// Turns, of one task a worker, that a job can be behind another: what it did not ask for is not owed to it.
const TURNS_BEHIND_MAX: f64 = 2.0;

/// What a running job has had of the nodes' time.
#[derive(Clone, Debug, Default)]
pub(super) struct Share {
    /// Its tasks' time in training, in microseconds, those that are out as it was expected; from where the others were when it began.
    us: f64,
    /// What one of them takes on average, once it is known.
    task_us: Option<f64>,
    /// When something of it last happened.
    heard: Time,
}

/// A share, and the workers that may work for its job.
pub(super) type Sharer<'a> = (&'a Share, u64);

impl Share {
    /// Of a job that begins beside these: it has had as much as the one of them that has had least.
    pub(super) fn beside<'a>(others: impl Iterator<Item = &'a Share>) -> Share {
        let us = others.map(|other| other.us).min_by(f64::total_cmp).unwrap_or(0.0);
        Share { us, ..Share::default() }
    }

    pub(super) fn us(&self) -> f64 {
        self.us
    }

    /// A task is sent.
    pub(super) fn sent(&mut self, live: &Live, now: Time) {
        self.us += live.charged_us as f64;
        self.heard = now;
    }

    /// A task that was sent took so much of its node's time.
    pub(super) fn had(&mut self, live: &Live, train_us: u64, now: Time) {
        let train_us = train_us as f64;
        self.us += train_us - live.charged_us as f64;
        if train_us > 0.0 {
            let average = self.task_us.unwrap_or(train_us);
            self.task_us = Some(average + NEWEST_WEIGHT * (train_us - average));
        }
        self.heard = now;
    }

    /// Something of the job has happened.
    pub(super) fn heard(&mut self, now: Time) {
        self.heard = now;
    }

    /// What so many workers give to a job in one turn.
    fn turn_us(&self, workers: u64) -> Option<f64> {
        self.task_us.map(|task_us| task_us * workers as f64)
    }

    /// It is not behind the others by more than is owed to it.
    pub(super) fn level<'a>(&mut self, others: impl Iterator<Item = Sharer<'a>>) {
        let floor = |(other, workers): Sharer<'_>| Some(other.us - TURNS_BEHIND_MAX * other.turn_us(workers)?);
        self.us = others.filter_map(floor).fold(self.us, f64::max);
    }

    /// Until when a job hands out nothing, because another is behind it by a whole turn of its own: so long as the other goes on, and
    /// otherwise no longer than a task of its own would keep the other waiting. What the other has may have waited for this job's.
    pub(super) fn waits_until(&self, (other, workers): Sharer<'_>) -> Option<Time> {
        let (task_us, turn_us) = (self.task_us?, other.turn_us(workers)?);
        let is_behind = self.us - other.us >= turn_us;
        is_behind.then(|| other.heard.max(self.heard).after_us(task_us.min(WAIT_US_MAX) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nodes::{LinkKey, NodeKey};

    fn live(charged_us: u64) -> Live {
        Live {
            node: NodeKey(0),
            link: LinkKey(0),
            number: 1,
            token: 0,
            started: Time(0),
            trained: None,
            exact: true,
            may_reject: true,
            is_copy: false,
            is_held: false,
            charged_us,
        }
    }

    /// What a job has had that has done so many tasks of this length.
    fn share(tasks: u64, task_us: u64) -> Share {
        let mut share = Share::default();
        for task in 0..tasks {
            share.sent(&live(task_us), Time(task));
            share.had(&live(task_us), task_us, Time(task));
        }
        share
    }

    #[test]
    fn jobs_of_equal_tasks_never_wait_for_each_other() {
        let (ahead, behind) = (share(7, 1_000), share(4, 1_010));
        assert_eq!(ahead.waits_until((&behind, 4)), None);
        assert_eq!(behind.waits_until((&ahead, 4)), None);
    }

    #[test]
    fn a_job_of_long_tasks_waits_until_one_of_short_tasks_has_had_as_much() {
        let long = share(4, 300_000);
        for (short, waits) in [(share(4, 1_000), true), (share(1_195, 1_000), true), (share(1_197, 1_000), false)] {
            assert_eq!(long.waits_until((&short, 4)).is_some(), waits);
            assert_eq!(short.waits_until((&long, 4)), None);
        }
        // But not for one of which nothing is heard for as long as one of its own tasks takes.
        assert_eq!(long.waits_until((&share(4, 1_000), 4)), Some(Time(300_003)));
        assert_eq!(share(4, 30_000_000).waits_until((&share(4, 1_000), 4)), Some(Time(1_000_003)));
    }

    #[test]
    fn what_a_job_did_not_ask_for_is_not_owed_to_it() {
        let busy = share(100, 1_000);
        let mut idle = share(1, 1_000);
        idle.level(std::iter::once((&busy, 4)));
        assert_eq!(idle.us(), 92_000.0);
        assert_eq!(Share::beside([&busy, &idle].into_iter()).us(), 92_000.0);
    }

    #[test]
    fn nobody_waits_for_a_job_of_whose_tasks_nothing_is_known() {
        assert_eq!(share(9, 1_000).waits_until((&Share::default(), 4)), None);
        assert_eq!(Share::default().waits_until((&share(9, 1_000), 4)), None);
    }
}

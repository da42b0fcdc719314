//! What a decision may look at and change besides the jobs. Does not decide anything.

use rand::rngs::ChaCha8Rng;

use super::events::Action;
use super::membership::{Fleet, Lost};
use super::report::JobEvent;
use super::settings::Settings;
use super::step_tasks::{Live, StepTasks};
use super::time::Time;
use crate::job::JobId;

/// What a decision may look at and change besides the jobs, while one event is handled.
pub(super) struct Context<'a> {
    pub(super) now: Time,
    pub(super) settings: &'a Settings,
    pub(super) rng: &'a mut ChaCha8Rng,
    pub(super) fleet: &'a mut Fleet,
    pub(super) actions: &'a mut Vec<Action>,
    pub(super) stale_results: &'a mut u64,
    /// Links that a job has ended, and that job: what others had out over them is void.
    pub(super) lost: Vec<(JobId, Lost)>,
}

impl Context<'_> {
    pub(super) fn report(&mut self, job: JobId, event: JobEvent) {
        self.actions.push(Action::Report { job, event });
    }

    /// Ends an attempt in both books: its task's and its node's.
    pub(super) fn release(&mut self, tasks: &mut StepTasks, shard: u32, live: &Live) {
        tasks.retire(shard, live.number);
        self.fleet.release(live.link, (live.started, tasks.job(), shard, live.number));
    }

    /// Ends what is out of a task, and tells the nodes.
    pub(super) fn cancel(&mut self, tasks: &mut StepTasks, shard: u32) {
        for live in tasks.task(shard).live.clone() {
            self.release(tasks, shard, &live);
            self.actions.push(Action::Cancel { link: live.link, attempt: tasks.attempt(shard, &live) });
        }
    }
}

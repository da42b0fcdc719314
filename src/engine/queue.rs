//! Which job runs: the queue, the running job, the outcomes of finished ones. Owns admission and the turn of jobs; does
//! not know how a job runs (`run`).

use std::sync::Arc;

use super::context::Context;
use super::events::{Action, Admission};
use super::report::{JobEntry, JobEvent, JobProgress};
use super::run::{Ending, Returning, Run};
use super::time::Time;
use crate::digest::Digest;
use crate::job::{FailReason, JobId, Outcome, Progress, Specification};

/// Every job that is known.
#[derive(Default)]
pub(super) struct Jobs {
    queue: Vec<Queued>,
    running: Option<Run>,
    paused: Vec<Paused>,
    /// The oldest first.
    finished: Vec<Finished>,
}

struct Queued {
    job: JobId,
    semantic: Digest,
    specification: Arc<Specification>,
    has_data: bool,
    /// How far it was when it was paused or the coordinator ended.
    progress: Option<Box<Progress>>,
    /// Whether it ran before the coordinator ended, perhaps: nodes may hold results of it.
    is_restored: bool,
    /// The place that whoever watches was last told.
    position_told: u32,
}

struct Paused {
    job: JobId,
    semantic: Digest,
    specification: Arc<Specification>,
    progress: Option<Box<Progress>>,
    reason: FailReason,
}

struct Finished {
    job: JobId,
    semantic: Digest,
    outcome: Outcome,
}

impl Jobs {
    /// The running job, if it is this one.
    pub(super) fn running(&mut self, job: JobId) -> Option<&mut Run> {
        self.running.as_mut().filter(|run| run.job == job)
    }

    /// The running job, whichever it is.
    pub(super) fn running_any(&mut self) -> Option<&mut Run> {
        self.running.as_mut()
    }

    /// A client submits a job.
    pub(super) fn submitted(
        &mut self,
        job: JobId,
        specification: Arc<Specification>,
        semantic: Digest,
        cx: &mut Context<'_>,
    ) {
        let queued_max = cx.settings.queued_max;
        let admission = match self.known(job) {
            Some((known, _)) if known != semantic => Admission::Conflict,
            Some((_, progress)) => {
                self.cut_as_in(job, &specification);
                Admission::Attached { progress }
            }
            None if self.queue.iter().filter(|queued| queued.has_data).count() >= queued_max => {
                Admission::Busy { queued_max }
            }
            None => {
                let queued = Queued {
                    job,
                    semantic,
                    specification,
                    has_data: false,
                    progress: None,
                    is_restored: false,
                    position_told: 0,
                };
                Admission::Admitted { position: self.enqueue(queued) }
            }
        };
        let collect = matches!(
            admission,
            Admission::Admitted { .. } | Admission::Attached { progress: JobProgress::Collecting { .. } }
        );
        cx.actions.push(Action::Admit { job, admission });
        if collect {
            cx.actions.push(Action::CollectData { job });
        }
    }

    /// A job that has not ended is submitted again: from now on its steps are cut into as many tasks as is asked for now. Nothing
    /// that it computes depends on that.
    fn cut_as_in(&mut self, job: JobId, again: &Specification) {
        let queued = self.queue.iter_mut().map(|queued| (queued.job, &mut queued.specification));
        let paused = self.paused.iter_mut().map(|paused| (paused.job, &mut paused.specification));
        let running = self.running.iter_mut().map(|run| (run.job, &mut run.specification));
        let Some((_, known)) = queued.chain(paused).chain(running).find(|(other, _)| *other == job) else { return };
        let wanted = again.operation.tasks_per_step;
        if known.operation.tasks_per_step != wanted {
            Arc::make_mut(known).operation.tasks_per_step = wanted;
        }
    }

    /// A job's data is complete.
    pub(super) fn data_ready(&mut self, job: JobId) {
        if let Some(queued) = self.queue.iter_mut().find(|queued| queued.job == job) {
            queued.has_data = true;
        }
    }

    /// A job's data cannot be had, or is of no use: the job is forgotten, so that its client may try again.
    pub(super) fn data_failed(&mut self, job: JobId, reason: FailReason, cx: &mut Context<'_>) {
        if let Some(place) = self.queue.iter().position(|queued| queued.job == job && !queued.has_data) {
            self.queue.remove(place);
            cx.report(job, JobEvent::Finished(Outcome::Failed(reason)));
            cx.actions.push(Action::ReleaseJob { job });
        }
    }

    /// A client wants a job to end.
    pub(super) fn cancel_requested(&mut self, job: JobId, cx: &mut Context<'_>) {
        if let Some(run) = self.running(job) {
            run.end(Outcome::Cancelled);
        } else if let Some(place) = self.queue.iter().position(|queued| queued.job == job) {
            let Queued { semantic, .. } = self.queue.remove(place);
            self.finish(job, semantic, Outcome::Cancelled, cx);
        } else if let Some(place) = self.paused.iter().position(|paused| paused.job == job) {
            let Paused { semantic, .. } = self.paused.remove(place);
            self.finish(job, semantic, Outcome::Cancelled, cx);
        }
    }

    /// A paused job goes on: behind those that wait already, and not before its data is here.
    pub(super) fn resume_requested(&mut self, job: JobId, has_data: bool) {
        let Some(place) = self.paused.iter().position(|paused| paused.job == job) else { return };
        let Paused { job, semantic, specification, progress, .. } = self.paused.remove(place);
        self.enqueue(Queued { job, semantic, specification, has_data, progress, is_restored: false, position_told: 0 });
    }

    /// A job that was given up goes on, with all that was kept of it: behind those that wait already.
    pub(super) fn reopened(&mut self, job: JobId, specification: Arc<Specification>, progress: Option<Box<Progress>>) {
        let is_it = |finished: &Finished| {
            let keeps = matches!(&finished.outcome, Outcome::Failed(reason) if reason.kind().keeps_the_job());
            finished.job == job && keeps
        };
        let Some(place) = self.finished.iter().position(is_it) else { return };
        let Finished { semantic, .. } = self.finished.remove(place);
        // Nodes may hold results of it, as after a restart.
        self.enqueue(Queued {
            job,
            semantic,
            specification,
            has_data: true,
            progress,
            is_restored: true,
            position_told: 0,
        });
    }

    /// A job is known from before the start.
    pub(super) fn restored(
        &mut self,
        job: JobId,
        specification: Arc<Specification>,
        semantic: Digest,
        progress: Option<Box<Progress>>,
        paused: Option<FailReason>,
    ) {
        if self.known(job).is_some() {
            return;
        }
        match paused {
            Some(reason) => self.paused.push(Paused { job, semantic, specification, progress, reason }),
            None => {
                self.enqueue(Queued {
                    job,
                    semantic,
                    specification,
                    has_data: true,
                    progress,
                    is_restored: true,
                    position_told: 0,
                });
            }
        }
    }

    /// How a job ended is known from before the start.
    pub(super) fn restored_ended(&mut self, job: JobId, semantic: Digest, outcome: Outcome) {
        if self.known(job).is_none() {
            self.finished.push(Finished { job, semantic, outcome });
        }
    }

    /// A job that has ended is too old to be kept.
    pub(super) fn expired(&mut self, job: JobId, cx: &mut Context<'_>) {
        if let Some(place) = self.finished.iter().position(|finished| finished.job == job) {
            self.finished.remove(place);
            cx.actions.push(Action::Forget { job });
        }
    }

    /// Lets the running job do what it can, and the next one take its turn.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>) {
        loop {
            let Some(run) = &mut self.running else {
                // In the order of submission, but nobody waits for another's data.
                let Some(place) = self.queue.iter().position(|queued| queued.has_data) else { break };
                let Queued { job, semantic, specification, progress, is_restored, .. } = self.queue.remove(place);
                let mut run = Run::start(job, semantic, specification, progress, cx);
                run.returning = is_restored.then(Returning::default);
                self.running = Some(run);
                continue;
            };
            run.advance(cx);
            let Some(ending) = run.take_ending() else { break };
            run.cancel_attempts(cx);
            let Some(run) = self.running.take() else { break };
            match ending {
                Ending::Over(outcome) => self.finish(run.job, run.semantic, outcome, cx),
                Ending::Paused(reason) if self.paused.len() >= cx.settings.paused_max => {
                    self.finish(run.job, run.semantic, Outcome::Failed(reason), cx);
                }
                Ending::Paused(reason) => self.pause(run, reason, cx),
            }
        }
        self.tell_positions(cx);
    }

    /// When to look again if nothing happens.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.running.as_ref().and_then(Run::deadline)
    }

    /// Every job: the running one, the queue, the paused ones, the finished ones from the latest on.
    pub(super) fn status(&self) -> Vec<JobEntry> {
        let running = self.running.iter().map(|run| JobEntry { job: run.job, progress: run.job_progress() });
        let queued = (0..self.queue.len())
            .map(|place| JobEntry { job: self.queue[place].job, progress: self.queued_progress(place) });
        let paused = self.paused.iter().map(|paused| JobEntry { job: paused.job, progress: paused.job_progress() });
        let finished = self
            .finished
            .iter()
            .rev()
            .map(|finished| JobEntry { job: finished.job, progress: JobProgress::Finished(finished.outcome.clone()) });
        running.chain(queued).chain(paused).chain(finished).collect()
    }

    /// What a job means and how far it is, if it is known.
    pub(super) fn known(&self, job: JobId) -> Option<(Digest, JobProgress)> {
        if let Some(run) = self.running.as_ref().filter(|run| run.job == job) {
            return Some((run.semantic, run.job_progress()));
        }
        if let Some(place) = self.queue.iter().position(|queued| queued.job == job) {
            return Some((self.queue[place].semantic, self.queued_progress(place)));
        }
        if let Some(paused) = self.paused.iter().find(|paused| paused.job == job) {
            return Some((paused.semantic, paused.job_progress()));
        }
        let finished = self.finished.iter().find(|finished| finished.job == job)?;
        Some((finished.semantic, JobProgress::Finished(finished.outcome.clone())))
    }

    fn queued_progress(&self, place: usize) -> JobProgress {
        let position = self.ahead(place);
        if self.queue[place].has_data { JobProgress::Queued { position } } else { JobProgress::Collecting { position } }
    }

    /// Puts a job behind those that wait; how many are ahead of it.
    fn enqueue(&mut self, queued: Queued) -> u32 {
        let position_told = self.ahead(self.queue.len());
        self.queue.push(Queued { position_told, ..queued });
        position_told
    }

    /// Jobs ahead of a place in the queue.
    fn ahead(&self, place: usize) -> u32 {
        place as u32 + u32::from(self.running.is_some())
    }

    fn finish(&mut self, job: JobId, semantic: Digest, outcome: Outcome, cx: &mut Context<'_>) {
        cx.report(job, JobEvent::Finished(outcome.clone()));
        cx.actions.push(Action::ReleaseJob { job });
        self.finished.push(Finished { job, semantic, outcome });
    }

    fn pause(&mut self, run: Run, reason: FailReason, cx: &mut Context<'_>) {
        let Run { job, semantic, specification, progress, .. } = run;
        cx.report(job, JobEvent::Paused(reason.clone()));
        cx.actions.push(Action::Suspend { job });
        self.paused.push(Paused { job, semantic, specification, progress, reason });
    }

    fn tell_positions(&mut self, cx: &mut Context<'_>) {
        for place in 0..self.queue.len() {
            let position = self.ahead(place);
            let queued = &mut self.queue[place];
            if std::mem::replace(&mut queued.position_told, position) != position {
                cx.report(queued.job, JobEvent::Queued { position });
            }
        }
    }
}

impl Paused {
    fn job_progress(&self) -> JobProgress {
        let rounds_done = self.progress.as_ref().map_or(0, |progress| progress.rounds_done());
        JobProgress::Paused { rounds_done, reason: self.reason.clone() }
    }
}

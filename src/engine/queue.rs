//! Which jobs run: the queue, the running jobs, the outcomes of finished ones. Owns admission and the turn of jobs; does not know
//! how a job runs (`run`), or what it has had of the nodes beside others (`turns`).

use std::sync::Arc;

use super::context::Context;
use super::crew::Needs;
use super::events::{Action, Admission};
use super::report::{JobEntry, JobEvent, JobProgress};
use super::run::{Ending, Returning, Run};
use super::settings::Settings;
use super::time::Time;
use super::turns::Share;
use crate::digest::Digest;
use crate::job::memory::CoordinatorMemory;
use crate::job::{FailReason, JobId, Outcome, Progress, Specification};

/// Every job that is known.
#[derive(Default)]
pub(super) struct Jobs {
    queue: Vec<Queued>,
    /// In the order in which they began.
    running: Vec<Run>,
    paused: Vec<Paused>,
    /// The oldest first.
    finished: Vec<Finished>,
}

struct Queued {
    job: JobId,
    semantic: Digest,
    specification: Arc<Specification>,
    /// What it takes at the coordinator.
    memory: CoordinatorMemory,
    has_data: bool,
    /// How far it was when it was paused or the coordinator ended.
    progress: Option<Box<Progress>>,
    /// Whether it ran before the coordinator ended, perhaps: nodes may hold results of it.
    is_restored: bool,
    /// The place that whoever watches was last told.
    position_told: Option<u32>,
}

struct Paused {
    job: JobId,
    semantic: Digest,
    specification: Arc<Specification>,
    memory: CoordinatorMemory,
    progress: Option<Box<Progress>>,
    reason: FailReason,
}

struct Finished {
    job: JobId,
    semantic: Digest,
    outcome: Outcome,
}

impl Jobs {
    /// This job, if it runs.
    pub(super) fn running(&mut self, job: JobId) -> Option<&mut Run> {
        self.running.iter_mut().find(|run| run.job == job)
    }

    /// Every job that runs.
    pub(super) fn all_running(&mut self) -> impl Iterator<Item = &mut Run> {
        self.running.iter_mut()
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
                let queued = Queued::new(job, semantic, specification, cx.settings);
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
        let Paused { job, semantic, specification, memory, progress, .. } = self.paused.remove(place);
        let (is_restored, position_told) = (false, None);
        self.enqueue(Queued { job, semantic, specification, memory, has_data, progress, is_restored, position_told });
    }

    /// A paused job was to go on, and its data cannot be read: it is paused for this reason.
    pub(super) fn read_failed(&mut self, job: JobId, reason: FailReason) {
        let is_it = |queued: &Queued| queued.job == job && !queued.has_data;
        let Some(place) = self.queue.iter().position(is_it) else { return };
        let Queued { semantic, specification, memory, progress, .. } = self.queue.remove(place);
        self.paused.push(Paused { job, semantic, specification, memory, progress, reason });
    }

    /// A job that was given up goes on, with all that was kept of it: behind those that wait already.
    pub(super) fn reopened(
        &mut self,
        job: JobId,
        specification: Arc<Specification>,
        progress: Option<Box<Progress>>,
        cx: &Context<'_>,
    ) {
        let is_it = |finished: &Finished| {
            let keeps = matches!(&finished.outcome, Outcome::Failed(reason) if reason.kind().keeps_the_job());
            finished.job == job && keeps
        };
        let Some(place) = self.finished.iter().position(is_it) else { return };
        let Finished { semantic, .. } = self.finished.remove(place);
        // Nodes may hold results of it, as after a restart.
        let queued = Queued::new(job, semantic, specification, cx.settings);
        self.enqueue(Queued { has_data: true, progress, is_restored: true, ..queued });
    }

    /// A job is known from before the start.
    pub(super) fn restored(
        &mut self,
        job: JobId,
        specification: Arc<Specification>,
        semantic: Digest,
        progress: Option<Box<Progress>>,
        paused: Option<FailReason>,
        cx: &Context<'_>,
    ) {
        if self.known(job).is_some() {
            return;
        }
        let queued = Queued::new(job, semantic, specification, cx.settings);
        match paused {
            Some(reason) => {
                let Queued { specification, memory, .. } = queued;
                self.paused.push(Paused { job, semantic, specification, memory, progress, reason });
            }
            None => drop(self.enqueue(Queued { has_data: true, progress, is_restored: true, ..queued })),
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

    /// A link is gone that a job has ended: what the others had out over it is void.
    pub(super) fn lose(&mut self, cx: &mut Context<'_>) {
        for (job, lost) in std::mem::take(&mut cx.lost) {
            self.running.iter_mut().filter(|run| run.job != job).for_each(|run| run.link_lost(&lost, cx.now));
        }
    }

    /// Lets the running jobs do what they can, and the next ones take their turns.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>) {
        loop {
            while self.may_begin(cx) && self.begin_next(cx) {}
            self.advance_running(cx);
            if !self.end_running(cx) {
                break;
            }
        }
        self.tell_positions(cx);
    }

    /// Whether one more job may run, if there is one.
    fn may_begin(&self, cx: &Context<'_>) -> bool {
        self.running.len() < cx.settings.jobs_at_once.max(1)
    }

    /// The next job begins: in the order of submission, but nobody waits for another's data. False if none does, or if it has to wait
    /// until there is room for it beside those that run.
    fn begin_next(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(place) = self.queue.iter().position(|queued| queued.has_data) else { return false };
        if !self.running.is_empty() && !self.has_room_beside(&self.queue[place], cx) {
            return false;
        }
        let Queued { job, semantic, specification, memory, progress, is_restored, .. } = self.queue.remove(place);
        let share = Share::beside(self.running.iter().map(|run| &run.share));
        let mut run = Run::start(job, semantic, specification, progress, cx);
        (run.memory, run.share) = (memory, share);
        run.returning = is_restored.then(Returning::default);
        self.running.push(run);
        true
    }

    /// Whether a job that waits has what it takes beside those that run.
    fn has_room_beside(&self, queued: &Queued, cx: &Context<'_>) -> bool {
        // Of one that is paused nothing stays in memory where jobs are written.
        let is_journaled = cx.settings.memory.is_some_and(|memory| memory.means.is_journaled);
        let paused = self.paused.iter().filter(|_| !is_journaled).map(|paused| paused.memory);
        let kept = self.queue.iter().map(|queued| queued.memory).chain(paused);
        let kept = kept.chain(self.running.iter().map(|run| run.memory)).map(CoordinatorMemory::kept_bytes);
        let working = self.running.iter().map(|run| run.memory.working_bytes).chain([queued.memory.working_bytes]);
        let taken = kept.chain(working).fold(0u64, u64::saturating_add);
        let has_memory = cx.settings.memory.is_none_or(|memory| taken <= memory.allowed_bytes);
        has_memory && cx.fleet.has_room_beside(Needs::of(&queued.specification))
    }

    /// Whoever has had least of the nodes comes first.
    fn advance_running(&mut self, cx: &mut Context<'_>) {
        let count = self.running.len();
        if count > 1 {
            self.level(cx);
        }
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|a, b| self.running[*a].share.us().total_cmp(&self.running[*b].share.us()));
        for place in order {
            let waits_until = self.waits_until(place, cx);
            self.running[place].advance(waits_until, count, cx);
        }
    }

    fn level(&mut self, cx: &Context<'_>) {
        for place in 0..self.running.len() {
            let (before, rest) = self.running.split_at_mut(place);
            let Some((run, after)) = rest.split_first_mut() else { return };
            let others = before.iter().chain(&*after);
            run.share.level(others.map(|other| (&other.share, cx.fleet.crew_workers(other.job))));
        }
    }

    /// Until when a job hands out nothing, for another's sake that could use the same nodes.
    fn waits_until(&self, place: usize, cx: &Context<'_>) -> Option<Time> {
        let run = &self.running[place];
        let waits = |other: &Run| {
            let until = run.share.waits_until((&other.share, cx.fleet.crew_workers(other.job)))?;
            let is_in_line = other.job != run.job && other.is_in_line() && cx.fleet.has_crew_within(run.job, other.job);
            Some(until).filter(|until| is_in_line && cx.now < *until)
        };
        self.running.iter().filter_map(waits).max()
    }

    /// Takes those out that are over, or paused. True if there was one.
    fn end_running(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_ended = false;
        while let Some(place) = self.running.iter().position(Run::is_over) {
            has_ended = true;
            let mut run = self.running.remove(place);
            run.cancel_attempts(cx);
            cx.fleet.end_job(run.job);
            match run.take_ending() {
                Some(Ending::Paused(reason)) if self.paused.len() < cx.settings.paused_max => {
                    self.pause(run, reason, cx);
                }
                Some(Ending::Paused(reason)) => self.finish(run.job, run.semantic, Outcome::Failed(reason), cx),
                Some(Ending::Over(outcome)) => self.finish(run.job, run.semantic, outcome, cx),
                None => {}
            }
        }
        has_ended
    }

    /// When to look again if nothing happens.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.running.iter().filter_map(Run::deadline).min()
    }

    /// Every job: the running ones, the queue, the paused ones, the finished ones from the latest on.
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
        if let Some(run) = self.running.iter().find(|run| run.job == job) {
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
        let position = self.ahead(self.queue.len());
        self.queue.push(queued);
        position
    }

    /// Jobs ahead of a place in the queue, those that run among them.
    fn ahead(&self, place: usize) -> u32 {
        (place + self.running.len()) as u32
    }

    fn finish(&mut self, job: JobId, semantic: Digest, outcome: Outcome, cx: &mut Context<'_>) {
        cx.report(job, JobEvent::Finished(outcome.clone()));
        cx.actions.push(Action::ReleaseJob { job });
        self.finished.push(Finished { job, semantic, outcome });
    }

    fn pause(&mut self, run: Run, reason: FailReason, cx: &mut Context<'_>) {
        let Run { job, semantic, specification, memory, progress, .. } = run;
        cx.report(job, JobEvent::Paused(reason.clone()));
        cx.actions.push(Action::Suspend { job });
        self.paused.push(Paused { job, semantic, specification, memory, progress, reason });
    }

    fn tell_positions(&mut self, cx: &mut Context<'_>) {
        for place in 0..self.queue.len() {
            let position = self.ahead(place);
            let queued = &mut self.queue[place];
            // One that waits for its data alone may begin at once when that is here.
            if queued.has_data && queued.position_told.replace(position) != Some(position) {
                cx.report(queued.job, JobEvent::Queued { position });
            }
        }
    }
}

impl Queued {
    /// A job that waits for its data.
    fn new(job: JobId, semantic: Digest, specification: Arc<Specification>, settings: &Settings) -> Queued {
        let memory = settings.memory.map(|memory| CoordinatorMemory::of(&specification, memory.means));
        Queued {
            job,
            semantic,
            specification,
            memory: memory.unwrap_or_default(),
            has_data: false,
            progress: None,
            is_restored: false,
            position_told: None,
        }
    }
}

impl Paused {
    fn job_progress(&self) -> JobProgress {
        let rounds_done = self.progress.as_ref().map_or(0, |progress| progress.rounds_done());
        JobProgress::Paused { rounds_done, reason: self.reason.clone() }
    }
}

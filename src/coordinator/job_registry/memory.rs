//! Whether there is memory for a job beside the others, and jobs that wait for it unread. Does not know what a job takes
//! (`job::memory`).

use super::{Job, Jobs, Unread};
use crate::coordinator::journal::Restored;
use crate::job::memory::CoordinatorMemory;
use crate::job::{FailReason, Failure, JobId, JobState};

impl Jobs {
    /// What those jobs take together: those that run work, and at least one at a time; all others are kept. So is what is about to be
    /// fetched of those that are done.
    pub(super) fn taken(&self) -> CoordinatorMemory {
        let taken = self.open.values().fold(CoordinatorMemory::default(), |taken, job| taken.beside(job.memory));
        let weights_bytes = taken.weights_bytes.saturating_add(self.results.bytes());
        CoordinatorMemory { weights_bytes, working_bytes: taken.working_bytes.max(self.working_bytes()), ..taken }
    }

    /// What those take to work that run.
    fn working_bytes(&self) -> u64 {
        let running = self.open.values().filter(|job| job.is_running);
        running.fold(0, |sum, job| sum.saturating_add(job.memory.working_bytes))
    }

    /// Whether there is memory for a job that takes so much beside those that are there; if not, how much it takes, and how much
    /// there is. Jobs that were given up make room.
    pub(super) fn has_memory_for(&self, memory: CoordinatorMemory) -> Result<(), (u64, u64)> {
        let taken = self.taken();
        let free = self.memory.allowed_bytes.saturating_sub(taken.kept_bytes());
        let needed = taken.beside(memory).bytes() - taken.kept_bytes();
        if needed > free { Err((needed, free)) } else { Ok(()) }
    }

    /// Takes in a job from before the start that was not read, for this reason: of it nothing is here. One that waited to be
    /// resumed already still does.
    pub(in crate::coordinator) fn restore_unread(&mut self, restored: Restored, reason: FailReason) -> FailReason {
        let Restored { state, rounds, .. } = restored;
        let lacks_memory = matches!(reason, FailReason::TooLarge { .. });
        let waited = state.status.failure.filter(|_| lacks_memory && state.status.state == JobState::Paused);
        let failure = waited.clone().unwrap_or_else(|| Failure::paused(&reason));
        let lacks_memory = lacks_memory && waited.is_none();
        let memory = CoordinatorMemory::of(&state.specification, self.memory.means);
        let awaits_others = lacks_memory && memory.bytes() <= self.memory.allowed_bytes;
        let mut job = self.new_job(state.specification.clone(), state.status.submitted_ms, None);
        job.is_written = true;
        job.rounds.extend(&rounds);
        job.written = state.progress.as_ref().map(|progress| progress.base);
        job.leave_memory(Unread { lacks_memory, awaits_others, is_asked_for: false });
        job.paused = Some((failure, true));
        self.open.insert(state.status.job, job);
        self.is_complete(state.status.job);
        waited.map_or(reason, FailReason::Recorded)
    }

    /// A job is paused, for who knows how long, and all of it is on the disk: others get its memory, and it is read again once it is
    /// resumed.
    pub(in crate::coordinator) fn put_down(&mut self, id: JobId) {
        let Some(mut job) = self.open.remove(&id) else { return };
        self.uncount(&job);
        self.unpin(&job, &job.missing);
        if let Some(base) = &job.base {
            self.store.remove(&base.digest);
        }
        job.leave_memory(Unread { lacks_memory: false, awaits_others: false, is_asked_for: false });
        self.open.insert(id, job);
        self.is_complete(id);
    }

    /// A job that is not here is wanted: where there is no memory for it, it goes on once there is. True if so.
    pub(in crate::coordinator) fn await_memory_for(&mut self, id: JobId) -> bool {
        let is_at_rest = |job: &&Job| job.unread.as_ref().is_some_and(|unread| !unread.is_asked_for);
        let Some(job) = self.open.get(&id).filter(is_at_rest) else { return false };
        let memory = CoordinatorMemory::of(&job.specification, self.memory.means);
        let Err((needed, allowed)) = self.has_memory_for(memory) else { return false };
        let awaits_others = memory.bytes() <= self.memory.allowed_bytes;
        if let Some(job) = self.open.get_mut(&id) {
            job.unread = Some(Unread { lacks_memory: true, awaits_others, is_asked_for: false });
            job.paused = Some((Failure::paused(&FailReason::TooLarge { needed, allowed }), true));
        }
        true
    }

    /// Whether a job is not read, and may be now; then it counts as asked for. One that has not been read for want of memory
    /// may be once there is enough.
    pub(in crate::coordinator) fn may_read(&mut self, id: JobId) -> bool {
        let Some(job) = self.open.get(&id) else { return false };
        let memory = CoordinatorMemory::of(&job.specification, self.memory.means);
        let is_room = self.has_memory_for(memory).is_ok();
        let Some(job) = self.open.get_mut(&id) else { return false };
        let Some(unread) = job.unread.as_mut().filter(|unread| is_room && !unread.is_asked_for) else { return false };
        unread.is_asked_for = true;
        job.paused = None;
        job.memory = memory;
        true
    }

    /// Whether a job is being read.
    pub(in crate::coordinator) fn is_asked_for(&self, id: JobId) -> bool {
        self.open.get(&id).and_then(|job| job.unread.as_ref()).is_some_and(|unread| unread.is_asked_for)
    }

    /// Jobs that have not been read for want of memory, those that came first first.
    pub(in crate::coordinator) fn await_memory(&self) -> Vec<JobId> {
        let lacks = |job: &Job| job.unread.as_ref().is_some_and(|unread| unread.lacks_memory && !unread.is_asked_for);
        let mut waiting: Vec<_> =
            self.open.iter().filter(|(_, job)| lacks(job)).map(|(&id, job)| (job.submitted_ms, id)).collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, id)| id).collect()
    }

    /// Lets go of data that is kept for nobody, but for a little, unless a job runs or is about to. False if so.
    pub(in crate::coordinator) fn rest(&self) -> bool {
        let is_at_rest = self.open.values().all(|job| job.paused.is_some());
        if is_at_rest && let Some(bytes) = self.resting_bytes {
            self.store.trim(bytes);
        }
        is_at_rest
    }

    /// Leaves the jobs that run, or are about to, the memory that they take: what is kept for nobody goes.
    pub(in crate::coordinator) fn make_way(&self) {
        let working_bytes = self.working_bytes();
        self.store.limit(self.store_bytes.min(self.memory.allowed_bytes.saturating_sub(working_bytes)));
    }
}

impl Job {
    /// It could not be read: it is still paused, for this reason, until it is wanted again.
    pub(in crate::coordinator) fn stay_paused(&mut self, failure: Failure) {
        self.leave_memory(Unread { lacks_memory: false, awaits_others: false, is_asked_for: false });
        self.paused = Some((failure, true));
    }

    /// From here on nothing of it is here but what is told of it.
    fn leave_memory(&mut self, unread: Unread) {
        self.objects.clear();
        self.missing.clear();
        (self.base, self.best, self.validation, self.test) = (None, None, None, None);
        self.memory = CoordinatorMemory::default();
        self.unread = Some(unread);
    }
}

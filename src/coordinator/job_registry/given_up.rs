//! Jobs that were given up and of which nothing is written: they stay in memory as long as nobody else needs it. Does not know
//! why a job is given up.

use std::collections::HashMap;

use super::{Job, Jobs};
use crate::coordinator::durable_rounds::DurableRounds;
use crate::coordinator::journal::Restored;
use crate::job::JobId;
use crate::job::memory::CoordinatorMemory;

impl Jobs {
    /// Lets go of jobs that were given up, for as long as there is no room for this one beside them.
    pub(super) fn make_room(&mut self, new: &Job) {
        while !self.kept.is_empty() {
            let jobs = self.open.values().chain(self.kept.iter().map(|(_, job)| job)).chain([new]);
            let held: HashMap<_, _> = jobs.flat_map(|job| &job.objects).collect();
            let kept = self.kept.iter().map(|(_, job)| CoordinatorMemory { working_bytes: 0, ..job.memory });
            let taken = kept.fold(self.taken().beside(new.memory), CoordinatorMemory::beside);
            let bytes = held.values().fold(0u64, |sum, &&bytes| sum.saturating_add(bytes));
            if bytes <= self.store_bytes && taken.bytes() <= self.memory.allowed_bytes {
                return;
            }
            if let Some((_, job)) = self.kept.pop_front() {
                self.unpin(&job, &job.missing);
            }
        }
    }

    /// A job was given up, and nothing of it is written: it stays in memory until others need the room, or it is forgotten.
    pub(in crate::coordinator) fn keep(&mut self, id: JobId) {
        let Some(mut job) = self.open.remove(&id) else { return };
        // Its data do not count beside those of others, since they make room for them.
        self.uncount(&job);
        // It goes on from what is recorded of it; from its beginning, if nothing is.
        if let Some(base) = job.base.take_if(|base| job.written != Some(base.digest)) {
            self.store.unpin(&base.digest);
        }
        if job.base.is_some() || job.written.is_none() {
            self.kept.push_back((id, job));
        } else {
            self.unpin(&job, &job.missing);
        }
    }

    /// Whether a job that was given up is kept.
    pub(in crate::coordinator) fn keeps(&self, id: JobId) -> bool {
        self.kept.iter().any(|(kept, _)| *kept == id)
    }

    /// A job that has ended is known no more.
    pub(in crate::coordinator) fn forget(&mut self, id: JobId) {
        if let Some(place) = self.kept.iter().position(|(kept, _)| *kept == id)
            && let Some((_, job)) = self.kept.remove(place)
        {
            self.unpin(&job, &job.missing);
        }
    }

    /// Takes a job in again that was given up, from memory or with what the journal has read back.
    pub(in crate::coordinator) fn reopen(&mut self, restored: Restored) -> Result<(), String> {
        let id = restored.state.job();
        let Some(place) = self.kept.iter().position(|(kept, _)| *kept == id) else { return self.restore(restored) };
        if let Some((_, mut job)) = self.kept.remove(place) {
            self.make_room(&job);
            job.rounds = DurableRounds::default();
            job.rounds.extend(&restored.rounds);
            job.goes_on = true;
            job.objects().for_each(|(digest, bytes)| self.here.add(digest, bytes));
            self.open.insert(id, job);
            self.is_complete(id);
        }
        Ok(())
    }
}

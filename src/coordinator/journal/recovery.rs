//! What is done with the journal at the start. Owns what becomes of a job that cannot be read back; does not know what makes
//! a state whole (`reading`).

use super::command::Restored;
use super::directory::Directory;
use super::job_writer::JobWriter;
use super::reading::{self, Unread, Whole, newest};
use super::recall::read_objects;
use super::state::StoredState;
use super::underway::{Deadly, HeavyStep};
use super::writer::Writer;
use crate::coordinator::data::objects_of;
use crate::coordinator::lived::LivedRecord;
use crate::disk::{DiskError, Doing};
use crate::job::memory::CoordinatorMemory;
use crate::job::{FailReason, JobId};
use crate::model::ARITHMETIC;

impl Writer {
    /// Reads everything back, in the order in which it was submitted; what has ended, in the order in which it did.
    pub(super) fn recover(&mut self) -> Result<Vec<Restored>, DiskError> {
        let Some(directory) = self.directory.clone() else { return Ok(Vec::new()) };
        let mut restored = Vec::new();
        let peeked = directory.jobs()?.into_iter().map(|job| (reading::peek(&directory, job), job));
        let mut jobs: Vec<(Option<StoredState>, JobId)> = peeked.collect();
        // Those that came first have the memory first.
        jobs.sort_by_key(|(state, _)| state.as_ref().map(|state| state.submitted_as));
        for (peeked, job) in jobs {
            let is_open = |state: &StoredState| {
                state.status.ended_ms == 0 && state.specification.training.arithmetic == ARITHMETIC
            };
            let open = peeked.filter(is_open);
            // Of a job that has ended nobody needs anything so badly.
            let is_noted = open.is_some();
            if let Some(state) = open
                && let Some(reason) = self.unread_for(job, &state)
                && let Some(left) = self.leave_unread(&directory, job, state, reason)
            {
                restored.push(left);
                continue;
            }
            let _begun = is_noted.then(|| self.underway.begin(job, HeavyStep::Read));
            match self.read_job(&directory, job) {
                Ok(read) => restored.extend(read),
                Err(Unread::Damaged(why)) => {
                    // Before it is done: whatever ends the program then, it must not be gone without a word.
                    log::error!(
                        "job {job} cannot be read back: {why}; its files go to {}. Submit the job again",
                        directory.damaged().display()
                    );
                    match directory.set_aside(job) {
                        Err(error) if error.doing == Doing::Sync => return Err(error),
                        Err(error) => self.leave(&directory, job, &format!("{why}; {error}")),
                        Ok(()) => {}
                    }
                }
                // Perhaps it can be tomorrow: nothing of it is touched.
                Err(Unread::Disk(why)) => self.leave(&directory, job, &why),
                Err(Unread::Sync(error)) => return Err(error),
                Err(Unread::Arithmetic(begun)) => {
                    let text = format!(
                        "job {job} was begun in arithmetic {begun}, and this program computes arithmetic {ARITHMETIC}: only \
                         the coordinator that began it can go on with it. It is left as it is: submit its data again under \
                         another id, and remove {}",
                        directory.job(job).display()
                    );
                    log::error!("{text}");
                    self.archive.leave_unread(job, text);
                }
            }
        }
        restored.sort_by_key(|job| (job.state.lived_ms, job.state.submitted_as));
        self.submitted = restored.iter().map(|job| job.state.submitted_as).max().unwrap_or(0);
        // Nobody knows what a job needs that is not read.
        if !self.archive.has_unread()
            && let Err(error) = directory.sweep(|digest| self.retention.is_needed(digest))
        {
            if error.doing == Doing::Sync {
                return Err(error);
            }
            log::warn!("files that a crash left in {} are not removed: {error}", directory.root().display());
        }
        Ok(restored)
    }

    /// For how long coordinators have run over this journal, by what is written of it and of the jobs that have ended, of which those of
    /// another journal have ended when it was written.
    pub(super) fn lived(&self, restored: &mut [Restored]) -> LivedRecord {
        let written = self.directory.as_ref().and_then(|directory| directory.read_lived());
        if let Some(written) = &written {
            restored.iter_mut().for_each(|job| job.state.lived_ms = written.end_of(job.state.lived_ms));
        }
        let written = written.unwrap_or_default();
        let last_ms = restored.iter().map(|job| job.state.lived_ms).max().unwrap_or(0);
        LivedRecord { lived_ms: written.lived_ms.max(last_ms), ..written }
    }

    /// A job stays unknown until a later start, and nobody may begin another of its id.
    fn leave(&self, directory: &Directory, job: JobId, why: &str) {
        let text = format!(
            "job {job} is in the journal and cannot be read: {why}. It is left as it is, and can neither be shown nor \
             submitted again. Start the coordinator again once the disk gives it, or once {} is moved away",
            directory.job(job).display()
        );
        log::error!("{text}");
        self.archive.leave_unread(job, text);
    }

    /// Why a job that has not ended is better not read, if it is. One that is has its memory from here on.
    fn unread_for(&mut self, job: JobId, state: &StoredState) -> Option<FailReason> {
        if let Some(Deadly { step, deaths }) = self.underway.read_back(job) {
            return Some(FailReason::Deadly { step: step.to_string(), deaths });
        }
        let own = CoordinatorMemory::of(&state.specification, self.memory.means);
        let together = self.taken.beside(own);
        let (needed, allowed) = (together.bytes(), self.memory.allowed_bytes);
        if needed > allowed {
            return Some(FailReason::TooLarge {
                needed: own.bytes(),
                allowed: allowed.saturating_sub(self.taken.kept_bytes()),
            });
        }
        self.taken = together;
        None
    }

    /// What is told of a job that is not read: its rounds, for its ledger can be read without much memory. Nothing of it is
    /// touched, but that it may be cancelled.
    fn leave_unread(
        &mut self,
        directory: &Directory,
        job: JobId,
        state: StoredState,
        reason: FailReason,
    ) -> Option<Restored> {
        let (_, rounds, starts) = reading::rounds(directory, &state).ok()?;
        // What is told of it from now on is to be there after a power cut, too. Where that fails, reading it says so.
        directory.sync_job(job).ok()?;
        let mut writer = JobWriter::new(state.clone(), None, None);
        writer.resume(starts);
        self.archive.shelve(job, writer.shelved());
        self.writers.insert(job, writer);
        self.retention.begin(job, objects_of(&state.specification));
        Some(Restored { state, rounds, weights: None, best: None, objects: Vec::new(), unread: Some(reason) })
    }

    /// Reads a job that was left unread: whatever killed the coordinators before is tried again.
    pub(super) fn read_now(&mut self, job: JobId) -> Result<Box<Restored>, Unread> {
        let gone = || Unread::Damaged("it is not there any more".to_owned());
        let directory = self.directory.clone().ok_or_else(gone)?;
        self.underway.try_again(job);
        let _begun = self.underway.begin(job, HeavyStep::Read);
        self.read_job(&directory, job)?.map(Box::new).ok_or_else(gone)
    }

    fn read_job(&mut self, directory: &Directory, job: JobId) -> Result<Option<Restored>, Unread> {
        let Some(whole) = newest(directory, job)? else {
            // It was killed before anything of it was durable.
            directory.remove_job(job)?;
            return Ok(None);
        };
        if !whole.has_settled {
            // What is told of it from now on is to be there after a power cut, too.
            directory.sync_job(job)?;
        }
        let Whole { state, weights, best, rounds, starts, state_bytes, .. } = whole;
        let needed = objects_of(&state.specification);
        let has_ended = state.status.ended_ms != 0;
        let begun = state.specification.training.arithmetic;
        if !has_ended && begun != ARITHMETIC {
            return Err(Unread::Arithmetic(begun));
        }
        let objects = if has_ended { Vec::new() } else { read_objects(directory, &state)? };
        self.retention.begin(job, needed);
        // Nothing depends on them: who verifies a task computes them again.
        let mut kept_bytes = 0;
        match directory.kept_weights(job) {
            Ok(kept) => {
                for digest in kept {
                    kept_bytes += directory.weights_bytes(job, &digest).unwrap_or(0);
                    self.archive.keep(job, digest);
                }
            }
            Err(error) => log::warn!("{error}"),
        }
        if has_ended {
            self.archive.unshelve(job, state.objects());
            let bytes = 2 * state_bytes + state.ledger.bytes + kept_bytes;
            self.retention.end(job, state.lived_ms, bytes);
            return Ok(Some(Restored { state, rounds: Vec::new(), weights: None, best: None, objects, unread: None }));
        }
        let mut writer = JobWriter::new(state.clone(), weights.clone(), best.clone());
        writer.resume(starts);
        writer.kept_bytes = kept_bytes;
        self.archive.shelve(job, writer.shelved());
        self.writers.insert(job, writer);
        Ok(Some(Restored { state, rounds, weights, best, objects, unread: None }))
    }
}

//! Jobs that were given up and are wanted again: what is kept of one is read back, and the job goes on where it was. Owns the
//! way from an end back to a job that is written; does not know who wants it, or whether there is room for it.

use std::sync::Arc;

use super::command::{JournalEvent, Objects, Recalled, Restored};
use super::directory::Directory;
use super::job_writer::JobWriter;
use super::reading::{Unread, Whole, newest};
use super::state::StoredState;
use super::underway::HeavyStep;
use super::writer::Writer;
use crate::coordinator::data::objects_of;
use crate::job::{JobId, JobState};
use crate::model::ARITHMETIC;

impl Writer {
    /// Reads back what is kept of a job that has ended. It is as it was until it is reopened.
    pub(super) fn recall(&self, job: JobId) {
        let recalled = match &self.directory {
            Some(directory) => self.read_back(directory, job).map_err(|why| {
                format!(
                    "job {job} cannot go on, because what is kept of it cannot be read back: {why}; submit it again"
                )
            }),
            // Its data and its weights are where they were.
            None => {
                let state = self.writers.get(&job).map(|writer| writer.state.clone());
                let rounds = self.archive.rounds(job).unwrap_or_default();
                let restored =
                    |state| Restored { state, rounds, weights: None, best: None, objects: Vec::new(), unread: None };
                let unknown = || format!("job {job} cannot go on: nothing of it is kept; submit it again");
                state.map(|state| Recalled { restored: restored(state), writer: None }).ok_or_else(unknown)
            }
        };
        self.tell(JournalEvent::Recalled { job, recalled: recalled.map(Box::new) });
    }

    fn read_back(&self, directory: &Directory, job: JobId) -> Result<Recalled, Unread> {
        // Whatever killed the coordinators before is tried again.
        self.underway.try_again(job);
        let _begun = self.underway.begin(job, HeavyStep::Read);
        let whole = newest(directory, job)?.ok_or_else(|| Unread::Damaged("there is no state of it".to_owned()))?;
        let Whole { state, weights, best, rounds, starts, .. } = whole;
        let begun = state.specification.training.arithmetic;
        if begun != ARITHMETIC {
            return Err(Unread::Arithmetic(begun));
        }
        let objects = read_objects(directory, &state)?;
        let mut writer = JobWriter::new(state.clone(), weights.clone(), best.clone());
        writer.resume(starts);
        let kept = directory.kept_weights(job).unwrap_or_default();
        writer.kept_bytes = kept.iter().filter_map(|digest| directory.weights_bytes(job, digest)).sum();
        let restored = Restored { state, rounds, weights, best, objects, unread: None };
        Ok(Recalled { restored, writer: Some(Box::new(writer)) })
    }

    /// A job that was recalled goes on: it is queued behind those that wait already.
    pub(super) fn reopen(&mut self, job: JobId, writer: Option<Box<JobWriter>>) {
        if let Some(writer) = writer {
            self.retention.begin(job, objects_of(&writer.state.specification));
            self.archive.reopen(job, writer.shelved());
            self.writers.insert(job, *writer);
        }
        self.queue_again(job);
    }

    /// A job that waits to be resumed, or was given up, is queued behind those that wait already, after a restart too.
    pub(super) fn queue_again(&mut self, job: JobId) {
        self.submitted += 1;
        let submitted_as = self.submitted;
        self.change(job, |state| {
            (state.submitted_as, state.lived_ms) = (submitted_as, 0);
            let status = &mut state.status;
            (status.state, status.ended_ms) = (JobState::Queued, 0);
            (status.failure, status.weights) = (None, None);
        });
    }
}

/// The data of a job that may go on, all of it.
pub(super) fn read_objects(directory: &Directory, state: &StoredState) -> Result<Objects, Unread> {
    let mut objects = Vec::new();
    for digest in objects_of(&state.specification).into_keys() {
        match directory.get_object(&digest) {
            Ok(Some(bytes)) => objects.push((digest, Arc::new(bytes))),
            Ok(None) => return Err(Unread::Damaged(format!("its data {digest} is missing or damaged"))),
            Err(error) => return Err(Unread::Disk(error.to_string())),
        }
    }
    Ok(objects)
}

//! What the journal is told, and what it tells. Does not know how anything is written.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::directory::Directory;
use super::job_writer::JobWriter;
use super::state::StoredState;
use super::underway::Underway;
use crate::coordinator::handover::Handed;
use crate::coordinator::lived::LivedRecord;
use crate::coordinator::work::{BestWeights, Weights};
use crate::digest::Digest;
use crate::job::memory::CoordinatorMeans;
use crate::job::{FailReason, Failure, JobId, JobState, JobStatus, Record, RoundSummary, Specification, Summary};

/// What happens when the journal cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDiskError {
    /// The coordinator ends. Started again, it goes on from what was written last.
    #[default]
    Stop,
    /// It says so, and goes on without; what is not written is lost if it ends.
    Continue,
}

impl FromStr for OnDiskError {
    type Err = String;

    fn from_str(text: &str) -> Result<OnDiskError, String> {
        match text {
            "stop" => Ok(OnDiskError::Stop),
            "continue" => Ok(OnDiskError::Continue),
            _ => Err("when the disk fails the coordinator can stop or continue".to_owned()),
        }
    }
}

/// What is to be written.
pub(in super::super) enum JournalCommand {
    /// A job, whose data is in the store.
    Begin { status: JobStatus, specification: Arc<Specification> },
    /// Steps of it, and the weights after them, unless later ones are ordered.
    Steps { job: JobId, record: Box<Record>, weights: Option<Handed> },
    /// It is paused, for this reason.
    Pause { job: JobId, failure: Failure },
    /// It is queued again.
    Resume { job: JobId },
    /// It was left unread at the start, and is to be read now.
    Read { job: JobId },
    /// It has ended; if it is done, with this, and with the object that this names. Coordinators had run for so long over the journal.
    End { status: JobStatus, summary: Option<Box<Summary>>, confusion: Option<Arc<Vec<u8>>>, lived_ms: u64 },
    /// No order: what is kept of it, which has ended, is wanted ([`JournalEvent::Recalled`]).
    Recall { job: JobId },
    /// It was recalled, and is queued again.
    Reopen { job: JobId, writer: Option<Box<JobWriter>> },
    /// Coordinators have run for so long.
    Lived(LivedRecord),
    /// It is not known any more.
    Forget { job: JobId },
}

/// What the journal tells the coordinator.
pub(in super::super) enum JournalEvent {
    /// It has been read. Nothing is written before that.
    Recovered { restored: Vec<Restored>, lived: LivedRecord },
    /// A job that was to be read; or why it cannot be.
    Read { job: JobId, read: Result<Box<Restored>, String> },
    /// What is kept of a job that has ended, or a sentence that says why it cannot go on.
    Recalled { job: JobId, recalled: Result<Box<Recalled>, String> },
    /// A job is written up to this round, and its end, if it has one; unless `is_written`, the disk did not take it, and the coordinator
    /// goes on without.
    Durable { job: JobId, rounds: u32, state: JobState, is_written: bool },
    /// Something could not be written, and the coordinator goes on.
    NotWritten(String),
    /// Everything is written that could not be.
    WrittenAgain,
    /// Jobs that have ended take more than they may: this one, the first of them, is to be forgotten.
    TooMuch { job: JobId },
}

/// What the journal is told at its start.
pub(in super::super) struct Keeping {
    /// Where; nowhere if none.
    pub(in super::super) directory: Option<Arc<Directory>>,
    pub(in super::super) on_disk_error: OnDiskError,
    /// Bytes that jobs may take there once they have ended.
    pub(in super::super) ended_bytes_max: u64,
    pub(in super::super) memory: JobMemory,
    pub(in super::super) underway: Underway,
}

/// Memory that jobs may take together, in bytes, and what decides how much each takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct JobMemory {
    pub(in super::super) allowed_bytes: u64,
    pub(in super::super) means: CoordinatorMeans,
}

/// Data of jobs, by digest.
pub(in super::super) type Objects = Vec<(Digest, Arc<Vec<u8>>)>;

/// A job that has ended, as it may go on.
pub(in super::super) struct Recalled {
    pub(in super::super) restored: Restored,
    /// What writes it on, where it is not held by the journal itself: to be given back with [`JournalCommand::Reopen`].
    pub(in super::super) writer: Option<Box<JobWriter>>,
}

/// A job from before the start, or from before its end.
pub(in super::super) struct Restored {
    pub(in super::super) state: StoredState,
    /// What was told of its rounds, the weights after them and after the best of them, and its data; only of a job that has not ended.
    pub(in super::super) rounds: Vec<RoundSummary>,
    pub(in super::super) weights: Option<Weights>,
    pub(in super::super) best: Option<BestWeights>,
    pub(in super::super) objects: Objects,
    /// Why it has not ended and yet nothing of this but its rounds was read.
    pub(in super::super) unread: Option<FailReason>,
}

impl fmt::Display for OnDiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OnDiskError::Stop => "stop",
            OnDiskError::Continue => "continue",
        })
    }
}

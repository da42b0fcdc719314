//! What is told of a job that is written, or why nothing is. Does not know where it is read.

use std::sync::Arc;

use super::ledger::Extent;
use crate::job::{JobId, Specification};
use crate::wire::message::Error;
use crate::wire::{ErrorCode, MessageType};

/// What is told of a job: as much of it as is durable.
#[derive(Clone)]
pub(super) struct Shelved {
    pub(super) specification: Arc<Specification>,
    pub(super) ledger: Extent,
    /// Where the blocks in the ledger's file begin: a page is read without those before it.
    pub(super) starts: Arc<Vec<u64>>,
    /// The ledger's blocks behind its file.
    pub(super) tail: Vec<Arc<Vec<u8>>>,
}

impl Shelved {
    pub(super) fn rounds(&self) -> usize {
        self.starts.len() + self.tail.len()
    }
}

/// Why nothing is told of a job.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Absent {
    /// No job of this id is known.
    Unknown,
    /// It is written, and cannot be read: a sentence that says which file, and what to do.
    Unread(String),
}

impl Absent {
    /// The answer to a message about this job.
    pub(in super::super) fn error(self, job: JobId, about: MessageType) -> Error {
        match self {
            Absent::Unknown => Error::new(ErrorCode::UnknownJob, about as u8, format!("no job {job} is known here")),
            // It may be otherwise after the next start.
            Absent::Unread(text) => Error::new(ErrorCode::Internal, about as u8, text).retryable(),
        }
    }
}

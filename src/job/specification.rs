//! What a job asks for, and its limits. Does not know how it is encoded, and so what its digest is (`wire`).

use std::fmt;

use crate::digest::Digest;
pub use crate::model::ROUNDS_MAX;
use crate::model::{Merge, Outer, Training};

/// Shards of a job, at most: their list fits a frame.
pub const SHARDS_MAX: u32 = 16_384;
/// Rows of a shard, or of the validation set, at most.
pub const ROWS_MAX: u32 = 1 << 30;

/// Bytes of a job's notes, at most: beside the longest list of shards they fit a frame.
pub const NOTES_BYTES_MAX: usize = 262_144;

/// Rows of data by the digest of the object that holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsRef {
    /// Rows in the object. A shard's weight in the merge.
    pub rows: u32,
    /// The object's digest.
    pub digest: Digest,
}

/// What happens to a task that no node can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum OnTaskFailure {
    /// The job fails.
    #[default]
    Fail = 1,
    /// The task is left out of its round's merge and reported as SKIPPED; the result is not reproducible.
    Skip = 2,
}

impl OnTaskFailure {
    /// All of them, in the order of their numbers, from 1 on.
    pub const ALL: [OnTaskFailure; 2] = [OnTaskFailure::Fail, OnTaskFailure::Skip];
}

/// What happens to a job when no node is active after every revival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum OnNoNodes {
    /// The job fails.
    #[default]
    Fail = 1,
    /// It waits until it is resumed or cancelled.
    Pause = 2,
}

impl OnNoNodes {
    /// All of them, in the order of their numbers, from 1 on.
    pub const ALL: [OnNoNodes; 2] = [OnNoNodes::Fail, OnNoNodes::Pause];
}

/// A job, whole. The first fields say what is computed; `operation` says how it may be gone about.
#[derive(Clone, Debug, PartialEq)]
pub struct Specification {
    /// Network, recipe, seed.
    pub training: Training,
    /// Rounds.
    pub rounds: u32,
    /// The training data, by shard.
    pub shards: Vec<RowsRef>,
    /// The validation data.
    pub validation: RowsRef,
    /// How a round's updates become one.
    pub merge: Merge,
    /// How the weights follow it.
    pub outer: Outer,
    /// Weights to start from instead of drawn ones.
    pub initial: Option<Digest>,
    /// How the job may be gone about: no part of its identity.
    pub operation: Operation,
    /// Whatever the client wants to be told with the job again. Nobody else looks into it, and it is not hashed.
    pub notes: Vec<u8>,
}

/// The operational part of a specification: not hashed, no part of what the job computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// What happens to a task that no node can do.
    pub on_task_failure: OnTaskFailure,
    /// Whether nodes of another arithmetic may work on it; the result is then not reproducible.
    pub allow_inexact: bool,
    /// What happens to the job when no node is left.
    pub on_no_nodes: OnNoNodes,
}

impl Specification {
    /// The specification itself, if every value lies within its limits. Network, recipe and outer optimiser check
    /// themselves.
    pub fn checked(self) -> Result<Specification, SpecificationError> {
        if self.rounds == 0 || self.rounds > ROUNDS_MAX {
            return Err(SpecificationError::Rounds { got: self.rounds });
        }
        if self.shards.is_empty() || self.shards.len() > SHARDS_MAX as usize {
            return Err(SpecificationError::Shards { got: self.shards.len() });
        }
        for rows in self.shards.iter().chain([&self.validation]) {
            if rows.rows == 0 || rows.rows > ROWS_MAX {
                return Err(SpecificationError::Rows { got: rows.rows });
            }
        }
        check_notes(&self.notes)?;
        Ok(self)
    }

    /// Training rows of all shards together.
    pub fn rows(&self) -> u64 {
        self.shards.iter().map(|shard| u64::from(shard.rows)).sum()
    }
}

/// Whether a job may have notes as long as these.
pub fn check_notes(notes: &[u8]) -> Result<(), SpecificationError> {
    match notes.len() {
        0..=NOTES_BYTES_MAX => Ok(()),
        got => Err(SpecificationError::Notes { got }),
    }
}

/// Why values make no job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecificationError {
    /// None, or more than [`ROUNDS_MAX`].
    Rounds {
        /// Rounds asked for.
        got: u32,
    },
    /// None, or more than [`SHARDS_MAX`].
    Shards {
        /// Shards asked for.
        got: usize,
    },
    /// A shard or validation set of no rows, or more than [`ROWS_MAX`].
    Rows {
        /// Rows asked for.
        got: u32,
    },
    /// More than [`NOTES_BYTES_MAX`].
    Notes {
        /// Bytes of them.
        got: usize,
    },
}

impl SpecificationError {
    /// The value, and the limit that it passes.
    pub fn got_and_limit(&self) -> (u64, u64) {
        match *self {
            Self::Rounds { got } => (got.into(), got.clamp(1, ROUNDS_MAX).into()),
            Self::Shards { got } => (got as u64, got.clamp(1, SHARDS_MAX as usize) as u64),
            Self::Rows { got } => (got.into(), got.clamp(1, ROWS_MAX).into()),
            Self::Notes { got } => (got as u64, NOTES_BYTES_MAX as u64),
        }
    }
}

impl fmt::Display for SpecificationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rounds { got } => write!(f, "a job has 1 to {ROUNDS_MAX} rounds, not {got}"),
            Self::Shards { got } => write!(f, "a job has 1 to {SHARDS_MAX} shards, not {got}"),
            Self::Rows { got } => write!(f, "a shard and the validation set have 1 to {ROWS_MAX} rows, not {got}"),
            Self::Notes { got } => write!(f, "a job's notes have at most {NOTES_BYTES_MAX} bytes, not {got}"),
        }
    }
}

impl std::error::Error for SpecificationError {}

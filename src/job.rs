//! A job as all three programs know it: what is asked for, its limits, and into which parts its time is told. Does not know
//! how it travels (`wire`), runs or is timed (`engine`).

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::model::{Network, Recipe};

/// Rounds of a job, at most.
pub const ROUNDS_MAX: u32 = 1_000_000;
/// Shards of a job, at most: their list fits a frame.
pub const SHARDS_MAX: u32 = 16_384;
/// Rows of a shard, or of the validation set, at most.
pub const ROWS_MAX: u32 = 1 << 30;

/// Bytes of a job's notes, at most: beside the longest list of shards they fit a frame.
pub const NOTES_BYTES_MAX: usize = 262_144;

/// A job's name: 128 bits that the client chooses at random, so that it can ask again after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u128);

impl JobId {
    /// No job's: who asks for it asks for all of them.
    pub const NIL: JobId = JobId(0);
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The text is not 32 hexadecimal digits, or nothing but zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAJobId;

impl fmt::Display for NotAJobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a job id is 32 hexadecimal digits, not all of them 0")
    }
}

impl std::error::Error for NotAJobId {}

impl FromStr for JobId {
    type Err = NotAJobId;

    fn from_str(text: &str) -> Result<JobId, NotAJobId> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAJobId);
        }
        let job = u128::from_str_radix(text, 16).map(JobId).map_err(|_| NotAJobId)?;
        if job == JobId::NIL { Err(NotAJobId) } else { Ok(job) }
    }
}

/// One piece of work: a shard, trained once from a round's base weights. Depends on nothing but what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The job.
    pub job: JobId,
    /// The step; today the round, counted from 0.
    pub step: u64,
    /// The shard, counted from 0.
    pub shard: u32,
}

/// One dispatch of a task to one node over one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The task.
    pub task: TaskId,
    /// Which dispatch of the task it is, counted from 1.
    pub attempt: u32,
    /// Random: a result that does not carry it was not trained for this attempt.
    pub token: u64,
}

/// What a node must know to train any task of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// The arithmetic that the result is promised in (docs/arithmetic.md).
    pub arithmetic: u16,
    /// The shape.
    pub network: Network,
    /// The local mathematics.
    pub recipe: Recipe,
    /// Every random choice of the job follows from it.
    pub seed: u64,
}

/// Where a done job's time went. Each moment from its start (its data is there, and its turn has come) to its last
/// validation counts to one part, so the parts add up to the time that it took.
///
/// The tasks of a round are out from its start until its last result. A moment of that counts to the first of `no_nodes`,
/// `stragglers`, `compute` and `wire` that is true of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Until the first weights were there.
    pub prepare_us: u64,
    /// The node whose result came last in the round was training for it, by its own account.
    pub compute_us: u64,
    /// Anything else: weights, shards and updates travelled, or tasks waited in nodes' queues, were turned down or failed.
    pub wire_us: u64,
    /// No task was left to hand out, and a node that had trained for the round waited for the others, or trained a copy of
    /// a slow one's task.
    pub stragglers_us: u64,
    /// A task was to be handed out, and no node was there that could take it.
    pub no_nodes_us: u64,
    /// From a round's last result until the weights that came of it.
    pub merge_us: u64,
    /// Nothing was left to do but validations that ran: after the last round, or because too many had piled up.
    pub validate_us: u64,
}

impl Profile {
    /// The parts in their order, each with its name.
    pub fn parts(&self) -> [(&'static str, u64); 7] {
        [
            ("prepare", self.prepare_us),
            ("compute", self.compute_us),
            ("wire", self.wire_us),
            ("stragglers", self.stragglers_us),
            ("no_nodes", self.no_nodes_us),
            ("merge", self.merge_us),
            ("validate", self.validate_us),
        ]
    }

    /// All parts together; from a peer they may be any numbers.
    pub fn total_us(&self) -> u64 {
        self.parts().iter().fold(0, |total, (_, us)| total.saturating_add(*us))
    }

    /// Time in which a round's tasks were out.
    pub fn waiting_us(&self) -> u64 {
        let parts = [self.compute_us, self.wire_us, self.stragglers_us, self.no_nodes_us];
        parts.iter().fold(0, |total, us| total.saturating_add(*us))
    }
}

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
    /// The specification itself, if every value lies within its limits. Network and recipe check themselves.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_is_written_and_read_as_32_hexadecimal_digits() {
        let id = JobId(0xabc);
        assert_eq!(id.to_string(), "00000000000000000000000000000abc");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "abc", "+0000000000000000000000000000abc", &"é".repeat(16)] {
            assert_eq!(text.parse::<JobId>(), Err(NotAJobId), "{text}");
        }
    }
}

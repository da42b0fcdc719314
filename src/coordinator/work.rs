//! What the merging and the validating thread are asked to do. Does not know how they do it (`workers`).

use std::sync::Arc;

use super::taking_turns::ForJob;
use super::update::UpdateBytes;
use crate::digest::Digest;
use crate::job::{JobId, Specification};
use crate::model::{OuterState, Rows};

/// Weights that exist, as the object that holds them.
#[derive(Clone)]
pub(super) struct Weights {
    pub(super) digest: Digest,
    pub(super) bytes: Arc<Vec<u8>>,
    /// What the outer optimiser remembers at them.
    pub(super) outer: Arc<OuterState>,
}

/// The weights of a job's best round as the object that holds them, and its digest.
pub(super) type BestWeights = (Digest, Arc<Vec<u8>>);

/// What the merging thread is to do.
pub(super) enum MergeWork {
    /// Make the weights that the next step begins with, and room for what a job works with, which are so many bytes.
    Prepare { job: JobId, specification: Arc<Specification>, start: Start, working_bytes: u64 },
    /// Take in a task's result of the right shape: an update, or the gradients' sum of so many blocks.
    Accumulate { job: JobId, step: u64, shard: u32, rows: u32, blocks: u32, update: Arc<UpdateBytes> },
    /// Turn the base into the new weights, of results of so many rows, and begin the next step. Nobody else holds the base, if it
    /// can be helped: then the new weights take its place in memory, and the outer optimiser's state that of the old one.
    Finish { job: JobId, step: u64, rows: u64, base: Weights },
    /// Forget the job.
    Release { job: JobId },
}

impl ForJob for MergeWork {
    fn job(&self) -> JobId {
        match self {
            Self::Prepare { job, .. }
            | Self::Accumulate { job, .. }
            | Self::Finish { job, .. }
            | Self::Release { job } => *job,
        }
    }
}

/// What a job's next weights come from.
pub(super) enum Start {
    /// Step 0, from drawn weights.
    Drawn,
    /// Step 0, from those in this object.
    Given(Arc<Vec<u8>>),
    /// The job goes on from its own.
    Own(Weights),
}

/// What weights are tried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// The validation rows, after this round, counted from 0.
    Round(u32),
    /// The validation and test rows, in all figures, once nothing more is done.
    Result,
}

/// Which class rows were taken for, as the object that holds it, and its digest.
pub(super) type ConfusionObject = (Digest, Arc<Vec<u8>>);

/// What the validating thread is to do.
pub(super) struct Validating {
    pub(super) job: JobId,
    pub(super) judged: Judged,
    pub(super) specification: Arc<Specification>,
    pub(super) weights: Arc<Vec<u8>>,
    /// Of the weights.
    pub(super) digest: Digest,
    /// The validation rows.
    pub(super) rows: Arc<Rows<'static>>,
    /// The test rows, where there are some and they are to be looked at.
    pub(super) test: Option<Arc<Rows<'static>>>,
    /// Whether it may be too much for the machine, and is noted.
    pub(super) is_heavy: bool,
}

impl ForJob for Validating {
    fn job(&self) -> JobId {
        self.job
    }
}

/// A job that works with so much is noted with all that it does; of others the first time in a coordinator's life is enough, for
/// later ones take no more.
pub(super) const HEAVY_BYTES: u64 = 64 << 20;

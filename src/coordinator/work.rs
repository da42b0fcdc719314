//! What the merging and the validating thread are asked to do. Does not know how they do it (`workers`).

use std::sync::Arc;

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

/// What the merging thread is to do.
pub(super) enum MergeWork {
    /// Make the weights that the next step begins with.
    Prepare { job: JobId, specification: Arc<Specification>, start: Start },
    /// Take in a task's result of the right shape: an update, or the gradients' sum of so many blocks.
    Accumulate { job: JobId, step: u64, shard: u32, rows: u32, blocks: u32, update: Arc<UpdateBytes> },
    /// Turn the base into the new weights, of results of so many rows, and begin the next step. Nobody else holds the base, if it can be helped: then the
    /// new weights take its place in memory, and the outer optimiser's state that of the old one.
    Finish { job: JobId, step: u64, rows: u64, base: Weights },
    /// Forget the job.
    Release { job: JobId },
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

/// What the validating thread is to do.
pub(super) struct Validating {
    pub(super) job: JobId,
    pub(super) round: u32,
    pub(super) specification: Arc<Specification>,
    pub(super) weights: Arc<Vec<u8>>,
    /// Of the weights.
    pub(super) digest: Digest,
    pub(super) rows: Arc<Rows<'static>>,
}

//! What the merging and the validating thread are asked to do. Does not know how they do it (`workers`).

use std::sync::Arc;

use super::update::UpdateBytes;
use crate::digest::Digest;
use crate::job::{JobId, Specification};
use crate::model::Rows;

/// Weights that exist, as the object that holds them.
#[derive(Clone)]
pub(super) struct Weights {
    pub(super) digest: Digest,
    pub(super) bytes: Arc<Vec<u8>>,
}

/// What the merging thread is to do.
pub(super) enum MergeWork {
    /// Make the weights of step 0: drawn, or those of this object.
    Prepare { job: JobId, specification: Arc<Specification>, initial: Option<Arc<Vec<u8>>> },
    /// Take in an update of the right shape.
    Accumulate { job: JobId, step: u64, shard: u32, rows: u32, update: Arc<UpdateBytes> },
    /// Turn the base into the new weights, and begin the next round. Nobody else holds the base, if it can be helped: then the
    /// new weights take its place in memory.
    Finish { job: JobId, step: u64, base: Arc<Vec<u8>> },
    /// Forget the job.
    Release { job: JobId },
}

/// What the validating thread is to do.
pub(super) struct Validating {
    pub(super) job: JobId,
    pub(super) step: u64,
    pub(super) specification: Arc<Specification>,
    pub(super) weights: Arc<Vec<u8>>,
    /// Of the weights.
    pub(super) digest: Digest,
    pub(super) rows: Arc<Rows<'static>>,
}

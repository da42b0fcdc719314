//! Others that help with a batch. Owns what a trainer asks of them; does not know who they are, or on which threads
//! they work.

/// Whoever may help with a batch of more than one block. What they compute, and in which order it is added up, does not
/// depend on how many come.
pub trait Helpers: Send {
    /// How many work on a batch at most, whoever calls included.
    fn workers(&self) -> usize;

    /// Calls `work` here, and at most once each in up to `helpers_most` others, elsewhere, for whoever has time; returns
    /// when all these calls have. Panics if one of them has.
    fn work(&self, helpers_most: usize, work: &(dyn Fn() + Sync));
}

/// Nobody.
pub(super) struct NoHelpers;

impl Helpers for NoHelpers {
    fn workers(&self) -> usize {
        1
    }

    fn work(&self, _helpers_most: usize, work: &(dyn Fn() + Sync)) {
        work();
    }
}

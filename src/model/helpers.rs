//! Others that help with a batch. Owns what a trainer asks of them; does not know who they are, or on which threads
//! they work.

use super::train::Workspace;

/// Whoever may help with a batch of more than one block. What they compute, and in which order it is added up, does not
/// depend on how many come.
pub trait Helpers: Send {
    /// How many work on a batch at most, whoever calls included.
    fn workspaces(&self) -> usize;

    /// Calls `work` with the first of `workspaces`, here, and with each of the others at most once, elsewhere, for whoever has
    /// time; returns when all these calls have. Panics if one of them has.
    fn work(&self, workspaces: &mut [Workspace], work: &(dyn Fn(&mut Workspace) + Sync));
}

/// Nobody.
pub(super) struct NoHelpers;

impl Helpers for NoHelpers {
    fn workspaces(&self) -> usize {
        1
    }

    fn work(&self, workspaces: &mut [Workspace], work: &(dyn Fn(&mut Workspace) + Sync)) {
        if let Some(first) = workspaces.first_mut() {
            work(first);
        }
    }
}

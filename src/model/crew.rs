//! Others that lend a hand with a batch. Owns what a trainer asks of them; does not know who they are, or on which threads
//! they work.

use super::train::Hand;

/// Whoever may help with a batch of more than one block. What they compute, and in which order it is added up, does not
/// depend on how many come.
pub trait Crew: Send {
    /// How many work on a batch at most, whoever calls included.
    fn hands(&self) -> usize;

    /// Calls `work` with the first of `hands`, here, and with each of the others at most once, elsewhere, for whoever has
    /// time; returns when all these calls have. Panics if one of them has.
    fn work(&self, hands: &mut [Hand], work: &(dyn Fn(&mut Hand) + Sync));
}

/// Nobody.
pub(super) struct Alone;

impl Crew for Alone {
    fn hands(&self) -> usize {
        1
    }

    fn work(&self, hands: &mut [Hand], work: &(dyn Fn(&mut Hand) + Sync)) {
        if let Some(first) = hands.first_mut() {
            work(first);
        }
    }
}

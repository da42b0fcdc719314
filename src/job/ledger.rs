//! What the ledger says of a task, or of a step of merged gradients. Does not know how a ledger is written or sent.

use crate::digest::Digest;

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerEntry {
    /// Rows behind it: those of the task's shard, its weight in the merge; of a step, the rows whose gradients were merged.
    pub rows: u32,
    /// The weights that it started from.
    pub base: Digest,
    /// What came of it.
    pub result: EntryResult,
}

/// What came of a task, or of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryResult {
    /// The task's update was merged.
    Merged(MergedTask),
    /// The task was left out.
    Skipped,
    /// The gradients of a step's blocks were merged.
    Step(MergedStep),
}

/// A task's result that is in the sum.
#[derive(Clone, Debug, PartialEq)]
pub struct MergedTask {
    /// The node whose result it is.
    pub node: String,
    /// Which dispatch of the task it came of.
    pub attempt: u32,
    /// The loss, summed over the shard's rows, as the node reports it; finite.
    pub loss: f64,
    /// The update.
    pub update: Digest,
}

/// A step of merged gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct MergedStep {
    /// Blocks merged.
    pub blocks: u32,
    /// The blocks left out, by their numbers in the step, ascending.
    pub skipped: Vec<u32>,
    /// The loss, summed over the rows merged; finite.
    pub loss: f64,
    /// The sum of the blocks' gradients, as the object that a task of all merged blocks would yield; zeros where there are none.
    pub sum: Digest,
    /// What the outer optimiser remembered before the step, at its base, as an object; zeros where no block was merged: then it
    /// is what the next step begins with.
    pub outer: Digest,
}

impl LedgerEntry {
    /// The task that was merged, if it is one.
    pub fn merged(&self) -> Option<&MergedTask> {
        match &self.result {
            EntryResult::Merged(task) => Some(task),
            EntryResult::Skipped | EntryResult::Step(_) => None,
        }
    }
}

impl From<Option<MergedTask>> for EntryResult {
    /// What came of a task that was merged, or else skipped.
    fn from(task: Option<MergedTask>) -> EntryResult {
        task.map_or(EntryResult::Skipped, EntryResult::Merged)
    }
}

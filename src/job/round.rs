//! What came of a round and of its tasks, and how far the job is after it.

use super::{NodeTasks, Profile};
use crate::digest::Digest;
use crate::model::Metrics;

/// A round that is merged and validated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundSummary {
    /// Counted from 1.
    pub round: u32,
    /// Rounds of the job.
    pub rounds: u32,
    /// Training loss by row: the tasks' losses, summed in shard order, by the rows merged.
    pub loss: f64,
    /// Validation rows.
    pub rows: u64,
    /// How good the new weights are on them.
    pub metrics: Metrics,
    /// Nodes whose results were merged.
    pub nodes: u32,
    /// Tasks merged.
    pub merged: u32,
    /// Tasks skipped.
    pub skipped: u32,
    /// From the round's start until its merge was complete; validation overlaps the next round.
    pub round_us: u64,
}

impl RoundSummary {
    /// The step, counted from 0.
    pub fn step(&self) -> u64 {
        u64::from(self.round.saturating_sub(1))
    }
}

/// All that a job needs to go on after a round, besides its specification.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The last round that is done.
    pub last: RoundSummary,
    /// The weights after it.
    pub base: Digest,
    /// Tasks merged.
    pub merged: u64,
    /// Tasks skipped.
    pub skipped: u64,
    /// Whether the same job on any fleet gives the same weights.
    pub reproducible: bool,
    /// Results that came a second time, and were compared and dropped.
    pub duplicates: u64,
    /// Tasks merged by node.
    pub nodes: Vec<NodeTasks>,
    /// Revivals begun.
    pub revivals: u32,
    /// Where the time went; its parts add up to the time that the job ran.
    pub profile: Profile,
    /// All validations together.
    pub validating_us: u64,
    /// Training time of all merged tasks, by the nodes' own account.
    pub training_us: u64,
}

impl Progress {
    /// Rounds that are done: the step that comes next.
    pub fn rounds_done(&self) -> u32 {
        self.last.round
    }
}

/// What became of a round's tasks, and how far the job is after it: what is written down.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundRecord {
    /// The weights that its tasks started from.
    pub base: Digest,
    /// What became of each shard's task; none where it was skipped.
    pub tasks: Vec<Option<MergedTask>>,
    /// The job after the round.
    pub progress: Progress,
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

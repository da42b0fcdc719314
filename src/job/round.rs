//! What came of a round and of its tasks, and how far the job is after it.

use super::{LedgerEntry, NodeTasks, Profile, Specification};
use crate::digest::Digest;
use crate::model::{Metric, Metrics};

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
    /// Tasks, or blocks, merged.
    pub merged: u32,
    /// Tasks, or blocks, skipped.
    pub skipped: u32,
    /// From the round's start until its merge was complete; validation overlaps the next round.
    pub round_us: u64,
}

impl RoundSummary {
    /// Its number, counted from 0.
    pub fn index(&self) -> u64 {
        u64::from(self.round.saturating_sub(1))
    }
}

/// The steps that are done of a round that is not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoundSoFar {
    /// Training loss, summed over the rows merged.
    pub loss: f64,
    /// Rows merged.
    pub rows: u64,
    /// Tasks, or blocks, merged.
    pub merged: u32,
    /// Tasks, or blocks, skipped.
    pub skipped: u32,
    /// Nodes whose results were merged, in alphabetical order.
    pub nodes: Vec<String>,
    /// Time from the round's start, in microseconds.
    pub us: u64,
}

impl RoundSummary {
    /// Whether this share of the validation rows or more has been told right (docs/arithmetic.md, section 18).
    pub fn has_reached(&self, accuracy: f64) -> bool {
        let rows = self.rows as f64;
        self.metrics.get(Metric::Errors).is_some_and(|errors| rows - errors >= accuracy * rows)
    }
}

/// The best round so far of a job that keeps the best one's weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// What came of it.
    pub round: RoundSummary,
    /// The weights after it.
    pub weights: Digest,
}

impl Best {
    /// The better one of what was best before a round, if there was any round, and that round. Of two that are as good the
    /// earlier one stays (docs/arithmetic.md, section 18).
    #[must_use]
    pub fn or(before: Option<Best>, round: RoundSummary, weights: Digest) -> Best {
        match before {
            Some(best) if !round.metrics.is_better_than(&best.round.metrics) => best,
            _ => Best { round, weights },
        }
    }

    /// Whether a job that waits so many rounds for a better one is done after this round.
    pub fn is_final(&self, patience: u32, last: &RoundSummary) -> bool {
        last.round.saturating_sub(self.round.round) >= patience
    }
}

/// All that a job needs to go on after a step, besides its specification.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Steps that are done; not 0.
    pub steps: u64,
    /// The last round that is done, if one is.
    pub last: Option<RoundSummary>,
    /// The best round that is done, if the job has a patience.
    pub best: Option<Best>,
    /// What is done of the next.
    pub so_far: RoundSoFar,
    /// The weights after the last step.
    pub base: Digest,
    /// Tasks, or blocks, merged.
    pub merged: u64,
    /// Tasks, or blocks, skipped.
    pub skipped: u64,
    /// Whether the same job on any fleet gives the same weights.
    pub reproducible: bool,
    /// Results that came a second time, and were compared and dropped.
    pub duplicates: u64,
    /// Tasks, or blocks, merged by node.
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
    /// The weights that are the job's result if nothing is done after this.
    pub fn weights(&self) -> Digest {
        self.best.map_or(self.base, |best| best.weights)
    }

    /// The weights that are kept: those that the next step starts from and, where they are others, those of the best round.
    pub fn all_weights(&self) -> impl Iterator<Item = Digest> {
        let best = Some(self.weights()).filter(|weights| *weights != self.base);
        std::iter::once(self.base).chain(best)
    }

    /// Whether no step is to be done after this: all are, no round was better for long enough, or the last is good enough.
    pub fn is_final(&self, specification: &Specification) -> bool {
        let is_at_end = self.steps.is_multiple_of(specification.round_steps().into());
        let has_stopped =
            |patience| self.best.zip(self.last).is_some_and(|(best, last)| best.is_final(patience, &last));
        let has_reached = |accuracy| self.last.is_some_and(|last| last.has_reached(accuracy));
        let is_enough =
            specification.patience.is_some_and(has_stopped) || specification.target_accuracy.is_some_and(has_reached);
        self.steps >= specification.steps() || is_at_end && is_enough
    }

    /// Rounds that are done.
    pub fn rounds_done(&self) -> u32 {
        self.last.map_or(0, |last| last.round)
    }
}

/// What came of some steps, and how far the job is after them: what is written down.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The ledger's lines of the steps since the last record.
    pub entries: Vec<LedgerEntry>,
    /// Whether a round ended with them: the progress' last.
    pub ends_round: bool,
    /// The job after them.
    pub progress: Progress,
}

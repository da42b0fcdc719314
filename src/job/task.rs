//! What a node makes of a task. Does not know how a task is trained.

use std::fmt;

use crate::digest::Digest;
use crate::model::BlockRange;

/// The rows that a task is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskRows {
    /// A shard's.
    Shard(u32),
    /// These blocks', whose gradients are summed, as they lie in this epoch; by shard, each shard once.
    Blocks {
        /// The epoch, from 0.
        epoch: u64,
        /// The blocks.
        ranges: Vec<BlockRange>,
    },
}

/// What a task is of, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A shard.
    Shard {
        /// The round, from 0.
        round: u32,
        /// The shard.
        shard: u32,
    },
    /// Blocks of a step of merged gradients.
    Blocks {
        /// The step, from 0.
        step: u64,
        /// The first block.
        first: u32,
        /// The last.
        last: u32,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shard { round, shard } => write!(f, "shard {shard} of round {}", round + 1),
            Self::Blocks { step, first, last } if first == last => write!(f, "block {first} of step {}", step + 1),
            Self::Blocks { step, first, last } => write!(f, "blocks {first} to {last} of step {}", step + 1),
        }
    }
}

/// What a node yields for a task, besides the update's bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskResult {
    /// Epochs trained; fewer than planned where training stopped early.
    pub epochs: u32,
    /// The loss, summed over the shard's rows, as the node reports it.
    pub loss: f64,
    /// Time spent training, by the node's own account.
    pub train_us: u64,
    /// The update.
    pub update: Digest,
    /// Its size as an object.
    pub update_bytes: u64,
}

/// No task's loss has this magnitude, 2^400: 2^30 rows of 2^16 targets, whose differences are squares of an f32, stay below
/// 2^304. The losses of all tasks of a job add up to a number.
pub const TASK_LOSS_END: f64 = f64::from_bits((1023 + 400) << 52);

impl TaskResult {
    /// Whether there can be such a loss. Otherwise the training has diverged, or the node does not tell the truth.
    pub fn has_possible_loss(&self) -> bool {
        self.loss.abs() < TASK_LOSS_END
    }
}

/// Why a node turns down a task that may be rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RejectReason {
    /// Its load probability said so.
    LoadProbability = 1,
    /// All its workers are busy.
    Busy = 2,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LoadProbability => "the node's load probability turned the task down",
            Self::Busy => "all workers of the node are busy",
        })
    }
}

/// How far a task is at its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TaskState {
    /// The node does not know the attempt, or has answered it already.
    Unknown = 1,
    /// It waits for its base, its shard or a worker.
    Waiting = 2,
    /// It is being trained.
    Running = 3,
}

/// A result in a node's cache, or one that will be there: it answers TRAIN of this task from this base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedResult {
    /// The task's step.
    pub step: u64,
    /// Its shard.
    pub shard: u32,
    /// The weights that it starts from.
    pub base: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{SHARDS_MAX, STEPS_MAX};

    #[test]
    fn possible_losses_add_up_to_a_number_however_many_they_are() {
        let result = |loss| TaskResult { epochs: 1, loss, train_us: 1, update: Digest([1; 32]), update_bytes: 1 };
        for impossible in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308, -1e308, TASK_LOSS_END, -TASK_LOSS_END] {
            assert!(!result(impossible).has_possible_loss(), "{impossible}");
        }
        let largest = TASK_LOSS_END.next_down();
        for possible in [0.0, -0.5, 1e90, largest, -largest] {
            assert!(result(possible).has_possible_loss(), "{possible}");
        }
        assert!((largest * SHARDS_MAX as f64 * STEPS_MAX as f64).is_finite());
    }
}

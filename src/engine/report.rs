//! What a job tells whoever watches it, and the snapshot that the console shows. Owns these values and their sentences;
//! does not know who watches or how a sentence reaches them.

use std::fmt;
use std::time::Duration;

use super::events::{Doubt, NodeKey};
use crate::digest::Digest;
use crate::job::{JobId, Profile};

/// Something happened to a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobEvent {
    /// Its place in the queue changed.
    Queued {
        /// Jobs ahead of it, the running one included.
        position: u32,
    },
    /// It runs.
    Started,
    /// A round is trained, merged and validated. Rounds are reported in order.
    RoundDone(RoundDone),
    /// Worth a line.
    Notice(Notice),
    /// It waits until somebody resumes it. Nothing of it is under way.
    Paused(FailReason),
    /// It is over. The last event of every job, reported once.
    Finished(Outcome),
}

/// All that a job needs to go on after a round, besides its specification.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The last round that is done.
    pub last: RoundDone,
    /// The weights after it.
    pub base: Digest,
    /// Tasks merged.
    pub merged: u64,
    /// Tasks skipped.
    pub skipped: u64,
    /// Whether the same job on any fleet gives the same weights.
    pub reproducible: bool,
    /// Results that came a second time.
    pub duplicates: u64,
    /// Tasks merged by node.
    pub nodes: Vec<NodeShare>,
    /// Revivals begun.
    pub revivals: u32,
    /// Where the time went; its parts add up to the time that the job ran.
    pub profile: Profile,
    /// All validations together.
    pub validating_us: u64,
}

impl Progress {
    /// Rounds that are done: the step that comes next.
    pub fn rounds_done(&self) -> u32 {
        self.last.step as u32 + 1
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
    /// Loss summed over the shard's rows, as the node reports it.
    pub loss: f64,
    /// The update.
    pub update: Digest,
}

/// What came of a round.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundDone {
    /// The step, from 0.
    pub step: u64,
    /// Training loss by row: the tasks' losses, summed in shard order, by the rows merged.
    pub loss: f64,
    /// Validation rows classified wrongly.
    pub errors: u64,
    /// Validation rows.
    pub rows: u64,
    /// Validation loss, summed over the rows.
    pub validation_loss: f64,
    /// Nodes whose results were merged.
    pub nodes_used: u32,
    /// Tasks merged.
    pub merged: u32,
    /// Tasks skipped.
    pub skipped: u32,
    /// From the round's start until its merge was complete; validation overlaps the next round.
    pub elapsed_us: u64,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Every round is merged and validated.
    Done(Summary),
    /// It could not go on.
    Failed(FailReason),
    /// A client wanted it to end.
    Cancelled,
}

/// A finished job, told on one page.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The weights after the last round.
    pub base: Digest,
    /// Rounds.
    pub rounds: u32,
    /// Validation rows classified wrongly after the last round.
    pub errors: u64,
    /// Validation rows.
    pub rows: u64,
    /// Training loss by row of the last round.
    pub loss: f64,
    /// Validation loss after the last round, summed over the rows.
    pub validation_loss: f64,
    /// Tasks merged.
    pub merged: u64,
    /// Tasks skipped.
    pub skipped: u64,
    /// Whether the same job on any fleet gives the same weights: nothing skipped, no foreign arithmetic.
    pub reproducible: bool,
    /// Results that came a second time, and were compared and dropped.
    pub duplicates: u64,
    /// Tasks merged by node, in the order of the nodes' list; of those that have left it, by name.
    pub nodes: Vec<NodeShare>,
    /// From start to the last validation.
    pub elapsed_us: u64,
    /// Revivals begun.
    pub revivals: u32,
    /// Where that time went; its parts add up to it.
    pub profile: Profile,
    /// All validations together, those that ran beside other work too.
    pub validating_us: u64,
}

/// A node's part in a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeShare {
    /// Its name.
    pub name: String,
    /// Tasks of it that were merged.
    pub merged: u64,
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailReason {
    /// No node was active, and none came back in time.
    NoNodes {
        /// Revivals tried.
        revivals: u32,
    },
    /// Nodes are active, but none computes the job's arithmetic.
    NoEligibleNode {
        /// The arithmetic asked for.
        arithmetic: u16,
    },
    /// A task failed on every node, or too often.
    TaskFailed {
        /// The step.
        step: u64,
        /// The shard.
        shard: u32,
        /// The last failure.
        reason: String,
    },
    /// Every task of a round was skipped.
    AllSkipped {
        /// The step.
        step: u64,
        /// The last failure.
        reason: String,
    },
    /// The job's data could not be had. Such a job is forgotten: its id may be submitted again.
    DataMissing {
        /// Why.
        reason: String,
    },
    /// The job's data is not what its specification says. Such a job is forgotten, too.
    DataWrong {
        /// What is wrong with it.
        reason: String,
    },
    /// The coordinator's own workers failed.
    Work {
        /// Why.
        reason: String,
    },
    /// It failed before the coordinator was started; this is what was written down.
    Recorded {
        /// Why.
        reason: String,
    },
}

/// Nodes that a sentence names, at most.
const DOUBTED_SHOWN_MAX: usize = 3;

/// Worth a line to whoever watches.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A node's link is gone.
    NodeLost {
        /// The node.
        name: String,
        /// Why.
        reason: String,
    },
    /// A node's link is up.
    NodeJoined {
        /// The node.
        name: String,
    },
    /// A node's link is up, and the node gets no work of the job: it is not believed that it computes its arithmetic.
    NodeDoubted {
        /// The node.
        name: String,
        /// The arithmetic.
        arithmetic: u16,
        /// Why.
        doubt: Doubt,
    },
    /// No node is active.
    NoNodes,
    /// Nodes are active, but none computes the job's arithmetic.
    NoneEligible {
        /// The arithmetic asked for.
        arithmetic: u16,
        /// Those that say they do, and why they are not believed.
        doubted: Vec<(String, Doubt)>,
    },
    /// Every inactive node is being dialled.
    Revival {
        /// Which revival this is, from 1.
        number: u32,
        /// Revivals before the job fails.
        of: u32,
        /// How long it waits for an answer.
        wait: Duration,
    },
    /// A task takes longer than expected: a copy starts elsewhere.
    Speculating {
        /// The shard.
        shard: u32,
        /// The node that takes long.
        slow: String,
        /// The node that gets the copy.
        name: String,
        /// How long the task has been out.
        waited_us: u64,
    },
    /// A task is left out of its round.
    TaskSkipped {
        /// The step.
        step: u64,
        /// The shard.
        shard: u32,
        /// The last failure.
        reason: String,
    },
    /// A node gets no more work.
    Quarantined {
        /// The node.
        name: String,
        /// The last of its bad results.
        reason: String,
    },
    /// Two nodes that promise the same arithmetic gave different results for the same task: one of them computes
    /// wrongly, and nobody knows which.
    DigestMismatch {
        /// The step.
        step: u64,
        /// The shard.
        shard: u32,
        /// The node whose result was merged.
        merged_name: String,
        /// The update that was merged.
        merged: Digest,
        /// The node whose result came later.
        other_name: String,
        /// The update that came later.
        other: Digest,
    },
    /// An update could not be merged.
    UpdateRefused {
        /// The node that sent it.
        node: String,
        /// The shard.
        shard: u32,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeLost { name, reason } => write!(f, "node {name} is lost ({reason}); its tasks go elsewhere"),
            Self::NodeJoined { name } => write!(f, "node {name} joins"),
            Self::NoNodes => f.write_str("no node is active"),
            Self::NodeDoubted { name, arithmetic, doubt } => {
                write!(f, "node {name} is here, and gets no task of this job: {}", doubt.about(*arithmetic))
            }
            Self::NoneEligible { arithmetic, doubted } => {
                write!(
                    f,
                    "no active node computes arithmetic {arithmetic}: update the nodes, or allow inexact results"
                )?;
                for (name, doubt) in doubted.iter().take(DOUBTED_SHOWN_MAX) {
                    write!(f, "; of node {name}: {}", doubt.about(*arithmetic))?;
                }
                match doubted.len().saturating_sub(DOUBTED_SHOWN_MAX) {
                    0 => Ok(()),
                    more => write!(f, "; of {more} more, too"),
                }
            }
            Self::Revival { number, of, wait } => {
                write!(f, "revival {number} of {of}: dialling every node, waiting {:.1} s", wait.as_secs_f64())
            }
            Self::Speculating { shard, slow, name, waited_us } => write!(
                f,
                "shard {shard} has been with {slow} for {:.2} s, longer than expected: {name} trains a copy",
                *waited_us as f64 / 1e6
            ),
            Self::TaskSkipped { step, shard, reason } => {
                write!(f, "shard {shard} is left out of round {}: {reason}", step + 1)
            }
            Self::Quarantined { name, reason } => {
                write!(
                    f,
                    "node {name} is quarantined after repeated bad results ({reason}); check it, then list it anew"
                )
            }
            Self::DigestMismatch { step, shard, merged_name, merged, other_name, other } => write!(
                f,
                "ALARM: round {}, shard {shard}: {merged_name} gave {} (merged), {other_name} gave {}; one of the two \
                 computes wrongly",
                step + 1,
                merged.short(),
                other.short()
            ),
            Self::UpdateRefused { node, shard, reason } => {
                write!(f, "the update of shard {shard} from {node} is refused ({reason}); the task is done again")
            }
        }
    }
}

impl FailReason {
    /// The reason alone, for a job that may still go on.
    pub fn without_cure(&self) -> String {
        match self {
            Self::NoNodes { revivals } => {
                format!("no node is active, and none came back during {revivals} revivals")
            }
            other => other.to_string(),
        }
    }
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNodes { .. } => write!(f, "{}: start a compute node, then submit again", self.without_cure()),
            Self::NoEligibleNode { arithmetic } => write!(
                f,
                "nodes are active, but none computes arithmetic {arithmetic}: update the nodes, or allow inexact results"
            ),
            Self::TaskFailed { step, shard, reason } => {
                write!(f, "shard {shard} of round {} failed on every node or too often: {reason}", step + 1)
            }
            Self::AllSkipped { step, reason } => {
                write!(f, "every task of round {} was skipped, so there is nothing to merge: {reason}", step + 1)
            }
            Self::DataMissing { reason } => write!(f, "the job's data could not be had ({reason}): submit it again"),
            Self::DataWrong { reason } => write!(f, "the job's data is not what its specification says: {reason}"),
            Self::Work { reason } => write!(f, "the coordinator could not do its part of the job: {reason}"),
            Self::Recorded { reason } => f.write_str(reason),
        }
    }
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq)]
pub enum JobState {
    /// Queued; its data is not complete.
    Collecting {
        /// Jobs ahead of it, the running one included.
        position: u32,
    },
    /// Queued; its data is complete.
    Queued {
        /// Jobs ahead of it, the running one included.
        position: u32,
    },
    /// Running.
    Running {
        /// The round under way, from 0.
        step: u64,
        /// Rounds in all.
        rounds: u32,
        /// Tasks of this round that are merged or skipped.
        tasks_done: u32,
        /// Tasks of this round.
        tasks: u32,
    },
    /// Waits to be resumed.
    Paused {
        /// Rounds that are done.
        rounds_done: u32,
        /// Why.
        reason: FailReason,
    },
    /// Over.
    Finished(Outcome),
}

/// A job in a [`Status`].
#[derive(Clone, Debug, PartialEq)]
pub struct JobStatus {
    /// The job.
    pub job: JobId,
    /// How far it is.
    pub state: JobState,
}

/// A node's standing with the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Linked.
    Active,
    /// Linked, but no longer listed, or shutting down: it finishes what it has.
    Leaving,
    /// Not linked.
    Inactive,
    /// Sent bad results; gets no work.
    Quarantined,
}

/// A node in a [`Status`].
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// The node.
    pub node: NodeKey,
    /// Its name, or its address as long as it has not told one.
    pub name: String,
    /// Where it is dialled.
    pub address: String,
    /// Its standing.
    pub state: NodeState,
    /// Why it is not believed that it computes as it says, if it is not: it gets no exact work.
    pub doubt: Option<Doubt>,
    /// Tasks that the engine has out with it.
    pub outstanding: u32,
    /// Tasks in training, as it last told.
    pub running: u32,
    /// Tasks in its queue, as it last told.
    pub waiting: u32,
    /// Tasks of it that were merged, over all jobs.
    pub tasks_done: u64,
    /// Rows that it trains in a second (one task), in the last job that it worked for; epochs do not multiply it.
    pub rows_per_second: Option<f64>,
}

/// What the console shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Every node, in the list's order.
    pub nodes: Vec<NodeStatus>,
    /// The running job, then the queue, then the paused ones, then the finished ones from the latest on.
    pub jobs: Vec<JobStatus>,
    /// Results that belonged to nothing: of dead links, past rounds, jobs that are over, or forged.
    pub stale_results: u64,
}

//! How a job ended, and why.

use std::fmt;

use super::memory::{free_in_mib, in_mib};
use super::{Place, Profile};
use crate::digest::Digest;
use crate::model::Metrics;

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Every round is merged and validated.
    Done(Box<Summary>),
    /// It could not go on.
    Failed(FailReason),
    /// A client wanted it to end.
    Cancelled,
}

/// A done job, told on one page.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The fingerprint of the model and its specification.
    pub fingerprint: Digest,
    /// The weights that came of it: after its last round, or of a job with a patience after its best.
    pub weights: Digest,
    /// Rounds done.
    pub rounds: u32,
    /// The round, counted from 1, after which the weights are these.
    pub round: u32,
    /// Validation rows.
    pub rows: u64,
    /// How good the weights are on them, by more numbers than a round.
    pub metrics: Metrics,
    /// How good they are on the test rows, where there are some.
    pub test: Option<Tested>,
    /// Which class these rows were taken for, where there are classes.
    pub confusion: Option<ObjectRef>,
    /// Training loss by row of that round.
    pub loss: f64,
    /// Tasks merged.
    pub merged: u64,
    /// Tasks skipped.
    pub skipped: u64,
    /// From the job's start to its last validation.
    pub elapsed_us: u64,
    /// Where that time went; its parts add up to it.
    pub profile: Profile,
    /// Training time of all merged tasks, by the nodes' own account.
    pub training_us: u64,
    /// All validations together, those that ran beside other work too.
    pub validating_us: u64,
    /// Revivals begun.
    pub revivals: u32,
    /// Whether the same job on any fleet gives the same weights: nothing skipped, no foreign arithmetic.
    pub reproducible: bool,
    /// Tasks merged by node, in the order of the nodes' list; of those that have left it, by name.
    pub nodes: Vec<NodeTasks>,
}

/// What came of trying the weights that came of a job on validation or test rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tested {
    /// Rows.
    pub rows: u64,
    /// How good the weights are on them.
    pub metrics: Metrics,
}

/// An object that is to be had by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// The name.
    pub digest: Digest,
    /// How long it is; not 0.
    pub bytes: u64,
}

/// A node's part in a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTasks {
    /// Its name.
    pub node: String,
    /// Tasks of it that were merged.
    pub tasks: u64,
}

/// A model's fingerprint: the digest of what was asked for (the specification's semantic part), and of the weights that came
/// of it.
pub fn fingerprint(semantic: &Digest, weights: &Digest) -> Digest {
    Digest::of_parts(&[b"gradwire fingerprint 1", &semantic.0, &weights.0])
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
    /// Of none of the nodes the memory is enough; this one lacks least.
    NoNodeHasMemory(TooSmall),
    /// The coordinator's memory is not enough, by the estimate.
    TooLarge {
        /// Bytes that the job takes.
        needed: u64,
        /// Bytes that there may be.
        allowed: u64,
    },
    /// The coordinator ended in the same step of the job, as often as it is tried.
    Deadly {
        /// What the step was.
        step: String,
        /// How often.
        deaths: u32,
    },
    /// A task failed on every node, or too often.
    TaskFailed {
        /// The task.
        place: Place,
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
    Recorded(Failure),
}

/// A node whose memory is not enough for a job's tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooSmall {
    /// Its name.
    pub node: String,
    /// Tasks that it does at a time.
    pub workers: u32,
    /// Bytes that they take.
    pub needed: u64,
    /// Bytes that they may take.
    pub allowed: u64,
}

/// Why a job failed, was cancelled or is paused, as it is told and written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub kind: FailKind,
    /// For people.
    pub text: String,
}

/// What a program can make of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailKind {
    /// No node was there that could do the work.
    NoNodes,
    /// No node could do one of its tasks.
    TaskFailed,
    /// Its data could not be had: it may be submitted again.
    DataMissing,
    /// Its data is not what its specification says.
    DataWrong,
    /// The coordinator could not do its part.
    Internal,
    /// A client wanted it to end.
    Cancelled,
    /// It waits to be resumed.
    Paused,
}

impl FailKind {
    /// Whether the same job, submitted again under its id, may go better.
    pub fn may_be_submitted_again(self) -> bool {
        self == Self::DataMissing
    }

    /// Whether the job was only given up: all that it has is kept, so that it may be resumed once the cause is gone.
    pub fn keeps_the_job(self) -> bool {
        matches!(self, Self::NoNodes | Self::TaskFailed)
    }
}

impl Failure {
    /// A job was cancelled.
    pub fn cancelled() -> Failure {
        Failure { kind: FailKind::Cancelled, text: "the job was cancelled".to_owned() }
    }

    /// A job is paused for this reason.
    pub fn paused(reason: &FailReason) -> Failure {
        let text = match reason {
            // It goes on by itself.
            FailReason::TooLarge { .. } => reason.to_string(),
            reason => format!("{reason}. The job is paused until it is resumed"),
        };
        Failure { kind: FailKind::Paused, text }
    }
}

impl From<&FailReason> for Failure {
    fn from(reason: &FailReason) -> Failure {
        Failure { kind: reason.kind(), text: reason.to_string() }
    }
}

impl FailReason {
    /// What a program can make of it.
    pub fn kind(&self) -> FailKind {
        match self {
            Self::NoNodes { .. } | Self::NoEligibleNode { .. } | Self::NoNodeHasMemory(_) => FailKind::NoNodes,
            Self::TaskFailed { .. } | Self::AllSkipped { .. } => FailKind::TaskFailed,
            Self::DataMissing { .. } => FailKind::DataMissing,
            Self::DataWrong { .. } => FailKind::DataWrong,
            Self::Work { .. } | Self::TooLarge { .. } | Self::Deadly { .. } => FailKind::Internal,
            Self::Recorded(failure) => failure.kind,
        }
    }
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNodes { revivals } => write!(
                f,
                "no node is active, and none came back during {revivals} revivals: start one on a machine of the nodes \
                 file (compute_node PORT 0), then resume the job, of which everything is kept"
            ),
            Self::NoEligibleNode { arithmetic } => write!(
                f,
                "nodes are active, but none computes arithmetic {arithmetic}: update the nodes, or allow inexact results"
            ),
            Self::NoNodeHasMemory(TooSmall { node, workers, needed, allowed }) => write!(
                f,
                "no node has the memory that the job's tasks take: node {node} comes closest, where {} need {}, and {} are \
                 allowed; give a node more (--memory, up to half of which is --cache), let it do fewer tasks at a time (--workers), or take more shards, a smaller \
                 batch or narrower layers",
                if *workers == 1 { "they".to_owned() } else { format!("{workers} at a time") },
                in_mib(*needed),
                in_mib(*allowed)
            ),
            Self::TooLarge { needed, allowed } => write!(
                f,
                "the job waits for memory: it takes {} of the coordinator's, and {} are there for it; it goes on once other \
                 jobs have ended, or the coordinator is started again with more (--memory)",
                in_mib(*needed),
                free_in_mib(*allowed)
            ),
            Self::Deadly { step, deaths } => write!(
                f,
                "the coordinator has ended {deaths} times in a row while {step}, most likely for want of memory: find out why \
                 before the job is resumed"
            ),
            Self::TaskFailed { place, reason } => {
                write!(f, "{place} failed on every node or too often: {reason}")
            }
            Self::AllSkipped { step, reason } => {
                write!(f, "every task of round {} was skipped, so there is nothing to merge: {reason}", step + 1)
            }
            Self::DataMissing { reason } => write!(f, "the job's data could not be had ({reason}): submit it again"),
            Self::DataWrong { reason } => write!(f, "the job's data is not what its specification says: {reason}"),
            Self::Work { reason } => write!(f, "the coordinator could not do its part of the job: {reason}"),
            Self::Recorded(failure) => f.write_str(&failure.text),
        }
    }
}

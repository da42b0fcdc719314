//! What a job tells whoever watches it, and the snapshot that the console shows. Owns these values and their sentences;
//! does not know who watches or how a sentence reaches them.

use std::fmt;
use std::time::Duration;

use super::nodes::{Doubt, NodeKey};
use crate::digest::Digest;
use crate::job::memory::{free_in_mib, in_mib};
use crate::job::{FailReason, JobId, JobState, Outcome, Place, RoundSummary, TooSmall};

/// Something happened to a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobEvent {
    /// Its place in the queue changed.
    Queued {
        /// Jobs ahead of it, those that run included.
        position: u32,
    },
    /// It runs.
    Started,
    /// A round is trained, merged and validated. Rounds are reported in order.
    RoundDone(RoundSummary),
    /// Worth a line.
    Notice(Notice),
    /// It waits until somebody resumes it. Nothing of it is under way.
    Paused(FailReason),
    /// It is over. The last event of every job, reported once.
    Finished(Outcome),
}

/// Addresses that a sentence names, at most.
const LISTED_SHOWN_MAX: usize = 3;
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
    /// No node is active, and none has been since the coordinator was started.
    NoNodesYet {
        /// Where nodes are looked for.
        listed: Vec<String>,
    },
    /// Nodes are active, but none computes the job's arithmetic.
    NoneEligible {
        /// The arithmetic asked for.
        arithmetic: u16,
        /// Those that say they do, and why they are not believed.
        doubted: Vec<(String, Doubt)>,
    },
    /// Nodes are active, but none has the memory that the job's tasks take.
    NoneHasMemory(TooSmall),
    /// Nodes cannot keep the rows that every step goes through, and are sent some of them again in each.
    RowsTravel {
        /// Of the job's rows.
        rows_bytes: u64,
        /// What its nodes keep of them, all together.
        kept_bytes: u64,
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
        /// The task.
        place: Place,
        /// The node that takes long.
        slow: String,
        /// The node that gets the copy.
        name: String,
        /// How long the task has been out.
        waited_us: u64,
    },
    /// A task is left out of its round.
    TaskSkipped {
        /// The task.
        place: Place,
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
        /// The task.
        place: Place,
        /// The node whose result was merged.
        merged_name: String,
        /// The update that was merged.
        merged: Digest,
        /// The node whose result came later.
        other_name: String,
        /// The update that came later.
        other: Digest,
    },
    /// Results of a step that its median needs cannot be read any more; their tasks are done again.
    UpdatesLost {
        /// The step.
        step: u64,
        /// How many.
        count: usize,
        /// Why.
        reason: String,
    },
    /// An update could not be merged.
    UpdateRefused {
        /// The node that sent it.
        node: String,
        /// The task.
        place: Place,
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
            Self::NoNodesYet { listed } => {
                f.write_str("no node is active, and none has been since the coordinator was started: start one, ")?;
                match &listed[..] {
                    [] => f.write_str("and put its address in the coordinator's nodes file, which lists none"),
                    [address] => write!(f, "with compute_node PORT 0, at {address}, the one address in the nodes file"),
                    [.., _] => {
                        let shown = listed.iter().take(LISTED_SHOWN_MAX).map(|address| &**address).collect::<Vec<_>>();
                        let more = if listed.len() > shown.len() { ", ..." } else { "" };
                        write!(
                            f,
                            "with compute_node PORT 0, at an address in the nodes file: {}{more}",
                            shown.join(", ")
                        )
                    }
                }
            }
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
            Self::NoneHasMemory(too_small) => FailReason::NoNodeHasMemory(too_small.clone()).fmt(f),
            Self::RowsTravel { rows_bytes, kept_bytes } => write!(
                f,
                "the nodes keep {} of the job's rows, which take {}: the others are sent to them again in every step. Start \
                 more nodes, or nodes that keep more (--cache), or train passes over the rows, which travel once for each then \
                 (--epochs 1)",
                free_in_mib(*kept_bytes),
                in_mib(*rows_bytes)
            ),
            Self::Revival { number, of, wait } => {
                write!(f, "revival {number} of {of}: dialling every node, waiting {:.1} s", wait.as_secs_f64())
            }
            Self::Speculating { place, slow, name, waited_us } => write!(
                f,
                "{place} has been with {slow} for {:.2} s, longer than expected: {name} trains a copy",
                *waited_us as f64 / 1e6
            ),
            Self::TaskSkipped { place, reason } => write!(f, "{place} is left out: {reason}"),
            Self::Quarantined { name, reason } => {
                write!(
                    f,
                    "node {name} is quarantined after repeated bad results ({reason}); check it, then list it again"
                )
            }
            Self::DigestMismatch { place, merged_name, merged, other_name, other } => write!(
                f,
                "ALARM: {place}: {merged_name} gave {} (merged), {other_name} gave {}; one of the two computes wrongly",
                merged.short(),
                other.short()
            ),
            Self::UpdatesLost { step, count, reason } => {
                let tasks = if *count == 1 { "1 task is".to_owned() } else { format!("{count} tasks are") };
                write!(
                    f,
                    "results of step {} that its median needs cannot be read any more ({reason}): {tasks} done again",
                    step + 1
                )
            }
            Self::UpdateRefused { node, place, reason } => {
                write!(f, "the result of {place} from {node} is refused ({reason}); the task is done again")
            }
        }
    }
}

/// What a round's progress is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Tasks that are merged or skipped: the round is one step.
    Tasks,
    /// Steps that are merged.
    Steps,
}

/// How far a job is, in more detail than whoever asks over the wire is told.
#[derive(Clone, Debug, PartialEq)]
pub enum JobProgress {
    /// Queued; its data is not complete.
    Collecting {
        /// Jobs ahead of it, those that run included.
        position: u32,
    },
    /// Queued; its data is complete.
    Queued {
        /// Jobs ahead of it, those that run included.
        position: u32,
    },
    /// Running.
    Running {
        /// The round under way, from 0.
        round: u32,
        /// Rounds in all.
        rounds: u32,
        /// What of this round is done.
        done: u32,
        /// Of so much.
        of: u32,
        /// What that is.
        unit: Unit,
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

impl JobProgress {
    /// Where the job is in its life.
    pub fn state(&self) -> JobState {
        match self {
            Self::Collecting { .. } => JobState::Collecting,
            Self::Queued { .. } => JobState::Queued,
            Self::Running { .. } => JobState::Running,
            Self::Paused { .. } => JobState::Paused,
            Self::Finished(Outcome::Done(_)) => JobState::Done,
            Self::Finished(Outcome::Failed(_)) => JobState::Failed,
            Self::Finished(Outcome::Cancelled) => JobState::Cancelled,
        }
    }

    /// Jobs ahead of it.
    pub fn queue_position(&self) -> u32 {
        match self {
            Self::Collecting { position } | Self::Queued { position } => *position,
            _ => 0,
        }
    }
}

/// A job in a [`Status`].
#[derive(Clone, Debug, PartialEq)]
pub struct JobEntry {
    /// The job.
    pub job: JobId,
    /// How far it is.
    pub progress: JobProgress,
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
    /// The running jobs, then the queue, then the paused ones, then the finished ones from the latest on.
    pub jobs: Vec<JobEntry>,
    /// Results that belonged to nothing: of dead links, past rounds, jobs that are over or have begun anew.
    pub stale_results: u64,
}

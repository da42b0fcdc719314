//! A task of a step: its units, what became of it, its attempts, and who has made himself unwelcome at it. Does not know the
//! step's other tasks, nor when what changes (`step_tasks`).

use std::ops::Range;

use crate::digest::Digest;
use crate::engine::nodes::{LinkKey, NodeKey};
use crate::engine::time::Time;
use crate::job::TaskResult;

/// What a node has done to make itself unwelcome at a task. Later ones are worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Standing {
    /// It turned the task down, as it was allowed to: it is asked again, firmly, when nobody else is left.
    Refused,
    /// It failed once, or turned down a task that it was not allowed to: it is asked again, later, when nobody else is left.
    Doubted,
    /// It failed for good: it is never asked again.
    Barred,
}

/// An attempt that is out.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Live {
    pub(in crate::engine) node: NodeKey,
    pub(in crate::engine) link: LinkKey,
    pub(in crate::engine) number: u32,
    pub(in crate::engine) token: u64,
    pub(in crate::engine) started: Time,
    /// When the node said that it is trained, if its update comes after that.
    pub(in crate::engine) trained: Option<Time>,
    /// Whether the node computes the job's arithmetic.
    pub(in crate::engine) exact: bool,
    /// Whether the node was allowed to turn it down.
    pub(in crate::engine) may_reject: bool,
    /// Whether another attempt of the task was out when this one was sent.
    pub(in crate::engine) is_copy: bool,
    /// Whether the node said that it holds the result: its time tells nothing of the node's speed.
    pub(in crate::engine) is_held: bool,
    /// Its time at the node as it was expected when it was sent, in microseconds; 0 where nothing was.
    pub(in crate::engine) charged_us: u64,
}

/// The result that won.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Won {
    pub(in crate::engine) attempt: Live,
    /// Its node's name when it came: the node may have left the list since.
    pub(in crate::engine) name: String,
    pub(in crate::engine) result: TaskResult,
}

/// What has become of a task.
#[derive(Clone, Debug)]
pub(in crate::engine) enum TaskState {
    /// No result yet.
    Open,
    /// A result is on its way into the sum.
    Merging(Won),
    /// A result is in the sum.
    Merged(Won),
    /// Left out.
    Skipped,
    /// Other tasks have its blocks.
    Split,
}

/// One shard's task in one step, or that of some blocks.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Task {
    pub(in crate::engine) state: TaskState,
    /// Its shard, or its blocks, by their numbers in the step.
    pub(in crate::engine) units: Range<u32>,
    pub(super) rows: u32,
    /// Whether it may be split where more workers than tasks are there.
    pub(super) is_uncut: bool,
    /// The oldest first, of a node each; none once the task is merged or skipped.
    pub(in crate::engine) live: Vec<Live>,
    pub(in crate::engine) failures: u32,
    /// Why it failed last.
    pub(in crate::engine) reason: String,
    /// Doubted nodes are not asked again before this.
    pub(in crate::engine) not_before: Time,
    /// Updates that were refused, and whose they are.
    pub(super) refused: Vec<(NodeKey, Digest)>,
    /// Results that came while another was on its way into the sum: whether that is a result is not known yet.
    pub(super) beside: Vec<(Live, Digest)>,
    pub(super) standings: Vec<(NodeKey, Standing)>,
    /// Attempts that ended, their links being up: a result of theirs may still come.
    pub(super) retired: Vec<Live>,
    pub(super) attempts: u32,
    pub(super) place: TaskIndex,
}

/// Which index of the step a task is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskIndex {
    None,
    Fresh,
    Marked,
    Out(Time),
}

impl Task {
    pub(super) fn new(units: Range<u32>, rows: u32, is_uncut: bool) -> Task {
        Task {
            state: TaskState::Open,
            units,
            rows,
            is_uncut,
            live: Vec::new(),
            failures: 0,
            reason: String::new(),
            not_before: Time(0),
            refused: Vec::new(),
            beside: Vec::new(),
            standings: Vec::new(),
            retired: Vec::new(),
            attempts: 0,
            place: TaskIndex::None,
        }
    }

    /// What a node has done to make itself unwelcome, if anything.
    pub(in crate::engine) fn standing(&self, node: NodeKey) -> Option<Standing> {
        self.standings.iter().find(|(key, _)| *key == node).map(|(_, standing)| *standing)
    }

    /// Whether no node has made itself unwelcome at it.
    pub(in crate::engine) fn is_welcome_everywhere(&self) -> bool {
        self.standings.is_empty()
    }

    /// The result that won, if there is one.
    pub(in crate::engine) fn won(&self) -> Option<&Won> {
        match &self.state {
            TaskState::Merging(won) | TaskState::Merged(won) => Some(won),
            TaskState::Open | TaskState::Skipped | TaskState::Split => None,
        }
    }

    /// Whether it waits for a node, and this one has done nothing to make itself unwelcome.
    pub(in crate::engine) fn may_go_to(&self, node: NodeKey) -> bool {
        matches!(self.state, TaskState::Open) && self.live.is_empty() && self.standing(node).is_none()
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self.state, TaskState::Merged(_) | TaskState::Skipped | TaskState::Split)
    }
}

//! What a job's summary counts. Does not know when anything is counted.

use std::collections::BTreeMap;

use crate::engine::step_tasks::Won;
use crate::engine::time::Time;
use crate::job::NodeTasks;

/// What the summary counts.
pub(in crate::engine) struct Tally {
    /// Tasks merged, by the name of their node.
    pub(in crate::engine) nodes: BTreeMap<String, u64>,
    /// Nothing but the job itself has decided its bits so far, apart from merged tasks that were not exact.
    pub(in crate::engine) is_determined: bool,
    /// Merged tasks whose nodes do not promise exact results.
    pub(super) inexact: u64,
    pub(in crate::engine) duplicates: u64,
    pub(super) started: Time,
    /// How long the job ran before that.
    pub(super) before_us: u64,
    pub(super) merged: u64,
    pub(super) skipped: u64,
    pub(super) validating_us: u64,
    pub(in crate::engine) training_us: u64,
}

impl Tally {
    /// A task of so many units whose result is in the sum.
    pub(in crate::engine) fn add(&mut self, won: &Won, units: u32) {
        *self.nodes.entry(won.name.clone()).or_insert(0) += u64::from(units);
        self.training_us = self.training_us.saturating_add(won.result.train_us);
        self.inexact += u64::from(!won.attempt.exact);
    }

    /// The result of a task of so many units is lost.
    pub(super) fn undo(&mut self, won: &Won, units: u32) {
        self.training_us = self.training_us.saturating_sub(won.result.train_us);
        self.inexact -= u64::from(!won.attempt.exact);
        if let Some(tasks) = self.nodes.get_mut(&won.name) {
            *tasks -= u64::from(units);
            if *tasks == 0 {
                self.nodes.remove(&won.name);
            }
        }
    }

    pub(super) fn is_reproducible(&self) -> bool {
        self.is_determined && self.inexact == 0
    }

    pub(super) fn shares(&self) -> Vec<NodeTasks> {
        self.nodes.iter().map(|(name, &tasks)| NodeTasks { node: name.clone(), tasks }).collect()
    }
}

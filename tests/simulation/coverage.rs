//! What happened in a life, or in many: counted, so that a life in which nothing happens proves nothing.

use gradwire::digest::Digest;

/// What happened in a life, or in many.
#[derive(Debug, Default)]
pub struct Coverage {
    pub done: u64,
    pub reproducible: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub merged: u64,
    pub skipped: u64,
    pub duplicates: u64,
    pub stale: u64,
    pub revivals: u64,
    pub copies: u64,
    /// Tasks sent to nodes whose workers would all be busy if an update on its way were still in training.
    pub overlaps: u64,
    /// Updates on their way that did not come.
    pub broken_off: u64,
    pub quarantines: u64,
    pub mismatches: u64,
    pub refusals: u64,
    /// Updates that were merged and are lost before their round was.
    pub updates_lost: u64,
    pub lost: u64,
    pub closings: u64,
    pub crashes: u64,
    /// Jobs with progress that went on, or waited on, after a crash.
    pub restored: u64,
    pub restored_paused: u64,
    pub restored_ended: u64,
    /// Results of attempts that were sent before a crash.
    pub late: u64,
    pub paused: u64,
    /// Jobs that failed because too many were paused.
    pub unpaused: u64,
    pub resumed: u64,
    pub forgotten: u64,
    /// Jobs done in which this part of the time was more than nothing, in the order of the profile.
    pub parts: [u64; 7],
    pub of_nodes: NodeCoverage,
    /// Digest of every action in order; only of a single life.
    pub trace: Option<Digest>,
}

/// What happened in the nodes' cores.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeCoverage {
    /// Results that another link had had.
    pub reused: u64,
    /// Trainings that went on for another link.
    pub adopted: u64,
    /// Tasks that were cancelled before a worker had them.
    pub cancelled_waiting: u64,
    /// Drains after which nothing was left to do.
    pub drained: u64,
}

impl Coverage {
    pub fn add(&mut self, other: &Coverage) {
        for (sum, (_, count)) in self.counts_mut().into_iter().zip(other.counts()) {
            *sum += count;
        }
    }

    pub fn counts(&self) -> [(&'static str, u64); 38] {
        let [prepare, compute, wire, stragglers, no_nodes, merge, validate] = self.parts;
        [
            ("jobs done", self.done),
            ("jobs done that are reproducible", self.reproducible),
            ("jobs failed", self.failed),
            ("jobs cancelled", self.cancelled),
            ("tasks merged", self.merged),
            ("tasks skipped", self.skipped),
            ("duplicate results", self.duplicates),
            ("stale results", self.stale),
            ("revivals", self.revivals),
            ("copies of slow tasks", self.copies),
            ("tasks sent while an update was on its way", self.overlaps),
            ("updates that broke off", self.broken_off),
            ("nodes quarantined", self.quarantines),
            ("results that differ", self.mismatches),
            ("updates refused", self.refusals),
            ("updates lost", self.updates_lost),
            ("links lost", self.lost),
            ("tasks handed back by nodes that end", self.closings),
            ("crashes", self.crashes),
            ("jobs restored that had begun", self.restored),
            ("jobs restored that were paused", self.restored_paused),
            ("jobs restored that had ended", self.restored_ended),
            ("results of before a crash", self.late),
            ("jobs paused", self.paused),
            ("jobs that could not be paused", self.unpaused),
            ("jobs resumed", self.resumed),
            ("jobs forgotten", self.forgotten),
            ("results given to another link", self.of_nodes.reused),
            ("trainings that went on for another link", self.of_nodes.adopted),
            ("tasks cancelled that waited", self.of_nodes.cancelled_waiting),
            ("nodes that ended with nothing left to do", self.of_nodes.drained),
            ("jobs that had to be prepared", prepare),
            ("jobs that waited for training", compute),
            ("jobs that waited for the wire", wire),
            ("jobs that waited for stragglers", stragglers),
            ("jobs that waited for nodes", no_nodes),
            ("jobs that were merged", merge),
            ("jobs that waited for validation", validate),
        ]
    }

    fn counts_mut(&mut self) -> [&mut u64; 38] {
        let [prepare, compute, wire, stragglers, no_nodes, merge, validate] = &mut self.parts;
        [
            &mut self.done,
            &mut self.reproducible,
            &mut self.failed,
            &mut self.cancelled,
            &mut self.merged,
            &mut self.skipped,
            &mut self.duplicates,
            &mut self.stale,
            &mut self.revivals,
            &mut self.copies,
            &mut self.overlaps,
            &mut self.broken_off,
            &mut self.quarantines,
            &mut self.mismatches,
            &mut self.refusals,
            &mut self.updates_lost,
            &mut self.lost,
            &mut self.closings,
            &mut self.crashes,
            &mut self.restored,
            &mut self.restored_paused,
            &mut self.restored_ended,
            &mut self.late,
            &mut self.paused,
            &mut self.unpaused,
            &mut self.resumed,
            &mut self.forgotten,
            &mut self.of_nodes.reused,
            &mut self.of_nodes.adopted,
            &mut self.of_nodes.cancelled_waiting,
            &mut self.of_nodes.drained,
            prepare,
            compute,
            wire,
            stragglers,
            no_nodes,
            merge,
            validate,
        ]
    }
}

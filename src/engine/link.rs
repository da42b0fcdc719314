//! A connection to a node, and what is out over it, of whichever jobs. Owns what of a node's workers is taken, by whom and since
//! when; does not know what a node is worth (`crew`), nor who is in the fleet (`membership`).

use std::collections::BTreeMap;

use super::nodes::{Doubt, LinkKey, NodeInfo};
use super::time::Time;
use crate::job::{Attempt, JobId};

/// Tasks out over one connection at a time: well below the unanswered requests that a peer takes (protocol.md, "Limits").
pub(super) const ASSIGNED_MAX: usize = 256;
/// A told load is believed for so long.
const LOAD_VALID_US: u64 = 5_000_000;

/// An attempt on a node: when it was sent, its job, its shard, its number. Ordered by age.
pub(super) type Assignment = (Time, JobId, u32, u32);

/// A link to a node, and what is out over it.
pub(super) struct Link {
    pub(super) key: LinkKey,
    pub(super) info: NodeInfo,
    /// Nothing in here is older than the link.
    pub(super) assigned: BTreeMap<Assignment, Out>,
    /// Attempts that copies have overtaken, and that it was told to stop and has not answered since: a worker has them still, as far as
    /// is known. A node that has stopped without a word does not answer, and gets nothing more before it does.
    pub(super) overtaken: Vec<Overtaken>,
    pub(super) load: Option<Load>,
    /// The node wants no task before this moment that it may turn down.
    pub(super) reluctant_until: Option<Time>,
    /// The node has said that it is shutting down: what is out is finished, and nothing new is sent.
    pub(super) is_closing: bool,
}

/// What is known of an attempt that is out.
#[derive(Clone, Copy, Default)]
pub(super) struct Out {
    /// It is trained, and its update is on its way: no worker has it any more.
    pub(super) is_coming: bool,
    /// Since when no task of another job keeps it from its worker.
    pub(super) begun: Option<Time>,
}

/// An attempt that its node was told to stop.
pub(super) struct Overtaken {
    pub(super) attempt: Attempt,
    pub(super) started: Time,
    pub(super) told: Time,
}

/// A load as told, and what of it was not ours when it was told.
pub(super) struct Load {
    pub(super) running: u32,
    pub(super) waiting: u32,
    pub(super) others: u32,
    pub(super) told: Time,
}

impl Link {
    pub(super) fn new(key: LinkKey, info: NodeInfo) -> Link {
        Link {
            key,
            info,
            assigned: BTreeMap::new(),
            overtaken: Vec::new(),
            load: None,
            reluctant_until: None,
            is_closing: false,
        }
    }

    /// Tasks that the node trains at the same time.
    pub(super) fn workers(&self) -> u32 {
        self.info.workers.max(1)
    }

    /// Tasks of ours that it trains, or that wait at it.
    pub(super) fn busy(&self) -> u32 {
        (self.in_training().count() + self.overtaken.len()) as u32
    }

    /// The same without those that wait, or are trained, for other jobs.
    pub(super) fn busy_with(&self, job: JobId) -> u32 {
        (self.in_training().filter(|((_, other, ..), _)| *other == job).count() + self.overtaken.len()) as u32
    }

    /// When the first of these was sent, or had its worker to its job.
    pub(super) fn busy_since(&self, job: JobId) -> Option<Time> {
        let own = self.in_training().filter(|((_, other, ..), _)| *other == job);
        let own = own.map(|((started, ..), out)| out.begun.unwrap_or(*started));
        self.overtaken.iter().map(|overtaken| overtaken.started).chain(own).min()
    }

    fn in_training(&self) -> impl Iterator<Item = (&Assignment, &Out)> {
        self.assigned.iter().filter(|(_, out)| !out.is_coming)
    }

    fn assigned_of(&self, job: JobId) -> usize {
        self.assigned.keys().filter(|(_, other, ..)| *other == job).count()
    }

    /// Whether a job has as many tasks there as it has workers, or its updates come so slowly that it would have more than two of them
    /// for each to keep. What it does for other jobs does not count: each has its turn there after the others.
    pub(super) fn is_full_of(&self, job: JobId) -> bool {
        let workers = self.workers();
        self.busy_with(job) >= workers || self.assigned_of(job) >= 2 * workers as usize || self.is_at_limit()
    }

    /// Whether a job has so many tasks there, or there are as many as one connection carries, whatever the policy.
    pub(super) fn has_most_of(&self, job: JobId, most: usize) -> bool {
        self.is_at_limit() || self.assigned_of(job) >= most
    }

    /// Whether it has as many tasks as one connection carries.
    pub(super) fn is_at_limit(&self) -> bool {
        self.assigned.len() >= ASSIGNED_MAX
    }

    /// Whether a task begins at once there, and the node may turn it down if it does not.
    pub(super) fn has_free_worker(&self) -> bool {
        self.busy() < self.workers() && self.assigned.len() < 2 * self.workers() as usize && !self.is_at_limit()
    }

    /// Tasks of others on the node, as far as known.
    pub(super) fn others(&self, now: Time) -> u32 {
        self.load.as_ref().filter(|load| now.since_us(load.told) < LOAD_VALID_US).map_or(0, |load| load.others)
    }

    /// Whether the node wants no task now that it may turn down.
    pub(super) fn is_reluctant(&self, now: Time) -> bool {
        self.reluctant_until.is_some_and(|until| now < until)
    }

    /// Whether a worker is free for a job, as far as known, or will be once the other jobs have had theirs.
    pub(super) fn is_open_to(&self, job: JobId, now: Time) -> bool {
        self.busy_with(job).saturating_add(self.others(now)) < self.workers()
            && !self.is_full_of(job)
            && !self.is_reluctant(now)
    }

    /// Whether a worker is free, as far as known.
    pub(super) fn is_idle(&self, now: Time) -> bool {
        self.has_free_worker()
            && self.busy().saturating_add(self.others(now)) < self.workers()
            && !self.is_reluctant(now)
    }

    /// Why the node is not believed that it computes this arithmetic, if it says so and is not.
    pub(super) fn doubt(&self, arithmetic: u16) -> Option<Doubt> {
        self.info.doubts.iter().find(|(doubted, _)| *doubted == arithmetic).map(|(_, doubt)| *doubt)
    }

    /// Whether the node computes this arithmetic.
    pub(super) fn computes(&self, arithmetic: u16) -> bool {
        self.info.arithmetics.contains(&arithmetic)
    }

    /// Notes which attempts no task of another job is before any more: nodes take them in the order in which they were sent. Of one
    /// that a copy has overtaken nobody believes that it only has others to do.
    pub(super) fn look(&mut self, now: Time) {
        let (workers, is_suspect) = (self.workers() as usize, !self.overtaken.is_empty());
        let (mut ahead, mut last, mut are_mixed) = (0, None, false);
        for ((started, job, ..), out) in self.assigned.iter_mut().filter(|(_, out)| !out.is_coming) {
            are_mixed |= last.replace(*job).is_some_and(|last| last != *job);
            if ahead < workers || !are_mixed {
                out.begun.get_or_insert(now);
            } else if is_suspect {
                out.begun.get_or_insert(*started);
            }
            ahead += 1;
        }
    }
}

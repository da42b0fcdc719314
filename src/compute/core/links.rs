//! The coordinators that are linked: the updates that each is yet to fetch, and the weights that its jobs train from. Owns
//! when an object of a link's is of no more use; does not know tasks.

use super::events::LinkKey;
use crate::digest::Digest;
use crate::job::{JobId, TaskId};

/// Jobs whose base is remembered; beyond, all are forgotten, and bases go when there is no room for them.
const BASES_MAX: usize = 64;

/// Every link that is up.
#[derive(Default)]
pub(super) struct Links(Vec<(LinkKey, Linked)>);

/// A link.
pub(super) struct Linked {
    /// The largest update that travels inside an answer.
    pub(super) inline_bytes_max: u64,
    /// Updates that were announced and are yet to be fetched. One may be there more than once.
    pending: Vec<PendingUpdate>,
    /// Asked for to their end: on their way still, perhaps, and soon of no more use.
    fetched: Vec<Digest>,
    /// The latest step of the jobs, and its base.
    bases: Vec<(JobId, u64, Digest)>,
}

struct PendingUpdate {
    digest: Digest,
    bytes: u64,
}

impl Links {
    pub(super) fn up(&mut self, link: LinkKey, inline_bytes_max: u64) {
        let linked = Linked { inline_bytes_max, pending: Vec::new(), fetched: Vec::new(), bases: Vec::new() };
        self.0.push((link, linked));
    }

    /// A link has ended: the updates that it has not fetched.
    pub(super) fn down(&mut self, link: LinkKey) -> Vec<Digest> {
        let Some(place) = self.0.iter().position(|(other, _)| *other == link) else { return Vec::new() };
        self.0.remove(place).1.pending.iter().map(|update| update.digest).collect()
    }

    pub(super) fn get_mut(&mut self, link: LinkKey) -> Option<&mut Linked> {
        self.0.iter_mut().find(|(other, _)| *other == link).map(|(_, linked)| linked)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = LinkKey> {
        self.0.iter().map(|(link, _)| *link)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Updates that are yet to be fetched, over all links.
    pub(super) fn pending(&self) -> usize {
        self.0.iter().map(|(_, linked)| linked.pending.len()).sum()
    }
}

impl Linked {
    /// An update is announced that does not travel inside its answer.
    pub(super) fn announce(&mut self, digest: Digest, bytes: u64) {
        self.pending.push(PendingUpdate { digest, bytes });
    }

    /// A piece of an object is asked for, up to here. Says whether a pending update has been fetched with it.
    pub(super) fn fetched(&mut self, digest: Digest, end_bytes: u64) -> bool {
        let is_it = |update: &PendingUpdate| update.digest == digest;
        let Some(place) = self.pending.iter().position(is_it) else { return false };
        if end_bytes < self.pending[place].bytes {
            return false;
        }
        self.pending.remove(place);
        if !self.pending.iter().any(is_it) {
            self.fetched.push(digest);
        }
        true
    }

    /// The updates that have been fetched since this was last asked: their memory is wanted.
    pub(super) fn take_fetched(&mut self) -> Vec<Digest> {
        std::mem::take(&mut self.fetched)
    }

    /// A job's step trains from the weights that the step before led to: those before them, if they are of no more use.
    pub(super) fn replace_base(&mut self, task: TaskId, base: Digest) -> Option<Digest> {
        let TaskId { job, step, .. } = task;
        let Some((_, last_step, last)) = self.bases.iter_mut().find(|(other, ..)| *other == job) else {
            if self.bases.len() == BASES_MAX {
                self.bases.clear();
            }
            self.bases.push((job, step, base));
            return None;
        };
        if step <= *last_step {
            return None;
        }
        *last_step = step;
        let before = std::mem::replace(last, base);
        (before != base).then_some(before)
    }
}

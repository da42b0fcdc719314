//! What is out with the nodes: attempts from their sending to their end, and those that a copy has overtaken. Owns when a worker
//! counts as free again; does not know what a task is, nor who may get the next.

use super::Fleet;
use crate::engine::link::{Assignment, Link, Out, Overtaken};
use crate::engine::nodes::LinkKey;
use crate::engine::time::Time;
use crate::job::Attempt;

/// So long a worker counts as busy with a task that a copy has overtaken, if its node does not say that it has stopped: an honest one
/// says so within a batch, and the link of one that says nothing at all has ended by then.
const OVERTAKEN_US_MAX: u64 = 3_300_000;

impl Fleet {
    /// Notes an attempt that is being sent.
    pub(in crate::engine) fn assign(&mut self, link: LinkKey, assignment: Assignment) {
        let (started, job, ..) = assignment;
        if let Some(key) = self.node_of(link)
            && let Some(known) = self.crew_of_mut(job).map(|crew| crew.known.entry(key).or_default())
        {
            known.sent += 1;
            known.used_this_step = true;
        }
        self.change(link, |link| {
            link.assigned.insert(assignment, Out::default());
            link.reluctant_until = link.reluctant_until.filter(|&until| started < until);
        });
    }

    /// Notes that an attempt that is out is trained, and its update on its way.
    pub(in crate::engine) fn update_coming(&mut self, link: LinkKey, assignment: Assignment) {
        self.change(link, |link| {
            if let Some(out) = link.assigned.get_mut(&assignment) {
                out.is_coming = true;
            }
        });
    }

    /// Since when no task of another job has kept an attempt that is out from its worker; none if one does.
    pub(in crate::engine) fn begun(&self, link: LinkKey, assignment: Assignment) -> Option<Time> {
        self.link_of(self.node_of(link)?)?.assigned.get(&assignment)?.begun
    }

    /// Notes that an attempt is over, however it ended.
    pub(in crate::engine) fn release(&mut self, link: LinkKey, assignment: Assignment) {
        self.change(link, |link| {
            link.assigned.remove(&assignment);
        });
    }

    /// Whether nothing is out with any node.
    pub(in crate::engine) fn is_nothing_out(&self) -> bool {
        self.nodes.values().all(|node| node.link.as_ref().is_none_or(|link| link.assigned.is_empty()))
    }

    /// Notes that a copy has overtaken an attempt, which was sent at `started` and which its node is told to stop.
    pub(in crate::engine) fn overtaken(&mut self, link: LinkKey, attempt: Attempt, started: Time, now: Time) {
        if self.links.contains_key(&link) {
            self.overtaken.insert(link);
        }
        self.change(link, |link| link.overtaken.push(Overtaken { attempt, started, told: now }));
    }

    /// Notes that a node has answered an attempt, whatever it says: if it was to be stopped, it is.
    pub(in crate::engine) fn answered(&mut self, link: LinkKey, attempt: &Attempt) {
        self.no_longer_overtaken(link, |overtaken| overtaken.attempt == *attempt);
    }

    /// It is this time now. Gives up on answers that do not come: who never says that it has stopped may work all the same.
    pub(in crate::engine) fn forgive(&mut self, now: Time) {
        self.now = now;
        let is_over = |overtaken: &Overtaken| now.since_us(overtaken.told) >= OVERTAKEN_US_MAX;
        self.overtaken.clone().into_iter().for_each(|link| self.no_longer_overtaken(link, is_over));
    }

    /// Whether some node has yet to answer that it has stopped.
    pub(in crate::engine) fn has_overtaken(&self) -> bool {
        !self.overtaken.is_empty()
    }

    /// Waits for no such answer any more.
    pub(in crate::engine) fn forgive_all(&mut self) {
        self.overtaken.clone().into_iter().for_each(|link| self.no_longer_overtaken(link, |_| true));
    }

    fn no_longer_overtaken(&mut self, link: LinkKey, is_over: impl Fn(&Overtaken) -> bool) {
        let has_some = |link: &Link| link.overtaken.iter().any(&is_over);
        if !self.overtaken.contains(&link)
            || !self.node_of(link).and_then(|node| self.link_of(node)).is_some_and(has_some)
        {
            return;
        }
        let mut is_answered = false;
        self.change(link, |link| {
            link.overtaken.retain(|overtaken| !is_over(overtaken));
            is_answered = link.overtaken.is_empty();
        });
        if is_answered {
            self.overtaken.remove(&link);
        }
    }

    /// Everything that is out, for the invariants.
    pub(in crate::engine) fn assigned(&self) -> impl Iterator<Item = (LinkKey, Assignment)> {
        let links = self.nodes.values().filter_map(|node| node.link.as_ref());
        links.flat_map(|link| link.assigned.keys().map(|&assignment| (link.key, assignment)))
    }
}

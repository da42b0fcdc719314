//! Which nodes may work for a job: those with memory for its tasks that compute its arithmetic. Owns what is said where none may;
//! does not know what is out with them.

use super::{Fleet, Node};
use crate::engine::crew::Needs;
use crate::engine::link::Link;
use crate::engine::nodes::{Doubt, LinkKey, NodeKey};
use crate::engine::report::NodeState;
use crate::job::{JobId, TooSmall};

impl Fleet {
    /// The node of this link, if it may be sent one more task of a running job.
    pub(in crate::engine) fn taker(&self, link: LinkKey, job: JobId) -> Option<NodeKey> {
        let (key, known, link) = self.member(self.node_of(link)?, job)?;
        (known.is_member() && !link.is_at_limit()).then_some(key)
    }

    /// Why the node of this link is not believed that it computes this arithmetic, if it says so and is not.
    pub(in crate::engine) fn doubt(&self, link: LinkKey, arithmetic: u16) -> Option<Doubt> {
        self.link_of(self.node_of(link)?)?.doubt(arithmetic)
    }

    /// Whether there are nodes, and none of them has the memory that a job's tasks take, as far as each has told, now or over a
    /// link that has ended: then the one that lacks least. One of which nothing is known may have it.
    pub(in crate::engine) fn lacks_memory(&self, needs: Needs) -> Option<TooSmall> {
        self.closest(needs, |state| matches!(state, NodeState::Active | NodeState::Inactive))
    }

    /// Whether nodes are there that would work for a running job if jobs that began before left them the memory.
    pub(in crate::engine) fn are_taken(&self, needs: Needs) -> bool {
        self.active().any(|(.., link)| needs.are_met_by(link, 0))
    }

    /// Whether a job may begin beside those that run: no node would take its tasks if it ran alone and does not beside theirs, and
    /// the rows of all have room where nodes keep them.
    pub(in crate::engine) fn has_room_beside(&self, needs: Needs) -> bool {
        let has_memory = |node: &Node| {
            let Some((workers, memory_bytes)) = node.told else { return true };
            let fits = |needs: &Needs| needs.memory.fits_beside(workers, memory_bytes, 0);
            let there = self.crews.iter().map(|crew| crew.needs).filter(|needs| fits(needs));
            let taken = there.fold(0u64, |taken, needs| taken.saturating_add(needs.memory.of_workers(workers)));
            !fits(&needs) || needs.memory.fits_beside(workers, memory_bytes, taken)
        };
        let caches = self.active().map(|(.., link)| link.info.cache_bytes.unwrap_or(u64::MAX));
        let cache_bytes = caches.reduce(u64::saturating_add).unwrap_or(u64::MAX);
        let rows = self.crews.iter().map(|crew| crew.needs.rows_bytes);
        rows.fold(needs.rows_bytes, u64::saturating_add) <= cache_bytes && self.nodes.values().all(has_memory)
    }

    /// The same as [`Fleet::lacks_memory`] of those that are active.
    pub(in crate::engine) fn active_lack_memory(&self, needs: Needs) -> Option<TooSmall> {
        self.closest(needs, |state| state == NodeState::Active)
    }

    fn closest(&self, needs: Needs, counts: impl Fn(NodeState) -> bool) -> Option<TooSmall> {
        let mut closest: Option<TooSmall> = None;
        for node in self.nodes.values() {
            if !counts(node.state()) {
                continue;
            }
            let Some((workers, Some(allowed))) = node.told else { return None };
            let needed = needs.memory.of_workers(workers);
            if needed <= allowed {
                return None;
            }
            if closest.as_ref().is_none_or(|closest| needed - allowed < closest.needed - closest.allowed) {
                closest = Some(TooSmall { node: node.name().to_owned(), workers: workers.max(1), needed, allowed });
            }
        }
        closest
    }

    /// The active nodes that are not believed so, by name.
    pub(in crate::engine) fn doubted(&self, arithmetic: u16) -> Vec<(String, Doubt)> {
        let doubted = |(_, node, link): (_, &Node, &Link)| Some((node.name().to_owned(), link.doubt(arithmetic)?));
        self.active().filter_map(doubted).collect()
    }
}

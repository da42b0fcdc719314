//! Which node has a shard's rows, and that the shard's tasks go there. Owns what was merged last of each shard; does not know
//! blocks (`shares`), nor how a task is sent (`attempts`).
//!
//! Where a task is a whole shard, any node can take any task, and where the data are small that is best. Where they are not, a shard
//! that wanders costs more than a moment's wait: it stays with the node that had it, unless the wait there is longer than its way
//! to another.

use std::collections::{BTreeMap, VecDeque};

use super::placement::Terms;
use super::{Run, Stage};
use crate::engine::context::Context;
use crate::engine::nodes::NodeKey;
use crate::engine::scheduler::Policy;

/// Free nodes that are looked at in one go.
const FREE_AT_ONCE_MAX: usize = 64;

/// Where shards are.
#[derive(Debug, Default)]
pub(in crate::engine) struct Homes {
    /// Who trained each shard last.
    of: Vec<Option<NodeKey>>,
    /// The tasks of the step under way that are not handed out, by that; where there is nobody, under none.
    queues: BTreeMap<Option<NodeKey>, VecDeque<u32>>,
}

impl Homes {
    /// A step of so many shards begins.
    pub(super) fn begin_step(&mut self, shards: usize) {
        self.of.resize(shards, None);
        self.queues.clear();
        for (shard, home) in self.of.iter().enumerate() {
            self.queues.entry(*home).or_default().push_back(shard as u32);
        }
    }

    /// A shard's task is merged, and this node has its rows.
    pub(super) fn merged(&mut self, shard: u32, node: NodeKey) {
        if let Some(home) = self.of.get_mut(shard as usize) {
            *home = Some(node);
        }
    }
}

impl Run {
    /// Whether tasks have homes: the policy may choose, and the data are so large that it matters.
    pub(super) fn has_homes(&self, cx: &Context<'_>) -> bool {
        cx.settings.policy == Policy::LoadBalancing && !self.plan.merges_gradients() && self.shares.is_sticky()
    }

    /// Hands free nodes the tasks of shards that they have.
    pub(super) fn place_at_home(&mut self, cx: &mut Context<'_>) {
        let free: Vec<NodeKey> =
            cx.fleet.roster(self.job).free().take(FREE_AT_ONCE_MAX).map(|(_, _, node, _)| node).collect();
        for node in free {
            while cx.fleet.link_of(node).is_some_and(|link| link.is_open_to(self.job, cx.now))
                && let Some(shard) = self.next_at_home(node)
            {
                self.dispatch(shard, node, Terms { may_reject: true, is_held: false }, cx);
            }
        }
    }

    /// The next task of a node's own shards.
    fn next_at_home(&mut self, node: NodeKey) -> Option<u32> {
        let Stage::Training { tasks, .. } = &self.stage else { return None };
        let queue = self.homes.queues.get_mut(&Some(node))?;
        while let Some(shard) = queue.pop_front() {
            if tasks.is_fresh(shard) {
                return Some(shard);
            }
        }
        None
    }

    /// The next task that may go to any node: nobody who is there has its shard, or whoever has it takes longer to come to it than
    /// the shard takes on its way.
    pub(super) fn next_away(&mut self, cx: &Context<'_>) -> Option<u32> {
        let fetch_us = self.shares.fetch_us(1.0 / self.specification.shards.len().max(1) as f64);
        let Stage::Training { tasks, .. } = &self.stage else { return None };
        let mut longest: Option<(f64, u32)> = None;
        let mut is_queued = false;
        for (home, queue) in &mut self.homes.queues {
            while queue.back().is_some_and(|shard| !tasks.is_fresh(*shard)) {
                queue.pop_back();
            }
            let Some(&shard) = queue.back() else { continue };
            is_queued = true;
            let there = home.and_then(|home| cx.fleet.member(home, self.job)).filter(|(node, _, link)| {
                let expected_us = cx.fleet.expected_us(*node, self.job, tasks.rows(shard));
                let limit_us = self.pace.slow_after_us(expected_us, tasks.is_half_settled());
                let is_overdue = link.busy_since(self.job).is_some_and(|since| cx.now.since_us(since) > limit_us);
                // One that has room was not given it for a reason.
                let is_waited_for = link.is_full_of(self.job) && !link.is_reluctant(cx.now) && !is_overdue;
                is_waited_for && cx.fleet.taker(link.key, self.job) == Some(*node)
            });
            let wait_us = there.and_then(|(_, about, link)| {
                let task_us = about.task_us(tasks.rows(shard))?;
                // Until it comes to this one, the last of them.
                let running_us = link.busy_since(self.job).map_or(0.0, |since| task_us - cx.now.since_us(since) as f64);
                Some(((queue.len() - 1) as f64 * task_us + running_us.max(0.0)) / f64::from(link.workers()))
            });
            match wait_us {
                None => return Some(shard),
                Some(wait_us) if wait_us > fetch_us && longest.is_none_or(|(most_us, _)| wait_us > most_us) => {
                    longest = Some((wait_us, shard));
                }
                Some(_) => {}
            }
        }
        // Those that were out with a node which has gone come last: they are in no queue.
        longest.map(|(_, shard)| shard).or_else(|| tasks.first_fresh().filter(|_| !is_queued))
    }
}

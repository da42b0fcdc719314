//! Which node gets a task. Owns the policies; does not know rounds, results or what happens when no node is there.

use std::fmt;
use std::str::FromStr;

use rand::RngExt as _;
use rand::rngs::ChaCha8Rng;

use super::events::{NodeKey, Time};
use super::membership::{Fleet, Link, Needs, Node};
use super::round::{Standing, Task};

/// Predicted finishes within this factor of each other count as equal: then the less loaded node gets the task.
const EQUAL_WITHIN: f64 = 1.25;
/// A task that waits for a busy node is looked at again no sooner than this.
const RECHECK_US: u64 = 1_000;

/// How tasks are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A pending task goes at once to a node drawn at random, whatever its load: the node queues it.
    Random,
    /// A pending task goes to the node that is predicted to finish it first, and waits for it if need be; nodes may turn
    /// tasks down.
    LoadBalancing,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random => "random",
            Self::LoadBalancing => "load-balancing",
        })
    }
}

/// The text names no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPolicy;

impl fmt::Display for NotAPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scheduling policy is 1 (random) or 2 (load-balancing)")
    }
}

impl std::error::Error for NotAPolicy {}

impl FromStr for Policy {
    type Err = NotAPolicy;

    fn from_str(text: &str) -> Result<Policy, NotAPolicy> {
        match text {
            "1" | "random" => Ok(Policy::Random),
            "2" | "load-balancing" => Ok(Policy::LoadBalancing),
            _ => Err(NotAPolicy),
        }
    }
}

/// Where a task goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// To this node.
    Send {
        node: NodeKey,
        /// Whether the node may turn it down.
        may_reject: bool,
    },
    /// Nowhere yet: look again when something changes, and at this moment at the latest.
    Wait { until: Option<Time> },
    /// Every node there is has failed it for good.
    Nowhere,
}

/// What a choice depends on besides the task.
pub(super) struct View<'a> {
    pub(super) now: Time,
    pub(super) policy: Policy,
    pub(super) fleet: &'a Fleet,
    pub(super) needs: Needs,
    /// The time beyond which an attempt counts as slow, if that is known.
    pub(super) limit_us: Option<u64>,
}

type Member<'a> = (NodeKey, &'a Node, &'a Link);

impl View<'_> {
    /// Where a pending task of `rows` rows goes, while at least one node is there.
    ///
    /// Nodes that have done nothing to the task come first; then those that turned it down, now firmly; then, after a
    /// pause, those that failed it once.
    pub(super) fn choose(&self, task: &Task, rows: u32, rng: &mut ChaCha8Rng) -> Choice {
        let mut choice = Choice::Nowhere;
        for standing in [None, Some(Standing::Refused), Some(Standing::Doubted)] {
            let crew = || self.fleet.crew(self.needs).filter(|(node, ..)| task.standing(*node) == standing);
            if crew().next().is_none() {
                continue;
            }
            if standing == Some(Standing::Doubted) && self.now < task.not_before {
                return Choice::Wait { until: Some(task.not_before) };
            }
            choice = self.choose_among(crew(), rows, standing.is_none(), rng);
            // Nobody waits for a node whose tasks take longer than they should: the less welcome ones are asked.
            if !self.is_stuck(crew()) {
                break;
            }
        }
        choice
    }

    /// The node that gets a copy of a task that takes long: an idle one that neither has it nor failed it.
    pub(super) fn choose_copy(&self, task: &Task, rows: u32, rng: &mut ChaCha8Rng) -> Option<(NodeKey, bool)> {
        for standing in [None, Some(Standing::Refused)] {
            let idle = self.fleet.crew(self.needs).filter(|(node, _, link)| {
                let has_it = task.live.iter().any(|live| live.node == *node);
                task.standing(*node) == standing && link.is_idle(self.now) && !has_it
            });
            let choice = self.choose_among(idle, rows, standing.is_none(), rng);
            if let Choice::Send { node, may_reject } = choice {
                return Some((node, may_reject));
            }
        }
        None
    }

    /// Whether a task that no node has turned down or failed can be placed at all now.
    pub(super) fn has_room(&self) -> bool {
        match self.policy {
            Policy::Random => self.fleet.crew(self.needs).any(|(_, _, link)| !link.is_at_limit()),
            Policy::LoadBalancing => self.fleet.crew(self.needs).any(|(_, _, link)| !link.is_full()),
        }
    }

    fn choose_among<'a>(
        &self,
        crew: impl Iterator<Item = Member<'a>>,
        rows: u32,
        may_reject: bool,
        rng: &mut ChaCha8Rng,
    ) -> Choice {
        match self.policy {
            Policy::Random => random(crew, rng),
            Policy::LoadBalancing => self.least_finish(crew, rows, may_reject),
        }
    }

    /// Whether these nodes are all full of attempts that take longer than they should.
    fn is_stuck<'a>(&self, mut crew: impl Iterator<Item = Member<'a>>) -> bool {
        self.policy == Policy::LoadBalancing
            && crew.all(|(_, _, link)| link.is_full() && self.overdue_at(link).is_some_and(|at| at <= self.now))
    }

    /// When the oldest attempt on a node begins to count as slow.
    fn overdue_at(&self, link: &Link) -> Option<Time> {
        let &(started, ..) = link.assigned.first()?;
        Some(started.after_us(self.limit_us?))
    }

    /// The node of least predicted finish; or wait for it, if it is full.
    fn least_finish<'a>(&self, crew: impl Iterator<Item = Member<'a>>, rows: u32, may_reject: bool) -> Choice {
        let prospects: Vec<Prospect> = crew.map(|member| self.prospect(member, rows)).collect();
        let soonest = |full: bool| {
            let finishes = prospects.iter().filter(move |prospect| prospect.is_full == full);
            finishes.map(|prospect| prospect.finish_us).min_by(f64::total_cmp)
        };
        let Some(free_us) = soonest(false) else {
            // The first of the full nodes to become overdue may change the choice: nobody waits for ever.
            let overdue = prospects.iter().filter_map(|prospect| prospect.overdue_at).filter(|&at| at > self.now).min();
            return Choice::Wait { until: overdue };
        };
        if let Some(full_us) = soonest(true).filter(|&full_us| full_us < free_us) {
            // A full node's prediction gets worse with time once its task is overdue, so this ends.
            let recheck_us = RECHECK_US.max((free_us - full_us) as u64);
            return Choice::Wait { until: Some(self.now.after_us(recheck_us)) };
        }
        let near =
            prospects.iter().filter(|prospect| !prospect.is_full && prospect.finish_us <= free_us * EQUAL_WITHIN);
        let least = near.min_by(|a, b| a.share.total_cmp(&b.share).then(a.sent.cmp(&b.sent)));
        least.map_or(Choice::Wait { until: None }, |prospect| Choice::Send { node: prospect.node, may_reject })
    }

    fn prospect(&self, (node, about, link): Member, rows: u32) -> Prospect {
        let workers = f64::from(link.workers());
        let load = link.assigned.len() as f64 + f64::from(link.others(self.now));
        let oldest_us = link.assigned.first().map(|&(started, ..)| self.now.since_us(started) as f64);
        let is_full = link.is_full();
        let finish_us = match about.task_us(rows) {
            // Unknown: tried first, but never waited for.
            None if is_full => f64::INFINITY,
            None => 0.0,
            Some(task_us) => {
                // Tasks that must end before this one begins: the oldest ends when its time is up (an overdue one takes as
                // long again as it is late), the others follow at the node's rate.
                let ahead = (load + 1.0 - workers).max(0.0);
                let first_us = oldest_us.map_or(task_us, |age_us| (task_us - age_us).abs());
                let wait_us = if ahead >= 1.0 { first_us + (ahead - 1.0) * task_us / workers } else { 0.0 };
                wait_us + task_us
            }
        };
        Prospect { node, is_full, finish_us, share: load / workers, sent: link.sent, overdue_at: self.overdue_at(link) }
    }
}

/// What may be expected of a node.
struct Prospect {
    node: NodeKey,
    is_full: bool,
    finish_us: f64,
    /// Load by worker.
    share: f64,
    /// Tasks of this job that it was sent.
    sent: u64,
    overdue_at: Option<Time>,
}

/// A node drawn at random; one that has not been sent a task yet comes first, so that whoever joins gets work.
fn random<'a>(crew: impl Iterator<Item = Member<'a>>, rng: &mut ChaCha8Rng) -> Choice {
    let (owed, others): (Vec<Member>, Vec<Member>) =
        crew.filter(|(_, _, link)| !link.is_at_limit()).partition(|(_, _, link)| link.sent == 0);
    let drawn_from = if owed.is_empty() { others } else { owed };
    match drawn_from.len() {
        0 => Choice::Wait { until: None },
        count => Choice::Send { node: drawn_from[rng.random_range(0..count)].0, may_reject: false },
    }
}

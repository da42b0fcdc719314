//! Which node gets a task. Owns the policies; does not know rounds, results or what happens when no node is there.

use std::fmt;
use std::str::FromStr;

use rand::RngExt as _;
use rand::rngs::ChaCha8Rng;

use super::crew::Known;
use super::link::{ASSIGNED_MAX, Link};
use super::membership::Fleet;
use super::nodes::NodeKey;
use super::pace::Pace;
use super::step_tasks::{Standing, Task};
use super::time::Time;
use crate::job::JobId;

/// Predicted finishes within this factor of each other count as equal: then the less loaded node gets the task.
const EQUAL_WITHIN: f64 = 1.25;
/// A task that waits for a busy node is looked at again no sooner than this.
const RECHECK_US: u64 = 1_000;

/// How tasks are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A pending task goes to a node drawn at random, whatever its load: the node queues it. At once, unless the nodes cannot keep
    /// the job's rows, or other jobs run: then a node has two tasks of the job for each worker, at most.
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
    pub(super) job: JobId,
    /// What tasks have taken so far beside what was expected, and whether half of the step is done.
    pub(super) pace: &'a Pace,
    pub(super) is_half_done: bool,
}

type Member<'a> = (NodeKey, &'a Known, &'a Link);

impl View<'_> {
    /// Where a pending task of `rows` rows goes, while at least one node is there.
    ///
    /// Nodes that have done nothing to the task come first; then those that turned it down, or want none now that they may turn
    /// down, now firmly; then, after a pause, those that failed it once.
    pub(super) fn choose(&self, task: &Task, rows: u32, rng: &mut ChaCha8Rng) -> Choice {
        if self.policy == Policy::LoadBalancing
            && task.is_welcome_everywhere()
            && let Some(choice) = self.least_finish_of_all(rows)
        {
            let willing = self.fleet.crew(self.job).filter(|(.., link)| !link.is_reluctant(self.now));
            debug_assert_eq!(choice, self.least_finish(willing, rows, true));
            return choice;
        }
        let mut choice = Choice::Nowhere;
        for standing in [None, Some(Standing::Refused), Some(Standing::Doubted)] {
            let crew = || self.fleet.crew(self.job).filter(|member| self.standing(task, member) == standing);
            if crew().next().is_none() {
                continue;
            }
            if standing == Some(Standing::Doubted) && self.now < task.not_before {
                return Choice::Wait { until: Some(task.not_before) };
            }
            choice = self.choose_among(crew(), rows, standing.is_none(), rng);
            // Nobody waits for a node whose tasks take longer than they should: the less welcome ones are asked.
            if !self.is_stuck(crew(), rows) {
                break;
            }
        }
        choice
    }

    /// What a node has done to make itself unwelcome at a task: to want none now is to turn it down.
    fn standing(&self, task: &Task, (node, _, link): &Member<'_>) -> Option<Standing> {
        task.standing(*node).or_else(|| link.is_reluctant(self.now).then_some(Standing::Refused))
    }

    /// The node that gets a copy of a task that takes long: an idle one that does not have it; one that failed it once only where
    /// there is no other, and after a pause. One that has a slow task of its own, and has not done any, may never do one.
    pub(super) fn choose_copy(&self, task: &Task, rows: u32, rng: &mut ChaCha8Rng) -> Option<(NodeKey, bool)> {
        for standing in [None, Some(Standing::Refused), Some(Standing::Doubted)] {
            if standing == Some(Standing::Doubted) && self.now < task.not_before {
                return None;
            }
            let idle = self.fleet.crew(self.job).filter(|(node, known, link)| {
                let has_it = task.live.iter().any(|live| live.node == *node);
                let may_be_silent = known.speed().is_none() && self.is_overdue(*node, link, rows);
                task.standing(*node) == standing && link.is_idle(self.now) && !has_it && !may_be_silent
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
            Policy::Random => self.fleet.crew(self.job).any(|(_, _, link)| !self.has_most(link)),
            Policy::LoadBalancing => {
                let roster = self.fleet.roster(self.job);
                roster.has_free() || self.odd().any(|(_, _, link)| !link.is_full_of(self.job))
            }
        }
    }

    /// Whether a worker is free somewhere, as far as known, or does only what other jobs have asked for.
    pub(super) fn has_idle(&self) -> bool {
        self.fleet.roster(self.job).has_free() || self.odd().any(|(_, _, link)| link.is_idle(self.now))
    }

    /// Whether a node has as many of the job's tasks as it may, whatever the policy. What waits there holds its rows, and of those a
    /// node is to have no more in memory than it keeps; and where other jobs run it is not to have them all before theirs.
    fn has_most(&self, link: &Link) -> bool {
        let takes_all = !self.fleet.is_shared() && self.fleet.keeps_rows(self.job, link);
        link.has_most_of(self.job, if takes_all { ASSIGNED_MAX } else { 2 * link.workers() as usize })
    }

    /// Nodes of the roster that no order says anything of.
    fn odd(&self) -> impl Iterator<Item = Member<'_>> {
        self.fleet.roster(self.job).odd().filter_map(|node| self.fleet.member(node, self.job))
    }

    fn choose_among<'a>(
        &self,
        crew: impl Iterator<Item = Member<'a>>,
        rows: u32,
        may_reject: bool,
        rng: &mut ChaCha8Rng,
    ) -> Choice {
        match self.policy {
            Policy::Random => random(crew.filter(|(.., link)| !self.has_most(link)), rng),
            Policy::LoadBalancing => self.least_finish(crew, rows, may_reject),
        }
    }

    /// Whether these nodes all have as many tasks as they may, and attempts among them that take longer than they should.
    fn is_stuck<'a>(&self, mut crew: impl Iterator<Item = Member<'a>>, rows: u32) -> bool {
        let has_all = |link: &Link| match self.policy {
            Policy::Random => self.has_most(link),
            Policy::LoadBalancing => link.is_full_of(self.job),
        };
        crew.all(|(node, _, link)| has_all(link) && self.is_overdue(node, link, rows))
    }

    /// Whether the oldest attempt on a node counts as slow.
    fn is_overdue(&self, node: NodeKey, link: &Link, rows: u32) -> bool {
        self.overdue_at(node, link, rows).is_some_and(|at| at <= self.now)
    }

    /// When the oldest attempt on a node begins to count as slow, if it has about so many rows.
    fn overdue_at(&self, node: NodeKey, link: &Link, rows: u32) -> Option<Time> {
        let expected_us = self.fleet.expected_us(node, self.job, rows);
        let limit_us = self.pace.slow_after_us(expected_us, self.is_half_done);
        link.busy_since(self.job).map(|started| started.after_us(limit_us))
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
            return self.recheck(free_us, full_us);
        }
        let near =
            prospects.iter().filter(|prospect| !prospect.is_full && prospect.finish_us <= free_us * EQUAL_WITHIN);
        let least = near.min_by(|a, b| a.share.total_cmp(&b.share).then(a.sent.cmp(&b.sent)));
        least.map_or(Choice::Wait { until: None }, |prospect| Choice::Send { node: prospect.node, may_reject })
    }

    /// What [`View::least_finish`] says of all that want tasks, where one of them is not full, without looking at all of it: a
    /// choice among thousands of nodes is to cost what one among ten does.
    fn least_finish_of_all(&self, rows: u32) -> Option<Choice> {
        let roster = self.fleet.roster(self.job);
        let willing = self.odd().filter(|(.., link)| !link.is_reluctant(self.now));
        let odd: Vec<Prospect> = willing.map(|member| self.prospect(member, rows)).collect();
        let odd_finishes = |full| odd.iter().filter(move |odd| odd.is_full == full).map(|odd| odd.finish_us);
        // A task begins at once on a free node.
        let task_us = |us_per_row: f64| us_per_row * f64::from(rows);
        let finishes = roster.least_free_us().map(task_us).into_iter().chain(odd_finishes(false));
        let free_us = finishes.min_by(f64::total_cmp)?;
        let full_us = odd_finishes(true).fold(self.soonest_full(rows, free_us), f64::min);
        if full_us < free_us {
            return Some(self.recheck(free_us, full_us));
        }
        let near_us = free_us * EQUAL_WITHIN;
        let free = roster.free().find(|&(.., us_per_row)| task_us(us_per_row) <= near_us);
        let free = free.map(|(share, sent, node, _)| (share, sent, node));
        let odd = odd.iter().filter(|odd| !odd.is_full && odd.finish_us <= near_us);
        let near = odd.map(|odd| (odd.share, odd.sent, odd.node)).chain(free);
        let (.., node) = near.min_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))))?;
        Some(Choice::Send { node, may_reject: true })
    }

    /// The least predicted finish of the full nodes of known speed, if it is less than `below_us`; else that.
    ///
    /// With m for the least time of a task on any of them and a for the age of its oldest task, a full node's finish is
    /// neither below m, nor below a, nor below 2m - a. So only ages around m matter.
    fn soonest_full(&self, rows: u32, below_us: f64) -> f64 {
        /// Bounds are rounded otherwise than predictions.
        const SLACK: f64 = 1.0 - 1e-9;
        let roster = self.fleet.roster(self.job);
        let mut soonest_us = below_us;
        let Some(least_us) = roster.least_full_us().map(|us| us * f64::from(rows)) else { return soonest_us };
        if least_us * SLACK >= soonest_us {
            return soonest_us;
        }
        let turn = Time(self.now.0.saturating_sub(least_us as u64));
        let mut look = |started: Time, node, bound_us: f64| {
            let is_open = bound_us * SLACK < soonest_us;
            if let Some(member) = self.fleet.member(node, self.job).filter(|_| is_open) {
                debug_assert_eq!(member.2.busy_since(self.job), Some(started));
                soonest_us = soonest_us.min(self.prospect(member, rows).finish_us);
            }
            is_open
        };
        let age_us = |started: Time| self.now.since_us(started) as f64;
        for (started, node) in roster.full_since(turn) {
            if !look(started, node, 2.0 * least_us - age_us(started)) {
                break;
            }
        }
        for (started, node) in roster.full_before(turn) {
            if !look(started, node, age_us(started)) {
                break;
            }
        }
        soonest_us
    }

    /// Waits for a full node. Its prediction gets worse with time once its task is overdue, so this ends.
    fn recheck(&self, free_us: f64, full_us: f64) -> Choice {
        Choice::Wait { until: Some(self.now.after_us(RECHECK_US.max((free_us - full_us) as u64))) }
    }

    fn prospect(&self, (node, about, link): Member, rows: u32) -> Prospect {
        let workers = f64::from(link.workers());
        let load = f64::from(link.busy_with(self.job)) + f64::from(link.others(self.now));
        let oldest_us = link.busy_since(self.job).map(|started| self.now.since_us(started) as f64);
        let is_full = link.is_full_of(self.job);
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
        let overdue_at = self.overdue_at(node, link, rows);
        Prospect { node, is_full, finish_us, share: load / workers, sent: about.sent, overdue_at }
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
    let (owed, others): (Vec<Member>, Vec<Member>) = crew.partition(|(_, known, _)| known.sent == 0);
    let drawn_from = if owed.is_empty() { others } else { owed };
    match drawn_from.len() {
        0 => Choice::Wait { until: None },
        count => Choice::Send { node: drawn_from[rng.random_range(0..count)].0, may_reject: false },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::{Rng as _, SeedableRng as _};

    use super::*;
    use crate::engine::crew::Needs;
    use crate::engine::link::Assignment;
    use crate::engine::nodes::{LinkKey, NodeInfo};
    use crate::job::memory::NodeMemory;

    const NODES: u64 = 40;
    const NEEDS: Needs = Needs { arithmetic: 1, allow_inexact: false, memory: NodeMemory::NONE, rows_bytes: 0 };
    const JOB: JobId = JobId(1);
    /// Another that runs beside it.
    const OTHER: JobId = JobId(2);

    /// A node whose link bears its number joins; one in eight computes something else.
    fn join(fleet: &mut Fleet, number: u64, rng: &mut ChaCha8Rng) {
        let node = NodeKey(number as u32);
        fleet.list(node, number.to_string());
        let arithmetics = vec![1 + u16::from(rng.random_range(0..8) == 0)];
        let workers = if rng.random_range(0..400) == 0 { 300 } else { [1, 1, 1, 1, 2, 3][rng.random_range(0..6)] };
        fleet.link_up(
            node,
            LinkKey(number),
            NodeInfo {
                name: number.to_string(),
                arithmetics,
                doubts: Vec::new(),
                workers,
                cache_bytes: None,
                memory_bytes: None,
            },
        );
    }

    #[test]
    fn a_choice_from_the_roster_is_that_of_a_look_at_every_node() {
        let (mut chosen, mut waited) = (0, 0);
        for seed in 0..40 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut fleet = Fleet::default();
            (0..NODES).for_each(|number| join(&mut fleet, number, &mut rng));
            fleet.begin_job(JOB, NEEDS);
            if seed % 2 == 1 {
                fleet.begin_job(OTHER, NEEDS);
            }
            let mut now = Time(1_000_000);
            let mut out: Vec<(LinkKey, Assignment)> = Vec::new();
            for number in 0..600 {
                // Time often stands still, as it does while a round is handed out.
                now = now.after(Duration::from_micros([0, 0, 10, 900, 3_000][rng.random_range(0..5)]));
                let rows = rng.random_range(90..110);
                let pace = Pace::default();
                let view = View {
                    now,
                    policy: Policy::LoadBalancing,
                    fleet: &fleet,
                    job: JOB,
                    pace: &pace,
                    is_half_done: false,
                };
                let willing = || fleet.crew(JOB).filter(|(.., link)| !link.is_reluctant(now));
                let looked = view.least_finish(willing(), rows, true);
                let choice = view.least_finish_of_all(rows);
                assert_eq!(choice.is_some(), willing().any(|(.., link)| !link.is_full_of(JOB)));
                assert_eq!(view.has_room(), fleet.crew(JOB).any(|(.., link)| !link.is_full_of(JOB)));
                assert_eq!(choice.unwrap_or(looked), looked, "seed {seed}, step {number}");
                match choice.unwrap_or(Choice::Nowhere) {
                    Choice::Send { node, .. } => {
                        let assignment = (now, JOB, number, 1);
                        fleet.assign(LinkKey(node.0.into()), assignment);
                        out.push((LinkKey(node.0.into()), assignment));
                        chosen += 1;
                    }
                    Choice::Wait { .. } => waited += 1,
                    Choice::Nowhere => {}
                }
                let link = LinkKey(rng.random_range(0..NODES));
                match rng.random_range(0..56) {
                    0 => drop(fleet.link_down(link)),
                    1 => join(&mut fleet, link.0, &mut rng),
                    2 => fleet.load_reported(link, rng.random_range(0..3), rng.random_range(0..2), now),
                    3 => fleet.busy_told(link, now),
                    4 => fleet.begin_step(JOB),
                    5 => fleet.unlist(NodeKey(link.0 as u32)),
                    6 => drop(fleet.strike(NodeKey(link.0 as u32), 20)),
                    7 => now = now.after_us(6_000_000),
                    // Tasks of the other job change nothing of what this one may expect.
                    32..36 => {
                        let assignment = (now, OTHER, number, 1);
                        fleet.assign(link, assignment);
                        out.push((link, assignment));
                    }
                    16 => fleet.reluctant_told(link, now.after_us(rng.random_range(0..30_000))),
                    48..56 if !out.is_empty() => {
                        let (link, assignment) = out[rng.random_range(0..out.len())];
                        fleet.update_coming(link, assignment);
                    }
                    8..16 if !out.is_empty() => {
                        let (link, assignment) = out.swap_remove(rng.random_range(0..out.len()));
                        fleet.release(link, assignment);
                        // Most are about as fast as each other, some are not.
                        let us_per_row = 100 + link.0 % 7 + if link.0 % 10 == 3 { 90 } else { 0 };
                        let elapsed_us = us_per_row * u64::from(rows) + rng.next_u64() % 50;
                        fleet.observe(NodeKey(link.0 as u32), JOB, elapsed_us, elapsed_us, rows);
                    }
                    _ => {}
                }
                fleet.dismiss_idle_leavers();
            }
        }
        assert!(chosen > 1_000 && waited > 1_000, "{chosen} sent, {waited} kept waiting");
    }
}

//! Who may work: nodes, their links, what is out with each, how fast and how busy they are, who is quarantined. Owns the
//! fleet; does not know jobs, tasks' contents or policies.

use std::collections::{BTreeMap, BTreeSet};

use super::nodes::{Doubt, LinkKey, NodeInfo, NodeKey};
use super::report::{NodeState, NodeStatus};
use super::roster::{Availability, Roster};
use super::speed::{Speed, Worker};
use super::time::Time;
use crate::job::memory::NodeMemory;
use crate::job::{Attempt, TooSmall};

/// Weight of the newest time in a node's running average.
const NEWEST_WEIGHT: f64 = 0.3;
/// What a step without work leaves of a node's average time: one slow moment must not exclude it for ever.
const UNUSED_FACTOR: f64 = 0.95;
/// Tasks out over one connection at a time: well below the unanswered requests that a peer takes (protocol.md, "Limits").
pub(super) const ASSIGNED_MAX: usize = 256;
/// So long a worker counts as busy with a task that a copy has overtaken, if its node does not say that it has stopped: an honest one
/// says so within a batch, and the link of one that says nothing at all has ended by then.
const OVERTAKEN_US_MAX: u64 = 3_300_000;
/// A time is a disappointment where a node that was not used for a while takes more than so many times what was hoped for.
const HOPED_WITHIN: f64 = 1.25;
/// Each disappointment doubles the time until the node is hoped for again, as often as this.
const DISAPPOINTMENTS_MAX: i32 = 6;
/// A told load is believed for so long.
const LOAD_VALID_US: u64 = 5_000_000;

/// An attempt on a node: when it was sent, its shard, its number. Ordered by age.
pub(super) type Assignment = (Time, u32, u32);

/// What a node must offer to work on a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// The arithmetic that the job is promised in.
    pub(super) arithmetic: u16,
    /// Whether another will do.
    pub(super) allow_inexact: bool,
    /// What its tasks take there.
    pub(super) memory: NodeMemory,
}

/// A link to a node, and what is out over it.
pub(super) struct Link {
    pub(super) key: LinkKey,
    /// Nothing in here is older than the link.
    pub(super) assigned: BTreeSet<Assignment>,
    /// Of these, those that are trained and whose updates are on their way: no worker has them any more.
    coming: BTreeSet<Assignment>,
    /// Attempts that copies have overtaken, and that it was told to stop and has not answered since: a worker has them still, as far as
    /// is known. A node that has stopped without a word does not answer, and gets nothing more before it does.
    overtaken: Vec<Overtaken>,
    /// Tasks sent for the running job over this link. A node at 0 is owed one.
    pub(super) sent: u64,
    info: NodeInfo,
    used_this_step: bool,
    load: Option<Load>,
    /// The node wants no task before this moment that it may turn down.
    reluctant_until: Option<Time>,
    /// The node has said that it is shutting down: what is out is finished, and nothing new is sent.
    is_closing: bool,
}

/// An attempt that its node was told to stop.
struct Overtaken {
    attempt: Attempt,
    started: Time,
    told: Time,
}

/// A load as told, and what of it was not ours when it was told.
struct Load {
    running: u32,
    waiting: u32,
    others: u32,
    told: Time,
}

impl Link {
    /// Tasks that the node trains at the same time.
    pub(super) fn workers(&self) -> u32 {
        self.info.workers.max(1)
    }

    /// Tasks of ours that it trains, or that wait at it.
    pub(super) fn busy(&self) -> u32 {
        (self.assigned.len() - self.coming.len() + self.overtaken.len()) as u32
    }

    /// When the first of these was sent.
    pub(super) fn busy_since(&self) -> Option<Time> {
        let assigned = self.assigned.iter().find(|assignment| !self.coming.contains(assignment));
        let overtaken = self.overtaken.iter().map(|overtaken| overtaken.started);
        overtaken.chain(assigned.map(|&(started, ..)| started)).min()
    }

    /// Whether its workers have as many tasks as they are, or its updates come so slowly that it would have more than two of
    /// them for each to keep.
    pub(super) fn is_full(&self) -> bool {
        let workers = self.workers();
        self.busy() >= workers || self.assigned.len() >= 2 * workers as usize || self.is_at_limit()
    }

    /// Whether it has as many tasks as one connection carries, whatever the policy.
    pub(super) fn is_at_limit(&self) -> bool {
        self.assigned.len() >= ASSIGNED_MAX
    }

    /// Tasks of others on the node, as far as known.
    pub(super) fn others(&self, now: Time) -> u32 {
        self.load.as_ref().filter(|load| now.since_us(load.told) < LOAD_VALID_US).map_or(0, |load| load.others)
    }

    /// Whether the node wants no task now that it may turn down.
    pub(super) fn is_reluctant(&self, now: Time) -> bool {
        self.reluctant_until.is_some_and(|until| now < until)
    }

    /// Whether a worker is free, as far as known.
    pub(super) fn is_idle(&self, now: Time) -> bool {
        self.busy().saturating_add(self.others(now)) < self.workers() && !self.is_full() && !self.is_reluctant(now)
    }

    /// Why the node is not believed that it computes this arithmetic, if it says so and is not.
    pub(super) fn doubt(&self, arithmetic: u16) -> Option<Doubt> {
        self.info.doubts.iter().find(|(doubted, _)| *doubted == arithmetic).map(|(_, doubt)| *doubt)
    }

    /// Whether the node computes this arithmetic.
    pub(super) fn computes(&self, arithmetic: u16) -> bool {
        self.info.arithmetics.contains(&arithmetic)
    }
}

/// A node of the list.
pub(super) struct Node {
    address: String,
    name: Option<String>,
    strikes: u32,
    quarantined: bool,
    leaving: bool,
    tasks_done: u64,
    us_per_row: Option<f64>,
    /// The same told apart: what of it is the node's own account.
    speed: Option<Speed>,
    /// Whether it had nothing to do since, and both are what is hoped for by now; and how often in a row that was disappointed.
    is_hope: bool,
    disappointments: i32,
    /// Tasks in a row that copies have overtaken: once may be chance.
    overtaken_in_a_row: u32,
    link: Option<Link>,
    /// Its workers and their memory, as it told last, over a link that may have ended.
    told: Option<(u32, Option<u64>)>,
    /// Where it is in the roster.
    place: Availability,
}

impl Node {
    /// Its name; its address as long as it has not told one.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.address)
    }

    /// Expected time of a task of so many rows, in microseconds, from those seen in this job.
    pub(super) fn task_us(&self, rows: u32) -> Option<f64> {
        self.us_per_row.map(|us| us * f64::from(rows))
    }

    /// The same of a task from its dispatch to its result, with what every task takes.
    fn expected_us(&self, rows: u32) -> Option<f64> {
        self.speed.map(|speed| speed.task_us(rows))
    }

    /// What a step without work leaves of what it took.
    fn unused_factor(&self) -> f64 {
        UNUSED_FACTOR.powf(2_f64.powi(-self.disappointments))
    }

    /// Where it belongs in the roster of a job that needs this.
    fn place(&self, needs: Needs) -> Availability {
        let Some(link) = self.link.as_ref().filter(|_| self.state() == NodeState::Active) else {
            return Availability::Away;
        };
        if !needs.are_met_by(link) {
            return Availability::Away;
        }
        let (busy, workers) = (link.busy(), link.workers());
        match link.busy_since() {
            // It is at its limit before its workers are busy.
            _ if workers as usize > ASSIGNED_MAX => Availability::Odd,
            // Only those who know the time know whether it is still.
            _ if link.reluctant_until.is_some() => Availability::Odd,
            Some(oldest) if busy >= workers => Availability::Full { oldest, us_per_row: self.us_per_row },
            _ if link.is_full() || link.load.as_ref().is_some_and(|load| load.others > 0) => Availability::Odd,
            _ => Availability::Free {
                share: f64::from(busy) / f64::from(workers),
                sent: link.sent,
                us_per_row: self.us_per_row.unwrap_or_default(),
            },
        }
    }

    /// A task of so many rows took so long. What was hoped for counts for nothing beside it.
    fn takes(&mut self, elapsed_us: u64, train_us: u64, rows: u32) {
        let newest = elapsed_us as f64 / f64::from(rows.max(1));
        if std::mem::take(&mut self.is_hope) {
            let is_disappointed = self.us_per_row.is_some_and(|hoped| newest > hoped * HOPED_WITHIN);
            if is_disappointed {
                self.disappointments = (self.disappointments + 1).min(DISAPPOINTMENTS_MAX);
                (self.us_per_row, self.speed) = (None, None);
            } else {
                self.disappointments = 0;
            }
        }
        self.speed = Some(Speed::observe(self.speed, elapsed_us, train_us, rows));
        self.us_per_row = Some(match self.us_per_row {
            Some(average) => average + NEWEST_WEIGHT * (newest - average),
            None => newest,
        });
    }

    fn state(&self) -> NodeState {
        match &self.link {
            _ if self.quarantined => NodeState::Quarantined,
            None => NodeState::Inactive,
            Some(link) if self.leaving || link.is_closing => NodeState::Leaving,
            Some(_) => NodeState::Active,
        }
    }
}

/// A link that went down, and what was out over it.
pub(super) struct Lost {
    pub(super) name: String,
    pub(super) link: LinkKey,
    pub(super) assigned: BTreeSet<Assignment>,
}

/// What became of a link that came up.
pub(super) enum Joined {
    /// The node is active; an older link of it is replaced.
    Active { replaced: Option<Lost> },
    /// The link is of no use, for this reason.
    Unwanted { reason: &'static str },
}

/// Every node of the list, and those that are leaving it.
#[derive(Default)]
pub(super) struct Fleet {
    nodes: BTreeMap<NodeKey, Node>,
    links: BTreeMap<LinkKey, NodeKey>,
    /// Nodes that are leaving; their number saves looking for them at every event.
    leaving: usize,
    /// Whether a node has ever been linked.
    has_had_links: bool,
    /// Attempts that were overtaken and not answered; their number saves looking for them at every event.
    overtaken: usize,
    /// What all nodes take on average in the running job.
    usual: Option<Speed>,
    /// What the running job needs, once there is one.
    needs: Option<Needs>,
    /// The crew of the running job.
    roster: Roster,
}

impl Needs {
    fn are_met_by(self, link: &Link) -> bool {
        let has_memory = self.memory.fits(link.info.workers, link.info.memory_bytes);
        (self.allow_inexact || link.computes(self.arithmetic)) && has_memory
    }
}

impl Fleet {
    /// Takes a node into the list.
    pub(super) fn list(&mut self, key: NodeKey, address: String) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.address = address;
            self.leaving -= usize::from(std::mem::take(&mut node.leaving));
            return self.replace(key);
        }
        let node = Node {
            address,
            name: None,
            strikes: 0,
            quarantined: false,
            leaving: false,
            tasks_done: 0,
            us_per_row: None,
            speed: None,
            is_hope: false,
            disappointments: 0,
            overtaken_in_a_row: 0,
            link: None,
            told: None,
            place: Availability::Away,
        };
        self.nodes.insert(key, node);
    }

    /// Takes a node out of the list: at once if it has no link, else once it is idle ([`Fleet::dismiss_idle_leavers`]).
    pub(super) fn unlist(&mut self, key: NodeKey) {
        match self.nodes.get_mut(&key) {
            Some(node) if node.leaving => {}
            Some(node) if node.link.is_some() => {
                node.leaving = true;
                self.leaving += 1;
                self.replace(key);
            }
            _ => drop(self.nodes.remove(&key)),
        }
    }

    /// Forgets leaving nodes that have nothing out any more; returns their links.
    pub(super) fn dismiss_idle_leavers(&mut self) -> Vec<LinkKey> {
        if self.leaving == 0 {
            return Vec::new();
        }
        let idle = |node: &Node| node.link.as_ref().is_none_or(|link| link.assigned.is_empty());
        let gone: Vec<NodeKey> =
            self.nodes.iter().filter(|(_, node)| node.leaving && idle(node)).map(|(&key, _)| key).collect();
        self.leaving -= gone.len();
        let mut dropped = Vec::new();
        for key in gone {
            if let Some(link) = self.nodes.remove(&key).and_then(|node| node.link) {
                self.links.remove(&link.key);
                dropped.push(link.key);
            }
        }
        dropped
    }

    /// A connection to a node is ready.
    pub(super) fn link_up(&mut self, key: NodeKey, link: LinkKey, info: NodeInfo) -> Joined {
        match self.nodes.get(&key) {
            None => return Joined::Unwanted { reason: "the node is not in the list" },
            Some(node) if node.quarantined => return Joined::Unwanted { reason: "the node is quarantined" },
            Some(node) if node.leaving => return Joined::Unwanted { reason: "the node is leaving the list" },
            Some(_) => {}
        }
        let replaced = self.nodes[&key].link.as_ref().map(|old| old.key).and_then(|old| self.link_down(old));
        if let Some(node) = self.nodes.get_mut(&key) {
            node.name = Some(info.name.clone());
            node.told = Some((info.workers, info.memory_bytes));
            node.link = Some(Link {
                key: link,
                assigned: BTreeSet::new(),
                coming: BTreeSet::new(),
                overtaken: Vec::new(),
                sent: 0,
                info,
                used_this_step: false,
                load: None,
                reluctant_until: None,
                is_closing: false,
            });
            self.links.insert(link, key);
            self.replace(key);
        }
        self.has_had_links = true;
        Joined::Active { replaced }
    }

    /// The addresses of all nodes, if none of them has ever answered: perhaps none has been started.
    pub(super) fn listed_if_none_has_ever_answered(&self) -> Option<Vec<String>> {
        let addresses = || self.nodes.values().map(|node| node.address.clone()).collect();
        (!self.has_had_links).then(addresses)
    }

    /// A connection is gone. None if it was not in use.
    pub(super) fn link_down(&mut self, link: LinkKey) -> Option<Lost> {
        let key = self.links.remove(&link)?;
        let node = self.nodes.get_mut(&key)?;
        let old = node.link.take()?;
        self.overtaken -= old.overtaken.len();
        let lost = Lost { name: node.name().to_owned(), link, assigned: old.assigned };
        self.replace(key);
        Some(lost)
    }

    /// Notes a node's load as it told it.
    pub(super) fn load_reported(&mut self, link: LinkKey, running: u32, waiting: u32, now: Time) {
        self.change(link, |link| {
            let others = running.saturating_add(waiting).saturating_sub(link.busy());
            link.load = Some(Load { running, waiting, others, told: now });
        });
    }

    /// Notes that a node said it is busy: its workers are not ours until it tells otherwise.
    pub(super) fn busy_told(&mut self, link: LinkKey, now: Time) {
        self.change(link, |link| {
            let others = link.workers().saturating_sub(link.busy());
            link.load = Some(Load { running: link.workers(), waiting: 0, others, told: now });
        });
    }

    /// Notes that a node wants no task before a moment that it may turn down.
    pub(super) fn reluctant_told(&mut self, link: LinkKey, until: Time) {
        self.change(link, |link| link.reluctant_until = Some(until));
    }

    /// When the first of the running job's nodes wants tasks again of those that want none now.
    pub(super) fn reluctant_until(&self, now: Time) -> Option<Time> {
        let odd = self.roster.odd().filter_map(|node| self.link_of(node));
        odd.filter_map(|link| link.reluctant_until.filter(|&until| now < until)).min()
    }

    /// Notes that a node said it is shutting down. Another link of it is another life.
    pub(super) fn closing_told(&mut self, link: LinkKey) {
        self.change(link, |link| link.is_closing = true);
    }

    /// Counts a bad result. True if the node is quarantined by it; its link is the caller's to drop.
    pub(super) fn strike(&mut self, key: NodeKey, strikes_max: u32) -> bool {
        let Some(node) = self.nodes.get_mut(&key) else { return false };
        node.strikes += 1;
        let quarantined_now = !node.quarantined && node.strikes >= strikes_max;
        node.quarantined |= quarantined_now;
        self.replace(key);
        quarantined_now
    }

    /// Nodes that may get new work for a job.
    pub(super) fn crew(&self, needs: Needs) -> impl Iterator<Item = (NodeKey, &Node, &Link)> {
        self.active().filter(move |(_, _, link)| needs.are_met_by(link))
    }

    /// The workers that are free, as far as known, by their nodes, and their speeds. Where none is free: those of all nodes that
    /// want tasks; where none does: all. There is at least one where there is a node for the job. Tasks of others, which a node told of some
    /// time ago, count unless `is_sticky`: then a moment's load is no reason to give a node's part to another.
    pub(super) fn workers(&self, needs: Needs, now: Time, is_sticky: bool) -> Vec<Worker> {
        /// Workers that a step is cut for, at most.
        const WORKERS_MAX: usize = 4_096;
        let known: Vec<Speed> = self.crew(needs).filter_map(|(_, node, _)| node.speed).collect();
        let usual = Speed::usual(&known);
        let of_crew = |count: &dyn Fn(&Link, Time) -> u32| {
            let of_node = |(key, node, link): (NodeKey, &Node, &Link)| {
                let cache_bytes = link.info.cache_bytes.map_or(u64::MAX, |bytes| bytes / u64::from(link.workers()));
                let worker = Worker { node: key, speed: node.speed.unwrap_or(usual), cache_bytes };
                std::iter::repeat_n(worker, count(link, now) as usize)
            };
            self.crew(needs).flat_map(of_node).take(WORKERS_MAX).collect::<Vec<_>>()
        };
        let free = |link: &Link, now: Time| {
            let others = if is_sticky { 0 } else { link.others(now) };
            let is_free = !link.is_full() && !link.is_reluctant(now);
            if is_free { link.workers().saturating_sub(link.busy().saturating_add(others)) } else { 0 }
        };
        let willing = |link: &Link, now: Time| if link.is_reluctant(now) { 0 } else { link.workers() };
        for count in [&free as &dyn Fn(&Link, Time) -> u32, &willing, &|link, _| link.workers()] {
            let workers = of_crew(count);
            if !workers.is_empty() {
                return workers;
            }
        }
        Vec::new()
    }

    /// Whether a node's workers are not all busy with tasks of ours, and it wants tasks that it may turn down.
    pub(super) fn is_willing(&self, key: NodeKey, now: Time) -> bool {
        self.link_of(key).is_some_and(|link| !link.is_full() && !link.is_reluctant(now))
    }

    /// Nodes that may get new work for some job.
    pub(super) fn active(&self) -> impl Iterator<Item = (NodeKey, &Node, &Link)> {
        let linked = self.nodes.iter().filter(|(_, node)| node.state() == NodeState::Active);
        linked.filter_map(|(&key, node)| node.link.as_ref().map(|link| (key, node, link)))
    }

    /// Nodes worth dialling.
    pub(super) fn inactive(&self) -> Vec<NodeKey> {
        let inactive = self.nodes.iter().filter(|(_, node)| node.state() == NodeState::Inactive);
        inactive.map(|(&key, _)| key).collect()
    }

    /// The node of a link in use.
    pub(super) fn node_of(&self, link: LinkKey) -> Option<NodeKey> {
        self.links.get(&link).copied()
    }

    /// The link of a node, if it has one.
    pub(super) fn link_of(&self, key: NodeKey) -> Option<&Link> {
        self.nodes.get(&key)?.link.as_ref()
    }

    /// The node of this link, if it may be sent one more task of a job.
    pub(super) fn taker(&self, link: LinkKey, needs: Needs) -> Option<NodeKey> {
        let (key, node, link) = self.member(self.node_of(link)?)?;
        let takes = node.state() == NodeState::Active && needs.are_met_by(link) && !link.is_at_limit();
        takes.then_some(key)
    }

    /// Why the node of this link is not believed that it computes this arithmetic, if it says so and is not.
    pub(super) fn doubt(&self, link: LinkKey, arithmetic: u16) -> Option<Doubt> {
        self.link_of(self.node_of(link)?)?.doubt(arithmetic)
    }

    /// Whether there are nodes, and none of them has the memory that a job's tasks take, as far as each has told, now or over a
    /// link that has ended: then the one that lacks least. One of which nothing is known may have it.
    pub(super) fn lacks_memory(&self, needs: Needs) -> Option<TooSmall> {
        self.closest(needs, |state| matches!(state, NodeState::Active | NodeState::Inactive))
    }

    /// The same of those that are active.
    pub(super) fn active_lack_memory(&self, needs: Needs) -> Option<TooSmall> {
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
    pub(super) fn doubted(&self, arithmetic: u16) -> Vec<(String, Doubt)> {
        let doubted = |(_, node, link): (_, &Node, &Link)| Some((node.name().to_owned(), link.doubt(arithmetic)?));
        self.active().filter_map(doubted).collect()
    }

    /// The links of all nodes that may yet work; none for a node that is not linked.
    pub(super) fn expected(&self) -> impl Iterator<Item = Option<LinkKey>> {
        let state = |node: &&Node| matches!(node.state(), NodeState::Active | NodeState::Inactive);
        self.nodes.values().filter(state).map(|node| node.link.as_ref().map(|link| link.key))
    }

    /// A node's name, for people.
    pub(super) fn name(&self, key: NodeKey) -> String {
        self.nodes.get(&key).map_or_else(|| format!("#{}", key.0), |node| node.name().to_owned())
    }

    /// Where in the list each name is.
    pub(super) fn places_by_name(&self) -> BTreeMap<&str, usize> {
        self.nodes.values().enumerate().map(|(place, node)| (node.name(), place)).collect()
    }

    /// Notes an attempt that is being sent.
    pub(super) fn assign(&mut self, link: LinkKey, assignment: Assignment) {
        self.change(link, |link| {
            link.assigned.insert(assignment);
            link.reluctant_until = link.reluctant_until.filter(|&until| assignment.0 < until);
            link.sent += 1;
            link.used_this_step = true;
        });
    }

    /// Notes that an attempt that is out is trained, and its update on its way.
    pub(super) fn update_coming(&mut self, link: LinkKey, assignment: Assignment) {
        self.change(link, |link| {
            if link.assigned.contains(&assignment) {
                link.coming.insert(assignment);
            }
        });
    }

    /// Notes that an attempt is over, however it ended.
    pub(super) fn release(&mut self, link: LinkKey, assignment: Assignment) {
        self.change(link, |link| {
            link.assigned.remove(&assignment);
            link.coming.remove(&assignment);
        });
    }

    /// Notes that a copy has overtaken an attempt, which was sent at `started` and which its node is told to stop.
    pub(super) fn overtaken(&mut self, link: LinkKey, attempt: Attempt, started: Time, now: Time) {
        let mut count = 0;
        self.change(link, |link| {
            link.overtaken.push(Overtaken { attempt, started, told: now });
            count = 1;
        });
        self.overtaken += count;
    }

    /// Notes that a node has answered an attempt, whatever it says: if it was to be stopped, it is.
    pub(super) fn answered(&mut self, link: LinkKey, attempt: &Attempt) {
        self.no_longer_overtaken(link, |overtaken| overtaken.attempt == *attempt);
    }

    /// Gives up on answers that do not come: who never says that it has stopped may work all the same.
    pub(super) fn forgive(&mut self, now: Time) {
        if self.overtaken == 0 {
            return;
        }
        let is_over = |overtaken: &Overtaken| now.since_us(overtaken.told) >= OVERTAKEN_US_MAX;
        let links: Vec<LinkKey> = self.links.keys().copied().collect();
        links.into_iter().for_each(|link| self.no_longer_overtaken(link, is_over));
    }

    /// Whether some node has yet to answer that it has stopped.
    pub(super) fn has_overtaken(&self) -> bool {
        self.overtaken > 0
    }

    /// Waits for no such answer any more.
    pub(super) fn forgive_all(&mut self) {
        let links: Vec<LinkKey> = self.links.keys().copied().collect();
        links.into_iter().for_each(|link| self.no_longer_overtaken(link, |_| true));
    }

    fn no_longer_overtaken(&mut self, link: LinkKey, is_over: impl Fn(&Overtaken) -> bool) {
        let has_some = |link: &Link| link.overtaken.iter().any(&is_over);
        if self.overtaken == 0 || !self.node_of(link).and_then(|node| self.link_of(node)).is_some_and(has_some) {
            return;
        }
        let mut count = 0;
        self.change(link, |link| {
            let before = link.overtaken.len();
            link.overtaken.retain(|overtaken| !is_over(overtaken));
            count = before - link.overtaken.len();
        });
        self.overtaken -= count;
    }

    /// Expected time of a task of so many rows at a node, from its dispatch to its result, in microseconds: by what the node has taken
    /// in this job; of one that has done nothing yet, by what all have.
    pub(super) fn expected_us(&self, key: NodeKey, rows: u32) -> Option<f64> {
        let own_us = self.nodes.get(&key).and_then(|node| node.expected_us(rows));
        own_us.or_else(|| self.usual.map(|usual| usual.task_us(rows)))
    }

    /// Notes how long a task took, from dispatch to result, and how long of it the node says that it trained.
    pub(super) fn observe(&mut self, key: NodeKey, elapsed_us: u64, train_us: u64, rows: u32) {
        self.usual = Some(Speed::observe(self.usual, elapsed_us, train_us, rows));
        if let Some(node) = self.nodes.get_mut(&key) {
            node.overtaken_in_a_row = 0;
            node.takes(elapsed_us, train_us, rows);
            self.replace(key);
        }
    }

    /// Notes that a task has taken so long and is not done: a copy has overtaken it. Nothing good is learned of the node by that, its
    /// average may only grow; and nothing by the first, where the node is known: it may have stopped for a moment.
    pub(super) fn observe_at_least(&mut self, key: NodeKey, elapsed_us: u64, rows: u32) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        node.overtaken_in_a_row += 1;
        let is_chance = node.overtaken_in_a_row == 1 && !node.is_hope && node.speed.is_some();
        if !is_chance && node.task_us(rows).is_none_or(|expected_us| expected_us < elapsed_us as f64) {
            node.takes(elapsed_us, elapsed_us, rows);
            self.replace(key);
        }
    }

    /// Notes a task of the node that was merged.
    pub(super) fn task_done(&mut self, key: NodeKey) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.tasks_done += 1;
        }
    }

    /// Notes that the result of a task that was merged is lost.
    pub(super) fn task_undone(&mut self, key: NodeKey) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.tasks_done = node.tasks_done.saturating_sub(1);
        }
    }

    /// A job begins: times of another network say nothing about it, and every node is owed a task.
    pub(super) fn begin_job(&mut self, needs: Needs) {
        self.needs = Some(needs);
        self.usual = None;
        for (&key, node) in &mut self.nodes {
            node.us_per_row = None;
            node.speed = None;
            (node.is_hope, node.disappointments, node.overtaken_in_a_row) = (false, 0, 0);
            if let Some(link) = &mut node.link {
                link.sent = 0;
                link.used_this_step = true;
            }
            let place = node.place(needs);
            self.roster.shift(key, &mut node.place, place);
        }
    }

    /// A step begins. What nodes took that have had nothing to do in the last one counts for less: a slow moment passes. But not
    /// for less than what the fastest take, or thousands of steps would make any node look as if it took no time at all.
    pub(super) fn begin_step(&mut self) {
        let least = Speed::least(self.nodes.values().filter_map(|node| node.speed));
        let least_us_per_row = self.nodes.values().filter_map(|node| node.us_per_row).fold(f64::INFINITY, f64::min);
        for (&key, node) in &mut self.nodes {
            let Some(link) = &mut node.link else { continue };
            if !std::mem::take(&mut link.used_this_step) {
                let factor = node.unused_factor();
                node.us_per_row = node.us_per_row.map(|us| (us * factor).max(least_us_per_row));
                node.speed = node.speed.map(|speed| speed.faded(factor, least));
                node.is_hope = true;
                if let Some(needs) = self.needs {
                    let place = node.place(needs);
                    self.roster.shift(key, &mut node.place, place);
                }
            }
        }
    }

    /// Everything that is out, for the invariants.
    pub(super) fn assigned(&self) -> impl Iterator<Item = (LinkKey, Assignment)> {
        let links = self.nodes.values().filter_map(|node| node.link.as_ref());
        links.flat_map(|link| link.assigned.iter().map(|&assignment| (link.key, assignment)))
    }

    /// Every node, for the console.
    pub(super) fn status(&self) -> Vec<NodeStatus> {
        let status = |(&key, node): (&NodeKey, &Node)| {
            let load = node.link.as_ref().and_then(|link| link.load.as_ref());
            NodeStatus {
                node: key,
                name: node.name().to_owned(),
                address: node.address.clone(),
                state: node.state(),
                doubt: node.link.as_ref().and_then(|link| link.info.doubts.first()).map(|(_, doubt)| *doubt),
                outstanding: node.link.as_ref().map_or(0, |link| link.assigned.len() as u32),
                running: load.map_or(0, |load| load.running),
                waiting: load.map_or(0, |load| load.waiting),
                tasks_done: node.tasks_done,
                rows_per_second: node.us_per_row.filter(|&us| us > 0.0).map(|us| 1e6 / us),
            }
        };
        self.nodes.iter().map(status).collect()
    }

    /// The crew of the running job, in the orders in which it is searched.
    pub(super) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// A node of the roster.
    pub(super) fn member(&self, key: NodeKey) -> Option<(NodeKey, &Node, &Link)> {
        let node = self.nodes.get(&key)?;
        Some((key, node, node.link.as_ref()?))
    }

    /// Changes a link in use.
    fn change(&mut self, link: LinkKey, change: impl FnOnce(&mut Link)) {
        let Some(&key) = self.links.get(&link) else { return };
        if let Some(link) = self.nodes.get_mut(&key).and_then(|node| node.link.as_mut()) {
            change(link);
            self.replace(key);
        }
    }

    /// Puts a node into its place in the roster. Runs after every change of a node.
    fn replace(&mut self, key: NodeKey) {
        if let (Some(node), Some(needs)) = (self.nodes.get_mut(&key), self.needs) {
            let place = node.place(needs);
            self.roster.shift(key, &mut node.place, place);
        }
    }
}

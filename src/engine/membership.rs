//! Who may work: nodes, their links, who is quarantined, and what running jobs know of them. Owns the fleet; does not know tasks'
//! contents or policies, nor when a job runs.
//!
//! | file | owns |
//! |---|---|
//! | this one | the nodes of the list, who of them is there, and what their tasks have taken |
//! | `eligibility` | who of them may work for a job |
//! | `out` | what is out with them |
//! | `link` | what is out over a connection |
//! | `crew` | what a running job knows of the nodes |

mod eligibility;
mod out;

use std::collections::{BTreeMap, BTreeSet};

use super::crew::{Crew, Known, Needs};
use super::link::{ASSIGNED_MAX, Assignment, Link, Load};
use super::nodes::{LinkKey, NodeInfo, NodeKey};
use super::report::{NodeState, NodeStatus};
use super::roster::Roster;
use super::speed::{Speed, Worker};
use super::time::Time;
use crate::job::JobId;

/// A node of the list.
pub(super) struct Node {
    address: String,
    name: Option<String>,
    strikes: u32,
    quarantined: bool,
    leaving: bool,
    tasks_done: u64,
    /// Its time for a row in the job that it worked for last, for people.
    us_per_row: Option<f64>,
    link: Option<Link>,
    /// Until when it may answer its first dial, if that is not over.
    may_answer: Option<Time>,
    /// Its workers and their memory, as it told last, over a link that may have ended.
    told: Option<(u32, Option<u64>)>,
}

impl Node {
    /// Its name; its address as long as it has not told one.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.address)
    }

    /// Its link, if it may get new work.
    fn active_link(&self) -> Option<&Link> {
        self.link.as_ref().filter(|_| self.state() == NodeState::Active)
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
    pub(super) assigned: Vec<Assignment>,
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
    /// Links over which attempts were overtaken and not answered: at every event only these are looked at.
    overtaken: BTreeSet<LinkKey>,
    /// The running jobs' knowledge of the nodes, in the order in which they began.
    crews: Vec<Crew>,
    /// Of a job that does not run.
    nobody: Roster,
    now: Time,
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
            link: None,
            may_answer: None,
            told: None,
        };
        self.nodes.insert(key, node);
        self.replace(key);
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
            _ => drop(self.remove(key)),
        }
    }

    fn remove(&mut self, key: NodeKey) -> Option<Node> {
        self.crews.iter_mut().for_each(|crew| crew.forget(key));
        self.nodes.remove(&key)
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
            if let Some(link) = self.remove(key).and_then(|node| node.link) {
                self.links.remove(&link.key);
                self.overtaken.remove(&link.key);
                dropped.push(link.key);
            }
        }
        dropped
    }

    /// A connection to a node is ready. No more workers are believed than can have tasks over it: whoever says that it has countless
    /// ones is not to have all of a step.
    pub(super) fn link_up(&mut self, key: NodeKey, link: LinkKey, mut info: NodeInfo) -> Joined {
        info.workers = info.workers.min(ASSIGNED_MAX as u32);
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
            node.link = Some(Link::new(link, info));
            node.may_answer = None;
            self.links.insert(link, key);
            for crew in &mut self.crews {
                let known = crew.known.entry(key).or_default();
                (known.sent, known.used_this_step) = (0, false);
            }
            self.replace(key);
        }
        self.has_had_links = true;
        Joined::Active { replaced }
    }

    /// Until when a node may answer its first dial; not at all, or not any more.
    pub(super) fn may_answer(&mut self, key: NodeKey, until: Option<Time>) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.may_answer = until.filter(|_| node.link.is_none());
        }
    }

    /// When the last of those has answered, or not, that are being dialled for the first time; none if there is none.
    pub(super) fn all_answer_until(&self) -> Option<Time> {
        let dialled = self.nodes.values().filter(|node| node.state() == NodeState::Inactive);
        dialled.filter_map(|node| node.may_answer.filter(|&until| self.now < until)).max()
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
        self.overtaken.remove(&link);
        let lost = Lost { name: node.name().to_owned(), link, assigned: old.assigned.into_keys().collect() };
        let has_some = |job| lost.assigned.iter().any(|(_, other, ..)| *other == job);
        self.crews.iter_mut().filter(|crew| has_some(crew.job)).for_each(|crew| crew.lost_with_tasks(key));
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

    /// When the first of a running job's nodes wants tasks again of those that want none now.
    pub(super) fn reluctant_until(&self, job: JobId, now: Time) -> Option<Time> {
        let odd = self.roster(job).odd().filter_map(|node| self.link_of(node));
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

    /// Nodes that may get new work for a running job.
    pub(super) fn crew(&self, job: JobId) -> impl Iterator<Item = (NodeKey, &Known, &Link)> {
        let members = self.crew_of(job).into_iter().flat_map(Crew::members);
        members.filter_map(|(key, known)| Some((key, known, self.link_of(key)?)))
    }

    /// The workers that are free, as far as known, by their nodes, and their speeds. Where none is free: those of all nodes that
    /// want tasks; where none does: all. There is at least one where there is a node for the job. One that does what other jobs have
    /// asked for is as free as they are: it does this job's tasks in turn with theirs. Tasks of others, which a node told of some
    /// time ago, count unless `is_sticky`: then a moment's load is no reason to give a node's part to another.
    pub(super) fn workers(&self, job: JobId, now: Time, is_sticky: bool) -> Vec<Worker> {
        /// Workers that a step is cut for, at most.
        const WORKERS_MAX: usize = 4_096;
        let known: Vec<Speed> = self.crew(job).filter_map(|(_, known, _)| known.speed()).collect();
        let usual = Speed::usual(&known);
        // Each job that runs has its part of what a node keeps.
        let sharing = self.crews.len().max(1) as u64;
        let of_crew = |count: &dyn Fn(&Link, Time) -> u32| {
            let of_node = |(key, known, link): (NodeKey, &Known, &Link)| {
                let parts = u64::from(link.workers()) * sharing;
                let cache_bytes = link.info.cache_bytes.map_or(u64::MAX, |bytes| bytes / parts);
                let worker = Worker { node: key, speed: known.speed().unwrap_or(usual), cache_bytes };
                std::iter::repeat_n(worker, count(link, now) as usize)
            };
            self.crew(job).flat_map(of_node).take(WORKERS_MAX).collect::<Vec<_>>()
        };
        let free = |link: &Link, now: Time| {
            let others = if is_sticky { 0 } else { link.others(now) };
            let is_free = !link.is_full_of(job) && !link.is_reluctant(now);
            if is_free { link.workers().saturating_sub(link.busy_with(job).saturating_add(others)) } else { 0 }
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

    /// What each node that may work for a running job keeps of data for it.
    pub(super) fn caches(&self, job: JobId) -> impl Iterator<Item = u64> {
        let sharing = self.crews.len().max(1) as u64;
        self.crew(job).map(move |(.., link)| link.info.cache_bytes.map_or(u64::MAX, |bytes| bytes / sharing))
    }

    /// Whether a node keeps all rows of a running job. One that says nothing is believed to.
    pub(super) fn keeps_rows(&self, job: JobId, link: &Link) -> bool {
        let rows_bytes = self.crew_of(job).map_or(0, |crew| crew.needs.rows_bytes);
        link.info.cache_bytes.is_none_or(|bytes| rows_bytes <= bytes)
    }

    /// Workers of the nodes that may work for a running job.
    pub(super) fn crew_workers(&self, job: JobId) -> u64 {
        self.crew_of(job).map_or(0, |crew| crew.workers)
    }

    /// Whether the nodes that may work for one running job may work for another, as far as can be told without a look at each.
    pub(super) fn has_crew_within(&self, job: JobId, other: JobId) -> bool {
        let Some((crew, other)) = self.crew_of(job).zip(self.crew_of(other)) else { return false };
        let is_same = other.needs.allow_inexact || crew.needs.arithmetic == other.needs.arithmetic;
        is_same && crew.members <= other.members
    }

    /// Whether a node's workers are not all busy with tasks of this job, and it wants tasks that it may turn down.
    pub(super) fn is_willing(&self, key: NodeKey, job: JobId, now: Time) -> bool {
        self.link_of(key).is_some_and(|link| !link.is_full_of(job) && !link.is_reluctant(now))
    }

    /// Nodes that may get new work for some job.
    pub(super) fn active(&self) -> impl Iterator<Item = (NodeKey, &Node, &Link)> {
        self.nodes.iter().filter_map(|(&key, node)| node.active_link().map(|link| (key, node, link)))
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

    /// What [`Crew::expected_us`] says.
    pub(super) fn expected_us(&self, key: NodeKey, job: JobId, rows: u32) -> Option<f64> {
        self.crew_of(job)?.expected_us(key, rows)
    }

    /// What [`Crew::training_us`] says.
    pub(super) fn training_us(&self, key: NodeKey, job: JobId, rows: u32) -> Option<f64> {
        self.crew_of(job)?.training_us(key, rows)
    }

    /// What [`Crew::observe`] notes.
    pub(super) fn observe(&mut self, key: NodeKey, job: JobId, elapsed_us: u64, train_us: u64, rows: u32) {
        self.learn(key, job, |crew| crew.observe(key, elapsed_us, train_us, rows));
    }

    /// What [`Crew::observe_at_least`] notes.
    pub(super) fn observe_at_least(&mut self, key: NodeKey, job: JobId, elapsed_us: u64, rows: u32) {
        self.learn(key, job, |crew| crew.observe_at_least(key, elapsed_us, rows));
    }

    fn learn(&mut self, key: NodeKey, job: JobId, learn: impl FnOnce(&mut Crew)) {
        let Some(crew) = self.crew_of_mut(job) else { return };
        learn(crew);
        let us_per_row = crew.known.get(&key).and_then(Known::us_per_row);
        if let Some(node) = self.nodes.get_mut(&key) {
            node.us_per_row = us_per_row.or(node.us_per_row);
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

    /// A job begins: what is known of nodes in others says nothing about it, and every node is owed a task.
    pub(super) fn begin_job(&mut self, job: JobId, needs: Needs) {
        let mut crew = Crew::new(job, needs);
        for (key, _) in self.nodes.iter().filter(|(_, node)| node.link.is_some()) {
            crew.known.entry(*key).or_default().used_this_step = true;
        }
        self.crews.push(crew);
        self.replace_all();
    }

    /// A job is over, or paused: those that are left may have what its tasks took.
    pub(super) fn end_job(&mut self, job: JobId) {
        self.crews.retain(|crew| crew.job != job);
        self.replace_all();
    }

    /// What [`Crew::begin_step`] says.
    pub(super) fn begin_step(&mut self, job: JobId) {
        let Fleet { nodes, crews, .. } = self;
        let Some(crew) = crews.iter_mut().find(|crew| crew.job == job) else { return };
        let unused = crew.begin_step(|key| nodes.get(&key).is_some_and(|node| node.link.is_some()));
        unused.into_iter().for_each(|key| self.replace(key));
    }

    /// Whether several jobs run.
    pub(super) fn is_shared(&self) -> bool {
        self.crews.len() > 1
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

    /// The crew of a running job, in the orders in which it is searched.
    pub(super) fn roster(&self, job: JobId) -> &Roster {
        self.crew_of(job).map_or(&self.nobody, |crew| &crew.roster)
    }

    /// A node of a running job's roster.
    pub(super) fn member(&self, key: NodeKey, job: JobId) -> Option<(NodeKey, &Known, &Link)> {
        Some((key, self.crew_of(job)?.known.get(&key)?, self.link_of(key)?))
    }

    fn crew_of(&self, job: JobId) -> Option<&Crew> {
        self.crews.iter().find(|crew| crew.job == job)
    }

    fn crew_of_mut(&mut self, job: JobId) -> Option<&mut Crew> {
        self.crews.iter_mut().find(|crew| crew.job == job)
    }

    /// Changes a link in use.
    fn change(&mut self, link: LinkKey, change: impl FnOnce(&mut Link)) {
        let Some(&key) = self.links.get(&link) else { return };
        if let Some(link) = self.nodes.get_mut(&key).and_then(|node| node.link.as_mut()) {
            change(link);
            link.look(self.now);
            self.replace(key);
        }
    }

    /// Puts a node into its place in the rosters. Runs after every change of a node. A job that began before others has the node's
    /// memory before them.
    fn replace(&mut self, key: NodeKey) {
        let Some(node) = self.nodes.get(&key) else { return };
        let link = node.active_link();
        let mut taken_bytes = 0u64;
        for crew in &mut self.crews {
            let met = link.filter(|link| crew.needs.are_met_by(link, taken_bytes));
            if let Some(link) = met {
                taken_bytes = taken_bytes.saturating_add(crew.needs.memory.of_workers(link.info.workers));
            }
            crew.put(key, met);
        }
    }

    fn replace_all(&mut self) {
        let keys: Vec<NodeKey> = self.nodes.keys().copied().collect();
        keys.into_iter().for_each(|key| self.replace(key));
    }
}

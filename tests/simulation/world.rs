//! A life: virtual time, the schedule of what is yet to happen, and everything that it happens to. What the coordinator does around
//! its engine is `coordinator`'s, what nodes do `fleet`'s; whether the promises are kept is for `promises` to say.

use std::collections::{BTreeMap, BTreeSet};

use gradwire::digest::{Digest, Hasher};
use gradwire::engine::{Engine, Event, LinkKey, NodeKey};
use gradwire::job::JobId;
use rand::rngs::ChaCha8Rng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

use crate::coverage::Coverage;
use crate::fleet::Node;
use crate::journal::Journal;
use crate::node::{Input, Program};
use crate::promises::Promises;
use crate::scenario::{JobPlan, Scenario};

/// No life is longer than this: a job that is still going is stuck.
const LIFE_US_MAX: u64 = 3_600_000_000;

/// The weights that a step of a job starts from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Base {
    pub step: u64,
    pub digest: Digest,
}

/// What is yet to happen.
pub enum Scheduled {
    /// The engine is told.
    Tell(Event),
    /// Something reaches a node, or its workers have done something, in this life of it.
    Hear { node: usize, life: u32, input: Input },
    /// A node is dialled.
    Dial { node: usize },
    /// A node starts.
    Start { node: usize },
    /// A fault of a node or its link.
    NodeFault { node: usize, life: u32 },
    /// A frozen node goes on.
    Thaw { node: usize, life: u32 },
    /// A node that is told to end does.
    Drained { node: usize, life: u32 },
    /// The list of nodes is edited.
    Unlist { node: usize },
    /// A client wants a job that was given up to go on.
    Reopen { job: JobId },
    /// The coordinator is killed, and started again.
    Crash,
}

pub struct World {
    pub rng: ChaCha8Rng,
    pub scenario: Scenario,
    pub engine: Engine,
    pub promises: Promises,
    pub journal: Journal,
    pub nodes: Vec<Node>,
    pub now_us: u64,
    /// When the coordinator was started: its clock begins there.
    pub started_us: u64,
    pub schedule: BTreeMap<(u64, u64), Scheduled>,
    pub scheduled: u64,
    pub links: u64,
    /// Links that the coordinator had before it was started last.
    pub links_before: u64,
    pub crashes: u32,
    /// Until then the workers have something in hand of jobs that are paused.
    pub idle_at_us: u64,
    /// Updates that cannot be summed.
    pub poisoned: BTreeSet<Digest>,
    /// Results sent so far, for replays.
    pub sent: Vec<Event>,
    pub sums: BTreeMap<(JobId, u64), BTreeMap<u32, Digest>>,
    /// The weights that each job was last given.
    pub bases: BTreeMap<JobId, Base>,
    /// What clients are yet to ask for: submissions, and that paused jobs go on.
    pub requests: Vec<JobId>,
    pub coverage: Coverage,
    pub trace: Hasher,
    pub is_shown: bool,
}

impl World {
    pub fn new(seed: u64, is_shown: bool) -> World {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let scenario = Scenario::draw(&mut rng);
        if is_shown {
            println!("{:?}\n{:#?}\n{:#?}", scenario.settings, scenario.nodes, scenario.jobs);
        }
        World {
            engine: Engine::new(scenario.settings.clone(), rng.next_u64()),
            promises: Promises::default(),
            journal: Journal::default(),
            nodes: scenario.nodes.iter().map(Node::new).collect(),
            now_us: 0,
            started_us: 0,
            schedule: BTreeMap::new(),
            scheduled: 0,
            links: 0,
            links_before: 0,
            crashes: 0,
            idle_at_us: 0,
            poisoned: BTreeSet::new(),
            sent: Vec::new(),
            sums: BTreeMap::new(),
            bases: BTreeMap::new(),
            requests: Vec::new(),
            coverage: Coverage::default(),
            trace: Hasher::default(),
            is_shown,
            scenario,
            rng,
        }
    }

    /// Lives until every job is over and every late message has arrived.
    pub fn run(mut self) -> Coverage {
        for node in 0..self.nodes.len() {
            self.tell_in(0, Event::NodeListed { node: NodeKey(node as u32), address: format!("10.0.0.{node}:7000") });
            self.schedule_in(self.nodes[node].plan.up_at_us, Scheduled::Start { node });
            if !self.nodes[node].plan.is_reliable && self.rng.random_bool(0.05) {
                let wait_us = self.rng.random_range(0..3_000_000);
                self.schedule_in(wait_us, Scheduled::Unlist { node });
            }
        }
        for plan in self.scenario.jobs.clone() {
            self.submit(&plan);
        }
        for at in self.scenario.crashes_at_us.clone() {
            self.schedule_in(at, Scheduled::Crash);
        }
        while let Some(at) = self.next_moment() {
            assert!(at >= self.now_us && at < LIFE_US_MAX, "a job does not end");
            self.now_us = at;
            match self.schedule.first_entry().filter(|entry| entry.key().0 == at) {
                Some(entry) => {
                    let scheduled = entry.remove();
                    self.carry_out(scheduled);
                }
                None => self.tell(Event::Tick),
            }
        }
        self.nodes.iter().filter_map(|node| node.program.as_ref()).for_each(Program::assert_has_answered);
        self.promises.close(&self.engine);
        self.coverage.count_all("stale results", self.engine.status().stale_results);
        self.coverage.trace = Some(self.trace.finish());
        self.coverage
    }

    /// Whether every job is over, or paused for good, and none is yet to come.
    pub fn is_over(&self) -> bool {
        self.requests.is_empty() && self.promises.jobs.are_over()
    }

    fn next_moment(&self) -> Option<u64> {
        let scheduled = self.schedule.first_key_value().map(|(&(at, _), _)| at);
        let deadline = self.engine.next_deadline().map(|deadline| self.started_us + deadline.0);
        scheduled.into_iter().chain(deadline).min()
    }

    pub fn carry_out(&mut self, scheduled: Scheduled) {
        match scheduled {
            Scheduled::Tell(event) => self.tell(event),
            Scheduled::Crash => self.crash(),
            Scheduled::Hear { node, life, input } => self.hear(node, life, input),
            Scheduled::Dial { node } => self.dial(node),
            Scheduled::Start { node } => self.start(node),
            Scheduled::NodeFault { node, life } => {
                if self.nodes[node].life == life && self.nodes[node].is_up && !self.is_over() {
                    self.inject_fault(node);
                }
            }
            Scheduled::Thaw { node, life } => {
                let it = &mut self.nodes[node];
                if it.life == life && it.is_up {
                    it.is_frozen = false;
                    for input in std::mem::take(&mut it.unheard) {
                        self.hear(node, life, input);
                    }
                    self.redial(node);
                }
            }
            Scheduled::Drained { node, life } => {
                if self.nodes[node].life == life && self.nodes[node].is_up {
                    self.close(node);
                    self.end(node, 1_000, "it said goodbye");
                }
            }
            Scheduled::Reopen { job } => self.reopen(job),
            Scheduled::Unlist { node } => {
                self.tell(Event::NodeUnlisted { node: NodeKey(node as u32) });
                if self.rng.random_bool(0.5) {
                    let wait_us = self.rng.random_range(0..2_000_000);
                    let address = "10.0.1.1:7000".to_owned();
                    self.tell_in(wait_us, Event::NodeListed { node: NodeKey(node as u32), address });
                }
            }
        }
    }

    /// Which node has this link.
    pub fn node_of(&self, link: LinkKey) -> Option<usize> {
        self.nodes.iter().position(|node| node.link == Some(link))
    }

    pub fn plan(&self, job: JobId) -> &JobPlan {
        self.scenario.job(job)
    }

    /// A message takes its time: later ones may overtake it.
    pub fn post(&mut self, scheduled: Scheduled) {
        let wait_us = self.rng.random_range(10..self.scenario.delay_us_max);
        self.schedule_in(wait_us, scheduled);
    }

    /// The same to a node.
    pub fn post_to_node(&mut self, node: usize, input: Input) {
        let life = self.nodes[node].life;
        self.post(Scheduled::Hear { node, life, input });
    }

    /// Something is for a node after this time.
    pub fn hear_in(&mut self, wait_us: u64, node: usize, input: Input) {
        let life = self.nodes[node].life;
        self.schedule_in(wait_us, Scheduled::Hear { node, life, input });
    }

    pub fn tell_in(&mut self, wait_us: u64, event: Event) {
        self.schedule_in(wait_us, Scheduled::Tell(event));
    }

    pub fn schedule_in(&mut self, wait_us: u64, scheduled: Scheduled) {
        self.schedule.insert((self.now_us + wait_us, self.scheduled), scheduled);
        self.scheduled += 1;
    }
}

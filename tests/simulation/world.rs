//! Everything around the engine, simulated: the coordinator's workers, clients, and with `fleet` the nodes. Owns virtual
//! time and the schedule of what is yet to happen; whether the engine keeps its promises is the ledger's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gradwire::digest::{Digest, Hasher};
use gradwire::engine::{Action, Engine, Event, JobEvent, LinkKey, NodeKey, Time};
use gradwire::job::{
    Attempt, FailKind, FailReason, Failure, JobId, Metric, Metrics, Operation, RowsRef, Specification,
};
use gradwire::model::{Merge, Network, Recipe, Training};
use rand::rngs::ChaCha8Rng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

use crate::account::Left;
use crate::coverage::{Coverage, NodeCoverage};
use crate::fleet::Node;
use crate::ledger::Ledger;
use crate::model;
use crate::node::{Input, Program};
use crate::scenario::{JobPlan, Scenario};

/// No life is longer than this: a job that is still going is stuck.
const LIFE_US_MAX: u64 = 3_600_000_000;
/// The coordinator's workers need no longer for anything.
const WORK_US_MAX: u64 = 3_000;

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
    /// The coordinator is killed, and started again.
    Crash,
}

pub struct World {
    pub rng: ChaCha8Rng,
    pub scenario: Scenario,
    pub engine: Engine,
    pub ledger: Ledger,
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
    pub bases: BTreeMap<JobId, Digest>,
    pub coverage_of_nodes: NodeCoverage,
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
            ledger: Ledger::new(&scenario),
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
            coverage_of_nodes: NodeCoverage::default(),
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
        let mut coverage = self.ledger.close(&self.engine);
        coverage.of_nodes = self.coverage_of_nodes;
        coverage.trace = Some(self.trace.finish());
        coverage
    }

    fn next_moment(&self) -> Option<u64> {
        let scheduled = self.schedule.first_key_value().map(|(&(at, _), _)| at);
        let deadline = self.engine.next_deadline().map(|deadline| self.started_us + deadline.0);
        scheduled.into_iter().chain(deadline).min()
    }

    fn submit(&mut self, plan: &JobPlan) {
        self.submit_in(plan.submitted_at_us, plan.job);
        if self.rng.random_bool(0.2) {
            let wait_us = self.rng.random_range(0..5_000_000);
            self.submit_in(plan.submitted_at_us + wait_us, plan.job);
        }
        if let Some(at) = plan.cancelled_at_us {
            self.tell_in(at, Event::CancelRequested { job: plan.job });
        }
    }

    fn submit_in(&mut self, wait_us: u64, job: JobId) {
        let specification = specification(self.plan(job));
        self.ledger.requested(job);
        self.tell_in(wait_us, Event::Submitted { job, specification, semantic: semantic(job) });
    }

    fn resume_in(&mut self, wait_us: u64, job: JobId) {
        self.ledger.requested(job);
        self.tell_in(wait_us, Event::ResumeRequested { job });
    }

    /// The coordinator is killed, and started again with what is durable.
    fn crash(&mut self) {
        // What it was about to hear is lost with it; what clients want and how the list is edited is not.
        self.schedule.retain(|_, scheduled| match scheduled {
            Scheduled::Tell(event) => matches!(
                event,
                Event::NodeListed { .. }
                    | Event::Submitted { .. }
                    | Event::CancelRequested { .. }
                    | Event::ResumeRequested { .. }
                    | Event::Expired { .. }
            ),
            _ => true,
        });
        self.sums.clear();
        self.bases.clear();
        self.links_before = self.links;
        self.started_us = self.now_us;
        self.orphan_nodes();
        let listed = self.ledger.listed();
        let (left, forgotten) = self.ledger.crash(&self.engine, &mut self.rng);
        self.engine = Engine::new(self.scenario.settings.clone(), self.rng.next_u64());
        for node in listed {
            self.tell(Event::NodeListed { node, address: format!("10.0.0.{}:7000", node.0) });
        }
        for (job, left) in left {
            let semantic = semantic(job);
            let event = match left {
                Left::Ended(outcome) => Event::RestoredEnded { job, semantic, outcome },
                Left::Open { progress, is_paused } => {
                    if is_paused {
                        self.after_pause(job);
                    }
                    let paused = is_paused.then(|| {
                        FailReason::Recorded(Failure { kind: FailKind::Paused, text: "no node is active".to_owned() })
                    });
                    let specification = specification(self.plan(job));
                    Event::Restored { job, specification, semantic, progress, paused }
                }
            };
            if self.rng.random_bool(0.1) {
                self.tell(event.clone());
            }
            self.tell(event);
        }
        for job in forgotten {
            let wait_us = self.rng.random_range(10_000..3_000_000);
            self.submit_in(wait_us, job);
        }
        (0..self.nodes.len()).for_each(|node| self.redial(node));
    }

    /// Somebody resumes a paused job some time, or cancels it, or forgets about it.
    fn after_pause(&mut self, job: JobId) {
        let wait_us = self.rng.random_range(10_000..8_000_000);
        match self.rng.random_range(0..10) {
            0..6 => self.resume_in(wait_us, job),
            6..8 => self.tell_in(wait_us, Event::CancelRequested { job }),
            _ => {}
        }
    }

    /// Something was ordered that is written down: perhaps it is durable by now, perhaps the coordinator is killed.
    fn after_writing(&mut self, job: JobId) {
        if self.rng.random_bool(0.4) {
            self.ledger.durable(job);
        }
        if self.crashes < self.scenario.crashes_max && self.rng.random_bool(self.scenario.crashes) {
            self.crashes += 1;
            let wait_us = self.rng.random_range(0..5_000);
            self.schedule_in(wait_us, Scheduled::Crash);
        }
    }

    /// The engine is told, and obeyed.
    pub fn tell(&mut self, event: Event) {
        if self.is_shown {
            println!("{:>10} <- {event:?}", self.now_us);
        }
        // What the engine may still hear of is settled before it hears: the ledger knows which answers count.
        self.ledger.before(self.now_us, &event);
        let mut actions = Vec::new();
        self.engine.handle(Time(self.now_us - self.started_us), event, &mut actions);
        for action in actions {
            if self.is_shown {
                println!("{:>10} -> {action:?}", self.now_us);
            }
            self.trace.update(format!("{action:?}").as_bytes());
            self.ledger.action(self.now_us, &action);
            self.obey(action);
        }
        self.ledger.after(self.now_us, &self.engine);
    }

    fn obey(&mut self, action: Action) {
        match action {
            Action::CollectData { job } => {
                let plan = self.plan(job).clone();
                let event = if plan.data_missing {
                    Event::DataMissing { job, reason: "the client is gone".to_owned() }
                } else {
                    Event::DataReady { job }
                };
                self.tell_in(plan.data_after_us, event);
            }
            Action::Prepare { job } => {
                let base = self.ledger.first_base(job);
                self.bases.insert(job, base);
                // Nodes may have results of it if it has had a turn before.
                (0..self.nodes.len()).for_each(|node| self.ask_for_results(node, job));
                let event = if self.plan(job).worker_breaks {
                    Event::WorkFailed { job, reason: "the weights do not fit".to_owned() }
                } else {
                    Event::Prepared { job, base }
                };
                // The workers do one thing after the other.
                let wait_us = self.rng.random_range(1..WORK_US_MAX) + self.idle_at_us.saturating_sub(self.now_us);
                self.tell_in(wait_us, event);
            }
            Action::Dispatch { link, attempt, base, may_reject } => {
                if let Some(node) = self.node_of(link) {
                    self.post_to_node(node, Input::Train { link, attempt, base, may_reject });
                }
            }
            Action::Cancel { link, attempt } => {
                // Half of the cancellations come too late.
                if let Some(node) = self.node_of(link).filter(|_| self.rng.random_bool(0.5)) {
                    self.post_to_node(node, Input::Cancel { attempt });
                }
            }
            Action::Accumulate { attempt, update, .. } => self.accumulate(attempt, update),
            Action::FinishRound { job, step, .. } => {
                let mut sum = self.sums.remove(&(job, step)).unwrap_or_default();
                if self.rng.random_bool(0.03) {
                    // What a merge needs at once may be gone when it is needed.
                    let shards: Vec<u32> = sum.keys().copied().filter(|_| self.rng.random_bool(0.5)).collect();
                    sum.retain(|shard, _| !shards.contains(shard));
                    self.sums.insert((job, step), sum);
                    return self.work(Event::UpdatesLost { job, step, shards, reason: "the disk is ill".to_owned() });
                }
                let base = model::merge(self.bases[&job], &sum);
                self.bases.insert(job, base);
                self.work(Event::Merged { job, step, base });
            }
            Action::Validate { job, step, .. } => {
                let metrics = Metrics::default().with(Metric::Loss, 1.0 / (step + 1) as f64).with(Metric::Errors, 3.0);
                self.work(Event::Validated { job, step, rows: 50, metrics });
            }
            Action::DropLink { link, .. } => {
                if let Some(node) = self.node_of(link) {
                    self.lose_link(node);
                    self.redial(node);
                }
            }
            Action::DialNow { nodes } => {
                for node in nodes {
                    let wait_us = self.rng.random_range(100..50_000);
                    self.schedule_in(wait_us, Scheduled::Dial { node: node.0 as usize });
                }
            }
            Action::ReleaseJob { job } => self.sums.retain(|(other, _), _| *other != job),
            Action::Persist { job, .. } => self.after_writing(job),
            Action::Suspend { job } => {
                self.sums.retain(|(other, _), _| *other != job);
                self.idle_at_us = self.now_us + WORK_US_MAX;
                self.after_pause(job);
                self.after_writing(job);
            }
            Action::Report { job, event: JobEvent::Finished(_) } => {
                self.after_writing(job);
                if self.rng.random_bool(0.3) {
                    let wait_us = self.rng.random_range(1..5_000_000);
                    self.tell_in(wait_us, Event::Expired { job });
                }
            }
            Action::Forget { job } => {
                // It comes again, once nobody has anything of it in hand.
                if self.rng.random_bool(0.1) {
                    let wait_us = self.rng.random_range(10_000..3_000_000);
                    self.submit_in(wait_us, job);
                }
            }
            Action::Admit { .. } | Action::Discard { .. } | Action::StopDialling { .. } | Action::Report { .. } => {}
        }
    }

    fn accumulate(&mut self, attempt: Attempt, update: Digest) {
        let (job, step, shard) = (attempt.task.job, attempt.task.step, attempt.task.shard);
        if self.poisoned.contains(&update) {
            self.work(Event::UpdateRefused { job, step, shard, reason: "the update is not a number".to_owned() });
            return;
        }
        let before = self.sums.entry((job, step)).or_default().insert(shard, update);
        assert_eq!(before, None, "shard {shard} of step {step} is merged twice");
        self.work(Event::Accumulated { job, step, shard });
    }

    pub fn carry_out(&mut self, scheduled: Scheduled) {
        match scheduled {
            Scheduled::Tell(
                Event::UpdateComing { link, attempt }
                | Event::Trained { link, attempt, .. }
                | Event::Rejected { link, attempt, .. }
                | Event::TaskFailed { link, attempt, .. },
            ) if self.ledger.is_mistakable(link, &attempt) => {}
            Scheduled::Tell(event) => self.tell(event),
            Scheduled::Crash => self.crash(),
            Scheduled::Hear { node, life, input } => self.hear(node, life, input),
            Scheduled::Dial { node } => self.dial(node),
            Scheduled::Start { node } => self.start(node),
            Scheduled::NodeFault { node, life } => {
                if self.nodes[node].life == life && self.nodes[node].is_up && !self.ledger.is_over() {
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

    fn node_of(&self, link: LinkKey) -> Option<usize> {
        self.nodes.iter().position(|node| node.link == Some(link))
    }

    pub fn plan(&self, job: JobId) -> &JobPlan {
        self.scenario.jobs.iter().find(|plan| plan.job == job).expect("a job of this life")
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

    /// The coordinator's workers take their time.
    fn work(&mut self, event: Event) {
        let wait_us = self.rng.random_range(1..WORK_US_MAX);
        self.tell_in(wait_us, event);
    }

    pub fn tell_in(&mut self, wait_us: u64, event: Event) {
        self.schedule_in(wait_us, Scheduled::Tell(event));
    }

    pub fn schedule_in(&mut self, wait_us: u64, scheduled: Scheduled) {
        self.schedule.insert((self.now_us + wait_us, self.scheduled), scheduled);
        self.scheduled += 1;
    }
}

fn semantic(job: JobId) -> Digest {
    Digest::of(&job.0.to_le_bytes())
}

fn specification(plan: &JobPlan) -> Arc<Specification> {
    let row = |index: u32, rows: u32| RowsRef { rows, digest: Digest::of(&index.to_le_bytes()) };
    Arc::new(Specification {
        training: Training {
            arithmetic: plan.arithmetic,
            network: Network::new(2, &[], 2).expect("a small network"),
            recipe: Recipe::DEFAULT,
            seed: 1,
        },
        rounds: plan.rounds,
        shards: (0..plan.shards).map(|shard| row(shard, 100 + shard % 2)).collect(),
        validation: row(u32::MAX, 50),
        merge: Merge::Mean,
        initial: None,
        operation: Operation {
            on_task_failure: plan.on_task_failure,
            allow_inexact: plan.allow_inexact,
            on_no_nodes: plan.on_no_nodes,
        },
        notes: Vec::new(),
    })
}

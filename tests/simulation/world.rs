//! Everything around the engine, simulated: nodes, links, the coordinator's workers, clients. Owns virtual time and the
//! heap of what is yet to happen; whether the engine keeps its promises is the ledger's to say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use gradwire::digest::{Digest, Hasher};
use gradwire::engine::{Action, Attempt, Engine, Event, Fault, LinkKey, NodeInfo, NodeKey, RejectReason, Time};
use gradwire::job::{JobId, Operation, RowsRef, Specification, Training};
use gradwire::model::{Network, Recipe};
use rand::rngs::ChaCha8Rng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

use crate::ending::Ending;
use crate::ledger::Ledger;
use crate::model;
use crate::scenario::{JobPlan, Lies, NodePlan, Scenario};

/// No life is longer than this: a job that is still going is stuck.
const LIFE_US_MAX: u64 = 3_600_000_000;
/// A silent link counts as down after this.
const SILENCE_US: u64 = 3_000_000;

/// What is yet to happen.
enum Happening {
    /// The engine is told.
    Tell(Event),
    /// A task reaches its node.
    Arrive { node: usize, link: LinkKey, attempt: Attempt, base: Digest, may_reject: bool },
    /// A cancellation reaches a node.
    Void { node: usize, attempt: Attempt },
    /// A node has trained a task.
    Ready { node: usize, life: u32, attempt: Attempt, base: Digest },
    /// A node is dialled.
    Dial { node: usize },
    /// A node starts.
    Start { node: usize },
    /// Something happens to a node or its link.
    Trouble { node: usize, life: u32 },
    /// A frozen node goes on.
    Thaw { node: usize, life: u32 },
    /// The list of nodes is edited.
    Unlist { node: usize },
}

struct Node {
    plan: NodePlan,
    is_up: bool,
    is_frozen: bool,
    is_listed: bool,
    /// Counts its starts.
    life: u32,
    link: Option<LinkKey>,
    /// Tasks in training, and over which link they came.
    training: BTreeMap<Attempt0, LinkKey>,
    queue: VecDeque<(LinkKey, Attempt, Digest)>,
    /// What it has to say once it is no longer frozen.
    unsaid: Vec<Happening>,
}

/// An attempt as a key.
type Attempt0 = (JobId, u64, u32, u32, u64);

fn key(attempt: &Attempt) -> Attempt0 {
    (attempt.task.job, attempt.task.step, attempt.task.shard, attempt.attempt, attempt.token)
}

pub struct World {
    rng: ChaCha8Rng,
    scenario: Scenario,
    engine: Engine,
    ledger: Ledger,
    nodes: Vec<Node>,
    now_us: u64,
    heap: BTreeMap<(u64, u64), Happening>,
    happened: u64,
    links: u64,
    /// Updates that cannot be summed.
    poisoned: BTreeSet<Digest>,
    /// Results sent so far, for replays.
    sent: Vec<Event>,
    sums: BTreeMap<(JobId, u64), BTreeMap<u32, Digest>>,
    bases: BTreeMap<JobId, Digest>,
    trace: Hasher,
    is_shown: bool,
}

impl World {
    pub fn new(seed: u64, is_shown: bool) -> World {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let scenario = Scenario::draw(&mut rng);
        if is_shown {
            println!("{:?}\n{:#?}\n{:#?}", scenario.settings, scenario.nodes, scenario.jobs);
        }
        let nodes = scenario.nodes.iter().map(|plan| Node {
            plan: plan.clone(),
            is_up: false,
            is_frozen: false,
            is_listed: true,
            life: 0,
            link: None,
            training: BTreeMap::new(),
            queue: VecDeque::new(),
            unsaid: Vec::new(),
        });
        World {
            engine: Engine::new(scenario.settings.clone(), rng.next_u64()),
            ledger: Ledger::new(&scenario),
            nodes: nodes.collect(),
            now_us: 0,
            heap: BTreeMap::new(),
            happened: 0,
            links: 0,
            poisoned: BTreeSet::new(),
            sent: Vec::new(),
            sums: BTreeMap::new(),
            bases: BTreeMap::new(),
            trace: Hasher::default(),
            is_shown,
            scenario,
            rng,
        }
    }

    /// Lives until every job is over and every late message has arrived.
    pub fn run(mut self) -> Ending {
        for node in 0..self.nodes.len() {
            self.tell_in(0, Event::NodeListed { node: NodeKey(node as u32), address: format!("10.0.0.{node}:7000") });
            self.happen_in(self.nodes[node].plan.up_at_us, Happening::Start { node });
            if !self.nodes[node].plan.is_rock && self.rng.random_bool(0.05) {
                let wait_us = self.rng.random_range(0..3_000_000);
                self.happen_in(wait_us, Happening::Unlist { node });
            }
        }
        for plan in self.scenario.jobs.clone() {
            self.submit(&plan);
        }
        while let Some(at) = self.next_moment() {
            assert!(at >= self.now_us && at < LIFE_US_MAX, "a job does not end");
            self.now_us = at;
            match self.heap.first_entry().filter(|entry| entry.key().0 == at) {
                Some(entry) => {
                    let happening = entry.remove();
                    self.happen(happening);
                }
                None => self.tell(Event::Tick),
            }
        }
        let mut ending = self.ledger.close(&self.engine);
        ending.trace = Some(self.trace.finish());
        ending
    }

    fn next_moment(&self) -> Option<u64> {
        let happening = self.heap.first_key_value().map(|(&(at, _), _)| at);
        let deadline = self.engine.next_deadline().map(|deadline| deadline.0);
        happening.into_iter().chain(deadline).min()
    }

    fn submit(&mut self, plan: &JobPlan) {
        let row = |index: u32, rows: u32| RowsRef { rows, digest: Digest::of(&index.to_le_bytes()) };
        let specification = Arc::new(Specification {
            training: Training {
                arithmetic: plan.arithmetic,
                network: Network::new(2, &[], 2).expect("a small network"),
                recipe: Recipe::DEFAULT,
                seed: 1,
            },
            rounds: plan.rounds,
            shards: (0..plan.shards).map(|shard| row(shard, 100 + shard % 2)).collect(),
            validation: row(u32::MAX, 50),
            initial: None,
            operation: Operation { on_task_failure: plan.on_task_failure, allow_inexact: plan.allow_inexact },
        });
        let job = plan.job;
        let semantic = Digest::of(&job.0.to_le_bytes());
        let submitted = Event::Submitted { job, specification, semantic };
        self.tell_in(plan.submitted_at_us, submitted.clone());
        if self.rng.random_bool(0.2) {
            let wait_us = self.rng.random_range(0..5_000_000);
            self.tell_in(plan.submitted_at_us + wait_us, submitted);
        }
        if let Some(at) = plan.cancelled_at_us {
            self.tell_in(at, Event::CancelRequested { job });
        }
    }

    /// The engine is told, and obeyed.
    fn tell(&mut self, event: Event) {
        if self.is_shown {
            println!("{:>10} <- {event:?}", self.now_us);
        }
        // What the engine may still hear of is settled before it hears: the ledger knows which answers count.
        self.ledger.before(self.now_us, &event);
        let mut actions = Vec::new();
        self.engine.handle(Time(self.now_us), event, &mut actions);
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
                let base = model::prepare(job);
                self.bases.insert(job, base);
                let event = if self.plan(job).worker_breaks {
                    Event::WorkFailed { job, reason: "the weights do not fit".to_owned() }
                } else {
                    Event::Prepared { job, base }
                };
                self.work(event);
            }
            Action::Dispatch { link, attempt, base, may_reject } => {
                if let Some(node) = self.node_of(link) {
                    self.post(Happening::Arrive { node, link, attempt, base, may_reject });
                }
            }
            Action::Cancel { link, attempt } => {
                if let Some(node) = self.node_of(link) {
                    self.post(Happening::Void { node, attempt });
                }
            }
            Action::Accumulate { attempt, update, .. } => self.accumulate(attempt, update),
            Action::FinishRound { job, step, .. } => {
                let sum = self.sums.remove(&(job, step)).unwrap_or_default();
                let base = model::merge(self.bases[&job], &sum);
                self.bases.insert(job, base);
                self.work(Event::Merged { job, step, base });
            }
            Action::Validate { job, step, .. } => {
                let loss = 1.0 / (step + 1) as f64;
                self.work(Event::Validated { job, step, errors: 3, rows: 50, loss });
            }
            Action::DropLink { link, .. } => {
                if let Some(node) = self.node_of(link) {
                    self.nodes[node].link = None;
                    self.redial(node);
                }
            }
            Action::DialNow { nodes } => {
                for node in nodes {
                    let wait_us = self.rng.random_range(100..50_000);
                    self.happen_in(wait_us, Happening::Dial { node: node.0 as usize });
                }
            }
            Action::ReleaseJob { job } => self.sums.retain(|(other, _), _| *other != job),
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

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tell(event) => self.tell(event),
            Happening::Arrive { node, link, attempt, base, may_reject } => {
                self.arrive(node, link, attempt, base, may_reject);
            }
            Happening::Void { node, attempt } => {
                // Half of the nodes' cancellations come too late.
                if self.rng.random_bool(0.5) {
                    self.nodes[node].training.remove(&key(&attempt));
                    self.nodes[node].queue.retain(|(_, queued, _)| *queued != attempt);
                    self.train_next(node);
                }
            }
            Happening::Ready { node, life, attempt, base } => {
                let it = &mut self.nodes[node];
                if it.life != life || !it.is_up {
                    return;
                }
                if it.is_frozen {
                    it.unsaid.push(Happening::Ready { node, life, attempt, base });
                    return;
                }
                if let Some(link) = it.training.remove(&key(&attempt)) {
                    self.answer(node, link, attempt, base);
                }
                self.train_next(node);
            }
            Happening::Dial { node } => self.dial(node),
            Happening::Start { node } => {
                let it = &mut self.nodes[node];
                it.is_up = true;
                it.life += 1;
                self.await_trouble(node);
                self.redial(node);
            }
            Happening::Trouble { node, life } => {
                if self.nodes[node].life == life && self.nodes[node].is_up && !self.ledger.is_over() {
                    self.trouble(node);
                }
            }
            Happening::Thaw { node, life } => {
                let it = &mut self.nodes[node];
                if it.life == life && it.is_up {
                    it.is_frozen = false;
                    for happening in std::mem::take(&mut it.unsaid) {
                        self.happen(happening);
                    }
                    self.redial(node);
                }
            }
            Happening::Unlist { node } => {
                self.nodes[node].is_listed = false;
                self.tell(Event::NodeUnlisted { node: NodeKey(node as u32) });
                if self.rng.random_bool(0.5) {
                    let wait_us = self.rng.random_range(0..2_000_000);
                    let address = "10.0.1.1:7000".to_owned();
                    self.tell_in(wait_us, Event::NodeListed { node: NodeKey(node as u32), address });
                }
            }
        }
    }

    /// A task reaches its node.
    fn arrive(&mut self, node: usize, link: LinkKey, attempt: Attempt, base: Digest, may_reject: bool) {
        let it = &mut self.nodes[node];
        if it.link != Some(link) || !it.is_up {
            return;
        }
        if it.is_frozen {
            it.unsaid.push(Happening::Arrive { node, link, attempt, base, may_reject });
            return;
        }
        let is_busy = it.training.len() >= it.plan.workers as usize;
        let plan = it.plan.clone();
        if may_reject && (is_busy || self.rng.random_bool(plan.rejects)) {
            let reason = if is_busy { RejectReason::Busy } else { RejectReason::LoadProbability };
            self.send(node, Event::Rejected { link, attempt, reason });
        } else if self.rng.random_bool(plan.retryable) {
            self.fail(node, link, attempt, Fault::Retryable);
        } else if self.rng.random_bool(plan.fails) {
            self.fail(node, link, attempt, Fault::Final);
        } else {
            self.nodes[node].queue.push_back((link, attempt, base));
            self.train_next(node);
        }
    }

    fn fail(&mut self, node: usize, link: LinkKey, attempt: Attempt, fault: Fault) {
        self.send(node, Event::TaskFailed { link, attempt, fault, reason: format!("{fault:?}") });
    }

    fn train_next(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        while it.training.len() < it.plan.workers as usize
            && let Some((link, attempt, base)) = it.queue.pop_front()
        {
            it.training.insert(key(&attempt), link);
            let slow = if self.rng.random_bool(it.plan.straggles) { 50 } else { 1 };
            let task_us = it.plan.task_us * slow * self.rng.random_range(80..120) / 100;
            let at = (self.now_us + task_us, self.happened);
            self.happened += 1;
            self.heap.insert(at, Happening::Ready { node, life: it.life, attempt, base });
        }
    }

    /// A node has trained a task, and says so, or lies.
    fn answer(&mut self, node: usize, link: LinkKey, mut attempt: Attempt, base: Digest) {
        let plan = self.nodes[node].plan.clone();
        let job = self.plan(attempt.task.job);
        let mut update = model::train(base, attempt.task.shard, plan.arithmetic);
        if job.diverges_at.is_some_and(|step| attempt.task.step >= step) {
            self.poisoned.insert(update);
        }
        match plan.lies {
            Lies::Forges(chance) if self.rng.random_bool(chance) => attempt.token ^= 1 + (self.rng.next_u64() >> 1),
            Lies::Malforms(chance) if self.rng.random_bool(chance) => {
                return self.fail(node, link, attempt, Fault::Malformed);
            }
            Lies::Poisons(chance) if self.rng.random_bool(chance) => {
                update = Digest::of(&self.rng.next_u64().to_le_bytes());
                self.poisoned.insert(update);
                self.ledger.made_up(update);
            }
            Lies::Miscomputes(chance) if self.rng.random_bool(chance) => {
                update = Digest::of(&self.rng.next_u64().to_le_bytes());
                self.ledger.made_up(update);
            }
            _ => {}
        }
        let event = Event::Trained { link, attempt, update, loss: model::loss(update) };
        if self.rng.random_bool(plan.repeats) {
            self.send(node, event.clone());
        }
        // A result of long ago comes again, perhaps over another link.
        if self.rng.random_bool(0.02) && !self.sent.is_empty() {
            let mut replay = self.sent[self.rng.random_range(0..self.sent.len())].clone();
            if let Event::Trained { link: old, .. } = &mut replay
                && self.rng.random_bool(0.5)
            {
                *old = link;
            }
            self.send(node, replay);
        }
        self.sent.push(event.clone());
        self.send(node, event);
    }

    /// A node says something over its link. It arrives even if the link goes down meanwhile: the coordinator's threads may
    /// have had it in hand.
    fn send(&mut self, node: usize, event: Event) {
        if self.nodes[node].link.is_some() {
            self.post(Happening::Tell(event));
            if self.rng.random_bool(0.1)
                && let Some(link) = self.nodes[node].link
            {
                let (running, waiting) = (self.nodes[node].training.len() as u32, self.nodes[node].queue.len() as u32);
                self.post(Happening::Tell(Event::LoadReported { link, running, waiting }));
            }
        }
    }

    fn dial(&mut self, node: usize) {
        // A poller that knows who is quarantined does not dial it; one that does not must do no harm.
        let is_left_alone = self.ledger.is_quarantined(NodeKey(node as u32)) && self.rng.random_bool(0.5);
        let it = &mut self.nodes[node];
        if !it.is_up || it.is_frozen || it.link.is_some() || is_left_alone {
            return;
        }
        self.links += 1;
        let link = LinkKey(self.links);
        it.link = Some(link);
        it.training.clear();
        it.queue.clear();
        let info =
            NodeInfo { name: format!("n{node}"), arithmetics: vec![it.plan.arithmetic], workers: it.plan.workers };
        self.tell(Event::LinkUp { node: NodeKey(node as u32), link, info });
    }

    /// The poller finds a node that is up within two seconds.
    fn redial(&mut self, node: usize) {
        if !self.ledger.is_over() {
            let wait_us = self.rng.random_range(1_000..2_000_000);
            self.happen_in(wait_us, Happening::Dial { node });
        }
    }

    fn await_trouble(&mut self, node: usize) {
        if let Some(mean_us) = self.nodes[node].plan.trouble_us {
            let wait_us = self.rng.random_range(0..2 * mean_us);
            let life = self.nodes[node].life;
            self.happen_in(wait_us, Happening::Trouble { node, life });
        }
    }

    fn trouble(&mut self, node: usize) {
        match self.rng.random_range(0..4) {
            // It crashes, and may come back.
            0 => {
                let it = &mut self.nodes[node];
                it.is_up = false;
                it.is_frozen = false;
                it.training.clear();
                it.queue.clear();
                it.unsaid.clear();
                // The machine's kernel says so at once, or nobody does.
                let notice_us = if self.rng.random_bool(0.7) { 1_000 } else { SILENCE_US };
                self.cut(node, notice_us, "the connection was reset");
                if self.rng.random_bool(0.8) {
                    let wait_us = self.rng.random_range(10_000..6_000_000);
                    self.happen_in(wait_us, Happening::Start { node });
                }
                return;
            }
            // It freezes, and goes on.
            1 => {
                let life = self.nodes[node].life;
                let wait_us = self.rng.random_range(10_000..6_000_000);
                self.nodes[node].is_frozen = true;
                if wait_us > SILENCE_US {
                    self.cut(node, SILENCE_US, "no answer for 3 s");
                }
                self.happen_in(wait_us, Happening::Thaw { node, life });
            }
            // Its link breaks; both ends notice, each in its time.
            2 => {
                let wait_us = self.rng.random_range(0..SILENCE_US);
                self.cut(node, wait_us, "the link broke");
                self.redial(node);
            }
            // It connects a second time before the first connection is known to be gone.
            _ if !self.nodes[node].is_frozen => {
                self.cut(node, SILENCE_US, "no answer for 3 s");
                self.dial(node);
            }
            _ => {}
        }
        self.await_trouble(node);
    }

    /// A link carries nothing more; the engine hears of it later.
    fn cut(&mut self, node: usize, notice_us: u64, reason: &str) {
        if let Some(link) = self.nodes[node].link.take() {
            self.tell_in(notice_us, Event::LinkDown { link, reason: reason.to_owned() });
        }
    }

    fn node_of(&self, link: LinkKey) -> Option<usize> {
        self.nodes.iter().position(|node| node.link == Some(link))
    }

    fn plan(&self, job: JobId) -> &JobPlan {
        self.scenario.jobs.iter().find(|plan| plan.job == job).expect("a job of this life")
    }

    /// A message takes its time: later ones may overtake it.
    fn post(&mut self, happening: Happening) {
        let wait_us = self.rng.random_range(10..self.scenario.delay_us_max);
        self.happen_in(wait_us, happening);
    }

    /// The coordinator's workers take their time.
    fn work(&mut self, event: Event) {
        let wait_us = self.rng.random_range(1..3_000);
        self.tell_in(wait_us, event);
    }

    fn tell_in(&mut self, wait_us: u64, event: Event) {
        self.happen_in(wait_us, Happening::Tell(event));
    }

    fn happen_in(&mut self, wait_us: u64, happening: Happening) {
        self.heap.insert((self.now_us + wait_us, self.happened), happening);
        self.happened += 1;
    }
}

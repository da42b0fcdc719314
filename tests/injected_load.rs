//! Nodes under injected load, and a job of hundreds of steps of merged gradients: the deciding cores of both sides in virtual
//! time, and nothing around them but the time that messages and tasks take. Nothing here reads a clock or sleeps.
#![cfg(feature = "coordinator")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use gradwire::compute::core::{self, Content, Core, Identity, Object, Recipient, TaskKey, TrainedUpdate};
use gradwire::digest::Digest;
use gradwire::engine::{Action, Engine, Event, Fault, JobEvent, LinkKey, NodeInfo, NodeKey, Policy, StepSum, Time};
use gradwire::job::{
    Attempt, JobId, Metrics, Operation, Outcome, RejectReason, RowsRef, Specification, TaskResult, TaskRows, Tested,
};
use gradwire::model::{BatchSize, Merge, Network, Outer, OuterOptimiser, Recipe, Training};

const JOB: JobId = JobId(1);
const NODES: u64 = 2;
const STEPS: u32 = 500;
/// A message's way, what a task takes besides, and a block.
const WAY_US: u64 = 100;
const TASK_US: u64 = 500;
const BLOCK_US: u64 = 1_000;
const MERGE_US: u64 = 100;
const LOAD_DELAY: Duration = Duration::from_secs(3);

/// Tasks are attempts and numbers of blocks, data is nothing.
#[derive(Clone, Debug, PartialEq)]
struct Plain;

impl Content for Plain {
    type Work = (Attempt, u64);
    type Data = ();
    type Failure = ();
}

enum Scheduled {
    Tell(Event),
    Hear(LinkKey, core::Event<Plain>),
}

/// What a job took.
#[derive(Debug, Default)]
struct Spent {
    us: u64,
    /// What tasks waited of delays.
    delayed_us: u64,
    rejections: u64,
}

/// The cores, and what is under way between them. A node's link bears its number.
struct World {
    engine: Engine,
    nodes: BTreeMap<LinkKey, Core<Plain>>,
    running: BTreeMap<(LinkKey, TaskKey), (Attempt, u64)>,
    schedule: BTreeMap<(u64, u64), Scheduled>,
    scheduled: u64,
    now_us: u64,
    spent: Spent,
    is_over: bool,
}

fn digest(of: impl std::fmt::Debug) -> Digest {
    Digest::of(format!("{of:?}").as_bytes())
}

fn specification() -> Specification {
    let rows = RowsRef { rows: 1_000, digest: digest("rows") };
    let batch = BatchSize::Rows(NonZeroU32::new(160).unwrap());
    let recipe = Recipe { local_steps: Some(1), epochs: 1, batch, ..Recipe::DEFAULT };
    let network = Network::new(2, &[], 2).unwrap();
    let specification = Specification {
        patience: None,
        target_accuracy: None,
        test: None,
        training: Training { arithmetic: 1, network, recipe, seed: 1, class_weights: Vec::new() },
        rounds: 10,
        round_steps: Some(STEPS / 10),
        shards: vec![rows; 4],
        validation: rows,
        merge: Merge::Mean,
        outer: Outer { optimiser: OuterOptimiser::Adam, ..Outer::AVERAGE },
        initial: None,
        operation: Operation::default(),
        notes: Vec::new(),
    };
    specification.checked().unwrap()
}

impl World {
    fn new(policy: Policy, load_probability: f64, seed: u64) -> World {
        let settings = core::Settings { load_probability, load_delay: LOAD_DELAY, ..core::Settings::new(1) };
        World {
            engine: Engine::new(gradwire::engine::Settings::new(policy), seed),
            nodes: (0..NODES).map(|node| (LinkKey(node), Core::new(settings.clone(), seed * NODES + node))).collect(),
            running: BTreeMap::new(),
            schedule: BTreeMap::new(),
            scheduled: 0,
            now_us: 0,
            spent: Spent::default(),
            is_over: false,
        }
    }

    /// Runs the job to its end.
    fn run(mut self) -> Spent {
        for link in self.nodes.keys().copied().collect::<Vec<_>>() {
            let (node, name) = (NodeKey(link.0 as u32), format!("n{}", link.0));
            self.hear(link, core::Event::LinkUp { link: core::LinkKey(0), inline_bytes_max: 1_000 });
            self.tell(Event::NodeListed { node, address: name.clone() });
            let info = NodeInfo {
                name,
                arithmetics: vec![1],
                doubts: Vec::new(),
                workers: 1,
                cache_bytes: None,
                memory_bytes: None,
            };
            self.tell(Event::LinkUp { node, link, info });
        }
        let specification = specification();
        let semantic = digest(&specification.training);
        self.tell(Event::Submitted { job: JOB, specification: Arc::new(specification), semantic });
        while !self.is_over {
            let next = self.schedule.first_key_value().map(|(&(at, _), _)| at);
            let tick = self.engine.next_deadline().map(|deadline| deadline.0);
            self.now_us = next.into_iter().chain(tick).min().expect("the job stands still");
            match self.schedule.first_entry().filter(|entry| entry.key().0 == self.now_us) {
                Some(entry) => match entry.remove() {
                    Scheduled::Tell(event) => self.tell(event),
                    Scheduled::Hear(link, event) => self.hear(link, event),
                },
                None => self.tell(Event::Tick),
            }
        }
        Spent { us: self.now_us, ..self.spent }
    }

    fn schedule(&mut self, wait_us: u64, scheduled: Scheduled) {
        self.schedule.insert((self.now_us + wait_us, self.scheduled), scheduled);
        self.scheduled += 1;
    }

    fn tell_in(&mut self, wait_us: u64, event: Event) {
        self.schedule(wait_us, Scheduled::Tell(event));
    }

    fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.engine.handle(Time(self.now_us), event, &mut actions);
        actions.into_iter().for_each(|action| self.obey(action));
    }

    fn obey(&mut self, action: Action) {
        match action {
            Action::CollectData { job } => self.tell_in(WAY_US, Event::DataReady { job }),
            Action::Prepare { job } => self.tell_in(MERGE_US, Event::Prepared { job, base: digest(0) }),
            Action::Dispatch { link, attempt, rows, base, may_reject } => {
                let TaskRows::Blocks { ranges, .. } = &rows else { panic!("a task of {rows:?}") };
                let blocks = ranges.iter().map(|range| u64::from(range.count)).sum();
                let object = |digest| Object { digest, data: Some(()) };
                let train = core::Train {
                    to: recipient(attempt),
                    identity: Identity { task: attempt.task, base, rest: digest(&rows) },
                    may_reject,
                    base: object(base),
                    shards: vec![object(digest("shard"))],
                    work: (attempt, blocks),
                };
                self.schedule(WAY_US, Scheduled::Hear(link, core::Event::TrainRequested(train)));
            }
            Action::Cancel { link, attempt } => {
                let Recipient { link: to, request, .. } = recipient(attempt);
                let event = core::Event::CancelRequested { link: to, request };
                self.schedule(WAY_US, Scheduled::Hear(link, event));
            }
            Action::Accumulate { attempt, .. } => {
                let (job, step, shard) = (attempt.task.job, attempt.task.step, attempt.task.shard);
                self.tell_in(MERGE_US, Event::Accumulated { job, step, shard });
            }
            Action::FinishStep { job, step, .. } => {
                let sum = Some(StepSum { digest: digest(step), loss: 1.0, outer: digest(step) });
                self.tell_in(MERGE_US, Event::Merged { job, step, base: digest(step + 1), sum });
            }
            Action::Validate { job, round, .. } => {
                self.tell_in(MERGE_US, Event::Validated { job, round, rows: 1, metrics: Metrics::default() });
            }
            Action::Test { job, .. } => {
                let validation = Tested { rows: 1, metrics: Metrics::default() };
                self.tell_in(MERGE_US, Event::Tested { job, validation, test: None, confusion: None });
            }
            Action::Report { event: JobEvent::Finished(outcome), .. } => {
                assert!(matches!(&outcome, Outcome::Done(summary) if summary.reproducible), "{outcome:?}");
                self.is_over = true;
            }
            _ => {}
        }
    }

    fn hear(&mut self, link: LinkKey, event: core::Event<Plain>) {
        // What was stopped has ended before.
        if let core::Event::Ended { task, .. } = &event
            && self.running.remove(&(link, *task)).is_none()
        {
            return;
        }
        let mut actions = Vec::new();
        let now = Duration::from_micros(self.now_us);
        self.nodes.get_mut(&link).unwrap().handle(now, event, &mut actions);
        actions.into_iter().for_each(|action| self.obey_core(link, action));
    }

    fn obey_core(&mut self, link: LinkKey, action: core::Action<Plain>) {
        match action {
            core::Action::Start { task, work, delay, .. } => {
                self.running.insert((link, task), work);
                let delay_us = delay.as_micros() as u64;
                self.spent.delayed_us += delay_us;
                let (attempt, blocks) = work;
                let train_us = TASK_US + blocks * BLOCK_US;
                let update = digest((attempt.task.step, attempt.task.shard));
                let result = TaskResult { epochs: 0, loss: 1.0, train_us, update, update_bytes: 64 };
                let result = Ok(TrainedUpdate { result, delayed: Duration::ZERO, data: () });
                let event = core::Event::Ended { task, result, rows_per_second: None };
                self.schedule(delay_us + train_us, Scheduled::Hear(link, event));
            }
            core::Action::Stop { work } => {
                let stopped = self.running.iter().find(|((of, _), running)| *of == link && **running == work);
                let ((_, task), _) = stopped.expect("what is stopped is running");
                let event = core::Event::Ended { task: *task, result: Err(()), rows_per_second: None };
                self.schedule(0, Scheduled::Hear(link, event));
            }
            core::Action::AnswerTrained { to, trained, inline } => {
                assert!(inline);
                let (attempt, result) = (to.attempt, trained.result);
                self.tell_in(WAY_US, Event::Trained { link, attempt, result });
            }
            core::Action::AnswerRejected { to, reason, retry_ms, .. } => {
                self.spent.rejections += u64::from(reason == RejectReason::LoadProbability);
                self.tell_in(WAY_US, Event::Rejected { link, attempt: to.attempt, reason, retry_ms });
            }
            core::Action::AnswerFailed { to, .. } => {
                let (attempt, fault, reason) = (to.attempt, Fault::Retryable, "cancelled".to_owned());
                self.tell_in(WAY_US, Event::TaskFailed { link, attempt, fault, reason });
            }
            _ => {}
        }
    }
}

/// The node's one link; an attempt's request is what the coordinator drew for it.
fn recipient(attempt: Attempt) -> Recipient {
    Recipient { link: core::LinkKey(0), request: attempt.token as u32, attempt }
}

#[test]
fn a_job_of_hundreds_of_steps_is_done_in_five_times_its_time_under_injected_load() {
    const LIVES: u64 = 20;
    for policy in [Policy::Random, Policy::LoadBalancing] {
        let unloaded_us = World::new(policy, 0.0, 0).run().us;
        let lives: Vec<Spent> = (0..LIVES).map(|seed| World::new(policy, 0.3, seed).run()).collect();
        for (seed, spent) in lives.iter().enumerate() {
            assert!(spent.us <= 5 * unloaded_us + spent.delayed_us, "{policy}, {seed}: {spent:?} for {unloaded_us}");
            // A node that has turned a task down is not asked again in the same second.
            let seconds = spent.us / 1_000_000 + 1;
            assert!(spent.rejections <= NODES * seconds, "{policy}, {seed}: {spent:?}");
        }
        let sum = |of: fn(&Spent) -> u64| lives.iter().map(of).sum::<u64>();
        let (us, delayed_us, rejections) =
            (sum(|life| life.us), sum(|life| life.delayed_us), sum(|life| life.rejections));
        println!("{policy}: {unloaded_us} us; {us} us in {LIVES} lives, {delayed_us} delayed, {rejections} rejections");
        assert!(delayed_us > 0 && (rejections > 0) == (policy == Policy::LoadBalancing), "there is no load");
        assert!(us <= 5 * LIVES * unloaded_us, "{policy}: {us} us instead of {LIVES} times {unloaded_us} us");
    }
}

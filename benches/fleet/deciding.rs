//! The engine alone, in a world of its own time: what a decision costs, whatever sockets and threads cost. Owns the world:
//! nodes that answer when their time is up, sums and validations that take no time.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gradwire::digest::Digest;
use gradwire::engine::{Action, Engine, Event, LinkKey, NodeInfo, NodeKey, Policy, Settings, Time};
use gradwire::job::{JobId, Metrics, Operation, RowsRef, Specification, TaskResult, Tested};
use gradwire::model::{ARITHMETIC, Merge, Network, Outer, Recipe, Training};

use super::nodes::Work;

/// Nodes, shards by node, rounds.
const WORLDS: &[(usize, usize, u32)] =
    &[(10, 1, 400), (100, 1, 100), (1_000, 1, 10), (4_000, 1, 3), (100, 10, 20), (1_000, 10, 3)];

/// Prints what an event costs in each world.
pub fn measure() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "the engine alone\n{:>5}  {:>6}  {:5}  {:>7}  {:>8}  {:>7}",
        "NODES", "SHARDS", "WORK", "EVENTS", "US/EVENT", "US/TASK"
    )?;
    for &(count, by_node, rounds) in WORLDS {
        for (what, is_mixed) in [("even", false), ("mixed", true)] {
            let work = Work { time: Duration::from_millis(100), is_mixed };
            let mut world = World::new(count, work);
            world.run(count * by_node, rounds);
            let us = world.spent.as_secs_f64() * 1e6;
            let tasks = count * by_node * rounds as usize;
            writeln!(
                out,
                "{count:>5}  {:>6}  {what:5}  {:>7}  {:>8.2}  {:>7.2}",
                count * by_node,
                world.events,
                us / world.events as f64,
                us / tasks as f64
            )?;
        }
    }
    Ok(())
}

struct World {
    engine: Engine,
    work: Work,
    now: Time,
    coming: BTreeMap<(Time, u64), Event>,
    numbered: u64,
    events: usize,
    spent: Duration,
    is_over: bool,
}

impl World {
    fn new(count: usize, work: Work) -> World {
        let engine = Engine::new(Settings::new(Policy::LoadBalancing), 1);
        let (now, coming) = (Time(0), BTreeMap::new());
        let mut world =
            World { engine, work, now, coming, numbered: 0, events: 0, spent: Duration::ZERO, is_over: false };
        for index in 0..count {
            let (node, link) = (NodeKey(index as u32), LinkKey(index as u64));
            world.tell_in(0, Event::NodeListed { node, address: format!("node-{index}") });
            let (name, arithmetics) = (format!("node-{index}"), vec![ARITHMETIC]);
            let info =
                NodeInfo { name, arithmetics, doubts: Vec::new(), workers: 1, cache_bytes: None, memory_bytes: None };
            world.tell_in(0, Event::LinkUp { node, link, info });
        }
        world
    }

    fn tell_in(&mut self, wait_us: u64, event: Event) {
        self.coming.insert((self.now.after_us(wait_us), self.numbered), event);
        self.numbered += 1;
    }

    fn run(&mut self, shards: usize, rounds: u32) {
        let job = JobId(1);
        let network = Network::new(4, &[8], 2).expect("a small network");
        let training =
            Training { arithmetic: ARITHMETIC, network, recipe: Recipe::DEFAULT, seed: 1, class_weights: Vec::new() };
        let rows = RowsRef { rows: 16, digest: Digest::of(b"rows") };
        let specification = Arc::new(Specification {
            patience: None,
            target_accuracy: None,
            test: None,
            training,
            rounds,
            round_steps: None,
            shards: vec![rows; shards],
            validation: rows,
            merge: Merge::Mean,
            outer: Outer::AVERAGE,
            initial: None,
            operation: Operation::default(),
            notes: Vec::new(),
        });
        self.tell_in(0, Event::Submitted { job, specification, semantic: Digest::of(b"job") });
        self.tell_in(0, Event::DataReady { job });
        let mut actions = Vec::new();
        while !self.is_over {
            let deadline = self.engine.next_deadline();
            let event = match self.coming.first_entry() {
                Some(first) if deadline.is_none_or(|deadline| first.key().0 <= deadline) => {
                    self.now = first.key().0;
                    first.remove()
                }
                _ => {
                    self.now = deadline.unwrap_or(self.now);
                    Event::Tick
                }
            };
            let began = Instant::now();
            self.engine.handle(self.now, event, &mut actions);
            self.spent += began.elapsed();
            self.events += 1;
            for action in actions.drain(..) {
                self.act(action);
            }
        }
    }

    fn act(&mut self, action: Action) {
        let base = Digest::of(b"weights");
        match action {
            Action::Prepare { job } => self.tell_in(0, Event::Prepared { job, base }),
            Action::Dispatch { link, attempt, .. } => {
                let time_us = self.work.time_on(link.0 as usize).as_micros() as u64;
                // No two nodes are as fast as each other to the microsecond.
                let wait_us = time_us + link.0 * 7 % 1_000;
                let result = TaskResult { epochs: 1, loss: 1.0, train_us: wait_us, update: base, update_bytes: 64 };
                self.tell_in(wait_us, Event::Trained { link, attempt, result });
            }
            Action::Accumulate { attempt, .. } => {
                let task = attempt.task;
                self.tell_in(0, Event::Accumulated { job: task.job, step: task.step, shard: task.shard });
            }
            Action::FinishStep { job, step, .. } => self.tell_in(0, Event::Merged { job, step, base, sum: None }),
            Action::Validate { job, round, .. } => {
                self.tell_in(0, Event::Validated { job, round, rows: 16, metrics: Metrics::default() });
            }
            Action::Test { job, .. } => {
                let validation = Tested { rows: 16, metrics: Metrics::default() };
                self.tell_in(0, Event::Tested { job, validation, test: None, confusion: None });
            }
            Action::ReleaseJob { .. } => self.is_over = true,
            _ => {}
        }
    }
}

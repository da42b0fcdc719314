//! The engine's rules, one a test. Owns the harness in which tests play every thread around the engine by hand.

mod failures;
mod gradients;
mod homes;
mod memory;
mod placement;
mod policies;
mod queue;
mod restoring;
mod returning;
mod rounds;
mod schedules;
mod sharing;
mod updates;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::digest::Digest;
use crate::job::{
    Attempt, CachedResult, LedgerEntry, MergedTask, Metric, Metrics, NodeTasks, OnTaskFailure, Operation, Place,
    Profile, Progress, Record, RejectReason, RoundSoFar, RoundSummary, RowsRef, Specification, Summary, TaskId,
    TaskResult, Tested,
};
use crate::model::{Merge, Network, Outer, Recipe, Training};

/// The rows of every shard.
const ROWS: u32 = 100;

/// A task as it was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sent {
    link: LinkKey,
    attempt: Attempt,
    may_reject: bool,
}

impl Sent {
    fn shard(&self) -> u32 {
        self.attempt.task.shard
    }
}

/// An engine, and the hour.
struct Harness {
    engine: Engine,
    now: Time,
    /// What came of a job is tried on its rows as soon as the engine wants it.
    tests_at_once: bool,
    /// What nodes that join keep of data.
    cache_bytes: Option<u64>,
}

impl Harness {
    /// Jobs run one after the other.
    fn new(policy: Policy) -> Harness {
        Harness::sharing(policy, 1)
    }

    /// So many jobs run at a time.
    fn sharing(policy: Policy, jobs_at_once: usize) -> Harness {
        let revival_waits = [1, 2, 4].map(Duration::from_secs).to_vec();
        let settings = Settings { jobs_at_once, revival_waits, queued_max: 16, ..Settings::new(policy) };
        let engine = Engine::new(settings, 1);
        Harness { engine, now: Time(1_000_000), tests_at_once: true, cache_bytes: None }
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.engine.handle(self.now, event, &mut actions);
        let tested = actions.iter().find_map(|action| match action {
            Action::Test { job, .. } => Some(*job),
            _ => None,
        });
        if let Some(job) = tested.filter(|_| self.tests_at_once) {
            let validation = Tested { rows: 50, metrics: metrics() };
            actions.extend(self.tell(Event::Tested { job, validation, test: None, confusion: None }));
        }
        actions
    }

    /// Lets time pass, with a tick at every deadline.
    fn pass_ms(&mut self, ms: u64) -> Vec<Action> {
        let until = self.now.after_us(ms * 1000);
        let mut actions = Vec::new();
        while let Some(deadline) = self.engine.next_deadline().filter(|&deadline| deadline <= until) {
            self.now = deadline;
            actions.extend(self.tell(Event::Tick));
        }
        self.now = until;
        actions
    }

    /// A node of one worker that is listed and linked; link and node bear the same number.
    fn join(&mut self, number: u32) -> Vec<Action> {
        self.join_with(number, 1, &[1])
    }

    fn join_with(&mut self, number: u32, workers: u32, arithmetics: &[u16]) -> Vec<Action> {
        let node = NodeKey(number);
        let mut actions = self.tell(Event::NodeListed { node, address: format!("10.0.0.{number}:7000") });
        actions.extend(self.link(number, u64::from(number), workers, arithmetics));
        actions
    }

    /// A node that says it computes arithmetic 1, and is not believed.
    fn join_doubted(&mut self, number: u32, doubt: Doubt) -> Vec<Action> {
        let node = NodeKey(number);
        let mut actions = self.tell(Event::NodeListed { node, address: format!("10.0.0.{number}:7000") });
        let (name, doubts) = (format!("n{number}"), vec![(1, doubt)]);
        let info = NodeInfo { name, arithmetics: vec![3], doubts, workers: 1, cache_bytes: None, memory_bytes: None };
        actions.extend(self.tell(Event::LinkUp { node, link: LinkKey(u64::from(number)), info }));
        actions
    }

    fn link(&mut self, number: u32, link: u64, workers: u32, arithmetics: &[u16]) -> Vec<Action> {
        let (name, doubts) = (format!("n{number}"), Vec::new());
        let info = NodeInfo {
            name,
            arithmetics: arithmetics.to_vec(),
            doubts,
            workers,
            cache_bytes: self.cache_bytes,
            memory_bytes: None,
        };
        self.tell(Event::LinkUp { node: NodeKey(number), link: LinkKey(link), info })
    }

    fn cut(&mut self, link: u64) -> Vec<Action> {
        self.tell(Event::LinkDown { link: LinkKey(link), reason: "the connection was reset".to_owned() })
    }

    fn submit(&mut self, job: JobId, specification: &Specification) -> Vec<Action> {
        self.tell(submitted(job, specification))
    }

    /// Submits a job and brings it to its first round.
    fn start(&mut self, job: JobId, specification: &Specification) -> Vec<Sent> {
        self.submit(job, specification);
        self.tell(Event::DataReady { job });
        sent(&self.tell(Event::Prepared { job, base: base(0) }))
    }

    fn trained(&mut self, sent: &Sent) -> Vec<Action> {
        self.trained_as(sent, update(sent))
    }

    fn trained_as(&mut self, sent: &Sent, update: Digest) -> Vec<Action> {
        self.tell(Event::Trained { link: sent.link, attempt: sent.attempt, result: result(update, 100.0, 300) })
    }

    fn update_coming(&mut self, sent: &Sent) -> Vec<Action> {
        self.tell(Event::UpdateComing { link: sent.link, attempt: sent.attempt })
    }

    fn accumulated(&mut self, sent: &Sent) -> Vec<Action> {
        let TaskId { job, step, shard } = sent.attempt.task;
        self.tell(Event::Accumulated { job, step, shard })
    }

    /// A task is trained and merged.
    fn finish(&mut self, sent: &Sent) -> Vec<Action> {
        let mut actions = self.trained(sent);
        actions.extend(self.accumulated(sent));
        actions
    }

    fn refused(&mut self, sent: &Sent) -> Vec<Action> {
        let TaskId { job, step, shard } = sent.attempt.task;
        self.tell(Event::UpdateRefused { job, step, shard, reason: "the update is not a number".to_owned() })
    }

    fn failed(&mut self, sent: &Sent, fault: Fault) -> Vec<Action> {
        let (link, attempt) = (sent.link, sent.attempt);
        self.tell(Event::TaskFailed { link, attempt, fault, reason: "out of memory".to_owned() })
    }

    fn rejected(&mut self, sent: &Sent) -> Vec<Action> {
        self.rejected_for(sent, RejectReason::LoadProbability)
    }

    fn rejected_for(&mut self, sent: &Sent, reason: RejectReason) -> Vec<Action> {
        self.rejected_with(sent, reason, 0)
    }

    fn rejected_with(&mut self, sent: &Sent, reason: RejectReason, retry_ms: u32) -> Vec<Action> {
        let (link, attempt) = (sent.link, sent.attempt);
        self.tell(Event::Rejected { link, attempt, reason, retry_ms })
    }

    fn closing(&mut self, sent: &Sent) -> Vec<Action> {
        self.tell(Event::Closing { link: sent.link, attempt: sent.attempt })
    }

    fn merged(&mut self, job: JobId, step: u64) -> Vec<Action> {
        self.tell(Event::Merged { job, step, base: base(step + 1), sum: None })
    }

    fn validated(&mut self, job: JobId, step: u64) -> Vec<Action> {
        self.tell(Event::Validated { job, round: step as u32, rows: 50, metrics: metrics() })
    }
}

const JOB: JobId = JobId(7);

fn metrics() -> Metrics {
    Metrics::default().with(Metric::Loss, 9.0).with(Metric::Errors, 3.0)
}

fn result(update: Digest, loss: f64, train_us: u64) -> TaskResult {
    TaskResult { epochs: 1, loss, train_us, update, update_bytes: 64 }
}

fn specification(shards: usize, rounds: u32) -> Specification {
    let rows = RowsRef { rows: ROWS, digest: Digest::of(b"rows") };
    Specification {
        patience: None,
        target_accuracy: None,
        test: None,
        training: Training {
            arithmetic: 1,
            network: Network::new(2, &[], 2).unwrap(),
            recipe: Recipe::DEFAULT,
            seed: 1,
            class_weights: Vec::new(),
        },
        rounds,
        round_steps: None,
        shards: vec![rows; shards],
        validation: rows,
        merge: Merge::Mean,
        outer: Outer::AVERAGE,
        initial: None,
        operation: Operation::default(),
        notes: Vec::new(),
    }
}

fn skipping(mut specification: Specification) -> Specification {
    specification.operation.on_task_failure = OnTaskFailure::Skip;
    specification
}

fn submitted(job: JobId, specification: &Specification) -> Event {
    Event::Submitted { job, specification: Arc::new(specification.clone()), semantic: semantic(specification) }
}

fn semantic(specification: &Specification) -> Digest {
    Digest::of(format!("{:?}", specification.training).as_bytes())
}

fn base(step: u64) -> Digest {
    Digest::of(&step.to_le_bytes())
}

fn update(sent: &Sent) -> Digest {
    Digest::of(&[sent.attempt.task.step as u8, sent.shard() as u8])
}

fn sent(actions: &[Action]) -> Vec<Sent> {
    let sent = |action: &Action| match *action {
        Action::Dispatch { link, attempt, may_reject, .. } => Some(Sent { link, attempt, may_reject }),
        _ => None,
    };
    actions.iter().filter_map(sent).collect()
}

/// The only task that is sent.
#[track_caller]
fn only_sent(actions: &[Action]) -> Sent {
    match sent(actions).as_slice() {
        [only] => *only,
        others => panic!("one task should be sent, not {others:?}"),
    }
}

fn links(sent: &[Sent]) -> Vec<u64> {
    let mut links: Vec<u64> = sent.iter().map(|sent| sent.link.0).collect();
    links.sort_unstable();
    links
}

fn events(actions: &[Action]) -> Vec<JobEvent> {
    let event = |action: &Action| match action {
        Action::Report { event, .. } => Some(event.clone()),
        _ => None,
    };
    actions.iter().filter_map(event).collect()
}

fn summary(actions: &[Action]) -> Summary {
    match outcome(actions) {
        Some(Outcome::Done(summary)) => *summary,
        other => panic!("the job should be done, not {other:?}"),
    }
}

fn notices(actions: &[Action]) -> Vec<Notice> {
    let notice = |event| match event {
        JobEvent::Notice(notice) => Some(notice),
        _ => None,
    };
    events(actions).into_iter().filter_map(notice).collect()
}

fn outcome(actions: &[Action]) -> Option<Outcome> {
    events(actions).into_iter().find_map(|event| match event {
        JobEvent::Finished(outcome) => Some(outcome),
        _ => None,
    })
}

fn accumulates(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Accumulate { .. }))
}

fn discards(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Discard { .. }))
}

fn drops(actions: &[Action]) -> Vec<u64> {
    let dropped = |action: &Action| match action {
        Action::DropLink { link, .. } => Some(link.0),
        _ => None,
    };
    actions.iter().filter_map(dropped).collect()
}

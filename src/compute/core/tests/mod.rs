//! The rules of the core, one test for each transition.

mod ending;
mod orphans;
mod results;
mod stages;

use super::*;
use crate::job::{Attempt, JobId, TaskResult};

#[derive(Clone, Debug, PartialEq)]
struct Plain;

/// Tasks are numbered, data is nothing, failures are words.
impl Content for Plain {
    type Work = u32;
    type Data = ();
    type Failure = &'static str;
}

type Order = Action<Plain>;

const JOB: JobId = JobId(7);
const LINK: LinkKey = LinkKey(1);
const OTHER: LinkKey = LinkKey(2);
const INLINE_BYTES: u64 = 100;
const LARGE_BYTES: u64 = 101;

/// A core with two links, and what it orders.
struct Harness {
    core: Core<Plain>,
    now: Moment,
    requests: u32,
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn base_of(step: u64) -> Digest {
    digest(&format!("base {step}"))
}

fn shard_of(shard: u32) -> Digest {
    digest(&format!("shard {shard}"))
}

fn identity(step: u64, shard: u32) -> Identity {
    Identity { task: TaskId { job: JOB, step, shard }, base: base_of(step), rest: shard_of(shard) }
}

impl Harness {
    fn new(workers: u32) -> Harness {
        Harness::with(Settings { results_bytes_max: 1_000, ..Settings::new(workers) })
    }

    fn with(settings: Settings) -> Harness {
        let mut harness = Harness { core: Core::new(settings, 1), now: Moment::ZERO, requests: 0 };
        for link in [LINK, OTHER] {
            harness.link_up(link);
        }
        harness
    }

    fn tell(&mut self, event: Event<Plain>) -> Vec<Order> {
        let mut orders = Vec::new();
        self.core.handle(self.now, event, &mut orders);
        orders
    }

    fn link_up(&mut self, link: LinkKey) {
        assert_eq!(self.tell(Event::LinkUp { link, inline_bytes_max: INLINE_BYTES }), []);
    }

    /// Who asks next for a task over a link.
    fn recipient(&mut self, link: LinkKey, task: TaskId) -> Recipient {
        self.requests += 1;
        let attempt = Attempt { task, attempt: self.requests, token: u64::from(self.requests) << 32 };
        Recipient { link, request: self.requests, attempt }
    }

    fn ask(&mut self, link: LinkKey, identity: Identity, has_data: bool, may_reject: bool) -> (Recipient, Vec<Order>) {
        let to = self.recipient(link, identity.task);
        let data = has_data.then_some(());
        let base = Object { digest: identity.base, data };
        let shards = vec![Object { digest: identity.rest, data }];
        let train = Train { to, identity, may_reject, base, shards, work: to.request };
        let orders = self.tell(Event::TrainRequested(train));
        (to, orders)
    }

    /// A task is asked for whose data is here.
    fn train(&mut self, link: LinkKey, step: u64, shard: u32) -> (Recipient, Vec<Order>) {
        self.ask(link, identity(step, shard), true, false)
    }

    /// A task is asked for, and a worker has it.
    fn run(&mut self, link: LinkKey, step: u64, shard: u32) -> (Recipient, TaskKey) {
        let (to, orders) = self.train(link, step, shard);
        (to, started(&orders).unwrap_or_else(|| panic!("it is not started: {orders:?}")))
    }

    fn end(&mut self, task: TaskKey, result: Result<TrainedUpdate<Plain>, &'static str>) -> Vec<Order> {
        self.tell(Event::Ended { task, result, rows_per_second: None })
    }

    /// A task is asked for, and trained to a result of so many bytes.
    fn finish(&mut self, link: LinkKey, step: u64, shard: u32, bytes: u64) -> Vec<Order> {
        let (_, task) = self.run(link, step, shard);
        self.end(task, Ok(outcome(shard, bytes)))
    }

    fn poll(&mut self, link: LinkKey, attempt: Attempt) -> Option<TaskState> {
        let orders = self.tell(Event::PollRequested { link, request: 0, attempt });
        match &orders[..] {
            [Action::AnswerPolled { state, .. }] => state.map(|(state, _)| state),
            other => panic!("a POLL leads to {other:?}"),
        }
    }

    fn cancel(&mut self, to: Recipient) -> Vec<Order> {
        self.tell(Event::CancelRequested { link: to.link, request: to.request })
    }

    fn results(&mut self, link: LinkKey) -> Vec<(u64, u32)> {
        let orders = self.tell(Event::ResultsRequested { link, request: 0, job: JOB });
        let [Action::AnswerResults { results, .. }] = &orders[..] else { panic!("RESULTS leads to {orders:?}") };
        results.iter().map(|listed| (listed.step, listed.shard)).collect()
    }

    fn load(&self) -> (u32, u32) {
        (self.core.counts().running, self.core.counts().waiting)
    }
}

fn outcome(shard: u32, bytes: u64) -> TrainedUpdate<Plain> {
    let update = digest(&format!("update {shard}"));
    let result = TaskResult { epochs: 2, loss: 0.5, train_us: 3_000_000, update, update_bytes: bytes };
    TrainedUpdate { result, delayed: std::time::Duration::ZERO, data: () }
}

fn started(orders: &[Order]) -> Option<TaskKey> {
    orders.iter().find_map(|order| match order {
        Action::Start { task, .. } => Some(*task),
        _ => None,
    })
}

fn trained(to: Recipient, shard: u32, bytes: u64) -> Order {
    Action::AnswerTrained { to, trained: outcome(shard, bytes), inline: bytes <= INLINE_BYTES }
}

fn failed(to: Recipient, failure: Failure<&'static str>) -> Order {
    Action::AnswerFailed { to, failure }
}

fn start(task: TaskKey, work: u32) -> Order {
    Action::Start { task, work, base: (), shards: vec![()], delay: Duration::ZERO }
}

//! Results that a node holds for coordinators to come: who gets them, and who does not.

use std::num::NonZeroU32;
use std::time::Instant;

use gradwire::digest::Digest;
use gradwire::job::{Attempt, CachedResult, JobId, TaskId, TaskState};
use gradwire::model::{BatchSize, Recipe, Training};
use gradwire::wire::message::{Cancel, Fetch, Poll, Polled, Results, RowsSource, Train, Trained};
use gradwire::wire::{ErrorCode, Message, Role, object};

use crate::common::cluster::Cluster;
use crate::common::peer::Peer;
use crate::common::process::{PATIENCE, typed};
use crate::common::smallest::{base, owned, piece, rows, train, training};

/// A coordinator, and the number of its next request.
struct Coordinator(Peer, u32);

impl Coordinator {
    fn new(cluster: &Cluster) -> Coordinator {
        Coordinator(Peer::greeted(cluster.node.address, Role::Coordinator), 1)
    }

    fn send<'a>(&mut self, message: impl Into<Message<'a>>) -> u32 {
        let request = self.1;
        self.0.send(message, request);
        self.1 += 2;
        request
    }

    fn results(&mut self, job: JobId) -> Vec<CachedResult> {
        let request = self.send(Results { job });
        let frame = self.0.receive();
        let Message::Holding(holding) = frame.message() else { panic!("HOLDING was due, not {:?}", frame.message()) };
        assert_eq!(frame.header.request, request);
        holding.results
    }

    /// Asks until the node holds this task: it may not have seen yet that the other link has ended.
    fn await_held(&mut self, train: &Train) {
        let deadline = Instant::now() + PATIENCE;
        let TaskId { job, step, shard } = train.name.task;
        while self.results(job) != [CachedResult { step, shard, base: train.base }] {
            assert!(Instant::now() < deadline, "the node does not hold {:?}", train.name);
        }
    }

    /// Polls until the task has trained this many batches.
    fn await_batches(&mut self, name: Attempt, batches: u64) -> Polled {
        let deadline = Instant::now() + PATIENCE;
        self.send(Poll { name });
        loop {
            let frame = self.0.receive();
            match frame.message() {
                Message::Polled(polled) if polled.batches_done >= batches => return polled,
                Message::Polled(polled) => {
                    assert!(Instant::now() < deadline, "{polled:?}");
                    self.send(Poll { name });
                }
                Message::Fetch(fetch) => self.serve(frame.header.request, fetch),
                other => panic!("POLLED was due, not {other:?}"),
            }
        }
    }

    /// Gives the objects of these tests' tasks.
    fn serve(&mut self, request: u32, fetch: Fetch) {
        let objects = [base(), rows(), many_rows()];
        let object = objects.into_iter().find(|object| Digest::of(object) == fetch.digest).unwrap();
        self.0.send(owned(piece(fetch, &object)), request);
    }

    /// Has a task trained. Its result, and the objects that were asked for.
    fn train(&mut self, train: &Train) -> (Trained, usize) {
        let request = self.send(train.clone());
        let mut fetched = 0;
        loop {
            let frame = self.0.receive();
            match frame.message() {
                Message::Fetch(fetch) => {
                    fetched += 1;
                    self.serve(frame.header.request, fetch);
                }
                Message::Trained(trained) => {
                    assert_eq!((frame.header.request, trained.name), (request, train.name));
                    return (trained, fetched);
                }
                other => panic!("TRAINED was due, not {other:?}"),
            }
        }
    }
}

/// A task that nobody waits for to end.
fn endless() -> Train {
    let recipe = Recipe { epochs: 1_000_000, batch: BatchSize::Rows(NonZeroU32::MIN), eta: 1e-9, ..Recipe::DEFAULT };
    Train {
        training: Some(Training { recipe, ..training() }),
        rows: RowsSource::Shipped(Digest::of(&many_rows())),
        ..train()
    }
}

/// Rows like the smallest job's, so many that training with them takes half an hour.
fn many_rows() -> Vec<u8> {
    let (values, labels) = ([0.0, 1.0, 1.0, 0.0].repeat(2_048), [0, 1].repeat(2_048));
    object::encode_rows(2, &values, &labels)
}

/// A task of the same job, dispatched anew.
fn again(train: &Train) -> Train {
    Train { name: Attempt { attempt: 1, token: train.name.token + 1, ..train.name }, ..train.clone() }
}

/// Tasks that a node has trained, and those that it did not need to.
fn trained_and_reused(cluster: &Cluster) -> (String, String) {
    let metrics = typed(cluster.node.address, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{metrics}")).to_owned()
    };
    (value("gradwire_tasks_done_total"), value("gradwire_results_reused_total"))
}

#[test]
fn a_held_result_is_given_once_more_under_the_new_attempts_name() {
    let cluster = Cluster::new();
    let train = train();
    let mut first = Coordinator::new(&cluster);
    let (trained, _) = first.train(&train);
    assert_eq!(first.results(train.name.task.job), [], "it has it");
    drop(first);
    let mut second = Coordinator::new(&cluster);
    second.await_held(&train);
    let (again, fetched) = second.train(&again(&train));
    assert_eq!(again, Trained { name: again.name, ..trained });
    assert_eq!((fetched, trained_and_reused(&cluster)), (0, ("1".to_owned(), "1".to_owned())));
    cluster.assert_is_well();
}

#[test]
fn who_knows_a_jobs_name_gets_nothing_that_was_trained_otherwise() {
    let cluster = Cluster::new();
    let task = train();
    Coordinator::new(&cluster).train(&task);
    let mut other = Coordinator::new(&cluster);
    other.await_held(&task);
    assert_eq!(other.results(JobId(task.name.task.job.0 ^ 1)), []);
    // The same rows as another object, or trained in another way, are another task.
    let seed = Train { training: Some(Training { seed: 2, ..training() }), ..again(&task) };
    let step = Train { name: Attempt { task: TaskId { shard: 1, ..task.name.task }, ..task.name }, ..task.clone() };
    other.train(&seed);
    other.train(&step);
    assert_eq!(trained_and_reused(&cluster), ("3".to_owned(), "0".to_owned()));
    // A later step: the earlier ones are merged.
    let later = Train { name: Attempt { task: TaskId { step: 1, ..task.name.task }, ..task.name }, ..task.clone() };
    other.train(&later);
    assert_eq!(other.results(task.name.task.job), []);
    cluster.assert_is_well();
}

#[test]
fn what_is_being_trained_when_its_link_ends_goes_on_for_the_next_and_stops_when_that_cancels_it() {
    let cluster = Cluster::new();
    let endless = endless();
    let mut first = Coordinator::new(&cluster);
    first.send(endless.clone());
    let before = first.await_batches(endless.name, 1);
    drop(first);
    let mut second = Coordinator::new(&cluster);
    second.await_held(&endless);
    let adopted = again(&endless);
    let request = second.send(adopted.clone());
    let after = second.await_batches(adopted.name, before.batches_done);
    assert_eq!((after.name, after.state), (adopted.name, TaskState::Running));
    assert_eq!(second.results(endless.name.task.job), [], "it has somebody");
    second.0.send(Cancel { request }, 0);
    second.0.expect_error(request, ErrorCode::Cancelled);
    assert_eq!(trained_and_reused(&cluster), ("1".to_owned(), "1".to_owned()));
    cluster.assert_is_well();
}

#[test]
fn a_task_whose_coordinator_has_gone_does_not_hold_its_worker_for_ever() {
    let cluster = Cluster::with_node(&["--orphan-lease", "0.001"]);
    let mut first = Coordinator::new(&cluster);
    let endless = endless();
    first.send(endless.clone());
    first.await_batches(endless.name, 1);
    let mut second = Coordinator::new(&cluster);
    let honest = train();
    let request = second.send(honest.clone());
    second.await_batches(honest.name, 0);
    // What it had asked for by then has been given, and is there when it is asked once more.
    assert_eq!(second.await_batches(honest.name, 0).state, TaskState::Waiting);
    // From here on the node hears of nothing but the first one's end.
    drop(first);
    let frame = second.0.receive();
    let Message::Trained(trained) = frame.message() else { panic!("TRAINED was due, not {:?}", frame.message()) };
    assert_eq!((frame.header.request, trained.name), (request, honest.name));
    cluster.assert_is_well();
}

#[test]
fn a_client_may_not_ask_for_results() {
    let cluster = Cluster::new();
    let mut client = Peer::greeted(cluster.coordinator.address, Role::Client);
    client.send(Results { job: JobId(1) }, 1);
    client.expect_end(ErrorCode::Unexpected);
    cluster.assert_is_well();
}

#[test]
fn a_task_that_is_cancelled_while_it_waits_behind_a_running_one_is_answered_at_once() {
    let cluster = Cluster::new();
    let mut coordinator = Coordinator::new(&cluster);
    let running = endless();
    let waiting = again(&running);
    let first = coordinator.send(running.clone());
    coordinator.await_batches(running.name, 1);
    let request = coordinator.send(waiting.clone());
    assert_eq!(coordinator.await_batches(waiting.name, 0).state, TaskState::Waiting);
    // People see both, and the jobs that they are of.
    let rows = |text: String, from: usize| -> Vec<Vec<String>> {
        text.lines().skip(from).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    assert_eq!(rows(typed(cluster.node.address, b"jobs\n"), 1)[0][1..], ["1", "1", "0"]);
    let asked = format!("job {}\n", running.name.task.job);
    let states = rows(typed(cluster.node.address, asked.as_bytes()), 4).into_iter().map(|row| row[2].clone());
    assert_eq!(states.collect::<Vec<_>>(), ["running", "waiting"]);
    coordinator.0.send(Cancel { request }, 0);
    coordinator.0.expect_error(request, ErrorCode::Cancelled);
    assert_eq!(coordinator.await_batches(waiting.name, 0).state, TaskState::Unknown);
    assert_eq!(coordinator.await_batches(running.name, 1).state, TaskState::Running);
    coordinator.0.send(Cancel { request: first }, 0);
    coordinator.0.expect_error(first, ErrorCode::Cancelled);
    cluster.assert_is_well();
}

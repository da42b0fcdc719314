//! What a coordinator says of its jobs over a link: heard by a node of the test's own, which answers every task with an update
//! of zeros.

use std::net::TcpListener;
use std::thread;

use gradwire::digest::Digest;
use gradwire::job::{JobId, Specification, TaskResult, TaskState};
use gradwire::model::conformance::published;
use gradwire::model::{ARITHMETIC, Training};
use gradwire::wire::message::{Features, Held, Holding, Polled, Submit, Train, Trained};
use gradwire::wire::object::{self, ObjectKind};
use gradwire::wire::{Message, Role};

use crate::common::peer::Peer;
use crate::common::servers::Coordinator;
use crate::common::smallest::{owned, piece, rows, smallest_job};

/// A coordinator's connection to the node.
fn linked(listener: &TcpListener) -> Peer {
    let mut node = Peer::new(listener.accept().unwrap().0);
    let (arithmetics, conformance) = (vec![ARITHMETIC], vec![(ARITHMETIC, published())]);
    assert!(node.welcome(Role::Node, Features { arithmetics, conformance, ..Features::default() }));
    node
}

/// A job of so many rounds, of a task each.
fn job(seed: u64, rounds: u32) -> (JobId, Specification) {
    let (id, specification) = smallest_job();
    let training = Training { seed, ..specification.training };
    (id, Specification { training, rounds, ..specification })
}

/// Submits a job, gives its data, and waits for its end.
fn submit(coordinator: &Coordinator, (job, specification): (JobId, Specification)) {
    let mut client = Peer::greeted(([127, 0, 0, 1], coordinator.port).into(), Role::Client);
    client.send(Submit { job, rounds_seen: 0, specification }, 1);
    loop {
        let frame = client.receive();
        match frame.message() {
            Message::Fetch(fetch) => client.send(owned(piece(fetch, &rows())), frame.header.request),
            Message::Done(_) => return,
            Message::Error(error) => panic!("{error}"),
            _ => {}
        }
    }
}

/// Does a job's tasks: what each TRAIN has said.
fn said(coordinator: &Coordinator, node: &mut Peer, job: (JobId, Specification)) -> Vec<Option<Training>> {
    let (training, rounds) = (job.1.training.clone(), job.1.rounds as usize);
    let mut said = Vec::new();
    thread::scope(|scope| {
        let submitting = scope.spawn(|| submit(coordinator, job));
        while said.len() < rounds {
            let frame = node.receive();
            let request = frame.header.request;
            match frame.message() {
                Message::Train(train) => {
                    node.send(zeros(&train, &training), request);
                    said.push(train.training);
                }
                Message::Put(piece) => node.send(Held { bytes: vec![piece.object_bytes] }, request),
                Message::Results(_) => node.send(Holding { results: Vec::new() }, request),
                Message::Poll(poll) => {
                    let (name, state) = (poll.name, TaskState::Unknown);
                    node.send(Polled { name, state, batches_done: 0, batches_planned: 0 }, request);
                }
                other => panic!("{other:?}"),
            }
        }
        submitting.join().unwrap();
    });
    said
}

fn zeros(train: &Train, training: &Training) -> Trained {
    let network = &training.network;
    let inline = object::encode_parameters(ObjectKind::Update, network, &vec![0.0; network.parameters()]);
    let (update, update_bytes) = (Digest::of(&inline), inline.len() as u64);
    let result = TaskResult { epochs: 1, loss: 1.0, train_us: 1, update, update_bytes };
    Trained { name: train.name, result, delayed_ms: 0, inline }
}

#[test]
fn a_coordinator_says_a_jobs_specification_once_a_link_and_anew_when_the_job_changes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let coordinator = Coordinator::start("2", &[listener.local_addr().unwrap().port()], &[]);
    let mut node = linked(&listener);
    let of = |(_, specification): &(JobId, Specification)| Some(specification.training.clone());
    let (first, second) = (job(1, 3), job(2, 2));
    assert_eq!(said(&coordinator, &mut node, first.clone()), [of(&first), None, None]);
    assert_eq!(said(&coordinator, &mut node, second.clone()), [of(&second), None]);
    // Another job, though it says the same.
    let third = job(2, 2);
    assert_eq!(said(&coordinator, &mut node, third.clone()), [of(&third), None]);
    // What was said over a link holds for that link.
    drop(node);
    let mut node = linked(&listener);
    let fourth = job(2, 1);
    assert_eq!(said(&coordinator, &mut node, fourth.clone()), [of(&fourth)]);
    coordinator.assert_has_no_fault();
}

//! A coordinator that speaks frames with `node.py`. Owns what a conforming node does on a connection, beyond what a job
//! shows.

use std::net::TcpStream;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use gradwire::digest::Digest;
use gradwire::job::{JobId, RejectReason, TaskState};
use gradwire::model::{BatchSize, Recipe, Training};
use gradwire::wire::message::{
    Cancel, Features, Fetch, Have, Hello, Holding, Piece, Ping, Poll, Polled, Results, Train,
};
use gradwire::wire::{Encoded, ErrorCode, Flags, Message, MessageType, Role};

use crate::common::peer::{Peer, hello};
use crate::common::process::PATIENCE;
use crate::common::smallest::{self, base, piece, rows, training};
use crate::python::Python;

/// The smallest task, by the same name every time.
fn train() -> Train {
    let mut train = smallest::train();
    train.name.task.job = JobId(7);
    train
}

/// A task that does not end by itself while a test runs.
fn endless() -> Train {
    let recipe = Recipe { epochs: 1_000_000, batch: BatchSize::Rows(NonZeroU32::MIN), eta: 1e-9, ..Recipe::DEFAULT };
    Train { training: Some(Training { recipe, ..training() }), ..train() }
}

/// The whole of `object` as PUT.
fn put(object: &[u8]) -> Message<'_> {
    Message::Put(Piece {
        digest: Digest::of(object),
        object_bytes: object.len() as u64,
        offset: 0,
        bytes: object.into(),
    })
}

fn expect_held(peer: &mut Peer, request: u32, bytes: &[u64]) {
    let frame = peer.receive();
    let Message::Held(held) = frame.message() else { panic!("HELD was due, not {:?}", frame.message()) };
    assert_eq!((held.bytes.as_slice(), frame.header.request), (bytes, request));
}

/// A greeted coordinator, whose requests 1 and 3 have put the smallest task's objects.
fn supplied(python: &Python) -> Peer {
    let mut peer = Peer::greeted(python.address, Role::Coordinator);
    for (request, object) in [(1, base()), (3, rows())] {
        peer.send(put(&object), request);
        expect_held(&mut peer, request, &[object.len() as u64]);
    }
    peer
}

fn poll(peer: &mut Peer, request: u32) -> Polled {
    peer.send(Poll { name: train().name }, request);
    let frame = peer.receive();
    let Message::Polled(polled) = frame.message() else { panic!("POLLED was due, not {:?}", frame.message()) };
    assert_eq!((polled.name, frame.header.request), (train().name, request));
    polled
}

/// Polls until a batch is done; the next free request id.
fn await_running(peer: &mut Peer, mut request: u32) -> u32 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let polled = poll(peer, request);
        request += 2;
        if polled.state == TaskState::Running && polled.batches_done > 0 {
            assert_eq!(polled.batches_planned, 4_000_000);
            return request;
        }
        assert!(Instant::now() < deadline, "{polled:?}");
    }
}

fn expect_trained(peer: &mut Peer, request: u32) {
    let frame = peer.receive();
    let Message::Trained(trained) = frame.message() else { panic!("TRAINED was due, not {:?}", frame.message()) };
    assert_eq!((trained.name, frame.header.request), (train().name, request));
    assert!(!trained.inline.is_empty());
}

#[test]
fn it_says_in_its_welcome_who_it_is_and_that_its_arithmetic_is_its_own() {
    let Some(python) = Python::start(&[]) else { return };
    let mut peer = Peer::dial(python.address);
    peer.send(hello(Role::Coordinator), 0);
    let frame = peer.receive();
    let Message::Welcome(welcome) = frame.message() else { panic!("{:?}", frame.message()) };
    assert_eq!((welcome.version, welcome.role), (1, Role::Node));
    let Features { arithmetics, name, .. } = welcome.features;
    assert_eq!((name.as_deref(), arithmetics.as_slice()), (Some("python"), &[40_001][..]));
}

#[test]
fn it_keeps_no_result_for_a_link_to_come() {
    let Some(python) = Python::start(&[]) else { return };
    let mut peer = supplied(&python);
    peer.send(train(), 5);
    expect_trained(&mut peer, 5);
    peer.send(Results { job: train().name.task.job }, 7);
    let frame = peer.receive();
    assert_eq!((frame.message(), frame.header.request), (Holding { results: Vec::new() }.into(), 7));
}

#[test]
fn whom_it_cannot_work_for_is_told_why() {
    let Some(python) = Python::start(&[]) else { return };
    let refused = |hello: Hello| {
        let mut peer = Peer::dial(python.address);
        peer.send(hello, 0);
        peer
    };
    refused(hello(Role::Client)).expect_end(ErrorCode::Unexpected);
    let error = refused(Hello { version_min: 2, version_max: 3, ..hello(Role::Coordinator) });
    let error = error.expect_end(ErrorCode::Version);
    assert_eq!((error.got, error.allowed), (2 + 256 * 3, 257));
}

#[test]
fn half_a_greeting_has_a_deadline() {
    let Some(python) = Python::start(&[]) else { return };
    let mut peer = Peer::dial(python.address);
    let frame = Message::from(hello(Role::Coordinator)).seal(0, false).to_bytes();
    peer.send_bytes(&frame[..30]);
    assert_eq!(peer.expect_end(ErrorCode::Timeout).allowed, 2000);
}

#[test]
fn a_wrong_frame_ends_the_connection_with_one_error_and_an_optional_one_is_skipped() {
    let Some(python) = Python::start(&[]) else { return };
    let ping = || Message::from(Ping).seal(1, false).to_bytes();
    let changed = |at: usize| {
        let mut frame = ping();
        frame[at] ^= 0x40;
        frame
    };
    let sealed = |kind, flags, request, payload: &[u8]| Encoded::seal(kind, flags, request, payload, None).to_bytes();
    let mut wrong_payload = put(&base()).seal(1, false).to_bytes();
    *wrong_payload.last_mut().unwrap() ^= 1;
    let train_number = MessageType::Train as u8;
    for (bytes, code) in [
        (changed(2), ErrorCode::HeaderChecksum),
        (changed(12), ErrorCode::HeaderChecksum),
        (wrong_payload, ErrorCode::PayloadChecksum),
        (sealed(0x7F, Flags::NONE, 1, b""), ErrorCode::Malformed),
        (sealed(MessageType::Ping as u8, Flags::MORE, 1, b""), ErrorCode::Malformed),
        (sealed(MessageType::Submit as u8, Flags::NONE, 1, b""), ErrorCode::Malformed),
        (Message::from(hello(Role::Coordinator)).seal(0, false).to_bytes(), ErrorCode::Unexpected),
        (sealed(train_number, Flags::NONE, 1, &[0; 100]), ErrorCode::Malformed),
    ] {
        let mut peer = Peer::greeted(python.address, Role::Coordinator);
        peer.send_bytes(&bytes);
        peer.expect_end(code);
    }
    let mut peer = Peer::greeted(python.address, Role::Coordinator);
    peer.send_bytes(&sealed(0x90, Flags::MORE, 7, b"whatever"));
    peer.expect_pong(1);
}

#[test]
fn a_length_is_refused_before_any_of_it_has_come() {
    let Some(python) = Python::start(&[]) else { return };
    let long = Encoded::seal(MessageType::Put as u8, Flags::NONE, 1, &vec![0; (1 << 20) + 1], None).to_bytes();
    let mut peer = Peer::greeted(python.address, Role::Coordinator);
    peer.send_bytes(&long[..24]);
    let error = peer.expect_end(ErrorCode::FrameTooLarge);
    assert_eq!((error.got, error.allowed), ((1 << 20) + 1, 1 << 20));

    let mut peer = Peer::greeted(python.address, Role::Coordinator);
    let piece = Piece { digest: Digest([1; 32]), object_bytes: 1 << 40, offset: 0, bytes: b"x"[..].into() };
    peer.send(Message::Put(piece), 1);
    assert_eq!(peer.expect_error(1, ErrorCode::ObjectTooLarge).got, 1 << 40);
    peer.expect_pong(3);
}

#[test]
fn an_object_comes_in_pieces_and_is_used_only_once_its_digest_is_right() {
    let Some(python) = Python::start(&[]) else { return };
    let mut peer = Peer::greeted(python.address, Role::Coordinator);
    let (object, digest) = (rows(), Digest::of(&rows()));
    let size = object.len() as u64;
    let half = |offset: usize, bytes: &[u8], request: u32, peer: &mut Peer| {
        let bytes = bytes.to_vec().into();
        peer.send(Message::Put(Piece { digest, object_bytes: size, offset: offset as u64, bytes }), request);
    };
    half(8, &object[8..], 1, &mut peer);
    let error = peer.expect_error(1, ErrorCode::ObjectRange);
    assert_eq!((error.got, error.allowed), (8, 0));
    half(0, &object[..8], 3, &mut peer);
    expect_held(&mut peer, 3, &[8]);
    peer.send(Fetch { digest, offset: 0, bytes_max: 8 }, 5);
    peer.expect_error(5, ErrorCode::UnknownObject);
    half(8, &vec![9; object.len() - 8], 7, &mut peer);
    assert!(peer.expect_error(7, ErrorCode::ObjectHash).retry);
    // Dropped, and begun anew.
    half(0, &object[..8], 9, &mut peer);
    expect_held(&mut peer, 9, &[8]);
    half(8, &object[8..], 11, &mut peer);
    expect_held(&mut peer, 11, &[size]);
    // Held whole: whoever puts it once more is told so.
    half(0, &object, 13, &mut peer);
    expect_held(&mut peer, 13, &[size]);
    peer.send(Fetch { digest, offset: 16, bytes_max: 8 }, 15);
    let frame = peer.receive();
    let Message::Data(data) = frame.message() else { panic!("{:?}", frame.message()) };
    assert_eq!((data.offset, data.object_bytes, &data.bytes[..]), (16, size, &object[16..24]));
}

#[test]
fn what_it_was_given_on_one_connection_it_does_not_ask_for_on_the_next() {
    let Some(python) = Python::start(&[]) else { return };
    let mut first = Peer::greeted(python.address, Role::Coordinator);
    first.send(train(), 1);
    for object in [base(), rows()] {
        let frame = first.receive();
        let Message::Fetch(fetch) = frame.message() else { panic!("FETCH was due, not {:?}", frame.message()) };
        assert_eq!(fetch.digest, Digest::of(&object));
        first.send(Message::Data(piece(fetch, &object)), frame.header.request);
    }
    expect_trained(&mut first, 1);
    drop(first);
    let mut second = Peer::greeted(python.address, Role::Coordinator);
    let digests = vec![Digest::of(&rows()), Digest([1; 32]), Digest::of(&base())];
    second.send(Have { digests }, 1);
    expect_held(&mut second, 1, &[rows().len() as u64, 0, base().len() as u64]);
    second.send(train(), 3);
    expect_trained(&mut second, 3);
}

#[test]
fn a_cancelled_task_has_one_final_answer_and_the_next_one_is_trained() {
    let Some(python) = Python::start(&[]) else { return };
    let mut peer = supplied(&python);
    peer.send(endless(), 5);
    let request = await_running(&mut peer, 7);
    peer.send(Cancel { request: 5 }, 0);
    let error = peer.expect_error(5, ErrorCode::Cancelled);
    assert_eq!(error.about, MessageType::Train as u8);
    // Once more, and one that was never open: nothing answers these.
    peer.send(Cancel { request: 5 }, 0);
    peer.send(Cancel { request: 999 }, 0);
    assert_eq!(poll(&mut peer, request).state, TaskState::Unknown);
    // Behind the cancelled one, at the only worker: its answer would come before.
    peer.send(train(), request + 2);
    expect_trained(&mut peer, request + 2);
    peer.expect_pong(request + 4);
    python.await_line("CANCELLED");
}

#[test]
fn a_task_that_waits_for_data_when_its_link_ends_holds_up_no_other() {
    let Some(python) = Python::start(&[]) else { return };
    for is_cancelled in [false, true] {
        let mut first = Peer::greeted(python.address, Role::Coordinator);
        let unknown = Digest([if is_cancelled { 1 } else { 2 }; 32]);
        for request in [1, 3] {
            first.send(Train { base: unknown, ..train() }, request);
        }
        assert!(matches!(first.receive().message(), Message::Fetch(_)));
        if is_cancelled {
            first.send(Cancel { request: 1 }, 0);
            first.expect_error(1, ErrorCode::Cancelled);
        }
        drop(first);
        let mut second = supplied(&python);
        second.send(train(), 5);
        expect_trained(&mut second, 5);
    }
}

#[test]
fn it_answers_a_ping_at_once_while_it_trains() {
    let Some(python) = Python::start(&[]) else { return };
    let mut peer = supplied(&python);
    peer.send(endless(), 5);
    let request = await_running(&mut peer, 7);
    peer.send(Ping, request);
    let frame = peer.receive();
    let Message::Pong(pong) = frame.message() else { panic!("PONG was due, not {:?}", frame.message()) };
    assert_eq!((frame.header.request, pong.running, pong.waiting), (request, 1, 0));
    // All workers are busy, and this task may be turned down.
    peer.send(Train { may_reject: true, ..train() }, request + 2);
    let frame = peer.receive();
    let Message::Rejected(rejected) = frame.message() else { panic!("REJECTED was due, not {:?}", frame.message()) };
    assert_eq!((rejected.name, rejected.reason, rejected.running), (train().name, RejectReason::Busy, 1));
}

#[test]
fn a_silent_coordinator_gets_a_ping_after_a_second_and_is_dropped_after_three() {
    let Some(python) = Python::start(&[]) else { return };
    let mut peer = Peer::dial(python.address);
    let started = Instant::now();
    peer.send(hello(Role::Coordinator), 0);
    assert!(matches!(peer.next().unwrap().message(), Message::Welcome(_)));
    assert!(matches!(peer.next().unwrap().message(), Message::Ping(_)));
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    peer.expect_hang_up();
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_secs(3) && elapsed < Duration::from_secs(30), "{elapsed:?}");
}

#[test]
fn a_frame_that_is_slow_to_come_is_a_sign_of_life_while_enough_of_it_comes() {
    const PIECE: usize = 16_384;
    let Some(python) = Python::start(&[]) else { return };
    let mut peer = Peer::greeted(python.address, Role::Coordinator);
    let started = Instant::now();
    let object = vec![7; 5 * PIECE];
    let frame = put(&object).seal(1, false).to_bytes();
    let (beginning, rest) = frame.split_at(frame.len() - 4 * PIECE);
    peer.send_bytes(beginning);
    for piece in rest.chunks(PIECE) {
        // After a second without a byte.
        assert!(matches!(peer.next().unwrap().message(), Message::Ping(_)));
        peer.send_bytes(piece);
    }
    expect_held(&mut peer, 1, &[object.len() as u64]);
    assert!(started.elapsed() > Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn a_task_that_diverges_or_has_no_weights_is_refused_and_the_link_lives() {
    let Some(python) = Python::start(&[]) else { return };
    let mut peer = supplied(&python);
    let recipe = Recipe { eta: 1e38, ..training().recipe };
    let refused = [
        (Train { training: Some(Training { recipe, ..training() }), ..train() }, ErrorCode::Training),
        (Train { base: Digest::of(&rows()), ..train() }, ErrorCode::ObjectMalformed),
    ];
    for (request, (train, code)) in (5..).step_by(2).zip(refused) {
        peer.send(train, request);
        assert_eq!(peer.expect_error(request, code).about, MessageType::Train as u8);
    }
    peer.expect_pong(99);
}

#[test]
fn a_specification_is_said_once_on_a_link_and_holds_for_its_job_alone() {
    let Some(python) = Python::start(&[]) else { return };
    let unsaid = || Train { training: None, ..train() };
    let refused = |peer: &mut Peer, train: Train, request| {
        peer.send(train, request);
        let error = peer.expect_error(request, ErrorCode::Specification);
        let told = (error.about, error.retry, error.got, error.allowed);
        assert_eq!(told, (MessageType::Train as u8, false, 0, 1), "{error}");
    };
    let mut peer = supplied(&python);
    refused(&mut peer, unsaid(), 5);
    peer.send(train(), 7);
    expect_trained(&mut peer, 7);
    peer.send(unsaid(), 9);
    expect_trained(&mut peer, 9);
    let mut other = unsaid();
    other.name.task.job.0 ^= 1;
    refused(&mut peer, other.clone(), 11);
    // What cannot be trained counts, and takes the place of the one before.
    let recipe = Recipe { eta: 1e38, ..training().recipe };
    peer.send(Train { training: Some(Training { recipe, ..training() }), ..other.clone() }, 13);
    peer.expect_error(13, ErrorCode::Training);
    refused(&mut peer, unsaid(), 15);
    peer.send(other.clone(), 17);
    peer.expect_error(17, ErrorCode::Training);
    drop(peer);
    refused(&mut supplied(&python), other, 5);
}

#[test]
fn it_says_goodbye_when_it_is_asked_to_end() {
    let Some(mut python) = Python::start(&[]) else { return };
    let mut peer = supplied(&python);
    peer.send(endless(), 5);
    await_running(&mut peer, 7);
    let address = python.address;
    let exit = std::thread::scope(|scope| {
        let ending = scope.spawn(|| python.terminate());
        assert!(matches!(peer.receive().message(), Message::Goodbye(_)));
        // A coordinator dials again at once, and must not believe that it is back.
        assert!(TcpStream::connect(address).is_err());
        peer.expect_hang_up();
        drop(peer);
        ending.join().unwrap()
    });
    assert_eq!(exit, Some(0));
}

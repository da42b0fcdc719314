//! A stranger who takes all that there is of something: he has no more than his share of it as soon as somebody else comes.
//! Only Linux gives the loopback interface more than one address, so that the stranger can come from another.
#![cfg(target_os = "linux")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use gradwire::digest::Digest;
use gradwire::job::{RowsRef, Specification};
use gradwire::wire::message::{Error, Fetch, Hello, Piece, Ping, Submit};
use gradwire::wire::{ErrorCode, Message, Role, limits, object};

use crate::common::cluster::{Cluster, assert_does_an_honest_job};
use crate::common::peer::{Peer, Received, hello};
use crate::common::process::reserve_port;
use crate::common::servers::{Coordinator, Node};
use crate::common::smallest::{await_fetch, owned, piece, rows, smallest_job, training};
use crate::crowd::dial_from;

/// What is asked for at a time.
const FETCH_BYTES: u32 = 256 << 10;
/// The last part of the stranger's address.
const STRANGER: u8 = 9;

/// A client that dials from an address that is not that of the others.
fn stranger(coordinator: &Coordinator, id: u8) -> Peer {
    let mut peer = Peer::new(dial_from(coordinator.address, STRANGER));
    peer.send(Hello { id: [id; 16], ..hello(Role::Client) }, 0);
    assert!(matches!(peer.receive().message(), Message::Welcome(_)));
    peer
}

/// Does something while a client stays there: it asks for an answer, again and again. The other frames that come meanwhile.
fn while_alive(peer: &mut Peer, work: impl FnOnce() + Send) -> Vec<Received> {
    // Above those of its other requests.
    static PINGS: AtomicU32 = AtomicU32::new(100_001);
    let mut others = Vec::new();
    thread::scope(|scope| {
        let working = scope.spawn(work);
        while !working.is_finished() {
            let ping = PINGS.fetch_add(2, Ordering::Relaxed);
            peer.send(Ping, ping);
            loop {
                let frame = peer.receive();
                if frame.header.request == ping {
                    break;
                }
                others.push(frame);
            }
        }
    });
    others
}

/// The ERROR among these frames, or the next one that comes.
fn error_of(peer: &mut Peer, frames: &[Received]) -> Error {
    let error = |frame: &Received| match frame.message() {
        Message::Error(error) => Some(error),
        _ => None,
    };
    frames.iter().find_map(error).unwrap_or_else(|| {
        loop {
            if let Some(error) = error(&peer.receive()) {
                return error;
            }
        }
    })
}

/// Has the smallest job done.
fn does_the_smallest_job(coordinator: &Coordinator) {
    let mut peer = Peer::greeted(coordinator.address, Role::Client);
    let (job, specification) = smallest_job();
    peer.send(Submit { job, rounds_seen: 0, specification }, 1);
    loop {
        let frame = peer.receive();
        match frame.message() {
            Message::Fetch(fetch) => peer.send(owned(piece(fetch, &rows())), frame.header.request),
            Message::Done(_) => return,
            Message::Accepted(_) | Message::Notice(_) | Message::Round(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn idle_connections_of_one_address_give_way_to_another() {
    let node = Node::named("honest");
    let coordinator = Coordinator::with_all_active(&[node.port], &["--connections", "8"]);
    let mut idle: Vec<Peer> = (1..=8).map(|id| stranger(&coordinator, id)).collect();
    let mut honest = Peer::greeted(coordinator.address, Role::Client);
    while idle[0].next().is_some() {}
    idle[7].expect_pong(1);
    // Of that address nobody has more than one connection: nobody gives way to one more.
    let mut ninth = Peer::new(dial_from(coordinator.address, STRANGER));
    ninth.send(Hello { id: [9; 16], ..hello(Role::Client) }, 0);
    let error = ninth.expect_error(0, ErrorCode::Busy);
    assert_eq!((error.got, error.allowed), (9, 8), "{error}");
    honest.expect_pong(1);
    assert_does_an_honest_job(&coordinator);
    coordinator.assert_has_no_fault();
}

#[test]
fn jobs_that_are_half_sent_hold_nobody_up() {
    let cluster = Cluster::new();
    let mut peer = stranger(&cluster.coordinator, 1);
    for request in (1..).step_by(2).take(limits::COLLECTING_JOBS_MAX + 3) {
        let (job, specification) = smallest_job();
        peer.send(Submit { job, rounds_seen: 0, specification }, request);
    }
    for _ in 0..3 {
        let error = error_of(&mut peer, &[]);
        assert_eq!((error.code, error.retry), (ErrorCode::Busy, true), "{error}");
    }
    // All places are taken: one of the stranger's gives way.
    let frames = while_alive(&mut peer, || drop(assert_does_an_honest_job(&cluster.coordinator)));
    let error = error_of(&mut peer, &frames);
    assert_eq!((error.code, error.retry), (ErrorCode::JobData, true), "{error}");
    assert!(error.text.contains("its client has most of them"), "{error}");
    drop(peer);
    cluster.assert_is_well();
}

#[test]
fn a_queue_that_one_address_has_filled_has_places_for_others() {
    // No node is there: nothing leaves the queue.
    let coordinator = Coordinator::start("2", &[reserve_port()], &["--revival-waits", "60"]);
    let (mut taken, mut turned_away) = (0, None);
    for (id, first) in [(1, 3), (2, 1)] {
        let mut peer = stranger(&coordinator, id);
        if first > 1 {
            let (job, specification) = smallest_job();
            peer.send(Submit { job, rounds_seen: 0, specification }, 1);
            let (request, fetch) = await_fetch(&mut peer);
            peer.send(owned(piece(fetch, &rows())), request);
            taken += 1;
        }
        let requests = (first..).step_by(2).take(500);
        for request in requests.clone() {
            // The same data: it is here.
            let (job, specification) = smallest_job();
            peer.send(Submit { job, rounds_seen: 0, specification }, request);
        }
        let last = requests.last().unwrap();
        while turned_away.is_none() {
            let frame = peer.receive();
            match frame.message() {
                Message::Accepted(_) => taken += 1,
                Message::Notice(_) => continue,
                Message::Error(error) => turned_away = Some(error),
                other => panic!("{other:?}"),
            }
            if frame.header.request == last {
                break;
            }
        }
    }
    let error = turned_away.expect("a last place");
    assert_eq!((error.code, error.retry), (ErrorCode::Busy, true), "{error}");
    // All but the last sixteenth, and the one that runs.
    assert_eq!(taken, limits::QUEUED_JOBS_MAX * 15 / 16 + 1, "{error}");
    assert!(error.text.contains("your address has its share"), "{error}");
    let mut other = Peer::greeted(coordinator.address, Role::Client);
    let (job, specification) = smallest_job();
    other.send(Submit { job, rounds_seen: 0, specification }, 1);
    assert!(matches!(other.receive().message(), Message::Accepted(_)));
    coordinator.assert_has_no_fault();
}

#[test]
fn what_is_only_announced_takes_no_room_and_what_comes_gives_way_to_others() {
    let node = Node::named("honest");
    let coordinator = Coordinator::with_all_active(&[node.port], &["--store", "8"]);
    let mut peer = stranger(&coordinator, 1);
    // All of the room, in one object.
    let count = ((8 << 20) - 1_024) / 12;
    let announced = RowsRef { rows: count, digest: Digest([9; 32]) };
    let object_bytes = object::rows_bytes(count, &training().network, training().recipe.loss);
    let (job, specification) = smallest_job();
    let specification = Specification { shards: vec![announced], ..specification };
    peer.send(Submit { job, rounds_seen: 0, specification }, 1);
    let (mut asked, mut given) = (VecDeque::new(), 0);
    let hear = |peer: &mut Peer, frame: &Received, asked: &mut VecDeque<(u32, Fetch)>| match frame.message() {
        Message::Fetch(fetch) if fetch.digest == announced.digest => asked.push_back((frame.header.request, fetch)),
        Message::Fetch(fetch) => peer.send(owned(piece(fetch, &rows())), frame.header.request),
        Message::Accepted(_) | Message::Notice(_) => {}
        other => panic!("{other:?}"),
    };
    // It is taken in before anybody else has something there.
    loop {
        let frame = peer.receive();
        hear(&mut peer, &frame, &mut asked);
        if matches!(frame.message(), Message::Accepted(_)) {
            break;
        }
    }
    // None of it has come.
    let frames = while_alive(&mut peer, || does_the_smallest_job(&coordinator));
    frames.iter().for_each(|frame| hear(&mut peer, frame, &mut asked));
    // All but its last piece comes.
    while given + u64::from(FETCH_BYTES) < object_bytes {
        let Some((request, fetch)) = asked.pop_front() else {
            let frame = peer.receive();
            hear(&mut peer, &frame, &mut asked);
            continue;
        };
        let bytes = vec![0; (object_bytes - fetch.offset).min(fetch.bytes_max.into()) as usize];
        given += bytes.len() as u64;
        let piece = Piece { digest: fetch.digest, object_bytes, offset: fetch.offset, bytes: bytes.into() };
        peer.send(owned(piece), request);
    }
    let frames = while_alive(&mut peer, || drop(assert_does_an_honest_job(&coordinator)));
    let error = error_of(&mut peer, &frames);
    assert_eq!((error.code, error.retry), (ErrorCode::JobData, true), "{error}");
    assert!(error.text.contains("no room for it"), "{error}");
    coordinator.assert_has_no_fault();
}

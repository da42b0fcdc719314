//! What it costs a coordinator that clients ask for a job's whole history again and again and read none of it, counted in bytes asked
//! of the allocator: the coordinator runs in this process, the node beside it.
//!
//! One test alone, because the counters are the process's.
#![cfg(feature = "client")]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::counting::{Counting, measure};
use common::peer::{Peer, hello};
use common::process::{PATIENCE, typed};
use common::servers::Node;
use common::smallest::{owned, piece, rows, smallest_job};
use gradwire::config::NodeAddress;
use gradwire::coordinator::{Coordinator, Settings};
use gradwire::engine::Policy;
use gradwire::job::{JobId, Specification};
use gradwire::wire::message::{Attach, Submit};
use gradwire::wire::{Message, Role};
use socket2::{Domain, Socket, Type};

#[global_allocator]
static COUNTING: Counting = Counting;

const ROUNDS: u32 = 4_000;
const PEERS: usize = 20;
/// Times that each of them asks for the history.
const TIMES: u32 = 20;
/// Of each connection: the page that is on its way, what is remembered of its requests, and its threads' own.
const BYTES_A_PEER_MAX: u64 = 16 << 10;

/// Has a job of many rounds done.
fn done_job(address: SocketAddr) -> JobId {
    let (job, specification) = smallest_job();
    let mut owner = Peer::greeted(address, Role::Client);
    owner.send(Submit { job, rounds_seen: 0, specification: Specification { rounds: ROUNDS, ..specification } }, 1);
    loop {
        let frame = owner.receive();
        match frame.message() {
            Message::Fetch(fetch) => owner.send(owned(piece(fetch, &rows())), frame.header.request),
            Message::Done(_) => return job,
            Message::Accepted(_) | Message::Notice(_) | Message::Round(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A client for whom the system holds little: what he does not read waits at the coordinator.
fn narrow(address: SocketAddr) -> Peer {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    // The sender's system keeps some twenty segments, and those of a loopback interface are large.
    socket.set_tcp_mss(536).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut peer = Peer::new(socket.into());
    peer.send(hello(Role::Client), 0);
    assert!(matches!(peer.receive().message(), Message::Welcome(_)));
    peer
}

/// Frames that the coordinator has taken in.
fn frames_received(address: SocketAddr) -> u64 {
    let metrics = typed(address, b"GET /metrics HTTP/1.0\r\n\r\n");
    let value = metrics.lines().find_map(|line| line.strip_prefix("gradwire_frames_received_total "));
    value.unwrap_or_else(|| panic!("{metrics}")).trim().parse::<f64>().unwrap() as u64
}

#[test]
fn histories_that_are_asked_for_and_not_read_hold_a_page_a_connection() {
    let node = Node::named("honest");
    let list = vec![NodeAddress { host: "127.0.0.1".to_owned(), port: node.port }];
    let settings = Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)), Policy::LoadBalancing, list);
    let coordinator = Coordinator::start(&settings).unwrap();
    assert!(coordinator.await_active(1, Duration::from_secs(40)));
    let address = coordinator.address();
    let job = done_job(address);
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| narrow(address)).collect();
    let before = frames_received(address);
    let ((), taken) = measure(|| {
        for time in 0..TIMES {
            peers.iter_mut().for_each(|peer| peer.send(Attach { job, rounds_seen: 0 }, 2 * time + 1));
        }
        let deadline = Instant::now() + PATIENCE;
        while frames_received(address) < before + u64::from(TIMES) * PEERS as u64 {
            assert!(Instant::now() < deadline, "the coordinator no longer reads: it has too much to say");
        }
        // Whoever reads is told all of it meanwhile, as often as the others have asked: behind that each of them has had his turns, for
        // more than the system holds.
        let mut reading = Peer::greeted(address, Role::Client);
        for time in 0..TIMES {
            reading.send(Attach { job, rounds_seen: 0 }, 2 * time + 1);
            let mut told = 0;
            while let Some(round) = next_round(&mut reading) {
                told += 1;
                assert_eq!(round, told);
            }
            assert_eq!(told, ROUNDS);
        }
    });
    let (held, max) = (taken.bytes_most, BYTES_A_PEER_MAX * (PEERS as u64 + 1));
    println!("{} KiB held, at most {}", held >> 10, max >> 10);
    assert!(held <= max, "{held} bytes held of histories that nobody reads, at most {max}");
    drop(peers);
}

/// The next round that is told; None at the job's end.
fn next_round(peer: &mut Peer) -> Option<u32> {
    loop {
        match peer.receive().message() {
            Message::Round(round) => return Some(round.round),
            Message::Done(_) => return None,
            Message::Accepted(_) | Message::Notice(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

//! What it costs a coordinator and a node to refuse: whatever a peer announces, no more memory is taken before the refusal
//! than for the longest frame that the peer has sent, and 256 KiB. Both run in this process through the library, so that
//! its allocator sees them; so does the peer, whose own small buffers are counted with them. Stacks are not: connecting
//! starts the threads, before anything is announced.
#![cfg(feature = "client")]

mod common;

use std::borrow::Cow;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, MutexGuard};

use common::counting::{Counting, measure};
use common::peer::Peer;
use common::smallest::{await_fetch, piece, rows, smallest_job, train, training};
use gradwire::compute::{self, Node};
use gradwire::config::NodeAddress;
use gradwire::coordinator::{self, Coordinator};
use gradwire::digest::Digest;
use gradwire::engine::Policy;
use gradwire::job::{ROWS_MAX, RowsRef, TaskResult};
use gradwire::model::ARITHMETIC;
use gradwire::model::conformance::published;
use gradwire::wire::header::{Flags, Header};
use gradwire::wire::message::{Features, Fetch, Have, Held, Holding, PIECE_BYTES_MAX, Piece, Submit, Train, Trained};
use gradwire::wire::object::{self, ObjectKind};
use gradwire::wire::{ErrorCode, HEADER_BYTES, Message, MessageType, Role};

#[global_allocator]
static COUNTING: Counting = Counting;

/// What may be taken beside the longest frame that the peer has sent.
const BESIDE_BYTES: u64 = 256 << 10;
/// The size that is announced and never sent.
const ANNOUNCED_BYTES: u64 = 4 << 30;
/// Pieces without a byte.
const EMPTY_PIECES: u32 = 65_535;

/// The counters are the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A node, a coordinator without one, and the right to measure.
struct Servers {
    node: Node,
    coordinator: Coordinator,
    _alone: MutexGuard<'static, ()>,
}

fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn coordinator_of(nodes: Vec<NodeAddress>) -> Coordinator {
    Coordinator::start(&coordinator::Settings::new(free(), Policy::LoadBalancing, nodes)).unwrap()
}

impl Servers {
    fn start() -> Servers {
        let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let node = Node::start(&compute::Settings::new(free())).unwrap();
        Servers { node, coordinator: coordinator_of(Vec::new()), _alone: alone }
    }

    fn to_the_node(&self) -> Peer {
        Peer::greeted(self.node.address(), Role::Coordinator)
    }

    fn to_the_coordinator(&self) -> Peer {
        Peer::greeted(self.coordinator.address(), Role::Client)
    }
}

/// Asserts that no more is taken while `act` leads to a refusal than for a frame of so many bytes, and a little.
fn takes_no_more_than<T>(frame_bytes: usize, act: impl FnOnce() -> T) -> T {
    let (done, taken) = measure(act);
    let (taken, allowed) = (taken.bytes_most, frame_bytes as u64 + BESIDE_BYTES);
    println!("{taken} bytes taken for a frame of {frame_bytes}");
    assert!(taken <= allowed, "{taken} bytes taken, and {allowed} allowed");
    done
}

fn sealed<'a>(message: impl Into<Message<'a>>, request: u32) -> Vec<u8> {
    message.into().seal(request, false).to_bytes()
}

/// A piece of an object that is said to be larger than any.
fn of_four_gibibytes(digest: Digest, bytes: &[u8]) -> Piece<'_> {
    Piece { digest, object_bytes: ANNOUNCED_BYTES, offset: 0, bytes: Cow::Borrowed(bytes) }
}

/// Frames of this type on which a piece without a byte travels, as many as are wanted.
fn empty_pieces(kind: MessageType, digest: Digest, request: impl Fn(u32) -> u32) -> Vec<Vec<u8>> {
    let piece = Piece { digest, object_bytes: 1000, offset: 0, bytes: Cow::Borrowed(&[]) };
    let message = if kind == MessageType::Put { Message::Put(piece) } else { Message::Data(piece) };
    (0..EMPTY_PIECES).map(|index| message.seal(request(index), false).head).collect()
}

#[test]
fn a_payload_of_four_gibibytes_is_refused_for_the_price_of_its_header() {
    let servers = Servers::start();
    let announced = Header {
        version: 1,
        kind: MessageType::Have as u8,
        flags: Flags::NONE,
        request: 1,
        payload_bytes: u32::MAX,
        payload_crc: 0,
    };
    let refused = |mut peer: Peer| {
        takes_no_more_than(HEADER_BYTES, || {
            peer.send_bytes(&announced.encode());
            assert_eq!(peer.expect_end(ErrorCode::FrameTooLarge).got, u64::from(u32::MAX));
        });
    };
    refused(Peer::dial(servers.node.address()));
    refused(Peer::dial(servers.coordinator.address()));
    refused(servers.to_the_node());
    refused(servers.to_the_coordinator());
}

#[test]
fn an_object_of_four_gibibytes_is_refused_at_the_first_piece_that_is_put() {
    let servers = Servers::start();
    let bytes = vec![7; PIECE_BYTES_MAX];
    for bytes in [&bytes[..1], &bytes] {
        let frame = sealed(Message::Put(of_four_gibibytes(Digest([1; 32]), bytes)), 1);
        let mut peer = servers.to_the_node();
        let error = takes_no_more_than(frame.len(), || {
            peer.send_bytes(&frame);
            peer.expect_error(1, ErrorCode::ObjectTooLarge)
        });
        assert_eq!(error.got, ANNOUNCED_BYTES);
    }
}

#[test]
fn an_object_of_four_gibibytes_is_refused_at_the_first_piece_that_is_fetched() {
    let servers = Servers::start();
    let mut peer = servers.to_the_node();
    peer.send(train(), 1);
    let (request, fetch) = await_fetch(&mut peer);
    let bytes = vec![7; fetch.bytes_max as usize];
    let frame = sealed(Message::Data(of_four_gibibytes(fetch.digest, &bytes)), request);
    await_fetch(&mut peer);
    takes_no_more_than(frame.len(), || {
        peer.send_bytes(&frame);
        peer.expect_error(1, ErrorCode::ObjectTooLarge)
    });

    let mut peer = servers.to_the_coordinator();
    let (job, specification) = smallest_job();
    peer.send(Submit { job, rounds_seen: 0, specification }, 1);
    let (request, fetch) = await_fetch(&mut peer);
    let frame = sealed(Message::Data(of_four_gibibytes(fetch.digest, &bytes)), request);
    let error = takes_no_more_than(frame.len(), || {
        peer.send_bytes(&frame);
        peer.expect_error(1, ErrorCode::JobData)
    });
    assert!(error.text.contains("at most 96 are allowed"), "{error}");
}

#[test]
fn a_job_whose_data_is_too_large_is_refused_by_its_specification() {
    let servers = Servers::start();
    let (job, mut specification) = smallest_job();
    specification.shards = vec![RowsRef { rows: ROWS_MAX, digest: Digest([3; 32]) }];
    let mut peer = servers.to_the_coordinator();
    let frame = sealed(Submit { job, rounds_seen: 0, specification }, 1);
    let error = takes_no_more_than(frame.len(), || {
        peer.send_bytes(&frame);
        peer.expect_error(1, ErrorCode::ObjectTooLarge)
    });
    assert!(error.got > ANNOUNCED_BYTES, "{error}");
}

/// A node that a coordinator has dialled, with a task of a client's on its hands.
fn node_with_a_task(listener: &TcpListener, client: &mut Peer) -> (Peer, u32, Train) {
    let mut node = Peer::new(listener.accept().unwrap().0);
    let (arithmetics, conformance) = (vec![ARITHMETIC], vec![(ARITHMETIC, published())]);
    assert!(node.welcome(Role::Node, Features { arithmetics, conformance, ..Features::default() }));
    let (job, specification) = smallest_job();
    client.send(Submit { job, rounds_seen: 0, specification }, 1);
    let rows = rows();
    let (request, fetch) = await_fetch(client);
    client.send(Message::Data(piece(fetch, &rows)), request);
    let (request, train) = await_train(&mut node);
    (node, request, train)
}

/// The next TRAIN that comes; pieces are taken in as they should be, and no result is here from before.
fn await_train(node: &mut Peer) -> (u32, Train) {
    loop {
        let frame = node.receive();
        let request = frame.header.request;
        match frame.message() {
            Message::Train(train) => return (request, train),
            Message::Put(piece) => node.send(Held { bytes: vec![piece.object_bytes] }, request),
            // The job may have been there before the coordinator has taken the node in.
            Message::Results(_) => node.send(Holding { results: Vec::new() }, request),
            other => panic!("TRAIN was due, not {other:?}"),
        }
    }
}

#[test]
fn an_update_of_four_gibibytes_is_not_waited_for() {
    let _servers = Servers::start();
    let listener = TcpListener::bind(free()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let coordinator = coordinator_of(vec![NodeAddress { host: "127.0.0.1".to_owned(), port }]);
    let mut client = Peer::greeted(coordinator.address(), Role::Client);
    let (mut node, request, train) = node_with_a_task(&listener, &mut client);
    let update = object::encode_parameters(ObjectKind::Update, &training().network, &[0.0; 6]);
    let (digest, update_bytes) = (Digest::of(&update), ANNOUNCED_BYTES);
    let result = TaskResult { epochs: 1, loss: 1.0, train_us: 1, update: digest, update_bytes };
    let offer = Trained { name: train.name, result, delayed_ms: 0, inline: Vec::new() };
    // It is a bad result: the task is sent again.
    let frame = sealed(offer.clone(), request);
    let (request, again) = takes_no_more_than(frame.len(), || {
        node.send_bytes(&frame);
        await_train(&mut node)
    });
    assert_eq!(again.name.attempt, 2);

    // Offered as it should be, and announced as what it cannot be when it is fetched: the job has nobody else to ask.
    let result = TaskResult { update_bytes: update.len() as u64, ..result };
    node.send(Trained { name: again.name, result, ..offer }, request);
    let (request, fetch) = await_fetch(&mut node);
    let bytes = vec![7; fetch.bytes_max as usize];
    let frame = sealed(Message::Data(of_four_gibibytes(fetch.digest, &bytes)), request);
    let error = takes_no_more_than(frame.len(), || {
        node.send_bytes(&frame);
        loop {
            match client.receive().message() {
                Message::Accepted(_) | Message::Notice(_) => {}
                Message::Error(error) => break error,
                other => panic!("the job's end was due, not {other:?}"),
            }
        }
    });
    assert_eq!(error.code, ErrorCode::TaskFailed, "{error}");
}

#[test]
fn pieces_without_a_byte_that_are_put_are_refused_one_by_one_and_leave_nothing_behind() {
    let servers = Servers::start();
    let digest = Digest([2; 32]);
    let frames = empty_pieces(MessageType::Put, digest, |index| 2 * index + 1);
    let mut peer = servers.to_the_node();
    takes_no_more_than(frames[0].len(), || {
        for (batch, frames) in frames.chunks(64).enumerate() {
            peer.send_bytes(&frames.concat());
            for index in 0..frames.len() {
                let request = 2 * (64 * batch + index) as u32 + 1;
                let error = peer.expect_error(request, ErrorCode::ObjectRange);
                assert_eq!((error.about, error.got, error.allowed), (MessageType::Put as u8, 0, 1000), "{error}");
            }
        }
    });
    peer.send(Have { digests: vec![digest] }, 2 * EMPTY_PIECES + 1);
    assert_eq!(peer.receive().message(), Held { bytes: vec![0] }.into());
}

#[test]
fn a_piece_without_a_byte_that_was_fetched_ends_the_connection() {
    let servers = Servers::start();
    let refused = |mut peer: Peer, request: u32, fetch: Fetch| {
        let frames = empty_pieces(MessageType::Data, fetch.digest, |_| request);
        let (frame_bytes, stream) = (frames[0].len(), frames.concat());
        takes_no_more_than(frame_bytes, || {
            peer.send_bytes(&stream);
            while let Some(frame) = peer.next() {
                if let Message::Error(error) = frame.message() {
                    assert_eq!((error.code, error.about), (ErrorCode::Malformed, MessageType::Data as u8), "{error}");
                    return peer.expect_hang_up();
                }
            }
            panic!("the connection closed without a word");
        });
    };
    let mut peer = servers.to_the_node();
    peer.send(train(), 1);
    let (request, fetch) = await_fetch(&mut peer);
    refused(peer, request, fetch);
    let mut peer = servers.to_the_coordinator();
    let (job, specification) = smallest_job();
    peer.send(Submit { job, rounds_seen: 0, specification }, 1);
    let (request, fetch) = await_fetch(&mut peer);
    refused(peer, request, fetch);
}

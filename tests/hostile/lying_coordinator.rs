//! Coordinators that lie to a node: pieces that do not fit, bytes that are not what their digest says. What they ask for
//! is refused, and the node goes on.

use std::borrow::Cow;

use gradwire::digest::Digest;
use gradwire::model::rows::RowParts;
use gradwire::model::{ARITHMETIC, BlockRange, Network, Targets, Training, network};
use gradwire::wire::message::{Error, Fetch, Hello, Piece, RowsSource, ShippedRange, Train};
use gradwire::wire::object::{self, ObjectKind};
use gradwire::wire::{Encoded, ErrorCode, Flags, Message, MessageType, Role, limits};

use crate::common::cluster::Cluster;
use crate::common::peer::{Peer, hello};
use crate::common::smallest::{await_fetch, base, owned, piece, rows, train, training};

/// PUT of a piece.
fn put(digest: Digest, object_bytes: u64, offset: u64, bytes: &[u8]) -> Message<'_> {
    Message::Put(Piece { digest, object_bytes, offset, bytes: Cow::Borrowed(bytes) })
}

/// Asserts that HELD of one object is answered.
fn expect_held(peer: &mut Peer, request: u32, bytes: u64) {
    let frame = peer.receive();
    let Message::Held(held) = frame.message() else { panic!("HELD was due, not {:?}", frame.message()) };
    assert_eq!((held.bytes, frame.header.request), (vec![bytes], request));
}

#[test]
fn a_piece_that_does_not_fit_is_refused_and_what_is_held_stays() {
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.node.address, Role::Coordinator);
    let (object, digest) = (rows(), Digest::of(&rows()));
    let size = object.len() as u64;
    let refused = |peer: &mut Peer, request, code, got, allowed| {
        let error = peer.expect_error(request, code);
        assert_eq!((error.about, error.got, error.allowed), (MessageType::Put as u8, got, allowed), "{error}");
    };
    peer.send(put(digest, size, 8, &object[8..]), 1);
    refused(&mut peer, 1, ErrorCode::ObjectRange, 8, 0);
    peer.send(put(digest, size, 0, &object[..8]), 3);
    expect_held(&mut peer, 3, 8);
    peer.send(put(digest, size, 0, &object), 5);
    refused(&mut peer, 5, ErrorCode::ObjectRange, 0, 8);
    peer.send(put(digest, size, 16, &object[16..]), 7);
    refused(&mut peer, 7, ErrorCode::ObjectRange, 16, 8);
    // Beyond its own size: refused by the message's layout.
    peer.send(put(digest, 9, 8, &object[8..]), 9);
    refused(&mut peer, 9, ErrorCode::ObjectRange, 8, 9);
    peer.send(put(digest, size, 8, &object[8..]), 11);
    expect_held(&mut peer, 11, size);
    // What is held whole is held, whatever is sent of it again.
    peer.send(put(digest, size, 0, &object), 13);
    expect_held(&mut peer, 13, size);
    peer.send(put(Digest([1; 32]), 1 << 40, 0, b"x"), 15);
    refused(&mut peer, 15, ErrorCode::ObjectTooLarge, 1 << 40, limits::OBJECT_BYTES_MAX);
    peer.send(Fetch { digest, offset: size, bytes_max: 1 }, 17);
    let error = peer.expect_error(17, ErrorCode::ObjectRange);
    assert_eq!((error.got, error.allowed), (size, size));
    peer.send(put(Digest([1; 32]), size, 0, b""), 19);
    refused(&mut peer, 19, ErrorCode::ObjectRange, 0, size);
    cluster.assert_is_well();
}

#[test]
fn a_peer_is_sent_no_longer_payload_than_it_takes() {
    let cluster = Cluster::new();
    let mut peer = Peer::dial(cluster.node.address);
    peer.send(Hello { payload_bytes_max: 1024, ..hello(Role::Coordinator) }, 0);
    assert!(matches!(peer.receive().message(), Message::Welcome(_)));
    // 300 parameters and more: an update that travels inside TRAINED elsewhere.
    let network = Network::new(2, &[60], 2).unwrap();
    let base = object::encode_parameters(ObjectKind::Weights, &network, &vec![0.0; network.parameters()]);
    let (digest, size) = (Digest::of(&base), base.len() as u64);
    peer.send(put(digest, size, 0, &base), 1);
    expect_held(&mut peer, 1, size);
    peer.send(put(Digest::of(&rows()), rows().len() as u64, 0, &rows()), 3);
    expect_held(&mut peer, 3, rows().len() as u64);
    peer.send(Fetch { digest, offset: 0, bytes_max: 1 << 20 }, 5);
    assert_eq!(peer.receive().header.payload_bytes, 1024);
    peer.send(Train { base: digest, training: Some(Training { network, ..training() }), ..train() }, 7);
    let frame = peer.receive();
    let Message::Trained(trained) = frame.message() else { panic!("{:?}", frame.message()) };
    assert!(trained.inline.is_empty(), "it is to be fetched");
    peer.send(Fetch { digest: trained.result.update, offset: 0, bytes_max: 1 << 20 }, 9);
    assert_eq!(peer.receive().header.payload_bytes, 1024);
    cluster.assert_is_well();
}

#[test]
fn a_coordinator_that_puts_other_bytes_than_their_digest_says_is_told_so() {
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.node.address, Role::Coordinator);
    let digest = Digest([0x77; 32]);
    for request in [1, 3] {
        peer.send(put(digest, 10, 0, b"0123456789"), request);
        let error = peer.expect_error(request, ErrorCode::ObjectHash);
        assert!(error.retry, "all bytes are dropped: it may begin again");
    }
    peer.send(Fetch { digest, offset: 0, bytes_max: 10 }, 5);
    peer.expect_error(5, ErrorCode::UnknownObject);
    cluster.assert_is_well();
}

/// Has a node train a task whose objects are served as `answer` says. Returns its refusal.
fn refusal_of(peer: &mut Peer, request: u32, train: Train, answer: impl Fn(Fetch) -> Message<'static>) -> Error {
    peer.send(train, request);
    loop {
        let frame = peer.receive();
        match frame.message() {
            Message::Fetch(fetch) => peer.send(answer(fetch), frame.header.request),
            Message::Error(error) => {
                assert_eq!(frame.header.request, request, "the task is refused, not the connection: {error}");
                return error;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_coordinator_that_serves_other_bytes_than_asked_for_gets_its_task_refused() {
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.node.address, Role::Coordinator);
    let honest = |fetch: Fetch| if fetch.digest == Digest::of(&base()) { base() } else { rows() };
    let swapped = |fetch: Fetch| if fetch.digest == Digest::of(&base()) { rows() } else { base() };
    let error = refusal_of(&mut peer, 1, train(), |fetch| owned(piece(fetch, &swapped(fetch))));
    assert_eq!(error.code, ErrorCode::ObjectHash, "{error}");
    let elsewhere = |fetch| owned(Piece { digest: Digest([1; 32]), ..piece(fetch, &honest(fetch)) });
    refusal_of(&mut peer, 3, train(), elsewhere);
    let huge = |fetch| owned(Piece { object_bytes: 1 << 40, ..piece(fetch, &honest(fetch)) });
    let error = refusal_of(&mut peer, 5, train(), huge);
    assert_eq!((error.code, error.retry), (ErrorCode::ObjectTooLarge, true), "{error}");
    assert_eq!((error.got, error.allowed), (1 << 40, limits::OBJECT_BYTES_MAX), "{error}");
    let unknown = |_| Error::new(ErrorCode::UnknownObject, MessageType::Fetch as u8, "gone").into();
    let error = refusal_of(&mut peer, 7, train(), unknown);
    assert_eq!((error.code, error.retry), (ErrorCode::UnknownObject, true), "{error}");
    // The right bytes of the wrong kind: the base where the shard should be.
    let mixed_up = Train { rows: RowsSource::Shipped(Digest::of(&base())), ..train() };
    let error = refusal_of(&mut peer, 9, mixed_up, |fetch| owned(piece(fetch, &base())));
    assert_eq!(error.code, ErrorCode::ObjectMalformed, "{error}");
    // An index of two inputs that says the fourth.
    let network = Network::new(3, &[], 2).unwrap().with_index_columns(&[[1, 2]]).unwrap();
    let targets = Targets::Labels { labels: vec![0, 1].into(), classes: 2 };
    let parts = RowParts { values: vec![0.5; 2].into(), indices: vec![2, 3].into(), targets };
    let shard = object::encode_row_parts(network.input_layout(), &parts);
    let base_of_three = object::encode_parameters(ObjectKind::Weights, &network, &[0.0; 8]);
    let beyond = Train {
        base: Digest::of(&base_of_three),
        rows: RowsSource::Shipped(Digest::of(&shard)),
        training: Some(Training { network, ..training() }),
        ..train()
    };
    let held = |fetch: Fetch| if fetch.digest == Digest::of(&shard) { shard.clone() } else { base_of_three.clone() };
    let error = refusal_of(&mut peer, 11, beyond, |fetch| owned(piece(fetch, &held(fetch))));
    assert_eq!((error.code, error.retry), (ErrorCode::ObjectMalformed, false), "{error}");
    assert!(error.text.contains("shard: row 1, index column 0 (from 0) has index 3"), "{error}");
    let foreign = Train { training: Some(Training { arithmetic: 1, ..training() }), ..train() };
    let error = refusal_of(&mut peer, 13, foreign, unknown);
    assert_eq!((error.code, error.got, error.allowed), (ErrorCode::Arithmetic, 1, ARITHMETIC.into()), "{error}");
    let resident = Train { rows: RowsSource::Resident("attic".to_owned()), ..train() };
    let error = refusal_of(&mut peer, 15, resident, unknown);
    assert_eq!((error.code, error.retry), (ErrorCode::UnknownObject, false), "no later try finds it here: {error}");
    cluster.assert_is_well();
}

#[test]
fn an_object_of_two_sizes_is_refused_alike_whether_it_is_put_or_fetched() {
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.node.address, Role::Coordinator);
    let (object, digest) = (rows(), Digest::of(&rows()));
    let size = object.len() as u64;
    peer.send(put(digest, size, 0, &object[..20]), 1);
    expect_held(&mut peer, 1, 20);
    peer.send(put(digest, size - 6, 20, &object[20..object.len() - 6]), 3);
    assert!(peer.expect_error(3, ErrorCode::ObjectHash).retry);

    let honest = |fetch: Fetch| if fetch.digest == digest { rows() } else { base() };
    // Another size than before, while there is more to come.
    let two_sizes = |fetch: Fetch| {
        let object = honest(fetch);
        let first = owned(piece(Fetch { bytes_max: 20, ..fetch }, &object));
        if fetch.digest == digest && fetch.offset > 0 {
            owned(piece(fetch, &object[..object.len() - 6]))
        } else {
            first
        }
    };
    let error = refusal_of(&mut peer, 5, train(), two_sizes);
    assert_eq!((error.code, error.retry), (ErrorCode::ObjectHash, true), "{error}");
    // The size that was told is more than there is.
    let too_large = |fetch: Fetch| {
        let object = honest(fetch);
        let size = object.len() as u64;
        if fetch.offset < size {
            return owned(Piece { object_bytes: size + 100, ..piece(fetch, &object) });
        }
        let error = Error::new(ErrorCode::ObjectRange, MessageType::Fetch as u8, "it has no such byte");
        error.with_numbers(fetch.offset, size).into()
    };
    let error = refusal_of(&mut peer, 7, train(), too_large);
    assert_eq!((error.code, error.retry), (ErrorCode::ObjectHash, true), "{error}");
    cluster.assert_is_well();
}

#[test]
fn what_a_lying_coordinator_has_left_half_sent_does_no_harm_to_the_next() {
    let cluster = Cluster::new();
    let mut liar = Peer::greeted(cluster.node.address, Role::Coordinator);
    liar.send(train(), 1);
    // Both objects, the wrong bytes of each, and more of them than there are.
    for _ in 0..2 {
        let (request, fetch) = await_fetch(&mut liar);
        liar.send(Message::Data(Piece { bytes: Cow::Borrowed(&[0xEE; 500]), ..piece(fetch, &[0; 1000]) }), request);
    }
    drop(liar);
    // The cluster's own coordinator stays.
    cluster.node.await_in_status("coordinators  1");
    let mut honest = Peer::greeted(cluster.node.address, Role::Coordinator);
    honest.send(train(), 1);
    loop {
        let frame = honest.receive();
        match frame.message() {
            Message::Fetch(fetch) => {
                let object = if fetch.digest == Digest::of(&base()) { base() } else { rows() };
                if fetch.offset < object.len() as u64 {
                    honest.send(Message::Data(piece(fetch, &object)), frame.header.request);
                } else {
                    let error = Error::new(ErrorCode::ObjectRange, MessageType::Fetch as u8, "it has no such byte");
                    honest.send(error, frame.header.request);
                }
            }
            Message::Trained(trained) => break assert_eq!(trained.name.token, train().name.token),
            other => panic!("{other:?}"),
        }
    }
    cluster.assert_is_well();
}

#[test]
fn a_task_outside_its_limits_is_refused_and_not_the_connection() {
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.node.address, Role::Coordinator);
    let mut payload = Message::from(train()).payload();
    let inputs = payload.windows(6).rposition(|bytes| bytes == [2, 0, 4, 0, 0, 0]).unwrap() + 6;
    payload[inputs..inputs + 4].fill(0xFF);
    peer.send_bytes(&Encoded::seal(MessageType::Train as u8, Flags::NONE, 1, &payload, None).to_bytes());
    let error = peer.expect_error(1, ErrorCode::Specification);
    assert_eq!((error.got, error.allowed), (u32::MAX.into(), network::INPUTS_MAX.into()), "{error}");
    peer.expect_pong(3);
    cluster.assert_is_well();
}

#[test]
fn a_task_without_a_specification_is_refused_where_none_of_its_job_came_and_not_the_connection() {
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.node.address, Role::Coordinator);
    let refused = |peer: &mut Peer, train: Train, request| {
        peer.send(train, request);
        let error = peer.expect_error(request, ErrorCode::Specification);
        let told = (error.about, error.retry, error.got, error.allowed);
        assert_eq!(told, (MessageType::Train as u8, false, 0, 1), "{error}");
    };
    let task = train();
    let unsaid = |train: &Train| Train { training: None, ..train.clone() };
    refused(&mut peer, unsaid(&task), 1);
    // What is understood is remembered, though the task comes to nothing.
    peer.send(Train { rows: RowsSource::Resident("attic".to_owned()), ..task.clone() }, 3);
    peer.expect_error(3, ErrorCode::UnknownObject);
    let other = train();
    assert_ne!(other.name.task.job, task.name.task.job);
    refused(&mut peer, unsaid(&other), 5);
    // What is refused is not, and takes nothing away.
    let mut payload = Message::from(other.clone()).payload();
    let inputs = payload.windows(6).rposition(|bytes| bytes == [2, 0, 4, 0, 0, 0]).unwrap() + 6;
    payload[inputs..inputs + 4].fill(0xFF);
    peer.send_bytes(&Encoded::seal(MessageType::Train as u8, Flags::NONE, 7, &payload, None).to_bytes());
    peer.expect_error(7, ErrorCode::Specification);
    refused(&mut peer, unsaid(&other), 9);
    for (request, object) in [(11, base()), (13, rows())] {
        peer.send(put(Digest::of(&object), object.len() as u64, 0, &object), request);
        expect_held(&mut peer, request, object.len() as u64);
    }
    peer.send(unsaid(&task), 15);
    let frame = peer.receive();
    assert!(matches!(frame.message(), Message::Trained(trained) if trained.name == task.name), "{:?}", frame.message());
    // One is remembered: that of the other job takes its place, whatever becomes of its task.
    peer.send(Train { training: Some(Training { arithmetic: 1, ..training() }), ..other.clone() }, 17);
    peer.expect_error(17, ErrorCode::Arithmetic);
    refused(&mut peer, unsaid(&task), 19);
    peer.send(unsaid(&other), 21);
    peer.expect_error(21, ErrorCode::Arithmetic);
    // Nothing of it is left for another connection.
    let mut next = Peer::greeted(cluster.node.address, Role::Coordinator);
    refused(&mut next, unsaid(&other), 1);
    cluster.assert_is_well();
}

#[test]
fn blocks_of_a_remembered_specification_that_has_none_end_the_connection() {
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.node.address, Role::Coordinator);
    let task = Train { rows: RowsSource::Resident("attic".to_owned()), ..train() };
    peer.send(task.clone(), 1);
    peer.expect_error(1, ErrorCode::UnknownObject);
    let range = ShippedRange { blocks: BlockRange { shard: 0, first: 0, count: 1 }, shard: Digest::of(&rows()) };
    let rows = RowsSource::Blocks { epoch: 0, ranges: vec![range] };
    peer.send(Train { rows, training: None, ..task }, 3);
    let error = peer.expect_end(ErrorCode::Malformed);
    assert_eq!(error.about, MessageType::Train as u8, "{error}");
    cluster.assert_is_well();
}

//! Bytes that are not what their digest says, or not what the specification says: from a client to the coordinator, and
//! from a coordinator to a node. Whoever sends them is refused, and the program goes on.

use std::borrow::Cow;
use std::collections::HashMap;
use std::num::NonZeroU32;

use gradwire::digest::Digest;
use gradwire::job::{JobId, Operation, RowsRef, Specification, TaskId, Training};
use gradwire::model::{ARITHMETIC, BatchSize, Network, Recipe};
use gradwire::net::random_u128;
use gradwire::wire::message::{Error, Fetch, Piece, ShardSource, Submit, TaskName, Train};
use gradwire::wire::object::{self, ObjectKind};
use gradwire::wire::{Encoded, ErrorCode, Flags, Message, MessageType, Role, limits};

use crate::peer::Peer;
use crate::programs::House;

fn training() -> Training {
    let recipe =
        Recipe { epochs: 1, batch: NonZeroU32::new(2).map_or(BatchSize::Full, BatchSize::Rows), ..Recipe::DEFAULT };
    Training { arithmetic: ARITHMETIC, network: Network::new(2, &[], 2).unwrap(), recipe, seed: 1 }
}

/// Four rows of two features and two classes.
fn rows() -> Vec<u8> {
    object::encode_rows(2, &[0.0, 1.0, 1.0, 0.0, 0.5, 1.0, 1.0, 0.5], &[0, 1, 0, 1])
}

/// The weights to start from.
pub fn base() -> Vec<u8> {
    object::encode_parameters(ObjectKind::Weights, &training().network, &[0.0; 6])
}

/// A job of one shard, which validates with the rows that it trains on.
pub fn smallest_job() -> (JobId, Specification) {
    job_of(Digest::of(&rows()))
}

fn job_of(rows: Digest) -> (JobId, Specification) {
    let rows = RowsRef { rows: 4, digest: rows };
    let specification = Specification {
        training: training(),
        rounds: 1,
        shards: vec![rows],
        validation: rows,
        initial: None,
        operation: Operation::default(),
    };
    (JobId(random_u128()), specification)
}

/// A task of that job.
pub fn train() -> Train {
    let task = TaskId { job: JobId(random_u128()), step: 0, shard: 0 };
    Train {
        name: TaskName { task, attempt: 1, token: 5 },
        may_reject: false,
        base: Digest::of(&base()),
        shard: ShardSource::Shipped(Digest::of(&rows())),
        training: training(),
    }
}

/// The piece of `bytes` that was asked for, whoever's they are.
fn piece(fetch: Fetch, bytes: &[u8]) -> Piece<'_> {
    let start = (fetch.offset as usize).min(bytes.len() - 1);
    let end = bytes.len().min(start + fetch.bytes_max as usize);
    let bytes_here = Cow::Borrowed(&bytes[start..end]);
    Piece { digest: fetch.digest, object_bytes: bytes.len() as u64, offset: start as u64, bytes: bytes_here }
}

/// Submits a job as a client that answers every FETCH with what `answer` makes of it. Returns how the job ended.
fn submit(peer: &mut Peer, job: (JobId, Specification), answer: impl Fn(Fetch) -> Message<'static>) -> Error {
    peer.send(Submit { job: job.0, specification: job.1 }, 1);
    loop {
        let frame = peer.receive();
        match frame.message() {
            Message::Fetch(fetch) => peer.send(answer(fetch), frame.header.request),
            Message::Accepted(_) | Message::Notice(_) => {}
            Message::Error(error) => {
                assert_eq!(frame.header.request, 1, "the job is refused, not the connection: {error}");
                return error;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn owned(piece: Piece<'_>) -> Message<'static> {
    Message::Data(Piece { bytes: Cow::Owned(piece.bytes.into_owned()), ..piece })
}

#[test]
fn a_client_whose_data_is_not_what_its_digest_says_is_told_so_and_the_coordinator_goes_on() {
    let house = House::new();
    let mut lies: HashMap<&str, Box<dyn Fn(Fetch) -> Message<'static>>> = HashMap::new();
    let other_bytes = || {
        let mut bytes = rows();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    lies.insert("digest", Box::new(move |fetch| owned(piece(fetch, &other_bytes()))));
    lies.insert("another piece", Box::new(|fetch| owned(Piece { digest: Digest([1; 32]), ..piece(fetch, &rows()) })));
    lies.insert(
        "another piece ",
        Box::new(|fetch| {
            let rows = rows();
            let whole = piece(fetch, &rows);
            owned(Piece { offset: 8, bytes: Cow::Borrowed(&whole.bytes[8..]), ..whole })
        }),
    );
    lies.insert("too large", Box::new(|fetch| owned(Piece { object_bytes: 1 << 40, ..piece(fetch, &rows()) })));
    lies.insert(
        "is not held",
        Box::new(|_| Error::new(ErrorCode::UnknownObject, MessageType::Fetch as u8, "is not held").into()),
    );
    for (words, lie) in lies {
        let mut peer = Peer::greeted(house.coordinator.address, Role::Client);
        let error = submit(&mut peer, smallest_job(), lie);
        assert_eq!(error.code, ErrorCode::JobData, "{error}");
        assert!(error.text.contains(words.trim()), "{words}: {error}");
        peer.expect_pong(3);
    }
    house.assert_is_well();
}

#[test]
fn a_client_whose_data_is_not_what_the_specification_says_is_told_so() {
    let house = House::new();
    let cases = [
        ("f32[4, 3]", object::encode_rows(3, &[0.5; 12], &[0, 1, 0, 1])),
        ("label 2", object::encode_rows(2, &[0.5; 8], &[0, 1, 2, 1])),
        ("3 rows", object::encode_rows(2, &[0.5; 6], &[0, 1, 0])),
        ("kind 1", base()),
        ("finite", object::encode_rows(2, &[f32::NAN; 8], &[0, 1, 0, 1])),
    ];
    for (words, bytes) in cases {
        let mut peer = Peer::greeted(house.coordinator.address, Role::Client);
        let answered = bytes.clone();
        let error = submit(&mut peer, job_of(Digest::of(&bytes)), move |fetch| owned(piece(fetch, &answered)));
        assert_eq!(error.code, ErrorCode::JobData, "{error}");
        assert!(error.text.contains(words) || error.text.contains("too large"), "{words}: {error}");
        peer.expect_pong(3);
    }
    house.assert_is_well();
}

#[test]
fn a_client_that_leaves_before_its_data_is_there_harms_nobody() {
    let house = House::new();
    for _ in 0..20 {
        let mut peer = Peer::greeted(house.coordinator.address, Role::Client);
        let (job, specification) = smallest_job();
        peer.send(Submit { job, specification }, 1);
        let frame = peer.receive();
        assert!(matches!(frame.message(), Message::Accepted(_) | Message::Fetch(_)), "{:?}", frame.message());
    }
    house.assert_is_well();
}

#[test]
fn a_specification_outside_its_limits_refuses_the_job_and_not_the_connection() {
    let house = House::new();
    let mut peer = Peer::greeted(house.coordinator.address, Role::Client);
    let (job, specification) = smallest_job();
    let payload = Message::from(Submit { job, specification }).payload();
    // Behind the job's id and the length: field 0x0002, inputs, four bytes.
    let inputs = 16 + 4 + 2 + 4;
    assert_eq!(payload[inputs - 6..inputs], [2, 0, 4, 0, 0, 0]);
    let mut no_inputs = payload.clone();
    no_inputs[inputs..inputs + 4].fill(0);
    let mut submit = |payload: &[u8], request| {
        peer.send_bytes(&Encoded::seal(MessageType::Submit as u8, Flags::NONE, request, payload, None).to_bytes());
    };
    submit(&no_inputs, 1);
    let mut unknown_field = payload;
    let fields = u32::from_le_bytes(unknown_field[16..20].try_into().unwrap()) + 6;
    unknown_field[16..20].copy_from_slice(&fields.to_le_bytes());
    unknown_field.extend([0xFF, 0x40, 0, 0, 0, 0]);
    submit(&unknown_field, 3);
    peer.expect_error(1, ErrorCode::Specification);
    assert_eq!(peer.expect_error(3, ErrorCode::UnknownField).got, 0x40FF);
    peer.expect_pong(5);
    house.assert_is_well();
}

/// Answers FETCHes rightly, in pieces of at most so many bytes, until the job is done.
fn serve_until_done(peer: &mut Peer, object: &[u8], piece_bytes: u32) {
    loop {
        let frame = peer.receive();
        match frame.message() {
            Message::Fetch(fetch) => {
                let bytes_max = fetch.bytes_max.min(piece_bytes);
                peer.send(owned(piece(Fetch { bytes_max, ..fetch }, object)), frame.header.request);
            }
            Message::Done(_) => return,
            Message::Accepted(_) | Message::Notice(_) | Message::Round(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The next FETCH that comes.
fn await_fetch(peer: &mut Peer) -> (u32, Fetch) {
    loop {
        let frame = peer.receive();
        match frame.message() {
            Message::Fetch(fetch) => return (frame.header.request, fetch),
            Message::Accepted(_) => {}
            other => panic!("FETCH was due, not {other:?}"),
        }
    }
}

#[test]
fn pieces_may_be_shorter_than_asked_for() {
    let house = House::new();
    let count = 60_000;
    let values: Vec<f32> = (0..2 * count).map(|index| (index % 7) as f32).collect();
    let labels: Vec<u32> = (0..count).map(|index| index % 2).collect();
    let object = object::encode_rows(2, &values, &labels);
    let (job, mut specification) = job_of(Digest::of(&object));
    specification.shards[0].rows = count;
    specification.validation.rows = count;
    let mut peer = Peer::greeted(house.coordinator.address, Role::Client);
    peer.send(Submit { job, specification }, 1);
    serve_until_done(&mut peer, &object, 50_000);
    house.assert_is_well();
}

#[test]
fn what_a_liar_has_left_half_sent_does_no_harm_to_the_next() {
    let house = House::new();
    let mut liar = Peer::greeted(house.coordinator.address, Role::Client);
    let (job, specification) = smallest_job();
    liar.send(Submit { job, specification }, 1);
    let (request, fetch) = await_fetch(&mut liar);
    let rows = rows();
    liar.send(Message::Data(Piece { bytes: Cow::Borrowed(&[0xEE; 20]), ..piece(fetch, &rows) }), request);
    assert_eq!(await_fetch(&mut liar).1.offset, 20, "what has come is believed so far");
    drop(liar);
    house.coordinator.await_status("clients           0");
    let mut honest = Peer::greeted(house.coordinator.address, Role::Client);
    let (job, specification) = smallest_job();
    honest.send(Submit { job, specification }, 1);
    let (request, fetch) = await_fetch(&mut honest);
    assert_eq!(fetch.offset, 20, "it goes on from there");
    honest.send(Message::Data(piece(fetch, &rows)), request);
    serve_until_done(&mut honest, &rows, u32::MAX);
    house.assert_is_well();
}

#[test]
fn a_liar_harms_nobody_whose_job_has_the_same_data() {
    let house = House::new();
    let mut honest = Peer::greeted(house.coordinator.address, Role::Client);
    let (job, specification) = smallest_job();
    honest.send(Submit { job, specification: specification.clone() }, 1);
    let (request, fetch) = await_fetch(&mut honest);
    let lie = |fetch| owned(Piece { digest: Digest([1; 32]), ..piece(fetch, &rows()) });
    let mut liar = Peer::greeted(house.coordinator.address, Role::Client);
    assert_eq!(submit(&mut liar, smallest_job(), lie).code, ErrorCode::JobData);
    // Not even where it watches the very same job, and is asked for its data.
    let mut liar = Peer::greeted(house.coordinator.address, Role::Client);
    liar.send(Submit { job, specification }, 1);
    let (lied, asked) = await_fetch(&mut liar);
    liar.send(lie(asked), lied);
    liar.expect_pong(3);
    let rows = rows();
    honest.send(Message::Data(piece(fetch, &rows)), request);
    serve_until_done(&mut honest, &rows, u32::MAX);
    house.assert_is_well();
}

#[test]
fn a_client_that_is_asked_for_data_and_sends_none_loses_its_job() {
    let house = House::new();
    let mut peer = Peer::greeted(house.coordinator.address, Role::Client);
    let (job, specification) = smallest_job();
    peer.send(Submit { job, specification }, 1);
    await_fetch(&mut peer);
    // Nobody waits for another's data meanwhile.
    house.assert_is_well();
    let error = loop {
        match peer.receive().message() {
            Message::Notice(_) => {}
            Message::Error(error) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(error.code, ErrorCode::JobData);
    assert!(error.text.contains("sends nothing"), "{error}");
    peer.expect_pong(3);
}

#[test]
fn a_shard_counts_as_many_rows_as_it_has() {
    let house = House::new();
    let mut peer = Peer::greeted(house.coordinator.address, Role::Client);
    let (job, mut specification) = smallest_job();
    // The same object twice, and the second time it is said to weigh more.
    specification.shards.push(RowsRef { rows: 1000, ..specification.shards[0] });
    let error = submit(&mut peer, (job, specification), |fetch| owned(piece(fetch, &rows())));
    assert_eq!(error.code, ErrorCode::JobData);
    assert!(error.text.contains("shard 1 has 4 rows") && error.text.contains("says 1000"), "{error}");
    house.assert_is_well();
}

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
    let house = House::new();
    let mut peer = Peer::greeted(house.node.address, Role::Coordinator);
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
    peer.send(put(digest, size, 0, &object), 13);
    refused(&mut peer, 13, ErrorCode::ObjectRange, 0, size);
    peer.send(put(Digest([1; 32]), 1 << 40, 0, b"x"), 15);
    refused(&mut peer, 15, ErrorCode::ObjectTooLarge, 1 << 40, limits::OBJECT_BYTES_MAX);
    peer.send(Fetch { digest, offset: size, bytes_max: 1 }, 17);
    let error = peer.expect_error(17, ErrorCode::ObjectRange);
    assert_eq!((error.got, error.allowed), (size, size));
    house.assert_is_well();
}

#[test]
fn a_coordinator_that_puts_other_bytes_than_their_digest_says_is_told_so() {
    let house = House::new();
    let mut peer = Peer::greeted(house.node.address, Role::Coordinator);
    let digest = Digest([0x77; 32]);
    for request in [1, 3] {
        peer.send(put(digest, 10, 0, b"0123456789"), request);
        let error = peer.expect_error(request, ErrorCode::ObjectHash);
        assert!(error.retry, "all bytes are dropped: it may begin again");
    }
    peer.send(Fetch { digest, offset: 0, bytes_max: 10 }, 5);
    peer.expect_error(5, ErrorCode::UnknownObject);
    house.assert_is_well();
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
    let house = House::new();
    let mut peer = Peer::greeted(house.node.address, Role::Coordinator);
    let honest = |fetch: Fetch| if fetch.digest == Digest::of(&base()) { base() } else { rows() };
    let swapped = |fetch: Fetch| if fetch.digest == Digest::of(&base()) { rows() } else { base() };
    let error = refusal_of(&mut peer, 1, train(), |fetch| owned(piece(fetch, &swapped(fetch))));
    assert_eq!(error.code, ErrorCode::ObjectHash, "{error}");
    let elsewhere = |fetch| owned(Piece { digest: Digest([1; 32]), ..piece(fetch, &honest(fetch)) });
    refusal_of(&mut peer, 3, train(), elsewhere);
    let huge = |fetch| owned(Piece { object_bytes: 1 << 40, ..piece(fetch, &honest(fetch)) });
    assert_eq!(refusal_of(&mut peer, 5, train(), huge).code, ErrorCode::ObjectTooLarge);
    let unknown = |_| Error::new(ErrorCode::UnknownObject, MessageType::Fetch as u8, "gone").into();
    assert_eq!(refusal_of(&mut peer, 7, train(), unknown).code, ErrorCode::UnknownObject);
    // The right bytes of the wrong kind: the base where the shard should be.
    let mixed_up = Train { shard: ShardSource::Shipped(Digest::of(&base())), ..train() };
    let error = refusal_of(&mut peer, 9, mixed_up, |fetch| owned(piece(fetch, &base())));
    assert_eq!(error.code, ErrorCode::ObjectMalformed, "{error}");
    let foreign = Train { training: Training { arithmetic: 2, ..training() }, ..train() };
    assert_eq!(refusal_of(&mut peer, 11, foreign, unknown).code, ErrorCode::Arithmetic);
    let resident = Train { shard: ShardSource::Resident("attic".to_owned()), ..train() };
    assert_eq!(refusal_of(&mut peer, 13, resident, unknown).code, ErrorCode::UnknownObject);
    house.assert_is_well();
}

#[test]
fn what_a_lying_coordinator_has_left_half_sent_does_no_harm_to_the_next() {
    let house = House::new();
    let mut liar = Peer::greeted(house.node.address, Role::Coordinator);
    liar.send(train(), 1);
    // Both objects, the wrong bytes of each, and more of them than there are.
    for _ in 0..2 {
        let (request, fetch) = await_fetch(&mut liar);
        liar.send(Message::Data(Piece { bytes: Cow::Borrowed(&[0xEE; 500]), ..piece(fetch, &[0; 1000]) }), request);
    }
    drop(liar);
    // The house's own coordinator stays.
    house.node.await_status("coordinators  1");
    let mut honest = Peer::greeted(house.node.address, Role::Coordinator);
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
    house.assert_is_well();
}

#[test]
fn a_task_outside_its_limits_is_refused_and_not_the_connection() {
    let house = House::new();
    let mut peer = Peer::greeted(house.node.address, Role::Coordinator);
    let mut payload = Message::from(train()).payload();
    let inputs = payload.windows(6).rposition(|bytes| bytes == [2, 0, 4, 0, 0, 0]).unwrap() + 6;
    payload[inputs..inputs + 4].fill(0xFF);
    peer.send_bytes(&Encoded::seal(MessageType::Train as u8, Flags::NONE, 1, &payload, None).to_bytes());
    peer.expect_error(1, ErrorCode::Specification);
    peer.expect_pong(3);
    house.assert_is_well();
}

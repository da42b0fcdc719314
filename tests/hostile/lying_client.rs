//! Clients that lie to the coordinator about their data: bytes that are not what their digest says, or not what the
//! specification says, or never come. Their job ends with JOB_DATA, and nobody else's does.

use std::borrow::Cow;
use std::collections::BTreeMap;

use gradwire::digest::Digest;
use gradwire::job::{JobId, NOTES_BYTES_MAX, OnNoNodes, ROUNDS_MAX, ROWS_MAX, RowsRef, Specification};
use gradwire::model::rows::RowParts;
use gradwire::model::{Network, Targets, network, recipe};
use gradwire::wire::message::{Attach, Error, Fetch, Order, OrderVerb, Piece, Submit};
use gradwire::wire::object::{self, ObjectKind};
use gradwire::wire::{Encoded, ErrorCode, Flags, Message, MessageType, Role};

use crate::common::clients::client;
use crate::common::cluster::{Cluster, assert_does_an_honest_job};
use crate::common::peer::Peer;
use crate::common::servers::{Coordinator, Node};
use crate::common::smallest::{await_fetch, base, job_of, owned, piece, rows, smallest_job, training};
use crate::lying_node::{Lie, LyingNode};

/// Submits a job as a client that answers every FETCH with what `answer` makes of it. Returns how the job ended.
fn submit(peer: &mut Peer, job: (JobId, Specification), answer: impl Fn(Fetch) -> Message<'static>) -> Error {
    peer.send(Submit { job: job.0, rounds_seen: 0, specification: job.1 }, 1);
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

#[test]
fn a_client_whose_data_is_not_what_its_digest_says_is_told_so_and_the_coordinator_goes_on() {
    let cluster = Cluster::new();
    let other_bytes = || {
        let mut bytes = rows();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    let from_8_on = |fetch| {
        let rows = rows();
        let whole = piece(fetch, &rows);
        owned(Piece { offset: 8, bytes: Cow::Borrowed(&whole.bytes[8..]), ..whole })
    };
    let lies: [(&str, &dyn Fn(Fetch) -> Message<'static>); 4] = [
        ("digest", &|fetch| owned(piece(fetch, &other_bytes()))),
        ("another piece", &|fetch| owned(Piece { digest: Digest([1; 32]), ..piece(fetch, &rows()) })),
        ("another piece", &from_8_on),
        ("is not held", &|_| Error::new(ErrorCode::UnknownObject, MessageType::Fetch as u8, "is not held").into()),
    ];
    for (words, lie) in lies {
        let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
        let error = submit(&mut peer, smallest_job(), lie);
        assert_eq!(error.code, ErrorCode::JobData, "{error}");
        assert!(error.text.contains(words), "{words}: {error}");
        assert!(error.retry && error.text.ends_with("submit it again"), "{error}");
        peer.expect_pong(3);
    }
    cluster.assert_is_well();
}

#[test]
fn a_client_whose_data_is_not_what_the_specification_says_is_told_so() {
    let cluster = Cluster::new();
    let cases = [
        // Longer than the specification's shape: known before all of it has come.
        ("at most", object::encode_rows(3, &[0.5; 12], &[0, 1, 0, 1])),
        ("label 2", object::encode_rows(2, &[0.5; 8], &[0, 1, 2, 1])),
        ("3 rows", object::encode_rows(2, &[0.5; 6], &[0, 1, 0])),
        ("kind 1", base()),
        ("finite", object::encode_rows(2, &[f32::NAN; 8], &[0, 1, 0, 1])),
    ];
    for (words, bytes) in cases {
        let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
        let answered = bytes.clone();
        let error = submit(&mut peer, job_of(Digest::of(&bytes)), move |fetch| owned(piece(fetch, &answered)));
        assert_eq!(error.code, ErrorCode::JobData, "{error}");
        assert!(error.text.contains(words), "{words}: {error}");
        assert!(!error.retry && error.text.starts_with("the job's data is not what"), "{error}");
        peer.expect_pong(3);
    }
    cluster.assert_is_well();
}

#[test]
fn a_client_whose_indices_stand_for_nothing_is_told_which() {
    let cluster = Cluster::new();
    let network = Network::new(4, &[], 2).unwrap().with_index_columns(&[[1, 2]]).unwrap();
    let rows = |indices: [u8; 4]| {
        let targets = Targets::Labels { labels: vec![0, 1, 0, 1].into(), classes: 2 };
        let parts = RowParts { values: vec![0.5; 8].into(), indices: indices.to_vec().into(), targets };
        object::encode_row_parts(network.input_layout(), &parts)
    };
    let cases = [
        ("row 2, index column 0 (from 0) has index 3, and stands for 2", rows([0, 2, 3, 1])),
        ("f32[4, 2] u32[4] u8[4, 1] was wanted", object::encode_rows(2, &[0.5; 8], &[0, 1, 0, 1])),
    ];
    for (words, bytes) in cases {
        let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
        let (job, mut specification) = job_of(Digest::of(&bytes));
        specification.training.network = network.clone();
        let error = submit(&mut peer, (job, specification), |fetch| owned(piece(fetch, &bytes)));
        assert_eq!((error.code, error.retry), (ErrorCode::JobData, false), "{error}");
        assert!(error.text.contains(words), "{words}: {error}");
        peer.expect_pong(3);
    }
    cluster.assert_is_well();
}

#[test]
fn a_client_whose_weights_to_start_from_are_none_is_told_so() {
    let cluster = Cluster::new();
    let (network, other) = (training().network, Network::new(1, &[], 3).unwrap());
    assert_eq!(network.parameters(), other.parameters());
    let cases = [
        ("kind 3", object::encode_parameters(ObjectKind::Update, &network, &[0.0; 6])),
        ("f32[1, 3]", object::encode_parameters(ObjectKind::Weights, &other, &[0.0; 6])),
        ("finite", object::encode_parameters(ObjectKind::Weights, &network, &[f32::NAN; 6])),
        ("finite", object::encode_parameters(ObjectKind::Weights, &network, &[f32::NEG_INFINITY; 6])),
    ];
    for (words, weights) in cases {
        let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
        let (job, specification) = smallest_job();
        let initial = Digest::of(&weights);
        let specification = Specification { initial: Some(initial), ..specification };
        let held = |fetch: Fetch| if fetch.digest == initial { weights.clone() } else { rows() };
        let error = submit(&mut peer, (job, specification), |fetch| owned(piece(fetch, &held(fetch))));
        assert_eq!((error.code, error.retry), (ErrorCode::JobData, false), "{error}");
        assert!(error.text.contains("initial weights") && error.text.contains(words), "{words}: {error}");
        peer.expect_pong(3);
    }
    cluster.assert_is_well();
}

#[test]
fn a_job_that_no_node_could_do_has_ended_under_its_id_and_one_that_waits_is_resumed() {
    let liar = LyingNode::start(Lie::NoVector);
    let coordinator = Coordinator::with_all_active(&[liar.address.port()], &["--revival-waits", "0.1"]);
    for (on_no_nodes, code) in [(OnNoNodes::Fail, ErrorCode::NoNodes), (OnNoNodes::Pause, ErrorCode::Paused)] {
        let (job, mut specification) = smallest_job();
        specification.operation.on_no_nodes = on_no_nodes;
        // The second time nothing is tried: it is told how the job stands.
        for _ in 0..2 {
            let mut peer = Peer::greeted(coordinator.address, Role::Client);
            let error = submit(&mut peer, (job, specification.clone()), |fetch| owned(piece(fetch, &rows())));
            assert_eq!((error.code, error.retry), (code, false), "{error}");
        }
    }
}

#[test]
fn a_job_too_many_is_told_how_many_may_wait() {
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
    // Their data never comes.
    for request in (1..).step_by(2).take(65) {
        let (job, specification) = smallest_job();
        peer.send(Submit { job, rounds_seen: 0, specification }, request);
    }
    let error = loop {
        match peer.receive().message() {
            Message::Fetch(_) | Message::Accepted(_) | Message::Notice(_) => {}
            Message::Error(error) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((error.code, error.retry), (ErrorCode::Busy, true), "{error}");
    assert_eq!((error.got, error.allowed), (65, 64), "{error}");
    drop(peer);
    cluster.coordinator.await_in_status("clients           0");
    cluster.assert_is_well();
}

/// SUBMIT of the smallest job with one field of its specification set to this.
fn submit_with(peer: &mut Peer, request: u32, tag: u16, value: &[u8]) {
    let (job, specification) = smallest_job();
    let payload = Message::from(Submit { job, rounds_seen: 0, specification }).payload();
    let (head, mut rest) = payload.split_at(24);
    let mut fields = BTreeMap::new();
    while let Some((tag, after)) = rest.split_first_chunk() {
        let (bytes, after) = after.split_first_chunk().unwrap();
        let (value, after) = after.split_at(u32::from_le_bytes(*bytes) as usize);
        fields.insert(u16::from_le_bytes(*tag), value);
        rest = after;
    }
    fields.insert(tag, value);
    let field =
        |(tag, value): (&u16, &&[u8])| [&tag.to_le_bytes()[..], &(value.len() as u32).to_le_bytes(), value].concat();
    let fields: Vec<u8> = fields.iter().flat_map(field).collect();
    let payload = [&head[..20], &(fields.len() as u32).to_le_bytes(), &fields].concat();
    peer.send_bytes(&Encoded::seal(MessageType::Submit as u8, Flags::NONE, request, &payload, None).to_bytes());
}

#[test]
fn a_specification_outside_its_limits_is_told_the_value_and_the_limit() {
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
    let rows = |count: u32| [&count.to_le_bytes()[..], &[7; 32]].concat();
    let number = |value: u32| value.to_le_bytes().to_vec();
    let most = u64::from(u32::MAX);
    let cases = [
        (0x0002, number(0), 0, 1),
        (0x0002, number(u32::MAX), most, network::INPUTS_MAX.into()),
        (0x0003, number(0), 0, 1),
        (0x0003, number(u32::MAX), most, network::HIDDEN_WIDTH_MAX.into()),
        (0x0003, [1, 0, 0, 0].repeat(65), 65, network::HIDDEN_LAYERS_MAX as u64),
        (0x0004, number(1), 1, 2),
        (0x0004, number(u32::MAX), most, network::CLASSES_MAX.into()),
        (0x0009, 0f32.to_le_bytes().to_vec(), 0, 0),
        (0x000B, number(0), 0, 1),
        (0x000B, number(u32::MAX), most, recipe::BATCH_ROWS_MAX.into()),
        (0x000C, number(0), 0, 1),
        (0x0020, number(0), 0, 1),
        (0x0020, number(u32::MAX), most, ROUNDS_MAX.into()),
        (0x0021, Vec::new(), 0, 1),
        (0x0021, rows(0), 0, 1),
        (0x0022, rows(u32::MAX), most, ROWS_MAX.into()),
        (0xC001, vec![1; NOTES_BYTES_MAX + 1], NOTES_BYTES_MAX as u64 + 1, NOTES_BYTES_MAX as u64),
    ];
    for (index, (tag, value, got, allowed)) in cases.into_iter().enumerate() {
        let request = 2 * index as u32 + 1;
        submit_with(&mut peer, request, tag, &value);
        let error = peer.expect_error(request, ErrorCode::Specification);
        assert_eq!((error.about, error.retry), (MessageType::Submit as u8, false), "{error}");
        assert_eq!((error.got, error.allowed), (got, allowed), "{error}");
    }
    peer.expect_pong(1001);
    cluster.assert_is_well();
}

#[test]
fn a_field_of_tag_0_is_a_field_that_is_not_known() {
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
    submit_with(&mut peer, 1, 0, b"zero");
    let error = peer.expect_error(1, ErrorCode::UnknownField);
    assert_eq!((error.about, error.got), (MessageType::Submit as u8, 0), "{error}");
    peer.expect_pong(3);
    cluster.assert_is_well();
}

#[test]
fn a_client_that_leaves_before_its_data_is_there_harms_nobody() {
    let cluster = Cluster::new();
    for _ in 0..20 {
        let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
        let (job, specification) = smallest_job();
        peer.send(Submit { job, rounds_seen: 0, specification }, 1);
        let frame = peer.receive();
        assert!(matches!(frame.message(), Message::Accepted(_) | Message::Fetch(_)), "{:?}", frame.message());
    }
    cluster.assert_is_well();
}

#[test]
fn a_specification_outside_its_limits_refuses_the_job_and_not_the_connection() {
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
    let (job, specification) = smallest_job();
    let payload = Message::from(Submit { job, rounds_seen: 0, specification }).payload();
    // Behind the job's id, the rounds seen, the length, and the arithmetic: field 0x0002, inputs, four bytes.
    let inputs = 16 + 4 + 4 + (2 + 4 + 2) + 2 + 4;
    assert_eq!(payload[inputs - 6..inputs], [2, 0, 4, 0, 0, 0]);
    let mut no_inputs = payload.clone();
    no_inputs[inputs..inputs + 4].fill(0);
    let mut submit = |payload: &[u8], request| {
        peer.send_bytes(&Encoded::seal(MessageType::Submit as u8, Flags::NONE, request, payload, None).to_bytes());
    };
    submit(&no_inputs, 1);
    let mut unknown_field = payload;
    let fields = u32::from_le_bytes(unknown_field[20..24].try_into().unwrap()) + 6;
    unknown_field[20..24].copy_from_slice(&fields.to_le_bytes());
    unknown_field.extend([0xFF, 0x40, 0, 0, 0, 0]);
    submit(&unknown_field, 3);
    peer.expect_error(1, ErrorCode::Specification);
    assert_eq!(peer.expect_error(3, ErrorCode::UnknownField).got, 0x40FF);
    peer.expect_pong(5);
    cluster.assert_is_well();
}

#[test]
fn a_job_that_has_the_id_of_none_is_refused_and_the_connection_lives() {
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
    let error = submit(&mut peer, (JobId::NIL, smallest_job().1), |fetch| owned(piece(fetch, &rows())));
    assert_eq!((error.code, error.about), (ErrorCode::Specification, MessageType::Submit as u8), "{error}");
    assert_eq!((error.got, error.allowed, error.retry), (0, 1, false), "{error}");
    assert!(error.text.contains("not 0"), "{error}");
    peer.expect_pong(3);
    cluster.assert_is_well();
}

#[test]
fn a_job_cancelled_while_its_data_is_on_its_way_ends_for_everyone_who_waits() {
    let cluster = Cluster::new();
    let mut submitting = Peer::greeted(cluster.coordinator.address, Role::Client);
    let (job, specification) = smallest_job();
    submitting.send(Submit { job, rounds_seen: 0, specification }, 1);
    assert!(matches!(submitting.receive().message(), Message::Accepted(_)));
    await_fetch(&mut submitting);
    let attach = || {
        let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
        peer.send(Attach { job, rounds_seen: 0 }, 1);
        assert!(matches!(peer.receive().message(), Message::Accepted(_)));
        peer
    };
    let mut watching = attach();
    let mut cancelling = Peer::greeted(cluster.coordinator.address, Role::Client);
    cancelling.send(Order { job, verb: OrderVerb::Cancel }, 1);
    // Each is told of what it has asked.
    let asked = |peer: &mut Peer, kind| {
        let error = peer.expect_error(1, ErrorCode::Cancelled);
        assert_eq!(error.about, kind as u8, "{error}");
    };
    asked(&mut submitting, MessageType::Submit);
    asked(&mut watching, MessageType::Attach);
    asked(&mut attach(), MessageType::Attach);
    cluster.assert_is_well();
}

#[test]
fn pieces_may_be_shorter_than_asked_for() {
    let cluster = Cluster::new();
    let count = 60_000;
    let values: Vec<f32> = (0..2 * count).map(|index| (index % 7) as f32).collect();
    let labels: Vec<u32> = (0..count).map(|index| index % 2).collect();
    let object = object::encode_rows(2, &values, &labels);
    let (job, mut specification) = job_of(Digest::of(&object));
    specification.shards[0].rows = count;
    specification.validation.rows = count;
    let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
    peer.send(Submit { job, rounds_seen: 0, specification }, 1);
    serve_until_done(&mut peer, &object, 50_000);
    cluster.assert_is_well();
}

#[test]
fn what_a_liar_has_left_half_sent_does_no_harm_to_the_next() {
    let cluster = Cluster::new();
    let mut liar = Peer::greeted(cluster.coordinator.address, Role::Client);
    let (job, specification) = smallest_job();
    liar.send(Submit { job, rounds_seen: 0, specification }, 1);
    let (request, fetch) = await_fetch(&mut liar);
    let rows = rows();
    liar.send(Message::Data(Piece { bytes: Cow::Borrowed(&[0xEE; 20]), ..piece(fetch, &rows) }), request);
    assert_eq!(await_fetch(&mut liar).1.offset, 20, "what has come is believed so far");
    drop(liar);
    cluster.coordinator.await_in_status("clients           0");
    let mut honest = Peer::greeted(cluster.coordinator.address, Role::Client);
    let (job, specification) = smallest_job();
    honest.send(Submit { job, rounds_seen: 0, specification }, 1);
    let (request, fetch) = await_fetch(&mut honest);
    assert_eq!(fetch.offset, 20, "it goes on from there");
    honest.send(Message::Data(piece(fetch, &rows)), request);
    serve_until_done(&mut honest, &rows, u32::MAX);
    cluster.assert_is_well();
}

#[test]
fn a_liar_harms_nobody_whose_job_has_the_same_data() {
    let cluster = Cluster::new();
    let mut honest = Peer::greeted(cluster.coordinator.address, Role::Client);
    let (job, specification) = smallest_job();
    honest.send(Submit { job, rounds_seen: 0, specification: specification.clone() }, 1);
    let (request, fetch) = await_fetch(&mut honest);
    let lie = |fetch| owned(Piece { digest: Digest([1; 32]), ..piece(fetch, &rows()) });
    let mut liar = Peer::greeted(cluster.coordinator.address, Role::Client);
    assert_eq!(submit(&mut liar, smallest_job(), lie).code, ErrorCode::JobData);
    // Not even where it watches the very same job, and is asked for its data.
    let mut liar = Peer::greeted(cluster.coordinator.address, Role::Client);
    liar.send(Submit { job, rounds_seen: 0, specification }, 1);
    let (lied, asked) = await_fetch(&mut liar);
    liar.send(lie(asked), lied);
    liar.expect_pong(3);
    let rows = rows();
    honest.send(Message::Data(piece(fetch, &rows)), request);
    serve_until_done(&mut honest, &rows, u32::MAX);
    cluster.assert_is_well();
}

#[test]
fn a_client_that_is_asked_for_data_and_sends_none_loses_its_job() {
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
    let (job, specification) = smallest_job();
    peer.send(Submit { job, rounds_seen: 0, specification }, 1);
    await_fetch(&mut peer);
    // Nobody waits for another's data meanwhile.
    cluster.assert_is_well();
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
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
    let (job, mut specification) = smallest_job();
    // The same object twice, and the second time it is said to weigh more.
    specification.shards.push(RowsRef { rows: 1000, ..specification.shards[0] });
    let error = submit(&mut peer, (job, specification), |fetch| owned(piece(fetch, &rows())));
    assert_eq!(error.code, ErrorCode::JobData);
    assert!(error.text.contains("shard 1 has 4 rows") && error.text.contains("says 1000"), "{error}");
    cluster.assert_is_well();
}

/// What protocol.md says of ACCEPTED: the data is still to come, and nothing is written without it.
#[test]
fn accepted_is_no_promise_beyond_the_coordinators_end_and_the_job_may_be_submitted_again() {
    let state = tempfile::TempDir::new().unwrap();
    // Its only node is never there.
    let of_state = || Coordinator::start("2", &[1], &["--state-dir", state.path().to_str().unwrap()]);
    let (job, specification) = smallest_job();
    let ask = |coordinator: &Coordinator, words: &[&str]| {
        client(["127.0.0.1", &coordinator.port.to_string()].iter().chain(words))
    };
    let submit = |coordinator: &Coordinator| {
        // A client waits until the journal is read; a peer of ours does not.
        assert_eq!(ask(coordinator, &["jobs"]).code, Some(0));
        let mut peer = Peer::greeted(coordinator.address, Role::Client);
        peer.send(Submit { job, rounds_seen: 0, specification: specification.clone() }, 1);
        loop {
            match peer.receive().message() {
                Message::Accepted(accepted) => return accepted,
                // It is not answered: the data never comes.
                Message::Fetch(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let coordinator = of_state();
    assert!(!submit(&coordinator).attached);
    // Killed.
    drop(coordinator);
    let coordinator = of_state();
    let ended = ask(&coordinator, &["attach", &job.to_string()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("knows no job"), "{ended:?}");
    assert!(!submit(&coordinator).attached, "it is taken in as a new one");
}

#[test]
fn a_model_can_be_fetched_by_whoever_was_told_of_it_however_few_ended_jobs_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let options = ["--keep-jobs", "1", "--state-dir", directory.path().to_str().unwrap()];
    let node = Node::named("honest");
    let (job, specification) = smallest_job();
    let coordinator = Coordinator::with_all_active(&[node.port], &options);
    let mut peer = Peer::greeted(coordinator.address, Role::Client);
    peer.send(Submit { job, rounds_seen: 0, specification }, 1);
    serve_until_done(&mut peer, &rows(), 1024);
    drop((peer, coordinator));
    // Started again, it has the model on disk alone.
    let coordinator = Coordinator::with_all_active(&[node.port], &options);
    let mut peer = Peer::greeted(coordinator.address, Role::Client);
    peer.send(Attach { job, rounds_seen: 1 }, 1);
    let weights = loop {
        match peer.receive().message() {
            Message::Done(done) => break done.summary.weights,
            Message::Accepted(_) => {}
            other => panic!("{other:?}"),
        }
    };
    // Another job takes the only place.
    assert_does_an_honest_job(&coordinator);
    peer.send(Fetch { digest: weights, offset: 0, bytes_max: 1024 }, 3);
    let frame = peer.receive();
    let Message::Data(piece) = frame.message() else { panic!("{:?}", frame.message()) };
    assert_eq!(piece.digest, weights);
}

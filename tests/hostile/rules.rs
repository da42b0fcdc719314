//! Attacks on an open connection, on both servers: whoever breaks a rule is told which, and the connection closes.

use gradwire::job::Attempt;
use std::thread;
use std::time::{Duration, Instant};

use gradwire::digest::Digest;
use gradwire::wire::header::OPTIONAL_TYPES_FROM;
use gradwire::wire::message::{Cancel, Fetch, Goodbye, Have, Hello, Piece, Ping, Poll, Pong, Submit};
use gradwire::wire::{Encoded, ErrorCode, Flags, Header, Message, MessageType, Role, limits};

use crate::common::cluster::Cluster;
use crate::common::peer::{Peer, hello};
use crate::common::smallest::{smallest_job, train};

/// A frame of any type, flags and payload, its checksums right.
fn frame(kind: u8, flags: Flags, request: u32, payload: &[u8]) -> Vec<u8> {
    Encoded::seal(kind, flags, request, payload, None).to_bytes()
}

/// Does the same to both servers on greeted connections.
fn to_both(attack: impl Fn(Peer)) {
    let cluster = Cluster::new();
    attack(Peer::greeted(cluster.node.address, Role::Coordinator));
    attack(Peer::greeted(cluster.coordinator.address, Role::Client));
    cluster.assert_is_well();
}

#[test]
fn a_second_hello_is_unexpected() {
    let cluster = Cluster::new();
    for (address, role) in [(cluster.node.address, Role::Coordinator), (cluster.coordinator.address, Role::Client)] {
        let mut peer = Peer::greeted(address, role);
        peer.send(hello(role), 0);
        assert_eq!(peer.expect_end(ErrorCode::Unexpected).about, 1);
    }
    cluster.assert_is_well();
}

#[test]
fn request_ids_of_wrong_parity_zero_or_used_before_are_refused() {
    to_both_ids(&[2]);
    to_both_ids(&[0]);
    to_both_ids(&[5, 5]);
    to_both_ids(&[5, 3]);
}

/// Opens requests with these ids; the last one is wrong.
fn to_both_ids(ids: &[u32]) {
    to_both(|mut peer| {
        let (wrong, right) = ids.split_last().unwrap();
        right.iter().for_each(|&id| peer.expect_pong(id));
        peer.send(Ping, *wrong);
        let error = peer.expect_end(ErrorCode::RequestId);
        assert_eq!((error.about, error.got), (MessageType::Ping as u8, (*wrong).into()));
    });
}

#[test]
fn an_answer_to_nothing_and_a_lone_message_on_a_request_are_refused() {
    to_both(|mut peer| {
        peer.send(Pong::default(), 2);
        assert_eq!(peer.expect_end(ErrorCode::RequestId).about, MessageType::Pong as u8);
    });
    to_both(|mut peer| {
        peer.send(Cancel { request: 1 }, 1);
        assert_eq!(peer.expect_end(ErrorCode::RequestId).about, MessageType::Cancel as u8);
    });
}

#[test]
fn messages_that_a_role_may_not_send_are_unexpected() {
    let cluster = Cluster::new();
    let name = Attempt { task: train().name.task, attempt: 1, token: 1 };
    let submit = Submit { job: smallest_job().0, rounds_seen: 0, specification: smallest_job().1 };
    let to_the_coordinator: [Message<'_>; 2] = [train().into(), Poll { name }.into()];
    for message in to_the_coordinator {
        let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
        let about = message.message_type();
        peer.send(message, 1);
        assert_eq!(peer.expect_end(ErrorCode::Unexpected).about, about as u8);
    }
    let mut peer = Peer::greeted(cluster.node.address, Role::Coordinator);
    peer.send(submit, 1);
    assert_eq!(peer.expect_end(ErrorCode::Unexpected).about, MessageType::Submit as u8);
    for address in [cluster.node.address, cluster.coordinator.address] {
        let role = if address == cluster.node.address { Role::Coordinator } else { Role::Client };
        let mut peer = Peer::greeted(address, role);
        peer.send_bytes(&frame(MessageType::Challenge as u8, Flags::NONE, 0, &[]));
        peer.expect_end(ErrorCode::Unexpected);
    }
    cluster.assert_is_well();
}

#[test]
fn unknown_types_and_flags_close_the_connection_and_optional_types_do_not() {
    to_both(|mut peer| {
        peer.send_bytes(&frame(OPTIONAL_TYPES_FROM, Flags(0xFFFF), 77, b"whatever"));
        peer.expect_pong(1);
        peer.send_bytes(&frame(0x7F, Flags::NONE, 3, &[]));
        assert_eq!(peer.expect_end(ErrorCode::UnknownType).got, 0x7F);
    });
    to_both(|mut peer| {
        peer.send_bytes(&frame(MessageType::Ping as u8, Flags::TAGGED, 1, &[]));
        assert_eq!(peer.expect_end(ErrorCode::Flags).got, 2);
    });
    to_both(|mut peer| {
        peer.send_bytes(&frame(MessageType::Ping as u8, Flags::MORE, 1, &[]));
        assert_eq!(peer.expect_end(ErrorCode::Flags).got, 1);
    });
}

#[test]
fn a_payload_that_is_not_what_its_type_says_closes_the_connection() {
    to_both(|mut peer| {
        peer.send_bytes(&frame(MessageType::Ping as u8, Flags::NONE, 1, b"x"));
        assert_eq!(peer.expect_end(ErrorCode::Malformed).about, MessageType::Ping as u8);
    });
    to_both(|mut peer| {
        let too_many = (limits::HAVE_DIGESTS_MAX as u32 + 1).to_le_bytes();
        peer.send_bytes(&frame(MessageType::Have as u8, Flags::NONE, 1, &too_many));
        peer.expect_end(ErrorCode::Malformed);
    });
}

#[test]
fn a_frame_over_a_mebibyte_is_refused_by_its_header() {
    to_both(|mut peer| {
        let header = Header {
            version: 1,
            kind: MessageType::Have as u8,
            flags: Flags::NONE,
            request: 1,
            payload_bytes: limits::PAYLOAD_BYTES_MAX + 1,
            payload_crc: 0,
        };
        peer.send_bytes(&header.encode());
        let error = peer.expect_end(ErrorCode::FrameTooLarge);
        assert_eq!((error.got, error.allowed), (1_048_577, 1_048_576));
    });
}

#[test]
fn what_is_asked_for_and_not_there_is_refused_and_the_connection_lives() {
    to_both(|mut peer| {
        let digest = gradwire::digest::Digest([0xAB; 32]);
        peer.send(Fetch { digest, offset: 0, bytes_max: 100 }, 1);
        peer.expect_error(1, ErrorCode::UnknownObject);
        peer.send(Have { digests: vec![digest; 3] }, 3);
        let Message::Held(held) = peer.receive().message() else { panic!("HELD was due") };
        assert_eq!(held.bytes, [0, 0, 0]);
        peer.send(Cancel { request: 99 }, 0);
        peer.expect_pong(5);
        peer.send(Goodbye { text: "thank you".to_owned() }, 0);
        peer.expect_hang_up();
    });
}

#[test]
fn one_request_too_many_unanswered_is_busy() {
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.node.address, Role::Coordinator);
    // Their data never comes, so none of them is answered.
    let mut train = train();
    train.may_reject = false;
    (0..=limits::OPEN_REQUESTS_MAX as u32).for_each(|index| peer.send(train.clone(), 2 * index + 1));
    while let Some(frame) = peer.next() {
        if let Message::Error(error) = frame.message() {
            assert_eq!((error.code, frame.header.request), (ErrorCode::Busy, 0));
            assert_eq!((error.got, error.allowed), (1025, 1024));
            peer.expect_hang_up();
            cluster.assert_is_well();
            return;
        }
    }
    panic!("the connection closed without a word");
}

#[test]
fn a_peer_that_stops_in_mid_frame_is_lost_after_three_seconds() {
    to_both(|mut peer| {
        peer.send_bytes(&frame(MessageType::Have as u8, Flags::NONE, 1, &[0; 4])[..26]);
        while let Some(frame) = peer.next() {
            assert!(matches!(frame.message(), Message::Ping(_)), "{:?}", frame.message());
        }
    });
}

#[test]
fn a_large_frame_over_a_slow_line_is_not_lost() {
    let cluster = Cluster::new();
    let mut peer = Peer::greeted(cluster.node.address, Role::Coordinator);
    // A digest that these bytes do not have: what counts is that the frame is heard to its end.
    let piece = Piece { digest: Digest([3; 32]), object_bytes: 1 << 20, offset: 0, bytes: vec![0; 200_000].into() };
    let frame = Message::Put(piece).seal(1, false).to_bytes();
    let began = Instant::now();
    for part in frame.chunks(limits::HEARTBEAT_BYTES + 1_000) {
        peer.send_bytes(part);
        // The line is slow; nothing is waited for.
        thread::sleep(Duration::from_millis(350));
    }
    assert!(began.elapsed() > limits::HEARTBEAT_LOST);
    loop {
        let answer = peer.receive();
        match answer.message() {
            Message::Ping(_) => {}
            Message::Held(held) => break assert_eq!((answer.header.request, held.bytes), (1, vec![200_000])),
            other => panic!("{other:?}"),
        }
    }
    cluster.assert_is_well();
}

#[test]
fn an_answer_that_is_longer_than_its_asker_takes_becomes_an_error() {
    let cluster = Cluster::new();
    for (address, role) in [(cluster.node.address, Role::Coordinator), (cluster.coordinator.address, Role::Client)] {
        let mut peer = Peer::dial(address);
        peer.send(Hello { payload_bytes_max: limits::GREETING_PAYLOAD_BYTES_MAX, ..hello(role) }, 0);
        assert!(matches!(peer.receive().message(), Message::Welcome(_)));
        peer.send(Have { digests: vec![Digest([9; 32]); 1_000] }, 1);
        let error = peer.expect_error(1, ErrorCode::FrameTooLarge);
        assert_eq!((error.about, error.got, error.allowed), (MessageType::Held as u8, 8_004, 1_024));
        peer.expect_pong(3);
    }
    cluster.assert_is_well();
}

#[test]
fn a_peer_that_takes_a_while_to_answer_each_ping_is_not_lost() {
    let cluster = Cluster::new();
    // A link on which this very test was silent for too long, since the machine had no time for it, says nothing.
    let mut peer = (0..10).find_map(|_| answered_late(&cluster)).expect("a machine with time for a test");
    peer.expect_pong(1);
    cluster.assert_is_well();
}

/// A link whose first three PINGs were answered late; `None` if it was silent for longer than a peer may be.
fn answered_late(cluster: &Cluster) -> Option<Peer> {
    let mut peer = Peer::greeted(cluster.node.address, Role::Coordinator);
    let mut heard = Instant::now();
    for _ in 0..3 {
        let Some(frame) = peer.next() else {
            assert!(heard.elapsed() > Duration::from_millis(2_500), "lost after {:?} of silence", heard.elapsed());
            return None;
        };
        assert!(matches!(frame.message(), Message::Ping(_)), "{:?}", frame.message());
        // PING comes after one second of silence: with this, the answer is later than the next PING would be, and within
        // the three seconds by a margin for a busy machine.
        thread::sleep(Duration::from_millis(1_200));
        peer.send(Pong::default(), frame.header.request);
        if heard.elapsed() > Duration::from_millis(2_500) {
            return None;
        }
        heard = Instant::now();
    }
    Some(peer)
}

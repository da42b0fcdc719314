//! Attacks before the greeting is over, on both servers and on who dials: each gets the ERROR that protocol.md promises, and
//! the connection closes.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gradwire::wire::header::{HEADER_BYTES, OPTIONAL_TYPES_FROM};
use gradwire::wire::message::{Error, Features, Goodbye, Hello, Listed, Ping, Welcome, version_range};
use gradwire::wire::{Encoded, ErrorCode, Flags, Header, Message, MessageType, Role, limits};

use crate::common::clients::client;
use crate::common::cluster::{Cluster, to_both_servers};
use crate::common::peer::{Peer, hello, welcome};
use crate::common::process::{Ended, PATIENCE};
use crate::common::servers::Node;

/// The HELLO of a client, as a frame.
fn hello_frame() -> Vec<u8> {
    Message::from(hello(Role::Client)).seal(0, false).to_bytes()
}

/// What is answered to these bytes before the connection closes.
fn refusal(address: SocketAddr, bytes: &[u8], code: ErrorCode) -> Error {
    let mut peer = Peer::dial(address);
    peer.send_bytes(bytes);
    peer.expect_end(code)
}

/// A header with its checksum right, whatever it says.
fn header(change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Header { version: 1, kind: 1, flags: Flags::NONE, request: 0, payload_bytes: 0, payload_crc: 0 };
    change(&mut header);
    header.encode().to_vec()
}

#[test]
fn bytes_that_are_no_frame_are_refused_at_the_first_wrong_one() {
    to_both_servers(|address| {
        for garbage in [&[0][..], &[0xFF; 4000], &[0xF5, 0x47, 0], b"\xF5GRX"] {
            refusal(address, garbage, ErrorCode::Magic);
        }
    });
}

#[test]
fn a_header_whose_checksum_is_wrong_is_not_believed() {
    to_both_servers(|address| {
        let mut frame = hello_frame();
        frame[12] ^= 0x40;
        let error = refusal(address, &frame, ErrorCode::HeaderChecksum);
        let said = u32::from_le_bytes(frame[20..24].try_into().unwrap());
        let has = crc32fast::hash(&frame[..20]);
        assert_eq!((error.got, error.allowed), (has.into(), said.into()));
    });
}

#[test]
fn a_payload_whose_checksum_is_wrong_is_not_believed() {
    to_both_servers(|address| {
        let mut frame = hello_frame();
        frame[HEADER_BYTES + 2] ^= 1;
        let error = refusal(address, &frame, ErrorCode::PayloadChecksum);
        let said = u32::from_le_bytes(frame[16..20].try_into().unwrap());
        let has = crc32fast::hash(&frame[HEADER_BYTES..]);
        assert_eq!((error.got, error.allowed), (has.into(), said.into()));
    });
}

#[test]
fn a_future_version_is_told_both_ranges() {
    to_both_servers(|address| {
        let hello = |role| Hello { version_min: 2, version_max: 9, ..hello(role) };
        for role in [Role::Client, Role::Coordinator] {
            let frame = Message::from(hello(role)).seal(0, false).to_bytes();
            let error = refusal(address, &frame, ErrorCode::Version);
            assert_eq!((error.got, error.allowed), (version_range(2, 9), version_range(1, 1)));
        }
        let error = refusal(address, &header(|header| header.version = 3), ErrorCode::Version);
        assert_eq!((error.got, error.allowed), (version_range(3, 3), version_range(1, 1)));
    });
}

#[test]
fn a_length_of_four_gibibytes_is_refused_by_its_header() {
    to_both_servers(|address| {
        let error = refusal(address, &header(|header| header.payload_bytes = u32::MAX), ErrorCode::FrameTooLarge);
        assert_eq!((error.got, error.allowed), (u32::MAX.into(), limits::GREETING_PAYLOAD_BYTES_MAX.into()));
    });
}

#[test]
fn unknown_types_are_refused_below_128_and_skipped_from_there_on() {
    to_both_servers(|address| {
        let error = refusal(address, &header(|header| header.kind = 0x7F), ErrorCode::UnknownType);
        assert_eq!((error.about, error.got), (0x7F, 0x7F));
        // What may be skipped is skipped whatever its flags: the greeting behind it is judged.
        let skipped = header(|header| (header.kind, header.flags) = (OPTIONAL_TYPES_FROM, Flags(0xFFFF)));
        refusal(address, &[skipped, header(|header| header.request = 1)].concat(), ErrorCode::RequestId);
    });
}

#[test]
fn flags_come_before_types_and_types_before_request_ids() {
    to_both_servers(|address| {
        let error = refusal(address, &header(|header| header.flags = Flags::TAGGED), ErrorCode::Flags);
        assert_eq!((error.about, error.got), (1, 2));
        let ping = |header: &mut Header| (header.kind, header.flags, header.request) = (8, Flags::MORE, 2);
        refusal(address, &header(ping), ErrorCode::Flags);
        let ping = |header: &mut Header| (header.kind, header.request) = (8, 2);
        refusal(address, &header(ping), ErrorCode::Unexpected);
        assert_eq!(refusal(address, &header(|header| header.request = 4), ErrorCode::RequestId).got, 4);
    });
}

#[test]
fn only_hello_begins_a_connection() {
    to_both_servers(|address| {
        let frames =
            [Message::from(Ping).seal(1, false), Message::from(Goodbye { text: "hello".to_owned() }).seal(0, false)];
        for frame in frames {
            refusal(address, &frame.to_bytes(), ErrorCode::Unexpected);
        }
        // "A peer that gets ERROR on request 0 closes without an answer."
        let mut peer = Peer::dial(address);
        peer.send(Error::new(ErrorCode::Busy, 0, "no"), 0);
        peer.expect_hang_up();
    });
}

#[test]
fn a_hello_that_is_not_what_the_book_says_is_malformed() {
    to_both_servers(|address| {
        let payload = Message::from(hello(Role::Client)).payload();
        let sealed = |payload: &[u8]| {
            let frame = gradwire::wire::Encoded::seal(1, Flags::NONE, 0, payload, None);
            frame.to_bytes()
        };
        refusal(address, &sealed(&payload[..40]), ErrorCode::Malformed);
        refusal(address, &sealed(&[&payload[..], &[1]].concat()), ErrorCode::Malformed);
        let unknown_field = [&payload[..], &[0xFF, 0x7F, 0, 0]].concat();
        assert_eq!(refusal(address, &sealed(&unknown_field), ErrorCode::UnknownField).got, 0x7FFF);
    });
}

#[test]
fn each_server_refuses_the_roles_that_it_does_not_serve() {
    let cluster = Cluster::new();
    let strangers = [
        (cluster.node.address, [Role::Client, Role::Node]),
        (cluster.coordinator.address, [Role::Coordinator, Role::Node]),
    ];
    for (address, roles) in strangers {
        for role in roles {
            let mut peer = Peer::dial(address);
            peer.send(hello(role), 0);
            let error = peer.expect_end(ErrorCode::Unexpected);
            assert_eq!(error.about, 1);
        }
    }
    cluster.assert_is_well();
}

#[test]
fn roles_are_judged_before_clusters() {
    let node = Node::start(0, "0", &["--cluster", "lab"]);
    let greets = |role, cluster: &str| {
        let mut peer = Peer::dial(node.address);
        let features = Features { cluster: Some(cluster.to_owned()), ..Features::default() };
        peer.send(Hello { features, ..hello(role) }, 0);
        peer
    };
    greets(Role::Client, "shop").expect_end(ErrorCode::Unexpected);
    greets(Role::Coordinator, "shop").expect_end(ErrorCode::Cluster);
    assert!(matches!(greets(Role::Coordinator, "lab").receive().message(), Message::Welcome(_)));
    // Who names no cluster belongs to any.
    Peer::greeted(node.address, Role::Coordinator).expect_pong(1);
}

#[test]
fn half_a_frame_and_then_silence_is_over_two_seconds_after_the_first_byte() {
    to_both_servers(|address| {
        for half in [&hello_frame()[..10], &hello_frame()[..40]] {
            // Who is over the ten seconds for a first byte is hung up on without a word.
            let error = refusal(address, half, ErrorCode::Timeout);
            assert_eq!((error.about, error.allowed), (1, 2000));
        }
    });
}

#[test]
fn a_byte_now_and_then_does_not_move_the_deadline() {
    to_both_servers(|address| {
        let peer = Peer::dial(address);
        let mut stream = peer.stream();
        // The pause between two bytes is the wait for an answer.
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        // Without the last one there is no HELLO to be answered, and all of them take more than twenty seconds.
        let hello = hello_frame();
        let answered = hello[..hello.len() - 1].iter().any(|byte| {
            let _ = stream.write_all(&[*byte]);
            stream.peek(&mut [0; 1]).is_ok()
        });
        assert!(answered, "the deadline moves");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let error = peer.expect_end(ErrorCode::Timeout);
        assert_eq!((error.about, error.allowed), (1, 2000));
    });
}

#[test]
fn a_connection_that_ends_without_a_word_is_no_event() {
    to_both_servers(|address| {
        for _ in 0..50 {
            drop(Peer::dial(address));
        }
        let mut half_closed = Peer::dial(address);
        half_closed.stream().shutdown(Shutdown::Write).unwrap();
        half_closed.expect_hang_up();
    });
}

/// A client that has dialled and said HELLO.
fn dialler() -> (Peer, JoinHandle<Ended>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let dials = thread::spawn(move || client(["127.0.0.1", &port, "jobs", "--retry-for", "0"]));
    let mut peer = Peer::new(listener.accept().unwrap().0);
    assert!(matches!(peer.receive().message(), Message::Hello(_)));
    (peer, dials)
}

#[test]
fn who_dials_says_what_is_wrong_with_the_answer_to_its_hello() {
    let refusal = |answer: &[u8], code| {
        let (mut peer, dials) = dialler();
        peer.send_bytes(answer);
        let error = peer.expect_end(code);
        assert_ne!(dials.join().unwrap().code, Some(0));
        error
    };
    let sealed = |message: Message<'_>| message.seal(0, false).to_bytes();
    let coordinator = || welcome(Role::Coordinator, Features::default());

    let error = refusal(&header(|header| (header.kind, header.payload_bytes) = (2, 1 << 20)), ErrorCode::FrameTooLarge);
    assert_eq!((error.got, error.allowed), (1 << 20, 1024), "{error}");
    let long = Encoded::seal(OPTIONAL_TYPES_FROM, Flags::NONE, 0, &[0; 100_000], None).to_bytes();
    let error = refusal(&[long, sealed(coordinator().into())].concat(), ErrorCode::FrameTooLarge);
    assert_eq!((error.got, error.allowed), (100_000, 1024), "{error}");

    let error = refusal(&sealed(Welcome { version: 2, ..coordinator() }.into()), ErrorCode::Version);
    assert_eq!((error.got, error.allowed), (version_range(2, 2), version_range(1, 1)), "{error}");
    let payload = Message::from(coordinator()).payload();
    let short = Encoded::seal(MessageType::Welcome as u8, Flags::NONE, 0, &payload[..40], None).to_bytes();
    let error = refusal(&short, ErrorCode::Malformed);
    assert_eq!(error.about, MessageType::Welcome as u8, "{error}");
    let error = refusal(&sealed(welcome(Role::Node, Features::default()).into()), ErrorCode::Unexpected);
    assert_eq!(error.about, MessageType::Welcome as u8, "{error}");
    let challenge = header(|header| header.kind = MessageType::Challenge as u8);
    let error = refusal(&challenge, ErrorCode::Unexpected);
    assert_eq!(error.about, MessageType::Challenge as u8, "{error}");
    refusal(b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorCode::Magic);
    let error = refusal(&[0xF5], ErrorCode::Timeout);
    assert_eq!((error.about, error.allowed), (MessageType::Welcome as u8, 2000), "{error}");
}

#[test]
fn what_comes_right_behind_welcome_may_be_long() {
    let (mut peer, dials) = dialler();
    let welcome = Message::from(welcome(Role::Coordinator, Features::default())).seal(0, false).to_bytes();
    let long = Encoded::seal(OPTIONAL_TYPES_FROM, Flags::NONE, 0, &[0; 100_000], None).to_bytes();
    peer.send_bytes(&[welcome, long, Message::from(Ping).seal(2, false).to_bytes()].concat());
    let mut is_answered = false;
    while !is_answered {
        let frame = peer.receive();
        match frame.message() {
            Message::Jobs(_) => peer.send(Listed { jobs: 0 }, frame.header.request),
            Message::Pong(_) => is_answered = true,
            Message::Goodbye(_) => panic!("it has gone, and PING is not answered"),
            other => panic!("{other:?}"),
        }
    }
    drop(peer);
    dials.join().unwrap();
}

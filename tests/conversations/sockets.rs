//! Mutated conversations over real sockets, to a real coordinator and a real node, a few at a time and each from one of
//! several loopback addresses, so that nobody is evicted. Owns the connections; asserts what is left when all have ended.
// Only Linux gives a loopback interface more than one address, and tells of other processes' threads.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use gradwire::wire::message::Hello;
use gradwire::wire::{Decoder, ErrorCode, Message, MessageType, Role, limits, text};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use socket2::{Domain, Socket, Type};

use crate::common::book::values;
use crate::common::cluster::Cluster;
use crate::common::process::PATIENCE;
use crate::common::servers::Server;
use crate::mutation::mutated;
use crate::valid::{Conversation, OF_BOOK, Side, conversations};
use crate::{numbers, run_all};

/// Mutated conversations in an ordinary test run, and in one of the long tier.
const SOME: u64 = 3_000;
const MANY: u64 = 20_000;
/// Connections at a time, each from an address of its own.
const ADDRESSES: usize = 8;
/// No connection that has been sent all it will ever be sent may live longer, whatever it waits for.
const DEADLINE: Duration = Duration::from_secs(
    limits::FIRST_BYTE_WAIT.as_secs()
        + limits::GREETING_WAIT.as_secs()
        + limits::HEARTBEAT_LOST.as_secs()
        + limits::WRITE_STALL.as_secs(),
);

/// What came back over the connections of one address.
#[derive(Debug, Default)]
struct Answers {
    /// The last byte of the address.
    address: u8,
    /// Frames, by their type.
    frames: BTreeMap<MessageType, u64>,
    /// Refusals, by their code.
    refusals: BTreeMap<ErrorCode, u64>,
    /// The longest that a connection took.
    slowest: Duration,
}

#[test]
fn mutated_conversations_leave_both_programs_as_they_were() {
    leave_both_programs_as_they_were(SOME);
}

#[test]
#[ignore = "long: twenty thousand conversations"]
fn many_more_mutated_conversations_leave_both_programs_as_they_were() {
    leave_both_programs_as_they_were(MANY);
}

fn leave_both_programs_as_they_were(count: u64) {
    let cluster = Cluster::new();
    cluster.assert_is_well();
    let servers: [&Server; 2] = [&cluster.node, &cluster.coordinator];
    let before = servers.map(|server| server.threads_and_descriptors().unwrap());
    let valid = conversations();
    let numbers = numbers(count);
    let (node, coordinator) = (cluster.node.address, cluster.coordinator.address);
    let begin = |thread| Answers { address: 10 + thread as u8, ..Answers::default() };
    let all = run_all(numbers.clone(), ADDRESSES, begin, |number, answers| {
        let (side, stream) = stream(number, &valid);
        answers.converse(if side.me == Role::Node { node } else { coordinator }, &stream);
    });
    let sum = |counts: &dyn Fn(&Answers) -> u64| all.iter().map(counts).sum::<u64>();
    let refusals: BTreeMap<ErrorCode, u64> = ErrorCode::ALL
        .iter()
        .map(|code| (*code, sum(&|answers| answers.refusals.get(code).copied().unwrap_or_default())))
        .filter(|(_, count)| *count > 0)
        .collect();
    let welcomes = sum(&|answers| answers.frames.get(&MessageType::Welcome).copied().unwrap_or_default());
    let slowest = all.iter().map(|answers| answers.slowest).max();
    println!("conversations {numbers:?}: {welcomes} welcomed, the slowest took {slowest:?}, refused: {refusals:?}");
    if numbers.end - numbers.start == count {
        // Worth nothing if nobody gets past the greeting, or nobody is refused.
        assert!(welcomes > count / 2 && refusals.len() > 10);
    }

    let began = Instant::now();
    for (server, before) in servers.into_iter().zip(before) {
        let mut now = server.threads_and_descriptors().unwrap();
        while now != before {
            assert!(began.elapsed() < PATIENCE, "{before:?} threads and descriptors have become {now:?}");
            std::thread::yield_now();
            now = server.threads_and_descriptors().unwrap();
        }
    }
    // On a machine with much else to do the two may have lost sight of each other for a moment.
    cluster.coordinator.await_in_status("1 of 1 active");
    cluster.assert_is_well();
}

/// What the acceptor of a conversation is sent, changed as the number says, behind a greeting in any case. Of the drawn
/// conversations these are requests alone: nobody has asked this peer for anything.
fn stream(number: u64, valid: &[Conversation]) -> (Side, Vec<u8>) {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let is_of_book = rng.random_bool(0.2);
    let [_, of_book] = &valid[rng.random_range(0..OF_BOOK)];
    let [_, drawn] = &valid[rng.random_range(OF_BOOK..valid.len())];
    let [_, other] = &valid[rng.random_range(0..valid.len())];
    let side = if is_of_book { of_book.clone() } else { drawn.unasked() };
    let mut stream = Vec::new();
    if !side.greets {
        let Message::Hello(hello) = values::message(MessageType::Hello).1 else { unreachable!("HELLO is HELLO") };
        stream = Message::from(Hello { role: side.peer, ..hello }).seal(0, false).to_bytes();
    }
    stream.extend(mutated(&mut rng, &side, &other.unasked()));
    (side, stream)
}

impl Answers {
    /// Sends all of it, and hears the answer to its end.
    fn converse(&mut self, server: SocketAddr, stream: &[u8]) {
        let began = Instant::now();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, self.address], 0)).into()).unwrap();
        socket.connect(&server.into()).unwrap();
        let mut socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        // Who is refused early may be hung up on in the middle of it.
        let _ = socket.write_all(stream);
        let _ = socket.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let is_cut = match socket.read_to_end(&mut answer) {
            Ok(_) => false,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
            Err(error) => panic!("the connection does not end: {error}"),
        };
        self.slowest = self.slowest.max(began.elapsed());
        assert!(self.slowest < DEADLINE, "it took {:?}", self.slowest);
        if stream.first().copied().is_some_and(text::is_text) {
            std::str::from_utf8(&answer).expect("text is answered with text");
        } else {
            self.understand(&answer, is_cut);
        }
    }

    /// Counts the frames of an answer, all of which must be what the document says.
    fn understand(&mut self, answer: &[u8], is_cut: bool) {
        let mut decoder = Decoder::new(limits::PAYLOAD_BYTES_MAX);
        decoder.feed(answer);
        while let Some(frame) = decoder.next_frame().expect("frames") {
            let kind = MessageType::from_number(frame.header.kind).expect("a type that is known");
            *self.frames.entry(kind).or_default() += 1;
            if let Message::Error(error) = Message::decode(kind, frame.payload).expect("a payload of its type") {
                *self.refusals.entry(error.code).or_default() += 1;
            }
        }
        assert!(is_cut || decoder.pending_bytes() == 0, "the last frame is not whole");
    }
}

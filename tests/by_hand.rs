//! docs/protocol-examples.md, "By hand": what a reader pastes into a shell, pasted into a shell, against a running node.
//! Skips where there is no `xxd` or no `nc`.

mod common;

use std::process::{Command, Stdio};

use common::servers::Node;
use common::{book, skip};
use gradwire::wire::message::{Held, Trained};
use gradwire::wire::object::{self, ObjectKind};
use gradwire::wire::{Decoder, ErrorCode, Message, MessageType, limits};

/// What a shell prints when this is pasted into it, with the node's port in place of the document's.
fn pasted(block: &str, port: u16) -> String {
    let block = block.replace("localhost 4001", &format!("127.0.0.1 {port}"));
    let output = Command::new("bash").args(["-c", &block]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{block}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The bytes in what `xxd` prints, with or without its offsets and its text.
fn bytes(dump: &str) -> Vec<u8> {
    let hexadecimal = |line: &str| -> String {
        let digits = line.split_once(": ").map_or(line, |(_, rest)| rest.split("  ").next().unwrap());
        digits.split_whitespace().collect()
    };
    let digits: String = dump.lines().map(hexadecimal).collect();
    let pair = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap_or_else(|_| panic!("{dump}"));
    (0..digits.len() / 2).map(|index| pair(2 * index)).collect()
}

/// The frames in a dump: what they answer, type and payload.
fn frames(dump: &str) -> Vec<(u32, MessageType, Vec<u8>)> {
    let mut decoder = Decoder::new(limits::PAYLOAD_BYTES_MAX);
    decoder.feed(&bytes(dump));
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next_frame().unwrap() {
        let kind = MessageType::from_number(frame.header.kind).unwrap();
        frames.push((frame.header.request, kind, frame.payload.to_vec()));
    }
    assert_eq!(decoder.pending_bytes(), 0, "{dump}");
    frames
}

fn is_there(tool: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

#[test]
fn what_the_book_says_to_paste_does_what_it_says() {
    for tool in ["bash", "xxd", "nc"] {
        if !is_there(tool) {
            return skip(format!("there is no {tool}"));
        }
    }
    let blocks = book::shell_blocks();
    let [ping, version, task, status] = blocks[..] else { panic!("{} blocks", blocks.len()) };
    let node = Node::start(0, "0", &[]);

    let answered = frames(&pasted(ping, node.port));
    let said: Vec<_> = answered.iter().map(|(request, kind, _)| (*request, *kind)).collect();
    assert_eq!(said, [(0, MessageType::Welcome), (1, MessageType::Pong)]);

    let answered = frames(&pasted(version, node.port));
    let [(0, MessageType::Error, payload)] = &answered[..] else { panic!("{answered:?}") };
    let Ok(Message::Error(error)) = Message::decode(MessageType::Error, payload) else { panic!("no ERROR") };
    assert_eq!((error.code, error.got, error.allowed), (ErrorCode::Version, 0x0302, 0x0101));

    let answered = frames(&pasted(task, node.port));
    let said: Vec<_> = answered.iter().map(|(request, kind, _)| (*request, *kind)).collect();
    let wanted =
        [(0, MessageType::Welcome), (1, MessageType::Held), (3, MessageType::Held), (11, MessageType::Trained)];
    assert_eq!(said[..4], wanted);
    assert_eq!(said[4..], [(2, MessageType::Ping)], "it asks whether anybody is there, and hangs up");
    for (_, _, held) in &answered[1..3] {
        assert_eq!(Message::decode(MessageType::Held, held), Ok(Held { bytes: vec![64] }.into()));
    }
    let Ok(Message::Trained(Trained { inline, .. })) = Message::decode(MessageType::Trained, &answered[3].2) else {
        panic!("no TRAINED")
    };
    let network = gradwire::model::Network::new(1, &[], 2).unwrap();
    let update = object::decode_parameters(ObjectKind::Update, &network, &inline);
    assert_eq!(update.as_deref(), Ok(&[0.25, -0.25, 0.0, 0.0][..]));

    // Not every nc knows -N.
    if Command::new("sh").args(["-c", "nc -h 2>&1 | grep -q -- -N"]).status().is_ok_and(|status| status.success()) {
        assert!(pasted(status, node.port).starts_with("compute_node"));
    }
}

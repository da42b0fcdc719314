//! The conversations of the documents keep the rules of a session.

use std::time::Duration;

use gradwire::digest::Digest;
use gradwire::wire::header::Flags;
use gradwire::wire::session::Incoming;
use gradwire::wire::{Message, MessageType, Session};

use crate::common::book::{self, Example, Piece};
use crate::{ROLES, check_frame, examples};

/// The frames of a conversation: who sends, and the pieces.
fn frames(example: &Example) -> Vec<(char, &[Piece])> {
    let starts = example.pieces.chunk_by(|_, next| next.direction.is_none());
    starts.map(|pieces| (pieces[0].direction.expect("a conversation begins with > or <"), pieces)).collect()
}

#[test]
fn every_conversation_keeps_the_rules_of_a_session() {
    let role = |name: &str| ROLES.into_iter().find(|role| role.to_string() == name).unwrap();
    assert_eq!(examples("conversation").len(), 5);
    for example in examples("conversation") {
        let (dialler, acceptor) = example.name().split_once(' ').unwrap();
        let (dialler, acceptor) = (role(dialler), role(acceptor));
        let mut sides = [
            Session::<()>::new(dialler, acceptor, true, Duration::ZERO),
            Session::<()>::new(acceptor, dialler, false, Duration::ZERO),
        ];
        let mut greeted = !example.pieces[0].comment.starts_with("HELLO");
        let mut closed = false;
        for (direction, pieces) in frames(&example) {
            let line = pieces[0].line;
            let (header, payload) = check_frame(pieces);
            for piece in &pieces[1..] {
                piece.annotation();
            }
            assert!(!closed, "line {line}: the connection is closed");
            let kind = MessageType::from_number(header.kind).unwrap();
            let message = Message::decode(kind, &payload).unwrap();
            check_pieces(&message, line);
            if !greeted {
                let turn = match &message {
                    Message::Hello(hello) => hello.role == dialler && direction == '>',
                    Message::Welcome(welcome) => welcome.role == acceptor && direction == '<',
                    Message::Error(_) => direction == '<',
                    _ => false,
                };
                assert!(turn && header.request == 0 && header.flags == Flags::NONE, "line {line}: {kind}");
                greeted = kind == MessageType::Welcome;
                closed = kind == MessageType::Error;
                continue;
            }
            let [first, second] = &mut sides;
            let (sender, receiver) = if direction == '>' { (first, second) } else { (second, first) };
            match receiver.receive(Duration::ZERO, &header).unwrap_or_else(|error| panic!("line {line}: {error}")) {
                Incoming::Request(kind) => assert_eq!(sender.open(kind, ()), Some(header.request), "line {line}"),
                Incoming::Answer { last: true, .. } => assert!(sender.answered(header.request), "line {line}"),
                Incoming::Answer { last: false, .. } => assert!(sender.is_open(header.request), "line {line}"),
                Incoming::Alone(_) => closed = kind == MessageType::Goodbye,
                Incoming::Skipped => panic!("line {line}: an unknown type"),
            }
        }
        assert!(sides.iter().all(|side| side.unanswered().count() == 0), "{}: a request is open", example.label);
    }
}

/// What travels whole has the digest that names it.
fn check_pieces(message: &Message<'_>, line: book::Place) {
    match message {
        Message::Put(piece) | Message::Data(piece) if piece.bytes.len() as u64 == piece.object_bytes => {
            assert_eq!(Digest::of(&piece.bytes), piece.digest, "line {line}");
        }
        Message::Trained(trained) => assert_eq!(Digest::of(&trained.inline), trained.result.update, "line {line}"),
        _ => {}
    }
}

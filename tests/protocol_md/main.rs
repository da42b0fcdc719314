//! The documents of the protocol, executed: every example both ways, every table of numbers against the code.
//!
//! | module | owns |
//! |---|---|
//! | here | frames and objects, their bytes and layouts |
//! | `tables` | numbers, limits, messages, states, errors, greetings |
//! | `specification` | the fields of a specification, and what it may not say |
//! | `smallest_job` | one job from its digests to its journal |
//! | `conversations` | who may say what, and when |

#[path = "../common/mod.rs"]
mod common;
mod conversations;
mod smallest_job;
mod specification;
mod tables;

use std::collections::BTreeSet;
use std::fmt::Display;

use common::book::{self, Example, Piece, values};
use gradwire::digest::Digest;
use gradwire::wire::header::{Flags, HEADER_BYTES, Header};
use gradwire::wire::{Decoder, Encoded, ErrorCode, Message, MessageType, Role, limits};

fn examples(kind: &str) -> Vec<Example> {
    book::examples().into_iter().filter(|example| example.kind() == kind).collect()
}

/// The only frame in these bytes: checksums right, nothing behind it.
fn only_frame(bytes: &[u8], line: impl Display) -> (Header, Vec<u8>) {
    let mut decoder = Decoder::new(limits::PAYLOAD_BYTES_MAX);
    decoder.feed(bytes);
    let frame = decoder.next_frame().unwrap_or_else(|error| panic!("line {line}: {error}"));
    let frame = frame.unwrap_or_else(|| panic!("line {line}: the frame is not whole"));
    let (header, payload) = (frame.header, frame.payload.to_vec());
    assert_eq!(decoder.pending_bytes(), 0, "line {line}: bytes follow the frame");
    (header, payload)
}

/// The frame whose header is the first of these pieces. Checked: its comments, and that its value is encoded as it is.
fn check_frame(pieces: &[Piece]) -> (Header, Vec<u8>) {
    let line = pieces[0].line;
    assert_eq!(pieces[0].bytes.len(), HEADER_BYTES, "line {line}: a frame's first line is its header");
    let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
    let (header, payload) = only_frame(&bytes, line);
    let kind = MessageType::from_number(header.kind).unwrap_or_else(|| panic!("line {line}: an unknown type"));
    let more = if header.flags.more() { ", MORE" } else { "" };
    let said = format!("{kind}, request {}, {} bytes{more}", header.request, payload.len());
    assert_eq!(pieces[0].comment, said, "line {line}");

    // HELLO of versions that are not spoken here has fields that are not judged; all else comes out as it came.
    let message = Message::decode(kind, &payload).unwrap_or_else(|error| panic!("line {line}: {error}"));
    assert_eq!(message.message_type(), kind);
    assert_eq!(message.seal(header.request, header.flags.more()).to_bytes(), bytes, "line {line}: encoded otherwise");
    (header, payload)
}

#[test]
fn every_frame_is_the_value_it_says_both_ways() {
    for example in examples("frame") {
        let (header, payload) = check_frame(&example.pieces);
        let kind = MessageType::from_number(header.kind).unwrap();
        let message = Message::decode(kind, &payload).unwrap();
        if let Message::Error(error) = &message {
            // One is shown of every code, and of some another, about this type.
            let name = example.name().trim_end_matches(" TRAIN");
            assert_eq!(name, format!("ERROR {}", error.code), "line {}", example.line());
        }
        match values::frames().into_iter().find(|(name, ..)| name == example.name()) {
            Some((_, request, wanted)) => {
                assert_eq!((header.request, message), (request, wanted), "line {}", example.line());
            }
            None => assert_eq!(kind, MessageType::Error, "line {}", example.line()),
        }
    }
}

#[test]
fn every_message_type_and_every_error_code_has_exactly_one_example() {
    let found: Vec<String> = examples("frame").iter().map(|example| example.name().to_owned()).collect();
    let codes = ErrorCode::ALL.iter().map(|code| format!("ERROR {code}"));
    let wanted: BTreeSet<String> = values::frames().into_iter().map(|(name, ..)| name).chain(codes).collect();
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(found.len(), wanted.len(), "an example appears twice");
    let bytes: BTreeSet<Vec<u8>> = examples("frame").iter().map(Example::bytes).collect();
    assert_eq!(bytes.len(), found.len(), "two examples have the same bytes");
}

/// Types in byte tables whose parts have lines of their own in an example.
const PARTED: [&str; 8] = ["fields", "nodes", "task", "rows", "results", "entries", "progress", "facts"];

/// Types of which an example may have none.
const ABSENT: [&str; 2] = ["blocks", "names"];

/// Goes through the fields of an example beside the rows of its byte table.
fn check_layout(rows: &[Vec<&str>], pieces: &[Piece]) {
    let mut pieces = pieces.iter().peekable();
    let (mut at, mut told) = (0, None::<u64>);
    for row in rows {
        let &[offset, length, kind, field, _] = &row[..] else { panic!("a byte table has five columns: {row:?}") };
        let start = at;
        // A field may take several lines: `fields.eta` and `task.step` belong to `fields` and `task`.
        let belongs = |piece: &&Piece| {
            let name = piece.annotation().name;
            name == field || name.strip_prefix(field).is_some_and(|rest| rest.starts_with('.'))
        };
        let mut lines = 0;
        // Fields of which the line before says that they have no bytes.
        let is_told_empty = kind == "fields" && told == Some(0);
        while let Some(piece) = pieces.next_if(belongs) {
            lines += 1;
            at += piece.bytes.len();
            let annotation = piece.annotation();
            told = annotation.value.and_then(|value| value.parse().ok());
            if annotation.name == field && field != "reserved" && !PARTED.contains(&kind) {
                assert_eq!(annotation.kind, kind, "line {}: the type of {field}", piece.line);
            }
            // Where a length is fixed a field has it after one line, unless its parts follow: two reserved fields in a
            // row are two rows.
            if length.parse() == Ok(at - start) {
                break;
            }
        }
        // Some have it, and others do not.
        let of_some = length.strip_prefix("0 or ");
        assert!(
            lines > 0 || is_told_empty || ABSENT.contains(&kind) || of_some.is_some(),
            "the example has no {field}, or not here: {row:?}"
        );
        assert!(offset == "+" || offset.parse() == Ok(start), "{field} begins at {start}: {row:?}");
        let fits = |length: &str| length == "…" || length.parse() == Ok(at - start);
        assert!(
            fits(length) || of_some.is_some_and(|length| lines == 0 || fits(length)),
            "{field} has {} bytes: {row:?}",
            at - start
        );
    }
    if let Some(piece) = pieces.next() {
        panic!("line {}: {} is in no row of its byte table", piece.line, piece.comment);
    }
}

#[test]
fn every_example_has_the_layout_of_its_byte_table() {
    let compact = |example: &Example| example.name().starts_with("ERROR ") && example.pieces.len() == 3;
    for example in examples("frame").iter().filter(|example| !compact(example)) {
        let name = example.name().split(' ').next().unwrap();
        let kind = MessageType::ALL.iter().find(|kind| kind.name() == name).unwrap();
        let fields = &example.pieces[1..];
        if !fields.is_empty() {
            check_layout(&book::table(&format!("### {kind} ({:#04X})", *kind as u8).replace("0X", "0x")), fields);
        }
        for (part, heading) in [
            ("name.", "### The name of a task"),
            ("rows.", "### Blocks of a task"),
            ("result.", "### A result that is held"),
            ("entry.", "### An entry of the ledger"),
        ] {
            let alone = inside(fields, part);
            if !alone.is_empty() {
                check_layout(&book::table(heading), &alone);
            }
        }
    }
    let header = &examples("header")[0];
    check_layout(&book::table("### The header"), &header.pieces);
    assert_eq!(only_frame(&header.bytes(), header.line()).0.kind, MessageType::Ping as u8);
}

/// The pieces whose names begin with this, without it.
fn inside(pieces: &[Piece], of: &str) -> Vec<Piece> {
    let inside = |piece: &Piece| {
        let comment = piece.comment.strip_prefix(of)?.to_owned();
        Some(Piece { comment, bytes: piece.bytes.clone(), ..*piece })
    };
    pieces.iter().filter_map(inside).collect()
}

const ROLES: [Role; 3] = [Role::Client, Role::Coordinator, Role::Node];

/// The tagged fields in these pieces: tag, name, and value with its head.
fn fields(pieces: &[Piece], tag_and_length_bytes: usize) -> Vec<(u16, String, Vec<u8>)> {
    let mut out: Vec<(u16, String, Vec<u8>)> = Vec::new();
    for piece in pieces {
        let annotation = piece.annotation();
        if let Some(name) = annotation.name.strip_suffix(".tag") {
            let tag = u16::from_le_bytes(piece.bytes[..].try_into().unwrap());
            out.push((tag, name.trim_start_matches("fields.").to_owned(), Vec::new()));
        }
        if let Some(field) = out.last_mut() {
            field.2.extend_from_slice(&piece.bytes);
        }
    }
    assert!(out.iter().all(|field| field.2.len() >= tag_and_length_bytes));
    out
}

/// Tag and name of each row of a table of fields.
fn tags(rows: &[Vec<&str>]) -> BTreeSet<(u16, String)> {
    rows.iter().map(|row| (number(row[0]), row[1].to_owned())).collect()
}

fn number(cell: &str) -> u16 {
    u16::from_str_radix(cell.trim_start_matches("0x"), 16).unwrap_or_else(|_| panic!("{cell:?} is no tag"))
}

#[test]
fn every_object_is_the_value_it_says_both_ways() {
    let found: BTreeSet<String> = examples("object").iter().map(|example| example.name().to_owned()).collect();
    assert_eq!(
        found,
        ["weights", "rows", "update", "rows-with-targets", "rows-with-indices", "sum", "outer", "confusion"]
            .map(str::to_owned)
            .into()
    );
    for example in examples("object") {
        let (digest, elements) = example.pieces.split_last().unwrap();
        for piece in elements {
            piece.annotation();
        }
        assert_eq!(example.bytes(), values::object(example.name()), "line {}", example.line());
        assert_eq!(digest.comment, format!("SHA-256 = {}", Digest::of(&example.bytes())), "line {}", digest.line);

        let descriptor = book::table("### The descriptor");
        check_layout(&descriptor, &elements[..3]);
    }
}

/// CRC-32 as frames have it.
fn crc(bytes: &[u8]) -> u32 {
    let frame = Encoded::seal(MessageType::Ping as u8, Flags::NONE, 1, bytes, None).to_bytes();
    only_frame(&frame, 0).0.payload_crc
}

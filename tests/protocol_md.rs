//! The documents of the protocol, executed: every example both ways, every table of numbers against the code.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use common::book::{self, Example, Piece, values};
use gradwire::digest::Digest;
use gradwire::wire::header::{Flags, HEADER_BYTES, Header, MAGIC, OPTIONAL_TYPES_FROM};
use gradwire::wire::session::{Incoming, Violation, check_flags};
use gradwire::wire::{
    Decoder, Encoded, ErrorCode, Malformation, Message, MessageType, Reader, Role, Session, judge, limits,
    specification,
};
use gradwire::{job, model};

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

/// The bytes of the field with this name.
fn bytes_of(example: &Example, name: &str) -> Vec<u8> {
    let named = example.pieces.iter().filter(|piece| piece.annotation().name == name);
    named.flat_map(|piece| piece.bytes.iter().copied()).collect()
}

#[test]
fn the_journal_of_the_smallest_job_has_the_layouts_digests_and_messages_that_it_says() {
    let [state, block] = ["state", "block"].map(|kind| examples(kind).pop().unwrap());
    check_layout(&book::table("## 2 A state"), &state.pieces);
    check_layout(&book::table("## 3 The progress of a job"), &inside(&state.pieces, "progress."));
    check_layout(&book::table("## 4 A block of the ledger"), &block.pieces);

    let objects = ["weights", "confusion"].map(|name| bytes_of(&state, name));
    let (head, rest) = (state.bytes(), objects.concat().len() + 32);
    let head = &head[..head.len() - rest];
    assert_eq!(bytes_of(&state, "head_bytes"), (head.len() as u32).to_le_bytes());
    assert_eq!(bytes_of(&state, "trailer"), Digest::of(head).0);
    assert_eq!(objects, [values::weights(), values::confusion()]);
    assert_eq!(bytes_of(&state, "progress.base"), Digest::of(&values::weights()).0);
    assert_eq!(bytes_of(&state, "tail"), block.bytes());
    let sealed = &block.bytes()[..block.bytes().len() - 32];
    assert_eq!(bytes_of(&block, "sealed_bytes"), (sealed.len() as u32 - 4).to_le_bytes());
    assert_eq!(bytes_of(&block, "seal"), Digest::of_parts(&[&[0; 32], sealed]).0);

    let parts = [
        (&state, "submit", MessageType::Submit),
        (&state, "done", MessageType::Done),
        (&state, "progress.round", MessageType::Round),
        (&block, "round", MessageType::Round),
    ];
    for (example, name, kind) in parts.into_iter().chain([(&block, "entries", MessageType::Entries)]) {
        let payload = bytes_of(example, name);
        assert_eq!(bytes_of(example, &format!("{name}_bytes")), (payload.len() as u32).to_le_bytes());
        assert_eq!(Message::decode(kind, &payload).as_ref(), Ok(&values::message(kind).1), "{name}");
    }
    let standing = bytes_of(&state, "standing");
    let Ok(Message::Job(standing)) = Message::decode(MessageType::Job, &standing) else { panic!("no JOB") };
    assert_eq!(standing.fingerprint, Some(values::fingerprint()));
}

/// Two fields of one type swapped in prose and example alike would leave the bytes right: the names must be the code's.
#[test]
fn every_number_in_an_example_has_the_name_that_the_code_gives_it() {
    let mut compared = BTreeSet::new();
    for (kind, _, message) in values::frames() {
        let shown = format!("{message:#?}");
        let fields: BTreeMap<&str, &str> = shown.lines().filter_map(|line| line.trim().split_once(": ")).collect();
        let example = examples("frame").into_iter().find(|example| example.name() == kind).unwrap();
        for annotation in example.pieces[1..].iter().map(Piece::annotation) {
            let parts = ["name.", "node.", "rows.", "range.", "result.", "entry.", "fact."];
            let name = parts.iter().fold(annotation.name, |name, part| name.trim_start_matches(part));
            let (Some(shown), Some(value)) = (fields.get(name), annotation.value) else { continue };
            let said = match shown.trim_end_matches(',') {
                "true" => "1",
                "false" => "0",
                number if number.parse::<f64>().is_ok() => number,
                _ => continue,
            };
            let as_said = book::Annotation { value: Some(said), ..annotation };
            assert_eq!(as_said.encode(), annotation.encode(), "{kind}: {name} is {said} in the code, {value} here");
            compared.insert((kind.clone(), name.to_owned()));
        }
    }
    assert!(compared.len() > 50, "only {} names are compared", compared.len());
}

#[test]
fn every_short_example_of_an_error_is_described_truly() {
    for example in examples("frame").iter().filter(|example| example.name().starts_with("ERROR ")) {
        let [header, payload, said] = &example.pieces[..] else { continue };
        let Ok(Message::Error(error)) = Message::decode(MessageType::Error, &payload.bytes) else {
            panic!("line {}: no ERROR", header.line)
        };
        let about = match MessageType::from_number(error.about) {
            Some(kind) => format!(" about {kind}"),
            None if error.about == 0 => String::new(),
            None => format!(" about type {:#04x}", error.about),
        };
        let connection = error.code as u16 <= ErrorCode::Authentication as u16;
        let either = [ErrorCode::Busy, ErrorCode::Closing, ErrorCode::Recovering].contains(&error.code);
        let (frame, _) = only_frame(&example.bytes(), header.line);
        assert!(either || connection == (frame.request == 0), "line {}: the request of {}", header.line, error.code);
        let retry = if error.retry { ", may be retried" } else { "" };
        let text = format!("{}{about}{retry}: got {}, allowed {}", error.code, error.got, error.allowed);
        assert_eq!(said.comment, text, "line {}", said.line);
    }
}

#[test]
fn the_table_of_error_codes_is_the_codes() {
    let rows: Vec<String> = book::table("## 10 Errors").iter().map(|row| row[..3].join(" | ")).collect();
    let codes = ErrorCode::ALL.iter().map(|&code| format!("{} | {} | {}", code as u16, code.name(), code.meaning()));
    assert_eq!(rows, codes.collect::<Vec<_>>());
}

#[test]
fn the_table_of_limits_is_the_codes() {
    macro_rules! named { ($show:expr; $($($path:ident)::+),* $(,)?) => { [$((last(stringify!($($path)::+)), $show($($path)::+)),)*] } }
    fn last(path: &'static str) -> &'static str {
        path.rsplit(':').next().unwrap().trim()
    }
    fn number<T: TryInto<u64>>(value: T) -> String {
        let digits = value.try_into().unwrap_or_else(|_| panic!("a limit over u64")).to_string();
        let groups: Vec<&str> =
            digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
        groups.join(",")
    }
    let shown = |limit: &limits::Limit| match limit.unit {
        "s" => format!("{} s", limit.value),
        _ => number(limit.value),
    };
    let mut wanted: BTreeMap<&str, String> = limits::ALL.iter().map(|limit| (limit.name, shown(limit))).collect();
    wanted.extend(named![number; model::network::INPUTS_MAX, model::network::HIDDEN_WIDTH_MAX]);
    wanted.extend(named![number; model::network::HIDDEN_LAYERS_MAX, model::network::CLASSES_MAX]);
    wanted.extend(named![number; model::network::PARAMETERS_MAX, model::INDEX_COLUMNS_MAX]);
    wanted.extend(named![number; model::recipe::EPOCHS_MAX, model::recipe::BATCH_ROWS_MAX]);
    wanted.extend(
        named![number; model::recipe::LOCAL_STEPS_MAX, job::STEPS_MAX, job::TASKS_PER_STEP_MAX, job::MEDIAN_BLOCKS_MAX],
    );
    wanted.extend(named![number; job::ROUNDS_MAX, job::SHARDS_MAX, job::ROWS_MAX, job::NOTES_BYTES_MAX]);

    let rows = book::table("## 11 Limits");
    let found: BTreeMap<&str, String> = rows.iter().map(|row| (row[0], row[1].to_owned())).collect();
    assert_eq!(found, wanted);
    assert_eq!(rows.len(), wanted.len(), "a limit appears twice");
    for limit in limits::ALL {
        let row = rows.iter().find(|row| row[0] == limit.name).unwrap();
        assert_eq!(row[2], limit.of, "{}", limit.name);
    }
}

const ROLES: [Role; 3] = [Role::Client, Role::Coordinator, Role::Node];

fn header(kind: MessageType, flags: Flags, request: u32) -> Header {
    Header { version: 1, kind: kind as u8, flags, request, payload_bytes: 0, payload_crc: 0 }
}

/// Whether a cell `From, to` allows this pair.
fn allows(cell: &str, from: Role, to: Role) -> bool {
    let (said_from, said_to) = cell.split_once(", ").unwrap();
    let is = |said: &str, role: Role| said == "any" || said == role.to_string();
    is(said_from, from) && is(said_to, to)
}

#[test]
fn the_table_of_messages_is_the_rules_of_a_session() {
    let rows = book::table("## 6 Messages");
    let types: Vec<(MessageType, &Vec<&str>)> = MessageType::ALL.iter().copied().zip(&rows).collect();
    assert_eq!(rows.len(), MessageType::ALL.len());
    for (kind, row) in &types {
        assert_eq!((row[0], row[1]), (&*format!("0x{:02X}", *kind as u8), kind.name()));
        for (from, to) in ROLES.iter().flat_map(|&from| ROLES.map(|to| (from, to))) {
            let receive = |flags, request| {
                let mut session: Session<()> = Session::new(to, from, false, Duration::ZERO);
                session.receive(Duration::ZERO, &header(*kind, flags, request))
            };
            let (request, alone) = (receive(Flags::NONE, 1), receive(Flags::NONE, 0));
            assert_eq!(request.is_ok(), row[3] == "request" && allows(row[2], from, to), "{kind} {from} {to}");
            assert_eq!(alone.is_ok(), row[3].contains("alone"), "{kind} on request 0");
        }
    }
    // Every answer to every request, from the first pair of roles that may send the request.
    for (asked, row) in types.iter().filter(|(_, row)| row[3] == "request") {
        let pairs = ROLES.iter().flat_map(|&from| ROLES.map(|to| (from, to)));
        let (me, peer) = pairs.into_iter().find(|&(from, to)| from != to && allows(row[2], from, to)).unwrap();
        for (answer, answer_row) in &types {
            let mut session = Session::new(me, peer, true, Duration::ZERO);
            let request = session.open(*asked, ()).unwrap();
            let partial = answer_row[3] == "partial";
            let flags = if partial { Flags::MORE } else { Flags::NONE };
            let got = session.receive(Duration::ZERO, &header(*answer, flags, request));
            let may = row[4].split(", ").any(|name| name == answer.name()) || *answer == MessageType::Error;
            match got {
                Ok(Incoming::Answer { last, .. }) => assert!(may && last != partial, "{answer} to {asked}"),
                _ => assert!(!may, "{answer} to {asked}: {got:?}"),
            }
        }
    }
}

#[test]
fn the_table_of_states_is_what_may_come_in_which() {
    let types: Vec<Vec<&str>> = book::table("## 6 Messages");
    let states = book::table("### States");
    let cell = |kind: MessageType, column: usize| {
        let row = states.iter().find(|row| row[0].split(", ").any(|name| name == kind.name())).or_else(|| {
            let usage = types.iter().find(|row| row[1] == kind.name()).unwrap()[3];
            let group = if usage == "request" { "requests" } else { "answers" };
            states.iter().find(|row| row[0] == group)
        });
        row.unwrap()[column]
    };
    for kind in (0..=u8::MAX).filter_map(MessageType::from_number) {
        for (dialled, column) in [(false, 1), (true, 2)] {
            let mut decoder = Decoder::new(limits::PAYLOAD_BYTES_MAX);
            let flags = if check_flags(kind, Flags::NONE).is_ok() { Flags::NONE } else { Flags::MORE };
            decoder.feed(&Encoded::seal(kind as u8, flags, 0, &[], None).to_bytes());
            let got = judge::greeting(&mut decoder, dialled);
            let is_unexpected = got.is_err_and(|error| error.code == ErrorCode::Unexpected);
            assert_eq!(is_unexpected, cell(kind, column) == "UNEXPECTED", "{kind}, dialled: {dialled}");
        }
        // Greetings are for no role and no request when a connection is open; whatever else comes may be right.
        let is_unexpected_for_all = ROLES.iter().flat_map(|&me| ROLES.map(|peer| (me, peer))).all(|(me, peer)| {
            let mut session: Session<()> = Session::new(me, peer, true, Duration::ZERO);
            let flags = if check_flags(kind, Flags::NONE).is_ok() { Flags::NONE } else { Flags::MORE };
            let got = [0, 1, 2].map(|request| session.receive(Duration::ZERO, &header(kind, flags, request)));
            got.iter().all(|got| matches!(got, Err(Violation::Unexpected { .. })))
        });
        assert_eq!(is_unexpected_for_all, cell(kind, 3) == "UNEXPECTED", "{kind} in an open connection");
    }
}

#[test]
fn the_examples_of_errors_say_what_the_table_of_errors_says() {
    let table = book::table("## 10 Errors");
    for example in examples("frame").iter().filter(|example| example.name().starts_with("ERROR ")) {
        let line = example.line();
        let (header, payload) = only_frame(&example.bytes(), line);
        let Ok(Message::Error(error)) = Message::decode(MessageType::Error, &payload) else { panic!("line {line}") };
        let row = table.iter().find(|row| row[1] == error.code.name()).unwrap();
        let &[_, _, _, sent_on, retry, got, allowed, closes] = &row[..] else { panic!("{row:?}") };
        assert!(got != "0" || error.got == 0, "line {line}: got");
        assert!(allowed != "0" || error.allowed == 0, "line {line}: allowed");
        assert!(!["0", "1"].contains(&retry) || retry == u8::from(error.retry).to_string(), "line {line}: retry");
        // What is sent on request 0 closes the connection, and nothing else does.
        let is_alone = header.request == 0;
        assert!(closes != if is_alone { "no" } else { "yes" }, "line {line}: closes");
        let about = MessageType::from_number(error.about).map_or("", MessageType::name);
        let of_request = sent_on.contains(about) || sent_on.contains("request");
        assert!(
            if is_alone { sent_on.starts_with('0') } else { of_request },
            "line {line}: on {sent_on}, about {about}"
        );
    }
}

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
fn the_table_of_greeting_fields_is_what_greetings_have() {
    let greetings = examples("frame").into_iter().filter(|example| ["HELLO", "WELCOME"].contains(&example.name()));
    let found = greetings.flat_map(|example| fields(&example.pieces[1..], 4)).map(|(tag, name, _)| (tag, name));
    assert_eq!(found.collect::<BTreeSet<_>>(), tags(&book::table("### Greeting")));
}

/// "A field that breaks a rule is MALFORMED, skippable or not".
#[test]
fn a_greeting_field_that_breaks_a_rule_is_malformed_and_what_the_document_allows_is_taken() {
    let (_, hello) = values::message(MessageType::Hello);
    let fixed = &hello.payload()[..56];
    let answer = |fields: &[(u16, &[u8])]| {
        let field =
            |(tag, value): &(u16, &[u8])| [&tag.to_le_bytes()[..], &(value.len() as u16).to_le_bytes(), value].concat();
        let payload = [fixed.to_vec(), fields.iter().flat_map(field).collect()].concat();
        Message::decode(MessageType::Hello, &payload).map(drop).map_err(|refused| refused.code().name())
    };
    let conformance = |arithmetics: &[u8]| -> Vec<u8> {
        arithmetics.iter().flat_map(|&arithmetic| [vec![arithmetic, 0], vec![7; 32]].concat()).collect()
    };
    let refused: [&[(u16, &[u8])]; 14] = [
        &[(0x8002, b"a"), (0x0001, b"lab")],
        &[(0x0001, b"lab"), (0x0001, b"lab")],
        &[(0x0001, b"")],
        &[(0x0001, b"two words")],
        &[(0x0002, b"")],
        &[(0x0002, &[2, 0, 0])],
        &[(0x0002, &[2; 130])],
        &[(0x8001, &[1; 3])],
        &[(0x8002, &[b'n'; 65])],
        &[(0x8003, &[2, 0, b'a', 7])],
        &[(0x8004, b"")],
        &[(0x8004, &conformance(&[2])[1..])],
        &[(0x8004, &conformance(&[2, 1]))],
        &[(0x8004, &conformance(&Vec::from_iter(0..17)))],
    ];
    for fields in refused {
        assert_eq!(answer(fields), Err("MALFORMED"), "{fields:?}");
    }
    assert_eq!(answer(&[(0x0003, b"new")]), Err("UNKNOWN_FIELD"));
    assert_eq!(answer(&[(0x0002, &[9, 0, 2, 0]), (0x8001, &[0; 4]), (0x9000, b"new")]), Ok(()));
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

#[test]
fn every_specification_is_the_value_it_says_both_ways() {
    for example in examples("specification") {
        let wanted = values::specification(example.name());
        let decoded = specification::decode(Reader::new("the example", &example.bytes()));
        assert_eq!(decoded.as_ref(), Ok(&wanted), "line {}", example.line());
        assert_eq!(specification::encode(&wanted), example.bytes(), "line {}", example.line());
        let digest = example.pieces.last().unwrap();
        let said = format!("semantic digest = {}", specification::semantic_digest(&wanted));
        assert_eq!(digest.comment, said, "line {}", digest.line);
    }
}

#[test]
fn the_digests_of_the_smallest_job_are_those_of_the_table() {
    let rows = book::table("### The two digests");
    let found: Vec<(&str, &str)> = rows.iter().map(|row| (row[0], row[1].trim_matches('`'))).collect();
    let semantic = specification::semantic_digest(&values::smallest()).to_string();
    let weights = Digest::of(&values::weights()).to_string();
    let fingerprint = values::fingerprint().to_string();
    assert_eq!(found, [("semantic digest", &*semantic), ("weights", &weights), ("fingerprint", &fingerprint)]);
    // The formula in words, once more without the library's function for it.
    let by_hand = [&b"gradwire specification 1"[..], &specification::encode(&values::smallest())].concat();
    assert_eq!(Digest::of(&by_hand).to_string(), semantic);
}

#[test]
fn the_smallest_job_trains_to_what_the_book_says() {
    use gradwire::model::figures::judge;
    use gradwire::model::train::Unwatched;
    use gradwire::model::{ExactSum, Kernel, Rows, Trainer, evaluate};
    use gradwire::wire::object::{
        ObjectKind, decode_parameters, decode_rows, encode_confusion, parameters, parameters_mut,
    };

    let training = values::smallest().training;
    let rows = |object: Vec<u8>| {
        let parts = decode_rows(&training.network, training.recipe.loss, &object).unwrap();
        Rows::of_parts(training.network.input_layout(), parts).unwrap().into_owned()
    };
    let base = values::base();
    let base = decode_parameters(ObjectKind::Weights, &training.network, &base).unwrap();
    for kernel in Kernel::available() {
        let shard = rows(values::shard());
        let trained = Trainer::new(kernel).train(&training, 0, 0, &base, &shard, &mut Unwatched).unwrap();
        let (_, Message::Trained(said)) = values::message(MessageType::Trained) else { unreachable!() };
        assert_eq!((trained.loss, trained.epochs), (said.result.loss, said.result.epochs));
        let update = values::update();
        assert_eq!(trained.update, *decode_parameters(ObjectKind::Update, &training.network, &update).unwrap());

        let mut sum = ExactSum::new(kernel, base.len(), 2);
        sum.add(parameters(ObjectKind::Update, &training.network, &update).unwrap(), 2).unwrap();
        let mut merged = values::base();
        sum.mean_onto(parameters_mut(&training.network, &mut merged)).unwrap();
        assert_eq!(merged, values::weights());
        let weights = decode_parameters(ObjectKind::Weights, &training.network, &merged).unwrap();
        let validation = rows(values::validation());
        let evaluation = evaluate(kernel, &training.network, &training.recipe, &weights, &validation).unwrap();
        assert_eq!(evaluation.metrics.get(gradwire::model::Metric::Errors), Some(0.0));
        assert_eq!(evaluation.metrics, values::metrics());
        let network = &training.network;
        let judgement = judge(kernel, network, &training.recipe, &weights, &validation).unwrap();
        assert_eq!(judgement, values::judgement());
        assert_eq!(judgement.metrics.tagged()[..2], *evaluation.metrics.tagged());
        assert_eq!(encode_confusion([&judgement.confusion[..]].into_iter()), values::confusion());
    }
}

#[test]
fn the_block_of_the_examples_has_the_sum_that_the_book_says() {
    use gradwire::model::train::Unwatched;
    use gradwire::model::{BlockRange, GradientSum, Kernel, Rows, Trainer};
    use gradwire::wire::message::RowsSource;
    use gradwire::wire::object::{ObjectKind, decode_parameters, decode_rows, encode_sum};

    let frames = values::frames();
    let of_gradients = |kind: &str| &frames.iter().find(|(name, ..)| *name == format!("{kind} GRADIENTS")).unwrap().2;
    let Message::Train(train) = of_gradients("TRAIN") else { unreachable!() };
    let Message::Trained(said) = of_gradients("TRAINED") else { unreachable!() };
    let RowsSource::Blocks { epoch, ranges } = &train.rows else { unreachable!() };
    let blocks: Vec<BlockRange> = ranges.iter().map(|range| range.blocks).collect();
    let training = train.training.as_ref().unwrap();
    let base = values::base();
    let base = decode_parameters(ObjectKind::Weights, &training.network, &base).unwrap();
    let shard = values::shard();
    let parts = decode_rows(&training.network, training.recipe.loss, &shard).unwrap();
    let rows = Rows::of_parts(training.network.input_layout(), parts).unwrap();
    for kernel in Kernel::available() {
        let mut sum = GradientSum::new(kernel, 0);
        let parts: Vec<_> = blocks.iter().map(|&range| (range, &rows)).collect();
        Trainer::new(kernel).sum_gradients(training, *epoch, &parts, &base, &mut Unwatched, &mut sum).unwrap();
        assert_eq!(encode_sum(Vec::new(), &training.network, &sum), values::sum());
        assert_eq!((sum.loss(), said.result.epochs), (said.result.loss, 0));
    }
}

/// Fields of a specification put together again.
fn assemble(fields: &BTreeMap<u16, Vec<u8>>) -> Vec<u8> {
    fields.values().flatten().copied().collect()
}

fn decode_fields(fields: &BTreeMap<u16, Vec<u8>>) -> Result<job::Specification, Malformation> {
    specification::decode(Reader::new("the specification", &assemble(fields))).map_err(|error| error.why)
}

fn field(tag: u16, value: &[u8]) -> Vec<u8> {
    [&tag.to_le_bytes()[..], &(value.len() as u32).to_le_bytes(), value].concat()
}

#[test]
fn the_table_of_specification_fields_is_what_is_decoded() {
    let rows = book::table("## 5 The specification");
    let mut seen = BTreeSet::new();
    let mut specifications: Vec<BTreeMap<u16, Vec<u8>>> = Vec::new();
    for example in examples("specification") {
        let fields = fields(&example.pieces[..example.pieces.len() - 1], 6);
        seen.extend(fields.iter().map(|(tag, name, _)| (*tag, name.clone())));
        specifications.push(fields.into_iter().map(|(tag, _, bytes)| (tag, bytes)).collect());
    }
    assert_eq!(seen, tags(&rows), "the examples together have every field of the table");

    for row in &rows {
        let (tag, kind, default) = (number(row[0]), row[2], row[3]);
        // Left out: a default, or an error. The digest changes with semantic fields only.
        let with = specifications.iter().find(|fields| fields.contains_key(&tag)).unwrap();
        let mut without = with.clone();
        without.remove(&tag);
        match decode_fields(&without) {
            Ok(changed) => {
                assert_ne!(default, "required", "{row:?}");
                let digest = specification::semantic_digest;
                let same = digest(&changed) == digest(&decode_fields(with).unwrap());
                assert_eq!(same, tag >= 0x4000, "whether {row:?} is hashed");
            }
            Err(why) => assert_eq!((why, default), (Malformation::MissingField { tag }, "required")),
        }
        // Written: a default is refused.
        if !["required", "none"].contains(&default) {
            let annotation = book::Annotation { name: row[1], kind, value: Some(default) };
            let mut written = specifications[0].clone();
            written.insert(tag, field(tag, &annotation.encode().unwrap()));
            assert_eq!(decode_fields(&written), Err(Malformation::DefaultWritten { tag }), "{row:?}");
        }
    }

    // Who may ignore an unknown field.
    for (tag, skipped) in [(0x001F, false), (0x4005, false), (0xC000, true), (0x8000, false)] {
        let mut fields = specifications[0].clone();
        fields.insert(tag, field(tag, b"new"));
        let wanted = if skipped { Ok(values::smallest()) } else { Err(Malformation::UnknownField { tag }) };
        assert_eq!(decode_fields(&fields), wanted, "{tag:#06x}");
    }
}

#[test]
fn the_table_of_specification_fields_is_the_programs() {
    let programs: Vec<_> = specification::descriptions()
        .map(|field| (field.tag, field.name.to_owned(), field.kind.to_owned(), field.default))
        .collect();
    let rows = book::table("## 5 The specification");
    let documented: Vec<_> =
        rows.iter().map(|row| (number(row[0]), row[1].to_owned(), row[2].to_owned(), row[3].to_owned())).collect();
    assert_eq!(documented, programs);
}

/// The option of the client that sets a field, or why there is none.
#[cfg(feature = "client")]
const SET_BY: [(&str, Result<&str, &str>); 55] = [
    ("arithmetic", Err("a program computes one")),
    ("inputs", Err("the data's features")),
    ("hidden", Ok("--hidden")),
    ("classes", Err("the data's classes, or its targets")),
    ("activation", Ok("--activation")),
    ("optimiser", Ok("--optimiser")),
    ("reduction", Err("what the learning rate means depends on it: --recipe sets both")),
    ("initialisation", Err("--recipe sets it")),
    ("eta", Ok("--eta")),
    ("eta_decay", Ok("--eta-decay")),
    ("batch", Ok("--batch")),
    ("epochs", Ok("--epochs")),
    ("log_epsilon", Err("only the classic recipe's loss has one: --recipe sets it")),
    ("stop_loss_change", Err("only the classic recipe stops: --recipe sets it")),
    ("seed", Ok("--seed")),
    ("loss", Ok("--loss")),
    ("momentum", Ok("--momentum")),
    ("beta1", Err("Adam's usual value serves")),
    ("beta2", Err("Adam's usual value serves")),
    ("epsilon", Err("Adam's usual value serves")),
    ("weight_decay", Ok("--weight-decay")),
    ("local_steps", Ok("--local-steps")),
    ("class_weights", Ok("--class-weight")),
    ("huber_delta", Ok("--huber-delta")),
    ("schedule", Ok("--schedule")),
    ("schedule_steps", Err("as many as the job has")),
    ("warmup", Ok("--warmup")),
    ("label_smoothing", Ok("--label-smoothing")),
    ("dropout", Ok("--dropout")),
    ("index_columns", Err("the data's categories and weekdays")),
    ("rounds", Ok("--rounds")),
    ("shards", Ok("--shards")),
    ("validation", Ok("--validate-split")),
    ("initial", Ok("--start-from")),
    ("merge", Ok("--merge")),
    ("outer", Ok("--outer")),
    ("outer_eta", Ok("--outer-eta")),
    ("outer_momentum", Ok("--outer-momentum")),
    ("outer_beta1", Err("Adam's usual value serves")),
    ("outer_beta2", Err("Adam's usual value serves")),
    ("outer_epsilon", Err("Adam's usual value serves")),
    ("outer_weight_decay", Ok("--outer-weight-decay")),
    ("outer_schedule", Ok("--outer-schedule")),
    ("outer_clip", Ok("--outer-clip")),
    ("round_steps", Ok("--round-steps")),
    ("patience", Ok("--patience")),
    ("test", Ok("--test")),
    ("target_accuracy", Ok("--target-accuracy")),
    ("outer_eta_decay", Ok("--outer-eta-decay")),
    ("outer_warmup", Ok("--outer-warmup")),
    ("on_task_failure", Ok("--on-task-failure")),
    ("allow_inexact", Ok("--allow-inexact")),
    ("on_no_nodes", Ok("--on-no-nodes")),
    ("tasks_per_step", Ok("--tasks-per-step")),
    ("notes", Err("the client's own words about the data")),
];

#[cfg(feature = "client")]
#[test]
fn every_field_of_a_specification_has_an_option_of_the_client_or_a_reason_for_none() {
    let help = common::process::run(env!("CARGO_BIN_EXE_client"), ["--help"]).stdout;
    let names = help.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| word.starts_with("--"));
    let options: BTreeSet<&str> = names.collect();
    let fields: Vec<&str> = specification::descriptions().map(|field| field.name).collect();
    assert_eq!(SET_BY.map(|(field, _)| field)[..], fields);
    for (field, set_by) in SET_BY {
        match set_by {
            Ok(option) => assert!(options.contains(option), "{field}: no {option} in {options:?}"),
            Err(why) => {
                let option = format!("--{}", field.replace('_', "-"));
                assert!(!options.contains(&*option), "there is {option} all the same: {why}");
            }
        }
    }
}

/// The specification of an example with this field as it is given; without it where it is none.
fn with_field(example: &str, tag: u16, value: Option<&[u8]>) -> Vec<u8> {
    with_fields(example, &[(tag, value)])
}

/// The same with several.
fn with_fields(example: &str, given: &[(u16, Option<&[u8]>)]) -> Vec<u8> {
    let example = examples("specification").into_iter().find(|found| found.name() == example).unwrap();
    let fields = fields(&example.pieces[..example.pieces.len() - 1], 6);
    let mut fields: BTreeMap<u16, Vec<u8>> = fields.into_iter().map(|(tag, _, bytes)| (tag, bytes)).collect();
    for &(tag, value) in given {
        match value {
            Some(value) => fields.insert(tag, field(tag, value)),
            None => fields.remove(&tag),
        };
    }
    assemble(&fields)
}

#[test]
fn what_a_specification_may_not_say_is_answered_as_the_table_says() {
    let tags: BTreeMap<String, u16> =
        book::table("## 5 The specification").iter().map(|row| (row[1].to_owned(), number(row[0]))).collect();
    let written = |example, name: &str, value: &[u8]| with_field(example, tags[name], Some(value));
    let f32s = |example: &'static str, names: &'static [&'static str], values: &'static [f32]| -> Vec<Vec<u8>> {
        let each = |name: &&str| values.iter().map(|value| written(example, name, &value.to_le_bytes())).collect();
        names.iter().flat_map(|name| -> Vec<Vec<u8>> { each(name) }).collect()
    };
    let smallest = "smallest";
    let mut rows_of_no_shard = 0u32.to_le_bytes().to_vec();
    rows_of_no_shard.extend([7; 32]);
    let mut rows_of_large_shards = (1u32 << 30).to_le_bytes().to_vec();
    rows_of_large_shards.extend([7; 32]);
    rows_of_large_shards.extend_from_within(..);
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        (
            "a required field is missing; a default",
            [
                ["inputs", "classes", "eta", "shards", "validation"]
                    .map(|name| with_field(smallest, tags[name], None))
                    .to_vec(),
                vec![
                    written(smallest, "rounds", &1u32.to_le_bytes()),
                    written(smallest, "hidden", &[]),
                    written(smallest, "class_weights", &[]),
                    written(smallest, "index_columns", &[]),
                    written(smallest, "notes", &[]),
                ],
            ]
            .concat(),
        ),
        (
            "its type does not allow",
            vec![
                written(smallest, "optimiser", &[9]),
                written(smallest, "seed", &[1; 4]),
                written(smallest, "hidden", &[1; 5]),
                written(smallest, "index_columns", &[0; 12]),
            ],
        ),
        (
            "minus zero as `log_epsilon`",
            f32s(
                "every-field",
                &[
                    "log_epsilon",
                    "label_smoothing",
                    "dropout",
                    "stop_loss_change",
                    "outer_weight_decay",
                    "outer_momentum",
                ],
                &[-0.0],
            ),
        ),
        (
            "minus zero as `eta`",
            [
                f32s("every-field", &["eta", "eta_decay", "outer_eta", "outer_clip", "outer_epsilon"], &[-0.0]),
                f32s(
                    "every-field",
                    &[
                        "eta",
                        "eta_decay",
                        "log_epsilon",
                        "stop_loss_change",
                        "outer_eta",
                        "outer_momentum",
                        "outer_clip",
                    ],
                    &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY],
                ),
            ]
            .concat(),
        ),
        (
            "outside its",
            vec![
                written(smallest, "batch", &0u32.to_le_bytes()),
                written(smallest, "rounds", &0u32.to_le_bytes()),
                written(smallest, "shards", &rows_of_no_shard),
            ],
        ),
        (
            "an empty `shards`",
            vec![
                written(smallest, "shards", &[]),
                written("mini-batches", "stop_loss_change", &0.5f32.to_le_bytes()),
                written("every-field", "dropout", &0.5f32.to_le_bytes()),
                written("mini-batches", "class_weights", &1f32.to_le_bytes()),
                written("mini-batches", "class_weights", &[0; 8]),
                written(smallest, "index_columns", &[[0u8; 4], 2u32.to_le_bytes()].concat()),
                written(smallest, "index_columns", &[0; 8]),
                written("regression", "label_smoothing", &0.5f32.to_le_bytes()),
                written("regression", "class_weights", &[1f32.to_le_bytes(); 2].concat()),
                written(smallest, "target_accuracy", &0.5f64.to_le_bytes()),
                with_fields(
                    "regression",
                    &[
                        (tags["patience"], Some(&1u32.to_le_bytes())),
                        (tags["target_accuracy"], Some(&0.5f64.to_le_bytes())),
                    ],
                ),
                written("mini-batches", "target_accuracy", &1.5f64.to_le_bytes()),
            ],
        ),
        (
            "`local_steps` without `batch`",
            vec![
                with_field("merged-gradients", tags["batch"], None),
                written("merged-gradients", "epochs", &2u32.to_le_bytes()),
                with_field("local-steps", tags["local_steps"], None),
                with_fields(
                    "merged-gradients",
                    &[
                        (tags["batch"], Some(&(1u32 << 24).to_le_bytes())),
                        (tags["shards"], Some(&rows_of_large_shards)),
                        (tags["merge"], Some(&[2])),
                    ],
                ),
                with_field("merged-gradients", tags["outer"], None),
                written("local-steps", "round_steps", &(1u32 << 24).to_le_bytes()),
            ],
        ),
    ];
    let table = book::table("### What a specification may not say");
    // The job's id is none of the specification's fields.
    assert_eq!(table.len(), cases.len() + 1);
    for (said, specifications) in cases {
        let rows: Vec<_> = table.iter().filter(|row| row[0].contains(said)).collect();
        let [row] = rows[..] else { panic!("{said:?} is in {} rows", rows.len()) };
        for (index, bytes) in specifications.iter().enumerate() {
            let refused = specification::decode(Reader::new("a specification", bytes)).expect_err(said);
            assert_eq!(refused.code().name(), row[1], "{said}, case {index}: {refused}");
        }
    }
}

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

#[test]
fn numbers_in_the_prose_are_the_codes() {
    let says = |text: &str| book::PROTOCOL.check_says(text);
    says(&format!("`{}`: F5, then `GRW`", MAGIC.map(|byte| format!("{byte:02X}")).join(" ")));
    says(&format!("a header of {HEADER_BYTES} bytes"));
    says(&format!("CRC-32 of the nine bytes `\"123456789\"` is `{:08X}`", crc(b"123456789")));
    says(&format!("that of no bytes is {}.", crc(b"")));
    says(&format!("Numbers {OPTIONAL_TYPES_FROM:#x} to 0xFF are for optional messages"));
    says("A piece has at most 1,048,528 bytes");
    assert_eq!(gradwire::wire::message::PIECE_BYTES_MAX, 1_048_528);
}

/// CRC-32 as frames have it.
fn crc(bytes: &[u8]) -> u32 {
    let frame = Encoded::seal(MessageType::Ping as u8, Flags::NONE, 1, bytes, None).to_bytes();
    only_frame(&frame, 0).0.payload_crc
}

//! The tables of the protocol, and numbers in its prose, against the code.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gradwire::wire::header::{Flags, HEADER_BYTES, Header, MAGIC, OPTIONAL_TYPES_FROM};
use gradwire::wire::session::{Incoming, Violation, check_flags};
use gradwire::wire::{Decoder, Encoded, ErrorCode, Message, MessageType, Role, Session, judge, limits};
use gradwire::{job, model};

use crate::common::book::{self, Piece, values};
use crate::{ROLES, crc, examples, fields, only_frame, tags};

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

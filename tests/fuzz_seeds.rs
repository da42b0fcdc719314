//! Replays what the fuzzers start from and what they have found, with any compiler; and keeps the seeds that are made.

mod common;

use common::seeds::{self, Files, files};
use gradwire::wire::{MessageType, fuzzing};

/// A fuzz target: its name, its body, and how many seeds it has at least.
type Target = (&'static str, fn(&[u8]), usize);

const TARGETS: [Target; 6] = [
    ("csv", gradwire::dataset::fuzzing::csv, 30),
    ("frame_decode", fuzzing::frame_decode, 50),
    ("message_roundtrip", fuzzing::message_roundtrip, 90),
    ("session", fuzzing::session, 10),
    ("split_independent", fuzzing::split_independent, 8),
    ("text_line", fuzzing::text_line, 30),
];

/// Runs a target on a file, whose name is shown should it fail.
fn replay(body: fn(&[u8]), name: &str, bytes: &[u8]) {
    println!("{name}");
    body(bytes);
}

#[test]
fn every_target_holds_on_its_seeds_and_on_what_was_found() {
    for (target, body, seeds_min) in TARGETS {
        let seeds = files(&format!("seeds/{target}"));
        assert!(seeds.len() >= seeds_min, "{target} has only {} seeds: are they all here?", seeds.len());
        for (name, bytes) in seeds.into_iter().chain(files(&format!("regressions/{target}"))) {
            replay(body, &format!("{target}/{name}"), &bytes);
        }
    }
}

#[test]
fn every_target_holds_on_its_seeds_with_any_byte_changed() {
    for (target, body, _) in TARGETS {
        for (name, seed) in files(&format!("seeds/{target}")) {
            for index in 0..seed.len() {
                let mut changed = seed.clone();
                changed[index] ^= 0x81;
                replay(body, &format!("{target}/{name}, byte {index}"), &changed);
            }
        }
    }
}

#[test]
fn every_target_holds_on_its_seeds_cut_off_anywhere() {
    for (target, body, _) in TARGETS {
        for (name, seed) in files(&format!("seeds/{target}")) {
            for length in 0..seed.len() {
                replay(body, &format!("{target}/{name}, {length} bytes"), &seed[..length]);
            }
        }
    }
}

#[test]
fn every_target_is_replayed_and_is_one_line() {
    let targets = files("fuzz_targets");
    assert!(targets.keys().map(|name| name.trim_end_matches(".rs")).eq(TARGETS.map(|(target, ..)| target)));
    for (name, text) in targets {
        assert!(
            text.iter().filter(|&&byte| byte == b'\n').count() <= 3,
            "{name}: what is asserted lives in the library"
        );
    }
}

/// A message of each type three times: of zeros, of bytes that count up, and of their opposites.
#[test]
fn the_seeds_of_message_roundtrip_are_every_type_in_three_patterns() {
    let mut wanted = Files::new();
    for (place, kind) in MessageType::ALL.iter().enumerate() {
        let counting = |bytes: u8| (0..bytes).map(|byte| byte.wrapping_mul(7).wrapping_add(1));
        let patterns = [
            ("zeros", vec![0; 8]),
            ("rising", counting(200).collect::<Vec<u8>>()),
            ("falling", counting(250).map(|byte| !byte).collect()),
        ];
        for (pattern, bytes) in patterns {
            let name = format!("{}-{pattern}.bin", kind.name().to_lowercase());
            wanted.insert(name, [&[place as u8][..], &bytes].concat());
        }
    }
    // Behind the message, a sentence that is longer than sentences are: PING, 24 bytes of how it is sent and changed, the
    // text, and the text's length.
    let text = "é\n".repeat(500);
    let ping = [MessageType::ALL.iter().position(|&kind| kind == MessageType::Ping).unwrap() as u8];
    let length = (text.len() as u16).to_be_bytes();
    wanted.insert("long-sentence.bin".to_owned(), [&ping[..], &[0; 24], text.as_bytes(), &length].concat());
    seeds::check("message_roundtrip", wanted);
}

/// What `session` takes, in its bytes.
mod operation {
    pub const DIALLER: u8 = 1;
    pub const ACCEPTOR: u8 = 0;
    pub const ONCE: u8 = 0;
    /// More often than there are places for requests.
    pub const OFTEN: u8 = 0xFF;

    /// Roles of both sides, and whether any frame may arrive: 0 is a client, 1 a coordinator, 2 a node.
    pub fn begin(hostile: bool, dialler: u8, acceptor: u8) -> Vec<u8> {
        vec![hostile.into(), dialler, acceptor]
    }

    /// Kinds in the order PING, HAVE, PUT, FETCH, TRAIN, POLL, SUBMIT, ATTACH, JOBS, ORDER, DESCRIBE, LEDGER, RESULTS.
    pub fn ask(side: u8, kind: u8, times: u8) -> Vec<u8> {
        vec![0, side, kind, times]
    }

    pub fn answer(side: u8, which: u8, choice: u8, times: u8) -> Vec<u8> {
        vec![10, side, which, choice, times]
    }

    pub fn answer_any(side: u8, request: u32) -> Vec<u8> {
        [&[35, side][..], &request.to_le_bytes()].concat()
    }

    pub fn cancel(side: u8) -> Vec<u8> {
        vec![36, side]
    }

    pub fn send_optional(side: u8) -> Vec<u8> {
        vec![37, side, 0]
    }

    pub fn deliver(side: u8, times: u8) -> Vec<u8> {
        vec![20, side, times]
    }

    pub fn trickle(side: u8, bytes: u16) -> Vec<u8> {
        [&[29, side][..], &bytes.to_le_bytes()].concat()
    }

    pub fn stall(ms: u16) -> Vec<u8> {
        [&[30, 0][..], &ms.to_be_bytes()].concat()
    }

    pub fn idle(ms: u16) -> Vec<u8> {
        [&[32, 0][..], &ms.to_be_bytes()].concat()
    }

    pub fn inject(side: u8, kind: u8, flags: u16, request: u32) -> Vec<u8> {
        [&[38, side, kind][..], &flags.to_le_bytes(), &request.to_le_bytes()].concat()
    }

    pub fn close(side: u8, error: u8) -> Vec<u8> {
        vec![40, side, error]
    }
}

#[test]
fn the_seeds_of_session_are_dialogues_of_every_kind() {
    use operation::*;
    let mut wanted = Files::new();
    let mut seed = |name: &str, operations: &[Vec<u8>]| {
        wanted.insert(format!("{name}.bin"), operations.concat());
    };
    // Each kind of request in its direction, delivered, answered in each way, and the answer delivered.
    let kinds = [
        (0, "ping", 1, 2),
        (1, "have", 1, 2),
        (2, "put", 1, 2),
        (3, "fetch", 2, 1),
        (4, "train", 1, 2),
        (5, "poll", 1, 2),
        (8, "jobs", 0, 1),
        (9, "order", 0, 1),
        (10, "describe", 0, 1),
        (11, "ledger", 0, 1),
        (12, "results", 1, 2),
    ];
    for (kind, name, dialler, acceptor) in kinds {
        for choice in 0..3 {
            let there = [ask(DIALLER, kind, ONCE), deliver(ACCEPTOR, ONCE)].concat();
            let back = [answer(ACCEPTOR, 0, choice, ONCE), deliver(DIALLER, ONCE)].concat();
            seed(&format!("{name}-{choice}"), &[begin(false, dialler, acceptor), there, back]);
        }
    }
    let submit = [begin(false, 0, 1), ask(DIALLER, 6, ONCE), deliver(ACCEPTOR, ONCE)].concat();
    let partial = |choice| [answer(ACCEPTOR, 0, choice, ONCE), deliver(DIALLER, ONCE)].concat();
    seed("submit", &[submit.clone(), partial(0), partial(1), partial(2), cancel(DIALLER), partial(3)]);
    let attach = [begin(false, 0, 1), ask(DIALLER, 7, ONCE), deliver(ACCEPTOR, ONCE)].concat();
    seed("attach", &[attach, partial(0), partial(1), partial(2), cancel(DIALLER), partial(4)]);
    seed("submit-closed", &[submit.clone(), partial(0), close(ACCEPTOR, 0), deliver(DIALLER, OFTEN), idle(100)]);
    seed("submit-lost", &[submit, stall(999), stall(1), stall(1_999), stall(1)]);
    let full = [ask(DIALLER, 4, OFTEN), ask(DIALLER, 0, ONCE), deliver(ACCEPTOR, OFTEN)].concat();
    seed("full", &[begin(false, 1, 2), full.clone(), answer(ACCEPTOR, 3, 0, OFTEN), idle(5_000)]);
    seed("full-on-both-sides", &[begin(false, 2, 1), ask(DIALLER, 1, OFTEN), ask(ACCEPTOR, 4, OFTEN), idle(3_000)]);
    seed("idle", &[begin(false, 2, 1), idle(30_000), send_optional(ACCEPTOR), idle(1_500), stall(2_000), idle(1)]);
    let slow = [trickle(DIALLER, 8_192), trickle(ACCEPTOR, 8_191), stall(1_400)].concat();
    seed("slow-line", &[begin(false, 1, 2), slow.clone(), slow.clone(), trickle(ACCEPTOR, 2), slow]);
    seed("answered-out-of-turn", &[begin(false, 1, 2), answer_any(ACCEPTOR, 1), full, answer_any(ACCEPTOR, 7)]);
    // Every type to each side, as request 0, of either parity, and with MORE.
    for kind in (0..=0x40).chain([0x7F, 0x80, 0xFF]) {
        if MessageType::from_number(kind).is_none() && kind % 0x10 != 0x0F && kind != 0x80 {
            continue;
        }
        let mut operations = vec![begin(true, 1, 2), ask(DIALLER, 4, ONCE), ask(ACCEPTOR, 3, ONCE)];
        for (request, flags) in [(0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (4, 2), (4, 0), (u32::MAX, 0)] {
            operations.extend([inject(DIALLER, kind, flags, request), inject(ACCEPTOR, kind, flags, request)]);
        }
        operations.extend([
            deliver(ACCEPTOR, ONCE),
            answer(ACCEPTOR, 0, 0, ONCE),
            deliver(DIALLER, OFTEN),
            idle(2_000),
        ]);
        seed(&format!("hostile-{kind:02x}"), &operations);
    }
    seeds::check("session", wanted);
}

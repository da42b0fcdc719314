//! Valid conversations, mutated: those of the documents and drawn ones, with most of their checksums made right again, so
//! that what is wrong gets past the first gates.
//!
//! | module | owns |
//! |---|---|
//! | `valid` | the conversations |
//! | `mutation` | what is done to them |
//! | `hearing` | a program's rules without a socket, and what holds of every stream |
//! | `sockets` | some of them, to the real programs |
//!
//! Many are heard by both of their sides in memory, some go to a real coordinator and a real node. Each has its number for a
//! seed. A failing one prints it, and
//! `GRADWIRE_CONVERSATION=<number> cargo test --test conversations` runs it alone.
#![cfg(feature = "client")]

#[path = "../common/mod.rs"]
mod common;
mod hearing;
mod mutation;
mod sockets;
mod valid;

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use gradwire::wire::ErrorCode;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

use hearing::{End, Verdict, hear};
use mutation::{mutated, sealed};
use valid::{Conversation, conversations};

/// Names one conversation to run alone.
const CONVERSATION_VARIABLE: &str = "GRADWIRE_CONVERSATION";
/// Mutated conversations in an ordinary test run, and in one of the long tier.
const SOME: u64 = 200_000;
const MANY: u64 = 1_000_000;
/// One conversation of so many is heard again, cut at random.
const HEARD_TWICE: u64 = 4;

/// How often streams have ended so.
#[derive(Debug, Default)]
struct Endings {
    streams: u64,
    understood: u64,
    open: u64,
    waiting: u64,
    text: u64,
    closed: u64,
    /// Connections ended, by the code that the peer is told.
    refused: BTreeMap<ErrorCode, u64>,
    /// Requests refused on connections that lived, by the code.
    requests_refused: BTreeMap<ErrorCode, u64>,
}

impl Endings {
    fn add(&mut self, verdict: &Verdict) {
        self.streams += 1;
        self.understood += u64::from(verdict.understood);
        match &verdict.end {
            End::Open => self.open += 1,
            End::Waiting(_) => self.waiting += 1,
            End::Text => self.text += 1,
            End::PeerClosed => self.closed += 1,
            End::Refused(error) => *self.refused.entry(error.code).or_default() += 1,
        }
        for &code in &verdict.refused {
            *self.requests_refused.entry(code).or_default() += 1;
        }
    }

    fn add_all(&mut self, other: Endings) {
        self.streams += other.streams;
        self.understood += other.understood;
        self.open += other.open;
        self.waiting += other.waiting;
        self.text += other.text;
        self.closed += other.closed;
        other.refused.into_iter().for_each(|(code, count)| *self.refused.entry(code).or_default() += count);
        let refused = other.requests_refused.into_iter();
        refused.for_each(|(code, count)| *self.requests_refused.entry(code).or_default() += count);
    }

    /// Conversations are worth nothing if what they are about does not happen in them.
    fn assert_are_of_every_sort(&self) {
        let few = self.streams / 20_000;
        let connections = [
            ErrorCode::Magic,
            ErrorCode::HeaderChecksum,
            ErrorCode::PayloadChecksum,
            ErrorCode::Version,
            ErrorCode::FrameTooLarge,
            ErrorCode::UnknownType,
            ErrorCode::Flags,
            ErrorCode::Malformed,
            ErrorCode::Unexpected,
            ErrorCode::RequestId,
            ErrorCode::Busy,
            ErrorCode::Cluster,
        ];
        for code in connections {
            assert!(self.refused.get(&code).is_some_and(|&count| count > few), "few connections ended by {code}");
        }
        for code in [ErrorCode::ObjectRange, ErrorCode::Specification, ErrorCode::UnknownField] {
            assert!(self.requests_refused.get(&code).is_some_and(|&count| count > few), "few requests refused: {code}");
        }
        assert!(self.open > few && self.waiting > few && self.closed > few && self.text > 0, "one way to end is rare");
        let broken = [ErrorCode::Magic, ErrorCode::HeaderChecksum, ErrorCode::PayloadChecksum];
        let stopped_early: u64 = broken.iter().filter_map(|code| self.refused.get(code)).sum();
        assert!(stopped_early < self.streams / 4, "most get past the checksums");
    }
}

/// Mutates a conversation as its number says, and has both of its sides hear it.
fn hear_mutated(number: u64, valid: &[Conversation], endings: &mut Endings) {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let (chosen, other) = (rng.random_range(0..valid.len()), rng.random_range(0..valid.len()));
    let answers = rng.random_bool(0.7);
    for (side, other) in valid[chosen].iter().zip(&valid[other]) {
        let stream = mutated(&mut rng, side, other);
        let verdict = hear(side, answers, &stream, std::iter::empty());
        if number.is_multiple_of(HEARD_TWICE) {
            let sizes = std::iter::repeat_with(|| 1 + (rng.random::<u32>() % 300) as usize);
            assert_eq!(hear(side, answers, &stream, sizes), verdict, "cut at random");
        }
        endings.add(&verdict);
    }
}

#[test]
fn conversations_are_valid_before_they_are_mutated() {
    for conversation in conversations() {
        for side in conversation {
            let verdict = hear(&side, true, &sealed(&side.frames), std::iter::empty());
            assert!(verdict.refused.is_empty(), "{side:?}: {verdict:?}");
            // Protocol.md's second conversation is that of two who do not understand each other.
            let has_no_version = matches!(&verdict.end, End::Refused(error) if error.code == ErrorCode::Version);
            let is_well = matches!(verdict.end, End::Open | End::PeerClosed);
            assert!(is_well || has_no_version && verdict.understood == 1, "{side:?}: {verdict:?}");
        }
    }
}

/// The numbers of the conversations to run: those below `count`, or the one that the environment names.
fn numbers(count: u64) -> Range<u64> {
    match std::env::var(CONVERSATION_VARIABLE) {
        Ok(text) => {
            let number = text.parse().expect("a conversation has a whole number");
            number..number + 1
        }
        Err(_) => 0..count,
    }
}

/// Has `threads` threads run these conversations, each with a value of its own from `begin`; the values in the end.
fn run_all<T: Send>(
    numbers: Range<u64>,
    threads: usize,
    begin: impl Fn(usize) -> T + Sync,
    run: impl Fn(u64, &mut T) + Sync,
) -> Vec<T> {
    let next = AtomicU64::new(numbers.start);
    let run_some = |thread| {
        let mut state = begin(thread);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end {
                return state;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(number, &mut state))) {
                eprintln!("conversation {number} fails: {CONVERSATION_VARIABLE}={number} runs it alone");
                // The other threads need not finish.
                next.store(numbers.end, Ordering::Relaxed);
                resume_unwind(panic);
            }
        }
    };
    let run_some = &run_some;
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run_some(thread))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

#[test]
fn mutated_conversations_end_in_order_and_take_nothing_that_has_not_come() {
    mutated_conversations_end_in_order(SOME);
}

#[test]
#[ignore = "long: a million conversations"]
fn many_more_mutated_conversations_end_in_order_and_take_nothing_that_has_not_come() {
    mutated_conversations_end_in_order(MANY);
}

fn mutated_conversations_end_in_order(count: u64) {
    let valid = conversations();
    let numbers = numbers(count);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let hear = |number, endings: &mut Endings| hear_mutated(number, &valid, endings);
    let all = run_all(numbers.clone(), threads, |_| Endings::default(), hear);
    let mut endings = Endings::default();
    all.into_iter().for_each(|some| endings.add_all(some));
    println!("conversations {numbers:?}: {endings:#?}");
    if numbers.end - numbers.start == count {
        endings.assert_are_of_every_sort();
    }
}

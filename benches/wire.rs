//! How fast one core takes frames in and seals them, in memory: bytes arrive in a decoder as a read from a socket brings
//! them, and come out as messages. A goal stands in the name of its figure, and is kept by the fastest run, because other
//! work on the machine only ever makes a run longer.
//!
//! `cargo bench --bench wire [-- WORD]`: only figures whose name contains WORD; divan's other options serve, too. Pins
//! itself to one core where `taskset` is there. Ends with exit code 1 if a goal is missed.

mod common;

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, Divan, black_box_drop};
use gradwire::digest::Digest;
use gradwire::job::{Attempt, JobId, TaskId, TaskState};
use gradwire::wire::message::{Have, Held, PIECE_BYTES_MAX, Piece, Ping, Polled, Pong};
use gradwire::wire::session::Incoming;
use gradwire::wire::{Decoder, Message, MessageType, Role, Session, SharedBytes, limits};

/// How long a figure is measured.
const MEASURE: Duration = Duration::from_secs(1);
/// Bytes that one read from a socket brings, at most.
const READ_BYTES_MAX: usize = 256 << 10;
/// Requests of either side in a run of small frames, and as many answers.
const SMALL_REQUESTS: u32 = 1_000;

static IS_MISSED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    common::processes::pin_this_thread();
    Divan::default().min_time(MEASURE).max_time(MEASURE).config_with_args().main();
    if IS_MISSED.load(Ordering::Relaxed) {
        eprintln!("a goal is missed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Measures what is to take no longer than a goal allows.
fn judge(bencher: Bencher<'_, '_>, most: Duration, mut run: impl FnMut()) {
    let (mut runs, mut fastest) = (0, Duration::MAX);
    bencher.bench_local(|| {
        let start = Instant::now();
        run();
        (runs, fastest) = (runs + 1, fastest.min(start.elapsed()));
    });
    // A single run, of a cold machine, is divan's `--test`.
    IS_MISSED.fetch_or(runs > 1 && fastest > most, Ordering::Relaxed);
}

/// At least 5 GB a second, checksums included, on a connection that lives.
#[divan::bench(name = "1 MiB frames: decoded (goal: 5 GB/s)")]
fn decode_large(bencher: Bencher<'_, '_>) {
    let (stream, mut decoder) = (large_frames(), Decoder::new(limits::PAYLOAD_BYTES_MAX));
    let most = Duration::from_secs_f64(stream.len() as f64 / 5e9);
    judge(bencher.counter(BytesCount::of_slice(&stream)), most, || assert_eq!(decode(&mut decoder, &stream), 8));
}

/// On a connection that begins.
#[divan::bench(name = "1 MiB frames: decoded, the first eight")]
fn decode_first(bencher: Bencher<'_, '_>) {
    let stream = large_frames();
    let first = || assert_eq!(decode(&mut Decoder::new(limits::PAYLOAD_BYTES_MAX), &stream), 8);
    bencher.counter(BytesCount::of_slice(&stream)).bench_local(first);
}

#[divan::bench(name = "1 MiB frames: sealed around shared bytes")]
fn seal_large(bencher: Bencher<'_, '_>) {
    let shared = Arc::new(object());
    let size = shared.len() as u64;
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        let bytes = SharedBytes::new(shared.clone(), 0..shared.len()).expect("all of it");
        Piece::draft_shared(MessageType::Data, 1, &Digest([7; 32]), size, 0, bytes).seal()
    });
}

/// At least two million frames a second: decoded, judged by the session's rules, taken apart.
#[divan::bench(name = "small frames: understood (goal: 2 Mitem/s)")]
fn understand_small(bencher: Bencher<'_, '_>) {
    let (stream, frames) = small_frames();
    let most = Duration::from_secs_f64(f64::from(frames) / 2e6);
    judge(bencher.counter(ItemsCount::new(frames)), most, || assert_eq!(understand(&stream), frames));
}

#[divan::bench(name = "small frames: sealed")]
fn seal_small(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(2 * SMALL_REQUESTS)).bench_local(|| black_box_drop(small_frames()));
}

#[divan::bench(name = "objects: SHA-256")]
fn hash(bencher: Bencher<'_, '_>) {
    let object = object();
    bencher.counter(BytesCount::of_slice(&object)).bench_local(|| Digest::of(&object));
}

/// As many bytes as a frame carries of an object.
fn object() -> Vec<u8> {
    (0..PIECE_BYTES_MAX).map(|index| (index * 31 % 251) as u8).collect()
}

/// Eight frames of DATA with whole payloads.
fn large_frames() -> Vec<u8> {
    let object = object();
    (0..8).flat_map(|index| large_frame(&object, 2 * index + 1)).collect()
}

/// DATA of a whole payload.
fn large_frame(object: &[u8], request: u32) -> Vec<u8> {
    let piece = Piece { digest: Digest([7; 32]), object_bytes: object.len() as u64, offset: 0, bytes: object.into() };
    Message::Data(piece).seal(request, false).to_bytes()
}

/// Passes a stream through a decoder in pieces as reads bring them, and counts the frames.
fn decode(decoder: &mut Decoder, mut stream: &[u8]) -> u32 {
    let mut frames = 0;
    while !stream.is_empty() {
        let room = decoder.room();
        let count = room.len().min(stream.len()).min(READ_BYTES_MAX);
        let (now, later) = stream.split_at(count);
        room[..count].copy_from_slice(now);
        decoder.filled(count);
        stream = later;
        while let Some(frame) = decoder.next_frame().expect("frames as they should be") {
            black_box(frame.payload);
            frames += 1;
        }
    }
    frames
}

/// What a node sends a coordinator all day: heartbeats, what it holds, how far it is. How many frames that is, too.
fn small_frames() -> (Vec<u8>, u32) {
    let name = Attempt { task: TaskId { job: JobId(1), step: 2, shard: 3 }, attempt: 1, token: 4 };
    let polled = Polled { name, state: TaskState::Running, batches_done: 7, batches_planned: 9 };
    let mut stream = Vec::new();
    let mut add = |message: &Message<'_>, request| stream.extend_from_slice(&message.seal(request, false).head);
    for index in 0..SMALL_REQUESTS {
        let (theirs, ours) = (2 * index + 2, 2 * index + 1);
        let asked = if index % 4 == 3 { Have { digests: vec![Digest([9; 32]); 2] }.into() } else { Ping.into() };
        add(&asked, theirs);
        let answer: Message<'_> = match index % 4 {
            1 => polled.into(),
            2 => Held { bytes: vec![64] }.into(),
            _ => Pong { running: 1, waiting: 0, rows_per_second: 1.5e6 }.into(),
        };
        add(&answer, ours);
    }
    (stream, 2 * SMALL_REQUESTS)
}

/// Takes in what [`small_frames`] has made, as the reader of a coordinator's link does. How many messages were understood.
fn understand(mut stream: &[u8]) -> u32 {
    let now = Duration::ZERO;
    let mut decoder = Decoder::new(limits::PAYLOAD_BYTES_MAX);
    let mut session = Session::new(Role::Coordinator, Role::Node, true, now);
    let mut opened = 0;
    let mut messages = 0;
    while !stream.is_empty() {
        // A few dozen requests of ours are out at a time.
        while opened < SMALL_REQUESTS && session.unanswered().count() < 64 {
            let kind = match opened % 4 {
                1 => MessageType::Poll,
                2 => MessageType::Put,
                _ => MessageType::Ping,
            };
            session.open(kind, ()).expect("room for a request");
            opened += 1;
        }
        let (piece, later) = stream.split_at(stream.len().min(2_000));
        stream = later;
        decoder.feed(piece);
        while let Some(frame) = decoder.next_frame().expect("frames as they should be") {
            let header = frame.header;
            let kind = match session.receive(now, &header).expect("the rules are kept") {
                Incoming::Request(kind) => {
                    session.answered(header.request);
                    kind
                }
                Incoming::Answer { kind, .. } | Incoming::Alone(kind) => kind,
                Incoming::Skipped => continue,
            };
            black_box(Message::decode(kind, frame.payload).expect("a payload as it should be"));
            messages += 1;
        }
    }
    messages
}

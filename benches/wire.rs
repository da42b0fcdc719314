//! How fast one core takes frames in and seals them, in memory: bytes arrive in a decoder as a read from a socket brings
//! them, and come out as messages. Each figure beside its goal, and `ok` or `MISSED`.
//!
//! `cargo bench --bench wire [-- WORD]`: only figures whose line contains WORD. Pins itself to one core where `taskset`
//! is there. The best of many short runs, because other work on the machine only ever makes a run longer. Ends with exit
//! code 1 if a goal is missed.

use std::hint::black_box;
use std::io::Write as _;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gradwire::digest::Digest;
use gradwire::job::{JobId, TaskId};
use gradwire::wire::message::{Have, Held, PIECE_BYTES_MAX, Piece, Ping, Polled, Pong, TaskName, TaskState};
use gradwire::wire::session::Incoming;
use gradwire::wire::{Decoder, Message, MessageType, Role, Session, SharedBytes, limits};

/// How long a figure is measured.
const MEASURE: Duration = Duration::from_secs(1);
/// Set for the run of this program that is pinned to one core.
const PINNED: &str = "GRADWIRE_WIRE_PINNED";
/// Bytes that one read from a socket brings, at most.
const READ_BYTES_MAX: usize = 256 << 10;
/// Requests of either side in a run of small frames, and as many answers.
const SMALL_REQUESTS: u32 = 1_000;

/// A way to spend time, and what a run of it is worth.
struct Figure {
    what: &'static str,
    /// What is counted, by its unit.
    unit: &'static str,
    /// Units in a run.
    count: f64,
    /// Units a second, at least; none where the figure is for orientation.
    goal: Option<f64>,
    run: Box<dyn FnMut()>,
}

fn main() -> ExitCode {
    if let Some(code) = run_pinned() {
        return code;
    }
    // cargo passes options of its own; a word is ours.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let mut is_missed = false;
    for mut figure in figures() {
        if !figure.what.contains(&wanted) {
            continue;
        }
        let got = figure.count / best_seconds(&mut figure.run);
        let verdict = match figure.goal {
            None => String::new(),
            Some(goal) if got >= goal => format!("at least {goal:5.2}   ok"),
            Some(goal) => {
                is_missed = true;
                format!("at least {goal:5.2}   MISSED")
            }
        };
        let unit = figure.unit;
        // Nobody reads any more: nothing is left to be said.
        if writeln!(std::io::stdout().lock(), "{:58} {got:8.2} {unit:18} {verdict}", figure.what).is_err() {
            break;
        }
    }
    if is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs this program again on one core, and says how that ended; none where it runs there already, or nothing can pin it.
fn run_pinned() -> Option<ExitCode> {
    if std::env::var_os(PINNED).is_some() || Command::new("taskset").arg("--version").output().is_err() {
        return None;
    }
    let this = std::env::current_exe().ok()?;
    let core = std::thread::available_parallelism().map_or(1, usize::from) - 1;
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(this).args(std::env::args_os().skip(1)).env(PINNED, "1");
    let ended = command.status().ok()?;
    Some(if ended.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The shortest run of many.
fn best_seconds(run: &mut dyn FnMut()) -> f64 {
    let (began, mut best) = (Instant::now(), f64::MAX);
    while began.elapsed() < MEASURE {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

fn figures() -> [Figure; 6] {
    let object: Vec<u8> = (0..PIECE_BYTES_MAX).map(|index| (index * 31 % 251) as u8).collect();
    let large: Arc<Vec<u8>> = Arc::new((0..8).flat_map(|index| large_frame(&object, 2 * index + 1)).collect());
    let large_gigabytes = large.len() as f64 / 1e9;
    let (small, frames) = small_frames();
    let millions = f64::from(frames) / 1e6;
    let shared = Arc::new(object.clone());
    let hashed = object.clone();
    let (mut kept, raw) = (Decoder::new(limits::PAYLOAD_BYTES_MAX), large.clone());
    [
        Figure {
            what: "1 MiB frames: decoded, on a connection that lives",
            unit: "GB/s",
            count: large_gigabytes,
            goal: Some(5.0),
            run: Box::new(move || assert_eq!(decode(&mut kept, &raw), 8)),
        },
        Figure {
            what: "1 MiB frames: decoded, the first eight of a connection",
            unit: "GB/s",
            count: large_gigabytes,
            goal: None,
            run: Box::new(move || assert_eq!(decode(&mut Decoder::new(limits::PAYLOAD_BYTES_MAX), &large), 8)),
        },
        Figure {
            what: "1 MiB frames: sealed around shared bytes",
            unit: "GB/s",
            count: object.len() as f64 / 1e9,
            goal: None,
            run: Box::new(move || {
                let bytes = SharedBytes::new(shared.clone(), 0..shared.len()).expect("all of it");
                let size = shared.len() as u64;
                black_box(Piece::seal_shared(MessageType::Data, 1, &Digest([7; 32]), size, 0, bytes));
            }),
        },
        Figure {
            what: "small frames: decoded, judged, understood",
            unit: "million frames/s",
            count: millions,
            goal: Some(2.0),
            run: Box::new(move || assert_eq!(understand(&small), frames)),
        },
        Figure {
            what: "small frames: sealed",
            unit: "million frames/s",
            count: millions,
            goal: None,
            run: Box::new(|| {
                black_box(small_frames());
            }),
        },
        Figure {
            what: "objects: SHA-256",
            unit: "GB/s",
            count: object.len() as f64 / 1e9,
            goal: None,
            run: Box::new(move || {
                black_box(Digest::of(&hashed));
            }),
        },
    ]
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
    let name = TaskName { task: TaskId { job: JobId(1), step: 2, shard: 3 }, attempt: 1, token: 4 };
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

//! The coordinator is killed, or told that the disk has failed, at every single call with which it saves, loads and cleans
//! up its journal (injected by `strace`; skipped with a word where that cannot be). Each time it must go on to the same
//! model, or say what is wrong; it must never be silent, and never take up anything that was not.
//!
//! The ordinary tests try one point in eight; those of the long tier try all, which takes some minutes.
#![cfg(feature = "client")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use common::clients::{Client, Finished};
use common::process::reserve_port;
use common::servers::{Coordinator, Node};
use common::skip;
use tempfile::TempDir;

/// An ordinary test tries one point in so many.
const STRIDE: u32 = 8;
/// A test of the long tier tries all.
const EVERY: u32 = 1;
/// The calls with which files are changed.
const CHANGES: [&str; 8] = ["pwrite64", "fsync", "fdatasync", "rename", "unlink", "unlinkat", "mkdir", "ftruncate"];
/// The calls with which they are read.
const READS: [&str; 3] = ["openat", "read", "unlink"];
const FIRST: &str = "000000000000000000000000000000a1";
const SECOND: &str = "000000000000000000000000000000a2";
/// What makes a job short, and its weights its own.
const SHORT: [&str; 6] = ["--rounds", "3", "--hidden", "4", "--epochs", "1"];

/// Whether `strace` may do what is wanted of it; says why not.
fn can_inject() -> bool {
    let traced = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=1", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let can = traced.is_ok_and(|status| status.success());
    if !can {
        skip("no strace that may trace and inject");
    }
    can
}

/// A directory in memory, where there is such a thing: what is tried here are the calls, not the disk.
fn scratch() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// One place at which something happens to the coordinator.
#[derive(Clone, Copy, Debug)]
struct Point {
    call: &'static str,
    /// As strace writes it.
    fault: &'static str,
    /// Which call of a thread it is, from 1.
    number: u32,
    on_disk_error: &'static str,
}

impl Point {
    fn is_error(&self) -> bool {
        self.fault.starts_with("error")
    }
}

/// What became of a coordinator to which something happened.
struct Hit {
    /// Whether the call came about at all, and whether it was on a file of the journal.
    came_about: bool,
    was_hit: bool,
    /// Exit code and words, if it ended by itself.
    ended: Option<(Option<i32>, String)>,
    said: String,
}

/// A node, and everything that is the same for all points.
struct Bench {
    node: Node,
    fingerprints: [String; 2],
}

impl Bench {
    fn new() -> Bench {
        let node = Node::named("node");
        let coordinator = Coordinator::of("2", std::slice::from_ref(&node), &[]);
        let fingerprint = |job| Client::start(&coordinator, &options(job)).finish().fingerprint();
        let fingerprints = [fingerprint(FIRST), fingerprint(SECOND)];
        Bench { node, fingerprints }
    }

    /// Runs both jobs at a coordinator to which `point` happens, and then at one to which nothing does, until both are done.
    fn run(&self, point: Point, state: &Path) -> Hit {
        let port = reserve_port();
        let trace = state.with_extension("trace");
        let trace_calls = format!("trace={}", point.call);
        let inject = format!("inject={}:{}:when={}", point.call, point.fault, point.number);
        let before =
            ["strace", "-D", "-f", "-qq", "-y", "-o", trace.to_str().unwrap(), "-e", &trace_calls, "-e", &inject];
        let options =
            ["--state-dir", state.to_str().unwrap(), "--keep-jobs", "1", "--on-disk-error", point.on_disk_error];
        let ports = [self.node.port];
        let is_over = AtomicBool::new(false);
        let (code, said) = match Coordinator::try_at(port, &before, &ports, &options) {
            Ok(mut coordinator) => std::thread::scope(|scope| {
                let pid = coordinator.pid();
                // Whoever runs coordinators starts them again; the client comes back by itself.
                let watching = scope.spawn(|| {
                    let ended = coordinator.await_end();
                    let next = !is_over.load(Ordering::Acquire);
                    (ended, next.then(|| Coordinator::start_at(port, "2", &ports, &options)))
                });
                self.run_jobs(port, point, point.is_error());
                is_over.store(true, Ordering::Release);
                // It may have ended long ago.
                let _ = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).stderr(Stdio::null()).status();
                let (ended, next) = watching.join().unwrap();
                if let Some(next) = next {
                    let (code, said) = next.stop();
                    assert_eq!(code, Some(0), "{point:?}: {said}");
                }
                ended
            }),
            Err(ended) => ended,
        };
        let ended = (code != Some(0)).then(|| (code, said.clone()));
        let traced = fs::read_to_string(&trace).unwrap_or_default();
        let is_of_journal = |line: &str| line.contains(state.to_str().unwrap());
        let mut injected = traced.lines().filter(|line| line.contains("INJECTED")).peekable();
        let was_killed = !point.is_error() && ended.is_some();
        let came_about = injected.peek().is_some() || was_killed;
        let was_hit = injected.any(is_of_journal) || was_killed;
        if was_hit {
            // Started again where nothing happens, it is as if nothing had.
            let coordinator = Coordinator::start_at(port, "2", &ports, &options);
            self.run_jobs(port, point, false);
            let (code, said) = coordinator.stop();
            assert_eq!(code, Some(0), "{point:?}: {said}");
        }
        Hit { came_about, was_hit, ended, said }
    }

    /// Both jobs, to their ends. One that the disk does not give may be refused, if `may_be_unread`.
    fn run_jobs(&self, port: u16, point: Point, may_be_unread: bool) {
        for (job, fingerprint) in [FIRST, SECOND].iter().zip(&self.fingerprints) {
            // One that is killed before a client has found it is looked for again, as a person would.
            let found = |finished: &Finished| finished.exit != Some(3);
            let finished = (0..100).map(|_| Client::at(port, &options(job)).finish()).find(found);
            let finished = finished.unwrap_or_else(|| panic!("{point:?}: no coordinator"));
            if may_be_unread
                && finished.exit == Some(1)
                && finished.log.contains("is in the journal and cannot be read")
            {
                continue;
            }
            assert_eq!(finished.fingerprint(), *fingerprint, "{point:?}");
        }
    }
}

/// The second job has an outer optimiser, whose state must come through with the weights.
fn options(job: &str) -> Vec<&str> {
    let outer: &[&str] = if job == SECOND { &["--outer", "adam"] } else { &[] };
    [&SHORT[..], &["--job", job], outer].concat()
}

/// What must be so of a coordinator to which something happened.
fn judge(point: Point, hit: &Hit) {
    if !hit.was_hit {
        // What else it reads may fail too; that is not the journal's.
        let is_well = hit.came_about || hit.ended.is_none();
        assert!(is_well, "{point:?} did not happen, and it ended:\n{}", hit.said);
        return;
    }
    match &hit.ended {
        None if point.is_error() => {
            let is_said =
                ["cannot ", "is refused", "not removed", "not all removed"].iter().any(|word| hit.said.contains(word));
            assert!(is_said, "{point:?} went by without a word:\n{}", hit.said);
            assert!(!point.call.contains("sync"), "a failed sync must end it: {point:?}\n{}", hit.said);
        }
        None => panic!("{point:?} did not kill it:\n{}", hit.said),
        Some((code, said)) if point.is_error() => {
            assert_eq!(*code, Some(4), "{point:?}\n{said}");
            assert!(said.contains("cannot "), "{point:?}\n{said}");
            let may_end = point.on_disk_error == "stop" || point.call.contains("sync") || !said.contains("starts");
            assert!(may_end, "it was to continue: {point:?}\n{said}");
        }
        Some((code, _)) => assert_eq!(*code, None, "killed: {point:?}"),
    }
}

/// Tries one point in `stride` until there are no more: for each call, until it does not come about any more.
fn sweep(
    stride: u32,
    calls: &[&'static str],
    faults: &[(&'static str, &'static str)],
    state: impl Fn() -> (TempDir, PathBuf) + Sync,
) {
    if !can_inject() {
        return;
    }
    let bench = Bench::new();
    let kinds: Vec<_> = calls.iter().flat_map(|&call| faults.iter().map(move |&fault| (call, fault))).collect();
    let next = Mutex::new(kinds.into_iter().enumerate());
    let (hits, runs) = (Mutex::new(0), Mutex::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((index, (call, (fault, on_disk_error)))) = next.lock().unwrap().next() else { return };
                    let mut number = 1 + index as u32 % stride;
                    loop {
                        let point = Point { call, fault, number, on_disk_error };
                        let (_directory, path) = state();
                        let hit = bench.run(point, &path);
                        judge(point, &hit);
                        *runs.lock().unwrap() += 1;
                        if !hit.came_about {
                            break;
                        }
                        *hits.lock().unwrap() += u32::from(hit.was_hit);
                        number += stride;
                    }
                }
            });
        }
    });
    let (hits, runs) = (hits.into_inner().unwrap(), runs.into_inner().unwrap());
    println!("{hits} points hit in {runs} runs");
    assert!(hits > 10, "only {hits} points were hit");
}

const FAULTS: [(&str, &str); 4] =
    [("signal=KILL", "stop"), ("error=EIO", "stop"), ("error=ENOSPC", "stop"), ("error=ENOSPC", "continue")];

#[test]
fn a_coordinator_survives_a_crash_or_a_failed_disk_at_some_calls_that_save_or_clean_up() {
    sweep_changes(STRIDE);
}

#[test]
#[ignore = "long: every point"]
fn a_coordinator_survives_a_crash_or_a_failed_disk_at_any_call_that_saves_or_cleans_up() {
    sweep_changes(EVERY);
}

#[test]
fn a_coordinator_survives_a_crash_or_a_failed_disk_at_some_calls_that_load() {
    sweep_reads(STRIDE);
}

#[test]
#[ignore = "long: every point"]
fn a_coordinator_survives_a_crash_or_a_failed_disk_at_any_call_that_loads() {
    sweep_reads(EVERY);
}

fn sweep_changes(stride: u32) {
    sweep(stride, &CHANGES, &FAULTS, || {
        let directory = scratch();
        let path = directory.path().join("state");
        (directory, path)
    });
}

fn sweep_reads(stride: u32) {
    if !can_inject() {
        return;
    }
    // A journal of a coordinator that was killed in the middle of its second job.
    let before = scratch();
    let node = Node::named("node");
    let state = before.path().join("state");
    let mut coordinator =
        Coordinator::start_at(reserve_port(), "2", &[node.port], &["--state-dir", state.to_str().unwrap()]);
    Client::start(&coordinator, &options(FIRST)).finish().done();
    let mut client = Client::start(&coordinator, &options(SECOND));
    client.await_round();
    coordinator.kill();
    client.kill();
    sweep(stride, &READS, &FAULTS[..2], || {
        let directory = scratch();
        let path = directory.path().join("state");
        let copied = Command::new("cp").args(["-r", state.to_str().unwrap(), path.to_str().unwrap()]).status();
        assert!(copied.unwrap().success());
        (directory, path)
    });
}

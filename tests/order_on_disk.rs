//! The order in which the coordinator's journal has things put on the disk, held by a trace of the real program (`strace`;
//! skipped with a word where that cannot be): no file gets its name before its bytes are on the disk, and the name follows
//! before anything else gets one. What a disk makes of a program that forgets one of these is shown by the journal's own
//! tests, on a simulated one.
#![cfg(feature = "client")]

mod common;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::clients::Client;
use common::process::reserve_port;
use common::servers::{Coordinator, Node};
use common::skip;
use tempfile::TempDir;

/// The calls that write, sync and name files.
const CALLS: &str = "trace=pwrite64,ftruncate,fsync,fdatasync,/^rename";

/// One call that was made and did not fail.
#[derive(Debug)]
struct Call {
    name: String,
    /// The files that it names, by their paths.
    paths: Vec<PathBuf>,
    /// As strace wrote it.
    line: String,
}

/// Lines of a trace, with calls in one piece that another thread's had cut in two: each where it returned.
fn in_one_piece(trace: &str) -> Vec<String> {
    let (mut lines, mut begun) = (Vec::new(), HashMap::new());
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap_or((line, ""));
        if let Some((call, _)) = call.split_once(" <unfinished ...>") {
            begun.insert(thread, call);
        } else if let Some((_, end)) = call.split_once(" resumed>") {
            lines.push(format!("{thread} {}{end}", begun.remove(thread).unwrap_or_default().trim_start()));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// Reads a line such as `71 fsync(9</tmp/state/jobs>) = 0`; nothing where the call failed.
fn read(line: &str) -> Option<Call> {
    let (_, call) = line.split_once(' ')?;
    let (name, rest) = call.trim_start().split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.trim_start().starts_with('-') {
        return None;
    }
    // A descriptor's path stands in angle brackets, a path of its own in quotation marks.
    let mut paths = Vec::new();
    let mut left = arguments;
    while let Some(start) = left.find(['<', '"']) {
        let end = if left.as_bytes()[start] == b'<' { '>' } else { '"' };
        let (path, behind) = left[start + 1..].split_once(end)?;
        paths.push(PathBuf::from(path));
        left = behind;
    }
    Some(Call { name: name.to_owned(), paths, line: line.to_owned() })
}

/// Holds the calls of one coordinator to the order. Returns how many renames there were.
fn assert_is_in_order(calls: &[Call], state: &Path) -> usize {
    // Files with bytes that are not on the disk, and directories with names that are not.
    let (mut unsynced, mut unnamed) = (HashSet::new(), HashMap::new());
    let mut renames = 0;
    for Call { name, paths, line } in calls {
        let Some(path) = paths.first().filter(|path| path.starts_with(state)) else { continue };
        match name.as_str() {
            "pwrite64" | "ftruncate" => {
                unsynced.insert(path.clone());
            }
            "fsync" | "fdatasync" => {
                unsynced.remove(path);
                unnamed.remove(path);
            }
            name if name.starts_with("rename") => {
                let to = paths.last().expect("two paths");
                // A checkpoint is no promise, and a job that goes has none left; a note of what is underway need not outlive
                // the machine.
                let is_underway = to.file_name().is_some_and(|name| name == "underway");
                if is_underway || to.parent().is_some_and(|parent| parent.ends_with("weights")) {
                    unsynced.remove(path);
                    continue;
                }
                renames += 1;
                assert!(!unsynced.contains(path), "its bytes may not be on the disk: {line}");
                if to.file_name().is_some_and(|name| name.to_string_lossy().starts_with("state-")) {
                    let ledger = to.with_file_name("ledger");
                    assert!(!unsynced.contains(&ledger), "the ledger's bytes may not be on the disk: {line}");
                    for above in [state.join("objects"), state.join("jobs"), state.to_owned()] {
                        let due = unnamed.get(&above);
                        assert!(due.is_none(), "{} may not be on the disk: {line}", due.unwrap_or(&String::new()));
                    }
                }
                let parent = to.parent().expect("a directory").to_owned();
                // The next thing that happens to it is to be its sync.
                let before = unnamed.insert(parent.clone(), line.clone());
                let shares = parent.ends_with("objects");
                assert!(before.is_none() || shares, "a second name, and the first may not be on the disk: {line}");
            }
            _ => {}
        }
    }
    assert!(unnamed.is_empty(), "names that were never waited for: {unnamed:#?}");
    renames
}

#[test]
fn every_file_of_the_journal_is_on_the_disk_before_its_name_and_its_name_before_what_follows() {
    let can = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !can.is_ok_and(|status| status.success()) {
        return skip("no strace that may trace");
    }
    let scratch = TempDir::new().unwrap();
    let (state, trace) = (scratch.path().join("a").join("state"), scratch.path().join("trace"));
    let node = Node::named("node");
    let before = ["strace", "-D", "-f", "-qq", "-y", "-s", "0", "-o", trace.to_str().unwrap(), "-e", CALLS];
    let options = ["--state-dir", state.to_str().unwrap(), "--keep-jobs", "1"];
    let coordinator = Coordinator::try_at(reserve_port(), &before, &[node.port], &options).expect("a coordinator");
    // The second has the first one go.
    for rounds in ["3", "4"] {
        Client::start(&coordinator, &["--rounds", rounds, "--hidden", "4", "--epochs", "1"]).finish().done();
    }
    let (code, said) = coordinator.stop();
    assert_eq!(code, Some(0), "{said}");
    let traced = std::fs::read_to_string(&trace).unwrap();
    let calls: Vec<Call> = in_one_piece(&traced).iter().filter_map(|line| read(line)).collect();
    let renames = assert_is_in_order(&calls, &state);
    println!("{renames} renames in order, among {} calls", calls.len());
    // FORMAT, data, and for each job a state at its beginning and two with its end.
    assert!(renames >= 10, "only {renames} renames: {traced}");
    // Whoever made the directories that it lies in: their names, too.
    for above in [state.as_path(), &scratch.path().join("a"), scratch.path()] {
        let is_synced = calls.iter().any(|call| call.name == "fsync" && call.paths.iter().any(|path| path == above));
        assert!(is_synced, "{} is never synced", above.display());
    }
}

#[test]
fn a_trace_that_is_out_of_order_is_seen() {
    let state = Path::new("/s");
    let check = |lines: &[&str]| {
        let calls: Vec<Call> = lines.iter().filter_map(|line| read(line)).collect();
        assert_eq!(calls.len(), lines.len());
        assert_is_in_order(&calls, state)
    };
    let right = [
        r#"7 pwrite64(9</s/jobs/1/state-1.part>, ""..., 1, 0) = 1"#,
        "7 fsync(9</s/jobs/1/state-1.part>) = 0",
        r#"7 rename("/s/jobs/1/state-1.part", "/s/jobs/1/state-1") = 0"#,
        "7 fsync(9</s/jobs/1>) = 0",
    ];
    assert_eq!(check(&right), 1);
    let cut = "7 fsync(9</s> <unfinished ...>\n8 fsync(5</t>) = 0\n7 <... fsync resumed>) = 0";
    assert_eq!(in_one_piece(cut), ["8 fsync(5</t>) = 0", "7 fsync(9</s>) = 0"]);
    for missing in [1, 3] {
        let mut wrong = right.to_vec();
        wrong.remove(missing);
        let seen = std::panic::catch_unwind(|| check(&wrong));
        assert!(seen.is_err(), "{} is missing, and nobody sees it", right[missing]);
    }
}

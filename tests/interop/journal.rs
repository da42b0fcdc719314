//! `journal.py` reads what a coordinator has written, after it was killed: with every digest, and to the last line of its
//! ledgers. Like `node.py` it is both an example and the proof that docs/journal.md says enough.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use crate::common::skip;

use tempfile::TempDir;

use crate::common::clients::Client;
use crate::common::process::{PATIENCE, reserve_port};
use crate::common::servers::{Coordinator, Node};

/// Lines of the reader at most.
const LINES_MAX: usize = 250;
const FIRST: &str = "000000000000000000000000000000b1";
const SECOND: &str = "000000000000000000000000000000b2";
const THIRD: &str = "000000000000000000000000000000b3";
/// Rounds of the second job that are certain to be told: more of the ledger than stays in a state.
const ROUNDS_SEEN: usize = 10;

fn source() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "interop", "journal.py"].iter().collect()
}

/// Whether the reader can run here. Says so where it cannot.
fn is_here() -> bool {
    let mut command = Command::new("python3");
    command.args(["-c", "import sys; sys.exit(sys.version_info < (3, 8))"]).stdout(Stdio::null()).stderr(Stdio::null());
    let is_here = command.status().is_ok_and(|status| status.success());
    if !is_here {
        skip("there is no Python 3.8");
    }
    is_here
}

fn read(state: &Path) -> Output {
    Command::new("python3").arg(source()).arg(state).output().unwrap()
}

/// The lines that it printed behind the head of this job.
fn lines_of(printed: &str, job: &str) -> Vec<String> {
    let behind = printed.lines().skip_while(|line| !line.starts_with(&format!("job {job} ")));
    behind.skip(1).take_while(|line| !line.starts_with("job ")).map(str::to_owned).collect()
}

/// The lines that the client prints.
fn ledger(coordinator: &Coordinator, job: &str) -> Vec<String> {
    let port = coordinator.port.to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_client")).args(["127.0.0.1", &port, "ledger", job]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().skip(1).map(str::to_owned).collect()
}

/// Whether a line that the client prints and one that was read are about the same entry, losses to the digits and the digests
/// at the end to the beginning that the client shows: one of an update, or those of a sum and of an optimiser's state.
fn agree(told: &str, read: &str, digests: usize) -> bool {
    let [told, read] = [told, read].map(|line| line.split_whitespace().collect::<Vec<_>>());
    let split = |line: &[&str]| line.len().checked_sub(digests);
    let (Some(at), true) = (split(&told), told.len() == read.len()) else { return false };
    let ([entry @ .., loss], [read_entry @ .., read_loss]) = (&told[..at], &read[..at]) else { return false };
    let is_same_loss = match (loss.parse::<f64>(), read_loss.parse::<f64>()) {
        (Ok(told), Ok(read)) => (told - read).abs() <= 1e-4 * read.abs(),
        _ => loss == read_loss,
    };
    let mut digests = told[at..].iter().zip(&read[at..]);
    entry == read_entry && is_same_loss && digests.all(|(told, read)| read.starts_with(told))
}

/// A file of this folder that is whole, if there is one.
fn any_of(folder: &Path) -> Option<PathBuf> {
    let mut files = fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_none())
}

/// A file of the journal of each kind that has a digest.
fn files(state: &Path) -> Vec<PathBuf> {
    let job = state.join("jobs").join(SECOND);
    let any = |folder: PathBuf| any_of(&folder).unwrap();
    let of_job = ["state-0", "state-1", "ledger"].map(|name| job.join(name));
    of_job.into_iter().chain([any(state.join("objects")), any(job.join("weights"))]).collect()
}

#[test]
fn it_prints_the_ledgers_of_a_killed_coordinator_and_refuses_a_journal_with_one_bit_changed() {
    if !is_here() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let state = directory.path().join("state");
    let options = ["--state-dir", state.to_str().unwrap(), "--revival-waits", "3600"];
    let node = Node::named("node");
    let mut coordinator = Coordinator::start_at(reserve_port(), "2", &[node.port], &options);
    let start = |job, shards, rounds, outer| {
        let small = ["--hidden", "4", "--epochs", "1", "--outer", outer];
        Client::start(&coordinator, &[&["--job", job, "--shards", shards, "--rounds", rounds], &small[..]].concat())
    };
    start(FIRST, "4", "3", "average").finish().done();
    let mut second = start(SECOND, "300", "100000", "adam");
    (0..ROUNDS_SEEN).for_each(|_| drop(second.await_round()));
    // All of them may have come with the first write: the one before is to be there, too, and a checkpoint, which is written last.
    let is_there = |name: &str| state.join("jobs").join(SECOND).join(name).exists();
    let has_checkpoint = || any_of(&state.join("jobs").join(SECOND).join("weights")).is_some();
    while !(is_there("state-0") && is_there("state-1") && has_checkpoint()) {
        second.await_round();
    }
    coordinator.kill();
    second.kill();

    let output = read(&state);
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.starts_with(&format!("job {FIRST} is done, 3 of 3 rounds are done\n")), "{printed}");
    assert!(printed.contains(&format!("job {SECOND} is running, ")));
    let found = [FIRST, SECOND].map(|job| lines_of(&printed, job));
    assert_eq!(found[0].len(), 12);
    assert!(found[1].len() >= 300 * ROUNDS_SEEN, "every round that was shown is there");

    // No node is there from now on: what is read is what was written.
    let coordinator = Coordinator::start_at(reserve_port(), "2", &[reserve_port()], &options);
    for (job, found) in [FIRST, SECOND].iter().zip(&found) {
        let told = ledger(&coordinator, job);
        assert_eq!(told.len(), found.len());
        for (told, found) in told.iter().zip(found) {
            assert!(agree(told, found, 1), "{told}\n{found}");
        }
    }
    assert_eq!(coordinator.stop().0, Some(0));

    assert!(read(&state).status.success());
    // A byte of the head, say; the last before the trailer, what the outer optimiser remembers.
    let from_end = |path: PathBuf| (path.clone(), fs::metadata(path).unwrap().len() as usize - 33);
    let job = state.join("jobs").join(SECOND);
    let in_states = ["state-0", "state-1"].map(|name| from_end(job.join(name)));
    let in_files = files(&state).into_iter().map(|path| (path.clone(), fs::metadata(path).unwrap().len() as usize / 3));
    for (path, place) in in_files.chain(in_states) {
        let whole = fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged[place] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        let output = read(&state);
        assert_eq!(output.status.code(), Some(1), "{} is damaged", path.display());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("journal.py: ") && said.lines().count() == 1, "{said}");
        fs::write(&path, whole).unwrap();
    }
    fs::write(state.join("FORMAT"), "gradwire journal 4\n").unwrap();
    assert_eq!(read(&state).status.code(), Some(1), "another version");
}

#[test]
fn it_prints_the_ledgers_of_jobs_in_steps_and_one_that_was_written_in_the_middle_of_a_round() {
    if !is_here() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let state = directory.path().join("state");
    let options = ["--state-dir", state.to_str().unwrap()];
    let nodes = [Node::named("one"), Node::named("two")];
    let mut coordinator = Coordinator::start_at(reserve_port(), "2", &nodes.each_ref().map(|node| node.port), &options);
    let start = |job, more: &[&str]| {
        let small = ["--hidden", "4", "--shards", "3", "--rounds", "2"];
        Client::start(&coordinator, &[&["--job", job], &small[..], more].concat())
    };
    // Two rounds of as many steps as go once through the rows, two of three steps, and one that has no end.
    start(FIRST, &["--local-steps", "1"]).finish().done();
    start(SECOND, &["--local-steps", "2", "--round-steps", "3"]).finish().done();
    let endless = ["--local-steps", "1", "--round-steps", "8000000", "--batch", "64", "--optimiser", "momentum"];
    let mut third = start(THIRD, &endless);
    third.await_accepted();
    let began = Instant::now();
    while ledger(&coordinator, THIRD).is_empty() {
        assert!(began.elapsed() < PATIENCE, "no step is written within a round");
    }
    coordinator.kill();
    third.kill();

    let output = read(&state);
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains(&format!("job {FIRST} is done, 2 of 2 rounds are done\n")), "{printed}");
    assert!(printed.contains(&format!("job {SECOND} is done, 2 of 2 rounds are done\n")), "{printed}");
    assert!(printed.contains(&format!("job {THIRD} is running, 0 of 2 rounds are done\n")), "{printed}");
    let coordinator = Coordinator::start_at(reserve_port(), "2", &[reserve_port()], &options);
    for job in [FIRST, SECOND, THIRD] {
        let (told, found) = (ledger(&coordinator, job), lines_of(&printed, job));
        assert!(!found.is_empty() && told.len() == found.len(), "{job}");
        for (told, found) in told.iter().zip(&found) {
            assert!(agree(told, found, if job == SECOND { 1 } else { 2 }), "{told}\n{found}");
        }
        assert!(job != SECOND || found.len() == 2 * 3 * 3, "an entry for each shard of each step");
    }
    assert_eq!(coordinator.stop().0, Some(0));
}

#[test]
fn it_stays_short_enough_to_be_an_example() {
    let text = fs::read_to_string(source()).unwrap();
    assert!((100..=LINES_MAX).contains(&text.lines().count()), "{} lines", text.lines().count());
    assert!(text.lines().all(|line| line.chars().count() <= 120));
}

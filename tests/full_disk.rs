//! A disk that is full, under the real programs: a job that it has no room for is refused and ends nobody, and where the coordinator is
//! to go on without the disk everyone is told what that means, whoever comes later too.
#![cfg(feature = "client")]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::clients::Client;
use common::process::reserve_port;
use common::servers::{Coordinator, Node};
use common::skip;
use common::tables::Written;

/// What a shell does to have no file of more than a block or two, until the limit is lifted.
const SMALL_FILES: [&str; 3] = ["sh", "-c", "trap '' XFSZ; ulimit -S -f 1 && exec \"$0\" \"$@\""];
/// What everyone is told then.
const CANNOT: &str = "the journal cannot be written: cannot write";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Three classes in a table of some kilobytes.
fn rows() -> Written {
    let row = |row: usize| format!("{}.{},{}.5,{}\n", row % 3, row % 7, row % 2, ["ash", "oak", "fir"][row % 3]);
    Written::new("rows.csv", (0..900).map(row).collect::<String>())
}

fn goes_well(words: &[&str]) -> bool {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// What a shell does to have a disk of this size here, of its own, which is gone with it; nothing where it cannot.
fn small_disk(at: &Path, size: &str) -> Option<Vec<String>> {
    let mount = format!("mount -t tmpfs -o size={size} tmpfs '{}' && exec \"$0\" \"$@\"", text(at));
    let within = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &mount];
    if !goes_well(&[&within[..], &["true"]].concat()) {
        skip("no mount namespace with a small disk can be made here");
        return None;
    }
    Some(within.map(str::to_owned).into())
}

#[test]
fn a_job_that_the_disk_has_no_room_for_is_refused_with_figures_and_others_are_not() {
    let (disk, data, node) = (tempfile::tempdir().unwrap(), rows(), Node::named("node"));
    let Some(within) = small_disk(disk.path(), "3m") else { return };
    let within: Vec<&str> = within.iter().map(String::as_str).collect();
    let options = ["--state-dir", text(disk.path())];
    let coordinator = Coordinator::try_at(reserve_port(), &within, &[node.port], &options).unwrap();
    // Each of its states has some 370 kB of weights and twice as much of what its optimiser remembers.
    let large = ["--data", data.text(), "--hidden", "300,300", "--rounds", "2", "--retry-for", "0"];
    let refused = Client::start(&coordinator, &large).finish();
    assert_eq!(refused.exit, Some(3), "{refused:?}");
    let failed = refused.failed();
    assert_eq!(failed["code"], "BUSY", "{failed}");
    let said = failed["text"].as_str().unwrap();
    assert!(said.contains("of the disk that this coordinator keeps jobs on, and 2 MiB are free"), "{said}");
    assert!(said.contains("make room there"), "{said}");
    Client::start(&coordinator, &["--data", data.text(), "--hidden", "4", "--rounds", "2"]).finish().done();
    assert_eq!(coordinator.stop().0, Some(0));
}

#[test]
fn a_jobs_checkpoints_leave_the_disk_to_what_has_to_be_written() {
    let (disk, data, node) = (tempfile::tempdir().unwrap(), rows(), Node::named("node"));
    let Some(within) = small_disk(disk.path(), "12m") else { return };
    let within: Vec<&str> = within.iter().map(String::as_str).collect();
    let options = ["--state-dir", text(disk.path())];
    let coordinator = Coordinator::try_at(reserve_port(), &within, &[node.port], &options).unwrap();
    // Each has 1.1 MB, and there are some forty where nothing is in the way.
    let job = "00000000000000000000000000000001";
    let large = ["--job", job, "--hidden", "300,300", "--rounds", "60", "--no-early-stopping"];
    Client::start(&coordinator, &[&["--data", data.text()], &large[..]].concat()).finish().done();
    let verified = Client::start(&coordinator, &["verify", job, "--sample", "2"]).finish();
    assert_eq!(verified.exit, Some(0), "{verified:#?}");
    assert_eq!(coordinator.stop().0, Some(0));
}

#[test]
fn a_job_that_is_paused_and_cannot_be_written_stays_in_memory_and_goes_on_from_there() {
    let (state, data, port) = (tempfile::tempdir().unwrap(), rows(), reserve_port());
    let job = ["--data", data.text(), "--recipe", "classic", "--rounds", "12", "--on-no-nodes", "pause"];
    let expected = Client::local(1, &job).finish().fingerprint();
    let mut node = Node::start(port, "1", &["--load-delay", "0.05", "--name", "first"]);
    let options = ["--state-dir", text(state.path()), "--on-disk-error", "continue", "--revival-waits", "0.2,0.2,0.2"];
    let coordinator = Coordinator::try_at(reserve_port(), &SMALL_FILES, &[port], &options).unwrap();
    let mut client = Client::start(&coordinator, &job);
    let id = client.await_accepted()["job"].as_str().unwrap().to_owned();
    client.await_notice(CANNOT);
    node.kill();
    let paused = client.finish();
    assert_eq!(paused.exit, Some(6), "{paused:#?}");
    let _node = Node::start(port, "0", &["--name", "second"]);
    coordinator.await_line("node second is active at");
    let resumed = Client::start(&coordinator, &["resume", &id]).finish();
    assert_eq!(resumed.exit, Some(0), "{resumed:#?}");
    assert_eq!(Client::start(&coordinator, &["attach", &id]).finish().fingerprint(), expected);
}

#[test]
fn whoever_comes_while_jobs_cannot_be_written_is_told_so_and_when_they_can_be_again() {
    let (state, data, node) = (tempfile::tempdir().unwrap(), rows(), Node::named("node"));
    if !goes_well(&["sh", "-c", "command -v prlimit"]) {
        return skip("there is no prlimit");
    }
    let options = ["--state-dir", text(state.path()), "--on-disk-error", "continue"];
    let coordinator = Coordinator::try_at(reserve_port(), &SMALL_FILES, &[node.port], &options).unwrap();
    let job = |seed: &str| Client::start(&coordinator, &["--data", data.text(), "--rounds", "100000", "--seed", seed]);
    let mut first = job("1");
    first.await_notice(CANNOT);
    let mut second = job("2");
    second.await_notice(CANNOT);
    assert!(goes_well(&["prlimit", "--pid", &coordinator.pid().to_string(), "--fsize=unlimited"]));
    for client in [&mut first, &mut second] {
        client.await_notice("the journal can be written again");
    }
}

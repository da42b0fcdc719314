//! Work is admitted only where the machines can carry it, and what kills a coordinator does not kill it for ever: the real
//! programs, with little memory, killed and started again.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use common::clients::{Client, client};
use common::process::{PATIENCE, reserve_port};
use common::servers::{Coordinator, Node, nodes, ports, standing_still_after};
use common::tables::Written;

/// A network of some 92,000 parameters, whose merges are not done on the side.
const LARGE: [&str; 4] = ["--hidden", "300,300", "--batch", "8"];

/// What a shell does before it becomes a coordinator that may address 2 GiB.
const WITHIN_2_GIB: [&str; 3] = ["sh", "-c", "ulimit -v 2097152 && exec \"$0\" \"$@\""];

/// Three classes in a table of few rows: what is computed here is not what matters.
fn few_rows() -> Written {
    rows(24)
}

fn rows(count: usize) -> Written {
    let row = |row: usize| format!("{}.{},{}.5,{}\n", row % 3, row % 7, row % 2, ["ash", "oak", "fir"][row % 3]);
    Written::new("few.csv", (0..count).map(row).collect::<String>())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_job_that_would_kill_its_coordinator_is_refused_with_figures_and_the_coordinator_lives() {
    let (state, data, port) = (tempfile::tempdir().unwrap(), few_rows(), reserve_port());
    let options = ["--state-dir", text(state.path())];
    let start = || Coordinator::try_at(port, &WITHIN_2_GIB, &[reserve_port()], &options).unwrap();
    let coordinator = start();
    let huge = ["--data", data.text(), "--hidden", "9000,9000", "--shards", "1"];
    let refused = Client::start(&coordinator, &huge).finish();
    assert_eq!(refused.exit, Some(2), "{refused:?}");
    let failed = refused.failed();
    assert_eq!(failed["code"], "MEMORY", "{failed}");
    let said = failed["text"].as_str().unwrap();
    assert!(said.contains("of the coordinator's memory, and 1024 MiB are allowed"), "{said}");
    assert!(said.contains("--memory"), "{said}");
    assert!(coordinator.status().contains("JOB"), "it lives, and has no job");
    let (exit, said) = coordinator.stop();
    assert_eq!(exit, Some(0), "{said}");
    assert!(start().stop().1.lines().all(|line| !line.contains("restored")), "nothing was left of it");
}

#[test]
fn a_job_that_the_system_has_no_memory_for_though_it_is_allowed_ends_and_its_coordinator_does_not() {
    let data = few_rows();
    // All that may be addressed is allowed, and some of it is taken by then.
    let options = ["--memory", "2048", "--no-state"];
    let node = Node::start(0, "0", &[]);
    let coordinator = Coordinator::try_at(0, &WITHIN_2_GIB, &[node.port], &options).unwrap();
    let large = ["--data", data.text(), "--hidden", "7700,7700", "--shards", "1", "--rounds", "1"];
    let ended = Client::start(&coordinator, &large).finish();
    let failed = ended.failed();
    let said = failed["text"].as_str().unwrap();
    assert!(said.contains("this machine does not give the"), "{failed}");
    Client::start(&coordinator, &["--data", data.text(), "--rounds", "2"]).finish().done();
}

#[test]
fn more_memory_than_there_is_is_told_of_at_the_start() {
    let start = |memory: &str| {
        let options = ["--memory", memory, "--no-state"];
        Coordinator::try_at(0, &WITHIN_2_GIB, &[reserve_port()], &options).unwrap()
    };
    start("4096").await_line("--memory is 4096 MiB, and this program may have 2048 MiB here");
    assert!(!start("1024").stop().1.contains("--memory is"));
}

#[test]
fn a_task_goes_only_to_a_node_that_has_the_memory_for_it() {
    let data = few_rows();
    // Each task takes so long that a node which is free is worth having, however unevenly the processor is shared.
    let node = |options: &[&str]| Node::start(0, "1", &[&["--load-delay", "0.05"], options].concat());
    let small: Vec<Node> =
        (1..=3).map(|number| node(&["--memory", "4", "--name", &format!("small-{number}")])).collect();
    let large = node(&["--name", "large"]);
    let ports = [&ports(&small)[..], &[large.port]].concat();
    for policy in ["1", "2"] {
        let coordinator = Coordinator::start(policy, &ports, &[]);
        coordinator.await_in_status("4 of 4 active");
        let finished =
            Client::start(&coordinator, &[&["--data", data.text(), "--rounds", "2"], &LARGE[..]].concat()).finish();
        let tasks: Vec<String> = finished.tasks().into_iter().map(|(node, _)| node).collect();
        assert_eq!(tasks, ["large"], "policy {policy}");
        // What is small enough goes to all of them.
        let epochs = ["--data", data.text(), "--epochs", "1", "--shards", "8", "--rounds", "6"];
        let finished = Client::start(&coordinator, &epochs).finish();
        assert!(finished.tasks().len() > 1, "policy {policy}: {:?}", finished.tasks());
    }
}

#[test]
fn a_job_waits_for_a_node_that_is_away_and_has_the_memory_for_it_by_what_it_told_last() {
    let data = few_rows();
    let [small, mut large] =
        [("small", "4"), ("large", "1000")].map(|(name, mib)| Node::start(0, "0", &["--name", name, "--memory", mib]));
    // Whoever waits for a node waits for long.
    let waits = ["--revival-waits", "3600"];
    let coordinator = Coordinator::start("2", &[small.port, large.port], &waits);
    coordinator.await_in_status("2 of 2 active");
    let job = [&["--data", data.text(), "--rounds", "2"], &LARGE[..]].concat();
    large.kill();
    coordinator.await_in_status("1 of 2 active");
    // The large one may come back.
    let mut waiting = Client::start(&coordinator, &job);
    waiting.await_notice("no node has the memory that the job's tasks take: node small comes closest");
    let large = Node::start(large.port, "0", &["--name", "large", "--memory", "1000"]);
    let tasks = waiting.finish().tasks();
    assert_eq!(tasks.iter().map(|(node, _)| node.as_str()).collect::<Vec<_>>(), ["large"]);
    drop(large);
}

#[test]
fn a_job_that_no_node_can_carry_is_told_so_and_ends() {
    let data = few_rows();
    let small = Node::start(0, "0", &["--name", "small", "--memory", "4"]);
    let coordinator = Coordinator::of("2", &[small], &["--revival-waits", "3600"]);
    let failed =
        Client::start(&coordinator, &[&["--data", data.text(), "--rounds", "2"], &LARGE[..]].concat()).finish();
    let failed = failed.failed();
    assert_eq!(failed["code"], "NO_NODES", "{failed}");
    let said = failed["text"].as_str().unwrap();
    assert!(said.contains("no node has the memory that the job's tasks take: node small comes closest"), "{said}");
    assert!(
        said.contains("and 2 MiB are allowed; give a node more (--memory, up to half of which is --cache)"),
        "{said}"
    );
}

/// A coordinator that is killed and started again.
struct Restarted {
    port: u16,
    state: tempfile::TempDir,
    nodes: Vec<Node>,
}

impl Restarted {
    fn new(nodes: Vec<Node>) -> Restarted {
        Restarted { port: reserve_port(), state: tempfile::tempdir().unwrap(), nodes }
    }

    fn start(&self, options: &[&str]) -> Coordinator {
        let options = [&["--state-dir", text(self.state.path())], options].concat();
        Coordinator::start_at(self.port, "2", &ports(&self.nodes), &options)
    }

    fn file(&self, job: &str, name: &str) -> PathBuf {
        self.state.path().join("jobs").join(job).join(name)
    }

    /// What the coordinator has noted of a job's heavy steps.
    fn notes(&self, job: &str) -> String {
        fs::read_to_string(self.file(job, "underway")).unwrap_or_default()
    }

    /// Waits for notes that are there for as long as a step takes.
    fn await_notes(&self, what: &str, are_there: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !are_there() {
            assert!(Instant::now() < deadline, "{what} was never noted");
            thread::sleep(Duration::from_micros(500));
        }
    }

    /// How the coordinator's jobs stand, as somebody who asks is told.
    fn asked(&self, rest: &[&str]) -> String {
        let port = self.port.to_string();
        client([&["127.0.0.1", port.as_str()], rest].concat()).stdout
    }
}

/// Under this id it is known to the test.
fn job(number: u32) -> String {
    format!("{number:032x}")
}

fn submit(port: u16, data: &Written, id: &str, options: &[&str]) -> Client {
    Client::at(port, &[&["--data", data.text(), "--job", id], options].concat())
}

#[test]
fn an_admitted_job_waits_under_a_smaller_budget_and_goes_on_under_the_old_one() {
    let (data, id) = (few_rows(), job(1));
    let cluster = Restarted::new(nodes(2, "0", &[]));
    let options = [&LARGE[..], &["--rounds", "60"]].concat();
    let undisturbed = {
        let coordinator = cluster.start(&[]);
        submit(coordinator.port, &data, &job(2), &options).finish().fingerprint()
    };
    let mut coordinator = cluster.start(&[]);
    let mut watching = submit(coordinator.port, &data, &id, &options);
    standing_still_after(1, &coordinator, &cluster.nodes, || watching.await_round());
    coordinator.kill();
    cluster.nodes.iter().for_each(|node| node.thaw());
    drop(watching);
    let small = cluster.start(&["--memory", "4"]);
    small.await_line("waits for memory");
    let listed = cluster.asked(&["jobs"]);
    assert!(listed.lines().any(|line| line.starts_with(&id[..8]) && line.contains("paused")), "{listed}");
    assert!(small.status().contains("waits for memory: it takes"), "{}", small.status());
    // It is not what it waits for that somebody wants it to go on.
    cluster.asked(&["resume", &id]);
    assert!(small.status().contains("waits for memory: it takes"));
    drop(small);
    let coordinator = cluster.start(&[]);
    let done = Client::at(coordinator.port, &["attach", &id]).finish();
    assert_eq!(done.fingerprint(), undisturbed);
}

/// A job may have been admitted because another had ended, and the coordinator killed before that end was on the disk: then both are
/// there again after the restart, without room for both.
#[test]
fn whoever_watches_a_job_that_others_leave_no_memory_after_a_restart_waits_with_it() {
    let (data, first, second) = (few_rows(), job(1), job(2));
    let cluster = Restarted::new(nodes(2, "0", &[]));
    let own: u32 = {
        let small =
            Coordinator::start("2", &[reserve_port()], &["--memory", "4", "--state-dir", text(cluster.state.path())]);
        let refused = submit(small.port, &data, &second, &[&LARGE[..], &["--rounds", "300"]].concat()).finish();
        let said = refused.failed()["text"].as_str().unwrap();
        said.split("takes ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap()
    };
    let mut coordinator = cluster.start(&[]);
    let mut before = submit(coordinator.port, &data, &first, &[&LARGE[..], &["--rounds", "10000"]].concat());
    before.await_round();
    let mut watching = submit(coordinator.port, &data, &second, &[&LARGE[..], &["--rounds", "300"]].concat());
    watching.await_accepted();
    watching.await_round();
    coordinator.kill();
    drop(before);
    let enough_for_one = cluster.start(&["--memory", &own.to_string()]);
    enough_for_one.await_line("waits for memory");
    watching.await_notice("waits for memory");
    let mut other = Client::at(cluster.port, &["attach", &second]);
    assert_eq!(other.await_accepted()["state"], "queued");
    cluster.asked(&["cancel", &first]);
    for client in [watching, other] {
        client.finish().done();
    }
}

#[test]
fn a_job_that_three_coordinators_died_of_in_one_step_is_paused_and_the_others_go_on_until_it_is_resumed() {
    let (data, deadly, other) = (few_rows(), job(1), job(2));
    let cluster = Restarted::new(nodes(1, "0", &[]));
    let mut coordinator = cluster.start(&[]);
    let mut watching = submit(coordinator.port, &data, &deadly, &[&LARGE[..], &["--rounds", "200"]].concat());
    let waiting = standing_still_after(1, &coordinator, &cluster.nodes, || {
        watching.await_round();
        let mut waiting = submit(coordinator.port, &data, &other, &["--rounds", "2"]);
        waiting.await_accepted();
        waiting
    });
    coordinator.kill();
    cluster.nodes.iter().for_each(|node| node.thaw());
    // So each of three would have left it.
    fs::write(cluster.file(&deadly, "underway"), "died merge 33 2\nbegun merge 33\n").unwrap();
    let coordinator = cluster.start(&[]);
    let said = coordinator.await_line("has ended 3 times in a row while merging its step 34");
    assert!(said.contains(&deadly), "{said}");
    waiting.finish().done();
    let listed = cluster.asked(&["jobs"]);
    assert!(listed.lines().any(|line| line.starts_with(&deadly[..8]) && line.contains("paused")), "{listed}");
    drop(coordinator);
    let coordinator = cluster.start(&[]);
    coordinator.await_line("has ended 3 times in a row");
    cluster.asked(&["resume", &deadly]);
    let mut watching = Client::at(coordinator.port, &["attach", &deadly]);
    watching.await_event("a round after those before", |event| event["round"].as_u64() > Some(5));
    assert!(!fs::read_to_string(cluster.file(&deadly, "underway")).unwrap_or_default().contains("died"));
}

#[test]
fn a_job_at_work_beside_one_that_three_coordinators_died_of_is_not_taken_for_it() {
    /// A step and a validation of it take a part of a second.
    const HEAVY: [&str; 10] =
        ["--hidden", "1500,1500", "--batch", "600", "--shards", "1", "--rounds", "40", "--validate-split", "0.8"];
    const STARTS_MAX: usize = 8;
    let (data, deadly, other) = (rows(600), job(1), job(2));
    let cluster = Restarted::new(nodes(2, "0", &[]));
    let options = ["--state-dir", text(cluster.state.path())];
    let start = || Coordinator::try_at(cluster.port, &WITHIN_2_GIB, &ports(&cluster.nodes), &options).unwrap();
    let mut coordinator = start();
    let mut clients = [&deadly, &other].map(|id| submit(cluster.port, &data, id, &HEAVY));
    clients.iter_mut().for_each(|client| drop(client.await_accepted()));
    let merges = || cluster.notes(&deadly).contains("begun merge");
    cluster.await_notes("a merge beside another job's step", || merges() && cluster.notes(&other).contains("begun"));
    coordinator.kill();
    // Until the step that it is killed in is the first behind what is durable, that may have come between.
    let mut starts = 0;
    loop {
        coordinator = start();
        // Until then notes are those of the start before.
        coordinator.await_line("2 jobs are restored");
        cluster.await_notes("a merge, or the last of three", || merges() || cluster.notes(&deadly).contains(" 3\n"));
        if !merges() {
            break;
        }
        coordinator.kill();
        if merges() {
            assert!(!cluster.notes(&other).contains("begun"), "a suspect's step was taken beside another one");
        }
        starts += 1;
        assert!(starts < STARTS_MAX, "it is tried again and again: {}", cluster.notes(&deadly));
    }
    let said = coordinator.await_line("has ended 3 times in a row while merging its step");
    assert!(said.contains(&deadly), "{said}");
    let [_, innocent] = clients;
    innocent.finish().done();
    let listed = cluster.asked(&["jobs"]);
    assert!(listed.lines().any(|line| line.starts_with(&deadly[..8]) && line.contains("paused")), "{listed}");
}

#[test]
fn a_job_goes_on_however_often_its_coordinator_is_killed() {
    let (data, id) = (few_rows(), job(1));
    // Nothing is durable while a task is delayed, and that is for as long as this node lives.
    let mut cluster = Restarted::new(nodes(1, "1", &["--load-delay", "600"]));
    let options = [&LARGE[..], &["--rounds", "2", "--epochs", "1", "--shards", "1"]].concat();
    let mut coordinator = cluster.start(&[]);
    let mut watching = submit(cluster.port, &data, &id, &options);
    for number in 0..20 {
        // Three kills in a row within a heavy step pause a job: they could be want of memory. These are others.
        let is_heavy = || fs::read_to_string(cluster.file(&id, "underway")).is_ok_and(|notes| notes.contains("begun"));
        coordinator.await_status("the job", common::process::PATIENCE, |status| {
            status.lines().any(|line| line.starts_with(&id) && line.contains("running")) && !is_heavy()
        });
        assert!(!watching.has_ended(), "after {number} kills");
        coordinator.kill();
        coordinator = cluster.start(&[]);
    }
    let delayed = &mut cluster.nodes[0];
    delayed.kill();
    *delayed = Node::start(delayed.port, "0", &[]);
    watching.finish().done();
}

//! Jobs that no node was left for, or one of whose tasks failed everywhere: all of them is kept, and they go on to the same model.

use std::path::Path;
use std::time::{Duration, Instant};

use gradwire::model::file::ModelFile;

use crate::common::clients::{Client, Finished, client};
use crate::common::process::{PATIENCE, reserve_port};
use crate::common::servers::{Coordinator, Node};
use crate::common::tables::{file_in, small_table};

/// Of the built-in data, for whom it matters how much that is.
const LARGE: [&str; 6] = ["--recipe", "classic", "--rounds", "12", "--seed", "7"];

/// A job of a table's rows.
fn job_of(table: &str) -> [&str; 8] {
    ["--recipe", "classic", "--rounds", "12", "--seed", "7", "--data", table]
}

/// As long as a test can wait.
const WAITS: [&str; 2] = ["--revival-waits", "0.2,0.2,0.2"];
/// Slow enough to be killed in the middle.
const SLOW: [&str; 4] = ["--load-delay", "0.05", "--name", "node-1"];

fn ask(coordinator: &Coordinator, words: &[&str]) -> Finished {
    Client::start(coordinator, words).finish()
}

/// A coordinator and a job of it that has been given up after some rounds, because its only node was killed.
fn given_up(port: u16, options: &[&str], job: &[&str]) -> (Coordinator, String, Finished) {
    let mut node = Node::start(port, "1", &SLOW);
    let coordinator = Coordinator::start("2", &[port], &[&WAITS, options].concat());
    let mut client = Client::start(&coordinator, job);
    let id = client.await_accepted()["job"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        client.await_round();
    }
    node.kill();
    (coordinator, id, client.finish())
}

fn state_of(coordinator: &Coordinator, job: &str) -> String {
    ask(coordinator, &["job", job]).events[0]["state"].as_str().unwrap().to_owned()
}

/// Starts the node again, has the job resumed, and sees it end with this model.
fn goes_on(coordinator: &Coordinator, port: u16, job: &str, expected: &str) {
    let _node = Node::start(port, "0", &SLOW);
    coordinator.await_line("node node-1 is active at");
    let resumed = ask(coordinator, &["resume", job]);
    assert_eq!(resumed.exit, Some(0), "{resumed:#?}");
    assert!(["queued", "running"].iter().any(|state| resumed.events[0]["state"] == *state), "{resumed:#?}");
    let attached = ask(coordinator, &["attach", job]);
    assert_eq!(attached.fingerprint(), expected);
    let rounds: Vec<u64> = attached.events.iter().filter_map(|event| event["round"].as_u64()).collect();
    assert_eq!(rounds, (1..=12).collect::<Vec<_>>());
    let verified = ask(coordinator, &["verify", job]);
    assert_eq!(verified.exit, Some(0), "{verified:#?}");
}

/// What was given up is failed or paused, says how to go on, and does, on the disk or in memory.
fn is_given_up_and_goes_on(pauses: bool, options: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let table = small_table(&directory, 0);
    let asked_for = job_of(&table);
    let expected = Client::local(1, &asked_for).finish().fingerprint();
    let port = reserve_port();
    let (asked, state, exit, code) = match pauses {
        true => ("pause", "paused", 6, "PAUSED"),
        false => ("fail", "failed", 1, "NO_NODES"),
    };
    let (coordinator, job, ended) = given_up(port, options, &[&asked_for[..], &["--on-no-nodes", asked]].concat());
    assert_eq!((ended.exit, &ended.failed()["code"]), (Some(exit), &code.into()), "{ended:#?}");
    assert_eq!(ended.notices("revival").len(), 4, "{ended:#?}");
    let cure = format!("To continue: client 127.0.0.1 {} resume {job}", coordinator.port);
    assert!(ended.log.contains(&cure), "{ended:#?}");
    assert_eq!(state_of(&coordinator, &job), state);
    goes_on(&coordinator, port, &job, &expected);
}

#[test]
fn a_job_that_is_given_up_is_kept_on_the_disk_and_goes_on_when_it_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    is_given_up_and_goes_on(false, &["--state-dir", file_in(&directory, "state").to_str().unwrap()]);
}

#[test]
fn a_job_that_is_given_up_is_kept_in_memory_where_nothing_is_written_and_goes_on_when_it_is_resumed() {
    is_given_up_and_goes_on(false, &[]);
}

#[test]
fn a_job_that_pauses_differs_in_its_state_and_the_exit_code_alone() {
    let directory = tempfile::tempdir().unwrap();
    is_given_up_and_goes_on(true, &["--state-dir", file_in(&directory, "state").to_str().unwrap()]);
}

/// Nobody knows when a paused job is resumed, if ever: until then its memory is for others, where it is on the disk.
#[test]
fn a_job_that_is_paused_leaves_its_memory_to_others_and_goes_on_once_there_is_some() {
    let directory = tempfile::tempdir().unwrap();
    let table = small_table(&directory, 0);
    // One such job has room.
    let large = |rounds: &'static str, seed: &'static str| {
        let network = ["--hidden", "512,512", "--epochs", "1", "--shards", "1", "--no-early-stopping"];
        [&network[..], &["--rounds", rounds, "--seed", seed, "--on-no-nodes", "pause", "--data", &table]].concat()
    };
    let own = large("12", "7");
    let expected = Client::local(1, &own).finish().fingerprint();
    let (port, state) = (reserve_port(), file_in(&directory, "state"));
    let options = ["--state-dir", state.to_str().unwrap(), "--memory", "9"];
    let (mut coordinator, job, ended) = given_up(port, &options, &own);
    assert_eq!(ended.exit, Some(6), "{ended:#?}");
    let mut node = Node::start(port, "0", &SLOW);
    coordinator.await_line("node node-1 is active at");
    ask(&coordinator, &large("2", "8")).done();
    // Nor does it take any after a restart, and what is kept of it can be had.
    coordinator.kill();
    let mut coordinator = Coordinator::start("2", &[port], &[&WAITS[..], &options].concat());
    assert_eq!(state_of(&coordinator, &job), "paused");
    let model = file_in(&directory, "so-far");
    let saved = ask(&coordinator, &["model", &job, "--out", model.to_str().unwrap()]);
    assert_eq!((saved.exit, &saved.events[0]["steps"]), (Some(0), &12.into()), "{saved:#?}");
    // It is wanted while another has the memory.
    node.kill();
    node = Node::start(port, "1", &SLOW);
    coordinator.await_line("node node-1 is active at");
    let mut other = Client::start(&coordinator, &large("100000", "9"));
    let other_id = other.await_accepted()["job"].as_str().unwrap().to_owned();
    other.await_round();
    let written = || ["state-0", "state-1"].map(|name| std::fs::read(state.join("jobs").join(&job).join(name)).ok());
    let before = written();
    let resumed = ask(&coordinator, &["resume", &job]);
    let said = format!("{resumed:?}");
    assert!(said.contains("the job waits for memory: it takes"), "{said}");
    // Nor is that forgotten, once it is written.
    let deadline = Instant::now() + PATIENCE;
    while written() == before {
        assert!(Instant::now() < deadline, "that it is resumed is not written");
        std::thread::sleep(Duration::from_millis(1));
    }
    coordinator.kill();
    let coordinator = Coordinator::start("2", &[port], &[&WAITS[..], &options].concat());
    coordinator.await_line("the job waits for memory: it takes");
    let watching = Client::start(&coordinator, &["attach", &job]);
    assert_eq!(ask(&coordinator, &["cancel", &other_id]).exit, Some(0));
    drop((other, node));
    goes_on(&coordinator, port, &job, &expected);
    assert_eq!(watching.finish().fingerprint(), expected);
}

#[test]
fn a_paused_job_that_cannot_be_read_says_so_stays_paused_and_goes_on_once_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let table = small_table(&directory, 0);
    let own = [&job_of(&table)[..], &["--on-no-nodes", "pause"]].concat();
    let expected = Client::local(1, &own).finish().fingerprint();
    let (port, state) = (reserve_port(), file_in(&directory, "state"));
    let (coordinator, job, ended) = given_up(port, &["--state-dir", state.to_str().unwrap()], &own);
    assert_eq!(ended.exit, Some(6), "{ended:#?}");
    // Somebody has moved the data away.
    let (data, moved) = (state.join("objects"), file_in(&directory, "moved"));
    std::fs::rename(&data, &moved).unwrap();
    assert_eq!(ask(&coordinator, &["resume", &job]).exit, Some(0));
    coordinator.await_line("the job is on the coordinator's disk and cannot be read: its data ");
    let asked = ask(&coordinator, &["job", &job]);
    let (state, text) = (&asked.events[0]["state"], asked.events[0]["text"].as_str().unwrap_or_default());
    assert!(state == "paused" && text.contains("cannot be read"), "{asked:#?}");
    std::fs::rename(&moved, &data).unwrap();
    goes_on(&coordinator, port, &job, &expected);
}

#[test]
fn a_job_of_merged_gradients_goes_on_within_a_round_with_what_its_optimiser_remembers() {
    let directory = tempfile::tempdir().unwrap();
    let table = small_table(&directory, 0);
    let job = ["--rounds", "12", "--seed", "7", "--hidden", "8", "--batch", "16", "--data", &table];
    let expected = Client::local(1, &job).finish().fingerprint();
    let state = file_in(&directory, "state");
    let port = reserve_port();
    let (coordinator, id, ended) = given_up(port, &["--state-dir", state.to_str().unwrap()], &job);
    assert_eq!(ended.failed()["code"], "NO_NODES", "{ended:#?}");
    goes_on(&coordinator, port, &id, &expected);
}

#[test]
fn a_coordinator_that_is_killed_between_and_after_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let table = small_table(&directory, 0);
    let expected = Client::local(1, &job_of(&table)).finish().fingerprint();
    let state = file_in(&directory, "state");
    let options = [&WAITS[..], &["--state-dir", state.to_str().unwrap()]].concat();
    let port = reserve_port();
    let (mut coordinator, job, _) = given_up(port, &options[2..], &job_of(&table));
    coordinator.kill();
    let mut coordinator = Coordinator::start("2", &[port], &options);
    assert_eq!(state_of(&coordinator, &job), "failed");
    let mut node = Node::start(port, "1", &SLOW);
    coordinator.await_line("node node-1 is active at");
    assert_eq!(ask(&coordinator, &["resume", &job]).exit, Some(0));
    let mut client = Client::start(&coordinator, &["attach", &job]);
    client.await_event("a round behind those that were done", |event| event["round"].as_u64() >= Some(6));
    client.kill();
    coordinator.kill();
    node.kill();
    // It had not ended, so that it goes on by itself; and without a node it is given up again.
    let coordinator = Coordinator::start("2", &[port], &options);
    coordinator.await_line("goes on after round ");
    coordinator.await_line("has ended: no node is active");
    goes_on(&coordinator, port, &job, &expected);
}

#[test]
fn a_model_of_a_job_that_is_given_up_is_that_of_its_last_step_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| file_in(&directory, name).to_str().unwrap().to_owned();
    let (port, table) = (reserve_port(), small_table(&directory, 0));
    let (coordinator, job, ended) = given_up(port, &["--state-dir", &path("state")], &job_of(&table));
    let rounds = ended.events.iter().filter_map(|event| event["round"].as_u64()).max().unwrap();
    let saved = ask(&coordinator, &["model", &job, "--out", &path("so-far")]);
    assert_eq!((saved.exit, &saved.events[0]["steps"]), (Some(0), &12.into()), "{saved:#?}");
    let steps = saved.events[0]["steps_done"].as_u64().unwrap();
    assert!(steps >= rounds && steps < 12, "{saved:#?}");
    let words = [
        format!("job {job} has failed: these are its weights after {steps} of 12 steps; "),
        format!("resume {job} lets it go on"),
    ];
    assert!(words.iter().all(|words| saved.log.contains(words)), "{saved:#?}");
    let file = ModelFile::read(Path::new(&path("so-far"))).unwrap();
    assert_eq!(file.specification["unfinished"], format!("{steps} of 12 steps"));
    assert!(!file.specification.contains_key("reproducible"));
    let inspected = client(["inspect", &path("so-far")]).stdout;
    assert!(inspected.contains(&format!("the weights after {steps} of 12 steps")), "{inspected}");
    assert!(!inspected.contains("quality"), "{inspected}");
    // They are those that as many rounds lead to, whose schedule is the same.
    let fewer = steps.to_string();
    let fewer = ["--recipe", "classic", "--rounds", &fewer, "--seed", "7", "--data", &table, "--out", &path("fewer")];
    Client::local(1, &fewer).finish().done();
    assert_eq!(file.parameters, ModelFile::read(Path::new(&path("fewer"))).unwrap().parameters);
}

#[test]
fn what_cannot_go_on_says_so_and_what_has_no_weights_has_no_model() {
    let directory = tempfile::tempdir().unwrap();
    let out = file_in(&directory, "model");
    let (port, table) = (reserve_port(), small_table(&directory, 0));
    let coordinator = Coordinator::start("2", &[port], &WAITS);
    let given_up = ask(&coordinator, &job_of(&table)).failed()["job"].as_str().unwrap().to_owned();
    let without = ask(&coordinator, &["model", &given_up, "--out", out.to_str().unwrap()]);
    assert!(without.exit == Some(1) && without.log.contains("none of its steps is done"), "{without:#?}");
    let _node = Node::start(port, "0", &[]);
    coordinator.await_line("is active at");
    let done = ask(&coordinator, &["--recipe", "classic", "--rounds", "1", "--data", &table]).done()["job"]
        .as_str()
        .unwrap()
        .to_owned();
    let resumed = ask(&coordinator, &["resume", &done]);
    assert_eq!(resumed.exit, Some(1), "{resumed:#?}");
    assert!(resumed.log.contains("is done, fingerprint ") && resumed.log.contains("cannot be resumed"), "{resumed:#?}");
    // What has not even begun begins.
    assert_eq!(ask(&coordinator, &["resume", &given_up]).exit, Some(0));
    ask(&coordinator, &["attach", &given_up]).done();
}

#[test]
fn what_is_kept_in_memory_makes_room_for_others_and_says_so() {
    let port = reserve_port();
    // The built-in data takes more than half of it, and other shards are other data.
    let (coordinator, job, _) = given_up(port, &["--store", "2"], &LARGE);
    let other = ask(&coordinator, &["--recipe", "classic", "--rounds", "1", "--shards", "3"]);
    assert_eq!(other.failed()["code"], "NO_NODES", "it was taken in: {other:#?}");
    let resumed = ask(&coordinator, &["resume", &job]);
    assert_eq!(resumed.exit, Some(1), "{resumed:#?}");
    assert!(resumed.log.contains("has made room for others") && resumed.log.contains("--state-dir"), "{resumed:#?}");
}

#[test]
fn a_job_without_room_is_resumed_later() {
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    let port = reserve_port();
    let (coordinator, job, _) = given_up(port, &["--store", "2", "--state-dir", state.to_str().unwrap()], &LARGE);
    let _node = Node::start(port, "1", &SLOW);
    let mut other = Client::start(&coordinator, &["--recipe", "classic", "--rounds", "100000", "--shards", "3"]);
    let running = other.await_accepted()["job"].as_str().unwrap().to_owned();
    other.await_round();
    // Nothing of it is read to say so: its data is not even there.
    let (data, moved) = (state.join("objects"), file_in(&directory, "moved"));
    std::fs::rename(&data, &moved).unwrap();
    let refused = ask(&coordinator, &["resume", &job, "--retry-for", "0"]);
    std::fs::rename(&moved, &data).unwrap();
    assert!(refused.exit == Some(3) && refused.log.contains("try again later"), "{refused:#?}");
    assert_eq!(ask(&coordinator, &["cancel", &running]).exit, Some(0));
    assert_eq!(other.finish().exit, Some(5));
    assert_eq!(ask(&coordinator, &["resume", &job]).exit, Some(0));
}

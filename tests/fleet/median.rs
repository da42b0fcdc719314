//! Jobs whose rounds, or steps of merged gradients, are merged to the median: the same bits on any fleet, wherever what is merged is
//! kept, and when some of it is lost before the round or step is over.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::clients::{Client, Finished};
use crate::common::process::reserve_port;
use crate::common::servers::{Coordinator, nodes, ports};
use crate::common::tables::file_in;

/// Four shards, so that two values are in the middle.
const JOB: [&str; 8] = ["--rounds", "3", "--hidden", "12", "--shards", "4", "--merge", "median"];

/// Two rounds of ten steps, each of 16 blocks: 320 tasks.
const GRADIENTS: [&str; 14] = [
    "--validate-split",
    "last:3500",
    "--rounds",
    "2",
    "--hidden",
    "12",
    "--merge",
    "median",
    "--local-steps",
    "1",
    "--round-steps",
    "10",
    "--batch",
    "128",
];

fn ask(coordinator: &Coordinator, arguments: &[&str]) -> Finished {
    Client::start(coordinator, arguments).finish()
}

#[test]
fn the_median_is_the_same_on_any_fleet_and_another_model_than_the_mean() {
    let median = Client::local(1, &JOB).finish();
    assert_eq!(Client::local(3, &JOB).finish().fingerprint(), median.fingerprint());
    let mean = Client::local(1, &[&JOB[..6], &["--epochs", "3"]].concat()).finish();
    assert_ne!(mean.fingerprint(), median.fingerprint());
    let accuracy = |finished: &Finished| finished.done()["validation_accuracy"].as_f64().unwrap();
    assert!((accuracy(&mean) - accuracy(&median)).abs() < 0.05, "{} and {}", accuracy(&mean), accuracy(&median));
}

#[test]
fn updates_that_are_lost_before_their_round_is_over_are_trained_again_to_the_same_bits() {
    // An outer optimiser's state is that before the round then, too.
    let job = [&JOB[..], &["--outer", "nesterov"]].concat();
    let expected = Client::local(1, &job).finish().fingerprint();
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    // A task after the other, each of them late: the first update waits for the last.
    let fleet = nodes(1, "1", &["--load-delay", "0.3"]);
    let coordinator = Coordinator::of("2", &fleet, &["--state-dir", state.to_str().unwrap()]);
    lose_and_finish(&coordinator, &state, &job, &expected, 12);
}

#[test]
fn a_step_of_which_a_blocks_gradient_is_lost_is_made_anew_to_the_same_bits() {
    // Two steps.
    let job = [&GRADIENTS[..10], &["--round-steps", "1", "--batch", "32"]].concat();
    let expected = Client::local(1, &job).finish().fingerprint();
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    let fleet = nodes(1, "1", &["--load-delay", "0.3"]);
    let coordinator = Coordinator::of("2", &fleet, &["--state-dir", state.to_str().unwrap()]);
    lose_and_finish(&coordinator, &state, &job, &expected, 8);
}

/// Has a job done, of which the first result that is kept is lost: the same comes of it as ever, and each of so many tasks counts
/// once.
fn lose_and_finish(coordinator: &Coordinator, state: &Path, job: &[&str], expected: &str, tasks: u64) {
    let mut client = Client::start(coordinator, job);
    let job = client.await_accepted()["job"].as_str().unwrap().to_owned();
    lose_the_first(&state.join("updates"));
    client.await_notice("cannot be read any more");
    let finished = client.finish();
    assert_eq!(finished.fingerprint(), expected, "{finished:#?}");
    assert_eq!(finished.done()["tasks"], json!({"merged": tasks, "skipped": 0}));
    assert_eq!(finished.tasks().iter().map(|(_, tasks)| tasks).sum::<u64>(), tasks, "a task counts twice");
    assert_eq!(finished.done()["reproducible"], true);
    assert_eq!(fs::read_dir(state.join("updates")).unwrap().count(), 0, "a job that is done keeps no update");
    let verified = ask(coordinator, &["verify", &job]);
    assert_eq!((verified.exit, &verified.events[0]["agrees"]), (Some(0), &json!(true)), "{verified:#?}");
}

#[test]
fn the_median_of_blocks_is_the_same_on_any_fleet_by_any_policy_and_another_model_than_their_mean() {
    let median = Client::local(1, &GRADIENTS).finish();
    assert_eq!(median.done()["tasks"], json!({"merged": 320, "skipped": 0}));
    assert_eq!(Client::local(3, &GRADIENTS).finish().fingerprint(), median.fingerprint());
    let portable = [&GRADIENTS[..], &["--kernel", "portable"]].concat();
    assert_eq!(Client::local(1, &portable).finish().fingerprint(), median.fingerprint());
    for policy in ["1", "2"] {
        let fleet = nodes(3, "0.2", &["--load-delay", "0.005"]);
        let coordinator = Coordinator::of(policy, &fleet, &[]);
        assert_eq!(ask(&coordinator, &GRADIENTS).fingerprint(), median.fingerprint());
    }
    let mean = Client::local(1, &[&GRADIENTS[..6], &GRADIENTS[8..]].concat()).finish();
    assert_ne!(mean.fingerprint(), median.fingerprint());
}

#[test]
fn a_median_of_blocks_survives_the_death_of_a_node_and_of_the_coordinator_and_verifies() {
    let expected = Client::local(1, &GRADIENTS).finish().fingerprint();
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    let options = ["--state-dir", state.to_str().unwrap()];
    let (port, mut fleet) = (reserve_port(), nodes(3, "0.5", &["--load-delay", "0.02"]));
    let mut coordinator = Coordinator::start_at(port, "1", &ports(&fleet), &options);
    let mut client = Client::at(port, &GRADIENTS);
    let job = client.await_accepted()["job"].as_str().unwrap().to_owned();
    client.await_round();
    fleet[1].kill();
    coordinator.kill();
    client.await_event("the loss", |event| event["event"] == "lost");
    let coordinator = Coordinator::start_at(port, "1", &ports(&fleet), &options);
    let finished = client.finish();
    assert_eq!(finished.fingerprint(), expected, "{finished:#?}");
    assert_eq!(finished.done()["reproducible"], true);
    let verified = ask(&coordinator, &["verify", &job]);
    let verdict = &verified.events[0];
    let told = (&verdict["steps"], &verdict["unmerged"], &verdict["differs"]);
    assert_eq!((verified.exit, told), (Some(0), (&json!(20), &json!([]), &json!([]))), "{verified:#?}");
}

/// Removes the first update that is kept in this directory.
fn lose_the_first(updates: &Path) {
    let start = Instant::now();
    loop {
        let first = fs::read_dir(updates).unwrap().next();
        if let Some(first) = first {
            return fs::remove_file(first.unwrap().path()).unwrap();
        }
        assert!(start.elapsed() < Duration::from_secs(60), "no update is kept");
        sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_job_whose_updates_would_not_fit_is_refused_before_anything_is_trained() {
    let fleet = nodes(1, "0", &[]);
    let coordinator = Coordinator::of("2", &fleet, &[]);
    // 200 updates of 20 MB, and a coordinator without a directory keeps 1 GiB.
    let refused = ask(&coordinator, &["--hidden", "2000,2500", "--shards", "200", "--merge", "median"]);
    assert_ne!(refused.exit, Some(0));
    assert!(refused.log.contains("take fewer shards, or the mean"), "{refused:#?}");
    // 66 gradients of 20 MB each, of 128 rows or fewer.
    let refused =
        ask(&coordinator, &["--hidden", "2000,2500", "--local-steps", "1", "--merge", "median", "--batch", "16384"]);
    assert_ne!(refused.exit, Some(0));
    assert!(refused.log.contains("take a smaller batch, or the mean"), "{refused:#?}");
}

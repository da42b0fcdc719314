//! Jobs whose rounds are merged to the median: the same bits on any fleet, wherever their updates are kept, and when some are
//! lost before the round is over.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::clients::{Client, Finished};
use crate::common::servers::{Coordinator, nodes};
use crate::common::tables::file_in;

/// Four shards, so that two values are in the middle.
const JOB: [&str; 8] = ["--rounds", "3", "--hidden", "12", "--shards", "4", "--merge", "median"];

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
    let mut client = Client::start(&coordinator, &job);
    let job = client.await_accepted()["job"].as_str().unwrap().to_owned();
    lose_the_first(&state.join("updates"));
    client.await_notice("cannot be read any more");
    let finished = client.finish();
    assert_eq!(finished.fingerprint(), expected, "{finished:#?}");
    assert_eq!(finished.done()["tasks"], json!({"merged": 12, "skipped": 0}));
    assert_eq!(finished.tasks().iter().map(|(_, tasks)| tasks).sum::<u64>(), 12, "a task counts twice");
    assert_eq!(finished.done()["reproducible"], true);
    assert_eq!(fs::read_dir(state.join("updates")).unwrap().count(), 0, "a job that is done keeps no update");
    let verified = ask(&coordinator, &["verify", &job]);
    assert_eq!((verified.exit, &verified.events[0]["agrees"]), (Some(0), &json!(true)), "{verified:#?}");
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
}

//! Jobs whose weights an outer optimiser moves: the same bits on any fleet, whatever of it dies, and what it remembers with them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::common::clients::{Client, Finished};
use crate::common::process::reserve_port;
use crate::common::servers::{Coordinator, nodes, ports};
use crate::common::tables::file_in;

const ADAM: [&str; 14] = [
    "--rounds",
    "10",
    "--epochs",
    "1",
    "--hidden",
    "12",
    "--shards",
    "8",
    "--outer",
    "adam",
    "--outer-eta",
    "0.03",
    "--outer-schedule",
    "cosine",
];

fn ask(coordinator: &Coordinator, arguments: &[&str]) -> Finished {
    Client::start(coordinator, arguments).finish()
}

fn fingerprint_of(nodes: usize, job: &[&str]) -> String {
    Client::local(nodes, job).finish().fingerprint()
}

#[test]
fn every_outer_optimiser_gives_a_model_of_its_own_and_the_same_on_any_fleet() {
    let short = ["--rounds", "3", "--epochs", "1", "--hidden", "12", "--shards", "8"];
    let jobs: [&[&str]; 7] = [
        &[],
        &["--outer", "momentum", "--outer-clip", "0.5"],
        &["--outer", "nesterov", "--outer-eta", "0.7", "--outer-weight-decay", "0.01"],
        &["--outer", "nesterov", "--outer-eta", "0.7", "--merge", "median"],
        &["--outer", "adam", "--outer-schedule", "cosine"],
        &["--outer", "adam", "--outer-schedule", "flat_cosine", "--outer-warmup", "1"],
        &["--schedule", "cosine", "--warmup", "1", "--label-smoothing", "0.1", "--scale", "robust"],
    ];
    let models = jobs.map(|outer| {
        let job = [&short[..], outer].concat();
        let model = fingerprint_of(1, &job);
        assert_eq!(fingerprint_of(3, &job), model, "{outer:?}");
        assert_eq!(fingerprint_of(1, &[&job[..], &["--kernel", "portable"]].concat()), model, "{outer:?}");
        model
    });
    let mut others = models.to_vec();
    others.sort();
    others.dedup();
    assert_eq!(others.len(), models.len(), "{models:?}");
}

#[test]
fn what_adam_remembers_survives_the_death_of_a_node_and_of_the_coordinator() {
    let expected = fingerprint_of(1, &ADAM);
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    let options = ["--state-dir", state.to_str().unwrap()];
    let (port, mut fleet) = (reserve_port(), nodes(4, "1", &["--load-delay", "0.05"]));
    let mut coordinator = Coordinator::start_at(port, "2", &ports(&fleet), &options);
    let mut client = Client::at(port, &ADAM);
    let job = client.await_accepted()["job"].as_str().unwrap().to_owned();
    client.await_round();
    fleet[1].kill();
    (0..3).for_each(|_| drop(client.await_round()));
    coordinator.kill();
    client.await_event("the loss", |event| event["event"] == "lost");
    let coordinator = Coordinator::start_at(port, "2", &ports(&fleet), &options);
    let finished = client.finish();
    assert_eq!(finished.fingerprint(), expected, "{finished:#?}");
    assert_eq!(finished.done()["reproducible"], true);
    let verified = ask(&coordinator, &["verify", &job]);
    let verdict = &verified.events[0];
    assert_eq!(
        (verified.exit, &verdict["tasks"], &verdict["unmerged"]),
        (Some(0), &json!(80), &json!([])),
        "{verified:#?}"
    );
    let shown = ask(&coordinator, &["job", &job]);
    assert_eq!(shown.exit, Some(0), "{shown:#?}");
}

#[test]
fn a_paused_job_goes_on_with_what_its_outer_optimiser_remembers() {
    let expected = fingerprint_of(1, &ADAM);
    let mut fleet = nodes(1, "1", &["--load-delay", "0.05"]);
    let port = fleet[0].port;
    let coordinator = Coordinator::of("2", &fleet, &["--revival-waits", "0.1"]);
    let mut client = Client::start(&coordinator, &[&ADAM[..], &["--on-no-nodes", "pause"]].concat());
    let job = client.await_accepted()["job"].as_str().unwrap().to_owned();
    client.await_round();
    fleet[0].kill();
    assert_ne!(client.finish().exit, Some(0), "it is paused");
    let _node = crate::common::servers::Node::start(port, "0", &[]);
    coordinator.await_in_status("1 of 1 active");
    assert_eq!(ask(&coordinator, &["resume", &job]).exit, Some(0));
    assert_eq!(ask(&coordinator, &["attach", &job]).fingerprint(), expected);
}

/// The two generations of the job's state.
fn generations(state: &Path, job: &str) -> [PathBuf; 2] {
    ["state-0", "state-1"].map(|name| state.join("jobs").join(job).join(name))
}

#[test]
fn a_state_whose_outer_part_is_damaged_counts_as_damaged_weights_do() {
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    let options = ["--state-dir", state.to_str().unwrap(), "--revival-waits", "3600"];
    let (port, mut fleet) = (reserve_port(), nodes(1, "1", &["--load-delay", "0.05"]));
    let mut coordinator = Coordinator::start_at(port, "2", &ports(&fleet), &options);
    let mut client = Client::at(port, &ADAM);
    let job = client.await_accepted()["job"].as_str().unwrap().to_owned();
    (0..4).for_each(|_| drop(client.await_round()));
    fleet[0].kill();
    coordinator.kill();
    client.kill();
    // What the optimiser remembers ends where the digest of the head begins.
    for path in generations(&state, &job) {
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 33;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let coordinator = Coordinator::start_at(port, "2", &ports(&fleet), &options);
    coordinator.await_line("the state of its outer optimiser does not have its digest");
    // It answers once the journal is read, and then the files have been moved.
    assert_eq!(ask(&coordinator, &["jobs"]).exit, Some(0));
    assert_eq!(fs::read_dir(state.join("damaged")).unwrap().count(), 1);
}

#[test]
fn a_job_whose_outer_optimiser_runs_away_fails_with_the_cure() {
    let away = ["--outer", "nesterov", "--outer-eta", "3.4e38", "--hidden", "12"];
    let failed = Client::local(1, &[&away[..], &["--rounds", "9", "--epochs", "1"]].concat()).finish();
    assert_eq!(failed.exit, Some(1), "{failed:#?}");
    let failure = failed.failed().to_string();
    assert!(failure.contains("the outer optimiser makes parameter"), "{failure}");
}

#[test]
fn an_option_without_its_outer_optimiser_is_refused_with_the_cure() {
    for (options, word) in [
        (&["--outer-eta", "0.5"][..], "--eta instead of --outer-eta"),
        (&["--epochs", "1", "--outer-eta", "0.5"], "--outer-eta belongs to an outer optimiser"),
        (&["--outer", "adam", "--outer-momentum", "0.5"], "has no momentum"),
        (&["--outer", "momentum", "--outer-momentum", "1.5"], "of the outer optimiser, the momentum is 0, or from 0.1"),
        (&["--outer", "yogi"], "average, momentum, nesterov, adam"),
        (&["--outer-schedule", "cosine"], "--schedule instead of --outer-schedule"),
        (&["--epochs", "1", "--outer-warmup", "1"], "--outer-warmup belongs to an outer optimiser"),
        (&["--outer", "adam", "--outer-eta-decay", "0.9"], "--outer-eta-decay belongs to --outer-schedule exponential"),
    ] {
        let refused = Client::local(1, options).finish();
        assert!(refused.exit == Some(2) && refused.log.contains(word), "{refused:#?}");
    }
}

#[test]
fn a_rate_that_cannot_go_so_is_refused_with_the_cure() {
    for (options, word) in [
        (&["--eta-decay", "0.9"][..], "--eta-decay belongs to --schedule exponential"),
        (
            &["--epochs", "1", "--schedule", "cosine", "--eta-decay", "0.9"],
            "--eta-decay belongs to --schedule exponential",
        ),
        (&["--schedule", "exponential", "--eta-decay", "1.5"], "above 0 and at most 1, not 1.5"),
        (&["--warmup", "30"], "in all of the job's 30 rounds: give fewer, or more --rounds"),
        (&["--schedule", "linear"], "constant, exponential, cosine, flat_cosine"),
        (&["--label-smoothing", "1"], "0, or at least 1e-6 and below 1, not 1e0"),
        (&["--dropout", "1"], "0, or from 0.001 to 0.99, not 1"),
        (&["--recipe", "classic", "--dropout", "0.5"], "leave one out"),
        (&["--scale", "minmax"], "standard, robust, none"),
    ] {
        let refused = Client::local(1, options).finish();
        assert!(refused.exit == Some(2) && refused.log.contains(word), "{refused:#?}");
    }
}

#[test]
fn rates_smoothed_labels_and_dropped_outputs_give_models_of_their_own_and_the_same_on_any_fleet() {
    let short = ["--rounds", "4", "--hidden", "12"];
    let jobs: [&[&str]; 5] = [
        &[],
        &["--schedule", "flat_cosine", "--warmup", "1"],
        &["--schedule", "exponential", "--eta-decay", "0.5"],
        &["--label-smoothing", "0.1"],
        &["--dropout", "0.2"],
    ];
    let models = jobs.map(|options| {
        let job = [&short[..], options].concat();
        let model = fingerprint_of(1, &job);
        assert_eq!(fingerprint_of(3, &job), model, "{options:?}");
        model
    });
    let mut others = models.to_vec();
    others.sort();
    others.dedup();
    assert_eq!(others.len(), models.len(), "{models:?}");
}

#[test]
fn an_option_that_has_no_part_in_local_steps_is_refused_with_the_cure() {
    for (options, word) in [
        (&["--local-steps", "1", "--epochs", "2"][..], "leave out --epochs or --local-steps"),
        (&["--local-steps", "4", "--batch", "0"], "local steps are batches"),
        (&["--local-steps", "4", "--tasks-per-step", "3"], "--tasks-per-step belongs to --local-steps 1"),
        (&["--local-steps", "1", "--outer", "adam"], "--optimiser instead of --outer"),
        (&["--local-steps", "1", "--outer-eta", "0.1"], "--eta instead of --outer-eta"),
        (&["--local-steps", "1", "--momentum", "0.5"], "--optimiser momentum has"),
        (&["--local-steps", "1", "--merge", "median", "--tasks-per-step", "5"], "each block of a step is a task"),
        (&["--epochs", "3", "--round-steps", "5"], "--round-steps belongs to --local-steps"),
        (&["--merge", "median", "--tasks-per-step", "5"], "--merge median means tasks of more than one batch"),
        (&["--local-steps", "1", "--rounds", "1000000"], "a job has at most 16777216 steps"),
    ] {
        let refused = Client::local(1, options).finish();
        assert!(refused.exit == Some(2) && refused.log.contains(word), "{refused:#?}");
    }
}

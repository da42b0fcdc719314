//! What `client` saves and starts from, and who did the work.

use std::fs;

use gradwire::model::file::ModelFile;
use gradwire::model::scaling::Target;

use crate::common::clients::{Client, client};
use crate::common::servers::{Coordinator, nodes, ports};
use crate::common::tables::file_in;

#[test]
fn each_of_four_nodes_has_its_part_of_the_tasks() {
    // Each task takes so long that all four have one at a time.
    let fleet = nodes(4, "1", &["--load-delay", "0.5"]);
    let coordinator = Coordinator::with_all_active(&ports(&fleet), &[]);
    let finished = Client::start(&coordinator, &["--rounds", "3", "--epochs", "1"]).finish();
    let tasks = finished.tasks();
    assert_eq!(tasks.len(), 4, "{tasks:?}");
    assert!(tasks.iter().all(|(_, tasks)| *tasks >= 1), "{tasks:?}");
    assert_eq!(tasks.iter().map(|(_, tasks)| tasks).sum::<u64>(), 12);
}

#[test]
fn the_same_command_saves_the_same_bytes_and_they_bear_the_printed_fingerprint() {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["one.safetensors", "two.safetensors"].map(|name| file_in(&directory, name));
    let saved = paths.each_ref().map(|path| {
        let path = path.to_str().unwrap();
        let finished = Client::local(2, &["--recipe", "classic", "--rounds", "3", "--out", path]).finish();
        assert_eq!(finished.done()["out"], path);
        finished.fingerprint()
    });
    assert_eq!(saved[0], saved[1]);
    assert!(fs::read(&paths[0]).unwrap() == fs::read(&paths[1]).unwrap(), "the files differ");
    let model = ModelFile::read(&paths[0]).unwrap();
    assert_eq!(model.fingerprint.to_string(), saved[0]);
    assert_eq!(model.network.to_string(), "16-20-26");
    assert!(matches!(&model.target, Target::Classes(names) if names.len() == 26));
}

#[test]
fn a_saved_model_says_which_rows_judged_it_and_how() {
    let directory = tempfile::tempdir().unwrap();
    let path = file_in(&directory, "model.safetensors");
    let path = path.to_str().unwrap();
    let done = Client::local(1, &["--rounds", "1", "--out", path]).finish().done().clone();
    let said = client(["inspect", path]).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("14849 rows for training, 1651 for validation, 3500 for the test"), "{said}");
    let accuracy = |of: &str| format!("{:.2} %", 100.0 * done[format!("{of}_accuracy")].as_f64().unwrap());
    assert!(said.contains(&format!("accuracy {} of 3500 test rows", accuracy("test"))), "{said}");
    assert!(said.contains(&format!("validation {} of 1651 validation rows", accuracy("validation"))), "{said}");
}

#[test]
fn a_job_that_starts_from_a_model_starts_where_that_one_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = file_in(&directory, "model.safetensors");
    let path = path.to_str().unwrap();
    let job = ["--recipe", "classic", "--rounds", "4"];
    let first = Client::local(2, &[&job[..], &["--out", path]].concat()).finish();
    let mut second = Client::local(2, &[&job[..], &["--start-from", path]].concat());
    let loss = second.await_round()["loss"].as_f64().unwrap();
    let before = first.done()["loss"].as_f64().unwrap();
    assert!(loss <= before, "{loss} after one more round, {before} before it");
    let error = |finished: &crate::common::clients::Finished| finished.done()["validation_error"].as_f64().unwrap();
    let second = second.finish();
    assert!(error(&second) <= error(&first));
    assert_ne!(second.fingerprint(), first.fingerprint());

    let other = Client::local(1, &["--recipe", "classic", "--hidden", "8", "--start-from", path]).finish();
    assert_eq!(other.exit, Some(2), "{other:#?}");
    assert!(other.log.contains("the model to start from is 16-20-26"), "{other:#?}");
}

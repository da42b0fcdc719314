//! Several clients, and clients that go away: who waits is told so, and a job outlives who asked for it.

use crate::common::clients::Client;
use crate::common::process::reserve_port;
use crate::common::servers::{Coordinator, Node, nodes, ports};
use crate::common::tables::small_table;

#[test]
fn the_second_of_two_clients_is_told_that_it_waits_and_both_finish() {
    let (port, job) = (reserve_port(), ["--recipe", "classic", "--rounds", "3"]);
    // Without a node the first job cannot end before the second is there.
    let coordinator = Coordinator::start("2", &[port], &["--revival-waits", "60"]);
    let mut first = Client::start(&coordinator, &job);
    first.await_notice("revival 1 of 1");
    let mut second = Client::start(&coordinator, &job);
    let accepted = second.await_accepted();
    assert_eq!((&accepted["state"], &accepted["queue_position"]), (&"queued".into(), &1.into()));
    let _node = Node::start(port, "0", &[]);
    let (first, second) = (first.finish(), second.finish());
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert_ne!(first.done()["job"], second.done()["job"]);
}

#[test]
fn the_last_line_says_where_all_of_the_time_went() {
    let port = reserve_port();
    let coordinator = Coordinator::start("2", &[port], &["--revival-waits", "60"]);
    let mut client = Client::start(&coordinator, &["--recipe", "classic", "--rounds", "3"]);
    client.await_notice("revival 1 of 1");
    let _node = Node::start(port, "0", &[]);
    let finished = client.finish();
    let us = |value: &serde_json::Value| (value.as_f64().unwrap() * 1e6).round() as u64;
    let profile = finished.done()["profile"].as_object().unwrap();
    let names = ["prepare_s", "compute_s", "wire_s", "stragglers_s", "no_nodes_s", "merge_s", "validate_s"];
    assert_eq!(profile.values().map(us).sum::<u64>(), us(&finished.done()["seconds"]), "{profile:?}");
    assert_eq!(names.iter().filter(|&&name| profile.contains_key(name)).count(), profile.len(), "{profile:?}");
    // One node: nobody waits for another, and all that is trained is waited for.
    assert_eq!(us(&profile["stragglers_s"]), 0, "{profile:?}");
    assert!(us(&profile["no_nodes_s"]) > 0, "{profile:?}");
    let trained = us(&finished.done()["time"]["training_on_all_nodes"]);
    assert!((1..=trained).contains(&us(&profile["compute_s"])), "{trained}: {profile:?}");
}

/// So many clients come at once: each is told its place in the queue, and all end well.
fn all_have_their_turn(count: usize) {
    let directory = tempfile::tempdir().unwrap();
    let table = small_table(&directory, 0);
    let job = ["--recipe", "classic", "--data", &table, "--rounds", "1"];
    let port = reserve_port();
    let coordinator = Coordinator::start("2", &[port], &["--revival-waits", "600"]);
    let mut running = Client::start(&coordinator, &job);
    running.await_notice("revival 1 of 1");
    let mut queued: Vec<Client> = (0..count).map(|_| Client::start(&coordinator, &job)).collect();
    let mut places: Vec<u64> =
        queued.iter_mut().map(|client| client.await_accepted()["queue_position"].as_u64().unwrap()).collect();
    places.sort_unstable();
    assert!(places.iter().copied().eq(1..=count as u64), "{places:?}");
    let _node = Node::start(port, "0", &[]);
    let expected = running.finish().fingerprint();
    for client in queued {
        assert_eq!(client.finish().fingerprint(), expected);
    }
}

#[test]
fn many_clients_at_once_are_told_their_places_and_all_end_well() {
    all_have_their_turn(40);
}

#[test]
#[ignore = "long: two hundred clients"]
fn two_hundred_clients_at_once_are_told_their_places_and_all_end_well() {
    all_have_their_turn(200);
}

#[test]
fn a_client_that_comes_before_its_coordinator_waits_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let (port, table) = (reserve_port(), small_table(&directory, 0));
    let mut client = Client::at(port, &["--recipe", "classic", "--data", &table, "--rounds", "1"]);
    let waiting = client.await_event("that it waits", |event| event["event"] == "waiting");
    let text = waiting["text"].as_str().unwrap();
    assert!(text.contains("nothing listens at") && text.ends_with("; trying again for 300 s"), "{waiting}");
    let fleet = nodes(1, "0", &[]);
    let _coordinator = Coordinator::start_at(port, "2", &ports(&fleet), &["--no-state"]);
    let finished = client.finish();
    finished.done();
    assert!(finished.events.iter().all(|event| event["event"] != "lost" && event["event"] != "back"), "{finished:#?}");
}

#[test]
fn a_job_that_has_no_room_waits_for_others_to_end_and_spends_no_patience_on_that() {
    let port = reserve_port();
    // The built-in data takes more than half of it, and other shards are other data.
    let coordinator = Coordinator::start("2", &[port], &["--revival-waits", "4,600", "--store", "2"]);
    let mut first = Client::start(&coordinator, &["--recipe", "classic", "--rounds", "1"]);
    first.await_notice("revival 1 of 2");
    let patient = ["--recipe", "classic", "--rounds", "1", "--shards", "3", "--retry-for", "1"];
    let mut second = Client::start(&coordinator, &patient);
    let waiting = second.await_event("that it waits", |event| event["event"] == "waiting");
    let text = waiting["text"].as_str().unwrap();
    assert!(text.starts_with("no room at the coordinator yet, 1 job under way (of the job's data "), "{waiting}");
    first.await_notice("revival 2 of 2");
    assert!(!second.has_ended(), "others are under way");
    let _node = Node::start(port, "0", &[]);
    first.finish().done();
    second.finish().done();
}

#[test]
fn data_that_several_jobs_have_takes_room_once() {
    let port = reserve_port();
    // The built-in data takes more than half of it.
    let coordinator = Coordinator::start("2", &[port], &["--revival-waits", "60", "--store", "2"]);
    let mut first = Client::start(&coordinator, &["--recipe", "classic", "--rounds", "1"]);
    first.await_notice("revival 1 of 1");
    let mut second = Client::start(&coordinator, &["--recipe", "classic", "--rounds", "2"]);
    assert_eq!(second.await_accepted()["state"], "queued");
    // Other shards are other data.
    let other = Client::start(&coordinator, &["--recipe", "classic", "--shards", "3", "--retry-for", "0"]).finish();
    assert_eq!((other.exit, &other.failed()["code"]), (Some(3), &"BUSY".into()), "{other:#?}");
    let _node = Node::start(port, "0", &[]);
    assert_eq!((first.finish().exit, second.finish().exit), (Some(0), Some(0)));
}

#[test]
fn a_job_outlives_its_client_and_another_client_sees_how_it_ended() {
    let id = "0123456789abcdef0123456789abcdef";
    let job = ["--recipe", "classic", "--rounds", "6", "--seed", "7"];
    let expected = Client::local(1, &job).finish().fingerprint();
    let named = [&job[..], &["--job", id]].concat();
    let fleet = nodes(2, "1", &["--load-delay", "0.05"]);
    let coordinator = Coordinator::of("2", &fleet, &[]);

    let mut asking = Client::start(&coordinator, &named);
    asking.await_round();
    asking.kill();
    // In the middle: somebody else hears the rest.
    let mut watching = Client::start(&coordinator, &named);
    let accepted = watching.await_accepted();
    assert_eq!((&accepted["state"], &accepted["attached"]), (&"running".into(), &true.into()));
    watching.await_round();
    watching.kill();

    coordinator.await_line(&format!("job {id} is done"));
    let status = coordinator.status();
    let line = status.lines().find(|line| line.starts_with(id)).unwrap_or_else(|| panic!("{status}"));
    assert_eq!(line.split_whitespace().nth(1), Some("done"), "{status}");

    let mut late = Client::start(&coordinator, &named);
    let accepted = late.await_accepted();
    assert_eq!((&accepted["state"], &accepted["attached"]), (&"ended".into(), &true.into()));
    assert_eq!(late.finish().fingerprint(), expected);

    let other = ["--recipe", "classic", "--rounds", "6", "--seed", "8", "--job", id];
    let conflict = Client::start(&coordinator, &other).finish();
    assert_eq!(conflict.exit, Some(2), "{conflict:#?}");
    assert_eq!(conflict.failed()["code"], "CONFLICT");
}

#[test]
fn a_job_whose_learning_rate_ends_says_from_which_round_on_and_shows_no_loss_for_rounds_that_train_nothing() {
    let fleet = nodes(1, "0", &[]);
    let coordinator = Coordinator::of("2", &fleet, &[]);
    let finished = Client::start(&coordinator, &["--rounds", "3", "--hidden", "4", "--eta", "1e-20"]).finish();
    let told = finished.notices("other");
    assert!(told.iter().any(|text| text.starts_with("from round 1 of 3 on the learning rate")), "{told:?}");
    let rounds: Vec<_> = finished.events.iter().filter(|event| event["event"] == "round").collect();
    assert!(rounds.len() == 3 && rounds.iter().all(|round| round["loss"].is_null()), "{rounds:?}");
    assert!(rounds.iter().all(|round| round["validation_error"] == rounds[0]["validation_error"]), "{rounds:?}");
}

//! Jobs that outlive connections and coordinators, and what is asked about them: the client comes back, anybody sees the
//! rest, and whoever doubts a bit computes it again.

use gradwire::wire::message::{Attach, Cancel, Submit};
use gradwire::wire::{ErrorCode, Message, MessageType, Role};
use serde_json::Value;

use crate::common::clients::{Client, Finished};
use crate::common::peer::Peer;
use crate::common::process::reserve_port;
use crate::common::servers::{Coordinator, Node, nodes, ports, standing_still_after};
use crate::common::smallest::{await_fetch, owned, piece, rows, smallest_job};
use crate::common::tables::{file_in, small_table};

const JOB: [&str; 6] = ["--recipe", "classic", "--rounds", "12", "--seed", "7"];

/// Asks a coordinator something of a job, or of all.
fn ask(coordinator: &Coordinator, words: &[&str]) -> Finished {
    Client::start(coordinator, words).finish()
}

fn id(accepted: &Value) -> String {
    accepted["job"].as_str().unwrap().to_owned()
}

#[test]
fn a_client_whose_coordinator_is_killed_comes_back_to_the_next_and_the_model_is_the_same() {
    let expected = Client::local(1, &JOB).finish().fingerprint();
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    let options = ["--state-dir", state.to_str().unwrap()];
    let (port, fleet) = (reserve_port(), nodes(2, "1", &["--load-delay", "0.05"]));
    let mut coordinator = Coordinator::start_at(port, "2", &ports(&fleet), &options);
    let mut client = Client::at(port, &JOB);
    let job = id(&client.await_accepted());
    for _ in 0..3 {
        client.await_round();
    }
    coordinator.kill();
    client.await_event("the loss", |event| event["event"] == "lost");
    let coordinator = Coordinator::start_at(port, "2", &ports(&fleet), &options);
    client.await_event("the return", |event| event["event"] == "back");
    let finished = client.finish();
    assert_eq!(finished.fingerprint(), expected);
    let rounds: Vec<u64> = finished.events.iter().filter_map(|event| event["round"].as_u64()).collect();
    assert_eq!(rounds, (1..=12).collect::<Vec<_>>(), "{finished:#?}");
    let verified = ask(&coordinator, &["verify", &job]);
    assert_eq!((verified.exit, &verified.events[0]["tasks"]), (Some(0), &132.into()), "{verified:#?}");
}

#[test]
fn a_coordinator_told_to_end_in_the_middle_of_a_job_tells_its_client_and_the_next_goes_on() {
    let expected = Client::local(1, &JOB).finish().fingerprint();
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    let options = ["--state-dir", state.to_str().unwrap()];
    let (port, fleet) = (reserve_port(), nodes(1, "1", &["--load-delay", "0.05"]));
    let coordinator = Coordinator::start_at(port, "2", &ports(&fleet), &options);
    let mut client = Client::at(port, &JOB);
    standing_still_after(1, &coordinator, &fleet, || client.await_round());
    let (exit, said) = coordinator.stop();
    fleet.iter().for_each(|node| node.thaw());
    assert_eq!(exit, Some(0), "{said}");
    let lost = client.await_event("the loss", |event| event["event"] == "lost");
    assert!(lost.to_string().contains("the coordinator is stopping"), "{lost}");
    let coordinator = Coordinator::start_at(port, "2", &ports(&fleet), &options);
    coordinator.await_line("goes on after round ");
    let finished = client.finish();
    assert_eq!(finished.fingerprint(), expected);
    let rounds: Vec<u64> = finished.events.iter().filter_map(|event| event["round"].as_u64()).collect();
    assert_eq!(rounds, (1..=12).collect::<Vec<_>>(), "{finished:#?}");
}

#[test]
fn a_model_is_had_from_any_machine_and_is_the_same_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| file_in(&directory, name).to_str().unwrap().to_owned();
    let table = small_table(&directory, 0);
    let fleet = nodes(1, "0", &[]);
    let coordinator = Coordinator::of("2", &fleet, &[]);
    let trained = ask(&coordinator, &["--data", &table, "--rounds", "3", "--out", &path("trained")]);
    let job = trained.done()["job"].as_str().unwrap()[..8].to_owned();
    std::fs::remove_file(&table).unwrap();
    assert_eq!(ask(&coordinator, &["model", &job, "--out", &path("fetched")]).exit, Some(0));
    assert_eq!(ask(&coordinator, &["attach", &job, "--out", &path("attached")]).fingerprint(), trained.fingerprint());
    let trained = std::fs::read(path("trained")).unwrap();
    assert_eq!(std::fs::read(path("fetched")).unwrap(), trained);
    assert_eq!(std::fs::read(path("attached")).unwrap(), trained);
}

#[test]
fn jobs_are_listed_and_their_ledgers_verify_whatever_was_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let table = small_table(&directory, 10);
    let job = ["--recipe", "classic", "--data", &table, "--rounds", "3", "--on-task-failure", "skip"];
    let fleet = nodes(2, "0", &[]);
    let coordinator = Coordinator::of("2", &fleet, &[]);
    let skipping = ask(&coordinator, &job).done()["job"].as_str().unwrap().to_owned();
    let plain = ask(&coordinator, &JOB).done()["job"].as_str().unwrap().to_owned();
    let listed = ask(&coordinator, &["jobs"]);
    let known: Vec<&str> = listed.events.iter().map(|job| job["job"].as_str().unwrap()).collect();
    assert!(known.len() == 2 && known.contains(&&*skipping) && known.contains(&&*plain), "{listed:#?}");
    assert!(listed.events.iter().all(|job| job["state"] == "done"), "{listed:#?}");

    let ledger = ask(&coordinator, &["ledger", &skipping]);
    let skipped = ledger.events.iter().filter(|entry| entry["result"] == "skipped").count();
    assert_eq!((ledger.events.len(), skipped), (33, 3), "{ledger:#?}");
    let verified = ask(&coordinator, &["verify", &skipping]);
    let verdict = &verified.events[0];
    let counts = (&verdict["tasks"], &verdict["skipped"]);
    assert_eq!((verified.exit, counts), (Some(0), (&30.into(), &3.into())), "{verified:#?}");
    let sampled = ask(&coordinator, &["verify", &plain, "--sample", "5", "--seed", "3"]);
    assert_eq!((sampled.exit, &sampled.events[0]["tasks"]), (Some(0), &5.into()), "{sampled:#?}");
}

#[test]
fn a_cancelled_job_ends_its_watchers_and_stays_known() {
    // Without a node it does not end by itself.
    let coordinator = Coordinator::start("2", &[reserve_port()], &["--revival-waits", "60"]);
    let mut client = Client::start(&coordinator, &JOB);
    let job = id(&client.await_accepted());
    client.await_notice("revival 1 of 1");
    let mut attached = Client::start(&coordinator, &["attach", &job[..8]]);
    attached.await_accepted();
    let cancelled = ask(&coordinator, &["cancel", &job]);
    assert_eq!((cancelled.exit, &cancelled.events[0]["state"]), (Some(0), &"cancelled".into()), "{cancelled:#?}");
    for watcher in [client.finish(), attached.finish(), ask(&coordinator, &["attach", &job])] {
        assert_eq!((watcher.exit, &watcher.failed()["code"]), (Some(5), &"CANCELLED".into()), "{watcher:#?}");
    }
    let unknown = ask(&coordinator, &["attach", &"1".repeat(32)]);
    assert_eq!(unknown.exit, Some(1), "{unknown:#?}");
}

/// The first ERROR that comes, on which request, and what it is about.
fn await_error(peer: &mut Peer) -> (u32, ErrorCode, u8) {
    loop {
        let frame = peer.receive();
        if let Message::Error(error) = frame.message() {
            return (frame.header.request, error.code, error.about);
        }
    }
}

#[test]
fn a_cancel_of_an_attach_ends_the_watching_and_a_cancel_of_the_submit_the_job() {
    // Without a node it does not end by itself.
    let coordinator = Coordinator::start("2", &[reserve_port()], &["--revival-waits", "60"]);
    let (job, specification) = smallest_job();
    let mut submitter = Peer::greeted(coordinator.address, Role::Client);
    submitter.send(Submit { job, rounds_seen: 0, specification }, 1);
    let (request, fetch) = await_fetch(&mut submitter);
    submitter.send(owned(piece(fetch, &rows())), request);
    let state = || ask(&coordinator, &["job", &job.to_string()]).events[0]["state"].clone();
    // One with the submission's request id, on a connection of its own; one on the submission's connection.
    let mut watcher = Peer::greeted(coordinator.address, Role::Client);
    for (peer, request) in [(&mut watcher, 1), (&mut submitter, 3)] {
        peer.send(Attach { job, rounds_seen: 0 }, request);
        peer.send(Cancel { request }, 0);
        assert_eq!(await_error(peer), (request, ErrorCode::Cancelled, MessageType::Attach as u8));
        assert_ne!(state(), "cancelled", "somebody who only watched has ended the job");
    }
    submitter.send(Cancel { request: 1 }, 0);
    assert_eq!(await_error(&mut submitter), (1, ErrorCode::Cancelled, MessageType::Submit as u8));
    assert_eq!(state(), "cancelled");
}

#[test]
fn who_waits_for_a_job_is_answered_however_few_ended_jobs_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    let fleet = nodes(1, "0", &[]);
    let coordinator = Coordinator::of("2", &fleet, &["--keep-jobs", "1", "--state-dir", state.to_str().unwrap()]);
    let data = small_table(&directory, 0);
    let job = ["--data", &data, "--shards", "1", "--rounds", "1", "--epochs", "1", "--hidden", "2"];
    let clients: Vec<Client> = (0..8).map(|_| Client::start(&coordinator, &job)).collect();
    let fingerprints: Vec<String> = clients.into_iter().map(|client| client.finish().fingerprint()).collect();
    assert!(fingerprints.iter().all(|fingerprint| *fingerprint == fingerprints[0]), "{fingerprints:?}");
    // The last of them is known, and only it.
    let known = ask(&coordinator, &["jobs"]);
    assert_eq!(known.events.len(), 1, "{known:#?}");
}

#[test]
fn a_job_without_nodes_pauses_if_asked_to_and_goes_on_when_it_is_resumed() {
    let expected = Client::local(1, &JOB).finish().fingerprint();
    let port = reserve_port();
    let coordinator = Coordinator::start("2", &[port], &["--revival-waits", "0.1"]);
    let paused = ask(&coordinator, &[&JOB[..], &["--on-no-nodes", "pause"]].concat());
    assert_eq!((paused.exit, &paused.failed()["code"]), (Some(6), &"PAUSED".into()), "{paused:#?}");
    let job = paused.failed()["job"].as_str().unwrap().to_owned();
    assert_eq!(ask(&coordinator, &["job", &job]).events[0]["state"], "paused");
    let _node = Node::start(port, "0", &[]);
    coordinator.await_line("is active at");
    assert_eq!(ask(&coordinator, &["resume", &job]).exit, Some(0));
    assert_eq!(ask(&coordinator, &["attach", &job]).fingerprint(), expected);
}

#[test]
fn jobs_that_have_ended_make_room_on_the_disk_and_those_that_have_not_stay() {
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    let options = ["--state-dir", state.to_str().unwrap(), "--keep-bytes", "1kB", "--revival-waits", "0.1"];
    let port = reserve_port();
    let coordinator = Coordinator::start("2", &[port], &options);
    let paused = ask(&coordinator, &[&JOB[..], &["--on-no-nodes", "pause"]].concat());
    let paused = paused.failed()["job"].as_str().unwrap().to_owned();
    let _node = Node::start(port, "0", &[]);
    coordinator.await_line("is active at");
    let small = ["--recipe", "classic", "--rounds", "1"];
    let mut last = String::new();
    for before in [None, Some(()), Some(())] {
        let ended = last;
        last = ask(&coordinator, &small).done()["job"].as_str().unwrap().to_owned();
        if before.is_some() {
            coordinator.await_line(&format!("job {ended} is forgotten: finished jobs take "));
        }
    }
    let is_left = |known: &[&str]| {
        let listed = ask(&coordinator, &["jobs"]);
        assert_eq!(listed.events.iter().map(|job| job["job"].as_str().unwrap()).collect::<Vec<_>>(), known);
    };
    is_left(&[&paused, &last]);
    // It is whole, however large it is.
    assert_eq!(ask(&coordinator, &["verify", &last]).exit, Some(0));
    assert_eq!(ask(&coordinator, &["resume", &paused]).exit, Some(0));
    ask(&coordinator, &["attach", &paused]).done();
    coordinator.await_line(&format!("job {last} is forgotten: "));
    is_left(&[&paused]);
}

#[test]
fn a_job_that_the_disk_does_not_give_is_neither_unknown_nor_run_again_and_goes_on_once_it_does() {
    let expected = Client::local(1, &JOB).finish().fingerprint();
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    let options = ["--state-dir", state.to_str().unwrap()];
    let fleet = nodes(1, "1", &["--load-delay", "0.05"]);
    let mut coordinator = Coordinator::start("2", &ports(&fleet), &options);
    let mut client = Client::start(&coordinator, &JOB);
    let job = id(&client.await_accepted());
    standing_still_after(2, &coordinator, &fleet, || (0..2).for_each(|_| drop(client.await_round())));
    client.kill();
    coordinator.kill();
    fleet.iter().for_each(|node| node.thaw());
    // Directories in the places of files: whoever is root may read anything else.
    let states = ["state-0", "state-1"].map(|name| state.join("jobs").join(&job).join(name));
    let away = states.each_ref().map(|path| path.with_extension("away"));
    for (path, away) in states.iter().zip(&away) {
        std::fs::rename(path, away).unwrap();
        std::fs::create_dir(path).unwrap();
    }
    let coordinator = Coordinator::start("2", &ports(&fleet), &options);
    let submission = [&JOB[..], &["--job", &job]].concat();
    let questions: [&[&str]; 7] = [
        &["job", &job],
        &["attach", &job],
        &["cancel", &job],
        &["resume", &job],
        &["ledger", &job],
        &["verify", &job],
        &submission,
    ];
    for question in questions {
        let refused = ask(&coordinator, question);
        assert_eq!(refused.exit, Some(1), "{question:?}: {refused:#?}");
        for words in ["cannot be read", states[0].to_str().unwrap(), "Start the coordinator again"] {
            assert!(refused.log.contains(words), "{question:?}: {words}: {refused:#?}");
        }
    }
    assert_eq!(ask(&coordinator, &["jobs"]).events.len(), 0);
    assert_eq!(coordinator.stop().0, Some(0));
    for (path, away) in states.iter().zip(&away) {
        std::fs::remove_dir(path).unwrap();
        std::fs::rename(away, path).unwrap();
    }
    let coordinator = Coordinator::start("2", &ports(&fleet), &options);
    coordinator.await_line("goes on after round ");
    assert_eq!(ask(&coordinator, &["attach", &job]).fingerprint(), expected);
}

#[test]
fn how_long_a_coordinator_has_run_is_written_when_it_is_told_to_end() {
    let state = tempfile::tempdir().unwrap();
    let coordinator = Coordinator::start("2", &[reserve_port()], &["--state-dir", state.path().to_str().unwrap()]);
    // It has read what it will go on from.
    ask(&coordinator, &["jobs"]);
    let (exit, said) = coordinator.stop();
    assert_eq!(exit, Some(0), "{said}");
    // What has been lived through, what the clock says, and a digest of both.
    let written = std::fs::read(state.path().join("lived")).unwrap();
    assert_eq!(written.len(), 8 + 8 + 32);
    assert_ne!(written[..8], [0; 8], "some milliseconds have passed");
}

//! Connections that break: the client dials again, is shown nothing twice, and ends as the job does.

use std::thread;

use gradwire::job::{JobId, JobState, JobStatus, ObjectRef, OnNoNodes};
use gradwire::wire::message::{Error, Listed, Submit};
use gradwire::wire::object::{self, ObjectKind};
use gradwire::wire::{ErrorCode, Message, MessageType};
use serde_json::Value;

use crate::book::{Book, done};
use crate::common::clients::client;
use crate::common::peer::Peer;
use crate::common::process::Ended;
use crate::common::tables::{Written, small_data};
use crate::script::{Objects, Script, accepted, answer_fetch, await_submit, more, next_request, notice, round};

/// Trains the honest data at a coordinator that follows a script, with these options besides.
fn train(options: &[&str], script: impl FnOnce(&Script) + Send) -> Ended {
    let (data, coordinator) = (small_data(), Script::new());
    let port = coordinator.port();
    thread::scope(|scope| {
        scope.spawn(|| script(&coordinator));
        client(["127.0.0.1", &port, "--data", data.text(), "--rounds", "3"].iter().chain(options))
    })
}

/// Answers SUBMIT with ACCEPTED and these rounds.
pub fn go_on(peer: &mut Peer, attached: bool, rounds: std::ops::RangeInclusive<u32>) -> (u32, Submit) {
    let (request, submit) = await_submit(peer);
    more(peer, accepted(JobState::Running, attached, *rounds.start() - 1), request);
    rounds.for_each(|number| more(peer, round(number, 3), request));
    (request, submit)
}

/// Answers with DONE, of weights that are all zero; those.
fn finish(peer: &mut Peer, request: u32, submit: &Submit) -> Objects {
    let network = &submit.specification.training.network;
    let weights = object::encode_parameters(ObjectKind::Weights, network, &vec![0.0; network.parameters()]);
    let digest = gradwire::digest::Digest::of(&weights);
    peer.send(done(&submit.specification, digest, weights.len() as u64), request);
    Objects::from([(digest, weights)])
}

/// Serves these objects until the client goes.
fn serve(mut peer: Peer, objects: &Objects) {
    while let Some(frame) = next_request(&mut peer) {
        let Message::Fetch(fetch) = frame.message() else { panic!("{:?}", frame.message()) };
        answer_fetch(&mut peer, frame.header.request, fetch, objects);
    }
}

/// Fails the SUBMIT that comes with this.
fn fail(mut peer: Peer, error: Error) {
    let (request, _) = await_submit(&mut peer);
    peer.send(error, request);
    while next_request(&mut peer).is_some() {}
}

fn error(code: ErrorCode, text: &str) -> Error {
    Error::new(code, MessageType::Submit as u8, text)
}

fn events(ended: &Ended) -> Vec<Value> {
    let events = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    // What the data are is told before any of this.
    events.filter(|event: &Value| event["event"] != "schema").collect()
}

/// A coordinator that goes away in the middle, when it is done, and while the weights are fetched.
fn restless(script: &Script) {
    let mut peer = script.welcome();
    let (request, first) = go_on(&mut peer, false, 1..=2);
    assert_eq!(first.rounds_seen, 0);
    more(&mut peer, notice("a node has come"), request);
    drop(peer);
    // It is down for a moment, then it reads its journal.
    drop(script.accept());
    script.refuse(ErrorCode::Recovering);
    let mut peer = script.welcome();
    // It tells again what was shown.
    let (_, again) = go_on(&mut peer, true, 2..=3);
    assert_eq!((again.job, again.rounds_seen), (first.job, 2));
    assert_eq!(again.specification, first.specification);
    drop(peer);
    let mut peer = script.welcome();
    let (request, submit) = go_on(&mut peer, true, 1..=3);
    assert_eq!(submit.rounds_seen, 3);
    finish(&mut peer, request, &submit);
    assert!(matches!(next_request(&mut peer).unwrap().message(), Message::Fetch(_)));
    drop(peer);
    let mut peer = script.welcome();
    let (request, submit) = await_submit(&mut peer);
    more(&mut peer, accepted(JobState::Done, true, 3), request);
    let objects = finish(&mut peer, request, &submit);
    serve(peer, &objects);
}

#[test]
fn a_client_comes_back_as_often_as_it_takes_and_shows_no_round_twice() {
    let ended = train(&["--json"], restless);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let events = events(&ended);
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let expected = [
        "accepted", "round", "round", "notice", "lost", "back", "accepted", "round", "lost", "back", "accepted",
        "lost", "back", "accepted", "done",
    ];
    assert_eq!(names, expected, "{ended:?}");
    let rounds: Vec<u64> = events.iter().filter_map(|event| event["round"].as_u64()).collect();
    assert_eq!(rounds, [1, 2, 3]);
    assert_eq!((&events[4]["text"], &events[4]["retry_for_s"]), (&"it hung up".into(), &300.into()));
}

#[test]
fn a_loss_is_a_sentence_and_a_return_another_and_the_tables_head_is_printed_once() {
    let ended = train(&[], restless);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stderr.matches("client: lost the coordinator (it hung up); trying again for 300 s\n").count(), 3);
    assert_eq!(ended.stderr.matches("client: back at the coordinator after ").count(), 3, "{ended:?}");
    assert_eq!(ended.stdout.matches("accuracy  nodes").count(), 1, "{ended:?}");
    assert!(!ended.stderr.contains("attached to the job"), "{ended:?}");
}

#[test]
fn a_job_that_is_forgotten_meanwhile_begins_again_and_the_client_says_so() {
    let ended = train(&[], |script| {
        drop(go_on(&mut script.welcome(), false, 1..=2));
        let mut peer = script.welcome();
        let (request, submit) = go_on(&mut peer, false, 1..=3);
        let objects = finish(&mut peer, request, &submit);
        serve(peer, &objects);
    });
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("the coordinator had forgotten the job, which starts again"), "{ended:?}");
    assert_eq!(ended.stdout.matches("/3 ").count(), 3, "{ended:?}");
}

#[test]
fn a_coordinator_that_reads_its_journal_is_waited_for_at_the_start_too() {
    let ended = train(&["--quiet"], |script| {
        script.refuse(ErrorCode::Recovering);
        fail(script.welcome(), error(ErrorCode::Recovering, "the journal is being read").retryable());
        let mut peer = script.welcome();
        let (request, submit) = go_on(&mut peer, false, 1..=3);
        let objects = finish(&mut peer, request, &submit);
        serve(peer, &objects);
    });
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stderr.matches("(the journal is being read); trying again").count(), 1, "{ended:?}");
}

/// Answers the SUBMIT that comes with BUSY, and the question about other jobs.
fn no_room(mut peer: Peer) {
    let (request, _) = await_submit(&mut peer);
    peer.send(error(ErrorCode::Busy, "1024 jobs are queued already").retryable(), request);
    while let Some(frame) = next_request(&mut peer) {
        assert!(matches!(frame.message(), Message::Jobs(jobs) if jobs.job.is_none()), "{:?}", frame.message());
        more(&mut peer, running(), frame.header.request);
        peer.send(Listed { jobs: 1 }, frame.header.request);
    }
}

fn running() -> JobStatus {
    JobStatus {
        job: JobId(7),
        state: JobState::Running,
        failure: None,
        rounds_done: 1,
        rounds: 3,
        queue_position: 0,
        submitted_ms: 1,
        ended_ms: 0,
        fingerprint: None,
        weights: None,
    }
}

#[test]
fn a_busy_coordinator_is_waited_for_at_the_start_and_on_the_way_back() {
    let ended = train(&["--json"], |script| {
        no_room(script.welcome());
        no_room(script.welcome());
        drop(go_on(&mut script.welcome(), false, 1..=1));
        no_room(script.welcome());
        fail(script.welcome(), error(ErrorCode::NoNodes, "no node is left"));
    });
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let events = events(&ended);
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["waiting", "accepted", "round", "lost", "waiting", "failed"], "{ended:?}");
    let text = "no room at the coordinator yet, 1 job under way (1024 jobs are queued already); asking again";
    assert_eq!((&events[0]["text"], &events[4]["text"]), (&text.into(), &text.into()));
    let none = train(&["--retry-for", "0"], |script| no_room(script.welcome()));
    assert_eq!(none.code, Some(3), "{none:?}");
}

#[test]
fn a_coordinator_that_takes_no_connection_more_is_waited_for_beyond_patience() {
    let ended = train(&["--json", "--retry-for", "1"], |script| {
        // Waits of 0.1 s that double, less up to a half: they are beyond a second before the seventh.
        (0..7).for_each(|_| script.refuse(ErrorCode::Busy));
        fail(script.welcome(), error(ErrorCode::NoNodes, "no node is left"));
    });
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let events = events(&ended);
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["waiting", "failed"], "{ended:?}");
    let text = events[0]["text"].as_str().unwrap();
    assert!(text.starts_with("no room at the coordinator yet (") && text.ends_with("); asking again"), "{text}");
}

#[test]
fn a_half_sent_job_that_gave_way_to_others_is_sent_again() {
    let gives_way = |mut peer: Peer, retry| {
        let (request, submit) = await_submit(&mut peer);
        more(&mut peer, accepted(JobState::Collecting, false, 0), request);
        peer.send(
            Error { retry, ..error(ErrorCode::JobData, "there is no room for it beside the data of others") },
            request,
        );
        while next_request(&mut peer).is_some() {}
        submit.job
    };
    let ended = train(&["--json"], |script| {
        let first = gives_way(script.welcome(), true);
        assert_eq!(gives_way(script.welcome(), true), first);
        let mut peer = script.welcome();
        let (request, submit) = go_on(&mut peer, false, 1..=3);
        assert_eq!(submit.job, first);
        let objects = finish(&mut peer, request, &submit);
        serve(peer, &objects);
    });
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let events = events(&ended);
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let expected =
        ["accepted", "waiting", "back", "accepted", "waiting", "back", "accepted", "round", "round", "round", "done"];
    assert_eq!(names, expected, "{ended:?}");
    // Not for ever, and not where the data is wrong, which it will be again.
    for (options, retry) in [(&["--retry-for", "0"][..], true), (&[], false)] {
        let ended = train(options, |script| {
            gives_way(script.welcome(), retry);
        });
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(!ended.stderr.contains("trying again"), "{ended:?}");
    }
}

#[test]
fn how_a_job_ends_is_the_exit_code() {
    let end = |code, text: &'static str| train(&[], move |script| fail(script.welcome(), error(code, text)));
    let cancelled = end(ErrorCode::Cancelled, "the job was cancelled");
    assert_eq!(cancelled.code, Some(5), "{cancelled:?}");
    let paused = end(ErrorCode::Paused, "no node was left");
    assert_eq!(paused.code, Some(6), "{paused:?}");
    assert!(paused.stderr.contains("no node was left. To continue: client 127.0.0.1 "), "{paused:?}");
    assert!(paused.stderr.contains(" resume "), "{paused:?}");
    for code in [ErrorCode::NoNodes, ErrorCode::TaskFailed] {
        let failed = end(code, "no node is left");
        assert_eq!(failed.code, Some(1), "{failed:?}");
        assert!(failed.stderr.contains("no node is left. To continue: client 127.0.0.1 "), "{failed:?}");
    }
}

#[test]
fn a_job_that_is_gone_when_the_client_comes_back_is_told_of() {
    let ended = train(&["--json"], |script| {
        drop(go_on(&mut script.welcome(), false, 1..=1));
        fail(script.welcome(), error(ErrorCode::UnknownJob, "gone"));
    });
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(events(&ended).last().unwrap()["code"], "UNKNOWN_JOB");
    assert!(ended.stderr.contains("knows no job") && ended.stderr.contains(" jobs lists"), "{ended:?}");
}

#[test]
fn patience_is_as_long_as_it_is_said_to_be() {
    let none = train(&["--retry-for", "0"], |script| drop(go_on(&mut script.welcome(), false, 1..=1)));
    assert_eq!(none.code, Some(3), "{none:?}");
    assert!(!none.stderr.contains("trying again"), "{none:?}");
    assert!(none.stderr.contains("it hung up. If it still runs, client 127.0.0.1 "), "{none:?}");
    // Whoever listens here greets nobody.
    let short = train(&["--retry-for", "1"], |script| drop(go_on(&mut script.welcome(), false, 1..=1)));
    assert_eq!(short.code, Some(3), "{short:?}");
    assert!(short.stderr.contains("did not come back within 1 s: "), "{short:?}");
    assert!(short.stderr.contains(" attach ") && short.stderr.contains(" shows the rest"), "{short:?}");
}

#[test]
fn an_attached_client_comes_back_by_attaching_again() {
    let (book, coordinator) = (Book::new(b"{}".to_vec()), Script::new());
    let port = coordinator.port();
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = coordinator.welcome();
            // JOBS and DESCRIBE are answered by the book; it does not mind being asked one at a time.
            for _ in 0..2 {
                let frame = next_request(&mut peer).unwrap();
                book.answer(&mut peer, &frame);
            }
            let frame = next_request(&mut peer).unwrap();
            let Message::Attach(attach) = frame.message() else { panic!("{:?}", frame.message()) };
            assert_eq!((attach.job, attach.rounds_seen), (book.job, 0));
            more(&mut peer, accepted(JobState::Running, true, 2), frame.header.request);
            (1..=2).for_each(|number| more(&mut peer, round(number, 6), frame.header.request));
            drop(peer);
            let mut peer = coordinator.welcome();
            let frame = next_request(&mut peer).unwrap();
            let Message::Attach(attach) = frame.message() else { panic!("{:?}", frame.message()) };
            assert_eq!((attach.job, attach.rounds_seen), (book.job, 2));
            book.answer(&mut peer, &frame);
            book.serve(peer);
        });
        client(["127.0.0.1", &port, "attach", "beef"])
    });
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let rounds: Vec<&str> = ended.stdout.lines().filter_map(|line| line.trim_start().split("/6 ").next()).collect();
    assert_eq!(rounds[1..7], ["1", "2", "3", "4", "5", "6"], "{ended:?}");
}

#[test]
fn submit_says_what_becomes_of_the_job_without_nodes_and_carries_the_datas_words() {
    let ended = train(&["--on-no-nodes", "pause"], |script| {
        let mut peer = script.welcome();
        let (request, submit) = await_submit(&mut peer);
        assert_eq!(submit.specification.operation.on_no_nodes, OnNoNodes::Pause);
        let notes: Value = serde_json::from_slice(&submit.specification.notes).unwrap();
        assert_eq!(notes["class_names"], serde_json::json!(["ash", "fir", "oak"]));
        assert_eq!(notes["feature_names"][2], "weight");
        peer.send(error(ErrorCode::NoNodes, "no node is left"), request);
        while next_request(&mut peer).is_some() {}
    });
    assert_eq!(ended.code, Some(1), "{ended:?}");
}

#[test]
fn notes_that_would_be_too_long_are_left_away_and_the_job_is_submitted_all_the_same() {
    let names: Vec<String> = (0..3_000).map(|column| format!("f{column:0100}")).collect();
    let row = |label| format!("{}{label}\n", "1,".repeat(3_000));
    let text = format!("{},sort\n{}{}{}{}{}", names.join(","), row("a"), row("b"), row("a"), row("b"), row("a"));
    let (data, coordinator) = (Written::new("wide.csv", text), Script::new());
    let port = coordinator.port();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = coordinator.welcome();
            let (request, submit) = await_submit(&mut peer);
            assert!(submit.specification.notes.is_empty());
            peer.send(error(ErrorCode::NoNodes, "no node is left"), request);
            while next_request(&mut peer).is_some() {}
        });
        let ended = client(["127.0.0.1", &port, "--data", data.text(), "--shards", "1", "--hidden", "2"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
    });
}

#[test]
fn a_model_is_saved_before_anything_about_it_is_asked_for() {
    let directory = tempfile::TempDir::new().unwrap();
    let out = directory.path().join("model");
    // The coordinator goes for good when the confusion matrix is asked for.
    let confusion = ObjectRef { digest: gradwire::digest::Digest([9; 32]), bytes: 64 };
    let ended = train(&["--json", "--retry-for", "0", "--out", out.to_str().unwrap()], |script| {
        let mut peer = script.welcome();
        let (request, submit) = go_on(&mut peer, false, 1..=3);
        let network = &submit.specification.training.network;
        let weights = object::encode_parameters(ObjectKind::Weights, network, &vec![0.0; network.parameters()]);
        let digest = gradwire::digest::Digest::of(&weights);
        let mut done = done(&submit.specification, digest, weights.len() as u64);
        done.summary.confusion = Some(confusion);
        peer.send(done, request);
        let objects = Objects::from([(digest, weights)]);
        while let Some(frame) = next_request(&mut peer) {
            let Message::Fetch(fetch) = frame.message() else { panic!("{:?}", frame.message()) };
            if fetch.digest == confusion.digest {
                return;
            }
            answer_fetch(&mut peer, frame.header.request, fetch, &objects);
        }
        panic!("the confusion matrix is not asked for");
    });
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(out.exists(), "{ended:?}");
}

//! What becomes of a node's lies: the job beside an honest node ends with the same fingerprint, and who repeats a bad
//! result gets no more work.

use std::thread;
use std::time::{Duration, Instant};

use gradwire::job::FailKind;
use gradwire::wire::message::{Hello, Jobs, Listed};
use gradwire::wire::{ErrorCode, Message, Role, limits};

use crate::common::clients::client;
use crate::common::cluster::assert_does_an_honest_job;
use crate::common::peer::{Peer, hello};
use crate::common::process::PATIENCE;
use crate::common::servers::{Coordinator, Node};
use crate::common::tables::small_data;
use crate::lying_node::{Lie, LyingNode};

/// Jobs until a liar must have been found out.
const JOBS_MAX: usize = 8;

struct Fleet {
    _honest: Node,
    liar: LyingNode,
    coordinator: Coordinator,
}

impl Fleet {
    fn with(lie: Lie) -> Fleet {
        let honest = Node::named("honest");
        let liar = LyingNode::start(lie);
        let coordinator = Coordinator::with_all_active(&[honest.port, liar.address.port()], &[]);
        Fleet { _honest: honest, liar, coordinator }
    }

    /// The liar's line of the console.
    fn liar_status(&self) -> String {
        let status = self.coordinator.status();
        let line = status.lines().find(|line| line.starts_with("liar"));
        line.unwrap_or_else(|| panic!("no liar in\n{status}")).to_owned()
    }
}

/// A lie that is a bad result: jobs come out right, and the liar is quarantined.
fn is_found_out(lie: Lie) {
    let fleet = Fleet::with(lie);
    for _ in 0..JOBS_MAX {
        assert_does_an_honest_job(&fleet.coordinator);
        if fleet.liar_status().contains("quarantined") {
            assert!(fleet.liar.tasks() >= 3, "a strike or two may be chance");
            let tasks = fleet.liar.tasks();
            assert_does_an_honest_job(&fleet.coordinator);
            assert_eq!(fleet.liar.tasks(), tasks, "it gets no more work");
            return;
        }
    }
    panic!("{lie:?} was asked {} times, and is still trusted: {}", fleet.liar.tasks(), fleet.liar_status());
}

/// A lie that is no bad result: jobs come out right, and the liar stays.
fn is_worked_around(lie: Lie) -> Fleet {
    let fleet = Fleet::with(lie);
    for _ in 0..JOBS_MAX {
        assert_does_an_honest_job(&fleet.coordinator);
        if fleet.liar.tasks() > 0 {
            assert!(!fleet.liar_status().contains("quarantined"));
            return fleet;
        }
    }
    panic!("{lie:?} was never asked");
}

#[test]
fn an_update_that_is_not_a_number_is_not_merged() {
    is_found_out(Lie::NotANumber);
}

#[test]
fn an_update_out_of_range_is_not_merged() {
    is_found_out(Lie::OutOfRange);
}

#[test]
fn a_loss_that_is_not_a_number_refuses_its_result() {
    is_found_out(Lie::LossNotANumber);
}

#[test]
fn a_loss_of_which_two_would_add_up_to_infinity_refuses_its_result() {
    is_found_out(Lie::LossTooLarge);
}

#[test]
fn an_update_of_another_shape_is_not_merged() {
    is_found_out(Lie::WrongShape);
}

#[test]
fn weights_are_no_update() {
    is_found_out(Lie::WrongKind);
}

#[test]
fn a_result_of_another_job_is_not_merged() {
    is_found_out(Lie::OtherJob);
}

#[test]
fn a_result_of_another_attempt_is_not_merged() {
    is_found_out(Lie::OtherAttempt);
}

#[test]
fn a_result_with_another_token_is_not_merged() {
    is_found_out(Lie::OtherToken);
}

#[test]
fn an_update_that_is_not_what_its_digest_says_is_not_merged() {
    is_found_out(Lie::WrongDigest);
}

#[test]
fn a_fetched_update_that_is_not_what_its_digest_says_is_not_merged() {
    is_found_out(Lie::WrongDigestFetched);
}

#[test]
fn a_rejection_in_another_name_is_a_bad_result() {
    is_found_out(Lie::RejectsInAnotherName);
}

#[test]
fn an_update_that_is_gone_when_it_is_fetched_is_trained_again() {
    is_worked_around(Lie::NotHeld);
}

#[test]
fn an_update_that_is_announced_and_never_sent_is_trained_elsewhere() {
    is_worked_around(Lie::HeldBack);
}

/// A lie about its first update that ends the only node's link: the node is dialled anew, and does the task.
fn is_dialled_anew(lie: Lie) {
    let liar = LyingNode::start(lie);
    let coordinator = Coordinator::with_all_active(&[liar.address.port()], &[]);
    let (data, port) = (small_data(), coordinator.port.to_string());
    let job = ["--rounds", "1", "--epochs", "1", "--shards", "1", "--hidden", "8", "--quiet"];
    let ended = client(["127.0.0.1", &port, "--data", data.text()].into_iter().chain(job));
    assert_eq!((ended.code, liar.tasks()), (Some(0), 2), "{ended:?}");
    coordinator.await_line("it sends too little of an update that it has announced");
}

#[test]
fn a_node_that_announces_an_update_and_never_sends_it_is_dialled_anew_though_there_is_no_other() {
    is_dialled_anew(Lie::HeldBackOnce);
}

#[test]
fn a_node_that_sends_a_byte_of_its_update_now_and_then_holds_no_place_for_ever() {
    is_dialled_anew(Lie::DrippedOnce);
}

#[test]
fn the_room_of_a_fetched_update_that_is_none_is_given_to_others() {
    let (honest, liar) = (Node::named("honest"), LyingNode::start(Lie::WrongKindTwice));
    let coordinator = Coordinator::with_all_active(&[honest.port, liar.address.port()], &["--in-flight", "1"]);
    let (data, port) = (small_data(), coordinator.port.to_string());
    // An update is larger than all that may be in flight: one comes at a time, and a part of another.
    let job = ["--rounds", "2", "--epochs", "1", "--shards", "4", "--hidden", "40000", "--quiet"];
    let ended = client(["127.0.0.1", &port, "--data", data.text()].into_iter().chain(job));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(liar.tasks() >= 2, "it was not asked often enough: {}", liar.tasks());
}

#[test]
fn an_update_that_takes_long_to_come_is_waited_for_though_its_node_is_done_with_the_task() {
    let liar = LyingNode::start(Lie::SlowToSend);
    let coordinator = Coordinator::with_all_active(&[liar.address.port()], &[]);
    let (data, port) = (small_data(), coordinator.port.to_string());
    let job = ["--rounds", "2", "--epochs", "1", "--shards", "2", "--hidden", "8", "--quiet"];
    let ended = client(["127.0.0.1", &port, "--data", data.text()].into_iter().chain(job));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(liar.tasks(), 4, "each task is given once");
}

#[test]
fn a_node_that_rejects_what_it_may_not_is_worked_around() {
    is_worked_around(Lie::Rejects);
}

#[test]
fn a_node_that_says_nothing_is_worked_around() {
    let fleet = is_worked_around(Lie::Silence);
    assert!(fleet.liar.cancels() > 0, "what it sat on was taken from it");
}

#[test]
fn two_nodes_that_say_nothing_and_would_get_each_others_tasks_are_worked_around() {
    let honest = Node::named("honest");
    let liars = [LyingNode::start(Lie::Silence), LyingNode::start(Lie::Silence)];
    let ports = [honest.port, liars[0].address.port(), liars[1].address.port()];
    let coordinator = Coordinator::with_all_active(&ports, &[]);
    let (data, port) = (small_data(), coordinator.port.to_string());
    // A task for each of them.
    let job = ["--rounds", "2", "--epochs", "1", "--shards", "3", "--hidden", "8", "--quiet"];
    let ended = client(["127.0.0.1", &port, "--data", data.text()].into_iter().chain(job));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(liars.iter().all(|liar| liar.tasks() > 0 && liar.cancels() > 0), "what they sat on was taken from them");
}

#[test]
fn a_late_wrong_result_of_a_cancelled_task_is_compared_and_not_merged() {
    let fleet = Fleet::with(Lie::LateAndWrong);
    for _ in 0..JOBS_MAX {
        let said = assert_does_an_honest_job(&fleet.coordinator);
        if fleet.liar.cancels() > 0 && said.contains("liar") {
            return;
        }
    }
    panic!("the late result was never compared: {} tasks, {} cancels", fleet.liar.tasks(), fleet.liar.cancels());
}

#[test]
fn an_update_that_does_not_come_before_anothers_is_let_go_of_and_its_digest_is_compared() {
    let fleet = Fleet::with(Lie::HeldBack);
    for _ in 0..JOBS_MAX {
        let said = assert_does_an_honest_job(&fleet.coordinator);
        println!("{said}");
        if said.contains("liar") {
            return;
        }
    }
    panic!("the digest was never compared: {} tasks", fleet.liar.tasks());
}

/// A node keeps an update until it has been asked for to its end: one that is of no use any more, too.
#[test]
fn the_last_byte_of_an_update_that_is_let_go_of_is_asked_for() {
    let fleet = Fleet::with(Lie::Slow);
    let (data, port) = (small_data(), fleet.coordinator.port.to_string());
    for _ in 0..JOBS_MAX {
        // An update is of more pieces than are asked for at a time.
        let job = ["--rounds", "2", "--epochs", "1", "--shards", "4", "--hidden", "150000", "--quiet"];
        let ended = client(["127.0.0.1", &port, "--data", data.text()].into_iter().chain(job));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        if fleet.liar.releases() > 0 {
            return;
        }
    }
    panic!("the last byte was never asked for: {} tasks", fleet.liar.tasks());
}

/// A node keeps an update as often as it has announced it.
#[test]
fn an_update_that_two_tasks_have_come_to_is_asked_for_to_its_end_twice() {
    let liar = LyingNode::start(Lie::Equal);
    let coordinator = Coordinator::with_all_active(&[liar.address.port()], &[]);
    let (data, port) = (small_data(), coordinator.port.to_string());
    let job = ["--rounds", "1", "--epochs", "1", "--shards", "2", "--hidden", "8", "--quiet"];
    let ended = client(["127.0.0.1", &port, "--data", data.text()].into_iter().chain(job));
    assert_eq!((ended.code, liar.tasks()), (Some(0), 2), "{ended:?}");
    // Once whole. The last byte is asked for before the job ends, and may be heard of later.
    let deadline = Instant::now() + PATIENCE;
    while liar.releases() == 0 {
        assert!(Instant::now() < deadline, "its last byte was never asked for");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(liar.releases(), 1);
}

#[test]
fn a_node_that_takes_no_payload_as_long_as_a_task_keeps_its_link_and_is_told_of() {
    let liar = LyingNode::start(Lie::ShortPayloads);
    let mut coordinator = Coordinator::with_all_active(&[liar.address.port()], &[]);
    let (data, port) = (small_data(), coordinator.port.to_string());
    // A step's rows lie in all shards, each of which its task names in 44 bytes.
    let job = ["--rounds", "1", "--shards", "30", "--batch", "512", "--hidden", "8", "--quiet"];
    let ended = client(["127.0.0.1", &port, "--data", data.text()].into_iter().chain(job));
    let said = "node liar takes payloads of 1024 bytes at most, and a task of this job is longer";
    assert!(ended.code == Some(1) && ended.stderr.contains(said), "{ended:?}");
    assert_eq!(coordinator.metric("gradwire_tasks_failed_total"), 1.0);
    // What fits it gets, over the same link.
    let job = ["--rounds", "1", "--epochs", "1", "--shards", "1", "--hidden", "8", "--quiet"];
    let ended = client(["127.0.0.1", &port, "--data", data.text()].into_iter().chain(job));
    assert_eq!((ended.code, liar.tasks()), (Some(0), 1), "{ended:?}");
    coordinator.terminate();
    let (_, log) = coordinator.await_end();
    assert_eq!(log.matches("node liar is active at").count(), 1, "{log}");
}

#[test]
fn a_second_answer_to_one_request_closes_the_connection() {
    let fleet = is_worked_around(Lie::Twice);
    assert!(fleet.liar.errors().contains(&ErrorCode::RequestId), "{:?}", fleet.liar.errors());
}

/// A node that does not show that it computes as the coordinator does: it gets no exact work, and is named.
fn is_named_and_not_asked(lie: Lie, word: &str, why: &str) {
    let fleet = Fleet::with(lie);
    assert_does_an_honest_job(&fleet.coordinator);
    fleet.coordinator.await_line(&format!("warn: node liar gets no exact work: {why}"));
    assert!(fleet.liar_status().contains(word), "{}", fleet.liar_status());

    let liar = LyingNode::start(lie);
    let alone = Coordinator::with_all_active(&[liar.address.port()], &["--revival-waits", "0.1"]);
    let (data, port) = (small_data(), alone.port.to_string());
    let job = |options: &[&str]| {
        client(
            [&["127.0.0.1", &port, "--data", data.text(), "--rounds", "1", "--epochs", "1", "--hidden", "8"], options]
                .concat(),
        )
    };
    let ended = job(&[]);
    let named = format!("of node liar: {why}");
    assert!(ended.code == Some(1) && ended.stderr.contains(&named), "{ended:?}");
    assert_eq!((fleet.liar.tasks(), liar.tasks()), (0, 0), "it was asked for exact work");
    let ended = job(&["--allow-inexact"]);
    assert!(ended.code == Some(0) && ended.stdout.contains("reproducible no"), "{ended:?}");
    assert_eq!(liar.tasks(), 4, "it was not asked for inexact work");
}

#[test]
fn a_node_whose_vector_has_another_digest_gets_no_exact_work_and_is_named() {
    is_named_and_not_asked(Lie::OtherVector, "differs", "it computes arithmetic 2 otherwise than this coordinator");
}

#[test]
fn a_node_that_tells_no_digest_of_a_vector_gets_no_exact_work_and_is_named() {
    is_named_and_not_asked(Lie::NoVector, "unproven", "its greeting does not show that it computes arithmetic 2");
}

#[test]
fn why_a_job_failed_is_shortened_to_what_its_asker_takes() {
    let liar = LyingNode::start(Lie::Refuses);
    let coordinator = Coordinator::with_all_active(&[liar.address.port()], &[]);
    let (data, port) = (small_data(), coordinator.port.to_string());
    let ended = client([
        "127.0.0.1",
        &port,
        "--data",
        data.text(),
        "--rounds",
        "1",
        "--epochs",
        "1",
        "--hidden",
        "8",
        "--quiet",
    ]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    // The text is longer than a message may say, and JOB has 82 bytes before it.
    let least = limits::GREETING_PAYLOAD_BYTES_MAX;
    for (payload_bytes_max, text_bytes) in [(least, 942), (least + 7, 949), (limits::PAYLOAD_BYTES_MAX, 1_000)] {
        let mut peer = Peer::dial(coordinator.address);
        peer.send(Hello { payload_bytes_max, ..hello(Role::Client) }, 0);
        assert!(matches!(peer.receive().message(), Message::Welcome(_)));
        peer.send(Jobs { job: None }, 1);
        let frame = peer.receive();
        assert!(frame.header.payload_bytes <= payload_bytes_max, "{} bytes", frame.header.payload_bytes);
        let Message::Job(job) = frame.message() else { panic!("JOB was due, not {:?}", frame.message()) };
        let failure = job.failure.unwrap();
        assert_eq!((failure.kind, failure.text.len()), (FailKind::TaskFailed, text_bytes));
        assert_eq!(peer.receive().message(), Listed { jobs: 1 }.into());
    }
}

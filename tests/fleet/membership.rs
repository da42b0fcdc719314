//! Nodes that go and come in the middle of a job: the work goes on, and the bits stay.
//!
//! "In the middle" is after the client has printed a round. Every task of these jobs is delayed, so that no machine is
//! fast enough to be done before the event.

use std::cell::Cell;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use gradwire::compute;

use crate::common::clients::Client;
use crate::common::cluster::assert_does_an_honest_job;
use crate::common::process::{PATIENCE, reserve_port, signal, typed};
use crate::common::servers::{Coordinator, Node, node_column, nodes, ports};

/// 24 rounds of 11 tasks, each 80 ms at least: more than 5 s with four nodes of one worker.
const LONG: [&str; 10] = ["--seed", "7", "--recipe", "classic", "--rounds", "24", "--epochs", "1", "--hidden", "8"];
const DELAYED: [&str; 2] = ["--load-delay", "0.08"];
/// A node has work this soon after it has come.
const WORK_WITHIN: Duration = Duration::from_secs(2);

fn kill_one_and_freeze_one(policy: &str) {
    let expected = Client::local(2, &LONG).finish().fingerprint();
    let mut fleet = nodes(4, "1", &DELAYED);
    let coordinator = Coordinator::of(policy, &fleet, &[]);
    let mut client = Client::start(&coordinator, &LONG);
    client.await_round();
    fleet[1].kill();
    fleet[2].freeze();
    client.await_notice("node node-2 is lost");
    // Its connection stays open: only the heartbeat tells.
    client.await_notice("node node-3 is lost");
    client.await_round();
    fleet[2].thaw();
    client.await_notice("node node-3 joins");
    let finished = client.finish();
    assert_eq!(finished.fingerprint(), expected);
    assert_eq!(finished.done()["reproducible"], true);
    assert_eq!(finished.done()["tasks"]["merged"], 24 * 11);
    let tasks = finished.tasks();
    assert!(tasks.iter().filter(|(_, tasks)| *tasks > 0).count() >= 3, "{tasks:?}");
    assert!(finished.notices("alarm").is_empty(), "{finished:#?}");
}

#[test]
#[ignore = "long: the same under the other policy"]
fn a_node_killed_and_a_node_frozen_in_the_middle_change_no_bit_under_random_scheduling() {
    kill_one_and_freeze_one("1");
}

#[test]
fn a_node_killed_and_a_node_frozen_in_the_middle_change_no_bit_under_load_balancing() {
    kill_one_and_freeze_one("2");
}

/// As a debugger, a suspended laptop or a moved virtual machine does it. A system call with a timeout is not restarted
/// afterwards: each of them has to bear that.
#[test]
fn programs_that_are_stopped_for_a_moment_again_and_again_lose_no_link() {
    let expected = Client::local(1, &LONG).finish().fingerprint();
    let fleet = nodes(2, "0.5", &["--load-delay", "0.02"]);
    let coordinator = Coordinator::of("2", &fleet, &[]);
    let mut client = Client::start(&coordinator, &LONG);
    let programs = [fleet[0].pid(), fleet[1].pid(), coordinator.pid(), client.pid()];
    // Not reaped before it is asked: its number is nobody else's.
    while !client.has_ended() {
        signal("STOP", &programs);
        signal("CONT", &programs);
    }
    let finished = client.finish();
    assert_eq!(finished.fingerprint(), expected);
    assert!(finished.notices("membership").is_empty() && finished.log.is_empty(), "{finished:#?}");
}

#[test]
fn a_node_started_in_the_middle_has_a_task_within_two_seconds_and_changes_no_bit() {
    let expected = Client::local(1, &LONG).finish().fingerprint();
    for policy in ["1", "2"] {
        let port = reserve_port();
        let first = nodes(1, "1", &["--load-delay", "0.02"]);
        let coordinator = Coordinator::start(policy, &[first[0].port, port], &[]);
        let mut client = Client::start(&coordinator, &LONG);
        client.await_round();
        let late = Node::start(port, "1", &["--name", "late", "--load-delay", "0.02"]);
        let started = Instant::now();
        late.await_link(WORK_WITHIN);
        // Out with it now, or merged already.
        let has_work = |status: &str| {
            let is_some = |column| node_column(status, "late", column).is_some_and(|count| count != "0");
            is_some("TASKS") || is_some("DONE")
        };
        coordinator.await_status("a task for the late node", WORK_WITHIN.saturating_sub(started.elapsed()), has_work);
        client.await_notice("node late joins");
        let finished = client.finish();
        assert_eq!(finished.fingerprint(), expected, "policy {policy}");
        let late = finished.tasks().into_iter().find(|(name, _)| name == "late");
        assert!(late.is_some_and(|(_, tasks)| tasks > 0), "policy {policy}: {:?}", finished.tasks());
    }
}

#[test]
fn a_node_added_to_the_file_in_the_middle_gets_a_task_and_changes_no_bit() {
    let expected = Client::local(1, &LONG).finish().fingerprint();
    let fleet = nodes(2, "1", &["--load-delay", "0.02"]);
    let coordinator = Coordinator::start("2", &[fleet[0].port], &[]);
    let mut client = Client::start(&coordinator, &LONG);
    client.await_round();
    coordinator.list(&ports(&fleet));
    coordinator.await_line(&format!("has changed: 2 nodes listed; joined: 127.0.0.1:{}", fleet[1].port));
    client.await_notice("node node-2 joins");
    let finished = client.finish();
    assert_eq!(finished.fingerprint(), expected);
    assert!(finished.tasks().iter().any(|(name, tasks)| name == "node-2" && *tasks > 0), "{:?}", finished.tasks());
}

/// A node out of two leaves the list while its task is out. Tasks take long enough for the edit to come within one.
fn take_one_out(policy: &str) {
    let job = ["--seed", "7", "--shards", "2", "--rounds", "2", "--epochs", "1", "--hidden", "8"];
    let expected = Client::local(1, &job).finish().fingerprint();
    let fleet = nodes(2, "1", &["--load-delay", "4"]);
    let coordinator = Coordinator::of(policy, &fleet, &[]);
    let client = Client::start(&coordinator, &job);
    coordinator.list(&[fleet[0].port]);
    coordinator.await_line(&format!("has changed: 1 node listed; left: 127.0.0.1:{}", fleet[1].port));
    let had = Cell::new(0);
    coordinator.await_status("a node that leaves with work to do", PATIENCE, |status| {
        let count = |head| node_column(status, "node-2", head).and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        let is_leaving = node_column(status, "node-2", "STATE").as_deref() == Some("leaving");
        had.set(count("TASKS") + count("DONE"));
        is_leaving && count("TASKS") > 0
    });
    coordinator.await_line("node node-2 is released: the node is no longer in the list");
    assert!(coordinator.status().contains("1 of 1 active"), "{}", coordinator.status());
    let finished = client.finish();
    assert_eq!(finished.fingerprint(), expected, "policy {policy}");
    // Everything that it had was done. What was just being merged counts as neither.
    let tasks = finished.tasks().into_iter().find(|(name, _)| name == "node-2").map_or(0, |(_, tasks)| tasks);
    assert!(tasks >= had.get(), "policy {policy}: {tasks} of {} at least", had.get());
    assert!(!finished.log.contains("lost"), "{finished:#?}");
    let ended = "has ended: it said goodbye: the node is no longer in the list";
    fleet[1].await_line(ended);
}

#[test]
#[ignore = "long: the same under the other policy"]
fn a_node_taken_out_of_the_file_finishes_its_tasks_and_is_let_go_under_random_scheduling() {
    take_one_out("1");
}

#[test]
fn a_node_taken_out_of_the_file_finishes_its_task_and_is_let_go_under_load_balancing() {
    take_one_out("2");
}

#[test]
fn a_node_taken_out_of_the_file_and_put_in_again_is_dialled_again() {
    let fleet = nodes(1, "0", &[]);
    let coordinator = Coordinator::of("2", &fleet, &[]);
    coordinator.write_nodes_file("# nobody\n");
    coordinator.await_line(&format!("has changed: 0 nodes listed; left: 127.0.0.1:{}", fleet[0].port));
    fleet[0].await_line("has ended: it said goodbye: the node is no longer in the list");
    coordinator.await_status("an empty list", PATIENCE, |status| status.contains("0 of 0 active"));
    coordinator.list(&ports(&fleet));
    coordinator.await_status("a linked node", PATIENCE, |status| status.contains("1 of 1 active"));
}

#[test]
fn a_node_that_is_listed_under_two_names_is_named_in_the_log_and_in_the_status() {
    let fleet = nodes(1, "0", &[]);
    let coordinator = Coordinator::of("2", &fleet, &[]);
    assert!(!coordinator.status().contains("warning"), "{}", coordinator.status());
    coordinator.write_nodes_file(&format!("127.0.0.1,{port}\nlocalhost,{port}\n", port = fleet[0].port));
    let sentence = format!("127.0.0.1:{port} and localhost:{port} are one node: list it once", port = fleet[0].port);
    coordinator.await_line(&format!("warn: {sentence}"));
    assert!(coordinator.status().contains(&format!("warning           {sentence}")), "{}", coordinator.status());
    coordinator.list(&ports(&fleet));
    coordinator.await_status("a node listed once", PATIENCE, |status| !status.contains("warning"));
}

#[test]
fn a_bad_line_in_the_file_leaves_the_list_as_it_was_and_is_named() {
    let fleet = nodes(2, "0", &[]);
    let coordinator = Coordinator::of("2", &fleet[..1], &[]);
    coordinator.write_nodes_file(&format!("127.0.0.1,{}\n127.0.0.1;5\n", fleet[1].port));
    coordinator.await_line(
        "line 2: a line is <ip or name>,<port>, and this one has no comma; the list of 1 node stays in use",
    );
    assert_eq!(node_column(&coordinator.status(), "node-1", "STATE").as_deref(), Some("active"));
    assert_eq!(node_column(&coordinator.status(), "node-2", "STATE"), None);
    coordinator.list(&ports(&fleet));
    coordinator.await_status("the corrected list", PATIENCE, |status| status.contains("2 of 2 active"));
}

#[test]
fn a_job_without_any_node_left_is_rescued_by_one_that_comes_back() {
    let job = ["--seed", "7", "--recipe", "classic", "--rounds", "6"];
    let expected = Client::local(1, &job).finish().fingerprint();
    for policy in ["1", "2"] {
        let mut fleet = nodes(2, "1", &["--load-delay", "0.05"]);
        let port = fleet[0].port;
        let coordinator = Coordinator::of(policy, &fleet, &["--revival-waits", "0.1,60"]);
        let mut client = Client::start(&coordinator, &job);
        client.await_round();
        fleet.iter_mut().for_each(|node| node.kill());
        client.await_notice("no node is active");
        client.await_notice("revival 2 of 2");
        let _back = Node::start(port, "0", &["--name", "node-1"]);
        client.await_notice("node node-1 joins");
        let finished = client.finish();
        assert_eq!(finished.fingerprint(), expected, "policy {policy}");
        assert_eq!(finished.done()["revivals"], 2, "policy {policy}");
        assert_eq!(finished.notices("revival").len(), 3, "{finished:#?}");
    }
}

/// Three revivals are shown, then the job is given up with that reason, and the way to go on.
fn assert_given_up(client: Client, first: &str) {
    let finished = client.finish();
    assert_eq!(finished.exit, Some(1), "{finished:#?}");
    assert_eq!(finished.failed()["code"], "NO_NODES");
    let reason = "no node is active, and none came back during 3 revivals";
    assert!(finished.failed()["text"].as_str().unwrap().starts_with(reason), "{finished:#?}");
    assert!(finished.log.contains(reason), "{finished:#?}");
    let notices = finished.notices("revival");
    assert_eq!(notices.len(), 4, "{notices:?}");
    assert!(notices[0].starts_with(first), "{notices:?}");
    assert!(
        finished.log.contains(". To continue: client 127.0.0.1 ") && finished.log.contains(" resume "),
        "{finished:#?}"
    );
    for (number, notice) in notices.iter().enumerate().skip(1) {
        assert!(notice.starts_with(&format!("revival {number} of 3")), "{notices:?}");
    }
}

#[test]
fn a_job_whose_nodes_all_die_is_given_up_after_three_revivals_with_the_reason() {
    let mut fleet = nodes(2, "1", &DELAYED);
    let coordinator = Coordinator::of("2", &fleet, &["--revival-waits", "0.2,0.4,0.8"]);
    let mut client = Client::start(&coordinator, &LONG);
    client.await_round();
    fleet.iter_mut().for_each(|node| node.kill());
    assert_given_up(client, "no node is active");
}

#[test]
fn a_job_that_never_sees_a_node_is_given_up_after_three_revivals_with_the_reason() {
    let coordinator = Coordinator::start("1", &[reserve_port(), reserve_port()], &["--revival-waits", "0.2,0.4,0.8"]);
    let first =
        "no node is active, and none has been since the coordinator was started: start one, with compute_node PORT 0";
    assert_given_up(Client::start(&coordinator, &LONG), first);
}

#[test]
fn a_linked_node_at_rest_fits_in_a_few_megabytes() {
    let fleet = nodes(1, "0", &[]);
    let _coordinator = Coordinator::of("2", &fleet, &[]);
    // None where the system does not tell.
    if let Some(peak_kib) = fleet[0].peak_memory_kib() {
        assert!(peak_kib <= 8 << 10, "{peak_kib} KiB");
    }
}

#[test]
fn a_node_without_tasks_lets_go_of_what_it_has_kept_for_the_next() {
    let free = compute::Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    let short = compute::Settings { rest_after: Duration::from_millis(20), resting_bytes: 0, ..free };
    let node = compute::Node::start(&short).unwrap();
    let coordinator = Coordinator::with_all_active(&[node.address().port()], &[]);
    // The second job's rows are those that the node has let go of.
    for _ in 0..2 {
        assert_does_an_honest_job(&coordinator);
        let deadline = Instant::now() + PATIENCE;
        let keeps_nothing = || typed(node.address(), b"status\n").contains("kept          0 bytes");
        while !keeps_nothing() {
            assert!(Instant::now() < deadline, "{}", typed(node.address(), b"status\n"));
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Each node takes two descriptors.
#[test]
fn a_coordinator_links_more_nodes_than_its_shell_gives_it_descriptors_for() {
    let settings = compute::Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    let fleet: Vec<_> = (0..20).map(|_| compute::Node::start(&settings).unwrap()).collect();
    let ports: Vec<u16> = fleet.iter().map(|node| node.address().port()).collect();
    let coordinator = Coordinator::start_within(32, "2", &ports);
    coordinator.await_status("a linked fleet", PATIENCE, |status| status.contains("20 of 20 active"));
}

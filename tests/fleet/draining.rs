//! Nodes that are told to end: what they train is delivered, and nobody takes their going for a failure.

use crate::common::clients::Client;
use crate::common::process::PATIENCE;
use crate::common::servers::{Coordinator, Node, Server, node_column, nodes};

/// One round of 11 small tasks. An update travels inside its result.
const SMALL: [&str; 10] = ["--seed", "7", "--recipe", "classic", "--rounds", "1", "--epochs", "1", "--hidden", "8"];
/// The same with updates that are fetched from the node.
const LARGE: [&str; 10] = ["--seed", "7", "--recipe", "classic", "--rounds", "1", "--epochs", "1", "--hidden", "512"];

/// Waits until a server says so much of a node.
fn await_said(server: &Server, node: &str, head: &str, said: &str) {
    let is_said = |status: &str| node_column(status, node, head).as_deref() == Some(said);
    server.await_status(&format!("{head} {said} at {node}"), PATIENCE, is_said);
}

#[test]
fn a_node_told_to_end_in_the_middle_of_a_task_delivers_it_and_the_job_goes_on_elsewhere() {
    for job in [SMALL, LARGE] {
        let expected = Client::local(1, &job).finish().fingerprint();
        // Long enough for the signal to come within the first task.
        let mut first = Node::start(0, "1", &["--name", "first", "--load-delay", "3"]);
        let coordinator = Coordinator::start("2", &[first.port], &["--revival-waits", "60"]);
        coordinator.await_line(&format!("is active at 127.0.0.1:{}", first.port));
        let mut client = Client::start(&coordinator, &job);
        await_said(&first, "first", "RUNNING", "1");
        first.terminate();
        let (exit, log) = first.await_end();
        assert_eq!(exit, Some(0), "{log}");
        assert!(log.contains("stopping after 1 task"), "{log}");
        await_said(&coordinator, "first", "DONE", "1");
        coordinator.await_line("is inactive: it said goodbye: the node is shutting down");
        let second = Node::named("second");
        coordinator.list(&[second.port]);
        client.await_notice("node second joins");
        let finished = client.finish();
        assert_eq!(finished.fingerprint(), expected);
        // Those that are listed, then those that have left.
        let tasks = [("second".to_owned(), 10), ("first".to_owned(), 1)];
        assert_eq!(finished.tasks(), tasks);
        assert_eq!(coordinator.metric("gradwire_tasks_failed_total"), 0.0);
    }
}

/// Under random scheduling a node may turn nothing down, and tasks wait at it.
#[test]
fn a_node_told_to_end_hands_back_what_it_has_not_begun_and_costs_the_job_nothing() {
    let job = ["--seed", "7", "--recipe", "classic", "--rounds", "6", "--epochs", "1", "--hidden", "8"];
    let expected = Client::local(1, &job).finish().fingerprint();
    for policy in ["1", "2"] {
        let mut fleet = nodes(3, "1", &["--load-delay", "0.1"]);
        let coordinator = Coordinator::of(policy, &fleet, &[]);
        let mut client = Client::start(&coordinator, &job);
        client.await_round();
        fleet[0].terminate();
        let (exit, log) = fleet[0].await_end();
        assert_eq!(exit, Some(0), "{log}");
        client.await_notice("node node-1 is lost (it said goodbye: the node is shutting down)");
        let finished = client.finish();
        assert_eq!(finished.fingerprint(), expected, "policy {policy}");
        assert_eq!(finished.done()["reproducible"], true, "policy {policy}");
        // Of two copies of a task one is cancelled: it has failed at nothing.
        assert_eq!(coordinator.metric("gradwire_tasks_failed_total"), 0.0, "policy {policy}");
    }
}

#[test]
fn a_task_that_takes_longer_than_a_node_told_to_end_may_wait_is_left_to_others() {
    let expected = Client::local(1, &SMALL).finish().fingerprint();
    let mut slow = Node::start(0, "1", &["--name", "slow", "--load-delay", "3600", "--drain", "0.1"]);
    let coordinator = Coordinator::start("1", &[slow.port], &["--revival-waits", "60"]);
    coordinator.await_line(&format!("is active at 127.0.0.1:{}", slow.port));
    let mut client = Client::start(&coordinator, &SMALL);
    await_said(&slow, "slow", "RUNNING", "1");
    slow.terminate();
    let (exit, log) = slow.await_end();
    assert_eq!(exit, Some(0), "{log}");
    assert!(log.contains("left to other nodes"), "{log}");
    let other = Node::named("other");
    coordinator.list(&[other.port]);
    client.await_notice("node other joins");
    let finished = client.finish();
    assert_eq!(finished.fingerprint(), expected);
    assert_eq!(finished.tasks(), [("other".to_owned(), 11)]);
    assert_eq!(coordinator.metric("gradwire_tasks_failed_total"), 0.0);
}

#[test]
fn a_node_told_to_end_twice_does_not_wait() {
    let mut node = Node::start(0, "1", &["--name", "slow", "--load-delay", "3600", "--drain", "3600"]);
    let coordinator = Coordinator::start("1", &[node.port], &["--revival-waits", "60"]);
    coordinator.await_line(&format!("is active at 127.0.0.1:{}", node.port));
    let _client = Client::start(&coordinator, &SMALL);
    await_said(&coordinator, "slow", "TASKS", "11");
    await_said(&node, "slow", "RUNNING", "1");
    node.terminate();
    node.await_line("3600.0 s from now at the latest");
    // It keeps the task that it has begun.
    await_said(&coordinator, "slow", "TASKS", "1");
    await_said(&coordinator, "slow", "STATE", "leaving");
    await_said(&node, "slow", "STATE", "draining");
    node.terminate();
    let (exit, log) = node.await_end();
    assert_eq!(exit, Some(130), "{log}");
}

#[test]
fn a_node_told_to_end_at_rest_ends_without_waiting() {
    let mut alone = Node::start(0, "0", &["--drain", "3600"]);
    alone.terminate();
    assert_eq!(alone.await_end().0, Some(0));
    let mut linked = [Node::start(0, "0", &["--drain", "3600"])];
    let coordinator = Coordinator::of("2", &linked, &[]);
    linked[0].terminate();
    let (exit, log) = linked[0].await_end();
    assert_eq!(exit, Some(0), "{log}");
    assert!(!log.contains("stopping after"), "{log}");
    coordinator.await_line("is inactive: it said goodbye: the node is shutting down");
}

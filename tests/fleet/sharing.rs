//! Several jobs at once: each has the bits that it has alone, a short one does not wait for a long one, and a coordinator that is
//! killed goes on with all of them.

use crate::common::clients::Client;
use crate::common::process::{reserve_port, typed};
use crate::common::servers::{Coordinator, Node, nodes, ports};
use crate::common::tables::file_in;

/// Tasks of whole shards, and steps of merged gradients.
const CLASSIC: [&str; 6] = ["--seed", "7", "--recipe", "classic", "--rounds", "8"];
const GRADIENTS: [&str; 6] = ["--seed", "7", "--rounds", "2", "--hidden", "16"];

fn fingerprint_of(job: &[&str]) -> String {
    Client::local(1, job).finish().fingerprint()
}

/// How many jobs the console says are running.
fn running(coordinator: &Coordinator) -> usize {
    let jobs = typed(coordinator.address, b"jobs\n");
    jobs.lines().filter(|line| line.split_whitespace().any(|word| word == "running")).count()
}

#[test]
fn two_jobs_at_once_have_the_fingerprints_that_they_have_alone() {
    let expected = [fingerprint_of(&CLASSIC), fingerprint_of(&GRADIENTS)];
    for policy in ["1", "2"] {
        let port = reserve_port();
        // Without a node none of them can end before the other is there.
        let coordinator = Coordinator::start(policy, &[port], &["--revival-waits", "60"]);
        let mut clients = [Client::start(&coordinator, &CLASSIC), Client::start(&coordinator, &GRADIENTS)];
        for client in &mut clients {
            client.await_notice("revival 1 of 1");
        }
        assert_eq!(running(&coordinator), 2);
        let _node = Node::start(port, "0.2", &["--load-delay", "0.01", "--workers", "2"]);
        assert_eq!(clients.map(|client| client.finish().fingerprint()), expected, "policy {policy}");
    }
}

#[test]
fn a_short_job_ends_while_a_long_one_goes_on() {
    let expected = fingerprint_of(&GRADIENTS);
    let fleet = nodes(2, "0", &[]);
    for policy in ["1", "2"] {
        let coordinator = Coordinator::of(policy, &fleet, &[]);
        let mut long = Client::start(&coordinator, &["--seed", "3", "--rounds", "100000", "--patience", "100000"]);
        long.await_round();
        assert_eq!(Client::start(&coordinator, &GRADIENTS).finish().fingerprint(), expected, "policy {policy}");
        long.await_round();
        assert_eq!(running(&coordinator), 1);
    }
}

#[test]
fn where_one_job_runs_at_a_time_the_others_wait() {
    let port = reserve_port();
    let coordinator = Coordinator::start("2", &[port], &["--revival-waits", "60", "--jobs-at-once", "1"]);
    let mut first = Client::start(&coordinator, &CLASSIC);
    first.await_notice("revival 1 of 1");
    let mut second = Client::start(&coordinator, &GRADIENTS);
    second.await_accepted();
    coordinator.await_in_status("queued");
    assert_eq!(running(&coordinator), 1);
    let _node = Node::start(port, "0", &[]);
    first.finish().done();
    second.finish().done();
}

#[test]
fn a_coordinator_that_is_killed_goes_on_with_all_jobs_that_ran() {
    let expected = [fingerprint_of(&CLASSIC), fingerprint_of(&GRADIENTS)];
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    let options = ["--state-dir", state.to_str().unwrap()];
    let (port, fleet) = (reserve_port(), nodes(2, "1", &["--load-delay", "0.02"]));
    let mut coordinator = Coordinator::start_at(port, "1", &ports(&fleet), &options);
    let mut clients = [Client::at(port, &CLASSIC), Client::at(port, &GRADIENTS)];
    for client in &mut clients {
        client.await_accepted();
    }
    clients[0].await_round();
    coordinator.kill();
    let _coordinator = Coordinator::start_at(port, "2", &ports(&fleet), &options);
    assert_eq!(clients.map(|client| client.finish().fingerprint()), expected);
}

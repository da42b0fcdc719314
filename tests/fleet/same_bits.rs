//! The same job gives the same fingerprint, whatever fleet trains it.

use crate::common::clients::Client;
use crate::common::servers::{Coordinator, Node, nodes, ports};

/// A small job on the built-in letters: 66 tasks.
const CLASSIC: [&str; 6] = ["--seed", "7", "--recipe", "classic", "--rounds", "6"];
/// The same with mini-batches and Adam: 8 tasks.
const DEFAULT: [&str; 8] = ["--seed", "7", "--rounds", "2", "--epochs", "2", "--hidden", "32"];

/// The fingerprint that one node in one process gives.
fn fingerprint_of(job: &[&str]) -> String {
    Client::local(1, job).finish().fingerprint()
}

#[test]
fn neither_the_fleets_size_nor_its_workers_nor_the_policy_change_a_bit() {
    let expected = fingerprint_of(&CLASSIC);
    for workers in ["1", "2"] {
        let fleet = nodes(4, "0", &["--workers", workers]);
        for count in [1, 2, 4] {
            for policy in ["1", "2"] {
                let coordinator = Coordinator::of(policy, &fleet[..count], &[]);
                let finished = Client::start(&coordinator, &CLASSIC).finish();
                assert_eq!(finished.fingerprint(), expected, "{count} nodes, {workers} workers, policy {policy}");
                let tasks: u64 = finished.tasks().iter().map(|(_, tasks)| tasks).sum();
                assert_eq!(tasks, 66, "{count} nodes, {workers} workers, policy {policy}");
            }
        }
    }
}

#[test]
fn injected_load_changes_no_bit() {
    let (classic, default) = (fingerprint_of(&CLASSIC), fingerprint_of(&DEFAULT));
    let fleet = nodes(4, "0.5", &["--load-delay", "0.05"]);
    for policy in ["random", "load-balancing"] {
        let coordinator = Coordinator::of(policy, &fleet, &[]);
        assert_eq!(Client::start(&coordinator, &CLASSIC).finish().fingerprint(), classic, "policy {policy}");
        assert_eq!(Client::start(&coordinator, &DEFAULT).finish().fingerprint(), default, "policy {policy}");
    }
}

fn no_kernel_changes_a_bit_of(job: &[&str]) {
    let expected = fingerprint_of(job);
    for kernel in ["auto", "portable"] {
        let fleet = nodes(1, "0", &["--kernel", kernel]);
        let coordinator = Coordinator::of("2", &fleet, &["--kernel", kernel]);
        assert_eq!(Client::start(&coordinator, job).finish().fingerprint(), expected, "{kernel}");
        let local = Client::local(2, &[job, &["--kernel", kernel]].concat());
        assert_eq!(local.finish().fingerprint(), expected, "{kernel}");
    }
    let mixed = [Node::start(0, "0", &["--kernel", "auto"]), Node::start(0, "0", &["--kernel", "portable"])];
    let coordinator = Coordinator::of("1", &mixed, &[]);
    assert_eq!(Client::start(&coordinator, job).finish().fingerprint(), expected, "both in one fleet");
}

#[test]
fn no_kernel_changes_a_bit() {
    no_kernel_changes_a_bit_of(&DEFAULT);
    no_kernel_changes_a_bit_of(&[&CLASSIC[..4], &["--rounds", "1"]].concat());
}

#[test]
#[ignore = "long: six rounds with a slow kernel"]
fn no_kernel_changes_a_bit_of_a_classic_job() {
    no_kernel_changes_a_bit_of(&CLASSIC);
}

#[test]
fn a_house_in_one_process_gives_the_same_bits_as_processes_of_their_own() {
    let fleet = nodes(2, "0", &[]);
    let coordinator = Coordinator::start("2", &ports(&fleet), &[]);
    let expected = Client::start(&coordinator, &DEFAULT).finish().fingerprint();
    for (count, policy) in [(1, "2"), (2, "1"), (4, "2")] {
        let finished = Client::local(count, &[&DEFAULT[..], &["--policy", policy]].concat()).finish();
        assert_eq!(finished.fingerprint(), expected, "{count} nodes, policy {policy}");
    }
}

#[test]
fn another_seed_gives_other_bits() {
    let other = ["--seed", "8", "--recipe", "classic", "--rounds", "6"];
    assert_ne!(fingerprint_of(&CLASSIC), fingerprint_of(&other));
}

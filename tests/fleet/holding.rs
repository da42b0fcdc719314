//! Nothing is trained twice because a coordinator died: nodes finish what they are at, and hold it for the next one.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use crate::common::clients::Client;
use crate::common::process::PATIENCE;
use crate::common::servers::{Coordinator, Node, ports};

const JOB: &str = "00112233445566778899aabbccddeeff";
const ROUNDS: u64 = 3;
const SHARDS: u64 = 4;

/// What a node's metrics say under this name.
fn metric(node: &Node, name: &str) -> u64 {
    let mut stream = TcpStream::connect(("127.0.0.1", node.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{answer}")).parse::<f64>().unwrap() as u64
}

/// Kills a coordinator of these nodes in the middle of a round, starts it again, and lets the job end. Tasks that the nodes
/// trained, and those that they did not need to train again.
fn trained_and_reused(fleet: &[Node]) -> (u64, u64) {
    let (rounds, shards) = (ROUNDS.to_string(), SHARDS.to_string());
    let job = ["--rounds", &rounds, "--shards", &shards, "--epochs", "1", "--hidden", "8", "--job", JOB];
    let expected = Client::local(1, &job).finish().fingerprint();
    let directory = tempfile::tempdir().unwrap();
    let kept = ["--state-dir", directory.path().to_str().unwrap()];

    let coordinator = Coordinator::of("2", fleet, &kept);
    let mut client = Client::start(&coordinator, &job);
    client.await_round();
    // Half of a round is in the sum, and the other half in training.
    coordinator.await_status("half of a round", PATIENCE, |status| {
        ["2 of 3, 2 of 4", "3 of 3, 2 of 4"].iter().any(|half| status.contains(&format!("round {half} tasks")))
    });
    // It is said that tasks are on their way before a node has begun one.
    let running = || fleet.iter().map(|node| metric(node, "gradwire_tasks{state=\"running\"}")).sum::<u64>();
    let deadline = Instant::now() + PATIENCE;
    while running() == 0 {
        assert!(Instant::now() < deadline, "no node trains");
    }
    client.kill();
    // Killed without a goodbye.
    drop(coordinator);

    let coordinator = Coordinator::start("2", &ports(fleet), &kept);
    let finished = Client::start(&coordinator, &job).finish();
    assert_eq!(finished.fingerprint(), expected);
    assert_eq!(finished.done()["tasks"]["merged"], ROUNDS * SHARDS);
    let sum = |name| fleet.iter().map(|node| metric(node, name)).sum();
    (sum("gradwire_tasks_done_total"), sum("gradwire_results_reused_total"))
}

/// Every task takes a while, in which nothing is computed: so long that a slow machine does not miss the half of a round.
fn slow(name: &str) -> Node {
    Node::start(0, "1", &["--load-delay", "0.8", "--name", name])
}

#[test]
fn a_node_trains_no_task_twice_because_its_coordinator_was_killed() {
    // No copies are made where there is one node.
    let (trained, reused) = trained_and_reused(&[slow("alone")]);
    assert_eq!(trained, ROUNDS * SHARDS, "{reused} reused");
    // Two that were done, and one that was in training, or that by now was done too and had given way to the last.
    assert!((SHARDS - 1..=SHARDS).contains(&reused), "{reused} reused");
}

#[test]
fn each_node_is_asked_for_what_it_holds_itself() {
    let (trained, reused) = trained_and_reused(&[slow("left"), slow("right")]);
    // As ever, a slow machine may have had copies made, or been too slow to tell in time.
    assert!(reused >= 2, "{reused} reused, {trained} trained");
    assert!(trained < (ROUNDS + 1) * SHARDS, "{reused} reused, {trained} trained");
}

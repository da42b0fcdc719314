//! Whoever watches a job and does not read what he is told: what that costs the coordinator, and whoever reads. And whoever watches
//! a job of which nothing is there any more.

use std::thread;
use std::time::Instant;

use gradwire::job::{JobId, Specification};
use gradwire::wire::message::{Attach, Ping, Submit};
use gradwire::wire::{Message, Role};

use crate::common::cluster::Cluster;
use crate::common::peer::Peer;
use crate::common::process::PATIENCE;
use crate::common::servers::{Coordinator, Node};
use crate::common::smallest::{owned, piece, rows, smallest_job};

/// Rounds of the job that is watched: a history of more than half a megabyte.
const ROUNDS: u32 = 4_000;
const PEERS: usize = 16;
/// Times that each of them asks for the history.
const TIMES: u32 = 30;

/// The next round of the job that is told on this request, or None at its end; data that is asked for meanwhile is given.
fn next_round(peer: &mut Peer) -> (u32, Option<u32>) {
    loop {
        let frame = peer.receive();
        let request = frame.header.request;
        match frame.message() {
            Message::Fetch(fetch) => peer.send(owned(piece(fetch, &rows())), request),
            Message::Round(round) => return (request, Some(round.round)),
            Message::Done(_) => return (request, None),
            Message::Accepted(_) | Message::Notice(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Reads a job to its end: every round is told once on each of these requests, in order. Says when one of them is over.
fn read_to_the_end(peer: &mut Peer, requests: &[u32], mut told: u32, mut is_over: impl FnMut(u32)) {
    let mut seen: Vec<(u32, u32)> = requests.iter().map(|request| (*request, told)).collect();
    let mut left = requests.len();
    while left > 0 {
        let (request, round) = next_round(peer);
        told = seen.iter().find(|(other, _)| *other == request).expect("a request of ours").1;
        assert_eq!(round.unwrap_or(ROUNDS + 1), told + 1, "on request {request}");
        if round.is_none() {
            left -= 1;
            is_over(request);
        }
        seen.iter_mut().filter(|(other, _)| *other == request).for_each(|(_, told)| *told += 1);
    }
}

/// Has a long job done. Another client comes to watch it when some of its rounds are done.
fn done_job(cluster: &Cluster) -> JobId {
    let (job, specification) = smallest_job();
    let specification = Specification { rounds: ROUNDS, ..specification };
    let mut owner = Peer::greeted(cluster.coordinator.address, Role::Client);
    owner.send(Submit { job, rounds_seen: 0, specification }, 1);
    while next_round(&mut owner) != (1, Some(500)) {}
    let mut late = Peer::greeted(cluster.coordinator.address, Role::Client);
    for (request, rounds_seen) in [(1, 0), (3, 0)] {
        late.send(Attach { job, rounds_seen }, request);
    }
    thread::scope(|scope| {
        scope.spawn(|| read_to_the_end(&mut late, &[1, 3], 0, |_| ()));
        read_to_the_end(&mut owner, &[1], 500, |_| ());
    });
    job
}

#[test]
fn histories_that_are_asked_for_and_not_read_cost_a_page_a_connection() {
    let cluster = Cluster::new();
    let job = done_job(&cluster);
    let frames = || cluster.coordinator.metric("gradwire_frames_received_total");
    let (before, peak_kib) = (frames(), cluster.coordinator.peak_memory_kib());
    let mut peers: Vec<Peer> = (0..PEERS)
        .map(|_| {
            let mut peer = Peer::greeted(cluster.coordinator.address, Role::Client);
            (0..TIMES).for_each(|time| peer.send(Attach { job, rounds_seen: 0 }, 2 * time + 1));
            peer
        })
        .collect();
    let deadline = Instant::now() + PATIENCE;
    while frames() < before + f64::from(TIMES) * PEERS as f64 {
        assert!(Instant::now() < deadline, "the coordinator no longer reads: it has too much to say");
    }
    assert!(cluster.coordinator.status().contains("1 of 1 active"));
    // Who reads hears all of it, as often as he asks: by then each of the others has had as many turns. They stay.
    let mut reading = Peer::greeted(cluster.coordinator.address, Role::Client);
    let requests: Vec<u32> = (0..TIMES).map(|time| 2 * time + 1).collect();
    requests.iter().for_each(|request| reading.send(Attach { job, rounds_seen: 0 }, *request));
    read_to_the_end(&mut reading, &requests, 0, |request| {
        peers.iter_mut().for_each(|peer| peer.send(Ping, 1_000 + request));
    });
    reading.send(Attach { job, rounds_seen: ROUNDS - 1_000 }, 1_001);
    read_to_the_end(&mut reading, &[1_001], ROUNDS - 1_000, |_| ());
    if let (Some(before), Some(after)) = (peak_kib, cluster.coordinator.peak_memory_kib()) {
        let (grown, all) = (after - before, (PEERS as u64 * u64::from(TIMES) * u64::from(ROUNDS) * 100) >> 10);
        println!("{grown} KiB more for histories of more than {all} KiB");
        assert!(grown < 32 << 10, "{grown} KiB more");
    }
    drop(peers);
    cluster.assert_is_well();
}

#[test]
fn who_watches_a_job_whose_files_are_gone_is_told_its_end_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let options = ["--state-dir", directory.path().to_str().unwrap()];
    let node = Node::named("honest");
    let (job, specification) = smallest_job();
    let coordinator = Coordinator::with_all_active(&[node.port], &options);
    let mut owner = Peer::greeted(coordinator.address, Role::Client);
    owner.send(Submit { job, rounds_seen: 0, specification }, 1);
    while next_round(&mut owner).1.is_some() {}
    drop((owner, coordinator));
    // Started again, it has what was told of the job on the disk alone.
    let coordinator = Coordinator::start("2", &[node.port], &options);
    let mut late = Peer::greeted(coordinator.address, Role::Client);
    std::fs::remove_dir_all(directory.path().join("jobs").join(job.to_string())).unwrap();
    late.send(Attach { job, rounds_seen: 0 }, 1);
    assert_eq!(next_round(&mut late), (1, None));
}

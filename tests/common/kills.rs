//! Jobs on real processes that are killed at random moments: coordinator, nodes and clients. Owns the killing and the
//! counting; everything follows from a seed but the machine's own timing.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use super::clients::{Client, Finished};
use super::process::reserve_port;
use super::servers::{Coordinator, Node, ports};

/// What the jobs are; their seeds differ.
const JOB: [&str; 4] = ["--recipe", "classic", "--rounds", "30"];
const SHARDS: u64 = 6;
const SHARDS_ASKED: &str = "6";
/// Different jobs: each one's fingerprint is known from an undisturbed run.
const SEEDS: u32 = 4;
const NODES: usize = 3;
/// A kill comes within so long after the one before, or after the job's start.
const KILL_WITHIN_MS: u64 = 350;

/// Kills that hit a job that had not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kills {
    pub coordinator: u32,
    pub node: u32,
    pub client: u32,
}

impl Kills {
    fn reach(&self, wanted: &Kills) -> bool {
        self.coordinator >= wanted.coordinator && self.node >= wanted.node && self.client >= wanted.client
    }
}

/// What became of it all. A fingerprint that differs, or a ledger that is not complete, is a panic.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub jobs: u32,
    pub kills: Kills,
    /// Rounds that a client was told of twice or not at all.
    pub rounds_amiss: u32,
    /// Jobs that were submitted again, for client and coordinator were both killed before the job was safe.
    pub unsafe_yet: u32,
}

struct Cluster {
    rng: ChaCha8Rng,
    port: u16,
    state: tempfile::TempDir,
    nodes: Vec<Node>,
    node_ports: Vec<u16>,
    coordinator: Coordinator,
    kills: Kills,
    unsafe_yet: u32,
}

/// What comes of a job, whatever is killed.
#[derive(Debug, PartialEq)]
struct Expected {
    fingerprint: String,
    rounds: u64,
    /// The round whose model it is, where it keeps the best one's.
    best_round: Value,
}

impl Expected {
    fn of(finished: &Finished) -> Expected {
        let done = finished.done();
        let rounds = done["rounds_done"].as_u64().unwrap();
        Expected { fingerprint: finished.fingerprint(), rounds, best_round: done["best_round"].clone() }
    }
}

/// Runs jobs of the classic recipe one after the other, until there are `jobs` of them and so many kills.
pub fn kill_everything(seed: u64, jobs: u32, wanted: Kills) -> Outcome {
    kill_jobs(&JOB, seed, jobs, wanted)
}

/// Runs jobs that these options ask for.
pub fn kill_jobs(options: &[&str], seed: u64, jobs: u32, wanted: Kills) -> Outcome {
    println!("seed {seed}");
    let options: Vec<&str> = [options, &["--shards", SHARDS_ASKED]].concat();
    let undisturbed = |seed: u32| Client::local(1, &[&options[..], &["--seed", &seed.to_string()]].concat()).finish();
    let expected: Vec<Expected> = (0..SEEDS).map(|seed| Expected::of(&undisturbed(seed))).collect();
    let nodes: Vec<Node> = (0..NODES).map(|_| Node::start(0, "0", &[])).collect();
    let (node_ports, port) = (ports(&nodes), reserve_port());
    let state = tempfile::tempdir().unwrap();
    let coordinator = start(port, &node_ports, &state);
    let rng = ChaCha8Rng::seed_from_u64(seed);
    let mut cluster =
        Cluster { rng, port, state, nodes, node_ports, coordinator, kills: Kills::default(), unsafe_yet: 0 };
    let mut outcome = Outcome::default();
    while outcome.jobs < jobs || !cluster.kills.reach(&wanted) {
        let number = outcome.jobs % SEEDS;
        let expected = &expected[number as usize];
        let (finished, rounds_amiss) = cluster.disturbed_job(&options, outcome.jobs, number, expected.rounds);
        assert_eq!(&Expected::of(&finished), expected, "job {}", outcome.jobs);
        cluster.check_ledger(outcome.jobs, expected.rounds * SHARDS);
        outcome.jobs += 1;
        outcome.rounds_amiss += rounds_amiss;
    }
    Outcome { kills: cluster.kills, unsafe_yet: cluster.unsafe_yet, ..outcome }
}

fn start(port: u16, nodes: &[u16], state: &tempfile::TempDir) -> Coordinator {
    // Nothing that the restarts leave behind is to be waited for longer than it takes to start a node.
    Coordinator::start_at(
        port,
        "2",
        nodes,
        &["--state-dir", state.path().to_str().unwrap(), "--revival-waits", "2,4,8"],
    )
}

fn id(job: u32) -> String {
    format!("{:032x}", u128::from(job) + 1)
}

impl Cluster {
    /// A job during which things are killed; its end, as the last of its clients hears it.
    fn disturbed_job(&mut self, options: &[&str], job: u32, seed: u32, due: u64) -> (Finished, u32) {
        let (id, seed) = (id(job), seed.to_string());
        let options = [options, &["--seed", &seed, "--job", &id]].concat();
        let (mut client, mut ended) = watched(Client::at(self.port, &options));
        loop {
            let wait = Duration::from_millis(self.rng.random_range(0..KILL_WITHIN_MS));
            let finished = match ended.recv_timeout(wait) {
                Ok(finished) => Some(finished),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => panic!("job {job}: its client does not end"),
            };
            if let Some(finished) = finished {
                if finished.exit == Some(3) && !finished.events.iter().any(|event| event["event"] == "accepted") {
                    // The coordinator was killed before the client had found it; a person would type it again.
                    (client, ended) = watched(Client::at(self.port, &options));
                    continue;
                }
                if finished.exit == Some(1) && finished.failed()["code"] == "UNKNOWN_JOB" {
                    // Client and coordinator were killed before the job was safe: nobody had been told of a round.
                    (client, ended) = watched(Client::at(self.port, &options));
                    self.unsafe_yet += 1;
                    continue;
                }
                let rounds: Vec<u64> = finished.events.iter().filter_map(|event| event["round"].as_u64()).collect();
                // Whoever comes later is told all rounds from the first on, too.
                let amiss = rounds.iter().zip(1..).filter(|&(&told, due)| told != due).count();
                return (finished, amiss as u32 + due.abs_diff(rounds.len() as u64) as u32);
            }
            match self.rng.random_range(0..5) {
                0 | 1 => {
                    self.coordinator.kill();
                    self.coordinator = start(self.port, &self.node_ports, &self.state);
                    self.kills.coordinator += 1;
                }
                2 | 3 => {
                    let node = self.rng.random_range(0..NODES);
                    self.nodes[node].kill();
                    self.nodes[node] = Node::start(self.node_ports[node], "0", &[]);
                    self.kills.node += 1;
                }
                _ => {
                    kill(client);
                    // Another client, as a person would start it: by the same words, or to watch what goes on.
                    let again: Vec<&str> =
                        if self.rng.random_bool(0.5) { options.clone() } else { vec!["attach", &id] };
                    (client, ended) = watched(self.attached(&again, &options));
                    self.kills.client += 1;
                }
            }
        }
    }

    /// A client that attaches; where the job was killed with its client before it was known, it submits it again.
    fn attached(&self, again: &[&str], options: &[&str]) -> Client {
        if again[0] == "attach" {
            let known = Client::at(self.port, &["job", again[1]]).finish();
            if known.exit != Some(0) {
                return Client::at(self.port, options);
            }
        }
        Client::at(self.port, again)
    }

    /// Every planned task of a job that is done is in its ledger, merged, once.
    fn check_ledger(&self, job: u32, planned: u64) {
        let ledger = Client::at(self.port, &["ledger", &id(job)]).finish();
        assert_eq!(ledger.exit, Some(0), "{ledger:#?}");
        let mut tasks: Vec<(u64, u64)> = ledger.events.iter().map(task).collect();
        tasks.sort_unstable();
        tasks.dedup();
        assert_eq!(tasks.len() as u64, planned, "the ledger of job {job} is not complete: {ledger:#?}");
        assert!(ledger.events.iter().all(|entry| entry["result"] == "merged"));
    }
}

fn task(entry: &Value) -> (u64, u64) {
    (entry["round"].as_u64().unwrap(), entry["shard"].as_u64().unwrap())
}

/// A client's process, to be killed, and its end, once that has come.
fn watched(client: Client) -> (u32, Receiver<Finished>) {
    let (sender, ended) = channel();
    let pid = client.pid();
    thread::spawn(move || {
        let _ = sender.send(client.finish());
    });
    (pid, ended)
}

fn kill(pid: u32) {
    let command = format!("kill -9 {pid}");
    let _ = std::process::Command::new("sh").args(["-c", &command]).stderr(std::process::Stdio::null()).status();
}

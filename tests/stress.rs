//! Many jobs of several kinds at one coordinator while everything is killed or stops without a word, under little memory, with more
//! jobs than there is room for half of the time: each ends done, with the fingerprint of an undisturbed run, and a ledger that is
//! whole and can be verified. Owns what happens when, by a seed; the machine's own timing is beside it.
#![cfg(feature = "client")]

mod common;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use common::clients::{Client, Finished};
use common::process::{reserve_port, signal};
use common::servers::{Coordinator, Node, ports};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How many jobs there are, unless it says otherwise, and the seed of what happens. With the last ones ten kills may be wanting.
const JOBS_VARIABLE: &str = "GRADWIRE_STRESS_JOBS";
const JOBS: u32 = 312;
const SEED_VARIABLE: &str = "GRADWIRE_STRESS_SEED";

/// What jobs are, by turns, and how many lines each one's ledger has.
const KINDS: [(&[&str], usize); 5] = [
    (&["--recipe", "classic", "--rounds", "60", "--shards", "6"], 360),
    (&["--rounds", "20"], 600),
    (&["--epochs", "2", "--rounds", "10", "--shards", "5"], 50),
    (&["--local-steps", "8", "--rounds", "6", "--shards", "3", "--outer", "nesterov"], 0),
    (&["--epochs", "2", "--rounds", "10", "--shards", "4", "--merge", "median"], 40),
];
/// Of each kind so many different ones.
const SEEDS: u32 = 3;
const NODES: usize = 4;
/// Something happens within so long after what happened before; the second while jobs have waited for room at less than half of all
/// moments: however fast the machine is, it then does fewer jobs than come.
const WITHIN_MS: [u64; 2] = [1_000, 200];
/// Whoever stops goes on within so long.
const STOP_MS: std::ops::Range<u64> = 1_000..20_000;
/// Clients at a time: more than there is room for, and fewer. Which of them is decided anew after so many jobs, such that jobs have
/// waited for room at half of all moments.
const CLIENTS: [usize; 2] = [10, 3];
const JOBS_A_TURN: u32 = 10;
/// Of the coordinator's memory: some four jobs, and what a shell lets it address.
const MEMORY_MIB: &str = "16";
const WITHIN_1_GIB: [&str; 3] = ["sh", "-c", "ulimit -v 1048576 && exec \"$0\" \"$@\""];
/// No job takes longer, however much happens.
const JOB_WITHIN: Duration = Duration::from_secs(900);

fn number_of(variable: &str, otherwise: u32) -> u32 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a whole number"))
}

fn id(job: u32) -> String {
    format!("{:032x}", u128::from(job) + 1)
}

/// What a job is asked for with.
fn options(job: u32) -> Vec<String> {
    let (kind, _) = KINDS[job as usize % KINDS.len()];
    let own = ["--seed", &seed_of(job).to_string()];
    kind.iter().chain(&own).map(|word| (*word).to_owned()).collect()
}

fn seed_of(job: u32) -> u32 {
    job / KINDS.len() as u32 % SEEDS
}

/// A job that has not ended, and the process of the client that watches it.
struct Watched {
    pid: u32,
    /// Changes with the client.
    life: u32,
    began: Instant,
}

/// What has happened.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    coordinator_kills: u32,
    node_kills: u32,
    client_kills: u32,
    stops: u32,
    /// Jobs that were submitted again: client and coordinator were killed before the job was safe.
    unsafe_yet: u32,
    /// Jobs that were left alone because their coordinator was killed again and again.
    resumed: u32,
    /// Moments at which something happened, and those of them at which jobs waited for room.
    moments: u32,
    full: u32,
}

/// A client, by its job and its number, and how it ended.
type Ended = (u32, u32, Finished);

struct Stress {
    rng: ChaCha8Rng,
    port: u16,
    state: TempDir,
    nodes: Vec<Node>,
    node_ports: Vec<u16>,
    coordinator: Coordinator,
    watched: BTreeMap<u32, Watched>,
    ends: (Sender<Ended>, Receiver<Ended>),
    /// Who goes on, and when.
    stopped: Vec<(Instant, u32)>,
    tally: Tally,
}

impl Stress {
    fn new(seed: u64) -> Stress {
        let nodes: Vec<Node> = (0..NODES).map(|_| Node::start(0, "0", &["--memory", "64"])).collect();
        let (node_ports, port) = (ports(&nodes), reserve_port());
        let state = tempfile::tempdir().unwrap();
        let coordinator = start(port, &node_ports, &state);
        Stress {
            rng: ChaCha8Rng::seed_from_u64(seed),
            port,
            state,
            nodes,
            node_ports,
            coordinator,
            watched: BTreeMap::new(),
            ends: channel(),
            stopped: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Has a client ask for a job, or watch it.
    fn watch(&mut self, job: u32, words: &[String]) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let client = Client::at(self.port, &words);
        let (began, life) =
            self.watched.get(&job).map_or((Instant::now(), 0), |before| (before.began, before.life + 1));
        self.watched.insert(job, Watched { pid: client.pid(), life, began });
        let ends = self.ends.0.clone();
        thread::spawn(move || {
            let _ = ends.send((job, life, client.finish_within(JOB_WITHIN)));
        });
    }

    fn submit(&mut self, job: u32) {
        let words = [options(job), vec!["--job".to_owned(), id(job)]].concat();
        self.watch(job, &words);
    }

    /// Does so many jobs; how each ended.
    fn run(&mut self, jobs: u32) -> BTreeMap<u32, Finished> {
        let (mut begun, mut finished) = (0, BTreeMap::new());
        let mut clients = CLIENTS[0];
        let mut next = self.soon();
        while finished.len() < jobs as usize {
            // No job begins before as much has been killed.
            let killed = self.tally.coordinator_kills.min(self.tally.node_kills);
            while begun < jobs && self.watched.len() < clients && begun < killed + CLIENTS[0] as u32 {
                self.submit(begun);
                begun += 1;
                if begun.is_multiple_of(JOBS_A_TURN) {
                    clients = CLIENTS[usize::from(!self.is_seldom_full())];
                }
            }
            let goes_on = self.stopped.iter().map(|(at, _)| *at).min();
            let until = goes_on.map_or(next, |at| at.min(next));
            match self.ends.1.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((job, life, end)) if self.watched.get(&job).is_some_and(|watched| watched.life == life) => {
                    if let Some(end) = self.ended(job, end) {
                        self.watched.remove(&job);
                        finished.insert(job, end);
                    }
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    let now = Instant::now();
                    let due: Vec<u32> = self.stopped.extract_if(.., |(at, _)| *at <= now).map(|(_, pid)| pid).collect();
                    for pid in due {
                        signal("CONT", &[pid]);
                    }
                    if now >= next {
                        self.something_happens();
                        next = self.soon();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => unreachable!("a sender is here"),
            }
            for (job, watched) in &self.watched {
                assert!(watched.began.elapsed() < JOB_WITHIN, "job {job} does not end: {:?}", self.tally);
            }
        }
        for (_, pid) in self.stopped.drain(..) {
            signal("CONT", &[pid]);
        }
        finished
    }

    fn soon(&mut self) -> Instant {
        Instant::now() + Duration::from_millis(self.rng.random_range(0..WITHIN_MS[usize::from(self.is_seldom_full())]))
    }

    /// Whether jobs have waited for room at less than half of all moments.
    fn is_seldom_full(&self) -> bool {
        2 * self.tally.full < self.tally.moments
    }

    /// How a job ended, unless it has to be asked for again, as a person would.
    fn ended(&mut self, job: u32, end: Finished) -> Option<Finished> {
        match end.exit {
            Some(0) => return Some(end),
            Some(3) if !end.events.iter().any(|event| event["event"] == "accepted") => {}
            // Nobody knows it: whoever came to watch says so, or, where he was watching, that it is gone.
            Some(1) if end.log.contains("knows no job") => self.tally.unsafe_yet += 1,
            // Its coordinator was killed three times in a row while it was at the same step of the job: the next one leaves it
            // alone until somebody says that it was not the job's doing.
            Some(6) if end.failed()["text"].as_str().is_some_and(|text| text.contains("times in a row")) => {
                self.tally.resumed += 1;
                self.watch(job, &["resume".to_owned(), id(job)]);
                return None;
            }
            _ => panic!("job {job} has ended otherwise: {end:#?}"),
        }
        self.submit(job);
        None
    }

    fn something_happens(&mut self) {
        self.tally.moments += 1;
        let waits = self.watched.len() == CLIENTS[0];
        self.tally.full += u32::from(waits);
        match self.rng.random_range(0..12) {
            0..4 => {
                self.coordinator.kill();
                self.forget_stop(self.coordinator.pid());
                self.coordinator = start(self.port, &self.node_ports, &self.state);
                self.tally.coordinator_kills += 1;
            }
            4..8 => {
                let node = self.rng.random_range(0..NODES);
                self.nodes[node].kill();
                self.forget_stop(self.nodes[node].pid());
                self.nodes[node] = Node::start(self.node_ports[node], "0", &["--memory", "64"]);
                self.tally.node_kills += 1;
            }
            8..10 => {
                let Some((job, pid)) = self.some_client() else { return };
                signal("KILL", &[pid]);
                self.forget_stop(pid);
                // Another client, by the same words, or to watch what goes on.
                if self.rng.random_bool(0.5) {
                    self.submit(job);
                } else {
                    self.watch(job, &["attach".to_owned(), id(job)]);
                }
                self.tally.client_kills += 1;
            }
            _ => {
                let client = self.some_client().map(|(_, pid)| pid);
                let node = self.nodes[self.rng.random_range(0..NODES)].pid();
                let pid = match (self.rng.random_range(0..5), client) {
                    (0, _) => self.coordinator.pid(),
                    (1..3, Some(client)) => client,
                    _ => node,
                };
                if signal("STOP", &[pid]) {
                    let for_ms = self.rng.random_range(STOP_MS);
                    self.stopped.push((Instant::now() + Duration::from_millis(for_ms), pid));
                    self.tally.stops += 1;
                }
            }
        }
    }

    fn forget_stop(&mut self, pid: u32) {
        self.stopped.retain(|(_, other)| *other != pid);
    }

    fn some_client(&mut self) -> Option<(u32, u32)> {
        let count = self.watched.len();
        let place = self.rng.random_range(0..count.max(1));
        self.watched.iter().nth(place).map(|(job, watched)| (*job, watched.pid))
    }

    /// Every line of a job's ledger is there, once, and a sample of it can be computed again.
    fn check_ledger(&self, job: u32) {
        let ledger = Client::at(self.port, &["ledger", &id(job)]).finish();
        assert_eq!(ledger.exit, Some(0), "{ledger:#?}");
        let (_, lines) = KINDS[job as usize % KINDS.len()];
        if lines > 0 {
            assert_eq!(ledger.events.len(), lines, "the ledger of job {job} is not complete");
        }
        let is_whole = |entry: &Value| match entry.get("result").and_then(Value::as_str) {
            Some("step") => entry["skipped"] == json!([]),
            result => result.is_none_or(|result| result == "merged"),
        };
        assert!(ledger.events.iter().all(is_whole), "something of job {job} is skipped: {:#?}", ledger.events);
        let verified = Client::at(self.port, &["verify", &id(job), "--sample", "3"]).finish();
        assert_eq!(verified.exit, Some(0), "{verified:#?}");
    }
}

fn start(port: u16, nodes: &[u16], state: &TempDir) -> Coordinator {
    let options = ["--state-dir", state.path().to_str().unwrap(), "--revival-waits", "5,15,60", "--memory", MEMORY_MIB];
    Coordinator::try_at(port, &WITHIN_1_GIB, nodes, &options).unwrap_or_else(|end| panic!("no coordinator: {end:?}"))
}

fn survive(seed: u64, jobs: u32) {
    println!("seed {seed}, {jobs} jobs");
    let kinds = KINDS.len() as u32 * SEEDS;
    let fingerprints: Vec<String> = (0..jobs.min(kinds))
        .map(|job| {
            let words = options(job);
            Client::local(1, &words.iter().map(String::as_str).collect::<Vec<_>>()).finish().fingerprint()
        })
        .collect();
    let mut stress = Stress::new(seed);
    let finished = stress.run(jobs);
    println!("{:?}", stress.tally);
    let Tally { coordinator_kills, node_kills, client_kills, stops, moments, full, .. } = stress.tally;
    assert!(coordinator_kills.min(node_kills) + CLIENTS[0] as u32 >= jobs && 3 * client_kills.min(stops) >= jobs / 2);
    let is_half = (moments * 2 / 5..=moments * 3 / 5).contains(&full);
    assert!(jobs < JOBS || is_half, "{full} of {moments} moments found the queue full");
    for (job, end) in &finished {
        assert_eq!(end.fingerprint(), fingerprints[(job % kinds) as usize], "job {job}");
        stress.check_ledger(*job);
    }
    stress.coordinator.assert_has_no_fault();
}

#[test]
#[ignore = "long: 312 jobs, as many kills of the coordinator and of nodes"]
fn every_job_comes_to_the_same_end_whatever_is_killed_or_stops() {
    let seed = number_of(SEED_VARIABLE, 1);
    survive(seed.into(), number_of(JOBS_VARIABLE, JOBS));
}

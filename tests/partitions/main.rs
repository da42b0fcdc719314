//! Networks that are cut, one way or both, lose, or are slow, while a job runs on real programs: it goes on within seconds of the
//! network's being well again, and comes to the same end. Owns what happens to which line and when, by a seed; the machine's own
//! timing is beside it. How a line is cut is the network's: through [proxies](proxies), which need nothing, and between
//! [namespaces](namespaces), which need Linux, root and its tools.
#![cfg(feature = "client")]

#[path = "../common/mod.rs"]
mod common;
mod namespaces;
mod proxies;

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use common::clients::Client;
use common::servers::Coordinator;
use namespaces::Namespaces;
use proxies::Proxies;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

const NODES: usize = 3;
/// Rounds of about a twentieth of a second, in which nodes wait more than they compute.
const JOB: [&str; 8] = ["--epochs", "1", "--shards", "3", "--hidden", "8", "--batch", "256"];
const LOAD: &str = "1";
const LOAD_DELAY: [&str; 2] = ["--load-delay", "0.05"];
/// How long a fault lasts: shorter than what makes a link lost, and longer than a revival.
const LASTS_MS: Range<u64> = 300..8_000;
/// A round is told within so long of the moment when all lines are well again.
const GOES_ON_WITHIN: Duration = Duration::from_secs(6);
/// A job ends in a busy machine's good time.
const ENDS_WITHIN: Duration = Duration::from_secs(300);

/// A schedule: how many faults there are in it, and the rounds of its job.
#[derive(Clone, Copy)]
struct Extent {
    faults: usize,
    rounds: &'static str,
}

const SHORT: Extent = Extent { faults: 1, rounds: "80" };
const LONG: Extent = Extent { faults: 3, rounds: "200" };

impl Extent {
    fn job(self) -> Vec<&'static str> {
        [&JOB[..], &["--rounds", self.rounds]].concat()
    }

    /// The job's fingerprint where nobody disturbs it.
    fn undisturbed(self) -> String {
        static FINGERPRINTS: Mutex<BTreeMap<&str, String>> = Mutex::new(BTreeMap::new());
        let mut known = FINGERPRINTS.lock().unwrap();
        known.entry(self.rounds).or_insert_with(|| Client::local(1, &self.job()).finish().fingerprint()).clone()
    }

    /// The round that a coordinator of this status is at; nothing if its job has ended.
    fn round_underway(self, status: &str) -> Option<u64> {
        let words: Vec<&str> = status.split_whitespace().collect();
        let is_place = |words: &&[&str]| words[0] == "round" && words[2] == "of" && words[3].starts_with(self.rounds);
        words.windows(4).find(is_place)?[1].parse().ok()
    }
}

/// How a line passes bytes on, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Well,
    Cut,
    /// Of a hundred packets so many are lost, and sent again.
    Lossy(u32),
    Slow {
        bytes_per_second: u32,
    },
}

/// A direction of a line, as whoever is at its far end sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    There,
    Back,
}

/// Nodes, a coordinator and whoever watches a job, and the lines between them.
trait Network {
    /// How many lines there are: one to each node, and perhaps one between client and coordinator.
    fn lines(&self) -> usize;

    fn set(&mut self, line: usize, direction: Direction, is: Line);

    fn coordinator(&self) -> &Coordinator;

    /// Where the client finds the coordinator.
    fn port(&self) -> u16;
}

/// What happens to some lines.
#[derive(Debug)]
struct Fault {
    lines: Vec<usize>,
    directions: Vec<Direction>,
    is: Line,
}

impl Fault {
    fn drawn(rng: &mut ChaCha8Rng, lines: usize) -> Fault {
        let is = match rng.random_range(0..8) {
            0..5 => Line::Cut,
            5 => Line::Lossy(rng.random_range(5..40)),
            _ => Line::Slow { bytes_per_second: rng.random_range(2_000..50_000) },
        };
        let directions = match rng.random_range(0..4) {
            0 => vec![Direction::There],
            1 => vec![Direction::Back],
            _ => vec![Direction::There, Direction::Back],
        };
        let hit = match rng.random_range(0..4) {
            0 => (0..lines).collect(),
            1 => (0..lines).filter(|_| rng.random()).collect(),
            _ => vec![rng.random_range(0..lines)],
        };
        Fault { lines: hit, directions, is }
    }

    fn set(&self, network: &mut dyn Network, is: Line) {
        for &line in &self.lines {
            self.directions.iter().for_each(|&direction| network.set(line, direction, is));
        }
    }
}

/// Has a job run while lines are as the seed says; how long it took, at most, until a round was told once all were well.
fn goes_on(network: &mut dyn Network, extent: Extent, seed: u64) -> Duration {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    network.coordinator().await_in_status(&format!("{NODES} of {NODES} active"));
    let mut client = Client::at(network.port(), &extent.job());
    client.await_round();
    let mut longest = Duration::ZERO;
    for _ in 0..extent.faults {
        let fault = Fault::drawn(&mut rng, network.lines());
        let lasts = Duration::from_millis(rng.random_range(LASTS_MS));
        println!("seed {seed}: {fault:?} for {lasts:?}");
        fault.set(network, fault.is);
        thread::sleep(lasts);
        fault.set(network, Line::Well);
        let healed = Instant::now();
        // What was done before may still be on its way.
        let due = extent.round_underway(&network.coordinator().status()).unwrap_or(u64::MAX);
        let event = client.await_event("a round, or the end", |event| {
            event["event"] == "done" || event["event"] == "round" && event["round"].as_u64() >= Some(due)
        });
        let took = healed.elapsed();
        println!("seed {seed}: went on after {took:?}");
        assert!(took <= GOES_ON_WITHIN, "seed {seed}: it went on {took:?} after {fault:?} of {lasts:?}");
        longest = longest.max(took);
        if event["event"] == "done" {
            break;
        }
    }
    assert_eq!(client.finish_within(ENDS_WITHIN).fingerprint(), extent.undisturbed(), "seed {seed}");
    network.coordinator().assert_has_no_fault();
    longest
}

/// Schedules at a time: they wait more than they compute.
const AT_A_TIME: u64 = 5;

/// Goes through each schedule, whatever came of the others. Which of them failed, each for the reason that it gave.
fn go_through(seeds: impl Iterator<Item = u64>, goes_on: impl Fn(u64) -> Duration) -> Vec<u64> {
    let mut failed = Vec::new();
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| goes_on(seed))) {
            Ok(longest) => println!("seed {seed}: at most {longest:?}"),
            Err(_) => failed.push(seed),
        }
    }
    failed
}

fn through_proxies(extent: Extent, seeds: Range<u64>) {
    let failed: Vec<u64> = thread::scope(|scope| {
        let part = |part: u64| {
            let own = seeds.clone().filter(move |seed| seed % AT_A_TIME == part);
            scope.spawn(move || go_through(own, |seed| goes_on(&mut Proxies::new(), extent, seed)))
        };
        let parts: Vec<_> = (0..AT_A_TIME).map(part).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "these schedules failed: {failed:?}");
}

#[test]
fn a_job_goes_on_within_seconds_of_a_cut_or_slow_networks_being_well_again() {
    through_proxies(SHORT, 0..4);
}

#[test]
#[ignore = "long: fifty schedules of cuts, losses and slow lines"]
fn a_job_goes_on_within_seconds_of_any_networks_being_well_again() {
    through_proxies(LONG, 3..53);
}

#[test]
#[ignore = "long: fifty schedules of cuts, losses and slow lines between network namespaces"]
fn a_job_goes_on_within_seconds_between_namespaces_too() {
    let Some(part) = namespaces::inside() else {
        return namespaces::again_inside("a_job_goes_on_within_seconds_between_namespaces_too");
    };
    let own = (0..50).filter(|seed| seed % AT_A_TIME == part);
    let failed = go_through(own, |seed| goes_on(&mut Namespaces::new(), LONG, seed));
    assert!(failed.is_empty(), "these schedules failed: {failed:?}");
}

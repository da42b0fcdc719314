//! What the journal promises, on real processes and the real disk: jobs under kills, jobs submitted again and again, what
//! the journal costs, and how soon a coordinator is back. Each figure beside its bound, and `ok` or `MISSED`.
//!
//! `cargo bench --bench survival [-- NAME [SEED]]`: kills, resubmits, journal or recovery; without a name all of them,
//! about ten minutes. The seed decides what is killed when; a random one, which is printed, if none is given.

mod common;

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::clients::{Client, Finished};
use common::kills::Kills;
use common::process::reserve_port;
use common::servers::{Coordinator, Node, nodes, ports};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

type Figures = fn(&mut Report, u64) -> io::Result<()>;

const ALL: [(&str, Figures); 4] =
    [("kills", kills), ("resubmits", resubmits), ("journal", journal), ("recovery", recovery)];

fn main() -> ExitCode {
    // cargo passes options of its own; words are ours.
    let words: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let seed = match words.get(1).map(|seed| seed.parse()) {
        Some(Ok(seed)) => seed,
        Some(Err(_)) => {
            eprintln!("a seed is a whole number");
            return ExitCode::FAILURE;
        }
        None => gradwire::net::random_u64() % 1_000_000,
    };
    let chosen: Vec<_> = ALL.iter().filter(|(name, _)| words.first().is_none_or(|wanted| wanted == name)).collect();
    if chosen.is_empty() {
        eprintln!("no figure has this name: there are {}", ALL.map(|(name, _)| name).join(", "));
        return ExitCode::FAILURE;
    }
    let mut report = Report { missed: false };
    for (name, figures) in chosen {
        if let Err(error) = figures(&mut report, seed) {
            eprintln!("{name} cannot be measured: {error}");
            report.missed = true;
        }
    }
    if report.missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

struct Report {
    missed: bool,
}

impl Report {
    fn figure(&mut self, what: &str, got: String, bound: &str, is_kept: bool) -> io::Result<()> {
        self.missed |= !is_kept;
        let word = if is_kept { "ok" } else { "MISSED" };
        writeln!(io::stdout().lock(), "{what:64} {got:>14}   {bound:16} {word}")
    }
}

/// A hundred jobs, while coordinator, nodes and clients are killed at random moments.
fn kills(report: &mut Report, seed: u64) -> io::Result<()> {
    let wanted = Kills { coordinator: 100, node: 100, client: 50 };
    let outcome = common::kills::kill_everything(seed, 100, wanted);
    let Kills { coordinator, node, client } = outcome.kills;
    report.figure("jobs under kills: done, right fingerprint, whole ledger", outcome.jobs.to_string(), "all", true)?;
    let killed = format!("{coordinator}, {node}, {client}");
    report.figure("coordinators, nodes, clients killed in them", killed, "100, 100, 50", true)?;
    let amiss = outcome.rounds_amiss;
    report.figure("rounds told twice or not at all", amiss.to_string(), "none", amiss == 0)?;
    let again = outcome.unsafe_yet.to_string();
    report.figure("jobs killed with their client before they were safe", again, "submitted again", true)
}

/// A thousand small jobs, each submitted three times; clients are killed, and the coordinator in between.
fn resubmits(report: &mut Report, seed: u64) -> io::Result<()> {
    const JOBS: u32 = 1_000;
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let directory = tempfile::tempdir()?;
    let table = common::tables::small_table(&directory, 0);
    let state = directory.path().join("state");
    let (node, port) = (Node::start(0, "0", &[]), reserve_port());
    let options = ["--state-dir", state.to_str().ok_or(io::ErrorKind::InvalidData)?, "--keep-jobs", "1000"];
    let start = || Coordinator::start_at(port, "2", &[node.port], &options);
    let mut coordinator = start();
    let (mut admitted, mut restarts, mut killed, mut conflicts) = (HashMap::new(), 0, 0, 0);
    let mut note = |said: &str| {
        for line in said.lines().filter(|line| line.contains(" is queued, ")) {
            let job = line.split_whitespace().nth(2).unwrap_or_default().to_owned();
            *admitted.entry(job).or_insert(0u32) += 1;
        }
    };
    let mut differing = 0;
    for number in 1..=JOBS {
        let id = format!("{number:032x}");
        let job = ["--data", &table, "--hidden", "4", "--rounds", "2", "--shards", "2", "--job", &id];
        let submit = |seed: &str| Client::at(port, &[&job[..], &["--seed", seed]].concat());
        let mut first = submit("1");
        if rng.random_bool(0.5) {
            // It is safe once a round has been told.
            first.await_round();
            first.kill();
            killed += 1;
        } else {
            first.finish().done();
        }
        if rng.random_bool(0.05) {
            coordinator.kill();
            note(&coordinator.await_end().1);
            coordinator = start();
            restarts += 1;
        }
        let answers: Vec<String> = (0..2).map(|_| done_line(&submit("1").finish())).collect();
        let attached = done_line(&Client::at(port, &["attach", &id]).finish());
        differing += u32::from(answers[0] != answers[1] || answers[0] != attached);
        let altered = submit("2").finish();
        conflicts += u32::from(altered.exit == Some(2) && altered.failed()["code"] == "CONFLICT");
    }
    note(&coordinator.stop().1);
    let once = admitted.values().filter(|&&count| count == 1).count();
    let executions: u32 = admitted.values().sum();
    println!("{killed} clients killed, {restarts} coordinators");
    report.figure(
        "jobs, each submitted three times: taken in once",
        once.to_string(),
        "1000",
        once == JOBS as usize,
    )?;
    report.figure("executions in all", executions.to_string(), "1000", executions == JOBS)?;
    report.figure("jobs whose answers differ", differing.to_string(), "none", differing == 0)?;
    report.figure("CONFLICT on an altered specification", conflicts.to_string(), "1000", conflicts == JOBS)
}

/// The last line that a client prints of a job that is done.
fn done_line(finished: &Finished) -> String {
    finished.done().to_string()
}

/// Jobs with a journal and without, in turn, on one core.
fn journal(report: &mut Report, _: u64) -> io::Result<()> {
    let classic: (&[&str], usize) = (&["--recipe", "classic"], 15);
    let million: (&[&str], usize) =
        (&["--hidden", "1024,960", "--rounds", "6", "--epochs", "1", "--shards", "2", "--batch", "64"], 5);
    let core = std::thread::available_parallelism()?.get() - 1;
    for (what, (job, pairs), at_most) in [
        ("classic 25 x 15: time with a journal, of that without", classic, 1.15),
        ("1 M weights, rounds of about 1 s: the same", million, 1.03),
    ] {
        let fleet = nodes(4, "0", &[]);
        let directory = tempfile::tempdir()?;
        let with = Coordinator::of("2", &fleet, &["--state-dir", directory.path().to_str().unwrap_or_default()]);
        let without = Coordinator::of("2", &fleet, &["--no-state"]);
        let is_pinned = fleet
            .iter()
            .map(|node| node.pid())
            .chain([with.pid(), without.pid()])
            .all(|pid| common::processes::pin(pid, core));
        let run = |coordinator: &Coordinator| {
            let began = Instant::now();
            Client::start(coordinator, job).finish().done();
            began.elapsed().as_secs_f64()
        };
        run(&with);
        run(&without);
        let mut times: Vec<(f64, f64)> = Vec::new();
        for _ in 0..pairs {
            times.push((run(&without), run(&with)));
        }
        let ratio = median(times.iter().map(|(without, with)| with / without).collect());
        let plain = median(times.iter().map(|(without, _)| *without).collect());
        println!("{:.3} s without a journal; all but the clients on one core: {is_pinned}", plain);
        report.figure(what, format!("{ratio:.3}"), &format!("at most {at_most}"), ratio <= at_most)?;
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How soon a killed coordinator goes on, with many jobs that have ended and one of a million weights that has not.
fn recovery(report: &mut Report, _: u64) -> io::Result<()> {
    const ENDED: u32 = 200;
    let directory = tempfile::tempdir()?;
    let table = common::tables::small_table(&directory, 0);
    let state = directory.path().join("state");
    let (fleet, port) = (nodes(2, "0", &[]), reserve_port());
    let options = ["--state-dir", state.to_str().ok_or(io::ErrorKind::InvalidData)?];
    let mut coordinator = Coordinator::start_at(port, "2", &ports(&fleet), &options);
    for seed in 1..=ENDED {
        Client::at(port, &["--data", &table, "--rounds", "2", "--seed", &seed.to_string()]).finish().done();
    }
    let mut client = Client::at(port, &["--hidden", "1024,960", "--rounds", "6", "--epochs", "1"]);
    client.await_round();
    client.await_round();
    let mut worst = Duration::ZERO;
    for _ in 0..5 {
        coordinator.kill();
        let began = Instant::now();
        coordinator = Coordinator::start_at(port, "2", &ports(&fleet), &options);
        coordinator.await_line("goes on after round");
        worst = worst.max(began.elapsed());
    }
    client.finish().done();
    let what = format!("{ENDED} jobs ended, one of 1 M weights not: going on after kill -9");
    report.figure(&what, format!("{:.0} ms", worst.as_secs_f64() * 1e3), "below 1 s", worst < Duration::from_secs(1))
}

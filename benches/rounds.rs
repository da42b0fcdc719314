//! What a round costs that trains next to nothing: its messages, its weights' way to the nodes, the updates' way back,
//! merging; and what the coordinator takes of memory for it.
//!
//! `cargo bench --bench rounds [-- NAME]`: small, large or memory; without a name all of them, about a minute. Every
//! program of a fleet runs on one core, the last that this process may use: the sum of what all of them spend. No divan
//! here: it times a function that it calls again and again, and these figures are what a fleet of programs tells of a job.

#[allow(dead_code, reason = "other benches use the rest")]
#[path = "common/processes.rs"]
mod processes;
#[allow(dead_code, reason = "the fleet's tests use the rest")]
#[path = "../tests/fleet/support.rs"]
mod support;

use std::io::Write as _;
use std::process::ExitCode;

use support::{Client, Coordinator, Finished, nodes};

type Measure = fn() -> std::io::Result<()>;
const ALL: [(&str, Measure); 3] = [("small", small), ("large", large), ("memory", memory)];

fn main() -> ExitCode {
    processes::pin_this_thread();
    // cargo passes options of its own; a word is ours.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let chosen = ALL.iter().filter(|(name, _)| wanted.as_deref().is_none_or(|wanted| wanted == *name));
    let mut measured = 0;
    for (name, measure) in chosen {
        measured += 1;
        if let Err(error) = measure() {
            eprintln!("{name} cannot be measured: {error}");
            return ExitCode::FAILURE;
        }
    }
    if measured == 0 {
        eprintln!("nothing has this name: there are {}", ALL.map(|(name, _)| name).join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn say(what: &str, got: &str, goal: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{what:72} {got:>12}   {goal}")
}

/// A job of tasks of one row each, one epoch: what its rounds take is not training.
fn idle_job(coordinator: &Coordinator, shards: usize, hidden: &str, rounds: &str) -> std::io::Result<Finished> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("rows.csv");
    // Four classes, so that there may be four shards and more; the last rows validate.
    let features = |row: usize| (0..10).map(|column| ((row * 7 + column) % 5).to_string() + ",").collect::<String>();
    let rows: String = (0..shards + 8).map(|row| format!("{}class-{}\n", features(row), row % 4)).collect();
    std::fs::write(&path, rows)?;
    let (path, shards) = (path.to_string_lossy().into_owned(), shards.to_string());
    let data = ["--data", &path, "--validate-split", "last:8", "--shards", &shards];
    let recipe = ["--hidden", hidden, "--rounds", rounds, "--epochs", "1", "--batch", "0", "--eta", "0.0001"];
    Ok(Client::start(coordinator, &[&data[..], &recipe].concat()).finish())
}

/// The median round of a job, without the first, which brings the shards, in milliseconds.
fn round_ms(finished: &Finished) -> f64 {
    finished.done();
    let rounds = finished.events.iter().filter(|event| event["event"] == "round");
    let mut seconds: Vec<f64> = rounds.skip(1).filter_map(|round| round["seconds"].as_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).map_or(f64::NAN, |seconds| seconds * 1e3)
}

/// About 10,000,000 parameters.
const LARGE: &str = "3155,3155";

fn small() -> std::io::Result<()> {
    let fleet = nodes(4, "0", &[]);
    let finished = idle_job(&Coordinator::of("2", &fleet, &[]), 4, "20", "200")?;
    let got = format!("{:.3} ms", round_ms(&finished));
    say("a round that trains nothing, 4 nodes, 304 parameters", &got, "goal 0.5 ms")
}

fn large() -> std::io::Result<()> {
    let fleet = nodes(4, "0", &[]);
    let finished = idle_job(&Coordinator::of("2", &fleet, &[]), 4, LARGE, "10")?;
    let got = format!("{:.0} ms", round_ms(&finished));
    say("the same, 10,006,504 parameters", &got, "goal 450 ms")
}

/// The coordinator's peak with many nodes and shards.
fn memory() -> std::io::Result<()> {
    for (fleet, shards) in [(2, 4), (4, 4), (4, 16), (16, 16), (64, 64)] {
        let nodes = nodes(fleet, "0", &["--cache", "64"]);
        let coordinator = Coordinator::of("2", &nodes, &[]);
        idle_job(&coordinator, shards, LARGE, "2")?.done();
        let what = format!("the coordinator's peak with it, {fleet} nodes, {shards} shards");
        let got = coordinator
            .peak_memory_kib()
            .map_or("unknown".to_owned(), |kib| format!("{:.0} MB", kib as f64 * 1.024e-3));
        say(&what, &got, "goal 250 MB")?;
    }
    Ok(())
}

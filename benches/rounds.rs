//! What a round costs that trains next to nothing: its messages, its weights' way to the nodes, the updates' way back,
//! merging; what the coordinator takes of memory for it; and which part of a job with much to train is training.
//!
//! `cargo bench --bench rounds [-- NAME]`: small, large, memory or large-profile; without a name all of them, about two
//! minutes. Every program of a fleet runs on one core, the last that this process may use: the sum of what all of them
//! spend. In large-profile the node has another to itself. No divan here: it times a function that it calls again and
//! again, and these figures are what a fleet of programs tells of a job.

#[allow(dead_code, reason = "other benches use the rest")]
#[path = "common/processes.rs"]
mod processes;
#[allow(dead_code, reason = "the fleet's tests use the rest")]
#[path = "../tests/fleet/support.rs"]
mod support;

use std::io::Write as _;
use std::process::ExitCode;

use support::{Client, Coordinator, Finished, nodes};

/// Measures, and says what. Besides the core that all programs run on there may be another.
type Measure = fn(Option<usize>) -> std::io::Result<()>;
const ALL: [(&str, Measure); 4] =
    [("small", small), ("large", large), ("memory", memory), ("large-profile", large_profile)];

fn main() -> ExitCode {
    let cores = processes::cores();
    let other_core = cores.first().copied().filter(|first| Some(first) != cores.last());
    processes::pin_this_thread();
    // cargo passes options of its own; a word is ours.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let chosen = ALL.iter().filter(|(name, _)| wanted.as_deref().is_none_or(|wanted| wanted == *name));
    let mut measured = 0;
    for (name, measure) in chosen {
        measured += 1;
        if let Err(error) = measure(other_core) {
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

fn small(_: Option<usize>) -> std::io::Result<()> {
    let fleet = nodes(4, "0", &[]);
    let finished = idle_job(&Coordinator::of("2", &fleet, &[]), 4, "20", "200")?;
    let got = format!("{:.3} ms", round_ms(&finished));
    say("a round that trains nothing, 4 nodes, 304 parameters", &got, "goal 0.5 ms")
}

fn large(_: Option<usize>) -> std::io::Result<()> {
    let fleet = nodes(4, "0", &[]);
    let finished = idle_job(&Coordinator::of("2", &fleet, &[]), 4, LARGE, "10")?;
    let got = format!("{:.0} ms", round_ms(&finished));
    say("the same, 10,006,504 parameters", &got, "goal 450 ms")
}

/// The coordinator's peak with many nodes and shards.
fn memory(_: Option<usize>) -> std::io::Result<()> {
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

/// Rows that the profile's job trains on: with a fifth of all of them to validate, 8,000.
const PROFILE_ROWS: usize = 10_000;

/// Where the time of a job goes that has one node with a core of its own, and four shards for it: what is not training is
/// what the node has to wait for.
fn large_profile(other_core: Option<usize>) -> std::io::Result<()> {
    let fleet = nodes(1, "0", &[]);
    if !other_core.is_some_and(|core| processes::pin(fleet[0].pid(), core)) {
        eprintln!(
            "there is no second core, or no taskset: the node shares its core with the coordinator and the client"
        );
    }
    let coordinator = Coordinator::of("2", &fleet, &[]);
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("rows.csv");
    write_digits(&path)?;
    let path = path.to_string_lossy().into_owned();
    let job = ["--data", &path, "--shards", "4", "--hidden", "512,512", "--epochs", "1", "--batch", "128"];
    let finished = Client::start(&coordinator, &[&job[..], &["--rounds", "20"]].concat()).finish();
    let done = finished.done();
    let (profile, seconds) = (&done["profile"], done["seconds"].as_f64().unwrap_or(f64::NAN));
    for part in ["prepare", "compute", "wire", "stragglers", "no_nodes", "merge", "validate"] {
        let share = 100.0 * profile[format!("{part}_s")].as_f64().unwrap_or(f64::NAN) / seconds;
        let what = format!("784-512-512-10, one node, four shards of 2,000 rows, one epoch: {part}");
        let word = match part {
            "compute" if share >= 75.0 => "at least 75 %   ok",
            "compute" => "at least 75 %   MISSED",
            _ => "",
        };
        say(&what, &format!("{share:.1} %"), word)?;
    }
    Ok(())
}

/// Rows like those of written digits: 784 features from 0 to 255, most of them 0, and ten classes.
fn write_digits(path: &std::path::Path) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 24
    };
    for row in 0..PROFILE_ROWS {
        let class = row % 10;
        for feature in 0..784 {
            let is_inked = (feature / 28 * 3 + feature * (class + 1)) % 10 < 2;
            let ink = if is_inked { 128 + random() / 2 } else { random().saturating_sub(235) };
            write!(file, "{ink},")?;
        }
        writeln!(file, "digit-{class}")?;
    }
    file.flush()
}

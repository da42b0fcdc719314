//! What a round costs that trains next to nothing: its messages, its weights' way to the nodes, the updates' way back,
//! merging; and what the coordinator takes of memory for it.
//!
//! `cargo bench --bench rounds [-- NAME]`: merge, small, large or memory; without a name all of them, about a minute. Every
//! program of a fleet runs on one core, the last that this process may use: the sum of what all of them spend.

#[allow(dead_code, reason = "the fleet's tests use the rest")]
#[path = "../tests/fleet/support.rs"]
mod support;

use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use gradwire::model::{ExactSum, Kernel};
use support::{Client, Coordinator, Finished, nodes};

/// Set for the run of this program that is pinned to one core.
const PINNED: &str = "GRADWIRE_ROUNDS_PINNED";

type Measure = fn() -> std::io::Result<()>;
const ALL: [(&str, Measure); 4] = [("merge", merge), ("small", small), ("large", large), ("memory", memory)];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if std::env::var_os(PINNED).is_none()
        && let Some(code) = run_pinned(&wanted)
    {
        return code;
    }
    let chosen = ALL.iter().filter(|(name, _)| wanted.first().is_none_or(|wanted| wanted == name));
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

/// Runs this program once more, on one core; nothing where there is no `taskset`.
fn run_pinned(arguments: &[String]) -> Option<ExitCode> {
    let cores = std::thread::available_parallelism().ok()?.get();
    let core = (cores - 1).to_string();
    let pinned = |program: &std::ffi::OsStr| {
        let mut command = Command::new("taskset");
        command.args(["-c", &core]).arg(program).env(PINNED, "1");
        command
    };
    let can_pin =
        pinned("true".as_ref()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    if !can_pin {
        eprintln!("there is no taskset: the programs share all cores");
        return None;
    }
    let status = pinned(std::env::current_exe().ok()?.as_os_str()).args(arguments).status().ok()?;
    Some(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn say(what: &str, got: &str, goal: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{what:72} {got:>12}   {goal}")
}

/// The arithmetic of merging alone.
fn merge() -> std::io::Result<()> {
    const PARAMETERS: usize = 1_000_000;
    // Values of every size down to 2^-40, half of them negative.
    let value = |index: u32| {
        let word = index.wrapping_mul(0x9e37_79b9);
        f32::from_bits(word & 0x807f_ffff | (87 + word % 40) << 23)
    };
    let update: Vec<[u8; 4]> = (0..PARAMETERS as u32).map(|index| value(index).to_le_bytes()).collect();
    for kernel in Kernel::available() {
        for (what, rows_max) in [("96 bits", 1 << 17), ("128 bits", 1 << 40)] {
            let mut sum = ExactSum::new(kernel, PARAMETERS, rows_max);
            let mut base = update.clone();
            let (mut adding, mut dividing) = (f64::MAX, f64::MAX);
            for _ in 0..20 {
                sum.reset();
                for _ in 0..4 {
                    let start = Instant::now();
                    sum.add(&update, 1_237).map_err(std::io::Error::other)?;
                    adding = adding.min(start.elapsed().as_secs_f64());
                }
                base.copy_from_slice(&update);
                let start = Instant::now();
                sum.mean_onto(&mut base).map_err(std::io::Error::other)?;
                dividing = dividing.min(start.elapsed().as_secs_f64());
            }
            for (step, seconds) in [("adding an update", adding), ("the mean, onto the base", dividing)] {
                let nanoseconds = seconds * 1e9 / PARAMETERS as f64;
                say(&format!("merging, {what}, {kernel}: {step}, a parameter"), &format!("{nanoseconds:.2} ns"), "")?;
            }
        }
    }
    Ok(())
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

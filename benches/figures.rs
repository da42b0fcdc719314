//! The figures that gradwire promises, measured with the programs themselves: each beside its bound, and `ok` or
//! `MISSED`.
//!
//! `cargo bench --bench figures [-- NAME]`: classic, default, numpy, slow-node or size; without a name all of them, which
//! takes a few minutes. Ends with exit code 1 if a bound is missed. What compares two things runs them in turn, and gives
//! their ratio: machines are noisy, and it is the same noise for both.

#[allow(dead_code, reason = "the fleet's tests use the rest")]
#[path = "../tests/fleet/support.rs"]
mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use support::{Client, Coordinator, Finished, Node, nodes};

/// Set for the run of this program that is pinned to one core.
const PINNED: &str = "GRADWIRE_FIGURES_PINNED";

type Figures = fn(&mut Report) -> std::io::Result<()>;

const ALL: [(&str, Figures); 5] =
    [("classic", classic), ("default", default), ("numpy", numpy), ("slow-node", slow_node), ("size", size)];

fn main() -> ExitCode {
    // cargo passes options of its own; a word is ours.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let chosen = ALL.iter().filter(|(name, _)| wanted.as_deref().is_none_or(|wanted| wanted == *name));
    let mut report = Report::default();
    for (name, figures) in chosen {
        if let Err(error) = figures(&mut report) {
            eprintln!("{name} cannot be measured: {error}");
            report.missed = true;
        }
        report.measured = true;
    }
    if !report.measured {
        eprintln!("no figure has this name: there are {}", ALL.map(|(name, _)| name).join(", "));
    }
    if report.missed || !report.measured { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What has been printed so far.
#[derive(Default)]
struct Report {
    measured: bool,
    missed: bool,
}

impl Report {
    fn figure(&mut self, what: &str, got: String, bound: &str, is_kept: bool) -> std::io::Result<()> {
        self.missed |= !is_kept;
        let word = if is_kept { "ok" } else { "MISSED" };
        writeln!(std::io::stdout().lock(), "{what:58} {got:>12}   {bound:18} {word}")
    }
}

/// Median validation errors of the classic recipe over eleven seeds.
fn classic(report: &mut Report) -> std::io::Result<()> {
    let rows: [(&str, &[&str], f64, f64); 2] = [
        ("classic, 25 rounds x 15 epochs, 20 hidden: median error", &[], 0.305, 0.335),
        (
            "classic, 15 rounds x 50 epochs, 24 hidden: median error",
            &["--rounds", "15", "--epochs", "50", "--hidden", "24"],
            0.255,
            0.285,
        ),
    ];
    for (what, options, least, most) in rows {
        let error = |seed: u32| {
            let seed = seed.to_string();
            let finished = Client::local(1, &[&["--recipe", "classic", "--seed", &seed], options].concat()).finish();
            number(&finished, "validation_error")
        };
        let median = median((1..=11).map(error).collect());
        let bound = format!("{least} to {most}");
        report.figure(what, format!("{median:.4}"), &bound, (least..=most).contains(&median))?;
    }
    Ok(())
}

/// The default recipe on the built-in letters, in one process.
fn default(report: &mut Report) -> std::io::Result<()> {
    let runs: Vec<Finished> = (0..3).map(|_| Client::local(4, &[]).finish()).collect();
    let accuracy = 100.0 * number(&runs[0], "validation_accuracy");
    report.figure("default recipe: accuracy", format!("{accuracy:.2} %"), "at least 95.5 %", accuracy >= 95.5)?;
    let least = runs.iter().map(|run| number(run, "seconds")).fold(f64::MAX, f64::min);
    report.figure("default recipe, --local 4: time, best of 3", format!("{least:.2} s"), "below 5 s", least < 5.0)?;
    let idle = |run: &Finished| run.tasks().len() < 4 || run.tasks().iter().any(|(_, tasks)| *tasks == 0);
    let is_kept = !runs.iter().any(idle);
    let tasks = runs[0].tasks().iter().map(|(_, tasks)| *tasks).min().unwrap_or_default();
    report.figure("default recipe: tasks of the least used node", tasks.to_string(), "at least 1", is_kept)
}

/// The classic recipe on a fleet of processes against numpy in one process, all on one core.
fn numpy(report: &mut Report) -> std::io::Result<()> {
    if std::env::var_os(PINNED).is_none() && Command::new("taskset").arg("--version").output().is_ok() {
        // Whatever this process starts is pinned with it.
        let pinned = Command::new("taskset")
            .args(["-c", "0"])
            .arg(std::env::current_exe()?)
            .arg("numpy")
            .env(PINNED, "1")
            .status()?;
        report.missed |= !pinned.success();
        return Ok(());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/classic_numpy.py");
    let python = || Command::new("python3").arg(&script).env("OMP_NUM_THREADS", "1").output();
    let fleet = nodes(4, "0", &[]);
    let coordinator = Coordinator::of("2", &fleet, &[]);
    let (mut ours, mut theirs) = (f64::MAX, f64::MAX);
    for _ in 0..5 {
        let finished = Client::start(&coordinator, &["--recipe", "classic"]).finish();
        ours = ours.min(number(&finished, "seconds"));
        let output = python()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(seconds) = text.split_whitespace().next().and_then(|seconds| seconds.parse().ok()) else {
            let why = String::from_utf8_lossy(&output.stderr);
            writeln!(
                std::io::stdout().lock(),
                "classic against numpy: not measured, python3 with numpy is needed: {why}"
            )?;
            return Ok(());
        };
        theirs = theirs.min(seconds);
    }
    let ratio = ours / theirs;
    let what = format!("classic, 4 nodes {ours:.3} s, numpy {theirs:.3} s, one core: ratio");
    report.figure(&what, format!("{ratio:.3}"), "at most 0.5", ratio <= 0.5)
}

/// What load balancing is worth where one of four nodes is four times slower than the others.
fn slow_node(report: &mut Report) -> std::io::Result<()> {
    // Tasks of a few dozen milliseconds, three for each node in a round.
    let job = ["--shards", "12", "--epochs", "32", "--rounds", "8", "--hidden", "128"];
    let one = nodes(1, "0", &[]);
    let alone = Client::start(&Coordinator::of("2", &one, &[]), &job).finish();
    let seconds = alone.done()["time"]["training_on_all_nodes"].as_f64().unwrap_or_default();
    let task_seconds = seconds / (12.0 * 8.0);
    drop(one);

    let delay = format!("{:.4}", 3.0 * task_seconds);
    let mut loaded = nodes(3, "0", &[]);
    loaded.push(Node::start(0, "1", &["--name", "slow", "--load-delay", &delay]));
    let what = format!("one of 4 nodes with load of 3 x {:.0} ms: policy 2 / 1", 1e3 * task_seconds);
    let ratio = policies_ratio(&loaded, &job);
    report.figure(&what, format!("{ratio:.2}"), "at most 0.7", ratio <= 0.7)?;
    drop(loaded);

    let throttled = nodes(4, "0", &[]);
    let has_ended = AtomicBool::new(false);
    let ratio = thread::scope(|scope| {
        let slow = &throttled[3];
        scope.spawn(|| throttle(slow, &has_ended));
        let ratio = policies_ratio(&throttled, &job);
        has_ended.store(true, Ordering::Release);
        ratio
    });
    let what = "one of 4 nodes runs a quarter of the time: policy 2 / 1";
    report.figure(what, format!("{ratio:.2}"), "at most 0.7", ratio <= 0.7)
}

/// The time of load balancing over that of random scheduling: medians of three runs each, in turn.
fn policies_ratio(fleet: &[Node], job: &[&str]) -> f64 {
    let seconds = |policy: &str| {
        let coordinator = Coordinator::of(policy, fleet, &[]);
        number(&Client::start(&coordinator, job).finish(), "seconds")
    };
    let (random, balanced): (Vec<f64>, Vec<f64>) = (0..3).map(|_| (seconds("1"), seconds("2"))).unzip();
    median(balanced) / median(random)
}

/// Lets a node run for a quarter of the time.
fn throttle(node: &Node, has_ended: &AtomicBool) {
    const RUNS: Duration = Duration::from_millis(10);
    while !has_ended.load(Ordering::Acquire) {
        node.freeze();
        thread::sleep(3 * RUNS);
        node.thaw();
        thread::sleep(RUNS);
    }
}

/// What a node takes of a small box.
fn size(report: &mut Report) -> std::io::Result<()> {
    let fleet = nodes(1, "0", &[]);
    let _coordinator = Coordinator::of("2", &fleet, &[]);
    if let Some(peak_kib) = fleet[0].peak_memory_kib() {
        let mib = peak_kib as f64 / 1024.0;
        report.figure("a linked node at rest: peak memory", format!("{mib:.2} MiB"), "at most 6 MiB", mib <= 6.0)?;
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smallest");
    let cargo = || Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let features = ["--locked", "--no-default-features"];
    let built = cargo()
        .args(["build", "--release", "--bin", "compute_node", "--target-dir"])
        .arg(&directory)
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    if !built.success() {
        return Err(std::io::Error::other("compute_node does not build without the default features"));
    }
    let bytes = std::fs::metadata(directory.join("release/compute_node"))?.len();
    let mb = bytes as f64 / 1e6;
    report.figure("compute_node without default features: file", format!("{mb:.3} MB"), "at most 1.2 MB", mb <= 1.2)?;
    let tree = cargo()
        .args(["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    let text = String::from_utf8_lossy(&tree.stdout).replace(" (*)", "");
    let crates: std::collections::BTreeSet<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    report.figure("compute_node: crates", crates.len().to_string(), "at most 55", crates.len() <= 55)
}

/// A number in the last event of a job.
fn number(finished: &Finished, key: &str) -> f64 {
    finished.done()[key].as_f64().unwrap_or(f64::NAN)
}

/// The upper median of at least one value.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

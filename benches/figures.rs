//! The figures that gradwire promises, measured with the programs themselves: each beside its bound, and `ok` or
//! `MISSED`.
//!
//! `cargo bench --bench figures [-- NAME]`: classic, default, numpy, large, slow-node, check, portable or size; without a name all
//! of them, in less than five minutes. Ends with exit code 1 if a bound is missed. Speed is judged by ratios alone: what compares
//! two things runs them in turn, because machines differ and are noisy, and it is the same machine and noise for both.

mod common;

use common::clients::{Client, Finished};
use common::servers::{Coordinator, Node, nodes};
use gradwire::model::conformance::Section;
use gradwire::model::train::Unwatched;
use gradwire::model::{ARITHMETIC, BatchSize, Kernel, Network, Optimiser, Recipe, Rows, Trainer, Training, initialise};
use std::hint::black_box;
use std::io::Write as _;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

type Figures = fn(&mut Report) -> std::io::Result<()>;

const ALL: [(&str, Figures); 8] = [
    ("classic", classic),
    ("default", default),
    ("numpy", numpy),
    ("large", large),
    ("slow-node", slow_node),
    ("check", check),
    ("portable", portable),
    ("size", size),
];

fn main() -> ExitCode {
    // cargo passes options of its own; a word is ours.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let chosen = ALL.iter().filter(|(name, _)| wanted.as_deref().is_none_or(|wanted| wanted == *name));
    println!("on {}, {} cores", common::processor::processor(), thread::available_parallelism().map_or(1, usize::from));
    let mut report = Report { measured: false, missed: false, is_judging: true };
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
struct Report {
    measured: bool,
    missed: bool,
    /// Whether this machine can keep the bounds.
    is_judging: bool,
}

impl Report {
    /// What no bound is for.
    fn told(&mut self, what: &str, got: String) -> std::io::Result<()> {
        writeln!(std::io::stdout().lock(), "{what:58} {got:>12}")
    }

    fn figure(&mut self, what: &str, got: String, bound: &str, is_kept: bool) -> std::io::Result<()> {
        self.missed |= self.is_judging && !is_kept;
        let word = match (self.is_judging, is_kept) {
            (false, _) => "not judged",
            (true, true) => "ok",
            (true, false) => "MISSED",
        };
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
    let accuracy = 100.0 * number(&runs[0], "test_accuracy");
    report.figure("default recipe: accuracy", format!("{accuracy:.2} %"), "at least 96 %", accuracy >= 96.0)?;
    let least = runs.iter().map(|run| number(run, "seconds")).fold(f64::MAX, f64::min);
    report.told("default recipe, --local 4: time, best of 3", format!("{least:.2} s"))?;
    // The same work in every round: the first ten, without the one that brings the data, beside the last ten.
    let rounds = runs[0].round_seconds().len();
    let [early, late] = [1..11, rounds - 10..rounds].map(|rounds| {
        let fastest = |run: &Finished| run.round_seconds()[rounds.clone()].iter().copied().fold(f64::MAX, f64::min);
        runs.iter().map(fastest).fold(f64::MAX, f64::min)
    });
    let ratio = late / early;
    let what = format!("default recipe: round late {:.1} ms, early {:.1} ms: ratio", late * 1e3, early * 1e3);
    report.figure(&what, format!("{ratio:.2}"), "at most 1.1", ratio <= 1.1)?;
    let idle = |run: &Finished| run.tasks().len() < 4 || run.tasks().iter().any(|(_, tasks)| *tasks == 0);
    let is_kept = !runs.iter().any(idle);
    let tasks = runs[0].tasks().iter().map(|(_, tasks)| *tasks).min().unwrap_or_default();
    report.figure("default recipe: tasks of the least used node", tasks.to_string(), "at least 1", is_kept)
}

/// All on one core: what a thread that is on it does and has started.
fn on_one_core(report: &mut Report, figures: Figures) -> std::io::Result<()> {
    let measure = || {
        common::processes::pin_this_thread();
        figures(report)
    };
    thread::scope(|scope| scope.spawn(measure).join()).unwrap_or_else(|_| Err(std::io::Error::other("it panicked")))
}

/// The classic recipe on a fleet of processes against numpy in one process.
fn numpy(report: &mut Report) -> std::io::Result<()> {
    on_one_core(report, numpy_on_this_core)
}

fn numpy_on_this_core(report: &mut Report) -> std::io::Result<()> {
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

/// A network of large layers: how much training makes of what the core could do, and what a block costs that is not full.
fn large(report: &mut Report) -> std::io::Result<()> {
    on_one_core(report, |report| {
        let mut kernels = Kernel::available().filter(|&kernel| common::chains::run(kernel).is_some()).peekable();
        if kernels.peek().is_none() {
            report.told("large layers: this core's peak is unknown", "not measured".to_owned())?;
        }
        kernels.try_for_each(|kernel| large_by(kernel, report))
    })
}

/// One kernel against what the core can do with its instructions.
fn large_by(kernel: Kernel, report: &mut Report) -> std::io::Result<()> {
    const SIZES: [u32; 4] = [784, 512, 512, 10];
    // Forward, back, gradient: 2 operations for each weight, but none back into the input.
    const FLOPS_OF_ROW: u32 = 2 * (2 * 784 * 512 + 3 * (512 * 512 + 512 * 10));
    // Some batches each, beside which beginning and ending a task is little.
    const ROWS: u32 = 2048;
    let mut by_128 = training(kernel, &SIZES, ROWS, 128);
    let mut by_512 = training(kernel, &SIZES, 4 * 512, 512);
    let mut by_400 = training(kernel, &SIZES, 4 * 400, 400);
    let mut fastest = [f64::MAX; 4];
    for _ in 0..60 {
        let mut timed = |index: usize, run: &mut dyn FnMut()| {
            let start = Instant::now();
            run();
            fastest[index] = start.elapsed().as_secs_f64().min(fastest[index]);
        };
        // What no other work on the machine disturbs is the fastest of many short ones.
        (0..20).for_each(|_| timed(0, &mut || _ = black_box(common::chains::run(kernel))));
        timed(1, &mut by_128);
        timed(2, &mut by_512);
        timed(3, &mut by_400);
    }
    let peak = f64::from(common::chains::run(kernel).unwrap_or_default()) / fastest[0];
    let speed = f64::from(FLOPS_OF_ROW) * f64::from(ROWS) / fastest[1];
    let share = 100.0 * speed / peak;
    let what = format!("784-512-512-10 by 128, {kernel}: {:.1} of {:.1} GFLOP/s", speed / 1e9, peak / 1e9);
    let (goal, bound) =
        if Some(kernel) == Kernel::avx512() { (80.0, "at least 80 %") } else { (85.0, "at least 85 %") };
    report.figure(&what, format!("{share:.1} %"), bound, share >= goal)?;
    let ratio = fastest[3] / fastest[2];
    let times = format!("400 rows {:.2} ms, 512 {:.2} ms: ratio", fastest[3] * 250.0, fastest[2] * 250.0);
    report.figure(&format!("batches, {kernel}: {times}"), format!("{ratio:.3}"), "at most 0.85", ratio <= 0.85)
}

/// An epoch of plain gradient descent over so many rows.
fn training(kernel: Kernel, sizes: &[u32], rows: u32, batch: u32) -> impl FnMut() {
    let (inputs, classes) = (sizes[0], sizes[sizes.len() - 1]);
    let network = Network::new(inputs, &sizes[1..sizes.len() - 1], classes).expect("a shape within the limits");
    let values: Vec<f32> = (0..rows * inputs).map(|i| (f64::from(i) * 0.7).sin() as f32).collect();
    let labels: Vec<u32> = (0..rows).map(|row| row * 7 % classes).collect();
    let rows = Rows::labelled(inputs, values, labels, classes).expect("rows as they should be");
    let batch = BatchSize::Rows(NonZeroU32::new(batch).expect("rows"));
    let recipe = Recipe { optimiser: Optimiser::Sgd, epochs: 1, batch, ..Recipe::DEFAULT };
    let base = initialise(&network, recipe.initialisation, 1);
    let training = Training { arithmetic: ARITHMETIC, network, recipe, seed: 1, class_weights: Vec::new() };
    let mut trainer = Trainer::new(kernel);
    move || {
        let trained = trainer.train(&training, 0, 0, &base, &rows, &mut Unwatched);
        black_box(trained.expect("a task that can be trained"));
    }
}

/// What load balancing is worth where one of four nodes is four times slower than the others.
fn slow_node(report: &mut Report) -> std::io::Result<()> {
    // All four spend their time waiting, so that it does not matter how many cores this machine has, and how busy.
    let delayed = |name: &str, delay: &str| Node::start(0, "1", &["--name", name, "--load-delay", delay]);
    let mut waiting: Vec<Node> = ["node-1", "node-2", "node-3"].map(|name| delayed(name, "0.03")).into();
    waiting.push(delayed("slow", "0.12"));
    // One task for each node that waits as long as it should; of tasks that queue at one, only the first waits.
    let short = ["--shards", "3", "--epochs", "1", "--rounds", "40", "--hidden", "8"];
    report_policies(report, "one of 4 nodes waits longer", &waiting, &short)?;
    drop(waiting);

    // The same with tasks that take cores: for a machine that has one for each node.
    let cores = thread::available_parallelism()?.get();
    if cores < 4 {
        let text =
            format!("nodes that compute all the time need 4 cores to be equal, and here are {cores}: not judged");
        writeln!(std::io::stdout().lock(), "{text}")?;
        report.is_judging = false;
    }
    let long = ["--shards", "12", "--epochs", "48", "--rounds", "6", "--hidden", "128"];
    let alone = nodes(1, "0", &[]);
    let finished = Client::start(&Coordinator::of("2", &alone, &[]), &long).finish();
    let training_seconds = finished.done()["time"]["training_on_all_nodes"].as_f64().unwrap_or_default();
    drop(alone);
    let delay = format!("{:.4}", 3.0 * training_seconds / (12.0 * 6.0));
    let mut loaded = nodes(3, "0", &[]);
    loaded.push(delayed("slow", &delay));
    report_policies(report, "one of 4 nodes loaded", &loaded, &long)?;
    drop(loaded);

    let throttled = nodes(4, "0", &[]);
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let slow = &throttled[3];
        scope.spawn(|| throttle(slow, &has_ended));
        let reported = report_policies(report, "one of 4 nodes throttled", &throttled, &long);
        has_ended.store(true, Ordering::Release);
        reported
    })?;
    report.is_judging = true;
    Ok(())
}

/// The time of load balancing over that of random scheduling: medians of three runs each, in turn.
fn report_policies(report: &mut Report, what: &str, fleet: &[Node], job: &[&str]) -> std::io::Result<()> {
    let seconds = |policy: &str| {
        let coordinator = Coordinator::of(policy, fleet, &[]);
        number(&Client::start(&coordinator, job).finish(), "seconds")
    };
    let (random, balanced): (Vec<f64>, Vec<f64>) = (0..3).map(|_| (seconds("1"), seconds("2"))).unzip();
    let (random, balanced) = (median(random), median(balanced));
    let ratio = balanced / random;
    let what = format!("{what}: policy 2 {balanced:.2} s, policy 1 {random:.2} s: ratio");
    report.figure(&what, format!("{ratio:.2}"), "at most 0.7", ratio <= 0.7)
}

/// Lets a node run for a quarter of the time.
fn throttle(node: &Node, has_ended: &AtomicBool) {
    const RUNS: Duration = Duration::from_millis(20);
    while !has_ended.load(Ordering::Acquire) {
        node.freeze();
        thread::sleep(3 * RUNS);
        node.thaw();
        thread::sleep(RUNS);
    }
}

/// What it costs a program, at its start, to prove that its machine computes as defined; and a thread.
fn check(report: &mut Report) -> std::io::Result<()> {
    // The first of them, when nothing is in a cache, is what a program sees.
    let ms = |sections: &[Section], kernel| {
        let run = |_| {
            let start = Instant::now();
            for section in sections {
                black_box(section.digest_here(kernel));
            }
            start.elapsed().as_secs_f64() * 1e3
        };
        let runs: Vec<f64> = (0..9).map(run).collect();
        (runs[0], median(runs))
    };
    for kernel in Kernel::available() {
        let (first, median) = ms(&Section::ALL, kernel);
        let what = format!("start-up check, kernel {kernel}: the first {first:.2} ms, median");
        report.figure(&what, format!("{median:.2} ms"), "at most 2 ms", median <= 2.0)?;
    }
    let (_, median) = ms(&Section::OF_THREAD, Kernel::best());
    report.figure("check of a thread", format!("{median:.3} ms"), "at most 0.05 ms", median <= 0.05)
}

/// What a processor without a fused multiply-add loses: the portable kernel's time over that of AVX2, the least of each in
/// turn.
fn portable(report: &mut Report) -> std::io::Result<()> {
    let Some(avx2) = Kernel::avx2() else {
        return report.told("portable kernel against AVX2: not measured, without", "AVX2".into());
    };
    let by = |rows| NonZeroU32::new(rows).map_or(BatchSize::Full, BatchSize::Rows);
    let classic = Recipe { stop_loss_change: None, ..Recipe::CLASSIC };
    let sgd = Recipe { optimiser: Optimiser::Sgd, batch: by(128), ..Recipe::DEFAULT };
    // So few rows that an epoch falls between two turns of other processes.
    let shapes: [(&[u32], u32, _); _] = [
        (&[16, 20, 26], 1500, classic),
        (&[16, 192, 26], 320, Recipe { batch: by(32), ..Recipe::DEFAULT }),
        (&[784, 128, 10], 128, sgd),
    ];
    for (sizes, rows, recipe) in shapes {
        let (inputs, classes) = (sizes[0], sizes[sizes.len() - 1]);
        let network = Network::new(inputs, &sizes[1..sizes.len() - 1], classes).map_err(std::io::Error::other)?;
        let values: Vec<f32> = (0..rows * inputs).map(|index| (f64::from(index) * 0.7).sin() as f32).collect();
        let labels: Vec<u32> = (0..rows).map(|row| row * 7 % classes).collect();
        let rows = Rows::labelled(inputs, values, labels, classes).map_err(std::io::Error::other)?;
        let base = initialise(&network, recipe.initialisation, 1);
        let training = Training {
            arithmetic: ARITHMETIC,
            network,
            recipe: Recipe { epochs: 1, ..recipe },
            seed: 1,
            class_weights: Vec::new(),
        };
        let mut timed = [avx2, Kernel::PORTABLE].map(|kernel| (Trainer::new(kernel), f64::MAX));
        for _ in 0..99 {
            for (trainer, least) in &mut timed {
                let start = Instant::now();
                trainer.train(&training, 0, 0, &base, &rows, &mut Unwatched).map_err(std::io::Error::other)?;
                *least = least.min(start.elapsed().as_secs_f64());
            }
        }
        let [avx2_ms, portable_ms] = timed.map(|(_, seconds)| seconds * 1e3);
        let ratio = portable_ms / avx2_ms;
        let shape = sizes.iter().map(u32::to_string).collect::<Vec<_>>().join("-");
        let what = format!("{shape}: portable {portable_ms:.2} ms, avx2 {avx2_ms:.2} ms: ratio");
        report.figure(&what, format!("{ratio:.1}"), "at most 30", ratio <= 30.0)?;
    }
    Ok(())
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
    report.figure("compute_node without default features: file", format!("{mb:.3} MB"), "at most 1.1 MB", mb <= 1.1)?;
    let tree = cargo()
        .args(["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    let text = String::from_utf8_lossy(&tree.stdout).replace(" (*)", "");
    let crates: std::collections::BTreeSet<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    report.figure("compute_node: crates", crates.len().to_string(), "at most 30", crates.len() <= 30)
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

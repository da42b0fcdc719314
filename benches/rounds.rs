//! What a round costs that trains next to nothing: its messages, its weights' way to the nodes, the updates' way back,
//! merging; how long a new client waits for its first; what the coordinator takes of memory for it; and which part of a job
//! with much to train is training.
//!
//! `cargo bench --bench rounds [-- NAME]`: small, first, large, memory, large-profile or steps; without a name all of them, some
//! minutes. Every program of a fleet runs on one core, the last that this process may use: the sum of what all of them
//! spend. In large-profile the node has another to itself, and in steps all of them have both. No divan here: it times a
//! function that it calls again and again, and these figures are what a fleet of programs tells of a job.

mod common;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::clients::{Client, Finished};
use common::processes::{cores, pin_to};
use common::servers::{Coordinator, nodes};
use gradwire::model::train::Unwatched;
use gradwire::model::{ARITHMETIC, BatchSize, Kernel, Network, Recipe, Rows, Trainer, Training, initialise};

/// Measures, and says what. Besides the core that all programs run on there may be another.
type Measure = fn(Option<usize>) -> std::io::Result<()>;
const ALL: [(&str, Measure); 6] = [
    ("small", small),
    ("first", first),
    ("large", large),
    ("memory", memory),
    ("large-profile", large_profile),
    ("steps", steps),
];

fn main() -> ExitCode {
    let cores = common::processes::cores();
    let other_core = cores.first().copied().filter(|first| Some(first) != cores.last());
    common::processes::pin_this_thread();
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
    writeln!(std::io::stdout().lock(), "{what:84} {got:>14}   {goal}")
}

/// A job of tasks of one row each, one epoch: what its rounds take is not training.
fn idle_job(coordinator: &Coordinator, shards: usize, hidden: &str, rounds: &str) -> std::io::Result<Finished> {
    let directory = tempfile::tempdir()?;
    Ok(start_idle_job(coordinator, &directory, shards, hidden, rounds)?.finish())
}

/// The same, under way, its rows in this directory.
fn start_idle_job(
    coordinator: &Coordinator,
    directory: &tempfile::TempDir,
    shards: usize,
    hidden: &str,
    rounds: &str,
) -> std::io::Result<Client> {
    let path = directory.path().join("rows.csv");
    // Four classes, so that there may be four shards and more; the last rows validate.
    let features = |row: usize| (0..10).map(|column| ((row * 7 + column) % 5).to_string() + ",").collect::<String>();
    let rows: String = (0..shards + 8).map(|row| format!("{}class-{}\n", features(row), row % 4)).collect();
    std::fs::write(&path, rows)?;
    let (path, shards) = (path.to_string_lossy().into_owned(), shards.to_string());
    let data = ["--data", &path, "--validate-split", "last:8", "--shards", &shards];
    let recipe = ["--hidden", hidden, "--rounds", rounds, "--epochs", "1", "--batch", "0", "--eta", "0.0001"];
    Ok(Client::start(coordinator, &[&data[..], &recipe].concat()))
}

/// The median round of a job, without the first, which brings the shards, in milliseconds.
fn round_ms(finished: &Finished) -> f64 {
    finished.done();
    let rounds = finished.events.iter().filter(|event| event["event"] == "round");
    let mut seconds: Vec<f64> = rounds.skip(1).filter_map(|round| round["seconds"].as_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).map_or(f64::NAN, |seconds| seconds * 1e3)
}

/// Two hidden layers of so many neurons make 10,004,509 parameters with the idle job's rows, and 30,008,424.
const LARGE: u64 = 3155;
const LARGER: u64 = 5470;
/// Rows of a step of merged gradients: sixteen blocks.
const STEP_ROWS: usize = 2_048;

fn parameters(width: u64) -> u64 {
    10 * width + width * width + 4 * width + 2 * width + 4
}

fn small(_: Option<usize>) -> std::io::Result<()> {
    let fleet = nodes(4, "0", &[]);
    let finished = idle_job(&Coordinator::of("2", &fleet, &[]), 4, "20", "200")?;
    let got = format!("{:.3} ms", round_ms(&finished));
    say("a round that trains nothing, 4 nodes, 304 parameters", &got, "goal 0.5 ms")
}

/// From a client's start, and from its job's acceptance, to the word on its first round, at a fleet that has been at rest: no
/// beat of anybody's is waited for.
fn first(_: Option<usize>) -> std::io::Result<()> {
    const JOBS: usize = 31;
    const REST: Duration = Duration::from_millis(300);
    let fleet = nodes(4, "0", &[]);
    let coordinator = Coordinator::of("2", &fleet, &[]);
    let directory = tempfile::tempdir()?;
    let (mut from_start, mut from_acceptance) = (Vec::new(), Vec::new());
    for _ in 0..JOBS {
        std::thread::sleep(REST);
        let start = Instant::now();
        let mut client = start_idle_job(&coordinator, &directory, 4, "20", "2")?;
        client.await_accepted();
        let accepted = Instant::now();
        client.await_round();
        from_start.push(start.elapsed());
        from_acceptance.push(accepted.elapsed());
        client.finish().done();
    }
    for (since, mut took) in [("its client's start", from_start), ("acceptance", from_acceptance)] {
        took.sort();
        for (which, index, goal) in [("median", JOBS / 2, ""), ("nine of ten within", JOBS * 9 / 10, "goal 50 ms")] {
            let what = format!("a job's first round at a fleet at rest, from {since}: {which}");
            say(&what, &format!("{:.1} ms", took[index].as_secs_f64() * 1e3), goal)?;
        }
    }
    Ok(())
}

fn large(_: Option<usize>) -> std::io::Result<()> {
    let fleet = nodes(4, "0", &[]);
    let hidden = format!("{LARGE},{LARGE}");
    let finished = idle_job(&Coordinator::of("2", &fleet, &[]), 4, &hidden, "10")?;
    let got = format!("{:.0} ms", round_ms(&finished));
    say("a round that trains nothing, 4 nodes, 10,004,509 parameters", &got, "goal 450 ms")
}

/// The coordinator's peak with many nodes and shards, beside what the weights take.
fn memory(_: Option<usize>) -> std::io::Result<()> {
    // A node with the larger network takes a gigabyte.
    for (width, fleet, shards) in [(LARGE, 2, 4), (LARGE, 4, 16), (LARGE, 16, 16), (LARGER, 2, 4), (LARGER, 4, 8)] {
        let nodes = nodes(fleet, "0", &["--cache", "64"]);
        let coordinator = Coordinator::of("2", &nodes, &[]);
        idle_job(&coordinator, shards, &format!("{width},{width}"), "2")?.done();
        let parameters = parameters(width);
        let what = format!("the coordinator's peak, {parameters} parameters, {fleet} nodes, {shards} shards");
        let got = coordinator.peak_memory_kib().map_or("unknown".to_owned(), |kib| {
            let bytes = kib as f64 * 1024.0;
            format!("{:.0} MB, {:.2} x", bytes * 1e-6, bytes / (4 * parameters) as f64)
        });
        say(&what, &got, "goal 5.5 times the weights")?;
    }
    [1, 4, 16].into_iter().try_for_each(memory_of_steps)
}

/// The same of merged gradients and Adam, whatever steps are cut into; and what a node takes.
fn memory_of_steps(tasks: usize) -> std::io::Result<()> {
    let nodes = nodes(2, "0", &["--cache", "64", "--workers", "1"]);
    let coordinator = Coordinator::of("2", &nodes, &[]);
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("rows.csv");
    let features = |row: usize| (0..10).map(|column| ((row * 7 + column) % 5).to_string() + ",").collect::<String>();
    let rows: String = (0..STEP_ROWS + 8).map(|row| format!("{}class-{}\n", features(row), row % 4)).collect();
    std::fs::write(&path, rows)?;
    let (path, tasks, batch) = (path.to_string_lossy().into_owned(), tasks.to_string(), STEP_ROWS.to_string());
    let (hidden, parameters) = (format!("{LARGE},{LARGE}"), parameters(LARGE));
    let data = ["--data", &path, "--validate-split", "last:8", "--test", "none"];
    let job = ["--hidden", &hidden, "--rounds", "2", "--batch", &batch, "--tasks-per-step", &tasks];
    Client::start(&coordinator, &[&data[..], &job].concat()).finish().done();
    let of_weights = |kib: Option<u64>| {
        kib.map_or("unknown".to_owned(), |kib| format!("{:.2} x", kib as f64 * 256.0 / parameters as f64))
    };
    let what = format!("{parameters} parameters, steps of gradients, tasks a step: {tasks}");
    let peak = of_weights(coordinator.peak_memory_kib());
    say(&format!("the coordinator's peak, {what}"), &peak, "goal 7.5 times the weights")?;
    let most = nodes.iter().filter_map(|node| node.peak_memory_kib()).max();
    say(&format!("a node's peak, {what}"), &of_weights(most), "")
}

/// Where the time of a job goes that has one node with a core of its own, and four shards for it: what is not training is
/// what the node has to wait for. With many rows to train on, and with so few that a task is two batches.
fn large_profile(other_core: Option<usize>) -> std::io::Result<()> {
    let fleet = nodes(1, "0", &[]);
    if !other_core.is_some_and(|core| common::processes::pin(fleet[0].pid(), core)) {
        eprintln!(
            "there is no second core, or no taskset: the node shares its core with the coordinator and the client"
        );
    }
    let coordinator = Coordinator::of("2", &fleet, &[]);
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("rows.csv");
    for (rows, rounds) in [(8_000, "10"), (1_024, "40")] {
        // A fifth of them validates.
        write_digits(&path, rows / 4 * 5)?;
        let path = path.to_string_lossy().into_owned();
        let job = ["--data", &path, "--shards", "4", "--hidden", "512,512", "--epochs", "1", "--batch", "128"];
        let finished = Client::start(&coordinator, &[&job[..], &["--rounds", rounds]].concat()).finish();
        let done = finished.done();
        let (profile, seconds) = (&done["profile"], done["seconds"].as_f64().unwrap_or(f64::NAN));
        for part in ["prepare", "compute", "wire", "stragglers", "no_nodes", "merge", "validate"] {
            let share = 100.0 * profile[format!("{part}_s")].as_f64().unwrap_or(f64::NAN) / seconds;
            let what = format!("784-512-512-10, {rows} rows in 4 shards for one node: {part}");
            let word = match part {
                "compute" if share >= 75.0 => "at least 75 %   ok",
                "compute" => "at least 75 %   MISSED",
                _ => "",
            };
            say(&what, &format!("{share:.1} %"), word)?;
        }
    }
    Ok(())
}

/// Steps of merged gradients of a large network, on two nodes of one worker each, beside one core that trains alone: without
/// network, and without exact sums.
fn steps(other_core: Option<usize>) -> std::io::Result<()> {
    const ROWS: usize = 16_384;
    let all: Vec<usize> = other_core.into_iter().chain(cores().last().copied()).collect();
    // What is started from here on may use both cores.
    let is_free = pin_to(std::process::id(), &all);
    let fleet = nodes(2, "0", &["--workers", "1"]);
    let coordinator = Coordinator::of("2", &fleet, &[]);
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("rows.csv");
    write_digits(&path, ROWS + 64)?;
    let path = path.to_string_lossy().into_owned();
    let alone = rows_a_second_alone(8_192);
    say("784-512-512-10, one core alone, batches of 8,192", &format!("{alone:.0} rows/s"), "")?;
    for (batch, rounds) in [("1024", "10"), ("8192", "10")] {
        let data = ["--data", &path, "--validate-split", "last:64", "--test", "none", "--shards", "4"];
        let job = ["--hidden", "512,512", "--batch", batch, "--rounds", rounds];
        let finished = Client::start(&coordinator, &[&data[..], &job].concat()).finish();
        let rows_a_second = ROWS as f64 / round_ms(&finished) * 1e3;
        let what = format!("784-512-512-10, two nodes, merged steps of {batch} rows");
        let word = match (batch, rows_a_second / alone) {
            ("8192", ratio) if is_free => format!("{ratio:.2} times the core, at least 1.5"),
            (_, ratio) => format!("{ratio:.2} times the core"),
        };
        say(&what, &format!("{rows_a_second:.0} rows/s"), &word)?;
    }
    common::processes::pin_this_thread();
    Ok(())
}

/// What one core trains of the large network's rows, the best of some batches.
fn rows_a_second_alone(batch: u32) -> f64 {
    let network = Network::new(784, &[512, 512], 10).expect("a network within the limits");
    let values: Vec<f32> = (0..batch * 784).map(|i| (f64::from(i) * 0.7).sin() as f32).collect();
    let labels: Vec<u32> = (0..batch).map(|row| row % 10).collect();
    let rows = Rows::labelled(784, values, labels, 10).expect("rows as they should be");
    let base = initialise(&network, Recipe::DEFAULT.initialisation, 1);
    let batch_rows = BatchSize::Rows(batch.try_into().expect("rows"));
    let recipe = Recipe { batch: batch_rows, epochs: 1, ..Recipe::DEFAULT };
    let training = Training { arithmetic: ARITHMETIC, network, recipe, seed: 1, class_weights: Vec::new() };
    let mut trainer = Trainer::new(Kernel::best());
    let mut took = || {
        let start = Instant::now();
        trainer.train(&training, 0, 0, &base, &rows, &mut Unwatched).expect("a task that can be trained");
        start.elapsed().as_secs_f64()
    };
    f64::from(batch) / (0..5).map(|_| took()).fold(f64::INFINITY, f64::min)
}

/// Rows like those of written digits: 784 features from 0 to 255, most of them 0, and ten classes.
fn write_digits(path: &std::path::Path, rows: usize) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 24
    };
    for row in 0..rows {
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

//! What a coordinator spends on a fleet: rounds of a real job, on a real coordinator in a process of its own, with
//! simulated nodes that answer when their time is up. A table of round times beside the best that any coordinator could
//! do, and of what the coordinator used meanwhile.
//!
//! `cargo bench --bench fleet [-- engine | small | large]`; within three minutes for all, whatever happens: jobs that there is no
//! time for are left out, and named. Linux only: it reads /proc. With `taskset` there, the coordinator has one core to
//! itself, and the nodes and the client share another; `NODES` is the processor time of those, which should be well
//! below a round's time, or they are what is measured.
//!
//! `BEST` is how long the round's tasks take on the nodes if nothing else takes time and every task is given to the right
//! node; `OVER` is what the round took beyond that, and `US/TASK` the same for each task.

mod common;
#[path = "fleet/deciding.rs"]
mod deciding;
#[path = "fleet/nodes.rs"]
mod nodes;
#[allow(dead_code, reason = "another bench uses the rest")]
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::clients::Client;
use common::processes::{holdings, pin, processor_time};
use common::servers::Coordinator;
use nodes::{Nodes, Work};

/// No job begins after this.
const LAST_BEGIN: Duration = Duration::from_secs(130);
/// A job is given up when it lasts longer.
const JOB_MAX: Duration = Duration::from_secs(20);
/// Rounds that are not counted: the first tasks of every node come in them, and the slow ones are found out.
const WARM_UP: usize = 3;

/// A model, and what is asked of it.
struct Model {
    name: &'static str,
    hidden: &'static str,
    /// How long a task takes, where it takes time.
    time: Duration,
    /// Nodes, and rounds counted with tasks that take no time.
    fleets: &'static [(usize, usize)],
    /// Rounds counted with tasks that take time.
    rounds: usize,
}

/// Four features, two classes.
const MODELS: &[Model] = &[
    Model {
        name: "small",
        hidden: "64",
        time: Duration::from_millis(100),
        fleets: &[(10, 400), (100, 200), (1_000, 30)],
        rounds: 20,
    },
    Model {
        name: "large",
        hidden: "1000,992",
        time: Duration::from_millis(300),
        fleets: &[(10, 20), (30, 10), (100, 4)],
        rounds: 4,
    },
];

fn main() -> ExitCode {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let began = Instant::now();
    if wanted.as_deref().is_none_or(|wanted| wanted == "engine")
        && let Err(error) = deciding::measure()
    {
        eprintln!("the engine cannot be measured: {error}");
        return ExitCode::FAILURE;
    }
    for model in MODELS.iter().filter(|model| wanted.as_deref().is_none_or(|wanted| wanted == model.name)) {
        if let Err(error) = measure(model, began) {
            eprintln!("{} cannot be measured: {error}", model.name);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// All fleets with one model.
fn measure(model: &Model, began: Instant) -> io::Result<()> {
    let mut has_head = false;
    for &(count, rounds) in model.fleets {
        if began.elapsed() > LAST_BEGIN {
            eprintln!("no time is left for {count} nodes with the {} model", model.name);
            continue;
        }
        // What is started from here on is on the nodes' core until it is put elsewhere.
        let is_pinned = pin(std::process::id(), 0);
        let nodes = Nodes::start(count)?;
        let coordinator = Coordinator::start("2", &nodes.ports(), &[]);
        let is_pinned = is_pinned && pin(coordinator.pid(), 1);
        if !std::mem::replace(&mut has_head, true) {
            let cores = if is_pinned { "a core of its own" } else { "the machine with the nodes" };
            head(&format!("{} model (hidden {}); the coordinator has {cores}", model.name, model.hidden))?;
        }
        for port in nodes.ports() {
            coordinator.await_line(&format!("is active at 127.0.0.1:{port}"));
        }
        let none = Work { time: Duration::ZERO, is_mixed: false };
        let even = Work { time: model.time, is_mixed: false };
        let mixed = Work { time: model.time, is_mixed: true };
        for (work, what, rounds) in
            [(none, "none", rounds), (even, "even", model.rounds), (mixed, "mixed", model.rounds)]
        {
            if began.elapsed() > LAST_BEGIN {
                eprintln!("no time is left for {count} nodes with the {} model, work {what}", model.name);
                continue;
            }
            nodes.set_work(work);
            let measured = run(model, &coordinator, count, rounds)?;
            measured.show(count, what, work.least_time(count, count), nodes.take_rejections())?;
        }
    }
    Ok(())
}

fn head(title: &str) -> io::Result<()> {
    writeln!(
        io::stdout().lock(),
        "{title}\n{:>5}  {:5}  {:>6}  {:>9}  {:>8}  {:>9}  {:>8}  {:>8}  {:>8}  {:>8}  {:>7}  {:>6}  {:>7}  {:>5}  {:>8}",
        "NODES",
        "WORK",
        "ROUNDS",
        "ROUND MS",
        "BEST MS",
        "OVER MS",
        "US/TASK",
        "CPU MS",
        "CPU US/T",
        "NODES MS",
        "PEAK MIB",
        "NOW",
        "THREADS",
        "FDS",
        "REJECTED"
    )
}

/// What a job took.
struct Measured {
    /// Of the rounds that count, the middle one.
    round: Duration,
    rounds: usize,
    /// The coordinator's processor time, a round.
    processor: Duration,
    /// That of this process.
    nodes_processor: Duration,
    peak_mib: u64,
    now_mib: u64,
    threads: u64,
    descriptors: u64,
}

/// A job of as many shards as nodes.
fn run(model: &Model, coordinator: &Coordinator, count: usize, rounds: usize) -> io::Result<Measured> {
    let directory = tempfile::tempdir()?;
    let path = common::tables::file_in(&directory, "rows.csv");
    let row = |row: usize| format!("{},{},{},{},{}\n", row % 7, row % 5, row % 3, row % 11, row % 2);
    std::fs::write(&path, "a,b,c,d,side\n".to_owned() + &(0..count * 2 + 20).map(row).collect::<String>())?;
    let path = path.to_string_lossy();
    let (shards, all_rounds) = (count.to_string(), (rounds + WARM_UP).to_string());
    let options = ["--data", &*path, "--validate-split", "last:20", "--hidden", model.hidden];
    // Simulated nodes answer with updates, and know no gradients.
    let job = ["--epochs", "1", "--shards", &*shards, "--rounds", &*all_rounds];
    let mut client = Client::start(coordinator, &[&options[..], &job[..]].concat());
    let began = Instant::now();
    for _ in 0..WARM_UP {
        client.await_round();
    }
    let (spent, nodes_spent) = (processor_time(coordinator.pid())?, processor_time(std::process::id())?);
    let mut times: Vec<f64> = Vec::new();
    while times.len() < rounds && began.elapsed() < JOB_MAX {
        times.extend(client.await_round()["seconds"].as_f64());
    }
    let count = times.len();
    let held = holdings(coordinator.pid())?;
    let spent = processor_time(coordinator.pid())?.saturating_sub(spent);
    let nodes_spent = processor_time(std::process::id())?.saturating_sub(nodes_spent);
    if count < rounds {
        return Err(io::Error::other(format!("{rounds} rounds last longer than {JOB_MAX:?}: {count} are done")));
    }
    client.finish().done();
    times.sort_by(f64::total_cmp);
    Ok(Measured {
        round: Duration::from_secs_f64(times[count / 2]),
        rounds: count,
        processor: spent / count as u32,
        nodes_processor: nodes_spent / count as u32,
        peak_mib: held.peak_memory_kib >> 10,
        now_mib: held.memory_kib >> 10,
        threads: held.threads,
        descriptors: held.descriptors,
    })
}

impl Measured {
    fn show(&self, count: usize, work: &str, best: Duration, rejections: u64) -> io::Result<()> {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let us_a_task = |time_ms: f64| time_ms * 1e3 / count as f64;
        let over_ms = ms(self.round) - ms(best);
        writeln!(
            io::stdout().lock(),
            "{count:>5}  {work:5}  {:>6}  {:>9.2}  {:>8.1}  {over_ms:>9.2}  {:>8.0}  {:>8.2}  {:>8.0}  {:>8.2}  {:>7}  {:>6}  {:>7}  {:>5}  {rejections:>8}",
            self.rounds,
            ms(self.round),
            ms(best),
            us_a_task(over_ms),
            ms(self.processor),
            us_a_task(ms(self.processor)),
            ms(self.nodes_processor),
            self.peak_mib,
            self.now_mib,
            self.threads,
            self.descriptors,
        )
    }
}

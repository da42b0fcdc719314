//! What a slow network costs a job, and what less talk on it costs the model: jobs of as many passes over the rows, of which
//! the nodes speak after every batch, after some, or after each pass.
//!
//! `cargo bench --bench network [-- letters | large]`; within six minutes, whatever happens: jobs that there is no time for are
//! left out, and named. Coordinator, nodes and client are the real programs, all on this machine; between the coordinator and
//! each node is a link in user space, of a gigabit a second and a millisecond one way. `network/link.rs` says what of a network
//! it models. The client reaches its coordinator without one.
//!
//! `MERGES` is how often the nodes' work is merged: each time, weights travel to every node, and what came of them back.
//! `WIRE` and `WAITING` are parts of the time by the job's profile: transfers and tasks that wait at nodes, and nodes that
//! wait for the last; `ADVICE` is what the client advises after the job. The nodes share this machine's cores: where they train
//! much, a fleet takes less time.

mod common;
#[path = "network/link.rs"]
mod link;

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use common::clients::Client;
use common::processor::processor;
use common::servers::{Coordinator, nodes};
use link::{SlowLink, Speed};

const NODES: usize = 4;
const SPEED: Speed = Speed { bits_per_second: 1_000_000_000, delay: Duration::from_millis(1) };

/// No job begins after this.
const LAST_BEGIN: Duration = Duration::from_secs(270);
/// A job is given up when it lasts until this.
const LAST_END: Duration = Duration::from_secs(345);

/// What of the letters is trained, and how often its rows are gone through.
struct Model {
    name: &'static str,
    network: &'static str,
    hidden: &'static str,
    passes: u32,
}

const MODELS: [Model; 2] = [
    Model { name: "letters", network: "16-192-26, 8,282 parameters", hidden: "192", passes: 40 },
    Model { name: "large", network: "16-512-512-26, 284,698 parameters", hidden: "512,512", passes: 12 },
];

/// What is asked for, and what it comes to.
struct Job {
    options: &'static str,
    /// What happens between two merges.
    between: &'static str,
    /// Passes over the rows in a round.
    passes: u32,
    /// Whether it has as many rounds as the others, and so more passes.
    keeps_rounds: bool,
}

const fn job(options: &'static str, between: &'static str) -> Job {
    Job { options, between, passes: 1, keeps_rounds: false }
}

const JOBS: [Job; 8] = [
    job("", "one batch of all shards: its gradients"),
    job("--local-steps 2", "2 batches of each shard"),
    job("--local-steps 4", "4 batches of each shard"),
    job("--local-steps 8", "8 batches of each shard"),
    job("--local-steps 16", "16 batches of each shard"),
    job("--epochs 1", "a pass over each shard"),
    Job { passes: 3, ..job("--epochs 3", "3 passes over each shard") },
    Job { passes: 3, keeps_rounds: true, ..job("--epochs 3", "the same, with as many rounds") },
];

impl Job {
    fn rounds(&self, model: &Model) -> u32 {
        if self.keeps_rounds { model.passes } else { model.passes / self.passes }
    }
}

fn main() -> ExitCode {
    // cargo passes options of its own; a word is ours.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if let Some(wanted) = &wanted
        && !MODELS.iter().any(|model| model.name == wanted)
    {
        eprintln!("nothing has this name: there are {}", MODELS.map(|model| model.name).join(", "));
        return ExitCode::FAILURE;
    }
    match measure(wanted.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the network cannot be measured: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(wanted: Option<&str>) -> io::Result<()> {
    let begin = Instant::now();
    let cores = common::processes::cores().len();
    say(&format!("on {}, {cores} cores", processor()))?;
    let (there_and_back, bits) = prove(SPEED)?;
    say(&format!(
        "{NODES} nodes, each behind a link of {} Gbit/s and {} ms one way: a byte takes {:.2} ms there and back, 16 MiB come \
         at {:.2} Gbit/s",
        SPEED.bits_per_second / 1_000_000_000,
        SPEED.delay.as_millis(),
        there_and_back.as_secs_f64() * 1e3,
        bits * 1e-9
    ))?;
    let nodes = nodes(NODES, "0", &[]);
    let links: Vec<SlowLink> = nodes.iter().map(|node| SlowLink::to(node.port, SPEED)).collect::<io::Result<_>>()?;
    let ports: Vec<u16> = links.iter().map(|link| link.port).collect();
    let coordinator = Coordinator::with_all_active(&ports, &["--no-state"]);
    for model in MODELS.iter().filter(|model| wanted.is_none_or(|wanted| wanted == model.name)) {
        say(&format!("\n{}: {}", model.name, model.network))?;
        say(&format!(
            "{:16}  {:>6}  {:>6}  {:38}  {:>8}  {:>7}  {:>4}  {:>7}  ADVICE",
            "OPTIONS", "PASSES", "MERGES", "BETWEEN TWO MERGES", "ACCURACY", "SECONDS", "WIRE", "WAITING"
        ))?;
        for job in JOBS {
            say(&format!(
                "{:16}  {}",
                if job.options.is_empty() { "none" } else { job.options },
                row(&coordinator, model, &job, begin)
            ))?;
        }
    }
    Ok(())
}

/// A job's line, behind its options.
fn row(coordinator: &Coordinator, model: &Model, job: &Job, begin: Instant) -> String {
    if begin.elapsed() > LAST_BEGIN {
        return "left out: there is no time for it".to_owned();
    }
    let rounds = job.rounds(model);
    let Some(came_of) = train(coordinator, model, job.options, rounds, begin + LAST_END) else {
        return "given up: it takes too long".to_owned();
    };
    let CameOf { merges, accuracy, seconds, wire, waiting, advice } = came_of;
    format!(
        "{:>6}  {merges:>6}  {:38}  {:>6.2} %  {seconds:>7.2}  {:>2.0} %  {:>5.0} %  {advice}",
        rounds * job.passes,
        job.between,
        accuracy * 100.0,
        wire * 100.0,
        waiting * 100.0
    )
}

/// What came of a job.
struct CameOf {
    merges: u64,
    accuracy: f64,
    seconds: f64,
    /// Parts of the time.
    wire: f64,
    waiting: f64,
    /// The options that the client advises to try.
    advice: String,
}

/// Trains it; nothing if it lasts too long.
fn train(coordinator: &Coordinator, model: &Model, options: &str, rounds: u32, until: Instant) -> Option<CameOf> {
    let count = rounds.to_string();
    let all: Vec<&str> = ["--validate-split", "last:3500", "--hidden", model.hidden, "--rounds", &count]
        .into_iter()
        .chain(options.split_whitespace())
        .collect();
    let mut client = Client::start(coordinator, &all);
    let accepted = client.await_accepted();
    for _ in 0..rounds {
        client.await_round();
        if Instant::now() > until {
            client.kill();
            return None;
        }
    }
    let finished = client.finish();
    let (done, number) = (finished.done(), |value: &serde_json::Value| value.as_f64().unwrap_or(f64::NAN));
    let seconds = number(&done["seconds"]);
    let part = |name: &str| number(&done["profile"][name]) / seconds;
    Some(CameOf {
        merges: u64::from(rounds) * round_steps(coordinator, accepted["job"].as_str()?),
        accuracy: number(&done["validation_accuracy"]),
        seconds,
        wire: part("wire_s"),
        waiting: part("stragglers_s"),
        advice: done["advice"]["options"].as_str().unwrap_or("-").to_owned(),
    })
}

/// Steps of a job's round; a round of epochs is one.
fn round_steps(coordinator: &Coordinator, job: &str) -> u64 {
    let asked = common::clients::client(["127.0.0.1", &coordinator.port.to_string(), "job", job, "--json"]);
    let told: serde_json::Value = serde_json::from_str(&asked.stdout).unwrap_or_default();
    told["round_steps"].as_u64().unwrap_or(1)
}

/// What a link really does: how long a byte takes there and back, and how many bits a second come through.
fn prove(speed: Speed) -> io::Result<(Duration, f64)> {
    const TRIES: u32 = 50;
    const BYTES: usize = 16 << 20;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let link = SlowLink::to(listener.local_addr()?.port(), speed)?;
    let echo = thread::spawn(move || -> io::Result<()> {
        let (mut caller, _) = listener.accept()?;
        caller.set_nodelay(true)?;
        let mut byte = [0];
        for _ in 0..TRIES {
            caller.read_exact(&mut byte)?;
            caller.write_all(&byte)?;
        }
        let mut all = vec![0; BYTES];
        caller.read_exact(&mut all)?;
        caller.write_all(&byte)
    });
    let mut caller = TcpStream::connect((Ipv4Addr::LOCALHOST, link.port))?;
    caller.set_nodelay(true)?;
    let mut byte = [0];
    let start = Instant::now();
    for _ in 0..TRIES {
        caller.write_all(&byte)?;
        caller.read_exact(&mut byte)?;
    }
    let there_and_back = start.elapsed() / TRIES;
    let start = Instant::now();
    caller.write_all(&vec![0; BYTES])?;
    caller.read_exact(&mut byte)?;
    let seconds = (start.elapsed().saturating_sub(there_and_back)).as_secs_f64();
    echo.join().map_err(|_| io::Error::other("the echo has a fault"))??;
    Ok((there_and_back, (BYTES * 8) as f64 / seconds))
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

//! The client: submits a job and shows it. Owns its arguments; the rest is `gradwire::client`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::Parser;
use gradwire::cli::{self, Exit, Failure, Interrupts};
use gradwire::client::{self, Options, Output, RecipeName, Target, local};
use gradwire::config::{self, Name};
use gradwire::dataset::ValidationSplit;
use gradwire::engine::Policy;
use gradwire::job::{JobId, OnTaskFailure, ROUNDS_MAX, SHARDS_MAX};
use gradwire::model::Kernel;
use gradwire::model::recipe::{BATCH_ROWS_MAX, EPOCHS_MAX};

/// Trains a neural network on the nodes of a gradwire coordinator, or, with --local, within this process.
#[derive(Parser)]
#[command(version, override_usage = "client <IP> <PORT> [OPTIONS]\n       client --local <N> [OPTIONS]")]
struct Arguments {
    /// Coordinator's IP address or name
    #[arg(required_unless_present = "local", conflicts_with = "local", requires = "port")]
    ip: Option<String>,
    /// Coordinator's port
    #[arg(value_parser = config::parse_port)]
    port: Option<u16>,
    /// Run a coordinator and N nodes inside this process, over TCP on free loopback ports
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(local::NODES_MAX)))]
    local: Option<u32>,
    /// Data: a CSV file with numeric features and the label in the last column; without it, the built-in letters
    #[arg(long, value_name = "FILE.csv")]
    data: Option<PathBuf>,
    /// What the other options default to: default or classic
    #[arg(long, default_value = "default")]
    recipe: RecipeName,
    /// Rounds: so often are the shards trained and merged [default: 40; classic: 25]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(ROUNDS_MAX)))]
    rounds: Option<u32>,
    /// Passes over its shard in each task [default: 3; classic: 15]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(EPOCHS_MAX)))]
    epochs: Option<u32>,
    /// Widths of the hidden layers, like 64,32; "none" for no hidden layer [default: 192; classic: 20]
    #[arg(long, value_name = "W,...")]
    hidden: Option<Hidden>,
    /// Learning rate [default: 0.01; classic: 0.0001]
    #[arg(long, allow_negative_numbers = true)]
    eta: Option<f32>,
    /// Rows of a batch; 0 is the whole shard [default: 32; classic: 0]
    #[arg(long, value_name = "ROWS", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(0..=i64::from(BATCH_ROWS_MAX)))]
    batch: Option<u32>,
    /// Shards that the training rows are cut into [default: 4; classic: 11]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(SHARDS_MAX)))]
    shards: Option<u32>,
    /// Every random choice follows from it: the same command gives the same model
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rows that validate: a stratified fraction (0.2), or the file's last (last:0.2, last:3500)
    /// [default: 0.2; built-in data: last:3500; classic: last:0.2]
    #[arg(long, value_name = "SPLIT")]
    validate_split: Option<ValidationSplit>,
    /// What happens to a task that no node can do: fail or skip
    #[arg(long, value_name = "WHAT", default_value = "fail", value_parser = on_task_failure)]
    on_task_failure: OnTaskFailure,
    /// Let nodes of another arithmetic help; the result is then not reproducible
    #[arg(long)]
    allow_inexact: bool,
    /// Start from the weights of this model
    #[arg(long, value_name = "FILE.safetensors")]
    start_from: Option<PathBuf>,
    /// Save the model here
    #[arg(long, value_name = "FILE.safetensors")]
    out: Option<PathBuf>,
    /// The job's id, 32 hexadecimal digits: attaches to the job if the coordinator knows it
    #[arg(long, value_name = "ID")]
    job: Option<JobId>,
    /// Print the result alone
    #[arg(long, conflicts_with = "json")]
    quiet: bool,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
    /// Show where the job's time went; --json always does
    #[arg(long, conflicts_with = "quiet")]
    profile: bool,
    /// The cluster that the coordinator must belong to
    #[arg(long, value_name = "NAME")]
    cluster: Option<Name>,
    /// With --local: how tasks are handed out, 1 (random) or 2 (load-balancing)
    #[arg(long, default_value = "2", requires = "local")]
    policy: Policy,
    /// With --local: machine code for the arithmetic: auto, avx512, avx2 or portable; the bits are the same
    #[arg(long, default_value = "auto", requires = "local")]
    kernel: Kernel,
}

/// Widths of hidden layers, as typed.
#[derive(Clone)]
struct Hidden(Vec<u32>);

impl FromStr for Hidden {
    type Err = String;

    fn from_str(text: &str) -> Result<Hidden, String> {
        if text == "none" {
            return Ok(Hidden(Vec::new()));
        }
        let widths: Result<Vec<u32>, _> = text.split(',').map(|width| width.trim().parse()).collect();
        widths.map(Hidden).map_err(|_| "hidden layers are whole numbers with commas between, like 64,32".to_owned())
    }
}

fn on_task_failure(text: &str) -> Result<OnTaskFailure, String> {
    match text {
        "fail" => Ok(OnTaskFailure::Fail),
        "skip" => Ok(OnTaskFailure::Skip),
        _ => Err("a task that no node can do lets the job fail, or is skipped: fail or skip".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What a person must know, the client says itself; with --local the servers' log would say it twice.
    cli::start_log("client", log::LevelFilter::Error);
    cli::exit("client", run(arguments))
}

fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let interrupts = Interrupts::catch()?.into_messages()?;
    let options = Options {
        data: arguments.data,
        recipe: arguments.recipe,
        rounds: arguments.rounds,
        epochs: arguments.epochs,
        hidden: arguments.hidden.map(|hidden| hidden.0),
        eta: arguments.eta,
        batch: arguments.batch,
        shards: arguments.shards,
        seed: arguments.seed,
        validate_split: arguments.validate_split,
        on_task_failure: arguments.on_task_failure,
        allow_inexact: arguments.allow_inexact,
        start_from: arguments.start_from,
        out: arguments.out,
        job: arguments.job,
        output: match (arguments.quiet, arguments.json) {
            (true, _) => Output::Quiet,
            (_, true) => Output::Json,
            _ => Output::Table,
        },
        profile: arguments.profile,
        cluster: arguments.cluster,
    };
    match (arguments.local, arguments.ip, arguments.port) {
        (Some(nodes), ..) => {
            let house = local::House { nodes, policy: arguments.policy, kernel: arguments.kernel };
            local::train(house, &options, &interrupts)
        }
        (None, Some(host), Some(port)) => client::train(&Target { host, port }, &options, &interrupts),
        _ => Err(Failure::new(Exit::Usage, "name the coordinator's ip and port, or --local N")),
    }
}

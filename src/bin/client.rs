//! The client: submits a job and shows it, and asks about others. Owns its arguments; the rest is `gradwire::client`.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser};
use gradwire::cli::{self, Exit, Failure, Interrupts};
use gradwire::client::{self, Access, Command, JobName, Options, Output, RecipeName, Target, local};
use gradwire::config::Name;
use gradwire::dataset::ValidationSplit;
use gradwire::engine::Policy;
use gradwire::job::{JobId, OnNoNodes, OnTaskFailure, ROUNDS_MAX, SHARDS_MAX};
use gradwire::model::Kernel;
use gradwire::model::recipe::{BATCH_ROWS_MAX, EPOCHS_MAX};

/// What follows the options in the help.
const AFTER_HELP: &str = "\
Commands, between the port and the options:
  train      Train a job, and watch it; the command where none is given
  jobs       List the jobs that the coordinator knows [--json]
  job ID     Show one of them in full [--json]
  attach ID  Watch one, from its first round on [--out, --profile, --quiet, --json]
  cancel ID  End one [--json]
  resume ID  Let one go on that is paused [--json]
  model ID   Save the model of one that is done: the file that train writes [--out, --json]
  ledger ID  Print what came of each of its tasks, and who did it [--json]
  verify ID  Recompute its tasks here, and compare the bits [--sample, --seed, --json, --quiet]
The first digits of an ID will do, 4 at least. All of them take --cluster and --retry-for.

Exit codes:
  0    done
  1    the job failed, or does not verify
  2    the command line, a file or the data is wrong
  3    the coordinator cannot be reached, has no room, or went away and did not come back; or this
       machine does not compute as defined
  4    the result could not be written
  5    the job was cancelled
  6    the job is paused; resume lets it go on
  130  interrupted; a job whose data has been sent goes on, and attach shows the rest";

/// The command that is meant where none is named.
const TRAIN: &str = "train";
/// Options that every command takes.
const OF_ALL: &[&str] = &["json", "cluster", "retry_for"];
/// The commands, whether a job's id follows, and which options they take besides those of all; train takes all but
/// verify's.
const COMMANDS: &[(&str, bool, &[&str])] = &[
    ("jobs", false, &[]),
    ("job", true, &[]),
    (Command::ATTACH, true, &["out", "profile", "quiet"]),
    ("cancel", true, &[]),
    (Command::RESUME, true, &[]),
    ("model", true, &["out"]),
    ("ledger", true, &[]),
    ("verify", true, &["sample", "seed", "quiet"]),
];

/// Trains a neural network on the nodes of a gradwire coordinator, or, with --local, within this process; and asks the
/// coordinator about its jobs.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP,
    override_usage = "client <IP> <PORT> [COMMAND] [OPTIONS]\n       client --local <N> [OPTIONS]")]
struct Arguments {
    /// Coordinator's IP address or name
    ip: Option<String>,
    /// Coordinator's port
    port: Option<String>,
    /// What to do [default: train]
    command: Option<String>,
    /// The job that it is about
    id: Option<String>,
    /// What nothing takes
    #[arg(hide = true)]
    rest: Vec<String>,
    /// Run a coordinator and N nodes inside this process, over TCP on free loopback ports
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1, local::NODES_MAX))]
    local: Option<u32>,
    /// Data: a CSV file with numeric features and the label in the last column; without it, the built-in letters
    #[arg(long, value_name = "FILE.csv")]
    data: Option<PathBuf>,
    /// What the other options default to: default or classic
    #[arg(long, default_value = "default")]
    recipe: RecipeName,
    /// Rounds: so often are the shards trained and merged [default: 40; classic: 25]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1, ROUNDS_MAX))]
    rounds: Option<u32>,
    /// Passes over its shard in each task [default: 3; classic: 15]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1, EPOCHS_MAX))]
    epochs: Option<u32>,
    /// Widths of the hidden layers, like 64,32; "none" for no hidden layer [default: 192; classic: 20]
    #[arg(long, value_name = "W,...")]
    hidden: Option<Hidden>,
    /// Learning rate [default: 0.01; classic: 0.0001]
    #[arg(long, allow_negative_numbers = true)]
    eta: Option<f32>,
    /// Rows of a batch; 0 is the whole shard [default: 32; classic: 0]
    #[arg(long, value_name = "ROWS", allow_negative_numbers = true,
        value_parser = whole(0, BATCH_ROWS_MAX))]
    batch: Option<u32>,
    /// Shards that the training rows are cut into [default: 4; classic: 11]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1, SHARDS_MAX))]
    shards: Option<u32>,
    /// Every random choice follows from it: the same command gives the same model [default: 1; verify: a random one]
    #[arg(long, allow_negative_numbers = true, value_parser = whole(0, u64::MAX))]
    seed: Option<u64>,
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
    /// What happens to the job when no node is left: fail, or pause until it is resumed
    #[arg(long, value_name = "WHAT", default_value = "fail", value_parser = on_no_nodes)]
    on_no_nodes: OnNoNodes,
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
    /// A coordinator that is lost is dialled again for so long; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 300, allow_negative_numbers = true,
        value_parser = whole(0, u32::MAX))]
    retry_for: u32,
    /// With verify: draw so many tasks instead of taking all
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1, u64::MAX))]
    sample: Option<u64>,
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

/// Reads a whole number within limits.
fn whole<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("a whole number from {least} to {most} is allowed"))
    }
}

fn on_task_failure(text: &str) -> Result<OnTaskFailure, String> {
    match text {
        "fail" => Ok(OnTaskFailure::Fail),
        "skip" => Ok(OnTaskFailure::Skip),
        _ => Err("a task that no node can do lets the job fail, or is skipped: fail or skip".to_owned()),
    }
}

fn on_no_nodes(text: &str) -> Result<OnNoNodes, String> {
    match text {
        "fail" => Ok(OnNoNodes::Fail),
        "pause" => Ok(OnNoNodes::Pause),
        _ => Err("a job without nodes fails, or waits to be resumed: fail or pause".to_owned()),
    }
}

fn main() -> ExitCode {
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // What a person must know, the client says itself; with --local the servers' log would say it twice.
    cli::start_log("client", log::LevelFilter::Error);
    cli::exit("client", run(arguments, &matches))
}

fn run(arguments: Arguments, matches: &ArgMatches) -> Result<Exit, Failure> {
    let usage = |text| Failure::new(Exit::Usage, text);
    let place = place(&arguments).map_err(usage)?;
    let command = command(&arguments, matches, &place).map_err(usage)?;
    let interrupts = Interrupts::catch()?.into_messages()?;
    let output = match (arguments.quiet, arguments.json) {
        (true, _) => Output::Quiet,
        (_, true) => Output::Json,
        _ => Output::Table,
    };
    let access = |target| Access {
        target,
        cluster: arguments.cluster.clone(),
        retry_for: Duration::from_secs(arguments.retry_for.into()),
    };
    let (policy, kernel) = (arguments.policy, arguments.kernel);
    match (place, command) {
        (Place::Coordinator(target), Some(command)) => client::command(&access(target), &command, output, &interrupts),
        (Place::Coordinator(target), None) => client::train(&access(target), &options(arguments, output), &interrupts),
        (Place::Here { nodes }, _) => {
            local::train(local::House { nodes, policy, kernel }, &options(arguments, output), &interrupts)
        }
    }
}

/// Where a job is trained, or asked about.
enum Place {
    Coordinator(Target),
    /// In this process.
    Here {
        nodes: u32,
    },
}

/// Whether a word is the name of a command.
fn is_command(word: &str) -> bool {
    word == TRAIN || COMMANDS.iter().any(|(name, ..)| *name == word)
}

/// The place that is meant; a sentence where there is none, or two.
fn place(arguments: &Arguments) -> Result<Place, String> {
    let (ip, port) = match (arguments.local, arguments.ip.as_deref(), arguments.port.as_deref()) {
        (Some(nodes), None, _) => return Ok(Place::Here { nodes }),
        (Some(_), Some(word), _) => {
            return Err(format!(
                "--local has a coordinator of its own, which trains one job and is asked nothing: leave out {word:?} and \
                 what follows it, or --local"
            ));
        }
        (None, None, _) => {
            return Err(
                "which coordinator? client IP PORT asks one, client --local N runs one in this process".to_owned()
            );
        }
        (None, Some(word), _) if is_command(word) => {
            return Err(format!("{word} at which coordinator? Its IP and PORT come first: client IP PORT {word}"));
        }
        (None, Some(ip), None) => (ip, None),
        (None, Some(ip), Some(port)) => (ip, Some(port)),
    };
    let number = |text: &str| text.parse::<u16>().ok().filter(|&port| port > 0);
    if let Some(port) = port.and_then(number) {
        return Ok(Place::Coordinator(Target { host: ip.to_owned(), port }));
    }
    // As other programs want it.
    if let Some((host, port)) = ip.split_once(':').filter(|(_, port)| number(port).is_some()) {
        return Err(format!("IP and PORT are two words, and {ip:?} is one: client {host} {port}"));
    }
    Err(match port {
        None => format!("which port of {ip}? client {ip} PORT"),
        Some(word) if is_command(word) => {
            format!("{word} at which port of {ip}? It comes first: client {ip} PORT {word}")
        }
        Some(word) => format!("a coordinator's port is a number from 1 to 65535, and not {word:?}: client {ip} PORT"),
    })
}

/// What is asked for, unless it is to train; a sentence where that cannot be.
fn command(arguments: &Arguments, matches: &ArgMatches, place: &Place) -> Result<Option<Command>, String> {
    let given = |option: &&str| matches.value_source(option) == Some(ValueSource::CommandLine);
    let name = arguments.command.as_deref().unwrap_or(TRAIN);
    let shown =
        |options: &[&str]| options.iter().map(|o| format!("--{}", o.replace('_', "-"))).collect::<Vec<_>>().join(", ");
    let Some((_, takes_job, taken)) = COMMANDS.iter().find(|(known, ..)| *known == name) else {
        let names: Vec<&str> = COMMANDS.iter().map(|(name, ..)| *name).collect();
        return match (name, &arguments.id, arguments.sample) {
            (TRAIN, None, None) => Ok(None),
            (TRAIN, Some(word), _) => Err(format!(
                "nothing but options stands behind train, and {word:?} does: --job ID gives the job its id, --data FILE.csv \
                 its data"
            )),
            (TRAIN, None, Some(_)) => Err("--sample is for verify".to_owned()),
            _ => Err(format!("there is no command {name:?}; there are train, {}", names.join(", "))),
        };
    };
    let ids = matches.ids().map(|id| id.as_str());
    let foreign: Vec<&str> = ids
        .filter(given)
        .filter(|option| !["ip", "port", "command", "id", "rest", "Arguments"].contains(option))
        .filter(|option| !OF_ALL.contains(option) && !taken.contains(option))
        .collect();
    if !foreign.is_empty() {
        let taken = [*taken, OF_ALL].concat();
        return Err(format!("{name} does not take {}; it takes {}", shown(&foreign), shown(&taken)));
    }
    let client = match place {
        Place::Coordinator(Target { host, port }) => format!("client {host} {port}"),
        Place::Here { .. } => "client IP PORT".to_owned(),
    };
    let behind: Vec<&str> = arguments.id.iter().chain(&arguments.rest).map(String::as_str).collect();
    let job = match (takes_job, &behind[..]) {
        (false, []) => return Ok(Some(Command::Jobs)),
        (false, [word, ..]) if word.parse::<JobName>().is_ok() => {
            return Err(format!(
                "{name} takes no ID, and {word:?} stands behind it: {client} job {word} shows that one job"
            ));
        }
        (false, [word, ..]) => {
            return Err(format!("{name} takes no word, and {word:?} stands behind it: {client} {name} lists all jobs"));
        }
        (true, []) => return Err(format!("{name} of which job? {client} {name} ID; {client} jobs lists them")),
        (true, [id]) => id
            .parse()
            .map_err(|allowed| format!("{name} of which job? {id:?} is no ID: {allowed}; {client} jobs lists them"))?,
        (true, [id, word, ..]) => {
            return Err(format!("{name} takes one ID, and {word:?} stands behind it: {client} {name} {id}"));
        }
    };
    let (out, profile) = (arguments.out.clone(), arguments.profile);
    Ok(Some(match (name, out) {
        ("job", _) => Command::Job(job),
        (Command::ATTACH, out) => Command::Attach { job, out, profile },
        ("cancel", _) => Command::Cancel(job),
        (Command::RESUME, _) => Command::Resume(job),
        ("model", Some(out)) => Command::Model { job, out },
        ("model", None) => {
            let id = behind[0];
            return Err(format!("where is the model to be saved? {client} model {id} --out FILE.safetensors"));
        }
        ("ledger", _) => Command::Ledger(job),
        _ => Command::Verify { job, sample: arguments.sample, seed: arguments.seed },
    }))
}

fn options(arguments: Arguments, output: Output) -> Options {
    Options {
        data: arguments.data,
        recipe: arguments.recipe,
        rounds: arguments.rounds,
        epochs: arguments.epochs,
        hidden: arguments.hidden.map(|hidden| hidden.0),
        eta: arguments.eta,
        batch: arguments.batch,
        shards: arguments.shards,
        seed: arguments.seed.unwrap_or(1),
        validate_split: arguments.validate_split,
        on_task_failure: arguments.on_task_failure,
        allow_inexact: arguments.allow_inexact,
        on_no_nodes: arguments.on_no_nodes,
        start_from: arguments.start_from,
        out: arguments.out,
        job: arguments.job,
        output,
        profile: arguments.profile,
    }
}

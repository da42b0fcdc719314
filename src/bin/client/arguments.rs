//! The client's command line as clap reads it: commands, options, their help, and how their values are written. Owns the
//! words that a user types and reads; does not know what a command does. Here are the commands and what all of them share, in
//! `train` and `reading` the options of a job and of its data.

mod reading;
mod train;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
use gradwire::cli::Color;
use gradwire::client::local;
use gradwire::config::Name;
use gradwire::engine::Policy;
use gradwire::model::Kernel;

use reading::whole;
pub use reading::{Reading, yes_or_no};
pub use train::{Division, Recipe, Scale, Seed, Train};

/// Train neural networks on the nodes of a gradwire coordinator, or in this process with --local, and manage the
/// coordinator's jobs
#[derive(Parser)]
#[command(
    bin_name = "client",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    subcommand_help_heading = "Commands, after <IP> <PORT>",
    override_usage = "client <IP> <PORT> [COMMAND] [OPTIONS]\n       client --local <N> [OPTIONS]\n       client <OFFLINE COMMAND> [OPTIONS]"
)]
pub struct Arguments {
    /// IP address or name of the coordinator's host
    pub ip: Option<String>,
    /// Port of the coordinator, 1 to 65535
    pub port: Option<String>,
    #[command(flatten)]
    pub here: Here,
    #[command(flatten)]
    pub train: Train,
    #[command(subcommand)]
    pub command: Option<Asked>,
}

/// What is asked of a coordinator.
#[derive(Subcommand)]
pub enum Asked {
    /// Train a job and watch it; the default command
    #[command(override_usage = "client <IP> <PORT> train [OPTIONS]")]
    Train(Box<TrainByName>),
    /// List the coordinator's jobs
    #[command(override_usage = "client <IP> <PORT> jobs [OPTIONS]")]
    Jobs(Alone),
    /// Show one job in full
    #[command(override_usage = "client <IP> <PORT> job <ID> [OPTIONS]")]
    Job(OneJob),
    /// Watch a job from its first round
    #[command(override_usage = "client <IP> <PORT> attach <ID> [OPTIONS]")]
    Attach(Attach),
    /// Cancel a job
    #[command(override_usage = "client <IP> <PORT> cancel <ID> [OPTIONS]")]
    Cancel(OneJob),
    /// Resume a job that is paused, or was given up for want of nodes or a task that failed everywhere
    #[command(override_usage = "client <IP> <PORT> resume <ID> [OPTIONS]")]
    Resume(OneJob),
    /// Save the model of a finished job, the same file that train writes; of one given up, the weights so far
    #[command(override_usage = "client <IP> <PORT> model <ID> --out <FILE.safetensors> [OPTIONS]")]
    Model(Model),
    /// Make a page about a finished job, for a browser
    #[command(override_usage = "client <IP> <PORT> report <ID> [OPTIONS]")]
    Report(Report),
    /// Print the result of every task, and the node that trained it; of merged gradients, that of every step
    #[command(override_usage = "client <IP> <PORT> ledger <ID> [OPTIONS]")]
    Ledger(OneJob),
    /// Recompute a job's tasks, or its steps of merged gradients, here and compare the bits
    #[command(override_usage = "client <IP> <PORT> verify <ID> [OPTIONS]")]
    Verify(Verify),
    /// Look how the coordinator, its disk and each of its nodes are, and say how to mend what is wrong
    #[command(override_usage = "client <IP> <PORT> doctor [OPTIONS]")]
    Doctor(Alone),
    /// Any other word in a command's place.
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// `train`, written out.
#[derive(Args)]
pub struct TrainByName {
    #[command(flatten)]
    pub options: Train,
    #[arg(hide = true)]
    pub words: Vec<String>,
}

/// `jobs` and `doctor`, which are about no one job.
#[derive(Args)]
pub struct Alone {
    #[arg(hide = true)]
    pub words: Vec<String>,
    #[command(flatten)]
    pub json: Json,
    #[command(flatten)]
    pub access: Access,
}

/// A command about one job that has no options of its own.
#[derive(Args)]
pub struct OneJob {
    #[command(flatten)]
    pub job: Id,
    #[command(flatten)]
    pub json: Json,
    #[command(flatten)]
    pub access: Access,
}

/// `attach`.
#[derive(Args)]
pub struct Attach {
    #[command(flatten)]
    pub job: Id,
    #[command(flatten)]
    pub out: Out,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub access: Access,
}

/// `model`.
#[derive(Args)]
pub struct Model {
    #[command(flatten)]
    pub job: Id,
    #[command(flatten)]
    pub out: Out,
    #[command(flatten)]
    pub json: Json,
    #[command(flatten)]
    pub access: Access,
}

/// `report`.
#[derive(Args)]
pub struct Report {
    #[command(flatten)]
    pub job: Id,
    #[command(flatten)]
    pub out: PageOut,
    #[command(flatten)]
    pub access: Access,
}

/// `verify`.
#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    pub job: Id,
    /// Number of tasks to verify, or of steps of merged gradients, drawn at random [default: all]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1, u64::MAX))]
    pub sample: Option<u64>,
    /// Seed of the draw [default: random]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(0, u64::MAX))]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub access: Access,
}

/// The job that a command is about. How many words there are is for the command to say, with the cure.
#[derive(Args)]
pub struct Id {
    /// Id of the job, or its first digits, at least 4
    pub id: Option<String>,
    #[arg(hide = true)]
    pub words: Vec<String>,
}

/// Training within this process.
#[derive(Args)]
#[command(next_help_heading = "Training in this process")]
pub struct Here {
    /// Number of nodes, 1 to 64, to run with a coordinator in this process, over TCP on free loopback ports
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1, local::NODES_MAX))]
    pub local: Option<u32>,
    /// With --local: scheduling policy, 1 (random) or 2 (load-balancing)
    #[arg(long, default_value = "2", requires = "local")]
    pub policy: Policy,
    /// With --local: machine code for the arithmetic, auto, avx512, avx2 or portable; the bits are the same
    #[arg(long, default_value = "auto", requires = "local")]
    pub kernel: Kernel,
}

/// Where a model goes.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct Out {
    /// File to save the model in
    #[arg(long, value_name = "FILE.safetensors")]
    pub out: Option<PathBuf>,
}

/// Where a page goes.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct PageOut {
    /// File to put the page in [default: the standard output]
    #[arg(long, value_name = "FILE.html")]
    pub out: Option<PathBuf>,
}

/// JSON or words.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct Json {
    /// Print JSON, one object per line
    #[arg(long)]
    pub json: bool,
}

/// How much is printed, and how.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    #[command(flatten)]
    pub json: Json,
    /// Print only the result
    #[arg(long, conflicts_with = "json")]
    pub quiet: bool,
}

/// What the end of a job shows beside its result.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct Shown {
    /// Show where the job's time went; JSON always includes it
    #[arg(long, conflicts_with = "quiet")]
    pub profile: bool,
    /// Show which class was taken for which, of up to 50 classes; JSON always includes it
    #[arg(long, conflicts_with = "quiet")]
    pub confusion: bool,
}

/// How a coordinator is reached.
#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub struct Access {
    /// Cluster that the coordinator must belong to [default: any]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<Name>,
    /// Seconds to keep redialling a coordinator that is not there, or not any more; 0 gives up at once
    #[arg(long, value_name = "SECONDS", default_value_t = 300, allow_negative_numbers = true,
        value_parser = whole(0, u32::MAX))]
    pub retry_for: u32,
    /// When to use colours: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = "Output")]
    pub color: Color,
    /// Tell more on the standard error; with --local what coordinator and nodes log. Twice: even more
    #[arg(long, short, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
}

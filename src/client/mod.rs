//! The client: it prepares a job from a file, submits it, watches it and saves the model; and asks about jobs that a
//! coordinator knows. Owns what a user asks for and sees; does not know nodes.
//!
//! | module | owns |
//! |---|---|
//! | `plan` | from options and data to a specification and the objects it names |
//! | `work` | a job as the client knows it, in words and as a model file |
//! | `notes` | what only the data know of a job, and how it travels with it |
//! | `conversation` | a connection to the coordinator, its questions and answers |
//! | `connection_error` | why there is no answer, and whether to ask again |
//! | `retry` | when a lost coordinator is dialled again |
//! | `watching` | a job, watched to its end over as many connections as it takes |
//! | `commands` | everything that is asked of a coordinator but to watch |
//! | `ledger` | a job's ledger, page by page |
//! | `verify` | what of a ledger is recomputed, and what is said of it |
//! | `audit` | which rounds that takes, and what is found |
//! | `recompute` | rounds, trained and merged anew |
//! | `render`, `listing` | what is printed |
//! | `local` | a whole cluster in one process |

mod audit;
mod commands;
mod connection_error;
mod conversation;
mod ledger;
mod listing;
pub mod local;
mod notes;
mod plan;
mod recompute;
mod render;
mod retry;
mod verify;
mod watching;
mod work;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::cli::{Exit, Failure};
use crate::config::Name;
use crate::dataset::ValidationSplit;
use crate::job::{JobId, OnNoNodes, OnTaskFailure};
use crate::model::{Activation, Kernel, Merge, Optimiser, conformance};
use crate::net;
use crate::wire::text::JobPrefix;

pub use commands::command;
pub use plan::{Plan, RecipeName};
use render::Renderer;
use watching::{Watching, Way};

/// What a user asks of a job to be trained.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data; the built-in letters if none.
    pub data: Option<PathBuf>,
    /// The recipe to start from.
    pub recipe: RecipeName,
    /// Rounds.
    pub rounds: Option<u32>,
    /// Epochs a task.
    pub epochs: Option<u32>,
    /// Widths of the hidden layers; an empty list is a network without any.
    pub hidden: Option<Vec<u32>>,
    /// Activation of the hidden layers.
    pub activation: Option<Activation>,
    /// Optimiser.
    pub optimiser: Option<Optimiser>,
    /// Momentum of the optimiser that has one.
    pub momentum: Option<f32>,
    /// Weight decay.
    pub weight_decay: Option<f32>,
    /// Learning rate.
    pub eta: Option<f32>,
    /// Rows of a batch; 0 is the whole shard.
    pub batch: Option<u32>,
    /// Shards.
    pub shards: Option<u32>,
    /// How a round's updates become one.
    pub merge: Merge,
    /// Seed.
    pub seed: u64,
    /// Which rows validate.
    pub validate_split: Option<ValidationSplit>,
    /// What happens to a task that no node can do.
    pub on_task_failure: OnTaskFailure,
    /// Whether nodes of another arithmetic may help.
    pub allow_inexact: bool,
    /// What happens to the job when no node is left.
    pub on_no_nodes: OnNoNodes,
    /// Model to start from.
    pub start_from: Option<PathBuf>,
    /// Where the model is saved.
    pub out: Option<PathBuf>,
    /// The job's id; a random one if none.
    pub job: Option<JobId>,
    /// How much is printed, and how.
    pub output: Output,
    /// Whether the table's end says where the time went.
    pub profile: bool,
}

/// How much is printed, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// A table for people.
    #[default]
    Table,
    /// The result alone.
    Quiet,
    /// A JSON object a line.
    Json,
}

/// Where the coordinator is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// IP address or name.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// How a coordinator is reached.
#[derive(Clone, Debug)]
pub struct Access {
    /// Where it is.
    pub target: Target,
    /// The cluster that it must belong to.
    pub cluster: Option<Name>,
    /// How long it is waited for when it is lost.
    pub retry_for: Duration,
}

impl Access {
    /// The command line that asks it something.
    fn command_line(&self, rest: &str) -> String {
        let Target { host, port } = &self.target;
        format!("client {host} {port} {rest}")
    }

    /// The command line that asks it something of a job.
    fn command(&self, verb: &str, job: JobId) -> String {
        self.command_line(&format!("{verb} {job}"))
    }
}

/// A job as a user names it: by its id, or the beginning of it.
#[derive(Clone, Copy, Debug)]
pub struct JobName {
    prefix: JobPrefix,
    /// Where it is all of the id.
    whole: Option<JobId>,
}

/// Digits of an id that may be taken for all of it, at least.
const JOB_DIGITS_MIN: usize = 4;

impl FromStr for JobName {
    type Err = String;

    fn from_str(text: &str) -> Result<JobName, String> {
        match JobPrefix::parse(text.as_bytes()) {
            Some(prefix) if text.len() >= JOB_DIGITS_MIN => Ok(JobName { prefix, whole: text.parse().ok() }),
            _ => Err(format!(
                "a job's id is 32 hexadecimal digits, and its first {JOB_DIGITS_MIN} will do where no other begins so"
            )),
        }
    }
}

/// What a user asks of a coordinator besides training a job.
#[derive(Clone, Debug)]
pub enum Command {
    /// How all jobs stand.
    Jobs,
    /// How one stands, and what was asked for.
    Job(JobName),
    /// Watch it.
    Attach {
        /// The job.
        job: JobName,
        /// Where the model is saved.
        out: Option<PathBuf>,
        /// Whether the table's end says where the time went.
        profile: bool,
    },
    /// End it.
    Cancel(JobName),
    /// Let it go on.
    Resume(JobName),
    /// Save its model.
    Model {
        /// The job.
        job: JobName,
        /// Where.
        out: PathBuf,
    },
    /// What came of each of its tasks.
    Ledger(JobName),
    /// Recompute its tasks.
    Verify {
        /// The job.
        job: JobName,
        /// So many tasks, drawn at random; all of them if none.
        sample: Option<u64>,
        /// The drawing follows from it; a random one if none.
        seed: Option<u64>,
    },
}

impl Command {
    /// Its name for [`Command::Attach`].
    pub const ATTACH: &str = "attach";
    /// Its name for [`Command::Resume`].
    pub const RESUME: &str = "resume";
}

/// Trains a job at a coordinator.
pub fn train(access: &Access, options: &Options, interrupts: &Receiver<()>) -> Result<Exit, Failure> {
    prove(Kernel::best())?;
    let plan = Plan::new(options)?;
    run(access, options, plan, interrupts, false)
}

/// Submits a planned job, and shows it until it ends.
fn run(
    access: &Access,
    options: &Options,
    plan: Plan,
    interrupts: &Receiver<()>,
    is_local: bool,
) -> Result<Exit, Failure> {
    // The model's place is tried before anything is trained for it.
    if let Some(out) = &options.out {
        plan::check_output(out)?;
    }
    let Plan { work, objects } = plan;
    let renderer = Renderer::new(options.output, options.profile, &work);
    let out = options.out.as_deref();
    Watching { access, work: &work, way: Way::Submit(objects), out, interrupts, renderer, is_local }.run(None)
}

/// Proves that this machine computes as it must: what is prepared or recomputed here has the bits that it has elsewhere.
fn prove(kernel: Kernel) -> Result<(), Failure> {
    conformance::prove(kernel).map(drop).map_err(|difference| Failure::new(Exit::Connection, difference))
}

/// A job id that nobody has used.
fn new_job() -> JobId {
    JobId(net::random_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_by_four_digits_at_least() {
        let id = "0123456789abcdef0123456789abcdef";
        let named: JobName = id.parse().unwrap();
        assert_eq!(named.whole.map(|job| job.to_string()).as_deref(), Some(id));
        let begun: JobName = "0123".parse().unwrap();
        assert!(begun.whole.is_none() && begun.prefix.begins(named.whole.unwrap()));
        for text in ["", "012", "xyzw", "0123456789abcdef0123456789abcdef0", "+123"] {
            assert!(text.parse::<JobName>().is_err(), "{text}");
        }
    }
}

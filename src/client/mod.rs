//! The client: it prepares a job from a file, submits it, watches it and saves the model. Owns what a user asks for and
//! sees; does not know nodes.
//!
//! | module | owns |
//! |---|---|
//! | `plan` | from options and data to a specification and the objects it names |
//! | `session` | the conversation with the coordinator |
//! | `render` | what is printed |
//! | `local` | the whole house in one process |

pub mod local;
mod plan;
mod render;
mod session;

use std::path::PathBuf;

use crossbeam_channel::{Receiver, select};

use crate::cli::{Exit, Failure};
use crate::config::Name;
use crate::dataset::ValidationSplit;
use crate::job::{JobId, OnTaskFailure};
use crate::net;

pub use plan::{Plan, RecipeName};
use render::Renderer;
use session::{Happening, Session};

/// What a user asks of the client, apart from where the coordinator is.
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
    /// Learning rate.
    pub eta: Option<f32>,
    /// Rows of a batch; 0 is the whole shard.
    pub batch: Option<u32>,
    /// Shards.
    pub shards: Option<u32>,
    /// Seed.
    pub seed: u64,
    /// Which rows validate.
    pub validate_split: Option<ValidationSplit>,
    /// What happens to a task that no node can do.
    pub on_task_failure: OnTaskFailure,
    /// Whether nodes of another arithmetic may help.
    pub allow_inexact: bool,
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
    /// The cluster that the coordinator must belong to.
    pub cluster: Option<Name>,
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

/// Trains a job at a coordinator.
pub fn train(target: &Target, options: &Options, interrupts: &Receiver<()>) -> Result<Exit, Failure> {
    let plan = Plan::new(options)?;
    run(target, options, &plan, interrupts, || {
        format!("stopped watching; the job goes on. The same command with --job {} shows the rest", plan.job)
    })
}

/// Submits a planned job, and shows it until it ends.
fn run(
    target: &Target,
    options: &Options,
    plan: &Plan,
    interrupts: &Receiver<()>,
    interrupted: impl Fn() -> String,
) -> Result<Exit, Failure> {
    // The model's place is tried before anything is trained for it.
    if let Some(out) = &options.out {
        plan::check_output(out)?;
    }
    let session = Session::submit(target, options.cluster.as_ref(), plan)?;
    let mut renderer = Renderer::new(options.output, options.profile, plan);
    renderer.submitted(target)?;
    loop {
        let happening = select! {
            recv(session.happenings()) -> happening => happening.unwrap_or_else(|_| Happening::lost()),
            recv(interrupts) -> _ => {
                renderer.say(&interrupted());
                return Ok(Exit::Interrupted);
            }
        };
        match happening {
            Happening::Accepted(accepted) => renderer.accepted(&accepted)?,
            Happening::Round(round) => {
                // Nobody reads any more: the job goes on without us, unless its model is to be saved.
                if !renderer.round(&round)? && options.out.is_none() {
                    return Ok(Exit::Success);
                }
            }
            Happening::Notice(notice) => renderer.notice(&notice)?,
            Happening::Done { done, weights } => {
                let saved = match &options.out {
                    Some(out) => Some(plan.save(out, &done, weights)?),
                    None => None,
                };
                renderer.done(&done, saved)?;
                return Ok(Exit::Success);
            }
            Happening::Failed(failure) => {
                renderer.failed(&failure)?;
                return Err(Failure::new(failure.exit, failure.text));
            }
        }
    }
}

/// A job id that nobody has used.
fn new_job() -> JobId {
    JobId(net::random_u128())
}

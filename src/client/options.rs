//! What a user asks for: of a job to be trained, or of a coordinator, and how it is shown. Owns these words' types; does not know
//! how they are typed, or what is done about them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::config::Name;
use crate::dataset::{NotASplit, ReadOptions, Scaling, ValidationSplit};
use crate::job::{JobId, OnNoNodes, OnTaskFailure};
use crate::model::{Activation, Loss, Merge, Optimiser, OuterOptimiser, Schedule};
use crate::wire::text::JobPrefix;

/// What a user asks of a job to be trained.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data; the built-in letters if none.
    pub data: Option<PathBuf>,
    /// How they are read.
    pub read: ReadOptions,
    /// How numbers become inputs; as the recipe has it, if none.
    pub scale: Option<Scaling>,
    /// The recipe to start from.
    pub recipe: RecipeName,
    /// Rounds.
    pub rounds: Option<u32>,
    /// Epochs a task.
    pub epochs: Option<u32>,
    /// Batches a task, instead of epochs.
    pub local_steps: Option<u32>,
    /// Steps a round, where tasks are local steps.
    pub round_steps: Option<u32>,
    /// Tasks that a step of merged gradients is cut into.
    pub tasks_per_step: Option<u32>,
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
    /// What is made small, of numbers that are fitted.
    pub loss: Option<Loss>,
    /// Where Huber's loss becomes a line.
    pub huber_delta: Option<f32>,
    /// The part of a label that is spread over all classes.
    pub label_smoothing: Option<f32>,
    /// The share of the outputs of hidden layers that training drops.
    pub dropout: Option<f32>,
    /// What classes weigh.
    pub class_weight: ClassWeight,
    /// Learning rate.
    pub eta: Option<f32>,
    /// How it goes over the rounds.
    pub rate: RateOptions,
    /// Rows of a batch; 0 is the whole shard.
    pub batch: Option<u32>,
    /// Shards.
    pub shards: Option<u32>,
    /// How a round's updates become one.
    pub merge: Merge,
    /// How the weights follow it.
    pub outer: OuterOptions,
    /// Seed.
    pub seed: u64,
    /// Which rows validate.
    pub validate_split: Option<ValidationSplit>,
    /// Which rows only test; as the data have it, if nothing is said.
    pub test: Option<TestRows>,
    /// Rounds without a better one after which training stops; as the recipe has it, if none.
    pub patience: Option<u32>,
    /// The share of the validation rows that a round is to be right about for training to stop.
    pub target_accuracy: Option<f64>,
    /// Whether all rounds are done, however good they are.
    pub all_rounds: bool,
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
    /// Whether a report is made of it.
    pub report: Option<ReportOptions>,
    /// The job's id; a random one if none.
    pub job: Option<JobId>,
    /// How much is printed, and how.
    pub output: Output,
    /// What the table's end says beside the result.
    pub shown: Shown,
}

/// What the end of a job's table says beside its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Where the time went.
    pub profile: bool,
    /// Which class was taken for which.
    pub confusion: bool,
}

/// Which rows are kept to test the model with. As text `none`, as [`ValidationSplit`], or a path.
#[derive(Clone, Debug, PartialEq)]
pub enum TestRows {
    /// None.
    None,
    /// These.
    Split(ValidationSplit),
    /// Those of a file, or of several, or of a directory.
    File(PathBuf),
}

impl Options {
    /// The files that rows are read from.
    pub(super) fn files_read(&self) -> impl Iterator<Item = &Path> {
        let test = match &self.test {
            Some(TestRows::File(path)) => Some(path),
            _ => None,
        };
        self.data.iter().chain(&self.read.validation).chain(test).map(PathBuf::as_path)
    }
}

impl FromStr for TestRows {
    type Err = String;

    fn from_str(text: &str) -> Result<TestRows, String> {
        if text == "none" {
            return Ok(TestRows::None);
        }
        // A number that is no share is a slip, and no file's name.
        let is_number = text.is_empty() || text.starts_with("last:") || text.parse::<f64>().is_ok();
        match text.parse() {
            Ok(split) => Ok(TestRows::Split(split)),
            Err(NotASplit { .. }) if is_number => Err(format!(
                "{text:?} does not say which rows test; write none, a share between 0 and 1 of every class (0.1), the file's tail as \
                 a share (last:0.1) or a number of rows (last:3500), or the path of a file of rows (./{text})"
            )),
            Err(NotASplit { .. }) => Ok(TestRows::File(PathBuf::from(text))),
        }
    }
}

/// What the rows of a class weigh in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClassWeight {
    /// As much as those of any other.
    #[default]
    None,
    /// The more the fewer they are: all classes weigh the same.
    Balanced,
}

impl FromStr for ClassWeight {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<ClassWeight, &'static str> {
        match text {
            "none" => Ok(ClassWeight::None),
            "balanced" => Ok(ClassWeight::Balanced),
            _ => Err("classes weigh as their rows, or all the same: none or balanced"),
        }
    }
}

/// A report that is wanted of a job to be trained.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// Where it goes.
    pub out: PathBuf,
    /// The options that the environment had, by their variables.
    pub environment: Vec<(String, String)>,
    /// The command line, word by word.
    pub command: Vec<String>,
}

/// What a user asks of how a learning rate goes over a job's rounds.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateOptions {
    /// By which schedule.
    pub schedule: Option<ScheduleName>,
    /// Of an exponential one, the factor from round to round.
    pub decay: Option<f32>,
    /// Rounds in which it first rises.
    pub warmup: Option<u32>,
}

/// A schedule of a learning rate, as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleName {
    /// It is this part of the one before from round to round, all else being constant.
    Exponential,
    /// One that has a number.
    Of(Schedule),
}

impl FromStr for ScheduleName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<ScheduleName, &'static str> {
        match text {
            "exponential" => Ok(ScheduleName::Exponential),
            _ => text
                .parse()
                .map(ScheduleName::Of)
                .map_err(|_| "a learning rate goes by one of constant, exponential, cosine, flat_cosine"),
        }
    }
}

/// What a user asks of the outer optimiser.
#[derive(Clone, Copy, Debug, Default)]
pub struct OuterOptions {
    /// Which it is.
    pub optimiser: Option<OuterOptimiser>,
    /// Its learning rate.
    pub eta: Option<f32>,
    /// Its momentum, where it has one.
    pub momentum: Option<f32>,
    /// Its weight decay.
    pub weight_decay: Option<f32>,
    /// How its learning rate goes over the rounds.
    pub rate: RateOptions,
    /// The norm to which a round's update is clipped.
    pub clip: Option<f32>,
}

/// A recipe by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecipeName {
    /// Good on tabular data out of the box.
    #[default]
    Default,
    /// The older literature's full-batch recipe.
    Classic,
}

impl FromStr for RecipeName {
    type Err = String;

    fn from_str(text: &str) -> Result<RecipeName, String> {
        match text {
            "default" => Ok(RecipeName::Default),
            "classic" => Ok(RecipeName::Classic),
            _ => Err("a recipe is default or classic".to_owned()),
        }
    }
}

impl fmt::Display for RecipeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecipeName::Default => "default",
            RecipeName::Classic => "classic",
        })
    }
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
    pub(super) fn command_line(&self, rest: &str) -> String {
        let Target { host, port } = &self.target;
        format!("client {host} {port} {rest}")
    }

    /// The command line that asks it something of a job.
    pub(super) fn command(&self, verb: &str, job: JobId) -> String {
        self.command_line(&format!("{verb} {job}"))
    }
}

/// A job as a user names it: by its id, or the beginning of it.
#[derive(Clone, Copy, Debug)]
pub struct JobName {
    pub(super) prefix: JobPrefix,
    /// Where it is all of the id.
    pub(super) whole: Option<JobId>,
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
        /// What the table's end says beside the result.
        shown: Shown,
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
    /// A page about it.
    Report {
        /// The job.
        job: JobName,
        /// Where it goes; the standard output if none.
        out: Option<PathBuf>,
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
    /// How the coordinator and its nodes are.
    Doctor,
}

impl Command {
    /// Its name for [`Command::Attach`].
    pub const ATTACH: &str = "attach";
    /// Its name for [`Command::Resume`].
    pub const RESUME: &str = "resume";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_test_are_none_a_part_of_the_data_or_those_of_a_file_and_a_slip_is_no_file() {
        let read = |text: &str| text.parse::<TestRows>();
        assert_eq!(read("none"), Ok(TestRows::None));
        assert_eq!(read("last:35"), Ok(TestRows::Split("last:35".parse().unwrap())));
        for path in ["held out.csv", "a.csv,b.csv", "./0.1", "-"] {
            assert_eq!(read(path), Ok(TestRows::File(PathBuf::from(path))));
        }
        for slip in ["", "1.5", "3500", "nan", "last:0", "last:1.5"] {
            assert!(read(slip).unwrap_err().contains("does not say which rows test"), "{slip}");
        }
    }

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

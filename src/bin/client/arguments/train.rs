//! The options of a job: what is trained, on which rows, how, and what becomes of failures. Owns their words and limits; does not know
//! how a data file is read (`reading`).

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use gradwire::client::{ClassWeight, RecipeName, ScheduleName, TestRows};
use gradwire::dataset::{Scaling, ValidationSplit};
use gradwire::job::{JobId, OnNoNodes, OnTaskFailure, ROUNDS_MAX, SHARDS_MAX, STEPS_MAX, TASKS_PER_STEP_MAX};
use gradwire::model::recipe::{BATCH_ROWS_MAX, EPOCHS_MAX, LOCAL_STEPS_MAX};
use gradwire::model::{Activation, Loss, Merge, Optimiser, OuterOptimiser};

use super::reading::{Reading, whole};
use super::{Access, Out, Output, Shown};

/// Everything about a job to be trained.
#[derive(Args)]
#[command(next_help_heading = "Job")]
pub struct Train {
    /// Data file: fields separated by commas or another byte, compressed with gzip or not, - for the standard input; several
    /// files with commas between, or a directory of them; or arrays, images,labels of IDX or NumPy's, or one .npz with X and y
    /// [default: the built-in letters]
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub reading: Reading,
    #[command(flatten)]
    pub scale: Scale,
    #[command(flatten)]
    pub recipe: Recipe,
    /// Number of rounds; each goes through the training rows once, or as often as --epochs says [default: 30; with
    /// --epochs or --local-steps from 2: 40; classic: 25]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1, ROUNDS_MAX))]
    pub rounds: Option<u32>,
    /// Merge trained weights once a round instead of gradients once a batch, for slow networks: number of passes that each
    /// task makes over its shard [default: merge gradients; 3 with --merge median or --outer; classic: 15]
    #[arg(long, value_name = "N", visible_alias = "local-epochs", allow_negative_numbers = true,
        value_parser = whole(1, EPOCHS_MAX))]
    pub epochs: Option<u32>,
    /// Number of batches that each shard is trained with between two merges. With 1, nodes send the gradients of a batch's
    /// rows, and one optimiser, at the coordinator, moves the weights once per batch: --optimiser, --momentum,
    /// --weight-decay, --eta and --schedule are about that one [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1, LOCAL_STEPS_MAX))]
    pub local_steps: Option<u32>,
    /// Number of steps in each round, where tasks are not epochs [default: as many as go once through the rows]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1, STEPS_MAX as u32))]
    pub round_steps: Option<u32>,
    /// Number of tasks to cut each step of merged gradients into; the model is the same whatever it is. The same
    /// command again with another number, and the --job of the job under way, changes it [default: as many as suit the fleet;
    /// with --merge median each block is one]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1, TASKS_PER_STEP_MAX))]
    pub tasks_per_step: Option<u32>,
    /// Widths of the hidden layers, such as 64,32; "none" for no hidden layer [default: 192; classic: 20]
    #[arg(long, value_name = "WIDTH,...")]
    pub hidden: Option<Hidden>,
    /// Activation of the hidden layers: relu, tanh, identity or masked_identity [default: relu; classic: masked_identity]
    #[arg(long, value_name = "NAME")]
    pub activation: Option<Activation>,
    /// Optimiser: sgd, momentum or adam [default: adam; with --local-steps from 2: momentum; classic: sgd]
    #[arg(long, value_name = "NAME")]
    pub optimiser: Option<Optimiser>,
    /// With --optimiser momentum: factor that each update applies to the velocity, 0 or 0.1 to 0.9999 [default: 0.9]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub momentum: Option<f32>,
    /// Weight decay: before each update, every weight loses this part of itself times the learning rate; with adam
    /// this is AdamW [default: 0; where numbers are fitted by merged gradients, 0.9 for up to 1000 rows, of more less]
    #[arg(long, value_name = "PART", allow_negative_numbers = true)]
    pub weight_decay: Option<f32>,
    /// What training makes small where numbers are fitted: squared_error, or huber, by which rows some deviations off pull less; the
    /// deviation counts them, too [default: squared_error]
    #[arg(long, value_name = "NAME")]
    pub loss: Option<Loss>,
    /// With --loss huber: distance from which on it is a straight line, in standard deviations of the target [default: 1]
    #[arg(long, value_name = "DISTANCE", allow_negative_numbers = true)]
    pub huber_delta: Option<f32>,
    /// Where classes are told apart: part of each row's label that training spreads over all classes, 0 or 0.000001 to below 1, so that
    /// the model is less sure of itself. Losses are told as without [default: 0]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub label_smoothing: Option<f32>,
    /// Share of the outputs of hidden layers that count as 0 while a row trains, drawn anew for each row and pass, 0 or 0.001 to 0.99;
    /// none do where rows are judged [default: 0]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub dropout: Option<f32>,
    /// What the gradient of a row weighs: none (one), or balanced (the more the fewer training rows its class has, so that all
    /// classes weigh the same). Losses and accuracies count rows as ever
    #[arg(long, value_name = "HOW", default_value = "none")]
    pub class_weight: ClassWeight,
    /// Learning rate [default: 0.01 * batch / 128, from 0.005 to 0.04; with --epochs: 0.01; with --local-steps from 2: 0.1,
    /// adam 0.01; classic: 0.0001]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub eta: Option<f32>,
    /// How the learning rate goes over the rounds: constant, exponential (falls by --eta-decay from round to round), cosine (falls to
    /// almost nothing along half a wave), or flat_cosine (the same in the second half of the rounds) [default: cosine; with
    /// --epochs: exponential; with --local-steps from 2 and classic: constant]
    #[arg(long, value_name = "NAME")]
    pub schedule: Option<ScheduleName>,
    /// With --schedule exponential: factor on the learning rate from round to round, above 0, at most 1 [default: 0.94]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub eta_decay: Option<f32>,
    /// Rounds in which the learning rate first rises, step by step; the schedule is of the others [default: 0]
    #[arg(long, value_name = "ROUNDS", allow_negative_numbers = true, value_parser = whole(0, ROUNDS_MAX))]
    pub warmup: Option<u32>,
    /// Rows in a batch, of all shards together where gradients are merged, else of one; 0 takes the whole shard [default: about
    /// a 32nd of the training rows, from 32 to 512; with --epochs or --local-steps from 2: 32; classic: 0]
    #[arg(long, value_name = "ROWS", allow_negative_numbers = true, value_parser = whole(0, BATCH_ROWS_MAX))]
    pub batch: Option<u32>,
    /// Number of shards to cut the training rows into [default: 4; classic: 11; more where one had over 64 MiB]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1, SHARDS_MAX))]
    pub shards: Option<u32>,
    /// How to combine a round's updates or, with --local-steps 1, the gradients of a step's blocks: mean, or median, which a few
    /// wrong ones cannot shift
    #[arg(long, value_name = "HOW", default_value = "mean")]
    pub merge: Merge,
    /// Optimiser at the coordinator that applies a round's combined update: average (adds it), or momentum, nesterov or
    /// adam, which remember earlier rounds [default: average; with --local-steps from 2: nesterov]
    #[arg(long, value_name = "NAME")]
    pub outer: Option<OuterOptimiser>,
    /// With an outer optimiser: its learning rate [default: 1; adam: 0.05; nesterov of local steps: 0.7]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub outer_eta: Option<f32>,
    /// With the outer optimiser momentum or nesterov: factor that each round applies to the velocity, 0 or 0.1 to 0.9999
    /// [default: 0.9]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub outer_momentum: Option<f32>,
    /// With an outer optimiser: weight decay; each round, every weight first loses this part of itself times the outer rate
    /// [default: 0]
    #[arg(long, value_name = "PART", allow_negative_numbers = true)]
    pub outer_weight_decay: Option<f32>,
    /// With an outer optimiser: how its rate goes over the rounds, by the names of --schedule [default: constant; of local
    /// steps: cosine]
    #[arg(long, value_name = "NAME")]
    pub outer_schedule: Option<ScheduleName>,
    /// With --outer-schedule exponential: factor on the outer rate from round to round [default: 0.94]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub outer_eta_decay: Option<f32>,
    /// With an outer optimiser: rounds in which its rate first rises [default: 0]
    #[arg(long, value_name = "ROUNDS", allow_negative_numbers = true, value_parser = whole(0, ROUNDS_MAX))]
    pub outer_warmup: Option<u32>,
    /// With an outer optimiser: largest Euclidean norm of a combined update; a longer one is shortened to it [default: no limit]
    #[arg(long, value_name = "LENGTH", allow_negative_numbers = true)]
    pub outer_clip: Option<f32>,
    #[command(flatten)]
    pub seed: Seed,
    /// Rounds without a better one after which training stops; the best round's model is the result [default: 20; all
    /// rounds are done where numbers are fitted and fewer than 50 rows validate, and with classic]
    #[arg(long, value_name = "ROUNDS", allow_negative_numbers = true, value_parser = whole(1, ROUNDS_MAX), conflicts_with = "no_early_stopping")]
    pub patience: Option<u32>,
    /// Stop after the first round that is right about this share of the validation rows, above 0 and at most 1; its model is
    /// the result. Where none is, with --no-early-stopping too, the best round's
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub target_accuracy: Option<f64>,
    /// Do all rounds; the last one's model is the result
    #[arg(long)]
    pub no_early_stopping: bool,
    #[command(flatten)]
    pub division: Division,
    /// Action on a task that no node can do: fail (the job) or skip (the task)
    #[arg(long, value_name = "ACTION", default_value = "fail", value_parser = on_task_failure)]
    pub on_task_failure: OnTaskFailure,
    /// State of a job that no node is left for: fail or pause; either way everything is kept, and resume continues it
    #[arg(long, value_name = "ACTION", default_value = "fail", value_parser = on_no_nodes)]
    pub on_no_nodes: OnNoNodes,
    /// Accept nodes with another arithmetic; the result is then not reproducible
    #[arg(long)]
    pub allow_inexact: bool,
    /// Model of the same columns to start from [default: random weights]
    #[arg(long, value_name = "FILE.safetensors")]
    pub start_from: Option<PathBuf>,
    /// Id of the job, 32 hexadecimal digits; attaches to the job if the coordinator knows it [default: random]
    #[arg(long, value_name = "ID")]
    pub job: Option<JobId>,
    #[command(flatten)]
    pub out: Out,
    /// File to put a page about the finished job in, for a browser
    #[arg(long, value_name = "FILE.html", help_heading = "Output")]
    pub report: Option<PathBuf>,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub access: Access,
}

/// Which defaults there are.
#[derive(Args)]
pub struct Recipe {
    /// Set of defaults for the other options: default or classic
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub recipe: RecipeName,
}

/// What random choices follow from.
#[derive(Args)]
pub struct Seed {
    /// Seed of every random choice; the same command gives the same model [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(0, u64::MAX))]
    seed: Option<u64>,
}

impl Seed {
    /// The seed that is asked for, or the usual one.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(1)
    }
}

/// Which rows test, and which validate.
#[derive(Args)]
pub struct Division {
    /// Rows that neither train nor validate, by which the model is judged once, at the end: none, a stratified fraction (0.1), the
    /// last rows of the file (last:0.1, last:3500), or a file of them, several or a directory, as of --validate [default: 0.1 of
    /// more than 1000 rows, unless options or data say which validate; built-in data: last:3500; classic: none]
    #[arg(long, value_name = "SPLIT|FILE")]
    pub test: Option<TestRows>,
    /// Validation rows, of those that do not test: a stratified fraction (0.2) or the last rows of the file (last:0.2, last:3500)
    /// [default: 0.2; 0.1 of more than 5000 rows, or of 100 or more where numbers are fitted; classic: last:0.2, built-in data
    /// last:3500]
    #[arg(long, value_name = "SPLIT")]
    pub validate_split: Option<ValidationSplit>,
}

/// How numbers become inputs.
#[derive(Args)]
pub struct Scale {
    /// How numbers become inputs: standard (less their mean, over their deviation), robust (less their median, over the distance of
    /// the quartiles, and what lies far off is bent to stay below 3), or none (as they are) [default: robust, but standard
    /// where 5,000 rows or more train and classes are told apart; classic: none]
    #[arg(long, value_name = "HOW", help_heading = "Data")]
    pub scale: Option<Scaling>,
}

/// Widths of hidden layers, as typed.
#[derive(Clone)]
pub struct Hidden(pub Vec<u32>);

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

fn on_no_nodes(text: &str) -> Result<OnNoNodes, String> {
    match text {
        "fail" => Ok(OnNoNodes::Fail),
        "pause" => Ok(OnNoNodes::Pause),
        _ => Err("a job without nodes fails, or waits to be resumed: fail or pause".to_owned()),
    }
}

//! From options and data to a job: its specification, the objects that it names, and its words. Owns each recipe's defaults, but for
//! those that follow from the data (`usual`); does not know the network.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::division::Division;
use super::encoded::{self, keep, rows_object};
use super::figures;
use super::notes::Words;
use super::options::{ClassWeight, Options, OuterOptions, Output, RecipeName};
use super::rates::with_rates;
use super::reading;
use super::sample::TrainingSample;
use super::start;
use super::usual;
use super::work::Work;
use crate::cli::{self, Exit, Failure};
use crate::dataset::{Dataset, DatasetError, Preparation, Prepared, Report, ShardCount, Sharding, Target, Targets};
use crate::job::{JobId, Operation, Specification};
use crate::model::file::ModelFile;
use crate::model::{
    ARITHMETIC, BatchSize, Loss, Network, Optimiser, Outer, OuterOptimiser, Recipe, Schedule, TargetKind, Training,
};
use crate::net;
use crate::store::Store;
use crate::wire::object::{self, ObjectKind};
use crate::wire::specification;
use crate::wire::text::counted;

/// What a recipe says beyond the local mathematics.
struct Defaults {
    recipe: Recipe,
    rounds: u32,
    hidden: u32,
    shards: u32,
    sharding: Sharding,
}

impl RecipeName {
    fn defaults(self) -> Defaults {
        match self {
            RecipeName::Default => {
                Defaults { recipe: Recipe::DEFAULT, rounds: 40, hidden: 192, shards: 4, sharding: Sharding::Stratified }
            }
            RecipeName::Classic => {
                Defaults { recipe: Recipe::CLASSIC, rounds: 25, hidden: 20, shards: 11, sharding: Sharding::Contiguous }
            }
        }
    }
}

/// A job, ready to be submitted.
pub struct Plan {
    /// What is asked for.
    pub work: Work,
    /// The objects that the specification names.
    pub objects: Arc<Store>,
    /// What was decided of a user's file.
    pub report: Option<Report>,
    /// Sentences about the data for the user.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Reads the data and plans the job.
    pub fn new(options: &Options) -> Result<Plan, Failure> {
        let usage = |error: &dyn fmt::Display| Failure::new(Exit::Usage, error);
        let defaults = options.recipe.defaults();
        let dataset = dataset(options)?;
        let division = Division::of(options);
        division.check(&dataset)?;
        let start = match &options.start_from {
            None => None,
            Some(path) => Some(ModelFile::read(path).map_err(|error| usage(&error))?),
        };
        let preparation = Preparation {
            split: division.validation(&dataset),
            test: division.testing(&dataset),
            scaling: division.scaling(),
            sharding: defaults.sharding,
            shards: options.shards.map_or(ShardCount::Usual(defaults.shards), ShardCount::Exactly),
            seed: options.seed,
        };
        let mut prepared = dataset.prepare(&preparation).map_err(|error| refused(&error, options.output))?;
        prepared.warnings.extend(division.remarks(&dataset));
        prepared.warnings.extend(few_of_rarest(&prepared));
        let report = options.data.as_ref().map(|_| dataset.report(Some(&prepared.schema)));
        let hidden = options.hidden.clone().unwrap_or_else(|| vec![defaults.hidden]);
        let outputs = prepared.target.outputs() as u32;
        let network = Network::new(prepared.features as u32, &hidden, outputs)
            .map_err(|error| usage(&encoded::too_large(&error, &dataset, &prepared.schema)))?;
        let local_steps = local_steps(options).map_err(|text| usage(&text))?;
        let rows = prepared.shards.iter().map(|shard| shard.rows() as u64).sum();
        let loss = loss_for(&prepared.target, options.loss).map_err(|text| usage(&text))?;
        if options.huber_delta.is_some() && loss != Loss::Huber {
            return Err(usage(&"only Huber's loss has a delta: --loss huber, or leave out --huber-delta"));
        }
        if options.label_smoothing.is_some() && loss != Loss::CrossEntropy {
            return Err(usage(
                &"labels are smoothed where classes are told apart, and this job is to fit numbers: leave out --label-smoothing, or \
                  --task classify",
            ));
        }
        let weight_decay = usual_weight_decay(options, loss, local_steps, rows);
        let recipe = recipe(options, Recipe { loss, weight_decay, ..defaults.recipe }, local_steps, rows)
            .map_err(|error| usage(&error))?;
        if options.momentum.is_some() && recipe.optimiser != Optimiser::Momentum {
            return Err(usage(&format_args!(
                "the optimiser {} has no momentum: --optimiser momentum has",
                recipe.optimiser
            )));
        }
        let merges_gradients = recipe.merges_gradients();
        let outer = match merges_gradients {
            true => outer_of_gradients(&options.outer, &recipe),
            false => outer(&options.outer, is_of_local_steps(options, local_steps)),
        };
        let outer = outer.map_err(|text| usage(&text))?;
        recipe.loss.check_outputs(network.outputs()).map_err(|error| usage(&error))?;

        let objects = Arc::new(Store::new(u64::MAX));
        let initial = match start {
            None => None,
            Some(model) => {
                let remark = start::check(&model, &network, &prepared).map_err(|text| usage(&text))?;
                prepared.warnings.extend(remark);
                let bytes = object::encode_parameters(ObjectKind::Weights, &network, &model.parameters);
                Some(keep(&objects, bytes))
            }
        };
        let class_weights = match options.class_weight {
            ClassWeight::None => Vec::new(),
            ClassWeight::Balanced => prepared.balanced_weights().ok_or_else(|| {
                usage(&"--class-weight balances classes, and this job is to fit numbers: leave it out, or --task classify")
            })?,
        };
        let (baseline, test_baseline) = (prepared.baseline(), prepared.test_baseline());
        let sample = TrainingSample::of(&prepared.shards);
        // The rows are in the objects from here on.
        let network =
            network.with_index_columns(prepared.validation.layout.columns()).map_err(|error| usage(&error))?;
        let shards = std::mem::take(&mut prepared.shards);
        let shards = shards.into_iter().map(|block| rows_object(&objects, outputs, block)).collect();
        let validation = rows_object(&objects, outputs, prepared.validation);
        let test = prepared.test.take().map(|test| rows_object(&objects, outputs, test));
        let words = Words {
            data: dataset.name().to_owned(),
            recipe: options.recipe.to_string(),
            feature_names: prepared.feature_names,
            target: prepared.target,
            scaling: prepared.scaling,
            baseline: Some(baseline),
            test_baseline,
            schema: Some(prepared.schema.to_json()),
            sample: Some(sample),
        };
        let training = Training { arithmetic: ARITHMETIC, network, recipe, seed: options.seed, class_weights };
        training.check_class_weights().map_err(|error| usage(&error))?;
        let rounds = options.rounds.unwrap_or(match options.recipe {
            RecipeName::Default if merges_gradients => usual::rounds(rows, recipe.batch),
            _ => defaults.rounds,
        });
        let patience = match options.recipe {
            RecipeName::Default => usual::patience(recipe.loss, validation.rows),
            RecipeName::Classic => None,
        };
        if options.target_accuracy.is_some() && training.recipe.loss.target_kind() == TargetKind::Values {
            return Err(usage(
                &"an accuracy is of classes, and this job is to fit numbers: leave out --target-accuracy",
            ));
        }
        let patience = options.patience.or(patience).filter(|_| !options.all_rounds);
        // Whoever asks for all rounds but for such a one waits for it to the last.
        let patience = patience.or(options.target_accuracy.map(|_| rounds));
        let specification = Specification {
            training,
            rounds,
            round_steps: options.round_steps,
            shards,
            validation,
            test,
            patience,
            target_accuracy: options.target_accuracy,
            merge: options.merge,
            outer,
            initial,
            operation: Operation {
                on_task_failure: options.on_task_failure,
                allow_inexact: options.allow_inexact,
                on_no_nodes: options.on_no_nodes,
                tasks_per_step: options.tasks_per_step,
            },
            notes: words.to_notes().unwrap_or_default(),
        };
        let specification = with_rates(specification, options).map_err(|text| usage(&text))?;
        let specification = specification.checked().map_err(|error| usage(&error))?;
        let job = options.job.unwrap_or_else(|| JobId(net::random_u128()));
        let semantic = specification::semantic_digest(&specification);
        let warnings = prepared.warnings;
        Ok(Plan { work: Work { job, specification, semantic, words: Some(words) }, objects, report, warnings })
    }
}

/// That hardly a row judges the model on one of its classes, where that is so.
fn few_of_rarest(prepared: &Prepared) -> Option<String> {
    let (name, rows) = match &prepared.test {
        Some(test) => ("test row", test),
        None => ("validation row", &prepared.validation),
    };
    let (Target::Classes(names), Targets::Classes(labels)) = (&prepared.target, &rows.targets) else { return None };
    let mut supports = vec![0; names.len()];
    labels.iter().for_each(|&label| supports[label as usize] += 1);
    figures::few_of_rarest(names, &supports, &counted(labels.len() as u64, name))
}

/// The data that are asked for.
fn dataset(options: &Options) -> Result<Dataset, Failure> {
    let read = Division::of(options).reading(&options.read);
    let Some(path) = &options.data else {
        let of_files = [("--validate", &read.validation), ("--test", &read.test)];
        return match of_files.into_iter().find_map(|(name, path)| path.as_ref().map(|path| (name, path))) {
            None => Ok(Dataset::built_in()),
            Some((name, path)) => {
                let path = path.display();
                let text = format!("the rows of {name} {path} go with a file of rows that train: --data FILE names it");
                Err(Failure::new(Exit::Usage, text))
            }
        };
    };
    Dataset::read_watched(path, &read, reading::watch(path)).map_err(|error| refused(&error, options.output))
}

/// Why data are refused, which scripts read as JSON.
pub(super) fn refused(error: &DatasetError, output: Output) -> Failure {
    if output == Output::Json {
        // Whoever has closed the pipe reads the sentence.
        let _ = cli::print(&error.to_json().to_string());
    }
    Failure::new(Exit::Usage, error)
}

/// How much weights decay where nothing is asked for.
fn usual_weight_decay(options: &Options, loss: Loss, local_steps: Option<u32>, rows: u64) -> f32 {
    let has_decay = loss.target_kind() == TargetKind::Values
        && options.recipe == RecipeName::Default
        && local_steps == Some(1)
        && matches!(options.optimiser, None | Some(Optimiser::Adam));
    if has_decay { usual::weight_decay(rows) } else { 0.0 }
}

/// Batches between two merges; none where a task is epochs. Gradients are merged unless something is asked for that has no part
/// in that.
fn local_steps(options: &Options) -> Result<Option<u32>, String> {
    let of_tasks = [
        (options.epochs.is_some(), "--epochs"),
        (options.merge.needs_all(), "--merge median"),
        (options.outer.optimiser.is_some(), "--outer"),
        (options.batch == Some(0), "--batch 0"),
    ];
    let asked = of_tasks.iter().find(|(is_asked, _)| *is_asked).map(|(_, name)| *name);
    let local_steps = match (options.local_steps, options.recipe) {
        (Some(_), _) if options.epochs.is_some() => {
            return Err("a task is made of epochs or of local steps: leave out --epochs or --local-steps".to_owned());
        }
        (None, RecipeName::Default) if asked.is_none() => Some(1),
        (asked, _) => asked,
    };
    let because = asked.map_or(String::new(), |name| format!(", and {name} means tasks of more than one batch"));
    match local_steps {
        None if options.round_steps.is_some() => {
            Err(format!("a round of epochs is one step: --round-steps belongs to --local-steps{because}"))
        }
        None | Some(2..) if options.tasks_per_step.is_some() => Err(format!(
            "only a step of merged gradients is cut into tasks: --tasks-per-step belongs to --local-steps 1{because}"
        )),
        Some(1) if options.tasks_per_step.is_some() && options.merge.needs_all() => {
            Err("with --merge median each block of a step is a task: leave out --tasks-per-step, or take --merge mean"
                .to_owned())
        }
        _ => Ok(local_steps),
    }
}

/// Whether each shard is trained with some batches between two merges, by defaults that are chosen for that: momentum at the
/// nodes and Nesterov's at the coordinator, as in DiLoCo (Douillard and others, 2023). An optimiser that begins anew with every
/// few batches, as Adam at the nodes would, is worse (`benches/network.rs`).
fn is_of_local_steps(options: &Options, local_steps: Option<u32>) -> bool {
    options.recipe == RecipeName::Default && matches!(local_steps, Some(2..)) && !options.merge.needs_all()
}

/// Learning rates of local steps where none are asked for.
const LOCAL_ETA: f32 = 0.1;
const LOCAL_OUTER_ETA: f32 = 0.7;

/// The recipe that is asked for, of a job of so many training rows.
fn recipe(
    options: &Options,
    defaults: Recipe,
    local_steps: Option<u32>,
    rows: u64,
) -> Result<Recipe, crate::model::RecipeError> {
    let batch = match options.batch {
        None if local_steps == Some(1) => BatchSize::Rows(usual::batch(rows)),
        None => defaults.batch,
        Some(rows) => NonZeroU32::new(rows).map_or(BatchSize::Full, BatchSize::Rows),
    };
    // Stopping by the loss's change belongs to full batches.
    let stop_loss_change = defaults.stop_loss_change.filter(|_| batch == BatchSize::Full);
    let is_of_local_steps = is_of_local_steps(options, local_steps);
    let optimiser =
        options.optimiser.unwrap_or(if is_of_local_steps { Optimiser::Momentum } else { defaults.optimiser });
    let eta = options.eta.unwrap_or(match local_steps {
        Some(1) => usual::eta(batch, defaults.eta),
        _ if is_of_local_steps && optimiser != Optimiser::Adam => LOCAL_ETA,
        _ => defaults.eta,
    });
    // Steps are many, and a rate that falls from each to the next is soon none.
    let (epochs, eta_decay) = match local_steps {
        None => (options.epochs.unwrap_or(defaults.epochs), defaults.eta_decay),
        Some(_) => (1, 1.0),
    };
    let activation = options.activation.unwrap_or(defaults.activation);
    let momentum = options.momentum.unwrap_or(defaults.momentum);
    let weight_decay = options.weight_decay.unwrap_or(defaults.weight_decay);
    let huber_delta = options.huber_delta.unwrap_or(defaults.huber_delta);
    let dropout = options.dropout.unwrap_or(defaults.dropout);
    let label_smoothing = options.label_smoothing.unwrap_or(defaults.label_smoothing);
    let asked = Recipe {
        activation,
        optimiser,
        momentum,
        weight_decay,
        eta,
        eta_decay,
        epochs,
        local_steps,
        batch,
        stop_loss_change,
        huber_delta,
        label_smoothing,
        dropout,
        ..defaults
    };
    asked.checked()
}

/// Outer learning rate of Adam where none is asked for: its steps are about as long as the rate.
const OUTER_ADAM_ETA: f32 = 0.05;

fn outer(options: &OuterOptions, is_of_local_steps: bool) -> Result<Outer, String> {
    let OuterOptions { optimiser, eta, momentum, weight_decay, clip, .. } = *options;
    let optimiser =
        optimiser.unwrap_or(if is_of_local_steps { OuterOptimiser::Nesterov } else { OuterOptimiser::Average });
    let is_there = |option: Option<f32>, name| option.map(|_| name);
    let eta_or = match optimiser {
        OuterOptimiser::Adam => OUTER_ADAM_ETA,
        OuterOptimiser::Nesterov if is_of_local_steps => LOCAL_OUTER_ETA,
        _ => Outer::AVERAGE.eta,
    };
    if optimiser == OuterOptimiser::Average {
        let options = [
            is_there(eta, "--outer-eta"),
            is_there(momentum, "--outer-momentum"),
            is_there(weight_decay, "--outer-weight-decay"),
            is_there(clip, "--outer-clip"),
        ];
        if let Some(name) = options.into_iter().flatten().next() {
            return Err(format!("{name} belongs to an outer optimiser: --outer momentum, nesterov or adam names one"));
        }
        return Ok(Outer::AVERAGE);
    }
    if momentum.is_some() && optimiser == OuterOptimiser::Adam {
        return Err("the outer optimiser adam has no momentum: --outer momentum and nesterov have".to_owned());
    }
    let asked = Outer {
        optimiser,
        eta: eta.unwrap_or(eta_or),
        momentum: momentum.unwrap_or(Outer::AVERAGE.momentum),
        weight_decay: weight_decay.unwrap_or(Outer::AVERAGE.weight_decay),
        schedule: if is_of_local_steps { Schedule::Cosine } else { Schedule::default() },
        clip,
        ..Outer::AVERAGE
    };
    asked.checked().map_err(|error| error.to_string())
}

/// The one optimiser of merged gradients, at the coordinator: the recipe's.
fn outer_of_gradients(options: &OuterOptions, recipe: &Recipe) -> Result<Outer, String> {
    let OuterOptions { optimiser, eta, momentum, weight_decay, clip, .. } = *options;
    let of_another = [
        (optimiser.is_some(), "--outer", "--optimiser"),
        (eta.is_some(), "--outer-eta", "--eta"),
        (momentum.is_some(), "--outer-momentum", "--momentum"),
        (weight_decay.is_some(), "--outer-weight-decay", "--weight-decay"),
    ];
    if let Some((_, wrong, right)) = of_another.iter().find(|(is_asked, ..)| *is_asked) {
        return Err(format!(
            "where gradients are merged there is one optimiser, at the coordinator: {right} instead of {wrong}, or --epochs \
             and --outer"
        ));
    }
    let (optimiser, momentum) = match recipe.optimiser {
        // Without a momentum, the velocity is the gradient.
        Optimiser::Sgd => (OuterOptimiser::Momentum, 0.0),
        Optimiser::Momentum => (OuterOptimiser::Momentum, recipe.momentum),
        Optimiser::Adam => (OuterOptimiser::Adam, Outer::AVERAGE.momentum),
    };
    let asked = Outer {
        optimiser,
        eta: recipe.eta,
        momentum,
        betas: recipe.betas,
        epsilon: recipe.epsilon,
        weight_decay: recipe.weight_decay,
        schedule: Schedule::Cosine,
        clip,
        ..Outer::AVERAGE
    };
    asked.checked().map_err(|error| error.to_string())
}

/// What compares outputs with such targets.
fn loss_for(target: &Target, asked: Option<Loss>) -> Result<Loss, String> {
    let kind = match target {
        Target::Classes(_) => TargetKind::Labels,
        Target::Values(_) => TargetKind::Values,
    };
    match (asked, kind) {
        (Some(loss), kind) if loss.target_kind() == kind => Ok(loss),
        (Some(loss), TargetKind::Labels) => Err(format!(
            "the loss {loss} is of numbers that are fitted, and this job is to tell classes apart: --task regress"
        )),
        (Some(loss), TargetKind::Values) => {
            Err(format!("the loss {loss} is of classes, and this job is to fit numbers: --task classify"))
        }
        (None, TargetKind::Labels) => Ok(Loss::CrossEntropy),
        (None, TargetKind::Values) => Ok(Loss::SquaredError),
    }
}

//! From options and data to a job: its specification, the objects that it names, and what the model file will say. Owns
//! the defaults; does not know the network.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::{Options, new_job};
use crate::cli::{Exit, Failure};
use crate::dataset::{Block, Dataset, Preparation, Prepared, Scaling, Sharding};
use crate::digest::Digest;
use crate::job::{JobId, Operation, RowsRef, Specification, Training};
use crate::model::file::ModelFile;
use crate::model::{ARITHMETIC, BatchSize, Network, Optimiser, Recipe};
use crate::store::Store;
use crate::wire::message::Done;
use crate::wire::object::{self, ObjectKind};
use crate::wire::specification;

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

/// What a recipe says beyond the local mathematics.
struct Defaults {
    recipe: Recipe,
    rounds: u32,
    hidden: u32,
    shards: u32,
    scaling: Scaling,
    sharding: Sharding,
}

impl RecipeName {
    fn defaults(self) -> Defaults {
        match self {
            RecipeName::Default => Defaults {
                recipe: Recipe::DEFAULT,
                rounds: 40,
                hidden: 192,
                shards: 4,
                scaling: Scaling::Standardise,
                sharding: Sharding::Stratified,
            },
            RecipeName::Classic => Defaults {
                recipe: Recipe::CLASSIC,
                rounds: 25,
                hidden: 20,
                shards: 11,
                scaling: Scaling::None,
                sharding: Sharding::Contiguous,
            },
        }
    }
}

/// A job, ready to be submitted.
pub struct Plan {
    /// Its id.
    pub job: JobId,
    /// What is asked for.
    pub specification: Specification,
    /// The digest of what is asked for.
    pub semantic: Digest,
    /// The objects that the specification names.
    pub objects: Arc<Store>,
    /// The data's name, for people.
    pub data: String,
    /// The recipe's name.
    pub recipe: RecipeName,
    prepared: Prepared,
}

impl Plan {
    /// Reads the data and plans the job.
    pub fn new(options: &Options) -> Result<Plan, Failure> {
        let usage = |error: &dyn fmt::Display| Failure::new(Exit::Usage, error);
        let defaults = options.recipe.defaults();
        let dataset = match &options.data {
            None => Dataset::built_in(),
            Some(path) => Dataset::read(path).map_err(|error| usage(&error))?,
        };
        let start = match &options.start_from {
            None => None,
            Some(path) => Some(ModelFile::read(path).map_err(|error| usage(&error))?),
        };
        let split = options.validate_split.unwrap_or_else(|| match options.recipe {
            RecipeName::Default => dataset.default_split(),
            RecipeName::Classic => dataset.classic_split(),
        });
        let preparation = Preparation {
            split,
            scaling: defaults.scaling,
            sharding: defaults.sharding,
            shards: options.shards.unwrap_or(defaults.shards),
            seed: options.seed,
        };
        let mut prepared = dataset.prepare(&preparation).map_err(|error| usage(&error))?;
        let hidden = options.hidden.clone().unwrap_or_else(|| vec![defaults.hidden]);
        let classes = prepared.classes.len() as u32;
        let network = Network::new(prepared.features as u32, &hidden, classes).map_err(|error| usage(&error))?;
        let recipe = recipe(options, defaults.recipe).map_err(|error| usage(&error))?;

        let objects = Arc::new(Store::new(u64::MAX));
        let initial = match start {
            None => None,
            Some(model) => {
                check_start(&model, &network, &prepared.classes).map_err(|text| usage(&text))?;
                let bytes = object::encode_parameters(ObjectKind::Weights, &network, &model.parameters);
                Some(keep(&objects, bytes))
            }
        };
        // The rows are in the objects from here on.
        let features = network.inputs();
        let shards = std::mem::take(&mut prepared.shards);
        let shards = shards.into_iter().map(|block| rows_object(&objects, features, &block)).collect();
        let validation = std::mem::replace(&mut prepared.validation, Block { values: Vec::new(), labels: Vec::new() });
        let specification = Specification {
            training: Training { arithmetic: ARITHMETIC, network, recipe, seed: options.seed },
            rounds: options.rounds.unwrap_or(defaults.rounds),
            shards,
            validation: rows_object(&objects, features, &validation),
            initial,
            operation: Operation {
                on_task_failure: options.on_task_failure,
                allow_inexact: options.allow_inexact,
                ..Operation::default()
            },
            notes: Vec::new(),
        };
        let specification = specification.checked().map_err(|error| usage(&error))?;
        let job = options.job.unwrap_or_else(new_job);
        let semantic = specification::semantic_digest(&specification);
        Ok(Plan {
            job,
            specification,
            semantic,
            objects,
            data: dataset.name().to_owned(),
            recipe: options.recipe,
            prepared,
        })
    }

    /// Saves the model; returns where.
    pub fn save(&self, out: &Path, done: &Done, parameters: Vec<f32>) -> Result<PathBuf, Failure> {
        let training = &self.specification.training;
        let file = ModelFile {
            network: training.network.clone(),
            activation: training.recipe.activation,
            fingerprint: done.fingerprint,
            specification: self.described(done),
            scaling: self.prepared.scaling.clone(),
            feature_names: self.prepared.feature_names.clone(),
            class_names: self.prepared.classes.clone(),
            parameters,
        };
        file.write(out).map_err(|error| Failure::new(Exit::Output, error))?;
        Ok(out.to_owned())
    }

    /// The specification in words, for the model file: a function of the job alone, so that the same job gives the same
    /// file.
    fn described(&self, done: &Done) -> BTreeMap<String, String> {
        let Specification { training, rounds, shards, validation, .. } = &self.specification;
        let recipe = &training.recipe;
        let mut described = BTreeMap::new();
        let mut put = |key: &str, value: String| described.insert(key.to_owned(), value);
        put("data", self.data.clone());
        put("recipe", self.recipe.to_string());
        put("arithmetic", training.arithmetic.to_string());
        put("optimiser", optimiser_name(recipe.optimiser).to_owned());
        put("eta", recipe.eta.to_string());
        put("eta_decay", recipe.eta_decay.to_string());
        put("batch", batch_name(recipe.batch));
        put("epochs", recipe.epochs.to_string());
        put("rounds", rounds.to_string());
        put("shards", shards.len().to_string());
        put("seed", training.seed.to_string());
        put("training_rows", self.specification.rows().to_string());
        put("validation_rows", validation.rows.to_string());
        put("validation_errors", done.errors.to_string());
        put("reproducible", done.reproducible.to_string());
        described
    }

    /// The plan in two lines for people.
    pub fn summary(&self) -> [String; 2] {
        let Specification { training, rounds, shards, validation, .. } = &self.specification;
        let recipe = &training.recipe;
        let network = &training.network;
        [
            format!(
                "{}: {} rows train in {} shards, {} validate; {} features, {} classes",
                self.data,
                self.specification.rows(),
                shards.len(),
                validation.rows,
                network.inputs(),
                network.classes()
            ),
            format!(
                "network {network}, {} parameters; recipe {}: {}, batch {}, eta {}, {rounds} rounds of {} epochs, seed {}",
                network.parameters(),
                self.recipe,
                optimiser_name(recipe.optimiser),
                batch_name(recipe.batch),
                recipe.eta,
                recipe.epochs,
                training.seed
            ),
        ]
    }
}

fn optimiser_name(optimiser: Optimiser) -> &'static str {
    match optimiser {
        Optimiser::Sgd => "sgd",
        Optimiser::Adam => "adam",
    }
}

fn batch_name(batch: BatchSize) -> String {
    match batch {
        BatchSize::Full => "full".to_owned(),
        BatchSize::Rows(rows) => rows.to_string(),
    }
}

fn recipe(options: &Options, defaults: Recipe) -> Result<Recipe, crate::model::RecipeError> {
    let batch = match options.batch {
        None => defaults.batch,
        Some(rows) => NonZeroU32::new(rows).map_or(BatchSize::Full, BatchSize::Rows),
    };
    // Stopping by the loss's change belongs to full batches.
    let stop_loss_change = defaults.stop_loss_change.filter(|_| batch == BatchSize::Full);
    let eta = options.eta.unwrap_or(defaults.eta);
    let epochs = options.epochs.unwrap_or(defaults.epochs);
    Recipe { eta, epochs, batch, stop_loss_change, ..defaults }.checked()
}

fn check_start(model: &ModelFile, network: &Network, classes: &[String]) -> Result<(), String> {
    if model.network != *network {
        return Err(format!("the model to start from is {}, and this job's network is {network}", model.network));
    }
    if model.class_names != classes {
        return Err("the model to start from knows other classes than the data".to_owned());
    }
    Ok(())
}

fn rows_object(objects: &Store, features: u32, block: &Block) -> RowsRef {
    let digest = keep(objects, object::encode_rows(features, &block.values, &block.labels));
    RowsRef { rows: block.rows() as u32, digest }
}

fn keep(objects: &Store, bytes: Vec<u8>) -> Digest {
    let digest = Digest::of(&bytes);
    objects.insert(digest, Arc::new(bytes));
    digest
}

/// Refuses a model path that cannot be written, before anything is trained for it.
pub(super) fn check_output(out: &Path) -> Result<(), Failure> {
    let fail = |why: String| Err(Failure::new(Exit::Usage, why));
    if out.is_dir() {
        return fail(format!("{} is a directory: name a file in it", out.display()));
    }
    if out.file_name().is_none() || (out.exists() && !out.is_file()) {
        return fail(format!("{} is no file that a model may replace: name another", out.display()));
    }
    let directory = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        return fail(format!("{} is no directory: make it, or save elsewhere", directory.display()));
    }
    // The model will be written beside its place and moved there; whether that goes is only known by trying.
    match tempfile::Builder::new().prefix(".gradwire-").suffix(".part").tempfile_in(directory) {
        Ok(_) => Ok(()),
        Err(error) => fail(format!("nothing can be written to {}: {error}; save elsewhere", directory.display())),
    }
}

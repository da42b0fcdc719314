//! A job as the client knows it, whoever submitted it: what is asked for, in words, and as the model file that comes of
//! it. Does not know data or the network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::notes::Words;
use super::sample::TrainingSample;
use super::score::{Measure, Score};
use crate::cli::{Exit, Failure};
use crate::digest::Digest;
use crate::job::{self, JobId, Specification, Summary};
use crate::model::file::ModelFile;
use crate::model::scaling::Target;
use crate::model::{Activation, BatchSize, Loss, Merge, Optimiser, Outer, OuterOptimiser, Schedule, TargetKind};
use crate::wire::message::Described;
use crate::wire::object::{self, ObjectKind};
use crate::wire::specification;
use crate::wire::text::{counted, shown};

/// A job.
#[derive(Clone, Debug)]
pub struct Work {
    /// Its id.
    pub job: JobId,
    /// What is asked for.
    pub specification: Specification,
    /// The digest of what is asked for.
    pub semantic: Digest,
    /// What the data say of it, where that is known.
    pub words: Option<Words>,
}

/// Where in its job a model stands.
#[derive(Clone, Debug)]
pub enum Reached {
    /// At its end.
    End(Box<Summary>),
    /// Behind so many of its steps: the job was given up, cancelled or paused.
    Step {
        /// What they led to.
        weights: Digest,
        /// Steps.
        steps: u64,
    },
}

impl From<Described> for Work {
    fn from(described: Described) -> Work {
        let Described { job, specification } = described;
        let semantic = specification::semantic_digest(&specification);
        let words = Words::from_notes(&specification.notes, &specification.training);
        Work { job, specification, semantic, words }
    }
}

impl Work {
    /// That the fingerprint of a done job follows from it and its weights.
    pub fn check_fingerprint(&self, done: &Summary) -> Result<(), String> {
        let wanted = job::fingerprint(&self.semantic, &done.weights);
        if wanted != done.fingerprint {
            return Err(format!(
                "the coordinator's fingerprint {} is not that of this job and its weights, {wanted}",
                done.fingerprint
            ));
        }
        Ok(())
    }

    /// The parameters in the object that holds the job's weights.
    pub fn parameters(&self, weights: &[u8]) -> Result<Vec<f32>, String> {
        let parameters = object::decode_parameters(ObjectKind::Weights, &self.specification.training.network, weights);
        Ok(parameters.map_err(|error| format!("the model cannot be read: {error}"))?.into_owned())
    }

    /// That a model file can be written, before anybody waits for the model.
    pub fn check_saves(&self) -> Result<(), Failure> {
        self.words_of_file().map(drop)
    }

    /// What a model file says of the data, if there can be such a file.
    fn words_of_file(&self) -> Result<&Words, Failure> {
        self.words.as_ref().ok_or_else(|| {
            let text = format!(
                "the job has no notes of a client of this version, and a model file needs its data's names and scaling: \
                 run the original command again where the data is, with --job {} and --out",
                self.job
            );
            Failure::new(Exit::Output, text)
        })
    }

    /// What the job's numbers are measured by.
    pub(super) fn measure(&self) -> Measure {
        Measure::of(self.words.as_ref())
    }

    /// What the job's rows are compared with.
    fn target_kind(&self) -> TargetKind {
        self.specification.training.recipe.loss.target_kind()
    }

    /// Saves the model; returns where.
    pub fn save(&self, out: &Path, reached: &Reached, parameters: Vec<f32>) -> Result<PathBuf, Failure> {
        let words = self.words_of_file()?;
        let training = &self.specification.training;
        let file = ModelFile {
            network: training.network.clone(),
            activation: training.recipe.activation,
            fingerprint: self.fingerprint(reached),
            semantic_digest: self.semantic,
            specification: self.settings(reached),
            scaling: words.scaling.clone(),
            feature_names: words.feature_names.clone(),
            schema: words.schema.as_ref().map(ToString::to_string),
            target: words.target.clone(),
            parameters,
        };
        file.write(out).map_err(|error| Failure::new(Exit::Output, error))?;
        Ok(out.to_owned())
    }

    /// The fingerprint of a model.
    pub fn fingerprint(&self, reached: &Reached) -> Digest {
        match reached {
            Reached::End(done) => done.fingerprint,
            Reached::Step { weights, .. } => job::fingerprint(&self.semantic, weights),
        }
    }

    /// The specification in words, for the model file: a function of the job alone, so that the same job gives the same
    /// file.
    pub fn settings(&self, reached: &Reached) -> BTreeMap<String, String> {
        let Specification { training, rounds, shards, validation, test, .. } = &self.specification;
        let recipe = &training.recipe;
        let mut described = BTreeMap::new();
        let mut put = |key: &str, value: String| described.insert(key.to_owned(), value);
        if let Some(words) = &self.words {
            put("data", words.data.clone());
            put("recipe", words.recipe.clone());
            if let Some(sample) = &words.sample {
                put(TrainingSample::KEY, sample.in_words());
            }
        }
        put("arithmetic", training.arithmetic.to_string());
        // Where gradients are merged, the outer optimiser is the only one.
        if !recipe.merges_gradients() {
            put("optimiser", recipe.optimiser.to_string());
            if recipe.optimiser == Optimiser::Momentum {
                put("momentum", recipe.momentum.to_string());
            }
            if recipe.weight_decay > 0.0 {
                put("weight_decay", recipe.weight_decay.to_string());
            }
            put("eta", recipe.eta.to_string());
            put("eta_decay", recipe.eta_decay.to_string());
            if recipe.schedule != Schedule::Constant {
                put("schedule", recipe.schedule.to_string());
                put("schedule_steps", recipe.schedule_steps.to_string());
            }
            if recipe.warmup > 0 {
                put("warmup", recipe.warmup.to_string());
            }
        }
        put("batch", batch_name(recipe.batch));
        match recipe.local_steps {
            None => put("epochs", recipe.epochs.to_string()),
            Some(steps) => {
                put("local_steps", steps.to_string());
                put("round_steps", self.specification.round_steps().to_string())
            }
        };
        put("rounds", rounds.to_string());
        if let Some(patience) = self.specification.patience {
            put("patience", patience.to_string());
        }
        if let Some(accuracy) = self.specification.target_accuracy {
            put("target_accuracy", accuracy.to_string());
        }
        put("shards", shards.len().to_string());
        put("seed", training.seed.to_string());
        if !training.class_weights.is_empty() {
            let weights: Vec<String> = training.class_weights.iter().map(f32::to_string).collect();
            put("class_weights", weights.join(","));
        }
        if self.specification.merge != Merge::Mean {
            put("merge", self.specification.merge.to_string());
        }
        for (key, value) in outer_in_words(&self.specification.outer) {
            put(key, value);
        }
        put("training_rows", self.specification.rows().to_string());
        put("validation_rows", validation.rows.to_string());
        if let Some(test) = test {
            put("test_rows", test.rows.to_string());
        }
        if recipe.loss != Loss::CrossEntropy {
            put("loss", recipe.loss.to_string());
        }
        if recipe.loss == Loss::Huber {
            put("huber_delta", recipe.huber_delta.to_string());
        }
        if recipe.dropout > 0.0 {
            put("dropout", recipe.dropout.to_string());
        }
        if recipe.label_smoothing > 0.0 {
            put("label_smoothing", recipe.label_smoothing.to_string());
        }
        match reached {
            Reached::End(done) => {
                let (validation, test) = self.measure().result(done);
                for (key, value) in test.iter().chain([&validation]).flat_map(Score::in_words) {
                    put(&key, value);
                }
                if self.specification.patience.is_some() {
                    put("best_round", format!("{} of {}", done.round, done.rounds));
                }
                put("reproducible", done.reproducible.to_string());
            }
            Reached::Step { steps, .. } => {
                put("unfinished", format!("{steps} of {} steps", self.specification.steps()));
            }
        }
        described
    }

    /// What its classes are called, where it tells some apart; by their numbers where that is not known.
    pub fn class_names(&self) -> Vec<String> {
        match self.words.as_ref().map(|words| &words.target) {
            Some(Target::Classes(names)) => names.clone(),
            _ => (0..self.specification.training.network.outputs()).map(|class| class.to_string()).collect(),
        }
    }

    /// The job in two lines for people: its data, its network and recipe.
    pub fn summary(&self) -> [String; 2] {
        let training = &self.specification.training;
        let outer = self.outer_in_words().map_or_else(String::new, |outer| format!("; outer {outer}"));
        [
            format!("{}: {}", self.data_name(), self.data_in_words()),
            format!(
                "network {}; recipe {}, {} {}, seed {}{outer}",
                self.network_in_words(),
                self.recipe_in_words(),
                counted(u64::from(self.specification.rounds), "round"),
                self.rounds_in_words(),
                training.seed
            ),
        ]
    }

    /// What a round is made of.
    pub fn round_in_words(&self) -> String {
        let recipe = &self.specification.training.recipe;
        match recipe.local_steps {
            None => counted(u64::from(recipe.epochs), "epoch"),
            Some(_) => counted(u64::from(self.specification.round_steps()), "step"),
        }
    }

    /// Of what the rounds are, and when they end before the last.
    pub fn rounds_in_words(&self) -> String {
        let Specification { patience, target_accuracy, .. } = self.specification;
        let until = patience.map_or_else(String::new, |patience| format!(", or until {patience} are no better"));
        let reached = target_accuracy
            .map_or_else(String::new, |accuracy| format!(", or until {} % are right", in_per_cent(accuracy)));
        format!("of {}{until}{reached}", self.round_in_words())
    }

    /// The data's name, as it may be shown.
    pub fn data_name(&self) -> String {
        match &self.words {
            Some(words) => shown(&words.data).to_string(),
            None => "data of unknown name".to_owned(),
        }
    }

    /// Rows, shards, features, classes or targets.
    pub fn data_in_words(&self) -> String {
        let Specification { training, shards, validation, test, .. } = &self.specification;
        let tested = test.map_or_else(String::new, |test| format!(", {} for the test", test.rows));
        let output = match self.target_kind() {
            TargetKind::Labels => "class",
            TargetKind::Values => "target",
        };
        let name = match self.words.as_ref().map(|words| &words.target) {
            Some(Target::Values(scales)) => {
                let names: Vec<String> = scales.iter().map(|scale| shown(scale.name()).to_string()).collect();
                format!(" ({})", names.join(", "))
            }
            _ => String::new(),
        };
        format!(
            "{} for training in {}, {} for validation{tested}; {}, {}{name}",
            counted(self.specification.rows(), "row"),
            counted(shards.len() as u64, "shard"),
            validation.rows,
            counted(u64::from(training.network.inputs()), "feature"),
            counted(u64::from(training.network.outputs()), output)
        )
    }

    /// Shape and size.
    pub fn network_in_words(&self) -> String {
        let network = &self.specification.training.network;
        format!("{network}, {}", counted(network.parameters() as u64, "parameter"))
    }

    /// The outer optimiser and its values, where there is one.
    pub fn outer_in_words(&self) -> Option<String> {
        let words = outer_in_words(&self.specification.outer);
        let mut words = words.into_iter().map(|(key, value)| match key.strip_prefix("outer_") {
            Some(name) => format!("{} {value}", name.replace('_', " ")),
            None => value,
        });
        words.next().map(|first| words.fold(first, |all, word| format!("{all}, {word}")))
    }

    /// The recipe's name, and what matters most of it.
    pub fn recipe_in_words(&self) -> String {
        let recipe = &self.specification.training.recipe;
        let name =
            self.words.as_ref().map_or_else(|| "of unknown name".to_owned(), |words| shown(&words.recipe).to_string());
        let loss = match recipe.loss {
            Loss::CrossEntropy if recipe.label_smoothing > 0.0 => {
                format!("label smoothing {}, ", recipe.label_smoothing)
            }
            Loss::CrossEntropy => String::new(),
            Loss::SquaredError => "squared error, ".to_owned(),
            Loss::Huber => format!("Huber's loss from {}, ", recipe.huber_delta),
        };
        let (optimiser, batch) = (recipe.optimiser, batch_name(recipe.batch));
        let activation = match recipe.activation {
            Activation::Relu | Activation::MaskedIdentity => String::new(),
            other => format!("{other}, "),
        };
        let activation = match recipe.dropout {
            0.0 => activation,
            share => format!("{activation}dropout {share}, "),
        };
        if recipe.merges_gradients() {
            return format!("{name}: {loss}{activation}merged gradients, batch {batch}");
        }
        let local = recipe
            .local_steps
            .map_or_else(String::new, |steps| format!(", {} a task", counted(u64::from(steps), "batch")));
        let decay = if recipe.weight_decay > 0.0 { format!(", decay {}", recipe.weight_decay) } else { String::new() };
        let schedule = match recipe.schedule {
            Schedule::Constant => String::new(),
            schedule => format!(", schedule {schedule}"),
        };
        let warmup = if recipe.warmup > 0 { format!(", warmup {}", recipe.warmup) } else { String::new() };
        let eta = recipe.eta;
        format!("{name}: {loss}{activation}{optimiser}, batch {batch}{local}, eta {eta}{schedule}{warmup}{decay}")
    }
}

/// A share in per cent, with the digits that were asked for: not those that a product in binary has besides.
fn in_per_cent(share: f64) -> f64 {
    (share * 1e12).round() / 1e10
}

/// What there is to say of an outer optimiser, by the names of the specification's fields: what has a part in the job, and is
/// not the usual.
fn outer_in_words(outer: &Outer) -> Vec<(&'static str, String)> {
    let Outer { optimiser, eta, eta_decay, momentum, weight_decay, schedule, warmup, clip, .. } = *outer;
    let mut words = Vec::new();
    if optimiser == OuterOptimiser::Average {
        return words;
    }
    words.extend([("outer", optimiser.to_string()), ("outer_eta", eta.to_string())]);
    if optimiser != OuterOptimiser::Adam {
        words.push(("outer_momentum", momentum.to_string()));
    }
    if weight_decay > 0.0 {
        words.push(("outer_weight_decay", weight_decay.to_string()));
    }
    if schedule != Schedule::Constant {
        words.push(("outer_schedule", schedule.to_string()));
    }
    if eta_decay != 1.0 {
        words.push(("outer_eta_decay", eta_decay.to_string()));
    }
    if warmup > 0 {
        words.push(("outer_warmup", warmup.to_string()));
    }
    words.extend(clip.map(|clip| ("outer_clip", clip.to_string())));
    words
}

fn batch_name(batch: BatchSize) -> String {
    match batch {
        BatchSize::Full => "full".to_owned(),
        BatchSize::Rows(rows) => rows.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::in_per_cent;

    #[test]
    fn a_share_is_told_in_per_cent_with_the_digits_that_it_has() {
        let told = [0.9, 0.57, 0.955, 0.99999, 0.333_333, 1.0].map(|share| in_per_cent(share).to_string());
        assert_eq!(told, ["90", "57", "95.5", "99.999", "33.3333", "100"]);
    }
}

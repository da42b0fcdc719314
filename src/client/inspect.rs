//! A model file in words: what it is, what it tells, how it came about, and whether its weights are those that its fingerprint
//! names. Owns what is said; does not know the network.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::genuine::{self, fingerprint};
use super::options::Output;
use super::render::{print_json, print_lines};
use super::sample::TrainingSample;
use super::score::{Score, significant};
use crate::cli::{self, Exit, Failure};
use crate::digest::Digest;
use crate::model::file::ModelFile;
use crate::model::scaling::{FeatureScale, Target, TargetScale};
use crate::wire::text::{Align, Table, counted, shown};

/// What a job's keys begin with where they are of its result on the validation rows, or of the guess beside it.
const OF_RESULT: [&str; 3] = ["validation_", "test_", "baseline_"];

/// Says everything that a model file holds but the weights themselves, and fails where those are not its fingerprint's.
pub fn inspect(path: &Path, output: Output) -> Result<Exit, Failure> {
    let model = ModelFile::read(path).map_err(|error| Failure::new(Exit::Usage, error))?;
    let computed = fingerprint(&model);
    match output {
        Output::Json => print_json(&in_json(path, &model, computed))?,
        Output::Table | Output::Quiet => {
            let lines: Vec<String> =
                lines(path, &model, computed).iter().map(|(name, value)| format!("{name:<11}  {value}")).collect();
            print_lines(&lines)?;
            cli::print(&format!("\n{}", features(&model).to_string().trim_end()))?;
        }
    }
    genuine::check(path, &model).map_err(|text| Failure::new(Exit::JobFailed, text))?;
    Ok(Exit::Success)
}

/// What of a job's words are its settings: neither what other lines say nor what came of it.
pub(super) fn settings(job: &BTreeMap<String, String>) -> impl Iterator<Item = (&String, &String)> {
    let is_setting = |key: &str| {
        let in_words = ["data", "recipe", "training_rows", "reproducible", "unfinished", TrainingSample::KEY];
        !in_words.contains(&key) && !OF_RESULT.iter().any(|prefix| key.starts_with(prefix))
    };
    job.iter().filter(move |(key, _)| is_setting(key))
}

/// Names and values, the most important first.
fn lines(path: &Path, model: &ModelFile, computed: Digest) -> Vec<(&'static str, String)> {
    let said = |key: &str| model.specification.get(key).map(|value| shown(value).to_string());
    let mut lines = vec![
        ("model", path.display().to_string()),
        (
            "network",
            format!("{}, {}; {}", model.network, counted(model.parameters.len() as u64, "parameter"), model.activation),
        ),
    ];
    match &model.target {
        Target::Classes(names) => {
            let names: Vec<String> = names.iter().map(|name| shown(name).to_string()).collect();
            lines.push(("task", format!("classify: {}", counted(names.len() as u64, "class"))));
            lines.push(("classes", names.join(", ")));
        }
        Target::Values(scales) => {
            lines.push(("task", format!("regress: {}", counted(scales.len() as u64, "target"))));
            lines.extend(scales.iter().map(|scale| ("target", scale_in_words(scale))));
        }
    }
    if let (Some(data), Some(training), Some(validation)) =
        (said("data"), said("training_rows"), said("validation_rows"))
    {
        let tested = said("test_rows").map_or_else(String::new, |test| format!(", {test} for the test"));
        lines.push(("data", format!("{data}: {training} rows for training, {validation} for validation{tested}")));
    }
    lines.extend(said("recipe").map(|recipe| ("recipe", recipe)));
    let pair = |(key, value): (&String, &String)| format!("{} {}", shown(&key.replace('_', " ")), shown(value));
    let settings: Vec<String> = settings(&model.specification).map(pair).collect();
    if !settings.is_empty() {
        lines.push(("settings", settings.join(", ")));
    }
    lines.extend(said("reproducible").map(|reproducible| match &*reproducible {
        "true" => ("repeatable", "the same job gives the same bits again".to_owned()),
        _ => ("repeatable", "no: parts were skipped, or nodes with another arithmetic helped".to_owned()),
    }));
    match said("unfinished") {
        None => lines.extend(Score::result_lines(&Score::of_file(&model.specification, &model.target))),
        // Nobody has judged these weights.
        Some(after) => lines.push(("unfinished", format!("the weights after {after}; the job had not ended"))),
    }
    lines.push(("job", model.semantic_digest.to_string()));
    lines.push(("fingerprint", model.fingerprint.to_string()));
    let is_its = match computed == model.fingerprint {
        true => "those that the fingerprint names",
        false => "NOT those that the fingerprint names",
    };
    lines.push(("weights", is_its.to_owned()));
    lines
}

fn scale_in_words(scale: &TargetScale) -> String {
    let (mean, deviation) = (significant(scale.mean()), significant(scale.deviation()));
    format!("{}: mean {mean}, deviation {deviation} over the training rows", shown(scale.name()))
}

/// What a feature is divided by once it is centred: a deviation, a distance of quartiles, or 1 where it is not scaled.
fn divisor(scale: &FeatureScale) -> f64 {
    1.0 / scale.inverse_deviation()
}

fn features(model: &ModelFile) -> Table {
    let mut table = Table::new(&[("FEATURE", Align::Left), ("CENTRE", Align::Right), ("SCALE", Align::Right)]);
    for (name, scale) in model.feature_names.iter().zip(&model.scaling) {
        table.row([shown(name).to_string(), significant(scale.mean()), significant(divisor(scale))]);
    }
    table
}

fn in_json(path: &Path, model: &ModelFile, computed: Digest) -> Value {
    let feature = |(name, scale): (&String, &FeatureScale)| json!({"name": name, "mean": scale.mean(), "inverse_deviation": scale.inverse_deviation(), "smooth_clip": scale.is_clipped()});
    let target =
        |scale: &TargetScale| json!({"name": scale.name(), "mean": scale.mean(), "deviation": scale.deviation()});
    let (task, classes, targets) = match &model.target {
        Target::Classes(names) => ("classify", json!(names), Value::Null),
        Target::Values(scales) => ("regress", Value::Null, scales.iter().map(target).collect()),
    };
    let mut told = json!({
        "event": "model",
        "file": path.display().to_string(),
        "network": model.network.to_string(),
        "parameters": model.parameters.len(),
        "activation": model.activation.to_string(),
        "task": task,
        "classes": classes,
        "targets": targets,
        "features": model.feature_names.iter().zip(&model.scaling).map(feature).collect::<Vec<_>>(),
        "job": model.specification,
        "semantic_digest": model.semantic_digest.to_string(),
        "fingerprint": model.fingerprint.to_string(),
        "fingerprint_is_of_weights": computed == model.fingerprint,
    });
    let (validation, test) = Score::of_file(&model.specification, &model.target);
    Score::put_results(&mut told, &validation, test.as_ref());
    told
}

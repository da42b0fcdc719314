//! How good a model is on some rows, and how much it rests on each column there, computed here. Owns the way from rows, of a job or of a
//! file, to figures; does not know what a figure is, or how it is shown.

use std::path::Path;

use crate::cli::Failure;
use crate::client::applied::Applied;
use crate::client::evaluate::{self, EvaluateOptions, OfFile};
use crate::client::figures::{OfTarget, TargetSums};
use crate::client::importance::{Importance, KeptRows, Subject};
use crate::client::options::Output;
use crate::client::score::Judged;
use crate::client::work::Work;
use crate::dataset::Schema;
use crate::model::figures::{ClassCounts, ClassFigures, SCORES_MAX};
use crate::model::scaling::{Target, TargetScale};
use crate::model::{Evaluator, Kernel, Predictor, Rows, Targets};
use crate::wire::object;
use crate::wire::text::counted;

/// Values that are computed with at a time, about.
const BATCH_VALUES: usize = 1 << 20;
/// Rows below which importances would be chance, where no more can be afforded.
const ROWS_MIN: usize = 100;
/// The seed by which columns are dealt, which `evaluate --importance` has, too, where nobody gives another.
const SEED: u64 = 1;

/// Which rows judge a model.
#[derive(Clone, Debug)]
pub(super) enum Whose {
    /// A job's own.
    Job(Judged),
    /// Those of a file of this name.
    File(String),
}

impl Whose {
    /// So many of them, in words.
    pub(super) fn rows(&self, count: u64) -> String {
        match self {
            Whose::Job(judged) => counted(count, &format!("{} row", judged.name())),
            Whose::File(name) => format!("{} of {name}", counted(count, "row")),
        }
    }
}

/// Figures of the rows that judge a model.
#[derive(Clone, Debug)]
pub(super) struct JudgedRows {
    pub(super) whose: Whose,
    pub(super) figures: Figures,
    /// Rows that could not be judged, in words; mostly empty.
    pub(super) left_out: String,
    /// That many of them trained the model, in words; mostly empty.
    pub(super) known: String,
}

/// What is found.
#[derive(Clone, Debug)]
pub(super) enum Figures {
    /// And the names of the classes.
    Classes(ClassFigures, Vec<String>),
    /// Of each target.
    Values(Vec<OfTarget>),
}

/// Judges a model by the rows of a job in an object, and says how much it rests on each column; a sentence where one cannot be.
pub(super) fn of_job(
    judged: Judged,
    work: &Work,
    parameters: &[f32],
    rows: &[u8],
) -> (Result<JudgedRows, String>, Result<Importance, String>) {
    let (network, recipe) = (&work.specification.training.network, &work.specification.training.recipe);
    let parts = object::decode_rows(network, recipe.loss, rows).map_err(|error| error.to_string());
    let rows = parts.and_then(|parts| Rows::of_parts(network.input_layout(), parts).map_err(|error| error.to_string()));
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => return (Err(error.clone()), Err(error)),
    };
    let figures = figures(work, parameters, &rows);
    let figures = figures.map(|figures| JudgedRows {
        whose: Whose::Job(judged),
        figures,
        left_out: String::new(),
        known: String::new(),
    });
    (figures, importance(work, parameters, &rows))
}

/// Judges the model of a file by the rows of another, as `evaluate` does.
pub(super) fn of_file(
    applied: &Applied,
    data: &Path,
    options: &EvaluateOptions,
) -> Result<(JudgedRows, Result<Importance, String>), Failure> {
    let subject = Subject::of(applied);
    let kept = KeptRows::new(subject.rows_affordable());
    let OfFile { figures, left_out, kept, trained } =
        evaluate::judge(applied, data, options, Output::Table, Some(kept))?;
    let figures = match (figures, &applied.model.target) {
        (evaluate::Figures::Classes(figures), Target::Classes(names)) => Figures::Classes(figures, names.clone()),
        (evaluate::Figures::Classes(figures), Target::Values(_)) => Figures::Classes(figures, Vec::new()),
        (evaluate::Figures::Values(targets), _) => Figures::Values(targets),
    };
    let importance = kept.map_or_else(|| Err(String::new()), |kept| of_kept(&subject, &kept));
    let whose = Whose::File(data.display().to_string());
    let known = trained.and_then(|share| evaluate::known_rows(applied, &share)).unwrap_or_default();
    Ok((JudgedRows { whose, figures, left_out: left_out.in_words(), known }, importance))
}

/// How much a job's model rests on each column.
fn importance(work: &Work, parameters: &[f32], rows: &Rows<'_>) -> Result<Importance, String> {
    let words =
        work.words.as_ref().ok_or("The job has no notes of a client of this version, which name its columns.")?;
    let (network, activation) = (&work.specification.training.network, work.specification.training.recipe.activation);
    let columns = match &words.schema {
        Some(schema) => Schema::from_json(schema)
            .ok_or("This program does not read the schema, which is another program's.")?
            .inputs_by_column(),
        None => words.feature_names.iter().zip(0..).map(|(name, input)| (name.clone(), input..input + 1)).collect(),
    };
    let inputs = network.inputs() as usize;
    if columns.last().map_or(0, |(_, range)| range.end) != inputs {
        return Err("The job's notes name other columns than its rows have.".to_owned());
    }
    let subject = Subject { network, activation, parameters, target: &words.target, columns };
    let mut kept = KeptRows::new(subject.rows_affordable());
    let (width, batch_rows) = (network.outputs() as usize, (BATCH_VALUES / inputs.max(1)).max(1));
    let mut batch = Vec::new();
    for first in (0..rows.rows() as usize).step_by(batch_rows) {
        let taken = first..(first + batch_rows).min(rows.rows() as usize);
        rows.inputs().expand(taken.clone(), &mut batch);
        match (rows.targets(), &words.target) {
            (Targets::Labels { labels, .. }, Target::Classes(_)) => kept.take(taken.len(), &batch, &labels[taken], &[]),
            (Targets::Values { values, .. }, Target::Values(_)) => {
                kept.take(taken.len(), &batch, &[], &values[taken.start * width..taken.end * width]);
            }
            _ => return Err("The job's notes tell of other targets than its rows have.".to_owned()),
        }
    }
    of_kept(&subject, &kept)
}

fn of_kept(subject: &Subject<'_>, kept: &KeptRows) -> Result<Importance, String> {
    if subject.rows_affordable() < ROWS_MIN {
        return Err(
            "It would take too long for so large a model; client evaluate MODEL DATA --importance tells it.".to_owned()
        );
    }
    Importance::of(subject, kept, SEED).map_err(|error| error.to_string())
}

fn figures(work: &Work, parameters: &[f32], rows: &Rows<'_>) -> Result<Figures, String> {
    let (network, recipe) = (&work.specification.training.network, &work.specification.training.recipe);
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let (inputs, width) = (network.inputs() as usize, network.outputs() as usize);
    let figures = match rows.targets() {
        Targets::Labels { labels, .. } => {
            let mut counts = ClassCounts::new(width, SCORES_MAX);
            let counted = Evaluator::new(Kernel::best()).count(
                network,
                recipe.activation,
                parameters,
                rows.inputs(),
                labels,
                &mut counts,
            );
            counted.map_err(|error| failed(&error))?;
            let names = match work.words.as_ref().map(|words| &words.target) {
                Some(Target::Classes(names)) => names.clone(),
                _ => (0..width).map(|class| class.to_string()).collect(),
            };
            counts.finish().map(|figures| Figures::Classes(figures, names))
        }
        Targets::Values { values: targets, .. } => {
            let scales: Vec<TargetScale> = match work.words.as_ref().map(|words| &words.target) {
                Some(Target::Values(scales)) => scales.clone(),
                // In the deviations of the training rows.
                _ => (1..=width).filter_map(|number| TargetScale::new(format!("target {number}"), 0.0, 1.0)).collect(),
            };
            let mut predictor = Predictor::new(Kernel::best(), network, recipe.activation, parameters);
            let batch_rows = (BATCH_VALUES / (inputs + width)).max(1);
            let (mut batch, mut outputs) = (Vec::new(), Vec::new());
            let mut sums = TargetSums::new(scales.len());
            for (first, targets) in (0..).step_by(batch_rows).zip(targets.chunks(batch_rows * width)) {
                rows.inputs().expand(first..first + targets.len() / width, &mut batch);
                predictor.outputs(&mut batch, &mut outputs).map_err(|error| failed(&error))?;
                if outputs.iter().any(|output| !output.is_finite()) {
                    return Err("the model's outputs are not finite for some rows".to_owned());
                }
                for (targets, outputs) in targets.chunks_exact(width).zip(outputs.chunks_exact(width)) {
                    sums.take(outputs, targets);
                }
            }
            sums.finish(&scales).map(Figures::Values)
        }
    };
    figures.ok_or_else(|| "there is no row".to_owned())
}

//! How good a job's model is on the job's own rows, computed here. Owns the way from the object that holds the rows to figures;
//! does not know what a figure is, or how it is shown.

use crate::client::figures::{OfTarget, TargetSums};
use crate::client::score::Judged;
use crate::client::work::Work;
use crate::model::figures::{ClassCounts, ClassFigures, SCORES_MAX};
use crate::model::scaling::{Target, TargetScale};
use crate::model::{Evaluator, Kernel, Predictor, Targets};
use crate::wire::object;

/// Values that are computed with at a time, about.
const BATCH_VALUES: usize = 1 << 20;

/// Figures of the rows that judge a job.
#[derive(Clone, Debug)]
pub(super) struct JudgedRows {
    pub(super) judged: Judged,
    pub(super) figures: Figures,
}

/// What is found.
#[derive(Clone, Debug)]
pub(super) enum Figures {
    /// And the names of the classes.
    Classes(ClassFigures, Vec<String>),
    /// Of each target.
    Values(Vec<OfTarget>),
}

impl JudgedRows {
    /// Judges a model by the rows in an object; a sentence where that cannot be.
    pub(super) fn new(judged: Judged, work: &Work, parameters: &[f32], rows: &[u8]) -> Result<JudgedRows, String> {
        let (network, recipe) = (&work.specification.training.network, &work.specification.training.recipe);
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let (values, targets) = object::decode_rows(network, recipe.loss, rows).map_err(|error| failed(&error))?;
        let (inputs, width) = (network.inputs() as usize, network.outputs() as usize);
        let figures = match targets {
            Targets::Labels { labels, .. } => {
                let mut counts = ClassCounts::new(width, SCORES_MAX);
                let counted = Evaluator::new(Kernel::best()).count(
                    network,
                    recipe.activation,
                    parameters,
                    &values,
                    &labels,
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
                    _ => (1..=width)
                        .filter_map(|number| TargetScale::new(format!("target {number}"), 0.0, 1.0))
                        .collect(),
                };
                let mut predictor = Predictor::new(Kernel::best(), network, recipe.activation, parameters);
                let batch_rows = (BATCH_VALUES / (inputs + width)).max(1);
                let (mut batch, mut outputs) = (Vec::new(), Vec::new());
                let mut sums = TargetSums::new(scales.len());
                for (values, targets) in values.chunks(batch_rows * inputs).zip(targets.chunks(batch_rows * width)) {
                    batch.clear();
                    batch.extend_from_slice(values);
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
        figures.map(|figures| JudgedRows { judged, figures }).ok_or_else(|| "there is no row".to_owned())
    }
}

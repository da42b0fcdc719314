//! A model, rows and all figures of them. Owns the way from one to the other, and how much memory it takes; does not know what a
//! figure is.

use super::classes::ClassCounts;
use super::confusion::ConfusionEntry;
use super::values::ValueSums;
use super::{ClassFigures, SCORES_MAX};
use crate::model::evaluate::{EvaluateError, Evaluator, evaluation_bytes};
use crate::model::input_layout::Inputs;
use crate::model::kernel::Kernel;
use crate::model::lanes::{LANES, Lanes};
use crate::model::loss::{TargetKind, Targets};
use crate::model::metrics::{Metric, Metrics};
use crate::model::network::Network;
use crate::model::recipe::{Activation, Loss, Recipe};
use crate::model::rows::Rows;

/// All that is told of a model that has been tried on some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Rows.
    pub rows: u64,
    /// What they say of the model: what every round is judged by, and more.
    pub metrics: Metrics,
    /// Which class was taken for which, in ascending order; nothing where there are no classes.
    pub confusion: Vec<ConfusionEntry>,
}

/// Bytes that judging a model of this network by so many rows takes, at most, with what is told of it.
pub fn judging_bytes(network: &Network, loss: Loss, rows: u32) -> u64 {
    let outputs = u64::from(network.outputs());
    let figures = match loss.target_kind() {
        TargetKind::Labels => ClassCounts::bytes_most(rows.into(), outputs, SCORES_MAX),
        TargetKind::Values => ValueSums::bytes(outputs),
    };
    evaluation_bytes(network, rows).saturating_add(figures)
}

/// Judges a model by rows in all figures.
pub fn judge(
    kernel: Kernel,
    network: &Network,
    recipe: &Recipe,
    parameters: &[f32],
    rows: &Rows<'_>,
) -> Result<Judgement, EvaluateError> {
    let mut evaluator = Evaluator::new(kernel);
    let evaluation = evaluator.evaluate(network, recipe, parameters, rows)?;
    let (metrics, activation, values) = (evaluation.metrics, recipe.activation, rows.inputs());
    let (metrics, confusion) = match rows.targets() {
        Targets::Labels { labels, .. } => {
            let mut counts = ClassCounts::new(network.outputs() as usize, SCORES_MAX);
            counts.expect(labels.len());
            evaluator.count(network, activation, parameters, values, labels, &mut counts)?;
            let figures = counts.finish();
            (
                figures.as_ref().map_or(metrics, |figures| with_figures(metrics, figures)),
                figures.map(|told| told.confusion),
            )
        }
        Targets::Values { values: targets, width } => {
            let width = *width as usize;
            let mut sums = ValueSums::new(width);
            evaluator.each_block(network, activation, parameters, values, |first, _, outputs| {
                take_values(outputs, &targets[first * width..], width, &mut sums);
            })?;
            let Some(figures) = sums.finish() else { return Ok(judgement(evaluation.rows, metrics, None)) };
            let more = [
                (Metric::SquaredTotal, figures.squared),
                (Metric::AbsoluteTotal, figures.absolute),
                (Metric::Variation, figures.variation),
            ];
            (with_finite(metrics, more.map(|(metric, value)| (metric, Some(value)))), None)
        }
    };
    Ok(judgement(evaluation.rows, metrics, confusion))
}

fn judgement(rows: u64, metrics: Metrics, confusion: Option<Vec<ConfusionEntry>>) -> Judgement {
    Judgement { rows, metrics, confusion: confusion.unwrap_or_default() }
}

/// The same with what is counted of classes.
fn with_figures(metrics: Metrics, figures: &ClassFigures) -> Metrics {
    let in_top = figures.in_top.map(|rows| rows as f64);
    let more = [
        (Metric::LogLoss, Some(figures.log_loss)),
        (Metric::InTop, in_top),
        (Metric::BalancedAccuracy, Some(figures.balanced_accuracy)),
        (Metric::Auc, figures.auc),
    ];
    with_finite(metrics, more)
}

/// The same with those of these numbers that are there and finite.
fn with_finite<const N: usize>(metrics: Metrics, more: [(Metric, Option<f64>); N]) -> Metrics {
    let finite =
        more.into_iter().filter_map(|(metric, value)| Some((metric, value.filter(|value| value.is_finite())?)));
    finite.fold(metrics, |metrics, (metric, value)| metrics.with(metric, value))
}

/// Takes in panels of outputs, as long as there are rows of targets.
fn take_values(outputs: &[Lanes], targets: &[f32], width: usize, sums: &mut ValueSums) {
    for (panel, targets) in outputs.chunks_exact(width).zip(targets.chunks(LANES * width)) {
        for (lane, targets) in targets.chunks_exact(width).enumerate() {
            sums.take(panel.iter().map(|lanes| lanes.0[lane]), targets);
        }
    }
}

impl Evaluator {
    /// Counts what a model tells of rows of these labels, each of which is a class.
    pub fn count(
        &mut self,
        network: &Network,
        activation: Activation,
        parameters: &[f32],
        inputs: Inputs<'_>,
        labels: &[u32],
        counts: &mut ClassCounts,
    ) -> Result<(), EvaluateError> {
        let kernel = self.kernel();
        self.each_block(network, activation, parameters, inputs, |first, count, logits| {
            counts.take(kernel, logits, &labels[first..][..count]);
        })
    }
}

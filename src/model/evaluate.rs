//! How good a model is on labelled rows, and what it takes unlabelled rows for. Owns the counting; does not know where
//! models or rows come from.

use std::fmt;

use super::gather::{Order, gather};
use super::kernel::Kernel;
use super::lanes::{BLOCK_ROWS, Lanes, make_room, panels_of};
use super::loss::{self, Objective, TargetsError};
use super::metrics::{Metric, Metrics};
use super::network::Network;
use super::pass::Pass;
use super::recipe::{Activation, Recipe};
use super::rows::{Rows, cut_inputs};
use super::tree::Tree;

/// How good a model is on some rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Rows evaluated.
    pub rows: u64,
    /// What the model is judged by: sums over the rows, those that the loss has.
    pub metrics: Metrics,
}

impl Evaluation {
    /// A sum over the rows; 0 where the loss has none of this name.
    pub fn sum(&self, metric: Metric) -> f64 {
        self.metrics.get(metric).unwrap_or(0.0)
    }
}

/// Judges a model by `rows`.
pub fn evaluate(
    kernel: Kernel,
    network: &Network,
    recipe: &Recipe,
    parameters: &[f32],
    rows: &Rows<'_>,
) -> Result<Evaluation, EvaluateError> {
    Evaluator::new(kernel).evaluate(network, recipe, parameters, rows)
}

/// The class that the model takes each row for: the lowest index of the largest logit. `values` are rows of as many
/// features as the network has inputs, row-major; there may be none.
pub fn predict(
    kernel: Kernel,
    network: &Network,
    activation: Activation,
    parameters: &[f32],
    values: &[f32],
) -> Result<Vec<u32>, EvaluateError> {
    let mut values = values.to_vec();
    cut_inputs(&mut values);
    let mut classes = vec![0; values.len() / network.inputs() as usize];
    Evaluator::new(kernel).each_block(network, activation, parameters, &values, |first, count, logits| {
        loss::predict(kernel, logits, &mut classes[first..][..count]);
    })?;
    Ok(classes)
}

/// Evaluates models, one after the other. Keeps its working memory from one to the next, and nothing else.
pub struct Evaluator {
    pass: Pass,
    /// The rows of one block.
    panels: Vec<Lanes>,
    sums: Tree<f64>,
}

impl Evaluator {
    /// An evaluator that computes with `kernel`.
    pub fn new(kernel: Kernel) -> Evaluator {
        Evaluator { pass: Pass::new(kernel), panels: Vec::new(), sums: Tree::new() }
    }

    /// Judges a model by `rows`.
    pub fn evaluate(
        &mut self,
        network: &Network,
        recipe: &Recipe,
        parameters: &[f32],
        rows: &Rows<'_>,
    ) -> Result<Evaluation, EvaluateError> {
        rows.targets().fit(recipe.loss, network.outputs()).map_err(EvaluateError::Targets)?;
        if rows.features() != network.inputs() {
            return Err(EvaluateError::Features { got: rows.features(), expected: network.inputs() });
        }
        let kernel = self.pass.kernel();
        let (metrics, objective) = (recipe.loss.metrics(), Objective::of(recipe));
        let mut sums = std::mem::replace(&mut self.sums, Tree::new());
        sums.prepare(metrics.len(), (rows.rows() as usize).div_ceil(BLOCK_ROWS));
        self.each_block(network, recipe.activation, parameters, rows.values(), |first, count, outputs| {
            objective.judge(kernel, outputs, rows.targets().of_rows(first, count), sums.next());
            sums.take();
        })?;
        let of_all = metrics.iter().zip(sums.finish());
        let metrics = of_all.fold(Metrics::default(), |metrics, (metric, sum)| metrics.with(*metric, *sum));
        self.sums = sums;
        Ok(Evaluation { rows: u64::from(rows.rows()), metrics })
    }

    /// Calls `take` with each block's first row, its number of rows and its outputs.
    fn each_block(
        &mut self,
        network: &Network,
        activation: Activation,
        parameters: &[f32],
        values: &[f32],
        mut take: impl FnMut(usize, usize, &mut [Lanes]),
    ) -> Result<(), EvaluateError> {
        let features = network.inputs() as usize;
        if !values.len().is_multiple_of(features) {
            return Err(EvaluateError::Values { got: values.len(), expected: network.inputs() });
        }
        if parameters.len() != network.parameters() {
            return Err(EvaluateError::Parameters { got: parameters.len(), expected: network.parameters() });
        }
        let rows = values.len() / features;
        let kernel = self.pass.kernel();
        self.pass.prepare(network, activation, rows, false);
        make_room(&mut self.panels, panels_of(rows.min(BLOCK_ROWS)) * features);
        for first in (0..rows).step_by(BLOCK_ROWS) {
            let count = (rows - first).min(BLOCK_ROWS);
            let x = &mut self.panels[..panels_of(count) * features];
            gather(kernel, values, features, Order::From(first, count), x);
            take(first, count, self.pass.forward(parameters, x, count));
        }
        Ok(())
    }
}

/// Why a model cannot be evaluated on these rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvaluateError {
    /// The parameters are not the network's.
    Parameters {
        /// Values given.
        got: usize,
        /// Parameters of the network.
        expected: usize,
    },
    /// The rows are not as wide as the network's input.
    Features {
        /// Features of the rows.
        got: u32,
        /// Inputs of the network.
        expected: u32,
    },
    /// The values are no whole rows.
    Values {
        /// Values given.
        got: usize,
        /// Inputs of the network.
        expected: u32,
    },
    /// The rows' targets are not for this loss, or this network.
    Targets(TargetsError),
}

impl fmt::Display for EvaluateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameters { got, expected } => {
                write!(f, "the network has {expected} parameters, and the model {got}")
            }
            Self::Features { got, expected } => {
                write!(f, "the network takes {expected} inputs, and the rows have {got} features")
            }
            Self::Values { got, expected } => write!(f, "{got} values are no whole rows of {expected} features"),
            Self::Targets(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EvaluateError {}

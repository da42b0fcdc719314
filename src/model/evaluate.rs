//! How good a model is on labelled rows, and what it takes unlabelled rows for. Owns the counting; does not know where
//! models or rows come from.

use std::fmt;

use super::gather::{Order, gather};
use super::kernel::Kernel;
use super::lanes::{BLOCK_ROWS, Lanes, make_room, panels_of};
use super::metrics::{Metric, Metrics};
use super::network::Network;
use super::pass::Pass;
use super::recipe::Activation;
use super::rows::{Rows, cut_inputs};
use super::softmax::{self, Target, lose};
use super::tree::Tree;

/// A model's mistakes on some rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Rows evaluated.
    pub rows: u64,
    /// Rows whose predicted class is not their label.
    pub errors: u64,
    /// The loss, summed over rows.
    pub loss: f64,
}

impl Evaluation {
    /// What the model is judged by.
    pub fn metrics(&self) -> Metrics {
        Metrics::default().with(Metric::Loss, self.loss).with(Metric::Errors, self.errors as f64)
    }

    /// Errors per row, 0 to 1.
    pub fn error_rate(&self) -> f64 {
        self.errors as f64 / self.rows as f64
    }
}

/// Counts a model's mistakes on `rows`. `log_epsilon` is the recipe's.
pub fn evaluate(
    kernel: Kernel,
    network: &Network,
    activation: Activation,
    log_epsilon: f32,
    parameters: &[f32],
    rows: &Rows<'_>,
) -> Result<Evaluation, EvaluateError> {
    Evaluator::new(kernel).evaluate(network, activation, log_epsilon, parameters, rows)
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
        softmax::predict(kernel, logits, &mut classes[first..][..count]);
    })?;
    Ok(classes)
}

/// Evaluates models, one after the other. Keeps its working memory from one to the next, and nothing else.
pub struct Evaluator {
    pass: Pass,
    /// The rows of one block.
    panels: Vec<Lanes>,
    losses: Tree<f64>,
}

impl Evaluator {
    /// An evaluator that computes with `kernel`.
    pub fn new(kernel: Kernel) -> Evaluator {
        Evaluator { pass: Pass::new(kernel), panels: Vec::new(), losses: Tree::new() }
    }

    /// Counts a model's mistakes on `rows`. `log_epsilon` is the recipe's.
    pub fn evaluate(
        &mut self,
        network: &Network,
        activation: Activation,
        log_epsilon: f32,
        parameters: &[f32],
        rows: &Rows<'_>,
    ) -> Result<Evaluation, EvaluateError> {
        if rows.classes() > network.classes() {
            return Err(EvaluateError::Classes { got: rows.classes(), expected: network.classes() });
        }
        if rows.features() != network.inputs() {
            return Err(EvaluateError::Features { got: rows.features(), expected: network.inputs() });
        }
        let kernel = self.pass.kernel();
        let mut losses = std::mem::replace(&mut self.losses, Tree::new());
        losses.prepare(1, rows.labels().len().div_ceil(BLOCK_ROWS));
        let mut errors = 0;
        let mut classes = [0; BLOCK_ROWS];
        self.each_block(network, activation, parameters, rows.values(), |first, count, logits| {
            let (labels, classes) = (&rows.labels()[first..][..count], &mut classes[..count]);
            softmax::predict(kernel, logits, classes);
            errors += classes.iter().zip(labels).filter(|(class, label)| class != label).count() as u64;
            losses.next()[0] = lose(kernel, logits, &Target { labels, log_epsilon });
            losses.take();
        })?;
        let loss = losses.finish()[0];
        self.losses = losses;
        Ok(Evaluation { rows: u64::from(rows.rows()), errors, loss })
    }

    /// Calls `take` with each block's first row, its number of rows and its logits.
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
    /// The rows know more classes than the network.
    Classes {
        /// Classes of the rows.
        got: u32,
        /// Classes of the network.
        expected: u32,
    },
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
            Self::Classes { got, expected } => {
                write!(f, "the network tells {expected} classes apart, and the rows are of {got}")
            }
        }
    }
}

impl std::error::Error for EvaluateError {}

//! How good a model is on labelled rows, and what it takes unlabelled rows for. Owns the counting; does not know where
//! models or rows come from.

use std::fmt;

use super::gather::{Order, gather};
use super::input_layout::{InputLayout, Inputs};
use super::kernel::Kernel;
use super::lanes::{BLOCK_ROWS, LANES, Lanes, make_room, panels_of};
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

/// Bytes that a fresh [`Evaluator`] takes for a model of this network on so many rows.
pub fn evaluation_bytes(network: &Network, rows: u32) -> u64 {
    let panels = panels_of((rows as usize).min(BLOCK_ROWS)) as u64;
    let widths = network.layers().map(|layer| layer.outputs as u64).sum::<u64>() + u64::from(network.inputs());
    panels * widths * size_of::<Lanes>() as u64
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
    let layout = InputLayout::plain(network.inputs());
    let inputs = Inputs { layout: &layout, values: &values, indices: &[] };
    Evaluator::new(kernel).each_block(network, activation, parameters, inputs, |first, count, logits| {
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
        self.each_block(network, recipe.activation, parameters, rows.inputs(), |first, count, outputs| {
            objective.judge(kernel, outputs, rows.targets().of_rows(first, count), sums.next());
            sums.take();
        })?;
        let of_all = metrics.iter().zip(sums.finish());
        let metrics = of_all.fold(Metrics::default(), |metrics, (metric, sum)| metrics.with(*metric, *sum));
        self.sums = sums;
        Ok(Evaluation { rows: u64::from(rows.rows()), metrics })
    }

    /// What it computes with.
    pub(super) fn kernel(&self) -> Kernel {
        self.pass.kernel()
    }

    /// Calls `take` with each block's first row, its number of rows and its outputs.
    pub(super) fn each_block(
        &mut self,
        network: &Network,
        activation: Activation,
        parameters: &[f32],
        inputs: Inputs<'_>,
        mut take: impl FnMut(usize, usize, &mut [Lanes]),
    ) -> Result<(), EvaluateError> {
        let (layout, features) = (inputs.layout, network.inputs() as usize);
        if layout.inputs() != network.inputs() {
            return Err(EvaluateError::Features { got: layout.inputs(), expected: network.inputs() });
        }
        let Some(rows) = inputs.rows() else {
            return Err(EvaluateError::Values { got: inputs.values.len(), expected: layout.plain_inputs() });
        };
        if parameters.len() != network.parameters() {
            return Err(EvaluateError::Parameters { got: parameters.len(), expected: network.parameters() });
        }
        let kernel = self.pass.kernel();
        self.pass.prepare(network, activation, rows, false);
        make_room(&mut self.panels, panels_of(rows.min(BLOCK_ROWS)) * features);
        for first in (0..rows).step_by(BLOCK_ROWS) {
            let count = (rows - first).min(BLOCK_ROWS);
            let x = &mut self.panels[..panels_of(count) * features];
            gather(kernel, inputs, Order::From(first, count), x);
            take(first, count, self.pass.forward(parameters, x, count));
        }
        Ok(())
    }
}

/// A trained model in use: it is told rows, some at a time, without their targets. Keeps its working memory from one time to
/// the next. Of the values of rows, row-major, as many to a row as the network has inputs, those below the threshold become +0.
pub struct Predictor<'a> {
    evaluator: Evaluator,
    network: &'a Network,
    activation: Activation,
    parameters: &'a [f32],
}

impl<'a> Predictor<'a> {
    /// A predictor that computes with `kernel`.
    pub fn new(kernel: Kernel, network: &'a Network, activation: Activation, parameters: &'a [f32]) -> Predictor<'a> {
        Predictor { evaluator: Evaluator::new(kernel), network, activation, parameters }
    }

    /// The class of each row, the lowest index of the largest output; none where an output is not finite.
    pub fn classes(&mut self, values: &mut [f32], out: &mut Vec<Option<u32>>) -> Result<(), EvaluateError> {
        out.clear();
        let outputs = self.network.outputs() as usize;
        self.each_block(values, |kernel, count, logits| {
            let mut classes = [0; BLOCK_ROWS];
            let classes = &mut classes[..count];
            loss::predict(kernel, logits, classes);
            for (panel, classes) in logits.chunks_exact(outputs).zip(classes.chunks(LANES)) {
                let mut are_finite = [true; LANES];
                for lanes in panel {
                    for (is_finite, logit) in are_finite.iter_mut().zip(lanes.0) {
                        *is_finite &= logit.is_finite();
                    }
                }
                out.extend(classes.iter().zip(are_finite).map(|(&class, is_finite)| is_finite.then_some(class)));
            }
        })
    }

    /// The outputs of each row, row-major.
    pub fn outputs(&mut self, values: &mut [f32], out: &mut Vec<f32>) -> Result<(), EvaluateError> {
        out.clear();
        let width = self.network.outputs() as usize;
        self.each_block(values, |_, count, outputs| append_rows(outputs, width, count, out))
    }

    /// The probability of each class for each row, but for the factor that makes a row's add up to 1: the largest is 1.
    pub fn exponentials(&mut self, values: &mut [f32], out: &mut Vec<f32>) -> Result<(), EvaluateError> {
        out.clear();
        let width = self.network.outputs() as usize;
        self.each_block(values, |kernel, count, logits| {
            loss::exponentiate(kernel, logits, count);
            append_rows(logits, width, count, out);
        })
    }

    fn each_block(
        &mut self,
        values: &mut [f32],
        mut take: impl FnMut(Kernel, usize, &mut [Lanes]),
    ) -> Result<(), EvaluateError> {
        cut_inputs(values);
        let kernel = self.evaluator.pass.kernel();
        let (network, activation, parameters) = (self.network, self.activation, self.parameters);
        let layout = InputLayout::plain(network.inputs());
        let inputs = Inputs { layout: &layout, values, indices: &[] };
        self.evaluator.each_block(network, activation, parameters, inputs, |_, count, outputs| {
            take(kernel, count, outputs);
        })
    }
}

/// Appends panels of so many rows, row by row.
fn append_rows(panels: &[Lanes], width: usize, rows: usize, out: &mut Vec<f32>) {
    for (panel, first) in panels.chunks_exact(width).zip((0..rows).step_by(LANES)) {
        for lane in 0..LANES.min(rows - first) {
            out.extend(panel.iter().map(|lanes| lanes.0[lane]));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::initialise::initialise;
    use crate::model::recipe::Initialisation;

    #[test]
    fn a_predictor_tells_what_evaluation_counts_by_and_no_class_where_outputs_are_not_finite() {
        let network = Network::new(3, &[5], 4).unwrap();
        let mut parameters = initialise(&network, Initialisation::He, 7);
        // Several blocks, the last of which is not full, and no panel of which need be.
        let rows = 2 * BLOCK_ROWS + 13;
        let values: Vec<f32> = (0..rows * 3).map(|index| (index * 37 % 101) as f32 / 25.0 - 2.0).collect();
        for kernel in Kernel::available() {
            let mut predictor = Predictor::new(kernel, &network, Activation::Relu, &parameters);
            let (mut classes, mut outputs, mut exponentials) = (Vec::new(), Vec::new(), Vec::new());
            predictor.classes(&mut values.clone(), &mut classes).unwrap();
            predictor.outputs(&mut values.clone(), &mut outputs).unwrap();
            predictor.exponentials(&mut values.clone(), &mut exponentials).unwrap();
            let wanted = predict(kernel, &network, Activation::Relu, &parameters, &values).unwrap();
            assert_eq!(classes, wanted.iter().copied().map(Some).collect::<Vec<_>>());
            assert_eq!(outputs.len(), rows * 4);
            for ((row, exponentials), class) in outputs.chunks(4).zip(exponentials.chunks(4)).zip(wanted) {
                let largest = row.iter().copied().fold(f32::MIN, f32::max);
                assert_eq!((row[class as usize], exponentials[class as usize]), (largest, 1.0));
                for (output, exponential) in row.iter().zip(exponentials) {
                    let exact = f64::from(output - largest).exp();
                    assert!((f64::from(*exponential) - exact).abs() < 1e-7 * exact, "{exponential}, {exact}");
                }
            }
        }
        parameters.fill(f32::MAX);
        let mut classes = Vec::new();
        let mut predictor = Predictor::new(Kernel::best(), &network, Activation::Relu, &parameters);
        predictor.classes(&mut [1.0, 1.0, 1.0, -1.0, -1.0, -1.0], &mut classes).unwrap();
        assert_eq!(classes[0], None);
    }
}

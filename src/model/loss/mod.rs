//! What a network's outputs are compared with, and how far off they are. Owns the targets of rows; for each loss the
//! derivative, the value and the numbers that a model is judged by. Does not know what made the outputs.
//!
//! A new loss is a file here, one member of [`Loss`], and one arm in each function of `impl Loss` and [`Objective`].

mod cross_entropy;
mod squared_error;

use std::borrow::Cow;
use std::fmt;

use super::kernel::Kernel;
use super::lanes::Lanes;
use super::metrics::Metric;
use super::network::NetworkError;
use super::recipe::{Loss, Recipe};
use super::thresholds::{VALUE_LEAST, cut};
use super::training::Training;

pub(super) use cross_entropy::{exponentiate, exponentiate_with_losses, predict};

/// What each of some rows is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets<'a> {
    /// One class for each row.
    Labels {
        /// Of each row; all are below `classes`.
        labels: Cow<'a, [u32]>,
        /// Classes that there are.
        classes: u32,
    },
    /// Some numbers for each row.
    Values {
        /// Row-major; all are finite, and +0 or not below 2^-40 in magnitude.
        values: Cow<'a, [f32]>,
        /// Numbers of a row.
        width: u32,
    },
}

/// Which kind of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// [`Targets::Labels`].
    Labels,
    /// [`Targets::Values`].
    Values,
}

impl Targets<'_> {
    /// Rows that there are targets for.
    pub fn rows(&self) -> usize {
        match self {
            Targets::Labels { labels, .. } => labels.len(),
            Targets::Values { values, width } => values.len() / (*width).max(1) as usize,
        }
    }

    /// The label of each row; none where targets are something else.
    pub fn labels(&self) -> &[u32] {
        match self {
            Targets::Labels { labels, .. } => labels,
            Targets::Values { .. } => &[],
        }
    }

    /// The same, with memory of its own.
    pub fn into_owned(self) -> Targets<'static> {
        match self {
            Targets::Labels { labels, classes } => Targets::Labels { labels: labels.into_owned().into(), classes },
            Targets::Values { values, width } => Targets::Values { values: values.into_owned().into(), width },
        }
    }

    /// The targets themselves, if a model can be trained on each. What of values is below 2^-40 in magnitude becomes +0.
    pub(super) fn checked(mut self) -> Result<Self, TargetsError> {
        match &mut self {
            Targets::Labels { labels, classes } => match labels.iter().position(|label| label >= classes) {
                Some(row) => Err(TargetsError::Label { row, got: labels[row], classes: *classes }),
                None => Ok(self),
            },
            Targets::Values { values, width } => {
                let wide = *width as usize;
                if wide == 0 || !values.len().is_multiple_of(wide) {
                    return Err(TargetsError::Values { got: values.len(), width: *width });
                }
                if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                    return Err(TargetsError::NotFinite { row: index / wide, target: index % wide });
                }
                if values.iter().any(|value| cut(*value, VALUE_LEAST).to_bits() != value.to_bits()) {
                    values.to_mut().iter_mut().for_each(|value| *value = cut(*value, VALUE_LEAST));
                }
                Ok(self)
            }
        }
    }

    /// That a network of so many outputs can be compared with these by this loss.
    pub(super) fn fit(&self, loss: Loss, outputs: u32) -> Result<(), TargetsError> {
        match (loss, self) {
            (Loss::CrossEntropy, Targets::Labels { classes: got, .. }) if *got <= outputs => Ok(()),
            (Loss::CrossEntropy, Targets::Labels { classes: got, .. }) => {
                Err(TargetsError::Classes { got: *got, expected: outputs })
            }
            (Loss::SquaredError | Loss::Huber, Targets::Values { width, .. }) if *width == outputs => Ok(()),
            (Loss::SquaredError | Loss::Huber, Targets::Values { width, .. }) => {
                Err(TargetsError::Width { got: *width, expected: outputs })
            }
            (Loss::CrossEntropy, Targets::Values { .. })
            | (Loss::SquaredError | Loss::Huber, Targets::Labels { .. }) => {
                Err(TargetsError::Kind { wanted: loss.target_kind() })
            }
        }
    }

    /// Those of `count` rows from `first` on.
    pub(super) fn of_rows(&self, first: usize, count: usize) -> BlockTargets<'_> {
        match self {
            Targets::Labels { labels, .. } => BlockTargets::Labels(&labels[first..][..count]),
            Targets::Values { values, width } => {
                let width = *width as usize;
                BlockTargets::Values { values: &values[first * width..][..count * width], width }
            }
        }
    }
}

/// The targets of a block of rows.
#[derive(Clone, Copy)]
pub(super) enum BlockTargets<'a> {
    Labels(&'a [u32]),
    Values { values: &'a [f32], width: usize },
}

/// Room for the targets of one block of a mini-batch.
#[derive(Default)]
pub(super) struct Gathered {
    labels: Vec<u32>,
    values: Vec<f32>,
}

impl Gathered {
    /// Makes room for as many rows.
    pub fn prepare(&mut self, training: &Training, rows: usize) {
        match training.recipe.loss.target_kind() {
            TargetKind::Labels => {
                self.labels.clear();
                self.labels.reserve_exact(rows);
            }
            TargetKind::Values => {
                self.values.clear();
                self.values.reserve_exact(rows * training.network.outputs() as usize);
            }
        }
    }

    /// The targets of these rows.
    pub fn gather(&mut self, targets: &Targets<'_>, order: &[u32]) -> BlockTargets<'_> {
        match targets {
            Targets::Labels { labels, .. } => {
                self.labels.clear();
                self.labels.extend(order.iter().map(|row| labels[*row as usize]));
                BlockTargets::Labels(&self.labels)
            }
            Targets::Values { values, width } => {
                let width = *width as usize;
                self.values.clear();
                for row in order {
                    self.values.extend_from_slice(&values[*row as usize * width..][..width]);
                }
                BlockTargets::Values { values: &self.values, width }
            }
        }
    }
}

impl Loss {
    /// What it compares outputs with.
    pub fn target_kind(self) -> TargetKind {
        match self {
            Loss::CrossEntropy => TargetKind::Labels,
            Loss::SquaredError | Loss::Huber => TargetKind::Values,
        }
    }

    /// Bytes of a row's target, for a network of so many outputs.
    pub fn target_bytes(self, outputs: u32) -> u64 {
        match self.target_kind() {
            TargetKind::Labels => 4,
            TargetKind::Values => 4 * u64::from(outputs),
        }
    }

    /// That it has a meaning for so many outputs.
    pub fn check_outputs(self, outputs: u32) -> Result<(), NetworkError> {
        match self {
            Loss::CrossEntropy if outputs < 2 => Err(NetworkError::Classes { got: outputs }),
            Loss::CrossEntropy | Loss::SquaredError | Loss::Huber => Ok(()),
        }
    }

    /// The sums over rows that a model is judged by, in the order of their tags.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Loss::CrossEntropy => &[Metric::Loss, Metric::Errors],
            Loss::SquaredError | Loss::Huber => &[Metric::Loss, Metric::SquaredError, Metric::AbsoluteError],
        }
    }
}

/// What of a recipe says how outputs are compared with targets. Targets fit it: [`Targets::fit`].
#[derive(Clone, Copy)]
pub(super) struct Objective<'a> {
    loss: Loss,
    log_epsilon: f32,
    huber_delta: f32,
    label_smoothing: f32,
    /// One for each class, or none.
    class_weights: &'a [f32],
}

impl<'a> Objective<'a> {
    /// By which models are judged.
    pub fn of(recipe: &Recipe) -> Objective<'static> {
        let Recipe { loss, log_epsilon, huber_delta, .. } = *recipe;
        Objective { loss, log_epsilon, huber_delta, label_smoothing: 0.0, class_weights: &[] }
    }

    /// By which they are trained.
    pub fn in_training(training: &'a Training) -> Objective<'a> {
        let label_smoothing = training.recipe.label_smoothing;
        Objective { label_smoothing, class_weights: &training.class_weights, ..Objective::of(&training.recipe) }
    }

    /// Turns a block's outputs into the loss's derivatives by them; rows that are not there get +0. Returns the block's loss:
    /// the sum over its rows, in their order.
    pub fn differentiate(self, kernel: Kernel, outputs: &mut [Lanes], targets: BlockTargets<'_>) -> f64 {
        match (self.loss, targets) {
            (Loss::CrossEntropy, BlockTargets::Labels(labels)) => {
                let loss = cross_entropy::differentiate(kernel, outputs, labels, self.log_epsilon);
                if self.label_smoothing != 0.0 {
                    cross_entropy::smooth(outputs, labels, self.label_smoothing);
                }
                if !self.class_weights.is_empty() {
                    cross_entropy::weigh(outputs, labels, self.class_weights);
                }
                loss
            }
            (Loss::SquaredError, BlockTargets::Values { values, width }) => {
                0.5 * squared_error::differentiate(outputs, width, values).squared
            }
            (Loss::Huber, BlockTargets::Values { values, width }) => {
                squared_error::differentiate(outputs, width, values);
                squared_error::clip(outputs, width, values.len() / width, self.huber_delta)
            }
            // They do not fit: a model that they led astray would be noticed.
            (Loss::CrossEntropy, BlockTargets::Values { .. })
            | (Loss::SquaredError | Loss::Huber, BlockTargets::Labels(_)) => f64::NAN,
        }
    }

    /// Writes a block's sums of [`Loss::metrics`], as long as there are any. What becomes of the outputs is of no use.
    pub fn judge(self, kernel: Kernel, outputs: &mut [Lanes], targets: BlockTargets<'_>, sums: &mut [f64]) {
        match (self.loss, targets) {
            (Loss::CrossEntropy, BlockTargets::Labels(labels)) => {
                let errors = cross_entropy::errors(kernel, outputs, labels);
                let loss = cross_entropy::differentiate(kernel, outputs, labels, self.log_epsilon);
                sums.copy_from_slice(&[loss, errors as f64]);
            }
            (Loss::SquaredError, BlockTargets::Values { values, width }) => {
                let squared_error::Sums { squared, absolute } = squared_error::differentiate(outputs, width, values);
                sums.copy_from_slice(&[0.5 * squared, squared, absolute]);
            }
            (Loss::Huber, BlockTargets::Values { values, width }) => {
                let squared_error::Sums { squared, absolute } = squared_error::differentiate(outputs, width, values);
                let loss = squared_error::clip(outputs, width, values.len() / width, self.huber_delta);
                sums.copy_from_slice(&[loss, squared, absolute]);
            }
            (Loss::CrossEntropy, BlockTargets::Values { .. })
            | (Loss::SquaredError | Loss::Huber, BlockTargets::Labels(_)) => sums.fill(f64::NAN),
        }
    }
}

/// Why targets are none for rows, a network or a loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetsError {
    /// A label that is no class.
    Label {
        /// Its row, from 0.
        row: usize,
        /// The label.
        got: u32,
        /// What labels are below.
        classes: u32,
    },
    /// There are more classes than the network tells apart.
    Classes {
        /// Classes of the rows.
        got: u32,
        /// Classes of the network.
        expected: u32,
    },
    /// The values are no whole rows.
    Values {
        /// Values given.
        got: usize,
        /// Values of a row.
        width: u32,
    },
    /// A value that is NaN or infinite.
    NotFinite {
        /// Its row, from 0.
        row: usize,
        /// Its place in the row, from 0.
        target: usize,
    },
    /// There are more or fewer values in a row than outputs.
    Width {
        /// Values of a row.
        got: u32,
        /// Outputs of the network.
        expected: u32,
    },
    /// They are of another kind than the loss takes.
    Kind {
        /// The kind that it takes.
        wanted: TargetKind,
    },
}

impl fmt::Display for TargetsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label { row, got, classes } => {
                write!(f, "row {row} (from 0) has label {got}, and labels are below {classes}")
            }
            Self::Classes { got, expected } => {
                write!(f, "the network tells {expected} classes apart, and the rows are of {got}")
            }
            Self::Values { got, width } => write!(f, "{got} targets are no whole rows of {width}"),
            Self::NotFinite { row, target } => {
                write!(f, "row {row}, target {target} (from 0) is not a finite number: remove the row or correct it")
            }
            Self::Width { got, expected } => {
                write!(f, "the network has {expected} outputs, and the rows have {got} targets")
            }
            Self::Kind { wanted: TargetKind::Labels } => f.write_str("this loss takes labels"),
            Self::Kind { wanted: TargetKind::Values } => f.write_str("this loss takes numbers as targets, no labels"),
        }
    }
}

impl std::error::Error for TargetsError {}

//! What a network's outputs are compared with, and how far off they are. Owns the targets of rows; for each loss the
//! derivative, the value and the numbers that a model is judged by. Does not know what made the outputs.
//!
//! A new loss is a file here, one member of [`Loss`], and one arm in each function of `impl Loss` and [`Objective`].

mod cross_entropy;

use std::borrow::Cow;
use std::fmt;

use super::kernel::Kernel;
use super::lanes::Lanes;
use super::metrics::Metric;
use super::network::NetworkError;
use super::recipe::{Loss, Recipe};
use super::training::Training;

pub(super) use cross_entropy::predict;

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
}

/// Which kind of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// [`Targets::Labels`].
    Labels,
}

impl Targets<'_> {
    /// Rows that there are targets for.
    pub fn rows(&self) -> usize {
        match self {
            Targets::Labels { labels, .. } => labels.len(),
        }
    }

    /// The label of each row; none where targets are something else.
    pub fn labels(&self) -> &[u32] {
        match self {
            Targets::Labels { labels, .. } => labels,
        }
    }

    /// The same, with memory of its own.
    pub fn into_owned(self) -> Targets<'static> {
        match self {
            Targets::Labels { labels, classes } => Targets::Labels { labels: labels.into_owned().into(), classes },
        }
    }

    /// The targets themselves, if a model can be trained on each.
    pub(super) fn checked(self) -> Result<Self, TargetsError> {
        match &self {
            Targets::Labels { labels, classes } => match labels.iter().position(|label| label >= classes) {
                Some(row) => Err(TargetsError::Label { row, got: labels[row], classes: *classes }),
                None => Ok(self),
            },
        }
    }

    /// That a network of so many outputs can be compared with these by this loss.
    pub(super) fn fit(&self, loss: Loss, outputs: u32) -> Result<(), TargetsError> {
        match (loss, self) {
            (Loss::CrossEntropy, Targets::Labels { classes: got, .. }) if *got <= outputs => Ok(()),
            (Loss::CrossEntropy, Targets::Labels { classes: got, .. }) => {
                Err(TargetsError::Classes { got: *got, expected: outputs })
            }
        }
    }

    /// Those of `count` rows from `first` on.
    pub(super) fn of_rows(&self, first: usize, count: usize) -> BlockTargets<'_> {
        match self {
            Targets::Labels { labels, .. } => BlockTargets::Labels(&labels[first..][..count]),
        }
    }
}

/// The targets of a block of rows.
#[derive(Clone, Copy)]
pub(super) enum BlockTargets<'a> {
    Labels(&'a [u32]),
}

/// Room for the targets of one block of a mini-batch.
#[derive(Default)]
pub(super) struct Gathered {
    labels: Vec<u32>,
}

impl Gathered {
    /// Makes room for as many rows.
    pub fn prepare(&mut self, training: &Training, rows: usize) {
        match training.recipe.loss.target_kind() {
            TargetKind::Labels => {
                self.labels.clear();
                self.labels.reserve_exact(rows);
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
        }
    }
}

impl Loss {
    /// What it compares outputs with.
    pub fn target_kind(self) -> TargetKind {
        match self {
            Loss::CrossEntropy => TargetKind::Labels,
        }
    }

    /// Bytes of a row's target, for a network of so many outputs.
    pub fn target_bytes(self, _outputs: u32) -> u64 {
        match self.target_kind() {
            TargetKind::Labels => 4,
        }
    }

    /// That it has a meaning for so many outputs.
    pub fn check_outputs(self, outputs: u32) -> Result<(), NetworkError> {
        match self {
            Loss::CrossEntropy if outputs < 2 => Err(NetworkError::Classes { got: outputs }),
            Loss::CrossEntropy => Ok(()),
        }
    }

    /// The sums over rows that a model is judged by, in the order of their tags.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Loss::CrossEntropy => &[Metric::Loss, Metric::Errors],
        }
    }
}

/// What of a recipe says how outputs are compared with targets. Targets fit it: [`Targets::fit`].
#[derive(Clone, Copy)]
pub(super) struct Objective {
    loss: Loss,
    log_epsilon: f32,
}

impl Objective {
    pub fn of(recipe: &Recipe) -> Objective {
        Objective { loss: recipe.loss, log_epsilon: recipe.log_epsilon }
    }

    /// Turns a block's outputs into the loss's derivatives by them; rows that are not there get +0. Returns the block's loss:
    /// the sum over its rows, in their order.
    pub fn differentiate(self, kernel: Kernel, outputs: &mut [Lanes], targets: BlockTargets<'_>) -> f64 {
        match (self.loss, targets) {
            (Loss::CrossEntropy, BlockTargets::Labels(labels)) => {
                cross_entropy::differentiate(kernel, outputs, labels, self.log_epsilon)
            }
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
        }
    }
}

impl std::error::Error for TargetsError {}

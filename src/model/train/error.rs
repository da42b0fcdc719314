//! Why a task yields no update.

use std::fmt;

use super::super::ARITHMETIC;
use super::super::loss::TargetsError;
use super::super::merge::GradientSumError;
use super::super::network::NetworkError;
use super::super::recipe::RecipeError;
use super::super::schedule::STEPS_MAX;

/// Why a task yields no update.
#[derive(Clone, Debug, PartialEq)]
pub enum TrainError {
    /// The result is promised in an arithmetic that this program does not compute.
    Arithmetic {
        /// The arithmetic asked for.
        got: u16,
    },
    /// The recipe is outside its limits.
    Recipe(RecipeError),
    /// There are no so many rounds.
    Step {
        /// The step asked for.
        got: u64,
    },
    /// The base weights are not the network's.
    Base {
        /// Weights given.
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
    /// The loss has no meaning for so many outputs.
    Outputs(NetworkError),
    /// The rows' targets are not for this loss, or this network.
    Targets(TargetsError),
    /// The watch said so.
    Cancelled,
    /// The weights ran away: the update has a value that is not finite, or too large to merge.
    Diverged {
        /// The first such parameter.
        index: usize,
    },
    /// The task has a block that its shard has not, or a range of none.
    Blocks {
        /// The shard.
        shard: u32,
        /// The block behind the last one asked for.
        got: u64,
        /// Blocks of the shard.
        blocks: u32,
    },
    /// The recipe's tasks yield sums of gradients, and an update was wanted; or the other way round.
    Yields {
        /// Whether they yield sums of gradients.
        gradients: bool,
    },
    /// The gradient or the loss of a block ran away.
    Gradient(GradientSumError),
    /// The outputs ran away: the loss is no number.
    Loss {
        /// Infinity or NaN.
        got: f64,
    },
}

impl fmt::Display for TrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arithmetic { got } => {
                write!(f, "the task wants arithmetic {got}, and this program computes arithmetic {ARITHMETIC}")
            }
            Self::Recipe(error) => error.fmt(f),
            Self::Step { got } => write!(f, "a step is below {STEPS_MAX}, not {got}"),
            Self::Base { got, expected } => {
                write!(f, "the network has {expected} parameters, and the base weights are {got} values")
            }
            Self::Features { got, expected } => {
                write!(f, "the network takes {expected} inputs, and the rows have {got} features")
            }
            Self::Outputs(error) => error.fmt(f),
            Self::Targets(error) => error.fmt(f),
            Self::Blocks { shard, got, blocks } => {
                write!(f, "shard {shard} has {blocks} blocks, and some up to block {got} are asked for")
            }
            Self::Yields { gradients: true } => {
                f.write_str("a task of one local step yields a sum of gradients, no update")
            }
            Self::Yields { gradients: false } => f.write_str("only a task of one local step yields a sum of gradients"),
            Self::Gradient(error) => {
                write!(f, "the training diverged ({error}): take a lower learning rate (eta), or scale the data")
            }
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::Loss { got } => {
                write!(f, "the training diverged (its loss is {got}): take smaller initial weights, or scale the data")
            }
            Self::Diverged { index } => write!(
                f,
                "the training diverged (parameter {index} ran away): take a lower learning rate (eta), or scale the data"
            ),
        }
    }
}

impl std::error::Error for TrainError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Recipe(error) => Some(error),
            Self::Outputs(error) => Some(error),
            Self::Targets(error) => Some(error),
            Self::Gradient(error) => Some(error),
            _ => None,
        }
    }
}

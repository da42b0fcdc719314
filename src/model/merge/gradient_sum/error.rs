//! Why a block's gradient, or another sum, is not added.

use std::fmt;

/// Why a block's gradient, or a sum of some, is not added.
#[derive(Clone, Debug, PartialEq)]
pub enum GradientSumError {
    /// Not as many values as the sum has.
    Length {
        /// Values given.
        got: usize,
        /// Values of the sum.
        expected: usize,
    },
    /// NaN, infinity, or a magnitude from 2^40 up.
    Gradient {
        /// The first such parameter.
        index: usize,
        /// Its gradient.
        value: f32,
    },
    /// The same of a loss, from 2^60 up.
    Loss {
        /// The loss.
        got: f64,
    },
    /// No blocks, or more than can be counted.
    Blocks {
        /// Blocks given.
        got: u64,
    },
    /// The words are not as many as the integers need, or there is no loss behind them.
    Words {
        /// Words that the integers need.
        expected: usize,
    },
    /// So many blocks cannot come to so large an integer.
    Magnitude {
        /// The first such parameter; the number of parameters where it is the loss.
        index: usize,
    },
    /// The system does not give the memory for the integers of more bits that this would need.
    Memory {
        /// Bytes of them.
        bytes: usize,
    },
    /// Integers of 128 bits, none of which needs more than 64.
    Width {
        /// The parameter behind the last of them.
        before: usize,
    },
}

impl fmt::Display for GradientSumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { got, expected } => write!(f, "the gradient has {got} values, and the model {expected}"),
            Self::Gradient { index, value } => {
                write!(f, "the gradient of parameter {index} is {value}: it must be finite and below 2^40 in magnitude")
            }
            Self::Loss { got } => write!(f, "the loss is {got}: it must be finite and below 2^60"),
            Self::Blocks { got } => write!(f, "a sum of {got} blocks cannot be added"),
            Self::Words { expected } => write!(f, "the sum's integers and loss need {expected} words of eight bytes"),
            Self::Magnitude { index } => write!(f, "integer {index} of the sum is larger than its blocks can come to"),
            Self::Memory { bytes } => {
                write!(f, "gradients this large need {bytes} bytes more, and this machine does not give them")
            }
            Self::Width { before } => {
                write!(f, "the sum's integers before parameter {before} have 128 bits each, and fit 64")
            }
        }
    }
}

impl std::error::Error for GradientSumError {}

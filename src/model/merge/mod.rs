//! How a step's updates become one, and its new weights where no outer optimiser moves them. Owns the two ways of it, and which
//! values an update may have; and how blocks' gradients become a step's. Does not know nodes or rounds.
//!
//! | merge | file | what it needs |
//! |---|---|---|
//! | [`Merge::Mean`] | `mean` | each update once, in any order: its memory does not grow with their number |
//! | [`Merge::Median`] | `median` | all updates at once, a part of the parameters after the other |
//!
//! Blocks' gradients are summed by `gradient_sum`; their median is taken as that of updates is.

mod gradient_sum;
mod mean;
mod median;

use std::fmt;

use super::kernel::{Kernel, compiled_for_each_kernel};
use super::named::named;
use super::vector::Vector;

pub use gradient_sum::{GradientSum, GradientSumError, IntegerRun, LittleEndianWord};
pub use mean::ExactSum;
pub(super) use mean::defined;
pub use median::{Median, ReadUpdates};

/// How a step's updates, or its blocks' gradients, become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Merge {
    /// Their mean, weighted by the rows behind them; of gradients the sum, where losses are summed.
    #[default]
    Mean = 1,
    /// Of each parameter their median; every update, or block, counts alike. A few that are far off move nothing.
    Median = 2,
}

impl Merge {
    /// All of them, in the order of their numbers, from 1 on.
    pub const ALL: [Merge; 2] = [Merge::Mean, Merge::Median];

    /// Whether all updates of a step, or the gradients of all its blocks, must be there at once.
    pub fn needs_all(self) -> bool {
        match self {
            Merge::Mean => false,
            Merge::Median => true,
        }
    }
}

named!(Merge: Mean "mean", Median "median");

/// Where magnitudes begin that an update may not have.
pub(super) const MAGNITUDE_LIMIT: f32 = 16_384.0;

/// An f32 as objects hold it.
pub type LittleEndianF32 = [u8; 4];

/// Whether an update may have this value: it is finite and its magnitude below 2^14.
pub fn can_be_merged(value: f32) -> bool {
    // NaN compares as false.
    value.abs() < MAGNITUDE_LIMIT
}

/// Checks part of an update, whose first value is the update's `start`th.
pub fn check_values(kernel: Kernel, start: usize, part: &[LittleEndianF32]) -> Result<(), MergeError> {
    if largest_magnitude_bits(kernel, part) >= MAGNITUDE_LIMIT.to_bits() {
        let mut values = part.iter().copied().map(f32::from_le_bytes).enumerate();
        if let Some((index, value)) = values.find(|(_, value)| !can_be_merged(*value)) {
            return Err(MergeError::Value { index: start + index, value });
        }
    }
    Ok(())
}

// A plain loop over integers: the compiler turns it into the kernel's vectors on its own.
compiled_for_each_kernel! {
    fn largest_magnitude_bits = largest_magnitude_bits_body(update: &[LittleEndianF32]) -> u32
}

/// The bits of the value that is largest in magnitude; NaN and infinity are larger than every number.
#[inline(always)]
fn largest_magnitude_bits_body<V: Vector>(update: &[LittleEndianF32]) -> u32 {
    update.iter().fold(0, |largest, value| largest.max(u32::from_le_bytes(*value) & 0x7fff_ffff))
}

/// Why an update is not merged, or nothing comes of a merge.
#[derive(Clone, Debug, PartialEq)]
pub enum MergeError {
    /// Not as many values as the sum has.
    Length {
        /// Values given.
        got: usize,
        /// Values of the sum.
        expected: usize,
    },
    /// NaN, infinity, or a magnitude from 2^14 up.
    Value {
        /// The first such parameter.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// No rows, or more than can be counted.
    Rows {
        /// Rows given.
        got: u32,
    },
    /// Nothing was added.
    Empty,
    /// The outer optimiser would make a weight of this that is not finite.
    Weight {
        /// The first such parameter.
        index: usize,
        /// What it would be.
        value: f32,
    },
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { got, expected } => write!(f, "the update has {got} values, and the model {expected}"),
            Self::Value { index, value } => write!(
                f,
                "value {index} of the update is {value}: it must be finite and below {MAGNITUDE_LIMIT} in magnitude; \
                 take a lower learning rate (eta)"
            ),
            Self::Rows { got } => write!(f, "an update with {got} rows behind it cannot be weighted"),
            Self::Empty => f.write_str("nothing was merged"),
            Self::Weight { index, value } => write!(
                f,
                "the outer optimiser makes parameter {index} {value}, which is no weight: take a lower outer learning \
                 rate (outer_eta)"
            ),
        }
    }
}

impl std::error::Error for MergeError {}

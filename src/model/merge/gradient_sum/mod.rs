//! The sum of blocks' gradients, exact, so that neither how blocks make tasks nor the order in which they arrive can matter
//! (docs/arithmetic.md, "Steps of merged gradients"). Owns the integers; does not know nodes, steps or objects' descriptors.
//!
//! Every value is rounded to a whole number of units of 2^-40. Nearly always their sums fit 64 bits, in which they are added
//! as fast as memory gives them; where one might not, all are given more. Whoever looks at a sum sees the same numbers either way.
//!
//! | file | owns |
//! |---|---|
//! | `integers` | the integers in memory, and how many bits they have |
//! | `words` | reading and checking integers as objects hold them |
//! | `error` | why nothing is added |

mod error;
mod integers;
#[cfg(test)]
mod tests;
mod words;

use std::num::NonZeroU64;
use std::ops::Range;

use super::LittleEndianF32;
use crate::model::kernel::{Kernel, compiled_for_each_kernel};
use crate::model::recipe::LossReduction;
use crate::model::thresholds::{VALUE_LEAST, cut};
use crate::model::vector::Vector;
use integers::Integers;
use words::{Check, RunReader, TakeIntegers};

pub use error::GradientSumError;
pub use words::{IntegerRun, LittleEndianWord};

/// Binary places of a unit of a gradient.
const PLACES: u32 = 40;
const UNITS: f64 = (1u64 << PLACES) as f64;
/// A unit.
const UNIT: f64 = 1.0 / UNITS;
/// Where magnitudes of a block's gradient begin that training may not have.
const GRADIENT_LIMIT: f32 = (1u64 << 40) as f32;
/// Units of a block are fewer than this: 2^80, of a gradient and of a loss.
const BLOCK_UNITS: u128 = 1 << 80;
/// Units of a loss.
const LOSS_UNITS: f64 = (1u64 << 20) as f64;
/// Where losses of a block begin that training may not have.
const LOSS_LIMIT: f64 = (1u64 << 60) as f64;
/// Blocks of a sum, at most: together they stay below 2^126 units.
const BLOCKS_MAX: u64 = 1 << 46;
/// Where magnitudes begin that [`QUICK_SHIFT`] does not round.
const QUICK_LIMIT: f32 = 2048.0;
/// A unit is the last place of the numbers from 2^12 to 2^13: added to this, a value is rounded to whole units, ties to even.
const QUICK_SHIFT: f64 = 6144.0;

/// A sum of blocks' gradients and losses. Its size does not grow with their number: 8 bytes a parameter, or 12 where gradients
/// are very large, and 16 where thousands of blocks are about as large as they may be.
#[derive(Debug)]
pub struct GradientSum {
    kernel: Kernel,
    /// Units of each parameter.
    units: Integers,
    loss: i128,
    blocks: u64,
}

impl GradientSum {
    /// An empty sum of gradients of so many values.
    pub fn new(kernel: Kernel, parameters: usize) -> GradientSum {
        GradientSum { kernel, units: Integers::new(parameters), loss: 0, blocks: 0 }
    }

    /// Empties the sum, and makes it one of so many parameters.
    pub fn reset(&mut self, parameters: usize) {
        self.units.reset(parameters);
        (self.loss, self.blocks) = (0, 0);
    }

    /// Values of a gradient.
    pub fn parameters(&self) -> usize {
        self.units.count()
    }

    /// Blocks added so far.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Adds a block's gradient and loss, each summed over its rows. A block that is refused leaves no trace.
    pub fn add_block(&mut self, gradient: &[f32], loss: f64) -> Result<(), GradientSumError> {
        self.same_length(gradient.len())?;
        check_gradient(self.kernel, 0, gradient)?;
        self.add_loss(loss)?;
        self.add_part(0, gradient)
    }

    /// Adds a part of a block's gradient, which begins with parameter `start`; [`GradientSum::add_loss`] adds the block. Where
    /// either fails, the whole sum is of no use.
    pub fn add_part(&mut self, start: usize, gradient: &[f32]) -> Result<(), GradientSumError> {
        let largest = check_gradient(self.kernel, start, gradient)?;
        let range = start..start + gradient.len();
        // Rounding adds half a unit.
        self.units.make_room((f64::from(largest) * UNITS) as u128 + 1)?;
        match self.units.narrow_mut(range.clone()) {
            Some(sums) if largest < QUICK_LIMIT => add_quickly(self.kernel, gradient, sums),
            _ => range.zip(gradient).for_each(|(index, value)| self.units.add(index, exactly(*value))),
        }
        Ok(())
    }

    /// Adds a block with its loss.
    pub fn add_loss(&mut self, loss: f64) -> Result<(), GradientSumError> {
        if loss.is_nan() || loss.abs() >= LOSS_LIMIT {
            return Err(GradientSumError::Loss { got: loss });
        }
        self.blocks = self.more_blocks(1)?;
        self.loss += (loss * LOSS_UNITS).round_ties_even() as i128;
        Ok(())
    }

    /// Adds another sum of as many parameters.
    pub fn add_sum(&mut self, other: &GradientSum) -> Result<(), GradientSumError> {
        self.same_length(other.parameters())?;
        let blocks = self.more_blocks(other.blocks)?;
        self.units.make_room(other.units.most())?;
        self.units.add_all(&other.units);
        self.blocks = blocks;
        self.loss += other.loss;
        Ok(())
    }

    /// Adds a sum of so many blocks as an object holds it: the runs of integers, one for each tensor, of which the last is the
    /// loss, and their words, in parts that may end anywhere. All of it is checked first: one that is refused leaves no trace.
    /// Each part is dropped as soon as it is added.
    pub fn add_words<P: AsRef<[LittleEndianWord]>>(
        &mut self,
        runs: &[IntegerRun],
        parts: Vec<P>,
        blocks: u64,
    ) -> Result<(), GradientSumError> {
        let integers: usize = runs.iter().map(|run| run.count).sum();
        let words = runs.iter().map(|run| if run.is_wide { 2 * run.count } else { run.count }).sum::<usize>();
        let ends_with_loss = runs.last().is_some_and(|run| *run == IntegerRun { count: 1, is_wide: true });
        self.same_length(integers.saturating_sub(1))?;
        if !ends_with_loss || parts.iter().map(|part| part.as_ref().len()).sum::<usize>() != words {
            return Err(GradientSumError::Words { expected: words });
        }
        let all_blocks = self.more_blocks(blocks)?;
        let mut check = Check::new(BLOCK_UNITS * u128::from(blocks));
        let mut reader = RunReader::new(runs);
        for part in &parts {
            reader.read(part.as_ref(), &mut check)?;
        }
        self.units.make_room(check.most())?;
        let mut reader = RunReader::new(runs);
        for part in parts {
            reader.read(part.as_ref(), &mut Add(self))?;
        }
        self.blocks = all_blocks;
        Ok(())
    }

    /// The blocks' loss, summed over their rows.
    pub fn loss(&self) -> f64 {
        self.loss as f64 * (1.0 / LOSS_UNITS)
    }

    /// Writes the gradient of a step whose merged blocks have so many rows. What it holds is cut as weights are.
    pub fn gradient(
        &self,
        rows: NonZeroU64,
        reduction: LossReduction,
        out: &mut [LittleEndianF32],
    ) -> Result<(), GradientSumError> {
        self.same_length(out.len())?;
        self.gradient_from(0, rows, reduction, out);
        Ok(())
    }

    /// The same of some parameters, from this one on.
    pub fn gradient_from(&self, start: usize, rows: NonZeroU64, reduction: LossReduction, out: &mut [LittleEndianF32]) {
        let divisor = match reduction {
            LossReduction::Mean => rows.get() as f64,
            LossReduction::Sum => 1.0,
        };
        match self.units.narrow(start..start + out.len()) {
            Some(units) => narrow_gradient(self.kernel, units, divisor, out),
            None => {
                for (index, out) in (start..).zip(out) {
                    *out = of_sum(self.units.get(index) as f64, divisor).to_le_bytes();
                }
            }
        }
    }

    /// Writes the gradient of a block, which is all that is in the sum, for a median: as that of a step which has this block
    /// alone, and averages over its rows. How losses are reduced is the median's own affair.
    pub fn of_block(&self, rows: NonZeroU64, out: &mut [LittleEndianF32]) -> Result<(), GradientSumError> {
        if self.blocks != 1 {
            return Err(GradientSumError::Blocks { got: self.blocks });
        }
        self.gradient(rows, LossReduction::Mean, out)
    }

    /// Whether these parameters' integers have at most 64 bits each.
    pub fn fits_narrow(&self, range: Range<usize>) -> bool {
        self.units.narrow(range.clone()).is_some()
            || range.into_iter().all(|index| i64::try_from(self.units.get(index)).is_ok())
    }

    /// Appends these parameters' integers as objects hold them, with 64 bits each, which they [fit](GradientSum::fits_narrow).
    pub fn append_narrow(&self, range: Range<usize>, out: &mut Vec<u8>) {
        match self.units.narrow(range.clone()) {
            Some(units) if cfg!(target_endian = "little") => out.extend_from_slice(bytemuck::cast_slice(units)),
            _ => range.for_each(|index| out.extend_from_slice(&(self.units.get(index) as i64).to_le_bytes())),
        }
    }

    /// The same with 128 bits each.
    pub fn append_wide(&self, range: Range<usize>, out: &mut Vec<u8>) {
        range.for_each(|index| out.extend_from_slice(&self.units.get(index).to_le_bytes()));
    }

    /// Appends the loss's integer as objects hold it.
    pub fn append_loss(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.loss.to_le_bytes());
    }

    fn same_length(&self, values: usize) -> Result<(), GradientSumError> {
        if values != self.parameters() {
            return Err(GradientSumError::Length { got: values, expected: self.parameters() });
        }
        Ok(())
    }

    /// Blocks when so many more have come.
    fn more_blocks(&self, blocks: u64) -> Result<u64, GradientSumError> {
        let all = self.blocks.saturating_add(blocks);
        if blocks == 0 || all > BLOCKS_MAX {
            return Err(GradientSumError::Blocks { got: blocks });
        }
        Ok(all)
    }
}

/// Adds integers that have been checked.
struct Add<'a>(&'a mut GradientSum);

impl TakeIntegers for Add<'_> {
    fn narrow(&mut self, start: usize, integers: &[LittleEndianWord]) {
        let Add(sum) = self;
        let range = start..start + integers.len();
        match sum.units.narrow_mut(range.clone()) {
            Some(sums) => add_narrow(sum.kernel, integers, sums),
            None => {
                range.zip(integers).for_each(|(index, word)| sum.units.add(index, i64::from_le_bytes(*word).into()));
            }
        }
    }

    fn wide(&mut self, index: usize, integer: i128) -> Result<(), GradientSumError> {
        if index < self.0.parameters() {
            self.0.units.add(index, integer);
        } else {
            self.0.loss += integer;
        }
        Ok(())
    }

    fn wide_run_ends(&mut self, _next: usize, _is_loss: bool) -> Result<(), GradientSumError> {
        Ok(())
    }
}

/// That training may have this gradient. Returns its largest magnitude.
fn check_gradient(kernel: Kernel, start: usize, gradient: &[f32]) -> Result<f32, GradientSumError> {
    let largest = f32::from_bits(largest_magnitude(kernel, gradient));
    // NaN compares as false.
    let is_fit = |value: f32| value.abs() < GRADIENT_LIMIT;
    if is_fit(largest) {
        return Ok(largest);
    }
    let index = gradient.iter().position(|value| !is_fit(*value)).unwrap_or_default();
    Err(GradientSumError::Gradient { index: start + index, value: gradient.get(index).copied().unwrap_or(largest) })
}

compiled_for_each_kernel! {
    /// Its bits; NaN and infinity are larger than every number.
    fn largest_magnitude = largest_magnitude_body(values: &[f32]) -> u32
}

#[inline(always)]
fn largest_magnitude_body<V: Vector>(values: &[f32]) -> u32 {
    values.iter().fold(0, |largest, value| largest.max(value.abs().to_bits()))
}

// Plain loops: the compiler turns them into the kernel's vectors on its own.
compiled_for_each_kernel! {
    /// Adds values below [`QUICK_LIMIT`].
    fn add_quickly = add_quickly_body(values: &[f32], sums: &mut [i64])
}

#[inline(always)]
fn add_quickly_body<V: Vector>(values: &[f32], sums: &mut [i64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        let rounded = f64::from(*value) + QUICK_SHIFT;
        *sum = sum.wrapping_add((rounded.to_bits() as i64).wrapping_sub(QUICK_SHIFT.to_bits() as i64));
    }
}

compiled_for_each_kernel! {
    fn add_narrow = add_narrow_body(integers: &[LittleEndianWord], sums: &mut [i64])
}

#[inline(always)]
fn add_narrow_body<V: Vector>(integers: &[LittleEndianWord], sums: &mut [i64]) {
    for (sum, word) in sums.iter_mut().zip(integers) {
        *sum = sum.wrapping_add(i64::from_le_bytes(*word));
    }
}

/// A value in units, whatever its magnitude.
fn exactly(value: f32) -> i128 {
    // The product has no more bits than the value.
    (f64::from(value) * UNITS).round_ties_even() as i128
}

compiled_for_each_kernel! {
    fn narrow_gradient = narrow_gradient_body(sums: &[i64], divisor: f64, out: &mut [LittleEndianF32])
}

#[inline(always)]
fn narrow_gradient_body<V: Vector>(sums: &[i64], divisor: f64, out: &mut [LittleEndianF32]) {
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = of_sum(rounded(*sum), divisor).to_le_bytes();
    }
}

/// A parameter's gradient, from its sum as an f64.
#[inline(always)]
fn of_sum(sum: f64, divisor: f64) -> f32 {
    cut((sum * UNIT / divisor) as f32, VALUE_LEAST)
}

/// To nearest, as `as` does it: few processors convert 64 bits in their vectors, and all of them can do this. Both parts
/// are exact, so that nothing but their sum is rounded.
#[inline(always)]
fn rounded(number: i64) -> f64 {
    const POWER_52: f64 = 4_503_599_627_370_496.0;
    const WORD: f64 = 4_294_967_296.0;
    let low = f64::from_bits(POWER_52.to_bits() | (number as u64 & 0xffff_ffff)) - POWER_52;
    f64::from((number >> 32) as i32) * WORD + low
}

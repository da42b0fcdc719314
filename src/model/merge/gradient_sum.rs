//! The sum of blocks' gradients, exact, so that neither how blocks make tasks nor the order in which they arrive can matter
//! (docs/arithmetic.md, "Steps of merged gradients"). Owns the integers; does not know nodes, steps or objects' descriptors.
//!
//! Every value is rounded to a whole number of units of 2^-40. Nearly always their sums fit 64 bits, in which they are added
//! as fast as memory gives them; what might not fit goes to 128. Whoever looks at a sum sees the same numbers either way.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::Range;

use super::LittleEndianF32;
use crate::model::kernel::{Kernel, compiled_for_each_kernel};
use crate::model::recipe::LossReduction;
use crate::model::thresholds::{VALUE_LEAST, cut};
use crate::model::vector::Vector;

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

/// Eight bytes of an integer as objects hold it: all of a narrow one, or half of a wide one, the lower half first.
pub type LittleEndianWord = [u8; 8];

/// Consecutive integers of one width, as bytes hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntegerRun {
    /// How many.
    pub count: usize,
    /// Whether each has 128 bits, and not 64.
    pub is_wide: bool,
}

/// A sum of blocks' gradients and losses. Its size does not grow with their number: 8 bytes a parameter, or 24 where
/// gradients are very large.
#[derive(Debug)]
pub struct GradientSum {
    kernel: Kernel,
    /// Units of each parameter that have been added quickly.
    narrow: Vec<i64>,
    /// No number of `narrow` is larger in magnitude.
    narrow_most: u64,
    /// Units besides those, or nothing.
    wide: Vec<i128>,
    loss: i128,
    blocks: u64,
}

impl GradientSum {
    /// An empty sum of gradients of so many values.
    pub fn new(kernel: Kernel, parameters: usize) -> GradientSum {
        GradientSum { kernel, narrow: vec![0; parameters], narrow_most: 0, wide: Vec::new(), loss: 0, blocks: 0 }
    }

    /// Empties the sum, and makes it one of so many parameters.
    pub fn reset(&mut self, parameters: usize) {
        self.narrow.clear();
        self.narrow.resize(parameters, 0);
        self.wide.clear();
        (self.narrow_most, self.loss, self.blocks) = (0, 0, 0);
    }

    /// Values of a gradient.
    pub fn parameters(&self) -> usize {
        self.narrow.len()
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
        let most = (f64::from(largest) * UNITS) as u128 + 1;
        match self.make_room(most) {
            Width::Narrow if largest < QUICK_LIMIT => add_quickly(self.kernel, gradient, &mut self.narrow[range]),
            Width::Narrow => add_exactly(gradient, &mut self.narrow[range], |units| units as i64),
            Width::Wide => add_exactly(gradient, &mut self.wide[range], |units| units),
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
        self.blocks = self.more_blocks(other.blocks)?;
        self.loss += other.loss;
        match self.make_room(other.narrow_most.into()) {
            Width::Narrow => self.narrow.iter_mut().zip(&other.narrow).for_each(|(sum, units)| *sum += units),
            Width::Wide => self.wide.iter_mut().zip(&other.narrow).for_each(|(sum, units)| *sum += i128::from(*units)),
        }
        if !other.wide.is_empty() {
            self.widen();
            self.wide.iter_mut().zip(&other.wide).for_each(|(sum, units)| *sum += units);
        }
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
        let mut check = Check { limit: BLOCK_UNITS * u128::from(blocks), narrow_most: 0, fits_narrow: true };
        let mut reader = RunReader::new(runs);
        for part in &parts {
            reader.read(part.as_ref(), &mut check)?;
        }
        if runs[..runs.len() - 1].iter().any(|run| run.is_wide) {
            self.widen();
        }
        let narrow = self.make_room(check.narrow_most.into());
        let mut reader = RunReader::new(runs);
        let mut add = Add { sum: self, narrow };
        for part in parts {
            reader.read(part.as_ref(), &mut add)?;
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
        let divisor = match reduction {
            LossReduction::Mean => rows.get() as f64,
            LossReduction::Sum => 1.0,
        };
        if self.wide.is_empty() {
            narrow_gradient(self.kernel, &self.narrow, divisor, out);
        } else {
            for (index, out) in out.iter_mut().enumerate() {
                *out = of_sum(self.value(index) as f64, divisor).to_le_bytes();
            }
        }
        Ok(())
    }

    /// Whether these parameters' integers have at most 64 bits each.
    pub fn fits_narrow(&self, range: Range<usize>) -> bool {
        self.wide.is_empty() || range.into_iter().all(|index| i64::try_from(self.value(index)).is_ok())
    }

    /// Appends these parameters' integers as objects hold them, with 64 bits each, which they [fit](GradientSum::fits_narrow).
    pub fn append_narrow(&self, range: Range<usize>, out: &mut Vec<u8>) {
        if self.wide.is_empty() {
            let values = &self.narrow[range];
            if cfg!(target_endian = "little") {
                out.extend_from_slice(bytemuck::cast_slice(values));
            } else {
                values.iter().for_each(|units| out.extend_from_slice(&units.to_le_bytes()));
            }
        } else {
            range.for_each(|index| out.extend_from_slice(&(self.value(index) as i64).to_le_bytes()));
        }
    }

    /// The same with 128 bits each.
    pub fn append_wide(&self, range: Range<usize>, out: &mut Vec<u8>) {
        range.for_each(|index| out.extend_from_slice(&self.value(index).to_le_bytes()));
    }

    /// Appends the loss's integer as objects hold it.
    pub fn append_loss(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.loss.to_le_bytes());
    }

    fn value(&self, index: usize) -> i128 {
        i128::from(self.narrow[index]) + self.wide.get(index).copied().unwrap_or(0)
    }

    fn same_length(&self, values: usize) -> Result<(), GradientSumError> {
        if values != self.narrow.len() {
            return Err(GradientSumError::Length { got: values, expected: self.narrow.len() });
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

    /// Where numbers of at most this magnitude are to be added.
    fn make_room(&mut self, most: u128) -> Width {
        let all = u128::from(self.narrow_most) + most;
        match u64::try_from(all) {
            Ok(all) if all <= i64::MAX as u64 => {
                self.narrow_most = all;
                Width::Narrow
            }
            _ => {
                self.widen();
                Width::Wide
            }
        }
    }

    /// Turns to 128 bits what there is.
    fn widen(&mut self) {
        self.wide.resize(self.narrow.len(), 0);
        for (wide, narrow) in self.wide.iter_mut().zip(&mut self.narrow) {
            *wide += i128::from(std::mem::take(narrow));
        }
        self.narrow_most = 0;
    }
}

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
            Self::Width { before } => {
                write!(f, "the sum's integers before parameter {before} have 128 bits each, and fit 64")
            }
        }
    }
}

impl std::error::Error for GradientSumError {}

/// Which of a sum's integers are added to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Narrow,
    Wide,
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

#[cold]
fn add_exactly<T: std::ops::AddAssign>(values: &[f32], sums: &mut [T], width: impl Fn(i128) -> T) {
    for (sum, value) in sums.iter_mut().zip(values) {
        // The product has no more bits than the value.
        *sum += width((f64::from(*value) * UNITS).round_ties_even() as i128);
    }
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

/// Goes through the words of runs of integers, part by part, wherever parts end.
struct RunReader<'a> {
    runs: &'a [IntegerRun],
    /// Integers of the first run that have been read.
    done: usize,
    /// The index of the next integer.
    index: usize,
    /// The lower half of an integer whose upper half begins the next part.
    half: Option<LittleEndianWord>,
}

/// Takes in integers.
trait TakeIntegers {
    fn narrow(&mut self, start: usize, integers: &[LittleEndianWord]);
    fn wide(&mut self, index: usize, integer: i128) -> Result<(), GradientSumError>;
    fn wide_run_ends(&mut self, next: usize, is_loss: bool) -> Result<(), GradientSumError>;
}

impl<'a> RunReader<'a> {
    fn new(runs: &'a [IntegerRun]) -> RunReader<'a> {
        RunReader { runs, done: 0, index: 0, half: None }
    }

    fn read(&mut self, mut words: &[LittleEndianWord], take: &mut impl TakeIntegers) -> Result<(), GradientSumError> {
        while !words.is_empty() {
            let [run, later @ ..] = self.runs else { return Ok(()) };
            let left = run.count - self.done;
            if run.is_wide && left > 0 {
                let [word, rest @ ..] = words else { return Ok(()) };
                words = rest;
                match self.half.take() {
                    None => self.half = Some(*word),
                    Some(low) => {
                        let low = i128::from(u64::from_le_bytes(low));
                        take.wide(self.index, i128::from(i64::from_le_bytes(*word)) << 64 | low)?;
                        (self.done, self.index) = (self.done + 1, self.index + 1);
                    }
                }
            } else {
                let (now, rest) = words.split_at(left.min(words.len()));
                words = rest;
                take.narrow(self.index, now);
                (self.done, self.index) = (self.done + now.len(), self.index + now.len());
            }
            if self.done == run.count {
                if run.is_wide {
                    take.wide_run_ends(self.index, later.is_empty())?;
                }
                (self.runs, self.done) = (later, 0);
            }
        }
        Ok(())
    }
}

/// Whether integers are the sum of some blocks, each in the width that it needs.
struct Check {
    /// Where magnitudes begin that the blocks cannot come to.
    limit: u128,
    /// No narrow integer is larger in magnitude.
    narrow_most: u64,
    /// Whether no integer of this run has more than 64 bits.
    fits_narrow: bool,
}

impl TakeIntegers for Check {
    fn narrow(&mut self, _start: usize, integers: &[LittleEndianWord]) {
        // All bits that any has, and a one for two's complement.
        let bits =
            integers.iter().map(|word| i64::from_le_bytes(*word)).fold(0, |all, units| all | units ^ units >> 63);
        self.narrow_most = self.narrow_most.max(bits as u64 + 1);
    }

    fn wide(&mut self, index: usize, integer: i128) -> Result<(), GradientSumError> {
        if integer.unsigned_abs() >= self.limit {
            return Err(GradientSumError::Magnitude { index });
        }
        self.fits_narrow &= i64::try_from(integer).is_ok();
        Ok(())
    }

    fn wide_run_ends(&mut self, next: usize, is_loss: bool) -> Result<(), GradientSumError> {
        if std::mem::replace(&mut self.fits_narrow, true) && !is_loss {
            return Err(GradientSumError::Width { before: next });
        }
        Ok(())
    }
}

/// Adds integers that have been checked.
struct Add<'a> {
    sum: &'a mut GradientSum,
    /// Where narrow integers go.
    narrow: Width,
}

impl TakeIntegers for Add<'_> {
    fn narrow(&mut self, start: usize, integers: &[LittleEndianWord]) {
        let range = start..start + integers.len();
        match self.narrow {
            Width::Narrow => add_narrow(self.sum.kernel, integers, &mut self.sum.narrow[range]),
            Width::Wide => {
                for (sum, word) in self.sum.wide[range].iter_mut().zip(integers) {
                    *sum += i128::from(i64::from_le_bytes(*word));
                }
            }
        }
    }

    fn wide(&mut self, index: usize, integer: i128) -> Result<(), GradientSumError> {
        *self.sum.wide.get_mut(index).unwrap_or(&mut self.sum.loss) += integer;
        Ok(())
    }

    fn wide_run_ends(&mut self, _next: usize, _is_loss: bool) -> Result<(), GradientSumError> {
        Ok(())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Units of 2^-40, to nearest, ties to even, by integers alone.
    fn units(value: f32) -> i128 {
        let bits = value.to_bits();
        let exponent = (bits >> 23 & 0xff) as i32;
        let mantissa = i128::from(bits & 0x7f_ffff) | i128::from(exponent > 0) << 23;
        let places = exponent.max(1) - 150 + PLACES as i32;
        let magnitude = if places >= 0 {
            mantissa << places
        } else {
            let places = (-places).min(40) as u32;
            let (below, rest, half) = (mantissa >> places, mantissa & ((1 << places) - 1), 1i128 << (places - 1));
            below + i128::from(rest > half || rest == half && below % 2 == 1)
        };
        if value.is_sign_negative() { -magnitude } else { magnitude }
    }

    fn values(sum: &GradientSum) -> Vec<i128> {
        (0..sum.parameters()).map(|index| sum.value(index)).collect()
    }

    /// The sum as an object's runs and words, each run of `run` parameters.
    fn written(sum: &GradientSum, run: usize) -> (Vec<IntegerRun>, Vec<LittleEndianWord>) {
        let (mut runs, mut bytes) = (Vec::new(), Vec::new());
        for start in (0..sum.parameters()).step_by(run) {
            let range = start..sum.parameters().min(start + run);
            let is_wide = !sum.fits_narrow(range.clone());
            runs.push(IntegerRun { count: range.len(), is_wide });
            if is_wide { sum.append_wide(range, &mut bytes) } else { sum.append_narrow(range, &mut bytes) }
        }
        runs.push(IntegerRun { count: 1, is_wide: true });
        sum.append_loss(&mut bytes);
        (runs, bytes.as_chunks().0.to_vec())
    }

    fn same(a: &GradientSum, b: &GradientSum) -> bool {
        (values(a), a.loss, a.blocks) == (values(b), b.loss, b.blocks)
    }

    #[test]
    fn a_value_is_rounded_to_whole_units_and_ties_go_to_the_even_one() {
        let unit = UNIT as f32;
        let listed =
            [0.0, -0.0, unit, 0.5 * unit, 1.5 * unit, -0.5 * unit, -2.5 * unit, 0.499 * unit, 1e-38, 2047.9998];
        let edges = [2048.0, -2048.0, 2047.5, 1.0e12, -1.0995115e12, 8_388_607.5, -1e-30, 0.1, -3.7e9];
        let all: Vec<f32> = listed.into_iter().chain(edges).collect();
        for kernel in Kernel::available() {
            for values in [&listed[..], &all] {
                let mut sum = GradientSum::new(kernel, values.len());
                sum.add_block(values, 0.5).unwrap();
                let expected: Vec<i128> = values.iter().map(|value| units(*value)).collect();
                assert_eq!(super::tests::values(&sum), expected, "{kernel}");
                assert_eq!(sum.loss(), 0.5);
            }
        }
        assert_eq!([1.5, 2.5, -2.5].map(|value| units(value * unit)), [2, 2, -2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_blocks_in_any_order_and_any_cut_come_to_the_same_integers(
            blocks in proptest::collection::vec((proptest::collection::vec(any::<f32>(), 7), -1e9..1e9f64), 1..12),
            magnitudes in proptest::collection::vec(0u32..3, 12),
            run in 1usize..8,
            part in 1usize..9,
        ) {
            let limits = [1.0f32, 3000.0, GRADIENT_LIMIT];
            let blocks: Vec<(Vec<f32>, f64)> = blocks.into_iter().zip(&magnitudes).map(|((gradient, loss), magnitude)| {
                let limit = limits[*magnitude as usize];
                (gradient.into_iter().map(|value| if value.abs() < limit { value } else { 0.3 }).collect(), loss)
            }).collect();
            let expected: Vec<i128> =
                (0..7).map(|index| blocks.iter().map(|(gradient, _)| units(gradient[index])).sum()).collect();
            for kernel in Kernel::available() {
                let mut whole = GradientSum::new(kernel, 7);
                for (gradient, loss) in blocks.iter().rev() {
                    whole.add_block(gradient, *loss).unwrap();
                }
                prop_assert_eq!(values(&whole), expected.clone());
                // Each block a task of its own, merged as objects and as sums.
                let (mut merged, mut added) = (GradientSum::new(kernel, 7), GradientSum::new(kernel, 7));
                let mut task = GradientSum::new(kernel, 1);
                for (gradient, loss) in &blocks {
                    task.reset(7);
                    task.add_part(0, &gradient[..3]).unwrap();
                    task.add_part(3, &gradient[3..]).unwrap();
                    task.add_loss(*loss).unwrap();
                    let (runs, words) = written(&task, run);
                    merged.add_words(&runs, words.chunks(part).collect(), 1).unwrap();
                    added.add_sum(&task).unwrap();
                }
                prop_assert!(same(&merged, &whole) && same(&added, &whole));
                prop_assert_eq!(written(&merged, run), written(&whole, run));
                let (mut ours, mut theirs) = ([[0; 4]; 7], [[0; 4]; 7]);
                let rows = NonZeroU64::new(37).unwrap();
                whole.gradient(rows, LossReduction::Mean, &mut ours).unwrap();
                merged.widen();
                merged.gradient(rows, LossReduction::Mean, &mut theirs).unwrap();
                prop_assert_eq!(ours, theirs);
            }
        }
    }

    #[test]
    fn sums_that_no_longer_fit_64_bits_go_on_exactly() {
        for kernel in Kernel::available() {
            let mut sum = GradientSum::new(kernel, 3);
            // Just below 2^11, 10,000 times: beyond 2^63 units.
            for _ in 0..10_000 {
                sum.add_block(&[2047.9999, -2047.9999, 1e-12], 1.0).unwrap();
            }
            assert_eq!(values(&sum), [units(2047.9999), units(-2047.9999), units(1e-12)].map(|units| units * 10_000));
            assert!(!sum.fits_narrow(0..1) && sum.fits_narrow(2..3));
            let (runs, words) = written(&sum, 1);
            assert_eq!(runs.iter().map(|run| run.is_wide).collect::<Vec<_>>(), [true, true, false, true]);
            let mut merged = GradientSum::new(kernel, 3);
            merged.add_words(&runs, vec![words], 10_000).unwrap();
            assert!(same(&sum, &merged));
            // And what a sum leaves behind is not the next one's.
            sum.reset(3);
            sum.add_block(&[1.0; 3], 0.0).unwrap();
            assert_eq!((values(&sum), sum.loss()), (vec![1 << 40; 3], 0.0));
        }
    }

    #[test]
    fn integers_become_f64_to_nearest_and_gradients_are_cut() {
        for number in [0, 1, -1, i64::MAX, i64::MIN, (1 << 53) + 1, -(1 << 53) - 3, 0x7fff_ffff_ffff_fe00, 1 << 32] {
            assert_eq!(rounded(number).to_bits(), (number as f64).to_bits(), "{number}");
            assert_eq!((i128::from(number)) as f64, number as f64);
        }
        let mut sum = GradientSum::new(Kernel::best(), 3);
        sum.add_block(&[3.0, -1e-12, 0.0], 0.0).unwrap();
        let gradient = |reduction| {
            let mut out = [[0; 4]; 3];
            sum.gradient(NonZeroU64::new(7).unwrap(), reduction, &mut out).unwrap();
            out.map(f32::from_le_bytes)
        };
        assert_eq!(gradient(LossReduction::Mean), [(3.0f64 / 7.0) as f32, 0.0, 0.0]);
        assert_eq!(gradient(LossReduction::Sum)[0], 3.0);
        assert!(gradient(LossReduction::Sum)[1] < -9e-13);
    }

    #[test]
    fn a_block_that_has_run_away_is_refused_and_leaves_no_trace() {
        let mut sum = GradientSum::new(Kernel::best(), 3);
        sum.add_block(&[1.0; 3], 1.0).unwrap();
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, GRADIENT_LIMIT, -GRADIENT_LIMIT] {
            let refused = sum.add_block(&[1.0, value, value], 1.0);
            assert!(matches!(refused, Err(GradientSumError::Gradient { index: 1, .. })), "{value}");
        }
        for loss in [f64::NAN, f64::INFINITY, LOSS_LIMIT, -LOSS_LIMIT] {
            assert!(matches!(sum.add_block(&[1.0; 3], loss), Err(GradientSumError::Loss { .. })), "{loss}");
        }
        assert!(matches!(sum.add_block(&[1.0; 2], 1.0), Err(GradientSumError::Length { got: 2, expected: 3 })));
        assert_eq!((values(&sum), sum.loss(), sum.blocks()), (vec![1 << 40; 3], 1.0, 1));
    }

    #[test]
    fn what_is_no_sum_of_so_many_blocks_is_refused_and_leaves_no_trace() {
        let mut sum = GradientSum::new(Kernel::best(), 2);
        sum.add_block(&[1.0, -1.0], 1.0).unwrap();
        let words = |integers: &[i128]| -> Vec<LittleEndianWord> {
            integers.iter().flat_map(|units| units.to_le_bytes().as_chunks().0.to_vec()).collect()
        };
        let wide = |count| IntegerRun { count, is_wide: true };
        let narrow = |count| IntegerRun { count, is_wide: false };
        let mut refused = |runs: &[IntegerRun], integers: &[i128], blocks| {
            sum.add_words(runs, vec![words(integers)], blocks).unwrap_err()
        };
        let limit = 1i128 << 80;
        let runs = [wide(2), wide(1)];
        for (integers, index) in
            [([0, limit, 0], 1), ([-limit, 1, 0], 0), ([i128::MIN, 0, 0], 0), ([0, limit - 1, limit], 2)]
        {
            assert_eq!(refused(&runs, &integers, 1), GradientSumError::Magnitude { index });
        }
        assert_eq!(refused(&runs, &[i64::MAX.into(), i64::MIN.into(), 0], 1), GradientSumError::Width { before: 2 });
        let one_by_one = [wide(1), wide(1), wide(1)];
        assert_eq!(refused(&one_by_one, &[1 << 70, 3, 0], 1), GradientSumError::Width { before: 2 });
        for blocks in [0, BLOCKS_MAX] {
            assert_eq!(refused(&runs, &[1 << 70, 0, 0], blocks), GradientSumError::Blocks { got: blocks });
        }
        for runs in [&[][..], &[wide(2)], &[wide(2), narrow(1)], &[wide(1), wide(1), wide(1), wide(1)]] {
            refused(runs, &[1 << 70; 3], 1);
        }
        assert_eq!(refused(&runs, &[1 << 70; 2], 1), GradientSumError::Words { expected: 6 });
        assert_eq!((values(&sum), sum.loss(), sum.blocks()), (vec![1 << 40, -(1 << 40)], 1.0, 1));
        // What is just as large as it may be is not.
        let most = [limit * 5 - 1, 1 - limit * 5, limit * 5 - 1];
        sum.add_words(&runs, vec![words(&most)], 5).unwrap();
        sum.add_words(
            &[narrow(2), wide(1)],
            vec![vec![i64::MIN.to_le_bytes(), i64::MAX.to_le_bytes()], words(&[-7])],
            1,
        )
        .unwrap();
        let expected = [most[0] + (1 << 40) + i128::from(i64::MIN), most[1] - (1 << 40) + i128::from(i64::MAX)];
        assert_eq!((values(&sum), sum.loss, sum.blocks()), (expected.to_vec(), most[2] + (1 << 20) - 7, 7));
    }
}

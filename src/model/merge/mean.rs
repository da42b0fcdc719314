//! The weighted mean of updates, exact, so that the order of their arrival cannot matter. Owns the fixed-point sum; does not
//! know nodes or rounds.
//!
//! Every value is turned into a whole number of units of 2^-64, toward zero; that loses nothing from 2^-41 up. Units times
//! rows are added as integers, and divided once, at the end.
//!
//! Updates come and weights go as objects hold them, in little-endian bytes: a copy of a large model would cost more than
//! the sum.

use super::{LittleEndianF32, MergeError, check_values};
use crate::model::kernel::{Kernel, compiled_for_each_kernel};
use crate::model::thresholds::{VALUE_LEAST, cut};
use crate::model::vector::Vector;

/// Binary places of a unit.
const PLACES: i32 = 64;
/// A unit.
const UNIT: f64 = 1.0 / 18_446_744_073_709_551_616.0;
/// Rows of a sum, at most: 2^78 units of a value times 2^48 rows stay below 2^127.
const ROWS_MAX: u64 = 1 << 48;
/// Rows up to which 96 bits are enough: 2^78 units times 2^17 rows stay below 2^95.
const NARROW_ROWS_MAX: u64 = 1 << 17;

/// A sum of updates, each weighted by the rows behind it. Its size does not grow with the number of updates: 12 bytes a
/// parameter, or 16 where very many rows are behind it.
#[derive(Debug)]
pub struct ExactSum {
    kernel: Kernel,
    /// The sum's lowest 64 bits, in units.
    low: Vec<u64>,
    high: High,
    /// Rows behind the updates added so far. With none of them, what the sum holds is of no account.
    rows: u64,
    rows_max: u64,
}

/// A sum's bits from the 64th up, its sign with them.
#[derive(Debug)]
enum High {
    Narrow(Vec<i32>),
    Wide(Vec<i64>),
}

impl ExactSum {
    /// An empty sum of updates of so many values, with at most `rows_max` rows behind them together (and never more than
    /// 2^48).
    pub fn new(kernel: Kernel, parameters: usize, rows_max: u64) -> ExactSum {
        let high = match rows_max {
            ..=NARROW_ROWS_MAX => High::Narrow(vec![0; parameters]),
            _ => High::Wide(vec![0; parameters]),
        };
        ExactSum { kernel, low: vec![0; parameters], high, rows: 0, rows_max: rows_max.min(ROWS_MAX) }
    }

    /// Empties the sum.
    pub fn reset(&mut self) {
        self.rows = 0;
    }

    /// Rows behind the updates added so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds an update weighted by its `rows`. All of it is checked first: one that is refused leaves no trace.
    pub fn add(&mut self, update: &[LittleEndianF32], rows: u32) -> Result<(), MergeError> {
        self.add_parts(vec![update], rows)
    }

    /// The same of an update in parts. Each of them is dropped as soon as it is added.
    pub fn add_parts<P: AsRef<[LittleEndianF32]>>(&mut self, update: Vec<P>, rows: u32) -> Result<(), MergeError> {
        self.same_length(update.iter().map(|part| part.as_ref().len()).sum())?;
        if rows == 0 || self.rows + u64::from(rows) > self.rows_max {
            return Err(MergeError::Rows { got: rows });
        }
        let mut start = 0;
        for part in &update {
            let part = part.as_ref();
            check_values(self.kernel, start, part)?;
            start += part.len();
        }
        let first = self.rows == 0;
        let mut start = 0;
        for part in update {
            let part = part.as_ref();
            let range = start..start + part.len();
            let low = &mut self.low[range.clone()];
            match &mut self.high {
                High::Narrow(high) => add_narrow(self.kernel, low, &mut high[range], part, rows, first),
                High::Wide(high) => add_wide(self.kernel, low, &mut high[range], part, rows, first),
            }
            start += part.len();
        }
        self.rows += u64::from(rows);
        Ok(())
    }

    /// Adds the mean of the updates to `values`, the base: the mean is rounded to whole units, ties to even, and the new
    /// value to f64 and then to f32; below 2^-40 in magnitude it is +0.
    pub fn mean_onto(&self, values: &mut [LittleEndianF32]) -> Result<(), MergeError> {
        self.mean_onto_and_tell(values, &mut |_| ())
    }

    /// The same; the new values are told to `take` as they are made, part by part.
    pub fn mean_onto_and_tell(
        &self,
        values: &mut [LittleEndianF32],
        take: &mut dyn FnMut(&[LittleEndianF32]),
    ) -> Result<(), MergeError> {
        self.same_length(values.len())?;
        if self.rows == 0 {
            return Err(MergeError::Empty);
        }
        for (index, values) in values.chunks_mut(MEANS).enumerate() {
            let range = index * MEANS..index * MEANS + values.len();
            match &self.high {
                High::Narrow(high) => {
                    mean_narrow(self.kernel, &self.low[range.clone()], &high[range], self.rows, values)
                }
                High::Wide(high) => mean_wide(self.kernel, &self.low[range.clone()], &high[range], self.rows, values),
            }
            take(values);
        }
        Ok(())
    }

    fn same_length(&self, values: usize) -> Result<(), MergeError> {
        if values != self.low.len() {
            return Err(MergeError::Length { got: values, expected: self.low.len() });
        }
        Ok(())
    }
}

/// A sum's upper part, narrow or wide.
trait Upper: Copy {
    fn from_wide(value: i64) -> Self;
    fn to_wide(self) -> i64;
    /// Rounded, where it has more than 53 bits.
    fn to_f64(self) -> f64;
}

impl Upper for i32 {
    #[inline(always)]
    fn from_wide(value: i64) -> i32 {
        value as i32
    }

    #[inline(always)]
    fn to_wide(self) -> i64 {
        self.into()
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.into()
    }
}

impl Upper for i64 {
    #[inline(always)]
    fn from_wide(value: i64) -> i64 {
        value
    }

    #[inline(always)]
    fn to_wide(self) -> i64 {
        self
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from((self >> 32) as i32) * 4_294_967_296.0 + f64_of(self as u64 & 0xffff_ffff)
    }
}

// Plain loops over integers: the compiler turns them into the kernel's vectors on its own.
compiled_for_each_kernel! {
    fn add_narrow = add_body(low: &mut [u64], high: &mut [i32], update: &[LittleEndianF32], rows: u32, first: bool)
}

compiled_for_each_kernel! {
    fn add_wide = add_body(low: &mut [u64], high: &mut [i64], update: &[LittleEndianF32], rows: u32, first: bool)
}

/// Adds weighted values to a sum, or, where they are the first, puts them in its place.
#[inline(always)]
fn add_body<V: Vector>(low: &mut [u64], high: &mut [impl Upper], update: &[LittleEndianF32], rows: u32, first: bool) {
    let sums = low.iter_mut().zip(high).zip(update);
    if first {
        for ((low, high), value) in sums {
            let (units, above) = weighted_units(*value, rows);
            *low = units;
            *high = Upper::from_wide(above);
        }
    } else {
        for ((low, high), value) in sums {
            let (units, above) = weighted_units(*value, rows);
            let (sum, carry) = low.overflowing_add(units);
            *low = sum;
            *high = Upper::from_wide(high.to_wide() + above + i64::from(carry));
        }
    }
}

/// A value in units, toward zero, times `rows`: the lowest 64 bits and what is above them. The magnitude of the value is
/// below 2^14.
#[inline(always)]
fn weighted_units(value: LittleEndianF32, rows: u32) -> (u64, i64) {
    let bits = u32::from_le_bytes(value);
    let exponent = bits >> 23 & 0xff;
    let mantissa = bits & 0x007f_ffff | u32::from(exponent != 0) << 23;
    // value = mantissa * 2^(exponent - 150); subnormals have exponent 1. At most 14 + 127 - 150 + 64 = 54 places.
    let shift = exponent.max(1) as i32 - 150 + PLACES;
    let (left, right) = (shift.max(0) as u32 & 63, (-shift).clamp(0, 31) as u32);
    // 24 + 32 bits.
    let product = u64::from(mantissa >> right) * u64::from(rows);
    let (low, high) = (product << left, (product >> 1 >> (63 - left)) as i64);
    // Two's complement where the sign says so: a one is carried up from the lower part only where that is zero.
    let sign = i64::from(bits as i32 >> 31);
    let negated = (low as i64 ^ sign).wrapping_sub(sign) as u64;
    (negated, (high ^ sign) + (i64::from(low == 0) & -sign))
}

compiled_for_each_kernel! {
    fn mean_narrow = mean_body(low: &[u64], high: &[i32], rows: u64, values: &mut [LittleEndianF32])
}

compiled_for_each_kernel! {
    fn mean_wide = mean_body(low: &[u64], high: &[i64], rows: u64, values: &mut [LittleEndianF32])
}

/// Values whose quick means are looked at together.
const MEANS: usize = 256;

/// An exact division takes many times as long as all else. So the mean is first found in f64, with its error: where every
/// number within that error gives the same new value, it is the exact one, because each step from the exact sum to the
/// new value is monotone.
#[inline(always)]
fn mean_body<V: Vector>(low: &[u64], high: &[impl Upper], rows: u64, values: &mut [LittleEndianF32]) {
    let part = 1.0 / rows as f64;
    let sums = low.chunks(MEANS).zip(high.chunks(MEANS));
    for ((low, high), values) in sums.zip(values.chunks_mut(MEANS)) {
        let (mut least, mut most) = ([0.0f32; MEANS], [0.0f32; MEANS]);
        let bounds = least.iter_mut().zip(&mut most);
        for ((low, high), (value, (least, most))) in low.iter().zip(high).zip(values.iter().zip(bounds)) {
            (*least, *most) = quick_bounds(*low, high.to_f64(), part, f32::from_le_bytes(*value));
        }
        let bounds = || least.iter().zip(&most).map(|(least, most)| (least.to_bits(), most.to_bits()));
        if bounds().fold(0, |differing, (least, most)| differing | (least ^ most)) == 0 {
            for (value, quick) in values.iter_mut().zip(least) {
                *value = quick.to_le_bytes();
            }
        } else {
            for ((value, (least, most)), (low, high)) in values.iter_mut().zip(bounds()).zip(low.iter().zip(high)) {
                let exact = || exact_value(*value, *low, high.to_wide(), rows);
                let new = if least == most { f32::from_bits(least) } else { exact() };
                *value = new.to_le_bytes();
            }
        }
    }
}

/// A number below 2^52, exactly: few processors convert 64 bits in their vectors, and all of them can do this.
#[inline(always)]
fn f64_of(number: u64) -> f64 {
    const POWER_52: f64 = 4_503_599_627_370_496.0;
    f64::from_bits(POWER_52.to_bits() | number) - POWER_52
}

/// Two numbers that the new value is one of, or between.
#[inline(always)]
fn quick_bounds(low: u64, high: f64, part: f64, base: f32) -> (f32, f32) {
    // From the top, 32 bits at a time: as long as what is there has no more than 53 bits it is exact, and parts that cancel
    // do so before anything is rounded.
    const WORD: f64 = 4_294_967_296.0;
    let sum = (high * WORD + f64_of(low >> 32)) * WORD + f64_of(low & 0xffff_ffff);
    let mean = sum * part * UNIT;
    // Five roundings of at most 2^-53 each, and half a unit.
    let error = mean.abs() * (1.0 / (1u64 << 49) as f64) + UNIT;
    let base = f64::from(base);
    let [least, most] = [-error, error].map(|error| cut((base + (mean + error)) as f32, VALUE_LEAST));
    (least, most)
}

/// A base and the mean of a sum: the definition, in the words of docs/arithmetic.md, section 13.
#[cold]
#[inline(never)]
fn exact_value(base: LittleEndianF32, low: u64, high: i64, rows: u64) -> f32 {
    let sum = i128::from(high) << 64 | i128::from(low);
    cut((f64::from(f32::from_le_bytes(base)) + mean(sum, rows) as f64 * UNIT) as f32, VALUE_LEAST)
}

/// A base and the mean of some updates' values, each with its rows: the definition, without the sum's haste.
pub(in crate::model) fn defined(updates: &[(LittleEndianF32, u32)], base: f32) -> f32 {
    let (mut sum, mut all_rows) = (0, 0);
    for (value, rows) in updates {
        let (low, high) = weighted_units(*value, *rows);
        sum += i128::from(high) << 64 | i128::from(low);
        all_rows += u64::from(*rows);
    }
    exact_value(base.to_le_bytes(), sum as u64, (sum >> 64) as i64, all_rows)
}

/// `sum / rows` to the nearest whole number, ties to the even one.
fn mean(sum: i128, rows: u64) -> i128 {
    let rows = u128::from(rows);
    let (quotient, rest) = (sum.unsigned_abs() / rows, sum.unsigned_abs() % rows);
    let up = 2 * rest > rows || (2 * rest == rows && quotient % 2 == 1);
    // Below 2^79: a mean is no larger than its largest value.
    let magnitude = (quotient + u128::from(up)) as i128;
    if sum < 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::MAGNITUDE_LIMIT;
    use super::*;

    /// Units of 2^-64, toward zero, by a way of its own: f64 holds every f32 times 2^64 exactly.
    fn units(value: f32) -> i128 {
        (f64::from(value) / UNIT) as i128
    }

    fn bytes(values: &[f32]) -> Vec<LittleEndianF32> {
        values.iter().map(|value| value.to_le_bytes()).collect()
    }

    /// Sums of every sort: both widths, every kernel.
    fn every_sum(parameters: usize) -> impl Iterator<Item = ExactSum> {
        let widths = [NARROW_ROWS_MAX, u64::MAX];
        Kernel::available().flat_map(move |kernel| widths.map(|rows_max| ExactSum::new(kernel, parameters, rows_max)))
    }

    fn joined(low: u64, high: i64) -> i128 {
        i128::from(high) << 64 | i128::from(low)
    }

    impl ExactSum {
        fn sums(&self) -> Vec<i128> {
            let high: Vec<i64> = match &self.high {
                High::Narrow(high) => high.iter().map(|high| (*high).into()).collect(),
                High::Wide(high) => high.clone(),
            };
            self.low.iter().zip(high).map(|(low, high)| joined(*low, high)).collect()
        }

        fn mean_of(&self, base: &[f32]) -> Result<Vec<f32>, MergeError> {
            let mut values = bytes(base);
            self.mean_onto(&mut values)?;
            Ok(values.into_iter().map(f32::from_le_bytes).collect())
        }
    }

    #[test]
    fn values_become_units_toward_zero_at_every_size() {
        let weighted = |value: f32, rows| {
            let (low, high) = weighted_units(value.to_le_bytes(), rows);
            joined(low, high)
        };
        let exponents = (0..=140).map(|exponent: u32| f32::from_bits(exponent << 23));
        for value in
            exponents.flat_map(|power| [power, power * 1.999_999_9, power * 1.3, f32::from_bits(power.to_bits() + 1)])
        {
            for rows in [1, 3, u32::MAX] {
                assert_eq!(weighted(value, rows), units(value) * i128::from(rows), "{value:e}");
                assert_eq!(weighted(-value, rows), -units(value) * i128::from(rows), "-{value:e}");
            }
        }
        assert_eq!(weighted(16_383.999, u32::MAX), units(16_383.999) * i128::from(u32::MAX));
        assert_eq!(weighted(f32::from_bits(1), 7), 0);
    }

    #[test]
    fn a_mean_is_rounded_to_the_nearest_unit_and_ties_to_even() {
        for (sum, rows, expected) in
            [(7, 2, 4), (5, 2, 2), (6, 4, 2), (10, 4, 2), (11, 4, 3), (9, 4, 2), (1, 3, 0), (2, 3, 1), (0, 5, 0)]
        {
            assert_eq!(mean(sum, rows), expected, "{sum} / {rows}");
            assert_eq!(mean(-sum, rows), -expected, "-{sum} / {rows}");
        }
    }

    #[test]
    fn the_mean_is_weighted_by_rows_and_added_to_the_base() {
        for mut sum in every_sum(2) {
            for _round in 0..2 {
                sum.add(&bytes(&[1.0, -2.0]), 1).unwrap();
                sum.add(&bytes(&[2.0, 6.0]), 3).unwrap();
                assert_eq!(sum.rows(), 4);
                assert_eq!(sum.mean_of(&[10.0, 20.0]), Ok(vec![11.75, 24.0]));
                sum.reset();
                assert_eq!(sum.mean_of(&[10.0, 20.0]), Err(MergeError::Empty));
            }
        }
    }

    #[test]
    fn what_a_single_f32_would_have_swallowed_is_not_lost() {
        for mut sum in every_sum(1) {
            for update in [16_383.0, 1e-11, -16_383.0] {
                sum.add(&bytes(&[update]), 1).unwrap();
            }
            let exact = units(1e-11) as f64 / 3.0 * UNIT;
            let merged = sum.mean_of(&[0.0]).unwrap()[0];
            assert!((f64::from(merged) - exact).abs() < 1e-17, "{merged:e}");
        }
    }

    #[test]
    fn a_refused_update_leaves_no_trace() {
        for mut sum in every_sum(3) {
            sum.add(&bytes(&[1.0, 2.0, 3.0]), 5).unwrap();
            let before = sum.sums();
            for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 16_384.0, -16_384.0, 1e20] {
                let refusal = sum.add(&bytes(&[1.0, 2.0, value]), 5).unwrap_err();
                assert!(matches!(refusal, MergeError::Value { index: 2, .. }), "{refusal}");
            }
            assert_eq!(sum.add(&bytes(&[1.0, 2.0]), 5), Err(MergeError::Length { got: 2, expected: 3 }));
            assert_eq!(sum.add(&bytes(&[1.0, 2.0, 3.0]), 0), Err(MergeError::Rows { got: 0 }));
            assert_eq!(sum.mean_of(&[1.0]), Err(MergeError::Length { got: 1, expected: 3 }));
            assert_eq!((sum.sums(), sum.rows()), (before, 5));
        }
    }

    #[test]
    fn the_largest_updates_of_the_most_rows_do_not_overflow() {
        let largest = f32::from_bits(MAGNITUDE_LIMIT.to_bits() - 1);
        for (rows_max, rows) in [(NARROW_ROWS_MAX, 1 << 11), (NARROW_ROWS_MAX + 1, 1 << 11), (u64::MAX, u32::MAX)] {
            let most = rows_max.min(ROWS_MAX);
            for kernel in Kernel::available() {
                let mut sum = ExactSum::new(kernel, 2, rows_max);
                for _ in 0..most / u64::from(rows) {
                    sum.add(&bytes(&[largest, -largest]), rows).unwrap();
                }
                assert_eq!(sum.mean_of(&[0.0, 0.0]), Ok(vec![largest, -largest]));
                assert_eq!(sum.add(&bytes(&[0.0, 0.0]), rows), Err(MergeError::Rows { got: rows }));
            }
        }
    }

    #[test]
    fn a_mean_between_two_numbers_is_rounded_as_the_definition_says() {
        // Halfway between two f32, and a unit to either side; sums whose parts nearly cancel, or have more bits than f64;
        // nothing onto nothing.
        let half = 1i128 << (PLACES - 24);
        let sums = [0, 1, -1, half, half + 1, half - 1, -half, 3 * half, 3 * half - 1, i128::from(u64::MAX), 1 << 64];
        let long = [(1 << 53) + 1, (1 << 64) - (1 << 20), (1 << 85) + (1 << 32) + 3, (1 << 95) - 1];
        let bases = [0.0, -0.0, 1.0, -1.0, f32::from_bits(0x3f80_0001), f32::MIN_POSITIVE, 1e30, f32::MAX];
        for rows in [1u64, 2, 3, 4, 1 << 17] {
            let long = long.iter().flat_map(|sum| [*sum, -sum]);
            for sum in sums.iter().flat_map(|sum| [*sum, -sum, sum * i128::from(rows)]).chain(long) {
                for kernel in Kernel::available() {
                    for mut of in [1, u64::MAX].map(|rows_max| ExactSum::new(kernel, bases.len(), rows_max)) {
                        (of.rows, of.low) = (rows, vec![sum as u64; bases.len()]);
                        match &mut of.high {
                            High::Narrow(high) => high.fill((sum >> 64) as i32),
                            High::Wide(high) => high.fill((sum >> 64) as i64),
                        }
                        let defined =
                            |base: &f32| cut((f64::from(*base) + mean(sum, rows) as f64 * UNIT) as f32, VALUE_LEAST);
                        let got = of.mean_of(&bases).unwrap();
                        for (got, base) in got.iter().zip(&bases) {
                            assert_eq!(got.to_bits(), defined(base).to_bits(), "{base:e} + {sum} / {rows}");
                        }
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_order_of_arrival_changes_no_bit(
            updates in proptest::collection::vec((proptest::array::uniform4(-16_000f32..16_000.0), 1..5_000u32), 1..20),
            exponents in proptest::array::uniform4(-60i32..1),
            base in proptest::array::uniform4(-2f32..2.0),
            turn in 0usize..20,
        ) {
            let mut updates: Vec<([f32; 4], u32)> = updates;
            for (update, _) in &mut updates {
                for (value, exponent) in update.iter_mut().zip(exponents) {
                    *value *= 2f32.powi(exponent);
                }
            }
            let exact = |index: usize| {
                updates.iter().map(|(update, rows)| units(update[index]) * i128::from(*rows)).sum::<i128>()
            };
            let exact = [0, 1, 2, 3].map(exact);
            let rows: u64 = updates.iter().map(|(_, rows)| u64::from(*rows)).sum();
            let defined: Vec<u32> = base
                .iter()
                .zip(exact)
                .map(|(base, sum)| cut((f64::from(*base) + mean(sum, rows) as f64 * UNIT) as f32, VALUE_LEAST).to_bits())
                .collect();
            let turn = turn % updates.len();
            let mut turned = updates.clone();
            turned.rotate_left(turn);
            let mut reversed = turned.clone();
            reversed.reverse();
            for order in [&updates, &turned, &reversed] {
                for mut sum in every_sum(4) {
                    for (update, rows) in order {
                        sum.add(&bytes(update), *rows).unwrap();
                    }
                    prop_assert_eq!(sum.sums(), exact);
                    let merged: Vec<u32> = sum.mean_of(&base).unwrap().iter().map(|value| value.to_bits()).collect();
                    prop_assert_eq!(&merged, &defined);
                }
            }
        }
    }
}

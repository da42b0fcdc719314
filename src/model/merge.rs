//! The weighted mean of updates, exact, so that the order of their arrival cannot matter. Owns the fixed-point sum and
//! what it refuses; does not know nodes or rounds.
//!
//! Every value is turned into a whole number of units of 2^-64, toward zero; that loses nothing from 2^-41 up. Units times
//! rows are added in 128 bits, and divided once, at the end.

use std::fmt;

/// Where magnitudes begin that an update may not have.
const MAGNITUDE_LIMIT: f32 = 16_384.0;
/// Binary places of a unit.
const PLACES: i32 = 64;
/// Rows of a sum, at most: 2^78 units of a value times 2^48 rows stay below 2^127.
const ROWS_MAX: u64 = 1 << 48;

/// Whether an update may have this value: it is finite and its magnitude below 2^14.
pub fn can_be_merged(value: f32) -> bool {
    // NaN compares as false.
    value.abs() < MAGNITUDE_LIMIT
}

/// A sum of updates, each weighted by the rows behind it. Its size does not grow with the number of updates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactSum {
    /// In units of 2^-64.
    sums: Vec<i128>,
    rows: u64,
}

impl ExactSum {
    /// An empty sum of updates of so many values.
    pub fn new(parameters: usize) -> ExactSum {
        ExactSum { sums: vec![0; parameters], rows: 0 }
    }

    /// Empties the sum.
    pub fn reset(&mut self) {
        self.sums.fill(0);
        self.rows = 0;
    }

    /// Rows behind the updates added so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds an update weighted by its `rows`. All of it is checked first: one that is refused leaves no trace.
    pub fn add(&mut self, update: &[f32], rows: u32) -> Result<(), MergeError> {
        self.same_length(update)?;
        if rows == 0 || self.rows + u64::from(rows) > ROWS_MAX {
            return Err(MergeError::Rows { got: rows });
        }
        if let Some(index) = update.iter().position(|value| !can_be_merged(*value)) {
            return Err(MergeError::Value { index, value: update[index] });
        }
        for (sum, value) in self.sums.iter_mut().zip(update) {
            *sum += weighted_units(*value, rows);
        }
        self.rows += u64::from(rows);
        Ok(())
    }

    /// `base` plus the mean of the updates: the mean rounded to whole units, ties to even, and the new value rounded to
    /// f64 and then to f32.
    pub fn mean_onto(&self, base: &[f32]) -> Result<Vec<f32>, MergeError> {
        self.same_length(base)?;
        if self.rows == 0 {
            return Err(MergeError::Empty);
        }
        let unit = 1.0 / 18_446_744_073_709_551_616.0;
        let values = self.sums.iter().zip(base);
        Ok(values.map(|(sum, base)| (f64::from(*base) + mean(*sum, self.rows) as f64 * unit) as f32).collect())
    }

    fn same_length(&self, values: &[f32]) -> Result<(), MergeError> {
        if values.len() != self.sums.len() {
            return Err(MergeError::Length { got: values.len(), expected: self.sums.len() });
        }
        Ok(())
    }
}

/// `value` in units, toward zero, times `rows`. The magnitude of `value` is below 2^14.
fn weighted_units(value: f32, rows: u32) -> i128 {
    let bits = value.to_bits();
    let exponent = (bits >> 23 & 0xff) as i32;
    let implied = u64::from(exponent != 0) << 23;
    let mantissa = u64::from(bits & 0x007f_ffff) | implied;
    // value = mantissa * 2^(exponent - 150); subnormals have exponent 1.
    let shift = exponent.max(1) - 150 + PLACES;
    // 24 + 32 bits: the product fits before it is shifted, by at most 14 + 127 - 150 + 64 = 54 places.
    let magnitude = if shift >= 0 {
        i128::from(mantissa * u64::from(rows)) << shift
    } else if shift > -24 {
        i128::from((mantissa >> -shift) * u64::from(rows))
    } else {
        0
    };
    if value.is_sign_negative() { -magnitude } else { magnitude }
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

/// Why an update is not added, or a sum has no mean.
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
            Self::Empty => f.write_str("nothing was merged: there is no mean"),
        }
    }
}

impl std::error::Error for MergeError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Units of 2^-64, toward zero, by a way of its own: f64 holds every f32 times 2^64 exactly.
    fn units(value: f32) -> i128 {
        (f64::from(value) * 18_446_744_073_709_551_616.0) as i128
    }

    #[test]
    fn values_become_units_toward_zero_at_every_size() {
        let exponents = (0..=140).map(|exponent: u32| f32::from_bits(exponent << 23));
        for value in
            exponents.flat_map(|power| [power, power * 1.999_999_9, power * 1.3, f32::from_bits(power.to_bits() + 1)])
        {
            for rows in [1, 3, u32::MAX] {
                assert_eq!(weighted_units(value, rows), units(value) * i128::from(rows), "{value:e}");
                assert_eq!(weighted_units(-value, rows), -units(value) * i128::from(rows), "-{value:e}");
            }
        }
        assert_eq!(weighted_units(16_383.999, u32::MAX), units(16_383.999) * i128::from(u32::MAX));
        assert_eq!(weighted_units(f32::from_bits(1), 7), 0);
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
        let mut sum = ExactSum::new(2);
        sum.add(&[1.0, -2.0], 1).unwrap();
        sum.add(&[2.0, 6.0], 3).unwrap();
        assert_eq!(sum.rows(), 4);
        assert_eq!(sum.mean_onto(&[10.0, 20.0]), Ok(vec![11.75, 24.0]));
        sum.reset();
        assert_eq!(sum, ExactSum::new(2));
        assert_eq!(sum.mean_onto(&[10.0, 20.0]), Err(MergeError::Empty));
    }

    #[test]
    fn what_a_single_f32_would_have_swallowed_is_not_lost() {
        let mut sum = ExactSum::new(1);
        for update in [16_383.0, 1e-12, -16_383.0] {
            sum.add(&[update], 1).unwrap();
        }
        let exact = units(1e-12) as f64 / 3.0 / 18_446_744_073_709_551_616.0;
        let merged = sum.mean_onto(&[0.0]).unwrap()[0];
        assert!((f64::from(merged) - exact).abs() < 1e-19, "{merged:e}");
    }

    #[test]
    fn a_refused_update_leaves_no_trace() {
        let mut sum = ExactSum::new(3);
        sum.add(&[1.0, 2.0, 3.0], 5).unwrap();
        let before = sum.clone();
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 16_384.0, -16_384.0, 1e20] {
            let refusal = sum.add(&[1.0, 2.0, value], 5).unwrap_err();
            assert!(matches!(refusal, MergeError::Value { index: 2, .. }), "{refusal}");
            assert_eq!(sum, before);
        }
        assert_eq!(sum.add(&[1.0, 2.0], 5), Err(MergeError::Length { got: 2, expected: 3 }));
        assert_eq!(sum.add(&[1.0, 2.0, 3.0], 0), Err(MergeError::Rows { got: 0 }));
        assert_eq!(sum.mean_onto(&[1.0]), Err(MergeError::Length { got: 1, expected: 3 }));
        assert_eq!(sum, before);
    }

    #[test]
    fn the_largest_updates_of_the_most_rows_do_not_overflow() {
        let mut sum = ExactSum { sums: vec![0; 2], rows: 0 };
        let largest = f32::from_bits(MAGNITUDE_LIMIT.to_bits() - 1);
        let updates = (ROWS_MAX / u64::from(u32::MAX)) as u32;
        for _ in 0..updates {
            sum.add(&[largest, -largest], u32::MAX).unwrap();
        }
        assert_eq!(sum.mean_onto(&[0.0, 0.0]), Ok(vec![largest, -largest]));
        assert_eq!(sum.add(&[0.0, 0.0], u32::MAX), Err(MergeError::Rows { got: u32::MAX }));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_order_of_arrival_changes_no_bit(
            updates in proptest::collection::vec((proptest::array::uniform4(-16_000f32..16_000.0), 1..u32::MAX), 1..20),
            exponents in proptest::array::uniform4(-60i32..1),
            turn in 0usize..20,
        ) {
            let mut updates: Vec<([f32; 4], u32)> = updates;
            for (update, _) in &mut updates {
                for (value, exponent) in update.iter_mut().zip(exponents) {
                    *value *= 2f32.powi(exponent);
                }
            }
            let sum_of = |updates: &[([f32; 4], u32)]| {
                let mut sum = ExactSum::new(4);
                for (update, rows) in updates {
                    sum.add(update, *rows).unwrap();
                }
                sum
            };
            let sum = sum_of(&updates);
            let turn = turn % updates.len();
            updates.rotate_left(turn);
            prop_assert_eq!(&sum, &sum_of(&updates));
            updates.reverse();
            prop_assert_eq!(&sum, &sum_of(&updates));
            for index in 0..4 {
                let exact: i128 = updates.iter().map(|(update, rows)| units(update[index]) * i128::from(*rows)).sum();
                prop_assert_eq!(sum.sums[index], exact);
            }
        }
    }
}

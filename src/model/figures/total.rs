//! Sums that are exact, and rounded once, so that the order of what is added cannot matter. Owns the integers; does not know
//! what is summed.
//!
//! Every term is a whole number of units of 2^-320, which no product of two f32 is below; digits of 32 bits are added each by
//! itself, and carried now and then.

/// Binary places of a unit.
const PLACES: i32 = 320;
/// What terms are below in magnitude: more than any product of two f32.
const BEYOND: f64 = f64::from_bits((1023 + PLACES as u64) << 52);
/// Bits of a digit.
const DIGIT_BITS: u32 = 32;
const DIGIT: i64 = (1 << DIGIT_BITS) - 1;
/// Digits: 2^64 terms stay below 2^384.
const DIGITS: usize = 23;
/// Terms after which digits are carried: each adds less than 2^32 to a digit.
const LOOSE_MAX: u32 = 1 << 30;

/// The sum of numbers that are f32, products of two f32, or sums of a few of these that f64 holds. What of another number is
/// below 2^-320 is left out.
#[derive(Clone, Debug)]
pub(super) struct Total {
    /// The lowest first. Between 0 and 2^32 once carried, but for the last, which has the sign.
    digits: [i64; DIGITS],
    loose: u32,
    /// What is not finite, or too large.
    beyond: f64,
}

impl Total {
    /// Of nothing.
    pub fn new() -> Total {
        Total { digits: [0; DIGITS], loose: 0, beyond: 0.0 }
    }

    /// Adds a number.
    pub fn add(&mut self, term: f64) {
        if term.is_nan() || term.abs() >= BEYOND {
            self.beyond += term;
            return;
        }
        let bits = term.to_bits();
        let exponent = ((bits >> 52) & 0x7FF) as i32;
        let fraction = bits & ((1 << 52) - 1);
        let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
        // The mantissa's last place is 2^(exponent - 1075).
        let shift = exponent.max(1) - 1_075 + PLACES;
        let (mantissa, shift) = match shift {
            ..=-64 => return,
            -63..=-1 => (mantissa >> -shift, 0),
            shift => (mantissa, shift as u32),
        };
        let (first, within) = ((shift / DIGIT_BITS) as usize, shift % DIGIT_BITS);
        let units = u128::from(mantissa) << within;
        for (place, digit) in self.digits[first..].iter_mut().take(3).enumerate() {
            let part = (units >> (place as u32 * DIGIT_BITS)) as i64 & DIGIT;
            *digit += if term < 0.0 { -part } else { part };
        }
        self.loose += 1;
        if self.loose == LOOSE_MAX {
            carry(&mut self.digits);
            self.loose = 0;
        }
    }

    /// The sum, rounded to nearest.
    pub fn value(&self) -> f64 {
        if self.beyond != 0.0 {
            return self.beyond;
        }
        let (is_negative, digits) = self.magnitude();
        let value = nearest(&digits.map(i128::from), PLACES);
        if is_negative { -value } else { value }
    }

    /// Whether it is below 0, and its digits without the sign.
    fn magnitude(&self) -> (bool, [i64; DIGITS]) {
        let mut digits = self.digits;
        carry(&mut digits);
        let is_negative = digits[DIGITS - 1] < 0;
        if is_negative {
            digits.iter_mut().for_each(|digit| *digit = -*digit);
            carry(&mut digits);
        }
        (is_negative, digits)
    }
}

/// The squares of numbers' distances from their mean, of so many numbers each in several groups: of the sum of all their
/// squares, and of each group's sum. It is exact but for two roundings at the end.
pub(super) fn variation(squares: &Total, sums: &[Total], count: u64) -> f64 {
    if squares.beyond != 0.0 || sums.iter().any(|sum| sum.beyond != 0.0) {
        return f64::NAN;
    }
    // Count times the squares, less the square of each sum, in units of 2^-640.
    const UNITS_APART: usize = (PLACES as u32 / DIGIT_BITS) as usize;
    let mut digits = [0i128; 2 * DIGITS + 2];
    let (low, high) = (i128::from(count & DIGIT as u64), i128::from(count >> DIGIT_BITS));
    for (place, digit) in squares.magnitude().1.into_iter().enumerate() {
        digits[place + UNITS_APART] += i128::from(digit) * low;
        digits[place + UNITS_APART + 1] += i128::from(digit) * high;
    }
    for sum in sums {
        let of_sum = sum.magnitude().1;
        let used = of_sum.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
        for (place, &digit) in of_sum[..used].iter().enumerate() {
            for (other_place, &other) in of_sum[..used].iter().enumerate() {
                digits[place + other_place] -= i128::from(digit) * i128::from(other);
            }
        }
    }
    let mut carried = 0;
    for digit in &mut digits {
        let sum = *digit + carried;
        (*digit, carried) = (sum & i128::from(DIGIT), sum >> DIGIT_BITS);
    }
    nearest(&digits, 2 * PLACES) / count as f64
}

/// Brings all digits but the last between 0 and 2^32.
fn carry(digits: &mut [i64; DIGITS]) {
    let mut carried = 0;
    for digit in &mut digits[..DIGITS - 1] {
        let sum = *digit + carried;
        (*digit, carried) = (sum & DIGIT, sum >> DIGIT_BITS);
    }
    digits[DIGITS - 1] += carried;
}

/// The f64 next to digits of so many binary places, none of which is negative.
fn nearest(digits: &[i128], places: i32) -> f64 {
    let Some(top) = digits.iter().rposition(|digit| *digit != 0) else { return 0.0 };
    let digit = |below: usize| top.checked_sub(below).map_or(0, |place| digits[place] as u128);
    // More than 64 bits, the last of which stands for all behind them.
    let high = digit(0) << 64 | digit(1) << 32 | digit(2);
    let behind = digits[..top.saturating_sub(2)].iter().any(|digit| *digit != 0);
    let exponent = DIGIT_BITS as i32 * (top as i32 - 2) - places;
    (high | u128::from(behind)) as f64 * f64::from_bits(((1_023 + exponent) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn total(terms: &[f64]) -> Total {
        let mut total = Total::new();
        terms.iter().for_each(|term| total.add(*term));
        total
    }

    #[test]
    fn what_terms_leave_of_each_other_is_not_lost() {
        let (large, small) = (2f64.powi(250), 2f64.powi(-290));
        assert_eq!(total(&[large, small, -large]).value(), small);
        assert_eq!(total(&[-large, -small, large]).value(), -small);
        assert_eq!(total(&[1e16, 1.0, 1.0, 1.0, -1e16]).value(), 3.0);
        assert_eq!(total(&[]).value().to_bits(), 0);
        let most = f64::from(f32::MAX) * f64::from(f32::MAX);
        assert_eq!(total(&[most; 4]).value(), 4.0 * most);
    }

    #[test]
    fn a_sum_is_rounded_once_and_to_even() {
        let half = 2f64.powi(-53);
        assert_eq!(total(&[1.0, half]).value(), 1.0);
        assert_eq!(total(&[1.0, half, 2f64.powi(-300)]).value(), 1.0 + 2.0 * half);
        assert_eq!(total(&[1.0 + 2.0 * half, half]).value(), 1.0 + 4.0 * half);
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        assert!(total(&[1.0, f64::NAN]).value().is_nan());
        assert_eq!(total(&[1.0, f64::INFINITY, 2.0]).value(), f64::INFINITY);
        assert!(variation(&total(&[f64::INFINITY]), &[total(&[1.0])], 1).is_nan());
    }

    #[test]
    fn distances_from_a_mean_far_from_0_are_not_lost() {
        let of = |values: &[f64]| {
            let squares: Vec<f64> = values.iter().map(|value| value * value).collect();
            variation(&total(&squares), &[total(values)], values.len() as u64)
        };
        assert_eq!(of(&[8_388_609.0, 8_388_610.0, 8_388_611.0]), 2.0);
        assert_eq!(of(&[0.1f32.into(); 3]), 0.0);
        assert_eq!(of(&[-3.0, 1.0]), 8.0);
        // Each group has a mean of its own.
        let squares = total(&[1.0, 100.0, 1.0, 144.0]);
        assert_eq!(variation(&squares, &[total(&[1.0, 1.0]), total(&[10.0, 12.0])], 2), 2.0);
    }

    proptest! {
        #[test]
        fn a_sum_is_the_exact_one_rounded_in_any_order(terms in prop::collection::vec(any::<i32>(), 0..60), places in -40i32..40) {
            let unit = 2f64.powi(places);
            let exact: i64 = terms.iter().map(|term| i64::from(*term)).sum();
            let mut terms: Vec<f64> = terms.iter().map(|term| f64::from(*term) * unit).collect();
            prop_assert_eq!(total(&terms).value(), exact as f64 * unit);
            terms.sort_by(f64::total_cmp);
            prop_assert_eq!(total(&terms).value(), exact as f64 * unit);
            let mut carried = total(&terms);
            carry(&mut carried.digits);
            prop_assert_eq!(carried.value(), exact as f64 * unit);
        }
    }
}

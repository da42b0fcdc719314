//! A whole number over a power of ten, rounded to the nearest f64. Owns the arithmetic; does not know texts.
//!
//! Where both are numbers of f64, one division rounds once (Clinger, 1990). Otherwise the number is multiplied with the power's
//! reciprocal to 128 bits, which decides every case of so few decimals (Lemire, "Number Parsing at a Gigabyte per Second", 2021;
//! Mushtak and Lemire, "Fast Number Parsing Without Fallback", 2023).

/// Decimals, at most.
pub(super) const DECIMALS_MAX: usize = 22;

/// Up to here f64 holds every whole number.
const WHOLE_MAX: u64 = 1 << 53;
/// Powers of ten, each of which f64 holds.
pub(super) const POWERS_OF_TEN: [f64; DECIMALS_MAX + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// The reciprocal of a power of five, times a power of two that leaves 128 bits of it, rounded up: the higher half first.
const RECIPROCALS: [(u64, u64); DECIMALS_MAX + 1] = {
    let mut table = [(1 << 63, 0); DECIMALS_MAX + 1];
    let mut power = 1u64;
    let mut decimals = 1;
    while decimals <= DECIMALS_MAX {
        power *= 5;
        // Two to the power of 127 and as many as the divisor has bits, divided word by word.
        let first = 1u128 << (64 + power.ilog2());
        let (high, rest) = (first / power as u128, first % power as u128);
        let low = (rest << 64) / power as u128;
        let (low, carry) = (low as u64).overflowing_add(1);
        table[decimals] = (high as u64 + carry as u64, low);
        decimals += 1;
    }
    table
};

/// The bits behind those that count of a product's higher half: where all are set, the lower half may carry.
const DOUBTFUL: u64 = u64::MAX >> 55;
/// Bits of a mantissa without the highest one.
const MANTISSA_BITS: u32 = 52;

/// The number over ten to the power of the decimals, of which there are [`DECIMALS_MAX`] at most.
#[inline]
pub(super) fn rounded(number: u64, decimals: usize) -> f64 {
    if number <= WHOLE_MAX { number as f64 / POWERS_OF_TEN[decimals] } else { multiplied(number, decimals) }
}

/// The same of any number but 0, without a division.
#[inline]
pub(super) fn multiplied(number: u64, decimals: usize) -> f64 {
    let zeros = number.leading_zeros();
    let normal = u128::from(number << zeros);
    let (high, low) = RECIPROCALS[decimals];
    let mut product = normal * u128::from(high);
    if (product >> 64) as u64 & DOUBTFUL == DOUBTFUL {
        product += (normal * u128::from(low)) >> 64;
    }
    let (upper, lower) = ((product >> 64) as u64, product as u64);
    let is_full = (upper >> 63) as u32;
    let shift = is_full + 64 - MANTISSA_BITS - 3;
    let mut mantissa = upper >> shift;
    // Half of the last bit exactly goes to the even neighbour.
    if lower <= 1 && decimals <= 4 && mantissa & 3 == 1 && mantissa << shift == upper {
        mantissa &= !1;
    }
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    // The highest bit adds one to the exponent, and where rounding carries, another.
    let power_of_five = (decimals as i32 * -217_706) >> 16;
    let exponent = power_of_five + 63 + is_full as i32 - zeros as i32 + 1_023;
    f64::from_bits(((exponent as u64 - 1) << MANTISSA_BITS) + mantissa)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(number: u64, decimals: usize) -> Result<(), TestCaseError> {
        let wanted: f64 = format!("{number}e-{decimals}").parse().unwrap();
        prop_assert_eq!(rounded(number, decimals).to_bits(), wanted.to_bits(), "{} {}", number, decimals);
        if number > 0 {
            prop_assert_eq!(multiplied(number, decimals).to_bits(), wanted.to_bits(), "{} {}", number, decimals);
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn quotients_are_rounded_as_the_longer_way_rounds_them(
            number in any::<u64>(),
            bits in 0u32..64,
            decimals in 0..=DECIMALS_MAX,
            mantissa in (1u64 << 52)..(1 << 53),
            step in 0u64..5,
        ) {
            check(number, decimals)?;
            check(number >> bits, decimals)?;
            // Halfway between two neighbours, and beside that.
            let halfway = (2 * mantissa + 1) << (bits % 11);
            for decimals in [0, decimals, decimals % 5] {
                check(halfway + step - 2, decimals)?;
                if let Some(number) = 10u64.checked_pow(decimals as u32).and_then(|power| (halfway >> 10).checked_mul(power)) {
                    check((number + step).saturating_sub(2), decimals)?;
                }
            }
        }
    }
}

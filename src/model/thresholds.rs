//! The magnitudes below which arithmetic 2 takes a value for +0. Owns the thresholds and the reasons for them; does not know
//! where they are applied.
//!
//! Subnormal numbers, those below 2^-126, cost many processors a hundred cycles an operation, and training that fits its
//! data well breeds them by the million. With these thresholds no operation of training has a subnormal operand or result:
//!
//! Inputs, weights, what a layer puts out and derivatives are whole multiples of 2^-63: 0, or at least 2^-40 and thus of 24
//! bits from there, or, with weights, sums of such numbers. So a product of two is a multiple of 2^-126, and so is every sum
//! of such products, however they cancel and are rounded on the way: it is 0 or at least 2^-126, and no longer subnormal.
//! What follows, the optimiser, has thresholds of its own, each chosen so that the next product or quotient stays at 2^-126
//! or above. docs/arithmetic.md, section 2, has the whole argument.
//!
//! A flushing mode of the processor would not do: processors differ in what they flush, and when.

/// 2 to the power of `exponent`, from -126 to 127.
const fn two_to_the(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

/// Inputs, weights, hidden layers' outputs and derivatives: 2^-40, some 10^-12. Rounding loses more than that of any value
/// above 10^-5.
pub(super) const VALUE_LEAST: f32 = two_to_the(-40);

/// Where e^x is +0 below: e^-41.5 is about 2^-60, so that its product with the reciprocal of a sum over 65,535 classes is
/// far from subnormal. Against the largest class, whose exponential is 1, f32 has lost it long before.
pub(super) const EXP_ARGUMENT_LEAST: f32 = -41.5;

/// A gradient's mean over the rows of a batch: 2^-53, some 10^-16. Adam's epsilon, 10^-8, hides it, and (1 - 0.999) times its
/// square is at least 2^-116.
pub(super) const GRADIENT_LEAST: f32 = two_to_the(-53);

/// Updates from one look at Adam's moments to the next, where they fade slowly. Without a gradient the first falls to no less
/// than a thousandth until then.
pub(super) const MOMENTS_EVERY: u32 = 64;

/// The same for moments that fade by these factors: where one fades faster, they are looked at before every update. They are
/// then multiplied once by a tenth or more (the recipe's limit) before they are looked at again.
pub(super) fn moments_every([first, second]: [f64; 2]) -> u32 {
    if first >= 0.9 && second >= 0.95 { MOMENTS_EVERY } else { 1 }
}

/// Adam's first moment, each time that it is looked at: 2^-66. That of a weight without a gradient would otherwise stop at
/// the smallest subnormals, because nine tenths of those round to themselves. It is at least 2^-76 until the next look, and
/// its product with a learning rate of at least 2^-40 is at least 2^-116.
pub(super) const FIRST_MOMENT_LEAST: f32 = two_to_the(-66);

/// Adam's second moment, each time that it is looked at: 2^-120, below what the least gradient's square adds to it.
pub(super) const SECOND_MOMENT_LEAST: f32 = two_to_the(-120);

/// A step of Adam's: 2^-40, as of any value.
pub(super) const STEP_LEAST: f32 = VALUE_LEAST;

/// A learning rate of plain gradient descent: 2^-60. Below, a round trains nothing. Its product with the least gradient is at
/// least 2^-113.
pub(super) const SGD_RATE_LEAST: f32 = two_to_the(-60);

/// A learning rate of Adam's, whose steps are about as long as the rate: 2^-40.
pub(super) const ADAM_RATE_LEAST: f32 = STEP_LEAST;

/// `if |value| < least { +0 } else { value }`: NaN stays NaN.
#[inline(always)]
pub(super) fn cut(value: f32, least: f32) -> f32 {
    if value.abs() < least { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::recipe::{EPSILON_MIN, FADING_MAX, FADING_MIN, WEIGHT_DECAY_MIN};

    #[test]
    fn what_is_below_a_threshold_is_plus_zero_and_what_is_not_keeps_its_bits() {
        let below = f32::from_bits(VALUE_LEAST.to_bits() - 1);
        for value in [0.0, -0.0, below, -below, f32::from_bits(1), -f32::MIN_POSITIVE] {
            assert_eq!(cut(value, VALUE_LEAST).to_bits(), 0, "{value:e}");
        }
        for value in [VALUE_LEAST, -VALUE_LEAST, 1.0, f32::MAX, f32::NEG_INFINITY] {
            assert_eq!(cut(value, VALUE_LEAST).to_bits(), value.to_bits());
        }
        assert!(cut(f32::NAN, VALUE_LEAST).is_nan());
    }

    #[test]
    fn the_thresholds_are_the_powers_of_two_that_the_argument_needs() {
        let exponent = |value: f32| (value.to_bits() >> 23) as i32 - 127;
        // The least product of two values, to its last bit, also after cancellation.
        assert!(2 * (exponent(VALUE_LEAST) - 23) >= -126);
        // 1 - 0.999 is above 2^-10.
        assert!(-10 + 2 * exponent(GRADIENT_LEAST) > exponent(SECOND_MOMENT_LEAST));
        let lowest_first = FIRST_MOMENT_LEAST * 0.9f32.powi(MOMENTS_EVERY as i32);
        assert!(exponent(ADAM_RATE_LEAST) + exponent(lowest_first) > -126);
        let lowest_second = SECOND_MOMENT_LEAST * 0.999f32.powi(MOMENTS_EVERY as i32);
        assert!(lowest_second.is_normal());
        for second in [0.95f32, 0.999] {
            assert!((SECOND_MOMENT_LEAST * second.powi(moments_every([0.9, second.into()]) as i32)).is_normal());
        }
        assert_eq!((moments_every([0.899, 0.999]), moments_every([0.9, 0.949])), (1, 1));
        // Where they fade fastest, and where a square of the least gradient weighs least.
        let (least, most) = (FADING_MIN as f32, FADING_MAX as f32);
        assert!((SECOND_MOMENT_LEAST * least).is_normal());
        assert!(exponent(ADAM_RATE_LEAST) + exponent(FIRST_MOMENT_LEAST * least) > -126);
        assert!(exponent(1.0 - most) + 2 * exponent(GRADIENT_LEAST) - 2 >= -126);
        // Of a rate that is only just one.
        assert!(exponent(SGD_RATE_LEAST) + exponent(WEIGHT_DECAY_MIN) > -126);
        assert!(exponent(STEP_LEAST) + exponent(EPSILON_MIN) > -126);
        // The mean of up to 2^32 rows.
        assert!(exponent(SGD_RATE_LEAST) - 32 + exponent(GRADIENT_LEAST) + 32 >= -126);
        assert!(exponent(SGD_RATE_LEAST) - 32 >= -126);
    }
}

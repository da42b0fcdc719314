//! The elementary operations of arithmetic 1: the fused multiply-add on every machine, e^x and ln x. Owns how they round
//! (protocol.md, "Arithmetic 1"); does not know what they are used for.
//!
//! `exp` and `ln` are made of + - * /, fused multiply-adds and bit operations only: a platform's own functions round
//! differently from machine to machine.

use super::vector::Elements;

/// How a fused multiply-add is done. Every implementation gives the same bits.
pub(super) trait Fma: Copy {
    /// `a * b + c`, rounded once.
    fn fma(a: f32, b: f32, c: f32) -> f32;
}

/// The processor's own instruction. Only for code that is compiled for a processor that has one: elsewhere it would be a
/// slow call into a library.
#[derive(Clone, Copy)]
pub(super) struct Hardware;

impl Fma for Hardware {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// The same from additions and multiplications of f64, for processors without the instruction.
#[cfg(any(test, not(any(target_arch = "aarch64", target_feature = "fma"))))]
#[derive(Clone, Copy)]
pub(super) struct Software;

#[cfg(any(test, not(any(target_arch = "aarch64", target_feature = "fma"))))]
impl Fma for Software {
    /// The product of two f32 is exact in f64. The sum is rounded to odd (Boldo and Melquiond 2008), so that rounding it
    /// once more, to f32, gives what a single rounding would.
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        let (product, addend) = (f64::from(a) * f64::from(b), f64::from(c));
        let sum = product + addend;
        // Knuth's two-sum: sum + error is exactly product + addend. Infinity and NaN make the error NaN, hence no step.
        let part = sum - product;
        let error = (product - (sum - part)) + (addend - part);
        let bits = sum.to_bits();
        let inexact = (error < 0.0) | (error > 0.0);
        let away_from_error = (error.to_bits() ^ bits) >> 63;
        let step = 1u64.wrapping_sub(away_from_error << 1);
        let even = inexact as u64 & !bits & 1;
        f64::from_bits(bits.wrapping_add(step & even.wrapping_neg())) as f32
    }
}

/// [`Software`], out of line. In line, e^x and ln x, which are a dozen of it, were 4 kB of a node for processors that are rare
/// by now.
#[cfg(not(any(target_arch = "aarch64", target_feature = "fma")))]
#[derive(Clone, Copy)]
pub(super) struct SoftwareCall;

#[cfg(not(any(target_arch = "aarch64", target_feature = "fma")))]
impl Fma for SoftwareCall {
    #[inline(never)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        Software::fma(a, b, c)
    }
}

/// 1.5 * 2^23: adding it leaves an integer, ties to even, in the low bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts: the upper has 16 bits, so that its product with an exponent is exact.
const LN_2_UPPER: f32 = f32::from_bits(0x3f31_7200);
const LN_2_LOWER: f32 = f32::from_bits(0x35bf_be8e);
/// The polynomial (e^r - 1 - r) / r^2, the highest power first.
const EXP_TERMS: [f32; 5] = [1.392_621_5e-3, 8.363_204e-3, 4.166_655_4e-2, 1.666_657_7e-1, 0.5];
/// What is less has an e^x of +0.
const EXP_LEAST: f32 = -87.336_54;

/// e^x within 1.1 units in the last place. What would be under 2^-126 is +0, what would be over `f32::MAX` is +infinity,
/// NaN stays NaN. The reference: programs need no more of it than [`exp_of_no_positives`].
#[cfg(test)]
pub(super) fn exp<F: Fma>(x: f32) -> f32 {
    let clamped = x.clamp(-87.4, 88.8); // NaN stays NaN.
    // x = n ln 2 + r, n an integer, |r| at most about ln 2 / 2.
    let shifted = F::fma(clamped, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = F::fma(n, -LN_2_UPPER, clamped);
    let r = F::fma(n, -LN_2_LOWER, r);
    let mut q = EXP_TERMS[0];
    for term in &EXP_TERMS[1..] {
        q = F::fma(q, r, *term);
    }
    let fraction = 1.0 + F::fma(q, r * r, r);
    // 2^n in two factors: n reaches 128, which no single f32 exponent holds.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    let y = fraction * power(half) * power(n.wrapping_sub(half));
    let y = if x < EXP_LEAST { 0.0 } else { y };
    let y = if x > 88.722_84 { f32::INFINITY } else { y };
    if x.is_nan() { f32::NAN } else { y }
}

/// [`exp`] of numbers none of which is over 0, the same bits. Nothing overflows there, and a single f32 exponent holds every
/// power of two; what comes of a number below [`EXP_LEAST`] is of no account, so that it need not be limited first.
#[inline(always)]
pub(super) fn exp_of_no_positives<E: Elements>(x: E) -> E {
    let shifted = x.fma(E::splat(std::f32::consts::LOG2_E), E::splat(ROUND));
    let n = shifted.minus(E::splat(ROUND));
    let r = n.fma(E::splat(-LN_2_UPPER), x);
    let r = n.fma(E::splat(-LN_2_LOWER), r);
    let mut q = E::splat(EXP_TERMS[0]);
    for term in &EXP_TERMS[1..] {
        q = q.fma(r, E::splat(*term));
    }
    // NaN from here on if x is.
    let fraction = E::splat(1.0).plus(q.fma(r.times(r), r));
    fraction.times_two_to_the(shifted).unless_below(x, E::splat(EXP_LEAST))
}

/// The bits of sqrt(1/2), where a mantissa's range begins for [`ln`].
const SQRT_HALF_BITS: u32 = 0x3f35_04f3;

/// ln x within 0.9 units in the last place. Zeros and subnormals give -infinity, negatives and NaN give NaN.
#[inline(always)]
pub(super) fn ln<F: Fma>(x: f32) -> f32 {
    // x = mantissa * 2^exponent, the mantissa in sqrt(1/2)..sqrt(2).
    let bits = x.to_bits().wrapping_sub(SQRT_HALF_BITS);
    let exponent = ((bits as i32) >> 23) as f32;
    let mantissa = f32::from_bits((bits & 0x007f_ffff) + SQRT_HALF_BITS);
    // The method of FreeBSD's logf: ln(1 + f) = f - (f^2 / 2 - s (f^2 / 2 + R)), R a polynomial in s = f / (2 + f).
    let f = mantissa - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let odd = w * F::fma(w, 0.242_790_79, 0.400_009_72);
    let even = z * F::fma(w, 0.284_987_87, 0.666_666_6);
    let r = odd + even;
    let half_square = 0.5 * f * f;
    let tail = F::fma(s, half_square + r, exponent * 9.058_001e-6) - half_square + f;
    let y = F::fma(exponent, 0.693_138_1, tail);
    let y = if x < f32::MIN_POSITIVE { f32::NEG_INFINITY } else { y };
    let y = if x == f32::INFINITY { x } else { y };
    if x < 0.0 || x.is_nan() { f32::NAN } else { y }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kernel;
    use crate::model::kernel::compiled_for_each_kernel;
    use crate::model::lanes::Lanes;
    use crate::model::vector::{Twin as _, Vector};

    /// Distance of `got` from `exact` in units of the last place of an f32 of that size.
    fn ulps(got: f32, exact: f64) -> f64 {
        let rounded = exact.abs() as f32;
        let unit = f64::from(f32::from_bits(rounded.to_bits() + 1)) - f64::from(rounded);
        (f64::from(got) - exact).abs() / unit
    }

    #[test]
    fn ln_2_is_split_as_the_prototype_measured_it() {
        assert_eq!(LN_2_UPPER, 0.693_145_75);
        assert_eq!(LN_2_LOWER, 1.428_606_8e-6);
    }

    #[test]
    fn exp_is_within_1_1_units_of_the_last_place() {
        let worst = (0..2_000_000)
            .map(|i| -87.3 + i as f32 * (175.9 / 2_000_000.0))
            .map(|x| ulps(exp::<Hardware>(x), f64::from(x).exp()))
            .fold(0.0, f64::max);
        assert!(worst <= 1.1, "{worst}");
    }

    #[test]
    fn ln_is_within_0_9_units_of_the_last_place() {
        let worst = (f32::MIN_POSITIVE.to_bits()..f32::INFINITY.to_bits())
            .step_by(1009)
            .map(f32::from_bits)
            .map(|x| ulps(ln::<Hardware>(x), f64::from(x).ln()))
            .fold(0.0, f64::max);
        assert!(worst <= 0.9, "{worst}");
    }

    #[test]
    fn exp_and_ln_give_the_published_bits() {
        for (x, bits) in [
            (0.0, 0x3f80_0000),
            (1.0, 0x402d_f854),
            (-1.0, 0x3ebc_5ab2),
            (10.0, 0x46ac_14ee),
            (-87.0, 0x00b3_3687),
            (-87.336_54, 0x0080_0026),
            (-87.4, 0),
            (88.722_83, 0x7f7f_ff84),
            (88.722_84, 0x7f80_0000),
            (f32::NEG_INFINITY, 0),
            (f32::INFINITY, 0x7f80_0000),
        ] {
            assert_eq!(exp::<Hardware>(x).to_bits(), bits, "exp {x}");
        }
        for (x, bits) in [
            (1.0, 0),
            (2.0, 0x3f31_7218),
            (0.5, 0xbf31_7218),
            (10.0, 0x4013_5d8e),
            (26.0, 0x4050_84a7),
            (1e-6, 0xc15d_0c55),
            (f32::MAX, 0x42b1_7218),
            (f32::MIN_POSITIVE, 0xc2ae_ac50),
            (0.0, 0xff80_0000),
            (f32::INFINITY, 0x7f80_0000),
        ] {
            assert_eq!(ln::<Hardware>(x).to_bits(), bits, "ln {x}");
        }
        assert!(exp::<Hardware>(f32::NAN).is_nan() && ln::<Hardware>(f32::NAN).is_nan());
        assert!(ln::<Hardware>(-1.0).is_nan());
    }

    #[test]
    fn exp_and_ln_are_the_same_bits_whichever_way_the_fma_is_done() {
        for bits in (0..=u32::MAX).step_by(4093) {
            let x = f32::from_bits(bits);
            assert_eq!(exp::<Hardware>(x).to_bits(), exp::<Software>(x).to_bits(), "exp {x}");
            assert_eq!(ln::<Hardware>(x).to_bits(), ln::<Software>(x).to_bits(), "ln {x}");
        }
    }

    compiled_for_each_kernel! {
        fn exps = exps_body(values: &mut Lanes)
    }

    #[inline(always)]
    fn exps_body<V: Vector>(values: &mut Lanes) {
        let mut pair = [*values; 2];
        V::Twin::load_pair(&pair).exp().store_pair(&mut pair);
        V::load(values).exp().store(values);
        let same = pair.iter().all(|half| half.0.map(f32::to_bits) == values.0.map(f32::to_bits));
        assert!(same, "of sixteen: {pair:?}, not {values:?}");
    }

    #[test]
    fn exp_of_eight_that_are_not_positive_is_the_same_bits_on_every_kernel() {
        let least = EXP_LEAST.to_bits();
        let others = [0, 0x7fc0_0000, 0x7f80_0001, 0xffff_ffff, 0xff80_0000];
        let bits = (0x8000_0000..=0xffff_ffff_u32).step_by(509).chain(least - 9..least + 9).chain(others);
        for bits in bits {
            let mut values = [0, 1, 2, 3, 4, 5, 6, 7].map(|n| f32::from_bits(bits ^ n << 9));
            values[0] = f32::from_bits(bits);
            for value in &mut values {
                *value = if *value > 0.0 { -*value } else { *value };
            }
            for kernel in Kernel::available() {
                let mut got = Lanes(values);
                exps(kernel, &mut got);
                let same =
                    |got: f32, x: f32| got.to_bits() == exp::<Hardware>(x).to_bits() || got.is_nan() && x.is_nan();
                let same = got.0.into_iter().zip(values).all(|(got, x)| same(got, x));
                assert!(same, "{kernel}: exp {values:?}, not {got:?}");
            }
        }
    }

    fn same_fma(a: f32, b: f32, c: f32) {
        let (soft, hard) = (Software::fma(a, b, c), a.mul_add(b, c));
        let same = soft.to_bits() == hard.to_bits() || (soft.is_nan() && hard.is_nan());
        assert!(same, "fma({a:e}, {b:e}, {c:e}): {soft:e}, not {hard:e}");
    }

    #[test]
    fn the_software_fma_rounds_as_the_hardware_does_on_special_values() {
        let edge =
            [0x0000_0000, 0x0000_0001, 0x007f_ffff, 0x0080_0000, 0x0080_0001, 0x3380_0000, 0x3400_0001, 0x3f7f_ffff];
        let more =
            [0x3f80_0000, 0x3f80_0001, 0x4b80_0000, 0x4b80_0001, 0x7e80_0000, 0x7f7f_ffff, 0x7f80_0000, 0x7fc0_0000];
        let values: Vec<f32> = edge.iter().chain(&more).flat_map(|&b| [b, b | 1 << 31]).map(f32::from_bits).collect();
        for &a in &values {
            for &b in &values {
                for &c in &values {
                    same_fma(a, b, c);
                }
            }
        }
    }

    #[test]
    fn the_software_fma_rounds_as_the_hardware_does_on_random_values() {
        let mut stream = crate::model::random::Stream::new(crate::model::random::Purpose::Shuffle, 1, [0; 3]);
        for _ in 0..1_000_000 {
            let [a, b, c] = [(); 3].map(|()| f32::from_bits(stream.word()));
            same_fma(a, b, c);
            // An addend near the product's own size, or its negative: cancellation, and ties between two f32.
            same_fma(a, b, f32::from_bits((a * b).to_bits() ^ (stream.word() & 0x8000_0fff)));
            let coarse = |x: f32| f32::from_bits(x.to_bits() & 0xffff_f000);
            same_fma(coarse(a), coarse(b), c);
        }
    }
}

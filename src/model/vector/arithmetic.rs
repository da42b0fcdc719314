//! The elementary operations of arithmetic 2: the fused multiply-add on every machine, e^x and ln x. Owns how they round
//! (docs/arithmetic.md); does not know what they are used for.
//!
//! `exp` and `ln` are made of + - * /, fused multiply-adds and bit operations only: a platform's own functions round
//! differently from machine to machine.

use super::super::thresholds::EXP_ARGUMENT_LEAST;
use super::Elements;

/// How a fused multiply-add is done. Every implementation gives the same bits.
pub(in crate::model) trait Fma: Copy {
    /// `a * b + c`, rounded once.
    fn fma(a: f32, b: f32, c: f32) -> f32;
}

/// The processor's own instruction. Only for code that is compiled for a processor that has one: elsewhere it would be a
/// slow call into a library.
#[cfg(any(test, target_arch = "x86_64", target_arch = "aarch64"))]
#[derive(Clone, Copy)]
pub(in crate::model) struct Hardware;

#[cfg(any(test, target_arch = "x86_64", target_arch = "aarch64"))]
impl Fma for Hardware {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// The same from additions and multiplications of f64, for processors without the instruction.
#[cfg(any(test, not(target_arch = "aarch64")))]
#[derive(Clone, Copy)]
pub(in crate::model) struct Software;

#[cfg(any(test, not(target_arch = "aarch64")))]
impl Fma for Software {
    /// Out of line: e^x and ln x are a dozen of it, and processors that need it are rare by now.
    #[inline(never)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        // The product of two f32 is exact in f64.
        let (product, addend) = (f64::from(a) * f64::from(b), f64::from(c));
        let sum = product + addend;
        if may_be_wrong(sum) { round_once(product, addend) } else { sum as f32 }
    }
}

/// Whether a sum that was rounded to f64 may round to another f32 than the sum itself: `vector::doubles` says why no other
/// does.
#[inline(always)]
pub(super) fn may_be_wrong(sum: f64) -> bool {
    is_tie(sum) | ((sum != 0.0) & (sum.abs() < f64::from(f32::MIN_POSITIVE)))
}

/// Whether an f64 lies in the middle between two neighbouring f32, if those have as many bits as an f32 can have.
#[inline(always)]
pub(super) fn is_tie(sum: f64) -> bool {
    // Of the 29 bits that an f32 does not have, the first alone is set.
    (sum.to_bits() as u32) << 3 == 1 << 31
}

/// The sum of a product of two f32 and an f32, rounded once. In f64 it is rounded to odd (Boldo and Melquiond 2008), so that
/// rounding it once more, to f32, gives what a single rounding would.
#[cold]
#[inline(never)]
pub(super) fn round_once(product: f64, addend: f64) -> f32 {
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

/// 1.5 * 2^23: adding it leaves an integer, ties to even, in the low bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts: the upper has 16 bits, so that its product with an exponent is exact.
const LN_2_UPPER: f32 = f32::from_bits(0x3f31_7200);
const LN_2_LOWER: f32 = f32::from_bits(0x35bf_be8e);
/// The polynomial (e^r - 1) / r, the highest power first.
const EXP_TERMS: [f32; 6] = [1.392_621_5e-3, 8.363_204e-3, 4.166_655_4e-2, 1.666_657_7e-1, 0.5, 1.0];

/// e^x within 0.95 units in the last place, of numbers none of which is over 0. What is below [`EXP_ARGUMENT_LEAST`] has +0;
/// NaN stays NaN.
#[inline(always)]
pub(super) fn exp<E: Elements>(x: E) -> E {
    let Reduced { r, q, n } = reduced(x);
    let fraction = q.fma(r, E::splat(1.0));
    // NaN if x is.
    fraction.times_two_to_the(n).unless_below(x, E::splat(EXP_ARGUMENT_LEAST))
}

/// e^x - 1 of numbers none of which is over 0. What is below [`EXP_ARGUMENT_LEAST`] has -1; NaN stays NaN.
#[inline(always)]
pub(in crate::model) fn exp_minus_one<E: Elements>(x: E) -> E {
    let Reduced { r, q, n } = reduced(x);
    let one = E::splat(1.0);
    // Of x below the least this is 0.
    let inside = q.times(r).times_two_to_the(n).plus(one.times_two_to_the(n).minus(one));
    inside.minus(one.where_above(E::splat(0.0).minus(x), E::splat(-EXP_ARGUMENT_LEAST)))
}

/// What e^x = 2^n (1 + q r) is made of.
struct Reduced<E> {
    r: E,
    q: E,
    /// The integer n, in the lowest bits.
    n: E,
}

/// Of x none of which is over 0; of 0 where it is below [`EXP_ARGUMENT_LEAST`].
#[inline(always)]
fn reduced<E: Elements>(x: E) -> Reduced<E> {
    // What is computed beside a +0 is thrown away, and would still cost what subnormals cost: so it is e^0.
    let inside = x.unless_below(x, E::splat(EXP_ARGUMENT_LEAST));
    // x = n ln 2 + r, n an integer, |r| at most about ln 2 / 2.
    let shifted = inside.fma(E::splat(std::f32::consts::LOG2_E), E::splat(ROUND));
    let n = shifted.minus(E::splat(ROUND));
    let r = n.fma(E::splat(-LN_2_UPPER), inside);
    let r = n.fma(E::splat(-LN_2_LOWER), r);
    // No power of r is computed: the square of a small one would be subnormal.
    let mut q = E::splat(EXP_TERMS[0]);
    for term in &EXP_TERMS[1..] {
        q = q.fma(r, E::splat(*term));
    }
    Reduced { r, q, n: shifted }
}

/// The bits of sqrt(1/2), where a mantissa's range begins for [`ln`].
const SQRT_HALF_BITS: u32 = 0x3f35_04f3;

/// ln x within 0.9 units in the last place. Zeros and subnormals give -infinity, negatives and NaN give NaN.
#[inline(always)]
pub(in crate::model) fn ln<F: Fma>(x: f32) -> f32 {
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
    use crate::model::lanes::{LANES, Lanes};
    use crate::model::vector::{Vector, Wide as _};

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

    /// e^x as docs/arithmetic.md, section 6, writes it.
    fn written_exp(x: f32) -> f32 {
        if x < EXP_ARGUMENT_LEAST {
            return 0.0;
        }
        let n = x.mul_add(std::f32::consts::LOG2_E, ROUND) - ROUND;
        let r = n.mul_add(-LN_2_LOWER, n.mul_add(-LN_2_UPPER, x));
        let fraction = EXP_TERMS.into_iter().chain([1.0]).reduce(|q, term| q.mul_add(r, term)).unwrap();
        fraction * (f64::from(n)).exp2() as f32
    }

    #[test]
    fn exp_is_within_0_95_units_of_the_last_place() {
        let worst = (0x8000_0000..=EXP_ARGUMENT_LEAST.to_bits())
            .step_by(599)
            .map(f32::from_bits)
            .map(|x| ulps(written_exp(x), f64::from(x).exp()))
            .fold(0.0, f64::max);
        assert!(worst <= 0.95, "{worst}");
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
            (-0.1, 0x3f67_a36d),
            (-1.0, 0x3ebc_5ab2),
            (-10.0, 0x383e_6bce),
            (-41.5, 0x218b_e402),
            (-41.500_004, 0),
            (f32::NEG_INFINITY, 0),
        ] {
            for kernel in Kernel::available() {
                let mut values = Lanes([x; LANES]);
                exps(kernel, &mut values);
                assert_eq!(values.0.map(f32::to_bits), [bits; LANES], "{kernel}: exp {x}");
            }
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
        assert!(ln::<Hardware>(f32::NAN).is_nan() && ln::<Hardware>(-1.0).is_nan());
    }

    #[test]
    fn ln_is_the_same_bits_whichever_way_the_fma_is_done() {
        for bits in (0..=u32::MAX).step_by(4093) {
            let x = f32::from_bits(bits);
            assert_eq!(ln::<Hardware>(x).to_bits(), ln::<Software>(x).to_bits(), "ln {x}");
        }
    }

    compiled_for_each_kernel! {
        fn exps = exps_body(values: &mut Lanes)
    }

    #[inline(always)]
    fn exps_body<V: Vector>(values: &mut Lanes) {
        let mut pair = [*values; 2];
        V::Wide::load_pair(&pair).exp().store_pair(&mut pair);
        V::load(values).exp().store(values);
        let same = pair.iter().all(|half| half.0.map(f32::to_bits) == values.0.map(f32::to_bits));
        assert!(same, "of sixteen: {pair:?}, not {values:?}");
    }

    #[test]
    fn exp_of_eight_is_the_same_bits_on_every_kernel() {
        let least = EXP_ARGUMENT_LEAST.to_bits();
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
                let same = |got: f32, x: f32| got.to_bits() == written_exp(x).to_bits() || got.is_nan() && x.is_nan();
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

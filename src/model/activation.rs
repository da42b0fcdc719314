//! What a hidden layer does to its sums, and what that does to the gradient on the way back. Owns each activation's two
//! ways; does not know what made the sums, or what is made of the outputs.
//!
//! The cheapest place for it is the end of a product, which has the sums in registers: its `Epilogue`. What no `Epilogue` does is
//! done after the product, to the values as they lie. A new activation is one member of
//! [`Activation`](super::recipe::Activation) and one arm in each function here; there are no others.

use super::kernel::{Kernel, compiled_for_each_kernel};
use super::lanes::Lanes;
use super::layer::{BELOW_ZERO, Epilogue};
use super::recipe::Activation;
use super::thresholds::VALUE_LEAST;
use super::vector::{Vector, exp_minus_one};

/// Turns finished sums into outputs.
pub(super) type Forward = fn(Kernel, &mut [Lanes]);
/// Turns finished derivatives by outputs, which come first, into derivatives by their sums.
pub(super) type Back = fn(Kernel, &[Lanes], &mut [Lanes]);

impl Activation {
    /// How a product forward ends.
    pub(super) fn finish(self) -> Epilogue<'static> {
        match self {
            Activation::Relu => Epilogue::Relu,
            Activation::Identity | Activation::MaskedIdentity | Activation::Tanh => Epilogue::Cut,
        }
    }

    /// What is done to a block's values after it, if anything. It leaves +0 as it is: rows that are not there.
    pub(super) fn after(self) -> Option<Forward> {
        match self {
            Activation::Relu | Activation::Identity | Activation::MaskedIdentity => None,
            Activation::Tanh => Some(tanh),
        }
    }

    /// How a product back to this layer's outputs, which these are, ends.
    pub(super) fn finish_back(self, outputs: &[Lanes]) -> Epilogue<'_> {
        match self {
            Activation::Relu => Epilogue::CutWhereAbove(outputs, 0.0),
            Activation::MaskedIdentity => Epilogue::CutWhereAbove(outputs, BELOW_ZERO),
            Activation::Identity | Activation::Tanh => Epilogue::Cut,
        }
    }

    /// What is done to a block's derivatives after it, if anything.
    pub(super) fn after_back(self) -> Option<Back> {
        match self {
            Activation::Relu | Activation::Identity | Activation::MaskedIdentity => None,
            Activation::Tanh => Some(tanh_back),
        }
    }
}

compiled_for_each_kernel! {
    /// The hyperbolic tangents of sums none of which is below [`VALUE_LEAST`] but 0.
    fn tanh = tanh_body(values: &mut [Lanes])
}

#[inline(always)]
fn tanh_body<V: Vector>(values: &mut [Lanes]) {
    for value in values {
        tangents(V::load(value)).store(value);
    }
}

/// tanh |s| = (1 - e^z) / (1 + e^z) with z = -2 |s|.
#[inline(always)]
fn tangents<V: Vector>(sum: V) -> V {
    let zero = V::splat(0.0);
    let opposite = zero.minus(sum);
    let m = exp_minus_one(V::splat(-2.0).times(sum.larger(opposite)));
    let tangent = zero.minus(m).divided_by(V::splat(2.0).plus(m));
    // One of the two is +0; both are NaN if the sum is.
    let signed = tangent.unless_below(sum, zero).minus(tangent.unless_below(opposite, zero));
    signed.cut(V::splat(VALUE_LEAST))
}

compiled_for_each_kernel! {
    fn tanh_back = tanh_back_body(outputs: &[Lanes], derivatives: &mut [Lanes])
}

/// The derivative of tanh is 1 less its square. It is 0 or at least 2^-24; so the product with what is 2^-40 or more is no
/// subnormal number.
#[inline(always)]
fn tanh_back_body<V: Vector>(outputs: &[Lanes], derivatives: &mut [Lanes]) {
    for (output, derivative) in outputs.iter().zip(derivatives) {
        let y = V::load(output);
        let slope = V::splat(0.0).minus(y).fma(y, V::splat(1.0));
        V::load(derivative).times(slope).cut(V::splat(VALUE_LEAST)).store(derivative);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::lanes::LANES;

    /// tanh as docs/arithmetic.md, section 8, writes it.
    fn written(sum: f32) -> f32 {
        let fma = |a: f32, b: f32, c: f32| a.mul_add(b, c);
        let terms = [0x3ab6_88a0, 0x3c09_05d2, 0x3d2a_aa8c, 0x3e2a_aa6e, 0x3f00_0000, 0x3f80_0000].map(f32::from_bits);
        let q = |r: f32| terms.into_iter().reduce(|q, term| fma(q, r, term)).unwrap();
        let z = -2.0 * sum.abs();
        let m = if z < -41.5 {
            -1.0
        } else {
            let n = fma(z, f32::from_bits(0x3fb8_aa3b), f32::from_bits(0x4b40_0000)) - f32::from_bits(0x4b40_0000);
            let r = fma(n, f32::from_bits(0xb5bf_be8e), fma(n, f32::from_bits(0xbf31_7200), z));
            let power = f64::from(n).exp2() as f32;
            q(r) * r * power + (power - 1.0)
        };
        let y = (-m / (2.0 + m)).copysign(sum);
        if y.abs() < VALUE_LEAST { 0.0 } else { y }
    }

    fn all(kernel: Kernel, sums: [f32; LANES]) -> [f32; LANES] {
        let mut values = [Lanes(sums)];
        tanh(kernel, &mut values);
        values[0].0
    }

    #[test]
    fn tanh_is_within_2_and_a_half_units_of_the_last_place_and_as_written_on_every_kernel() {
        let (least, most) = (VALUE_LEAST.to_bits(), f32::INFINITY.to_bits());
        let mut worst = 0.0f64;
        for bits in (least..most).step_by(if cfg!(miri) { 1 << 22 } else { 1999 }) {
            let x = f32::from_bits(bits);
            let sums = [x, -x, x * 0.5 + VALUE_LEAST, 0.0, x, -x, 0.0, 1.0];
            let expected = sums.map(|sum| written(sum).to_bits());
            for kernel in Kernel::available() {
                assert_eq!(all(kernel, sums).map(f32::to_bits), expected, "{kernel}: {sums:?}");
            }
            let exact = f64::from(x).tanh();
            let unit = f64::from(f32::from_bits((exact as f32).to_bits() + 1)) - f64::from(exact as f32);
            if exact as f32 >= 2.0 * VALUE_LEAST {
                worst = worst.max((f64::from(written(x)) - exact).abs() / unit);
            }
        }
        assert!(worst <= 2.5, "{worst}");
    }

    #[test]
    fn tanh_is_exact_at_its_ends_and_keeps_what_is_no_number() {
        for kernel in Kernel::available() {
            let sums = [0.0, f32::INFINITY, f32::NEG_INFINITY, 20.0, -20.0, VALUE_LEAST, f32::NAN, 0.173_286_8];
            let got = all(kernel, sums);
            assert_eq!(
                got[..5].iter().map(|y| y.to_bits()).collect::<Vec<_>>(),
                [0, 0x3f80_0000, 0xbf80_0000, 0x3f80_0000, 0xbf80_0000]
            );
            assert!(got[6].is_nan() && got[7] == written(sums[7]), "{kernel}: {got:?}");
        }
    }

    #[test]
    fn the_gradient_passes_tanh_by_one_less_the_square_of_what_came_out() {
        for kernel in Kernel::available() {
            let outputs = [Lanes([0.0, 0.5, -0.5, 1.0, -1.0, 0.999_999_94, 1e-12, 0.25])];
            let mut derivatives = [Lanes([2.0, 2.0, -2.0, 3.0, 3.0, 1e-12, 1.0, f32::NAN])];
            tanh_back(kernel, &outputs, &mut derivatives);
            let [lanes] = derivatives;
            assert_eq!(lanes.0[..7], [2.0, 1.5, -1.5, 0.0, 0.0, 0.0, 1.0], "{kernel}");
            assert!(lanes.0[7].is_nan());
        }
    }
}

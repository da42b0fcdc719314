//! Eight f32 in registers. Owns the instructions behind each operation; does not know what is computed.
//!
//! Why not arrays and loops, which a compiler can vectorise: a tile's twelve sums must stay in registers, and where each
//! is a loop over eight lanes the optimiser gives up on the whole long before that (measured: a fifth of the speed).

use super::arithmetic::Fma;
use super::lanes::Lanes;

/// Eight f32 and what arithmetic 1 does with them: every operation lane by lane and rounded as IEEE 754 says.
pub(super) trait Vector: Copy {
    /// How a single number is multiplied and added with one rounding.
    type Fma: Fma;
    /// Whether a tile of many vectors stays in registers. Where it does not, tiles of one are as fast, and their code is
    /// a tenth as long.
    const HAS_REGISTERS: bool;

    fn splat(value: f32) -> Self;
    fn load(lanes: &Lanes) -> Self;
    fn store(self, lanes: &mut Lanes);
    /// `self * factor + addend`, rounded once.
    fn fma(self, factor: Self, addend: Self) -> Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    /// `if other > self { other } else { self }`
    fn larger(self, other: Self) -> Self;
    /// `if mask > 0 { self } else { +0 }`
    fn where_positive(self, mask: Self) -> Self;
    /// `if mask >= 0 { self } else { +0 }`
    fn where_not_negative(self, mask: Self) -> Self;

    /// The sum of the eight lanes of each, in arithmetic 1's order: halves, quarters, the last two.
    #[inline(always)]
    fn sums(of: [Self; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        for (vector, sum) in of.into_iter().zip(&mut sums) {
            let mut lanes = Lanes::ZERO;
            vector.store(&mut lanes);
            let [a, b, c, d, e, f, g, h] = lanes.0;
            let [a, b, c, d] = [a + e, b + f, c + g, d + h];
            let [a, b] = [a + c, b + d];
            *sum = a + b;
        }
        sums
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;

/// What every machine of the target has.
#[cfg(target_arch = "aarch64")]
pub(super) type Portable = neon::Neon;
/// What every machine of the target has.
#[cfg(not(target_arch = "aarch64"))]
pub(super) type Portable = plain::Plain;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::super::arithmetic::Hardware;
    use super::{Lanes, Vector};

    /// One AVX register. Only `compiled_for_each_kernel` names it, inside a function that is entered with AVX2 and FMA
    /// alone: that is the ground of every `unsafe` here.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    impl Vector for Avx2 {
        type Fma = Hardware;
        const HAS_REGISTERS: bool = true;

        #[inline(always)]
        fn splat(value: f32) -> Avx2 {
            // SAFETY: see Avx2.
            Avx2(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        fn load(lanes: &Lanes) -> Avx2 {
            // SAFETY: see Avx2; Lanes is eight f32, aligned to 32 bytes.
            Avx2(unsafe { _mm256_load_ps(lanes.0.as_ptr()) })
        }

        #[inline(always)]
        fn store(self, lanes: &mut Lanes) {
            // SAFETY: see Avx2; Lanes is eight f32, aligned to 32 bytes.
            unsafe { _mm256_store_ps(lanes.0.as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn fma(self, factor: Avx2, addend: Avx2) -> Avx2 {
            // SAFETY: see Avx2.
            Avx2(unsafe { _mm256_fmadd_ps(self.0, factor.0, addend.0) })
        }

        #[inline(always)]
        fn plus(self, other: Avx2) -> Avx2 {
            // SAFETY: see Avx2.
            Avx2(unsafe { _mm256_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn minus(self, other: Avx2) -> Avx2 {
            // SAFETY: see Avx2.
            Avx2(unsafe { _mm256_sub_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn times(self, other: Avx2) -> Avx2 {
            // SAFETY: see Avx2.
            Avx2(unsafe { _mm256_mul_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn larger(self, other: Avx2) -> Avx2 {
            // SAFETY: see Avx2. The instruction is `if first > second { first } else { second }`.
            Avx2(unsafe { _mm256_max_ps(other.0, self.0) })
        }

        #[inline(always)]
        fn where_positive(self, mask: Avx2) -> Avx2 {
            // SAFETY: see Avx2.
            Avx2(unsafe { _mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_GT_OQ>(mask.0, _mm256_setzero_ps())) })
        }

        #[inline(always)]
        fn where_not_negative(self, mask: Avx2) -> Avx2 {
            // SAFETY: see Avx2.
            Avx2(unsafe { _mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_GE_OQ>(mask.0, _mm256_setzero_ps())) })
        }

        /// Four at once: each step adds two vectors' halves and leaves the sums side by side in one.
        #[inline(always)]
        fn sums(of: [Avx2; 4]) -> [f32; 4] {
            let [Avx2(a), Avx2(b), Avx2(c), Avx2(d)] = of;
            let mut sums = [0.0; 4];
            // SAFETY: see Avx2; the store fills the four f32 of `sums`.
            unsafe {
                // [a a a a | c c c c], [b b b b | d d d d]: lanes 0 to 3 plus lanes 4 to 7.
                let ac = _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, c), _mm256_permute2f128_ps::<0x31>(a, c));
                let bd = _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(b, d), _mm256_permute2f128_ps::<0x31>(b, d));
                // [a a b b | c c d d]: 0 and 1 plus 2 and 3.
                let quarters = _mm256_add_ps(_mm256_shuffle_ps::<0x44>(ac, bd), _mm256_shuffle_ps::<0xee>(ac, bd));
                // [a b c d]: 0 plus 1.
                let (ab, cd) = (_mm256_castps256_ps128(quarters), _mm256_extractf128_ps::<1>(quarters));
                let last = _mm_add_ps(_mm_shuffle_ps::<0x88>(ab, cd), _mm_shuffle_ps::<0xdd>(ab, cd));
                _mm_storeu_ps(sums.as_mut_ptr(), last);
            }
            sums
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    use super::super::arithmetic::Hardware;
    use super::super::lanes::LANES;
    use super::{Lanes, Vector};

    /// Two NEON registers, lanes 0 to 3 and 4 to 7. NEON is part of every aarch64 target that Rust builds for with
    /// floating point: that is the ground of every `unsafe` here.
    #[derive(Clone, Copy)]
    pub struct Neon(float32x4_t, float32x4_t);

    impl Vector for Neon {
        type Fma = Hardware;
        const HAS_REGISTERS: bool = true;

        #[inline(always)]
        fn splat(value: f32) -> Neon {
            // SAFETY: see Neon.
            let half = unsafe { vdupq_n_f32(value) };
            Neon(half, half)
        }

        #[inline(always)]
        fn load(lanes: &Lanes) -> Neon {
            let first = lanes.0.as_ptr();
            // SAFETY: see Neon; Lanes is eight f32.
            unsafe { Neon(vld1q_f32(first), vld1q_f32(first.add(LANES / 2))) }
        }

        #[inline(always)]
        fn store(self, lanes: &mut Lanes) {
            let first = lanes.0.as_mut_ptr();
            // SAFETY: see Neon; Lanes is eight f32.
            unsafe {
                vst1q_f32(first, self.0);
                vst1q_f32(first.add(LANES / 2), self.1);
            }
        }

        #[inline(always)]
        fn fma(self, factor: Neon, addend: Neon) -> Neon {
            // SAFETY: see Neon.
            unsafe { Neon(vfmaq_f32(addend.0, self.0, factor.0), vfmaq_f32(addend.1, self.1, factor.1)) }
        }

        #[inline(always)]
        fn plus(self, other: Neon) -> Neon {
            // SAFETY: see Neon.
            unsafe { Neon(vaddq_f32(self.0, other.0), vaddq_f32(self.1, other.1)) }
        }

        #[inline(always)]
        fn minus(self, other: Neon) -> Neon {
            // SAFETY: see Neon.
            unsafe { Neon(vsubq_f32(self.0, other.0), vsubq_f32(self.1, other.1)) }
        }

        #[inline(always)]
        fn times(self, other: Neon) -> Neon {
            // SAFETY: see Neon.
            unsafe { Neon(vmulq_f32(self.0, other.0), vmulq_f32(self.1, other.1)) }
        }

        #[inline(always)]
        fn larger(self, other: Neon) -> Neon {
            // SAFETY: see Neon. NEON's own maximum would turn a NaN in either into NaN.
            unsafe {
                Neon(
                    vbslq_f32(vcgtq_f32(other.0, self.0), other.0, self.0),
                    vbslq_f32(vcgtq_f32(other.1, self.1), other.1, self.1),
                )
            }
        }

        #[inline(always)]
        fn where_positive(self, mask: Neon) -> Neon {
            // SAFETY: see Neon.
            unsafe {
                let zero = vdupq_n_f32(0.0);
                Neon(vbslq_f32(vcgtq_f32(mask.0, zero), self.0, zero), vbslq_f32(vcgtq_f32(mask.1, zero), self.1, zero))
            }
        }

        #[inline(always)]
        fn where_not_negative(self, mask: Neon) -> Neon {
            // SAFETY: see Neon.
            unsafe {
                let zero = vdupq_n_f32(0.0);
                Neon(vbslq_f32(vcgeq_f32(mask.0, zero), self.0, zero), vbslq_f32(vcgeq_f32(mask.1, zero), self.1, zero))
            }
        }
    }
}

#[cfg(not(target_arch = "aarch64"))]
mod plain {
    use super::super::arithmetic;
    use super::super::lanes::LANES;
    use super::{Fma, Lanes, Vector};

    /// An array, for machines of which nothing is known.
    #[derive(Clone, Copy)]
    pub struct Plain([f32; LANES]);

    /// The lane-wise result of an expression in the names of up to three vectors.
    macro_rules! lane_wise {
        ($($name:ident),+ => $result:expr) => {{
            let mut out = [0.0; LANES];
            for lane in 0..LANES {
                $(let $name = $name.0[lane];)+
                out[lane] = $result;
            }
            Plain(out)
        }};
    }

    /// Out of line where it is made of f64 operations: dozens of tiles, each with a dozen of these in line, were a tenth
    /// of a whole node, and no faster.
    #[cfg_attr(target_feature = "fma", inline(always))]
    #[cfg_attr(not(target_feature = "fma"), inline(never))]
    fn fused(value: Plain, factor: Plain, addend: Plain) -> Plain {
        lane_wise!(value, factor, addend => <Plain as Vector>::Fma::fma(value, factor, addend))
    }

    impl Vector for Plain {
        #[cfg(target_feature = "fma")]
        type Fma = arithmetic::Hardware;
        #[cfg(not(target_feature = "fma"))]
        type Fma = arithmetic::Software;
        const HAS_REGISTERS: bool = false;

        #[inline(always)]
        fn splat(value: f32) -> Plain {
            Plain([value; LANES])
        }

        #[inline(always)]
        fn load(lanes: &Lanes) -> Plain {
            Plain(lanes.0)
        }

        #[inline(always)]
        fn store(self, lanes: &mut Lanes) {
            lanes.0 = self.0;
        }

        #[inline(always)]
        fn fma(self, factor: Plain, addend: Plain) -> Plain {
            fused(self, factor, addend)
        }

        #[inline(always)]
        fn plus(self, other: Plain) -> Plain {
            let value = self;
            lane_wise!(value, other => value + other)
        }

        #[inline(always)]
        fn minus(self, other: Plain) -> Plain {
            let value = self;
            lane_wise!(value, other => value - other)
        }

        #[inline(always)]
        fn times(self, other: Plain) -> Plain {
            let value = self;
            lane_wise!(value, other => value * other)
        }

        #[inline(always)]
        fn larger(self, other: Plain) -> Plain {
            let value = self;
            lane_wise!(value, other => if other > value { other } else { value })
        }

        #[inline(always)]
        fn where_positive(self, mask: Plain) -> Plain {
            let value = self;
            lane_wise!(value, mask => if mask > 0.0 { value } else { 0.0 })
        }

        #[inline(always)]
        fn where_not_negative(self, mask: Plain) -> Plain {
            let value = self;
            lane_wise!(value, mask => if mask >= 0.0 { value } else { 0.0 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::{Kernel, compiled_for_each_kernel};
    use super::*;

    compiled_for_each_kernel! {
        /// Every operation on `a`, `b` and `c`, in the trait's order; last the sums of `a`, `b`, `c` and `a`.
        fn all_operations = all_operations_body(a: &Lanes, b: &Lanes, c: &Lanes, out: &mut [Lanes; 8])
    }

    #[inline(always)]
    fn all_operations_body<V: Vector>(a: &Lanes, b: &Lanes, c: &Lanes, out: &mut [Lanes; 8]) {
        let (a, b, c) = (V::load(a), V::load(b), V::load(c));
        let results = [
            a.fma(b, c),
            a.plus(b),
            a.minus(b),
            a.times(b),
            a.larger(b),
            a.where_positive(b),
            a.where_not_negative(b),
            a,
        ];
        for (result, out) in results.into_iter().zip(out.iter_mut()) {
            result.store(out);
        }
        out[7].0[..4].copy_from_slice(&V::sums([a, b, c, a]));
    }

    #[test]
    fn every_kernel_does_what_the_trait_says_with_ordinary_and_special_values() {
        let special = [0.0, -0.0, 1.0, -1.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-42];
        for turn in 0..64 {
            let mut b = Lanes(special);
            b.0.rotate_left(turn % 8);
            let mut c = Lanes(special);
            c.0.rotate_left(turn / 8);
            let a = Lanes(special);
            let expected = |lane: usize| {
                let (a, b, c) = (a.0[lane], b.0[lane], c.0[lane]);
                [
                    a.mul_add(b, c),
                    a + b,
                    a - b,
                    a * b,
                    if b > a { b } else { a },
                    if b > 0.0 { a } else { 0.0 },
                    if b >= 0.0 { a } else { 0.0 },
                ]
            };
            for kernel in Kernel::available() {
                let mut out = [Lanes::ZERO; 8];
                all_operations(kernel, &a, &b, &c, &mut out);
                for lane in 0..8 {
                    for (operation, expected) in expected(lane).into_iter().enumerate() {
                        let got = out[operation].0[lane];
                        let same = got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan());
                        assert!(same, "{kernel}: operation {operation}, lane {lane}: {got}, not {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn lanes_are_summed_by_halves() {
        // 1e8 swallows a 1 and cancels with -1e8: another order gives another sum.
        let a = Lanes([1e8, 1.0, 1.0, 1.0, -1e8, 1.0, 1.0, 1.0]);
        let b = Lanes([1e8, -1e8, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        let c = Lanes([1.0, 1e8, 1.0, -1e8, 1.0, 1.0, 2.0, 1.0]);
        let by_halves = |lanes: Lanes| {
            let mut s = lanes.0;
            for distance in [4, 2, 1] {
                for k in 0..distance {
                    s[k] += s[k + distance];
                }
            }
            s[0]
        };
        assert_eq!([a, b, c].map(by_halves), [6.0, 0.0, 5.0]);
        for kernel in Kernel::available() {
            let mut out = [Lanes::ZERO; 8];
            all_operations(kernel, &a, &b, &c, &mut out);
            assert_eq!(out[7].0[..4], [6.0, 0.0, 5.0, 6.0], "{kernel}");
        }
    }
}

//! x86-64: AVX registers of eight f32, AVX-512 registers of sixteen.

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::super::lanes::LANES;
use super::arithmetic::Hardware;
use super::{Elements, Lanes, Two, Vector, Wide};

/// One AVX register. Only `compiled_for_each_kernel` names it, inside a function that is entered with the features of
/// its kernel alone: AVX2 and FMA, and for `OneRegister` AVX-512's F, VL and DQ. That is the ground of every `unsafe` here.
#[derive(Clone, Copy)]
pub struct Ymm<W>(__m256, PhantomData<W>);

/// A processor with AVX2 and FMA.
pub type Avx2 = Ymm<TwoRegisters>;
/// A processor with AVX-512 besides.
#[cfg(feature = "avx512")]
pub type Avx512 = Ymm<OneRegister>;

/// What wide vectors are made of.
pub trait Width: Copy {
    type Wide: Wide<Half = Ymm<Self>>;
    const IS_WIDE: bool;
}

/// Two AVX registers.
#[derive(Clone, Copy)]
pub struct TwoRegisters;

impl Width for TwoRegisters {
    type Wide = Two<Avx2>;
    const IS_WIDE: bool = false;
}

/// One AVX-512 register.
#[cfg(feature = "avx512")]
#[derive(Clone, Copy)]
pub struct OneRegister;

#[cfg(feature = "avx512")]
impl Width for OneRegister {
    type Wide = Zmm;
    const IS_WIDE: bool = true;
}

impl<W: Width> Elements for Ymm<W> {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see Ymm.
        Ymm(unsafe { _mm256_set1_ps(value) }, PhantomData)
    }

    #[inline(always)]
    fn fma(self, factor: Self, addend: Self) -> Self {
        // SAFETY: see Ymm.
        Ymm(unsafe { _mm256_fmadd_ps(self.0, factor.0, addend.0) }, PhantomData)
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: see Ymm.
        Ymm(unsafe { _mm256_add_ps(self.0, other.0) }, PhantomData)
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: see Ymm.
        Ymm(unsafe { _mm256_sub_ps(self.0, other.0) }, PhantomData)
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: see Ymm.
        Ymm(unsafe { _mm256_mul_ps(self.0, other.0) }, PhantomData)
    }

    #[inline(always)]
    fn times_two_to_the(self, exponent: Self) -> Self {
        // SAFETY: see Ymm. The shift leaves nine bits of the sum: a sign, which is 0, and a biased exponent.
        let power = unsafe {
            let biased = _mm256_add_epi32(_mm256_castps_si256(exponent.0), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
        };
        self.times(Ymm(power, PhantomData))
    }

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        // SAFETY: see Ymm. The instruction is `if first > second { first } else { second }`.
        Ymm(unsafe { _mm256_max_ps(other.0, self.0) }, PhantomData)
    }

    #[inline(always)]
    fn where_above(self, mask: Self, limit: Self) -> Self {
        // SAFETY: see Ymm.
        Ymm(unsafe { _mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_GT_OQ>(mask.0, limit.0)) }, PhantomData)
    }

    #[inline(always)]
    fn unless_below(self, mask: Self, limit: Self) -> Self {
        // SAFETY: see Ymm.
        Ymm(unsafe { _mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_NLT_UQ>(mask.0, limit.0)) }, PhantomData)
    }

    #[inline(always)]
    fn cut(self, least: Self) -> Self {
        // SAFETY: see Ymm.
        let magnitude = unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0) };
        self.unless_below(Ymm(magnitude, PhantomData), least)
    }
}

impl<W: Width> Vector for Ymm<W> {
    type Fma = Hardware;
    type Wide = W::Wide;
    const HAS_REGISTERS: bool = true;
    const HAS_WIDE_REGISTERS: bool = W::IS_WIDE;

    #[inline(always)]
    fn load(lanes: &Lanes) -> Self {
        // SAFETY: see Ymm; Lanes is eight f32, aligned to 32 bytes.
        Ymm(unsafe { _mm256_load_ps(lanes.0.as_ptr()) }, PhantomData)
    }

    #[inline(always)]
    fn load_anywhere(values: &[f32; LANES]) -> Self {
        // SAFETY: see Ymm; eight f32, however they are aligned.
        Ymm(unsafe { _mm256_loadu_ps(values.as_ptr()) }, PhantomData)
    }

    #[inline(always)]
    fn store(self, lanes: &mut Lanes) {
        // SAFETY: see Ymm; Lanes is eight f32, aligned to 32 bytes.
        unsafe { _mm256_store_ps(lanes.0.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn store_anywhere(self, values: &mut [f32; LANES]) {
        // SAFETY: see Ymm; eight f32, however they are aligned.
        unsafe { _mm256_storeu_ps(values.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn divided_by(self, other: Self) -> Self {
        // SAFETY: see Ymm.
        Ymm(unsafe { _mm256_div_ps(self.0, other.0) }, PhantomData)
    }

    #[inline(always)]
    fn prefetch(address: *const f32) {
        // SAFETY: see Ymm; the instruction reads nothing and takes any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    /// Four at once: each step adds two vectors' halves and leaves the sums side by side in one. A blend is cheaper than a
    /// second permutation, and a sum of two is the same in either order.
    #[inline(always)]
    fn sums(of: [Self; 4]) -> [f32; 4] {
        let [Ymm(a, _), Ymm(b, _), Ymm(c, _), Ymm(d, _)] = of;
        let mut sums = [0.0; 4];
        // SAFETY: see Ymm; the store fills the four f32 of `sums`.
        unsafe {
            // [a a a a | c c c c], [b b b b | d d d d]: lanes 0 to 3 plus lanes 4 to 7.
            let ac = _mm256_add_ps(_mm256_blend_ps::<0xf0>(a, c), _mm256_permute2f128_ps::<0x21>(a, c));
            let bd = _mm256_add_ps(_mm256_blend_ps::<0xf0>(b, d), _mm256_permute2f128_ps::<0x21>(b, d));
            // [a a b b | c c d d]: 0 and 1 plus 2 and 3.
            let quarters = _mm256_add_ps(_mm256_blend_ps::<0xcc>(ac, bd), _mm256_shuffle_ps::<0x4e>(ac, bd));
            // [a b c d]: 0 plus 1.
            let (ab, cd) = (_mm256_castps256_ps128(quarters), _mm256_extractf128_ps::<1>(quarters));
            let last = _mm_add_ps(_mm_shuffle_ps::<0x88>(ab, cd), _mm_shuffle_ps::<0xdd>(ab, cd));
            _mm_storeu_ps(sums.as_mut_ptr(), last);
        }
        sums
    }

    /// Pairs, then fours, then halves.
    #[inline(always)]
    fn transposed(of: [Self; LANES]) -> [Self; LANES] {
        let [Ymm(a, _), Ymm(b, _), Ymm(c, _), Ymm(d, _), Ymm(e, _), Ymm(f, _), Ymm(g, _), Ymm(h, _)] = of;
        // SAFETY: see Ymm.
        let columns = unsafe {
            let ([p, q, r, s], [t, u, v, w]) = (fours(a, b, c, d), fours(e, f, g, h));
            [
                _mm256_permute2f128_ps::<0x20>(p, t),
                _mm256_permute2f128_ps::<0x20>(q, u),
                _mm256_permute2f128_ps::<0x20>(r, v),
                _mm256_permute2f128_ps::<0x20>(s, w),
                _mm256_permute2f128_ps::<0x31>(p, t),
                _mm256_permute2f128_ps::<0x31>(q, u),
                _mm256_permute2f128_ps::<0x31>(r, v),
                _mm256_permute2f128_ps::<0x31>(s, w),
            ]
        };
        let [a, b, c, d, e, f, g, h] = columns;
        let own = PhantomData;
        [Ymm(a, own), Ymm(b, own), Ymm(c, own), Ymm(d, own), Ymm(e, own), Ymm(f, own), Ymm(g, own), Ymm(h, own)]
    }
}

/// Rows of fours to columns of fours, in both halves of the registers. Only for the transposition in [`Ymm`].
#[inline(always)]
fn fours(a: __m256, b: __m256, c: __m256, d: __m256) -> [__m256; 4] {
    // SAFETY: see Ymm.
    unsafe {
        let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        [
            _mm256_shuffle_ps::<0x44>(ab_low, cd_low),
            _mm256_shuffle_ps::<0xee>(ab_low, cd_low),
            _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
            _mm256_shuffle_ps::<0xee>(ab_high, cd_high),
        ]
    }
}

/// One AVX-512 register. It is made through [`OneRegister`] alone: see [`Ymm`].
#[cfg(feature = "avx512")]
#[derive(Clone, Copy)]
pub struct Zmm(__m512);

#[cfg(feature = "avx512")]
impl Elements for Zmm {
    #[inline(always)]
    fn splat(value: f32) -> Zmm {
        // SAFETY: see Ymm.
        Zmm(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn fma(self, factor: Zmm, addend: Zmm) -> Zmm {
        // SAFETY: see Ymm.
        Zmm(unsafe { _mm512_fmadd_ps(self.0, factor.0, addend.0) })
    }

    #[inline(always)]
    fn plus(self, other: Zmm) -> Zmm {
        // SAFETY: see Ymm.
        Zmm(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn minus(self, other: Zmm) -> Zmm {
        // SAFETY: see Ymm.
        Zmm(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn times(self, other: Zmm) -> Zmm {
        // SAFETY: see Ymm.
        Zmm(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn times_two_to_the(self, exponent: Zmm) -> Zmm {
        // SAFETY: see Ymm. The shift leaves nine bits of the sum: a sign, which is 0, and a biased exponent.
        let power = unsafe {
            let biased = _mm512_add_epi32(_mm512_castps_si512(exponent.0), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        };
        self.times(Zmm(power))
    }

    #[inline(always)]
    fn larger(self, other: Zmm) -> Zmm {
        // SAFETY: see Ymm. The instruction is `if first > second { first } else { second }`.
        Zmm(unsafe { _mm512_max_ps(other.0, self.0) })
    }

    #[inline(always)]
    fn where_above(self, mask: Zmm, limit: Zmm) -> Zmm {
        // SAFETY: see Ymm.
        Zmm(unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(mask.0, limit.0), self.0) })
    }

    #[inline(always)]
    fn unless_below(self, mask: Zmm, limit: Zmm) -> Zmm {
        // SAFETY: see Ymm.
        Zmm(unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(mask.0, limit.0), self.0) })
    }

    #[inline(always)]
    fn cut(self, least: Zmm) -> Zmm {
        // SAFETY: see Ymm.
        self.unless_below(Zmm(unsafe { _mm512_abs_ps(self.0) }), least)
    }
}

#[cfg(feature = "avx512")]
impl Wide for Zmm {
    type Half = Avx512;

    #[inline(always)]
    fn join(first: Avx512, second: Avx512) -> Zmm {
        // SAFETY: see Ymm.
        Zmm(unsafe { _mm512_insertf32x8::<1>(_mm512_castps256_ps512(first.0), second.0) })
    }

    #[inline(always)]
    fn load_pair(pair: &[Lanes; 2]) -> Zmm {
        // SAFETY: see Ymm; two Lanes are sixteen f32, with nothing between them.
        Zmm(unsafe { _mm512_loadu_ps(pair.as_ptr().cast()) })
    }

    #[inline(always)]
    fn load_twice(lanes: &Lanes) -> Zmm {
        // SAFETY: see Ymm; Lanes is eight f32, aligned to 32 bytes.
        Zmm(unsafe { _mm512_broadcast_f32x8(_mm256_load_ps(lanes.0.as_ptr())) })
    }

    #[inline(always)]
    fn store_pair(self, pair: &mut [Lanes; 2]) {
        // SAFETY: see Ymm; two Lanes are sixteen f32, with nothing between them.
        unsafe { _mm512_storeu_ps(pair.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    fn halves(self) -> [Avx512; 2] {
        // SAFETY: see Ymm.
        unsafe {
            let second = _mm512_extractf32x8_ps::<1>(self.0);
            [Ymm(_mm512_castps512_ps256(self.0), PhantomData), Ymm(second, PhantomData)]
        }
    }
}

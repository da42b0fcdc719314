//! x86-64, every one of which has SSE2. That is the ground of every `unsafe` here.

use std::arch::x86_64::*;

use super::Pair;

/// One register.
#[derive(Clone, Copy)]
pub struct Sse2(__m128d);

/// The bits of an f64 that an f32 does not have.
const LOST: i64 = (1 << 29) - 1;
/// What they are at a tie.
const TIE: i64 = 1 << 28;

/// What is lost of the sums, among the ties.
#[inline(always)]
fn note_ties(sums: [__m128d; 2], ties: &mut __m128i) {
    // SAFETY: SSE2.
    unsafe {
        let lower_halves = _mm_shuffle_ps::<0x88>(_mm_castpd_ps(sums[0]), _mm_castpd_ps(sums[1]));
        *ties = _mm_min_epi16(*ties, _mm_slli_epi32::<3>(_mm_castps_si128(lower_halves)));
    }
}

impl Pair for Sse2 {
    /// Eight numbers of 16 bits. Every second one is the least of what sums have in the bits from [`TIE`] down, and only that
    /// bit alone is the least there is.
    type Ties = __m128i;

    #[inline(always)]
    fn no_ties() -> __m128i {
        // SAFETY: SSE2.
        unsafe { _mm_setzero_si128() }
    }

    #[inline(always)]
    fn of([first, second]: [f64; 2]) -> Sse2 {
        // SAFETY: SSE2.
        Sse2(unsafe { _mm_set_pd(second, first) })
    }

    #[inline(always)]
    fn splat(value: f64) -> Sse2 {
        // SAFETY: SSE2.
        Sse2(unsafe { _mm_set1_pd(value) })
    }

    #[inline(always)]
    fn widen([a, b, c, d]: [f32; 4]) -> [Sse2; 2] {
        // SAFETY: SSE2.
        unsafe {
            let four = _mm_set_ps(d, c, b, a);
            [Sse2(_mm_cvtps_pd(four)), Sse2(_mm_cvtps_pd(_mm_movehl_ps(four, four)))]
        }
    }

    #[inline(always)]
    fn narrow([first, second]: [Sse2; 2]) -> [f32; 4] {
        let mut four = [0.0; 4];
        // SAFETY: SSE2; the store fills the four f32.
        unsafe { _mm_storeu_ps(four.as_mut_ptr(), _mm_movelh_ps(_mm_cvtpd_ps(first.0), _mm_cvtpd_ps(second.0))) };
        four
    }

    #[inline(always)]
    fn times(self, other: Sse2) -> Sse2 {
        // SAFETY: SSE2.
        Sse2(unsafe { _mm_mul_pd(self.0, other.0) })
    }

    /// Rounds the sum to odd, as `arithmetic::round_once` does.
    #[inline(always)]
    fn plus_exactly(self, addend: Sse2) -> Sse2 {
        let (product, addend) = (self.0, addend.0);
        // SAFETY: SSE2.
        unsafe {
            let sum = _mm_add_pd(product, addend);
            // What the sum lacks, seen from either side. The difference from the larger of the two is exact, and so is what
            // follows from it; seen from the other, it has the same sign, or is 0. Infinity and NaN make NaN of it, which has
            // no direction below.
            let from_addend = _mm_sub_pd(addend, _mm_sub_pd(sum, product));
            let from_product = _mm_sub_pd(product, _mm_sub_pd(sum, addend));
            let direction = _mm_mul_pd(_mm_add_pd(from_addend, from_product), sum);
            // Rounded towards zero, and then, unless exact, to the odd one of two neighbours.
            let zero = _mm_setzero_pd();
            let too_far = _mm_castpd_si128(_mm_cmplt_pd(direction, zero));
            let too_near = _mm_castpd_si128(_mm_cmplt_pd(zero, direction));
            let towards_zero = _mm_add_epi64(_mm_castpd_si128(sum), too_far);
            let inexact = _mm_srli_epi64::<63>(_mm_or_si128(too_far, too_near));
            Sse2(_mm_cvtps_pd(_mm_cvtpd_ps(_mm_castsi128_pd(_mm_or_si128(towards_zero, inexact)))))
        }
    }

    /// Rounds ties away from zero, which makes no difference where there are none.
    #[inline(always)]
    fn plus_unless_ties(products: [Sse2; 2], addends: [Sse2; 2], ties: &mut __m128i) -> [Sse2; 2] {
        // SAFETY: SSE2.
        unsafe {
            let sums = [_mm_add_pd(products[0].0, addends[0].0), _mm_add_pd(products[1].0, addends[1].0)];
            note_ties(sums, ties);
            let (half, kept) = (_mm_set1_epi64x(TIE), _mm_set1_epi64x(!LOST));
            sums.map(|sum| Sse2(_mm_castsi128_pd(_mm_and_si128(_mm_add_epi64(_mm_castpd_si128(sum), half), kept))))
        }
    }

    #[inline(always)]
    fn plus_unless_wrong(products: [Sse2; 2], addends: [Sse2; 2], ties: &mut __m128i) -> [f32; 4] {
        // SAFETY: SSE2.
        unsafe {
            let sums = [_mm_add_pd(products[0].0, addends[0].0), _mm_add_pd(products[1].0, addends[1].0)];
            let upper_halves = _mm_shuffle_ps::<0xdd>(_mm_castpd_ps(sums[0]), _mm_castpd_ps(sums[1]));
            // Twice the upper half, which leaves no sign, less one, which makes 0 the greatest of all unsigned numbers. SSE2
            // compares signed ones: MIN is added to both sides.
            let shift = i32::MIN.wrapping_sub(1);
            let least = ((f64::from(f32::MIN_POSITIVE).to_bits() >> 32) as i32) << 1;
            let magnitudes = _mm_add_epi32(_mm_slli_epi32::<1>(_mm_castps_si128(upper_halves)), _mm_set1_epi32(shift));
            let is_small = _mm_cmplt_epi32(magnitudes, _mm_set1_epi32(least.wrapping_add(shift)));
            note_ties(sums, ties);
            *ties = _mm_min_epi16(*ties, _mm_and_si128(is_small, _mm_set1_epi32(i32::MIN)));
            Sse2::narrow(sums.map(Sse2))
        }
    }

    /// Looks at 16 of 29 bits: one sum in 65 thousand passes for a tie.
    #[inline(always)]
    fn are_any(ties: __m128i) -> bool {
        // SAFETY: SSE2.
        let least = unsafe { _mm_movemask_epi8(_mm_cmpeq_epi16(ties, _mm_set1_epi16(i16::MIN))) };
        least & 0xcccc != 0
    }
}

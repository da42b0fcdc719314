//! aarch64: a pair of NEON registers.

use std::arch::aarch64::*;

use super::super::lanes::LANES;
use super::arithmetic::Hardware;
use super::{Elements, Lanes, Two, Vector};

/// Two NEON registers, lanes 0 to 3 and 4 to 7. NEON is part of every aarch64 target that Rust builds for with
/// floating point: that is the ground of every `unsafe` here.
#[derive(Clone, Copy)]
pub struct Neon(float32x4_t, float32x4_t);

impl Elements for Neon {
    #[inline(always)]
    fn splat(value: f32) -> Neon {
        // SAFETY: see Neon.
        let half = unsafe { vdupq_n_f32(value) };
        Neon(half, half)
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
    fn times_two_to_the(self, exponent: Neon) -> Neon {
        // The shift leaves nine bits of the sum: a sign, which is 0, and a biased exponent.
        let power = |exponent| {
            // SAFETY: see Neon.
            unsafe {
                vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(vreinterpretq_s32_f32(exponent), vdupq_n_s32(127))))
            }
        };
        self.times(Neon(power(exponent.0), power(exponent.1)))
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
    fn where_above(self, mask: Neon, limit: Neon) -> Neon {
        // SAFETY: see Neon.
        unsafe {
            let zero = vdupq_n_f32(0.0);
            Neon(
                vbslq_f32(vcgtq_f32(mask.0, limit.0), self.0, zero),
                vbslq_f32(vcgtq_f32(mask.1, limit.1), self.1, zero),
            )
        }
    }

    #[inline(always)]
    fn unless_below(self, mask: Neon, limit: Neon) -> Neon {
        // SAFETY: see Neon.
        unsafe {
            let zero = vdupq_n_f32(0.0);
            Neon(
                vbslq_f32(vcltq_f32(mask.0, limit.0), zero, self.0),
                vbslq_f32(vcltq_f32(mask.1, limit.1), zero, self.1),
            )
        }
    }

    #[inline(always)]
    fn cut(self, least: Neon) -> Neon {
        // SAFETY: see Neon.
        unsafe {
            let zero = vdupq_n_f32(0.0);
            Neon(
                vbslq_f32(vcltq_f32(vabsq_f32(self.0), least.0), zero, self.0),
                vbslq_f32(vcltq_f32(vabsq_f32(self.1), least.1), zero, self.1),
            )
        }
    }
}

impl Vector for Neon {
    type Fma = Hardware;
    type Wide = Two<Neon>;
    const HAS_REGISTERS: bool = true;
    const HAS_WIDE_REGISTERS: bool = false;

    #[inline(always)]
    fn load(lanes: &Lanes) -> Neon {
        let first = lanes.0.as_ptr();
        // SAFETY: see Neon; Lanes is eight f32.
        unsafe { Neon(vld1q_f32(first), vld1q_f32(first.add(LANES / 2))) }
    }

    #[inline(always)]
    fn load_anywhere(values: &[f32; LANES]) -> Neon {
        let first = values.as_ptr();
        // SAFETY: see Neon; eight f32, however they are aligned.
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
    fn store_anywhere(self, values: &mut [f32; LANES]) {
        let first = values.as_mut_ptr();
        // SAFETY: see Neon; eight f32, however they are aligned.
        unsafe {
            vst1q_f32(first, self.0);
            vst1q_f32(first.add(LANES / 2), self.1);
        }
    }

    #[inline(always)]
    fn divided_by(self, other: Neon) -> Neon {
        // SAFETY: see Neon.
        unsafe { Neon(vdivq_f32(self.0, other.0), vdivq_f32(self.1, other.1)) }
    }
}

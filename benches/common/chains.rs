//! What a core could do: fused multiply-adds in registers, in chains that are independent of each other. Owns the
//! instructions; does not know what is measured beside them.

use std::hint::black_box;

use gradwire::model::Kernel;

/// Links of a chain in one run: some 50 microseconds.
const LINKS: u32 = 20_000;

/// How many floating-point operations it has done; none if a kernel's instructions are a compiler's choice.
pub fn run(kernel: Kernel) -> Option<u32> {
    #[cfg(target_arch = "x86_64")]
    if Kernel::avx512() == Some(kernel) {
        // SAFETY: the kernel is proof of AVX-512.
        return Some(unsafe { x86::avx512() });
    }
    #[cfg(target_arch = "x86_64")]
    if Kernel::avx2() == Some(kernel) {
        // SAFETY: the kernel is proof of AVX2 and FMA.
        return Some(unsafe { x86::avx2() });
    }
    #[cfg(target_arch = "aarch64")]
    if kernel == Kernel::PORTABLE {
        return Some(neon());
    }
    let _ = kernel;
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{LINKS, black_box};

    /// Twelve chains: more than latency times instructions a cycle on any machine with AVX2.
    #[target_feature(enable = "avx2,fma")]
    pub fn avx2() -> u32 {
        let factor = _mm256_set1_ps(black_box(0.999));
        let mut sums = [_mm256_set1_ps(black_box(1.0)); 12];
        for _ in 0..LINKS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, factor);
            }
        }
        black_box(sums);
        LINKS * 12 * 8 * 2
    }

    /// As many of sixteen lanes.
    #[target_feature(enable = "avx512f")]
    pub fn avx512() -> u32 {
        let factor = _mm512_set1_ps(black_box(0.999));
        let mut sums = [_mm512_set1_ps(black_box(1.0)); 12];
        for _ in 0..LINKS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, factor, factor);
            }
        }
        black_box(sums);
        LINKS * 12 * 16 * 2
    }
}

#[cfg(target_arch = "aarch64")]
fn neon() -> u32 {
    use std::arch::aarch64::*;
    // SAFETY: NEON is part of every aarch64 target with floating point.
    unsafe {
        let factor = vdupq_n_f32(black_box(0.999));
        let mut sums = [vdupq_n_f32(black_box(1.0)); 24];
        for _ in 0..LINKS {
            for sum in &mut sums {
                *sum = vfmaq_f32(factor, *sum, factor);
            }
        }
        black_box(sums);
    }
    LINKS * 24 * 4 * 2
}

//! Which machine code does the arithmetic. Owns the choice and the knowledge that a machine can run it; does not know
//! what is computed. Whatever the choice, the bits are the same.

use std::fmt;
use std::str::FromStr;

/// A set of instructions that this machine has. A value of this type is proof that it has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Instructions);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instructions {
    /// x86-64 with AVX2 and FMA. Built nowhere but in [`Kernel::avx2`] and from
    /// [`Instructions::Avx512`], which has both.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// That with AVX-512's F, VL and DQ. Built nowhere but in [`Kernel::avx512`].
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    Avx512,
    /// What every machine of the target has.
    Portable,
    /// None that a machine has: the tests break it.
    #[cfg(test)]
    Faulty(super::vector::Fault),
}

impl Kernel {
    /// Runs on every machine. Fast on aarch64; slow on an x86-64, whose baseline has no fused multiply-add.
    pub const PORTABLE: Kernel = Kernel(Instructions::Portable);

    /// The fastest that this machine has.
    pub fn best() -> Kernel {
        Kernel::avx512().or_else(Kernel::avx2).unwrap_or(Kernel::PORTABLE)
    }

    /// All that this machine has, the fastest first.
    pub fn available() -> impl Iterator<Item = Kernel> {
        Kernel::avx512().into_iter().chain(Kernel::avx2()).chain([Kernel::PORTABLE])
    }

    /// Eight f32 at once with AVX2 and FMA, if this machine has both.
    pub fn avx2() -> Option<Kernel> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return Some(Kernel(Instructions::Avx2));
        }
        None
    }

    /// Sixteen f32 at once with AVX-512, if this machine has what it takes and the program was built with the feature
    /// `avx512`.
    pub fn avx512() -> Option<Kernel> {
        #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
        if Kernel::avx2().is_some()
            && std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("avx512dq")
        {
            return Some(Kernel(Instructions::Avx512));
        }
        None
    }

    /// A bit of its own.
    pub(super) fn bit(self) -> u8 {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => 1 << 0,
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Instructions::Avx512 => 1 << 1,
            Instructions::Portable => 1 << 2,
            #[cfg(test)]
            Instructions::Faulty(fault) => 1 << (3 + fault as u8),
        }
    }

    /// One whose arithmetic is broken.
    #[cfg(test)]
    pub(super) fn faulty(fault: super::vector::Fault) -> Kernel {
        Kernel(Instructions::Faulty(fault))
    }

    /// What is broken.
    #[cfg(test)]
    pub(super) fn fault(self) -> Option<super::vector::Fault> {
        match self.0 {
            Instructions::Faulty(fault) => Some(fault),
            _ => None,
        }
    }

    /// The same without registers of sixteen f32, for work that gains nothing by them: its code is there once less.
    #[inline(always)]
    pub(super) fn of_eight(self) -> Kernel {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Instructions::Avx512 => Kernel(Instructions::Avx2),
            other => Kernel(other),
        }
    }

    /// Whether code that needs AVX-512's F, VL and DQ, AVX2 and FMA may be entered.
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    pub(super) fn has_avx512(self) -> bool {
        self.0 == Instructions::Avx512
    }

    /// Whether code that needs AVX2 and FMA may be entered.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn has_avx2(self) -> bool {
        self.0 == Instructions::Avx2
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => "avx2",
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Instructions::Avx512 => "avx512",
            Instructions::Portable => "portable",
            #[cfg(test)]
            Instructions::Faulty(_) => "faulty",
        })
    }
}

/// The text names no kernel that this machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKernel {
    text: String,
}

impl fmt::Display for UnknownKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this machine has no kernel {:?}: choose auto", self.text)?;
        Kernel::available().try_for_each(|kernel| write!(f, " or {kernel}"))
    }
}

impl std::error::Error for UnknownKernel {}

impl FromStr for Kernel {
    type Err = UnknownKernel;

    /// `auto` or the name of a kernel that this machine has.
    fn from_str(text: &str) -> Result<Kernel, UnknownKernel> {
        if text == "auto" {
            return Ok(Kernel::best());
        }
        Kernel::available()
            .find(|kernel| kernel.to_string() == text)
            .ok_or_else(|| UnknownKernel { text: text.to_owned() })
    }
}

/// Compiles a body that is generic over [`Vector`](super::vector::Vector) once for each kernel, behind one function that
/// takes the kernel first. The body and all that it calls must be `#[inline(always)]`: what is not inlined is compiled
/// without the kernel's instructions.
macro_rules! compiled_for_each_kernel {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident = $body:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?) => {
        $(#[$attribute])*
        $visibility fn $name(kernel: $crate::model::Kernel, $($argument: $type),*) $(-> $result)? {
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            if kernel.has_avx512() {
                #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512dq")]
                fn avx512($($argument: $type),*) $(-> $result)? {
                    $body::<$crate::model::vector::Avx512>($($argument),*)
                }
                // SAFETY: such a kernel is made only where these features have been detected.
                return unsafe { avx512($($argument),*) };
            }
            #[cfg(target_arch = "x86_64")]
            if kernel.has_avx2() {
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $type),*) $(-> $result)? {
                    $body::<$crate::model::vector::Avx2>($($argument),*)
                }
                // SAFETY: such a kernel is made only where both features have been detected.
                return unsafe { avx2($($argument),*) };
            }
            #[cfg(test)]
            if let Some(fault) = kernel.fault() {
                fault.begin();
                return $body::<$crate::model::vector::Faulty>($($argument),*);
            }
            let _ = kernel;
            $body::<$crate::model::vector::Portable>($($argument),*)
        }
    };
}
pub(super) use compiled_for_each_kernel;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_available_kernel_is_read_from_its_own_name() {
        for kernel in Kernel::available() {
            assert_eq!(kernel.to_string().parse(), Ok(kernel));
        }
        assert_eq!("auto".parse(), Ok(Kernel::best()));
    }

    #[test]
    fn a_name_that_is_no_kernel_is_answered_with_those_there_are() {
        let error = "mmx".parse::<Kernel>().unwrap_err().to_string();
        assert!(error.contains("\"mmx\"") && error.contains("auto") && error.contains("portable"), "{error}");
    }
}

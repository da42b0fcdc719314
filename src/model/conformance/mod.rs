//! The proof that this machine computes as the definition says: a fixed vector of what machines and compilers get wrong,
//! in sections, each with its published digest (docs/arithmetic.md, section 15). Owns the sections, their digests, and what is
//! said of a machine that differs; does not know who asks, or what becomes of the answer.

mod operations;
mod tasks;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;
use std::hint::black_box;
use std::sync::atomic::{AtomicU8, Ordering};

use super::{ARITHMETIC, Kernel};
use crate::digest::Digest;
use values::Values;

/// A part of the vector, by what goes wrong where it differs. Each supposes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Subnormal numbers, as operands and as results.
    Subnormals,
    /// Rounding to nearest, ties to even.
    Rounding,
    /// Zeros and their signs.
    Zeros,
    /// Infinity and NaN.
    Specials,
    /// The fused multiply-add.
    Fused,
    /// A product and a sum that are not fused.
    Separate,
    /// e^x.
    Exp,
    /// ln x.
    Ln,
    /// Initial weights.
    Weights,
    /// Tasks of layers that are summed on lanes.
    Small,
    /// Tasks of larger layers.
    Large,
    /// The merge of updates.
    Merging,
    /// Tasks with what came later: tanh, momentum, other constants of Adam's, decay, squared errors.
    Further,
}

/// The digests of the sections, in their order.
const PUBLISHED: [[u8; 32]; Section::ALL.len()] = [
    Digest::from_hex("badb44c32e5e2ccc0c8c31796b61b4ceaadc83dda838b06997f5dacfb887b193").0,
    Digest::from_hex("f10cb008d4fd968df7872ab03f90a46643a214b92b48aebfc1f909fedd63905f").0,
    Digest::from_hex("80cd1c6b0e18f45ed72c69edd1070c4fccccfceb19685f5a5358e0a00dc00ed8").0,
    Digest::from_hex("269be848d96b66cf8d4961828f8dea5326602f4cea9e81f139c99968dbad95ff").0,
    Digest::from_hex("326b3fbcae5ca318ee8bb18064052c0fa872a60611138c436dfe714f633669c3").0,
    Digest::from_hex("7e574b34384922108145036f89def0035ba386543fa65ec84ddce3ac51901c03").0,
    Digest::from_hex("5e882e9d58bc0f7c950b43736eb89b186f7e8158a4bf811d6bc5ab34eb6a7e21").0,
    Digest::from_hex("e12a44dc91d622456140b769b85c0ec00ab8609ad6fbeb38128263e64d551b67").0,
    Digest::from_hex("9a681dcd7973e9abd4c0928679156efb277117ae38f65da8183f476b5a742d10").0,
    Digest::from_hex("aacd96b053e8cbfa2c5a29abfab2a68981c08867f1d1912acb0aab8ffa85303d").0,
    Digest::from_hex("b7d5d295d7e49ab24123338a72cf6c6d0f08824ca7d2d88de64c42a49b5f49cb").0,
    Digest::from_hex("e8088dcabb30c3d04fb5b579545c0b44e2e3bec8d9e85a8a1b0850c1715275e5").0,
    Digest::from_hex("6b77384d9aa23b19912584800fe4dee72d5d47d7a2c44d61a8521d0acb20b83f").0,
];

impl Section {
    /// All of them, in their order.
    pub const ALL: [Section; 13] = {
        use Section::*;
        [Subnormals, Rounding, Zeros, Specials, Fused, Separate, Exp, Ln, Weights, Small, Large, Merging, Further]
    };

    /// Those that show in what state a thread's floating-point unit is: a system keeps that for each thread.
    pub const OF_THREAD: [Section; 2] = [Section::Subnormals, Section::Rounding];

    /// The digest of its values where all is well.
    pub fn published(self) -> Digest {
        Digest(PUBLISHED[self as usize])
    }

    /// The digest of its values on this machine, computed with `kernel`.
    pub fn digest_here(self, kernel: Kernel) -> Digest {
        let mut values = Values::default();
        let out = &mut values;
        match self {
            Section::Subnormals => operations::subnormals(kernel, out),
            Section::Rounding => operations::rounding(kernel, out),
            Section::Zeros => operations::zeros(kernel, out),
            Section::Specials => operations::specials(kernel, out),
            Section::Fused => operations::fused(kernel, out),
            Section::Separate => operations::separate(kernel, out),
            Section::Exp => operations::exponentials(kernel, out),
            Section::Ln => operations::logarithms(kernel, out),
            Section::Weights => tasks::weights(out),
            Section::Small => tasks::small(kernel, out),
            Section::Large => tasks::large(kernel, out),
            Section::Merging => tasks::merging(kernel, out),
            Section::Further => tasks::further(kernel, out),
        }
        values.digest()
    }

    #[inline(never)] // It is asked for in two places, and is large.
    fn prove(self, kernel: Kernel) -> Result<(), Difference> {
        if self.digest_here(kernel) == self.published() { Ok(()) } else { Err(Difference { section: self, kernel }) }
    }
}

/// The digest of the whole vector where all is well: that of its sections' digests.
pub fn published() -> Digest {
    Digest::of(PUBLISHED.as_flattened())
}

/// Proves that this machine computes with `kernel` as the definition says, on this thread. Returns the digest of the whole
/// vector, which is then the published one. The vector is computed once for each kernel; from then on [`prove_thread`] is
/// enough.
#[inline(never)]
pub fn prove(kernel: Kernel) -> Result<Digest, Difference> {
    static PROVEN: AtomicU8 = AtomicU8::new(0);
    prove_thread(kernel)?;
    if PROVEN.load(Ordering::Relaxed) & kernel.bit() == 0 {
        // Of unknown length: nothing is gained by a loop written out.
        let all: &[Section] = black_box(&Section::ALL);
        all.iter().try_for_each(|section| section.prove(kernel))?;
        PROVEN.fetch_or(kernel.bit(), Ordering::Relaxed);
    }
    Ok(published())
}

/// Proves that this thread keeps subnormal numbers and rounds to nearest, with the instructions of `kernel`: what a library
/// may have changed for it alone. It takes some microseconds.
#[inline(never)]
pub fn prove_thread(kernel: Kernel) -> Result<(), Difference> {
    Section::OF_THREAD.iter().try_for_each(|section| section.prove(kernel))
}

/// What this machine computes otherwise than the definition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The first section that differs.
    pub section: Section,
    /// What it was computed with.
    pub kernel: Kernel,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.section {
            Section::Subnormals => "subnormal numbers are flushed to zero",
            Section::Rounding => "results are not rounded to the nearest, ties to even",
            Section::Zeros => "the sign of a zero is lost",
            Section::Specials => "infinity or NaN is not as in IEEE 754",
            Section::Fused => "a fused multiply-add is not rounded once",
            Section::Separate => "a product and a sum are fused",
            Section::Exp => "e^x is another",
            Section::Ln => "ln x is another",
            Section::Weights => "initial weights are others",
            Section::Small => "small layers are trained to others",
            Section::Large => "large layers are trained to others",
            Section::Merging => "updates have another mean",
            Section::Further => "tanh, momentum, weight decay or squared errors train to others",
        };
        let cure = if Section::OF_THREAD.contains(&self.section) {
            "was a library built with -ffast-math loaded, or LD_PRELOADed?"
        } else {
            "build the program anew, without special flags"
        };
        write!(f, "this machine does not compute arithmetic {ARITHMETIC} with kernel {}: {what}: {cure}", self.kernel)
    }
}

impl Difference {
    /// The sentence for whoever can choose another kernel.
    pub fn where_kernels_are_chosen(&self) -> String {
        match Section::OF_THREAD.contains(&self.section) {
            true => self.to_string(),
            false => format!("{self}; meanwhile another --kernel may do"),
        }
    }
}

impl std::error::Error for Difference {}

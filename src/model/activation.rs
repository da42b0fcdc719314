//! What a hidden layer does to its sums, and what that does to the gradient on the way back. Owns each activation's two
//! ways; does not know what made the sums, or what is made of the outputs.
//!
//! The cheapest place for it is the end of a product, which has the sums in registers: its `Finish`. What no `Finish` does is
//! done after the product, to the values as they lie. A new activation is one member of
//! [`Activation`](super::recipe::Activation) and one arm in each function here; there are no others.

use super::kernel::Kernel;
use super::lanes::Lanes;
use super::product::{BELOW_ZERO, Finish};
use super::recipe::Activation;

/// Turns finished sums into outputs.
pub(super) type Forward = fn(Kernel, &mut [Lanes]);
/// Turns finished derivatives by outputs, which come first, into derivatives by their sums.
pub(super) type Back = fn(Kernel, &[Lanes], &mut [Lanes]);

impl Activation {
    /// How a product forward ends.
    pub(super) fn finish(self) -> Finish<'static> {
        match self {
            Activation::Relu => Finish::Relu,
            Activation::Identity | Activation::MaskedIdentity => Finish::Cut,
        }
    }

    /// What is done to a block's values after it, if anything. It leaves +0 as it is: rows that are not there.
    pub(super) fn after(self) -> Option<Forward> {
        match self {
            Activation::Relu | Activation::Identity | Activation::MaskedIdentity => None,
        }
    }

    /// How a product back to this layer's outputs, which these are, ends.
    pub(super) fn finish_back(self, outputs: &[Lanes]) -> Finish<'_> {
        match self {
            Activation::Relu => Finish::CutWhereAbove(outputs, 0.0),
            Activation::MaskedIdentity => Finish::CutWhereAbove(outputs, BELOW_ZERO),
            Activation::Identity => Finish::Cut,
        }
    }

    /// What is done to a block's derivatives after it, if anything.
    pub(super) fn after_back(self) -> Option<Back> {
        match self {
            Activation::Relu | Activation::Identity | Activation::MaskedIdentity => None,
        }
    }
}

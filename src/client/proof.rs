//! Proves that this machine computes as it must, before anything is prepared, told or recomputed with it. Does not know what.

use crate::cli::{Exit, Failure};
use crate::model::{Kernel, conformance};

/// What is computed here with this kernel has the bits that it has elsewhere; a failure where it has not.
pub(super) fn prove(kernel: Kernel) -> Result<(), Failure> {
    conformance::prove(kernel).map(drop).map_err(|difference| Failure::new(Exit::Connection, difference))
}

//! One layer over one block of rows: its sums forward, its gradient, and what is carried back to the layer below.
//!
//! | file | owns |
//! |---|---|
//! | `operations` | what is computed, sum by sum |
//! | `product` | sums of many rows, forward and back |
//! | `gradient` | gradients of weights and bias |
//! | `laned` | the same of layers of few weights |
//! | `small_batch` | both with so few rows that lanes would idle |
//! | `unfused` | both without an instruction for a fused multiply-add |
//! | `packing` | how weights are read |
//!
//! Does not know networks, activations or losses.

mod gradient;
mod laned;
mod operations;
mod packing;
mod product;
pub(super) mod small_batch;
mod unfused;

pub(super) use gradient::{columns_of, differentiate, differentiate_in_groups};
pub(super) use operations::{BELOW_ZERO, Direction, Epilogue, Gradient, Product};
pub(super) use packing::Room;
pub(super) use product::multiply;

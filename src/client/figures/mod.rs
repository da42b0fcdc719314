//! How good a model is on rows whose targets are known, in figures, and beside them what a guess without a model comes to. Owns
//! what each figure is; does not know where rows come from.
//!
//! Rows are counted, and what is no count is summed in the order of the rows: figures are a function of the rows alone.

mod classes;
mod ranks;
mod values;

pub(super) use classes::{ClassCounts, ClassFigures, OfClass};
pub(super) use values::{ValueFigures, ValueSums};

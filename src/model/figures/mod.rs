//! How good a model is on rows whose targets are known, in figures (docs/arithmetic.md, section 19). Owns what each figure is;
//! does not know where rows come from, or how figures are told.
//!
//! Rows are counted, and what is no count is summed exactly and rounded once: figures are a function of the rows and of what the
//! model tells of each, whatever their order, and however many are taken at a time.
//!
//! | file | owns |
//! |---|---|
//! | `judge` | a model, its rows, and all figures of them; the memory that this takes |
//! | `classes` | counts of a model that tells classes apart, and what follows from them |
//! | `confusion` | which class was taken for which how often |
//! | `ranks` | the area under the receiver's curve |
//! | `values` | sums of a model that fits numbers, and what follows from them |
//! | `total` | the exact sums |

mod classes;
mod confusion;
mod judge;
mod ranks;
mod total;
mod values;

pub use classes::{ClassCounts, ClassFigures, OfClass, TOP};
pub use confusion::ConfusionEntry;
pub use judge::{Judgement, judge, judging_bytes};
pub use values::{ValueErrors, ValueFigures, ValueSums};

/// Scores, of each row one for each class, up to which a coordinator finds out the areas under curves: with them in memory it takes 64
/// MiB.
pub const SCORES_MAX: usize = 1 << 24;

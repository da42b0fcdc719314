//! A specification's values field by field, before they are judged. Owns which there are; does not know how they are written.

use std::borrow::Cow;

use crate::digest::Digest;
use crate::job::{Operation, RowsRef};
use crate::model::{Merge, Outer, Recipe};

/// A specification's values field by field, before they are judged.
#[derive(Clone)]
pub(in crate::wire) struct Draft<'a> {
    pub arithmetic: u16,
    pub inputs: u32,
    pub hidden: Cow<'a, [u32]>,
    pub classes: u32,
    /// All of it but the batch size, which is beside it.
    pub recipe: Recipe,
    /// Rows of a batch; none for full ones.
    pub batch: Option<u32>,
    pub seed: u64,
    pub class_weights: Cow<'a, [f32]>,
    pub index_columns: Cow<'a, [[u32; 2]]>,
    pub rounds: u32,
    pub round_steps: Option<u32>,
    pub shards: Cow<'a, [RowsRef]>,
    pub validation: RowsRef,
    pub test: Option<RowsRef>,
    pub patience: Option<u32>,
    pub target_accuracy: Option<f64>,
    pub merge: Merge,
    pub outer: Outer,
    pub initial: Option<Digest>,
    pub operation: Operation,
    pub notes: &'a [u8],
}

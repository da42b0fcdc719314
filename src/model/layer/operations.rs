//! What is computed of one layer over one block of rows: its product, either way, and its gradient. Owns their
//! definitions, sum by sum; does not know in which order what is read.

use super::super::lanes::{LANES, Lanes};
use super::super::thresholds::{VALUE_LEAST, cut};

/// Which index of the weights `[inputs][outputs]` the chain runs over.
#[derive(Clone, Copy)]
pub(in crate::model) enum Direction<'a> {
    /// Over inputs, each output's chain starting from its bias.
    Forward {
        /// One start for each output.
        bias: &'a [f32],
    },
    /// Over outputs, starting from zero: from the gradient of a layer's outputs to that of its inputs.
    Back,
}

/// What is done to a finished sum.
#[derive(Clone, Copy)]
pub(in crate::model) enum Epilogue<'a> {
    /// Nothing: these are logits.
    Keep,
    /// `if z < VALUE_LEAST { +0 } else { z }`.
    Relu,
    /// `if |z| < VALUE_LEAST { +0 } else { z }`.
    Cut,
    /// That where the value of the same place here is above this limit, and +0 elsewhere.
    CutWhereAbove(&'a [Lanes], f32),
}

impl Epilogue<'_> {
    /// The values at a place that decide about the sums there; zeros where none do.
    #[inline(always)]
    pub fn mask(self, place: usize) -> [f32; LANES] {
        match self {
            Epilogue::Keep | Epilogue::Relu | Epilogue::Cut => [0.0; LANES],
            Epilogue::CutWhereAbove(mask, _) => mask[place].0,
        }
    }

    /// What becomes of one sum, whose place in the mask has `mask`.
    #[inline(always)]
    pub fn of_one(self, sum: f32, mask: f32) -> f32 {
        match self {
            Epilogue::Keep => sum,
            Epilogue::Relu if sum < VALUE_LEAST => 0.0,
            Epilogue::Relu => sum,
            Epilogue::CutWhereAbove(_, limit) if mask > limit => cut(sum, VALUE_LEAST),
            Epilogue::CutWhereAbove(..) => 0.0,
            Epilogue::Cut => cut(sum, VALUE_LEAST),
        }
    }
}

/// The limit that zero is above, and of what a layer puts out nothing that is less.
pub(in crate::model) const BELOW_ZERO: f32 = -0.5 * VALUE_LEAST;

/// One layer's product with a block.
#[derive(Clone, Copy)]
pub(in crate::model) struct Product<'a> {
    /// Panels of `depth` values.
    pub x: &'a [Lanes],
    /// Length of a chain: the layer's inputs forward, its outputs back.
    pub depth: usize,
    /// The layer's weights, `[inputs][outputs]`.
    pub weights: &'a [f32],
    /// Results for each row: the layer's outputs forward, its inputs back.
    pub width: usize,
    /// Which way.
    pub direction: Direction<'a>,
    /// What is done to a finished sum.
    pub finish: Epilogue<'a>,
}

impl Product<'_> {
    /// Panels of rows.
    #[inline(always)]
    pub fn panels(&self) -> usize {
        self.x.len() / self.depth
    }
}

/// One layer's gradient over a block.
#[derive(Clone, Copy)]
pub(in crate::model) struct Gradient<'a> {
    /// What came into the layer: panels of `inputs` values, missing rows zero.
    pub x: &'a [Lanes],
    /// Inputs of the layer.
    pub inputs: usize,
    /// The loss's derivatives by the layer's sums: panels of `outputs` values, missing rows zero.
    pub d: &'a [Lanes],
    /// Outputs of the layer.
    pub outputs: usize,
    /// Rows of the block.
    pub rows: usize,
    /// Where the layer's weights lie if they follow the gradient at once, else null: asked for meanwhile, never read.
    pub weights_next: *const f32,
}

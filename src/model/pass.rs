//! One block of rows through a network: forward to the logits, and back to the gradient of every parameter. Owns the
//! room for what lies between the layers; does not know batches, losses or optimisers.

use std::{mem, ptr};

use super::dropout::{self, Dropout};
use super::kernel::Kernel;
use super::lanes::{BLOCK_ROWS, Lanes, clear_missing_rows, make_room, panels_of};
use super::layer::{
    Direction, Epilogue, Gradient, Product, Room, columns_of, differentiate, differentiate_in_groups, multiply,
    small_batch,
};
use super::network::{Layer, Network};
use super::recipe::Activation;

/// Weights of a layer above which few rows go their own way.
const SMALL_BATCH_WEIGHTS_MIN: usize = 1 << 12;

/// Bytes of a cache line, which are two [`Lanes`].
const CACHE_LINE_BYTES: usize = 64;

/// Has parameters follow their gradient: told the index of the first, their gradient, and themselves.
pub(super) type Update<'a> = dyn FnMut(usize, &[f32], &mut [f32]) + 'a;

/// Room for a block's way through a network; used again for block after block, task after task.
pub(super) struct Pass {
    kernel: Kernel,
    activation: Activation,
    layers: Vec<Layer>,
    /// What each layer puts out, panel by panel; the last are the logits, and then the loss's derivatives by them.
    outputs: Vec<Vec<Lanes>>,
    /// The loss's derivatives by the sums of the layer in hand and of the one below.
    derivatives: [Vec<Lanes>; 2],
    columns: Vec<Lanes>,
    room: Room,
    /// Whether outputs are dropped.
    drops: bool,
    /// By what those of each hidden layer are multiplied then.
    factors: Vec<Vec<Lanes>>,
    /// And where an activation's way back needs them, what they were before.
    undropped: Vec<Vec<Lanes>>,
}

impl Pass {
    /// A pass without room; [`Pass::prepare`] makes it.
    pub fn new(kernel: Kernel) -> Pass {
        Pass {
            kernel,
            activation: Activation::Identity,
            layers: Vec::new(),
            outputs: Vec::new(),
            derivatives: [Vec::new(), Vec::new()],
            columns: Vec::new(),
            room: Room::new(kernel),
            drops: false,
            factors: Vec::new(),
            undropped: Vec::new(),
        }
    }

    /// The kernel it works with.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Makes room for blocks of up to `rows` rows (at most [`BLOCK_ROWS`]) through `network`; with `back`, for
    /// [`Pass::backward`] too.
    pub fn prepare(&mut self, network: &Network, activation: Activation, rows: usize, back: bool) {
        let rows = rows.min(BLOCK_ROWS);
        let panels = panels_of(rows);
        self.activation = activation;
        self.layers.clear();
        self.layers.extend(network.layers());
        self.outputs.resize_with(self.layers.len(), Vec::new);
        self.drops = false;
        for (outputs, layer) in self.outputs.iter_mut().zip(&self.layers) {
            make_room(outputs, panels * layer.outputs);
        }
        if back {
            let hidden = network.hidden().iter().copied().max().unwrap_or(0) as usize;
            for derivatives in &mut self.derivatives {
                make_room(derivatives, panels * hidden);
            }
            let widest = self.layers.iter().map(|layer| layer.outputs).max().unwrap_or(0);
            make_room(&mut self.columns, columns_of(widest, rows) + 1);
        }
    }

    /// Makes room for what outputs are multiplied by in training that drops some, of blocks as [`Pass::prepare`] has been told.
    pub fn prepare_dropout(&mut self, rows: usize) {
        let panels = panels_of(rows.min(BLOCK_ROWS));
        let hidden = self.layers.len() - 1;
        self.drops = true;
        self.factors.resize_with(hidden, Vec::new);
        self.undropped.resize_with(if self.activation.after_back().is_some() { hidden } else { 0 }, Vec::new);
        for room in [&mut self.factors, &mut self.undropped] {
            for (lanes, layer) in room.iter_mut().zip(&self.layers) {
                make_room(lanes, panels * layer.outputs);
            }
        }
    }

    /// Draws which outputs the rows of the next block drop: of each its number in its shard.
    pub fn drop_out(&mut self, rows: impl Iterator<Item = (Dropout, u32)>) {
        for (place, (dropout, row)) in rows.enumerate() {
            let widths = self.layers.iter().map(|layer| layer.outputs);
            dropout.draw(row, place, widths.zip(self.factors.iter_mut().map(Vec::as_mut_slice)));
        }
    }

    /// The logits of a block `x` of `rows` rows: panels of one value for each class.
    pub fn forward(&mut self, parameters: &[f32], x: &[Lanes], rows: usize) -> &mut [Lanes] {
        let panels = panels_of(rows);
        let last = self.layers.len() - 1;
        for (index, layer) in self.layers.iter().enumerate() {
            let (below, above) = self.outputs.split_at_mut(index);
            let x = below.last().map_or(x, |below| &below[..panels * layer.inputs]);
            let out = &mut above[0][..panels * layer.outputs];
            let finish = if index < last { self.activation.finish() } else { Epilogue::Keep };
            let product = Product {
                x,
                depth: layer.inputs,
                weights: &parameters[layer.offset..][..layer.weights()],
                width: layer.outputs,
                direction: Direction::Forward { bias: &parameters[layer.bias_offset()..][..layer.outputs] },
                finish,
            };
            if layer.weights() > SMALL_BATCH_WEIGHTS_MIN && small_batch::is_small_forward(rows, layer.weights()) {
                small_batch::forward(self.kernel, &product, rows, out);
            } else {
                multiply(self.kernel, &product, &mut self.room, out);
                // A row that is not there comes out as its biases, but counts as zeros in the next layer's gradient.
                if index < last {
                    clear_missing_rows(rows, layer.outputs, out);
                }
            }
            if index < last
                && let Some(activate) = self.activation.after()
            {
                activate(self.kernel, out);
            }
            if self.drops
                && let Some(factors) = self.factors.get(index)
            {
                if let Some(undropped) = self.undropped.get_mut(index) {
                    undropped[..out.len()].copy_from_slice(out);
                }
                dropout::apply(out, &factors[..out.len()]);
            }
        }
        &mut self.outputs[last][..panels * self.layers[last].outputs]
    }

    /// Writes the gradient of every parameter over the block into `gradient`. The block `x` has just gone forward, and its
    /// logits have been turned into the loss's derivatives by them.
    pub fn backward(&mut self, parameters: &[f32], x: &[Lanes], rows: usize, gradient: &mut [f32]) {
        self.back(x, rows, &mut Whole { parameters, gradient });
    }

    /// The same of parts by themselves, of so many rows each: whole panels, but for the last of them. Their gradients are told to
    /// `take` some parameters at a time, in no order that matters, each with the first of its parameters. `room` has as many values
    /// as the largest layer.
    pub fn backward_in_parts(
        &mut self,
        parameters: &[f32],
        x: &[Lanes],
        parts: impl Iterator<Item = usize> + Clone,
        room: &mut [f32],
        take: &mut dyn FnMut(usize, &[f32]),
    ) {
        self.back(x, parts.clone().sum(), &mut InParts { parameters, parts, room, take });
    }

    /// The same of all rows together, and has `update` change parameters, some at a time, when nothing needs them any more as they
    /// were. `room` is as in [`Pass::backward_in_parts`].
    pub fn backward_updating(
        &mut self,
        parameters: &mut [f32],
        x: &[Lanes],
        rows: usize,
        room: &mut [f32],
        update: &mut Update<'_>,
    ) {
        self.back(x, rows, &mut Updating { parameters, room, update });
    }

    /// Goes back through the layers.
    fn back(&mut self, x: &[Lanes], rows: usize, network: &mut impl Backward) {
        let panels = panels_of(rows);
        let [mut here, mut below] = self.derivatives.each_mut();
        // From a cache line's start on, lest each of AVX-512's registers is loaded from two.
        let skipped = self.columns.as_ptr().align_offset(CACHE_LINE_BYTES).min(1);
        let columns = &mut self.columns[skipped..];
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let top = index + 1 == self.layers.len();
            let d = if top { &self.outputs[index] } else { &*here };
            let d = &d[..panels * layer.outputs];
            let x = if index == 0 { x } else { &self.outputs[index - 1][..panels * layer.inputs] };
            // Before the gradient, which may change the weights.
            if index > 0 {
                let product = Product {
                    x: d,
                    depth: layer.outputs,
                    weights: &network.parameters()[layer.offset..][..layer.weights()],
                    width: layer.inputs,
                    direction: Direction::Back,
                    finish: self.activation.finish_back(x),
                };
                let out = &mut below[..panels * layer.inputs];
                if rows <= small_batch::BACK_ROWS_MAX && layer.weights() > SMALL_BATCH_WEIGHTS_MIN {
                    small_batch::back(self.kernel, &product, out);
                } else {
                    multiply(self.kernel, &product, &mut self.room, out);
                }
                let mut before = x;
                if self.drops {
                    dropout::apply(out, &self.factors[index - 1][..out.len()]);
                    before = self.undropped.get(index - 1).map_or(x, |undropped| &undropped[..out.len()]);
                }
                if let Some(differentiate) = self.activation.after_back() {
                    differentiate(self.kernel, before, out);
                }
            }
            let whole =
                Gradient { x, inputs: layer.inputs, d, outputs: layer.outputs, rows, weights_next: ptr::null() };
            network.differentiate(self.kernel, layer, &whole, columns);
            mem::swap(&mut here, &mut below);
        }
    }
}

/// The parameters, and what there is to do about a layer's gradient.
trait Backward {
    fn parameters(&self) -> &[f32];
    fn differentiate(&mut self, kernel: Kernel, layer: &Layer, whole: &Gradient<'_>, columns: &mut [Lanes]);
}

struct Whole<'a> {
    parameters: &'a [f32],
    gradient: &'a mut [f32],
}

impl Backward for Whole<'_> {
    fn parameters(&self) -> &[f32] {
        self.parameters
    }

    fn differentiate(&mut self, kernel: Kernel, layer: &Layer, whole: &Gradient<'_>, columns: &mut [Lanes]) {
        differentiate(kernel, whole, columns, &mut self.gradient[layer.offset..][..layer.parameters()]);
    }
}

struct InParts<'a, I> {
    parameters: &'a [f32],
    parts: I,
    room: &'a mut [f32],
    take: &'a mut dyn FnMut(usize, &[f32]),
}

impl<I: Iterator<Item = usize> + Clone> Backward for InParts<'_, I> {
    fn parameters(&self) -> &[f32] {
        self.parameters
    }

    fn differentiate(&mut self, kernel: Kernel, layer: &Layer, whole: &Gradient<'_>, columns: &mut [Lanes]) {
        let room = &mut self.room[..layer.parameters()];
        let mut take = |first: usize, gradient: &[f32]| (self.take)(layer.offset + first, gradient);
        let mut first = 0;
        for rows in self.parts.clone() {
            let (start, panels) = (panels_of(first), panels_of(rows));
            first += rows;
            let x = &whole.x[start * layer.inputs..][..panels * layer.inputs];
            let d = &whole.d[start * layer.outputs..][..panels * layer.outputs];
            differentiate_in_groups(kernel, &Gradient { x, d, rows, ..*whole }, columns, room, &mut take);
        }
    }
}

struct Updating<'a> {
    parameters: &'a mut [f32],
    room: &'a mut [f32],
    update: &'a mut Update<'a>,
}

impl Backward for Updating<'_> {
    fn parameters(&self) -> &[f32] {
        self.parameters
    }

    fn differentiate(&mut self, kernel: Kernel, layer: &Layer, whole: &Gradient<'_>, columns: &mut [Lanes]) {
        let Updating { parameters, room, update } = self;
        let whole = &Gradient { weights_next: parameters[layer.offset..].as_ptr(), ..*whole };
        let mut take = |first: usize, gradient: &[f32]| {
            let first = layer.offset + first;
            update(first, gradient, &mut parameters[first..][..gradient.len()]);
        };
        differentiate_in_groups(kernel, whole, columns, &mut room[..layer.parameters()], &mut take);
    }
}

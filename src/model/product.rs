//! Products of a block with a layer's weights: forward sums, and gradients carried back. Owns tile sizes and the order of
//! reading; does not know losses or gradients of weights.
//!
//! Each value is one chain of fused multiply-adds in increasing index (arithmetic 1). Tiles of some outputs by some
//! panels share what they read; a chain that is cut into depth blocks is carried through the result. Neither changes a
//! bit.

#![expect(clippy::needless_range_loop, reason = "a tile's places are numbered; nested iterators would hide them")]

use super::kernel::compiled_for_each_kernel;
use super::lanes::Lanes;
use super::vector::{Twin as _, Vector};

/// Outputs of a tile, at most: with two panels, 12 of AVX2's 16 registers hold sums; with four, 12 of AVX-512's 32.
const STRIP_MAX: usize = 6;
/// Depth of a tile, at most: its packed weights (6 KiB) and two panels (16 KiB) stay in the first cache.
const DEPTH_MAX: usize = 256;
/// Weights that are read where they lie, at most: beyond, strips are copied together first, because rows a power of two
/// apart fall on the same few cache sets.
const DIRECT_WEIGHTS_MAX: usize = 4096;
/// Panels that are worth copying weights for.
const PACKED_PANELS_MIN: usize = 4;

/// Where a packed strip of weights is put.
pub(super) struct Strip(Vec<f32>);

impl Strip {
    pub fn new() -> Strip {
        Strip(vec![0.0; STRIP_MAX * DEPTH_MAX])
    }
}

/// Which index of the weights `[inputs][outputs]` the chain runs over.
#[derive(Clone, Copy)]
pub(super) enum Direction<'a> {
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
pub(super) enum Finish<'a> {
    /// Nothing.
    Keep,
    /// `if z > 0 { z } else { 0 }`.
    Relu,
    /// +0 unless the value of the same place here is above zero.
    WherePositive(&'a [Lanes]),
    /// +0 unless the value of the same place here is zero or above.
    WhereNotNegative(&'a [Lanes]),
}

/// One layer's product with a block.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
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
    pub finish: Finish<'a>,
}

impl Product<'_> {
    #[inline(always)]
    fn panels(&self) -> usize {
        self.x.len() / self.depth
    }
}

compiled_for_each_kernel! {
    /// Writes the product into `out`, panels of `width` values, as many as `x` has.
    pub(super) fn multiply = multiply_body(product: &Product<'_>, strip: &mut Strip, out: &mut [Lanes])
}

#[inline(always)]
fn multiply_body<V: Vector>(product: &Product<'_>, strip: &mut Strip, out: &mut [Lanes]) {
    let packed = product.weights.len() > DIRECT_WEIGHTS_MAX && product.panels() >= PACKED_PANELS_MIN;
    let depth_blocks = product.depth.div_ceil(DEPTH_MAX);
    let strips = product.width.div_ceil(if V::HAS_REGISTERS { STRIP_MAX } else { 1 });
    for depth_block in 0..depth_blocks {
        let depths = part(product.depth, depth_blocks, depth_block);
        for index in 0..strips {
            // Even parts, so that no strip is much narrower than the others.
            let columns = part(product.width, strips, index);
            let place = Place { depths, first: columns.0, packed };
            if !V::HAS_REGISTERS {
                packed_strip_body::<V, 1>(product, place, strip, out);
                continue;
            }
            // Even parts are narrow only where the whole product is: their weights are few, and always copied, so that
            // there is one piece of code for each width and not three.
            match columns.1 {
                1 => packed_strip_body::<V, 1>(product, place, strip, out),
                2 => packed_strip_body::<V, 2>(product, place, strip, out),
                3 => packed_strip_body::<V, 3>(product, place, strip, out),
                4 => strip_body::<V, 4>(product, place, strip, out),
                5 => strip_body::<V, 5>(product, place, strip, out),
                _ => strip_body::<V, STRIP_MAX>(product, place, strip, out),
            }
        }
    }
}

/// Start and length of the `index`th of `parts` even parts of `total`.
#[inline(always)]
pub(super) fn part(total: usize, parts: usize, index: usize) -> (usize, usize) {
    let (each, rest) = (total / parts, total % parts);
    (index * each + index.min(rest), each + usize::from(index < rest))
}

/// Which part of a product a strip computes.
#[derive(Clone, Copy)]
struct Place {
    /// Start and length of the depths.
    depths: (usize, usize),
    /// First result.
    first: usize,
    /// Whether to copy the strip's weights together.
    packed: bool,
}

/// Weights of J neighbouring results, depth by depth.
trait Weights<const J: usize>: Copy {
    fn at(self, depth: usize) -> [f32; J];
}

/// Copied together.
#[derive(Clone, Copy)]
struct Packed<'a, const J: usize>(&'a [[f32; J]]);

impl<const J: usize> Weights<J> for Packed<'_, J> {
    #[inline(always)]
    fn at(self, depth: usize) -> [f32; J] {
        self.0[depth]
    }
}

/// Where they lie, depth by depth `stride` apart.
#[derive(Clone, Copy)]
struct Across<'a> {
    values: &'a [f32],
    stride: usize,
}

impl<const J: usize> Weights<J> for Across<'_> {
    #[inline(always)]
    fn at(self, depth: usize) -> [f32; J] {
        let mut weights = [0.0; J];
        weights.copy_from_slice(&self.values[depth * self.stride..][..J]);
        weights
    }
}

/// Where they lie, each result's in sequence.
#[derive(Clone, Copy)]
struct Along<'a, const J: usize>([&'a [f32]; J]);

impl<const J: usize> Weights<J> for Along<'_, J> {
    #[inline(always)]
    fn at(self, depth: usize) -> [f32; J] {
        let mut weights = [0.0; J];
        for j in 0..J {
            weights[j] = self.0[j][depth];
        }
        weights
    }
}

/// A strip whose weights are read where they lie, unless copying them is worth it.
#[inline(always)]
fn strip_body<V: Vector, const J: usize>(product: &Product<'_>, place: Place, strip: &mut Strip, out: &mut [Lanes]) {
    if place.packed {
        return packed_strip_body::<V, J>(product, place, strip, out);
    }
    match product.direction {
        Direction::Forward { .. } => tiles_body::<V, J, _>(product, place, across(product, place), out),
        Direction::Back => tiles_body::<V, J, _>(product, place, along::<J>(product, place), out),
    }
}

/// A strip whose weights are copied together first.
#[inline(always)]
fn packed_strip_body<V: Vector, const J: usize>(
    product: &Product<'_>,
    place: Place,
    strip: &mut Strip,
    out: &mut [Lanes],
) {
    let length = place.depths.1;
    let packed = match product.direction {
        Direction::Forward { .. } => pack(across(product, place), length, strip),
        Direction::Back => pack(along::<J>(product, place), length, strip),
    };
    tiles_body::<V, J, _>(product, place, packed, out);
}

#[inline(always)]
fn across<'a>(product: &Product<'a>, place: Place) -> Across<'a> {
    Across { values: &product.weights[place.depths.0 * product.width + place.first..], stride: product.width }
}

#[inline(always)]
fn along<'a, const J: usize>(product: &Product<'a>, place: Place) -> Along<'a, J> {
    let (start, length) = place.depths;
    let mut rows: [&[f32]; J] = [&[]; J];
    for (j, row) in rows.iter_mut().enumerate() {
        *row = &product.weights[(place.first + j) * product.depth + start..][..length];
    }
    Along(rows)
}

#[inline(always)]
fn pack<const J: usize>(weights: impl Weights<J>, length: usize, strip: &mut Strip) -> Packed<'_, J> {
    let (places, _) = strip.0.as_chunks_mut::<J>();
    let places = &mut places[..length];
    for (depth, place) in places.iter_mut().enumerate() {
        *place = weights.at(depth);
    }
    Packed(places)
}

/// The panels of a strip, two or four by four.
#[inline(always)]
fn tiles_body<V: Vector, const J: usize, W: Weights<J>>(
    product: &Product<'_>,
    place: Place,
    weights: W,
    out: &mut [Lanes],
) {
    if V::HAS_WIDE_TWINS {
        for panel in (0..product.panels()).step_by(4) {
            tile_body::<V, J, 2, W>(product, place, weights, panel, out);
        }
    } else {
        for panel in (0..product.panels()).step_by(2) {
            tile_body::<V, J, 1, W>(product, place, weights, panel, out);
        }
    }
}

/// J results of P twins of panels from `panel` on, over the place's depths. The last panel stands in for those beyond it:
/// its results are computed and written more than once, the same each time, which takes no code of its own.
#[inline(always)]
fn tile_body<V: Vector, const J: usize, const P: usize, W: Weights<J>>(
    product: &Product<'_>,
    place: Place,
    weights: W,
    panel: usize,
    out: &mut [Lanes],
) {
    let (start, length) = place.depths;
    let Product { depth, width, .. } = *product;
    let last = product.panels() - 1;
    let mut x: [[&[Lanes]; 2]; P] = [[&[]; 2]; P];
    let mut places = [[0; 2]; P];
    for p in 0..P {
        for half in 0..2 {
            let panel = (panel + 2 * p + half).min(last);
            x[p][half] = &product.x[panel * depth + start..][..length];
            places[p][half] = panel * width + place.first;
        }
    }
    let mut sums = [[V::Twin::splat(0.0); P]; J];
    if start > 0 {
        for p in 0..P {
            let before = twins_of::<V, J>(out, places[p]);
            for j in 0..J {
                sums[j][p] = before[j];
            }
        }
    } else if let Direction::Forward { bias } = product.direction {
        let bias = &bias[place.first..][..J];
        for j in 0..J {
            sums[j] = [V::Twin::splat(bias[j]); P];
        }
    }
    for k in 0..length {
        let weights = weights.at(k);
        let mut values = [V::Twin::splat(0.0); P];
        for p in 0..P {
            values[p] = V::Twin::load(&x[p][0][k], &x[p][1][k]);
        }
        for j in 0..J {
            let weight = V::Twin::splat(weights[j]);
            for p in 0..P {
                sums[j][p] = weight.fma(values[p], sums[j][p]);
            }
        }
    }
    let finish = if start + length == depth { product.finish } else { Finish::Keep };
    match finish {
        Finish::Keep => {}
        Finish::Relu => {
            for j in 0..J {
                for p in 0..P {
                    sums[j][p] = sums[j][p].where_positive(sums[j][p]);
                }
            }
        }
        Finish::WherePositive(mask) => {
            for p in 0..P {
                let mask = twins_of::<V, J>(mask, places[p]);
                for j in 0..J {
                    sums[j][p] = sums[j][p].where_positive(mask[j]);
                }
            }
        }
        Finish::WhereNotNegative(mask) => {
            for p in 0..P {
                let mask = twins_of::<V, J>(mask, places[p]);
                for j in 0..J {
                    sums[j][p] = sums[j][p].where_not_negative(mask[j]);
                }
            }
        }
    }
    for p in 0..P {
        for half in 0..2 {
            let out = &mut out[places[p][half]..][..J];
            for j in 0..J {
                sums[j][p].halves()[half].store(&mut out[j]);
            }
        }
    }
}

/// J values of each of two panels, from these places on.
#[inline(always)]
fn twins_of<V: Vector, const J: usize>(values: &[Lanes], places: [usize; 2]) -> [V::Twin; J] {
    let [first, second] = places.map(|place| &values[place..][..J]);
    let mut twins = [V::Twin::splat(0.0); J];
    for j in 0..J {
        twins[j] = V::Twin::load(&first[j], &second[j]);
    }
    twins
}

//! Products of a block with a layer's weights: forward sums, and gradients carried back. Owns tile sizes and the order of
//! reading; does not know losses or gradients of weights.
//!
//! Each value is one chain of fused multiply-adds in increasing index (arithmetic 2). Tiles of some outputs by some
//! panels share what they read; a chain that is cut into depth blocks is carried through the result. Neither changes a
//! bit.

#![expect(clippy::needless_range_loop, reason = "a tile's places are numbered; nested iterators would hide them")]

use super::kernel::compiled_for_each_kernel;
use super::lanes::Lanes;
use super::thresholds::{VALUE_LEAST, cut};
use super::unfused;
use super::vector::{Elements as _, Twin as _, Vector};

/// Outputs of a tile, at most: with two panels, 12 of AVX2's 16 registers hold sums; with four, 12 of AVX-512's 32.
const STRIP_MAX: usize = 6;
/// Depth of a tile, at most: its packed weights (6 KiB) and two panels (16 KiB) stay in the first cache.
const DEPTH_MAX: usize = 256;
/// Weights that are read where they lie, at most: beyond, strips are copied together first, because rows a power of two
/// apart fall on the same few cache sets.
const DIRECT_WEIGHTS_MAX: usize = 4096;
/// Results whose weights are read where they lie, however many those are: so few rows find room in any cache.
const DIRECT_RESULTS_MAX: usize = 3;
/// Depth of a product back whose weights are read where they lie, at most: those of a strip are one piece of memory there,
/// and a small one, which is sooner read than copied.
const DIRECT_DEPTH_MAX: usize = 64;
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
    /// Nothing: these are logits.
    Keep,
    /// `if z < VALUE_LEAST { +0 } else { z }`.
    Relu,
    /// `if |z| < VALUE_LEAST { +0 } else { z }`.
    Cut,
    /// That where the value of the same place here is above this limit, and +0 elsewhere.
    CutWhereAbove(&'a [Lanes], f32),
}

impl Finish<'_> {
    /// What becomes of one sum, whose place in the mask has `mask`.
    #[inline(always)]
    pub fn of_one(self, sum: f32, mask: f32) -> f32 {
        match self {
            Finish::Keep => sum,
            Finish::Relu if sum < VALUE_LEAST => 0.0,
            Finish::Relu => sum,
            Finish::CutWhereAbove(_, limit) if mask > limit => cut(sum, VALUE_LEAST),
            Finish::CutWhereAbove(..) => 0.0,
            Finish::Cut => cut(sum, VALUE_LEAST),
        }
    }
}

/// The limit that zero is above, and of what a layer puts out nothing that is less.
pub(super) const BELOW_ZERO: f32 = -0.5 * VALUE_LEAST;

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
    if !V::HAS_REGISTERS {
        return unfused::multiply(product, out);
    }
    let lie_close = matches!(product.direction, Direction::Back) && product.depth <= DIRECT_DEPTH_MAX;
    let packed = product.weights.len() > DIRECT_WEIGHTS_MAX && product.panels() >= PACKED_PANELS_MIN && !lie_close;
    let depth_blocks = product.depth.div_ceil(DEPTH_MAX);
    let strips = product.width.div_ceil(STRIP_MAX);
    for depth_block in 0..depth_blocks {
        let depths = part(product.depth, depth_blocks, depth_block);
        for index in 0..strips {
            // Even parts, so that no strip is much narrower than the others.
            let columns = part(product.width, strips, index);
            let place = Place { depths, first: columns.0, packed };
            match columns.1 {
                1 => strip_body::<V, 1>(product, place, strip, out),
                2 => strip_body::<V, 2>(product, place, strip, out),
                3 => strip_body::<V, 3>(product, place, strip, out),
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

/// The weights of a strip of J results: that of result j at depth k is `values[j * across + k * down]`.
#[derive(Clone, Copy)]
struct Weights<'a, const J: usize> {
    values: &'a [f32],
    /// The same from the fourth result on, if there are so many.
    upper: &'a [f32],
    across: usize,
    down: usize,
    depths: usize,
}

impl<'a, const J: usize> Weights<'a, J> {
    /// Weights for so many depths.
    #[inline(always)]
    fn new(values: &'a [f32], across: usize, down: usize, depths: usize) -> Weights<'a, J> {
        assert!(depths > 0 && (J - 1) * across + (depths - 1) * down < values.len());
        let upper = if J > 3 { &values[3 * across..] } else { values };
        Weights { values, upper, across, down, depths }
    }

    /// Where they lie.
    #[inline(always)]
    fn of(product: &Product<'a>, place: Place) -> Weights<'a, J> {
        let (start, depths) = place.depths;
        match product.direction {
            Direction::Forward { .. } => {
                Weights::new(&product.weights[start * product.width + place.first..], 1, product.width, depths)
            }
            Direction::Back => {
                Weights::new(&product.weights[place.first * product.depth + start..], product.depth, 1, depths)
            }
        }
    }

    /// The weights at a depth.
    ///
    /// # Safety
    ///
    /// It is below `depths`. A check for each depth would cost the kernels more than what it guards.
    #[inline(always)]
    unsafe fn at(self, depth: usize) -> [f32; J] {
        debug_assert!(depth < self.depths);
        let mut weights = [0.0; J];
        for j in 0..J {
            // Three near each of two places: no more than a processor's addresses can say.
            let (near, step) = if j < 3 { (self.values, j) } else { (self.upper, j - 3) };
            // SAFETY: the last of the last depth lies within, and no other lies behind it: checked in `new`; the depth is no
            // later one, as the caller sees to.
            weights[j] = unsafe { *near.get_unchecked(step * self.across + depth * self.down) };
        }
        weights
    }
}

/// The same weights, copied together. Nothing here is vectors': one code does for every kernel.
#[inline(never)]
fn packed<'a, const J: usize>(lying: &Weights<'_, J>, strip: &'a mut Strip) -> Weights<'a, J> {
    let (places, _) = strip.0.as_chunks_mut::<J>();
    let places = &mut places[..lying.depths];
    if lying.across == 1 {
        for (place, weights) in places.iter_mut().zip(lying.values.chunks(lying.down)) {
            place.copy_from_slice(&weights[..J]);
        }
    } else {
        for (depth, place) in places.iter_mut().enumerate() {
            // SAFETY: there are `depths` places.
            *place = unsafe { lying.at(depth) };
        }
    }
    Weights::new(&strip.0, 1, J, lying.depths)
}

/// A strip whose weights are read where they lie, unless copying them is worth it.
#[inline(always)]
fn strip_body<V: Vector, const J: usize>(product: &Product<'_>, place: Place, strip: &mut Strip, out: &mut [Lanes]) {
    let lying = Weights::<J>::of(product, place);
    let weights = if place.packed && J > DIRECT_RESULTS_MAX { packed(&lying, strip) } else { lying };
    tiles_body::<V, J>(product, place, weights, out);
}

/// The panels of a strip, two or four by four.
#[inline(always)]
fn tiles_body<V: Vector, const J: usize>(
    product: &Product<'_>,
    place: Place,
    weights: Weights<'_, J>,
    out: &mut [Lanes],
) {
    if V::HAS_WIDE_TWINS {
        for panel in (0..product.panels()).step_by(4) {
            tile_body::<V, J, 2>(product, place, weights, panel, out);
        }
    } else {
        for panel in (0..product.panels()).step_by(2) {
            tile_body::<V, J, 1>(product, place, weights, panel, out);
        }
    }
}

/// J results of P twins of panels from `panel` on, over the place's depths. The last panel stands in for those beyond it:
/// its results are computed and written more than once, the same each time, which takes no code of its own.
#[inline(always)]
fn tile_body<V: Vector, const J: usize, const P: usize>(
    product: &Product<'_>,
    place: Place,
    weights: Weights<'_, J>,
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
    assert_eq!(weights.depths, length);
    for k in 0..length {
        // SAFETY: `k` is below `length`, which is the weights' depths, as was checked.
        let weights = unsafe { weights.at(k) };
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
    let least = V::Twin::splat(VALUE_LEAST);
    match finish {
        Finish::Keep => {}
        Finish::Relu => {
            for j in 0..J {
                for p in 0..P {
                    sums[j][p] = sums[j][p].unless_below(sums[j][p], least);
                }
            }
        }
        Finish::Cut => {
            for j in 0..J {
                for p in 0..P {
                    sums[j][p] = sums[j][p].cut(least);
                }
            }
        }
        Finish::CutWhereAbove(mask, limit) => {
            let limit = V::Twin::splat(limit);
            for p in 0..P {
                let mask = twins_of::<V, J>(mask, places[p]);
                for j in 0..J {
                    sums[j][p] = sums[j][p].cut(least).where_above(mask[j], limit);
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

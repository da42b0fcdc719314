//! Gradients of a layer's weights and bias over one block. Owns which of arithmetic 2's two orders of summing rows a layer has,
//! and the one of large layers; does not know the other (`laned`), nor how blocks are added up (`tree`).

use std::ops::Range;

use super::super::kernel::{Kernel, compiled_for_each_kernel};
use super::super::lanes::{LANES, Lanes, flat, panels_of};
use super::super::vector::{Elements as _, Vector, Wide as _, written_out};
use super::laned;
use super::operations::Gradient;
use super::packing::part;
use super::small_batch;
use super::unfused;

/// Weights of a layer whose rows are summed on eight lanes, at most; above, in one sequence. Part of arithmetic 2.
pub(super) const LANED_WEIGHTS_MAX: usize = 4096;

/// Writes the gradient of a layer of at most [`LANED_WEIGHTS_MAX`] or of more weights into `out`: weights
/// `[inputs][outputs]`, then the bias. `columns` is room for [`columns_of`] values.
pub(in crate::model) fn differentiate(kernel: Kernel, gradient: &Gradient<'_>, columns: &mut [Lanes], out: &mut [f32]) {
    each_group(kernel, gradient, columns, (out, Placing::Whole), &mut |_, _| {});
}

/// The same a group of parameters at a time, which are told to `take` with the first one's index while a cache still holds
/// them. `room` is as long as all, and holds nothing of use in the end.
pub(in crate::model) fn differentiate_in_groups(
    kernel: Kernel,
    gradient: &Gradient<'_>,
    columns: &mut [Lanes],
    room: &mut [f32],
    take: &mut dyn FnMut(usize, &[f32]),
) {
    each_group(kernel, gradient, columns, (room, Placing::OneForAll), take);
}

/// Where groups of a gradient are written.
#[derive(Clone, Copy, PartialEq)]
enum Placing {
    /// Each where it belongs in the whole.
    Whole,
    /// All in the same place, one after the other.
    OneForAll,
}

fn each_group(
    kernel: Kernel,
    gradient: &Gradient<'_>,
    columns: &mut [Lanes],
    (out, placing): (&mut [f32], Placing),
    take: &mut dyn FnMut(usize, &[f32]),
) {
    let Gradient { inputs, outputs, .. } = *gradient;
    if inputs * outputs <= LANED_WEIGHTS_MAX {
        laned::differentiate(kernel, gradient, out);
        return take(0, out);
    }
    let (weights, bias) = out.split_at_mut(inputs * outputs);
    if gradient.rows == 1 {
        let d = &mut flat(columns)[..outputs];
        d.iter_mut().zip(gradient.d).for_each(|(d, lanes)| *d = lanes.0[0]);
        small_batch::outer(kernel, gradient.x, d, weights);
        // A sum from +0, as of any number of rows.
        bias.iter_mut().zip(d).for_each(|(bias, d)| *bias = 0.0 + *d);
        return take(0, out);
    }
    let columns = &mut columns[..columns_of(outputs, gradient.rows)];
    transpose(kernel.of_eight(), gradient, columns);
    let Tiling { tiles, each } = tiling(kernel, inputs);
    for first in (0..tiles).step_by(each) {
        let group = first..tiles.min(first + each);
        let (start, end) = (part(inputs, tiles, first).0, part(inputs, tiles, group.end).0);
        let origin = if placing == Placing::Whole { 0 } else { start.saturating_sub(BEYOND_MAX) };
        in_sequence(kernel, gradient, columns, Group { tiles, group, origin }, weights);
        take(start * outputs, &weights[(start - origin) * outputs..(end - origin) * outputs]);
    }
    sequence_bias(kernel, gradient, columns, bias);
    take(inputs * outputs, bias);
}

/// Values of `columns` that a layer of `outputs` needs for a block of `rows`.
pub(in crate::model) fn columns_of(outputs: usize, rows: usize) -> usize {
    panels_of(outputs) * rows
}

/// Into how many tiles inputs are parted, and how many tiles make a group.
struct Tiling {
    tiles: usize,
    each: usize,
}

compiled_for_each_kernel! {
    fn tiling = tiling_body(inputs: usize) -> Tiling
}

#[inline(always)]
fn tiling_body<V: Vector>(inputs: usize) -> Tiling {
    if !V::HAS_REGISTERS {
        return Tiling { tiles: 1, each: 1 };
    }
    let tile_inputs = tile_inputs::<V>(inputs);
    Tiling { tiles: inputs.div_ceil(tile_inputs), each: GROUP_INPUTS / tile_inputs }
}

/// Some tiles of inputs.
struct Group {
    /// Of all inputs.
    tiles: usize,
    /// Those of the group.
    group: Range<usize>,
    /// The input whose weights' gradients come first where the group's are written. Tiles may cover up to [`BEYOND_MAX`] inputs
    /// more on either side.
    origin: usize,
}

impl Group {
    /// A tile's first input, and how many it has.
    #[inline(always)]
    fn tile(&self, inputs: usize, tile: usize) -> (usize, usize) {
        part(inputs, self.tiles, tile)
    }
}

compiled_for_each_kernel! {
    /// `columns` are what [`transpose`] has made of the derivatives.
    fn in_sequence = in_sequence_body(gradient: &Gradient<'_>, columns: &[Lanes], group: Group, weights: &mut [f32])
}

/// Inputs of a tile in sequence, at most: with 16 outputs, 12 of AVX2's 16 registers hold sums.
const SEQUENCE_INPUTS: usize = 6;
/// The same with 32 registers, of which 24 hold the sums of 32 outputs.
const WIDE_SEQUENCE_INPUTS: usize = 12;
/// Inputs of a group of tiles: they (12 KiB) stay in the first cache while outputs go by, 16 or 32 at a time (8 KiB or 16).
const GROUP_INPUTS: usize = 24;
/// Inputs beyond a group's that its tiles may cover, at most.
const BEYOND_MAX: usize = WIDE_SEQUENCE_INPUTS - 1;

/// Here outputs lie on lanes instead of rows: each lane is then one plain sequence over the rows.
#[inline(always)]
fn in_sequence_body<V: Vector>(gradient: &Gradient<'_>, columns: &[Lanes], group: Group, weights: &mut [f32]) {
    if V::HAS_REGISTERS {
        sequence_weights::<V>(gradient, columns, &group, weights);
    } else {
        unfused::in_sequence(gradient, columns, weights);
    }
}

compiled_for_each_kernel! {
    /// The bias's gradient from the same columns.
    fn sequence_bias = sequence_bias_body(gradient: &Gradient<'_>, columns: &[Lanes], bias: &mut [f32])
}

#[inline(always)]
fn sequence_bias_body<V: Vector>(gradient: &Gradient<'_>, columns: &[Lanes], bias: &mut [f32]) {
    let rows = gradient.rows;
    let neighbours = neighbours::<V>();
    for (bias, column) in bias.chunks_mut(neighbours * LANES).zip(columns.chunks(neighbours * rows)) {
        let stride = column.len() / rows;
        for (half, bias) in bias.chunks_mut(LANES).enumerate() {
            let mut sum = V::splat(0.0);
            for d in column[half..].iter().step_by(stride) {
                sum = sum.plus(V::load(d));
            }
            store_some(sum, bias);
        }
    }
}

compiled_for_each_kernel! {
    /// From panels (rows on lanes) to columns: for each sixteen outputs, row by row, outputs on the lanes of two neighbours;
    /// for the last eight or fewer, on those of one. Lanes beyond the last output are +0. Where vectors have no registers,
    /// there are no neighbours.
    fn transpose = transpose_body(gradient: &Gradient<'_>, columns: &mut [Lanes])
}

/// Columns that lie row by row, where there are so many.
#[inline(always)]
fn neighbours<V: Vector>() -> usize {
    if V::HAS_REGISTERS { 2 } else { 1 }
}

#[inline(always)]
fn transpose_body<V: Vector>(gradient: &Gradient<'_>, columns: &mut [Lanes]) {
    let Gradient { d, outputs, rows, .. } = *gradient;
    let neighbours = neighbours::<V>();
    for (group, column) in columns.chunks_mut(neighbours * rows).enumerate() {
        let stride = column.len() / rows;
        for half in 0..stride {
            let first = (neighbours * group + half) * LANES;
            let width = (outputs - first).min(LANES);
            for (d, column) in d.chunks_exact(outputs).zip(column.chunks_mut(stride * LANES)) {
                let mut block = [V::splat(0.0); LANES];
                for (vector, d) in block.iter_mut().zip(&d[first..][..width]) {
                    *vector = V::load(d);
                }
                let places = column[half..].iter_mut().step_by(stride);
                for (row, place) in V::transposed(block).into_iter().zip(places) {
                    row.store(place);
                }
            }
        }
    }
}

/// Gradients of the weights from a group's inputs.
#[inline(always)]
fn sequence_weights<V: Vector>(gradient: &Gradient<'_>, columns: &[Lanes], group: &Group, weights: &mut [f32]) {
    let Gradient { inputs, outputs, rows, .. } = *gradient;
    let (in_pairs, odd) = columns.split_at(panels_of(outputs) / 2 * 2 * rows);
    let (in_pairs, _) = in_pairs.as_chunks::<2>();
    // Large layers of few inputs are rare: less code does for them.
    if inputs >= SEQUENCE_INPUTS - 1 {
        sequence_group::<V>(gradient, in_pairs, group, weights);
    } else {
        for (pair, columns) in in_pairs.chunks_exact(rows).enumerate() {
            for i in 0..inputs {
                sequence_tile::<V, 1, 1>(gradient, i, 2 * pair * LANES, columns, group.origin, weights);
            }
        }
    }
    if !odd.is_empty() {
        sequence_odd::<V>(gradient, odd, group, weights);
    }
}

/// Gradients of the weights from a group's inputs, five or more, to all pairs of eight outputs. A group's rows of weights are
/// written whole before the next group's: written column by column, they would take more pages at a time than the first
/// TLB holds.
#[inline(always)]
fn sequence_group<V: Vector>(gradient: &Gradient<'_>, mut columns: &[[Lanes; 2]], group: &Group, weights: &mut [f32]) {
    let Gradient { inputs, rows, .. } = *gradient;
    let mut j = 0;
    while V::HAS_WIDE_REGISTERS && columns.len() >= 2 * rows {
        for tile in group.group.clone() {
            sequence_inputs::<V, 2>(gradient, group.tile(inputs, tile), j, columns, group.origin, weights);
        }
        (columns, j) = (&columns[2 * rows..], j + 4 * LANES);
    }
    while !columns.is_empty() {
        for tile in group.group.clone() {
            sequence_inputs::<V, 1>(gradient, group.tile(inputs, tile), j, columns, group.origin, weights);
        }
        (columns, j) = (&columns[rows..], j + 2 * LANES);
    }
}

/// Inputs of the tiles into which so many inputs are parted: the most that registers hold, unless even parts are then so much
/// narrower that small tiles leave less undone.
#[inline(always)]
fn tile_inputs<V: Vector>(inputs: usize) -> usize {
    let covered = inputs.div_ceil(WIDE_SEQUENCE_INPUTS) * (WIDE_SEQUENCE_INPUTS - 1);
    if V::HAS_WIDE_REGISTERS && covered <= inputs + inputs / 16 { WIDE_SEQUENCE_INPUTS } else { SEQUENCE_INPUTS }
}

/// Gradients of the weights from some inputs, given by their first and their number, to 16 B outputs. Tiles have the most inputs
/// or one less: where the even parts are narrower, some are covered twice.
#[inline(always)]
fn sequence_inputs<V: Vector, const B: usize>(
    gradient: &Gradient<'_>,
    (i, height): (usize, usize),
    j: usize,
    columns: &[[Lanes; 2]],
    origin: usize,
    weights: &mut [f32],
) {
    const LESS: usize = SEQUENCE_INPUTS - 1;
    const WIDE_LESS: usize = WIDE_SEQUENCE_INPUTS - 1;
    if V::HAS_WIDE_REGISTERS && height == WIDE_SEQUENCE_INPUTS {
        sequence_tile::<V, WIDE_SEQUENCE_INPUTS, B>(gradient, i, j, columns, origin, weights);
    } else if V::HAS_WIDE_REGISTERS && height > SEQUENCE_INPUTS {
        sequence_tile::<V, WIDE_LESS, B>(gradient, i.min(gradient.inputs - WIDE_LESS), j, columns, origin, weights);
    } else if height == SEQUENCE_INPUTS {
        sequence_tile::<V, SEQUENCE_INPUTS, B>(gradient, i, j, columns, origin, weights);
    } else {
        sequence_tile::<V, LESS, B>(gradient, i.min(gradient.inputs - LESS), j, columns, origin, weights);
    }
}

/// Gradients of the weights from A inputs to B pairs of eight outputs, of which the last may be partly beyond the end.
#[inline(always)]
fn sequence_tile<V: Vector, const A: usize, const B: usize>(
    gradient: &Gradient<'_>,
    i: usize,
    j: usize,
    columns: &[[Lanes; 2]],
    origin: usize,
    weights: &mut [f32],
) {
    let Gradient { inputs, outputs, rows, .. } = *gradient;
    let whole = rows / LANES;
    if !gradient.weights_next.is_null() {
        // The weights of a large layer lie in a far cache, and the products here leave time to fetch them.
        let next = gradient.weights_next.wrapping_add(i * outputs + j);
        written_out!(a in 0..A, at most 12 => {
            written_out!(b in 0..B, at most 2 => {
                V::prefetch(next.wrapping_add(a * outputs + 2 * b * LANES));
            });
        });
    }
    let mut panels: [&[[[Lanes; 2]; LANES]]; B] = [&[]; B];
    let mut rest: [&[[Lanes; 2]]; B] = [&[]; B];
    written_out!(b in 0..B, at most 2 => {
        (panels[b], rest[b]) = columns[b * rows..][..rows].as_chunks();
        panels[b] = &panels[b][..whole];
    });
    let mut sums = [[V::Wide::splat(0.0); B]; A];
    let mut x = gradient.x[i..].chunks(inputs);
    for (panel, x) in (0..whole).zip(&mut x) {
        let x = &x[..A];
        let mut d: [&[[Lanes; 2]]; B] = [&[]; B];
        written_out!(b in 0..B, at most 2 => {
            d[b] = &panels[b][panel];
        });
        // Written out: a loop of eight turns for each panel takes a twentieth longer.
        written_out!(lane in 0..LANES, at most 8 => {
            add_row::<V, A, B>(x, d, lane, &mut sums);
        });
    }
    if let Some(x) = x.next() {
        let x = &x[..A];
        for lane in 0..rows % LANES {
            add_row::<V, A, B>(x, rest, lane, &mut sums);
        }
    }
    let out = &mut weights[(i - origin) * outputs + j..];
    written_out!(a in 0..A, at most 12 => {
        let row = &mut out[a * outputs..];
        written_out!(b in 0..B, at most 2 => {
            let [first, second] = sums[a][b].halves();
            let first_output = j + 2 * b * LANES;
            if outputs - first_output >= 2 * LANES {
                let (eights, _) = row[2 * b * LANES..][..2 * LANES].as_chunks_mut::<LANES>();
                first.store_anywhere(&mut eights[0]);
                second.store_anywhere(&mut eights[1]);
            } else {
                let row = &mut row[2 * b * LANES..][..outputs - first_output];
                store_some(first, row);
                store_some(second, &mut row[LANES..]);
            }
        });
    });
}

/// Adds the products of a row: of A inputs and B pairs of eight outputs.
#[inline(always)]
fn add_row<V: Vector, const A: usize, const B: usize>(
    x: &[Lanes],
    d: [&[[Lanes; 2]]; B],
    lane: usize,
    sums: &mut [[V::Wide; B]; A],
) {
    let mut factors = [V::Wide::splat(0.0); B];
    written_out!(b in 0..B, at most 2 => {
        factors[b] = V::Wide::load_pair(&d[b][lane]);
    });
    written_out!(a in 0..A, at most 12 => {
        let value = V::Wide::splat(x[a].0[lane]);
        written_out!(b in 0..B, at most 2 => {
            sums[a][b] = value.fma(factors[b], sums[a][b]);
        });
    });
}

/// Gradients of the weights from all inputs to the last eight or fewer outputs.
#[inline(always)]
fn sequence_odd<V: Vector>(gradient: &Gradient<'_>, column: &[Lanes], group: &Group, weights: &mut [f32]) {
    /// Inputs of a tile.
    const A: usize = 8;
    let Gradient { x, inputs, outputs, .. } = *gradient;
    let j = (outputs - 1) / LANES * LANES;
    let (start, end) = (group.tile(inputs, group.group.start).0, group.tile(inputs, group.group.end).0);
    for i in (start..end).step_by(A) {
        let mut sums = [V::splat(0.0); A];
        let i = i.min(inputs.saturating_sub(A));
        let height = (inputs - i).min(A);
        for (x, d) in x.chunks_exact(inputs).zip(column.chunks(LANES)) {
            // Where a layer has fewer inputs, the first stands in for the others.
            let mut values = [&x[i]; A];
            for (value, x) in values.iter_mut().zip(&x[i..][..height]) {
                *value = x;
            }
            for (lane, d) in d.iter().enumerate() {
                let factor = V::load(d);
                written_out!(a in 0..A, at most 12 => {
                    sums[a] = V::splat(values[a].0[lane]).fma(factor, sums[a]);
                });
            }
        }
        for a in 0..height {
            store_some(sums[a], &mut weights[(i - group.origin + a) * outputs + j..][..outputs - j]);
        }
    }
}

/// Stores as many lanes as there is room for.
#[inline(always)]
fn store_some(sum: impl Vector, out: &mut [f32]) {
    if let Some(all) = out.first_chunk_mut::<LANES>() {
        return sum.store_anywhere(all);
    }
    let mut lanes = Lanes::ZERO;
    sum.store(&mut lanes);
    let width = out.len();
    out.copy_from_slice(&lanes.0[..width]);
}

//! Gradients of a layer's weights and bias over one block. Owns arithmetic 1's two orders of summing rows; does not know
//! how blocks are added up (`tree`).

use super::kernel::compiled_for_each_kernel;
use super::lanes::{LANES, Lanes, panels_of};
use super::product::part;
use super::vector::Vector;

/// Weights of a layer whose rows are summed on eight lanes, at most; above, in one sequence. Part of arithmetic 1.
pub(super) const LANED_WEIGHTS_MAX: usize = 4096;

/// One layer's gradient over a block.
#[derive(Clone, Copy)]
pub(super) struct Gradient<'a> {
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
}

/// Writes the gradient of a layer of at most [`LANED_WEIGHTS_MAX`] or of more weights into `out`: weights
/// `[inputs][outputs]`, then the bias. `columns` is room for [`columns_of`] values.
pub(super) fn differentiate(kernel: super::Kernel, gradient: &Gradient<'_>, columns: &mut [Lanes], out: &mut [f32]) {
    if gradient.inputs * gradient.outputs <= LANED_WEIGHTS_MAX {
        on_lanes(kernel, gradient, out);
    } else {
        in_sequence(kernel, gradient, columns, out);
    }
}

/// Values of `columns` that a layer of `outputs` needs for a block of `rows`.
pub(super) fn columns_of(outputs: usize, rows: usize) -> usize {
    panels_of(outputs) * rows
}

compiled_for_each_kernel! {
    fn on_lanes = on_lanes_body(gradient: &Gradient<'_>, out: &mut [f32])
}

/// Inputs and outputs of a tile on lanes, at most: 12 sums in registers, 7 loads for 12 multiply-adds; four outputs' lanes
/// are added together.
const LANED_TILE: (usize, usize) = (3, 4);

#[inline(always)]
fn on_lanes_body<V: Vector>(gradient: &Gradient<'_>, out: &mut [f32]) {
    let Gradient { inputs, outputs, .. } = *gradient;
    let (weights, bias) = out.split_at_mut(inputs * outputs);
    if !V::HAS_REGISTERS {
        for j in 0..outputs {
            for i in 0..inputs {
                laned_tile::<V, 1, 1>(gradient, i, j, weights);
            }
            laned_bias::<V, 1>(gradient, j, bias);
        }
        return;
    }
    let (down, across) = (inputs.div_ceil(LANED_TILE.0), outputs.div_ceil(LANED_TILE.1));
    for a in 0..down {
        let (i, height) = part(inputs, down, a);
        for b in 0..across {
            let (j, width) = part(outputs, across, b);
            match (height, width) {
                (1, 1) => laned_tile::<V, 1, 1>(gradient, i, j, weights),
                (1, 2) => laned_tile::<V, 1, 2>(gradient, i, j, weights),
                (1, 3) => laned_tile::<V, 1, 3>(gradient, i, j, weights),
                (1, _) => laned_tile::<V, 1, 4>(gradient, i, j, weights),
                (2, 1) => laned_tile::<V, 2, 1>(gradient, i, j, weights),
                (2, 2) => laned_tile::<V, 2, 2>(gradient, i, j, weights),
                (2, 3) => laned_tile::<V, 2, 3>(gradient, i, j, weights),
                (2, _) => laned_tile::<V, 2, 4>(gradient, i, j, weights),
                (_, 1) => laned_tile::<V, 3, 1>(gradient, i, j, weights),
                (_, 2) => laned_tile::<V, 3, 2>(gradient, i, j, weights),
                (_, 3) => laned_tile::<V, 3, 3>(gradient, i, j, weights),
                (_, _) => laned_tile::<V, 3, 4>(gradient, i, j, weights),
            }
        }
    }
    for b in 0..across {
        let (j, width) = part(outputs, across, b);
        match width {
            1 => laned_bias::<V, 1>(gradient, j, bias),
            2 => laned_bias::<V, 2>(gradient, j, bias),
            3 => laned_bias::<V, 3>(gradient, j, bias),
            _ => laned_bias::<V, 4>(gradient, j, bias),
        }
    }
}

/// Gradients of the weights from A inputs to B outputs, all rows.
#[inline(always)]
fn laned_tile<V: Vector, const A: usize, const B: usize>(
    gradient: &Gradient<'_>,
    i: usize,
    j: usize,
    weights: &mut [f32],
) {
    let Gradient { x, d, inputs, outputs, .. } = *gradient;
    let mut sums = [[V::splat(0.0); B]; A];
    for (x, d) in x.chunks_exact(inputs).zip(d.chunks_exact(outputs)) {
        let (x, d) = (&x[i..][..A], &d[j..][..B]);
        let mut factors = [V::splat(0.0); B];
        for b in 0..B {
            factors[b] = V::load(&d[b]);
        }
        for a in 0..A {
            let value = V::load(&x[a]);
            for b in 0..B {
                sums[a][b] = value.fma(factors[b], sums[a][b]);
            }
        }
    }
    for a in 0..A {
        weights[(i + a) * outputs + j..][..B].copy_from_slice(&add_lanes(sums[a])[..B]);
    }
}

/// Gradients of the bias of B outputs, all rows.
#[inline(always)]
fn laned_bias<V: Vector, const B: usize>(gradient: &Gradient<'_>, j: usize, bias: &mut [f32]) {
    let mut sums = [V::splat(0.0); B];
    for d in gradient.d.chunks_exact(gradient.outputs) {
        let d = &d[j..][..B];
        for b in 0..B {
            sums[b] = sums[b].plus(V::load(&d[b]));
        }
    }
    bias[j..][..B].copy_from_slice(&add_lanes(sums)[..B]);
}

/// The sum of each vector's lanes, for up to four vectors.
#[inline(always)]
fn add_lanes<V: Vector, const B: usize>(sums: [V; B]) -> [f32; 4] {
    let mut four = [V::splat(0.0); 4];
    four[..B].copy_from_slice(&sums);
    V::sums(four)
}

compiled_for_each_kernel! {
    fn in_sequence = in_sequence_body(gradient: &Gradient<'_>, columns: &mut [Lanes], out: &mut [f32])
}

/// Inputs of a tile in sequence, at most; it spans two groups of eight outputs.
const SEQUENCE_TILE: usize = 6;

/// Here outputs lie on lanes instead of rows: each lane is then one plain sequence over the rows.
#[inline(always)]
fn in_sequence_body<V: Vector>(gradient: &Gradient<'_>, columns: &mut [Lanes], out: &mut [f32]) {
    let Gradient { inputs, outputs, rows, .. } = *gradient;
    let (weights, bias) = out.split_at_mut(inputs * outputs);
    let columns = &mut columns[..columns_of(outputs, rows)];
    transpose(gradient, columns);
    for (bias, column) in bias.chunks_mut(LANES).zip(columns.chunks_exact(rows)) {
        let mut sum = V::splat(0.0);
        for d in column {
            sum = sum.plus(V::load(d));
        }
        store_some(sum, bias);
    }
    if !V::HAS_REGISTERS {
        for i in 0..inputs {
            sequence_row::<V, 1>(gradient, i, columns, weights);
        }
        return;
    }
    let across = inputs.div_ceil(SEQUENCE_TILE);
    for a in 0..across {
        let (i, height) = part(inputs, across, a);
        match height {
            // Even parts are this narrow only where a layer has so few inputs.
            1..=3 => {
                for i in i..i + height {
                    sequence_row::<V, 1>(gradient, i, columns, weights);
                }
            }
            4 => sequence_row::<V, 4>(gradient, i, columns, weights),
            5 => sequence_row::<V, 5>(gradient, i, columns, weights),
            _ => sequence_row::<V, SEQUENCE_TILE>(gradient, i, columns, weights),
        }
    }
}

/// From panels (rows on lanes) to columns: for each eight outputs, row by row, outputs on lanes. Lanes beyond the last
/// output are +0.
#[inline(always)]
fn transpose(gradient: &Gradient<'_>, columns: &mut [Lanes]) {
    let Gradient { d, outputs, rows, .. } = *gradient;
    for (group, column) in columns.chunks_exact_mut(rows).enumerate() {
        let first = group * LANES;
        let width = (outputs - first).min(LANES);
        for (d, rows) in d.chunks_exact(outputs).zip(column.chunks_mut(LANES)) {
            let mut block = [Lanes::ZERO; LANES];
            block[..width].copy_from_slice(&d[first..][..width]);
            for (lane, row) in rows.iter_mut().enumerate() {
                *row = Lanes(block.map(|lanes| lanes.0[lane]));
            }
        }
    }
}

/// Gradients of the weights from A inputs to all outputs.
#[inline(always)]
fn sequence_row<V: Vector, const A: usize>(gradient: &Gradient<'_>, i: usize, columns: &[Lanes], weights: &mut [f32]) {
    let Gradient { outputs, rows, .. } = *gradient;
    let groups = panels_of(outputs);
    for pair in 0..groups / 2 {
        let columns = &columns[2 * pair * rows..][..2 * rows];
        sequence_tile::<V, A, 2>(gradient, i, 2 * pair * LANES, columns, weights);
    }
    if groups % 2 == 1 {
        let columns = &columns[(groups - 1) * rows..][..rows];
        sequence_tile::<V, A, 1>(gradient, i, (groups - 1) * LANES, columns, weights);
    }
}

/// Gradients of the weights from A inputs to B groups of eight outputs, of which the last may be partly beyond the end.
#[inline(always)]
fn sequence_tile<V: Vector, const A: usize, const B: usize>(
    gradient: &Gradient<'_>,
    i: usize,
    j: usize,
    columns: &[Lanes],
    weights: &mut [f32],
) {
    let Gradient { x, inputs, outputs, rows, .. } = *gradient;
    let mut d: [&[Lanes]; B] = [&[]; B];
    for b in 0..B {
        d[b] = &columns[b * rows..][..rows];
    }
    let mut sums = [[V::splat(0.0); B]; A];
    for (panel, x) in x.chunks_exact(inputs).enumerate() {
        let x = &x[i..][..A];
        let first = panel * LANES;
        let present = (rows - first).min(LANES);
        for lane in 0..present {
            let mut factors = [V::splat(0.0); B];
            for b in 0..B {
                factors[b] = V::load(&d[b][first + lane]);
            }
            for a in 0..A {
                let value = V::splat(x[a].0[lane]);
                for b in 0..B {
                    sums[a][b] = value.fma(factors[b], sums[a][b]);
                }
            }
        }
    }
    for a in 0..A {
        let row = &mut weights[(i + a) * outputs..][..outputs];
        for b in 0..B {
            store_some(sums[a][b], &mut row[j + b * LANES..]);
        }
    }
}

/// Stores as many lanes as there is room for.
#[inline(always)]
fn store_some(sum: impl Vector, out: &mut [f32]) {
    let mut lanes = Lanes::ZERO;
    sum.store(&mut lanes);
    let width = out.len().min(LANES);
    out[..width].copy_from_slice(&lanes.0[..width]);
}

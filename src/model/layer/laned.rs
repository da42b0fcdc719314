//! Gradients of a layer of few weights: rows are summed on eight lanes, which are added together in the end. Owns that order of
//! sums; does not know layers of more weights (`gradient`).

use super::super::kernel::compiled_for_each_kernel;
use super::super::vector::{Elements as _, Vector, Wide as _, written_out};
use super::operations::Gradient;
use super::packing::part;
use super::unfused;

compiled_for_each_kernel! {
    /// Writes the gradient into `out`: weights `[inputs][outputs]`, then the bias.
    pub(super) fn differentiate = differentiate_body(gradient: &Gradient<'_>, out: &mut [f32])
}

/// Outputs of a tile on lanes: two wide vectors, whose lanes are added together.
const LANED_OUTPUTS: usize = 4;

#[inline(always)]
fn differentiate_body<V: Vector>(gradient: &Gradient<'_>, out: &mut [f32]) {
    let Gradient { inputs, outputs, .. } = *gradient;
    let (weights, bias) = out.split_at_mut(inputs * outputs);
    if V::HAS_REGISTERS && outputs >= LANED_OUTPUTS {
        for j in (0..outputs).step_by(LANED_OUTPUTS) {
            laned_bias::<V, LANED_OUTPUTS>(gradient, j.min(outputs - LANED_OUTPUTS), bias);
        }
    } else {
        for j in 0..outputs {
            laned_bias::<V, 1>(gradient, j, bias);
        }
    }
    if !V::HAS_REGISTERS {
        return unfused::on_lanes(gradient, weights);
    }
    if outputs == 1 {
        for i in 0..inputs {
            laned_weight::<V>(gradient, i, weights);
        }
        return;
    }
    // Eight sums, which is what it takes to keep two units of four cycles busy: of the twelve that 16 registers could hold
    // beside three inputs and an output, compilers leave one in memory, and each of its links takes twice as long.
    let heights = inputs.div_ceil(if V::HAS_WIDE_REGISTERS { 4 } else { 2 });
    for a in 0..heights {
        let (i, height) = part(inputs, heights, a);
        match height {
            1 => laned_row::<V, 1>(gradient, i, weights),
            3 if V::HAS_WIDE_REGISTERS => laned_row::<V, 3>(gradient, i, weights),
            4 if V::HAS_WIDE_REGISTERS => laned_row::<V, 4>(gradient, i, weights),
            _ => laned_row::<V, 2>(gradient, i, weights),
        }
    }
}

/// Gradients of the weights from A inputs to all outputs, of which there are two or more. The last tile may cover some
/// that the one before it has covered: their sums are the same.
#[inline(always)]
fn laned_row<V: Vector, const A: usize>(gradient: &Gradient<'_>, i: usize, weights: &mut [f32]) {
    let outputs = gradient.outputs;
    let mut j = 0;
    while j < outputs {
        if outputs - j > LANED_OUTPUTS / 2 && outputs >= LANED_OUTPUTS {
            laned_tile::<V, A, 2>(gradient, i, j.min(outputs - LANED_OUTPUTS), weights);
            j += LANED_OUTPUTS;
        } else {
            laned_tile::<V, A, 1>(gradient, i, j.min(outputs - LANED_OUTPUTS / 2), weights);
            j += LANED_OUTPUTS / 2;
        }
    }
}

/// Gradients of the weights from A inputs to B pairs of outputs, all rows.
#[inline(always)]
fn laned_tile<V: Vector, const A: usize, const B: usize>(
    gradient: &Gradient<'_>,
    i: usize,
    j: usize,
    weights: &mut [f32],
) {
    let Gradient { x, d, inputs, outputs, .. } = *gradient;
    let mut sums = [[V::Wide::splat(0.0); B]; A];
    for (x, d) in x.chunks_exact(inputs).zip(d.chunks_exact(outputs)) {
        let (x, (pairs, _)) = (&x[i..][..A], d[j..][..2 * B].as_chunks::<2>());
        let mut factors = [V::Wide::splat(0.0); B];
        written_out!(b in 0..B, at most 2 => {
            factors[b] = V::Wide::load_pair(&pairs[b]);
        });
        written_out!(a in 0..A, at most 12 => {
            let value = V::Wide::load_twice(&x[a]);
            written_out!(b in 0..B, at most 2 => {
                sums[a][b] = value.fma(factors[b], sums[a][b]);
            });
        });
    }
    written_out!(a in 0..A, at most 12 => {
        let mut four = [V::splat(0.0); LANED_OUTPUTS];
        written_out!(b in 0..B, at most 2 => {
            let [first, second] = sums[a][b].halves();
            (four[2 * b], four[2 * b + 1]) = (first, second);
        });
        weights[(i + a) * outputs + j..][..2 * B].copy_from_slice(&V::sums(four)[..2 * B]);
    });
}

/// The gradient of the weight from an input to the only output, all rows.
#[inline(always)]
fn laned_weight<V: Vector>(gradient: &Gradient<'_>, i: usize, weights: &mut [f32]) {
    let Gradient { x, d, inputs, .. } = *gradient;
    let mut sum = V::splat(0.0);
    for (x, d) in x.chunks_exact(inputs).zip(d) {
        sum = V::load(&x[i]).fma(V::load(d), sum);
    }
    weights[i] = add_lanes([sum])[0];
}

/// Gradients of the bias of B outputs, all rows.
#[inline(always)]
fn laned_bias<V: Vector, const B: usize>(gradient: &Gradient<'_>, j: usize, bias: &mut [f32]) {
    let mut sums = [V::splat(0.0); B];
    for d in gradient.d.chunks_exact(gradient.outputs) {
        let d = &d[j..][..B];
        written_out!(b in 0..B, at most 8 => {
            sums[b] = sums[b].plus(V::load(&d[b]));
        });
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

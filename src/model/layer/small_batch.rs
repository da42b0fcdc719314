//! A layer's products with so few rows that most lanes of their panel would idle: what takes time is to read the weights,
//! and so they are read once, in the order in which they lie, and their neighbours take the lanes. Owns that order; the sums
//! are those of `product` and `gradient`, to the bit.

#![expect(clippy::needless_range_loop, reason = "sums are numbered; nested iterators would hide them")]

use super::super::kernel::{Kernel, compiled_for_each_kernel};
use super::super::lanes::{LANES, Lanes, clear_missing_rows};
use super::super::vector::{Fma as _, Vector};
use super::operations::{Direction, Product};
use super::unfused;

/// Rows of a small batch forward: lanes that are used by rows of a panel and those that are used by outputs then come to the
/// same.
const FORWARD_ROWS_MAX: usize = 4;
/// Weights of a layer that no cache holds. Reading them in their order saves more than lanes that are all used: then a
/// whole panel is a small batch.
const UNCACHED_WEIGHTS_MIN: usize = 1 << 22;
/// Rows of a small batch on the way back, where weights are turned to lanes.
pub(in crate::model) const BACK_ROWS_MAX: usize = 1;

/// Sums that stay in the first cache, of all rows together.
const SUMS: usize = 4096;
/// Outputs whose sums a row has there, at most.
const OUTPUTS: usize = 1024;
/// Inputs of which a sum takes in the products at a time.
const INPUTS: usize = 4;

/// Whether so many rows are a small batch on their way forward through a layer of so many weights.
pub(in crate::model) fn is_small_forward(rows: usize, weights: usize) -> bool {
    rows <= if weights < UNCACHED_WEIGHTS_MIN { FORWARD_ROWS_MAX } else { LANES }
}

/// Writes the product of one panel of `rows` rows forward into `out`; missing rows come out as +0.
pub(in crate::model) fn forward(kernel: Kernel, product: &Product<'_>, rows: usize, out: &mut [Lanes]) {
    forward_in_eights(kernel.of_eight(), product, rows, out);
}

compiled_for_each_kernel! {
    #[inline(always)]
    fn forward_in_eights = forward_body(product: &Product<'_>, rows: usize, out: &mut [Lanes])
}

#[inline(always)]
fn forward_body<V: Vector>(product: &Product<'_>, rows: usize, out: &mut [Lanes]) {
    let Product { x, depth, weights, width, finish, .. } = *product;
    let Direction::Forward { bias } = product.direction else { return };
    if !V::HAS_REGISTERS {
        return in_panels(product, rows, out);
    }
    let outputs = OUTPUTS.min(SUMS / rows.max(1));
    for (part, out) in out.chunks_mut(outputs).enumerate() {
        let first = part * outputs;
        let mut sums = [0.0; SUMS];
        for sums in sums.chunks_mut(out.len()).take(rows) {
            sums.copy_from_slice(&bias[first..][..out.len()]);
        }
        let weights = |input: usize| &weights[input * width + first..][..out.len()];
        let whole = depth / INPUTS * INPUTS;
        for input in (0..whole).step_by(INPUTS) {
            let lines = [weights(input), weights(input + 1), weights(input + 2), weights(input + 3)];
            for (row, sums) in sums.chunks_mut(out.len()).take(rows).enumerate() {
                let x = [x[input].0[row], x[input + 1].0[row], x[input + 2].0[row], x[input + 3].0[row]];
                add_products::<V, INPUTS>(x, lines, sums);
            }
        }
        for input in whole..depth {
            for (row, sums) in sums.chunks_mut(out.len()).take(rows).enumerate() {
                add_products::<V, 1>([x[input].0[row]], [weights(input)], sums);
            }
        }
        let across = out.len();
        for (output, out) in out.iter_mut().enumerate() {
            *out = Lanes::ZERO;
            for row in 0..rows {
                let sum = sums[row * across + output];
                out.0[row] = finish.of_one(sum, 0.0);
            }
        }
    }
}

/// Without instructions for it, a multiply-add of eight lanes takes no longer than one of a single number.
#[inline(always)]
fn in_panels(product: &Product<'_>, rows: usize, out: &mut [Lanes]) {
    unfused::multiply(product, out);
    clear_missing_rows(rows, product.width, out);
}

/// Adds N inputs' products to the sums, one after the other.
#[inline(always)]
fn add_products<V: Vector, const N: usize>(x: [f32; N], weights: [&[f32]; N], sums: &mut [f32]) {
    let weights = weights.map(|weights| &weights[..sums.len()]);
    for output in 0..sums.len() {
        let mut sum = sums[output];
        for n in 0..N {
            sum = V::Fma::fma(x[n], weights[n][output], sum);
        }
        sums[output] = sum;
    }
}

/// Writes the product of one panel of one row on the way back into `out`; missing rows come out as +0.
pub(in crate::model) fn back(kernel: Kernel, product: &Product<'_>, out: &mut [Lanes]) {
    back_in_eights(kernel.of_eight(), product, out);
}

compiled_for_each_kernel! {
    #[inline(always)]
    fn back_in_eights = back_body(product: &Product<'_>, out: &mut [Lanes])
}

/// Vectors of results that are summed side by side: a single chain waits for each of its links.
const CHAINS: usize = 2;

#[inline(always)]
fn back_body<V: Vector>(product: &Product<'_>, out: &mut [Lanes]) {
    let Product { x: d, depth, weights, finish, .. } = *product;
    if !V::HAS_REGISTERS {
        return in_panels(product, 1, out);
    }
    let in_lanes = out.len() / (CHAINS * LANES) * (CHAINS * LANES);
    let mut put = |input: usize, sum: f32| {
        let value = finish.of_one(sum, finish.mask(input)[0]);
        out[input] = Lanes::ZERO;
        out[input].0[0] = value;
    };
    let steps = depth / LANES;
    for input in (0..in_lanes).step_by(CHAINS * LANES) {
        // Cut once, to one length: a check for each load would leave a processor no room to look ahead for the next.
        let mut lines = [[&[][..]; LANES]; CHAINS];
        for (chain, lines) in lines.iter_mut().enumerate() {
            for (lane, line) in lines.iter_mut().enumerate() {
                let of_input = &weights[(input + chain * LANES + lane) * depth..][..depth];
                *line = &of_input.as_chunks::<LANES>().0[..steps];
            }
        }
        let mut sums = [V::splat(0.0); CHAINS];
        for (step, d) in d.as_chunks::<LANES>().0[..steps].iter().enumerate() {
            for chain in 0..CHAINS {
                let mut columns = [V::splat(0.0); LANES];
                for lane in 0..LANES {
                    columns[lane] = V::load_anywhere(&lines[chain][lane][step]);
                }
                columns = V::transposed(columns);
                for next in 0..LANES {
                    sums[chain] = columns[next].fma(V::splat(d[next].0[0]), sums[chain]);
                }
            }
        }
        for chain in 0..CHAINS {
            let mut lanes = Lanes::ZERO;
            sums[chain].store(&mut lanes);
            for (lane, sum) in lanes.0.into_iter().enumerate() {
                let input = input + chain * LANES + lane;
                let rest = steps * LANES;
                put(input, chain_from::<V>(sum, &weights[input * depth..][rest..depth], &d[rest..]));
            }
        }
    }
    for input in in_lanes..product.width {
        put(input, chain_from::<V>(0.0, &weights[input * depth..][..depth], d));
    }
}

/// The sum with the first row's products.
#[inline(always)]
fn chain_from<V: Vector>(mut sum: f32, weights: &[f32], d: &[Lanes]) -> f32 {
    for (weight, d) in weights.iter().zip(d) {
        sum = V::Fma::fma(*weight, d.0[0], sum);
    }
    sum
}

/// Writes the gradient of the weights over one row, `[inputs][outputs]`. `d` is the row's derivatives.
pub(in crate::model) fn outer(kernel: Kernel, x: &[Lanes], d: &[f32], weights: &mut [f32]) {
    outer_in_eights(kernel.of_eight(), x, d, weights);
}

compiled_for_each_kernel! {
    #[inline(always)]
    fn outer_in_eights = outer_body(x: &[Lanes], d: &[f32], weights: &mut [f32])
}

#[inline(always)]
fn outer_body<V: Vector>(x: &[Lanes], d: &[f32], weights: &mut [f32]) {
    for (x, weights) in x.iter().zip(weights.chunks_exact_mut(d.len())) {
        for (weight, d) in weights.iter_mut().zip(d) {
            *weight = V::Fma::fma(x.0[0], *d, 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::operations::{BELOW_ZERO, Epilogue};
    use super::super::packing::Room;
    use super::super::product::multiply;
    use super::*;

    fn noise(length: usize, seed: usize) -> Vec<f32> {
        (0..length).map(|index| ((index * 7 + seed) as f32 * 0.37).sin() * 1.3).collect()
    }

    /// A panel of so many rows and features, missing rows zero.
    fn panel(rows: usize, features: usize) -> Vec<Lanes> {
        let mut panel = vec![Lanes::ZERO; features];
        for (feature, lanes) in panel.iter_mut().enumerate() {
            lanes.0[..rows].copy_from_slice(&noise(rows, feature * 13 + rows));
        }
        panel
    }

    fn bits(lanes: &[Lanes]) -> Vec<[u32; LANES]> {
        lanes.iter().map(|lanes| lanes.0.map(f32::to_bits)).collect()
    }

    #[test]
    fn few_rows_come_out_as_a_whole_panel_does_to_the_bit() {
        for (inputs, outputs) in [(1, 1), (3, 2), (5, 17), (16, 40), (37, 16), (33, 1030), (260, 41)] {
            let (weights, bias) = (noise(inputs * outputs, 1), noise(outputs, 2));
            for kernel in Kernel::available() {
                for rows in 1..=LANES {
                    for finish in [Epilogue::Keep, Epilogue::Relu] {
                        let x = panel(rows, inputs);
                        let direction = Direction::Forward { bias: &bias };
                        let product =
                            Product { x: &x, depth: inputs, weights: &weights, width: outputs, direction, finish };
                        let mut expected = vec![Lanes::ZERO; outputs];
                        multiply(kernel, &product, &mut Room::new(kernel), &mut expected);
                        expected.iter_mut().for_each(|lanes| lanes.0[rows..].fill(0.0));
                        let mut got = vec![Lanes([f32::NAN; LANES]); outputs];
                        forward(kernel, &product, rows, &mut got);
                        assert_eq!(bits(&got), bits(&expected), "{kernel}: {inputs} to {outputs}, {rows} rows");
                    }
                }
                let (d, below) = (panel(1, outputs), panel(1, inputs));
                for finish in
                    [Epilogue::Keep, Epilogue::CutWhereAbove(&below, 0.0), Epilogue::CutWhereAbove(&below, BELOW_ZERO)]
                {
                    let direction = Direction::Back;
                    let product =
                        Product { x: &d, depth: outputs, weights: &weights, width: inputs, direction, finish };
                    let mut expected = vec![Lanes::ZERO; inputs];
                    multiply(kernel, &product, &mut Room::new(kernel), &mut expected);
                    let mut got = vec![Lanes([f32::NAN; LANES]); inputs];
                    back(kernel, &product, &mut got);
                    assert_eq!(bits(&got), bits(&expected), "{kernel}: {outputs} back to {inputs}");
                }
            }
        }
    }
}

//! Products and gradients on processors without a fused multiply-add, where `vector::doubles` stands in for it. Owns what is
//! read as f64 and when; does not know how a sum is rounded.
//!
//! Every value is the chain that it is in `product` and `gradient`. As there, tiles share what they read: eight lanes by two
//! factors.

use super::super::lanes::{BLOCK_ROWS, LANES, Lanes, flat_to_read, panels_of};
use super::super::vector::doubles::{Doubles, Factors, LINKS_MAX, Native, add_products, are_moderate};
use super::super::vector::sum_of_lanes;
use super::operations::{Direction, Epilogue, Gradient, Product};

/// Steps of a part of a chain, at most. Those of a gradient are no more.
const STEPS_MAX: usize = BLOCK_ROWS;
/// Numbers of factors that are kept as f64: 16 KiB, which is sixteen factors for so many steps.
const FACTORS: usize = 16 * STEPS_MAX;

/// Sums of the products of lanes with factors: of each item that lies on lanes with each factor, step by step.
struct Chains<'a> {
    lanes: Source<'a>,
    factors: Source<'a>,
    /// Whether a factor is eight numbers, one for each lane.
    of_lanes: bool,
    steps: usize,
    /// Whether all numbers are moderate, and what the sums began with.
    moderate: bool,
}

/// Items of some numbers a step.
#[derive(Clone, Copy)]
struct Source<'a> {
    values: &'a [f32],
    items: usize,
    /// From an item to the next.
    item: usize,
    /// From a step to the next, and to the eighth after it.
    step: [usize; 2],
}

impl Source<'_> {
    /// An item's numbers at a step.
    #[inline(always)]
    fn at(&self, item: usize, step: usize) -> &[f32] {
        let [one, eight] = self.step;
        &self.values[item * self.item + step / LANES * eight + step % LANES * one..]
    }
}

/// What products are added to, and what becomes of the sums.
enum Sums<'a> {
    /// Some depths of a product: panels with weights.
    Products {
        product: &'a Product<'a>,
        /// Whether no depths came before.
        first: bool,
        /// Whether none will follow.
        last: bool,
        out: &'a mut [Lanes],
    },
    /// A gradient on lanes: inputs with outputs.
    OnLanes { outputs: usize, weights: &'a mut [f32] },
    /// A gradient in sequence: eights of outputs with inputs.
    InSequence { outputs: usize, weights: &'a mut [f32] },
}

impl Sums<'_> {
    #[inline(always)]
    fn before(&self, item: usize, factor: usize) -> [f32; LANES] {
        match self {
            Sums::Products { product, first: false, out, .. } => out[item * product.width + factor].0,
            Sums::Products { product: Product { direction: Direction::Forward { bias }, .. }, .. } => {
                [bias[factor]; LANES]
            }
            _ => [0.0; LANES],
        }
    }

    #[inline(always)]
    fn put(&mut self, item: usize, factor: usize, sum: [f32; LANES]) {
        match self {
            Sums::Products { product, last, out, .. } => {
                let place = item * product.width + factor;
                let finish = if *last { product.finish } else { Epilogue::Keep };
                let mask = finish.mask(place);
                for (lane, out) in out[place].0.iter_mut().enumerate() {
                    *out = finish.of_one(sum[lane], mask[lane]);
                }
            }
            Sums::OnLanes { outputs, weights } => weights[item * *outputs + factor] = sum_of_lanes(sum),
            Sums::InSequence { outputs, weights } => {
                let row = &mut weights[factor * *outputs..][..*outputs];
                let place = &mut row[item * LANES..];
                let width = LANES.min(place.len());
                place[..width].copy_from_slice(&sum[..width]);
            }
        }
    }
}

/// Computes the sums.
#[inline(never)]
fn compute(chains: &Chains<'_>, mut sums: Sums<'_>) {
    let Chains { lanes, factors, of_lanes, steps, moderate } = *chains;
    let mut wide_lanes = [Doubles::<Native>::of(&[0.0; LANES]); STEPS_MAX];
    let wide_lanes = &mut wide_lanes[..steps];
    let mut wide_factors = [0.0; FACTORS];
    let width = if of_lanes { LANES } else { 1 };
    let of_pair = 2 * width * steps;
    // Two factors at a time, as many pairs as there is room for; the last of an odd number is paired with itself.
    for first in (0..factors.items).step_by(2 * (FACTORS / of_pair)) {
        let places = wide_factors.chunks_exact_mut(of_pair);
        let pairs = (first..factors.items).step_by(2).map(|factor| [factor, (factor + 1).min(factors.items - 1)]);
        for (pair, places) in pairs.clone().zip(places) {
            for (step, places) in places.chunks_exact_mut(2 * width).enumerate() {
                for (factor, places) in pair.into_iter().zip(places.chunks_exact_mut(width)) {
                    let numbers = factors.at(factor, step);
                    if let (Some(places), Some(numbers)) = (places.first_chunk_mut::<LANES>(), numbers.first_chunk()) {
                        *places = numbers.map(f64::from);
                    } else {
                        places[0] = f64::from(numbers[0]);
                    }
                }
            }
        }
        for item in 0..lanes.items {
            for (step, place) in wide_lanes.iter_mut().enumerate() {
                let (eights, _) = lanes.at(item, step).as_chunks();
                *place = Doubles::of(&eights[0]);
            }
            for (pair, values) in pairs.clone().zip(wide_factors.chunks_exact(of_pair)) {
                let mut both = pair.map(|factor| Doubles::of(&sums.before(item, factor)));
                add_products(Factors { values, of_lanes }, wide_lanes, moderate, &mut both);
                for (factor, sum) in pair.into_iter().zip(&both) {
                    sums.put(item, factor, sum.to_lanes());
                }
            }
        }
    }
}

/// As `product::multiply`.
#[inline(never)]
pub(super) fn multiply(product: &Product<'_>, out: &mut [Lanes]) {
    let Product { x, depth, weights, width, direction, .. } = *product;
    let (item, step, begin) = match direction {
        Direction::Forward { bias } => (1, width, bias),
        Direction::Back => (depth, 1, &[][..]),
    };
    let moderate = depth <= LINKS_MAX && [flat_to_read(x), weights, begin].into_iter().all(are_moderate);
    for start in (0..depth).step_by(STEPS_MAX) {
        let steps = STEPS_MAX.min(depth - start);
        let chains = Chains {
            lanes: Source {
                values: flat_to_read(&x[start..]),
                items: x.len() / depth,
                item: LANES * depth,
                step: [LANES, LANES * LANES],
            },
            factors: Source { values: &weights[start * step..], items: width, item, step: [step, LANES * step] },
            of_lanes: false,
            steps,
            moderate,
        };
        let (first, last) = (start == 0, start + steps == depth);
        compute(&chains, Sums::Products { product, first, last, out });
    }
}

/// Writes the gradient of the weights of a layer whose rows are summed on lanes.
#[inline(never)]
pub(super) fn on_lanes(gradient: &Gradient<'_>, weights: &mut [f32]) {
    let Gradient { x, inputs, d, outputs, rows, .. } = *gradient;
    let (x, d) = (flat_to_read(x), flat_to_read(d));
    // Steps are panels.
    let of = |values, items| {
        let step = LANES * items;
        Source { values, items, item: LANES, step: [step, LANES * step] }
    };
    let moderate = are_moderate(x) && are_moderate(d);
    let chains =
        Chains { lanes: of(x, inputs), factors: of(d, outputs), of_lanes: true, steps: panels_of(rows), moderate };
    compute(&chains, Sums::OnLanes { outputs, weights });
}

/// Writes the gradient of the weights of a layer whose rows are summed in one sequence. `columns` are the derivatives, eight
/// outputs' row by row, one eight behind the other.
#[inline(never)]
pub(super) fn in_sequence(gradient: &Gradient<'_>, columns: &[Lanes], weights: &mut [f32]) {
    let Gradient { x, inputs, outputs, rows, .. } = *gradient;
    let (x, d) = (flat_to_read(x), flat_to_read(columns));
    let chains = Chains {
        lanes: Source { values: d, items: panels_of(outputs), item: LANES * rows, step: [LANES, LANES * LANES] },
        // Steps are rows, eight of which lie side by side.
        factors: Source { values: x, items: inputs, item: LANES, step: [1, LANES * inputs] },
        of_lanes: false,
        steps: rows,
        moderate: are_moderate(x) && are_moderate(d),
    };
    compute(&chains, Sums::InSequence { outputs, weights });
}

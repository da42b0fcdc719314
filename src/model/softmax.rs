//! Softmax with cross-entropy over a block: probabilities, losses, derivatives, predictions. Owns their order of
//! operations (arithmetic 1); does not know what made the logits.

use super::arithmetic::{exp, ln};
use super::kernel::compiled_for_each_kernel;
use super::lanes::{BLOCK_PANELS, LANES, Lanes, clear_missing_rows, flat, panels_of};
use super::vector::Vector;

/// What the loss is of.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    /// The label of each row of the block; there is at least one.
    pub labels: &'a [u32],
    /// What a row's derivative is multiplied by: 1, or 1 / rows of the batch.
    pub scale: f32,
    /// Added to the probability of the label under the loss's logarithm.
    pub log_epsilon: f32,
}

compiled_for_each_kernel! {
    /// Turns logits, panels of one value for each class, into derivatives of the loss by them; rows that are not there get
    /// +0.
    /// Returns the block's loss: the sum over its rows, in their order.
    pub(super) fn lose = lose_body(logits: &mut [Lanes], target: &Target<'_>) -> f64
}

/// Strided partial sums of the exponentials. Part of arithmetic 1.
const PARTIALS: usize = 4;

#[inline(always)]
fn lose_body<V: Vector>(logits: &mut [Lanes], target: &Target<'_>) -> f64 {
    let rows = target.labels.len();
    let classes = logits.len() / panels_of(rows);
    let label_logits = less_the_largest::<V>(logits, classes, target.labels);
    for logit in flat(logits) {
        *logit = exp::<V::Fma>(*logit);
    }
    let totals = totals::<V>(logits, classes);
    let loss = losses::<V>(logits, classes, &totals, &label_logits, target);
    let mut factors = totals;
    for factor in flat(&mut factors) {
        *factor = target.scale / *factor;
    }
    clear_missing_rows(rows, 1, &mut factors[..panels_of(rows)]);
    for ((panel, factor), labels) in logits.chunks_exact_mut(classes).zip(&factors).zip(target.labels.chunks(LANES)) {
        let factor = V::load(factor);
        for exponential in panel.iter_mut() {
            V::load(exponential).times(factor).store(exponential);
        }
        for (lane, label) in labels.iter().enumerate() {
            panel[*label as usize].0[lane] -= target.scale;
        }
    }
    loss
}

/// One value of each row of a block.
type OfRows = [Lanes; BLOCK_PANELS];

/// Takes each row's largest logit from all of its logits. Returns what that leaves of the label's.
#[inline(always)]
fn less_the_largest<V: Vector>(logits: &mut [Lanes], classes: usize, labels: &[u32]) -> OfRows {
    let mut of_labels = [Lanes::ZERO; BLOCK_PANELS];
    let panels = logits.chunks_exact_mut(classes).zip(labels.chunks(LANES));
    for ((panel, labels), of_labels) in panels.zip(&mut of_labels) {
        let mut largest = V::load(&panel[0]);
        for logit in &panel[1..] {
            largest = largest.larger(V::load(logit));
        }
        for logit in panel.iter_mut() {
            V::load(logit).minus(largest).store(logit);
        }
        for (lane, label) in labels.iter().enumerate() {
            of_labels.0[lane] = panel[*label as usize].0[lane];
        }
    }
    of_labels
}

/// The sum of each row's exponentials: strided partial sums, then a tree.
#[inline(always)]
fn totals<V: Vector>(exponentials: &[Lanes], classes: usize) -> OfRows {
    // Rows that are not there divide by 1, not by 0.
    let mut totals = [Lanes([1.0; LANES]); BLOCK_PANELS];
    for (panel, total) in exponentials.chunks_exact(classes).zip(&mut totals) {
        let mut partials = [V::splat(0.0); PARTIALS];
        let (fours, rest) = panel.as_chunks::<PARTIALS>();
        for four in fours {
            for partial in 0..PARTIALS {
                partials[partial] = partials[partial].plus(V::load(&four[partial]));
            }
        }
        for (partial, exponential) in partials.iter_mut().zip(rest) {
            *partial = partial.plus(V::load(exponential));
        }
        partials[0].plus(partials[2]).plus(partials[1].plus(partials[3])).store(total);
    }
    totals
}

/// The losses of a block's rows, added in their order.
#[inline(always)]
fn losses<V: Vector>(
    exponentials: &[Lanes],
    classes: usize,
    totals: &OfRows,
    label_logits: &OfRows,
    target: &Target<'_>,
) -> f64 {
    let mut logarithms = *totals;
    if target.log_epsilon != 0.0 {
        let panels = exponentials.chunks_exact(classes).zip(target.labels.chunks(LANES));
        for ((panel, labels), logarithms) in panels.zip(&mut logarithms) {
            for (lane, label) in labels.iter().enumerate() {
                let probability = panel[*label as usize].0[lane] / logarithms.0[lane];
                logarithms.0[lane] = probability + target.log_epsilon;
            }
        }
    }
    let logarithms = flat(&mut logarithms);
    for logarithm in logarithms.iter_mut() {
        *logarithm = ln::<V::Fma>(*logarithm);
    }
    let rows = logarithms.iter().zip(label_logits.iter().flat_map(|lanes| &lanes.0)).take(target.labels.len());
    let mut loss = 0.0;
    for (logarithm, label_logit) in rows {
        loss += if target.log_epsilon == 0.0 {
            f64::from(*logarithm) - f64::from(*label_logit)
        } else {
            -f64::from(*logarithm)
        };
    }
    loss
}

compiled_for_each_kernel! {
    /// Writes each row's predicted class, the lowest index of the largest logit, for every row; `out` has one place for
    /// each, and is not empty.
    pub(super) fn predict = predict_body(logits: &[Lanes], out: &mut [u32])
}

#[inline(always)]
fn predict_body<V: Vector>(logits: &[Lanes], out: &mut [u32]) {
    let classes = logits.len() / panels_of(out.len());
    for (panel, out) in logits.chunks_exact(classes).zip(out.chunks_mut(LANES)) {
        let (mut largest, mut best) = (panel[0].0, [0; LANES]);
        for (class, logits) in panel.iter().enumerate() {
            for lane in 0..LANES {
                let larger = logits.0[lane] > largest[lane];
                largest[lane] = if larger { logits.0[lane] } else { largest[lane] };
                best[lane] = if larger { class as u32 } else { best[lane] };
            }
        }
        out.copy_from_slice(&best[..out.len()]);
    }
}

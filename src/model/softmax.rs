//! Softmax with cross-entropy over a block: probabilities, losses, derivatives, predictions. Owns their order of
//! operations (arithmetic 1); does not know what made the logits.

use super::arithmetic::{Fma, exp, ln};
use super::kernel::compiled_for_each_kernel;
use super::lanes::{LANES, Lanes, panels_of};

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
fn lose_body<F: Fma>(logits: &mut [Lanes], target: &Target<'_>) -> f64 {
    let classes = logits.len() / panels_of(target.labels.len());
    let mut loss = 0.0;
    for (panel, labels) in logits.chunks_exact_mut(classes).zip(target.labels.chunks(LANES)) {
        let mut largest = panel[0];
        for logits in &panel[1..] {
            for lane in 0..LANES {
                largest.0[lane] = if logits.0[lane] > largest.0[lane] { logits.0[lane] } else { largest.0[lane] };
            }
        }
        let mut label_logits = [0.0; LANES];
        for (lane, label) in labels.iter().enumerate() {
            label_logits[lane] = panel[*label as usize].0[lane] - largest.0[lane];
        }
        let mut partials = [Lanes::ZERO; PARTIALS];
        for logits in panel.chunks_mut(PARTIALS) {
            for (partial, logit) in partials.iter_mut().zip(logits) {
                for lane in 0..LANES {
                    logit.0[lane] = exp::<F>(logit.0[lane] - largest.0[lane]);
                }
                *partial = partial.plus(*logit);
            }
        }
        let total = partials[0].plus(partials[2]).plus(partials[1].plus(partials[3]));
        loss = row_losses::<F>(loss, panel, total, label_logits, labels, target.log_epsilon);
        let mut factor = Lanes::ZERO;
        for lane in 0..LANES {
            factor.0[lane] = if lane < labels.len() { target.scale / total.0[lane] } else { 0.0 };
        }
        for exponential in panel.iter_mut() {
            for lane in 0..LANES {
                exponential.0[lane] *= factor.0[lane];
            }
        }
        for (lane, label) in labels.iter().enumerate() {
            panel[*label as usize].0[lane] -= target.scale;
        }
    }
    loss
}

/// `loss` plus the losses of a panel's rows, in their order. `exponentials` are e^(logit - largest), `total` their sums,
/// `label_logits` the label's logit less the largest.
#[inline(always)]
fn row_losses<F: Fma>(
    mut loss: f64,
    exponentials: &[Lanes],
    total: Lanes,
    label_logits: [f32; LANES],
    labels: &[u32],
    log_epsilon: f32,
) -> f64 {
    let mut logarithms = [0.0; LANES];
    if log_epsilon == 0.0 {
        for lane in 0..LANES {
            logarithms[lane] = ln::<F>(total.0[lane]);
        }
        for lane in 0..labels.len() {
            loss += f64::from(logarithms[lane]) - f64::from(label_logits[lane]);
        }
    } else {
        let mut of_labels = [0.0; LANES];
        for (lane, label) in labels.iter().enumerate() {
            of_labels[lane] = exponentials[*label as usize].0[lane];
        }
        for lane in 0..LANES {
            logarithms[lane] = ln::<F>(of_labels[lane] / total.0[lane] + log_epsilon);
        }
        for logarithm in &logarithms[..labels.len()] {
            loss += -f64::from(*logarithm);
        }
    }
    loss
}

/// Writes each row's predicted class, the lowest index of the largest logit, for every row; `out` has one place for each, and is not empty.
pub(super) fn predict(logits: &[Lanes], out: &mut [u32]) {
    let classes = logits.len() / panels_of(out.len());
    for (panel, out) in logits.chunks_exact(classes).zip(out.chunks_mut(LANES)) {
        for (lane, out) in out.iter_mut().enumerate() {
            let mut best = 0;
            for class in 1..classes {
                if panel[class].0[lane] > panel[best].0[lane] {
                    best = class;
                }
            }
            *out = best as u32;
        }
    }
}

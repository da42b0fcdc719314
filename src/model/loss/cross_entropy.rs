//! Softmax with cross-entropy over a block: probabilities, losses, derivatives, predictions. Owns their order of
//! operations (arithmetic 2); does not know what made the logits.

use super::super::kernel::{Kernel, compiled_for_each_kernel};
use super::super::lanes::{BLOCK_PANELS, BLOCK_ROWS, LANES, Lanes, clear_missing_rows, flat, panels_of};
use super::super::thresholds::{VALUE_LEAST, cut};
use super::super::vector::{Elements as _, Vector, Wide as _, ln};

compiled_for_each_kernel! {
    /// Turns logits, panels of one value for each class, into derivatives of the loss by them; rows that are not there get
    /// +0. There is at least one label. `log_epsilon` is added to the probability of the label under the loss's logarithm.
    /// Returns the block's loss: the sum over its rows, in their order.
    pub(super) fn differentiate = differentiate_body(logits: &mut [Lanes], labels: &[u32], log_epsilon: f32) -> f64
}

#[inline(always)]
fn differentiate_body<V: Vector>(logits: &mut [Lanes], labels: &[u32], log_epsilon: f32) -> f64 {
    let rows = labels.len();
    let classes = logits.len() / panels_of(rows);
    let mut logarithms = [Lanes::ZERO; BLOCK_PANELS];
    let mut label_logits = [Lanes::ZERO; BLOCK_PANELS];
    let of_rows = logarithms.iter_mut().zip(&mut label_logits);
    for ((panel, labels), (logarithm, label_logit)) in
        logits.chunks_exact_mut(classes).zip(labels.chunks(LANES)).zip(of_rows)
    {
        let largest = largest::<V>(panel);
        if log_epsilon == 0.0 {
            V::load(&of_labels(panel, labels)).minus(largest).store(label_logit);
        }
        let total = exponentials::<V>(panel, largest);
        let of_loss = if log_epsilon == 0.0 {
            total
        } else {
            V::load(&of_labels(panel, labels)).divided_by(total).plus(V::splat(log_epsilon))
        };
        of_loss.store(logarithm);
        let mut factor = V::splat(1.0).divided_by(total);
        if labels.len() < LANES {
            let mut factors = Lanes::ZERO;
            factor.store(&mut factors);
            clear_missing_rows(labels.len(), 1, std::slice::from_mut(&mut factors));
            factor = V::load(&factors);
        }
        let factors = V::Wide::join(factor, factor);
        let (least, leasts) = (V::splat(VALUE_LEAST), V::Wide::splat(VALUE_LEAST));
        let (pairs, rest) = panel.as_chunks_mut();
        for pair in pairs {
            let probabilities = V::Wide::load_pair(pair).times(factors);
            probabilities.unless_below(probabilities, leasts).store_pair(pair);
        }
        for exponential in rest {
            let probability = V::load(exponential).times(factor);
            probability.unless_below(probability, least).store(exponential);
        }
        take_from_labels(panel, labels);
    }
    let logarithms = &mut flat(&mut logarithms)[..rows];
    for logarithm in logarithms.iter_mut() {
        *logarithm = ln::<V::Fma>(*logarithm);
    }
    let mut loss = 0.0;
    for (logarithm, label_logit) in logarithms.iter().zip(flat(&mut label_logits)) {
        loss +=
            if log_epsilon == 0.0 { f64::from(*logarithm) - f64::from(*label_logit) } else { -f64::from(*logarithm) };
    }
    loss
}

/// Makes of each row's derivatives those of smoothed labels, of which every class has an equal part of `smoothing`, and the row's
/// own the rest. Nothing here is vectors': one code does for every kernel.
#[inline(never)]
pub(super) fn smooth(derivatives: &mut [Lanes], labels: &[u32], smoothing: f32) {
    let classes = derivatives.len() / panels_of(labels.len());
    let share = smoothing / classes as f32;
    for (panel, labels) in derivatives.chunks_exact_mut(classes).zip(labels.chunks(LANES)) {
        // Rows that are not there keep their +0.
        let mut of_rows = [0.0; LANES];
        of_rows[..labels.len()].fill(share);
        for derivatives in &mut *panel {
            for (derivative, share) in derivatives.0.iter_mut().zip(&of_rows) {
                *derivative -= share;
            }
        }
        for (lane, label) in labels.iter().enumerate() {
            panel[*label as usize].0[lane] += smoothing;
        }
    }
}

/// Multiplies each row's derivatives by the weight of its label, of which there is one for each class. Nothing here is vectors':
/// one code does for every kernel.
#[inline(never)]
pub(super) fn weigh(derivatives: &mut [Lanes], labels: &[u32], weights: &[f32]) {
    let classes = derivatives.len() / panels_of(labels.len());
    for (panel, labels) in derivatives.chunks_exact_mut(classes).zip(labels.chunks(LANES)) {
        // Rows that are not there have +0.
        let mut of_rows = [1.0; LANES];
        for (weight, label) in of_rows.iter_mut().zip(labels) {
            *weight = weights[*label as usize];
        }
        for derivatives in panel {
            for (derivative, weight) in derivatives.0.iter_mut().zip(&of_rows) {
                *derivative = cut(*derivative * weight, VALUE_LEAST);
            }
        }
    }
}

compiled_for_each_kernel! {
    /// Turns the logits of so many rows, at least one, into e to the power of what each lies below its row's largest: the
    /// probabilities, but for what they add up to.
    pub(in crate::model) fn exponentiate = exponentiate_body(logits: &mut [Lanes], rows: usize)
}

#[inline(always)]
fn exponentiate_body<V: Vector>(logits: &mut [Lanes], rows: usize) {
    let classes = logits.len() / panels_of(rows);
    for panel in logits.chunks_exact_mut(classes) {
        let largest = largest::<V>(panel);
        exponentials::<V>(panel, largest);
    }
}

compiled_for_each_kernel! {
    /// The same, and each row's loss, with nothing added to the probability under its logarithm: what [`differentiate`] adds up
    /// then. There is at least one label.
    pub(in crate::model) fn exponentiate_with_losses =
        exponentiate_with_losses_body(logits: &mut [Lanes], labels: &[u32], losses: &mut [f64])
}

#[inline(always)]
fn exponentiate_with_losses_body<V: Vector>(logits: &mut [Lanes], labels: &[u32], losses: &mut [f64]) {
    let classes = logits.len() / panels_of(labels.len());
    let of_rows = labels.chunks(LANES).zip(losses.chunks_mut(LANES));
    for (panel, (labels, losses)) in logits.chunks_exact_mut(classes).zip(of_rows) {
        let largest = largest::<V>(panel);
        let (mut label_logits, mut totals) = (Lanes::ZERO, Lanes::ZERO);
        V::load(&of_labels(panel, labels)).minus(largest).store(&mut label_logits);
        exponentials::<V>(panel, largest).store(&mut totals);
        for ((loss, total), label_logit) in losses.iter_mut().zip(totals.0).zip(label_logits.0) {
            *loss = f64::from(ln::<V::Fma>(total)) - f64::from(label_logit);
        }
    }
}

/// Each row's largest logit; NaN only where the first is.
#[inline(always)]
fn largest<V: Vector>(panel: &[Lanes]) -> V {
    // Both chains of comparisons begin with the first logit, so that it alone decides about NaN, as in a single chain.
    let mut largest = V::Wide::load_twice(&panel[0]);
    let (pairs, rest) = panel.as_chunks();
    for pair in pairs {
        largest = largest.larger(V::Wide::load_pair(pair));
    }
    for logit in rest {
        largest = largest.larger(V::Wide::load_twice(logit));
    }
    let [first, second] = largest.halves();
    first.larger(second)
}

/// What each row's label has; +0 for rows that are not there. Nothing here is vectors': one code does for every kernel.
#[inline(never)]
fn of_labels(panel: &[Lanes], labels: &[u32]) -> Lanes {
    let mut of_labels = Lanes::ZERO;
    for (lane, label) in labels.iter().enumerate() {
        of_labels.0[lane] = panel[*label as usize].0[lane];
    }
    of_labels
}

/// Takes 1 from what each row's label has.
#[inline(never)]
fn take_from_labels(panel: &mut [Lanes], labels: &[u32]) {
    for (lane, label) in labels.iter().enumerate() {
        panel[*label as usize].0[lane] -= 1.0;
    }
}

/// Turns logits into their exponentials, the largest into 1. Returns each row's sum: four partial sums, of every fourth class
/// each, then a tree. Part of arithmetic 2.
#[inline(always)]
fn exponentials<V: Vector>(panel: &mut [Lanes], largest: V) -> V {
    // The partial sums of two neighbouring classes side by side. Those that the next two classes belong to come first.
    let mut partials = [V::Wide::splat(0.0); 2];
    let of_both = V::Wide::join(largest, largest);
    let (pairs, rest) = panel.as_chunks_mut();
    for pair in pairs {
        let exponentials = V::Wide::load_pair(pair).minus(of_both).exp();
        exponentials.store_pair(pair);
        partials = [partials[1], partials[0].plus(exponentials)];
    }
    for logit in rest {
        let exponential = V::load(logit).minus(largest).exp();
        exponential.store(logit);
        partials[0] = partials[0].plus(V::Wide::join(exponential, V::splat(0.0)));
    }
    // A sum of two is the same in either order.
    let [first, second] = partials[0].plus(partials[1]).halves();
    first.plus(second)
}

/// Rows whose predicted class is not their label.
pub(super) fn errors(kernel: Kernel, logits: &[Lanes], labels: &[u32]) -> usize {
    let mut classes = [0; BLOCK_ROWS];
    let classes = &mut classes[..labels.len()];
    predict(kernel, logits, classes);
    classes.iter().zip(labels).filter(|(class, label)| class != label).count()
}

compiled_for_each_kernel! {
    /// Writes each row's predicted class, the lowest index of the largest logit, for every row; `out` has one place for
    /// each, and is not empty.
    pub(in crate::model) fn predict = predict_body(logits: &[Lanes], out: &mut [u32])
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

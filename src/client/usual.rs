//! A job's numbers where nobody asks for others: they follow from its data alone, never from the fleet. Owns the rules; does not
//! know options. The package for Python follows docs/data.md, section 9, which says the same.

use std::num::NonZeroU32;

use crate::model::{BatchSize, Loss, TargetKind};

/// Rows of a batch whose gradients are merged: some thirty batches in an epoch, and enough rows for a fleet to share.
pub(super) fn batch(rows: u64) -> NonZeroU32 {
    let wanted = (rows / 32).clamp(32, 512);
    // The next power of two by ratio.
    NonZeroU32::MIN.saturating_add((1 << ((wanted * wanted * 2).ilog2() / 2)) - 1)
}

/// The learning rate of such batches: in proportion to their rows (Goyal and others, 2017), from half of what suits 128 of them to
/// four times that.
pub(super) fn eta(batch: BatchSize, eta: f32) -> f32 {
    match batch {
        BatchSize::Rows(rows) => eta * (rows.get() as f32 / 128.0).clamp(0.5, 4.0),
        BatchSize::Full => eta,
    }
}

/// Rounds without a better one after which training stops. Numbers that are fitted to few rows are
/// judged by chance: the best round of some is worse on others than the last (`benches/datasets`).
pub(super) fn patience(loss: Loss, validation_rows: u32) -> Option<u32> {
    let is_by_chance = loss.target_kind() == TargetKind::Values && validation_rows < PATIENCE_ROWS_MIN;
    (!is_by_chance).then_some(PATIENCE)
}

const PATIENCE: u32 = 20;
const PATIENCE_ROWS_MIN: u32 = 50;

/// The part by which weights decay where numbers are fitted by merged gradients: of few rows much, for they are soon learned by
/// heart; of many nothing (`benches/datasets`).
pub(super) fn weight_decay(rows: u64) -> f32 {
    const OF_FEW_ROWS: f64 = 0.9;
    const FEW_ROWS: f64 = 1_000.0;
    const LEAST: f64 = 0.01;
    let fewness = (FEW_ROWS / rows.max(1) as f64).min(1.0);
    let decay = OF_FEW_ROWS * (fewness * fewness);
    if decay >= LEAST { decay as f32 } else { 0.0 }
}

/// Rounds of merged gradients: some 900 steps, which few rows take many rounds for.
pub(super) fn rounds(rows: u64, batch: BatchSize) -> u32 {
    let BatchSize::Rows(batch) = batch else { return ROUNDS_MIN };
    let in_round = rows.div_ceil(batch.get().into()).max(1);
    (STEPS.div_ceil(in_round) as u32).clamp(ROUNDS_MIN, ROUNDS_MAX)
}

const STEPS: u64 = 900;
/// Of many rows, more come to little more than these do.
const ROUNDS_MIN: u32 = 30;
const ROUNDS_MAX: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_numbers_follow_the_rows_within_bounds() {
        for (rows, of_batch, of_eta) in [
            (30, 32, 0.005),
            (2_800, 64, 0.005),
            (4_000, 128, 0.01),
            (8_192, 256, 0.02),
            (14_849, 512, 0.04),
            (1 << 30, 512, 0.04),
        ] {
            assert_eq!(batch(rows).get(), of_batch, "{rows} rows");
            assert_eq!(eta(BatchSize::Rows(batch(rows)), 0.01), of_eta, "{rows} rows");
        }
        for (rows, of_rounds) in [(30, 200), (400, 70), (4_000, 30), (14_849, 30), (100_000, 30), (1 << 30, 30)] {
            assert_eq!(rounds(rows, BatchSize::Rows(batch(rows))), of_rounds, "{rows} rows");
        }
        assert_eq!((patience(Loss::SquaredError, 49), patience(Loss::Huber, 49)), (None, None));
        assert_eq!(patience(Loss::SquaredError, 50), Some(PATIENCE));
        assert_eq!(patience(Loss::CrossEntropy, 2), Some(PATIENCE));
        for (rows, decay) in [(1, 0.9), (1_000, 0.9), (2_000, 0.225), (9_000, 0.011111111), (9_487, 0.0)] {
            assert_eq!(weight_decay(rows), decay, "{rows} rows");
        }
        // A batch that somebody asks for.
        assert_eq!(eta(BatchSize::Rows(NonZeroU32::new(8_192).unwrap()), 0.01), 0.04);
    }
}

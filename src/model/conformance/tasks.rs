//! Sections of whole steps: initial weights, tasks, the merge of updates. Owns the tasks; does not know how they are
//! trained, or what is right.

use std::hint::black_box;
use std::num::NonZeroU32;

use super::values::Values;
use crate::model::Training;
use crate::model::merge::{self, LittleEndianF32};
use crate::model::train::Unwatched;
use crate::model::{
    ARITHMETIC, Activation, BatchSize, Initialisation, Kernel, Loss, LossReduction, Network, Optimiser, Recipe, Rows,
    Schedule, TargetKind, Targets, Trainer, initialise,
};

/// A task of the vector.
struct Task {
    inputs: u32,
    hidden: &'static [u32],
    outputs: u32,
    rows: u32,
    step: u64,
    recipe: Recipe,
}

/// Adam by batches, and gradient descent by all rows. Written out: a default may become another, the vector may not.
const BY_BATCHES: Recipe = Recipe {
    loss: Loss::CrossEntropy,
    activation: Activation::Relu,
    optimiser: Optimiser::Adam,
    reduction: LossReduction::Mean,
    initialisation: Initialisation::He,
    eta: 0.01,
    eta_decay: 0.5,
    schedule: Schedule::Constant,
    schedule_steps: 1,
    warmup: 0,
    batch: BatchSize::Rows(NonZeroU32::MIN),
    epochs: 1,
    log_epsilon: 0.0,
    huber_delta: 1.0,
    label_smoothing: 0.0,
    dropout: 0.0,
    stop_loss_change: None,
    local_steps: None,
    momentum: 0.9,
    betas: [0.9, 0.999],
    epsilon: 1e-8,
    weight_decay: 0.0,
};
const BY_ALL_ROWS: Recipe = Recipe {
    activation: Activation::MaskedIdentity,
    optimiser: Optimiser::Sgd,
    reduction: LossReduction::Sum,
    initialisation: Initialisation::Small,
    batch: BatchSize::Full,
    log_epsilon: 1e-6,
    ..BY_BATCHES
};

/// Batches of half a panel, the last of three rows; two blocks, the second of two rows, until the loss hardly changes.
const SMALL: [Task; 2] = [
    Task {
        inputs: 5,
        hidden: &[9],
        outputs: 3,
        rows: 11,
        step: 2,
        recipe: Recipe { batch: BatchSize::Rows(NonZeroU32::new(4).unwrap()), epochs: 2, ..BY_BATCHES },
    },
    Task {
        inputs: 3,
        hidden: &[4, 2],
        outputs: 2,
        rows: 130,
        step: 0,
        recipe: Recipe { epochs: 5, stop_loss_change: Some(0.0001), ..BY_ALL_ROWS },
    },
];

/// Four panels, the last of one row; batches of three rows, which are few, and of one.
const LARGE: [Task; 2] = [
    Task {
        inputs: 257,
        hidden: &[17],
        outputs: 3,
        rows: 25,
        step: 0,
        recipe: Recipe {
            activation: Activation::Identity,
            reduction: LossReduction::Mean,
            initialisation: Initialisation::He,
            ..BY_ALL_ROWS
        },
    },
    Task {
        inputs: 3,
        hidden: &[257, 17],
        outputs: 3,
        rows: 4,
        step: 1,
        recipe: Recipe { batch: BatchSize::Rows(NonZeroU32::new(3).unwrap()), ..BY_BATCHES },
    },
];

/// Tanh in two hidden layers, with momentum; squared errors of two targets, with constants of Adam's that let its moments fade
/// fast; weights that decay.
const FURTHER: [Task; 2] = [
    Task {
        inputs: 4,
        hidden: &[6, 5],
        outputs: 3,
        rows: 11,
        step: 1,
        recipe: Recipe {
            activation: Activation::Tanh,
            optimiser: Optimiser::Momentum,
            eta: 0.05,
            batch: BatchSize::Rows(NonZeroU32::new(4).unwrap()),
            epochs: 3,
            momentum: 0.5,
            weight_decay: 0.25,
            ..BY_BATCHES
        },
    },
    Task {
        inputs: 5,
        hidden: &[7],
        outputs: 2,
        rows: 13,
        step: 0,
        recipe: Recipe {
            loss: Loss::SquaredError,
            activation: Activation::Tanh,
            reduction: LossReduction::Sum,
            batch: BatchSize::Full,
            epochs: 5,
            betas: [0.5, 0.9],
            epsilon: 0.001,
            weight_decay: 0.125,
            ..BY_BATCHES
        },
    },
];

/// The weights that the small tasks start from: of each way to draw them.
pub(super) fn weights(out: &mut Values) {
    for task in &SMALL {
        let _ = task.run(None, out);
    }
}

pub(super) fn small(kernel: Kernel, out: &mut Values) {
    train_each(&SMALL, kernel, out);
}

pub(super) fn large(kernel: Kernel, out: &mut Values) {
    train_each(&LARGE, kernel, out);
}

pub(super) fn further(kernel: Kernel, out: &mut Values) {
    train_each(&FURTHER, kernel, out);
}

#[inline(never)]
fn train_each(tasks: &[Task], kernel: Kernel, out: &mut Values) {
    let mut trainer = Trainer::new(kernel);
    for task in tasks {
        let _ = task.run(Some(&mut trainer), out);
    }
}

impl Task {
    /// Tells the update, the loss and the epochs that the task comes to, or, with no trainer, the weights that it starts
    /// from. What fails, as it may where all is wrong, tells less, which is another digest.
    #[inline(never)]
    fn run(&self, trainer: Option<&mut Trainer>, out: &mut Values) -> Option<()> {
        let network = Network::new(self.inputs, self.hidden, self.outputs).ok()?;
        let base = initialise(&network, self.recipe.initialisation, black_box(1));
        let mut tell = |values: &[f32]| values.iter().for_each(|value| out.f32(*value));
        let Some(trainer) = trainer else {
            tell(&base);
            return Some(());
        };
        let (mut values, mut labels, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..self.rows {
            labels.push(row % self.outputs);
            targets.extend((0..self.outputs).map(|target| ((row + target) % 7) as f32 / 4.0 - 0.75));
            for feature in 0..self.inputs {
                values.push(((row * self.inputs + feature) * 37 % 101) as f32 / 32.0 - 1.5);
            }
        }
        let targets = match self.recipe.loss.target_kind() {
            TargetKind::Labels => Targets::Labels { labels: labels.into(), classes: self.outputs },
            TargetKind::Values => Targets::Values { values: targets.into(), width: self.outputs },
        };
        let rows = Rows::new(self.inputs, values, targets).ok()?;
        let training =
            Training { arithmetic: ARITHMETIC, network, recipe: self.recipe, seed: 1, class_weights: Vec::new() };
        let done = trainer.train_into(&training, self.step, 0, &base, &rows, &mut Unwatched, &mut tell).ok()?;
        out.f64(done.loss);
        out.integer(done.epochs);
        Some(())
    }
}

/// Updates of two shards, each value with its shard's rows, and the weights that they are merged onto.
const UPDATES: [[(LittleEndianF32, u32); 2]; 5] = [
    of_both(0.1, 0.2),
    of_both(-1e-3, 2e-3),
    of_both(1e-20, -3.0),
    of_both(16_383.0, -16_383.0),
    of_both(-0.0, 5.421_011e-20),
];
const BASE: [f32; 5] = [1.0, 0.5, 0.0, -1.0, -0.0];

const fn of_both(first: f32, second: f32) -> [(LittleEndianF32, u32); 2] {
    [(first.to_le_bytes(), 3), (second.to_le_bytes(), 4)]
}

/// The mean of updates on a base: as it is defined and, in a program that merges, as its sums have it.
pub(super) fn merging(kernel: Kernel, out: &mut Values) {
    let updates = black_box(&UPDATES);
    let mut defined = BASE;
    for (value, updates) in defined.iter_mut().zip(updates) {
        *value = merge::defined(updates, *value);
        out.f32(*value);
    }
    #[cfg(feature = "coordinator")]
    for rows_max in [7, u64::MAX] {
        let mut merged = BASE.map(f32::to_le_bytes);
        let mut sum = merge::ExactSum::new(kernel, merged.len(), rows_max);
        for shard in 0..2 {
            // What fails leaves another mean.
            let _ = sum.add(&updates.map(|updates| updates[shard].0), updates[0][shard].1);
        }
        let _ = sum.mean_onto(&mut merged);
        for (defined, merged) in defined.into_iter().zip(merged) {
            out.other_way(defined, f32::from_le_bytes(merged));
        }
    }
    let _ = kernel;
}

//! Small jobs of many shapes, easy and noisy data and data of extreme values: what subnormal numbers are looked for in. Owns
//! the shapes and how their data is made; does not know what is measured of them.

use gradwire::model::random::{Purpose, Stream};
use gradwire::model::{
    ARITHMETIC, Activation, BatchSize, Initialisation, Loss, LossReduction, Network, Optimiser, Recipe, Rows,
    TargetKind, Targets, Training,
};
use std::num::NonZeroU32;

/// 2^-40, the least weight that is not 0.
const WEIGHT_LEAST: f32 = 9.094_947e-13;

#[derive(Clone, Copy, Debug)]
pub enum Data {
    /// Each class around a place of its own, far from the others: a network fits it perfectly.
    Easy,
    /// Labels that nothing follows from.
    Noisy,
    /// Every feature but one has the same value in all rows, some the smallest there is.
    Constant,
    /// Nine values of ten are 0, and the others of all sizes, down to subnormal ones.
    Sparse,
}

#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub sizes: &'static [u32],
    pub rows: u32,
    pub data: Data,
    pub recipe: Recipe,
}

/// The data.
pub fn rows(Shape { sizes, rows, data, recipe }: &Shape) -> Rows<'static> {
    let (features, classes) = (sizes[0], sizes[sizes.len() - 1]);
    let mut stream = Stream::new(Purpose::Split, 5, [features.into(), classes.into(), 0]);
    let mut values = Vec::new();
    let mut labels = Vec::new();
    for row in 0..*rows {
        let label = if matches!(data, Data::Noisy) { stream.below(classes) } else { row % classes };
        for feature in 0..features {
            let noise = stream.symmetric(1.0);
            values.push(match data {
                Data::Easy => noise + if (label + feature) % classes.min(7) == 0 { 4.0 } else { -1.0 },
                Data::Noisy => 2.0 * noise,
                Data::Constant if feature == 0 => label as f32 - classes as f32 / 2.0,
                Data::Constant => [0.0, 1.5, f32::MIN_POSITIVE, f32::from_bits(1)][feature as usize % 4],
                Data::Sparse if stream.below(10) > 0 => 0.0,
                Data::Sparse => noise * 10f32.powi(stream.below(90) as i32 / 2 - 44).max(f32::from_bits(9)) * 100.0,
            });
        }
        labels.push(label);
    }
    let targets = match recipe.loss.target_kind() {
        TargetKind::Labels => Targets::Labels { labels: labels.into(), classes },
        // From 0 to subnormal numbers.
        TargetKind::Values => {
            let of_row = |label: &u32| {
                (0..classes)
                    .map(|target| [0.0, 0.5, -1.0, 1e-13, 1e-40][((label + target) % 5) as usize])
                    .collect::<Vec<f32>>()
            };
            Targets::Values {
                values: (0..*rows).collect::<Vec<_>>().iter().flat_map(of_row).collect::<Vec<_>>().into(),
                width: classes,
            }
        }
    };
    Rows::new(features, values, targets).unwrap()
}

/// What is trained.
pub fn training(shape: &Shape) -> Training {
    let (classes, rest) = shape.sizes.split_last().unwrap();
    let network = Network::new(rest[0], &rest[1..], *classes).unwrap();
    Training {
        arithmetic: ARITHMETIC,
        network,
        recipe: shape.recipe.checked().unwrap(),
        seed: 1,
        class_weights: Vec::new(),
    }
}

/// The weights after a round of a single shard.
pub fn merged(base: &[f32], update: &[f32]) -> Vec<f32> {
    let sum = |(base, update): (&f32, &f32)| (f64::from(*base) + f64::from(*update)) as f32;
    base.iter().zip(update).map(sum).map(|weight| if weight.abs() < WEIGHT_LEAST { 0.0 } else { weight }).collect()
}

/// Batches of so many rows.
pub const fn by(rows: u32) -> BatchSize {
    BatchSize::Rows(NonZeroU32::new(rows).unwrap())
}

pub const ADAM: Recipe = Recipe { eta_decay: 0.995, epochs: 1, ..Recipe::DEFAULT };
pub const SGD: Recipe = Recipe { optimiser: Optimiser::Sgd, eta: 0.1, ..ADAM };
pub const SUM: Recipe = Recipe { reduction: LossReduction::Sum, eta: 0.02, batch: BatchSize::Full, ..SGD };
/// So fast that units die.
pub const DEADLY: Recipe = Recipe { eta: 0.3, batch: BatchSize::Rows(NonZeroU32::new(8).unwrap()), ..ADAM };
pub const CLASSIC: Recipe = Recipe { stop_loss_change: None, epochs: 2, eta: 1e-3, ..Recipe::CLASSIC };
pub const LINEAR: Recipe = Recipe { activation: Activation::Identity, ..SGD };
pub const TANH: Recipe = Recipe { activation: Activation::Tanh, ..ADAM };
pub const MOMENTUM: Recipe = Recipe { optimiser: Optimiser::Momentum, eta: 0.02, ..ADAM };
pub const ADAMW: Recipe = Recipe { weight_decay: 0.1, betas: [0.5, 0.9], ..ADAM };
pub const SQUARED: Recipe = Recipe { loss: Loss::SquaredError, eta: 0.003, ..ADAM };

const fn shape(sizes: &'static [u32], rows: u32, data: Data, recipe: Recipe) -> Shape {
    Shape { sizes, rows, data, recipe }
}

use Data::{Constant, Easy, Noisy, Sparse};

pub const NARROW: [Shape; 42] = [
    shape(&[5, 8, 6, 3], 24, Noisy, Recipe { dropout: 0.001, ..TANH }),
    shape(&[16, 20, 26], 52, Easy, Recipe { dropout: 0.99, ..SGD }),
    shape(&[5, 8, 3], 24, Noisy, Recipe { label_smoothing: 1e-6, ..ADAM }),
    shape(&[16, 20, 26], 52, Easy, Recipe { label_smoothing: 0.1, ..SGD }),
    shape(&[1, 2], 9, Easy, ADAM),
    shape(&[1, 1, 2], 9, Easy, SGD),
    shape(&[2, 2], 16, Noisy, SUM),
    shape(&[4, 3], 24, Easy, SUM),
    shape(&[4, 3], 24, Constant, ADAM),
    shape(&[8, 5], 30, Sparse, ADAM),
    shape(&[8, 5], 30, Sparse, LINEAR),
    shape(&[5, 8, 3], 24, Easy, DEADLY),
    shape(&[5, 8, 3], 24, Noisy, DEADLY),
    shape(&[5, 8, 3], 24, Constant, DEADLY),
    shape(&[5, 8, 3], 24, Sparse, DEADLY),
    shape(&[5, 8, 3], 24, Easy, CLASSIC),
    shape(&[5, 8, 3], 24, Noisy, CLASSIC),
    shape(&[16, 20, 26], 52, Easy, CLASSIC),
    shape(&[16, 20, 26], 52, Easy, Recipe { batch: BatchSize::Full, ..ADAM }),
    shape(&[16, 20, 26], 26, Noisy, Recipe { batch: by(1), ..SGD }),
    shape(&[16, 20, 26], 26, Sparse, Recipe { batch: by(7), ..ADAM }),
    shape(&[16, 64, 26], 26, Easy, ADAM),
    shape(&[16, 64, 26], 26, Easy, SUM),
    shape(&[16, 48, 26], 26, Easy, Recipe { batch: by(3), ..ADAM }),
    shape(&[20, 64], 64, Easy, ADAM),
    shape(&[20, 32, 64], 64, Easy, SGD),
    shape(&[64, 64], 30, Constant, SGD),
    shape(&[6, 9, 7, 4], 24, Easy, ADAM),
    shape(&[6, 9, 7, 4], 24, Noisy, LINEAR),
    shape(&[6, 9, 7, 5, 4], 24, Easy, DEADLY),
    shape(&[6, 9, 7, 6, 5, 4], 24, Easy, ADAM),
    shape(&[6, 12, 12, 12, 12, 12, 4], 24, Easy, ADAM),
    shape(&[6, 12, 12, 12, 12, 12, 4], 24, Noisy, SGD),
    shape(&[6, 12, 12, 12, 12, 12, 4], 24, Sparse, Recipe { initialisation: Initialisation::Small, ..SUM }),
    shape(&[6, 12, 12, 12, 12, 12, 4], 24, Easy, Recipe { activation: Activation::MaskedIdentity, eta: 0.003, ..ADAM }),
    shape(&[3, 60, 2], 12, Easy, Recipe { log_epsilon: 1e-6, ..ADAM }),
    shape(&[6, 9, 7, 4], 24, Easy, TANH),
    shape(&[6, 12, 12, 4], 24, Sparse, Recipe { weight_decay: 0.5, ..TANH }),
    shape(&[5, 8, 3], 24, Constant, MOMENTUM),
    shape(&[5, 8, 3], 24, Easy, ADAMW),
    shape(&[5, 8, 1], 24, Noisy, SQUARED),
    shape(&[6, 9, 7, 2], 24, Constant, Recipe { activation: Activation::Tanh, ..SQUARED }),
];

pub const WIDE: [Shape; 14] = [
    shape(&[16, 192, 26], 26, Easy, ADAM),
    shape(&[20, 100], 100, Easy, ADAM),
    shape(&[20, 100], 50, Noisy, Recipe { batch: BatchSize::Full, ..ADAM }),
    shape(&[16, 16, 300], 60, Easy, ADAM),
    shape(&[8, 2000], 16, Easy, ADAM),
    shape(&[8, 2000], 16, Easy, SUM),
    shape(&[4, 12, 1000], 20, Noisy, SGD),
    shape(&[784, 24, 10], 12, Sparse, SGD),
    shape(&[784, 24, 10], 12, Easy, ADAM),
    shape(&[1024, 3], 12, Easy, ADAM),
    shape(&[3, 1024, 2], 12, Easy, DEADLY),
    shape(&[100, 128, 96, 10], 12, Easy, ADAM),
    shape(&[100, 96, 96, 96, 10], 10, Noisy, SGD),
    shape(&[10, 80, 80, 80, 80, 80, 5], 10, Easy, ADAM),
];

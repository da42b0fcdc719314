//! The mathematics: network, recipe, local training, loss and metrics, kernels, merging, outer optimiser.
//!
//! Owns every floating-point operation that reaches a model's bits: arithmetic 2, defined to the last rounding in
//! docs/arithmetic.md. Does not know the network, threads, or any file but the model's own.

mod activation;
pub mod conformance;
mod dropout;
pub mod evaluate;
pub mod figures;
#[cfg(feature = "client")]
pub mod file;
mod gather;
mod gradient_steps;
pub mod helpers;
pub mod initialise;
mod input_layout;
pub mod kernel;
mod lanes;
mod layer;
mod loss;
pub mod merge;
mod metrics;
mod named;
pub mod network;
mod optimise;
pub mod outer;
mod pass;
pub mod random;
pub mod recipe;
pub mod rows;
#[cfg(feature = "client")]
pub mod scaling;
mod schedule;
mod thresholds;
pub mod train;
mod training;
mod tree;
mod vector;

pub use evaluate::{Evaluation, Evaluator, Predictor, evaluate, evaluation_bytes, predict};
pub use gradient_steps::{BlockRange, GradientSteps, StepBlocks, block_rows};
pub use helpers::Helpers;
pub use initialise::initialise;
pub use input_layout::{INDEX_COLUMNS_MAX, InputLayout, Inputs};
pub use kernel::Kernel;
pub use loss::{TargetKind, Targets, TargetsError};
pub use merge::{
    ExactSum, GradientSum, GradientSumError, IntegerRun, LittleEndianF32, LittleEndianWord, Median, Merge, MergeError,
    ReadUpdates, check_values,
};
pub use metrics::{METRICS_MAX, Metric, Metrics, Quality};
pub use network::{Layer, Network, NetworkError};
pub use outer::{Outer, OuterError, OuterOptimiser, OuterState, OuterStateError};
pub use recipe::{
    Activation, BatchSize, CLASS_WEIGHT_MAX, CLASS_WEIGHT_MIN, CLASS_WEIGHTS_MAX, Initialisation, Loss, LossReduction,
    Optimiser, Recipe, RecipeError,
};
pub use rows::Rows;
#[cfg(feature = "client")]
pub use schedule::decay_of_step;
pub use schedule::{ROUNDS_MAX, STEPS_MAX, Schedule};
pub use train::{Trained, Trainer, Watch};
pub use training::Training;

/// The number of the arithmetic that this program computes (docs/arithmetic.md).
pub const ARITHMETIC: u16 = 2;

//! The mathematics: network, recipe, local training, loss and metrics, kernels, exact sums.
//!
//! Owns every floating-point operation that reaches a model's bits: arithmetic 1, defined to the last rounding in
//! protocol.md. Does not know the network, threads, or any file but the model's own.

#[cfg(feature = "client")]
pub mod file;
pub mod network;
pub mod random;
pub mod recipe;
#[cfg(feature = "client")]
pub mod scaling;

pub use network::{Layer, Network, NetworkError};
pub use recipe::{Activation, BatchSize, Initialisation, LossReduction, Optimiser, Recipe, RecipeError};

/// The number of the arithmetic that this program computes (protocol.md, "Arithmetic 1").
pub const ARITHMETIC: u16 = 1;

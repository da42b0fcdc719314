//! All that the mathematics of a task depends on, besides its base weights, its rows and its place in the job.

use super::network::Network;
use super::recipe::Recipe;

/// Rounds of a job, at most: the steps of which the learning rate is defined.
pub const ROUNDS_MAX: u32 = 1_000_000;
/// Steps of a job, at most: a line of each is kept.
pub const STEPS_MAX: u64 = 1 << 24;

/// What a node must know to train any task of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// The arithmetic that the result is promised in (docs/arithmetic.md).
    pub arithmetic: u16,
    /// The shape.
    pub network: Network,
    /// The local mathematics.
    pub recipe: Recipe,
    /// Every random choice of the job follows from it.
    pub seed: u64,
}

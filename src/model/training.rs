//! All that the mathematics of a task depends on, besides its base weights, its rows and its place in the job.

use super::network::Network;
use super::recipe::{CLASS_WEIGHT_MAX, CLASS_WEIGHT_MIN, CLASS_WEIGHTS_MAX, Loss, Recipe, RecipeError};

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
    /// By what the gradient of a row of each class is multiplied: none, or one for each class. The loss is not.
    pub class_weights: Vec<f32>,
}

impl Training {
    /// That the weights of classes are none, or one for each output, within their limits, of a job that tells classes apart.
    pub fn check_class_weights(&self) -> Result<(), RecipeError> {
        let (got, outputs) = (self.class_weights.len(), self.network.outputs());
        if got == 0 {
            return Ok(());
        }
        if self.recipe.loss != Loss::CrossEntropy {
            return Err(RecipeError::ClassWeightsOfNumbers);
        }
        if got != outputs as usize || outputs > CLASS_WEIGHTS_MAX {
            return Err(RecipeError::ClassWeights { got, outputs });
        }
        match self.class_weights.iter().find(|weight| !(CLASS_WEIGHT_MIN..=CLASS_WEIGHT_MAX).contains(*weight)) {
            Some(&got) => Err(RecipeError::ClassWeight { got }),
            None => Ok(()),
        }
    }
}

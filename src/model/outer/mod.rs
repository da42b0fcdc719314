//! What moves the weights from round to round: the merged update as it is, or an optimiser at the coordinator that takes it
//! for a gradient (Reddi et al. 2021, "Adaptive Federated Optimization"). Owns the choice, its values and their limits; does
//! not know how updates are merged, or who keeps the state.
//!
//! | file | owns |
//! |---|---|
//! | `rate` | the rate of a step |
//! | `state` | what the optimiser remembers, and a step of it |

mod rate;
mod state;

use std::fmt;

use super::named::named;
use super::recipe::{Recipe, RecipeError};
use super::schedule::Schedule;

pub use state::{OuterState, OuterStateError};

/// A norm to clip to, at least: what is shorter is nothing to a weight.
pub const CLIP_MIN: f32 = 1e-12;

/// How weights follow a round's merged update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum OuterOptimiser {
    /// It is added to them.
    #[default]
    Average = 1,
    /// Gradient descent with momentum (Polyak 1964).
    Momentum = 2,
    /// The same with Nesterov's momentum (Sutskever et al. 2013).
    Nesterov = 3,
    /// Adam, with a weight decay AdamW.
    Adam = 4,
}

impl OuterOptimiser {
    /// All of them, in the order of their numbers, from 1 on.
    pub const ALL: [OuterOptimiser; 4] =
        [OuterOptimiser::Average, OuterOptimiser::Momentum, OuterOptimiser::Nesterov, OuterOptimiser::Adam];

    /// Vectors, each as long as the parameters, that it remembers from one round to the next.
    pub fn state_vectors(self) -> usize {
        match self {
            OuterOptimiser::Average => 0,
            // The velocity.
            OuterOptimiser::Momentum | OuterOptimiser::Nesterov => 1,
            // The first and the second moments.
            OuterOptimiser::Adam => 2,
        }
    }
}

named!(OuterOptimiser: Average "average", Momentum "momentum", Nesterov "nesterov", Adam "adam");

/// Everything that fixes how weights follow the merged updates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outer {
    /// The optimiser. Where it is [`OuterOptimiser::Average`], nothing else here has a part in the job.
    pub optimiser: OuterOptimiser,
    /// Learning rate, at its height.
    pub eta: f32,
    /// A factor on it from step to step, once it has risen.
    pub eta_decay: f32,
    /// How much of the velocity is left from one round to the next, with an optimiser that has one.
    pub momentum: f32,
    /// Adam's beta 1 and beta 2.
    pub betas: [f64; 2],
    /// Adam's epsilon.
    pub epsilon: f32,
    /// Before each step every parameter loses this part of itself, times the learning rate.
    pub weight_decay: f32,
    /// How the learning rate goes over the job's steps.
    pub schedule: Schedule,
    /// Steps in which it first rises.
    pub warmup: u32,
    /// The merged update is made no longer than this, as a vector of all parameters.
    pub clip: Option<f32>,
}

impl Default for Outer {
    fn default() -> Outer {
        Outer::AVERAGE
    }
}

impl Outer {
    /// The merged update is added as it is.
    pub const AVERAGE: Outer = Outer {
        optimiser: OuterOptimiser::Average,
        eta: 1.0,
        eta_decay: 1.0,
        momentum: 0.9,
        betas: [0.9, 0.999],
        epsilon: 1e-8,
        weight_decay: 0.0,
        schedule: Schedule::Constant,
        warmup: 0,
        clip: None,
    };

    /// Whether the merged update is added as it is.
    pub fn is_average(&self) -> bool {
        self.optimiser == OuterOptimiser::Average
    }

    /// The values themselves, if each lies within its limits: those that a task's optimiser has too are a recipe's.
    pub fn checked(self) -> Result<Outer, OuterError> {
        let Outer { eta, eta_decay, momentum, betas, epsilon, weight_decay, warmup, .. } = self;
        let of_tasks = Recipe { eta, eta_decay, momentum, betas, epsilon, weight_decay, warmup, ..Recipe::DEFAULT };
        of_tasks.checked().map_err(OuterError::Optimiser)?;
        match self.clip {
            Some(got) if !(got.is_finite() && got >= CLIP_MIN) => Err(OuterError::Clip { got }),
            _ => Ok(self),
        }
    }
}

/// Why values make no outer optimiser.
#[derive(Clone, Debug, PartialEq)]
pub enum OuterError {
    /// One that no task's optimiser may have either.
    Optimiser(RecipeError),
    /// Below [`CLIP_MIN`], or not finite.
    Clip {
        /// Norm asked for.
        got: f32,
    },
}

impl fmt::Display for OuterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Optimiser(error) => write!(f, "of the outer optimiser, {error}"),
            Self::Clip { got } => write!(f, "the norm to clip to is a number from {CLIP_MIN:e} up, not {got:e}"),
        }
    }
}

impl std::error::Error for OuterError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_outside_the_limits_are_refused() {
        let refused = |change: fn(&mut Outer)| {
            let mut outer = Outer { optimiser: OuterOptimiser::Adam, ..Outer::AVERAGE };
            change(&mut outer);
            outer.checked().unwrap_err()
        };
        assert!(Outer::AVERAGE.checked().is_ok());
        assert!(Outer { clip: Some(CLIP_MIN), momentum: 0.0, ..Outer::AVERAGE }.checked().is_ok());
        assert!(matches!(refused(|outer| outer.eta = 0.0), OuterError::Optimiser(RecipeError::Eta { .. })));
        assert!(matches!(refused(|outer| outer.eta = f32::INFINITY), OuterError::Optimiser(RecipeError::Eta { .. })));
        assert!(matches!(refused(|outer| outer.momentum = 1.0), OuterError::Optimiser(RecipeError::Momentum { .. })));
        assert!(matches!(refused(|outer| outer.eta_decay = 1.5), OuterError::Optimiser(RecipeError::EtaDecay { .. })));
        assert!(matches!(refused(|outer| outer.warmup = u32::MAX), OuterError::Optimiser(RecipeError::Warmup { .. })));
        assert!(matches!(refused(|outer| outer.betas[1] = 0.05), OuterError::Optimiser(RecipeError::Beta { .. })));
        assert!(matches!(
            refused(|outer| outer.epsilon = f32::NAN),
            OuterError::Optimiser(RecipeError::Epsilon { .. })
        ));
        assert!(matches!(
            refused(|outer| outer.weight_decay = 1e-13),
            OuterError::Optimiser(RecipeError::WeightDecay { .. })
        ));
        assert!(matches!(refused(|outer| outer.clip = Some(0.0)), OuterError::Clip { .. }));
        assert!(matches!(refused(|outer| outer.clip = Some(f32::NAN)), OuterError::Clip { .. }));
    }
}

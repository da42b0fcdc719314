//! Everything that fixes the local mathematics. Owns the recipe's values and their limits; does not compute.

use std::fmt;
use std::num::NonZeroU32;

use super::named::named;
use super::schedule::{STEPS_MAX, Schedule};

/// Epochs of a task, at most.
pub const EPOCHS_MAX: u32 = 1_000_000;
/// Rows of a mini-batch, at most.
pub const BATCH_ROWS_MAX: u32 = 1 << 24;

/// Epsilon of a loss that has one, at least: 2^-60. A smaller one is below what f32 keeps of any sum with it.
pub const LOG_EPSILON_MIN: f32 = 1.0 / (1u64 << 60) as f32;

/// A factor by which what an optimiser remembers fades from update to update: 0, or at least this. What fades faster would
/// leave the numbers that training may have (docs/arithmetic.md, section 2).
pub const FADING_MIN: f64 = 0.1;
/// Such a factor, at most: nearer to 1, what the least gradient adds would be too small.
pub const FADING_MAX: f64 = 0.9999;
/// Local steps of a task, at most.
pub const LOCAL_STEPS_MAX: u32 = 65_536;
/// Adam's epsilon, at least.
pub const EPSILON_MIN: f32 = 1e-12;
/// Where Huber's loss becomes a line, at least and at most.
pub const HUBER_DELTA_MIN: f32 = 1e-6;
/// See [`HUBER_DELTA_MIN`].
pub const HUBER_DELTA_MAX: f32 = 1e6;
/// A share of outputs to drop, at least and at most.
pub const DROPOUT_MIN: f32 = 0.001;
/// See [`DROPOUT_MIN`].
pub const DROPOUT_MAX: f32 = 0.99;
/// A label smoothing that is one, at least: the part of each of 65,535 classes is no threshold's matter.
pub const LABEL_SMOOTHING_MIN: f32 = 1e-6;
/// A weight decay that is one, at least: with any rate that trains, its product is no subnormal number.
pub const WEIGHT_DECAY_MIN: f32 = 1e-12;
/// Weights of classes, at most: beside the longest list of shards and the longest notes they fit a frame.
pub const CLASS_WEIGHTS_MAX: u32 = 32_768;
/// A weight of a class, at least: its product with the least derivative is no subnormal number.
pub const CLASS_WEIGHT_MIN: f32 = 1e-9;
/// A weight of a class, at most.
pub const CLASS_WEIGHT_MAX: f32 = 1e9;

/// What a hidden layer does to its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Activation {
    /// `if x > 0 { x } else { 0 }`.
    Relu = 1,
    /// Nothing.
    Identity = 2,
    /// Nothing on the way forward; on the way back, no gradient passes where the sum is below zero. The older
    /// literature's `classic` programs do this.
    MaskedIdentity = 3,
    /// The hyperbolic tangent.
    Tanh = 4,
}

impl Activation {
    /// All of them, in the order of their numbers, from 1 on.
    pub const ALL: [Activation; 4] =
        [Activation::Relu, Activation::Identity, Activation::MaskedIdentity, Activation::Tanh];
}

/// How parameters follow the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Optimiser {
    /// Stochastic gradient descent, no momentum.
    Sgd = 1,
    /// Adam (Kingma and Ba 2015), with a weight decay AdamW (Loshchilov and Hutter 2019); moments start at zero in every task.
    Adam = 2,
    /// Gradient descent with momentum (Polyak 1964); the velocity starts at zero in every task.
    Momentum = 3,
}

impl Optimiser {
    /// All of them, in the order of their numbers, from 1 on.
    pub const ALL: [Optimiser; 3] = [Optimiser::Sgd, Optimiser::Adam, Optimiser::Momentum];
}

/// What the training makes small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Loss {
    /// Of the softmax of the outputs, which are as many as there are classes, with the class of a row.
    CrossEntropy = 1,
    /// Half the square of the distance of the outputs from a row's numbers, which are as many.
    SquaredError = 2,
    /// The same up to some distance of an output from its number, and from there on a straight line (Huber 1964): a row far off
    /// pulls no harder than one at that distance.
    Huber = 3,
}

impl Loss {
    /// All of them, in the order of their numbers, from 1 on.
    pub const ALL: [Loss; 3] = [Loss::CrossEntropy, Loss::SquaredError, Loss::Huber];
}

/// What a batch's loss is, and with it the scale of its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LossReduction {
    /// The mean over the batch's rows.
    Mean = 1,
    /// The sum over the batch's rows.
    Sum = 2,
}

impl LossReduction {
    /// All of them, in the order of their numbers, from 1 on.
    pub const ALL: [LossReduction; 2] = [LossReduction::Mean, LossReduction::Sum];
}

/// Where the weights of round 0 come from; biases are drawn too with [`Initialisation::Small`], zero with `He`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Initialisation {
    /// Uniform in ±sqrt(6 / inputs) of the layer (He et al. 2015).
    He = 1,
    /// Uniform in ±0.01, biases too.
    Small = 2,
}

impl Initialisation {
    /// All of them, in the order of their numbers, from 1 on.
    pub const ALL: [Initialisation; 2] = [Initialisation::He, Initialisation::Small];
}

named!(Activation: Relu "relu", Identity "identity", MaskedIdentity "masked_identity", Tanh "tanh");
named!(Loss: CrossEntropy "cross_entropy", SquaredError "squared_error", Huber "huber");
named!(Optimiser: Sgd "sgd", Adam "adam", Momentum "momentum");

/// Rows behind one update of the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSize {
    /// The whole shard, in its own order.
    Full,
    /// So many rows, shuffled anew each epoch; the last batch of an epoch may be smaller.
    Rows(NonZeroU32),
}

/// Everything that fixes the local mathematics but the network and the seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Loss of a row.
    pub loss: Loss,
    /// Activation of the hidden layers.
    pub activation: Activation,
    /// Optimiser.
    pub optimiser: Optimiser,
    /// Loss of a batch.
    pub reduction: LossReduction,
    /// Initial weights.
    pub initialisation: Initialisation,
    /// Learning rate of round 0.
    pub eta: f32,
    /// Factor on the learning rate from one round to the next.
    pub eta_decay: f32,
    /// How it goes over the steps besides.
    pub schedule: Schedule,
    /// The steps that it goes over, where it is not constant.
    pub schedule_steps: u32,
    /// Steps in which the learning rate first rises.
    pub warmup: u32,
    /// Batch size.
    pub batch: BatchSize,
    /// Passes over the shard in one task, where that is not [`Recipe::local_steps`]' batches.
    pub epochs: u32,
    /// Batches that a shard is trained with between two merges. With one of them, gradients are merged: the batch is the whole
    /// job's, and `optimiser` and what belongs to it have no part. None: a task is epochs.
    pub local_steps: Option<u32>,
    /// A row's loss is `-ln(p + log_epsilon)`, p the probability of its label. Has no part in the gradient.
    pub log_epsilon: f32,
    /// With [`Loss::Huber`]: the distance from which on it is a line, in the standard deviations of the targets.
    pub huber_delta: f32,
    /// With [`Loss::CrossEntropy`]: the part of a row's label that is spread over all classes in training.
    pub label_smoothing: f32,
    /// The share of the outputs of hidden layers that count as 0 while a row trains, drawn anew in each pass.
    pub dropout: f32,
    /// With a full batch: stop once an epoch changes the loss by this much or less.
    pub stop_loss_change: Option<f32>,
    /// How much of the velocity is left from one update to the next, with [`Optimiser::Momentum`].
    pub momentum: f32,
    /// Adam's beta 1 and beta 2: how much of the moments is left from one update to the next.
    pub betas: [f64; 2],
    /// Adam's epsilon, beside the root of the second moment.
    pub epsilon: f32,
    /// Before each update every parameter loses this part of itself, times the learning rate.
    pub weight_decay: f32,
}

impl Recipe {
    /// Whether gradients are merged, block by block, and not updates.
    pub fn merges_gradients(&self) -> bool {
        self.local_steps == Some(1)
    }

    /// Good on tabular data out of the box: ReLU, Adam, mini-batches, a learning rate that falls over the rounds.
    pub const DEFAULT: Recipe = Recipe {
        loss: Loss::CrossEntropy,
        activation: Activation::Relu,
        optimiser: Optimiser::Adam,
        reduction: LossReduction::Mean,
        initialisation: Initialisation::He,
        eta: 0.01,
        eta_decay: 0.94,
        schedule: Schedule::Constant,
        schedule_steps: 1,
        warmup: 0,
        batch: BatchSize::Rows(NonZeroU32::new(32).unwrap()),
        epochs: 3,
        local_steps: None,
        log_epsilon: 0.0,
        huber_delta: 1.0,
        label_smoothing: 0.0,
        dropout: 0.0,
        stop_loss_change: None,
        momentum: 0.9,
        betas: [0.9, 0.999],
        epsilon: 1e-8,
        weight_decay: 0.0,
    };

    /// The older literature's recipe: full batch, summed loss, plain gradient descent, early stop.
    pub const CLASSIC: Recipe = Recipe {
        activation: Activation::MaskedIdentity,
        optimiser: Optimiser::Sgd,
        reduction: LossReduction::Sum,
        initialisation: Initialisation::Small,
        eta: 1e-4,
        eta_decay: 1.0,
        batch: BatchSize::Full,
        epochs: 15,
        log_epsilon: 1e-6,
        stop_loss_change: Some(0.2),
        ..Recipe::DEFAULT
    };

    /// The recipe itself, if every value lies within its limits.
    pub fn checked(self) -> Result<Recipe, RecipeError> {
        if !(self.eta.is_finite() && self.eta > 0.0) {
            return Err(RecipeError::Eta { got: self.eta });
        }
        if !(self.eta_decay > 0.0 && self.eta_decay <= 1.0) {
            return Err(RecipeError::EtaDecay { got: self.eta_decay });
        }
        if !(1..=STEPS_MAX).contains(&self.schedule_steps.into()) {
            return Err(RecipeError::ScheduleSteps { got: self.schedule_steps });
        }
        if u64::from(self.warmup) > STEPS_MAX {
            return Err(RecipeError::Warmup { got: self.warmup });
        }
        if self.epochs == 0 || self.epochs > EPOCHS_MAX {
            return Err(RecipeError::Epochs { got: self.epochs });
        }
        if let Some(steps) = self.local_steps {
            if steps == 0 || steps > LOCAL_STEPS_MAX {
                return Err(RecipeError::LocalSteps { got: steps });
            }
            if self.batch == BatchSize::Full {
                return Err(RecipeError::LocalStepsNeedBatches);
            }
            if self.epochs != 1 {
                return Err(RecipeError::LocalStepsAndEpochs { got: self.epochs });
            }
        }
        if let BatchSize::Rows(rows) = self.batch
            && rows.get() > BATCH_ROWS_MAX
        {
            return Err(RecipeError::Batch { got: rows.get() });
        }
        let is_none = self.log_epsilon == 0.0;
        if !(is_none || self.log_epsilon >= LOG_EPSILON_MIN && self.log_epsilon < 1.0) {
            return Err(RecipeError::LogEpsilon { got: self.log_epsilon });
        }
        if !(HUBER_DELTA_MIN..=HUBER_DELTA_MAX).contains(&self.huber_delta) {
            return Err(RecipeError::HuberDelta { got: self.huber_delta });
        }
        let smoothing = self.label_smoothing;
        if !(smoothing == 0.0 || (LABEL_SMOOTHING_MIN..1.0).contains(&smoothing)) {
            return Err(RecipeError::LabelSmoothing { got: smoothing });
        }
        if smoothing != 0.0 && self.loss != Loss::CrossEntropy {
            return Err(RecipeError::LabelSmoothingOfNumbers);
        }
        let dropout = self.dropout;
        if !(dropout == 0.0 || (DROPOUT_MIN..=DROPOUT_MAX).contains(&dropout)) {
            return Err(RecipeError::Dropout { got: dropout });
        }
        if dropout != 0.0 && self.stop_loss_change.is_some() {
            return Err(RecipeError::DropoutAndStop);
        }
        if let Some(change) = self.stop_loss_change {
            if !(change >= 0.0 && change.is_finite()) {
                return Err(RecipeError::StopLossChange { got: change });
            }
            if self.batch != BatchSize::Full {
                return Err(RecipeError::StopNeedsFullBatch);
            }
        }
        if !is_fading(self.momentum.into()) {
            return Err(RecipeError::Momentum { got: self.momentum });
        }
        if let Some(&got) = self.betas.iter().find(|beta| !is_fading(**beta)) {
            return Err(RecipeError::Beta { got });
        }
        if !(self.epsilon >= EPSILON_MIN && self.epsilon <= 1.0) {
            return Err(RecipeError::Epsilon { got: self.epsilon });
        }
        let decay = self.weight_decay;
        if !(decay == 0.0 || (WEIGHT_DECAY_MIN..1.0).contains(&decay)) {
            return Err(RecipeError::WeightDecay { got: decay });
        }
        Ok(self)
    }
}

/// Whether what is multiplied by this at each update fades as training can bear.
fn is_fading(factor: f64) -> bool {
    factor == 0.0 || (FADING_MIN..=FADING_MAX).contains(&factor)
}

/// Why values make no recipe.
#[derive(Clone, Debug, PartialEq)]
pub enum RecipeError {
    /// Not a positive number.
    Eta {
        /// Learning rate asked for.
        got: f32,
    },
    /// Not above 0 and at most 1.
    EtaDecay {
        /// Factor asked for.
        got: f32,
    },
    /// None, or more than [`STEPS_MAX`].
    ScheduleSteps {
        /// Steps asked for.
        got: u32,
    },
    /// More than [`STEPS_MAX`].
    Warmup {
        /// Steps asked for.
        got: u32,
    },
    /// None, or more than [`EPOCHS_MAX`].
    Epochs {
        /// Epochs asked for.
        got: u32,
    },
    /// None, or more than [`LOCAL_STEPS_MAX`].
    LocalSteps {
        /// Batches asked for.
        got: u32,
    },
    /// Local steps are batches: they need a size.
    LocalStepsNeedBatches,
    /// A task is either epochs or local steps.
    LocalStepsAndEpochs {
        /// Epochs asked for.
        got: u32,
    },
    /// More than [`BATCH_ROWS_MAX`].
    Batch {
        /// Rows asked for.
        got: u32,
    },
    /// Neither 0 nor from [`LOG_EPSILON_MIN`] below 1.
    LogEpsilon {
        /// Value asked for.
        got: f32,
    },
    /// Not from [`HUBER_DELTA_MIN`] to [`HUBER_DELTA_MAX`].
    HuberDelta {
        /// Value asked for.
        got: f32,
    },
    /// Neither 0 nor from [`LABEL_SMOOTHING_MIN`] below 1.
    LabelSmoothing {
        /// Value asked for.
        got: f32,
    },
    /// Neither 0 nor from [`DROPOUT_MIN`] to [`DROPOUT_MAX`].
    Dropout {
        /// Share asked for.
        got: f32,
    },
    /// Losses of which each drops others are not compared.
    DropoutAndStop,
    /// Labels are smoothed, and numbers are fitted.
    LabelSmoothingOfNumbers,
    /// Negative or not finite.
    StopLossChange {
        /// Change asked for.
        got: f32,
    },
    /// Neither 0 nor from [`FADING_MIN`] to [`FADING_MAX`].
    Momentum {
        /// Value asked for.
        got: f32,
    },
    /// Neither 0 nor from [`FADING_MIN`] to [`FADING_MAX`].
    Beta {
        /// Value asked for.
        got: f64,
    },
    /// Not from [`EPSILON_MIN`] to 1.
    Epsilon {
        /// Value asked for.
        got: f32,
    },
    /// Neither 0 nor from [`WEIGHT_DECAY_MIN`] below 1.
    WeightDecay {
        /// Value asked for.
        got: f32,
    },
    /// Stopping by loss compares whole passes: it needs a full batch.
    StopNeedsFullBatch,
    /// Classes have weights, and numbers are fitted.
    ClassWeightsOfNumbers,
    /// Not as many as there are classes, or more than [`CLASS_WEIGHTS_MAX`].
    ClassWeights {
        /// Weights given.
        got: usize,
        /// Classes.
        outputs: u32,
    },
    /// Not from [`CLASS_WEIGHT_MIN`] to [`CLASS_WEIGHT_MAX`].
    ClassWeight {
        /// Weight given.
        got: f32,
    },
}

impl RecipeError {
    /// The value, and the limit that it passes, where they are whole numbers; else zeros.
    pub fn got_and_limit(&self) -> (u64, u64) {
        match *self {
            Self::ScheduleSteps { got } => (got.into(), u64::from(got).clamp(1, STEPS_MAX)),
            Self::Warmup { got } => (got.into(), STEPS_MAX),
            Self::Epochs { got } => (got.into(), got.clamp(1, EPOCHS_MAX).into()),
            Self::LocalSteps { got } => (got.into(), got.clamp(1, LOCAL_STEPS_MAX).into()),
            Self::LocalStepsAndEpochs { got } => (got.into(), 1),
            Self::Batch { got } => (got.into(), got.clamp(1, BATCH_ROWS_MAX).into()),
            Self::Eta { .. } | Self::EtaDecay { .. } | Self::LogEpsilon { .. } | Self::StopLossChange { .. } => (0, 0),
            Self::Momentum { .. } | Self::Beta { .. } | Self::Epsilon { .. } | Self::WeightDecay { .. } => (0, 0),
            Self::ClassWeights { got, outputs } => (got as u64, outputs.min(CLASS_WEIGHTS_MAX).into()),
            Self::StopNeedsFullBatch | Self::LocalStepsNeedBatches => (0, 0),
            Self::ClassWeightsOfNumbers | Self::ClassWeight { .. } | Self::HuberDelta { .. } => (0, 0),
            Self::LabelSmoothing { .. } | Self::LabelSmoothingOfNumbers => (0, 0),
            Self::Dropout { .. } | Self::DropoutAndStop => (0, 0),
        }
    }
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eta { got } => write!(f, "the learning rate (eta) is a number above 0, not {got}"),
            Self::EtaDecay { got } => write!(f, "the learning rate's decay is above 0 and at most 1, not {got}"),
            Self::ScheduleSteps { got } => write!(f, "a schedule goes over 1 to {STEPS_MAX} steps, not {got}"),
            Self::Warmup { got } => write!(f, "a learning rate rises in at most {STEPS_MAX} steps, not in {got}"),
            Self::Epochs { got } => write!(f, "a task has 1 to {EPOCHS_MAX} epochs, not {got}"),
            Self::LocalSteps { got } => write!(f, "a task has 1 to {LOCAL_STEPS_MAX} local steps, not {got}"),
            Self::LocalStepsNeedBatches => f.write_str("local steps are batches: give their size (batch)"),
            Self::LocalStepsAndEpochs { got } => {
                write!(f, "a task is made of local steps or of {got} epochs, not of both")
            }
            Self::Batch { got } => write!(f, "a batch has 1 to {BATCH_ROWS_MAX} rows, not {got}"),
            Self::LogEpsilon { got } => {
                write!(f, "the loss's epsilon is 0, or at least {LOG_EPSILON_MIN:e} and below 1, not {got:e}")
            }
            Self::HuberDelta { got } => write!(
                f,
                "Huber's loss is a line from a distance of {HUBER_DELTA_MIN:e} to {HUBER_DELTA_MAX:e} on, not of {got:e}"
            ),
            Self::LabelSmoothing { got } => write!(
                f,
                "the part of a label that is spread over all classes is 0, or at least {LABEL_SMOOTHING_MIN:e} and below 1, not {got:e}"
            ),
            Self::Dropout { got } => {
                write!(f, "the share of outputs to drop is 0, or from {DROPOUT_MIN} to {DROPOUT_MAX}, not {got}")
            }
            Self::DropoutAndStop => f.write_str(
                "stopping by the loss's change compares losses, and dropout makes each another: leave one out",
            ),
            Self::LabelSmoothingOfNumbers => f.write_str("labels are smoothed, and this job is to fit numbers"),
            Self::StopLossChange { got } => write!(f, "the loss change to stop at is 0 or more, not {got}"),
            Self::Momentum { got } => write!(f, "the momentum is 0, or from {FADING_MIN} to {FADING_MAX}, not {got}"),
            Self::Beta { got } => write!(f, "a beta is 0, or from {FADING_MIN} to {FADING_MAX}, not {got}"),
            Self::Epsilon { got } => write!(f, "the optimiser's epsilon is from {EPSILON_MIN:e} to 1, not {got:e}"),
            Self::WeightDecay { got } => {
                write!(f, "the weight decay is 0, or at least {WEIGHT_DECAY_MIN:e} and below 1, not {got:e}")
            }
            Self::StopNeedsFullBatch => f.write_str("stopping by the loss's change needs full batches"),
            Self::ClassWeightsOfNumbers => f.write_str("classes have weights, and this job is to fit numbers"),
            Self::ClassWeights { got, outputs } => write!(
                f,
                "{got} weights of classes do not go with {outputs} classes: one for each, of at most {CLASS_WEIGHTS_MAX}"
            ),
            Self::ClassWeight { got } => {
                write!(f, "a class weighs from {CLASS_WEIGHT_MIN:e} to {CLASS_WEIGHT_MAX:e}, not {got:e}")
            }
        }
    }
}

impl std::error::Error for RecipeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_named_recipes_are_within_the_limits() {
        assert!(Recipe::DEFAULT.checked().is_ok());
        assert!(Recipe::CLASSIC.checked().is_ok());
    }

    #[test]
    fn values_outside_the_limits_are_refused() {
        let refused = |change: fn(&mut Recipe)| {
            let mut recipe = Recipe::CLASSIC;
            change(&mut recipe);
            recipe.checked().unwrap_err()
        };
        assert!(matches!(refused(|r| r.eta = f32::NAN), RecipeError::Eta { .. }));
        assert!(matches!(refused(|r| r.eta = 0.0), RecipeError::Eta { .. }));
        assert!(matches!(refused(|r| r.eta_decay = 1.5), RecipeError::EtaDecay { .. }));
        for (steps, is_taken) in [(0, false), (1, true), (STEPS_MAX as u32, true), (STEPS_MAX as u32 + 1, false)] {
            let schedule = Schedule::FlatCosine;
            let recipe = Recipe { schedule, schedule_steps: steps, ..Recipe::DEFAULT };
            assert_eq!(recipe.checked().is_ok(), is_taken, "{steps}");
            assert_eq!(Recipe { warmup: steps, ..Recipe::DEFAULT }.checked().is_ok(), is_taken || steps == 0);
        }
        assert!(matches!(refused(|r| r.epochs = 0), RecipeError::Epochs { .. }));
        for log_epsilon in [-1.0, 1e-40, 1.0, f32::NAN] {
            let recipe = Recipe { log_epsilon, ..Recipe::CLASSIC };
            assert!(matches!(recipe.checked(), Err(RecipeError::LogEpsilon { .. })), "{log_epsilon}");
        }
        assert!(Recipe { log_epsilon: LOG_EPSILON_MIN, ..Recipe::CLASSIC }.checked().is_ok());
        assert!(matches!(refused(|r| r.stop_loss_change = Some(f32::INFINITY)), RecipeError::StopLossChange { .. }));
        for factor in [-0.1, 0.05, 0.999_99, 1.0, f64::NAN] {
            for betas in [[factor, 0.999], [0.9, factor]] {
                let recipe = Recipe { betas, ..Recipe::DEFAULT };
                assert!(matches!(recipe.checked(), Err(RecipeError::Beta { .. })), "{factor}");
            }
        }
        assert!(Recipe { betas: [0.0, FADING_MIN], ..Recipe::DEFAULT }.checked().is_ok());
        for delta in [0.0, -1.0, 1e-7, 1e7, f32::NAN] {
            let recipe = Recipe { huber_delta: delta, ..Recipe::DEFAULT };
            assert!(matches!(recipe.checked(), Err(RecipeError::HuberDelta { .. })), "{delta}");
        }
        for smoothing in [-0.1, 1e-7, 1.0, f32::NAN] {
            let recipe = Recipe { label_smoothing: smoothing, ..Recipe::DEFAULT };
            assert!(matches!(recipe.checked(), Err(RecipeError::LabelSmoothing { .. })), "{smoothing}");
        }
        let smoothed = Recipe { label_smoothing: LABEL_SMOOTHING_MIN, ..Recipe::DEFAULT };
        assert!(smoothed.checked().is_ok());
        for dropout in [-0.1, 0.0001, 0.995, 1.0, f32::NAN] {
            let recipe = Recipe { dropout, ..Recipe::DEFAULT };
            assert!(matches!(recipe.checked(), Err(RecipeError::Dropout { .. })), "{dropout}");
        }
        assert!(Recipe { dropout: DROPOUT_MAX, ..Recipe::DEFAULT }.checked().is_ok());
        assert_eq!(refused(|r| r.dropout = 0.5), RecipeError::DropoutAndStop);
        let of_numbers = Recipe { loss: Loss::Huber, ..smoothed };
        assert_eq!(of_numbers.checked(), Err(RecipeError::LabelSmoothingOfNumbers));
        assert!(matches!(refused(|r| r.momentum = 1.0), RecipeError::Momentum { .. }));
        assert!(matches!(refused(|r| r.epsilon = 1e-13), RecipeError::Epsilon { .. }));
        assert!(matches!(refused(|r| r.weight_decay = 1e-13), RecipeError::WeightDecay { .. }));
        assert!(matches!(refused(|r| r.weight_decay = 1.0), RecipeError::WeightDecay { .. }));
        assert_eq!(refused(|r| r.batch = BatchSize::Rows(NonZeroU32::MIN)), RecipeError::StopNeedsFullBatch);
    }
}

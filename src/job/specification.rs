//! What a job asks for, and its limits. Does not know how it is encoded, and so what its digest is (`wire`).

use std::fmt;

use crate::digest::Digest;
use crate::model::{BatchSize, GradientSteps, Merge, Outer, TargetKind, Training};
pub use crate::model::{ROUNDS_MAX, STEPS_MAX};

/// Shards of a job, at most: their list fits a frame.
pub const SHARDS_MAX: u32 = 16_384;
/// Rows of a shard, or of the validation set, at most.
pub const ROWS_MAX: u32 = 1 << 30;

/// Tasks that a step is cut into, at most.
pub const TASKS_PER_STEP_MAX: u32 = 4_096;

/// Blocks of a step, at most, where their median is taken: each is a task. As many as a round of shards has tasks.
pub const MEDIAN_BLOCKS_MAX: u32 = SHARDS_MAX;

/// Bytes of a job's notes, at most: beside the longest list of shards they fit a frame.
pub const NOTES_BYTES_MAX: usize = 262_144;

/// Rows of data by the digest of the object that holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsRef {
    /// Rows in the object. A shard's weight in the merge.
    pub rows: u32,
    /// The object's digest.
    pub digest: Digest,
}

/// What happens to a task that no node can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum OnTaskFailure {
    /// The job fails.
    #[default]
    Fail = 1,
    /// The task is left out of its round's merge and reported as SKIPPED; the result is not reproducible.
    Skip = 2,
}

impl OnTaskFailure {
    /// All of them, in the order of their numbers, from 1 on.
    pub const ALL: [OnTaskFailure; 2] = [OnTaskFailure::Fail, OnTaskFailure::Skip];
}

/// What happens to a job when no node is active after every revival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum OnNoNodes {
    /// The job fails.
    #[default]
    Fail = 1,
    /// It waits until it is resumed or cancelled.
    Pause = 2,
}

impl OnNoNodes {
    /// All of them, in the order of their numbers, from 1 on.
    pub const ALL: [OnNoNodes; 2] = [OnNoNodes::Fail, OnNoNodes::Pause];
}

/// A job, whole. The first fields say what is computed; `operation` says how it may be gone about.
#[derive(Clone, Debug, PartialEq)]
pub struct Specification {
    /// Network, recipe, seed.
    pub training: Training,
    /// Rounds.
    pub rounds: u32,
    /// Steps of a round, where tasks are local steps; none: as many as go once through the rows.
    pub round_steps: Option<u32>,
    /// The training data, by shard.
    pub shards: Vec<RowsRef>,
    /// The validation data.
    pub validation: RowsRef,
    /// Data that neither trains nor validates: the final weights are tried on it once.
    pub test: Option<RowsRef>,
    /// Rounds without a better one after which the job is done; the best round's weights are its result then. None: all rounds are
    /// done, and the last one's are.
    pub patience: Option<u32>,
    /// The share of the validation rows that a round is to be right about for the job to be done; with a patience only, and where
    /// classes are told apart.
    pub target_accuracy: Option<f64>,
    /// How a step's updates, or its blocks' gradients, become one.
    pub merge: Merge,
    /// How the weights follow it.
    pub outer: Outer,
    /// Weights to start from instead of drawn ones.
    pub initial: Option<Digest>,
    /// How the job may be gone about: no part of its identity.
    pub operation: Operation,
    /// Whatever the client wants to be told with the job again. Nobody else looks into it, and it is not hashed.
    pub notes: Vec<u8>,
}

/// The operational part of a specification: not hashed, no part of what the job computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// What happens to a task that no node can do.
    pub on_task_failure: OnTaskFailure,
    /// Whether nodes of another arithmetic may work on it; the result is then not reproducible.
    pub allow_inexact: bool,
    /// What happens to the job when no node is left.
    pub on_no_nodes: OnNoNodes,
    /// Into how many tasks a step of merged gradients is cut; none: as the fleet is. Where their median is taken, each block is a
    /// task, whatever this says.
    pub tasks_per_step: Option<u32>,
}

impl Specification {
    /// The specification itself, if every value lies within its limits. Network, recipe and outer optimiser check
    /// themselves.
    pub fn checked(self) -> Result<Specification, SpecificationError> {
        if self.rounds == 0 || self.rounds > ROUNDS_MAX {
            return Err(SpecificationError::Rounds { got: self.rounds });
        }
        if self.shards.is_empty() || self.shards.len() > SHARDS_MAX as usize {
            return Err(SpecificationError::Shards { got: self.shards.len() });
        }
        for rows in self.shards.iter().chain([&self.validation]).chain(&self.test) {
            if rows.rows == 0 || rows.rows > ROWS_MAX {
                return Err(SpecificationError::Rows { got: rows.rows });
            }
        }
        if let Some(got) = self.patience.filter(|patience| *patience == 0 || *patience > ROUNDS_MAX) {
            return Err(SpecificationError::Patience { got });
        }
        if let Some(accuracy) = self.target_accuracy {
            if !(accuracy > 0.0 && accuracy <= 1.0) {
                return Err(SpecificationError::TargetAccuracy);
            }
            if self.patience.is_none() || self.training.recipe.loss.target_kind() != TargetKind::Labels {
                return Err(SpecificationError::TargetAccuracyAlone);
            }
        }
        if let Some(got) = self.operation.tasks_per_step
            && (got == 0 || got > TASKS_PER_STEP_MAX)
        {
            return Err(SpecificationError::TasksPerStep { got });
        }
        match (self.training.recipe.local_steps, self.round_steps) {
            (None, Some(got)) => return Err(SpecificationError::RoundStepsOfEpochs { got }),
            (Some(1), _) if self.outer.is_average() => return Err(SpecificationError::GradientsNeedOptimiser),
            _ => {}
        }
        if self.merge.needs_all()
            && let Some(got) = self.gradient_steps().map(|steps| steps.blocks_most())
            && got > MEDIAN_BLOCKS_MAX.into()
        {
            return Err(SpecificationError::MedianBlocks { got });
        }
        check_notes(&self.notes)?;
        let (round, steps) = (self.round_steps(), self.steps());
        if round == 0 || steps > STEPS_MAX {
            return Err(SpecificationError::Steps { round, got: steps });
        }
        Ok(self)
    }

    /// How the rows make steps of merged gradients, if the job merges those.
    pub fn gradient_steps(&self) -> Option<GradientSteps> {
        let Training { network, recipe, .. } = &self.training;
        let BatchSize::Rows(batch) = recipe.batch else { return None };
        let rows: Vec<u32> = self.shards.iter().map(|shard| shard.rows).collect();
        recipe.merges_gradients().then(|| GradientSteps::new(network, batch.get(), &rows))
    }

    /// Results that must be there at once to make a step of them, at most; 0 where each is taken in as it comes.
    pub fn results_at_once(&self) -> u64 {
        match self.gradient_steps() {
            _ if !self.merge.needs_all() => 0,
            Some(steps) => steps.blocks_most(),
            None => self.shards.len() as u64,
        }
    }

    /// Steps of a round: one, where tasks are epochs.
    pub fn round_steps(&self) -> u32 {
        let Training { recipe, .. } = &self.training;
        match (recipe.local_steps, recipe.batch, self.round_steps) {
            (None, ..) | (_, BatchSize::Full, _) => 1,
            (.., Some(steps)) => steps,
            (Some(1), ..) => self.gradient_steps().map_or(1, |steps| steps.per_epoch()),
            (Some(local), BatchSize::Rows(batch), None) => {
                let largest = self.shards.iter().map(|shard| shard.rows).max().unwrap_or(1);
                largest.div_ceil(batch.get()).div_ceil(local)
            }
        }
    }

    /// The first round, counted from 0, that begins with a learning rate of +0, if there is one: it and all after it train
    /// nothing.
    pub fn first_round_without_rate(&self) -> Option<u32> {
        let (recipe, steps) = (&self.training.recipe, self.steps());
        // Where gradients are merged, the recipe's own rate has no part.
        let first = match recipe.merges_gradients() {
            true => self.outer.first_step_without_rate(steps),
            false => recipe.first_step_without_rate(steps),
        };
        let round = first?.div_ceil(self.round_steps().into());
        u32::try_from(round).ok().filter(|round| *round < self.rounds)
    }

    /// Lines that the ledger has of a step: one for each shard, or one for all blocks.
    pub fn step_entries(&self) -> u32 {
        if self.training.recipe.merges_gradients() { 1 } else { self.shards.len() as u32 }
    }

    /// Steps of the job.
    pub fn steps(&self) -> u64 {
        u64::from(self.rounds) * u64::from(self.round_steps())
    }

    /// Training rows of all shards together.
    pub fn rows(&self) -> u64 {
        self.shards.iter().map(|shard| u64::from(shard.rows)).sum()
    }
}

/// Whether a job may have notes as long as these.
pub fn check_notes(notes: &[u8]) -> Result<(), SpecificationError> {
    match notes.len() {
        0..=NOTES_BYTES_MAX => Ok(()),
        got => Err(SpecificationError::Notes { got }),
    }
}

/// Why values make no job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecificationError {
    /// None, or more than [`ROUNDS_MAX`].
    Rounds {
        /// Rounds asked for.
        got: u32,
    },
    /// None, or more than [`SHARDS_MAX`].
    Shards {
        /// Shards asked for.
        got: usize,
    },
    /// A shard or validation set of no rows, or more than [`ROWS_MAX`].
    Rows {
        /// Rows asked for.
        got: u32,
    },
    /// A patience of no rounds, or of more than a job has.
    Patience {
        /// Rounds asked for.
        got: u32,
    },
    /// Not above 0 and at most 1.
    TargetAccuracy,
    /// An accuracy to stop at, of a job that keeps no best round or fits numbers.
    TargetAccuracyAlone,
    /// A round of no steps, or more than [`STEPS_MAX`] in all.
    Steps {
        /// Steps of a round.
        round: u32,
        /// Steps of the job.
        got: u64,
    },
    /// A round has steps only where tasks are local steps.
    RoundStepsOfEpochs {
        /// Steps asked for.
        got: u32,
    },
    /// None, or more than [`TASKS_PER_STEP_MAX`].
    TasksPerStep {
        /// Tasks asked for.
        got: u32,
    },
    /// Merged gradients do not say by themselves how far weights move.
    GradientsNeedOptimiser,
    /// A step of more than [`MEDIAN_BLOCKS_MAX`] of which the median is taken.
    MedianBlocks {
        /// Blocks of a step.
        got: u64,
    },
    /// More than [`NOTES_BYTES_MAX`].
    Notes {
        /// Bytes of them.
        got: usize,
    },
}

impl SpecificationError {
    /// The value, and the limit that it passes.
    pub fn got_and_limit(&self) -> (u64, u64) {
        match *self {
            Self::Rounds { got } | Self::Patience { got } => (got.into(), got.clamp(1, ROUNDS_MAX).into()),
            Self::Shards { got } => (got as u64, got.clamp(1, SHARDS_MAX as usize) as u64),
            Self::Rows { got } => (got.into(), got.clamp(1, ROWS_MAX).into()),
            Self::Steps { round: 0, .. } => (0, 1),
            Self::Steps { got, .. } => (got, STEPS_MAX),
            Self::RoundStepsOfEpochs { got } => (got.into(), 1),
            Self::TasksPerStep { got } => (got.into(), got.clamp(1, TASKS_PER_STEP_MAX).into()),
            Self::GradientsNeedOptimiser | Self::TargetAccuracy | Self::TargetAccuracyAlone => (0, 0),
            Self::MedianBlocks { got } => (got, MEDIAN_BLOCKS_MAX.into()),
            Self::Notes { got } => (got as u64, NOTES_BYTES_MAX as u64),
        }
    }
}

impl fmt::Display for SpecificationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rounds { got } => write!(f, "a job has 1 to {ROUNDS_MAX} rounds, not {got}"),
            Self::Shards { got } => write!(f, "a job has 1 to {SHARDS_MAX} shards, not {got}"),
            Self::Rows { got } => {
                write!(f, "a shard, the validation set and the test set have 1 to {ROWS_MAX} rows, not {got}")
            }
            Self::Patience { got } => {
                write!(
                    f,
                    "a job waits 1 to {ROUNDS_MAX} rounds for a better one, not {got}: leave out the patience to do all"
                )
            }
            Self::TargetAccuracy => f.write_str(
                "the accuracy to stop at is a share of the validation rows, above 0 and at most 1: 0.96 for 96 %",
            ),
            Self::TargetAccuracyAlone => f.write_str(
                "an accuracy to stop at belongs to a job that keeps its best round (patience) and tells classes apart",
            ),
            Self::Steps { round: 0, .. } => f.write_str("a round has at least one step"),
            Self::Steps { round, got } => {
                write!(
                    f,
                    "a job has at most {STEPS_MAX} steps, not {got}, {round} a round: take fewer rounds or larger batches"
                )
            }
            Self::RoundStepsOfEpochs { got } => {
                write!(f, "a round of epochs is one step, not {got}: rounds have steps where tasks are local steps")
            }
            Self::TasksPerStep { got } => write!(f, "a step has 1 to {TASKS_PER_STEP_MAX} tasks, not {got}"),
            Self::GradientsNeedOptimiser => {
                f.write_str("merged gradients need an optimiser at the coordinator: momentum, nesterov or adam")
            }
            Self::MedianBlocks { got } => write!(
                f,
                "the median is taken of at most {MEDIAN_BLOCKS_MAX} blocks of a step, not of {got}: take a smaller batch, or the \
                 mean"
            ),
            Self::Notes { got } => write!(f, "a job's notes have at most {NOTES_BYTES_MAX} bytes, not {got}"),
        }
    }
}

impl std::error::Error for SpecificationError {}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::model::{ARITHMETIC, Loss, Network, Optimiser, OuterOptimiser, Recipe};

    fn job(rounds: u32, recipe: Recipe) -> Specification {
        let rows = RowsRef { rows: 640, digest: Digest([1; 32]) };
        let network = Network::new(1, &[], 2).unwrap();
        Specification {
            training: Training { arithmetic: ARITHMETIC, network, recipe, seed: 1, class_weights: Vec::new() },
            rounds,
            round_steps: None,
            shards: vec![rows],
            validation: rows,
            test: None,
            patience: None,
            target_accuracy: None,
            merge: Merge::Mean,
            outer: Outer::AVERAGE,
            initial: None,
            operation: Operation::default(),
            notes: Vec::new(),
        }
    }

    fn falling(optimiser: Optimiser, eta: f32, eta_decay: f32) -> Recipe {
        Recipe { optimiser, eta, eta_decay, ..Recipe::DEFAULT }
    }

    #[test]
    fn an_accuracy_to_stop_at_is_a_share_and_belongs_to_classes_and_a_best_round() {
        let of = |patience, target_accuracy, loss| {
            let job = job(3, Recipe { loss, ..Recipe::DEFAULT });
            Specification { patience, target_accuracy: Some(target_accuracy), ..job }.checked().map(drop)
        };
        assert_eq!(of(Some(3), 1.0, Loss::CrossEntropy), Ok(()));
        for wrong in [0.0, -0.5, 1.01, f64::NAN] {
            assert_eq!(of(Some(3), wrong, Loss::CrossEntropy), Err(SpecificationError::TargetAccuracy));
        }
        assert_eq!(of(None, 0.5, Loss::CrossEntropy), Err(SpecificationError::TargetAccuracyAlone));
        assert_eq!(of(Some(3), 0.5, Loss::SquaredError), Err(SpecificationError::TargetAccuracyAlone));
    }

    #[test]
    fn the_median_of_more_blocks_than_a_step_has_tasks_is_refused_and_their_sum_is_not() {
        let of_batch = |rows, merge| {
            let batch = BatchSize::Rows(NonZeroU32::new(rows).unwrap());
            let mut job = job(1, Recipe { local_steps: Some(1), epochs: 1, batch, ..Recipe::DEFAULT });
            job.shards = vec![RowsRef { rows: ROWS_MAX, ..job.validation }; 2];
            job.outer.optimiser = OuterOptimiser::Adam;
            job.merge = merge;
            job.checked().map(|job| job.results_at_once())
        };
        let most = 128 * MEDIAN_BLOCKS_MAX;
        assert_eq!(of_batch(most, Merge::Median), Ok(MEDIAN_BLOCKS_MAX.into()));
        let got = 2 * u64::from(MEDIAN_BLOCKS_MAX);
        assert_eq!(of_batch(2 * most, Merge::Median), Err(SpecificationError::MedianBlocks { got }));
        assert_eq!(of_batch(2 * most, Merge::Mean), Ok(0));
    }

    #[test]
    fn where_tasks_are_local_steps_a_rounds_rate_is_that_of_its_first_step_by_the_optimiser_that_has_a_part() {
        let batch = BatchSize::Rows(NonZeroU32::new(32).unwrap());
        let local = |local_steps, recipe| Recipe { local_steps: Some(local_steps), epochs: 1, batch, ..recipe };
        // 20 batches are five steps of four.
        let by_steps = job(100, local(4, falling(Optimiser::Adam, 0.01, 0.94)));
        assert_eq!((by_steps.round_steps(), by_steps.first_round_without_rate()), (5, Some(75)));
        let mut merged = job(100, local(1, falling(Optimiser::Adam, 1e-30, 0.5)));
        merged.outer = Outer { optimiser: OuterOptimiser::Adam, eta: 0.01, ..Outer::AVERAGE };
        assert_eq!(merged.first_round_without_rate(), None);
        merged.outer.eta = 1e-30;
        assert_eq!(merged.first_round_without_rate(), Some(0));
    }
}

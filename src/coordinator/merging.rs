//! A job's step in the making: what its updates or gradients come to, by the job's merge and its outer optimiser. Owns which merge
//! keeps what, and how the two meet; does not know threads, nodes or when a step is done.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::collected::{Collected, Lost, Storage};
use super::update::UpdateBytes;
use crate::digest::Digest;
use crate::engine::StepSum;
use crate::job::{JobId, Specification};
use crate::model::{
    ExactSum, GradientSum, GradientSumError, Kernel, LittleEndianF32, LossReduction, Median, Merge, MergeError,
    Network, Outer, OuterState, check_values,
};
use crate::wire::object::{self, ObjectError};

/// A step that is being merged.
pub(super) struct Merging {
    kernel: Kernel,
    network: Network,
    /// Of the job.
    steps: u64,
    outer: Outer,
    updates: Updates,
    /// What they come to, where an outer optimiser takes it.
    update: Vec<LittleEndianF32>,
    /// Memory for a sum's object.
    object: Vec<u8>,
    /// The name of what the outer optimiser remembers at the next step's base, where somebody has found it out already.
    remembered: Option<Digest>,
}

enum Updates {
    /// What they come to so far.
    Mean(ExactSum),
    /// All of them.
    Median(Collected, Median),
    /// What the gradients of blocks come to so far.
    Gradients(GradientSum, LossReduction),
}

/// Why an update is not taken in.
pub(super) enum AddError {
    /// It is not as an update must be.
    Update(MergeError),
    /// The same of a sum of gradients.
    Sum(GradientSumError),
    /// It is no such object.
    Object(ObjectError),
    /// It cannot be kept.
    Keep(io::Error),
}

/// Why nothing comes of a round.
pub(super) enum FinishError {
    /// These are to be trained again.
    Lost(Vec<Lost>),
    /// There is nothing to merge, or nothing that could be weights comes of it.
    Merge(MergeError),
    /// The gradients' sum is not what it must be.
    Gradient(GradientSumError),
}

impl Merging {
    /// Of a job whose updates are kept at `storage`, if they must all be there.
    pub(super) fn new(kernel: Kernel, job: JobId, specification: &Specification, storage: &Storage) -> Merging {
        let network = specification.training.network.clone();
        let recipe = &specification.training.recipe;
        let updates = match specification.merge {
            _ if recipe.merges_gradients() => {
                Updates::Gradients(GradientSum::new(kernel, network.parameters()), recipe.reduction)
            }
            Merge::Mean => Updates::Mean(ExactSum::new(kernel, network.parameters(), specification.rows())),
            Merge::Median => Updates::Median(Collected::new(storage.clone(), job), Median::default()),
        };
        let (steps, outer) = (specification.steps(), specification.outer);
        Merging { kernel, network, steps, outer, updates, update: Vec::new(), object: Vec::new(), remembered: None }
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// Whether the base can be given up before it is known that something comes of the round.
    pub(super) fn can_take_base(&self) -> bool {
        match self.updates {
            Updates::Mean(_) | Updates::Gradients(..) => true,
            Updates::Median(..) => false,
        }
    }

    /// Finds out the name of what the outer optimiser remembers now, before the ledger's next line asks for it.
    pub(super) fn name_remembered(&mut self, state: &OuterState) {
        if matches!(self.updates, Updates::Gradients(..)) {
            self.remembered = Some(object::outer_digest(state));
        }
    }

    /// Takes in a task's result: an update of so many rows, which is of the right shape, or the sum of so many blocks. One that is
    /// refused leaves no trace.
    pub(super) fn add(
        &mut self,
        shard: u32,
        (rows, blocks): (u32, u32),
        update: Arc<UpdateBytes>,
    ) -> Result<(), AddError> {
        match &mut self.updates {
            Updates::Mean(sum) => match Arc::try_unwrap(update) {
                Ok(update) => sum.add_parts(update.into_values(&self.network), rows),
                // It is another task's, too.
                Err(update) => sum.add_parts(update.values(&self.network), rows),
            }
            .map_err(AddError::Update),
            Updates::Gradients(sum, _) => {
                let layout = update.sum_layout(&self.network).map_err(AddError::Object)?;
                match Arc::try_unwrap(update) {
                    Ok(update) => sum.add_words(&layout.runs, update.into_words(&layout), blocks.into()),
                    // It is another task's, too.
                    Err(update) => sum.add_words(&layout.runs, update.words(&layout), blocks.into()),
                }
                .map_err(AddError::Sum)
            }
            Updates::Median(collected, _) => {
                let parts = update.values(&self.network);
                let mut start = 0;
                for part in &parts {
                    check_values(self.kernel, start, part).map_err(AddError::Update)?;
                    start += part.len();
                }
                collected.keep(shard, &parts).map_err(AddError::Keep)
            }
        }
    }

    /// Turns the base of a step into the new weights, which are told to `take` as they are made, part by part, and its outer
    /// state into the next one's; the next step begins with nothing. `rows` are behind what was taken in. Where updates are lost,
    /// all others are still there.
    pub(super) fn finish(
        &mut self,
        (step, rows): (u64, u64),
        state: &mut OuterState,
        values: &mut [LittleEndianF32],
        take: &mut dyn FnMut(&[LittleEndianF32]),
    ) -> Result<Option<StepSum>, FinishError> {
        if self.outer.is_average() {
            return self.updates.finish(values, take).map(|()| None);
        }
        let rate = self.outer.rate(step, self.steps);
        self.update.clear();
        self.update.resize(values.len(), [0; 4]);
        if let Updates::Gradients(sum, reduction) = &mut self.updates {
            let rows = NonZeroU64::new(rows).ok_or(FinishError::Merge(MergeError::Empty))?;
            sum.gradient(rows, *reduction, &mut self.update).map_err(FinishError::Gradient)?;
            self.object = object::encode_sum(std::mem::take(&mut self.object), &self.network, sum);
            let outer = self.remembered.take().unwrap_or_else(|| object::outer_digest(state));
            let told = StepSum { digest: Digest::of(&self.object), loss: sum.loss(), outer };
            sum.reset(values.len());
            state
                .step_by_gradient(self.kernel, &self.outer, rate, &self.update, values, take)
                .map_err(FinishError::Merge)?;
            return Ok(Some(told));
        }
        self.updates.finish(&mut self.update, &mut |_| ())?;
        state.step(self.kernel, &self.outer, rate, &self.update, values, take).map_err(FinishError::Merge)?;
        Ok(None)
    }
}

impl Updates {
    /// Adds what they come to to `values`.
    fn finish(
        &mut self,
        values: &mut [LittleEndianF32],
        take: &mut dyn FnMut(&[LittleEndianF32]),
    ) -> Result<(), FinishError> {
        match self {
            Updates::Mean(sum) => {
                sum.mean_onto_and_tell(values, take).map_err(FinishError::Merge)?;
                sum.reset();
            }
            Updates::Median(collected, median) => {
                let mut reading = collected.read();
                let lost = match median.onto(&mut reading, values, take) {
                    Ok(merged) => {
                        merged.map_err(FinishError::Merge)?;
                        reading.finish()
                    }
                    Err(lost) => vec![lost],
                };
                if !lost.is_empty() {
                    lost.iter().for_each(|lost| collected.forget(lost.shard));
                    return Err(FinishError::Lost(lost));
                }
                collected.clear();
            }
            Updates::Gradients(..) => {}
        }
        Ok(())
    }
}

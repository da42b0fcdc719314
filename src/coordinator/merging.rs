//! A job's round in the making: what its updates come to, by the job's merge and its outer optimiser. Owns which merge keeps what,
//! and how the two meet; does not know threads, nodes or when a round is done.

use std::io;
use std::sync::Arc;

use super::collected::{Collected, Lost, Storage};
use super::update::UpdateBytes;
use crate::job::{JobId, Specification};
use crate::model::{
    ExactSum, Kernel, LittleEndianF32, Median, Merge, MergeError, Network, Outer, OuterState, check_values,
};

/// A round that is being merged.
pub(super) struct Merging {
    kernel: Kernel,
    network: Network,
    rounds: u32,
    outer: Outer,
    updates: Updates,
    /// What they come to, where an outer optimiser takes it.
    update: Vec<LittleEndianF32>,
}

enum Updates {
    /// What they come to so far.
    Mean(ExactSum),
    /// All of them.
    Median(Collected, Median),
}

/// Why an update is not taken in.
pub(super) enum AddError {
    /// It is not as an update must be.
    Update(MergeError),
    /// It cannot be kept.
    Keep(io::Error),
}

/// Why nothing comes of a round.
pub(super) enum FinishError {
    /// These are to be trained again.
    Lost(Vec<Lost>),
    /// There is nothing to merge.
    Merge(MergeError),
}

impl Merging {
    /// Of a job whose updates are kept at `storage`, if they must all be there.
    pub(super) fn new(kernel: Kernel, job: JobId, specification: &Specification, storage: &Storage) -> Merging {
        let network = specification.training.network.clone();
        let updates = match specification.merge {
            Merge::Mean => Updates::Mean(ExactSum::new(kernel, network.parameters(), specification.rows())),
            Merge::Median => Updates::Median(Collected::new(storage.clone(), job), Median::default()),
        };
        let Specification { rounds, outer, .. } = *specification;
        Merging { kernel, network, rounds, outer, updates, update: Vec::new() }
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// Whether the base can be given up before it is known that something comes of the round.
    pub(super) fn can_take_base(&self) -> bool {
        match self.updates {
            Updates::Mean(_) => true,
            Updates::Median(..) => false,
        }
    }

    /// Takes in a shard's update, which is of the right shape. One that is refused leaves no trace.
    pub(super) fn add(&mut self, shard: u32, rows: u32, update: Arc<UpdateBytes>) -> Result<(), AddError> {
        match &mut self.updates {
            Updates::Mean(sum) => match Arc::try_unwrap(update) {
                Ok(update) => sum.add_parts(update.into_values(&self.network), rows),
                // It is another task's, too.
                Err(update) => sum.add_parts(update.values(&self.network), rows),
            }
            .map_err(AddError::Update),
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
    /// state into the next one's; the next round begins with nothing. Where updates are lost, all others are still there.
    pub(super) fn finish(
        &mut self,
        step: u64,
        state: &mut OuterState,
        values: &mut [LittleEndianF32],
        take: &mut dyn FnMut(&[LittleEndianF32]),
    ) -> Result<(), FinishError> {
        if self.outer.is_average() {
            return self.updates.finish(values, take);
        }
        self.update.clear();
        self.update.resize(values.len(), [0; 4]);
        self.updates.finish(&mut self.update, &mut |_| ())?;
        let rate = self.outer.rate(step, self.rounds);
        state.step(self.kernel, &self.outer, rate, &self.update, values, take).map_err(FinishError::Merge)
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
        }
        Ok(())
    }
}

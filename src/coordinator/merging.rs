//! A job's step in the making: what its updates or gradients come to, by the job's merge and its outer optimiser. Owns which merge
//! keeps what, and how the two meet; does not know nodes or when a step is done.

use std::io;
use std::num::NonZeroU64;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, Builder};

use super::collected::{Collected, Lost, Reading, Storage};
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
    /// What updates come to, where an outer optimiser takes it.
    update: Vec<LittleEndianF32>,
    /// Whether the next merge may be too much for the machine, and whether all are.
    pub(super) is_next_heavy: bool,
    pub(super) is_heavy: bool,
    /// What a merge copies, where it is large and leaves its base as it was.
    pub(super) copy_bytes: Option<u64>,
    /// The name of what the outer optimiser remembers at the next step's base, where somebody has found it out already.
    remembered: Option<Digest>,
}

enum Updates {
    /// What they come to so far.
    Mean(ExactSum),
    /// All of them.
    Median(Collected, Median),
    Gradients(Gradients),
}

/// What the gradients of a step's blocks come to.
struct Gradients {
    /// So far. The ledger names it, and the step's loss, whatever the gradient is made of.
    sum: GradientSum,
    reduction: LossReduction,
    median: Option<Box<BlockMedian>>,
}

/// Of a job whose gradient is the median of those of its blocks.
struct BlockMedian {
    /// That of each block so far.
    collected: Collected,
    median: Median,
    /// Memory for a block's sum, and for its gradient.
    block: GradientSum,
    gradient: Vec<LittleEndianF32>,
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
}

impl Merging {
    /// Of a job whose updates are kept at `storage`, if they must all be there.
    pub(super) fn new(kernel: Kernel, job: JobId, specification: &Specification, storage: &Storage) -> Merging {
        let network = specification.training.network.clone();
        let recipe = &specification.training.recipe;
        let updates = match specification.merge {
            _ if recipe.merges_gradients() => {
                let sum = GradientSum::new(kernel, network.parameters());
                let of_blocks = || BlockMedian {
                    collected: Collected::new(storage.clone(), job),
                    median: Median::default(),
                    block: GradientSum::new(kernel, network.parameters()),
                    gradient: vec![[0; 4]; network.parameters()],
                };
                let median = specification.merge.needs_all().then(|| Box::new(of_blocks()));
                Updates::Gradients(Gradients { sum, reduction: recipe.reduction, median })
            }
            Merge::Mean => Updates::Mean(ExactSum::new(kernel, network.parameters(), specification.rows())),
            Merge::Median => Updates::Median(Collected::new(storage.clone(), job), Median::default()),
        };
        let (steps, outer) = (specification.steps(), specification.outer);
        Merging {
            kernel,
            network,
            steps,
            outer,
            updates,
            update: Vec::new(),
            is_next_heavy: false,
            is_heavy: false,
            copy_bytes: None,
            remembered: None,
        }
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// Whether the base can be given up before it is known that something comes of the round.
    pub(super) fn can_take_base(&self) -> bool {
        match &self.updates {
            Updates::Mean(_) => true,
            Updates::Gradients(gradients) => gradients.median.is_none(),
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
            Updates::Gradients(Gradients { sum, median: None, .. }) => add_words(sum, &self.network, blocks, update),
            Updates::Gradients(Gradients { sum, median: Some(of_blocks), .. }) => {
                let BlockMedian { collected, block, gradient, .. } = &mut **of_blocks;
                block.reset(self.network.parameters());
                add_words(block, &self.network, blocks, update)?;
                // No task is without rows.
                let rows = NonZeroU64::new(rows.into()).unwrap_or(NonZeroU64::MIN);
                block.of_block(rows, gradient).map_err(AddError::Sum)?;
                sum.add_sum(block).map_err(AddError::Sum)?;
                collected.keep(shard, &[&*gradient]).map_err(AddError::Keep)
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
    /// state into the next one's; the next step begins with nothing. `rows` are behind what was taken in. Where something is lost,
    /// all that is not named as lost is still there.
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
        if let Updates::Gradients(gradients) = &mut self.updates {
            let rows = NonZeroU64::new(rows).ok_or(FinishError::Merge(MergeError::Empty))?;
            let is_median = gradients.median.is_some();
            if is_median {
                self.update.clear();
                self.update.resize(values.len(), [0; 4]);
                gradients.median_of_blocks(rows, &mut self.update)?;
            }
            let Gradients { sum, reduction, .. } = gradients;
            let outer = self.remembered.take().unwrap_or_else(|| object::outer_digest(state));
            // Neither the sum's object nor its gradient is ever there as a whole: each would be as large as the weights or twice.
            let read = |start: usize, out: &mut [LittleEndianF32]| sum.gradient_from(start, rows, *reduction, out);
            let (kernel, outer_optimiser, network) = (self.kernel, &self.outer, &self.network);
            let name = || object::sum_digest(network, sum);
            let (digest, moved) = beside(values.len() >= NAMED_BESIDE, name, || match is_median {
                true => state.step_by_gradient(kernel, outer_optimiser, rate, &self.update, values, take),
                false => state.step_by_parts(kernel, outer_optimiser, rate, &read, values, take),
            });
            moved.map_err(FinishError::Merge)?;
            let told = StepSum { digest, loss: sum.loss(), outer };
            sum.reset(values.len());
            return Ok(Some(told));
        }
        self.update.clear();
        self.update.resize(values.len(), [0; 4]);
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
                let lost = read_all(collected, |reading| median.onto(reading, values, take))?;
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

impl Gradients {
    /// Writes the gradient of a step of so many rows, if it is the median of those of its blocks. Where the gradient of a block is
    /// lost, nothing is there any more: it is in the sum, too, and cannot be taken out.
    fn median_of_blocks(&mut self, rows: NonZeroU64, out: &mut [LittleEndianF32]) -> Result<(), FinishError> {
        let Gradients { sum, reduction, median } = self;
        let Some(of_blocks) = median else { return Ok(()) };
        let BlockMedian { collected, median, .. } = &mut **of_blocks;
        let mut lost = read_all(collected, |reading| median.gradient(reading, rows, *reduction, out))?;
        if let Some(Lost { reason, .. }) = lost.first() {
            let reason = reason.clone();
            lost = collected.shards().map(|shard| Lost { shard, reason: reason.clone() }).collect();
            sum.reset(out.len());
        }
        collected.clear();
        if lost.is_empty() { Ok(()) } else { Err(FinishError::Lost(lost)) }
    }
}

/// Parameters from which on a sum gets its name while the optimiser moves the weights: every node waits for both, so that a core is
/// free, and each takes longer than a thread's start.
const NAMED_BESIDE: usize = 1 << 17;

/// Does both, at the same time where that is worth it.
fn beside<A: Send, B>(takes_long: bool, one: impl Fn() -> A + Sync, other: impl FnOnce() -> B) -> (A, B) {
    if !takes_long {
        return (one(), other());
    }
    thread::scope(|scope| {
        let began = Builder::new().name("name".to_owned()).spawn_scoped(scope, &one);
        let others = other();
        // Where no thread is to be had it comes after the other.
        let ones = began.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        (ones.unwrap_or_else(|_| one()), others)
    })
}

/// Adds the sum of so many blocks.
fn add_words(sum: &mut GradientSum, network: &Network, blocks: u32, update: Arc<UpdateBytes>) -> Result<(), AddError> {
    let layout = update.sum_layout(network).map_err(AddError::Object)?;
    match Arc::try_unwrap(update) {
        Ok(update) => sum.add_words(&layout.runs, update.into_words(&layout), blocks.into()),
        // It is another task's, too.
        Err(update) => sum.add_words(&layout.runs, update.words(&layout), blocks.into()),
    }
    .map_err(AddError::Sum)
}

/// Has all that is kept read once and merged; what cannot be read any more.
fn read_all(
    collected: &Collected,
    merge: impl FnOnce(&mut Reading<'_>) -> Result<Result<(), MergeError>, Lost>,
) -> Result<Vec<Lost>, FinishError> {
    let mut reading = collected.read();
    match merge(&mut reading) {
        Ok(merged) => {
            merged.map_err(FinishError::Merge)?;
            Ok(reading.finish())
        }
        Err(lost) => Ok(vec![lost]),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::num::NonZeroU32;

    use tempfile::TempDir;

    use super::*;
    use crate::job::{Operation, RowsRef};
    use crate::model::{ARITHMETIC, BatchSize, OuterOptimiser, Recipe, Training};

    /// Rows of each block, the last of which is short.
    const ROWS: [u32; 5] = [8, 8, 8, 8, 3];
    const ALL: [u32; 5] = [0, 1, 2, 3, 4];

    fn specification(merge: Merge) -> Specification {
        let batch = BatchSize::Rows(NonZeroU32::new(40).unwrap());
        let recipe = Recipe { local_steps: Some(1), epochs: 1, batch, ..Recipe::DEFAULT };
        let rows = RowsRef { rows: ROWS.iter().sum(), digest: Digest([1; 32]) };
        let specification = Specification {
            patience: None,
            target_accuracy: None,
            test: None,
            training: Training {
                arithmetic: ARITHMETIC,
                network: Network::new(1, &[], 2).unwrap(),
                recipe,
                seed: 1,
                class_weights: Vec::new(),
            },
            rounds: 1,
            round_steps: None,
            shards: vec![rows],
            validation: rows,
            merge,
            // The weights are the gradient, with the other sign.
            outer: Outer { optimiser: OuterOptimiser::Momentum, momentum: 0.0, ..Outer::AVERAGE },
            initial: None,
            operation: Operation::default(),
            notes: Vec::new(),
        };
        specification.checked().unwrap()
    }

    fn merging(merge: Merge, storage: &Storage) -> Merging {
        Merging::new(Kernel::best(), JobId(1), &specification(merge), storage)
    }

    /// The gradient of a block, of each row of it.
    fn of_row(block: u32) -> [f32; 4] {
        [0.25, 0.5, -0.25, -1.0].map(|value: f32| value * (block as f32 + 1.0))
    }

    fn add(merging: &mut Merging, block: u32, of_row: [f32; 4]) {
        let (rows, network) = (ROWS[block as usize], merging.network().clone());
        let mut sum = GradientSum::new(Kernel::best(), network.parameters());
        sum.add_block(&of_row.map(|value| value * rows as f32), f64::from(rows)).unwrap();
        let update = UpdateBytes::inline(object::encode_sum(Vec::new(), &network, &sum));
        assert!(merging.add(block, (rows, 1), Arc::new(update)).is_ok());
    }

    fn add_all(merging: &mut Merging) {
        ALL.into_iter().for_each(|block| add(merging, block, of_row(block)));
    }

    /// The weights that a step from zeros leads to, and what is told of it.
    fn finish(merging: &mut Merging, blocks: &[u32]) -> Result<([f32; 4], StepSum), Vec<Lost>> {
        let rows = blocks.iter().map(|block| u64::from(ROWS[*block as usize])).sum();
        let (mut state, mut values) = (OuterState::default(), [[0; 4]; 4]);
        match merging.finish((0, rows), &mut state, &mut values, &mut |_| ()) {
            Ok(sum) => Ok((values.map(f32::from_le_bytes), sum.unwrap())),
            Err(FinishError::Lost(lost)) => {
                assert_eq!(state, OuterState::default());
                Err(lost)
            }
            Err(_) => panic!("nothing comes of the step"),
        }
    }

    #[test]
    fn one_block_that_is_wrong_moves_the_median_no_further_than_to_its_neighbour_and_the_mean_anywhere() {
        let step = |merge, wrong: f32| {
            let mut merging = merging(merge, &Storage::Memory);
            for block in ALL {
                add(&mut merging, block, of_row(block).map(|value| if block == 1 { wrong } else { value }));
            }
            finish(&mut merging, &ALL).unwrap_or_else(|lost| panic!("{lost:?}")).0
        };
        for wrong in [1e9, -1e9, 0.0] {
            let weights = step(Merge::Median, wrong);
            for (parameter, weight) in weights.into_iter().enumerate() {
                let [low, high] = [2, 3].map(|block| -of_row(block)[parameter]);
                assert!(weight >= low.min(high) && weight <= low.max(high), "{weight} is not from {low} to {high}");
            }
            assert!(step(Merge::Mean, 1e9)[0].abs() > 1e7);
        }
    }

    #[test]
    fn a_median_is_of_the_blocks_that_are_merged_whatever_their_rows_and_order_and_the_sum_is_told_of_it() {
        let mut median = merging(Merge::Median, &Storage::Memory);
        for (blocks, middle) in
            [(&ALL[..], of_row(2)), (&[4, 0, 3], of_row(3)), (&[1, 4], [1.75 / 2.0, 1.75, -1.75 / 2.0, -3.5])]
        {
            blocks.iter().for_each(|block| add(&mut median, *block, of_row(*block)));
            let (weights, told) = finish(&mut median, blocks).unwrap_or_else(|lost| panic!("{lost:?}"));
            assert_eq!(weights, middle.map(|value| -value), "{blocks:?}");
            let mut mean = merging(Merge::Mean, &Storage::Memory);
            blocks.iter().for_each(|block| add(&mut mean, *block, of_row(*block)));
            let (_, of_mean) = finish(&mut mean, blocks).unwrap_or_else(|lost| panic!("{lost:?}"));
            assert_eq!((told.digest, told.loss), (of_mean.digest, of_mean.loss));
        }
    }

    #[test]
    fn a_step_of_which_a_block_is_lost_is_made_anew_of_all_of_them() {
        let root = TempDir::new().unwrap();
        let storage = Storage::directory(root.path()).unwrap();
        let mut kept = merging(Merge::Median, &storage);
        add_all(&mut kept);
        let expected = finish(&mut kept, &ALL).unwrap_or_else(|lost| panic!("{lost:?}"));
        add_all(&mut kept);
        let files = || fs::read_dir(root.path().join("updates")).unwrap().map(|file| file.unwrap().path());
        fs::remove_file(files().next().unwrap()).unwrap();
        let lost = finish(&mut kept, &ALL).map(drop).unwrap_err();
        assert_eq!(lost.iter().map(|lost| lost.shard).collect::<Vec<_>>(), ALL);
        assert_eq!(files().count(), 0);
        add_all(&mut kept);
        let again = finish(&mut kept, &ALL).unwrap_or_else(|lost| panic!("{lost:?}"));
        assert_eq!((again.0, again.1.digest, again.1.loss), (expected.0, expected.1.digest, expected.1.loss));
    }
}

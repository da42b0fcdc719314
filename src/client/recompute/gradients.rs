//! A step of merged gradients, computed anew: its blocks on all cores, their sum or median, and where the outer optimiser goes
//! with it.
//! Owns how the blocks are shared among the cores, on which no bit depends; does not know what the sum is compared with.

use std::num::NonZeroU64;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::Receiver;

use super::step::{Base, Computed, Recomputed, Stopped, Unless, weights_of};
use crate::digest::Digest;
use crate::job::Specification;
use crate::model::conformance::{self, Difference};
use crate::model::train::TrainError;
use crate::model::{
    BlockRange, GradientSteps, GradientSum, Kernel, LittleEndianF32, Median, OuterState, Rows, Trainer,
};
use crate::wire::object;

/// How a job's rows make steps, and memory for one of them.
pub(super) struct Gradients {
    cut: GradientSteps,
    /// Of the job.
    steps: u64,
    /// Of each core.
    cores: Vec<CoreSum>,
    gradient: Vec<LittleEndianF32>,
    object: Vec<u8>,
    median: Median,
}

/// What a core has summed of a step.
struct CoreSum {
    sum: GradientSum,
    /// That of one block.
    block: GradientSum,
    /// The gradients of its blocks, where their median is taken.
    gradients: Vec<Vec<LittleEndianF32>>,
}

impl Gradients {
    /// Of a job of so many steps.
    pub(super) fn new(cut: GradientSteps, steps: u64, kernel: Kernel, cores: usize) -> Gradients {
        let empty = || GradientSum::new(kernel, 0);
        let core = |_| CoreSum { sum: empty(), block: empty(), gradients: Vec::new() };
        let cores = (0..cores).map(core).collect();
        Gradients { cut, steps, cores, gradient: Vec::new(), object: Vec::new(), median: Median::default() }
    }

    /// Sums the gradients of a step of merged gradients at `base`, without those of the blocks `skipped`, and goes on to the next
    /// step where the outer optimiser's state is known: always behind a step that has merged nothing, which changes nothing.
    pub(super) fn step(
        &mut self,
        specification: &Specification,
        shards: &[Rows<'_>],
        hardware: Hardware<'_>,
        step: u64,
        base: &Base,
        skipped: &[u32],
    ) -> Result<Recomputed, Stopped> {
        let Gradients { cut, steps, cores, gradient, object, median } = self;
        let Hardware { trainers, kernel, interrupts } = hardware;
        let training = &specification.training;
        let blocks = cut.step(step);
        let merged = blocks.without(skipped);
        let Some(rows) = NonZeroU64::new(merged.iter().map(|range| u64::from(cut.rows(*range))).sum()) else {
            let nothing = Computed { object: Digest([0; 32]), loss: 0.0 };
            return Ok(Recomputed { lines: vec![(0, Ok(nothing))], merged: Some(Ok(base.clone())) });
        };
        let weights = weights_of(&training.network, base)?;
        let shares = shared(&merged, trainers.len());
        let takes_median = specification.merge.needs_all();
        let proved: Result<Vec<Result<(), TrainError>>, Difference> = thread::scope(|scope| {
            let mut threads = Vec::with_capacity(shares.len());
            for ((trainer, core), share) in trainers.iter_mut().zip(cores.iter_mut()).zip(&shares) {
                let (weights, cut) = (&*weights, &*cut);
                threads.push(scope.spawn(move || {
                    conformance::prove_thread(kernel)?;
                    let share: Vec<(BlockRange, &Rows<'_>)> =
                        share.iter().map(|range| (*range, &shards[range.shard as usize])).collect();
                    let mut sum = |ranges: &[(BlockRange, &Rows<'_>)], sum: &mut GradientSum| {
                        trainer.sum_gradients(training, blocks.epoch, ranges, weights, &mut Unless(interrupts), sum)
                    };
                    Ok(match takes_median {
                        false => sum(&share, &mut core.sum),
                        true => core.sum_singly(weights.len(), &share, cut, sum),
                    })
                }));
            }
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        let summed = proved.map_err(Stopped::Arithmetic)?;
        if summed.contains(&Err(TrainError::Cancelled)) {
            return Err(Stopped::Interrupted);
        }
        let failed = |why: String| Ok(Recomputed { lines: vec![(0, Err(why))], merged: None });
        if let Some(error) = summed.into_iter().find_map(Result::err) {
            return failed(error.to_string());
        }
        let cores = &mut cores[..shares.len()];
        let Some((CoreSum { sum, .. }, others)) = cores.split_first_mut() else { return failed("no core".to_owned()) };
        if let Some(error) = others.iter().find_map(|other| sum.add_sum(&other.sum).err()) {
            return failed(error.to_string());
        }
        let sum = &cores[0].sum;
        *object = object::encode_sum(std::mem::take(object), &training.network, sum);
        let computed = Computed { object: Digest::of(object), loss: sum.loss() };
        let next = base.outer.as_ref().map(|outer| {
            let (mut weights, mut state) = (base.weights.to_vec(), OuterState::clone(outer));
            gradient.clear();
            gradient.resize(training.network.parameters(), [0; 4]);
            let reduction = training.recipe.reduction;
            if takes_median {
                let mut all: Vec<_> = cores.iter().flat_map(|core| &core.gradients).collect();
                let Ok(taken) = median.gradient(&mut all, rows, reduction, gradient);
                taken.map_err(|error| error.to_string())?;
            } else {
                sum.gradient(rows, reduction, gradient).map_err(|error| error.to_string())?;
            }
            let values = object::parameters_mut(&training.network, &mut weights);
            let (optimiser, rate) = (&specification.outer, specification.outer.rate(step, *steps));
            let moved = state.step_by_gradient(kernel, optimiser, rate, gradient, values, &mut |_| ());
            moved.map_err(|error| error.to_string())?;
            Ok(Base { weights: Arc::new(weights), outer: Some(Arc::new(state)) })
        });
        Ok(Recomputed { lines: vec![(0, Ok(computed))], merged: next })
    }
}

impl CoreSum {
    /// Sums blocks one by one, and keeps the gradient of each.
    fn sum_singly(
        &mut self,
        parameters: usize,
        ranges: &[(BlockRange, &Rows<'_>)],
        cut: &GradientSteps,
        mut sum_of: impl FnMut(&[(BlockRange, &Rows<'_>)], &mut GradientSum) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let CoreSum { sum, block, gradients } = self;
        sum.reset(parameters);
        gradients.clear();
        for (range, rows) in ranges {
            for first in range.first..range.first + range.count {
                let single = BlockRange { first, count: 1, ..*range };
                sum_of(&[(single, rows)], block)?;
                let mut gradient = vec![[0; 4]; parameters];
                // No block is without rows.
                let rows = NonZeroU64::new(cut.rows(single).into()).unwrap_or(NonZeroU64::MIN);
                block.of_block(rows, &mut gradient).map_err(TrainError::Gradient)?;
                gradients.push(gradient);
                sum.add_sum(block).map_err(TrainError::Gradient)?;
            }
        }
        Ok(())
    }
}

/// What computes.
pub(super) struct Hardware<'a> {
    /// One a core, and no more than the sums.
    pub(super) trainers: &'a mut [Trainer],
    pub(super) kernel: Kernel,
    /// From the keyboard.
    pub(super) interrupts: &'a Receiver<()>,
}

/// These blocks in the same order, in so many shares or fewer, of equal numbers or such that differ by one.
fn shared(blocks: &[BlockRange], shares: usize) -> Vec<Vec<BlockRange>> {
    let total: u64 = blocks.iter().map(|range| u64::from(range.count)).sum();
    let shares = (shares as u64).clamp(1, total.max(1));
    let mut blocks = blocks.iter().copied();
    let mut rest: Option<BlockRange> = None;
    let share = |number: u64| {
        let mut wanted = ((number + 1) * total / shares - number * total / shares) as u32;
        let mut share = Vec::new();
        while wanted > 0
            && let Some(range) = rest.take().or_else(|| blocks.next())
        {
            let count = range.count.min(wanted);
            share.push(BlockRange { count, ..range });
            rest = Some(BlockRange { first: range.first + count, count: range.count - count, ..range });
            rest = rest.filter(|rest| rest.count > 0);
            wanted -= count;
        }
        share
    };
    (0..shares).map(share).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use crossbeam_channel::{Sender, bounded};

    use super::*;
    use crate::client::conversation::Object;
    use crate::client::recompute::{Recomputer, open_rows};
    use crate::job::{Operation, RowsRef};
    use crate::model::train::Unwatched;
    use crate::model::{ARITHMETIC, BatchSize, Merge, Network, Outer, OuterOptimiser, Recipe, Training, initialise};
    use crate::wire::object::ObjectKind;

    const ROWS: [u32; 3] = [37, 20, 9];

    fn training() -> Training {
        let recipe = Recipe {
            batch: BatchSize::Rows(NonZeroU32::new(24).unwrap()),
            local_steps: Some(1),
            epochs: 1,
            ..Recipe::DEFAULT
        };
        Training {
            arithmetic: ARITHMETIC,
            network: Network::new(2, &[3], 2).unwrap(),
            recipe,
            seed: 7,
            class_weights: Vec::new(),
        }
    }

    fn shards() -> Vec<Object> {
        let shard = |rows: u32| {
            let values: Vec<f32> = (0..2 * rows).map(|value| ((value + rows) as f32 * 0.37).sin()).collect();
            let labels: Vec<u32> = (0..rows).map(|row| row % 2).collect();
            Arc::new(object::encode_rows(2, &values, &labels))
        };
        ROWS.into_iter().map(shard).collect()
    }

    fn specification(shards: &[Object]) -> Specification {
        let reference = |(rows, shard): (u32, &Object)| RowsRef { rows, digest: Digest::of(shard) };
        let references: Vec<RowsRef> = ROWS.into_iter().zip(shards).map(reference).collect();
        Specification {
            patience: None,
            target_accuracy: None,
            test: None,
            training: training(),
            rounds: 2,
            round_steps: None,
            validation: references[0],
            shards: references,
            merge: Merge::Mean,
            outer: Outer { optimiser: OuterOptimiser::Adam, ..Outer::AVERAGE },
            initial: None,
            operation: Operation::default(),
            notes: Vec::new(),
        }
    }

    fn start(specification: &Specification) -> Base {
        let Training { network, recipe, seed, .. } = &specification.training;
        let weights = initialise(network, recipe.initialisation, *seed);
        let weights = object::encode_parameters(ObjectKind::Weights, network, &weights);
        Base { weights: Arc::new(weights), outer: Some(Arc::default()) }
    }

    fn never() -> (Sender<()>, Receiver<()>) {
        bounded(1)
    }

    #[test]
    fn a_steps_sum_is_that_of_one_task_of_its_blocks_on_any_number_of_cores() {
        let (shards, interrupts) = (shards(), never());
        let mut ends = Vec::new();
        for (merge, skipped) in
            Merge::ALL.into_iter().flat_map(|merge| [&[][..], &[1], &[0, 1]].map(|skipped| (merge, skipped)))
        {
            let specification = Specification { merge, ..specification(&shards) };
            let base = start(&specification);
            let steps = specification.gradient_steps().unwrap();
            let blocks = steps.step(1);
            let rows: Vec<Rows<'_>> = shards.iter().map(|shard| open_rows(&specification, shard).unwrap()).collect();
            let kept = blocks.without(skipped);
            let kept: Vec<(BlockRange, &Rows<'_>)> =
                kept.iter().map(|range| (*range, &rows[range.shard as usize])).collect();
            let mut sum = GradientSum::new(Kernel::best(), 0);
            let weights = weights_of(&training().network, &base).unwrap_or_else(|_| panic!("weights"));
            Trainer::new(Kernel::best())
                .sum_gradients(&training(), 0, &kept, &weights, &mut Unwatched, &mut sum)
                .unwrap();
            let expected = Digest::of(&object::encode_sum(Vec::new(), &training().network, &sum));
            let mut next = Vec::new();
            for cores in [1, 2, 3, 50] {
                let mut recomputer = Recomputer::new(&specification, &shards, &interrupts.1).unwrap();
                recomputer.gradients =
                    Some(Gradients::new(steps.clone(), specification.steps(), Kernel::best(), cores));
                recomputer.trainers = (0..cores).map(|_| Trainer::new(Kernel::best())).collect();
                let Recomputed { lines, merged } =
                    recomputer.step(1, &base, skipped).unwrap_or_else(|_| panic!("step"));
                assert_eq!(lines, [(0, Ok(Computed { object: expected, loss: sum.loss() }))], "{skipped:?}, {cores}");
                next.push(Digest::of(&merged.unwrap().unwrap().weights));
            }
            next.dedup();
            assert!(next.len() == 1 && next[0] != Digest::of(&base.weights), "{next:?}");
            ends.push(next[0]);
        }
        // Of three blocks the median is another than the mean; of one it is the same.
        assert_ne!(ends[0], ends[3]);
        assert_eq!(ends[2], ends[5]);
    }

    #[test]
    fn a_step_without_a_block_leads_to_where_it_starts_and_one_without_a_state_to_nothing() {
        let shards = shards();
        let (specification, interrupts) = (specification(&shards), never());
        let mut recomputer = Recomputer::new(&specification, &shards, &interrupts.1).unwrap();
        let weights_only = Base { outer: None, ..start(&specification) };
        let all: Vec<u32> = (0..specification.gradient_steps().unwrap().step(0).count()).collect();
        let empty = recomputer.step(0, &weights_only, &all).unwrap_or_else(|_| panic!("step"));
        assert_eq!(empty.lines, [(0, Ok(Computed { object: Digest([0; 32]), loss: 0.0 }))]);
        assert_eq!(empty.merged.unwrap().unwrap().weights, weights_only.weights);
        let stateless = recomputer.step(0, &weights_only, &all[1..]).unwrap_or_else(|_| panic!("step"));
        assert!(stateless.lines[0].1.is_ok() && stateless.merged.is_none());
        interrupts.0.send(()).unwrap();
        assert!(matches!(recomputer.step(0, &weights_only, &[]), Err(Stopped::Interrupted)));
    }

    #[test]
    fn blocks_are_shared_in_order_and_evenly() {
        let range = |shard, first, count| BlockRange { shard, first, count };
        let blocks = [range(0, 4, 3), range(3, 0, 1), range(4, 2, 3)];
        assert_eq!(shared(&blocks, 1), [blocks.to_vec()]);
        assert_eq!(
            shared(&blocks, 3),
            [vec![range(0, 4, 2)], vec![range(0, 6, 1), range(3, 0, 1)], vec![range(4, 2, 3)]]
        );
        assert_eq!(shared(&blocks, 50).iter().map(|share| share.len()).collect::<Vec<_>>(), [1; 7]);
        assert!(shared(&blocks, 50).concat().iter().all(|range| range.count == 1));
    }
}

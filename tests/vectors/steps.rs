//! Gradients of blocks: their integers, and the steps and medians that they come to.

use std::num::NonZeroU32;
use std::ops::Range;

use gradwire::digest::Digest;
use gradwire::model::train::Unwatched;
use gradwire::model::{
    BatchSize, BlockRange, GradientSteps, GradientSum, Kernel, LittleEndianF32, Loss, LossReduction, Median, Network,
    Outer, OuterOptimiser, OuterState, Recipe, Rows, Trainer, Training,
};
use gradwire::wire::object;

use crate::common::definition::{self, OuterDescent, steps};
use crate::{ADAM, hex, says, tiny};

/// The job of the vectors of steps: two shards, of the rows 0 to 10 and 11 to 19 that a formula gives.
fn stepwise() -> (Training, Vec<f32>, [Rows<'static>; 2]) {
    let recipe =
        Recipe { batch: BatchSize::Rows(NonZeroU32::new(STEP_ROWS).unwrap()), local_steps: Some(1), epochs: 1, ..ADAM };
    let (training, base) = tiny(recipe);
    let rows = [0..11, 11..20].map(|rows: Range<u32>| {
        let values = (3 * rows.start..3 * rows.end).map(|at| (at * 37 % 101) as f32 / 32.0 - 1.5);
        Rows::labelled(3, values.collect::<Vec<_>>(), rows.map(|row| row % 2).collect::<Vec<_>>(), 2).unwrap()
    });
    (training, base, rows)
}

const STEP_ROWS: u32 = 16;
const STEP_OUTER: Outer = Outer { optimiser: OuterOptimiser::Adam, eta: 0.05, ..Outer::AVERAGE };

/// Blocks, their integers, and their loss's: of eight rows, of three, and of both together.
const STEP_SUMS: [(&[BlockRange], &str, &str); 3] = [
    (
        &[BlockRange { shard: 0, first: 0, count: 1 }],
        "00000025a8e54000 fffffdb5fdd80000 ffffffb9e1b30000 00000111d5220000 00000096c2c50000 \
         ffffff34c8de0000 ffffffa2c9580000 000002e7a5700000 ffffff7d099e0000 00000082f6600000 \
         ffffff96b8618000 00000069479e0000 fffffee568860000 0000011a97760000",
        "62b7ff",
    ),
    (
        &[BlockRange { shard: 0, first: 1, count: 1 }],
        "00000016ba270000 ffffffa38d510000 ffffffc4cbad8000 000000f0d3d60000 ffffffc84c404000 \
         000000e294ca0000 0000005cf4080000 fffffe85e42e0000 0000005464dc0000 ffffffab9b248000 \
         000000442a2c0000 ffffffbbd5d48000 0000001a28fcc000 ffffffe5d7040000",
        "16cecd",
    ),
    (
        &[BlockRange { shard: 0, first: 0, count: 2 }],
        "0000003c630c4000 fffffd598b290000 ffffff7ead608000 00000202a8f80000 0000005f0f054000 \
         000000175da80000 ffffffffbd600000 0000016d899e0000 ffffffd16e7a0000 0000002e91848000 \
         ffffffdae28d8000 000000251d728000 fffffeff9182c000 000001006e7a0000",
        "7986cc",
    ),
];
/// The digest of the object that the first step's sum is, whatever its tasks.
const STEP_OBJECT: &str = "75133bd50edc38aca56c43b38b18d63b4719bb24b50f5fcd39f9915c19ef5a51";
/// The gradient of the first step.
const STEP_GRADIENT: &str = "bbc2d486 be447b02 bd64bcb0 3e5ff732 3d9cdd7a bde62b75 bb95657c 3e4adce4 bb09c940 3b09c920 bcd2a418 \
     3cd2a417 bd1ef89c 3d1ef898";
/// The weights after three steps.
const STEP_WEIGHTS: &str = "bf766782 be9ec0fc bf0a5ed1 bef6aa54 bf1fca7a bf097530 bca5b19a bcab871e 3fa0cb6b 3f324e17 bfa79ab2 \
     3f9327b3 3e19dab5 be19dab6";
/// Rows of a batch that has all blocks, of which there are four, and the gradients that are their medians: of all four; of those
/// that are left where number 1 is skipped; of all four where losses are summed.
const MEDIAN_ROWS: u32 = 32;
const MEDIAN_GRADIENTS: [(LossReduction, &[u32], &str); 3] = [
    (
        LossReduction::Mean,
        &[],
        "3c16a395 bddf3884 bd63ff29 3e5ff732 3d16c2c5 bd4b3722 3c9513f1 3c879c3c 3cf4b39c bcf4b39c \
         b726d800 3726d800 bd54d4d8 3d54d4d6",
    ),
    (
        LossReduction::Mean,
        &[1],
        "00000000 bdc7e9df bd0c3c9a 3e08ea91 3d96c2c5 bdcb3722 00000000 3d079c3c 00000000 00000000 \
         b7a6d800 37a6d800 be0d4bbd 3e0d4bbb",
    ),
    (
        LossReduction::Sum,
        &[],
        "3e3c4c7a c00b8352 bf8e7f7a 408bfa80 3f3c7376 bf7e04ea 3eba58ed 3ea9834b 3f18f042 bf18f042 \
         b9508e00 39508e00 bf850507 3f850506",
    ),
];
/// The weights after three steps of the first of these.
const MEDIAN_WEIGHTS: &str = "bf9036b5 be8c6173 bf09b863 bf000090 bf3a5d9b bf020826 be194312 be08a233 3f909aac 3f52af94 \
     bfab094a 3f96964b 3ce9b2f0 bce9b2ec";
/// A row so far off that its sums need more than 64 bits: the integers.
const WIDE_SUM: &str = "0000000000000000e4e1c00000000000 ffffffffffffffff1b1e400000000000 00000000000000000000008000000000 \
     ffffffffffffffffffffff8000000000";

fn integers(sum: &steps::Sum, digits: usize) -> String {
    let mask = if digits < 32 { (1u128 << (4 * digits)) - 1 } else { u128::MAX };
    let one = |value: &i128| format!("{:0digits$x}", *value as u128 & mask);
    sum.gradient.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// What a kernel makes of a task, as an object.
fn task_object(
    kernel: Kernel,
    training: &Training,
    epoch: u64,
    ranges: &[(BlockRange, &Rows<'_>)],
    base: &[f32],
) -> (Vec<u8>, GradientSum) {
    let mut sum = GradientSum::new(kernel, 0);
    Trainer::new(kernel).sum_gradients(training, epoch, ranges, base, &mut Unwatched, &mut sum).unwrap();
    (object::encode_sum(Vec::new(), &training.network, &sum), sum)
}

#[test]
fn blocks_come_to_the_published_integers() {
    let (training, base, rows) = stepwise();
    let shards = rows.each_ref();
    let mut oracle = definition::ARITHMETIC_2;
    for (ranges, published, loss) in STEP_SUMS {
        let blocks: Vec<(u32, u32)> = ranges
            .iter()
            .flat_map(|range| (range.first..range.first + range.count).map(|block| (range.shard, block)))
            .collect();
        let sum = oracle.sum_gradients(&training, STEP_ROWS, 0, &blocks, &shards, &base);
        assert_eq!((integers(&sum, 16).as_str(), format!("{:x}", sum.loss).as_str()), (published, loss));
        says(&format!("q {published} L {loss}"));
        let ranges: Vec<_> = ranges.iter().map(|range| (*range, shards[range.shard as usize])).collect();
        for kernel in Kernel::available() {
            assert!(task_object(kernel, &training, 0, &ranges, &base).0 == sum.object(&training.network), "{kernel}");
        }
    }
    // One row of network 1-2, at weights of 0.
    let recipe = Recipe { loss: Loss::CrossEntropy, ..training.recipe };
    let training = Training { network: Network::new(1, &[], 2).unwrap(), recipe, ..training };
    let rows = Rows::labelled(1, vec![3e7], vec![1], 2).unwrap();
    let sum = oracle.sum_gradients(&training, STEP_ROWS, 0, &[(0, 0)], &[&rows], &[0.0; 4]);
    assert_eq!(integers(&sum, 32), WIDE_SUM);
    says(&format!("q {WIDE_SUM}"));
    let range = BlockRange { shard: 0, first: 0, count: 1 };
    let digest = sum.digest(&training.network).to_string();
    says(&digest);
    for kernel in Kernel::available() {
        let (object, _) = task_object(kernel, &training, 0, &[(range, &rows)], &[0.0; 4]);
        assert_eq!(Digest::of(&object).to_string(), digest, "{kernel}");
    }
}

#[test]
fn three_steps_of_two_tasks_each_lead_to_the_published_weights() {
    let (training, base, rows) = stepwise();
    let shards = rows.each_ref();
    let (network, reduction) = (&training.network, training.recipe.reduction);
    let plan = GradientSteps::new(network, STEP_ROWS, &[11, 9]);
    let (mut oracle, mut job) = (definition::ARITHMETIC_2, OuterDescent::new(STEP_OUTER, 3, base.len()));
    let mut weights = base.clone();
    let mut sums = Vec::new();
    for step in 0..3 {
        let (epoch, blocks) = steps::blocks_of_step(network, STEP_ROWS, &shards, step);
        let sum = oracle.sum_gradients(&training, STEP_ROWS, epoch, &blocks, &shards, &weights);
        let descent: Vec<f32> = sum.step_gradient(reduction).iter().map(|value| -value).collect();
        oracle.outer_step(&mut job, step, &descent, &mut weights);
        sums.push(sum);
    }
    let first = (sums[0].digest(network).to_string(), hex(&sums[0].step_gradient(reduction)));
    assert_eq!(
        (first.0.as_str(), first.1.as_str(), hex(&weights).as_str()),
        (STEP_OBJECT, STEP_GRADIENT, STEP_WEIGHTS)
    );
    says(&format!("SHA-256 {STEP_OBJECT}"));
    says(&format!("g {STEP_GRADIENT}"));
    says(&format!("weights {STEP_WEIGHTS}"));
    for kernel in Kernel::available() {
        let mut weights: Vec<LittleEndianF32> = base.iter().map(|value| value.to_le_bytes()).collect();
        let mut state = OuterState::default();
        for (step, expected) in (0..).zip(&sums) {
            let of_step = plan.step(step);
            let from: Vec<f32> = weights.iter().map(|value| f32::from_le_bytes(*value)).collect();
            let mut sum = GradientSum::new(kernel, from.len());
            for range in of_step.ranges.iter().rev() {
                let task = [(*range, shards[range.shard as usize])];
                sum.add_sum(&task_object(kernel, &training, of_step.epoch, &task, &from).1).unwrap();
            }
            assert!(object::encode_sum(Vec::new(), network, &sum) == expected.object(network), "{kernel}, step {step}");
            let mut gradient = vec![[0; 4]; from.len()];
            sum.gradient(expected.rows.try_into().unwrap(), reduction, &mut gradient).unwrap();
            let rate = STEP_OUTER.rate(step, 3);
            state.step_by_gradient(kernel, &STEP_OUTER, rate, &gradient, &mut weights, &mut |_| ()).unwrap();
        }
        assert_eq!(hex(&weights.into_iter().map(f32::from_le_bytes).collect::<Vec<_>>()), STEP_WEIGHTS, "{kernel}");
    }
}

/// The blocks of the step that has all of them, by themselves and by the definition.
fn single_blocks(
    training: &Training,
    step: u64,
    shards: &[&Rows],
    weights: &[f32],
    skipped: &[u32],
) -> Vec<steps::Sum> {
    let (epoch, blocks) = steps::blocks_of_step(&training.network, MEDIAN_ROWS, shards, step);
    assert_eq!(blocks, [(0, 0), (0, 1), (1, 0), (1, 1)]);
    let kept = (0..).zip(blocks).filter(|(number, _)| !skipped.contains(number));
    let sum = |(_, block)| {
        let mut oracle = definition::ARITHMETIC_2;
        oracle.sum_gradients(training, MEDIAN_ROWS, epoch, &[block], shards, weights)
    };
    kept.map(sum).collect()
}

/// What a kernel makes of them: their median.
fn median_of(
    kernel: Kernel,
    training: &Training,
    step: u64,
    shards: &[&Rows],
    weights: &[f32],
    skipped: &[u32],
) -> Vec<LittleEndianF32> {
    let plan = GradientSteps::new(&training.network, MEDIAN_ROWS, &[11, 9]);
    let of_step = plan.step(step);
    let mut blocks = Vec::new();
    let mut rows = 0;
    for range in of_step.without(skipped) {
        for first in range.first..range.first + range.count {
            let block = BlockRange { first, count: 1, ..range };
            let task = [(block, shards[range.shard as usize])];
            let (_, sum) = task_object(kernel, training, of_step.epoch, &task, weights);
            let mut gradient = vec![[0; 4]; weights.len()];
            sum.of_block(u64::from(plan.rows(block)).try_into().unwrap(), &mut gradient).unwrap();
            blocks.push(gradient);
            rows += u64::from(plan.rows(block));
        }
    }
    let mut gradient = vec![[0; 4]; weights.len()];
    let reduction = training.recipe.reduction;
    let Ok(done) = Median::default().gradient(&mut blocks, rows.try_into().unwrap(), reduction, &mut gradient);
    done.unwrap();
    gradient
}

#[test]
fn medians_of_blocks_are_the_published_gradients_and_three_of_them_lead_to_the_published_weights() {
    let (training, base, rows) = stepwise();
    let shards = rows.each_ref();
    let of_batch = |reduction| {
        let batch = BatchSize::Rows(NonZeroU32::new(MEDIAN_ROWS).unwrap());
        Training { recipe: Recipe { batch, reduction, ..training.recipe }, ..training.clone() }
    };
    for (reduction, skipped, published) in MEDIAN_GRADIENTS {
        let training = of_batch(reduction);
        let blocks = single_blocks(&training, 0, &shards, &base, skipped);
        assert_eq!(hex(&steps::Sum::step_median(&blocks, reduction)), published, "{reduction:?} without {skipped:?}");
        says(published);
        for kernel in Kernel::available() {
            let gradient = median_of(kernel, &training, 0, &shards, &base, skipped);
            assert_eq!(hex(&gradient.into_iter().map(f32::from_le_bytes).collect::<Vec<_>>()), published, "{kernel}");
        }
    }
    let training = of_batch(LossReduction::Mean);
    let (mut oracle, mut job) = (definition::ARITHMETIC_2, OuterDescent::new(STEP_OUTER, 3, base.len()));
    let mut weights = base.clone();
    for step in 0..3 {
        let blocks = single_blocks(&training, step, &shards, &weights, &[]);
        let median = steps::Sum::step_median(&blocks, LossReduction::Mean);
        let descent: Vec<f32> = median.iter().map(|value| -value).collect();
        oracle.outer_step(&mut job, step, &descent, &mut weights);
    }
    assert_eq!(hex(&weights), MEDIAN_WEIGHTS);
    says(&format!("weights {MEDIAN_WEIGHTS}"));
    for kernel in Kernel::available() {
        let mut weights: Vec<LittleEndianF32> = base.iter().map(|value| value.to_le_bytes()).collect();
        let mut state = OuterState::default();
        for step in 0..3 {
            let from: Vec<f32> = weights.iter().map(|value| f32::from_le_bytes(*value)).collect();
            let gradient = median_of(kernel, &training, step, &shards, &from, &[]);
            let rate = STEP_OUTER.rate(step, 3);
            state.step_by_gradient(kernel, &STEP_OUTER, rate, &gradient, &mut weights, &mut |_| ()).unwrap();
        }
        assert_eq!(hex(&weights.into_iter().map(f32::from_le_bytes).collect::<Vec<_>>()), MEDIAN_WEIGHTS, "{kernel}");
    }
}

//! Training and evaluation are arithmetic 2 to the last bit, whatever the shapes and whichever kernel computes.

mod common;

use common::definition::{self, steps::blocks_of_step};
use std::num::NonZeroU32;
use std::ops::ControlFlow;

use gradwire::digest::Digest;
use gradwire::model::evaluate::EvaluateError;
use gradwire::model::random::{Purpose, Stream};
use gradwire::model::rows::{RowParts, RowsError};
use gradwire::model::train::{TrainError, Unwatched};
use gradwire::model::{
    ARITHMETIC, Activation, BatchSize, BlockRange, GradientSteps, GradientSum, Initialisation, Kernel, Loss,
    LossReduction, Metric, Network, Optimiser, Recipe, RecipeError, Rows, TargetKind, Targets, TargetsError, Trained,
    Trainer, Training, Watch, block_rows, evaluate, initialise, predict,
};
use gradwire::wire::object;
use proptest::prelude::*;

/// Made-up data: features roughly uniform in -2..2, labels that follow from them.
fn rows(features: u32, count: u32, classes: u32, seed: u64) -> Rows<'static> {
    let mut stream = Stream::new(Purpose::Split, seed, [9; 3]);
    let values: Vec<f32> = (0..features * count).map(|_| stream.symmetric(2.0)).collect();
    let labels: Vec<u32> =
        values.chunks(features as usize).map(|row| (row[0].abs() * 100.0) as u32 % classes).collect();
    Rows::labelled(features, values, labels, classes).unwrap()
}

fn training(sizes: &[u32], recipe: Recipe) -> Training {
    let (last, rest) = sizes.split_last().unwrap();
    let network = Network::new(rest[0], &rest[1..], *last).unwrap();
    Training { arithmetic: ARITHMETIC, network, recipe: recipe.checked().unwrap(), seed: 5, class_weights: Vec::new() }
}

fn batches_of(rows: u32) -> BatchSize {
    BatchSize::Rows(NonZeroU32::new(rows).unwrap())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Trains and evaluates by every kernel and by the definition, and compares bits.
fn agrees_with_the_definition(training: &Training, rows: &Rows<'_>) {
    let (step, shard) = (3, 7);
    let base = initialise(&training.network, training.recipe.initialisation, training.seed);
    let mut definition = definition::ARITHMETIC_2;
    let (update, loss, epochs) = definition.train(training, step, shard, &base, rows);
    let trained_weights: Vec<f32> = base.iter().zip(&update).map(|(base, update)| base + update).collect();
    let metrics = definition.evaluate(training, &trained_weights, rows);
    let what = format!("{} {:?} {} rows", training.network, training.recipe, rows.rows());
    for kernel in Kernel::available() {
        let trained = Trainer::new(kernel).train(training, step, shard, &base, rows, &mut Unwatched).unwrap();
        let differing = bits(&trained.update).into_iter().zip(bits(&update)).position(|(a, b)| a != b);
        assert_eq!(differing, None, "first differing parameter, {kernel}: {what}");
        assert_eq!(trained.loss.to_bits(), loss.to_bits(), "{kernel}: {} {loss} {what}", trained.loss);
        assert_eq!(trained.epochs, epochs, "{kernel}: {what}");
        let evaluation = evaluate(kernel, &training.network, &training.recipe, &trained_weights, rows).unwrap();
        assert_eq!((evaluation.rows, evaluation.metrics), (u64::from(rows.rows()), metrics), "{kernel}: {what}");
        let mut values = Vec::new();
        rows.inputs().expand(0..rows.rows() as usize, &mut values);
        let predicted =
            predict(kernel, &training.network, training.recipe.activation, &trained_weights, &values).unwrap();
        let Some(errors) = metrics.get(Metric::Errors) else { continue };
        let wrong = predicted.iter().zip(rows.targets().labels()).filter(|(class, label)| class != label).count();
        assert_eq!(wrong as f64, errors, "{kernel}: {what}");
    }
}

/// Rows of which indices stand for some inputs, and the same with those written as they are.
fn rows_with_indices(
    inputs: u32,
    columns: &[[u32; 2]],
    count: u32,
    classes: u32,
) -> (Network, Rows<'static>, Rows<'static>) {
    let network = Network::new(inputs, &[9], classes).unwrap().with_index_columns(columns).unwrap();
    let layout = network.input_layout();
    let drawn = rows(layout.plain_inputs().max(1), count, classes, 5);
    let values = if layout.plain_inputs() == 0 { Vec::new() } else { drawn.values().to_vec() };
    let mut stream = Stream::new(Purpose::Split, 21, [inputs.into(), 0, 0]);
    let (mut indices, mut expanded) = (Vec::new(), Vec::new());
    for row in 0..count as usize {
        let mut plain = values[row * layout.plain_inputs() as usize..].iter();
        let end = (row + 1) * inputs as usize;
        for &[before, levels] in columns {
            // Its number says that none is 1.
            let index = stream.below(levels + 1);
            indices.extend(&index.to_le_bytes()[..layout.index_bytes()]);
            expanded.extend(plain.by_ref().take(before as usize));
            expanded.extend((0..levels).map(|level| f32::from(u8::from(level == index))));
        }
        expanded.extend(plain.take(end - expanded.len()));
    }
    let targets = drawn.targets().clone();
    let parts = RowParts { values: values.into(), indices: indices.into(), targets: targets.clone() };
    let indexed = Rows::of_parts(layout, parts).unwrap();
    let plain = Rows::new(inputs, expanded, targets).unwrap();
    (network, indexed, plain)
}

#[test]
fn indices_train_the_bits_that_their_zeros_and_ones_train() {
    let cases: [(u32, &[[u32; 2]]); 4] =
        [(4, &[[0, 4]]), (21, &[[3, 5], [0, 2], [1, 1]]), (320, &[[2, 300]]), (66_000, &[[5, 65_990]])];
    for (inputs, columns) in cases {
        let (network, indexed, plain) = rows_with_indices(inputs, columns, if inputs > 1_000 { 20 } else { 150 }, 3);
        let recipes = [
            Recipe { batch: batches_of(37), epochs: 2, dropout: 0.25, ..Recipe::DEFAULT },
            Recipe { batch: BatchSize::Full, ..Recipe::CLASSIC },
        ];
        for recipe in recipes {
            let training = Training {
                arithmetic: ARITHMETIC,
                network: network.clone(),
                recipe,
                seed: 1,
                class_weights: Vec::new(),
            };
            if inputs < 1_000 {
                agrees_with_the_definition(&training, &indexed);
            }
            let base = initialise(&network, recipe.initialisation, 1);
            for kernel in Kernel::available() {
                let [trained, wanted] = [&indexed, &plain]
                    .map(|rows| Trainer::new(kernel).train(&training, 3, 7, &base, rows, &mut Unwatched).unwrap());
                assert!(bits(&trained.update) == bits(&wanted.update), "{kernel}: {columns:?}");
                let [told, wanted] =
                    [&indexed, &plain].map(|rows| evaluate(kernel, &network, &recipe, &base, rows).unwrap());
                assert_eq!(told, wanted, "{kernel}: {columns:?}");
            }
        }
        let recipe = Recipe {
            batch: batches_of(64),
            epochs: 1,
            local_steps: Some(1),
            stop_loss_change: None,
            ..Recipe::DEFAULT
        };
        let training =
            Training { arithmetic: ARITHMETIC, network: network.clone(), recipe, seed: 1, class_weights: Vec::new() };
        let base = initialise(&network, recipe.initialisation, 1);
        let ranges = BlockRange { shard: 0, first: 0, count: indexed.rows().div_ceil(block_rows(&network, 64)) };
        for kernel in Kernel::available() {
            let [told, wanted] = [&indexed, &plain].map(|rows| {
                let mut sum = GradientSum::new(kernel, 0);
                Trainer::new(kernel)
                    .sum_gradients(&training, 1, &[(ranges, rows)], &base, &mut Unwatched, &mut sum)
                    .unwrap();
                object::encode_sum(Vec::new(), &network, &sum)
            });
            assert!(told == wanted, "{kernel}: {columns:?}");
        }
    }
}

#[test]
fn every_activation_depth_and_optimiser_is_the_definitions() {
    for activation in Activation::ALL {
        for optimiser in [Optimiser::Sgd, Optimiser::Adam] {
            for sizes in [&[5, 3][..], &[7, 11, 3], &[3, 9, 14, 5], &[6, 5, 4, 3, 2]] {
                let recipe = Recipe { activation, optimiser, batch: batches_of(37), epochs: 2, ..Recipe::DEFAULT };
                agrees_with_the_definition(&training(sizes, recipe), &rows(sizes[0], 80, sizes[sizes.len() - 1], 1));
            }
        }
    }
}

/// The same features with targets that follow from them.
fn rows_of_values(features: u32, count: u32, width: u32, seed: u64) -> Rows<'static> {
    let values = rows(features, count, 2, seed).values().to_vec();
    let of_row = |row: &[f32]| (0..width).map(|target| row[0] * row[row.len() - 1] + target as f32).collect::<Vec<_>>();
    let targets = values.chunks(features as usize).flat_map(of_row).collect::<Vec<f32>>();
    Rows::new(features, values, Targets::Values { values: targets.into(), width }).unwrap()
}

#[test]
fn the_losses_of_any_number_of_targets_are_the_definitions() {
    for (sizes, count) in [(&[5, 1][..], 9), (&[7, 11, 1], 300), (&[3, 9, 4, 3], 140), (&[70, 65, 17], 33)] {
        for batch in [BatchSize::Full, batches_of(20), batches_of(1)] {
            for optimiser in Optimiser::ALL {
                for (loss, huber_delta) in [(Loss::SquaredError, 1.0), (Loss::Huber, 0.75), (Loss::Huber, 1e6)] {
                    let (activation, eta) = (Activation::Tanh, 1e-3);
                    let recipe =
                        Recipe { loss, huber_delta, activation, optimiser, batch, eta, epochs: 2, ..Recipe::DEFAULT };
                    let targets = sizes[sizes.len() - 1];
                    agrees_with_the_definition(&training(sizes, recipe), &rows_of_values(sizes[0], count, targets, 4));
                }
            }
        }
    }
}

#[test]
fn targets_that_are_not_the_losss_are_refused() {
    let regression = Recipe { loss: Loss::SquaredError, ..Recipe::DEFAULT };
    let refused = |sizes: &[u32], recipe, rows: &Rows<'_>| {
        let task = training(sizes, recipe);
        let base = initialise(&task.network, Initialisation::He, 1);
        Trainer::new(Kernel::best()).train(&task, 0, 0, &base, rows, &mut Unwatched).unwrap_err()
    };
    let of_values = rows_of_values(4, 9, 3, 1);
    let kind = |wanted| TrainError::Targets(TargetsError::Kind { wanted });
    assert_eq!(refused(&[4, 3], regression, &rows(4, 9, 3, 1)), kind(TargetKind::Values));
    assert_eq!(refused(&[4, 3], Recipe::DEFAULT, &of_values), kind(TargetKind::Labels));
    let width = TrainError::Targets(TargetsError::Width { got: 3, expected: 2 });
    assert_eq!(refused(&[4, 2], regression, &of_values), width);
    assert!(matches!(refused(&[4, 1], Recipe::DEFAULT, &rows(4, 9, 1, 1)), TrainError::Outputs(_)));
    let targets = Targets::Values { values: vec![1.0, f32::NAN].into(), width: 1 };
    let error = TargetsError::NotFinite { row: 1, target: 0 };
    assert_eq!(Rows::new(1, vec![1.0; 2], targets), Err(RowsError::Targets(error)));
    let tiny = Targets::Values { values: vec![1e-13, -1.0].into(), width: 2 };
    let cut = Targets::Values { values: vec![0.0, -1.0].into(), width: 2 };
    assert_eq!(*Rows::new(1, vec![1.0], tiny).unwrap().targets(), cut);
}

#[test]
fn every_constant_of_the_optimisers_is_the_definitions() {
    let fading = [[0.9, 0.999], [0.0, 0.0], [0.5, 0.9], [0.1, 0.9999], [0.95, 0.95], [0.9999, 0.1]];
    for (betas, epsilon, weight_decay) in fading
        .into_iter()
        .zip([1e-12, 1e-8, 1.0, 1e-3, 1e-5, 0.1])
        .zip([0.0, 0.01, 0.5, 1e-12, 1e-4, 0.999])
        .map(|((betas, epsilon), weight_decay)| (betas, epsilon, weight_decay))
    {
        for optimiser in Optimiser::ALL {
            for batch in [BatchSize::Full, batches_of(1)] {
                let recipe = Recipe { optimiser, batch, epochs: 2, betas, epsilon, weight_decay, ..Recipe::DEFAULT };
                agrees_with_the_definition(&training(&[7, 11, 3], recipe), &rows(7, 80, 3, 9));
            }
        }
    }
}

#[test]
fn one_row_a_few_more_than_a_block_and_many_blocks_are_the_definitions() {
    for count in [1, 7, 8, 9, 127, 128, 129, 255, 256, 257, 385, 700] {
        for batch in [BatchSize::Full, batches_of(200)] {
            let recipe = Recipe { batch, epochs: 2, log_epsilon: 1e-6, ..Recipe::DEFAULT };
            agrees_with_the_definition(&training(&[16, 20, 26], recipe), &rows(16, count, 26, 2));
        }
    }
}

#[test]
fn layers_on_both_sides_of_4096_weights_are_the_definitions() {
    // 64 x 64 is the last on lanes; 300 and 520 are deeper than a tile.
    for sizes in [&[64, 64, 5][..], &[64, 65, 5], &[300, 17, 10], &[520, 9], &[11, 300, 23, 4], &[70, 130, 70, 3]] {
        for (count, batch) in [(150, BatchSize::Full), (70, batches_of(20))] {
            let recipe = Recipe { batch, epochs: 1, reduction: LossReduction::Sum, eta: 0.002, ..Recipe::DEFAULT };
            agrees_with_the_definition(&training(sizes, recipe), &rows(sizes[0], count, sizes[sizes.len() - 1], 3));
        }
    }
}

#[test]
fn every_width_up_to_thirty_is_the_definitions() {
    for width in 1..=30 {
        let recipe = Recipe { batch: BatchSize::Full, epochs: 1, ..Recipe::DEFAULT };
        agrees_with_the_definition(&training(&[width, 31 - width, width + 1], recipe), &rows(width, 29, width + 1, 4));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_small_task_is_the_definitions(
        inputs in 1u32..90,
        hidden in proptest::collection::vec(1u32..90, 0..3),
        classes in 2u32..40,
        count in 1u32..300,
        batch in 0u32..160,
        choices in (0usize..4, 0..Optimiser::ALL.len(), any::<bool>(), any::<bool>(), any::<bool>()),
        seed in any::<u64>(),
    ) {
        let (activation, optimiser, sum, small, epsilon) = choices;
        let recipe = Recipe {
            activation: Activation::ALL[activation],
            optimiser: Optimiser::ALL[optimiser],
            reduction: if sum { LossReduction::Sum } else { LossReduction::Mean },
            initialisation: if small { Initialisation::Small } else { Initialisation::He },
            eta: 0.001,
            eta_decay: 0.9,
            batch: if batch == 0 { BatchSize::Full } else { batches_of(batch) },
            epochs: 1 + u32::from(batch == 0),
            log_epsilon: if epsilon { 1e-6 } else { 0.0 },
            stop_loss_change: None,
            local_steps: None,
            ..Recipe::DEFAULT
        };
        let mut sizes = vec![inputs];
        sizes.extend(hidden);
        sizes.push(classes);
        agrees_with_the_definition(&training(&sizes, recipe), &rows(inputs, count, classes, seed));
    }
}

#[test]
fn local_steps_go_on_where_the_last_rounds_ended() {
    for (steps, batch, count) in [(2, 7, 50), (5, 50, 50), (9, 64, 50), (3, 1, 2)] {
        for optimiser in Optimiser::ALL {
            let local_steps = Some(steps);
            let recipe = Recipe { local_steps, optimiser, batch: batches_of(batch), epochs: 1, ..Recipe::DEFAULT };
            agrees_with_the_definition(&training(&[6, 9, 3], recipe), &rows(6, count, 3, 3));
        }
    }
}

/// A task: ranges of blocks.
type Task = Vec<BlockRange>;

/// Ways to cut a step into tasks.
fn cuts(ranges: &[BlockRange]) -> Vec<Vec<Task>> {
    let halves = |range: &BlockRange| {
        let (shard, half) = (range.shard, range.count / 2);
        let later = BlockRange { shard, first: range.first + half, count: range.count - half };
        [BlockRange { count: half, ..*range }, later].into_iter().filter(|range| range.count > 0)
    };
    let single = |range: &BlockRange| {
        let BlockRange { shard, first, count } = *range;
        (first..first + count).rev().map(move |first| vec![BlockRange { shard, first, count: 1 }])
    };
    let (odd, even): (Vec<_>, Vec<_>) =
        ranges.iter().flat_map(halves).enumerate().partition(|(place, _)| place % 2 > 0);
    let of = |places: Vec<(usize, BlockRange)>| places.into_iter().map(|(_, range)| range).collect::<Task>();
    vec![
        vec![ranges.to_vec()],
        ranges.iter().rev().map(|range| vec![*range]).collect(),
        ranges.iter().flat_map(single).collect(),
        [of(odd), of(even)].into_iter().filter(|task| !task.is_empty()).collect(),
    ]
}

/// Sums the gradients of steps by every kernel, in every cut, and compares their objects with the definition's.
fn sums_agree_with_the_definition(sizes: &[u32], recipe: Recipe, batch: u32, shards: &[&Rows<'_>], steps: &[u64]) {
    let recipe = Recipe { local_steps: Some(1), epochs: 1, batch: batches_of(batch), ..recipe };
    sums_of_training_agree(&training(sizes, recipe), batch, shards, steps);
}

fn sums_of_training_agree(training: &Training, batch: u32, shards: &[&Rows<'_>], steps: &[u64]) {
    let network = &training.network;
    let base = initialise(network, training.recipe.initialisation, training.seed);
    let shard_rows: Vec<u32> = shards.iter().map(|rows| rows.rows()).collect();
    let plan = GradientSteps::new(network, batch, &shard_rows);
    assert_eq!(plan.block_rows(), definition::steps::block_rows(network, batch));
    for &step in steps {
        let of_step = plan.step(step);
        let (epoch, blocks) = blocks_of_step(network, batch, shards, step);
        assert_eq!(of_step.epoch, epoch);
        let mut definition = definition::ARITHMETIC_2;
        let expected = definition.sum_gradients(training, batch, epoch, &blocks, shards, &base);
        let object = expected.object(network);
        for kernel in Kernel::available() {
            let (mut trainer, mut task_sum) = (Trainer::new(kernel), GradientSum::new(kernel, 0));
            for cut in cuts(&of_step.ranges) {
                let mut step_sum = GradientSum::new(kernel, network.parameters());
                for task in &cut {
                    let ranges: Vec<_> = task.iter().map(|range| (*range, shards[range.shard as usize])).collect();
                    let summed = trainer.sum_gradients(training, epoch, &ranges, &base, &mut Unwatched, &mut task_sum);
                    summed.unwrap();
                    let bytes = object::encode_sum(Vec::new(), network, &task_sum);
                    let layout = object::check_sum(network, &bytes, bytes.len() as u64).unwrap();
                    let words = bytes[layout.start..].as_chunks().0;
                    step_sum.add_words(&layout.runs, words.chunks(5).collect(), task_sum.blocks()).unwrap();
                }
                let what = format!("{kernel}, step {step} of {network} by {batch}, {} tasks", cut.len());
                assert!(object::encode_sum(Vec::new(), network, &step_sum) == object, "{what}");
                assert_eq!(step_sum.loss(), expected.loss(), "{what}");
                assert_eq!(step_sum.blocks(), blocks.len() as u64, "{what}");
                let mut gradient = vec![[0; 4]; network.parameters()];
                for reduction in LossReduction::ALL {
                    step_sum.gradient(expected.rows.try_into().unwrap(), reduction, &mut gradient).unwrap();
                    let ours: Vec<f32> = gradient.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                    assert_eq!(bits(&ours), bits(&expected.step_gradient(reduction)), "{what}");
                }
            }
        }
    }
}

#[test]
fn every_kernel_and_every_cut_of_a_step_gives_the_definitions_sum() {
    for (sizes, batch, counts) in [
        (&[5, 3][..], 64, &[33, 8, 50][..]),
        (&[7, 11, 3], 24, &[100, 3, 57, 8]),
        (&[16, 20, 26], 2048, &[700]),
        (&[3, 9, 14, 5], 5, &[13, 4]),
        // A layer of more than 4096 weights in blocks of 16 and 32, and of one row.
        (&[70, 65, 9], 40, &[45, 9]),
        (&[300, 70, 10], 100, &[161, 33]),
        (&[70, 65, 9], 1, &[3]),
        (&[600, 300, 4], 400, &[300, 129]),
    ] {
        let shards: Vec<_> =
            (1..).zip(counts).map(|(seed, count)| rows(sizes[0], *count, *sizes.last().unwrap(), seed)).collect();
        let shards: Vec<&Rows<'_>> = shards.iter().collect();
        sums_agree_with_the_definition(sizes, Recipe::DEFAULT, batch, &shards, &[0, 1, 4]);
    }
}

/// The last block of a shard is a short one, and other shards' may stand behind it in a task: whatever its length, each block's
/// gradient is its own.
#[test]
fn short_blocks_in_front_of_others_are_blocks_by_themselves() {
    for counts in [&[40, 40, 40, 40][..], &[40, 48, 56, 32, 8], &[8, 16, 24, 31, 64], &[33, 40, 32, 47]] {
        let shards: Vec<_> = (1..).zip(counts).map(|(seed, count)| rows(200, *count, 3, seed)).collect();
        let shards: Vec<&Rows<'_>> = shards.iter().collect();
        let network = Network::new(200, &[90], 3).unwrap();
        let shard_rows: Vec<u32> = counts.to_vec();
        let plan = GradientSteps::new(&network, 128, &shard_rows);
        assert_eq!(plan.block_rows(), 32, "the lengths are chosen for it");
        sums_agree_with_the_definition(&[200, 90, 3], Recipe::DEFAULT, 128, &shards, &[0, 1, 2, 3]);
    }
}

#[test]
fn sums_of_every_activation_and_loss_are_the_definitions() {
    for activation in Activation::ALL {
        let recipe = Recipe { activation, log_epsilon: 1e-6, ..Recipe::DEFAULT };
        sums_agree_with_the_definition(&[6, 9, 5, 3], recipe, 16, &[&rows(6, 37, 3, 1)], &[2]);
    }
    let recipe = Recipe { loss: Loss::SquaredError, reduction: LossReduction::Sum, ..Recipe::DEFAULT };
    let (first, second) = (rows_of_values(4, 21, 2, 1), rows_of_values(4, 40, 2, 2));
    sums_agree_with_the_definition(&[4, 9, 2], recipe, 32, &[&first, &second], &[0, 1]);
    let huber = Recipe { loss: Loss::Huber, huber_delta: 0.25, ..recipe };
    sums_agree_with_the_definition(&[4, 9, 2], huber, 32, &[&first, &second], &[0, 1]);
    // Of features so large that integers of 64 bits are too small.
    let large = first.values().iter().map(|value| value * 1e4).collect::<Vec<_>>();
    let large = Rows::new(4, large, first.targets().clone()).unwrap();
    sums_agree_with_the_definition(&[4, 9, 2], recipe, 32, &[&large, &second], &[0, 1]);
}

#[test]
fn classes_that_weigh_are_the_definitions_in_tasks_and_in_every_cut_of_a_step() {
    for sizes in [&[5, 3][..], &[7, 11, 2], &[3, 9, 14, 5], &[70, 65, 9]] {
        let classes = sizes[sizes.len() - 1];
        let class_weights: Vec<f32> =
            [0.3, 2.5, 1e-9, 40.0, 1.0].iter().copied().cycle().take(classes as usize).collect();
        let (first, second) = (rows(sizes[0], 150, classes, 1), rows(sizes[0], 37, classes, 2));
        for batch in [BatchSize::Full, batches_of(37)] {
            let recipe = Recipe { batch, epochs: 2, ..Recipe::DEFAULT };
            let weighted = Training { class_weights: class_weights.clone(), ..training(sizes, recipe) };
            agrees_with_the_definition(&weighted, &first);
            // As if they did not: the losses before the first update, and nothing else.
            let base = initialise(&weighted.network, recipe.initialisation, weighted.seed);
            let of = |training: &Training| {
                let one = Training { recipe: Recipe { epochs: 1, ..training.recipe }, ..training.clone() };
                Trainer::new(Kernel::best()).train(&one, 0, 0, &base, &first, &mut Unwatched).unwrap()
            };
            let (with, without) = (of(&weighted), of(&training(sizes, recipe)));
            assert_ne!(bits(&with.update), bits(&without.update));
            assert_eq!(with.loss == without.loss, batch == BatchSize::Full);
        }
        let recipe = Recipe { local_steps: Some(1), epochs: 1, batch: batches_of(64), ..Recipe::DEFAULT };
        let weighted = Training { class_weights, ..training(sizes, recipe) };
        sums_of_training_agree(&weighted, 64, &[&first, &second], &[0, 1, 5]);
    }
}

#[test]
fn smoothed_labels_are_the_definitions_in_tasks_and_in_steps_and_change_no_loss_of_the_same_weights() {
    for sizes in [&[5, 3][..], &[7, 11, 2], &[3, 9, 14, 5], &[70, 65, 9]] {
        let classes = sizes[sizes.len() - 1];
        let (first, second) = (rows(sizes[0], 150, classes, 1), rows(sizes[0], 37, classes, 2));
        for (label_smoothing, class_weights) in [(0.1, vec![]), (1e-6, vec![]), (0.5, vec![0.7; classes as usize])] {
            for batch in [BatchSize::Full, batches_of(37)] {
                let recipe = Recipe { batch, epochs: 2, label_smoothing, ..Recipe::DEFAULT };
                let smoothed = Training { class_weights: class_weights.clone(), ..training(sizes, recipe) };
                agrees_with_the_definition(&smoothed, &first);
            }
            let recipe =
                Recipe { local_steps: Some(1), epochs: 1, batch: batches_of(64), label_smoothing, ..Recipe::DEFAULT };
            let smoothed = Training { class_weights, ..training(sizes, recipe) };
            sums_of_training_agree(&smoothed, 64, &[&first, &second], &[0, 1, 5]);
        }
        let of = |label_smoothing| {
            let recipe = Recipe { batch: BatchSize::Full, epochs: 1, label_smoothing, ..Recipe::DEFAULT };
            let training = training(sizes, recipe);
            let base = initialise(&training.network, recipe.initialisation, training.seed);
            Trainer::new(Kernel::best()).train(&training, 0, 0, &base, &first, &mut Unwatched).unwrap()
        };
        let (with, without) = (of(0.25), of(0.0));
        assert_ne!(bits(&with.update), bits(&without.update));
        assert_eq!(with.loss, without.loss);
    }
}

#[test]
fn dropped_outputs_are_the_definitions_in_tasks_and_in_every_cut_of_a_step() {
    for sizes in [&[5, 3][..], &[7, 11, 2], &[3, 9, 14, 5], &[70, 65, 9]] {
        let classes = sizes[sizes.len() - 1];
        let (first, second) = (rows(sizes[0], 150, classes, 1), rows(sizes[0], 37, classes, 2));
        for activation in Activation::ALL {
            let dropping = Recipe { activation, dropout: 0.4, ..Recipe::DEFAULT };
            for batch in [BatchSize::Full, batches_of(37)] {
                let recipe = Recipe { batch, epochs: 3, ..dropping };
                agrees_with_the_definition(&training(sizes, recipe), &first);
            }
            let of_steps = Recipe { local_steps: Some(5), epochs: 1, batch: batches_of(37), ..dropping };
            agrees_with_the_definition(&training(sizes, of_steps), &first);
            let merged = Recipe { local_steps: Some(1), epochs: 1, batch: batches_of(64), ..dropping };
            sums_of_training_agree(&training(sizes, merged), 64, &[&first, &second], &[0, 1, 5]);
        }
    }
}

#[test]
fn weights_of_classes_that_do_not_belong_to_the_task_are_refused() {
    let refused = |loss, class_weights: &[f32]| {
        let training =
            Training { class_weights: class_weights.to_vec(), ..training(&[2, 3], Recipe { loss, ..Recipe::DEFAULT }) };
        let base = vec![0.0; 9];
        let rows = rows(2, 8, 3, 1);
        Trainer::new(Kernel::best()).train(&training, 0, 0, &base, &rows, &mut Unwatched).unwrap_err()
    };
    for wrong in [
        &[1.0, 1.0][..],
        &[1.0; 4],
        &[1.0, 0.0, 1.0],
        &[1.0, -1.0, 1.0],
        &[1.0, f32::NAN, 1.0],
        &[1e10; 3],
        &[1e-10; 3],
    ] {
        assert!(matches!(refused(Loss::CrossEntropy, wrong), TrainError::Recipe(_)), "{wrong:?}");
    }
    assert!(matches!(refused(Loss::SquaredError, &[1.0; 3]), TrainError::Recipe(RecipeError::ClassWeightsOfNumbers)));
}

#[test]
fn a_sum_of_gradients_whose_parts_do_not_belong_together_is_refused() {
    let recipe = Recipe { local_steps: Some(1), epochs: 1, ..Recipe::DEFAULT };
    let task = training(&[4, 5, 3], recipe);
    let base = initialise(&task.network, Initialisation::He, 1);
    let good = rows(4, 20, 3, 8);
    let range = |first, count| BlockRange { shard: 7, first, count };
    let mut trainer = Trainer::new(Kernel::best());
    let mut sum = GradientSum::new(Kernel::best(), 0);
    let mut refused = |task: &Training, range: BlockRange, base: &[f32], rows: &Rows<'_>| {
        trainer.sum_gradients(task, 0, &[(range, rows)], base, &mut Unwatched, &mut sum).unwrap_err()
    };
    let epochs = Training { recipe: Recipe { local_steps: None, ..recipe }, ..task.clone() };
    let local_steps = Training { recipe: Recipe { local_steps: Some(2), ..recipe }, ..task.clone() };
    for task in [&epochs, &local_steps] {
        assert_eq!(refused(task, range(0, 1), &base, &good), TrainError::Yields { gradients: false });
    }
    assert_eq!(refused(&task, range(1, 3), &base, &good), TrainError::Blocks { shard: 7, got: 4, blocks: 3 });
    assert_eq!(refused(&task, range(0, 0), &base, &good), TrainError::Blocks { shard: 7, got: 0, blocks: 3 });
    let beyond = TrainError::Blocks { shard: 7, got: 2 * u64::from(u32::MAX), blocks: 3 };
    assert_eq!(refused(&task, range(u32::MAX, u32::MAX), &base, &good), beyond);
    assert_eq!(refused(&task, range(0, 1), &base[1..], &good), TrainError::Base { got: 42, expected: 43 });
    assert_eq!(refused(&task, range(0, 1), &base, &rows(5, 9, 3, 1)), TrainError::Features { got: 5, expected: 4 });
    let mut away = base.clone();
    away[3] = f32::MAX;
    assert!(matches!(refused(&task, range(0, 1), &away, &good), TrainError::Gradient(_)));
    let update = trainer.train(&task, 0, 0, &base, &good, &mut Unwatched);
    assert_eq!(update, Err(TrainError::Yields { gradients: true }));
    // 64 blocks of 8 rows go 16 at a time, and the watch may end it between.
    let many = rows(4, 512, 3, 8);
    assert_eq!(block_rows(&task.network, 32), 8);
    let mut sum_of =
        |watch: &mut dyn Watch| trainer.sum_gradients(&task, 0, &[(range(0, 64), &many)], &base, watch, &mut sum);
    let mut all = StopAfter(u64::MAX, Vec::new());
    assert_eq!(sum_of(&mut all), Ok(()));
    assert_eq!(all.1, [16, 32, 48, 64].map(|done| (done, 64)));
    assert_eq!(sum_of(&mut StopAfter(32, Vec::new())), Err(TrainError::Cancelled));
}

#[test]
fn a_task_stops_once_its_loss_hardly_changes() {
    let rows = rows(6, 150, 3, 6);
    let recipe = Recipe {
        initialisation: Initialisation::He,
        eta: 1e-3,
        epochs: 200,
        stop_loss_change: Some(0.2),
        local_steps: None,
        ..Recipe::CLASSIC
    };
    let task = training(&[6, 5, 3], recipe);
    agrees_with_the_definition(&task, &rows);
    let base = initialise(&task.network, recipe.initialisation, task.seed);
    let mut trainer = Trainer::new(Kernel::best());
    let mut epochs = |stop_loss_change| {
        let task = Training { recipe: Recipe { stop_loss_change, ..recipe }, ..task.clone() };
        trainer.train(&task, 0, 0, &base, &rows, &mut Unwatched).unwrap().epochs
    };
    let stopped = epochs(Some(0.2));
    assert!(stopped > 1 && stopped < 200, "{stopped}");
    assert_eq!(epochs(None), 200);
    assert_eq!(epochs(Some(1e9)), 1);
}

#[test]
fn a_trainer_remembers_nothing_from_task_to_task() {
    let shapes: [&[u32]; 3] = [&[70, 80, 9], &[3, 2], &[16, 20, 26]];
    let mut trainer = Trainer::new(Kernel::best());
    for sizes in shapes.iter().chain(&shapes) {
        for batch in [BatchSize::Full, batches_of(50)] {
            let task = training(sizes, Recipe { batch, epochs: 2, ..Recipe::DEFAULT });
            let rows = rows(sizes[0], 300, sizes[sizes.len() - 1], 7);
            let base = initialise(&task.network, Initialisation::He, 1);
            let used = trainer.train(&task, 1, 2, &base, &rows, &mut Unwatched).unwrap();
            let fresh = Trainer::new(Kernel::best()).train(&task, 1, 2, &base, &rows, &mut Unwatched).unwrap();
            assert_eq!(used, fresh);
        }
    }
}

#[test]
fn step_shard_and_seed_each_change_the_order_of_rows() {
    let task = training(&[4, 3], Recipe { batch: batches_of(8), ..Recipe::DEFAULT });
    let rows = rows(4, 50, 3, 8);
    let base = initialise(&task.network, Initialisation::He, 1);
    let mut trainer = Trainer::new(Kernel::best());
    let mut update = |task: &Training, step, shard| {
        // No decay, so that a step changes nothing but the order.
        let task = Training { recipe: Recipe { eta_decay: 1.0, ..task.recipe }, ..task.clone() };
        trainer.train(&task, step, shard, &base, &rows, &mut Unwatched).unwrap().update
    };
    let first = update(&task, 0, 0);
    assert_eq!(first, update(&task, 0, 0));
    assert_ne!(first, update(&task, 1, 0));
    assert_ne!(first, update(&task, 0, 1));
    assert_ne!(first, update(&Training { seed: 6, ..task.clone() }, 0, 0));
}

/// Stops after so many batches, and writes down what it was told.
struct StopAfter(u64, Vec<(u64, u64)>);

impl Watch for StopAfter {
    fn batch_done(&mut self, done: u64, planned: u64) -> ControlFlow<()> {
        self.1.push((done, planned));
        if done == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn the_watch_sees_every_batch_and_can_end_the_task_between_two() {
    let rows = rows(4, 50, 3, 8);
    for (batch, planned) in [(batches_of(20), 6), (BatchSize::Full, 2)] {
        let task = training(&[4, 3], Recipe { batch, epochs: 2, ..Recipe::DEFAULT });
        let base = initialise(&task.network, Initialisation::He, 1);
        let mut trainer = Trainer::new(Kernel::best());
        let mut all = StopAfter(u64::MAX, Vec::new());
        assert!(trainer.train(&task, 0, 0, &base, &rows, &mut all).is_ok());
        assert_eq!(all.1, (1..=planned).map(|done| (done, planned)).collect::<Vec<_>>());
        let mut some = StopAfter(2, Vec::new());
        assert_eq!(trainer.train(&task, 0, 0, &base, &rows, &mut some), Err(TrainError::Cancelled));
        assert_eq!(some.1.len(), 2);
    }
}

#[test]
fn a_task_whose_parts_do_not_belong_together_is_refused() {
    let task = training(&[4, 5, 3], Recipe::DEFAULT);
    let base = initialise(&task.network, Initialisation::He, 1);
    let good = rows(4, 50, 3, 8);
    let refused = |task: &Training, step, base: &[f32], rows: &Rows<'_>| {
        Trainer::new(Kernel::best()).train(task, step, 0, base, rows, &mut Unwatched).unwrap_err()
    };
    assert_eq!(
        refused(&Training { arithmetic: 1, ..task.clone() }, 0, &base, &good),
        TrainError::Arithmetic { got: 1 }
    );
    let recipe = Recipe { epochs: 0, ..Recipe::DEFAULT };
    assert!(matches!(refused(&Training { recipe, ..task.clone() }, 0, &base, &good), TrainError::Recipe(_)));
    assert_eq!(refused(&task, u64::MAX, &base, &good), TrainError::Step { got: u64::MAX });
    assert_eq!(refused(&task, 0, &base[1..], &good), TrainError::Base { got: 42, expected: 43 });
    assert_eq!(refused(&task, 0, &base, &rows(5, 9, 3, 1)), TrainError::Features { got: 5, expected: 4 });
    assert_eq!(
        refused(&task, 0, &base, &rows(4, 9, 4, 1)),
        TrainError::Targets(TargetsError::Classes { got: 4, expected: 3 })
    );
}

#[test]
fn a_training_that_runs_away_is_an_error_and_no_update() {
    let task = training(&[4, 5, 3], Recipe { eta: 1e30, optimiser: Optimiser::Sgd, ..Recipe::DEFAULT });
    let base = initialise(&task.network, Initialisation::He, 1);
    for kernel in Kernel::available() {
        let result = Trainer::new(kernel).train(&task, 0, 0, &base, &rows(4, 50, 3, 8), &mut Unwatched);
        assert!(matches!(result, Err(TrainError::Diverged { .. })), "{result:?}");
    }
}

#[test]
fn a_loss_that_is_no_number_is_an_error_though_the_update_is_one() {
    // Its only label has a probability of 0, and its update is as small as any.
    let recipe = Recipe { batch: BatchSize::Full, log_epsilon: 0.0, epochs: 1, ..Recipe::DEFAULT };
    let task = training(&[1, 2], recipe);
    let rows = Rows::labelled(1, vec![1.0], vec![1], 2).unwrap();
    for kernel in Kernel::available() {
        let result = Trainer::new(kernel).train(&task, 0, 0, &[3e38, -3e38, 0.0, 0.0], &rows, &mut Unwatched);
        assert_eq!(result, Err(TrainError::Loss { got: f64::INFINITY }));
    }
}

#[test]
fn of_equal_logits_the_lowest_class_is_predicted_and_no_rows_give_no_classes() {
    let network = Network::new(1, &[], 4).unwrap();
    // Weights 0; biases 1, 3, 3, 2.
    let parameters = [0.0, 0.0, 0.0, 0.0, 1.0, 3.0, 3.0, 2.0];
    for kernel in Kernel::available() {
        let classes = |values: &[f32]| predict(kernel, &network, Activation::Relu, &parameters, values).unwrap();
        assert_eq!(classes(&[0.0; 131]), [1; 131]);
        assert!(classes(&[]).is_empty());
    }
}

#[test]
fn a_model_and_rows_that_do_not_belong_together_are_not_evaluated() {
    let network = Network::new(4, &[], 3).unwrap();
    let refused = |parameters: usize, rows: &Rows<'_>| {
        evaluate(Kernel::best(), &network, &Recipe::DEFAULT, &vec![0.0; parameters], rows).unwrap_err()
    };
    assert_eq!(refused(14, &rows(4, 9, 3, 1)), EvaluateError::Parameters { got: 14, expected: 15 });
    assert_eq!(refused(15, &rows(5, 9, 3, 1)), EvaluateError::Features { got: 5, expected: 4 });
    assert_eq!(refused(15, &rows(4, 9, 4, 1)), EvaluateError::Targets(TargetsError::Classes { got: 4, expected: 3 }));
    let torn = predict(Kernel::best(), &network, Activation::Relu, &[0.0; 15], &[0.0; 7]);
    assert_eq!(torn, Err(EvaluateError::Values { got: 7, expected: 4 }));
}

/// SHA-256 of the update, the loss and the epochs, little-endian.
fn digest(trained: &Trained) -> String {
    let mut bytes: Vec<u8> = trained.update.iter().flat_map(|value| value.to_le_bytes()).collect();
    bytes.extend(trained.loss.to_le_bytes());
    bytes.extend(trained.epochs.to_le_bytes());
    Digest::of(&bytes).to_string()
}

/// Whoever changes these has made another arithmetic: give it another number.
#[test]
fn some_tasks_give_the_bits_they_always_gave() {
    // Pinned by value: the default recipe may change, these bits may not.
    let adam = Recipe { eta: 0.008, epochs: 4, ..Recipe::DEFAULT };
    let sgd = Recipe { optimiser: Optimiser::Sgd, eta: 0.05, ..adam };
    let tasks: [(&[u32], u32, Recipe, &str); 5] = [
        (&[16, 20, 26], 1500, Recipe::CLASSIC, "26da126cbc96bc04f0be7c30923da5693eda96638ee24e133433d9c1ec860bc4"),
        (&[16, 128, 26], 500, adam, "11aaf4452f2bbb408d4daef50d0b9bf6dd4d28cfa1adf00593bca9a439e74e46"),
        (
            &[100, 70, 50, 10],
            300,
            Recipe { batch: batches_of(150), ..sgd },
            "e2f0d450e34ae1f0fe8a710aea71edcd813b1d8606264d118ebeebda8261b0b7",
        ),
        (
            &[784, 32, 10],
            130,
            Recipe { batch: BatchSize::Full, epochs: 2, ..sgd },
            "8c33a21287ca02e48b1def66f0dc3c1902aba35752b497c863783130e04c9aa6",
        ),
        (
            &[5, 3],
            37,
            Recipe { activation: Activation::Identity, epochs: 9, ..adam },
            "53dfd5acc2034f6874f278e05757420901672f1054900f224c2e55a3e2ade7f7",
        ),
    ];
    for (sizes, count, recipe, expected) in tasks {
        let task = training(sizes, recipe);
        let rows = rows(sizes[0], count, sizes[sizes.len() - 1], 11);
        let base = initialise(&task.network, recipe.initialisation, task.seed);
        for kernel in Kernel::available() {
            let trained = Trainer::new(kernel).train(&task, 2, 1, &base, &rows, &mut Unwatched).unwrap();
            assert_eq!(digest(&trained), expected, "{sizes:?} {kernel}");
        }
    }
}

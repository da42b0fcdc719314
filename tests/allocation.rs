//! What training and evaluation take from the system: as much as they say, once.
//!
//! One test alone, because the counters are the process's.

mod common;

use std::num::NonZeroU32;

use common::counting::{Counting, measure};
use gradwire::model::train::{Unwatched, sum_working_bytes, working_bytes};
use gradwire::model::{
    ARITHMETIC, Activation, BatchSize, BlockRange, Evaluator, GradientSum, Helpers, Initialisation, Kernel, Network,
    Optimiser, Recipe, Rows, Trainer, Training, initialise,
};

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_trainer_takes_what_it_says_once_and_then_only_room_for_each_update() {
    let batch = |rows| BatchSize::Rows(NonZeroU32::new(rows).unwrap());
    let tasks: [(&[u32], u32, BatchSize, Optimiser, u32); 8] = [
        (&[16, 20, 26], 1500, BatchSize::Full, Optimiser::Sgd, 2),
        (&[16, 128, 26], 700, batch(32), Optimiser::Adam, 2),
        (&[100, 70, 90, 10], 900, batch(600), Optimiser::Adam, 2),
        (&[64, 90, 10], 1500, batch(700), Optimiser::Sgd, 2),
        (&[5, 3000, 2], 3, batch(9), Optimiser::Sgd, 2),
        (&[2000, 2], 300, BatchSize::Full, Optimiser::Sgd, 2),
        // One update: nothing moves before it is told.
        (&[16, 128, 26], 30, batch(32), Optimiser::Adam, 1),
        (&[16, 128, 26], 300, BatchSize::Full, Optimiser::Adam, 1),
    ];
    let dropping = [(0.0, Activation::Relu), (0.5, Activation::Relu), (0.5, Activation::Tanh)];
    for ((sizes, count, batch, optimiser, epochs), (dropout, activation)) in
        tasks.into_iter().flat_map(|task| dropping.map(|dropping| (task, dropping)))
    {
        let (features, classes) = (sizes[0], sizes[sizes.len() - 1]);
        let network = Network::new(features, &sizes[1..sizes.len() - 1], classes).unwrap();
        let recipe = Recipe { batch, optimiser, epochs, dropout, activation, ..Recipe::DEFAULT };
        let training = Training { arithmetic: ARITHMETIC, network, recipe, seed: 1, class_weights: Vec::new() };
        let base = initialise(&training.network, Initialisation::He, 1);
        let rows =
            Rows::labelled(features, vec![0.5; (features * count) as usize], vec![1; count as usize], classes).unwrap();
        let mut trainer = Trainer::new(Kernel::best());
        let mut train = || trainer.train(&training, 0, 0, &base, &rows, &mut Unwatched).unwrap();
        let (first, taken) = measure(&mut train);
        let (said, taken) = (working_bytes(&training, count), taken.bytes_most);
        // Lists of lists cost a few bytes beside.
        assert!(taken <= said + 2048 && taken + 2048 >= said, "{sizes:?}: took {taken} bytes, said {said}");
        let (second, again) = measure(train);
        assert_eq!(again.allocations, 1, "{sizes:?}");
        assert_eq!(first, second);
        let mut trainer = Trainer::with_helpers(Kernel::best(), Box::new(InTurn));
        let mut train = || trainer.train(&training, 0, 0, &base, &rows, &mut Unwatched).unwrap();
        assert_eq!(train(), first);
        let (second, again) = measure(train);
        assert_eq!(again.allocations, 1, "{sizes:?}, shared");
        assert_eq!(first, second);
        let mut evaluator = Evaluator::new(Kernel::best());
        let mut evaluate = || evaluator.evaluate(&training.network, &recipe, &base, &rows).unwrap();
        let first = evaluate();
        let (second, again) = measure(evaluate);
        assert_eq!(again.allocations, 0, "{sizes:?}, evaluated");
        assert_eq!(first, second);
        if batch != BatchSize::Full {
            sums_of_gradients(&training, &base, &rows);
        }
    }
}

/// The same of sums of gradients, whose memory is the caller's: they are made again in it.
fn sums_of_gradients(of_updates: &Training, base: &[f32], rows: &Rows<'_>) {
    let recipe = Recipe { local_steps: Some(1), epochs: 1, ..of_updates.recipe };
    let training = Training { recipe, ..of_updates.clone() };
    let ranges = [0, 7].map(|shard| (BlockRange { shard, first: 0, count: 1 }, rows));
    let mut trainer = Trainer::new(Kernel::best());
    let mut sum = GradientSum::new(Kernel::best(), 0);
    let mut sum_of = |epoch| trainer.sum_gradients(&training, epoch, &ranges, base, &mut Unwatched, &mut sum).unwrap();
    let (_, taken) = measure(|| sum_of(0));
    // Gradients are not so large that they need more than 64 bits.
    let said = sum_working_bytes(&training, [rows.rows(); 2]);
    let (taken, what) = (taken.bytes_most, &training.network);
    assert!(taken <= said + 2048 && taken + 2048 >= said, "{what}: a sum took {taken} bytes, said {said}");
    // Another epoch has another order, in the same memory.
    for epoch in [0, 1, 9] {
        let (_, again) = measure(|| sum_of(epoch));
        assert_eq!(again.allocations, 0, "{what}, epoch {epoch}");
    }
}

/// Three workers, one after the other.
struct InTurn;

impl Helpers for InTurn {
    fn workers(&self) -> usize {
        3
    }

    fn work(&self, helpers_most: usize, work: &(dyn Fn() + Sync)) {
        (0..=helpers_most).for_each(|_| work());
    }
}

//! No operation of training has a subnormal operand or result: by the definition, whose every operation is looked at, and by
//! the processor's own word, for the kernels.

mod common;

use common::definition::{Definition, Meter, OuterDescent, Thresholds};
use common::shapes::{Data, NARROW, SGD, SUM, Shape, WIDE, by, merged, rows, training};
use gradwire::model::train::Unwatched;
use gradwire::model::{
    ARITHMETIC, Activation, BlockRange, GradientSum, Kernel, LittleEndianF32, Loss, LossReduction, Network, Optimiser,
    Outer, OuterOptimiser, OuterState, Recipe, Targets, Trainer, Training, block_rows, evaluate, initialise,
};

/// Counts operations that a processor may need a hundred cycles for.
#[derive(Default)]
struct Count {
    operations: u64,
    subnormal: u64,
}

impl Meter for Count {
    fn see(&mut self, operands: &[f32], result: f32) {
        self.operations += 1;
        self.subnormal += u64::from(result.is_subnormal() || operands.iter().any(|operand| operand.is_subnormal()));
    }
}

fn counting(thresholds: Thresholds) -> Definition<Count> {
    Definition { thresholds, meter: Count::default() }
}

/// What the definition counts in these rounds of a job that begins with `weights`.
fn count_rounds(shape: &Shape, mut weights: Vec<f32>, rounds: std::ops::Range<u64>) {
    let (training, rows) = (training(shape), rows(shape));
    let mut definition = counting(Thresholds::DEFINED);
    for round in rounds {
        let (update, ..) = definition.train(&training, round, 0, &weights, &rows);
        weights = merged(&weights, &update);
    }
    definition.evaluate(&training, &weights, &rows);
    assert!(weights.iter().all(|weight| weight.is_finite()), "it ran away: {shape:?}");
    let Count { operations, subnormal } = definition.meter;
    assert_eq!(subnormal, 0, "of {operations}: {shape:?}");
    assert!(operations > 10_000, "{operations}: {shape:?}");
}

/// The weights that the kernels have after so many rounds.
fn trained(shape: &Shape, rounds: u64) -> Vec<f32> {
    let (training, rows) = (training(shape), rows(shape));
    let mut trainer = Trainer::new(Kernel::best());
    let mut weights = initialise(&training.network, training.recipe.initialisation, training.seed);
    for round in 0..rounds {
        let trained = trainer.train(&training, round, 0, &weights, &rows, &mut Unwatched).unwrap();
        weights = merged(&weights, &trained.update);
    }
    weights
}

#[test]
fn five_hundred_rounds_of_narrow_networks_meet_no_subnormal_number() {
    for shape in &NARROW {
        let training = training(shape);
        count_rounds(shape, initialise(&training.network, shape.recipe.initialisation, training.seed), 0..500);
    }
}

#[test]
fn twenty_rounds_of_wide_networks_in_the_midst_of_training_meet_no_subnormal_number() {
    for shape in &WIDE {
        count_rounds(shape, trained(shape, 300), 300..320);
    }
}

/// A task, begun with these weights, that needs a threshold.
struct Need {
    threshold: &'static str,
    taken_out: fn(&mut Thresholds),
    sizes: &'static [u32],
    recipe: Recipe,
    weights: Vec<f32>,
    rows: (Vec<f32>, Targets<'static>),
    /// None, or one for each class.
    class_weights: &'static [f32],
}

/// Rows of features and a label; the most classes that a case has are three.
fn labelled(rows: impl IntoIterator<Item = (Vec<f32>, u32)>) -> (Vec<f32>, Targets<'static>) {
    let (values, labels): (Vec<_>, Vec<u32>) = rows.into_iter().unzip();
    (values.concat(), Targets::Labels { classes: 3, labels: labels.into() })
}

/// Rows of features and one number to fit.
fn numbers(rows: impl IntoIterator<Item = (Vec<f32>, f32)>) -> (Vec<f32>, Targets<'static>) {
    let (values, targets): (Vec<_>, Vec<f32>) = rows.into_iter().unzip();
    (values.concat(), Targets::Values { width: 1, values: targets.into() })
}

/// A weight, an input as small as they may be, of 24 bits that make a product need 48.
const SMALL: f32 = 1.234_567_9e-12;

fn needs() -> Vec<Need> {
    let sgd = Recipe { eta: 1.0, epochs: 3, ..SUM };
    let adam = Recipe { optimiser: Optimiser::Adam, eta: 1.0, ..sgd };
    let squared = Recipe { loss: Loss::SquaredError, ..sgd };
    let momentum = Recipe { optimiser: Optimiser::Momentum, eta: 0.1, ..squared };
    let tanh = Recipe { activation: Activation::Tanh, ..sgd };
    let linear = Recipe { activation: Activation::Identity, ..sgd };
    // Two classes as far apart as logits of ±`far` put them, and nothing else.
    let apart = |far: f32| vec![0.0, 0.0, far, -far];
    // A row of a hundred has a gradient for the weights, and after it their moments fade.
    let one_of_a_hundred = Recipe { batch: by(1), epochs: 5, ..adam };
    let rare = || labelled((0..100).map(|row| (vec![if row == 0 { 1.0 } else { 0.0 }], row % 2)));
    vec![
        Need {
            class_weights: &[],
            threshold: "inputs",
            taken_out: |t| t.input = 0.0,
            sizes: &[1, 2],
            recipe: sgd,
            weights: vec![0.01, 0.02, 0.0, 0.0],
            rows: labelled(vec![(vec![1e-37], 0)]),
        },
        Need {
            class_weights: &[],
            threshold: "weights after an update",
            taken_out: |t| t.weight = 0.0,
            sizes: &[1, 2],
            // The gradient of the weights is ±0.5 times 1e-12, the rate small: some 1e-28, and then times 1e-12.
            recipe: Recipe { eta: 1e-16, ..sgd },
            weights: vec![0.0; 4],
            // The biases stay 0.
            rows: labelled(vec![(vec![SMALL], 0), (vec![-SMALL], 1)]),
        },
        Need {
            class_weights: &[],
            threshold: "outputs of hidden layers",
            taken_out: |t| t.output = 0.0,
            sizes: &[1, 1, 1, 1, 2],
            recipe: linear,
            weights: vec![SMALL, 0.0, SMALL, 0.0, 1e-3, 0.0, SMALL, SMALL, 0.0, 0.0],
            rows: labelled(vec![(vec![SMALL], 0)]),
        },
        Need {
            class_weights: &[],
            threshold: "outputs of ReLU",
            taken_out: |t| t.output = 0.0,
            sizes: &[1, 1, 1, 1, 2],
            recipe: sgd,
            weights: vec![SMALL, 0.0, SMALL, 0.0, 1e-3, 0.0, SMALL, SMALL, 0.0, 0.0],
            rows: labelled(vec![(vec![SMALL], 0)]),
        },
        Need {
            class_weights: &[],
            threshold: "exponentials",
            taken_out: |t| t.exp_argument = f32::NEG_INFINITY,
            sizes: &[1, 2],
            recipe: sgd,
            weights: apart(43.8),
            rows: labelled(vec![(vec![1.0], 0)]),
        },
        Need {
            class_weights: &[],
            threshold: "probabilities",
            taken_out: |t| t.probability = 0.0,
            // Two classes of e^-41 pull each of eight hidden values by weights that cancel but for the rounding of products.
            sizes: &[1, 8, 3],
            recipe: sgd,
            weights: {
                let mut weights = vec![0.0; 8];
                weights.extend([1.0; 8]);
                for i in 0..8 {
                    let small = SMALL * (1.0 + 0.1 * i as f32);
                    weights.extend([0.0, small, -small]);
                }
                weights.extend([0.0, -41.0, -41.0]);
                weights
            },
            rows: labelled(vec![(vec![1.0], 0)]),
        },
        Need {
            class_weights: &[],
            threshold: "derivatives",
            taken_out: |t| t.derivative = 0.0,
            sizes: &[1, 1, 1, 1, 1, 2],
            recipe: linear,
            weights: vec![1.0, 1.0, 1e-3, 1.0, SMALL, 1.0, SMALL, 1.0, SMALL, -SMALL, 0.0, 0.0],
            rows: labelled(vec![(vec![1.0], 0)]),
        },
        Need {
            class_weights: &[],
            threshold: "gradients",
            taken_out: |t| t.gradient = 0.0,
            sizes: &[1, 2],
            recipe: adam,
            weights: apart(11.5),
            rows: labelled(vec![(vec![1e-9], 0)]),
        },
        Need {
            class_weights: &[],
            threshold: "gradients of a mean",
            taken_out: |t| t.gradient = 0.0,
            sizes: &[1, 2],
            recipe: Recipe { reduction: LossReduction::Mean, ..adam },
            weights: apart(11.5),
            rows: labelled(vec![(vec![1e-9], 0), (vec![2e-9], 0)]),
        },
        Need {
            class_weights: &[],
            threshold: "first moments",
            taken_out: |t| t.first_moment = 0.0,
            sizes: &[1, 2],
            // Fits its row to the last bit within some updates; from then on there is no gradient.
            recipe: Recipe { epochs: 1200, ..adam },
            weights: apart(0.0),
            rows: labelled(vec![(vec![1.0], 0)]),
        },
        Need {
            class_weights: &[],
            threshold: "second moments",
            taken_out: |t| t.second_moment = 0.0,
            sizes: &[1, 2],
            recipe: Recipe { epochs: 100_000, ..adam },
            weights: apart(0.0),
            rows: labelled(vec![(vec![1.0], 0)]),
        },
        Need {
            class_weights: &[],
            threshold: "Adam's steps",
            taken_out: |t| t.step = 0.0,
            // One row has a gradient of 5e14; hundreds of updates later the second moment still shows it, the first does not.
            sizes: &[2, 2],
            recipe: Recipe { epochs: 2, batch: by(1), eta: 1e-11, ..adam },
            weights: vec![0.0; 6],
            rows: labelled((0..1500).map(|row| (vec![if row == 0 { 1e15 } else { 0.0 }, 1.0], row % 2))),
        },
        Need {
            class_weights: &[],
            threshold: "learning rates of SGD",
            taken_out: |t| t.sgd_rate = 0.0,
            sizes: &[1, 2],
            recipe: Recipe { eta: 1e-27, ..sgd },
            weights: vec![0.0; 4],
            rows: labelled(vec![(vec![SMALL], 0)]),
        },
        Need {
            class_weights: &[],
            threshold: "learning rates of Adam",
            taken_out: |t| t.adam_rate = 0.0,
            sizes: &[1, 2],
            recipe: Recipe { eta: 1e-30, ..adam },
            weights: vec![0.0; 4],
            rows: labelled(vec![(vec![1e-9], 0)]),
        },
        Need {
            class_weights: &[],
            threshold: "targets",
            taken_out: |t| t.target = 0.0,
            sizes: &[1, 1],
            recipe: squared,
            weights: vec![0.0; 2],
            rows: numbers([(vec![1.0], 1e-40)]),
        },
        Need {
            class_weights: &[],
            threshold: "differences from targets",
            taken_out: |t| t.difference = 0.0,
            // The two products cancel but for the rounding of the first.
            sizes: &[2, 1],
            recipe: squared,
            weights: vec![SMALL, -SMALL, 0.0],
            rows: numbers([(vec![SMALL, SMALL], 0.0)]),
        },
        Need {
            class_weights: &[],
            threshold: "velocities",
            taken_out: |t| t.velocity = 0.0,
            sizes: &[1, 1],
            // The bias swings about 0 until it is cut to it; from then on there is no gradient.
            recipe: Recipe { epochs: 2000, ..momentum },
            weights: vec![0.0, 1.0],
            rows: numbers([(vec![0.0], 0.0)]),
        },
        Need {
            class_weights: &[],
            threshold: "learning rates of momentum",
            taken_out: |t| t.sgd_rate = 0.0,
            sizes: &[1, 1],
            recipe: Recipe { eta: 1e-27, ..momentum },
            weights: vec![0.0; 2],
            rows: numbers([(vec![SMALL], 1.0)]),
        },
        Need {
            class_weights: &[],
            threshold: "weights after a step with momentum",
            taken_out: |t| t.weight = 0.0,
            sizes: &[1, 1],
            recipe: Recipe { eta: 1e-16, ..momentum },
            weights: vec![0.0; 2],
            // The bias stays 0.
            rows: numbers([(vec![SMALL], 1.0), (vec![-SMALL], -1.0)]),
        },
        Need {
            class_weights: &[],
            threshold: "weights after their decay",
            taken_out: |t| t.weight = 0.0,
            sizes: &[1, 2],
            recipe: Recipe { weight_decay: 0.5, epochs: 200, ..adam },
            weights: vec![1.0, 1.0, 0.0, 0.0],
            rows: labelled([(vec![0.0], 0)]),
        },
        Need {
            class_weights: &[],
            threshold: "first moments that fade fast",
            taken_out: |t| t.slow_betas = [0.0; 2],
            sizes: &[1, 2],
            recipe: Recipe { betas: [0.1, 0.999], ..one_of_a_hundred },
            weights: vec![0.0; 4],
            rows: rare(),
        },
        Need {
            class_weights: &[],
            threshold: "second moments that fade fast",
            taken_out: |t| t.slow_betas = [0.0; 2],
            sizes: &[1, 2],
            recipe: Recipe { betas: [0.9, 0.1], ..one_of_a_hundred },
            weights: vec![0.0; 4],
            rows: rare(),
        },
        Need {
            class_weights: &[],
            threshold: "outputs of tanh",
            taken_out: |t| t.output = 0.0,
            sizes: &[1, 1, 1, 1, 2],
            recipe: tanh,
            weights: vec![SMALL, 0.0, SMALL, 0.0, 1e-3, 0.0, SMALL, SMALL, 0.0, 0.0],
            rows: labelled([(vec![SMALL], 0)]),
        },
        Need {
            class_weights: &[],
            threshold: "exponentials in tanh",
            taken_out: |t| t.exp_argument = f32::NEG_INFINITY,
            sizes: &[1, 1, 2],
            recipe: tanh,
            weights: vec![50.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            rows: labelled([(vec![1.0], 0)]),
        },
        Need {
            class_weights: &[],
            threshold: "derivatives through tanh",
            taken_out: |t| t.derivative = 0.0,
            sizes: &[1, 1, 1, 1, 1, 2],
            recipe: tanh,
            weights: vec![1.0, 1.0, 1e-3, 1.0, SMALL, 1.0, SMALL, 1.0, SMALL, -SMALL, 0.0, 0.0],
            rows: labelled([(vec![1.0], 0)]),
        },
        Need {
            class_weights: &[1e-9, 1.0],
            threshold: "weighted derivatives",
            taken_out: |t| t.weighted = 0.0,
            // Of two rows on one lane the products cancel but for the rounding of the first.
            sizes: &[1, 2],
            recipe: sgd,
            weights: vec![0.0, 0.0, 0.0, -25.0],
            rows: labelled((0..9).map(|row| (vec![[SMALL, -SMALL, 0.0][if row % 8 > 0 { 2 } else { row / 8 }]], 0))),
        },
    ]
}

#[test]
fn without_any_one_threshold_there_are_subnormal_numbers() {
    for Need { threshold, taken_out, sizes, recipe, weights, rows, class_weights } in needs() {
        let network = Network::new(sizes[0], &sizes[1..sizes.len() - 1], sizes[sizes.len() - 1]).unwrap();
        let training = Training {
            arithmetic: ARITHMETIC,
            network,
            recipe: recipe.checked().unwrap(),
            seed: 1,
            class_weights: class_weights.to_vec(),
        };
        let count = |thresholds: Thresholds| {
            // The definition's own inputs, not those that have gone through the threshold already.
            let mut definition = counting(thresholds);
            definition.train_against(&training, 0, 0, &weights, (&rows.0, &rows.1));
            definition.meter.subnormal
        };
        assert_eq!(count(Thresholds::DEFINED), 0, "{threshold}");
        let mut without = Thresholds::DEFINED;
        taken_out(&mut without);
        assert!(count(without) > 0, "nothing needs the threshold of {threshold}");
    }
}

/// Rounds of a job whose outer optimiser needs a threshold.
struct OuterNeed {
    threshold: &'static str,
    taken_out: fn(&mut Thresholds),
    outer: Outer,
    rounds: u32,
    /// What a step's updates come to.
    update: fn(u64) -> f32,
}

fn outer_needs() -> Vec<OuterNeed> {
    let outer = |optimiser, eta| Outer { optimiser, eta, ..Outer::AVERAGE };
    let momentum = outer(OuterOptimiser::Momentum, 0.1);
    let adam = outer(OuterOptimiser::Adam, 0.01);
    let only_first = |step| if step == 0 { 1.0 } else { 0.0 };
    // The least that an update may come to, each time.
    let least = |_| 9.094_947e-13;
    vec![
        OuterNeed {
            threshold: "velocities",
            taken_out: |t| t.velocity = 0.0,
            outer: momentum,
            rounds: 1_000,
            update: only_first,
        },
        OuterNeed {
            threshold: "Nesterov's velocities",
            taken_out: |t| t.velocity = 0.0,
            outer: Outer { optimiser: OuterOptimiser::Nesterov, ..momentum },
            rounds: 1_000,
            update: only_first,
        },
        OuterNeed {
            threshold: "rates of momentum",
            taken_out: |t| t.sgd_rate = 0.0,
            outer: Outer { eta: 1e-30, ..momentum },
            rounds: 3,
            update: least,
        },
        OuterNeed {
            threshold: "rates of Adam",
            taken_out: |t| t.adam_rate = 0.0,
            outer: Outer { eta: 1e-30, ..adam },
            rounds: 3,
            update: least,
        },
        OuterNeed {
            threshold: "first moments",
            taken_out: |t| t.first_moment = 0.0,
            outer: adam,
            rounds: 1_200,
            update: only_first,
        },
        OuterNeed {
            threshold: "second moments",
            taken_out: |t| t.second_moment = 0.0,
            outer: Outer { betas: [0.9, 0.96], ..adam },
            rounds: 4_000,
            update: only_first,
        },
        OuterNeed {
            threshold: "moments that fade fast",
            taken_out: |t| t.slow_betas = [0.0; 2],
            outer: Outer { betas: [0.1, 0.2], ..adam },
            rounds: 60,
            update: only_first,
        },
        OuterNeed {
            threshold: "Adam's steps",
            taken_out: |t| t.step = 0.0,
            // As large as updates may be, for long, and then none: the first moment fades, the second still shows them.
            outer: Outer { eta: 9.1e-13, ..adam },
            rounds: 4_000,
            update: |step| match step {
                0..3_035 => [16_000.0, -16_000.0][(step % 2) as usize],
                _ => 0.0,
            },
        },
    ]
}

#[test]
fn without_any_one_threshold_an_outer_optimiser_meets_subnormal_numbers() {
    for OuterNeed { threshold, taken_out, outer, rounds, update } in outer_needs() {
        let count = |thresholds: Thresholds| {
            let mut definition = counting(thresholds);
            let (mut job, mut weights) = (OuterDescent::new(outer, rounds, 1), [0.0]);
            (0..rounds.into()).for_each(|step| definition.outer_step(&mut job, step, &[update(step)], &mut weights));
            definition.meter.subnormal
        };
        assert_eq!(count(Thresholds::DEFINED), 0, "{threshold}");
        let mut without = Thresholds::DEFINED;
        taken_out(&mut without);
        assert!(count(without) > 0, "nothing needs the threshold of {threshold}");
    }
}

/// The least rate and weight decay, and updates from the least to the largest, clipped as short as can be and not at all.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_processor_meets_no_subnormal_number_in_a_step_of_an_outer_optimiser() {
    let extreme = |optimiser, eta, clip| Outer { optimiser, eta, clip, weight_decay: 1e-12, ..Outer::AVERAGE };
    let clips = [None, Some(1e-12), Some(1.0)];
    let kinds =
        [(OuterOptimiser::Momentum, 8.7e-19), (OuterOptimiser::Nesterov, 8.7e-19), (OuterOptimiser::Adam, 9.1e-13)];
    let of_kinds = kinds.into_iter().flat_map(|(optimiser, eta)| clips.map(|clip| extreme(optimiser, eta, clip)));
    let all = outer_needs().into_iter().map(|need| (need.outer, need.rounds, need.update));
    let extremes: fn(u64) -> f32 = |step| if step == 0 { 16_000.0 } else { 0.0 };
    for (outer, rounds, update) in all.chain(of_kinds.map(|outer| (outer, 500, extremes))) {
        let outer = outer.checked().unwrap();
        for kernel in Kernel::available() {
            let mut state = OuterState::default();
            let mut weights = [0.5f32, 0.0, -1e-12, 3e3].map(f32::to_le_bytes);
            for step in 0..rounds.into() {
                let first = update(step);
                let small = if step < 5 { SMALL } else { 0.0 };
                let update: [LittleEndianF32; 4] = [first, small, -small, first * 0.5].map(f32::to_le_bytes);
                let rate = outer.rate(step, rounds.into());
                flags::clear();
                state.step(kernel, &outer, rate, &update, &mut weights, &mut |_| ()).unwrap();
                assert!(!flags::has_met_subnormals(), "{kernel}, step {step}: {outer:?}");
            }
        }
    }
}

/// The least and the largest that blocks may come to.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_processor_meets_no_subnormal_number_where_gradients_are_merged() {
    let gradient = [9.094_947e-13, -9e-13, f32::MIN_POSITIVE, -4e-13, 0.0, -1.0995115e12, 2047.5, 0.1];
    for kernel in Kernel::available() {
        let mut sum = GradientSum::new(kernel, gradient.len());
        for count in [4, gradient.len()] {
            flags::clear();
            let mut block = [0.0; 8];
            block[..count].copy_from_slice(&gradient[..count]);
            sum.add_block(&block, 1e-300).unwrap();
            for (reduction, rows) in LossReduction::ALL.into_iter().zip([u64::MAX, 1]) {
                let mut out = [[0; 4]; 8];
                sum.gradient(rows.try_into().unwrap(), reduction, &mut out).unwrap();
                assert!(out.iter().all(|value| !f32::from_le_bytes(*value).is_subnormal()));
            }
            assert!(!flags::has_met_subnormals(), "{kernel}, {count}");
        }
    }
}

#[test]
fn weights_given_and_merged_are_none_that_would_make_subnormal_numbers() {
    let definition = counting(Thresholds::DEFINED);
    let given = [1.0, -1e-13, 1e-39, SMALL];
    assert_eq!(definition.start_from(&given), [1.0, 0.0, 0.0, SMALL]);
    // Nearly the whole weight is taken away: what is left would be 1e-18.
    let base = [1e-10f32, 0.5];
    let update = [-1e-10f32 + 1e-17, -0.25];
    for kernel in Kernel::available() {
        let mut sum = gradwire::model::ExactSum::new(kernel, 2, 10);
        sum.add(&update.map(f32::to_le_bytes), 7).unwrap();
        let mut weights = base.map(f32::to_le_bytes);
        sum.mean_onto(&mut weights).unwrap();
        assert_eq!(weights.map(f32::from_le_bytes), [0.0, 0.25], "{kernel}");
    }
}

/// What the processor has met since its flags were cleared: subnormal operands, results that were too small to be exact.
#[cfg(target_arch = "x86_64")]
mod flags {
    use std::arch::asm;

    const DENORMAL_OPERAND: u32 = 1 << 1;
    const UNDERFLOW: u32 = 1 << 4;

    fn control_and_status() -> u32 {
        let mut register = 0u32;
        // SAFETY: stores the register there, and does nothing else.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut register, options(nostack, preserves_flags)) };
        register
    }

    pub fn clear() {
        let register = control_and_status() & !(DENORMAL_OPERAND | UNDERFLOW);
        // SAFETY: what is written differs from what was there by the flags alone; nothing else reads them.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const register, options(nostack, preserves_flags)) };
    }

    pub fn has_met_subnormals() -> bool {
        control_and_status() & (DENORMAL_OPERAND | UNDERFLOW) != 0
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_processor_meets_no_subnormal_number_in_any_kernel() {
    use std::hint::black_box;
    flags::clear();
    black_box(black_box(f32::MIN_POSITIVE) * black_box(0.3));
    assert!(flags::has_met_subnormals(), "the flags tell nothing");
    let mut shapes: Vec<Shape> = NARROW.into_iter().chain(WIDE).collect();
    shapes.push(Shape { sizes: &[784, 512, 300, 10], rows: 40, data: Data::Easy, recipe: SGD });
    for kernel in Kernel::available() {
        // The portable kernel may take twenty times as long.
        let rounds = if kernel == Kernel::PORTABLE { 0..40 } else { 0..400 };
        for shape in &shapes {
            let (training, rows) = (training(shape), rows(shape));
            let mut trainer = Trainer::new(kernel);
            let mut weights = initialise(&training.network, shape.recipe.initialisation, training.seed);
            let wide = shape.sizes.iter().any(|width| *width > 64);
            for round in rounds.clone().step_by(if wide { 10 } else { 1 }) {
                flags::clear();
                let trained = trainer.train(&training, round, 0, &weights, &rows, &mut Unwatched).unwrap();
                assert!(!flags::has_met_subnormals(), "{kernel}, round {round}: {shape:?}");
                weights = merged(&weights, &trained.update);
            }
            flags::clear();
            evaluate(kernel, &training.network, &training.recipe, &weights, &rows).unwrap();
            assert!(!flags::has_met_subnormals(), "{kernel}, validation: {shape:?}");
            go_in_steps(&mut trainer, kernel, shape, weights);
        }
    }
}

/// Some steps of merged gradients, from the midst of training on.
#[cfg(target_arch = "x86_64")]
fn go_in_steps(trainer: &mut Trainer, kernel: Kernel, shape: &Shape, weights: Vec<f32>) {
    const BATCH_ROWS: u32 = 32;
    let rows = rows(shape);
    let recipe =
        Recipe { batch: by(BATCH_ROWS), local_steps: Some(1), epochs: 1, stop_loss_change: None, ..shape.recipe };
    let training = Training { recipe, ..training(shape) };
    let outer = Outer { optimiser: OuterOptimiser::Adam, eta: 0.01, ..Outer::AVERAGE };
    let count = rows.rows().div_ceil(block_rows(&training.network, BATCH_ROWS));
    let mut weights: Vec<LittleEndianF32> = weights.iter().map(|weight| weight.to_le_bytes()).collect();
    let (mut state, mut sum) = (OuterState::default(), GradientSum::new(kernel, 0));
    let mut gradient = weights.clone();
    for step in 0..4 {
        let from: Vec<f32> = weights.iter().map(|weight| f32::from_le_bytes(*weight)).collect();
        let ranges = [(BlockRange { shard: 0, first: 0, count }, &rows)];
        flags::clear();
        trainer.sum_gradients(&training, step, &ranges, &from, &mut Unwatched, &mut sum).unwrap();
        sum.gradient(u64::from(rows.rows()).try_into().unwrap(), recipe.reduction, &mut gradient).unwrap();
        let rate = outer.rate(step, 4);
        state.step_by_gradient(kernel, &outer, rate, &gradient, &mut weights, &mut |_| ()).unwrap();
        assert!(!flags::has_met_subnormals(), "{kernel}, step {step}: {shape:?}");
    }
}

//! What the coordinator makes of updates: means, medians, rates, outer optimisers.

use gradwire::model::{
    ExactSum, Kernel, LittleEndianF32, Median, Optimiser, Outer, OuterOptimiser, OuterState, Recipe, Schedule,
};

use crate::common::definition::{self, OuterDescent, rate_part};
use crate::{hex, says};

#[test]
fn the_published_updates_merge_to_the_published_weights() {
    let bytes = |values: [f32; 4]| values.map(f32::to_le_bytes);
    for kernel in Kernel::available() {
        for rows_max in [7, u64::MAX] {
            let mut sum = ExactSum::new(kernel, 4, rows_max);
            sum.add(&bytes([0.1, -1e-3, 1e-20, -1e-9]), 3).unwrap();
            sum.add(&bytes([0.2, 2e-3, -3.0, -1e-9]), 4).unwrap();
            let mut weights = bytes([1.0, 0.5, 0.0, 1.0001e-9]);
            sum.mean_onto(&mut weights).unwrap();
            assert_eq!(hex(&weights.map(f32::from_le_bytes)), "3f941d42 3f002ed0 bfdb6db7 00000000");
        }
    }
}

/// How many of the updates there are, and the weights that their medians lead to.
pub(crate) const MEDIANS: [(usize, &str); 2] =
    [(3, "3f8ccccd 3f008312 00000000 00000000"), (2, "3f933333 3f0020c5 bfc00000 00000000")];

#[test]
fn the_published_medians_lead_to_the_published_weights() {
    let updates = [[0.1, -1e-3, 1e-20, -1e-9], [0.2, 2e-3, -3.0, -1e-9], [-16_000.0, 0.5, 0.0, 1.0]];
    for (count, expected) in MEDIANS {
        let mut weights = [1.0_f32, 0.5, 0.0, 1.0001e-9].map(f32::to_le_bytes);
        let Ok(done) = Median::default().onto(
            &mut updates[..count].iter().map(|update| update.map(f32::to_le_bytes)).collect::<Vec<_>>(),
            &mut weights,
            &mut |_| (),
        );
        done.unwrap();
        assert_eq!(hex(&weights.map(f32::from_le_bytes)), expected);
    }
}

/// Schedule, decay, warm-up, steps and step; what of the rate the step has, and of a rate of 0.7.
const RATES: [(Schedule, f32, u32, u32, u64, &str, &str); 11] = [
    (Schedule::Cosine, 1.0, 0, 40, 0, "3ff0000000000000", "3f333333"),
    (Schedule::Cosine, 1.0, 0, 40, 1, "3feff35f97133058", "3f32ec7e"),
    (Schedule::Cosine, 1.0, 0, 40, 20, "3fdffffffffffffe", "3eb33333"),
    (Schedule::Cosine, 1.0, 0, 40, 39, "3f5940d1d99f50e4", "3a8d6afd"),
    (Schedule::Constant, 0.94, 0, 0, 39, "3fb6ebad3d4224e0", "3d805afd"),
    (Schedule::Constant, 0.94, 4, 0, 2, "3fe3333333333333", "3ed70a3d"),
    (Schedule::Cosine, 1.0, 3, 40, 3, "3ff0000000000000", "3f333333"),
    (Schedule::FlatCosine, 1.0, 0, 40, 19, "3ff0000000000000", "3f333333"),
    (Schedule::FlatCosine, 1.0, 0, 40, 21, "3fefcd924a17f22e", "3f3218cd"),
    (Schedule::FlatCosine, 0.94, 3, 40, 39, "3f4816741a5b7f86", "3a06e424"),
    (Schedule::FlatCosine, 1.0, 3, 40, 40, "0000000000000000", "00000000"),
];

#[test]
fn learning_rates_go_as_published_in_tasks_and_at_the_coordinator() {
    for (schedule, eta_decay, warmup, steps, step, part, rate) in RATES {
        let defined = rate_part(schedule, eta_decay, warmup, step, steps);
        let defined_rate = (f64::from(0.7f32) * defined) as f32;
        assert_eq!((format!("{:016x}", defined.to_bits()), hex(&[defined_rate])), (part.to_owned(), rate.to_owned()));
        let optimiser = OuterOptimiser::Momentum;
        let outer = Outer { optimiser, eta: 0.7, eta_decay, schedule, warmup, ..Outer::AVERAGE };
        assert_eq!(outer.rate(step, steps.into()), defined_rate);
        let schedule_steps = steps.max(1);
        let optimiser = Optimiser::Sgd;
        let recipe = Recipe { optimiser, eta: 0.7, eta_decay, schedule, schedule_steps, warmup, ..Recipe::DEFAULT };
        assert_eq!(recipe.checked().unwrap().rate(step), defined_rate);
        let steps = if steps == 0 { String::new() } else { format!("{steps} ") };
        says(&format!("| {} | {eta_decay} | {warmup} | {steps}| {step} | `{part}` | `{rate}` |", schedule as u8));
    }
}

const OUTER_ROUNDS: u32 = 3;
const OUTER_PARAMETERS: usize = 11;

/// Outer optimisers, and the weights after their three rounds.
const OUTER: [(Outer, &str); 5] = [
    (
        Outer { optimiser: OuterOptimiser::Momentum, eta: 0.5, ..Outer::AVERAGE },
        "bff02666 beca8b43 3f8ae0c5 bfbcee14 3b95810c 3fbe1917 bf89b5c3 3ecf374c 3fdd1e36 bf2cfae1 3f4e0c4a",
    ),
    (
        Outer {
            optimiser: OuterOptimiser::Nesterov,
            eta: 0.7,
            momentum: 0.5,
            schedule: Schedule::Cosine,
            ..Outer::AVERAGE
        },
        "bfe7b75c bec6e3d7 3f844571 bfb6875c bb88f5c5 3fb57571 bf85575c 3ec29c29 3fdc0a8f bf284eb8 3f43ae14",
    ),
    (
        Outer { optimiser: OuterOptimiser::Adam, eta: 0.01, weight_decay: 0.25, ..Outer::AVERAGE },
        "bfc261ea bebd19a8 3f561e0b bf9aad4e bb192eec 3f92c247 bf65ee7c 3e9e3ef0 3fb990aa bf16753c 3f1e8939",
    ),
    (
        Outer {
            optimiser: OuterOptimiser::Adam,
            eta: 0.01,
            betas: [0.5, 0.75],
            epsilon: 0.001,
            schedule: Schedule::Cosine,
            ..Outer::AVERAGE
        },
        "bfc28752 beb9357b 3f5517ff bf9a84d2 bc58a4b9 3f928cf5 bf650018 3e9a17cb 3fba33a7 bf14e6bd 3f1d157a",
    ),
    (
        Outer { optimiser: OuterOptimiser::Nesterov, clip: Some(0.25), ..Outer::AVERAGE },
        "c017fa59 beea9011 3fbaaca9 bfeda78a 3d752470 3ffcf9d1 bfab5a62 3f13ec97 3fffc1cb bf521a74 3f8c4373",
    ),
];

#[test]
fn outer_optimisers_lead_to_the_published_weights() {
    let formula = |at: usize| (at * 37 % 101) as f32 / 32.0 - 1.5;
    let updates: Vec<Vec<f32>> = (1..=OUTER_ROUNDS as usize)
        .map(|round| (0..OUTER_PARAMETERS).map(|index| formula(OUTER_PARAMETERS * round + index) * 0.1).collect())
        .collect();
    let base: Vec<f32> = (0..OUTER_PARAMETERS).map(formula).collect();
    for (outer, published) in OUTER {
        let outer = outer.checked().unwrap();
        let mut weights = base.clone();
        let (mut oracle, mut job) =
            (definition::ARITHMETIC_2, OuterDescent::new(outer, OUTER_ROUNDS, OUTER_PARAMETERS));
        for (step, update) in (0..).zip(&updates) {
            oracle.outer_step(&mut job, step, update, &mut weights);
        }
        assert_eq!(hex(&weights), published, "the definition: {outer:?}");
        says(&format!("weights {published}"));
        for kernel in Kernel::available() {
            let bytes = |values: &[f32]| -> Vec<LittleEndianF32> { values.iter().map(|v| v.to_le_bytes()).collect() };
            let (mut state, mut weights) = (OuterState::default(), bytes(&base));
            for (step, update) in (0..).zip(&updates) {
                let rate = outer.rate(step, OUTER_ROUNDS.into());
                state.step(kernel, &outer, rate, &bytes(update), &mut weights, &mut |_| ()).unwrap();
            }
            let weights: Vec<f32> = weights.into_iter().map(f32::from_le_bytes).collect();
            assert_eq!(hex(&weights), published, "{kernel}: {outer:?}");
        }
    }
}

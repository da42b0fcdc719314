//! The test vectors of docs/arithmetic.md, computed by every kernel and, from the definition alone, by the oracle.
//!
//! | module | owns |
//! |---|---|
//! | here | what scales features, draws, stops; the tiny network and its recipes |
//! | `tasks` | updates of tasks, and what a regression is judged by |
//! | `merging` | means, medians, rates, outer optimisers |
//! | `steps` | gradients of blocks and what they come to |

#[path = "../common/mod.rs"]
mod common;
mod merging;
mod steps;
mod tasks;

use std::num::NonZeroU32;

use common::book;
use gradwire::digest::Digest;
use gradwire::job::{Best, Metric, RoundSummary};
use gradwire::model::random::{Purpose, Stream};
use gradwire::model::scaling::FeatureScale;
use gradwire::model::{
    ARITHMETIC, Activation, BatchSize, Initialisation, LossReduction, Metrics, Network, Optimiser, Recipe, Training,
    initialise,
};

fn hex(values: &[f32]) -> String {
    let words: Vec<String> = values.iter().map(|value| format!("{:08x}", value.to_bits())).collect();
    words.join(" ")
}

/// That the document has these values.
fn says(values: &str) {
    book::ARITHMETIC.check_says(values);
}

#[test]
fn every_vector_here_is_the_documents() {
    says("`a98c47c7 b3839195 437626b8 11383048`");
    says("gives 8 3 4 5 7 1 0 2 9 6.");
    for listed in &tasks::LISTED {
        says(&format!("update {} loss {}", listed.update, listed.loss));
    }
    for recipe in [SGD, ADAM] {
        says(&hex(&tiny(recipe).1));
    }
    says("`3f941d42 3f002ed0 bfdb6db7 00000000`");
    for (_, median) in merging::MEDIANS {
        says(&format!("`{median}`"));
    }
}

#[test]
fn features_are_scaled_as_published() {
    let cases: [&[f64]; 2] =
        [&[1_700_000_000_000.0, 1_700_000_000_100.0, 1_700_000_000_300.0], &[0.1, 0.2, 1e16, -1e16, 0.4]];
    for values in cases {
        let scale = FeatureScale::standardising(values.iter().copied());
        let inputs: Vec<f32> = values.iter().map(|&value| scale.apply(value)).collect();
        let (mean, inverse) = (scale.mean().to_bits(), scale.inverse_deviation().to_bits());
        says(&format!("mean {mean:016x} inverse_deviation {inverse:016x} inputs {}", hex(&inputs)));
    }
}

#[test]
fn features_are_scaled_robustly_as_published() {
    let cases: [&[f64]; 2] = [&[9.0, 1.0, 5.0, 3.0, 1e9], &[0.1, 0.2, -0.4, 0.7, 1e300, 2.5]];
    for values in cases {
        let scale = FeatureScale::robust(values.iter().copied());
        let inputs: Vec<f32> = values.iter().map(|&value| scale.apply(value)).collect();
        let (median, inverse) = (scale.mean().to_bits(), scale.inverse_deviation().to_bits());
        says(&format!("median {median:016x} inverse_range {inverse:016x} inputs {}", hex(&inputs)));
    }
}

#[test]
fn outputs_are_dropped_as_published() {
    let mut stream = Stream::new(Purpose::Dropout, 1, [0, 4, 2]);
    let dropped: Vec<String> = (0..12).filter(|_| stream.unit() < 0.5).map(|output: u32| output.to_string()).collect();
    says(&format!("of twelve outputs those numbered {}, from 0, are dropped", dropped.join(" ")));
}

#[test]
fn jobs_stop_where_published() {
    let series: [(&str, u32); 4] = [
        ("5/9 4/8 4/8 4/7.5 6/7 4/7.5", 2),
        ("3/2 3/2 3/2", 2),
        ("-/4 -/3 -/3.5 -/2.5 -/2.75 -/2.5 -/2.625", 3),
        ("-/NaN -/inf -/3 -/NaN -/3", 2),
    ];
    for (told, patience) in series {
        let (mut best, mut last) = (None, None);
        for (number, told) in (1..).zip(told.split(' ')) {
            assert_eq!(last, None, "it stops before the series ends");
            let (errors, loss) = told.split_once('/').unwrap();
            let metrics = Metrics::default().with(Metric::Loss, loss.parse().unwrap());
            let metrics = errors.parse().map_or(metrics, |errors| metrics.with(Metric::Errors, errors));
            let round = RoundSummary { round: number, metrics, ..round_summary() };
            let now = Best::or(best, round, Digest([number as u8; 32]));
            last = now.is_final(patience, &round).then_some(number);
            best = Some(now);
        }
        let (best, last) = (best.unwrap(), last.expect("it stops at the series' end"));
        assert_eq!(best.weights, Digest([best.round.round as u8; 32]));
        says(&format!("{told} patience {patience} best {} last {last}", best.round.round));
    }
}

#[test]
fn a_round_reaches_an_accuracy_as_published() {
    for (errors, rows, accuracy, is_reached) in [
        (5, 50, 0.9, true),
        (6, 50, 0.9, false),
        (0, 7, 1.0, true),
        (1, 3, 0.666_666_666_666_666_6, true),
        (1, 3, 0.67, false),
    ] {
        let metrics = Metrics::default().with(Metric::Errors, f64::from(errors));
        assert_eq!(RoundSummary { rows, metrics, ..round_summary() }.has_reached(accuracy), is_reached);
        let word = if is_reached { "reached" } else { "not reached" };
        says(&format!("{errors} errors of {rows} rows, {accuracy}: {word}"));
    }
}

fn round_summary() -> RoundSummary {
    let metrics = Metrics::default();
    RoundSummary { round: 1, rounds: 9, loss: 1.0, rows: 9, metrics, nodes: 1, merged: 1, skipped: 0, round_us: 1 }
}

#[test]
fn streams_begin_with_the_published_words_and_shuffle_as_published() {
    let mut stream = Stream::new(Purpose::Shuffle, 7, [1, 2, 3]);
    let words: Vec<String> = (0..4).map(|_| format!("{:08x}", stream.word())).collect();
    assert_eq!(words.join(" "), "a98c47c7 b3839195 437626b8 11383048");
    let mut items: Vec<u32> = (0..10).collect();
    Stream::new(Purpose::Shuffle, 7, [1, 2, 3]).shuffle(&mut items);
    assert_eq!(items, [8, 3, 4, 5, 7, 1, 0, 2, 9, 6]);
}
/// 3-2-2 and the initial weights of seed 1.
fn tiny(recipe: Recipe) -> (Training, Vec<f32>) {
    let network = Network::new(3, &[2], 2).unwrap();
    let base = initialise(&network, recipe.initialisation, 1);
    (Training { arithmetic: ARITHMETIC, network, recipe, seed: 1, class_weights: Vec::new() }, base)
}

const SGD: Recipe = Recipe {
    activation: Activation::MaskedIdentity,
    optimiser: Optimiser::Sgd,
    reduction: LossReduction::Sum,
    initialisation: Initialisation::Small,
    eta: 0.1,
    eta_decay: 1.0,
    batch: BatchSize::Full,
    epochs: 2,
    log_epsilon: 1e-6,
    stop_loss_change: None,
    local_steps: None,
    ..Recipe::DEFAULT
};

const ADAM: Recipe = Recipe {
    activation: Activation::Relu,
    optimiser: Optimiser::Adam,
    reduction: LossReduction::Mean,
    initialisation: Initialisation::He,
    eta: 0.01,
    eta_decay: 0.5,
    batch: BatchSize::Rows(NonZeroU32::new(2).unwrap()),
    epochs: 2,
    log_epsilon: 0.0,
    stop_loss_change: None,
    local_steps: None,
    ..Recipe::DEFAULT
};

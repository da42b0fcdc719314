//! The test vectors of docs/arithmetic.md, computed by every kernel and, from the definition alone, by the oracle.

mod common;

use common::book;
use common::definition::{self, Definition, OuterDescent, Thresholds, rate_part, steps};
use gradwire::digest::Digest;
use gradwire::job::{Best, Metric, RoundSummary};
use gradwire::model::random::{Purpose, Stream};
use gradwire::model::scaling::FeatureScale;
use gradwire::model::train::Unwatched;
use gradwire::model::{
    ARITHMETIC, Activation, BatchSize, BlockRange, ExactSum, GradientSteps, GradientSum, Initialisation, Kernel,
    LittleEndianF32, Loss, LossReduction, Median, Metrics, Network, Optimiser, Outer, OuterOptimiser, OuterState,
    Recipe, Rows, Schedule, Targets, Trainer, Training, evaluate, initialise,
};
use gradwire::wire::object;
use std::num::NonZeroU32;
use std::ops::Range;

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
    for listed in &LISTED {
        says(&format!("update {} loss {}", listed.update, listed.loss));
    }
    for recipe in [SGD, ADAM] {
        says(&hex(&tiny(recipe).1));
    }
    says("`3f941d42 3f002ed0 bfdb6db7 00000000`");
    for (_, median) in MEDIANS {
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
    let series: [(&str, u32); 3] =
        [("5/9 4/8 4/8 4/7.5 6/7 4/7.5", 2), ("3/2 3/2 3/2", 2), ("-/4 -/3 -/3.5 -/2.5 -/2.75 -/2.5 -/2.625", 3)];
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

#[test]
fn the_tiny_network_starts_from_the_published_weights() {
    assert_eq!(
        hex(&tiny(SGD).1),
        "bbe714f5 bb43a814 bb9e96b6 bb24c2fb bb8965ee bb76a552 3bf1bfd7 3b7f5a70 \
         bbf71ee3 3bd8e57b bbd99d61 3a126dae 3be6f6c7 3bc8f547"
    );
    assert_eq!(
        hex(&tiny(ADAM).1),
        "bf7f4fd3 bed82c08 bf2f37a9 beb609a1 bf17ce12 bf0840fb 00000000 00000000 \
         3fa39038 3f2cc47c bfa7328e 3f92bf8f 00000000 00000000"
    );
}

/// What rows are compared with.
enum Fits {
    /// Two classes.
    Labels(&'static [u32]),
    /// So many numbers a row.
    Numbers(u32, &'static [f32]),
}

/// A task whose rows and weights stand in the document.
struct Listed {
    hidden: &'static [u32],
    recipe: Recipe,
    step: u64,
    values: &'static [f32],
    fits: Fits,
    /// The weights that the seed draws where none are given.
    base: Option<&'static [f32]>,
    update: &'static str,
    loss: &'static str,
    /// Thresholds without which the update would be another.
    shows: &'static [&'static str],
    /// None, or one for each class.
    class_weights: &'static [f32],
}

/// The five rows of the tiny tasks.
const TINY_VALUES: &[f32] = &[1.0, -0.5, 0.25, -1.0, 0.5, 2.0, 0.75, 1.5, -0.25, -2.0, -1.5, 1.0, 0.5, 0.25, -1.25];

const TINY: Listed = Listed {
    hidden: &[2],
    recipe: SGD,
    step: 0,
    values: TINY_VALUES,
    fits: Fits::Labels(&[0, 1, 1, 0, 1]),
    base: None,
    update: "",
    loss: "",
    shows: &[],
    class_weights: &[],
};

/// The recipe in which one member at a time is replaced.
const MEMBER: Recipe = Recipe { optimiser: Optimiser::Sgd, eta: 0.1, eta_decay: 1.0, ..ADAM };

const SUM_ADAM: Recipe = Recipe { optimiser: Optimiser::Adam, log_epsilon: 0.0, ..SGD };

/// The same network on values of all sizes.
const WIDE_RANGE: Listed = Listed {
    recipe: Recipe { eta: 1e-4, log_epsilon: 0.0, ..SGD },
    values: &[1e6, 1e-13, 0.5, -1e6, 0.25, 0.0, 2.0, -1.0, 1e-13, 0.0, 3e-12, -2e6],
    fits: Fits::Labels(&[0, 1, 0, 1]),
    base: Some(&[0.0, 1e-6, 3e-12, 0.0, 2e-6, -1e-6, 0.0, 2e-12, 30.0, -2.0, 1e-12, 1.5e-12, 0.0, -1.0]),
    ..TINY
};

const WIDE_RANGE_ADAM: Recipe =
    Recipe { epochs: 150, batch: BatchSize::Rows(NonZeroU32::new(3).unwrap()), eta: 0.5, eta_decay: 1.0, ..ADAM };

/// Two rows that are told apart so well that their gradients end.
const SATURATED: Listed = Listed {
    hidden: &[],
    recipe: Recipe { epochs: 200, eta: 1000.0, ..SUM_ADAM },
    values: &[1e6, 1.05e-4, 1e-6, 0.0, 0.0, 0.0, 0.0, 0.0, 1e6, -1.0],
    fits: Fits::Labels(&[0, 0]),
    base: Some(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -27.5]),
    ..TINY
};

/// The tiny rows with two targets each, one of them too small to count.
const SQUARED: Listed = Listed {
    recipe: Recipe { loss: Loss::SquaredError, ..MEMBER },
    fits: Fits::Numbers(2, &[0.5, -1.0, 1e-13, 2.0, -0.25, 0.0, 1.5, 0.75, -2.0, 1.0]),
    ..TINY
};

const LISTED: [Listed; 18] = [
    Listed {
        update: "3a3934f8 3aa5169a 3b70b5da 3b0459e0 ba3d1500 bae95560 b8fd7500 b9de0430 \
                 3ac71ee8 bac71eec 3a16c530 ba16c532 bdb39599 3db39599",
        loss: "400b60ebf8000000",
        ..TINY
    },
    Listed {
        recipe: ADAM,
        step: 3,
        update: "bbb16480 3bb14300 bbad5380 3bad36c0 3bce2980 bbce0a00 3b5054a3 bb50c2b5 \
                 3ba2e600 bba2e680 3b8a4400 bb8a4400 3ab6e5ec bab6e5ec",
        loss: "400b781aad000000",
        ..TINY
    },
    Listed {
        hidden: &[],
        recipe: Recipe { eta: 0.5, log_epsilon: 0.0, ..SGD },
        values: &[3e-12],
        fits: Fits::Labels(&[0]),
        base: Some(&[0.0, 0.0, 0.0, 0.0]),
        update: "00000000 00000000 3ee0a681 bee0a682",
        loss: "3fde574700000000",
        shows: &["weight"],
        ..TINY
    },
    Listed {
        update: "4547ffae 00000000 ba195069 00000000 39e19962 00000000 bac1d420 00000000 \
                 00000000 00000000 38d1b6c7 b8d1b6c7 b7a20d87 37a20000",
        loss: "0000000000000000",
        shows: &["derivative"],
        ..WIDE_RANGE
    },
    Listed {
        recipe: WIDE_RANGE_ADAM,
        update: "4031e2bb c02f94a2 00000000 c0243216 4031e2bb 3f823e8f 4031e2ba c03672c0 \
                 402aea90 c02aea88 c0233842 40233842 c07e0756 407e074f",
        loss: "3f5008fda0000000",
        shows: &["input", "output", "derivative"],
        ..WIDE_RANGE
    },
    Listed {
        update: "00000000 c5b76710 00000000 b8171948 00000000 00000000 00000000 00000000 \
                 00000000 00000000 00000000 beafa580",
        loss: "0000000000000000",
        shows: &["probability", "gradient", "first"],
        ..SATURATED
    },
    Listed {
        recipe: Recipe { eta: 10.0, ..SATURATED.recipe },
        update: "00000000 c26ac163 00000000 b4c166ec 00000000 00000000 00000000 00000000 \
                 00000000 00000000 00000000 bb608000",
        loss: "0000000000000000",
        shows: &["probability", "gradient", "step"],
        ..SATURATED
    },
    // The members that none of those has, one in each.
    Listed {
        recipe: Recipe { activation: Activation::Tanh, ..MEMBER },
        update: "3d54a9d0 3dfd490c bd575310 3f0182c6 bd385ac0 bda55308 bd16f059 3d4a0444 \
                 3dfaeac0 bdfaeac8 3da7a730 bda7a730 bd475ece 3d475ed0",
        loss: "400c696e94000000",
        ..TINY
    },
    Listed {
        recipe: Recipe { optimiser: Optimiser::Momentum, momentum: 0.5, ..MEMBER },
        update: "bdc9a588 3eb8833b bd92b1c8 3e844c50 3d8925d0 be8cf27a 3cddabca bd7b2447 \
                 3e30be48 be30be44 3d10e9e0 bd10e9e0 bce3c2b7 3ce3c2c0",
        loss: "40029a6e2ee00000",
        ..TINY
    },
    Listed {
        recipe: Recipe { optimiser: Optimiser::Adam, betas: [0.5, 0.95], epsilon: 0.001, weight_decay: 0.25, ..MEMBER },
        update: "3d37ce90 3e81a091 be292c20 3e751525 3dc24284 be1c0e4c bb66c780 bda49978 \
                 3c578900 be93a321 3e9b4da8 be8fc692 bccad3b0 3ccad3b8",
        loss: "4004aff647000000",
        ..TINY
    },
    Listed {
        update: "3e479cd0 3e2afe38 3e26dc68 3dcd9bac 3d159ff0 be9082dc be87a932 3e28e929 \
                 bdf8bb00 be65a7f6 bdb0bb20 bd8738f0 bdd794d4 bc0a7d79",
        loss: "400b445cf9a84c2c",
        ..SQUARED
    },
    Listed {
        class_weights: &[0.3, 1.7],
        recipe: MEMBER,
        update: "bd070350 3e049674 bcb1cf60 3daed64c 3d2657a0 be2278c0 bc60278f 3d57b6bf \
                 3d216500 bd216510 bba66500 3ba66500 be46e2e4 3e46e2e1",
        loss: "4006851aa0000000",
        ..TINY
    },
    Listed {
        recipe: Recipe { loss: Loss::Huber, huber_delta: 0.75, ..MEMBER },
        update: "3e089740 3e2a60c8 3dde84f0 3ddad398 3b0f2a00 be6826ac be1c75fb 3dc506ec \
                 bd9b00a0 be26c2fc bd7fa920 bd18d720 bd499995 bd8677df",
        loss: "40087272a8e4c284",
        ..SQUARED
    },
    Listed {
        recipe: Recipe { label_smoothing: 0.1, ..MEMBER },
        update: "bd569d70 3e4f09b8 bd1a40b0 3e1528dc 3d20f9f0 be187858 3c20e2ab bd29520b \
                 3db57410 bdb57418 3c90ec80 bc90ec80 bced2922 3ced2929",
        loss: "400439a2d1800000",
        ..TINY
    },
    Listed {
        recipe: Recipe { dropout: 0.25, ..MEMBER },
        update: "bcc4ff60 3d08e438 bc89c0c0 3c88e440 3cb276c0 bdab1d48 b93a83a8 3d88e43a \
                 3d168ac0 bd168ac0 bc376300 3c376300 bd60af44 3d60af41",
        loss: "40031b1572800000",
        ..TINY
    },
    // And their thresholds.
    Listed {
        hidden: &[],
        recipe: Recipe {
            loss: Loss::SquaredError,
            optimiser: Optimiser::Momentum,
            momentum: 0.5,
            eta: 128.0,
            epochs: 60,
            ..SUM_ADAM
        },
        values: &[0.03125, -0.03125],
        fits: Fits::Numbers(1, &[5e-13, -5e-13]),
        base: Some(&[3e-11, 0.0]),
        update: "ad83f0fe 00000000",
        loss: "0000000000000000",
        shows: &["target", "difference", "velocity"],
        ..TINY
    },
    Listed {
        recipe: Recipe { betas: [0.5, 0.95], ..SATURATED.recipe },
        update: "00000000 c4fb75c7 00000000 b7a152d9 00000000 00000000 00000000 00000000 \
                 00000000 00000000 00000000 be3b8a00",
        loss: "0000000000000000",
        shows: &["probability", "gradient", "first", "fast"],
        ..SATURATED
    },
    Listed {
        recipe: Recipe { activation: Activation::Tanh, ..WIDE_RANGE_ADAM },
        update: "40402d6d 3ce014aa c0402d6d bc601cdb 00000000 00000000 c0402d6e 3c601cdb \
                 b8080000 bb94d400 40402d6c c0402d6c c0402d6c 40402d6b",
        loss: "0000000000000000",
        shows: &["input", "output", "probability", "derivative"],
        ..WIDE_RANGE
    },
];

impl Listed {
    fn training(&self) -> Training {
        let (rows, outputs) = match self.fits {
            Fits::Labels(labels) => (labels.len(), 2),
            Fits::Numbers(width, numbers) => (numbers.len() / width as usize, width),
        };
        let network = Network::new((self.values.len() / rows) as u32, self.hidden, outputs).unwrap();
        Training {
            arithmetic: ARITHMETIC,
            network,
            recipe: self.recipe.checked().unwrap(),
            seed: 1,
            class_weights: self.class_weights.to_vec(),
        }
    }

    fn base(&self) -> Vec<f32> {
        let drawn = || initialise(&self.training().network, self.recipe.initialisation, 1);
        self.base.map_or_else(drawn, <[f32]>::to_vec)
    }

    fn targets(&self) -> Targets<'static> {
        match self.fits {
            Fits::Labels(labels) => Targets::Labels { labels: labels.into(), classes: 2 },
            Fits::Numbers(width, values) => Targets::Values { values: values.into(), width },
        }
    }

    fn rows(&self) -> Rows<'static> {
        Rows::new(self.training().network.inputs(), self.values.to_vec(), self.targets()).unwrap()
    }

    /// What the oracle makes of it with these thresholds: the update, and the loss.
    fn computed(&self, thresholds: Thresholds) -> (String, String) {
        let mut definition = Definition { thresholds, meter: () };
        let rows = (self.values, &self.targets());
        let (update, loss, _) = definition.train_against(&self.training(), self.step, 4, &self.base(), rows);
        (hex(&update), format!("{:016x}", loss.to_bits()))
    }
}

#[test]
fn listed_tasks_give_the_published_updates() {
    for listed in &LISTED {
        let (training, base, rows) = (listed.training(), listed.base(), listed.rows());
        let published = (listed.update.to_owned(), listed.loss.to_owned());
        assert_eq!(listed.computed(Thresholds::DEFINED), published, "the definition: {:?}", listed.recipe);
        for kernel in Kernel::available() {
            let trained = Trainer::new(kernel).train(&training, listed.step, 4, &base, &rows, &mut Unwatched).unwrap();
            let got = (hex(&trained.update), format!("{:016x}", trained.loss.to_bits()));
            assert_eq!(got, published, "{kernel}: {:?}", listed.recipe);
        }
    }
}

/// The loss, tag 3, tag 4.
const JUDGED: [&str; 3] = ["4017ce713b68fcea", "4027ce713b68fcea", "402081f09e000000"];

#[test]
fn the_weights_of_the_listed_regression_are_judged_as_published() {
    let (training, base, rows) = (SQUARED.training(), SQUARED.base(), SQUARED.rows());
    let bits = |metrics: &Metrics| -> Vec<String> {
        metrics.tagged().iter().map(|(_, value)| format!("{:016x}", value.to_bits())).collect()
    };
    let mut definition = definition::ARITHMETIC_2;
    assert_eq!(bits(&definition.evaluate(&training, &base, &rows)), JUDGED);
    for kernel in Kernel::available() {
        let evaluation = evaluate(kernel, &training.network, &training.recipe, &base, &rows).unwrap();
        assert_eq!(bits(&evaluation.metrics), JUDGED, "{kernel}");
    }
    let [loss, squares, magnitudes] = JUDGED;
    says(&format!("judged on the five rows: loss `{loss}`, tag 3 `{squares}`, tag 4 `{magnitudes}`"));
}

/// What each threshold is for is shown elsewhere; that these vectors find out who left one away, here.
#[test]
fn the_vectors_of_extreme_values_depend_on_the_thresholds() {
    type TakeOut = fn(&mut Thresholds);
    for listed in &LISTED {
        let all: [(&str, TakeOut); 13] = [
            ("input", |t| t.input = 0.0),
            ("target", |t| t.target = 0.0),
            ("difference", |t| t.difference = 0.0),
            ("weight", |t| t.weight = 0.0),
            ("output", |t| t.output = 0.0),
            ("probability", |t| t.probability = 0.0),
            ("weighted", |t| t.weighted = 0.0),
            ("derivative", |t| t.derivative = 0.0),
            ("gradient", |t| t.gradient = 0.0),
            ("velocity", |t| t.velocity = 0.0),
            ("first", |t| t.first_moment = 0.0),
            ("fast", |t| t.slow_betas = [0.0; 2]),
            ("step", |t| t.step = 0.0),
        ];
        let is_shown = |out: &TakeOut| {
            let mut thresholds = Thresholds::DEFINED;
            out(&mut thresholds);
            listed.computed(thresholds).0 != listed.update
        };
        let shown: Vec<&str> = all.iter().filter(|(_, out)| is_shown(out)).map(|(name, _)| *name).collect();
        assert_eq!(shown, listed.shows, "{:?}", listed.recipe);
    }
}

/// A task on rows that a formula gives.
struct Formulaic {
    hidden: &'static [u32],
    inputs: u32,
    classes: u32,
    recipe: Recipe,
    rows: u32,
    /// More parameters than the document has values for: their digest stands there.
    is_large: bool,
}

const FORMULAIC: [Formulaic; 3] = [
    // A layer whose gradients are summed row by row, and one whose are summed on lanes.
    Formulaic {
        hidden: &[64],
        inputs: 65,
        classes: 3,
        recipe: Recipe {
            optimiser: Optimiser::Sgd,
            eta: 0.1,
            eta_decay: 1.0,
            batch: BatchSize::Full,
            epochs: 1,
            ..ADAM
        },
        rows: 20,
        is_large: true,
    },
    // Three blocks: the last is not whole, and passes up the tree unchanged.
    Formulaic { hidden: &[2], inputs: 3, classes: 2, recipe: Recipe { eta: 0.02, ..SGD }, rows: 300, is_large: false },
    // It stops before its last epoch.
    Formulaic {
        hidden: &[2],
        inputs: 3,
        classes: 2,
        recipe: Recipe {
            initialisation: Initialisation::He,
            eta: 0.01,
            epochs: 50,
            stop_loss_change: Some(0.0625),
            local_steps: None,
            ..SGD
        },
        rows: 130,
        is_large: false,
    },
];

#[test]
fn tasks_on_formulaic_rows_give_the_published_updates() {
    for Formulaic { hidden, inputs, classes, recipe, rows, is_large } in &FORMULAIC {
        let network = Network::new(*inputs, hidden, *classes).unwrap();
        let base = initialise(&network, recipe.initialisation, 1);
        let values: Vec<f32> = (0..rows * inputs).map(|at| (at * 37 % 101) as f32 / 32.0 - 1.5).collect();
        let labels: Vec<u32> = (0..*rows).map(|row| row % classes).collect();
        let training =
            Training { arithmetic: ARITHMETIC, network, recipe: *recipe, seed: 1, class_weights: Vec::new() };

        let mut oracle = definition::ARITHMETIC_2;
        let (update, loss, epochs) = oracle.train_on(&training, 0, 4, &base, &values, &labels);
        let shown = if *is_large {
            let bytes: Vec<u8> = update.iter().flat_map(|value| value.to_le_bytes()).collect();
            let ends = [&update[..4], &update[update.len() - 4..]].map(hex);
            format!("{} … {} SHA-256 {}", ends[0], ends[1], Digest::of(&bytes))
        } else {
            hex(&update)
        };
        says(&format!("update {shown} loss {:016x} epochs {epochs}", loss.to_bits()));

        let rows = Rows::labelled(*inputs, values, labels, *classes).unwrap();
        for kernel in Kernel::available() {
            let trained = Trainer::new(kernel).train(&training, 0, 4, &base, &rows, &mut Unwatched).unwrap();
            assert!(trained.update == update, "{kernel}, {inputs} inputs");
            assert_eq!((trained.loss.to_bits(), trained.epochs), (loss.to_bits(), epochs), "{kernel}");
        }
    }
}

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
const MEDIANS: [(usize, &str); 2] =
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

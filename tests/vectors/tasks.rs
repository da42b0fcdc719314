//! Updates of tasks, and what a regression's weights are judged by.

use std::num::NonZeroU32;

use gradwire::digest::Digest;
use gradwire::model::train::Unwatched;
use gradwire::model::{
    ARITHMETIC, Activation, BatchSize, Initialisation, Kernel, Loss, Metrics, Network, Optimiser, Recipe, Rows,
    Targets, Trainer, Training, evaluate, initialise,
};

use crate::common::definition::{self, Definition, Thresholds};
use crate::{ADAM, SGD, hex, says, tiny};

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
pub(crate) enum Fits {
    /// Two classes.
    Labels(&'static [u32]),
    /// So many numbers a row.
    Numbers(u32, &'static [f32]),
}

/// A task whose rows and weights stand in the document.
pub(crate) struct Listed {
    hidden: &'static [u32],
    recipe: Recipe,
    step: u64,
    values: &'static [f32],
    fits: Fits,
    /// The weights that the seed draws where none are given.
    base: Option<&'static [f32]>,
    pub(crate) update: &'static str,
    pub(crate) loss: &'static str,
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

pub(crate) const LISTED: [Listed; 18] = [
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

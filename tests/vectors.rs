//! The test vectors of protocol.md's section "Arithmetic 1".

use std::num::NonZeroU32;

use gradwire::job::Training;
use gradwire::model::random::{Purpose, Stream};
use gradwire::model::train::Unwatched;
use gradwire::model::{
    ARITHMETIC, Activation, BatchSize, ExactSum, Initialisation, Kernel, LossReduction, Network, Optimiser, Recipe,
    Rows, Trainer, initialise,
};

fn hex(values: &[f32]) -> String {
    let words: Vec<String> = values.iter().map(|value| format!("{:08x}", value.to_bits())).collect();
    words.join(" ")
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
    (Training { arithmetic: ARITHMETIC, network, recipe, seed: 1 }, base)
}

fn tiny_rows() -> Rows<'static> {
    let values = vec![1.0, -0.5, 0.25, -1.0, 0.5, 2.0, 0.75, 1.5, -0.25, -2.0, -1.5, 1.0, 0.5, 0.25, -1.25];
    Rows::new(3, values, vec![0, 1, 1, 0, 1], 2).unwrap()
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

const SGD_UPDATE: &str = "3a3934f8 3aa5169a 3b70b5da 3b0459e0 ba3d1500 bae95560 b8fd7500 b9de0430 \
                          3ac71ee8 bac71eec 3a16c530 ba16c532 bdb39599 3db39599";
const ADAM_UPDATE: &str = "bbb16480 3bb14300 bbad5380 3bad36c0 3bce2980 bbce0a00 3b5054a2 bb50c2b5 \
                           3ba2e600 bba2e680 3b8a4400 bb8a4400 3ab6e5ec bab6e5ec";

#[test]
fn the_tiny_task_gives_the_published_updates() {
    for kernel in Kernel::available() {
        for (recipe, step, update, loss) in
            [(SGD, 0, SGD_UPDATE, "400b60ebf8000000"), (ADAM, 3, ADAM_UPDATE, "400b781aa1000000")]
        {
            let (training, base) = tiny(recipe);
            let trained = Trainer::new(kernel).train(&training, step, 4, &base, &tiny_rows(), &mut Unwatched).unwrap();
            assert_eq!(hex(&trained.update), update, "{kernel}");
            assert_eq!(format!("{:016x}", trained.loss.to_bits()), loss, "{kernel}");
        }
    }
}

#[test]
fn the_published_updates_merge_to_the_published_weights() {
    let bytes = |values: [f32; 3]| values.map(f32::to_le_bytes);
    for kernel in Kernel::available() {
        for rows_max in [7, u64::MAX] {
            let mut sum = ExactSum::new(kernel, 3, rows_max);
            sum.add(&bytes([0.1, -1e-3, 1e-20]), 3).unwrap();
            sum.add(&bytes([0.2, 2e-3, -3.0]), 4).unwrap();
            let mut weights = bytes([1.0, 0.5, 0.0]);
            sum.mean_onto(&mut weights).unwrap();
            assert_eq!(hex(&weights.map(f32::from_le_bytes)), "3f941d42 3f002ed0 bfdb6db7");
        }
    }
}

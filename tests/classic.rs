//! The `classic` recipe against an implementation of its own in numpy and float64 (tests/fixtures/make_classic_round.py):
//! one round on the letters, from the same initial weights.

use gradwire::model::train::Unwatched;
use gradwire::model::{ARITHMETIC, ExactSum, Kernel, Metric, Network, Recipe, Rows, Trainer, Training, evaluate};
use std::path::Path;

const SHARDS: usize = 11;
const SHARD_ROWS: usize = 1500;

fn weights(name: &str) -> Vec<f32> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let bytes = std::fs::read(path).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The letters: features and label of each row, in file order.
fn letters() -> Vec<(Vec<f32>, u32)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/letter-recognition.csv");
    let text = std::fs::read_to_string(path).unwrap();
    let row = |line: &str| {
        let (features, letter) = line.trim_end().rsplit_once(',').unwrap();
        let features = features.split(',').map(|value| value.parse().unwrap()).collect();
        (features, u32::from(letter.as_bytes()[0] - b'A'))
    };
    text.lines().skip(1).map(row).collect()
}

fn rows(letters: &[(Vec<f32>, u32)]) -> Rows<'static> {
    let values: Vec<f32> = letters.iter().flat_map(|(features, _)| features.iter().copied()).collect();
    let labels: Vec<u32> = letters.iter().map(|(_, label)| *label).collect();
    Rows::labelled(16, values, labels, 26).unwrap()
}

#[test]
fn one_round_of_classic_agrees_with_numpy() {
    let network = Network::new(16, &[20], 26).unwrap();
    let training =
        Training { arithmetic: ARITHMETIC, network, recipe: Recipe::CLASSIC, seed: 1, class_weights: Vec::new() };
    let (base, expected) = (weights("classic_initial.f32"), weights("classic_round1.f32"));
    let letters = letters();
    let mut sum = ExactSum::new(Kernel::best(), base.len(), (SHARDS * SHARD_ROWS) as u64);
    let mut trainer = Trainer::new(Kernel::best());
    for (shard, letters) in letters.chunks(SHARD_ROWS).take(SHARDS).enumerate() {
        let trained = trainer.train(&training, 0, shard as u32, &base, &rows(letters), &mut Unwatched).unwrap();
        let update: Vec<[u8; 4]> = trained.update.iter().map(|value| value.to_le_bytes()).collect();
        sum.add(&update, letters.len() as u32).unwrap();
    }
    let mut merged: Vec<[u8; 4]> = base.iter().map(|value| value.to_le_bytes()).collect();
    sum.mean_onto(&mut merged).unwrap();
    let merged: Vec<f32> = merged.into_iter().map(f32::from_le_bytes).collect();
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let differences = || merged.iter().zip(&expected).map(|(got, expected)| f64::from(*got) - f64::from(*expected));
    let relative = (square(&mut differences()) / square(&mut expected.iter().copied().map(f64::from))).sqrt();
    assert!(relative < 1e-5, "relative distance {relative:e}");
    let largest = differences().map(f64::abs).fold(0.0, f64::max);
    assert!(largest < 1e-4, "largest difference {largest:e}");

    let validation = rows(&letters[SHARDS * SHARD_ROWS..]);
    let of = |weights: &[f32]| {
        evaluate(Kernel::best(), &training.network, &training.recipe, weights, &validation).unwrap().metrics
    };
    assert_eq!(of(&merged).get(Metric::Errors), of(&expected).get(Metric::Errors));
    assert!(of(&merged).get(Metric::Loss) < of(&base).get(Metric::Loss));
}

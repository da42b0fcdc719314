//! The same task at `node.py` and at the Rust node: two updates that differ by their rounding, and, where rows are
//! shuffled, by the order of rows. Owns the tasks and the tolerances.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use gradwire::digest::Digest;
use gradwire::model::{Activation, BatchSize, LossReduction, Network, Optimiser, Recipe, Schedule, Training};
use gradwire::wire::message::{Fetch, RowsSource, Train, Trained};
use gradwire::wire::object::{self, ObjectKind};
use gradwire::wire::{Message, Role};

use crate::common::peer::Peer;
use crate::common::servers::Node;
use crate::common::smallest::{self, piece};
use crate::python::Python;

/// More than what goes through the Python network in one go.
const ROWS: usize = 700;
const FEATURES: u32 = 6;
const CLASSES: u32 = 4;
/// What two roundings of one task differ by, relative to its largest change.
const ROUNDING: f32 = 1e-3;
/// The same of its loss.
const LOSS_ROUNDING: f64 = 1e-5;
/// What two orders of rows make of a loss.
const LOSS_SHUFFLING: f64 = 0.03;

/// Numbers of ±1, the same every time.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Rows whose class can be learned.
fn rows() -> Vec<u8> {
    let values = numbers(ROWS * FEATURES as usize, 1);
    let label = |row: &[f32]| u32::from(row[0] > row[1]) + 2 * u32::from(row[2] + row[3] > 0.2);
    let labels: Vec<u32> = values.chunks_exact(FEATURES as usize).map(label).collect();
    object::encode_rows(FEATURES, &values, &labels)
}

/// A task of this recipe, and the objects that it names.
fn task(hidden: &[u32], recipe: Recipe, step: u64) -> (Train, [Vec<u8>; 2]) {
    let network = Network::new(FEATURES, hidden, CLASSES).unwrap();
    let weights: Vec<f32> = numbers(network.parameters(), 2).iter().map(|value| value / 2.0).collect();
    let objects = [object::encode_parameters(ObjectKind::Weights, &network, &weights), rows()];
    let mut train = smallest::train();
    train.name.task.step = step;
    train.base = Digest::of(&objects[0]);
    train.rows = RowsSource::Shipped(Digest::of(&objects[1]));
    train.training = Some(Training { network, recipe: recipe.checked().unwrap(), ..smallest::training() });
    (train, objects)
}

/// What a node answers to a task whose objects it may fetch, and the update's values.
fn trained(address: SocketAddr, train: &Train, objects: &[Vec<u8>]) -> (Trained, Vec<f32>) {
    let (trained, update) = yielded(address, train, objects);
    let network = &train.training.as_ref().unwrap().network;
    let values = object::decode_parameters(ObjectKind::Update, network, &update).unwrap();
    (trained, values.into_owned())
}

/// What a node answers to a task whose objects it may fetch, and the object that the task yields.
pub fn yielded(address: SocketAddr, train: &Train, objects: &[Vec<u8>]) -> (Trained, Vec<u8>) {
    let mut peer = Peer::greeted(address, Role::Coordinator);
    peer.send(train.clone(), 1);
    let trained = loop {
        let frame = peer.receive();
        match frame.message() {
            Message::Fetch(fetch) => {
                let object = objects.iter().find(|object| Digest::of(object) == fetch.digest).unwrap();
                peer.send(Message::Data(piece(fetch, object)), frame.header.request);
            }
            Message::Trained(trained) => break trained,
            other => panic!("{other:?}"),
        }
    };
    let mut update = trained.inline.clone();
    let mut request = 1;
    while (update.len() as u64) < trained.result.update_bytes {
        request += 2;
        let fetch = Fetch { digest: trained.result.update, offset: update.len() as u64, bytes_max: 100_000 };
        peer.send(fetch, request);
        let frame = peer.receive();
        let Message::Data(data) = frame.message() else { panic!("{:?}", frame.message()) };
        assert_eq!(
            (data.digest, data.offset, data.object_bytes),
            (fetch.digest, fetch.offset, trained.result.update_bytes)
        );
        update.extend_from_slice(&data.bytes);
    }
    assert_eq!(Digest::of(&update), trained.result.update);
    (trained, update)
}

fn largest(values: impl Iterator<Item = f32>) -> f32 {
    values.fold(0.0, |largest, value| largest.max(value.abs()))
}

/// Recipes of full batches: every value of every field is in one of them.
fn full_batches() -> Vec<(&'static [u32], Recipe, u64)> {
    let plain = Recipe {
        activation: Activation::Relu,
        optimiser: Optimiser::Sgd,
        eta: 0.05,
        eta_decay: 1.0,
        batch: BatchSize::Full,
        epochs: 3,
        ..Recipe::DEFAULT
    };
    let summed = Recipe { reduction: LossReduction::Sum, eta: 2e-4, ..plain };
    let adam = Recipe { optimiser: Optimiser::Adam, eta: 0.01, ..plain };
    vec![
        (&[], plain, 0),
        (&[9], plain, 0),
        (&[9, 5], Recipe { activation: Activation::Identity, log_epsilon: 1e-3, ..plain }, 0),
        (&[9, 5], Recipe { activation: Activation::MaskedIdentity, ..summed }, 0),
        (&[9], Recipe { epochs: 60, stop_loss_change: Some(5.0), log_epsilon: 1e-6, ..summed }, 0),
        (&[9, 5], Recipe { eta_decay: 0.5, ..adam }, 3),
        (&[9], Recipe { label_smoothing: 0.25, ..plain }, 0),
        (&[9], Recipe { schedule: Schedule::Cosine, schedule_steps: 9, ..adam }, 7),
        (&[9], Recipe { schedule: Schedule::FlatCosine, schedule_steps: 9, warmup: 1, ..adam }, 6),
        (&[9], Recipe { warmup: 4, eta_decay: 0.5, ..plain }, 1),
        (&[9], Recipe { reduction: LossReduction::Sum, activation: Activation::Identity, ..adam }, 0),
        // One batch all the same, but shuffled.
        (&[9], Recipe { batch: BatchSize::Rows(NonZeroU32::new(ROWS as u32).unwrap()), epochs: 1, ..adam }, 0),
        // An update of 400 kB, which travels in pieces.
        (&[9000], Recipe { epochs: 1, eta: 1e-3, ..plain }, 0),
    ]
}

#[test]
fn with_full_batches_its_updates_are_those_of_the_rust_node_but_for_rounding() {
    let Some(python) = Python::start(&[]) else { return };
    let rust = Node::named("rust");
    for (hidden, recipe, step) in full_batches() {
        let (train, objects) = task(hidden, recipe, step);
        let (theirs, their_values) = trained(python.address, &train, &objects);
        let (ours, our_values) = trained(([127, 0, 0, 1], rust.port).into(), &train, &objects);
        assert_eq!((theirs.name, theirs.result.epochs), (train.name, ours.result.epochs), "{recipe:?}");
        let stops = recipe.stop_loss_change.is_some();
        assert!(!stops || (2..recipe.epochs).contains(&ours.result.epochs), "it stops after {}", ours.result.epochs);
        let loss = (theirs.result.loss - ours.result.loss).abs() / ours.result.loss;
        assert!(loss < LOSS_ROUNDING, "losses {} and {}, {recipe:?}", theirs.result.loss, ours.result.loss);
        let change = largest(our_values.iter().copied());
        let difference = largest(their_values.iter().zip(&our_values).map(|(theirs, ours)| theirs - ours));
        assert!(change > 0.0 && difference < ROUNDING * change, "{difference} of {change}, {recipe:?}");
    }
}

#[test]
fn with_small_batches_it_learns_as_much_as_the_rust_node_in_another_order_of_rows() {
    let Some(python) = Python::start(&[]) else { return };
    let rust = Node::named("rust");
    let batch = BatchSize::Rows(NonZeroU32::new(16).unwrap());
    let sgd = Recipe { optimiser: Optimiser::Sgd, eta: 0.1, batch, epochs: 8, ..Recipe::DEFAULT };
    for recipe in [sgd, Recipe { optimiser: Optimiser::Adam, eta: 0.01, ..sgd }] {
        let (train, objects) = task(&[9], recipe, 0);
        let (theirs, _) = trained(python.address, &train, &objects);
        let (ours, _) = trained(([127, 0, 0, 1], rust.port).into(), &train, &objects);
        let loss = (theirs.result.loss - ours.result.loss).abs() / ours.result.loss;
        assert!(loss < LOSS_SHUFFLING, "losses {} and {}, {recipe:?}", theirs.result.loss, ours.result.loss);
        assert_eq!(theirs.result.epochs, 8);
    }
}

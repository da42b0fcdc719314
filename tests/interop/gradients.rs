//! Blocks whose gradients `node.py` sums: integers that are the definition's where nothing is rounded, and that add up to the
//! same however a step is cut. Owns these tasks; a job that merges gradients is beside the other jobs.

use std::num::NonZeroU32;

use gradwire::digest::Digest;
use gradwire::model::{BatchSize, BlockRange, Network, Recipe, Training};
use gradwire::wire::message::{RowsSource, ShippedRange, Train};
use gradwire::wire::object::{self, ObjectKind};
use gradwire::wire::{Message, MessageType};

use crate::common::book::values;
use crate::common::peer::Peer;
use crate::common::servers::Node;
use crate::common::smallest;
use crate::python::Python;
use crate::updates::yielded;

#[test]
fn the_sum_of_the_documents_block_is_the_documents_sum() {
    let Some(python) = Python::start(&[]) else { return };
    let frames = values::frames();
    let of_gradients = |kind: &str| frames.iter().find(|(name, ..)| name == &format!("{kind} GRADIENTS")).unwrap();
    let (_, _, Message::Train(train)) = of_gradients("TRAIN") else { unreachable!() };
    let (_, _, Message::Trained(wanted)) = of_gradients("TRAINED") else { unreachable!() };
    let (trained, sum) = yielded(python.address, train, &[values::base(), values::shard()]);
    assert_eq!(sum, values::sum());
    assert_eq!((trained.result.epochs, trained.result.loss), (0, wanted.result.loss));
    assert_eq!(trained.result.update, wanted.result.update);
}

/// Shards with so many rows, of classes that alternate.
const SHARD_ROWS: [u32; 2] = [45, 29];

/// A task of these blocks of 8 rows, and the objects that it names.
fn task(number: u32, ranges: &[(u32, u32, u32)]) -> (Train, Vec<Vec<u8>>) {
    let network = Network::new(1, &[3], 2).unwrap();
    let weights: Vec<f32> = (0..network.parameters()).map(|index| index as f32 / 16.0 - 0.3).collect();
    let rows = |rows: u32| {
        let values: Vec<f32> = (0..rows).map(|row| row as f32 / 8.0 - 2.0).collect();
        object::encode_rows(1, &values, &(0..rows).map(|row| row % 2).collect::<Vec<_>>())
    };
    let mut objects = vec![object::encode_parameters(ObjectKind::Weights, &network, &weights)];
    objects.extend(SHARD_ROWS.map(rows));
    let range = |&(shard, first, count): &(u32, u32, u32)| {
        let blocks = BlockRange { shard, first, count };
        ShippedRange { blocks, shard: Digest::of(&objects[1 + shard as usize]) }
    };
    let rows = RowsSource::Blocks { epoch: 3, ranges: ranges.iter().map(range).collect() };
    let batch = BatchSize::Rows(NonZeroU32::new(64).unwrap());
    let recipe = Recipe { batch, epochs: 1, stop_loss_change: None, local_steps: Some(1), ..Recipe::DEFAULT };
    let mut train = smallest::train();
    (train.name.task.step, train.name.task.shard, train.base, train.rows) = (7, number, Digest::of(&objects[0]), rows);
    train.training = Some(Training { network, recipe: recipe.checked().unwrap(), ..smallest::training() });
    (train, objects)
}

/// The integers of a sum that has no parameter wider than 64 bits; the loss at the end.
fn integers(sum: &[u8]) -> Vec<i128> {
    let descriptor = 8 + 2 * (24 + 16) + 16;
    let (parameters, loss) = sum[descriptor..].split_at(sum.len() - descriptor - 16);
    let parameters = parameters.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes).into());
    parameters.chain([i128::from_le_bytes(loss.try_into().unwrap())]).collect()
}

#[test]
fn however_a_step_is_cut_its_sums_add_up_to_the_same() {
    let Some(python) = Python::start(&[]) else { return };
    let sum = |tasks: &[&[(u32, u32, u32)]]| {
        let mut all: Vec<i128> = Vec::new();
        for (number, ranges) in (0..).zip(tasks) {
            let (train, objects) = task(number, ranges);
            let (trained, object) = yielded(python.address, &train, &objects);
            let integers = integers(&object);
            assert_eq!(trained.result.loss, *integers.last().unwrap() as f64 / f64::from(1 << 20));
            all.resize(integers.len(), 0);
            all.iter_mut().zip(&integers).for_each(|(sum, integer)| *sum += integer);
        }
        all
    };
    let whole = sum(&[&[(0, 0, 6), (1, 0, 4)]]);
    assert_eq!(whole.len(), 14 + 1);
    assert!(whole.iter().all(|integer| *integer != 0), "{whole:?}");
    assert_eq!(sum(&[&[(0, 0, 6)], &[(1, 0, 4)]]), whole);
    assert_eq!(sum(&[&[(0, 4, 2)], &[(0, 0, 3), (1, 3, 1)], &[(0, 3, 1), (1, 0, 2)], &[(1, 2, 1)]]), whole);
}

#[test]
fn where_all_blocks_are_one_task_its_sum_is_that_of_the_rust_node_but_for_rounding() {
    let Some(python) = Python::start(&[]) else { return };
    let rust = Node::named("rust");
    let (train, objects) = task(0, &[(0, 0, 6), (1, 0, 4)]);
    let [theirs, ours] = [python.address, ([127, 0, 0, 1], rust.port).into()].map(|address| {
        let (trained, sum) = yielded(address, &train, &objects);
        assert_eq!((trained.name, trained.result.epochs), (train.name, 0));
        integers(&sum)
    });
    let largest = ours.iter().map(|integer| integer.abs()).max().unwrap();
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert!((theirs - ours).abs() < largest / 100_000, "{theirs} and {ours} of {largest}");
    }
}

#[test]
fn blocks_that_a_shard_does_not_have_are_refused() {
    let Some(python) = Python::start(&[]) else { return };
    for ranges in [&[(0, 5, 2)][..], &[(0, 0, 1), (1, 4, 1)]] {
        let (train, objects) = task(0, ranges);
        let mut peer = Peer::greeted(python.address, gradwire::wire::Role::Coordinator);
        peer.send(train, 1);
        let error = loop {
            let frame = peer.receive();
            match frame.message() {
                Message::Fetch(fetch) => {
                    let object = objects.iter().find(|object| Digest::of(object) == fetch.digest).unwrap();
                    peer.send(Message::Data(smallest::piece(fetch, object)), frame.header.request);
                }
                Message::Error(error) => break error,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((error.code, error.about), (gradwire::wire::ErrorCode::Training, MessageType::Train as u8));
        assert!(!error.retry, "{error:?}");
    }
}

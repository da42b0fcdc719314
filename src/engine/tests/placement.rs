//! How often the shards of steps of merged gradients travel, in simulated time: nodes that keep a part of the data, and let go of what
//! they used longest ago. The same with real nodes and links is `benches/placement.rs`.

use std::num::NonZeroU32;

use super::schedules::{BLOCK_ROWS, World};
use super::*;
use crate::model::{BatchSize, OuterOptimiser};

const NODES: usize = 4;
const SHARDS: usize = 64;
const SHARD_ROWS: u32 = 320;
/// What a node tells that it keeps, of what it was told to keep.
const TOLD: f64 = 17.0 / 16.0;

/// Gradients of 128 blocks a step, of two of each shard; a shard has 2.5 MB.
fn large(rounds: u32) -> Specification {
    let mut specification = specification(SHARDS, rounds);
    specification.training.network = Network::new(2_000, &[], 2).unwrap();
    specification.shards.iter_mut().for_each(|shard| shard.rows = SHARD_ROWS);
    let batch = BatchSize::Rows(NonZeroU32::new(128 * BLOCK_ROWS).unwrap());
    specification.training.recipe = Recipe { local_steps: Some(1), epochs: 1, batch, ..Recipe::DEFAULT };
    specification.outer = Outer { optimiser: OuterOptimiser::Adam, ..Outer::AVERAGE };
    specification.checked().unwrap()
}

/// Transfers of a shard, on average: in the first epoch, and after it. A node's cache has this part of the training rows.
fn transfers(us_per_row: [f64; NODES], cache: f64, epochs: u32) -> (f64, f64) {
    let specification = large(epochs);
    let steps = u64::from(specification.round_steps());
    let shard_bytes = f64::from(SHARD_ROWS) * (specification.training.network.input_layout().row_bytes() + 4) as f64;
    let kept_bytes = TOLD * cache * SHARDS as f64 * shard_bytes;
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.cache_bytes = Some(kept_bytes as u64);
    let mut world = World::of(harness, &us_per_row);
    (world.kept_max, world.way_us) = ((kept_bytes / shard_bytes) as usize, (0.008 * shard_bytes) as u64);
    world.live(&specification);
    let first = world.travelled.iter().filter(|step| **step < steps).count();
    let of_each = |count: usize| count as f64 / SHARDS as f64;
    (of_each(first), of_each(world.travelled.len() - first))
}

/// Fleets of as many times as long for a row: equal ones, nearly equal ones, and others.
const FLEETS: [[f64; NODES]; 4] =
    [[40.0; 4], [40.0, 42.0, 38.0, 41.0], [40.0, 50.0, 30.0, 40.0], [40.0, 40.0, 40.0, 160.0]];

#[test]
fn shards_of_data_four_times_what_a_node_is_told_to_keep_travel_once() {
    for us_per_row in FLEETS {
        for times in [3.7, 4.0, 4.2] {
            let (first, later) = transfers(us_per_row, 1.0 / times, 6);
            // Where there is room for it, faster nodes get more.
            assert!(first <= 1.1 && later <= 0.1, "{first} and {later} of {us_per_row:?}, {times}");
        }
    }
}

#[test]
fn of_shards_that_have_no_room_no_others_travel_where_nodes_are_alike() {
    // Each of the nodes has room for 13 of its 16: three come in each of the twenty steps of an epoch.
    for us_per_row in &FLEETS[..3] {
        let (first, later) = transfers(*us_per_row, 0.2, 6);
        let of_epoch = 4.0 * 3.0 * 20.0 / SHARDS as f64;
        assert!(first <= 1.0 + of_epoch && later == 5.0 * of_epoch, "{first} and {later} of {us_per_row:?}");
    }
}

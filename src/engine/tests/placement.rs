//! How often the shards of steps of merged gradients travel, in simulated time: nodes that keep a part of the data, and let go of what
//! they used longest ago. The same with real nodes and links is `benches/placement.rs`.

use std::num::NonZeroU32;

use super::schedules::{BLOCK_ROWS, World};
use super::*;
use crate::model::{BatchSize, OuterOptimiser};

const NODES: usize = 4;
const SHARDS: usize = 64;
const SHARD_ROWS: u32 = 320;
/// What a node tells that it keeps, of what it was told to keep: the rest is for results.
const TOLD: f64 = 15.0 / 16.0;

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

#[test]
fn shards_of_data_nearly_four_times_what_a_node_keeps_travel_once() {
    // Nodes that are as fast as each other, and such that nearly are: nothing is gained by moving shards.
    for us_per_row in [[40.0; 4], [40.0, 42.0, 38.0, 41.0]] {
        assert_eq!(transfers(us_per_row, 0.27, 6), (1.0, 0.0), "{us_per_row:?}");
        // One more of each node's sixteen than it keeps comes anew in every step, and no others with it.
        let (_, later) = transfers(us_per_row, 0.25, 6);
        assert!(later <= 1.3 * 5.0, "{later} of {us_per_row:?}");
    }
}

//! How much memory a job takes, at the coordinator and at a node, found out from its specification before any of it is taken.
//! Owns the estimates and their terms; does not know what is allowed, what is free, or who compares the two.
//!
//! An estimate is of the most that a job holds at a time, and not below it: whoever admits by it never has to find out. What
//! happens seldom and can be tried when it does is left out: a sum of gradients that outgrows 64 bits, which takes 4 bytes
//! more a parameter, and travels as an object of twice the size.

use std::collections::BTreeMap;

use super::Specification;
use super::specification::RowsRef;
use crate::digest::Digest;
use crate::model::figures::judging_bytes;
use crate::model::train::{sum_working_bytes, working_bytes};
use crate::model::{BatchSize, Merge, Network, TargetKind, Training, block_rows};

/// Bytes of a value of weights, of an update, of a gradient.
const VALUE_BYTES: u64 = size_of::<f32>() as u64;
/// Bytes of a parameter in a sum of gradients, and in the object that it travels as.
const SUM_BYTES: u64 = size_of::<i64>() as u64;
/// Bytes of a parameter in a sum of updates, where 96 bits are enough, and where they are not.
const UPDATES_BYTES: [u64; 2] = [12, 16];
/// Rows up to which they are enough.
const UPDATES_ROWS_NARROW: u64 = 1 << 17;
/// Bytes of a pair of classes: counted, and twice in an object that grows.
const CONFUSION_PAIR_BYTES: u64 = 16 + 2 * 12;
/// Bytes of an object beside its values, at most: its descriptor.
const DESCRIPTOR_BYTES: u64 = 4 << 10;
/// Bytes that a median reads at a time of each update, and of all together, at most.
const MEDIAN_PART_BYTES: u64 = 64 << 10;
const MEDIAN_PARTS_BYTES: u64 = 4 << 20;
/// Updates that wait to be merged where they are so small that they travel inside their messages, at most.
const SMALL_UPDATES_MAX: u64 = 64;
/// Up to so many bytes an update does.
const SMALL_UPDATE_BYTES: u64 = 256 << 10;
/// A piece of data on its way, at most.
const PIECE_BYTES: u64 = 256 << 10;
/// Pieces that a connection has read and has not taken in, at most.
const PIECES_READ: u64 = 2;
/// Memory for threads' and links' own, whatever the job: of a node, which has one, and of a coordinator with a few nodes.
const NODE_OWN_BYTES: u64 = 64 << 10;
const COORDINATOR_OWN_BYTES: u64 = 160 << 10;

/// Rounds of a job that may be merged before the first of them is validated: each keeps a model in memory. Of a large one
/// that is enough for the next round to be trained meanwhile, and no more.
pub fn unvalidated_rounds_max(network: &Network) -> u32 {
    /// Parameters of a model of which some more do no harm.
    const SMALL_PARAMETERS_MAX: usize = 1 << 18;
    if network.parameters() <= SMALL_PARAMETERS_MAX { 4 } else { 2 }
}

/// Weights of earlier steps that are held when the next are made of a job's: rounds that are being validated keep theirs, and so does
/// the best of all. A journal keeps those that it writes, and of those that wait for it the latest.
pub(crate) fn past_weights_max(specification: &Specification, is_journaled: bool) -> u64 {
    let unvalidated = u64::from(unvalidated_rounds_max(&specification.training.network)) - 1;
    unvalidated + u64::from(specification.patience.is_some()) + if is_journaled { 2 } else { 0 }
}

/// What of a coordinator's settings an estimate depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoordinatorMeans {
    /// Bytes of updates that may be on their way at a time.
    pub in_flight_bytes: u64,
    /// Whether jobs are written: then weights stay in memory until they are, and updates that must all be there do not.
    pub is_journaled: bool,
}

/// What a job takes at the coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoordinatorMemory {
    /// As long as it has not ended: its data, and its validation and test rows once more, decoded.
    pub data_bytes: u64,
    /// The same of the weights that it goes on from, with what its outer optimiser remembers, and of those of its best round.
    pub weights_bytes: u64,
    /// Beside that while it runs: what is on its way, being merged, validated and written.
    pub working_bytes: u64,
}

impl CoordinatorMemory {
    /// What this job takes at a coordinator with these means.
    pub fn of(specification: &Specification, means: CoordinatorMeans) -> CoordinatorMemory {
        let Specification { training, shards, validation, test, patience, outer, initial, .. } = specification;
        let network = &training.network;
        let weights = weights_bytes(network);
        // What the optimiser remembers is copied with the weights.
        let state = outer.optimiser.state_vectors() as u64 * VALUE_BYTES * network.parameters() as u64;
        let mut objects: BTreeMap<Digest, u64> = BTreeMap::new();
        let judged = || test.iter().chain([validation]);
        objects.extend(shards.iter().chain(judged()).map(|rows| (rows.digest, rows_bytes(training, *rows))));
        objects.extend(initial.map(|initial| (initial, weights)));
        let data = objects.values().fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
        let merging = merging_bytes(specification, means);
        // Weights whose memory the next ones must not take; of those of rounds that are written what the optimiser remembered, too.
        let past = past_weights_max(specification, means.is_journaled) - u64::from(patience.is_some());
        let read = past * if means.is_journaled { weights + state } else { weights };
        let loss = training.recipe.loss;
        let validating = judged().map(|rows| judging_bytes(network, loss, rows.rows)).max().unwrap_or(0);
        // What came of the rows, and the object of it, which is there until it is written.
        let told = judged().fold(0u64, |sum, rows| sum.saturating_add(confusion_bytes(training, *rows)));
        let decoded = judged().fold(0u64, |sum, rows| sum.saturating_add(rows_bytes(training, *rows)));
        let best = if patience.is_some() { weights } else { 0 };
        CoordinatorMemory {
            // The last pieces of it are there twice as they are taken in.
            data_bytes: data.saturating_add(decoded).saturating_add(pieces_bytes(data)),
            weights_bytes: weights + state + best,
            working_bytes: merging + read + validating + told + COORDINATOR_OWN_BYTES,
        }
    }

    /// As long as it has not ended.
    pub fn kept_bytes(self) -> u64 {
        self.data_bytes.saturating_add(self.weights_bytes)
    }

    /// All of it.
    pub fn bytes(self) -> u64 {
        self.kept_bytes().saturating_add(self.working_bytes)
    }

    /// What two jobs take of which one works at a time.
    pub fn beside(self, other: CoordinatorMemory) -> CoordinatorMemory {
        CoordinatorMemory {
            data_bytes: self.data_bytes.saturating_add(other.data_bytes),
            weights_bytes: self.weights_bytes.saturating_add(other.weights_bytes),
            working_bytes: self.working_bytes.max(other.working_bytes),
        }
    }
}

/// Results on their way, the sum of what tasks yield, and what comes of updates for an optimiser. A gradient is read out of its sum,
/// but a median of blocks is there as a whole.
fn merging_bytes(specification: &Specification, means: CoordinatorMeans) -> u64 {
    let Specification { training, merge, outer, .. } = specification;
    let parameters = training.network.parameters() as u64;
    let whole = VALUE_BYTES * parameters;
    let travelling = travelling_bytes(specification, means);
    // What must all be there. Once it is, the copy takes the place of what was on its way.
    let results = specification.results_at_once();
    let all = if means.is_journaled { 0 } else { results.saturating_mul(whole) };
    let of_median = all + travelling.max(median_copy_bytes(specification));
    match (training.recipe.merges_gradients(), merge) {
        (true, Merge::Mean) => SUM_BYTES * parameters + travelling,
        // Beside the sum that of the block in hand, and its gradient.
        (true, Merge::Median) => 2 * SUM_BYTES * parameters + 2 * whole + of_median,
        (false, merge) => {
            let update = if outer.is_average() { 0 } else { whole };
            let sum = match merge {
                Merge::Mean => {
                    UPDATES_BYTES[usize::from(specification.rows() > UPDATES_ROWS_NARROW)] * parameters + travelling
                }
                Merge::Median => of_median,
            };
            update + sum
        }
    }
}

/// A part of each result of a step that are merged by a median, and a copy of the base and of what the optimiser remembers: they
/// stay where it is not known yet whether anything comes of the step.
pub fn median_copy_bytes(specification: &Specification) -> u64 {
    let network = &specification.training.network;
    let parts = (specification.results_at_once() * MEDIAN_PART_BYTES).min(MEDIAN_PARTS_BYTES);
    let state_vectors = specification.outer.optimiser.state_vectors() as u64;
    parts + weights_bytes(network) + state_vectors * VALUE_BYTES * network.parameters() as u64
}

/// Results on their way from nodes: as many as there may be at a time, and no more than there are.
fn travelling_bytes(specification: &Specification, means: CoordinatorMeans) -> u64 {
    let training = &specification.training;
    let (result, results) = match gradient_blocks(specification) {
        Some(blocks) => (sum_bytes(&training.network), blocks),
        None => (weights_bytes(&training.network), specification.shards.len() as u64),
    };
    let at_once = match result {
        ..=SMALL_UPDATE_BYTES => result * SMALL_UPDATES_MAX,
        // One, and an eighth of another, however large they are.
        _ => means.in_flight_bytes.max(result + result / 8),
    };
    at_once.min(results.saturating_mul(result))
}

/// What a job takes at a node that works for it alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeMemory {
    /// Whatever the number of its workers.
    shared_bytes: u64,
    /// For each of them.
    worker_bytes: u64,
}

impl NodeMemory {
    /// Nothing.
    pub const NONE: NodeMemory = NodeMemory { shared_bytes: 0, worker_bytes: 0 };

    /// What a job's tasks take.
    pub fn of(specification: &Specification) -> NodeMemory {
        let Specification { training, shards, .. } = specification;
        match gradient_blocks(specification) {
            // A task may have blocks of as many shards as its step has, and all tasks of a step have the same.
            Some(blocks) => {
                let largest = largest(shards, blocks);
                NodeMemory::of_sums(training, &largest)
            }
            None => {
                let rows = shards.iter().map(|shard| shard.rows).max().unwrap_or(0);
                NodeMemory::of_shard(training, rows)
            }
        }
    }

    /// What a task takes that trains a shard of so many rows.
    pub fn of_shard(training: &Training, rows: u32) -> NodeMemory {
        let shard = object_bytes(training, rows);
        // The update that is being made is part of what working takes. The one before it may still be fetched; or else the weights of
        // the next step are there, but they do not come before all updates of this one have been fetched.
        let beside = weights_bytes(&training.network) + pieces_bytes(shard);
        NodeMemory::with_weights(training, 0, working_bytes(training, rows).saturating_add(shard + beside))
    }

    /// What a task takes that sums gradients of blocks of shards with so many rows.
    pub fn of_sums(training: &Training, shard_rows: &[u32]) -> NodeMemory {
        let shards = shard_rows.iter().fold(0u64, |sum, rows| sum.saturating_add(object_bytes(training, *rows)));
        let result = sum_bytes(&training.network);
        let sum = sum_working_bytes(training, shard_rows.iter().copied());
        // As above: the result before, or the next weights, which are smaller.
        NodeMemory::with_weights(training, shards + pieces_bytes(shards), sum.saturating_add(2 * result))
    }

    /// The same with the weights that tasks start from.
    fn with_weights(training: &Training, shared_bytes: u64, worker_bytes: u64) -> NodeMemory {
        let weights = weights_bytes(&training.network);
        NodeMemory { shared_bytes: shared_bytes.saturating_add(weights + NODE_OWN_BYTES), worker_bytes }
    }

    /// Whether a node of so many workers has it beside what other jobs take of it, by what it says; where it says nothing, nobody
    /// knows better.
    pub fn fits_beside(self, workers: u32, memory_bytes: Option<u64>, taken_bytes: u64) -> bool {
        memory_bytes.is_none_or(|bytes| self.of_workers(workers).saturating_add(taken_bytes) <= bytes)
    }

    /// What a node of so many workers needs.
    pub fn of_workers(self, workers: u32) -> u64 {
        self.worker_bytes.saturating_mul(workers.max(1).into()).saturating_add(self.shared_bytes)
    }
}

/// What a node of so many workers holds of objects beside rows, as is part of what its tasks take: the weights of a step, and each
/// worker's result until it has been fetched.
pub fn objects_bytes(training: &Training, workers: u32) -> u64 {
    let weights = weights_bytes(&training.network);
    let result = if training.recipe.merges_gradients() { sum_bytes(&training.network) } else { weights };
    result.saturating_mul(workers.into()).saturating_add(weights)
}

/// The blocks of a step, where a job merges gradients: it has no more tasks, nor blocks of more shards.
fn gradient_blocks(specification: &Specification) -> Option<u64> {
    let training = &specification.training;
    let BatchSize::Rows(batch) = training.recipe.batch else { return None };
    let in_step = batch.get() / block_rows(&training.network, batch.get());
    training.recipe.merges_gradients().then(|| in_step.max(1).into())
}

/// The rows of so many shards, the largest.
fn largest(shards: &[RowsRef], count: u64) -> Vec<u32> {
    let mut rows: Vec<u32> = shards.iter().map(|shard| shard.rows).collect();
    rows.sort_unstable_by_key(|rows| std::cmp::Reverse(*rows));
    rows.truncate(count as usize);
    rows
}

/// The last pieces of data on their way, which are held beside all of it.
fn pieces_bytes(data_bytes: u64) -> u64 {
    data_bytes.min(PIECES_READ * PIECE_BYTES)
}

/// A sum of gradients as it travels, at most.
fn sum_bytes(network: &Network) -> u64 {
    SUM_BYTES * network.parameters() as u64 + DESCRIPTOR_BYTES
}

fn weights_bytes(network: &Network) -> u64 {
    VALUE_BYTES * network.parameters() as u64 + DESCRIPTOR_BYTES
}

fn rows_bytes(training: &Training, rows: RowsRef) -> u64 {
    object_bytes(training, rows.rows)
}

/// The pairs of a class and the one that rows of it were taken for, as they are counted and in the object that tells of them.
fn confusion_bytes(training: &Training, rows: RowsRef) -> u64 {
    let classes = u64::from(training.network.outputs());
    match training.recipe.loss.target_kind() {
        TargetKind::Labels => {
            u64::from(rows.rows).min(classes.saturating_mul(classes)).saturating_mul(CONFUSION_PAIR_BYTES)
        }
        TargetKind::Values => 0,
    }
}

/// Rows and their targets.
fn object_bytes(training: &Training, rows: u32) -> u64 {
    let network = &training.network;
    let of_row = network.input_layout().row_bytes() + training.recipe.loss.target_bytes(network.outputs());
    u64::from(rows).saturating_mul(of_row).saturating_add(DESCRIPTOR_BYTES)
}

/// Bytes that are needed as whole mebibytes, for people.
pub fn in_mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// The same of bytes that are there: where they are not enough they are fewer for people, too.
pub fn free_in_mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

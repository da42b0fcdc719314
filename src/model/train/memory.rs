//! How much memory a task takes. Owns the estimates; does not know who compares it with what.

use super::super::lanes::{BLOCK_ROWS, LANES, Lanes};
use super::super::optimise::state_vectors;
use super::super::recipe::{Activation, BatchSize};
use super::super::training::Training;
use super::orders::NUMBERS_MAX;

/// Memory that training one task may take: the largest network with Adam fits.
pub const TASK_BYTES_MAX: u64 = 8 << 30;

/// Bytes that a fresh [`Trainer`] without helpers takes for a task of so many rows, its result included and the rows themselves
/// not: what to compare with a limit before [`Trainer::train`].
pub fn working_bytes(training: &Training, rows: u32) -> u64 {
    let network = &training.network;
    let rows = u64::from(rows);
    let batch_rows = match training.recipe.batch {
        BatchSize::Full => rows,
        BatchSize::Rows(size) => rows.min(u64::from(size.get())),
    };
    let block_rows = batch_rows.min(BLOCK_ROWS as u64);
    // The update; the block in hand, a sum for each level of the tree; and where more than one update makes it up, the weights
    // between them and the optimiser's state.
    let levels = u64::from(batch_rows.div_ceil(BLOCK_ROWS as u64).max(1).ilog2()) + 1;
    let moved = if has_one_update(training, rows) { 0 } else { 1 + state_vectors(training.recipe.optimiser) as u64 };
    let of_parameters = network.parameters() as u64 * (2 + levels + moved) * size_of::<f32>() as u64;
    let (of_input, of_order) = match training.recipe.batch {
        BatchSize::Full => (panels(rows), 0),
        BatchSize::Rows(_) => {
            let of_targets = block_rows * training.recipe.loss.target_bytes(network.outputs());
            (panels(block_rows), rows * size_of::<u32>() as u64 + of_targets)
        }
    };
    let lanes = lanes_of_pass(training, block_rows) + of_input * u64::from(network.inputs());
    of_parameters + lanes * size_of::<Lanes>() as u64 + of_order
}

/// The same for a task whose blocks are of shards of so many rows: what a fresh [`Trainer`] takes, and a sum of its gradients,
/// before [`Trainer::sum_gradients`]. Where gradients are so large that the sum needs more, that is tried then.
pub fn sum_working_bytes(training: &Training, shard_rows: impl IntoIterator<Item = u32>) -> u64 {
    let network = &training.network;
    let (mut rows, mut most) = (0u64, 0u64);
    for of_shard in shard_rows.into_iter().map(u64::from) {
        rows += of_shard;
        most = most.max(of_shard);
    }
    let of_sum = network.parameters() * size_of::<i64>();
    let of_layer = network.layers().map(|layer| layer.parameters()).max().unwrap_or(0) * size_of::<f32>();
    let of_orders = rows.min(most.max(NUMBERS_MAX)) * size_of::<u32>() as u64;
    let block_rows = BLOCK_ROWS as u64;
    let of_targets = block_rows * training.recipe.loss.target_bytes(network.outputs());
    let lanes = lanes_of_pass(training, block_rows) + panels(block_rows) * u64::from(network.inputs());
    (of_sum + of_layer) as u64 + of_orders + of_targets + lanes * size_of::<Lanes>() as u64
}

/// Whether a task that trains so many rows moves the weights once, which it does where it tells its update.
fn has_one_update(training: &Training, rows: u64) -> bool {
    let recipe = &training.recipe;
    match recipe.batch {
        BatchSize::Full => recipe.epochs == 1 && recipe.stop_loss_change.is_none(),
        BatchSize::Rows(size) => match recipe.local_steps {
            Some(count) => count == 1,
            None => recipe.epochs == 1 && rows <= u64::from(size.get()),
        },
    }
}

fn panels(rows: u64) -> u64 {
    rows.div_ceil(LANES as u64)
}

/// Of a block of so many rows on its way forward and back: what each layer puts out, two of derivatives, the outputs turned to
/// lanes; and where some are dropped, by what outputs of hidden layers are multiplied, and with tanh what they were before.
fn lanes_of_pass(training: &Training, block_rows: u64) -> u64 {
    let network = &training.network;
    let of_dropout = match training.recipe.dropout {
        0.0 => 0,
        _ if training.recipe.activation == Activation::Tanh => 2,
        _ => 1,
    };
    let dropped = of_dropout * network.hidden().iter().map(|width| u64::from(*width)).sum::<u64>();
    let widths = || network.layers().map(|layer| layer.outputs as u64);
    let hidden = network.hidden().iter().copied().max().unwrap_or(0);
    panels(block_rows) * (widths().sum::<u64>() + 2 * u64::from(hidden) + dropped)
        + panels(widths().max().unwrap_or(0)) * block_rows
}

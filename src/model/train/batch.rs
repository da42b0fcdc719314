//! One thread's part of a batch: block after block forward and back, summed in the block tree. Owns the memory for it; does
//! not know who takes which blocks, or what becomes of the sums.

use super::super::dropout::Dropout;
use super::super::gather::{Order, gather};
use super::super::kernel::Kernel;
use super::super::lanes::{BLOCK_PANELS, BLOCK_ROWS, Lanes, make_room, panels_of};
use super::super::loss::{Gathered, Objective};
use super::super::pass::{Pass, Update};
use super::super::recipe::BatchSize;
use super::super::rows::Rows;
use super::super::training::Training;
use super::super::tree::Tree;

/// Rows that the weights are updated by at once.
pub(super) struct Batch<'a> {
    pub rows: &'a Rows<'a>,
    pub source: Source<'a>,
    pub objective: Objective<'a>,
    /// Where outputs are dropped: which.
    pub dropout: Option<Dropout>,
}

/// Where a batch's rows are.
pub(super) enum Source<'a> {
    /// All rows, in panels.
    All { panels: &'a [Lanes] },
    /// These rows, not yet in panels.
    These { order: &'a [u32] },
}

impl Batch<'_> {
    /// Blocks of the batch.
    pub fn blocks(&self) -> usize {
        let rows = match self.source {
            Source::All { .. } => self.rows.rows() as usize,
            Source::These { order } => order.len(),
        };
        rows.div_ceil(BLOCK_ROWS)
    }
}

/// The memory in which one thread takes blocks forward and back.
pub(super) struct Workspace {
    pass: Pass,
    /// The sums of the blocks taken so far.
    pub gradients: Tree<f32>,
    pub losses: Tree<f64>,
    /// The rows of one block of a mini-batch.
    panels: Vec<Lanes>,
    /// Their targets.
    targets: Gathered,
}

impl Workspace {
    /// A workspace without room.
    pub fn new(kernel: Kernel) -> Workspace {
        let (gradients, losses) = (Tree::new(), Tree::new());
        Workspace { pass: Pass::new(kernel), gradients, losses, panels: Vec::new(), targets: Gathered::default() }
    }

    /// Makes room for `blocks` blocks of batches of up to `batch_rows` rows.
    pub fn prepare(&mut self, training: &Training, batch_rows: usize, blocks: usize) {
        let network = &training.network;
        self.pass.prepare(network, training.recipe.activation, batch_rows, true);
        if training.recipe.dropout != 0.0 {
            self.pass.prepare_dropout(batch_rows);
        }
        self.gradients.prepare(network.parameters(), blocks);
        self.losses.prepare(1, blocks);
        if training.recipe.batch != BatchSize::Full {
            let rows = batch_rows.min(BLOCK_ROWS);
            make_room(&mut self.panels, panels_of(rows) * network.inputs() as usize);
            self.targets.prepare(training, rows);
        }
    }

    /// Takes the loss of a batch's block into the sum and, with `back`, its gradient.
    pub fn block(&mut self, weights: &[f32], batch: &Batch<'_>, block: usize, back: bool) {
        let Workspace { pass, gradients, losses, panels, targets } = self;
        let (x, rows) = forward(pass, losses, (panels, targets), weights, batch, block);
        if back {
            pass.backward(weights, x, rows, gradients.next());
            gradients.take();
        }
    }

    /// The same of a batch's only block, and has `update` follow its gradient on the way: see [`Pass::backward_updating`].
    pub fn only_block(&mut self, weights: &mut [f32], batch: &Batch<'_>, update: &mut Update<'_>) {
        let Workspace { pass, gradients, losses, panels, targets } = self;
        let (x, rows) = forward(pass, losses, (panels, targets), weights, batch, 0);
        pass.backward_updating(weights, x, rows, gradients.next(), update);
    }
}

/// Takes a block forward and its loss into the sum. Gives its rows in panels, and their number.
fn forward<'a>(
    pass: &mut Pass,
    losses: &mut Tree<f64>,
    (panels, gathered): (&'a mut [Lanes], &mut Gathered),
    weights: &[f32],
    batch: &Batch<'a>,
    block: usize,
) -> (&'a [Lanes], usize) {
    let kernel = pass.kernel();
    let features = batch.rows.features() as usize;
    let (x, rows, targets) = match batch.source {
        Source::All { panels } => {
            let x = panels.chunks(BLOCK_PANELS * features).nth(block).unwrap_or_default();
            let first = block * BLOCK_ROWS;
            let rows = BLOCK_ROWS.min(batch.rows.rows() as usize - first);
            if let Some(dropout) = batch.dropout {
                pass.drop_out((first..first + rows).map(|row| (dropout, row as u32)));
            }
            (x, rows, batch.rows.targets().of_rows(first, rows))
        }
        Source::These { order } => {
            let order = order.chunks(BLOCK_ROWS).nth(block).unwrap_or_default();
            if let Some(dropout) = batch.dropout {
                pass.drop_out(order.iter().map(|row| (dropout, *row)));
            }
            let x = &mut panels[..panels_of(order.len()) * features];
            gather(kernel, batch.rows.inputs(), Order::These(order), x);
            (&*x, order.len(), gathered.gather(batch.rows.targets(), order))
        }
    };
    let outputs = pass.forward(weights, x, rows);
    losses.next()[0] = batch.objective.differentiate(kernel, outputs, targets);
    losses.take();
    (x, rows)
}

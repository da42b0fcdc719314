//! Blocks of a step's rows, forward and back: each one's gradient by itself, in whatever company it goes through the network.
//! Owns the memory for it; does not know which blocks a task has.
//!
//! What comes of a row on its way forward and back depends on that row alone. So blocks go together, as many as fit 128 rows:
//! few rows at a time would be slow. Only the sums over rows are each block's own.

use super::super::dropout::Dropout;
use super::super::gather::{Order, gather};
use super::super::kernel::Kernel;
use super::super::lanes::{BLOCK_PANELS, BLOCK_ROWS, LANES, Lanes, make_room, panels_of};
use super::super::loss::{Gathered, Objective};
use super::super::merge::{GradientSum, GradientSumError};
use super::super::pass::Pass;
use super::super::rows::Rows;
use super::super::training::Training;

/// Blocks that go through the network together, and the memory for it.
pub(super) struct Blocks {
    pass: Pass,
    /// Their rows in panels: each block begins one.
    panels: Vec<Lanes>,
    /// The numbers of their rows, block after block.
    numbers: Vec<u32>,
    /// Where in the task's list their data is, and how many rows each has.
    blocks: Vec<(usize, usize)>,
    targets: Gathered,
    /// A layer's gradient.
    layer: Vec<f32>,
    block_rows: usize,
}

impl Blocks {
    /// Without room.
    pub fn new(kernel: Kernel) -> Blocks {
        Blocks {
            pass: Pass::new(kernel),
            panels: Vec::new(),
            numbers: Vec::new(),
            blocks: Vec::new(),
            targets: Gathered::default(),
            layer: Vec::new(),
            block_rows: 0,
        }
    }

    /// Starts a task, whose blocks have up to `block_rows` rows: at most [`BLOCK_ROWS`].
    pub fn begin(&mut self, training: &Training, block_rows: usize) {
        let network = &training.network;
        self.pass.prepare(network, training.recipe.activation, BLOCK_ROWS, true);
        if training.recipe.dropout != 0.0 {
            self.pass.prepare_dropout(BLOCK_ROWS);
        }
        make_room(&mut self.panels, BLOCK_PANELS * network.inputs() as usize);
        self.targets.prepare(training, block_rows);
        self.layer.resize(network.layers().map(|layer| layer.parameters()).max().unwrap_or(0), 0.0);
        self.numbers.clear();
        self.numbers.reserve_exact(BLOCK_ROWS);
        self.blocks.clear();
        self.blocks.reserve_exact(BLOCK_ROWS / LANES);
        self.block_rows = block_rows;
    }

    /// Adds a block, these of the rows at `source` in the task's list. There is room for it.
    pub fn push(&mut self, source: usize, rows: &Rows<'_>, order: &[u32]) {
        let features = rows.features() as usize;
        let first = panels_of(self.numbers.len()) * features;
        let out = &mut self.panels[first..][..panels_of(order.len()) * features];
        gather(self.pass.kernel(), rows.inputs(), Order::These(order), out);
        self.numbers.extend_from_slice(order);
        self.blocks.push((source, order.len()));
    }

    /// Blocks that are there.
    pub fn count(&self) -> usize {
        self.blocks.len()
    }

    /// Whether no other block fits: behind one that does not fill its last panel none does.
    pub fn is_full(&self) -> bool {
        let rows = self.numbers.len();
        !rows.is_multiple_of(LANES) || rows + self.block_rows > BLOCK_ROWS
    }

    /// Adds the gradients and losses of the blocks that are there to a sum, and starts again with none. `rows` tells what is at a
    /// place of the task's list, and `dropout` what its rows drop.
    pub fn sum_into<'a>(
        &mut self,
        objective: Objective<'_>,
        weights: &[f32],
        rows: impl Fn(usize) -> &'a Rows<'a>,
        dropout: impl Fn(usize) -> Option<Dropout>,
        sum: &mut GradientSum,
    ) -> Result<(), GradientSumError> {
        let Blocks { pass, panels, numbers, blocks, targets, layer, .. } = self;
        let count = numbers.len();
        let kernel = pass.kernel();
        let x = &panels[..panels_of(count) * (panels.len() / BLOCK_PANELS)];
        let of_rows = blocks.iter().flat_map(|(source, rows)| std::iter::repeat_n(*source, *rows)).zip(&*numbers);
        let dropping = of_rows.map_while(|(source, row)| Some((dropout(source)?, *row)));
        pass.drop_out(dropping);
        let outputs = pass.forward(weights, x, count);
        let width = outputs.len() / panels_of(count).max(1);
        let mut first = 0;
        for &(source, block_rows) in &*blocks {
            let outputs = &mut outputs[panels_of(first) * width..][..panels_of(block_rows) * width];
            let targets = targets.gather(rows(source).targets(), &numbers[first..][..block_rows]);
            sum.add_loss(objective.differentiate(kernel, outputs, targets))?;
            first += block_rows;
        }
        let mut added = Ok(());
        // A shard's last block may be shorter than the others, and others may follow it.
        let parts = blocks.iter().map(|(_, rows)| *rows);
        pass.backward_in_parts(weights, x, parts, layer, &mut |start, gradient| {
            if added.is_ok() {
                added = sum.add_part(start, gradient);
            }
        });
        numbers.clear();
        blocks.clear();
        added
    }
}

//! The weights in training, and all that changes them. Owns how a batch is shared among workers and how its gradient moves
//! the weights; does not know batches' order, epochs, or who the workers are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::helpers::Helpers;
use super::super::kernel::{Kernel, compiled_for_each_kernel};
use super::super::lanes::BLOCK_ROWS;
use super::super::merge;
use super::super::optimise::{Averaging, Descent, LAST_PART_MAX};
use super::super::recipe::Recipe;
use super::super::training::Training;
use super::super::tree::Tree;
use super::super::vector::Vector;
use super::batch::{Batch, Workspace};
use super::error::TrainError;

/// What one workspace has summed: a node of the block tree.
#[derive(Default)]
struct Part {
    gradient: Vec<f32>,
    loss: f64,
}

/// The weights in training, and all that changes them.
pub(super) struct WeightsInTraining {
    kernel: Kernel,
    descent: Descent,
    /// The batch's gradient, from that of its parts.
    gradients: Tree<f32>,
    losses: Tree<f64>,
    /// The weights, once they have moved from the base: a task's only batch needs none of its own.
    weights: Vec<f32>,
    has_moved: bool,
    /// The task's last update, still to be done where the task's update is told.
    last_update: Option<Averaging>,
    /// One for each worker. Locked for the time of its part in a batch.
    workspaces: Vec<Mutex<Workspace>>,
    /// Locked for the moment in which a finished sum is put there.
    parts: Vec<Mutex<Part>>,
    /// Blocks of a part: a power of two, so that a part is a whole node of the block tree.
    blocks_each: usize,
}

/// Parameters of an update that are computed and told at a time. So few that a processor computes the next while it still
/// hashes the last: a hash is one long chain, which leaves room beside it.
const PART: usize = LAST_PART_MAX;

impl WeightsInTraining {
    /// No task's; [`WeightsInTraining::begin`] starts one.
    pub fn new(kernel: Kernel) -> WeightsInTraining {
        WeightsInTraining {
            kernel,
            descent: Descent::new(),
            gradients: Tree::new(),
            losses: Tree::new(),
            weights: Vec::new(),
            has_moved: false,
            last_update: None,
            workspaces: vec![Mutex::new(Workspace::new(kernel))],
            parts: Vec::new(),
            blocks_each: 1,
        }
    }

    /// The kernel that computes.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Whether the task's learning rate moves anything.
    pub fn moves(&self) -> bool {
        self.descent.moves()
    }

    /// Starts a task: makes all the room that its batches of up to `batch_rows` rows need.
    pub fn begin(
        &mut self,
        training: &Training,
        recipe: &Recipe,
        step: u64,
        parameters: usize,
        batch_rows: usize,
        workers_most: usize,
    ) {
        let blocks = batch_rows.div_ceil(BLOCK_ROWS);
        (self.has_moved, self.last_update) = (false, None);
        let workspaces =
            if batch_rows * parameters < SHARED_WORK_MIN { 1 } else { workers_most.min(WORKERS_MAX).min(blocks) };
        // Some parts for each workspace, so that one that is late does not hold up the others by much: fewer where it takes
        // long to add them up.
        let parts_most = workspaces * if parameters <= FEW_PARAMETERS { 4 } else { 2 };
        self.blocks_each = blocks.next_power_of_two();
        while workspaces > 1 && self.blocks_each > 1 && blocks.div_ceil(self.blocks_each / 2) <= parts_most {
            self.blocks_each /= 2;
        }
        let mut parts = blocks.div_ceil(self.blocks_each);
        // The largest networks are left to one workspace: each part is as large as the weights.
        if parts > 1 && parts * parameters * size_of::<f32>() > PARTS_BYTES_MAX {
            self.blocks_each = blocks.next_power_of_two();
            parts = 1;
        }
        self.parts.resize_with(parts, Mutex::default);
        if parts == 1 {
            // The only workspace's own sums are the batch's.
            self.parts.clear();
        }
        for part in &mut self.parts {
            let part = own(part);
            part.gradient.resize(parameters, 0.0);
        }
        self.workspaces
            .resize_with(if parts == 1 { 1 } else { workspaces }, || Mutex::new(Workspace::new(self.kernel)));
        for workspace in &mut self.workspaces {
            own(workspace).prepare(training, batch_rows, self.blocks_each.min(blocks));
        }
        let of_parts = if parts == 1 { 0 } else { parameters };
        self.gradients.prepare(of_parts, parts);
        self.losses.prepare(1, parts);
        self.descent.begin(recipe, recipe.rate(step));
    }

    /// All of a batch, forward and back, and one update of the weights: as [`WeightsInTraining::batch`] and
    /// [`WeightsInTraining::update`] together. Returns the loss before it.
    pub fn batch_and_update(
        &mut self,
        helpers: &dyn Helpers,
        base: &[f32],
        batch: &Batch<'_>,
        averaging: Averaging,
        is_last: bool,
    ) -> f64 {
        if is_last || batch.blocks() > 1 || base.len() < ON_THE_WAY_MIN {
            let loss = self.batch(helpers, base, batch, true);
            self.update(averaging, base, is_last);
            return loss;
        }
        // While a layer's gradient lies in a cache its weights follow it: both together may be more than the caches hold.
        self.leave(base);
        let WeightsInTraining { kernel, descent, weights, workspaces, .. } = self;
        descent.begin_update(*kernel, weights.len());
        let workspace = own(&mut workspaces[0]);
        workspace.only_block(weights, batch, &mut |first, gradient, weights| {
            descent.update_part(*kernel, averaging, first, gradient, weights);
        });
        workspace.losses.finish()[0]
    }

    /// All of a batch forward and, with `back`, its gradient. Returns the loss.
    pub fn batch(&mut self, helpers: &dyn Helpers, base: &[f32], batch: &Batch<'_>, back: bool) -> f64 {
        let blocks = batch.blocks();
        let WeightsInTraining { workspaces, weights, has_moved, parts, blocks_each, .. } = self;
        let weights = if *has_moved { weights } else { base };
        if parts.is_empty() {
            let workspace = own(&mut workspaces[0]);
            for block in 0..blocks {
                workspace.block(weights, batch, block, back);
            }
            return workspace.losses.finish()[0];
        }
        let count = blocks.div_ceil(*blocks_each);
        let (joined, next) = (AtomicUsize::new(0), AtomicUsize::new(0));
        helpers.work(workspaces.len() - 1, &|| {
            let Some(workspace) = workspaces.get(joined.fetch_add(1, Ordering::Relaxed)) else { return };
            let mut workspace = lock(workspace);
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(part) = parts[..count].get(index) else { break };
                let first = index * *blocks_each;
                for block in first..blocks.min(first + *blocks_each) {
                    workspace.block(weights, batch, block, back);
                }
                let loss = workspace.losses.finish()[0];
                let mut part = lock(part);
                part.loss = loss;
                if back {
                    workspace.gradients.finish_into(&mut part.gradient);
                }
            }
        });
        for part in &mut parts[..count] {
            let part = own(part);
            self.losses.next()[0] = part.loss;
            self.losses.take();
            if back {
                self.gradients.take_from(&mut part.gradient);
            }
        }
        self.losses.finish()[0]
    }

    /// Ends a batch: one update of the weights by the gradient of its blocks. The task's last is left to
    /// [`WeightsInTraining::tell_update`].
    pub fn update(&mut self, averaging: Averaging, base: &[f32], is_last: bool) {
        self.last_update = is_last.then_some(averaging);
        if is_last {
            return;
        }
        self.leave(base);
        let gradients =
            if self.parts.is_empty() { &mut own(&mut self.workspaces[0]).gradients } else { &mut self.gradients };
        self.descent.update(self.kernel, averaging, gradients.finish(), &mut self.weights);
    }

    /// Makes the weights ones that may differ from the base.
    fn leave(&mut self, base: &[f32]) {
        if !self.has_moved {
            self.weights.clear();
            self.weights.extend_from_slice(base);
            self.has_moved = true;
        }
    }

    /// Ends a task: does the last update, and tells by how much the weights have left the base, all in one pass over the
    /// parameters, which may be more than the caches hold.
    pub fn tell_update(&mut self, base: &[f32], take: &mut dyn FnMut(&[f32])) -> Result<(), TrainError> {
        let gradients =
            if self.parts.is_empty() { &mut own(&mut self.workspaces[0]).gradients } else { &mut self.gradients };
        let gradient = if self.last_update.is_some() { gradients.finish() } else { &[] };
        let weights = if self.has_moved { &self.weights } else { base };
        if self.last_update.is_some() {
            self.descent.advance(self.kernel);
        }
        let mut room = [0.0; PART];
        for (index, (weights, base)) in weights.chunks(PART).zip(base.chunks(PART)).enumerate() {
            let first = index * PART;
            let part = &mut room[..base.len()];
            part.copy_from_slice(weights);
            if let Some(averaging) = self.last_update {
                let gradient = &gradient[first..][..base.len()];
                self.descent.update_last_part(self.kernel, averaging, first, gradient, part);
            }
            if !subtract(self.kernel, base, part) {
                let index = part.iter().position(|value| !merge::can_be_merged(*value)).unwrap_or_default();
                return Err(TrainError::Diverged { index: first + index });
            }
            take(part);
        }
        Ok(())
    }
}

compiled_for_each_kernel! {
    /// Turns weights into their differences from the base. Says whether all can be merged.
    fn subtract = subtract_body(base: &[f32], weights: &mut [f32]) -> bool
}

#[inline(always)]
fn subtract_body<V: Vector>(base: &[f32], weights: &mut [f32]) -> bool {
    let mut can_all = true;
    for (weight, base) in weights.iter_mut().zip(base) {
        *weight -= base;
        can_all &= merge::can_be_merged(*weight);
    }
    can_all
}

/// Parameters that are updated on the way back. Fewer are in a near cache anyway.
const ON_THE_WAY_MIN: usize = 1 << 15;
/// Rows times parameters of a batch that is worth sharing: some 30 microseconds of work.
const SHARED_WORK_MIN: usize = 1 << 19;
/// Parameters whose parts stay in a core's second cache.
const FEW_PARAMETERS: usize = 1 << 14;
/// Workspaces that share a batch, at most.
const WORKERS_MAX: usize = 16;
/// Memory for the parts of a shared batch, at most.
const PARTS_BYTES_MAX: usize = 256 << 20;

/// What nobody else has locked: it is borrowed alone.
fn own<T>(of: &mut Mutex<T>) -> &mut T {
    of.get_mut().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

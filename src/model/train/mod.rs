//! One task: a shard, trained from a round's base weights, or the gradients of some blocks of a step. Owns batches, epochs, the
//! early stop and the update; does not know nodes, or what becomes of a result.
//!
//! A result depends on nothing but the arguments of [`Trainer::train`] or [`Trainer::sum_gradients`]: the optimiser starts
//! afresh, and every random choice comes from the job's seed, the step, the shard and the epoch.
//!
//! | file | owns |
//! |---|---|
//! | `batch` | blocks of 128 rows of a batch, forward and back |
//! | `blocks` | the same of a step's blocks, each one's gradient by itself |
//! | `orders` | the order of a shard's rows in an epoch of a job in steps |
//! | `weights` | the weights in training |
//! | `memory` | what a task takes |

mod batch;
mod blocks;
mod error;
mod memory;
mod orders;
mod weights;

use std::ops::{ControlFlow, Range};

use super::ARITHMETIC;
use super::dropout::Dropout;
use super::gather::{Order, gather};
use super::gradient_steps::{BlockRange, block_rows};
use super::helpers::{Helpers, NoHelpers};
use super::kernel::Kernel;
use super::lanes::{Lanes, make_room, panels_of};
use super::loss::Objective;
use super::merge::GradientSum;
use super::optimise::Averaging;
use super::random::{Purpose, Stream};
use super::recipe::{BatchSize, Recipe};
use super::rows::Rows;
use super::schedule::STEPS_MAX;
use super::training::Training;

use batch::{Batch, Source};
use blocks::Blocks;
use orders::Orders;
use weights::WeightsInTraining;

pub use error::TrainError;
pub use memory::{TASK_BYTES_MAX, sum_working_bytes, working_bytes};

/// Told how far a task is, and asked whether to go on.
pub trait Watch {
    /// After each batch: `done` of `planned` batches. An early stop may leave some of them undone. Where gradients are summed:
    /// after some blocks, `done` of `planned` blocks.
    fn batch_done(&mut self, done: u64, planned: u64) -> ControlFlow<()>;
}

/// Lets every task run to its end.
pub struct Unwatched;

impl Watch for Unwatched {
    fn batch_done(&mut self, _done: u64, _planned: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// What a task yields.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// Trained weights minus base weights. Every value is finite and small enough to merge.
    pub update: Vec<f32>,
    /// The loss, summed over rows: with an early stop, at the trained weights; with full batches otherwise, before the
    /// last update; with mini-batches, of the last epoch's batches, or of all local steps, each before its update.
    pub loss: f64,
    /// Epochs that were run, 1 with local steps; none, and no loss, where the learning rate is +0.
    pub epochs: u32,
}

/// What a task yields besides its update: as in [`Trained`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Done {
    /// The loss, summed over rows.
    pub loss: f64,
    /// Epochs that were run.
    pub epochs: u32,
}

/// Trains tasks, one after the other. Keeps its working memory from task to task, and orders of rows that are likely to be
/// needed again.
pub struct Trainer {
    weights: WeightsInTraining,
    helpers: Box<dyn Helpers>,
    /// The rows of a full batch in panels.
    panels: Vec<Lanes>,
    /// An epoch's order of rows.
    order: Vec<u32>,
    /// Orders that do not depend on the step.
    orders: Orders,
    blocks: Blocks,
}

impl Trainer {
    /// A trainer that computes with `kernel`, alone.
    pub fn new(kernel: Kernel) -> Trainer {
        Trainer::with_helpers(kernel, Box::new(NoHelpers))
    }

    /// A trainer that computes with `kernel`, and has `helpers` help where a batch is worth it.
    pub fn with_helpers(kernel: Kernel, helpers: Box<dyn Helpers>) -> Trainer {
        Trainer {
            weights: WeightsInTraining::new(kernel),
            helpers,
            panels: Vec::new(),
            order: Vec::new(),
            orders: Orders::default(),
            blocks: Blocks::new(kernel),
        }
    }

    /// Trains shard `shard` of step `step`, whose data is `rows`, from the weights `base`.
    pub fn train(
        &mut self,
        training: &Training,
        step: u64,
        shard: u32,
        base: &[f32],
        rows: &Rows<'_>,
        watch: &mut dyn Watch,
    ) -> Result<Trained, TrainError> {
        let mut update = Vec::with_capacity(base.len());
        let take = &mut |part: &[f32]| update.extend_from_slice(part);
        let Done { loss, epochs } = self.train_into(training, step, shard, base, rows, watch, take)?;
        Ok(Trained { update, loss, epochs })
    }

    /// The same; the update goes to `take`, part by part. What is taken of a task that fails is no update.
    #[expect(clippy::too_many_arguments, reason = "a task, and where its result goes")]
    pub fn train_into(
        &mut self,
        training: &Training,
        step: u64,
        shard: u32,
        base: &[f32],
        rows: &Rows<'_>,
        watch: &mut dyn Watch,
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<Done, TrainError> {
        let recipe = training.recipe.checked().map_err(TrainError::Recipe)?;
        if recipe.merges_gradients() {
            return Err(TrainError::Yields { gradients: true });
        }
        if step >= STEPS_MAX {
            return Err(TrainError::Step { got: step });
        }
        check(training, base)?;
        check_rows(training, rows)?;
        let batch_rows = match recipe.batch {
            BatchSize::Full => rows.rows() as usize,
            BatchSize::Rows(size) => (rows.rows() as usize).min(size.get() as usize),
        };
        self.weights.begin(training, &recipe, step, base.len(), batch_rows, self.helpers.workers());
        let dropout = |epoch: u32| Dropout::of(training, step * u64::from(recipe.epochs) + u64::from(epoch), shard);
        let done = match recipe.batch {
            // No epoch would change anything.
            _ if !self.weights.moves() => Done { loss: 0.0, epochs: 0 },
            BatchSize::Full => self.full_batches(training, dropout, base, rows, watch)?,
            BatchSize::Rows(_) if let Some(count) = recipe.local_steps => {
                let first = step * u64::from(count);
                let batches = first..first + u64::from(count);
                self.local_steps(training, &recipe, batch_rows, batches, shard, base, rows, watch)?
            }
            BatchSize::Rows(_) => {
                let shuffle = |epoch| Stream::new(Purpose::Shuffle, training.seed, [step, u64::from(shard), epoch]);
                self.mini_batches(training, batch_rows, shuffle, dropout, base, rows, watch)?
            }
        };
        self.weights.tell_update(base, take)?;
        if !done.loss.is_finite() {
            return Err(TrainError::Loss { got: done.loss });
        }
        Ok(done)
    }

    /// Sums the gradients of blocks of an epoch of a job that merges them, at the weights `base`: of each range with its shard's
    /// data. The sum begins with nothing; of a task that fails it is of no use.
    pub fn sum_gradients(
        &mut self,
        training: &Training,
        epoch: u64,
        ranges: &[(BlockRange, &Rows<'_>)],
        base: &[f32],
        watch: &mut dyn Watch,
        sum: &mut GradientSum,
    ) -> Result<(), TrainError> {
        let recipe = training.recipe.checked().map_err(TrainError::Recipe)?;
        let BatchSize::Rows(batch_rows) = recipe.batch else { return Err(TrainError::Yields { gradients: false }) };
        if !recipe.merges_gradients() {
            return Err(TrainError::Yields { gradients: false });
        }
        check(training, base)?;
        let block_rows = block_rows(&training.network, batch_rows.get());
        let mut planned = 0;
        for (BlockRange { shard, first, count }, rows) in ranges {
            check_rows(training, rows)?;
            let (got, blocks) = (u64::from(*first) + u64::from(*count), rows.rows().div_ceil(block_rows));
            if *count == 0 || got > u64::from(blocks) {
                return Err(TrainError::Blocks { shard: *shard, got, blocks });
            }
            planned += u64::from(*count);
        }
        sum.reset(base.len());
        let block_rows = block_rows as usize;
        let Trainer { blocks, orders, .. } = self;
        blocks.begin(training, block_rows);
        let mut done = 0;
        let mut go_through = |blocks: &mut Blocks, sum: &mut GradientSum, watch: &mut dyn Watch| {
            done += blocks.count() as u64;
            let rows = |source: usize| ranges[source].1;
            let dropout = |source: usize| Dropout::of(training, epoch, ranges[source].0.shard);
            blocks
                .sum_into(Objective::in_training(training), base, rows, dropout, sum)
                .map_err(TrainError::Gradient)?;
            go_on(watch, done, planned)
        };
        for (source, (BlockRange { shard, first, count }, rows)) in ranges.iter().enumerate() {
            let order = orders.of(training.seed, epoch, *shard, rows.rows());
            for order in order.chunks(block_rows).skip(*first as usize).take(*count as usize) {
                blocks.push(source, rows, order);
                if blocks.is_full() {
                    go_through(blocks, sum, watch)?;
                }
            }
        }
        if blocks.count() > 0 {
            go_through(blocks, sum, watch)?;
        }
        Ok(())
    }

    /// These batches of the endless sequence of a shard's: epoch after epoch, each in a new order. A task has one batch or
    /// more.
    #[expect(clippy::too_many_arguments, reason = "a task, and its batches")]
    fn local_steps(
        &mut self,
        training: &Training,
        recipe: &Recipe,
        batch_rows: usize,
        batches: Range<u64>,
        shard: u32,
        base: &[f32],
        rows: &Rows<'_>,
        watch: &mut dyn Watch,
    ) -> Result<Done, TrainError> {
        let Trainer { weights, helpers, orders, .. } = self;
        let in_epoch = (rows.rows() as usize).div_ceil(batch_rows) as u64;
        let planned = batches.end - batches.start;
        let mut loss = 0.0;
        for (done, batch) in (1..).zip(batches) {
            let (epoch, place) = (batch / in_epoch, (batch % in_epoch) as usize);
            let order = orders.of(training.seed, epoch, shard, rows.rows());
            let order = order.chunks(batch_rows).nth(place).unwrap_or_default();
            let averaging = Averaging::over(recipe.reduction, order.len());
            let (source, objective) = (Source::These { order }, Objective::in_training(training));
            let batch = Batch { rows, source, objective, dropout: Dropout::of(training, epoch, shard) };
            loss += weights.batch_and_update(&**helpers, base, &batch, averaging, done == planned);
            go_on(watch, done, planned)?;
        }
        Ok(Done { loss, epochs: 1 })
    }

    /// Every epoch is one batch of all rows in their own order.
    fn full_batches(
        &mut self,
        training: &Training,
        dropout: impl Fn(u32) -> Option<Dropout>,
        base: &[f32],
        rows: &Rows<'_>,
        watch: &mut dyn Watch,
    ) -> Result<Done, TrainError> {
        let recipe = &training.recipe;
        let (count, features) = (rows.rows() as usize, rows.features() as usize);
        make_room(&mut self.panels, panels_of(count) * features);
        gather(self.weights.kernel(), rows.inputs(), Order::From(0, count), &mut self.panels);
        let Trainer { weights, helpers, panels, .. } = self;
        let averaging = Averaging::over(recipe.reduction, count);
        let panels: &[Lanes] = panels;
        // Of an epoch, from 0.
        let batch = |epoch| {
            let objective = Objective::in_training(training);
            Batch { rows, source: Source::All { panels }, objective, dropout: dropout(epoch) }
        };
        let mut loss = weights.batch(&**helpers, base, &batch(0), true);
        for epoch in 1..=recipe.epochs {
            let last = epoch == recipe.epochs;
            weights.update(averaging, base, last && recipe.stop_loss_change.is_none());
            go_on(watch, u64::from(epoch), u64::from(recipe.epochs))?;
            if let Some(change) = recipe.stop_loss_change {
                // The pass that measures this epoch's loss is the next epoch's forward pass. Its gradient comes with it:
                // one too many, once, when the task stops, is cheaper than going forward twice in every epoch.
                let before = loss;
                loss = weights.batch(&**helpers, base, &batch(epoch), !last);
                if (before - loss).abs() <= f64::from(change) {
                    return Ok(Done { loss, epochs: epoch });
                }
            } else if !last {
                loss = weights.batch(&**helpers, base, &batch(epoch), true);
            }
        }
        Ok(Done { loss, epochs: recipe.epochs })
    }

    /// Every epoch goes through the rows in a new order, `batch_rows` at a time.
    #[expect(clippy::too_many_arguments, reason = "a task, and what is drawn for its epochs")]
    fn mini_batches(
        &mut self,
        training: &Training,
        batch_rows: usize,
        shuffle: impl Fn(u64) -> Stream,
        dropout: impl Fn(u32) -> Option<Dropout>,
        base: &[f32],
        rows: &Rows<'_>,
        watch: &mut dyn Watch,
    ) -> Result<Done, TrainError> {
        let recipe = &training.recipe;
        let planned = u64::from(recipe.epochs) * (rows.rows() as usize).div_ceil(batch_rows) as u64;
        let mut done = 0;
        let mut loss = 0.0;
        for epoch in 0..recipe.epochs {
            self.order.clear();
            self.order.extend(0..rows.rows());
            shuffle(u64::from(epoch)).shuffle(&mut self.order);
            loss = 0.0;
            for order in self.order.chunks(batch_rows) {
                let averaging = Averaging::over(recipe.reduction, order.len());
                let (source, objective) = (Source::These { order }, Objective::in_training(training));
                let batch = Batch { rows, source, objective, dropout: dropout(epoch) };
                done += 1;
                loss += self.weights.batch_and_update(&*self.helpers, base, &batch, averaging, done == planned);
                go_on(watch, done, planned)?;
            }
        }
        Ok(Done { loss, epochs: recipe.epochs })
    }
}

fn go_on(watch: &mut dyn Watch, done: u64, planned: u64) -> Result<(), TrainError> {
    match watch.batch_done(done, planned) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(TrainError::Cancelled),
    }
}

/// That these weights can be trained.
fn check(training: &Training, base: &[f32]) -> Result<(), TrainError> {
    let network = &training.network;
    if training.arithmetic != ARITHMETIC {
        return Err(TrainError::Arithmetic { got: training.arithmetic });
    }
    if base.len() != network.parameters() {
        return Err(TrainError::Base { got: base.len(), expected: network.parameters() });
    }
    training.check_class_weights().map_err(TrainError::Recipe)
}

/// That they can be trained on these rows.
fn check_rows(training: &Training, rows: &Rows<'_>) -> Result<(), TrainError> {
    let network = &training.network;
    if rows.features() != network.inputs() {
        return Err(TrainError::Features { got: rows.features(), expected: network.inputs() });
    }
    let (loss, outputs) = (training.recipe.loss, network.outputs());
    loss.check_outputs(outputs).map_err(TrainError::Outputs)?;
    rows.targets().fit(loss, outputs).map_err(TrainError::Targets)
}

//! One task: a shard, trained from a round's base weights. Owns batches, epochs, the early stop and the update; does not
//! know nodes, or what becomes of the update.
//!
//! A result depends on nothing but the arguments of [`Trainer::train`]: the optimiser starts afresh, and every random
//! choice comes from the job's seed, the step, the shard and the epoch.

mod batch;
mod error;
mod memory;
mod weights;

use std::ops::ControlFlow;

use super::ARITHMETIC;
use super::gather::{Order, gather};
use super::helpers::{Helpers, NoHelpers};
use super::kernel::Kernel;
use super::lanes::{Lanes, make_room, panels_of};
use super::loss::Objective;
use super::optimise::Averaging;
use super::random::{Purpose, Stream};
use super::recipe::{BatchSize, Recipe};
use super::rows::Rows;
use super::training::{ROUNDS_MAX, Training};

use batch::{Batch, Source};
use weights::WeightsInTraining;

pub use error::TrainError;
pub use memory::{TASK_BYTES_MAX, working_bytes};

/// Told how far a task is, and asked whether to go on.
pub trait Watch {
    /// After each batch: `done` of `planned` batches. An early stop may leave some of them undone.
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
    /// last update; with mini-batches, of the last epoch's batches, each before its update.
    pub loss: f64,
    /// Epochs that were run; none, and no loss, where the learning rate is +0.
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

/// Trains tasks, one after the other. Keeps its working memory from task to task, and nothing else.
pub struct Trainer {
    weights: WeightsInTraining,
    helpers: Box<dyn Helpers>,
    /// The rows of a full batch in panels.
    panels: Vec<Lanes>,
    /// An epoch's order of rows.
    order: Vec<u32>,
}

impl Trainer {
    /// A trainer that computes with `kernel`, alone.
    pub fn new(kernel: Kernel) -> Trainer {
        Trainer::with_helpers(kernel, Box::new(NoHelpers))
    }

    /// A trainer that computes with `kernel`, and has `helpers` help where a batch is worth it.
    pub fn with_helpers(kernel: Kernel, helpers: Box<dyn Helpers>) -> Trainer {
        Trainer { weights: WeightsInTraining::new(kernel), helpers, panels: Vec::new(), order: Vec::new() }
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
        check(training, step, base, rows)?;
        let batch_rows = match recipe.batch {
            BatchSize::Full => rows.rows() as usize,
            BatchSize::Rows(size) => (rows.rows() as usize).min(size.get() as usize),
        };
        self.weights.begin(training, &recipe, step, base.len(), batch_rows, self.helpers.workers());
        let done = match recipe.batch {
            // No epoch would change anything.
            _ if !self.weights.moves() => Done { loss: 0.0, epochs: 0 },
            BatchSize::Full => self.full_batches(&recipe, base, rows, watch)?,
            BatchSize::Rows(_) => {
                let shuffle = |epoch| Stream::new(Purpose::Shuffle, training.seed, [step, u64::from(shard), epoch]);
                self.mini_batches(&recipe, batch_rows, shuffle, base, rows, watch)?
            }
        };
        self.weights.tell_update(base, take)?;
        if !done.loss.is_finite() {
            return Err(TrainError::Loss { got: done.loss });
        }
        Ok(done)
    }

    /// Every epoch is one batch of all rows in their own order.
    fn full_batches(
        &mut self,
        recipe: &Recipe,
        base: &[f32],
        rows: &Rows<'_>,
        watch: &mut dyn Watch,
    ) -> Result<Done, TrainError> {
        let (count, features) = (rows.rows() as usize, rows.features() as usize);
        make_room(&mut self.panels, panels_of(count) * features);
        gather(self.weights.kernel(), rows.values(), features, Order::From(0, count), &mut self.panels);
        let Trainer { weights, helpers, panels, .. } = self;
        let averaging = Averaging::over(recipe.reduction, count);
        let batch = Batch { rows, source: Source::All { panels }, objective: Objective::of(recipe) };
        let mut loss = weights.batch(&**helpers, base, &batch, true);
        for epoch in 1..=recipe.epochs {
            let last = epoch == recipe.epochs;
            weights.update(averaging, base, last && recipe.stop_loss_change.is_none());
            go_on(watch, u64::from(epoch), u64::from(recipe.epochs))?;
            if let Some(change) = recipe.stop_loss_change {
                // The pass that measures this epoch's loss is the next epoch's forward pass. Its gradient comes with it:
                // one too many, once, when the task stops, is cheaper than going forward twice in every epoch.
                let before = loss;
                loss = weights.batch(&**helpers, base, &batch, !last);
                if (before - loss).abs() <= f64::from(change) {
                    return Ok(Done { loss, epochs: epoch });
                }
            } else if !last {
                loss = weights.batch(&**helpers, base, &batch, true);
            }
        }
        Ok(Done { loss, epochs: recipe.epochs })
    }

    /// Every epoch goes through the rows in a new order, `batch_rows` at a time.
    fn mini_batches(
        &mut self,
        recipe: &Recipe,
        batch_rows: usize,
        shuffle: impl Fn(u64) -> Stream,
        base: &[f32],
        rows: &Rows<'_>,
        watch: &mut dyn Watch,
    ) -> Result<Done, TrainError> {
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
                let batch = Batch { rows, source: Source::These { order }, objective: Objective::of(recipe) };
                loss += self.weights.batch(&*self.helpers, base, &batch, true);
                done += 1;
                self.weights.update(averaging, base, done == planned);
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

/// That the parts of a task belong together.
fn check(training: &Training, step: u64, base: &[f32], rows: &Rows<'_>) -> Result<(), TrainError> {
    let network = &training.network;
    if training.arithmetic != ARITHMETIC {
        return Err(TrainError::Arithmetic { got: training.arithmetic });
    }
    if step >= u64::from(ROUNDS_MAX) {
        return Err(TrainError::Step { got: step });
    }
    if base.len() != network.parameters() {
        return Err(TrainError::Base { got: base.len(), expected: network.parameters() });
    }
    if rows.features() != network.inputs() {
        return Err(TrainError::Features { got: rows.features(), expected: network.inputs() });
    }
    let (loss, outputs) = (training.recipe.loss, network.outputs());
    loss.check_outputs(outputs).map_err(TrainError::Outputs)?;
    rows.targets().fit(loss, outputs).map_err(TrainError::Targets)
}

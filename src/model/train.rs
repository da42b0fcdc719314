//! One task: a shard, trained from a round's base weights. Owns batches, epochs, the early stop and the update; does not
//! know nodes, or what becomes of the update.
//!
//! A result depends on nothing but the arguments of [`Trainer::train`]: the optimiser starts afresh, and every random
//! choice comes from the job's seed, the step, the shard and the epoch.

use std::fmt;
use std::ops::ControlFlow;

use super::gather::{Order, gather};
use super::kernel::Kernel;
use super::lanes::{BLOCK_PANELS, BLOCK_ROWS, LANES, Lanes, panels_of};
use super::network::Network;
use super::optimise::{Descent, eta_of_step};
use super::pass::Pass;
use super::random::{Purpose, Stream};
use super::recipe::{BatchSize, LossReduction, Optimiser, Recipe, RecipeError};
use super::rows::Rows;
use super::softmax::{Target, lose};
use super::tree::Tree;
use super::{ARITHMETIC, merge};
use crate::job::{ROUNDS_MAX, Training};

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
    /// Epochs that were run.
    pub epochs: u32,
}

/// Trains tasks, one after the other. Keeps its working memory from task to task, and nothing else.
pub struct Trainer {
    work: Work,
    /// The rows of a full batch in panels, or one block of a mini-batch.
    panels: Vec<Lanes>,
    /// An epoch's order of rows.
    order: Vec<u32>,
    /// The labels of one block of a mini-batch.
    labels: Vec<u32>,
}

impl Trainer {
    /// A trainer that computes with `kernel`.
    pub fn new(kernel: Kernel) -> Trainer {
        let work = Work {
            pass: Pass::new(kernel),
            descent: Descent::new(),
            gradients: Tree::new(),
            losses: Tree::new(),
            weights: Vec::new(),
        };
        Trainer { work, panels: Vec::new(), order: Vec::new(), labels: Vec::new() }
    }

    /// Trains shard `shard` of step `step`, whose data is `rows`, from the weights `base`.
    pub fn train(
        &mut self,
        training: &Training,
        step: u64,
        shard: u32,
        base: &[f32],
        rows: &Rows,
        watch: &mut dyn Watch,
    ) -> Result<Trained, TrainError> {
        let recipe = training.recipe.checked().map_err(TrainError::Recipe)?;
        check(training, step, base, rows)?;
        let batch_rows = match recipe.batch {
            BatchSize::Full => rows.labels().len(),
            BatchSize::Rows(size) => rows.labels().len().min(size.get() as usize),
        };
        self.work.begin(&training.network, &recipe, step, base, batch_rows);
        let (loss, epochs) = match recipe.batch {
            BatchSize::Full => self.full_batches(&recipe, rows, watch)?,
            BatchSize::Rows(_) => {
                let shuffle = |epoch| Stream::new(Purpose::Shuffle, training.seed, [step, u64::from(shard), epoch]);
                self.mini_batches(&recipe, batch_rows, shuffle, rows, watch)?
            }
        };
        let update: Vec<f32> = self.work.weights.iter().zip(base).map(|(trained, base)| trained - base).collect();
        match update.iter().position(|value| !merge::can_be_merged(*value)) {
            Some(index) => Err(TrainError::Diverged { index }),
            None => Ok(Trained { update, loss, epochs }),
        }
    }

    /// Every epoch is one batch of all rows in their own order. Returns the loss and the epochs run.
    fn full_batches(&mut self, recipe: &Recipe, rows: &Rows, watch: &mut dyn Watch) -> Result<(f64, u32), TrainError> {
        let (count, features) = (rows.labels().len(), rows.features() as usize);
        self.panels.resize(panels_of(count) * features, Lanes::ZERO);
        gather(self.work.pass.kernel(), rows.values(), features, Order::From(0, count), &mut self.panels);
        let mut loss = self.full_pass(recipe, rows, true);
        for epoch in 1..=recipe.epochs {
            self.work.update();
            go_on(watch, u64::from(epoch), u64::from(recipe.epochs))?;
            let last = epoch == recipe.epochs;
            if let Some(change) = recipe.stop_loss_change {
                // The pass that measures this epoch's loss is the next epoch's forward pass. Its gradient comes with it:
                // one too many, once, when the task stops, is cheaper than going forward twice in every epoch.
                let before = loss;
                loss = self.full_pass(recipe, rows, !last);
                if (before - loss).abs() <= f64::from(change) {
                    return Ok((loss, epoch));
                }
            } else if !last {
                loss = self.full_pass(recipe, rows, true);
            }
        }
        Ok((loss, recipe.epochs))
    }

    /// All rows forward and, with `back`, their gradient. Returns the loss.
    fn full_pass(&mut self, recipe: &Recipe, rows: &Rows, back: bool) -> f64 {
        let scale = scale_of(recipe.reduction, rows.labels().len());
        let panels = self.panels.chunks(BLOCK_PANELS * rows.features() as usize);
        for (x, labels) in panels.zip(rows.labels().chunks(BLOCK_ROWS)) {
            self.work.block(x, &Target { labels, scale, log_epsilon: recipe.log_epsilon }, back);
        }
        self.work.losses.finish()[0]
    }

    /// Every epoch goes through the rows in a new order, `batch_rows` at a time. Returns the loss and the epochs run.
    fn mini_batches(
        &mut self,
        recipe: &Recipe,
        batch_rows: usize,
        shuffle: impl Fn(u64) -> Stream,
        rows: &Rows,
        watch: &mut dyn Watch,
    ) -> Result<(f64, u32), TrainError> {
        let (count, features) = (rows.labels().len(), rows.features() as usize);
        let planned = u64::from(recipe.epochs) * count.div_ceil(batch_rows) as u64;
        let mut done = 0;
        let mut loss = 0.0;
        self.panels.resize(panels_of(batch_rows.min(BLOCK_ROWS)) * features, Lanes::ZERO);
        self.labels.clear();
        self.labels.reserve_exact(batch_rows.min(BLOCK_ROWS));
        for epoch in 0..recipe.epochs {
            self.order.clear();
            self.order.extend(0..rows.rows());
            shuffle(u64::from(epoch)).shuffle(&mut self.order);
            loss = 0.0;
            for batch in self.order.chunks(batch_rows) {
                let scale = scale_of(recipe.reduction, batch.len());
                for block in batch.chunks(BLOCK_ROWS) {
                    let x = &mut self.panels[..panels_of(block.len()) * features];
                    gather(self.work.pass.kernel(), rows.values(), features, Order::These(block), x);
                    self.labels.clear();
                    self.labels.extend(block.iter().map(|row| rows.labels()[*row as usize]));
                    let target = Target { labels: &self.labels, scale, log_epsilon: recipe.log_epsilon };
                    self.work.block(x, &target, true);
                }
                loss += self.work.losses.finish()[0];
                self.work.update();
                done += 1;
                go_on(watch, done, planned)?;
            }
        }
        Ok((loss, recipe.epochs))
    }
}

/// The weights in training, and all that changes them.
struct Work {
    pass: Pass,
    descent: Descent,
    gradients: Tree<f32>,
    losses: Tree<f64>,
    weights: Vec<f32>,
}

impl Work {
    /// Starts a task: makes all the room that its batches of up to `batch_rows` rows need.
    fn begin(&mut self, network: &Network, recipe: &Recipe, step: u64, base: &[f32], batch_rows: usize) {
        let blocks = batch_rows.div_ceil(BLOCK_ROWS);
        self.weights.clear();
        self.weights.extend_from_slice(base);
        self.pass.prepare(network, recipe.activation, batch_rows, true);
        self.gradients.prepare(base.len(), blocks);
        self.losses.prepare(1, blocks);
        self.descent.begin(recipe.optimiser, eta_of_step(recipe.eta, recipe.eta_decay, step), base.len());
    }

    /// Takes a block's loss into the batch's and, with `back`, its gradient.
    fn block(&mut self, x: &[Lanes], target: &Target<'_>, back: bool) {
        let rows = target.labels.len();
        let kernel = self.pass.kernel();
        let logits = self.pass.forward(&self.weights, x, rows);
        self.losses.next()[0] = lose(kernel, logits, target);
        self.losses.take();
        if back {
            self.pass.backward(&self.weights, x, rows, self.gradients.next());
            self.gradients.take();
        }
    }

    /// Ends a batch: one update of the weights by the gradient of its blocks.
    fn update(&mut self) {
        self.descent.update(self.pass.kernel(), self.gradients.finish(), &mut self.weights);
    }
}

/// Bytes that a fresh [`Trainer`] takes for a task of so many rows, its result included and the rows themselves not: what
/// to compare with a limit before [`Trainer::train`].
pub fn working_bytes(training: &Training, rows: u32) -> u64 {
    let network = &training.network;
    let rows = u64::from(rows);
    let batch_rows = match training.recipe.batch {
        BatchSize::Full => rows,
        BatchSize::Rows(size) => rows.min(u64::from(size.get())),
    };
    let panels = |rows: u64| rows.div_ceil(LANES as u64);
    let block_rows = batch_rows.min(BLOCK_ROWS as u64);
    let widths = || network.layers().map(|layer| layer.outputs as u64);
    let hidden = network.hidden().iter().copied().max().unwrap_or(0);
    // Weights, update, the block in hand, a sum for each level of the tree, moments.
    let levels = u64::from(batch_rows.div_ceil(BLOCK_ROWS as u64).max(1).ilog2()) + 1;
    let moments = if training.recipe.optimiser == Optimiser::Adam { 2 } else { 0 };
    let of_parameters = network.parameters() as u64 * (3 + levels + moments) * size_of::<f32>() as u64;
    // What each layer puts out, two of derivatives, the outputs turned to lanes.
    let of_block = panels(block_rows) * (widths().sum::<u64>() + 2 * u64::from(hidden))
        + panels(widths().max().unwrap_or(0)) * block_rows;
    let (of_input, of_order) = match training.recipe.batch {
        BatchSize::Full => (panels(rows), 0),
        BatchSize::Rows(_) => (panels(block_rows), (rows + block_rows) * size_of::<u32>() as u64),
    };
    let lanes = of_block + of_input * u64::from(network.inputs());
    of_parameters + lanes * size_of::<Lanes>() as u64 + of_order
}

/// What a batch's loss and gradient are multiplied by.
fn scale_of(reduction: LossReduction, batch_rows: usize) -> f32 {
    match reduction {
        LossReduction::Sum => 1.0,
        LossReduction::Mean => 1.0 / batch_rows as f32,
    }
}

fn go_on(watch: &mut dyn Watch, done: u64, planned: u64) -> Result<(), TrainError> {
    match watch.batch_done(done, planned) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(TrainError::Cancelled),
    }
}

/// That the parts of a task belong together.
fn check(training: &Training, step: u64, base: &[f32], rows: &Rows) -> Result<(), TrainError> {
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
    if rows.classes() > network.classes() {
        return Err(TrainError::Classes { got: rows.classes(), expected: network.classes() });
    }
    Ok(())
}

/// Why a task yields no update.
#[derive(Clone, Debug, PartialEq)]
pub enum TrainError {
    /// The result is promised in an arithmetic that this program does not compute.
    Arithmetic {
        /// The arithmetic asked for.
        got: u16,
    },
    /// The recipe is outside its limits.
    Recipe(RecipeError),
    /// There are no so many rounds.
    Step {
        /// The step asked for.
        got: u64,
    },
    /// The base weights are not the network's.
    Base {
        /// Weights given.
        got: usize,
        /// Parameters of the network.
        expected: usize,
    },
    /// The rows are not as wide as the network's input.
    Features {
        /// Features of the rows.
        got: u32,
        /// Inputs of the network.
        expected: u32,
    },
    /// The rows know more classes than the network.
    Classes {
        /// Classes of the rows.
        got: u32,
        /// Classes of the network.
        expected: u32,
    },
    /// The watch said so.
    Cancelled,
    /// The weights ran away: the update has a value that is not finite, or too large to merge.
    Diverged {
        /// The first such parameter.
        index: usize,
    },
}

impl fmt::Display for TrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arithmetic { got } => {
                write!(f, "the task wants arithmetic {got}, and this program computes arithmetic {ARITHMETIC}")
            }
            Self::Recipe(error) => error.fmt(f),
            Self::Step { got } => write!(f, "a step is below {ROUNDS_MAX}, not {got}"),
            Self::Base { got, expected } => {
                write!(f, "the network has {expected} parameters, and the base weights are {got} values")
            }
            Self::Features { got, expected } => {
                write!(f, "the network takes {expected} inputs, and the rows have {got} features")
            }
            Self::Classes { got, expected } => {
                write!(f, "the network tells {expected} classes apart, and the rows are of {got}")
            }
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::Diverged { index } => write!(
                f,
                "the training diverged (parameter {index} ran away): take a lower learning rate (eta), or scale the data"
            ),
        }
    }
}

impl std::error::Error for TrainError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Recipe(error) => Some(error),
            _ => None,
        }
    }
}

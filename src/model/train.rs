//! One task: a shard, trained from a round's base weights. Owns batches, epochs, the early stop and the update; does not
//! know nodes, or what becomes of the update.
//!
//! A result depends on nothing but the arguments of [`Trainer::train`]: the optimiser starts afresh, and every random
//! choice comes from the job's seed, the step, the shard and the epoch.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::gather::{Order, gather};
use super::helpers::{Helpers, NoHelpers};
use super::kernel::{Kernel, compiled_for_each_kernel};
use super::lanes::{BLOCK_PANELS, BLOCK_ROWS, LANES, Lanes, make_room, panels_of};
use super::loss::{Gathered, Objective, TargetsError};
use super::network::NetworkError;
use super::optimise::{Averaging, Descent, LAST_PART_MAX, eta_of_step, state_vectors};
use super::pass::Pass;
use super::random::{Purpose, Stream};
use super::recipe::{BatchSize, Recipe, RecipeError};
use super::rows::Rows;
use super::training::{ROUNDS_MAX, Training};
use super::tree::Tree;
use super::vector::Vector;
use super::{ARITHMETIC, merge};

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
    work: Work,
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
        let work = Work {
            kernel,
            descent: Descent::new(),
            gradients: Tree::new(),
            losses: Tree::new(),
            weights: Vec::new(),
            state: State::AtBase,
            last_update: None,
            workspaces: vec![Workspace::new(kernel)],
            parts: Vec::new(),
            blocks_each: 1,
        };
        Trainer { work, helpers, panels: Vec::new(), order: Vec::new() }
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
        self.work.begin(training, &recipe, step, base.len(), batch_rows, self.helpers.workspaces());
        let done = match recipe.batch {
            // No epoch would change anything.
            _ if !self.work.descent.moves() => Done { loss: 0.0, epochs: 0 },
            BatchSize::Full => self.full_batches(&recipe, base, rows, watch)?,
            BatchSize::Rows(_) => {
                let shuffle = |epoch| Stream::new(Purpose::Shuffle, training.seed, [step, u64::from(shard), epoch]);
                self.mini_batches(&recipe, batch_rows, shuffle, base, rows, watch)?
            }
        };
        self.work.tell_update(base, take)?;
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
        gather(self.work.kernel, rows.values(), features, Order::From(0, count), &mut self.panels);
        let Trainer { work, helpers, panels, .. } = self;
        let averaging = Averaging::over(recipe.reduction, count);
        let batch = Batch { rows, source: Source::All { panels }, objective: Objective::of(recipe) };
        let mut loss = work.batch(&**helpers, base, &batch, true);
        for epoch in 1..=recipe.epochs {
            let last = epoch == recipe.epochs;
            work.update(averaging, base, last && recipe.stop_loss_change.is_none());
            go_on(watch, u64::from(epoch), u64::from(recipe.epochs))?;
            if let Some(change) = recipe.stop_loss_change {
                // The pass that measures this epoch's loss is the next epoch's forward pass. Its gradient comes with it:
                // one too many, once, when the task stops, is cheaper than going forward twice in every epoch.
                let before = loss;
                loss = work.batch(&**helpers, base, &batch, !last);
                if (before - loss).abs() <= f64::from(change) {
                    return Ok(Done { loss, epochs: epoch });
                }
            } else if !last {
                loss = work.batch(&**helpers, base, &batch, true);
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
                loss += self.work.batch(&*self.helpers, base, &batch, true);
                done += 1;
                self.work.update(averaging, base, done == planned);
                go_on(watch, done, planned)?;
            }
        }
        Ok(Done { loss, epochs: recipe.epochs })
    }
}

/// Rows that the weights are updated by at once.
struct Batch<'a> {
    rows: &'a Rows<'a>,
    source: Source<'a>,
    objective: Objective,
}

enum Source<'a> {
    /// All rows, in panels.
    All { panels: &'a [Lanes] },
    /// These rows, not yet in panels.
    These { order: &'a [u32] },
}

impl Batch<'_> {
    fn blocks(&self) -> usize {
        let rows = match self.source {
            Source::All { .. } => self.rows.rows() as usize,
            Source::These { order } => order.len(),
        };
        rows.div_ceil(BLOCK_ROWS)
    }
}

/// The memory in which one thread takes blocks forward and back.
pub struct Workspace {
    pass: Pass,
    gradients: Tree<f32>,
    losses: Tree<f64>,
    /// The rows of one block of a mini-batch.
    panels: Vec<Lanes>,
    /// Their targets.
    targets: Gathered,
}

impl Workspace {
    /// A workspace without room.
    pub(crate) fn new(kernel: Kernel) -> Workspace {
        let (gradients, losses) = (Tree::new(), Tree::new());
        Workspace { pass: Pass::new(kernel), gradients, losses, panels: Vec::new(), targets: Gathered::default() }
    }

    /// Makes room for `blocks` blocks of batches of up to `batch_rows` rows.
    fn prepare(&mut self, training: &Training, batch_rows: usize, blocks: usize) {
        let network = &training.network;
        self.pass.prepare(network, training.recipe.activation, batch_rows, true);
        self.gradients.prepare(network.parameters(), blocks);
        self.losses.prepare(1, blocks);
        if training.recipe.batch != BatchSize::Full {
            let rows = batch_rows.min(BLOCK_ROWS);
            make_room(&mut self.panels, panels_of(rows) * network.inputs() as usize);
            self.targets.prepare(training, rows);
        }
    }

    /// Takes the loss of a batch's block into the sum and, with `back`, its gradient.
    fn block(&mut self, weights: &[f32], batch: &Batch<'_>, block: usize, back: bool) {
        let kernel = self.pass.kernel();
        let features = batch.rows.features() as usize;
        let (x, rows, targets) = match batch.source {
            Source::All { panels } => {
                let x = panels.chunks(BLOCK_PANELS * features).nth(block).unwrap_or_default();
                let first = block * BLOCK_ROWS;
                let rows = BLOCK_ROWS.min(batch.rows.rows() as usize - first);
                (x, rows, batch.rows.targets().of_rows(first, rows))
            }
            Source::These { order } => {
                let order = order.chunks(BLOCK_ROWS).nth(block).unwrap_or_default();
                let x = &mut self.panels[..panels_of(order.len()) * features];
                gather(kernel, batch.rows.values(), features, Order::These(order), x);
                (&*x, order.len(), self.targets.gather(batch.rows.targets(), order))
            }
        };
        let outputs = self.pass.forward(weights, x, rows);
        self.losses.next()[0] = batch.objective.differentiate(kernel, outputs, targets);
        self.losses.take();
        if back {
            self.pass.backward(weights, x, rows, self.gradients.next());
            self.gradients.take();
        }
    }
}

/// What one workspace has summed: a node of the block tree.
#[derive(Default)]
struct Part {
    gradient: Vec<f32>,
    loss: f64,
}

/// The weights in training, and all that changes them.
struct Work {
    kernel: Kernel,
    descent: Descent,
    /// The batch's gradient, from that of its parts.
    gradients: Tree<f32>,
    losses: Tree<f64>,
    /// The weights, once they are no longer the base: a task's only batch needs none of its own.
    weights: Vec<f32>,
    state: State,
    /// The task's last update, still to be done where the task's update is told.
    last_update: Option<Averaging>,
    workspaces: Vec<Workspace>,
    /// Locked for the moment in which a finished sum is put there.
    parts: Vec<Mutex<Part>>,
    /// Blocks of a part: a power of two, so that a part is a whole node of the block tree.
    blocks_each: usize,
}

/// How far the weights have come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// They are the base.
    AtBase,
    /// They are in [`Work::weights`].
    Moved,
}

/// Parameters of an update that are computed and told at a time. So few that a processor computes the next while it still
/// hashes the last: a hash is one long chain, which leaves room beside it.
const PART: usize = LAST_PART_MAX;

impl Work {
    /// Starts a task: makes all the room that its batches of up to `batch_rows` rows need.
    fn begin(
        &mut self,
        training: &Training,
        recipe: &Recipe,
        step: u64,
        parameters: usize,
        batch_rows: usize,
        hands_most: usize,
    ) {
        let blocks = batch_rows.div_ceil(BLOCK_ROWS);
        (self.state, self.last_update) = (State::AtBase, None);
        let workspaces =
            if batch_rows * parameters < SHARED_WORK_MIN { 1 } else { hands_most.min(HANDS_MAX).min(blocks) };
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
            let part = part.get_mut().unwrap_or_else(PoisonError::into_inner);
            part.gradient.resize(parameters, 0.0);
        }
        self.workspaces.resize_with(if parts == 1 { 1 } else { workspaces }, || Workspace::new(self.kernel));
        for workspace in &mut self.workspaces {
            workspace.prepare(training, batch_rows, self.blocks_each.min(blocks));
        }
        let of_parts = if parts == 1 { 0 } else { parameters };
        self.gradients.prepare(of_parts, parts);
        self.losses.prepare(1, parts);
        self.descent.begin(recipe, eta_of_step(recipe, step));
    }

    /// All of a batch forward and, with `back`, its gradient. Returns the loss.
    fn batch(&mut self, helpers: &dyn Helpers, base: &[f32], batch: &Batch<'_>, back: bool) -> f64 {
        let blocks = batch.blocks();
        let Work { workspaces, weights, state, parts, blocks_each, .. } = self;
        let weights = if *state == State::AtBase { base } else { weights };
        if parts.is_empty() {
            for block in 0..blocks {
                workspaces[0].block(weights, batch, block, back);
            }
            return workspaces[0].losses.finish()[0];
        }
        let count = blocks.div_ceil(*blocks_each);
        let next = AtomicUsize::new(0);
        helpers.work(workspaces, &|workspace| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(part) = parts[..count].get(index) else { break };
                let first = index * *blocks_each;
                for block in first..blocks.min(first + *blocks_each) {
                    workspace.block(weights, batch, block, back);
                }
                let loss = workspace.losses.finish()[0];
                let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
                part.loss = loss;
                if back {
                    workspace.gradients.finish_into(&mut part.gradient);
                }
            }
        });
        for part in &mut parts[..count] {
            let part = part.get_mut().unwrap_or_else(PoisonError::into_inner);
            self.losses.next()[0] = part.loss;
            self.losses.take();
            if back {
                self.gradients.take_from(&mut part.gradient);
            }
        }
        self.losses.finish()[0]
    }

    /// Ends a batch: one update of the weights by the gradient of its blocks. The task's last is left to
    /// [`Work::tell_update`].
    fn update(&mut self, averaging: Averaging, base: &[f32], is_last: bool) {
        self.last_update = is_last.then_some(averaging);
        if is_last {
            return;
        }
        if self.state == State::AtBase {
            self.weights.clear();
            self.weights.extend_from_slice(base);
            self.state = State::Moved;
        }
        let gradients = if self.parts.is_empty() { &mut self.workspaces[0].gradients } else { &mut self.gradients };
        self.descent.update(self.kernel, averaging, gradients.finish(), &mut self.weights);
    }

    /// Ends a task: does the last update, and tells by how much the weights have left the base, all in one pass over the
    /// parameters, which may be more than the caches hold.
    fn tell_update(&mut self, base: &[f32], take: &mut dyn FnMut(&[f32])) -> Result<(), TrainError> {
        let gradients = if self.parts.is_empty() { &mut self.workspaces[0].gradients } else { &mut self.gradients };
        let gradient = if self.last_update.is_some() { gradients.finish() } else { &[] };
        let weights = if self.state == State::AtBase { base } else { &self.weights };
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

/// Rows times parameters of a batch that is worth sharing: some 30 microseconds of work.
const SHARED_WORK_MIN: usize = 1 << 19;
/// Parameters whose parts stay in a core's second cache.
const FEW_PARAMETERS: usize = 1 << 14;
/// Workspaces that share a batch, at most.
const HANDS_MAX: usize = 16;
/// Memory for the parts of a shared batch, at most.
const PARTS_BYTES_MAX: usize = 256 << 20;

/// Memory that training one task may take: the largest network with Adam fits.
pub const TASK_BYTES_MAX: u64 = 8 << 30;

/// Bytes that a fresh [`Trainer`] without helpers takes for a task of so many rows, its result included and the rows themselves not: what
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
    // Weights, the update; the block in hand, a sum for each level of the tree, the optimiser's state.
    let levels = u64::from(batch_rows.div_ceil(BLOCK_ROWS as u64).max(1).ilog2()) + 1;
    let state = state_vectors(training.recipe.optimiser) as u64;
    let of_parameters = network.parameters() as u64 * (3 + levels + state) * size_of::<f32>() as u64;
    // What each layer puts out, two of derivatives, the outputs turned to lanes.
    let of_block = panels(block_rows) * (widths().sum::<u64>() + 2 * u64::from(hidden))
        + panels(widths().max().unwrap_or(0)) * block_rows;
    let (of_input, of_order) = match training.recipe.batch {
        BatchSize::Full => (panels(rows), 0),
        BatchSize::Rows(_) => {
            let of_targets = block_rows * training.recipe.loss.target_bytes(network.outputs());
            (panels(block_rows), rows * size_of::<u32>() as u64 + of_targets)
        }
    };
    let lanes = of_block + of_input * u64::from(network.inputs());
    of_parameters + lanes * size_of::<Lanes>() as u64 + of_order
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
    /// The loss has no meaning for so many outputs.
    Outputs(NetworkError),
    /// The rows' targets are not for this loss, or this network.
    Targets(TargetsError),
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
            Self::Outputs(error) => error.fmt(f),
            Self::Targets(error) => error.fmt(f),
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
            Self::Outputs(error) => Some(error),
            Self::Targets(error) => Some(error),
            _ => None,
        }
    }
}

//! What a worker does with one task: trains a shard, or sums the gradients of blocks, into an object that is hashed on the
//! way. Owns the memory for it; does not know which task is whose, or what becomes of the result.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::core::TrainedUpdate;
use super::known_rows::KnownRows;
use super::work::{Handles, Start, Work, refusal};
use crate::config::can_be_had;
use crate::digest::{Digest, Hasher};
use crate::job::memory::{NodeMemory, in_mib};
use crate::job::{TaskId, TaskResult};
use crate::model::train::TrainError;
use crate::model::{ARITHMETIC, BatchSize, BlockRange, GradientSum, Helpers, Kernel, Rows, Trainer, Watch, block_rows};
use crate::store::BufferPool;
use crate::wire::ErrorCode;
use crate::wire::message::{Error, RowsSource, ShippedRange};
use crate::wire::object::{self, ObjectKind};

/// What came of a task, and at what speed (rows a second), where that was measured.
pub(super) type Outcome = (TrainedUpdate<Handles>, Option<f64>);

/// What tasks are done with.
#[derive(Clone)]
pub(super) struct TaskMeans {
    pub(super) kernel: Kernel,
    pub(super) buffers: BufferPool,
    /// Memory that a task may take.
    pub(super) memory_bytes: u64,
    /// After so long without a task, memory that is kept for the next is given back, but for so many bytes of objects.
    pub(super) rest_after: Duration,
    pub(super) resting_bytes: u64,
}

/// One worker's.
pub(super) struct TaskTrainer {
    trainer: Trainer,
    sum: GradientSum,
    known: KnownRows,
    means: TaskMeans,
}

impl TaskTrainer {
    pub(super) fn new(means: TaskMeans, helpers: Box<dyn Helpers>) -> TaskTrainer {
        let (trainer, sum) = (Trainer::with_helpers(means.kernel, helpers), GradientSum::new(means.kernel, 0));
        TaskTrainer { trainer, sum, known: KnownRows::default(), means }
    }

    /// Does a task.
    pub(super) fn train(&mut self, start: &Start) -> Result<Outcome, Error> {
        let Start { work, base, delay, .. } = start;
        if !delay.is_zero() && work.stop.1.recv_timeout(*delay).is_ok() {
            return Err(cancelled());
        }
        let network = &work.specified.training.network;
        let base = object::decode_parameters(ObjectKind::Weights, network, base)
            .map_err(|error| refusal(error.code(), format!("base weights: {error}")))?;
        match (&work.rows, &start.shards[..]) {
            (RowsSource::Shipped(digest), [shard]) => self.shard(work, &base, *digest, shard),
            (RowsSource::Blocks { epoch, ranges }, shards) => self.blocks(work, &base, *epoch, ranges, shards),
            _ => Err(refusal(ErrorCode::Internal, "a task without its rows")),
        }
    }

    /// Trains a shard.
    fn shard(&mut self, work: &Work, base: &[f32], digest: Digest, shard: &Arc<Vec<u8>>) -> Result<Outcome, Error> {
        let training = &work.specified.training;
        let network = &training.network;
        let rows = self.known.open(digest, &work.specified, shard)?;
        self.means.check(NodeMemory::of_shard(training, rows.rows()))?;
        let started = Instant::now();
        let TaskId { step, shard, .. } = work.name.task;
        // The update goes where it will be sent from, and is hashed while it is in the cache.
        let room = self.means.buffers.take(object::parameters_bytes(network));
        let mut update = object::begin_parameters(room, ObjectKind::Update, network);
        let (mut hasher, mut hashed_bytes) = (Hasher::default(), 0);
        let mut take = |part: &[f32]| {
            object::append_parameters(&mut update, part);
            let whole_bytes = Hasher::whole_blocks(update.len());
            hasher.update(&update[hashed_bytes..whole_bytes]);
            hashed_bytes = whole_bytes;
        };
        let trained = self
            .trainer
            .train_into(training, step, shard, base, &rows, &mut Watching(work), &mut take)
            .map_err(|error| not_trained(&error))?;
        hasher.update(&update[hashed_bytes..]);
        let rows_trained = f64::from(rows.rows()) * f64::from(trained.epochs);
        let made = Made { epochs: trained.epochs, loss: trained.loss, update: hasher.finish(), bytes: update };
        Ok(made.since(started, (trained.epochs > 0).then_some(rows_trained)))
    }

    /// Sums the gradients of blocks.
    fn blocks(
        &mut self,
        work: &Work,
        base: &[f32],
        epoch: u64,
        ranges: &[ShippedRange],
        shards: &[Arc<Vec<u8>>],
    ) -> Result<Outcome, Error> {
        let training = &work.specified.training;
        let network = &training.network;
        let mut parts: Vec<(BlockRange, Rows<'_>)> = Vec::with_capacity(ranges.len());
        for (range, shard) in ranges.iter().zip(shards) {
            let rows = self.known.open(range.shard, &work.specified, shard)?;
            parts.push((range.blocks, rows));
        }
        let shard_rows: Vec<u32> = parts.iter().map(|(_, rows)| rows.rows()).collect();
        self.means.check(NodeMemory::of_sums(training, &shard_rows))?;
        let parts: Vec<(BlockRange, &Rows<'_>)> = parts.iter().map(|(blocks, rows)| (*blocks, rows)).collect();
        let started = Instant::now();
        self.trainer
            .sum_gradients(training, epoch, &parts, base, &mut Watching(work), &mut self.sum)
            .map_err(|error| not_trained(&error))?;
        // The usual size; where it is larger, the memory grows.
        let room = self.means.buffers.take(2 * object::parameters_bytes(network));
        let bytes = object::encode_sum(room, network, &self.sum);
        let made = Made { epochs: 0, loss: self.sum.loss(), update: Digest::of(&bytes), bytes };
        let block_rows = match training.recipe.batch {
            BatchSize::Rows(batch) => block_rows(network, batch.get()),
            BatchSize::Full => 0,
        };
        let rows_trained: u32 = parts.iter().map(|(blocks, rows)| blocks.rows(block_rows, rows.rows())).sum();
        Ok(made.since(started, Some(rows_trained.into())))
    }
}

/// What came of a task.
struct Made {
    epochs: u32,
    loss: f64,
    update: Digest,
    bytes: Vec<u8>,
}

impl Made {
    /// With the time that it took, and the speed at which so many rows were trained on.
    fn since(self, started: Instant, rows: Option<f64>) -> Outcome {
        let Made { epochs, loss, update, bytes } = self;
        let spent = started.elapsed();
        let result =
            TaskResult { epochs, loss, train_us: spent.as_micros() as u64, update, update_bytes: bytes.len() as u64 };
        let speed = rows.map(|rows| rows / spent.as_secs_f64().max(1e-9));
        (TrainedUpdate { result, delayed: Duration::ZERO, data: Arc::new(bytes) }, speed)
    }
}

fn not_trained(error: &TrainError) -> Error {
    match error {
        TrainError::Cancelled => cancelled(),
        TrainError::Arithmetic { got } => {
            refusal(ErrorCode::Arithmetic, error.to_string()).with_numbers((*got).into(), ARITHMETIC.into())
        }
        _ => refusal(ErrorCode::Training, error.to_string()),
    }
}

impl TaskMeans {
    /// Refuses a task that takes more memory than it may, or than the system gives, before any of it is taken.
    fn check(&self, memory: NodeMemory) -> Result<(), Error> {
        let (needed, allowed) = (memory.of_workers(1), self.memory_bytes);
        let why = match needed {
            _ if needed > allowed => format!("{} are allowed: start the node with more (--memory)", in_mib(allowed)),
            _ if !can_be_had(needed) => {
                "this machine does not give as much: let the node have more (ulimit -v)".to_owned()
            }
            _ => return Ok(()),
        };
        let text = format!(
            "the task takes {} of memory, and {why}, or take more shards, a smaller batch or narrower layers",
            in_mib(needed)
        );
        Err(refusal(ErrorCode::Memory, text).with_numbers(needed, allowed))
    }
}

/// Notes how far a task is, and stops it between batches when nobody wants it any more.
struct Watching<'a>(&'a Work);

impl Watch for Watching<'_> {
    fn batch_done(&mut self, done: u64, planned: u64) -> ControlFlow<()> {
        let Watching(work) = self;
        work.batches_done.store(done, Ordering::Relaxed);
        work.batches_planned.store(planned, Ordering::Relaxed);
        if work.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn cancelled() -> Error {
    refusal(ErrorCode::Cancelled, "the task was cancelled")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BatchSize, Network, Recipe, Training};

    #[test]
    fn a_task_that_would_take_too_much_memory_is_refused() {
        let training = |inputs, hidden, batch| Training {
            arithmetic: ARITHMETIC,
            network: Network::new(inputs, &[hidden], 2).unwrap(),
            recipe: Recipe { batch, ..Recipe::DEFAULT },
            seed: 1,
            class_weights: Vec::new(),
        };
        let means = TaskMeans {
            kernel: Kernel::best(),
            buffers: BufferPool::default(),
            memory_bytes: 1 << 28,
            rest_after: Duration::ZERO,
            resting_bytes: 0,
        };
        let small = training(1 << 10, 16, Recipe::DEFAULT.batch);
        assert_eq!(means.check(NodeMemory::of_shard(&small, 10_000)), Ok(()));
        let wide = training(1 << 10, 13_000, Recipe::DEFAULT.batch);
        for memory in [NodeMemory::of_shard(&wide, 10), NodeMemory::of_sums(&wide, &[10])] {
            let refused = means.check(memory).unwrap_err();
            assert_eq!(
                (refused.code, refused.got, refused.allowed),
                (ErrorCode::Memory, memory.of_workers(1), 1 << 28)
            );
            assert!(refused.text.contains("--memory"), "{refused}");
        }
        // Whatever is allowed, the system may not have it.
        let all = TaskMeans { memory_bytes: u64::MAX, ..means };
        let long = training(1 << 20, 1, BatchSize::Full);
        assert!(all.check(NodeMemory::of_shard(&long, 1 << 30)).unwrap_err().text.contains("does not give as much"));
    }
}

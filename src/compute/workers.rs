//! The threads that train. Owns the training of tasks; which task is trained when, and what becomes of its result, the core
//! decides. A worker without a task helps another with its batches (`idle_workers`).

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::core::{Event, TrainedUpdate};
use super::driver::Driver;
use super::error::StartError;
use super::idle_workers::IdleWorkers;
use super::work::{Handles, Start, Work, refusal, say_task};
use crate::digest::Hasher;
use crate::job::{TaskId, TaskResult};
use crate::model::conformance::{self, Difference};
use crate::model::train::{TASK_BYTES_MAX, TrainError, working_bytes};
use crate::model::{ARITHMETIC, Kernel, Rows, Trainer, Training, Watch};
use crate::net::EventLog;
use crate::store::BufferPool;
use crate::wire::ErrorCode;
use crate::wire::message::Error;
use crate::wire::object::{self, ObjectKind};

/// What worker threads have found out about themselves. (A channel of its own type would be 5 kB of machine code.)
#[derive(Default)]
struct Proofs {
    told: Mutex<(u32, Option<Difference>)>,
    more: Condvar,
}

impl Proofs {
    fn tell(&self, proof: Result<(), Difference>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told = (told.0 + 1, told.1.or(proof.err()));
        self.more.notify_one();
    }

    /// Waits for those of so many threads.
    fn of_all(&self, count: u32) -> Result<(), Difference> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let told = self.more.wait_while(told, |told| told.0 < count).unwrap_or_else(PoisonError::into_inner);
        told.1.map_or(Ok(()), Err)
    }
}

/// The worker threads.
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
    /// Dropping it ends them.
    stop: Sender<()>,
}

impl Workers {
    /// Starts so many, once each of their threads has proved that it computes as it must. They take tasks from `starts`.
    pub(super) fn start(
        count: u32,
        kernel: Kernel,
        starts: &Receiver<Start>,
        driver: &Arc<Driver>,
        buffers: &BufferPool,
        event_log: &EventLog,
    ) -> Result<Workers, StartError> {
        let (stop, stopped) = bounded(0);
        let help = IdleWorkers::new(count as usize);
        let proofs = Arc::new(Proofs::default());
        let mut threads = Vec::new();
        for index in 0..count {
            let worker = Worker {
                trainer: Trainer::with_helpers(kernel, help.helpers()),
                kernel,
                help: help.clone(),
                starts: starts.clone(),
                stopped: stopped.clone(),
                driver: driver.clone(),
                buffers: buffers.clone(),
                event_log: event_log.clone(),
            };
            let own_proofs = proofs.clone();
            let run = move || {
                let proof = conformance::prove_thread(kernel);
                own_proofs.tell(proof);
                if proof.is_ok() {
                    worker.run();
                }
            };
            threads.push(Builder::new().name(format!("train {index}")).spawn(run).map_err(StartError::Thread)?);
        }
        proofs.of_all(count).map_err(StartError::Arithmetic)?;
        Ok(Workers { threads, stop })
    }

    /// Waits for the threads; what they train is given up if the core says so.
    pub(super) fn stop(self) {
        drop(self.stop);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

struct Worker {
    trainer: Trainer,
    kernel: Kernel,
    help: IdleWorkers,
    starts: Receiver<Start>,
    /// Disconnected when the node stops.
    stopped: Receiver<()>,
    driver: Arc<Driver>,
    buffers: BufferPool,
    event_log: EventLog,
}

impl Worker {
    fn run(mut self) {
        loop {
            select! {
                recv(self.starts) -> start => match start {
                    Ok(start) => self.work(start),
                    Err(_) => return,
                },
                // A task of its own comes first.
                recv(self.help.calls()) -> _ => self.help.give(|| self.starts.is_empty()),
                recv(self.stopped) -> _ => return,
            }
        }
    }

    fn work(&mut self, start: Start) {
        let result = catch_unwind(AssertUnwindSafe(|| self.train(&start)));
        let result = result.unwrap_or_else(|_| {
            // A panic is a bug of ours; the trainer's memory may be half written.
            self.trainer = Trainer::with_helpers(self.kernel, self.help.helpers());
            Err(refusal(ErrorCode::Internal, "training met a fault of the program's own"))
        });
        let Start { task, work, base, shard, .. } = start;
        say_task(&self.event_log, &work.train.name, || match &result {
            Ok((TrainedUpdate { result, .. }, _)) => {
                format!("trained in {:.1} ms, loss {:.4}", result.train_us as f64 / 1e3, result.loss)
            }
            Err(error) => format!("not trained: {error}"),
        });
        // Before anybody hears of the result: the next task may want their memory.
        drop((work, base, shard));
        let (result, rows_per_second) = match result {
            Ok((trained, speed)) => (Ok(trained), speed),
            Err(error) => (Err(error), None),
        };
        self.driver.report(Event::Ended { task, result, rows_per_second });
    }

    /// Trains a task: what came of it, and at what speed, where that was measured.
    fn train(&mut self, start: &Start) -> Result<(TrainedUpdate<Handles>, Option<f64>), Error> {
        let Start { work, base, shard, delay, .. } = start;
        let train = &work.train;
        if !delay.is_zero() && work.stop.1.recv_timeout(*delay).is_ok() {
            return Err(cancelled());
        }
        let network = &train.training.network;
        let base = object::decode_parameters(ObjectKind::Weights, network, base)
            .map_err(|error| refusal(error.code(), format!("base weights: {error}")))?;
        let (values, targets) = object::decode_rows(network, train.training.recipe.loss, shard)
            .map_err(|error| refusal(error.code(), format!("shard: {error}")))?;
        let rows = Rows::new(network.inputs(), values, targets)
            .map_err(|error| refusal(ErrorCode::ObjectMalformed, format!("shard: {error}")))?;
        check_memory(&train.training, rows.rows())?;
        let started = Instant::now();
        let TaskId { step, shard, .. } = train.name.task;
        // The update goes where it will be sent from, and is hashed while it is in the cache.
        let room = self.buffers.take(object::parameters_bytes(network));
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
            .train_into(&train.training, step, shard, &base, &rows, &mut Watching(work), &mut take)
            .map_err(|error| match error {
                TrainError::Cancelled => cancelled(),
                TrainError::Arithmetic { got } => {
                    refusal(ErrorCode::Arithmetic, error.to_string()).with_numbers(got.into(), ARITHMETIC.into())
                }
                _ => refusal(ErrorCode::Training, error.to_string()),
            })?;
        let spent = started.elapsed();
        let rows_trained = f64::from(rows.rows()) * f64::from(trained.epochs);
        let speed = (trained.epochs > 0).then(|| rows_trained / spent.as_secs_f64().max(1e-9));
        hasher.update(&update[hashed_bytes..]);
        let (epochs, loss, train_us) = (trained.epochs, trained.loss, spent.as_micros() as u64);
        let data = Arc::new(update);
        let (update, update_bytes) = (hasher.finish(), data.len() as u64);
        let result = TaskResult { epochs, loss, train_us, update, update_bytes };
        Ok((TrainedUpdate { result, data }, speed))
    }
}

/// Refuses a task that takes more memory than one may, before any of it is taken.
fn check_memory(training: &Training, rows: u32) -> Result<(), Error> {
    let bytes = working_bytes(training, rows);
    if bytes > TASK_BYTES_MAX {
        let text = format!(
            "training the task takes {bytes} bytes of memory, and at most {TASK_BYTES_MAX} are given to one: take more \
             shards, smaller batches or narrower layers"
        );
        return Err(refusal(ErrorCode::Training, text).with_numbers(bytes, TASK_BYTES_MAX));
    }
    Ok(())
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
    use crate::model::{BatchSize, Network, Recipe};

    #[test]
    fn a_task_that_would_take_too_much_memory_is_refused() {
        let training = |inputs, hidden, batch| Training {
            arithmetic: ARITHMETIC,
            network: Network::new(inputs, &[hidden], 2).unwrap(),
            recipe: Recipe { batch, ..Recipe::DEFAULT },
            seed: 1,
        };
        let largest = training(1 << 10, 130_000, Recipe::DEFAULT.batch);
        assert_eq!(check_memory(&largest, 1_000_000), Ok(()));
        let long = training(1 << 10, 16, BatchSize::Full);
        assert_eq!(check_memory(&long, 100_000), Ok(()));
        let refused = check_memory(&long, 1 << 30).unwrap_err();
        assert_eq!((refused.code, refused.allowed), (ErrorCode::Training, TASK_BYTES_MAX));
    }
}

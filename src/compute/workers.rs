//! The threads that train. Owns the queue of tasks whose data is here, their training and their answers; does not know
//! where data comes from. A worker without a task helps another with its batches (`crew`).

use std::fmt::Display;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded, select};

use super::board::Line;
use super::crew::Help;
use super::duties::{Duties, Duty};
use super::held::{Held, Key, Outcome};
use super::kept::Kept;
use super::load::InjectedLoad;
use super::serving::Recipient;
use super::{CLOSING, StartError};
use crate::digest::Hasher;
use crate::job::{TaskId, Training};
use crate::model::conformance::{self, Difference};
use crate::model::train::{TASK_BYTES_MAX, TrainError, working_bytes};
use crate::model::{ARITHMETIC, Kernel, Rows, Trainer, Watch};
use crate::net::Feed;
use crate::wire::message::{Error, TaskName, Train};
use crate::wire::object::{self, ObjectKind};
use crate::wire::{ErrorCode, MessageType};

/// Tasks that may wait for a worker; one more is refused as BUSY.
pub(super) const QUEUE_TASKS_MAX: usize = 4_096;

/// A task whose data is here.
pub(super) struct Task {
    pub(super) train: Train,
    pub(super) key: Key,
    pub(super) base: Arc<Vec<u8>>,
    pub(super) shard: Arc<Vec<u8>>,
    pub(super) ticket: Ticket,
    pub(super) duty: Duty,
    pub(super) line: Line,
    pub(super) feed: Feed,
    /// Who asked, and as what.
    pub(super) to: Recipient,
    /// Disconnected when the task is no longer wanted.
    pub(super) cancelled: Receiver<()>,
    pub(super) progress: Arc<Progress>,
}

impl Task {
    /// Gives the task back: the node ends before it could train it.
    pub(super) fn hand_back(self) {
        say_task(&self.feed, &self.train.name, || "handed back");
        self.to.answer(Err(closing()));
    }
}

/// How far a task is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) running: AtomicU32,
    pub(super) batches_done: AtomicU64,
    pub(super) batches_planned: AtomicU64,
}

/// The node's load at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) running: u32,
    pub(super) waiting: u32,
    pub(super) done: u64,
    pub(super) rows_per_second: f64,
}

#[derive(Debug, Default)]
struct Tally {
    /// Tasks accepted and not yet answered.
    accepted: AtomicU32,
    running: AtomicU32,
    done: AtomicU64,
    /// Bits of an f64.
    rows_per_second: AtomicU64,
}

/// A place among the accepted tasks; given back when dropped.
pub(super) struct Ticket(Arc<Tally>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.accepted.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Where tasks wait for a worker.
#[derive(Clone)]
pub(super) struct Queue {
    /// Boxed: room for all that may wait is taken at once.
    tasks: Sender<Box<Task>>,
    tally: Arc<Tally>,
    workers: u32,
}

impl Queue {
    pub(super) fn workers(&self) -> u32 {
        self.workers
    }

    pub(super) fn counts(&self) -> Counts {
        let running = self.tally.running.load(Ordering::Acquire);
        Counts {
            running,
            waiting: self.tally.accepted.load(Ordering::Acquire).saturating_sub(running),
            done: self.tally.done.load(Ordering::Acquire),
            rows_per_second: f64::from_bits(self.tally.rows_per_second.load(Ordering::Acquire)),
        }
    }

    /// A place for a task, whatever the load.
    pub(super) fn accept(&self) -> Ticket {
        self.tally.accepted.fetch_add(1, Ordering::AcqRel);
        Ticket(self.tally.clone())
    }

    /// A place for a task, if a worker is free for it.
    pub(super) fn accept_if_free(&self) -> Option<Ticket> {
        let free = |accepted| (accepted < self.workers).then_some(accepted + 1);
        self.tally.accepted.fetch_update(Ordering::AcqRel, Ordering::Acquire, free).ok()?;
        Some(Ticket(self.tally.clone()))
    }

    /// Queues a task; gives it back where too many wait.
    pub(super) fn push(&self, task: Task) -> Result<(), Box<Task>> {
        self.tasks.try_send(Box::new(task)).map_err(TrySendError::into_inner)
    }
}

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
    queued: Receiver<Box<Task>>,
    /// Dropping it ends them.
    stop: Sender<()>,
}

impl Workers {
    /// Starts so many, once each of their threads has proved that it computes as it must.
    pub(super) fn start(
        count: u32,
        kernel: Kernel,
        load: InjectedLoad,
        duties: Duties,
        held: &Arc<Held<Recipient>>,
    ) -> Result<(Workers, Queue), StartError> {
        let (tasks, queued) = bounded(QUEUE_TASKS_MAX);
        let (stop, stopped) = bounded(0);
        let tally = Arc::new(Tally::default());
        let help = Help::new(count as usize);
        let proofs = Arc::new(Proofs::default());
        let mut threads = Vec::new();
        for index in 0..count {
            let worker = Worker {
                trainer: Trainer::with_crew(kernel, help.crew()),
                kernel,
                help: help.clone(),
                load: load.clone(),
                tally: tally.clone(),
                duties: duties.clone(),
                held: held.clone(),
                stopped: stopped.clone(),
            };
            let (queued, own_proofs) = (queued.clone(), proofs.clone());
            let run = move || {
                let proof = conformance::prove_thread(kernel);
                own_proofs.tell(proof);
                if proof.is_ok() {
                    worker.run(&queued);
                }
            };
            threads.push(Builder::new().name(format!("train {index}")).spawn(run).map_err(StartError::Thread)?);
        }
        proofs.of_all(count).map_err(StartError::Arithmetic)?;
        Ok((Workers { threads, queued, stop }, Queue { tasks, tally, workers: count }))
    }

    /// Gives back the tasks that no worker has begun.
    pub(super) fn hand_back_queued(&self) {
        self.queued.try_iter().for_each(|task| task.hand_back());
    }

    /// Gives up what is being trained, and waits for the threads.
    pub(super) fn stop(self) {
        drop(self.stop);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// What training a task takes.
struct Work<'a> {
    train: &'a Train,
    base: &'a [u8],
    shard: &'a [u8],
    cancelled: &'a Receiver<()>,
    progress: &'a Progress,
    /// Has memory for the update, as long as the link is there that asked.
    kept: Weak<Kept>,
}

struct Worker {
    trainer: Trainer,
    kernel: Kernel,
    help: Help,
    load: InjectedLoad,
    tally: Arc<Tally>,
    duties: Duties,
    held: Arc<Held<Recipient>>,
    /// Disconnected when the node stops.
    stopped: Receiver<()>,
}

impl Worker {
    fn run(mut self, queued: &Receiver<Box<Task>>) {
        loop {
            select! {
                recv(queued) -> task => match task {
                    Ok(task) => self.answer(*task),
                    Err(_) => return,
                },
                // A task of its own comes first.
                recv(self.help.calls()) -> _ => self.help.give(|| queued.is_empty()),
                recv(self.stopped) -> _ => return,
            }
        }
    }

    fn answer(&mut self, task: Task) {
        if self.duties.are_draining() {
            return task.hand_back();
        }
        self.tally.running.fetch_add(1, Ordering::AcqRel);
        let Task { train, key, base, shard, ticket, duty, line, feed, to, cancelled, progress } = task;
        progress.running.store(1, Ordering::Release);
        let work = Work {
            train: &train,
            base: &base,
            shard: &shard,
            cancelled: &cancelled,
            progress: &progress,
            kept: Arc::downgrade(&to.kept),
        };
        self.held.begin(key, &progress, to.serving, to);
        let answer = catch_unwind(AssertUnwindSafe(|| self.train(&work)));
        let answer = answer.unwrap_or_else(|_| {
            // A panic is a bug of ours; the trainer's memory may be half written.
            self.trainer = Trainer::with_crew(self.kernel, self.help.crew());
            Err(refusal(ErrorCode::Internal, "training met a fault of the program's own"))
        });
        // The worker counts as free before the answer leaves: the next task may be on its way the moment after.
        self.tally.running.fetch_sub(1, Ordering::AcqRel);
        self.tally.done.fetch_add(1, Ordering::AcqRel);
        let to = self.held.end(&progress, answer.as_ref().ok());
        let name = to.as_ref().map_or(&train.name, |to| &to.name);
        say_task(&feed, name, || match &answer {
            Ok(trained) => format!("trained in {:.1} ms, loss {:.4}", trained.train_us as f64 / 1e3, trained.loss),
            Err(error) => format!("not trained: {error}"),
        });
        if answer.is_ok() {
            line.done();
        }
        drop((ticket, line));
        // Where a link has ended nobody wants an answer: the result stays, for whoever asks for it.
        if let Some(to) = to {
            to.answer(answer);
        }
        drop(duty);
    }

    fn train(&mut self, work: &Work<'_>) -> Result<Outcome, Error> {
        let Work { train, base, shard, cancelled, progress, kept } = work;
        self.wait_out_load(cancelled)?;
        let network = &train.training.network;
        let base = object::decode_parameters(ObjectKind::Weights, network, base)
            .map_err(|error| refusal(error.code(), format!("base weights: {error}")))?;
        let (values, labels) = object::decode_rows(network.inputs(), shard)
            .map_err(|error| refusal(error.code(), format!("shard: {error}")))?;
        let rows = Rows::new(network.inputs(), values, labels, network.classes())
            .map_err(|error| refusal(ErrorCode::ObjectMalformed, format!("shard: {error}")))?;
        check_memory(&train.training, rows.rows())?;
        let started = Instant::now();
        let TaskId { step, shard, .. } = train.name.task;
        let mut watch = Watching { progress, cancelled, stopped: &self.stopped };
        // The update goes where it will be sent from, and is hashed while it is in the cache.
        let room = kept.upgrade().map(|kept| kept.room(object::parameters_bytes(network))).unwrap_or_default();
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
            .train_into(&train.training, step, shard, &base, &rows, &mut watch, &mut take)
            .map_err(|error| match error {
                TrainError::Cancelled => refusal(ErrorCode::Cancelled, "the task was cancelled"),
                TrainError::Arithmetic { got } => {
                    refusal(ErrorCode::Arithmetic, error.to_string()).with_numbers(got.into(), ARITHMETIC.into())
                }
                _ => refusal(ErrorCode::Training, error.to_string()),
            })?;
        let spent = started.elapsed();
        if trained.epochs > 0 {
            let speed = f64::from(rows.rows()) * f64::from(trained.epochs) / spent.as_secs_f64().max(1e-9);
            self.tally.rows_per_second.store(speed.to_bits(), Ordering::Release);
        }
        hasher.update(&update[hashed_bytes..]);
        let (epochs, loss, train_us) = (trained.epochs, trained.loss, spent.as_micros() as u64);
        Ok(Outcome { epochs, loss, train_us, update: hasher.finish(), bytes: Arc::new(update) })
    }

    /// Sits out the injected delay, if there is one, unless the task is cancelled.
    fn wait_out_load(&self, cancelled: &Receiver<()>) -> Result<(), Error> {
        let Some(delay) = self.load.delay() else { return Ok(()) };
        select! {
            recv(cancelled) -> _ => {}
            recv(self.stopped) -> _ => {}
            default(delay) => return Ok(()),
        }
        Err(refusal(ErrorCode::Cancelled, "the task was cancelled"))
    }
}

/// Says what has become of a task.
pub(super) fn say_task<S: Display>(feed: &Feed, name: &TaskName, sentence: impl FnOnce() -> S) {
    let TaskId { job, step, shard } = name.task;
    feed.say("task", job, || format!("round {}, shard {shard}, attempt {}: {}", step + 1, name.attempt, sentence()));
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
struct Watching<'a> {
    progress: &'a Progress,
    cancelled: &'a Receiver<()>,
    stopped: &'a Receiver<()>,
}

impl Watch for Watching<'_> {
    fn batch_done(&mut self, done: u64, planned: u64) -> ControlFlow<()> {
        self.progress.batches_done.store(done, Ordering::Relaxed);
        self.progress.batches_planned.store(planned, Ordering::Relaxed);
        let ended = |signal: &Receiver<()>| signal.try_recv() == Err(TryRecvError::Disconnected);
        if ended(self.cancelled) || ended(self.stopped) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The answer to a task that a node which ends does not train.
pub(super) fn closing() -> Error {
    refusal(ErrorCode::Closing, CLOSING).retryable()
}

fn refusal(code: ErrorCode, text: impl Into<String>) -> Error {
    Error::new(code, MessageType::Train as u8, text)
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

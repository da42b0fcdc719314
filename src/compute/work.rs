//! What links, driver and workers hand to each other: a task's work, what the core passes on, and the words for what is not
//! trained. Knows none of the three.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::core::{Content, TaskKey};
use super::specified::Specified;
use crate::digest::Digest;
use crate::job::{Attempt, TaskId};
use crate::net::{EventLog, Fetching};
use crate::wire::message::{Error, RowsSource};
use crate::wire::{ErrorCode, MessageType};

/// Why a node that ends takes no task and closes its links.
pub(super) const CLOSING: &str = "the node is shutting down";

/// What the core passes on between links, workers and the store.
#[derive(Clone, Debug)]
pub(super) struct Handles;

impl Content for Handles {
    type Work = Arc<Work>;
    type Data = Arc<Vec<u8>>;
    type Failure = Error;
}

/// What a node remembers of its requests: it only ever fetches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context(pub(super) Digest);

impl From<Fetching> for Context {
    fn from(Fetching(digest): Fetching) -> Context {
        Context(digest)
    }
}

/// What is to be trained, how far that is, and the way to stop it.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) name: Attempt,
    pub(super) rows: RowsSource,
    pub(super) specified: Arc<Specified>,
    pub(super) batches_done: AtomicU64,
    pub(super) batches_planned: AtomicU64,
    /// Holds something once the task is to stop.
    pub(super) stop: (Sender<()>, Receiver<()>),
}

impl Work {
    pub(super) fn new(name: Attempt, rows: RowsSource, specified: Arc<Specified>) -> Work {
        let (batches_done, batches_planned) = (AtomicU64::new(0), AtomicU64::new(0));
        Work { name, rows, specified, batches_done, batches_planned, stop: bounded(1) }
    }

    /// Whoever trains it stops soon.
    pub(super) fn stop(&self) {
        let _ = self.stop.0.try_send(());
    }

    /// Batches done, and planned; 0 until the training begins.
    pub(super) fn batches(&self) -> (u64, u64) {
        (self.batches_done.load(Ordering::Relaxed), self.batches_planned.load(Ordering::Relaxed))
    }

    pub(super) fn is_stopped(&self) -> bool {
        !self.stop.1.is_empty()
    }
}

/// A task for whichever worker is free.
pub(super) struct Start {
    pub(super) task: TaskKey,
    pub(super) work: Arc<Work>,
    pub(super) base: Arc<Vec<u8>>,
    pub(super) shards: Vec<Arc<Vec<u8>>>,
    /// Injected load: so long the worker does nothing first.
    pub(super) delay: Duration,
}

/// The answer to a task that is not trained.
pub(super) fn refusal(code: ErrorCode, text: impl Into<String>) -> Error {
    Error::new(code, MessageType::Train as u8, text)
}

/// Says what has become of a task.
pub(super) fn say_task<S: Display>(event_log: &EventLog, name: &Attempt, sentence: impl FnOnce() -> S) {
    let TaskId { job, step, shard } = name.task;
    event_log.say("task", job, || format!("step {}, task {shard}, attempt {}: {}", step + 1, name.attempt, sentence()));
}

//! What a node has trained and is training, by what the result depends on, so that no coordinator has a task trained
//! twice because its link was cut or it was started anew. Owns which results are kept, for how long and for whom, and to
//! whom a task in training belongs; does not train, and does not know how anybody is answered.
//!
//! A result stays until a task of a later step of its job comes, for then the earlier step is merged; or until newer ones
//! take its place. It is given to another link than the one that has it: who asks again over the same link is not content
//! with what it got, and the task is trained again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Sender;

use super::workers::Progress;
use crate::digest::Digest;
use crate::job::{JobId, TaskId};
use crate::store::Spares;
use crate::wire::message::{HeldResult, Train};
use crate::wire::specification;

/// Results that are kept, at most.
const RESULTS_MAX: usize = 64;

/// Everything that a task's result depends on: where two are equal, so are the results, to the last bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    task: TaskId,
    base: Digest,
    /// Of the rows' digest and the training fields as they travel.
    rest: Digest,
}

impl Key {
    /// The key of a task on these rows.
    pub(super) fn of(train: &Train, shard: &Digest) -> Key {
        let training = specification::encode_training(&train.training);
        Key { task: train.name.task, base: train.base, rest: Digest::of_parts(&[&shard.0, &training]) }
    }
}

/// What came of a task, whoever it is for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) epochs: u32,
    pub(super) loss: f64,
    pub(super) train_us: u64,
    pub(super) update: Digest,
    pub(super) bytes: Arc<Vec<u8>>,
}

/// Results and tasks in training. `R` is who is answered: a request of a link.
pub(super) struct Held<R> {
    bytes_max: u64,
    spares: Spares,
    reused: AtomicU64,
    inner: Mutex<Inner<R>>,
}

struct Inner<R> {
    /// In training.
    runs: Vec<Run<R>>,
    /// The least recently used first.
    results: VecDeque<Result>,
    /// Of their updates.
    bytes: u64,
}

struct Run<R> {
    key: Key,
    progress: Arc<Progress>,
    to: To<R>,
}

/// Whose a task in training is.
enum To<R> {
    /// A request over this link.
    Link(u64, R),
    /// A link's that has ended. Dropping the sender stops the training.
    Nobody { cancel: Sender<()> },
}

struct Result {
    key: Key,
    outcome: Outcome,
    /// The link that has it, if any.
    link: Option<u64>,
}

/// What there is of a task that is asked for.
pub(super) enum Found<R> {
    /// Its result; and who has asked.
    Result(Outcome, R),
    /// It is in training, and from now on for whoever has asked. Dropping the sender stops it.
    Running(Arc<Progress>, Sender<()>),
    /// Nothing.
    Nothing(R),
}

impl<R> Held<R> {
    /// Keeps updates of so many bytes in all.
    pub(super) fn new(bytes_max: u64, spares: Spares) -> Held<R> {
        let inner = Inner { runs: Vec::new(), results: VecDeque::new(), bytes: 0 };
        Held { bytes_max, spares, reused: AtomicU64::new(0), inner: Mutex::new(inner) }
    }

    /// A task begins to be trained, for a request over this link.
    pub(super) fn begin(&self, key: Key, progress: &Arc<Progress>, link: u64, to: R) {
        self.inner().runs.push(Run { key, progress: progress.clone(), to: To::Link(link, to) });
    }

    /// Its training has ended, well or not: who is to be answered, if anybody. A result is kept from now on.
    pub(super) fn end(&self, progress: &Arc<Progress>, outcome: Option<&Outcome>) -> Option<R> {
        let mut inner = self.inner();
        let place = inner.runs.iter().position(|run| Arc::ptr_eq(&run.progress, progress))?;
        let Run { key, to, .. } = inner.runs.swap_remove(place);
        let (link, to) = match to {
            To::Link(link, to) => (Some(link), Some(to)),
            To::Nobody { .. } => (None, None),
        };
        if let Some(outcome) = outcome {
            self.keep(&mut inner, Result { key, outcome: outcome.clone(), link });
        }
        to
    }

    /// A link has ended that this task was for: if it is in training it goes on; dropped, `cancel` would stop it.
    pub(super) fn leave(&self, progress: &Arc<Progress>, cancel: Sender<()>) {
        let mut inner = self.inner();
        if let Some(run) = inner.runs.iter_mut().find(|run| Arc::ptr_eq(&run.progress, progress)) {
            run.to = To::Nobody { cancel };
        }
    }

    /// A task is asked for over this link. Whatever is of earlier steps of its job is let go.
    pub(super) fn ask(&self, key: &Key, link: u64, to: R) -> Found<R> {
        let mut inner = self.inner();
        let TaskId { job, step, .. } = key.task;
        let is_passed = |other: &Key| other.task.job == job && other.task.step < step;
        inner.runs.retain_mut(|run| match run.to {
            // It stops when its sender is dropped, and finds nobody to answer.
            To::Nobody { .. } => !is_passed(&run.key),
            To::Link(..) => true,
        });
        while let Some(place) = inner.results.iter().position(|result| is_passed(&result.key)) {
            self.drop_result(&mut inner, place);
        }
        let mut results = inner.results.iter();
        if let Some(place) = results.position(|result| result.key == *key && result.link != Some(link))
            && let Some(mut result) = inner.results.remove(place)
        {
            result.link = Some(link);
            let outcome = result.outcome.clone();
            inner.results.push_back(result);
            self.reused.fetch_add(1, Ordering::Relaxed);
            return Found::Result(outcome, to);
        }
        let is_free = |run: &&mut Run<R>| run.key == *key && matches!(run.to, To::Nobody { .. });
        let Some(run) = inner.runs.iter_mut().find(is_free) else { return Found::Nothing(to) };
        match std::mem::replace(&mut run.to, To::Link(link, to)) {
            To::Nobody { cancel } => {
                self.reused.fetch_add(1, Ordering::Relaxed);
                Found::Running(run.progress.clone(), cancel)
            }
            To::Link(_, to) => Found::Nothing(to),
        }
    }

    /// What there is of a job for this link, in training or done.
    pub(super) fn of_job(&self, job: JobId, link: u64) -> Vec<HeldResult> {
        let inner = self.inner();
        let results = inner.results.iter().filter(|result| result.link != Some(link)).map(|result| &result.key);
        let runs = inner.runs.iter().filter(|run| matches!(run.to, To::Nobody { .. })).map(|run| &run.key);
        let of_job = results.chain(runs).filter(|key| key.task.job == job);
        of_job.map(|key| HeldResult { step: key.task.step, shard: key.task.shard, base: key.base }).collect()
    }

    /// Results that are kept.
    pub(super) fn count(&self) -> usize {
        self.inner().results.len()
    }

    /// Tasks that did not have to be trained again.
    pub(super) fn reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }

    fn keep(&self, inner: &mut Inner<R>, result: Result) {
        if let Some(place) = inner.results.iter().position(|other| other.key == result.key) {
            self.drop_result(inner, place);
        }
        inner.bytes += result.outcome.bytes.len() as u64;
        inner.results.push_back(result);
        while inner.bytes > self.bytes_max || inner.results.len() > RESULTS_MAX {
            self.drop_result(inner, 0);
        }
    }

    fn drop_result(&self, inner: &mut Inner<R>, place: usize) {
        let Some(Result { outcome, .. }) = inner.results.remove(place) else { return };
        inner.bytes -= outcome.bytes.len() as u64;
        // Memory that a reader still holds is put there by whoever is the last.
        self.spares.put(outcome.bytes);
    }

    fn inner(&self) -> MutexGuard<'_, Inner<R>> {
        // Every change is whole before anything can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

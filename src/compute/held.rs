//! What a node has trained and is training, by what the result depends on, so that no coordinator has a task trained
//! twice because its link was cut or it was started anew. Owns which results are kept, for how long and for whom, and to
//! whom a task in training belongs; does not train, and does not know how anybody is answered.
//!
//! A result stays until a task of a later step of its job comes, for then the earlier step is merged; or until newer ones
//! take its place. It is given to another link than the one that has it: who asks again over the same link is not content
//! with what it got, and the task is trained again.

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
    results: Vec<Result>,
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
        let inner = Inner { runs: Vec::new(), results: Vec::new(), bytes: 0 };
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
        if let Some(place) = results.position(|result| result.key == *key && result.link != Some(link)) {
            let mut result = inner.results.remove(place);
            result.link = Some(link);
            let outcome = result.outcome.clone();
            inner.results.push(result);
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
        if result.outcome.bytes.len() as u64 > self.bytes_max {
            return;
        }
        if let Some(place) = inner.results.iter().position(|other| other.key == result.key) {
            self.drop_result(inner, place);
        }
        inner.bytes += result.outcome.bytes.len() as u64;
        inner.results.push(result);
        while inner.bytes > self.bytes_max || inner.results.len() > RESULTS_MAX {
            self.drop_result(inner, 0);
        }
    }

    fn drop_result(&self, inner: &mut Inner<R>, place: usize) {
        let Result { outcome, .. } = inner.results.remove(place);
        inner.bytes -= outcome.bytes.len() as u64;
        // Memory that a reader still holds is put there by whoever is the last.
        self.spares.put(outcome.bytes);
    }

    fn inner(&self) -> MutexGuard<'_, Inner<R>> {
        // Every change is whole before anything can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, TryRecvError, bounded};

    use super::*;

    const JOB: JobId = JobId(7);

    fn key(step: u64, shard: u32) -> Key {
        Key { task: TaskId { job: JOB, step, shard }, base: Digest::of(&step.to_le_bytes()), rest: Digest([3; 32]) }
    }

    fn outcome(bytes: usize) -> Outcome {
        let bytes = Arc::new(vec![1; bytes]);
        Outcome { epochs: 2, loss: 0.5, train_us: 3_000_000, update: Digest::of(&bytes), bytes }
    }

    /// Requests are answered by their number.
    fn held(bytes_max: u64) -> Held<u32> {
        Held::new(bytes_max, Spares::default())
    }

    /// A task is trained over a link.
    fn train(held: &Held<u32>, key: Key, link: u64, bytes: usize) {
        let progress = Arc::default();
        held.begin(key, &progress, link, 1);
        assert_eq!(held.end(&progress, Some(&outcome(bytes))), Some(1));
    }

    /// A task is in training and its link has ended; its progress, and what is disconnected when it is to stop.
    fn orphan(held: &Held<u32>, key: Key) -> (Arc<Progress>, Receiver<()>) {
        let progress = Arc::default();
        let (cancel, cancelled) = bounded(0);
        held.begin(key, &progress, 1, 1);
        held.leave(&progress, cancel);
        (progress, cancelled)
    }

    fn is_nothing(found: &Found<u32>) -> bool {
        matches!(found, Found::Nothing(_))
    }

    #[test]
    fn another_link_gets_the_result_and_the_same_link_has_it_trained_again() {
        let held = held(1_000);
        train(&held, key(0, 1), 1, 100);
        assert!(is_nothing(&held.ask(&key(0, 1), 1, 5)), "it is not content with the result");
        assert!(held.of_job(JOB, 1).is_empty());
        let listed = HeldResult { step: 0, shard: 1, base: key(0, 1).base };
        assert_eq!(held.of_job(JOB, 2), [listed]);
        assert!(held.of_job(JobId(8), 2).is_empty());
        let Found::Result(result, 5) = held.ask(&key(0, 1), 2, 5) else { panic!("it is held") };
        assert_eq!(result, outcome(100));
        assert!(is_nothing(&held.ask(&key(0, 1), 2, 5)), "now that link has it");
        assert_eq!(held.reused(), 1);
    }

    #[test]
    fn a_result_is_given_for_nothing_but_the_same_task() {
        let held = held(1_000);
        train(&held, key(4, 1), 1, 100);
        let right = key(4, 1);
        let foreign = TaskId { job: JobId(8), ..right.task };
        for other in [
            key(4, 2),
            Key { task: foreign, ..right },
            Key { base: Digest([9; 32]), ..right },
            Key { rest: Digest([9; 32]), ..right },
        ] {
            assert!(is_nothing(&held.ask(&other, 2, 5)), "{other:?}");
        }
        assert!(!is_nothing(&held.ask(&right, 2, 5)));
    }

    #[test]
    fn what_a_link_that_ended_had_in_training_goes_on_for_whoever_asks_for_it() {
        let held = held(1_000);
        let (progress, cancelled) = orphan(&held, key(0, 1));
        assert_eq!(held.of_job(JOB, 2).len(), 1);
        let Found::Running(same, cancel) = held.ask(&key(0, 1), 2, 9) else { panic!("it is in training") };
        assert!(Arc::ptr_eq(&progress, &same));
        assert!(is_nothing(&held.ask(&key(0, 1), 3, 10)), "it has somebody");
        assert_eq!(cancelled.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(held.end(&progress, Some(&outcome(100))), Some(9));
        drop(cancel);
        assert_eq!(cancelled.try_recv(), Err(TryRecvError::Disconnected));
    }

    #[test]
    fn what_nobody_has_asked_for_by_its_end_is_kept() {
        let held = held(1_000);
        let (progress, _cancelled) = orphan(&held, key(0, 1));
        assert_eq!(held.end(&progress, Some(&outcome(100))), None);
        assert!(matches!(held.ask(&key(0, 1), 1, 5), Found::Result(_, 5)), "the link's number does not matter");
        let (failed, _cancelled) = orphan(&held, key(0, 2));
        assert_eq!(held.end(&failed, None), None);
        assert_eq!(held.count(), 1);
    }

    #[test]
    fn a_task_that_had_not_begun_is_dropped_with_its_link() {
        let held = held(1_000);
        let (cancel, cancelled) = bounded::<()>(0);
        held.leave(&Arc::default(), cancel);
        assert_eq!(cancelled.try_recv(), Err(TryRecvError::Disconnected));
    }

    #[test]
    fn a_task_of_a_later_step_lets_go_of_the_earlier_ones_of_its_job_alone() {
        let held = held(1_000);
        train(&held, key(2, 0), 1, 100);
        train(&held, key(3, 0), 1, 100);
        let foreign = Key { task: TaskId { job: JobId(8), ..key(2, 0).task }, ..key(2, 0) };
        train(&held, foreign, 1, 100);
        let (_, cancelled) = orphan(&held, key(2, 1));
        held.ask(&key(2, 5), 2, 5);
        assert_eq!((held.count(), cancelled.try_recv()), (3, Err(TryRecvError::Empty)), "the same step");
        held.ask(&key(3, 5), 2, 5);
        assert_eq!((held.count(), cancelled.try_recv()), (2, Err(TryRecvError::Disconnected)));
        assert_eq!(held.of_job(JOB, 2), [HeldResult { step: 3, shard: 0, base: key(3, 0).base }]);
        assert_eq!(held.of_job(JobId(8), 2).len(), 1);
    }

    #[test]
    fn the_least_recently_used_goes_when_there_are_too_many_or_too_large_ones() {
        let held = held(1_000);
        (0..4).for_each(|shard| train(&held, key(0, shard), 1, 250));
        held.ask(&key(0, 0), 2, 5);
        train(&held, key(0, 4), 1, 250);
        let shards = |held: &Held<u32>| held.of_job(JOB, 3).iter().map(|result| result.shard).collect::<Vec<_>>();
        assert_eq!(shards(&held), [2, 3, 0, 4]);
        // The same task once more takes its own place.
        train(&held, key(0, 2), 4, 250);
        assert_eq!(shards(&held), [3, 0, 4, 2]);
        train(&held, key(0, 5), 1, 1_001);
        assert_eq!(shards(&held), [3, 0, 4, 2], "larger than all there is room for");
        (0..200).for_each(|shard| train(&held, key(0, shard), 1, 1));
        assert_eq!(held.count(), RESULTS_MAX);
    }
}

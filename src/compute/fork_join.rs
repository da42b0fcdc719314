//! Workers without a task of their own that help with another's. Owns the handing over of batches; does not know what is
//! computed.
//!
//! A batch is handed over within a microsecond or two to those who have just helped with the one before: they look out
//! for it for [`WATCH`]. Whoever has looked out in vain waits with the other idle workers, and is invited again. No lock
//! is held while anything is computed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::model::{Helpers, Workspace};

/// How long a helper looks out for the next batch, and a trainer for the last of its helpers, before they sleep.
const WATCH: Duration = Duration::from_micros(50);

/// Where a node's workers ask for help, and offer it.
#[derive(Clone)]
pub struct IdleWorkers {
    waiting: Arc<Mutex<Vec<Arc<ForkJoin>>>>,
    /// One token for each that is waiting.
    ask: Sender<()>,
    offer: Receiver<()>,
}

impl IdleWorkers {
    /// Among so many workers.
    pub fn new(workers: usize) -> IdleWorkers {
        let (ask, offer) = bounded(workers);
        IdleWorkers { waiting: Arc::new(Mutex::new(Vec::with_capacity(workers))), ask, offer }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Arc<ForkJoin>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn workers(&self) -> usize {
        self.ask.capacity().unwrap_or(1)
    }

    /// The helpers of one worker's trainer: the other workers, when they are idle.
    pub fn helpers(&self) -> Box<dyn Helpers> {
        Box::new(Others { help: self.clone(), fork_join: Arc::new(ForkJoin::default()) })
    }

    /// Tells an idle worker that it is wanted; [`IdleWorkers::give`] is then its answer.
    pub fn calls(&self) -> &Receiver<()> {
        &self.offer
    }

    /// Helps with batch after batch of a worker that has called, until none comes for a while or, between two, until the
    /// helper is no longer `free`.
    pub fn give(&self, free: impl Fn() -> bool) {
        let Some(fork_join) = self.waiting().pop() else { return };
        let mut last = 0;
        while free() {
            last = fork_join.help(last);
            if !fork_join.another_comes(last) {
                break;
            }
        }
        fork_join.expected.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One trainer and whoever helps it.
#[derive(Default)]
struct ForkJoin {
    state: Mutex<State>,
    /// Number of the last batch that was posted, from 1.
    batch: AtomicU64,
    /// Helpers at work. Changed under the lock alone; looked at without.
    active: AtomicUsize,
    /// Signalled when the last helper is done.
    done: Condvar,
    /// Helpers that have been invited, and have not gone again.
    expected: AtomicUsize,
}

#[derive(Default)]
struct State {
    job: Option<Job>,
    panicked: bool,
}

/// A batch, while help with it is wanted.
struct Job {
    work: *const (dyn Fn(&mut Workspace) + Sync),
    workspaces: *mut Workspace,
    /// Workspaces that have been given out, and all there are.
    given: usize,
    count: usize,
}

// SAFETY: what `work` points to is Sync, and each of `workspaces`, which are Send, is given to one helper alone.
unsafe impl Send for Job {}

const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Workspace>();
};

impl ForkJoin {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes part in the batch in hand, unless it is the `last` one that this helper knows. Returns its number.
    fn help(&self, last: u64) -> u64 {
        let mut state = self.state();
        let batch = self.batch.load(Ordering::Relaxed);
        let Some(job) = state.job.as_mut().filter(|job| batch != last && job.given < job.count) else { return batch };
        let (work, index) = (job.work, job.given);
        job.given += 1;
        // SAFETY: below `count`, within the slice that the trainer holds; given to nobody else.
        let workspace = unsafe { job.workspaces.add(index) };
        self.active.fetch_add(1, Ordering::Relaxed);
        drop(state);
        // SAFETY: both live until the trainer has withdrawn the job, and it waits for us with that: `active` says that we
        // are here.
        let result = catch_unwind(AssertUnwindSafe(|| unsafe { (*work)(&mut *workspace) }));
        let mut state = self.state();
        state.panicked |= result.is_err();
        if self.active.fetch_sub(1, Ordering::Release) == 1 {
            self.done.notify_one();
        }
        batch
    }

    /// Looks out for a batch after `last` for a while. Says whether there is one.
    fn another_comes(&self, last: u64) -> bool {
        comes_soon(|| self.batch.load(Ordering::Relaxed) != last)
    }

    /// Ends a job: nobody takes part any more, and whoever has is waited for.
    fn withdraw(&self) {
        self.state().job = None;
        if comes_soon(|| self.active.load(Ordering::Acquire) == 0) {
            return;
        }
        let mut state = self.state();
        while self.active.load(Ordering::Acquire) > 0 {
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Withdraws the job, even where the trainer's own part of it panics.
struct Posted<'a>(&'a ForkJoin);

impl Drop for Posted<'_> {
    fn drop(&mut self) {
        self.0.withdraw();
    }
}

/// Whether something becomes true within [`WATCH`].
fn comes_soon(is_true: impl Fn() -> bool) -> bool {
    let mut start = None;
    loop {
        for _ in 0..64 {
            if is_true() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.get_or_insert_with(Instant::now).elapsed() > WATCH {
            return false;
        }
    }
}

/// The other workers of a node, when they are idle.
struct Others {
    help: IdleWorkers,
    fork_join: Arc<ForkJoin>,
}

impl Others {
    /// Calls those of `count` helpers who are not here or on their way.
    fn call(&self, count: usize) {
        while self.fork_join.expected.load(Ordering::Relaxed) < count {
            let mut waiting = self.help.waiting();
            if waiting.len() == waiting.capacity() {
                return;
            }
            self.fork_join.expected.fetch_add(1, Ordering::Relaxed);
            waiting.push(self.fork_join.clone());
            drop(waiting);
            // There is room for as many tokens as may wait, but a token is taken before its batch is: one that finds no
            // room is not needed.
            let _ = self.help.ask.try_send(());
        }
    }
}

impl Helpers for Others {
    fn workspaces(&self) -> usize {
        self.help.workers()
    }

    fn work(&self, workspaces: &mut [Workspace], work: &(dyn Fn(&mut Workspace) + Sync)) {
        let Some((first, others)) = workspaces.split_first_mut() else { return };
        if others.is_empty() {
            return work(first);
        }
        // SAFETY: only the lifetime changes. Helpers use it between here and the end of `withdraw`, and that is before this
        // function's end, however it ends.
        let erased = unsafe {
            std::mem::transmute::<&(dyn Fn(&mut Workspace) + Sync), *const (dyn Fn(&mut Workspace) + Sync)>(work)
        };
        let fork_join = &*self.fork_join;
        {
            let mut state = fork_join.state();
            state.panicked = false;
            state.job = Some(Job { work: erased, workspaces: others.as_mut_ptr(), given: 0, count: others.len() });
            fork_join.batch.fetch_add(1, Ordering::Release);
        }
        let posted = Posted(fork_join);
        self.call(others.len());
        work(first);
        drop(posted);
        assert!(!fork_join.state().panicked, "a helper has panicked");
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::ops::ControlFlow;
    use std::sync::Barrier;
    use std::thread;

    use super::*;
    use crate::model::train::{TrainError, Unwatched};
    use crate::model::{
        ARITHMETIC, BatchSize, Kernel, Network, Recipe, Rows, Trained, Trainer, Training, Watch, initialise,
    };

    fn task(batch: BatchSize) -> (Training, Rows<'static>, Vec<f32>) {
        let network = Network::new(17, &[67, 31], 11).unwrap();
        let training =
            Training { arithmetic: ARITHMETIC, network, recipe: Recipe { batch, ..Recipe::DEFAULT }, seed: 1 };
        let values: Vec<f32> = (0..2001 * 17).map(|i| (i as f32 * 0.7).sin()).collect();
        let labels: Vec<u32> = (0..2001).map(|row| row * 7 % 11).collect();
        let rows = Rows::labelled(17, values, labels, 11).unwrap();
        let base = initialise(&training.network, training.recipe.initialisation, 1);
        (training, rows, base)
    }

    fn batch_of(rows: u32) -> BatchSize {
        BatchSize::Rows(NonZeroU32::new(rows).unwrap())
    }

    /// Runs `train` with a trainer that so many workers may help with, of whom all but one are idle.
    fn with_workers<R>(workers: usize, train: impl FnOnce(Trainer) -> R) -> R {
        let help = IdleWorkers::new(workers);
        let (stop, stopped) = bounded::<()>(0);
        thread::scope(|scope| {
            for _ in 1..workers {
                scope.spawn(|| {
                    loop {
                        crossbeam_channel::select! {
                            recv(help.calls()) -> _ => help.give(|| true),
                            recv(stopped) -> _ => return,
                        }
                    }
                });
            }
            let result = train(Trainer::with_helpers(Kernel::best(), help.helpers()));
            drop(stop);
            result
        })
    }

    #[test]
    fn any_number_of_workers_gives_the_same_bits_on_full_and_odd_batches() {
        for batch in [BatchSize::Full, batch_of(257), batch_of(700), batch_of(1025), batch_of(128)] {
            let (training, rows, base) = task(batch);
            let train = |mut trainer: Trainer| -> Vec<Trained> {
                (0..3).map(|step| trainer.train(&training, step, 0, &base, &rows, &mut Unwatched).unwrap()).collect()
            };
            let alone = train(Trainer::new(Kernel::best()));
            for workers in [1, 2, 3, 5] {
                let shared = with_workers(workers, train);
                for (shared, alone) in shared.iter().zip(&alone) {
                    assert!(shared.update.iter().zip(&alone.update).all(|(a, b)| a.to_bits() == b.to_bits()));
                    assert_eq!(shared.loss.to_bits(), alone.loss.to_bits(), "{workers} workers, {batch:?}");
                }
            }
        }
    }

    /// Has two workspaces work, the second a helper's, and waits until both are at it.
    fn two_work(help: &IdleWorkers, work: impl Fn(bool) + Sync) {
        let mut workspaces = [Workspace::new(Kernel::best()), Workspace::new(Kernel::best())];
        let (trainer, both) = (thread::current().id(), Barrier::new(2));
        help.helpers().work(&mut workspaces, &|_| {
            both.wait();
            work(thread::current().id() == trainer);
        });
    }

    #[test]
    fn a_panic_on_either_side_reaches_the_trainer_after_both_are_done() {
        let help = IdleWorkers::new(2);
        for trainers_own in [true, false] {
            thread::scope(|scope| {
                let helper = scope.spawn(|| {
                    help.calls().recv().unwrap();
                    help.give(|| true);
                });
                let ended = AtomicUsize::new(0);
                let result = catch_unwind(AssertUnwindSafe(|| {
                    two_work(&help, |is_trainer| {
                        assert_ne!(is_trainer, trainers_own, "as it should be in this test");
                        ended.fetch_add(1, Ordering::Relaxed);
                    });
                }));
                assert!(result.is_err());
                assert_eq!(ended.load(Ordering::Relaxed), 1, "the other side was waited for");
                helper.join().unwrap();
            });
        }
    }

    #[test]
    fn a_cancelled_task_leaves_its_helpers_free_and_the_trainer_usable() {
        struct Never;
        impl Watch for Never {
            fn batch_done(&mut self, _done: u64, _planned: u64) -> ControlFlow<()> {
                ControlFlow::Break(())
            }
        }
        let (training, rows, base) = task(BatchSize::Full);
        // Returns only when the helpers have: the scope in it joins them.
        with_workers(3, |mut trainer| {
            let cancelled = trainer.train(&training, 0, 0, &base, &rows, &mut Never);
            assert_eq!(cancelled, Err(TrainError::Cancelled));
            assert!(trainer.train(&training, 0, 0, &base, &rows, &mut Unwatched).is_ok());
        });
    }
}

//! Workers without a task of their own that help with another's. Owns who is idle and who is invited; does not know what is
//! computed, or how work is shared (`fork_join`).
//!
//! A batch is handed over within a microsecond or two to those who have just helped with the one before: they look out for it
//! for a while. Whoever has looked out in vain waits with the other idle workers, and is invited again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::fork_join::ForkJoin;
use crate::model::Helpers;

/// Where a node's workers ask for help, and offer it.
#[derive(Clone)]
pub struct IdleWorkers {
    waiting: Arc<Mutex<Vec<Arc<Shared>>>>,
    /// One token for each that is waiting.
    ask: Sender<()>,
    offer: Receiver<()>,
}

/// One trainer's work, and whoever helps with it.
#[derive(Default)]
struct Shared {
    work: ForkJoin,
    /// Helpers that have been invited, and have not gone again.
    expected: AtomicUsize,
}

impl IdleWorkers {
    /// Among so many workers.
    pub fn new(workers: usize) -> IdleWorkers {
        let (ask, offer) = bounded(workers);
        IdleWorkers { waiting: Arc::new(Mutex::new(Vec::with_capacity(workers))), ask, offer }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The helpers of one worker's trainer: the other workers, when they are idle.
    pub fn helpers(&self) -> Box<dyn Helpers> {
        Box::new(Others { idle: self.clone(), shared: Arc::new(Shared::default()) })
    }

    /// Tells an idle worker that it is wanted; [`IdleWorkers::give`] is then its answer.
    pub fn calls(&self) -> &Receiver<()> {
        &self.offer
    }

    /// Helps with batch after batch of a worker that has called, until none comes for a while or, between two, until the
    /// helper is no longer `free`.
    pub fn give(&self, free: impl Fn() -> bool) {
        let Some(shared) = self.waiting().pop() else { return };
        let mut last = 0;
        while free() {
            last = shared.work.help(last);
            if !shared.work.another_comes(last) {
                break;
            }
        }
        shared.expected.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The other workers of a node, when they are idle.
struct Others {
    idle: IdleWorkers,
    shared: Arc<Shared>,
}

impl Others {
    /// Calls those of `count` helpers who are not here or on their way.
    fn call(&self, count: usize) {
        while self.shared.expected.load(Ordering::Relaxed) < count {
            let mut waiting = self.idle.waiting();
            if waiting.len() == waiting.capacity() {
                return;
            }
            self.shared.expected.fetch_add(1, Ordering::Relaxed);
            waiting.push(self.shared.clone());
            drop(waiting);
            // There is room for as many tokens as may wait, but a token is taken before its batch is: one that finds no
            // room is not needed.
            let _ = self.idle.ask.try_send(());
        }
    }
}

impl Helpers for Others {
    fn workers(&self) -> usize {
        self.idle.ask.capacity().unwrap_or(1)
    }

    fn work(&self, helpers_most: usize, work: &(dyn Fn() + Sync)) {
        self.shared.work.run(helpers_most, work, || self.call(helpers_most));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::ops::ControlFlow;
    use std::thread;

    use super::*;
    use crate::model::train::{TrainError, Unwatched};
    use crate::model::{
        ARITHMETIC, BatchSize, Kernel, Network, Recipe, Rows, Trained, Trainer, Training, Watch, initialise,
    };

    fn task(batch: BatchSize) -> (Training, Rows<'static>, Vec<f32>) {
        let network = Network::new(17, &[67, 31], 11).unwrap();
        let training = Training {
            arithmetic: ARITHMETIC,
            network,
            recipe: Recipe { batch, ..Recipe::DEFAULT },
            seed: 1,
            class_weights: Vec::new(),
        };
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

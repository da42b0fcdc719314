//! The threads that train, one task at a time each; which task is trained when, and what becomes of its result, the core
//! decides. A worker without a task helps another with its batches (`idle_workers`), and gives the memory for them back after a while.
//! Does not know how a task is trained (`task_trainer`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::core::{Event, TrainedUpdate};
use super::driver::Driver;
use super::error::StartError;
use super::idle_workers::IdleWorkers;
use super::task_trainer::{TaskMeans, TaskTrainer};
use super::work::{Start, refusal, say_task};
use crate::model::conformance::{self, Difference};
use crate::net::{EventLog, give_memory_back};
use crate::wire::ErrorCode;

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
        means: &TaskMeans,
        starts: &Receiver<Start>,
        driver: &Arc<Driver>,
        event_log: &EventLog,
    ) -> Result<Workers, StartError> {
        let (stop, stopped) = bounded(0);
        let help = IdleWorkers::new(count as usize);
        let proofs = Arc::new(Proofs::default());
        let mut threads = Vec::new();
        for index in 0..count {
            let worker = Worker {
                trainer: TaskTrainer::new(means.clone(), help.helpers()),
                means: means.clone(),
                help: help.clone(),
                starts: starts.clone(),
                stopped: stopped.clone(),
                keeps_memory: false,
                driver: driver.clone(),
                event_log: event_log.clone(),
            };
            let (own_proofs, kernel) = (proofs.clone(), means.kernel);
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
    trainer: TaskTrainer,
    means: TaskMeans,
    help: IdleWorkers,
    starts: Receiver<Start>,
    /// Disconnected when the node stops.
    stopped: Receiver<()>,
    /// Since its last task.
    keeps_memory: bool,
    driver: Arc<Driver>,
    event_log: EventLog,
}

impl Worker {
    fn run(mut self) {
        /// As good as for ever.
        const DAY: Duration = Duration::from_secs(86_400);
        loop {
            let wait = if self.keeps_memory { self.means.rest_after } else { DAY };
            select! {
                recv(self.starts) -> start => match start {
                    Ok(start) => self.work(start),
                    Err(_) => return,
                },
                // A task of its own comes first.
                recv(self.help.calls()) -> _ => self.help.give(|| self.starts.is_empty()),
                recv(self.stopped) -> _ => return,
                default(wait) => self.rest(),
            }
        }
    }

    /// Gives back the memory of tasks that have gone, once the node has none.
    fn rest(&mut self) {
        if self.keeps_memory && self.driver.rest(self.means.resting_bytes) {
            self.trainer = TaskTrainer::new(self.means.clone(), self.help.helpers());
            self.keeps_memory = false;
            give_memory_back();
        }
    }

    fn work(&mut self, start: Start) {
        self.keeps_memory = true;
        let result = catch_unwind(AssertUnwindSafe(|| self.trainer.train(&start)));
        let result = result.unwrap_or_else(|_| {
            // A panic is a bug of ours; the memory for training may be half written.
            self.trainer = TaskTrainer::new(self.means.clone(), self.help.helpers());
            Err(refusal(ErrorCode::Internal, "training met a fault of the program's own"))
        });
        let Start { task, work, base, shards, delay } = start;
        say_task(&self.event_log, &work.name, || match &result {
            Ok((TrainedUpdate { result, .. }, _)) => {
                format!("trained in {:.1} ms, loss {:.4}", result.train_us as f64 / 1e3, result.loss)
            }
            Err(error) => format!("not trained: {error}"),
        });
        // Before anybody hears of the result: the next task may want their memory.
        drop((work, base, shards));
        let (result, rows_per_second) = match result {
            Ok((trained, speed)) => (Ok(TrainedUpdate { delayed: delay, ..trained }), speed),
            Err(error) => (Err(error), None),
        };
        self.driver.report(Event::Ended { task, result, rows_per_second });
    }
}

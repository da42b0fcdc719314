//! The threads that the coordinator cannot do without. Owns their start, and the news that one of them cannot go on; does
//! not know what they do.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::error::StartError;
use crate::model::{Kernel, conformance};

/// Why the coordinator cannot go on, as a sentence with the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FatalError {
    /// What must be written cannot be.
    Journal(String),
    /// A thread has ended by a fault of the program's own. Whoever waits for it would wait for ever.
    Fault {
        /// The thread's name.
        thread: &'static str,
    },
}

impl fmt::Display for FatalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(why) => write!(
                f,
                "the journal cannot be kept: {why}. Make room or mend the disk, then start again: jobs go on from what was \
                 written"
            ),
            Self::Fault { thread } => write!(
                f,
                "a fault of this program's own has ended its {thread} thread. Start it again: jobs go on from what was \
                 written"
            ),
        }
    }
}

/// Starts threads, and hears of their faults.
#[derive(Clone)]
pub(super) struct Threads(Sender<FatalError>);

impl Threads {
    /// The receiver hears why the coordinator is to end.
    pub(super) fn new() -> (Threads, Receiver<FatalError>) {
        // The first counts, and one that was written while it stops.
        let (fatal_errors, heard) = bounded(2);
        (Threads(fatal_errors), heard)
    }

    /// Tells what has gone wrong; what nobody waits for any more is dropped.
    pub(super) fn tell(&self, error: FatalError) {
        let _ = self.0.try_send(error);
    }

    /// Starts a thread whose panic is told.
    pub(super) fn start(
        &self,
        thread: &'static str,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let threads = self.clone();
        let guarded = move || {
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                threads.tell(FatalError::Fault { thread });
            }
        };
        Builder::new().name(thread.to_owned()).spawn(guarded)
    }

    /// The same for a thread that computes with `kernel`, once it has proved that it does so as it must.
    pub(super) fn start_computing(
        &self,
        thread: &'static str,
        kernel: Kernel,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<JoinHandle<()>, StartError> {
        let (told, proof) = bounded(1);
        let started = self.start(thread, move || {
            let proof = conformance::prove_thread(kernel);
            // There is room for it.
            let _ = told.send(proof);
            if proof.is_ok() {
                run();
            }
        })?;
        // A thread that ends without a word has panicked, which is told elsewhere.
        proof.recv().unwrap_or(Ok(())).map_err(StartError::Arithmetic)?;
        Ok(started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_is_told_and_one_that_ends_is_not() {
        let (threads, fatal_errors) = Threads::new();
        threads.start("engine", || panic!("a fault of our own, for the test")).unwrap().join().unwrap();
        threads.start("journal", || {}).unwrap().join().unwrap();
        drop(threads);
        assert_eq!(fatal_errors.iter().collect::<Vec<_>>(), [FatalError::Fault { thread: "engine" }]);
    }
}

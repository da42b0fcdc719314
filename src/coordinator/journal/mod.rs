//! The journal: what a job needs to go on after the coordinator has ended in whatever way, and the ledger of what its
//! tasks came to. One thread writes it, behind the engine: jobs do not wait for the disk, only what their watchers are
//! told does. Rounds that come while one is being written share the next write.
//!
//! Owns what is written and when it counts as durable; does not know what a job does next (`engine`), nor sockets. Without
//! a directory everything but the weights is kept in memory, and durable at once.
//!
//! | file | owns |
//! |---|---|
//! | `directory` | files and their places |
//! | `state` | a state's layout |
//! | `ledger` | the layout of the ledger's blocks |
//! | `book` | a job that is being written |
//! | `kept` | what is kept, in bytes, and what goes first |
//! | `archive` | what is read while the journal is being written |
//! | `recovery` | what is read at the start |

mod archive;
mod book;
mod directory;
mod kept;
mod ledger;
mod recovery;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

pub(super) use archive::{Absent, Archive};
use book::Book;
pub(super) use directory::Directory;
pub use directory::OpenError;
use kept::Kept;
use ledger::Extent;
pub(super) use recovery::Restored;
use state::State;

use super::driver::Input;
use super::jobs::objects_of;
use super::threads::{Threads, Trouble};
use super::workers::Weights;
use crate::digest::Digest;
use crate::disk::{DiskError, Doing};
use crate::engine::RoundRecord;
use crate::job::{JobId, Specification};
use crate::store::Store;
use crate::wire::Message;
use crate::wire::message::{Error, Job, JobStanding, Round};

/// Bytes of a ledger's latest blocks that stay in the state, where they cost no write of their own.
const TAIL_BYTES_MAX: usize = 256 << 10;
/// Bytes of rounds' weights that are kept of a job, so that its tasks can be verified one by one.
const KEPT_WEIGHTS_BYTES_MAX: u64 = 64 << 20;
/// What could not be written is tried again this often.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What happens when the journal cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDiskError {
    /// The coordinator ends. Started again, it goes on from what was written last.
    #[default]
    Stop,
    /// It says so, and goes on without; what is not written is lost if it ends.
    Continue,
}

impl FromStr for OnDiskError {
    type Err = String;

    fn from_str(text: &str) -> Result<OnDiskError, String> {
        match text {
            "stop" => Ok(OnDiskError::Stop),
            "continue" => Ok(OnDiskError::Continue),
            _ => Err("when the disk fails the coordinator can stop or continue".to_owned()),
        }
    }
}

/// What is to be written.
pub(super) enum Order {
    /// A job, whose data is in the store.
    Begin { standing: Job, specification: Arc<Specification> },
    /// A round of it, and the weights after it.
    Round { job: JobId, record: Box<RoundRecord>, round: Round, weights: Option<Weights>, training_us: u64 },
    /// It is paused, with what its watchers are told.
    Pause { job: JobId, error: Error },
    /// It is queued again.
    Resume { job: JobId },
    /// It has ended, with this final answer.
    End { standing: Job, answer: Arc<Message<'static>> },
    /// It is not known any more.
    Forget { job: JobId },
    /// No order: somebody wants the rounds of a job after this one.
    Rounds { job: JobId, after: u32, then: Box<dyn FnOnce(Vec<Round>) + Send> },
}

/// What the journal tells the coordinator.
pub(super) enum Told {
    /// It has been read. Nothing is written before that.
    Recovered(Vec<Restored>),
    /// A job is written up to this round, and its end, if it has one.
    Durable { job: JobId, rounds: u32, state: JobStanding },
    /// Something could not be written, and the coordinator goes on.
    NotWritten(String),
    /// Jobs that have ended take more than they may: this one, the first of them, is to be forgotten.
    TooMuch { job: JobId },
}

/// What the journal is told at its start.
pub(super) struct Keeping {
    /// Where; nowhere if none.
    pub(super) directory: Option<Arc<Directory>>,
    pub(super) on_disk_error: OnDiskError,
    /// Bytes that jobs may take there once they have ended.
    pub(super) ended_bytes_max: u64,
}

/// Starts the journal's thread. It ends when the orders' channel does, and has written everything by then; or it tells why
/// the coordinator is to end.
pub(super) fn start(
    threads: &Threads,
    keeping: Keeping,
    store: Arc<Store>,
    inputs: Sender<Input>,
) -> io::Result<(Sender<Order>, Arc<Archive>, JoinHandle<()>)> {
    // Never more than the engine has in its books: a round's record each, and small ones.
    let (orders, queue) = unbounded();
    let archive = Arc::new(Archive::new(keeping.directory.clone()));
    let writer = Writer::new(keeping, store, inputs, threads.clone(), archive.clone());
    let thread = threads.start("journal", move || writer.run(&queue))?;
    Ok((orders, archive, thread))
}

struct Writer {
    directory: Option<Arc<Directory>>,
    on_disk_error: OnDiskError,
    ended_bytes_max: u64,
    tail_bytes_max: usize,
    store: Arc<Store>,
    inputs: Sender<Input>,
    threads: Threads,
    archive: Arc<Archive>,
    books: BTreeMap<JobId, Book>,
    /// Every job that is written, with its data.
    kept: Kept,
    /// Jobs submitted so far.
    submitted: u64,
    /// Whether something could not be written.
    is_behind: bool,
    rests_until: Instant,
    /// Whether a job was written for the first time in the last write.
    begins_job: bool,
}

/// The coordinator is to end.
struct Stop;

impl Writer {
    fn new(
        keeping: Keeping,
        store: Arc<Store>,
        inputs: Sender<Input>,
        threads: Threads,
        archive: Arc<Archive>,
    ) -> Writer {
        let Keeping { directory, on_disk_error, ended_bytes_max } = keeping;
        Writer {
            directory,
            on_disk_error,
            ended_bytes_max,
            tail_bytes_max: TAIL_BYTES_MAX,
            store,
            inputs,
            threads,
            archive,
            books: BTreeMap::new(),
            kept: Kept::default(),
            submitted: 0,
            is_behind: false,
            rests_until: Instant::now(),
            begins_job: false,
        }
    }

    fn run(mut self, orders: &Receiver<Order>) {
        match self.recover() {
            Ok(restored) => {
                self.tell(Told::Recovered(restored));
                self.expire();
            }
            Err(error) => {
                self.threads.tell(Trouble::Journal(error.to_string()));
                return;
            }
        }
        while self.gather(orders) {
            let began = Instant::now();
            self.begins_job = false;
            if self.flush().is_err() {
                return;
            }
            self.rests_until = Instant::now() + self.rest_after(began.elapsed());
        }
        if self.is_behind {
            let _ = self.flush();
        }
    }

    /// How long to rest after the last write, which took so long. What comes meanwhile shares the next one, and the end of a
    /// job, which does not wait, finds the disk idle. But somebody waits for the first round of a job that was written for
    /// the first time.
    fn rest_after(&self, took: Duration) -> Duration {
        if self.begins_job { Duration::ZERO } else { took }
    }

    /// Waits for orders, and takes all that come until it has rested from the last write. False once there will be no more.
    fn gather(&mut self, orders: &Receiver<Order>) -> bool {
        let first = if self.is_behind {
            orders.recv_timeout(TRY_AGAIN)
        } else {
            orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        let mut next = match first {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        while let Some(order) = next {
            let is_urgent = matches!(order, Order::Pause { .. } | Order::End { .. });
            self.take(order);
            if is_urgent {
                break;
            }
            next = orders.recv_deadline(self.rests_until).ok();
        }
        orders.try_iter().for_each(|order| self.take(order));
        true
    }

    fn tell(&self, told: Told) {
        // It listens as long as it gives orders.
        let _ = self.inputs.send(Input::Journal(told));
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Begin { standing, specification } => self.begin(standing, specification),
            Order::Round { job, record, round, weights, training_us } => {
                let Some(book) = self.books.get_mut(&job) else { return };
                book.round(&record, round, weights, training_us);
            }
            Order::Pause { job, error } => self.change(job, |state| {
                state.standing.state = JobStanding::Paused;
                state.standing.code = Some(error.code);
                state.standing.text.clone_from(&error.text);
                state.answer = Some(Arc::new(error.into()));
            }),
            Order::Resume { job } => {
                // It waits behind those that wait already, after a restart, too.
                self.submitted += 1;
                let submitted_as = self.submitted;
                self.change(job, |state| {
                    state.submitted_as = submitted_as;
                    state.standing.state = JobStanding::Queued;
                    state.standing.code = None;
                    state.standing.text.clear();
                    state.answer = None;
                });
            }
            Order::End { standing, answer } => self.change(standing.job, |state| {
                state.standing = standing;
                state.answer = Some(answer);
            }),
            Order::Forget { job } => self.forget(job),
            Order::Rounds { job, after, then } => {
                let rounds = self.archive.rounds(job).into_iter().filter(|round| round.round > after);
                then(rounds.collect());
            }
        }
    }

    fn begin(&mut self, standing: Job, specification: Arc<Specification>) {
        let job = standing.job;
        self.submitted += 1;
        let state = State {
            sequence: 0,
            submitted_as: self.submitted,
            submit: Arc::new(state::submit_payload(job, &specification)),
            specification,
            standing,
            answer: None,
            progress: None,
            training_us: 0,
            ledger: Extent::START,
            tail: Vec::new(),
        };
        self.books.insert(job, Book::new(state, None));
    }

    fn change(&mut self, job: JobId, change: impl FnOnce(&mut State)) {
        if let Some(book) = self.books.get_mut(&job) {
            change(&mut book.state);
            book.is_dirty = true;
        }
    }

    /// Writes what has changed, and says what is durable.
    fn flush(&mut self) -> Result<(), Stop> {
        let was_behind = std::mem::take(&mut self.is_behind);
        let dirty: Vec<JobId> = self.books.iter().filter(|(_, book)| book.is_dirty).map(|(&job, _)| job).collect();
        for job in dirty {
            if self.awaits_its_end(job) {
                continue;
            }
            if let Err(error) = self.write(job) {
                self.failed(&error, was_behind)?;
            }
            let Some(book) = self.books.get(&job) else { continue };
            let standing = &book.state.standing;
            let (rounds, state) = (standing.rounds_done, standing.state);
            self.archive.shelve(job, book.shelved());
            self.tell(Told::Durable { job, rounds, state });
            if !book.is_dirty {
                self.settle(job, was_behind)?;
            }
        }
        if was_behind && !self.is_behind {
            log::info!("the journal can be written again");
        }
        self.expire();
        Ok(())
    }

    /// Whether a job's data has left memory before it was written. Then it has ended meanwhile, and its end is among the
    /// orders that are still to come.
    fn awaits_its_end(&self, job: JobId) -> bool {
        let Some(book) = self.books.get(&job) else { return false };
        let is_to_begin = self.directory.is_some() && !book.has_begun && book.state.standing.ended_ms == 0;
        is_to_begin && !objects_of(&book.state.specification).keys().all(|digest| self.store.get(digest).is_some())
    }

    /// Says which job is to go, if those that have ended take too much; the next one's turn comes once it is forgotten.
    fn expire(&mut self) {
        let max = self.ended_bytes_max;
        if let Some(job) = self.kept.too_much(max) {
            let bytes = self.kept.ended_bytes();
            self.tell(Told::TooMuch { job });
            // Whoever reads it and asks for the job then is answered behind that.
            log::info!("job {job} is forgotten: finished jobs take {bytes} bytes, and --keep-bytes is {max}");
        }
    }

    /// A job is written: what need not be held for it any more is let go.
    fn settle(&mut self, job: JobId, was_behind: bool) -> Result<(), Stop> {
        // An end that was told must not be undone by the loss of one file: it takes the place of the state before, too.
        if let (Some(directory), Some(book)) = (&self.directory, self.books.get_mut(&job))
            && book.state.standing.ended_ms != 0
            && let Err(error) = book.write(job, directory, self.tail_bytes_max)
        {
            self.failed(&error, was_behind)?;
        }
        if let Err(error) = self.keep_weights(job) {
            self.failed(&error, was_behind)?;
        }
        if let Some(book) = self.books.get(&job)
            && book.state.standing.ended_ms != 0
        {
            if self.directory.is_some() {
                // From here on it is read where it is written.
                self.archive.unshelve(job, book.state.progress.as_ref().map(|progress| progress.base));
            }
            if let Some(book) = self.books.remove(&job)
                && self.directory.is_some()
            {
                self.kept.end(job, book.state.standing.ended_ms, book.bytes());
            }
        }
        Ok(())
    }

    fn write(&mut self, job: JobId) -> Result<(), DiskError> {
        let Some(book) = self.books.get_mut(&job) else { return Ok(()) };
        if let Some(directory) = &self.directory {
            if !book.has_begun {
                let needed = objects_of(&book.state.specification);
                let held: Vec<_> =
                    needed.keys().filter_map(|digest| Some((*digest, self.store.get(digest)?))).collect();
                let objects: Vec<(Digest, &[u8])> = held.iter().map(|(digest, bytes)| (*digest, &bytes[..])).collect();
                directory.put_objects(&objects)?;
                // What is left of a job of this id that could not be read is not to be mixed with it.
                directory.remove_job(job)?;
                directory.begin_job(job)?;
                self.kept.begin(job, needed);
                self.begins_job = true;
            }
            book.write(job, directory, self.tail_bytes_max)?;
        }
        book.has_begun = true;
        book.is_dirty = false;
        Ok(())
    }

    /// Lets go of weights that are written; keeps them for who verifies single tasks, as long as there is room.
    fn keep_weights(&mut self, job: JobId) -> Result<(), DiskError> {
        let (Some(directory), Some(book)) = (&self.directory, self.books.get_mut(&job)) else { return Ok(()) };
        if let Some(weights) = book.weights.take()
            && book.kept_bytes + weights.bytes.len() as u64 <= KEPT_WEIGHTS_BYTES_MAX
            && self.archive.keep(job, weights.digest)
        {
            directory.put_weights(job, &weights.digest, &weights.bytes)?;
            book.kept_bytes += weights.bytes.len() as u64;
        }
        Ok(())
    }

    /// Something could not be written: the policy decides, but for a failed sync. After that the system may say that what
    /// it has dropped is written.
    fn failed(&mut self, error: &DiskError, was_behind: bool) -> Result<(), Stop> {
        if error.doing == Doing::Sync || self.on_disk_error == OnDiskError::Stop {
            // Whoever started the coordinator listens.
            self.threads.tell(Trouble::Journal(error.to_string()));
            return Err(Stop);
        }
        if !was_behind && !self.is_behind {
            self.tell(Told::NotWritten(error.to_string()));
        }
        self.is_behind = true;
        Ok(())
    }

    /// Removes a job, and the data that no other job needs.
    fn forget(&mut self, job: JobId) {
        self.books.remove(&job);
        self.archive.forget(job);
        let (Some(directory), Some(unneeded)) = (&self.directory, self.kept.forget(job)) else { return };
        // Of jobs that could not be read nobody knows what they need: the sweep of a later start decides.
        let unneeded = if self.archive.has_unread() { Vec::new() } else { unneeded };
        let removed = directory
            .remove_job(job)
            .and_then(|()| unneeded.iter().try_for_each(|digest| directory.remove_object(digest)));
        if let Err(error) = removed {
            log::warn!("files of job {job} are not all removed: {error}; the next start tries again");
        }
    }
}

impl fmt::Display for OnDiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OnDiskError::Stop => "stop",
            OnDiskError::Continue => "continue",
        })
    }
}

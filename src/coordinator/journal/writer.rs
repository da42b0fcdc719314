//! The journal's thread: gathers what is to be written, writes it, and tells what is durable. Owns when and in which order;
//! does not know how a job's part is laid out (`job_writer`).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::archive::Archive;
use super::command::{JobMemory, JournalCommand, JournalEvent, Keeping, OnDiskError};
use super::directory::Directory;
use super::job_writer::JobWriter;
use super::ledger::Extent;
use super::reading::Unread;
use super::retention::Retention;
use super::state::{self, StoredState};
use super::underway::Underway;
use crate::coordinator::data::objects_of;
use crate::coordinator::event::DriverEvent;
use crate::coordinator::threads::{FatalError, Threads};
use crate::digest::Digest;
use crate::disk::{self, DiskError, Doing};
use crate::job::memory::CoordinatorMemory;
use crate::job::{JobId, JobState, JobStatus, Specification};
use crate::store::Store;
use crate::wire::object;

/// Bytes of a ledger's latest blocks that stay in the state, where they cost no write of their own.
pub(super) const TAIL_BYTES_MAX: usize = 256 << 10;
/// Bytes of checkpoints that are kept of a job, so that it can be verified without computing all of it.
pub(super) const KEPT_WEIGHTS_BYTES_MAX: u64 = 64 << 20;
/// A checkpoint takes no more of what is free on the disk than one part in so many: nothing depends on it, and all on the states and
/// ledgers that are still to be written.
const KEPT_FREE_PART: u64 = 8;
/// What could not be written is tried again this often.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Starts the journal's thread. It ends when the orders' channel does, and has written everything by then; or it tells why
/// the coordinator is to end.
pub(in super::super) fn start(
    threads: &Threads,
    keeping: Keeping,
    store: Arc<Store>,
    events: Sender<DriverEvent>,
) -> io::Result<(Sender<JournalCommand>, Arc<Archive>, JoinHandle<()>)> {
    // Never more than the engine has in hand: a record each of some steps, and small ones.
    let (orders, queue) = unbounded();
    let archive = Arc::new(Archive::new(keeping.directory.clone()));
    let writer = Writer::new(keeping, store, events, threads.clone(), archive.clone());
    let thread = threads.start("journal", move || writer.run(&queue))?;
    Ok((orders, archive, thread))
}

pub(super) struct Writer {
    pub(super) directory: Option<Arc<Directory>>,
    pub(super) on_disk_error: OnDiskError,
    pub(super) ended_bytes_max: u64,
    /// What jobs may take, and what those take that have been read: kept, and the most of what one of them works with.
    pub(super) memory: JobMemory,
    pub(super) taken: CoordinatorMemory,
    pub(super) underway: Underway,
    pub(super) tail_bytes_max: usize,
    pub(super) kept_bytes_max: u64,
    pub(super) store: Arc<Store>,
    pub(super) events: Sender<DriverEvent>,
    pub(super) threads: Threads,
    pub(super) archive: Arc<Archive>,
    pub(super) writers: BTreeMap<JobId, JobWriter>,
    /// Every job that is written, with its data.
    pub(super) retention: Retention,
    /// Jobs submitted so far.
    pub(super) submitted: u64,
    /// Why something could not be written, if so.
    pub(super) behind: Option<String>,
    pub(super) rests_until: Instant,
    /// Whether a job was written for the first time in the last write.
    pub(super) begins_job: bool,
}

/// The coordinator is to end.
pub(super) struct Stop;

impl Writer {
    pub(super) fn new(
        keeping: Keeping,
        store: Arc<Store>,
        events: Sender<DriverEvent>,
        threads: Threads,
        archive: Arc<Archive>,
    ) -> Writer {
        let Keeping { directory, on_disk_error, ended_bytes_max, memory, underway } = keeping;
        Writer {
            directory,
            on_disk_error,
            ended_bytes_max,
            memory,
            taken: CoordinatorMemory::default(),
            underway,
            tail_bytes_max: TAIL_BYTES_MAX,
            kept_bytes_max: KEPT_WEIGHTS_BYTES_MAX,
            store,
            events,
            threads,
            archive,
            writers: BTreeMap::new(),
            retention: Retention::default(),
            submitted: 0,
            behind: None,
            rests_until: Instant::now(),
            begins_job: false,
        }
    }

    pub(super) fn run(mut self, orders: &Receiver<JournalCommand>) {
        match self.recover() {
            Ok(mut restored) => {
                let lived = self.lived(&mut restored);
                self.tell(JournalEvent::Recovered { restored, lived });
                self.expire();
            }
            Err(error) => {
                self.threads.tell(FatalError::Journal(error.to_string()));
                return;
            }
        }
        loop {
            match self.gather(orders) {
                Ok(true) => {}
                Ok(false) => break,
                Err(Stop) => return,
            }
            let began = Instant::now();
            self.begins_job = false;
            if self.flush().is_err() {
                return;
            }
            self.rests_until = Instant::now() + self.rest_after(began.elapsed());
        }
        self.end();
    }

    /// Nobody listens any more: what could not be written is tried once more.
    fn end(&mut self) {
        let Some(why) = self.behind.clone() else { return };
        log::warn!("the journal cannot be written: {why}. It is tried once more");
        let is_stopped = self.flush().is_err();
        match &self.behind {
            None if !is_stopped => log::info!("the journal is written"),
            _ => log::error!(
                "the journal cannot be written: {why}. What jobs did since it could is lost, and is done again after the next start{}",
                self.unbegun()
            ),
        }
    }

    /// What is to be said of jobs of which nothing is written.
    fn unbegun(&self) -> String {
        let jobs: Vec<String> =
            self.writers.iter().filter(|(_, writer)| !writer.has_begun).map(|(job, _)| job.to_string()).collect();
        match &jobs[..] {
            [] => String::new(),
            [job] => format!("; job {job}, of which nothing could be written, is not known then: submit it again"),
            jobs => format!(
                "; jobs {}, of which nothing could be written, are not known then: submit them again",
                jobs.join(", ")
            ),
        }
    }

    /// How long to rest after the last write, which took so long. What comes meanwhile shares the next one, and the end of a
    /// job, which does not wait, finds the disk idle. But somebody waits for the first round of a job that was written for
    /// the first time.
    pub(super) fn rest_after(&self, took: Duration) -> Duration {
        if self.begins_job { Duration::ZERO } else { took }
    }

    /// Waits for orders, and takes all that come until it has rested from the last write. False once there will be no more.
    fn gather(&mut self, orders: &Receiver<JournalCommand>) -> Result<bool, Stop> {
        let first = if self.behind.is_some() {
            orders.recv_timeout(TRY_AGAIN)
        } else {
            orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        let mut next = match first {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => return Ok(true),
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
        };
        while let Some(order) = next {
            let is_urgent = matches!(order, JournalCommand::Pause { .. } | JournalCommand::End { .. });
            self.take(order)?;
            if is_urgent {
                break;
            }
            next = orders.recv_deadline(self.rests_until).ok();
        }
        orders.try_iter().try_for_each(|order| self.take(order))?;
        Ok(true)
    }

    pub(super) fn tell(&self, told: JournalEvent) {
        // It listens as long as it gives orders.
        let _ = self.events.send(DriverEvent::Journal(told));
    }

    pub(super) fn take(&mut self, order: JournalCommand) -> Result<(), Stop> {
        match order {
            JournalCommand::Begin { status, specification } => self.begin(status, specification),
            JournalCommand::Steps { job, record, weights } => {
                if let Some(writer) = self.writers.get_mut(&job) {
                    writer.steps(*record, weights.and_then(|weights| weights.take()));
                }
            }
            JournalCommand::Pause { job, failure } => self.change(job, |state| {
                state.status.state = JobState::Paused;
                state.status.failure = Some(failure);
                state.status.weights = state.progress.as_ref().map(|progress| progress.base);
            }),
            JournalCommand::Resume { job } => self.queue_again(job),
            JournalCommand::End { status, summary, confusion, lived_ms } => {
                if let Some(writer) = self.writers.get_mut(&status.job) {
                    writer.end(status, summary, confusion, lived_ms);
                }
            }
            JournalCommand::Read { job } => {
                // What it is to be written as comes first.
                let is_dirty = self.writers.get(&job).is_some_and(|writer| writer.is_dirty);
                let written = if is_dirty { self.write(job).map_err(Unread::from) } else { Ok(()) };
                let read = match written.and_then(|()| self.read_now(job)) {
                    Err(Unread::Sync(error)) => return self.failed(&error, false),
                    read => read.map_err(|why| why.to_string()),
                };
                self.tell(JournalEvent::Read { job, read });
            }
            JournalCommand::Recall { job } => self.recall(job),
            JournalCommand::Reopen { job, writer } => self.reopen(job, writer),
            JournalCommand::Lived(lived) => {
                match self.directory.as_ref().map(|directory| directory.write_lived(lived)) {
                    Some(Err(error)) if error.doing == Doing::Sync => self.failed(&error, false)?,
                    Some(Err(error)) => log::warn!("{error}; jobs that have ended may be kept longer for that"),
                    Some(Ok(())) | None => {}
                }
            }
            JournalCommand::Forget { job } => self.forget(job)?,
        }
        Ok(())
    }

    fn begin(&mut self, status: JobStatus, specification: Arc<Specification>) {
        let job = status.job;
        self.submitted += 1;
        let state = StoredState {
            sequence: 0,
            submitted_as: self.submitted,
            lived_ms: 0,
            submit: Arc::new(state::submit_payload(job, &specification)),
            specification,
            status,
            summary: None,
            progress: None,
            ledger: Extent::START,
            tail: Vec::new(),
        };
        self.writers.insert(job, JobWriter::new(state, None, None));
    }

    pub(super) fn change(&mut self, job: JobId, change: impl FnOnce(&mut StoredState)) {
        if let Some(writer) = self.writers.get_mut(&job) {
            change(&mut writer.state);
            writer.is_dirty = true;
        }
    }

    /// Writes what has changed, and says what is durable.
    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        let was_behind = self.behind.take().is_some();
        let dirty: Vec<JobId> =
            self.writers.iter().filter(|(_, writer)| writer.is_dirty).map(|(&job, _)| job).collect();
        for job in dirty {
            if self.awaits_its_end(job) {
                continue;
            }
            if let Err(error) = self.write(job) {
                self.failed(&error, was_behind)?;
                if self.on_disk_error == OnDiskError::Stop {
                    // Nobody is told of what is not written. It is tried again.
                    continue;
                }
            }
            let Some(writer) = self.writers.get(&job) else { continue };
            let status = &writer.state.status;
            let (rounds, state) = (status.rounds_done, status.state);
            self.archive.shelve(job, writer.shelved());
            self.underway.durable(job);
            let is_written = !writer.is_dirty;
            self.tell(JournalEvent::Durable { job, rounds, state, is_written });
            if is_written {
                self.settle(job, was_behind)?;
            }
        }
        if was_behind && self.behind.is_none() {
            self.tell(JournalEvent::WrittenAgain);
        }
        self.expire();
        Ok(())
    }

    /// Whether a job's data has left memory before it was written. Then it has ended meanwhile, and its end is among the
    /// orders that are still to come.
    fn awaits_its_end(&self, job: JobId) -> bool {
        let Some(writer) = self.writers.get(&job) else { return false };
        let is_to_begin = self.directory.is_some() && !writer.has_begun && writer.state.status.ended_ms == 0;
        is_to_begin && !objects_of(&writer.state.specification).keys().all(|digest| self.store.get(digest).is_some())
    }

    /// Says which job is to go, if those that have ended take too much; the next one's turn comes once it is forgotten.
    pub(super) fn expire(&mut self) {
        let max = self.ended_bytes_max;
        if let Some(job) = self.retention.too_much(max) {
            let bytes = self.retention.ended_bytes();
            self.tell(JournalEvent::TooMuch { job });
            // Whoever reads it and asks for the job then is answered behind that.
            log::info!("job {job} is forgotten: finished jobs take {bytes} bytes, and --keep-bytes is {max}");
        }
    }

    /// A job is written: what need not be held for it any more is let go.
    fn settle(&mut self, job: JobId, was_behind: bool) -> Result<(), Stop> {
        // An end that was told must not be undone by the loss of one file: it takes the place of the state before, too.
        let has_ended = self.writers.get(&job).is_some_and(|writer| writer.state.status.ended_ms != 0);
        if has_ended && let Err(error) = self.with_room(|journal| journal.write_state(job)) {
            // It is as if nothing of the end were written: the next try writes it to both places.
            if let Some(writer) = self.writers.get_mut(&job) {
                writer.is_dirty = true;
            }
            return self.failed(&error, was_behind);
        }
        if let Err(error) = self.keep_weights(job) {
            self.failed(&error, was_behind)?;
        }
        if self.directory.is_some()
            && let Some(writer) = self.writers.get_mut(&job)
            && writer.state.status.state == JobState::Paused
        {
            writer.put_down();
        }
        if let Some(writer) = self.writers.get(&job)
            && writer.state.status.ended_ms != 0
        {
            if self.directory.is_some() {
                // From here on it is read where it is written.
                self.archive.unshelve(job, writer.state.objects());
            }
            // Where nothing is written a job that was given up is nowhere else.
            let stays = self.directory.is_none() && writer.state.status.may_be_resumed();
            if !stays
                && let Some(writer) = self.writers.remove(&job)
                && self.directory.is_some()
            {
                self.retention.end(job, writer.state.lived_ms, writer.bytes());
            }
        }
        Ok(())
    }

    fn write(&mut self, job: JobId) -> Result<(), DiskError> {
        self.with_room(|journal| journal.write_all(job))?;
        if let Some(writer) = self.writers.get_mut(&job) {
            writer.has_begun = true;
            writer.is_dirty = false;
        }
        Ok(())
    }

    /// Writes something, if need be in the room of checkpoints: nothing depends on them.
    fn with_room(&mut self, write: impl Fn(&mut Writer) -> Result<(), DiskError>) -> Result<(), DiskError> {
        match write(self) {
            Err(error) if error.lacks_room() && self.removes_checkpoints(&error) => write(self),
            written => written,
        }
    }

    /// Removes the checkpoints of all jobs, and keeps none from now on. Tells whether there were any.
    fn removes_checkpoints(&mut self, why: &DiskError) -> bool {
        let Some(directory) = &self.directory else { return false };
        let jobs = self.archive.let_go_of_all();
        self.kept_bytes_max = 0;
        self.writers.values_mut().for_each(|writer| writer.kept_bytes = 0);
        if jobs.is_empty() {
            return false;
        }
        log::warn!("{why}; checkpoints make room: jobs take longer to verify");
        for job in jobs {
            if let Err(error) = directory.remove_kept_weights(job) {
                log::warn!("checkpoints of job {job} are not all removed: {error}");
            }
        }
        true
    }

    /// What is new of a job, and its data if nothing of it is written yet.
    fn write_all(&mut self, job: JobId) -> Result<(), DiskError> {
        let (Some(directory), Some(writer)) = (&self.directory, self.writers.get(&job)) else { return Ok(()) };
        if !writer.has_begun {
            let needed = objects_of(&writer.state.specification);
            let held: Vec<_> = needed.keys().filter_map(|digest| Some((*digest, self.store.get(digest)?))).collect();
            let objects: Vec<(Digest, &[u8])> = held.iter().map(|(digest, bytes)| (*digest, &bytes[..])).collect();
            directory.put_objects(&objects)?;
            // What is left of a job of this id that could not be read is not to be mixed with it.
            directory.remove_job(job)?;
            directory.begin_job(job)?;
            self.retention.begin(job, needed);
            self.begins_job = true;
        }
        self.write_state(job)
    }

    fn write_state(&mut self, job: JobId) -> Result<(), DiskError> {
        let (Some(directory), Some(writer)) = (&self.directory, self.writers.get_mut(&job)) else { return Ok(()) };
        writer.write(job, directory, self.tail_bytes_max)
    }

    /// Lets go of weights that are written; keeps them for who verifies a part of the job, where it is time for a checkpoint.
    fn keep_weights(&mut self, job: JobId) -> Result<(), DiskError> {
        let (Some(directory), Some(writer)) = (&self.directory, self.writers.get_mut(&job)) else { return Ok(()) };
        let Some(weights) = writer.weights.take() else { return Ok(()) };
        if !writer.is_time_for_checkpoint(self.kept_bytes_max) {
            return Ok(());
        }
        let room = disk::free_bytes(directory.root()).map_or(u64::MAX, |free| free / KEPT_FREE_PART);
        if writer.checkpoint_bytes() > room {
            log::debug!("job {job} goes on without a checkpoint: the disk is nearly full");
            return Ok(());
        }
        // Without it the weights lead nowhere, so it is there before they are. Of tasks the ledger does not name it.
        let state = writer.keeps_outer().then(|| object::encode_outer(&weights.outer));
        let state = state.as_ref().map(|state| (Digest::of(state), &state[..]));
        for (digest, bytes) in state.into_iter().chain([(weights.digest, &weights.bytes[..])]) {
            if !self.archive.keep(job, digest) {
                continue;
            }
            match directory.put_weights(job, &digest, bytes) {
                Ok(()) => writer.kept_bytes += bytes.len() as u64,
                Err(error) if error.doing == Doing::Sync => return Err(error),
                Err(error) => {
                    // A disk that is nearly full may have room for what the job needs.
                    self.archive.let_go(&digest);
                    log::warn!("{error}; job {job} goes on without this checkpoint, and takes longer to verify");
                    break;
                }
            }
        }
        writer.checkpoint_kept();
        Ok(())
    }

    /// Something could not be written: the policy decides, but for a failed sync, after which the system may say that what it has
    /// dropped is written, and for a descriptor that is not to be had, which has nothing to do with the disk, and passes.
    fn failed(&mut self, error: &DiskError, was_behind: bool) -> Result<(), Stop> {
        let passes = error.lacks_descriptor();
        if error.doing == Doing::Sync || (self.on_disk_error == OnDiskError::Stop && !passes) {
            // Whoever started the coordinator listens.
            self.threads.tell(FatalError::Journal(error.to_string()));
            return Err(Stop);
        }
        let cure = if passes { ". Raise the limit of open files (ulimit -n), or take fewer --connections" } else { "" };
        let why = format!("{error}{cure}");
        if !was_behind && self.behind.is_none() {
            self.tell(JournalEvent::NotWritten(why.clone()));
        }
        self.behind = Some(why);
        Ok(())
    }

    /// Removes a job, and the data that no other job needs.
    fn forget(&mut self, job: JobId) -> Result<(), Stop> {
        self.writers.remove(&job);
        self.archive.forget(job);
        self.underway.forget(job);
        let (Some(directory), Some(unneeded)) = (&self.directory, self.retention.forget(job)) else { return Ok(()) };
        // Of jobs that could not be read nobody knows what they need: the sweep of a later start decides.
        let unneeded = if self.archive.has_unread() { Vec::new() } else { unneeded };
        let removed = directory
            .remove_job(job)
            .and_then(|()| unneeded.iter().try_for_each(|digest| directory.remove_object(digest)));
        match removed {
            Err(error) if error.doing == Doing::Sync => self.failed(&error, false),
            Err(error) => {
                log::warn!("files of job {job} are not all removed: {error}; the next start tries again");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

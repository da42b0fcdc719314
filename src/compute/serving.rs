//! One coordinator's requests. Owns the tasks of its link until their data is here, and what is on its way; does not
//! train.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Sender, bounded};

use super::Shared;
use super::board::{Board, Line};
use super::duties::{Duties, Duty};
use super::held::{Found, Held, Key, Outcome};
use super::kept::Kept;
use super::load::InjectedLoad;
use super::workers::{Progress, QUEUE_TASKS_MAX, Queue, Task, Ticket, closing, say_task};
use crate::digest::Digest;
use crate::job::{JobId, TaskId};
use crate::model::ARITHMETIC;
use crate::net::{Feed, FetchError, Fetched, Fetcher, Fetching, Handler, Link, answer_fetch, answer_have};
use crate::store::Store;
use crate::wire::message::{
    Error, Held as HeldBytes, Holding, Piece, Poll, Polled, Pong, RejectReason, Rejected, Results, ShardSource,
    TaskName, TaskState, Train, Trained,
};
use crate::wire::{ErrorCode, Message, MessageType, object};

/// What a node remembers of its requests: it only ever fetches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context(Digest);

impl From<Fetching> for Context {
    fn from(Fetching(digest): Fetching) -> Context {
        Context(digest)
    }
}

/// Who asked for a task, and as what.
#[derive(Clone)]
pub(super) struct Recipient {
    /// The link's number.
    pub(super) serving: u64,
    pub(super) link: Link<Context>,
    pub(super) request: u32,
    pub(super) name: TaskName,
    /// Where an update goes that is too large for the answer.
    pub(super) kept: Arc<Kept>,
}

impl Recipient {
    /// Answers with what came of the task.
    pub(super) fn answer(&self, answer: Result<Outcome, Error>) {
        let message: Message<'_> = match answer {
            Ok(Outcome { epochs, loss, train_us, update, bytes }) => {
                let update_bytes = bytes.len() as u64;
                let inline = if bytes.len() <= Trained::inline_bytes_max(self.link.peer().payload_bytes_max) {
                    bytes.to_vec()
                } else {
                    self.kept.keep(update, bytes);
                    Vec::new()
                };
                Trained { name: self.name, epochs, loss, train_us, update, update_bytes, inline }.into()
            }
            Err(error) => error.into(),
        };
        // A link that has just ended wants no answer.
        let _ = self.link.answer(self.request, &message);
    }
}

/// The requests of one coordinator.
pub(super) struct Serving {
    /// The link's number.
    number: u64,
    held: Arc<Held<Recipient>>,
    store: Arc<Store>,
    queue: Queue,
    load: InjectedLoad,
    board: Board,
    duties: Duties,
    feed: Feed,
    object_bytes_max: u64,
    fetcher: Fetcher,
    /// Updates that the coordinator has not fetched yet.
    kept: Arc<Kept>,
    /// Tasks that wait for data, in the order of their requests.
    waiting: Vec<Waiting>,
    /// Every task not yet seen to be answered. Dropping an entry cancels its task.
    open: Vec<Open>,
    /// The latest step of the jobs, and its base.
    bases: Vec<(JobId, u64, Digest)>,
}

/// Jobs whose base is remembered; beyond, all are forgotten, and bases go when there is no room for them.
const BASES_MAX: usize = 64;

/// A task that waits for data.
struct Waiting {
    request: u32,
    train: Train,
    key: Key,
    shard: Digest,
    base_bytes: Option<Arc<Vec<u8>>>,
    shard_bytes: Option<Arc<Vec<u8>>>,
    ticket: Ticket,
    duty: Duty,
    line: Line,
    cancelled: crossbeam_channel::Receiver<()>,
}

struct Open {
    request: u32,
    name: TaskName,
    progress: Arc<Progress>,
    /// Dropping it cancels the task.
    cancel: Sender<()>,
}

impl Serving {
    pub(super) fn new(shared: &Shared, number: u64) -> Serving {
        let store = shared.store.clone();
        Serving {
            number,
            held: shared.held.clone(),
            fetcher: Fetcher::new(store.clone()),
            kept: Arc::new(Kept::new(store.clone(), shared.duties.clone())),
            store,
            queue: shared.queue.clone(),
            load: shared.load.clone(),
            board: shared.board.clone(),
            duties: shared.duties.clone(),
            feed: shared.feed.clone(),
            object_bytes_max: shared.object_bytes,
            waiting: Vec::new(),
            open: Vec::new(),
            bases: Vec::new(),
        }
    }

    fn train(&mut self, link: &Link<Context>, request: u32, train: Train) {
        let error = |code, text: String| Error::new(code, MessageType::Train as u8, text);
        let arithmetic = train.training.arithmetic;
        if arithmetic != ARITHMETIC {
            let text = format!("the task wants arithmetic {arithmetic}, and this node computes {ARITHMETIC}");
            let error = error(ErrorCode::Arithmetic, text).with_numbers(arithmetic.into(), ARITHMETIC.into());
            let _ = link.answer(request, &error.into());
            return;
        }
        let shard = match &train.shard {
            ShardSource::Shipped(digest) => *digest,
            ShardSource::Resident(name) => {
                // No later try finds it here.
                let error = error(ErrorCode::UnknownObject, format!("no data named {name} lives at this node"));
                let _ = link.answer(request, &error.into());
                return;
            }
        };
        // Tasks whose answers have left since are done with.
        self.open.retain(|open| link.is_open(open.request));
        let Some(duty) = self.duties.take_task() else {
            self.say(&train.name, || "handed back");
            let _ = link.answer(request, &closing().into());
            return;
        };
        let key = Key::of(&train, &shard);
        if self.is_held(link, request, &train, &key) {
            return;
        }
        let ticket = match self.ticket(train.may_reject) {
            Ok(ticket) => ticket,
            Err(reason) => {
                let counts = self.queue.counts();
                let (running, waiting) = (counts.running, counts.waiting);
                self.say(&train.name, || format!("rejected: {reason:?}"));
                let _ = link.answer(request, &Rejected { name: train.name, reason, running, waiting }.into());
                return;
            }
        };
        let (cancel, cancelled) = bounded(0);
        let progress = Arc::<Progress>::default();
        let line = self.board.enter(train.name.task, link.peer().address, progress.clone());
        self.open.push(Open { request, name: train.name, progress, cancel });
        self.drop_base_before(&train);
        let (base_bytes, shard_bytes) = (self.store.get(&train.base), self.store.get(&shard));
        // A shard's size is not told; that of the weights follows from the network.
        let weights = object::parameters_bytes(&train.training.network);
        let missing = [(train.base, base_bytes.is_none(), Some(weights)), (shard, shard_bytes.is_none(), None)];
        let waiting = Waiting { request, train, key, shard, base_bytes, shard_bytes, ticket, duty, line, cancelled };
        self.waiting.push(waiting);
        for (digest, is_missing, bytes) in missing {
            if is_missing {
                let _ = self.fetcher.want(link, digest, self.object_bytes_max, bytes);
            }
        }
        self.start_complete(link);
    }

    /// Answers a task that was trained for a link before, or goes on with one that is in training since. Says whether it
    /// has.
    fn is_held(&mut self, link: &Link<Context>, request: u32, train: &Train, key: &Key) -> bool {
        match self.held.ask(key, self.number, self.recipient(link, request, train.name)) {
            Found::Result(outcome, to) => {
                self.say(&train.name, || "is trained already: the result was held".to_owned());
                to.answer(Ok(outcome));
                true
            }
            Found::Running(progress, cancel) => {
                self.say(&train.name, || "is being trained already, since before this link".to_owned());
                self.open.push(Open { request, name: train.name, progress, cancel });
                true
            }
            Found::Nothing(_) => false,
        }
    }

    fn recipient(&self, link: &Link<Context>, request: u32, name: TaskName) -> Recipient {
        Recipient { serving: self.number, link: link.clone(), request, name, kept: self.kept.clone() }
    }

    /// A job's step trains from the weights that the step before led to: those before them make room.
    fn drop_base_before(&mut self, train: &Train) {
        let TaskId { job, step, .. } = train.name.task;
        let Some((_, last_step, last)) = self.bases.iter_mut().find(|(other, ..)| *other == job) else {
            if self.bases.len() == BASES_MAX {
                self.bases.clear();
            }
            return self.bases.push((job, step, train.base));
        };
        if step > *last_step {
            if *last != train.base {
                self.store.remove(last);
            }
            (*last_step, *last) = (step, train.base);
        }
    }

    fn say<S: Display>(&self, name: &TaskName, sentence: impl FnOnce() -> S) {
        say_task(&self.feed, name, sentence);
    }

    /// A place for the task, or why it is rejected.
    fn ticket(&self, may_reject: bool) -> Result<Ticket, RejectReason> {
        if !may_reject {
            return Ok(self.queue.accept());
        }
        if self.load.rejects() {
            return Err(RejectReason::LoadProbability);
        }
        self.queue.accept_if_free().ok_or(RejectReason::Busy)
    }

    /// Starts the tasks whose data is here.
    fn start_complete(&mut self, link: &Link<Context>) {
        let complete = |task: &Waiting| task.base_bytes.is_some() && task.shard_bytes.is_some();
        while let Some(place) = self.waiting.iter().position(complete) {
            let task = self.waiting.remove(place);
            self.start(link, task);
        }
    }

    fn start(&mut self, link: &Link<Context>, task: Waiting) {
        let Waiting { request, train, key, base_bytes, shard_bytes, ticket, duty, line, cancelled, .. } = task;
        let open = self.open.iter().find(|open| open.request == request);
        let (Some(open), Some(base), Some(shard)) = (open, base_bytes, shard_bytes) else { return };
        let progress = open.progress.clone();
        let feed = self.feed.clone();
        let to = self.recipient(link, request, train.name);
        let task = Task { train, key, base, shard, ticket, duty, line, feed, to, cancelled, progress };
        if self.duties.are_draining() {
            task.hand_back();
        } else if self.queue.push(task).is_err() {
            let error = Error::new(ErrorCode::Busy, MessageType::Train as u8, "too many tasks wait at this node");
            let tasks_max = QUEUE_TASKS_MAX as u64;
            let _ = link.answer(request, &error.retryable().with_numbers(tasks_max + 1, tasks_max).into());
        }
    }

    /// An object is here: tasks that waited for it may start.
    fn arrived(&mut self, link: &Link<Context>, digest: Digest, bytes: Arc<Vec<u8>>) {
        self.store.insert(digest, bytes.clone());
        for task in &mut self.waiting {
            if task.train.base == digest {
                task.base_bytes = Some(bytes.clone());
            }
            if task.shard == digest {
                task.shard_bytes = Some(bytes.clone());
            }
        }
        self.start_complete(link);
    }

    /// An object cannot be had: neither can the tasks that wait for it.
    fn missing(&mut self, link: &Link<Context>, digest: Digest, error: &FetchError) {
        log::warn!("object {} cannot be had: {error}", digest.short());
        let (code, got, allowed) = match *error {
            FetchError::WrongDigest(_) | FetchError::OtherSize { .. } => (ErrorCode::ObjectHash, 0, 0),
            FetchError::TooLarge { got, allowed } => (ErrorCode::ObjectTooLarge, got, allowed),
            FetchError::Refused(_) | FetchError::WrongPiece { .. } => (ErrorCode::UnknownObject, 0, 0),
        };
        for task in self.waiting.extract_if(.., |task| task.train.base == digest || task.shard == digest) {
            let text = format!("the task's data cannot be had: {error}");
            let error = Error::new(code, MessageType::Train as u8, text).with_numbers(got, allowed);
            let _ = link.answer(task.request, &error.retryable().into());
        }
    }

    fn put(&mut self, link: &Link<Context>, request: u32, piece: &Piece<'_>) {
        let answer: Message<'_> = match self.take(link, piece) {
            Ok(bytes) => HeldBytes { bytes: vec![bytes] }.into(),
            Err(error) => error.into(),
        };
        let _ = link.answer(request, &answer);
    }

    /// Takes a piece in. Says how many bytes of its object are held then.
    fn take(&mut self, link: &Link<Context>, piece: &Piece<'_>) -> Result<u64, Error> {
        let error = |code, text: String| Error::new(code, MessageType::Put as u8, text);
        let Piece { digest, object_bytes, offset, .. } = *piece;
        let allowed = self.object_bytes_max;
        if object_bytes > allowed {
            let text = format!("the object has {object_bytes} bytes, and at most {allowed} are taken");
            return Err(error(ErrorCode::ObjectTooLarge, text).with_numbers(object_bytes, allowed));
        }
        if let Some(bytes) = self.store.get(&digest) {
            return Ok(bytes.len() as u64);
        }
        let mut part = self.store.resume(&digest);
        let held = part.held_bytes();
        if offset != held {
            self.store.suspend(part);
            let text = format!("the piece begins at {offset}, and {held} bytes are held");
            return Err(error(ErrorCode::ObjectRange, text).with_numbers(offset, held));
        }
        part.append(&piece.bytes, object_bytes);
        if part.held_bytes() < object_bytes {
            self.store.suspend(part);
        } else {
            let bytes = part.finish().map_err(|wrong| error(ErrorCode::ObjectHash, wrong.to_string()).retryable())?;
            self.arrived(link, digest, Arc::new(bytes));
        }
        Ok(self.store.held_bytes(&digest))
    }

    fn poll(&self, link: &Link<Context>, request: u32, poll: Poll) {
        let open = self.open.iter().find(|open| open.name == poll.name && link.is_open(open.request));
        let progress = open.map(|open| &open.progress);
        let state = match progress {
            None => TaskState::Unknown,
            Some(progress) if progress.running.load(Ordering::Acquire) == 0 => TaskState::Waiting,
            Some(_) => TaskState::Running,
        };
        let polled = Polled {
            name: poll.name,
            state,
            batches_done: progress.map_or(0, |progress| progress.batches_done.load(Ordering::Relaxed)),
            batches_planned: progress.map_or(0, |progress| progress.batches_planned.load(Ordering::Relaxed)),
        };
        let _ = link.answer(request, &polled.into());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // The link has ended: what is in training goes on, for whoever asks for it; other tasks are cancelled by the drop of
        // what they wait with.
        for Open { progress, cancel, .. } in self.open.drain(..) {
            self.held.leave(&progress, cancel);
        }
        // What had begun to arrive is kept for the next one.
        self.fetcher.suspend();
        self.store.spares().clear();
    }
}

impl Handler<Context> for Serving {
    fn request(&mut self, link: &Link<Context>, request: u32, message: Message<'_>) {
        match message {
            Message::Train(train) => self.train(link, request, train),
            Message::Put(piece) => self.put(link, request, &piece),
            Message::Poll(poll) => self.poll(link, request, poll),
            Message::Results(Results { job }) => {
                let holding = Holding { results: self.held.of_job(job, self.number) };
                let _ = link.answer(request, &holding.fitting(link.peer().payload_bytes_max).into());
            }
            Message::Have(have) => drop(answer_have(link, request, &have, &self.store)),
            Message::Fetch(fetch) => {
                let _ = answer_fetch(link, request, fetch, &self.store);
                self.kept.fetched(&fetch);
            }
            other => {
                let kind = other.message_type();
                let text = format!("a node does not answer {kind}");
                let _ = link.answer(request, &Error::new(ErrorCode::Unexpected, kind as u8, text).into());
            }
        }
    }

    fn answer(&mut self, link: &Link<Context>, Context(digest): Context, message: Message<'_>, _last: bool) {
        let fetched = match message {
            Message::Data(piece) => self.fetcher.piece(link, digest, &piece),
            Message::Error(error) => self.fetcher.refused(link, digest, error),
            _ => return,
        };
        match fetched {
            Ok(Fetched::Partly) => {}
            Ok(Fetched::Whole(digest, bytes)) => self.arrived(link, digest, bytes),
            Err(error) => self.missing(link, digest, &error),
        }
    }

    fn cancel(&mut self, link: &Link<Context>, request: u32) {
        self.open.retain(|open| open.request != request);
        if let Some(place) = self.waiting.iter().position(|task| task.request == request) {
            self.waiting.remove(place);
            let error = Error::new(ErrorCode::Cancelled, MessageType::Train as u8, "the task was cancelled");
            let _ = link.answer(request, &error.into());
        }
    }

    fn load(&mut self) -> Pong {
        let counts = self.queue.counts();
        Pong { running: counts.running, waiting: counts.waiting, rows_per_second: counts.rows_per_second }
    }

    fn peer_load(&mut self, _: Pong) {}
}

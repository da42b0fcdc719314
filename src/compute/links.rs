//! One coordinator's requests. Owns what is on its way from that coordinator; what becomes of a task the core decides.

use std::sync::Arc;

use super::core::{Event, Identity, LinkKey, Object, Recipient, Train as TrainRequest};
use super::driver::Driver;
use super::specified::{LastSpecified, Specified, Unspecified};
use super::work::{Context, Work, refusal};
use crate::digest::Digest;
use crate::job::TaskId;
use crate::job::memory::objects_bytes;
use crate::model::ARITHMETIC;
use crate::net::{FetchError, Fetched, Fetcher, Handler, Link, answer_fetch, answer_have};
use crate::store::Store;
use crate::wire::message::{Error, Held, Piece, Poll, Pong, Results, RowsSource, Train};
use crate::wire::{ErrorCode, Message, MessageType, object};

/// Where objects are kept.
pub(super) struct Kept {
    pub(super) store: Arc<Store>,
    /// Bytes of rows that it keeps.
    pub(super) rows_bytes: u64,
    /// The node's, each of whose results is there until it has been fetched.
    pub(super) workers: u32,
}

/// The requests of one coordinator.
pub(super) struct Serving {
    key: LinkKey,
    driver: Arc<Driver>,
    store: Arc<Store>,
    rows_bytes_max: u64,
    workers: u32,
    object_bytes_max: u64,
    fetcher: Fetcher,
    last_specified: LastSpecified,
}

impl Serving {
    pub(super) fn new(key: LinkKey, driver: Arc<Driver>, kept: Kept, object_bytes_max: u64) -> Serving {
        let Kept { store, rows_bytes: rows_bytes_max, workers } = kept;
        let (fetcher, last_specified) = (Fetcher::new(store.clone()), LastSpecified::default());
        Serving { key, driver, fetcher, store, rows_bytes_max, workers, object_bytes_max, last_specified }
    }

    fn train(&mut self, link: &Link<Context>, request: u32, mut train: Train) -> Result<(), Error> {
        let is_of_another_job = train.training.is_some();
        let specified = match self.last_specified.of(&mut train) {
            Ok(specified) => specified,
            Err(Unspecified::Request(error)) => {
                let _ = link.answer(request, &error.into());
                return Ok(());
            }
            Err(Unspecified::Connection(error)) => return Err(error),
        };
        let arithmetic = specified.training.arithmetic;
        if arithmetic != ARITHMETIC {
            let text = format!("the task wants arithmetic {arithmetic}, and this node computes {ARITHMETIC}");
            let error = refusal(ErrorCode::Arithmetic, text).with_numbers(arithmetic.into(), ARITHMETIC.into());
            let _ = link.answer(request, &error.into());
            return Ok(());
        }
        let shards = match &train.rows {
            RowsSource::Shipped(digest) => vec![*digest],
            RowsSource::Blocks { ranges, .. } => ranges.iter().map(|range| range.shard).collect(),
            RowsSource::Resident(name) => {
                // No later try finds it here.
                let text = format!("no data named {name} lives at this node");
                let _ = link.answer(request, &refusal(ErrorCode::UnknownObject, text).into());
                return Ok(());
            }
        };
        let Train { name, may_reject, base, rows, .. } = train;
        if is_of_another_job {
            // What weights and results take is counted with tasks, and is no part of what is kept of rows.
            let beside = objects_bytes(&specified.training, self.workers);
            self.store.limit(self.rows_bytes_max.saturating_add(beside));
        }
        // A shard's size is not told; that of the weights follows from the network.
        let weights = object::parameters_bytes(&specified.training.network);
        let object = |digest| Object { digest, data: self.store.get(&digest) };
        let wanted = self.driver.report(Event::TrainRequested(TrainRequest {
            to: Recipient { link: self.key, request, attempt: name },
            identity: identity_of(name.task, base, &rows, &specified),
            may_reject,
            base: object(base),
            shards: shards.into_iter().map(object).collect(),
            work: Arc::new(Work::new(name, rows, specified)),
        }));
        for digest in wanted {
            let _ = self.fetcher.want(link, digest, self.object_bytes_max, (digest == base).then_some(weights));
        }
        Ok(())
    }

    /// An object is here.
    fn arrived(&self, digest: Digest, bytes: Arc<Vec<u8>>) {
        self.store.insert(digest, bytes.clone());
        self.driver.report(Event::ObjectHere { link: self.key, digest, data: bytes });
    }

    /// An object cannot be had.
    fn missing(&self, digest: Digest, error: &FetchError) {
        log::warn!("cannot fetch object {}: {error}", digest.short());
        let (code, got, allowed) = match *error {
            FetchError::WrongDigest(_) | FetchError::OtherSize { .. } => (ErrorCode::ObjectHash, 0, 0),
            FetchError::TooLarge { got, allowed } => (ErrorCode::ObjectTooLarge, got, allowed),
            FetchError::Refused(_) | FetchError::WrongPiece { .. } => (ErrorCode::UnknownObject, 0, 0),
        };
        let text = format!("the task's data cannot be had: {error}");
        let failure = refusal(code, text).with_numbers(got, allowed).retryable();
        self.driver.report(Event::ObjectMissing { link: self.key, digest, failure });
    }

    fn put(&self, link: &Link<Context>, request: u32, piece: &Piece<'_>) {
        let answer: Message<'_> = match self.take(piece) {
            Ok(bytes) => Held { bytes: vec![bytes] }.into(),
            Err(error) => error.into(),
        };
        let _ = link.answer(request, &answer);
    }

    /// Takes a piece in. Says how many bytes of its object are held then.
    fn take(&self, piece: &Piece<'_>) -> Result<u64, Error> {
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
            self.arrived(digest, Arc::new(bytes));
        }
        Ok(self.store.held_bytes(&digest))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.driver.link_down(self.key);
        // What had begun to arrive is kept for the next one.
        self.fetcher.suspend();
        self.store.buffers().clear();
    }
}

impl Handler<Context> for Serving {
    fn request(&mut self, link: &Link<Context>, request: u32, message: Message<'_>) -> Result<(), Error> {
        let key = self.key;
        match message {
            Message::Train(train) => return self.train(link, request, train),
            Message::Put(piece) => self.put(link, request, &piece),
            Message::Poll(Poll { name }) => {
                self.driver.report(Event::PollRequested { link: key, request, attempt: name });
            }
            Message::Results(Results { job }) => {
                self.driver.report(Event::ResultsRequested { link: key, request, job });
            }
            Message::Have(have) => drop(answer_have(link, request, &have, &self.store)),
            Message::Fetch(fetch) => {
                let _ = answer_fetch(link, request, fetch, &self.store);
                let end_bytes = fetch.offset.saturating_add(fetch.bytes_max.into());
                self.driver.report(Event::PieceFetched { link: key, digest: fetch.digest, end_bytes });
            }
            other => {
                let kind = other.message_type();
                let text = format!("a node does not answer {kind}");
                let _ = link.answer(request, &Error::new(ErrorCode::Unexpected, kind as u8, text).into());
            }
        }
        Ok(())
    }

    fn answer(&mut self, link: &Link<Context>, Context(digest): Context, message: Message<'_>, _last: bool) {
        let fetched = match message {
            Message::Data(piece) => self.fetcher.piece(link, digest, &piece),
            Message::Error(error) => self.fetcher.refused(link, digest, error),
            _ => return,
        };
        match fetched {
            Ok(Fetched::Partly) => {}
            Ok(Fetched::Whole(digest, bytes)) => self.arrived(digest, bytes),
            Err(error) => self.missing(digest, &error),
        }
    }

    fn cancel(&mut self, _: &Link<Context>, request: u32) {
        self.driver.report(Event::CancelRequested { link: self.key, request });
    }

    fn load(&mut self) -> Pong {
        let counts = self.driver.look(|core, _| core.counts());
        Pong { running: counts.running, waiting: counts.waiting, rows_per_second: counts.rows_per_second }
    }

    fn peer_load(&mut self, _: Pong) {}
}

/// What the result of a task on these rows depends on.
fn identity_of(task: TaskId, base: Digest, rows: &RowsSource, specified: &Specified) -> Identity {
    Identity { task, base, rest: Digest::of_parts(&[&rows.encoded(), &specified.digest.0]) }
}

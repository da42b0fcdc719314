//! A conversation with the coordinator: one connection, on which questions are asked one after the other and answers are
//! waited for. Owns the connection and what is served and fetched over it; does not know what is asked, or how anything
//! is shown.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::connection_error::ConnectionError;
use super::options::Access;
use crate::digest::Digest;
use crate::job::{JobStatus, RoundSummary, Summary};
use crate::net::{
    self, DialError, FetchError, Fetched, Fetcher, Fetching, Greeted, Handler, Identity, Link, Unsent, answer_fetch,
    answer_have,
};
use crate::store::Store;
use crate::wire::message::{Accepted, Described, Entries, Error, Features, Finding, Have, Held, Listed, Notice, Pong};
use crate::wire::text::shown;
use crate::wire::{ErrorCode, Message, Role};

/// The coordinator gets so long to take the connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// The coordinator gets so long for an answer that it has at hand, and for each of several.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// So often is it looked whether an object still comes.
const STALL_LOOK: Duration = Duration::from_secs(1);

/// The bytes of an object.
pub(super) type Object = Arc<Vec<u8>>;

/// What is remembered of a request.
#[derive(Clone, Copy, Debug)]
enum Context {
    Asked,
    Fetch(Digest),
}

impl From<Fetching> for Context {
    fn from(Fetching(digest): Fetching) -> Context {
        Context::Fetch(digest)
    }
}

/// An answer to what was asked.
#[derive(Debug)]
pub(super) enum Answer {
    Accepted(Accepted),
    Round(RoundSummary),
    Notice(Notice),
    Done(Box<Summary>),
    Job(Box<JobStatus>),
    Listed(Listed),
    Described(Box<Described>),
    Entries(Entries),
    Held(Held),
    Finding(Finding),
}

/// What waits to be read by the program, at most. Its reader waits while it is full, and the coordinator with it.
const HEARD_MAX: usize = 16_384;

/// What comes from the connection, in its order.
enum Heard {
    Answer(Answer),
    Refused(Error),
    Object(Digest, Result<Object, FetchError>),
    Closed(String),
}

/// A connection to the coordinator. It is closed when this is dropped.
pub(super) struct Conversation {
    link: Link<Context>,
    heard: Receiver<Heard>,
    fetcher: Arc<Mutex<Fetcher>>,
    interrupts: Receiver<()>,
}

impl Conversation {
    /// Dials and greets. Whoever answers may fetch from `objects`; what is fetched from it and cut off stays in `parts`.
    pub(super) fn open(
        access: &Access,
        objects: &Arc<Store>,
        parts: &Arc<Store>,
        interrupts: &Receiver<()>,
    ) -> Result<Conversation, ConnectionError> {
        let fetcher = Arc::new(Mutex::new(Fetcher::new(parts.clone())));
        let (sender, heard) = bounded(HEARD_MAX);
        let listening = Listening { objects: objects.clone(), fetcher: fetcher.clone(), sender };
        let (opened, opening) = bounded(1);
        let dialling = access.clone();
        let run = move || {
            match dial(&dialling)
                .and_then(|greeted| net::open(greeted).map_err(|error| ConnectionError::Lost(error.to_string())))
            {
                Err(error) => drop(opened.send(Err(error))),
                Ok((link, reader)) => {
                    let software = link.peer().features.software.as_deref().unwrap_or("a program that tells no name");
                    log::info!("connected to {}: {}", link.peer().address, shown(software));
                    if opened.send(Ok(link.clone())).is_err() {
                        // Interrupted while it dialled.
                        return link.close("the client is done");
                    }
                    let mut listening = listening;
                    let closed = reader.run(&mut listening);
                    fetcher_of(&listening.fetcher).suspend();
                    listening.tell(Heard::Closed(closed.to_string()));
                }
            }
        };
        let started = Builder::new().name("coordinator".to_owned()).spawn(run);
        started.map_err(|error| ConnectionError::Lost(format!("no thread can be started: {error}")))?;
        let link = select! {
            recv(opening) -> link => link.unwrap_or_else(|_| Err(ConnectionError::ended()))?,
            recv(interrupts) -> _ => return Err(ConnectionError::Interrupted),
        };
        Ok(Conversation { link, heard, fetcher, interrupts: interrupts.clone() })
    }

    /// The longest payload that the coordinator takes.
    pub(super) fn payload_bytes_max(&self) -> u32 {
        self.link.peer().payload_bytes_max
    }

    /// Asks something. What is answered comes from [`Conversation::next`].
    pub(super) fn ask(&self, message: &Message<'_>) -> Result<(), ConnectionError> {
        self.link.request(message, Context::Asked).map(drop).map_err(|Unsent| self.why_unsent())
    }

    /// The next answer to what was asked, whenever it comes.
    pub(super) fn next(&self) -> Result<Answer, ConnectionError> {
        loop {
            if let Some(answer) = answer_in(self.hear(None)?)? {
                return Ok(answer);
            }
        }
    }

    /// Asks something that the coordinator can answer at once; the first answer.
    pub(super) fn answer_to(&self, message: &Message<'_>) -> Result<Answer, ConnectionError> {
        self.ask(message)?;
        self.next_at_once()
    }

    /// The next answer, which the coordinator has at hand.
    pub(super) fn next_at_once(&self) -> Result<Answer, ConnectionError> {
        loop {
            let heard = self.hear(Some(ANSWER_WAIT))?;
            let heard = heard
                .ok_or_else(|| ConnectionError::Lost(format!("it has not answered for {} s", ANSWER_WAIT.as_secs())));
            if let Some(answer) = answer_in(Some(heard?))? {
                return Ok(answer);
            }
        }
    }

    /// Fetches an object of so many bytes; what comes has this digest.
    pub(super) fn fetch(&self, digest: Digest, bytes: u64) -> Result<Object, ConnectionError> {
        let wanted = fetcher_of(&self.fetcher).want(&self.link, digest, bytes, Some(bytes));
        wanted.map_err(|Unsent| self.why_unsent())?;
        loop {
            match self.hear(Some(STALL_LOOK))? {
                Some(Heard::Object(of, object)) if of == digest => return object.map_err(ConnectionError::Object),
                Some(Heard::Closed(why)) => return Err(ConnectionError::Lost(why)),
                Some(_) => {}
                None if fetcher_of(&self.fetcher).is_stalled() => {
                    return Err(ConnectionError::Lost("it sends nothing of what it was asked for".to_owned()));
                }
                None => {}
            }
        }
    }

    /// Which of these objects, no more than one HAVE may name, the coordinator holds whole, being so large.
    pub(super) fn holds(&self, digests: &[Digest], bytes: u64) -> Result<Vec<bool>, ConnectionError> {
        match self.answer_to(&Have { digests: digests.to_vec() }.into())? {
            Answer::Held(held) if held.bytes.len() == digests.len() => {
                Ok(held.bytes.iter().map(|&of| of == bytes).collect())
            }
            _ => Err(ConnectionError::unfitting("HAVE")),
        }
    }

    /// What comes next; `None` if that takes longer than `wait`.
    fn hear(&self, wait: Option<Duration>) -> Result<Option<Heard>, ConnectionError> {
        let never = crossbeam_channel::never();
        let timeout = wait.map_or(never, crossbeam_channel::after);
        select! {
            recv(self.heard) -> heard => heard.map(Some).map_err(|_| ConnectionError::ended()),
            recv(self.interrupts) -> _ => Err(ConnectionError::Interrupted),
            recv(timeout) -> _ => Ok(None),
        }
    }

    /// Nothing can be sent: the reader is about to say why.
    fn why_unsent(&self) -> ConnectionError {
        loop {
            match self.hear(Some(ANSWER_WAIT)) {
                Ok(Some(Heard::Closed(why))) => return ConnectionError::Lost(why),
                Ok(Some(_)) => {}
                Ok(None) => return ConnectionError::ended(),
                Err(error) => return error,
            }
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.link.close("the client is done");
    }
}

fn fetcher_of(fetcher: &Mutex<Fetcher>) -> MutexGuard<'_, Fetcher> {
    fetcher.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The answer in what was heard, if it is one.
fn answer_in(heard: Option<Heard>) -> Result<Option<Answer>, ConnectionError> {
    match heard {
        Some(Heard::Answer(answer)) => Ok(Some(answer)),
        Some(Heard::Refused(error)) => Err(ConnectionError::Refused(error)),
        Some(Heard::Closed(why)) => Err(ConnectionError::Lost(why)),
        // Nobody waits for it any more.
        Some(Heard::Object(..)) | None => Ok(None),
    }
}

fn dial(access: &Access) -> Result<Greeted, ConnectionError> {
    let identity = Identity {
        role: Role::Client,
        id: net::random_u128().to_le_bytes(),
        features: Features {
            cluster: access.cluster.as_ref().map(|name| name.as_str().to_owned()),
            software: Some(concat!("gradwire ", env!("CARGO_PKG_VERSION")).to_owned()),
            ..Features::default()
        },
    };
    let target = &access.target;
    let dialled = net::dial(&target.host, target.port, &identity, Role::Coordinator, CONNECT_WAIT);
    dialled.map_err(|error| match error {
        DialError::Refused { error, .. } if error.retry => ConnectionError::Refused(error),
        other => ConnectionError::Dial(other),
    })
}

struct Listening {
    objects: Arc<Store>,
    fetcher: Arc<Mutex<Fetcher>>,
    sender: Sender<Heard>,
}

impl Listening {
    fn tell(&self, heard: Heard) {
        // Only a client that is done with the conversation does not listen.
        let _ = self.sender.send(heard);
    }

    fn fetched(&self, of: Digest, fetched: Result<Fetched, FetchError>) {
        match fetched {
            Ok(Fetched::Partly) => {}
            Ok(Fetched::Whole(_, bytes)) => self.tell(Heard::Object(of, Ok(bytes))),
            Err(error) => self.tell(Heard::Object(of, Err(error))),
        }
    }
}

impl Handler<Context> for Listening {
    fn request(&mut self, link: &Link<Context>, request: u32, message: Message<'_>) -> Result<(), Error> {
        match message {
            Message::Fetch(fetch) => drop(answer_fetch(link, request, fetch, &self.objects)),
            Message::Have(have) => drop(answer_have(link, request, &have, &self.objects)),
            other => {
                let kind = other.message_type();
                let text = format!("a client does not answer {kind}");
                let _ = link.answer(request, &Error::new(ErrorCode::Unexpected, kind as u8, text).into());
            }
        }
        Ok(())
    }

    fn answer(&mut self, link: &Link<Context>, context: Context, message: Message<'_>, _last: bool) {
        let answer = match (context, message) {
            (Context::Asked, Message::Accepted(accepted)) => Answer::Accepted(accepted),
            (Context::Asked, Message::Round(round)) => Answer::Round(round),
            (Context::Asked, Message::Notice(notice)) => Answer::Notice(notice),
            (Context::Asked, Message::Done(done)) => Answer::Done(Box::new(done.summary)),
            (Context::Asked, Message::Job(job)) => Answer::Job(Box::new(job)),
            (Context::Asked, Message::Listed(listed)) => Answer::Listed(listed),
            (Context::Asked, Message::Described(described)) => Answer::Described(Box::new(described)),
            (Context::Asked, Message::Entries(entries)) => Answer::Entries(entries),
            (Context::Asked, Message::Held(held)) => Answer::Held(held),
            (Context::Asked, Message::Finding(finding)) => Answer::Finding(finding),
            (Context::Asked, Message::Error(error)) => return self.tell(Heard::Refused(error)),
            (Context::Fetch(digest), Message::Data(piece)) => {
                let fetched = fetcher_of(&self.fetcher).piece(link, digest, &piece);
                return self.fetched(digest, fetched);
            }
            (Context::Fetch(digest), Message::Error(error)) => {
                let fetched = fetcher_of(&self.fetcher).refused(link, digest, error);
                return self.fetched(digest, fetched);
            }
            // The session's rules let no other answer through.
            _ => return,
        };
        self.tell(Heard::Answer(answer));
    }

    fn cancel(&mut self, _: &Link<Context>, _: u32) {}

    fn load(&mut self) -> Pong {
        Pong::default()
    }

    fn peer_load(&mut self, _: Pong) {}
}

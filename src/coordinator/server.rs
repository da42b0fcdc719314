//! The server for clients: their readers' side. Owns objects on their way from a client; turns messages into inputs.
//! Does not know jobs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::event::DriverEvent;
use super::handles::{Client, ClientContext, ClientKey};
use super::journal::{Absent, Archive};
use super::questions::{Questions, TURN_WAIT};
use super::room::{Inbox, Room};
use super::status::{self, Snapshot};
use super::status_page;
use crate::job::JobId;
use crate::net::{
    self, DialError, FetchError, Fetched, Fetcher, Greeted, Handler, Identity, Link, Peer, Question, Service,
    answer_fetch_with_copy,
};
use crate::store::Store;
use crate::wire::message::{Describe, Described, Error, Held, Jobs, Ledger, OrderVerb, Pong};
use crate::wire::text::Metrics;
use crate::wire::{ErrorCode, Message, MessageType, Role, limits};

/// The service behind the coordinator's port.
pub(super) struct Clients {
    identity: Identity,
    store: Arc<Store>,
    room: Room,
    archive: Arc<Archive>,
    /// Until the journal has been read.
    recovering: Arc<AtomicBool>,
    events: Sender<DriverEvent>,
    limits: Vec<(&'static str, u64)>,
    next: AtomicU64,
}

impl Clients {
    /// `limits` are those that were set at the start.
    pub(super) fn new(
        identity: Identity,
        store: Arc<Store>,
        room: Room,
        archive: Arc<Archive>,
        recovering: Arc<AtomicBool>,
        events: Sender<DriverEvent>,
        limits: Vec<(&'static str, u64)>,
    ) -> Clients {
        Clients { identity, store, room, archive, recovering, events, limits, next: AtomicU64::new(1) }
    }

    /// A moment of the thread that owns everything.
    fn snapshot(&self) -> Result<Snapshot, &'static str> {
        let (reply, answer) = bounded(1);
        self.events.send(DriverEvent::Status(reply)).map_err(|_| "the coordinator is stopping\n")?;
        answer.recv_timeout(Duration::from_secs(5)).map_err(|_| "the coordinator is busy; try again\n")
    }
}

/// What the coordinator is told that has found itself in its nodes file.
pub(super) const ITSELF: &str = "this is the coordinator itself, which its own nodes file lists: take that line out";

/// Whether it is itself that the coordinator has dialled.
pub(super) fn is_itself(error: &DialError) -> bool {
    matches!(error, DialError::Refused { error, .. } if error.code == ErrorCode::Unexpected && error.text == ITSELF)
}

impl Service for Clients {
    fn identity(&self) -> Identity {
        self.identity.clone()
    }

    fn admit(&self, peer: &Peer) -> Result<(), Error> {
        match peer.role {
            Role::Client if self.recovering.load(Ordering::Acquire) => {
                let text = "the coordinator is reading its journal: try again soon";
                Err(Error::new(ErrorCode::Recovering, MessageType::Hello as u8, text).retryable())
            }
            Role::Client => Ok(()),
            Role::Coordinator if peer.id == self.identity.id => {
                Err(Error::new(ErrorCode::Unexpected, MessageType::Hello as u8, ITSELF))
            }
            role => Err(Error::new(
                ErrorCode::Unexpected,
                MessageType::Hello as u8,
                format!("this coordinator dials its nodes itself and serves clients: a {role} is neither"),
            )),
        }
    }

    fn connection(&self, greeted: Greeted) {
        let address = greeted.peer.address;
        let (link, reader) = match net::open(greeted) {
            Ok(opened) => opened,
            Err(error) => return log::warn!("lost the client at {address}: {error}"),
        };
        let key = ClientKey(self.next.fetch_add(1, Ordering::Relaxed));
        let inbox = Inbox::new(self.store.clone(), self.room.clone(), key);
        let fetcher = Arc::new(Mutex::new(Fetcher::new(Arc::new(inbox))));
        let client = Client { key, link, fetcher };
        log::debug!("client {address} connected");
        if self.events.send(DriverEvent::ClientHere { client: client.clone() }).is_err() {
            return client.link.close("the coordinator is stopping");
        }
        let mut handler = ClientLink {
            client: client.clone(),
            store: self.store.clone(),
            archive: self.archive.clone(),
            events: self.events.clone(),
            questions: Questions::new(self.events.clone(), TURN_WAIT),
        };
        let closed = reader.run(&mut handler);
        client.fetcher().suspend();
        log::debug!("client {address} disconnected: {closed}");
        let _ = self.events.send(DriverEvent::ClientGone { client: key });
    }

    fn answer(&self, question: Question) -> String {
        match self.snapshot() {
            Ok(snapshot) => status::answer(question, &snapshot),
            Err(sentence) => sentence.to_owned(),
        }
    }

    fn page(&self) -> Option<String> {
        // Without a snapshot there is the sentence that says why.
        self.snapshot().ok().map(|snapshot| status_page::page(&snapshot))
    }

    fn metrics(&self, out: &mut Metrics) {
        // Without a snapshot the scraper gets what the connections have counted.
        if let Ok(snapshot) = self.snapshot() {
            status::metrics(&snapshot, out);
        }
    }

    fn limits(&self) -> Vec<(&'static str, u64)> {
        self.limits.clone()
    }
}

struct ClientLink {
    client: Client,
    store: Arc<Store>,
    archive: Arc<Archive>,
    events: Sender<DriverEvent>,
    questions: Questions,
}

impl ClientLink {
    fn refuse(&self, request: u32, why: Absent, job: JobId, about: MessageType) {
        if let Absent::Unread(text) = &why {
            log::error!("{text}");
        }
        let _ = self.client.link.answer(request, &why.error(job, about).into());
    }
}

impl Handler<ClientContext> for ClientLink {
    fn request(&mut self, link: &Link<ClientContext>, request: u32, message: Message<'_>) -> Result<(), Error> {
        match message {
            Message::Submit(submit) => {
                let client = self.client.clone();
                // Asked for here: the engine's thread does not wait for a disk.
                let room = self.archive.disk_room(&submit.specification);
                let submit = Box::new(submit);
                self.questions.ask(DriverEvent::Submit { client, request, submit, room });
            }
            Message::Attach(attach) => {
                let client = self.client.clone();
                self.questions.ask(DriverEvent::Attach { client, request, attach });
            }
            Message::Jobs(Jobs { job }) => {
                let client = self.client.clone();
                self.questions.ask(DriverEvent::List { client, request, job });
            }
            Message::Order(order) => {
                let client = self.client.clone();
                let is_resumed = order.verb == OrderVerb::Resume;
                // Read here: the engine's thread does not wait for a disk.
                let specification = if is_resumed { self.archive.specification(order.job).ok() } else { None };
                self.questions.ask(DriverEvent::Order { client, request, order, specification });
            }
            Message::Doctor(_) => {
                let client = self.client.clone();
                self.questions.ask(DriverEvent::Doctor { client, request });
            }
            Message::Describe(Describe { job }) => match self.archive.specification(job) {
                Ok(specification) => {
                    let specification = Arc::unwrap_or_clone(specification);
                    let _ = link.answer(request, &Described { job, specification }.into());
                }
                Err(why) => self.refuse(request, why, job, MessageType::Describe),
            },
            Message::Ledger(Ledger { job, first }) => {
                match self.archive.entries(job, first, limits::LEDGER_ENTRIES_MAX) {
                    Ok(entries) => {
                        let entries = entries.fitting(link.peer().payload_bytes_max);
                        let _ = link.answer(request, &entries.into());
                    }
                    Err(why) => self.refuse(request, why, job, MessageType::Ledger),
                }
            }
            Message::Fetch(fetch) => {
                let object = self.archive.recall(&fetch.digest, &self.store);
                let _ = answer_fetch_with_copy(link, request, &fetch, object.as_deref().map(Vec::as_slice));
            }
            Message::Have(have) => {
                let held = |digest| match self.store.held_bytes(digest) {
                    0 => self.archive.object_bytes(digest).unwrap_or(0),
                    bytes => bytes,
                };
                let bytes = have.digests.iter().map(held).collect();
                let _ = link.answer(request, &Held { bytes }.into());
            }
            other => {
                let kind = other.message_type();
                let text = format!("a coordinator does not answer {kind} of a client");
                let _ = link.answer(request, &Error::new(ErrorCode::Unexpected, kind as u8, text).into());
            }
        }
        Ok(())
    }

    fn answer(&mut self, link: &Link<ClientContext>, context: ClientContext, message: Message<'_>, _last: bool) {
        let ClientContext(digest) = context;
        let fetched = match message {
            Message::Data(piece) => self.client.fetcher().piece(link, digest, &piece),
            Message::Error(error) => self.client.fetcher().refused(link, digest, error),
            _ => return,
        };
        let event = match fetched {
            Ok(Fetched::Partly) => return,
            Ok(Fetched::Whole(digest, (bytes, charge))) => {
                self.store.insert_pinned(digest, bytes);
                DriverEvent::ObjectArrived { digest, charge }
            }
            Err(error) => {
                let is_wrong = matches!(error, FetchError::TooLarge { .. });
                let reason =
                    if is_wrong { error.to_string() } else { format!("the client's object cannot be had: {error}") };
                DriverEvent::ObjectMissing { client: self.client.key, digest, reason, is_wrong }
            }
        };
        let _ = self.events.send(event);
    }

    fn cancel(&mut self, _: &Link<ClientContext>, request: u32) {
        let _ = self.events.send(DriverEvent::CancelRequest { client: self.client.key, request });
    }

    fn load(&mut self) -> Pong {
        Pong::default()
    }

    fn peer_load(&mut self, _: Pong) {}
}

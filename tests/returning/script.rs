//! A coordinator that does what a test says, on connections that it takes one after the other.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::TcpListener;

use gradwire::job::{JobState, Metric, Metrics, RoundSummary};

use gradwire::digest::Digest;
use gradwire::wire::message::{Accepted, Error, Features, Fetch, Notice, Piece, Pong, Submit};
use gradwire::wire::{ErrorCode, Message, MessageType, Role};

use crate::common::peer::{Peer, Received};

/// Objects by their digest.
pub type Objects = HashMap<Digest, Vec<u8>>;

/// Where the scripted coordinator listens.
pub struct Script(TcpListener);

impl Script {
    pub fn new() -> Script {
        Script(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn port(&self) -> String {
        self.0.local_addr().unwrap().port().to_string()
    }

    /// The next connection, before its greeting.
    pub fn accept(&self) -> Peer {
        Peer::new(self.0.accept().unwrap().0)
    }

    /// The next connection, greeted.
    pub fn welcome(&self) -> Peer {
        let mut peer = self.accept();
        assert!(peer.welcome(Role::Coordinator, Features::default()));
        peer
    }

    /// Refuses the next connection instead of greeting it.
    pub fn refuse(&self, code: ErrorCode) {
        let mut peer = self.accept();
        assert!(matches!(peer.next().unwrap().message(), Message::Hello(_)));
        peer.send(Error::new(code, MessageType::Hello as u8, "the journal is being read").retryable(), 0);
        while peer.next().is_some() {}
    }
}

/// A partial answer.
pub fn more<'a>(peer: &mut Peer, message: impl Into<Message<'a>>, request: u32) {
    peer.send_bytes(&message.into().seal(request, true).to_bytes());
}

/// The next request that is no heartbeat; `None` once the client has gone.
pub fn next_request(peer: &mut Peer) -> Option<Received> {
    loop {
        let frame = peer.next()?;
        match frame.message() {
            Message::Ping(_) => peer.send(Pong::default(), frame.header.request),
            Message::Goodbye(_) => return None,
            _ => return Some(frame),
        }
    }
}

/// The SUBMIT that is due.
pub fn await_submit(peer: &mut Peer) -> (u32, Submit) {
    let frame = next_request(peer).expect("SUBMIT");
    match frame.message() {
        Message::Submit(submit) => (frame.header.request, submit),
        other => panic!("SUBMIT was due, not {other:?}"),
    }
}

pub fn accepted(state: JobState, attached: bool, rounds_done: u32) -> Accepted {
    Accepted { state, attached, queue_position: 0, rounds_done }
}

pub fn round(round: u32, rounds: u32) -> RoundSummary {
    let (loss, metrics) = (1.0 / f64::from(round), metrics());
    RoundSummary { round, rounds, loss, rows: 4, metrics, nodes: 1, merged: 2, skipped: 0, round_us: 1000 }
}

/// One of four rows is told wrongly.
pub fn metrics() -> Metrics {
    Metrics::default().with(Metric::Loss, 2.0).with(Metric::Errors, 1.0)
}

pub fn notice(text: &str) -> Notice {
    Notice { kind: gradwire::wire::message::NoticeKind::Other, text: text.to_owned() }
}

/// Answers a FETCH from these objects.
pub fn answer_fetch(peer: &mut Peer, request: u32, fetch: Fetch, objects: &Objects) {
    let Some(object) = objects.get(&fetch.digest) else {
        return peer.send(Error::new(ErrorCode::UnknownObject, MessageType::Fetch as u8, "it is not held"), request);
    };
    let start = fetch.offset as usize;
    let end = object.len().min(start + fetch.bytes_max as usize);
    let bytes = Cow::Borrowed(&object[start..end]);
    let (digest, object_bytes, offset) = (fetch.digest, object.len() as u64, fetch.offset);
    peer.send(Message::Data(Piece { digest, object_bytes, offset, bytes }), request);
}

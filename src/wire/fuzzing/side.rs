//! One side of a connection in the target `session`. Owns the rules of protocol.md ("A connection"), said once more and held
//! against every step of a session; does not know what happens on the other side.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::wire::header::{Flags, Header, OPTIONAL_TYPES_FROM, VERSION};
use crate::wire::session::{Heartbeat, Incoming, Violation};
use crate::wire::{MessageType, Role, Session, limits};

/// A kind of request: who may ask it of whom, and how it is answered, by the table in protocol.md.
pub(super) struct Rule {
    pub(super) request: MessageType,
    /// Whoever, where there is none.
    from_to: Option<(Role, Role)>,
    partial: &'static [MessageType],
    last: &'static [MessageType],
}

pub(super) const RULES: [Rule; 14] = {
    use MessageType::*;
    const TO_NODE: Option<(Role, Role)> = Some((Role::Coordinator, Role::Node));
    const TO_COORDINATOR: Option<(Role, Role)> = Some((Role::Client, Role::Coordinator));
    [
        Rule { request: Ping, from_to: None, partial: &[], last: &[Pong, Error] },
        Rule { request: Have, from_to: None, partial: &[], last: &[Held, Error] },
        Rule { request: Put, from_to: TO_NODE, partial: &[], last: &[Held, Error] },
        Rule { request: Fetch, from_to: None, partial: &[], last: &[Data, Error] },
        Rule { request: Train, from_to: TO_NODE, partial: &[], last: &[Trained, Rejected, Error] },
        Rule { request: Poll, from_to: TO_NODE, partial: &[], last: &[Polled, Error] },
        Rule { request: Submit, from_to: TO_COORDINATOR, partial: &[Accepted, Round, Notice], last: &[Done, Error] },
        Rule { request: Attach, from_to: TO_COORDINATOR, partial: &[Accepted, Round, Notice], last: &[Done, Error] },
        Rule { request: Jobs, from_to: TO_COORDINATOR, partial: &[Job], last: &[Listed, Error] },
        Rule { request: Order, from_to: TO_COORDINATOR, partial: &[Job], last: &[Listed, Error] },
        Rule { request: Describe, from_to: TO_COORDINATOR, partial: &[], last: &[Described, Error] },
        Rule { request: Ledger, from_to: TO_COORDINATOR, partial: &[], last: &[Entries, Error] },
        Rule { request: Doctor, from_to: TO_COORDINATOR, partial: &[Finding], last: &[Listed, Error] },
        Rule { request: Results, from_to: TO_NODE, partial: &[], last: &[Holding, Error] },
    ]
};

impl Rule {
    fn of(request: MessageType) -> Option<&'static Rule> {
        RULES.iter().find(|rule| rule.request == request)
    }

    fn allows(&self, from: Role, to: Role) -> bool {
        self.from_to.is_none_or(|allowed| allowed == (from, to))
    }
}

/// One side: the session, and beside it what must be true of it.
pub(super) struct Side {
    me: Role,
    peer: Role,
    dialled: bool,
    /// It remembers each request's id, to be compared.
    pub(super) session: Session<u32>,
    /// Frames on their way here.
    pub(super) inbox: VecDeque<Header>,
    /// Our requests without a final answer, and the last of all.
    pub(super) asked: BTreeMap<u32, MessageType>,
    last_asked: u32,
    /// The peer's requests that were let in and not answered for good, and the last of all.
    pub(super) owed: BTreeMap<u32, MessageType>,
    last_owed: u32,
    heard_at: Duration,
    pinged: bool,
    /// Of a frame that is still arriving, since the last sign of life.
    unheard_bytes: usize,
}

impl Side {
    pub(super) fn new(me: Role, peer: Role, dialled: bool) -> Side {
        Side {
            me,
            peer,
            dialled,
            session: Session::new(me, peer, dialled, Duration::ZERO),
            inbox: VecDeque::new(),
            asked: BTreeMap::new(),
            last_asked: 0,
            owed: BTreeMap::new(),
            last_owed: 0,
            heard_at: Duration::ZERO,
            pinged: false,
            unheard_bytes: 0,
        }
    }

    /// Opens a request, where the rules let this side; none where there is no place.
    pub(super) fn ask(&mut self, kind: MessageType) -> Option<Header> {
        if !Rule::of(kind)?.allows(self.me, self.peer) {
            return None;
        }
        // One place is PING's.
        let places = limits::OPEN_REQUESTS_MAX - usize::from(kind != MessageType::Ping);
        // The dialler's are 1, 3, 5 and so on, the acceptor's 2, 4, 6.
        let next = if self.last_asked == 0 && self.dialled { 1 } else { self.last_asked + 2 };
        let opened = self.session.open(kind, next);
        assert_eq!(opened, (self.asked.len() < places).then_some(next), "{kind} with {} open", self.asked.len());
        let request = opened?;
        self.last_asked = request;
        self.asked.insert(request, kind);
        Some(header(kind, false, request))
    }

    /// Answers the `which`th request that is owed an answer, in one of the ways there are; none if nothing is owed.
    pub(super) fn answer(&mut self, which: usize, choice: usize) -> Option<Header> {
        let (request, kind) = nth(&self.owed, which)?;
        let Rule { partial, last, .. } = Rule::of(kind)?;
        let choice = choice % (partial.len() + last.len());
        Some(match partial.get(choice) {
            Some(&answer) => self.send_answer(request, answer, false),
            None => self.send_answer(request, last[choice - partial.len()], true),
        })
    }

    pub(super) fn send_answer(&mut self, request: u32, answer: MessageType, last: bool) -> Header {
        assert!(self.session.is_open(request), "{request} is closed before its final answer");
        if last {
            assert!(self.session.answered(request) && !self.session.is_open(request));
            self.owed.remove(&request);
        }
        header(answer, !last, request)
    }

    /// CANCEL of a request, where one is open. It names the request in its payload, and stands alone: the final answer still
    /// comes.
    pub(super) fn cancel(&self) -> Option<Header> {
        (!self.asked.is_empty()).then(|| header(MessageType::Cancel, false, 0))
    }

    /// A part of a frame arrives.
    pub(super) fn trickle(&mut self, now: Duration, bytes: usize) {
        self.session.arrived(now, bytes);
        self.unheard_bytes += bytes;
        if self.unheard_bytes >= limits::HEARTBEAT_BYTES {
            self.hear(now);
        }
    }

    fn hear(&mut self, now: Duration) {
        (self.heard_at, self.pinged, self.unheard_bytes) = (now, false, 0);
    }

    /// A frame arrives. Says whether the connection goes on.
    pub(super) fn receive(&mut self, now: Duration, header: &Header) -> Result<bool, Violation> {
        self.hear(now);
        let incoming = match self.session.receive(now, header) {
            Ok(incoming) => incoming,
            Err(violation) => {
                self.check_refusal(violation, header);
                return Err(violation);
            }
        };
        let request = header.request;
        let is = |kind: MessageType, more| kind as u8 == header.kind && header.flags == flags(more);
        match incoming {
            Incoming::Request(kind) => {
                let rule = Rule::of(kind).unwrap_or_else(|| panic!("{kind} is no request"));
                assert!(is(kind, false) && rule.allows(self.peer, self.me), "{kind} from a {}", self.peer);
                assert!(self.may_open(request), "{request} is no id for the peer, or not new");
                self.last_owed = request;
                self.owed.insert(request, kind);
                assert!(self.session.is_open(request));
            }
            Incoming::Answer { kind, to, context, last } => {
                assert_eq!(self.asked.get(&request), Some(&to), "an answer to nothing, or to something else");
                assert_eq!(context, request, "another request's context");
                let allowed = Rule::of(to).map_or(&[][..], |rule| if last { rule.last } else { rule.partial });
                assert!(is(kind, !last) && allowed.contains(&kind), "{kind} to {to}");
                if last {
                    self.asked.remove(&request);
                }
            }
            Incoming::Alone(kind) => {
                use MessageType::{Cancel, Error, Goodbye};
                assert!(is(kind, false) && request == 0 && matches!(kind, Cancel | Goodbye | Error));
                return Ok(kind == Cancel);
            }
            Incoming::Skipped => assert!(header.kind >= OPTIONAL_TYPES_FROM),
        }
        Ok(true)
    }

    /// Whether the peer may open a request of this id now.
    fn may_open(&self, request: u32) -> bool {
        (request % 2 == 1) != self.dialled && request > self.last_owed
    }

    /// What the peer is told must be true.
    fn check_refusal(&self, violation: Violation, header: &Header) {
        let request = header.request;
        let known = MessageType::from_number(header.kind);
        let rule = known.and_then(Rule::of);
        let is_partial = RULES.iter().any(|rule| known.is_some_and(|kind| rule.partial.contains(&kind)));
        let is_answer = RULES.iter().any(|rule| known.is_some_and(|kind| rule.last.contains(&kind))) || is_partial;
        let is_true = match violation {
            Violation::UnknownType { got } => {
                got == header.kind && known.is_none() && header.kind < OPTIONAL_TYPES_FROM
            }
            Violation::Flags { kind, got } => {
                Some(kind) == known && got == header.flags.0 && header.flags != flags(is_partial)
            }
            Violation::Unexpected { kind, from } => {
                let refused = match (rule, self.asked.get(&request).and_then(|&kind| Rule::of(kind))) {
                    (Some(rule), _) => !rule.allows(self.peer, self.me),
                    (None, Some(asked)) if is_answer => ![asked.partial, asked.last].concat().contains(&kind),
                    _ => matches!(kind, MessageType::Hello | MessageType::Welcome | MessageType::Challenge),
                };
                Some(kind) == known && from == self.peer && refused
            }
            Violation::RequestId { kind, got } => {
                let refused = match rule {
                    Some(_) => !self.may_open(request),
                    None if is_answer => !self.asked.contains_key(&request),
                    None => request != 0,
                };
                Some(kind) == known && got == request && refused
            }
            Violation::TooManyRequests => rule.is_some() && self.owed.len() == limits::OPEN_REQUESTS_MAX,
        };
        assert!(is_true, "{header:?} was refused with {violation:?}");
    }

    /// PING after a second of silence, lost after three: neither earlier nor later.
    pub(super) fn heartbeat(&mut self, now: Duration) -> Heartbeat {
        let silence = now - self.heard_at;
        let expected = if silence >= limits::HEARTBEAT_LOST {
            Heartbeat::Lost
        } else if self.pinged {
            Heartbeat::Quiet { until: self.heard_at + limits::HEARTBEAT_LOST }
        } else if silence >= limits::HEARTBEAT_SILENCE {
            Heartbeat::Ping
        } else {
            Heartbeat::Quiet { until: self.heard_at + limits::HEARTBEAT_SILENCE }
        };
        assert_eq!(self.session.heartbeat(now), expected, "after {silence:?} of silence");
        self.pinged |= expected == Heartbeat::Ping;
        expected
    }

    /// What is remembered is bounded, and is what is open.
    pub(super) fn check(&self) {
        assert!(self.asked.len() <= limits::OPEN_REQUESTS_MAX && self.owed.len() <= limits::OPEN_REQUESTS_MAX);
        // To compare all of a full table after every step would be most of the work.
        if self.asked.len() < 50 {
            self.check_all();
        }
    }

    /// The same, whatever it costs.
    pub(super) fn check_all(&self) {
        assert!(self.session.unanswered().eq(self.asked.keys().map(|request| (*request, request))));
    }
}

/// The entry `which`, counted round and round; none if there is none.
fn nth(requests: &BTreeMap<u32, MessageType>, which: usize) -> Option<(u32, MessageType)> {
    let which = which.checked_rem(requests.len())?;
    requests.iter().nth(which).map(|(&request, &kind)| (request, kind))
}

fn flags(more: bool) -> Flags {
    if more { Flags::MORE } else { Flags::NONE }
}

pub(super) fn header(kind: MessageType, more: bool, request: u32) -> Header {
    let kind = kind as u8;
    Header { version: VERSION, kind, flags: flags(more), request, payload_bytes: 0, payload_crc: 0 }
}

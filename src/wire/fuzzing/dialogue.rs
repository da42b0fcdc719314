//! The target `session`: two sessions joined by a pipe. Owns the rules of protocol.md ("Sessions"), said once more and
//! held against every step; does not know payloads.
//!
//! Honest sides keep the rules, and then neither may ever find the other in violation. In a hostile dialogue any frame may
//! arrive as well: then every frame that is let in must be one that the rules allow, and every refusal must be true.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};

use super::payload::check_told;
use super::values::role;
use crate::wire::header::{Flags, Header, OPTIONAL_TYPES_FROM, VERSION};
use crate::wire::session::{Heartbeat, Incoming, Violation};
use crate::wire::{MessageType, Role, Session, limits};

/// A kind of request: who may ask it of whom, and how it is answered, by the table in protocol.md.
struct Rule {
    request: MessageType,
    /// Whoever, where there is none.
    from_to: Option<(Role, Role)>,
    partial: &'static [MessageType],
    last: &'static [MessageType],
}

const RULES: [Rule; 7] = {
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

/// What may happen. `dialler` says on which side: the dialler's or the acceptor's.
#[derive(Debug)]
enum Operation {
    /// A side opens requests and sends them.
    Ask { dialler: bool, kind: MessageType, times: Times },
    /// A side answers one of the requests that it owes an answer; `choice` is the answer.
    Answer { dialler: bool, which: u8, choice: u8, times: Times },
    /// A side answers a request by its id, if it is there.
    AnswerAny { dialler: bool, request: u32 },
    /// A side no longer wants one of its requests answered.
    Cancel { dialler: bool, which: u8 },
    /// A side sends an optional message that the other does not know.
    SendOptional { dialler: bool, kind: u8 },
    /// Frames arrive at a side.
    Deliver { dialler: bool, times: Times },
    /// Time passes while nothing arrives.
    Stall { ms: u16 },
    /// Time passes while everything arrives at once and PINGs are answered.
    Idle { ms: u16 },
    /// A frame that nobody has sent arrives at a side. Only in a hostile dialogue.
    Inject { dialler: bool, kind: u8, flags: u16, request: u32 },
    /// A side says GOODBYE, or, with `error`, that the connection is lost.
    Close { dialler: bool, error: bool },
}

/// Once mostly, sometimes more often than there are places for requests.
#[derive(Debug)]
struct Times(usize);

impl<'a> Arbitrary<'a> for Times {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let byte: u8 = u.arbitrary()?;
        Ok(Times(1 + usize::from(byte.saturating_sub(0xFC)) * 350))
    }
}

impl<'a> Arbitrary<'a> for Operation {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        // Traffic often, an end seldom: a dialogue is to get somewhere.
        let (operation, dialler) = (u.int_in_range(0..=40u8)?, u.arbitrary()?);
        Ok(match operation {
            0..10 => Operation::Ask { dialler, kind: u.choose(&RULES)?.request, times: u.arbitrary()? },
            10..20 => {
                let (which, choice, times) = u.arbitrary()?;
                Operation::Answer { dialler, which, choice, times }
            }
            20..30 => Operation::Deliver { dialler, times: u.arbitrary()? },
            30..32 => Operation::Stall { ms: u.int_in_range(0..=3_100)? },
            32..35 => Operation::Idle { ms: u.int_in_range(0..=30_000)? },
            35 => Operation::AnswerAny { dialler, request: u.arbitrary()? },
            36 => Operation::Cancel { dialler, which: u.arbitrary()? },
            37 => Operation::SendOptional { dialler, kind: u.int_in_range(OPTIONAL_TYPES_FROM..=u8::MAX)? },
            38..40 => {
                let (kind, flags, request) = u.arbitrary()?;
                Operation::Inject { dialler, kind, flags, request }
            }
            _ => Operation::Close { dialler, error: u.arbitrary()? },
        })
    }
}

/// Two sides, whether the dialogue is hostile, and what happens.
///
/// # Panics
///
/// When a request ends in more or less than one final answer, when an id is used twice or by the wrong side, when a frame
/// is let in that the rules forbid or refused though they allow it, when more is remembered than the limits allow, or
/// when the heartbeat asks for anything at another time than it should.
pub fn session(input: &[u8]) {
    let mut unstructured = Unstructured::new(input);
    let Ok(mut dialogue) = Dialogue::new(&mut unstructured) else { return };
    while !unstructured.is_empty() && !dialogue.is_closed {
        let Ok(operation) = unstructured.arbitrary() else { return };
        dialogue.apply(operation);
    }
    dialogue.finish();
}

struct Dialogue {
    dialler: Side,
    acceptor: Side,
    now: Duration,
    is_hostile: bool,
    is_closed: bool,
}

impl Dialogue {
    fn new(u: &mut Unstructured<'_>) -> Result<Dialogue> {
        let (is_hostile, dialler, acceptor) = (u.arbitrary()?, role(u)?, role(u)?);
        Ok(Dialogue {
            dialler: Side::new(dialler, acceptor, true),
            acceptor: Side::new(acceptor, dialler, false),
            now: Duration::ZERO,
            is_hostile,
            is_closed: false,
        })
    }

    /// The side that something happens on, and the other.
    fn sides(&mut self, dialler: bool) -> (&mut Side, &mut Side) {
        if dialler { (&mut self.dialler, &mut self.acceptor) } else { (&mut self.acceptor, &mut self.dialler) }
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Ask { dialler, kind, times } => {
                let (side, other) = self.sides(dialler);
                for _ in 0..times.0 {
                    other.inbox.extend(side.ask(kind));
                }
            }
            Operation::Answer { dialler, which, choice, times } => {
                let (side, other) = self.sides(dialler);
                for _ in 0..times.0 {
                    other.inbox.extend(side.answer(which.into(), choice.into()));
                }
            }
            Operation::AnswerAny { dialler, request } => {
                let (side, other) = self.sides(dialler);
                if side.owed.contains_key(&request) {
                    other.inbox.push_back(side.send_answer(request, MessageType::Error, true));
                }
                assert!(!side.session.answered(request), "an answer to nothing, or a second one, may be sent");
            }
            Operation::Cancel { dialler, which } => {
                let (side, other) = self.sides(dialler);
                // It names its request in its payload, and stands alone: the final answer still comes.
                other.inbox.extend(nth(&side.asked, which.into()).map(|_| header(MessageType::Cancel, false, 0)));
            }
            Operation::SendOptional { dialler, kind } => {
                let optional = Header { kind, ..header(MessageType::Ping, false, 0) };
                self.sides(dialler).1.inbox.push_back(optional);
            }
            Operation::Deliver { dialler, times } => {
                for _ in 0..times.0 {
                    self.deliver(dialler);
                }
            }
            Operation::Stall { ms } => {
                self.now += Duration::from_millis(ms.into());
                self.beat();
            }
            Operation::Idle { ms } => self.idle(Duration::from_millis(ms.into())),
            Operation::Inject { dialler, kind, flags, request } => {
                if self.is_hostile {
                    let header = Header { kind, flags: Flags(flags), ..header(MessageType::Ping, false, request) };
                    self.receive(dialler, &header);
                }
            }
            Operation::Close { dialler, error } => {
                let kind = if error { MessageType::Error } else { MessageType::Goodbye };
                self.sides(dialler).1.inbox.push_back(header(kind, false, 0));
            }
        }
        self.dialler.check();
        self.acceptor.check();
    }

    /// The next frame on its way to this side arrives.
    fn deliver(&mut self, dialler: bool) {
        if let Some(header) = self.sides(dialler).0.inbox.pop_front() {
            self.receive(dialler, &header);
        }
    }

    fn receive(&mut self, dialler: bool, header: &Header) {
        let (now, is_hostile) = (self.now, self.is_hostile);
        match self.sides(dialler).0.receive(now, header) {
            Ok(goes_on) => self.is_closed |= !goes_on && !is_hostile,
            // A connection closes over a violation. Here it goes on: what was refused must have changed nothing.
            Err(violation) => assert!(is_hostile, "an honest side was refused: {violation}"),
        }
    }

    /// Asks both sides for their heartbeat.
    fn beat(&mut self) {
        for dialler in [true, false] {
            let now = self.now;
            let (side, other) = self.sides(dialler);
            match side.heartbeat(now) {
                Heartbeat::Quiet { .. } => {}
                Heartbeat::Ping => other.inbox.extend(side.ask(MessageType::Ping)),
                Heartbeat::Lost => self.is_closed = true,
            }
        }
    }

    /// Time passes on a network without delay, between sides that answer PINGs: neither is ever lost.
    fn idle(&mut self, time: Duration) {
        let end = self.now + time;
        self.flush();
        while !self.is_closed {
            self.beat();
            assert!(self.is_hostile || !self.is_closed, "a side that answers PINGs was lost");
            self.flush();
            if self.now == end {
                return;
            }
            self.now = (self.now + limits::HEARTBEAT_SILENCE).min(end);
        }
    }

    /// Everything arrives, and PINGs are answered.
    fn flush(&mut self) {
        loop {
            for dialler in [true, false] {
                while !self.is_closed && !self.sides(dialler).0.inbox.is_empty() {
                    self.deliver(dialler);
                }
                let (side, other) = self.sides(dialler);
                let is_ping = |&(_, kind): &(&u32, &MessageType)| *kind == MessageType::Ping;
                let pings: Vec<u32> = side.owed.iter().filter(is_ping).map(|(&request, _)| request).collect();
                other.inbox.extend(pings.into_iter().map(|ping| side.send_answer(ping, MessageType::Pong, true)));
            }
            if self.is_closed || (self.dialler.inbox.is_empty() && self.acceptor.inbox.is_empty()) {
                return;
            }
        }
    }

    /// Whatever is owed is answered, and nothing stays open.
    fn finish(mut self) {
        if self.is_hostile || self.is_closed {
            return;
        }
        self.flush();
        for dialler in [true, false] {
            let (side, other) = self.sides(dialler);
            while let Some((&request, _)) = side.owed.first_key_value() {
                other.inbox.push_back(side.send_answer(request, MessageType::Error, true));
            }
        }
        self.flush();
        for side in [&self.dialler, &self.acceptor] {
            side.check();
            assert!(self.is_closed || (side.asked.is_empty() && side.owed.is_empty()), "a request has no final answer");
        }
    }
}

/// One side: the session, and beside it what must be true of it.
struct Side {
    me: Role,
    peer: Role,
    dialled: bool,
    /// It remembers each request's id, to be compared.
    session: Session<u32>,
    /// Frames on their way here.
    inbox: VecDeque<Header>,
    /// Our requests without a final answer, and the last of all.
    asked: BTreeMap<u32, MessageType>,
    last_asked: u32,
    /// The peer's requests that were let in and not answered for good, and the last of all.
    owed: BTreeMap<u32, MessageType>,
    last_owed: u32,
    heard_at: Duration,
    pinged: bool,
}

impl Side {
    fn new(me: Role, peer: Role, dialled: bool) -> Side {
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
        }
    }

    /// Opens a request, where the rules let this side; none where there is no place.
    fn ask(&mut self, kind: MessageType) -> Option<Header> {
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
    fn answer(&mut self, which: usize, choice: usize) -> Option<Header> {
        let (request, kind) = nth(&self.owed, which)?;
        let Rule { partial, last, .. } = Rule::of(kind)?;
        let choice = choice % (partial.len() + last.len());
        Some(match partial.get(choice) {
            Some(&answer) => self.send_answer(request, answer, false),
            None => self.send_answer(request, last[choice - partial.len()], true),
        })
    }

    fn send_answer(&mut self, request: u32, answer: MessageType, last: bool) -> Header {
        assert!(self.session.is_open(request), "{request} is closed before its final answer");
        if last {
            assert!(self.session.answered(request) && !self.session.is_open(request));
            self.owed.remove(&request);
        }
        header(answer, !last, request)
    }

    /// A frame arrives. Says whether the connection goes on.
    fn receive(&mut self, now: Duration, header: &Header) -> Result<bool, Violation> {
        (self.heard_at, self.pinged) = (now, false);
        let incoming = match self.session.receive(now, header) {
            Ok(incoming) => incoming,
            Err(violation) => {
                self.check_refusal(violation, header);
                check_told(violation.into());
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
        (request % 2 == 0) == self.dialled && request > self.last_owed
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

    /// "PING after 1 s without a frame, lost after 3 s": neither earlier nor later.
    fn heartbeat(&mut self, now: Duration) -> Heartbeat {
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

    /// What is remembered is what is open, and bounded.
    fn check(&self) {
        assert!(self.session.unanswered().eq(self.asked.keys().map(|request| (*request, request))));
        assert!(self.asked.len() <= limits::OPEN_REQUESTS_MAX && self.owed.len() <= limits::OPEN_REQUESTS_MAX);
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

fn header(kind: MessageType, more: bool, request: u32) -> Header {
    let kind = kind as u8;
    Header { version: VERSION, kind, flags: flags(more), request, payload_bytes: 0, payload_crc: 0 }
}

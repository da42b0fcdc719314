//! The target `session`: two sessions joined by a pipe. Owns what may happen between them; what must be true of each is
//! said in `side`.
//!
//! Honest sides keep the rules, and then neither may ever find the other in violation. In a hostile dialogue any frame may
//! arrive as well: then every frame that is let in must be one that the rules allow, and every refusal must be true.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};

use super::payload::check_told;
use super::side::{RULES, Side, header};
use super::values::role;
use crate::wire::header::{Flags, Header, OPTIONAL_TYPES_FROM};
use crate::wire::session::Heartbeat;
use crate::wire::{MessageType, limits};

/// What may happen. `dialler` says on which side: the dialler's or the acceptor's.
#[derive(Debug)]
enum Operation {
    /// A side opens requests and sends them.
    Ask { dialler: bool, kind: MessageType, times: Times },
    /// A side answers one of the requests that it owes an answer; `choice` is the answer.
    Answer { dialler: bool, which: u8, choice: u8, times: Times },
    /// A side answers a request by its id, if it is there.
    AnswerAny { dialler: bool, request: u32 },
    /// A side no longer wants one of its requests answered in full.
    Cancel { dialler: bool },
    /// A side sends an optional message that the other does not know.
    SendOptional { dialler: bool, kind: u8 },
    /// Frames arrive at a side.
    Deliver { dialler: bool, times: Times },
    /// A part of a large frame arrives at a side.
    Trickle { dialler: bool, bytes: u16 },
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
            20..29 => Operation::Deliver { dialler, times: u.arbitrary()? },
            29 => Operation::Trickle { dialler, bytes: u.arbitrary()? },
            30..32 => Operation::Stall { ms: u.int_in_range(0..=3_100)? },
            32..35 => Operation::Idle { ms: u.int_in_range(0..=30_000)? },
            35 => Operation::AnswerAny { dialler, request: u.arbitrary()? },
            36 => Operation::Cancel { dialler },
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
            Operation::Cancel { dialler } => {
                let (side, other) = self.sides(dialler);
                other.inbox.extend(side.cancel());
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
            Operation::Trickle { dialler, bytes } => {
                let now = self.now;
                self.sides(dialler).0.trickle(now, bytes.into());
            }
            Operation::Stall { ms } => {
                self.now += Duration::from_millis(ms.into());
                self.beat();
            }
            Operation::Idle { ms } => self.idle(Duration::from_millis(ms.into())),
            Operation::Inject { dialler, kind, flags, request } => {
                let (now, is_hostile) = (self.now, self.is_hostile);
                let header = Header { kind, flags: Flags(flags), ..header(MessageType::Ping, false, request) };
                if is_hostile && let Err(violation) = self.sides(dialler).0.receive(now, &header) {
                    check_told(violation.into());
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
        self.dialler.check_all();
        self.acceptor.check_all();
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
            assert!(self.is_closed || (side.asked.is_empty() && side.owed.is_empty()), "a request has no final answer");
        }
    }
}

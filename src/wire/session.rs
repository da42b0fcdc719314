//! The rules of an open connection (protocol.md, "A connection"): who may send what, request ids, final answers, heartbeat.
//! Pure: it takes `now` and frame headers, and owns no socket. `C` is what the owner wants to remember of each request.

use std::fmt;
use std::time::Duration;

use super::code::ErrorCode;
use super::header::{Flags, Header, MessageType, OPTIONAL_TYPES_FROM};
use super::limits;

/// What a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Asks for jobs.
    Client = 1,
    /// Hands out tasks.
    Coordinator = 2,
    /// Trains them.
    Node = 3,
}

impl Role {
    /// The role of this number.
    pub fn from_number(number: u8) -> Option<Role> {
        match number {
            1 => Some(Role::Client),
            2 => Some(Role::Coordinator),
            3 => Some(Role::Node),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Client => "client",
            Role::Coordinator => "coordinator",
            Role::Node => "node",
        })
    }
}

/// How a message type is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Opens a request that ends in exactly one final answer.
    Request,
    /// Ends a request.
    Final,
    /// Answers a request; more follows.
    Partial,
    /// Stands alone, on request 0.
    Alone,
    /// Ends a request; on request 0, stands alone.
    Error,
    /// Only while greeting.
    Greeting,
}

fn use_of(kind: MessageType) -> Use {
    use MessageType::*;
    match kind {
        Ping | Have | Put | Fetch | Train | Poll | Results => Use::Request,
        Submit | Attach | Jobs | Order | Describe | Ledger | Doctor => Use::Request,
        Pong | Held | Data | Trained | Rejected | Polled | Holding => Use::Final,
        Done | Listed | Described | Entries => Use::Final,
        Accepted | Round | Notice | Job | Finding => Use::Partial,
        Cancel | Goodbye => Use::Alone,
        Error => Use::Error,
        Hello | Welcome | Challenge => Use::Greeting,
    }
}

/// MORE is set on partial answers, always, and nothing is set on anything else; while greeting too.
pub fn check_flags(kind: MessageType, flags: Flags) -> Result<(), Violation> {
    let wanted = if use_of(kind) == Use::Partial { Flags::MORE } else { Flags::NONE };
    if flags == wanted { Ok(()) } else { Err(Violation::Flags { kind, got: flags.0 }) }
}

/// Whether a request of type `kind` may go from `from` to `to`.
fn may_request(kind: MessageType, from: Role, to: Role) -> bool {
    use MessageType::*;
    match kind {
        Ping | Have | Fetch => true,
        Put | Train | Poll | Results => from == Role::Coordinator && to == Role::Node,
        Submit | Attach | Jobs | Order | Describe | Ledger | Doctor => from == Role::Client && to == Role::Coordinator,
        _ => false,
    }
}

/// Whether `answer` answers `request`.
fn answers(answer: MessageType, request: MessageType) -> bool {
    use MessageType::*;
    matches!(
        (request, answer),
        (_, Error)
            | (Ping, Pong)
            | (Have | Put, Held)
            | (Fetch, Data)
            | (Train, Trained | Rejected)
            | (Poll, Polled)
            | (Results, Holding)
            | (Submit | Attach, Accepted | Round | Notice | Done)
            | (Jobs | Order, Job | Listed)
            | (Describe, Described)
            | (Ledger, Entries)
            | (Doctor, Finding | Listed)
    )
}

/// What a frame is to its receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming<C> {
    /// A request to be answered.
    Request(MessageType),
    /// An answer to one of our requests.
    Answer {
        /// The answer's type.
        kind: MessageType,
        /// The request's type.
        to: MessageType,
        /// What was remembered of the request.
        context: C,
        /// Whether the request has ended.
        last: bool,
    },
    /// A message that stands alone.
    Alone(MessageType),
    /// An optional message of a type that is not known here: skip it.
    Skipped,
}

/// Why a frame breaks the rules. The connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A type that is neither known nor optional.
    UnknownType {
        /// Its number.
        got: u8,
    },
    /// A flag that was not negotiated, or MORE where it does not belong or is missing.
    Flags {
        /// The message's type.
        kind: MessageType,
        /// Its flags.
        got: u16,
    },
    /// A message that this peer may not send now.
    Unexpected {
        /// The message's type.
        kind: MessageType,
        /// The peer.
        from: Role,
    },
    /// A request id of the wrong parity, used before, or not open.
    RequestId {
        /// The message's type.
        kind: MessageType,
        /// The id.
        got: u32,
    },
    /// More requests open than are allowed.
    TooManyRequests,
}

impl Violation {
    /// The code that the peer is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownType { .. } => ErrorCode::UnknownType,
            Self::Flags { .. } => ErrorCode::Flags,
            Self::Unexpected { .. } => ErrorCode::Unexpected,
            Self::RequestId { .. } => ErrorCode::RequestId,
            Self::TooManyRequests => ErrorCode::Busy,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType { got } => write!(f, "messages of type {got:#04x} are not known here"),
            Self::Flags { kind, got: 0 } => write!(f, "{kind} must have the flag MORE here"),
            Self::Flags { kind, got } => write!(f, "{kind} may not have the flags {got:#06x}"),
            Self::Unexpected { kind, from } => write!(f, "a {from} may not send {kind} here"),
            Self::RequestId { kind, got } => match use_of(*kind) {
                Use::Alone => write!(f, "{kind} belongs to no request, and has request id {got}: it must be 0"),
                Use::Request => write!(
                    f,
                    "{kind} opens request {got}: the id must be above all that this side has used, and odd only from the \
                     side that dialled"
                ),
                _ => write!(f, "{kind} answers request {got}, which is not open"),
            },
            Self::TooManyRequests => {
                write!(f, "more than {} requests wait for an answer", limits::OPEN_REQUESTS_MAX)
            }
        }
    }
}

impl std::error::Error for Violation {}

/// What the heartbeat asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// Nothing until then.
    Quiet {
        /// When to ask again.
        until: Duration,
    },
    /// Send a PING.
    Ping,
    /// The peer is lost.
    Lost,
}

/// A request of ours without a final answer.
#[derive(Debug)]
struct Ours<C> {
    request: u32,
    kind: MessageType,
    context: C,
}

/// One side of an open connection.
#[derive(Debug)]
pub struct Session<C> {
    me: Role,
    peer: Role,
    /// The id of our next request; ids of one side keep their parity.
    next_request: u32,
    /// Our requests without a final answer, in the order of their ids: ids grow, and there are few.
    ours: Vec<Ours<C>>,
    /// The peer's last request id. Theirs have the other parity.
    peer_last: u32,
    peer_parity: u32,
    /// The peer's requests that we have not answered finally, in the order of their ids.
    theirs: Vec<u32>,
    heard_at: Duration,
    pinged: bool,
    /// Bytes that have arrived since the last sign of life.
    unheard_bytes: usize,
}

impl<C: Clone> Session<C> {
    /// A session just greeted. The dialler's request ids are odd, the acceptor's even.
    pub fn new(me: Role, peer: Role, dialled: bool, now: Duration) -> Session<C> {
        Session {
            me,
            peer,
            next_request: if dialled { 1 } else { 2 },
            ours: Vec::new(),
            peer_last: 0,
            peer_parity: if dialled { 0 } else { 1 },
            theirs: Vec::new(),
            heard_at: now,
            pinged: false,
            unheard_bytes: 0,
        }
    }

    /// Notes that bytes have arrived, whole frames or not. "So many bytes of a frame that is still arriving are a sign of
    /// life too": a large frame over a slow line is no silence, and a byte now and then is no life.
    pub fn arrived(&mut self, now: Duration, bytes: usize) {
        self.unheard_bytes = self.unheard_bytes.saturating_add(bytes);
        if self.unheard_bytes >= limits::HEARTBEAT_BYTES {
            self.hear(now);
        }
    }

    fn hear(&mut self, now: Duration) {
        self.heard_at = now;
        self.pinged = false;
        self.unheard_bytes = 0;
    }

    /// Opens a request and returns its id; `None` while as many are open as the peer must take, and once the ids of
    /// this connection are used up. The last place is PING's, or a full session would seem lost.
    pub fn open(&mut self, kind: MessageType, context: C) -> Option<u32> {
        debug_assert!(may_request(kind, self.me, self.peer), "{kind} from {} to {}", self.me, self.peer);
        let places = limits::OPEN_REQUESTS_MAX - usize::from(kind != MessageType::Ping);
        if self.ours.len() >= places {
            return None;
        }
        let request = self.next_request;
        self.next_request = request.checked_add(2)?;
        self.ours.push(Ours { request, kind, context });
        Some(request)
    }

    /// Our requests without a final answer.
    pub fn unanswered(&self) -> impl Iterator<Item = (u32, &C)> {
        self.ours.iter().map(|ours| (ours.request, &ours.context))
    }

    /// Notes that the final answer to the peer's `request` leaves. False if there is no such request: then nothing may
    /// be sent.
    pub fn answered(&mut self, request: u32) -> bool {
        let place = self.theirs.binary_search(&request);
        place.map(|place| self.theirs.remove(place)).is_ok()
    }

    /// Whether the peer's `request` waits for its final answer.
    pub fn is_open(&self, request: u32) -> bool {
        self.theirs.binary_search(&request).is_ok()
    }

    /// Judges a frame that has arrived.
    pub fn receive(&mut self, now: Duration, header: &Header) -> Result<Incoming<C>, Violation> {
        self.hear(now);
        let Some(kind) = MessageType::from_number(header.kind) else {
            if header.kind >= OPTIONAL_TYPES_FROM {
                return Ok(Incoming::Skipped);
            }
            return Err(Violation::UnknownType { got: header.kind });
        };
        check_flags(kind, header.flags)?;
        match use_of(kind) {
            Use::Greeting => Err(Violation::Unexpected { kind, from: self.peer }),
            Use::Request => self.receive_request(kind, header.request),
            Use::Error if header.request == 0 => Ok(Incoming::Alone(kind)),
            Use::Final | Use::Partial | Use::Error => self.receive_answer(kind, header.request),
            Use::Alone if header.request == 0 => Ok(Incoming::Alone(kind)),
            Use::Alone => Err(Violation::RequestId { kind, got: header.request }),
        }
    }

    fn receive_request(&mut self, kind: MessageType, request: u32) -> Result<Incoming<C>, Violation> {
        if !may_request(kind, self.peer, self.me) {
            return Err(Violation::Unexpected { kind, from: self.peer });
        }
        // Ids only grow: none is used twice, and nothing needs to be remembered of old ones.
        if request % 2 != self.peer_parity || request <= self.peer_last {
            return Err(Violation::RequestId { kind, got: request });
        }
        if self.theirs.len() >= limits::OPEN_REQUESTS_MAX {
            return Err(Violation::TooManyRequests);
        }
        self.peer_last = request;
        self.theirs.push(request);
        Ok(Incoming::Request(kind))
    }

    fn receive_answer(&mut self, kind: MessageType, request: u32) -> Result<Incoming<C>, Violation> {
        let Ok(place) = self.ours.binary_search_by_key(&request, |ours| ours.request) else {
            return Err(Violation::RequestId { kind, got: request });
        };
        let Ours { kind: to, context, .. } = &self.ours[place];
        if !answers(kind, *to) {
            return Err(Violation::Unexpected { kind, from: self.peer });
        }
        let last = use_of(kind) != Use::Partial;
        let answer = Incoming::Answer { kind, to: *to, context: context.clone(), last };
        if last {
            self.ours.remove(place);
        }
        Ok(answer)
    }

    /// What the heartbeat asks for at `now`.
    pub fn heartbeat(&mut self, now: Duration) -> Heartbeat {
        let silence = now.saturating_sub(self.heard_at);
        if silence >= limits::HEARTBEAT_LOST {
            Heartbeat::Lost
        } else if silence >= limits::HEARTBEAT_SILENCE && !self.pinged {
            self.pinged = true;
            Heartbeat::Ping
        } else {
            let wait = if self.pinged { limits::HEARTBEAT_LOST } else { limits::HEARTBEAT_SILENCE };
            Heartbeat::Quiet { until: self.heard_at + wait }
        }
    }

    /// The peer's role.
    pub fn peer(&self) -> Role {
        self.peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MessageType::*;

    fn header(kind: MessageType, flags: Flags, request: u32) -> Header {
        Header { version: 1, kind: kind as u8, flags, request, payload_bytes: 0, payload_crc: 0 }
    }

    fn coordinator_to_node() -> Session<&'static str> {
        Session::new(Role::Coordinator, Role::Node, true, Duration::ZERO)
    }

    const NOW: Duration = Duration::from_secs(5);

    #[test]
    fn a_request_ends_in_exactly_one_final_answer() {
        let mut session = coordinator_to_node();
        let request = session.open(Train, "task").unwrap();
        assert_eq!(request, 1);
        let answer = session.receive(NOW, &header(Trained, Flags::NONE, 1));
        assert_eq!(answer, Ok(Incoming::Answer { kind: Trained, to: Train, context: "task", last: true }));
        let again = session.receive(NOW, &header(Trained, Flags::NONE, 1));
        assert_eq!(again, Err(Violation::RequestId { kind: Trained, got: 1 }));
    }

    #[test]
    fn an_answer_of_the_wrong_type_is_refused() {
        let mut session = coordinator_to_node();
        session.open(Fetch, "update");
        let answer = session.receive(NOW, &header(Trained, Flags::NONE, 1));
        assert_eq!(answer, Err(Violation::Unexpected { kind: Trained, from: Role::Node }));
    }

    #[test]
    fn request_ids_have_their_sides_parity_and_only_grow() {
        let mut session = coordinator_to_node();
        assert_eq!(session.receive(NOW, &header(Fetch, Flags::NONE, 4)), Ok(Incoming::Request(Fetch)));
        for got in [4, 2, 5, 0] {
            let refused = session.receive(NOW, &header(Fetch, Flags::NONE, got));
            assert_eq!(refused, Err(Violation::RequestId { kind: Fetch, got }));
        }
        assert!(session.answered(4));
        assert!(!session.answered(4), "answered once");
    }

    #[test]
    fn a_node_may_not_submit_or_train() {
        for kind in [Submit, Attach, Jobs, Order, Describe, Ledger, Train, Put, Poll, Results, Hello] {
            let refused = coordinator_to_node().receive(NOW, &header(kind, Flags::NONE, 2));
            assert_eq!(refused, Err(Violation::Unexpected { kind, from: Role::Node }));
        }
    }

    #[test]
    fn partial_answers_say_more_and_nothing_else_does() {
        let mut session: Session<()> = Session::new(Role::Client, Role::Coordinator, true, NOW);
        session.open(Submit, ());
        let round = session.receive(NOW, &header(Round, Flags::MORE, 1)).unwrap();
        assert!(matches!(round, Incoming::Answer { last: false, .. }));
        for (kind, flags) in [(Round, Flags::NONE), (Done, Flags::MORE), (Done, Flags::TAGGED)] {
            let refused = session.receive(NOW, &header(kind, flags, 1));
            assert_eq!(refused, Err(Violation::Flags { kind, got: flags.0 }));
        }
        assert!(session.receive(NOW, &header(Done, Flags::NONE, 1)).is_ok());
    }

    #[test]
    fn unknown_types_are_refused_and_optional_ones_skipped() {
        let mut session = coordinator_to_node();
        let with = |kind| Header { kind, ..header(Ping, Flags::NONE, 2) };
        assert_eq!(session.receive(NOW, &with(0x7F)), Err(Violation::UnknownType { got: 0x7F }));
        assert_eq!(session.receive(NOW, &with(0x80)), Ok(Incoming::Skipped));
    }

    #[test]
    fn unanswered_requests_of_a_peer_are_bounded() {
        let mut session = coordinator_to_node();
        let mut fetch = |index: u32| session.receive(NOW, &header(Fetch, Flags::NONE, 2 * index));
        for index in 1..=limits::OPEN_REQUESTS_MAX as u32 {
            assert!(fetch(index).is_ok());
        }
        assert_eq!(fetch(2_000), Err(Violation::TooManyRequests));
    }

    #[test]
    fn our_requests_are_bounded_by_what_the_peer_takes_and_one_place_is_pings() {
        let mut session = coordinator_to_node();
        let opened = (0..2_000).filter(|_| session.open(Train, "task").is_some()).count();
        assert_eq!(opened, limits::OPEN_REQUESTS_MAX - 1);
        assert!(session.open(Ping, "ping").is_some());
        assert_eq!(session.open(Ping, "ping"), None);
        session.receive(NOW, &header(Trained, Flags::NONE, 1)).unwrap();
        session.receive(NOW, &header(Trained, Flags::NONE, 3)).unwrap();
        assert!(session.open(Train, "task").is_some());
    }

    #[test]
    fn silence_asks_for_a_ping_after_one_second_and_is_loss_after_three() {
        let mut session = coordinator_to_node();
        let at = Duration::from_millis;
        assert_eq!(session.heartbeat(at(400)), Heartbeat::Quiet { until: at(1000) });
        assert_eq!(session.heartbeat(at(1000)), Heartbeat::Ping);
        assert_eq!(session.heartbeat(at(1001)), Heartbeat::Quiet { until: at(3000) });
        session.open(Ping, "ping");
        session.receive(at(2900), &header(Pong, Flags::NONE, 1)).unwrap();
        assert_eq!(session.heartbeat(at(3000)), Heartbeat::Quiet { until: at(3900) });
        assert_eq!(session.heartbeat(at(5900)), Heartbeat::Lost);
    }
    #[test]
    fn a_large_frame_on_a_slow_line_is_no_silence_and_a_byte_now_and_then_is() {
        let mut session = coordinator_to_node();
        let at = Duration::from_secs;
        let chunk = limits::HEARTBEAT_BYTES / 2;
        for second in 1..=20 {
            session.arrived(at(second), chunk);
            assert_ne!(session.heartbeat(at(second)), Heartbeat::Lost, "{second} s");
        }
        for second in 21..23 {
            session.arrived(at(second), 1);
            assert_ne!(session.heartbeat(at(second)), Heartbeat::Lost, "{second} s");
        }
        session.arrived(at(23), 1);
        assert_eq!(session.heartbeat(at(23)), Heartbeat::Lost);
    }
}

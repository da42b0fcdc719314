//! What a program does with a stream: the first byte, the greeting, the session, the messages, in the order of the
//! document's checks, without a socket. Owns the verdict; asserts what must hold of every stream there is.

use std::time::Duration;

use gradwire::wire::judge::{self, Judged};
use gradwire::wire::message::{Error, Features};
use gradwire::wire::session::Incoming;
use gradwire::wire::{Decoder, ErrorCode, Frame, HEADER_BYTES, Message, MessageType, Session, VERSION, limits, text};

use crate::valid::Side;

/// What a program has made of a stream. Does not depend on how the stream was cut.
#[derive(Debug, Default, PartialEq)]
pub struct Verdict {
    /// Messages that were understood.
    pub understood: u32,
    /// Requests that were refused while the connection went on, each by its code.
    pub refused: Vec<ErrorCode>,
    /// Over all that was understood.
    digest: u32,
    pub end: End,
}

/// How a stream has ended.
#[derive(Debug, Default, PartialEq)]
pub enum End {
    /// The connection lives, between two frames.
    #[default]
    Open,
    /// It lives, in mid-frame: so many bytes have come of it.
    Waiting(usize),
    /// It is a person's.
    Text,
    /// The peer has said goodbye, or why it closes.
    PeerClosed,
    /// The peer has broken a rule, and is told so.
    Refused(Error),
}

/// Where a connection is.
enum State {
    Greeting,
    Greeted(Session<()>),
}

/// A program that hears a side of a conversation.
struct Program<'a> {
    side: &'a Side,
    /// Whether it answers what it is asked. A slow one leaves it all unanswered, but heartbeats.
    answers: bool,
    state: State,
    verdict: Verdict,
    /// The peer's requests that it has not answered.
    unanswered: usize,
}

/// Hears a stream that arrives in pieces of these sizes, and then what is left of it.
///
/// # Panics
///
/// When the program would allocate what has not come, keep more than its limits, or refuse in words that cannot be read.
pub fn hear(side: &Side, answers: bool, stream: &[u8], mut sizes: impl Iterator<Item = usize>) -> Verdict {
    let state = if side.greets { State::Greeting } else { State::Greeted(session(side)) };
    // Little is taken before the greeting, and who accepts may find a person there.
    let is_accepted = side.greets && !side.dialled;
    let payload_bytes_max = if side.greets { limits::GREETING_PAYLOAD_BYTES_MAX } else { limits::PAYLOAD_BYTES_MAX };
    let mut decoder = Decoder::new(payload_bytes_max);
    let mut program = Program { side, answers, state, verdict: Verdict::default(), unanswered: 0 };
    let mut frames = 0;
    let mut rest = stream;
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |size| size.clamp(1, rest.len()));
        let (piece, after) = rest.split_at(size);
        rest = after;
        decoder.feed(piece);
        if is_accepted && frames == 0 && decoder.pending().first().copied().is_some_and(text::is_text) {
            program.verdict.end = End::Text;
            return program.verdict;
        }
        loop {
            let ended = match program.state {
                State::Greeting => match judge::greeting(&mut decoder, side.dialled) {
                    Ok(Some(message)) => program.greet(&message),
                    Ok(None) => break,
                    Err(error) => Err(End::Refused(error)),
                },
                State::Greeted(_) => match decoder.next_frame() {
                    Ok(Some(frame)) => program.frame(frame),
                    Ok(None) => break,
                    Err(error) => Err(End::Refused(error.into())),
                },
            };
            frames += 1;
            if let Err(end) = ended {
                if let End::Refused(error) = &end {
                    assert_can_be_told(error);
                }
                program.verdict.end = end;
                return program.verdict;
            }
            if matches!(program.state, State::Greeted(_)) {
                decoder.set_payload_bytes_max(limits::PAYLOAD_BYTES_MAX);
            }
            program.assert_is_bounded();
        }
        let arrived = stream.len() - rest.len();
        assert!(frames * HEADER_BYTES <= arrived, "{frames} frames in {arrived} bytes");
        assert!(decoder.allocated_bytes() <= 2 * arrived + (32 << 10), "{} allocated", decoder.allocated_bytes());
    }
    if decoder.pending_bytes() > 0 {
        program.verdict.end = End::Waiting(decoder.pending_bytes());
    }
    program.verdict
}

/// A session in which all that the side asks has been asked.
fn session(side: &Side) -> Session<()> {
    let mut session = Session::new(side.me, side.peer, side.dialled, Duration::ZERO);
    for &kind in &side.asks {
        session.open(kind, ()).expect("a few requests");
    }
    session
}

fn refuse(error: impl Into<Error>) -> Result<(), End> {
    Err(End::Refused(error.into()))
}

impl Program<'_> {
    /// The greeting, judged as protocol.md says: "the fixed part's layout, version, fields, roles, cluster, room".
    fn greet(&mut self, message: &Message<'_>) -> Result<(), End> {
        self.verdict.understood += 1;
        let kind = message.message_type();
        let ours = Features { cluster: Some("lab".to_owned()), ..Features::default() };
        let (role, features) = match (message, self.side.dialled) {
            (Message::Hello(hello), false) => {
                judge::version(hello).or_else(refuse)?;
                (hello.role, &hello.features)
            }
            (Message::Welcome(welcome), true) if welcome.version == VERSION => (welcome.role, &welcome.features),
            (Message::Welcome(_), true) => {
                return refuse(Error::new(ErrorCode::Version, kind as u8, "a version that was not offered"));
            }
            (Message::Error(_), _) => return Err(End::PeerClosed),
            (other, dialled) => panic!("{other:?} greets one that has dialled: {dialled}"),
        };
        if role != self.side.peer {
            return refuse(Error::new(ErrorCode::Unexpected, kind as u8, format!("a {role} was not expected here")));
        }
        judge::cluster(&ours, features, kind).or_else(refuse)?;
        self.state = State::Greeted(session(self.side));
        Ok(())
    }

    fn frame(&mut self, frame: Frame<'_>) -> Result<(), End> {
        let State::Greeted(session) = &mut self.state else { return Ok(()) };
        let incoming = session.receive(Duration::ZERO, &frame.header);
        let incoming = incoming.map_err(|violation| End::Refused(violation.into()))?;
        self.unanswered += usize::from(matches!(incoming, Incoming::Request(_)));
        match judge::frame(incoming, &frame).map_err(End::Refused)? {
            Judged::Skipped => return Ok(()),
            Judged::Request(message) => {
                if self.answers || matches!(message, Message::Ping(_)) {
                    self.answered(frame.header.request);
                }
            }
            Judged::Refused(error) => {
                assert_can_be_told(&error);
                self.answered(frame.header.request);
                self.verdict.refused.push(error.code);
                return Ok(());
            }
            Judged::Answer { .. } => {}
            Judged::Alone(Message::Cancel(cancel)) => self.answered(cancel.request),
            Judged::Alone(Message::Goodbye(_) | Message::Error(_)) => return Err(End::PeerClosed),
            Judged::Alone(_) => {}
        }
        self.understood(&frame);
        Ok(())
    }

    fn understood(&mut self, frame: &Frame<'_>) {
        self.verdict.understood += 1;
        let said = [self.verdict.digest, frame.header.kind.into(), frame.header.request, frame.header.payload_crc];
        let mut digest = crc32fast::Hasher::new();
        said.iter().for_each(|number| digest.update(&number.to_le_bytes()));
        self.verdict.digest = digest.finalize();
    }

    fn answered(&mut self, request: u32) {
        if let State::Greeted(session) = &mut self.state
            && session.answered(request)
        {
            self.unanswered -= 1;
            assert!(!session.answered(request), "request {request} is answered twice");
        }
    }

    fn assert_is_bounded(&self) {
        assert!(self.unanswered <= limits::OPEN_REQUESTS_MAX, "{} requests are open", self.unanswered);
        if let State::Greeted(session) = &self.state {
            assert!(session.unanswered().count() <= self.side.asks.len(), "requests that nobody has made");
        }
    }
}

/// Whether the peer can read why it is refused: a sentence for a person, in a frame that every peer takes.
fn assert_can_be_told(error: &Error) {
    assert!(!error.text.is_empty() && !error.text.chars().any(char::is_control), "{error:?}");
    let payload = Message::from(error.clone()).payload();
    assert!(payload.len() <= limits::GREETING_PAYLOAD_BYTES_MAX as usize, "{error:?}");
    assert_eq!(Message::decode(MessageType::Error, &payload), Ok(error.clone().into()));
}

//! What a whole frame is to its receiver: steps 6 to 10 of protocol.md's "The order of checks", for connections, tests
//! and fuzzers alike. Pure. Steps 1 to 5 are the decoder's; who may send what is the session's.

use super::ErrorCode;
use super::frame::{Decoder, Frame};
use super::header::{MessageType, OPTIONAL_TYPES_FROM, VERSION};
use super::message::{Error, Features, Hello, Message, version_range};
use super::session::{Incoming, Violation, check_flags};

/// A frame of an open connection, understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Judged<'a, C> {
    /// A request to be answered once.
    Request(Message<'a>),
    /// A request that is refused with this; the connection lives.
    Refused(Error),
    /// An answer to one of our requests.
    Answer {
        /// What was remembered of the request.
        context: C,
        /// The answer.
        message: Message<'a>,
        /// Whether the request has ended.
        last: bool,
    },
    /// A message that stands alone.
    Alone(Message<'a>),
    /// An optional message of a type that is not known here.
    Skipped,
}

/// Judges a frame that the session has let in as `incoming`. An error ends the connection; the peer is told it.
///
/// "What is wrong with a request refuses the request, or is MALFORMED." What is wrong with anything else cannot be
/// refused to anybody: it is MALFORMED, and the stream is not believed any more.
pub fn frame<'a, C>(incoming: Incoming<C>, frame: &Frame<'a>) -> Result<Judged<'a, C>, Error> {
    let decode = |kind: MessageType| {
        Message::decode(kind, frame.payload)
            .map_err(|malformed| Error::new(ErrorCode::Malformed, kind as u8, malformed.to_string()))
    };
    Ok(match incoming {
        Incoming::Request(kind) => match Message::decode(kind, frame.payload) {
            Ok(message) => Judged::Request(message),
            Err(malformed) => match Error::of_payload(kind, &malformed) {
                error if error.code == ErrorCode::Malformed => return Err(error),
                error => Judged::Refused(error),
            },
        },
        Incoming::Answer { kind, context, last, .. } => Judged::Answer { context, message: decode(kind)?, last },
        Incoming::Alone(kind) => Judged::Alone(decode(kind)?),
        Incoming::Skipped => Judged::Skipped,
    })
}

/// The peer's first message, once it is there: HELLO, or WELCOME if we have `dialled`, or ERROR. Another error ends the
/// connection; the peer is told it.
pub fn greeting(decoder: &mut Decoder, dialled: bool) -> Result<Option<Message<'static>>, Error> {
    let wanted = if dialled { MessageType::Welcome } else { MessageType::Hello };
    loop {
        let Some(frame) = decoder.next_frame().map_err(Error::from)? else { return Ok(None) };
        let number = frame.header.kind;
        let Some(kind) = MessageType::from_number(number) else {
            if number >= OPTIONAL_TYPES_FROM {
                continue;
            }
            return Err(Violation::UnknownType { got: number }.into());
        };
        check_flags(kind, frame.header.flags).map_err(Error::from)?;
        if kind != wanted && kind != MessageType::Error {
            return Err(out_of_place(kind));
        }
        if frame.header.request != 0 {
            return Err(Violation::RequestId { kind, got: frame.header.request }.into());
        }
        return match Message::decode(kind, frame.payload) {
            Ok(Message::Hello(hello)) => Ok(Some(Message::Hello(hello))),
            Ok(Message::Welcome(welcome)) => Ok(Some(Message::Welcome(welcome))),
            Ok(Message::Error(error)) => Ok(Some(Message::Error(error))),
            Ok(_) => Err(out_of_place(kind)),
            Err(malformed) => Err(Error::of_payload(kind, &malformed)),
        };
    }
}

fn out_of_place(kind: MessageType) -> Error {
    let text = "a connection begins with HELLO, answered by WELCOME";
    Error::new(ErrorCode::Unexpected, kind as u8, text)
}

/// Whether there is a version that both speak.
pub fn version(hello: &Hello) -> Result<(), Error> {
    let (min, max) = (hello.version_min, hello.version_max);
    if (min..=max).contains(&VERSION) {
        return Ok(());
    }
    let text = format!("you speak versions {min} to {max} of the protocol, and this program speaks {VERSION}");
    let error = Error::new(ErrorCode::Version, MessageType::Hello as u8, text);
    Err(error.with_numbers(version_range(min, max), version_range(VERSION, VERSION)))
}

/// Whether the peers may belong to the same cluster: one that names none belongs to any.
pub fn cluster(ours: &Features, theirs: &Features, about: MessageType) -> Result<(), Error> {
    match (&ours.cluster, &theirs.cluster) {
        (Some(ours), Some(theirs)) if ours != theirs => {
            let text = format!("you belong to cluster {theirs}, and this program to {ours}");
            Err(Error::new(ErrorCode::Cluster, about as u8, text))
        }
        _ => Ok(()),
    }
}

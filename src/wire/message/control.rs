//! ERROR, GOODBYE, PING, PONG, CANCEL. Owns what ERROR says of each way to break a rule.

use super::layout::Layout;
use crate::wire::bytes::{Malformation, MalformedPayload, Read, Reader, Write as _};
use crate::wire::code::ErrorCode;
use crate::wire::frame::FrameError;
use crate::wire::header::{MessageType, VERSION};
use crate::wire::limits;
use crate::wire::session::Violation;

/// The final answer to a request that failed, or, on request 0, why the connection closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The cause.
    pub code: ErrorCode,
    /// The number of the message type that it speaks of; 0 where there is none.
    pub about: u8,
    /// Whether the same request may succeed later.
    pub retry: bool,
    /// What was got, where a number says it; else 0.
    pub got: u64,
    /// What is allowed, where a number says it; else 0. With VERSION: lowest version, then highest x 256, in both.
    pub allowed: u64,
    /// A sentence for a person.
    pub text: String,
}

impl Error {
    /// An error with a sentence and no numbers.
    pub fn new(code: ErrorCode, about: u8, text: impl Into<String>) -> Error {
        Error { code, about, retry: false, got: 0, allowed: 0, text: text.into() }
    }

    /// The same, but the request may succeed later.
    pub fn retryable(self) -> Error {
        Error { retry: true, ..self }
    }

    /// The same, with what was got and what is allowed.
    pub fn with_numbers(self, got: u64, allowed: u64) -> Error {
        Error { got, allowed, ..self }
    }

    /// What is said of a payload of type `kind` that is not what it should be.
    pub fn of_payload(kind: MessageType, malformed: &MalformedPayload) -> Error {
        let (got, allowed) = match malformed.why {
            Malformation::UnknownField { tag } => (tag.into(), 0),
            Malformation::ObjectRange { offset, object_bytes, .. } => (offset, object_bytes),
            Malformation::Specification { got, allowed, .. } => (got, allowed),
            _ => (0, 0),
        };
        Error::new(malformed.code(), kind as u8, malformed.to_string()).with_numbers(got, allowed)
    }
}

/// A range of versions as VERSION tells it.
pub fn version_range(lowest: u8, highest: u8) -> u64 {
    u64::from(lowest) | u64::from(highest) << 8
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Error {
        let (got, allowed) = match error {
            FrameError::Magic => (0, 0),
            FrameError::HeaderChecksum { said, computed } | FrameError::PayloadChecksum { said, computed } => {
                (computed.into(), said.into())
            }
            FrameError::Version { got } => (version_range(got, got), version_range(VERSION, VERSION)),
            FrameError::TooLarge { got, allowed } => (got.into(), allowed.into()),
        };
        Error::new(error.code(), 0, error.to_string()).with_numbers(got, allowed)
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Error {
        let (about, got, allowed) = match violation {
            Violation::UnknownType { got } => (got, got.into(), 0),
            Violation::Flags { kind, got } => (kind as u8, got.into(), 0),
            Violation::Unexpected { kind, .. } => (kind as u8, 0, 0),
            Violation::RequestId { kind, got } => (kind as u8, got.into(), 0),
            Violation::TooManyRequests => {
                let allowed = limits::OPEN_REQUESTS_MAX as u64;
                (0, allowed + 1, allowed)
            }
        };
        Error::new(violation.code(), about, violation.to_string()).with_numbers(got, allowed)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.text.is_empty() { self.code.fmt(f) } else { write!(f, "{} ({})", self.text, self.code) }
    }
}

impl Layout<'_> for Error {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let number = reader.u16()?;
        let Some(code) = ErrorCode::from_number(number) else {
            return reader.fail(Malformation::UnknownValue { got: number.into() });
        };
        Ok(Error {
            code,
            about: reader.u8()?,
            retry: reader.boolean()?,
            got: reader.u64()?,
            allowed: reader.u64()?,
            text: reader.sentence()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u16(self.code as u16);
        out.u8(self.about);
        out.u8(self.retry.into());
        out.u64(self.got);
        out.u64(self.allowed);
        out.sentence(&self.text);
    }
}

/// The sender is about to close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// Why, for a person.
    pub text: String,
}

impl Layout<'_> for Goodbye {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(Goodbye { text: reader.sentence()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.sentence(&self.text);
    }
}

/// Are you there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping;

impl Layout<'_> for Ping {
    fn decode(_: &mut Reader<'_>) -> Read<Self> {
        Ok(Ping)
    }

    fn encode(&self, _: &mut Vec<u8>) {}
}

/// Yes; and how loaded I am. A peer that trains nothing sends zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pong {
    /// Tasks being trained.
    pub running: u32,
    /// Tasks waiting for a worker.
    pub waiting: u32,
    /// Training rows per second and worker, as last seen; 0 before the first task.
    pub rows_per_second: f64,
}

impl Layout<'_> for Pong {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let pong = Pong { running: reader.u32()?, waiting: reader.u32()?, rows_per_second: reader.f64()? };
        if !(pong.rows_per_second.is_finite() && pong.rows_per_second >= 0.0) {
            return reader.fail(Malformation::Refused("the speed is not a number from 0 up".to_owned()));
        }
        Ok(pong)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.running);
        out.u32(self.waiting);
        out.f64(self.rows_per_second);
    }
}

/// The sender no longer wants one of its requests answered in full; the final answer still comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// The request.
    pub request: u32,
}

impl Layout<'_> for Cancel {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(Cancel { request: reader.u32()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.request);
    }
}

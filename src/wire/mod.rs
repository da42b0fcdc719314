//! Bytes <-> values: header, frames, messages, objects, the specification's fields, error codes, limits; the session's
//! rules and the text console's grammar. The contract is protocol.md; every table there is a type here.
//!
//! Owns every byte that crosses a connection. Does not know sockets, threads, the clock (it takes `now`) or the log.

mod bytes;
pub mod code;
pub mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod header;
pub mod judge;
pub mod limits;
pub mod message;
pub mod object;
pub mod session;
pub mod specification;
pub mod text;

pub use bytes::{Malformation, MalformedPayload, Reader, is_name};
pub use code::ErrorCode;
pub use frame::{Decoder, Draft, Encoded, Frame, FrameError, SharedBytes};
pub use header::{Flags, HEADER_BYTES, Header, MessageType, VERSION};
pub use message::Message;
pub use session::{Role, Session};

//! Messages: values <-> payloads (protocol.md, "Messages"). This file owns the one list that joins each type's number
//! to its value; the layouts are in the files beside it.

mod control;
#[cfg(feature = "coordinator")]
mod finding;
mod greeting;
mod layout;
mod ledger;
mod standing;
mod submission;
mod tasks;
mod transfer;

pub use control::{Cancel, Error, Goodbye, Ping, Pong, version_range};
#[cfg(feature = "coordinator")]
pub use finding::{Doctor, Fact, Finding};
pub use greeting::{Features, Hello, Welcome};
pub(super) use layout::Layout;
pub use ledger::{Entries, Ledger};
pub use standing::{Attach, Describe, Described, Jobs, Listed, Order, OrderVerb, fitting as job_fitting};
pub use submission::{Accepted, Done, Notice, NoticeKind, Submit};
pub use tasks::{Holding, Poll, Polled, Rejected, Results, RowsSource, ShippedRange, Train, Trained};
pub use transfer::{Fetch, Have, Held, PIECE_BYTES_MAX, Piece, piece_bytes_max};

use super::bytes::{MalformedPayload, Reader};
use super::frame::{Draft, Encoded};
use super::header::{Flags, MessageType};
use crate::job::{JobStatus, RoundSummary};

macro_rules! messages {
    ($($(#[$only:meta])* $variant:ident($layout:ty),)* ; $($piece:ident),*) => {
        /// Any message.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Message<'a> { $($(#[$only])* #[doc = concat!("See [`MessageType::", stringify!($variant), "`].")] $variant($layout),)*
            $(#[doc = concat!("See [`MessageType::", stringify!($piece), "`].")] $piece(Piece<'a>),)*
        }

        impl<'a> Message<'a> {
            /// The type that goes into the header.
            pub fn message_type(&self) -> MessageType {
                match self {
                    $($(#[$only])* Message::$variant(_) => MessageType::$variant,)*
                    $(Message::$piece(_) => MessageType::$piece,)*
                }
            }

            /// The message of this type in this payload, all of it.
            pub fn decode(kind: MessageType, payload: &'a [u8]) -> Result<Message<'a>, MalformedPayload> {
                let mut reader = Reader::new(kind.name(), payload);
                let message = match kind {
                    $($(#[$only])* MessageType::$variant => Message::$variant(<$layout as Layout>::decode(&mut reader)?),)*
                    $(MessageType::$piece => Message::$piece(Piece::decode(&mut reader)?),)*
                    // CHALLENGE has a number and no layout yet: nothing that speaks version 1 sends it. Others have none in a
                    // program that does not take them.
                    _ => {
                        let got = u64::from(kind as u8);
                        return reader.fail(super::bytes::Malformation::UnknownValue { got });
                    }
                };
                reader.end()?;
                Ok(message)
            }

            /// The payload.
            pub fn payload(&self) -> Vec<u8> {
                let mut out = Vec::new();
                match self {
                    $($(#[$only])* Message::$variant(layout) => layout.encode(&mut out),)*
                    $(Message::$piece(piece) => piece.encode(&mut out),)*
                }
                out
            }
        }

        $($(#[$only])* impl<'a> From<$layout> for Message<'a> {
            fn from(layout: $layout) -> Message<'a> {
                Message::$variant(layout)
            }
        })*
    };
}

messages! {
    Hello(Hello),
    Welcome(Welcome),
    Error(Error),
    Goodbye(Goodbye),
    Ping(Ping),
    Pong(Pong),
    Cancel(Cancel),
    Have(Have),
    Held(Held),
    Fetch(Fetch),
    Train(Train),
    Trained(Trained),
    Rejected(Rejected),
    Poll(Poll),
    Polled(Polled),
    Results(Results),
    Holding(Holding),
    Submit(Submit),
    Accepted(Accepted),
    Round(RoundSummary),
    Notice(Notice),
    Done(Done),
    Attach(Attach),
    Jobs(Jobs),
    Job(JobStatus),
    Listed(Listed),
    Order(Order),
    Describe(Describe),
    Described(Described),
    Ledger(Ledger),
    Entries(Entries),
    // What no node takes a node is built without.
    #[cfg(feature = "coordinator")]
    Doctor(Doctor),
    #[cfg(feature = "coordinator")]
    Finding(Finding),
    ; Put, Data
}

impl Message<'_> {
    /// The message as a frame that is yet to be sealed.
    pub fn draft(&self, request: u32, more: bool) -> Draft {
        let flags = if more { Flags::MORE } else { Flags::NONE };
        Draft::new(self.message_type() as u8, flags, request, &self.payload(), None)
    }

    /// The message as a frame that belongs to no order of a link's: in a greeting, and in tests.
    pub fn seal(&self, request: u32, more: bool) -> Encoded {
        self.draft(request, more).seal()
    }
}

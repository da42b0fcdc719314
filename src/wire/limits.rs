//! The limits of the wire, in one place (protocol.md, "Limits"). Each is checked before anything is allocated for it.

use std::time::Duration;

/// Payload of a frame once the session is open.
pub const PAYLOAD_BYTES_MAX: u32 = 1 << 20;
/// Payload of a frame until WELCOME.
pub const GREETING_PAYLOAD_BYTES_MAX: u32 = 1 << 10;
/// An object, unless configured otherwise.
pub const OBJECT_BYTES_MAX: u64 = 1 << 30;
/// Bytes of updates on their way to a coordinator or waiting there to be merged.
pub const IN_FLIGHT_BYTES_MAX: u64 = 512 << 20;
/// An update up to this size travels inside TRAINED; a larger one is fetched.
pub const INLINE_UPDATE_BYTES_MAX: usize = 64 << 10;
/// Tensors of an object: two for each of 65 layers.
pub const TENSORS_MAX: usize = 130;
/// Dimensions of a tensor.
pub const DIMENSIONS_MAX: usize = 4;
/// Bytes of a sentence meant for a person.
pub const SENTENCE_BYTES_MAX: usize = 1_000;
/// Bytes of a name.
pub const NAME_BYTES_MAX: usize = 64;
/// Digests in one HAVE.
pub const HAVE_DIGESTS_MAX: usize = 1_024;
/// Nodes listed in a DONE.
pub const DONE_NODES_MAX: usize = 8_000;
/// Requests of one peer that may be unanswered at a time.
pub const OPEN_REQUESTS_MAX: usize = 1_024;
/// A line of the text console.
pub const TEXT_LINE_BYTES_MAX: usize = 256;
/// Text consoles of a server at a time.
pub const CONSOLES_MAX: usize = 16;
/// The head of an HTTP request.
pub const HTTP_HEAD_BYTES_MAX: usize = 8 << 10;

/// A connection's first byte.
pub const FIRST_BYTE_WAIT: Duration = Duration::from_secs(10);
/// The same while half of the slots for the not yet greeted are taken.
pub const FIRST_BYTE_WAIT_CROWDED: Duration = Duration::from_secs(2);
/// From the first byte of a frame to WELCOME, in all.
pub const GREETING_WAIT: Duration = Duration::from_secs(2);
/// A line of text, in all.
pub const TEXT_LINE_WAIT: Duration = Duration::from_secs(60);
/// A peer that takes nothing for so long while we write is dropped.
pub const WRITE_STALL: Duration = Duration::from_secs(10);
/// A peer that sends nothing of an object for so long after it was asked for is not asked any more.
pub const FETCH_STALL: Duration = Duration::from_secs(10);
/// After so long without a frame from the peer, a PING goes out.
pub const HEARTBEAT_SILENCE: Duration = Duration::from_secs(1);
/// After so long without a frame the peer is lost.
pub const HEARTBEAT_LOST: Duration = Duration::from_secs(3);

/// Connections not yet greeted, in all.
pub const UNGREETED_MAX: usize = 64;
/// Connections not yet greeted from one address.
pub const UNGREETED_PER_ADDRESS_MAX: usize = 16;
/// Greeted connections, unless configured otherwise.
pub const CONNECTIONS_MAX: usize = 1_024;

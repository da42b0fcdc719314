//! The only user of `std::net`: listening, dialling, deadlines, caps, first-byte sniffing, the greeting, and the reader
//! and writer of a link. Owns sockets and the threads that block on them; does not know what is being trained.

mod backoff;
mod connection_slots;
mod console;
mod counters;
mod deadline;
mod descriptors;
mod dial;
mod event_log;
mod greeting;
mod link;
mod listen;
mod memory;
mod outbox;
mod pacing;
mod random;
mod server;
mod shares;
mod transfer;
mod wanted;

pub use std::net::{IpAddr, SocketAddr};

pub use backoff::Backoff;
pub use console::Question;
pub use counters::Counters;
pub use deadline::now;
pub use descriptors::raise_descriptor_limit;
pub use dial::{DialError, dial};
pub use event_log::EventLog;
pub use greeting::{Greeted, Identity, Peer};
pub use link::{Closed, Handler, Link, LinkReader, SharedPiece, Unsent, open};
pub use listen::{ListenError, Listener};
pub use memory::give_memory_back;
pub use random::{fill_random, persistent_id, random_u64, random_u128};
pub use server::{Caps, Port, Server, Service, serve};
pub use shares::{Held, gives_way};
pub use transfer::{Fetched, Fetcher, Fetching, answer_fetch, answer_fetch_with_copy, answer_have};
pub use wanted::FetchError;

/// Stack of a thread that only moves bytes: thousands of them fit.
const THREAD_STACK_BYTES: usize = 256 << 10;

//! The limits of the wire, in one table that yields the constants, what the console shows, and protocol.md's "Limits".
//! Each is checked before anything is allocated for it.

use std::time::Duration;

/// A limit, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The constant's name.
    pub name: &'static str,
    /// How much is allowed, unless it was set otherwise.
    pub value: u64,
    /// `bytes`, `s`, or what is counted.
    pub unit: &'static str,
    /// What it limits.
    pub of: &'static str,
}

macro_rules! limits {
    ($($name:ident: $type:ident = $value:expr, $unit:literal, $of:literal;)*) => {
        $(#[doc = concat!("At most: ", $of, ".")] pub const $name: $type = $value;)*

        /// All of them.
        pub const ALL: &[Limit] =
            &[$(Limit { name: stringify!($name), value: limits!(@number $type $name), unit: $unit, of: $of }),*];
    };
    (@number Duration $name:ident) => { $name.as_secs() };
    (@number $type:ident $name:ident) => { $name as u64 };
}

limits! {
    PAYLOAD_BYTES_MAX: u32 = 1 << 20, "bytes", "a payload";
    GREETING_PAYLOAD_BYTES_MAX: u32 = 1 << 10, "bytes", "a payload until WELCOME";
    OBJECT_BYTES_MAX: u64 = 1 << 30, "bytes", "an object; can be set";
    IN_FLIGHT_BYTES_MAX: u64 = 32 << 20, "bytes", "updates on their way to a coordinator, or nine eighths of one where that is more; can be set";
    INLINE_UPDATE_BYTES_MAX: usize = 256 << 10, "bytes", "an update inside TRAINED";
    // Two for each of 65 layers, and a loss.
    TENSORS_MAX: usize = 131, "tensors", "tensors of an object";
    DIMENSIONS_MAX: usize = 4, "dimensions", "dimensions of a tensor";
    SENTENCE_BYTES_MAX: usize = 1_000, "bytes", "a sentence for a person";
    NAME_BYTES_MAX: usize = 64, "bytes", "a name";
    HAVE_DIGESTS_MAX: usize = 1_024, "digests", "digests in HAVE, numbers in HELD";
    DONE_NODES_MAX: usize = 8_000, "nodes", "nodes listed in DONE; the rest is left out";
    LEDGER_ENTRIES_MAX: usize = 4_096, "entries", "entries of a ledger in ENTRIES; the rest is asked for again";
    // A step of the largest batch has no more blocks.
    SKIPPED_BLOCKS_MAX: usize = 131_072, "blocks", "blocks skipped in an entry of a ledger";
    FACTS_MAX: usize = 16, "facts", "facts in FINDING";
    RANGES_MAX: usize = 4_096, "ranges", "ranges of blocks in TRAIN";
    HOLDING_MAX: usize = 1_024, "results", "results listed in HOLDING; the rest is left out";
    OPEN_REQUESTS_MAX: usize = 1_024, "requests", "unanswered requests of one side";
    UNREAD_BYTES_MAX: usize = 4 << 20, "bytes", "answers that wait for a peer to read them; of pieces of objects only a coordinator's to a client";
    QUEUED_JOBS_MAX: usize = 1_024, "jobs", "jobs that wait for their turn, with their data";
    COLLECTING_JOBS_MAX: usize = 64, "jobs", "jobs whose data is on its way";
    TEXT_LINE_BYTES_MAX: usize = 256, "bytes", "a line of text";
    CONSOLES_MAX: usize = 16, "connections", "connections of people";
    HTTP_HEAD_BYTES_MAX: usize = 8 << 10, "bytes", "the head of an HTTP request";
    FIRST_BYTE_WAIT: Duration = Duration::from_secs(10), "s", "from connecting to the first byte";
    FIRST_BYTE_WAIT_CROWDED: Duration = Duration::from_secs(2), "s",
        "the same while half of the places for the not yet greeted are taken";
    GREETING_WAIT: Duration = Duration::from_secs(2), "s", "from the first byte of a frame to WELCOME";
    TEXT_LINE_WAIT: Duration = Duration::from_secs(60), "s", "a line of text; none while watching";
    HTTP_HEAD_WAIT: Duration = Duration::from_secs(2), "s", "the head of an HTTP request";
    WRITE_STALL: Duration = Duration::from_secs(10), "s", "a peer takes nothing of what is written to it";
    FETCH_STALL: Duration = Duration::from_secs(10), "s", "a peer sends the coordinator nothing of what it was asked for";
    FETCH_BYTES_A_SECOND: u64 = 16 << 10, "bytes", "bytes that put this off by a second";
    HEARTBEAT_SILENCE: Duration = Duration::from_secs(1), "s", "silence until PING";
    HEARTBEAT_LOST: Duration = Duration::from_secs(3), "s", "silence until the peer is lost";
    HEARTBEAT_BYTES: usize = 16 << 10, "bytes", "bytes of an unfinished frame that are a sign of life";
    UNGREETED_MAX: usize = 64, "connections", "connections not yet greeted";
    UNGREETED_PER_ADDRESS_MAX: usize = 16, "connections", "of these, from one address";
    CONNECTIONS_MAX: usize = 1_024, "connections", "greeted connections; can be set, up to 8,000";
}

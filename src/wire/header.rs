//! The frame header, 24 bytes, and the table of message types (protocol.md, "Frames"). Owns their layout, which never
//! changes between versions; does not know what payloads mean.

use std::fmt;
use std::ops::Range;

use byteorder::{ByteOrder, LittleEndian};

/// The version that this program speaks; the only one so far.
pub const VERSION: u8 = 1;

/// The first bytes of every frame. `F5` occurs in no UTF-8 text, so the first byte tells a frame from a person.
pub const MAGIC: [u8; 4] = [0xF5, b'G', b'R', b'W'];

mod field {
    use super::Range;

    pub const MAGIC: Range<usize> = 0..4;
    pub const VERSION: usize = MAGIC.end;
    pub const TYPE: usize = VERSION + 1;
    pub const FLAGS: Range<usize> = TYPE + 1..TYPE + 3;
    pub const REQUEST: Range<usize> = FLAGS.end..FLAGS.end + 4;
    pub const PAYLOAD_BYTES: Range<usize> = REQUEST.end..REQUEST.end + 4;
    pub const PAYLOAD_CRC: Range<usize> = PAYLOAD_BYTES.end..PAYLOAD_BYTES.end + 4;
    pub const HEADER_CRC: Range<usize> = PAYLOAD_CRC.end..PAYLOAD_CRC.end + 4;
}

/// Length of a header.
pub const HEADER_BYTES: usize = field::HEADER_CRC.end;

const _: () = assert!(HEADER_BYTES == 24);

/// The flags of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);
    /// Another frame of the same answer follows.
    pub const MORE: Flags = Flags(1);
    /// Reserved: a 16-byte authentication tag ends the payload. Not negotiable in version 1.
    pub const TAGGED: Flags = Flags(2);

    /// Whether another frame of the same answer follows.
    pub fn more(self) -> bool {
        self.0 & Flags::MORE.0 != 0
    }
}

/// A frame's header, without magic and checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version of the protocol.
    pub version: u8,
    /// What the payload is; see [`MessageType`].
    pub kind: u8,
    /// Flags.
    pub flags: Flags,
    /// The request that the frame opens or answers; 0 where there is none.
    pub request: u32,
    /// Length of the payload.
    pub payload_bytes: u32,
    /// CRC-32 (IEEE 802.3) of the payload.
    pub payload_crc: u32,
}

impl Header {
    /// The header's bytes, sealed with its own checksum.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[field::MAGIC].copy_from_slice(&MAGIC);
        out[field::VERSION] = self.version;
        out[field::TYPE] = self.kind;
        LittleEndian::write_u16(&mut out[field::FLAGS], self.flags.0);
        LittleEndian::write_u32(&mut out[field::REQUEST], self.request);
        LittleEndian::write_u32(&mut out[field::PAYLOAD_BYTES], self.payload_bytes);
        LittleEndian::write_u32(&mut out[field::PAYLOAD_CRC], self.payload_crc);
        let crc = crc32fast::hash(&out[..field::HEADER_CRC.start]);
        LittleEndian::write_u32(&mut out[field::HEADER_CRC], crc);
        out
    }

    /// The header of these bytes. Magic first, then the checksum: nothing is believed before it.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Header, HeaderError> {
        if bytes[field::MAGIC] != MAGIC {
            return Err(HeaderError::Magic);
        }
        let said = LittleEndian::read_u32(&bytes[field::HEADER_CRC]);
        let computed = crc32fast::hash(&bytes[..field::HEADER_CRC.start]);
        if said != computed {
            return Err(HeaderError::Checksum { said, computed });
        }
        Ok(Header {
            version: bytes[field::VERSION],
            kind: bytes[field::TYPE],
            flags: Flags(LittleEndian::read_u16(&bytes[field::FLAGS])),
            request: LittleEndian::read_u32(&bytes[field::REQUEST]),
            payload_bytes: LittleEndian::read_u32(&bytes[field::PAYLOAD_BYTES]),
            payload_crc: LittleEndian::read_u32(&bytes[field::PAYLOAD_CRC]),
        })
    }
}

/// Why 24 bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// They do not begin with the magic.
    Magic,
    /// The header's checksum is wrong.
    Checksum {
        /// The checksum in the header.
        said: u32,
        /// The checksum of the header's bytes.
        computed: u32,
    },
}

/// Types from here on are optional: a receiver that does not know one skips the frame and counts it.
pub const OPTIONAL_TYPES_FROM: u8 = 0x80;

macro_rules! message_types {
    ($($(#[$doc:meta])* $variant:ident = $value:literal $name:literal;)*) => {
        /// What a frame's payload is (protocol.md, "Messages").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum MessageType { $($(#[$doc])* $variant = $value,)* }

        impl MessageType {
            /// All of them, in the order of their numbers.
            pub const ALL: &[MessageType] = &[$(MessageType::$variant),*];

            /// The type of this number.
            pub fn from_number(number: u8) -> Option<MessageType> {
                match number { $($value => Some(MessageType::$variant),)* _ => None }
            }

            /// The name as protocol.md writes it.
            pub fn name(self) -> &'static str {
                match self { $(MessageType::$variant => $name,)* }
            }
        }
    };
}

message_types! {
    /// The dialler's greeting.
    Hello = 0x01 "HELLO";
    /// The acceptor's answer to HELLO.
    Welcome = 0x02 "WELCOME";
    /// The final answer to a request that failed; on request 0, the reason why the connection closes.
    Error = 0x03 "ERROR";
    /// Reserved for authentication.
    Challenge = 0x04 "CHALLENGE";
    /// The sender is about to close, and why.
    Goodbye = 0x05 "GOODBYE";
    /// Are you there?
    Ping = 0x08 "PING";
    /// Yes; and how loaded I am.
    Pong = 0x09 "PONG";
    /// The sender no longer wants a request answered in full.
    Cancel = 0x0A "CANCEL";
    /// Which of these objects do you hold?
    Have = 0x10 "HAVE";
    /// So many bytes of each.
    Held = 0x11 "HELD";
    /// Here is a piece of an object.
    Put = 0x12 "PUT";
    /// Give me a piece of an object.
    Fetch = 0x13 "FETCH";
    /// The piece asked for.
    Data = 0x14 "DATA";
    /// Train a task.
    Train = 0x20 "TRAIN";
    /// The task's result.
    Trained = 0x21 "TRAINED";
    /// The node would rather not.
    Rejected = 0x22 "REJECTED";
    /// How far is this task?
    Poll = 0x23 "POLL";
    /// So far.
    Polled = 0x24 "POLLED";
    /// Which results of this job do you still hold?
    Results = 0x25 "RESULTS";
    /// These.
    Holding = 0x26 "HOLDING";
    /// Run this job, or attach me to it.
    Submit = 0x30 "SUBMIT";
    /// The job is known; more follows.
    Accepted = 0x31 "ACCEPTED";
    /// A round has ended; more follows.
    Round = 0x32 "ROUND";
    /// Something that a person wants to know; more follows.
    Notice = 0x33 "NOTICE";
    /// The job is done.
    Done = 0x34 "DONE";
    /// Attach me to this job, if it is known.
    Attach = 0x35 "ATTACH";
    /// Which jobs do you know?
    Jobs = 0x36 "JOBS";
    /// How one of them stands; more follows.
    Job = 0x37 "JOB";
    /// That was all of them.
    Listed = 0x38 "LISTED";
    /// Cancel or resume this job.
    Order = 0x39 "ORDER";
    /// What was asked for with this job?
    Describe = 0x3A "DESCRIBE";
    /// Its specification.
    Described = 0x3B "DESCRIBED";
    /// How did this job's tasks go?
    Ledger = 0x3C "LEDGER";
    /// So, from one of them on.
    Entries = 0x3D "ENTRIES";
    /// How are you, and your nodes?
    Doctor = 0x3E "DOCTOR";
    /// How one of them is; more follows.
    Finding = 0x3F "FINDING";
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: [u8; 24] =
        [0xF5, 0x47, 0x52, 0x57, 1, 8, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3A, 0x7F, 0x5A, 0x6A];

    #[test]
    fn a_header_is_24_bytes_little_endian_sealed_by_its_checksum() {
        let header = Header { version: 1, kind: 8, flags: Flags::NONE, request: 3, payload_bytes: 0, payload_crc: 0 };
        let bytes = header.encode();
        assert_eq!(bytes, PING);
        assert_eq!(Header::decode(&bytes), Ok(header));
    }

    #[test]
    fn a_change_of_any_bit_is_noticed() {
        let header = Header { version: 1, kind: 8, flags: Flags::MORE, request: 77, payload_bytes: 5, payload_crc: 9 };
        let bytes = header.encode();
        for bit in 0..HEADER_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn numbers_and_types_agree() {
        for &kind in MessageType::ALL {
            assert_eq!(MessageType::from_number(kind as u8), Some(kind));
            assert!((kind as u8) < OPTIONAL_TYPES_FROM);
        }
        assert_eq!(MessageType::from_number(0x7F), None);
    }
}

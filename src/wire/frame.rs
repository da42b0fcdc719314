//! Frames in a stream of bytes. Owns cutting a stream into frames and sealing payloads into frames; does not know where
//! bytes come from or what payloads mean.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::code::ErrorCode;
use super::header::{Flags, HEADER_BYTES, Header, HeaderError, MAGIC, VERSION};

/// One whole frame, its payload's checksum verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The header.
    pub header: Header,
    /// The payload.
    pub payload: &'a [u8],
}

/// Why a stream is no stream of frames. The stream is lost after any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A frame does not begin with the magic.
    Magic,
    /// A header's checksum is wrong.
    HeaderChecksum {
        /// The checksum in the header.
        said: u32,
        /// The checksum of its bytes.
        computed: u32,
    },
    /// A frame of another version of the protocol.
    Version {
        /// Its version.
        got: u8,
    },
    /// A payload longer than is allowed now.
    TooLarge {
        /// Bytes announced.
        got: u32,
        /// Bytes allowed.
        allowed: u32,
    },
    /// A payload's checksum is wrong.
    PayloadChecksum {
        /// The checksum in the header.
        said: u32,
        /// The checksum of the payload's bytes.
        computed: u32,
    },
}

impl FrameError {
    /// The code that the peer is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Magic => ErrorCode::Magic,
            Self::HeaderChecksum { .. } => ErrorCode::HeaderChecksum,
            Self::Version { .. } => ErrorCode::Version,
            Self::TooLarge { .. } => ErrorCode::FrameTooLarge,
            Self::PayloadChecksum { .. } => ErrorCode::PayloadChecksum,
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("a frame begins with F5 47 52 57, and these bytes do not"),
            Self::HeaderChecksum { said, computed } => {
                write!(f, "the header's checksum says {said:#010x}, and its bytes have {computed:#010x}")
            }
            Self::Version { got } => write!(f, "the frame is of version {got}, and this program speaks {VERSION}"),
            Self::TooLarge { got, allowed } => {
                write!(f, "the payload has {got} bytes, and at most {allowed} are allowed now")
            }
            Self::PayloadChecksum { said, computed } => {
                write!(f, "the payload's checksum says {said:#010x}, and its bytes have {computed:#010x}")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// Room that is made for the next read, at least.
const READ_BYTES: usize = 4 << 10;
/// A drained buffer larger than this is given back.
const IDLE_BYTES_MAX: usize = 256 << 10;

/// Cuts a stream into frames, however the bytes arrive. Memory follows the bytes that have arrived, never a length that
/// a peer has announced.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes before `start` are consumed, from `end` on not yet filled.
    start: usize,
    end: usize,
    /// Frames of longer payloads are refused.
    payload_bytes_max: u32,
    /// The header of the frame at `start`, once it has been believed.
    header: Option<Header>,
    failed: Option<FrameError>,
}

impl Decoder {
    /// A decoder that takes payloads of up to `payload_bytes_max` bytes.
    pub fn new(payload_bytes_max: u32) -> Decoder {
        Decoder { buffer: Vec::new(), start: 0, end: 0, payload_bytes_max, header: None, failed: None }
    }

    /// Changes the limit for frames whose header has not been read yet.
    pub fn set_payload_bytes_max(&mut self, bytes: u32) {
        self.payload_bytes_max = bytes;
    }

    /// Room for the next bytes; tell [`Decoder::filled`] how many of it came.
    pub fn room(&mut self) -> &mut [u8] {
        let held = self.end - self.start;
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, held);
        }
        if held == 0 && self.buffer.len() > IDLE_BYTES_MAX {
            self.buffer = Vec::new();
        }
        // Doubling: a byte is copied O(1) times, and at most as much again as has arrived is allocated ahead; but not more
        // than is missing of a frame that has begun, nor what a vector would add to that on its own.
        let frame_bytes = self.header.map_or(usize::MAX, |header| HEADER_BYTES + header.payload_bytes as usize);
        let ahead = held.min(frame_bytes.saturating_sub(held)).max(READ_BYTES);
        if let Some(more) = (held + ahead).checked_sub(self.buffer.len()) {
            self.buffer.reserve_exact(more);
            self.buffer.resize(held + ahead, 0);
        }
        &mut self.buffer[held..]
    }

    /// `count` bytes of the last [`Decoder::room`] hold data now.
    pub fn filled(&mut self, count: usize) {
        assert!(self.end + count <= self.buffer.len(), "filled more than there was room for");
        self.end += count;
    }

    /// Takes `bytes` in: room and filled in one.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.room();
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            self.filled(count);
            bytes = &bytes[count..];
        }
    }

    /// Bytes that have arrived and belong to no finished frame yet.
    pub fn pending_bytes(&self) -> usize {
        self.end - self.start
    }

    /// The bytes that have arrived and belong to no finished frame yet.
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// The next whole frame; `None` while it has not arrived. After an error, always the same error.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.find_frame() {
            Ok(Some((header, payload))) => Ok(Some(Frame { header, payload: &self.buffer[payload] })),
            Ok(None) => Ok(None),
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    fn find_frame(&mut self) -> Result<Option<(Header, Range<usize>)>, FrameError> {
        let header = match self.header {
            Some(header) => header,
            None => match self.read_header()? {
                Some(header) => *self.header.insert(header),
                None => return Ok(None),
            },
        };
        let payload = self.start + HEADER_BYTES..self.start + HEADER_BYTES + header.payload_bytes as usize;
        if payload.end > self.end {
            return Ok(None);
        }
        let computed = crc32fast::hash(&self.buffer[payload.clone()]);
        if computed != header.payload_crc {
            return Err(FrameError::PayloadChecksum { said: header.payload_crc, computed });
        }
        self.header = None;
        self.start = payload.end;
        Ok(Some((header, payload)))
    }

    fn read_header(&self) -> Result<Option<Header>, FrameError> {
        let held = self.pending();
        // Wrong magic is refused at its first wrong byte, not when 24 bytes have come.
        let magic = held.len().min(MAGIC.len());
        if held[..magic] != MAGIC[..magic] {
            return Err(FrameError::Magic);
        }
        let Some(bytes) = held.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let header = Header::decode(bytes).map_err(|error| match error {
            HeaderError::Magic => FrameError::Magic,
            HeaderError::Checksum { said, computed } => FrameError::HeaderChecksum { said, computed },
        })?;
        if header.version != VERSION {
            return Err(FrameError::Version { got: header.version });
        }
        if header.payload_bytes > self.payload_bytes_max {
            return Err(FrameError::TooLarge { got: header.payload_bytes, allowed: self.payload_bytes_max });
        }
        Ok(Some(header))
    }
}

/// A stretch of bytes that several owners may hold: a model's bytes are encoded once and shared by all links, and so is
/// their checksum.
#[derive(Clone)]
pub struct SharedBytes(Arc<Stretch>);

struct Stretch {
    bytes: Arc<Vec<u8>>,
    range: Range<usize>,
    /// Of these bytes alone, once somebody has needed it.
    crc: OnceLock<crc32fast::Hasher>,
}

impl SharedBytes {
    /// The stretch `range` of `bytes`; `None` if it does not lie inside.
    pub fn new(bytes: Arc<Vec<u8>>, range: Range<usize>) -> Option<SharedBytes> {
        let lies_inside = range.start <= range.end && range.end <= bytes.len();
        lies_inside.then(|| SharedBytes(Arc::new(Stretch { bytes, range, crc: OnceLock::new() })))
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0.bytes[self.0.range.clone()]
    }

    /// Whether somebody waits for the memory of the whole that this is a stretch of: then he keeps a second
    /// [`Weak`](std::sync::Weak) of it beside the one by which he learns that all have let go.
    pub fn is_wanted_back(&self) -> bool {
        Arc::weak_count(&self.0.bytes) > 1
    }

    fn crc(&self) -> &crc32fast::Hasher {
        self.0.crc.get_or_init(|| {
            let mut crc = crc32fast::Hasher::new();
            crc.update(self.as_slice());
            crc
        })
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedBytes({} of {})", self.0.range.len(), self.0.bytes.len())
    }
}

/// A frame that is yet to be sealed: all but its header. Its checksum is known, so that sealing it costs next to nothing: that
/// can wait until it is certain behind which frames it leaves.
#[derive(Clone, Debug)]
pub struct Draft {
    header: Header,
    /// Room for the header, and the payload's own bytes.
    head: Vec<u8>,
    tail: Option<SharedBytes>,
}

impl Draft {
    /// A frame with this payload, whose end may be shared.
    pub fn new(kind: u8, flags: Flags, request: u32, payload: &[u8], tail: Option<SharedBytes>) -> Draft {
        let mut crc = crc32fast::Hasher::new();
        crc.update(payload);
        let mut payload_bytes = payload.len();
        if let Some(tail) = &tail {
            crc.combine(tail.crc());
            payload_bytes += tail.as_slice().len();
        }
        let payload_crc = crc.finalize();
        let header =
            Header { version: VERSION, kind, flags, request, payload_bytes: payload_bytes as u32, payload_crc };
        let mut head = Vec::with_capacity(HEADER_BYTES + payload.len());
        head.extend_from_slice(&[0; HEADER_BYTES]);
        head.extend_from_slice(payload);
        Draft { header, head, tail }
    }

    /// Length of the payload.
    pub fn payload_bytes(&self) -> usize {
        self.header.payload_bytes as usize
    }

    /// The frame. Whatever must be so of the frames of a connection in their order is seen to here.
    pub fn seal(self) -> Encoded {
        let Draft { header, mut head, tail } = self;
        head[..HEADER_BYTES].copy_from_slice(&header.encode());
        Encoded { head, tail }
    }
}

/// A frame ready to leave: header and payload, the payload's end perhaps shared. The two parts leave in one write.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Header and the payload's own bytes.
    pub head: Vec<u8>,
    /// The rest of the payload.
    pub tail: Option<SharedBytes>,
}

impl Encoded {
    /// Seals a payload into a frame that belongs to no order.
    pub fn seal(kind: u8, flags: Flags, request: u32, payload: &[u8], tail: Option<SharedBytes>) -> Encoded {
        Draft::new(kind, flags, request, payload, tail).seal()
    }

    /// Length of the whole frame.
    pub fn frame_bytes(&self) -> usize {
        self.head.len() + self.tail.as_ref().map_or(0, |tail| tail.as_slice().len())
    }

    /// The whole frame in one piece.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.head.clone();
        out.extend_from_slice(self.tail.as_ref().map_or(&[], SharedBytes::as_slice));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        Encoded::seal(8, Flags::NONE, 5, payload, None).to_bytes()
    }

    #[test]
    fn frames_come_out_whole_however_the_bytes_arrive() {
        let stream = [frame(b"one"), frame(b""), frame(&[7; 40_000])].concat();
        for step in [1, 3, 24, 1000, stream.len()] {
            let mut decoder = Decoder::new(1 << 20);
            let mut lengths = Vec::new();
            for piece in stream.chunks(step) {
                decoder.feed(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    lengths.push(frame.payload.len());
                }
            }
            assert_eq!(lengths, [3, 0, 40_000], "in pieces of {step}");
            assert_eq!(decoder.pending_bytes(), 0);
        }
    }

    #[test]
    fn shared_and_own_payloads_make_the_same_frame() {
        let bytes = Arc::new(b"0123456789".to_vec());
        let tail = SharedBytes::new(bytes.clone(), 4..10);
        assert_eq!(Encoded::seal(8, Flags::NONE, 5, b"0123", tail).to_bytes(), frame(b"0123456789"));
        assert!(SharedBytes::new(bytes, 4..11).is_none());
    }

    #[test]
    fn a_wrong_first_byte_is_refused_at_once() {
        let mut decoder = Decoder::new(1 << 20);
        decoder.feed(&MAGIC[..2]);
        assert_eq!(decoder.next_frame(), Ok(None));
        decoder.feed(b"x");
        assert_eq!(decoder.next_frame(), Err(FrameError::Magic));
        decoder.feed(&frame(b"fine"));
        assert_eq!(decoder.next_frame(), Err(FrameError::Magic), "a lost stream stays lost");
    }

    #[test]
    fn a_huge_length_is_refused_by_the_header_alone() {
        let header =
            Header { version: 1, kind: 8, flags: Flags::NONE, request: 1, payload_bytes: u32::MAX, payload_crc: 0 };
        let mut decoder = Decoder::new(1024);
        decoder.feed(&header.encode());
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLarge { got: u32::MAX, allowed: 1024 }));
        assert!(decoder.allocated_bytes() <= 2 * READ_BYTES);
    }

    #[test]
    fn memory_follows_the_bytes_that_came_not_those_announced() {
        let whole = frame(&[1; 1 << 20]);
        let mut decoder = Decoder::new(1 << 20);
        for (index, piece) in whole.chunks(4096).enumerate() {
            decoder.feed(piece);
            let arrived = (index + 1) * 4096;
            assert!(decoder.allocated_bytes() <= 4 * arrived + 2 * READ_BYTES, "{arrived} arrived");
            if arrived < whole.len() {
                assert_eq!(decoder.next_frame(), Ok(None));
            }
        }
        assert!(decoder.next_frame().unwrap().is_some());
        assert!(decoder.allocated_bytes() <= whole.len() + READ_BYTES, "a frame, and one read beyond it");
    }

    #[test]
    fn damage_to_any_byte_is_refused() {
        let good = frame(b"payload");
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 0x10;
            let mut decoder = Decoder::new(1 << 20);
            decoder.feed(&bad);
            assert!(decoder.next_frame().is_err(), "byte {index}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut header =
            Header { version: 2, kind: 1, flags: Flags::NONE, request: 1, payload_bytes: 0, payload_crc: 0 };
        let mut decoder = Decoder::new(1024);
        decoder.feed(&header.encode());
        assert_eq!(decoder.next_frame(), Err(FrameError::Version { got: 2 }));
        header.version = 1;
        let mut decoder = Decoder::new(1024);
        decoder.feed(&header.encode());
        assert!(decoder.next_frame().unwrap().is_some());
    }
}

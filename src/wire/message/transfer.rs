//! HAVE, HELD, PUT, FETCH, DATA: objects by digest, in pieces.

use std::borrow::Cow;

use super::layout::Layout;
use crate::digest::Digest;
use crate::wire::bytes::{Malformation, Read, Reader, Write as _};
use crate::wire::frame::{Draft, SharedBytes};
use crate::wire::header::{Flags, MessageType};
use crate::wire::limits;

/// Bytes of a piece before the object's own.
const PIECE_HEAD_BYTES: usize = 48;
/// Bytes of an object in one piece, at most.
pub const PIECE_BYTES_MAX: usize = piece_bytes_max(limits::PAYLOAD_BYTES_MAX);

/// Bytes of an object in one piece to a peer that takes payloads of so many bytes, at most.
pub const fn piece_bytes_max(payload_bytes_max: u32) -> usize {
    (payload_bytes_max as usize).saturating_sub(PIECE_HEAD_BYTES)
}

/// Which of these objects do you hold?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Have {
    /// The objects.
    pub digests: Vec<Digest>,
}

impl Layout<'_> for Have {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let count = reader.count(limits::HAVE_DIGESTS_MAX, 32)?;
        Ok(Have { digests: (0..count).map(|_| reader.digest()).collect::<Read<_>>()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.digests.len() as u32);
        for digest in &self.digests {
            out.bytes(&digest.0);
        }
    }
}

/// The answer to HAVE and to PUT: bytes held of each object asked about, from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// In the order of the question; an object's size where it is held whole.
    pub bytes: Vec<u64>,
}

impl Layout<'_> for Held {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let count = reader.count(limits::HAVE_DIGESTS_MAX, 8)?;
        Ok(Held { bytes: (0..count).map(|_| reader.u64()).collect::<Read<_>>()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.bytes.len() as u32);
        for &bytes in &self.bytes {
            out.u64(bytes);
        }
    }
}

/// Give me a piece of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The object.
    pub digest: Digest,
    /// Where the piece begins.
    pub offset: u64,
    /// Its length, at most; the answer may be shorter, but not empty.
    pub bytes_max: u32,
}

impl Layout<'_> for Fetch {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let fetch = Fetch { digest: reader.digest()?, offset: reader.u64()?, bytes_max: reader.u32()? };
        reader.reserved(4)?;
        if fetch.bytes_max == 0 {
            return reader.fail(Malformation::UnknownValue { got: 0 });
        }
        Ok(fetch)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.bytes(&self.digest.0);
        out.u64(self.offset);
        out.u32(self.bytes_max);
        out.u32(0);
    }
}

/// A piece of an object: the payload of PUT and of DATA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The object.
    pub digest: Digest,
    /// The whole object's size.
    pub object_bytes: u64,
    /// Where the piece begins.
    pub offset: u64,
    /// The piece, at least a byte.
    pub bytes: Cow<'a, [u8]>,
}

impl<'a> Layout<'a> for Piece<'a> {
    fn decode(reader: &mut Reader<'a>) -> Read<Self> {
        let (digest, object_bytes, offset) = (reader.digest()?, reader.u64()?, reader.u64()?);
        let bytes = reader.rest();
        let end = offset.checked_add(bytes.len() as u64);
        if bytes.is_empty() || end.is_none_or(|end| end > object_bytes) {
            let piece_bytes = bytes.len() as u64;
            return reader.fail(Malformation::ObjectRange { piece_bytes, offset, object_bytes });
        }
        Ok(Piece { digest, object_bytes, offset, bytes: Cow::Borrowed(bytes) })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        encode_head(out, &self.digest, self.object_bytes, self.offset);
        out.bytes(&self.bytes);
    }
}

impl Piece<'_> {
    /// A PUT or DATA frame whose object bytes stay where they are.
    pub fn draft_shared(
        kind: MessageType,
        request: u32,
        digest: &Digest,
        object_bytes: u64,
        offset: u64,
        bytes: SharedBytes,
    ) -> Draft {
        let mut head = Vec::with_capacity(PIECE_HEAD_BYTES);
        encode_head(&mut head, digest, object_bytes, offset);
        Draft::new(kind as u8, Flags::NONE, request, &head, Some(bytes))
    }
}

fn encode_head(out: &mut Vec<u8>, digest: &Digest, object_bytes: u64, offset: u64) {
    out.bytes(&digest.0);
    out.u64(object_bytes);
    out.u64(offset);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Message;
    use crate::wire::code::ErrorCode;

    fn refusal(object_bytes: u64, offset: u64, bytes: &[u8]) -> Option<ErrorCode> {
        let mut payload = Vec::new();
        encode_head(&mut payload, &Digest([7; 32]), object_bytes, offset);
        payload.bytes(bytes);
        Message::decode(MessageType::Put, &payload).err().map(|error| error.code())
    }

    #[test]
    fn a_piece_has_a_byte_at_least_and_lies_within_its_object() {
        assert_eq!(refusal(10, 8, b"ab"), None);
        assert_eq!(refusal(10, 9, b"ab"), Some(ErrorCode::ObjectRange));
        assert_eq!(refusal(10, 8, b""), Some(ErrorCode::ObjectRange));
        assert_eq!(refusal(10, u64::MAX, b"ab"), Some(ErrorCode::ObjectRange), "offset + 2 overflows");
    }

    #[test]
    fn a_shared_piece_is_the_same_frame() {
        let object = std::sync::Arc::new(b"0123456789".to_vec());
        let digest = Digest::of(&object);
        let piece = Piece { digest, object_bytes: 10, offset: 4, bytes: Cow::Borrowed(&object[4..9]) };
        let shared = SharedBytes::new(object.clone(), 4..9).unwrap();
        let sealed = Piece::draft_shared(MessageType::Data, 3, &digest, 10, 4, shared).seal().to_bytes();
        assert_eq!(sealed, Message::Data(piece).seal(3, false).to_bytes());
    }
}

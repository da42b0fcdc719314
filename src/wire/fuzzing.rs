//! What the fuzz targets under `fuzz/` assert, kept here so that a stable test can replay their inputs. Owns the
//! assertions; does not know how inputs are found.

use super::frame::{Decoder, FrameError};
use super::header::{HEADER_BYTES, Header, MAGIC, MessageType, VERSION};
use super::{Message, limits};

/// A frame as it came out of a decoder: header and payload.
type Owned = (Header, Vec<u8>);

/// A stream of frames: the bytes as they are, then with their checksums made right, so that a change of a payload is
/// not stopped at the first gate.
///
/// # Panics
///
/// When the stream's meaning depends on how it was cut, when a decoder consumes or allocates what has not come, or when
/// a message that was understood is not encoded as it came.
pub fn frame_decode(stream: &[u8]) {
    check_stream(stream);
    check_stream(&resealed(stream));
}

fn check_stream(stream: &[u8]) {
    let whole = decode(stream, [stream.len()].into_iter());
    let consumed: usize = whole.0.iter().map(|(_, payload)| HEADER_BYTES + payload.len()).sum();
    assert!(consumed <= stream.len(), "{consumed} bytes consumed of {}", stream.len());

    // A stream of xorshift numbers that follows from the input: the same input is always cut in the same places.
    let mut state = u64::from(crc32fast::hash(stream)) | (1 << 32);
    let random = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        1 + (state % 61) as usize
    });
    assert_eq!(decode(stream, random), whole, "cut at random");
    assert_eq!(decode(stream, std::iter::repeat(1)), whole, "byte by byte");

    for (header, payload) in &whole.0 {
        if let Some(kind) = MessageType::from_number(header.kind) {
            check_payload(kind, payload);
        }
    }
}

/// The frames in `stream`, fed in pieces of these sizes, and how it ended.
fn decode(stream: &[u8], mut sizes: impl Iterator<Item = usize>) -> (Vec<Owned>, Result<usize, FrameError>) {
    let mut decoder = Decoder::new(limits::PAYLOAD_BYTES_MAX);
    let mut frames = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |size| size.clamp(1, rest.len()));
        let (piece, after) = rest.split_at(size);
        decoder.feed(piece);
        rest = after;
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push((frame.header, frame.payload.to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        let arrived = stream.len() - rest.len();
        assert!(decoder.allocated_bytes() <= 4 * arrived + (64 << 10), "{} allocated", decoder.allocated_bytes());
    }
    let pending = decoder.pending_bytes();
    (frames, Ok(pending))
}

/// What was understood is encoded as it came. A payload with fields that were skipped comes out shorter, without them.
fn check_payload(kind: MessageType, payload: &[u8]) {
    let Ok(message) = Message::decode(kind, payload) else { return };
    let again = message.payload();
    if again != payload {
        assert!(may_skip(kind) && again.len() < payload.len(), "{kind} came out as another payload");
    }
    let settled = Message::decode(kind, &again).map(|message| message.payload());
    assert_eq!(settled.as_ref(), Ok(&again), "{kind} does not settle");
}

/// Whether messages of this type have tagged fields, of which unknown ones may be skipped.
pub fn may_skip(kind: MessageType) -> bool {
    matches!(kind, MessageType::Hello | MessageType::Welcome | MessageType::Submit | MessageType::Train)
}

/// The stream with magic, version and checksums of each frame made right. Lengths stay, as long as the payload is there.
fn resealed(stream: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(stream.len());
    let mut rest = stream;
    while let Some((header, after)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let mut sealed = *header;
        sealed[..MAGIC.len()].copy_from_slice(&MAGIC);
        sealed[MAGIC.len()] = VERSION;
        let (fields, checksum) = sealed.split_at_mut(HEADER_BYTES - 4);
        checksum.copy_from_slice(&crc32fast::hash(fields).to_le_bytes());
        let Ok(header) = Header::decode(&sealed) else { break };
        let payload_bytes = (header.payload_bytes as usize).min(after.len());
        let (payload, after) = after.split_at(payload_bytes);
        let payload_crc = crc32fast::hash(payload);
        let header = Header { payload_bytes: payload_bytes as u32, payload_crc, ..header };
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(payload);
        rest = after;
    }
    // The beginning of a header, as far as it can be right.
    let begun = rest.len().min(MAGIC.len());
    out.extend_from_slice(&MAGIC[..begun]);
    out.extend_from_slice(&rest[begun..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::{Cancel, Ping};

    #[test]
    fn damaged_checksums_are_made_right_and_sound_streams_stay_as_they_are() {
        let stream = [Message::from(Cancel { request: 7 }).seal(0, false), Message::from(Ping).seal(3, false)]
            .map(|frame| frame.to_bytes())
            .concat();
        assert_eq!(resealed(&stream), stream);
        let mut damaged = stream.clone();
        for checksum in [16, 21, HEADER_BYTES + 4 + 20] {
            damaged[checksum] ^= 0xFF;
        }
        assert_eq!(resealed(&damaged), stream);
        frame_decode(&damaged);
    }
}

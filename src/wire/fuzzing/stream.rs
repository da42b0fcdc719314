//! The targets that take a stream as it may come from a peer: `frame_decode` and `split_independent`. Owns what must be
//! true of a decoder; payloads have a file of their own.
//!
//! Both take the stream as it is, and once more with magic, version and checksums made right, so that a change inside a
//! payload is not stopped at the first gate. The library itself has no switch for that.

use std::iter;

use super::payload::{check_payload, check_told};
use crate::wire::frame::{Decoder, Frame, FrameError};
use crate::wire::header::{HEADER_BYTES, Header, MAGIC, MessageType, VERSION};
use crate::wire::message::Error;
use crate::wire::{Message, judge, limits};

/// A frame as it came out of a decoder: header and payload.
pub(super) type OwnedFrame = (Header, Vec<u8>);

/// What a decoder made of a stream: its frames, and how it ended, with the bytes that belong to no frame yet.
#[derive(Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) frames: Vec<OwnedFrame>,
    pub(super) end: Result<usize, FrameError>,
}

/// A stream of frames.
///
/// # Panics
///
/// When a decoder consumes or allocates what has not come, waits for more of what cannot become a frame, when a message
/// that was understood is not encoded as it came, or when the peer could not be told what is wrong.
pub fn frame_decode(stream: &[u8]) {
    check_frames(stream);
    check_frames(&resealed(stream));
}

/// A stream of frames and how it is cut. The first byte: in its lower seven bits the number of cuts that follow; its
/// highest bit chooses the payload limit of a greeting. Then the cuts, a byte each: pieces of 1 to 256 bytes, taken in
/// turn. Then the stream.
///
/// # Panics
///
/// When frames, error, or what the greeting is judged to be depend on how the stream is cut.
pub fn split_independent(input: &[u8]) {
    let Some((&head, rest)) = input.split_first() else { return };
    let payload_bytes_max =
        if head & 0x80 == 0 { limits::PAYLOAD_BYTES_MAX } else { limits::GREETING_PAYLOAD_BYTES_MAX };
    let (cuts, stream) = rest.split_at(usize::from(head & 0x7F).min(rest.len()));
    for stream in [stream, &resealed(stream)] {
        let sizes = || cuts.iter().map(|&cut| usize::from(cut) + 1).cycle();
        let whole = read(stream, payload_bytes_max, iter::empty());
        assert_eq!(read(stream, payload_bytes_max, sizes()), whole, "cut into {cuts:?}");
        assert_eq!(read(stream, payload_bytes_max, iter::repeat(1)), whole, "byte by byte");

        for dialled in [true, false] {
            let greeting = greet(stream, dialled, iter::empty());
            assert_eq!(greet(stream, dialled, sizes()), greeting, "greeted in {cuts:?}");
            assert_eq!(greet(stream, dialled, iter::repeat(1)), greeting, "greeted byte by byte");
            if let Err(error) = greeting {
                check_told(error);
            }
        }
    }
}

fn check_frames(stream: &[u8]) {
    let Reading { frames, end } = read(stream, limits::PAYLOAD_BYTES_MAX, iter::empty());
    let consumed: usize = frames.iter().map(|(_, payload)| HEADER_BYTES + payload.len()).sum();
    match end {
        Ok(pending) => assert_eq!(consumed + pending, stream.len(), "bytes are lost, or came from nowhere"),
        Err(error) => {
            assert!(consumed <= stream.len(), "{consumed} bytes consumed of {}", stream.len());
            check_told(error.into());
        }
    }
    for (header, payload) in &frames {
        if let Some(kind) = MessageType::from_number(header.kind) {
            check_payload(kind, payload);
        }
    }
}

/// What the greeting in `stream` is judged to be by the dialler or the acceptor, as far as it has come.
fn greet(
    mut stream: &[u8],
    dialled: bool,
    mut sizes: impl Iterator<Item = usize>,
) -> Result<Option<Message<'static>>, Error> {
    let mut decoder = Decoder::new(limits::GREETING_PAYLOAD_BYTES_MAX);
    loop {
        let (piece, rest) = stream.split_at(sizes.next().unwrap_or(stream.len()).min(stream.len()));
        decoder.feed(piece);
        match judge::greeting(&mut decoder, dialled)? {
            None if !rest.is_empty() => stream = rest,
            judged => return Ok(judged),
        }
    }
}

/// Reads `stream` in pieces of these sizes; what is left when they end comes in one.
pub(super) fn read(stream: &[u8], payload_bytes_max: u32, mut sizes: impl Iterator<Item = usize>) -> Reading {
    let mut decoder = Decoder::new(payload_bytes_max);
    let mut frames = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |size| size.clamp(1, rest.len()));
        let (piece, after) = rest.split_at(size);
        decoder.feed(piece);
        rest = after;
        loop {
            match decoder.next_frame() {
                Ok(Some(Frame { header, payload })) => {
                    assert!(header.version == VERSION && header.payload_bytes <= payload_bytes_max);
                    assert_eq!(header.payload_bytes as usize, payload.len());
                    frames.push((header, payload.to_vec()));
                }
                Ok(None) => {
                    // "Wrong magic is refused at its first wrong byte": what waits may still become a frame.
                    assert!(
                        decoder.pending().iter().zip(&MAGIC).all(|(held, magic)| held == magic),
                        "no frame begins so"
                    );
                    break;
                }
                Err(error) => {
                    assert_eq!(decoder.next_frame(), Err(error), "a lost stream stays lost");
                    return Reading { frames, end: Err(error) };
                }
            }
        }
        let arrived = stream.len() - rest.len();
        assert!(decoder.allocated_bytes() <= 4 * arrived + (64 << 10), "{} allocated", decoder.allocated_bytes());
    }
    Reading { frames, end: Ok(decoder.pending_bytes()) }
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

//! The target `message_roundtrip`: values out, the same values in. Owns what must be true of a message that this program
//! makes; does not know how messages are drawn.

use arbitrary::{Arbitrary, Result, Unstructured};

use super::payload::check_payload;
use super::stream::read;
use crate::wire::header::{Flags, HEADER_BYTES, Header, VERSION};
use crate::wire::message::Goodbye;
use crate::wire::{Message, MessageType, limits};

/// A message, how it is sent, and how its payload is then changed.
#[derive(Debug)]
struct Case {
    message: Message<'static>,
    request: u32,
    more: bool,
    /// The pieces in which the frame arrives, less one byte each.
    cuts: [u8; 4],
    /// Where the payload is changed, and what is put there.
    changes: [(u32, u8); 3],
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let message = u.arbitrary()?;
        let (request, more, cuts, changes) = u.arbitrary()?;
        Ok(Case { message, request, more, cuts, changes })
    }
}

/// Any message: the input chooses its type, its fields, and what is done to its bytes.
///
/// # Panics
///
/// When a message is longer than a frame, does not come back equal, does not come through a decoder, or when its bytes,
/// changed and accepted all the same, are not the encoding of what they were taken for.
pub fn message_roundtrip(input: &[u8]) {
    let mut unstructured = Unstructured::new(input);
    let Ok(case) = unstructured.arbitrary::<Case>() else { return };
    check_message(&case.message);
    check_frame(&case);

    let mut changed = case.message.payload();
    for (place, byte) in case.changes {
        if let Some(place) = (place as usize).checked_rem(changed.len()) {
            changed[place] ^= byte;
        }
    }
    check_payload(case.message.message_type(), &changed);

    if let Ok(text) = unstructured.arbitrary::<&str>() {
        check_sentence(text);
    }
}

fn check_message(message: &Message<'static>) {
    let (kind, payload) = (message.message_type(), message.payload());
    assert!(payload.len() <= limits::PAYLOAD_BYTES_MAX as usize, "{kind} of {} bytes", payload.len());
    let decoded = Message::decode(kind, &payload).unwrap_or_else(|error| panic!("{error}: {message:?}"));
    assert!(decoded.payload() == payload, "{kind} is encoded in two ways");
    // NaN is unlike itself: of a message that holds one, the bytes must do.
    assert!(decoded == *message || *message != message.clone(), "{decoded:?}\nis not\n{message:?}");
    // Who offers no version known here may go on as it likes: it is to be told so, and not that it went on wrongly.
    if matches!(message, Message::Hello(hello) if hello.version_min > VERSION) {
        let later = [&payload[..], b"later"].concat();
        assert_eq!(Message::decode(kind, &later).as_ref(), Ok(message));
    }
}

fn check_frame(Case { message, request, more, cuts, .. }: &Case) {
    let frame = message.seal(*request, *more);
    assert_eq!(frame.frame_bytes(), HEADER_BYTES + message.draft(*request, *more).payload_bytes());
    let payload = message.payload();
    let header = Header {
        version: VERSION,
        kind: message.message_type() as u8,
        flags: if *more { Flags::MORE } else { Flags::NONE },
        request: *request,
        payload_bytes: payload.len() as u32,
        payload_crc: crc32fast::hash(&payload),
    };
    let sizes = cuts.iter().map(|&cut| usize::from(cut) + 1);
    let reading = read(&frame.to_bytes(), limits::PAYLOAD_BYTES_MAX, sizes);
    assert_eq!(reading.end, Ok(0));
    assert!(reading.frames == [(header, payload)], "the frame of {message:?} came out as another");
}

/// Whatever a sentence is made from, the peer can read it: control characters and what is beyond the limit are gone.
fn check_sentence(text: &str) {
    let payload = Message::from(Goodbye { text: text.to_owned() }).payload();
    let said = match Message::decode(MessageType::Goodbye, &payload) {
        Ok(Message::Goodbye(Goodbye { text })) => text,
        other => panic!("{text:?} was sent as {other:?}"),
    };
    assert!(said.len() <= limits::SENTENCE_BYTES_MAX && !said.chars().any(char::is_control), "{said:?}");
    if text.len() <= limits::SENTENCE_BYTES_MAX && !text.chars().any(char::is_control) {
        assert_eq!(said, text);
    }
}

//! What is done to valid conversations: to frames before they are sealed, so that most of it gets past the checksums, and
//! to the sealed stream. Owns the choice; does not know what a mutation leads to.

use gradwire::wire::header::{Flags, Header, VERSION};
use gradwire::wire::{HEADER_BYTES, MessageType, limits};
use rand::RngExt as _;
use rand::rngs::ChaCha8Rng;

use crate::valid::{Frame, Side, one_of};

/// Numbers at which something ends.
const EDGES: [u64; 18] = [
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x100,
    1_000,
    1_024,
    0x7FFF,
    0xFFFF,
    0x1_0000,
    1 << 20,
    1 << 30,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    1 << 32,
    u64::MAX,
];

/// Frames, the checksums of which are made when they are sealed; and one whose header announces another length.
struct Draft {
    frames: Vec<Frame>,
    lie: Option<(usize, u32)>,
}

/// The stream that `side` is sent, changed in one to four ways; frames come in from `other`, too.
pub fn mutated(rng: &mut ChaCha8Rng, side: &Side, other: &Side) -> Vec<u8> {
    let mut draft = Draft { frames: side.frames.clone(), lie: None };
    for _ in 0..rng.random_range(1..=4) {
        draft.change(rng, other);
    }
    let mut stream = draft.sealed();
    // One in six is damaged behind its checksums.
    if !stream.is_empty() && rng.random_ratio(1, 6) {
        damage(rng, &mut stream);
    }
    stream
}

/// The frames, each with its checksums right.
pub fn sealed(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::with_capacity(frames.iter().map(|frame| HEADER_BYTES + frame.payload.len()).sum());
    for Frame { header, payload } in frames {
        let payload_bytes = payload.len() as u32;
        let header = Header { payload_bytes, payload_crc: crc32fast::hash(payload), ..*header };
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(payload);
    }
    out
}

impl Draft {
    fn sealed(&self) -> Vec<u8> {
        let Some((place, payload_bytes)) = self.lie.filter(|(place, _)| *place < self.frames.len()) else {
            return sealed(&self.frames);
        };
        let (before, after) = self.frames.split_at(place);
        let header = Header { payload_bytes, payload_crc: crc32fast::hash(&after[0].payload), ..after[0].header };
        [&sealed(before)[..], &header.encode(), &after[0].payload, &sealed(&after[1..])].concat()
    }

    fn change(&mut self, rng: &mut ChaCha8Rng, other: &Side) {
        if self.frames.is_empty() {
            self.frames.clone_from(&other.frames);
            return;
        }
        let places = self.frames.len();
        let (place, second) = (rng.random_range(0..places), rng.random_range(0..places));
        match rng.random_range(0..100) {
            0..16 => self.change_number(rng, place),
            16..26 => flip_bits(rng, &mut self.frames[place].payload),
            26..31 => {
                let payload = &mut self.frames[place].payload;
                payload.truncate(rng.random_range(0..=payload.len()));
            }
            31..36 => {
                let more = rng.random_range(1..40);
                let payload = &mut self.frames[place].payload;
                payload.extend((0..more).map(|_| rng.random::<u8>()));
            }
            36..42 => self.splice_payload(rng, place, other),
            42..47 => {
                let payload = std::mem::take(&mut self.frames[place].payload);
                self.frames[place].payload = std::mem::replace(&mut self.frames[second].payload, payload);
            }
            47..55 => self.frames[place].header.kind = kind(rng),
            55..59 => self.frames[place].header.flags = flags(rng),
            59..67 => self.frames[place].header.request = request(rng, self.frames[second].header.request),
            67..68 => self.frames[place].header.version = one_of(rng, &[0, VERSION + 1, u8::MAX]),
            68..72 => self.lie = Some((place, self.length(rng, place))),
            72..78 => self.frames.insert(second, self.frames[place].clone()),
            78..84 => drop(self.frames.remove(place)),
            84..90 => self.frames.swap(place, second),
            90..99 => {
                let from = rng.random_range(0..=other.frames.len());
                self.frames.truncate(place);
                self.frames.extend_from_slice(&other.frames[from..]);
            }
            // Rare, because it takes as long as fifty others.
            _ if rng.random_ratio(1, 8) => self.crowd(place),
            _ => self.frames.truncate(place),
        }
    }

    /// Writes a number that ends something, or is near what was there, over one to eight bytes of a payload.
    fn change_number(&mut self, rng: &mut ChaCha8Rng, place: usize) {
        let payload = &mut self.frames[place].payload;
        if payload.is_empty() {
            return;
        }
        let at = rng.random_range(0..payload.len().min(200));
        let width = (1 << rng.random_range(0..4)).min(payload.len() - at);
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(&payload[at..at + width]);
        let number = match rng.random_bool(0.3) {
            true => u64::from_le_bytes(bytes).wrapping_add(rng.random_range(0..5)).wrapping_sub(2),
            false => one_of(rng, &EDGES),
        };
        payload[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
    }

    /// Puts a stretch of another payload into one.
    fn splice_payload(&mut self, rng: &mut ChaCha8Rng, place: usize, other: &Side) {
        let Some(donor) = other.frames.get(rng.random_range(0..=other.frames.len())) else { return };
        let from = rng.random_range(0..=donor.payload.len());
        let until = rng.random_range(from..=donor.payload.len());
        let payload = &mut self.frames[place].payload;
        let at = rng.random_range(0..=payload.len());
        let replaced = at..rng.random_range(at..=payload.len());
        payload.splice(replaced, donor.payload[from..until].iter().copied());
        payload.truncate(limits::PAYLOAD_BYTES_MAX as usize);
    }

    /// A length that a header might announce instead of its payload's.
    fn length(&self, rng: &mut ChaCha8Rng, place: usize) -> u32 {
        let true_bytes = self.frames[place].payload.len() as u32;
        match rng.random_range(0..4) {
            0 => true_bytes + rng.random_range(1..100),
            1 => true_bytes.saturating_sub(rng.random_range(1..100)),
            2 => one_of(rng, &[limits::GREETING_PAYLOAD_BYTES_MAX, limits::PAYLOAD_BYTES_MAX]) + rng.random_range(0..2),
            _ => u32::MAX - rng.random_range(0..2),
        }
    }

    /// One request more often than a peer may leave requests unanswered, under ids that are new.
    fn crowd(&mut self, place: usize) {
        let Frame { header, payload } = self.frames.remove(place);
        let copy = |index| Frame {
            header: Header { request: header.request.wrapping_add(2 * index), ..header },
            payload: payload[..payload.len().min(200)].to_vec(),
        };
        let crowd: Vec<Frame> = (0..=limits::OPEN_REQUESTS_MAX as u32).map(copy).collect();
        self.frames.splice(place..place, crowd);
    }
}

/// A type with a number, mostly.
fn kind(rng: &mut ChaCha8Rng) -> u8 {
    match rng.random_bool(0.8) {
        true => one_of(rng, MessageType::ALL) as u8,
        false => rng.random(),
    }
}

/// Few of which are right.
fn flags(rng: &mut ChaCha8Rng) -> Flags {
    let any = Flags(rng.random());
    one_of(rng, &[Flags::NONE, Flags::MORE, Flags::TAGGED, Flags(3), any])
}

/// A request id near one that is in use, or at an edge.
fn request(rng: &mut ChaCha8Rng, near: u32) -> u32 {
    match rng.random_range(0..4) {
        0 => one_of(rng, &EDGES) as u32,
        1 => rng.random(),
        _ => near.wrapping_add(rng.random_range(0..9)).wrapping_sub(4),
    }
}

fn flip_bits(rng: &mut ChaCha8Rng, bytes: &mut [u8]) {
    if bytes.is_empty() {
        return;
    }
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
    }
}

/// What a broken line, or who does not know frames, does to a stream.
fn damage(rng: &mut ChaCha8Rng, stream: &mut Vec<u8>) {
    let at = rng.random_range(0..stream.len());
    match rng.random_range(0..4) {
        0 => flip_bits(rng, stream),
        1 => stream.truncate(at),
        2 => drop(stream.drain(at..stream.len().min(at + 30))),
        _ => {
            let more: [u8; 16] = rng.random();
            stream.splice(at..at, more);
        }
    }
}

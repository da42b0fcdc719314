//! One object on its way from a peer: which of its pieces have been asked for, which have come, and why it cannot be had.
//! Owns their order; does not know links, nor what is done with the bytes.

use crate::digest::Digest;
use crate::store::{Part, WrongDigest};
use crate::wire::message::{Error, Fetch, PIECE_BYTES_MAX, Piece};

/// Bytes asked for at a time. Small enough that a frame of it passes well within the heartbeat's three seconds on a
/// line of a megabit.
const FETCH_BYTES: u32 = 256 << 10;

const _: () = assert!((FETCH_BYTES as usize) < PIECE_BYTES_MAX);

/// Why an object cannot be had from the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// The peer refused.
    Refused(Error),
    /// A piece is not the one asked for.
    WrongPiece {
        /// The object.
        digest: Digest,
    },
    /// The peer has told two sizes of it: one of them is not the object's.
    OtherSize {
        /// The object.
        digest: Digest,
    },
    /// The object is larger than is allowed.
    TooLarge {
        /// Its size.
        got: u64,
        /// The limit.
        allowed: u64,
    },
    /// The object's bytes are not what its name says.
    WrongDigest(WrongDigest),
}

impl std::fmt::Display for FetchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "it refused an object: {error}"),
            Self::WrongPiece { digest } => write!(f, "it sent another piece of {} than was asked for", digest.short()),
            Self::OtherSize { digest } => write!(f, "it told two sizes of the object {}", digest.short()),
            Self::TooLarge { got, allowed } => {
                write!(f, "an object has {got} bytes, and at most {allowed} are allowed for it")
            }
            Self::WrongDigest(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FetchError {}

#[derive(Debug)]
pub(super) struct Wanted<P> {
    pub(super) part: P,
    pub(super) bytes_max: u64,
    /// What it probably has: the peer has not said so.
    pub(super) likely_bytes: Option<u64>,
    /// Whether the part's beginning came over another connection: a wrong digest may then be another peer's doing.
    pub(super) is_resumed: bool,
    /// Known from the first piece on.
    pub(super) object_bytes: Option<u64>,
    /// Up to here pieces have been asked for.
    asked_bytes: u64,
    /// Asked for in a piece: what the peer has shown that it gives.
    piece_bytes: u32,
    /// Pieces asked for and not here: where they begin, and their length at most.
    pub(super) in_flight: Vec<(u64, u32)>,
    /// A piece was shorter than asked for, or came out of its turn: what is in flight does not join on, and is asked
    /// for again.
    has_gap: bool,
}

impl<P: Part> Wanted<P> {
    pub(super) fn new(part: P, bytes_max: u64, likely_bytes: Option<u64>) -> Wanted<P> {
        let asked_bytes = part.held_bytes();
        Wanted {
            part,
            bytes_max,
            likely_bytes: likely_bytes.filter(|&bytes| bytes > asked_bytes),
            is_resumed: asked_bytes > 0,
            object_bytes: None,
            asked_bytes,
            piece_bytes: FETCH_BYTES,
            in_flight: Vec::new(),
            has_gap: false,
        }
    }

    /// Takes a piece in, if it is one that was asked for.
    pub(super) fn take(&mut self, of: &Digest, piece: &Piece<'_>) -> Result<(), FetchError> {
        let asked_bytes = self.answered(Some(piece.offset)).map_or(0, |bytes| bytes as usize);
        if piece.digest != *of || piece.bytes.len() > asked_bytes {
            return Err(FetchError::WrongPiece { digest: *of });
        }
        if self.object_bytes.is_some_and(|bytes| bytes != piece.object_bytes) {
            return Err(FetchError::OtherSize { digest: *of });
        }
        if piece.object_bytes > self.bytes_max {
            return Err(FetchError::TooLarge { got: piece.object_bytes, allowed: self.bytes_max });
        }
        self.object_bytes = Some(piece.object_bytes);
        if piece.offset != self.part.held_bytes() {
            self.has_gap = true;
            return Ok(());
        }
        self.part.append(&piece.bytes, piece.object_bytes);
        let is_last = self.part.held_bytes() == piece.object_bytes;
        if piece.bytes.len() < asked_bytes && !is_last {
            // "It may be shorter; then the receiver asks again."
            self.has_gap = true;
            self.piece_bytes = piece.bytes.len() as u32;
        }
        Ok(())
    }

    /// The last byte, where that has not been asked for yet.
    #[cfg(feature = "coordinator")]
    pub(super) fn unasked_end(&self, digest: Digest) -> Option<Fetch> {
        let whole_bytes = self.object_bytes.or(self.likely_bytes)?;
        (self.asked_bytes < whole_bytes).then(|| Fetch { digest, offset: whole_bytes - 1, bytes_max: 1 })
    }

    /// A piece is no longer in flight: the one at this offset, or, where the answer tells none that was asked for, the
    /// first. Says how long it could be.
    pub(super) fn answered(&mut self, offset: Option<u64>) -> Option<u32> {
        let place = self.in_flight.iter().position(|(start, _)| Some(*start) == offset);
        if let Some(place) = place {
            return Some(self.in_flight.remove(place).1);
        }
        if !self.in_flight.is_empty() {
            self.in_flight.remove(0);
        }
        None
    }

    /// What is to be asked for next, if anything is.
    pub(super) fn next_fetch(&mut self, digest: Digest) -> Option<Fetch> {
        if self.has_gap && self.in_flight.is_empty() {
            self.has_gap = false;
            self.asked_bytes = self.part.held_bytes();
        }
        let whole_bytes = self.object_bytes.or(self.likely_bytes);
        let left = whole_bytes.map_or(self.piece_bytes.into(), |bytes| bytes.saturating_sub(self.asked_bytes));
        // While nothing tells the size, one piece is asked for, which does.
        let is_first = whole_bytes.is_none() && !self.in_flight.is_empty();
        if self.has_gap || is_first || left == 0 {
            return None;
        }
        let bytes_max = left.min(self.piece_bytes.into()) as u32;
        Some(Fetch { digest, offset: self.asked_bytes, bytes_max })
    }

    /// Whether there is room for a piece that is to be asked for.
    pub(super) fn makes_room(&mut self, fetch: &Fetch) -> bool {
        let object_bytes = self.object_bytes.or(self.likely_bytes).unwrap_or(self.bytes_max);
        self.part.makes_room(fetch.offset + u64::from(fetch.bytes_max), object_bytes)
    }

    /// The piece has been asked for.
    pub(super) fn asked(&mut self, fetch: Fetch) {
        self.in_flight.push((fetch.offset, fetch.bytes_max));
        self.asked_bytes += u64::from(fetch.bytes_max);
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::store::{Assembly, Store};

    /// An object of `bytes` bytes on its way, nothing of it asked for yet.
    fn wanted(bytes: usize, likely_bytes: Option<usize>) -> (Digest, Vec<u8>, Wanted<Assembly>) {
        let object: Vec<u8> = (0..bytes).map(|index| (index % 251) as u8).collect();
        let digest = Digest::of(&object);
        let likely_bytes = likely_bytes.map(|bytes| bytes as u64);
        (digest, object, Wanted::new(Store::new(0).resume(&digest), bytes as u64, likely_bytes))
    }

    fn piece(digest: Digest, object: &[u8], start: usize, bytes: usize) -> Piece<'_> {
        let end = object.len().min(start + bytes);
        let bytes = Cow::Borrowed(&object[start..end]);
        Piece { digest, object_bytes: object.len() as u64, offset: start as u64, bytes }
    }

    /// Asks for all that may be asked for now.
    fn ask(wanted: &mut Wanted<Assembly>, digest: Digest) -> Vec<(usize, usize)> {
        let mut asked = Vec::new();
        while let Some(fetch) = wanted.next_fetch(digest) {
            wanted.asked(fetch);
            asked.push((fetch.offset as usize, fetch.bytes_max as usize));
        }
        asked
    }

    const PIECE: usize = FETCH_BYTES as usize;

    #[test]
    fn one_piece_is_asked_for_until_the_size_is_known_and_then_the_rest() {
        let (digest, object, mut wanted) = wanted(2 * PIECE + 5, None);
        assert_eq!(ask(&mut wanted, digest), [(0, PIECE)]);
        wanted.take(&digest, &piece(digest, &object, 0, PIECE)).unwrap();
        assert_eq!(ask(&mut wanted, digest), [(PIECE, PIECE), (2 * PIECE, 5)]);
        wanted.take(&digest, &piece(digest, &object, PIECE, PIECE)).unwrap();
        wanted.take(&digest, &piece(digest, &object, 2 * PIECE, PIECE)).unwrap();
        assert_eq!(wanted.part.finish(), Ok(object));
    }

    #[test]
    fn all_is_asked_for_at_once_where_the_size_is_likely_and_it_may_be_another() {
        for (likely, first_asked) in [(2 * PIECE + 5, 3), (PIECE, 1), (4 * PIECE, 4)] {
            let (digest, object, mut wanted) = wanted(2 * PIECE + 5, Some(likely));
            let mut asked = ask(&mut wanted, digest);
            assert_eq!(asked.len(), first_asked);
            while wanted.part.held_bytes() < object.len() as u64 {
                let (start, bytes) = asked.remove(0);
                wanted.take(&digest, &piece(digest, &object, start, bytes)).unwrap();
                asked.extend(ask(&mut wanted, digest));
            }
            assert_eq!(wanted.part.finish(), Ok(object));
        }
    }

    #[test]
    fn shorter_pieces_than_asked_for_and_pieces_out_of_turn_are_asked_for_again() {
        let (digest, object, mut wanted) = wanted(3 * PIECE, None);
        let mut answered = 0;
        while wanted.part.held_bytes() < object.len() as u64 {
            let mut asked = ask(&mut wanted, digest);
            assert!(!asked.is_empty(), "it goes on");
            // The last first, and none longer than a third of what was asked for at the start.
            asked.reverse();
            for (start, bytes) in asked {
                wanted.take(&digest, &piece(digest, &object, start, bytes.min(PIECE / 3))).unwrap();
                answered += 1;
            }
        }
        assert_eq!(wanted.part.finish(), Ok(object));
        assert!(answered < 100, "{answered} pieces");
    }

    #[test]
    fn a_piece_that_nobody_asked_for_is_refused() {
        let (digest, object, first) = wanted(2 * PIECE, None);
        let begun = || {
            let mut wanted = Wanted::new(first.part.clone(), first.bytes_max, None);
            assert_eq!(ask(&mut wanted, digest).len(), 1);
            wanted
        };
        let wrong = Err(FetchError::WrongPiece { digest });
        assert_eq!(begun().take(&digest, &piece(Digest([1; 32]), &object, 0, 10)), wrong, "another object");
        assert_eq!(begun().take(&digest, &piece(digest, &object, 10, 10)), wrong, "another offset");
        assert_eq!(begun().take(&digest, &piece(digest, &object, 0, PIECE + 1)), wrong, "more than asked for");
        let mut twice = begun();
        twice.take(&digest, &piece(digest, &object, 0, 10)).unwrap();
        assert_eq!(twice.take(&digest, &piece(digest, &object, 0, 10)), wrong, "twice");
        let mut other_size = begun();
        other_size.take(&digest, &piece(digest, &object, 0, PIECE)).unwrap();
        assert_eq!(ask(&mut other_size, digest), [(PIECE, PIECE)]);
        let longer = [&object[..], b"more"].concat();
        let refused = other_size.take(&digest, &piece(digest, &longer, PIECE, PIECE));
        assert_eq!(refused, Err(FetchError::OtherSize { digest }));
        let too_large = Piece { object_bytes: 1 << 40, ..piece(digest, &object, 0, 10) };
        let refused = begun().take(&digest, &too_large);
        assert_eq!(refused, Err(FetchError::TooLarge { got: 1 << 40, allowed: 2 * PIECE as u64 }));
    }
}

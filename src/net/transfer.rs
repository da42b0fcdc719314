//! Objects over a link: answering a peer's FETCH and HAVE from a store, and fetching what we want from the peer. Owns
//! which pieces are on their way; does not know what objects hold.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::deadline;
use super::link::{Link, SharedPiece, Unsent};
use crate::digest::Digest;
use crate::store::{Assembly, Store, WrongDigest};
use crate::wire::message::{Error, Fetch, Have, Held, PIECE_BYTES_MAX, Piece};
use crate::wire::{ErrorCode, MessageType, SharedBytes, limits};

/// Bytes asked for at a time. Small enough that a frame of it passes well within the heartbeat's three seconds on a
/// line of a megabit.
const FETCH_BYTES: u32 = 256 << 10;
/// Pieces asked for and not yet here, over all objects of a link.
const PIECES_IN_FLIGHT_MAX: usize = 8;

const _: () = assert!((FETCH_BYTES as usize) < PIECE_BYTES_MAX);

/// Answers a FETCH from the store.
pub fn answer_fetch<C: Clone + Send + 'static>(
    link: &Link<C>,
    request: u32,
    fetch: Fetch,
    store: &Store,
) -> Result<(), Unsent> {
    let error = |code, text: String| Error::new(code, MessageType::Fetch as u8, text);
    let Some(bytes) = store.get(&fetch.digest) else {
        let text = format!("no object {} is held here", fetch.digest.short());
        return link.answer(request, &error(ErrorCode::UnknownObject, text).into());
    };
    let object_bytes = bytes.len() as u64;
    if fetch.offset >= object_bytes {
        let text = format!("the object has {object_bytes} bytes, and none at {}", fetch.offset);
        let error = error(ErrorCode::ObjectRange, text).with_numbers(fetch.offset, object_bytes);
        return link.answer(request, &error.into());
    }
    let start = fetch.offset as usize;
    let end = bytes.len().min(start + (fetch.bytes_max as usize).min(link.peer().piece_bytes_max()));
    let Some(piece) = SharedBytes::new(bytes, start..end) else { return Ok(()) };
    link.answer_data(request, &SharedPiece { digest: &fetch.digest, object_bytes, offset: fetch.offset, bytes: piece })
}

/// Answers a HAVE from the store.
pub fn answer_have<C: Clone + Send + 'static>(
    link: &Link<C>,
    request: u32,
    have: &Have,
    store: &Store,
) -> Result<(), Unsent> {
    let bytes = have.digests.iter().map(|digest| store.held_bytes(digest)).collect();
    link.answer(request, &Held { bytes }.into())
}

/// What is remembered of a FETCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetching(pub Digest);

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
            Self::TooLarge { got, allowed } => {
                write!(f, "an object of {got} bytes is too large here: at most {allowed} are allowed")
            }
            Self::WrongDigest(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FetchError {}

/// What a piece has led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched {
    /// More is on its way.
    Partly,
    /// The object is whole, and its digest is right.
    Whole(Digest, Arc<Vec<u8>>),
}

/// Objects on their way from one peer. What is cut off with the link goes back to the store, to be resumed.
#[derive(Debug)]
pub struct Fetcher {
    store: Arc<Store>,
    wanted: HashMap<Digest, Wanted>,
    /// Objects with pieces still to be asked for, in turn.
    turns: VecDeque<Digest>,
    /// Objects that have been given up, once for each answer that will still come.
    unwanted: Vec<Digest>,
    /// Pieces asked for and not here, the unwanted too.
    in_flight: usize,
    /// When a piece last came, or was asked for while none was on its way.
    /// When the peer's time is up, unless more comes.
    due: Duration,
}

#[derive(Debug)]
struct Wanted {
    part: Assembly,
    bytes_max: u64,
    /// Whether the part's beginning came over another connection: a wrong digest may then be another peer's doing.
    is_resumed: bool,
    /// Known from the first piece on.
    object_bytes: Option<u64>,
    /// Up to here pieces have been asked for.
    asked_bytes: u64,
    /// Asked for in a piece: what the peer has shown that it gives.
    piece_bytes: u32,
    /// Pieces asked for and not here: where they begin, and their length at most.
    in_flight: Vec<(u64, u32)>,
    /// A piece was shorter than asked for, or came out of its turn: what is in flight does not join on, and is asked
    /// for again.
    has_gap: bool,
}

impl Wanted {
    fn new(part: Assembly, bytes_max: u64) -> Wanted {
        let asked_bytes = part.held_bytes();
        Wanted {
            part,
            bytes_max,
            is_resumed: asked_bytes > 0,
            object_bytes: None,
            asked_bytes,
            piece_bytes: FETCH_BYTES,
            in_flight: Vec::new(),
            has_gap: false,
        }
    }

    /// Takes a piece in, if it is one that was asked for.
    fn take(&mut self, of: &Digest, piece: &Piece<'_>) -> Result<(), FetchError> {
        let asked_bytes = self.answered(Some(piece.offset)).map_or(0, |bytes| bytes as usize);
        let same_size = self.object_bytes.is_none_or(|bytes| bytes == piece.object_bytes);
        if piece.digest != *of || !same_size || piece.bytes.len() > asked_bytes {
            return Err(FetchError::WrongPiece { digest: *of });
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

    /// A piece is no longer in flight: the one at this offset, or, where the answer tells none that was asked for, the
    /// first. Says how long it could be.
    fn answered(&mut self, offset: Option<u64>) -> Option<u32> {
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
    fn next_fetch(&mut self, digest: Digest) -> Option<Fetch> {
        if self.has_gap && self.in_flight.is_empty() {
            self.has_gap = false;
            self.asked_bytes = self.part.held_bytes();
        }
        let left = self.object_bytes.map_or(self.piece_bytes.into(), |bytes| bytes.saturating_sub(self.asked_bytes));
        // Until the first piece has told the size, one piece is asked for.
        let is_first = self.object_bytes.is_none() && !self.in_flight.is_empty();
        if self.has_gap || is_first || left == 0 {
            return None;
        }
        let bytes_max = left.min(self.piece_bytes.into()) as u32;
        Some(Fetch { digest, offset: self.asked_bytes, bytes_max })
    }

    /// The piece has been asked for.
    fn asked(&mut self, fetch: Fetch) {
        self.in_flight.push((fetch.offset, fetch.bytes_max));
        self.asked_bytes += u64::from(fetch.bytes_max);
    }
}

/// How long bytes keep a peer from being called stalled. Were it as long for one byte as for many, a byte now and then would
/// hold a place for ever.
fn worth(bytes: usize) -> Duration {
    Duration::from_secs_f64(bytes as f64 / limits::FETCH_BYTES_A_SECOND as f64)
}

impl Fetcher {
    /// Nothing on its way; what is cut off is kept in `store`.
    pub fn new(store: Arc<Store>) -> Fetcher {
        Fetcher {
            store,
            wanted: HashMap::new(),
            turns: VecDeque::new(),
            unwanted: Vec::new(),
            in_flight: 0,
            due: Duration::ZERO,
        }
    }

    /// Asks the peer for an object of up to `bytes_max` bytes. One already on its way is asked for once.
    pub fn want<C>(&mut self, link: &Link<C>, digest: Digest, bytes_max: u64) -> Result<(), Unsent>
    where
        C: Clone + Send + From<Fetching> + 'static,
    {
        if self.in_flight == 0 {
            self.due = deadline::now() + limits::FETCH_STALL;
        }
        if !self.wanted.contains_key(&digest) {
            let part = self.store.resume(&digest);
            self.wanted.insert(digest, Wanted::new(part, bytes_max));
            self.turns.push_back(digest);
        }
        self.ask(link)
    }

    /// A piece has come.
    pub fn piece<C>(&mut self, link: &Link<C>, of: Digest, piece: &Piece<'_>) -> Result<Fetched, FetchError>
    where
        C: Clone + Send + From<Fetching> + 'static,
    {
        let fetched =
            if self.heard(&of, worth(piece.bytes.len())) { self.take(of, piece) } else { Ok(Fetched::Partly) };
        let _ = self.ask(link);
        fetched
    }

    /// The peer has refused a piece.
    pub fn refused<C>(&mut self, link: &Link<C>, of: Digest, error: Error) -> Result<Fetched, FetchError>
    where
        C: Clone + Send + From<Fetching> + 'static,
    {
        let fetched =
            if self.heard(&of, limits::FETCH_STALL) { self.take_refusal(of, error) } else { Ok(Fetched::Partly) };
        let _ = self.ask(link);
        fetched
    }

    /// Whether the peer has left what was asked for unanswered for too long.
    pub fn is_stalled(&self) -> bool {
        self.in_flight > 0 && deadline::now() >= self.due
    }

    /// Keeps what has come of objects that the link's end has cut off.
    pub fn suspend(&mut self) {
        for (_, wanted) in self.wanted.drain() {
            self.store.suspend(wanted.part);
        }
        self.turns.clear();
    }

    /// Notes that an answer has come, worth so much time. Says whether the object is still wanted.
    fn heard(&mut self, of: &Digest, worth: Duration) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.due = (self.due + worth).min(deadline::now() + limits::FETCH_STALL);
        match self.unwanted.iter().position(|digest| digest == of) {
            Some(place) => {
                self.unwanted.swap_remove(place);
                false
            }
            None => self.wanted.contains_key(of),
        }
    }

    fn take(&mut self, of: Digest, piece: &Piece<'_>) -> Result<Fetched, FetchError> {
        let Some(wanted) = self.wanted.get_mut(&of) else { return Ok(Fetched::Partly) };
        let is_first = wanted.object_bytes.is_none();
        if let Err(error) = wanted.take(&of, piece) {
            self.give_up(&of);
            return Err(error);
        }
        if wanted.object_bytes != Some(wanted.part.held_bytes()) {
            // It has lost its turn where there was nothing to ask for.
            if is_first || wanted.in_flight.is_empty() {
                self.turns.push_back(of);
            }
            return Ok(Fetched::Partly);
        }
        let Some(wanted) = self.give_up(&of) else { return Ok(Fetched::Partly) };
        let anew = wanted.part.begin_again();
        match wanted.part.finish() {
            Ok(bytes) => Ok(Fetched::Whole(of, Arc::new(bytes))),
            Err(_) if wanted.is_resumed => {
                self.begin_again(of, anew, wanted.bytes_max);
                Ok(Fetched::Partly)
            }
            Err(error) => Err(FetchError::WrongDigest(error)),
        }
    }

    fn take_refusal(&mut self, of: Digest, error: Error) -> Result<Fetched, FetchError> {
        if let Some(wanted) = self.wanted.get_mut(&of) {
            wanted.answered(None);
        }
        match self.give_up(&of) {
            // More was held of it than there is: another peer had told another size.
            Some(wanted) if wanted.is_resumed && error.code == ErrorCode::ObjectRange => {
                self.begin_again(of, wanted.part.begin_again(), wanted.bytes_max);
                Ok(Fetched::Partly)
            }
            _ => Err(FetchError::Refused(error)),
        }
    }

    /// Asks for the whole object: what another connection had left of it was of no use.
    fn begin_again(&mut self, of: Digest, part: Assembly, bytes_max: u64) {
        self.wanted.insert(of, Wanted::new(part, bytes_max));
        self.turns.push_back(of);
    }

    /// No longer wants an object. What is in flight of it will come all the same.
    fn give_up(&mut self, of: &Digest) -> Option<Wanted> {
        let wanted = self.wanted.remove(of)?;
        self.unwanted.extend(wanted.in_flight.iter().map(|_| *of));
        Some(wanted)
    }

    fn ask<C>(&mut self, link: &Link<C>) -> Result<(), Unsent>
    where
        C: Clone + Send + From<Fetching> + 'static,
    {
        while self.in_flight < PIECES_IN_FLIGHT_MAX {
            let Some(digest) = self.turns.pop_front() else { return Ok(()) };
            let Some(wanted) = self.wanted.get_mut(&digest) else { continue };
            let Some(fetch) = wanted.next_fetch(digest) else { continue };
            link.request(&fetch.into(), Fetching(digest).into())?;
            wanted.asked(fetch);
            self.in_flight += 1;
            self.turns.push_back(digest);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    /// An object of `bytes` bytes on its way, nothing of it asked for yet.
    fn wanted(bytes: usize) -> (Digest, Vec<u8>, Wanted) {
        let object: Vec<u8> = (0..bytes).map(|index| (index % 251) as u8).collect();
        let digest = Digest::of(&object);
        (digest, object, Wanted::new(Store::new(0).resume(&digest), bytes as u64))
    }

    fn piece(digest: Digest, object: &[u8], start: usize, bytes: usize) -> Piece<'_> {
        let end = object.len().min(start + bytes);
        let bytes = Cow::Borrowed(&object[start..end]);
        Piece { digest, object_bytes: object.len() as u64, offset: start as u64, bytes }
    }

    /// Asks for all that may be asked for now.
    fn ask(wanted: &mut Wanted, digest: Digest) -> Vec<(usize, usize)> {
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
        let (digest, object, mut wanted) = wanted(2 * PIECE + 5);
        assert_eq!(ask(&mut wanted, digest), [(0, PIECE)]);
        wanted.take(&digest, &piece(digest, &object, 0, PIECE)).unwrap();
        assert_eq!(ask(&mut wanted, digest), [(PIECE, PIECE), (2 * PIECE, 5)]);
        wanted.take(&digest, &piece(digest, &object, PIECE, PIECE)).unwrap();
        wanted.take(&digest, &piece(digest, &object, 2 * PIECE, PIECE)).unwrap();
        assert_eq!(wanted.part.finish(), Ok(object));
    }

    #[test]
    fn shorter_pieces_than_asked_for_and_pieces_out_of_turn_are_asked_for_again() {
        let (digest, object, mut wanted) = wanted(3 * PIECE);
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
        let (digest, object, first) = wanted(2 * PIECE);
        let begun = || {
            let mut wanted = Wanted::new(first.part.clone(), first.bytes_max);
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
        assert_eq!(other_size.take(&digest, &piece(digest, &longer, PIECE, PIECE)), wrong, "another size");
        let too_large = Piece { object_bytes: 1 << 40, ..piece(digest, &object, 0, 10) };
        let refused = begun().take(&digest, &too_large);
        assert_eq!(refused, Err(FetchError::TooLarge { got: 1 << 40, allowed: 2 * PIECE as u64 }));
    }
}

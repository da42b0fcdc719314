//! Objects over a link: answering a peer's FETCH and HAVE from a store, and fetching what we want from the peer. Owns
//! which pieces are on their way; does not know what objects hold.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::link::{Link, SharedPiece, Unsent};
use crate::digest::Digest;
use crate::store::{Assembly, Store, WrongDigest};
use crate::wire::message::{Error, Fetch, Have, Held, PIECE_BYTES_MAX, Piece};
use crate::wire::{ErrorCode, MessageType, SharedBytes};

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
    in_flight: usize,
}

#[derive(Debug)]
struct Wanted {
    part: Assembly,
    bytes_max: u64,
    /// Known from the first piece on.
    object_bytes: Option<u64>,
    /// Up to here pieces have been asked for.
    asked_bytes: u64,
    /// Pieces asked for and not here.
    in_flight: usize,
}

impl Fetcher {
    /// Nothing on its way; what is cut off is kept in `store`.
    pub fn new(store: Arc<Store>) -> Fetcher {
        Fetcher { store, wanted: HashMap::new(), turns: VecDeque::new(), in_flight: 0 }
    }

    /// Asks the peer for an object of up to `bytes_max` bytes. One already on its way is asked for once.
    pub fn want<C>(&mut self, link: &Link<C>, digest: Digest, bytes_max: u64) -> Result<(), Unsent>
    where
        C: Clone + Send + From<Fetching> + 'static,
    {
        if !self.wanted.contains_key(&digest) {
            let part = self.store.resume(&digest);
            let asked_bytes = part.held_bytes();
            let wanted = Wanted { part, bytes_max, object_bytes: None, asked_bytes, in_flight: 0 };
            self.wanted.insert(digest, wanted);
            self.turns.push_back(digest);
        }
        self.ask(link)
    }

    /// A piece has come.
    pub fn piece<C>(&mut self, link: &Link<C>, of: Digest, piece: &Piece<'_>) -> Result<Fetched, FetchError>
    where
        C: Clone + Send + From<Fetching> + 'static,
    {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(wanted) = self.wanted.get_mut(&of) else {
            // Given up meanwhile: the pieces asked for before still come.
            let _ = self.ask(link);
            return Ok(Fetched::Partly);
        };
        wanted.in_flight -= 1;
        let same_size = wanted.object_bytes.is_none_or(|bytes| bytes == piece.object_bytes);
        if piece.digest != of || piece.offset != wanted.part.held_bytes() || !same_size {
            self.give_up(&of);
            return Err(FetchError::WrongPiece { digest: of });
        }
        if piece.object_bytes > wanted.bytes_max {
            let allowed = wanted.bytes_max;
            self.give_up(&of);
            return Err(FetchError::TooLarge { got: piece.object_bytes, allowed });
        }
        if wanted.object_bytes.is_none() {
            wanted.object_bytes = Some(piece.object_bytes);
            self.turns.push_back(of);
        }
        wanted.part.append(&piece.bytes);
        let short = wanted.in_flight == 0 && wanted.asked_bytes != wanted.part.held_bytes();
        if short {
            // The peer may send less than was asked for; what is missing is asked for again.
            wanted.asked_bytes = wanted.part.held_bytes();
            self.turns.push_back(of);
        }
        let whole = wanted.part.held_bytes() == piece.object_bytes;
        let finished = if whole { self.wanted.remove(&of) } else { None };
        let _ = self.ask(link);
        match finished {
            None => Ok(Fetched::Partly),
            Some(wanted) => {
                let bytes = wanted.part.finish().map_err(FetchError::WrongDigest)?;
                Ok(Fetched::Whole(of, Arc::new(bytes)))
            }
        }
    }

    /// The peer has refused a piece.
    pub fn refused<C>(&mut self, link: &Link<C>, of: Digest, error: Error) -> FetchError
    where
        C: Clone + Send + From<Fetching> + 'static,
    {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.give_up(&of);
        let _ = self.ask(link);
        FetchError::Refused(error)
    }

    /// No longer wants an object.
    pub fn give_up(&mut self, digest: &Digest) {
        self.wanted.remove(digest);
    }

    /// Keeps what has come of objects that the link's end has cut off.
    pub fn suspend(&mut self) {
        for (_, wanted) in self.wanted.drain() {
            self.store.suspend(wanted.part);
        }
        self.turns.clear();
    }

    fn ask<C>(&mut self, link: &Link<C>) -> Result<(), Unsent>
    where
        C: Clone + Send + From<Fetching> + 'static,
    {
        while self.in_flight < PIECES_IN_FLIGHT_MAX {
            let Some(digest) = self.turns.pop_front() else { return Ok(()) };
            let Some(wanted) = self.wanted.get_mut(&digest) else { continue };
            let left = wanted.object_bytes.map(|bytes| bytes.saturating_sub(wanted.asked_bytes));
            if left == Some(0) {
                continue;
            }
            let bytes = left.map_or(FETCH_BYTES, |left| left.min(FETCH_BYTES.into()) as u32);
            let fetch = Fetch { digest, offset: wanted.asked_bytes, bytes_max: bytes };
            link.request(&fetch.into(), Fetching(digest).into())?;
            self.in_flight += 1;
            wanted.in_flight += 1;
            wanted.asked_bytes += u64::from(bytes);
            // Until the first piece has told the size, one piece is asked for; then turns are taken.
            if wanted.object_bytes.is_some() {
                self.turns.push_back(digest);
            }
        }
        Ok(())
    }
}

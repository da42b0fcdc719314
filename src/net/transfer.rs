//! Objects over a link: answering a peer's FETCH and HAVE from a store, and fetching what we want from the peer. Owns
//! which objects are on their way, and how much of them at a time; does not know what objects hold.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::deadline;
use super::link::{Link, SharedPiece, Unsent};
use super::wanted::{FetchError, Wanted};
use crate::digest::Digest;
use crate::store::{Part, Store, Workbench};
use crate::wire::message::{Error, Fetch, Have, Held, Piece};
use crate::wire::{ErrorCode, Message, MessageType, SharedBytes, limits};

/// Pieces asked for and not yet here, over all objects of a link.
const PIECES_IN_FLIGHT_MAX: usize = 8;

/// Answers a FETCH from the store.
pub fn answer_fetch<C: Clone + Send + 'static>(
    link: &Link<C>,
    request: u32,
    fetch: Fetch,
    store: &Store,
) -> Result<(), Unsent> {
    let Some(bytes) = store.get(&fetch.digest) else { return link.answer(request, &not_held(&fetch).into()) };
    let object_bytes = bytes.len() as u64;
    let piece = match range_of(&fetch, bytes.len(), link.peer().piece_bytes_max()) {
        Ok(range) => SharedBytes::new(bytes, range),
        Err(error) => return link.answer(request, &error.into()),
    };
    let Some(bytes) = piece else { return Ok(()) };
    link.answer_data(request, &SharedPiece { digest: &fetch.digest, object_bytes, offset: fetch.offset, bytes })
}

/// Answers a FETCH of this object, if there is one, with a copy of the piece: it counts as what waits for the peer to read it, and the
/// object does not stay in memory for it.
pub fn answer_fetch_with_copy<C: Clone + Send + 'static>(
    link: &Link<C>,
    request: u32,
    fetch: &Fetch,
    object: Option<&[u8]>,
) -> Result<(), Unsent> {
    link.answer(request, &copied_piece(fetch, object, link.peer().piece_bytes_max()))
}

fn copied_piece<'a>(fetch: &Fetch, object: Option<&'a [u8]>, piece_bytes_max: usize) -> Message<'a> {
    let Some(object) = object else { return not_held(fetch).into() };
    let Fetch { digest, offset, .. } = *fetch;
    match range_of(fetch, object.len(), piece_bytes_max) {
        Ok(range) => {
            let bytes = Cow::Borrowed(&object[range]);
            Message::Data(Piece { digest, object_bytes: object.len() as u64, offset, bytes })
        }
        Err(error) => error.into(),
    }
}

fn not_held(fetch: &Fetch) -> Error {
    let text = format!("no object {} is held here", fetch.digest.short());
    Error::new(ErrorCode::UnknownObject, MessageType::Fetch as u8, text)
}

/// Where the piece that a FETCH is answered with lies in an object of so many bytes.
fn range_of(fetch: &Fetch, object_bytes: usize, piece_bytes_max: usize) -> Result<Range<usize>, Error> {
    if fetch.offset >= object_bytes as u64 {
        let text = format!("the object has {object_bytes} bytes, and none at {}", fetch.offset);
        let error = Error::new(ErrorCode::ObjectRange, MessageType::Fetch as u8, text);
        return Err(error.with_numbers(fetch.offset, object_bytes as u64));
    }
    let start = fetch.offset as usize;
    Ok(start..object_bytes.min(start + (fetch.bytes_max as usize).min(piece_bytes_max)))
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

/// What a piece has led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched<T = Arc<Vec<u8>>> {
    /// More is on its way.
    Partly,
    /// The object is whole, and its digest is right.
    Whole(Digest, T),
}

/// Objects on their way from one peer. What is cut off with the link goes back to the workbench, to be resumed.
#[derive(Debug)]
pub struct Fetcher<W: Workbench = Store> {
    workbench: Arc<W>,
    wanted: HashMap<Digest, Wanted<W::Part>>,
    /// Objects with pieces still to be asked for, in turn.
    turns: VecDeque<Digest>,
    /// Objects that have been given up, once for each answer that will still come.
    unwanted: Vec<Digest>,
    /// What is still to be asked for of objects that have been given up: see [`Fetcher::release`].
    releases: VecDeque<Fetch>,
    /// Pieces asked for and not here, the unwanted too.
    in_flight: usize,
    /// When the peer's time is up, unless more comes.
    due: Duration,
    /// Since when nothing is asked for because there is no room.
    held_up: Option<Duration>,
}

/// What an answer of the peer's has led to.
type Led<W> = Result<Fetched<<<W as Workbench>::Part as Part>::Whole>, FetchError>;

/// How long bytes keep a peer from being called stalled. Were it as long for one byte as for many, a byte now and then would
/// hold a place for ever.
fn worth(bytes: usize) -> Duration {
    Duration::from_secs_f64(bytes as f64 / limits::FETCH_BYTES_A_SECOND as f64)
}

impl<W: Workbench> Fetcher<W> {
    /// Nothing on its way; objects come together on this workbench.
    pub fn new(workbench: Arc<W>) -> Fetcher<W> {
        Fetcher {
            workbench,
            wanted: HashMap::new(),
            turns: VecDeque::new(),
            unwanted: Vec::new(),
            releases: VecDeque::new(),
            in_flight: 0,
            due: Duration::ZERO,
            held_up: None,
        }
    }

    /// Asks the peer for an object of up to `bytes_max` bytes. One already on its way is asked for once. Where it is likely
    /// how many they are, they are asked for without waiting for the first of them.
    pub fn want<C>(
        &mut self,
        link: &Link<C>,
        digest: Digest,
        bytes_max: u64,
        likely_bytes: Option<u64>,
    ) -> Result<(), Unsent>
    where
        C: Clone + Send + From<Fetching> + 'static,
    {
        self.begin_to_wait();
        if !self.wanted.contains_key(&digest) {
            let part = self.workbench.resume(&digest);
            self.wanted.insert(digest, Wanted::new(part, bytes_max, likely_bytes));
            self.turns.push_back(digest);
        }
        self.ask(link)
    }

    /// Asks for what there may be room for by now.
    pub fn go_on<C>(&mut self, link: &Link<C>) -> Result<(), Unsent>
    where
        C: Clone + Send + From<Fetching> + 'static,
    {
        self.ask(link)
    }

    /// A piece has come.
    pub fn piece<C>(&mut self, link: &Link<C>, of: Digest, piece: &Piece<'_>) -> Led<W>
    where
        C: Clone + Send + From<Fetching> + 'static,
    {
        let fetched =
            if self.heard(&of, worth(piece.bytes.len())) { self.take(of, piece) } else { Ok(Fetched::Partly) };
        let _ = self.ask(link);
        fetched
    }

    /// The peer has refused a piece.
    pub fn refused<C>(&mut self, link: &Link<C>, of: Digest, error: Error) -> Led<W>
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

    /// Whether nothing is asked for because there is no room for it.
    pub fn is_held_up(&self) -> bool {
        self.held_up.is_some() && !self.wanted.is_empty()
    }

    /// An object is not wanted any more. What has come of it is kept as if the link had ended.
    pub fn let_go(&mut self, of: &Digest) {
        if let Some(wanted) = self.give_up(of) {
            self.workbench.suspend(wanted.part);
        }
    }

    /// The same of an object that the peer keeps until it has been asked for to its end: its last byte is asked for, if it has not
    /// been, and is of no use.
    #[cfg(feature = "coordinator")]
    pub fn release<C>(&mut self, link: &Link<C>, of: &Digest)
    where
        C: Clone + Send + From<Fetching> + 'static,
    {
        if let Some(wanted) = self.give_up(of) {
            self.releases.extend(wanted.unasked_end(*of));
            self.workbench.suspend(wanted.part);
        }
        let _ = self.ask(link);
    }

    /// Asks for the last byte of an object that is here, or was let go, once more: the peer keeps it until it has been asked for to
    /// its end as often as it has announced it.
    #[cfg(feature = "coordinator")]
    pub fn release_again<C>(&mut self, link: &Link<C>, digest: Digest, object_bytes: u64)
    where
        C: Clone + Send + From<Fetching> + 'static,
    {
        self.releases.push_back(Fetch { digest, offset: object_bytes.saturating_sub(1), bytes_max: 1 });
        let _ = self.ask(link);
    }

    /// Keeps what has come of objects that the link's end has cut off.
    pub fn suspend(&mut self) {
        for (_, wanted) in self.wanted.drain() {
            self.workbench.suspend(wanted.part);
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

    fn take(&mut self, of: Digest, piece: &Piece<'_>) -> Led<W> {
        let Some(wanted) = self.wanted.get_mut(&of) else { return Ok(Fetched::Partly) };
        let is_first = wanted.object_bytes.is_none();
        if let Err(error) = wanted.take(&of, piece) {
            self.give_up(&of);
            return Err(error);
        }
        if wanted.object_bytes != Some(wanted.part.held_bytes()) {
            // It has lost its turn where there was nothing to ask for.
            if (is_first || wanted.in_flight.is_empty()) && !self.turns.contains(&of) {
                self.turns.push_back(of);
            }
            return Ok(Fetched::Partly);
        }
        let Some(wanted) = self.give_up(&of) else { return Ok(Fetched::Partly) };
        let anew = wanted.part.begin_again();
        match wanted.part.finish() {
            Ok(whole) => Ok(Fetched::Whole(of, whole)),
            Err(_) if wanted.is_resumed => {
                self.begin_again(of, anew, wanted.bytes_max);
                Ok(Fetched::Partly)
            }
            Err(error) => Err(FetchError::WrongDigest(error)),
        }
    }

    fn take_refusal(&mut self, of: Digest, error: Error) -> Led<W> {
        if let Some(wanted) = self.wanted.get_mut(&of) {
            wanted.answered(None);
        }
        match self.give_up(&of) {
            // More was held of it than there is: another peer had told another size.
            Some(wanted) if wanted.is_resumed && error.code == ErrorCode::ObjectRange => {
                self.begin_again(of, wanted.part.begin_again(), wanted.bytes_max);
                Ok(Fetched::Partly)
            }
            // Where we had asked for more than there is, it tells the size that it told before.
            Some(wanted)
                if error.code == ErrorCode::ObjectRange
                    && wanted.object_bytes.is_some_and(|bytes| bytes != error.allowed) =>
            {
                Err(FetchError::OtherSize { digest: of })
            }
            _ => Err(FetchError::Refused(error)),
        }
    }

    /// Asks for the whole object: what another connection had left of it was of no use.
    fn begin_again(&mut self, of: Digest, part: W::Part, bytes_max: u64) {
        self.wanted.insert(of, Wanted::new(part, bytes_max, None));
        self.turns.push_back(of);
    }

    /// No longer wants an object. What is in flight of it will come all the same.
    fn give_up(&mut self, of: &Digest) -> Option<Wanted<W::Part>> {
        let wanted = self.wanted.remove(of)?;
        self.unwanted.extend(wanted.in_flight.iter().map(|_| *of));
        self.turns.retain(|digest| digest != of);
        if self.wanted.is_empty() {
            self.held_up = None;
        }
        Some(wanted)
    }

    /// The peer has nothing to answer yet: its time begins with what is asked for next.
    fn begin_to_wait(&mut self) {
        if self.in_flight == 0 {
            let now = deadline::now();
            self.due = now + limits::FETCH_STALL;
            self.held_up = self.held_up.map(|_| now);
        }
    }

    fn ask<C>(&mut self, link: &Link<C>) -> Result<(), Unsent>
    where
        C: Clone + Send + From<Fetching> + 'static,
    {
        while self.in_flight < PIECES_IN_FLIGHT_MAX
            && let Some(fetch) = self.releases.pop_front()
        {
            self.begin_to_wait();
            let digest = fetch.digest;
            if let Err(unsent) = link.request(&fetch.into(), Fetching(digest).into()) {
                self.releases.push_front(fetch);
                return Err(unsent);
            }
            self.unwanted.push(digest);
            self.in_flight += 1;
        }
        // Every object is tried: there may be room for another one's next piece.
        let mut without_room = 0;
        while self.in_flight < PIECES_IN_FLIGHT_MAX && without_room < self.turns.len() {
            let Some(digest) = self.turns.pop_front() else { return Ok(()) };
            let Some(wanted) = self.wanted.get_mut(&digest) else { continue };
            let Some(fetch) = wanted.next_fetch(digest) else { continue };
            if !wanted.makes_room(&fetch) {
                self.turns.push_back(digest);
                without_room += 1;
                continue;
            }
            if let Err(unsent) = link.request(&fetch.into(), Fetching(digest).into()) {
                // Asked for again as soon as anything comes, or somebody looks.
                self.turns.push_front(digest);
                return Err(unsent);
            }
            wanted.asked(fetch);
            self.in_flight += 1;
            self.turns.push_back(digest);
            without_room = 0;
            if let Some(since) = self.held_up.take() {
                // It was not the peer's time.
                self.due += deadline::now().saturating_sub(since);
            }
        }
        if without_room > 0 && self.in_flight == 0 {
            self.held_up.get_or_insert_with(deadline::now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_piece_is_the_frame_that_a_shared_one_is_and_keeps_nothing_of_its_object() {
        let object: Arc<Vec<u8>> = Arc::new((0..100).collect());
        let digest = Digest::of(&object);
        let copied = |offset, bytes_max, object| copied_piece(&Fetch { digest, offset, bytes_max }, object, 50);
        for (offset, bytes_max, range) in [(0, 30, 0..30), (90, 30, 90..100), (10, 1_000, 10..60)] {
            let copied = copied(offset, bytes_max, Some(&object[..])).draft(3, false).seal();
            let shared = SharedBytes::new(object.clone(), range).unwrap();
            let shared = Piece::draft_shared(MessageType::Data, 3, &digest, 100, offset, shared).seal();
            assert!(copied.tail.is_none() && copied.to_bytes() == shared.to_bytes());
        }
        let code = |answer| if let Message::Error(Error { code, .. }) = answer { Some(code) } else { None };
        assert_eq!(code(copied(100, 1, Some(&object[..]))), Some(ErrorCode::ObjectRange));
        assert_eq!(code(copied(0, 1, None)), Some(ErrorCode::UnknownObject));
    }
}

//! Results whose updates are on their way over one link. Owns what waits for which update, and that nothing is asked for that
//! nobody waits for; does not know what comes of results, nor how many updates there may be (`transfers`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::update::{UpdateBytes, Updates};
use crate::digest::Digest;
use crate::job::{Attempt, TaskResult};
use crate::model::Network;
use crate::net::{FetchError, Fetched, Fetcher, Fetching, Link};
use crate::wire::message::{Error, Piece, Trained};
use crate::wire::object::{self, ObjectError};

/// A result whose update is on its way.
pub(super) struct Awaiting {
    pub(super) attempt: Attempt,
    pub(super) shape: Shape,
    pub(super) trained: Trained,
}

/// What a task's result must be shaped like.
pub(super) struct Shape {
    pub(super) network: Arc<Network>,
    /// Whether it is a sum of gradients, and no update.
    pub(super) is_sum: bool,
}

impl Shape {
    /// Whether a result may have so many bytes; if not, how many it must have.
    pub(super) fn check_size(&self, bytes: u64) -> Result<(), String> {
        let least = object::parameters_bytes(&self.network);
        let (allowed, said) = if self.is_sum {
            let most = object::sum_bytes_max(&self.network);
            (least..=most, format!("sums of the network's gradients at most {most}"))
        } else {
            (least..=least, format!("the network's have {least}"))
        };
        if allowed.contains(&bytes) { Ok(()) } else { Err(format!("its update has {bytes} bytes, and {said}")) }
    }

    pub(super) fn check(&self, bytes: &UpdateBytes) -> Result<(), ObjectError> {
        if self.is_sum { bytes.sum_layout(&self.network).map(drop) } else { bytes.check(&self.network) }
    }
}

/// An update that is on its way.
#[derive(Default)]
struct Coming {
    /// The results that wait for it.
    results: Vec<Awaiting>,
    /// How often the node has announced it: it keeps it until it has been asked for to its end as often.
    announced: usize,
}

/// All of a link.
pub(super) struct Incoming {
    fetcher: Fetcher<Updates>,
    coming: HashMap<Digest, Coming>,
}

/// What is remembered of a link's requests, of which a FETCH is one.
pub(super) trait FetchContext: Clone + Send + From<Fetching> + 'static {}

impl<C: Clone + Send + From<Fetching> + 'static> FetchContext for C {}

/// What has come of an update, and the results that waited for it, if nothing more will.
type Led = (Result<Fetched<UpdateBytes>, FetchError>, Vec<Awaiting>);

impl Incoming {
    pub(super) fn new(updates: Updates) -> Incoming {
        Incoming { fetcher: Fetcher::new(Arc::new(updates)), coming: HashMap::new() }
    }

    /// Asks the node for a result's update, if it does not come already.
    pub(super) fn want<C: FetchContext>(&mut self, link: &Link<C>, result: Awaiting) {
        let (digest, bytes) = (result.trained.result.update, result.trained.result.update_bytes);
        let coming = self.coming.entry(digest).or_default();
        coming.results.push(result);
        coming.announced += 1;
        if coming.announced == 1 {
            // A link that has ended is reported by its reader.
            let _ = self.fetcher.want(link, digest, bytes, Some(bytes));
        }
    }

    /// A piece has come.
    pub(super) fn piece<C: FetchContext>(&mut self, link: &Link<C>, of: Digest, piece: &Piece<'_>) -> Led {
        let fetched = self.fetcher.piece(link, of, piece);
        self.led(link, of, fetched)
    }

    /// The node has refused a piece.
    pub(super) fn refused<C: FetchContext>(&mut self, link: &Link<C>, of: Digest, error: Error) -> Led {
        let refused = self.fetcher.refused(link, of, error);
        self.led(link, of, refused)
    }

    /// Asks the node for what there was no room for.
    pub(super) fn go_on<C: FetchContext>(&mut self, link: &Link<C>) {
        let _ = self.fetcher.go_on(link);
    }

    /// An attempt's update is of no use any more: what has come of it gives its memory back. Its result, if it waited.
    pub(super) fn let_go<C: FetchContext>(&mut self, link: &Link<C>, attempt: Attempt) -> Option<TaskResult> {
        let awaits = |result: &Awaiting| result.attempt == attempt;
        let is_it = |coming: &Coming| coming.results.iter().any(awaits);
        let digest = self.coming.iter().find(|(_, coming)| is_it(coming)).map(|(digest, _)| *digest)?;
        let Entry::Occupied(mut coming) = self.coming.entry(digest) else { return None };
        let place = coming.get().results.iter().position(awaits)?;
        let result = coming.get_mut().results.swap_remove(place).trained.result;
        if coming.get().results.is_empty() {
            let announced = coming.remove().announced;
            self.fetcher.release(link, &digest);
            self.release_others(link, &result, announced);
        }
        Some(result)
    }

    /// Whether the node has left what it was asked for unanswered for too long.
    pub(super) fn is_stalled(&self) -> bool {
        self.fetcher.is_stalled()
    }

    /// The link has ended, and with it all that was on its way.
    pub(super) fn end(&mut self) {
        self.fetcher.suspend();
        self.coming.clear();
    }

    fn led<C: FetchContext>(
        &mut self,
        link: &Link<C>,
        of: Digest,
        fetched: Result<Fetched<UpdateBytes>, FetchError>,
    ) -> Led {
        if let Ok(Fetched::Partly) = fetched {
            return (fetched, Vec::new());
        }
        let Coming { results, announced } = self.coming.remove(&of).unwrap_or_default();
        // What the node has refused it does not keep.
        if let (Ok(_), Some(first)) = (&fetched, results.first()) {
            self.release_others(link, &first.trained.result, announced);
        }
        (fetched, results)
    }

    /// An update is no longer wanted that was asked for to its end once, and announced so often.
    fn release_others<C: FetchContext>(&mut self, link: &Link<C>, result: &TaskResult, announced: usize) {
        for _ in 1..announced {
            self.fetcher.release_again(link, result.update, result.update_bytes);
        }
    }
}

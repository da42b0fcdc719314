//! What other threads hold of a link to a node or a client, and what is remembered of requests over it. Does not know what
//! comes over it (`links`, `server`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::Sender;

pub(super) use super::client_key::ClientKey;
use super::incoming::Incoming;
use super::pace::Pace;
use super::room::Inbox;
use crate::digest::Digest;
use crate::engine::LinkKey;
use crate::job::{Attempt, JobId};
use crate::model::Network;
use crate::net::{Fetcher, Fetching, Link};

/// What is remembered of a request to a node.
#[derive(Clone, Debug)]
pub(super) enum NodeContext {
    /// A TRAIN.
    Train {
        /// The attempt.
        attempt: Attempt,
        /// What the update, or the sum, must be shaped like.
        network: Arc<Network>,
        /// Whether it is a sum.
        is_sum: bool,
    },
    /// A POLL of this attempt.
    Poll(Attempt),
    /// A RESULTS of this job.
    Results(JobId),
    /// A PUT.
    Put,
    /// A FETCH.
    Fetch(Digest),
    /// A PING whose answer somebody waits for: he is told when it came.
    Ping(Sender<(LinkKey, Duration)>),
}

impl From<Fetching> for NodeContext {
    fn from(Fetching(digest): Fetching) -> NodeContext {
        NodeContext::Fetch(digest)
    }
}

/// What other threads hold of a node's link.
#[derive(Clone)]
pub(super) struct NodeHandle {
    pub(super) link: Link<NodeContext>,
    pub(super) incoming: Arc<Mutex<Incoming>>,
    pub(super) pace: Arc<Pace>,
}

impl NodeHandle {
    /// Asks the node for what there was no room for.
    pub(super) fn go_on(&self) {
        self.incoming().go_on(&self.link);
    }

    /// Whether the node has left what it was asked for unanswered for too long.
    pub(super) fn is_stalled(&self) -> bool {
        self.incoming().is_stalled()
    }

    pub(super) fn incoming(&self) -> MutexGuard<'_, Incoming> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is remembered of a request to a client: only its objects are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientContext(pub(super) Digest);

impl From<Fetching> for ClientContext {
    fn from(Fetching(digest): Fetching) -> ClientContext {
        ClientContext(digest)
    }
}

/// What other threads hold of a client.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) key: ClientKey,
    pub(super) link: Link<ClientContext>,
    pub(super) fetcher: Arc<Mutex<Fetcher<Inbox>>>,
}

impl Client {
    /// Asks the client for an object of so many bytes.
    pub(super) fn want(&self, digest: Digest, bytes: u64) {
        // A client that has gone is reported by its reader.
        let _ = self.fetcher().want(&self.link, digest, bytes, Some(bytes));
    }

    /// Asks the client for what there was no room for.
    pub(super) fn go_on(&self) {
        let _ = self.fetcher().go_on(&self.link);
    }

    /// Whether it has sent nothing of what it was asked for, for too long.
    pub(super) fn is_stalled(&self) -> bool {
        self.fetcher().is_stalled()
    }

    pub(super) fn fetcher(&self) -> MutexGuard<'_, Fetcher<Inbox>> {
        self.fetcher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What the inactive poller is told, and what a dial and the link that comes of it need. Does not know when anything is
//! dialled (`pollers`).

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::event::DriverEvent;
use super::transfers::Transfers;
use crate::digest::Digest;
use crate::engine::NodeKey;
use crate::net::{Counters, Identity};
use crate::store::Store;

/// What the inactive poller is told.
#[derive(Debug)]
pub(super) enum PollerCommand {
    /// Dial these nodes now, whatever the schedule says.
    DialNow(Vec<NodeKey>),
    /// Dial this node no more.
    StopDialling(NodeKey),
}

/// What a dial needs, and what the link that comes of it needs.
#[derive(Clone)]
pub(super) struct Dialling {
    pub(super) identity: Identity,
    /// What a node must show to be known to compute as we do.
    pub(super) proof: Digest,
    pub(super) store: Arc<Store>,
    pub(super) transfers: Transfers,
    pub(super) events: Sender<DriverEvent>,
    pub(super) counters: Arc<Counters>,
}

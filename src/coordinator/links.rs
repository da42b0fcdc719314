//! The link to one node: its reader's side. Turns messages into events; does not decide anything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam_channel::Sender;

use super::dialling::Dialling;
use super::event::{DriverEvent, Update};
use super::handles::{NodeContext, NodeHandle};
use super::incoming::{Awaiting, Incoming, Shape};
use super::pace::Way;
use super::update::{UpdateBytes, Updates};
use crate::config::NodeAddress;
use crate::digest::Digest;
use crate::engine::{Doubt, Event, Fault, LinkKey, NodeInfo, NodeKey};
use crate::job::{Attempt, TASK_LOSS_END, TaskState};
use crate::model::ARITHMETIC;
use crate::net::{self, FetchError, Fetched, Greeted, Handler, Link, answer_fetch, answer_have};
use crate::store::Store;
use crate::wire::message::{Error, Features, Pong, Trained};
use crate::wire::{ErrorCode, Message, is_name};

/// Lives with a greeted node until its link ends.
pub(super) fn live(node: NodeKey, address: &NodeAddress, greeted: Greeted, dialling: &Dialling) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let features = &greeted.peer.features;
    let (arithmetics, doubts) = judge(features, dialling.proof);
    let info = NodeInfo {
        name: features.name.clone().unwrap_or_else(|| name_of(address)),
        arithmetics,
        doubts,
        workers: features.workers.unwrap_or(1),
        cache_bytes: features.cache_bytes,
        memory_bytes: features.memory_bytes,
    };
    let key = LinkKey(NEXT.fetch_add(1, Ordering::Relaxed));
    let Dialling { store, transfers, events, .. } = dialling;
    let incoming = Arc::new(Mutex::new(Incoming::new(Updates::new(key, transfers.clone()))));
    let (link, reader) = match net::open(greeted) {
        Ok(opened) => opened,
        Err(error) => return log::warn!("lost node {address}: {error}"),
    };
    let linked = NodeHandle { link: link.clone(), incoming, pace: Arc::default() };
    if events.send(DriverEvent::NodeLinked { node, key, linked: linked.clone(), info }).is_err() {
        return link.close("the coordinator is stopping");
    }
    let mut handler = NodeLink {
        key,
        events: events.clone(),
        store: store.clone(),
        handle: linked,
        here: Way::here(),
        there: Way::there(),
    };
    let closed = reader.run(&mut handler);
    handler.handle.incoming().end();
    let _ = events.send(DriverEvent::NodeUnlinked { key, reason: closed.to_string() });
}

/// The arithmetics that a node computes, and those that it says it computes, without showing it. `proof` is the digest of the
/// vector that shows ours; whether another is shown nobody here can tell, and no job of ours asks for one.
fn judge(features: &Features, proof: Digest) -> (Vec<u16>, Vec<(u16, Doubt)>) {
    let (mut computed, mut doubts) = (Vec::new(), Vec::new());
    for &arithmetic in &features.arithmetics {
        let told = features.conformance.iter().find(|(known, _)| *known == arithmetic);
        match told {
            _ if arithmetic != ARITHMETIC => computed.push(arithmetic),
            Some((_, digest)) if *digest == proof => computed.push(arithmetic),
            Some(_) => doubts.push((arithmetic, Doubt::Differs)),
            None => doubts.push((arithmetic, Doubt::Unproven)),
        }
    }
    (computed, doubts)
}

/// What a node that has told no name is called.
fn name_of(address: &NodeAddress) -> String {
    let allowed = |c: char| if is_name(c.encode_utf8(&mut [0; 4])) { c } else { '-' };
    let mut name: String = address.to_string().chars().map(allowed).collect();
    name.truncate(crate::wire::limits::NAME_BYTES_MAX);
    name
}

struct NodeLink {
    key: LinkKey,
    events: Sender<DriverEvent>,
    store: Arc<Store>,
    handle: NodeHandle,
    /// Pieces that come, and pieces that the node asks for.
    here: Way,
    there: Way,
}

impl NodeLink {
    fn tell(&self, event: Event) {
        // Only a coordinator that has stopped does not listen.
        let _ = self.events.send(DriverEvent::Event(event));
    }

    fn failed(&self, attempt: Attempt, fault: Fault, reason: String) {
        self.tell(Event::TaskFailed { link: self.key, attempt, fault, reason });
    }

    fn trained(&mut self, link: &Link<NodeContext>, attempt: Attempt, shape: Shape, mut trained: Trained) {
        if trained.name != attempt {
            let reason = "its result names another task, attempt or token".to_owned();
            return self.failed(attempt, Fault::Malformed, reason);
        }
        if !trained.result.has_possible_loss() {
            let reason = format!("its loss is {:e}, and no task's is {TASK_LOSS_END:e} or more", trained.result.loss);
            return self.failed(attempt, Fault::Malformed, reason);
        }
        let wanted = trained.result.update_bytes;
        if let Err(reason) = shape.check_size(wanted) {
            return self.failed(attempt, Fault::Malformed, reason);
        }
        if trained.inline.is_empty() {
            // Before the node gets its next task: some can only do one thing at a time.
            self.handle.incoming().want(link, Awaiting { attempt, shape, trained });
            let _ = self.events.send(DriverEvent::TrainedApart { link: self.key, attempt });
            return;
        }
        let got = Digest::of(&trained.inline);
        if got != trained.result.update {
            let reason =
                format!("its update has digest {}, not {} as it says", got.short(), trained.result.update.short());
            return self.failed(attempt, Fault::Malformed, reason);
        }
        let update = UpdateBytes::inline(std::mem::take(&mut trained.inline));
        self.arrived(attempt, &shape, &trained, Arc::new(update));
    }

    /// The update's bytes are here, and their digest is right.
    fn arrived(&self, attempt: Attempt, shape: &Shape, trained: &Trained, bytes: Arc<UpdateBytes>) {
        match shape.check(&bytes) {
            Ok(()) => {
                let update = Update { result: trained.result, delayed_ms: trained.delayed_ms, bytes };
                let _ = self.events.send(DriverEvent::Trained { link: self.key, attempt, update });
            }
            Err(error) => self.failed(attempt, Fault::Malformed, error.to_string()),
        }
    }

    fn fetched(&self, fetched: Result<Fetched<UpdateBytes>, FetchError>, awaiting: Vec<Awaiting>) {
        match fetched {
            Ok(Fetched::Partly) => {}
            Ok(Fetched::Whole(_, bytes)) => {
                let bytes = Arc::new(bytes);
                for Awaiting { attempt, shape, trained } in awaiting {
                    self.arrived(attempt, &shape, &trained, bytes.clone());
                }
            }
            Err(error) => {
                // An update that the node has let go of is its memory's limit; any other failure is its fault.
                let fault = match &error {
                    FetchError::Refused(_) => Fault::Retryable,
                    _ => Fault::Malformed,
                };
                for Awaiting { attempt, .. } in awaiting {
                    self.failed(attempt, fault, format!("its update cannot be had: {error}"));
                }
            }
        }
    }

    fn train_refused(&self, attempt: Attempt, error: Error) {
        if error.code == ErrorCode::Closing {
            return self.tell(Event::Closing { link: self.key, attempt });
        }
        let fault = match error.code {
            _ if error.retry => Fault::Retryable,
            ErrorCode::Cancelled | ErrorCode::Busy => Fault::Retryable,
            _ => Fault::Final,
        };
        let reason = if error.text.is_empty() { error.code.to_string() } else { error.text };
        self.failed(attempt, fault, reason);
    }
}

impl Handler<NodeContext> for NodeLink {
    fn request(&mut self, link: &Link<NodeContext>, request: u32, message: Message<'_>) -> Result<(), Error> {
        match message {
            Message::Fetch(fetch) => {
                self.there.piece(&self.handle.pace, net::now(), fetch.bytes_max.into());
                let _ = answer_fetch(link, request, fetch, &self.store);
            }
            Message::Have(have) => drop(answer_have(link, request, &have, &self.store)),
            other => {
                let kind = other.message_type();
                let text = format!("a coordinator does not answer {kind} of a node");
                let _ = link.answer(request, &Error::new(ErrorCode::Unexpected, kind as u8, text).into());
            }
        }
        Ok(())
    }

    fn answer(&mut self, link: &Link<NodeContext>, context: NodeContext, message: Message<'_>, _last: bool) {
        match (context, message) {
            (NodeContext::Train { attempt, network, is_sum }, Message::Trained(trained)) => {
                self.trained(link, attempt, Shape { network, is_sum }, trained);
            }
            (NodeContext::Train { attempt, .. }, Message::Rejected(rejected)) => {
                if rejected.name != attempt {
                    let reason = "it rejects another task, attempt or token than it was sent".to_owned();
                    return self.failed(attempt, Fault::Malformed, reason);
                }
                let (reason, retry_ms) = (rejected.reason, rejected.retry_ms);
                self.tell(Event::Rejected { link: self.key, attempt, reason, retry_ms });
            }
            (NodeContext::Train { attempt, .. }, Message::Error(error)) => self.train_refused(attempt, error),
            (NodeContext::Fetch(digest), Message::Data(piece)) => {
                self.here.piece(&self.handle.pace, net::now(), piece.bytes.len() as u64);
                let (fetched, awaiting) = self.handle.incoming().piece(link, digest, &piece);
                self.fetched(fetched, awaiting);
            }
            (NodeContext::Fetch(digest), Message::Error(error)) => {
                let (refused, awaiting) = self.handle.incoming().refused(link, digest, error);
                self.fetched(refused, awaiting);
            }
            (NodeContext::Poll(attempt), Message::Polled(polled)) if polled.name == attempt => {
                let known = polled.state != TaskState::Unknown;
                let (done, planned) = (polled.batches_done, polled.batches_planned);
                let _ = self.events.send(DriverEvent::Polled { link: self.key, attempt, known, done, planned });
            }
            (NodeContext::Results(job), Message::Holding(holding)) => {
                self.tell(Event::ResultsHeld { link: self.key, job, held: holding.results });
            }
            (NodeContext::Ping(reply), Message::Pong(pong)) => {
                let _ = reply.try_send((self.key, net::now()));
                self.peer_load(pong);
            }
            // A node that does not answer as it should holds nothing, as far as anybody knows.
            (NodeContext::Results(job), _) => {
                self.tell(Event::ResultsHeld { link: self.key, job, held: Vec::new() });
            }
            _ => {}
        }
    }

    fn cancel(&mut self, _: &Link<NodeContext>, _: u32) {}

    fn load(&mut self) -> Pong {
        Pong::default()
    }

    fn peer_load(&mut self, pong: Pong) {
        self.tell(Event::LoadReported { link: self.key, running: pong.running, waiting: pong.waiting });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arithmetic_that_we_know_is_believed_where_the_digest_is_ours() {
        let ours = Digest([7; 32]);
        let judged = |conformance: &[(u16, Digest)]| {
            let (arithmetics, conformance) = (vec![ARITHMETIC, 40_001], conformance.to_vec());
            judge(&Features { arithmetics, conformance, ..Features::default() }, ours)
        };
        assert_eq!(judged(&[(ARITHMETIC, ours)]), (vec![ARITHMETIC, 40_001], vec![]));
        assert_eq!(judged(&[(ARITHMETIC, Digest([8; 32]))]), (vec![40_001], vec![(ARITHMETIC, Doubt::Differs)]));
        assert_eq!(judged(&[(40_001, ours)]), (vec![40_001], vec![(ARITHMETIC, Doubt::Unproven)]));
        // What it does not list it does not claim.
        let conformance = vec![(ARITHMETIC, ours)];
        assert_eq!(judge(&Features { conformance, ..Features::default() }, ours), (vec![], vec![]));
    }
}

//! The conversation with the coordinator: submit, hear, fetch the weights. Owns the connection; does not know how
//! anything is shown.

use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{Plan, Target};
use crate::cli::{Exit, Failure};
use crate::config::Name;
use crate::digest::Digest;
use crate::model::Network;
use crate::net::{
    self, DialError, FetchError, Fetched, Fetcher, Fetching, Handler, Identity, Link, answer_fetch, answer_have,
};
use crate::store::Store;
use crate::wire::message::{Accepted, Done, Error, Features, Notice, Pong, Round, Submit};
use crate::wire::object::{self, ObjectKind};
use crate::wire::{ErrorCode, Message, Role, specification};

/// The coordinator gets so long to take the connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// What is remembered of a request.
#[derive(Clone, Copy, Debug)]
enum Context {
    Submit,
    Fetch(Digest),
}

impl From<Fetching> for Context {
    fn from(Fetching(digest): Fetching) -> Context {
        Context::Fetch(digest)
    }
}

/// What the coordinator has said.
pub(super) enum Happening {
    Accepted(Accepted),
    Round(Round),
    Notice(Notice),
    /// The job is done, and its weights are here and checked.
    Done {
        done: Box<Done>,
        weights: Vec<f32>,
    },
    Failed(JobFailure),
}

/// How a job ended that is not done.
#[derive(Clone, Debug)]
pub(super) struct JobFailure {
    pub(super) exit: Exit,
    /// The coordinator's code, where it gave one.
    pub(super) code: Option<ErrorCode>,
    pub(super) text: String,
}

impl Happening {
    /// The conversation has ended without an answer.
    pub(super) fn lost() -> Happening {
        let text = "the connection to the coordinator has ended".to_owned();
        Happening::Failed(JobFailure { exit: Exit::Connection, code: None, text })
    }
}

/// A submitted job. The connection closes when this is dropped.
pub(super) struct Session {
    link: Link<Context>,
    happenings: Receiver<Happening>,
}

impl Session {
    /// Connects, submits, and begins to listen.
    pub(super) fn submit(target: &Target, cluster: Option<&Name>, plan: &Plan) -> Result<Session, Failure> {
        let identity = Identity {
            role: Role::Client,
            id: net::random_u128().to_le_bytes(),
            features: Features {
                cluster: cluster.map(|name| name.as_str().to_owned()),
                software: Some(concat!("gradwire ", env!("CARGO_PKG_VERSION")).to_owned()),
                ..Features::default()
            },
        };
        let dialled = net::dial(&target.host, target.port, &identity, Role::Coordinator, CONNECT_WAIT);
        let greeted = dialled.map_err(|error| {
            let cure = match error {
                DialError::Connect { .. } => " (coordinator_node PORT POLICY starts a coordinator)",
                _ => "",
            };
            Failure::new(Exit::Connection, format!("no coordinator: {error}{cure}"))
        })?;
        let lost = |error: &dyn std::fmt::Display| {
            Failure::new(Exit::Connection, format!("the connection to the coordinator failed: {error}"))
        };
        let (link, reader) = net::open(greeted).map_err(|error| lost(&error))?;
        let (sender, happenings) = unbounded();
        let mut listening = Listening {
            objects: plan.objects.clone(),
            fetcher: Fetcher::new(Arc::new(Store::new(0))),
            network: plan.specification.training.network.clone(),
            semantic: plan.semantic,
            done: None,
            sender: sender.clone(),
        };
        let submit = Submit { job: plan.job, rounds_seen: 0, specification: plan.specification.clone() };
        link.request(&submit.into(), Context::Submit).map_err(|error| lost(&error))?;
        let job = plan.job;
        let listen = move || {
            let closed = reader.run(&mut listening);
            // After the final answer nobody listens to this any more.
            let text = format!(
                "the connection to the coordinator has ended: {closed}. If it still runs, the same command with \
                 --job {job} shows the rest"
            );
            let _ = sender.send(Happening::Failed(JobFailure { exit: Exit::Connection, code: None, text }));
        };
        Builder::new().name("coordinator".to_owned()).spawn(listen).map_err(|error| lost(&error))?;
        Ok(Session { link, happenings })
    }

    /// What the coordinator says, in order.
    pub(super) fn happenings(&self) -> &Receiver<Happening> {
        &self.happenings
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.link.close("the client is done");
    }
}

struct Listening {
    objects: Arc<Store>,
    fetcher: Fetcher,
    network: Network,
    /// What the job means; the fingerprint follows from it and the weights.
    semantic: Digest,
    /// The final answer, while its weights are on their way.
    done: Option<Done>,
    sender: Sender<Happening>,
}

impl Listening {
    fn tell(&self, happening: Happening) {
        // Only a program that is ending does not listen.
        let _ = self.sender.send(happening);
    }

    fn fail(&self, exit: Exit, code: Option<ErrorCode>, text: String) {
        self.tell(Happening::Failed(JobFailure { exit, code, text }));
    }

    fn done(&mut self, link: &Link<Context>, done: Done) {
        let wanted = specification::fingerprint(&self.semantic, &done.weights);
        if wanted != done.fingerprint {
            let text = format!(
                "the coordinator's fingerprint {} is not that of this job and its weights, {wanted}",
                done.fingerprint
            );
            return self.fail(Exit::JobFailed, None, text);
        }
        let _ = self.fetcher.want(link, done.weights, object::parameters_bytes(&self.network));
        self.done = Some(done);
    }

    fn fetched(&mut self, fetched: Result<Fetched, FetchError>) {
        match fetched {
            Ok(Fetched::Partly) => {}
            Ok(Fetched::Whole(_, bytes)) => self.weights(&bytes),
            Err(error) => self.fail(Exit::JobFailed, None, format!("the model cannot be fetched: {error}")),
        }
    }

    fn weights(&mut self, bytes: &[u8]) {
        let Some(done) = self.done.take() else { return };
        match object::decode_parameters(ObjectKind::Weights, &self.network, bytes) {
            Ok(weights) => {
                let weights = weights.into_owned();
                self.tell(Happening::Done { done: Box::new(done), weights });
            }
            Err(error) => self.fail(Exit::JobFailed, None, format!("the model cannot be read: {error}")),
        }
    }

    fn refused(&self, error: &Error) {
        let exit = match error.code {
            ErrorCode::Specification | ErrorCode::UnknownField | ErrorCode::Conflict | ErrorCode::ObjectTooLarge => {
                Exit::Usage
            }
            ErrorCode::Busy | ErrorCode::Closing | ErrorCode::Recovering => Exit::Connection,
            _ => Exit::JobFailed,
        };
        self.fail(exit, Some(error.code), error.text.clone());
    }
}

impl Handler<Context> for Listening {
    fn request(&mut self, link: &Link<Context>, request: u32, message: Message<'_>) {
        match message {
            Message::Fetch(fetch) => drop(answer_fetch(link, request, fetch, &self.objects)),
            Message::Have(have) => drop(answer_have(link, request, &have, &self.objects)),
            other => {
                let kind = other.message_type();
                let text = format!("a client does not answer {kind}");
                let _ = link.answer(request, &Error::new(ErrorCode::Unexpected, kind as u8, text).into());
            }
        }
    }

    fn answer(&mut self, link: &Link<Context>, context: Context, message: Message<'_>, _last: bool) {
        match (context, message) {
            (Context::Submit, Message::Accepted(accepted)) => self.tell(Happening::Accepted(accepted)),
            (Context::Submit, Message::Round(round)) => self.tell(Happening::Round(round)),
            (Context::Submit, Message::Notice(notice)) => self.tell(Happening::Notice(notice)),
            (Context::Submit, Message::Done(done)) => self.done(link, done),
            (Context::Submit, Message::Error(error)) => self.refused(&error),
            (Context::Fetch(digest), Message::Data(piece)) => {
                let fetched = self.fetcher.piece(link, digest, &piece);
                self.fetched(fetched);
            }
            (Context::Fetch(digest), Message::Error(error)) => {
                let fetched = self.fetcher.refused(link, digest, error);
                self.fetched(fetched);
            }
            _ => {}
        }
    }

    fn cancel(&mut self, _: &Link<Context>, _: u32) {}

    fn load(&mut self) -> Pong {
        Pong::default()
    }

    fn peer_load(&mut self, _: Pong) {}
}

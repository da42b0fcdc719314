//! A compute node that lies. It greets, takes what it is sent and answers its heartbeat like any other; what it makes of
//! a task is its lie's choice. Owns its threads, which end with the test's process.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use gradwire::job::{RejectReason, TaskResult, TaskState};

use gradwire::digest::Digest;
use gradwire::model::conformance::published;
use gradwire::model::train::Unwatched;
use gradwire::model::{ARITHMETIC, Kernel, Network, Rows, Trainer, Training};
use gradwire::wire::message::{
    Error, Features, Fetch, Held, Piece, Polled, Pong, Rejected, RowsSource, Train, Trained, Welcome,
};
use gradwire::wire::object::{self, ObjectKind};
use gradwire::wire::{ErrorCode, Message, MessageType, Role, limits};

use crate::common::peer::{Peer, welcome};
use crate::common::smallest::piece;

/// What the node does instead of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// An update with a NaN in it.
    NotANumber,
    /// An update beyond what can be merged.
    OutOfRange,
    /// A loss that is no number.
    LossNotANumber,
    /// A loss that is a number, of which two add up to none.
    LossTooLarge,
    /// An update of another network.
    WrongShape,
    /// Weights instead of an update.
    WrongKind,
    /// The result of another job.
    OtherJob,
    /// Somebody else's attempt.
    OtherAttempt,
    /// Somebody else's token.
    OtherToken,
    /// Another digest than the update's.
    WrongDigest,
    /// The same, where the update must be fetched.
    WrongDigestFetched,
    /// An update that is not there when it is fetched.
    NotHeld,
    /// An update that is never sent when it is fetched.
    HeldBack,
    /// A right update that must be fetched, and is given only when the coordinator has asked whether anybody is there for
    /// three seconds.
    SlowToSend,
    /// The same, given at once, but over its first connection never.
    HeldBackOnce,
    /// The same, but over its first connection a byte each time that the coordinator asks whether anybody is there.
    DrippedOnce,
    /// An update of zeros, which must be fetched, and comes slowly.
    Slow,
    /// An update of zeros, which must be fetched, and is given only when two tasks have come to it.
    Equal,
    /// Payloads of no more than a greeting's.
    ShortPayloads,
    /// An update that must be fetched; twice its bytes are weights.
    WrongKindTwice,
    /// REJECTED whatever the task says, in a wrong name.
    RejectsInAnotherName,
    /// REJECTED though the task may not be.
    Rejects,
    /// ERROR with the longest text.
    Refuses,
    /// A right result, and then again.
    Twice,
    /// Nothing. Only the heartbeat is answered.
    Silence,
    /// Nothing, until the task is cancelled: then a wrong result.
    LateAndWrong,
    /// A vector of another digest. Asked all the same, it trains nothing and says it did.
    OtherVector,
    /// No digest of a vector. The same.
    NoVector,
}

/// A running liar.
pub struct LyingNode {
    pub address: SocketAddr,
    told: Arc<Told>,
}

/// What the liar has been told.
#[derive(Default)]
struct Told {
    tasks: AtomicU32,
    cancels: AtomicU32,
    releases: AtomicU32,
    errors: Mutex<Vec<ErrorCode>>,
}

impl LyingNode {
    pub fn start(lie: Lie) -> LyingNode {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::new(Told::default());
        let hears = told.clone();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                Liar {
                    lie,
                    is_first: number == 0,
                    peer: Peer::new(stream),
                    told: hears.clone(),
                    objects: HashMap::new(),
                    waiting: Vec::new(),
                    training: None,
                    held_back: Vec::new(),
                    pings: 0,
                }
                .live();
            }
        });
        LyingNode { address, told }
    }

    /// Tasks that it was given.
    pub fn tasks(&self) -> u32 {
        self.told.tasks.load(Ordering::Relaxed)
    }

    /// Tasks that were taken from it again.
    pub fn cancels(&self) -> u32 {
        self.told.cancels.load(Ordering::Relaxed)
    }

    /// Updates whose last byte alone it was asked for.
    pub fn releases(&self) -> u32 {
        self.told.releases.load(Ordering::Relaxed)
    }

    /// The codes of the ERRORs on request 0 that it was told.
    pub fn errors(&self) -> Vec<ErrorCode> {
        self.told.errors.lock().unwrap().clone()
    }
}

/// One of its connections.
struct Liar {
    lie: Lie,
    is_first: bool,
    peer: Peer,
    told: Arc<Told>,
    objects: HashMap<Digest, Vec<u8>>,
    /// Tasks that are not answered yet, by request.
    waiting: Vec<(u32, Train)>,
    /// What the last TRAIN carried.
    training: Option<Training>,
    /// What it was asked for and has not given, by request.
    held_back: Vec<(u32, Fetch)>,
    pings: u32,
}

impl Liar {
    fn live(mut self) {
        let conformance = match self.lie {
            Lie::OtherVector => vec![(ARITHMETIC, Digest([0xAB; 32]))],
            Lie::NoVector => Vec::new(),
            _ => vec![(ARITHMETIC, published())],
        };
        let name = Some("liar".to_owned());
        // One that sits on a task has a worker free all the same, and could be given another's.
        let workers = (self.lie == Lie::Silence).then_some(2);
        let features = Features { arithmetics: vec![ARITHMETIC], name, workers, conformance, ..Features::default() };
        let Some(frame) = self.peer.next() else { return };
        if !matches!(frame.message(), Message::Hello(_)) {
            return;
        }
        let payload_bytes_max = match self.lie {
            Lie::ShortPayloads => limits::GREETING_PAYLOAD_BYTES_MAX,
            _ => limits::PAYLOAD_BYTES_MAX,
        };
        self.peer.send(Welcome { payload_bytes_max, ..welcome(Role::Node, features) }, 0);
        while let Some(frame) = self.peer.next() {
            let request = frame.header.request;
            match frame.message() {
                Message::Ping(_) => {
                    self.peer.send(Pong::default(), request);
                    self.pings += 1;
                    if self.lie == Lie::SlowToSend && self.pings >= 3 {
                        self.give_all();
                    }
                    if self.lie == Lie::DrippedOnce
                        && let Some((request, fetch)) = self.held_back.pop()
                    {
                        self.give(request, Fetch { bytes_max: 1, ..fetch });
                    }
                }
                Message::Put(piece) => {
                    let bytes = vec![piece.object_bytes];
                    self.objects.insert(piece.digest, piece.bytes.into_owned());
                    self.peer.send(Held { bytes }, request);
                }
                Message::Train(mut train) => {
                    self.training = train.training.take().or(self.training.take());
                    train.training.clone_from(&self.training);
                    // Its first request; the acceptor's are even.
                    let fetch = 2 * (self.told.tasks.fetch_add(1, Ordering::Relaxed) + 1);
                    self.train(request, fetch, train);
                    if self.lie == Lie::Equal && self.has_two_tasks() {
                        self.give_all();
                    }
                }
                Message::Data(piece) => {
                    self.objects.insert(piece.digest, piece.bytes.into_owned());
                    self.answer_twice();
                }
                Message::Fetch(fetch) => self.serve(request, fetch),
                Message::Poll(poll) => {
                    // Whose answer is given, that task is done with.
                    let is_done = matches!(self.lie, Lie::SlowToSend | Lie::DrippedOnce);
                    let state = if is_done { TaskState::Unknown } else { TaskState::Running };
                    self.peer.send(Polled { name: poll.name, state, batches_done: 1, batches_planned: 9 }, request);
                }
                Message::Cancel(cancel) => {
                    self.told.cancels.fetch_add(1, Ordering::Relaxed);
                    if self.lie == Lie::LateAndWrong
                        && let Some(at) = self.waiting.iter().position(|(waits, _)| *waits == cancel.request)
                    {
                        let (request, train) = self.waiting.swap_remove(at);
                        self.peer.send(result(&train, &zeros(&train)), request);
                    }
                }
                Message::Error(error) if request == 0 => self.told.errors.lock().unwrap().push(error.code),
                _ => {}
            }
        }
    }

    fn train(&mut self, request: u32, fetch: u32, train: Train) {
        let honest = result(&train, &zeros(&train));
        let mut name = train.name;
        let lie = match self.lie {
            Lie::NotANumber => result(&train, &with_first(&train, f32::NAN)),
            Lie::OutOfRange => result(&train, &with_first(&train, 1e30)),
            Lie::LossNotANumber => with_result(honest, |result| result.loss = f64::NAN),
            Lie::LossTooLarge => with_result(honest, |result| result.loss = 1e308),
            Lie::WrongShape => {
                let other = Network::new(1, &[], 2).unwrap();
                with_update(&train, object::encode_parameters(ObjectKind::Update, &other, &[0.0; 4]))
            }
            Lie::WrongKind => {
                let network = &training_of(&train).network;
                with_update(&train, object::encode_parameters(ObjectKind::Weights, network, &zeros(&train)))
            }
            Lie::OtherJob => {
                name.task.job.0 ^= 1;
                Trained { name, ..honest }
            }
            Lie::OtherAttempt => {
                name.attempt += 1;
                Trained { name, ..honest }
            }
            Lie::OtherToken => {
                name.token ^= 1;
                Trained { name, ..honest }
            }
            Lie::WrongDigest => with_result(honest, |result| result.update = Digest([0xAB; 32])),
            Lie::WrongDigestFetched | Lie::NotHeld | Lie::HeldBack => {
                let update = Digest::of(&train.name.token.to_le_bytes());
                with_result(Trained { inline: Vec::new(), ..honest }, |result| result.update = update)
            }
            Lie::WrongKindTwice if fetch <= 4 => {
                // Another one each time.
                let weights = with_first(&train, fetch as f32);
                let weights = object::encode_parameters(ObjectKind::Weights, &training_of(&train).network, &weights);
                self.offer(with_update(&train, weights))
            }
            Lie::OtherVector | Lie::NoVector | Lie::ShortPayloads => honest,
            Lie::Equal | Lie::Slow | Lie::SlowToSend | Lie::HeldBackOnce | Lie::DrippedOnce | Lie::WrongKindTwice => {
                self.offer(honest)
            }
            Lie::Rejects | Lie::RejectsInAnotherName => {
                if self.lie == Lie::RejectsInAnotherName {
                    name.token ^= 1;
                }
                let rejected =
                    Rejected { name, reason: RejectReason::Busy, running: 1, waiting: 0, retry_ms: u32::MAX };
                return self.peer.send(rejected, request);
            }
            Lie::Refuses => {
                let text = "x".repeat(limits::SENTENCE_BYTES_MAX);
                let error = Error::new(ErrorCode::Training, MessageType::Train as u8, text);
                return self.peer.send(error, request);
            }
            Lie::Twice => {
                let RowsSource::Shipped(digest) = train.rows else { return };
                self.waiting.push((request, train));
                return self.peer.send(Fetch { digest, offset: 0, bytes_max: 1 << 20 }, fetch);
            }
            Lie::Silence | Lie::LateAndWrong => return self.waiting.push((request, train)),
        };
        self.peer.send(lie, request);
    }

    /// The result without its update, which is fetched.
    fn offer(&mut self, result: Trained) -> Trained {
        self.objects.insert(result.result.update, result.inline);
        Trained { inline: Vec::new(), ..result }
    }

    /// Answers a FETCH of an update that was announced with a digest that is nothing's.
    fn serve(&mut self, request: u32, fetch: Fetch) {
        if fetch.bytes_max == 1 {
            self.told.releases.fetch_add(1, Ordering::Relaxed);
        }
        let bytes = match self.lie {
            Lie::WrongDigestFetched => vec![0; fetch.bytes_max as usize],
            Lie::HeldBack => return,
            Lie::Slow => {
                thread::sleep(Duration::from_millis(200));
                return self.give(request, fetch);
            }
            Lie::SlowToSend if self.pings < 3 => return self.held_back.push((request, fetch)),
            Lie::Equal if !self.has_two_tasks() => return self.held_back.push((request, fetch)),
            Lie::HeldBackOnce if self.is_first => return,
            Lie::DrippedOnce if self.is_first => return self.held_back.push((request, fetch)),
            Lie::Equal | Lie::SlowToSend | Lie::HeldBackOnce | Lie::DrippedOnce | Lie::WrongKindTwice => {
                return self.give(request, fetch);
            }
            _ => {
                let error = Error::new(ErrorCode::UnknownObject, 0, "it is gone");
                return self.peer.send(error, request);
            }
        };
        let object_bytes = bytes.len() as u64;
        let piece = Piece { digest: fetch.digest, object_bytes, offset: fetch.offset, bytes: Cow::Borrowed(&bytes) };
        self.peer.send(Message::Data(piece), request);
    }

    fn has_two_tasks(&self) -> bool {
        self.told.tasks.load(Ordering::Relaxed) >= 2
    }

    /// Gives what it has held back.
    fn give_all(&mut self) {
        for (request, fetch) in std::mem::take(&mut self.held_back) {
            self.give(request, fetch);
        }
    }

    fn give(&mut self, request: u32, fetch: Fetch) {
        let piece = piece(fetch, &self.objects[&fetch.digest]);
        self.peer.send(Message::Data(piece), request);
    }

    /// Trains what can be trained, rightly, and answers each task twice.
    fn answer_twice(&mut self) {
        for (request, train) in std::mem::take(&mut self.waiting) {
            let RowsSource::Shipped(shard) = train.rows else { continue };
            let (Some(base), Some(rows)) = (self.objects.get(&train.base), self.objects.get(&shard)) else {
                self.waiting.push((request, train));
                continue;
            };
            let network = &training_of(&train).network;
            let base = object::decode_parameters(ObjectKind::Weights, network, base).unwrap();
            let loss = training_of(&train).recipe.loss;
            let parts = object::decode_rows(network, loss, rows).unwrap();
            let rows = Rows::of_parts(network.input_layout(), parts).unwrap();
            let task = train.name.task;
            let mut trainer = Trainer::new(Kernel::best());
            let trained =
                trainer.train(training_of(&train), task.step, task.shard, &base, &rows, &mut Unwatched).unwrap();
            let right = with_result(result(&train, &trained.update), |result| result.loss = trained.loss);
            self.peer.send(right.clone(), request);
            self.peer.send(right, request);
        }
    }
}

fn training_of(train: &Train) -> &Training {
    train.training.as_ref().unwrap()
}

fn zeros(train: &Train) -> Vec<f32> {
    vec![0.0; training_of(train).network.parameters()]
}

fn with_first(train: &Train, value: f32) -> Vec<f32> {
    let mut update = zeros(train);
    update[0] = value;
    update
}

/// A well-formed result with this update.
fn result(train: &Train, update: &[f32]) -> Trained {
    with_update(train, object::encode_parameters(ObjectKind::Update, &training_of(train).network, update))
}

fn with_update(train: &Train, update: Vec<u8>) -> Trained {
    let (digest, update_bytes) = (Digest::of(&update), update.len() as u64);
    let result = TaskResult { epochs: 2, loss: 1.0, train_us: 100, update: digest, update_bytes };
    Trained { name: train.name, result, delayed_ms: 0, inline: update }
}

/// The same with another result.
fn with_result(mut trained: Trained, change: impl FnOnce(&mut TaskResult)) -> Trained {
    change(&mut trained.result);
    trained
}

//! Valid conversations: the documents' own, and drawn ones of other lengths, ids and sizes. Owns which frames a side is
//! sent in them; does not know what becomes of these frames.

use gradwire::digest::Digest;
use gradwire::job::{Attempt, CachedResult, JobId, LedgerEntry, NodeTasks, RowsRef, Summary, TaskId, TaskResult};
use gradwire::wire::header::{Header, MessageType, OPTIONAL_TYPES_FROM};
use gradwire::wire::message::*;
use gradwire::wire::{Decoder, Encoded, ErrorCode, Flags, Message, Role, limits};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

use crate::common::book::{self, values};

/// The document's conversations.
pub const OF_BOOK: usize = 5;
/// Conversations that are drawn beside the document's own.
const DRAWN: usize = 600;
/// The longest list of bytes in a drawn message, but for a few.
const BYTES_MAX: usize = 8 << 10;

/// A frame in its parts, to be sealed once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub header: Header,
    pub payload: Vec<u8>,
}

/// What one side of a conversation is sent, and what it has asked for itself.
#[derive(Clone, Debug)]
pub struct Side {
    pub me: Role,
    pub peer: Role,
    /// Whether this side has dialled.
    pub dialled: bool,
    /// Whether it hears the greeting too, or begins behind it.
    pub greets: bool,
    /// Its own requests, in the order of their ids: all of them are open from the start.
    pub asks: Vec<MessageType>,
    pub frames: Vec<Frame>,
}

/// Both sides of a conversation: the dialler's, then the acceptor's.
pub type Conversation = [Side; 2];

/// The document's conversations, then drawn ones: the same in every run.
pub fn conversations() -> Vec<Conversation> {
    let examples = book::examples().into_iter().filter(|example| example.kind() == "conversation");
    let mut all: Vec<Conversation> = examples.map(|example| of_book(&example)).collect();
    assert_eq!(all.len(), OF_BOOK, "the conversations of the documents");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    all.extend((0..DRAWN).map(|_| drawn(&mut rng)));
    all
}

impl Side {
    fn new(me: Role, peer: Role, dialled: bool, greets: bool) -> Side {
        Side { me, peer, dialled, greets, asks: Vec::new(), frames: Vec::new() }
    }

    /// The same without answers: what may be sent to who has asked for nothing.
    pub fn unasked(&self) -> Side {
        let is_answer = |frame: &Frame| {
            use MessageType::*;
            match MessageType::from_number(frame.header.kind) {
                Some(Hello | Goodbye | Cancel) | None => false,
                Some(Error) => frame.header.request != 0,
                Some(kind) => !requests(self.peer, self.me).contains(&kind),
            }
        };
        let frames = self.frames.iter().filter(|frame| !is_answer(frame)).cloned().collect();
        Side { asks: Vec::new(), frames, ..self.clone() }
    }
}

/// The frames in these bytes.
pub fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut decoder = Decoder::new(limits::PAYLOAD_BYTES_MAX);
    decoder.feed(bytes);
    let next =
        || decoder.next_frame().expect("frames").map(|f| Frame { header: f.header, payload: f.payload.to_vec() });
    let frames = std::iter::from_fn(next).collect();
    assert_eq!(decoder.pending_bytes(), 0, "bytes follow the last frame");
    frames
}

fn of_book(example: &book::Example) -> Conversation {
    let role = |name: &str| [Role::Client, Role::Coordinator, Role::Node].into_iter().find(|r| r.to_string() == name);
    let (dialler, acceptor) = example.name().split_once(' ').expect("two roles");
    let (dialler, acceptor) = (role(dialler).expect("a role"), role(acceptor).expect("a role"));
    let greets = example.pieces[0].comment.starts_with("HELLO");
    let mut sides = [Side::new(dialler, acceptor, true, greets), Side::new(acceptor, dialler, false, greets)];
    let starts = example.pieces.chunk_by(|_, next| next.direction.is_none());
    for pieces in starts {
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
        let frame = frames(&bytes).remove(0);
        let (sender, hearer) = if pieces[0].direction == Some('>') { (0, 1) } else { (1, 0) };
        let parity = u32::from(sides[sender].dialled);
        if let Some(kind) = MessageType::from_number(frame.header.kind)
            && requests(sides[sender].me, sides[sender].peer).contains(&kind)
            && frame.header.request % 2 == parity
        {
            sides[sender].asks.push(kind);
        }
        sides[hearer].frames.push(frame);
    }
    sides
}

/// What one role may ask of another (protocol.md, "Messages").
fn requests(from: Role, to: Role) -> &'static [MessageType] {
    use MessageType::*;
    match (from, to) {
        (Role::Coordinator, Role::Node) => &[Ping, Have, Fetch, Put, Train, Poll, Results],
        (Role::Client, Role::Coordinator) => {
            &[Ping, Have, Fetch, Submit, Attach, Jobs, Order, Describe, Ledger, Doctor]
        }
        _ => &[Ping, Have, Fetch],
    }
}

fn drawn(rng: &mut ChaCha8Rng) -> Conversation {
    let pairs = [(Role::Coordinator, Role::Node), (Role::Client, Role::Coordinator)];
    let (dialler, acceptor) = one_of(rng, &pairs);
    let greets = rng.random_bool(0.3);
    [side(rng, dialler, acceptor, true, greets), side(rng, acceptor, dialler, false, greets)]
}

/// A side that is sent requests, the answers to its own in any order, and now and then something else.
fn side(rng: &mut ChaCha8Rng, me: Role, peer: Role, dialled: bool, greets: bool) -> Side {
    let mut side = Side::new(me, peer, dialled, greets);
    if greets {
        add(&mut side, &greeting(rng, peer, dialled), 0, false);
    }
    let asked = requests(me, peer);
    side.asks = (0..rng.random_range(0..5)).map(|_| one_of(rng, asked)).collect();
    let mut waiting: Vec<usize> = (0..side.asks.len()).collect();
    let mut request = if dialled { 0 } else { u32::MAX };
    for _ in 0..rng.random_range(1..9) {
        match rng.random_range(0..8) {
            0..4 => {
                request = request.wrapping_add(2 * rng.random_range(1..9));
                let kind = one_of(rng, requests(peer, me));
                let message = question(rng, kind);
                add(&mut side, &message, request, false);
            }
            4..6 if !waiting.is_empty() => {
                let ask = waiting.swap_remove(rng.random_range(0..waiting.len()));
                let request = 2 * ask as u32 + if dialled { 1 } else { 2 };
                answer(rng, &mut side, ask, request);
            }
            6 => add(&mut side, &Cancel { request: rng.random_range(0..20) }.into(), 0, false),
            _ => {
                let kind = rng.random_range(OPTIONAL_TYPES_FROM..=u8::MAX);
                let payload = bytes(rng);
                let sealed = Encoded::seal(kind, Flags(rng.random()), rng.random(), &payload, None);
                side.frames.extend(frames(&sealed.to_bytes()));
            }
        }
    }
    if rng.random_bool(0.1) {
        let text = sentence(rng);
        let last: Message<'_> = match rng.random_bool(0.5) {
            true => Goodbye { text }.into(),
            false => error(rng, ErrorCode::Timeout).into(),
        };
        add(&mut side, &last, 0, false);
    }
    side
}

fn add(side: &mut Side, message: &Message<'_>, request: u32, more: bool) {
    side.frames.extend(frames(&message.seal(request, more).to_bytes()));
}

fn greeting(rng: &mut ChaCha8Rng, peer: Role, to_dialler: bool) -> Message<'static> {
    let kind = if to_dialler { MessageType::Welcome } else { MessageType::Hello };
    let (id, nonce, software) = (rng.random(), rng.random(), rng.random_bool(0.5).then(|| sentence(rng)));
    match values::message(kind).1 {
        Message::Hello(hello) => {
            let features = Features { software, ..hello.features };
            Hello { role: peer, id, nonce, features, version_max: rng.random_range(1..=4), ..hello }.into()
        }
        Message::Welcome(welcome) => {
            let features = Features { software, ..welcome.features };
            Welcome { role: peer, id, nonce, features, ..welcome }.into()
        }
        other => other,
    }
}

/// A request of this type: the document's example, with other names and sizes.
fn question(rng: &mut ChaCha8Rng, kind: MessageType) -> Message<'static> {
    match values::message(kind).1 {
        Message::Have(_) => Have { digests: list(rng, digest) }.into(),
        Message::Fetch(_) => {
            Fetch { digest: digest(rng), offset: rng.random(), bytes_max: rng.random_range(1..=u32::MAX) }.into()
        }
        Message::Put(_) => Message::Put(piece(rng)),
        Message::Train(train) => {
            let rows = match rng.random_bool(0.9) {
                true => RowsSource::Shipped(digest(rng)),
                false => RowsSource::Resident("attic".to_owned()),
            };
            let training = train.training.filter(|_| rng.random_bool(0.5));
            Train { name: task_name(rng), may_reject: rng.random(), base: digest(rng), rows, training }.into()
        }
        Message::Poll(_) => Poll { name: task_name(rng) }.into(),
        Message::Submit(mut submit) => {
            let row = |rng: &mut ChaCha8Rng| RowsRef { rows: rng.random_range(1..1000), digest: digest(rng) };
            submit.specification.shards = list(rng, row);
            submit.specification.shards.push(row(rng));
            submit.specification.rounds = rng.random_range(1..50);
            submit.job = JobId(rng.random());
            submit.rounds_seen = rng.random();
            submit.specification.notes = bytes(rng);
            submit.into()
        }
        Message::Attach(_) => Attach { job: JobId(rng.random()), rounds_seen: rng.random() }.into(),
        Message::Ledger(_) => Ledger { job: JobId(rng.random()), first: rng.random() }.into(),
        other => other,
    }
}

/// The final answer to this request of the side's own, and what comes before it.
fn answer(rng: &mut ChaCha8Rng, side: &mut Side, ask: usize, request: u32) {
    use MessageType::*;
    let asked = side.asks[ask];
    let partial: &[MessageType] = match asked {
        Submit | Attach => &[Accepted, Round, Notice],
        Jobs | Order => &[Job],
        Doctor => &[Finding],
        _ => &[],
    };
    if !partial.is_empty() {
        for kind in list(rng, |rng| one_of(rng, partial)).into_iter().take(6) {
            add(side, &values::message(kind).1, request, true);
        }
    }
    let kind = match asked {
        _ if rng.random_bool(0.1) => Error,
        Ping => Pong,
        Have | Put => Held,
        Fetch => Data,
        Train => one_of(rng, &[Trained, Rejected]),
        Poll => Polled,
        Results => Holding,
        Jobs | Order | Doctor => Listed,
        Describe => Described,
        Ledger => Entries,
        _ => Done,
    };
    let message = match values::message(kind).1 {
        Message::Held(_) => self::Held { bytes: list(rng, |rng| rng.random()) }.into(),
        Message::Data(_) => Message::Data(piece(rng)),
        Message::Error(_) => error(rng, ErrorCode::UnknownObject).into(),
        Message::Trained(trained) => {
            let inline = bytes(rng);
            let update_bytes = if inline.is_empty() { rng.random() } else { inline.len() as u64 };
            let result = TaskResult { update: digest(rng), update_bytes, ..trained.result };
            self::Trained { name: task_name(rng), result, delayed_ms: rng.random(), inline }.into()
        }
        Message::Done(done) => {
            let node = |rng: &mut ChaCha8Rng| NodeTasks { node: "node-b".to_owned(), tasks: rng.random() };
            let summary = Summary { nodes: list(rng, node), ..done.summary };
            self::Done { summary, ..done }.into()
        }
        Message::Holding(_) => {
            let result =
                |rng: &mut ChaCha8Rng| CachedResult { step: rng.random(), shard: rng.random(), base: digest(rng) };
            self::Holding { results: list(rng, result) }.into()
        }
        Message::Entries(entries) => {
            let entry = |rng: &mut ChaCha8Rng| {
                let task = entries.entries[0].merged().cloned().filter(|_| rng.random_bool(0.9));
                LedgerEntry { rows: rng.random(), base: digest(rng), result: task.into() }
            };
            let entries = list(rng, entry);
            self::Entries { total: entries.len() as u64, first: 0, shards: 3, entries }.into()
        }
        other => other,
    };
    add(side, &message, request, false);
}

fn error(rng: &mut ChaCha8Rng, code: ErrorCode) -> Error {
    let text = sentence(rng);
    Error { code, about: rng.random(), retry: rng.random(), got: rng.random(), allowed: rng.random(), text }
}

fn piece(rng: &mut ChaCha8Rng) -> Piece<'static> {
    let mut bytes = bytes(rng);
    bytes.push(7);
    let offset = rng.random_range(0..1 << 30);
    let object_bytes = offset + bytes.len() as u64 + rng.random_range(0..1 << 30);
    Piece { digest: digest(rng), object_bytes, offset, bytes: bytes.into() }
}

fn digest(rng: &mut ChaCha8Rng) -> Digest {
    Digest(rng.random())
}

fn task_name(rng: &mut ChaCha8Rng) -> Attempt {
    let task = TaskId { job: JobId(rng.random()), step: rng.random(), shard: rng.random() };
    Attempt { task, attempt: rng.random(), token: rng.random() }
}

fn sentence(rng: &mut ChaCha8Rng) -> String {
    let letters = ['a', 'Z', ' ', 'é', '猫', '🦀'];
    list(rng, |rng| one_of(rng, &letters)).into_iter().collect()
}

/// Short lists mostly, and now and then a long one: none longer than any message may hold.
fn list<T>(rng: &mut ChaCha8Rng, mut item: impl FnMut(&mut ChaCha8Rng) -> T) -> Vec<T> {
    let length = length(rng, 128);
    (0..length).map(|_| item(rng)).collect()
}

fn bytes(rng: &mut ChaCha8Rng) -> Vec<u8> {
    // A frame as large as frames get, and an update that just travels inside.
    let length = match rng.random_range(0..2_000) {
        0 => 60 << 10,
        _ => length(rng, BYTES_MAX),
    };
    (0..length).map(|index| (index % 251) as u8).collect()
}

/// Any magnitude as often as any other.
fn length(rng: &mut ChaCha8Rng, max: usize) -> usize {
    let magnitude = rng.random_range(0..=max.ilog2());
    rng.random_range(0..=max.min(1 << magnitude))
}

/// One of these, each as likely as the others.
pub fn one_of<T: Copy>(rng: &mut ChaCha8Rng, items: &[T]) -> T {
    items[rng.random_range(0..items.len())]
}

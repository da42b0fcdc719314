//! An open connection: one reader thread, one writer thread, and a handle for whoever wants to send. Owns the session's
//! state and the socket's life; does not know what messages mean.

use std::fmt;
use std::io::{self, ErrorKind, Read as _};
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::THREAD_STACK_BYTES;
use super::counters::{self, Counters};
use super::deadline::{self, Deadline};
use super::greeting::{Greeted, Peer, drain};
use super::outbox::{NotTaken, Outbox, WRITE_TICK};
use crate::wire::judge::{self, Judged};
use crate::wire::message::{Error, Goodbye, Ping, Pong};
use crate::wire::session::Heartbeat;
use crate::wire::{Decoder, Draft, ErrorCode, Frame, Message, MessageType, Session, SharedBytes, limits};

/// Time to send what is queued when a connection closes.
const FLUSH_WAIT: Duration = Duration::from_secs(1);
/// Frames of no more bytes together are copied behind each other, which takes less time than a second call would.
const IN_ONE_GO_BYTES_MAX: usize = 64 << 10;

/// A handle to an open connection, for any thread. `C` is what is remembered of each of our requests.
pub struct Link<C>(Arc<Shared<C>>);

impl<C> Clone for Link<C> {
    fn clone(&self) -> Self {
        Link(self.0.clone())
    }
}

struct Shared<C> {
    peer: Peer,
    stream: TcpStream,
    /// `None` as context is our own heartbeat's. Who opens a request holds it until the frame is in the outbox, so that ids
    /// leave in their order: that may be one call that sends, but none that waits for the socket.
    session: Mutex<Session<Option<C>>>,
    outbox: Outbox,
    counters: Arc<Counters>,
    closed: AtomicBool,
    reason: Mutex<Option<String>>,
}

/// The message did not leave: the connection is closed, or its peer does not read and has just been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsent;

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closed")
    }
}

impl std::error::Error for Unsent {}

/// Why a connection has ended, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed(pub String);

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the owner of a connection does with what arrives. Called on the reader's thread: it must not block for long,
/// for nothing is read meanwhile.
pub trait Handler<C> {
    /// A request to be answered once, now or later. An error, where it breaks a rule that only the owner can judge, ends the
    /// connection; the peer is told it.
    fn request(&mut self, link: &Link<C>, request: u32, message: Message<'_>) -> Result<(), Error>;

    /// An answer to one of our requests; `last` if it is the final one.
    fn answer(&mut self, link: &Link<C>, context: C, message: Message<'_>, last: bool);

    /// A CANCEL of one of the peer's requests that is still open.
    fn cancel(&mut self, link: &Link<C>, request: u32);

    /// What a PONG says of us.
    fn load(&mut self) -> Pong;

    /// What a PONG says of the peer.
    fn peer_load(&mut self, pong: Pong);
}

impl<C: Clone + Send + 'static> Link<C> {
    /// The other side.
    pub fn peer(&self) -> &Peer {
        &self.0.peer
    }

    /// Whether the peer takes a message as long as this one.
    pub fn takes(&self, message: &Message<'_>) -> bool {
        let allowed = self.peer().payload_bytes_max;
        // Most take whatever can be said, which then need not be encoded to be measured.
        allowed >= limits::PAYLOAD_BYTES_MAX || message.payload().len() <= allowed as usize
    }

    /// Sends a request; its answers come to the handler with `context`.
    pub fn request(&self, message: &Message<'_>, context: C) -> Result<u32, Unsent> {
        // The id is drawn and the frame queued under one lock: ids leave in the order in which they grow.
        let mut session = self.session();
        let request = session.open(message.message_type(), Some(context)).ok_or(Unsent)?;
        self.queue(message.draft(request, false)).map(|()| request)
    }

    /// Sends a PUT whose object bytes stay where they are, and a request behind it, whose id is told. Where both are small they
    /// leave together, and their reader is woken once.
    pub fn put_before(
        &self,
        piece: &SharedPiece<'_>,
        of_piece: C,
        message: &Message<'_>,
        context: C,
    ) -> Result<u32, Unsent> {
        let mut session = self.session();
        let put = session.open(MessageType::Put, Some(of_piece)).ok_or(Unsent)?;
        let request = session.open(message.message_type(), Some(context)).ok_or(Unsent)?;
        let frames = [piece.draft(MessageType::Put, put), message.draft(request, false)];
        if frames.iter().map(Draft::payload_bytes).sum::<usize>() <= IN_ONE_GO_BYTES_MAX {
            return self.queue_all(frames.into()).map(|()| request);
        }
        frames.into_iter().try_for_each(|frame| self.queue(frame)).map(|()| request)
    }

    /// Answers the peer's request for good. A request that is not open is left alone: it was answered before. An answer that
    /// is longer than the peer takes becomes an ERROR that says so.
    pub fn answer(&self, request: u32, message: &Message<'_>) -> Result<(), Unsent> {
        if !self.session().answered(request) {
            return Ok(());
        }
        let (frame, allowed) = (message.draft(request, false), self.peer().payload_bytes_max);
        let got = frame.payload_bytes();
        if got <= allowed as usize {
            return self.queue(frame);
        }
        let text = format!("the answer, {}, has {got} bytes, and you take {allowed}", message.message_type());
        let error = Error::new(ErrorCode::FrameTooLarge, message.message_type() as u8, text);
        self.queue(Message::from(error.with_numbers(got as u64, allowed.into())).draft(request, false))
    }

    /// Answers a FETCH with bytes that stay where they are.
    pub fn answer_data(&self, request: u32, piece: &SharedPiece<'_>) -> Result<(), Unsent> {
        if !self.session().answered(request) {
            return Ok(());
        }
        self.queue(piece.draft(MessageType::Data, request))
    }

    /// Answers the peer's request; more follows.
    pub fn answer_more(&self, request: u32, message: &Message<'_>) -> Result<(), Unsent> {
        if !self.session().is_open(request) {
            return Ok(());
        }
        self.queue(message.draft(request, true))
    }

    /// Answers the peer's request with many messages, none longer than the peer takes; more follows. However many they are,
    /// they take few places among the frames that may wait.
    pub fn answer_many<'m>(&self, request: u32, messages: impl IntoIterator<Item = Message<'m>>) -> Result<(), Unsent> {
        const BATCH_BYTES: usize = 64 << 10;
        if !self.session().is_open(request) {
            return Ok(());
        }
        let (mut batch, mut batch_bytes) = (Vec::new(), 0);
        for message in messages {
            let frame = message.draft(request, true);
            batch_bytes += frame.payload_bytes();
            batch.push(frame);
            if batch_bytes >= BATCH_BYTES {
                self.hand_over(std::mem::take(&mut batch))?;
                batch_bytes = 0;
            }
        }
        if batch.is_empty() { Ok(()) } else { self.hand_over(batch) }
    }

    /// Has something done once all that waits has left; never, if the connection ends before. It is done on the writer's
    /// thread, or at once on this one, and must not wait.
    pub fn when_sent(&self, sent: impl FnOnce() + Send + 'static) {
        self.0.outbox.when_empty(Box::new(sent));
    }

    /// Sends a message that stands alone.
    pub fn send(&self, message: &Message<'_>) -> Result<(), Unsent> {
        self.queue(message.draft(0, false))
    }

    /// Says goodbye and closes once what is queued has left. The reader ends with `reason`.
    pub fn close(&self, reason: &str) {
        self.note(reason);
        let _ = self.send(&Goodbye { text: reason.to_owned() }.into());
        self.0.outbox.close();
    }

    /// Whether the peer's request still waits for its final answer.
    pub fn is_open(&self, request: u32) -> bool {
        self.session().is_open(request)
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    #[inline(never)] // Locking takes more code than a call, and is done in many places.
    fn session(&self) -> MutexGuard<'_, Session<Option<C>>> {
        // A panic elsewhere leaves the session's tables whole: each call changes them in one step.
        self.0.session.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn queue(&self, frame: Draft) -> Result<(), Unsent> {
        self.queue_all(vec![frame])
    }

    fn queue_all(&self, frames: Vec<Draft>) -> Result<(), Unsent> {
        if self.is_closed() {
            return Err(Unsent);
        }
        // Pieces and lists are cut to what the peer takes. What cannot be cut cannot be said to it.
        let allowed = self.peer().payload_bytes_max;
        if let Some(got) = frames.iter().map(Draft::payload_bytes).find(|&got| got > allowed as usize) {
            self.cut(&format!("it takes payloads of {allowed} bytes at most, and one of {got} was to be sent"));
            return Err(Unsent);
        }
        self.hand_over(frames)
    }

    /// Frames that leave one behind the other. They are sealed in the outbox, in the order in which they leave.
    fn hand_over(&self, frames: Vec<Draft>) -> Result<(), Unsent> {
        match self.0.outbox.put(frames, &self.0.stream, &self.0.counters) {
            Ok(()) => Ok(()),
            Err(NotTaken::Closing) => Err(Unsent),
            Err(NotTaken::Full) => {
                self.cut("it does not read what it is sent");
                Err(Unsent)
            }
            Err(NotTaken::Failed(error)) => {
                self.cut(&format!("writing to it failed: {error}"));
                Err(Unsent)
            }
        }
    }

    /// Closes at once.
    fn cut(&self, reason: &str) {
        self.note(reason);
        self.0.closed.store(true, Ordering::Release);
        let _ = self.0.stream.shutdown(Shutdown::Both);
    }

    /// The first reason given is the one that counts: what follows is its consequence.
    fn note(&self, reason: &str) {
        let mut noted = self.0.reason.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        noted.get_or_insert_with(|| reason.to_owned());
    }
}

/// A piece of an object whose bytes stay where they are.
pub struct SharedPiece<'a> {
    /// The object.
    pub digest: &'a crate::digest::Digest,
    /// Its size.
    pub object_bytes: u64,
    /// Where the piece begins.
    pub offset: u64,
    /// The piece.
    pub bytes: SharedBytes,
}

impl SharedPiece<'_> {
    fn draft(&self, kind: MessageType, request: u32) -> Draft {
        let bytes = self.bytes.clone();
        crate::wire::message::Piece::draft_shared(kind, request, self.digest, self.object_bytes, self.offset, bytes)
    }
}

/// The reading half: whoever runs it owns the thread.
pub struct LinkReader<C> {
    link: Link<C>,
    decoder: Decoder,
    writer: JoinHandle<()>,
}

/// Opens a greeted connection: starts its writer; the caller runs the reader.
pub fn open<C: Clone + Send + 'static>(greeted: Greeted) -> io::Result<(Link<C>, LinkReader<C>)> {
    let Greeted { stream, decoder, me, dialled, counters, peer } = greeted;
    let session = Session::new(me, peer.role, dialled, deadline::now());
    stream.set_write_timeout(Some(WRITE_TICK))?;
    let name = format!("write {}", peer.address);
    let link = Link(Arc::new(Shared {
        peer,
        stream,
        session: Mutex::new(session),
        outbox: Outbox::of(me),
        counters,
        closed: AtomicBool::new(false),
        reason: Mutex::new(None),
    }));
    let noting = link.clone();
    let writer = Builder::new().name(name).stack_size(THREAD_STACK_BYTES).spawn(move || {
        if let Err(error) = noting.0.outbox.write_all(&noting.0.stream, &noting.0.counters) {
            let reason = if error.kind() == ErrorKind::TimedOut {
                "it takes nothing of what it is sent".to_owned()
            } else {
                format!("writing to it failed: {error}")
            };
            noting.cut(&reason);
        } else {
            // All is sent. The reader ends when the peer has read it and closes, or when its own time is up.
            let _ = noting.0.stream.shutdown(Shutdown::Write);
            noting.0.closed.store(true, Ordering::Release);
        }
    })?;
    let reader = LinkReader { link: link.clone(), decoder, writer };
    Ok((link, reader))
}

impl<C: Clone + Send + 'static> LinkReader<C> {
    /// Reads until the connection ends, and says why it did. The peer is told where it broke the rules.
    pub fn run(self, handler: &mut dyn Handler<C>) -> Closed {
        let LinkReader { link, mut decoder, writer } = self;
        // A panic is a bug of ours: it ends this connection as its peer's going would, and no other.
        let ended = catch_unwind(AssertUnwindSafe(|| read_frames(&link, &mut decoder, handler))).unwrap_or_else(|_| {
            counters::count(&link.0.counters.faults, 1);
            log::error!("a fault of this program's own ended the connection with {}", link.peer().address);
            End::Fault
        });
        if let End::Rule(error) = &ended {
            link.0.counters.refused(error.code);
        }
        let told = match &ended {
            End::Rule(error) => link.send(&error.clone().into()).is_ok(),
            End::Peer(_) | End::Fault => false,
        };
        // Noted before anything is refused for want of a connection: who closes it for that does not know why it ended.
        link.note(&match ended {
            End::Rule(error) => format!("it broke a rule: {error}"),
            End::Peer(why) => why,
            End::Fault => "a fault of this program's own ended it".to_owned(),
        });
        link.0.outbox.close();
        // What has been answered leaves first: a peer may have closed its sending half only. One that has closed both ends
        // the writing at once.
        let deadline = Deadline::after(FLUSH_WAIT);
        link.0.outbox.await_end(FLUSH_WAIT);
        if told {
            // The peer is to read why it is refused: what it still sends is taken in.
            drain(&link.0.stream, deadline);
        }
        link.cut("it has ended");
        let _ = writer.join();
        let reason = link.0.reason.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        Closed(reason.unwrap_or_else(|| "it hung up".to_owned()))
    }
}

enum End {
    /// The peer broke a rule, and is told so.
    Rule(Error),
    /// The connection ended.
    Peer(String),
    /// A panic.
    Fault,
}

fn read_frames<C: Clone + Send + 'static>(link: &Link<C>, decoder: &mut Decoder, handler: &mut dyn Handler<C>) -> End {
    let mut stream = &link.0.stream;
    let mut next_look = Duration::ZERO;
    let mut arrived = 0;
    let mut pinged = false;
    loop {
        // Frames first: some may have arrived behind the greeting.
        let mut now = deadline::now();
        if arrived > 0 {
            link.session().arrived(now, std::mem::take(&mut arrived));
            // It lives: the next PING is due a second after its last sign, not when it would have been lost.
            if std::mem::take(&mut pinged) {
                next_look = Duration::ZERO;
            }
        }
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    if link.0.outbox.await_room() {
                        // It reads: that is a sign of life, too.
                        now = deadline::now();
                    }
                    if let Err(end) = receive(link, handler, now, frame) {
                        return end;
                    }
                }
                Ok(None) => break,
                Err(error) => return End::Rule(error.into()),
            }
        }
        if now >= next_look {
            let heartbeat = link.session().heartbeat(now);
            next_look = match heartbeat {
                Heartbeat::Quiet { until } => until,
                Heartbeat::Ping => {
                    pinged = true;
                    let mut session = link.session();
                    if let Some(request) = session.open(MessageType::Ping, None) {
                        let _ = link.queue(Message::from(Ping).draft(request, false));
                    }
                    continue;
                }
                Heartbeat::Lost => {
                    return End::Peer(format!("it was silent for {} s", limits::HEARTBEAT_LOST.as_secs()));
                }
            };
            let wait = next_look.saturating_sub(now).max(Duration::from_millis(1));
            if let Err(error) = stream.set_read_timeout(Some(wait)) {
                return End::Peer(error.to_string());
            }
        }
        match stream.read(decoder.room()) {
            Ok(0) => return End::Peer("it hung up".to_owned()),
            Ok(count) => {
                decoder.filled(count);
                counters::count(&link.0.counters.bytes_received, count);
                arrived = count;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The socket's clock and ours may differ by a hair.
            Err(error) if deadline::is_timeout(&error) => next_look = Duration::ZERO,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return End::Peer("it was ended in mid-connection".to_owned());
            }
            Err(error) => return End::Peer(format!("reading from it failed: {error}")),
        }
    }
}

fn receive<C: Clone + Send + 'static>(
    link: &Link<C>,
    handler: &mut dyn Handler<C>,
    now: Duration,
    frame: Frame<'_>,
) -> Result<(), End> {
    let header = frame.header;
    counters::count(&link.0.counters.frames_received, 1);
    let incoming = link.session().receive(now, &header).map_err(|violation| End::Rule(violation.into()))?;
    match judge::frame(incoming, &frame).map_err(End::Rule)? {
        Judged::Request(Message::Ping(Ping)) => {
            let _ = link.answer(header.request, &handler.load().into());
        }
        Judged::Request(message) => handler.request(link, header.request, message).map_err(End::Rule)?,
        Judged::Refused(error) => {
            let _ = link.answer(header.request, &error.into());
        }
        Judged::Answer { context: Some(context), message, last } => handler.answer(link, context, message, last),
        Judged::Answer { context: None, message: Message::Pong(pong), .. } => handler.peer_load(pong),
        Judged::Answer { context: None, .. } => {}
        Judged::Alone(Message::Cancel(cancel)) if link.session().is_open(cancel.request) => {
            handler.cancel(link, cancel.request);
        }
        Judged::Alone(Message::Goodbye(goodbye)) => {
            return Err(End::Peer(format!("it said goodbye: {}", goodbye.text)));
        }
        Judged::Alone(Message::Error(error)) => return Err(End::Peer(format!("it closed: {error}"))),
        Judged::Alone(_) => {}
        Judged::Skipped => counters::count(&link.0.counters.frames_skipped, 1),
    }
    Ok(())
}

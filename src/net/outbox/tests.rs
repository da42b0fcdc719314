//! Frames on their way out over sockets of this machine, whose peers read slowly, or not at all.

use std::io::Read as _;
use std::net::TcpListener;
use std::thread;

use super::*;
use crate::wire::Message;
use crate::wire::message::{Have, Ping};

fn ends() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (dialled, listener.accept().unwrap().0)
}

fn large() -> Message<'static> {
    Have { digests: vec![crate::digest::Digest([7; 32]); limits::HAVE_DIGESTS_MAX] }.into()
}

/// Ends the writer, and with it whoever waits for it, however a test ends: else one that fails would never end.
struct EndsWriter<'a>(&'a Outbox, &'a TcpStream);

impl Drop for EndsWriter<'_> {
    fn drop(&mut self) {
        self.0.close();
        let _ = self.1.shutdown(std::net::Shutdown::Both);
    }
}

#[test]
fn who_asks_for_more_than_he_reads_is_waited_for() {
    let (mut reading, writing) = ends();
    reading.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (outbox, counters) = (Outbox::default(), Counters::default());
    assert!(!outbox.await_room());
    let frame = large().seal(1, false).to_bytes();
    // The socket takes the first of them.
    let mut frames = 0;
    while outbox.waiting().own_bytes <= limits::UNREAD_BYTES_MAX {
        outbox.put(vec![large().draft(2 * frames as u32 + 1, false)], &writing, &counters).unwrap();
        frames += 1;
    }
    let (begins, has_begun) = std::sync::mpsc::channel();
    let (ends, has_ended) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let outbox = &outbox;
        let waiter = scope.spawn(move || {
            begins.send(()).unwrap();
            outbox.await_room();
            let _ = ends.send(outbox.waiting().own_bytes);
        });
        let ends_writer = EndsWriter(outbox, &writing);
        // One that came when all has left would wait for nothing.
        has_begun.recv().unwrap();
        assert!(!waiter.is_finished(), "nothing is read yet");
        scope.spawn(|| outbox.write_all(&writing, &counters));
        let mut bytes = vec![0; frames * frame.len()];
        reading.read_exact(&mut bytes).unwrap();
        // One whom nobody wakes goes on when the writer ends, too late for this.
        let own_bytes = has_ended.recv_timeout(Duration::from_secs(60)).expect("nobody has woken him");
        let has_waited = outbox.await_room();
        drop(ends_writer);
        assert!(own_bytes <= limits::UNREAD_BYTES_MAX);
        assert!(!has_waited, "all has left");
    });
}

#[test]
fn who_waits_for_a_writer_that_has_ended_goes_on_and_learns_that_he_had_to() {
    let outbox = Outbox::default();
    outbox.waiting().own_bytes = limits::UNREAD_BYTES_MAX + 1;
    outbox.waiting().has_ended = true;
    assert!(outbox.await_room());
}

#[test]
fn who_has_more_to_send_is_told_when_all_has_left_and_not_before() {
    let (mut reading, writing) = ends();
    let (outbox, counters) = (Outbox::default(), Counters::default());
    let (tell, told) = crossbeam_channel::unbounded();
    let when_empty = |number: u32| {
        let tell = tell.clone();
        outbox.when_empty(Box::new(move || tell.send(number).unwrap()));
    };
    when_empty(1);
    assert_eq!(told.try_recv(), Ok(1), "nothing waits");
    let frame = large().seal(1, false).to_bytes();
    let mut frames = 0;
    while outbox.waiting().frames.is_empty() {
        outbox.put(vec![large().draft(2 * frames as u32 + 1, false)], &writing, &counters).unwrap();
        frames += 1;
    }
    when_empty(2);
    assert!(told.try_recv().is_err(), "the socket is full");
    thread::scope(|scope| {
        let writer = scope.spawn(|| outbox.write_all(&writing, &counters));
        let mut bytes = vec![0; frames * frame.len()];
        reading.read_exact(&mut bytes).unwrap();
        let heard = told.recv_timeout(Duration::from_secs(30));
        // Before anything can fail: the writer would never end.
        outbox.close();
        assert_eq!(heard, Ok(2));
        writer.join().unwrap().unwrap();
    });
    when_empty(3);
    assert!(told.try_recv().is_err(), "nothing is sent any more");
}

#[test]
fn frames_that_leave_together_are_whole_in_their_order_and_counted_singly() {
    let (mut reading, writing) = ends();
    let (outbox, counters) = (Outbox::default(), Counters::default());
    let expected = [large().seal(1, false).to_bytes(), Message::from(Ping).seal(3, false).to_bytes()].concat();
    outbox.put(vec![large().draft(1, false), Message::from(Ping).draft(3, false)], &writing, &counters).unwrap();
    let mut bytes = vec![0; expected.len()];
    reading.read_exact(&mut bytes).unwrap();
    assert!(bytes == expected);
    assert_eq!(counters.frames_sent.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[test]
fn frames_leave_whole_and_in_their_order_whoever_sends_them() {
    let (mut reading, writing) = ends();
    let (outbox, counters) = (Outbox::default(), Counters::default());
    let mut expected = Vec::new();
    thread::scope(|scope| {
        let writer = scope.spawn(|| outbox.write_all(&writing, &counters));
        let reader = scope.spawn(move || {
            let mut bytes = Vec::new();
            reading.read_to_end(&mut bytes).unwrap();
            bytes
        });
        for number in 1..=1_000 {
            // Large ones fill the socket, so that small ones find something before them, or half their way.
            let message = if number % 7 == 0 { large() } else { Message::from(Ping) };
            expected.extend(message.seal(2 * number + 1, false).to_bytes());
            outbox.put(vec![message.draft(2 * number + 1, false)], &writing, &counters).unwrap();
        }
        outbox.close();
        assert!(matches!(
            outbox.put(vec![Message::from(Ping).draft(1, false)], &writing, &counters),
            Err(NotTaken::Closing)
        ));
        outbox.await_end(Duration::from_secs(30));
        writer.join().unwrap().unwrap();
        writing.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(reader.join().unwrap() == expected, "the bytes are others, or in another order");
    });
}

/// Waking the writer for a few shared bytes, as for the weights of a small network, costs more than sending them, and
/// what is sent next would queue behind them.
#[cfg(target_os = "linux")]
#[test]
fn a_small_frame_of_shared_bytes_leaves_at_once() {
    use crate::wire::message::Piece;

    let (mut reading, writing) = ends();
    let (outbox, counters) = (Outbox::default(), Counters::default());
    let put = |count: usize| {
        let bytes = std::sync::Arc::new(vec![7; count]);
        let shared = SharedBytes::new(bytes.clone(), 0..count).unwrap();
        let digest = crate::digest::Digest::of(&bytes);
        let frame = Piece::draft_shared(crate::wire::MessageType::Put, 1, &digest, count as u64, 0, shared);
        let expected = frame.clone().seal().to_bytes();
        outbox.put(vec![frame], &writing, &counters).unwrap();
        (expected, outbox.waiting().frames.len())
    };
    // There is no writer here.
    let (expected, waiting) = put(1_000);
    assert_eq!(waiting, 0);
    let mut got = vec![0; expected.len()];
    reading.read_exact(&mut got).unwrap();
    assert!(got == expected, "other bytes have left");
    assert_eq!(put(AT_ONCE_BYTES_MAX).1, 1, "a large one is the writer's");
}

#[test]
fn whoever_has_all_of_shared_bytes_finds_their_memory_free() {
    use crate::wire::message::Piece;

    let (mut reading, writing) = ends();
    let (outbox, counters) = (Outbox::default(), Counters::default());
    thread::scope(|scope| {
        let _ends_writer = EndsWriter(&outbox, &writing);
        scope.spawn(|| outbox.write_all(&writing, &counters));
        for round in 0..100 {
            let bytes = std::sync::Arc::new(vec![round; 2 * AT_ONCE_BYTES_MAX]);
            let shared = SharedBytes::new(bytes.clone(), 0..bytes.len()).unwrap();
            let digest = crate::digest::Digest([round; 32]);
            let object_bytes = bytes.len() as u64;
            let frame = Piece::draft_shared(crate::wire::MessageType::Data, 1, &digest, object_bytes, 0, shared);
            let expected = frame.clone().seal().to_bytes();
            outbox.put(vec![frame], &writing, &counters).unwrap();
            let mut got = vec![0; expected.len()];
            reading.read_exact(&mut got).unwrap();
            assert_eq!(std::sync::Arc::strong_count(&bytes), 1, "frame {round}");
            assert!(got == expected, "other bytes have left");
        }
    });
}

/// A coordinator lets go of the weights of a step that is over, however slow one of its nodes is: else each such node would hold
/// those of another step. Before, there is nothing to be had for the copy.
#[cfg(feature = "coordinator")]
#[test]
fn a_peer_that_does_not_read_keeps_no_shared_bytes_that_are_wanted_back_and_gets_them_all_the_same() {
    use crate::wire::message::Piece;

    let (mut reading, writing) = ends();
    writing.set_write_timeout(Some(WRITE_TICK)).unwrap();
    let (outbox, counters) = (Outbox::of(Role::Coordinator), Counters::default());
    assert!(outbox.gives_back && !Outbox::of(Role::Node).gives_back);
    let object = std::sync::Arc::new((0..32 << 20).map(|index| (index % 251) as u8).collect::<Vec<u8>>());
    let piece = |number: usize| {
        let range = number << 18..(number + 1) << 18;
        let (digest, offset) = (crate::digest::Digest([7; 32]), range.start as u64);
        let shared = SharedBytes::new(object.clone(), range).unwrap();
        let kind = crate::wire::MessageType::Data;
        Piece::draft_shared(kind, 2 * number as u32 + 1, &digest, object.len() as u64, offset, shared)
    };
    // More than the system takes in, and no more than is copied beside it.
    let mut expected: Vec<u8> = Vec::new();
    let put = |number: usize, expected: &mut Vec<u8>| {
        expected.extend(piece(number).seal().to_bytes());
        outbox.put(vec![piece(number)], &writing, &counters).unwrap();
    };
    let held = || std::sync::Arc::strong_count(&object) - 1;
    thread::scope(|scope| {
        let _ends_writer = EndsWriter(&outbox, &writing);
        scope.spawn(|| outbox.write_all(&writing, &counters));
        let mut count = 0;
        while outbox.waiting().frames.len() < 8 {
            put(count, &mut expected);
            count += 1;
            thread::yield_now();
            // What the socket takes is gone at once: no more is asked for before it is.
            let deadline = Instant::now() + Duration::from_millis(50);
            while held() > 0 && Instant::now() < deadline {
                thread::yield_now();
            }
        }
        thread::sleep(2 * WRITE_TICK);
        assert!(!outbox.waiting().is_slow && held() >= 8, "what nobody wants back is copied");
        let _owner = [(); 2].map(|()| std::sync::Arc::downgrade(&object));
        let deadline = Instant::now() + Duration::from_secs(60);
        while !outbox.waiting().is_slow {
            assert!(Instant::now() < deadline, "{} pieces keep the object", held());
            // The writer may have lost the processor before, and the socket have taken all.
            if outbox.waiting().frames.len() < 8 {
                put(count, &mut expected);
                count += 1;
            }
            thread::yield_now();
        }
        assert_eq!(held(), 0, "what waits keeps the object");
        put(count, &mut expected);
        assert_eq!(held(), 0, "what comes meanwhile does not keep it either");
        let mut bytes = vec![0; expected.len()];
        reading.read_exact(&mut bytes).unwrap();
        assert!(bytes == expected, "other bytes have left");
    });
}

#[test]
fn a_peer_that_does_not_read_fills_the_box_and_nobody_waits_for_it() {
    let (_reading, writing) = ends();
    let (outbox, counters) = (Outbox::default(), Counters::default());
    let put = |_| outbox.put(vec![large().draft(1, false)], &writing, &counters);
    // The socket takes the first of them.
    let refused = (0..=2 * FRAMES_MAX).map(put).find_map(Result::err);
    assert!(matches!(refused, Some(NotTaken::Full)), "{refused:?}");
    // One small frame after the other fills the socket first.
    let outbox = Outbox::default();
    let put = |_| outbox.put(vec![Message::from(Ping).draft(1, false)], &writing, &counters);
    let refused = (0..10_000_000).map(put).find_map(Result::err);
    assert!(matches!(refused, Some(NotTaken::Full)), "{refused:?}");
}

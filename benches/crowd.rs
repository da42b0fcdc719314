//! A coordinator in a crowd: what a job loses while thousands of connections idle, drip and storm at its coordinator, and
//! how long a person waits for the status of a large fleet. Each figure beside its bound, and `ok` or `MISSED`.
//!
//! `cargo bench --bench crowd [-- storm | status]`; a minute and a half in all. All on loopback, from several of its
//! addresses. Linux only: it reads /proc. With `taskset` there, the nodes run on one core, as if on machines of their own,
//! and the coordinator shares another with the crowd that bothers it. What the crowd costs the coordinator is shown as
//! processor time: on a machine that trains on the same core too, the job loses as much of it.
//!
//! The storm's bounds are those of a quiet machine; the honest clients come from an address of their own, as they do
//! in life, and from the storm's, where nobody has promised them anything.

mod common;
#[allow(dead_code, reason = "another bench uses the rest")]
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use common::clients::Client;
use common::processes::{Holdings, holdings, pin, processor_time};
use common::servers::{Coordinator, nodes};
use gradwire::compute;
use gradwire::wire::message::{Features, Hello, Pong};
use gradwire::wire::{Decoder, Message, MessageType, Role, VERSION, limits};
use socket2::{Domain, Socket, Type};

/// Clients that are greeted and then only answer their heartbeat.
const IDLE: usize = 5_000;
/// Peers that send their greeting at one byte a second.
const DRIPS: usize = 100;
/// Connections begun each second during the storm.
const STORM_PER_SECOND: u32 = 500;
/// How long the storm lasts.
const STORM: Duration = Duration::from_secs(30);
/// How long the job is measured in quiet, before and after.
const QUIET: Duration = Duration::from_secs(10);
/// Nodes whose status a person asks for.
const NODES: usize = 1_000;

fn main() -> ExitCode {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let mut report = Report { missed: false };
    for (name, figures) in [("storm", storm as fn(&mut Report) -> io::Result<()>), ("status", status)] {
        if wanted.as_deref().is_none_or(|wanted| wanted == name)
            && let Err(error) = figures(&mut report)
        {
            eprintln!("{name} cannot be measured: {error}");
            report.missed = true;
        }
    }
    if report.missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

struct Report {
    missed: bool,
}

impl Report {
    fn figure(&mut self, what: &str, got: impl std::fmt::Display, bound: &str, is_kept: bool) -> io::Result<()> {
        self.missed |= !is_kept;
        let word = if is_kept { "ok" } else { "MISSED" };
        writeln!(io::stdout().lock(), "{what:62} {got:>16}   {bound:22} {word}")
    }

    fn note(&self, what: &str, got: impl std::fmt::Display) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{what:62} {got:>16}")
    }
}

/// Connects from a loopback address of the caller's choice.
fn dial(address: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&address.into(), Duration::from_secs(5))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn hello() -> Vec<u8> {
    let hello = Hello {
        version_min: VERSION,
        version_max: VERSION,
        role: Role::Client,
        payload_bytes_max: limits::PAYLOAD_BYTES_MAX,
        id: [7; 16],
        nonce: [8; 32],
        features: Features::default(),
    };
    Message::from(hello).seal(0, false).to_bytes()
}

/// Dials, greets, and reads WELCOME.
fn greeted(address: SocketAddr, from: Ipv4Addr) -> io::Result<(TcpStream, Decoder)> {
    let mut stream = dial(address, from)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&hello())?;
    let mut decoder = Decoder::new(limits::PAYLOAD_BYTES_MAX);
    loop {
        let kind = decoder.next_frame().map_err(io::Error::other)?.map(|frame| frame.header.kind);
        match kind.map(MessageType::from_number) {
            Some(Some(MessageType::Welcome)) => return Ok((stream, decoder)),
            Some(other) => return Err(io::Error::other(format!("{other:?} instead of WELCOME"))),
            None => {}
        }
        match stream.read(decoder.room())? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => decoder.filled(count),
        }
    }
}

/// Answers the heartbeats of the greeted connections that it is given, until told to stop. Returns how many have ended
/// before.
fn idle(arriving: &Receiver<(TcpStream, Decoder)>, stop: &AtomicBool) -> usize {
    let (mut connections, mut count): (Vec<(TcpStream, Decoder, bool)>, _) = (Vec::new(), 0);
    while !stop.load(Ordering::Acquire) {
        let arrived = connections.len();
        connections.extend(arriving.try_iter().map(|(stream, decoder)| (stream, decoder, true)));
        count += connections.len() - arrived;
        // A slice at a time: peers that are strangers to each other do not answer all at once.
        let slice = connections.len() / 64 + 1;
        for chunk in connections.chunks_mut(slice) {
            for (stream, decoder, is_open) in chunk {
                *is_open = *is_open && answer_pings(stream, decoder).is_ok();
            }
            thread::sleep(Duration::from_millis(3));
        }
        connections.retain(|(_, _, is_open)| *is_open);
    }
    count - connections.len()
}

fn answer_pings(stream: &mut TcpStream, decoder: &mut Decoder) -> io::Result<()> {
    match stream.read(decoder.room()) {
        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
        Ok(count) => decoder.filled(count),
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
    }
    while let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
        if frame.header.kind == MessageType::Ping as u8 {
            let request = frame.header.request;
            stream.write_all(&Message::from(Pong::default()).seal(request, false).to_bytes())?;
        }
    }
    Ok(())
}

/// Sends greetings at one byte a second, each from the beginning again when it is hung up on. Returns the longest
/// life of one that was not greeted.
fn drip(address: SocketAddr, stop: &AtomicBool) -> Duration {
    struct Drip {
        from: Ipv4Addr,
        stream: Option<TcpStream>,
        began: Instant,
        sent: usize,
    }
    let greeting = hello();
    let mut drips: Vec<Drip> = (0..DRIPS as u8)
        .map(|index| Drip { from: Ipv4Addr::new(127, 0, 1, 1 + index), stream: None, began: Instant::now(), sent: 0 })
        .collect();
    let mut longest = Duration::ZERO;
    let mut next_byte = Instant::now();
    while !stop.load(Ordering::Acquire) {
        let is_due = Instant::now() >= next_byte;
        if is_due {
            next_byte += Duration::from_secs(1);
        }
        for drip in &mut drips {
            let has_ended = drip.stream.as_mut().is_some_and(|stream| match stream.read(&mut [0; 256]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                // Its ERROR and then its end: both mean that it is over.
                _ => true,
            });
            if has_ended {
                longest = longest.max(drip.began.elapsed());
                drip.stream = None;
            }
            if is_due {
                if drip.stream.is_none() {
                    drip.began = Instant::now();
                    drip.sent = 0;
                    drip.stream = dial(address, drip.from).ok().filter(|stream| stream.set_nonblocking(true).is_ok());
                }
                if let Some(stream) = &mut drip.stream {
                    let _ = stream.write(&greeting[drip.sent..=drip.sent]);
                    drip.sent = (drip.sent + 1) % greeting.len();
                }
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    let alive = drips.iter().filter(|drip| drip.stream.is_some()).map(|drip| drip.began.elapsed());
    alive.fold(longest, Duration::max)
}

/// Connects at the storm's rate, from a few addresses, each time with another bad habit; says how many there were.
fn rage(address: SocketAddr, stop: &AtomicBool) -> u64 {
    let greeting = hello();
    let mut held = VecDeque::new();
    let began = Instant::now();
    let mut count = 0;
    while !stop.load(Ordering::Acquire) {
        let due = began + Duration::from_secs(1) * count / STORM_PER_SECOND;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let from = Ipv4Addr::new(127, 0, 2, 1 + (count % 32) as u8);
        if let Ok(mut stream) = dial(address, from) {
            let said: &[u8] = match count % 8 {
                0 => b"",
                1 => &greeting[..30],
                2 => b"\xF5\x47\x52\x58 garbage",
                3 => b"status\n",
                4 => b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
                5 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                6 => &greeting,
                _ => b"stat",
            };
            let _ = stream.write_all(said);
            held.push_back(stream);
        }
        // Some hang up at once, the others only when they are hung up on or there are too many of them.
        if count % 3 == 0 || held.len() > 400 {
            held.pop_front();
        }
        count += 1;
    }
    u64::from(count)
}

/// Connects and greets four times a second. Returns the longest time that it took, and how often it failed.
fn honest(address: SocketAddr, from: Ipv4Addr, stop: &AtomicBool) -> (Duration, u32, u32) {
    let (mut longest, mut failed, mut tried) = (Duration::ZERO, 0, 0);
    while !stop.load(Ordering::Acquire) {
        let began = Instant::now();
        tried += 1;
        match greeted(address, from) {
            Ok(_) => longest = longest.max(began.elapsed()),
            Err(_) => failed += 1,
        }
        thread::sleep(Duration::from_millis(250));
    }
    (longest, failed, tried)
}

/// Tasks that the coordinator has merged. A storm from many addresses may take the place of who asks: he asks again.
fn tasks_merged(address: SocketAddr) -> io::Result<f64> {
    let mut asked = metrics_say(address);
    for _ in 0..20 {
        if asked.is_ok() {
            break;
        }
        asked = metrics_say(address);
    }
    asked
}

/// The same, asked once.
fn metrics_say(address: SocketAddr) -> io::Result<f64> {
    let mut stream = dial(address, Ipv4Addr::new(127, 0, 3, 1))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let value = text.lines().find_map(|line| line.strip_prefix("gradwire_tasks_merged_total "));
    value
        .and_then(|value| value.parse().ok())
        .ok_or(io::Error::other("the metrics do not say how many tasks were merged"))
}

/// Tasks merged in a second, over so long.
fn pace(address: SocketAddr, over: Duration) -> io::Result<f64> {
    let (began, before) = (Instant::now(), tasks_merged(address)?);
    thread::sleep(over);
    let after = tasks_merged(address)?;
    Ok((after - before) / began.elapsed().as_secs_f64())
}

/// A job amid idle connections, drips and a storm.
fn storm(report: &mut Report) -> io::Result<()> {
    let fleet = nodes(2, "0", &[]);
    let coordinator = Coordinator::of("2", &fleet, &["--connections", "6000"]);
    let address = SocketAddr::from(([127, 0, 0, 1], coordinator.port));
    let mut job = Client::start(&coordinator, &["--rounds", "1000000", "--epochs", "12"]);
    let is_pinned = thread::available_parallelism()?.get() > 1
        && fleet.iter().all(|node| pin(node.pid(), 0))
        && [coordinator.pid(), std::process::id()].iter().all(|&pid| pin(pid, 1));
    report.note("nodes on core 0, coordinator and crowd on core 1", if is_pinned { "yes" } else { "no" })?;
    job.await_round();
    job.await_round();
    let at_rest = holdings(coordinator.pid())?;
    let quiet_before = pace(address, QUIET)?;

    let stop = AtomicBool::new(false);
    let (stormy, drip_longest, raged, own, shared, lost, in_storm, spent) = thread::scope(|scope| {
        let stop = &stop;
        let (arrive, arriving) = channel();
        let idlers = scope.spawn(move || idle(&arriving, stop));
        for index in 0..IDLE {
            let greeted = greeted(address, Ipv4Addr::new(127, 1, (index / 200) as u8, 1));
            if let Some(error) = greeted.and_then(|idle| idle.0.set_nonblocking(true).map(|()| arrive.send(idle))).err()
            {
                stop.store(true, Ordering::Release);
                return Err(error);
            }
        }
        let drips = scope.spawn(move || drip(address, stop));
        let rager = scope.spawn(move || rage(address, stop));
        let own = scope.spawn(move || honest(address, Ipv4Addr::new(127, 0, 4, 1), stop));
        let shared = scope.spawn(move || honest(address, Ipv4Addr::new(127, 0, 2, 1), stop));
        let spent_before = processor_time(coordinator.pid());
        let stormy = pace(address, STORM);
        let spent = processor_time(coordinator.pid()).and_then(|spent| Ok(spent - spent_before?));
        let in_storm = holdings(coordinator.pid());
        stop.store(true, Ordering::Release);
        let joined = |what: &str| io::Error::other(format!("{what} met a fault of its own"));
        Ok::<_, io::Error>((
            stormy?,
            drips.join().map_err(|_| joined("the drip"))?,
            rager.join().map_err(|_| joined("the storm"))?,
            own.join().map_err(|_| joined("the honest client"))?,
            shared.join().map_err(|_| joined("the honest client"))?,
            idlers.join().map_err(|_| joined("the idle crowd"))?,
            in_storm?,
            spent?,
        ))
    })?;
    let quiet_after = pace(address, QUIET)?;
    // Everything that was held is closed; threads end within their deadlines.
    let (mut settled, deadline) = (holdings(coordinator.pid())?, Instant::now() + Duration::from_secs(15));
    while (settled.threads > at_rest.threads || settled.descriptors > at_rest.descriptors) && Instant::now() < deadline
    {
        thread::sleep(Duration::from_millis(100));
        settled = holdings(coordinator.pid())?;
    }
    job.kill();

    let quiet = (quiet_before + quiet_after) / 2.0;
    report.note(
        "tasks a second: quiet before, in the storm, quiet after",
        format!("{quiet_before:.1} {stormy:.1} {quiet_after:.1}"),
    )?;
    let ratio = stormy / quiet;
    report.figure("job's pace in the storm, of the quiet one", format!("{ratio:.3}"), "at least 0.9", ratio >= 0.9)?;
    let share = format!("{:.0} %", 100.0 * spent.as_secs_f64() / STORM.as_secs_f64());
    report.note("coordinator's processor time in the storm, of a core", share)?;
    report.note("connections of the storm", raged)?;
    report.figure("idle connections that were lost", lost, "none", lost == 0)?;
    let is_quick =
        |(longest, failed, tried): (Duration, u32, u32)| failed == 0 && tried > 0 && longest < Duration::from_secs(1);
    let told =
        |(longest, failed, tried): (Duration, u32, u32)| format!("{} ms, {failed}/{tried} failed", longest.as_millis());
    report.figure("an honest client connects, longest", told(own), "below 1 s", is_quick(own))?;
    report.note("the same from an address of the storm", told(shared))?;
    let drip_allowed = limits::GREETING_WAIT + Duration::from_millis(700);
    let drip_kept = drip_longest <= drip_allowed;
    report.figure("a drip is hung up on after", format!("{drip_longest:.2?}"), "2 s, within a beat", drip_kept)?;
    report
        .note("coordinator in the storm", format!("{} MiB, {} threads", in_storm.memory_kib >> 10, in_storm.threads))?;
    let is_back = settled.threads <= at_rest.threads && settled.descriptors <= at_rest.descriptors;
    let of = |held: Holdings| format!("{} threads, {} fds", held.threads, held.descriptors);
    report.figure("threads and descriptors afterwards", of(settled), &of(at_rest), is_back)?;
    let grown_mib = (settled.memory_kib as f64 - at_rest.memory_kib as f64) / 1024.0;
    report.figure(
        "memory afterwards, beyond that before",
        format!("{grown_mib:.1} MiB"),
        "at most 16 MiB",
        grown_mib <= 16.0,
    )
}

/// The status of a large fleet.
fn status(report: &mut Report) -> io::Result<()> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let fleet: Result<Vec<_>, _> = (0..NODES).map(|_| compute::Node::start(&compute::Settings::new(any))).collect();
    let fleet = fleet.map_err(io::Error::other)?;
    let ports: Vec<u16> = fleet.iter().map(|node| node.address().port()).collect();
    let coordinator = Coordinator::start("2", &ports, &[]);
    let all = format!("{NODES} of {NODES} active");
    coordinator.await_status("a linked fleet", Duration::from_secs(60), |status| status.contains(&all));
    let address = SocketAddr::from(([127, 0, 0, 1], coordinator.port));
    let mut asked: Vec<Duration> = Vec::new();
    let mut stream = TcpStream::connect(address)?;
    let mut lines = 0;
    for _ in 0..50 {
        let began = Instant::now();
        // The pong is the answer's end.
        stream.write_all(b"status\nping\n")?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\npong\n") {
            let mut buffer = [0; 64 << 10];
            match stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => answer.extend_from_slice(&buffer[..count]),
            }
        }
        asked.push(began.elapsed());
        lines = answer.iter().filter(|&&byte| byte == b'\n').count();
        thread::sleep(Duration::from_millis(20));
    }
    stream.shutdown(Shutdown::Both)?;
    asked.sort();
    let (median, longest) = (asked[asked.len() / 2], asked[asked.len() - 1]);
    report.note("lines of the answer", lines)?;
    let what = format!("status with {NODES} linked nodes: median of {}", asked.len());
    report.figure(&what, format!("{median:.2?}"), "below 5 ms", median < Duration::from_millis(5))?;
    report.note("the longest of them", format!("{longest:.2?}"))?;
    drop(fleet);
    Ok(())
}

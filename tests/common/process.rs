//! A program as a child process: started, heard line by line, killed when dropped. Owns the waiting: for an event, with a
//! deadline. Does not know which program it is.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::iter;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// What should happen at once may take so long on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The lines that a child has written, and whether it may write more.
#[derive(Clone)]
pub struct Lines(Arc<(Mutex<Heard>, Condvar)>);

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    has_ended: bool,
}

impl Lines {
    /// Reads `source` on a thread of its own until it ends.
    pub fn of(source: impl Read + Send + 'static) -> Lines {
        let lines = Lines(Arc::default());
        let heard = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                heard.change(|heard| heard.lines.push(line));
            }
            heard.change(|heard| heard.has_ended = true);
        });
        lines
    }

    fn change(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    /// The first line from `from` on that is wanted, and its number.
    pub fn wait(
        &self,
        what: &dyn Display,
        within: Duration,
        from: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> (usize, String) {
        let mut at = from;
        let find = |heard: &mut Heard| {
            let found = heard.lines.iter().enumerate().skip(at).find(|(_, line)| wanted(line));
            at = heard.lines.len();
            found.map(|(number, line)| (number, line.clone()))
        };
        self.until(what, within, find)
    }

    /// Every line, once there will be no more.
    pub fn all(&self, within: Duration) -> Vec<String> {
        self.until(&"its end", within, |heard| heard.has_ended.then(|| heard.lines.clone()))
    }

    /// Every line so far.
    pub fn so_far(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// Waits for a line that contains `text`, or for the end; whether there is such a line.
    pub fn says_before_its_end(&self, text: &str, within: Duration) -> bool {
        self.until(&text, within, |heard| {
            let says = heard.lines.iter().any(|line| line.contains(text));
            (says || heard.has_ended).then_some(says)
        })
    }

    fn until<T>(&self, what: &dyn Display, within: Duration, mut find: impl FnMut(&mut Heard) -> Option<T>) -> T {
        let deadline = Instant::now() + within;
        let mut heard: MutexGuard<'_, Heard> = self.0.0.lock().unwrap();
        loop {
            if let Some(found) = find(&mut heard) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if heard.has_ended || left.is_zero() {
                let how = if heard.has_ended { "it ended" } else { "time ran out" };
                let said = heard.lines.join("\n");
                // Whoever ends the program while this unwinds reads its lines, too.
                drop(heard);
                panic!("waiting for {what}, {how}; it said:\n{said}");
            }
            heard = self.0.1.wait_timeout(heard, left).unwrap().0;
        }
    }
}

/// A child process; killed when dropped.
pub struct Program(Child);

impl Program {
    /// Starts a program; what it says on stdout and stderr.
    pub fn start(program: &str, arguments: &[&str]) -> (Program, Lines, Lines) {
        let mut child = Command::new(program)
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        (Program(child), Lines::of(stdout), Lines::of(stderr))
    }

    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub fn signal(&self, name: &str) {
        assert!(signal(name, &[self.0.id()]), "{} is not there", self.0.id());
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits until it has ended; its exit code, none if a signal ended it.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

/// Sends a signal to these processes; false if one is there no more. One that is to stop has stopped then.
pub fn signal(name: &str, pids: &[u32]) -> bool {
    let words: Vec<String> = pids.iter().map(u32::to_string).collect();
    let command = format!("kill -{name} {} 2>/dev/null", words.join(" "));
    let is_sent = Command::new("sh").args(["-c", &command]).status().unwrap().success();
    let deadline = Instant::now() + PATIENCE;
    while name == "STOP" && !pids.iter().all(|pid| has_stopped(*pid)) {
        assert!(Instant::now() < deadline, "{pids:?} do not stop");
        thread::sleep(Duration::from_millis(1));
    }
    is_sent
}

/// Whether none of a process's threads runs, where the system tells. A signal is taken by one of them, and the others go on until that
/// one has the processor.
fn has_stopped(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    let states = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    // Stopped, or on its way out. Behind the name, which may hold anything.
    states.into_iter().all(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['T', 'Z', 'X'])))
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The most memory that a process has had so far, in KiB, where the system tells.
pub fn peak_memory_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a program to its end.
pub fn run(program: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ended {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let all_of = |mut pipe: Box<dyn Read + Send>| {
        let (sender, text) = channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            let _ = sender.send(String::from_utf8(bytes).unwrap());
        });
        text
    };
    let stdout = all_of(Box::new(child.stdout.take().unwrap()));
    let stderr = all_of(Box::new(child.stderr.take().unwrap()));
    let (Ok(stdout), Ok(stderr)) = (stdout.recv_timeout(PATIENCE), stderr.recv_timeout(PATIENCE)) else {
        let _ = child.kill();
        panic!("{command:?} does not end");
    };
    Ended { code: child.wait().unwrap().code(), stdout, stderr }
}

/// A port for a program that is started later, or again. No other test gets it meanwhile: it lies below those that the
/// system gives to who asks for any.
pub fn reserve_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    const PORTS: Range<u32> = 20_000..32_000;
    // Another process's tests begin elsewhere.
    let first = std::process::id().wrapping_mul(101);
    let mut ports = iter::from_fn(|| {
        let index = first.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        Some((PORTS.start + index % PORTS.len() as u32) as u16)
    });
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// Everything that a server answers to these bytes, from a sender that closes its half behind them.
pub fn typed(address: SocketAddr, bytes: &[u8]) -> String {
    try_typed(address, bytes).unwrap()
}

pub fn try_typed(address: SocketAddr, bytes: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(bytes)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

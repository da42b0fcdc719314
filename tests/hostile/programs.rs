//! The three programs as child processes that end with the test. Owns how they are started, how their port is learned,
//! and the honest job that shows that they are well.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Whatever a test waits for comes within this time, on a slow machine too.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A server that is killed when it is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    log: Receiver<String>,
    /// Lines of the log that have been looked at.
    seen: RefCell<Vec<String>>,
    /// A coordinator's, which it reads again when it changes.
    nodes_file: Option<Written>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("what {} has said:", self.address);
            self.seen.borrow().iter().cloned().chain(self.log.iter()).for_each(|line| eprintln!("  {line}"));
        }
    }
}

impl Server {
    /// A compute node at a free port.
    pub fn node() -> Server {
        Server::start(Command::new(env!("CARGO_BIN_EXE_compute_node")).args(["0", "0", "--name", "honest"]))
    }

    /// A compute node at a free port that may have so many descriptors open.
    pub fn node_of_descriptors(count: u32) -> Server {
        let start = format!("ulimit -n {count}; exec {} 0 0", env!("CARGO_BIN_EXE_compute_node"));
        Server::start(Command::new("sh").args(["-c", &start]))
    }

    /// A compute node at a free port that answers HTTP under this name too.
    pub fn node_of_http_host(name: &str) -> Server {
        Server::start(Command::new(env!("CARGO_BIN_EXE_compute_node")).args(["0", "0", "--http-host", name]))
    }

    /// A compute node at a free port that belongs to a cluster.
    pub fn node_of_cluster(cluster: &str) -> Server {
        Server::start(Command::new(env!("CARGO_BIN_EXE_compute_node")).args(["0", "0", "--cluster", cluster]))
    }

    /// A coordinator at a free port, of these nodes.
    pub fn coordinator(nodes: &[SocketAddr]) -> Server {
        Server::coordinator_with(nodes, &[])
    }

    /// The same with options.
    pub fn coordinator_with(nodes: &[SocketAddr], options: &[&str]) -> Server {
        let lines: String = nodes.iter().map(|node| format!("{},{}\n", node.ip(), node.port())).collect();
        let file = Written::new("nodes.txt", lines);
        let mut server = Server::coordinator_of(file.path(), options);
        server.nodes_file = Some(file);
        server.await_status(&format!("{0} of {0} active", nodes.len()));
        server
    }

    /// A coordinator at a free port, of the nodes in this file.
    pub fn coordinator_of_file(nodes: &Path) -> Server {
        Server::coordinator_of(nodes, &[])
    }

    fn coordinator_of(nodes: &Path, options: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coordinator_node"));
        Server::start(command.args(["0", "2", "--nodes"]).arg(nodes).args(options))
    }

    /// A coordinator at a free port that keeps its jobs here, and has no node.
    #[allow(dead_code, reason = "one test asks for it")]
    pub fn coordinator_of_state(state: &Path) -> Server {
        let nodes = Written::new("nodes.txt", "127.0.0.1,1\n");
        let mut command = Command::new(env!("CARGO_BIN_EXE_coordinator_node"));
        Server::start(command.args(["0", "2", "--nodes"]).arg(nodes.path()).arg("--state-dir").arg(state))
    }

    /// Starts a program and learns its port from what it says.
    fn start(command: &mut Command) -> Server {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = channel();
        // It reads to the end whether or not anybody listens: a full pipe would stop the program.
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Server { child, address, log, seen: RefCell::default(), nodes_file: None };
        let line = server.await_line("listening at ");
        let address = line.split("listening at ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
        server.address = address.parse().unwrap();
        server
    }

    /// The first line of its log that contains `words`.
    pub fn await_line(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.seen.borrow_mut();
        if let Some(line) = seen.iter().find(|line| line.contains(words)) {
            return line.clone();
        }
        loop {
            match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => seen.push(line.clone()),
                Err(_) => panic!("the log does not say {words:?}"),
            }
            if let Some(line) = seen.last().filter(|line| line.contains(words)) {
                return line.clone();
            }
        }
    }

    /// Asserts that nothing in its log speaks of a bug of its own.
    pub fn assert_has_no_fault(&self) {
        let mut seen = self.seen.borrow_mut();
        seen.extend(self.log.try_iter());
        let fault = seen.iter().find(|line| line.contains("fault of this program's own") || line.contains("panicked"));
        assert_eq!(fault, None);
    }

    /// Its threads and open descriptors, where the system tells.
    pub fn threads_and_descriptors(&self) -> Option<(usize, usize)> {
        let count = |what| Some(std::fs::read_dir(format!("/proc/{}/{what}", self.child.id())).ok()?.count());
        Some((count("task")?, count("fd")?))
    }

    /// The most memory that it has had so far, in KiB, where the system tells.
    pub fn peak_memory_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// What its console answers to `status`, typed by somebody who then closes his half.
    pub fn status(&self) -> String {
        typed(self.address, b"status\n")
    }
}

impl Server {
    /// Asks for the status until it contains `words`. A server that is short of something may hang up first.
    pub fn await_status(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = try_typed(self.address, b"status\n");
            if status.as_ref().is_ok_and(|status| status.contains(words)) {
                return;
            }
            assert!(Instant::now() < deadline, "{words:?} is not in\n{status:?}");
        }
    }
}

/// Everything that a server answers to these bytes, from a sender that closes its half behind them.
pub fn typed(address: SocketAddr, bytes: &[u8]) -> String {
    try_typed(address, bytes).unwrap()
}

fn try_typed(address: SocketAddr, bytes: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(bytes)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
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

/// Runs the client to its end.
pub fn client(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ended {
    run(env!("CARGO_BIN_EXE_client"), arguments)
}

/// A file that a test has written.
pub struct Written {
    _directory: TempDir,
    path: PathBuf,
}

impl Written {
    pub fn new(name: &str, text: impl AsRef<[u8]>) -> Written {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        Written { _directory: directory, path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// A small file of three classes that can be told apart.
pub fn small_data() -> Written {
    let mut text = String::from("width,height,weight,sort\n");
    for row in 0..240u32 {
        let class = row % 3;
        let noise = |step: u32| f64::from((row * step) % 17) / 20.0;
        let (width, height) = (f64::from(class) + noise(7), 2.0 - f64::from(class) + noise(5));
        writeln!(text, "{width},{height},{},{}", noise(3), ["ash", "oak", "fir"][class as usize]).unwrap();
    }
    Written::new("small.csv", text)
}

/// What the honest job is: small, and of enough tasks for everybody.
pub const HONEST_JOB: [&str; 9] = ["--rounds", "3", "--epochs", "2", "--hidden", "8", "--shards", "8", "--quiet"];

/// The fingerprint in what a client has printed.
fn fingerprint(ended: &Ended) -> String {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let line = ended.stdout.lines().find_map(|line| line.strip_prefix("fingerprint  "));
    line.unwrap_or_else(|| panic!("no fingerprint: {ended:?}")).to_owned()
}

/// The fingerprint of the honest job when nobody disturbs it.
pub fn undisturbed() -> &'static str {
    static FINGERPRINT: OnceLock<String> = OnceLock::new();
    FINGERPRINT.get_or_init(|| {
        let data = small_data();
        fingerprint(&client(["--local", "1", "--data", data.text()].into_iter().chain(HONEST_JOB)))
    })
}

/// Has a coordinator do the honest job, which must come out as if nobody had disturbed it. Returns what the client said.
pub fn assert_does_an_honest_job(coordinator: &Server) -> String {
    let data = small_data();
    let (ip, port) = (coordinator.address.ip().to_string(), coordinator.address.port().to_string());
    let ended = client([ip.as_str(), &port, "--data", data.text()].into_iter().chain(HONEST_JOB));
    assert_eq!(fingerprint(&ended), undisturbed());
    ended.stderr
}

/// A coordinator and a node.
pub struct House {
    pub node: Server,
    pub coordinator: Server,
}

impl House {
    pub fn new() -> House {
        House::of(Server::node())
    }

    /// The node answers HTTP under this name too.
    pub fn with_http_host(name: &str) -> House {
        House::of(Server::node_of_http_host(name))
    }

    fn of(node: Server) -> House {
        let coordinator = Server::coordinator(&[node.address]);
        House { node, coordinator }
    }

    /// Asserts that both programs answer a person, do an honest job, and have met no fault of their own.
    pub fn assert_is_well(&self) {
        assert!(self.node.status().starts_with("compute_node"), "{}", self.node.status());
        assert!(self.coordinator.status().contains("1 of 1 active"), "{}", self.coordinator.status());
        assert_does_an_honest_job(&self.coordinator);
        self.node.assert_has_no_fault();
        self.coordinator.assert_has_no_fault();
    }
}

/// Does the same to both servers, each of which must be well afterwards.
pub fn to_both_servers(attack: impl Fn(SocketAddr)) {
    let house = House::new();
    attack(house.node.address);
    attack(house.coordinator.address);
    house.assert_is_well();
}

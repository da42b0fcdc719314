//! The three programs as children: started on free ports, heard line by line, killed when dropped. Owns the waiting: for
//! an event, with a deadline. Does not know what a test is about.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::iter;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What should happen at once may take so long on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// The lines that a child has written, and whether it may write more.
#[derive(Clone)]
struct Lines(Arc<(Mutex<Heard>, Condvar)>);

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    has_ended: bool,
}

impl Lines {
    /// Reads `source` on a thread of its own until it ends.
    fn of(source: impl Read + Send + 'static) -> Lines {
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
    fn wait(
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
    fn all(&self, within: Duration) -> Vec<String> {
        self.until(&"its end", within, |heard| heard.has_ended.then(|| heard.lines.clone()))
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
                panic!("waiting for {what}, {how}; it said:\n{}", heard.lines.join("\n"));
            }
            heard = self.0.1.wait_timeout(heard, left).unwrap().0;
        }
    }
}

/// A child process; killed when dropped.
struct Program(Child);

impl Program {
    /// Starts a program; what it says on stdout and stderr.
    fn start(program: &str, arguments: &[String]) -> (Program, Lines, Lines) {
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

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    fn signal(&self, name: &str) {
        assert!(signal(name, &[self.0.id()]), "{} is not there", self.0.id());
    }
}

/// Sends a signal to these processes; false if one is there no more.
pub fn signal(name: &str, pids: &[u32]) -> bool {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let command = format!("kill -{name} {} 2>/dev/null", pids.join(" "));
    Command::new("sh").args(["-c", &command]).status().unwrap().success()
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The port in a program's first words: "listening at 127.0.0.1:PORT, ...".
fn port_of(log: &Lines) -> u16 {
    let (_, line) = log.wait(&"the port it listens on", PATIENCE, 0, |line| line.contains("listening at "));
    let behind = line.split("127.0.0.1:").nth(1).unwrap();
    behind.split(',').next().unwrap().parse().unwrap()
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

/// A compute node.
pub struct Node {
    program: Program,
    log: Lines,
    pub port: u16,
}

impl Node {
    /// Starts a node at `port` (0: any) with this load probability, and waits until it listens.
    pub fn start(port: u16, load: &str, options: &[&str]) -> Node {
        let port = port.to_string();
        Node::run(env!("CARGO_BIN_EXE_compute_node"), &[&[port.as_str(), load], options].concat())
    }

    /// Starts whatever program is a node when given these arguments.
    pub fn run(program: &str, arguments: &[&str]) -> Node {
        let (program, _, log) = Program::start(program, &words(arguments));
        Node { port: port_of(&log), program, log }
    }

    /// A node of this name without injected load.
    pub fn named(name: &str) -> Node {
        Node::start(0, "0", &["--name", name])
    }

    /// Ends it without a goodbye.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Freezes it: its connections stay, and nothing is heard of it.
    pub fn freeze(&self) {
        self.program.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.program.signal("CONT");
    }

    /// Tells it to end.
    #[allow(dead_code, reason = "the tests of a fleet ask for it")]
    pub fn terminate(&self) {
        self.program.signal("TERM");
    }

    /// Waits until it has ended, and says how: its exit code, and what it said.
    #[allow(dead_code, reason = "the tests of a fleet ask for it")]
    pub fn await_end(&mut self) -> (Option<i32>, String) {
        let log = self.log.all(PATIENCE).join("\n");
        (self.program.0.wait().unwrap().code(), log)
    }

    /// Waits until it has said this.
    #[allow(dead_code, reason = "the tests of a fleet ask for it")]
    pub fn await_line(&self, text: &str) {
        self.log.wait(&text, PATIENCE, 0, |line| line.contains(text));
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.program.0.id()
    }

    /// The most memory that it has had so far, in KiB, where the system tells.
    pub fn peak_memory_kib(&self) -> Option<u64> {
        peak_memory_kib(self.pid())
    }

    /// Waits until a coordinator is linked.
    pub fn await_link(&self, within: Duration) {
        self.log.wait(&"a link", within, 0, |line| line.contains("linked to the coordinator"));
    }
}

fn peak_memory_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// `count` nodes named node-1, node-2 and so on, with the same load and options.
pub fn nodes(count: usize, load: &str, options: &[&str]) -> Vec<Node> {
    let node = |number| Node::start(0, load, &[&["--name", &format!("node-{number}")], options].concat());
    (1..=count).map(node).collect()
}

/// The nodes' ports.
pub fn ports(nodes: &[Node]) -> Vec<u16> {
    nodes.iter().map(|node| node.port).collect()
}

/// A list of nodes for a coordinator.
fn nodes_file(ports: &[u16]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    ports.iter().for_each(|port| writeln!(file, "127.0.0.1,{port}").unwrap());
    file
}

/// A coordinator.
pub struct Coordinator {
    program: Program,
    log: Lines,
    pub port: u16,
    /// Read at the start, and again when it changes.
    nodes_file: tempfile::NamedTempFile,
}

impl Coordinator {
    /// Starts a coordinator of the nodes at these ports, and waits until it listens.
    pub fn start(policy: &str, ports: &[u16], options: &[&str]) -> Coordinator {
        Coordinator::start_at(0, policy, ports, options)
    }

    /// The same at a port of its own.
    pub fn start_at(port: u16, policy: &str, ports: &[u16], options: &[&str]) -> Coordinator {
        let file = nodes_file(ports);
        let path = file.path().to_str().unwrap().to_owned();
        let arguments = [words(&[&port.to_string(), policy, "--nodes", &path]), words(options)].concat();
        let (program, _, log) = Program::start(env!("CARGO_BIN_EXE_coordinator_node"), &arguments);
        Coordinator { port: port_of(&log), program, log, nodes_file: file }
    }

    /// The same, started by the program `before` with its options; the exit code and all that it has said if it ends before
    /// it listens.
    #[allow(dead_code, reason = "one test asks for it")]
    pub fn try_at(
        port: u16,
        before: &[&str],
        ports: &[u16],
        options: &[&str],
    ) -> Result<Coordinator, (Option<i32>, String)> {
        let file = nodes_file(ports);
        let (path, port) = (file.path().to_str().unwrap().to_owned(), port.to_string());
        let program = env!("CARGO_BIN_EXE_coordinator_node");
        let command = [words(before), words(&[program, &port, "2", "--nodes", &path]), words(options)].concat();
        let (mut program, _, log) = Program::start(&command[0], &command[1..]);
        let listens = |heard: &mut Heard| {
            let listens = heard.lines.iter().any(|line| line.contains("listening at "));
            (listens || heard.has_ended).then_some(listens)
        };
        if log.until(&"that it listens or ends", PATIENCE, listens) {
            return Ok(Coordinator { port: port_of(&log), program, log, nodes_file: file });
        }
        Err((program.0.wait().unwrap().code(), log.all(PATIENCE).join("\n")))
    }

    /// Ends it without a goodbye.
    #[allow(dead_code, reason = "not every user of this file kills it")]
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Asks it to end, and waits until it has; its exit code, and all that it has said.
    #[allow(dead_code, reason = "not every user of this file stops it")]
    pub fn stop(mut self) -> (Option<i32>, String) {
        if self.program.0.try_wait().unwrap().is_none() {
            self.program.signal("TERM");
        }
        self.end()
    }

    /// Waits until it has ended; its exit code, and all that it has said.
    #[allow(dead_code, reason = "not every user of this file waits for it")]
    pub fn end(&mut self) -> (Option<i32>, String) {
        let said = self.log.all(PATIENCE).join("\n");
        (self.program.0.wait().unwrap().code(), said)
    }

    /// The same in a shell that lets it have so many descriptors, unless it asks for more.
    #[allow(dead_code, reason = "one test asks for it")]
    pub fn start_within(descriptors: u32, policy: &str, ports: &[u16]) -> Coordinator {
        let file = nodes_file(ports);
        let shell = format!("ulimit -S -n {descriptors} && exec \"$0\" \"$@\"");
        let program = env!("CARGO_BIN_EXE_coordinator_node");
        let arguments = words(&["-c", &shell, program, "0", policy, "--nodes", file.path().to_str().unwrap()]);
        let (program, _, log) = Program::start("sh", &arguments);
        Coordinator { port: port_of(&log), program, log, nodes_file: file }
    }

    /// A coordinator of these nodes, once all of them are active.
    pub fn of(policy: &str, nodes: &[Node], options: &[&str]) -> Coordinator {
        let coordinator = Coordinator::start(policy, &ports(nodes), options);
        for node in nodes {
            let active = format!("is active at 127.0.0.1:{}", node.port);
            coordinator.await_line(&active);
        }
        coordinator
    }

    /// Its process.
    #[allow(dead_code, reason = "a bench asks for it")]
    pub fn pid(&self) -> u32 {
        self.program.0.id()
    }

    /// The most memory that it has had so far, in KiB, where the system tells.
    pub fn peak_memory_kib(&self) -> Option<u64> {
        peak_memory_kib(self.pid())
    }

    /// Waits until it has said this.
    pub fn await_line(&self, text: &str) {
        self.log.wait(&text, PATIENCE, 0, |line| line.contains(text));
    }

    /// Its nodes file has this text from now on.
    #[allow(dead_code, reason = "the tests of a fleet ask for it")]
    pub fn write_nodes_file(&self, text: &str) {
        std::fs::write(self.nodes_file.path(), text).unwrap();
    }

    /// Its nodes file names the nodes at these ports from now on.
    #[allow(dead_code, reason = "the tests of a fleet ask for it")]
    pub fn list(&self, ports: &[u16]) {
        self.write_nodes_file(&ports.iter().map(|port| format!("127.0.0.1,{port}\n")).collect::<String>());
    }

    /// What the console answers to `status`.
    pub fn status(&self) -> String {
        answer(self.port, "status\n")
    }

    /// What the metrics say of this one.
    #[allow(dead_code, reason = "the tests of a fleet ask for it")]
    pub fn metric(&self, name: &str) -> f64 {
        let metrics = answer(self.port, "GET /metrics HTTP/1.0\r\n\r\n");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is missing:\n{metrics}")).trim().parse().unwrap()
    }

    /// Asks for the status until it is as wanted.
    pub fn await_status(&self, what: &str, within: Duration, wanted: impl Fn(&str) -> bool) {
        await_status(self.port, what, within, wanted);
    }
}

/// What a program's port answers to this text.
fn answer(port: u16, text: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Asks at a program's port for the status until it is as wanted.
pub fn await_status(port: u16, what: &str, within: Duration, wanted: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + within;
    loop {
        let status = answer(port, "status\n");
        if wanted(&status) {
            return;
        }
        assert!(Instant::now() < deadline, "{what} did not come to pass:\n{status}");
    }
}

/// What a status says of a node under this head, once the node is known by its name.
pub fn node_column(status: &str, name: &str, head: &str) -> Option<String> {
    let mut rows = status.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let heads = rows.find(|row| row.first() == Some(&"NODE"))?;
    let place = heads.iter().position(|other| *other == head)?;
    let row = rows.find(|row| row.first() == Some(&name))?;
    row.get(place).map(|word| (*word).to_owned())
}

/// A client that prints JSON.
pub struct Client {
    program: Program,
    events: Lines,
    log: Lines,
    /// Lines of `events` that the test has passed.
    passed: usize,
}

impl Client {
    /// Asks this coordinator for a job.
    pub fn start(coordinator: &Coordinator, options: &[&str]) -> Client {
        Client::at(coordinator.port, options)
    }

    /// Asks whoever listens at this port for a job.
    pub fn at(port: u16, options: &[&str]) -> Client {
        Client::run(&[&["127.0.0.1", &port.to_string()], options].concat())
    }

    /// Trains in a house of its own.
    pub fn local(nodes: usize, options: &[&str]) -> Client {
        Client::run(&[&["--local", &nodes.to_string()], options].concat())
    }

    fn run(options: &[&str]) -> Client {
        let arguments = [words(options), words(&["--json"])].concat();
        let (program, events, log) = Program::start(env!("CARGO_BIN_EXE_client"), &arguments);
        Client { program, events, log, passed: 0 }
    }

    /// Its process.
    #[allow(dead_code, reason = "who kills it from afar asks for it")]
    pub fn pid(&self) -> u32 {
        self.program.0.id()
    }

    /// The next event that is wanted, after the one before.
    pub fn await_event(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let (number, line) = self.events.wait(&what, PATIENCE, self.passed, |line| wanted(&json(line)));
        self.passed = number + 1;
        json(&line)
    }

    /// The next round.
    pub fn await_round(&mut self) -> Value {
        self.await_event("a round", |event| event["event"] == "round")
    }

    /// The next notice that says this.
    pub fn await_notice(&mut self, text: &str) -> Value {
        self.await_event(text, |event| event["event"] == "notice" && event["text"].as_str().unwrap().contains(text))
    }

    /// The word on whether the job is accepted.
    pub fn await_accepted(&mut self) -> Value {
        self.await_event("acceptance", |event| event["event"] == "accepted")
    }

    /// Ends it without a goodbye.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Whether it has ended.
    #[allow(dead_code, reason = "the tests of a fleet ask for it")]
    pub fn has_ended(&mut self) -> bool {
        self.program.0.try_wait().unwrap().is_some()
    }

    /// Waits until it has ended.
    pub fn finish(mut self) -> Finished {
        let events = self.events.all(PATIENCE).iter().map(|line| json(line)).collect();
        let log = self.log.all(PATIENCE).join("\n");
        let exit = self.program.0.wait().unwrap().code();
        Finished { exit, events, log }
    }
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?} is no JSON: {error}"))
}

/// A client that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; none if a signal ended it.
    pub exit: Option<i32>,
    pub events: Vec<Value>,
    /// What it said on stderr.
    pub log: String,
}

impl Finished {
    /// The last event of a job that went well.
    pub fn done(&self) -> &Value {
        assert_eq!(self.exit, Some(0), "{self:#?}");
        self.events.iter().find(|event| event["event"] == "done").unwrap_or_else(|| panic!("not done: {self:#?}"))
    }

    /// What each round took.
    #[allow(dead_code, reason = "benches ask for it")]
    pub fn round_seconds(&self) -> Vec<f64> {
        let rounds = self.events.iter().filter(|event| event["event"] == "round");
        rounds.filter_map(|round| round["seconds"].as_f64()).collect()
    }

    /// The fingerprint of a job that went well.
    pub fn fingerprint(&self) -> String {
        self.done()["fingerprint"].as_str().unwrap().to_owned()
    }

    /// The last event of a job that failed.
    pub fn failed(&self) -> &Value {
        self.events.iter().find(|event| event["event"] == "failed").unwrap_or_else(|| panic!("not failed: {self:#?}"))
    }

    /// The notices of this kind.
    pub fn notices(&self, kind: &str) -> Vec<&str> {
        let wanted = |event: &&Value| event["event"] == "notice" && event["kind"] == kind;
        self.events.iter().filter(wanted).map(|event| event["text"].as_str().unwrap()).collect()
    }

    /// Merged tasks of each node, by name.
    pub fn tasks(&self) -> Vec<(String, u64)> {
        let nodes = self.done()["nodes"].as_array().unwrap();
        nodes.iter().map(|node| (node["node"].as_str().unwrap().to_owned(), node["tasks"].as_u64().unwrap())).collect()
    }
}

/// A directory that is gone with the test, and a file in it.
pub fn file_in(directory: &tempfile::TempDir, name: &str) -> PathBuf {
    directory.path().join(name)
}

/// A small table of two features and two classes, in a file; the first `poisoned` rows are so large that no training on
/// them stays finite.
pub fn small_table(directory: &tempfile::TempDir, poisoned: usize) -> String {
    let row = |row: usize| {
        let (x, y) = ((row % 7) as f32 - 3.0, (row % 5) as f32 - 2.0);
        let scale = if row < poisoned { 1e30 } else { 1.0 };
        format!("{},{},{}\n", x * scale, y * scale, if x > y { "over" } else { "under" })
    };
    let path = file_in(directory, "table.csv");
    std::fs::write(&path, "x,y,side\n".to_owned() + &(0..200).map(row).collect::<String>()).unwrap();
    path.to_str().unwrap().to_owned()
}

//! Nodes and coordinators on free ports of this machine.

use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use super::process::{self, Lines, PATIENCE, Program, try_typed, typed};

const NODE: &str = env!("CARGO_BIN_EXE_compute_node");
const COORDINATOR: &str = env!("CARGO_BIN_EXE_coordinator_node");

/// What every server says once it serves, in front of its address.
const LISTENING: &str = "listening at ";

/// A program with a port. Killed when dropped; should the test fail, shows what it has said.
pub struct Server {
    program: Program,
    log: Lines,
    pub address: SocketAddr,
    pub port: u16,
}

impl Server {
    /// Starts a program, and waits until it listens.
    fn start(program: &str, arguments: &[&str]) -> Server {
        let (program, _, log) = Program::start(program, arguments);
        Server::once_it_listens(program, log)
    }

    fn once_it_listens(program: Program, log: Lines) -> Server {
        let (_, line) = log.wait(&"the port it listens on", PATIENCE, 0, |line| line.contains(LISTENING));
        let address = line.split(LISTENING).nth(1).and_then(|rest| rest.split(',').next()).unwrap();
        let address: SocketAddr = address.parse().unwrap();
        Server { program, log, address, port: address.port() }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.program.pid()
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
    pub fn terminate(&self) {
        self.program.signal("TERM");
    }

    /// Waits until it has ended; its exit code, and all that it has said.
    pub fn await_end(&mut self) -> (Option<i32>, String) {
        let said = self.log.all(PATIENCE).join("\n");
        (self.program.exit_code(), said)
    }

    /// The first line that says this, once there is one.
    pub fn await_line(&self, text: &str) -> String {
        self.log.wait(&text, PATIENCE, 0, |line| line.contains(text)).1
    }

    /// Asserts that nothing that it has said so far speaks of a bug of its own.
    pub fn assert_has_no_fault(&self) {
        let is_fault = |line: &String| line.contains("fault of this program's own") || line.contains("panicked");
        assert_eq!(self.log.so_far().into_iter().find(is_fault), None);
    }

    /// The most memory that it has had so far, in KiB, where the system tells.
    pub fn peak_memory_kib(&self) -> Option<u64> {
        process::peak_memory_kib(self.pid())
    }

    /// Its threads and open descriptors, where the system tells.
    pub fn threads_and_descriptors(&self) -> Option<(usize, usize)> {
        let count = |what| Some(std::fs::read_dir(format!("/proc/{}/{what}", self.pid())).ok()?.count());
        Some((count("task")?, count("fd")?))
    }

    /// What the console answers to `status`, typed by somebody who then closes his half.
    pub fn status(&self) -> String {
        typed(self.address, b"status\n")
    }

    /// Asks for the status until it is as wanted. A server that is short of something may hang up first.
    pub fn await_status(&self, what: &str, within: Duration, wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + within;
        loop {
            let status = try_typed(self.address, b"status\n");
            if status.as_ref().is_ok_and(|status| wanted(status)) {
                return;
            }
            assert!(Instant::now() < deadline, "{what} did not come to pass:\n{status:?}");
        }
    }

    /// Asks for the status until it contains `words`.
    pub fn await_in_status(&self, words: &str) {
        self.await_status(words, PATIENCE, |status| status.contains(words));
    }

    /// What the metrics say of this one.
    pub fn metric(&self, name: &str) -> f64 {
        let metrics = typed(self.address, b"GET /metrics HTTP/1.0\r\n\r\n");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is missing:\n{metrics}")).trim().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.program.kill();
        if thread::panicking() {
            eprintln!("what {} has said:\n{}", self.address, self.log.so_far().join("\n"));
        }
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

/// A compute node.
pub struct Node(Server);

impl Deref for Node {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}

impl Node {
    /// Starts a node at `port` (0: any) with this load probability, and waits until it listens.
    pub fn start(port: u16, load: &str, options: &[&str]) -> Node {
        // However many cores the machine has.
        let workers: &[&str] = if options.contains(&"--workers") { &[] } else { &["--workers", "1"] };
        Node::run(NODE, &[&[port.to_string().as_str(), load], workers, options].concat())
    }

    /// Starts whatever program is a node when given these arguments.
    pub fn run(program: &str, arguments: &[&str]) -> Node {
        Node(Server::start(program, arguments))
    }

    /// A node of this name without injected load.
    pub fn named(name: &str) -> Node {
        Node::start(0, "0", &["--name", name])
    }

    /// A node that may have so many descriptors open, and cannot ask for more.
    pub fn of_descriptors(count: u32) -> Node {
        let shell = format!("ulimit -n {count} && exec \"$0\" \"$@\"");
        Node::run("sh", &["-c", &shell, NODE, "0", "0"])
    }

    /// Waits until a coordinator is linked.
    pub fn await_link(&self, within: Duration) {
        self.log.wait(&"a link", within, 0, |line| line.contains("linked to the coordinator"));
    }
}

/// `count` nodes named node-1, node-2 and so on, with the same load and options.
pub fn nodes(count: usize, load: &str, options: &[&str]) -> Vec<Node> {
    let node = |number| Node::start(0, load, &[&["--name", &format!("node-{number}")], options].concat());
    (1..=count).map(node).collect()
}

/// Waits for what is told of a job once so many rounds are on the disk, however long the disk takes: as soon as they are over its
/// nodes stand still, so that it is not over meanwhile. It is the coordinator's only job.
pub fn standing_still_after<R>(rounds: u32, coordinator: &Coordinator, nodes: &[Node], wait: impl FnOnce() -> R) -> R {
    thread::scope(|scope| {
        scope.spawn(|| {
            let deadline = Instant::now() + PATIENCE;
            while coordinator.metric("gradwire_rounds_total") < f64::from(rounds) {
                assert!(Instant::now() < deadline, "no {rounds} rounds: {}", coordinator.status());
                thread::sleep(Duration::from_millis(5));
            }
            nodes.iter().for_each(|node| node.freeze());
        });
        wait()
    })
}

/// The nodes' ports.
pub fn ports(nodes: &[Node]) -> Vec<u16> {
    nodes.iter().map(|node| node.port).collect()
}

/// A list of the nodes at these ports.
fn list_of(ports: &[u16]) -> String {
    ports.iter().map(|port| format!("127.0.0.1,{port}\n")).collect()
}

fn nodes_file(ports: &[u16]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(list_of(ports).as_bytes()).unwrap();
    file
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A coordinator.
pub struct Coordinator {
    server: Server,
    /// Read at the start, and again when it changes.
    nodes_file: Option<NamedTempFile>,
}

impl Deref for Coordinator {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Coordinator {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

impl Coordinator {
    /// Starts a coordinator of the nodes at these ports, and waits until it listens.
    pub fn start(policy: &str, ports: &[u16], options: &[&str]) -> Coordinator {
        Coordinator::start_at(0, policy, ports, options)
    }

    /// The same at a port of its own.
    pub fn start_at(port: u16, policy: &str, ports: &[u16], options: &[&str]) -> Coordinator {
        let (file, port) = (nodes_file(ports), port.to_string());
        let arguments = [&[port.as_str(), policy, "--nodes", text(file.path())], options].concat();
        let server = Server::start(COORDINATOR, &arguments);
        Coordinator { server, nodes_file: Some(file) }
    }

    /// The same, of the nodes in this file.
    pub fn of_file(nodes: &Path) -> Coordinator {
        Coordinator { server: Server::start(COORDINATOR, &["0", "2", "--nodes", text(nodes)]), nodes_file: None }
    }

    /// The same, started by the program `before` with its options; the exit code and all that it has said if it ends before
    /// it listens.
    pub fn try_at(
        port: u16,
        before: &[&str],
        ports: &[u16],
        options: &[&str],
    ) -> Result<Coordinator, (Option<i32>, String)> {
        let (file, port) = (nodes_file(ports), port.to_string());
        let own = [COORDINATOR, &port, "2", "--nodes", text(file.path())];
        let command = [before, &own, options].concat();
        let (mut program, _, log) = Program::start(command[0], &command[1..]);
        if log.says_before_its_end(LISTENING, PATIENCE) {
            return Ok(Coordinator { server: Server::once_it_listens(program, log), nodes_file: Some(file) });
        }
        Err((program.exit_code(), log.all(PATIENCE).join("\n")))
    }

    /// The same in a shell that lets it have so many descriptors, unless it asks for more.
    pub fn start_within(descriptors: u32, policy: &str, ports: &[u16]) -> Coordinator {
        let file = nodes_file(ports);
        let shell = format!("ulimit -S -n {descriptors} && exec \"$0\" \"$@\"");
        let arguments = ["-c", &shell, COORDINATOR, "0", policy, "--nodes", text(file.path())];
        let server = Server::start("sh", &arguments);
        Coordinator { server, nodes_file: Some(file) }
    }

    /// A coordinator of these nodes, once all of them are active.
    pub fn of(policy: &str, nodes: &[Node], options: &[&str]) -> Coordinator {
        let coordinator = Coordinator::start(policy, &ports(nodes), options);
        for node in nodes {
            coordinator.await_line(&format!("is active at 127.0.0.1:{}", node.port));
        }
        coordinator
    }

    /// A coordinator of whatever plays a node at these ports, once it counts all of them as active.
    pub fn with_all_active(ports: &[u16], options: &[&str]) -> Coordinator {
        let coordinator = Coordinator::start("2", ports, options);
        coordinator.await_in_status(&format!("{0} of {0} active", ports.len()));
        coordinator
    }

    /// Asks it to end, and waits until it has; its exit code, and all that it has said.
    pub fn stop(mut self) -> (Option<i32>, String) {
        if !self.program.has_ended() {
            self.terminate();
        }
        self.await_end()
    }

    /// Its nodes file has this text from now on.
    pub fn write_nodes_file(&self, text: &str) {
        std::fs::write(self.nodes_file.as_ref().unwrap().path(), text).unwrap();
    }

    /// Its nodes file names the nodes at these ports from now on.
    pub fn list(&self, ports: &[u16]) {
        self.write_nodes_file(&list_of(ports));
    }
}

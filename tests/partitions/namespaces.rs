//! A network of the kernel's: each node in a network namespace of its own, with a line to that of coordinator and client. Owns the
//! lines and what nftables and tc do to them. Everything is inside a namespace of the test's own, and gone with its processes.

use std::io::Write as _;
use std::process::{Command, Stdio};

use tempfile::NamedTempFile;

use crate::common::servers::{Coordinator, Node};
use crate::common::skip;
use crate::{AT_A_TIME, Direction, LOAD, LOAD_DELAY, Line, NODES, Network};

/// Set inside a namespace of the test's own: the part of it that is done there.
const INSIDE: &str = "GRADWIRE_TEST_IN_NAMESPACE";
/// Nodes of one machine are told apart by their ports.
const FIRST_PORT: u16 = 5_106;

/// The part of the test that is done here, inside a namespace of its own.
pub fn inside() -> Option<u64> {
    std::env::var(INSIDE).ok()?.parse().ok()
}

/// Runs this test again in network namespaces, in parts, or skips it where that cannot be.
pub fn again_inside(test: &str) {
    for tool in ["unshare", "nsenter", "ip", "tc", "nft"] {
        if !run(&["sh", "-c", &format!("command -v {tool}")]) {
            return skip(format!("there is no {tool}"));
        }
    }
    // The kernel may lack what the tools ask for, and the user the right to ask.
    let probe = "ip link add name probe type veth peer name other && nft add table inet probe \
                 && tc qdisc add dev probe root tbf rate 1mbit burst 16kb latency 400ms";
    if !run(&["unshare", "--net", "sh", "-c", probe]) {
        return skip(
            "no network namespace with lines, rules and rates can be made here: that takes root and its kernel",
        );
    }
    let own = std::env::current_exe().unwrap();
    let part = |part: u64| {
        let arguments = ["--net", own.to_str().unwrap(), "--exact", test, "--include-ignored", "--nocapture"];
        (part, Command::new("unshare").args(arguments).env(INSIDE, part.to_string()).spawn().unwrap())
    };
    let parts: Vec<_> = (0..AT_A_TIME).map(part).collect();
    let ended: Vec<_> = parts.into_iter().map(|(part, mut child)| (part, child.wait().unwrap())).collect();
    let failed: Vec<_> = ended.iter().filter(|(_, status)| !status.success()).collect();
    assert!(failed.is_empty(), "parts that failed: {failed:?}");
}

/// Runs a command that is a matter of the system's; says whether it went well.
fn run(words: &[&str]) -> bool {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn must(command: &str) {
    let done = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
}

pub struct Namespaces {
    coordinator: Coordinator,
    nodes: Vec<Node>,
    _list: NamedTempFile,
}

impl Namespaces {
    pub fn new() -> Namespaces {
        must("ip link set lo up; nft flush ruleset");
        let node = |line: usize| {
            let port = port(line).to_string();
            let own = [env!("CARGO_BIN_EXE_compute_node"), &port, LOAD, "--listen", "0.0.0.0"];
            let node = Node::run("unshare", &[&["--net"], &own[..], &LOAD_DELAY].concat());
            let (pid, ours, theirs) = (node.pid(), address(line, 1), address(line, 2));
            // The line of the schedule before may be there still: a namespace goes a while after its last process.
            must(&format!(
                "ip link del line{line} 2>/dev/null; ip link add name line{line} type veth peer name line netns {pid} && ip addr add {ours}/30 dev line{line} \
                 && ip link set line{line} up && nsenter -t {pid} -n ip addr add {theirs}/30 dev line \
                 && nsenter -t {pid} -n ip link set line up"
            ));
            node
        };
        let nodes: Vec<Node> = (0..NODES).map(node).collect();
        let mut list = NamedTempFile::new().unwrap();
        (0..NODES).for_each(|line| writeln!(list, "{},{}", address(line, 2), port(line)).unwrap());
        must(
            "nft add table inet lines && nft add chain inet lines there '{ type filter hook output priority 0; }' \
             && nft add chain inet lines back '{ type filter hook input priority 0; }'",
        );
        Namespaces { coordinator: Coordinator::of_file(list.path()), nodes, _list: list }
    }
}

fn port(line: usize) -> u16 {
    FIRST_PORT + line as u16
}

/// An end of a line: four addresses each.
fn address(line: usize, end: usize) -> String {
    format!("10.77.{line}.{end}")
}

impl Network for Namespaces {
    fn lines(&self) -> usize {
        NODES
    }

    fn set(&mut self, line: usize, direction: Direction, is: Line) {
        let (chain, of) = match direction {
            Direction::There => ("there", "oifname"),
            Direction::Back => ("back", "iifname"),
        };
        // A rate is a property of whoever sends.
        let sender = match direction {
            Direction::There => format!("tc qdisc {{}} dev line{line} root"),
            Direction::Back => format!("nsenter -t {} -n tc qdisc {{}} dev line root", self.nodes[line].pid()),
        };
        let rule = |rule: &str| must(&format!("nft add rule inet lines {chain} {of} line{line} {rule} drop"));
        match is {
            Line::Well => {
                // Faults come one at a time: no other line has a rule in this chain that stays.
                must(&format!("nft flush chain inet lines {chain}"));
                run(&["sh", "-c", &sender.replace("{}", "del")]);
            }
            Line::Cut => rule(""),
            Line::Lossy(percent) => rule(&format!("numgen random mod 100 '<' {percent}")),
            Line::Slow { bytes_per_second } => {
                let rate = format!(" tbf rate {}bit burst 4kb latency 400ms", 8 * bytes_per_second);
                must(&(sender.replace("{}", "add") + &rate));
            }
        }
    }

    fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    fn port(&self) -> u16 {
        self.coordinator.port
    }
}

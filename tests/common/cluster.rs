//! A coordinator with a node, and the honest job that shows that they are well.

use std::net::SocketAddr;
use std::sync::OnceLock;

use super::clients::client;
use super::process::Ended;
use super::servers::{Coordinator, Node};
use super::tables::small_data;

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
pub fn assert_does_an_honest_job(coordinator: &Coordinator) -> String {
    let data = small_data();
    let port = coordinator.port.to_string();
    let ended = client(["127.0.0.1", &port, "--data", data.text()].into_iter().chain(HONEST_JOB));
    assert_eq!(fingerprint(&ended), undisturbed());
    ended.stderr
}

/// A coordinator and a node.
pub struct Cluster {
    pub node: Node,
    pub coordinator: Coordinator,
}

impl Cluster {
    pub fn new() -> Cluster {
        Cluster::of(Node::named("honest"))
    }

    /// The node answers HTTP under this name too.
    pub fn with_http_host(name: &str) -> Cluster {
        Cluster::with_node(&["--http-host", name])
    }

    /// The node is started with these options.
    pub fn with_node(options: &[&str]) -> Cluster {
        Cluster::of(Node::start(0, "0", options))
    }

    fn of(node: Node) -> Cluster {
        let coordinator = Coordinator::with_all_active(&[node.port], &[]);
        Cluster { node, coordinator }
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
    let cluster = Cluster::new();
    attack(cluster.node.address);
    attack(cluster.coordinator.address);
    cluster.assert_is_well();
}

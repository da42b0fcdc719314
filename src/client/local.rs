//! A whole cluster in one process: a coordinator and some nodes on free loopback ports, over real TCP. Owns their start
//! and their end.

use std::time::Duration;

use crossbeam_channel::Receiver;

use super::options::{Access, Options, Target};
use super::plan::Plan;
use crate::cli::{self, Exit, Failure};
use crate::compute::{self, Node};
use crate::config::NodeAddress;
use crate::coordinator::{self, Coordinator};
use crate::engine::Policy;
use crate::model::{Kernel, conformance};
use crate::net::{IpAddr, SocketAddr};

/// Nodes in one process, at most.
pub const NODES_MAX: u32 = 64;

/// A connection within this process is lost, too, where the machine has no time for it; it is made again for so long.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// What the cluster is like.
#[derive(Clone, Copy, Debug)]
pub struct LocalCluster {
    /// Nodes, 1 to [`NODES_MAX`].
    pub nodes: u32,
    /// How tasks are handed out.
    pub policy: Policy,
    /// Machine code for the arithmetic.
    pub kernel: Kernel,
}

/// Trains a job in a cluster of its own.
pub fn train(local: LocalCluster, options: &Options, interrupts: &Receiver<()>) -> Result<Exit, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Connection, error);
    conformance::prove(local.kernel).map_err(|difference| failed(&difference.where_kernels_are_chosen()))?;
    let plan = cli::interruptible(|| Plan::new(options))?;
    let free: SocketAddr = (IpAddr::from([127, 0, 0, 1]), 0).into();
    let mut nodes = Vec::new();
    for number in 1..=local.nodes {
        let mut settings = compute::Settings::new(free);
        settings.kernel = local.kernel;
        settings.name = format!("node-{number}").parse().ok();
        nodes.push(Node::start(&settings).map_err(|error| failed(&error))?);
    }
    let address = |node: &Node| NodeAddress { host: node.address().ip().to_string(), port: node.address().port() };
    let mut settings = coordinator::Settings::new(free, local.policy, nodes.iter().map(address).collect());
    settings.kernel = local.kernel;
    let coordinator = Coordinator::start(&settings).map_err(|error| failed(&error))?;
    // They are in this process: that they do not come is no case, but waiting for ever would be worse.
    coordinator.await_active(nodes.len(), Duration::from_secs(10));
    let target = Target { host: free.ip().to_string(), port: coordinator.address().port() };
    let access = Access { target, cluster: None, retry_for: RETRY_FOR };
    super::run(&access, options, plan, interrupts, true)
}

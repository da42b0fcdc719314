//! What the coordinator is told at its start.

use std::path::PathBuf;
use std::time::Duration;

use super::journal::{JobMemory, OnDiskError};
use crate::config::{Name, NodeAddress, NodesFile, memory_budget};
use crate::engine::{self, Policy};
use crate::job::memory::CoordinatorMeans;
use crate::model::Kernel;
use crate::net::SocketAddr;
use crate::wire::limits;

/// What the coordinator is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen for clients; port 0 takes any free one.
    pub listen: SocketAddr,
    /// How tasks are handed out.
    pub policy: Policy,
    /// The nodes that there may be.
    pub nodes: Vec<NodeAddress>,
    /// Where they are listed, if the list may change.
    pub nodes_file: Option<NodesFile>,
    /// How long each revival waits for a node.
    pub revival_waits: Vec<Duration>,
    /// Jobs that may run at the same time, as far as memory allows.
    pub jobs_at_once: usize,
    /// Memory for jobs, in bytes.
    pub memory_bytes: u64,
    /// Bytes of jobs' data kept, no more than that; where none are named, half of it.
    pub store_bytes: Option<u64>,
    /// Machine code for merging and validation.
    pub kernel: Kernel,
    /// The cluster that it belongs to.
    pub cluster: Option<Name>,
    /// The largest object that is taken.
    pub object_bytes: u64,
    /// Bytes of updates that may be on their way from nodes at a time; of one and a part of another, whatever their size.
    pub in_flight_bytes: u64,
    /// Clients connected at a time.
    pub connections: usize,
    /// Names, besides `localhost`, under which HTTP is answered.
    pub http_hosts: Vec<String>,
    /// Where jobs are written, so that they survive the coordinator; nowhere if none.
    pub state_dir: Option<PathBuf>,
    /// What happens when they cannot be.
    pub on_disk_error: OnDiskError,
    /// Jobs that are known after their end, the latest.
    pub keep_jobs: usize,
    /// How long they are.
    pub keep_ended: Duration,
    /// Bytes that they take where jobs are written, but for the latest of them.
    pub keep_bytes: u64,
}

/// Bytes of a round's updates that are kept at once in memory, for a merge that needs all of them, and on the disk.
const ROUND_BYTES_IN_MEMORY: u64 = 1 << 30;
const ROUND_BYTES_ON_DISK: u64 = 16 << 30;
/// Memory for jobs' data where nothing else is asked for, at least.
const STORE_BYTES_MIN: u64 = 1 << 30;
/// Jobs that are known after their end where nothing else is asked for.
const KEEP_JOBS: usize = 64;
/// What of ended jobs' data stays in memory beside the disk: the next one may have the same.
const RESTING_BYTES: u64 = 64 << 20;
/// Bytes that jobs take once they have ended, where nothing else is said.
pub const KEEP_BYTES: u64 = 10_000_000_000;

impl Settings {
    /// Bytes that the updates of one round may have where all of them are kept at once: in the directory where jobs are
    /// written, or in memory.
    pub(super) fn round_bytes(&self) -> u64 {
        if self.state_dir.is_some() { ROUND_BYTES_ON_DISK } else { ROUND_BYTES_IN_MEMORY }
    }

    /// Bytes that jobs' data may take together.
    pub(super) fn data_bytes(&self) -> u64 {
        let usual = (self.memory_bytes / 2).max(STORE_BYTES_MIN);
        self.store_bytes.unwrap_or(usual).min(self.memory_bytes)
    }

    /// Bytes of data that stay in memory while no job runs: all of it where it is nowhere else, or where room for it was asked for.
    pub(super) fn resting_bytes(&self) -> Option<u64> {
        let is_on_disk = self.state_dir.is_some() && self.on_disk_error == OnDiskError::Stop;
        (is_on_disk && self.store_bytes.is_none()).then_some(RESTING_BYTES)
    }

    /// Memory that jobs may take together, and what of these settings decides how much each takes.
    pub(super) fn job_memory(&self) -> JobMemory {
        let is_journaled = self.state_dir.is_some();
        let means = CoordinatorMeans { in_flight_bytes: self.in_flight_bytes, is_journaled };
        JobMemory { allowed_bytes: self.memory_bytes, means }
    }

    /// The settings of a coordinator at this address with these nodes.
    pub fn new(listen: SocketAddr, policy: Policy, nodes: Vec<NodeAddress>) -> Settings {
        Settings {
            listen,
            policy,
            nodes,
            nodes_file: None,
            revival_waits: engine::Settings::new(policy).revival_waits,
            jobs_at_once: engine::JOBS_AT_ONCE,
            memory_bytes: memory_budget(None),
            store_bytes: None,
            kernel: Kernel::best(),
            cluster: None,
            object_bytes: limits::OBJECT_BYTES_MAX,
            in_flight_bytes: limits::IN_FLIGHT_BYTES_MAX,
            connections: limits::CONNECTIONS_MAX,
            http_hosts: Vec::new(),
            state_dir: None,
            on_disk_error: OnDiskError::Stop,
            keep_jobs: KEEP_JOBS,
            keep_ended: Duration::from_secs(30 * 24 * 3_600),
            keep_bytes: KEEP_BYTES,
        }
    }
}

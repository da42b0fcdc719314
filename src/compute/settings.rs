//! What a node is told at its start.

use std::time::Duration;

use crate::config::{Name, Probability, WORKERS_MAX, memory_budget};
use crate::model::Kernel;
use crate::net::SocketAddr;
use crate::wire::limits;

/// What a node is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// With this probability the node is loaded for a second, or for the delay if that is shorter: it rejects what it may, and the
    /// first task that it takes waits.
    pub load_probability: Probability,
    /// So long, from when the load was drawn.
    pub load_delay: Duration,
    /// Tasks trained at once, at least 1.
    pub workers: u32,
    /// Machine code for the arithmetic.
    pub kernel: Kernel,
    /// Memory for tasks and for what is kept, in bytes.
    pub memory_bytes: u64,
    /// Bytes of rows kept, with what is kept beside them no more than half of that; where none are named, a quarter of it with that.
    pub cache_bytes: Option<u64>,
    /// What people call the node.
    pub name: Option<Name>,
    /// The cluster that it belongs to.
    pub cluster: Option<Name>,
    /// The largest object that is taken.
    pub object_bytes: u64,
    /// Coordinators linked at a time.
    pub connections: usize,
    /// Names, besides `localhost`, under which HTTP is answered.
    pub http_hosts: Vec<String>,
    /// How long a node that is to end waits for what is outstanding.
    pub drain_wait: Duration,
    /// How long what is trained for a coordinator that has gone keeps its worker from the tasks of others.
    pub orphan_lease: Duration,
    /// After so long without a task, memory that was kept for the next is given back.
    pub rest_after: Duration,
    /// Bytes that stay then of the objects that were kept; where `cache_bytes` are named, as many as those.
    pub resting_bytes: u64,
}

/// Memory for tasks below which a worker that nobody has asked for would rather not be: large tasks find no room otherwise.
const WORKER_BYTES: u64 = 256 << 20;
/// Memory for what is kept where nothing else is asked for: a part of all, but not below these bytes. Rows that have no room there
/// are sent again in every step of merged gradients, which touches all of them.
const KEPT_PART: u64 = 4;
const KEPT_BYTES_MIN: u64 = 256 << 20;
/// What is kept beside rows that were asked for: a part of them. Half of it is for results, and half for rows, or those of data that
/// are as many times as large as there are nodes would not quite have room.
const BESIDE_PART: u64 = 8;
/// What of all that is kept is for results.
const RESULTS_PART: u64 = 2 * (BESIDE_PART + 1);
/// What stays of it while there are no tasks, unless what is kept was asked for: a job that comes next may have the same rows, and
/// several nodes on one machine each keep theirs.
const RESTING_BYTES: u64 = 64 << 20;

impl Settings {
    /// As many workers as this program has cores, by its affinity and its control group; fewer where there is little memory for each.
    pub fn set_usual_workers(&mut self) {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let workers = cores.min(self.task_bytes() / WORKER_BYTES).clamp(1, WORKERS_MAX.into());
        self.workers = workers as u32;
    }

    /// Bytes that are kept of rows and results.
    fn kept_bytes(&self) -> u64 {
        let named = self.cache_bytes.map(|bytes| bytes.saturating_add(bytes / BESIDE_PART));
        let usual = (self.memory_bytes / KEPT_PART).max(KEPT_BYTES_MIN);
        named.unwrap_or(usual).min(self.memory_bytes / 2)
    }

    /// Bytes of those that are for results.
    pub(super) fn results_bytes(&self) -> u64 {
        self.kept_bytes() / RESULTS_PART
    }

    /// And for rows, beside those of tasks.
    pub(super) fn rows_bytes(&self) -> u64 {
        self.kept_bytes() - self.results_bytes()
    }

    /// Bytes of those that stay while there are no tasks.
    pub(super) fn resting_bytes(&self) -> u64 {
        self.cache_bytes.unwrap_or(self.resting_bytes)
    }

    /// Bytes that tasks may take together.
    pub(super) fn task_bytes(&self) -> u64 {
        self.memory_bytes - self.kept_bytes()
    }

    /// The settings of a node without injected load, of one worker, at this address.
    pub fn new(listen: SocketAddr) -> Settings {
        Settings {
            listen,
            load_probability: Probability::ZERO,
            load_delay: Duration::from_secs(3),
            workers: 1,
            kernel: Kernel::best(),
            memory_bytes: memory_budget(None),
            cache_bytes: None,
            name: None,
            cluster: None,
            object_bytes: limits::OBJECT_BYTES_MAX,
            connections: limits::CONNECTIONS_MAX,
            http_hosts: Vec::new(),
            drain_wait: Duration::from_secs(10),
            orphan_lease: Duration::from_secs(30),
            rest_after: Duration::from_secs(60),
            resting_bytes: RESTING_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_a_quarter_of_its_memory_but_256_mib_where_that_is_within_half() {
        let kept = |memory_mib: u64, cache_mib: Option<u64>| {
            let cache_bytes = cache_mib.map(|mib| mib << 20);
            let settings = Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)));
            Settings { memory_bytes: memory_mib << 20, cache_bytes, ..settings }.kept_bytes() >> 20
        };
        assert_eq!([100, 512, 800, 4_000].map(|memory| kept(memory, None)), [50, 256, 256, 1_000]);
        assert_eq!([64, 3_000].map(|cache| kept(4_000, Some(cache))), [72, 2_000]);
    }

    #[test]
    fn rows_have_what_is_asked_for_them_and_a_sixteenth_and_results_another() {
        let settings = Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        let settings = Settings { memory_bytes: 4 << 30, cache_bytes: Some(64 << 20), ..settings };
        assert_eq!([settings.rows_bytes(), settings.results_bytes()].map(|bytes| bytes >> 20), [68, 4]);
        assert_eq!(settings.task_bytes(), (4 << 30) - (72 << 20));
    }
}

//! The coordinator: hands out tasks and merges what comes back. Owns its arguments; the rest is
//! `gradwire::coordinator`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr as _;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use gradwire::cli::{self, Exit, Failure, Interrupts};
use gradwire::config::{self, Name, NodesFile, Waits};
use gradwire::coordinator::{Coordinator, FatalError, OnDiskError, Settings, StartError};
use gradwire::engine::Policy;
use gradwire::job::KEPT_JOBS_MAX;
use gradwire::job::memory::in_mib;
use gradwire::model::Kernel;
use gradwire::net::{self, IpAddr, SocketAddr};

/// Hand out training tasks to compute nodes, merge and validate their updates, and serve clients
#[derive(Parser)]
#[command(version, bin_name = "coordinator_node")]
struct Arguments {
    /// Port to listen on for clients; 0 takes any free one
    #[arg(value_parser = config::parse_port)]
    port: u16,
    /// Scheduling policy: 1 or random (any active node), 2 or load-balancing (the node that should finish first)
    scheduling_policy: Policy,
    /// Address to listen on; 0.0.0.0 opens the coordinator to the network
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = config::parse_address)]
    listen: IpAddr,
    /// List of compute nodes, one <ip or name>,<port> per line; the coordinator reads it again when it changes
    #[arg(long, value_name = "FILE", default_value = "compute_nodes.txt")]
    nodes: PathBuf,
    /// Seconds that each revival waits for a node while none is active, dialling all of them once a second
    #[arg(long, value_name = "SECONDS,...", default_value = "5,15,45")]
    revival_waits: Waits,
    /// Number of jobs to run at a time, 1 to 64, as far as memory allows; they take turns on the nodes
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u32).range(1..=64))]
    jobs_at_once: u32,
    /// Memory for jobs, in MiB [default: half of what the machine allows]
    #[arg(long, value_name = "MIB", value_parser = config::parse_mib)]
    memory: Option<u64>,
    /// Of this, for the data of jobs, in MiB [default: half of it, 1024 at least]
    #[arg(long, value_name = "MIB", value_parser = config::parse_mib)]
    store: Option<u64>,
    /// Machine code for merging and validation: auto, avx512, avx2 or portable; the bits are the same
    #[arg(long, default_value = "auto")]
    kernel: Kernel,
    /// Cluster of the coordinator; it refuses clients and nodes of other clusters [default: any]
    #[arg(long, value_name = "NAME")]
    cluster: Option<Name>,
    /// Number of connected clients, 1 to 8000
    #[arg(long, value_name = "N", default_value = "1024", value_parser = config::parse_connections)]
    connections: usize,
    /// Size of the largest object to accept, in MiB
    #[arg(long, value_name = "MIB", default_value = "1024", value_parser = config::parse_mib)]
    object: u64,
    /// Memory for updates in transfer from nodes, in MiB; an update and an eighth of one always fit
    #[arg(long, value_name = "MIB", default_value = "32", value_parser = config::parse_mib)]
    in_flight: u64,
    /// Host name to answer HTTP under, besides addresses and localhost; may be given several times [default: none]
    #[arg(long, value_name = "NAME")]
    http_host: Vec<String>,
    /// Directory to keep jobs in, so that they continue after a restart [default: a directory for this port under
    /// $XDG_STATE_HOME/gradwire or ~/.local/state/gradwire; none for port 0]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Keep jobs in memory only
    #[arg(long, conflicts_with = "state_dir")]
    no_state: bool,
    /// Action when jobs cannot be written: stop (a restart resumes from the disk) or continue
    #[arg(long, value_name = "ACTION", default_value_t = OnDiskError::Stop, value_parser = OnDiskError::from_str)]
    on_disk_error: OnDiskError,
    /// Number of finished jobs to keep, the latest ones [default: 1000; 64 if jobs are in memory only]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(KEPT_JOBS_MAX)))]
    keep_jobs: Option<u32>,
    /// Days to keep finished jobs, counted while a coordinator runs
    #[arg(long, value_name = "DAYS", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    keep_days: u32,
    /// Disk space for finished jobs, such as 500MB or 10GB; the latest is kept whatever its size
    #[arg(long, value_name = "BYTES", default_value = "10GB", value_parser = config::parse_bytes)]
    keep_bytes: u64,
}

fn main() -> ExitCode {
    let line = Arguments::command().after_help(cli::environment::HELP);
    let matches = cli::environment::matches(line, std::env::args_os().collect(), &[]);
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    cli::start_log("coordinator_node", log::LevelFilter::Info);
    cli::exit("coordinator_node", run(&arguments))
}

/// Descriptors of connections that are not greeted yet, of people, and of the coordinator's own, its journal among them.
const DESCRIPTORS_BESIDE_LINKS: u64 = 256;

/// What a coordinator opens at most: two descriptors for each link, and the others.
fn descriptors_needed(nodes: usize, clients: usize) -> u64 {
    (nodes + clients) as u64 * 2 + DESCRIPTORS_BESIDE_LINKS
}

/// Clients for whom so many descriptors are enough, beside nodes; one at least.
fn clients_within(descriptors: u64, nodes: usize) -> usize {
    let links = descriptors.saturating_sub(DESCRIPTORS_BESIDE_LINKS) / 2;
    usize::try_from(links).unwrap_or(usize::MAX).saturating_sub(nodes).max(1)
}

fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let interrupts = Interrupts::catch()?;
    let (file, nodes) = NodesFile::open(&arguments.nodes).map_err(|error| Failure::new(Exit::Usage, error))?;
    let mut connections = arguments.connections;
    let needed = descriptors_needed(nodes.len(), connections);
    if let Some(allowed) = net::raise_descriptor_limit().filter(|&allowed| allowed < needed) {
        let (nodes, clients) = (nodes.len(), connections);
        connections = clients_within(allowed, nodes);
        log::warn!(
            "the system allows {allowed} open descriptors, and {nodes} nodes and {clients} clients need up to {needed}: no more \
             than {connections} clients are taken at a time. Raise the limit of open files (ulimit -n) for more"
        );
    }
    if let (Some(asked), Some(there_is)) = (arguments.memory, config::memory_there_is())
        && asked > there_is
    {
        log::warn!(
            "--memory is {}, and this program may have {} here: jobs that are admitted may end it",
            in_mib(asked),
            in_mib(there_is)
        );
    }
    let state_dir = state_directory(arguments);
    let settings = Settings {
        nodes_file: Some(file),
        revival_waits: arguments.revival_waits.as_slice().to_vec(),
        jobs_at_once: arguments.jobs_at_once as usize,
        memory_bytes: config::memory_budget(arguments.memory),
        store_bytes: arguments.store,
        kernel: arguments.kernel,
        cluster: arguments.cluster.clone(),
        connections,
        object_bytes: arguments.object,
        in_flight_bytes: arguments.in_flight,
        http_hosts: arguments.http_host.clone(),
        keep_jobs: arguments.keep_jobs.unwrap_or(if state_dir.is_some() { 1_000 } else { 64 }) as usize,
        state_dir,
        on_disk_error: arguments.on_disk_error,
        keep_ended: Duration::from_secs(u64::from(arguments.keep_days) * 24 * 3_600),
        keep_bytes: arguments.keep_bytes,
        ..Settings::new(SocketAddr::new(arguments.listen, arguments.port), arguments.scheduling_policy, nodes)
    };
    let mut coordinator = Coordinator::start(&settings).map_err(|error| {
        let exit = if matches!(error, StartError::Journal(_) | StartError::Updates(_)) {
            Exit::Output
        } else {
            Exit::Connection
        };
        Failure::new(exit, error)
    })?;
    if !arguments.listen.is_loopback() {
        log::warn!("anyone who reaches this port can submit jobs and read models");
    }
    let stopped = interrupts.into_messages()?;
    let fatal = cli::first(&stopped, coordinator.fatal_errors());
    if fatal.is_none() {
        log::info!("stopping");
    }
    coordinator.stop();
    // What was still to be written then may have failed, too.
    match fatal.or_else(|| coordinator.fatal_errors().try_recv().ok()) {
        None => Ok(Exit::Success),
        Some(fatal @ FatalError::Journal(_)) => Err(Failure::new(Exit::Output, fatal)),
        Some(fatal @ FatalError::Fault { .. }) => Err(Failure::new(Exit::Fault, fatal)),
    }
}

/// Where jobs are kept, if anywhere.
fn state_directory(arguments: &Arguments) -> Option<PathBuf> {
    match &arguments.state_dir {
        _ if arguments.no_state => None,
        Some(directory) => Some(directory.clone()),
        None if arguments.port == 0 => None,
        None => config::state_directory(arguments.port),
    }
}

#[cfg(test)]
mod tests {
    use gradwire::coordinator::KEEP_BYTES;
    use gradwire::engine::JOBS_AT_ONCE;

    use super::*;

    #[test]
    fn no_more_clients_are_taken_than_there_are_descriptors_for() {
        for (descriptors, nodes) in [(260, 0), (1_024, 4), (1_025, 4), (4_096, 900)] {
            let clients = clients_within(descriptors, nodes);
            let fits = |clients| descriptors_needed(nodes, clients) <= descriptors;
            assert!(fits(clients) && !fits(clients + 1), "{clients} of {descriptors} beside {nodes}");
        }
        assert_eq!((clients_within(1_024, 4), clients_within(40, 20)), (380, 1));
    }

    #[test]
    fn as_many_jobs_run_at_a_time_as_help_says() {
        assert_eq!(Arguments::parse_from(["coordinator_node", "0", "2"]).jobs_at_once as usize, JOBS_AT_ONCE);
    }

    #[test]
    fn the_disk_that_help_promises_to_ended_jobs_is_that_of_a_coordinator_that_is_told_nothing() {
        assert_eq!(Arguments::parse_from(["coordinator_node", "0", "2"]).keep_bytes, KEEP_BYTES);
    }
}

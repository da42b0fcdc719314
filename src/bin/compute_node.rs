//! A compute node: trains tasks for coordinators. Owns its arguments; the rest is `gradwire::compute`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use gradwire::cli::{self, Exit, Failure};
use gradwire::compute::{Node, Settings};
use gradwire::config::{self, Name, Probability};
use gradwire::model::Kernel;
use gradwire::net::{IpAddr, SocketAddr};

/// Trains tasks for gradwire coordinators.
///
/// With probability <LOAD_PROBABILITY> a task is delayed (injected load), and under load balancing rejected.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Port to listen on; 0 takes any free one
    #[arg(value_parser = config::parse_port)]
    port: u16,
    /// Probability of injected load, 0 to 1
    #[arg(allow_negative_numbers = true)]
    load_probability: Probability,
    /// Address to listen on; 0.0.0.0 opens the node to the network
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    listen: IpAddr,
    /// How long injected load delays a task
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = config::parse_seconds)]
    load_delay: Duration,
    /// Tasks trained at once
    #[arg(long, value_name = "N", default_value = "1", value_parser = config::parse_workers)]
    workers: u32,
    /// Machine code for the arithmetic: auto, avx2 or portable; the bits are the same
    #[arg(long, default_value = "auto")]
    kernel: Kernel,
    /// Memory for data and results, in MiB
    #[arg(long, value_name = "MIB", default_value = "256", value_parser = config::parse_mib)]
    cache: u64,
    /// What people call the node
    #[arg(long)]
    name: Option<Name>,
    /// Refuse coordinators of other clusters
    #[arg(long, value_name = "NAME")]
    cluster: Option<Name>,
    /// Coordinators connected at a time, up to 8000
    #[arg(long, value_name = "N", default_value = "1024", value_parser = config::parse_connections)]
    connections: usize,
    /// The largest object that is taken, in MiB
    #[arg(long, value_name = "MIB", default_value = "1024", value_parser = config::parse_mib)]
    object: u64,
    /// Answer HTTP under this name too, besides addresses and localhost; may be given several times
    #[arg(long, value_name = "NAME")]
    http_host: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    cli::start_log("compute_node", log::LevelFilter::Info);
    cli::exit("compute_node", run(&arguments))
}

fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let interrupts = cli::interrupts()?;
    let settings = Settings {
        load_probability: arguments.load_probability,
        load_delay: arguments.load_delay,
        workers: arguments.workers,
        kernel: arguments.kernel,
        cache_bytes: arguments.cache,
        name: arguments.name.clone(),
        cluster: arguments.cluster.clone(),
        connections: arguments.connections,
        object_bytes: arguments.object,
        http_hosts: arguments.http_host.clone(),
        ..Settings::new(SocketAddr::new(arguments.listen, arguments.port))
    };
    let mut node = Node::start(&settings).map_err(|error| Failure::new(Exit::Connection, error))?;
    let workers = if settings.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", settings.workers) };
    log::info!("listening at {}, {workers}, kernel {}", node.address(), settings.kernel);
    if !arguments.listen.is_loopback() {
        log::warn!("whoever reaches this port can have tasks trained here and read their data");
    }
    let _ = interrupts.recv();
    log::info!("stopping");
    node.stop();
    Ok(Exit::Success)
}

//! A compute node: trains tasks for coordinators. Owns its arguments; the rest is `gradwire::compute`.

mod arguments;

use std::process::ExitCode;

use gradwire::cli::{self, Exit, Failure, Interrupts};
use gradwire::compute::Node;

use arguments::Asked;

const PROGRAM: &str = "compute_node";

fn main() -> ExitCode {
    cli::exit(PROGRAM, run())
}

fn run() -> Result<Exit, Failure> {
    let asked = arguments::read(lexopt::Parser::from_env(), gradwire::cli::environment::value);
    let settings = match asked.map_err(|text| Failure::new(Exit::Usage, text + " (see compute_node --help)"))? {
        Asked::Node(settings) => settings,
        Asked::Text(text) => return cli::print(&text).map(|()| Exit::Success),
    };
    cli::start_plain_log(PROGRAM, log::LevelFilter::Info);
    let mut interrupts = Interrupts::catch_first()?;
    let mut node = Node::start(&settings).map_err(|error| Failure::new(Exit::Connection, error))?;
    let workers = if settings.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", settings.workers) };
    log::info!("listening at {}, {workers}, kernel {}", node.address(), settings.kernel);
    if !settings.listen.ip().is_loopback() {
        log::warn!("anyone who reaches this port can train tasks here and read their data");
    }
    interrupts.wait();
    let wait = settings.drain_wait;
    let left = node.drain(wait, |owed| {
        log::info!("stopping after {owed}, {:.1} s from now at the latest", wait.as_secs_f64());
    });
    if !left.is_nothing() {
        log::warn!("time is up: {left} left to other nodes");
    }
    log::info!("stopping");
    node.stop();
    Ok(Exit::Success)
}

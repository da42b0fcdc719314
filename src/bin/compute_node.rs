//! A compute node: trains tasks for coordinators. Owns its arguments; the rest is `gradwire::compute`.

use std::process::ExitCode;

use gradwire::cli::{self, Exit, Failure, Interrupts, Named, Positional, Syntax};
use gradwire::compute::{Node, Settings};
use gradwire::config;
use gradwire::model::Kernel;
use gradwire::net::SocketAddr;

const SYNTAX: Syntax<Settings> = Syntax {
    program: "compute_node",
    version: concat!("gradwire ", env!("CARGO_PKG_VERSION")),
    about: "Trains tasks for gradwire coordinators. With probability <LOAD_PROBABILITY> a task is delayed (injected \
            load), and under load balancing rejected.",
    positionals: &[
        Positional {
            name: "PORT",
            help: "Port to listen on; 0 takes any free one",
            set: |node, text| config::parse_port(text).map(|port| node.listen.set_port(port)),
        },
        Positional {
            name: "LOAD_PROBABILITY",
            help: "Probability of injected load, 0 to 1",
            set: |node, text| text.parse().map(|probability| node.load_probability = probability),
        },
    ],
    options: &[
        Named {
            name: "listen",
            value: "ADDRESS",
            default: Some("127.0.0.1"),
            is_repeatable: false,
            help: "Address to listen on; 0.0.0.0 opens the node to the network",
            set: |node, text| config::parse_address(text).map(|address| node.listen.set_ip(address)),
        },
        Named {
            name: "load-delay",
            value: "SECONDS",
            default: Some("3"),
            is_repeatable: false,
            help: "How long injected load delays a task",
            set: |node, text| config::parse_seconds(text).map(|delay| node.load_delay = delay),
        },
        Named {
            name: "workers",
            value: "N",
            default: Some("1"),
            is_repeatable: false,
            help: "Tasks trained at once",
            set: |node, text| config::parse_workers(text).map(|workers| node.workers = workers),
        },
        Named {
            name: "kernel",
            value: "KERNEL",
            default: Some("auto"),
            is_repeatable: false,
            help: "Machine code for the arithmetic: auto, avx512, avx2 or portable; the bits are the same",
            set: |node, text| {
                let kernel = text.parse::<Kernel>().map_err(|error| error.to_string())?;
                node.kernel = kernel;
                Ok(())
            },
        },
        Named {
            name: "cache",
            value: "MIB",
            default: Some("256"),
            is_repeatable: false,
            help: "Memory for data and results, in MiB",
            set: |node, text| config::parse_mib(text).map(|bytes| node.cache_bytes = bytes),
        },
        Named {
            name: "drain",
            value: "SECONDS",
            default: Some("10"),
            is_repeatable: false,
            help: "How long the node, told to end (SIGTERM, Ctrl-C), may still take to deliver what it trains; told twice, it \
                   ends at once",
            set: |node, text| config::parse_seconds(text).map(|wait| node.drain_wait = wait),
        },
        Named {
            name: "name",
            value: "NAME",
            default: None,
            is_repeatable: false,
            help: "What people call the node",
            set: |node, text| text.parse().map(|name| node.name = Some(name)),
        },
        Named {
            name: "cluster",
            value: "NAME",
            default: None,
            is_repeatable: false,
            help: "Refuse coordinators of other clusters",
            set: |node, text| text.parse().map(|name| node.cluster = Some(name)),
        },
        Named {
            name: "connections",
            value: "N",
            default: Some("1024"),
            is_repeatable: false,
            help: "Coordinators connected at a time, up to 8000",
            set: |node, text| config::parse_connections(text).map(|connections| node.connections = connections),
        },
        Named {
            name: "object",
            value: "MIB",
            default: Some("1024"),
            is_repeatable: false,
            help: "The largest object that is taken, in MiB",
            set: |node, text| config::parse_mib(text).map(|bytes| node.object_bytes = bytes),
        },
        Named {
            name: "http-host",
            value: "NAME",
            default: None,
            is_repeatable: true,
            help: "Answer HTTP under this name too, besides addresses and localhost; may be given several times",
            set: |node, text| {
                node.http_hosts.push(text.to_owned());
                Ok(())
            },
        },
    ],
};

fn main() -> ExitCode {
    cli::exit(SYNTAX.program, run())
}

/// A node that has been told nothing.
fn untold() -> Settings {
    Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn run() -> Result<Exit, Failure> {
    let Some(settings) = SYNTAX.settings(untold())? else { return Ok(Exit::Success) };
    cli::start_plain_log(SYNTAX.program, log::LevelFilter::Info);
    let mut interrupts = Interrupts::catch_first()?;
    let mut node = Node::start(&settings).map_err(|error| Failure::new(Exit::Connection, error))?;
    let workers = if settings.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", settings.workers) };
    log::info!("listening at {}, {workers}, kernel {}", node.address(), settings.kernel);
    if !settings.listen.ip().is_loopback() {
        log::warn!("whoever reaches this port can have tasks trained here and read their data");
    }
    interrupts.wait();
    let wait = settings.drain_wait;
    let left = node.drain(wait, |owed| {
        log::info!("stopping after {owed}, {:.1} s from now at the latest", wait.as_secs_f64());
    });
    if !left.is_nothing() {
        log::warn!("its time is up: {left} left to others");
    }
    log::info!("stopping");
    node.stop();
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_that_help_shows_are_those_of_a_node_that_is_told_nothing() {
        let mut told = untold();
        for option in SYNTAX.options {
            if let Some(default) = option.default {
                (option.set)(&mut told, default).unwrap();
                assert_eq!(format!("{told:?}"), format!("{:?}", untold()), "--{}", option.name);
            }
        }
    }
}

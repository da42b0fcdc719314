//! The node's command line, read with lexopt: clap would be a fifth of a node's file. Owns the options, the help and the
//! sentences about mistakes; does not know what the settings do.

use std::ffi::{OsStr, OsString};
use std::str::FromStr;

use gradwire::cli::{self, environment};
use gradwire::close::close;
use gradwire::compute::Settings;
use gradwire::config;
use gradwire::model::Kernel;
use gradwire::net::SocketAddr;
use lexopt::Arg::{Long, Short, Value};
use lexopt::Parser;

const USAGE: &str = "compute_node [OPTIONS] <PORT> <LOAD_PROBABILITY>";
const ABOUT: &str = "Train tasks for gradwire coordinators. To imitate a loaded machine, the node is loaded with probability \
    <LOAD_PROBABILITY>, drawn anew every second: the first task that it takes then is delayed, and under load balancing it \
    rejects tasks until the second is over.";
const VERSION: &str = concat!("gradwire ", env!("CARGO_PKG_VERSION"));
/// What has to be given, in its place: name and help.
const POSITIONALS: [[&str; 2]; 2] =
    [["PORT", "Port to listen on; 0 takes any free one"], ["LOAD_PROBABILITY", "Probability of injected load, 0 to 1"]];
/// What may be given: name, value, help.
const OPTIONS: [[&str; 3]; 13] = [
    ["listen", "ADDRESS", "Address to listen on; 0.0.0.0 opens the node to the network [default: 127.0.0.1]"],
    [
        "load-delay",
        "SECONDS",
        "Seconds by which injected load delays a task; below 1, it is drawn as often [default: 3]",
    ],
    ["workers", "N", "Number of tasks to train at the same time, 1 to 1024 [default: the cores]"],
    [
        "kernel",
        "KERNEL",
        "Machine code for the arithmetic: auto, avx512, avx2 or portable; the bits are the same \
        [default: auto]",
    ],
    ["memory", "MIB", "Memory for tasks, data and results, in MiB [default: half of the machine's]"],
    ["cache", "MIB", "Of this, for rows, in MiB, and an eighth beside; at most half [default: a quarter, min. 256]"],
    [
        "drain",
        "SECONDS",
        "Seconds to deliver running tasks after SIGTERM or Ctrl-C; a second signal ends the node at \
        once [default: 10]",
    ],
    [
        "orphan-lease",
        "SECONDS",
        "Seconds for which a task whose coordinator has gone keeps its worker from other tasks [default: 30]",
    ],
    ["name", "NAME", "Name of the node for people [default: its address and port]"],
    ["cluster", "NAME", "Cluster of the node; it refuses coordinators of other clusters [default: any]"],
    ["connections", "N", "Number of connected coordinators, 1 to 8000 [default: 1024]"],
    ["object", "MIB", "Size of the largest object to accept, in MiB [default: 1024]"],
    [
        "http-host",
        "NAME",
        "Host name to answer HTTP under, besides addresses and localhost; may be given several times",
    ],
];

/// What a command line asks for.
#[derive(Debug)]
pub enum Asked {
    Node(Box<Settings>),
    /// To print this, and no more.
    Text(String),
}

/// Reads a command line, and for options that are not there what the environment has for them. A mistake is a sentence that
/// names what was got and what is allowed.
pub fn read(mut parser: Parser, of_environment: impl Fn(&str) -> Option<OsString>) -> Result<Asked, String> {
    let mut node = Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    let (mut values, mut given) = (0, Vec::new());
    loop {
        // No option begins with a digit: it is a number, and its reader says whether a negative one is allowed.
        let number = parser.try_raw_args().and_then(|mut raw| raw.next_if(is_negative_number));
        let argument = match number {
            Some(number) => Some(Value(number)),
            None => parser.next().map_err(|error| error.to_string())?,
        };
        let (shown, name, got) = match argument {
            None => break,
            Some(Short('h')) => return Ok(Asked::Text(help(cli::columns()))),
            Some(Short('V')) => return Ok(Asked::Text(VERSION.to_owned())),
            Some(Long(name @ ("help" | "version"))) => {
                let asked = if name == "help" { help(cli::columns()) } else { VERSION.to_owned() };
                let name = format!("--{name}");
                return match parser.optional_value() {
                    None => Ok(Asked::Text(asked)),
                    Some(got) => Err(format!("{name} takes no value, and got {got:?}")),
                };
            }
            Some(Value(got)) => {
                let Some([name, _]) = POSITIONALS.get(values) else {
                    return Err(format!("{got:?} is one value too many for {USAGE}"));
                };
                values += 1;
                (format!("<{name}>"), *name, got)
            }
            Some(Short(letter)) => return Err(unknown(&format!("-{letter}"))),
            Some(Long(name)) => {
                let Some([name, value, _]) = OPTIONS.iter().find(|[known, ..]| *known == name) else {
                    return Err(unknown(&format!("--{name}")));
                };
                let got = value_behind(&mut parser, name, value)?;
                if given.contains(name) && *name != "http-host" {
                    return Err(format!("--{name} may be given once, and is given again with {got:?}"));
                }
                given.push(*name);
                (format!("--{name}"), *name, got)
            }
        };
        set_to(&mut node, &shown, name, &got)?;
    }
    let mut is_told = given.contains(&"workers");
    for [name, ..] in OPTIONS.iter().filter(|[name, ..]| !given.contains(name)) {
        let Some(got) = of_environment(name) else { continue };
        is_told |= *name == "workers";
        let variable = environment::variable(name);
        set_to(&mut node, &variable, name, &got)?;
    }
    if !is_told {
        // Once it is known how much memory they may take.
        node.set_usual_workers();
    }
    match POSITIONALS.get(values) {
        Some([missing, _]) => Err(format!("<{missing}> is missing in {USAGE}")),
        None => Ok(Asked::Node(Box::new(node))),
    }
}

/// Sets what is called `name`, and is shown to the user as `shown`.
fn set_to(node: &mut Settings, shown: &str, name: &str, got: &OsStr) -> Result<(), String> {
    let set = got.to_str().ok_or_else(|| "it is not UTF-8".to_owned()).and_then(|text| set(node, name, text));
    set.map_err(|allowed| format!("{shown} cannot be {got:?}: {allowed}"))
}

fn set(node: &mut Settings, name: &str, text: &str) -> Result<(), String> {
    match name {
        "PORT" => node.listen.set_port(config::parse_port(text)?),
        "LOAD_PROBABILITY" => node.load_probability = text.parse()?,
        "listen" => node.listen.set_ip(config::parse_address(text)?),
        "load-delay" => node.load_delay = config::parse_seconds(text)?,
        "workers" => node.workers = config::parse_workers(text)?,
        "kernel" => node.kernel = text.parse().map_err(|error| <Kernel as FromStr>::Err::to_string(&error))?,
        "memory" => node.memory_bytes = config::memory_budget(Some(config::parse_mib(text)?)),
        "cache" => node.cache_bytes = Some(config::parse_mib(text)?),
        "drain" => node.drain_wait = config::parse_seconds(text)?,
        "orphan-lease" => node.orphan_lease = config::parse_seconds(text)?,
        "name" => node.name = Some(text.parse()?),
        "cluster" => node.cluster = Some(text.parse()?),
        "connections" => node.connections = config::parse_connections(text)?,
        "object" => node.object_bytes = config::parse_mib(text)?,
        _ => node.http_hosts.push(text.to_owned()),
    }
    Ok(())
}

/// The value of the option that was just read.
fn value_behind(parser: &mut Parser, name: &str, value: &str) -> Result<OsString, String> {
    if let Some(attached) = parser.optional_value() {
        return Ok(attached);
    }
    let is_option = |next: &OsStr| matches!(next.as_encoded_bytes(), [b'-', _, ..]) && !is_negative_number(next);
    let mut raw = parser.raw_args().map_err(|error| error.to_string())?;
    let follows = match raw.peek() {
        Some(next) if is_option(next) => format!("{next:?} follows it; if that is the value, write --{name}=..."),
        Some(_) => return Ok(raw.next().unwrap_or_default()),
        None => "nothing follows it".to_owned(),
    };
    Err(format!("--{name} needs a value, <{value}>, and {follows}"))
}

fn is_negative_number(argument: &OsStr) -> bool {
    matches!(argument.as_encoded_bytes(), [b'-', b'0'..=b'9' | b'.', ..])
}

/// There is no such option; perhaps another one is meant.
fn unknown(got: &str) -> String {
    let name = got.trim_start_matches('-');
    let names = OPTIONS.iter().map(|[name, ..]| *name).chain(["help", "version"]);
    match close(name, names).filter(|_| got.starts_with("--")) {
        Some(meant) => format!("there is no option {got:?}; --{meant} is close to it"),
        None => format!("there is no option {got:?}; if it is a value, write -- before it"),
    }
}

/// The help, in lines of at most `columns`, without the last one's end.
fn help(columns: usize) -> String {
    const INDENT: usize = 2 + "--orphan-lease <SECONDS>".len() + 2;
    let row = |left: String, help: &str| {
        let mut row = format!("\n{left:INDENT$}");
        cli::wrap(&mut row, INDENT, INDENT, columns, help);
        row
    };
    let arguments: String = POSITIONALS.iter().map(|[name, help]| row(format!("  <{name}>"), help)).collect();
    let options: String =
        OPTIONS.iter().map(|[name, value, help]| row(format!("  --{name} <{value}>"), help)).collect();
    let help = row("  -h, --help".to_owned(), "Print help");
    let version = row("  -V, --version".to_owned(), "Print version");
    let mut about = String::new();
    cli::wrap(&mut about, 0, 0, columns, ABOUT);
    let mut end = String::new();
    cli::wrap(&mut end, 0, 0, columns, environment::HELP);
    format!("{about}\n\nUsage: {USAGE}\n\nArguments:{arguments}\n\nOptions:{options}{help}{version}\n\n{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(line: &[&str]) -> Settings {
        match read(Parser::from_args(line), |_| None) {
            Ok(Asked::Node(node)) => *node,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    fn said<T: Into<OsString>>(line: impl IntoIterator<Item = T>) -> String {
        read(Parser::from_args(line), |_| None).unwrap_err()
    }

    #[test]
    fn values_are_given_in_either_form_in_any_order_and_the_rest_has_its_default() {
        let plain = node(&["3", "0.5", "--workers=1"]);
        assert_eq!((plain.listen.to_string().as_str(), plain.load_probability.get()), ("127.0.0.1:3", 0.5));
        assert_eq!(
            format!("{:?}", node(&["--load-delay=3", "3", "--workers", "1", "--", "0.5"])),
            format!("{plain:?}")
        );
        let hosts =
            node(&["--http-host", "a", "0", "--http-host=--b", "0", "--listen", "::1", "--http-host=", "--name=-"]);
        assert_eq!(
            (hosts.http_hosts, hosts.listen.to_string()),
            (vec!["a".into(), "--b".into(), String::new()], "[::1]:0".into())
        );
    }

    #[test]
    fn the_environment_fills_in_what_the_command_line_leaves_out() {
        let of_environment = |name: &str| match name {
            "workers" => Some("3".into()),
            "drain" => Some("soon".into()),
            _ => None,
        };
        let read = |line: &[&str]| read(Parser::from_args(line), of_environment);
        let Ok(Asked::Node(node)) = read(&["0", "0", "--drain", "1"]) else { panic!("a node") };
        assert_eq!(node.workers, 3);
        let Ok(Asked::Node(node)) = read(&["0", "0", "--drain", "1", "--workers=2"]) else { panic!("a node") };
        assert_eq!(node.workers, 2);
        assert!(read(&["0", "0"]).unwrap_err().starts_with("GRADWIRE_DRAIN cannot be \"soon\": "));
    }

    #[test]
    fn a_node_that_is_told_no_number_has_as_many_workers_as_cores_and_memory_allow() {
        let cores = std::thread::available_parallelism().unwrap().get() as u32;
        assert!((1..=cores).contains(&node(&["0", "0"]).workers));
        assert_eq!(node(&["0", "0", "--memory", "1048576"]).workers, cores);
        assert_eq!(node(&["0", "0", "--memory", "64"]).workers, 1);
        assert_eq!(node(&["0", "0", "--memory", "64", "--workers", "7"]).workers, 7);
    }

    #[test]
    fn a_negative_number_is_a_value_wherever_it_stands() {
        for number in ["-1", "-.5", "-1x"] {
            let refused = format!("<PORT> cannot be {number:?}: a port is a number from 0");
            assert!(said([number]).starts_with(&refused) && said(["--", number]).starts_with(&refused));
            assert!(said(["--cache", number]).starts_with(&format!("--cache cannot be {number:?}: ")));
        }
        assert!(said(["--", "--cache"]).starts_with("<PORT> cannot be \"--cache\": "));
    }

    #[test]
    fn a_mistake_is_named_with_what_was_got_and_what_is_allowed() {
        assert_eq!(said(["1"]), format!("<LOAD_PROBABILITY> is missing in {USAGE}"));
        assert_eq!(said(["1", "1", "2"]), format!("\"2\" is one value too many for {USAGE}"));
        assert_eq!(said(["--cache"]), "--cache needs a value, <MIB>, and nothing follows it");
        let follows =
            "--cache needs a value, <MIB>, and \"--drain\" follows it; if that is the value, write --cache=...";
        assert_eq!(said(["--cache", "--drain"]), follows);
        assert_eq!(said(["--cache=1", "--cache=2"]), "--cache may be given once, and is given again with \"2\"");
        assert_eq!(said(["--help=me"]), "--help takes no value, and got \"me\"");
    }

    #[test]
    fn what_is_not_utf_8_is_a_mistake_and_no_panic() {
        use std::os::unix::ffi::OsStrExt as _;
        let broken = OsStr::from_bytes(b"\xFF");
        assert_eq!(said([broken, broken]), "<PORT> cannot be \"\\xFF\": it is not UTF-8");
        assert_eq!(said(["--cache".as_ref(), broken]), "--cache cannot be \"\\xFF\": it is not UTF-8");
        assert!(said([OsStr::from_bytes(b"--l\xFF"), broken]).starts_with("there is no option \"--l"));
        assert!(said([OsStr::from_bytes(b"-\xFF"), broken]).starts_with("there is no option \"-"));
    }

    #[test]
    fn an_unknown_option_is_told_from_a_misspelt_one() {
        for (misspelt, meant) in [("--wrokers", "workers"), ("--conn", "connections"), ("--hepl=1", "help")] {
            assert!(said([misspelt]).ends_with(&format!("; --{meant} is close to it")), "{}", said([misspelt]));
        }
        assert!(said(["--sp\nout"]).starts_with("there is no option \"--sp\\nout\";"));
        for unknown in ["--spout", "-l", "-name"] {
            assert!(said([unknown]).ends_with("; if it is a value, write -- before it"), "{}", said([unknown]));
        }
    }

    #[test]
    fn help_and_version_are_given_whatever_else_is_missing() {
        for line in [&["--help"][..], &["-h"], &["1", "--cache=3", "--help", "--spout"], &["--version"], &["-Vh"]] {
            assert!(matches!(read(Parser::from_args(line), |_| None), Ok(Asked::Text(_))), "{line:?}");
        }
    }

    #[test]
    fn help_fits_its_width_and_names_every_option() {
        for columns in [60, 80, 200] {
            let help = help(columns);
            assert!(help.lines().all(|line| line.len() <= columns && line == line.trim_end()), "{help}");
            assert!(
                OPTIONS.iter().all(|[name, value, _]| help.contains(&format!("\n  --{name} <{value}>  "))),
                "{help}"
            );
        }
    }

    #[test]
    fn the_defaults_that_help_shows_are_those_of_a_node_that_is_told_nothing() {
        let untold = || Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut told = untold();
        for [name, _, help] in OPTIONS {
            let default = help.split_once("[default: ").map(|(_, default)| default.trim_end_matches(']'));
            let untyped =
                ["any", "none", "its address and port", "half of the machine's", "a quarter, min. 256", "the cores"];
            if let Some(default) = default.filter(|default| !untyped.contains(default)) {
                set(&mut told, name, default).unwrap();
                assert_eq!(format!("{told:?}"), format!("{:?}", untold()), "--{name}");
            }
        }
    }
}

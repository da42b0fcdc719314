//! What people and their tools say to a server's port, and the form of what they are told: the console's commands, HTTP
//! requests, columns, counts, metrics, time stamps. Pure, as all of `wire`; does not know what the answers hold.

mod count;
pub mod http;
mod metrics;
mod shown;
mod table;
mod timestamp;

pub use count::counted;
pub use metrics::{Kind, Metrics};
#[cfg(feature = "client")]
pub(crate) use shown::misleads;
pub use shown::shown;
pub use table::{Align, Table, number};
pub use timestamp::Timestamp;

use std::fmt;

use super::limits;
use crate::job::JobId;

/// A line that a person may type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// What is going on, on one page.
    Status,
    /// The nodes.
    Nodes,
    /// The jobs.
    Jobs,
    /// One job.
    Job(JobPrefix),
    /// A line whenever something happens.
    Watch,
    /// The limits in force.
    Limits,
    /// Which program this is.
    Version,
    /// Whether anybody is there.
    Ping,
    /// What can be typed.
    Help,
    /// Hang up.
    Quit,
}

/// The answer to `help`.
pub const HELP: &str = "\
status    what is going on
nodes     the nodes, a line each
jobs      the jobs, a line each
job ID    one job; the beginning of its id will do
watch     a line whenever something happens, until you hang up
limits    the limits in force
version   which program this is
ping      answers pong
help      this list
quit      hang up
";

/// The answer to `ping`.
pub const PONG: &str = "pong\n";

/// The answer to anything else, before the connection closes.
pub const UNKNOWN: &str =
    "unknown command; try: status, nodes, jobs, job ID, watch, limits, version, ping, help, quit\n";

/// The answer to `job` without the beginning of an id, before the connection closes.
pub const NO_JOB_ID: &str = "which job? job ID, where ID is 1 to 32 hexadecimal digits: the beginning of a job's id\n";

/// The answer to a line of more than 256 bytes, before the connection closes.
pub const LINE_TOO_LONG: &str = "the line is too long: at most 256 bytes\n";

/// The beginning of a job's id, as a person types it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobPrefix {
    /// 1 to 32.
    digits: u32,
    value: u128,
}

impl JobPrefix {
    /// Reads 1 to 32 hexadecimal digits.
    pub fn parse(text: &[u8]) -> Option<JobPrefix> {
        if !(1..=32).contains(&text.len()) {
            return None;
        }
        let mut value = 0;
        for &byte in text {
            value = value << 4 | u128::from(char::from(byte).to_digit(16)?);
        }
        Some(JobPrefix { digits: text.len() as u32, value })
    }

    /// Whether the job's id begins so.
    pub fn begins(&self, job: JobId) -> bool {
        job.0 >> (128 - 4 * self.digits) == self.value
    }
}

impl fmt::Display for JobPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$x}", self.value, width = self.digits as usize)
    }
}

/// Why a line is no command. The connection closes after the sentence: whatever sends such lines is no person who looks
/// at the answers, or is glad to begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCommand {
    /// Nothing begins so.
    Unknown,
    /// `job` without the beginning of an id.
    JobId,
}

impl NoCommand {
    /// What the peer is told: a line.
    pub fn answer(self) -> &'static str {
        match self {
            NoCommand::Unknown => UNKNOWN,
            NoCommand::JobId => NO_JOB_ID,
        }
    }
}

/// The command in a line, without regard to case and white space around words; an empty line is none.
pub fn parse(line: &[u8]) -> Result<Option<Command>, NoCommand> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return Ok(None) };
    let (argument, more) = (words.next(), words.next());
    let is = |name: &str| first.eq_ignore_ascii_case(name.as_bytes());
    if is("job") {
        let prefix = argument.filter(|_| more.is_none()).and_then(JobPrefix::parse);
        return prefix.map(|prefix| Some(Command::Job(prefix))).ok_or(NoCommand::JobId);
    }
    const PLAIN: [(&str, Command); 9] = [
        ("status", Command::Status),
        ("nodes", Command::Nodes),
        ("jobs", Command::Jobs),
        ("watch", Command::Watch),
        ("limits", Command::Limits),
        ("version", Command::Version),
        ("ping", Command::Ping),
        ("help", Command::Help),
        ("quit", Command::Quit),
    ];
    let command = PLAIN.iter().find(|(name, _)| argument.is_none() && is(name));
    command.map(|&(_, command)| Some(command)).ok_or(NoCommand::Unknown)
}

/// What bytes that are no frame begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// A line.
    Line {
        /// Its length, with its end where it has one.
        bytes: usize,
    },
    /// A line that is longer than lines may be.
    TooLong,
    /// No line, but an HTTP request.
    Request,
}

/// What `held` begins with; none while that cannot be told. `is_all` says that nothing more will come: a sender that
/// closes its half without a line end has finished its last line.
pub fn beginning(held: &[u8], is_all: bool) -> Option<Beginning> {
    if http::is_request(held) {
        return Some(Beginning::Request);
    }
    let end = held.iter().position(|&byte| byte == b'\n');
    if end.unwrap_or(held.len()) > limits::TEXT_LINE_BYTES_MAX {
        return Some(Beginning::TooLong);
    }
    match end {
        Some(end) => Some(Beginning::Line { bytes: end + 1 }),
        None if is_all && !held.is_empty() => Some(Beginning::Line { bytes: held.len() }),
        None => None,
    }
}

/// Whether a connection that begins with this byte is a person's, not a frame's.
pub fn is_text(first_byte: u8) -> bool {
    first_byte.is_ascii_graphic() || first_byte.is_ascii_whitespace()
}

/// The answer to `limits`: a line each of name, value, unit and what is limited. `set` has the values of those that were
/// set at the program's start.
pub fn limits_in_force(set: &[(&str, u64)]) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[("LIMIT", Left), ("VALUE", Right), ("UNIT", Left), ("OF", Left)]);
    for limit in limits::ALL {
        let value = set.iter().find(|(name, _)| *name == limit.name).map_or(limit.value, |&(_, value)| value);
        table.row([limit.name.to_owned(), value.to_string(), limit.unit.to_owned(), limit.of.to_owned()]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_in_any_case_with_either_line_end() {
        assert_eq!(parse(b"status\r\n"), Ok(Some(Command::Status)));
        assert_eq!(parse(b"  HeLp \n"), Ok(Some(Command::Help)));
        assert_eq!(parse(b"\r\n"), Ok(None));
        for line in [&b"GET / HTTP/1.1"[..], b"\xff\xfe", b"status now", b"statu", b"quit quit"] {
            assert_eq!(parse(line), Err(NoCommand::Unknown));
        }
    }

    #[test]
    fn a_line_has_at_most_256_bytes_before_its_end() {
        let with = |length: usize, end: &str| [&vec![b'a'; length][..], end.as_bytes()].concat();
        assert_eq!(beginning(&with(256, "\nb"), false), Some(Beginning::Line { bytes: 257 }));
        assert_eq!(beginning(&with(257, "\nb"), false), Some(Beginning::TooLong));
        assert_eq!((beginning(&with(256, ""), false), beginning(b"", true)), (None, None));
        assert_eq!(beginning(&with(256, ""), true), Some(Beginning::Line { bytes: 256 }));
        assert_eq!(beginning(&with(257, ""), false), Some(Beginning::TooLong));
        assert_eq!(beginning(&[&b"GET "[..], &with(300, "")].concat(), false), Some(Beginning::Request));
    }

    #[test]
    fn a_job_is_named_by_the_beginning_of_its_id() {
        let named = |line: &[u8]| match parse(line) {
            Ok(Some(Command::Job(prefix))) => Ok(prefix),
            Err(error) => Err(error),
            other => panic!("{other:?}"),
        };
        let job = JobId(0xABC << 116 | 5);
        assert!(named(b"job abc\n").unwrap().begins(job) && named(b" JOB\tABC0\r\n").unwrap().begins(job));
        assert!(
            named(
                job.to_string()
                    .as_bytes()
                    .iter()
                    .copied()
                    .fold(b"job ".to_vec(), |mut line, byte| {
                        line.push(byte);
                        line
                    })
                    .as_slice()
            )
            .unwrap()
            .begins(job)
        );
        assert!(!named(b"job abd").unwrap().begins(job));
        assert_eq!(named(b"job 0Ab").unwrap().to_string(), "0ab");
        for line in [&b"job"[..], b"job x", b"job a b", b"job +1", &[&b"job "[..], &[b'a'; 33]].concat()] {
            assert_eq!(named(line), Err(NoCommand::JobId), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn help_lists_every_command_and_nothing_else() {
        let listed: Vec<_> = HELP.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
        assert_eq!(listed.len(), 10);
        for word in listed {
            let line = if word == "job" { "job 1" } else { word };
            assert!(matches!(parse(line.as_bytes()), Ok(Some(_))), "{word}");
            assert!(UNKNOWN.contains(word), "{word}");
        }
    }

    #[test]
    fn limits_that_were_set_are_shown_as_set() {
        let text = limits_in_force(&[("CONNECTIONS_MAX", 77)]);
        let value = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().nth(1);
        assert_eq!(value("CONNECTIONS_MAX"), Some("77"));
        assert_eq!(value("PAYLOAD_BYTES_MAX"), Some("1048576"));
    }

    #[test]
    fn what_moves_a_cursor_is_shown_as_what_it_is() {
        assert_eq!(shown("a\u{1b}[2Jb\r\né\u{202e}\u{61c}").to_string(), "a\\u{1b}[2Jb\\r\\né\\u{202e}\\u{61c}");
    }

    #[test]
    fn a_frames_first_byte_is_no_text() {
        assert!(!is_text(crate::wire::header::MAGIC[0]));
        assert!(is_text(b's') && is_text(b'\n') && !is_text(0));
    }
}

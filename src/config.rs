//! Typed settings and the file `compute_nodes.txt`. Owns what a user may write and what is said about mistakes; does
//! not know what the settings do.

mod memory;

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::wire;

pub use memory::{can_be_had, memory_budget, memory_there_is};

/// Workers of a node, at most: each is a thread with memory for a model of its own.
pub const WORKERS_MAX: u32 = 1_024;
/// Memory that can be asked for: 16 TiB. More is a slip of the keyboard, and sums of bytes stay far below 2^64.
const MEMORY_MIB_MAX: u64 = 1 << 24;
/// Nodes in a file, at most: each takes a thread to read, one to write, and two descriptors.
pub const NODES_MAX: usize = 8_000;

/// A compute node's place in `compute_nodes.txt`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeAddress {
    /// IP address or name.
    pub host: String,
    /// Port, not 0.
    pub port: u16,
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What is wrong with a nodes file.
#[derive(Debug)]
pub enum NodesFileError {
    /// It cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line is not `<ip or name>,<port>`.
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        why: LineError,
    },
    /// No line names a node.
    NoNodes {
        /// The file.
        path: PathBuf,
    },
    /// More nodes than [`NODES_MAX`].
    TooMany {
        /// The file.
        path: PathBuf,
    },
}

/// What is wrong with a line of a nodes file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineError {
    /// There is no comma.
    NoComma,
    /// What stands before the comma is neither an address nor a name.
    Host(String),
    /// What stands behind the comma is no port.
    Port(String),
    /// The node stands in the file already.
    Twice {
        /// On this line.
        first: usize,
    },
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoComma => f.write_str("a line is <ip or name>,<port>, and this one has no comma"),
            Self::Host(got) => write!(f, "{got:?} is neither an IP address nor a host name"),
            Self::Port(got) => write!(f, "{got:?} is not a port: a number from 1 to 65535"),
            Self::Twice { first } => write!(f, "this node stands on line {first} already"),
        }
    }
}

impl fmt::Display for NodesFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => {
                write!(f, "the nodes file {} cannot be read: {source} (--nodes names another)", path.display())
            }
            Self::Line { path, line, why } => write!(f, "{}, line {line}: {why}", path.display()),
            Self::NoNodes { path } => {
                write!(f, "{} names no node: add lines of the form <ip or name>,<port>", path.display())
            }
            Self::TooMany { path } => write!(f, "{} names more than {NODES_MAX} nodes", path.display()),
        }
    }
}

impl std::error::Error for NodesFileError {}

/// A nodes file that may be edited while it is in use: one `<ip or name>,<port>` a line, an IPv6 address with or without
/// brackets, spaces allowed, `#` begins a comment, blank lines pass.
#[derive(Clone, Debug)]
pub struct NodesFile {
    path: PathBuf,
    /// What it was like when it was read.
    read: Stamp,
    /// What it was like when it was looked at last.
    seen: Stamp,
}

/// What tells a file from itself before an edit, without reading it: time of the last change, size, and which file it is;
/// none where it cannot be had.
type Stamp = Option<(SystemTime, u64, u64)>;

impl NodesFile {
    /// Reads the file. It must name a node.
    pub fn open(path: &Path) -> Result<(NodesFile, Vec<NodeAddress>), NodesFileError> {
        // Taken before the reading: an edit after that is seen.
        let stamp = stamp(path);
        let nodes = read_nodes(path)?;
        if nodes.is_empty() {
            return Err(NodesFileError::NoNodes { path: path.to_owned() });
        }
        Ok((NodesFile { path: path.to_owned(), read: stamp, seen: stamp }, nodes))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The nodes in the file, if it has changed since it was read, or what is wrong with it: once for each change. A file
    /// that has changed since the last look, too, is perhaps being written, and is left alone until the next. It may name no node
    /// now, but not have no text at all: an editor may have cut it off, or a full disk.
    pub fn look(&mut self) -> Option<Result<Vec<NodeAddress>, NodesFileError>> {
        let now = stamp(&self.path);
        let is_at_rest = std::mem::replace(&mut self.seen, now) == now;
        if now == self.read || !is_at_rest {
            return None;
        }
        let nodes = match now {
            Some((_, 0, _)) => Err(NodesFileError::NoNodes { path: self.path.clone() }),
            Some(_) => read_nodes(&self.path),
            None => Err(self.unreadable()),
        };
        if stamp(&self.path) != now {
            return None;
        }
        self.read = now;
        Some(nodes)
    }

    /// Why there is nothing to read. To try it could wait for ever: a pipe may be there now.
    fn unreadable(&self) -> NodesFileError {
        let source = match fs::metadata(&self.path) {
            Ok(_) => io::Error::other("it is not a regular file"),
            Err(error) => error,
        };
        NodesFileError::Unreadable { path: self.path.clone(), source }
    }
}

fn stamp(path: &Path) -> Stamp {
    let about = fs::metadata(path).ok()?;
    // An editor may put a new file in the old one's place, and an old one back: the file's number tells.
    // To read a pipe takes away what is in it, and may wait for ever: it is read at the start and no more.
    about.is_file().then(|| Some((about.modified().ok()?, about.len(), about.ino())))?
}

fn read_nodes(path: &Path) -> Result<Vec<NodeAddress>, NodesFileError> {
    let text =
        fs::read_to_string(path).map_err(|source| NodesFileError::Unreadable { path: path.to_owned(), source })?;
    parse_nodes(path, &text)
}

fn parse_nodes(path: &Path, text: &str) -> Result<Vec<NodeAddress>, NodesFileError> {
    let mut nodes = Vec::new();
    let mut lines = HashMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let fail = |why| NodesFileError::Line { path: path.to_owned(), line: index + 1, why };
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let node = parse_node(line).map_err(fail)?;
        if let Some(first) = lines.insert(node.clone(), index + 1) {
            return Err(fail(LineError::Twice { first }));
        }
        if nodes.len() == NODES_MAX {
            return Err(NodesFileError::TooMany { path: path.to_owned() });
        }
        nodes.push(node);
    }
    Ok(nodes)
}

fn parse_node(line: &str) -> Result<NodeAddress, LineError> {
    let (host, port) = line.rsplit_once(',').ok_or(LineError::NoComma)?;
    let (host, port) = (host.trim(), port.trim());
    // One address is one text, however it is written.
    let address = without_brackets(host).parse::<IpAddr>().ok();
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_name = !host.is_empty() && host.len() <= 253 && host.bytes().all(name_byte);
    if !is_name && address.is_none() {
        return Err(LineError::Host(host.to_owned()));
    }
    match port.parse() {
        Ok(port) if port != 0 => {
            Ok(NodeAddress { host: address.map_or_else(|| host.to_owned(), |address| address.to_string()), port })
        }
        _ => Err(LineError::Port(port.to_owned())),
    }
}

/// A host; of an IPv6 address in brackets, in which it may stand where a port follows it, what stands in them.
pub fn without_brackets(host: &str) -> &str {
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    bracketed.filter(|address| address.parse::<Ipv6Addr>().is_ok()).unwrap_or(host)
}

/// What tells this machine from others, where it has that.
pub fn machine_id() -> Option<Vec<u8>> {
    std::fs::read("/etc/machine-id").ok()
}

/// Where a coordinator at this port keeps its jobs unless it is told otherwise, by the platform's convention; none where
/// the environment names no home.
pub fn state_directory(port: u16) -> Option<PathBuf> {
    let named = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(target_os = "macos") {
        named("HOME")?.join("Library/Application Support")
    } else {
        // XDG Base Directory Specification: what is kept between restarts, and is no setting.
        named("XDG_STATE_HOME").or_else(|| Some(named("HOME")?.join(".local/state")))?
    };
    Some(base.join("gradwire").join(format!("coordinator-{port}")))
}

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probability(f64);

impl Probability {
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// Never.
    pub const ZERO: Probability = Probability(0.0);
}

impl FromStr for Probability {
    type Err = String;

    fn from_str(text: &str) -> Result<Probability, String> {
        match parse_decimal(text) {
            Some(value) if (0.0..=1.0).contains(&value) => Ok(Probability(value)),
            _ => Err("a probability is a number from 0 to 1, written like 0.25".to_owned()),
        }
    }
}

/// A name of a cluster or node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Name, String> {
        if wire::is_name(text) {
            Ok(Name(text.to_owned()))
        } else {
            Err("a name is 1 to 64 of A-Z a-z 0-9 . _ -".to_owned())
        }
    }
}

/// Waits, at least one, each up to a day.
#[derive(Clone, Debug, PartialEq)]
pub struct Waits(Vec<Duration>);

impl Waits {
    /// The waits.
    pub fn as_slice(&self) -> &[Duration] {
        &self.0
    }
}

impl FromStr for Waits {
    type Err = String;

    /// Seconds with commas between.
    fn from_str(text: &str) -> Result<Waits, String> {
        let seconds = |part: &str| match parse_seconds(part.trim()) {
            Ok(wait) => Ok(wait),
            Err(_) => Err("waits are seconds with commas between, like 1,2,4".to_owned()),
        };
        text.split(',').map(seconds).collect::<Result<_, _>>().map(Waits)
    }
}

/// An address to listen on.
pub fn parse_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "an address is an IP address, like 127.0.0.1, 0.0.0.0 or ::1".to_owned())
}

/// A port; 0 takes any free one.
pub fn parse_port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a port is a number from 0 (any free one) to 65535".to_owned())
}

/// Greeted connections that a server may be set to take: each has two threads, 16,000 in all.
const CONNECTIONS_SET_MAX: usize = 8_000;

/// Workers of a node.
pub fn parse_workers(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(workers @ 1..=WORKERS_MAX) => Ok(workers),
        _ => Err(format!("a node has 1 to {WORKERS_MAX} workers")),
    }
}

/// Greeted connections of a server.
pub fn parse_connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(connections @ 1..=CONNECTIONS_SET_MAX) => Ok(connections),
        _ => Err(format!("a program takes 1 to {CONNECTIONS_SET_MAX} connections")),
    }
}

/// An amount of memory, from mebibytes to bytes.
pub fn parse_mib(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(mib @ 1..=MEMORY_MIB_MAX) => Ok(mib << 20),
        _ => Err(format!("memory is given in MiB, from 1 to {MEMORY_MIB_MAX}")),
    }
}

/// Units of bytes, and how many bytes each is.
const BYTE_UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// An amount of bytes on a disk, with a unit or without.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let each = BYTE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim_start())).map(|(_, each)| each);
    let bytes = number.parse::<u64>().ok().zip(each).and_then(|(number, each)| number.checked_mul(*each));
    bytes.filter(|&bytes| bytes > 0).ok_or_else(|| {
        "bytes are a whole number from 1 on, alone or in kB, MB, GB, TB, KiB, MiB, GiB or TiB, like 500MB".to_owned()
    })
}

/// A wait from a number of seconds, up to a day.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    match parse_decimal(text) {
        Some(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a wait is a number of seconds from 0 to 86400".to_owned()),
    }
}

/// A number of up to fifteen digits, as `12`, `0.25` or `.5`. The standard library's reader takes every notation of every
/// f64, and would be a seventieth of a whole node.
fn parse_decimal(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !(1..=15).contains(&(whole.len() + fraction.len())) {
        return None;
    }
    let mut digits = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        digits = digits * 10 + u64::from((byte as char).to_digit(10)?);
    }
    // Both are exact, so that the quotient is the f64 nearest to the text.
    Some(digits as f64 / 10u64.pow(fraction.len() as u32) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<NodeAddress>, NodesFileError> {
        parse_nodes(Path::new("nodes.txt"), text)
    }

    fn said(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn nodes_are_read_with_spaces_comments_and_blank_lines() {
        let nodes = parse("# lab\n 127.0.0.1 , 5106 \n\nlab-7.example,9 # the old one\n::1,80\r\n").unwrap();
        let texts: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["127.0.0.1:5106", "lab-7.example:9", "[::1]:80"]);
    }

    #[test]
    fn an_ipv6_address_is_the_same_with_brackets_and_without() {
        assert_eq!(parse("[::1],7002").unwrap(), parse("::1,7002").unwrap());
        assert_eq!(
            parse(" [ 2001:db8:0:0::7 ] , 1".replace("[ ", "[").replace(" ]", "]").as_str()).unwrap(),
            parse("2001:db8::7,1").unwrap()
        );
        assert_eq!(said("::1,1\n[0:0::1],1"), "nodes.txt, line 2: this node stands on line 1 already");
        for host in ["[127.0.0.1]", "[a]", "[::1", "::1]", "[]"] {
            assert!(said(&format!("{host},1")).contains("neither an IP address nor a host name"), "{host}");
        }
    }

    #[test]
    fn a_bad_line_is_named_with_its_number() {
        assert_eq!(
            said("a,1\nnonsense"),
            "nodes.txt, line 2: a line is <ip or name>,<port>, and this one has no comma"
        );
        assert_eq!(said("a,70000"), "nodes.txt, line 1: \"70000\" is not a port: a number from 1 to 65535");
        assert_eq!(said("a,0"), "nodes.txt, line 1: \"0\" is not a port: a number from 1 to 65535");
        assert_eq!(said("\n b d,1"), "nodes.txt, line 2: \"b d\" is neither an IP address nor a host name");
        assert_eq!(said(",1"), "nodes.txt, line 1: \"\" is neither an IP address nor a host name");
        assert_eq!(said("a,1\nb,1\na,1"), "nodes.txt, line 3: this node stands on line 1 already");
        assert_eq!(parse("# none\n").unwrap(), []);
    }

    #[test]
    fn a_probability_lies_between_0_and_1() {
        assert_eq!("0.5".parse::<Probability>().map(Probability::get), Ok(0.5));
        for text in ["1.1", "-0.1", "NaN", "x", ""] {
            assert!(text.parse::<Probability>().is_err(), "{text}");
        }
    }

    /// A node alone has nothing that makes files.
    #[cfg(feature = "client")]
    mod edits {
        use super::*;

        /// A nodes file with this text.
        fn edited(text: &str) -> (tempfile::TempDir, PathBuf) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("nodes.txt");
            fs::write(&path, text).unwrap();
            (directory, path)
        }

        /// What two looks in a row bring.
        fn looked_twice(file: &mut NodesFile) -> Option<Result<Vec<NodeAddress>, String>> {
            assert!(file.look().is_none(), "a file that has just changed may be half written");
            file.look().map(|nodes| nodes.map_err(|error| error.to_string()))
        }

        #[test]
        fn a_file_without_a_node_is_refused_at_the_start_only() {
            let (_directory, path) = edited("# none\n");
            let refused = NodesFile::open(&path).unwrap_err().to_string();
            assert!(refused.ends_with("names no node: add lines of the form <ip or name>,<port>"), "{refused}");
            fs::write(&path, "a,1\n").unwrap();
            let (mut file, nodes) = NodesFile::open(&path).unwrap();
            assert_eq!(nodes, parse("a,1").unwrap());
            fs::write(&path, "# none").unwrap();
            assert_eq!(looked_twice(&mut file), Some(Ok(Vec::new())));
            fs::write(&path, "").unwrap();
            assert!(looked_twice(&mut file).unwrap().unwrap_err().contains("names no node"), "a file that was cut off");
        }

        #[test]
        fn a_change_is_told_once_and_only_once_the_file_is_at_rest() {
            let (_directory, path) = edited("a,1\n");
            let (mut file, _) = NodesFile::open(&path).unwrap();
            assert!(file.look().is_none() && file.look().is_none());
            fs::write(&path, "a,1\nb,2").unwrap();
            assert!(file.look().is_none());
            fs::write(&path, "a,1\nb,22").unwrap();
            assert_eq!(looked_twice(&mut file), Some(Ok(parse("a,1\nb,22").unwrap())));
            assert!(file.look().is_none() && file.look().is_none());
        }

        #[test]
        fn a_bad_change_is_told_once_and_so_is_a_file_that_is_gone() {
            let (_directory, path) = edited("a,1\n");
            let (mut file, _) = NodesFile::open(&path).unwrap();
            fs::write(&path, "a,1\nnonsense\n").unwrap();
            let said = looked_twice(&mut file).unwrap().unwrap_err();
            assert!(said.contains("nodes.txt, line 2: "), "{said}");
            assert!((0..5).all(|_| file.look().is_none()), "it is said again");
            fs::remove_file(&path).unwrap();
            let said = looked_twice(&mut file).unwrap().unwrap_err();
            assert!(said.contains("nodes.txt cannot be read"), "{said}");
            assert!((0..5).all(|_| file.look().is_none()), "it is said again");
            fs::write(&path, "a,1\n").unwrap();
            assert_eq!(looked_twice(&mut file), Some(Ok(parse("a,1").unwrap())));
        }
    }

    #[test]
    fn decimal_numbers_are_read_as_the_standard_library_reads_them() {
        let texts = ["0", "1", "1.", ".5", "0.1", "0.3", "00.70", "86400", "3.14159265358979", "999999999999999"];
        for text in texts.into_iter().chain(["0.00000000000001", "123456789.123456", "0.14285714285714"]) {
            assert_eq!(parse_decimal(text), text.parse().ok(), "{text}");
        }
        for text in ["", ".", "+1", "-1", "1e3", "1.2.3", " 1", "1 ", "inf", "\u{661}", "0.1234567890123456"] {
            assert_eq!(parse_decimal(text), None, "{text}");
        }
    }

    #[test]
    fn bytes_are_given_in_units_of_a_thousand_or_1024_or_alone() {
        let units = [("1", 1), ("500MB", 500_000_000), ("10GB", 10_000_000_000), ("2 TB", 2_000_000_000_000)];
        for (text, bytes) in units.into_iter().chain([("3kb", 3_000), ("3KiB", 3_072), ("1gib", 1 << 30)]) {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "0GB", "-1", "GB", "1.5GB", "10G", "10 apples", "18446744073709551616", "99999999TiB"] {
            assert!(parse_bytes(text).unwrap_err().contains("like 500MB"), "{text}");
        }
    }
}

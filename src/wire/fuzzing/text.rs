//! The target `text_line`: whatever is said to a server's port and is no frame, and whatever text of others is shown to
//! people. Owns what must be true of the console's grammar, of HTTP heads and of what is shown; does not know answers.

use crate::job::JobId;
use crate::wire::header::MAGIC;
use crate::wire::limits;
use crate::wire::text::http::{self, Page, Refusal, Request};
use crate::wire::text::{self, Align, Beginning, Command, HELP, JobPrefix, Kind, Metrics, NoCommand, Table, Timestamp};

/// A name that the port is served under, beside `localhost`.
const OUR_HOST: &str = "box.example";

/// The bytes of a connection that may be a person's.
///
/// # Panics
///
/// When lines depend on how they arrive or go beyond their limit, when case, line ends or white space change what a line
/// means, when an HTTP request is taken for a command or is answered under a foreign name, or when what is shown could
/// move a cursor, break a line or break a table.
pub fn text_line(input: &[u8]) {
    check_first_byte(input);
    let lines = Lines::read(input, input.len());
    assert_eq!(Lines::read(input, 1), lines, "byte by byte");
    assert_eq!(Lines::read(input, 7), lines, "in sevens");
    lines.whole.iter().for_each(|line| check_line(line));
    check_request(input);
    check_timestamp(input);
    let text = String::from_utf8_lossy(input);
    check_shown(&text);
    check_table(&text);
    check_metrics(&text);
}

/// A frame, a person, or neither: the first byte tells.
fn check_first_byte(input: &[u8]) {
    let Some(&first) = input.first() else { return };
    assert!(!text::is_text(first) || first != MAGIC[0]);
    if !text::is_text(first) {
        assert!(!http::is_request(input), "a request that nobody would read");
        // Only white space may stand before a word.
        let line = input.split(|&byte| byte == b'\n').next().unwrap_or_default();
        assert!(!matches!(text::parse(line), Ok(Some(_))), "a command that nobody would read");
    }
}

/// The lines of a conversation, and what ended it where something did.
#[derive(Debug, PartialEq)]
struct Lines {
    whole: Vec<Vec<u8>>,
    end: Option<Beginning>,
}

impl Lines {
    /// Reads as the console does, in pieces of so many bytes.
    fn read(input: &[u8], piece_bytes: usize) -> Lines {
        let (mut lines, mut held) = (Lines { whole: Vec::new(), end: None }, Vec::new());
        for piece in input.chunks(piece_bytes.max(1)) {
            held.extend_from_slice(piece);
            lines.take(&mut held, false);
            // What is held is the beginning of a line: never more than a line.
            assert!(lines.end.is_some() || held.len() <= limits::TEXT_LINE_BYTES_MAX);
        }
        lines.take(&mut held, true);
        lines
    }

    fn take(&mut self, held: &mut Vec<u8>, is_all: bool) {
        while self.end.is_none() {
            match text::beginning(held, is_all) {
                None => return,
                Some(Beginning::Line { bytes }) => self.whole.push(held.drain(..bytes).collect()),
                end => self.end = end,
            }
        }
    }
}

fn check_line(line: &[u8]) {
    let bare = line.strip_suffix(b"\n").unwrap_or(line);
    assert!(bare.len() <= limits::TEXT_LINE_BYTES_MAX && !bare.contains(&b'\n'));
    assert!(!http::is_request(line), "an HTTP request on its way to the console");
    let meaning = text::parse(line);
    for same in [bare, &line.to_ascii_uppercase(), &line.to_ascii_lowercase(), &[b"\t ", bare, b" \r\n"].concat()] {
        assert_eq!(text::parse(same), meaning, "{}", same.escape_ascii());
    }
    let mut words = bare.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    match meaning {
        Ok(None) => assert_eq!(words.next(), None),
        Ok(Some(Command::Job(prefix))) => {
            assert_eq!(text::parse(format!("job {prefix}").as_bytes()), meaning);
        }
        Ok(Some(_)) => {
            let word = words.next().unwrap_or_default().to_ascii_lowercase();
            assert!(HELP.lines().any(|line| line.split(' ').next().map(str::as_bytes) == Some(&word)), "help hides it");
            assert_eq!(words.next(), None, "a word is ignored");
        }
        Err(no_command) => {
            let answer = no_command.answer();
            assert!(answer.ends_with('\n') && !answer.trim_end_matches('\n').contains(char::is_control));
            assert!(
                no_command == NoCommand::Unknown || words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"job"))
            );
        }
    }
    bare.split(u8::is_ascii_whitespace).for_each(check_job_prefix);
}

/// A prefix is what it was read from, and begins the ids whose text begins so.
fn check_job_prefix(word: &[u8]) {
    let Some(prefix) = JobPrefix::parse(word) else {
        return assert!(!(1..=32).contains(&word.len()) || !word.iter().all(u8::is_ascii_hexdigit));
    };
    let text = prefix.to_string();
    assert_eq!(text.as_bytes(), word.to_ascii_lowercase());
    for padding in ["0", "8", "f"] {
        let padded = format!("{text}{}", padding.repeat(32 - text.len()));
        // No job has the id 0.
        let is_nil = padded.bytes().all(|digit| digit == b'0');
        assert_eq!(padded.parse().is_ok_and(|job| prefix.begins(job)), !is_nil);
    }
    let other = JobId(u128::from(crc32fast::hash(word)) << 96);
    assert_eq!(prefix.begins(other), other.to_string().starts_with(&text));
}

fn check_request(input: &[u8]) {
    if http::is_request(input) {
        let line = input.split(|&byte| byte == b'\n').next().unwrap_or_default();
        assert_eq!(text::parse(line), Err(NoCommand::Unknown), "an HTTP request is a command");
    }
    let mut lines = input.split(|&byte| byte == b'\n').rev().skip(1);
    let has_end = lines.any(|line| line.is_empty() || line == b"\r");
    assert_eq!(http::head_bytes(input).is_some(), has_end, "a head ends with an empty line");
    let Some(head_bytes) = http::head_bytes(input) else { return };
    let head = &input[..head_bytes];
    assert_eq!(http::head_bytes(&[head, b"Host: x\n\n"].concat()), Some(head_bytes), "what follows a head counts");

    let hosts = [OUR_HOST.to_owned()];
    let found = http::parse(head, &hosts);
    if !head.contains(&b'\r') {
        let lines: Vec<&[u8]> = head.split(|&byte| byte == b'\n').collect();
        assert_eq!(http::parse(&lines.join(&b"\r\n"[..]), &hosts), found, "with CR LF");
    }
    let answer = match found {
        Ok(request) => {
            check_granted(head, request);
            http::page(request, "as it is\n")
        }
        Err(refusal) => http::refuse(refusal),
    };
    check_answer(&answer, found.is_ok_and(|request| request.head_only));
}

/// A request that gets a page is for that page, and gets none under the name of somebody else.
fn check_granted(head: &[u8], request: Request) {
    let line = head.split(|&byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let path: &[u8] = match request.page {
        Page::Status => b"/",
        Page::Metrics => b"/metrics",
    };
    let method: &[u8] = if request.head_only { b"HEAD " } else { b"GET " };
    assert!(line.starts_with(&[method, path].concat()), "{request:?} of {}", line.escape_ascii());
    let under = |host: &str| http::parse(&[line, b"\r\nHost: ", host.as_bytes(), b"\r\n\r\n"].concat(), &[]);
    // What follows the first line is another's: nobody says there what he shows.
    assert_eq!(under("localhost:4000"), Ok(Request { shows_html: false, ..request }));
    for foreign in [OUR_HOST, "localhost.example", "127.0.0.1.example:80", ""] {
        assert_eq!(under(foreign), Err(Refusal::Host), "{foreign}");
    }
    assert_eq!(under("localhost\r\nHost: localhost"), Err(Refusal::Malformed));
}

/// An answer says its own length, and has a status line and fields of printable ASCII.
fn check_answer(answer: &str, head_only: bool) {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { panic!("{answer:?} has no end of its head") };
    assert!(head.starts_with("HTTP/1.1 ") && head.split("\r\n").all(|line| !line.contains(|c: char| c.is_control())));
    let said = head.split("\r\n").find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
    assert!(said.is_some_and(|said| if head_only { body.is_empty() } else { said == body.len() }), "{answer:?}");
}

/// Every point in time can be written, and those of as many digits are in order as text.
fn check_timestamp(input: &[u8]) {
    let Some(bytes) = input.first_chunk() else { return };
    let unix_ms = u64::from_le_bytes(*bytes);
    let [now, later] = [unix_ms, unix_ms.saturating_add(1)].map(|unix_ms| Timestamp { unix_ms }.to_string());
    assert!(now.ends_with('Z') && now.len() >= "1970-01-01T00:00:00.000Z".len(), "{now}");
    assert!(now < later || now.len() < later.len() || unix_ms == u64::MAX, "{now} is before {later}");
}

/// Whether a character moves a cursor, ends a line, or turns the direction of writing (Unicode's Bidi_Control).
fn misleads(c: char) -> bool {
    let turns = matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

fn check_shown(text: &str) {
    let shown = text::shown(text).to_string();
    assert!(!shown.contains(misleads), "{shown:?}");
    assert_eq!(text::shown(&shown).to_string(), shown, "what is shown can be shown");
    assert!(shown == text || text.contains(misleads), "{text:?} became {shown:?}");
}

/// Whatever stands in its cells, a table has a line for each row and a word for each cell.
fn check_table(text: &str) {
    let mut table = Table::new(&[("NODE", Align::Left), ("TASKS", Align::Right), ("WHY", Align::Left)]);
    let text: String = text.chars().take(1_000).collect();
    let mut cells = text.split(',').map(str::to_owned);
    let mut rows = 0;
    while let Some(cell) = cells.next() {
        table.row([cell, cells.next().unwrap_or_default(), cells.next().unwrap_or_default()]);
        rows += 1;
    }
    let shown = table.to_string();
    assert_eq!(shown.split_terminator('\n').count(), 1 + rows);
    for line in shown.split_terminator('\n') {
        assert!(line.split_whitespace().count() >= 3 && !line.contains(misleads), "{line:?}");
    }
}

/// Whatever a label holds, it is read as it was.
fn check_metrics(text: &str) {
    let mut metrics = Metrics::default();
    metrics.family("gradwire_nodes", Kind::Gauge, "Nodes.");
    metrics.sample(&[("name", text), ("state", "active")], 1.0);
    let written = metrics.into_text();
    let sample = written.split_terminator('\n').nth(2).filter(|_| written.split_terminator('\n').count() == 3);
    let label =
        sample.and_then(|line| line.strip_prefix("gradwire_nodes{name=\"")?.strip_suffix("\",state=\"active\"} 1"));
    let mut read = String::new();
    let mut characters = label.unwrap_or_else(|| panic!("{written:?}")).chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => read.extend(characters.next().map(|c| if c == 'n' { '\n' } else { c })),
            c => {
                assert_ne!(c, '"', "the label ends early: {written:?}");
                read.push(c);
            }
        }
    }
    assert_eq!(read, text);
}

//! The text side of a server's port: a person's lines, and the one answer that an HTTP request gets. Owns reading them
//! within their limits; the grammar is `wire::text`, the answers are the service's.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::deadline::{self, Deadline};
use super::event_log::Watching;
use super::greeting::drain;
use crate::wire::limits;
use crate::wire::text::{self, Beginning, Command, JobPrefix, http};

/// Time for the peer to read the last answer.
const CLOSE_WAIT: Duration = Duration::from_millis(500);
/// While it watches, a peer's typing is looked at this often.
const WATCH_LOOK: Duration = Duration::from_millis(200);
/// A watcher that has gone without a word is found out after some of these.
const WATCH_KEEPALIVE: Duration = Duration::from_secs(30);

/// What is answered with more than a fixed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// What is going on.
    Status,
    /// The nodes.
    Nodes,
    /// The jobs.
    Jobs,
    /// The jobs whose ids begin so.
    Job(JobPrefix),
}

/// Who answers.
pub(super) trait Answers {
    /// Whole lines.
    fn answer(&self, question: Question) -> String;
    fn limits(&self) -> String;
    fn version(&self) -> String;
    fn metrics(&self) -> String;
    /// What is going on, as HTML; none where there is no such page.
    #[cfg(feature = "coordinator")]
    fn page(&self) -> Option<String>;
    fn watch(&self) -> Watching;
    /// Names that the port is served under, for HTTP.
    fn http_hosts(&self) -> &[String];
}

/// Answers lines until the peer hangs up, has typed nothing for too long, or types something unknown. `held` is what
/// has been read already.
pub(super) fn answer(answers: &dyn Answers, stream: &TcpStream, held: Vec<u8>) -> io::Result<()> {
    let mut lines = Lines { stream, held, is_half_closed: false, deadline: Deadline::after(limits::TEXT_LINE_WAIT) };
    let say = |text: &str| deadline::write_all(stream, text.as_bytes(), Deadline::after(limits::WRITE_STALL));
    let mut watching: Option<Watching> = None;
    let last_words = loop {
        let line = match &watching {
            None => lines.next()?,
            Some(watching) => {
                let happened = watching.lines(WATCH_LOOK);
                if !happened.is_empty() {
                    say(&happened)?;
                }
                match lines.next_at_once()? {
                    Some(line) => line,
                    None => continue,
                }
            }
        };
        let line = match line {
            Line::Whole(line) => line,
            Line::End => break String::new(),
            Line::TooLong => break text::LINE_TOO_LONG.to_owned(),
            Line::Http => break lines.answer_http(answers)?,
        };
        let command = match text::parse(&line) {
            Ok(Some(command)) => command,
            Ok(None) => continue,
            Err(error) => break error.answer().to_owned(),
        };
        let answer = match command {
            Command::Status => answers.answer(Question::Status),
            Command::Nodes => answers.answer(Question::Nodes),
            Command::Jobs => answers.answer(Question::Jobs),
            Command::Job(prefix) => answers.answer(Question::Job(prefix)),
            Command::Limits => answers.limits(),
            Command::Version => answers.version(),
            Command::Ping => text::PONG.to_owned(),
            Command::Help => text::HELP.to_owned(),
            Command::Quit => break String::new(),
            Command::Watch => {
                if watching.is_none() {
                    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(WATCH_KEEPALIVE))?;
                    watching = Some(answers.watch());
                }
                continue;
            }
        };
        say(&answer)?;
    };
    say(&last_words)?;
    drain(stream, Deadline::after(CLOSE_WAIT));
    Ok(())
}

/// Lines as they arrive.
struct Lines<'a> {
    stream: &'a TcpStream,
    held: Vec<u8>,
    /// The peer has closed its half: what is held is all there will be.
    is_half_closed: bool,
    /// When the line that is being typed must be complete.
    deadline: Deadline,
}

enum Line {
    /// With its end, if it has one.
    Whole(Vec<u8>),
    TooLong,
    /// No line but the beginning of an HTTP request.
    Http,
    /// There are no more.
    End,
}

impl Lines<'_> {
    /// The next line, waiting for it until its deadline.
    fn next(&mut self) -> io::Result<Line> {
        loop {
            if let Some(line) = self.held_line() {
                return Ok(line);
            }
            if self.is_half_closed {
                return Ok(Line::End);
            }
            self.read(self.deadline)?;
        }
    }

    /// The next line, if it is there. A peer that has closed its half goes on listening: that it has gone is seen when
    /// something is written to it.
    fn next_at_once(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.held_line() {
            return Ok(Some(line));
        }
        if self.is_half_closed {
            // Reading more would yield the end again, or the reset by which a peer says that it has gone for good.
            return self.stream.take_error()?.map_or(Ok(None), Err);
        }
        match self.read(Deadline::after(Duration::from_millis(1))) {
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok(self.held_line()),
        }
    }

    /// A line out of what is held.
    fn held_line(&mut self) -> Option<Line> {
        Some(match text::beginning(&self.held, self.is_half_closed)? {
            Beginning::Request => Line::Http,
            Beginning::TooLong => Line::TooLong,
            Beginning::Line { bytes } => {
                self.deadline = Deadline::after(limits::TEXT_LINE_WAIT);
                Line::Whole(self.held.drain(..bytes).collect())
            }
        })
    }

    /// Reads an HTTP request's head, and makes the answer. What follows the head is not looked at.
    fn answer_http(&mut self, answers: &dyn Answers) -> io::Result<String> {
        let deadline = Deadline::after(limits::HTTP_HEAD_WAIT);
        let head_bytes = loop {
            let head_bytes = http::head_bytes(&self.held);
            if head_bytes.unwrap_or(self.held.len()) > limits::HTTP_HEAD_BYTES_MAX {
                return Ok(http::refuse(http::Refusal::HeadTooLong));
            }
            match head_bytes {
                Some(head_bytes) => break head_bytes,
                None if self.is_half_closed => return Ok(http::refuse(http::Refusal::Malformed)),
                None => {}
            }
            match self.read(deadline) {
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    return Ok(http::refuse(http::Refusal::HeadTooLong));
                }
                result => result?,
            }
        };
        Ok(match http::parse(&self.held[..head_bytes], answers.http_hosts()) {
            Ok(request) => {
                #[cfg(feature = "coordinator")]
                if request.page == http::Page::Status
                    && request.shows_html
                    && let Some(page) = answers.page()
                {
                    return Ok(http::html(request, &page));
                }
                let body = match request.page {
                    http::Page::Status => answers.answer(Question::Status),
                    http::Page::Metrics => answers.metrics(),
                };
                http::page(request, &body)
            }
            Err(refusal) => http::refuse(refusal),
        })
    }

    fn read(&mut self, deadline: Deadline) -> io::Result<()> {
        let mut buffer = [0; limits::TEXT_LINE_BYTES_MAX];
        match deadline::read(self.stream, &mut buffer, deadline)? {
            0 => self.is_half_closed = true,
            count => self.held.extend_from_slice(&buffer[..count]),
        }
        Ok(())
    }
}

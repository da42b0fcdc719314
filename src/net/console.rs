//! The text console of a server's port: a person's lines, and the one answer that a web browser gets. Owns reading lines
//! within their limits; the grammar is `wire::text`, the answers are the service's.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use super::deadline::{self, Deadline};
use super::greeting::drain;
use super::server::Service;
use crate::wire::limits;
use crate::wire::text::{self, Command};

/// Time for the peer to read the last answer.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// Answers lines until the peer hangs up, has typed nothing for too long, or types something unknown. `held` is what
/// has been read already.
pub(super) fn answer(service: &dyn Service, stream: &TcpStream, held: Vec<u8>) -> io::Result<()> {
    let mut lines = Lines { stream, held, is_half_closed: false, deadline: Deadline::after(limits::TEXT_LINE_WAIT) };
    let say = |text: &str| deadline::write_all(stream, text.as_bytes(), Deadline::after(limits::WRITE_STALL));
    let last_words = loop {
        let line = match lines.next()? {
            Line::Whole(line) => line,
            Line::End => break "",
            Line::TooLong => break text::LINE_TOO_LONG,
            Line::Http => {
                lines.skip_http_head()?;
                break text::HTTP_ANSWER;
            }
        };
        match text::parse(&line) {
            Ok(None) => {}
            Ok(Some(Command::Status)) => say(&service.status())?,
            Ok(Some(Command::Help)) => say(text::HELP)?,
            Ok(Some(Command::Quit)) => break "",
            Err(text::UnknownCommand) => break text::UNKNOWN,
        }
    };
    say(last_words)?;
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
    fn next(&mut self) -> io::Result<Line> {
        loop {
            if text::is_http(&self.held) {
                return Ok(Line::Http);
            }
            let end = self.held.iter().position(|&byte| byte == b'\n');
            if end.unwrap_or(self.held.len()) > limits::TEXT_LINE_BYTES_MAX {
                return Ok(Line::TooLong);
            }
            // A sender that closes its half without a line end has finished its last line.
            let line_bytes = match end {
                Some(end) => end + 1,
                None if self.is_half_closed && self.held.is_empty() => return Ok(Line::End),
                None if self.is_half_closed => self.held.len(),
                None => {
                    self.read()?;
                    continue;
                }
            };
            self.deadline = Deadline::after(limits::TEXT_LINE_WAIT);
            return Ok(Line::Whole(self.held.drain(..line_bytes).collect()));
        }
    }

    /// Passes over an HTTP request's head without looking at it: to its end, or as far as a head may go.
    fn skip_http_head(&mut self) -> io::Result<()> {
        self.deadline = Deadline::after(limits::GREETING_WAIT);
        while !self.is_half_closed
            && self.held.len() <= limits::HTTP_HEAD_BYTES_MAX
            && !text::ends_http_head(&self.held)
        {
            match self.read() {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(()),
                result => result?,
            }
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; limits::TEXT_LINE_BYTES_MAX];
        match deadline::read(self.stream, &mut buffer, self.deadline)? {
            0 => self.is_half_closed = true,
            count => self.held.extend_from_slice(&buffer[..count]),
        }
        Ok(())
    }
}

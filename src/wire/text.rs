//! The text console's grammar: what a person types on a server's port, and how a web browser's request is told from it.
//! Owns parsing a line, what help says and what a browser is told; does not know what the answers hold.

/// A line that a person may type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// What is going on.
    Status,
    /// What can be typed.
    Help,
    /// Hang up.
    Quit,
}

/// The answer to `help`.
pub const HELP: &str = "status   what is going on\nhelp     this list\nquit     hang up\n";

/// The answer to anything else, before the connection closes.
pub const UNKNOWN: &str = "unknown command; try: status, help, quit\n";

/// The answer to a line of more than 256 bytes, before the connection closes.
pub const LINE_TOO_LONG: &str = "the line is too long: at most 256 bytes\n";

/// The answer to any HTTP request, before the connection closes. It tells nothing: whatever a web page makes its
/// visitor's browser send here, the page learns no more than that this port is not for it.
pub const HTTP_ANSWER: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 94\r\n\
    Connection: close\r\n\r\n\
    This is a gradwire port, and it does not speak HTTP. Try: printf 'status\\n' | nc ADDRESS PORT\n";

/// First words of HTTP requests.
const HTTP_METHODS: [&[u8]; 9] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"];

/// Whether a line begins as an HTTP request does: with a method in capitals and a space. No command does.
pub fn is_http(line: &[u8]) -> bool {
    HTTP_METHODS.iter().any(|method| line.strip_prefix(*method).is_some_and(|rest| rest.first() == Some(&b' ')))
}

/// Whether these bytes hold the end of an HTTP request's head: an empty line.
pub fn ends_http_head(head: &[u8]) -> bool {
    head.windows(2).any(|two| two == b"\n\n") || head.windows(4).any(|four| four == b"\r\n\r\n")
}

/// Whether a connection that begins with this byte is a person's, not a frame's.
pub fn is_text(first_byte: u8) -> bool {
    first_byte.is_ascii_graphic() || first_byte.is_ascii_whitespace()
}

/// The command in a line, without regard to case and surrounding white space; an empty line is none.
pub fn parse(line: &[u8]) -> Result<Option<Command>, UnknownCommand> {
    let word = line.trim_ascii();
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    if word.is_empty() {
        Ok(None)
    } else if is("status") {
        Ok(Some(Command::Status))
    } else if is("help") {
        Ok(Some(Command::Help))
    } else if is("quit") {
        Ok(Some(Command::Quit))
    } else {
        Err(UnknownCommand)
    }
}

/// The line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCommand;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_in_any_case_with_either_line_end() {
        assert_eq!(parse(b"status\r\n"), Ok(Some(Command::Status)));
        assert_eq!(parse(b"  HeLp \n"), Ok(Some(Command::Help)));
        assert_eq!(parse(b"\r\n"), Ok(None));
        assert_eq!(parse(b"GET / HTTP/1.1"), Err(UnknownCommand));
        assert_eq!(parse(b"\xff\xfe"), Err(UnknownCommand));
    }

    #[test]
    fn an_http_request_is_told_from_a_line_by_its_first_word() {
        assert!(is_http(b"GET / HTTP/1.1\r\n") && is_http(b"POST /") && is_http(b"HEAD "));
        assert!(!is_http(b"GET") && !is_http(b"get / HTTP/1.1") && !is_http(b"status\n") && !is_http(b"GETS x"));
        assert!(ends_http_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") && ends_http_head(b"GET /\n\nbody"));
        assert!(!ends_http_head(b"GET / HTTP/1.1\r\nHost: a\r\n"));
    }

    #[test]
    fn the_http_answer_says_its_own_length() {
        let (head, body) = HTTP_ANSWER.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }

    #[test]
    fn a_frames_first_byte_is_no_text() {
        assert!(!is_text(crate::wire::header::MAGIC[0]));
        assert!(is_text(b's') && is_text(b'\n') && !is_text(0));
    }
}

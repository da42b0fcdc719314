//! The text console's grammar: what a person types on a server's port. Owns parsing a line and what help says; does not
//! know what the answers hold.

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
    fn a_frames_first_byte_is_no_text() {
        assert!(!is_text(crate::wire::header::MAGIC[0]));
        assert!(is_text(b's') && is_text(b'\n') && !is_text(0));
    }
}

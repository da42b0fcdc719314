//! Why a conversation did not give what was asked for: as a sentence, as an exit code, and whether coming back later is
//! of use. Owns that judgement; does not know what was asked.

use std::fmt;

use crate::cli::{Exit, Failure};
use crate::model::conformance::Difference;
use crate::net::{DialError, FetchError};
use crate::wire::ErrorCode;
use crate::wire::message::Error;
use crate::wire::text::shown;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum ConnectionError {
    /// There is no connection.
    Dial(DialError),
    /// The connection has ended, or is of no use any more.
    Lost(String),
    /// The coordinator refuses, or the job has ended so.
    Refused(Error),
    /// An object cannot be had.
    Object(FetchError),
    /// What it says cannot be.
    Lie(String),
    /// This machine computes otherwise than the definition says.
    Arithmetic(Difference),
    /// The person at the keyboard has had enough.
    Interrupted,
}

impl ConnectionError {
    /// The connection has ended without a word.
    pub(super) fn ended() -> ConnectionError {
        ConnectionError::Lost("the connection has ended".to_owned())
    }

    /// The answer is none that `question` has.
    pub(super) fn unfitting(question: &str) -> ConnectionError {
        ConnectionError::Lie(format!("the coordinator's answer does not fit {question}"))
    }

    /// Whether a coordinator that was there may be so again.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            ConnectionError::Dial(
                DialError::Resolve { .. } | DialError::Connect { .. } | DialError::Greeting { .. },
            )
            | ConnectionError::Lost(_) => true,
            // It was too busy to greet in time.
            ConnectionError::Dial(DialError::Protocol { error, .. }) => error.code == ErrorCode::Timeout,
            ConnectionError::Refused(error) => error.retry && is_of_the_moment(error.code),
            ConnectionError::Object(FetchError::Refused(error)) => error.retry,
            ConnectionError::Dial(_)
            | ConnectionError::Object(_)
            | ConnectionError::Lie(_)
            | ConnectionError::Arithmetic(_)
            | ConnectionError::Interrupted => false,
        }
    }

    /// Whether a coordinator that has not been there yet may be so soon. A name that nobody knows is a slip, rather.
    pub(super) fn may_pass_at_first(&self) -> bool {
        self.may_pass() && !matches!(self, ConnectionError::Dial(DialError::Resolve { .. }))
    }

    /// Whether the coordinator has no room for what it was asked, now.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, ConnectionError::Refused(error) if error.retry && error.code == ErrorCode::Busy)
    }

    /// Whether the coordinator has let go of a job of which it had not all data, for want of room or of the data: submitted again, it
    /// may be luckier.
    pub(super) fn is_to_be_submitted_again(&self) -> bool {
        matches!(self, ConnectionError::Refused(error) if error.retry && error.code == ErrorCode::JobData)
    }

    /// Whether the coordinator is there and will answer soon.
    pub(super) fn is_recovering(&self) -> bool {
        matches!(self, ConnectionError::Refused(error) if error.retry && error.code == ErrorCode::Recovering)
    }

    /// Whether the object asked for is not held there.
    pub(super) fn is_unknown_object(&self) -> bool {
        matches!(self, ConnectionError::Object(FetchError::Refused(error)) if error.code == ErrorCode::UnknownObject)
    }

    /// The coordinator's code, where it gave one.
    pub(super) fn code(&self) -> Option<ErrorCode> {
        match self {
            ConnectionError::Refused(error) => Some(error.code),
            _ => None,
        }
    }

    /// The cause alone, for a sentence around it.
    pub(super) fn cause(&self) -> String {
        match self {
            ConnectionError::Dial(error) => error.to_string(),
            ConnectionError::Lost(why) => why.clone(),
            other => other.to_string(),
        }
    }

    /// How the program ends.
    pub(super) fn exit(&self) -> Exit {
        match self {
            ConnectionError::Dial(_) | ConnectionError::Lost(_) | ConnectionError::Arithmetic(_) => Exit::Connection,
            ConnectionError::Refused(error) => match error.code {
                ErrorCode::Specification
                | ErrorCode::UnknownField
                | ErrorCode::Conflict
                | ErrorCode::ObjectTooLarge
                | ErrorCode::Memory => Exit::Usage,
                ErrorCode::Busy | ErrorCode::Closing | ErrorCode::Recovering => Exit::Connection,
                ErrorCode::Cancelled => Exit::Cancelled,
                ErrorCode::Paused => Exit::Paused,
                _ => Exit::JobFailed,
            },
            ConnectionError::Object(_) | ConnectionError::Lie(_) => Exit::JobFailed,
            ConnectionError::Interrupted => Exit::Interrupted,
        }
    }
}

fn is_of_the_moment(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Busy | ErrorCode::Closing | ErrorCode::Recovering)
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectionError::Dial(error @ DialError::Connect { .. }) => {
                write!(f, "no coordinator: {error} (coordinator_node PORT POLICY starts a coordinator)")
            }
            ConnectionError::Dial(error) => write!(f, "no coordinator: {error}"),
            ConnectionError::Lost(why) => write!(f, "the connection to the coordinator has ended: {why}"),
            ConnectionError::Refused(error) if error.code == ErrorCode::Unexpected => {
                let text = shown(&error.text);
                write!(f, "the coordinator does not know how to answer: {text}; is it of an older version?")
            }
            // What a peer writes is not to turn the terminal's lines round.
            ConnectionError::Refused(error) => shown(&error.text).fmt(f),
            ConnectionError::Object(error) => error.fmt(f),
            ConnectionError::Lie(what) => f.write_str(what),
            ConnectionError::Arithmetic(difference) => difference.fmt(f),
            ConnectionError::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Failure {
        Failure::new(error.exit(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_coordinator_says_is_shown_with_its_marks_of_direction_escaped() {
        for code in [ErrorCode::Conflict, ErrorCode::Unexpected] {
            let said = ConnectionError::Refused(Error::new(code, 0, "no \u{202e}\u{1b}[2J")).to_string();
            assert!(said.contains("no \\u{202e}\\u{1b}[2J"), "{said}");
        }
    }

    #[test]
    fn only_what_the_coordinator_says_may_pass_is_tried_again() {
        let refused = |code, retry| ConnectionError::Refused(Error { retry, ..Error::new(code, 0, "no") });
        for code in [ErrorCode::Busy, ErrorCode::Closing, ErrorCode::Recovering] {
            assert!(refused(code, true).may_pass() && !refused(code, false).may_pass(), "{code}");
            assert_eq!(refused(code, true).exit(), Exit::Connection);
        }
        assert!(!refused(ErrorCode::NoNodes, true).may_pass());
        assert!(
            refused(ErrorCode::Recovering, true).is_recovering() && !refused(ErrorCode::Busy, true).is_recovering()
        );
        assert!(ConnectionError::ended().may_pass() && !ConnectionError::Interrupted.may_pass());
        let ends =
            [(ErrorCode::Cancelled, 5), (ErrorCode::Paused, 6), (ErrorCode::UnknownJob, 1), (ErrorCode::Conflict, 2)];
        for (code, exit) in ends {
            assert_eq!(refused(code, false).exit() as u8, exit, "{code}");
        }
    }
}

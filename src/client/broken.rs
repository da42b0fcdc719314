//! Why a conversation did not give what was asked for: as a sentence, as an exit code, and whether coming back later is
//! of use. Owns that judgement; does not know what was asked.

use std::fmt;

use crate::cli::{Exit, Failure};
use crate::model::conformance::Difference;
use crate::net::{DialError, FetchError};
use crate::wire::ErrorCode;
use crate::wire::message::Error;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Broken {
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

impl Broken {
    /// The connection has ended without a word.
    pub(super) fn ended() -> Broken {
        Broken::Lost("the connection has ended".to_owned())
    }

    /// The answer is none that `question` has.
    pub(super) fn unfitting(question: &str) -> Broken {
        Broken::Lie(format!("the coordinator's answer does not fit {question}"))
    }

    /// Whether a coordinator that was there may be so again.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Broken::Dial(DialError::Resolve { .. } | DialError::Connect { .. } | DialError::Greeting { .. })
            | Broken::Lost(_) => true,
            // It was too busy to greet in time.
            Broken::Dial(DialError::Protocol { error, .. }) => error.code == ErrorCode::Timeout,
            Broken::Refused(error) => error.retry && is_of_the_moment(error.code),
            Broken::Object(FetchError::Refused(error)) => error.retry,
            Broken::Dial(_) | Broken::Object(_) | Broken::Lie(_) | Broken::Arithmetic(_) | Broken::Interrupted => false,
        }
    }

    /// Whether the coordinator is there and will answer soon.
    pub(super) fn is_recovering(&self) -> bool {
        matches!(self, Broken::Refused(error) if error.retry && error.code == ErrorCode::Recovering)
    }

    /// Whether the object asked for is not held there.
    pub(super) fn is_unknown_object(&self) -> bool {
        matches!(self, Broken::Object(FetchError::Refused(error)) if error.code == ErrorCode::UnknownObject)
    }

    /// The coordinator's code, where it gave one.
    pub(super) fn code(&self) -> Option<ErrorCode> {
        match self {
            Broken::Refused(error) => Some(error.code),
            _ => None,
        }
    }

    /// The cause alone, for a sentence around it.
    pub(super) fn cause(&self) -> String {
        match self {
            Broken::Dial(error) => error.to_string(),
            Broken::Lost(why) => why.clone(),
            other => other.to_string(),
        }
    }

    /// How the program ends.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Broken::Dial(_) | Broken::Lost(_) | Broken::Arithmetic(_) => Exit::Connection,
            Broken::Refused(error) => match error.code {
                ErrorCode::Specification
                | ErrorCode::UnknownField
                | ErrorCode::Conflict
                | ErrorCode::ObjectTooLarge => Exit::Usage,
                ErrorCode::Busy | ErrorCode::Closing | ErrorCode::Recovering => Exit::Connection,
                ErrorCode::Cancelled => Exit::Cancelled,
                ErrorCode::Paused => Exit::Paused,
                _ => Exit::JobFailed,
            },
            Broken::Object(_) | Broken::Lie(_) => Exit::JobFailed,
            Broken::Interrupted => Exit::Interrupted,
        }
    }
}

fn is_of_the_moment(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Busy | ErrorCode::Closing | ErrorCode::Recovering)
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Dial(error @ DialError::Connect { .. }) => {
                write!(f, "no coordinator: {error} (coordinator_node PORT POLICY starts a coordinator)")
            }
            Broken::Dial(error) => write!(f, "no coordinator: {error}"),
            Broken::Lost(why) => write!(f, "the connection to the coordinator has ended: {why}"),
            Broken::Refused(error) if error.code == ErrorCode::Unexpected => {
                write!(f, "the coordinator does not know how to answer: {}; is it of an older version?", error.text)
            }
            Broken::Refused(error) => f.write_str(&error.text),
            Broken::Object(error) => error.fmt(f),
            Broken::Lie(what) => f.write_str(what),
            Broken::Arithmetic(difference) => difference.fmt(f),
            Broken::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Failure {
        Failure::new(broken.exit(), broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_coordinator_says_may_pass_is_tried_again() {
        let refused = |code, retry| Broken::Refused(Error { retry, ..Error::new(code, 0, "no") });
        for code in [ErrorCode::Busy, ErrorCode::Closing, ErrorCode::Recovering] {
            assert!(refused(code, true).may_pass() && !refused(code, false).may_pass(), "{code}");
            assert_eq!(refused(code, true).exit(), Exit::Connection);
        }
        assert!(!refused(ErrorCode::NoNodes, true).may_pass());
        assert!(
            refused(ErrorCode::Recovering, true).is_recovering() && !refused(ErrorCode::Busy, true).is_recovering()
        );
        assert!(Broken::ended().may_pass() && !Broken::Interrupted.may_pass());
        let ends =
            [(ErrorCode::Cancelled, 5), (ErrorCode::Paused, 6), (ErrorCode::UnknownJob, 1), (ErrorCode::Conflict, 2)];
        for (code, exit) in ends {
            assert_eq!(refused(code, false).exit() as u8, exit, "{code}");
        }
    }
}

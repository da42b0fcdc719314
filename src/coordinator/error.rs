//! Why a coordinator does not start.

use std::fmt;
use std::io;

use super::journal::OpenError;
use crate::model::conformance::Difference;
use crate::net::ListenError;

/// Why a coordinator does not start.
#[derive(Debug)]
pub enum StartError {
    /// This machine computes otherwise than the definition says.
    Arithmetic(Difference),
    /// It cannot listen.
    Listen(ListenError),
    /// It cannot keep its jobs where it was told to.
    Journal(OpenError),
    /// It has no place for updates beside its jobs.
    Updates(io::Error),
    /// The system gives no thread.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arithmetic(difference) => f.write_str(&difference.where_kernels_are_chosen()),
            Self::Listen(error) => error.fmt(f),
            Self::Journal(error) => error.fmt(f),
            Self::Updates(error) => {
                write!(f, "the state directory cannot take updates: {error}. Make room or mend the disk")
            }
            Self::Thread(error) => write!(
                f,
                "no thread could be started: {error}. Allow more memory or processes (ulimit -v, ulimit -u), or the control group more"
            ),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError::Thread(error)
    }
}

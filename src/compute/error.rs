//! Why a node does not start.

use std::fmt;
use std::io;

use crate::model::conformance::Difference;
use crate::net::ListenError;

/// Why a node does not start.
#[derive(Debug)]
pub enum StartError {
    /// This machine computes otherwise than the definition says.
    Arithmetic(Difference),
    /// It cannot listen.
    Listen(ListenError),
    /// The system gives no thread.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arithmetic(difference) => f.write_str(&difference.where_kernels_are_chosen()),
            Self::Listen(error) => error.fmt(f),
            Self::Thread(error) => write!(
                f,
                "no thread could be started: {error}. Allow more memory or processes (ulimit -v, ulimit -u), or the control group more"
            ),
        }
    }
}

impl std::error::Error for StartError {}

//! Why a submission is turned away before the engine sees it, and what the client is told. Does not know what a job may take.

use std::fmt;

use crate::job::memory::{free_in_mib, in_mib};
use crate::wire::message::Error;
use crate::wire::{ErrorCode, MessageType, limits};

/// Why a submission is turned away before the engine sees it.
pub(in crate::coordinator) enum Refusal {
    /// It has the id that no job has.
    Nil,
    /// Its arithmetic is not known here.
    Arithmetic { got: u16 },
    /// One of its objects is too large.
    Object { bytes: u64, allowed: u64 },
    /// Its data does not fit, whatever else there is.
    TooMuchData { bytes: u64, allowed: u64 },
    /// Its data does not fit beside that of other jobs.
    NoRoom { bytes: u64, free: u64 },
    /// It takes more memory than there may be, whatever else there is.
    Memory { bytes: u64, allowed: u64 },
    /// It does beside other jobs.
    NoMemory { bytes: u64, free: u64 },
    /// The disk that jobs are kept on has no room for it.
    NoDisk { bytes: u64, free: u64 },
    /// Its merge needs all updates of a step at once, or the gradients of all its blocks, and there is no room for so many.
    Updates { bytes: u64, allowed: u64, of_blocks: bool },
    /// As many jobs wait for their data as may, and nobody has more of them than its client would have.
    Collecting { got: u64 },
    /// Few places are left, and its address has its share of them.
    PlacesShare { got: u64, allowed: u64 },
    /// Few bytes are left, and its address has its share of them.
    BytesShare { got: u64, allowed: u64 },
}

impl Refusal {
    pub(in crate::coordinator) fn error(&self) -> Error {
        let (code, retry, got, allowed) = match *self {
            Self::Nil => (ErrorCode::Specification, false, 0, 1),
            Self::Arithmetic { got } => (ErrorCode::Arithmetic, false, got.into(), crate::model::ARITHMETIC.into()),
            Self::Object { bytes, allowed } => (ErrorCode::ObjectTooLarge, false, bytes, allowed),
            Self::TooMuchData { bytes, allowed } => (ErrorCode::ObjectTooLarge, false, bytes, allowed),
            Self::NoRoom { bytes, free } => (ErrorCode::Busy, true, bytes, free),
            Self::Memory { bytes, allowed } => (ErrorCode::Memory, false, bytes, allowed),
            Self::NoMemory { bytes, free } | Self::NoDisk { bytes, free } => (ErrorCode::Busy, true, bytes, free),
            Self::Updates { bytes, allowed, .. } => (ErrorCode::ObjectTooLarge, false, bytes, allowed),
            Self::Collecting { got } => (ErrorCode::Busy, true, got, limits::COLLECTING_JOBS_MAX as u64),
            Self::PlacesShare { got, allowed } | Self::BytesShare { got, allowed } => {
                (ErrorCode::Busy, true, got, allowed)
            }
        };
        Error { code, about: MessageType::Submit as u8, retry, got, allowed, text: self.to_string() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("a job's id is not 0, which stands for all jobs: take another, at random"),
            Self::Arithmetic { got } => write!(f, "the job wants arithmetic {got}, which is not known here"),
            Self::Object { bytes, allowed } => {
                write!(
                    f,
                    "one of the job's objects has {bytes} bytes, and at most {allowed} are allowed: take more shards"
                )
            }
            Self::TooMuchData { bytes, allowed } => {
                write!(
                    f,
                    "the job's data has {bytes} bytes, and this coordinator keeps at most {allowed}: take fewer rows or columns, \
                     or start the coordinator with more (--store, --memory)"
                )
            }
            Self::Updates { bytes, allowed, of_blocks } => {
                let (all, fewer) = match of_blocks {
                    false => ("updates of a round", "fewer shards"),
                    true => ("gradients of a step's blocks", "a smaller batch"),
                };
                write!(
                    f,
                    "this merge needs all {all} at once, {bytes} bytes, and this coordinator keeps at most {allowed}: take \
                     {fewer}, or the mean"
                )
            }
            Self::Collecting { .. } => {
                let allowed = limits::COLLECTING_JOBS_MAX;
                write!(f, "the data of {allowed} jobs is on its way, as much as may be: try again later")
            }
            Self::PlacesShare { allowed, .. } => write!(
                f,
                "few places are left for jobs, and your address has its share, {allowed}: try again when one of them has ended"
            ),
            Self::BytesShare { got, allowed } => write!(
                f,
                "little room is left for data, and your address would have {got} bytes, while its share is {allowed}: try again \
                 when one of its jobs has ended"
            ),
            Self::Memory { bytes, allowed } => write!(
                f,
                "the job takes {} of the coordinator's memory, and {} are allowed: take a smaller network, or start the \
                 coordinator with more (--memory)",
                in_mib(*bytes),
                in_mib(*allowed)
            ),
            Self::NoMemory { bytes, free } => write!(
                f,
                "the job takes {} of the coordinator's memory, and {} are free until other jobs end: try again later",
                in_mib(*bytes),
                free_in_mib(*free)
            ),
            Self::NoDisk { bytes, free } => write!(
                f,
                "the job takes {} of the disk that this coordinator keeps jobs on, and {} are free: make room there, or have it keep \
                 fewer jobs that have ended (--keep-jobs, --keep-bytes)",
                in_mib(*bytes),
                free_in_mib(*free)
            ),
            Self::NoRoom { bytes, free } => {
                write!(
                    f,
                    "of the job's data {bytes} bytes are not here yet, and {free} are free until other jobs end: try \
                     again later"
                )
            }
        }
    }
}

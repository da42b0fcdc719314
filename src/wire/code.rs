//! Error codes: one table that yields the constants, the document and the text. Does not know who sends them.

use std::fmt;

use crate::job::FailKind;

macro_rules! codes {
    ($($variant:ident = $number:literal $name:literal $meaning:literal;)*) => {
        /// Why something failed (protocol.md, "Errors").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum ErrorCode { $(#[doc = $meaning] $variant = $number,)* }

        impl ErrorCode {
            /// All of them, in the order of their numbers.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$variant),*];

            /// The code of this number.
            pub fn from_number(number: u16) -> Option<ErrorCode> {
                match number { $($number => Some(ErrorCode::$variant),)* _ => None }
            }

            /// The name as protocol.md writes it.
            pub fn name(self) -> &'static str {
                match self { $(ErrorCode::$variant => $name,)* }
            }

            /// What it means, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(ErrorCode::$variant => $meaning,)* }
            }
        }
    };
}

codes! {
    Magic = 1 "MAGIC" "These bytes are no frame: they do not begin with F5 47 52 57.";
    HeaderChecksum = 2 "HEADER_CHECKSUM" "The header's CRC-32 is wrong.";
    PayloadChecksum = 3 "PAYLOAD_CHECKSUM" "The payload's CRC-32 is wrong.";
    Version = 4 "VERSION" "The peers have no protocol version in common.";
    FrameTooLarge = 5 "FRAME_TOO_LARGE" "The payload is longer than is allowed now.";
    UnknownType = 6 "UNKNOWN_TYPE" "The message's type is not known, and it is not one that may be skipped.";
    Flags = 7 "FLAGS" "A flag is set that was not negotiated, or has no meaning here.";
    Malformed = 8 "MALFORMED" "The payload is not what its type says.";
    Unexpected = 9 "UNEXPECTED" "The message is not allowed from this peer at this point.";
    RequestId = 10 "REQUEST_ID" "The request id has the wrong parity, was used before, or is not open.";
    Timeout = 11 "TIMEOUT" "The deadline has passed.";
    Cluster = 12 "CLUSTER" "The peers belong to clusters of different names.";
    Authentication = 13 "AUTHENTICATION" "Reserved: the peer could not show who it is.";
    Busy = 14 "BUSY" "There is no room now; try again later.";
    Closing = 15 "CLOSING" "The program is shutting down.";
    Recovering = 16 "RECOVERING" "The coordinator is reading its journal; try again soon.";
    Cancelled = 17 "CANCELLED" "The request was cancelled.";
    UnknownObject = 20 "UNKNOWN_OBJECT" "No object of this digest is held here.";
    ObjectHash = 21 "OBJECT_HASH" "The object's bytes do not have the digest that names it.";
    ObjectRange = 22 "OBJECT_RANGE" "Offset, length and size of an object do not fit each other.";
    ObjectTooLarge = 23 "OBJECT_TOO_LARGE" "The object is larger than is allowed here.";
    ObjectMalformed = 24 "OBJECT_MALFORMED" "The object's descriptor or contents are not what they must be.";
    Specification = 30 "SPECIFICATION" "The job's specification is refused.";
    UnknownField = 31 "UNKNOWN_FIELD" "A tagged field that must be understood is not known here.";
    Arithmetic = 32 "ARITHMETIC" "The arithmetic asked for is not known here.";
    Conflict = 33 "CONFLICT" "A job of this id exists with another specification.";
    Training = 34 "TRAINING" "The task could not be trained.";
    Internal = 35 "INTERNAL" "The program has met a fault of its own.";
    Memory = 36 "MEMORY" "The job or task takes more memory than is allowed here.";
    NoNodes = 40 "NO_NODES" "The job was given up: no node was active after every revival; it can be resumed.";
    TaskFailed = 41 "TASK_FAILED" "The job was given up: one of its tasks failed everywhere; it can be resumed.";
    JobData = 42 "JOB_DATA" "The job was given up: its data could not be had, or is not what it must be.";
    Paused = 43 "PAUSED" "The job waits, for the reason that the sentence gives; it can be resumed.";
    UnknownJob = 44 "UNKNOWN_JOB" "No job of this id is known here.";
}

/// What whoever watches a job is told of its failure.
impl From<FailKind> for ErrorCode {
    fn from(kind: FailKind) -> ErrorCode {
        match kind {
            FailKind::NoNodes => ErrorCode::NoNodes,
            FailKind::TaskFailed => ErrorCode::TaskFailed,
            FailKind::DataMissing | FailKind::DataWrong => ErrorCode::JobData,
            FailKind::Internal => ErrorCode::Internal,
            FailKind::Cancelled => ErrorCode::Cancelled,
            FailKind::Paused => ErrorCode::Paused,
        }
    }
}

impl ErrorCode {
    /// The failure of a job that is told by this code, if it is one. (Jobs whose data is missing are forgotten, so that
    /// nobody is told of them later.)
    pub fn fail_kind(self) -> Option<FailKind> {
        match self {
            ErrorCode::NoNodes => Some(FailKind::NoNodes),
            ErrorCode::TaskFailed => Some(FailKind::TaskFailed),
            ErrorCode::JobData => Some(FailKind::DataWrong),
            ErrorCode::Internal => Some(FailKind::Internal),
            ErrorCode::Cancelled => Some(FailKind::Cancelled),
            ErrorCode::Paused => Some(FailKind::Paused),
            _ => None,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_agree() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(code as u16), Some(code));
            assert!(code.meaning().ends_with('.'));
        }
        assert_eq!(ErrorCode::from_number(0), None);
    }
}

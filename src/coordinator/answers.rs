//! The final answers to SUBMIT and ATTACH. Owns how a job's outcome is told; does not know why a job ended.

use crate::job::{Failure, Outcome, Specification, Summary};
use crate::wire::message::{Done, Error};
use crate::wire::{ErrorCode, Message, MessageType, object};

/// What whoever watches a job is told at its end.
pub(super) fn answer(specification: &Specification, outcome: &Outcome) -> Message<'static> {
    match outcome {
        Outcome::Done(summary) => done(specification, summary).into(),
        Outcome::Failed(reason) => error_of(&reason.into()).into(),
        Outcome::Cancelled => error_of(&Failure::cancelled()).into(),
    }
}

/// DONE.
pub(super) fn done(specification: &Specification, summary: &Summary) -> Done {
    Done { weights_bytes: object::parameters_bytes(&specification.training.network), summary: summary.clone() }
}

/// The ERROR that tells of a failure.
pub(super) fn error_of(failure: &Failure) -> Error {
    let error = refusal(failure.kind.into(), failure.text.clone());
    Error { retry: failure.kind.may_be_submitted_again(), ..error }
}

/// A final answer to SUBMIT, and to ATTACH once it says so.
pub(super) fn refusal(code: ErrorCode, text: String) -> Error {
    Error::new(code, MessageType::Submit as u8, text)
}

//! Jobs that a coordinator knows: ATTACH watches one, JOBS asks how they stand (JOB, LISTED), ORDER changes that, DESCRIBE
//! asks what was asked for (DESCRIBED).

use super::layout::Layout;
use super::submission::{read_specification, read_state, write_specification};
use crate::digest::Digest;
use crate::job::{Failure, JobId, JobStatus, Specification};
use crate::wire::ErrorCode;
use crate::wire::bytes::{Malformation, Read, Reader, Write as _};

/// Attach me to this job, if it is known, whatever it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attach {
    /// The job.
    pub job: JobId,
    /// Rounds that the client has shown already: they are not sent again.
    pub rounds_seen: u32,
}

impl Layout<'_> for Attach {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(Attach { job: JobId(reader.u128()?), rounds_seen: reader.u32()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u128(self.job.0);
        out.u32(self.rounds_seen);
    }
}

/// How do the jobs stand?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// The one that is asked for; all of them where there is none. It travels as [`JobId::NIL`] then, which no job has.
    pub job: Option<JobId>,
}

impl Layout<'_> for Jobs {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let job = JobId(reader.u128()?);
        Ok(Jobs { job: (job != JobId::NIL).then_some(job) })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u128(self.job.unwrap_or(JobId::NIL).0);
    }
}

/// Bytes of JOB before its text.
const JOB_HEAD_BYTES: usize = 82;

const NO_DIGEST: Digest = Digest([0; 32]);

/// The same, with its text shortened so that JOB fits a payload of so many bytes.
pub fn fitting(mut status: JobStatus, payload_bytes_max: u32) -> JobStatus {
    let room = (payload_bytes_max as usize).saturating_sub(JOB_HEAD_BYTES);
    if let Some(failure) = &mut status.failure {
        failure.text.truncate(failure.text.floor_char_boundary(room));
    }
    status
}

impl Layout<'_> for JobStatus {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let job = JobId(reader.u128()?);
        let state = read_state(reader)?;
        reader.reserved(1)?;
        let number = reader.u16()?;
        let kind = ErrorCode::from_number(number).and_then(ErrorCode::fail_kind);
        if kind.is_none() && number != 0 {
            return reader.fail(Malformation::UnknownValue { got: number.into() });
        }
        let mut status = JobStatus {
            job,
            state,
            failure: None,
            rounds_done: reader.u32()?,
            rounds: reader.u32()?,
            queue_position: reader.u32()?,
            submitted_ms: reader.u64()?,
            ended_ms: reader.u64()?,
            fingerprint: None,
            weights: None,
        };
        let model = Some(reader.digest()?).filter(|digest| *digest != NO_DIGEST);
        *if state.has_failure() { &mut status.weights } else { &mut status.fingerprint } = model;
        let text = reader.sentence()?;
        let has_text = !text.is_empty();
        status.failure = kind.map(|kind| Failure { kind, text });
        if !status.is_consistent() || has_text && status.failure.is_none() {
            let why = "a code and a text go with a job that failed, was cancelled or is paused, a fingerprint with a done \
                       one, weights with those";
            return reader.fail(Malformation::Refused(why.to_owned()));
        }
        Ok(status)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        debug_assert!(self.is_consistent(), "{self:?}");
        out.u128(self.job.0);
        out.bytes(&[self.state as u8, 0]);
        out.u16(self.failure.as_ref().map_or(0, |failure| ErrorCode::from(failure.kind) as u16));
        out.u32(self.rounds_done);
        out.u32(self.rounds);
        out.u32(self.queue_position);
        out.u64(self.submitted_ms);
        out.u64(self.ended_ms);
        out.bytes(&self.fingerprint.or(self.weights).unwrap_or(NO_DIGEST).0);
        out.sentence(self.failure_text());
    }
}

/// That was all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// How many.
    pub jobs: u32,
}

impl Layout<'_> for Listed {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(Listed { jobs: reader.u32()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.jobs);
    }
}

/// What a client may have done to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OrderVerb {
    /// End it, unless it has ended.
    Cancel = 1,
    /// Let it go on, if it is paused or was given up.
    Resume = 2,
}

/// Do this to that job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The job.
    pub job: JobId,
    /// What to do.
    pub verb: OrderVerb,
}

impl Layout<'_> for Order {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let job = JobId(reader.u128()?);
        let verb = match reader.u8()? {
            1 => OrderVerb::Cancel,
            2 => OrderVerb::Resume,
            got => return reader.fail(Malformation::UnknownValue { got: got.into() }),
        };
        reader.reserved(3)?;
        Ok(Order { job, verb })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u128(self.job.0);
        out.bytes(&[self.verb as u8, 0, 0, 0]);
    }
}

/// What was asked for with this job?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Describe {
    /// The job.
    pub job: JobId,
}

impl Layout<'_> for Describe {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(Describe { job: JobId(reader.u128()?) })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u128(self.job.0);
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// The job.
    pub job: JobId,
    /// All of it, operation and notes too.
    pub specification: Specification,
}

impl Layout<'_> for Described {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(Described { job: JobId(reader.u128()?), specification: read_specification(reader)? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u128(self.job.0);
        write_specification(out, &self.specification);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{FailKind, JobState};

    fn decode(bytes: &[u8]) -> Read<JobStatus> {
        JobStatus::decode(&mut Reader::new("JOB", bytes))
    }

    #[test]
    fn what_a_job_says_fits_where_it_stands() {
        let running = JobStatus {
            job: JobId(1),
            state: JobState::Running,
            failure: None,
            rounds_done: 1,
            rounds: 2,
            queue_position: 0,
            submitted_ms: 5,
            ended_ms: 0,
            fingerprint: None,
            weights: None,
        };
        let mut bytes = Vec::new();
        running.encode(&mut bytes);
        assert_eq!(decode(&bytes), Ok(running.clone()));
        // Its state, its code, and a byte of its fingerprint.
        for (place, byte) in [(16, 4), (16, 5), (18, 17), (50, 1)] {
            let mut changed = bytes.clone();
            changed[place] = byte;
            assert!(matches!(decode(&changed).unwrap_err().why, Malformation::Refused(_)), "byte {place}");
        }
        let failure = Some(Failure { kind: FailKind::Paused, text: "no node".to_owned() });
        let weights = Some(Digest([7; 32]));
        let paused = JobStatus { state: JobState::Paused, failure, weights, ..running };
        bytes.clear();
        paused.encode(&mut bytes);
        assert_eq!(decode(&bytes), Ok(paused));
        bytes[16] = JobState::Queued as u8;
        assert!(decode(&bytes).is_err());
    }

    #[test]
    fn a_text_is_shortened_between_characters_to_what_a_peer_takes() {
        let failure = Some(Failure { kind: FailKind::TaskFailed, text: "é".repeat(500) });
        let failed = JobStatus {
            job: JobId(1),
            state: JobState::Failed,
            failure,
            rounds_done: 1,
            rounds: 2,
            queue_position: 0,
            submitted_ms: 5,
            ended_ms: 6,
            fingerprint: None,
            weights: None,
        };
        for (takes, bytes) in [(1_024, 1_024), (1_025, 1_024), (1_081, 1_080), (1_082, 1_082), (1 << 20, 1_082)] {
            let mut out = Vec::new();
            fitting(failed.clone(), takes).encode(&mut out);
            assert_eq!(out.len(), bytes, "to who takes {takes}");
            assert!(decode(&out).is_ok());
        }
    }

    #[test]
    fn no_job_is_every_job() {
        for (job, first) in [(None, 0), (Some(JobId(3)), 3)] {
            let mut bytes = Vec::new();
            Jobs { job }.encode(&mut bytes);
            assert_eq!((bytes.len(), bytes[0]), (16, first));
            assert_eq!(Jobs::decode(&mut Reader::new("JOBS", &bytes)), Ok(Jobs { job }));
        }
    }
}

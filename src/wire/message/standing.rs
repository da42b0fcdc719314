//! Jobs that a coordinator knows: ATTACH watches one, JOBS asks how they stand (JOB, LISTED), ORDER changes that, DESCRIBE
//! asks what was asked for (DESCRIBED).

use super::Layout;
use super::jobs::{read_specification, write_specification};
use crate::digest::Digest;
use crate::job::{JobId, Specification};
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

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum JobStanding {
    /// Its data is on its way.
    Collecting = 1,
    /// It waits for jobs before it.
    Queued = 2,
    /// It runs.
    Running = 3,
    /// It is done.
    Done = 4,
    /// It was given up.
    Failed = 5,
    /// It was cancelled.
    Cancelled = 6,
    /// No node was left; it waits to be resumed.
    Paused = 7,
}

impl JobStanding {
    /// Whether there is a reason to tell.
    pub fn has_reason(self) -> bool {
        matches!(self, JobStanding::Failed | JobStanding::Cancelled | JobStanding::Paused)
    }

    fn from_number(number: u8) -> Option<JobStanding> {
        match number {
            1 => Some(JobStanding::Collecting),
            2 => Some(JobStanding::Queued),
            3 => Some(JobStanding::Running),
            4 => Some(JobStanding::Done),
            5 => Some(JobStanding::Failed),
            6 => Some(JobStanding::Cancelled),
            7 => Some(JobStanding::Paused),
            _ => None,
        }
    }
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The job.
    pub job: JobId,
    /// Where it stands.
    pub state: JobStanding,
    /// The error that its watchers got, where it failed, was cancelled or is paused, and only there.
    pub code: Option<ErrorCode>,
    /// Rounds done.
    pub rounds_done: u32,
    /// Rounds of the job.
    pub rounds: u32,
    /// Jobs before it.
    pub queue_position: u32,
    /// When it was submitted, in milliseconds since 1970 in UTC.
    pub submitted_ms: u64,
    /// When it ended; 0 where it has not.
    pub ended_ms: u64,
    /// The fingerprint of its model, where it is done, and only there.
    pub fingerprint: Option<Digest>,
    /// Why it failed, was cancelled or is paused; empty elsewhere.
    pub text: String,
}

impl Job {
    /// The same, with its text shortened so that it fits a payload of so many bytes.
    pub fn fitting(mut self, payload_bytes_max: u32) -> Job {
        let room = (payload_bytes_max as usize).saturating_sub(JOB_HEAD_BYTES);
        self.text.truncate(self.text.floor_char_boundary(room));
        self
    }

    /// Whether code, fingerprint and text are there where they belong, and nowhere else.
    fn is_consistent(&self) -> bool {
        let has_reason = self.state.has_reason();
        self.code.is_some() == has_reason
            && self.fingerprint.is_some() == (self.state == JobStanding::Done)
            && (has_reason || self.text.is_empty())
    }
}

/// Bytes of JOB before its text.
const JOB_HEAD_BYTES: usize = 82;

const NO_DIGEST: Digest = Digest([0; 32]);

impl Layout<'_> for Job {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let job = JobId(reader.u128()?);
        let number = reader.u8()?;
        let Some(state) = JobStanding::from_number(number) else {
            return reader.fail(Malformation::UnknownValue { got: number.into() });
        };
        reader.reserved(1)?;
        let number = reader.u16()?;
        let code = ErrorCode::from_number(number);
        if code.is_none() && number != 0 {
            return reader.fail(Malformation::UnknownValue { got: number.into() });
        }
        let job = Job {
            job,
            state,
            code,
            rounds_done: reader.u32()?,
            rounds: reader.u32()?,
            queue_position: reader.u32()?,
            submitted_ms: reader.u64()?,
            ended_ms: reader.u64()?,
            fingerprint: Some(reader.digest()?).filter(|digest| *digest != NO_DIGEST),
            text: reader.sentence()?,
        };
        if !job.is_consistent() {
            let why = "a code and a text go with a job that failed, was cancelled or is paused, a fingerprint with a done one";
            return reader.fail(Malformation::Refused(why.to_owned()));
        }
        Ok(job)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        debug_assert!(self.is_consistent(), "{self:?}");
        out.u128(self.job.0);
        out.bytes(&[self.state as u8, 0]);
        out.u16(self.code.map_or(0, |code| code as u16));
        out.u32(self.rounds_done);
        out.u32(self.rounds);
        out.u32(self.queue_position);
        out.u64(self.submitted_ms);
        out.u64(self.ended_ms);
        out.bytes(&self.fingerprint.unwrap_or(NO_DIGEST).0);
        out.sentence(&self.text);
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
    /// Let it go on, if it is paused.
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

    fn decode(bytes: &[u8]) -> Read<Job> {
        Job::decode(&mut Reader::new("JOB", bytes))
    }

    #[test]
    fn what_a_job_says_fits_where_it_stands() {
        let running = Job {
            job: JobId(1),
            state: JobStanding::Running,
            code: None,
            rounds_done: 1,
            rounds: 2,
            queue_position: 0,
            submitted_ms: 5,
            ended_ms: 0,
            fingerprint: None,
            text: String::new(),
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
        let (code, text) = (Some(ErrorCode::Paused), "no node".to_owned());
        let paused = Job { state: JobStanding::Paused, code, text, ..running };
        bytes.clear();
        paused.encode(&mut bytes);
        assert_eq!(decode(&bytes), Ok(paused));
        bytes[16] = JobStanding::Queued as u8;
        assert!(decode(&bytes).is_err());
    }

    #[test]
    fn a_text_is_shortened_between_characters_to_what_a_peer_takes() {
        let (code, text) = (Some(ErrorCode::TaskFailed), "é".repeat(500));
        let failed = Job {
            job: JobId(1),
            state: JobStanding::Failed,
            code,
            rounds_done: 1,
            rounds: 2,
            queue_position: 0,
            submitted_ms: 5,
            ended_ms: 6,
            fingerprint: None,
            text,
        };
        for (takes, bytes) in [(1_024, 1_024), (1_025, 1_024), (1_081, 1_080), (1_082, 1_082), (1 << 20, 1_082)] {
            let mut out = Vec::new();
            failed.clone().fitting(takes).encode(&mut out);
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

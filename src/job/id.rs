//! What jobs, tasks and attempts are called.

use std::fmt;
use std::str::FromStr;

/// A job's name: 128 bits that the client chooses at random, so that it can ask again after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u128);

impl JobId {
    /// No job's: who asks for it asks for all of them.
    pub const NIL: JobId = JobId(0);
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The text is not 32 hexadecimal digits, or nothing but zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAJobId;

impl fmt::Display for NotAJobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a job id is 32 hexadecimal digits, not all of them 0")
    }
}

impl std::error::Error for NotAJobId {}

impl FromStr for JobId {
    type Err = NotAJobId;

    fn from_str(text: &str) -> Result<JobId, NotAJobId> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAJobId);
        }
        let job = u128::from_str_radix(text, 16).map(JobId).map_err(|_| NotAJobId)?;
        if job == JobId::NIL { Err(NotAJobId) } else { Ok(job) }
    }
}

/// One piece of work: a shard, trained once from a step's base weights, or blocks of a step whose gradients are merged. Depends on
/// nothing but what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The job.
    pub job: JobId,
    /// The step, counted from 0.
    pub step: u64,
    /// The shard, counted from 0; of merged gradients, the task's number in its step, which says nothing of its rows.
    pub shard: u32,
}

/// One dispatch of a task to one node over one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The task.
    pub task: TaskId,
    /// Which dispatch of the task it is, counted from 1.
    pub attempt: u32,
    /// Random: a result that does not carry it was not trained for this attempt.
    pub token: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_is_written_and_read_as_32_hexadecimal_digits() {
        let id = JobId(0xabc);
        assert_eq!(id.to_string(), "00000000000000000000000000000abc");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "abc", "+0000000000000000000000000000abc", &"é".repeat(16)] {
            assert_eq!(text.parse::<JobId>(), Err(NotAJobId), "{text}");
        }
    }
}

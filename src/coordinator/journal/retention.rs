//! What the journal keeps, in bytes: of which job, which objects several jobs need, and how much of it is for jobs that have
//! ended. Owns the counting and which job goes first where it is too much; does not know files.

use std::collections::{BTreeSet, HashMap};

use crate::digest::Digest;
use crate::job::JobId;

/// Every job that is written, and its objects.
#[derive(Default)]
pub(super) struct Retention {
    jobs: HashMap<JobId, Files>,
    objects: HashMap<Digest, Object>,
    /// Jobs that have ended, with how long coordinators had run then, the earliest first.
    ended: BTreeSet<(u64, JobId)>,
    /// What they take: their own files, and objects that no other job needs.
    ended_bytes: u64,
    /// The job that is about to go.
    going: Option<JobId>,
}

/// What is written of a job.
struct Files {
    objects: Vec<Digest>,
    /// How long coordinators had run when it ended, and the bytes of its own files; none while it has not.
    ended: Option<(u64, u64)>,
}

/// Data that jobs need.
struct Object {
    bytes: u64,
    /// Jobs that need it and have not ended.
    open: usize,
    /// Those that have.
    ended: usize,
}

impl Object {
    /// What there would be less if no job that has ended were kept.
    fn ended_bytes(&self) -> u64 {
        if self.open == 0 && self.ended > 0 { self.bytes } else { 0 }
    }
}

impl Retention {
    /// A job is about to be written, with these objects and their sizes; whatever was of this id before is not.
    pub(super) fn begin(&mut self, job: JobId, objects: HashMap<Digest, u64>) {
        self.forget(job);
        for (&digest, &bytes) in &objects {
            self.objects.entry(digest).or_insert(Object { bytes, open: 0, ended: 0 });
            self.change(digest, |object| object.open += 1);
        }
        self.jobs.insert(job, Files { objects: objects.into_keys().collect(), ended: None });
    }

    /// A job has ended, and its own files have so many bytes.
    pub(super) fn end(&mut self, job: JobId, lived_ms: u64, bytes: u64) {
        let Some(files) = self.jobs.get_mut(&job).filter(|files| files.ended.is_none()) else { return };
        files.ended = Some((lived_ms, bytes));
        self.ended.insert((lived_ms, job));
        self.ended_bytes += bytes;
        for digest in files.objects.clone() {
            self.change(digest, |object| {
                object.open -= 1;
                object.ended += 1;
            });
        }
    }

    /// A job is not known any more. Returns the objects that no job needs now; nothing if it was not written.
    pub(super) fn forget(&mut self, job: JobId) -> Option<Vec<Digest>> {
        let Files { mut objects, ended } = self.jobs.remove(&job)?;
        self.going.take_if(|going| *going == job);
        if let Some((lived_ms, bytes)) = ended {
            self.ended.remove(&(lived_ms, job));
            self.ended_bytes -= bytes;
        }
        for &digest in &objects {
            self.change(digest, |object| *(if ended.is_some() { &mut object.ended } else { &mut object.open }) -= 1);
        }
        objects.retain(|digest| !self.is_needed(digest));
        Some(objects)
    }

    /// Whether a job needs this object.
    pub(super) fn is_needed(&self, digest: &Digest) -> bool {
        self.objects.contains_key(digest)
    }

    /// What jobs that have ended take.
    pub(super) fn ended_bytes(&self) -> u64 {
        self.ended_bytes
    }

    /// The job that is to go because those that have ended take more than this: the one that ended first. It is named once.
    /// The one that ended last stays, however large it is: somebody may be fetching its model.
    pub(super) fn too_much(&mut self, bytes_max: u64) -> Option<JobId> {
        let &(_, first) = self.ended.first().filter(|_| self.ended_bytes > bytes_max && self.ended.len() > 1)?;
        (self.going.replace(first) != Some(first)).then_some(first)
    }

    fn change(&mut self, digest: Digest, change: impl FnOnce(&mut Object)) {
        let Some(object) = self.objects.get_mut(&digest) else { return };
        self.ended_bytes -= object.ended_bytes();
        change(object);
        self.ended_bytes += object.ended_bytes();
        if object.open + object.ended == 0 {
            self.objects.remove(&digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(numbers: &[u8]) -> HashMap<Digest, u64> {
        numbers.iter().map(|&number| (Digest([number; 32]), u64::from(number))).collect()
    }

    #[test]
    fn an_object_counts_once_and_only_where_no_job_needs_it_that_has_not_ended() {
        let mut kept = Retention::default();
        let [first, second, third] = [1, 2, 3].map(JobId);
        kept.begin(first, objects(&[10, 20]));
        kept.begin(second, objects(&[20, 40]));
        kept.begin(second, objects(&[20, 40]));
        assert_eq!(kept.ended_bytes(), 0);
        kept.end(first, 5, 100);
        assert_eq!(kept.ended_bytes(), 110, "the second needs 20");
        kept.end(second, 6, 100);
        assert_eq!(kept.ended_bytes(), 270);
        kept.begin(third, objects(&[10]));
        assert_eq!(kept.ended_bytes(), 260);
        assert_eq!(kept.forget(first), Some(vec![]));
        assert_eq!(kept.ended_bytes(), 160);
        assert_eq!(kept.forget(third), Some(vec![Digest([10; 32])]));
        assert!(kept.is_needed(&Digest([20; 32])) && !kept.is_needed(&Digest([10; 32])));
        assert_eq!(kept.forget(second).map(|gone| gone.len()), Some(2));
        assert_eq!((kept.ended_bytes(), kept.forget(second)), (0, None));
        kept.begin(first, objects(&[1, 2]));
        kept.begin(first, objects(&[2, 3]));
        assert!(!kept.is_needed(&Digest([1; 32])) && kept.is_needed(&Digest([3; 32])), "another job of the same id");
    }

    #[test]
    fn the_job_that_ended_first_goes_first_and_the_last_one_stays() {
        let mut kept = Retention::default();
        for (job, lived_ms) in [(1, 30), (2, 10), (3, 20)] {
            kept.begin(JobId(job), objects(&[1]));
            kept.end(JobId(job), lived_ms, 100);
        }
        kept.begin(JobId(4), objects(&[200]));
        assert_eq!(kept.too_much(301), None);
        assert_eq!(kept.too_much(300), Some(JobId(2)));
        assert_eq!(kept.too_much(300), None, "it is on its way");
        kept.forget(JobId(2));
        assert_eq!(kept.too_much(1), Some(JobId(3)));
        kept.forget(JobId(3));
        assert_eq!(kept.too_much(1), None);
    }
}

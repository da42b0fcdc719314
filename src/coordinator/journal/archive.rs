//! What is read of the journal while it is being written: specifications, ledgers, rounds, objects that are no longer in
//! memory. Owns what is held for that; any thread may ask, and reads the disk itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard};

use super::directory::Directory;
use super::ledger::{Blocks, Extent};
use super::recovery;
use crate::digest::Digest;
use crate::job::{JobId, Specification};
use crate::wire::message::{Entries, LedgerEntry, Round};

/// What is told of a job: as much of it as is durable.
#[derive(Clone)]
pub(super) struct Shelved {
    pub(super) specification: Arc<Specification>,
    pub(super) ledger: Extent,
    /// The ledger's blocks behind its file.
    pub(super) tail: Vec<Arc<Vec<u8>>>,
}

/// The journal's readers' side.
pub(in super::super) struct Archive {
    directory: Option<Arc<Directory>>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Jobs that are being written, and, without a directory, all others.
    shelf: HashMap<JobId, Shelved>,
    /// Whose weights of a round these are.
    kept: HashMap<Digest, JobId>,
    /// Whose last weights these are, of jobs that have ended.
    last: HashMap<Digest, JobId>,
    /// The job that was last looked up on the disk: a ledger is asked for page by page.
    looked_up: Option<(JobId, Shelved)>,
}

impl Archive {
    pub(super) fn new(directory: Option<Arc<Directory>>) -> Archive {
        Archive { directory, inner: Mutex::default() }
    }

    /// What was asked for with this job.
    pub(in super::super) fn specification(&self, job: JobId) -> Option<Arc<Specification>> {
        self.look_up(job).map(|shelved| shelved.specification)
    }

    /// Entries of a job's ledger, from this one on, no more than `count_max` of them.
    pub(in super::super) fn entries(&self, job: JobId, first: u64, count_max: usize) -> Option<Entries> {
        let shelved = self.look_up(job)?;
        let shards = shelved.specification.shards.len() as u32;
        let mut total = 0;
        let mut entries: Vec<LedgerEntry> = Vec::new();
        self.walk(job, &shelved, |_, block| {
            let before = total;
            total += block.len() as u64;
            let skipped = first.saturating_sub(before).min(block.len() as u64) as usize;
            let room = count_max - entries.len();
            entries.extend(block.into_iter().skip(skipped).take(room));
        });
        Some(Entries { total, first, shards, entries })
    }

    /// What was told of a job's rounds.
    pub(super) fn rounds(&self, job: JobId) -> Vec<Round> {
        let mut rounds = Vec::new();
        if let Some(shelved) = self.look_up(job) {
            self.walk(job, &shelved, |round, _| rounds.push(round));
        }
        rounds
    }

    /// An object that is on the disk: data of a job, the weights of one that has ended, or those of a round.
    pub(in super::super) fn object(&self, digest: &Digest) -> Option<Vec<u8>> {
        let directory = self.directory.as_ref()?;
        let (kept, last) = {
            let inner = self.inner();
            (inner.kept.get(digest).copied(), inner.last.get(digest).copied())
        };
        let found = match (kept, last) {
            (_, Some(job)) => Ok(recovery::last_weights(directory, job, digest)),
            (Some(job), None) => directory.get_weights(job, digest),
            (None, None) => directory.get_object(digest),
        };
        found.unwrap_or_else(|error| {
            log::warn!("{error}");
            None
        })
    }

    /// The size of an object that is on the disk; its bytes have not been looked at.
    pub(in super::super) fn object_bytes(&self, digest: &Digest) -> Option<u64> {
        let directory = self.directory.as_ref()?;
        let (kept, last) = {
            let inner = self.inner();
            (inner.kept.get(digest).copied(), inner.last.get(digest).copied())
        };
        match (kept, last) {
            (Some(job), _) => directory.weights_bytes(job, digest),
            (None, Some(job)) => recovery::last_weights(directory, job, digest).map(|bytes| bytes.len() as u64),
            (None, None) => directory.object_bytes(digest),
        }
    }

    /// A job has been submitted; nothing of it is written yet.
    pub(in super::super) fn begin(&self, job: JobId, specification: Arc<Specification>) {
        self.shelve(job, Shelved { specification, ledger: Extent::START, tail: Vec::new() });
    }

    /// This much of a job is durable.
    pub(super) fn shelve(&self, job: JobId, shelved: Shelved) {
        self.inner().shelf.insert(job, shelved);
    }

    /// A job has ended, with these weights; it is read from the disk from now on.
    pub(super) fn unshelve(&self, job: JobId, weights: Option<Digest>) {
        let mut inner = self.inner();
        inner.shelf.remove(&job);
        inner.last.extend(weights.map(|weights| (weights, job)));
    }

    /// Weights of a round are about to be kept; false where they are already, of this job or of another with the same.
    pub(super) fn keep(&self, job: JobId, weights: Digest) -> bool {
        match self.inner().kept.entry(weights) {
            Entry::Vacant(place) => {
                place.insert(job);
                true
            }
            // The file lies with the job that came first.
            Entry::Occupied(_) => false,
        }
    }

    /// A job is not known any more.
    pub(in super::super) fn forget(&self, job: JobId) {
        let mut inner = self.inner();
        inner.shelf.remove(&job);
        inner.looked_up = None;
        inner.kept.retain(|_, owner| *owner != job);
        inner.last.retain(|_, owner| *owner != job);
    }

    fn look_up(&self, job: JobId) -> Option<Shelved> {
        {
            let inner = self.inner();
            let looked_up = inner.looked_up.as_ref().filter(|(looked_up, _)| *looked_up == job);
            if let Some(shelved) = inner.shelf.get(&job).or(looked_up.map(|(_, shelved)| shelved)) {
                return Some(shelved.clone());
            }
        }
        let shelved = recovery::shelved(self.directory.as_ref()?, job)?;
        self.inner().looked_up = Some((job, shelved.clone()));
        Some(shelved)
    }

    /// Goes over what is durable of a job's ledger, as far as it is whole.
    fn walk(&self, job: JobId, shelved: &Shelved, mut each: impl FnMut(Round, Vec<LedgerEntry>)) {
        let mut seal = Extent::START.seal;
        let mut read = |bytes: &[u8]| {
            let mut blocks = Blocks::new(bytes, seal);
            for block in &mut blocks {
                match block {
                    Ok(block) => each(block.round, block.entries),
                    Err(error) => return log::warn!("job {job}: {error}"),
                }
            }
            seal = blocks.seal();
        };
        if shelved.ledger.bytes > 0 {
            let file = self.directory.as_ref().map(|directory| directory.read_ledger(job, shelved.ledger.bytes));
            match file {
                Some(Ok(bytes)) => read(&bytes),
                Some(Err(error)) => return log::warn!("{error}"),
                None => {}
            }
        }
        shelved.tail.iter().for_each(|block| read(block));
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change is whole before anything can panic.
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

//! What is read of the journal while it is being written: specifications, ledgers, rounds, objects that are no longer in
//! memory. Owns what is held for that; any thread may ask, and reads the disk itself.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directory::Directory;
use super::ledger::{self, Block, Blocks, Extent};
use super::reading;
use super::shelved::{Absent, Shelved};
use crate::coordinator::data::objects_of;
use crate::digest::Digest;
use crate::disk;
use crate::job::{JobId, LedgerEntry, RoundSummary, Specification};
use crate::store::Store;
use crate::wire::message::Entries;

/// Jobs that have ended and whose ledgers can be asked for page by page without being looked up again.
const LOOKED_UP_MAX: usize = 8;

/// Blocks of a page of rounds, and their bytes, but for the first: what is told of so many rounds has less than 10 kB. Every
/// connection that is told of rounds holds one page.
pub(super) const PAGE_BLOCKS: usize = 64;
const PAGE_BYTES: u64 = 64 << 10;

/// A place in a job's ledger.
pub(in super::super) struct Bookmark {
    job: JobId,
    /// The next block.
    block: usize,
    /// The ledger as it was when it was last looked up.
    shelved: Shelved,
    /// Nothing more comes behind it.
    is_final: bool,
}

/// Room for a job on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct DiskRoom {
    pub(in super::super) free_bytes: u64,
    /// Of its data so much is there.
    pub(in super::super) there_bytes: u64,
}

/// The journal's readers' side.
pub(in super::super) struct Archive {
    directory: Option<Arc<Directory>>,
    inner: Mutex<Inner>,
    /// Whoever reads an object for a client.
    reads: Mutex<()>,
}

#[derive(Default)]
struct Inner {
    /// Jobs that are being written, and, without a directory, all others.
    shelf: HashMap<JobId, Shelved>,
    /// Whose weights of a round these are.
    kept: HashMap<Digest, JobId>,
    /// Whose last or best weights these are, or what came of whose rows, of jobs that have ended: of all, because those of equal jobs
    /// are the same.
    last: HashMap<Digest, Vec<JobId>>,
    /// The jobs that were last looked up on the disk, the latest at the end: a ledger is asked for page by page.
    looked_up: VecDeque<(JobId, Shelved)>,
    /// Jobs that are written and could not be read at the start, and why. They are not known, and not to be begun anew.
    unread: HashMap<JobId, String>,
}

impl Inner {
    /// Nothing of a job is read from the disk as of one that has ended.
    fn not_ended(&mut self, job: JobId) {
        self.looked_up.retain(|(looked_up, _)| *looked_up != job);
        self.last.retain(|_, owners| {
            owners.retain(|owner| *owner != job);
            !owners.is_empty()
        });
    }
}

impl Archive {
    pub(super) fn new(directory: Option<Arc<Directory>>) -> Archive {
        Archive { directory, inner: Mutex::default(), reads: Mutex::default() }
    }

    /// Why nothing is known of a job that is neither open nor has ended.
    pub(in super::super) fn absent(&self, job: JobId) -> Absent {
        self.inner().unread.get(&job).map_or(Absent::Unknown, |why| Absent::Unread(why.clone()))
    }

    /// What room there is on the disk for a job that needs these objects, where jobs are written and the disk says.
    pub(in super::super) fn disk_room(&self, specification: &Specification) -> Option<DiskRoom> {
        let directory = self.directory.as_ref()?;
        let free_bytes = disk::free_bytes(directory.root()).ok()?;
        let there = objects_of(specification).into_keys().filter_map(|digest| directory.object_bytes(&digest));
        Some(DiskRoom { free_bytes, there_bytes: there.fold(0u64, u64::saturating_add) })
    }

    /// Whether there are jobs of which nobody knows what data they need.
    pub(super) fn has_unread(&self) -> bool {
        !self.inner().unread.is_empty()
    }

    /// A job could not be read at the start.
    pub(super) fn leave_unread(&self, job: JobId, why: String) {
        self.inner().unread.insert(job, why);
    }

    /// What was asked for with this job.
    pub(in super::super) fn specification(&self, job: JobId) -> Result<Arc<Specification>, Absent> {
        self.look_up(job).map(|shelved| shelved.specification)
    }

    /// Entries of a job's ledger, from this one on, no more than `count_max` of them. No more is read than the blocks in which
    /// they lie.
    pub(in super::super) fn entries(&self, job: JobId, first: u64, count_max: usize) -> Result<Entries, Absent> {
        let shelved = self.look_up(job)?;
        let (total, of_step) = (shelved.entries, shelved.specification.step_entries());
        let end = total.min(first.saturating_add(count_max as u64));
        let mut entries: Vec<LedgerEntry> = Vec::new();
        if first < end {
            let blocks = shelved.block_of(first)..shelved.block_of(end - 1) + 1;
            let before = shelved.entries_before(blocks.start);
            let due = shelved.entries_before(blocks.end) - before;
            let read = self.read(job, &shelved, blocks, |block| entries.extend(block.entries));
            let is_whole = || if entries.len() as u64 == due { Ok(()) } else { Err("entries are missing".to_owned()) };
            if let Err(why) = read.and_then(|()| is_whole()) {
                return Err(Absent::Unread(format!("the ledger of job {job} cannot be read: {why}")));
            }
            entries.drain(..(first - before) as usize);
            entries.truncate(count_max);
        }
        Ok(Entries { total, first, shards: of_step, entries })
    }

    /// A bookmark in front of what is told of the first round after this one.
    pub(in super::super) fn bookmark(&self, job: JobId, rounds_seen: u32) -> Result<Bookmark, Absent> {
        // Looked at first: a job leaves the shelf once nothing more is written of it.
        let is_final = !self.inner().shelf.contains_key(&job);
        let mut bookmark = Bookmark { job, block: 0, shelved: self.look_up(job)?, is_final };
        let (mut low, mut high) = (0, bookmark.shelved.blocks());
        while rounds_seen > 0 && low < high {
            let middle = low.midpoint(high);
            match self.first_told(&bookmark, middle..high).map_err(Absent::Unread)? {
                Some((block, round)) if round <= rounds_seen => low = block + 1,
                _ => high = middle,
            }
        }
        bookmark.block = low;
        Ok(bookmark)
    }

    /// What is told of all rounds of a job of which nothing is written.
    pub(super) fn rounds(&self, job: JobId) -> Option<Vec<RoundSummary>> {
        let (mut bookmark, mut rounds) = (self.bookmark(job, 0).ok()?, Vec::new());
        while let Some(next) = self.rounds_behind(&mut bookmark).ok()? {
            rounds.extend(next);
        }
        Some(rounds)
    }

    /// The first of these blocks with which a round ends, and its number. A round has few blocks.
    fn first_told(&self, bookmark: &Bookmark, blocks: Range<usize>) -> Result<Option<(usize, u32)>, String> {
        for block in blocks {
            if let Some(round) = self.read_rounds(bookmark, block..block + 1)?.1.first() {
                return Ok(Some((block, round.round)));
            }
        }
        Ok(None)
    }

    /// What is told of the next rounds behind a bookmark, [`PAGE_BLOCKS`] at most, and perhaps of none; the bookmark moves on.
    /// None: no more is durable. An error says what is wrong with the ledger there.
    pub(in super::super) fn rounds_behind(&self, bookmark: &mut Bookmark) -> Result<Option<Vec<RoundSummary>>, String> {
        if bookmark.block == bookmark.shelved.blocks()
            && !bookmark.is_final
            && let Ok(shelved) = self.look_up(bookmark.job)
        {
            bookmark.shelved = shelved;
        }
        let (start, blocks) = (bookmark.block, bookmark.shelved.blocks());
        if start >= blocks {
            return Ok(None);
        }
        let starts = &bookmark.shelved.starts;
        let is_near = |block: &usize| {
            let bytes = |block: usize| starts.get(block).map(|start| start.bytes);
            bytes(start).zip(bytes(*block)).is_none_or(|(first, this)| this - first < PAGE_BYTES)
        };
        let more = (start + 1..blocks.min(start + PAGE_BLOCKS)).take_while(is_near).count();
        let (blocks, rounds) = self.read_rounds(bookmark, start..start + 1 + more)?;
        bookmark.block += blocks;
        Ok(Some(rounds))
    }

    /// What is told of rounds at these blocks, as far as they are whole: of how many. An error if the first of them is not.
    fn read_rounds(&self, bookmark: &Bookmark, blocks: Range<usize>) -> Result<(usize, Vec<RoundSummary>), String> {
        let (job, mut count, mut rounds) = (bookmark.job, 0, Vec::new());
        let read = self.read(job, &bookmark.shelved, blocks, |block| {
            count += 1;
            rounds.extend(block.round);
        });
        match read {
            Err(why) if count == 0 => Err(format!("the ledger of job {job} cannot be read: {why}")),
            _ => Ok((count, rounds)),
        }
    }

    /// An object that a client wants: from the store, or else from the disk into the store, where whoever wants its next piece finds
    /// it as long as nobody else needs the room.
    pub(in super::super) fn recall(&self, digest: &Digest, store: &Store) -> Option<Arc<Vec<u8>>> {
        store.get(digest).or_else(|| {
            // What is read for a client has no place in any estimate.
            let _one_at_a_time = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
            // Somebody else may have read it meanwhile.
            store.get(digest).or_else(|| {
                let bytes = Arc::new(self.object(digest)?);
                store.insert(*digest, bytes.clone());
                Some(bytes)
            })
        })
    }

    /// An object that is on the disk: data of a job, the weights of one that has ended and what came of its rows, or the weights of
    /// a round.
    pub(super) fn object(&self, digest: &Digest) -> Option<Vec<u8>> {
        let directory = self.directory.as_ref()?;
        let (kept, last) = self.owners(digest);
        let found = match (kept, last) {
            (_, Some(job)) => Ok(reading::object_of(directory, job, digest).map(Arc::unwrap_or_clone)),
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
        let (kept, last) = self.owners(digest);
        match (kept, last) {
            (Some(job), _) => directory.weights_bytes(job, digest),
            (None, Some(job)) => reading::bytes_of(directory, job, digest),
            (None, None) => directory.object_bytes(digest),
        }
    }

    /// The job whose weights of a round these are, and one whose last weights they are.
    pub(super) fn owners(&self, digest: &Digest) -> (Option<JobId>, Option<JobId>) {
        let inner = self.inner();
        (inner.kept.get(digest).copied(), inner.last.get(digest).and_then(|jobs| jobs.first().copied()))
    }

    /// A job has been submitted; nothing of it is written yet.
    pub(in super::super) fn begin(&self, job: JobId, specification: Arc<Specification>) {
        self.shelve(
            job,
            Shelved { specification, ledger: Extent::START, starts: Arc::default(), tail: Arc::default(), entries: 0 },
        );
    }

    /// This much of a job is durable.
    pub(super) fn shelve(&self, job: JobId, shelved: Shelved) {
        self.inner().shelf.insert(job, shelved);
    }

    /// A job has ended, with these objects beside its state, weights and what came of its rows; it is read from the disk from now on.
    pub(super) fn unshelve(&self, job: JobId, objects: impl IntoIterator<Item = Digest>) {
        let mut inner = self.inner();
        inner.shelf.remove(&job);
        inner.looked_up.retain(|(looked_up, _)| *looked_up != job);
        for digest in objects {
            inner.last.entry(digest).or_default().push(job);
        }
    }

    /// A job that had ended goes on: this much of it is durable.
    pub(super) fn reopen(&self, job: JobId, shelved: Shelved) {
        let mut inner = self.inner();
        inner.not_ended(job);
        inner.shelf.insert(job, shelved);
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

    /// Weights that were to be kept are not.
    pub(super) fn let_go(&self, weights: &Digest) {
        self.inner().kept.remove(weights);
    }

    /// No weights of rounds are kept any more; the jobs of which there were some.
    pub(super) fn let_go_of_all(&self) -> BTreeSet<JobId> {
        std::mem::take(&mut self.inner().kept).into_values().collect()
    }

    /// A job is not known any more.
    pub(in super::super) fn forget(&self, job: JobId) {
        let mut inner = self.inner();
        inner.shelf.remove(&job);
        inner.kept.retain(|_, owner| *owner != job);
        inner.not_ended(job);
    }

    fn look_up(&self, job: JobId) -> Result<Shelved, Absent> {
        {
            let inner = self.inner();
            let looked_up = inner.looked_up.iter().find(|(looked_up, _)| *looked_up == job);
            if let Some(shelved) = inner.shelf.get(&job).or(looked_up.map(|(_, shelved)| shelved)) {
                return Ok(shelved.clone());
            }
            if let Some(why) = inner.unread.get(&job) {
                return Err(Absent::Unread(why.clone()));
            }
        }
        let Some(directory) = &self.directory else { return Err(Absent::Unknown) };
        let shelved = reading::shelved(directory, job)?;
        let mut inner = self.inner();
        inner.looked_up.retain(|(looked_up, _)| *looked_up != job);
        inner.looked_up.push_back((job, shelved.clone()));
        if inner.looked_up.len() > LOOKED_UP_MAX {
            inner.looked_up.pop_front();
        }
        Ok(shelved)
    }

    /// Reads these blocks, counted from 0, of what is durable of a job's ledger.
    fn read(
        &self,
        job: JobId,
        shelved: &Shelved,
        wanted: Range<usize>,
        mut each: impl FnMut(Block),
    ) -> Result<(), String> {
        let Shelved { ledger, starts, tail, .. } = shelved;
        let mut walk = |bytes: &[u8], seal| {
            let mut blocks = Blocks::within(bytes, seal);
            blocks.try_for_each(|block| block.map(&mut each)).map_err(|error| error.to_string())
        };
        if let Some(&start) = starts.get(wanted.start).map(|start| &start.bytes)
            && let Some(directory) = &self.directory
        {
            let end = starts.get(wanted.end).map_or(ledger.bytes, |start| start.bytes);
            // The seal of the block before lies before it.
            let before = if wanted.start > 0 { ledger::SEAL_BYTES } else { 0 };
            let bytes = directory.read_ledger(job, start - before as u64..end).map_err(|error| error.to_string())?;
            let (before, blocks) = bytes.split_at(before);
            walk(blocks, ledger::last_seal(before))?;
        }
        for block in wanted.start.max(starts.len())..wanted.end {
            let place = block - starts.len();
            let before = place.checked_sub(1).and_then(|place| tail.get(place));
            let seal = before.map_or(ledger.seal, |block| ledger::last_seal(&block.bytes));
            walk(tail.get(place).map_or(&[], |block| &block.bytes), seal)?;
        }
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change is whole before anything can panic.
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

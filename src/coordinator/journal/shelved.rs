//! What is told of a job that is written, or why nothing is. Does not know where it is read.

use std::sync::Arc;

use super::ledger::{Extent, Start, Written};
use crate::job::{JobId, Specification};
use crate::wire::message::Error;
use crate::wire::{ErrorCode, MessageType};

/// What is told of a job: as much of it as is durable.
#[derive(Clone)]
pub(super) struct Shelved {
    pub(super) specification: Arc<Specification>,
    pub(super) ledger: Extent,
    /// Where the blocks in the ledger's file begin: a page is read without those before it.
    pub(super) starts: Arc<Vec<Start>>,
    /// The ledger's blocks behind its file.
    pub(super) tail: Arc<Vec<Written>>,
    /// Entries in all.
    pub(super) entries: u64,
}

impl Shelved {
    /// How many blocks it has.
    pub(super) fn blocks(&self) -> usize {
        self.starts.len() + self.tail.len()
    }

    /// The block that has this entry, counted from 0 over file and tail.
    pub(super) fn block_of(&self, entry: u64) -> usize {
        let in_file = self.starts.partition_point(|start| start.first <= entry);
        let in_tail = self.tail.partition_point(|block| block.first <= entry);
        (in_file + in_tail).saturating_sub(1)
    }

    /// The entries before a block; all, if there is no such block.
    pub(super) fn entries_before(&self, block: usize) -> u64 {
        let in_tail = || self.tail.get(block - self.starts.len()).map(|block| block.first);
        self.starts.get(block).map(|start| start.first).or_else(in_tail).unwrap_or(self.entries)
    }
}

/// Why nothing is told of a job.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Absent {
    /// No job of this id is known.
    Unknown,
    /// It is written, and cannot be read: a sentence that says which file, and what to do.
    Unread(String),
}

impl Absent {
    /// The answer to a message about this job.
    pub(in super::super) fn error(self, job: JobId, about: MessageType) -> Error {
        match self {
            Absent::Unknown => Error::new(ErrorCode::UnknownJob, about as u8, format!("no job {job} is known here")),
            // It may be otherwise after the next start.
            Absent::Unread(text) => Error::new(ErrorCode::Internal, about as u8, text).retryable(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::journal::tests::specification;
    use crate::store::Store;

    /// A ledger whose blocks have these entries before them, the first so many blocks in its file.
    fn shelved(firsts: &[u64], in_file: usize, entries: u64) -> Shelved {
        let (file, tail) = firsts.split_at(in_file);
        let written = |&first: &u64| Written { first, bytes: Arc::default() };
        Shelved {
            specification: Arc::new(specification(JobId(1), &Store::new(u64::MAX))),
            ledger: Extent::START,
            starts: Arc::new(file.iter().map(|&first| Start { bytes: 100 * first, first }).collect()),
            tail: Arc::new(tail.iter().map(written).collect()),
            entries,
        }
    }

    #[test]
    fn an_entrys_block_is_found_in_file_and_tail_whatever_number_each_block_has() {
        let (firsts, entries) = ([0, 3, 4, 10, 11, 12, 19], 25);
        for in_file in 0..=firsts.len() {
            let shelved = shelved(&firsts, in_file, entries);
            assert_eq!(shelved.blocks(), firsts.len());
            for entry in 0..entries {
                let holds = |block: &usize| firsts[*block] <= entry;
                let due = (0..firsts.len()).rfind(holds).unwrap();
                assert_eq!(shelved.block_of(entry), due, "entry {entry}, {in_file} blocks in the file");
            }
            let before = (0..=firsts.len()).map(|block| shelved.entries_before(block));
            assert_eq!(before.collect::<Vec<_>>(), [0, 3, 4, 10, 11, 12, 19, entries], "{in_file} blocks in the file");
        }
    }
}

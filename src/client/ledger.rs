//! A job's ledger, asked for page by page. Owns the paging and what a page must be; does not know what entries are for.

use super::connection_error::ConnectionError;
use super::conversation::{Answer, Conversation};
use crate::job::{JobId, Specification};
use crate::wire::message::{Entries, Ledger, LedgerEntry};
use crate::wire::text::counted;

/// Where a reader of a ledger is.
pub(super) struct Pages {
    job: JobId,
    /// The next entry.
    first: u64,
    total: u64,
    shards: u32,
    has_asked: bool,
}

impl Pages {
    /// At the beginning.
    pub(super) fn new(job: JobId) -> Pages {
        Pages { job, first: 0, total: 0, shards: 1, has_asked: false }
    }

    /// Entries that there were at the last look.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Entries of a round.
    pub(super) fn shards(&self) -> u32 {
        self.shards
    }

    /// The next page: its first entry's place, the entries of a round, the entries; none behind the last.
    pub(super) fn next(
        &mut self,
        conversation: &Conversation,
    ) -> Result<Option<(u64, u32, Vec<LedgerEntry>)>, ConnectionError> {
        if self.has_asked && self.first >= self.total {
            return Ok(None);
        }
        let first = self.first;
        match conversation.answer_to(&Ledger { job: self.job, first }.into())? {
            Answer::Entries(entries) => self.take(entries),
            _ => Err(ConnectionError::unfitting("LEDGER")),
        }
    }

    fn take(&mut self, page: Entries) -> Result<Option<(u64, u32, Vec<LedgerEntry>)>, ConnectionError> {
        let Entries { total, first, shards, entries } = page;
        let is_same = !self.has_asked || (shards == self.shards && total >= self.total);
        let is_whole = total % u64::from(shards) == 0;
        // The layout has made sure that there are no entries beyond the total.
        if first != self.first || !is_same || !is_whole || (entries.is_empty() && first < total) {
            return Err(ConnectionError::Lie(format!(
                "the ledger's pages do not fit each other: {} from {first} on of {total}, {shards} a round, where entry {} \
                 was asked for",
                counted(entries.len() as u64, "entry"),
                self.first
            )));
        }
        (self.has_asked, self.total, self.shards) = (true, total, shards);
        self.first += entries.len() as u64;
        Ok((!entries.is_empty()).then_some((first, shards, entries)))
    }
}

/// A whole ledger.
pub(super) struct WholeLedger {
    /// Entry i is of step i / shards, shard i mod shards.
    pub(super) entries: Vec<LedgerEntry>,
    /// Entries of a round.
    pub(super) shards: u32,
}

/// All that the ledger of a job like this holds by now.
pub(super) fn whole(
    conversation: &Conversation,
    job: JobId,
    specification: &Specification,
) -> Result<WholeLedger, ConnectionError> {
    let mut pages = Pages::new(job);
    let mut whole = Vec::new();
    while let Some((_, _, mut entries)) = pages.next(conversation)? {
        // Before it is kept: a ledger that is larger than its job has no end.
        is_of(specification, pages.total(), pages.shards())?;
        whole.append(&mut entries);
    }
    Ok(WholeLedger { entries: whole, shards: pages.shards() })
}

fn is_of(specification: &Specification, total: u64, shards: u32) -> Result<(), ConnectionError> {
    let planned = u64::from(specification.rounds) * specification.shards.len() as u64;
    if shards as usize == specification.shards.len() && total <= planned {
        return Ok(());
    }
    Err(ConnectionError::Lie(format!(
        "the ledger is not this job's: {} of {}, where the job has {} of {}",
        counted(total, "entry"),
        counted(u64::from(shards), "shard"),
        counted(planned, "task"),
        counted(specification.shards.len() as u64, "shard")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn page(total: u64, first: u64, count: usize) -> Entries {
        let entry = LedgerEntry { rows: 4, base: Digest([2; 32]), merged: None };
        Entries { total, first, shards: 2, entries: vec![entry; count] }
    }

    #[test]
    fn pages_are_taken_in_their_order_until_the_total_which_may_grow() {
        let mut pages = Pages::new(JobId(1));
        assert_eq!(pages.take(page(4, 0, 3)).unwrap().unwrap().0, 0);
        assert_eq!(pages.take(page(6, 3, 2)).unwrap().unwrap().0, 3);
        assert_eq!(pages.take(page(6, 5, 1)).unwrap().unwrap().2.len(), 1);
        assert_eq!((pages.total(), pages.first), (6, 6));
        assert!(Pages::new(JobId(1)).take(page(0, 0, 0)).unwrap().is_none(), "no round is done yet");
    }

    #[test]
    fn pages_that_do_not_fit_each_other_are_refused() {
        let begun = || {
            let mut pages = Pages::new(JobId(1));
            pages.take(page(4, 0, 2)).unwrap();
            pages
        };
        assert!(begun().take(page(4, 2, 2)).is_ok());
        for lie in [page(4, 0, 2), page(4, 2, 0), page(2, 2, 0), page(5, 2, 2), Entries { shards: 4, ..page(4, 2, 2) }]
        {
            assert!(begun().take(lie.clone()).is_err(), "{lie:?}");
        }
    }
}

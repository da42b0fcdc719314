//! A job's ledger, asked for page by page. Owns the paging and what a page must be; does not know what entries are for.

use super::connection_error::ConnectionError;
use super::conversation::{Answer, Conversation};
use crate::job::{EntryResult, JobId, LedgerEntry, Specification};
use crate::wire::message::{Entries, Ledger};
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

    /// Entries of a step.
    pub(super) fn shards(&self) -> u32 {
        self.shards
    }

    /// Whether a job like this has such a ledger. Looked at before anything of a page is kept: one that is larger than its job has no
    /// end.
    pub(super) fn are_of(&self, specification: &Specification) -> Result<(), ConnectionError> {
        let of_step = specification.step_entries();
        is_of((of_step, specification.steps() * u64::from(of_step)), self.total, self.shards)
    }

    /// The next page: its first entry's place, the entries of a step, the entries; none behind the last.
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
                "the ledger's pages do not fit each other: {} from {first} on of {total}, {shards} a step, where entry {} \
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
    /// Entry i is of step i / shards, shard i mod shards; where gradients are merged, `shards` is 1, and entry i of step i.
    pub(super) entries: Vec<LedgerEntry>,
    /// Entries of a step.
    pub(super) shards: u32,
    /// What they are of.
    pub(super) kind: LedgerKind,
}

/// What the entries of a ledger are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LedgerKind {
    /// Tasks, each of a shard in a round.
    Rounds,
    /// Tasks of local steps, each of a shard in a step.
    LocalSteps,
    /// Steps of merged gradients.
    GradientSteps,
}

impl LedgerKind {
    /// That of a job like this.
    pub(super) fn of(specification: &Specification) -> LedgerKind {
        match &specification.training.recipe {
            recipe if recipe.merges_gradients() => LedgerKind::GradientSteps,
            recipe if recipe.local_steps.is_some() => LedgerKind::LocalSteps,
            _ => LedgerKind::Rounds,
        }
    }

    /// What entries with the same base are one of.
    pub(super) fn step(self) -> &'static str {
        match self {
            LedgerKind::Rounds => "round",
            LedgerKind::LocalSteps | LedgerKind::GradientSteps => "step",
        }
    }

    /// What an entry is of.
    pub(super) fn entry(self) -> &'static str {
        match self {
            LedgerKind::Rounds | LedgerKind::LocalSteps => "task",
            LedgerKind::GradientSteps => "step",
        }
    }

    /// What an entry names the digest of.
    pub(super) fn object(self) -> &'static str {
        match self {
            LedgerKind::Rounds | LedgerKind::LocalSteps => "update",
            LedgerKind::GradientSteps => "sum",
        }
    }
}

/// All that the ledger of a job like this holds by now.
pub(super) fn whole(
    conversation: &Conversation,
    job: JobId,
    specification: &Specification,
) -> Result<WholeLedger, ConnectionError> {
    let kind = LedgerKind::of(specification);
    let mut pages = Pages::new(job);
    let mut whole = Vec::new();
    while let Some((first, _, mut entries)) = pages.next(conversation)? {
        pages.are_of(specification)?;
        are_of(kind, first, &entries)?;
        whole.append(&mut entries);
    }
    Ok(WholeLedger { entries: whole, shards: specification.step_entries(), kind })
}

/// Whether a job with so many entries of a step, and in all, has a ledger of so many, so many of them of a step.
fn is_of((of_step, planned): (u32, u64), total: u64, shards: u32) -> Result<(), ConnectionError> {
    if shards == of_step && total <= planned {
        return Ok(());
    }
    Err(ConnectionError::Lie(format!(
        "the ledger is not this job's: {}, {shards} a step, where the job has {planned}, {of_step} a step",
        counted(total, "entry")
    )))
}

/// Whether these entries, from this place on, are of tasks where the job has tasks, and of steps where it merges gradients.
fn are_of(kind: LedgerKind, first: u64, entries: &[LedgerEntry]) -> Result<(), ConnectionError> {
    let is_other = |(_, entry): &(u64, &LedgerEntry)| {
        matches!(entry.result, EntryResult::Step(_)) != (kind == LedgerKind::GradientSteps)
    };
    match (first..).zip(entries).find(is_other) {
        None => Ok(()),
        Some((place, _)) => {
            let of = kind.entry();
            Err(ConnectionError::Lie(format!("the ledger is not this job's: entry {place} is not of a {of}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::job::MergedStep;

    fn page(total: u64, first: u64, count: usize) -> Entries {
        let entry = LedgerEntry { rows: 4, base: Digest([2; 32]), result: EntryResult::Skipped };
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
    fn a_ledger_of_another_job_is_refused() {
        assert!(is_of((2, 12), 12, 2).is_ok());
        assert!(is_of((2, 12), 14, 2).is_err() && is_of((2, 12), 12, 3).is_err());
        let step = MergedStep { blocks: 1, skipped: vec![], loss: 0.0, sum: Digest([1; 32]), outer: Digest([3; 32]) };
        let entry = |result| LedgerEntry { rows: 4, base: Digest([2; 32]), result };
        let (task, step) = (entry(EntryResult::Skipped), entry(EntryResult::Step(step)));
        for (kind, entries, is_well) in [
            (LedgerKind::Rounds, [&task, &task], true),
            (LedgerKind::LocalSteps, [&task, &step], false),
            (LedgerKind::GradientSteps, [&step, &step], true),
            (LedgerKind::GradientSteps, [&step, &task], false),
        ] {
            assert_eq!(are_of(kind, 0, &entries.map(LedgerEntry::clone)).is_ok(), is_well, "{kind:?}");
        }
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

//! Which class was taken for which, and how often. Owns the counting, in memory that grows with the pairs of classes that there are,
//! never with the square of the classes; does not know what a class is.

/// Rows that are counted before they are sorted in, at least.
const PENDING_LEAST: usize = 4_096;

/// Rows of one class that were taken for one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfusionEntry {
    /// What the rows are.
    pub label: u32,
    /// What they were taken for; the same where that is right.
    pub taken_for: u32,
    /// How many they are; not 0.
    pub rows: u64,
}

/// Rows as they are counted.
#[derive(Default)]
pub(super) struct Confusion {
    /// By what rows are, then by what they were taken for.
    sorted: Vec<ConfusionEntry>,
    /// Label and class of rows that are not sorted in yet.
    pending: Vec<u64>,
}

impl Confusion {
    /// Bytes that it takes for so many rows and classes, at most: while rows are sorted in, the entries are there twice.
    pub fn bytes_most(rows: u64, classes: u64) -> u64 {
        let entries = rows.min(classes.saturating_mul(classes));
        let pending = rows.min(entries.max(PENDING_LEAST as u64));
        2 * size_of::<ConfusionEntry>() as u64 * entries + 2 * size_of::<u64>() as u64 * pending
    }

    /// Takes a row in.
    pub fn take(&mut self, label: u32, taken_for: u32) {
        self.pending.push(u64::from(label) << 32 | u64::from(taken_for));
        if self.pending.len() >= self.sorted.len().max(PENDING_LEAST) {
            self.sort_in();
        }
    }

    /// All pairs that there are, in ascending order of what rows are, then of what they were taken for.
    pub fn finish(mut self) -> Vec<ConfusionEntry> {
        self.sort_in();
        self.sorted
    }

    fn sort_in(&mut self) {
        self.pending.sort_unstable();
        let of_key = |keys: &[u64]| {
            let key = keys[0];
            ConfusionEntry { label: (key >> 32) as u32, taken_for: key as u32, rows: keys.len() as u64 }
        };
        let pair = |entry: &ConfusionEntry| (entry.label, entry.taken_for);
        let new = self.pending.chunk_by(|a, b| a == b).map(of_key);
        let known = |entry: &ConfusionEntry| self.sorted.binary_search_by_key(&pair(entry), pair).is_ok();
        let unknown = new.clone().filter(|entry| !known(entry)).count();
        let mut merged = Vec::with_capacity(self.sorted.len() + unknown);
        let mut before = self.sorted.iter().copied().peekable();
        for mut entry in new {
            while let Some(smaller) = before.next_if(|before| pair(before) < pair(&entry)) {
                merged.push(smaller);
            }
            if let Some(same) = before.next_if(|before| pair(before) == pair(&entry)) {
                entry.rows += same.rows;
            }
            merged.push(entry);
        }
        merged.extend(before);
        self.sorted = merged;
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pairs_are_counted_each_once_in_order(rows in prop::collection::vec((0u32..90, 0u32..90), 0..12_000)) {
            let mut counts: BTreeMap<(u32, u32), u64> = BTreeMap::new();
            let mut confusion = Confusion::default();
            for &(label, taken_for) in &rows {
                *counts.entry((label, taken_for)).or_default() += 1;
                confusion.take(label, taken_for);
            }
            let told = confusion.finish();
            let told: Vec<_> = told.iter().map(|entry| ((entry.label, entry.taken_for), entry.rows)).collect();
            prop_assert_eq!(told, counts.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_not_sorted_in_does_not_grow_with_the_rows() {
        let mut confusion = Confusion::default();
        for row in 0..100_000u32 {
            confusion.take(row % 3, row % 2);
            assert!(confusion.pending.len() < PENDING_LEAST);
        }
        assert_eq!(confusion.finish().iter().map(|entry| entry.rows).sum::<u64>(), 100_000);
    }
}

//! LEDGER and what answers it, ENTRIES: of each task of a job in its order, what came of it and who did it.

use super::layout::Layout;
use crate::digest::Digest;
use crate::job::{JobId, MergedTask, SHARDS_MAX};
use crate::wire::bytes::{Malformation, Read, Reader, Write as _};
use crate::wire::limits;

/// How did this job's tasks go, from one of them on?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The job.
    pub job: JobId,
    /// The first entry wanted: step x shards + shard.
    pub first: u64,
}

impl Layout<'_> for Ledger {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(Ledger { job: JobId(reader.u128()?), first: reader.u64()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u128(self.job.0);
        out.u64(self.first);
    }
}

/// What came of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerEntry {
    /// Rows of its shard: its weight in the merge.
    pub rows: u32,
    /// The weights that it started from.
    pub base: Digest,
    /// How it was merged; `None` where it was skipped.
    pub merged: Option<MergedTask>,
}

const MERGED: u8 = 1;
const SKIPPED: u8 = 2;
const NO_DIGEST: Digest = Digest([0; 32]);
/// Bytes of an entry beside its node's name.
const ENTRY_BYTES: usize = 90;
/// Bytes of ENTRIES before the entries.
const ENTRIES_HEAD_BYTES: usize = 24;

impl LedgerEntry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.merged.as_ref().map_or(0, |merged| merged.node.len())
    }
}

impl Layout<'_> for LedgerEntry {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let result = reader.u8()?;
        reader.reserved(3)?;
        let (attempt, rows) = (reader.u32()?, reader.u32()?);
        reader.reserved(4)?;
        let (loss, base, update) = (reader.f64()?, reader.digest()?, reader.digest()?);
        let merged = match result {
            MERGED => Some(MergedTask { attempt, loss, update, node: reader.name()? }),
            SKIPPED if attempt == 0 && loss.to_bits() == 0 && update == NO_DIGEST && reader.u16()? == 0 => None,
            SKIPPED => {
                let why = "a skipped task has no attempt, loss, update or node";
                return reader.fail(Malformation::Refused(why.to_owned()));
            }
            got => return reader.fail(Malformation::UnknownValue { got: got.into() }),
        };
        if !loss.is_finite() {
            return reader.fail(Malformation::Refused("the loss of a merged task is not finite".to_owned()));
        }
        Ok(LedgerEntry { rows, base, merged })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let merged = self.merged.as_ref();
        out.bytes(&[if merged.is_some() { MERGED } else { SKIPPED }, 0, 0, 0]);
        out.u32(merged.map_or(0, |merged| merged.attempt));
        out.u32(self.rows);
        out.u32(0);
        out.f64(merged.map_or(0.0, |merged| merged.loss));
        out.bytes(&self.base.0);
        out.bytes(&merged.map_or(NO_DIGEST, |merged| merged.update).0);
        match merged {
            Some(merged) => out.name(&merged.node),
            None => out.u16(0),
        }
    }
}

/// Entries of a job's ledger, one behind the other. Entry i is of step i / shards, shard i mod shards.
#[derive(Clone, Debug, PartialEq)]
pub struct Entries {
    /// Entries that there are so far.
    pub total: u64,
    /// The first of these.
    pub first: u64,
    /// Shards of the job, not 0.
    pub shards: u32,
    /// The entries; none behind the last.
    pub entries: Vec<LedgerEntry>,
}

impl Entries {
    /// The same, with only so many entries that it fits a payload of so many bytes.
    pub fn fitting(mut self, payload_bytes_max: u32) -> Entries {
        let mut left = (payload_bytes_max as usize).saturating_sub(ENTRIES_HEAD_BYTES);
        let fits = |entry: &&LedgerEntry| match left.checked_sub(entry.bytes()) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        };
        let listed = self.entries.iter().take(limits::LEDGER_ENTRIES_MAX).take_while(fits).count();
        self.entries.truncate(listed);
        self
    }
}

impl Layout<'_> for Entries {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let (total, first, shards) = (reader.u64()?, reader.u64()?, reader.u32()?);
        if !(1..=SHARDS_MAX).contains(&shards) {
            return reader.fail(Malformation::UnknownValue { got: shards.into() });
        }
        let count = reader.count(limits::LEDGER_ENTRIES_MAX, ENTRY_BYTES)?;
        if count > 0 && first.checked_add(count as u64).is_none_or(|end| end > total) {
            let why = format!("{count} entries from {first} on, and there are {total}");
            return reader.fail(Malformation::Refused(why));
        }
        let entries = (0..count).map(|_| LedgerEntry::decode(reader)).collect::<Read<_>>()?;
        Ok(Entries { total, first, shards, entries })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let listed = self.entries.len().min(limits::LEDGER_ENTRIES_MAX);
        out.u64(self.total);
        out.u64(self.first);
        out.u32(self.shards);
        out.u32(listed as u32);
        self.entries[..listed].iter().for_each(|entry| entry.encode(out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: u64) -> Entries {
        let merged = |node| MergedTask { attempt: 1, loss: 0.5, update: Digest([3; 32]), node };
        let entry = |index: u64| LedgerEntry {
            rows: 4,
            base: Digest([2; 32]),
            merged: (!index.is_multiple_of(5)).then(|| merged(format!("node-{index:02}"))),
        };
        Entries { total: count, first: 0, shards: 7, entries: (0..count).map(entry).collect() }
    }

    fn bytes(entries: &Entries) -> Vec<u8> {
        let mut out = Vec::new();
        entries.encode(&mut out);
        out
    }

    fn decode(bytes: &[u8]) -> Read<Entries> {
        Entries::decode(&mut Reader::new("ENTRIES", bytes))
    }

    #[test]
    fn entries_are_as_many_as_the_peer_takes() {
        let small = entries(100).fitting(1024);
        assert_eq!(small.entries.len(), 10);
        let length = bytes(&small).len();
        assert!(length <= 1024 && length + ENTRY_BYTES > 1024, "{length}");
        assert_eq!(entries(100).fitting(1 << 20), entries(100));
        assert_eq!(entries(5_000).fitting(1 << 20).entries.len(), limits::LEDGER_ENTRIES_MAX);
    }

    #[test]
    fn a_skipped_task_has_no_attempt_loss_update_or_node() {
        let skipped = bytes(&Entries { total: 1, ..entries(1) });
        assert_eq!(decode(&skipped), Ok(entries(1)));
        let entry = ENTRIES_HEAD_BYTES;
        for place in [4, 16, 23, 56, 88] {
            let mut changed = skipped.clone();
            changed[entry + place] = 1;
            assert!(matches!(decode(&changed).unwrap_err().why, Malformation::Refused(_)), "byte {place}");
        }
    }

    #[test]
    fn entries_are_of_a_job_that_has_shards_and_do_not_go_beyond_the_last() {
        let well = entries(3);
        for shards in [0, SHARDS_MAX + 1] {
            assert!(decode(&bytes(&Entries { shards, ..well.clone() })).is_err());
        }
        for (total, first) in [(2, 0), (3, 1), (u64::MAX, u64::MAX)] {
            assert!(decode(&bytes(&Entries { total, first, ..well.clone() })).is_err());
        }
        let none = Entries { first: 9, entries: Vec::new(), ..well };
        assert_eq!(decode(&bytes(&none)), Ok(none));
    }

    #[test]
    fn the_loss_of_a_merged_task_is_finite() {
        let mut merged = entries(2);
        merged.entries[1].merged.as_mut().unwrap().loss = f64::INFINITY;
        assert!(decode(&bytes(&merged)).is_err());
    }
}

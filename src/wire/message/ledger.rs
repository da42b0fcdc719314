//! LEDGER and what answers it, ENTRIES: of each task of a job in its order, what came of it and who did it.

use super::layout::Layout;
use crate::digest::Digest;
use crate::job::{EntryResult, JobId, LedgerEntry, MergedStep, MergedTask, SHARDS_MAX};
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

const MERGED: u8 = 1;
const SKIPPED: u8 = 2;
const STEP: u8 = 3;
const NO_DIGEST: Digest = Digest([0; 32]);
/// Bytes of an entry beside its node's name and what only a step has.
const ENTRY_BYTES: usize = 90;
/// Bytes that an entry of a step has besides.
const OUTER_BYTES: usize = 32;
/// Bytes of the number of a block.
const BLOCK_BYTES: usize = 4;
/// Bytes of ENTRIES before the entries.
const ENTRIES_HEAD_BYTES: usize = 24;

impl LedgerEntry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES
            + match &self.result {
                EntryResult::Merged(task) => task.node.len(),
                EntryResult::Skipped => 0,
                EntryResult::Step(step) => OUTER_BYTES + BLOCK_BYTES * step.skipped.len(),
            }
    }
}

impl Layout<'_> for LedgerEntry {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let result = reader.u8()?;
        reader.reserved(3)?;
        let (attempt, rows, skipped) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (loss, base, update) = (reader.f64()?, reader.digest()?, reader.digest()?);
        if result != STEP && skipped != 0 {
            return reader.fail(Malformation::ReservedNotZero);
        }
        let is_nothing = attempt == 0 && loss.to_bits() == 0 && update == NO_DIGEST;
        let refused = |reader: &Reader<'_>, why: &str| reader.fail(Malformation::Refused(why.to_owned()));
        let result = match result {
            _ if !loss.is_finite() => return refused(reader, "the loss of an entry is not finite"),
            MERGED => EntryResult::Merged(MergedTask { attempt, loss, update, node: reader.name()? }),
            SKIPPED if is_nothing && reader.u16()? == 0 => EntryResult::Skipped,
            SKIPPED => return refused(reader, "a skipped task has no attempt, loss, update or node"),
            STEP if attempt > rows || (attempt == 0 && !(is_nothing && rows == 0)) => {
                return refused(reader, "a step that merged no block has no rows, loss or sum, and a block has a row");
            }
            STEP => {
                reader.reserved(2)?;
                let outer = reader.digest()?;
                if attempt == 0 && outer != NO_DIGEST {
                    return refused(reader, "a step that merged no block names no state of an outer optimiser");
                }
                let skipped = skipped_blocks(reader, skipped)?;
                EntryResult::Step(MergedStep { blocks: attempt, skipped, loss, sum: update, outer })
            }
            got => return reader.fail(Malformation::UnknownValue { got: got.into() }),
        };
        Ok(LedgerEntry { rows, base, result })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let (result, attempt, skipped, loss, update) = match &self.result {
            EntryResult::Merged(task) => (MERGED, task.attempt, 0, task.loss, task.update),
            EntryResult::Skipped => (SKIPPED, 0, 0, 0.0, NO_DIGEST),
            EntryResult::Step(step) => (STEP, step.blocks, step.skipped.len() as u32, step.loss, step.sum),
        };
        out.bytes(&[result, 0, 0, 0]);
        out.u32(attempt);
        out.u32(self.rows);
        out.u32(skipped);
        out.f64(loss);
        out.bytes(&self.base.0);
        out.bytes(&update.0);
        match &self.result {
            EntryResult::Merged(task) => out.name(&task.node),
            EntryResult::Skipped => out.u16(0),
            EntryResult::Step(step) => {
                out.u16(0);
                out.bytes(&step.outer.0);
                step.skipped.iter().for_each(|block| out.u32(*block));
            }
        }
    }
}

/// The numbers of the blocks that a step left out, this many.
fn skipped_blocks(reader: &mut Reader<'_>, count: u32) -> Read<Vec<u32>> {
    let allowed = limits::SKIPPED_BLOCKS_MAX;
    if count as usize > allowed {
        return reader.fail(Malformation::OverLimit { got: count.into(), allowed: allowed as u64 });
    }
    // Taken first: nothing is allocated for numbers that are not there.
    let mut numbers = reader.sub("the blocks skipped", BLOCK_BYTES * count as usize)?;
    let blocks: Vec<u32> = (0..count).map(|_| numbers.u32()).collect::<Read<_>>()?;
    if !blocks.is_sorted_by(|a, b| a < b) {
        return reader.fail(Malformation::Refused("the blocks skipped are in ascending order, none twice".to_owned()));
    }
    Ok(blocks)
}

/// Entries of a job's ledger, one behind the other. Entry i is of step i / shards, shard i mod shards; where
/// gradients are merged, `shards` is 1 and entry i of step i.
#[derive(Clone, Debug, PartialEq)]
pub struct Entries {
    /// Entries that there are so far.
    pub total: u64,
    /// The first of these.
    pub first: u64,
    /// Entries of a step, not 0.
    pub shards: u32,
    /// The entries; none behind the last.
    pub entries: Vec<LedgerEntry>,
}

impl Entries {
    /// The same, with only so many entries that it fits a payload of so many bytes, but with the first.
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
        // Without any, the asker would ask for the same again: of one that does not fit it is told so.
        self.entries.truncate(listed.max(1));
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
            result: (!index.is_multiple_of(5)).then(|| merged(format!("node-{index:02}"))).into(),
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
        let EntryResult::Merged(task) = &mut merged.entries[1].result else { panic!("it is skipped") };
        task.loss = f64::INFINITY;
        assert!(decode(&bytes(&merged)).is_err());
    }

    fn step(blocks: u32, rows: u32, skipped: &[u32]) -> Entries {
        let (loss, sum, outer) =
            if blocks > 0 { (0.5, Digest([3; 32]), Digest([4; 32])) } else { (0.0, NO_DIGEST, NO_DIGEST) };
        let result = EntryResult::Step(MergedStep { blocks, skipped: skipped.to_vec(), loss, sum, outer });
        let entries = vec![LedgerEntry { rows, base: Digest([2; 32]), result }];
        Entries { total: 1, first: 0, shards: 1, entries }
    }

    #[test]
    fn a_step_lists_the_blocks_that_it_left_out_each_once() {
        for well in [step(3, 24, &[]), step(1, 1, &[0, 7]), step(0, 0, &[0, 1, 2])] {
            let written = bytes(&well);
            assert_eq!(written.len(), ENTRIES_HEAD_BYTES + well.entries[0].bytes());
            assert_eq!(decode(&written), Ok(well));
        }
        for unordered in [[1, 0], [4, 4]] {
            assert!(matches!(decode(&bytes(&step(1, 8, &unordered))).unwrap_err().why, Malformation::Refused(_)));
        }
        let mut untrue = bytes(&step(1, 8, &[1, 2]));
        untrue[ENTRIES_HEAD_BYTES + 12] = 3;
        assert!(matches!(decode(&untrue).unwrap_err().why, Malformation::TooShort { .. }));
        untrue[ENTRIES_HEAD_BYTES + 14] = 3;
        assert!(matches!(decode(&untrue).unwrap_err().why, Malformation::OverLimit { got: 196_611, .. }));
    }

    #[test]
    fn a_step_that_merged_no_block_has_no_rows_loss_sum_or_state() {
        for untrue in [step(3, 2, &[]), step(1, 0, &[]), step(0, 1, &[])] {
            assert!(decode(&bytes(&untrue)).is_err(), "{untrue:?}");
        }
        let none = bytes(&step(0, 0, &[0]));
        for place in [8, 23, 56, 88, 90, 121] {
            let mut changed = none.clone();
            changed[ENTRIES_HEAD_BYTES + place] = 1;
            assert!(decode(&changed).is_err(), "byte {place}");
        }
    }

    #[test]
    fn an_entry_that_does_not_fit_alone_stays_for_the_answer_to_be_refused() {
        let large = step(1, 8, &(0..300).collect::<Vec<_>>());
        assert_eq!(large.clone().fitting(1024), large);
    }
}

//! What in a ledger cannot be, whatever was computed: rows, blocks and bases that do not go with the job, or with each
//! other.
//! Does not know what anything is computed from.

use super::audit::Finding;
use super::ledger::{LedgerKind, WholeLedger};
use crate::job::{EntryResult, MergedStep, Specification};
use crate::model::{GradientSteps, OuterState};
use crate::wire::object;
use crate::wire::text::counted;

impl WholeLedger {
    /// What in it cannot be, as the ledger of this job.
    pub(super) fn contradictions(&self, specification: &Specification) -> Vec<Finding> {
        let mut findings = Vec::new();
        let cut = specification.gradient_steps();
        let nothing = object::outer_digest(&OuterState::default());
        if let Some(told) = self.outer(0).filter(|told| *told != nothing) {
            let text = format!(
                "before the first step that merges anything the outer optimiser has the state {nothing}, and the ledger says {told}"
            );
            findings.push(Finding { step: 1, task: None, text });
        }
        if self.kind != LedgerKind::GradientSteps {
            // A job ends where all tasks of a step are skipped: what the next one starts from would follow from nothing.
            let is_empty = |step: &u64| self.merged(*step).is_empty();
            let why = format!("no task of it was merged, and a job ends with such a {}", self.kind.step());
            let empty = (0..self.steps()).filter(is_empty);
            findings.extend(empty.map(|step| Finding { step: step + 1, task: None, text: why.clone() }));
        }
        for (place, entry) in (0..).zip(&self.entries) {
            let (step, shard) = (place / u64::from(self.shards), (place % u64::from(self.shards)) as u32);
            if let (EntryResult::Step(merged), Some(cut)) = (&entry.result, &cut) {
                let texts = of_step(cut, step, entry.rows, merged);
                findings.extend(texts.into_iter().map(|text| Finding { step: step + 1, task: None, text }));
                continue;
            }
            let node = entry.merged().map_or_else(|| "-".to_owned(), |merged| merged.node.clone());
            let mut find =
                |text: String| findings.push(Finding { step: step + 1, task: Some((shard, node.clone())), text });
            let rows = specification.shards.get(shard as usize).map_or(0, |shard| shard.rows);
            if entry.rows != rows {
                find(format!("it has {} in the ledger, and {rows} in the job", counted(u64::from(entry.rows), "row")));
            }
            if entry.base != self.base(step) {
                find(format!("it starts from other weights than the rest of its {}", self.kind.step()));
            }
        }
        findings
    }
}

/// What cannot be of a step of merged gradients that has so many rows.
fn of_step(cut: &GradientSteps, step: u64, rows_told: u32, merged: &MergedStep) -> Vec<String> {
    let mut texts = Vec::new();
    let blocks = cut.step(step);
    let count = blocks.count();
    if let Some(block) = merged.skipped.iter().find(|block| **block >= count) {
        texts.push(format!("it leaves out block {block}, and its blocks are 0 to {}", count.saturating_sub(1)));
    }
    let kept = blocks.without(&merged.skipped);
    let kept_count: u32 = kept.iter().map(|range| range.count).sum();
    if merged.blocks != kept_count {
        texts.push(format!(
            "it has merged {} in the ledger, and {kept_count} of its {count} are not left out",
            counted(u64::from(merged.blocks), "block")
        ));
    }
    let rows: u64 = kept.iter().map(|range| u64::from(cut.rows(*range))).sum();
    if u64::from(rows_told) != rows {
        let told = counted(u64::from(rows_told), "row");
        texts
            .push(format!("it has merged {told} in the ledger, and the blocks that it does not leave out have {rows}"));
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::model::Network;

    /// Steps of three blocks, each of eight rows but the last of the epoch's, of one shard.
    fn cut() -> GradientSteps {
        GradientSteps::new(&Network::new(2, &[], 2).unwrap(), 24, &[44])
    }

    fn found(rows: u32, blocks: u32, skipped: &[u32]) -> Vec<String> {
        let nothing = Digest([0; 32]);
        let merged = MergedStep { blocks, skipped: skipped.to_vec(), loss: 0.0, sum: nothing, outer: nothing };
        of_step(&cut(), 3, rows, &merged)
    }

    #[test]
    fn blocks_and_rows_of_a_step_go_with_each_other() {
        assert_eq!(found(20, 3, &[]), [""; 0]);
        assert_eq!(found(12, 2, &[1]), [""; 0]);
        assert_eq!(found(0, 0, &[0, 1, 2]), [""; 0]);
        assert_eq!(found(12, 2, &[1, 3]), ["it leaves out block 3, and its blocks are 0 to 2"]);
        assert_eq!(found(20, 2, &[]), ["it has merged 2 blocks in the ledger, and 3 of its 3 are not left out"]);
        let rows = "it has merged 13 rows in the ledger, and the blocks that it does not leave out have 12";
        assert_eq!(found(13, 2, &[1]), [rows]);
    }
}

//! What is said of an audit's verdict, in lines and as JSON. Owns the words; does not know how it came about.

use serde_json::{Value, json};

use super::Output;
use super::audit::{Finding, Verdict};
use super::ledger::LedgerKind;
use super::render::print_json;
use crate::cli::{self, Failure};
use crate::digest::Digest;
use crate::job::JobId;
use crate::wire::text::{counted, shown};

/// A verdict, and what it is of.
pub(super) struct Told {
    pub(super) job: JobId,
    pub(super) kind: LedgerKind,
    /// Steps in the ledger; rounds, where their tasks are epochs.
    pub(super) steps: u64,
    /// Steps of a round.
    pub(super) round_steps: u64,
    /// What was drawn by, if something was.
    pub(super) seed: Option<u64>,
    /// Whether everything was asked for: merges too.
    pub(super) is_all: bool,
    /// Tasks that were skipped, where all were asked for; blocks that the steps asked for left out.
    pub(super) skipped: u64,
    /// That of the job's model, where the whole way to it was asked for, and it was computed to its end.
    pub(super) fingerprint: Option<Digest>,
    pub(super) verdict: Verdict,
}

impl Told {
    /// Whether everything that was asked for was compared, and is as the ledger says.
    pub(super) fn is_well(&self) -> bool {
        self.verdict.findings.is_empty() && self.is_checked()
    }

    /// Whether everything that was asked for was compared. A sample asks for no merges.
    fn is_checked(&self) -> bool {
        self.verdict.unchecked.is_empty() && (self.verdict.unmerged.is_empty() || !self.is_all)
    }

    pub(super) fn print(&self, output: Output) -> Result<(), Failure> {
        match output {
            Output::Json => print_json(&self.json()),
            Output::Table | Output::Quiet => cli::print(&self.lines().join("\n")),
        }
    }

    fn json(&self) -> Value {
        let Verdict { compared, others, findings, unchecked, unmerged, .. } = &self.verdict;
        let mut value = json!({
            "event": "verified",
            "job": self.job.to_string(),
            "agrees": self.is_well(),
            "fingerprint": self.fingerprint.filter(|_| self.is_well()).map(|fingerprint| fingerprint.to_string()),
            "rounds": self.steps / self.round_steps,
            "seed": self.seed,
            "differs": findings.iter().map(|finding| self.finding_json(finding)).collect::<Vec<_>>(),
            "unmerged": unmerged,
        });
        let step = self.kind.step();
        let counts = match self.kind {
            LedgerKind::GradientSteps => json!({
                "steps": compared,
                "steps_besides": others,
                "blocks_skipped": self.skipped,
                "unchecked": stretches(unchecked)
                    .iter()
                    .map(|(first, last)| json!({"first": first, "last": last}))
                    .collect::<Vec<_>>(),
            }),
            LedgerKind::Rounds | LedgerKind::LocalSteps => json!({
                "tasks": compared,
                "tasks_besides": others,
                "skipped": self.skipped,
                "unchecked": unchecked.iter().map(|(at, tasks)| json!({step: at, "tasks": tasks})).collect::<Vec<_>>(),
            }),
        };
        if let (Value::Object(value), Value::Object(counts)) = (&mut value, counts) {
            value.extend(counts);
            if self.kind != LedgerKind::Rounds {
                value.insert("ledger_steps".to_owned(), self.steps.into());
            }
        }
        value
    }

    fn finding_json(&self, finding: &Finding) -> Value {
        let mut value = json!({"round": (finding.step - 1) / self.round_steps + 1, "text": finding.text});
        if self.kind != LedgerKind::Rounds {
            value["step"] = finding.step.into();
        }
        if self.kind != LedgerKind::GradientSteps {
            let (shard, node) = finding.task.clone().unzip();
            (value["shard"], value["node"]) = (shard.into(), node.into());
        }
        value
    }

    fn lines(&self) -> Vec<String> {
        let Verdict { findings, unmerged, .. } = &self.verdict;
        let mut lines: Vec<String> = findings.iter().map(|finding| self.finding_line(finding)).collect();
        lines.extend(self.unchecked_lines());
        if let Some(first) = unmerged.first() {
            let (merges, step) = (counted(unmerged.len() as u64, "merge"), self.kind.step());
            lines.push(match self.is_all {
                true => format!(
                    "{merges} not computed, from {step} {first} on: what the outer optimiser remembered before it cannot be had"
                ),
                false => format!(
                    "{merges} not computed, that of {step} {first} the first: a sample asks for {}s alone",
                    self.kind.object()
                ),
            });
        }
        // What was verified is that this model came of the job: whoever has a file compares it with the file's.
        lines.extend(
            self.fingerprint.filter(|_| self.is_well()).map(|fingerprint| format!("fingerprint  {fingerprint}")),
        );
        let (computed, object, skipped) = (self.computed(), self.kind.object(), self.skipped_in_words());
        lines.push(match (findings.len(), self.is_checked()) {
            (0, true) => format!("verified {computed}: every {object} has the ledger's bits{skipped}"),
            (0, false) => {
                format!("recomputed {computed}: every {object} has the ledger's bits, but not all could be computed{skipped}")
            }
            (1, _) => format!("recomputed {computed}: 1 difference from the ledger{skipped}"),
            (differs, _) => format!("recomputed {computed}: {differs} differences from the ledger{skipped}"),
        });
        lines
    }

    /// How much was compared, of what.
    fn computed(&self) -> String {
        let Verdict { compared, others, .. } = self.verdict;
        let besides = match others {
            0 => String::new(),
            others => format!(", and {others} more on the way to them"),
        };
        match self.kind {
            LedgerKind::GradientSteps => format!("{compared} of {}{besides}", counted(self.steps, "step")),
            kind => format!("{} of {}{besides}", counted(compared, "task"), counted(self.steps, kind.step())),
        }
    }

    fn skipped_in_words(&self) -> String {
        let what = match self.kind {
            LedgerKind::GradientSteps => "block",
            LedgerKind::Rounds | LedgerKind::LocalSteps => "task",
        };
        match self.skipped {
            0 => String::new(),
            1 => format!("; 1 {what} was skipped"),
            skipped => format!("; {} were skipped", counted(skipped, what)),
        }
    }

    fn unchecked_lines(&self) -> Vec<String> {
        let unchecked = &self.verdict.unchecked;
        let (step, why) = (self.kind.step(), "cannot be had");
        let of_tasks = |(at, count): &(u64, u64)| {
            format!("{step} {at}: {} not computed: the weights it starts from {why}", counted(*count, "task"))
        };
        let of_steps = |(first, last): (u64, u64)| match last - first {
            0 => format!("step {first} not computed: the weights it starts from {why}"),
            _ => format!("steps {first} to {last} not computed: the weights they start from {why}"),
        };
        match self.kind {
            LedgerKind::GradientSteps => stretches(unchecked).into_iter().map(of_steps).collect(),
            LedgerKind::Rounds | LedgerKind::LocalSteps => unchecked.iter().map(of_tasks).collect(),
        }
    }

    fn finding_line(&self, finding: &Finding) -> String {
        let (kind, Finding { step, task, text }) = (self.kind.step(), finding);
        match task {
            Some((shard, node)) => format!("{kind} {step}, shard {shard}, of {}: {text}", shown(node)),
            None => format!("{kind} {step}: {text}"),
        }
    }
}

/// The first and the last of steps that follow each other without a gap.
fn stretches(steps: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut stretches: Vec<(u64, u64)> = Vec::new();
    for &(step, _) in steps {
        match stretches.last_mut() {
            Some((_, last)) if *last + 1 == step => *last = step,
            _ => stretches.push((step, step)),
        }
    }
    stretches
}

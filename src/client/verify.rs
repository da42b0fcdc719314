//! `client verify`: what is fetched for an audit, which tasks are drawn, and what is said of its verdict. Does not know
//! how tasks are recomputed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde_json::json;

use super::Output;
use super::audit::{Audit, Finding, Verdict, Weights};
use super::connection_error::ConnectionError;
use super::conversation::{Conversation, Object};
use super::ledger::{self, WholeLedger};
use super::recompute::Recomputer;
use super::render::{print_json, say};
use super::work::Work;
use crate::cli::{self, Exit, Failure};
use crate::digest::Digest;
use crate::job::{self, JobStatus, RowsRef, Specification};
use crate::model::{self, ARITHMETIC};
use crate::net;
use crate::wire::object::{self, ObjectKind};
use crate::wire::text::{counted, shown};

/// So often is it said how far the audit is.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Recomputes a job's tasks: all, or as many as are to be drawn, with the seed that they are drawn by.
pub(super) fn verify(
    conversation: &Conversation,
    job: &JobStatus,
    work: &Work,
    drawn: Option<(u64, u64)>,
    output: Output,
    interrupts: &Receiver<()>,
) -> Result<Exit, Failure> {
    let specification = &work.specification;
    let computed = specification.training.arithmetic;
    if computed != ARITHMETIC {
        let text = format!(
            "job {} was computed in arithmetic {computed}, and this program computes arithmetic {ARITHMETIC}: its tasks cannot \
             be recomputed here; take the client that it was submitted with",
            job.job
        );
        return Err(Failure::new(Exit::JobFailed, text));
    }
    let ledger = ledger::whole(conversation, job.job, specification)?;
    if ledger.entries.is_empty() {
        let text = format!("no round of job {} is done yet: there is nothing to verify", job.job);
        return Err(Failure::new(Exit::JobFailed, text));
    }
    let told = |text: String| {
        if output == Output::Table {
            say(&text);
        }
    };
    let (tasks, skipped) = wanted(&ledger, drawn);
    if let Some((_, seed)) = drawn {
        told(format!("{} of {} drawn with --seed {seed}", tasks.len(), counted(ledger.entries.len() as u64, "task")));
    }
    let (shards, initial) = objects(conversation, specification)?;
    let recomputer = Recomputer::new(specification, &shards, interrupts).map_err(ConnectionError::Lie)?;
    let (steps, mut last_said) = (ledger.steps(), net::now());
    let mut progress = |step: u64| {
        let now = net::now();
        if now.saturating_sub(last_said) >= PROGRESS_EVERY {
            last_said = now;
            told(format!("computed round {} of {steps}", step + 1));
        }
    };
    let source = Source { conversation, bytes: object::parameters_bytes(&specification.training.network) };
    let initial_digest = initial.as_ref().map(|weights| Digest::of(weights));
    let is_average = specification.outer.is_average();
    let audit = Audit::new(&ledger, &source, recomputer, initial, is_average, &mut progress);
    let mut verdict = audit.run(&tasks)?;
    verdict.skipped = skipped;
    verdict.findings.extend(ledger.contradictions(specification));
    verdict.findings.extend(ends(job, work, &ledger, initial_digest, verdict.last));
    report(job, &verdict, &ledger, drawn, output)
}

/// The places of the tasks to be recomputed, and how many are passed over because they were skipped.
fn wanted(ledger: &WholeLedger, drawn: Option<(u64, u64)>) -> (BTreeSet<u64>, u64) {
    let places = (0..).zip(&ledger.entries).filter(|(_, entry)| entry.merged.is_some()).map(|(place, _)| place);
    let merged: Vec<u64> = places.collect();
    match drawn {
        Some((tasks, seed)) if tasks < merged.len() as u64 => (draw(&merged, tasks as usize, seed), 0),
        _ => (merged.iter().copied().collect(), ledger.entries.len() as u64 - merged.len() as u64),
    }
}

/// So many of `places`, fewer than all, drawn by this seed: the same ones everywhere.
fn draw(places: &[u64], count: usize, seed: u64) -> BTreeSet<u64> {
    let mut keyed: Vec<(Digest, u64)> = places
        .iter()
        .map(|place| (Digest::of_parts(&[b"gradwire verify", &seed.to_le_bytes(), &place.to_le_bytes()]), *place))
        .collect();
    keyed.sort_unstable();
    keyed.into_iter().take(count).map(|(_, place)| place).collect()
}

/// The job's shards, and the weights that it starts from where they can be had.
fn objects(
    conversation: &Conversation,
    specification: &Specification,
) -> Result<(Vec<Object>, Option<Object>), ConnectionError> {
    let (network, loss) = (&specification.training.network, specification.training.recipe.loss);
    let fetch_shard = |(index, shard): (usize, &RowsRef)| {
        let bytes_max = object::rows_bytes(shard.rows, network, loss);
        conversation.fetch(shard.digest, bytes_max).map_err(|error| match error {
            unknown if unknown.is_unknown_object() => ConnectionError::Lie(format!(
                "the coordinator no longer holds the job's data (shard {index}), and nothing can be recomputed without it"
            )),
            other => other,
        })
    };
    let shards = specification.shards.iter().enumerate().map(fetch_shard).collect::<Result<_, _>>()?;
    let initial = match specification.initial {
        Some(digest) => match conversation.fetch(digest, object::parameters_bytes(network)) {
            Err(unknown) if unknown.is_unknown_object() => None,
            fetched => {
                let given = object::weights_to_start_from(network, fetched?);
                Some(given.map_err(|error| ConnectionError::Lie(format!("the job's initial weights: {error}")))?)
            }
        },
        None => {
            let training = &specification.training;
            let values = model::initialise(network, training.recipe.initialisation, training.seed);
            Some(Arc::new(object::encode_parameters(ObjectKind::Weights, network, &values)))
        }
    };
    Ok((shards, initial))
}

struct Source<'a> {
    conversation: &'a Conversation,
    /// Of the weights.
    bytes: u64,
}

impl Weights for Source<'_> {
    fn holds(&self, digests: &[Digest]) -> Result<Vec<bool>, ConnectionError> {
        self.conversation.holds(digests, self.bytes)
    }

    fn fetch(&self, digest: Digest) -> Result<Option<Object>, ConnectionError> {
        match self.conversation.fetch(digest, self.bytes) {
            Err(unknown) if unknown.is_unknown_object() => Ok(None),
            fetched => fetched.map(Some),
        }
    }
}

/// What is wrong with the weights that the ledger begins and ends with.
fn ends(
    job: &JobStatus,
    work: &Work,
    ledger: &WholeLedger,
    initial: Option<Digest>,
    last: Option<Digest>,
) -> Vec<Finding> {
    let find = |round, text| Finding { round, task: None, text };
    let mut findings = Vec::new();
    let first = ledger.entries[0].base;
    if let Some(initial) = initial.filter(|initial| *initial != first) {
        findings.push(find(1, format!("it starts from the weights {first}, and the job from {initial}")));
    }
    let is_all = ledger.steps() == u64::from(work.specification.rounds);
    if let (Some(last), Some(told), true) = (last, job.fingerprint, is_all) {
        let fingerprint = job::fingerprint(&work.semantic, &last);
        if fingerprint != told {
            findings.push(find(
                ledger.steps(),
                format!("its weights have the fingerprint {fingerprint}, and the job says {told}"),
            ));
        }
    }
    findings
}

fn report(
    job: &JobStatus,
    verdict: &Verdict,
    ledger: &WholeLedger,
    drawn: Option<(u64, u64)>,
    output: Output,
) -> Result<Exit, Failure> {
    let is_well = verdict.findings.is_empty() && verdict.unchecked.is_empty() && verdict.unmerged.is_empty();
    let exit = if is_well { Exit::Success } else { Exit::JobFailed };
    if output == Output::Json {
        let finding = |finding: &Finding| {
            let (shard, node) = finding.task.clone().unzip();
            json!({"round": finding.round, "shard": shard, "node": node, "text": finding.text})
        };
        let unchecked = |(round, tasks): &(u64, u64)| json!({"round": round, "tasks": tasks});
        print_json(&json!({
            "event": "verified",
            "job": job.job.to_string(),
            "agrees": is_well,
            "tasks": verdict.tasks,
            "tasks_besides": verdict.others,
            "skipped": verdict.skipped,
            "rounds": ledger.steps(),
            "seed": drawn.map(|(_, seed)| seed),
            "differs": verdict.findings.iter().map(finding).collect::<Vec<_>>(),
            "unmerged": verdict.unmerged,
            "unchecked": verdict.unchecked.iter().map(unchecked).collect::<Vec<_>>(),
        }))?;
        return Ok(exit);
    }
    cli::print(&lines(verdict, ledger.steps()).join("\n"))?;
    Ok(exit)
}

fn lines(verdict: &Verdict, steps: u64) -> Vec<String> {
    let tasks = |count| counted(count, "task");
    let besides = match verdict.others {
        0 => String::new(),
        others => format!(", and {others} more on the way to them"),
    };
    let mut lines: Vec<String> = verdict.findings.iter().map(finding_line).collect();
    for (round, count) in &verdict.unchecked {
        let count = tasks(*count);
        lines.push(format!("round {round}: {count} not computed: the weights it starts from cannot be had"));
    }
    if let Some(first) = verdict.unmerged.first() {
        let count = counted(verdict.unmerged.len() as u64, "merge");
        lines.push(format!(
            "{count} not computed, from round {first} on: what the outer optimiser remembered before it cannot be had"
        ));
    }
    let skipped = match verdict.skipped {
        0 => String::new(),
        1 => "; 1 task was skipped".to_owned(),
        skipped => format!("; {skipped} tasks were skipped"),
    };
    let computed = format!("{} of {}{besides}", tasks(verdict.tasks), counted(steps, "round"));
    lines.push(match (verdict.findings.len(), verdict.unchecked.len() + verdict.unmerged.len()) {
        (0, 0) => format!("verified {computed}: every update has the ledger's bits{skipped}"),
        (0, _) => {
            format!("recomputed {computed}: every update has the ledger's bits, but not all could be computed{skipped}")
        }
        (1, _) => format!("recomputed {computed}: 1 difference from the ledger{skipped}"),
        (differs, _) => format!("recomputed {computed}: {differs} differences from the ledger{skipped}"),
    });
    lines
}

fn finding_line(finding: &Finding) -> String {
    match &finding.task {
        Some((shard, node)) => format!("round {}, shard {shard}, of {}: {}", finding.round, shown(node), finding.text),
        None => format!("round {}: {}", finding.round, finding.text),
    }
}

//! `client verify`: what is fetched for an audit, which entries of the ledger are drawn, and what is asked of its verdict. Does
//! not know how anything is recomputed, or in which words it is told (`verdict`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::Output;
use super::audit::{Audit, Checkpoints, Finding};
use super::connection_error::ConnectionError;
use super::conversation::{Conversation, Object};
use super::ledger::{self, LedgerKind, WholeLedger};
use super::recompute::Recomputer;
use super::render::say;
use super::verdict::Told;
use super::work::Work;
use crate::cli::{Exit, Failure};
use crate::digest::Digest;
use crate::job::{self, EntryResult, JobState, JobStatus, RowsRef, Specification};
use crate::model::{self, ARITHMETIC};
use crate::net;
use crate::wire::object::{self, ObjectKind};
use crate::wire::text::counted;

/// So often is it said how far the audit is.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Recomputes a job's tasks, or steps of merged gradients: all, or as many as are to be drawn, with the seed that they are drawn
/// by.
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
        let step = ledger.kind.step();
        let text = format!("no {step} of job {} is in its ledger yet: there is nothing to verify", job.job);
        return Err(Failure::new(Exit::JobFailed, text));
    }
    let told = |text: String| {
        if output == Output::Table {
            say(&text);
        }
    };
    let kind = ledger.kind;
    let Wanted { places, skipped, is_all } = wanted(&ledger, drawn);
    if let Some((_, seed)) = drawn {
        let of = counted(ledger.entries.len() as u64, kind.entry());
        told(format!("{} of {of} drawn with --seed {seed}", places.len()));
    }
    let (shards, initial) = objects(conversation, specification)?;
    let recomputer = Recomputer::new(specification, &shards, interrupts).map_err(ConnectionError::Lie)?;
    let (steps, mut last_said) = (ledger.steps(), net::now());
    let mut progress = |step: u64| {
        let now = net::now();
        if now.saturating_sub(last_said) >= PROGRESS_EVERY {
            last_said = now;
            told(format!("computed {} {} of {steps}", kind.step(), step + 1));
        }
    };
    let source = Source { conversation };
    let initial_digest = initial.as_ref().map(|weights| Digest::of(weights));
    let audit = Audit::new(specification, &ledger, &source, recomputer, initial, &mut progress);
    let mut verdict = audit.run(&places)?;
    verdict.findings.extend(ledger.contradictions(specification));
    verdict.findings.extend(ends(job, work, &ledger, initial_digest, verdict.last));
    let seed = drawn.map(|(_, seed)| seed);
    let round_steps = specification.round_steps().into();
    let fingerprint = job.fingerprint.filter(|_| is_all && verdict.last.is_some());
    let report =
        Told { job: job.job, kind, steps: ledger.steps(), round_steps, seed, is_all, skipped, fingerprint, verdict };
    report.print(output)?;
    Ok(if report.is_well() { Exit::Success } else { Exit::JobFailed })
}

/// What of a ledger is to be recomputed.
struct Wanted {
    /// The places of entries.
    places: BTreeSet<u64>,
    /// Tasks passed over because they were skipped, where all are wanted; or blocks that the wanted steps left out.
    skipped: u64,
    /// Whether that is all of it.
    is_all: bool,
}

fn wanted(ledger: &WholeLedger, drawn: Option<(u64, u64)>) -> Wanted {
    let all = ledger.comparable();
    let count = drawn.map_or(u64::MAX, |(count, _)| count);
    let is_all = count >= all.len() as u64;
    let places = match drawn {
        Some((count, seed)) if !is_all => draw(&all, count as usize, seed),
        _ => all.iter().copied().collect::<BTreeSet<u64>>(),
    };
    let skipped_blocks = |place: &u64| match &ledger.entries[*place as usize].result {
        EntryResult::Step(step) => step.skipped.len() as u64,
        EntryResult::Merged(_) | EntryResult::Skipped => 0,
    };
    let skipped = match ledger.kind {
        LedgerKind::GradientSteps => places.iter().map(skipped_blocks).sum(),
        LedgerKind::Rounds | LedgerKind::LocalSteps if is_all => ledger.entries.len() as u64 - all.len() as u64,
        LedgerKind::Rounds | LedgerKind::LocalSteps => 0,
    };
    Wanted { places, skipped, is_all }
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
}

impl Checkpoints for Source<'_> {
    fn holds(&self, digests: &[Digest], bytes: u64) -> Result<Vec<bool>, ConnectionError> {
        self.conversation.holds(digests, bytes)
    }

    fn fetch(&self, digest: Digest, bytes: u64) -> Result<Option<Object>, ConnectionError> {
        match self.conversation.fetch(digest, bytes) {
            Err(unknown) if unknown.is_unknown_object() => Ok(None),
            fetched => fetched.map(Some),
        }
    }
}

/// What is wrong with the weights that the ledger begins and ends with, and with where it ends.
fn ends(
    job: &JobStatus,
    work: &Work,
    ledger: &WholeLedger,
    initial: Option<Digest>,
    last: Option<Digest>,
) -> Vec<Finding> {
    let find = |step, text| Finding { step, task: None, text };
    let (specification, steps) = (&work.specification, ledger.steps());
    let mut findings = Vec::new();
    let first = ledger.entries[0].base;
    match (initial, specification.initial) {
        (Some(initial), _) if initial != first => {
            findings.push(find(1, format!("it starts from the weights {first}, and the job from {initial}")));
        }
        // What is given is what is started from, unless it was written in another way.
        (None, Some(given)) if given != first => {
            let text =
                format!("it starts from the weights {first}, and those that the job names, {given}, cannot be had");
            findings.push(find(1, text));
        }
        _ => {}
    }
    if job.state == JobState::Done {
        findings.extend(end_of_done(job, work, ledger, last).map(|text| find(steps, text)));
    }
    if let (Some(told), Some(last)) = (job.weights, last) {
        let is_after = |step: u64| ledger.base(step) == told;
        let done = u64::from(job.rounds_done) * u64::from(specification.round_steps());
        // Whoever has resumed it meanwhile has added to the ledger.
        if last != told && !(done..steps).any(is_after) {
            findings.push(find(steps, format!("it leads to the weights {last}, and the job says {told}")));
        }
    }
    findings
}

/// What is wrong with the end of the ledger of a job that is done: that it comes too early, or leads to another model.
fn end_of_done(job: &JobStatus, work: &Work, ledger: &WholeLedger, last: Option<Digest>) -> Option<String> {
    let (specification, steps) = (&work.specification, ledger.steps());
    let (round_steps, planned) = (u64::from(specification.round_steps()), specification.steps());
    let told = job.fingerprint?;
    let fingerprint = |weights: &Digest| job::fingerprint(&work.semantic, weights);
    let has_all = steps == planned;
    let Some(patience) = specification.patience else {
        if !has_all {
            let step = ledger.kind.step();
            return Some(format!("the job is done, and its ledger ends after {} of {planned}", counted(steps, step)));
        }
        let got = fingerprint(&last?);
        return (got != told).then(|| format!("its weights have the fingerprint {got}, and the job says {told}"));
    };
    // Its result is that of one of its rounds. Which is the best is not to be seen from the ledger, but how many came after it is.
    let rounds = steps / round_steps;
    let weights_after = |round: u64| match round * round_steps {
        step if step < steps => Some(ledger.base(step)),
        _ => last,
    };
    let is_told = |round: &u64| weights_after(*round).is_some_and(|weights| fingerprint(&weights) == told);
    let Some(best) = (1..=rounds).find(is_told) else {
        last?;
        return Some(format!("no round of it ends with weights of the fingerprint {told}, which the job says"));
    };
    let has_stopped = rounds - best >= u64::from(patience) || specification.target_accuracy.is_some();
    (!has_all && !has_stopped).then(|| {
        let after = counted(rounds - best, "round");
        format!(
            "the job is done, and its ledger ends {after} after its best, number {best}: {patience} are to follow it"
        )
    })
}

//! An audit of a job: tasks of its ledger, recomputed and compared. Owns which rounds must be computed for that, and from
//! which weights; does not know how tasks are computed, or where weights come from.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::connection_error::ConnectionError;
use super::conversation::Object;
use super::ledger::WholeLedger;
use super::recompute::{Base, Recomputer, Round, Stopped};
use crate::digest::Digest;
use crate::job::{MergedTask, Specification};
use crate::wire::limits::HAVE_DIGESTS_MAX;
use crate::wire::text::counted;

/// Whoever may still hold a round's weights.
pub(super) trait Weights {
    /// Which of these, no more than one HAVE may name, it holds.
    fn holds(&self, digests: &[Digest]) -> Result<Vec<bool>, ConnectionError>;

    /// These, if it holds them.
    fn fetch(&self, digest: Digest) -> Result<Option<Object>, ConnectionError>;
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Counted from 1.
    pub(super) round: u64,
    /// The shard and whose task it was, where it is about a task.
    pub(super) task: Option<(u32, String)>,
    pub(super) text: String,
}

/// What an audit has come to.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Tasks that were asked for and compared.
    pub(super) tasks: u64,
    /// Tasks that were compared besides, because the weights of others needed them.
    pub(super) others: u64,
    /// Tasks that were skipped: there is nothing to compare.
    pub(super) skipped: u64,
    pub(super) findings: Vec<Finding>,
    /// Tasks that were asked for and could not be computed, for want of their round's weights: how many of which rounds.
    pub(super) unchecked: Vec<(u64, u64)>,
    /// Rounds all of whose tasks were asked for, and whose merge could not be computed, for want of what the outer optimiser
    /// remembered before it.
    pub(super) unmerged: Vec<u64>,
    /// The weights after the last round of the ledger, where they were computed.
    pub(super) last: Option<Digest>,
}

/// An audit at work.
pub(super) struct Audit<'a> {
    ledger: &'a WholeLedger,
    source: &'a dyn Weights,
    recomputer: Recomputer<'a>,
    initial: Option<Object>,
    /// Whether weights alone lead to the next ones.
    is_average: bool,
    progress: &'a mut dyn FnMut(u64),
    findings: Findings,
}

#[derive(Default)]
struct Findings {
    verdict: Verdict,
    /// Places in the ledger that have been compared.
    judged: BTreeSet<u64>,
    /// What a step starts from, as computed.
    held: Option<(u64, Base)>,
    /// Steps whose recomputation does not lead to the next one's weights.
    gaps: Vec<u64>,
}

impl<'a> Audit<'a> {
    /// Of this ledger of a job with or without an outer optimiser, with what `source` holds and the weights of step 0, where
    /// those could be had. After each round `progress` is told its step.
    pub(super) fn new(
        ledger: &'a WholeLedger,
        source: &'a dyn Weights,
        recomputer: Recomputer<'a>,
        initial: Option<Object>,
        is_average: bool,
        progress: &'a mut dyn FnMut(u64),
    ) -> Audit<'a> {
        Audit { ledger, source, recomputer, initial, is_average, progress, findings: Findings::default() }
    }

    /// Compares the tasks at these places of the ledger, all of which are merged ones.
    pub(super) fn run(mut self, wanted: &BTreeSet<u64>) -> Result<Verdict, ConnectionError> {
        let shards = u64::from(self.ledger.shards);
        let mut places = wanted.iter().copied().peekable();
        while let Some(&place) = places.peek() {
            let step = place / shards;
            let mut of_step = Vec::new();
            while let Some(place) = places.next_if(|place| place / shards == step) {
                of_step.push((place % shards) as u32);
            }
            match self.base_of(step)? {
                Some(base) => drop(self.check(step, &base, &of_step)?),
                None => self.findings.verdict.unchecked.push((step + 1, of_step.len() as u64)),
            }
        }
        let Findings { mut verdict, judged, held, .. } = self.findings;
        verdict.tasks = judged.intersection(wanted).count() as u64;
        verdict.others = judged.len() as u64 - verdict.tasks;
        let is_asked_for = |round: &u64| {
            wanted.range((round - 1) * shards..round * shards).count() == self.ledger.merged(round - 1).len()
        };
        verdict.unmerged.retain(is_asked_for);
        verdict.last = held.filter(|(step, _)| *step == self.ledger.steps()).map(|(_, base)| Digest::of(&base.weights));
        verdict.findings.sort_by_key(|finding| (finding.round, finding.task.as_ref().map(|(shard, _)| *shard)));
        Ok(verdict)
    }

    /// What a step starts from: computed already, weights held by the coordinator, or computed from the nearest step before it
    /// of which enough can be had. Of an outer optimiser's state that is none but the first.
    fn base_of(&mut self, step: u64) -> Result<Option<Base>, ConnectionError> {
        // Nothing can be computed across a step that leads elsewhere.
        let floor = self.findings.gaps.iter().copied().filter(|gap| *gap < step).max().map_or(0, |gap| gap + 1);
        let held = self.findings.held.clone().filter(|(held, _)| (floor..=step).contains(held));
        let initial = self.initial.clone().filter(|_| floor == 0).map(|weights| (0, self.with_state(0, weights)));
        let known = held.or(initial);
        let from = known.as_ref().map_or(floor, |(known, _)| known + 1);
        // Of a step before, weights without the state lead nowhere.
        let from = if self.is_average { from } else { from.max(step) };
        let fetched = self.fetch_nearest(from, step)?.map(|(at, weights)| (at, self.with_state(at, weights)));
        let Some((mut at, mut base)) = fetched.or(known) else { return Ok(None) };
        while at < step {
            let merged = self.ledger.merged(at);
            match self.check(at, &base, &merged)? {
                Some(next) => (at, base) = (at + 1, next),
                None => return Ok(None),
            }
        }
        Ok(Some(base))
    }

    /// Weights of a step, and what the outer optimiser remembers at them where that is nothing.
    fn with_state(&self, step: u64, weights: Object) -> Base {
        Base { weights, outer: (self.is_average || step == 0).then(Arc::default) }
    }

    /// The weights of the last step in `from..=to` that the coordinator still holds.
    fn fetch_nearest(&self, from: u64, to: u64) -> Result<Option<(u64, Object)>, ConnectionError> {
        let mut end = to + 1;
        while end > from {
            let start = end.saturating_sub(HAVE_DIGESTS_MAX as u64).max(from);
            let digests: Vec<Digest> = (start..end).map(|step| self.ledger.base(step)).collect();
            let holds = self.source.holds(&digests)?;
            for (back, (digest, _)) in (1..).zip(digests.iter().zip(holds).rev()).filter(|(_, (_, holds))| *holds) {
                // It may have let them go meanwhile.
                if let Some(weights) = self.source.fetch(*digest)? {
                    return Ok(Some((end - back, weights)));
                }
            }
            end = start;
        }
        Ok(None)
    }

    /// Computes and compares tasks of a step. With all that were merged in it, what the next step starts from, if that is what
    /// the ledger says.
    fn check(&mut self, step: u64, base: &Base, shards: &[u32]) -> Result<Option<Base>, ConnectionError> {
        let is_whole = *shards == self.ledger.merged(step)[..];
        let round = self.recomputer.round(step, base, shards, is_whole).map_err(|stopped| match stopped {
            Stopped::Interrupted => ConnectionError::Interrupted,
            Stopped::Arithmetic(difference) => ConnectionError::Arithmetic(difference),
            Stopped::Base(why) => ConnectionError::Lie(format!("the weights of round {}: {why}", step + 1)),
        })?;
        (self.progress)(step);
        let Round { tasks, merged } = round;
        let mut is_as_told = true;
        for (shard, retrained) in tasks {
            let place = step * u64::from(self.ledger.shards) + u64::from(shard);
            let entry = &self.ledger.entries[place as usize];
            let Some(MergedTask { update, loss, node, .. }) = &entry.merged else { continue };
            let text = match retrained {
                Ok(retrained) if retrained.update != *update => {
                    format!("its update is {} here, and {update} in the ledger", retrained.update)
                }
                Ok(retrained) if retrained.loss.to_bits() != loss.to_bits() => {
                    format!("its loss is {} here, and {loss} in the ledger", retrained.loss)
                }
                Ok(_) => String::new(),
                Err(why) => format!("it cannot be computed here: {why}"),
            };
            is_as_told &= text.is_empty();
            if self.findings.judged.insert(place) && !text.is_empty() {
                let task = Some((shard, node.clone()));
                self.findings.verdict.findings.push(Finding { round: step + 1, task, text });
            }
        }
        if !is_whole {
            return Ok(None);
        }
        if base.outer.is_none() {
            self.findings.verdict.unmerged.push(step + 1);
            return Ok(None);
        }
        let next = merged.and_then(|merged| match merged {
            Ok(merged) => self.follows(step, merged, is_as_told),
            Err(why) => {
                self.find(step, format!("its updates cannot be merged here: {why}"));
                None
            }
        });
        match &next {
            Some(next) => self.findings.held = Some((step + 1, next.clone())),
            None => self.findings.gaps.push(step),
        }
        Ok(next)
    }

    /// What comes of the merge, if the ledger's next round starts from its weights.
    fn follows(&mut self, step: u64, merged: Base, is_as_told: bool) -> Option<Base> {
        let told = (step + 1 < self.ledger.steps()).then(|| self.ledger.base(step + 1));
        let digest = Digest::of(&merged.weights);
        match told {
            Some(told) if told != digest => {
                // Other updates lead to other weights: they are what is to be told then.
                if is_as_told {
                    let text =
                        format!("its updates lead to the weights {digest}, and the next round starts from {told}");
                    self.find(step, text);
                }
                None
            }
            None if !is_as_told => None,
            _ => Some(merged),
        }
    }

    fn find(&mut self, step: u64, text: String) {
        let finding = Finding { round: step + 1, task: None, text };
        if !self.findings.verdict.findings.contains(&finding) {
            self.findings.verdict.findings.push(finding);
        }
    }
}

impl WholeLedger {
    /// Rounds in it.
    pub(super) fn steps(&self) -> u64 {
        self.entries.len() as u64 / u64::from(self.shards)
    }

    /// The weights that a step starts from.
    fn base(&self, step: u64) -> Digest {
        self.entries[(step * u64::from(self.shards)) as usize].base
    }

    /// The shards that were merged in a step.
    fn merged(&self, step: u64) -> Vec<u32> {
        let start = (step * u64::from(self.shards)) as usize;
        let of_step = self.entries[start..start + self.shards as usize].iter();
        (0..).zip(of_step).filter(|(_, entry)| entry.merged.is_some()).map(|(shard, _)| shard).collect()
    }

    /// What in it cannot be, whatever was computed.
    pub(super) fn contradictions(&self, specification: &Specification) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (place, entry) in (0..).zip(&self.entries) {
            let (step, shard) = (place / u64::from(self.shards), (place % u64::from(self.shards)) as u32);
            let node = entry.merged.as_ref().map_or_else(|| "-".to_owned(), |merged| merged.node.clone());
            let mut find =
                |text: String| findings.push(Finding { round: step + 1, task: Some((shard, node.clone())), text });
            let rows = specification.shards.get(shard as usize).map_or(0, |shard| shard.rows);
            if entry.rows != rows {
                find(format!("it has {} in the ledger, and {rows} in the job", counted(u64::from(entry.rows), "row")));
            }
            if entry.base != self.base(step) {
                find("it starts from other weights than the rest of its round".to_owned());
            }
        }
        findings
    }
}

//! An audit of a job: tasks of its ledger, or steps of merged gradients, recomputed and compared. Owns which steps must be
//! computed for that, and from which weights; does not know how they are computed, or where weights come from. Rounds whose
//! tasks are epochs are steps here.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::connection_error::ConnectionError;
use super::conversation::Object;
use super::ledger::{LedgerKind, WholeLedger};
use super::recompute::{Base, Recomputed, Recomputer, Stopped};
use crate::digest::Digest;
use crate::job::{EntryResult, LedgerEntry, Specification};
use crate::model::OuterState;
use crate::wire::limits::HAVE_DIGESTS_MAX;
use crate::wire::object;

/// Whoever may still hold what some steps started from.
pub(super) trait Checkpoints {
    /// Which of these objects of so many bytes, no more than one HAVE may name, it holds.
    fn holds(&self, digests: &[Digest], bytes: u64) -> Result<Vec<bool>, ConnectionError>;

    /// This one of so many bytes at most, if it holds it.
    fn fetch(&self, digest: Digest, bytes: u64) -> Result<Option<Object>, ConnectionError>;
}

/// What an outer optimiser remembers before a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing yet, or ever.
    Nothing,
    /// The object of this name.
    Named(Digest),
    /// Nobody says, or holds it.
    Unknown,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Counted from 1.
    pub(super) step: u64,
    /// The shard and whose task it was, where it is about a task.
    pub(super) task: Option<(u32, String)>,
    pub(super) text: String,
}

/// What an audit has come to. Steps are counted from 1.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Entries that were asked for and compared.
    pub(super) compared: u64,
    /// Entries that were compared besides, because the weights of others needed them.
    pub(super) others: u64,
    pub(super) findings: Vec<Finding>,
    /// Entries that were asked for and could not be computed, for want of their step's weights: how many of which steps.
    pub(super) unchecked: Vec<(u64, u64)>,
    /// Steps all of whose entries were asked for, and whose merge could not be computed, for want of what the outer optimiser
    /// remembered before it.
    pub(super) unmerged: Vec<u64>,
    /// The weights after the last step of the ledger, where they were computed.
    pub(super) last: Option<Digest>,
}

/// An audit at work.
pub(super) struct Audit<'a> {
    specification: &'a Specification,
    ledger: &'a WholeLedger,
    source: &'a dyn Checkpoints,
    recomputer: Recomputer<'a>,
    initial: Option<Object>,
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
    /// The steps from `.0` to before `.1`, of which the coordinator has been found to hold nothing that leads on: what it has let go
    /// it does not hold later.
    unheld: (u64, u64),
}

impl<'a> Audit<'a> {
    /// Of this ledger of a job, with what `source` holds and the weights of step 0, where
    /// those could be had. After each step `progress` is told its step.
    pub(super) fn new(
        specification: &'a Specification,
        ledger: &'a WholeLedger,
        source: &'a dyn Checkpoints,
        recomputer: Recomputer<'a>,
        initial: Option<Object>,
        progress: &'a mut dyn FnMut(u64),
    ) -> Audit<'a> {
        Audit { specification, ledger, source, recomputer, initial, progress, findings: Findings::default() }
    }

    /// Compares the entries at these places of the ledger, all of which have something to compare.
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
        verdict.compared = judged.intersection(wanted).count() as u64;
        verdict.others = judged.len() as u64 - verdict.compared;
        let is_asked_for =
            |step: &u64| wanted.range((step - 1) * shards..step * shards).count() == self.ledger.merged(step - 1).len();
        verdict.unmerged.retain(is_asked_for);
        verdict.last = held.filter(|(step, _)| *step == self.ledger.steps()).map(|(_, base)| Digest::of(&base.weights));
        verdict.findings.sort_by_key(|finding| (finding.step, finding.task.as_ref().map(|(shard, _)| *shard)));
        Ok(verdict)
    }

    /// What a step starts from: computed already, held by the coordinator, or computed from the nearest step before it of which
    /// enough can be had. A step's own weights are enough for its tasks or its sum.
    fn base_of(&mut self, step: u64) -> Result<Option<Base>, ConnectionError> {
        // Nothing can be computed across a step that leads elsewhere.
        let floor = self.findings.gaps.iter().copied().filter(|gap| *gap < step).max().map_or(0, |gap| gap + 1);
        let leads_on = |at: u64, base: &Base| at == step || base.outer.is_some();
        let held = self.findings.held.clone();
        let held = held.filter(|(held, base)| (floor..=step).contains(held) && leads_on(*held, base));
        let first = |weights| (0, Base { weights, outer: Some(Arc::default()) });
        let known = held.or_else(|| self.initial.clone().filter(|_| floor == 0).map(first));
        let from = known.as_ref().map_or(floor, |(known, _)| known + 1);
        let Some((mut at, mut base)) = self.fetch_nearest(from, step)?.or(known) else { return Ok(None) };
        while at < step {
            let merged = self.ledger.merged(at);
            match self.check(at, &base, &merged)? {
                Some(next) => (at, base) = (at + 1, next),
                None => return Ok(None),
            }
        }
        Ok(Some(base))
    }

    /// What the outer optimiser remembers before a step, as far as that can be said.
    fn state_before(&self, step: u64) -> State {
        match self.ledger.outer(step) {
            _ if step == 0 || self.specification.outer.is_average() => State::Nothing,
            Some(name) if name == object::outer_digest(&OuterState::default()) => State::Nothing,
            Some(name) => State::Named(name),
            None => State::Unknown,
        }
    }

    /// What the last step in `from..=to` starts from of which the coordinator still holds enough: of a step before `to` the
    /// optimiser's state too, because weights without it lead nowhere.
    fn fetch_nearest(&mut self, from: u64, to: u64) -> Result<Option<(u64, Base)>, ConnectionError> {
        let (asked_from, asked_to) = self.findings.unheld;
        let is_asked = (asked_from..=asked_to).contains(&from);
        let first = if is_asked { asked_to.max(from) } else { from };
        let found = self.fetch_last(first, to)?;
        if found.is_none() {
            self.findings.unheld = (if is_asked { asked_from } else { from }, to + 1);
        }
        Ok(found)
    }

    /// The same, of steps of which nothing is known yet.
    fn fetch_last(&self, from: u64, to: u64) -> Result<Option<(u64, Base)>, ConnectionError> {
        let bytes = object::parameters_bytes(&self.specification.training.network);
        let mut end = to + 1;
        while end > from {
            let start = end.saturating_sub(HAVE_DIGESTS_MAX as u64).max(from);
            let states = (start..end).map(|step| (step, self.state_before(step)));
            let states: Vec<(u64, State)> =
                states.filter(|(step, state)| *step == to || *state != State::Unknown).collect();
            let bases: Vec<Digest> = states.iter().map(|(step, _)| self.ledger.base(*step)).collect();
            let holds = if bases.is_empty() { Vec::new() } else { self.source.holds(&bases, bytes)? };
            let held = states.iter().zip(holds).filter(|(_, holds)| *holds).map(|(state, _)| *state).collect();
            for (step, state) in self.with_states(held)?.into_iter().rev() {
                let outer = match state {
                    State::Nothing => Some(Arc::default()),
                    State::Named(name) => self.fetch_state(step, name)?,
                    State::Unknown => None,
                };
                // It may have let them go meanwhile.
                if (step == to || outer.is_some())
                    && let Some(weights) = self.source.fetch(self.ledger.base(step), bytes)?
                {
                    return Ok(Some((step, Base { weights, outer })));
                }
            }
            end = start;
        }
        Ok(None)
    }

    /// These steps, of whose states those that the coordinator does not hold are unknown.
    fn with_states(&self, mut steps: Vec<(u64, State)>) -> Result<Vec<(u64, State)>, ConnectionError> {
        let named = |(_, state): &(u64, State)| match state {
            State::Named(name) => Some(*name),
            State::Nothing | State::Unknown => None,
        };
        let names: Vec<Digest> = steps.iter().filter_map(named).collect();
        if !names.is_empty() {
            let mut holds = self.source.holds(&names, self.state_bytes())?.into_iter();
            for state in steps.iter_mut().filter(|state| named(state).is_some()) {
                if holds.next() != Some(true) {
                    state.1 = State::Unknown;
                }
            }
        }
        Ok(steps)
    }

    fn fetch_state(&self, step: u64, name: Digest) -> Result<Option<Arc<OuterState>>, ConnectionError> {
        let Some(bytes) = self.source.fetch(name, self.state_bytes())? else { return Ok(None) };
        let Specification { training, outer, .. } = self.specification;
        let due = 0..=outer.updates_within(step, self.specification.steps());
        let state = object::decode_outer(outer, training.network.parameters(), due, &bytes);
        let lie =
            |error| ConnectionError::Lie(format!("the outer optimiser's state before step {}: {error}", step + 1));
        Ok(Some(Arc::new(state.map_err(lie)?)))
    }

    /// Of what the outer optimiser remembers, as an object.
    fn state_bytes(&self) -> u64 {
        object::outer_bytes(&self.specification.outer, self.specification.training.network.parameters())
    }

    /// Computes and compares entries of a step. With all that were merged in it, what the next step starts from, if that is what
    /// the ledger says.
    fn check(&mut self, step: u64, base: &Base, shards: &[u32]) -> Result<Option<Base>, ConnectionError> {
        let kind = self.ledger.kind;
        let is_whole = *shards == self.ledger.merged(step)[..];
        let recomputed = match self.ledger.skipped_blocks(step) {
            Some(skipped) => self.recomputer.step(step, base, skipped),
            None => self.recomputer.tasks(step, base, shards, is_whole),
        };
        let recomputed = recomputed.map_err(|stopped| match stopped {
            Stopped::Interrupted => ConnectionError::Interrupted,
            Stopped::Arithmetic(difference) => ConnectionError::Arithmetic(difference),
            Stopped::Base(why) => ConnectionError::Lie(format!("the weights of {} {}: {why}", kind.step(), step + 1)),
        })?;
        (self.progress)(step);
        let Recomputed { lines, merged } = recomputed;
        let mut is_as_told = true;
        for (shard, computed) in lines {
            let place = step * u64::from(self.ledger.shards) + u64::from(shard);
            let entry = &self.ledger.entries[place as usize];
            let Some((told, loss)) = told(entry) else { continue };
            let text = match computed {
                Ok(computed) if computed.object != told => {
                    format!("its {} is {} here, and {told} in the ledger", kind.object(), computed.object)
                }
                Ok(computed) if computed.loss.to_bits() != loss.to_bits() => {
                    format!("its loss is {} here, and {loss} in the ledger", computed.loss)
                }
                Ok(_) => String::new(),
                Err(why) => format!("it cannot be computed here: {why}"),
            };
            is_as_told &= text.is_empty();
            if self.findings.judged.insert(place) && !text.is_empty() {
                let task = entry.merged().map(|task| (shard, task.node.clone()));
                self.findings.verdict.findings.push(Finding { step: step + 1, task, text });
            }
        }
        if !is_whole {
            return Ok(None);
        }
        if merged.is_none() && base.outer.is_none() {
            self.findings.verdict.unmerged.push(step + 1);
            return Ok(None);
        }
        let next = merged.and_then(|merged| match merged {
            Ok(merged) => self.follows(step, merged, is_as_told),
            Err(why) => {
                self.find(step, format!("what is merged leads nowhere here: {why}"));
                None
            }
        });
        match &next {
            Some(next) => self.findings.held = Some((step + 1, next.clone())),
            None => self.findings.gaps.push(step),
        }
        Ok(next)
    }

    /// What comes of the merge, if that is what the ledger's next step starts from.
    fn follows(&mut self, step: u64, merged: Base, is_as_told: bool) -> Option<Base> {
        let has_next = step + 1 < self.ledger.steps();
        let told = has_next.then(|| self.ledger.base(step + 1));
        let told_outer = self.ledger.outer(step + 1);
        let digest = Digest::of(&merged.weights);
        // Named by the ledger only of merged gradients.
        let outer = merged.outer.as_ref().filter(|_| told_outer.is_some()).map(|outer| object::outer_digest(outer));
        let kind = self.ledger.kind.step();
        let other = match (told, told_outer, outer) {
            (Some(told), ..) if told != digest => {
                format!("it leads to the weights {digest}, and the next {kind} starts from {told}")
            }
            (_, Some(told), Some(outer)) if told != outer => format!(
                "it leaves the outer optimiser's state {outer}, and the next {kind} that merges anything names {told}"
            ),
            (None, ..) if !is_as_told => return None,
            _ => return Some(merged),
        };
        // Other updates lead to other weights: they are what is to be told then.
        if is_as_told {
            self.find(step, other);
        }
        None
    }

    fn find(&mut self, step: u64, text: String) {
        let finding = Finding { step: step + 1, task: None, text };
        if !self.findings.verdict.findings.contains(&finding) {
            self.findings.verdict.findings.push(finding);
        }
    }
}

/// The digest of an update or a sum, and its loss, where an entry tells of one; zeros of a step that has merged nothing.
fn told(entry: &LedgerEntry) -> Option<(Digest, f64)> {
    match &entry.result {
        EntryResult::Merged(task) => Some((task.update, task.loss)),
        EntryResult::Step(step) => Some((step.sum, step.loss)),
        EntryResult::Skipped => None,
    }
}

impl WholeLedger {
    /// Steps in it.
    pub(super) fn steps(&self) -> u64 {
        self.entries.len() as u64 / u64::from(self.shards)
    }

    /// The weights that a step starts from.
    pub(super) fn base(&self, step: u64) -> Digest {
        self.entries[(step * u64::from(self.shards)) as usize].base
    }

    /// The name of what the outer optimiser remembers before a step, where the ledger has it: in the line of the first step from
    /// there on that has merged anything, because others change nothing.
    pub(super) fn outer(&self, step: u64) -> Option<Digest> {
        if self.kind != LedgerKind::GradientSteps {
            return None;
        }
        let lines = self.entries.get(step as usize..)?;
        lines.iter().find_map(|entry| match &entry.result {
            EntryResult::Step(merged) if merged.blocks > 0 => Some(merged.outer),
            _ => None,
        })
    }

    /// The places of entries that have something to compare.
    pub(super) fn comparable(&self) -> Vec<u64> {
        (0..).zip(&self.entries).filter(|(_, entry)| told(entry).is_some()).map(|(place, _)| place).collect()
    }

    /// The shards that were merged in a step; 0 for all of a step of merged gradients.
    pub(super) fn merged(&self, step: u64) -> Vec<u32> {
        let start = (step * u64::from(self.shards)) as usize;
        let of_step = self.entries[start..start + self.shards as usize].iter();
        (0..).zip(of_step).filter(|(_, entry)| told(entry).is_some()).map(|(shard, _)| shard).collect()
    }

    /// The numbers of the blocks that a step of merged gradients has left out.
    fn skipped_blocks(&self, step: u64) -> Option<&[u32]> {
        match &self.entries[(step * u64::from(self.shards)) as usize].result {
            EntryResult::Step(merged) => Some(&merged.skipped),
            EntryResult::Merged(_) | EntryResult::Skipped => None,
        }
    }
}

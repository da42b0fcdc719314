//! Every task of a round is merged once, or skipped where the job allows it: by the first valid result of an attempt that is out.
//! Owns what is out, and what came of each task of the running jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::{Range, RangeInclusive};

use gradwire::digest::Digest;
use gradwire::engine::{Action, Event, Fault, JobEvent, JobProgress, LinkKey, NodeKey, Notice, Policy, Unit};
use gradwire::job::{
    Attempt, EntryResult, JobId, LedgerEntry, MergedStep, MergedTask, OnTaskFailure, Place, Record, TaskId, TaskRows,
};

use super::View;
use super::cuts::{Cuts, Sent};
use super::nodes::Nodes;
use crate::model::{self, Sum};
use crate::scenario::name;
use crate::steps::Kind;

/// Longest time in which no node has anything although one could work: the longest pause before a doubted node is asked again,
/// and the sweep.
const IDLE_US_MAX: u64 = 4_500_000;

struct Out {
    link: LinkKey,
    node: NodeKey,
    attempt: Attempt,
    may_reject: bool,
    /// It is trained, and its update is on its way.
    is_coming: bool,
    is_of_blocks: bool,
}

/// The result that was accepted: whose it is, of which dispatch, the update.
type Won = (NodeKey, u32, Digest);

/// What came of a step of which everything is merged or left out.
struct StepDone {
    won: Vec<(TaskId, Won)>,
    merged: u32,
    rows: u32,
    /// The units left out, by their numbers, ascending.
    skipped: Vec<u32>,
}

impl StepDone {
    /// A step's line.
    fn step(&self, base: Digest) -> MergedStep {
        let sum: Sum = self.won.iter().map(|(_, (.., update))| Sum::from(*update)).sum();
        let nothing = Digest([0; 32]);
        let (digest, outer) =
            if self.won.is_empty() { (nothing, nothing) } else { (sum.into(), model::remembered(base)) };
        MergedStep { blocks: self.merged, skipped: self.skipped.clone(), loss: sum.loss(), sum: digest, outer }
    }

    /// Whether these are the lines of a step's shards.
    fn are(&self, entries: &[LedgerEntry]) -> bool {
        let as_written = |task: &MergedTask| (task.node.clone(), task.attempt, task.update);
        (0..).zip(entries).all(|(shard, entry)| {
            let won = self.won.iter().find(|(task, _)| task.shard == shard);
            let won = won.map(|(_, (node, attempt, update))| (name(*node), *attempt, *update));
            entry.merged().map(as_written) == won
        })
    }
}

/// All tasks of a step.
fn whole_step(job: JobId, step: u64) -> RangeInclusive<TaskId> {
    TaskId { job, step, shard: 0 }..=TaskId { job, step, shard: u32::MAX }
}

/// The step under way of a job that runs; the last one while all that is left is to validate.
pub fn step_under_way(view: View, job: JobId) -> Option<u64> {
    match view.engine.job_progress(job)? {
        JobProgress::Running { round, unit: Unit::Tasks, .. } => Some(round.into()),
        JobProgress::Running { round, done, unit: Unit::Steps, .. } => {
            Some(u64::from(round) * view.scenario.job(job).steps.of_round() + u64::from(done))
        }
        _ => None,
    }
}

#[derive(Default)]
pub struct Tasks {
    out: Vec<Out>,
    /// Who has which units of a step.
    cuts: Cuts,
    /// What came of tasks; None of those that are skipped.
    settled: BTreeMap<TaskId, Option<Won>>,
    /// Results on their way into the sum.
    merging: BTreeSet<TaskId>,
    /// Who failed which task; twice for good, there being no second chance.
    failures: Vec<(TaskId, NodeKey)>,
    /// The result that is being told; whether it is of an attempt that is out, or of none that this engine has sent.
    told: Option<(LinkKey, Attempt, Digest)>,
    is_live: bool,
    is_stale: bool,
    /// Tokens of all attempts since the coordinator was started.
    sent: BTreeSet<u64>,
    stale_results: u64,
    /// Since when no node has anything although one could work.
    idle_since_us: Option<u64>,
    /// When nodes that turned tasks down may be offered some again.
    reluctant_until_us: BTreeMap<LinkKey, u64>,
    /// Whether the last one went to a node whose workers would all be busy if an update on its way were still in training.
    pub is_overlap: bool,
    /// Jobs that have begun before the coordinator was started.
    restored: BTreeSet<JobId>,
    /// The task that the event is about, if it is a result's.
    about: Option<TaskId>,
    /// Into how many tasks the last step of blocks of each job was cut.
    last_cuts: BTreeMap<JobId, usize>,
    /// What happened that is worth counting.
    noted: Vec<&'static str>,
}

impl Tasks {
    /// Whether nothing is out.
    pub fn are_over(&self) -> bool {
        self.out.is_empty()
    }

    /// Nobody that is there can do a task: every node has failed it for good, or it failed too often in all.
    pub fn assert_hopeless(&self, view: View, nodes: &Nodes, task: TaskId) {
        let failed_by: Vec<_> =
            self.failures.iter().filter(|(failed, _)| *failed == task).map(|(_, node)| *node).collect();
        let has_chances = |node| failed_by.iter().filter(|by| **by == node).count() < 2;
        let is_hopeless = !nodes.helpers(view.scenario, task.job).any(|(_, node)| has_chances(node));
        let is_enough = failed_by.len() > view.scenario.settings.attempts_max as usize;
        assert!(is_hopeless || is_enough, "{task:?} is given up too early");
    }

    /// Everything of a step is merged or left out: what came of it.
    fn done(&self, view: View, job: JobId, step: u64) -> StepDone {
        let plan = view.scenario.job(job);
        let units = plan.steps.units(step).len();
        let mut done = StepDone { won: Vec::new(), merged: 0, rows: 0, skipped: Vec::new() };
        let mut seen = vec![false; units];
        for (&task, came_of) in self.settled.range(whole_step(job, step)) {
            let units = self.cuts.units(task);
            for unit in units {
                assert!(!mem::replace(&mut seen[*unit as usize], true), "unit {unit} of step {step} counts twice");
            }
            match came_of {
                Some(won) => {
                    done.merged += units.len() as u32;
                    done.rows += plan.steps.rows(step, units.iter().copied());
                    done.won.push((task, *won));
                }
                None => done.skipped.extend(units),
            }
        }
        assert!(seen.iter().all(|seen| *seen), "a unit of step {step} is neither merged nor skipped: {seen:?}");
        done.skipped.sort_unstable();
        done
    }

    /// Whether everything of a step is left out.
    pub fn is_left_out(&self, view: View, job: JobId, step: u64) -> bool {
        let came_of = self.settled.range(whole_step(job, step));
        let left_out = came_of.clone().map(|(&task, _)| self.cuts.units(task).len()).sum::<usize>();
        left_out == view.scenario.job(job).steps.units(step).len() && came_of.into_iter().all(|(_, won)| won.is_none())
    }

    /// Whether nothing but the job decides what these steps lead to: nothing is left out, and no node computes otherwise.
    pub fn are_exact(&self, view: View, job: JobId, mut steps: Range<u64>) -> bool {
        let is_exact = |(_, (node, ..)): &(TaskId, Won)| view.scenario.is_exact(&name(*node), job);
        steps.all(|step| {
            let done = self.done(view, job, step);
            done.skipped.is_empty() && done.won.iter().all(is_exact)
        })
    }

    /// The step of the result that the event is about.
    pub fn step_told(&self) -> u64 {
        self.about.expect("a result leads to this").step
    }

    /// What happened since this was last asked.
    pub fn take_noted(&mut self) -> Vec<&'static str> {
        mem::take(&mut self.noted)
    }

    /// A link is gone, and what was out over it.
    fn lose(&mut self, link: LinkKey) {
        let mut lost_tasks = Vec::new();
        for lost in mem::take(&mut self.out) {
            if lost.link != link {
                self.out.push(lost);
                continue;
            }
            lost_tasks.push(lost.attempt.task);
            self.noted.extend(lost.is_of_blocks.then_some("nodes lost with blocks"));
        }
        // Of a task with a copy a result may still come, and that is all of it.
        lost_tasks.retain(|task| !self.out.iter().any(|out| out.attempt.task == *task));
        lost_tasks.into_iter().for_each(|task| self.cuts.lost(task));
    }

    pub fn before(&mut self, now_us: u64, event: &Event, nodes: &mut Nodes) {
        self.about = match event {
            Event::Trained { attempt, .. } => Some(attempt.task),
            &Event::Accumulated { job, step, shard } => Some(TaskId { job, step, shard }),
            _ => None,
        };
        match event {
            Event::LinkUp { .. } if self.out.iter().any(|out| out.is_of_blocks) => {
                self.noted.push("nodes joined in a step of blocks");
            }
            Event::Restored { job, .. } | Event::Reopened { job, .. } => drop(self.restored.insert(*job)),
            Event::LinkDown { link, .. } => self.lose(*link),
            Event::UpdateComing { link, attempt } => {
                let coming = self.out.iter_mut().filter(|out| out.link == *link && out.attempt == *attempt);
                coming.for_each(|out| out.is_coming = true);
            }
            Event::Trained { link, attempt, result } => {
                self.told = Some((*link, *attempt, result.update));
                self.is_live = self.end(*link, attempt).is_some();
                self.is_stale = !self.is_live && !self.sent.contains(&attempt.token);
            }
            Event::Rejected { link, attempt, retry_ms, .. } => {
                let ended = self.end(*link, attempt);
                if ended.as_ref().is_some_and(|out| out.may_reject) {
                    self.reluctant_until_us.insert(*link, now_us + 1_000 * u64::from(*retry_ms));
                }
                let ended = ended.filter(|out| !out.may_reject);
                self.fail(ended, 1);
            }
            Event::TaskFailed { link, attempt, fault, .. } => {
                let ended = self.end(*link, attempt);
                self.fail(ended, if *fault == Fault::Final { 2 } else { 1 });
            }
            Event::Closing { link, attempt } => {
                nodes.closing.extend(self.end(*link, attempt).map(|out| out.link));
            }
            &Event::Accumulated { job, step, shard } => drop(self.merging.remove(&TaskId { job, step, shard })),
            &Event::UpdateRefused { job, step, shard, .. } => {
                let task = TaskId { job, step, shard };
                self.merging.remove(&task);
                self.failures.extend(self.settled.remove(&task).flatten().map(|(node, ..)| (task, node)));
            }
            Event::UpdatesLost { job, step, shards, .. } => {
                self.settled.retain(|task, _| (task.job, task.step) != (*job, *step) || !shards.contains(&task.shard));
            }
            _ => {}
        }
    }

    pub fn action(&mut self, view: View, action: &Action, nodes: &Nodes) {
        match action {
            Action::Prepare { job } => {
                self.settled.retain(|task, _| task.job != *job);
                self.merging.retain(|task| task.job != *job);
                self.failures.retain(|(task, _)| task.job != *job);
                self.cuts.forget(*job);
                self.last_cuts.remove(job);
            }
            Action::Dispatch { link, attempt, rows, base, may_reject } => {
                self.assert_follows(view, attempt.task.job, attempt.task.step);
                assert_eq!(view.bases[&attempt.task.job].digest, *base, "a task starts from other weights");
                self.cut(view, attempt.task, rows);
                self.dispatch(view, *link, *attempt, *may_reject, nodes);
            }
            Action::Cancel { link, attempt } => {
                let ended = self.end(*link, attempt);
                assert_eq!(ended.map(|out| out.attempt), Some(*attempt), "what is not out is cancelled");
            }
            Action::Accumulate { link, attempt, update, rows, blocks } => {
                let told = self.told.take().filter(|_| self.is_live);
                assert_eq!(told, Some((*link, *attempt, *update)), "what nobody was asked for is merged");
                let (plan, units) = (view.scenario.job(attempt.task.job), self.cuts.units(attempt.task));
                let unit_rows = plan.steps.rows(attempt.task.step, units.iter().copied());
                assert_eq!((*rows, *blocks), (unit_rows, units.len() as u32), "a result has another weight");
                let won = (nodes.links[link], attempt.attempt, *update);
                assert!(self.settled.insert(attempt.task, Some(won)).is_none(), "a task is merged twice");
                self.merging.insert(attempt.task);
            }
            Action::Discard { link, attempt, update } => {
                assert_eq!(self.told.take(), Some((*link, *attempt, *update)), "another result is freed than was told");
            }
            &Action::FinishStep { job, step, rows } => {
                self.assert_follows(view, job, step);
                let done = self.done(view, job, step);
                assert!(rows > 0 && rows == u64::from(done.rows), "{rows} rows divide the sum of {}", done.rows);
                let is_in = !self.merging.iter().any(|task| task.job == job);
                assert!(is_in, "the step ends before its results are in");
                self.assert_nothing_is_out(job);
                self.note_cut(view, job, step, &done);
            }
            Action::Persist { job, record } => self.assert_written(view, *job, record),
            Action::DropLink { link, .. } => self.lose(*link),
            Action::Suspend { job } | Action::ReleaseJob { job } => self.assert_nothing_is_out(*job),
            &Action::Report { job, event: JobEvent::Notice(Notice::TaskSkipped { place, .. }) } => {
                let task = self.skipped(view, job, place);
                assert_eq!(view.scenario.job(job).on_task_failure, OnTaskFailure::Skip);
                assert!(!self.out.iter().any(|out| out.attempt.task == task), "a task is skipped while it is out");
                assert!(self.settled.insert(task, None).is_none(), "a task is done, and skipped");
                self.assert_hopeless(view, nodes, task);
            }
            &Action::Report { job, event: JobEvent::Notice(Notice::DigestMismatch { place, merged, other, .. }) } => {
                let task = self.about.expect("a result that came differs");
                assert_eq!((task.job, place), (job, self.told_as(view, task)), "people are told of another task");
                let won = self.settled.get(&task).copied().flatten();
                assert_eq!(won.map(|(.., update)| update), Some(merged), "nothing differs from what is none");
                assert!(model::is_made_up(merged) || model::is_made_up(other), "an alarm for nothing");
            }
            _ => {}
        }
    }

    pub fn after(&mut self, view: View, event: &Event, running: &[JobId], nodes: &Nodes) {
        assert_eq!(self.told, None, "a result is neither merged nor freed");
        if matches!(event, Event::Trained { .. }) {
            let before = std::mem::replace(&mut self.stale_results, view.engine.status().stale_results);
            assert!(!self.is_stale || self.stale_results > before, "a result of before a crash is not called stale");
        }
        // One of several may wait a moment for another.
        if let [job] = running[..]
            && let Some(step) = step_under_way(view, job)
        {
            // Once the first step's weights are made. What nodes hold of a job is waited for, if the coordinator was away.
            let is_ready = self.cuts.has_sent(job) && !self.restored.contains(&job) && self.out.is_empty();
            let is_ready = is_ready && nodes.has_helper(view.scenario, job);
            assert!(
                !is_ready || self.cuts.has_begun(job, step),
                "step {step} has begun, and nobody is given any of it"
            );
        }
        let is_idle = self.out.is_empty() && running.iter().any(|job| nodes.has_helper(view.scenario, *job));
        self.idle_since_us = is_idle.then(|| self.idle_since_us.unwrap_or(view.now_us));
        assert!(self.idle_since_us.is_none_or(|since_us| view.now_us - since_us < IDLE_US_MAX), "nothing happens");
    }

    /// The steps before this one are over.
    fn assert_follows(&self, view: View, job: JobId, step: u64) {
        let known = view.bases[&job].step;
        assert!(known <= step, "step {step} is gone through again");
        assert!((known..step).all(|before| self.is_left_out(view, job, before)), "step {step} comes too early");
    }

    /// A task has its units, and no other has them.
    fn cut(&mut self, view: View, task: TaskId, rows: &TaskRows) {
        let plan = view.scenario.job(task.job);
        let Tasks { cuts, out, settled, failures, noted, .. } = self;
        let is_busy = |task| settled.contains_key(&task) || out.iter().any(|out| out.attempt.task == task);
        if let Sent::Part(whole) = cuts.sent(plan, task, rows, is_busy) {
            let is_single = cuts.units(task).len() == 1;
            let has_failed = failures.iter().any(|(failed, _)| *failed == whole);
            let is_given_up = plan.on_task_failure == OnTaskFailure::Skip && is_single && has_failed;
            assert!(cuts.is_void(whole) || is_given_up, "a task is split for no reason");
            noted.push(if cuts.is_void(whole) { "tasks split after a loss" } else { "tasks split into single blocks" });
        }
    }

    /// What people are told a task is.
    fn told_as(&self, view: View, task: TaskId) -> Place {
        let (steps, units) = (&view.scenario.job(task.job).steps, self.cuts.units(task));
        match units {
            [first, .., last] | [first @ last] if steps.merge_gradients() => {
                Place::Blocks { step: task.step, first: *first, last: *last }
            }
            _ => Place::Shard { round: (task.step / steps.of_round()) as u32, shard: task.shard },
        }
    }

    /// The task that is left out: one of a single unit of the step under way.
    fn skipped(&mut self, view: View, job: JobId, place: Place) -> TaskId {
        if let Place::Blocks { first, last, .. } = place {
            assert_eq!(first, last, "more than a block is left out");
            self.noted.push("blocks skipped");
        }
        self.of_place(view, job, place)
    }

    /// The task of the step under way that people are told of.
    pub fn of_place(&self, view: View, job: JobId, place: Place) -> TaskId {
        let task = match place {
            Place::Shard { shard, .. } => TaskId { job, step: view.bases[&job].step, shard },
            Place::Blocks { step, first, last } => {
                self.cuts.whole(job, step, first, last).expect("blocks that nobody was asked for by themselves")
            }
        };
        assert_eq!(place, self.told_as(view, task), "people are told of another task");
        task
    }

    /// What is written of steps is what came of them.
    fn assert_written(&self, view: View, job: JobId, record: &Record) {
        let steps = &view.scenario.job(job).steps;
        let before = view.journal.progress(job);
        let first = before.map_or(0, |progress| progress.steps);
        let mut nodes: BTreeSet<String> = before.iter().flat_map(|before| before.so_far.nodes.clone()).collect();
        let mut shares: BTreeMap<String, u64> = BTreeMap::new();
        for share in before.iter().flat_map(|before| &before.nodes) {
            shares.insert(share.node.clone(), share.tasks);
        }
        let of_step = if steps.merge_gradients() { 1 } else { steps.shard_rows.len() };
        for (step, entries) in (first..record.progress.steps).zip(record.entries.chunks(of_step)) {
            let done = self.done(view, job, step);
            for (task, (node, ..)) in &done.won {
                nodes.insert(name(*node));
                *shares.entry(name(*node)).or_default() += self.cuts.units(*task).len() as u64;
            }
            let is_right = match entries {
                [LedgerEntry { rows, base, result: EntryResult::Step(step) }] if steps.merge_gradients() => {
                    (rows, step) == (&done.rows, &done.step(*base))
                }
                entries => done.are(entries),
            };
            assert!(is_right, "step {step} is not written as it was: {entries:?}");
        }
        let told = record.progress.nodes.iter().map(|share| (share.node.clone(), share.tasks));
        assert_eq!(told.collect::<BTreeMap<_, _>>(), shares, "the nodes' shares are wrong");
        match record.progress.last.filter(|_| record.ends_round) {
            Some(last) => assert_eq!(last.nodes as usize, nodes.len()),
            None => assert!(record.progress.so_far.nodes.iter().eq(&nodes), "{nodes:?} have done of the round so far"),
        }
    }

    /// A step of blocks is cut into as many tasks as are asked for, if they are, and into more after losses. Counts what became of it.
    fn note_cut(&mut self, view: View, job: JobId, step: u64, done: &StepDone) {
        let steps = &view.scenario.job(job).steps;
        if let Kind::Gradients { tasks_per_step, is_median, .. } = steps.kind {
            let count = self.cuts.counting(job, step);
            let units = steps.units(step).len();
            let asked_for = tasks_per_step.map_or(1, |tasks| units.min(tasks as usize));
            let asked_for = if is_median { units } else { asked_for };
            self.noted.extend(is_median.then_some("steps of which each block is a task"));
            assert!(count >= asked_for, "step {step} is cut into {count} tasks, not {asked_for}");
            let before = self.last_cuts.insert(job, count);
            if before.is_some_and(|before| before != count) && !is_median {
                self.noted.push("steps cut otherwise than the one before");
            }
            self.noted.extend((!done.skipped.is_empty()).then_some("steps of which some blocks are merged"));
        }
    }

    fn dispatch(&mut self, view: View, link: LinkKey, attempt: Attempt, may_reject: bool, nodes: &Nodes) {
        assert!(!self.settled.contains_key(&attempt.task), "a task that is done is sent");
        let node = nodes.helpers(view.scenario, attempt.task.job).find(|(helper, _)| *helper == link);
        let (_, node) = node.expect("a task goes to a node that is not there, or may not work");
        let on_link = self.out.iter().filter(|out| out.link == link);
        let (busy, all) = (on_link.clone().filter(|out| !out.is_coming).count(), on_link.count());
        let workers = view.scenario.node(node).workers as usize;
        // A task that must be taken may wait at the node.
        let may_choose = view.scenario.settings.policy == Policy::LoadBalancing;
        let has_room = busy < workers && all < 2 * workers;
        assert!(!may_reject || may_choose && has_room, "a node gets more than it has workers for");
        let is_reluctant = self.reluctant_until_us.get(&link).is_some_and(|until_us| view.now_us < *until_us);
        assert!(!may_reject || !is_reluctant, "a node is offered a task before the moment that it has named");
        self.is_overlap = may_reject && all >= workers;
        let others = self.out.iter().filter(|out| out.link == link && out.attempt.task.job != attempt.task.job);
        self.noted.extend((others.count() > 0).then_some("tasks sent behind those of another job"));
        let copies = self.out.iter().filter(|out| out.attempt.task == attempt.task);
        assert!(copies.clone().all(|out| out.link != link), "a node has a task twice");
        self.noted.extend((copies.count() > 1).then_some("copies of copies"));
        assert!(self.sent.insert(attempt.token), "a token is used twice");
        let is_of_blocks = view.scenario.job(attempt.task.job).steps.merge_gradients();
        self.out.push(Out { link, node, attempt, may_reject, is_coming: false, is_of_blocks });
    }

    fn assert_nothing_is_out(&self, job: JobId) {
        assert!(!self.out.iter().any(|out| out.attempt.task.job == job), "tasks are out at the end of a round or job");
    }

    fn fail(&mut self, ended: Option<Out>, times: u32) {
        (0..times).for_each(|_| self.failures.extend(ended.iter().map(|out| (out.attempt.task, out.node))));
    }

    /// Takes an attempt off what is out, if it is. One of an earlier life of its job may have its name, and has another token.
    fn end(&mut self, link: LinkKey, attempt: &Attempt) -> Option<Out> {
        let place = self.out.iter().position(|out| (out.link, out.attempt) == (link, *attempt));
        place.map(|place| self.out.remove(place))
    }
}

//! Every task of a round is merged once, or skipped where the job allows it: by the first valid result of an attempt that is out.
//! Owns what is out, and what came of each task of the running job.

use std::collections::{BTreeMap, BTreeSet};

use gradwire::digest::Digest;
use gradwire::engine::{Action, Event, Fault, JobEvent, LinkKey, NodeKey, Notice, Policy};
use gradwire::job::{Attempt, JobId, MergedTask, OnTaskFailure, TaskId};

use super::View;
use super::nodes::Nodes;
use crate::model;
use crate::scenario::{name, rows};
use crate::world::Base;

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
}

/// The result that was accepted: whose it is, of which dispatch, the update.
type Won = (NodeKey, u32, Digest);

#[derive(Default)]
pub struct Tasks {
    out: Vec<Out>,
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
    /// Whether the last one went to a node whose workers would all be busy if an update on its way were still in training.
    pub is_overlap: bool,
}

impl Tasks {
    /// Whether nothing is out.
    pub fn are_over(&self) -> bool {
        self.out.is_empty()
    }

    /// Whose answer would be taken for that to another question: the attempt that is out over this link has the same name and
    /// another token.
    pub fn mistaken(&self, link: LinkKey, attempt: &Attempt) -> Option<NodeKey> {
        let out = &self.out[self.place(link, attempt)?];
        (out.attempt.token != attempt.token).then_some(out.node)
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

    pub fn before(&mut self, event: &Event, nodes: &mut Nodes) {
        match event {
            Event::LinkDown { link, .. } => self.out.retain(|out| out.link != *link),
            Event::UpdateComing { link, attempt } => {
                let coming = self.out.iter_mut().filter(|out| out.link == *link && out.attempt == *attempt);
                coming.for_each(|out| out.is_coming = true);
            }
            Event::Trained { link, attempt, result } => {
                let ended = self.end(*link, attempt);
                self.told = Some((*link, *attempt, result.update));
                self.is_live = ended.as_ref().is_some_and(|out| out.attempt.token == attempt.token);
                self.is_stale = ended.is_none() && !self.sent.contains(&attempt.token);
                self.fail(ended, u32::from(!self.is_live));
            }
            Event::Rejected { link, attempt, .. } => {
                let ended = self.end(*link, attempt).filter(|out| !out.may_reject);
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
            Action::Prepare { .. } => {
                (self.settled, self.merging, self.failures) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
            }
            Action::Dispatch { link, attempt, base, may_reject } => {
                let sent = Base { step: attempt.task.step, digest: *base };
                assert_eq!(view.bases[&attempt.task.job], sent, "a task starts from other weights");
                self.dispatch(view, *link, *attempt, *may_reject, nodes);
            }
            Action::Cancel { link, attempt } => {
                let ended = self.end(*link, attempt);
                assert_eq!(ended.map(|out| out.attempt), Some(*attempt), "what is not out is cancelled");
            }
            Action::Accumulate { link, attempt, update, rows: sent_rows } => {
                let told = self.told.take().filter(|_| self.is_live);
                assert_eq!(told, Some((*link, *attempt, *update)), "what nobody was asked for is merged");
                assert_eq!(*sent_rows, rows(attempt.task.shard));
                let won = (nodes.links[link], attempt.attempt, *update);
                assert!(self.settled.insert(attempt.task, Some(won)).is_none(), "a task is merged twice");
                self.merging.insert(attempt.task);
            }
            Action::Discard { link, attempt, update } => {
                assert_eq!(self.told.take(), Some((*link, *attempt, *update)), "another result is freed than was told");
            }
            Action::FinishRound { job, step, rows: sum_rows } => {
                let task = |shard| TaskId { job: *job, step: *step, shard };
                let came_of = |shard| self.settled.get(&task(shard)).expect("a task is neither merged nor skipped");
                let merged = (0..view.scenario.job(*job).shards).filter(|&shard| came_of(shard).is_some());
                let merged_rows: u64 = merged.map(|shard| u64::from(rows(shard))).sum();
                assert!(*sum_rows > 0 && *sum_rows == merged_rows, "{sum_rows} rows divide the sum of {merged_rows}");
                assert!(self.merging.is_empty(), "the round ends before its results are in");
                self.assert_nothing_is_out(*job);
            }
            Action::Persist { job, record } => {
                for (written, shard) in record.tasks.iter().zip(0..) {
                    let won = self.settled[&TaskId { job: *job, step: record.progress.last.step(), shard }];
                    let as_written = |task: &MergedTask| (task.node.clone(), task.attempt, task.update);
                    let won = won.map(|(node, attempt, update)| (name(node), attempt, update));
                    assert_eq!(written.as_ref().map(as_written), won, "shard {shard} is not written as it was");
                }
            }
            Action::DropLink { link, .. } => self.out.retain(|out| out.link != *link),
            Action::Suspend { job } | Action::ReleaseJob { job } => self.assert_nothing_is_out(*job),
            &Action::Report { job, event: JobEvent::Notice(Notice::TaskSkipped { step, shard, .. }) } => {
                let task = TaskId { job, step, shard };
                assert_eq!(view.scenario.job(job).on_task_failure, OnTaskFailure::Skip);
                assert!(!self.out.iter().any(|out| out.attempt.task == task), "a task is skipped while it is out");
                assert!(self.settled.insert(task, None).is_none(), "a task is done, and skipped");
                self.assert_hopeless(view, nodes, task);
            }
            &Action::Report {
                job,
                event: JobEvent::Notice(Notice::DigestMismatch { step, shard, merged, other, .. }),
            } => {
                let won = self.settled.get(&TaskId { job, step, shard }).copied().flatten();
                assert_eq!(won.map(|(.., update)| update), Some(merged), "nothing differs from what is none");
                assert!(model::is_made_up(merged) || model::is_made_up(other), "an alarm for nothing");
            }
            _ => {}
        }
    }

    pub fn after(&mut self, view: View, event: &Event, running: Option<JobId>, nodes: &Nodes) {
        assert_eq!(self.told, None, "a result is neither merged nor freed");
        if matches!(event, Event::Trained { .. }) {
            let before = std::mem::replace(&mut self.stale_results, view.engine.status().stale_results);
            assert!(!self.is_stale || self.stale_results > before, "a result of before a crash is not called stale");
        }
        let is_idle = self.out.is_empty() && running.is_some_and(|job| nodes.has_helper(view.scenario, job));
        self.idle_since_us = is_idle.then(|| self.idle_since_us.unwrap_or(view.now_us));
        assert!(self.idle_since_us.is_none_or(|since_us| view.now_us - since_us < IDLE_US_MAX), "nothing happens");
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
        self.is_overlap = may_reject && all >= workers;
        let mut copies = self.out.iter().filter(|out| out.attempt.task == attempt.task);
        assert!(copies.next().is_none_or(|out| out.link != link) && copies.next().is_none(), "too many copies are out");
        assert!(self.sent.insert(attempt.token), "a token is used twice");
        self.out.push(Out { link, node, attempt, may_reject, is_coming: false });
    }

    fn assert_nothing_is_out(&self, job: JobId) {
        assert!(!self.out.iter().any(|out| out.attempt.task.job == job), "tasks are out at the end of a round or job");
    }

    fn fail(&mut self, ended: Option<Out>, times: u32) {
        (0..times).for_each(|_| self.failures.extend(ended.iter().map(|out| (out.attempt.task, out.node))));
    }

    /// Where an attempt is among those that are out, whatever its token.
    fn place(&self, link: LinkKey, attempt: &Attempt) -> Option<usize> {
        let name = (link, attempt.task, attempt.attempt);
        self.out.iter().position(|out| (out.link, out.attempt.task, out.attempt.attempt) == name)
    }

    fn end(&mut self, link: LinkKey, attempt: &Attempt) -> Option<Out> {
        self.place(link, attempt).map(|place| self.out.remove(place))
    }
}

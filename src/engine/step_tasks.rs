//! One step's book: its tasks, their attempts, what became of each. Owns the rule that a task is merged at most once, and that
//! no block is in two tasks; does not know nodes beyond their keys, policies, or when a step begins and ends.
//!
//! | file | owns |
//! |---|---|
//! | this one | the tasks of a step together, and which of them wait for what |
//! | `task` | one task |

mod task;

use std::collections::BTreeSet;
use std::ops::Range;

use super::link::Assignment;
use super::nodes::{LinkKey, NodeKey};
use super::plan::Units;
use super::time::Time;
use crate::digest::Digest;
use crate::job::{Attempt, JobId, TaskId, TaskRows};

use task::TaskIndex;
pub(super) use task::{Live, Standing, Task, TaskState, Won};

/// Whose a result is that a link claims to be of an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) enum Claim {
    /// Of an attempt that is out over this link.
    Live(Live),
    /// Of an attempt that was out over this link, and ended.
    Retired(Live),
    /// Of nothing known: of an earlier life of the job, perhaps, whose attempts had the same numbers and other tokens.
    Unknown,
}

/// A step's tasks.
#[derive(Debug)]
pub(super) struct StepTasks {
    job: JobId,
    step: u64,
    units: Units,
    tasks: Vec<Task>,
    /// Open tasks with nothing out, that no node has turned down or failed.
    fresh: BTreeSet<u32>,
    /// Those of them that may be split for whoever is there.
    uncut: BTreeSet<u32>,
    /// Open tasks with nothing out, that some node has.
    marked: BTreeSet<u32>,
    /// Open tasks with something out: the first is the one of which nothing was sent for the longest time.
    out: BTreeSet<(Time, u32)>,
    settled: usize,
}

impl StepTasks {
    /// A step with everything pending.
    pub(super) fn new(job: JobId, step: u64, units: Units) -> StepTasks {
        let is_uncut = units.are_cut_freely();
        let tasks: Vec<Task> =
            units.uncut().into_iter().map(|part| Task::new(part.clone(), units.rows(&part), is_uncut)).collect();
        let count = tasks.len() as u32;
        let [fresh, uncut, marked] = [const { BTreeSet::new() }; 3];
        let out = BTreeSet::new();
        let mut step_tasks = StepTasks { job, step, units, tasks, fresh, uncut, marked, out, settled: 0 };
        (0..count).for_each(|number| step_tasks.refresh(number));
        step_tasks
    }

    /// What the step consists of.
    pub(super) fn units(&self) -> &Units {
        &self.units
    }

    /// What a node is to be told of a task's rows.
    pub(super) fn task_rows(&self, shard: u32) -> TaskRows {
        self.units.task_rows(&self.tasks[shard as usize].units)
    }

    /// The pending tasks that may be split for whoever is there.
    pub(super) fn uncut(&self) -> Vec<u32> {
        self.uncut.iter().copied().collect()
    }

    /// Puts tasks of these blocks, which are its own, in the place of an open one of which nothing is out; their numbers.
    pub(super) fn split(&mut self, shard: u32, parts: Vec<Range<u32>>) -> Range<u32> {
        let task = &mut self.tasks[shard as usize];
        debug_assert!(matches!(task.state, TaskState::Open) && task.live.is_empty());
        debug_assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), task.units.len());
        if parts.len() <= 1 {
            task.is_uncut = false;
            self.refresh(shard);
            return shard..shard + 1;
        }
        task.state = TaskState::Split;
        self.settled += 1;
        self.refresh(shard);
        let first = self.tasks.len() as u32;
        for part in parts {
            let rows = self.units.rows(&part);
            self.tasks.push(Task::new(part, rows, false));
            self.refresh(self.tasks.len() as u32 - 1);
        }
        first..self.tasks.len() as u32
    }

    pub(super) fn job(&self) -> JobId {
        self.job
    }

    pub(super) fn step(&self) -> u64 {
        self.step
    }

    pub(super) fn all(&self) -> &[Task] {
        &self.tasks
    }

    /// The task of a shard that the engine itself named.
    pub(super) fn task(&self, shard: u32) -> &Task {
        &self.tasks[shard as usize]
    }

    /// Rows of a task.
    pub(super) fn rows(&self, shard: u32) -> u32 {
        self.tasks[shard as usize].rows
    }

    /// The first pending task that no node has turned down or failed.
    pub(super) fn first_fresh(&self) -> Option<u32> {
        self.fresh.first().copied()
    }

    /// Whether a task is pending that no node has turned down or failed.
    pub(super) fn is_fresh(&self, shard: u32) -> bool {
        self.fresh.contains(&shard)
    }

    /// Pending tasks that some node has turned down or failed.
    pub(super) fn marked(&self) -> Vec<u32> {
        self.marked.iter().copied().collect()
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.fresh.is_empty() || !self.marked.is_empty()
    }

    /// `count` open tasks with something out, first those of which nothing was sent for the longest time.
    pub(super) fn out(&self, count: usize) -> Vec<u32> {
        self.out.iter().take(count).map(|&(_, shard)| shard).collect()
    }

    /// Open tasks with something out.
    pub(super) fn count_out(&self) -> usize {
        self.out.len()
    }

    /// Units merged or skipped.
    pub(super) fn units_settled(&self) -> u32 {
        let is_done = |task: &&Task| matches!(task.state, TaskState::Merged(_) | TaskState::Skipped);
        self.tasks.iter().filter(is_done).map(|task| task.units.len() as u32).sum()
    }

    /// The numbers of the units that are skipped, ascending.
    pub(super) fn units_skipped(&self) -> Vec<u32> {
        let skipped = self.tasks.iter().filter(|task| matches!(task.state, TaskState::Skipped));
        let mut units: Vec<u32> = skipped.flat_map(|task| task.units.clone()).collect();
        units.sort_unstable();
        units
    }

    pub(super) fn is_half_settled(&self) -> bool {
        self.settled * 2 >= self.tasks.len()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled == self.tasks.len()
    }

    /// The attempt of this step as the outside knows it.
    pub(super) fn attempt(&self, shard: u32, live: &Live) -> Attempt {
        let task = TaskId { job: self.job, step: self.step, shard };
        Attempt { task, attempt: live.number, token: live.token }
    }

    /// Notes an attempt that is being sent; `live` comes back with its number.
    pub(super) fn begin_attempt(&mut self, shard: u32, mut live: Live) -> Live {
        let task = &mut self.tasks[shard as usize];
        task.attempts += 1;
        live.number = task.attempts;
        task.live.push(live);
        self.refresh(shard);
        live
    }

    /// Notes that an attempt that is out is trained, and its update on its way.
    pub(super) fn update_coming(&mut self, shard: u32, number: u32, now: Time) {
        let mut live = self.tasks[shard as usize].live.iter_mut();
        if let Some(live) = live.find(|live| live.number == number) {
            live.trained.get_or_insert(now);
        }
    }

    /// Whose a result is that `link` claims to be of `attempt` of this step.
    pub(super) fn claim(&self, link: LinkKey, attempt: &Attempt) -> Claim {
        let Some(task) = self.tasks.get(attempt.task.shard as usize) else { return Claim::Unknown };
        let is_it = |live: &&Live| (live.link, live.number, live.token) == (link, attempt.attempt, attempt.token);
        let live = task.live.iter().find(is_it).map(|live| Claim::Live(*live));
        let retired = || task.retired.iter().find(is_it).map(|live| Claim::Retired(*live));
        live.or_else(retired).unwrap_or(Claim::Unknown)
    }

    /// An attempt ended and its link is up: a result of it may still come.
    pub(super) fn retire(&mut self, shard: u32, number: u32) {
        let ended = self.remove(shard, number);
        self.tasks[shard as usize].retired.extend(ended);
    }

    /// An attempt ended with its link: nothing of it will come. Blocks that are cut freely may be shared anew among those that are
    /// there.
    pub(super) fn void(&mut self, shard: u32, number: u32) {
        self.remove(shard, number);
        let task = &mut self.tasks[shard as usize];
        // Of a task with another attempt a result may still come, and that would be all of it.
        task.is_uncut = self.units.are_cut_freely() && task.live.is_empty();
        self.refresh(shard);
    }

    /// A result goes into the sum. Only an open task takes one.
    pub(super) fn begin_merging(&mut self, shard: u32, won: Won) {
        let task = &mut self.tasks[shard as usize];
        debug_assert!(matches!(task.state, TaskState::Open));
        task.state = TaskState::Merging(won);
        self.refresh(shard);
    }

    /// The result on its way into the sum is in it. None if none was on its way.
    pub(super) fn merged(&mut self, shard: u32) -> Option<Won> {
        let task = self.tasks.get_mut(shard as usize)?;
        let TaskState::Merging(won) = task.state.clone() else { return None };
        task.state = TaskState::Merged(won.clone());
        self.settled += 1;
        Some(won)
    }

    /// Keeps a result in mind that came while another is on its way into the sum; false if none is.
    pub(super) fn keep_beside(&mut self, shard: u32, live: Live, update: Digest) -> bool {
        let task = &mut self.tasks[shard as usize];
        let is_merging = matches!(task.state, TaskState::Merging(_));
        if is_merging {
            task.beside.push((live, update));
        }
        is_merging
    }

    /// Results that came while the one that is in the sum now was on its way.
    pub(super) fn take_beside(&mut self, shard: u32) -> Vec<(Live, Digest)> {
        std::mem::take(&mut self.tasks[shard as usize].beside)
    }

    /// The result on its way into the sum cannot be summed: the task is open again. None if none was on its way.
    pub(super) fn merge_refused(&mut self, shard: u32) -> Option<Won> {
        let task = self.tasks.get_mut(shard as usize)?;
        let TaskState::Merging(won) = task.state.clone() else { return None };
        task.state = TaskState::Open;
        // Nothing follows from how they differ from what is none.
        task.beside.clear();
        task.refused.push((won.attempt.node, won.result.update));
        self.refresh(shard);
        Some(won)
    }

    /// The result of a merged task is lost: the task is open again. None if it was not merged.
    pub(super) fn reopen(&mut self, shard: u32) -> Option<Won> {
        let task = self.tasks.get_mut(shard as usize)?;
        let TaskState::Merged(won) = task.state.clone() else { return None };
        task.state = TaskState::Open;
        self.settled -= 1;
        self.refresh(shard);
        Some(won)
    }

    /// Leaves an open task with nothing out out of the step.
    pub(super) fn skip(&mut self, shard: u32) {
        let task = &mut self.tasks[shard as usize];
        debug_assert!(matches!(task.state, TaskState::Open) && task.live.is_empty());
        task.state = TaskState::Skipped;
        self.settled += 1;
        self.refresh(shard);
    }

    /// Notes what a node has done; a standing never gets better within a step.
    pub(super) fn mark(&mut self, shard: u32, node: NodeKey, standing: Standing) {
        let task = &mut self.tasks[shard as usize];
        match task.standings.iter_mut().find(|(key, _)| *key == node) {
            Some((_, old)) => *old = standing.max(*old),
            None => task.standings.push((node, standing)),
        }
        self.refresh(shard);
    }

    /// Counts a failure; doubted nodes are not asked again before `not_before`.
    pub(super) fn count_failure(&mut self, shard: u32, reason: String, not_before: Time) {
        self.tasks[shard as usize].failures += 1;
        self.pause(shard, reason, not_before);
    }

    /// Notes why doubted nodes are not asked again before `not_before`.
    pub(super) fn pause(&mut self, shard: u32, reason: String, not_before: Time) {
        let task = &mut self.tasks[shard as usize];
        (task.reason, task.not_before) = (reason, not_before);
    }

    /// The nodes to blame for updates that were refused, now that the task has been done well. Two nodes that gave the same
    /// update vouch for each other.
    pub(super) fn take_culprits(&mut self, shard: u32) -> Vec<NodeKey> {
        let refused = std::mem::take(&mut self.tasks[shard as usize].refused);
        let is_alone =
            |(node, update): &&(NodeKey, Digest)| refused.iter().all(|(other, same)| other == node || same != update);
        refused.iter().filter(is_alone).map(|(node, _)| *node).collect()
    }

    /// Rows that are in the sum.
    pub(super) fn rows_merged(&self) -> u64 {
        self.merged_tasks().map(|(shard, _)| u64::from(self.rows(shard))).sum()
    }

    /// Merged tasks in the order of their numbers.
    pub(super) fn merged_tasks(&self) -> impl Iterator<Item = (u32, &Won)> {
        let merged =
            |(shard, task): (usize, &'_ Task)| matches!(task.state, TaskState::Merged(_)).then_some(shard as u32);
        let shards = self.tasks.iter().enumerate().filter_map(merged);
        shards.filter_map(|shard| self.task(shard).won().map(|won| (shard, won)))
    }

    fn remove(&mut self, shard: u32, number: u32) -> Option<Live> {
        let live = &mut self.tasks[shard as usize].live;
        let index = live.iter().position(|live| live.number == number)?;
        let ended = live.remove(index);
        self.refresh(shard);
        Some(ended)
    }

    /// Puts a task into the index that its state calls for. Runs after every change of a task.
    fn refresh(&mut self, shard: u32) {
        let task = &mut self.tasks[shard as usize];
        let place = match (&task.state, task.live.as_slice()) {
            (TaskState::Open, []) if task.standings.is_empty() => TaskIndex::Fresh,
            (TaskState::Open, []) => TaskIndex::Marked,
            (TaskState::Open, [.., youngest]) => TaskIndex::Out(youngest.started),
            _ => TaskIndex::None,
        };
        if place == TaskIndex::Fresh && task.is_uncut {
            self.uncut.insert(shard);
        } else {
            self.uncut.remove(&shard);
        }
        match std::mem::replace(&mut task.place, place) {
            TaskIndex::None => {}
            TaskIndex::Fresh => drop(self.fresh.remove(&shard)),
            TaskIndex::Marked => drop(self.marked.remove(&shard)),
            TaskIndex::Out(started) => drop(self.out.remove(&(started, shard))),
        }
        match place {
            TaskIndex::None => {}
            TaskIndex::Fresh => drop(self.fresh.insert(shard)),
            TaskIndex::Marked => drop(self.marked.insert(shard)),
            TaskIndex::Out(started) => drop(self.out.insert((started, shard))),
        }
    }

    /// Everything that is out: over which link, since when, of which shard, under which number.
    pub(super) fn live(&self) -> impl Iterator<Item = (LinkKey, Assignment)> {
        let job = self.job;
        let tasks = self.tasks.iter().zip(0..);
        tasks.flat_map(move |(task, shard)| {
            task.live.iter().map(move |live| (live.link, (live.started, job, shard, live.number)))
        })
    }

    /// Everything that must hold between two events.
    pub(super) fn check(&self) {
        let whole: u32 = self
            .tasks
            .iter()
            .filter(|task| !matches!(task.state, TaskState::Split))
            .map(|task| task.units.len() as u32)
            .sum();
        debug_assert_eq!(whole, self.units.count(), "a block is in two tasks, or in none");
        debug_assert_eq!(self.settled, self.tasks.iter().filter(|task| task.is_settled()).count());
        for task in &self.tasks {
            let of_a_node_each = task.live.iter().map(|live| live.node).collect::<BTreeSet<_>>();
            debug_assert_eq!(of_a_node_each.len(), task.live.len(), "two attempts of a task are out at one node");
            debug_assert!(!task.is_settled() || task.live.is_empty(), "an attempt of a settled task is out");
        }
    }
}

//! Every unit of a step, be it a shard or a block, is in exactly one task that counts, however often the step is cut anew. Owns
//! which units each task has that was sent, and which tasks have given theirs to others.

use std::collections::BTreeMap;

use gradwire::job::{JobId, TaskId, TaskRows};

use crate::scenario::JobPlan;

/// A task's share of its step.
struct Cut {
    rows: TaskRows,
    /// Their numbers in the step.
    units: Vec<u32>,
    /// The link is gone over which it was out last: it may be cut anew.
    is_void: bool,
    /// Other tasks have its units.
    is_split: bool,
}

#[derive(Default)]
pub struct Cuts {
    tasks: BTreeMap<TaskId, Cut>,
}

/// What a task that is sent is.
pub enum Sent {
    /// It was sent before.
    Again,
    /// It takes units that no task had that was sent.
    First,
    /// Another task has given it some of its own.
    Part(TaskId),
}

impl Cuts {
    /// A task is sent. `is_busy` tells of which tasks something is out, or merged, or left out.
    pub fn sent(&mut self, plan: &JobPlan, task: TaskId, rows: &TaskRows, is_busy: impl Fn(TaskId) -> bool) -> Sent {
        if let Some(cut) = self.tasks.get_mut(&task) {
            assert!(!cut.is_split, "a task is sent whose units others have");
            assert_eq!(cut.rows, *rows, "a copy, or a further try, has other units");
            cut.is_void = false;
            return Sent::Again;
        }
        let units = plan.steps.numbers(task.step, rows);
        assert!(!units.is_empty(), "a task has nothing to do");
        assert!(
            !plan.steps.are_single() || units == [task.shard],
            "a task has another one's shard, or more than its block"
        );
        let mut whole = Sent::First;
        for (&other, cut) in self.of_step_mut(task.job, task.step).filter(|(_, cut)| !cut.is_split) {
            if units.iter().any(|unit| cut.units.contains(unit)) {
                assert!(!is_busy(other), "a unit is in two tasks");
                assert!(units.iter().all(|unit| cut.units.contains(unit)), "a part is more than what it is a part of");
                assert!(units.len() < cut.units.len(), "a task is split into itself");
                cut.is_split = true;
                whole = Sent::Part(other);
            }
        }
        self.tasks.insert(task, Cut { rows: rows.clone(), units, is_void: false, is_split: false });
        whole
    }

    /// The link is gone over which a task was out, and it is out over no other.
    pub fn lost(&mut self, task: TaskId) {
        self.tasks.get_mut(&task).into_iter().for_each(|cut| cut.is_void = true);
    }

    /// A job begins, or goes on: what was sent of it before counts for nothing.
    pub fn forget(&mut self, job: JobId) {
        self.tasks.retain(|task, _| task.job != job);
    }

    pub fn is_void(&self, task: TaskId) -> bool {
        self.tasks.get(&task).is_some_and(|cut| cut.is_void)
    }

    /// The numbers of a task's units.
    pub fn units(&self, task: TaskId) -> &[u32] {
        self.tasks.get(&task).map_or(&[], |cut| &cut.units)
    }

    /// The task that counts and has just these units.
    pub fn whole(&self, job: JobId, step: u64, first: u32, last: u32) -> Option<TaskId> {
        let mut counting = self.of_step(job, step).filter(|(_, cut)| !cut.is_split);
        counting.find(|(_, cut)| cut.units.iter().copied().eq(first..=last)).map(|(task, _)| *task)
    }

    /// Whether something of a step was ever sent.
    pub fn has_begun(&self, job: JobId, step: u64) -> bool {
        self.of_step(job, step).next().is_some()
    }

    /// Whether something of the job was ever sent.
    pub fn has_sent(&self, job: JobId) -> bool {
        self.tasks.keys().any(|task| task.job == job)
    }

    /// How many tasks count of a step.
    pub fn counting(&self, job: JobId, step: u64) -> usize {
        self.of_step(job, step).filter(|(_, cut)| !cut.is_split).count()
    }

    fn of_step(&self, job: JobId, step: u64) -> impl Iterator<Item = (&TaskId, &Cut)> {
        self.tasks.range(TaskId { job, step, shard: 0 }..=TaskId { job, step, shard: u32::MAX })
    }

    fn of_step_mut(&mut self, job: JobId, step: u64) -> impl Iterator<Item = (&TaskId, &mut Cut)> {
        self.tasks.range_mut(TaskId { job, step, shard: 0 }..=TaskId { job, step, shard: u32::MAX })
    }
}

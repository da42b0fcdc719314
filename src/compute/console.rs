//! What a node's console shows: the node, the jobs that it works for, their tasks, its figures. Owns the words; nothing is
//! decided here.

use super::Shared;
use super::core::Core;
use super::work::Handles;
use crate::job::{JobId, TaskState};
use crate::wire::text::{Align, JobPrefix, Kind, Metrics, Table, counted, number};

impl Shared {
    /// The node and its jobs.
    pub(super) fn status(&self) -> String {
        let (links, cached, reused) = self.driver.look(|core, _| (core.links(), core.cached(), core.reused()));
        format!(
            "compute_node  {}\nworkers       {}\ncoordinators  {links}\nkept          {} bytes\nheld          \
             {}, {reused} reused\n\n{}\n{}",
            env!("CARGO_PKG_VERSION"),
            self.workers,
            self.store.bytes(),
            counted(cached as u64, "result"),
            self.own_line(),
            self.jobs(),
        )
    }

    /// This node, in the columns in which a coordinator lists its nodes.
    pub(super) fn own_line(&self) -> Table {
        use Align::{Left, Right};
        let mut table = Table::new(&[
            ("NODE", Left),
            ("ADDRESS", Left),
            ("STATE", Left),
            ("RUNNING", Right),
            ("WAITING", Right),
            ("DONE", Right),
            ("ROWS/S", Right),
        ]);
        let (counts, state) = self.driver.look(|core, _| (core.counts(), state(core)));
        table.row([
            self.identity.features.name.clone().unwrap_or_default(),
            self.address.to_string(),
            state.to_owned(),
            number(counts.running.into()),
            number(counts.waiting.into()),
            number(counts.done),
            number(counts.rows_per_second as u64),
        ]);
        table
    }

    /// The jobs, the latest first.
    pub(super) fn jobs(&self) -> String {
        use Align::{Left, Right};
        let (jobs, tasks) = self.driver.look(|core, _| {
            let tasks: Vec<(JobId, TaskState)> = core.tasks().map(|task| (task.task.job, task.state)).collect();
            (core.jobs().to_vec(), tasks)
        });
        let mut table = Table::new(&[("JOB", Left), ("RUNNING", Right), ("WAITING", Right), ("DONE", Right)]);
        for job in jobs {
            let count = |state| number(tasks.iter().filter(|task| **task == (job.job, state)).count() as u64);
            let (running, waiting) = (count(TaskState::Running), count(TaskState::Waiting));
            table.row([job.job.to_string(), running, waiting, number(job.done)]);
        }
        table.to_string()
    }

    /// The tasks of the jobs whose ids begin so.
    pub(super) fn job(&self, prefix: JobPrefix) -> String {
        use Align::{Left, Right};
        let (jobs, tasks) = self.driver.look(|core, address| {
            let of_tasks = core.tasks().filter(|task| prefix.begins(task.task.job));
            let tasks: Vec<_> = of_tasks
                .map(|task| (task.task, task.state, task.work.batches(), task.link.and_then(address)))
                .collect();
            (core.jobs().to_vec(), tasks)
        });
        let mut text = String::new();
        for job in jobs.iter().filter(|job| prefix.begins(job.job)) {
            text.push_str(&format!("job   {}\ndone  {}\n\n", job.job, job.done));
            let mut table = Table::new(&[
                ("STEP", Right),
                ("TASK", Right),
                ("STATE", Left),
                ("BATCHES", Right),
                ("OF", Right),
                ("COORDINATOR", Left),
            ]);
            for (task, state, (batches_done, batches_planned), address) in
                tasks.iter().filter(|(task, ..)| task.job == job.job)
            {
                table.row([
                    number(task.step + 1),
                    number(task.shard.into()),
                    if *state == TaskState::Running { "running" } else { "waiting" }.to_owned(),
                    number(*batches_done),
                    number(*batches_planned),
                    address.map_or_else(|| "-".to_owned(), |address| address.to_string()),
                ]);
            }
            text.push_str(&table.to_string());
        }
        if text.is_empty() {
            format!("no job that this node worked for begins with {prefix}; try: jobs\n")
        } else {
            text
        }
    }

    pub(super) fn tell_metrics(&self, out: &mut Metrics) {
        let (counts, links, cached, reused) =
            self.driver.look(|core, _| (core.counts(), core.links(), core.cached(), core.reused()));
        out.single("gradwire_workers", Kind::Gauge, "Tasks that are trained at once.", f64::from(self.workers));
        out.family("gradwire_tasks", Kind::Gauge, "Tasks that are being trained, or wait for data or a worker.");
        out.sample(&[("state", "running")], f64::from(counts.running));
        out.sample(&[("state", "waiting")], f64::from(counts.waiting));
        let help = "Tasks that workers have ended, well or not, whoever is answered.";
        out.single("gradwire_tasks_done_total", Kind::Counter, help, counts.done as f64);
        out.single("gradwire_coordinators", Kind::Gauge, "Coordinators linked.", links as f64);
        let help = "Rows that one worker trains in a second, as measured in the last task.";
        out.single("gradwire_rows_per_second", Kind::Gauge, help, counts.rows_per_second);
        let help = "Results kept in case that they are asked for again.";
        out.single("gradwire_results_held", Kind::Gauge, help, cached as f64);
        let help = "Tasks that another connection had trained, or was training when it ended.";
        out.single("gradwire_results_reused_total", Kind::Counter, help, reused as f64);
        out.single("gradwire_store_bytes", Kind::Gauge, "Bytes of objects kept.", self.store.bytes() as f64);
    }
}

fn state(core: &Core<Handles>) -> &'static str {
    match core.links() {
        _ if core.is_draining() => "draining",
        0 => "idle",
        _ => "linked",
    }
}

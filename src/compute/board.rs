//! Which tasks a node has in hand, and what it has done for which job: what its console shows. Owns that list; does not
//! train, and nothing is decided by it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::workers::Progress;
use crate::job::{JobId, TaskId};
use crate::net::SocketAddr;
use crate::wire::text::{Align, JobPrefix, Table, number};

/// Jobs that are remembered after their last task.
const JOBS_MAX: usize = 64;

/// The tasks in hand.
#[derive(Clone, Default)]
pub(super) struct Board(Arc<Shared>);

#[derive(Default)]
struct Shared {
    next: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tasks: Vec<Task>,
    /// The latest first.
    jobs: Vec<Job>,
}

struct Task {
    key: u64,
    id: TaskId,
    coordinator: SocketAddr,
    progress: Arc<Progress>,
}

struct Job {
    id: JobId,
    done: u64,
}

/// A task's line on the board; wiped when dropped.
pub(super) struct Line {
    board: Board,
    key: u64,
}

impl Board {
    /// Writes a task down.
    pub(super) fn enter(&self, id: TaskId, coordinator: SocketAddr, progress: Arc<Progress>) -> Line {
        let key = self.0.next.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        match state.jobs.iter().position(|job| job.id == id.job) {
            Some(0) => {}
            place => {
                let job = place.map_or(Job { id: id.job, done: 0 }, |place| state.jobs.remove(place));
                state.jobs.insert(0, job);
                state.jobs.truncate(JOBS_MAX);
            }
        }
        state.tasks.push(Task { key, id, coordinator, progress });
        Line { board: self.clone(), key }
    }

    /// The jobs, the latest first.
    pub(super) fn jobs(&self) -> String {
        use Align::{Left, Right};
        let mut table = Table::new(&[("JOB", Left), ("RUNNING", Right), ("WAITING", Right), ("DONE", Right)]);
        let state = self.state();
        for job in &state.jobs {
            let of_job = || state.tasks.iter().filter(|task| task.id.job == job.id);
            let running = of_job().filter(|task| task.is_running()).count();
            let waiting = of_job().count() - running;
            table.row([job.id.to_string(), number(running as u64), number(waiting as u64), number(job.done)]);
        }
        table.to_string()
    }

    /// The tasks of the jobs whose ids begin so.
    pub(super) fn job(&self, prefix: JobPrefix) -> String {
        use Align::{Left, Right};
        let state = self.state();
        let mut text = String::new();
        for job in state.jobs.iter().filter(|job| prefix.begins(job.id)) {
            text.push_str(&format!("job   {}\ndone  {}\n\n", job.id, job.done));
            let mut table = Table::new(&[
                ("ROUND", Right),
                ("SHARD", Right),
                ("STATE", Left),
                ("BATCHES", Right),
                ("OF", Right),
                ("COORDINATOR", Left),
            ]);
            for task in state.tasks.iter().filter(|task| task.id.job == job.id) {
                table.row([
                    number(task.id.step + 1),
                    number(task.id.shard.into()),
                    if task.is_running() { "running" } else { "waiting" }.to_owned(),
                    number(task.progress.batches_done.load(Ordering::Relaxed)),
                    number(task.progress.batches_planned.load(Ordering::Relaxed)),
                    task.coordinator.to_string(),
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

    #[inline(never)] // Locking takes more code than a call, and is done in many places.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    fn is_running(&self) -> bool {
        self.progress.running.load(Ordering::Acquire) != 0
    }
}

impl Line {
    /// The task was trained.
    pub(super) fn done(&self) {
        let mut state = self.board.state();
        let Some(job) = state.tasks.iter().find(|task| task.key == self.key).map(|task| task.id.job) else { return };
        if let Some(job) = state.jobs.iter_mut().find(|other| other.id == job) {
            job.done += 1;
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.board.state().tasks.retain(|task| task.key != self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<&str>> {
        text.lines().map(|line| line.split_whitespace().collect()).collect()
    }

    #[test]
    fn a_task_is_on_the_board_until_it_is_dropped_and_its_job_stays() {
        let board = Board::default();
        let id = |job, shard| TaskId { job: JobId(job), step: 2, shard };
        let coordinator = "127.0.0.1:4000".parse().unwrap();
        let progress = Arc::<Progress>::default();
        let first = board.enter(id(1 << 124, 0), coordinator, progress.clone());
        let second = board.enter(id(1 << 124, 1), coordinator, Arc::default());
        progress.running.store(1, Ordering::Release);
        assert_eq!(words(&board.jobs())[1][1..], ["1", "1", "0"]);
        let prefix = JobPrefix::parse(b"1").unwrap();
        assert_eq!(words(&board.job(prefix))[4], ["3", "0", "running", "0", "0", "127.0.0.1:4000"]);
        first.done();
        drop((first, second));
        assert_eq!(words(&board.jobs())[1][1..], ["0", "0", "1"]);
        assert!(board.job(JobPrefix::parse(b"2").unwrap()).starts_with("no job"));
    }

    #[test]
    fn old_jobs_are_forgotten() {
        let board = Board::default();
        for job in 0..2 * JOBS_MAX as u128 {
            drop(board.enter(
                TaskId { job: JobId(job), step: 0, shard: 0 },
                "127.0.0.1:1".parse().unwrap(),
                Arc::default(),
            ));
        }
        assert_eq!(board.jobs().lines().count(), 1 + JOBS_MAX);
    }
}

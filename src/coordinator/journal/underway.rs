//! Heavy steps of jobs, noted before they are taken and struck out behind them: what a coordinator that died did then. Owns the
//! notes, how often a step was the last of a coordinator's life, and which steps wait for others; does not know how heavy a step
//! is, or why it is taken.
//!
//! Of two jobs whose steps were under way when a coordinator died one may be innocent, and nobody can tell which. Both are
//! suspects, and from then on a suspect's heavy step is taken while no other one is: whoever is found to have been at work at the
//! next death was so alone. So an innocent job shares one death with a guilty one, and never three.
//!
//! A note must survive the process and nothing more, so it is not synced: a step costs two small files that the system holds.
//! That a note cannot be written is no reason to do nothing: the step is taken without.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::directory::Directory;
use crate::job::JobId;

/// A job is not tried again after so many starts in a row that died in the same step of it.
pub(in super::super) const DEATHS_MAX: u32 = 3;

/// What takes much of the machine at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) enum HeavyStep {
    /// Reading a job back.
    Read,
    /// Making the weights that it begins or goes on with, and room for its sums.
    Prepare,
    /// Making the next weights of this step's results.
    Merge(u64),
    /// Judging the weights of this round.
    Validate(u32),
    /// Judging what came of it on the test rows.
    Test,
}

impl fmt::Display for HeavyStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("reading it from the journal"),
            Self::Prepare => f.write_str("making room for it"),
            Self::Merge(step) => write!(f, "merging its step {}", step + 1),
            Self::Validate(round) => write!(f, "validating its round {}", round + 1),
            Self::Test => f.write_str("testing what came of it"),
        }
    }
}

/// A step that a job's coordinators died in, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Deadly {
    pub(in super::super) step: HeavyStep,
    pub(in super::super) deaths: u32,
}

/// What is noted of a job, as its file says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Notes {
    /// Begun, and not struck out.
    open: BTreeSet<HeavyStep>,
    /// How often the starts before this one, one after the other, died in each.
    died: BTreeMap<HeavyStep, u32>,
}

impl Notes {
    /// The next start has read them: what was open then has killed once more, and what was not has not.
    fn read_back(self) -> Notes {
        let died = self.open.into_iter().map(|step| (step, self.died.get(&step).copied().unwrap_or(0) + 1));
        Notes { open: BTreeSet::new(), died: died.collect() }
    }

    fn deadly(&self) -> Option<Deadly> {
        let (&step, &deaths) = self.died.iter().max_by_key(|(_, deaths)| **deaths)?;
        (deaths >= DEATHS_MAX).then_some(Deadly { step, deaths })
    }
}

/// A word and a number, `merge 33`.
fn line_of(step: HeavyStep) -> String {
    let (word, number) = match step {
        HeavyStep::Read => ("read", 0),
        HeavyStep::Prepare => ("prepare", 0),
        HeavyStep::Merge(step) => ("merge", step),
        HeavyStep::Validate(round) => ("validate", round.into()),
        HeavyStep::Test => ("test", 0),
    };
    format!("{word} {number}")
}

fn step_of(word: &str, number: &str) -> Option<HeavyStep> {
    let number: u64 = number.parse().ok()?;
    match word {
        "read" => Some(HeavyStep::Read),
        "prepare" => Some(HeavyStep::Prepare),
        "merge" => Some(HeavyStep::Merge(number)),
        "validate" => Some(HeavyStep::Validate(number.try_into().ok()?)),
        "test" => (number == 0).then_some(HeavyStep::Test),
        _ => None,
    }
}

impl fmt::Display for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.died.iter().try_for_each(|(step, deaths)| writeln!(f, "died {} {deaths}", line_of(*step)))?;
        self.open.iter().try_for_each(|step| writeln!(f, "begun {}", line_of(*step)))
    }
}

impl FromStr for Notes {
    type Err = ();

    fn from_str(text: &str) -> Result<Notes, ()> {
        let mut notes = Notes::default();
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["begun", word, number] => drop(notes.open.insert(step_of(word, number).ok_or(())?)),
                ["died", word, number, deaths] => {
                    notes.died.insert(step_of(word, number).ok_or(())?, deaths.parse().map_err(|_| ())?);
                }
                _ => return Err(()),
            }
        }
        Ok(notes)
    }
}

/// The notes of all jobs that are tried.
#[derive(Debug, Default)]
struct Steps {
    jobs: HashMap<JobId, Notes>,
    /// Suspects' steps that are to begin once no other one is under way.
    suspects_waiting: usize,
}

impl Steps {
    /// The start before this one died in a step of it.
    fn is_suspect(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|notes| !notes.died.is_empty())
    }

    /// A suspect's step, or another one, is not to be taken beside what is under way, or before what waits.
    fn is_to_wait(&self, of_suspect: bool) -> bool {
        let mut open = self.jobs.iter().filter(|(_, notes)| !notes.open.is_empty());
        if of_suspect {
            return open.next().is_some();
        }
        // Without the first a suspect might wait for ever, for a gap between the steps of others.
        self.suspects_waiting > 0 || open.any(|(open, _)| self.is_suspect(*open))
    }
}

#[derive(Debug, Default)]
struct Shared {
    steps: Mutex<Steps>,
    /// One was struck out, or deaths count no more.
    changed: Condvar,
}

/// The notes of all jobs. Shared by whoever takes heavy steps.
#[derive(Clone, Debug)]
pub(in super::super) struct Underway {
    /// Where jobs are written; nothing is noted of jobs that do not outlive the process.
    directory: Option<Arc<Directory>>,
    shared: Arc<Shared>,
}

impl Underway {
    pub(in super::super) fn new(directory: Option<Arc<Directory>>) -> Underway {
        Underway { directory, shared: Arc::default() }
    }

    /// Reads what the last start left of a job, once; says whether the job is not to be tried again. Such a job's notes stay
    /// until it is [tried again](Underway::try_again).
    pub(super) fn read_back(&self, job: JobId) -> Option<Deadly> {
        let directory = self.directory.as_ref()?;
        let left = match directory.read_underway(job) {
            Ok(left) => left?,
            Err(error) => {
                log::warn!("{error}; how often job {job} ended a coordinator is not known");
                return None;
            }
        };
        // What nobody can read is of no account.
        let notes = left.parse::<Notes>().unwrap_or_default();
        if let Some(deadly) = notes.deadly() {
            return Some(deadly);
        }
        let notes = notes.read_back();
        let deadly = notes.deadly();
        if deadly.is_none() {
            self.change(job, |current| *current = notes);
        } else if let Err(error) = directory.write_underway(job, &notes.to_string()) {
            log::warn!("{error}; how often job {job} ended a coordinator is not noted");
        }
        deadly
    }

    /// A job's heavy step begins; it is over when what is returned is dropped. Waits for the steps that it is not to be taken
    /// beside: the engine's thread begins none.
    pub(in super::super) fn begin(&self, job: JobId, step: HeavyStep) -> Begun {
        if let Some(directory) = &self.directory {
            let mut steps = self.steps();
            let of_suspect = steps.is_suspect(job);
            steps.suspects_waiting += usize::from(of_suspect);
            let is_to_wait = |steps: &mut Steps| steps.is_to_wait(of_suspect);
            steps = self.shared.changed.wait_while(steps, is_to_wait).unwrap_or_else(PoisonError::into_inner);
            steps.suspects_waiting -= usize::from(of_suspect);
            self.change_of(directory, steps, job, |notes| {
                notes.open.insert(step);
            });
        }
        Begun { underway: self.clone(), job, step }
    }

    /// Something of a job is durable: what comes now begins from there.
    pub(super) fn durable(&self, job: JobId) {
        let is_suspect = self.steps().is_suspect(job);
        if is_suspect {
            self.try_again(job);
        }
    }

    /// Deaths of the past count no more.
    pub(super) fn try_again(&self, job: JobId) {
        self.change(job, |notes| notes.died.clear());
    }

    /// A step of this job would not begin now.
    #[cfg(test)]
    pub(super) fn is_to_wait(&self, job: JobId) -> bool {
        let steps = self.steps();
        steps.is_to_wait(steps.is_suspect(job))
    }

    /// What is left when the process dies in the middle of a step.
    #[cfg(test)]
    pub(super) fn die_in(&self, job: JobId, step: HeavyStep) {
        let directory = self.directory.as_ref().expect("a directory");
        let begun = self.begin(job, step);
        let left = directory.read_underway(job).expect("notes can be read").expect("a step is noted");
        drop(begun);
        directory.write_underway(job, &left).expect("notes can be written");
    }

    /// A job is not known any more.
    pub(super) fn forget(&self, job: JobId) {
        self.steps().jobs.remove(&job);
        self.shared.changed.notify_all();
    }

    fn change(&self, job: JobId, change: impl FnOnce(&mut Notes)) {
        if let Some(directory) = &self.directory {
            self.change_of(directory, self.steps(), job, change);
        }
    }

    /// The lock is held while the file is written: the last change is the last to be written.
    fn change_of(
        &self,
        directory: &Directory,
        mut steps: MutexGuard<'_, Steps>,
        job: JobId,
        change: impl FnOnce(&mut Notes),
    ) {
        let notes = steps.jobs.entry(job).or_default();
        change(notes);
        let text = notes.to_string();
        if *notes == Notes::default() {
            steps.jobs.remove(&job);
        }
        let written = directory.write_underway(job, &text);
        drop(steps);
        self.shared.changed.notify_all();
        // One that has no directory yet is in no journal: a death would end it, and no start try it again.
        if let Err(error) = written
            && error.why.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{error}; a heavy step of job {job} is not noted");
        }
    }

    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.shared.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A heavy step that is being taken.
pub(in super::super) struct Begun {
    underway: Underway,
    job: JobId,
    step: HeavyStep,
}

impl Drop for Begun {
    fn drop(&mut self) {
        let step = self.step;
        self.underway.change(self.job, |notes| {
            notes.open.remove(&step);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    const JOB: JobId = JobId(7);

    struct Disk(tempfile::TempDir);

    impl Disk {
        fn new() -> Disk {
            let disk = Disk(tempfile::tempdir().unwrap());
            disk.directory().begin_job(JOB).unwrap();
            disk
        }

        fn directory(&self) -> Arc<Directory> {
            Arc::new(Directory::open(self.0.path()).unwrap())
        }

        /// A coordinator starts, does something of the job, and dies in the middle of this step, if of any. Says whether it
        /// leaves the job alone.
        fn start(&self, before: impl FnOnce(&Underway), last: Option<HeavyStep>) -> Option<Deadly> {
            self.start_of(JOB, before, last)
        }

        fn start_of(&self, job: JobId, before: impl FnOnce(&Underway), last: Option<HeavyStep>) -> Option<Deadly> {
            let underway = Underway::new(Some(self.directory()));
            let deadly = underway.read_back(job);
            if deadly.is_none() {
                before(&underway);
                last.into_iter().for_each(|step| underway.die_in(job, step));
            }
            deadly
        }

        fn dies_in(&self, step: HeavyStep) -> Option<Deadly> {
            self.start(|_| (), Some(step))
        }
    }

    #[test]
    fn three_starts_in_a_row_that_died_in_the_same_step_are_enough_and_stay_so_until_it_is_tried_again() {
        let disk = Disk::new();
        let step = HeavyStep::Merge(33);
        assert!((0..3).all(|_| disk.dies_in(step).is_none()));
        for _ in 0..5 {
            assert_eq!(disk.dies_in(step), Some(Deadly { step, deaths: 3 }));
        }
        Underway::new(Some(disk.directory())).try_again(JOB);
        assert!((0..3).all(|_| disk.dies_in(step).is_none()));
        assert!(disk.dies_in(step).is_some());
    }

    #[test]
    fn a_death_in_another_step_or_in_none_begins_the_count_anew() {
        let disk = Disk::new();
        let (merge, other) = (HeavyStep::Merge(33), HeavyStep::Merge(34));
        for _ in 0..5 {
            assert!([Some(merge), Some(merge), None].into_iter().all(|last| disk.start(|_| (), last).is_none()));
            assert!([merge, merge, other].into_iter().all(|step| disk.dies_in(step).is_none()));
        }
        // The step before was over each time.
        assert!((0..20).all(|_| disk.start(|underway| drop(underway.begin(JOB, merge)), None).is_none()));
    }

    #[test]
    fn what_is_durable_in_between_begins_the_count_anew() {
        let disk = Disk::new();
        let step = HeavyStep::Validate(2);
        for _ in 0..4 {
            assert!(disk.start(|underway| underway.durable(JOB), Some(step)).is_none());
            assert!(disk.dies_in(step).is_none());
        }
    }

    const OTHER: JobId = JobId(8);

    /// A coordinator starts, begins a heavy step of each of these jobs, unless it is to wait for those before, and dies in the
    /// middle of them. Says which job it leaves alone, and how many steps were under way.
    fn start_of_both(disk: &Disk, order: [JobId; 2]) -> (Option<JobId>, usize) {
        let underway = Underway::new(Some(disk.directory()));
        let left = [JOB, OTHER].into_iter().find(|job| underway.read_back(*job).is_some());
        let mut begun = Vec::new();
        for job in order.into_iter().filter(|job| Some(*job) != left) {
            if !underway.is_to_wait(job) {
                begun.push((job, underway.begin(job, HeavyStep::Merge(3))));
            }
        }
        let directory = underway.directory.clone().unwrap();
        let notes_of = |(job, _): &(JobId, Begun)| (*job, directory.read_underway(*job).unwrap().unwrap());
        let notes: Vec<(JobId, String)> = begun.iter().map(notes_of).collect();
        drop(begun);
        notes.iter().for_each(|(job, text)| directory.write_underway(*job, text).unwrap());
        (left, notes.len())
    }

    #[test]
    fn a_job_that_was_at_work_beside_one_that_kills_is_not_taken_for_it() {
        let disk = Disk::new();
        disk.directory().begin_job(OTHER).unwrap();
        assert_eq!(start_of_both(&disk, [OTHER, JOB]), (None, 2), "nobody is a suspect yet");
        for _ in 0..2 {
            assert_eq!(start_of_both(&disk, [JOB, OTHER]), (None, 1), "a suspect's step is taken alone");
        }
        for _ in 0..3 {
            assert_eq!(start_of_both(&disk, [JOB, OTHER]), (Some(JOB), 1), "the innocent one goes on");
            assert_eq!(start_of_both(&disk, [JOB, OTHER]), (Some(JOB), 1));
            // Not even three deaths in a row of its own, for something of it is durable now and then.
            assert_eq!(disk.start_of(OTHER, |underway| underway.durable(OTHER), None), None);
        }
    }

    #[test]
    fn a_suspects_step_waits_for_all_others_and_they_for_it_until_it_is_none_any_more() {
        let disk = Disk::new();
        disk.directory().begin_job(OTHER).unwrap();
        assert_eq!(disk.dies_in(HeavyStep::Merge(3)), None);
        let underway = Underway::new(Some(disk.directory()));
        assert_eq!(underway.read_back(JOB), None);
        let of_other = underway.begin(OTHER, HeavyStep::Validate(1));
        thread::scope(|scope| {
            let suspect = scope.spawn(|| underway.begin(JOB, HeavyStep::Merge(3)));
            let began = Instant::now();
            while underway.steps().suspects_waiting == 0 {
                assert!(began.elapsed() < Duration::from_secs(60), "it does not wait");
                thread::yield_now();
            }
            assert!(underway.is_to_wait(OTHER), "nobody goes past a suspect that waits");
            drop(of_other);
            let of_suspect = suspect.join().unwrap();
            assert!(underway.is_to_wait(OTHER));
            let other = scope.spawn(|| drop(underway.begin(OTHER, HeavyStep::Validate(2))));
            underway.durable(JOB);
            // It would wait for ever.
            other.join().unwrap();
            drop(of_suspect);
        });
        assert!(!underway.is_to_wait(JOB));
    }

    #[test]
    fn notes_are_read_as_they_were_written_and_what_is_no_note_is_of_no_account() {
        let open =
            [HeavyStep::Read, HeavyStep::Prepare, HeavyStep::Merge(1 << 40), HeavyStep::Validate(9), HeavyStep::Test];
        let notes = Notes { open: open.into(), died: [(HeavyStep::Merge(3), 2)].into() };
        assert_eq!(notes.to_string().parse(), Ok(notes));
        for text in ["begun merge", "begun sleep 1", "died merge 3 x", "\u{1F}", "begun validate 4294967296"] {
            assert_eq!(text.parse::<Notes>(), Err(()), "{text}");
        }
        let disk = Disk::new();
        disk.directory().write_underway(JOB, "begun mer").unwrap();
        assert_eq!(disk.dies_in(HeavyStep::Read), None);
    }
}

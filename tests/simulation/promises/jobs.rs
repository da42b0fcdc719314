//! Every job goes the way that is drawn for jobs, each step for a cause, and none has its turn before another that has waited longer.
//! Owns what the engine tells of jobs, and how that may change.

use gradwire::engine::{Action, Admission, Event, JobEvent, JobProgress};
use gradwire::job::{JobId, Outcome};

use super::View;

#[derive(Default)]
pub struct Jobs {
    /// What was told last of the jobs that are known.
    told: Vec<(JobId, JobProgress)>,
    /// Admissions, pauses and ends since then.
    admitted: usize,
    paused: usize,
    ended: Vec<JobId>,
}

impl Jobs {
    /// The jobs whose turn it is.
    pub fn running(&self) -> Vec<JobId> {
        let running = self.told.iter().filter(|(_, told)| matches!(told, JobProgress::Running { .. }));
        running.map(|(job, _)| *job).collect()
    }

    /// Jobs that wait to be resumed.
    pub fn paused(&self) -> usize {
        self.paused + self.told.iter().filter(|(_, told)| matches!(told, JobProgress::Paused { .. })).count()
    }

    /// Whether every job is over, or paused for good.
    pub fn are_over(&self) -> bool {
        self.told.iter().all(|(_, told)| matches!(told, JobProgress::Paused { .. } | JobProgress::Finished(_)))
    }

    pub fn action(&mut self, view: View, action: &Action) {
        match action {
            Action::Admit { job, admission } => {
                // Those that wait for their data do not count.
                let waits = |told: &JobProgress| matches!(told, JobProgress::Queued { .. });
                let waiting = self.told.iter().filter(|(_, told)| waits(told)).count();
                let has_room = waiting < view.scenario.settings.queued_max;
                let is_right = match (admission, of(&self.told, *job)) {
                    (Admission::Admitted { .. }, None) => has_room,
                    (Admission::Busy { .. }, None) => !has_room,
                    (Admission::Attached { progress }, told) => told == Some(progress),
                    _ => false,
                };
                assert!(is_right, "{admission:?}, while {waiting} wait");
                self.admitted += 1;
            }
            Action::Report { event: JobEvent::Paused(_), .. } => self.paused += 1,
            Action::Report { job, event: JobEvent::Finished(_) } => self.ended.push(*job),
            _ => {}
        }
    }

    pub fn after(&mut self, view: View, event: &Event) {
        let jobs = view.scenario.jobs.iter().map(|plan| plan.job);
        let told = jobs.clone().filter_map(|job| Some((job, view.engine.job_progress(job)?))).collect();
        let before = std::mem::replace(&mut self.told, told);
        let ended = std::mem::take(&mut self.ended);
        self.paused = 0;
        assert_eq!(std::mem::take(&mut self.admitted), usize::from(matches!(event, Event::Submitted { .. })));
        for job in jobs.clone() {
            let (was, is) = (of(&before, job), of(&self.told, job));
            let cause = Some(event).filter(|event| is_about(event, job));
            assert!(may_become(was, is, cause, ended.contains(&job)), "{was:?} becomes {is:?} by {cause:?}");
            if let Some(JobProgress::Paused { rounds_done, .. }) = is {
                assert_eq!(u64::from(*rounds_done), view.journal.rounds(job));
            }
            // Whoever has waited longer stays before the others, and starts before them unless its data is missing.
            for other in jobs.clone() {
                let (other_was, other_is) = (of(&before, other), of(&self.told, other));
                let is_behind = |was| place(other_was).is_none_or(|other_was| was < other_was);
                if place(was).is_some_and(is_behind) {
                    let has_started = is_running(other_is) && !is_running(other_was);
                    assert!(
                        !has_started || !matches!(is, Some(JobProgress::Queued { .. })),
                        "a job starts out of turn"
                    );
                    let (place, other_place) = (place(is), place(other_is));
                    assert!(place.is_none() || other_place.is_none_or(|other| Some(other) > place), "a job overtakes");
                }
            }
        }
        let (first, most) = (self.running().len(), view.scenario.settings.jobs_at_once);
        let is_ready = |told: &(JobId, JobProgress)| matches!(told.1, JobProgress::Queued { .. });
        assert!(first <= most, "more jobs run than may");
        // Nodes may not keep the rows of several jobs that are so large.
        let is_large = |told: &(JobId, JobProgress)| view.scenario.job(told.0).inputs > 2;
        let may_lack_room = first > 0 && self.told.iter().any(|told| is_large(told) && !is_over(told));
        assert!(first == most || may_lack_room || !self.told.iter().any(is_ready), "a job that could run waits");
        let mut places: Vec<_> = self.told.iter().filter_map(|(_, told)| place(Some(told))).collect();
        places.sort_unstable();
        assert!(places.iter().copied().eq((first as u32..).take(places.len())), "a place in the queue is wrong");
    }
}

fn is_over(told: &(JobId, JobProgress)) -> bool {
    matches!(told.1, JobProgress::Finished(_))
}

/// What is told of a job.
fn of(told: &[(JobId, JobProgress)], job: JobId) -> Option<&JobProgress> {
    told.iter().find(|(other, _)| *other == job).map(|(_, progress)| progress)
}

fn is_running(told: Option<&JobProgress>) -> bool {
    matches!(told, Some(JobProgress::Running { .. }))
}

/// The place of a job that waits for its turn.
fn place(told: Option<&JobProgress>) -> Option<u32> {
    match told {
        Some(JobProgress::Queued { position } | JobProgress::Collecting { position }) => Some(*position),
        _ => None,
    }
}

/// The way of a job: what must become of it where it is the cause of an event, and what may become of it at any.
fn may_become(was: Option<&JobProgress>, is: Option<&JobProgress>, cause: Option<&Event>, has_ended: bool) -> bool {
    use JobProgress::{Collecting, Finished, Paused, Queued, Running};
    let is_in_turn = matches!(is, Some(Queued { .. } | Running { .. }));
    match (cause, was, is) {
        (Some(Event::Submitted { .. }), None, _) => matches!(is, None | Some(Collecting { .. })),
        (Some(Event::Restored { .. }), None, _) => is_in_turn || matches!(is, Some(Paused { .. })),
        (Some(Event::RestoredEnded { outcome, .. }), None, _) => is == Some(&Finished(outcome.clone())),
        (Some(Event::DataReady { .. }), Some(Collecting { .. }), _) => is_in_turn,
        (Some(Event::DataMissing { .. }), Some(Collecting { .. }), _) => is.is_none() && has_ended,
        (Some(Event::ResumeRequested { .. }), Some(Paused { .. }), _) => is_in_turn,
        (Some(Event::Reopened { .. }), Some(Finished(Outcome::Failed(_))), _) => is_in_turn && !has_ended,
        (Some(Event::Expired { .. }), Some(Finished(_)), _) => is.is_none(),
        (
            Some(Event::CancelRequested { .. }),
            Some(Collecting { .. } | Queued { .. } | Running { .. } | Paused { .. }),
            _,
        ) => is == Some(&Finished(Outcome::Cancelled)) && has_ended,
        (_, Some(Queued { .. }), Some(Running { .. })) | (_, Some(Running { .. }), Some(Paused { .. })) => !has_ended,
        (_, Some(Running { .. }), Some(Finished(outcome))) => has_ended && *outcome != Outcome::Cancelled,
        (_, Some(Finished(was)), Some(Finished(is))) => was == is && !has_ended,
        _ => was.map(std::mem::discriminant) == is.map(std::mem::discriminant) && !has_ended,
    }
}

fn is_about(event: &Event, job: JobId) -> bool {
    match event {
        Event::Submitted { job: about, .. }
        | Event::Restored { job: about, .. }
        | Event::RestoredEnded { job: about, .. }
        | Event::DataReady { job: about }
        | Event::DataMissing { job: about, .. }
        | Event::ResumeRequested { job: about }
        | Event::Reopened { job: about, .. }
        | Event::CancelRequested { job: about }
        | Event::Expired { job: about } => *about == job,
        _ => false,
    }
}

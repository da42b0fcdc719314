//! Jobs that have ended, as far as who asks later is told: the final answer, how the job stands, and until that is durable
//! who waits for it. Does not know why a job ended or how long it is kept.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::durable_rounds::DurableRounds;
use super::handles::{Client, ClientKey};
use super::watcher::Watcher;
use crate::engine::Time;
use crate::job::{JobId, JobStatus, RoundSummary};
use crate::wire::Message;
use crate::wire::message::{Notice, NoticeKind};

/// A job that has ended.
pub(super) struct Ended {
    pub(super) answer: Arc<Message<'static>>,
    pub(super) status: JobStatus,
    /// Who is told once its end is durable; nobody waits after that.
    pub(super) waiting: Option<Waiting>,
    /// What injected load came to, where there was some, in a sentence. It is told as long as the coordinator runs: no file has it.
    pub(super) injected: Option<String>,
    /// Requests of clients that want it to go on, until what is kept of it is here.
    pub(super) resuming: Vec<(Client, u32)>,
    /// Whether all of its data was here once, so that there may be something of it to fetch.
    pub(super) had_data: bool,
    /// How long coordinators had run when it ended.
    lived_ms: u64,
    /// Clients that have been told, and until when the job is kept for each: they fetch its model next.
    told: Vec<(ClientKey, Time)>,
}

/// How long a job is kept for a client that has been told its end, at most: a client that does not go must not keep it for
/// ever.
const FETCH_WITHIN_US: u64 = 60_000_000;

/// Jobs that never had all of their data are kept up to so many, and take the place of none that had: submitting and cancelling
/// costs a client nothing.
const WITHOUT_DATA_MAX: usize = 64;

impl Ended {
    pub(super) fn new(
        answer: Arc<Message<'static>>,
        status: JobStatus,
        lived_ms: u64,
        waiting: Option<Waiting>,
    ) -> Ended {
        Ended {
            answer,
            status,
            waiting,
            injected: None,
            resuming: Vec::new(),
            had_data: true,
            lived_ms,
            told: Vec::new(),
        }
    }

    /// Where it is among those that have ended, whatever the wall clock said.
    pub(super) fn order(&self) -> (u64, JobId) {
        (self.lived_ms, self.status.job)
    }

    /// This client is told now, over the connection by which it fetches.
    pub(super) fn tell(&mut self, client: ClientKey, now: Time) {
        self.told.retain(|(told, until)| *told != client && *until > now);
        self.told.push((client, Time(now.0 + FETCH_WITHIN_US)));
    }

    /// Tells a client the end, which has been told all that came before it.
    pub(super) fn tell_end(&mut self, watcher: Watcher, now: Time) {
        self.tell(watcher.client.key, now);
        if let Some(text) = &self.injected {
            let notice = Notice { kind: NoticeKind::Load, text: text.clone() };
            let _ = watcher.client.link.answer_more(watcher.request, &notice.into());
        }
        watcher.answer(&self.answer);
    }

    /// Whether nobody would miss it now.
    fn can_go(&self, now: Time) -> bool {
        self.waiting.is_none() && self.resuming.is_empty() && self.told.iter().all(|(_, until)| *until <= now)
    }
}

/// What is not told yet.
pub(super) struct Waiting {
    pub(super) watchers: Vec<Watcher>,
    /// Rounds that are durable, for who has not seen them.
    pub(super) rounds: DurableRounds,
    /// Rounds that are not.
    pub(super) untold: VecDeque<RoundSummary>,
}

/// All jobs that have ended and are still known.
#[derive(Default)]
pub(super) struct AllEnded(HashMap<JobId, Ended>);

impl AllEnded {
    pub(super) fn get(&self, job: JobId) -> Option<&Ended> {
        self.0.get(&job)
    }

    pub(super) fn get_mut(&mut self, job: JobId) -> Option<&mut Ended> {
        self.0.get_mut(&job)
    }

    pub(super) fn insert(&mut self, job: JobId, ended: Ended) {
        self.0.insert(job, ended);
    }

    pub(super) fn forget(&mut self, job: JobId) {
        self.0.remove(&job);
    }

    /// A client has gone, and fetches nothing any more. What it wanted to go on goes on all the same.
    pub(super) fn client_gone(&mut self, client: ClientKey) {
        self.0.values_mut().for_each(|ended| ended.told.retain(|(told, _)| *told != client));
    }

    /// Whether a job is not known, or nobody would miss it.
    pub(super) fn can_go(&self, job: JobId, now: Time) -> bool {
        self.get(job).is_none_or(|ended| ended.can_go(now))
    }

    /// Jobs that ended when coordinators had run for less than this, of those that can go; never the one that ended last. What the
    /// wall clock says of their ends does not matter: it may have been wrong then, or be so now.
    pub(super) fn before(&self, lived_ms: u64, now: Time) -> Vec<JobId> {
        let mut old = self.beyond(1, now);
        old.retain(|job| self.get(*job).is_some_and(|ended| ended.lived_ms < lived_ms));
        old
    }

    /// All jobs that nobody waits for but the latest so many, of those that can go. Those that never had their data are counted
    /// by themselves.
    pub(super) fn beyond(&self, count: usize, now: Time) -> Vec<JobId> {
        let beyond = |had_data: bool, count: usize| {
            let told = self.0.values().filter(|ended| ended.waiting.is_none() && ended.had_data == had_data);
            let mut told: Vec<_> = told.map(Ended::order).collect();
            told.sort_unstable();
            told.truncate(told.len().saturating_sub(count));
            told
        };
        let beyond = beyond(true, count).into_iter().chain(beyond(false, count.min(WITHOUT_DATA_MAX)));
        beyond.map(|(_, job)| job).filter(|job| self.can_go(*job, now)).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (JobId, &Ended)> {
        self.0.iter().map(|(&job, ended)| (job, ended))
    }

    /// Everyone who waits for an end.
    pub(super) fn watchers(&mut self) -> impl Iterator<Item = (JobId, &mut Vec<Watcher>)> {
        self.0.iter_mut().filter_map(|(&job, ended)| Some((job, &mut ended.waiting.as_mut()?.watchers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{FailKind, Failure, JobState};
    use crate::wire::ErrorCode;

    fn ended(all: &mut AllEnded, number: u64) -> JobId {
        let job = JobId(number.into());
        let status = JobStatus {
            job,
            state: JobState::Failed,
            failure: Some(Failure { kind: FailKind::Internal, text: "an end".to_owned() }),
            rounds_done: 0,
            rounds: 1,
            queue_position: 0,
            submitted_ms: 0,
            // Whatever the wall clock said.
            ended_ms: [47, 0, 11][number as usize % 3],
            fingerprint: None,
            weights: None,
        };
        let answer = crate::wire::message::Error::new(ErrorCode::Internal, 0x30, "an end");
        all.insert(job, Ended::new(Arc::new(answer.into()), status, number, None));
        job
    }

    #[test]
    fn a_job_stays_for_a_client_that_was_told_its_end_until_it_goes_or_has_had_its_time() {
        let mut all = AllEnded::default();
        let [first, second] = [1, 2].map(|number| ended(&mut all, number));
        let (now, later) = (Time(5), Time(5 + FETCH_WITHIN_US));
        assert_eq!(all.beyond(1, now), [first]);
        let clients = [ClientKey(7), ClientKey(8)];
        for client in clients {
            all.get_mut(first).unwrap().tell(client, now);
        }
        assert_eq!((all.beyond(1, now), all.before(9, now)), (vec![], vec![]));
        assert_eq!((all.beyond(1, later), all.before(9, later)), (vec![first], vec![first]));
        all.client_gone(clients[0]);
        assert!(!all.can_go(first, now) && all.can_go(second, now));
        all.client_gone(clients[1]);
        assert!(all.can_go(first, now));
        assert_eq!(all.beyond(1, now), [first]);
    }

    #[test]
    fn a_job_is_old_by_what_was_lived_through_since_its_end_and_not_by_the_wall_clock_and_the_last_one_stays() {
        let mut all = AllEnded::default();
        let [first, second, third] = [1, 2, 3].map(|number| ended(&mut all, number));
        let now = Time(5);
        assert_eq!(all.before(1, now), []);
        assert_eq!(all.before(2, now), [first]);
        assert_eq!(all.before(u64::MAX, now), [first, second]);
        assert_eq!(all.beyond(2, now), [first], "the first to end goes first, too");
        [first, second].into_iter().for_each(|job| all.forget(job));
        assert_eq!(all.before(u64::MAX, now), []);
        assert!(all.get(third).is_some());
    }

    #[test]
    fn jobs_that_never_had_their_data_take_the_place_of_none_that_had_and_are_few() {
        let mut all = AllEnded::default();
        let done = ended(&mut all, 1);
        let empty: Vec<JobId> = (2..=200).map(|number| ended(&mut all, number)).collect();
        for job in &empty {
            all.get_mut(*job).unwrap().had_data = false;
        }
        let now = Time(5);
        assert_eq!(all.beyond(2, now), empty[..197]);
        assert_eq!(all.beyond(1_000, now), empty[..empty.len() - WITHOUT_DATA_MAX]);
        assert!(!all.before(u64::MAX, now).contains(&done), "it is the last one that had its data");
    }
}

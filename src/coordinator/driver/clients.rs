//! What the driver does with clients and what they ask: submissions, data, watching, orders. Decides nothing.

use std::sync::Arc;

use super::{Driver, Submission, now, unix_ms};
use crate::coordinator::answers::{error_of, refusal};
use crate::coordinator::ended::Ended;
use crate::coordinator::handles::{Client, ClientKey};
use crate::coordinator::history::History;
use crate::coordinator::job_registry::Refusal;
use crate::coordinator::journal::{Absent, DiskRoom, JournalCommand};
use crate::coordinator::watcher::Watcher;
use crate::coordinator::work::{HEAVY_BYTES, Judged, MergeWork, Start, Validating};
use crate::coordinator::workers::is_small;
use crate::digest::Digest;
use crate::engine::{Admission, Event, JobProgress};
use crate::job::{JobId, JobState, JobStatus, Specification};
use crate::model::Rows;
use crate::wire::message::{
    Accepted, Attach, Error, Listed, Notice, NoticeKind, Order, OrderVerb, Submit, job_fitting,
};
use crate::wire::text::counted;
use crate::wire::{ErrorCode, Message, MessageType, specification};

impl Driver {
    pub(super) fn submit(&mut self, client: Client, request: u32, submit: Submit, room: Option<DiskRoom>) {
        let Submit { job, rounds_seen, specification } = submit;
        // It would be run a second time, in the place of what is there of the first.
        if let unread @ Absent::Unread(_) = self.archive.absent(job) {
            let _ = client.link.answer(request, &unread.error(job, MessageType::Submit).into());
            return;
        }
        let is_new = self.ended.get(job).is_none();
        if is_new && let Err(refusal) = self.make_place(job, &specification, &client, room) {
            let _ = client.link.answer(request, &refusal.error().into());
            return;
        }
        let semantic = specification::semantic_digest(&specification);
        let specification = Arc::new(specification);
        let watcher = Watcher { client, request, gives_data: true, is_submitter: true, rounds_seen };
        self.submissions.push_back(Submission { watcher, specification: specification.clone() });
        self.tell(Event::Submitted { job, specification, semantic });
    }

    /// Sees to a place for a job that is submitted: another one may have to give way to it.
    fn make_place(
        &mut self,
        job: JobId,
        specification: &Specification,
        client: &Client,
        room: Option<DiskRoom>,
    ) -> Result<(), Refusal> {
        self.jobs.check(job, specification, client.link.peer().address.ip())?;
        self.jobs.check_disk(job, specification, room)?;
        if self.jobs.get(job).is_none()
            && let Some(other) = self.jobs.place_to_collect(client)?
        {
            let reason = "as many jobs wait for their data as may, and its client has most of them".to_owned();
            self.tell(Event::DataMissing { job: other, reason });
        }
        Ok(())
    }

    pub(super) fn admit(&mut self, id: JobId, admission: &Admission) {
        let Some(Submission { watcher, specification }) = self.submissions.pop_front() else { return };
        let refused = match admission {
            Admission::Admitted { position } => {
                let beside = match *position {
                    0 => String::new(),
                    others => format!("; {} before it, running or waiting", counted(others.into(), "job")),
                };
                log::info!("job {id} is queued{beside}");
                self.event_log.say("job", id, || format!("is queued{beside}"));
                let submitted_ms = unix_ms();
                self.archive.begin(id, specification.clone());
                let accepted = Accepted {
                    state: JobState::Collecting,
                    attached: false,
                    queue_position: *position,
                    rounds_done: 0,
                };
                let _ = watcher.client.link.answer_more(watcher.request, &accepted.into());
                watcher.tell_where_training_ends(&specification);
                self.warn(&watcher);
                let owner = Some(watcher.client.link.peer().address.ip());
                let job = self.jobs.insert(id, specification, submitted_ms, owner);
                job.watchers.push(watcher);
                return;
            }
            Admission::Attached { .. } => return self.watch(id, watcher),
            Admission::Conflict => {
                let text = format!("a job {id} exists with another specification: take another id");
                refusal(ErrorCode::Conflict, text)
            }
            Admission::Busy { queued_max } => {
                let text = format!("{queued_max} jobs are queued already: try again later");
                let queued_max = *queued_max as u64;
                refusal(ErrorCode::Busy, text).retryable().with_numbers(queued_max + 1, queued_max)
            }
        };
        let _ = watcher.client.link.answer(watcher.request, &refused.into());
    }

    /// A client watches a job that is known, whatever it computes.
    pub(super) fn attach(&mut self, client: Client, request: u32, attach: Attach) {
        let Attach { job, rounds_seen } = attach;
        self.watch(job, Watcher { client, request, gives_data: false, is_submitter: false, rounds_seen });
    }

    /// Tells a watcher where the job stands, what has been, and from now on what comes.
    fn watch(&mut self, id: JobId, watcher: Watcher) {
        let Some(status) = self.status(id) else {
            let _ = watcher.client.link.answer(watcher.request, &self.absent(id, MessageType::Attach).into());
            return;
        };
        let awaits_others = self.jobs.get(id).is_some_and(|job| job.awaits_others());
        let accepted = Accepted {
            state: if awaits_others { JobState::Queued } else { status.state },
            attached: true,
            queue_position: status.queue_position,
            rounds_done: status.rounds_done,
        };
        let _ = watcher.client.link.answer_more(watcher.request, &accepted.into());
        if let Some(job) = self.jobs.get(id) {
            watcher.tell_where_training_ends(&job.specification);
        }
        self.warn(&watcher);
        self.follow(id, watcher);
    }

    /// Tells a watcher of the rounds that it has not seen, and from now on what comes: once it has been told of all of them,
    /// if they are many.
    fn follow(&mut self, id: JobId, mut watcher: Watcher) {
        let seen = watcher.rounds_seen;
        if let Some(job) = self.jobs.get(id) {
            let Some(missed) = job.rounds.after(seen) else { return self.catch_up(History::new(id, watcher)) };
            watcher.tell_rounds(missed);
            match &job.paused {
                Some((failure, _)) if job.awaits_others() => {
                    let notice = Notice { kind: NoticeKind::Other, text: failure.text.clone() };
                    let _ = watcher.client.link.answer_more(watcher.request, &notice.into());
                }
                Some((failure, true)) => return watcher.answer(&error_of(failure).into()),
                _ => {}
            }
            job.watchers.push(watcher);
            return;
        }
        let Some(ended) = self.ended.get_mut(id) else {
            watcher.answer(&self.absent(id, MessageType::Submit).into());
            return;
        };
        let Some(waiting) = &mut ended.waiting else {
            ended.tell(watcher.client.key, now());
            if seen >= ended.status.rounds_done {
                return ended.tell_end(watcher, now());
            }
            return self.catch_up(History::new(id, watcher));
        };
        let Some(missed) = waiting.rounds.after(seen) else { return self.catch_up(History::new(id, watcher)) };
        watcher.tell_rounds(missed);
        waiting.watchers.push(watcher);
    }

    /// Has a watcher told of what it has missed, in its connection's turn.
    fn catch_up(&mut self, history: History) {
        if let Some(history) = self.behind.begin(history) {
            // The thread lives as long as the channel, and its panics are told.
            let _ = self.history.send(history);
        }
    }

    /// A watcher has been told of what it had missed, all of it or as much as can be read.
    pub(super) fn caught_up(&mut self, job: JobId, mut watcher: Watcher, is_whole: bool) {
        // A client that has gone is not known any more.
        let Some(next) = self.behind.end(watcher.client.key) else { return };
        if let Some(next) = next {
            let _ = self.history.send(next);
        }
        if !watcher.client.link.is_open(watcher.request) {
            return;
        }
        if !is_whole && let Some(status) = self.status(job) {
            watcher.rounds_seen = watcher.rounds_seen.max(status.rounds_done);
        }
        self.follow(job, watcher);
    }

    /// A request is not wanted any more: the job neither, if it was a submission.
    pub(super) fn cancel_request(&mut self, client: ClientKey, request: u32) {
        match self.jobs.watched_by(client, request).or_else(|| self.behind.watched_by(client, request)) {
            Some((job, true)) => self.tell(Event::CancelRequested { job }),
            Some((job, false)) => {
                self.jobs.stop_watching(job, client, request);
                if let Some(client) = self.clients.get(&client) {
                    let error = Error::new(ErrorCode::Cancelled, MessageType::Attach as u8, "watched no more");
                    let _ = client.link.answer(request, &error.into());
                }
            }
            None => {}
        }
    }

    /// A client asks how jobs stand.
    pub(super) fn list(&mut self, client: &Client, request: u32, asked: Option<JobId>) {
        let listed: Vec<JobStatus> = match asked {
            Some(job) => match self.status(job) {
                Some(status) => vec![status],
                None => {
                    let _ = client.link.answer(request, &self.absent(job, MessageType::Jobs).into());
                    return;
                }
            },
            None => self.statuses(),
        };
        let jobs = listed.len() as u32;
        let payload_bytes_max = client.link.peer().payload_bytes_max;
        let fitting = listed.into_iter().map(|job| Message::from(job_fitting(job, payload_bytes_max)));
        let _ = client.link.answer_many(request, fitting);
        let _ = client.link.answer(request, &Listed { jobs }.into());
    }

    /// A client has something done to a job.
    pub(super) fn order(&mut self, client: &Client, request: u32, order: Order, specification: Option<&Specification>) {
        let Order { job, verb } = order;
        if self.status(job).is_none() {
            let _ = client.link.answer(request, &self.absent(job, MessageType::Order).into());
            return;
        }
        match verb {
            OrderVerb::Cancel => {
                self.tell(Event::CancelRequested { job });
                self.list(client, request, Some(job));
            }
            OrderVerb::Resume => self.resume(client, request, job, specification),
        }
    }

    /// The answer to a message about a job that is not known.
    fn absent(&self, job: JobId, about: MessageType) -> Error {
        self.archive.absent(job).error(job, about)
    }

    /// How a job stands, if it is known.
    fn status(&self, id: JobId) -> Option<JobStatus> {
        if let Some(ended) = self.ended.get(id) {
            return Some(ended.status.clone());
        }
        self.open_status(id, &self.engine.job_progress(id)?)
    }

    /// How all jobs stand: the open ones in the order in which their turn comes, then the ended ones, the latest first.
    fn statuses(&self) -> Vec<JobStatus> {
        let engine = self.engine.status();
        let open = engine.jobs.iter().filter_map(|entry| self.open_status(entry.job, &entry.progress));
        let mut statuses: Vec<JobStatus> = open.collect();
        let mut ended: Vec<&Ended> = self.ended.iter().map(|(_, ended)| ended).collect();
        ended.sort_by_key(|ended| std::cmp::Reverse(ended.order()));
        statuses.extend(ended.into_iter().map(|ended| ended.status.clone()));
        statuses
    }

    fn open_status(&self, id: JobId, progress: &JobProgress) -> Option<JobStatus> {
        let state = match progress.state() {
            // Its data is read back from the disk.
            JobState::Collecting if self.jobs.is_asked_for(id) => JobState::Queued,
            state => state,
        };
        if state.has_ended() { None } else { self.jobs.status(id, state, progress.queue_position()) }
    }

    pub(super) fn collect(&mut self, job: JobId) {
        for complete in self.jobs.collect(job) {
            self.data_complete(complete);
        }
    }

    /// All objects of a job are here: checks them, and tells the engine.
    pub(super) fn data_complete(&mut self, job: JobId) {
        let checked = self.jobs.open_data(job);
        if checked.is_ok()
            && let Some(open) = self.jobs.get(job)
        {
            open.is_written = true;
            let specification = open.specification.clone();
            if let Some(status) = self.jobs.status(job, JobState::Queued, 0) {
                self.write(JournalCommand::Begin { status, specification });
            }
        }
        self.tell(match checked {
            Ok(()) => Event::DataReady { job },
            Err(reason) => Event::DataWrong { job, reason },
        });
    }

    pub(super) fn object_missing(&mut self, client: ClientKey, digest: &Digest, reason: &str, is_wrong: bool) {
        let failed = self.jobs.source_failed(client, Some(digest));
        self.ask_others(failed, reason, is_wrong);
    }

    pub(super) fn client_gone(&mut self, client: ClientKey) {
        if let Some(gone) = self.clients.remove(&client) {
            self.event_log.say("client", gone.link.peer().address, || "disconnected");
        }
        for (_, watchers) in self.ended.watchers() {
            watchers.retain(|watcher| watcher.client.key != client);
        }
        self.behind.client_gone(client);
        let failed = self.jobs.client_gone(client);
        self.ask_others(failed, "the client went away before it had sent it", false);
        // It fetches nothing any more.
        self.ended.client_gone(client);
        self.keep_the_last();
    }

    /// Gives up on clients that have been asked for data and send none, or too little.
    pub(super) fn sweep_stalled_clients(&mut self) {
        let stalled: Vec<ClientKey> =
            self.clients.values().filter(|client| client.is_stalled()).map(|client| client.key).collect();
        for client in stalled {
            let failed = self.jobs.source_failed(client, None);
            self.ask_others(failed, "the client sends nothing of it, or too little", false);
        }
    }

    /// Has those go on that were held up for want of room. Where there is none still, a job gives way, one at a time: what it
    /// had is free the next time.
    pub(super) fn make_room(&mut self) {
        self.clients.values().for_each(Client::go_on);
        let mut held_up = self.clients.values().filter(|client| client.fetcher().is_held_up());
        if let Some(job) = held_up.find_map(|client| self.jobs.makes_room_for(client)) {
            let reason =
                "there is no room for it beside the data of others, and its client has most of what is on its way";
            self.tell(Event::DataMissing { job, reason: reason.to_owned() });
        }
    }

    /// Lets go of a job, and of what was on its way for it alone.
    pub(super) fn let_go(&mut self, job: JobId) {
        let (unwanted, asked) = self.jobs.release(job);
        for client in asked.iter().filter_map(|client| self.clients.get(client)) {
            let mut fetcher = client.fetcher();
            unwanted.iter().for_each(|digest| fetcher.let_go(digest));
        }
    }

    /// A client does not give these jobs' data: somebody else who watches them is asked, where there is one. Data that is
    /// wrong will be wrong again.
    fn ask_others(&mut self, jobs: Vec<(JobId, bool)>, reason: &str, is_wrong: bool) {
        for (job, is_other_there) in jobs {
            if is_other_there {
                self.collect(job);
            } else {
                let reason = reason.to_owned();
                self.tell(if is_wrong { Event::DataWrong { job, reason } } else { Event::DataMissing { job, reason } });
            }
        }
    }

    pub(super) fn prepare(&mut self, id: JobId) {
        // A job that goes on starts from its own weights.
        let start = match self.jobs.take_base(id) {
            Some(own) => Start::Own(own),
            None => self.jobs.initial(id).map_or(Start::Drawn, Start::Given),
        };
        if let Some(job) = self.jobs.get(id) {
            let specification = job.specification.clone();
            let memory = job.memory;
            let weights_bytes = if matches!(start, Start::Own(_)) { 0 } else { memory.weights_bytes };
            let working_bytes = memory.working_bytes + weights_bytes;
            self.merge(id, MergeWork::Prepare { job: id, specification, start, working_bytes });
        }
    }

    /// Has something of an open job merged, or merges it.
    pub(super) fn merge(&mut self, job: JobId, order: MergeWork) {
        if !self.jobs.get(job).is_some_and(|job| is_small(&job.specification)) {
            // The thread lives as long as the channel, and catches its panics.
            let _ = self.merging.send(order);
        } else if let Some(event) = self.small.obey(order) {
            self.take(event);
        }
    }

    /// Drops what there is of a job's step.
    pub(super) fn release_step(&mut self, job: JobId) {
        self.small.obey(MergeWork::Release { job });
        let _ = self.merging.send(MergeWork::Release { job });
    }

    pub(super) fn finish_step(&mut self, job: JobId, step: u64, rows: u64) {
        if let Some(base) = self.jobs.take_base(job) {
            self.merge(job, MergeWork::Finish { job, step, rows, base });
        }
    }

    pub(super) fn validate(&mut self, id: JobId, round: u32) {
        let Some(job) = self.jobs.get(id) else { return };
        let (Some(rows), Some(base)) = (job.validation.clone(), &job.base) else { return };
        let (weights, digest) = (base.bytes.clone(), base.digest);
        self.judge(id, Judged::Round(round), (digest, weights), rows, None);
    }

    /// What came of a job is to be tried on its validation and test rows.
    pub(super) fn test(&mut self, id: JobId, weights: Digest) {
        let Some(job) = self.jobs.get(id) else { return };
        let (Some(rows), Some(bytes)) = (job.validation.clone(), job.weights(&weights)) else { return };
        let test = job.test.clone();
        self.judge(id, Judged::Result, (weights, bytes), rows, test);
    }

    fn judge(
        &mut self,
        id: JobId,
        judged: Judged,
        (digest, weights): (Digest, Arc<Vec<u8>>),
        rows: Arc<Rows<'static>>,
        test: Option<Arc<Rows<'static>>>,
    ) {
        let Some(job) = self.jobs.get(id) else { return };
        let is_first = !std::mem::replace(&mut job.is_validated, true);
        let is_heavy = !is_small(&job.specification) && (is_first || job.memory.working_bytes >= HEAVY_BYTES);
        let specification = job.specification.clone();
        let order = Validating { job: id, judged, specification, weights, digest, rows, test, is_heavy };
        let _ = self.validating.send(order);
    }
}

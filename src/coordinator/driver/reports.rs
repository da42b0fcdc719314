//! What the driver does with what the engine reports of jobs: it has it written, and tells whoever watches once it is
//! durable. Decides nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{Driver, now, unix_ms};
use crate::coordinator::answers::{answer, error_of};
use crate::coordinator::ended::{Ended, Waiting};
use crate::coordinator::journal::{JournalCommand, JournalEvent, Restored};
use crate::coordinator::status::{self, Trouble};
use crate::engine::{Event, JobEvent, NodeKey, Notice};
use crate::job::{FailReason, Failure, JobId, JobState, Outcome, Progress, Record, RoundSummary};
use crate::wire::message::{self, NoticeKind};
use crate::wire::text::counted;
use crate::wire::{Message, specification};

/// Watchers are told how the nodes stand this often.
const TELL_FLEET_EVERY_US: u64 = 1_000_000;

impl Driver {
    /// The weights that were made last are to be written, with a record that is still to come.
    pub(super) fn keep_weights(&mut self, id: JobId) {
        let writes_weights = self.writes_weights;
        if let Some(job) = self.jobs.get(id)
            && (writes_weights || job.specification.patience.is_some())
        {
            job.unwritten.extend(job.base.clone());
        }
    }

    /// Some steps are to be written.
    pub(super) fn persist(&mut self, id: JobId, record: Box<Record>) {
        let Some(job) = self.jobs.get(id) else { return };
        let Progress { base, best, .. } = &record.progress;
        let weights = job.take_unwritten(base);
        if let (Some(best), Some(weights)) = (best, &weights)
            && best.weights == weights.digest
        {
            job.best = Some((weights.digest, weights.bytes.clone()));
        }
        job.written = Some(*base);
        let is_written = self.writes_weights;
        let weights = weights.filter(|_| is_written).map(|weights| job.handover.offer(weights));
        self.write(JournalCommand::Steps { job: id, record, weights });
        if let Some(job) = self.jobs.get(id).filter(|_| is_written) {
            let best = job.best.as_ref().map(|(digest, _)| *digest);
            job.handover.is_ordered(best.as_ref());
        }
    }

    pub(super) fn report(&mut self, id: JobId, event: JobEvent) {
        let message: Message<'static> = match event {
            JobEvent::Queued { position } => {
                let before = counted(position.into(), "job");
                log::info!("job {id} waits for its turn, {before} before it");
                self.event_log.say("job", id, || format!("waits for its turn, {before} before it"));
                let text = format!("the job waits for its turn: {before} before it, those that run among them");
                notice(NoticeKind::Other, text).into()
            }
            JobEvent::Started => {
                log::info!("job {id} starts");
                self.event_log.say("job", id, || "starts");
                return self.job_runs(id);
            }
            JobEvent::RoundDone(round) => {
                let Some(job) = self.jobs.get(id) else { return };
                job.untold.push_back(round);
                self.counts.rounds += 1;
                self.counts.tasks_merged += u64::from(round.merged);
                self.counts.tasks_skipped += u64::from(round.skipped);
                log::debug!("job {id}: round {} of {} is done", round.round, round.rounds);
                self.event_log.say("job", id, || {
                    let (number, of, loss) = (round.round, round.rounds, round.loss);
                    let quality = round.metrics.quality(round.rows);
                    format!("round {number} of {of} is done: loss {loss:.5}, {} {quality}", quality.name())
                });
                return;
            }
            JobEvent::Notice(copy @ Notice::Speculating { .. }) => {
                // Everyday life on a busy fleet: worth a look when somebody wonders, not a line for everyone.
                log::debug!("job {id}: {copy}");
                self.counts.copies += 1;
                self.event_log.say("job", id, || copy.to_string());
                return;
            }
            JobEvent::Notice(text) => {
                log::info!("job {id}: {text}");
                self.counts.revivals += u64::from(matches!(text, Notice::Revival { .. }));
                self.event_log.say("job", id, || text.to_string());
                notice(kind_of(&text), text.to_string()).into()
            }
            JobEvent::Paused(reason) => {
                self.jobs.runs(id, false);
                return self.paused(id, &reason);
            }
            JobEvent::Finished(outcome) => {
                self.jobs.runs(id, false);
                return self.finished(id, &outcome);
            }
        };
        self.tell_watchers(id, &message);
    }

    /// Tells whoever watches a job that runs how the nodes stand, each second.
    pub(super) fn tell_fleet(&mut self) {
        let now = now();
        let watched: Vec<JobId> = self.jobs.running().into_iter().filter(|&job| self.is_watched(job)).collect();
        if watched.is_empty() || now.since_us(self.fleet_told) < TELL_FLEET_EVERY_US {
            return;
        }
        self.fleet_told = now;
        let loads: HashMap<NodeKey, u32> =
            self.links.values().filter_map(|link| Some((link.node, link.load_ppm()?))).collect();
        let trouble = |node: NodeKey| Trouble {
            failed: self.nodes.get(&node).map_or(0, |known| known.tasks_failed),
            load_ppm: loads.get(&node).copied(),
        };
        let status = self.engine.status();
        let nodes = status::fleet(&status, &self.counts, trouble);
        for entry in status.jobs.iter().filter(|entry| watched.contains(&entry.job)) {
            let text = format!("{}; {nodes}", status::progress(&entry.progress));
            self.tell_watchers(entry.job, &notice(NoticeKind::Fleet, text).into());
        }
    }

    fn is_watched(&mut self, job: JobId) -> bool {
        self.jobs.get(job).is_some_and(|job| !job.watchers.is_empty())
    }

    pub(super) fn tell_watchers(&mut self, id: JobId, message: &Message<'static>) {
        let Some(job) = self.jobs.get(id) else { return };
        for watcher in &job.watchers {
            // A client that has gone is reported by its reader.
            let _ = watcher.client.link.answer_more(watcher.request, message);
        }
    }

    fn paused(&mut self, id: JobId, reason: &FailReason) {
        let Some(job) = self.jobs.get(id) else { return };
        let failure = Failure::paused(reason);
        log::warn!("job {id} is paused: {reason}");
        job.paused = Some((failure.clone(), false));
        self.event_log.say("job", id, || format!("is paused: {reason}"));
        self.write(JournalCommand::Pause { job: id, failure });
    }

    fn finished(&mut self, id: JobId, outcome: &Outcome) {
        *match outcome {
            Outcome::Done(_) => &mut self.counts.jobs_done,
            Outcome::Failed(_) => &mut self.counts.jobs_failed,
            Outcome::Cancelled => &mut self.counts.jobs_cancelled,
        } += 1;
        let Some(job) = self.jobs.get(id) else { return };
        let injected = match outcome {
            Outcome::Done(summary) => job.injected.sentence(summary.training_us),
            _ => None,
        };
        let answer = Arc::new(answer(&job.specification, outcome));
        let watchers = std::mem::take(&mut job.watchers);
        if let Outcome::Failed(FailReason::DataMissing { .. } | FailReason::DataWrong { .. }) = outcome {
            // It is forgotten, so that it may be submitted again.
            log::warn!("job {id} has ended: {}", sentence(&answer));
            watchers.iter().for_each(|watcher| watcher.answer(&answer));
            self.archive.forget(id);
            return;
        }
        let (rounds, untold) = (std::mem::take(&mut job.rounds), std::mem::take(&mut job.untold));
        let (is_written, confusion) = (job.is_written, job.confusion.clone().map(|(_, bytes)| bytes));
        let rounds_done = rounds.done() + untold.len() as u32;
        let (state, summary, failure) = match outcome {
            Outcome::Done(summary) => (JobState::Done, Some(summary), None),
            Outcome::Failed(reason) => (JobState::Failed, None, Some(reason.into())),
            Outcome::Cancelled => (JobState::Cancelled, None, Some(Failure::cancelled())),
        };
        let Some(mut status) = self.jobs.status(id, state, 0) else { return };
        status.rounds_done = rounds_done;
        // Not before it was submitted, whatever the clock says.
        status.ended_ms = unix_ms().max(status.submitted_ms).max(1);
        status.fingerprint = summary.map(|summary| summary.fingerprint);
        status.failure = failure;
        let lived_ms = self.lived.at(now()).max(1);
        let waiting = Some(Waiting { watchers, rounds, untold });
        let mut ended = Ended::new(answer, status.clone(), lived_ms, waiting);
        ended.injected = injected;
        ended.had_data = is_written;
        self.ended.insert(id, ended);
        if !self.writes_weights
            && let Outcome::Done(done) = outcome
        {
            self.jobs.hold_result(id, done.weights);
        }
        if !self.writes_weights && status.may_be_resumed() {
            self.jobs.keep(id);
        }
        if is_written {
            self.write(JournalCommand::End { status, summary: summary.cloned(), confusion, lived_ms });
        } else {
            self.durable(id, rounds_done, state, false);
        }
    }

    /// What the journal says.
    pub(super) fn hear_journal(&mut self, told: JournalEvent) {
        match told {
            JournalEvent::Recovered { restored, lived } => {
                if let Some(leap) = self.lived.go_on(lived, now(), unix_ms()) {
                    self.say_leap(leap);
                }
                self.restore(restored);
            }
            JournalEvent::Read { job, read } => self.job_read(job, read),
            JournalEvent::Recalled { job, recalled } => self.recalled(job, recalled),
            JournalEvent::Durable { job, rounds, state, is_written } => self.durable(job, rounds, state, is_written),
            JournalEvent::TooMuch { job } => {
                self.without_room.push(job);
                self.keep_the_last();
            }
            JournalEvent::NotWritten(why) => self.not_written(&why),
            JournalEvent::WrittenAgain => self.written_again(),
        }
    }

    /// A job is durable up to this round and in this state, or the coordinator goes on without: whoever watches is told.
    fn durable(&mut self, id: JobId, rounds: u32, state: JobState, is_written: bool) {
        // One that has just ended may not have been let go of yet.
        let has_ended = self.ended.get(id).is_some_and(|ended| ended.waiting.is_some());
        if let Some(job) = self.jobs.get(id).filter(|_| !has_ended) {
            let told = take_durable(&mut job.untold, rounds);
            job.watchers.iter_mut().for_each(|watcher| watcher.tell_rounds(&told));
            job.rounds.extend(&told);
            if state == JobState::Paused
                && let Some((failure, is_durable)) = &mut job.paused
            {
                *is_durable = true;
                let answer = error_of(failure).into();
                job.watchers.drain(..).for_each(|watcher| watcher.answer(&answer));
                // Else what is in memory is all that there is of it.
                if self.writes_weights && is_written {
                    self.jobs.put_down(id);
                    self.read_what_fits();
                }
            }
            return;
        }
        let Some(ended) = self.ended.get_mut(id) else { return };
        let Some(waiting) = &mut ended.waiting else { return };
        let told = take_durable(&mut waiting.untold, rounds);
        waiting.watchers.iter_mut().for_each(|watcher| watcher.tell_rounds(&told));
        waiting.rounds.extend(&told);
        if !state.has_ended() {
            return;
        }
        if !ended.resuming.is_empty() {
            // Whoever wanted it to go on had to wait for this.
            let _ = self.journal.send(JournalCommand::Recall { job: id });
        }
        let answer = ended.answer.clone();
        for watcher in ended.waiting.take().into_iter().flat_map(|waiting| waiting.watchers) {
            ended.tell_end(watcher, now());
        }
        match &*answer {
            Message::Done(done) => {
                let fingerprint = done.summary.fingerprint;
                log::info!("job {id} is done: fingerprint {fingerprint}");
                self.event_log.say("job", id, || format!("is done: fingerprint {fingerprint}"));
            }
            other => {
                log::warn!("job {id} has ended: {}", sentence(other));
                self.event_log.say("job", id, || format!("has ended: {}", sentence(other)));
            }
        }
        self.keep_the_last();
    }

    /// Takes in what was written before the start.
    fn restore(&mut self, restored: Vec<Restored>) {
        let count = restored.len();
        let mut open = 0;
        for job in restored {
            let (id, state) = (job.state.job(), &job.state);
            let semantic = specification::semantic_digest(&state.specification);
            if let Some(outcome) = state.outcome() {
                let answer = Arc::new(answer(&state.specification, &outcome));
                self.ended.insert(id, Ended::new(answer, state.status.clone(), state.lived_ms, None));
                self.tell(Event::RestoredEnded { job: id, semantic, outcome });
                continue;
            }
            if let Some(reason) = job.unread.clone() {
                log::warn!("job {id} waits: {reason}");
                let (specification, progress) = (state.specification.clone(), state.progress.clone().map(Box::new));
                let paused = Some(self.jobs.restore_unread(job, reason));
                open += 1;
                self.tell(Event::Restored { job: id, specification, semantic, progress, paused });
                continue;
            }
            let (specification, progress) = (state.specification.clone(), state.progress.clone().map(Box::new));
            let paused = state.status.failure.clone().map(FailReason::Recorded);
            if let Err(why) = self.jobs.restore(job) {
                log::error!("job {id} cannot go on: {why}; submit it again");
                self.let_go(id);
                continue;
            }
            open += 1;
            let rounds_done = progress.as_ref().map_or(0, |progress| progress.rounds_done());
            let how = if paused.is_some() { "is still paused" } else { "goes on" };
            log::info!("job {id} {how} after round {rounds_done} of {}", specification.rounds);
            if paused.is_some() && self.writes_weights {
                self.jobs.put_down(id);
            }
            self.tell(Event::Restored { job: id, specification, semantic, progress, paused });
        }
        if count > 0 {
            let jobs = if count == 1 { "1 job is".to_owned() } else { format!("{count} jobs are") };
            log::info!("{jobs} restored, {open} of them not ended");
        }
        self.read_what_fits();
        self.keep_the_last();
        self.recovering.store(false, std::sync::atomic::Ordering::Release);
    }
}

/// The rounds up to this one.
fn take_durable(untold: &mut VecDeque<RoundSummary>, rounds: u32) -> Vec<RoundSummary> {
    let count = untold.partition_point(|round| round.round <= rounds);
    untold.drain(..count).collect()
}

fn sentence<'a>(answer: &'a Message<'_>) -> &'a str {
    match answer {
        Message::Error(error) => &error.text,
        _ => "",
    }
}

pub(super) fn notice(kind: NoticeKind, text: String) -> message::Notice {
    message::Notice { kind, text }
}

fn kind_of(notice: &Notice) -> NoticeKind {
    match notice {
        Notice::NodeLost { .. } | Notice::NodeJoined { .. } | Notice::NodeDoubted { .. } => NoticeKind::Membership,
        Notice::NoNodes
        | Notice::NoNodesYet { .. }
        | Notice::NoneEligible { .. }
        | Notice::NoneHasMemory(_)
        | Notice::Revival { .. } => NoticeKind::Revival,
        Notice::TaskSkipped { .. } => NoticeKind::Skipped,
        Notice::Quarantined { .. }
        | Notice::DigestMismatch { .. }
        | Notice::UpdateRefused { .. }
        | Notice::UpdatesLost { .. } => NoticeKind::Alarm,
        Notice::Speculating { .. } | Notice::RowsTravel { .. } => NoticeKind::Other,
    }
}

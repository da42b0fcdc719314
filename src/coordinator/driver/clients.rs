//! What the driver does with clients and their jobs: submissions, data, merging and validating, reports. Decides nothing.

use std::sync::Arc;

use super::{Driver, Submission};
use crate::coordinator::jobs::Watcher;
use crate::coordinator::server::{Client, ClientKey};
use crate::coordinator::workers::{Merging, Validating};
use crate::digest::Digest;
use crate::engine::{Admission, Event, JobEvent, JobState, Notice, Outcome};
use crate::job::JobId;
use crate::wire::message::{self, Accepted, Error, NoticeKind, Submit};
use crate::wire::{ErrorCode, Message, MessageType, specification};

impl Driver {
    pub(super) fn submit(&mut self, client: Client, request: u32, submit: Submit) {
        let Submit { job, specification, .. } = submit;
        if let Err(refusal) = self.jobs.check(job, &specification) {
            let _ = client.link.answer(request, &refusal.error().into());
            return;
        }
        let semantic = specification::semantic_digest(&specification);
        let specification = Arc::new(specification);
        let watcher = Watcher { client, request, gives_data: true };
        self.submitting = Some(Submission { watcher, specification: specification.clone(), semantic });
        self.tell(Event::Submitted { job, specification, semantic });
    }

    pub(super) fn admit(&mut self, id: JobId, admission: &Admission) {
        let Some(Submission { watcher, specification, semantic }) = self.submitting.take() else { return };
        let refuse = |code, text: String| Error::new(code, MessageType::Submit as u8, text);
        let (accepted, ended) = match admission {
            Admission::Admitted { position } => {
                log::info!("job {id} is queued, {position} before it");
                self.feed.say("job", id, || format!("is queued, {position} before it"));
                self.jobs.insert(id, specification, semantic);
                (accepted(message::JobState::Queued, false, *position, 0), false)
            }
            Admission::Attached { state } => {
                let rounds_done = self.jobs.get(id).map_or(0, |job| job.rounds_done);
                match state {
                    JobState::Collecting { position } | JobState::Queued { position } => {
                        (accepted(message::JobState::Queued, true, *position, 0), false)
                    }
                    JobState::Running { .. } => (accepted(message::JobState::Running, true, 0, rounds_done), false),
                    JobState::Finished(_) => (accepted(message::JobState::Ended, true, 0, rounds_done), true),
                }
            }
            Admission::Conflict => {
                let text = format!("a job {id} exists with another specification: take another id");
                let _ = watcher.client.link.answer(watcher.request, &refuse(ErrorCode::Conflict, text).into());
                return;
            }
            Admission::Busy { queued_max } => {
                let text = format!("{queued_max} jobs are queued already: try again later");
                let error = refuse(ErrorCode::Busy, text).retryable();
                let _ = watcher.client.link.answer(watcher.request, &error.into());
                return;
            }
        };
        let _ = watcher.client.link.answer_more(watcher.request, &accepted.into());
        if ended {
            let gone =
                || Arc::new(refuse(ErrorCode::Internal, "how the job ended is no longer known".to_owned()).into());
            let answer = self.jobs.final_answer(id).unwrap_or_else(gone);
            answer_finally(&watcher, &answer);
            return;
        }
        if let Some(job) = self.jobs.get(id) {
            job.watchers.push(watcher);
        }
    }

    pub(super) fn collect(&mut self, job: JobId) {
        for complete in self.jobs.collect(job) {
            self.data_complete(complete);
        }
    }

    /// All objects of a job are here: checks them, and tells the engine.
    pub(super) fn data_complete(&mut self, job: JobId) {
        let checked = self.jobs.open_data(job);
        self.tell(match checked {
            Ok(()) => Event::DataReady { job },
            Err(reason) => Event::DataMissing { job, reason },
        });
    }

    pub(super) fn object_missing(&mut self, client: ClientKey, digest: &Digest, reason: &str) {
        let failed = self.jobs.source_failed(client, Some(digest));
        self.ask_others(failed, reason);
    }

    pub(super) fn client_gone(&mut self, client: ClientKey) {
        if let Some(gone) = self.clients.remove(&client) {
            self.feed.say("client", gone.link.peer().address, || "is gone");
        }
        let failed = self.jobs.client_gone(client);
        self.ask_others(failed, "the client went away before it had sent it");
    }

    /// Gives up on clients that have been asked for data and send none.
    pub(super) fn sweep_stalled_clients(&mut self) {
        let stalled: Vec<ClientKey> =
            self.clients.values().filter(|client| client.is_stalled()).map(|client| client.key).collect();
        for client in stalled {
            let failed = self.jobs.source_failed(client, None);
            self.ask_others(failed, "the client sends nothing of it");
        }
    }

    /// A client does not give these jobs' data: somebody else who watches them is asked, where there is one.
    fn ask_others(&mut self, jobs: Vec<(JobId, bool)>, reason: &str) {
        for (job, is_other_there) in jobs {
            if is_other_there {
                self.collect(job);
            } else {
                self.tell(Event::DataMissing { job, reason: reason.to_owned() });
            }
        }
    }

    pub(super) fn prepare(&mut self, id: JobId) {
        let initial = self.jobs.initial(id);
        if let Some(job) = self.jobs.get(id) {
            let specification = job.specification.clone();
            self.merge(Merging::Prepare { job: id, specification, initial });
        }
    }

    pub(super) fn merge(&self, order: Merging) {
        // The thread lives as long as the channel, and catches its panics.
        let _ = self.merging.send(order);
    }

    pub(super) fn finish_round(&mut self, job: JobId, step: u64) {
        if let Some(base) = self.jobs.take_base(job) {
            self.merge(Merging::Finish { job, step, base: base.bytes });
        }
    }

    pub(super) fn validate(&mut self, id: JobId, step: u64) {
        let Some(job) = self.jobs.get(id) else { return };
        let (Some(rows), Some(base)) = (job.validation.clone(), &job.base) else { return };
        let weights = base.bytes.clone();
        let order = Validating { job: id, step, specification: job.specification.clone(), weights, rows };
        let _ = self.validating.send(order);
    }

    pub(super) fn report(&mut self, id: JobId, event: JobEvent) {
        let message: Message<'static> = match event {
            JobEvent::Queued { position } => {
                notice(NoticeKind::Other, format!("the job waits, {position} before it")).into()
            }
            JobEvent::Started => {
                log::info!("job {id} starts");
                self.feed.say("job", id, || "starts");
                return;
            }
            JobEvent::RoundDone(done) => {
                let Some(job) = self.jobs.get(id) else { return };
                job.rounds_done = done.step as u32 + 1;
                let round = job.round(&done);
                job.last_round = Some(round);
                self.counts.rounds += 1;
                self.counts.tasks_merged += u64::from(round.merged);
                self.counts.tasks_skipped += u64::from(round.skipped);
                log::debug!("job {id}: round {} of {} is done", round.round, round.rounds);
                self.feed.say("job", id, || {
                    let right = 100.0 * (1.0 - round.errors as f64 / round.rows.max(1) as f64);
                    let (number, of, loss) = (round.round, round.rounds, round.loss);
                    format!("round {number} of {of} is done: loss {loss:.5}, accuracy {right:.2} %")
                });
                round.into()
            }
            JobEvent::Notice(copy @ Notice::Speculating { .. }) => {
                // Everyday life on a busy fleet: worth a look when somebody wonders, not a line for everyone.
                log::debug!("job {id}: {copy}");
                self.counts.copies += 1;
                self.feed.say("job", id, || copy.to_string());
                return;
            }
            JobEvent::Notice(text) => {
                log::info!("job {id}: {text}");
                self.counts.revivals += u64::from(matches!(text, Notice::Revival { .. }));
                self.feed.say("job", id, || text.to_string());
                notice(kind_of(&text), text.to_string()).into()
            }
            JobEvent::Finished(outcome) => return self.finished(id, &outcome),
        };
        let Some(job) = self.jobs.get(id) else { return };
        for watcher in &job.watchers {
            // A client that has gone is reported by its reader.
            let _ = watcher.client.link.answer_more(watcher.request, &message);
        }
    }

    fn finished(&mut self, id: JobId, outcome: &Outcome) {
        let answer = self.jobs.end(id, outcome);
        match &*answer {
            Message::Done(done) => {
                log::info!("job {id} is done: fingerprint {}", done.fingerprint);
                self.feed.say("job", id, || format!("is done: fingerprint {}", done.fingerprint));
            }
            Message::Error(error) => {
                log::warn!("job {id} has ended: {}", error.text);
                self.feed.say("job", id, || format!("has ended: {}", error.text));
            }
            _ => {}
        }
        *match outcome {
            Outcome::Done(_) => &mut self.counts.jobs_done,
            Outcome::Failed(_) => &mut self.counts.jobs_failed,
            Outcome::Cancelled => &mut self.counts.jobs_cancelled,
        } += 1;
        let watchers = self.jobs.get(id).map(|job| std::mem::take(&mut job.watchers)).unwrap_or_default();
        for watcher in watchers {
            answer_finally(&watcher, &answer);
        }
    }
}

/// Ends a watcher's request, with a list of nodes that is no longer than the client takes.
fn answer_finally(watcher: &Watcher, answer: &Message<'static>) {
    let link = &watcher.client.link;
    // A client that has gone is reported by its reader.
    let _ = match answer {
        Message::Done(done) => {
            link.answer(watcher.request, &done.clone().fitting(link.peer().payload_bytes_max).into())
        }
        other => link.answer(watcher.request, other),
    };
}

fn notice(kind: NoticeKind, text: String) -> message::Notice {
    message::Notice { kind, text }
}

fn kind_of(notice: &Notice) -> NoticeKind {
    match notice {
        Notice::NodeLost { .. } | Notice::NodeJoined { .. } => NoticeKind::Membership,
        Notice::NoNodes | Notice::NoneEligible { .. } | Notice::Revival { .. } => NoticeKind::Revival,
        Notice::TaskSkipped { .. } => NoticeKind::Skipped,
        Notice::Quarantined { .. } | Notice::DigestMismatch { .. } | Notice::UpdateRefused { .. } => NoticeKind::Alarm,
        Notice::Speculating { .. } => NoticeKind::Other,
    }
}

fn accepted(state: message::JobState, attached: bool, queue_position: u32, rounds_done: u32) -> Accepted {
    Accepted { state, attached, queue_position, rounds_done }
}

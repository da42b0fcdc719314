//! Watching a job until it ends, and coming back to it when the coordinator is lost. Owns what has been shown and how a
//! watched job ends the program; does not know how anything is printed.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{Receiver, after, select};

use super::advice::advice;
use super::confusion::{self, JobConfusion};
use super::connection_error::ConnectionError;
use super::conversation::{Answer, Conversation};
use super::options::{Access, Command};
use super::render::Renderer;
use super::report::Reporting;
use super::retry::RetryPolicy;
use super::standing;
use super::work::{Reached, Work};
use crate::cli::{Exit, Failure};
use crate::digest::Digest;
use crate::job::Summary;
use crate::net;
use crate::store::Store;
use crate::wire::message::{Accepted, Attach, NoticeKind, Submit};
use crate::wire::text::counted;
use crate::wire::{ErrorCode, Message, object, specification};

/// How the job is asked for.
pub(super) enum Way {
    /// Submitted, again whenever the coordinator is back; its data is served.
    Submit(Arc<Store>),
    /// Attached to.
    Attach,
}

/// A job that is watched.
pub(super) struct Watching<'a> {
    pub(super) access: &'a Access,
    pub(super) work: &'a Work,
    pub(super) way: Way,
    /// Where the model is saved.
    pub(super) out: Option<&'a Path>,
    /// What a report is made of, where one is wanted.
    pub(super) report: Option<Reporting<'a>>,
    pub(super) interrupts: &'a Receiver<()>,
    pub(super) renderer: Renderer,
    /// The cluster is this process: what becomes of it becomes of the job.
    pub(super) is_local: bool,
    /// Nodes hold tasks up on purpose.
    pub(super) has_load: bool,
}

/// What watching has come to.
struct WatchState {
    retry: RetryPolicy,
    /// The last round that was shown.
    rounds_shown: u32,
    /// The coordinator has been reached, or has said that it will be soon.
    was_there: bool,
    /// Jobs that are under way there, where it has had no room for this one the last time that it was asked.
    before: usize,
    has_asked: bool,
    was_accepted: bool,
    /// It was taken in for this client, and no round of it is done: until its data is there, it goes with the client.
    is_new: bool,
    is_lost: bool,
    /// Since it was lost, it has been told that it has no room.
    is_full_told: bool,
    /// What is fetched and cut off, to go on with.
    parts: Arc<Store>,
}

impl Watching<'_> {
    /// Watches to the end: over `first`, if there is a connection already, and over others when it breaks.
    pub(super) fn run(mut self, mut first: Option<Conversation>) -> Result<Exit, Failure> {
        let mut watch = WatchState {
            retry: RetryPolicy::new(self.access.retry_for),
            rounds_shown: 0,
            was_there: first.is_some(),
            before: 0,
            has_asked: false,
            was_accepted: false,
            is_new: false,
            is_lost: false,
            is_full_told: false,
            parts: Arc::new(Store::new(u64::MAX)),
        };
        loop {
            watch.before = 0;
            let conversation = match first.take() {
                Some(conversation) => Ok(conversation),
                None => self.open(&watch),
            };
            // It takes no connection more: whoever has one makes room in the end.
            let is_crowded = matches!(&conversation, Err(error) if error.is_busy());
            let ended = conversation.and_then(|conversation| {
                if !std::mem::replace(&mut watch.has_asked, true) {
                    self.renderer.asked(self.access, self.work);
                }
                watch.was_there = true;
                let ended = self.converse(&conversation, &mut watch);
                // The connection stays where a job is refused: how long it may take is asked over it.
                let is_busy = matches!(&ended, Err(error) if error.is_busy());
                watch.before = match is_busy.then(|| standing::under_way(&conversation)) {
                    Some(Err(ConnectionError::Interrupted)) => return Err(ConnectionError::Interrupted),
                    under_way => under_way.and_then(Result::ok).unwrap_or(0),
                };
                ended
            });
            let error = match ended {
                Ok(end) => return end,
                Err(error) => error,
            };
            if let ConnectionError::Interrupted = error {
                return self.interrupted(&watch);
            }
            watch.was_there |= error.is_recovering();
            let may_pass = if watch.was_there { error.may_pass() } else { error.may_pass_at_first() };
            let is_of_use = may_pass || self.submits_again(&error);
            // What a coordinator of this process refuses it refuses for good.
            let is_refused = self.is_local && !matches!(error, ConnectionError::Lost(_) | ConnectionError::Dial(_));
            if !is_of_use || is_refused || watch.retry.retry_for().is_zero() {
                return self.failed(&error, &watch, false);
            }
            let now = net::now();
            let is_news = !std::mem::replace(&mut watch.is_lost, true);
            if is_news {
                // It is there, and had not what the job needs in time: that it answers again ends no such loss.
                if self.submits_again(&error) {
                    watch.retry.in_vain(now)
                } else {
                    watch.retry.lost(now)
                }
                watch.is_full_told = false;
            }
            // One that is there again and has no room is waited for in another way, and for longer.
            let is_full = error.is_busy() && !std::mem::replace(&mut watch.is_full_told, true);
            if is_news || is_full {
                self.tell_wait(&error, &watch)?;
            }
            if watch.before > 0 || is_crowded {
                watch.retry.others_go_on(now);
            }
            let Some(wait) = watch.retry.wait(now, net::random_u64()) else {
                return self.failed(&error, &watch, true);
            };
            select! {
                recv(self.interrupts) -> _ => return self.interrupted(&watch),
                recv(after(wait)) -> _ => {}
            }
        }
    }

    /// Whether a job that the coordinator has forgotten, half sent, is sent again: by whoever has its data.
    fn submits_again(&self, error: &ConnectionError) -> bool {
        matches!(self.way, Way::Submit(_)) && error.is_to_be_submitted_again()
    }

    /// Why the coordinator is asked again, at once and not when that was in vain.
    fn tell_wait(&self, error: &ConnectionError, watch: &WatchState) -> Result<(), Failure> {
        let retry_for = watch.retry.retry_for();
        if error.is_busy() {
            let before = match watch.before {
                0 => String::new(),
                before => format!(", {} under way", counted(before as u64, "job")),
            };
            let text = format!("no room at the coordinator yet{before} ({error}); asking again");
            return self.renderer.waits(&text, retry_for);
        }
        if self.submits_again(error) {
            return self.renderer.waits(&format!("{error}; trying again for {} s", retry_for.as_secs()), retry_for);
        }
        if watch.was_there {
            return self.renderer.lost(&error.cause(), retry_for);
        }
        self.renderer.waits(&format!("{error}; trying again for {} s", retry_for.as_secs()), retry_for)
    }

    fn open(&self, watch: &WatchState) -> Result<Conversation, ConnectionError> {
        let nothing = Arc::new(Store::new(0));
        let objects = match &self.way {
            Way::Submit(objects) => objects,
            Way::Attach => &nothing,
        };
        Conversation::open(self.access, objects, &watch.parts, self.interrupts)
    }

    /// Asks for the job and shows what comes, until it ends.
    fn converse(
        &mut self,
        conversation: &Conversation,
        watch: &mut WatchState,
    ) -> Result<Result<Exit, Failure>, ConnectionError> {
        conversation.ask(&self.request(watch.rounds_shown, conversation.payload_bytes_max()))?;
        loop {
            let shown = match conversation.next()? {
                Answer::Accepted(accepted) => self.accepted(&accepted, watch),
                Answer::Round(round) => {
                    watch.retry.settled();
                    // A coordinator that does not know what has been shown tells it again.
                    if round.round <= watch.rounds_shown {
                        continue;
                    }
                    check_round(round.round, self.work.specification.rounds)?;
                    watch.rounds_shown = round.round;
                    watch.is_new = false;
                    if let Some(report) = &mut self.report {
                        report.round(&round);
                    }
                    self.renderer.round(&round)
                }
                Answer::Notice(notice) => {
                    watch.retry.settled();
                    if let Some(report) = self.report.as_mut().filter(|_| notice.kind != NoticeKind::Fleet) {
                        report.notice(&notice);
                    }
                    self.has_load |= notice.kind == NoticeKind::Load;
                    self.renderer.notice(&notice)
                }
                Answer::Done(done) => return self.done(conversation, &done),
                _ => return Err(ConnectionError::unfitting("what it was asked")),
            };
            match shown {
                Ok(()) => {}
                // Nobody reads any more: the job goes on without us, unless something is to be saved of it.
                Err(failure) if failure.is_unread() && (self.out.is_some() || self.report.is_some()) => {}
                Err(failure) => return Ok(Err(failure)),
            }
        }
    }

    fn request(&self, rounds_seen: u32, payload_bytes_max: u32) -> Message<'static> {
        let job = self.work.job;
        match self.way {
            Way::Attach => Attach { job, rounds_seen }.into(),
            Way::Submit(_) => {
                let submit = Submit { job, rounds_seen, specification: self.work.specification.clone() };
                fitting(submit, payload_bytes_max).into()
            }
        }
    }

    fn accepted(&self, accepted: &Accepted, watch: &mut WatchState) -> Result<(), Failure> {
        let was_accepted = std::mem::replace(&mut watch.was_accepted, true);
        if std::mem::take(&mut watch.is_lost) {
            let lost_for = watch.retry.back(net::now());
            if was_accepted {
                self.renderer.back(lost_for)?;
            }
        }
        watch.is_new = matches!(self.way, Way::Submit(_)) && !accepted.attached;
        if was_accepted && watch.is_new {
            self.renderer.say("the coordinator had forgotten the job, which starts again");
        }
        self.renderer.accepted(accepted, was_accepted)
    }

    fn done(&self, conversation: &Conversation, done: &Summary) -> Result<Result<Exit, Failure>, ConnectionError> {
        let mut parameters = fetch_model(conversation, self.work, done)?;
        let saved = self.out.map(|out| {
            let reached = Reached::End(Box::new(done.clone()));
            let is_last = self.report.is_none();
            let saved = if is_last { std::mem::take(&mut parameters) } else { parameters.clone() };
            self.work.save(out, &reached, saved)
        });
        // Saved first: what is still asked for is about the model, and is not the model.
        let saved = match saved.transpose() {
            Ok(saved) => saved,
            Err(failure) => return Ok(Err(failure)),
        };
        let confusion = if self.renderer.shows_confusion() { self.fetch_confusion(conversation, done)? } else { None };
        let page = self.report.as_ref().map(|report| {
            let objects = match &self.way {
                Way::Submit(objects) => Some(&**objects),
                Way::Attach => None,
            };
            // What ends with this process is asked for nothing later.
            let access = (!self.is_local).then_some(self.access);
            Ok((report, report.page(conversation, objects, (self.work, done, &parameters), access)?))
        });
        let page = page.transpose()?;
        let finish = || {
            let reported = page.map(|(report, page)| report.save(&page)).transpose()?;
            // Within a process there is no network.
            // Of a job that was held up on purpose, its times say nothing of the network.
            let has_advice = !self.is_local && !self.has_load;
            let advice = if has_advice { advice(&self.work.specification, done) } else { None };
            self.renderer.done(done, confusion.as_ref(), saved, reported, advice.as_ref())?;
            Ok(Exit::Success)
        };
        Ok(finish())
    }

    /// Which class was taken for which, where there are classes, and no more than can be shown. It is no part of the model: where it
    /// cannot be had any more, that is said, and no more.
    fn fetch_confusion(
        &self,
        conversation: &Conversation,
        done: &Summary,
    ) -> Result<Option<JobConfusion>, ConnectionError> {
        let Some(object) = done.confusion else { return Ok(None) };
        let names = self.work.class_names();
        if names.len() > confusion::SHOWN_CLASSES_MAX {
            return Ok(None);
        }
        let cannot = |why: &dyn Display| {
            self.renderer.say(&format!("which class was taken for which cannot be shown: {why}"));
            Ok(None)
        };
        if object.bytes > JobConfusion::bytes_max(names.len()) {
            return cannot(&format_args!("the coordinator says that it takes {} bytes", object.bytes));
        }
        match conversation.fetch(object.digest, object.bytes) {
            Ok(bytes) => match JobConfusion::decode(names, done, &bytes) {
                Ok(confusion) => Ok(Some(confusion)),
                Err(error) => cannot(&error),
            },
            Err(ConnectionError::Object(error)) => cannot(&error),
            Err(other) => Err(other),
        }
    }

    fn interrupted(&self, watch: &WatchState) -> Result<Exit, Failure> {
        self.renderer.say(&match (self.is_local, watch.was_accepted, watch.is_lost) {
            (true, ..) => "stopped, and the job with it".to_owned(),
            (_, false, _) => "stopped before the coordinator accepted the job".to_owned(),
            (_, _, true) => format!("stopped watching; when the coordinator is back, {}", self.shows_the_rest(watch)),
            (..) if watch.is_new => format!("stopped watching: {}", self.shows_the_rest(watch)),
            (..) => format!("stopped watching; the job continues: {}", self.shows_the_rest(watch)),
        });
        Ok(Exit::Interrupted)
    }

    /// How to see the rest of a job that goes on without this client, or may.
    fn shows_the_rest(&self, watch: &WatchState) -> String {
        let attach = self.access.command(Command::ATTACH, self.work.job);
        if watch.is_new {
            format!("{attach} shows the rest if all of the job's data had been sent; if not, submit it again")
        } else {
            format!("{attach} shows the rest")
        }
    }

    /// The job has ended, or it is of no use to look for the coordinator any longer; `has_waited_in_vain` if it might have
    /// been.
    fn failed(&self, error: &ConnectionError, watch: &WatchState, has_waited_in_vain: bool) -> Result<Exit, Failure> {
        let job = self.work.job;
        let command = |verb| self.access.command(verb, job);
        let text = match error.code() {
            Some(ErrorCode::Paused) => format!("{error}. To continue: {}", command(Command::RESUME)),
            Some(ErrorCode::NoNodes | ErrorCode::TaskFailed) if !self.is_local => {
                format!("{error}. To continue: {}", command(Command::RESUME))
            }
            // What the coordinator keeps ends with this process, as do its nodes.
            Some(ErrorCode::NoNodes) => "no node of this process works any more: run the command again".to_owned(),
            Some(ErrorCode::UnknownJob) => unknown_job(self.access, job),
            _ if has_waited_in_vain && (!watch.was_accepted || self.submits_again(error)) => {
                format!("{error}, for {} s now (--retry-for)", self.access.retry_for.as_secs())
            }
            _ if has_waited_in_vain => format!(
                "the coordinator did not come back within {} s: {} When it is back, {}",
                self.access.retry_for.as_secs(),
                ended(&error.cause()),
                self.shows_the_rest(watch)
            ),
            _ if watch.was_accepted && matches!(error, ConnectionError::Lost(_)) => {
                format!("{} If it still runs, {}", ended(error), self.shows_the_rest(watch))
            }
            _ => error.to_string(),
        };
        self.renderer.failed(error.code(), &text)?;
        Err(Failure::new(error.exit(), text))
    }
}

/// That a job of so many rounds has this one.
fn check_round(round: u32, rounds: u32) -> Result<(), ConnectionError> {
    if round > rounds {
        let text = format!("the coordinator tells of round {round}, and the job has {rounds}");
        return Err(ConnectionError::Lie(text));
    }
    Ok(())
}

/// The sentence with its end: a question has one already.
fn ended(sentence: &impl Display) -> String {
    let sentence = sentence.to_string();
    if sentence.ends_with('?') { sentence } else { sentence + "." }
}

/// SUBMIT, without notes where it would be longer with them than the coordinator takes.
fn fitting(mut submit: Submit, payload_bytes_max: u32) -> Submit {
    // Job, rounds seen, the specification's length.
    const HEAD_BYTES: usize = 16 + 4 + 4;
    let bytes = HEAD_BYTES + specification::encode(&submit.specification).len();
    if bytes > payload_bytes_max as usize {
        submit.specification.notes.clear();
    }
    submit
}

/// The parameters of a done job's model, which are what the job's fingerprint says.
pub(super) fn fetch_model(
    conversation: &Conversation,
    work: &Work,
    done: &Summary,
) -> Result<Vec<f32>, ConnectionError> {
    work.check_fingerprint(done).map_err(ConnectionError::Lie)?;
    fetch_weights(conversation, work, done.weights)
}

/// The parameters in weights of a job.
pub(super) fn fetch_weights(
    conversation: &Conversation,
    work: &Work,
    weights: Digest,
) -> Result<Vec<f32>, ConnectionError> {
    let network = &work.specification.training.network;
    let fetched = conversation.fetch(weights, object::parameters_bytes(network));
    let is_gone = fetched.as_ref().is_err_and(|failure| failure.is_unknown_object() && !failure.may_pass());
    let weights = fetched.map_err(|failure| match failure {
        ConnectionError::Object(_) if is_gone => ConnectionError::Lie(
            "the coordinator does not hold the model any more: one without --state-dir keeps models until others need the room. Submit \
             the job again"
                .to_owned(),
        ),
        ConnectionError::Object(error) if !failure.may_pass() => {
            ConnectionError::Lie(format!("the model cannot be fetched: {error}"))
        }
        other => other,
    })?;
    work.parameters(&weights).map_err(ConnectionError::Lie)
}

/// What is said of a job that the coordinator does not know.
pub(super) fn unknown_job(access: &Access, job: impl std::fmt::Display) -> String {
    format!("the coordinator knows no job {job}, or no longer; {} lists its jobs", access.command_line("jobs"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobId, OnNoNodes, Operation, RowsRef, Specification};
    use crate::model::{ARITHMETIC, Merge, Network, Outer, Recipe, Training};

    #[test]
    fn a_round_that_a_job_has_not_is_a_lie() {
        assert!(check_round(1, 4).is_ok() && check_round(4, 4).is_ok());
        let Err(ConnectionError::Lie(said)) = check_round(5, 4) else { panic!("round 5 of 4") };
        assert_eq!(said, "the coordinator tells of round 5, and the job has 4");
    }

    #[test]
    fn notes_are_left_away_where_submit_would_be_too_long_with_them() {
        let rows = RowsRef { rows: 4, digest: crate::digest::Digest([7; 32]) };
        let recipe = Recipe::DEFAULT;
        let specification = Specification {
            patience: None,
            target_accuracy: None,
            test: None,
            training: Training {
                arithmetic: ARITHMETIC,
                network: Network::new(2, &[], 2).unwrap(),
                recipe,
                seed: 1,
                class_weights: Vec::new(),
            },
            rounds: 1,
            round_steps: None,
            shards: vec![rows],
            validation: rows,
            merge: Merge::Mean,
            outer: Outer::AVERAGE,
            initial: None,
            operation: Operation { on_no_nodes: OnNoNodes::Pause, ..Operation::default() },
            notes: vec![1; 1000],
        };
        let submit = Submit { job: JobId(1), rounds_seen: 0, specification };
        let bytes = Message::from(submit.clone()).payload().len() as u32;
        assert_eq!(fitting(submit.clone(), bytes), submit);
        let without = fitting(submit.clone(), bytes - 1);
        assert!(without.specification.notes.is_empty());
        assert_eq!(without.specification.operation, submit.specification.operation);
    }
}

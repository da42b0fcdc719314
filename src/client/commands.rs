//! What is asked of a coordinator besides watching: jobs and how they stand, orders, models, ledgers. Owns the questions
//! and how a job is found by the beginning of its id; does not know how answers are printed.

use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{Receiver, after, select};

use super::connection_error::ConnectionError;
use super::conversation::{Answer, Conversation};
use super::ledger::Pages;
use super::options::{Access, Command, JobName, Output, Shown};
use super::render::{self, Renderer};
use super::report::History;
use super::retry::RetryPolicy;
use super::standing::{jobs, listed, steps_done};
use super::watching::{Watching, Way, fetch_model, fetch_weights, unknown_job};
use super::work::{Reached, Work};
use super::{doctor, listing, report, sink, verify};
use crate::cli::{Exit, Failure};
use crate::job::{JobId, JobState, JobStatus, RoundSummary, Summary};
use crate::model::Kernel;
use crate::net;
use crate::store::Store;
use crate::wire::ErrorCode;
use crate::wire::message::{Attach, Describe, Notice, Order, OrderVerb};

/// Does what a user asks of a coordinator.
pub fn command(access: &Access, command: &Command, output: Output, interrupts: &Receiver<()>) -> Result<Exit, Failure> {
    let session = Session { access, output, interrupts };
    match command {
        Command::Jobs => session.jobs(),
        Command::Job(job) => session.job(job),
        Command::Attach { job, out, shown } => session.attach(job, out.as_deref(), *shown),
        Command::Cancel(job) => session.order(job, OrderVerb::Cancel),
        Command::Resume(job) => session.order(job, OrderVerb::Resume),
        Command::Model { job, out } => session.model(job, out),
        Command::Report { job, out } => session.report(job, out.as_deref()),
        Command::Ledger(job) => session.ledger(job),
        Command::Verify { job, sample, seed } => session.verify(job, *sample, *seed),
        Command::Doctor => {
            let (_, findings) = session.ask(|conversation| Ok(doctor::ask(conversation)?))?;
            doctor::print(&findings, output)
        }
    }
}

/// Why a question has no answer: the conversation broke, or there is something else to be told.
enum Stop {
    ConnectionError(ConnectionError),
    Failure(Failure),
}

impl From<ConnectionError> for Stop {
    fn from(error: ConnectionError) -> Stop {
        Stop::ConnectionError(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failure(failure)
    }
}

struct Session<'a> {
    access: &'a Access,
    output: Output,
    interrupts: &'a Receiver<()>,
}

impl Session<'_> {
    fn jobs(&self) -> Result<Exit, Failure> {
        let (_, jobs) = self.ask(|conversation| Ok(jobs(conversation, None)?))?;
        listing::jobs(&jobs, self.output)
    }

    fn job(&self, name: &JobName) -> Result<Exit, Failure> {
        // It stands somewhere all the same.
        fn unless_refused<T>(answer: Result<T, ConnectionError>) -> Result<Option<T>, ConnectionError> {
            match answer {
                Err(ConnectionError::Refused(_)) => Ok(None),
                answer => answer.map(Some),
            }
        }
        let (_, (job, work, done)) = self.ask(|conversation| {
            let job = self.find(conversation, name)?;
            let work = unless_refused(describe(conversation, job.job))?;
            let is_done = job.state == JobState::Done;
            let done = if is_done { unless_refused(done(conversation, job.job, job.rounds, |_| {}))? } else { None };
            Ok((job, work, done))
        })?;
        listing::job(&job, work.as_ref(), done.as_ref(), self.output)
    }

    fn attach(&self, name: &JobName, out: Option<&Path>, shown: Shown) -> Result<Exit, Failure> {
        if let Some(out) = out {
            sink::check_output(out)?;
        }
        let (conversation, work) = self.ask(|conversation| {
            let id = self.find(conversation, name)?.job;
            Ok(describe(conversation, id)?)
        })?;
        if out.is_some() {
            work.check_saves()?;
        }
        let Session { access, output, interrupts } = *self;
        let renderer = Renderer::new(output, shown, &work);
        Watching {
            access,
            work: &work,
            way: Way::Attach,
            out,
            report: None,
            interrupts,
            renderer,
            is_local: false,
            has_load: false,
        }
        .run(Some(conversation))
    }

    fn order(&self, name: &JobName, verb: OrderVerb) -> Result<Exit, Failure> {
        let (_, job) = self.ask(|conversation| {
            let id = self.find(conversation, name)?.job;
            conversation.ask(&Order { job: id, verb }.into())?;
            self.one(listed(conversation)?, id)
        })?;
        let rest = (verb == OrderVerb::Resume).then(|| self.access.command(Command::ATTACH, job.job));
        if rest.is_some() && job.state.has_ended() {
            let text = format!("{}: it has ended for good, and cannot be resumed", listing::standing(&job));
            return Err(Failure::new(Exit::JobFailed, text));
        }
        listing::stands(&job, rest.as_deref(), self.output)
    }

    fn model(&self, name: &JobName, out: &Path) -> Result<Exit, Failure> {
        sink::check_output(out)?;
        let (_, (job, work, reached, parameters)) = self.ask(|conversation| {
            let job = self.find(conversation, name)?;
            if job.state != JobState::Done && job.weights.is_none() {
                return Err(self.no_model(&job).into());
            }
            let work = describe(conversation, job.job)?;
            work.check_saves()?;
            let Some(weights) = job.weights else {
                let done = done(conversation, job.job, job.rounds, |_| {})?;
                let parameters = fetch_model(conversation, &work, &done)?;
                return Ok((job, work, Reached::End(Box::new(done)), parameters));
            };
            let steps = steps_done(conversation, job.job)?;
            let parameters = fetch_weights(conversation, &work, weights)?;
            Ok((job, work, Reached::Step { weights, steps }, parameters))
        })?;
        let saved = work.save(out, &reached, parameters)?;
        if let Reached::Step { steps, .. } = reached {
            let resume = self.access.command(Command::RESUME, job.job);
            let goes_on = if job.may_be_resumed() { format!("; {resume} lets it go on") } else { String::new() };
            let (id, all) = (job.job, work.specification.steps());
            let stands = match job.state {
                JobState::Failed => "has failed",
                JobState::Cancelled => "was cancelled",
                _ => "is paused",
            };
            render::say(&format!("job {id} {stands}: these are its weights after {steps} of {all} steps{goes_on}"));
        }
        listing::model(&work, &reached, &saved, self.output)
    }

    fn report(&self, name: &JobName, out: Option<&Path>) -> Result<Exit, Failure> {
        super::proof::prove(Kernel::best())?;
        if let Some(out) = out {
            sink::check_output(out)?;
        }
        let (_, page) = self.ask(|conversation| {
            let job = self.find(conversation, name)?;
            if job.state != JobState::Done {
                return Err(report::not_done(&listing::standing(&job), self.access, &job).into());
            }
            let work = describe(conversation, job.job)?;
            let mut history = History::of(&work);
            let done = done(conversation, job.job, 0, |heard| match heard {
                Heard::Round(round) => history.round(&round),
                Heard::Notice(notice) => history.notice(&notice),
            })?;
            let parameters = fetch_model(conversation, &work, &done)?;
            Ok(report::of_job(conversation, (&work, &done, &parameters), history, self.access)?)
        })?;
        report::save(out, &page)?;
        Ok(Exit::Success)
    }

    /// Why there is no model of a job.
    fn no_model(&self, job: &JobStatus) -> Failure {
        let standing = listing::standing(job);
        let text = if job.state.has_failure() {
            format!("{standing}: none of its steps is done, so that there are no weights of it")
        } else {
            let rest = self.access.command(Command::ATTACH, job.job);
            format!("{standing}: {rest} --out FILE waits for its end and saves the model")
        };
        Failure::new(Exit::JobFailed, text)
    }

    fn ledger(&self, name: &JobName) -> Result<Exit, Failure> {
        let (conversation, work) = self.ask(|conversation| {
            let job = self.find(conversation, name)?;
            Ok(describe(conversation, job.job)?)
        })?;
        let mut table = listing::Ledger::new(work.job, &work.specification, self.output);
        let mut pages = Pages::new(work.job);
        while let Some((first, shards, entries)) = pages.next(&conversation)? {
            pages.are_of(&work.specification)?;
            for (place, entry) in (first..).zip(&entries) {
                table.entry(place, shards, entry)?;
            }
        }
        table.end(pages.total(), pages.shards());
        Ok(Exit::Success)
    }

    fn verify(&self, name: &JobName, sample: Option<u64>, seed: Option<u64>) -> Result<Exit, Failure> {
        super::proof::prove(Kernel::best())?;
        let (conversation, (job, work)) = self.ask(|conversation| {
            let job = self.find(conversation, name)?;
            let work = describe(conversation, job.job)?;
            Ok((job, work))
        })?;
        let drawn = sample.map(|tasks| (tasks, seed.unwrap_or_else(net::random_u64)));
        verify::verify(&conversation, &job, &work, drawn, self.output, self.interrupts)
    }

    /// Connects and asks, again while the coordinator cannot be had now and may be later.
    fn ask<T>(&self, question: impl Fn(&Conversation) -> Result<T, Stop>) -> Result<(Conversation, T), Failure> {
        let (nothing, parts) = (Arc::new(Store::new(0)), Arc::new(Store::new(u64::MAX)));
        let mut retry = RetryPolicy::new(self.access.retry_for);
        let mut has_said = false;
        loop {
            let conversation = Conversation::open(self.access, &nothing, &parts, self.interrupts);
            let is_crowded = matches!(&conversation, Err(error) if error.is_busy());
            let asked = conversation.map_err(Stop::from).and_then(|conversation| {
                let answer = question(&conversation)?;
                Ok((conversation, answer))
            });
            let error = match asked {
                Ok(answered) => return Ok(answered),
                Err(Stop::Failure(failure)) => return Err(failure),
                Err(Stop::ConnectionError(error)) => error,
            };
            if !error.may_pass_at_first() {
                return Err(error.into());
            }
            let now = net::now();
            if !std::mem::replace(&mut has_said, true) {
                retry.lost(now);
                if !retry.retry_for().is_zero() {
                    render::say(&format!("{error} (trying again for {} s)", retry.retry_for().as_secs()));
                }
            }
            if is_crowded {
                // Whoever has a connection makes room in the end.
                retry.others_go_on(now);
            }
            let Some(wait) = retry.wait(now, net::random_u64()) else { return Err(error.into()) };
            select! {
                recv(self.interrupts) -> _ => return Err(ConnectionError::Interrupted.into()),
                recv(after(wait)) -> _ => {}
            }
        }
    }

    /// The one job that is meant.
    fn find(&self, conversation: &Conversation, name: &JobName) -> Result<JobStatus, Stop> {
        if let Some(id) = name.whole {
            let known = match jobs(conversation, Some(id)) {
                Err(ConnectionError::Refused(error)) if error.code == ErrorCode::UnknownJob => Vec::new(),
                known => known?,
            };
            return self.one(known, id);
        }
        let mut known = jobs(conversation, None)?;
        known.retain(|job| name.prefix.begins(job.job));
        match &known[..] {
            [] => Err(self.unknown(name.prefix)),
            [_] => Ok(known.remove(0)),
            several => {
                let ids: Vec<String> = several.iter().take(4).map(|job| job.job.to_string()).collect();
                let text = format!(
                    "{} jobs begin with {}: {}{}; add digits until one is left",
                    several.len(),
                    name.prefix,
                    ids.join(", "),
                    if several.len() > ids.len() { ", ..." } else { "" }
                );
                Err(Failure::new(Exit::Usage, text).into())
            }
        }
    }

    fn one(&self, known: Vec<JobStatus>, id: JobId) -> Result<JobStatus, Stop> {
        known.into_iter().find(|job| job.job == id).ok_or_else(|| self.unknown(id))
    }

    fn unknown(&self, job: impl std::fmt::Display) -> Stop {
        Failure::new(Exit::JobFailed, unknown_job(self.access, job)).into()
    }
}

fn describe(conversation: &Conversation, job: JobId) -> Result<Work, ConnectionError> {
    match conversation.answer_to(&Describe { job }.into())? {
        Answer::Described(described) if described.job == job => Ok(Work::from(*described)),
        _ => Err(ConnectionError::unfitting("DESCRIBE")),
    }
}

/// What is told of a job before its end.
enum Heard {
    Round(RoundSummary),
    Notice(Notice),
}

/// How a job that is done ended, and before that its rounds behind so many.
fn done(
    conversation: &Conversation,
    job: JobId,
    rounds_seen: u32,
    mut take: impl FnMut(Heard),
) -> Result<Summary, ConnectionError> {
    conversation.ask(&Attach { job, rounds_seen }.into())?;
    loop {
        match conversation.next_at_once()? {
            Answer::Done(done) => return Ok(*done),
            Answer::Round(round) => take(Heard::Round(round)),
            Answer::Notice(notice) => take(Heard::Notice(notice)),
            Answer::Accepted(_) => {}
            _ => return Err(ConnectionError::unfitting("ATTACH")),
        }
    }
}

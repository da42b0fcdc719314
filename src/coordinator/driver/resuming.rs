//! What the driver does with jobs that are wanted again: one that is paused in memory goes on with what it has, one of which nothing
//! is here, or that was given up, with what is kept of it, which the journal reads back. Decides nothing.

use super::Driver;
use crate::coordinator::answers::error_of;
use crate::coordinator::handles::Client;
use crate::coordinator::job_registry::Refusal;
use crate::coordinator::journal::{JournalCommand, Recalled, Restored};
use crate::engine::Event;
use crate::job::{FailKind, FailReason, Failure, JobId, Specification};
use crate::net::IpAddr;
use crate::wire::message::Error;
use crate::wire::{ErrorCode, MessageType};

impl Driver {
    /// A client wants a job to go on. It is answered with how the job stands then, which may be as before.
    pub(super) fn resume(&mut self, client: &Client, request: u32, job: JobId, specification: Option<&Specification>) {
        if self.jobs.get(job).is_some_and(|open| open.unread.is_some()) {
            self.read(job);
            if self.jobs.await_memory_for(job) {
                // After the next start it is not paused either.
                self.write(JournalCommand::Resume { job });
            }
        } else if let Some(open) = self.jobs.get(job)
            && open.paused.take().is_some()
        {
            open.goes_on = true;
            log::info!("job {job} is resumed");
            self.event_log.say("job", job, || "is resumed");
            self.write(JournalCommand::Resume { job });
            self.tell(Event::ResumeRequested { job });
        } else if let Some(ended) = self.ended.get_mut(job).filter(|ended| ended.status.may_be_resumed()) {
            if !self.writes_weights && !self.jobs.keeps(job) {
                let text = format!(
                    "job {job} cannot go on: it was kept in memory only, and has made room for others; submit it again under \
                     another id, and give the coordinator a --state-dir so that jobs are kept on the disk"
                );
                let _ = client.link.answer(request, &Error::new(ErrorCode::JobData, ABOUT, text).into());
                return;
            }
            // Before all of it is read: whoever is told that there is no room asks again and again.
            let address = client.link.peer().address.ip();
            if let Some(Err(refusal)) = specification.map(|asked_for| self.jobs.check(job, asked_for, address)) {
                let _ = client.link.answer(request, &refused(&refusal).into());
                return;
            }
            ended.resuming.push((client.clone(), request));
            if ended.resuming.len() == 1 && ended.waiting.is_none() {
                self.write(JournalCommand::Recall { job });
            }
            return;
        }
        self.list(client, request, Some(job));
    }

    /// Has a job read of which nothing is here, if that may be now. It goes on once it is here.
    fn read(&mut self, job: JobId) {
        if self.jobs.may_read(job) {
            log::info!("job {job} is resumed");
            self.event_log.say("job", job, || "is resumed");
            self.write(JournalCommand::Read { job });
            self.tell(Event::ReadRequested { job });
        }
    }

    /// Has those jobs read that wait for memory and for which there is some now.
    pub(super) fn read_what_fits(&mut self) {
        for job in self.jobs.await_memory() {
            self.read(job);
        }
    }

    /// A job of which nothing was here is here now, or cannot be read.
    pub(super) fn job_read(&mut self, job: JobId, read: Result<Box<Restored>, String>) {
        if self.jobs.get(job).is_none_or(|open| open.unread.is_none()) {
            // It was cancelled meanwhile.
            return;
        }
        match read.and_then(|restored| self.jobs.restore(*restored)) {
            Ok(()) => {
                if let Some(open) = self.jobs.get(job) {
                    open.paused = None;
                }
                self.write(JournalCommand::Resume { job });
                self.tell(Event::DataReady { job });
            }
            // Perhaps it can be tomorrow: nothing of it is touched.
            Err(why) => {
                let text = format!(
                    "the job is on the coordinator's disk and cannot be read: {why}. It is paused until it is resumed"
                );
                log::error!("job {job}: {text}");
                let failure = Failure { kind: FailKind::Paused, text };
                if let Some(open) = self.jobs.get(job) {
                    open.stay_paused(failure.clone());
                    let answer = error_of(&failure).into();
                    open.watchers.drain(..).for_each(|watcher| watcher.answer(&answer));
                }
                self.tell(Event::ReadFailed { job, reason: FailReason::Recorded(failure) });
            }
        }
    }

    /// What is kept of a job is here, or cannot be had: whoever wants it to go on is answered.
    pub(super) fn recalled(&mut self, job: JobId, recalled: Result<Box<Recalled>, String>) {
        let Some(ended) = self.ended.get_mut(job) else { return };
        let asked = std::mem::take(&mut ended.resuming);
        let Some((first, _)) = asked.first() else { return };
        let reopened = self.reopen(job, recalled, first.link.peer().address.ip());
        for (client, request) in asked {
            match &reopened {
                Ok(()) => self.list(&client, request, Some(job)),
                Err(error) => drop(client.link.answer(request, &error.clone().into())),
            }
        }
        self.keep_the_last();
    }

    fn reopen(&mut self, job: JobId, recalled: Result<Box<Recalled>, String>, address: IpAddr) -> Result<(), Error> {
        let fault = |text: String| Error::new(ErrorCode::Internal, ABOUT, text);
        let Recalled { restored, writer } = *recalled.map_err(fault)?;
        let (specification, progress) = (restored.state.specification.clone(), restored.state.progress.clone());
        // Others may have come while it was read.
        self.jobs.check(job, &specification, address).map_err(|refusal| refused(&refusal))?;
        if let Err(why) = self.jobs.reopen(restored) {
            self.jobs.release(job);
            return Err(fault(format!("job {job} cannot go on: {why}; submit it again")));
        }
        self.ended.forget(job);
        let rounds_done = progress.as_ref().map_or(0, |progress| progress.rounds_done());
        log::info!("job {job} is resumed after round {rounds_done} of {}", specification.rounds);
        self.event_log.say("job", job, || "is resumed");
        self.write(JournalCommand::Reopen { job, writer });
        self.tell(Event::Reopened { job, specification, progress: progress.map(Box::new) });
        Ok(())
    }
}

/// What the answers speak of.
const ABOUT: u8 = MessageType::Order as u8;

fn refused(refusal: &Refusal) -> Error {
    Error { about: ABOUT, ..refusal.error() }
}

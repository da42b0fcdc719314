//! What is told while the journal cannot be written and the coordinator goes on all the same: to whoever watches a job then, and to
//! whoever comes to watch one. Does not know why it cannot, or who decided to go on.

use super::Driver;
use super::reports::notice;
use crate::coordinator::watcher::Watcher;
use crate::wire::Message;
use crate::wire::message::NoticeKind;

impl Driver {
    /// Something could not be written.
    pub(super) fn not_written(&mut self, why: &str) {
        let text = format!(
            "the journal cannot be written: {why}. Jobs go on; what they do until it can is lost if the coordinator ends"
        );
        log::error!("{text}");
        self.tell_of_disk(&text);
        self.unwritten = Some(text);
    }

    /// Everything has been written.
    pub(super) fn written_again(&mut self) {
        if self.unwritten.take().is_some() {
            let text = "the journal can be written again";
            log::info!("{text}");
            self.tell_of_disk(text);
        }
    }

    /// Somebody comes to watch a job: he has heard nothing of it.
    pub(super) fn warn(&self, watcher: &Watcher) {
        if let Some(text) = &self.unwritten {
            let _ = watcher.client.link.answer_more(watcher.request, &notice(NoticeKind::Alarm, text.clone()).into());
        }
    }

    fn tell_of_disk(&mut self, text: &str) {
        self.event_log.say("journal", "coordinator", || text.to_owned());
        let message: Message<'static> = notice(NoticeKind::Alarm, text.to_owned()).into();
        for job in self.jobs.ids() {
            self.tell_watchers(job, &message);
        }
    }
}

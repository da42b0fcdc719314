//! A client's request that hears of a job. Does not know which job.

use super::handles::Client;
use crate::job::{RoundSummary, Specification};
use crate::wire::message::{Error, Notice, NoticeKind};
use crate::wire::{Message, MessageType};

/// A client's request that hears of a job.
#[derive(Clone)]
pub(super) struct Watcher {
    pub(super) client: Client,
    pub(super) request: u32,
    /// Whether the job's data may be had from it: not once it has failed to give it.
    pub(super) gives_data: bool,
    /// Whether it has submitted the job, so that its CANCEL is the job's.
    pub(super) is_submitter: bool,
    /// Rounds that it has been told of, or had seen before.
    pub(super) rounds_seen: u32,
}

impl Watcher {
    /// Tells it of rounds, those that it has not seen.
    pub(super) fn tell_rounds<'r>(&mut self, rounds: impl IntoIterator<Item = &'r RoundSummary>) {
        let unseen: Vec<_> = rounds.into_iter().filter(|round| round.round > self.rounds_seen).collect();
        if let Some(last) = unseen.last() {
            self.rounds_seen = last.round;
        }
        // A client that has gone is reported by its reader.
        let _ = self.client.link.answer_many(self.request, unseen.into_iter().map(|&round| round.into()));
    }

    /// Tells it from which round on the job trains nothing, if there is one.
    pub(super) fn tell_where_training_ends(&self, specification: &Specification) {
        let Some(first) = specification.first_round_without_rate() else {
            return;
        };
        let text = format!(
            "from round {} of {} on the learning rate is too small to change a weight and counts as 0: those rounds train \
             nothing; take a higher rate (eta), a decay (eta_decay) closer to 1, or fewer rounds",
            first + 1,
            specification.rounds
        );
        let _ = self.client.link.answer_more(self.request, &Notice { kind: NoticeKind::Other, text }.into());
    }

    /// Ends its request, with a list of nodes that is no longer than the client takes, or an error about what it asked.
    pub(super) fn answer(&self, answer: &Message<'static>) {
        let link = &self.client.link;
        let _ = match answer {
            Message::Error(error) if !self.is_submitter => {
                let error = Error { about: MessageType::Attach as u8, ..error.clone() };
                link.answer(self.request, &error.into())
            }
            Message::Done(done) => {
                link.answer(self.request, &done.clone().fitting(link.peer().payload_bytes_max).into())
            }
            other => link.answer(self.request, other),
        };
    }
}

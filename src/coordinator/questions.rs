//! What one client asks of the engine's thread: a question is handed on once the one before has been taken up. What is sent and not
//! read is limited before each question, and an answer counts only once it is made: of a thousand questions handed on in one go
//! nobody knows how much their answers will be. Owns whose turn it is; does not know what is asked.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::event::DriverEvent;

/// For how long a question waits for the one before: the engine's thread may be busy, and the client must hear that this program
/// lives.
pub(super) const TURN_WAIT: Duration = Duration::from_secs(1);

/// The questions of one client.
pub(super) struct Questions {
    events: Sender<DriverEvent>,
    wait: Duration,
    /// Ends once the last question has been taken up.
    last: Option<Receiver<()>>,
}

impl Questions {
    /// Questions of which each waits so long for the one before.
    pub(super) fn new(events: Sender<DriverEvent>, wait: Duration) -> Questions {
        Questions { events, wait, last: None }
    }

    /// Hands a question on, when it is its turn.
    pub(super) fn ask(&mut self, question: DriverEvent) {
        if let Some(last) = self.last.take() {
            let _ = last.recv_timeout(self.wait);
        }
        let (taken_up, ends) = bounded(0);
        // A coordinator that is stopping answers nobody.
        let _ = self.events.send(question);
        let _ = self.events.send(DriverEvent::TakenUp(taken_up));
        self.last = Some(ends);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_question_is_handed_on_once_the_one_before_has_been_taken_up() {
        let (events, queue) = bounded(8);
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut questions = Questions::new(events, LONG);
                (0..2).for_each(|_| questions.ask(DriverEvent::Sweep));
            });
            let next = || queue.recv_timeout(LONG);
            assert!(matches!(next(), Ok(DriverEvent::Sweep)));
            let Ok(DriverEvent::TakenUp(first)) = next() else { panic!("its end was due") };
            // Without its turn it would come by now.
            let early = queue.recv_timeout(Duration::from_millis(50));
            drop(first);
            assert!(early.is_err(), "the second question does not wait for the first");
            assert!(matches!(next(), Ok(DriverEvent::Sweep)));
            assert!(matches!(next(), Ok(DriverEvent::TakenUp(_))));
        });
    }

    #[test]
    fn a_question_does_not_wait_for_ever_for_a_thread_that_is_busy() {
        let (events, queue) = bounded(8);
        let mut questions = Questions::new(events, Duration::from_millis(1));
        (0..3).for_each(|_| questions.ask(DriverEvent::Sweep));
        assert_eq!(queue.len(), 6);
    }
}

//! How long coordinators have run over a journal, all of them together, in milliseconds: what jobs that have ended are kept by.
//! The wall clock may leap; time that a program has lived through does not. Pure: it is told both; does not know jobs or
//! files.

use crate::engine::Time;

/// The wall clock may be off by so much from one look to the next, beside what has passed: it is being corrected.
const LEAP_MS: u64 = 30_000;
/// What has been lived through is written down this often: so much of it is lost at most if the coordinator is killed.
const WRITTEN_EVERY_US: u64 = 600_000_000;

/// What is written down of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LivedRecord {
    /// For how long coordinators have run.
    pub(super) lived_ms: u64,
    /// What the wall clock said then, in milliseconds since 1970 in UTC; 0 where it was not asked.
    pub(super) wall_ms: u64,
}

impl LivedRecord {
    /// For how long they had run when a job ended, where the job says this. One that is later than what had not been written down yet
    /// can explain is from another journal, and would make all others old: it counts as if it had ended when this was written.
    pub(super) fn end_of(&self, lived_ms: u64) -> u64 {
        // Twice: a record is written some time after it is due.
        let latest_ms = self.lived_ms.saturating_add(2 * WRITTEN_EVERY_US / 1_000);
        if lived_ms <= latest_ms { lived_ms } else { self.lived_ms }
    }
}

/// For how long coordinators have run, and what the wall clock makes of it.
#[derive(Debug, Default)]
pub(super) struct Lived {
    /// Before this one started.
    before_ms: u64,
    /// When it was last looked, and what the wall clock said.
    looked: Option<(Time, u64)>,
    /// None where this one has written nothing down yet.
    written: Option<Time>,
}

/// The wall clock has leapt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leap {
    /// It is so much later than it should be.
    Ahead { ms: u64 },
    /// It is so much earlier.
    Back { ms: u64 },
}

impl Lived {
    /// Goes on behind what is written; tells whether the wall clock is behind it, too.
    pub(super) fn go_on(&mut self, written: LivedRecord, now: Time, wall_ms: u64) -> Option<Leap> {
        self.before_ms = written.lived_ms;
        // Written down soon: of coordinators that are killed one after the other each has its own to begin with.
        (self.looked, self.written) = (Some((now, wall_ms)), None);
        // How long no coordinator ran nobody knows: it may have been later by any time.
        leap(written.wall_ms, wall_ms).filter(|leap| matches!(leap, Leap::Back { .. }))
    }

    /// For how long coordinators have run.
    pub(super) fn at(&self, now: Time) -> u64 {
        self.before_ms.saturating_add(now.0 / 1_000)
    }

    /// Looks at the wall clock; whether it has leapt since the last look.
    pub(super) fn look(&mut self, now: Time, wall_ms: u64) -> Option<Leap> {
        let (looked, before_ms) = self.looked.replace((now, wall_ms))?;
        leap(before_ms.saturating_add(now.since_us(looked) / 1_000), wall_ms)
    }

    /// What is to be written down, where it is time for it.
    pub(super) fn due(&mut self, now: Time, wall_ms: u64) -> Option<LivedRecord> {
        if self.written.is_some_and(|written| now.since_us(written) < WRITTEN_EVERY_US) {
            return None;
        }
        self.written = Some(now);
        Some(self.record(now, wall_ms))
    }

    /// What is to be written down.
    pub(super) fn record(&self, now: Time, wall_ms: u64) -> LivedRecord {
        LivedRecord { lived_ms: self.at(now), wall_ms }
    }
}

fn leap(due_ms: u64, is_ms: u64) -> Option<Leap> {
    let ms = due_ms.abs_diff(is_ms);
    let leap = if is_ms > due_ms { Leap::Ahead { ms } } else { Leap::Back { ms } };
    (ms > LEAP_MS).then_some(leap)
}

impl std::fmt::Display for Leap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (ms, whither) = match *self {
            Leap::Ahead { ms } => (ms, "ahead"),
            Leap::Back { ms } => (ms, "back"),
        };
        let seconds = ms / 1_000;
        let long = match seconds {
            0..7_200 => format!("{seconds} s"),
            7_200..172_800 => format!("{} h", seconds / 3_600),
            _ => format!("{} days", seconds / 86_400),
        };
        write!(
            f,
            "the wall clock has leapt {long} {whither}: it was set, or the machine slept. No job is removed for that; the \
             times that jobs show may be wrong"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn at_s(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    #[test]
    fn what_is_lived_through_goes_on_behind_what_is_written_whatever_the_wall_clock_says() {
        let mut lived = Lived::default();
        assert_eq!(lived.at(at_s(9)), 9_000);
        assert_eq!(lived.go_on(LivedRecord { lived_ms: 50_000, wall_ms: 7 * DAY_MS }, at_s(10), 47 * DAY_MS), None);
        assert_eq!(lived.at(at_s(11)), 61_000);
        assert_eq!(lived.look(at_s(70), 90 * DAY_MS).map(|_| lived.at(at_s(70))), Some(120_000));
        assert_eq!(lived.due(at_s(70), 1), Some(LivedRecord { lived_ms: 120_000, wall_ms: 1 }));
        let record = LivedRecord { lived_ms: 720_000, wall_ms: 1 };
        assert_eq!((lived.due(at_s(669), 1), lived.due(at_s(670), 1)), (None, Some(record)));
        assert_eq!(lived.due(at_s(671), 1), None);
    }

    #[test]
    fn a_wall_clock_that_is_set_is_told_of_and_one_that_is_corrected_is_not() {
        let mut lived = Lived::default();
        assert_eq!(lived.look(at_s(0), 5 * DAY_MS), None);
        assert_eq!(lived.look(at_s(60), 5 * DAY_MS + 60_000 + LEAP_MS), None);
        let now_ms = 45 * DAY_MS + 120_000 + LEAP_MS;
        let leap = lived.look(at_s(120), now_ms).unwrap();
        assert_eq!(leap, Leap::Ahead { ms: 40 * DAY_MS });
        assert!(leap.to_string().starts_with("the wall clock has leapt 40 days ahead: "), "{leap}");
        assert_eq!(lived.look(at_s(180), now_ms + 60_000), None, "it is told once");
        assert_eq!(lived.look(at_s(240), 60_000), Some(Leap::Back { ms: now_ms + 60_000 }));
    }

    #[test]
    fn a_wall_clock_that_is_behind_what_was_written_is_told_of_at_the_start() {
        let written = LivedRecord { lived_ms: 1, wall_ms: 9 * DAY_MS };
        assert_eq!(Lived::default().go_on(written, at_s(1), 8 * DAY_MS), Some(Leap::Back { ms: DAY_MS }));
    }
}

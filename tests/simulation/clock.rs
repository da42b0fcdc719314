//! A job's time, told a second time from outside: what the engine says of it is compared with this. Keeps every moment of a
//! round and looks at them all at its end, where the engine adds up as it goes.

use gradwire::engine::LinkKey;
use gradwire::job::Profile;

/// What a job is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Preparing,
    /// A task is to be handed out, and nobody is there.
    Deserted,
    /// Everything is out, and somebody who has trained has nothing.
    Straggling,
    Working,
    /// The round is done, but too many validations are not.
    HeldUp,
    Merging,
    Validating,
}

#[derive(Debug)]
pub struct Clock {
    pub started_us: u64,
    /// How long the job ran before.
    pub before_us: u64,
    now: Moment,
    since_us: u64,
    /// The round under way: its moments, what was trained in it, when its last task was done, and over which link.
    moments: Vec<(u64, u64, Moment)>,
    trained: Vec<(LinkKey, u64, u64)>,
    last_us: u64,
    last: Option<LinkKey>,
    told: Profile,
}

impl Clock {
    /// The job begins, or goes on after `told`.
    pub fn start(now_us: u64, told: Profile) -> Clock {
        Clock {
            started_us: now_us,
            before_us: told.total_us(),
            now: Moment::Preparing,
            since_us: now_us,
            moments: Vec::new(),
            trained: Vec::new(),
            last_us: now_us,
            last: None,
            told,
        }
    }

    /// From now on the job is at this.
    pub fn turn(&mut self, now_us: u64, moment: Moment) {
        let since_us = std::mem::replace(&mut self.since_us, now_us);
        match std::mem::replace(&mut self.now, moment) {
            Moment::Preparing => self.told.prepare_us += now_us - since_us,
            Moment::Merging => self.told.merge_us += now_us - since_us,
            Moment::Validating => self.told.validate_us += now_us - since_us,
            other => self.moments.push((since_us, now_us, other)),
        }
    }

    pub fn trained(&mut self, link: LinkKey, from_us: u64, to_us: u64) {
        self.trained.push((link, from_us, to_us));
    }

    /// Whether a link has trained for the round under way.
    pub fn has_trained(&self, link: LinkKey) -> bool {
        self.trained.iter().any(|(other, ..)| *other == link)
    }

    pub fn task_done(&mut self, now_us: u64, link: Option<LinkKey>) {
        self.last_us = now_us;
        self.last = link.or(self.last);
    }

    pub fn round_done(&mut self, now_us: u64) {
        self.turn(now_us, Moment::Merging);
        let last = self.last.take();
        let mut trained: Vec<(u64, u64)> = std::mem::take(&mut self.trained)
            .into_iter()
            .filter(|(link, ..)| Some(*link) == last)
            .map(|(_, from_us, to_us)| (from_us, to_us))
            .collect();
        trained.sort_unstable();
        for (from_us, to_us, moment) in std::mem::take(&mut self.moments) {
            let cut_us = self.last_us.clamp(from_us, to_us);
            let before_us = cut_us - from_us;
            match moment {
                Moment::Deserted => self.told.no_nodes_us += before_us,
                Moment::Straggling => self.told.stragglers_us += before_us,
                _ => {
                    let compute_us = covered_us(from_us, cut_us, &trained);
                    self.told.compute_us += compute_us;
                    self.told.wire_us += before_us - compute_us;
                }
            }
            let after_us = to_us - cut_us;
            match moment {
                Moment::HeldUp => self.told.validate_us += after_us,
                _ => self.told.merge_us += after_us,
            }
        }
    }

    /// Where the time has gone, up to the present round or the last one.
    pub fn told(&self) -> Profile {
        self.told
    }

    pub fn done(&mut self, now_us: u64) -> Profile {
        self.turn(now_us, Moment::Validating);
        self.told
    }
}

/// How much of a stretch lies in at least one of these, which are sorted.
fn covered_us(mut from_us: u64, to_us: u64, stretches: &[(u64, u64)]) -> u64 {
    let mut covered_us = 0;
    for &(start_us, end_us) in stretches {
        let (start_us, end_us) = (start_us.max(from_us), end_us.min(to_us));
        if end_us > start_us {
            covered_us += end_us - start_us;
            from_us = end_us;
        }
    }
    covered_us
}

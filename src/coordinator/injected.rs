//! What nodes hold up on purpose, of one job: tasks that injected load has delayed or turned down. Owns the counts and their
//! sentences, so that nobody wonders where the time goes; does not know who is told.

use std::ops::RangeInclusive;

use crate::wire::text::counted;

/// What injected load has done to a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InjectedLoad {
    trained: u64,
    delayed: u64,
    delayed_ms: u64,
    turned_down: u64,
    /// The least and the greatest that nodes said of their load, in parts of a million.
    told_ppm: Option<RangeInclusive<u32>>,
}

impl InjectedLoad {
    /// A task was trained, after such a delay, at a node that says so of its load. A sentence about the first that was delayed at all.
    pub(super) fn trained(&mut self, node: &str, load_ppm: Option<u32>, delayed_ms: u32) -> Option<String> {
        self.trained += 1;
        if delayed_ms == 0 {
            return None;
        }
        self.delayed += 1;
        self.delayed_ms += u64::from(delayed_ms);
        self.note(load_ppm);
        (self.delayed == 1).then(|| {
            let how = load_ppm.map_or_else(|| "above 0".to_owned(), |ppm| format!("of {}", probability(ppm)));
            format!("node {node} holds tasks up on purpose: it was started with a <load_probability> {how}, which injects load")
        })
    }

    /// A node has turned a task down because of it.
    pub(super) fn turned_down(&mut self, load_ppm: Option<u32>) {
        self.turned_down += 1;
        self.note(load_ppm);
    }

    fn note(&mut self, load_ppm: Option<u32>) {
        let Some(ppm) = load_ppm else { return };
        let (least, most) = self.told_ppm.as_ref().map_or((ppm, ppm), |told| (*told.start(), *told.end()));
        self.told_ppm = Some(least.min(ppm)..=most.max(ppm));
    }

    /// What it came to, at the end; nothing where there was none.
    pub(super) fn sentence(&self, training_us: u64) -> Option<String> {
        let InjectedLoad { trained, delayed, delayed_ms, turned_down, .. } = *self;
        if delayed + turned_down == 0 {
            return None;
        }
        let mean_s = delayed_ms as f64 / 1e3 / delayed.max(1) as f64;
        let by = if delayed > 0 { format!(" by {mean_s:.1} s") } else { String::new() };
        let refused = match turned_down {
            0 => String::new(),
            count => format!(", and tasks were turned down {}", counted(count, "time")),
        };
        let load = match &self.told_ppm {
            None => "the nodes' <load_probability>".to_owned(),
            Some(told) if told.start() == told.end() => format!("load probability {}", probability(*told.start())),
            Some(told) => format!("load probability {} to {}", probability(*told.start()), probability(*told.end())),
        };
        let were = if delayed == 1 { "was" } else { "were" };
        Some(format!(
            "injected load: {delayed} of {} {were} delayed{by}{refused} ({load}); training itself took \
             {:.1} s",
            counted(trained, "task"),
            training_us as f64 / 1e6
        ))
    }
}

/// As it was typed.
pub(super) fn probability(load_ppm: u32) -> f64 {
    f64::from(load_ppm.min(1_000_000)) / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_delayed_is_told_once_while_it_goes_on_and_in_full_at_the_end() {
        let mut load = InjectedLoad::default();
        assert_eq!((load.trained("a", Some(300_000), 0), load.sentence(1)), (None, None));
        let first = load.trained("a", Some(300_000), 3_000).unwrap();
        assert!(first.starts_with("node a holds tasks up on purpose") && first.contains("of 0.3,"), "{first}");
        assert_eq!(load.trained("b", None, 2_000), None);
        load.turned_down(None);
        assert_eq!(
            load.sentence(700_000).unwrap(),
            "injected load: 2 of 3 tasks were delayed by 2.5 s, and tasks were turned down 1 time (load \
             probability 0.3); training itself took 0.7 s"
        );
        load.turned_down(Some(5));
        assert!(load.sentence(0).unwrap().contains("(load probability 0.000005 to 0.3)"));
    }
}

//! What nodes hold up on purpose, of one job: tasks that injected load has delayed or turned down. Owns the counts and their
//! sentences, so that nobody wonders where the time goes; does not know who is told.

use crate::wire::text::counted;

/// What injected load has done to a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InjectedLoad {
    trained: u64,
    delayed: u64,
    delayed_ms: u64,
    turned_down: u64,
}

impl InjectedLoad {
    /// A task was trained, after such a delay. A sentence about the first that was delayed at all.
    pub(super) fn trained(&mut self, node: &str, delayed_ms: u32) -> Option<String> {
        self.trained += 1;
        if delayed_ms == 0 {
            return None;
        }
        self.delayed += 1;
        self.delayed_ms += u64::from(delayed_ms);
        (self.delayed == 1).then(|| {
            format!("node {node} holds tasks up on purpose: it was started with a <load_probability> above 0, which injects load")
        })
    }

    /// A node has turned a task down because of it.
    pub(super) fn turned_down(&mut self) {
        self.turned_down += 1;
    }

    /// What it came to, at the end; nothing where there was none.
    pub(super) fn sentence(&self, training_us: u64) -> Option<String> {
        let InjectedLoad { trained, delayed, delayed_ms, turned_down } = *self;
        if delayed + turned_down == 0 {
            return None;
        }
        let mean_s = delayed_ms as f64 / 1e3 / delayed.max(1) as f64;
        let by = if delayed > 0 { format!(" by {mean_s:.1} s") } else { String::new() };
        let refused = match turned_down {
            0 => String::new(),
            count => format!(", and tasks were turned down {}", counted(count, "time")),
        };
        let were = if delayed == 1 { "was" } else { "were" };
        Some(format!(
            "injected load: {delayed} of {} {were} delayed{by}{refused} (the nodes' <load_probability>); training itself took \
             {:.1} s",
            counted(trained, "task"),
            training_us as f64 / 1e6
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_delayed_is_told_once_while_it_goes_on_and_in_full_at_the_end() {
        let mut load = InjectedLoad::default();
        assert_eq!((load.trained("a", 0), load.sentence(1)), (None, None));
        assert!(load.trained("a", 3_000).unwrap().starts_with("node a holds tasks up on purpose"));
        assert_eq!(load.trained("b", 2_000), None);
        load.turned_down();
        assert_eq!(
            load.sentence(700_000).unwrap(),
            "injected load: 2 of 3 tasks were delayed by 2.5 s, and tasks were turned down 1 time (the nodes' \
             <load_probability>); training itself took 0.7 s"
        );
    }
}

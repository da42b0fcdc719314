//! How long a task may take before it counts as slow, beside what is expected of its node for so many rows. Owns how far the times of
//! one job's tasks were from what was expected; does not know tasks or nodes, nor how it is expected (`speed`).

use std::collections::VecDeque;

/// Observed times kept.
const KEPT: usize = 64;
/// Observations from which on the spread means something.
const ENOUGH: usize = 8;
/// Median absolute deviations above the median that are still normal.
const DEVIATIONS: f64 = 5.0;
/// No task counts as slow before so many times what is expected.
const LEAST: f64 = 1.5;
/// With fewer observations a task is copied after so many times the longest of them.
const CAUTION: u64 = 8;
/// No task is copied on so little evidence before this.
const CAUTION_FLOOR_US: u64 = 1_000_000;
/// Without any observation a task is copied after this: every node that has one may hang.
const UNSEEN_US: u64 = 30_000_000;
/// No task counts as slow before this: copies of tiny tasks cost more than they save.
const FLOOR_US: u64 = 20_000;
/// A copy is sure to be worth it where it would be done in so small a part of the time that is left.
const WORTH_PART: f64 = 0.5;

/// The last times from dispatch to result of one job's tasks.
#[derive(Default)]
pub(super) struct Pace {
    /// Each as a multiple of what was expected.
    recent: VecDeque<f64>,
    /// The longest of them, in microseconds.
    longest_us: u64,
    /// From this multiple on a task counts as slow.
    limit: Option<f64>,
}

impl Pace {
    /// Takes one time from dispatch to result. What nothing was expected of took as long as it should.
    pub(super) fn observe(&mut self, elapsed_us: u64, expected_us: Option<f64>) {
        if self.recent.len() == KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(expected_us.map_or(1.0, |expected_us| elapsed_us as f64 / expected_us.max(1.0)));
        self.longest_us = self.longest_us.max(elapsed_us);
        let mut times: Vec<f64> = self.recent.iter().copied().collect();
        let median = upper_median(&mut times);
        times.iter_mut().for_each(|time| *time = (*time - median).abs());
        let deviation = upper_median(&mut times);
        self.limit = Some((median + DEVIATIONS * deviation).max(LEAST));
    }

    /// That time by what was seen, of a task of which so much is expected: the median of such times and 5 median absolute
    /// deviations, at least half as long again and at least 20 ms. None while there is too little to judge by: fewer than 8
    /// observations, unless half of the round is done.
    fn limit_us(&self, expected_us: Option<f64>, half_done: bool) -> Option<u64> {
        let limit = self.limit.filter(|_| half_done || self.recent.len() >= ENOUGH)?;
        Some(((expected_us? * limit).round() as u64).max(FLOOR_US))
    }

    /// The time after which a task counts as slow: an idle node gets a copy, and no other task waits for its node. Where there is
    /// too little to judge by, it is generous; but it comes: the slow node may have most of the round's tasks, and never say a
    /// word of them.
    pub(super) fn slow_after_us(&self, expected_us: Option<f64>, half_done: bool) -> u64 {
        let cautious_us = || self.longest_us.saturating_mul(CAUTION).max(CAUTION_FLOOR_US);
        let seen_us = || (!self.recent.is_empty()).then(cautious_us);
        self.limit_us(expected_us, half_done).or_else(seen_us).unwrap_or(UNSEEN_US)
    }

    /// Whether a copy that takes so long is worth it, of a task that will take so long yet.
    pub(super) fn is_worth_a_copy(left_us: f64, copy_us: f64) -> bool {
        copy_us + FLOOR_US as f64 <= left_us * WORTH_PART
    }
}

/// The upper median of at least one value.
fn upper_median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After tasks of which 100 ms were expected.
    fn pace(times_ms: &[u64]) -> Pace {
        let mut pace = Pace::default();
        times_ms.iter().for_each(|ms| pace.observe(ms * 1000, Some(100_000.0)));
        pace
    }

    const EXPECTED: Option<f64> = Some(100_000.0);

    #[test]
    fn nothing_counts_as_slow_before_there_is_something_to_judge_by() {
        assert_eq!(pace(&[]).limit_us(EXPECTED, true), None);
        assert_eq!(pace(&[100; 7]).limit_us(EXPECTED, false), None);
        assert_eq!(pace(&[100; 7]).limit_us(EXPECTED, true), Some(150_000));
        assert_eq!(pace(&[100; 8]).limit_us(EXPECTED, false), Some(150_000));
        assert_eq!(pace(&[100; 8]).limit_us(None, false), None, "of the node nothing is known, nor of others");
    }

    #[test]
    fn a_copy_comes_some_time_however_little_was_seen() {
        assert_eq!(pace(&[]).slow_after_us(EXPECTED, false), UNSEEN_US);
        assert_eq!(pace(&[20, 30]).slow_after_us(EXPECTED, false), 1_000_000);
        assert_eq!(pace(&[20, 300]).slow_after_us(EXPECTED, false), 2_400_000);
        assert_eq!(pace(&[100; 7]).slow_after_us(EXPECTED, true), 150_000);
        assert_eq!(pace(&[100; 8]).slow_after_us(EXPECTED, false), 150_000);
    }

    #[test]
    fn the_limit_follows_the_spread_and_what_is_expected_and_never_falls_below_its_floors() {
        assert_eq!(pace(&[1; 8]).limit_us(Some(1_000.0), false), Some(20_000));
        let spread = pace(&[100, 100, 100, 60, 140, 60, 140, 140, 60]);
        assert_eq!(spread.limit_us(EXPECTED, false), Some(300_000));
        assert_eq!(spread.limit_us(Some(800_000.0), false), Some(2_400_000));
    }

    #[test]
    fn one_outlier_does_not_move_the_limit_and_old_times_are_forgotten() {
        let times = [100, 100, 100, 100, 100, 100, 100, 100, 9_999_999];
        assert_eq!(pace(&times).limit_us(EXPECTED, false), Some(150_000));
        let mut times = vec![100; 200];
        times.extend([200; KEPT]);
        assert_eq!(pace(&times).limit_us(EXPECTED, false), Some(200_000));
    }

    #[test]
    fn a_copy_is_worth_it_before_its_task_is_late_only_where_it_is_far_sooner_done() {
        assert!(Pace::is_worth_a_copy(700_000.0, 100_000.0));
        assert!(!Pace::is_worth_a_copy(200_000.0, 100_000.0));
        assert!(!Pace::is_worth_a_copy(30_000.0, 1_000.0), "a tiny one");
    }
}

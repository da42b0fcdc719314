//! How long a task may take before it counts as slow. Owns the observed times of one job; does not know tasks or nodes.

use std::collections::VecDeque;

/// Observed times kept.
const KEPT: usize = 64;
/// Observations from which on the spread means something.
const ENOUGH: usize = 8;
/// Median absolute deviations above the median that are still normal.
const DEVIATIONS: u64 = 5;
/// With fewer observations a task is copied after so many times the longest of them.
const CAUTION: u64 = 8;
/// No task is copied on so little evidence before this.
const CAUTION_FLOOR_US: u64 = 1_000_000;
/// Without any observation a task is copied after this: every node that has one may hang.
const UNSEEN_US: u64 = 30_000_000;
/// No task counts as slow before this: copies of tiny tasks cost more than they save.
const FLOOR_US: u64 = 200_000;

/// The last times from dispatch to result of one job's tasks.
#[derive(Default)]
pub(super) struct Pace {
    recent_us: VecDeque<u64>,
    limit_us: Option<u64>,
}

impl Pace {
    /// Takes one time from dispatch to result.
    pub(super) fn observe(&mut self, elapsed_us: u64) {
        if self.recent_us.len() == KEPT {
            self.recent_us.pop_front();
        }
        self.recent_us.push_back(elapsed_us);
        let mut times: Vec<u64> = self.recent_us.iter().copied().collect();
        let median = upper_median(&mut times);
        times.iter_mut().for_each(|time| *time = time.abs_diff(median));
        let deviation = upper_median(&mut times);
        let spread = median.saturating_add(deviation.saturating_mul(DEVIATIONS));
        self.limit_us = Some(spread.max(median.saturating_mul(2)).max(FLOOR_US));
    }

    /// The time beyond which a task counts as slow: median + 5 median absolute deviations, at least twice the median and
    /// at least 200 ms. None while there is too little to judge by: fewer than 8 observations, unless half of the round
    /// is done.
    pub(super) fn limit_us(&self, half_done: bool) -> Option<u64> {
        self.limit_us.filter(|_| half_done || self.recent_us.len() >= ENOUGH)
    }

    /// The time after which an idle node gets a copy of a task. Where there is too little to judge by, it is generous; but
    /// it comes: the slow node may have most of the round's tasks, and never say a word of them.
    pub(super) fn copy_after_us(&self, half_done: bool) -> u64 {
        let longest_us = || self.recent_us.iter().copied().max();
        let cautious_us = || longest_us().map(|longest| longest.saturating_mul(CAUTION).max(CAUTION_FLOOR_US));
        self.limit_us(half_done).or_else(cautious_us).unwrap_or(UNSEEN_US)
    }
}

/// The upper median of at least one value.
fn upper_median(values: &mut [u64]) -> u64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable(middle).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(times_ms: &[u64]) -> Pace {
        let mut pace = Pace::default();
        times_ms.iter().for_each(|ms| pace.observe(ms * 1000));
        pace
    }

    #[test]
    fn nothing_counts_as_slow_before_there_is_something_to_judge_by() {
        assert_eq!(pace(&[]).limit_us(true), None);
        assert_eq!(pace(&[100; 7]).limit_us(false), None);
        assert_eq!(pace(&[100; 7]).limit_us(true), Some(200_000));
        assert_eq!(pace(&[100; 8]).limit_us(false), Some(200_000));
    }

    #[test]
    fn a_copy_comes_some_time_however_little_was_seen() {
        assert_eq!(pace(&[]).copy_after_us(false), UNSEEN_US);
        assert_eq!(pace(&[20, 30]).copy_after_us(false), 1_000_000);
        assert_eq!(pace(&[20, 300]).copy_after_us(false), 2_400_000);
        assert_eq!(pace(&[100; 7]).copy_after_us(true), 200_000);
        assert_eq!(pace(&[100; 8]).copy_after_us(false), 200_000);
    }

    #[test]
    fn the_limit_follows_the_spread_and_never_falls_below_its_floors() {
        assert_eq!(pace(&[1; 8]).limit_us(false), Some(200_000));
        assert_eq!(pace(&[100, 100, 100, 60, 140, 60, 140, 140, 60]).limit_us(false), Some(300_000));
    }

    #[test]
    fn one_outlier_does_not_move_the_limit_and_old_times_are_forgotten() {
        assert_eq!(pace(&[100, 100, 100, 100, 100, 100, 100, 100, 9_999_999]).limit_us(false), Some(200_000));
        let mut times = vec![100; 200];
        times.extend([200; KEPT]);
        assert_eq!(pace(&times).limit_us(false), Some(400_000));
    }
}

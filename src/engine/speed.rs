//! How long a node takes for a task of so many rows, as far as seen in this job: a time that every task takes, however small
//! it is, and one for each row. Owns the averages; does not know tasks, or nodes beyond their keys.

use super::nodes::NodeKey;

/// Weight of the newest time in a running average.
const NEWEST_WEIGHT: f64 = 0.2;

/// What a node takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Speed {
    /// Besides training: the way there and back, and whatever waits on it.
    pub(super) overhead_us: f64,
    /// By the node's own account.
    pub(super) us_per_row: f64,
}

/// A worker that can take blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Worker {
    /// Its node.
    pub(super) node: NodeKey,
    /// How fast it is.
    pub(super) speed: Speed,
    /// Its part of the node's memory for rows.
    pub(super) cache_bytes: u64,
}

impl Speed {
    /// Takes in a task of so many rows that was out for `elapsed_us`, and trained for `train_us` of it.
    pub(super) fn observe(before: Option<Speed>, elapsed_us: u64, train_us: u64, rows: u32) -> Speed {
        let train_us = train_us.min(elapsed_us);
        let newest = Speed {
            overhead_us: (elapsed_us - train_us) as f64,
            // Times are whole microseconds, and a tiny task may take none.
            us_per_row: (train_us as f64).max(0.5) / f64::from(rows.max(1)),
        };
        let average = |before: f64, newest: f64| before + NEWEST_WEIGHT * (newest - before);
        before.map_or(newest, |before| Speed {
            overhead_us: average(before.overhead_us, newest.overhead_us),
            us_per_row: average(before.us_per_row, newest.us_per_row),
        })
    }

    /// What a task of so many rows takes.
    pub(super) fn task_us(self, rows: u32) -> f64 {
        self.overhead_us + self.us_per_row * f64::from(rows)
    }

    /// What is left of a slow moment once a node has had nothing to do for a while: not less than what the fastest take.
    pub(super) fn faded(self, factor: f64, least: Speed) -> Speed {
        Speed {
            overhead_us: (self.overhead_us * factor).max(least.overhead_us),
            us_per_row: (self.us_per_row * factor).max(least.us_per_row),
        }
    }

    /// The least of each of what these take.
    pub(super) fn least(known: impl Iterator<Item = Speed>) -> Speed {
        let none = Speed { overhead_us: f64::INFINITY, us_per_row: f64::INFINITY };
        known.fold(none, |least, speed| Speed {
            overhead_us: least.overhead_us.min(speed.overhead_us),
            us_per_row: least.us_per_row.min(speed.us_per_row),
        })
    }

    /// What may be expected of a node that has done nothing yet: what these take on average.
    pub(super) fn usual(known: &[Speed]) -> Speed {
        let count = known.len().max(1) as f64;
        let mean = |of: fn(&Speed) -> f64| known.iter().map(of).sum::<f64>() / count;
        match known {
            [] => Speed { overhead_us: 0.0, us_per_row: 1.0 },
            _ => Speed { overhead_us: mean(|speed| speed.overhead_us), us_per_row: mean(|speed| speed.us_per_row) },
        }
    }
}

/// So many blocks of so many rows shared among workers of these speeds, such that the last of them to be done is done as soon
/// as can be. A worker so slow that the others are done before it has done one gets none.
pub(super) fn shares(count: u32, block_rows: f64, speeds: &[Speed]) -> Vec<u32> {
    shares_up_to(count, block_rows, speeds, &vec![count; speeds.len()])
}

/// The same where each may have so many at most; together those are as many as there are, or more.
pub(super) fn shares_up_to(count: u32, block_rows: f64, speeds: &[Speed], most: &[u32]) -> Vec<u32> {
    let end_us = |speed: &Speed, blocks: u32| speed.overhead_us + speed.us_per_row * block_rows * f64::from(blocks);
    let within = |(speed, most): (&Speed, &u32), us: f64| {
        let blocks = ((us - speed.overhead_us) / (speed.us_per_row * block_rows)).max(0.0);
        blocks.min((*most).into()) as u32
    };
    let all_within = |us: f64| speeds.iter().zip(most).map(|worker| u64::from(within(worker, us))).sum::<u64>();
    // All but the last few at once: a step may have thousands of blocks, and a fleet thousands of workers.
    let (mut early, mut late) = (0.0, speeds.iter().map(|speed| end_us(speed, count)).fold(0.0, f64::max));
    for _ in 0..40 {
        let middle = (early + late) / 2.0;
        if all_within(middle) <= u64::from(count) { early = middle } else { late = middle }
    }
    let mut shares: Vec<u32> = speeds.iter().zip(most).map(|worker| within(worker, early)).collect();
    for _ in shares.iter().sum::<u32>()..count {
        let end = |place: &usize| end_us(&speeds[*place], shares[*place] + 1);
        let open = (0..speeds.len()).filter(|place| shares[*place] < most[*place]);
        let Some(place) = open.min_by(|a, b| end(a).total_cmp(&end(b))) else { break };
        shares[place] += 1;
    }
    shares
}

/// When the last of these workers has done its share.
pub(super) fn last_end_us(block_rows: f64, speeds: &[Speed], shares: &[u32]) -> f64 {
    let busy = speeds.iter().zip(shares).filter(|(_, blocks)| **blocks > 0);
    let ends = busy.map(|(speed, blocks)| speed.overhead_us + speed.us_per_row * block_rows * f64::from(*blocks));
    ends.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speeds(us_per_row: &[f64]) -> Vec<Speed> {
        us_per_row.iter().map(|&us_per_row| Speed { overhead_us: 0.0, us_per_row }).collect()
    }

    #[test]
    fn blocks_are_shared_so_that_the_last_is_done_as_soon_as_can_be() {
        let shared = |count, us_per_row: &[f64]| shares(count, 8.0, &speeds(us_per_row));
        assert_eq!(shared(8, &[1.0; 4]), [2; 4]);
        assert_eq!(shared(3, &[1.0; 4]), [1, 1, 1, 0]);
        let mut eighth = shared(8, &[1.0, 1.0, 1.0, 8.0]);
        eighth[..3].sort_unstable();
        assert_eq!(eighth, [2, 3, 3, 0]);
        assert_eq!(shared(32, &[1.0, 1.0, 1.0, 8.0])[3], 1);
        assert_eq!(shared(1, &[2.0, 0.5]), [0, 1]);
        assert_eq!(shared(1_000_000, &[1.0, 3.0]), [750_000, 250_000]);
        assert_eq!(shared(7, &[1.0]), [7]);
    }

    #[test]
    fn what_every_task_takes_makes_no_node_look_slow_that_had_few_rows() {
        let mut speeds = [Speed { overhead_us: 100.0, us_per_row: 1.0 }; 2];
        let mut rows = [1000, 24];
        for _ in 0..5 {
            for (speed, rows) in speeds.iter_mut().zip(rows) {
                *speed = Speed::observe(Some(*speed), 100 + u64::from(rows), rows.into(), rows);
            }
            rows = [0, 1].map(|place| 8 * shares(128, 8.0, &speeds)[place]);
        }
        assert_eq!(rows, [512, 512]);
        // A node that is far away gets less, or nothing where the others are done before it has heard.
        speeds[1].overhead_us = 500.0;
        assert_eq!(shares(128, 8.0, &speeds), [89, 39]);
        speeds[1].overhead_us = 5_000.0;
        assert_eq!(shares(128, 8.0, &speeds), [128, 0]);
    }

    #[test]
    fn a_slow_moment_passes_but_nobody_comes_to_look_faster_than_the_fastest() {
        let known = [(20.0, 1.0), (200.0, 0.5), (4_000.0, 30.0)]
            .map(|(overhead_us, us_per_row)| Speed { overhead_us, us_per_row });
        let least = Speed::least(known.into_iter());
        assert_eq!(least, Speed { overhead_us: 20.0, us_per_row: 0.5 });
        let after = |steps| (0..steps).fold(known[2], |speed, _| speed.faded(0.95, least));
        assert_eq!(after(1), Speed { overhead_us: 3_800.0, us_per_row: 28.5 });
        assert_eq!(after(100_000), least);
        // Shares of nodes that have had nothing to do for long are those of the fastest.
        assert_eq!(shares(64, 8.0, &[least, after(100_000)]), [32, 32]);
    }
}

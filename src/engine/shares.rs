//! Which part of every step of merged gradients is whose. Owns where the parts lie, and when they are moved; does not know tasks or
//! links.
//!
//! Blocks of a step lie in the order of their shards, the same in every step: a worker that keeps its part of the steps keeps its
//! shards. Moving a part's ends moves data. So a part is moved where that has proved worth the bytes: once the steps since the last
//! move, by the speeds seen, have lost as much time as the bytes take (as one who rents skis buys them once the rent has come to
//! their price). No node is given more than it can keep, or it would be sent its shards again in every step: where nodes have room for
//! their parts, but not for the shards that lie across the ends of them too, parts end where shards do.

use super::nodes::NodeKey;
use super::speed::{Speed, Worker, last_end_us, shares, shares_up_to};

/// What a byte takes on its way to a node, where nothing better is known: about 1 Gbit/s.
const US_PER_BYTE: f64 = 0.008;
/// Shares are changed where the step would be done sooner by more than this part.
const GAIN_LEAST: f64 = 0.08;
/// Data that travels without a question: what a trial or a new node may cost.
const FREE_US: f64 = 4e6 * US_PER_BYTE;
/// And this part of the time that the job has run.
const FREE_PART: f64 = 0.02;
/// Moves from which on they are not counted any more.
const MOVES_COUNTED_MAX: i32 = 20;
/// How far from a shard's end, in shards, a part's end is that is meant to be there.
const ROUNDING: f64 = 1e-6;

/// A step that is to be shared.
pub(super) struct Step<'a> {
    /// Its blocks.
    pub(super) count: u32,
    /// Rows of one, on average.
    pub(super) block_rows: f64,
    /// How many of the blocks lie before those of a shard.
    pub(super) before: &'a dyn Fn(u32) -> u32,
}

/// How a job's steps are shared.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// The job's training rows.
    data_bytes: f64,
    /// The largest shard: a node may have one of them with its neighbour.
    shard_bytes: f64,
    /// How many there are, where every step has blocks of all of them.
    shards: Option<u32>,
    parts: Vec<Part>,
    /// Time lost since the last move, against the best shares.
    lost_us: f64,
    /// Time that data took which moved for another fleet.
    spent_us: f64,
    /// Moves within this fleet. Each must have lost twice as much as the one before: what speeds promise is not always kept.
    moves: i32,
    /// Whether the parts of the step under way are others than those of the step before.
    has_just_moved: bool,
    /// Whether some node has no room for another's part beside its own.
    is_full: bool,
}

/// A worker's part of every step.
#[derive(Clone, Copy, Debug)]
struct Part {
    node: NodeKey,
    /// 0 is the beginning of a step, 1 its end.
    start: f64,
    end: f64,
}

impl Part {
    /// What of it is not of `other`.
    fn beyond(&self, other: &Part) -> f64 {
        let common = self.end.min(other.end) - self.start.max(other.start);
        (self.end - self.start) - common.max(0.0)
    }
}

impl Shares {
    /// Of a job with so many bytes of training rows, in shards of `shard_bytes` or less. Where every step has blocks of all shards,
    /// `shards` says how many those are.
    pub(super) fn new(data_bytes: u64, shard_bytes: u64, shards: Option<u32>) -> Shares {
        Shares { data_bytes: data_bytes as f64, shard_bytes: shard_bytes as f64, shards, ..Shares::default() }
    }

    /// The blocks of each worker, of which there is at least one, such that the last of them is done nearly as soon as can be. A
    /// worker so slow that the others are done before it has done one block gets none. The job has run for `elapsed_us`.
    pub(super) fn of(&mut self, step: &Step<'_>, workers: &[Worker], elapsed_us: u64) -> Vec<u32> {
        let wanted = self.best(step, workers);
        let (best, fits_best) = self.blocks(&wanted, step, workers);
        self.is_full = best.iter().zip(workers).any(|(share, worker)| 2 * share > self.most(step.count, worker));
        let is_same = self.parts.iter().map(|part| part.node).eq(workers.iter().map(|worker| worker.node));
        self.has_just_moved = !is_same;
        if self.parts.is_empty() {
            self.parts = wanted;
            return best;
        }
        if !is_same {
            self.parts = carried(&self.parts, workers);
            self.moves = 0;
        }
        let (usual, fits_usual) = self.blocks(&self.parts, step, workers);
        let speeds: Vec<_> = workers.iter().map(|worker| worker.speed).collect();
        let [usual_us, best_us] = [&usual, &best].map(|shares| last_end_us(step.block_rows, &speeds, shares));
        let moved_us = self.fetch_us(moved(&self.parts, &wanted));
        let is_better = usual_us * (1.0 - GAIN_LEAST) > best_us;
        self.lost_us = if is_better { self.lost_us + usual_us - best_us } else { self.lost_us / 2.0 };
        let must_move = !fits_usual && fits_best;
        let is_free = !is_same && self.affords(moved_us, elapsed_us);
        let has_paid = is_better && self.lost_us >= moved_us * 2_f64.powi(self.moves);
        if !(must_move || is_free || has_paid) {
            return usual;
        }
        if is_same {
            self.moves = (self.moves + 1).min(MOVES_COUNTED_MAX);
        } else {
            self.spent_us += moved_us;
        }
        (self.parts, self.lost_us, self.has_just_moved) = (wanted, 0.0, true);
        best
    }

    /// The fewest workers, of these and from this number down, for which steps may be cut to see whether that is faster: they keep
    /// the data, and it reaches them in no time that counts.
    pub(super) fn fewest(&self, workers: &[Worker], elapsed_us: u64) -> usize {
        let mut rooms: Vec<f64> = workers.iter().map(|worker| self.room(worker)).collect();
        rooms.sort_by(|a, b| b.total_cmp(a));
        let mut held = 0.0;
        let keep = rooms.iter().position(|room| {
            held += room;
            held >= 1.0
        });
        match keep {
            // Half of them have the data anyway.
            Some(last) if self.affords(self.fetch_us(0.5), elapsed_us) => last + 1,
            _ => workers.len(),
        }
    }

    /// Whether tasks of the step under way wait for rows that their nodes have not had: their times tell nothing of later ones.
    pub(super) fn awaits_rows(&self) -> bool {
        self.has_just_moved && self.is_sticky()
    }

    /// Whether parts are not given away for a moment's sake.
    pub(super) fn is_sticky(&self) -> bool {
        self.fetch_us(1.0) > FREE_US
    }

    /// What this part of the job's data takes on its way to a node.
    pub(super) fn fetch_us(&self, part: f64) -> f64 {
        US_PER_BYTE * self.data_bytes * part
    }

    /// What the rows of a copy of a task take, of which a step has so many: twice, where the node that makes it lets go of its own for
    /// them, which it is sent again.
    pub(super) fn copy_us(&self, tasks: usize) -> f64 {
        let times = if self.is_full { 2.0 } else { 1.0 };
        if self.is_sticky() { times * self.fetch_us(1.0 / tasks.max(1) as f64) } else { 0.0 }
    }

    fn affords(&self, us: f64, elapsed_us: u64) -> bool {
        self.spent_us + us <= FREE_US + FREE_PART * elapsed_us as f64
    }

    /// The part of the data that a worker can keep, wherever its part of a step ends.
    fn room(&self, worker: &Worker) -> f64 {
        let bytes = worker.cache_bytes as f64 - self.shard_bytes;
        if bytes >= self.data_bytes { 1.0 } else { bytes.max(0.0) / self.data_bytes }
    }

    /// What nodes with this memory for data keep of the job's rows, if that is not all of them.
    pub(super) fn kept_if_not_all(&self, caches: impl Iterator<Item = u64>) -> Option<u64> {
        let caches: Vec<f64> = caches.map(|bytes| bytes as f64).collect();
        // One that is alone has no shard with a neighbour.
        let shared_bytes = if caches.len() > 1 { self.shard_bytes } else { 0.0 };
        let kept: f64 = caches.iter().map(|bytes| (bytes - shared_bytes).max(0.0)).sum();
        let whole =
            |shards: u32| caches.iter().map(|bytes| u64::from(self.shards_in(*bytes))).sum::<u64>() >= shards.into();
        (kept < self.data_bytes && !self.shards.is_some_and(whole)).then_some(kept as u64)
    }

    /// Whole shards that have room in so many bytes, of all that there are.
    fn shards_in(&self, bytes: f64) -> u32 {
        ((bytes / self.shard_bytes) as u32).min(self.shards.unwrap_or(0))
    }

    /// Blocks of a step that a worker may have, at most.
    fn most(&self, count: u32, worker: &Worker) -> u32 {
        (self.room(worker) * f64::from(count)) as u32
    }

    /// The best parts of those that workers can keep; where they cannot, of all.
    fn best(&self, step: &Step<'_>, workers: &[Worker]) -> Vec<Part> {
        let Step { count, block_rows, .. } = *step;
        let speeds: Vec<Speed> = workers.iter().map(|worker| worker.speed).collect();
        let most: Vec<u32> = workers.iter().map(|worker| self.most(count, worker)).collect();
        if has_room(count, &most) {
            return parts(workers, &shares_up_to(count, block_rows, &speeds, &most));
        }
        self.best_of_whole(step, workers).unwrap_or_else(|| parts(workers, &shares(count, block_rows, &speeds)))
    }

    /// The best parts of which each node's is of whole shards, where nodes keep all of them so.
    fn best_of_whole(&self, step: &Step<'_>, workers: &[Worker]) -> Option<Vec<Part>> {
        let shards = self.shards?;
        let nodes: Vec<&[Worker]> = of_nodes(workers).collect();
        let most: Vec<u32> = nodes.iter().map(|node| self.most_shards(node)).collect();
        if !has_room(shards, &most) {
            return None;
        }
        let speed = |node: &&[Worker]| {
            let Speed { overhead_us, us_per_row } = node[0].speed;
            Speed { overhead_us, us_per_row: us_per_row / node.len() as f64 }
        };
        let speeds: Vec<Speed> = nodes.iter().map(speed).collect();
        let shard_rows = step.block_rows * f64::from(step.count) / f64::from(shards);
        let mut start = 0.0;
        let mut before = 0;
        let mut parts = Vec::with_capacity(workers.len());
        for (node, share) in nodes.iter().zip(shares_up_to(shards, shard_rows, &speeds, &most)) {
            before += share;
            let (first, last) = (start, f64::from(before) / f64::from(shards));
            for (place, worker) in (1_u32..).zip(*node) {
                let of_all = f64::from(place) / node.len() as f64;
                let end = if place as usize == node.len() { last } else { first + (last - first) * of_all };
                parts.push(Part { node: worker.node, start, end });
                start = end;
            }
        }
        Some(parts)
    }

    /// Whole shards that a node may have, of which these are the workers.
    fn most_shards(&self, node: &[Worker]) -> u32 {
        self.shards_in(node.iter().map(|worker| worker.cache_bytes as f64).sum())
    }

    /// The blocks of each of these parts, and whether their nodes keep the shards of them.
    fn blocks(&self, parts: &[Part], step: &Step<'_>, workers: &[Worker]) -> (Vec<u32>, bool) {
        let count = f64::from(step.count);
        let anywhere = blocks(parts, |end| (end * count).round() as u32);
        if anywhere.iter().zip(workers).all(|(share, worker)| *share <= self.most(step.count, worker)) {
            return (anywhere, true);
        }
        match self.shards {
            Some(shards) if self.are_whole(parts, workers, shards.into()) => {
                let place = |end: f64| {
                    let shard = end * f64::from(shards) + ROUNDING;
                    let [start, next] = [0, 1].map(|after| f64::from((step.before)(shard as u32 + after)));
                    (start + (next - start) * shard.fract()).round() as u32
                };
                (blocks(parts, place), true)
            }
            _ => (anywhere, false),
        }
    }

    /// Whether each node's part is of whole shards, of so many, and no more than it keeps.
    fn are_whole(&self, parts: &[Part], workers: &[Worker], shards: f64) -> bool {
        let mut left = parts;
        of_nodes(workers).all(|node| {
            let (of_node, others) = left.split_at(node.len());
            left = others;
            let [start, end] = [of_node[0].start, of_node[node.len() - 1].end].map(|end| end * shards);
            let is_end = |place: f64| (place - place.round()).abs() < ROUNDING;
            is_end(start) && is_end(end) && end - start < f64::from(self.most_shards(node)) + ROUNDING
        })
    }
}

/// The workers of each node: they are beside each other.
fn of_nodes(workers: &[Worker]) -> impl Iterator<Item = &[Worker]> {
    workers.chunk_by(|one, other| one.node == other.node)
}

/// Whether there is room for so many where these are the most of each.
fn has_room(count: u32, most: &[u32]) -> bool {
    most.iter().map(|most| u64::from(*most)).sum::<u64>() >= count.into()
}

/// The parts that these shares make.
fn parts(workers: &[Worker], shares: &[u32]) -> Vec<Part> {
    let count = f64::from(shares.iter().sum::<u32>().max(1));
    let mut before = 0;
    let part = |(worker, share): (&Worker, &u32)| {
        let start = f64::from(before) / count;
        before += share;
        Part { node: worker.node, start, end: f64::from(before) / count }
    };
    workers.iter().zip(shares).map(part).collect()
}

/// The blocks of each part, whose end is behind as many blocks as `place` says.
fn blocks(parts: &[Part], place: impl Fn(f64) -> u32) -> Vec<u32> {
    let mut start = 0;
    let share = |part: &Part| {
        let end = place(part.end);
        end - std::mem::replace(&mut start, end)
    };
    parts.iter().map(share).collect()
}

/// The parts of another fleet: whoever was there keeps its own, those beside one that is gone have half of it each, and one that is
/// new has nothing yet.
fn carried(before: &[Part], workers: &[Worker]) -> Vec<Part> {
    let mut old = before.iter().peekable();
    let kept = workers.iter().map(|worker| {
        while old.next_if(|part| part.node < worker.node).is_some() {}
        (worker.node, old.next_if(|part| part.node == worker.node))
    });
    let kept: Vec<_> = kept.collect();
    let mut parts: Vec<Part> = Vec::with_capacity(kept.len());
    let mut start = 0.0;
    for (place, (node, part)) in kept.iter().enumerate() {
        let end = match part {
            Some(part) => {
                let next = kept[place + 1..].iter().find_map(|(_, part)| *part);
                next.map_or(1.0, |next| (part.end + next.start) / 2.0)
            }
            None => start,
        };
        parts.push(Part { node: *node, start, end });
        start = end;
    }
    // Nobody of them was there before, or the last is new.
    if let Some(last) = parts.iter_mut().rev().find(|part| part.end > part.start) {
        last.end = 1.0;
    } else if let Some(last) = parts.last_mut() {
        last.end = 1.0;
    }
    parts
}

/// The part of the data that goes to workers that do not have it.
fn moved(before: &[Part], after: &[Part]) -> f64 {
    before.iter().zip(after).map(|(before, after)| after.beyond(before)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(node: u32, us_per_row: f64) -> Worker {
        Worker { node: NodeKey(node), speed: Speed { overhead_us: 0.0, us_per_row }, cache_bytes: u64::MAX }
    }

    /// The shares of a step whose shards nobody asks for.
    fn of(shares: &mut Shares, count: u32, workers: &[Worker], elapsed_us: u64) -> Vec<u32> {
        shares.of(&Step { count, block_rows: 8.0, before: &|_| 0 }, workers, elapsed_us)
    }

    /// Those of one of a job with ten shards of 100 bytes, in each of which lie as many blocks.
    fn of_ten(shares: &mut Shares, of_each: u32, workers: &[Worker]) -> Vec<u32> {
        let before = |shard: u32| of_each * shard.min(10);
        shares.of(&Step { count: 10 * of_each, block_rows: 8.0, before: &before }, workers, 0)
    }

    fn fleet(speeds: &[f64]) -> Vec<Worker> {
        speeds.iter().enumerate().map(|(node, speed)| worker(node as u32, *speed)).collect()
    }

    #[test]
    fn shares_of_little_data_follow_the_speeds_where_a_change_pays() {
        let mut shares = Shares::default();
        let mut shared = |second: f64, count| of(&mut shares, count, &[worker(1, 1.0), worker(2, second)], 0);
        assert_eq!(shared(1.0, 128), [64, 64]);
        assert_eq!(shared(1.05, 128), [64, 64], "a gain of 2.5 %");
        assert_eq!(shared(1.05, 126), [63, 63]);
        assert_eq!(shared(2.0, 126), [84, 42]);
        assert_eq!(shared(1.9, 129), [86, 43]);
        // Another fleet.
        assert_eq!(of(&mut shares, 128, &[worker(1, 1.0), worker(3, 1.05)], 0), [66, 62]);
    }

    #[test]
    fn much_data_moves_once_as_much_time_is_lost_as_it_takes() {
        // A step takes 512 us; with the better shares 384. A quarter of 100 MB takes 0.2 s.
        let mut shares = Shares::new(100_000_000, 0, None);
        let equal = fleet(&[1.0, 1.0]);
        assert_eq!(of(&mut shares, 128, &equal, 0), [64, 64]);
        let slower = fleet(&[1.0, 3.0]);
        let mut steps = 0;
        while of(&mut shares, 128, &slower, 0) == [64, 64] {
            steps += 1;
        }
        // 1,536 us and 768 us: after 260 of them.
        assert!((255..265).contains(&steps), "{steps}");
        assert_eq!(of(&mut shares, 128, &slower, 0), [96, 32]);
        // And back once as much is lost again, twice.
        let mut steps = 0;
        while of(&mut shares, 128, &equal, 0) == [96, 32] {
            steps += 1;
        }
        // 768 us and 512 us.
        assert!((1_555..1_570).contains(&steps), "{steps}");
        // A moment of slowness moves nothing.
        let mut shares = Shares::new(100_000_000, 0, None);
        of(&mut shares, 128, &equal, 0);
        for step in 0..10_000 {
            let fleet = if step % 50 == 0 { &slower } else { &equal };
            assert_eq!(of(&mut shares, 128, fleet, 0), [64, 64]);
        }
    }

    #[test]
    fn whoever_stays_keeps_its_part_when_another_goes_or_comes() {
        let mut shares = Shares::new(1_000_000_000, 0, None);
        let all = fleet(&[1.0; 4]);
        assert_eq!(of(&mut shares, 128, &all, 0), [32; 4]);
        // The second is away: its neighbours have its part, until it pays to share that.
        let without = [all[0], all[2], all[3]];
        assert_eq!(of(&mut shares, 128, &without, 0), [48, 48, 32]);
        assert_eq!(of(&mut shares, 128, &all, 0), [48, 0, 48, 32]);
        // In a long job a node that joins costs nothing that counts.
        assert_eq!(of(&mut shares, 128, &without, 0), [48, 48, 32]);
        assert_eq!(of(&mut shares, 128, &all, 1_000_000_000), [32; 4]);
    }

    #[test]
    fn parts_of_another_fleet_are_whole() {
        let speeds = [1.0; 6];
        for was in 1..64_u32 {
            for is in 1..64_u32 {
                let of = |set: u32| -> Vec<Worker> {
                    fleet(&speeds).into_iter().filter(|worker| set >> worker.node.0 & 1 == 1).collect()
                };
                let before = parts(&of(was), &vec![7; of(was).len()]);
                let after = carried(&before, &of(is));
                assert_eq!((after[0].start, after[after.len() - 1].end), (0.0, 1.0), "{was:b} {is:b}");
                assert!(after.windows(2).all(|pair| pair[0].end == pair[1].start && pair[0].start <= pair[0].end));
                assert_eq!(blocks(&after, |end| (end * 128.0).round() as u32).iter().sum::<u32>(), 128);
            }
        }
    }

    #[test]
    fn no_node_gets_more_than_it_keeps_unless_all_have_too_little() {
        let mut workers = fleet(&[1.0, 1.0, 1.0, 0.25]);
        workers.iter_mut().for_each(|worker| worker.cache_bytes = 300);
        let shared = of(&mut Shares::new(1_000, 0, None), 100, &workers, 0);
        assert_eq!(shared[3], 30);
        assert_eq!(shared.iter().sum::<u32>(), 100);
        assert!(shared.iter().all(|share| *share <= 30), "{shared:?}");
        // What the part's neighbour has too needs room.
        assert_eq!(of(&mut Shares::new(1_000, 40, None), 100, &workers, 0)[3], 26);
        workers.iter_mut().for_each(|worker| worker.cache_bytes = 200);
        assert_eq!(of(&mut Shares::new(1_000, 0, None), 100, &workers, 0), {
            let speeds: Vec<Speed> = workers.iter().map(|worker| worker.speed).collect();
            shares(100, 8.0, &speeds)
        });
    }

    #[test]
    fn parts_end_where_shards_do_where_nodes_keep_all_rows_only_so() {
        let of_room = |speeds: &[f64], cache_bytes: u64| {
            let mut workers = fleet(speeds);
            workers.iter_mut().for_each(|worker| worker.cache_bytes = cache_bytes);
            workers
        };
        let ten = || Shares::new(1_000, 100, Some(10));
        // Two nodes with room for five each and for one more, for five, and for less.
        assert_eq!(of_ten(&mut ten(), 3, &of_room(&[1.0, 1.1], 600)), [15, 15]);
        assert_eq!(of_ten(&mut ten(), 3, &of_room(&[1.0, 3.0], 500)), [15, 15]);
        assert_eq!(of_ten(&mut ten(), 3, &of_room(&[1.0, 3.0], 499)), [23, 7], "shared by their speeds");
        assert_eq!(of_ten(&mut ten(), 3, &of_room(&[1.0, 3.0], 599)), [15, 15], "no shard is in parts");
        // Those of a shard are not as many in each step.
        let mut shares = ten();
        let three = of_room(&[1.0; 3], 400);
        let four_two_four = |shares: &mut Shares, before: &dyn Fn(u32) -> u32, count| {
            shares.of(&Step { count, block_rows: 8.0, before }, &three, 0)
        };
        let mut first = four_two_four(&mut shares, &|shard| 2 * shard, 20);
        assert_eq!(four_two_four(&mut shares, &|shard| 2 * shard - u32::from(shard > 0), 19)[0], first[0] - 1);
        first.sort_unstable();
        assert_eq!(first, [6, 6, 8]);
        // A node's workers share what it keeps, and may have a shard together.
        let mut two_of_each = of_room(&[1.0; 4], 250);
        two_of_each.iter_mut().for_each(|worker| worker.node.0 /= 2);
        assert_eq!(of_ten(&mut ten(), 2, &two_of_each), [5; 4]);
        // Whoever had less room, or more, before: the parts move at once where they do not fit.
        let mut shares = ten();
        assert_eq!(of_ten(&mut shares, 4, &of_room(&[1.0, 3.0], 10_000)), [30, 10]);
        assert_eq!(of_ten(&mut shares, 4, &of_room(&[1.0, 3.0], 500)), [20, 20]);
        // Steps of fewer blocks than there are shards go through them in turn.
        let mut workers = of_room(&[1.0, 3.0], 500);
        assert_eq!(of(&mut Shares::new(1_000, 100, None), 8, &workers, 0), [6, 2]);
        workers.iter_mut().for_each(|worker| worker.cache_bytes = 0);
        assert_eq!(of_ten(&mut ten(), 4, &workers), [30, 10]);
    }

    #[test]
    fn what_nodes_keep_is_all_rows_or_less() {
        let shares = Shares::new(1_000, 40, None);
        assert_eq!(shares.kept_if_not_all([540, 540].into_iter()), None);
        assert_eq!(shares.kept_if_not_all([540, 539].into_iter()), Some(999));
        assert_eq!(shares.kept_if_not_all([39, 240].into_iter()), Some(200), "none keeps less than nothing");
        assert_eq!([999, 1_000].map(|bytes| shares.kept_if_not_all([bytes].into_iter())), [Some(999), None]);
        assert_eq!(shares.kept_if_not_all([u64::MAX; 2].into_iter()), None);
        // Five whole shards and five.
        let of_whole = Shares::new(1_000, 100, Some(10));
        assert_eq!([500, 499].map(|bytes| of_whole.kept_if_not_all([bytes; 2].into_iter())), [None, Some(798)]);
    }

    #[test]
    fn a_copy_takes_the_ways_of_its_rows_and_of_those_that_had_to_go_for_them() {
        let copy_us = |data_bytes: u64, cache_bytes: u64| {
            let mut shares = Shares::new(data_bytes, 0, None);
            let mut workers = fleet(&[1.0; 4]);
            workers.iter_mut().for_each(|worker| worker.cache_bytes = cache_bytes);
            of(&mut shares, 128, &workers, 0);
            shares.copy_us(4)
        };
        // A quarter of 1 GB takes 2 s.
        assert_eq!([500_000_000, 499_000_000].map(|cache| copy_us(1_000_000_000, cache)), [2e6, 4e6]);
        assert_eq!(copy_us(1_000_000, 250_000), 0.0, "little data");
    }

    #[test]
    fn fewer_workers_are_tried_where_they_keep_the_data_and_it_costs_little() {
        let mut workers = fleet(&[1.0; 4]);
        assert_eq!(Shares::new(1_000_000, 0, None).fewest(&workers, 0), 1);
        assert_eq!(Shares::new(1_000_000_000, 0, None).fewest(&workers, 0), 4);
        assert_eq!(Shares::new(1_000_000_000, 0, None).fewest(&workers, 1_000_000_000), 1);
        workers.iter_mut().for_each(|worker| worker.cache_bytes = 300_000);
        assert_eq!(Shares::new(1_000_000, 0, None).fewest(&workers, 0), 4);
        assert_eq!(Shares::new(600_000, 0, None).fewest(&workers, 0), 2);
        assert_eq!(Shares::new(2_000_000, 0, None).fewest(&workers, 0), 4);
    }
}

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
mod tests;

//! How long rounds take beside the best schedule that there could have been, in simulated time: nodes of different speeds, and such
//! that stop for a while without a word. Owns the little world in which nodes take their time, which `sharing` lives in, too; the rules
//! themselves are tested elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;

use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::job::TaskRows;
use crate::model::{BatchSize, OuterOptimiser};

/// What a message takes, each way.
const WAY_US: u64 = 150;
/// A link over which nothing has come for so long is lost.
const SILENCE_US: u64 = 3_000_000;
/// Rounds in which the engine may come to know the fleet.
const LEARNING: usize = 4;
/// What rounds may take of the best schedule's time.
const RATIO_MAX: f64 = 1.2;

/// Where a node stops that has a quarter of a step's blocks: a copy of all of them is made by one of the others.
const RATIO_MAX_OF_BLOCKS: f64 = 1.6;

/// What is yet to happen.
pub(super) enum Happening {
    /// A node has trained this, if it is still what it trains.
    Trained { node: usize, life: u32, attempt: Attempt },
    /// This reaches the engine.
    Heard(Event),
    /// A cancelled attempt reaches its node.
    Cancelled { node: usize, attempt: Attempt },
    /// A node stops without a word.
    Stops { node: usize },
    /// It goes on.
    GoesOn { node: usize },
    /// Nothing has been heard of it for too long.
    Lost { node: usize, stop: u32 },
}

/// A node of one worker.
pub(super) struct Player {
    link: LinkKey,
    /// What a row takes.
    us_per_row: f64,
    /// Tasks with their rows, the first of which is being trained, and what the ways of shards take that it has not.
    tasks: VecDeque<(Attempt, u32, u64)>,
    /// Shards that it has, the one used last at the end.
    kept: VecDeque<u32>,
    /// Changes with what is being trained.
    life: u32,
    is_stopped: bool,
    /// How often it has.
    stops: u32,
    /// What happened to it meanwhile.
    held_back: Vec<Happening>,
}

/// A fleet at work.
pub(super) struct World {
    pub(super) harness: Harness,
    rng: ChaCha8Rng,
    players: Vec<Player>,
    happenings: BTreeMap<(Time, u64), Happening>,
    count: u64,
    links: u64,
    /// What a merge takes, and what a job's validations take, where they take time.
    pub(super) merge_us: u64,
    pub(super) validate_us: BTreeMap<JobId, u64>,
    /// When each step of the first job began, and what each took once it was merged.
    began: Time,
    steps_us: Vec<u64>,
    /// Which node stops in which step, so long after its beginning.
    stops: BTreeMap<u64, (usize, u64)>,
    /// Before which steps it goes on.
    ends: BTreeMap<u64, usize>,
    /// When each job was done.
    pub(super) done: BTreeMap<JobId, Time>,
    /// What other jobs' rows take longer than those of the first.
    pub(super) slowness: BTreeMap<JobId, f64>,
    /// How many shards nodes keep, and what one takes on its way, where it takes time.
    pub(super) kept_max: usize,
    pub(super) way_us: u64,
    /// Of each shard that has travelled, the step for which it has.
    pub(super) travelled: Vec<u64>,
}

impl World {
    /// A fleet of nodes that take so long for a row.
    pub(super) fn new(us_per_row: &[f64]) -> World {
        World::of(Harness::new(Policy::LoadBalancing), us_per_row)
    }

    pub(super) fn of(mut harness: Harness, us_per_row: &[f64]) -> World {
        let player = |(place, &us_per_row): (usize, &f64)| {
            harness.join(place as u32);
            Player {
                link: LinkKey(place as u64),
                us_per_row,
                tasks: VecDeque::new(),
                kept: VecDeque::new(),
                life: 0,
                is_stopped: false,
                stops: 0,
                held_back: Vec::new(),
            }
        };
        let players: Vec<Player> = us_per_row.iter().enumerate().map(player).collect();
        World {
            began: harness.now,
            harness,
            rng: ChaCha8Rng::seed_from_u64(1),
            links: players.len() as u64,
            players,
            happenings: BTreeMap::new(),
            count: 0,
            merge_us: 0,
            validate_us: BTreeMap::new(),
            steps_us: Vec::new(),
            stops: BTreeMap::new(),
            ends: BTreeMap::new(),
            done: BTreeMap::new(),
            slowness: BTreeMap::new(),
            kept_max: usize::MAX,
            way_us: 0,
            travelled: Vec::new(),
        }
    }

    /// What each step of a job takes.
    fn steps_of(mut self, specification: &Specification) -> Vec<u64> {
        self.live(specification);
        self.steps_us
    }

    /// Does a job.
    pub(super) fn live(&mut self, specification: &Specification) {
        self.began = self.harness.now;
        self.step_begins();
        self.submit(JOB, specification);
        self.live_until(|world| world.done.contains_key(&JOB));
    }

    /// A job comes, and its data with it.
    pub(super) fn submit(&mut self, job: JobId, specification: &Specification) {
        self.tell(submitted(job, specification));
        self.tell(Event::DataReady { job });
    }

    /// Until that is so.
    pub(super) fn live_until(&mut self, is_over: impl Fn(&World) -> bool) {
        while !is_over(self) {
            let deadline = self.harness.engine.next_deadline();
            let next = self.happenings.first_key_value().map(|(&(at, _), _)| at);
            let at = next.into_iter().chain(deadline).min().expect("something is to happen");
            assert!(at.0 < 1 << 42, "the job does not end");
            self.harness.now = at;
            match self.happenings.first_entry().filter(|entry| entry.key().0 == at) {
                Some(entry) => {
                    let happening = entry.remove();
                    self.happens(happening);
                }
                None => self.tell(Event::Tick),
            }
        }
    }

    fn in_us(&mut self, wait_us: u64, happening: Happening) {
        self.count += 1;
        self.happenings.insert((self.harness.now.after_us(wait_us), self.count), happening);
    }

    fn step_begins(&mut self) {
        let step = self.steps_us.len() as u64;
        if let Some(node) = self.ends.remove(&step) {
            self.in_us(0, Happening::GoesOn { node });
        }
        if let Some((node, after_us)) = self.stops.remove(&step) {
            self.in_us(after_us, Happening::Stops { node });
        }
    }

    fn tell(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.harness.tell(event) {
                match action {
                    Action::Dispatch { link, attempt, rows, .. } => self.dispatched(link, attempt, &rows),
                    Action::Cancel { link, attempt } => {
                        if let Some(node) = self.player(link) {
                            self.in_us(WAY_US, Happening::Cancelled { node, attempt });
                        }
                    }
                    Action::Accumulate { attempt, .. } => {
                        let TaskId { job, step, shard } = attempt.task;
                        events.push_back(Event::Accumulated { job, step, shard });
                    }
                    Action::Prepare { job } => events.push_back(Event::Prepared { job, base: base(0) }),
                    Action::FinishStep { job, step, .. } => {
                        if job == JOB {
                            self.steps_us.push(self.harness.now.since_us(self.began));
                            self.began = self.harness.now;
                            self.step_begins();
                        }
                        let sum = Some(StepSum { digest: base(step), loss: 1.0, outer: base(step) });
                        let merged = Event::Merged { job, step, base: base(step + 1), sum };
                        match self.merge_us {
                            0 => events.push_back(merged),
                            merge_us => self.in_us(merge_us, Happening::Heard(merged)),
                        }
                    }
                    Action::Validate { job, round, .. } => {
                        let validated = Event::Validated { job, round, rows: 50, metrics: metrics() };
                        match self.validate_us.get(&job) {
                            None => events.push_back(validated),
                            Some(&validate_us) => self.in_us(validate_us, Happening::Heard(validated)),
                        }
                    }
                    Action::DropLink { .. } => panic!("no node has done wrong: {action:?}"),
                    Action::Report { job, event: JobEvent::Finished(outcome) } => {
                        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
                        self.done.insert(job, self.harness.now);
                    }
                    _ => {}
                }
            }
        }
    }

    fn player(&self, link: LinkKey) -> Option<usize> {
        self.players.iter().position(|player| player.link == link)
    }

    fn dispatched(&mut self, link: LinkKey, attempt: Attempt, rows: &TaskRows) {
        let (rows, shards) = match rows {
            TaskRows::Shard(shard) => (ROWS, vec![*shard]),
            TaskRows::Blocks { ranges, .. } => {
                let blocks: u32 = ranges.iter().map(|range| range.count).sum();
                (BLOCK_ROWS * blocks, ranges.iter().map(|range| range.shard).collect())
            }
        };
        let Some(node) = self.player(link) else { return };
        let ways_us = self.sent(node, &shards, attempt.task.step);
        self.players[node].tasks.push_back((attempt, rows, ways_us));
        if self.players[node].tasks.len() == 1 {
            self.begins(node, WAY_US);
        }
    }

    /// A node is sent those of these shards that it has not, and lets go of those that it used longest ago; what their ways take.
    fn sent(&mut self, node: usize, shards: &[u32], step: u64) -> u64 {
        let kept = &mut self.players[node].kept;
        let (here, missing): (Vec<u32>, Vec<u32>) = shards.iter().partition(|shard| kept.contains(shard));
        // Those that are there are looked up first.
        kept.retain(|shard| !here.contains(shard));
        kept.extend(here.iter().chain(&missing));
        kept.drain(..kept.len().saturating_sub(self.kept_max));
        self.travelled.extend(missing.iter().map(|_| step));
        self.way_us * missing.len() as u64
    }

    /// A node begins with its first task.
    fn begins(&mut self, node: usize, after_us: u64) {
        let player = &mut self.players[node];
        player.life += 1;
        let life = player.life;
        let Some(&(attempt, rows, ways_us)) = player.tasks.front() else { return };
        let slowness = self.slowness.get(&attempt.task.job).copied().unwrap_or(1.0);
        let us = player.us_per_row * slowness * f64::from(rows) * self.rng.random_range(0.97..1.03);
        self.in_us(after_us + ways_us + us as u64, Happening::Trained { node, life, attempt });
    }

    fn happens(&mut self, happening: Happening) {
        let of = match &happening {
            Happening::Trained { node, .. } | Happening::Cancelled { node, .. } => Some(*node),
            _ => None,
        };
        if let Some(node) = of.filter(|&node| self.players[node].is_stopped) {
            return self.players[node].held_back.push(happening);
        }
        match happening {
            Happening::Trained { node, life, attempt } => {
                let player = &mut self.players[node];
                let Some(&(_, rows, _)) =
                    player.tasks.front().filter(|(first, ..)| *first == attempt && player.life == life)
                else {
                    return;
                };
                player.tasks.pop_front();
                let slowness = self.slowness.get(&attempt.task.job).copied().unwrap_or(1.0);
                let train_us = (player.us_per_row * slowness * f64::from(rows)) as u64;
                let sum = Digest::of(&[attempt.task.step as u8, attempt.task.shard as u8]);
                let event = Event::Trained { link: player.link, attempt, result: result(sum, 1.0, train_us) };
                self.in_us(WAY_US, Happening::Heard(event));
                self.begins(node, 0);
            }
            Happening::Heard(event) => self.tell(event),
            Happening::Cancelled { node, attempt } => {
                let player = &mut self.players[node];
                let Some(place) = player.tasks.iter().position(|(other, ..)| *other == attempt) else { return };
                player.tasks.remove(place);
                let (fault, reason) = (Fault::Retryable, "the task was cancelled".to_owned());
                let event = Event::TaskFailed { link: player.link, attempt, fault, reason };
                self.in_us(WAY_US, Happening::Heard(event));
                if place == 0 {
                    self.begins(node, 0);
                }
            }
            Happening::Stops { node } => {
                let player = &mut self.players[node];
                player.is_stopped = true;
                player.stops += 1;
                let stop = player.stops;
                self.in_us(SILENCE_US, Happening::Lost { node, stop });
            }
            Happening::GoesOn { node } => {
                self.players[node].is_stopped = false;
                for happening in std::mem::take(&mut self.players[node].held_back) {
                    self.happens(happening);
                }
                if self.players[node].link == LinkKey(u64::MAX) {
                    let link = self.links;
                    self.links += 1;
                    let player = &mut self.players[node];
                    (player.link, player.life) = (LinkKey(link), player.life + 1);
                    player.tasks.clear();
                    let event =
                        Event::LinkUp { node: NodeKey(node as u32), link: LinkKey(link), info: info(node as u32) };
                    self.tell(event);
                }
            }
            Happening::Lost { node, stop } => {
                let player = &mut self.players[node];
                if player.is_stopped && player.stops == stop {
                    let link = std::mem::replace(&mut player.link, LinkKey(u64::MAX));
                    self.tell(Event::LinkDown { link, reason: "nothing has come for 3 s".to_owned() });
                }
            }
        }
    }
}

/// Rows of a block of the job of gradients.
pub(super) const BLOCK_ROWS: u32 = 8;

/// A job whose steps are so many blocks, of a shard each, once a round.
pub(super) fn of_blocks(blocks: u32, rounds: u32) -> Specification {
    let mut specification = specification(1, rounds);
    specification.shards[0].rows = blocks * BLOCK_ROWS;
    let batch = BatchSize::Rows(NonZeroU32::new(blocks * BLOCK_ROWS).unwrap());
    specification.training.recipe = Recipe { local_steps: Some(1), epochs: 1, batch, ..Recipe::DEFAULT };
    specification.outer = Outer { optimiser: OuterOptimiser::Adam, ..Outer::AVERAGE };
    specification.checked().unwrap()
}

/// The least time in which nodes that take so long for a task do so many of them, each whole.
fn oracle_us(task_us: &[f64], tasks: u32) -> f64 {
    let done_by = |us: f64| task_us.iter().map(|task_us| (us / task_us + 1e-9) as u32).sum::<u32>();
    let ends = task_us.iter().flat_map(|task_us| (1..=tasks).map(move |count| task_us * f64::from(count)));
    ends.filter(|&us| done_by(us) >= tasks).min_by(f64::total_cmp).unwrap()
}

fn info(number: u32) -> NodeInfo {
    let name = format!("n{number}");
    NodeInfo { name, arithmetics: vec![1], doubts: Vec::new(), workers: 1, cache_bytes: None, memory_bytes: None }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn ratios(steps_us: &[u64], oracle_us: f64) -> Vec<f64> {
    steps_us.iter().map(|&us| us as f64 / oracle_us).collect()
}

fn show(what: &str, ratios: &[f64]) -> f64 {
    let worst = ratios.iter().copied().fold(0.0, f64::max);
    let over = ratios.iter().filter(|ratio| **ratio > RATIO_MAX).count();
    println!("{what:40} mean {:.3}, worst {worst:.2}, {over} of {} over", mean(ratios), ratios.len());
    mean(ratios)
}

#[test]
fn rounds_beside_a_node_that_is_eight_times_slower_take_little_more_than_they_must() {
    let mut amiss = Vec::new();
    for task_us in [10_000.0, 100_000.0, 2_000_000.0] {
        for shards in [4, 8, 16] {
            let us_per_row = [1.0, 1.0, 1.0, 8.0].map(|slowness| slowness * task_us / f64::from(ROWS));
            let steps = World::new(&us_per_row).steps_of(&specification(shards, 120));
            let best_us = oracle_us(&us_per_row.map(|us| us * f64::from(ROWS)), shards as u32);
            let what = format!("{shards} shards of {task_us} us");
            let ratio = show(&what, &ratios(&steps, best_us)[LEARNING..]);
            if ratio > RATIO_MAX {
                amiss.push((what, ratio));
            }
        }
        for blocks in [8, 16, 32, 100] {
            let us_per_row = [1.0, 1.0, 1.0, 8.0].map(|slowness| slowness * task_us / f64::from(BLOCK_ROWS * blocks));
            let steps = World::new(&us_per_row).steps_of(&of_blocks(blocks, 300));
            let best_us = oracle_us(&us_per_row.map(|us| us * f64::from(BLOCK_ROWS)), blocks);
            let what = format!("{blocks} blocks of {task_us} us");
            let ratio = show(&what, &ratios(&steps, best_us)[LEARNING..]);
            if ratio > RATIO_MAX {
                amiss.push((what, ratio));
            }
        }
    }
    assert!(amiss.is_empty(), "{amiss:?}");
}

#[test]
fn rounds_in_which_a_node_stops_without_a_word_take_little_more_than_the_others_must() {
    const STOPS: u64 = 20;
    let mut amiss = Vec::new();
    for task_us in [10_000.0, 50_000.0, 500_000.0] {
        // Four shards a node; and steps of blocks, of which a node that has stopped has a quarter until that is noticed.
        for (shards, blocks, ratio_max) in
            [(16, 0, RATIO_MAX), (0, 16, RATIO_MAX_OF_BLOCKS), (0, 64, RATIO_MAX_OF_BLOCKS)]
        {
            // Until the round's end, or for three rounds.
            for (lasts, after_part) in [(1, 0.0), (1, 0.3), (1, 0.8), (3, 0.1), (3, 0.6)] {
                let (count, rows) = if shards > 0 { (shards as u32, ROWS) } else { (blocks, BLOCK_ROWS) };
                let us = task_us / f64::from(rows);
                let mut world = World::new(&[us; 4]);
                let surviving_us = oracle_us(&[task_us; 3], count);
                let all_us = oracle_us(&[task_us; 4], count);
                for stop in 0..STOPS {
                    let (step, node) = (LEARNING as u64 + 3 * stop, (stop % 4) as usize);
                    world.stops.insert(step, (node, (after_part * all_us) as u64));
                    world.ends.insert(step + lasts, node);
                }
                let rounds = LEARNING as u32 + 3 * STOPS as u32;
                let specification = if shards > 0 { specification(shards, rounds) } else { of_blocks(blocks, rounds) };
                let steps = world.steps_of(&specification);
                let what = format!(
                    "{count} {} of {task_us} us, {lasts} from {after_part}",
                    if shards > 0 { "shards" } else { "blocks" }
                );
                let best =
                    |step: usize| if (step as u64 - LEARNING as u64) % 3 < lasts { surviving_us } else { all_us };
                let ratios: Vec<f64> = (LEARNING..steps.len()).map(|step| steps[step] as f64 / best(step)).collect();
                let ratio = show(&what, &ratios);
                if ratio > ratio_max {
                    amiss.push((what, ratio));
                }
            }
        }
    }
    assert!(amiss.is_empty(), "{amiss:?}");
}

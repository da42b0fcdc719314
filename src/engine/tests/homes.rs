//! Large shards stay where they are, and travel where that pays.

use std::collections::BTreeMap;

use super::*;

/// Three nodes, and a job of seven shards, each of which takes 0.16 s on its way: 200,000 rows of 25 numbers.
fn large(rounds: u32) -> (Harness, Vec<Sent>) {
    let mut harness = Harness::new(Policy::LoadBalancing);
    (1..=3).for_each(|number| drop(harness.join(number)));
    let mut specification = specification(7, rounds);
    specification.training.network = Network::new(24, &[3], 2).unwrap();
    specification.shards.iter_mut().for_each(|shard| shard.rows = 200_000);
    let sent = harness.start(JOB, &specification);
    (harness, sent)
}

impl Harness {
    /// Does a step whose tasks take a node so long each; which link did each shard. The step is merged.
    fn live(&mut self, step: u64, first: Vec<Sent>, task_ms: impl Fn(u64) -> u64) -> (BTreeMap<u32, u64>, Vec<Sent>) {
        let mut out: Vec<(Time, Sent)> = Vec::new();
        let mut done = BTreeMap::new();
        let mut fresh = first;
        loop {
            for sent in fresh.drain(..) {
                out.push((self.now.after_us(1_000 * task_ms(sent.link.0)), sent));
            }
            out.sort_by_key(|(end, sent)| (*end, sent.shard()));
            if out.is_empty() {
                let next = sent(&self.merged(JOB, step));
                self.validated(JOB, step);
                return (done, next);
            }
            let (end, task) = out.remove(0);
            fresh = sent(&self.pass_ms(end.since_us(self.now) / 1_000));
            if done.insert(task.shard(), task.link.0).is_none() {
                let result = result(update(&task), 100.0, 1_000 * task_ms(task.link.0));
                fresh.extend(sent(&self.tell(Event::Trained { link: task.link, attempt: task.attempt, result })));
                fresh.extend(sent(&self.accumulated(&task)));
            }
        }
    }
}

#[test]
fn a_shard_stays_with_the_node_that_had_it() {
    let (mut harness, mut next) = large(6);
    let mut homes = None;
    for step in 0..6 {
        // Whoever is done first is another in every round.
        let task_ms = |link: u64| 400 + (link + step) % 3 * 10;
        let (done, sent) = harness.live(step, next, task_ms);
        assert_eq!(done.len(), 7);
        assert_eq!(*homes.get_or_insert(done.clone()), done, "round {step}");
        next = sent;
    }
}

#[test]
fn a_shard_travels_where_the_wait_is_longer_than_its_way() {
    let (mut harness, next) = large(3);
    let (_, next) = harness.live(0, next, |_| 400);
    // The first node takes five times as long: it is left with one shard.
    let slow = |link: u64| if link == 1 { 2_000 } else { 400 };
    let (_, next) = harness.live(1, next, slow);
    let (done, _) = harness.live(2, next, slow);
    assert!(done.values().filter(|link| **link == 1).count() <= 1, "{done:?}");
}

#[test]
fn the_shards_of_a_node_that_is_lost_go_elsewhere_at_once() {
    let (mut harness, next) = large(2);
    let (done, next) = harness.live(0, next, |_| 400);
    let lost = next.iter().find(|sent| sent.link.0 == 1).copied().unwrap();
    let others: Vec<Sent> = next.iter().filter(|sent| sent.link.0 != 1).copied().collect();
    assert!(done.values().any(|link| *link == 1));
    harness.cut(lost.link.0);
    let (done, _) = harness.live(1, others, |_| 400);
    assert_eq!(done.len(), 7);
    assert!(done.values().all(|link| *link != 1));
}

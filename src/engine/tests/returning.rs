//! Results that nodes hold: who gets which task because of them, and how long a job that goes on waits to hear of them.

use super::*;

fn restored(specification: &Specification) -> Event {
    let Event::Submitted { job, specification, semantic } = submitted(JOB, specification) else { unreachable!() };
    Event::Restored { job, specification, semantic, progress: None, paused: None }
}

/// A harness whose coordinator has just been started again, with these nodes listed and none linked.
fn started_again(policy: Policy, shards: usize, nodes: u32) -> Harness {
    let mut harness = Harness::new(policy);
    for number in 1..=nodes {
        harness.tell(Event::NodeListed { node: NodeKey(number), address: format!("10.0.0.{number}:7000") });
    }
    harness.tell(restored(&specification(shards, 2)));
    harness
}

impl Harness {
    fn prepared(&mut self) -> Vec<Action> {
        self.tell(Event::Prepared { job: JOB, base: base(0) })
    }

    /// A node tells that it holds these shards of a step.
    fn holds(&mut self, link: u64, step: u64, shards: &[u32]) -> Vec<Action> {
        let held = shards.iter().map(|&shard| cached(step, shard, base(step))).collect();
        self.tell(Event::ResultsHeld { link: LinkKey(link), job: JOB, held })
    }
}

fn cached(step: u64, shard: u32, base: Digest) -> CachedResult {
    CachedResult { step, shard, base }
}

fn shards(sent: &[Sent]) -> Vec<u32> {
    sent.iter().map(Sent::shard).collect()
}

#[test]
fn tasks_go_where_their_results_are_held_beyond_the_nodes_workers_and_firmly() {
    for policy in [Policy::Random, Policy::LoadBalancing] {
        let mut harness = started_again(policy, 6, 2);
        harness.link(1, 1, 1, &[1]);
        assert_eq!(sent(&harness.prepared()), [], "the other node may hold any of them");
        harness.link(2, 2, 1, &[1]);
        let first = sent(&harness.holds(1, 0, &[4, 1, 5]));
        assert_eq!(shards(&first), [4, 1, 5]);
        assert!(first.iter().all(|sent| sent.link == LinkKey(1) && !sent.may_reject));
        // All have told: the rest is handed out as ever.
        let rest = sent(&harness.holds(2, 0, &[]));
        assert!(!rest.is_empty() && rest.iter().all(|sent| [0, 2, 3].contains(&sent.shard())), "{rest:?}");
    }
}

#[test]
fn a_job_that_goes_on_waits_a_moment_for_nodes_that_say_nothing_and_then_no_more() {
    let mut harness = started_again(Policy::LoadBalancing, 2, 3);
    harness.link(1, 1, 1, &[1]);
    harness.prepared();
    assert_eq!(sent(&harness.pass_ms(249)), []);
    assert_eq!(links(&sent(&harness.pass_ms(1))), [1]);
    // Once is enough: a node that comes later gets its task at once.
    assert_eq!(links(&sent(&harness.link(2, 2, 1, &[1]))), [2]);
}

#[test]
fn the_wait_begins_when_a_node_is_there() {
    let mut harness = started_again(Policy::LoadBalancing, 1, 2);
    harness.prepared();
    harness.pass_ms(600);
    harness.link(1, 1, 1, &[1]);
    assert_eq!(sent(&harness.pass_ms(249)), []);
    assert_eq!(sent(&harness.pass_ms(1)).len(), 1);
}

#[test]
fn a_job_that_is_new_waits_for_nobody() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    harness.join(2);
    assert_eq!(harness.start(JOB, &specification(2, 1)).len(), 2);
}

#[test]
fn what_is_told_before_the_step_begins_or_of_one_to_come_is_remembered() {
    let mut harness = started_again(Policy::LoadBalancing, 2, 2);
    harness.link(1, 1, 1, &[1]);
    harness.link(2, 2, 1, &[1]);
    harness.holds(1, 0, &[1]);
    harness.tell(Event::ResultsHeld {
        link: LinkKey(2),
        job: JOB,
        held: vec![cached(0, 0, base(0)), cached(1, 0, base(1))],
    });
    let first = sent(&harness.prepared());
    assert_eq!(first.iter().map(|sent| (sent.link.0, sent.shard())).collect::<Vec<_>>(), [(1, 1), (2, 0)]);
    first.iter().for_each(|sent| drop(harness.finish(sent)));
    let next = sent(&harness.merged(JOB, 0));
    assert_eq!((next[0].link, next[0].shard(), next[0].may_reject), (LinkKey(2), 0, false));
}

#[test]
fn what_a_node_says_it_holds_is_of_no_use_where_it_does_not_fit() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    harness.join_with(2, 1, &[9]);
    let out = only_sent_of(harness.start(JOB, &specification(3, 2)));
    let told = |harness: &mut Harness, link, job, held| {
        sent(&harness.tell(Event::ResultsHeld { link: LinkKey(link), job, held }))
    };
    let fits = cached(0, 2, base(0));
    // Of another step, from another base, of no shard; out already; of another job; from nobody; of no use for the job.
    let (step, other, none) = (cached(1, 2, base(0)), cached(0, 2, base(1)), cached(0, 3, base(0)));
    assert_eq!(told(&mut harness, 1, JOB, vec![step, other, none, cached(0, out.shard(), base(0))]), []);
    assert_eq!(told(&mut harness, 1, JobId(8), vec![fits]), []);
    assert_eq!(told(&mut harness, 77, JOB, vec![fits]), []);
    assert_eq!(told(&mut harness, 2, JOB, vec![fits]), []);
    assert_eq!(shards(&told(&mut harness, 1, JOB, vec![fits, fits])), [2]);
}

#[test]
fn a_node_that_failed_a_task_does_not_get_it_again_for_a_word() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    let out = only_sent_of(harness.start(JOB, &specification(1, 1)));
    harness.failed(&out, Fault::Retryable);
    assert_eq!(sent(&harness.holds(1, 0, &[0])), []);
}

#[test]
fn a_result_that_was_held_tells_nothing_of_its_nodes_speed() {
    let mut harness = started_again(Policy::LoadBalancing, 3, 1);
    harness.link(1, 1, 1, &[1]);
    harness.prepared();
    let held = sent(&harness.holds(1, 0, &[0, 1]));
    held.iter().for_each(|sent| drop(harness.finish(sent)));
    assert_eq!(harness.engine.status().nodes[0].rows_per_second, None);
}

/// The only task of these.
fn only_sent_of(sent: Vec<Sent>) -> Sent {
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent[0]
}

//! The stopwatch driven by hand: every rule of where time goes, one a test.

use super::*;

/// A job's stopwatch, and the hour; everything happens as the engine would tell it.
struct Bench {
    profiler: Profiler,
    now: Time,
}

impl Bench {
    /// A job whose first round begins after 5.
    fn new() -> Bench {
        let mut bench = Bench { profiler: Profiler::start(Profile::default(), Time(100)), now: Time(100) };
        bench.pass(5);
        bench.profiler.prepared(bench.now);
        bench.profiler.step_begins(bench.now);
        bench
    }

    fn pass(&mut self, us: u64) {
        self.now = self.now.after_us(us);
    }

    fn needs(&mut self, need: Need) {
        self.profiler.needs(need, self.now);
    }

    /// Sends a first attempt over each of these links, and leaves nothing to hand out.
    fn send(&mut self, links: &[u64]) -> Time {
        links.iter().for_each(|&link| self.profiler.sent(LinkKey(link), false));
        self.needs(Need::Results);
        self.now
    }

    /// The result of an attempt sent at `sent` counts.
    fn take(&mut self, link: u64, sent: Time, train_us: u64) {
        let link = LinkKey(link);
        self.profiler.ended(link, false);
        self.profiler.accepted(link, self.now);
        self.profiler.trained(link, sent, train_us, self.now);
        self.needs(Need::Results);
    }

    /// Ends the round after 7, and the merge after 11, and the job after 13.
    fn finish(mut self) -> Profile {
        self.pass(7);
        self.profiler.step_ends(self.now);
        self.pass(11);
        self.profiler.merged(self.now);
        self.pass(13);
        let profile = self.profiler.done(self.now);
        assert_eq!(profile.total_us(), self.now.since_us(Time(100)));
        profile
    }
}

/// What [`Bench`] adds around a round.
const AROUND: Profile = Profile {
    prepare_us: 5,
    compute_us: 0,
    wire_us: 0,
    stragglers_us: 0,
    no_nodes_us: 0,
    merge_us: 18,
    validate_us: 13,
};

#[test]
fn one_node_trains_and_the_rest_of_its_time_is_the_wire() {
    let mut bench = Bench::new();
    let sent = bench.send(&[1]);
    bench.pass(100);
    bench.take(1, sent, 80);
    assert_eq!(bench.finish(), Profile { compute_us: 80, wire_us: 20, ..AROUND });
}

#[test]
fn tasks_that_a_node_trains_one_after_the_other_all_count() {
    let mut bench = Bench::new();
    // Both are sent at once, and the second waits in the node's queue.
    let sent = bench.send(&[1, 1]);
    bench.pass(100);
    bench.take(1, sent, 80);
    bench.pass(85);
    bench.take(1, sent, 84);
    assert_eq!(bench.finish(), Profile { compute_us: 164, wire_us: 21, ..AROUND });
}

#[test]
fn the_way_of_an_update_is_no_training_in_whatever_order_they_come() {
    let mut bench = Bench::new();
    let sent = bench.send(&[1, 1]);
    bench.pass(100);
    let first_trained = bench.now;
    bench.pass(50);
    let second_trained = bench.now;
    bench.pass(20);
    for (train_us, trained) in [(30, second_trained), (80, first_trained)] {
        bench.profiler.ended(LinkKey(1), false);
        bench.profiler.accepted(LinkKey(1), bench.now);
        bench.profiler.trained(LinkKey(1), sent, train_us, trained);
        bench.needs(Need::Results);
    }
    assert_eq!(bench.finish(), Profile { compute_us: 110, wire_us: 60, ..AROUND });
}

#[test]
fn tasks_that_a_node_trains_side_by_side_count_once() {
    let mut bench = Bench::new();
    let sent = bench.send(&[1, 1, 1]);
    bench.pass(50);
    bench.take(1, sent, 10);
    bench.pass(10);
    bench.take(1, sent, 5);
    bench.pass(40);
    // 10 of the 95 were told before, and 5 more.
    bench.take(1, sent, 95);
    assert_eq!(bench.finish(), Profile { compute_us: 95, wire_us: 5, ..AROUND });
}

#[test]
fn from_when_a_node_is_done_the_others_are_waited_for() {
    let mut bench = Bench::new();
    let sent = bench.send(&[1, 2]);
    bench.pass(100);
    bench.take(1, sent, 90);
    bench.pass(60);
    bench.take(2, sent, 150);
    assert_eq!(bench.finish(), Profile { compute_us: 90, wire_us: 10, stragglers_us: 60, ..AROUND });
}

#[test]
fn a_node_that_never_worked_for_the_round_waits_for_nobody() {
    let mut bench = Bench::new();
    let sent = bench.send(&[1, 2]);
    bench.pass(10);
    // It turns its task down, and the first node gets it.
    bench.profiler.ended(LinkKey(2), false);
    bench.send(&[1]);
    bench.pass(90);
    bench.take(1, sent, 50);
    bench.pass(50);
    bench.take(1, sent, 50);
    assert_eq!(bench.finish(), Profile { compute_us: 100, wire_us: 50, ..AROUND });
}

#[test]
fn as_long_as_tasks_are_left_to_hand_out_nobody_waits_for_others() {
    let mut bench = Bench::new();
    let sent = bench.send(&[1, 2]);
    bench.needs(Need::Tasks);
    bench.pass(100);
    bench.take(1, sent, 100);
    bench.needs(Need::Tasks);
    bench.pass(30);
    let again = bench.send(&[1]);
    bench.pass(50);
    bench.take(1, again, 50);
    bench.pass(20);
    bench.take(2, sent, 200);
    assert_eq!(bench.finish(), Profile { compute_us: 180, stragglers_us: 20, ..AROUND });
}

#[test]
fn whoever_trains_a_copy_still_waits_for_the_straggler() {
    let mut bench = Bench::new();
    let sent = bench.send(&[1, 2]);
    bench.pass(100);
    bench.take(1, sent, 100);
    bench.pass(50);
    bench.profiler.sent(LinkKey(1), true);
    bench.needs(Need::Results);
    let copied = bench.now;
    bench.pass(70);
    bench.profiler.ended(LinkKey(1), true);
    bench.profiler.accepted(LinkKey(1), bench.now);
    bench.profiler.trained(LinkKey(1), copied, 70, bench.now);
    bench.needs(Need::Results);
    assert_eq!(bench.finish(), Profile { compute_us: 100, stragglers_us: 120, ..AROUND });
}

#[test]
fn a_node_that_goes_away_no_longer_waits() {
    let mut bench = Bench::new();
    let sent = bench.send(&[1, 2]);
    bench.pass(100);
    bench.take(1, sent, 100);
    bench.pass(50);
    bench.profiler.lost(LinkKey(1), bench.now);
    bench.pass(50);
    bench.take(2, sent, 190);
    assert_eq!(bench.finish(), Profile { compute_us: 140, wire_us: 10, stragglers_us: 50, ..AROUND });
}

#[test]
fn what_is_out_over_a_link_that_is_lost_is_no_work_any_more() {
    let mut bench = Bench::new();
    let sent = bench.send(&[1, 2, 2]);
    bench.pass(60);
    bench.take(2, sent, 60);
    bench.profiler.lost(LinkKey(2), bench.now);
    assert_eq!(bench.profiler.out(), 1);
    bench.send(&[1]);
    bench.pass(40);
    bench.take(1, sent, 100);
    bench.pass(60);
    bench.take(1, sent, 60);
    assert_eq!(bench.finish(), Profile { compute_us: 160, ..AROUND });
}

#[test]
fn time_without_nodes_is_told_apart_from_training_that_was_out_meanwhile() {
    let mut bench = Bench::new();
    bench.needs(Need::Nodes);
    bench.pass(1000);
    let sent = bench.send(&[1, 1]);
    bench.pass(100);
    bench.take(1, sent, 100);
    // The node leaves the list and finishes what it has; another task is to be handed out, and nobody takes it.
    bench.needs(Need::Nodes);
    bench.pass(200);
    bench.send(&[2]);
    bench.pass(50);
    bench.take(2, bench.now, 0);
    bench.pass(30);
    bench.take(1, sent, 280);
    // Waited for in the end, beginning when the second node was done.
    assert_eq!(bench.finish(), Profile { compute_us: 150, stragglers_us: 30, no_nodes_us: 1200, ..AROUND });
}

#[test]
fn what_comes_after_the_last_result_that_counts_is_the_merge() {
    let mut bench = Bench::new();
    let sent = bench.send(&[1, 2]);
    bench.profiler.sent(LinkKey(2), true);
    bench.pass(100);
    bench.take(1, sent, 60);
    bench.take(2, sent, 70);
    bench.pass(3);
    // The loser comes while the sum is being made.
    bench.profiler.ended(LinkKey(2), true);
    bench.profiler.trained(LinkKey(2), sent, 103, bench.now);
    bench.needs(Need::Results);
    assert_eq!(bench.finish(), Profile { compute_us: 100, merge_us: 21, ..AROUND });
}

#[test]
fn a_result_that_is_refused_does_not_end_the_waiting() {
    let mut bench = Bench::new();
    let sent = bench.send(&[1]);
    bench.pass(100);
    bench.take(1, sent, 90);
    bench.pass(2);
    bench.needs(Need::Tasks);
    let again = bench.send(&[1]);
    bench.pass(100);
    bench.take(1, again, 90);
    // While the sum is tried, the node has nothing to do.
    assert_eq!(bench.finish(), Profile { compute_us: 180, wire_us: 20, stragglers_us: 2, ..AROUND });
}

#[test]
fn a_task_that_is_skipped_last_is_waited_for() {
    let mut bench = Bench::new();
    let sent = bench.send(&[1, 2]);
    bench.pass(40);
    bench.take(1, sent, 40);
    bench.pass(60);
    bench.profiler.ended(LinkKey(2), false);
    bench.profiler.skipped(bench.now);
    bench.needs(Need::Results);
    assert_eq!(bench.finish(), Profile { compute_us: 40, stragglers_us: 60, ..AROUND });
}

#[test]
fn a_round_that_is_held_up_by_validations_waits_for_them() {
    let mut bench = Bench::new();
    let sent = bench.send(&[1]);
    bench.pass(100);
    bench.take(1, sent, 100);
    bench.pass(2);
    bench.profiler.held_up(bench.now);
    bench.pass(500);
    bench.profiler.held_up(bench.now);
    assert_eq!(bench.finish(), Profile { compute_us: 100, merge_us: 13, validate_us: 520, ..AROUND });
}

#[test]
fn a_node_is_believed_no_more_than_the_time_allows() {
    for (train_us, compute_us) in [(0, 0), (99, 99), (101, 100), (u64::MAX, 100)] {
        let mut bench = Bench::new();
        let sent = bench.send(&[1]);
        bench.pass(100);
        bench.take(1, sent, train_us);
        assert_eq!(bench.finish(), Profile { compute_us, wire_us: 100 - compute_us, ..AROUND });
    }
}

#[test]
fn rounds_add_up() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        let sent = bench.send(&[1]);
        bench.pass(100);
        bench.take(1, sent, 60);
        bench.pass(1);
        bench.profiler.step_ends(bench.now);
        bench.pass(2);
        bench.profiler.merged(bench.now);
        bench.profiler.step_begins(bench.now);
    }
    let sent = bench.send(&[1]);
    bench.pass(100);
    bench.take(1, sent, 60);
    assert_eq!(bench.finish(), Profile { compute_us: 240, wire_us: 160, merge_us: 27, ..AROUND });
}

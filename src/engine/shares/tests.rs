//! The rules by which steps are shared: when parts move, and where they end.

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

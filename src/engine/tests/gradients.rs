//! Steps of merged gradients: how they are cut, what becomes of their blocks, what is written of them and when.

use std::num::NonZeroU32;

use super::*;
use crate::job::{EntryResult, MergedStep, OnNoNodes, TaskRows};
use crate::model::{BatchSize, BlockRange, OuterOptimiser};

/// Two shards of 100 rows: 13 blocks each, 26 an epoch in two steps of 13.
const STEPS: u64 = 2;
const BLOCKS: u32 = 13;

fn gradients(rounds: u32) -> Specification {
    let mut specification = specification(2, rounds);
    let batch = BatchSize::Rows(NonZeroU32::new(104).unwrap());
    let recipe = Recipe { local_steps: Some(1), epochs: 1, batch, ..Recipe::DEFAULT };
    specification.training.recipe = recipe;
    specification.outer = Outer { optimiser: OuterOptimiser::Adam, ..Outer::AVERAGE };
    let specification = specification.checked().unwrap();
    assert_eq!((u64::from(specification.round_steps()), specification.steps()), (STEPS, STEPS * u64::from(rounds)));
    specification
}

fn with_nodes(count: u32) -> Harness {
    let mut harness = Harness::new(Policy::LoadBalancing);
    (1..=count).for_each(|number| drop(harness.join(number)));
    harness
}

/// The blocks of each task that is sent.
fn blocks(actions: &[Action]) -> Vec<Vec<BlockRange>> {
    let of_task = |action: &Action| match action {
        Action::Dispatch { rows: TaskRows::Blocks { ranges, .. }, .. } => Some(ranges.clone()),
        _ => None,
    };
    actions.iter().filter_map(of_task).collect()
}

/// Numbers of blocks of each task that is sent.
fn counts(actions: &[Action]) -> Vec<u32> {
    blocks(actions).iter().map(|ranges| ranges.iter().map(|range| range.count).sum()).collect()
}

fn sum(step: u64) -> StepSum {
    StepSum { digest: Digest::of(&[7, step as u8]), loss: 40.0, outer: Digest::of(&[8, step as u8]) }
}

impl Harness {
    fn begin(&mut self, specification: &Specification) -> Vec<Action> {
        self.submit(JOB, specification);
        self.tell(Event::DataReady { job: JOB });
        self.tell(Event::Prepared { job: JOB, base: base(0) })
    }

    fn step_merged(&mut self, step: u64) -> Vec<Action> {
        self.tell(Event::Merged { job: JOB, step, base: base(step + 1), sum: Some(sum(step)) })
    }

    /// What is sent is done, and the step merged: what comes of that.
    fn do_step(&mut self, actions: &[Action], step: u64) -> Vec<Action> {
        sent(actions).iter().for_each(|sent| drop(self.finish(sent)));
        self.step_merged(step)
    }

    fn round_validated(&mut self, round: u32) -> Vec<Action> {
        self.tell(Event::Validated { job: JOB, round, rows: 50, metrics: metrics() })
    }
}

fn records(actions: &[Action]) -> Vec<Record> {
    let record = |action: &Action| match action {
        Action::Persist { record, .. } => Some((**record).clone()),
        _ => None,
    };
    actions.iter().filter_map(record).collect()
}

#[test]
fn a_step_is_cut_into_as_many_tasks_as_there_are_workers_and_each_block_is_in_one() {
    for nodes in [1, 2, 3, 20] {
        let mut harness = with_nodes(nodes);
        let actions = harness.begin(&gradients(1));
        let ranges: Vec<BlockRange> = blocks(&actions).concat();
        let mut places: Vec<(u32, u32)> = ranges
            .iter()
            .flat_map(|range| (range.first..range.first + range.count).map(|place| (range.shard, place)))
            .collect();
        places.sort_unstable();
        // The first 13 of 26, the first of every shard, then the second, and so on.
        let expected: Vec<(u32, u32)> = (0..7).map(|place| (0, place)).chain((0..6).map(|place| (1, place))).collect();
        assert_eq!(places, expected);
        assert_eq!(sent(&actions).len(), nodes.min(BLOCKS) as usize);
        let counts = counts(&actions);
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    }
}

#[test]
fn a_step_may_be_cut_otherwise_than_the_one_before() {
    let mut harness = with_nodes(1);
    let actions = harness.begin(&gradients(1));
    assert_eq!(counts(&actions), [BLOCKS]);
    harness.join(2);
    let actions = harness.do_step(&actions, 0);
    assert_eq!(counts(&actions), [7, 6]);
}

#[test]
fn as_many_tasks_are_made_of_a_step_as_are_asked_for() {
    let mut specification = gradients(1);
    specification.operation.tasks_per_step = Some(4);
    let mut harness = with_nodes(1);
    let mut actions = harness.begin(&specification);
    let mut done = counts(&actions);
    while done.iter().sum::<u32>() < BLOCKS {
        actions = harness.finish(&only_sent(&actions));
        done.extend(counts(&actions));
    }
    assert_eq!(done, [3, 3, 3, 4]);
}

#[test]
fn a_job_that_is_submitted_again_is_cut_as_it_says_from_the_next_step_on() {
    let mut harness = with_nodes(2);
    let actions = harness.begin(&gradients(1));
    let mut again = gradients(1);
    again.operation.tasks_per_step = Some(13);
    assert!(sent(&harness.submit(JOB, &again)).is_empty(), "the step under way stays as it is");
    let mut actions = harness.do_step(&actions, 0);
    let mut done = counts(&actions);
    while let Some(sent) = sent(&actions).first() {
        actions = harness.finish(sent);
        done.extend(counts(&actions));
    }
    assert!(done.iter().all(|count| *count == 1), "{done:?}");
}

#[test]
fn the_blocks_of_a_node_that_is_lost_are_shared_among_the_others() {
    let mut harness = with_nodes(3);
    let actions = harness.begin(&gradients(1));
    let first = sent(&actions);
    for sent in &first[1..] {
        harness.finish(sent);
    }
    let again = harness.cut(first[0].link.0);
    assert_eq!(counts(&again), [3, 2], "5 blocks for two idle nodes");
    // A result of the task that was split is nothing any more.
    let late = harness.trained(&first[0]);
    assert!(!accumulates(&late) && discards(&late));
    let finished: Vec<Action> = sent(&again).iter().flat_map(|sent| harness.finish(sent)).collect();
    assert!(finished.contains(&Action::FinishStep { job: JOB, step: 0, rows: 104 }), "{finished:?}");
}

#[test]
fn a_copy_has_its_originals_blocks() {
    let mut harness = with_nodes(2);
    let actions = harness.begin(&gradients(1));
    let sent = sent(&actions);
    harness.pass_ms(10);
    harness.finish(&sent[1]);
    let copied = harness.pass_ms(2_000);
    assert_eq!(blocks(&copied), [blocks(&actions)[0].clone()]);
}

#[test]
fn a_slow_node_gets_fewer_blocks_or_none() {
    let mut harness = with_nodes(2);
    let actions = harness.begin(&gradients(3));
    let tasks = sent(&actions);
    for (task, (wait_ms, took_ms)) in tasks.iter().zip([(10, 10), (30, 40)]) {
        harness.pass_ms(wait_ms);
        let result = result(update(task), 100.0, took_ms * 1_000);
        harness.tell(Event::Trained { link: task.link, attempt: task.attempt, result });
        harness.accumulated(task);
    }
    let actions = harness.step_merged(0);
    // 7 blocks in 10 ms, 6 in 40.
    assert_eq!(counts(&actions), [11, 2]);
    assert_eq!(sent(&actions)[0].link, tasks[0].link);
}

#[test]
fn a_step_is_cut_for_the_nodes_that_want_tasks_and_for_the_others_again_when_they_do() {
    let mut harness = with_nodes(2);
    let actions = harness.begin(&gradients(2));
    let tasks = sent(&actions);
    harness.rejected_with(&tasks[0], RejectReason::LoadProbability, 10);
    let rest = only_sent(&harness.finish(&tasks[1]));
    assert_eq!(rest.link, tasks[1].link);
    harness.finish(&rest);
    let actions = harness.step_merged(0);
    assert_eq!((counts(&actions), sent(&actions)[0].link), (vec![BLOCKS], tasks[1].link));
    harness.pass_ms(10);
    let actions = harness.do_step(&actions, 1);
    assert_eq!(counts(&actions).iter().sum::<u32>(), BLOCKS);
    assert_eq!(links(&sent(&actions)), [1, 2]);
}

#[test]
fn a_round_is_its_steps_and_what_is_told_of_it_counts_blocks() {
    let mut harness = with_nodes(2);
    let actions = harness.begin(&gradients(2));
    let actions = harness.do_step(&actions, 0);
    assert!(!actions.iter().any(|action| matches!(action, Action::Validate { .. } | Action::KeepWeights { .. })));
    let actions = harness.do_step(&actions, 1);
    assert!(actions.contains(&Action::KeepWeights { job: JOB }));
    assert!(actions.contains(&Action::Validate { job: JOB, round: 0, base: base(2) }));
    let told = harness.round_validated(0);
    let [record] = &records(&told)[..] else { panic!("{told:?}") };
    let entry = |step: u64, rows| LedgerEntry {
        rows,
        base: base(step),
        result: EntryResult::Step(MergedStep {
            blocks: BLOCKS,
            skipped: Vec::new(),
            loss: 40.0,
            sum: sum(step).digest,
            outer: sum(step).outer,
        }),
    };
    assert_eq!((&record.entries, record.ends_round), (&vec![entry(0, 104), entry(1, 96)], true));
    let round = record.progress.last.unwrap();
    assert_eq!(
        (round.round, round.merged, round.skipped, round.nodes, round.loss),
        (1, 2 * BLOCKS, 0, 2, 80.0 / 200.0)
    );
    assert_eq!((record.progress.steps, record.progress.base), (2, base(2)));
    let actions = harness.do_step(&actions, 2);
    harness.do_step(&actions, 3);
    let summary = summary(&harness.round_validated(1));
    assert_eq!((summary.merged, summary.weights), (4 * u64::from(BLOCKS), base(4)));
    assert_eq!(summary.nodes.iter().map(|node| node.tasks).sum::<u64>(), summary.merged);
}

#[test]
fn steps_of_a_long_round_are_written_down_after_two_seconds_and_a_job_goes_on_from_them() {
    let mut specification = gradients(2);
    specification.round_steps = Some(5);
    let mut harness = with_nodes(1);
    let actions = harness.begin(&specification);
    let actions = harness.do_step(&actions, 0);
    harness.now = harness.now.after_us(2_000_000);
    let actions = harness.do_step(&actions, 1);
    let [record] = &records(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((record.entries.len(), record.ends_round, record.progress.steps), (2, false, 2));
    assert_eq!((record.progress.last, record.progress.so_far.merged), (None, 2 * BLOCKS));
    assert!(actions.contains(&Action::KeepWeights { job: JOB }));
    let progress = record.progress.clone();
    // Another life.
    let mut harness = with_nodes(1);
    let (semantic, progress) = (semantic(&specification), Some(Box::new(progress)));
    let specification = Arc::new(specification);
    harness.tell(Event::Restored { job: JOB, specification, semantic, progress, paused: None });
    let mut actions = harness.tell(Event::Prepared { job: JOB, base: base(2) });
    harness.pass_ms(300);
    for step in 2..5 {
        let tasks = sent(&actions);
        assert!(tasks.iter().all(|sent| sent.attempt.task.step == step), "{step}: {tasks:?}");
        actions = harness.do_step(&actions, step);
    }
    let told = harness.round_validated(0);
    let [record] = &records(&told)[..] else { panic!("{told:?}") };
    let round = record.progress.last.unwrap();
    assert_eq!((record.entries.len(), round.merged, round.loss), (3, 5 * BLOCKS, 200.0 / (3.0 * 104.0 + 2.0 * 96.0)));
}

#[test]
fn blocks_whose_sum_is_lost_count_once_for_the_nodes_that_did_them() {
    let mut harness = with_nodes(2);
    let actions = harness.begin(&gradients(1));
    sent(&actions).iter().for_each(|sent| drop(harness.finish(sent)));
    let reason = "the disk is ill".to_owned();
    let again = harness.tell(Event::UpdatesLost { job: JOB, step: 0, shards: vec![1, 2], reason });
    let actions = harness.do_step(&again, 0);
    harness.do_step(&actions, 1);
    let summary = summary(&harness.round_validated(0));
    assert_eq!(summary.merged, 2 * u64::from(BLOCKS));
    assert_eq!(summary.nodes.iter().map(|node| node.tasks).sum::<u64>(), summary.merged, "{:?}", summary.nodes);
}

#[test]
fn steps_of_a_round_are_written_behind_the_round_before_and_tell_of_it_once_it_is_validated() {
    let mut specification = gradients(2);
    specification.round_steps = Some(5);
    let mut harness = with_nodes(1);
    let mut actions = harness.begin(&specification);
    for step in 0..5 {
        actions = harness.do_step(&actions, step);
    }
    harness.now = harness.now.after_us(2_000_000);
    let actions = harness.do_step(&actions, 5);
    let keeps = |actions: &[Action]| actions.contains(&Action::KeepWeights { job: JOB });
    assert!(!keeps(&actions) && records(&actions).is_empty(), "as long as the round is not, its weights would be held");
    let [round] = &records(&harness.round_validated(0))[..] else { panic!("one record is due") };
    assert_eq!((round.ends_round, round.progress.steps), (true, 5));
    assert_eq!(round.progress.last.map(|last| (last.round, last.rows, last.metrics)), Some((1, 50, metrics())));
    let actions = harness.do_step(&actions, 6);
    let [steps] = &records(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((steps.ends_round, steps.progress.steps, steps.entries.len(), keeps(&actions)), (false, 7, 2, true));
    assert_eq!(steps.progress.last, round.progress.last);
}

#[test]
fn a_job_that_is_paused_within_a_round_has_its_steps_written_and_goes_on_behind_them() {
    let mut specification = gradients(1);
    specification.operation.on_no_nodes = OnNoNodes::Pause;
    let mut harness = with_nodes(2);
    let actions = harness.begin(&specification);
    let actions = harness.do_step(&actions, 0);
    // Half of the step under way is done, and is done again later.
    harness.finish(&sent(&actions)[0]);
    let mut paused = [harness.cut(1), harness.cut(2)].concat();
    paused.extend(harness.pass_ms(20_000));
    let [record] = &records(&paused)[..] else { panic!("{paused:?}") };
    assert_eq!((record.entries.len(), record.ends_round, record.progress.steps), (1, false, 1));
    let Progress { base: written, merged, nodes, reproducible, .. } = &record.progress;
    assert_eq!((*written, *merged, *reproducible), (base(1), u64::from(BLOCKS), true));
    assert_eq!(nodes.iter().map(|node| node.tasks).sum::<u64>(), u64::from(BLOCKS));
    assert!(paused.contains(&Action::KeepWeights { job: JOB }) && paused.contains(&Action::Suspend { job: JOB }));
    harness.tell(Event::ResumeRequested { job: JOB });
    let mut actions = harness.tell(Event::Prepared { job: JOB, base: base(1) });
    actions.extend(harness.link(1, 11, 1, &[1]));
    assert_eq!((counts(&actions), sent(&actions)[0].attempt.task.step), (vec![BLOCKS], 1));
    harness.do_step(&actions, 1);
    assert_eq!(summary(&harness.round_validated(0)).merged, 2 * u64::from(BLOCKS));
}

#[test]
fn a_task_that_fails_everywhere_is_split_to_single_blocks_before_any_is_left_out() {
    let mut harness = with_nodes(1);
    let specification = skipping(gradients(1));
    let mut actions = harness.begin(&specification);
    let whole = only_sent(&actions);
    actions = harness.failed(&whole, Fault::Final);
    let mut skipped = 0;
    let mut done = 0;
    while !actions.iter().any(|action| matches!(action, Action::FinishStep { .. })) {
        let task = only_sent(&actions);
        assert_eq!(counts(&actions), [1]);
        let is_bad = done == 4;
        done += 1;
        actions = if is_bad { harness.failed(&task, Fault::Final) } else { harness.finish(&task) };
        skipped += notices(&actions).iter().filter(|notice| matches!(notice, Notice::TaskSkipped { .. })).count();
    }
    assert_eq!((done, skipped), (BLOCKS, 1));
    assert!(actions.contains(&Action::FinishStep { job: JOB, step: 0, rows: 96 }));
    let actions = harness.step_merged(0);
    harness.do_step(&actions, 1);
    let told = harness.round_validated(0);
    let record = &records(&told)[0];
    let EntryResult::Step(step) = &record.entries[0].result else { panic!() };
    assert_eq!((step.blocks, &step.skipped[..]), (BLOCKS - 1, &[4][..]));
    assert!(!summary(&told).reproducible);
}

#[test]
fn a_step_of_which_no_block_is_left_changes_nothing_and_a_round_of_such_steps_ends_the_job() {
    let mut harness = with_nodes(1);
    let mut actions = harness.begin(&skipping(gradients(1)));
    let mut tell_all = Vec::new();
    for _ in 0..200 {
        let tasks = sent(&actions);
        tell_all.extend(actions);
        let Some(task) = tasks.first() else { break };
        if task.attempt.task.step > 0 {
            break;
        }
        actions = harness.failed(task, Fault::Final);
    }
    let task = sent(&tell_all).last().copied().unwrap();
    assert_eq!(task.attempt.task.step, 1);
    let of_second = tell_all.iter().rev().find_map(|action| match action {
        Action::Dispatch { base, .. } => Some(*base),
        _ => None,
    });
    assert_eq!(of_second, Some(base(0)));
    let mut actions = harness.failed(&task, Fault::Final);
    while let Some(task) = sent(&actions).first().copied() {
        actions = harness.failed(&task, Fault::Final);
    }
    assert!(matches!(outcome(&actions), Some(Outcome::Failed(FailReason::AllSkipped { .. }))), "{actions:?}");
}

#[test]
fn a_step_behind_one_of_which_no_block_is_left_is_handed_out_at_once() {
    let mut harness = with_nodes(1);
    let mut actions = harness.begin(&skipping(gradients(1)));
    while let Some(task) = sent(&actions).first().copied().filter(|task| task.attempt.task.step == 0) {
        actions = harness.failed(&task, Fault::Final);
    }
    assert_eq!(only_sent(&actions).attempt.task.step, 1, "{actions:?}");
}

fn medians(rounds: u32) -> Specification {
    Specification { merge: Merge::Median, ..gradients(rounds) }.checked().unwrap()
}

#[test]
fn where_the_median_is_taken_each_block_is_a_task_of_its_number_whatever_is_asked_for() {
    for (policy, nodes) in [(Policy::Random, 1), (Policy::LoadBalancing, 1), (Policy::LoadBalancing, 20)] {
        let mut specification = medians(1);
        specification.operation.tasks_per_step = Some(3);
        let mut harness = Harness::new(policy);
        (1..=nodes).for_each(|number| drop(harness.join(number)));
        let mut actions = harness.begin(&specification);
        let (mut done, mut tasks) = (blocks(&actions), sent(&actions));
        let mut next = 0;
        while let Some(task) = tasks.get(next).copied() {
            next += 1;
            actions = harness.finish(&task);
            done.extend(blocks(&actions));
            tasks.extend(sent(&actions));
        }
        // Shard by shard: the first seven of the one, the first six of the other.
        let place = |number: u32| if number < 7 { (0, number) } else { (1, number - 7) };
        let single = |task: &Sent| {
            let (shard, first) = place(task.shard());
            vec![BlockRange { shard, first, count: 1 }]
        };
        assert_eq!(done, tasks.iter().map(single).collect::<Vec<_>>());
        let mut numbers: Vec<u32> = tasks.iter().map(Sent::shard).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..BLOCKS).collect::<Vec<_>>());
        assert!(actions.contains(&Action::FinishStep { job: JOB, step: 0, rows: 104 }), "{actions:?}");
    }
}

#[test]
fn a_block_whose_node_is_lost_or_that_fails_everywhere_stays_a_task_by_itself() {
    let mut harness = with_nodes(2);
    let mut actions = harness.begin(&skipping(medians(1)));
    let [first, second] = sent(&actions)[..] else { panic!("{actions:?}") };
    actions = harness.cut(first.link.0);
    assert!(sent(&actions).is_empty(), "the other has a task");
    actions = harness.failed(&second, Fault::Final);
    let mut left_out = notices(&actions);
    let (mut tasks, mut next) = (sent(&actions), 0);
    while let Some(task) = tasks.get(next).copied() {
        next += 1;
        actions = harness.finish(&task);
        left_out.extend(notices(&actions));
        tasks.extend(sent(&actions));
    }
    assert_eq!(tasks.iter().filter(|task| task.shard() == first.shard()).count(), 1);
    let skipped = Place::Blocks { step: 0, first: second.shard(), last: second.shard() };
    let is_it = |notice: &Notice| matches!(notice, Notice::TaskSkipped { place, .. } if *place == skipped);
    assert!(left_out.iter().any(is_it), "{left_out:?}");
    assert!(actions.contains(&Action::FinishStep { job: JOB, step: 0, rows: 96 }), "{actions:?}");
}

#[test]
fn rows_that_nodes_cannot_keep_are_told_of_once_where_steps_go_through_all_of_them() {
    let told = |cache_bytes: Option<u64>, specification: &Specification| {
        let mut harness = Harness::new(Policy::LoadBalancing);
        let (name, arithmetics, doubts) = ("n1".to_owned(), vec![1], Vec::new());
        let info = NodeInfo { name, arithmetics, doubts, workers: 1, cache_bytes, memory_bytes: None };
        harness.tell(Event::NodeListed { node: NodeKey(1), address: "10.0.0.1:7000".to_owned() });
        harness.tell(Event::LinkUp { node: NodeKey(1), link: LinkKey(1), info });
        let mut actions = harness.begin(specification);
        let mut told = Vec::new();
        for step in 0..4 {
            harness.now = harness.now.after_us(2_000_000);
            actions = harness.do_step(&actions, step);
            told.extend(notices(&actions).into_iter().map(|notice| (step, notice)));
        }
        told
    };
    let rows_bytes = crate::engine::crew::Needs::of(&gradients(4)).rows_bytes;
    let [(step, Notice::RowsTravel { rows_bytes: told_bytes, kept_bytes: 1_000 })] =
        &told(Some(1_000), &gradients(4))[..]
    else {
        panic!("not told, or twice")
    };
    assert_eq!((*step, *told_bytes), (2, rows_bytes), "not before 5 s: nodes may be yet to come");
    assert_eq!(told(Some(rows_bytes), &gradients(4)), []);
    assert_eq!(told(None, &gradients(4)), [], "one that says nothing is believed to keep them");
    let text = Notice::RowsTravel { rows_bytes: 600 << 20, kept_bytes: 240 << 20 }.to_string();
    assert!(
        text.starts_with("the nodes keep 240 MiB of the job's rows, which take 600 MiB") && text.contains("--cache")
    );
}

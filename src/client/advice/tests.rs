use std::num::NonZeroU32;

use super::*;
use crate::digest::Digest;
use crate::job::{Metrics, NodeTasks, Operation, Profile, RowsRef};
use crate::model::{ARITHMETIC, Network, Outer, OuterOptimiser, Training};

const SECOND: u64 = 1_000_000;

fn rows(count: u32) -> Option<BatchSize> {
    NonZeroU32::new(count).map(BatchSize::Rows)
}

/// The built-in job, or one of other tasks.
fn job(local_steps: Option<u32>, epochs: u32) -> Specification {
    let batch = if local_steps == Some(1) { rows(512) } else { rows(32) }.unwrap();
    let recipe = Recipe { local_steps, epochs, batch, ..Recipe::DEFAULT };
    let merges_gradients = recipe.merges_gradients();
    let reference = |rows| RowsRef { rows, digest: Digest([1; 32]) };
    let specification = Specification {
        patience: None,
        target_accuracy: None,
        test: None,
        training: Training {
            arithmetic: ARITHMETIC,
            network: Network::new(16, &[192], 26).unwrap(),
            recipe,
            seed: 1,
            class_weights: Vec::new(),
        },
        rounds: 40,
        round_steps: None,
        shards: vec![reference(4125); 4],
        validation: reference(3500),
        merge: Default::default(),
        outer: Outer {
            optimiser: if merges_gradients { OuterOptimiser::Adam } else { OuterOptimiser::Average },
            ..Outer::AVERAGE
        },
        initial: None,
        operation: Operation::default(),
        notes: Vec::new(),
    };
    specification.checked().unwrap()
}

/// Ten seconds of four nodes, of which these went to the wire and to waiting, and half a second to training on each.
fn done(wire_us: u64, stragglers_us: u64) -> Summary {
    let compute_us = 10 * SECOND - wire_us - stragglers_us;
    let profile = Profile { compute_us, wire_us, stragglers_us, ..Profile::default() };
    Summary {
        round: 1,
        rounds: 1,
        test: None,
        confusion: None,
        fingerprint: Digest([1; 32]),
        weights: Digest([2; 32]),
        metrics: Metrics::default(),
        rows: 3500,
        loss: 0.5,
        merged: 1,
        skipped: 0,
        elapsed_us: profile.total_us(),
        profile,
        training_us: 2 * SECOND,
        validating_us: 0,
        revivals: 0,
        reproducible: true,
        nodes: (1..=4).map(|number| NodeTasks { node: format!("node-{number}"), tasks: 40 }).collect(),
    }
}

fn text(specification: &Specification, done: &Summary) -> Option<String> {
    advice(specification, done).map(|advice| advice.text)
}

fn options(specification: &Specification, done: &Summary) -> Option<String> {
    advice(specification, done).map(|advice| advice.options)
}

#[test]
fn merged_gradients_on_a_slow_network_are_advised_to_merge_after_some_batches() {
    assert_eq!(
        text(&job(Some(1), 1), &done(8 * SECOND, SECOND)).unwrap(),
        "80 % of the time went to the network: 8282 parameters travelled to 4 nodes and back 1320 times, after every \
         batch. --local-steps 16 does that 360 times in all, after every 16 batches of a shard. The model is another one: \
         compare their accuracy."
    );
    // As many rounds as are usual, but not usual then.
    let job = job(Some(1), 1);
    let rounds = usual::rounds(job.rows(), job.training.recipe.batch);
    let usual = Specification { rounds, ..job };
    let expected = format!("--local-steps 16 --rounds {rounds}");
    assert_eq!(options(&usual, &done(8 * SECOND, SECOND)).unwrap(), expected);
    // Where a shard has no 16 batches, that is as often as after every pass.
    let mut small = usual;
    small.shards.iter_mut().for_each(|shard| shard.rows = 100);
    let small = small.checked().unwrap();
    assert!(text(&small, &done(8 * SECOND, SECOND)).is_none_or(|text| !text.contains("--local-steps")));
}

#[test]
fn local_steps_on_a_slow_network_are_advised_in_the_same_words_and_told_what_to_leave_out() {
    assert_eq!(
        text(&job(Some(8), 1), &done(8 * SECOND, SECOND)).unwrap(),
        "80 % of the time went to the network: 8282 parameters travelled to 4 nodes and back 680 times, after every 8 \
         batches of a shard. --epochs 3 in place of --local-steps 8 does that 40 times in all, after every 3 passes over \
         the rows, and trains 3 times as much. The model is another one: compare their accuracy."
    );
    let mut cut = job(Some(1), 1);
    cut.operation.tasks_per_step = Some(8);
    assert!(text(&cut, &done(8 * SECOND, 0)).unwrap().contains("--local-steps 16 in place of --tasks-per-step does"));
}

#[test]
fn epochs_on_a_slow_network_are_advised_to_make_fewer_and_longer_rounds_where_rounds_are_many() {
    let mut epochs = job(None, 1);
    assert_eq!(
        text(&epochs, &done(8 * SECOND, SECOND)).unwrap(),
        "80 % of the time went to the network: 8282 parameters travelled to 4 nodes and back 40 times, after every pass \
         over the rows. --epochs 3 --rounds 14 does that 14 times in all and trains as much. The model is another one: \
         compare their accuracy."
    );
    epochs.rounds = 23;
    assert_eq!(text(&epochs, &done(8 * SECOND, SECOND)), None);
    assert_eq!(options(&job(None, 5), &done(8 * SECOND, 0)).unwrap(), "--epochs 15 --rounds 14");
    assert_eq!(options(&job(None, EPOCHS_MAX), &done(8 * SECOND, 0)), None);
}

#[test]
fn there_is_no_advice_where_most_of_the_time_went_elsewhere_or_little_did_or_merging_takes_next_to_nothing() {
    for job in [job(Some(1), 1), job(Some(8), 1), job(None, 1)] {
        assert_eq!(text(&job, &done(4_999_999, 4_999_999)), None);
        assert!(text(&job, &done(5 * SECOND, 0)).is_some());
        let short = done(8 * SECOND, 0);
        let profile = Profile { wire_us: 1_999_999, ..Profile::default() };
        assert_eq!(text(&job, &Summary { profile, elapsed_us: 2 * SECOND, ..short }), None);
    }
    // 10,560 merges in ten seconds are those of one machine.
    assert_eq!(text(&Specification { rounds: 320, ..job(Some(1), 1) }, &done(8 * SECOND, 0)), None);
    assert_eq!(text(&job(Some(1), 1), &Summary { profile: Profile::default(), ..done(0, 0) }), None);
}

#[test]
fn where_the_rows_take_the_wires_time_no_merging_is_blamed() {
    let mut wide = job(None, 1);
    wide.training.network = Network::new(4_000, &[2], 26).unwrap();
    assert_eq!(text(&wide, &done(8 * SECOND, 0)), None);
}

#[test]
fn passes_are_as_many_as_halve_the_time_and_none_where_none_do() {
    let (job, slow) = (job(Some(8), 1), done(8 * SECOND, SECOND));
    let of = |training_us| options(&job, &Summary { training_us, ..slow.clone() });
    assert_eq!(of(6 * SECOND).unwrap(), "--epochs 3");
    assert_eq!(of(7 * SECOND).unwrap(), "--epochs 1");
    assert_eq!(of(20 * SECOND), None);
}

#[test]
fn a_batch_of_all_nodes_that_somebody_asked_for_is_not_kept_for_each() {
    let mut asked = job(Some(1), 1);
    for (batch, advised) in [(256, "--local-steps 16 --batch 32"), (2048, "--epochs 3 --batch 32")] {
        asked.training.recipe.batch = rows(batch).unwrap();
        assert_eq!(options(&asked, &done(8 * SECOND, 0)).unwrap(), advised);
    }
    let mut local = job(Some(8), 1);
    local.training.recipe.batch = rows(64).unwrap();
    assert_eq!(options(&local, &done(8 * SECOND, 0)).unwrap(), "--epochs 3");
}

#[test]
fn rounds_of_steps_that_somebody_asked_for_are_left_alone() {
    assert_eq!(text(&Specification { round_steps: Some(10), ..job(Some(1), 1) }, &done(8 * SECOND, 0)), None);
}

#[test]
fn more_nodes_than_shards_are_told_that_some_will_rest() {
    let mut many = done(8 * SECOND, SECOND);
    many.nodes.extend((5..=9).map(|number| NodeTasks { node: format!("node-{number}"), tasks: 40 }));
    many.nodes.push(NodeTasks { node: "late".to_owned(), tasks: 0 });
    let text = text(&job(Some(1), 1), &many).unwrap();
    assert!(text.contains("travelled to 9 nodes and back"), "{text}");
    assert!(text.ends_with("their accuracy. No more than 4 nodes train at a time then."), "{text}");
}

#[test]
fn epochs_that_wait_for_stragglers_are_advised_to_be_cut_smaller() {
    assert_eq!(
        text(&job(None, 3), &done(SECOND, 6 * SECOND)).unwrap(),
        "60 % of the time, nodes that were done waited for slower ones. --shards 8 in place of 4 makes smaller tasks, of \
         which faster nodes take more, each trained on fewer rows: accuracy may suffer, compare both."
    );
    assert_eq!(text(&job(Some(1), 1), &done(SECOND, 6 * SECOND)), None);
    let mut alone = done(SECOND, 6 * SECOND);
    alone.nodes.truncate(1);
    assert_eq!(text(&job(None, 3), &alone), None);
    let mut tiny = job(None, 3);
    tiny.shards.iter_mut().for_each(|shard| shard.rows = 63);
    assert_eq!(text(&tiny, &done(SECOND, 6 * SECOND)), None);
}

#[test]
fn a_profile_that_a_coordinator_makes_up_breaks_nothing() {
    let profile = Profile { wire_us: u64::MAX, stragglers_us: u64::MAX, ..Profile::default() };
    let made_up = Summary { profile, elapsed_us: 0, training_us: u64::MAX, nodes: Vec::new(), ..done(0, 0) };
    assert_eq!(text(&job(Some(1), 1), &made_up), None);
    let text = text(&job(None, 3), &made_up).unwrap();
    assert!(text.starts_with("100 % of the time went to the network"), "{text}");
}

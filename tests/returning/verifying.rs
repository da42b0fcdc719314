//! Whether a job's bits are right, as `verify` finds it: what is recomputed, what cannot be, and what a coordinator that lies is found
//! out by.

use gradwire::digest::Digest;
use gradwire::job::{EntryResult, JobState};
use gradwire::model::{Outer, OuterOptimiser};
use serde_json::Value;

use crate::asking::{ask, notes};
use crate::book::{Book, ROUNDS, SHARDS, done};
use crate::common::process::Ended;

#[test]
fn a_ledger_verifies_if_every_update_has_its_bits() {
    let mut book = Book::new(notes());
    let well = ask(&book, &["verify", "beef"]);
    assert_eq!(well.code, Some(0), "{well:?}");
    let fingerprint = book.done.summary.fingerprint;
    let said = "verified 17 tasks of 6 rounds: every update has the ledger's bits; 1 task was skipped\n";
    assert_eq!(well.stdout, format!("fingerprint  {fingerprint}\n{said}"), "{well:?}");
    let told: Value = serde_json::from_str(&ask(&book, &["verify", "beef", "--json"]).stdout).unwrap();
    assert_eq!((&told["agrees"], &told["fingerprint"]), (&true.into(), &fingerprint.to_string().into()));
    // So does what there is of it so far.
    book.entries.truncate(3 * SHARDS as usize);
    book.state = JobState::Running;
    let partly = ask(&book, &["verify", "beef"]);
    assert!(partly.code == Some(0) && partly.stdout.starts_with("verified 8 tasks of 3 rounds"), "{partly:?}");
    book.entries.clear();
    assert_eq!(ask(&book, &["verify", "beef"]).code, Some(1));
    // One that is larger than its job is not read to its end.
    let mut endless = Book::new(notes());
    endless.entries.extend_from_within(..SHARDS as usize);
    let lie = ask(&endless, &["verify", "beef"]);
    assert!(lie.stderr.contains("21 entries, 3 a step, where the job has 18, 3 a step"), "{lie:?}");
}

/// The rounds, shards and nodes that differ.
fn differs(ended: &Ended) -> Vec<(u64, Option<u64>, Option<String>)> {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let verdict: Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(verdict["agrees"], false);
    let finding = |finding: &Value| {
        let node = finding["node"].as_str().map(str::to_owned);
        (finding["round"].as_u64().unwrap(), finding["shard"].as_u64(), node)
    };
    verdict["differs"].as_array().unwrap().iter().map(finding).collect()
}

#[test]
fn whatever_in_a_ledger_is_not_what_is_computed_is_told_with_its_node() {
    let node = |round, shard: u64| (round, Some(shard), Some(format!("node-{shard}")));
    let verify = |book: &Book| differs(&ask(book, &["verify", "beef", "--json"]));
    let mut update = Book::new(notes());
    update.task(3, 1).update = Digest([9; 32]);
    assert_eq!(verify(&update), [node(3, 1)]);
    let mut loss = Book::new(notes());
    loss.task(5, 0).loss += 1e-9;
    assert_eq!(verify(&loss), [node(5, 0)]);
    let mut rows = Book::new(notes());
    rows.entries[4].rows = 5;
    assert_eq!(verify(&rows), [(2, Some(1), Some("-".to_owned()))]);
    let mut fingerprint = Book::new(notes());
    fingerprint.done.summary.fingerprint = Digest([9; 32]);
    assert_eq!(verify(&fingerprint), [(6, None, None)]);
    // Weights that do not follow from the updates, and those that follow from them.
    let mut weights = Book::new(notes());
    let other = weights.base(3);
    for entry in &mut weights.entries[(3 * SHARDS) as usize..(4 * SHARDS) as usize] {
        entry.base = other;
    }
    let found = verify(&weights);
    assert!(
        found.contains(&(3, None, None)) && found.contains(&node(4, 0)) && !found.contains(&node(5, 0)),
        "{found:?}"
    );
}

#[test]
fn behind_a_task_of_another_arithmetic_rounds_are_computed_from_weights_that_the_coordinator_holds() {
    let mut book = Book::with_inexact(notes(), Outer::AVERAGE, (1, 0));
    let ended = ask(&book, &["verify", "beef"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with("round 2, shard 0, of node-0: its update is "), "{ended:?}");
    assert_eq!(lines[1..], ["recomputed 17 tasks of 6 rounds: 1 difference from the ledger; 1 task was skipped"]);
    // Where it does not hold them, nobody can tell.
    for round in 3..=5 {
        book.objects.remove(&book.base(round));
    }
    let ended = ask(&book, &["verify", "beef"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for round in 3..=5 {
        let line = format!("round {round}: 3 tasks not computed: the weights it starts from cannot be had\n");
        assert!(ended.stdout.contains(&line), "{ended:?}");
    }
    assert!(ended.stdout.contains("recomputed 8 tasks of 6 rounds: 1 difference"), "{ended:?}");
}

/// One that remembers.
const OUTER: Outer = Outer { optimiser: OuterOptimiser::Adam, eta: 0.01, ..Outer::AVERAGE };

#[test]
fn the_rounds_of_an_outer_optimiser_are_computed_from_the_first_and_a_merge_that_is_another_is_told() {
    let book = |inexact| Book::with_inexact(notes(), OUTER, inexact);
    let mut well = book((u64::MAX, 0));
    let ended = ask(&well, &["verify", "beef"]);
    let said = "\nverified 17 tasks of 6 rounds: every update has the ledger's bits; 1 task was skipped\n";
    assert!(ended.code == Some(0) && ended.stdout.ends_with(said), "{ended:?}");
    // The same tasks, added as they are, lead elsewhere.
    well.specification.outer = Outer::AVERAGE;
    let found = differs(&ask(&well, &["verify", "beef", "--json"]));
    assert!(found.contains(&(1, None, None)), "{found:?}");
    // Weights that are held say nothing of what was remembered at them, and a sample needs none of it.
    let mut book = book((u64::MAX, 0));
    let sample = |book: &Book| ask(book, &["verify", "beef", "--sample", "3", "--seed", "5"]);
    let held = sample(&book);
    assert!(held.code == Some(0) && held.stdout.starts_with("verified 3 tasks of 6 rounds: "), "{held:?}");
    for round in 1..=ROUNDS {
        book.objects.remove(&book.base(round));
    }
    let unheld = sample(&book);
    assert!(unheld.code == Some(0) && unheld.stdout.contains(" more on the way"), "{unheld:?}");
}

#[test]
fn behind_a_round_that_leads_elsewhere_merges_by_an_outer_optimiser_are_said_not_to_be_computed() {
    let book = Book::with_inexact(notes(), OUTER, (1, 0));
    let ended = ask(&book, &["verify", "beef"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with("round 2, shard 0, of node-0: its update is "), "{ended:?}");
    let unmerged =
        "4 merges not computed, from round 3 on: what the outer optimiser remembered before it cannot be had";
    let computed = "recomputed 17 tasks of 6 rounds: 1 difference from the ledger; 1 task was skipped";
    assert_eq!(lines[1..], [unmerged, computed]);
    let verdict = ask(&book, &["verify", "beef", "--json"]);
    let verdict: Value = serde_json::from_str(verdict.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(verdict["unmerged"], serde_json::json!([3, 4, 5, 6]));
}

#[test]
fn a_sample_is_drawn_by_its_seed_and_computed_from_weights_that_are_held_or_can_be() {
    let mut book = Book::new(notes());
    let sample = |book: &Book, seed: &str| ask(book, &["verify", "beef", "--sample", "3", "--seed", seed]);
    let held = sample(&book, "5");
    assert_eq!(held.code, Some(0), "{held:?}");
    assert!(held.stdout.starts_with("verified 3 tasks of 6 rounds"), "{held:?}");
    assert!(held.stderr.contains("3 of 18 tasks drawn with --seed 5"), "{held:?}");
    // Nothing but the job's data is held: what lies between is computed too.
    for round in 1..=ROUNDS {
        book.objects.remove(&book.base(round));
    }
    let unheld = sample(&book, "5");
    assert_eq!(unheld.code, Some(0), "{unheld:?}");
    let besides = "verified 3 tasks of 6 rounds, and ";
    assert!(unheld.stdout.starts_with(besides) && unheld.stdout.contains(" more on the way"), "{unheld:?}");
    let all = ask(&book, &["verify", "beef", "--sample", "1000"]);
    assert!(all.stdout.contains("\nverified 17 tasks of 6 rounds"), "{all:?}");
    // What is drawn with no seed is told, so that it can be drawn again.
    assert!(ask(&book, &["verify", "beef", "--sample", "1"]).stderr.contains("1 of 18 tasks drawn with --seed "));
}

#[test]
fn a_job_of_another_arithmetic_cannot_be_verified_and_the_sentence_names_both() {
    let mut book = Book::new(notes());
    book.specification.training.arithmetic = 1;
    let ended = ask(&book, &["verify", "beef"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("was computed in arithmetic 1, and this program computes arithmetic 2"), "{ended:?}");
}

#[test]
fn a_job_whose_data_is_gone_cannot_be_verified() {
    let mut book = Book::new(notes());
    book.objects.remove(&book.specification.shards[2].digest);
    let ended = ask(&book, &["verify", "beef"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("no longer holds the job's data (shard 2)"), "{ended:?}");
}

/// What verify says of a book that is to be found wrong.
fn lie(book: &Book) -> String {
    let ended = ask(book, &["verify", "beef"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!ended.stdout.contains("fingerprint  "), "{ended:?}");
    ended.stdout
}

#[test]
fn the_ledger_of_a_job_that_is_done_reaches_its_end() {
    let mut book = Book::new(notes());
    book.entries.truncate(3 * SHARDS as usize);
    let found = lie(&book);
    assert!(found.starts_with("round 3: the job is done, and its ledger ends after 3 rounds of 6\n"), "{found}");
    // One that waits for better rounds ends when so many have followed the best, whose weights its model is.
    let stopped = |patience, best: u32, rounds: u32| {
        let mut book = Book::new(notes());
        book.specification.patience = Some(patience);
        let weights = if best < ROUNDS { book.base(best + 1) } else { book.done.summary.weights };
        book.done = done(&book.specification, weights, book.done.weights_bytes);
        book.entries.truncate((rounds * SHARDS) as usize);
        book
    };
    for (patience, best, rounds) in [(2, 2, 4), (2, 1, 6), (3, 4, 6), (5, 6, 6)] {
        let ended = ask(&stopped(patience, best, rounds), &["verify", "beef"]);
        assert_eq!(ended.code, Some(0), "{patience} {best} {rounds}: {ended:?}");
    }
    let found = lie(&stopped(2, 3, 4));
    let says = "round 4: the job is done, and its ledger ends 1 round after its best, number 3: 2 are to follow it\n";
    assert!(found.starts_with(says), "{found}");
    let mut aimed = stopped(2, 3, 4);
    aimed.specification.target_accuracy = Some(0.9);
    aimed.done = done(&aimed.specification, aimed.done.summary.weights, aimed.done.weights_bytes);
    assert_eq!(ask(&aimed, &["verify", "beef"]).code, Some(0));
}

#[test]
fn weights_that_nothing_leads_to_are_not_taken_from_the_coordinator() {
    // All tasks of rounds are said to be skipped, and the next round starts from what the coordinator likes.
    let mut skipped = Book::new(notes());
    for round in 2..=5 {
        for shard in 0..SHARDS {
            skipped.entries[((round - 1) * SHARDS + shard) as usize].result = EntryResult::Skipped;
        }
    }
    let found = lie(&skipped);
    for round in 2..=5 {
        let says = format!("round {round}: no task of it was merged, and a job ends with such a round\n");
        assert!(found.contains(&says), "{found}");
    }
    // What a job was given to start from is said not to be held, and something else is started from.
    let mut given = Book::new(notes());
    given.specification.initial = Some(Digest([9; 32]));
    given.done = done(&given.specification, given.done.summary.weights, given.done.weights_bytes);
    let found = lie(&given);
    assert!(found.starts_with("round 1: it starts from the weights ") && found.contains("cannot be had"), "{found}");
    given.specification.initial = Some(given.base(1));
    given.objects.remove(&given.base(1));
    given.done = done(&given.specification, given.done.summary.weights, given.done.weights_bytes);
    let unheld = ask(&given, &["verify", "beef"]);
    assert!(unheld.code == Some(1) && unheld.stdout.contains("round 1: 3 tasks not computed"), "{unheld:?}");
}

#[test]
fn the_weights_of_a_job_that_is_not_done_are_those_that_its_ledger_leads_to() {
    let mut book = Book::new(notes());
    book.state = JobState::Paused;
    assert_eq!(ask(&book, &["verify", "beef"]).code, Some(0));
    book.done.summary.weights = Digest([9; 32]);
    let found = lie(&book);
    assert!(
        found.starts_with("round 6: it leads to the weights ") && found.contains("and the job says 0909"),
        "{found}"
    );
}

//! What a client asks about a job of merged gradients: its ledger, which has a line of each step, and whether its sums are right.
//! The job is computed here with the model's code, block by block.

use std::num::{NonZeroU32, NonZeroU64};

use gradwire::digest::Digest;
use gradwire::job::{EntryResult, JobState, LedgerEntry, MergedStep, RowsRef, Specification};
use gradwire::model::train::Unwatched;
use gradwire::model::{
    BatchSize, BlockRange, GradientSum, Kernel, Median, Merge, Outer, OuterOptimiser, OuterState, Recipe, Rows,
    Trainer, initialise,
};
use gradwire::wire::object::{self, ObjectKind};
use serde_json::{Value, json};

use crate::asking::{ask, notes};
use crate::book::{Book, ROUNDS, SHARDS, done};
use crate::common::process::Ended;

/// Rows of a shard: two blocks of eight and one of four.
const ROWS: u32 = 20;
/// Blocks of a step.
const BLOCKS: u32 = 3;
const STEPS: usize = 18;
/// Of the step numbered 4, block 1 was skipped, and all of the one numbered 7.
const SKIPPED: [(u64, &[u32]); 2] = [(4, &[1]), (7, &[0, 1, 2])];

const ADAM: Outer = Outer { optimiser: OuterOptimiser::Adam, eta: 0.01, ..Outer::AVERAGE };

fn values(shard: u32) -> Vec<f32> {
    (0..2 * ROWS).map(|i| ((shard * 2 * ROWS + i) as f32 * 0.37).sin()).collect()
}

fn labels() -> Vec<u32> {
    (0..ROWS).map(|row| row % 2).collect()
}

/// The whole job. The gradient of the step numbered `inexact` has a number in it that nobody has computed.
fn book_with(inexact: Option<u64>) -> Book {
    book_of(inexact, false)
}

/// The same, whose coordinator may hold too what the outer optimiser remembered before each step.
fn book_of(inexact: Option<u64>, has_states: bool) -> Book {
    book_merged_by(Merge::Mean, inexact, has_states)
}

/// The same, of a job whose steps are merged in this way.
fn book_merged_by(merge: Merge, inexact: Option<u64>, has_states: bool) -> Book {
    let mut book = Book::new(notes());
    let mut keep = |bytes: Vec<u8>| {
        let digest = Digest::of(&bytes);
        book.objects.insert(digest, bytes);
        digest
    };
    let shard = |shard| object::encode_rows(2, &values(shard), &labels());
    let shards: Vec<RowsRef> = (0..SHARDS).map(|index| RowsRef { rows: ROWS, digest: keep(shard(index)) }).collect();
    let mut specification = Specification { shards, outer: ADAM, merge, ..book.specification.clone() };
    let batch = BatchSize::Rows(NonZeroU32::new(24).unwrap());
    specification.training.recipe = Recipe { batch, epochs: 1, local_steps: Some(1), ..Recipe::DEFAULT };
    let specification = specification.checked().unwrap();
    let (training, kernel) = (&specification.training, Kernel::best());
    let (network, cut) = (&training.network, specification.gradient_steps().unwrap());
    assert_eq!((specification.steps(), cut.per_epoch()), (STEPS as u64, 3));

    let rows = |shard: u32| Rows::labelled(2, values(shard), labels(), 2).unwrap();
    let rows: Vec<Rows<'_>> = (0..SHARDS).map(rows).collect();
    let mut trainer = Trainer::new(kernel);
    let mut weights = initialise(network, training.recipe.initialisation, training.seed);
    let (mut entries, mut state) = (Vec::new(), OuterState::default());
    for step in 0..specification.steps() {
        let mut bytes = object::encode_parameters(ObjectKind::Weights, network, &weights);
        let base = keep(bytes.clone());
        if has_states {
            keep(object::encode_outer(&state));
        }
        let of_step = cut.step(step);
        let single = |range: &BlockRange| {
            let range = *range;
            (range.first..range.first + range.count).map(move |first| BlockRange { first, count: 1, ..range })
        };
        let blocks: Vec<BlockRange> = of_step.ranges.iter().flat_map(single).collect();
        assert_eq!(blocks.len() as u32, BLOCKS);
        let skipped = SKIPPED.iter().find(|(of, _)| *of == step).map_or(&[][..], |(_, skipped)| *skipped);
        let (mut sum, mut one) = (GradientSum::new(kernel, network.parameters()), GradientSum::new(kernel, 0));
        let (mut rows_merged, mut singly) = (0, Vec::new());
        for (_, block) in (0..).zip(&blocks).filter(|(number, _)| !skipped.contains(number)) {
            let part = [(*block, &rows[block.shard as usize])];
            trainer.sum_gradients(training, of_step.epoch, &part, &weights, &mut Unwatched, &mut one).unwrap();
            sum.add_sum(&one).unwrap();
            let mut gradient = vec![[0; 4]; network.parameters()];
            one.of_block(u64::from(cut.rows(*block)).try_into().unwrap(), &mut gradient).unwrap();
            singly.push(gradient);
            rows_merged += cut.rows(*block);
        }
        if inexact == Some(step) {
            sum.add_part(0, &[0.25]).unwrap();
        }
        let blocks = sum.blocks() as u32;
        let nothing = Digest([0; 32]);
        let mut merged =
            MergedStep { blocks, skipped: skipped.to_vec(), loss: sum.loss(), sum: nothing, outer: nothing };
        if let Some(rows) = NonZeroU64::new(rows_merged.into()) {
            merged.sum = Digest::of(&object::encode_sum(Vec::new(), network, &sum));
            merged.outer = object::outer_digest(&state);
            let mut gradient = vec![[0; 4]; network.parameters()];
            let reduction = training.recipe.reduction;
            match merge {
                Merge::Mean => sum.gradient(rows, reduction, &mut gradient).unwrap(),
                Merge::Median => {
                    let Ok(done) = Median::default().gradient(&mut singly, rows, reduction, &mut gradient);
                    done.unwrap();
                }
            }
            let values = object::parameters_mut(network, &mut bytes);
            let rate = ADAM.rate(step, specification.steps());
            state.step_by_gradient(kernel, &ADAM, rate, &gradient, values, &mut |_| ()).unwrap();
        }
        entries.push(LedgerEntry { rows: rows_merged, base, result: EntryResult::Step(merged) });
        weights = object::decode_parameters(ObjectKind::Weights, network, &bytes).unwrap().into_owned();
    }
    let last = keep(object::encode_parameters(ObjectKind::Weights, network, &weights));
    let done = done(&specification, last, object::parameters_bytes(network));
    Book { specification, entries, shards: 1, done, ..book }
}

fn book() -> Book {
    book_with(None)
}

/// A step, counted from 1.
fn entry(book: &mut Book, step: usize) -> (&mut LedgerEntry, MergedStep) {
    let entry = &mut book.entries[step - 1];
    match entry.result.clone() {
        EntryResult::Step(merged) => (entry, merged),
        other => panic!("{other:?}"),
    }
}

/// The book in which a step, counted from 1, is told otherwise.
fn with_step(step: usize, change: impl Fn(&mut LedgerEntry, &mut MergedStep)) -> Book {
    let mut book = book();
    let (entry, mut merged) = entry(&mut book, step);
    change(entry, &mut merged);
    entry.result = EntryResult::Step(merged);
    book
}

/// The verdict as JSON.
fn verdict(ended: &Ended) -> Value {
    serde_json::from_str(ended.stdout.lines().last().unwrap_or_else(|| panic!("{ended:?}"))).unwrap()
}

/// The rounds, steps and sentences that differ, and the verdict.
fn differs(book: &Book) -> (Vec<(u64, u64, String)>, Value) {
    let ended = ask(book, &["verify", "beef", "--json"]);
    let verdict = verdict(&ended);
    assert_eq!((ended.code, &verdict["agrees"]), (Some(1), &json!(false)), "{ended:?}");
    let finding = |finding: &Value| {
        assert!(finding.get("shard").is_none() && finding.get("node").is_none(), "{finding}");
        let number = |key: &str| finding[key].as_u64().unwrap();
        (number("round"), number("step"), finding["text"].as_str().unwrap().to_owned())
    };
    (verdict["differs"].as_array().unwrap().iter().map(finding).collect(), verdict)
}

/// That one thing differs, in this round and step, and that its sentence says this.
fn differs_once(book: &Book, round: u64, step: u64, text: &str) -> Value {
    let (found, verdict) = differs(book);
    assert!(found.len() == 1 && (found[0].0, found[0].1) == (round, step), "{found:?}");
    assert!(found[0].2.contains(text), "{text}: {found:?}");
    verdict
}

#[test]
fn a_ledger_of_steps_verifies_if_every_sum_has_its_bits() {
    let mut book = book();
    let well = ask(&book, &["verify", "beef"]);
    let fingerprint = book.done.summary.fingerprint.to_string();
    let said = "verified 18 of 18 steps: every sum has the ledger's bits; 4 blocks were skipped\n";
    assert_eq!((well.code, well.stdout.clone()), (Some(0), format!("fingerprint  {fingerprint}\n{said}")), "{well:?}");
    let well = ask(&book, &["verify", "beef", "--json"]);
    let expected = json!({
        "event": "verified", "job": book.job.to_string(), "agrees": true, "steps": 18, "steps_besides": 0, "rounds": 6,
        "ledger_steps": 18, "blocks_skipped": 4, "seed": null, "differs": [], "unmerged": [], "unchecked": [],
        "fingerprint": fingerprint,
    });
    assert_eq!((well.code, verdict(&well)), (Some(0), expected), "{well:?}");
    // So does what there is of it so far, in the middle of a round.
    book.entries.truncate(7);
    book.state = JobState::Running;
    let partly = ask(&book, &["verify", "beef"]);
    assert!(partly.code == Some(0) && partly.stdout.starts_with("verified 7 of 7 steps: "), "{partly:?}");
    let partly = ask(&book, &["verify", "beef", "--json"]);
    assert_eq!((&verdict(&partly)["rounds"], &verdict(&partly)["ledger_steps"]), (&json!(2), &json!(7)));
    book.state = JobState::Done;
    let early = ask(&book, &["verify", "beef"]);
    let says = "step 7: the job is done, and its ledger ends after 7 steps of 18\n";
    assert!(early.code == Some(1) && early.stdout.starts_with(says), "{early:?}");
    book.entries.clear();
    let none = ask(&book, &["verify", "beef"]);
    assert!(none.code == Some(1) && none.stderr.contains("no step of job "), "{none:?}");
}

#[test]
fn steps_of_medians_verify_as_such_and_not_as_those_of_means() {
    let mut book = book_merged_by(Merge::Median, None, false);
    let well = ask(&book, &["verify", "beef"]);
    let said = "\nverified 18 of 18 steps: every sum has the ledger's bits; 4 blocks were skipped\n";
    assert!(well.code == Some(0) && well.stdout.ends_with(said), "{well:?}");
    book.specification.merge = Merge::Mean;
    let (found, _) = differs(&book);
    assert!(found[0].1 == 1 && found[0].2.contains("it leads to the weights "), "{found:?}");
    // A block that somebody has made up is found, whether or not the median has followed it.
    let (found, _) = differs(&book_merged_by(Merge::Median, Some(1), false));
    assert!(found.len() == 1 && found[0].1 == 2 && found[0].2.contains("its sum is "), "{found:?}");
}

#[test]
fn whatever_of_a_step_is_not_what_is_computed_is_told() {
    differs_once(&with_step(3, |_, merged| merged.sum = Digest([9; 32])), 1, 3, "its sum is ");
    differs_once(&with_step(12, |_, merged| merged.loss += 1e-6), 4, 12, "its loss is ");
    differs_once(&with_step(5, |_, merged| merged.skipped = vec![2]), 2, 5, "its sum is ");
    let text = "it leaves out block 3, and its blocks are 0 to 2";
    differs_once(&with_step(5, |_, merged| merged.skipped = vec![1, 3]), 2, 5, text);
    let text = "it has merged 2 blocks in the ledger, and 3 of its 3";
    let (found, _) = differs(&with_step(5, |_, merged| merged.skipped = vec![]));
    assert!(found.iter().all(|(round, step, _)| (*round, *step) == (2, 5)), "{found:?}");
    for text in [text, "rows in the ledger, and the blocks", "its sum is "] {
        assert!(found.iter().any(|(.., found)| found.contains(text)), "{text}: {found:?}");
    }
    differs_once(&with_step(2, |_, merged| merged.blocks = 2), 1, 2, "it has merged 2 blocks in the ledger, and 3 ");
    let text = "it leaves the outer optimiser's state ";
    differs_once(&with_step(10, |_, merged| merged.outer = Digest([9; 32])), 3, 9, text);
    // Before the step that has merged nothing, that is its state too.
    differs_once(&with_step(9, |_, merged| merged.outer = Digest([9; 32])), 3, 7, text);
    let text = "before the first step that merges anything the outer optimiser has the state ";
    differs_once(&with_step(1, |_, merged| merged.outer = Digest([9; 32])), 1, 1, text);
    differs_once(&with_step(18, |entry, _| entry.rows += 1), 6, 18, " rows in the ledger, and the blocks");
    // A step that has merged something, told as one that has merged nothing.
    let nothing = |entry: &mut LedgerEntry, merged: &mut MergedStep| {
        entry.rows = 0;
        let nothing = Digest([0; 32]);
        *merged = MergedStep { blocks: 0, skipped: vec![0, 1, 2], loss: 0.0, sum: nothing, outer: nothing };
    };
    let (found, _) = differs(&with_step(10, nothing));
    // The step before is told to leave what the step after it names, which is the state after this one.
    for (step, text) in [(9, "it leaves the outer optimiser's state "), (10, "it leads to the weights ")] {
        assert!(found.iter().any(|(_, at, found)| *at == step && found.contains(text)), "{text}: {found:?}");
    }
    let mut fingerprint = book();
    fingerprint.done.summary.fingerprint = Digest([9; 32]);
    differs_once(&fingerprint, 6, 18, "its weights have the fingerprint ");
    let mut initial = book();
    initial.entries[0].base = Digest([9; 32]);
    differs_once(&initial, 1, 1, "it starts from the weights ");
}

#[test]
fn a_step_that_starts_from_other_weights_is_told_of_the_one_before_it() {
    // Weights that the coordinator does not hold: nothing can be said of their step but that.
    let unheld = with_step(10, |entry, _| entry.base = Digest([9; 32]));
    let verdict = differs_once(&unheld, 3, 9, "it leads to the weights ");
    assert_eq!(verdict["unchecked"], json!([{"first": 10, "last": 10}]));
    assert_eq!((&verdict["steps"], &verdict["unmerged"]), (&json!(17), &json!([11, 12, 13, 14, 15, 16, 17, 18])));
    // Other steps' weights, which it does hold.
    let mut held = book();
    held.entries[9].base = held.entries[2].base;
    let (found, _) = differs(&held);
    let places: Vec<(u64, u64)> = found.iter().map(|(round, step, _)| (*round, *step)).collect();
    assert_eq!(places, [(3, 9), (4, 10)], "{found:?}");
    assert!(found[1].2.contains("its sum is "), "{found:?}");
    // Weights that were moved otherwise than the job says.
    let mut other = book();
    other.specification.outer.eta = 0.02;
    let (found, _) = differs(&other);
    assert!(found[0].1 == 1 && found[0].2.contains("it leads to the weights "), "{found:?}");
}

#[test]
fn behind_a_step_that_leads_elsewhere_sums_are_computed_from_weights_that_are_held_and_the_rest_is_said() {
    let mut book = book_with(Some(1));
    let held = ask(&book, &["verify", "beef"]);
    assert_eq!(held.code, Some(1), "{held:?}");
    let lines: Vec<&str> = held.stdout.lines().collect();
    assert!(lines[0].starts_with("step 2: its sum is "), "{held:?}");
    // The step that has merged nothing leads on without what was remembered.
    let unmerged =
        "15 merges not computed, from step 3 on: what the outer optimiser remembered before it cannot be had";
    let end = "recomputed 18 of 18 steps: 1 difference from the ledger; 4 blocks were skipped";
    assert_eq!(lines[1..], [unmerged, end], "{held:?}");
    for step in [3, 4, 5, 12] {
        let base = book.entries[step - 1].base;
        book.objects.remove(&base);
    }
    let unheld = ask(&book, &["verify", "beef"]);
    for line in [
        "steps 3 to 5 not computed: the weights they start from cannot be had\n",
        "step 12 not computed: the weights it starts from cannot be had\n",
        "recomputed 14 of 18 steps: 1 difference from the ledger; 4 blocks were skipped\n",
    ] {
        assert!(unheld.stdout.contains(line), "{line}: {unheld:?}");
    }
    let stretches = json!([{"first": 3, "last": 5}, {"first": 12, "last": 12}]);
    assert_eq!(verdict(&ask(&book, &["verify", "beef", "--json"]))["unchecked"], stretches);
}

#[test]
fn a_sample_of_steps_is_summed_from_weights_that_are_held_and_says_what_it_has_not_computed() {
    let mut book = book();
    let sample =
        |book: &Book, more: &[&str]| ask(book, &[&["verify", "beef", "--sample", "3", "--seed", "5"], more].concat());
    let held = sample(&book, &[]);
    assert_eq!(held.code, Some(0), "{held:?}");
    assert!(held.stderr.contains("3 of 18 steps drawn with --seed 5"), "{held:?}");
    let lines: Vec<&str> = held.stdout.lines().collect();
    assert!(lines[0].contains(" not computed, that of step ") && lines[0].ends_with("a sample asks for sums alone"));
    assert!(lines[1].starts_with("verified 3 of 18 steps: every sum has the ledger's bits"), "{held:?}");
    let told = verdict(&sample(&book, &["--json"]));
    assert_eq!((&told["agrees"], &told["steps"], &told["steps_besides"]), (&json!(true), &json!(3), &json!(0)));
    assert!(!told["unmerged"].as_array().unwrap().is_empty(), "{told}");
    // Nothing but the job's data is held: what lies between is computed too, and with it every merge.
    for place in 0..STEPS {
        let base = book.entries[place].base;
        book.objects.remove(&base);
    }
    let unheld = sample(&book, &[]);
    assert_eq!((unheld.code, unheld.stdout.lines().count()), (Some(0), 1), "{unheld:?}");
    let besides = "verified 3 of 18 steps, and ";
    assert!(unheld.stdout.starts_with(besides) && unheld.stdout.contains(" more on the way to them: every sum"));
    // A sample of all of them is no sample.
    let all = ask(&book, &["verify", "beef", "--sample", "18"]);
    assert!(all.code == Some(0) && all.stdout.contains("\nverified 18 of 18 steps: "), "{all:?}");
    let differs = with_step(3, |_, merged| merged.sum = Digest([9; 32]));
    let samples: Vec<Option<i32>> = (0..12)
        .map(|seed| ask(&differs, &["verify", "beef", "--sample", "3", "--seed", &seed.to_string()]).code)
        .collect();
    assert!(samples.contains(&Some(0)) && samples.contains(&Some(1)), "{samples:?}");
}

/// The verdict about one step that is drawn by this seed.
fn drawn(book: &Book, seed: u32) -> Value {
    let ended = ask(book, &["verify", "beef", "--sample", "1", "--seed", &seed.to_string(), "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    verdict(&ended)
}

#[test]
fn a_sample_goes_on_from_the_nearest_step_before_which_weights_and_state_are_held() {
    let mut books = [false, true].map(|has_states| book_of(None, has_states));
    let nothing = json!([]);
    for seed in 0..4 {
        let told = drawn(&books[1], seed);
        // With both before it, a step's merge is computed too.
        assert_eq!((&told["steps_besides"], &told["unmerged"]), (&json!(0), &nothing));
    }
    for book in &mut books {
        for entry in book.entries.iter().enumerate().filter(|(step, _)| ![6, 12].contains(step)).map(|(_, entry)| entry)
        {
            book.objects.remove(&entry.base);
        }
    }
    let [without, with] = books.each_ref().map(|book| {
        let besides = |seed| drawn(book, seed)["steps_besides"].as_u64().unwrap();
        (0..12).map(besides).collect::<Vec<_>>()
    });
    assert!(with.iter().all(|besides| *besides < 6), "{with:?}");
    assert!(with.iter().zip(&without).all(|(with, without)| with <= without), "{with:?} {without:?}");
    assert!(without.iter().any(|besides| *besides > 6), "{without:?}");
    // Nothing is held where the step has merged nothing: the next one names what was remembered.
    let [_, mut book] = books;
    book.objects.remove(&book.entries[12].base.clone());
    assert!((0..12).all(|seed| drawn(&book, seed)["steps_besides"].as_u64() < Some(12)));
}

#[test]
fn a_state_that_the_jobs_optimiser_cannot_have_left_is_a_lie() {
    let mut book = book_of(None, true);
    let parameters = book.specification.training.network.parameters();
    let other = OuterState::restored(&ADAM, parameters, 0..=99, 99, &vec![0; 8 * parameters]).unwrap();
    let object = object::encode_outer(&other);
    let (entry, mut merged) = entry(&mut book, 13);
    merged.outer = Digest::of(&object);
    entry.result = EntryResult::Step(merged);
    book.objects.insert(Digest::of(&object), object);
    let said = (0..60).map(|seed| ask(&book, &["verify", "beef", "--sample", "1", "--seed", &seed.to_string()]).stderr);
    let text = "the outer optimiser's state before step 13: the outer optimiser's state is that after 99 updates, and 12 are due";
    assert!(said.into_iter().any(|said| said.contains(text)));
}

#[test]
fn a_ledger_of_steps_is_no_ledger_of_tasks() {
    let tasks = Book::new(notes());
    let mut book = book();
    book.entries[5] = tasks.entries[0].clone();
    let lie = ask(&book, &["verify", "beef"]);
    assert!(lie.code == Some(1) && lie.stderr.contains("entry 5 is not of a step"), "{lie:?}");
    let mut tasks = tasks;
    tasks.entries[4] = self::book().entries[0].clone();
    let lie = ask(&tasks, &["verify", "beef"]);
    assert!(lie.code == Some(1) && lie.stderr.contains("entry 4 is not of a task"), "{lie:?}");
    let mut endless = self::book();
    endless.entries.extend_from_within(..2);
    let lie = ask(&endless, &["verify", "beef"]);
    assert!(lie.stderr.contains("20 entries, 1 a step, where the job has 18, 1 a step"), "{lie:?}");
}

#[test]
fn a_ledger_of_steps_has_a_line_of_each() {
    let mut book = book();
    let ended = ask(&book, &["ledger", "beef"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<Vec<&str>> = ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["STEP", "BLOCKS", "SKIPPED", "ROWS", "LOSS", "SUM", "OUTER"]);
    assert_eq!(lines.len(), 1 + STEPS);
    let (entry, merged) = entry(&mut book, 5);
    let rows = entry.rows.to_string();
    assert_eq!(lines[5][..4], ["5", "2", "1", &*rows]);
    assert_eq!(lines[5][5..], [merged.sum.short(), merged.outer.short()]);
    assert_eq!(lines[8], ["8", "0", "3", "0", "-", "-", "-"]);
    assert!(ended.stderr.contains("18 of 18 steps: 6 of 6 rounds done"), "{ended:?}");
    book.entries.truncate(7);
    let partly = ask(&book, &["ledger", "beef", "--json"]);
    let last: Value = serde_json::from_str(partly.stdout.lines().last().unwrap()).unwrap();
    let told = (&last["round"], &last["step"], &last["blocks"], &last["result"]);
    assert_eq!(told, (&json!(3), &json!(7), &json!(BLOCKS), &json!("step")));
    assert!(ask(&book, &["ledger", "beef"]).stderr.contains("7 of 18 steps: 2 of 6 rounds done"));
    assert_eq!(ROUNDS, 6);
}

//! Journals whose files are damaged in every way that a seed thinks of.

use std::ops::Range;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

/// Damages a few of a journal's files; says what it did.
fn damage(rng: &mut ChaCha8Rng, files: &mut Files, older: &[Files]) -> String {
    let mut did = String::new();
    for _ in 0..rng.random_range(1..=3) {
        let index = rng.random_range(0..files.len());
        let name = files[index].0.display().to_string();
        if name == "FORMAT" || name == "lock" {
            continue;
        }
        let bytes = &mut files[index].1;
        match rng.random_range(0..7) {
            0 | 1 if !bytes.is_empty() => {
                let at = rng.random_range(0..bytes.len());
                let bit = rng.random_range(0..8);
                bytes[at] ^= 1 << bit;
                did += &format!("bit {bit} of byte {at} of {name}; ");
            }
            2 => {
                let length = rng.random_range(0..=bytes.len());
                bytes.truncate(length);
                did += &format!("{name} cut to {length}; ");
            }
            3 => {
                files.remove(index);
                did += &format!("{name} removed; ");
            }
            4 => {
                // A file of an earlier moment, as a disk gives it back that has lost writes.
                let old = &older[rng.random_range(0..older.len())];
                if let Some((_, old)) = old.iter().find(|(inside, _)| *inside == files[index].0) {
                    files[index].1.clone_from(old);
                    did += &format!("{name} of an earlier moment; ");
                }
            }
            5 => {
                let other = rng.random_range(0..files.len());
                let bytes = files[other].1.clone();
                did += &format!("{name} with the bytes of {}; ", files[other].0.display());
                files[index].1 = bytes;
            }
            _ => {
                let count = rng.random_range(1..64);
                files[index].1.extend((0..count).map(|_| rng.random::<u8>()));
                did += &format!("{count} bytes more in {name}; ");
            }
        }
    }
    did
}

#[test]
fn two_thousand_damaged_journals_are_read_as_some_moment_that_was_or_refused() {
    damaged_journals_are_read_as_some_moment_that_was_or_refused(0..2_000);
}

#[test]
#[ignore = "long: ten thousand journals"]
fn many_more_damaged_journals_are_read_as_some_moment_that_was_or_refused() {
    damaged_journals_are_read_as_some_moment_that_was_or_refused(2_000..12_000);
}

fn damaged_journals_are_read_as_some_moment_that_was_or_refused(seeds: Range<u64>) {
    let root = TempDir::new().unwrap();
    // Two in rounds of a step, and one that is written in the middle of its rounds, too.
    let (jobs, in_steps) = ([JobId(5), JobId(6)], JobId(7));
    let mut harness = Harness::open(root.path());
    let mut moments = Vec::new();
    jobs.iter().for_each(|&job| harness.begin(job));
    let of_steps = within_rounds::begin(&mut harness, in_steps, 1);
    for (round, steps) in (1..=ROUNDS).zip(within_rounds::RECORDS) {
        jobs.iter().for_each(|&job| harness.round(job, round));
        within_rounds::write(&mut harness, in_steps, &of_steps, steps);
        moments.push(read_all(root.path()));
    }
    harness.end(jobs[1]);
    moments.push(read_all(root.path()));
    drop(harness);
    let count = seeds.end - seeds.start;
    let (mut whole, mut refused, mut older) = (0, 0, 0);
    for seed in seeds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let now = rng.random_range(0..moments.len());
        let mut files = moments[now].clone();
        let did = damage(&mut rng, &mut files, &moments[..=now]);
        let scratch = scratch();
        write_all(scratch.path(), &files);
        let mut harness = Harness::open(scratch.path());
        let restored = harness.recover();
        for job in [jobs[0], jobs[1], in_steps] {
            let Some(read) = restored.iter().find(|read| read.state.job() == job) else {
                refused += 1;
                continue;
            };
            // Records that are in it: the first is written with the first moment.
            let steps = read.state.progress.as_ref().map_or(0, |progress| progress.steps);
            let after = if job == in_steps {
                let after = within_rounds::RECORDS.iter().position(|record| record.end == steps);
                after.map_or(0, |place| place + 1)
            } else {
                steps as usize
            };
            assert!((after > 0) == (steps > 0), "seed {seed} ({did}): no record ends with step {steps}");
            assert!(
                after <= now + 1 && after <= ROUNDS as usize,
                "seed {seed} ({did}): record {after} has not been yet"
            );
            if job == in_steps && after > 0 {
                within_rounds::assert_is_after_steps(read, &of_steps, steps);
            } else if after > 0 {
                assert_is_after(read, job, after as u32);
            }
            if after < (now + 1).min(ROUNDS as usize) { older += 1 } else { whole += 1 }
        }
        // Whatever was refused, the journal can be written again.
        if seed % 100 == 0 {
            let job = JobId(77);
            harness.begin(job);
            harness.round(job, 1);
        }
    }
    println!("{count} damaged journals of three jobs: {whole} jobs read, {older} from before, {refused} refused");
    assert!(whole > count / 10 && older > count / 10 && refused > count / 100, "{whole}, {older}, {refused}");
}

//! The journal on a disk that loses what was not synced: whatever was told as durable is there after a power cut at any call,
//! or what is left is refused with words. And each sync that the journal asks for is needed: a disk that forgets one kind of
//! them loses what was told within a few lives.

use std::ops::Range;

use super::lives::{Tally, last_calls, live};
use super::*;
use crate::disk::tests::simulated::{SimulatedDisk, Stop};

fn all_lives_are_well(seeds: Range<u64>) -> Tally {
    let mut sum = Tally::default();
    for seed in seeds.clone() {
        let tally = live(seed, None).unwrap_or_else(|why| panic!("{}\nseed {seed}: {why}", last_calls(seed)));
        sum = sum.and(tally);
    }
    println!("{} lives: {sum:?}", seeds.end - seeds.start);
    sum
}

#[test]
fn what_was_durable_is_there_after_a_power_cut_at_some_call_or_is_refused_with_words() {
    let sum = all_lives_are_well(0..500);
    let Tally { power_cuts, kills, resumed, repaired, refused, given_up, models, forgotten, reopened } = sum;
    // What is not tried shows nothing.
    for (what, count, least) in [
        ("power cuts", power_cuts, 500),
        ("kills", kills, 500),
        ("jobs resumed", resumed, 1_000),
        ("jobs repaired", repaired, 2),
        ("jobs refused", refused, 5),
        ("times given up", given_up, 20),
        ("models fetched", models, 100),
        ("jobs forgotten", forgotten, 50),
        ("jobs reopened", reopened, 100),
    ] {
        assert!(count >= least, "only {count} {what}");
    }
}

#[test]
#[ignore = "long: twenty thousand lives"]
fn what_was_durable_is_there_after_a_power_cut_at_any_call_or_is_refused_with_words() {
    all_lives_are_well(500..20_500);
}

/// A job's first state may count blocks in its ledger's own file: both names are new, and either may be lost.
#[test]
fn a_power_cut_while_a_job_is_written_for_the_first_time_is_not_told_as_damage() {
    let open = |disk: &SimulatedDisk| {
        let root = Path::new("/srv/gradwire/coordinator-5105");
        Harness::of(Directory::open_on(Arc::new(disk.clone()), root).expect("a directory"))
    };
    // How many calls it takes, or fewer.
    let write = |disk: &SimulatedDisk, calls: u64| {
        let mut harness = open(disk);
        harness.writer.tail_bytes_max = 0;
        let job = JobId(4);
        let specification = Arc::new(specification(job, &harness.store));
        let begin = JournalCommand::Begin { status: status(job, &specification), specification };
        disk.stop_after(calls, Stop::Power);
        let opened = disk.steps();
        for order in [begin, round_order(job, 1)] {
            assert!(harness.writer.take(order).is_ok(), "it does no more than to remember it");
        }
        let _ = harness.writer.flush();
        disk.steps() - opened
    };
    heard::listen();
    let mut read_back = 0;
    for seed in 0..200 {
        for call in 0..write(&SimulatedDisk::new(seed), u64::from(u32::MAX)) {
            let disk = SimulatedDisk::new(seed);
            write(&disk, call);
            disk.restart(Stop::Power);
            heard::said();
            read_back += open(&disk).recover().len();
            assert_eq!(heard::said(), [""; 0], "seed {seed}, call {call}");
        }
    }
    assert!(read_back > 0, "no write was whole");
}

/// Whether a sync is of this kind.
type Kind = fn(&Path) -> bool;

fn ends_with(path: &Path, end: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_str().is_some_and(|name| name.ends_with(end)))
}

fn lies_in(path: &Path, directory: &str) -> bool {
    path.parent().is_some_and(|parent| parent.ends_with(directory))
}

#[test]
fn every_sync_of_the_journal_is_needed() {
    let kinds: [(&str, Kind); 10] = [
        ("a state before it gets its name", |path| {
            ends_with(path, ".part") && path.to_str().is_some_and(|path| path.contains("/state-"))
        }),
        ("the directory in which a state has got its name", |path| lies_in(path, "jobs")),
        ("data before it gets its name", |path| lies_in(path, "objects")),
        ("the directory in which data has got its name", |path| path.ends_with("objects")),
        ("the ledger before the state that counts it", |path| path.ends_with("ledger")),
        ("how long coordinators have run", |path| path.ends_with("lived.part")),
        ("the directory of all jobs", |path| path.ends_with("jobs")),
        ("what says which format it is", |path| path.ends_with("FORMAT.part")),
        ("the journal's directory", |path| path.ends_with("coordinator-5105")),
        ("the directories above it", |path| "/srv/gradwire".starts_with(path.to_str().unwrap())),
    ];
    for (what, kind) in kinds {
        let lost = (0..500).find_map(|seed| live(seed, Some(kind)).err().map(|why| (seed, why)));
        let Some((seed, why)) = lost else { panic!("nobody misses the sync of {what}") };
        println!("without the sync of {what}: seed {seed}: {why}");
    }
}

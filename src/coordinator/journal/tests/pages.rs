//! What it costs to read a ledger page by page: what is on the pages, and not what is before them.

use super::super::archive::PAGE_BLOCKS;
use super::*;
use crate::wire::limits;

/// A job of so many shards and rounds that are durable in as many writes, or in one.
fn long(harness: &mut Harness, job: JobId, shards: usize, rounds: u32) {
    let mut specification = specification(job, &harness.store);
    specification.rounds = rounds;
    specification.shards = vec![specification.shards[0]; shards];
    let specification = Arc::new(specification);
    harness.order(JournalCommand::Begin { status: status(job, &specification), specification });
    for round in 1..=rounds {
        let JournalCommand::Steps { job, mut record, weights } = round_order(job, round) else { unreachable!() };
        // A node's name for each shard: blocks are of all lengths.
        let task = |shard: usize| {
            let node = format!("node-{}", "x".repeat((shard + round as usize) % 32));
            let task = MergedTask { node, attempt: round, loss: shard as f64, update: Digest([7; 32]) };
            LedgerEntry { rows: 2, base: Digest([6; 32]), result: EntryResult::Merged(task) }
        };
        record.entries = (0..shards).map(task).collect();
        assert!(harness.writer.take(JournalCommand::Steps { job, record, weights }).is_ok());
    }
    assert!(harness.writer.flush().is_ok());
}

/// Bytes that this thread has read, of whatever.
fn bytes_read() -> Option<u64> {
    let counted = std::fs::read_to_string("/proc/thread-self/io").ok()?;
    counted.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
}

/// Reads all pages of a ledger. Returns how many there are, and the bytes that were read: for all, and at most for one.
fn read_pages(archive: &Archive, job: JobId, shards: usize, rounds: u32) -> (u64, u64, u64) {
    let (mut first, mut pages, mut most) = (0, 0, 0);
    let start = bytes_read().unwrap();
    loop {
        let before = bytes_read().unwrap();
        let page = archive.entries(job, first, limits::LEDGER_ENTRIES_MAX).unwrap();
        if page.entries.is_empty() {
            assert_eq!(first, shards as u64 * u64::from(rounds));
            return (pages, bytes_read().unwrap() - start, most);
        }
        most = most.max(bytes_read().unwrap() - before);
        for (place, entry) in (first..).zip(&page.entries) {
            let task = entry.merged().unwrap();
            let (round, shard) = (place / shards as u64 + 1, place % shards as u64);
            assert_eq!((u64::from(task.attempt), task.loss), (round, shard as f64));
        }
        (first, pages) = (first + page.entries.len() as u64, pages + 1);
    }
}

/// Pages of one entry, here and there.
fn entries_here_and_there(archive: &Archive, job: JobId, shards: usize, rounds: u32) {
    for round in [1, 2, rounds / 2, rounds - 1, rounds] {
        for shard in [0, shards - 1] {
            let first = u64::from(round - 1) * shards as u64 + shard as u64;
            let page = archive.entries(job, first, 1).unwrap();
            let task = page.entries[0].merged().unwrap();
            assert_eq!((page.entries.len(), task.attempt, task.loss), (1, round, shard as f64));
        }
    }
}

#[test]
fn a_page_costs_no_more_than_the_rounds_that_are_on_it() {
    if bytes_read().is_none() {
        return eprintln!("skipped: nothing counts what is read here");
    }
    // What the counter itself reads, and the seal of the block before.
    const SLACK: u64 = 1_024;
    for (shards, rounds) in [(16_384, 12), (1, 20_000), (300, 300)] {
        let root = scratch();
        let job = JobId(4);
        let mut harness = Harness::open(root.path());
        harness.recover();
        long(&mut harness, job, shards, rounds);
        let ledger = std::fs::metadata(root.path().join("jobs").join(job.to_string()).join("ledger")).unwrap().len();
        let block = ledger / u64::from(rounds) + shards as u64 * 32;
        // Blocks in which a page lies: whole ones, and one more at each end.
        let blocks = (limits::LEDGER_ENTRIES_MAX.div_ceil(shards) + 1) as u64;
        let check = |archive: &Archive, when: &str| {
            let (pages, all, most) = read_pages(archive, job, shards, rounds);
            println!(
                "{shards} shards, {rounds} rounds, {when}: {pages} pages of a ledger of {ledger} bytes: {all} bytes read, at most {most} for one"
            );
            assert!(most <= blocks * block + SLACK, "{when}: {most} bytes for a page, {blocks} blocks of {block}");
            assert!(all <= pages * (blocks * block + SLACK));
            entries_here_and_there(archive, job, shards, rounds);
        };
        check(&harness.writer.archive, "while it is written");
        drop(harness);
        let mut harness = Harness::open(root.path());
        harness.recover();
        check(&harness.writer.archive, "after a restart");
        let specification = harness.writer.archive.specification(job).unwrap();
        let status = JobStatus {
            state: JobState::Failed,
            failure: failure(FailKind::TaskFailed, "it failed"),
            rounds_done: rounds,
            ended_ms: 9_000,
            ..status(job, &specification)
        };
        harness.order(JournalCommand::End { status, summary: None, confusion: None, lived_ms: 1 });
        // Looked up once, it is at hand, beside others.
        harness.writer.archive.specification(job).unwrap();
        check(&harness.writer.archive, "after its end");
    }
}

#[test]
fn what_is_told_of_rounds_is_read_by_the_page_from_wherever_its_reader_has_come() {
    if bytes_read().is_none() {
        return eprintln!("skipped: nothing counts what is read here");
    }
    const SLACK: u64 = 1_024;
    let (root, job) = (scratch(), JobId(4));
    for (shards, rounds) in [(1, 5_000), (2_000, 40)] {
        let mut harness = Harness::open(root.path());
        harness.recover();
        long(&mut harness, job, shards, rounds);
        let ledger = std::fs::metadata(root.path().join("jobs").join(job.to_string()).join("ledger")).unwrap().len();
        let block = ledger / u64::from(rounds) + shards as u64 * 32;
        let archive = &harness.writer.archive;
        let most = (64 << 10) + block + SLACK;
        for seen in [0, 1, rounds / 2, rounds - 1, rounds, rounds + 1] {
            let before = bytes_read().unwrap();
            let mut bookmark = archive.bookmark(job, seen).unwrap();
            let found = bytes_read().unwrap() - before;
            assert!(found <= 14 * (block + SLACK), "{found} bytes to find what is after round {seen} of {rounds}");
            let mut told = seen.min(rounds);
            loop {
                let before = bytes_read().unwrap();
                let page = archive.rounds_behind(&mut bookmark).unwrap();
                let read = bytes_read().unwrap() - before;
                assert!(read <= most, "{read} bytes for a page");
                let Some(page) = page else { break };
                assert!(page.len() <= PAGE_BLOCKS, "{} rounds on a page", page.len());
                for round in page {
                    told += 1;
                    assert_eq!(round.round, told);
                }
            }
            assert_eq!(told, rounds);
        }
        drop(harness);
        std::fs::remove_dir_all(root.path().join("jobs")).unwrap();
    }
}

#[test]
fn a_bookmark_goes_on_where_more_is_written_and_ends_with_its_job() {
    let (root, job) = (scratch(), JobId(4));
    let mut harness = Harness::open(root.path());
    harness.recover();
    harness.begin(job);
    let archive = harness.writer.archive.clone();
    let mut bookmark = archive.bookmark(job, 0).unwrap();
    let mut next =
        || archive.rounds_behind(&mut bookmark).unwrap().map(|page| page.iter().map(|round| round.round).collect());
    assert_eq!(next(), None::<Vec<u32>>);
    for round in 1..=ROUNDS {
        // What was at the end of the ledger is in its file, now or the next time.
        harness.round(job, round);
        assert_eq!((next(), next()), (Some(vec![round]), None));
    }
    harness.end(job);
    assert_eq!(next(), None);
    assert_eq!(rounds_after(&archive, job, 2).iter().map(|round| round.round).collect::<Vec<_>>(), [3, 4, 5, 6]);
    harness.order(JournalCommand::Forget { job });
    assert!(matches!(archive.bookmark(job, 0), Err(Absent::Unknown)));
}

#[test]
fn ledgers_that_are_asked_for_in_turn_are_looked_up_once() {
    if bytes_read().is_none() {
        return eprintln!("skipped: nothing counts what is read here");
    }
    let root = scratch();
    let mut harness = Harness::open(root.path());
    harness.recover();
    let jobs = [JobId(1), JobId(2), JobId(3)];
    for job in jobs {
        harness.begin(job);
        (1..=ROUNDS).for_each(|round| harness.round(job, round));
        harness.end(job);
    }
    let archive = &harness.writer.archive;
    let ask = || jobs.iter().for_each(|&job| assert_eq!(archive.entries(job, 0, 1).unwrap().entries.len(), 1));
    ask();
    let before = bytes_read().unwrap();
    ask();
    let again = bytes_read().unwrap() - before;
    let block = 2 * std::fs::metadata(root.path().join("jobs").join(jobs[0].to_string()).join("ledger")).unwrap().len();
    assert!(again < 3 * block / u64::from(ROUNDS) + 1_024, "{again} bytes were read");
}

#[test]
fn a_ledger_that_is_damaged_while_the_coordinator_runs_is_told_of_and_nothing_of_the_damage() {
    let root = scratch();
    let job = JobId(4);
    let mut harness = Harness::open(root.path());
    harness.recover();
    harness.begin(job);
    (1..=ROUNDS).for_each(|round| harness.round(job, round));
    let path = root.path().join("jobs").join(job.to_string()).join("ledger");
    let mut bytes = std::fs::read(&path).unwrap();
    let (length, archive) = (bytes.len(), &harness.writer.archive);
    let mut blocks = ledger::Blocks::within(&bytes, Extent::START.seal);
    (1..=2).for_each(|_| drop(blocks.next().unwrap().unwrap()));
    let third = blocks.offset() as usize;
    bytes[third + 9] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(archive.entries(job, 0, 4).unwrap().entries.len(), 4, "what is before it is as it was");
    let said = |first| match archive.entries(job, first, 1) {
        Err(Absent::Unread(said)) => said,
        other => panic!("{other:?}"),
    };
    let seal = said(4);
    assert!(seal.contains("the ledger of job 0000") && seal.contains("digest"), "{seal}");
    assert_eq!(rounds_after(archive, job, 0).len(), 2, "what is before it");
    std::fs::write(&path, &bytes[..length / 2]).unwrap();
    let short = said(6);
    assert!(short.contains("cannot read ") && short.contains("ledger"), "{short}");
}

//! Objects that clients fetch and that only the disk has: they are read one after the other, and once for all who want them.

use std::sync::Barrier;
use std::thread;

use super::*;
use crate::disk::tests::simulated::SimulatedDisk;

const JOB: JobId = JobId(7);

/// A journal with a job that has ended, and what there is of it: data, weights of a round, and its last ones.
fn ended(disk: &SimulatedDisk) -> (Harness, [Digest; 3]) {
    let root = Path::new("/srv/gradwire/coordinator-5105");
    let mut harness = Harness::of(Directory::open_on(Arc::new(disk.clone()), root).expect("a directory"));
    harness.begin(JOB);
    (1..=ROUNDS).for_each(|round| harness.round(JOB, round));
    harness.end(JOB);
    // It takes many calls to read something.
    disk.do_less();
    let data = harness.writer.archive.specification(JOB).expect("a job").validation.digest;
    (harness, [data, weights(JOB, 2).digest, weights(JOB, ROUNDS).digest])
}

/// What clients are given that want these at the same time.
fn fetched(harness: &Harness, wanted: &[Digest]) -> Vec<Arc<Vec<u8>>> {
    let (archive, store, begin) = (&harness.writer.archive, &Store::new(u64::MAX), &Barrier::new(wanted.len()));
    thread::scope(|scope| {
        let ask = |digest| {
            scope.spawn(move || {
                begin.wait();
                archive.recall(digest, store)
            })
        };
        let asking: Vec<_> = wanted.iter().map(ask).collect();
        asking.into_iter().map(|asking| asking.join().expect("no panic").expect("it is there")).collect()
    })
}

#[test]
fn whoever_wants_what_another_client_has_read_meanwhile_gets_the_same() {
    let (harness, objects) = ended(&SimulatedDisk::new(1));
    for wanted in objects {
        for _ in 0..50 {
            let found = fetched(&harness, &[wanted; 4]);
            assert_eq!(Digest::of(&found[0]), wanted);
            assert!(found.iter().all(|other| Arc::ptr_eq(&found[0], other)));
        }
    }
}

#[test]
fn no_object_is_read_beside_another() {
    let disk = SimulatedDisk::new(1);
    let (harness, objects) = ended(&disk);
    for _ in 0..50 {
        disk.record();
        fetched(&harness, &objects);
        let which = |call: &String| ["/objects/", "/weights/"].iter().position(|of| call.contains(of));
        let mut read: Vec<Option<usize>> = disk.recorded().iter().map(which).collect();
        read.dedup();
        assert_eq!(read.len(), objects.len(), "{:#?}", disk.recorded());
    }
}

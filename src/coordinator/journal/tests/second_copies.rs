//! What has ended stays so though a call of the disk fails and a file is lost: the end stands in both generations of the state.

use super::super::state::Decoded;
use super::recall::recalled;
use super::*;
use crate::disk::tests::simulated::{SimulatedDisk, Stop};

const JOB: JobId = JobId(4);

/// Whether this generation of the job's state has its end.
fn has_end(harness: &Harness, generation: u8) -> bool {
    let directory = harness.writer.directory.as_ref().expect("a directory");
    let bytes = directory.read_state(JOB, generation).expect("a state").expect("that can be read");
    let Decoded { state, .. } = StoredState::decode(&bytes).expect("and is whole");
    state.status.ended_ms != 0
}

#[test]
fn a_jobs_end_is_in_both_generations_of_its_state_whichever_call_of_the_disk_fails() {
    let mut tried_again = 0;
    for call in 0.. {
        let disk = SimulatedDisk::new(1);
        let root = Path::new("/srv/gradwire/coordinator-5105");
        let mut harness = Harness::of(Directory::open_on(Arc::new(disk.clone()), root).expect("a directory"));
        harness.writer.on_disk_error = OnDiskError::Continue;
        harness.begin(JOB);
        harness.round(JOB, 1);
        let end = harness.end_order(JOB, 1);
        let calls_before = disk.steps();
        disk.fail_after(call);
        if harness.writer.take(end).and_then(|()| harness.writer.flush()).is_err() {
            // A sync has failed: the coordinator ends, and whatever comes after reads what there is.
            continue;
        }
        if harness.writer.behind.is_some() {
            tried_again += 1;
            assert!(harness.writer.flush().is_ok() && harness.writer.behind.is_none(), "call {call}");
        }
        let has_failed = disk.steps() - calls_before > call;
        // What is looked at now is there.
        disk.fail_after(1 << 40);
        for generation in [0, 1] {
            assert!(has_end(&harness, generation), "call {call} has failed, and generation {generation} is of before");
        }
        if !has_failed {
            break;
        }
    }
    assert!(tried_again > 4, "only {tried_again} calls were tried again");
}

/// A job that was given up, resumed, and has ended again before anything of that was written has two ends on the disk.
#[test]
fn an_end_behind_another_one_that_has_been_read_back_is_there_after_a_power_cut() {
    let open = |disk: &SimulatedDisk| {
        let root = Path::new("/srv/gradwire/coordinator-5105");
        Harness::of(Directory::open_on(Arc::new(disk.clone()), root).expect("a directory"))
    };
    let rounds = |disk: &SimulatedDisk| open(disk).recover()[0].state.status.rounds_done;
    let mut of_later = 0;
    for seed in 0..20 {
        for call in 0.. {
            let disk = SimulatedDisk::new(seed);
            let mut harness = open(&disk);
            harness.begin(JOB);
            harness.round(JOB, 1);
            let end = harness.end_order(JOB, 1);
            harness.order(end);
            let found = recalled(&mut harness, JOB).expect("what was given up");
            for order in [JournalCommand::Reopen { job: JOB, writer: found.writer }, round_order(JOB, 2)] {
                assert!(harness.writer.take(order).is_ok(), "it does no more than to remember it");
            }
            let end = harness.end_order(JOB, 2);
            assert!(harness.writer.take(end).is_ok(), "it does no more than to remember it");
            disk.stop_after(call, Stop::Kill);
            let _ = harness.writer.flush();
            let is_whole = disk.stopped().is_none();
            drop(harness);
            disk.restart(Stop::Kill);
            let told = rounds(&disk);
            disk.restart(Stop::Power);
            assert_eq!(rounds(&disk), told, "seed {seed}, call {call}");
            of_later += u32::from(told == 2);
            if is_whole {
                break;
            }
        }
    }
    assert!(of_later > 20, "the later end was read back only {of_later} times");
}

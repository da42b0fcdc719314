//! Jobs of a coordinator that keeps little, as its thread would have them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::disk::OWN_BYTES;
use super::{Jobs, Refusal};
use crate::coordinator::data::objects_of;
use crate::coordinator::journal::{DiskRoom, OnDiskError};
use crate::coordinator::room::Room;
use crate::coordinator::settings::Settings;
use crate::coordinator::work::Weights;
use crate::digest::Digest;
use crate::engine::Policy;
use crate::job::memory::CoordinatorMemory;
use crate::job::{JobId, Operation, RowsRef, Specification};
use crate::model::{ARITHMETIC, Merge, Network, Outer, Recipe, Training};
use crate::store::Store;

const STORE_BYTES: u64 = 1 << 20;

fn specification(number: u8) -> Specification {
    let rows = |part| RowsRef { rows: 1_000, digest: Digest([number + part; 32]) };
    Specification {
        patience: None,
        target_accuracy: None,
        test: None,
        training: Training {
            arithmetic: ARITHMETIC,
            network: Network::new(100, &[], 2).unwrap(),
            recipe: Recipe::DEFAULT,
            seed: 1,
            class_weights: Vec::new(),
        },
        rounds: 9,
        round_steps: None,
        shards: vec![rows(0)],
        validation: rows(1),
        merge: Merge::Mean,
        outer: Outer::AVERAGE,
        initial: None,
        operation: Operation::default(),
        notes: Vec::new(),
    }
}

fn settings() -> Settings {
    Settings::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Policy::Random, Vec::new())
}

fn jobs_with(settings: &Settings) -> Jobs {
    Jobs::new(Arc::new(Store::new(STORE_BYTES)), Room::new(STORE_BYTES), settings)
}

fn jobs(on_disk_error: OnDiskError) -> Jobs {
    jobs_with(&Settings { on_disk_error, ..settings() })
}

#[test]
fn a_job_is_taken_where_it_fits_into_memory_and_while_others_leave_it_as_much() {
    let address = Ipv4Addr::LOCALHOST.into();
    let means = settings().job_memory().means;
    let needed = CoordinatorMemory::of(&specification(1), means).bytes();
    let check = |jobs: &Jobs, number: u8| match jobs.check(JobId(number.into()), &specification(number), address) {
        Err(Refusal::Memory { bytes, allowed }) => Err(("never", bytes, allowed)),
        Err(Refusal::NoMemory { bytes, free }) => Err(("not now", bytes, free)),
        _ => Ok(()),
    };
    let with = |memory_bytes| jobs_with(&Settings { memory_bytes, ..settings() });
    assert_eq!(check(&with(needed - 1), 1), Err(("never", needed, needed - 1)));
    let mut jobs = with(needed);
    assert_eq!(check(&jobs, 1), Ok(()));
    jobs.insert(JobId(1), Arc::new(specification(1)), 0, None);
    let kept = jobs.taken().kept_bytes();
    assert_eq!(check(&jobs, 3), Err(("not now", needed, needed - kept)));
    assert_eq!(check(&jobs, 1), Ok(()), "it is known");
    jobs.release(JobId(1));
    assert_eq!(check(&jobs, 3), Ok(()));
    // As after a start with less memory.
    let mut jobs = with(needed - 1);
    jobs.insert(JobId(1), Arc::new(specification(1)), 0, None);
    assert_eq!(check(&jobs, 1), Ok(()), "it is known, and waits");
    // Two that wait take turns with what they work with.
    let mut jobs = with(needed + kept);
    jobs.insert(JobId(1), Arc::new(specification(1)), 0, None);
    assert_eq!(check(&jobs, 3), Ok(()));
}

#[test]
fn a_job_is_taken_where_the_disk_has_room_for_what_is_not_there_and_for_jobs_whose_data_is_on_its_way() {
    let mut jobs = jobs(OnDiskError::Stop);
    let check = |jobs: &Jobs, number: u8, free_bytes, there_bytes| {
        let room = Some(DiskRoom { free_bytes, there_bytes });
        match jobs.check_disk(JobId(number.into()), &specification(number), room) {
            Err(Refusal::NoDisk { bytes, free }) => Err((bytes, free)),
            _ => Ok(()),
        }
    };
    let (needed, _) = check(&jobs, 1, 0, 0).unwrap_err();
    let data = objects_of(&specification(1)).values().sum::<u64>();
    assert!((OWN_BYTES + data..OWN_BYTES + 2 * data).contains(&needed), "{needed}");
    assert_eq!(check(&jobs, 1, needed, 0), Ok(()));
    assert_eq!(check(&jobs, 1, needed - 1, 0), Err((needed, needed - 1)));
    assert_eq!(check(&jobs, 1, needed - data, data), Ok(()), "its data is there");
    jobs.insert(JobId(1), Arc::new(specification(1)), 0, None);
    let (_, free) = check(&jobs, 3, 2 * needed - 1, 0).unwrap_err();
    assert!(free < needed, "the first one takes its part");
    assert_eq!(check(&jobs, 1, 0, 0), Ok(()), "it is known");
    jobs.get(JobId(1)).unwrap().is_written = true;
    assert_eq!(check(&jobs, 3, needed, 0), Ok(()), "what the first one has is no longer free");
}

#[test]
fn a_full_disk_refuses_nobody_where_jobs_go_on_without_it() {
    let (job, specification) = (JobId(1), specification(1));
    let room = Some(DiskRoom { free_bytes: 0, there_bytes: 0 });
    assert!(jobs(OnDiskError::Stop).check_disk(job, &specification, room).is_err());
    assert!(jobs(OnDiskError::Stop).check_disk(job, &specification, None).is_ok());
    assert!(jobs(OnDiskError::Continue).check_disk(job, &specification, room).is_ok());
}

#[test]
fn what_came_of_a_job_stays_for_whoever_is_about_to_fetch_it_whatever_else_needs_room() {
    let mut jobs = jobs(OnDiskError::Stop);
    let [first, second] = [JobId(1), JobId(2)];
    let weights = Digest([9; 32]);
    for id in [first, second] {
        jobs.insert(id, Arc::new(specification(1)), 0, None);
        // Equal jobs come to the same.
        jobs.set_base(id, Weights { digest: weights, bytes: Arc::new(vec![7; 1_000]), outer: Arc::default() });
    }
    let taken = jobs.taken().kept_bytes();
    jobs.hold_result(first, weights);
    assert_eq!(jobs.taken().kept_bytes(), taken + 1_000);
    jobs.release(first);
    jobs.hold_result(second, weights);
    jobs.release(second);
    let store = jobs.store.clone();
    let is_there_beside_others = |number: u8| {
        store.insert(Digest([number; 32]), Arc::new(vec![0; STORE_BYTES as usize]));
        store.holds(&weights)
    };
    assert!(is_there_beside_others(10));
    jobs.let_results_go(|job| job == first);
    assert!(is_there_beside_others(11), "the second one's client has not fetched it");
    jobs.let_results_go(|_| true);
    assert!(!is_there_beside_others(12) && jobs.taken().kept_bytes() == 0);
}

#[test]
fn data_that_has_come_stays_until_its_job_has_it_and_is_kept_for_nobody_once_that_has_ended() {
    let mut jobs = jobs(OnDiskError::Stop);
    let (id, store) = (JobId(1), jobs.store.clone());
    jobs.insert(id, Arc::new(specification(1)), 0, None);
    let data = objects_of(&specification(1));
    for (&digest, &bytes) in &data {
        store.insert_pinned(digest, Arc::new(vec![0; bytes as usize]));
    }
    let fill = |number: u8| store.insert(Digest([number; 32]), Arc::new(vec![0; STORE_BYTES as usize]));
    fill(10);
    let complete: Vec<JobId> = data.keys().flat_map(|digest| jobs.arrived_pinned(*digest)).collect();
    fill(11);
    assert!(complete == [id] && data.keys().all(|digest| store.holds(digest)));
    jobs.release(id);
    fill(12);
    assert!(!data.keys().any(|digest| store.holds(digest)));
}

#[test]
fn data_that_is_on_the_disk_leaves_memory_once_no_job_runs() {
    let directory = Some(std::path::PathBuf::from("somewhere"));
    let with = |settings: Settings| {
        let store = Arc::new(Store::new(u64::MAX));
        store.insert(Digest([1; 32]), Arc::new(vec![0; 65 << 20]));
        let jobs = Jobs::new(store.clone(), Room::new(STORE_BYTES), &settings);
        (jobs, store)
    };
    let (mut jobs, store) = with(Settings { state_dir: directory.clone(), ..settings() });
    jobs.insert(JobId(1), Arc::new(specification(1)), 0, None);
    assert!(!jobs.rest() && store.bytes() > 0);
    jobs.release(JobId(1));
    assert!(jobs.rest() && store.bytes() == 0);
    let asked_for = Settings { state_dir: directory.clone(), store_bytes: Some(1 << 30), ..settings() };
    let perhaps_not_on_disk = Settings { state_dir: directory, on_disk_error: OnDiskError::Continue, ..settings() };
    for kept in [asked_for, perhaps_not_on_disk, settings()] {
        let (jobs, store) = with(kept);
        assert!(jobs.rest() && store.bytes() > 0);
    }
}

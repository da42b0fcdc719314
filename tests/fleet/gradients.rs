//! Jobs of merged gradients, by real processes: however each step is cut into tasks and whatever dies, the same bits; and a
//! client that computes them anew. The test speaks the protocol itself.

use std::collections::BTreeMap;

use gradwire::digest::Digest;
use gradwire::job::{EntryResult, JobId, LedgerEntry, Operation, RowsRef, Specification, Summary};
use gradwire::model::random::{Purpose, Stream};
use gradwire::model::{ARITHMETIC, Merge, Network, Outer, OuterOptimiser, Recipe, Schedule, Training};
use gradwire::net::random_u128;
use gradwire::wire::message::{Attach, Have, Ledger, Submit};
use gradwire::wire::{Message, Role, object};
use serde_json::{Value, json};

use crate::common::clients::{Client, client};
use crate::common::peer::Peer;
use crate::common::process::reserve_port;
use crate::common::servers::{Coordinator, Node, nodes, ports, standing_still_after};
use crate::common::shapes::by;
use crate::common::smallest::piece;
use crate::common::tables::file_in;

const FEATURES: u32 = 6;
const CLASSES: u32 = 3;
/// Rows of each shard, and the validation rows behind them.
const ROWS: [u32; 4] = [300, 150, 207, 90];
const ROUNDS: u32 = 4;
/// Of 83 blocks of eight rows or fewer, eight a step.
const STEPS: u64 = ROUNDS as u64 * 11;

type Objects = BTreeMap<Digest, Vec<u8>>;

/// A job whose blocks' gradients become one in this way, each of its steps in so many tasks, and the data that it names.
fn job(merge: Merge, tasks_per_step: Option<u32>) -> (Specification, Objects) {
    let mut objects = Objects::new();
    let mut rows_of = |(index, rows): (u64, u32)| {
        let mut stream = Stream::new(Purpose::Split, 21, [index, 0, 0]);
        let values: Vec<f32> = (0..rows * FEATURES).map(|_| stream.symmetric(1.0)).collect();
        let label = |row: &[f32]| u32::from(row[0] > 0.0) + u32::from(row[1] > 0.3);
        let labels: Vec<u32> = values.chunks(FEATURES as usize).map(label).collect();
        let object = object::encode_rows(FEATURES, &values, &labels);
        let reference = RowsRef { rows, digest: Digest::of(&object) };
        objects.insert(reference.digest, object);
        reference
    };
    let mut shards: Vec<RowsRef> = (0..).zip(ROWS).map(&mut rows_of).collect();
    let recipe = Recipe { batch: by(64), epochs: 1, local_steps: Some(1), ..Recipe::DEFAULT };
    let network = Network::new(FEATURES, &[10], CLASSES).unwrap();
    let specification = Specification {
        patience: None,
        target_accuracy: None,
        test: None,
        training: Training { arithmetic: ARITHMETIC, network, recipe, seed: 3, class_weights: Vec::new() },
        rounds: ROUNDS,
        round_steps: None,
        validation: shards.pop().unwrap(),
        shards,
        merge,
        outer: Outer { optimiser: OuterOptimiser::Adam, eta: 0.02, schedule: Schedule::Cosine, ..Outer::AVERAGE },
        initial: None,
        operation: Operation { tasks_per_step, ..Operation::default() },
        notes: Vec::new(),
    };
    assert_eq!(specification.steps(), STEPS);
    (specification.checked().unwrap(), objects)
}

/// Hears a job that has been asked for on request 1, and gives what is asked of its data; until this round has come, or the
/// job is done.
fn hear(peer: &mut Peer, objects: &Objects, until: u32) -> Option<Summary> {
    loop {
        let frame = peer.receive();
        match frame.message() {
            Message::Fetch(fetch) => {
                let object = objects.get(&fetch.digest).expect("an object that can be had here");
                peer.send(Message::Data(piece(fetch, object)), frame.header.request);
            }
            Message::Round(round) if round.round == until => return None,
            Message::Done(done) => return Some(done.summary),
            Message::Accepted(_) | Message::Notice(_) | Message::Round(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Asks for the job on request 1.
fn submitted(coordinator: &Coordinator, id: JobId, specification: &Specification) -> Peer {
    let mut peer = Peer::greeted(coordinator.address, Role::Client);
    peer.send(Submit { job: id, rounds_seen: 0, specification: specification.clone() }, 1);
    peer
}

fn ledger(peer: &mut Peer, job: JobId) -> Vec<LedgerEntry> {
    peer.send(Ledger { job, first: 0 }, 3);
    let frame = peer.receive();
    let Message::Entries(entries) = frame.message() else { panic!("ENTRIES was due, not {:?}", frame.message()) };
    assert_eq!((entries.entries.len() as u64, entries.shards), (entries.total, 1));
    entries.entries
}

/// The steps but the first of which the coordinator holds all that they start from.
fn checkpoints(peer: &mut Peer, entries: &[LedgerEntry]) -> Vec<u64> {
    let both = |entry: &LedgerEntry| match &entry.result {
        EntryResult::Step(step) => [entry.base, step.outer],
        other => panic!("{other:?}"),
    };
    peer.send(Have { digests: entries.iter().flat_map(both).collect() }, 5);
    let frame = peer.receive();
    let Message::Held(held) = frame.message() else { panic!("HELD was due, not {:?}", frame.message()) };
    let are_held = held.bytes.chunks(2).map(|both| both.iter().all(|bytes| *bytes > 0));
    (0..).zip(are_held).skip(1).filter(|(_, are_held)| *are_held).map(|(step, _)| step).collect()
}

fn verify(coordinator: &Coordinator, job: JobId, more: &[&str]) -> (Option<i32>, Value) {
    let verified = Client::start(coordinator, &[&["verify", &job.to_string()], more].concat()).finish();
    (verified.exit, verified.events.last().unwrap_or_else(|| panic!("{verified:#?}")).clone())
}

#[test]
fn a_job_of_merged_gradients_has_the_same_bits_on_any_fleet_however_its_steps_are_cut_and_verifies() {
    Merge::ALL.into_iter().for_each(has_the_same_bits_however_it_is_cut_and_verifies);
}

fn has_the_same_bits_however_it_is_cut_and_verifies(merge: Merge) {
    let mut models = Vec::new();
    for (count, tasks_per_step) in [(2, None), (1, None), (2, Some(5))] {
        let (specification, objects) = job(merge, tasks_per_step);
        let fleet = nodes(count, "0", &[]);
        let coordinator = Coordinator::of("2", &fleet, &[]);
        let id = JobId(random_u128());
        let mut peer = submitted(&coordinator, id, &specification);
        let done = hear(&mut peer, &objects, 0).expect("DONE, no round 0");
        let entries = ledger(&mut peer, id);
        assert!(entries.len() as u64 == STEPS && done.reproducible, "{done:?}");
        assert!(
            entries.iter().all(|entry| matches!(&entry.result, EntryResult::Step(step) if step.skipped.is_empty()))
        );
        models.push((done.fingerprint, entries));
        let (exit, verdict) = verify(&coordinator, id, &[]);
        let told = (&verdict["agrees"], &verdict["steps"], &verdict["rounds"], &verdict["unmerged"]);
        assert_eq!((exit, told), (Some(0), (&json!(true), &json!(STEPS), &json!(ROUNDS), &json!([]))), "{verdict}");
        let (exit, verdict) = verify(&coordinator, id, &["--sample", "5", "--seed", "1"]);
        assert_eq!((exit, &verdict["agrees"], &verdict["steps"]), (Some(0), &json!(true), &json!(5)), "{verdict}");
    }
    assert!(models[1..].iter().all(|model| *model == models[0]), "the bits differ");
}

#[test]
fn what_a_job_of_merged_gradients_came_to_before_its_coordinator_was_killed_verifies_with_the_rest() {
    let (specification, objects) = job(Merge::Mean, None);
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    let options = ["--state-dir", state.to_str().unwrap()];
    // Each step takes the delay at least: the rounds behind the first cannot be over before the nodes stand still.
    let (port, mut fleet) = (reserve_port(), nodes(3, "1", &["--load-delay", "0.5"]));
    let mut coordinator = Coordinator::start_at(port, "1", &ports(&fleet), &options);
    let id = JobId(random_u128());
    let mut peer = submitted(&coordinator, id, &specification);
    let end = standing_still_after(1, &coordinator, &fleet, || hear(&mut peer, &objects, 1));
    assert_eq!(end, None);
    coordinator.kill();
    // One of them is gone for good, and the others do not dawdle any more.
    fleet.iter_mut().for_each(|node| node.kill());
    let _quick = [0, 2].map(|index: usize| Node::start(fleet[index].port, "0", &[]));
    let coordinator = Coordinator::start_at(port, "1", &ports(&fleet), &options);
    coordinator.await_line("goes on after round ");
    let mut peer = Peer::greeted(coordinator.address, Role::Client);
    peer.send(Attach { job: id, rounds_seen: 1 }, 1);
    hear(&mut peer, &Objects::new(), 0).expect("DONE, no round 0");
    let (exit, verdict) = verify(&coordinator, id, &[]);
    assert_eq!((exit, &verdict["steps"], &verdict["differs"]), (Some(0), &json!(STEPS), &json!([])), "{verdict}");
    // Of some round's end all is held that the next step starts from, and a sample goes on from there.
    let entries = ledger(&mut peer, id);
    let held = checkpoints(&mut peer, &entries);
    assert!(!held.is_empty(), "nothing is held");
    for seed in 0..6 {
        let (exit, verdict) = verify(&coordinator, id, &["--sample", "1", "--seed", &seed.to_string()]);
        assert_eq!((exit, &verdict["unmerged"]), (Some(0), &json!([])), "{verdict}");
        let besides = verdict["steps_besides"].as_u64().unwrap();
        let widest = held.iter().zip([0].iter().chain(&held)).map(|(step, before)| step - before).max();
        assert!(besides < widest.unwrap().max(STEPS - held[held.len() - 1]), "{besides} besides, held: {held:?}");
    }
    let (id, port) = (id.to_string(), port.to_string());
    let table = client(["127.0.0.1", &port, "ledger", &id]);
    assert_eq!((table.code, table.stdout.lines().count() as u64), (Some(0), 1 + STEPS), "{table:?}");
    assert!(table.stderr.contains("44 of 44 steps: 4 of 4 rounds done"), "{table:?}");
}

#[test]
fn a_job_of_local_steps_has_a_line_of_each_step_and_shard_and_verifies() {
    let fleet = nodes(2, "0", &[]);
    let coordinator = Coordinator::of("2", &fleet, &[]);
    let job = ["--rounds", "2", "--local-steps", "4", "--round-steps", "3", "--shards", "3", "--hidden", "12"];
    let mut watched = Client::start(&coordinator, &job);
    let id = watched.await_accepted()["job"].as_str().unwrap().to_owned();
    watched.finish().done();
    let verified = Client::start(&coordinator, &["verify", &id]).finish();
    let verdict = &verified.events[0];
    let told = (&verdict["tasks"], &verdict["rounds"], &verdict["ledger_steps"], &verdict["differs"]);
    assert_eq!((verified.exit, told), (Some(0), (&json!(18), &json!(2), &json!(6), &json!([]))), "{verified:#?}");
    let port = coordinator.port.to_string();
    // Adam, which would begin anew with every task, is not what such a job is trained by.
    let told = client(["127.0.0.1", &port, "job", &id]).stdout;
    assert!(told.contains("momentum, batch 32, 4 batches a task, eta 0.1\n"), "{told}");
    assert!(told.contains("nesterov, eta 0.7, momentum 0.9, schedule cosine\n"), "{told}");
    let said = client(["127.0.0.1", &port, "verify", &id]).stdout;
    assert!(
        said.starts_with("fingerprint  ")
            && said.ends_with("\nverified 18 tasks of 6 steps: every update has the ledger's bits\n"),
        "{said}"
    );
    let table = client(["127.0.0.1", &port, "ledger", &id]);
    assert!(table.stdout.starts_with(" STEP  SHARD  RESULT") && table.stdout.lines().count() == 19, "{table:?}");
    assert!(table.stderr.contains("18 of 18 tasks: 2 of 2 rounds done"), "{table:?}");
}

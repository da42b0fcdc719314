//! A job that fits two numbers instead of telling classes apart, from end to end. The test speaks the protocol itself, and
//! computes alone, by the definition, what the fleet must come to.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use gradwire::digest::Digest;
use gradwire::job::{
    self, JobId, LedgerEntry, Metric, Metrics, Operation, RoundSummary, RowsRef, Specification, Summary,
};
use gradwire::model::file::ModelFile;
use gradwire::model::random::{Purpose, Stream};
use gradwire::model::scaling::Target;
use gradwire::model::{
    ARITHMETIC, Activation, Loss, Merge, Network, Optimiser, Outer, Recipe, Rows, Targets, Training,
};
use gradwire::net::random_u128;
use gradwire::wire::message::{Attach, Fetch, Ledger, PIECE_BYTES_MAX, Submit};
use gradwire::wire::object::{ObjectKind, encode_parameters, encode_rows_of_values};
use gradwire::wire::{Message, Role, specification};
use serde_json::{Value, json};

use crate::common::clients::{Client, client};
use crate::common::definition;
use crate::common::peer::Peer;
use crate::common::process::reserve_port;
use crate::common::servers::{Coordinator, nodes, ports, standing_still_after};
use crate::common::shapes::by;
use crate::common::smallest::piece;
use crate::common::tables::file_in;

const FEATURES: u32 = 3;
const TARGETS: u32 = 2;
/// Rows of each shard, of different weights, and the validation rows behind them.
const ROWS: [u32; 5] = [37, 20, 33, 8, 21];
const ROUNDS: u32 = 12;

/// Features, and targets that follow from them; some are so small that they count as 0.
#[derive(Clone)]
struct Table {
    values: Vec<f32>,
    targets: Vec<f32>,
}

impl Table {
    fn drawn(rows: u32, index: u64) -> Table {
        let mut stream = Stream::new(Purpose::Split, 11, [index, 0, 0]);
        let (mut values, mut targets) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let x: [f32; FEATURES as usize] = std::array::from_fn(|_| stream.symmetric(2.0));
            values.extend(x);
            targets.extend([x[0] * x[1] - x[2], if row % 5 == 0 { 1e-13 } else { 0.5 * x[2] + 3.0 }]);
        }
        Table { values, targets }
    }

    fn object(&self) -> Vec<u8> {
        encode_rows_of_values(FEATURES, &self.values, TARGETS, &self.targets)
    }

    fn targets(&self) -> Targets<'_> {
        Targets::Values { values: self.targets.as_slice().into(), width: TARGETS }
    }
}

/// Notes as our client writes them, of two targets in units of their own.
fn notes() -> Value {
    json!({
        "format": "gradwire client notes 1",
        "data": "boiler.csv",
        "recipe": "own",
        "feature_names": ["flow", "valve", "outside"],
        "target_names": ["power", "heat"],
        "target_means": [10.0, 0.5],
        "target_deviations": [2.0, 0.25],
        "feature_means": [0.0, 0.0, 0.0],
        "feature_inverse_deviations": [1.0, 1.0, 1.0],
    })
}

/// A job, and the data that it names.
struct Regression {
    id: JobId,
    specification: Specification,
    shards: Vec<Table>,
    validation: Table,
    initial: Vec<f32>,
    objects: Objects,
}

type Objects = BTreeMap<Digest, Vec<u8>>;

impl Regression {
    /// One whose every field of the recipe that has a default has another value, as far as it counts here.
    fn new() -> Regression {
        let recipe = Recipe {
            loss: Loss::SquaredError,
            activation: Activation::Tanh,
            optimiser: Optimiser::Adam,
            eta: 0.02,
            batch: by(16),
            epochs: 2,
            betas: [0.8, 0.99],
            epsilon: 1e-5,
            weight_decay: 0.01,
            ..Recipe::DEFAULT
        };
        let network = Network::new(FEATURES, &[8], TARGETS).unwrap();
        let training = Training { arithmetic: ARITHMETIC, network, recipe, seed: 5, class_weights: Vec::new() };
        let mut tables: Vec<Table> = (0..).zip(ROWS).map(|(index, rows)| Table::drawn(rows, index)).collect();
        let mut stream = Stream::new(Purpose::Split, 12, [0; 3]);
        let initial: Vec<f32> = (0..training.network.parameters()).map(|_| stream.symmetric(1.0)).collect();
        let mut objects = BTreeMap::new();
        let mut keep = |object: Vec<u8>| {
            let digest = Digest::of(&object);
            objects.insert(digest, object);
            digest
        };
        let mut of_rows = |table: &Table| RowsRef { rows: table.targets().rows() as u32, digest: keep(table.object()) };
        let mut references: Vec<RowsRef> = tables.iter().map(&mut of_rows).collect();
        let weights = keep(encode_parameters(ObjectKind::Weights, &training.network, &initial));
        let specification = Specification {
            patience: None,
            target_accuracy: None,
            test: None,
            training,
            rounds: ROUNDS,
            round_steps: None,
            validation: references.pop().unwrap(),
            shards: references,
            merge: Merge::Mean,
            outer: Outer::AVERAGE,
            initial: Some(weights),
            operation: Operation::default(),
            notes: notes().to_string().into_bytes(),
        };
        let validation = tables.pop().unwrap();
        Regression { id: JobId(random_u128()), specification, shards: tables, validation, initial, objects }
    }

    fn digest(&self, kind: ObjectKind, values: &[f32]) -> Digest {
        Digest::of(&encode_parameters(kind, &self.specification.training.network, values))
    }

    /// The whole job, computed by the definition alone.
    fn computed(&self) -> Computed {
        let training = &self.specification.training;
        let mut definition = definition::ARITHMETIC_2;
        let rows = Rows::new(FEATURES, self.validation.values.clone(), self.validation.targets()).unwrap();
        let mut weights = definition.start_from(&self.initial);
        let mut computed = Computed { rounds: Vec::new(), tasks: Vec::new(), weights: Vec::new() };
        for step in 0..u64::from(ROUNDS) {
            let base = self.digest(ObjectKind::Weights, &weights);
            let mut updates = Vec::new();
            let mut losses = 0.0;
            for (shard, table) in (0..).zip(&self.shards) {
                let data = (&table.values[..], &table.targets());
                let (update, loss, _) = definition.train_against(training, step, shard, &weights, data);
                losses += loss;
                computed.tasks.push((base, self.digest(ObjectKind::Update, &update), loss));
                updates.push((update, table.targets().rows() as u32));
            }
            let updates: Vec<(&[f32], u32)> = updates.iter().map(|(update, rows)| (&update[..], *rows)).collect();
            weights = definition::mean_onto(&weights, &updates);
            let loss = losses / self.specification.rows() as f64;
            computed.rounds.push((loss, definition.evaluate(training, &weights, &rows)));
        }
        Computed { weights, ..computed }
    }
}

/// What a job comes to.
struct Computed {
    /// Of each round the training loss and the model's metrics.
    rounds: Vec<(f64, Metrics)>,
    /// Of each task base, update and loss.
    tasks: Vec<(Digest, Digest, f64)>,
    weights: Vec<f32>,
}

/// Hears a job that has been asked for on request 1, and gives what is asked of its data; until round `until` has come, or
/// the job is done.
fn hear(peer: &mut Peer, objects: &Objects, until: u32, rounds: &mut Vec<RoundSummary>) -> Option<Summary> {
    loop {
        let frame = peer.receive();
        match frame.message() {
            Message::Fetch(fetch) => {
                let object = objects.get(&fetch.digest).expect("an object that can be had here");
                peer.send(Message::Data(piece(fetch, object)), frame.header.request);
            }
            Message::Round(round) => {
                rounds.push(round);
                if round.round == until {
                    return None;
                }
            }
            Message::Done(done) => return Some(done.summary),
            Message::Accepted(_) | Message::Notice(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn fetched(peer: &mut Peer, digest: Digest, request: u32) -> Vec<u8> {
    peer.send(Fetch { digest, offset: 0, bytes_max: PIECE_BYTES_MAX as u32 }, request);
    let frame = peer.receive();
    let Message::Data(data) = frame.message() else { panic!("DATA was due, not {:?}", frame.message()) };
    assert_eq!(data.bytes.len() as u64, data.object_bytes);
    data.bytes.into_owned()
}

fn ledger(peer: &mut Peer, job: JobId, request: u32) -> Vec<LedgerEntry> {
    peer.send(Ledger { job, first: 0 }, request);
    let frame = peer.receive();
    let Message::Entries(entries) = frame.message() else { panic!("ENTRIES was due, not {:?}", frame.message()) };
    assert_eq!(entries.entries.len() as u64, entries.total);
    entries.entries
}

/// Asks for the job on request 1.
fn submitted(coordinator: SocketAddr, job: &Regression) -> Peer {
    let mut peer = Peer::greeted(coordinator, Role::Client);
    peer.send(Submit { job: job.id, rounds_seen: 0, specification: job.specification.clone() }, 1);
    peer
}

#[test]
fn a_regression_of_two_targets_comes_to_the_definitions_bits_though_its_coordinator_is_killed() {
    let job = Regression::new();
    let computed = job.computed();
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    let options = ["--state-dir", state.to_str().unwrap()];
    let (port, fleet) = (reserve_port(), nodes(2, "1", &["--load-delay", "0.1"]));
    let mut coordinator = Coordinator::start_at(port, "2", &ports(&fleet), &options);

    let mut rounds = Vec::new();
    let mut peer = submitted(coordinator.address, &job);
    let end = standing_still_after(3, &coordinator, &fleet, || hear(&mut peer, &job.objects, 3, &mut rounds));
    assert_eq!(end, None);
    coordinator.kill();
    fleet.iter().for_each(|node| node.thaw());
    let coordinator = Coordinator::start_at(port, "2", &ports(&fleet), &options);
    coordinator.await_line("goes on after round ");
    let mut peer = Peer::greeted(coordinator.address, Role::Client);
    peer.send(Attach { job: job.id, rounds_seen: 3 }, 1);
    // Nothing can be had from who attaches: the data is the journal's.
    let done = hear(&mut peer, &Objects::new(), 0, &mut rounds).expect("DONE, no round 0");

    assert!(rounds.iter().map(|round| round.round).eq(1..=ROUNDS), "{rounds:#?}");
    for (round, (loss, metrics)) in rounds.iter().zip(&computed.rounds) {
        assert_eq!((round.loss.to_bits(), round.metrics), (loss.to_bits(), *metrics), "round {}", round.round);
        assert_eq!((round.rows, round.merged), (u64::from(ROWS[4]), 4));
    }
    let [first, last] = [&rounds[0], &rounds[11]].map(|round| round.metrics.get(Metric::SquaredError).unwrap());
    assert!(last < first / 2.0, "nothing is learnt: {first}, then {last}");

    let weights = encode_parameters(ObjectKind::Weights, &job.specification.training.network, &computed.weights);
    assert_eq!(fetched(&mut peer, done.weights, 3), weights);
    let semantic = specification::semantic_digest(&job.specification);
    assert_eq!(done.fingerprint, job::fingerprint(&semantic, &Digest::of(&weights)));
    assert_eq!((done.merged, done.reproducible), (48, true));
    for metric in [Metric::Loss, Metric::SquaredError, Metric::AbsoluteError] {
        assert_eq!(done.metrics.get(metric), computed.rounds[11].1.get(metric), "{metric:?}");
    }

    let entries = ledger(&mut peer, job.id, 5);
    let told: Vec<_> = entries.iter().map(|entry| (entry.base, entry.merged().unwrap())).collect();
    assert_eq!(told.len(), computed.tasks.len());
    for (place, ((base, merged), task)) in told.into_iter().zip(&computed.tasks).enumerate() {
        assert_eq!((base, merged.update, merged.loss), *task, "entry {place}");
    }
    let verified = Client::start(&coordinator, &["verify", &job.id.to_string()]).finish();
    let verdict = &verified.events[0];
    assert_eq!(
        (verified.exit, &verdict["agrees"], &verdict["tasks"]),
        (Some(0), &json!(true), &json!(48)),
        "{verified:#?}"
    );
}

#[test]
fn whoever_asks_about_a_regression_of_two_targets_is_told_of_its_error_in_deviations_and_of_no_classes() {
    let job = Regression::new();
    let fleet = nodes(1, "0", &[]);
    let coordinator = Coordinator::of("2", &fleet, &[]);
    let mut rounds = Vec::new();
    hear(&mut submitted(coordinator.address, &job), &job.objects, 0, &mut rounds).expect("DONE, no round 0");
    let squares = rounds.last().unwrap().metrics.get(Metric::SquaredError).unwrap();
    let error = (squares / f64::from(ROWS[4])).sqrt();
    let (id, port) = (job.id.to_string(), coordinator.port.to_string());
    let ask = |words: &[&str]| client([&["127.0.0.1", &port], words].concat());

    let described = ask(&["job", &id]).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "own: squared error, tanh, adam",
        "boiler.csv: 98 rows for training in 4 shards, 21 for validation",
        "2 targets (power, heat)",
    ] {
        assert!(described.contains(words), "{words}: {described}");
    }
    assert!(!described.contains("class"), "{described}");
    assert!(ask(&["job", &id, "--json"]).stdout.contains(r#""loss":"squared_error""#));

    let watched = ask(&["attach", &id]);
    let told = format!("rmse         {error:.4} deviations of all targets over 21 validation rows");
    assert!(watched.stdout.contains(&told), "{watched:?}");
    assert!(watched.stdout.contains("     rmse        mae  nodes"), "{watched:?}");
    let watched = Client::start(&coordinator, &["attach", &id]).finish();
    assert_eq!(watched.done()["validation_rmse"], json!(error));
    assert!(watched.events.iter().all(|event| event.get("validation_error").is_none()), "{watched:#?}");
    let r2 = watched.done()["validation_r2"].as_f64().unwrap();
    assert!(coordinator.status().contains(&format!("r2 {r2:.4}")), "{}", coordinator.status());

    let directory = tempfile::tempdir().unwrap();
    let out = file_in(&directory, "model");
    for command in ["attach", "model"] {
        let saved = ask(&[command, &id, "--out", out.to_str().unwrap()]);
        assert_eq!(saved.code, Some(0), "{saved:?}");
        let model = ModelFile::read(&out).unwrap();
        let Target::Values(scales) = &model.target else { panic!("{:?}", model.target) };
        let scales: Vec<_> = scales.iter().map(|scale| (scale.name(), scale.mean(), scale.deviation())).collect();
        assert_eq!(scales, [("power", 10.0, 2.0), ("heat", 0.5, 0.25)]);
        fs::remove_file(&out).unwrap();
    }
    assert!(!described.contains("baseline"), "nobody has told one: {described}");
}

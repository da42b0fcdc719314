//! A small job that is done: what was asked for, every update and all weights, computed here with the model's code; and a
//! coordinator that knows it and answers whatever is asked of it.

use gradwire::digest::Digest;
use gradwire::job::{
    self, EntryResult, FailKind, Failure, JobId, JobState, JobStatus, LedgerEntry, MergedTask, NodeTasks, Operation,
    Profile, RowsRef, Specification, Summary,
};
use gradwire::model::train::Unwatched;
use gradwire::model::{
    ARITHMETIC, ExactSum, Kernel, Merge, Network, Outer, OuterState, Recipe, Rows, Trainer, Training, initialise,
};
use gradwire::wire::message::{Described, Done, Entries, Error, Held, Listed};
use gradwire::wire::object::{self, ObjectKind};
use gradwire::wire::{ErrorCode, Message, MessageType, specification};

use crate::common::peer::{Peer, Received};
use crate::script::{Objects, accepted, answer_fetch, metrics, more, next_request, round};

pub const ROUNDS: u32 = 6;
pub const SHARDS: u32 = 3;
/// Entries of a page of the ledger, which is no multiple of a round's.
const PAGE: usize = 4;

#[derive(Clone)]
pub struct Book {
    pub job: JobId,
    pub specification: Specification,
    pub objects: Objects,
    pub entries: Vec<LedgerEntry>,
    /// Entries of a step, as it says.
    pub shards: u32,
    pub done: Done,
    /// How it stands; done unless a test says otherwise.
    pub state: JobState,
}

impl Book {
    /// A job with these notes, in which shard 1 of round 2 was skipped.
    pub fn new(notes: Vec<u8>) -> Book {
        Book::with_inexact(notes, Outer::AVERAGE, (u64::MAX, 0))
    }

    /// The same, with this outer optimiser, and with a task, a step and a shard, whose update was not computed in arithmetic 2.
    pub fn with_inexact(notes: Vec<u8>, outer: Outer, inexact: (u64, u32)) -> Book {
        let mut objects = Objects::new();
        let mut keep = |bytes: Vec<u8>| {
            let digest = Digest::of(&bytes);
            objects.insert(digest, bytes);
            digest
        };
        let network = Network::new(2, &[3], 2).unwrap();
        let values = |shard: u32| (0..8).map(|i| ((shard * 8 + i) as f32 * 0.37).sin()).collect::<Vec<f32>>();
        let labels = vec![0, 1, 0, 1];
        let rows = |shard| Rows::labelled(2, values(shard), labels.clone(), 2).unwrap();
        let mut rows_ref = |shard| RowsRef { rows: 4, digest: keep(object::encode_rows(2, &values(shard), &labels)) };
        let training = Training {
            arithmetic: ARITHMETIC,
            network: network.clone(),
            recipe: Recipe::DEFAULT,
            seed: 7,
            class_weights: Vec::new(),
        };
        let specification = Specification {
            patience: None,
            target_accuracy: None,
            test: None,
            training: training.clone(),
            rounds: ROUNDS,
            round_steps: None,
            shards: (0..SHARDS).map(&mut rows_ref).collect(),
            validation: rows_ref(SHARDS),
            merge: Merge::Mean,
            outer,
            initial: None,
            operation: Operation::default(),
            notes,
        };
        let kernel = Kernel::best();
        let mut trainer = Trainer::new(kernel);
        let mut weights = initialise(&network, training.recipe.initialisation, training.seed);
        let (mut entries, mut state) = (Vec::new(), OuterState::default());
        for step in 0..u64::from(ROUNDS) {
            let mut bytes = object::encode_parameters(ObjectKind::Weights, &network, &weights);
            let base = keep(bytes.clone());
            let mut sum = ExactSum::new(kernel, network.parameters(), 4 * u64::from(SHARDS));
            for shard in 0..SHARDS {
                let merged = ((step, shard) != (1, 1)).then(|| {
                    let mut trained =
                        trainer.train(&training, step, shard, &weights, &rows(shard), &mut Unwatched).unwrap();
                    if (step, shard) == inexact {
                        trained.update[0] += 1e-3;
                    }
                    let update = object::encode_parameters(ObjectKind::Update, &network, &trained.update);
                    sum.add(object::parameters(ObjectKind::Update, &network, &update).unwrap(), 4).unwrap();
                    MergedTask {
                        attempt: 1,
                        loss: trained.loss,
                        update: Digest::of(&update),
                        node: format!("node-{shard}"),
                    }
                });
                entries.push(LedgerEntry { rows: 4, base, result: merged.into() });
            }
            let values = object::parameters_mut(&network, &mut bytes);
            if outer.is_average() {
                sum.mean_onto(values).unwrap();
            } else {
                let mut update = vec![[0; 4]; values.len()];
                sum.mean_onto(&mut update).unwrap();
                state.step(kernel, &outer, outer.rate(step, ROUNDS.into()), &update, values, &mut |_| ()).unwrap();
            }
            weights = object::decode_parameters(ObjectKind::Weights, &network, &bytes).unwrap().into_owned();
        }
        let last = keep(object::encode_parameters(ObjectKind::Weights, &network, &weights));
        let weights_bytes = object::parameters_bytes(&network);
        let done = done(&specification, last, weights_bytes);
        Book {
            job: JobId(0xBEEF << 112 | 1),
            specification,
            objects,
            entries,
            shards: SHARDS,
            done,
            state: JobState::Done,
        }
    }

    /// The weights that a round, counted from 1, starts from.
    pub fn base(&self, round: u32) -> Digest {
        self.entries[((round - 1) * SHARDS) as usize].base
    }

    /// The merged task of a round, counted from 1, and a shard.
    pub fn task(&mut self, round: u32, shard: u32) -> &mut MergedTask {
        match &mut self.entries[((round - 1) * SHARDS + shard) as usize].result {
            EntryResult::Merged(task) => task,
            other => panic!("{other:?}"),
        }
    }

    fn job(&self, job: JobId) -> JobStatus {
        let failure = || Failure { kind: FailKind::Paused, text: "no node was left".to_owned() };
        JobStatus {
            job,
            state: self.state,
            failure: self.state.has_failure().then(failure),
            rounds_done: self.entries.len() as u32
                / self.specification.step_entries()
                / self.specification.round_steps(),
            rounds: ROUNDS,
            queue_position: 0,
            submitted_ms: 951_827_696_000,
            ended_ms: 0,
            fingerprint: (self.state == JobState::Done).then_some(self.done.summary.fingerprint),
            weights: self.state.has_failure().then_some(self.done.summary.weights),
        }
    }

    /// Answers whatever a client asks of the job and of two others, until it goes.
    pub fn serve(&self, mut peer: Peer) {
        while let Some(frame) = next_request(&mut peer) {
            self.answer(&mut peer, &frame);
        }
    }

    /// Answers one question.
    pub fn answer(&self, peer: &mut Peer, frame: &Received) {
        let request = frame.header.request;
        match frame.message() {
            Message::Jobs(jobs) => {
                let others = [JobId(0xBEEA << 112 | 2), JobId(0xCAFE << 112 | 3)];
                let all = [&[self.job][..], &others].concat();
                let listed: Vec<JobId> = all.into_iter().filter(|id| jobs.job.is_none_or(|job| job == *id)).collect();
                listed.iter().for_each(|id| more(peer, self.job(*id), request));
                peer.send(Listed { jobs: listed.len() as u32 }, request);
            }
            Message::Order(order) => {
                more(peer, self.job(order.job), request);
                peer.send(Listed { jobs: 1 }, request);
            }
            Message::Describe(describe) => {
                let specification = self.specification.clone();
                peer.send(Described { job: describe.job, specification }, request);
            }
            Message::Attach(attach) => {
                more(peer, accepted(JobState::Done, true, ROUNDS), request);
                (attach.rounds_seen + 1..=ROUNDS).for_each(|number| more(peer, round(number, ROUNDS), request));
                peer.send(self.done.clone(), request);
            }
            Message::Ledger(ledger) => {
                let entries = self.entries.iter().skip(ledger.first as usize).take(PAGE).cloned().collect();
                let total = self.entries.len() as u64;
                peer.send(Entries { total, first: ledger.first, shards: self.shards, entries }, request);
            }
            Message::Have(have) => {
                let bytes = |digest| self.objects.get(digest).map_or(0, |object: &Vec<u8>| object.len() as u64);
                peer.send(Held { bytes: have.digests.iter().map(bytes).collect() }, request);
            }
            Message::Fetch(fetch) => answer_fetch(peer, request, fetch, &self.objects),
            other => {
                let error = Error::new(ErrorCode::Unexpected, MessageType::Submit as u8, format!("{other:?}"));
                peer.send(error, request);
            }
        }
    }
}

/// How a job ended whose weights are these.
pub fn done(asked: &Specification, weights: Digest, weights_bytes: u64) -> Done {
    let summary = Summary {
        round: 1,
        rounds: 1,
        test: None,
        confusion: None,
        fingerprint: job::fingerprint(&specification::semantic_digest(asked), &weights),
        weights,
        rows: 4,
        metrics: metrics(),
        loss: 0.5,
        merged: 17,
        skipped: 1,
        elapsed_us: 6000,
        profile: Profile { compute_us: 6000, ..Profile::default() },
        training_us: 5000,
        validating_us: 10,
        revivals: 0,
        reproducible: false,
        nodes: vec![NodeTasks { node: "node-0".to_owned(), tasks: 17 }],
    };
    Done { weights_bytes, summary }
}

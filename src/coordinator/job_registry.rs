//! What the coordinator holds for each job on the engine's behalf: its specification, its data, its weights, who
//! watches it, and how it ended. Does not decide when a job runs.
//!
//! | file | owns |
//! |---|---|
//! | this one | the jobs that have not ended, and their data |
//! | `refusal` | why a submission is turned away |
//! | `memory` | whether there is memory for a job, and those that wait for it |
//! | `disk` | whether the disk has room for a job |
//! | `given_up` | jobs that are kept in memory after they were given up |
//! | `results` | what came of jobs that are done, until it is fetched |

mod disk;
mod given_up;
mod memory;
mod refusal;
mod results;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::data::{Kept, objects_of, specification_bytes};
use super::durable_rounds::DurableRounds;
use super::handles::ClientKey;
use super::handover::Handover;
use super::injected::InjectedLoad;
use super::journal::{JobMemory, OnDiskError, Restored};
use super::room::Room;
use super::settings::Settings;
use super::status::Open;
use super::watcher::Watcher;
use super::work::{BestWeights, ConfusionObject, Weights};
use crate::digest::Digest;
use crate::job::memory::CoordinatorMemory;
use crate::job::{Failure, JobId, JobState, JobStatus, RoundSummary, Specification};
use crate::model::{Network, Rows};
use crate::net::{self, IpAddr};
use crate::store::Store;
use crate::wire::object::{self, ObjectKind};
pub(super) use refusal::Refusal;
use results::Results;

/// A job that has not ended.
pub(super) struct Job {
    pub(super) specification: Arc<Specification>,
    pub(super) network: Arc<Network>,
    /// What it takes.
    pub(super) memory: CoordinatorMemory,
    pub(super) watchers: Vec<Watcher>,
    /// Its objects, and their sizes.
    objects: HashMap<Digest, u64>,
    /// Of these, those that are not here yet.
    missing: HashSet<Digest>,
    /// Bytes of its objects and of its specification, and those of the objects that are here.
    pub(super) bytes: u64,
    pub(super) bytes_here: u64,
    /// The clients that were asked for what is not.
    asked: Vec<ClientKey>,
    /// Where it was submitted from; not of a job from before the start.
    pub(super) owner: Option<IpAddr>,
    /// When it was submitted.
    pub(super) collects_since: Duration,
    pub(super) validation: Option<Arc<Rows<'static>>>,
    pub(super) test: Option<Arc<Rows<'static>>>,
    /// The weights of the current step, but while the next are made of them; their object is pinned in the store.
    pub(super) base: Option<Weights>,
    /// The weights of its best round, if it has a patience.
    pub(super) best: Option<BestWeights>,
    /// Which class its validation and test rows were taken for, once it is done.
    pub(super) confusion: Option<ConfusionObject>,
    /// Rounds that are durable.
    pub(super) rounds: DurableRounds,
    /// Rounds that are not: nobody is told of them yet.
    pub(super) untold: VecDeque<RoundSummary>,
    /// Weights of rounds that are not yet ordered to be written.
    pub(super) unwritten: VecDeque<Weights>,
    /// Weights that are, and that the journal has not taken yet.
    pub(super) handover: Handover,
    pub(super) submitted_ms: u64,
    /// Whether it is being written; not before its data is here.
    pub(super) is_written: bool,
    /// Whether it has run before, perhaps: nodes may hold results of it.
    pub(super) goes_on: bool,
    /// The weights after the last step that was ordered to be written down.
    pub(super) written: Option<Digest>,
    /// Whether it has its turn.
    is_running: bool,
    /// Why it is paused, if it is, and whether that is durable.
    pub(super) paused: Option<(Failure, bool)>,
    /// It is in the journal and nothing of it is here.
    pub(super) unread: Option<Unread>,
    /// Whether it was validated since the start.
    pub(super) is_validated: bool,
    /// What injected load has done to it since then.
    pub(super) injected: InjectedLoad,
}

/// All jobs.
pub(super) struct Jobs {
    store: Arc<Store>,
    store_bytes: u64,
    /// What of it stays while no job runs, if not all.
    resting_bytes: Option<u64>,
    room: Room,
    open: HashMap<JobId, Job>,
    /// What is here of their data, and what is here of those that are complete.
    here: Kept,
    complete: Kept,
    /// Jobs that were given up where nothing is written, the first of them first: they make room for others.
    kept: VecDeque<(JobId, Job)>,
    results: Results,
    /// The largest object that a job may have.
    object_bytes_max: u64,
    /// Bytes that the updates of one step, or its blocks' gradients, may have where all of them are kept at once.
    updates_bytes_max: u64,
    memory: JobMemory,
    /// Whether a job that cannot be written is of no use.
    are_to_be_written: bool,
}

/// A job that was not read at the start.
pub(super) struct Unread {
    /// Because it would not have fitted; it goes on by itself once it does.
    lacks_memory: bool,
    /// And it would have if there were no others: whoever watches it waits with it.
    awaits_others: bool,
    /// It is being read now.
    is_asked_for: bool,
}

impl Jobs {
    pub(super) fn new(store: Arc<Store>, room: Room, settings: &Settings) -> Jobs {
        Jobs {
            store,
            store_bytes: settings.data_bytes(),
            resting_bytes: settings.resting_bytes(),
            room,
            open: HashMap::new(),
            here: Kept::default(),
            complete: Kept::default(),
            kept: VecDeque::new(),
            results: Results::default(),
            object_bytes_max: settings.object_bytes,
            updates_bytes_max: settings.round_bytes(),
            memory: settings.job_memory(),
            are_to_be_written: settings.on_disk_error == OnDiskError::Stop,
        }
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    pub(super) fn store_bytes(&self) -> u64 {
        self.store_bytes
    }

    /// The jobs that have their turn.
    pub(super) fn running(&self) -> Vec<JobId> {
        self.open.iter().filter(|(_, job)| job.is_running).map(|(id, _)| *id).collect()
    }

    /// A job has its turn from now on, or no longer.
    pub(super) fn runs(&mut self, id: JobId, is_running: bool) {
        self.open.get_mut(&id).into_iter().for_each(|job| job.is_running = is_running);
    }

    /// Every job that has not ended.
    pub(super) fn each(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.open.iter().map(|(&id, job)| (id, job))
    }

    /// What is held of every job that has not ended, for the console.
    pub(super) fn open(&self) -> impl Iterator<Item = (JobId, Open)> {
        let open = |job: &Job| Open {
            specification: job.specification.clone(),
            missing: job.missing.len(),
            watchers: job.watchers.len(),
            round: job.rounds.last(),
        };
        self.open.iter().map(move |(&id, job)| (id, open(job)))
    }

    pub(super) fn get(&mut self, job: JobId) -> Option<&mut Job> {
        self.open.get_mut(&job)
    }

    /// Whether a job like this can be taken at all, and now.
    pub(super) fn check(&self, job: JobId, specification: &Specification, address: IpAddr) -> Result<(), Refusal> {
        if job == JobId::NIL {
            return Err(Refusal::Nil);
        }
        // A job that is known brings nothing new. After a start with less memory it may take more than there is: it waits.
        if self.open.contains_key(&job) {
            return Ok(());
        }
        let arithmetic = specification.training.arithmetic;
        if arithmetic != crate::model::ARITHMETIC {
            return Err(Refusal::Arithmetic { got: arithmetic });
        }
        let objects = objects_of(specification);
        if let Some(&bytes) = objects.values().find(|&&bytes| bytes > self.object_bytes_max) {
            return Err(Refusal::Object { bytes, allowed: self.object_bytes_max });
        }
        let bytes = objects.values().fold(0u64, |sum, &bytes| sum.saturating_add(bytes));
        if bytes > self.store_bytes {
            return Err(Refusal::TooMuchData { bytes, allowed: self.store_bytes });
        }
        let update_bytes = 4 * specification.training.network.parameters() as u64;
        let bytes = update_bytes.saturating_mul(specification.results_at_once());
        if bytes > self.updates_bytes_max {
            let of_blocks = specification.training.recipe.merges_gradients();
            return Err(Refusal::Updates { bytes, allowed: self.updates_bytes_max, of_blocks });
        }
        let memory = CoordinatorMemory::of(specification, self.memory.means);
        let allowed = self.memory.allowed_bytes;
        if memory.bytes() > allowed {
            return Err(Refusal::Memory { bytes: memory.bytes(), allowed });
        }
        if let Err((bytes, free)) = self.has_memory_for(memory) {
            return Err(Refusal::NoMemory { bytes, free });
        }
        // Of another, what is held for a job counts once. What is only on its way may be overtaken.
        let free = self.store_bytes.saturating_sub(self.complete.bytes);
        let new = objects.iter().filter(|(digest, _)| !self.complete.holds(digest));
        let bytes = new.fold(0u64, |sum, (_, &bytes)| sum.saturating_add(bytes));
        if bytes > free {
            return Err(Refusal::NoRoom { bytes, free });
        }
        self.check_share(address, bytes, free)
    }

    /// Takes a new job in.
    pub(super) fn insert(
        &mut self,
        id: JobId,
        specification: Arc<Specification>,
        submitted_ms: u64,
        owner: Option<IpAddr>,
    ) -> &mut Job {
        let job = self.new_job(specification, submitted_ms, owner);
        self.make_room(&job);
        self.open.entry(id).insert_entry(job).into_mut()
    }

    /// A job of which nothing is here yet.
    fn new_job(&self, specification: Arc<Specification>, submitted_ms: u64, owner: Option<IpAddr>) -> Job {
        let objects = objects_of(&specification);
        let bytes = specification_bytes(&specification) + objects.values().sum::<u64>();
        let memory = CoordinatorMemory::of(&specification, self.memory.means);
        Job {
            memory,
            unread: None,
            is_validated: false,
            injected: InjectedLoad::default(),
            network: Arc::new(specification.training.network.clone()),
            specification,
            watchers: Vec::new(),
            missing: objects.keys().copied().collect(),
            bytes,
            bytes_here: 0,
            asked: Vec::new(),
            owner,
            collects_since: net::now(),
            objects,
            validation: None,
            test: None,
            base: None,
            best: None,
            confusion: None,
            rounds: DurableRounds::default(),
            untold: VecDeque::new(),
            unwritten: VecDeque::new(),
            handover: Handover::default(),
            submitted_ms,
            is_written: false,
            goes_on: false,
            written: None,
            is_running: false,
            paused: None,
        }
    }

    /// Takes in a job from before the start, with its data.
    pub(super) fn restore(&mut self, restored: Restored) -> Result<(), String> {
        let Restored { state, rounds, weights, best, objects, .. } = restored;
        let id = state.job();
        // Some may watch a job that was not read at first.
        let watchers = self.open.remove(&id).map_or(Vec::new(), |job| {
            self.uncount(&job);
            job.watchers
        });
        objects.into_iter().for_each(|(digest, bytes)| self.store.insert_pinned(digest, bytes));
        let job = self.insert(id, state.specification.clone(), state.status.submitted_ms, None);
        job.missing.clear();
        let kept: Vec<(Digest, u64)> = job.objects().collect();
        job.is_written = true;
        job.goes_on = true;
        job.watchers = watchers;
        job.rounds.extend(&rounds);
        job.best = best;
        job.written = state.progress.as_ref().map(|progress| progress.base);
        job.paused =
            state.status.failure.filter(|_| state.status.state == JobState::Paused).map(|failure| (failure, true));
        kept.iter().for_each(|(digest, bytes)| self.here.add(*digest, *bytes));
        self.is_complete(id);
        if let Some(weights) = weights {
            self.set_base(id, weights);
        }
        self.open_data(id)
    }

    /// All of a job's data is here.
    fn is_complete(&mut self, id: JobId) {
        if let Some(job) = self.open.get(&id) {
            job.objects().for_each(|(digest, bytes)| self.complete.add(digest, bytes));
            self.complete.bytes += specification_bytes(&job.specification);
        }
        self.room.keep(self.here.bytes);
    }

    /// What is told of a job that has not ended.
    pub(super) fn status(&self, id: JobId, state: JobState, queue_position: u32) -> Option<JobStatus> {
        let job = self.open.get(&id)?;
        let failure = job.paused.as_ref().filter(|_| state == JobState::Paused).map(|(failure, _)| failure.clone());
        Some(JobStatus {
            job: id,
            state,
            failure,
            rounds_done: job.rounds.done(),
            rounds: job.specification.rounds,
            queue_position,
            submitted_ms: job.submitted_ms,
            ended_ms: 0,
            fingerprint: None,
            weights: job.written.filter(|_| state.has_failure()),
        })
    }

    /// The jobs that have not ended.
    pub(super) fn ids(&self) -> Vec<JobId> {
        self.open.keys().copied().collect()
    }

    /// Has the job's missing objects fetched from whoever watches it and gives them, the latest first. Those that are
    /// here already are not fetched. Returns the jobs, this one or others, that are complete for that.
    pub(super) fn collect(&mut self, id: JobId) -> Vec<JobId> {
        let missing: Vec<Digest> = self.get(id).map_or(Vec::new(), |job| job.missing.iter().copied().collect());
        let complete = missing.into_iter().flat_map(|digest| self.arrived(digest)).collect();
        let Some(job) = self.open.get(&id) else { return complete };
        let Some(watcher) = job.source() else { return complete };
        let (client, wanted) =
            (watcher.client.clone(), job.missing.iter().map(|digest| (*digest, job.objects[digest])));
        wanted.for_each(|(digest, bytes)| client.want(digest, bytes));
        if let Some(job) = self.open.get_mut(&id)
            && !job.asked.contains(&client.key)
        {
            job.asked.push(client.key);
        }
        complete
    }

    /// An object has come, and was pinned until the jobs that wait for it have it. Returns those that are complete now.
    pub(super) fn arrived_pinned(&mut self, digest: Digest) -> Vec<JobId> {
        let complete = self.arrived(digest);
        self.store.unpin(&digest);
        complete
    }

    /// An object may be in the store: pins it for every job that waits for it. Returns the jobs that are complete now.
    fn arrived(&mut self, digest: Digest) -> Vec<JobId> {
        let mut complete = Vec::new();
        for (&id, job) in &mut self.open {
            if job.missing.contains(&digest) && self.store.pin(&digest) {
                job.missing.remove(&digest);
                job.bytes_here += job.objects[&digest];
                self.here.add(digest, job.objects[&digest]);
                if job.missing.is_empty() {
                    complete.push(id);
                }
            }
        }
        complete.iter().for_each(|id| self.is_complete(*id));
        self.room.keep(self.here.bytes);
        complete
    }

    /// Checks a complete job's objects against its specification, and decodes the validation rows. Weights to start from are
    /// looked at until the job has weights of its own.
    pub(super) fn open_data(&mut self, id: JobId) -> Result<(), String> {
        let Some(job) = self.open.get_mut(&id) else { return Ok(()) };
        let network = &job.network;
        let mut decoded = HashMap::new();
        let specification = job.specification.clone();
        let shards = specification.shards.iter().enumerate().map(|(index, rows)| (format!("shard {index}"), rows));
        let validation = ("the validation data".to_owned(), &specification.validation);
        let test = specification.test.iter().map(|test| ("the test data".to_owned(), test));
        for (what, rows) in shards.chain([validation]).chain(test) {
            let is_validation = *rows == specification.validation;
            let is_test = Some(*rows) == specification.test;
            let wrong_count = |found| format!("{what} has {found} rows, and the specification says {}", rows.rows);
            // Shards may be the same object: it is decoded once, but counted for each.
            match decoded.get(&rows.digest) {
                Some(&found) if found != rows.rows as usize => return Err(wrong_count(found)),
                Some(_) if !is_validation && !is_test => continue,
                _ => {}
            }
            let bytes = self.store.get(&rows.digest).ok_or_else(|| format!("{what} is gone"))?;
            let loss = specification.training.recipe.loss;
            let parts = object::decode_rows(network, loss, &bytes).map_err(|error| format!("{what}: {error}"))?;
            let found = parts.targets.rows();
            if found != rows.rows as usize {
                return Err(wrong_count(found));
            }
            decoded.insert(rows.digest, found);
            let rows = Rows::of_parts(network.input_layout(), parts).map_err(|error| format!("{what}: {error}"))?;
            if is_validation || is_test {
                let rows = Arc::new(rows.into_owned());
                job.validation = is_validation.then(|| rows.clone()).or(job.validation.take());
                job.test = is_test.then_some(rows).or(job.test.take());
            }
        }
        if let Some(initial) = specification.initial.filter(|_| job.base.is_none()) {
            let bytes = self.store.get(&initial).ok_or("the initial weights are gone")?;
            object::parameters(ObjectKind::Weights, network, &bytes)
                .map_err(|error| format!("the initial weights: {error}"))?;
        }
        Ok(())
    }

    /// The bytes of the weights that the job starts from, where it names some.
    pub(super) fn initial(&mut self, id: JobId) -> Option<Arc<Vec<u8>>> {
        let initial = self.open.get(&id)?.specification.initial?;
        self.store.get(&initial)
    }

    /// New weights are the job's base.
    pub(super) fn set_base(&mut self, id: JobId, weights: Weights) {
        let Some(job) = self.open.get_mut(&id) else { return };
        self.store.insert_pinned(weights.digest, weights.bytes.clone());
        job.base = Some(weights);
    }

    /// Lets go of the base weights, from which no task is to be trained any more, and gives them out: the weights after
    /// them take their memory.
    pub(super) fn take_base(&mut self, id: JobId) -> Option<Weights> {
        let base = self.open.get_mut(&id)?.base.take()?;
        self.store.unpin(&base.digest);
        self.store.remove(&base.digest);
        Some(base)
    }

    /// A client does not give an object, or, where none is named, any. Returns the jobs that wait for it and had asked
    /// that client, each with whether there is still somebody to ask. Jobs of others are not touched.
    pub(super) fn source_failed(&mut self, client: ClientKey, digest: Option<&Digest>) -> Vec<(JobId, bool)> {
        let mut failed = Vec::new();
        for (&id, job) in &mut self.open {
            let waits = digest.map_or(!job.missing.is_empty(), |digest| job.missing.contains(digest));
            let asked = |watcher: &&mut Watcher| watcher.gives_data && watcher.client.key == client;
            if waits && job.watchers.iter_mut().filter(asked).map(|watcher| watcher.gives_data = false).count() > 0 {
                failed.push((id, job.source().is_some()));
            }
        }
        failed
    }

    /// A client has gone: it watches no more. Returns as [`Jobs::source_failed`] does.
    pub(super) fn client_gone(&mut self, client: ClientKey) -> Vec<(JobId, bool)> {
        let failed = self.source_failed(client, None);
        for job in self.open.values_mut() {
            job.watchers.retain(|watcher| watcher.client.key != client);
        }
        failed
    }

    /// The job that this request watches, and whether it has submitted it.
    pub(super) fn watched_by(&self, client: ClientKey, request: u32) -> Option<(JobId, bool)> {
        let same = |watcher: &&Watcher| watcher.client.key == client && watcher.request == request;
        self.open.iter().find_map(|(&id, job)| Some((id, job.watchers.iter().find(same)?.is_submitter)))
    }

    /// A request watches no more.
    pub(super) fn stop_watching(&mut self, id: JobId, client: ClientKey, request: u32) {
        if let Some(job) = self.open.get_mut(&id) {
            job.watchers.retain(|watcher| watcher.client.key != client || watcher.request != request);
        }
    }

    /// Lets go of all that was held for the job. Its last weights stay in the store for a while, to be fetched, and what came of
    /// its validation rows. Returns what
    /// was on its way for no other job, and from whom.
    pub(super) fn release(&mut self, id: JobId) -> (Vec<Digest>, Vec<ClientKey>) {
        let Some(mut job) = self.open.remove(&id) else { return (Vec::new(), Vec::new()) };
        self.uncount(&job);
        let others: Vec<&Job> = self.open.values().filter(|other| !other.is_complete()).collect();
        let mut missing = std::mem::take(&mut job.missing);
        let asked = std::mem::take(&mut job.asked);
        self.unpin(&job, &missing);
        for (digest, bytes) in job.best.into_iter().chain(job.confusion) {
            self.store.insert(digest, bytes);
        }
        missing.retain(|digest| !others.iter().any(|other| other.missing.contains(digest)));
        (missing.into_iter().collect(), asked)
    }

    /// A job is done, and nothing is written: what came of it stays until [`Jobs::let_results_go`].
    pub(super) fn hold_result(&mut self, id: JobId, weights: Digest) {
        let Some(job) = self.open.get(&id) else { return };
        let weights = job.weights(&weights).map(|bytes| (weights, bytes));
        let objects = weights.into_iter().chain(job.confusion.clone()).collect();
        self.results.hold(&self.store, id, objects);
    }

    /// What came of these jobs is on its way to nobody.
    pub(super) fn let_results_go(&mut self, can_go: impl Fn(JobId) -> bool) {
        self.results.let_go(&self.store, can_go);
    }

    /// What a job has is not counted any more.
    fn uncount(&mut self, job: &Job) {
        job.objects.keys().filter(|digest| !job.missing.contains(digest)).for_each(|digest| self.here.remove(digest));
        if job.is_complete() {
            job.objects.keys().for_each(|digest| self.complete.remove(digest));
            self.complete.bytes -= specification_bytes(&job.specification);
        }
        self.room.keep(self.here.bytes);
    }

    /// Lets what a job has go from the store, but for what is missing.
    fn unpin(&self, job: &Job, missing: &HashSet<Digest>) {
        job.objects.keys().filter(|digest| !missing.contains(digest)).for_each(|digest| self.store.unpin(digest));
        if let Some(base) = &job.base {
            self.store.unpin(&base.digest);
        }
    }
}

impl Job {
    /// Whether it waits for nothing but that other jobs end.
    pub(super) fn awaits_others(&self) -> bool {
        self.unread.as_ref().is_some_and(|unread| unread.awaits_others)
    }

    /// Whether all of its data is here.
    pub(super) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Its objects, and their sizes.
    fn objects(&self) -> impl Iterator<Item = (Digest, u64)> {
        self.objects.iter().map(|(digest, bytes)| (*digest, *bytes))
    }

    /// Whom its data is had from: the latest watcher that gives it.
    pub(super) fn source(&self) -> Option<&Watcher> {
        self.watchers.iter().rev().find(|watcher| watcher.gives_data)
    }

    /// The bytes of these weights of it, if it has them: its base, or those of its best round.
    pub(super) fn weights(&self, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        let base = self.base.iter().map(|weights| (&weights.digest, &weights.bytes));
        let mut held = base.chain(self.best.iter().map(|(digest, bytes)| (digest, bytes)));
        held.find(|(held, _)| *held == digest).map(|(_, bytes)| bytes.clone())
    }

    /// The weights after a round that is to be written.
    pub(super) fn take_unwritten(&mut self, weights: &Digest) -> Option<Weights> {
        let place = self.unwritten.iter().position(|unwritten| unwritten.digest == *weights)?;
        self.unwritten.drain(..=place).next_back()
    }
}

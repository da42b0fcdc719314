//! What the coordinator holds for each job on the engine's behalf: its specification, its data, its weights, who
//! watches it, and how it ended. Does not decide when a job runs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::data::{Kept, objects_of, specification_bytes};
use super::durable_rounds::DurableRounds;
use super::handles::ClientKey;
use super::journal::{JobMemory, Restored};
use super::room::Room;
use super::settings::Settings;
use super::status::Open;
use super::watcher::Watcher;
use super::work::Weights;
use crate::digest::Digest;
use crate::job::memory::{CoordinatorMemory, in_mib};
use crate::job::{FailReason, Failure, JobId, JobState, JobStatus, RoundSummary, Specification};
use crate::model::{Network, Rows};
use crate::net::{self, IpAddr};
use crate::store::Store;
use crate::wire::message::Error;
use crate::wire::object::{self, ObjectKind};
use crate::wire::{ErrorCode, MessageType, limits};

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
    /// The weights of the current step, but while the next are made of them; their object is pinned in the store.
    pub(super) base: Option<Weights>,
    /// Rounds that are durable.
    pub(super) rounds: DurableRounds,
    /// Rounds that are not: nobody is told of them yet.
    pub(super) untold: VecDeque<RoundSummary>,
    /// Weights of rounds that are not yet ordered to be written.
    pub(super) unwritten: VecDeque<Weights>,
    pub(super) submitted_ms: u64,
    /// Whether it is being written; not before its data is here.
    pub(super) is_written: bool,
    /// Whether it has run before, perhaps: nodes may hold results of it.
    pub(super) goes_on: bool,
    /// The weights after the last step that was ordered to be written down.
    pub(super) written: Option<Digest>,
    /// Why it is paused, if it is, and whether that is durable.
    pub(super) paused: Option<(Failure, bool)>,
    /// It is in the journal and nothing of it is here.
    pub(super) unread: Option<Unread>,
    /// Whether it was validated since the start.
    pub(super) is_validated: bool,
}

/// A job that was not read at the start.
pub(super) struct Unread {
    /// Because it would not have fitted; it goes on by itself once it does.
    lacks_memory: bool,
    /// It is being read now.
    is_asked_for: bool,
}

/// Why a submission is turned away before the engine sees it.
pub(super) enum Refusal {
    /// It has the id that no job has.
    Nil,
    /// Its arithmetic is not known here.
    Arithmetic { got: u16 },
    /// One of its objects is too large.
    Object { bytes: u64, allowed: u64 },
    /// Its data does not fit, whatever else there is.
    TooMuchData { bytes: u64, allowed: u64 },
    /// Its data does not fit beside that of other jobs.
    NoRoom { bytes: u64, free: u64 },
    /// It takes more memory than there may be, whatever else there is.
    Memory { bytes: u64, allowed: u64 },
    /// It does beside other jobs.
    NoMemory { bytes: u64, free: u64 },
    /// Its merge needs all updates of a step at once, or the gradients of all its blocks, and there is no room for so many.
    Updates { bytes: u64, allowed: u64, of_blocks: bool },
    /// As many jobs wait for their data as may, and nobody has more of them than its client would have.
    Collecting { got: u64 },
    /// Few places are left, and its address has its share of them.
    PlacesShare { got: u64, allowed: u64 },
    /// Few bytes are left, and its address has its share of them.
    BytesShare { got: u64, allowed: u64 },
}

impl Refusal {
    pub(super) fn error(&self) -> Error {
        let (code, retry, got, allowed) = match *self {
            Self::Nil => (ErrorCode::Specification, false, 0, 1),
            Self::Arithmetic { got } => (ErrorCode::Arithmetic, false, got.into(), crate::model::ARITHMETIC.into()),
            Self::Object { bytes, allowed } => (ErrorCode::ObjectTooLarge, false, bytes, allowed),
            Self::TooMuchData { bytes, allowed } => (ErrorCode::ObjectTooLarge, false, bytes, allowed),
            Self::NoRoom { bytes, free } => (ErrorCode::Busy, true, bytes, free),
            Self::Memory { bytes, allowed } => (ErrorCode::Memory, false, bytes, allowed),
            Self::NoMemory { bytes, free } => (ErrorCode::Busy, true, bytes, free),
            Self::Updates { bytes, allowed, .. } => (ErrorCode::ObjectTooLarge, false, bytes, allowed),
            Self::Collecting { got } => (ErrorCode::Busy, true, got, limits::COLLECTING_JOBS_MAX as u64),
            Self::PlacesShare { got, allowed } | Self::BytesShare { got, allowed } => {
                (ErrorCode::Busy, true, got, allowed)
            }
        };
        Error { code, about: MessageType::Submit as u8, retry, got, allowed, text: self.to_string() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("a job's id is not 0, which stands for all jobs: take another, at random"),
            Self::Arithmetic { got } => write!(f, "the job wants arithmetic {got}, which is not known here"),
            Self::Object { bytes, allowed } => {
                write!(
                    f,
                    "one of the job's objects has {bytes} bytes, and at most {allowed} are allowed: take more shards"
                )
            }
            Self::TooMuchData { bytes, allowed } => {
                write!(f, "the job's data has {bytes} bytes, and this coordinator keeps at most {allowed}")
            }
            Self::Updates { bytes, allowed, of_blocks } => {
                let (all, fewer) = match of_blocks {
                    false => ("updates of a round", "fewer shards"),
                    true => ("gradients of a step's blocks", "a smaller batch"),
                };
                write!(
                    f,
                    "this merge needs all {all} at once, {bytes} bytes, and this coordinator keeps at most {allowed}: take \
                     {fewer}, or the mean"
                )
            }
            Self::Collecting { .. } => {
                let allowed = limits::COLLECTING_JOBS_MAX;
                write!(f, "the data of {allowed} jobs is on its way, as much as may be: try again later")
            }
            Self::PlacesShare { allowed, .. } => write!(
                f,
                "few places are left for jobs, and your address has its share, {allowed}: try again when one of them has ended"
            ),
            Self::BytesShare { got, allowed } => write!(
                f,
                "little room is left for data, and your address would have {got} bytes, while its share is {allowed}: try again \
                 when one of its jobs has ended"
            ),
            Self::Memory { bytes, allowed } => write!(
                f,
                "the job takes {} of the coordinator's memory, and {} are allowed: take a smaller network, or start the \
                 coordinator with more (--memory)",
                in_mib(*bytes),
                in_mib(*allowed)
            ),
            Self::NoMemory { bytes, free } => write!(
                f,
                "the job takes {} of the coordinator's memory, and {} are free until other jobs end: try again later",
                in_mib(*bytes),
                in_mib(*free)
            ),
            Self::NoRoom { bytes, free } => {
                write!(
                    f,
                    "of the job's data {bytes} bytes are not here yet, and {free} are free until other jobs end: try \
                     again later"
                )
            }
        }
    }
}

/// All jobs.
pub(super) struct Jobs {
    store: Arc<Store>,
    store_bytes: u64,
    room: Room,
    open: HashMap<JobId, Job>,
    /// What is here of their data, and what is here of those that are complete.
    here: Kept,
    complete: Kept,
    /// Jobs that were given up where nothing is written, the first of them first: they make room for others.
    kept: VecDeque<(JobId, Job)>,
    /// The largest object that a job may have.
    object_bytes_max: u64,
    /// Bytes that the updates of one step, or its blocks' gradients, may have where all of them are kept at once.
    updates_bytes_max: u64,
    memory: JobMemory,
}

impl Jobs {
    pub(super) fn new(store: Arc<Store>, room: Room, settings: &Settings) -> Jobs {
        Jobs {
            store,
            store_bytes: settings.data_bytes(),
            room,
            open: HashMap::new(),
            here: Kept::default(),
            complete: Kept::default(),
            kept: VecDeque::new(),
            object_bytes_max: settings.object_bytes,
            updates_bytes_max: settings.round_bytes(),
            memory: settings.job_memory(),
        }
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    pub(super) fn store_bytes(&self) -> u64 {
        self.store_bytes
    }

    /// Every job that has not ended.
    pub(super) fn each(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.open.iter().map(|(&id, job)| (id, job))
    }

    /// What those jobs take together: one at a time works, all others are kept.
    fn taken(&self) -> CoordinatorMemory {
        self.open.values().fold(CoordinatorMemory::default(), |taken, job| taken.beside(job.memory))
    }

    /// Whether there is memory for a job that takes so much beside those that are there; if not, how much it takes, and how much
    /// there is. Jobs that were given up make room.
    fn has_memory_for(&self, memory: CoordinatorMemory) -> Result<(), (u64, u64)> {
        let taken = self.taken();
        let free = self.memory.allowed_bytes.saturating_sub(taken.kept_bytes());
        let needed = taken.beside(memory).bytes() - taken.kept_bytes();
        if needed > free { Err((needed, free)) } else { Ok(()) }
    }

    /// Takes in a job from before the start that was not read, for this reason: of it nothing is here. One that waited to be
    /// resumed already still does.
    pub(super) fn restore_unread(&mut self, restored: Restored, reason: FailReason) -> FailReason {
        let Restored { state, rounds, .. } = restored;
        let lacks_memory = matches!(reason, FailReason::TooLarge { .. });
        let waited = state.status.failure.filter(|_| lacks_memory && state.status.state == JobState::Paused);
        let failure = waited.clone().unwrap_or_else(|| Failure::paused(&reason));
        let lacks_memory = lacks_memory && waited.is_none();
        let mut job = self.new_job(state.specification.clone(), state.status.submitted_ms, None);
        job.objects.clear();
        job.missing.clear();
        job.is_written = true;
        job.rounds.extend(&rounds);
        job.written = state.progress.as_ref().map(|progress| progress.base);
        job.memory = CoordinatorMemory::default();
        job.unread = Some(Unread { lacks_memory, is_asked_for: false });
        job.paused = Some((failure, true));
        self.open.insert(state.status.job, job);
        self.is_complete(state.status.job);
        waited.map_or(reason, FailReason::Recorded)
    }

    /// Whether a job is not read, and may be now; then it counts as asked for. One that has not been read for want of memory
    /// may be once there is enough.
    pub(super) fn may_read(&mut self, id: JobId) -> bool {
        let Some(job) = self.open.get(&id) else { return false };
        let memory = CoordinatorMemory::of(&job.specification, self.memory.means);
        let is_room = self.has_memory_for(memory).is_ok();
        let Some(job) = self.open.get_mut(&id) else { return false };
        let Some(unread) = job.unread.as_mut().filter(|unread| is_room && !unread.is_asked_for) else { return false };
        unread.is_asked_for = true;
        job.paused = None;
        job.memory = memory;
        true
    }

    /// Jobs that have not been read for want of memory, those that came first first.
    pub(super) fn await_memory(&self) -> Vec<JobId> {
        let lacks = |job: &Job| job.unread.as_ref().is_some_and(|unread| unread.lacks_memory && !unread.is_asked_for);
        let mut waiting: Vec<_> =
            self.open.iter().filter(|(_, job)| lacks(job)).map(|(&id, job)| (job.submitted_ms, id)).collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, id)| id).collect()
    }

    /// Leaves a job that is about to run, or to end, the memory that it takes: what is kept for nobody goes.
    pub(super) fn make_way(&self, running: Option<JobId>) {
        let running = running.and_then(|job| self.open.get(&job));
        let working_bytes = running.map_or(0, |job| job.memory.working_bytes);
        self.store.limit(self.store_bytes.min(self.memory.allowed_bytes.saturating_sub(working_bytes)));
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
        // A job that is known brings nothing new.
        if self.open.contains_key(&job) {
            return Ok(());
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
            base: None,
            rounds: DurableRounds::default(),
            untold: VecDeque::new(),
            unwritten: VecDeque::new(),
            submitted_ms,
            is_written: false,
            goes_on: false,
            written: None,
            paused: None,
        }
    }

    /// Lets go of jobs that were given up, for as long as there is no room for this one beside them.
    fn make_room(&mut self, new: &Job) {
        while !self.kept.is_empty() {
            let jobs = self.open.values().chain(self.kept.iter().map(|(_, job)| job)).chain([new]);
            let held: HashMap<_, _> = jobs.flat_map(|job| &job.objects).collect();
            let kept = self.kept.iter().map(|(_, job)| CoordinatorMemory { working_bytes: 0, ..job.memory });
            let taken = kept.fold(self.taken().beside(new.memory), CoordinatorMemory::beside);
            let bytes = held.values().fold(0u64, |sum, &&bytes| sum.saturating_add(bytes));
            if bytes <= self.store_bytes && taken.bytes() <= self.memory.allowed_bytes {
                return;
            }
            if let Some((_, job)) = self.kept.pop_front() {
                self.unpin(&job, &job.missing);
            }
        }
    }

    /// A job was given up, and nothing of it is written: it stays in memory until others need the room, or it is forgotten.
    pub(super) fn keep(&mut self, id: JobId) {
        let Some(mut job) = self.open.remove(&id) else { return };
        // Its data do not count beside those of others, since they make room for them.
        self.uncount(&job);
        // It goes on from what is recorded of it; from its beginning, if nothing is.
        if let Some(base) = job.base.take_if(|base| job.written != Some(base.digest)) {
            self.store.unpin(&base.digest);
        }
        if job.base.is_some() || job.written.is_none() {
            self.kept.push_back((id, job));
        } else {
            self.unpin(&job, &job.missing);
        }
    }

    /// Whether a job that was given up is kept.
    pub(super) fn keeps(&self, id: JobId) -> bool {
        self.kept.iter().any(|(kept, _)| *kept == id)
    }

    /// A job that has ended is known no more.
    pub(super) fn forget(&mut self, id: JobId) {
        if let Some(place) = self.kept.iter().position(|(kept, _)| *kept == id)
            && let Some((_, job)) = self.kept.remove(place)
        {
            self.unpin(&job, &job.missing);
        }
    }

    /// Takes a job in again that was given up, from memory or with what the journal has read back.
    pub(super) fn reopen(&mut self, restored: Restored) -> Result<(), String> {
        let id = restored.state.job();
        let Some(place) = self.kept.iter().position(|(kept, _)| *kept == id) else { return self.restore(restored) };
        if let Some((_, mut job)) = self.kept.remove(place) {
            self.make_room(&job);
            job.rounds = DurableRounds::default();
            job.rounds.extend(&restored.rounds);
            job.goes_on = true;
            job.objects().for_each(|(digest, bytes)| self.here.add(digest, bytes));
            self.open.insert(id, job);
            self.is_complete(id);
        }
        Ok(())
    }

    /// Takes in a job from before the start, with its data.
    pub(super) fn restore(&mut self, restored: Restored) -> Result<(), String> {
        let Restored { state, rounds, weights, objects, .. } = restored;
        let id = state.job();
        // Some may watch a job that was not read at first.
        let watchers = self.open.remove(&id).map_or(Vec::new(), |job| {
            self.uncount(&job);
            job.watchers
        });
        for (digest, bytes) in objects {
            self.store.insert(digest, bytes);
            self.store.pin(&digest);
        }
        let job = self.insert(id, state.specification.clone(), state.status.submitted_ms, None);
        job.missing.clear();
        let kept: Vec<(Digest, u64)> = job.objects().collect();
        job.is_written = true;
        job.goes_on = true;
        job.watchers = watchers;
        job.rounds.extend(&rounds);
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

    /// An object may be in the store: pins it for every job that waits for it. Returns the jobs that are complete now.
    pub(super) fn arrived(&mut self, digest: Digest) -> Vec<JobId> {
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
        for (what, rows) in shards.chain([("the validation data".to_owned(), &specification.validation)]) {
            let is_validation = *rows == specification.validation;
            let wrong_count = |found| format!("{what} has {found} rows, and the specification says {}", rows.rows);
            // Shards may be the same object: it is decoded once, but counted for each.
            match decoded.get(&rows.digest) {
                Some(&found) if found != rows.rows as usize => return Err(wrong_count(found)),
                Some(_) if !is_validation => continue,
                _ => {}
            }
            let bytes = self.store.get(&rows.digest).ok_or_else(|| format!("{what} is gone"))?;
            let loss = specification.training.recipe.loss;
            let (values, targets) =
                object::decode_rows(network, loss, &bytes).map_err(|error| format!("{what}: {error}"))?;
            let found = targets.rows();
            if found != rows.rows as usize {
                return Err(wrong_count(found));
            }
            decoded.insert(rows.digest, found);
            let rows = Rows::new(network.inputs(), values, targets).map_err(|error| format!("{what}: {error}"))?;
            if is_validation {
                job.validation = Some(Arc::new(rows.into_owned()));
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
        self.store.insert(weights.digest, weights.bytes.clone());
        self.store.pin(&weights.digest);
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

    /// Lets go of all that was held for the job. Its last weights stay in the store for a while, to be fetched. Returns what
    /// was on its way for no other job, and from whom.
    pub(super) fn release(&mut self, id: JobId) -> (Vec<Digest>, Vec<ClientKey>) {
        let Some(mut job) = self.open.remove(&id) else { return (Vec::new(), Vec::new()) };
        self.uncount(&job);
        let others: Vec<&Job> = self.open.values().filter(|other| !other.is_complete()).collect();
        let mut missing = std::mem::take(&mut job.missing);
        let asked = std::mem::take(&mut job.asked);
        self.unpin(&job, &missing);
        missing.retain(|digest| !others.iter().any(|other| other.missing.contains(digest)));
        (missing.into_iter().collect(), asked)
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

    /// The weights after a round that is to be written.
    pub(super) fn take_unwritten(&mut self, weights: &Digest) -> Option<Weights> {
        let place = self.unwritten.iter().position(|unwritten| unwritten.digest == *weights)?;
        self.unwritten.drain(..=place).next_back()
    }
}

//! Lives of a coordinator's journal on a disk that forgets, fails, fills up, rots and is slow: jobs come, take steps, are paused
//! and resumed, end, are given up and taken up again, and are forgotten, while the power goes and the program is killed in the
//! middle of any call. Owns what a life does by its seed, and what must be so of the journal whenever it is read again.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::writer::Stop as Halt;
use super::orders::{CONFUSION, entries_of, progress_of, record, round_steps, summary, weights_of};
use super::recall::recalled;
use super::within_rounds::in_steps;
use super::*;
use crate::coordinator::lived::LivedRecord;
use crate::disk::tests::simulated::{SimulatedDisk, Stop};

/// Two directories deep in what is there: the journal makes them.
const PATH: &str = "/srv/gradwire/coordinator-5105";
/// Jobs that are open at the same time.
const OPEN_MAX: usize = 3;
/// A job goes on by a record in so much of the disk's time.
const RECORD_US: u64 = 1_000;

/// What came about in some lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) power_cuts: u32,
    pub(super) kills: u32,
    /// Jobs that were read back at a moment that had been told as durable or a later one.
    pub(super) resumed: u32,
    /// Jobs that were read back as they were earlier, since what came later was damaged; and it was said.
    pub(super) repaired: u32,
    /// Jobs that were refused, with words.
    pub(super) refused: u32,
    /// Times that the journal ended the coordinator since the disk did not do what it must.
    pub(super) given_up: u32,
    /// Models of jobs that had ended, fetched.
    pub(super) models: u32,
    pub(super) forgotten: u32,
    /// Jobs that had been given up, and went on.
    pub(super) reopened: u32,
}

impl Tally {
    pub(super) fn and(self, other: Tally) -> Tally {
        Tally {
            power_cuts: self.power_cuts + other.power_cuts,
            kills: self.kills + other.kills,
            resumed: self.resumed + other.resumed,
            repaired: self.repaired + other.repaired,
            refused: self.refused + other.refused,
            given_up: self.given_up + other.given_up,
            models: self.models + other.models,
            forgotten: self.forgotten + other.forgotten,
            reopened: self.reopened + other.reopened,
        }
    }
}

/// What may happen to a life's disk beside that it stops.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    has_errors: bool,
    fills_up: bool,
    rots: bool,
}

/// How a job stood after some order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    steps: u64,
    state: JobState,
}

/// A job as it was ordered.
struct Ordered {
    id: JobId,
    specification: Arc<Specification>,
    moments: Vec<Moment>,
    /// The moments that the journal was about to write.
    tried: Vec<usize>,
    /// The last one that it has written.
    durable: Option<usize>,
    /// Moments that the disk did not give at some start, and may give at another.
    set_back: Vec<Moment>,
    /// The disk did not give it at the last start: nobody does anything with it.
    is_unread: bool,
    /// The order to forget it was given; it was carried out.
    is_forgotten: bool,
    is_gone: bool,
}

impl Ordered {
    fn last(&self) -> Moment {
        self.moments[self.moments.len() - 1]
    }

    fn has_ended(&self) -> bool {
        matches!(self.last().state, JobState::Done | JobState::Failed | JobState::Cancelled)
    }
}

/// A life in the making.
struct Life {
    rng: ChaCha8Rng,
    disk: SimulatedDisk,
    weather: Weather,
    jobs: Vec<Ordered>,
    submitted: u128,
    /// For how long coordinators have run, and for how long by what is surely written.
    lived_ms: u64,
    written_ms: u64,
    tail_bytes_max: usize,
    kept_bytes_max: u64,
    ended_bytes_max: u64,
    on_disk_error: OnDiskError,
    /// Warnings since everything was last read to the end.
    heard: Vec<String>,
    /// The journal as a whole is refused.
    is_over: bool,
    tally: Tally,
}

/// Lives the life of this seed; what is wrong with it, if something is. Syncs of what is named are forgotten.
pub(super) fn live(seed: u64, forgets: Option<fn(&Path) -> bool>) -> Result<Tally, String> {
    live_on(&SimulatedDisk::new(seed), seed, forgets)
}

/// The last of what that life had done to its disk when it went wrong.
pub(super) fn last_calls(seed: u64) -> String {
    let disk = SimulatedDisk::new(seed);
    disk.record();
    let _ = live_on(&disk, seed, None);
    let calls = disk.recorded();
    calls[calls.len().saturating_sub(400)..].join("\n")
}

fn live_on(disk: &SimulatedDisk, seed: u64, forgets: Option<fn(&Path) -> bool>) -> Result<Tally, String> {
    heard::listen();
    disk.do_less();
    if let Some(forgets) = forgets {
        disk.forget_syncs(forgets);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let weather = match rng.random_range(0..8) {
        0 => Weather { has_errors: true, ..Weather::default() },
        1 => Weather { fills_up: true, ..Weather::default() },
        2 => Weather { rots: true, ..Weather::default() },
        3 => Weather { has_errors: true, fills_up: true, rots: true },
        _ => Weather::default(),
    };
    let mut life = Life {
        disk: disk.clone(),
        weather,
        jobs: Vec::new(),
        submitted: 0,
        lived_ms: 9_000,
        written_ms: 0,
        tail_bytes_max: *pick(&mut rng, &[0, 600, TAIL_BYTES_MAX]),
        kept_bytes_max: *pick(&mut rng, &[0, 1_000, KEPT_WEIGHTS_BYTES_MAX]),
        ended_bytes_max: *pick(&mut rng, &[0, 8_000, u64::MAX]),
        on_disk_error: *pick(&mut rng, &[OnDiskError::Stop, OnDiskError::Continue]),
        heard: Vec::new(),
        is_over: false,
        tally: Tally::default(),
        rng,
    };
    for _ in 0..life.rng.random_range(1..=5) {
        if !life.is_over {
            life.run(true)?;
        }
    }
    if !life.is_over {
        // On a disk that does what it should, whatever it did before.
        life.run(false)?;
    }
    Ok(life.tally)
}

fn pick<'a, T>(rng: &mut ChaCha8Rng, of: &'a [T]) -> &'a T {
    &of[rng.random_range(0..of.len())]
}

impl Life {
    /// One run of the coordinator: from its start to its end, of whatever kind.
    fn run(&mut self, is_stormy: bool) -> Result<(), String> {
        let mut how = Stop::Kill;
        let weather = if is_stormy { self.weather } else { Weather::default() };
        if is_stormy {
            how = if self.rng.random_range(0..4) > 0 { Stop::Power } else { Stop::Kill };
            let most = *pick(&mut self.rng, &[40, 400]);
            let steps = self.rng.random_range(0..most);
            self.disk.stop_after(steps, how);
            let errors = weather.has_errors.then(|| *pick(&mut self.rng, &[20, 200]));
            self.disk.fail_one_in(errors);
            self.disk.slow_down(*pick(&mut self.rng, &[100, 1_000, 10_000]));
        }
        let directory = Directory::open_on(Arc::new(self.disk.clone()), Path::new(PATH));
        let ended = match directory {
            Ok(directory) => self.serve(directory, weather, is_stormy),
            Err(OpenError::Disk(_)) if weather.has_errors || self.disk.stopped().is_some() => Ok(()),
            Err(OpenError::Format { .. }) if self.weather.rots => {
                // Its owner looks into it: no program goes on from here.
                self.tally.refused += self.jobs.len() as u32;
                self.is_over = true;
                Ok(())
            }
            Err(error) => Err(format!("the journal is refused: {error}")),
        };
        *(if self.disk.stopped().unwrap_or(how) == Stop::Power {
            &mut self.tally.power_cuts
        } else {
            &mut self.tally.kills
        }) += 1;
        self.disk.fill(false);
        self.disk.fail_one_in(None);
        self.disk.restart(how);
        if is_stormy && weather.rots && self.rng.random() {
            self.disk.rot();
        }
        ended
    }

    fn serve(&mut self, directory: Directory, weather: Weather, is_stormy: bool) -> Result<(), String> {
        let mut harness = Harness::of(directory);
        // Three power cuts in a row while a job is read leave it unread: that is for the tests of memory.
        harness.writer.underway = Underway::new(None);
        harness.writer.tail_bytes_max = self.tail_bytes_max;
        harness.writer.kept_bytes_max = self.kept_bytes_max;
        harness.writer.ended_bytes_max = self.ended_bytes_max;
        harness.writer.on_disk_error = self.on_disk_error;
        match harness.writer.recover() {
            _ if self.disk.stopped().is_some() => return Ok(()),
            Ok(restored) => self.check(&harness, &restored)?,
            Err(_) if weather.has_errors => return Ok(()),
            Err(error) => return Err(format!("the journal cannot be read: {error}")),
        }
        let orders = if is_stormy { self.rng.random_range(0..60) } else { 6 };
        let (mut given, mut busy_us) = (0, 0);
        while given < orders {
            if weather.fills_up {
                self.disk.fill(self.rng.random_range(0..4) == 0);
            }
            // What came while the disk was busy shares the next write.
            let batch = 1 + (busy_us / RECORD_US).min(8);
            given += batch;
            for _ in 0..batch {
                let order = self.next_order(&harness);
                assert!(harness.writer.take(order).is_ok(), "it does no more than to remember it");
            }
            let began_us = self.disk.clock_us();
            self.jobs.iter_mut().for_each(|job| job.tried.push(job.moments.len() - 1));
            let mut written = harness.writer.flush();
            let (told, too_much) = harness.heard();
            self.note_what_is_told(&told);
            self.note_what_is_durable(&harness);
            if written.is_ok() && self.rng.random_range(0..8) == 0 {
                written = self.write_lived(&mut harness);
            }
            if written.is_ok()
                && let Some(job) = too_much
            {
                written = self.forget(&mut harness, job);
            }
            busy_us = self.disk.clock_us() - began_us;
            if self.disk.stopped().is_some() {
                return Ok(());
            }
            if written.is_err() {
                self.tally.given_up += 1;
                let why = harness.failed.try_recv().map_or("no word".to_owned(), |why| why.to_string());
                let is_due = why.contains("cannot ") && (weather.has_errors || weather.fills_up);
                return if is_due { Ok(()) } else { Err(format!("it gave up: {why}")) };
            }
            if self.rng.random_range(0..4) == 0 && !weather.has_errors && !self.weather.rots {
                self.read(&harness)?;
            }
            if self.rng.random_range(0..4) == 0 {
                self.take_up_again(&mut harness, weather)?;
            }
        }
        Ok(())
    }

    /// Something that the engine might want to have written now.
    fn next_order(&mut self, harness: &Harness) -> JournalCommand {
        let is_open = |job: &Ordered| !job.has_ended() && !job.is_unread;
        let open: Vec<usize> = (0..self.jobs.len()).filter(|&job| is_open(&self.jobs[job])).collect();
        if open.is_empty() || open.len() < OPEN_MAX && self.rng.random_range(0..8) == 0 {
            return self.begin(harness);
        }
        let place = *pick(&mut self.rng, &open);
        let job = &mut self.jobs[place];
        let (id, last) = (job.id, job.last());
        let all = job.specification.steps();
        let dice = self.rng.random_range(0..16);
        let (moment, order) = if last.state == JobState::Paused {
            (Moment { state: JobState::Queued, ..last }, JournalCommand::Resume { job: id })
        } else if last.steps == all || dice == 0 {
            self.lived_ms += 1;
            let (state, failure) = match dice {
                _ if last.steps == all => (JobState::Done, None),
                0 if self.rng.random() => {
                    (JobState::Failed, failure(FailKind::TaskFailed, "shard 1 failed everywhere"))
                }
                _ => (JobState::Cancelled, Some(Failure::cancelled())),
            };
            let (rounds_done, ended_ms) = ((last.steps / round_steps(&job.specification)) as u32, self.lived_ms);
            let summary = (state == JobState::Done).then(|| Box::new(summary(&job.specification)));
            let fingerprint = summary.as_ref().map(|summary| summary.fingerprint);
            let status =
                JobStatus { state, failure, rounds_done, ended_ms, fingerprint, ..status(id, &job.specification) };
            let confusion = summary.is_some().then(|| Arc::new(CONFUSION.to_vec()));
            (Moment { state, ..last }, JournalCommand::End { status, summary, confusion, lived_ms: self.lived_ms })
        } else if dice == 1 {
            (Moment { state: JobState::Paused, ..last }, paused(id))
        } else {
            let round_end = (last.steps / round_steps(&job.specification) + 1) * round_steps(&job.specification);
            let end = round_end.min(last.steps + self.rng.random_range(1..=4));
            let (record, weights) = record(&job.specification, last.steps..end);
            let moment = Moment { steps: end, state: JobState::Running };
            (moment, JournalCommand::Steps { job: id, record: Box::new(record), weights: Some(weights.into()) })
        };
        job.moments.push(moment);
        order
    }

    fn begin(&mut self, harness: &Harness) -> JournalCommand {
        self.submitted += 1;
        let id = JobId(self.submitted);
        // Some jobs have the data of others. Those of merged gradients have an optimiser, as every job of an odd number has.
        let of = self.rng.random_range(1..=4);
        let specification = Arc::new(match self.rng.random_range(0..3) {
            0 => specification(JobId(of), &harness.store),
            1 => in_steps(JobId(of | 1), 1, &harness.store),
            _ => in_steps(JobId(of), 4, &harness.store),
        });
        let status = status(id, &specification);
        self.jobs.push(Ordered {
            id,
            specification: specification.clone(),
            moments: vec![Moment { steps: 0, state: JobState::Queued }],
            tried: Vec::new(),
            durable: None,
            set_back: Vec::new(),
            is_unread: false,
            is_forgotten: false,
            is_gone: false,
        });
        JournalCommand::Begin { status, specification }
    }

    fn forget(&mut self, harness: &mut Harness, id: JobId) -> Result<(), Halt> {
        self.tally.forgotten += 1;
        self.hear();
        let forgotten = harness.writer.take(JournalCommand::Forget { job: id });
        let is_gone = self.hear() == 0 && self.disk.stopped().is_none() && forgotten.is_ok();
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) {
            (job.is_forgotten, job.is_gone) = (true, is_gone);
        }
        forgotten
    }

    fn write_lived(&mut self, harness: &mut Harness) -> Result<(), Halt> {
        self.lived_ms += 1;
        self.hear();
        let record = LivedRecord { lived_ms: self.lived_ms, wall_ms: 1_000 };
        let written = harness.writer.take(JournalCommand::Lived(record));
        if self.hear() == 0 && self.disk.stopped().is_none() && written.is_ok() {
            self.written_ms = self.lived_ms;
        }
        written
    }

    /// A job that was given up goes on, if there is one.
    fn take_up_again(&mut self, harness: &mut Harness, weather: Weather) -> Result<(), String> {
        let given_up = |job: &&mut Ordered| {
            let is_kept = !job.is_forgotten && !job.is_unread && !harness.writer.writers.contains_key(&job.id);
            is_kept && job.last().state == JobState::Failed
        };
        let Some(job) = self.jobs.iter_mut().find(given_up) else { return Ok(()) };
        let last = job.last();
        let found = recalled(harness, job.id).and_then(|found| {
            let same = same_as_ordered(&found.restored, job, last.steps);
            same.map(|()| found).map_err(|why| format!("job {} as it was given up: {why}", job.id))
        });
        match found {
            Ok(found) => {
                let order = JournalCommand::Reopen { job: job.id, writer: found.writer };
                assert!(harness.writer.take(order).is_ok(), "it does no more than to remember it");
                job.moments.push(Moment { state: JobState::Queued, ..last });
                self.tally.reopened += 1;
                Ok(())
            }
            // If the disk does not give the state it ended with there may be the one before; or nothing is read at all.
            Err(_) if weather.has_errors || self.weather.rots || self.disk.stopped().is_some() => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// Remembers what was said; how many warnings there were.
    fn hear(&mut self) -> usize {
        let said = heard::said();
        self.heard.extend_from_slice(&said);
        said.len()
    }

    /// What watchers are told is a promise, whatever the disk does in the same moment. Who goes on without the disk gives none.
    fn note_what_is_told(&mut self, told: &[(JobId, u32, JobState)]) {
        if self.on_disk_error == OnDiskError::Continue {
            return;
        }
        for &(id, rounds, state) in told {
            let is_it = |job: &&mut Ordered| job.id == id && !job.is_forgotten && !job.is_unread;
            let Some(job) = self.jobs.iter_mut().find(is_it) else { continue };
            let of_round = round_steps(&job.specification);
            let is_told =
                |at: &usize| job.moments[*at].state == state && job.moments[*at].steps / of_round == u64::from(rounds);
            let at = (job.durable.unwrap_or(0)..job.moments.len()).find(is_told);
            job.durable = job.durable.max(at);
        }
    }

    fn note_what_is_durable(&mut self, harness: &Harness) {
        for job in &mut self.jobs {
            let is_written = match harness.writer.writers.get(&job.id) {
                Some(writer) => writer.has_begun && !writer.is_dirty,
                None => true,
            };
            if is_written && !job.is_forgotten && !job.is_unread {
                job.durable = Some(job.moments.len() - 1);
            }
        }
    }

    /// What has been read back is what was written.
    fn check(&mut self, harness: &Harness, restored: &[Restored]) -> Result<(), String> {
        self.hear();
        let said = std::mem::take(&mut self.heard);
        let may_be_damaged = self.weather.rots || self.weather.has_errors;
        // What nobody was told may be lost without a word: a power cut is no damage.
        let is_damage = |line: &&String| line.contains("is refused: ") && !line.contains("the machine ");
        if let Some(line) = said.iter().find(is_damage)
            && !may_be_damaged
        {
            return Err(format!("it said: {line}"));
        }
        for read in restored {
            let id = read.state.job();
            if !self.jobs.iter().any(|job| job.id == id) {
                return Err(format!("job {id} was not there before"));
            }
        }
        let mut left = Vec::new();
        for mut job in std::mem::take(&mut self.jobs) {
            let id = job.id;
            let is_said = said.iter().any(|line| line.contains(&id.to_string()));
            let Some(read) = restored.iter().find(|read| read.state.job() == id) else {
                job.is_unread = matches!(harness.writer.archive.absent(id), Absent::Unread(_));
                if job.durable.is_some() && !job.is_forgotten {
                    if !may_be_damaged || !is_said {
                        return Err(format!(
                            "job {id} is lost, which was durable at {:?}",
                            job.durable.map(|at| job.moments[at])
                        ));
                    }
                    self.tally.refused += 1;
                }
                // While there are jobs that cannot be read nothing is swept, and what was renamed may have its name again.
                if job.is_unread || job.is_forgotten && !job.is_gone && harness.writer.archive.has_unread() {
                    left.push(job);
                }
                continue;
            };
            if job.is_gone {
                return Err(format!("job {id} is back, which was forgotten"));
            }
            let status = &read.state.status;
            let steps = read.state.progress.as_ref().map_or(0, |progress| progress.steps);
            let moment = Moment { steps, state: status.state };
            if job.set_back.contains(&moment) {
                job.tried.push(job.moments.len());
                job.moments.push(moment);
            }
            let Some(at) = job.tried.iter().copied().rev().find(|&at| job.moments[at] == moment) else {
                return Err(format!("job {id} has never been {moment:?}: {:?}", job.moments));
            };
            if job.durable.is_some_and(|durable| at < durable) {
                let durable = job.durable.map(|at| job.moments[at]);
                if !may_be_damaged || !is_said {
                    return Err(format!("job {id} is {moment:?}, and was durable at {durable:?}"));
                }
                self.tally.repaired += 1;
            } else {
                self.tally.resumed += 1;
            }
            same_as_ordered(read, &job, steps).map_err(|why| format!("job {id} at {moment:?}: {why}"))?;
            if may_be_damaged && is_said {
                // A later one, whether it was told or only tried, may be there and given at another start.
                job.set_back.extend_from_slice(&job.moments[at + 1..]);
            }
            // From now on this is what its watchers are told.
            job.moments.truncate(at + 1);
            job.tried.retain(|&tried| tried <= at);
            job.durable = Some(at);
            (job.is_forgotten, job.is_unread) = (false, false);
            for (digest, bytes) in &read.objects {
                harness.store.insert(*digest, bytes.clone());
            }
            left.push(job);
        }
        self.jobs = left;
        let lived = harness.writer.directory.as_ref().and_then(|directory| directory.read_lived());
        let (lived_ms, due) = (lived.map_or(0, |lived| lived.lived_ms), self.written_ms..=self.lived_ms);
        if !may_be_damaged && !due.contains(&lived_ms) && self.disk.stopped().is_none() {
            return Err(format!("{lived_ms} ms were lived through, and it was one of {due:?}"));
        }
        if !may_be_damaged {
            self.read(harness)?;
            self.check_files()?;
        }
        Ok(())
    }

    /// Whatever may be asked of a job is there: its ledger, its data, and if it has ended its model.
    fn read(&mut self, harness: &Harness) -> Result<(), String> {
        let read = self.read_all(harness);
        // Nobody hears what a machine says that has stopped.
        if self.disk.stopped().is_some() { Ok(()) } else { read }
    }

    fn read_all(&mut self, harness: &Harness) -> Result<(), String> {
        let archive = &harness.writer.archive;
        for job in self.jobs.iter().filter(|job| !job.is_forgotten && !job.is_unread) {
            let Ordered { id, specification, .. } = job;
            let last = job.last();
            let is_written = !harness.writer.writers.get(id).is_some_and(|writer| writer.is_dirty);
            let entries: Vec<LedgerEntry> = (0..last.steps).flat_map(|step| entries_of(specification, step)).collect();
            let told = archive.entries(*id, 0, usize::MAX);
            if told.as_ref().map(|told| &told.entries) != Ok(&entries) {
                return Err(format!("the ledger of job {id} after {last:?} is {told:?}"));
            }
            if job.has_ended() && is_written {
                let weights = weights_of(specification, last.steps);
                let best = progress_of(specification, last.steps).and_then(|progress| progress.best);
                let best = best.map(|best| (best.weights, weights_of(specification, 1).bytes));
                let is_held =
                    |(digest, bytes): &(Digest, Arc<Vec<u8>>)| archive.object(digest).as_ref() == Some(&**bytes);
                let kept = best.into_iter().chain([(weights.digest, weights.bytes)]);
                if last.steps > 0 && !kept.into_iter().all(|kept| is_held(&kept)) {
                    return Err(format!("the model of job {id} is not there"));
                }
                self.tally.models += u32::from(last.steps > 0);
                for digest in objects_of(specification).keys() {
                    if archive.object(digest).is_none() {
                        return Err(format!("data {digest} of job {id} is not there"));
                    }
                }
            }
        }
        Ok(())
    }

    /// There is no file of nothing, and nothing was set aside.
    fn check_files(&self) -> Result<(), String> {
        let mut needed: Vec<String> = ["FORMAT", "lock", "lived", "lived.part"].map(str::to_owned).into();
        for job in &self.jobs {
            needed.extend(objects_of(&job.specification).keys().map(|digest| format!("objects/{digest}")));
            needed.push(format!("jobs/{}/", job.id));
        }
        let is_needed = |path: &str| {
            // The next one takes its place.
            let is_left = path.ends_with(".part") && path != "lived.part";
            !is_left && needed.iter().any(|needed| path == needed || needed.ends_with('/') && path.starts_with(needed))
        };
        let files = self.disk.files();
        let inside = files.iter().map(|path| path.strip_prefix(PATH).unwrap_or(path).display().to_string());
        match inside.into_iter().find(|path| !is_needed(path)) {
            Some(path) if self.disk.stopped().is_none() => Err(format!("{path} is nobody's")),
            _ => Ok(()),
        }
    }
}

/// What is read of a job after so many steps, against what was ordered.
fn same_as_ordered(read: &Restored, job: &Ordered, steps: u64) -> Result<(), String> {
    let specification = &job.specification;
    let same = |is_same: bool, what: &str| if is_same { Ok(()) } else { Err(format!("{what} was never written")) };
    same(read.state.specification == *specification, "its specification")?;
    let rounds = steps / round_steps(specification);
    same(u64::from(read.state.status.rounds_done) == rounds, "its number of rounds")?;
    same(read.state.progress == progress_of(specification, steps), "its progress")?;
    if job.moments.iter().any(|moment| moment.state == read.state.status.state) && read.state.status.ended_ms != 0 {
        return Ok(());
    }
    same(read.rounds.len() as u64 == rounds, "a round")?;
    let weights = (steps > 0).then(|| weights_of(specification, steps));
    let found = read.weights.as_ref().map(|found| (found.digest, &found.bytes, &found.outer));
    same(found == weights.as_ref().map(|due| (due.digest, &due.bytes, &due.outer)), "its weights")?;
    let best = progress_of(specification, steps).and_then(|progress| progress.best);
    let best = best.map(|best| (best.weights, weights_of(specification, 1).bytes));
    same(read.best == best, "its best round's weights")?;
    let data = objects_of(specification);
    same(
        read.objects.len() == data.len()
            && read.objects.iter().all(|(digest, bytes)| data.contains_key(digest) && Digest::of(bytes) == *digest),
        "its data",
    )
}

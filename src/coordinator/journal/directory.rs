//! The journal's files: where they lie, how one takes the place of another, what is read back. Owns the directory and its
//! lock; does not know what the files say.
//!
//! ```text
//! DIR/FORMAT                   "gradwire journal 8"
//! DIR/lived                    how long coordinators have run over the directory
//! DIR/lock                     held by the coordinator that uses the directory
//! DIR/objects/<digest>         data of jobs, named by its SHA-256
//! DIR/jobs/<id>/state-0, -1    two generations of a job's state
//! DIR/jobs/<id>/ledger         the ledger's blocks that are no longer in the state
//! DIR/jobs/<id>/weights/…      weights of rounds, kept as long as there is room
//! DIR/jobs/<id>/underway       heavy steps that are being taken
//! DIR/damaged/<id>-<n>         jobs that could not be read back
//! ```
//!
//! A file is written beside its place as `<name>.part` and then takes it (`crate::disk`): after a crash the old one is
//! there, or the new one, whole.

use std::fmt;
use std::fs::TryLockError;
use std::io::{self, BufReader, ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::coordinator::lived::LivedRecord;
use crate::digest::Digest;
use crate::disk::{self, Disk, DiskError, Doing, Lock, System, at};
use crate::job::JobId;

/// What the file `FORMAT` says.
const FORMAT: &str = "gradwire journal 8\n";
/// The file that says for how long coordinators have run over the journal.
const LIVED: &str = "lived";
/// Bytes of the digest at the end of a state.
pub(super) const TRAILER_BYTES: usize = 32;
/// The end of the name of a file that is not whole.
const PART: &str = "part";
/// The end of the name of a job's directory that is being removed.
const GONE: &str = "gone";

impl DiskError {
    /// A job's weights were written, and are not there any more.
    pub(crate) fn missing(directory: &Directory, job: JobId) -> DiskError {
        let why = io::Error::new(ErrorKind::InvalidData, "the weights that were written to it are not there");
        DiskError { doing: Doing::Read, path: directory.job(job), why }
    }
}

/// Why a directory cannot hold the journal.
#[derive(Debug)]
pub enum OpenError {
    /// It cannot be made, or its files cannot be opened.
    Disk(String),
    /// Another coordinator uses it.
    Locked(PathBuf),
    /// It is of another version of gradwire, or something else's.
    Format {
        /// The file that says so.
        path: PathBuf,
        /// What it says.
        got: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(why) => write!(f, "{why}; name another directory with --state-dir, or go without by --no-state"),
            Self::Locked(path) => write!(
                f,
                "another coordinator keeps its jobs in {}: stop it, or name another directory with --state-dir",
                path.display()
            ),
            Self::Format { path, got } => write!(
                f,
                "{} says {got:?} and not {:?}: another version of gradwire has written it, or something else; name \
                 another directory with --state-dir",
                path.display(),
                FORMAT.trim_end()
            ),
        }
    }
}

impl std::error::Error for OpenError {}

/// The journal's directory, held as long as this lives.
#[derive(Debug)]
pub(crate) struct Directory {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// The lock ends with it.
    _lock: Lock,
}

/// The bytes of one generation of a job's state, or why they cannot be read; none where there is no such file.
pub(crate) type Generation = Option<Result<Vec<u8>, DiskError>>;

impl Directory {
    /// Makes the directory if it is not there, and takes it.
    pub(crate) fn open(root: &Path) -> Result<Directory, OpenError> {
        Directory::open_on(Arc::new(System), root)
    }

    /// The same on any disk.
    pub(super) fn open_on(disk: Arc<dyn Disk>, root: &Path) -> Result<Directory, OpenError> {
        let refused = |error: DiskError| OpenError::Disk(error.to_string());
        for directory in [root.to_owned(), root.join("objects"), root.join("jobs")] {
            disk.make_directory(&directory).map_err(at(Doing::Open, &directory)).map_err(refused)?;
        }
        let path = root.join("lock");
        let lock = match disk.lock(&path) {
            Ok(lock) => lock,
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(root.to_owned())),
            Err(TryLockError::Error(why)) => return Err(refused(DiskError { doing: Doing::Open, path, why })),
        };
        let directory = Directory { disk, root: root.to_owned(), _lock: lock };
        directory.sync(root).map_err(refused)?;
        directory.sync(disk::directory_of(root)).map_err(refused)?;
        let path = root.join("FORMAT");
        match directory.read_if_there(&path).map_err(refused)? {
            Some(bytes) if bytes == FORMAT.as_bytes() => {}
            Some(bytes) => {
                let got = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).trim_end().to_owned();
                return Err(OpenError::Format { path, got });
            }
            None => {
                directory.sync_above().map_err(refused)?;
                directory.replace(&path, &[FORMAT.as_bytes()]).map_err(refused)?;
            }
        }
        Ok(directory)
    }

    /// Whoever makes a new journal may have made any of the directories that it lies in, now or before he was killed: a
    /// power cut must not take the journal along with one of them.
    fn sync_above(&self) -> Result<(), DiskError> {
        let mut above = disk::directory_of(&self.root);
        while let Some(parent) = above.parent() {
            match self.sync(disk::directory_of(above)) {
                // One that he may not read, or that is not on a disk at all, is of another's making.
                Err(error) if matches!(error.why.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput) => {
                    break;
                }
                synced => synced?,
            }
            above = parent;
        }
        Ok(())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Every job of which something is written.
    pub(crate) fn jobs(&self) -> Result<Vec<JobId>, DiskError> {
        let names = self.list(&self.jobs_directory())?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// For how long coordinators have run, by what was last written of it; nothing where it cannot be read, or is damaged.
    pub(in crate::coordinator) fn read_lived(&self) -> Option<LivedRecord> {
        let path = self.root.join(LIVED);
        let bytes = match self.read_if_there(&path) {
            Ok(bytes) => bytes?,
            Err(error) => {
                log::warn!("{error}; jobs that have ended may be kept longer for that");
                return None;
            }
        };
        let record = lived_of(&bytes);
        if record.is_none() {
            log::warn!("{} is damaged; jobs that have ended may be kept longer for that", path.display());
        }
        record
    }

    /// Writes down for how long coordinators have run.
    pub(in crate::coordinator) fn write_lived(&self, lived: LivedRecord) -> Result<(), DiskError> {
        let record = [lived.lived_ms, lived.wall_ms].map(u64::to_le_bytes).concat();
        let digest = Digest::of(&record);
        self.replace(&self.root.join(LIVED), &[&record[..], &digest.0[..]])
    }

    /// Makes a job's directory.
    pub(crate) fn begin_job(&self, job: JobId) -> Result<(), DiskError> {
        let directory = self.job(job);
        if !self.is_directory(&directory) {
            self.make_directory(&directory)?;
            self.sync(&self.jobs_directory())?;
        }
        Ok(())
    }

    /// Puts a state, in parts, in the place of this generation.
    pub(crate) fn write_state(&self, job: JobId, generation: u8, parts: &[&[u8]]) -> Result<(), DiskError> {
        self.replace(&self.state(job, generation), parts)
    }

    /// What is there of this generation of a job's state.
    pub(crate) fn read_state(&self, job: JobId, generation: u8) -> Generation {
        self.read_if_there(&self.state(job, generation)).transpose()
    }

    /// The head of this generation of a job's state, and what stands behind it and at the file's end; none where they cannot be
    /// had, for whatever reason.
    pub(crate) fn read_state_head(&self, job: JobId, generation: u8) -> Option<Vec<u8>> {
        let path = self.state(job, generation);
        match self.try_read_head(&path) {
            Ok(head) => head,
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                log::warn!("cannot read the head of {}: {error}; the whole file is read instead", path.display());
                None
            }
        }
    }

    fn try_read_head(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let file = self.disk.open(path)?;
        let file_bytes = file.size()?;
        if file_bytes < 12 + TRAILER_BYTES as u64 {
            return Ok(None);
        }
        let mut start = [0; 12];
        file.read_exact_at(&mut start, 0)?;
        let head_bytes = u64::from(u32::from_le_bytes([start[8], start[9], start[10], start[11]]));
        let trailer_at = file_bytes - TRAILER_BYTES as u64;
        if head_bytes > trailer_at {
            return Ok(None);
        }
        let mut bytes = vec![0; head_bytes as usize + TRAILER_BYTES];
        let (head, trailer) = bytes.split_at_mut(head_bytes as usize);
        file.read_exact_at(head, 0)?;
        file.read_exact_at(trailer, trailer_at)?;
        Ok(Some(bytes))
    }

    /// What is noted of a job's heavy steps; none where there is no such file.
    pub(crate) fn read_underway(&self, job: JobId) -> Result<Option<String>, DiskError> {
        let bytes = self.read_if_there(&self.underway(job))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Notes that instead. Not synced: it is to survive this process, and no more.
    pub(crate) fn write_underway(&self, job: JobId, text: &str) -> Result<(), DiskError> {
        let path = self.underway(job);
        if text.is_empty() {
            return self.remove_if_there(&path);
        }
        let part = part_of(&path);
        let file = self.disk.create(&part).map_err(at(Doing::Open, &part))?;
        file.write_all_at(text.as_bytes(), 0).map_err(at(Doing::Write, &part))?;
        self.disk.rename(&part, &path).map_err(at(Doing::Rename, &path))
    }

    /// Cuts the job's ledger off at an offset, writes there, and waits until it is on the disk.
    pub(crate) fn write_ledger(&self, job: JobId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let path = self.ledger(job);
        let file = self.disk.open_to_write(&path).map_err(at(Doing::Open, &path))?;
        file.set_size(offset).map_err(at(Doing::Write, &path))?;
        file.write_all_at(bytes, offset).map_err(at(Doing::Write, &path))?;
        file.sync_data().map_err(at(Doing::Sync, &path))?;
        if offset == 0 {
            // It may be new. A power cut must not leave a name to the state that counts it, and none to the ledger.
            self.sync_job(job)?;
        }
        Ok(())
    }

    /// The job's ledger, to be read from its start, and its size; nothing of no bytes where there is no such file.
    pub(crate) fn open_ledger(&self, job: JobId) -> Result<(Box<dyn Read>, u64), DiskError> {
        let path = self.ledger(job);
        let file = match self.disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Box::new(io::empty()), 0)),
            other => other.map_err(at(Doing::Open, &path))?,
        };
        let bytes = file.size().map_err(at(Doing::Read, &path))?;
        Ok((Box::new(BufReader::new(file)), bytes))
    }

    /// These bytes of the job's ledger.
    pub(crate) fn read_ledger(&self, job: JobId, range: Range<u64>) -> Result<Vec<u8>, DiskError> {
        let path = self.ledger(job);
        let file = self.disk.open(&path).map_err(at(Doing::Open, &path))?;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, range.start).map_err(at(Doing::Read, &path))?;
        Ok(bytes)
    }

    /// A job's ledger that was opened cannot be read.
    pub(crate) fn ledger_error(&self, job: JobId, why: io::Error) -> DiskError {
        DiskError { doing: Doing::Read, path: self.ledger(job), why }
    }

    /// Writes objects that are not there yet, and waits until all are on the disk.
    pub(crate) fn put_objects(&self, objects: &[(Digest, &[u8])]) -> Result<(), DiskError> {
        let mut files = Vec::new();
        for (digest, bytes) in objects {
            // One that is there is read before it is relied upon: the copy in memory may be the last. Where the disk does not give it,
            // another takes its place.
            match self.get_object(digest) {
                Ok(Some(_)) => continue,
                Ok(None) => {}
                Err(error) => log::warn!("{error}; it is written anew"),
            }
            let path = self.object(digest);
            let part = part_of(&path);
            let file = self.disk.create(&part).map_err(at(Doing::Open, &part))?;
            file.write_all_at(bytes, 0).map_err(at(Doing::Write, &part))?;
            files.push((file, part, path));
        }
        for (file, part, _) in &files {
            file.sync().map_err(at(Doing::Sync, part))?;
        }
        for (_, part, path) in &files {
            self.disk.rename(part, path).map_err(at(Doing::Rename, path))?;
        }
        // If there were none, too: whoever gave one its name may have been stopped before this.
        self.sync(&self.objects_directory())
    }

    /// The object, if it is there and its bytes have its digest.
    pub(crate) fn get_object(&self, digest: &Digest) -> Result<Option<Vec<u8>>, DiskError> {
        let bytes = self.read_if_there(&self.object(digest))?;
        Ok(bytes.filter(|bytes| Digest::of(bytes) == *digest))
    }

    /// The size of an object that is there.
    pub(crate) fn object_bytes(&self, digest: &Digest) -> Option<u64> {
        self.disk.look(&self.object(digest)).ok().map(|found| found.bytes)
    }

    /// Removes an object that no job needs.
    pub(crate) fn remove_object(&self, digest: &Digest) -> Result<(), DiskError> {
        self.remove_if_there(&self.object(digest))
    }

    /// Keeps weights of a round beside the job, if they are not there. Not synced: they can be computed again.
    pub(crate) fn put_weights(&self, job: JobId, digest: &Digest, bytes: &[u8]) -> Result<(), DiskError> {
        let path = self.weights(job, digest);
        let directory = self.job(job).join("weights");
        self.make_directory(&directory)?;
        let part = part_of(&path);
        let file = self.disk.create(&part).map_err(at(Doing::Open, &part))?;
        let written = file.write_all_at(bytes, 0).map_err(at(Doing::Write, &part));
        let written = written.and_then(|()| self.disk.rename(&part, &path).map_err(at(Doing::Rename, &path)));
        if written.is_err() {
            // On a full disk others need its room.
            let _ = self.disk.remove_file(&part);
        }
        written
    }

    /// Weights of a round, if they are there and whole.
    pub(crate) fn get_weights(&self, job: JobId, digest: &Digest) -> Result<Option<Vec<u8>>, DiskError> {
        let bytes = self.read_if_there(&self.weights(job, digest))?;
        Ok(bytes.filter(|bytes| Digest::of(bytes) == *digest))
    }

    /// The size of weights of a round that are there.
    pub(crate) fn weights_bytes(&self, job: JobId, digest: &Digest) -> Option<u64> {
        self.disk.look(&self.weights(job, digest)).ok().map(|found| found.bytes)
    }

    /// Weights of rounds that are kept of a job.
    pub(crate) fn kept_weights(&self, job: JobId) -> Result<Vec<Digest>, DiskError> {
        let directory = self.job(job).join("weights");
        let names = if self.is_directory(&directory) { self.list(&directory)? } else { Vec::new() };
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Removes the weights of rounds that are kept of a job. Not synced: whoever finds them can do without them.
    pub(crate) fn remove_kept_weights(&self, job: JobId) -> Result<(), DiskError> {
        self.kept_weights(job)?.iter().try_for_each(|digest| self.remove_if_there(&self.weights(job, digest)))
    }

    /// Waits until the names of a job's files are on the disk.
    pub(crate) fn sync_job(&self, job: JobId) -> Result<(), DiskError> {
        self.sync(&self.job(job))
    }

    /// Removes all that is written of a job. After a crash in the middle of it the rest goes at the next start.
    pub(crate) fn remove_job(&self, job: JobId) -> Result<(), DiskError> {
        let directory = self.job(job);
        let gone = directory.with_extension(GONE);
        if self.is_there(&gone) {
            self.remove_gone(&gone)?;
        }
        match self.disk.rename(&directory, &gone) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.map_err(at(Doing::Rename, &directory))?,
        }
        self.remove_gone(&gone)
    }

    /// Removes the files of a job that has no name any more.
    fn remove_gone(&self, gone: &Path) -> Result<(), DiskError> {
        // Else a power cut might give the job its name back, and not its files.
        self.sync(&self.jobs_directory())?;
        self.disk.remove_directory(gone).map_err(at(Doing::Remove, gone))
    }

    /// Where jobs are that cannot be read back.
    pub(crate) fn damaged(&self) -> PathBuf {
        self.root.join("damaged")
    }

    /// Moves what is written of a job there.
    pub(crate) fn set_aside(&self, job: JobId) -> Result<(), DiskError> {
        let damaged = self.damaged();
        if !self.is_directory(&damaged) {
            self.make_directory(&damaged)?;
            self.sync(&self.root)?;
        }
        let free = (1..).map(|number: u32| damaged.join(format!("{job}-{number}"))).find(|path| !self.is_there(path));
        let Some(path) = free else { unreachable!("some number is free") };
        self.disk.rename(&self.job(job), &path).map_err(at(Doing::Rename, &path))?;
        // In this order: twice there is better than not at all.
        let synced = self.sync(&damaged).and_then(|()| self.sync(&self.jobs_directory()));
        // It is there already: whatever has failed, the job is not left as it was.
        synced.map_err(|error| DiskError { doing: Doing::Sync, ..error })
    }

    /// Removes what a crash has left behind: jobs half removed, files that are not whole, and then objects that `is_needed`
    /// by no job.
    pub(crate) fn sweep(&self, is_needed: impl Fn(&Digest) -> bool) -> Result<(), DiskError> {
        let jobs = self.jobs_directory();
        for name in self.list(&jobs)? {
            let path = jobs.join(&name);
            if path.extension().is_some_and(|extension| extension == GONE) {
                self.remove_gone(&path)?;
            } else {
                for directory in [path.join("weights"), path].iter().filter(|directory| self.is_directory(directory)) {
                    for file in self.list(directory)?.iter().map(|file| directory.join(file)) {
                        if file.extension().is_some_and(|extension| extension == PART) {
                            self.remove_if_there(&file)?;
                        }
                    }
                }
            }
        }
        let objects = self.objects_directory();
        for name in self.list(&objects)? {
            let is_left = match name.parse() {
                Ok(digest) => !is_needed(&digest),
                // What it has not put there it leaves alone.
                Err(_) => Path::new(&name).extension().is_some_and(|extension| extension == PART),
            };
            if is_left {
                self.remove_if_there(&objects.join(name))?;
            }
        }
        Ok(())
    }

    /// Where a job's own files are.
    pub(crate) fn job(&self, job: JobId) -> PathBuf {
        self.jobs_directory().join(job.to_string())
    }

    fn state(&self, job: JobId, generation: u8) -> PathBuf {
        self.job(job).join(format!("state-{generation}"))
    }

    fn underway(&self, job: JobId) -> PathBuf {
        self.job(job).join("underway")
    }

    fn ledger(&self, job: JobId) -> PathBuf {
        self.job(job).join("ledger")
    }

    fn weights(&self, job: JobId, digest: &Digest) -> PathBuf {
        self.job(job).join("weights").join(digest.to_string())
    }

    fn object(&self, digest: &Digest) -> PathBuf {
        self.objects_directory().join(digest.to_string())
    }

    fn jobs_directory(&self) -> PathBuf {
        self.root.join("jobs")
    }

    fn objects_directory(&self) -> PathBuf {
        self.root.join("objects")
    }

    fn sync(&self, directory: &Path) -> Result<(), DiskError> {
        disk::sync_directory(&*self.disk, directory)
    }

    /// Puts a new file, in parts, in the place of an old one.
    fn replace(&self, path: &Path, parts: &[&[u8]]) -> Result<(), DiskError> {
        let part = part_of(path);
        let file = self.disk.create(&part).map_err(at(Doing::Open, &part))?;
        disk::replace(&*self.disk, &*file, &part, path, parts)
    }

    fn make_directory(&self, path: &Path) -> Result<(), DiskError> {
        self.disk.make_directory(path).map_err(at(Doing::Open, path))
    }

    fn is_there(&self, path: &Path) -> bool {
        self.disk.look(path).is_ok()
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.disk.look(path).is_ok_and(|found| found.is_directory)
    }

    fn read_if_there(&self, path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
        let mut file = match self.disk.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(at(Doing::Read, path))?,
        };
        let mut bytes = Vec::new();
        let size = file.size().map_err(at(Doing::Read, path))?;
        let has_room = bytes.try_reserve_exact(size as usize).map_err(|_| ErrorKind::OutOfMemory.into());
        has_room.and_then(|()| file.read_to_end(&mut bytes)).map_err(at(Doing::Read, path))?;
        Ok(Some(bytes))
    }

    fn remove_if_there(&self, path: &Path) -> Result<(), DiskError> {
        match self.disk.remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other.map_err(at(Doing::Remove, path)),
        }
    }

    fn list(&self, path: &Path) -> Result<Vec<String>, DiskError> {
        self.disk.list(path).map_err(at(Doing::Open, path))
    }
}

fn part_of(path: &Path) -> PathBuf {
    path.with_extension(PART)
}

/// What the file says of the time lived through, if it is whole.
fn lived_of(bytes: &[u8]) -> Option<LivedRecord> {
    let (record, digest) = bytes.split_last_chunk::<32>()?;
    let (lived, wall) = (record.first_chunk::<8>()?, record.last_chunk::<8>()?);
    let is_whole = record.len() == 16 && Digest::of(record).0 == *digest;
    let [lived_ms, wall_ms] = [lived, wall].map(|bytes| u64::from_le_bytes(*bytes));
    is_whole.then_some(LivedRecord { lived_ms, wall_ms })
}

//! The journal's files: where they lie, how one takes the place of another, what is read back. Owns the directory and its
//! lock; does not know what the files say.
//!
//! ```text
//! DIR/FORMAT                   "gradwire journal 5"
//! DIR/lock                     held by the coordinator that uses the directory
//! DIR/objects/<digest>         data of jobs, named by its SHA-256
//! DIR/jobs/<id>/state-0, -1    two generations of a job's state
//! DIR/jobs/<id>/ledger         the ledger's blocks that are no longer in the state
//! DIR/jobs/<id>/weights/…      weights of rounds, kept as long as there is room
//! DIR/damaged/<id>-<n>         jobs that could not be read back
//! ```
//!
//! A file is written beside its place as `<name>.part` and then takes it (`crate::disk`): after a crash the old one is
//! there, or the new one, whole.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::disk::{self, DiskError, Doing, at, sync_directory};
use crate::job::JobId;

/// What the file `FORMAT` says.
const FORMAT: &str = "gradwire journal 5\n";
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
    root: PathBuf,
    /// The lock ends with it.
    _lock: File,
}

/// The bytes of one generation of a job's state, or why they cannot be read; none where there is no such file.
pub(crate) type Generation = Option<Result<Vec<u8>, DiskError>>;

impl Directory {
    /// Makes the directory if it is not there, and takes it.
    pub(crate) fn open(root: &Path) -> Result<Directory, OpenError> {
        let disk = |error: DiskError| OpenError::Disk(error.to_string());
        for directory in [root.to_owned(), root.join("objects"), root.join("jobs")] {
            make_directory(&directory).map_err(disk)?;
        }
        for directory in [root, disk::directory_of(root)] {
            sync_directory(directory).map_err(disk)?;
        }
        let path = root.join("lock");
        let lock = OpenOptions::new().create(true).append(true).open(&path).map_err(at(Doing::Open, &path));
        let lock = lock.map_err(disk)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(OpenError::Locked(root.to_owned())),
            Err(fs::TryLockError::Error(why)) => return Err(disk(DiskError { doing: Doing::Open, path, why })),
        }
        let directory = Directory { root: root.to_owned(), _lock: lock };
        let path = root.join("FORMAT");
        match fs::read(&path) {
            Ok(bytes) if bytes == FORMAT.as_bytes() => {}
            Ok(bytes) => {
                let got = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).trim_end().to_owned();
                return Err(OpenError::Format { path, got });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                replace(&path, &[FORMAT.as_bytes()]).map_err(disk)?;
            }
            Err(why) => return Err(disk(DiskError { doing: Doing::Read, path, why })),
        }
        Ok(directory)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Every job of which something is written.
    pub(crate) fn jobs(&self) -> Result<Vec<JobId>, DiskError> {
        let names = list(&self.root.join("jobs"))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Makes a job's directory.
    pub(crate) fn begin_job(&self, job: JobId) -> Result<(), DiskError> {
        let directory = self.job(job);
        if !directory.is_dir() {
            make_directory(&directory)?;
            sync_directory(&self.root.join("jobs"))?;
        }
        Ok(())
    }

    /// Puts a state, in parts, in the place of this generation.
    pub(crate) fn write_state(&self, job: JobId, generation: u8, parts: &[&[u8]]) -> Result<(), DiskError> {
        replace(&self.state(job, generation), parts)
    }

    /// What is there of this generation of a job's state.
    pub(crate) fn read_state(&self, job: JobId, generation: u8) -> Generation {
        read_if_there(&self.state(job, generation)).transpose()
    }

    /// Cuts the job's ledger off at an offset, writes there, and waits until it is on the disk.
    pub(crate) fn write_ledger(&self, job: JobId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let path = self.ledger(job);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(at(Doing::Open, &path))?;
        file.set_len(offset).map_err(at(Doing::Write, &path))?;
        file.write_all_at(bytes, offset).map_err(at(Doing::Write, &path))?;
        file.sync_data().map_err(at(Doing::Sync, &path))
    }

    /// The job's ledger, to be read from its start, and its size; nothing of no bytes where there is no such file.
    pub(crate) fn open_ledger(&self, job: JobId) -> Result<(Box<dyn Read>, u64), DiskError> {
        let path = self.ledger(job);
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Box::new(io::empty()), 0)),
            other => other.map_err(at(Doing::Open, &path))?,
        };
        let bytes = file.metadata().map_err(at(Doing::Read, &path))?.len();
        Ok((Box::new(BufReader::new(file)), bytes))
    }

    /// These bytes of the job's ledger.
    pub(crate) fn read_ledger(&self, job: JobId, range: Range<u64>) -> Result<Vec<u8>, DiskError> {
        let path = self.ledger(job);
        let file = File::open(&path).map_err(at(Doing::Open, &path))?;
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
            // One that is there is read before it is relied upon: the copy in memory may be the last.
            if self.get_object(digest)?.is_some() {
                continue;
            }
            let path = self.object(digest);
            let part = part_of(&path);
            let file = File::create(&part).map_err(at(Doing::Open, &part))?;
            file.write_all_at(bytes, 0).map_err(at(Doing::Write, &part))?;
            files.push((file, part, path));
        }
        for (file, part, _) in &files {
            file.sync_all().map_err(at(Doing::Sync, part))?;
        }
        for (_, part, path) in &files {
            fs::rename(part, path).map_err(at(Doing::Rename, path))?;
        }
        if files.is_empty() { Ok(()) } else { sync_directory(&self.root.join("objects")) }
    }

    /// The object, if it is there and its bytes have its digest.
    pub(crate) fn get_object(&self, digest: &Digest) -> Result<Option<Vec<u8>>, DiskError> {
        let bytes = read_if_there(&self.object(digest))?;
        Ok(bytes.filter(|bytes| Digest::of(bytes) == *digest))
    }

    /// The size of an object that is there.
    pub(crate) fn object_bytes(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.object(digest)).ok().map(|file| file.len())
    }

    /// Removes an object that no job needs.
    pub(crate) fn remove_object(&self, digest: &Digest) -> Result<(), DiskError> {
        remove_if_there(&self.object(digest))
    }

    /// Keeps weights of a round beside the job, if they are not there. Not synced: they can be computed again.
    pub(crate) fn put_weights(&self, job: JobId, digest: &Digest, bytes: &[u8]) -> Result<(), DiskError> {
        let path = self.weights(job, digest);
        let directory = self.job(job).join("weights");
        make_directory(&directory)?;
        let part = part_of(&path);
        let file = File::create(&part).map_err(at(Doing::Open, &part))?;
        file.write_all_at(bytes, 0).map_err(at(Doing::Write, &part))?;
        fs::rename(&part, &path).map_err(at(Doing::Rename, &path))
    }

    /// Weights of a round, if they are there and whole.
    pub(crate) fn get_weights(&self, job: JobId, digest: &Digest) -> Result<Option<Vec<u8>>, DiskError> {
        let bytes = read_if_there(&self.weights(job, digest))?;
        Ok(bytes.filter(|bytes| Digest::of(bytes) == *digest))
    }

    /// The size of weights of a round that are there.
    pub(crate) fn weights_bytes(&self, job: JobId, digest: &Digest) -> Option<u64> {
        fs::metadata(self.weights(job, digest)).ok().map(|file| file.len())
    }

    /// Weights of rounds that are kept of a job.
    pub(crate) fn kept_weights(&self, job: JobId) -> Result<Vec<Digest>, DiskError> {
        let directory = self.job(job).join("weights");
        let names = if directory.is_dir() { list(&directory)? } else { Vec::new() };
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Removes all that is written of a job. After a crash in the middle of it the rest goes at the next start.
    pub(crate) fn remove_job(&self, job: JobId) -> Result<(), DiskError> {
        let directory = self.job(job);
        let gone = directory.with_extension(GONE);
        if gone.exists() {
            fs::remove_dir_all(&gone).map_err(at(Doing::Remove, &gone))?;
        }
        match fs::rename(&directory, &gone) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.map_err(at(Doing::Rename, &directory))?,
        }
        fs::remove_dir_all(&gone).map_err(at(Doing::Remove, &gone))
    }

    /// Moves what is written of a job out of the way; returns where it is then.
    pub(crate) fn set_aside(&self, job: JobId) -> Result<PathBuf, DiskError> {
        let damaged = self.root.join("damaged");
        make_directory(&damaged)?;
        let free = (1..).map(|number: u32| damaged.join(format!("{job}-{number}"))).find(|path| !path.exists());
        let Some(path) = free else { unreachable!("some number is free") };
        fs::rename(self.job(job), &path).map_err(at(Doing::Rename, &path))?;
        Ok(path)
    }

    /// Removes what a crash has left behind: files that are not whole, jobs half removed, and objects that `is_needed` by
    /// no job.
    pub(crate) fn sweep(&self, is_needed: impl Fn(&Digest) -> bool) -> Result<(), DiskError> {
        let objects = self.root.join("objects");
        for name in list(&objects)? {
            let is_left = match name.parse() {
                Ok(digest) => !is_needed(&digest),
                // What it has not put there it leaves alone.
                Err(_) => Path::new(&name).extension().is_some_and(|extension| extension == PART),
            };
            if is_left {
                remove_if_there(&objects.join(name))?;
            }
        }
        let jobs = self.root.join("jobs");
        for name in list(&jobs)? {
            let path = jobs.join(&name);
            if path.extension().is_some_and(|extension| extension == GONE) {
                fs::remove_dir_all(&path).map_err(at(Doing::Remove, &path))?;
            } else {
                for directory in [path.join("weights"), path].iter().filter(|directory| directory.is_dir()) {
                    for file in list(directory)?.iter().map(|file| directory.join(file)) {
                        if file.extension().is_some_and(|extension| extension == PART) {
                            remove_if_there(&file)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Where a job's own files are.
    pub(crate) fn job(&self, job: JobId) -> PathBuf {
        self.root.join("jobs").join(job.to_string())
    }

    fn state(&self, job: JobId, generation: u8) -> PathBuf {
        self.job(job).join(format!("state-{generation}"))
    }

    fn ledger(&self, job: JobId) -> PathBuf {
        self.job(job).join("ledger")
    }

    fn weights(&self, job: JobId, digest: &Digest) -> PathBuf {
        self.job(job).join("weights").join(digest.to_string())
    }

    fn object(&self, digest: &Digest) -> PathBuf {
        self.root.join("objects").join(digest.to_string())
    }
}

fn part_of(path: &Path) -> PathBuf {
    path.with_extension(PART)
}

/// Puts a new file, in parts, in the place of an old one.
fn replace(path: &Path, parts: &[&[u8]]) -> Result<(), DiskError> {
    let part = part_of(path);
    let file = File::create(&part).map_err(at(Doing::Open, &part))?;
    disk::replace(&file, &part, path, parts)
}

fn make_directory(path: &Path) -> Result<(), DiskError> {
    fs::create_dir_all(path).map_err(at(Doing::Open, path))
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(why) => Err(DiskError { doing: Doing::Read, path: path.to_owned(), why }),
    }
}

fn remove_if_there(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(at(Doing::Remove, path)),
    }
}

/// The names in a directory that are text, in order.
fn list(path: &Path) -> Result<Vec<String>, DiskError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(at(Doing::Open, path))? {
        let entry = entry.map_err(at(Doing::Open, path))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

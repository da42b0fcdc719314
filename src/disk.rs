//! How a file takes the place of another, so that after a crash there is the old one or the new one, whole. Owns the order
//! of the steps, what is asked of a disk at all (`Disk`), and the words for what it refuses; does not know what the files
//! hold.

use std::ffi::CString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[cfg(test)]
pub(crate) mod tests;

/// Links that are followed from one to the next, at most.
const LINKS_MAX: usize = 40;

/// What could not be done with a file.
#[derive(Debug)]
pub(crate) struct DiskError {
    /// What was being done, as in "cannot write".
    pub(crate) doing: Doing,
    /// The file.
    pub(crate) path: PathBuf,
    /// Why.
    pub(crate) why: io::Error,
}

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Making, opening or listing.
    Open,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Waiting until it is on the disk. Once this has failed nobody knows what is there: it is not tried again.
    Sync,
    /// Giving it its name.
    Rename,
    /// Removing.
    Remove,
}

impl DiskError {
    /// Whether the system had no descriptor for it: there may be one again once a connection has ended, and nothing is wrong with
    /// the disk.
    pub(crate) fn lacks_descriptor(&self) -> bool {
        matches!(self.why.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
    }

    /// Whether there was no room for it, on the disk or in what its owner may take of it. Of a failed sync that does not matter.
    pub(crate) fn lacks_room(&self) -> bool {
        let is_full = matches!(self.why.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        is_full && self.doing != Doing::Sync
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match self.doing {
            Doing::Open => "open",
            Doing::Read => "read",
            Doing::Write => "write",
            Doing::Sync => "sync",
            Doing::Rename => "rename",
            Doing::Remove => "remove",
        };
        write!(f, "cannot {doing} {}: {}", self.path.display(), self.why)
    }
}

/// Makes an error of what the system says.
pub(crate) fn at(doing: Doing, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_owned();
    move |why| DiskError { doing, path, why }
}

/// What the journal asks of a disk, and no more: `System` gives it what the machine has, tests what a machine may do to it.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// A file that is new and empty, whatever was at `path`.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// The file at `path`, to be written; a new one if there is none.
    fn open_to_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// What is at `path`, to be read or, if it is a directory, to be synced.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// What is at `path`, without opening it.
    fn look(&self, path: &Path) -> io::Result<Found>;
    /// The names in a directory that are text, in order.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Gives a file or a directory another name, in the place of what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all that is in it.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory, and those that it lies in, where they are not there.
    fn make_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes a file if it is not there, and locks it against other programs for as long as what is returned lives.
    fn lock(&self, path: &Path) -> Result<Lock, fs::TryLockError>;
}

/// A file, or a directory, that is open.
pub(crate) trait DiskFile: FileExt + io::Read + fmt::Debug + Send + Sync {
    /// Its size.
    fn size(&self) -> io::Result<u64>;
    /// Cuts it off, or fills it up with zeros.
    fn set_size(&self, bytes: u64) -> io::Result<()>;
    /// Waits until it is on the disk; of a directory, until the names in it are.
    fn sync(&self) -> io::Result<()>;
    /// The same of its bytes alone.
    fn sync_data(&self) -> io::Result<()>;
}

/// What is found at a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Its size.
    pub(crate) bytes: u64,
    /// Whether it is a directory.
    pub(crate) is_directory: bool,
}

/// A file that is locked until this is dropped.
pub(crate) type Lock = Box<dyn fmt::Debug + Send + Sync>;

/// The machine's own disk.
#[derive(Debug)]
pub(crate) struct System;

impl Disk for System {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::create(path)?))
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().create(true).truncate(false).write(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn look(&self, path: &Path) -> io::Result<Found> {
        fs::metadata(path).map(|found| Found { bytes: found.len(), is_directory: found.is_dir() })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn lock(&self, path: &Path) -> Result<Lock, fs::TryLockError> {
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(fs::TryLockError::Error)?;
        file.try_lock()?;
        Ok(Box::new(file))
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
}

/// Puts these bytes, in parts, in the place of what is at `path`: into `file`, which is new, empty and has the name `part`
/// in the same directory, then onto the disk, and only then under their name, which goes onto the disk too.
pub(crate) fn replace(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    part: &Path,
    path: &Path,
    bytes: &[&[u8]],
) -> Result<(), DiskError> {
    let mut offset = 0;
    for bytes in bytes {
        file.write_all_at(bytes, offset).map_err(at(Doing::Write, part))?;
        offset += bytes.len() as u64;
    }
    file.sync().map_err(at(Doing::Sync, part))?;
    disk.rename(part, path).map_err(at(Doing::Rename, path))?;
    sync_directory(disk, directory_of(path))
}

/// Waits until the names in a directory are on the disk.
pub(crate) fn sync_directory(disk: &dyn Disk, path: &Path) -> Result<(), DiskError> {
    let directory = disk.open(path).map_err(at(Doing::Open, path))?;
    directory.sync().map_err(at(Doing::Sync, path))
}

/// How long a disk takes to have a small new file in this directory for good.
pub(crate) fn try_sync(directory: &Path) -> Result<Duration, DiskError> {
    let path = directory.join("doctor.part");
    let began = Instant::now();
    let file = System.create(&path).map_err(at(Doing::Open, &path))?;
    let synced = file
        .write_all_at(&[0; 4_096], 0)
        .map_err(at(Doing::Write, &path))
        .and_then(|()| file.sync().map_err(at(Doing::Sync, &path)));
    let took = began.elapsed();
    System.remove_file(&path).map_err(at(Doing::Remove, &path))?;
    synced.map(|()| took)
}

/// Bytes that a program like this one may still write to the disk of this directory.
#[allow(unsafe_code)]
pub(crate) fn free_bytes(directory: &Path) -> Result<u64, DiskError> {
    let refused = |why| at(Doing::Open, directory)(why);
    let path = CString::new(directory.as_os_str().as_bytes()).map_err(|error| refused(error.into()))?;
    // SAFETY: a statvfs is numbers only, for which zeros are values.
    let mut told: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: statvfs(3) reads the path up to its zero, and writes one statvfs to where it is told, which is one that lives.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut told) } != 0 {
        return Err(refused(io::Error::last_os_error()));
    }
    // Their types differ from system to system.
    #[allow(clippy::unnecessary_cast)]
    Ok((told.f_bavail as u64).saturating_mul(told.f_frsize as u64))
}

/// The name of the file at a path: the path, or where that is a link the name of what it leads to, there or not. None where this
/// is what a program has open, as with `/dev/stdout`: a file in its place would take the place of the name alone.
pub(crate) fn name_of(path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(directory) = fs::canonicalize(directory_of(&path)) else { break };
        if directory == Path::new("/dev/fd") || (directory.starts_with("/proc") && directory.ends_with("fd")) {
            return None;
        }
        let Ok(target) = fs::read_link(&path) else { break };
        path = directory.join(target);
    }
    Some(path)
}

/// Gives a file that is to take the place of another one's name the other's permissions, where there is one: what others may not
/// read does not become readable by being written anew.
pub(crate) fn keep_mode(replaced: &Path, file: &File) -> io::Result<()> {
    match fs::metadata(replaced) {
        Ok(there) => file.set_permissions(fs::Permissions::from_mode(there.permissions().mode() & 0o777)),
        Err(_) => Ok(()),
    }
}

/// The directory that a file is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

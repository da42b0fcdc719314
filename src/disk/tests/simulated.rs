//! A disk in memory that does what a disk may do to a program, all of it by a seed. Owns what is durable and what is not, and
//! every way of losing the second; does not know what is written to it.
//!
//! A file has its bytes as programs see them, and those that are on the disk; between the two lie its changes, in sectors,
//! and a sync carries them over. The same holds for names, which belong to directories: a file that was synced and whose name
//! was not is lost. A power cut leaves of all that was not synced any part, in any order; a killed program leaves everything.
//! Every call is a step, and at each one the power may go, the program be killed, or the call fail.

use std::ffi::OsStr;
use std::fmt;
use std::fs::TryLockError;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::RngExt as _;

pub(crate) use super::machine::Stop;
use super::machine::{Change, Content, Machine, Names, Node};
use crate::disk::{Disk, DiskFile, Found, Lock};

/// The disk; a copy is the same one.
#[derive(Clone)]
pub(crate) struct SimulatedDisk(Arc<Mutex<Machine>>);

impl SimulatedDisk {
    /// An empty disk.
    pub(crate) fn new(seed: u64) -> SimulatedDisk {
        SimulatedDisk(Arc::new(Mutex::new(Machine::new(seed))))
    }

    /// Says of syncs of these files and directories that they are done, and does nothing.
    pub(crate) fn forget_syncs(&self, of: fn(&Path) -> bool) {
        self.machine().forgets = Some(of);
    }

    /// The machine stops in the middle of the call after so many more.
    pub(crate) fn stop_after(&self, steps: u64, how: Stop) {
        let mut machine = self.machine();
        machine.stops_at = Some((machine.steps + steps + 1, how));
    }

    /// The call after so many more fails.
    pub(crate) fn fail_after(&self, steps: u64) {
        let mut machine = self.machine();
        machine.fails_at = Some(machine.steps + steps + 1);
    }

    /// One call in so many fails, or none.
    pub(crate) fn fail_one_in(&self, calls: Option<u32>) {
        self.machine().fails_one_in = calls;
    }

    /// There is no room on it, or there is again.
    pub(crate) fn fill(&self, is_full: bool) {
        self.machine().is_full = is_full;
    }

    /// There is no room on it until a file is removed of a directory of this name.
    pub(crate) fn fill_until_removed_of(&self, directory: &'static str) {
        let mut machine = self.machine();
        (machine.is_full, machine.makes_room) = (true, Some(directory));
    }

    /// No file can be opened, or all can again.
    pub(crate) fn take_descriptors(&self, are_taken: bool) {
        self.machine().lacks_descriptors = are_taken;
    }

    /// Calls that read and write may do less than they are asked to.
    pub(crate) fn do_less(&self) {
        self.machine().does_less = true;
    }

    /// A sync takes so long from now on.
    pub(crate) fn slow_down(&self, sync_us: u64) {
        self.machine().sync_us = sync_us;
    }

    /// What calls have taken so far, in the disk's own time.
    pub(crate) fn clock_us(&self) -> u64 {
        self.machine().clock_us
    }

    /// Every file that has a name.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.machine().files().into_iter().map(|(path, _)| path).collect()
    }

    /// How the machine has stopped, if it has.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.machine().stopped
    }

    /// Calls so far.
    pub(crate) fn steps(&self) -> u64 {
        self.machine().steps
    }

    /// Stops the machine, if it has not, and starts it again.
    pub(crate) fn restart(&self, how: Stop) {
        let mut machine = self.machine();
        if machine.stopped.take().unwrap_or(how) == Stop::Power {
            machine.lose_what_is_not_durable();
        }
        machine.locked.clear();
        machine.stops_at = None;
    }

    /// Turns a bit over in some file that is durable; says which.
    pub(crate) fn rot(&self) -> Option<PathBuf> {
        let mut machine = self.machine();
        let files = machine.files();
        let count = files.len().max(1);
        let (path, node) = files.get(machine.rng.random_range(0..count))?.clone();
        let (at, bit) = (machine.rng.random::<u64>(), machine.rng.random_range(0..8));
        let Content::File { durable, cached, .. } = &mut machine.nodes[node] else { return None };
        let at = (at % durable.len().max(1) as u64) as usize;
        for bytes in [durable, cached] {
            *bytes.get_mut(at)? ^= 1 << bit;
        }
        Some(path)
    }

    /// From now on the calls are written down.
    pub(crate) fn record(&self) {
        self.machine().recorded = Some(Vec::new());
    }

    /// The calls since then.
    pub(crate) fn recorded(&self) -> Vec<String> {
        self.machine().recorded.clone().unwrap_or_default()
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn needs_descriptor(&self) -> io::Result<()> {
        let lacks = self.machine().lacks_descriptors;
        if lacks { Err(io::Error::from_raw_os_error(libc::EMFILE)) } else { Ok(()) }
    }

    fn opened(&self, node: Node, path: &Path) -> Box<dyn DiskFile> {
        Box::new(SimulatedFile { disk: self.clone(), node, path: path.to_owned(), offset: 0 })
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.needs_descriptor()?;
        let node = self.machine().call(format_args!("create {}", path.display()), |machine| {
            // Whoever had it open keeps what it was: nobody here reads what is being replaced.
            machine.new_file(path)
        })?;
        Ok(self.opened(node, path))
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.needs_descriptor()?;
        let node = self.machine().call(format_args!("open {} to write", path.display()), |machine| {
            machine.node(path).or_else(|_| machine.new_file(path))
        })?;
        Ok(self.opened(node, path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.needs_descriptor()?;
        let node = self.machine().call(format_args!("open {}", path.display()), |machine| machine.node(path))?;
        Ok(self.opened(node, path))
    }

    fn look(&self, path: &Path) -> io::Result<Found> {
        self.machine().call(format_args!("look at {}", path.display()), |machine| {
            Ok(match &machine.nodes[machine.node(path)?] {
                Content::File { cached, .. } => Found { bytes: cached.len() as u64, is_directory: false },
                Content::Directory { .. } => Found { bytes: 0, is_directory: true },
            })
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.machine().call(format_args!("list {}", path.display()), |machine| {
            Ok(machine.names(machine.node(path)?)?.keys().cloned().collect())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.machine().call(format_args!("rename {} {}", from.display(), to.display()), |machine| {
            let node = machine.node(from)?;
            if machine.node(to).is_ok_and(|node| machine.names(node).is_ok_and(|names| !names.is_empty())) {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            let (directory, name) = machine.place(to)?;
            machine.rename(Some(machine.place(from)?), Some((directory, name, node)));
            Ok(())
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.machine().call(format_args!("remove {}", path.display()), |machine| {
            machine.node(path)?;
            machine.rename(Some(machine.place(path)?), None);
            let directory = path.parent().and_then(Path::file_name);
            if machine.makes_room.is_some() && directory == machine.makes_room.map(OsStr::new) {
                (machine.is_full, machine.makes_room) = (false, None);
            }
            Ok(())
        })
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        for name in self.list(path)? {
            let path = path.join(name);
            if self.look(&path)?.is_directory { self.remove_directory(&path)? } else { self.remove_file(&path)? }
        }
        self.remove_file(path)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        let missing = path.ancestors().take_while(|path| self.machine().node(path).is_err()).collect::<Vec<_>>();
        for path in missing.into_iter().rev() {
            self.machine().call(format_args!("make {}", path.display()), |machine| {
                machine.add(path, Content::Directory { durable: Names::new(), cached: Names::new() })
            })?;
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> Result<Lock, TryLockError> {
        drop(self.open_to_write(path).map_err(TryLockError::Error)?);
        if !self.machine().locked.insert(path.to_owned()) {
            return Err(TryLockError::WouldBlock);
        }
        Ok(Box::new(Locked { disk: self.clone(), path: path.to_owned() }))
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a simulated disk after {} steps", self.steps())
    }
}

#[derive(Debug)]
struct Locked {
    disk: SimulatedDisk,
    path: PathBuf,
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.disk.machine().locked.remove(&self.path);
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    node: Node,
    path: PathBuf,
    /// Of the next read.
    offset: u64,
}

impl SimulatedFile {
    fn call<T>(&self, what: impl fmt::Display, effect: impl FnOnce(&mut Machine) -> io::Result<T>) -> io::Result<T> {
        self.disk.machine().call(format_args!("{what} {}", self.path.display()), effect)
    }
}

impl FileExt for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call("read", |machine| {
            let count = machine.share(buffer.len())?;
            let Content::File { cached, .. } = &machine.nodes[self.node] else {
                return Err(ErrorKind::IsADirectory.into());
            };
            let there = cached.get(offset as usize..).unwrap_or(&[]);
            let count = count.min(there.len());
            buffer[..count].copy_from_slice(&there[..count]);
            Ok(count)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.call(format_args!("write {} bytes at {offset} of", bytes.len()), |machine| {
            let count = machine.share(bytes.len())?;
            if machine.is_full && (count == bytes.len() || machine.rng.random()) {
                return Err(ErrorKind::StorageFull.into());
            }
            machine.write(self.node, &bytes[..count], offset as usize)?;
            Ok(count)
        })
    }
}

impl io::Read for SimulatedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl DiskFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.look(&self.path)?.bytes)
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        self.call(format_args!("cut to {bytes}"), |machine| {
            if let Content::File { cached, changes, .. } = &mut machine.nodes[self.node] {
                changes.push(Change::Size(bytes as usize));
                cached.resize(bytes as usize, 0);
            }
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        let synced = self.call("sync", |machine| {
            machine.clock_us += machine.sync_us;
            if !machine.forgets.is_some_and(|of| of(&self.path)) {
                machine.sync(self.node);
            }
            Ok(())
        });
        let mut machine = self.disk.machine();
        if synced.is_err()
            && machine.stopped.is_none()
            && let Content::File { changes, .. } = &mut machine.nodes[self.node]
        {
            // The machine has given up writing them, and says so once.
            changes.clear();
        }
        synced
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }
}

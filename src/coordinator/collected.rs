//! A step's updates, or the gradients of its blocks, kept until all of them are there, for a merge that needs them at once. Owns
//! where they lie, and whether what is read back is what was written; does not know how they are merged.
//!
//! They are not durable: a coordinator that starts again has the step's tasks done again, to the same bits.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};
use crate::job::JobId;
use crate::model::{LittleEndianF32, ReadUpdates};

/// Where updates are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    Memory,
    /// One file each, in this directory, which is there.
    Directory(PathBuf),
}

impl Storage {
    /// A directory inside the one where jobs are kept, emptied: what is in it is of another life.
    pub(super) fn directory(root: &Path) -> io::Result<Storage> {
        let directory = root.join("updates");
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir(&directory)?,
        }
        Ok(Storage::Directory(directory))
    }
}

/// The updates of one job's step, or its blocks' gradients by their tasks' numbers. Dropping it removes their files.
#[derive(Debug)]
pub(super) struct Collected {
    storage: Storage,
    job: JobId,
    updates: BTreeMap<u32, Update>,
}

#[derive(Debug)]
enum Update {
    Values(Vec<LittleEndianF32>),
    /// A file, and the digest of what was written there.
    File(PathBuf, Digest),
}

/// An update that cannot be read back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) shard: u32,
    pub(super) reason: String,
}

impl Collected {
    pub(super) fn new(storage: Storage, job: JobId) -> Collected {
        Collected { storage, job, updates: BTreeMap::new() }
    }

    /// Keeps a shard's update, in storage of one that was lost.
    pub(super) fn keep<P: AsRef<[LittleEndianF32]>>(&mut self, shard: u32, parts: &[P]) -> io::Result<()> {
        let update = match &self.storage {
            Storage::Memory => {
                // As much as it takes: memory that grew with the parts would be up to twice that.
                let mut values = Vec::new();
                values.try_reserve_exact(parts.iter().map(|part| part.as_ref().len()).sum())?;
                parts.iter().for_each(|part| values.extend_from_slice(part.as_ref()));
                Update::Values(values)
            }
            Storage::Directory(directory) => {
                let path = directory.join(format!("{}-{shard}", self.job));
                let written = write(&path, parts);
                if written.is_err() {
                    // On a full disk others need its room.
                    let _ = fs::remove_file(&path);
                }
                Update::File(path, written?)
            }
        };
        self.updates.insert(shard, update);
        Ok(())
    }

    /// Everything that is kept, to be read once.
    pub(super) fn read(&self) -> Reading<'_> {
        let open = |(&shard, update): (&u32, &'_ Update)| {
            let source = match update {
                Update::Values(_) => Source::Values,
                Update::File(path, _) => Source::File(File::open(path), Hasher::default()),
            };
            (shard, source)
        };
        Reading { sources: self.updates.iter().map(open).collect(), of: &self.updates }
    }

    /// Whose updates are kept, ascending.
    pub(super) fn shards(&self) -> impl Iterator<Item = u32> {
        self.updates.keys().copied()
    }

    /// Forgets an update that is lost.
    pub(super) fn forget(&mut self, shard: u32) {
        if let Some(Update::File(path, _)) = self.updates.remove(&shard) {
            // Whatever is left of it is overwritten by the next.
            let _ = fs::remove_file(path);
        }
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        let shards: Vec<u32> = self.updates.keys().copied().collect();
        shards.into_iter().for_each(|shard| self.forget(shard));
    }
}

impl Drop for Collected {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Writes an update to a file; returns the digest of what was written.
fn write<P: AsRef<[LittleEndianF32]>>(path: &Path, parts: &[P]) -> io::Result<Digest> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut hasher = Hasher::default();
    for part in parts {
        let bytes = part.as_ref().as_flattened();
        hasher.update(bytes);
        file.write_all(bytes)?;
    }
    file.flush()?;
    Ok(hasher.finish())
}

/// The updates on their way into a merge, in the order of their shards.
pub(super) struct Reading<'a> {
    of: &'a BTreeMap<u32, Update>,
    sources: Vec<(u32, Source)>,
}

enum Source {
    Values,
    /// The file, if it can be opened, and what has been read of it.
    File(io::Result<File>, Hasher),
}

impl ReadUpdates for Reading<'_> {
    type Error = Lost;

    fn count(&self) -> usize {
        self.sources.len()
    }

    fn read(&mut self, index: usize, range: Range<usize>, out: &mut [LittleEndianF32]) -> Result<(), Lost> {
        let (shard, source) = &mut self.sources[index];
        let lost = |reason: &dyn ToString| Lost { shard: *shard, reason: reason.to_string() };
        match (source, &self.of[&*shard]) {
            (Source::Values, Update::Values(values)) => out.copy_from_slice(&values[range]),
            (Source::File(Ok(file), hasher), _) => {
                let bytes = out.as_flattened_mut();
                file.read_exact(bytes).map_err(|error| lost(&error))?;
                hasher.update(bytes);
            }
            (Source::File(Err(error), _), _) => return Err(lost(error)),
            (Source::Values, Update::File(..)) => return Err(lost(&"it lies elsewhere")),
        }
        Ok(())
    }
}

impl Reading<'_> {
    /// Those that were read and are not what was written.
    pub(super) fn finish(self) -> Vec<Lost> {
        let Reading { of, sources } = self;
        let changed = |(shard, source): (u32, Source)| {
            let (Source::File(_, hasher), Update::File(path, written)) = (source, &of[&shard]) else { return None };
            let reason = || format!("{} has been changed", path.display());
            (hasher.finish() != *written).then(|| Lost { shard, reason: reason() })
        };
        sources.into_iter().filter_map(changed).collect()
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::model::Median;

    fn update(shard: u32) -> Vec<LittleEndianF32> {
        (0..1000).map(|index| ((shard * 7 + index) as f32 * 0.37).sin().to_le_bytes()).collect()
    }

    /// The median of what is kept, or which updates are lost.
    fn median(collected: &Collected) -> Result<Vec<LittleEndianF32>, Vec<Lost>> {
        let mut reading = collected.read();
        let mut values = vec![[0; 4]; 1000];
        match Median::default().onto(&mut reading, &mut values, &mut |_| ()) {
            Ok(done) => done.unwrap(),
            Err(lost) => return Err(vec![lost]),
        }
        let lost = reading.finish();
        if lost.is_empty() { Ok(values) } else { Err(lost) }
    }

    fn keep_all(storage: Storage) -> Collected {
        let mut collected = Collected::new(storage, JobId(7));
        for shard in [3, 0, 5] {
            let update = update(shard);
            let parts: Vec<&[LittleEndianF32]> = update.chunks(300).collect();
            collected.keep(shard, &parts).unwrap();
        }
        collected
    }

    #[test]
    fn what_is_kept_in_files_is_what_is_kept_in_memory_and_goes_with_it() {
        let root = TempDir::new().unwrap();
        fs::create_dir_all(root.path().join("updates")).unwrap();
        fs::write(root.path().join("updates/left-over"), "of another life").unwrap();
        let storage = Storage::directory(root.path()).unwrap();
        let files = || fs::read_dir(root.path().join("updates")).unwrap().count();
        assert_eq!(files(), 0);
        let (in_files, in_memory) = (keep_all(storage), keep_all(Storage::Memory));
        assert_eq!((median(&in_files), files()), (median(&in_memory), 3));
        assert!(median(&in_memory).is_ok());
        drop(in_files);
        assert_eq!(files(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_update_that_cannot_be_written_to_its_end_leaves_nothing_on_the_disk() {
        let root = TempDir::new().unwrap();
        let mut collected = Collected::new(Storage::directory(root.path()).unwrap(), JobId(7));
        let directory = root.path().join("updates");
        // Whatever is written there finds the disk full.
        std::os::unix::fs::symlink("/dev/full", directory.join(format!("{}-3", JobId(7)))).unwrap();
        // More than waits in a buffer.
        let parts = [update(3), update(3), update(3)];
        assert_eq!(collected.keep(3, &parts).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!((fs::read_dir(&directory).unwrap().count(), collected.shards().count()), (0, 0));
        collected.keep(3, &[update(3)]).unwrap();
        assert!(median(&collected).is_ok());
    }

    #[test]
    fn a_file_that_is_gone_cut_or_changed_is_a_lost_update_and_can_be_kept_anew() {
        let root = TempDir::new().unwrap();
        let mut collected = keep_all(Storage::directory(root.path()).unwrap());
        let whole = median(&collected).unwrap();
        let path = root.path().join("updates").join(format!("{}-3", JobId(7)));
        let bytes = fs::read(&path).unwrap();
        let mut changed = bytes.clone();
        changed[1234] ^= 1;
        for damage in [None, Some(&bytes[..1999]), Some(&changed[..])] {
            match damage {
                None => fs::remove_file(&path).unwrap(),
                Some(bytes) => fs::write(&path, bytes).unwrap(),
            }
            let lost = median(&collected).unwrap_err();
            assert_eq!(lost.iter().map(|lost| lost.shard).collect::<Vec<_>>(), [3], "{lost:?}");
            collected.forget(3);
            collected.keep(3, &[&update(3)[..]]).unwrap();
            assert_eq!(median(&collected).unwrap(), whole);
        }
    }
}

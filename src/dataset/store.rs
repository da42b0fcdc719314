//! Where the values of large tables lie: in memory while they are few, and then in a file without a name. Owns that file and the room
//! for it; does not know what the values are.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::delimited::unreadable;
use super::error::Fault;

/// Bytes that are kept in memory before a file is made.
const MEMORY_BYTES: usize = 16 << 20;
/// After so many bytes more of a file without a name it is asked again whether as many again are free there.
const CHECKED_BYTES: u64 = 32 << 20;

/// A growing heap of bytes.
#[derive(Debug, Default)]
pub(super) struct Store {
    in_memory: usize,
    file: Option<Spill>,
    /// Whether there is no room for a file.
    is_full: bool,
}

#[derive(Debug)]
struct Spill {
    file: Arc<File>,
    end: u64,
    /// Up to here there was room.
    checked: u64,
}

/// Where some bytes lie in the file.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    file: Arc<File>,
    at: u64,
}

impl Store {
    /// Puts bytes into the file; nothing where they are to stay in memory, as they are few, or there is no room elsewhere.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Option<Stored> {
        if self.is_full || self.in_memory + bytes.len() <= MEMORY_BYTES {
            self.in_memory += bytes.len();
            return None;
        }
        let stored = self.write(bytes);
        // Memory may suffice all the same.
        self.is_full = stored.is_none();
        stored
    }

    fn write(&mut self, bytes: &[u8]) -> Option<Stored> {
        if self.file.is_none() {
            self.file = Some(Spill { file: Arc::new(tempfile::tempfile().ok()?), end: 0, checked: 0 });
        }
        let Spill { file, end, checked } = self.file.as_mut()?;
        if *end + bytes.len() as u64 > *checked {
            if free_bytes(file)? < CHECKED_BYTES + bytes.len() as u64 {
                return None;
            }
            *checked = *end + CHECKED_BYTES.max(bytes.len() as u64);
        }
        file.write_all_at(bytes, *end).ok()?;
        let at = *end;
        *end += bytes.len() as u64;
        Some(Stored { file: file.clone(), at })
    }
}

impl Stored {
    /// Reads as many bytes as there is room for.
    pub(super) fn read(&self, bytes: &mut [u8]) -> Result<(), Fault> {
        self.file.read_exact_at(bytes, self.at).map_err(unreadable)
    }
}

/// How many bytes a file without a name may have that has so many; an error where there is no room for more.
pub(super) fn room_for(bytes: u64) -> io::Result<u64> {
    let directory = std::env::temp_dir();
    // Where that is not known, writing will show it.
    let free = File::open(&directory).ok().and_then(|directory| free_bytes(&directory));
    match free.filter(|free| *free < CHECKED_BYTES) {
        None => Ok(bytes + CHECKED_BYTES),
        Some(free) => Err(io::Error::other(format!(
            "what can be read only once is kept in {}, where {} MiB are free, too few for it; set TMPDIR to a directory with more \
             room, or write it to a file and name that",
            directory.display(),
            free >> 20
        ))),
    }
}

/// Bytes that may still be written where a file is; nothing where that is not known.
pub(super) fn free_bytes(file: &File) -> Option<u64> {
    // SAFETY: all zeros are a value of these numbers.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the file is open, and what is found has room.
    let result = unsafe { libc::fstatvfs(file.as_raw_fd(), &mut found) };
    #[allow(clippy::unnecessary_cast, reason = "not as wide on every system")]
    (result == 0).then(|| (found.f_bavail as u64).saturating_mul(found.f_frsize as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_memory_is_not_for_comes_back_from_the_file() {
        let mut store = Store::default();
        let piece = |number: u8| vec![number; 5 << 20];
        assert!((0..3).all(|number| store.put(&piece(number)).is_none()));
        let stored: Vec<Stored> = (3..6).map(|number| store.put(&piece(number)).unwrap()).collect();
        for (stored, number) in stored.iter().zip(3..) {
            let mut bytes = vec![0; 5 << 20];
            stored.read(&mut bytes).unwrap();
            assert_eq!(bytes, piece(number));
        }
        assert!(stored[2].read(&mut vec![0; 6 << 20]).is_err());
        assert!(free_bytes(&stored[0].file).is_some());
    }
}

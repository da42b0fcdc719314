//! How a file takes the place of another, so that after a crash there is the old one or the new one, whole. Owns the order
//! of the steps and the words for what a disk refuses; does not know what the files hold.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

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

/// Puts these bytes, in parts, in the place of what is at `path`: into `file`, which is new, empty and has the name `part`
/// in the same directory, then onto the disk, and only then under their name, which goes onto the disk too.
pub(crate) fn replace(file: &File, part: &Path, path: &Path, bytes: &[&[u8]]) -> Result<(), DiskError> {
    in_order(&System(file), part, path, bytes)
}

/// Waits until the names in a directory are on the disk.
pub(crate) fn sync_directory(path: &Path) -> Result<(), DiskError> {
    let directory = File::open(path).map_err(at(Doing::Open, path))?;
    directory.sync_all().map_err(at(Doing::Sync, path))
}

/// The directory that a file is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The steps, which a test records.
trait Steps {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_directory(&self, path: &Path) -> Result<(), DiskError>;
}

struct System<'a>(&'a File);

impl Steps for System<'_> {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_directory(&self, path: &Path) -> Result<(), DiskError> {
        sync_directory(path)
    }
}

fn in_order(steps: &impl Steps, part: &Path, path: &Path, bytes: &[&[u8]]) -> Result<(), DiskError> {
    let mut offset = 0;
    for bytes in bytes {
        steps.write(bytes, offset).map_err(at(Doing::Write, part))?;
        offset += bytes.len() as u64;
    }
    steps.sync().map_err(at(Doing::Sync, part))?;
    steps.rename(part, path).map_err(at(Doing::Rename, path))?;
    steps.sync_directory(directory_of(path))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Records the steps, and fails at one of them.
    struct Recorded {
        steps: RefCell<Vec<String>>,
        fails_at: usize,
    }

    impl Recorded {
        fn step(&self, step: String) -> io::Result<()> {
            let mut steps = self.steps.borrow_mut();
            steps.push(step);
            if steps.len() == self.fails_at { Err(io::Error::other("worn out")) } else { Ok(()) }
        }
    }

    impl Steps for Recorded {
        fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            self.step(format!("write {} bytes at {offset}", bytes.len()))
        }

        fn sync(&self) -> io::Result<()> {
            self.step("sync".to_owned())
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.step(format!("rename {} {}", from.display(), to.display()))
        }

        fn sync_directory(&self, path: &Path) -> Result<(), DiskError> {
            self.step(format!("sync {}", path.display())).map_err(at(Doing::Sync, path))
        }
    }

    #[test]
    fn a_file_is_written_synced_renamed_and_its_directory_synced_and_the_first_error_ends_it() {
        let expected = ["write 2 bytes at 0", "write 3 bytes at 2", "sync", "rename d/f.part d/f", "sync d"];
        let errors = [
            "cannot write d/f.part: worn out",
            "cannot write d/f.part: worn out",
            "cannot sync d/f.part: worn out",
            "cannot rename d/f: worn out",
            "cannot sync d: worn out",
        ];
        for fails_at in 0..=expected.len() {
            let recorded = Recorded { steps: RefCell::default(), fails_at };
            let result = in_order(&recorded, Path::new("d/f.part"), Path::new("d/f"), &[b"ab", b"cde"]);
            let steps = recorded.steps.into_inner();
            match fails_at.checked_sub(1) {
                None => assert!(result.is_ok() && steps == expected, "{steps:?}"),
                Some(last) => {
                    assert_eq!(
                        (result.unwrap_err().to_string().as_str(), &steps[..]),
                        (errors[last], &expected.map(str::to_owned)[..fails_at])
                    );
                }
            }
        }
        assert_eq!(directory_of(Path::new("f")), Path::new("."));
    }
}

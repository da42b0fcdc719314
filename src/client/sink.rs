//! Where what a command makes goes: to the standard output, or into a file that takes its place whole. Owns that nothing half
//! written is taken for the whole; does not know what it is.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::cli::{Exit, Failure};
use crate::disk;

/// Where something goes.
pub(super) struct Sink {
    place: Place,
    /// What it is, in the plural: `predictions`.
    what: &'static str,
}

enum Place {
    Stdout,
    /// What is no regular file.
    Device(File, PathBuf),
    /// A file beside its place, which it takes once it is whole.
    Part(NamedTempFile, PathBuf),
}

impl Sink {
    /// A file of this path, or the standard output.
    pub(super) fn open(out: Option<&Path>, what: &'static str) -> Result<Sink, Failure> {
        let Some(path) = out else { return Ok(Sink { place: Place::Stdout, what }) };
        let fail = |error: io::Error| unwritable(path, what, &error);
        let place = match fs::metadata(path) {
            Ok(there) if there.is_dir() => return Err(fail(ErrorKind::IsADirectory.into())),
            Ok(there) if !there.is_file() => {
                Place::Device(OpenOptions::new().write(true).open(path).map_err(fail)?, path.to_owned())
            }
            _ => {
                let mut options = tempfile::Builder::new();
                // As any other file, by the user's umask: a temporary file is its owner's alone otherwise.
                options.prefix(".gradwire-").suffix(".part").permissions(Permissions::from_mode(0o666));
                let part = options.tempfile_in(disk::directory_of(path)).map_err(fail)?;
                Place::Part(part, path.to_owned())
            }
        };
        Ok(Sink { place, what })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let what = self.what;
        let (written, path) = match &mut self.place {
            Place::Stdout => {
                let mut out = io::stdout().lock();
                (out.write_all(bytes).and_then(|()| out.flush()), Path::new("the standard output"))
            }
            Place::Device(file, path) => (file.write_all(bytes), &**path),
            Place::Part(part, path) => (part.write_all(bytes), &**path),
        };
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => {
                let text = format!("whoever read the {what} has gone, and not all of them were written");
                Failure::new(Exit::Output, text)
            }
            _ => unwritable(path, what, &error),
        })
    }

    /// Puts a file in its place.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Sink { place: Place::Part(part, path), what } = self else { return Ok(()) };
        let fail = |error: &dyn std::fmt::Display| unwritable(&path, what, error);
        part.as_file().sync_all().map_err(|error| fail(&error))?;
        part.persist(&path).map_err(|error| fail(&error.error))?;
        disk::sync_directory(&disk::System, disk::directory_of(&path)).map_err(|error| fail(&error))
    }
}

fn unwritable(path: &Path, what: &str, error: &dyn std::fmt::Display) -> Failure {
    let text = format!(
        "{}: the {what} cannot be written: {error}; check that there is such a place and that you may write to it",
        path.display()
    );
    Failure::new(Exit::Output, text)
}

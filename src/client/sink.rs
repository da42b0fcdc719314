//! Where what a command makes goes: to the standard output, or into a file that takes its place whole. Owns that nothing half
//! written is taken for the whole; does not know what it is.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
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

/// That what goes to `out` does not take the place of what it is made from, or of what else the command writes.
pub(super) fn check_apart<'a>(out: &Path, others: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    let file_of = |path: &Path| fs::metadata(path).ok().filter(Metadata::is_file).map(|file| (file.dev(), file.ino()));
    if fs::metadata(out).is_ok_and(|there| !there.is_file()) {
        return Ok(());
    }
    let is_same = |other: &Path| other == out || file_of(other).is_some_and(|file| file_of(out) == Some(file));
    // Several files of rows are one word, with commas between.
    let names = |path: &Path| path.to_str().map_or_else(Vec::new, |text| text.split(',').map(PathBuf::from).collect());
    for other in others {
        if is_same(other) || names(other).iter().any(|name| is_same(name)) {
            let text = format!(
                "{}: what the command reads, or writes besides, is in this file: name another one",
                out.display()
            );
            return Err(Failure::new(Exit::Usage, text));
        }
    }
    Ok(())
}

fn unwritable(path: &Path, what: &str, error: &dyn std::fmt::Display) -> Failure {
    let text = format!(
        "{}: the {what} cannot be written: {error}; check that there is such a place and that you may write to it",
        path.display()
    );
    Failure::new(Exit::Output, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_reads_is_not_what_it_writes_over() {
        let directory = tempfile::tempdir().unwrap();
        let [rows, more, other, link] = ["rows", "more", "other", "link"].map(|name| directory.path().join(name));
        for file in [&rows, &more, &other] {
            fs::write(file, "1").unwrap();
        }
        fs::hard_link(&rows, &link).unwrap();
        let both = PathBuf::from(format!("{},{}", more.display(), rows.display()));
        let is_apart = |out: &Path, input: &Path| check_apart(out, [input]).is_ok();
        assert!(is_apart(&other, &rows) && is_apart(&other, &both) && is_apart(&directory.path().join("new"), &both));
        assert!(!is_apart(&rows, &rows) && !is_apart(&rows, &both) && !is_apart(&more, &both));
        assert!(!is_apart(&link, &rows), "under another name");
        let new = directory.path().join("new");
        assert!(!is_apart(&new, &new), "two that are written are not one either");
        let null = Path::new("/dev/null");
        assert!(is_apart(null, null));
    }
}

//! Where what a command makes goes: to the standard output, or into a file that takes its place whole. Owns that nothing half
//! written is taken for the whole; does not know what it is.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::cli::{self, Exit, Failure};
use crate::dataset::is_hidden;
use crate::disk;

/// Where something goes.
pub(super) struct Sink {
    place: Place,
    /// What it is: `predictions`.
    what: &'static str,
}

enum Place {
    Stdout,
    /// What no file takes the place of: a pipe, a terminal, whatever a program has open.
    Device(File, PathBuf),
    /// A file beside its place, which it takes once it is whole.
    Part(NamedTempFile, PathBuf),
}

impl Sink {
    /// A file of this path, or the standard output.
    pub(super) fn open(out: Option<&Path>, what: &'static str) -> Result<Sink, Failure> {
        let Some(path) = out else { return Ok(Sink { place: Place::Stdout, what }) };
        let fail = |error: io::Error| unwritable(path, what, &error);
        let there = fs::metadata(path);
        if there.as_ref().is_ok_and(Metadata::is_dir) {
            return Err(fail(ErrorKind::IsADirectory.into()));
        }
        let is_replaceable = there.as_ref().map_or(true, Metadata::is_file);
        let place = match disk::name_of(path).filter(|_| is_replaceable) {
            // Behind what others have written there.
            None => Place::Device(OpenOptions::new().append(true).open(path).map_err(fail)?, path.to_owned()),
            Some(name) => {
                let mut options = tempfile::Builder::new();
                // As any other file, by the user's umask: a temporary file is its owner's alone otherwise.
                options.prefix(".gradwire-").suffix(".part").permissions(Permissions::from_mode(0o666));
                let make = || options.tempfile_in(disk::directory_of(&name));
                let part = cli::removed_when_interrupted(make).map_err(fail)?;
                disk::keep_mode(&name, part.as_file()).map_err(fail)?;
                Place::Part(part, name)
            }
        };
        Ok(Sink { place, what })
    }

    /// Whether people see it as it comes.
    pub(super) fn is_terminal(&self) -> bool {
        match &self.place {
            Place::Stdout => io::stdout().is_terminal(),
            Place::Device(file, _) => file.is_terminal(),
            Place::Part(..) => false,
        }
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
            ErrorKind::BrokenPipe => Failure::unread(),
            _ => unwritable(path, what, &error),
        })
    }

    /// Puts a file in its place.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Sink { place: Place::Part(part, path), what } = self else { return Ok(()) };
        let fail = |error: &dyn std::fmt::Display| unwritable(&path, what, error);
        part.as_file().sync_all().map_err(|error| fail(&error))?;
        part.persist(&path).map_err(|error| fail(&error.error))?;
        cli::keep_when_interrupted();
        disk::sync_directory(&disk::System, disk::directory_of(&path)).map_err(|error| fail(&error))
    }
}

/// Refuses the path of a model or a report that cannot be written, before anything is trained for it.
pub(super) fn check_output(out: &Path) -> Result<(), Failure> {
    let fail = |why: String| Err(Failure::new(Exit::Usage, why));
    if out.is_dir() {
        return fail(format!("{} is a directory: name a file in it", out.display()));
    }
    let is_replaceable = |name: &PathBuf| name.file_name().is_some() && (!name.exists() || name.is_file());
    let Some(name) = disk::name_of(out).filter(is_replaceable) else {
        return fail(format!("{} is no file that may be replaced: name another", out.display()));
    };
    let directory = disk::directory_of(&name);
    if !directory.is_dir() {
        return fail(format!("{} is no directory: make it, or save elsewhere", directory.display()));
    }
    // It will be written beside its place and moved there; whether that goes is only known by trying.
    match tempfile::Builder::new().prefix(".gradwire-").suffix(".part").tempfile_in(directory) {
        Ok(_) => Ok(()),
        Err(error) => fail(format!("nothing can be written to {}: {error}; save elsewhere", directory.display())),
    }
}

/// That what goes to `out` does not take the place of what it is made from, or of what else the command writes.
pub(super) fn check_apart<'a>(out: &Path, others: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    if fs::metadata(out).is_ok_and(|there| !there.is_file()) {
        return Ok(());
    }
    let is_same = |other: &Path| other == out || file_of(other).is_some_and(|file| file_of(out) == Some(file));
    // Several files of rows are one word, with commas between.
    let names = |path: &Path| path.to_str().map_or_else(Vec::new, |text| text.split(',').map(PathBuf::from).collect());
    for other in others {
        if is_among_rows(out, other) {
            let text = format!(
                "{}: every file in {} is read for its rows, and this would be one of them: save it elsewhere",
                out.display(),
                other.display()
            );
            return Err(Failure::new(Exit::Usage, text));
        }
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

/// Whether `out` would be read as rows of a directory: it is, or becomes, one of the files in it that are not hidden.
fn is_among_rows(out: &Path, directory: &Path) -> bool {
    if !directory.is_dir() {
        return false;
    }
    let is_read = |name: Option<&OsStr>| name.is_some_and(|name| !is_hidden(name));
    let place = |path: &Path| fs::canonicalize(disk::directory_of(path)).ok();
    let within = fs::canonicalize(directory).ok();
    let is_within = |path: &Path| within.is_some() && place(path) == within && is_read(path.file_name());
    let is_new = disk::name_of(out).is_some_and(|name| is_within(&name));
    // A file in it may be out under another name.
    let there = file_of(out);
    let is_linked = || {
        let mut files = fs::read_dir(directory).into_iter().flatten().flatten();
        files.any(|file| is_read(Some(&file.file_name())) && file_of(&file.path()) == there)
    };
    is_new || is_within(out) || (there.is_some() && is_linked())
}

/// Which file a path leads to.
fn file_of(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().filter(Metadata::is_file).map(|file| (file.dev(), file.ino()))
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
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn written(path: &Path, text: &str) {
        let mut sink = Sink::open(Some(path), "words").unwrap();
        sink.write(text.as_bytes()).unwrap();
        sink.finish().unwrap();
    }

    #[test]
    fn what_goes_to_a_link_goes_to_what_it_leads_to_and_the_link_stays() {
        let directory = tempfile::tempdir().unwrap();
        let [near, far] = ["near", "far"].map(|name| directory.path().join(name));
        for directory in [&near, &far] {
            fs::create_dir(directory).unwrap();
        }
        let (first, second) = (near.join("first"), far.join("second"));
        symlink("../far/second", &first).unwrap();
        symlink("third", &second).unwrap();
        for text in ["what is not there yet", "what is"] {
            check_output(&first).unwrap();
            written(&first, text);
            assert_eq!(fs::read_to_string(far.join("third")).unwrap(), text);
        }
        assert!(first.is_symlink() && second.is_symlink());
        assert_eq!((fs::read_dir(near).unwrap().count(), fs::read_dir(far).unwrap().count()), (1, 2));
    }

    #[test]
    fn what_a_program_has_open_is_written_to_and_no_file_takes_the_place_of_its_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "before, ").unwrap();
        let name = PathBuf::from(format!("/dev/fd/{}", file.as_file().as_raw_fd()));
        written(&name, "after");
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "before, after");
        assert!(check_output(&name).unwrap_err().text.contains("is no file that may be replaced"));
        // As /dev/stdout is one.
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("out");
        symlink(&name, &link).unwrap();
        written(&link, ", and once more");
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "before, after, and once more");
    }

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

    #[test]
    fn a_directory_of_rows_keeps_its_files_and_gets_none_but_hidden_ones() {
        let directory = tempfile::tempdir().unwrap();
        let [rows, elsewhere] = ["rows", "elsewhere"].map(|name| directory.path().join(name));
        for directory in [&rows, &elsewhere] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(rows.join("a.csv"), "1").unwrap();
        fs::write(elsewhere.join("b.csv"), "1").unwrap();
        symlink(elsewhere.join("b.csv"), rows.join("b.csv")).unwrap();
        symlink(rows.join("new"), elsewhere.join("link")).unwrap();
        for out in [rows.join("a.csv"), rows.join("m"), elsewhere.join("b.csv"), elsewhere.join("link")] {
            let said = check_apart(&out, [&*rows]).unwrap_err().text;
            assert!(said.contains("save it elsewhere"), "{said}");
        }
        for out in [rows.join(".m"), rows.join("_m"), elsewhere.join("m"), directory.path().join("m")] {
            assert!(check_apart(&out, [&*rows]).is_ok(), "{}", out.display());
        }
    }

    #[test]
    fn a_file_that_is_written_anew_is_open_to_no_more_people() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        for mode in [0o600, 0o640] {
            fs::write(&path, "before").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            written(&path, "after");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
    }
}

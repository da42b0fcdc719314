//! Which files of rows a path names: one, several with commas between, all of a directory. Owns their order and what their
//! rows are for; does not know what is in them.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::delimited::unreadable;
use super::error::{DatasetError, Fault};
use super::place::{self, Quoted};
use super::source::{Format, Source};
use super::survey::Layout;

/// Columns that the first file has not that a sentence names.
const COLUMNS_SHOWN: usize = 4;

/// What the rows of a file are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// To train, and perhaps to be divided further.
    Train,
    /// To validate.
    Validate,
    /// To test, and nothing else.
    Test,
}

/// A file of rows.
pub(super) struct Part<'a> {
    /// What errors call it.
    pub(super) name: String,
    /// Its bytes.
    pub(super) source: Source<'a>,
    /// What its rows are for.
    pub(super) side: Side,
    /// How it is laid out, where that is not as the first one.
    pub(super) layout: Layout,
}

impl<'a> Part<'a> {
    /// A source of rows that train.
    pub(super) fn of_source(name: String, source: Source<'a>) -> Part<'a> {
        Part { name, source, side: Side::Train, layout: Layout::default() }
    }

    /// An error about it.
    pub(super) fn error(&self, fault: Fault) -> DatasetError {
        DatasetError { file: self.name.clone(), fault }
    }
}

/// A sentence about columns that the first file has not, where others have some.
pub(super) fn columns_of_later_files(parts: &[Part<'_>]) -> Option<String> {
    let mut found: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for part in parts {
        for name in part.layout.others.iter().filter(|name| seen.insert(name.as_str())) {
            found.push(format!("{} of {}", Quoted(name), part.name));
        }
    }
    (!found.is_empty()).then(|| {
        let found = place::listed(found.iter(), COLUMNS_SHOWN);
        format!("columns that the first file has not are left out: {found}")
    })
}

/// The files at this path: itself; where there is no such file, those between its commas; of a directory all that are not hidden,
/// in the order of their names.
pub(super) fn parts(path: &Path, side: Side) -> Result<Vec<Part<'static>>, DatasetError> {
    let error = |path: &Path, fault| DatasetError { file: path.display().to_string(), fault };
    let paths = match path.to_str() {
        Some(text) if text.contains(',') && !path.exists() => text.split(',').map(PathBuf::from).collect(),
        _ if path.is_dir() => listed(path).map_err(|fault| error(path, fault))?,
        _ => vec![path.to_owned()],
    };
    let is_one = paths.len() == 1;
    let part = |path: PathBuf| {
        let source = Source::of_path(&path).map_err(|fault| error(&path, fault))?;
        // What is one array has been read as such.
        if !is_one && source.is_file() && !matches!(source.open(), Ok((Format::Delimited, _)) | Err(_)) {
            let cause = "an array among files of rows; give arrays alone, features and labels with a comma between";
            return Err(error(&path, Fault::Array { cause: cause.to_owned() }));
        }
        Ok(Part { name: path.display().to_string(), source, side, layout: Layout::default() })
    };
    paths.into_iter().map(part).collect()
}

/// Whether a file of this name is hidden, as those are that programs leave beside what they write.
pub(crate) fn is_hidden(name: &OsStr) -> bool {
    matches!(name.as_encoded_bytes().first(), Some(b'.' | b'_'))
}

/// The files of a directory that are not hidden.
fn listed(directory: &Path) -> Result<Vec<PathBuf>, Fault> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        if !is_hidden(&name) {
            paths.push(entry.path());
        }
    }
    paths.sort_unstable();
    if paths.is_empty() { Err(Fault::NoFiles) } else { Ok(paths) }
}

//! The folders under `fuzz/`. Owns the files; does not know what the bytes are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// The files of a folder under `fuzz/`; none where the folder is not there.
pub fn files(name: &str) -> Files {
    let Ok(entries) = fs::read_dir(folder(name)) else { return Files::new() };
    let file = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    entries.map(|entry| file(entry.unwrap())).collect()
}

/// Puts files into a folder under `fuzz/`, beside what is there.
pub fn write(name: &str, files: &Files) {
    let folder = folder(name);
    fs::create_dir_all(&folder).unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
}

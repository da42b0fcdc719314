//! The folders under `fuzz/`: what they should hold, and what they do. Owns the files; does not know what the bytes are.

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

/// The seeds of a target must be these. With `GRADWIRE_WRITE_SEEDS` set, writes them instead.
pub fn check(target: &str, seeds: Files) {
    let folder = folder(&format!("seeds/{target}"));
    if std::env::var_os("GRADWIRE_WRITE_SEEDS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for entry in fs::read_dir(&folder).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (name, bytes) in &seeds {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
    let cure = "write them anew: GRADWIRE_WRITE_SEEDS=1 cargo test --test protocol_md --test fuzz_seeds the_seeds";
    assert_eq!(files(&format!("seeds/{target}")), seeds, "{cure}");
}

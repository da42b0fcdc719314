//! Small data files, and files in general that a test writes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A file that a test has written.
pub struct Written {
    _directory: TempDir,
    path: PathBuf,
}

impl Written {
    pub fn new(name: &str, text: impl AsRef<[u8]>) -> Written {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        Written { _directory: directory, path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// A small file of three classes that can be told apart.
pub fn small_data() -> Written {
    let mut text = String::from("width,height,weight,sort\n");
    for row in 0..240u32 {
        let class = row % 3;
        let noise = |step: u32| f64::from((row * step) % 17) / 20.0;
        let (width, height) = (f64::from(class) + noise(7), 2.0 - f64::from(class) + noise(5));
        writeln!(text, "{width},{height},{},{}", noise(3), ["ash", "oak", "fir"][class as usize]).unwrap();
    }
    Written::new("small.csv", text)
}

/// A directory that is gone with the test, and a file in it.
pub fn file_in(directory: &TempDir, name: &str) -> PathBuf {
    directory.path().join(name)
}

/// A small table of two features and two classes, in a file; the first `poisoned` rows are so large that no training on
/// them stays finite.
pub fn small_table(directory: &TempDir, poisoned: usize) -> String {
    let row = |row: usize| {
        let (x, y) = ((row % 7) as f32 - 3.0, (row % 5) as f32 - 2.0);
        let scale = if row < poisoned { 1e30 } else { 1.0 };
        format!("{},{},{}\n", x * scale, y * scale, if x > y { "over" } else { "under" })
    };
    let path = file_in(directory, "table.csv");
    std::fs::write(&path, "x,y,side\n".to_owned() + &(0..200).map(row).collect::<String>()).unwrap();
    path.to_str().unwrap().to_owned()
}

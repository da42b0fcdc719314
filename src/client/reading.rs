//! What a person at a terminal sees while a large file is read. Owns that line, and that it goes away; does not know how a file is
//! read.

use std::cell::Cell;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::cli;
use crate::dataset::{Progress, Watch};
use crate::wire::text::shown;

/// What takes less than this needs no line.
const QUIET: Duration = Duration::from_secs(1);
/// A line stands so long, at least.
const BETWEEN: Duration = Duration::from_millis(200);
const MIB: f64 = (1 << 20) as f64;

/// The line, which is taken away with this.
struct Line {
    file: String,
    /// When a line may be shown next.
    next: Cell<Instant>,
    is_shown: Cell<bool>,
    /// Which reading began when.
    began: Cell<(u32, Instant)>,
}

/// Who shows how far the reading of a file has come; nobody where standard error is no terminal.
pub(super) fn watch(file: &Path) -> Option<Watch> {
    if !io::stderr().is_terminal() {
        return None;
    }
    let now = Instant::now();
    let file = shown(&file.display().to_string()).to_string();
    let line = Line { file, next: Cell::new(now + QUIET), is_shown: Cell::new(false), began: Cell::new((0, now)) };
    Some(Rc::new(move |progress| line.show(progress)))
}

impl Line {
    fn show(&self, progress: Progress) {
        let now = Instant::now();
        // Of several files, each is read from its beginning.
        if self.began.get().0 != progress.before || progress.read == 0 {
            self.began.set((progress.before, now));
        }
        if now < self.next.get() {
            return;
        }
        self.next.set(now + BETWEEN);
        self.is_shown.set(true);
        let text = text(&self.file, progress, (now - self.began.get().1).as_secs_f64());
        let text: String = text.chars().take(cli::columns().saturating_sub(1)).collect();
        // Whoever does not see it misses nothing.
        _ = write!(io::stderr(), "\r{text}\x1b[K");
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_shown.get() {
            _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// What is said of a reading after so many seconds; the file's name comes last, as it may be cut.
fn text(file: &str, Progress { before, read, all }: Progress, seconds: f64) -> String {
    let rate = read as f64 / seconds.max(1e-3);
    let of_all = all.map_or(String::new(), |all| format!(" of {:.0}", all as f64 / MIB));
    let reading = ["first", "second", "third"].get(before as usize).unwrap_or(&"next");
    let left = all.map_or(String::new(), |all| {
        format!(", {:.0} s left", (all.saturating_sub(read) as f64 / rate.max(1.0)).ceil())
    });
    format!("client: {:.0}{of_all} MiB, {:.0} MiB/s{left}, {reading} reading of {file}", read as f64 / MIB, rate / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left_follow_from_what_has_been_read() {
        let file = Progress { before: 0, read: 256 << 20, all: Some(1 << 30) };
        assert_eq!(text("a.csv", file, 2.0), "client: 256 of 1024 MiB, 128 MiB/s, 6 s left, first reading of a.csv");
        let pipe = Progress { before: 1, read: 256 << 20, all: None };
        assert_eq!(text("-", pipe, 0.5), "client: 256 MiB, 512 MiB/s, second reading of -");
    }
}

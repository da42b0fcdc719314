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

/// What is said of a reading after so many seconds.
fn text(file: &str, Progress { before, read, all }: Progress, seconds: f64) -> String {
    let rate = read as f64 / seconds.max(1e-3);
    let reading = if before == 0 { "first" } else { "second" };
    let mut text = format!("client: reading {file}, {reading} time: {:.0} ", read as f64 / MIB);
    if let Some(all) = all {
        text += &format!("of {:.0} ", all as f64 / MIB);
    }
    text += &format!("MiB, {:.0} MiB/s", rate / MIB);
    if let Some(all) = all {
        text += &format!(", {:.0} s left", (all.saturating_sub(read) as f64 / rate.max(1.0)).ceil());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left_follow_from_what_has_been_read() {
        let file = Progress { before: 0, read: 256 << 20, all: Some(1 << 30) };
        assert_eq!(text("a.csv", file, 2.0), "client: reading a.csv, first time: 256 of 1024 MiB, 128 MiB/s, 6 s left");
        let pipe = Progress { before: 1, read: 256 << 20, all: None };
        assert_eq!(text("-", pipe, 0.5), "client: reading -, second time: 256 MiB, 512 MiB/s");
    }
}

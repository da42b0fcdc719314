//! What the three programs share on the command line: the log's form, Ctrl-C, exit codes, output that survives a closed
//! pipe, the terminal's width, options from the environment. Does not know what the programs do.

#[cfg(feature = "client")]
mod color;
pub mod environment;
mod terminal;

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use crossbeam_channel::{Receiver, bounded, select};
use log::{Level, LevelFilter, Log, Metadata, Record};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

#[cfg(feature = "client")]
pub use color::{Color, Paint};
pub use terminal::{columns, wrap};

/// How a program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Success = 0,
    /// The job failed.
    JobFailed = 1,
    /// The command line, a file or the data is wrong. clap uses the same.
    Usage = 2,
    /// The other program cannot be reached, refused, or went away.
    Connection = 3,
    /// The result could not be written.
    Output = 4,
    /// The job was cancelled.
    Cancelled = 5,
    /// The job waits to be resumed.
    Paused = 6,
    /// A fault of the program's own. A panic ends with the same.
    Fault = 101,
    /// Ended from the keyboard.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// A mistake that ends a program: a sentence, and an exit code by its kind.
#[derive(Debug)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// The sentence.
    pub text: String,
}

impl Failure {
    /// A failure with this sentence.
    pub fn new(exit: Exit, text: impl fmt::Display) -> Failure {
        Failure { exit, text: text.to_string() }
    }

    /// Whoever read the output has gone before its end: that is no success, and he knows without a word.
    pub const fn unread() -> Failure {
        Failure { exit: Exit::Output, text: String::new() }
    }

    /// Whether it is that nobody reads any more.
    pub fn is_unread(&self) -> bool {
        self.text.is_empty()
    }
}

/// Says on stderr why a program ends, and gives its exit code.
pub fn exit(program: &str, result: Result<Exit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.is_unread() {
                // A closed stderr leaves nobody to tell.
                let _ = writeln!(io::stderr(), "{program}: {}", failure.text);
            }
            failure.exit.into()
        }
    }
}

/// Sends the log to stderr, a plain line each. `RUST_LOG` overrides the level, for single modules too.
#[cfg(feature = "coordinator")]
pub fn start_log(program: &'static str, level: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level).parse_default_env();
    builder.format(move |out, record| out.write_all(log_line(program, record).as_bytes()));
    builder.init();
}

/// The same without filters, for a small program: `RUST_LOG` is a level, `off`, `error`, `warn`, `info`, `debug` or
/// `trace`; anything else in it counts as nothing.
pub fn start_plain_log(program: &'static str, level: LevelFilter) {
    let level = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok()).unwrap_or(level);
    // A second log would be a bug, and is no reason to end.
    if log::set_boxed_logger(Box::new(PlainLog(program))).is_ok() {
        log::set_max_level(level);
    }
}

/// The log of a program.
struct PlainLog(&'static str);

impl Log for PlainLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // In one call: threads share stderr with each other and with whoever else writes to it. A closed one leaves nobody
        // to tell.
        let _ = io::stderr().write_all(log_line(self.0, record).as_bytes());
    }

    fn flush(&self) {}
}

/// What the log of every program looks like.
fn log_line(program: &str, record: &Record<'_>) -> String {
    let level = match record.level() {
        Level::Error => "error: ",
        Level::Warn => "warn: ",
        Level::Info => "",
        Level::Debug => "debug: ",
        Level::Trace => "trace: ",
    };
    format!("{program}: {level}{}\n", record.args())
}

/// SIGINT and SIGTERM, which end nothing by themselves once this is made.
#[derive(Debug)]
pub struct Interrupts(Signals);

impl Interrupts {
    /// From now on.
    pub fn catch() -> Result<Interrupts, Failure> {
        Signals::new([SIGINT, SIGTERM]).map(Interrupts).map_err(uncaught)
    }

    /// From now on, where the second ends the program at once.
    pub fn catch_first() -> Result<Interrupts, Failure> {
        let is_second = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the one that sets the flag does not find it set.
            let exit = flag::register_conditional_shutdown(signal, Exit::Interrupted as i32, is_second.clone());
            exit.and_then(|_| flag::register(signal, is_second.clone())).map_err(uncaught)?;
        }
        Interrupts::catch()
    }

    /// Waits for the next.
    pub fn wait(&mut self) {
        self.0.forever().next();
    }

    /// A message for each; but within [`interruptible`] the program ends.
    pub fn into_messages(mut self) -> Result<Receiver<()>, Failure> {
        let (sender, receiver) = bounded(4);
        // This ends with the program.
        let forward = move || {
            self.0.forever().for_each(|_| {
                IS_INTERRUPTED.store(true, Ordering::SeqCst);
                if IS_INTERRUPTIBLE.load(Ordering::SeqCst) {
                    end_interrupted();
                }
                let _ = sender.try_send(());
            });
        };
        Builder::new().name("signals".to_owned()).stack_size(64 << 10).spawn(forward).map_err(uncaught)?;
        Ok(receiver)
    }
}

/// Whether an interrupt ends the program at once, and whether there was one. Whoever sets one of them looks at the other then, so that
/// none is missed.
static IS_INTERRUPTIBLE: AtomicBool = AtomicBool::new(false);
static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Does what may wait for a person or a pipe as long as they like, and has begun nothing that would have to be ended: an interrupt
/// ends the program meanwhile.
pub fn interruptible<T>(work: impl FnOnce() -> T) -> T {
    IS_INTERRUPTIBLE.store(true, Ordering::SeqCst);
    if IS_INTERRUPTED.load(Ordering::SeqCst) {
        end_interrupted();
    }
    let done = work();
    IS_INTERRUPTIBLE.store(false, Ordering::SeqCst);
    done
}

/// A file that is being written, which is not to stay behind half written.
static PART: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Makes a file that an interrupt within [`interruptible`] removes before it ends the program, until [`keep_when_interrupted`].
/// One that comes meanwhile waits for its name.
#[cfg(feature = "client")]
pub fn removed_when_interrupted(
    make: impl FnOnce() -> io::Result<tempfile::NamedTempFile>,
) -> io::Result<tempfile::NamedTempFile> {
    let mut part = PART.lock().unwrap_or_else(PoisonError::into_inner);
    let made = make()?;
    *part = Some(made.path().to_owned());
    Ok(made)
}

/// The file is whole, and stays whatever comes.
#[cfg(feature = "client")]
pub fn keep_when_interrupted() {
    *PART.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Ends the program, and leaves no half-written file behind.
fn end_interrupted() -> ! {
    if let Some(part) = PART.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // One that has gone by itself is none to remove.
        let _ = fs::remove_file(part);
    }
    process::exit(Exit::Interrupted as i32)
}

/// Waits for an interrupt, or for the news that the program cannot go on: these then.
pub fn first<T>(interrupts: &Receiver<()>, news: &Receiver<T>) -> Option<T> {
    select! {
        recv(interrupts) -> _ => None,
        recv(news) -> news => news.ok(),
    }
}

fn uncaught(error: io::Error) -> Failure {
    Failure::new(Exit::Usage, format_args!("signals cannot be caught: {error}"))
}

/// Writes lines to stdout, without their last end. In one piece: a reader that goes has had all of a short text, or nothing.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{text}\n").as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::unread(),
        _ => Failure::new(Exit::Output, format!("the result cannot be written: {error}")),
    })
}

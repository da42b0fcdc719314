//! `node.py` as a child process that ends with the test. Owns how it is started and how its log is heard; knows nothing
//! of what it is asked.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use crate::common::has_python;
use crate::common::process::PATIENCE;

/// The path of its source.
pub fn source() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "interop", "node.py"].iter().collect()
}

/// A running `node.py`, named python; killed when dropped.
pub struct Python {
    child: Child,
    pub address: SocketAddr,
    log: Receiver<String>,
    /// Lines of its log that have been looked at.
    seen: RefCell<Vec<String>>,
}

impl Python {
    /// Starts it at any port; `None` where it cannot run.
    pub fn start(options: &[&str]) -> Option<Python> {
        Python::start_at(0, options)
    }

    /// Starts it at this port; `None` where it cannot run.
    pub fn start_at(port: u16, options: &[&str]) -> Option<Python> {
        if !has_python() {
            return None;
        }
        let mut command = Command::new("python3");
        command.arg(source()).arg(port.to_string()).args(["--name", "python"]).args(options);
        // Threads of its matrix library that wait for each other take the processor from whatever else is tested.
        command.env("OPENBLAS_NUM_THREADS", "1");
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = channel();
        // It reads to the end whether or not anybody listens: a full pipe would stop the node.
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut python = Python { child, address, log, seen: RefCell::default() };
        let line = python.await_line("listening at ");
        python.address = line.split("listening at ").nth(1).unwrap().parse().unwrap();
        Some(python)
    }

    /// The first line of its log that contains `words`.
    pub fn await_line(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.seen.borrow_mut();
        if let Some(line) = seen.iter().find(|line| line.contains(words)) {
            return line.clone();
        }
        loop {
            let line = self.log.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            seen.push(line.unwrap_or_else(|_| panic!("node.py does not say {words:?}")));
            if let Some(line) = seen.last().filter(|line| line.contains(words)) {
                return line.clone();
            }
        }
    }

    /// Ends it without a goodbye.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end as a person would; its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.borrow_mut().push(line),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap().code(),
                Err(RecvTimeoutError::Timeout) => panic!("node.py does not end"),
            }
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("what node.py has said:");
            self.seen.borrow().iter().cloned().chain(self.log.iter()).for_each(|line| eprintln!("  {line}"));
        }
    }
}

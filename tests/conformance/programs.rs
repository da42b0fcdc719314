//! Programs into which a library is loaded that changes how their threads compute: they end, and say why.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use tempfile::TempPath;

use crate::common::clients::Client;
use crate::common::process::PATIENCE;
use crate::common::servers::{Coordinator, Node};
use crate::common::skip;

const NODE: &str = env!("CARGO_BIN_EXE_compute_node");
const COORDINATOR: &str = env!("CARGO_BIN_EXE_coordinator_node");
const CLIENT: &str = env!("CARGO_BIN_EXE_client");

/// The library; none where there is no compiler for it.
fn library() -> Option<TempPath> {
    let library = tempfile::Builder::new().suffix(".so").tempfile().unwrap().into_temp_path();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/flush.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    match built {
        Ok(status) => {
            assert!(status.success(), "the library does not build");
            Some(library)
        }
        Err(error) => {
            skip(format!("there is no C compiler (cc: {error})"));
            None
        }
    }
}

/// How a program ends into which the library is loaded, and what it says.
fn ends(library: &Path, flush: &str, program: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let child = Command::new(program)
        .args(arguments)
        .env("LD_PRELOAD", library)
        .env("FLUSH", flush)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let (told, ended) = channel();
    thread::spawn(move || told.send(child.wait_with_output().unwrap()));
    let Ok(output) = ended.recv_timeout(PATIENCE) else {
        crate::common::process::signal("KILL", &[pid]);
        panic!("{program} {arguments:?} does not end");
    };
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Whether this is the sentence, and nothing was done before it.
fn check(library: &Path, flush: &str, program: &str, arguments: &[&str]) {
    let (code, said) = ends(library, flush, program, arguments);
    let what = format!("{program} {arguments:?}, {flush}: {code:?}, {said}");
    let cure = "subnormal numbers are flushed to zero: was a library built with -ffast-math loaded, or LD_PRELOADed?";
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("this machine does not compute arithmetic ") && last.ends_with(cure), "{what}");
    assert_eq!(code, Some(3), "{what}");
}

#[test]
fn a_program_whose_main_thread_flushes_subnormal_numbers_ends_and_says_so() {
    let Some(library) = library() else { return };
    for kernel in ["auto", "portable"] {
        check(&library, "main", NODE, &["0", "0", "--kernel", kernel]);
        check(&library, "main", COORDINATOR, &["0", "2", "--kernel", kernel]);
        check(&library, "main", CLIENT, &["--local", "2", "--kernel", kernel]);
    }
    // It need not find a coordinator to know that it cannot compute.
    check(&library, "main", CLIENT, &["127.0.0.1", "1"]);
    check(&library, "main", CLIENT, &["127.0.0.1", "1", "verify", "0123"]);
}

#[test]
fn a_program_whose_other_threads_flush_subnormal_numbers_ends_and_says_so() {
    let Some(library) = library() else { return };
    check(&library, "threads", NODE, &["0", "0"]);
    check(&library, "threads", NODE, &["0", "0", "--workers", "3"]);
    check(&library, "threads", COORDINATOR, &["0", "2"]);
    check(&library, "threads", CLIENT, &["--local", "2"]);
    // What recomputes tasks are threads, too.
    let nodes = [Node::named("well")];
    let coordinator = Coordinator::of("2", &nodes, &[]);
    let job = "00000000000000000000000000000001";
    Client::start(&coordinator, &["--rounds", "1", "--epochs", "1", "--job", job]).finish();
    check(&library, "threads", CLIENT, &["127.0.0.1", &coordinator.port.to_string(), "verify", job]);
}

#[test]
fn a_library_that_changes_nothing_is_no_reason_to_end() {
    let Some(library) = library() else { return };
    let (code, said) = ends(&library, "nothing", CLIENT, &["--local", "2", "--rounds", "1", "--epochs", "1"]);
    assert_eq!(code, Some(0), "{said}");
}

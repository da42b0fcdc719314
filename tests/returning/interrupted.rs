//! Ctrl-C, whatever the client waits for: it ends, and says what becomes of the job.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use gradwire::job::JobState;
use gradwire::wire::message::Error;
use gradwire::wire::{ErrorCode, Message, MessageType};

use crate::coming_back::go_on;
use crate::common::process::{Lines, PATIENCE, reserve_port, signal};
use crate::common::tables::{Written, small_data};
use crate::script::{Script, accepted, await_submit, more, next_request, notice};

/// A client that trains this table at a coordinator on this port, and whose stderr is read.
fn client_of(data: &Written, port: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(["127.0.0.1", port, "--data", data.text()]).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn ctrl_c_ends_a_client_that_waits_for_rows() {
    let at_nobody = reserve_port().to_string();
    for words in [&["127.0.0.1", &at_nobody, "--data", "-"][..], &["--local", "1", "--data", "-"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut rows, said) = (child.stdin.take().unwrap(), Lines::of(child.stderr.take().unwrap()));
        let (sender, taken) = channel();
        // More than a pipe holds: it is written once the client reads.
        thread::spawn(move || sender.send(rows.write_all(&b"1,2,a\n".repeat(100_000)).map(|()| rows)));
        let rows = taken.recv_timeout(PATIENCE).expect("rows are read").unwrap();
        assert!(signal("INT", &[child.id()]));
        said.all(PATIENCE);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{words:?}");
        drop(rows);
    }
}

#[test]
fn ctrl_c_ends_a_client_that_looks_for_its_coordinator() {
    let (data, coordinator) = (small_data(), Script::new());
    let mut child = client_of(&data, &coordinator.port());
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut peer = coordinator.welcome();
    go_on(&mut peer, false, 1..=1);
    drop((peer, coordinator));
    assert!(said.any(|line| line.contains("lost the coordinator")));
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let last = said.last().unwrap();
    assert!(last.contains("stopped watching; when the coordinator is back, client 127.0.0.1 "), "{last}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn ctrl_c_leaves_the_job_alone_and_says_how_to_see_the_rest() {
    let (data, coordinator) = (small_data(), Script::new());
    let port = coordinator.port();
    let mut child = client_of(&data, &port);
    let said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut peer = coordinator.welcome();
    let (request, submit) = go_on(&mut peer, false, 1..=1);
    more(&mut peer, notice("all is well"), request);
    let mut said = said.skip_while(|line| !line.contains("all is well"));
    assert!(said.next().is_some());
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let expected = format!(
        "client: stopped watching; the job continues: client 127.0.0.1 {port} attach {} shows the rest",
        submit.job
    );
    assert_eq!(said.next().as_deref(), Some(&*expected));
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn ctrl_c_before_a_round_is_done_does_not_promise_that_the_job_goes_on() {
    let (data, coordinator) = (small_data(), Script::new());
    let mut child = client_of(&data, &coordinator.port());
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut peer = coordinator.welcome();
    let (request, _) = await_submit(&mut peer);
    more(&mut peer, accepted(JobState::Running, false, 0), request);
    more(&mut peer, notice("all is well"), request);
    assert!(said.any(|line| line.contains("all is well")));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let last = said.next().unwrap();
    assert!(last.contains("stopped watching: client 127.0.0.1 "), "{last}");
    assert!(last.ends_with("shows the rest if all of the job's data had been sent; if not, submit it again"), "{last}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn ctrl_c_ends_a_client_that_asks_how_long_a_full_coordinator_is_full() {
    let (data, coordinator) = (small_data(), Script::new());
    let mut child = client_of(&data, &coordinator.port());
    let said = Lines::of(child.stderr.take().unwrap());
    let mut peer = coordinator.welcome();
    let (request, _) = await_submit(&mut peer);
    let busy = Error::new(ErrorCode::Busy, MessageType::Submit as u8, "1024 jobs are queued already");
    peer.send(busy.retryable(), request);
    assert!(matches!(next_request(&mut peer).unwrap().message(), Message::Jobs(_)));
    // It is not answered.
    assert!(signal("INT", &[child.id()]));
    let said = said.all(PATIENCE);
    assert!(said.iter().any(|line| line.contains("stopped before the coordinator accepted the job")), "{said:?}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

//! What a client asks about jobs: how they stand, their ledgers and their models.

use std::thread;

use gradwire::job::JobState;

use gradwire::digest::Digest;
use gradwire::model::{Outer, OuterOptimiser, Schedule};
use gradwire::wire::{ErrorCode, Message};
use serde_json::Value;

use crate::book::{Book, ROUNDS, SHARDS};
use crate::common::clients::client;
use crate::common::process::Ended;
use crate::script::{Script, next_request};

/// Asks a coordinator that knows this job, on one connection.
pub fn ask(book: &Book, arguments: &[&str]) -> Ended {
    let script = Script::new();
    let port = script.port();
    thread::scope(|scope| {
        scope.spawn(|| book.serve(script.welcome()));
        client(["127.0.0.1", &port].iter().chain(arguments))
    })
}

pub fn notes() -> Vec<u8> {
    // Written by hand: what another version's client reads is this, not what our code makes of it.
    br#"{"class_names":["oak","ash"],"data":"trees.csv","feature_inverse_deviations":[0.5,0.1],"feature_means":[1.5,-2.0],
    "feature_names":["width","height"],"format":"gradwire client notes 1","recipe":"default"}"#
        .to_vec()
}

#[test]
fn all_jobs_are_listed_in_a_table_and_as_json() {
    let book = Book::new(notes());
    let table = ask(&book, &["jobs"]);
    assert_eq!(table.code, Some(0), "{table:?}");
    let lines: Vec<Vec<&str>> = table.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["JOB", "STATE", "ROUNDS", "SUBMITTED", "ENDED", "RESULT"]);
    assert_eq!(lines.len(), 4);
    let fingerprint = book.done.summary.fingerprint.short();
    let id = book.job.to_string();
    // Nobody looks: the table is made for 80 columns.
    assert_eq!(lines[1], [&id[..8], "done", "6/6", "2000-02-29T12:34Z", "-", &fingerprint]);
    assert!(table.stdout.lines().all(|line| line.len() <= 80), "{table:?}");
    let json = ask(&book, &["jobs", "--json"]);
    let jobs: Vec<Value> = json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((jobs.len(), &jobs[0]["job"], &jobs[0]["state"]), (3, &id.into(), &"done".into()));
}

#[test]
fn one_job_is_found_by_the_beginning_of_its_id_if_no_other_begins_so() {
    let book = Book::new(notes());
    for name in ["beef", "BEEF0000", &book.job.to_string()] {
        let ended = ask(&book, &["job", name]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        for line in ["state        done", "data         trees.csv: 12 rows for training in 3 shards", "seed         7"]
        {
            assert!(ended.stdout.contains(line), "{line}: {ended:?}");
        }
    }
    let none = ask(&book, &["job", "1234"]);
    assert_eq!((none.code, none.stdout.as_str()), (Some(1), ""));
    assert!(none.stderr.contains("knows no job 1234") && none.stderr.contains(" jobs lists"), "{none:?}");
    let mut twin = book.clone();
    twin.job.0 = 0xCAFE << 112 | 4;
    let several = ask(&twin, &["job", "cafe"]);
    assert_eq!(several.code, Some(2), "{several:?}");
    assert!(several.stderr.contains("2 jobs begin with cafe") && several.stderr.contains("add digits"), "{several:?}");
    let foreign = ask(&book, &["job", &"1".repeat(32)]);
    assert_eq!(foreign.code, Some(1), "{foreign:?}");
}

#[test]
fn orders_say_how_the_job_stands_after_them() {
    let mut book = Book::new(notes());
    book.state = JobState::Running;
    let resumed = ask(&book, &["resume", "beef"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let (id, stdout) = (book.job, &resumed.stdout);
    assert!(stdout.starts_with(&format!("job {id} is running, 6 of 6 rounds done; client 127.0.0.1 ")), "{stdout}");
    assert!(stdout.ends_with(&format!(" attach {id} shows the rest\n")), "{stdout}");
    book.state = JobState::Paused;
    let cancelled = ask(&book, &["cancel", "beef"]);
    assert_eq!(cancelled.stdout, format!("job {id} is paused: no node was left\n"));
}

#[test]
fn what_has_ended_for_good_is_not_resumed_and_says_so() {
    let mut book = Book::new(notes());
    for state in [JobState::Done, JobState::Cancelled, JobState::Failed] {
        book.state = state;
        let resumed = ask(&book, &["resume", "beef"]);
        assert_eq!((resumed.code, resumed.stdout.as_str()), (Some(1), ""), "{resumed:?}");
        assert!(resumed.stderr.contains("it has ended for good, and cannot be resumed"), "{resumed:?}");
    }
}

#[test]
fn weights_of_a_job_that_is_not_done_are_saved_as_such() {
    let directory = tempfile::TempDir::new().unwrap();
    let out = directory.path().join("so-far");
    let mut book = Book::new(notes());
    book.state = JobState::Paused;
    book.entries.truncate(4 * SHARDS as usize);
    let saved = ask(&book, &["model", "beef", "--out", out.to_str().unwrap()]);
    assert_eq!(saved.code, Some(0), "{saved:?}");
    assert!(saved.stdout.contains("\nunfinished   4 of 6 steps\nmodel        "), "{saved:?}");
    let says = format!("job {} is paused: these are its weights after 4 of 6 steps; ", book.job);
    assert!(saved.stderr.contains(&says) && saved.stderr.contains("resume"), "{saved:?}");
    let text = String::from_utf8_lossy(&std::fs::read(out).unwrap()).into_owned();
    assert!(text.contains("4 of 6 steps") && !text.contains("validation_errors"), "{text}");
}

#[test]
fn a_ledger_is_read_page_by_page_to_its_end() {
    let mut book = Book::new(notes());
    let ended = ask(&book, &["ledger", "beef"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<Vec<&str>> = ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 1 + (ROUNDS * SHARDS) as usize);
    for (place, line) in lines[1..].iter().enumerate() {
        let (round, shard) = (place as u32 / SHARDS + 1, place as u32 % SHARDS);
        assert_eq!((line[0], line[1]), (&*round.to_string(), &*shard.to_string()));
        if (round, shard) == (2, 1) {
            assert_eq!(line[2..], ["SKIPPED", "-", "-", "4", "-", "-"]);
        } else {
            assert_eq!(line[2..4], ["MERGED", &format!("node-{shard}")]);
            assert_eq!(line[7], book.task(round, shard).update.short());
        }
    }
    assert!(ended.stderr.contains("18 of 18 tasks: 6 of 6 rounds done"), "{ended:?}");
    book.entries.truncate(2 * SHARDS as usize);
    let partly = ask(&book, &["ledger", "beef", "--json"]);
    let last: Value = serde_json::from_str(partly.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["round"], &last["shard"], &last["result"]), (&2.into(), &2.into(), &"merged".into()));
    assert!(ask(&book, &["ledger", "beef"]).stderr.contains("6 of 18 tasks: 2 of 6 rounds done"));
}

#[test]
fn a_done_jobs_model_is_written_without_its_data_if_its_notes_are_there() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let book = Book::new(notes());
    let saved = ask(&book, &["model", "beef", "--out", &path("a")]);
    assert_eq!(saved.code, Some(0), "{saved:?}");
    assert!(saved.stdout.contains(&book.done.summary.fingerprint.to_string()), "{saved:?}");
    let attached = ask(&book, &["attach", "beef", "--out", &path("b"), "--quiet"]);
    assert_eq!(attached.code, Some(0), "{attached:?}");
    let bytes = std::fs::read(path("a")).unwrap();
    assert_eq!(bytes, std::fs::read(path("b")).unwrap());
    let text = String::from_utf8_lossy(&bytes);
    for words in ["trees.csv", r#"[\"oak\",\"ash\"]"#, "[1.5,-2.0]", &book.done.summary.fingerprint.to_string()] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let wordless = Book::new(b"{}".to_vec());
    for command in ["model", "attach"] {
        let refused = ask(&wordless, &[command, "beef", "--out", &path("c")]);
        assert_eq!(refused.code, Some(4), "{refused:?}");
        assert!(refused.stderr.contains("no notes of a client") && refused.stderr.contains("--out"), "{refused:?}");
    }
    let running = Book { state: JobState::Running, ..book.clone() };
    let refused = ask(&running, &["model", "beef", "--out", &path("c")]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("6 of 6 rounds done") && refused.stderr.contains("attach"), "{refused:?}");
    let mut lie = book;
    lie.done.summary.fingerprint = Digest([1; 32]);
    let refused = ask(&lie, &["model", "beef", "--out", &path("c")]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("is not that of this job"), "{refused:?}");
    assert!(!directory.path().join("c").exists());
}

#[test]
fn attaching_shows_all_rounds_of_a_job_that_is_done() {
    let ended = ask(&Book::new(notes()), &["attach", "beef"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let rounds = ended.stdout.lines().filter(|line| line.trim_start().contains("/6 ")).count();
    assert_eq!(rounds, ROUNDS as usize, "{ended:?}");
    assert!(ended.stderr.contains("trees.csv: 12 rows for training in 3 shards"), "{ended:?}");
}

#[test]
fn an_outer_optimiser_is_named_wherever_a_job_is_described() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("model").to_str().unwrap().to_owned();
    let outer = Outer { optimiser: OuterOptimiser::Nesterov, eta: 0.5, schedule: Schedule::Cosine, ..Outer::AVERAGE };
    let outer = Outer { eta_decay: 0.75, warmup: 2, ..outer };
    let book = Book::with_inexact(notes(), Outer { clip: Some(2.5), ..outer }, (u64::MAX, 0));
    let words = "nesterov, eta 0.5, momentum 0.9, schedule cosine, eta decay 0.75, warmup 2, clip 2.5";
    let shown = ask(&book, &["job", "beef"]);
    // The line is longer than the terminal is wide.
    let told = shown.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains(&format!("outer {words} accuracy")), "{shown:?}");
    let attached = ask(&book, &["attach", "beef", "--out", &path]);
    assert!(attached.stderr.contains(&format!("; outer {words}\n")), "{attached:?}");
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    for described in [
        r#""job.outer":"nesterov""#,
        r#""job.outer_eta":"0.5""#,
        r#""job.outer_schedule":"cosine""#,
        r#""job.outer_warmup":"2""#,
    ] {
        assert!(text.contains(described), "{described}: {text}");
    }
}

#[test]
fn a_coordinator_that_answers_otherwise_than_it_may_is_told_of() {
    let script = Script::new();
    let port = script.port();
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = script.welcome();
            let frame = next_request(&mut peer).unwrap();
            assert!(matches!(frame.message(), Message::Jobs(_)));
            peer.send(gradwire::wire::message::Listed { jobs: 3 }, frame.header.request);
            while next_request(&mut peer).is_some() {}
        });
        client(["127.0.0.1", &port, "jobs"])
    });
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("does not fit"), "{ended:?}");
}

#[test]
fn a_question_waits_until_the_journal_is_read() {
    let (script, book) = (Script::new(), Book::new(notes()));
    let port = script.port();
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            script.refuse(ErrorCode::Recovering);
            script.refuse(ErrorCode::Recovering);
            book.serve(script.welcome());
        });
        client(["127.0.0.1", &port, "jobs"])
    });
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stderr.matches("the journal is being read").count(), 1, "{ended:?}");
}

#[test]
fn wrong_command_lines_are_refused_with_their_cure() {
    let refused = |arguments: &[&str], words: &[&str]| {
        let ended = client(["127.0.0.1", "1"].iter().chain(arguments));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        words.iter().for_each(|word| assert!(ended.stderr.contains(word), "{word}: {ended:?}"));
    };
    refused(&["tarin"], &["no command \"tarin\"; train is close to it: client 127.0.0.1 1 train\n"]);
    refused(&["frob"], &["no command \"frob\"", "train, jobs"]);
    for command in ["job", "attach", "cancel", "resume", "model", "ledger", "verify"] {
        let lists = "client 127.0.0.1 1 jobs lists them";
        refused(&[command], &[&format!("client: {command} of which job? client 127.0.0.1 1 {command} ID; {lists}\n")]);
        refused(
            &[command, "xyz"],
            &[&format!("{command} of which job? \"xyz\" is no ID: "), "32 hexadecimal", "first 4", lists],
        );
        let cure =
            format!("client: {command} takes one ID, and \"extra\" follows it: client 127.0.0.1 1 {command} beef\n");
        refused(&[command, "beef", "extra"], &[&cure]);
        refused(&[command, "beef", "extra", "more"], &[&cure]);
    }
    let shows = "jobs takes no ID, and \"beef\" follows it: client 127.0.0.1 1 job beef shows that one job\n";
    refused(&["jobs", "beef"], &[shows]);
    refused(&["jobs", "beef", "extra"], &[shows]);
    refused(
        &["jobs", "extra"],
        &["jobs takes no word, and \"extra\" follows it: client 127.0.0.1 1 jobs lists all jobs\n"],
    );
    refused(&["tarin", "beef", "extra"], &["no command \"tarin\""]);
    for line in [&["train", "beef"][..], &["train", "trees.csv", "more"]] {
        refused(line, &[&format!("{:?} follows it", line[1]), "--job ID", "--data FILE.csv"]);
    }
    refused(&["ledger", "beef", "--rounds", "3", "--on-no-nodes", "pause"], &["does not take --rounds, --on-no-nodes"]);
    refused(&["model", "beef"], &["client 127.0.0.1 1 model beef --out FILE.safetensors"]);
    refused(&["--sample", "3"], &["--sample is for verify"]);
    for number in ["0", "many"] {
        refused(&["verify", "beef", "--sample", number], &["--sample", number, "a whole number from 1 to "]);
    }
    refused(&["--on-no-nodes", "wait"], &["fail or pause"]);
}

#[test]
fn a_coordinator_that_is_named_by_half_is_asked_for() {
    let lines: [(&[&str], &str); 10] = [
        (&[], "which coordinator? client IP PORT asks one"),
        (&["jobs"], "jobs at which coordinator? Its IP and PORT come first: client IP PORT jobs"),
        (&["ledger", "127.0.0.1", "5105", "beef"], "ledger at which coordinator?"),
        (&["127.0.0.1"], "which port of 127.0.0.1? client 127.0.0.1 PORT"),
        (&["127.0.0.1", "jobs"], "jobs at which port of 127.0.0.1? It comes first: client 127.0.0.1 PORT jobs"),
        (&["127.0.0.1", "http", "jobs"], "a number from 1 to 65535, and not \"http\": client 127.0.0.1 PORT"),
        (&["127.0.0.1", "0"], "a number from 1 to 65535, and not \"0\""),
        (&["127.0.0.1:5105", "jobs"], "\"127.0.0.1:5105\" is one: client 127.0.0.1 5105"),
        (&["--local", "1", "jobs"], "leave out \"jobs\" and what follows it, or --local"),
        (&["127.0.0.1", "5105", "--local", "1"], "leave out \"127.0.0.1\" and what follows it, or --local"),
    ];
    for (line, sentence) in lines {
        let ended = client(line);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.stderr.starts_with("client: ") && ended.stderr.lines().count() == 1, "{ended:?}");
        assert!(ended.stderr.contains(sentence), "{sentence}: {ended:?}");
    }
}

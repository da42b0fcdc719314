//! Reports, from outside: made with training, of a model file, and later by a coordinator; and looked at in a browser, where there
//! is one.
#![cfg(feature = "client")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::clients::client;
use common::servers::{Coordinator, Node};
use common::skip;
use tempfile::TempDir;

const CLIENT: &str = env!("CARGO_BIN_EXE_client");
/// Programs that are Chromium.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// What a command that must succeed prints.
fn printed(words: &[&str]) -> String {
    let output = Command::new(CLIENT).args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Rows of two columns, one of which has a name that would run, and of two classes, one of which has.
fn hostile_data(directory: &TempDir) -> PathBuf {
    let data = directory.path().join("it's <b>data.csv");
    let mut text = "<script>document.title='run'</script>,x,kind\n".to_owned();
    for row in 0..120 {
        let kind = if row % 3 == 0 { "<script>document.title='run'</script>" } else { "oak & ash" };
        text.push_str(&format!("{},{},{kind}\n", row % 3, row % 7));
    }
    fs::write(&data, text).unwrap();
    data
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_report_is_made_with_training_and_its_command_makes_the_same_model() {
    let directory = TempDir::new().unwrap();
    let data = hostile_data(&directory);
    let out = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (report, model) = (out("report.html"), out("model.safetensors"));
    let words = ["--local", "2", "--data", data.to_str().unwrap(), "--hidden", "4", "--rounds", "5", "--quiet"];
    let trained = printed(&[&words[..], &["--report", &report, "--out", &model]].concat());
    assert!(trained.contains(&format!("report       {report}")), "{trained}");
    let fingerprint = trained.lines().find_map(|line| line.strip_prefix("fingerprint  ")).unwrap();
    let page = text_of(Path::new(&report));
    assert!(page.contains(fingerprint) && page.len() < 2 << 20);
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;document.title=&#39;run&#39;&lt;/script&gt;"));
    for part in ["Confusion matrix", "Loss by row", "<svg", "node-", "oak &amp; ash", "No revival was needed."] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    // The command, as a shell runs it.
    let command = page.split("<pre><code>").nth(1).unwrap().split("</code>").next().unwrap();
    let command = command.replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let command = command.replacen("client", CLIENT, 1).replace(&report, &out("again.html"));
    let again = Command::new("sh").args(["-c", &command]).output().unwrap();
    assert!(String::from_utf8_lossy(&again.stdout).contains(fingerprint), "{command}: {again:?}");
    assert!(text_of(Path::new(&out("again.html"))).contains(fingerprint));

    // Of the model file there is less, and what there is not is said.
    let page = printed(&["report", &model]);
    assert!(page.contains(fingerprint) && page.contains("no history of the rounds") && !page.contains("<script"));
    assert!(page.contains("computed again for this page") && page.contains("report MODEL --data FILE"), "{page}");

    // With rows it is judged by them, as evaluate judges it.
    let data = data.to_str().unwrap();
    let page = printed(&["report", &model, "--data", data]);
    let figures = printed(&["evaluate", &model, data, "--importance"]);
    let table = figures.split("COLUMN").nth(1).unwrap();
    let most = table.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap();
    for part in ["Confusion matrix", "among 120 rows (seed 1)", "120 rows of ", most, "oak &amp; ash"] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    assert!(!page.contains("<script"), "{page}");
    for (wrong, said) in [(&["--separator", ","][..], "--data"), (&["--data", "nowhere.csv"], "nowhere.csv")] {
        let refused = Command::new(CLIENT).args([&["report", &model], wrong].concat()).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(said), "{refused:?}");
    }
}

#[test]
fn a_report_of_tasks_has_their_ledger_and_a_coordinator_makes_it_later() {
    let directory = TempDir::new().unwrap();
    let data = hostile_data(&directory);
    let node = Node::named("one");
    let coordinator = Coordinator::start("2", &[node.port], &[]);
    let port = coordinator.port.to_string();
    let out = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let at_once = out("at-once.html");
    let job = "00000000000000000000000000c0ffee";
    let data = data.to_str().unwrap();
    let words = ["127.0.0.1", &port, "--data", data, "--hidden", "4", "--rounds", "4", "--epochs", "1", "--job", job];
    let trained = printed(&[&words[..], &["--report", &at_once, "--quiet"]].concat());
    let fingerprint = trained.lines().find_map(|line| line.strip_prefix("fingerprint  ")).unwrap();
    let page = text_of(Path::new(&at_once));
    assert!(page.contains("Who trained in which round") && page.contains(fingerprint), "{page}");

    let later = printed(&["127.0.0.1", &port, "report", "0000"]);
    for part in ["Who trained in which round", "Confusion matrix", "Loss by row", "are not kept", fingerprint] {
        assert!(later.contains(part), "{part} is not in\n{later}");
    }
    // The curves and the figures are those that were seen at once.
    let svg = |page: &str| page.split("<svg").nth(1).unwrap().split("</svg>").next().unwrap().to_owned();
    let section = |page: &str, name: &str| {
        let begin = format!("<section id=\"{name}\"");
        page.split(&begin).nth(1).unwrap().split("</section>").next().unwrap().to_owned()
    };
    let seen = |page: &str| [svg(page), section(page, "judged"), section(page, "importance")];
    assert_eq!(seen(&later), seen(&page));
    assert!(seen(&page)[2].contains("Each column was dealt anew 5 times among"), "{page}");
    let file = out("later.html");
    assert_eq!(printed(&["127.0.0.1", &port, "report", job, "--out", &file]), "");
    assert_eq!(text_of(Path::new(&file)), later);

    let nobody = client(["127.0.0.1", &port, "report", "dead"]);
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
}

#[test]
fn a_browser_shows_reports_without_a_word_and_asks_for_nothing() {
    let works = |name: &&&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let Some(browser) = BROWSERS.iter().find(works) else { return skip("there is no Chromium") };
    let directory = TempDir::new().unwrap();
    let data = hostile_data(&directory);
    let report = directory.path().join("report.html");
    let (data, out) = (data.to_str().unwrap(), report.to_str().unwrap());
    printed(&["--local", "2", "--data", data, "--hidden", "4", "--rounds", "5", "--quiet", "--report", out]);
    let profile = directory.path().join("profile");
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", profile.display())).arg(format!("file://{out}"));
    let output = command.output().unwrap();
    let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(shown.contains("<title>Training report: ") && !shown.contains("<title>run"), "{shown}");
    assert!(!said.contains("CONSOLE"), "{said}");
    // What a parser made of it is what was written: no element more.
    let count =
        |page: &str| page.matches("<td").count() + page.matches("<th ").count() + page.matches("<section").count();
    assert_eq!(count(&shown), count(&text_of(&report)));
    assert_eq!(shown.matches("<script").count() + shown.matches("<b>").count(), 0);
}

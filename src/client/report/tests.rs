//! Whole pages: that no name becomes markup, that none grows with its job, and that what is missing is said.

use std::path::Path;

use super::content::{Column, Content, DoneJob, rows_gone};
use super::history::History;
use super::judged::{Figures, JudgedRows, Whose};
use super::sections;
use super::timeline::{Lane, Timeline};
use crate::client::figures::TargetSums;
use crate::client::importance::{Importance, KeptRows, Subject};
use crate::client::notes::Words;
use crate::client::options::{Access, Target as Coordinator};
use crate::client::score::Judged;
use crate::client::work::Work;
use crate::dataset::{Baseline, Schema, for_shell};
use crate::digest::Digest;
use crate::job::{
    JobId, NodeTasks, OnNoNodes, OnTaskFailure, Operation, Profile, RoundSummary, RowsRef, Specification, Summary,
    Tested,
};
use crate::model::figures::{ClassFigures, ConfusionEntry, OfClass};
use crate::model::file::ModelFile;
use crate::model::scaling::{FeatureScale, Target, TargetScale};
use crate::model::{ARITHMETIC, Activation, Loss, Merge, Metric, Metrics, Network, Outer, Recipe, Training};
use crate::wire::message::{Notice, NoticeKind};

/// What a name may be, at its worst.
const NAME: &str = "</th></svg></style><script>alert(\"1\")</script><img src=x onerror='alert(2)'>&lt;\u{202e}\n";
/// What the page may hold at most.
const PAGE_BYTES_MAX: usize = 2 << 20;

/// Names of elements that a report has.
const ELEMENTS: [&str; 38] = [
    "html",
    "head",
    "meta",
    "link",
    "style",
    "title",
    "body",
    "a",
    "header",
    "h1",
    "h2",
    "h3",
    "nav",
    "ul",
    "li",
    "main",
    "section",
    "footer",
    "p",
    "dl",
    "div",
    "dt",
    "dd",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "figure",
    "figcaption",
    "svg",
    "desc",
    "details",
    "summary",
    "pre",
    "code",
];
/// Those without an end.
const EMPTY: [&str; 2] = ["meta", "link"];
/// Others that may stand in a page, and stand in few.
const FEW: [&str; 7] = ["path", "rect", "circle", "text", "ol", "strong", "span"];

/// Asserts that a page is made of the elements of a report, each of them ended in its place, and of nothing else.
#[track_caller]
fn assert_is_sound(page: &str) {
    assert!(page.len() <= PAGE_BYTES_MAX, "{} bytes", page.len());
    let mut open = Vec::new();
    for tag in page.split('<').skip(1).filter(|tag| !tag.starts_with('!')) {
        let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("no end of {tag:?}"));
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "the end of another element");
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap();
        assert!(ELEMENTS.contains(&name) || FEW.contains(&name), "<{tag}>");
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        assert!(!tag.contains(" on") || !tag.split('"').step_by(2).any(|outside| outside.contains(" on")), "<{tag}>");
        if !EMPTY.contains(&name) && !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(
        !page.contains("http://") && !page.contains("https://") && !page.contains("url("),
        "something from elsewhere"
    );
    let ids: Vec<&str> = page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    for wanted in page.split("aria-labelledby=\"").skip(1).flat_map(|rest| rest.split('"').next().unwrap().split(' ')) {
        assert_eq!(ids.iter().filter(|id| **id == wanted).count(), 1, "{wanted}");
    }
    for anchor in page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(ids.contains(&anchor), "{anchor}");
    }
}

fn training(loss: Loss, outputs: u32) -> Training {
    let network = Network::new(2, &[4], outputs).unwrap();
    Training {
        arithmetic: ARITHMETIC,
        network,
        recipe: Recipe { loss, ..Recipe::DEFAULT },
        class_weights: Vec::new(),
        seed: 1,
    }
}

fn work(name: &str, target: Target) -> Work {
    let rows = RowsRef { rows: 40, digest: Digest([7; 32]) };
    let loss = if matches!(target, Target::Classes(_)) { Loss::CrossEntropy } else { Loss::SquaredError };
    let specification = Specification {
        target_accuracy: None,
        patience: Some(20),
        test: Some(rows),
        training: training(loss, target.outputs() as u32),
        rounds: 1_000_000,
        round_steps: None,
        shards: vec![rows],
        validation: rows,
        merge: Merge::Mean,
        outer: Outer::AVERAGE,
        initial: None,
        operation: Operation {
            on_task_failure: OnTaskFailure::Skip,
            allow_inexact: false,
            on_no_nodes: OnNoNodes::Fail,
            tasks_per_step: None,
        },
        notes: Vec::new(),
    };
    let names = vec![name.to_owned(), name.to_owned()];
    let scaling = vec![FeatureScale::IDENTITY; 2];
    let schema = Schema::of_numbers(&names, &scaling, &[name.to_owned()]).to_json();
    let words = Words {
        data: name.to_owned(),
        recipe: name.to_owned(),
        feature_names: names,
        target,
        scaling,
        baseline: Some(Baseline::Class { class: 0, errors: 3 }),
        test_baseline: Some(Baseline::Class { class: 0, errors: 3 }),
        schema: Some(schema),
        sample: None,
    };
    Work { job: JobId(7), specification, semantic: Digest([1; 32]), words: Some(words) }
}

fn metrics(errors: f64) -> Metrics {
    Metrics::default().with(Metric::Loss, 2.0 * errors).with(Metric::Errors, errors)
}

fn round(round: u32) -> RoundSummary {
    RoundSummary {
        round,
        rounds: 1_000_000,
        loss: 1.0 / f64::from(round),
        rows: 40,
        metrics: metrics(if round == 2 { 4.0 } else { 5.0 }),
        nodes: 3,
        merged: 4,
        skipped: 1,
        round_us: 1_000,
    }
}

fn done(nodes: Vec<NodeTasks>) -> Summary {
    Summary {
        confusion: None,
        fingerprint: Digest([1; 32]),
        weights: Digest([2; 32]),
        rounds: 30,
        round: 2,
        rows: 40,
        metrics: metrics(4.0),
        test: Some(Tested { rows: 40, metrics: metrics(4.0) }),
        loss: 0.5,
        merged: 120,
        skipped: 1,
        elapsed_us: 2_000_000,
        profile: Profile { no_nodes_us: 1_000_000, ..Profile::default() },
        training_us: 7,
        validating_us: 7,
        revivals: 2,
        reproducible: false,
        nodes,
    }
}

/// Figures of some rows of so many classes.
fn judged(names: Vec<String>) -> JudgedRows {
    let last = names.len() as u32 - 1;
    let mut by_class = vec![OfClass::default(); names.len()];
    by_class[0].support = 1;
    by_class[last as usize].support = 2;
    let pair = |label, rows| ConfusionEntry { label, taken_for: last, rows };
    let figures = ClassFigures {
        rows: 3,
        right: 2,
        in_top: None,
        balanced_accuracy: 0.5,
        log_loss: 1.5,
        auc: None,
        by_class,
        confusion: vec![pair(0, 1), pair(last, 2)],
    };
    JudgedRows {
        whose: Whose::Job(Judged::Test),
        figures: Figures::Classes(figures, names),
        left_out: String::new(),
        known: String::new(),
    }
}

/// What columns of this name are worth, of which there are so many.
fn importance(name: &str, columns: u32) -> Importance {
    let network = Network::new(columns, &[], 2).unwrap();
    let (parameters, target) = (vec![0.0; network.parameters()], Target::Classes(vec![name.to_owned(); 2]));
    let columns = (0..columns as usize).map(|input| (name.to_owned(), input..input + 1)).collect();
    let (network, activation) = (&network, Activation::Relu);
    let subject = Subject { network, activation, parameters: &parameters, target: &target, columns };
    let mut kept = KeptRows::new(2);
    kept.take(2, &vec![1.0; 2 * network.inputs() as usize], &[0, 1], &[]);
    Importance::of(&subject, &kept, 1).unwrap()
}

/// The page of a job of so many rounds, nodes, classes and notices with this name everywhere.
fn page(name: &str, rounds: u32, nodes: usize, classes: usize) -> String {
    let names = vec![name.to_owned(); classes];
    let work = work(name, Target::Classes(names.clone()));
    let mut history = History::of(&work);
    for number in 1..=rounds {
        history.round(&round(number));
        history.notice(&Notice { kind: NoticeKind::Membership, text: name.to_owned() });
    }
    let stride = rounds.div_ceil(super::timeline::COLUMNS_MAX).max(1);
    let columns = vec![(3, 1); rounds.div_ceil(stride) as usize];
    let lane = Lane { node: name.to_owned(), tasks: 40, again: 1, columns };
    let timeline = Timeline { stride, rounds, lanes: vec![lane; nodes], others: 9, skipped: 1 };
    let done = done(vec![NodeTasks { node: name.to_owned(), tasks: 40 }; nodes]);
    let access = Access {
        target: Coordinator { host: name.to_owned(), port: 1 },
        cluster: None,
        retry_for: std::time::Duration::ZERO,
    };
    let mut content = Content::of_job(DoneJob {
        work: &work,
        done: &done,
        history,
        timeline: Some(Ok(timeline)),
        judged: Ok(judged(names)),
        importance: Ok(importance(name, nodes as u32)),
        was_heard: true,
        command: Ok(format!("client --data {}", for_shell(name))),
        access: Some(&access),
    });
    if let Ok(columns) = &mut content.columns {
        let column = || Column { name: name.to_owned(), kind: "category", becomes: name.to_owned() };
        columns.extend((0..nodes).map(|_| column()));
    }
    sections::write(&content)
}

#[test]
fn no_name_of_a_column_a_class_a_node_or_a_host_becomes_markup() {
    let page = page(NAME, 12, 3, 3);
    assert_is_sound(&page);
    let escaped = "&lt;/th&gt;&lt;/svg&gt;&lt;/style&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;";
    assert!(page.matches(escaped).count() > 10 && !page.contains("<script") && !page.contains("<img"));
    for section in ["result", "rounds", "judged", "importance", "fleet", "columns", "settings", "command"] {
        assert!(page.contains(&format!("<section id=\"{section}\"")), "{section}");
    }
}

#[test]
fn a_page_is_at_most_two_mebibytes_whatever_the_job() {
    let name = "\"".repeat(5_000);
    for classes in [50, 5_000] {
        assert_is_sound(&page(&name, 1_000, 1_000, classes));
    }
}

#[test]
fn rounds_are_coarser_where_there_are_many_and_the_best_one_is_marked() {
    let few = page("oak", 30, 2, 3);
    assert!(few.contains(">model: round 2</text>") && !few.contains("each point is the mean"));
    let many = page("oak", 1_000, 2, 3);
    assert!(many.contains("each point is the mean of 8 rounds") && many.contains(">model: round 2</text>"));
    assert!(many.contains("a column is 10 rounds"));
}

#[test]
fn what_columns_are_worth_is_a_table_of_as_many_as_have_room() {
    let few = page("oak", 3, 2, 3);
    let row = "<th scope=\"row\">oak</th><td class=\"n\">0.0000</td>";
    let part = few.split("<section id=\"importance\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert_eq!(part.matches(row).count(), 2, "{part}");
    for told in ["Log loss added", "Accuracy lost", "dealt anew 5 times among 2 rows (seed 1)"] {
        assert!(part.contains(told), "{told}\n{part}");
    }
    assert!(page("oak", 3, 1_000, 3).contains("And 600 columns more."));
}

#[test]
fn a_count_of_one_has_its_noun_in_the_singular() {
    let one_more = page("oak", 3, 2, 201);
    assert!(one_more.contains("And 1 more class."), "{one_more}");
    assert!(one_more.contains("120 tasks merged, 1 skipped"), "{one_more}");
    assert!(page("oak", 3, 2, 203).contains("And 3 more classes."));
    let work = work("oak", Target::Classes(vec!["oak".to_owned(); 2]));
    let done = Summary { merged: 1, ..done(Vec::new()) };
    let page = sections::write(&Content::of_job(DoneJob {
        work: &work,
        done: &done,
        history: History::of(&work),
        timeline: None,
        judged: Err("too long".to_owned()),
        importance: Err("too long".to_owned()),
        was_heard: true,
        command: Ok("client".to_owned()),
        access: None,
    }));
    assert!(page.contains("1 task merged, 1 skipped") || page.contains("1 block merged, 1 skipped"), "{page}");
}

#[test]
fn what_a_fleet_went_through_is_told() {
    let page = page("oak", 12, 2, 3);
    for told in [
        "began 2 revivals",
        "Skipped tasks, by round: 1 in 1, 1 in 2",
        "<strong>node</strong>, after round 3: oak",
        "Given before",
        "<td class=\"n\">50.0 %</td><td>no node was active</td>",
        "no longer told apart",
    ] {
        assert!(page.contains(told), "{told}\n{page}");
    }
}

#[test]
fn what_is_not_known_of_a_job_is_said_in_its_place() {
    let work = Work { words: None, ..work("oak", Target::Classes(vec!["a".to_owned(), "b".to_owned()])) };
    let access = Access {
        target: Coordinator { host: "here".to_owned(), port: 9 },
        cluster: None,
        retry_for: std::time::Duration::ZERO,
    };
    let page = sections::write(&Content::of_job(DoneJob {
        work: &work,
        done: &done(Vec::new()),
        history: History::of(&work),
        timeline: None,
        judged: Err(rows_gone(40)),
        importance: Err(rows_gone(40)),
        was_heard: false,
        command: Err(super::content::not_kept(&access, work.job)),
        access: Some(&access),
    }));
    assert_is_sound(&page);
    for told in [
        "data of unknown name",
        "Nothing is known of the rounds.",
        "The 40 rows that judge the job are no longer held by the coordinator.",
        "has no notes of a client of this version",
        "are not kept",
        "client here 9 verify 00000000000000000000000000000007 recomputes it",
    ] {
        assert!(page.contains(told), "{told}\n{page}");
    }
}

#[test]
fn a_model_file_says_what_it_does_not_hold() {
    let target = Target::Values(vec![TargetScale::new(NAME, 1.0, 2.0).unwrap()]);
    let specification = [("data", NAME), ("eta", "0.1"), ("validation_rows", "8"), (NAME, NAME)];
    let model = ModelFile {
        network: Network::new(1, &[], 1).unwrap(),
        activation: Activation::Relu,
        fingerprint: Digest([1; 32]),
        semantic_digest: Digest([2; 32]),
        specification: specification.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        scaling: vec![FeatureScale::IDENTITY],
        feature_names: vec![NAME.to_owned()],
        schema: None,
        target,
        parameters: vec![0.0; 2],
    };
    let page = sections::write(&Content::of_model(Path::new(NAME), &model, Digest([3; 32])));
    assert_is_sound(&page);
    for told in [
        "no history of the rounds",
        "which nodes trained it",
        "client report MODEL --data FILE judges it",
        "NOT those that",
        "<dt>eta</dt>",
    ] {
        assert!(page.contains(told), "{told}\n{page}");
    }
}

#[test]
fn numbers_that_are_fitted_have_a_table_for_each_target() {
    let target = Target::Values(vec![TargetScale::new("price", 1.0, 2.0).unwrap()]);
    let work = work("oak", target);
    let mut sums = TargetSums::new(1);
    // In deviations, of which one is 2.
    for (target, told) in [(0.0, 0.5), (1.0, 1.0)] {
        sums.take(&[told], &[target]);
    }
    let scale = TargetScale::new("price", 1.0, 2.0).unwrap();
    let figures = sums.finish(&[scale]).unwrap();
    let page = sections::write(&Content::of_job(DoneJob {
        work: &work,
        done: &done(Vec::new()),
        history: History::of(&work),
        timeline: None,
        judged: Ok(JudgedRows {
            whose: Whose::Job(Judged::Validation),
            figures: Figures::Values(figures),
            left_out: String::new(),
            known: "half of these rows trained the model".to_owned(),
        }),
        importance: Err("too long".to_owned()),
        was_heard: true,
        command: Ok("client".to_owned()),
        access: None,
    }));
    assert_is_sound(&page);
    assert!(page.contains("Known rows: half of these rows trained the model."), "{page}");
    assert!(
        page.contains("price over 2 validation rows") && page.contains(">rmse</th><td class=\"n\">0.70711</td>"),
        "{page}"
    );
}

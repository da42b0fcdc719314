//! The parts of a report as HTML. Owns what stands where, and that none of it grows with the job; does not know where it is from.

use super::bounds::{NAME_MAX, SENTENCE_MAX, soft};
use super::chart::{Chart, Curve, Drawn};
use super::content::{Column, Content, Part};
use super::history::{History, Point, validation_loss};
use super::judged::{Figures, JudgedRows};
use super::machines;
use crate::client::figures::rate;
use crate::client::importance::Importance;
use crate::client::score::significant;
use crate::client::{confusion, figures};
use crate::model::figures::{ClassFigures, OfClass};
use crate::page::{Cell, Html, Section, cut, page, table, values};
use crate::wire::text::counted;

/// Characters of the command, at most.
const COMMAND_MAX: usize = 8_000;
/// Rows of a table, at most.
const CLASSES_MAX: usize = 200;
const COLUMNS_MAX: usize = 400;
/// Settings, at most: a model file may have any number.
const SETTINGS_MAX: usize = 100;
const TARGETS_MAX: usize = 50;

/// The page.
pub(super) fn write(content: &Content) -> String {
    let title = format!("Training report: {}", cut(&content.data, NAME_MAX));
    let sections = vec![
        section("result", "Result", result(content)),
        section("rounds", "Rounds", or_why(&content.history, |history| rounds(content, history))),
        section("judged", "Errors", or_why(&content.judged, judged)),
        section("importance", "Importance", or_why(&content.importance, importance)),
        section(
            "fleet",
            "Fleet",
            or_why(&content.fleet, |fleet| machines::write(fleet, content.history.as_ref().ok())),
        ),
        section("columns", "Columns", or_why(&content.columns, |columns| schema(columns))),
        section("settings", "Settings", settings(content)),
        section("command", "Command", command(content)),
    ];
    page(&title, Html::new(), sections)
}

fn section(anchor: &'static str, title: &'static str, body: Html) -> Section {
    Section { anchor, title, body }
}

/// A part, or the sentence in its place.
fn or_why<T>(part: &Part<T>, write: impl FnOnce(&T) -> Html) -> Html {
    match part {
        Ok(part) => write(part),
        Err(why) => {
            let mut html = Html::new();
            html.line("p", &[("class", &"soft")], cut(why, 2 * SENTENCE_MAX));
            html
        }
    }
}

fn result(content: &Content) -> Html {
    let mut html = Html::new();
    if content.beats_baseline == Some(false) {
        let text = "This model is no better than the baseline, which always says the same.";
        html.line("p", &[("class", &"bad")], text);
    }
    let cells: Vec<(String, String)> =
        content.result.iter().map(|(name, value)| (name.clone(), cut(value, SENTENCE_MAX))).collect();
    values(&mut html, &cells);
    html
}

/// A number with its digits, or none.
fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), significant)
}

fn rounds(content: &Content, history: &History) -> Html {
    let mut html = Html::new();
    let points = history.points();
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        soft(&mut html, "Nothing is known of the rounds.");
        return html;
    };
    let (from, to) = (*first.rounds().start(), *last.rounds().end());
    let best = content.best_round.filter(|round| (from..=to).contains(round));
    let of_best = best.and_then(|round| history.of_round(round));
    let mark = best.map(|round| (round, format!("model: round {round}")));
    let has_stride = history.stride() > 1;
    let curve = |name, value: fn(&Point) -> Option<f64>, marked: Option<f64>| Curve {
        name,
        points: points.iter().map(|point| (point.middle(), value(point))).collect(),
        // The mean of several rounds is not what the one came to.
        marked,
    };
    let at_mark = |value: fn(&Point) -> Option<f64>| {
        let of_point = || points.iter().find(|point| best.is_some_and(|best| point.rounds().contains(&best)));
        if has_stride { None } else { of_point().and_then(value) }
    };
    let losses = [
        curve("training", Point::loss, at_mark(Point::loss)),
        curve(
            "validation",
            Point::validation_loss,
            of_best.and_then(validation_loss).or(at_mark(Point::validation_loss)),
        ),
    ];
    let metric = [curve(
        if content.metric.is_empty() { "metric" } else { content.metric },
        Point::metric,
        at_mark(Point::metric),
    )];
    html.element("div", &[("class", &"charts")], |html| {
        let described = |value: fn(&Point) -> Option<f64>| {
            let ends = points.iter().find_map(value).zip(points.iter().rev().find_map(value));
            ends.map_or_else(
                || "not measured".to_owned(),
                |(from, to)| format!("from {} to {}", significant(from), significant(to)),
            )
        };
        let of_mark = best.map_or_else(String::new, |round| format!(" The model is that of round {round}."));
        let description = format!(
            "Over rounds {from} to {to}: training loss {}, validation loss {}.{of_mark}",
            described(Point::loss),
            described(Point::validation_loss)
        );
        let drawn = Drawn::Curves(&losses);
        let title = "Loss by row";
        Chart { id: "loss", title, description: &description, from, to, most: None, drawn, mark: mark.clone() }
            .draw(html);
        if !content.metric.is_empty() {
            let is_part = content.metric == "accuracy";
            let unit = if is_part { ", %" } else { "" };
            let title = format!("{} on the validation rows{unit}", capital(content.metric));
            let description = format!("Over rounds {from} to {to}: {}.{of_mark}", described(Point::metric));
            let most = is_part.then_some(100.0);
            let drawn = Drawn::Curves(&metric);
            Chart { id: "metric", title: &title, description: &description, from, to, most, drawn, mark }.draw(html);
        }
    });
    if has_stride {
        let text = format!(
            "Of {} each point is the mean of {}; the model's own round is marked.",
            counted(u64::from(to.saturating_sub(from)) + 1, "round"),
            counted(u64::from(history.stride()), "round")
        );
        soft(&mut html, &text);
    }
    let metric_name = if content.metric.is_empty() { "metric" } else { content.metric };
    html.element("details", &[], |html| {
        html.line("summary", &[], "The same as a table");
        let rows = points.iter().map(|point| {
            [
                Cell::Head(point.in_words()),
                Cell::Number(number(point.loss())),
                Cell::Number(number(point.validation_loss())),
                Cell::Number(number(point.metric())),
                Cell::Number(point.nodes.to_string()),
                Cell::Number(point.seconds().map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.3}"))),
            ]
        });
        let caption = format!("Rounds; the metric is the {metric_name} on the validation rows");
        table(html, caption, ["Round", "#Training loss", "#Validation loss", "#Metric", "#Nodes", "#Seconds"], rows);
    });
    html
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

fn judged(judged: &JudgedRows) -> Html {
    let mut html = Html::new();
    let rows = |count: u64| cut(&judged.whose.rows(count), NAME_MAX);
    match &judged.figures {
        Figures::Classes(figures, names) => {
            let all = figures::of_classes(figures).into_iter().map(|(name, model, guess)| {
                [Cell::Head(name.replace('_', " ")), Cell::Number(rate(model)), Cell::Number(rate(guess))]
            });
            let name = names.get(figures::most_frequent(figures)).map(|name| cut(name, NAME_MAX)).unwrap_or_default();
            let caption =
                format!("Over {}; the baseline always says {name}, at the rates of these rows", rows(figures.rows));
            table(&mut html, caption, ["Figure", "#Model", "#Baseline"], all);
            matrix(&mut html, figures, names);
            classes(&mut html, figures, names);
        }
        Figures::Values(targets) => {
            for figures in targets.iter().take(TARGETS_MAX) {
                let all = figures.figures.iter().map(|(name, model, guess)| {
                    [Cell::Head((*name).to_owned()), Cell::Number(number(*model)), Cell::Number(number(*guess))]
                });
                let caption = format!(
                    "{} over {}; the baseline always says {}, the training rows' mean",
                    cut(&figures.name, NAME_MAX),
                    rows(figures.rows),
                    significant(figures.guess)
                );
                table(&mut html, caption, ["Figure", "#Model", "#Baseline"], all);
            }
            if targets.len() > TARGETS_MAX {
                soft(&mut html, &format!("And {}.", counted((targets.len() - TARGETS_MAX) as u64, "more target")));
            }
        }
    }
    if !judged.left_out.is_empty() {
        soft(&mut html, &format!("Left out: {}.", judged.left_out));
    }
    if !judged.known.is_empty() {
        soft(&mut html, &format!("Known rows: {}.", judged.known));
    }
    html
}

/// How much the model rests on each column.
fn importance(importance: &Importance) -> Html {
    let mut html = Html::new();
    let text = "What the model loses where the values of a column are dealt anew among the rows: a column that it does not look at \
                loses nothing, and columns that tell the same stand in for each other.";
    soft(&mut html, text);
    soft(&mut html, &importance.how());
    let titles = match importance.is_of_values() {
        true => ["Column", "#RMSE added", "#\u{b1}", "#R\u{b2} lost", "#\u{b1}"],
        false => ["Column", "#Log loss added", "#\u{b1}", "#Accuracy lost", "#\u{b1}"],
    };
    let row = |(name, numbers): (&str, [String; 4])| {
        let [added, added_off, lost, lost_off] = numbers.map(Cell::Number);
        [Cell::Head(cut(name, NAME_MAX)), added, added_off, lost, lost_off]
    };
    let rows = importance.rows();
    let count = rows.len();
    table(&mut html, "Columns, the most important first", titles, rows.take(COLUMNS_MAX).map(row));
    if count > COLUMNS_MAX {
        soft(&mut html, &format!("And {} more.", counted((count - COLUMNS_MAX) as u64, "column")));
    }
    html
}

/// Which class is taken for which.
fn matrix(html: &mut Html, figures: &ClassFigures, names: &[String]) {
    let Some(confusion) = confusion::matrix(&figures.confusion, names.len()) else {
        return soft(
            html,
            &format!(
                "Which of {} is taken for which is not shown: up to 50 are.",
                counted(names.len() as u64, "class")
            ),
        );
    };
    let short: Vec<String> = names.iter().map(|name| cut(name, 16)).collect();
    let is_upright = short.iter().any(|name| name.chars().count() > 4);
    html.line("h3", &[], "Which class is taken for which");
    soft(
        html,
        "A line for what rows are, a column for what they are taken for; the stronger the colour, the more of the line.",
    );
    let label = "Confusion matrix";
    html.element(
        "div",
        &[("class", &"scroll"), ("role", &"region"), ("aria-label", &label), ("tabindex", &"0")],
        |html| {
            html.element("table", &[("class", &"matrix")], |html| {
                html.line("caption", &[], label);
                html.element("thead", &[], |html| {
                    html.element("tr", &[], |html| {
                        html.line("th", &[("scope", &"col")], "class");
                        for name in &short {
                            html.element("th", &[("scope", &"col")], |html| match is_upright {
                                true => html.line("span", &[("class", &"up")], name),
                                false => html.text(name),
                            });
                        }
                    });
                });
                html.markup("\n");
                html.element("tbody", &[], |html| {
                    for (of, (name, row)) in short.iter().zip(confusion.chunks(names.len().max(1))).enumerate() {
                        let all: u64 = row.iter().sum();
                        html.element("tr", &[], |html| {
                            html.line("th", &[("scope", &"row")], name);
                            for (taken, count) in row.iter().enumerate() {
                                html.line("td", &[("class", &shade(of == taken, *count, all))], count);
                            }
                        });
                        html.markup("\n");
                    }
                });
            });
        },
    );
    html.markup("\n");
}

/// How a cell of the matrix looks, by its part of the row.
fn shade(is_right: bool, count: u64, all: u64) -> &'static str {
    const RIGHT: [&str; 4] = ["r1", "r2", "r3", "r4"];
    const WRONG: [&str; 4] = ["w1", "w2", "w3", "w4"];
    if count == 0 {
        return "z";
    }
    let part = count as f64 / all.max(1) as f64;
    match is_right {
        true => RIGHT[((part * 4.0) as usize).min(3)],
        // One in fifty that is wrong is worth a look already.
        false => WRONG[[0.02, 0.1, 0.3].iter().filter(|least| part >= **least).count()],
    }
}

fn classes(html: &mut Html, figures: &ClassFigures, names: &[String]) {
    let row = |(name, class): (&String, &OfClass)| {
        [
            Cell::Head(cut(name, NAME_MAX)),
            Cell::Number(rate(class.precision)),
            Cell::Number(rate(class.recall)),
            Cell::Number(rate(class.f1)),
            Cell::Number(rate(class.auc)),
            Cell::Number(class.support.to_string()),
        ]
    };
    html.line("h3", &[], "Each class");
    let rows = names.iter().zip(&figures.by_class).take(CLASSES_MAX).map(row);
    table(html, "Each by itself, against all others", ["Class", "#Precision", "#Recall", "#F1", "#AUC", "#Rows"], rows);
    if names.len() > CLASSES_MAX {
        soft(html, &format!("And {}.", counted((names.len() - CLASSES_MAX) as u64, "more class")));
    }
}

fn schema(columns: &[Column]) -> Html {
    let mut html = Html::new();
    let row = |(number, column): (usize, &Column)| {
        [
            Cell::Number((number + 1).to_string()),
            Cell::Head(cut(&column.name, NAME_MAX)),
            Cell::Text(column.kind.to_owned()),
            Cell::Text(cut(&column.becomes, NAME_MAX * 2)),
        ]
    };
    let rows = columns.iter().enumerate().take(COLUMNS_MAX).map(row);
    let caption = format!("{} of the data, and what becomes of each", counted(columns.len() as u64, "column"));
    table(&mut html, caption, ["#Number", "Name", "Kind", "Becomes"], rows);
    if columns.len() > COLUMNS_MAX {
        soft(&mut html, &format!("And {} more.", counted((columns.len() - COLUMNS_MAX) as u64, "column")));
    }
    html
}

fn settings(content: &Content) -> Html {
    let mut html = Html::new();
    let cut_pair = |(name, value): &(String, String)| (cut(name, NAME_MAX), cut(value, NAME_MAX * 2));
    let settings: Vec<(String, String)> = content.settings.iter().take(SETTINGS_MAX).map(cut_pair).collect();
    values(&mut html, &settings);
    html
}

fn command(content: &Content) -> Html {
    let mut html = or_why(&content.command, |command| {
        let mut html = Html::new();
        html.line(
            "p",
            &[],
            "The same command, on the same data, trains the same model again, bit for bit, whatever the fleet:",
        );
        html.element("pre", &[], |html| html.line("code", &[], cut(command, COMMAND_MAX)));
        html
    });
    if let (Some(verify), Ok(_)) = (&content.verify, &content.command) {
        html.line("p", &[], "As long as the coordinator keeps the job, this recomputes every step of it:");
        html.element("pre", &[], |html| html.line("code", &[], cut(verify, SENTENCE_MAX)));
    }
    html
}

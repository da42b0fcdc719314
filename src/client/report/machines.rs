//! The part of a report about the fleet. Owns what stands where in it, and that it does not grow with the fleet; does not know
//! where it is from.

use std::fmt::Display;

use super::bounds::{NAME_MAX, SENTENCE_MAX, soft};
use super::chart::{Chart, Drawn, label, rectangle};
use super::content::Fleet;
use super::history::{History, Point};
use super::timeline::{Lane, Timeline};
use crate::client::render::part_of_time;
use crate::client::score::significant;
use crate::job::Summary;
use crate::page::{Cell, Html, cut, table};
use crate::wire::message::NoticeKind;
use crate::wire::text::counted;

/// Rows of the table of nodes, at most.
const NODES_MAX: usize = 100;
/// Nodes that have a lane of the picture, at most.
const LANES_MAX: usize = 30;

/// Who trained, how long it took, and what happened.
pub(super) fn write(fleet: &Fleet, history: Option<&History>) -> Html {
    let mut html = Html::new();
    let Fleet { done, unit, timeline, was_heard } = fleet;
    match timeline {
        Some(Ok(timeline)) => lanes(&mut html, timeline),
        Some(Err(why)) => soft(&mut html, why),
        None => soft(
            &mut html,
            "The job merged gradients. Of these a coordinator keeps a line for each step, and how much of it each node did in all, \
             but not which node did which part of a step.",
        ),
    }
    let points = history.map_or(&[][..], History::points);
    if let (Some(first), Some(last)) = (points.first(), points.last()) {
        let (from, to) = (*first.rounds().start(), *last.rounds().end());
        html.element("div", &[("class", &"charts")], |html| {
            let bars = |value: fn(&Point) -> f64| -> Vec<(u32, u32, f64)> {
                points.iter().map(|point| (*point.rounds().start(), *point.rounds().end(), value(point))).collect()
            };
            let most = |value: fn(&Point) -> f64| points.iter().map(value).fold(0.0, f64::max);
            let nodes: fn(&Point) -> f64 = |point| f64::from(point.nodes);
            let description =
                format!("Over rounds {from} to {to}: at most {} at a time.", counted(most(nodes) as u64, "node"));
            let drawn = Drawn::Bars { name: "nodes", bars: bars(nodes) };
            let title = "Nodes that had a part in a round";
            Chart { id: "nodes", title, description: &description, from, to, most: None, drawn, mark: None }.draw(html);
            let seconds: fn(&Point) -> f64 = |point| point.longest_seconds;
            let description = format!("Over rounds {from} to {to}: at most {} seconds.", significant(most(seconds)));
            let drawn = Drawn::Bars { name: "seconds", bars: bars(seconds) };
            let title = "Time of a round: where it is long, the round waited";
            Chart { id: "seconds", title, description: &description, from, to, most: None, drawn, mark: None }
                .draw(html);
        });
        let skipped: Vec<String> = points
            .iter()
            .filter(|point| point.skipped > 0)
            .take(50)
            .map(|point| format!("{} in {}", point.skipped, point.in_words()))
            .collect();
        if !skipped.is_empty() {
            html.line("p", &[("class", &"bad")], format_args!("Skipped {unit}, by round: {}.", skipped.join(", ")));
        }
    }
    nodes(&mut html, done, unit, timeline.as_ref().and_then(|timeline| timeline.as_ref().ok()));
    time(&mut html, done);
    happenings(&mut html, history, *was_heard, done);
    html
}

/// The picture of who trained when: a lane for each node, a column for one or more rounds.
fn lanes(html: &mut Html, timeline: &Timeline) {
    const WIDTH: f64 = 400.0;
    const LANE: f64 = 34.0;
    let shown = &timeline.lanes[..timeline.lanes.len().min(LANES_MAX)];
    let columns = shown.first().map_or(0, |lane| lane.columns.len());
    if columns == 0 {
        return soft(html, "The ledger has no task.");
    }
    let totals: Vec<u64> =
        (0..columns).map(|column| timeline.lanes.iter().map(|lane| u64::from(lane.columns[column].0)).sum()).collect();
    let view = format!("0 0 {WIDTH} {}", LANE * shown.len() as f64 + 24.0);
    let description = format!(
        "Over {}: {}. The table below has each node's tasks.",
        counted(u64::from(timeline.rounds), "round"),
        counted(timeline.lanes.len() as u64, "node")
    );
    let title = match timeline.stride {
        1 => "Who trained in which round".to_owned(),
        stride => format!("Who trained when; a column is {stride} rounds"),
    };
    html.element("figure", &[], |html| {
        let how = "the stronger the colour, the more of the tasks; the mark below is for tasks that a node had been given before";
        html.line("figcaption", &[], format_args!("{title}: {how}"));
        let named: &dyn Display = &"lanes-title lanes-description";
        html.element("svg", &[("viewBox", &view), ("role", &"img"), ("aria-labelledby", named)], |html| {
            html.line("title", &[("id", &"lanes-title")], &title);
            html.line("desc", &[("id", &"lanes-description")], &description);
            let width = WIDTH / columns as f64;
            for (index, lane) in shown.iter().enumerate() {
                let top = LANE * index as f64;
                label(html, "strong", "start", 0.0, top + 11.0, &cut(&lane.node, 48));
                rectangle(html, "lane", 0.0, top + 15.0, WIDTH, 12.0);
                for (column, (&(tasks, again), total)) in lane.columns.iter().zip(&totals).enumerate() {
                    let left = width * column as f64;
                    let gap = if width > 4.0 { 1.0 } else { 0.0 };
                    if tasks > 0 {
                        let part = f64::from(tasks) / (*total).max(1) as f64;
                        let look = ["t1", "t2", "t3", "t4"][((part * 4.0) as usize).min(3)];
                        rectangle(html, look, left, top + 15.0, width - gap, 12.0);
                    }
                    if again > 0 {
                        rectangle(html, "fault", left, top + 28.0, (width - gap).max(1.5), 3.0);
                    }
                }
            }
            let bottom = LANE * shown.len() as f64 + 14.0;
            label(html, "", "start", 0.0, bottom, "round 1");
            label(html, "", "end", WIDTH, bottom, &format!("round {}", timeline.rounds));
        });
    });
    html.markup("\n");
    if timeline.lanes.len() > LANES_MAX {
        soft(html, &format!("The picture has the {LANES_MAX} nodes with the most tasks of {}.", timeline.lanes.len()));
    }
    soft(
        html,
        "The ledger keeps of every task who did it last, and how often it had been given out. Attempts that failed, were turned \
         down or came second are no longer told apart.",
    );
}

fn nodes(html: &mut Html, done: &Summary, unit: &str, timeline: Option<&Timeline>) {
    let all = done.merged.max(1) as f64;
    let share = |tasks: u64| format!("{:.1} %", 100.0 * tasks as f64 / all);
    let merged = counted(done.merged, unit.trim_end_matches('s'));
    let caption = format!("{merged} merged, {} skipped", done.skipped);
    match timeline {
        Some(timeline) => {
            let row = |lane: &Lane| {
                [
                    Cell::Head(cut(&lane.node, NAME_MAX)),
                    Cell::Number(lane.tasks.to_string()),
                    Cell::Number(share(lane.tasks)),
                    Cell::Number(lane.again.to_string()),
                ]
            };
            let rows = timeline.lanes.iter().take(NODES_MAX).map(row);
            table(html, caption, ["Node", "#Tasks", "#Share", "#Given before"], rows);
            let more = timeline.lanes.len().saturating_sub(NODES_MAX);
            if more > 0 {
                soft(html, &format!("And {}.", counted(more as u64, "more node")));
            }
            if timeline.others > 0 {
                soft(html, &format!("And {} of nodes that are not told apart.", counted(timeline.others, "task")));
            }
        }
        None => {
            let rows = done.nodes.iter().take(NODES_MAX).map(|node| {
                [
                    Cell::Head(cut(&node.node, NAME_MAX)),
                    Cell::Number(node.tasks.to_string()),
                    Cell::Number(share(node.tasks)),
                ]
            });
            let titles = if unit == "blocks" { ["Node", "#Blocks", "#Share"] } else { ["Node", "#Tasks", "#Share"] };
            table(html, caption, titles, rows);
            let more = done.nodes.len().saturating_sub(NODES_MAX);
            if more > 0 {
                soft(html, &format!("And {}.", counted(more as u64, "more node")));
            }
        }
    }
}

/// Where the time went.
fn time(html: &mut Html, done: &Summary) {
    let whole = done.elapsed_us.max(1) as f64;
    let rows = done.profile.parts().into_iter().map(|(name, us)| {
        [
            Cell::Head(name.replace('_', " ")),
            Cell::Number(format!("{:.3}", us as f64 / 1e6)),
            Cell::Number(format!("{:.1} %", 100.0 * us as f64 / whole)),
            Cell::Text(part_of_time(name).to_owned()),
        ]
    });
    let caption = format!(
        "Where the {:.3} s went; all nodes together trained for {:.3} s",
        done.elapsed_us as f64 / 1e6,
        done.training_us as f64 / 1e6
    );
    table(html, caption, ["Part", "#Seconds", "#Share", "What it is"], rows);
}

/// What the coordinator said meanwhile.
fn happenings(html: &mut Html, history: Option<&History>, was_heard: bool, done: &Summary) {
    html.line("h3", &[], "What happened");
    let revivals = match done.revivals {
        0 => "No revival was needed.".to_owned(),
        revivals => format!("For want of a node the coordinator began {}.", counted(revivals.into(), "revival")),
    };
    html.line("p", &[], revivals);
    let (notices, left_out) = history.map_or((&[][..], 0), History::notices);
    if !was_heard {
        // Which is told again to whoever asks.
        notices.iter().filter(|notice| notice.kind == NoticeKind::Load).for_each(|notice| soft(html, &notice.text));
        return soft(html, "Nodes that came, failed or left were told to the clients that watched, and are not kept.");
    }
    if notices.is_empty() {
        return soft(html, "The coordinator told of no node that failed, left or came while this client watched.");
    }
    html.element("ol", &[("class", &"events")], |html| {
        for notice in notices {
            let kind = match notice.kind {
                NoticeKind::Other => "notice",
                NoticeKind::Membership => "node",
                NoticeKind::Revival => "revival",
                NoticeKind::Skipped => "skipped",
                NoticeKind::Alarm => "alarm",
                NoticeKind::Fleet => "nodes",
                NoticeKind::Load => "injected load",
            };
            html.element("li", &[], |html| {
                html.line("strong", &[], kind);
                html.text(format_args!(", after round {}: {}", notice.after_round, cut(&notice.text, SENTENCE_MAX)));
            });
            html.markup("\n");
        }
    });
    if left_out > 0 {
        soft(html, &format!("And {} more.", left_out));
    }
}

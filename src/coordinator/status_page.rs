//! The coordinator's page for browsers: what `status` says on the console, of the same snapshot. Owns what stands where, and that
//! the page is bounded; decides and holds nothing.

use super::status::{JOBS_SHOWN_MAX, Snapshot, count, progress, standing};
use crate::engine::NodeState;
use crate::page::{Cell, Html, Section, cut, page as whole, table, values};
use crate::wire::text::counted;

/// Nodes that the page shows, at most: the first of the list.
const NODES_SHOWN_MAX: usize = 500;
/// Sentences about nodes, at most.
const WARNINGS_MAX: usize = 20;
/// Characters of a name and of a sentence, at most.
const NAME_MAX: usize = 64;
const SENTENCE_MAX: usize = 300;

/// The page.
pub(super) fn page(snapshot: &Snapshot) -> String {
    let Snapshot { policy, clients, engine, same_nodes, .. } = snapshot;
    let mut lead = Html::new();
    let active = format!("{} of {} active", count(engine, NodeState::Active), engine.nodes.len());
    let told = [("policy", policy.to_string()), ("nodes", active), ("clients", clients.to_string())];
    values(&mut lead, &told);
    for sentence in same_nodes.iter().take(WARNINGS_MAX) {
        lead.line("p", &[("class", &"bad")], cut(sentence, SENTENCE_MAX));
    }
    lead.line(
        "p",
        &[("class", &"soft")],
        "As of now; loading the page again shows what has become of it. Nothing can be changed here.",
    );
    let sections = vec![
        Section { anchor: "nodes", title: "Nodes", body: nodes(snapshot) },
        Section { anchor: "jobs", title: "Jobs", body: jobs(snapshot) },
    ];
    whole("gradwire coordinator", lead, sections)
}

fn nodes(snapshot: &Snapshot) -> Html {
    let mut html = Html::new();
    let nodes = &snapshot.engine.nodes;
    let rows = nodes.iter().take(NODES_SHOWN_MAX).map(|node| {
        [
            Cell::Head(cut(&node.name, NAME_MAX)),
            Cell::Text(cut(&node.address, NAME_MAX)),
            Cell::Text(standing(node).to_owned()),
            Cell::Number(node.outstanding.to_string()),
            Cell::Number(node.running.to_string()),
            Cell::Number(node.waiting.to_string()),
            Cell::Number(node.tasks_done.to_string()),
            Cell::Number(node.rows_per_second.map_or_else(|| "-".to_owned(), |speed| format!("{speed:.0}"))),
        ]
    });
    let titles = ["Node", "Address", "State", "#Tasks", "#Running", "#Waiting", "#Done", "#Rows/s"];
    table(&mut html, counted(nodes.len() as u64, "listed node"), titles, rows);
    more(&mut html, nodes.len(), NODES_SHOWN_MAX, "node");
    html
}

fn jobs(snapshot: &Snapshot) -> Html {
    let mut html = Html::new();
    let jobs = &snapshot.engine.jobs;
    let rows = jobs.iter().take(JOBS_SHOWN_MAX).map(|job| {
        [
            Cell::Head(job.job.to_string()),
            Cell::Text(job.progress.state().name().to_owned()),
            Cell::Text(cut(&progress(&job.progress), SENTENCE_MAX)),
        ]
    });
    table(&mut html, counted(jobs.len() as u64, "job"), ["Job", "State", "Progress"], rows);
    more(&mut html, jobs.len(), JOBS_SHOWN_MAX, "job");
    html
}

/// How many are not shown.
fn more(html: &mut Html, all: usize, shown_max: usize, what: &str) {
    if all > shown_max {
        html.line(
            "p",
            &[("class", &"soft")],
            format_args!("And {} more: the console lists them.", counted((all - shown_max) as u64, what)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::status::Counts;
    use crate::engine::{JobEntry, JobProgress, NodeKey, NodeStatus, Policy, Status};
    use crate::job::{FailReason, JobId, Outcome};

    fn snapshot(nodes: usize, name: &str) -> Snapshot {
        let node = NodeStatus {
            node: NodeKey(1),
            name: name.to_owned(),
            address: name.to_owned(),
            state: NodeState::Active,
            doubt: None,
            outstanding: 1,
            running: 1,
            waiting: 0,
            tasks_done: 7,
            rows_per_second: Some(1234.5),
        };
        let reason = FailReason::Work { reason: name.to_owned() };
        let job = JobEntry { job: JobId(7), progress: JobProgress::Finished(Outcome::Failed(reason)) };
        Snapshot {
            policy: Policy::LoadBalancing,
            clients: 2,
            engine: Status { nodes: vec![node; nodes], jobs: vec![job; nodes], stale_results: 0 },
            open: Vec::new(),
            counts: Counts::default(),
            same_nodes: vec![name.to_owned(); nodes],
        }
    }

    #[test]
    fn names_stand_as_text_and_the_page_says_what_status_says() {
        let page = page(&snapshot(1, "<script>\"x\"</script>"));
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;&quot;x&quot;"));
        for told in [
            "load-balancing",
            "1 of 1 active",
            "<td>active</td>",
            "<td class=\"n\">7</td>",
            "<td>failed</td>",
            ">1234</td>",
        ] {
            assert!(page.contains(told), "{told}\n{page}");
        }
    }

    #[test]
    fn a_page_of_any_fleet_is_bounded_and_says_what_it_leaves_out() {
        let page = page(&snapshot(20_000, &"\"".repeat(4_000)));
        assert!(page.len() < 1 << 20, "{} bytes", page.len());
        assert!(page.contains("And 19500 nodes more") && page.contains("And 19980 jobs more"));
    }
}

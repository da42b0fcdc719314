//! How a coordinator and its nodes are: the question, and what is printed of the answers. Owns the table of nodes and the JSON
//! lines; does not know what is looked at, nor what is wrong.

use serde_json::{Map, Value, json};

use super::connection_error::ConnectionError;
use super::conversation::{Answer, Conversation};
use super::options::Output;
use super::render::{print_json, print_lines, wrapped};
use crate::cli::{self, Exit, Failure, Paint};
use crate::wire::message::{Doctor, Finding};
use crate::wire::text::{Align, Table, counted, shown};

/// Findings in one answer, at most: a lying coordinator could send some until this machine has no memory left.
const FINDINGS_MAX: usize = 100_000;
/// Whom the finding is about that is about no node.
const COORDINATOR: &str = "coordinator";
/// What the table has of each node, by the names of facts.
const COLUMNS: [(&str, &str, Align); 6] = [
    ("STATE", "state", Align::Left),
    ("BITS", "bits", Align::Left),
    ("TRIP_MS", "round_trip_ms", Align::Right),
    ("MIB/S", "mib_per_second", Align::Right),
    ("MEMORY_MIB", "memory_mib", Align::Right),
    ("SOFTWARE", "software", Align::Left),
];

/// Asks, and waits for all findings.
pub(super) fn ask(conversation: &Conversation) -> Result<Vec<Finding>, ConnectionError> {
    conversation.ask(&Doctor.into())?;
    let mut findings = Vec::new();
    loop {
        match conversation.next_at_once()? {
            Answer::Finding(finding) if findings.len() < FINDINGS_MAX => findings.push(finding),
            Answer::Listed(listed) if listed.jobs as usize == findings.len() => return Ok(findings),
            _ => return Err(ConnectionError::unfitting("DOCTOR")),
        }
    }
}

/// Prints them. It is no success where something is to be mended.
pub(super) fn print(findings: &[Finding], output: Output) -> Result<Exit, Failure> {
    if output == Output::Json {
        for finding in findings {
            print_json(&finding_json(finding))?;
        }
    } else {
        let (coordinator, nodes): (Vec<_>, Vec<_>) =
            findings.iter().partition(|finding| finding.subject == COORDINATOR);
        let facts = coordinator.iter().flat_map(|finding| &finding.facts);
        let lines: Vec<String> = facts
            .filter(|fact| !fact.value.is_empty())
            .map(|fact| format!("{:<12} {}", shown(&fact.name).to_string(), shown(&fact.value)))
            .collect();
        print_lines(&lines)?;
        if !nodes.is_empty() {
            cli::print(&format!("\n{}", table(&nodes).to_string().trim_end()))?;
        }
        cli::print("")?;
        let paint = if findings.iter().all(Finding::is_well) { Paint::Good } else { Paint::Bad };
        cli::print(&paint.over(&wrapped(&verdict(findings))))?;
    }
    Ok(if findings.iter().all(Finding::is_well) { Exit::Success } else { Exit::JobFailed })
}

fn value<'a>(finding: &'a Finding, name: &str) -> &'a str {
    finding.facts.iter().find(|fact| fact.name == name).map_or("", |fact| &fact.value)
}

fn table(nodes: &[&Finding]) -> Table {
    let [state, bits, trip, pace, memory, software] = COLUMNS.map(|(title, _, align)| (title, align));
    let mut table = Table::new(&[("NODE", Align::Left), state, bits, trip, pace, memory, software]);
    for node in nodes {
        let [state, bits, trip, pace, memory, software] = COLUMNS.map(|(_, name, _)| value(node, name).to_owned());
        table.row([node.subject.clone(), state, bits, trip, pace, memory, software]);
    }
    table
}

/// What is to be mended, a line each.
fn verdict(findings: &[Finding]) -> Vec<String> {
    let ill: Vec<String> = findings
        .iter()
        .filter(|finding| !finding.is_well())
        .map(|finding| format!("{:<12} {}: {}", "to mend", shown(&finding.subject), shown(&finding.cure)))
        .collect();
    if !ill.is_empty() {
        return ill;
    }
    let nodes = findings.iter().filter(|finding| finding.subject != COORDINATOR).count();
    vec![format!("all is well: the coordinator and {}", counted(nodes as u64, "node"))]
}

fn finding_json(finding: &Finding) -> Value {
    let number = |text: &str| text.parse::<f64>().ok().and_then(|_| serde_json::from_str::<Value>(text).ok());
    let value = |text: &String| match text.as_str() {
        "" => Value::Null,
        text => number(text).filter(Value::is_number).unwrap_or_else(|| text.into()),
    };
    let facts: Map<String, Value> = finding.facts.iter().map(|fact| (fact.name.clone(), value(&fact.value))).collect();
    json!({
        "event": "finding",
        "subject": finding.subject,
        "is_well": finding.is_well(),
        "cure": Some(&finding.cure).filter(|cure| !cure.is_empty()),
        "facts": facts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::Fact;

    fn finding(subject: &str, cure: &str, facts: &[(&str, &str)]) -> Finding {
        let facts =
            facts.iter().map(|(name, value)| Fact { name: (*name).to_owned(), value: (*value).to_owned() }).collect();
        Finding { subject: subject.to_owned(), cure: cure.to_owned(), facts }
    }

    #[test]
    fn numbers_are_numbers_in_json_and_what_is_not_known_is_null() {
        let facts = [("state", "active"), ("round_trip_ms", "0.213"), ("mib_per_second", ""), ("name", "7e99x")];
        let value = finding_json(&finding("10.0.0.1:5106", "", &facts));
        assert_eq!(value["facts"]["round_trip_ms"].as_f64(), Some(0.213));
        assert!(value["facts"]["mib_per_second"].is_null() && value["cure"].is_null());
        assert_eq!((value["facts"]["name"].as_str(), value["is_well"].as_bool()), (Some("7e99x"), Some(true)));
    }

    #[test]
    fn each_that_is_ill_is_told_with_its_cure_and_no_text_of_a_peer_acts_on_the_terminal() {
        let well = finding(COORDINATOR, "", &[]);
        assert_eq!(verdict(&[well.clone(), finding("a:1", "", &[])]), ["all is well: the coordinator and 1 node"]);
        let ill = finding("a:1", "nothing listens\u{1b}[2J there", &[("state", "inactive")]);
        let told = verdict(&[well, ill.clone()]);
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("to mend      a:1: nothing listens") && !told[0].contains('\u{1b}'), "{told:?}");
        assert!(table(&[&ill]).to_string().contains("a:1   inactive  -"));
    }
}

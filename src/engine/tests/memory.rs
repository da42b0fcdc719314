//! Nodes that say how much memory their tasks may take.

use super::*;
use crate::job::memory::NodeMemory;
use crate::job::{JobState, TooSmall};

/// What one worker and two need for the job of these tests.
fn needed() -> [u64; 2] {
    let memory = NodeMemory::of(&specification(1, 1));
    [memory.of_workers(1), memory.of_workers(2)]
}

impl Harness {
    /// A node of so many workers with so much memory for their tasks is listed and linked.
    fn join_with_memory(&mut self, number: u32, workers: u32, memory_bytes: u64) -> Vec<Action> {
        let node = NodeKey(number);
        let mut actions = self.tell(Event::NodeListed { node, address: format!("10.0.0.{number}:7000") });
        let (name, arithmetics, doubts) = (format!("n{number}"), vec![1], Vec::new());
        let info = NodeInfo { name, arithmetics, doubts, workers, cache_bytes: None, memory_bytes: Some(memory_bytes) };
        actions.extend(self.tell(Event::LinkUp { node, link: LinkKey(number.into()), info }));
        actions
    }
}

fn too_small(actions: &[Action]) -> Option<TooSmall> {
    match outcome(actions) {
        Some(Outcome::Failed(FailReason::NoNodeHasMemory(closest))) => Some(closest),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

#[test]
fn a_task_goes_only_to_nodes_that_have_the_memory_for_as_many_as_they_have_workers() {
    let [one, two] = needed();
    for policy in [Policy::Random, Policy::LoadBalancing] {
        let mut harness = Harness::new(policy);
        harness.join_with_memory(1, 1, one - 1);
        harness.join_with_memory(2, 1, one);
        harness.join_with_memory(3, 2, two - 1);
        let sent = harness.start(JOB, &specification(1, 1));
        assert_eq!(links(&sent), [2], "{policy}");
        // Neither does a copy, nor what another turns down.
        let mut again = harness.rejected(&sent[0]);
        again.extend(harness.pass_ms(100));
        assert_eq!(links(&super::sent(&again)), [2], "{policy}");
        // One that says nothing is believed to have it.
        harness.cut(2);
        assert_eq!(only_sent(&harness.join(4)).link, LinkKey(4), "{policy}");
    }
}

#[test]
fn a_job_that_fits_on_no_node_ends_at_once_with_the_one_that_lacks_least() {
    let [one, two] = needed();
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join_with_memory(1, 1, one / 2);
    harness.join_with_memory(2, 2, two - 1);
    harness.submit(JOB, &specification(1, 1));
    // Before anything is made for it.
    let actions = harness.tell(Event::DataReady { job: JOB });
    let closest = TooSmall { node: "n2".to_owned(), workers: 2, needed: two, allowed: two - 1 };
    assert_eq!(too_small(&actions), Some(closest.clone()));
    let said = FailReason::NoNodeHasMemory(closest).to_string();
    assert!(said.contains("node n2 comes closest, where 2 at a time need") && said.contains("--memory"), "{said}");
}

#[test]
fn a_node_that_is_away_counts_by_what_it_told_last_and_one_that_never_came_may_have_it() {
    let [one, _] = needed();
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join_with_memory(1, 1, one - 1);
    harness.join_with_memory(2, 1, one);
    harness.tell(Event::NodeListed { node: NodeKey(3), address: "10.0.0.3:7000".to_owned() });
    harness.start(JOB, &specification(1, 2));
    let actions = harness.cut(2);
    assert_eq!(too_small(&actions), None, "it may come back");
    assert!(matches!(notices(&actions)[..], [.., Notice::NoneHasMemory(_), Notice::Revival { number: 1, .. }]));
    assert_eq!(too_small(&harness.tell(Event::NodeUnlisted { node: NodeKey(2) })), None, "nobody knows of node 3");
    let actions = harness.join_with_memory(3, 1, one - 1);
    assert_eq!(too_small(&actions).map(|closest| closest.allowed), Some(one - 1));
}

#[test]
fn a_job_that_may_be_paused_is_where_no_node_has_the_memory() {
    let [one, _] = needed();
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join_with_memory(1, 1, one - 1);
    let mut patient = specification(1, 1);
    patient.operation.on_no_nodes = crate::job::OnNoNodes::Pause;
    harness.submit(JOB, &patient);
    let actions = harness.tell(Event::DataReady { job: JOB });
    assert!(matches!(&events(&actions)[..], [.., JobEvent::Paused(FailReason::NoNodeHasMemory(_))]), "{actions:?}");
    // Resumed once there is one that has, it goes on.
    harness.join_with_memory(2, 1, one);
    harness.tell(Event::ResumeRequested { job: JOB });
    assert_eq!(links(&sent(&harness.tell(Event::Prepared { job: JOB, base: base(0) }))), [2]);
}

#[test]
fn a_job_that_was_restored_without_its_data_goes_on_once_that_is_read() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    let asked = specification(1, 2);
    let reason = FailReason::TooLarge { needed: 2, allowed: 1 };
    let (specification, semantic) = (Arc::new(asked.clone()), semantic(&asked));
    harness.tell(Event::Restored { job: JOB, specification, semantic, progress: None, paused: Some(reason) });
    let state = |harness: &Harness| harness.engine.job_progress(JOB).unwrap().state();
    assert_eq!((harness.tell(Event::ReadRequested { job: JOB }), state(&harness)), (vec![], JobState::Collecting));
    assert!(harness.tell(Event::DataReady { job: JOB }).contains(&Action::Prepare { job: JOB }));
}

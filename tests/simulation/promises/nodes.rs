//! Work goes to nodes that are there and may do it, and no honest node is shut out. Owns who that is: what is listed, linked,
//! about to end, quarantined.

use std::collections::{BTreeMap, BTreeSet};

use gradwire::engine::{Action, Event, LinkKey, NodeKey};
use gradwire::job::JobId;

use crate::model;
use crate::scenario::Scenario;

#[derive(Default)]
pub struct Nodes {
    pub listed: BTreeSet<NodeKey>,
    pub quarantined: BTreeSet<NodeKey>,
    pub links: BTreeMap<LinkKey, NodeKey>,
    /// Links over which a node has said that it ends.
    pub closing: BTreeSet<LinkKey>,
    /// What was made up is merged into a job whose other updates nobody can sum: it speaks against those who told the truth.
    is_fooled: bool,
}

impl Nodes {
    /// The nodes that may work for a job, by their links.
    pub fn helpers<'a>(&'a self, scenario: &'a Scenario, job: JobId) -> impl Iterator<Item = (LinkKey, NodeKey)> + 'a {
        let is_wanted = |node| self.listed.contains(node) && !self.quarantined.contains(node);
        let links = self.links.iter().filter(move |(link, node)| is_wanted(*node) && !self.closing.contains(*link));
        links.map(|(link, node)| (*link, *node)).filter(move |(_, node)| scenario.may_work(*node, job))
    }

    pub fn has_helper(&self, scenario: &Scenario, job: JobId) -> bool {
        self.helpers(scenario, job).next().is_some()
    }

    pub fn before(&mut self, event: &Event) {
        match event {
            // Its past is forgotten, what it did while it was leaving, too.
            Event::NodeListed { node, .. } if self.listed.insert(*node) => drop(self.quarantined.remove(node)),
            Event::NodeUnlisted { node } => drop((self.listed.remove(node), self.quarantined.remove(node))),
            Event::LinkUp { node, link, .. } => drop(self.links.insert(*link, *node)),
            Event::LinkDown { link, .. } => drop(self.links.remove(link)),
            _ => {}
        }
    }

    pub fn action(&mut self, scenario: &Scenario, action: &Action) {
        match action {
            Action::DropLink { link, .. } => {
                assert!(self.links.remove(link).is_some(), "a link is dropped that is not there")
            }
            Action::StopDialling { node } => {
                assert!(!scenario.node(*node).is_honest() || self.is_fooled, "an honest node is quarantined");
                self.quarantined.insert(*node);
            }
            Action::Accumulate { attempt, update, .. } => {
                let is_hopeless = scenario.job(attempt.task.job).diverges_at.is_some();
                self.is_fooled |= is_hopeless && model::is_made_up(*update);
            }
            _ => {}
        }
    }

    pub fn after(&self) {
        assert!(!self.links.values().any(|node| self.quarantined.contains(node)), "a quarantined node keeps its link");
    }
}

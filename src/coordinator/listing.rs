//! The list of nodes, and what becomes of it when its file changes. Owns which address has which key; does not know which
//! nodes are dialled, linked or at work.

use std::collections::{BTreeMap, HashMap};

use crate::config::{NodeAddress, NodesFile};
use crate::engine::NodeKey;
use crate::wire::text::counted;

/// Nodes that are named in the log, of those that join or leave at a time.
const NAMED_MAX: usize = 16;

/// The list.
pub(super) struct Listing {
    file: Option<NodesFile>,
    /// The key of every address that has been listed: it is never another's.
    keys: HashMap<NodeAddress, NodeKey>,
    listed: BTreeMap<NodeKey, NodeAddress>,
}

/// What has become of the list.
#[derive(Debug, PartialEq)]
pub(super) struct Changed {
    /// Listed now, and not before.
    pub(super) joined: Vec<(NodeKey, NodeAddress)>,
    /// No longer listed.
    pub(super) left: Vec<(NodeKey, NodeAddress)>,
}

impl Listing {
    /// The list at the start.
    pub(super) fn new(nodes: &[NodeAddress], file: Option<NodesFile>) -> Listing {
        let mut listing = Listing { file, keys: HashMap::new(), listed: BTreeMap::new() };
        for address in nodes {
            listing.add(address.clone());
        }
        listing
    }

    /// The nodes that are listed.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (NodeKey, &NodeAddress)> {
        self.listed.iter().map(|(&key, address)| (key, address))
    }

    /// Whether there is a file to look at.
    pub(super) fn may_change(&self) -> bool {
        self.file.is_some()
    }

    /// Reads the file again if it has changed. A bad one changes nothing, and is warned of once.
    pub(super) fn look(&mut self) -> Option<Changed> {
        let file = self.file.as_mut()?;
        let nodes = match file.look()? {
            Ok(nodes) => nodes,
            Err(error) => {
                log::warn!("{error}; the list of {} stays in use", counted(self.listed.len() as u64, "node"));
                return None;
            }
        };
        let path = file.path().display().to_string();
        let changed = self.change(nodes);
        let (joined, left) = (named("joined", &changed.joined), named("left", &changed.left));
        log::info!("{path} has changed: {} listed{joined}{left}", counted(self.listed.len() as u64, "node"));
        Some(changed)
    }

    fn change(&mut self, wanted: Vec<NodeAddress>) -> Changed {
        let mut gone = std::mem::take(&mut self.listed);
        let mut joined = Vec::new();
        for address in wanted {
            let key = self.add(address.clone());
            if gone.remove(&key).is_none() {
                joined.push((key, address));
            }
        }
        Changed { joined, left: gone.into_iter().collect() }
    }

    /// Lists a node under the key that it has had before, or under a new one.
    fn add(&mut self, address: NodeAddress) -> NodeKey {
        let next = NodeKey(self.keys.len() as u32);
        let key = *self.keys.entry(address.clone()).or_insert(next);
        self.listed.insert(key, address);
        key
    }
}

/// Some of these nodes in words.
fn named(what: &str, nodes: &[(NodeKey, NodeAddress)]) -> String {
    if nodes.is_empty() {
        return String::new();
    }
    let names: Vec<String> = nodes.iter().take(NAMED_MAX).map(|(_, node)| node.to_string()).collect();
    let more = nodes.len() - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("; {what}: {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(ports: &[u16]) -> Vec<NodeAddress> {
        ports.iter().map(|&port| NodeAddress { host: "10.0.0.1".to_owned(), port }).collect()
    }

    fn keys(nodes: &[(NodeKey, NodeAddress)]) -> Vec<(u32, u16)> {
        nodes.iter().map(|(key, address)| (key.0, address.port)).collect()
    }

    #[test]
    fn a_node_keeps_its_key_for_ever_and_no_other_gets_it() {
        let mut listing = Listing::new(&addresses(&[1, 2, 3]), None);
        let mut change = |ports: &[u16]| {
            let Changed { joined, left } = listing.change(addresses(ports));
            (keys(&joined), keys(&left))
        };
        assert_eq!(change(&[3, 1]), (vec![], vec![(1, 2)]));
        assert_eq!(change(&[1, 3]), (vec![], vec![]), "the order means nothing");
        assert_eq!(change(&[5, 1, 4]), (vec![(3, 5), (4, 4)], vec![(2, 3)]));
        assert_eq!(change(&[2, 1]), (vec![(1, 2)], vec![(3, 5), (4, 4)]));
        assert_eq!(change(&[]), (vec![], vec![(0, 1), (1, 2)]));
        assert_eq!(change(&[6, 4]), (vec![(5, 6), (4, 4)], vec![]));
    }

    #[test]
    fn the_log_names_some_of_many() {
        let nodes: Vec<_> = addresses(&[1, 2]).into_iter().map(|address| (NodeKey(0), address)).collect();
        assert_eq!(named("joined", &nodes), "; joined: 10.0.0.1:1, 10.0.0.1:2");
        assert_eq!(named("left", &[]), "");
        let many = vec![nodes[0].clone(); NAMED_MAX + 3];
        assert!(named("left", &many).ends_with(", 10.0.0.1:1 and 3 more"));
    }
}

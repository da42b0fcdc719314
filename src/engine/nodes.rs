//! What the engine knows nodes and links by, and what a node says of itself.

/// A node, as the caller knows it: a number of its own that no other node gets, wherever it is listed and whatever its address.
/// Where two nodes are alike, the one of the lower number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey(pub u32);

/// One connection to a node; never used again after it is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkKey(pub u64);

/// What a node says of itself when its link comes up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// The name shown to people.
    pub name: String,
    /// The arithmetics that it is known to compute.
    pub arithmetics: Vec<u16>,
    /// Those that it says it computes, and why it is not believed.
    pub doubts: Vec<(u16, Doubt)>,
    /// Tasks that it trains at the same time; 0 counts as 1.
    pub workers: u32,
    /// Memory that they may take together, where it says so.
    pub memory_bytes: Option<u64>,
    /// Bytes of data that it keeps, as far as it says.
    pub cache_bytes: Option<u64>,
}

/// Why a node is not believed that it computes an arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// What shows it is another than the coordinator's: one of the two computes otherwise than defined.
    Differs,
    /// It shows nothing.
    Unproven,
}

impl Doubt {
    /// What is wrong, of a node that says it computes this arithmetic, and the cure.
    pub fn about(self, arithmetic: u16) -> String {
        match self {
            Self::Differs => format!(
                "it computes arithmetic {arithmetic} otherwise than this coordinator: update both, or mend the one that is broken"
            ),
            Self::Unproven => {
                format!("its greeting does not show that it computes arithmetic {arithmetic}: update it")
            }
        }
    }
}

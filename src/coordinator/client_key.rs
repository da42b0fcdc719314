//! What a client's connection is called. Does not know what it is.

/// One client's connection, never used again after it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClientKey(pub(super) u64);

//! Into which parts a job's time is told. Does not know how it is measured (`engine`).

/// Where a done job's time went. Each moment from its start (its data is there, and its turn has come) to its last
/// validation counts to one part, so the parts add up to the time that it took.
///
/// The tasks of a round are out from its start until its last result. A moment of that counts to the first of `no_nodes`,
/// `stragglers`, `compute` and `wire` that is true of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Until the first weights were there.
    pub prepare_us: u64,
    /// The node whose result came last in the round was training for it, by its own account.
    pub compute_us: u64,
    /// Anything else: weights, shards and updates travelled, or tasks waited in nodes' queues, were turned down or failed.
    pub wire_us: u64,
    /// No task was left to hand out, and a node that had trained for the round waited for the others, or trained a copy of
    /// a slow one's task.
    pub stragglers_us: u64,
    /// A task was to be handed out, and no node was there that could take it.
    pub no_nodes_us: u64,
    /// From a round's last result until the weights that came of it.
    pub merge_us: u64,
    /// Nothing was left to do but validations that ran: after the last round, or because too many had piled up.
    pub validate_us: u64,
}

impl Profile {
    /// The parts in their order, each with its name.
    pub fn parts(&self) -> [(&'static str, u64); 7] {
        [
            ("prepare", self.prepare_us),
            ("compute", self.compute_us),
            ("wire", self.wire_us),
            ("stragglers", self.stragglers_us),
            ("no_nodes", self.no_nodes_us),
            ("merge", self.merge_us),
            ("validate", self.validate_us),
        ]
    }

    /// All parts together; from a peer they may be any numbers.
    pub fn total_us(&self) -> u64 {
        self.parts().iter().fold(0, |total, (_, us)| total.saturating_add(*us))
    }

    /// Time in which a round's tasks were out.
    pub fn waiting_us(&self) -> u64 {
        let parts = [self.compute_us, self.wire_us, self.stragglers_us, self.no_nodes_us];
        parts.iter().fold(0, |total, us| total.saturating_add(*us))
    }
}

//! The objects that a job needs from its client. Does not know which of them are here.

use std::collections::HashMap;

use crate::digest::Digest;
use crate::job::Specification;
use crate::wire::object;

/// Every object that a job needs from its client, with its exact size.
pub(super) fn objects_of(specification: &Specification) -> HashMap<Digest, u64> {
    let (network, loss) = (&specification.training.network, specification.training.recipe.loss);
    let rows = specification.shards.iter().chain([&specification.validation]);
    let mut objects: HashMap<Digest, u64> =
        rows.map(|rows| (rows.digest, object::rows_bytes(rows.rows, network, loss))).collect();
    if let Some(initial) = specification.initial {
        objects.insert(initial, object::parameters_bytes(network));
    }
    objects
}

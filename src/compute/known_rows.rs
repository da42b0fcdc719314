//! Which shards' rows have been found fit to train on as they lie. Owns that memory, so that a shard that many tasks come
//! back to is looked through once; does not hold the rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::specified::Specified;
use super::work::refusal;
use crate::digest::Digest;
use crate::model::Rows;
use crate::wire::ErrorCode;
use crate::wire::message::Error;
use crate::wire::object;

/// Shards that are remembered, at most: then all are forgotten, and looked through again.
const KNOWN_MAX: usize = 4_096;

/// Shards whose rows are fit as they lie, each for what its tasks are trained by.
#[derive(Debug, Default)]
pub(super) struct KnownRows(BTreeSet<(Digest, Digest)>);

impl KnownRows {
    /// The rows in a shard's object, for what is specified.
    pub(super) fn open<'a>(
        &mut self,
        digest: Digest,
        specified: &Specified,
        object: &'a Arc<Vec<u8>>,
    ) -> Result<Rows<'a>, Error> {
        let (network, loss) = (&specified.training.network, specified.training.recipe.loss);
        let parts = object::decode_rows(network, loss, object)
            .map_err(|error| refusal(error.code(), format!("shard: {error}")))?;
        let known = (digest, specified.digest);
        if self.0.contains(&known) {
            return Ok(Rows::known(network.input_layout(), parts));
        }
        let rows = Rows::of_parts(network.input_layout(), parts)
            .map_err(|error| refusal(ErrorCode::ObjectMalformed, format!("shard: {error}")))?;
        if rows.are_as_they_lay() {
            if self.0.len() >= KNOWN_MAX {
                self.0.clear();
            }
            self.0.insert(known);
        }
        Ok(rows)
    }
}

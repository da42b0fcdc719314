//! The objects that a job needs from its client, and what it takes besides. Does not know which of them are here.

use std::collections::HashMap;

use crate::digest::Digest;
use crate::job::Specification;
use crate::wire::object;

/// Every object that a job needs from its client, with its exact size.
pub(super) fn objects_of(specification: &Specification) -> HashMap<Digest, u64> {
    let (network, loss) = (&specification.training.network, specification.training.recipe.loss);
    let rows = specification.shards.iter().chain([&specification.validation]).chain(&specification.test);
    let mut objects: HashMap<Digest, u64> =
        rows.map(|rows| (rows.digest, object::rows_bytes(rows.rows, network, loss))).collect();
    if let Some(initial) = specification.initial {
        objects.insert(initial, object::parameters_bytes(network));
    }
    objects
}

/// What a job takes in memory besides its data, about: shards are many, and notes long.
pub(super) fn specification_bytes(specification: &Specification) -> u64 {
    const SHARD_BYTES: u64 = 160;
    const REST_BYTES: u64 = 4_096;
    REST_BYTES + SHARD_BYTES * specification.shards.len() as u64 + specification.notes.len() as u64
}

/// Objects that some jobs have, each counted once.
#[derive(Default)]
pub(super) struct Kept {
    /// How many have it, and its size.
    objects: HashMap<Digest, (u32, u64)>,
    pub(super) bytes: u64,
}

impl Kept {
    pub(super) fn holds(&self, digest: &Digest) -> bool {
        self.objects.contains_key(digest)
    }

    pub(super) fn add(&mut self, digest: Digest, bytes: u64) {
        let (jobs, _) = self.objects.entry(digest).or_insert((0, bytes));
        *jobs += 1;
        if *jobs == 1 {
            self.bytes += bytes;
        }
    }

    pub(super) fn remove(&mut self, digest: &Digest) {
        let Some((jobs, bytes)) = self.objects.get_mut(digest) else { return };
        *jobs -= 1;
        if *jobs == 0 {
            self.bytes -= *bytes;
            self.objects.remove(digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_jobs_have_counts_once_and_until_the_last_of_them_lets_it_go() {
        let (a, b) = (Digest([1; 32]), Digest([2; 32]));
        let mut kept = Kept::default();
        [(a, 10), (b, 5), (a, 10)].iter().for_each(|(digest, bytes)| kept.add(*digest, *bytes));
        assert_eq!((kept.bytes, kept.holds(&a)), (15, true));
        kept.remove(&a);
        assert_eq!((kept.bytes, kept.holds(&a)), (15, true));
        [a, a, b].iter().for_each(|digest| kept.remove(digest));
        assert_eq!((kept.bytes, kept.holds(&a)), (0, false));
    }
}

//! The simulated mathematics: what is trained, merged and validated are digests of what went in. Owns what the undisturbed
//! result of a job is.

use std::collections::BTreeMap;

use gradwire::digest::{Digest, Hasher};
use gradwire::job::JobId;

/// By this anybody but the engine may tell what a node has made up.
const MADE_UP: &[u8; 8] = b"made up.";

/// The weights that a job starts from.
pub fn prepare(job: JobId) -> Digest {
    Digest::of_parts(&[b"base", &job.0.to_le_bytes()])
}

/// What an honest node makes of a shard.
pub fn train(base: Digest, shard: u32, arithmetic: u16) -> Digest {
    Digest::of_parts(&[b"update", &base.0, &shard.to_le_bytes(), &arithmetic.to_le_bytes()])
}

/// What a node makes up.
pub fn make_up(number: u64) -> Digest {
    let Digest(mut bytes) = Digest::of(&number.to_le_bytes());
    bytes[24..].copy_from_slice(MADE_UP);
    Digest(bytes)
}

/// Whether no honest node has made this update.
pub fn is_made_up(Digest(bytes): Digest) -> bool {
    bytes.ends_with(MADE_UP)
}

/// The weights after a round.
pub fn merge(base: Digest, updates: &BTreeMap<u32, Digest>) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(&base.0);
    for (shard, update) in updates {
        hasher.update(&shard.to_le_bytes());
        hasher.update(&update.0);
    }
    hasher.finish()
}

/// The loss that an honest node reports.
pub fn loss(update: Digest) -> f64 {
    f64::from(update.0[0])
}

/// The weights after a job that nothing disturbed.
pub fn undisturbed(job: JobId, shards: u32, rounds: u32, arithmetic: u16) -> Digest {
    (0..rounds).fold(prepare(job), |base, _| {
        let updates = (0..shards).map(|shard| (shard, train(base, shard, arithmetic))).collect();
        merge(base, &updates)
    })
}

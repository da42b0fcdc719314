//! What came of jobs that are done, where nothing is written: it stays in the store for whoever has been told of it and is about to
//! fetch it, whatever else needs room. Does not know who that is, or what jobs are.

use std::collections::HashMap;
use std::sync::Arc;

use crate::digest::Digest;
use crate::job::JobId;
use crate::store::Store;

/// What is held of them: each object's digest and size.
#[derive(Default)]
pub(super) struct Results(HashMap<JobId, Vec<(Digest, u64)>>);

impl Results {
    /// Bytes of all.
    pub(super) fn bytes(&self) -> u64 {
        self.0.values().flatten().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// A job's are held.
    pub(super) fn hold(&mut self, store: &Store, job: JobId, objects: Vec<(Digest, Arc<Vec<u8>>)>) {
        let held = objects.iter().map(|(digest, bytes)| (*digest, bytes.len() as u64)).collect();
        for (digest, bytes) in objects {
            store.insert_pinned(digest, bytes);
        }
        // One that was held under this id before is no more.
        self.0.insert(job, held).into_iter().flatten().for_each(|(digest, _)| store.unpin(&digest));
    }

    /// Those of these jobs stay only as long as nobody needs the room.
    pub(super) fn let_go(&mut self, store: &Store, can_go: impl Fn(JobId) -> bool) {
        let over = self.0.extract_if(|job, _| can_go(*job));
        over.flat_map(|(_, held)| held).for_each(|(digest, _)| store.unpin(&digest));
    }
}

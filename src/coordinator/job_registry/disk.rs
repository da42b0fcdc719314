//! Whether the disk that jobs are kept on has room for one more. Does not know where that is, how much is free there, or what a
//! file holds: it counts what is still to be written.

use super::{Jobs, Refusal};
use crate::coordinator::data::objects_of;
use crate::coordinator::journal::DiskRoom;
use crate::job::memory::CoordinatorMemory;
use crate::job::{JobId, Specification};

/// States that there are of a job at a time: two, and the one that is being written.
const STATES: u64 = 3;
/// What a job takes beside data and states, about: its ledger, and what the disk itself takes for its files.
pub(super) const OWN_BYTES: u64 = 1 << 20;

impl Jobs {
    /// Whether the disk has room for a job that is not known beside those whose data is on its way. Not asked where nothing is
    /// written, or nobody minds.
    pub(in crate::coordinator) fn check_disk(
        &self,
        job: JobId,
        specification: &Specification,
        room: Option<DiskRoom>,
    ) -> Result<(), Refusal> {
        let is_new = !self.open.contains_key(&job);
        let Some(DiskRoom { free_bytes, there_bytes }) = room.filter(|_| is_new && self.are_to_be_written) else {
            return Ok(());
        };
        let to_come = self.open.values().filter(|job| !job.is_written);
        let others = to_come.fold(0u64, |sum, job| {
            sum.saturating_add(job.bytes).saturating_add(bytes_beside_data(&job.specification, job.memory))
        });
        let data = objects_of(specification).into_values().fold(0u64, u64::saturating_add);
        let beside = bytes_beside_data(specification, CoordinatorMemory::of(specification, self.memory.means));
        let bytes = data.saturating_sub(there_bytes).saturating_add(beside);
        let free = free_bytes.saturating_sub(others);
        if bytes > free { Err(Refusal::NoDisk { bytes, free }) } else { Ok(()) }
    }
}

/// What a job has on the disk beside its data: its states, each with its weights, those of its best round and what its optimiser
/// remembers, and what is kept until it is merged.
fn bytes_beside_data(specification: &Specification, memory: CoordinatorMemory) -> u64 {
    let update_bytes = 4 * specification.training.network.parameters() as u64;
    let kept_until_merged = specification.results_at_once().saturating_mul(update_bytes);
    memory.weights_bytes.saturating_mul(STATES).saturating_add(kept_until_merged).saturating_add(OWN_BYTES)
}

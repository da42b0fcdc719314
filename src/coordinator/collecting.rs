//! Jobs whose data is on its way, and who gives way where there is no room for all: shares by address and client, which bind
//! only then. Decides nothing about jobs whose data is here: those stay, and who has more of them than his share, where few
//! places are left, gets no more.

use std::collections::HashMap;

use super::handles::{Client, ClientKey};
use super::job_registry::{Job, Jobs, Refusal};
use crate::job::JobId;
use crate::net::{self, Held, IpAddr};
use crate::wire::limits;

/// The last places, and the last bytes, one part in so many, are for those who have less than their share of all.
const LAST_PART: u64 = 16;

/// What a client that is held up asks for next, about.
const NEXT_BYTES: u64 = 256 << 10;

impl Jobs {
    /// Whether there is a place among those whose data is on its way for a job of this client's: another of them may have to
    /// give way to it.
    pub(super) fn place_to_collect(&self, client: &Client) -> Result<Option<JobId>, Refusal> {
        let collecting = self.collecting().count();
        if collecting < limits::COLLECTING_JOBS_MAX {
            return Ok(None);
        }
        let held = self.collecting().map(|(_, _, client)| held_by(client, 1));
        let gives_way = net::gives_way(held, held_by(client, 1)).and_then(|(_, busiest)| self.slowest_of(busiest));
        gives_way.map(Some).ok_or(Refusal::Collecting { got: collecting as u64 + 1 })
    }

    /// Which job gives way to a client that is held up because there is no room: none where room comes only of jobs that have
    /// all of their data.
    pub(super) fn makes_room_for(&self, client: &Client) -> Option<JobId> {
        let coming: HashMap<ClientKey, u64> = self.room().coming().into_iter().collect();
        // What is on its way, once a client, and what is here of its jobs.
        let mut counted = Vec::new();
        let mut held = Vec::new();
        for (_, job, client) in self.collecting() {
            let coming = if counted.contains(&client.key) { 0 } else { coming.get(&client.key).copied().unwrap_or(0) };
            counted.push(client.key);
            held.push(held_by(client, job.bytes_here + coming));
        }
        let is_others = held.iter().any(|held| held.client != client.key && held.amount > 0);
        let busiest = net::gives_way(held.into_iter(), held_by(client, NEXT_BYTES)).map(|(_, busiest)| busiest);
        // Where both wait for each other, who holds most gives up.
        self.slowest_of(busiest.or_else(|| is_others.then_some(client.key))?)
    }

    /// Whether, where few places or bytes are left for jobs with their data, an address has its share already.
    pub(super) fn check_share(&self, address: IpAddr, bytes: u64, free: u64) -> Result<(), Refusal> {
        let mut owners: HashMap<IpAddr, (u64, u64)> = HashMap::from([(address, (0, 0))]);
        let mut complete = 0;
        for (_, job) in self.each().filter(|(_, job)| job.is_complete()) {
            complete += 1;
            if let Some(owner) = job.owner {
                let (jobs, bytes) = owners.entry(owner).or_default();
                *jobs += 1;
                *bytes += job.bytes;
            }
        }
        let (jobs, own_bytes) = owners[&address];
        // One more, for whoever comes next.
        let (places, addresses) = (limits::QUEUED_JOBS_MAX as u64, owners.len() as u64 + 1);
        let share = places / addresses;
        if places.saturating_sub(complete) < places / LAST_PART && jobs >= share {
            return Err(Refusal::PlacesShare { got: jobs + 1, allowed: share });
        }
        let share = self.store_bytes() / addresses;
        // One job may be as large as there is room for.
        let is_scarce = jobs > 0 && free.saturating_sub(bytes) < self.store_bytes() / LAST_PART;
        if is_scarce && own_bytes.saturating_add(bytes) > share {
            return Err(Refusal::BytesShare { got: own_bytes.saturating_add(bytes), allowed: share });
        }
        Ok(())
    }

    /// Jobs whose data is on its way, and whom it comes from.
    fn collecting(&self) -> impl Iterator<Item = (JobId, &Job, &Client)> {
        let collecting = self.each().filter(|(_, job)| !job.is_complete());
        collecting.filter_map(|(id, job)| Some((id, job, &job.source()?.client)))
    }

    /// Of a client's jobs that of which least has come in a second; the youngest of equals.
    fn slowest_of(&self, client: ClientKey) -> Option<JobId> {
        let now = net::now();
        let speed = |job: &Job| job.bytes_here as f64 / now.saturating_sub(job.collects_since).as_secs_f64().max(1e-3);
        let its = self.collecting().filter(|(_, _, source)| source.key == client);
        let slower = |(_, a, _): &(JobId, &Job, &Client), (_, b, _): &(JobId, &Job, &Client)| {
            speed(a).total_cmp(&speed(b)).then(b.collects_since.cmp(&a.collects_since))
        };
        its.min_by(slower).map(|(id, ..)| id)
    }
}

fn held_by(client: &Client, amount: u64) -> Held<ClientKey> {
    Held { address: client.link.peer().address.ip(), client: client.key, amount }
}

//! The simulated nodes and their links: they crash, freeze, drain, lie. Owns what happens to a node and what it says; what it
//! does with its tasks is its core's (`node`), and what becomes of them at the coordinator the engine's.

use gradwire::digest::Digest;
use gradwire::engine::{Event, Fault, LinkKey, NodeInfo, NodeKey};
use gradwire::job::{Attempt, JobId, TaskResult};
use rand::{Rng as _, RngExt as _};

use crate::model;
use crate::node::{Input, Program};
use crate::scenario::{Lies, NodePlan};
use crate::world::{Scheduled, World};

/// A silent link counts as down after this.
const SILENCE_US: u64 = 3_000_000;

/// A node as it is now.
pub struct Node {
    pub plan: NodePlan,
    pub is_up: bool,
    pub is_frozen: bool,
    /// It takes nothing more, and ends once it has done what it has.
    pub is_draining: bool,
    /// Counts its starts.
    pub life: u32,
    pub link: Option<LinkKey>,
    /// What it runs while it is up.
    pub program: Option<Program>,
    /// What it hears once it is no longer frozen.
    pub unheard: Vec<Input>,
}

impl Node {
    pub fn new(plan: &NodePlan) -> Node {
        Node {
            plan: plan.clone(),
            is_up: false,
            is_frozen: false,
            is_draining: false,
            life: 0,
            link: None,
            program: None,
            unheard: Vec::new(),
        }
    }
}

impl World {
    /// A node starts.
    pub fn start(&mut self, node: usize) {
        let seed = self.rng.next_u64();
        let it = &mut self.nodes[node];
        it.is_up = true;
        it.life += 1;
        it.program = Some(Program::new(&it.plan, seed));
        self.schedule_fault(node);
        self.redial(node);
    }

    /// A node has a result, and says so, or lies.
    pub fn answer(&mut self, node: usize, link: LinkKey, attempt: Attempt, mut update: Digest, is_inside: bool) {
        let plan = self.nodes[node].plan.clone();
        let kept = update;
        let job = self.plan(attempt.task.job);
        let merges_gradients = job.steps.merge_gradients();
        if job.diverges_at.is_some_and(|step| attempt.task.step >= step) {
            self.poisoned.insert(update);
        }
        match plan.lies {
            Lies::KeepsSilent(chance) if self.rng.random_bool(chance) => {
                return self.coverage.count("answers that never came");
            }
            Lies::Malforms(chance) if self.rng.random_bool(chance) => {
                let reason = format!("{:?}", Fault::Malformed);
                return self.send(node, Event::TaskFailed { link, attempt, fault: Fault::Malformed, reason });
            }
            Lies::Poisons(chance) if self.rng.random_bool(chance) => {
                update = model::make_up(self.rng.next_u64());
                self.poisoned.insert(update);
            }
            Lies::Miscomputes(chance) if self.rng.random_bool(chance) => {
                update = model::make_up(self.rng.next_u64());
            }
            _ => {}
        }
        // What a node says of blocks' loss is rounded: the sum says it exactly.
        let loss = if merges_gradients { 0.1 } else { model::loss(update) };
        // A liar's account of its time is worth nothing, and must do no harm.
        let train_us = if plan.is_honest() { plan.task_us } else { attempt.token >> (attempt.token % 64) };
        let result = TaskResult { epochs: 1, loss, train_us, update, update_bytes: 64 };
        let event = Event::Trained { link, attempt, result };
        if self.rng.random_bool(plan.repeats) {
            self.send(node, event.clone());
        }
        // A result of long ago comes again, perhaps over another link.
        if self.rng.random_bool(0.02) && !self.sent.is_empty() {
            let mut replay = self.sent[self.rng.random_range(0..self.sent.len())].clone();
            if let Event::Trained { link: old, .. } = &mut replay
                && self.rng.random_bool(0.5)
            {
                *old = link;
            }
            self.send(node, replay);
        }
        self.sent.push(event.clone());
        // A large update is announced, and fetched some time after; what is announced may be overtaken. Some of it is gone, or
        // is not what was announced: that is told, and perhaps the rest comes all the same.
        if !is_inside {
            self.send(node, Event::UpdateComing { link, attempt });
            let wait_us = self.rng.random_range(0..50_000);
            self.hear_in(wait_us, node, Input::Fetched { link, digest: kept });
            if self.rng.random_bool(plan.breaks_off) {
                self.coverage.count("updates that broke off");
                let fault = if plan.is_honest() { Fault::Retryable } else { Fault::Malformed };
                let reason = "its update broke off".to_owned();
                self.tell_in(wait_us, Event::TaskFailed { link, attempt, fault, reason });
                if self.rng.random_bool(0.5) {
                    return;
                }
            }
            return self.tell_in(wait_us, event);
        }
        self.send(node, event);
    }

    /// A node says something over its link. It arrives even if the link goes down meanwhile: the coordinator's threads may
    /// have had it in hand.
    pub fn send(&mut self, node: usize, event: Event) {
        if self.nodes[node].link.is_some() {
            self.post(Scheduled::Tell(event));
            if self.rng.random_bool(0.1)
                && let Some(link) = self.nodes[node].link
                && let Some(program) = &self.nodes[node].program
            {
                let (running, waiting) = program.load();
                self.post(Scheduled::Tell(Event::LoadReported { link, running, waiting }));
            }
        }
    }

    pub fn dial(&mut self, node: usize) {
        // A poller that knows who is quarantined does not dial it; one that does not must do no harm.
        let is_left_alone =
            self.promises.nodes.quarantined.contains(&NodeKey(node as u32)) && self.rng.random_bool(0.5);
        let it = &mut self.nodes[node];
        if !it.is_up || it.is_frozen || it.is_draining || it.link.is_some() || is_left_alone {
            return self.tell(Event::DialFailed { node: NodeKey(node as u32) });
        }
        self.links += 1;
        let link = LinkKey(self.links);
        it.link = Some(link);
        let (name, arithmetics, workers) = (format!("n{node}"), vec![it.plan.arithmetic], it.plan.workers);
        // Of some jobs' data it keeps all, of some a part.
        let cache_bytes = [None, Some(16 << 20), Some(1 << 40)][self.rng.random_range(0..3)];
        let info = NodeInfo { name, arithmetics, doubts: Vec::new(), workers, cache_bytes, memory_bytes: None };
        self.link_node(node, link);
        // Asked first: the question is on its way before the first task is.
        self.promises.jobs.running().into_iter().for_each(|job| self.ask_for_results(node, job));
        self.tell(Event::LinkUp { node: NodeKey(node as u32), link, info });
    }

    /// The coordinator asks a node what it has of a job.
    pub fn ask_for_results(&mut self, node: usize, job: JobId) {
        if let Some(link) = self.nodes[node].link {
            self.post_to_node(node, Input::Results { link, job });
        }
    }

    /// The coordinator is gone: each node notices.
    pub fn orphan_nodes(&mut self) {
        for node in 0..self.nodes.len() {
            self.lose_link(node);
        }
    }

    /// A node's link carries nothing more; the node hears of it later.
    pub fn lose_link(&mut self, node: usize) -> Option<LinkKey> {
        let link = self.nodes[node].link.take()?;
        let wait_us = self.rng.random_range(0..SILENCE_US);
        let wait_us = if self.rng.random_bool(0.7) { wait_us / 1000 } else { wait_us };
        self.hear_in(wait_us, node, Input::Unlinked { link });
        Some(link)
    }

    /// The poller finds a node that is up within two seconds.
    pub fn redial(&mut self, node: usize) {
        if !self.is_over() {
            let wait_us = self.rng.random_range(1_000..2_000_000);
            self.schedule_in(wait_us, Scheduled::Dial { node });
        }
    }

    pub fn schedule_fault(&mut self, node: usize) {
        if let Some(mean_us) = self.nodes[node].plan.fault_us {
            let wait_us = self.rng.random_range(0..2 * mean_us);
            let life = self.nodes[node].life;
            self.schedule_in(wait_us, Scheduled::NodeFault { node, life });
        }
    }

    pub fn inject_fault(&mut self, node: usize) {
        match self.rng.random_range(0..5) {
            // It crashes, and may come back.
            0 => {
                // The machine's kernel says so at once, or nobody does.
                let notice_us = if self.rng.random_bool(0.7) { 1_000 } else { SILENCE_US };
                return self.end(node, notice_us, "the connection was reset");
            }
            // It is told to end: what waits at it is handed back, and what it trains is delivered if it is not for long.
            3 if !self.nodes[node].is_frozen => {
                let life = self.nodes[node].life;
                self.nodes[node].is_draining = true;
                self.drain(node);
                let wait_us = self.rng.random_range(0..1_000_000);
                return self.schedule_in(wait_us, Scheduled::Drained { node, life });
            }
            // It freezes, and goes on.
            1 => {
                let life = self.nodes[node].life;
                let wait_us = self.rng.random_range(10_000..6_000_000);
                self.nodes[node].is_frozen = true;
                if wait_us > SILENCE_US {
                    self.cut(node, SILENCE_US, "no answer for 3 s");
                }
                self.schedule_in(wait_us, Scheduled::Thaw { node, life });
            }
            // Its link breaks; both ends notice, each in its time.
            2 => {
                let wait_us = self.rng.random_range(0..SILENCE_US);
                self.cut(node, wait_us, "the link broke");
                self.redial(node);
            }
            // It connects a second time before the first connection is known to be gone.
            _ if !self.nodes[node].is_frozen => {
                self.cut(node, SILENCE_US, "no answer for 3 s");
                self.dial(node);
            }
            _ => {}
        }
        self.schedule_fault(node);
    }

    /// A node ends, and may come back.
    pub fn end(&mut self, node: usize, notice_us: u64, reason: &str) {
        let it = &mut self.nodes[node];
        it.is_up = false;
        it.is_frozen = false;
        it.is_draining = false;
        it.program = None;
        it.unheard.clear();
        self.cut(node, notice_us, reason);
        if self.rng.random_bool(0.8) {
            let wait_us = self.rng.random_range(10_000..6_000_000);
            self.schedule_in(wait_us, Scheduled::Start { node });
        }
    }

    /// A link carries nothing more; the engine hears of it later.
    fn cut(&mut self, node: usize, notice_us: u64, reason: &str) {
        if let Some(link) = self.lose_link(node) {
            self.tell_in(notice_us, Event::LinkDown { link, reason: reason.to_owned() });
        }
    }
}

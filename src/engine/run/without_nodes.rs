//! What a running job does while no node may work for it: tells why, has nodes dialled, and is given up or paused in the end. Owns
//! the order of these; does not know how long each wait is (`revival`).

use super::{Ending, Run, Stage};
use crate::engine::context::Context;
use crate::engine::events::Action;
use crate::engine::profile::Need;
use crate::engine::report::Notice;
use crate::engine::revival::Step;
use crate::engine::step_tasks::StepTasks;
use crate::engine::time::Time;
use crate::job::{FailReason, OnNoNodes, Outcome};

impl Run {
    /// Hands pending tasks to nodes, or tries to revive some.
    pub(super) fn place_or_revive(&mut self, waits_until: Option<Time>, cx: &mut Context<'_>) {
        let Stage::Training { tasks, .. } = &self.stage else { return };
        if !tasks.has_pending() {
            self.revival.not_needed();
        } else if cx.fleet.crew(self.job).next().is_some() {
            self.revival.not_needed();
            if !self.awaits_held_results(cx) {
                match waits_until {
                    Some(until) => self.wake_at(until),
                    None => self.place_pending(cx),
                }
            }
        } else if cx.fleet.are_taken(self.needs) {
            // Nobody is missing: it goes on once the others leave it the memory.
            self.revival.not_needed();
        } else {
            self.profiler.needs(Need::Nodes, cx.now);
            self.give_up_without_memory(cx);
            if !self.is_over() {
                self.revive(cx);
            }
            return;
        }
        let is_some_left = self.step_tasks().is_some_and(StepTasks::has_pending);
        self.profiler.needs(if is_some_left { Need::Tasks } else { Need::Results }, cx.now);
    }

    fn revive(&mut self, cx: &mut Context<'_>) {
        // Right after the coordinator's start nobody has been away.
        if let Some(until) = cx.fleet.all_answer_until() {
            return self.wake_at(until);
        }
        let arithmetic = self.needs.arithmetic;
        let ineligible = cx.fleet.active().next().is_some();
        // One that is away may have it, or one that has never been here.
        let too_small = cx.fleet.active_lack_memory(self.needs);
        if ineligible && !self.none_eligible_told {
            self.none_eligible_told = true;
            let doubted = cx.fleet.doubted(arithmetic);
            self.report(
                match too_small.clone() {
                    Some(too_small) => Notice::NoneHasMemory(too_small),
                    None => Notice::NoneEligible { arithmetic, doubted },
                },
                cx,
            );
        }
        match self.revival.nobody(cx.now, &cx.settings.revival_waits) {
            Step::Wait { until } => self.wake_at(until),
            Step::Dial { until } => {
                cx.actions.push(Action::DialNow { nodes: cx.fleet.inactive() });
                self.wake_at(until);
            }
            Step::Begin { number, wait, until } => {
                if number == 1 && !ineligible {
                    let never = cx.fleet.listed_if_none_has_ever_answered();
                    self.report(never.map_or(Notice::NoNodes, |listed| Notice::NoNodesYet { listed }), cx);
                }
                let of = cx.settings.revival_waits.len() as u32;
                self.report(Notice::Revival { number, of, wait }, cx);
                cx.actions.push(Action::DialNow { nodes: cx.fleet.inactive() });
                self.wake_at(until);
            }
            Step::GiveUp if too_small.is_some() => {
                if let Some(too_small) = too_small {
                    self.give_up_waiting(FailReason::NoNodeHasMemory(too_small), cx);
                }
            }
            Step::GiveUp if ineligible => self.give_up_waiting(FailReason::NoEligibleNode { arithmetic }, cx),
            Step::GiveUp => self.give_up_waiting(FailReason::NoNodes { revivals: self.revival.in_vain() }, cx),
        }
    }

    /// Nobody waits for a node that can do nothing once it is there.
    pub(super) fn give_up_without_memory(&mut self, cx: &mut Context<'_>) {
        if let Some(closest) = cx.fleet.lacks_memory(self.needs) {
            self.give_up_waiting(FailReason::NoNodeHasMemory(closest), cx);
        }
    }

    /// No node came back.
    fn give_up_waiting(&mut self, reason: FailReason, cx: &mut Context<'_>) {
        if !self.has_written_steps(cx) {
            return;
        }
        match self.specification.operation.on_no_nodes {
            OnNoNodes::Fail => self.end(Outcome::Failed(reason)),
            OnNoNodes::Pause => drop(self.ending.get_or_insert(Ending::Paused(reason))),
        }
    }
}

//! How a job that has done its steps ends: its weights are tried once more, and its summary is made. Owns the summary; does not know
//! whether another step is due (`records`).

use super::{Run, Stage};
use crate::engine::context::Context;
use crate::engine::events::Action;
use crate::job::{self, ObjectRef, Outcome, Progress, Summary, Tested};

impl Run {
    /// No step is to be done after these: what was begun behind them counts for nothing. What came of them is tried on the
    /// validation and test rows in all figures, and then the job is done.
    pub(super) fn conclude(&mut self, progress: Box<Progress>, cx: &mut Context<'_>) {
        self.cancel_attempts(cx);
        self.profiler.step_dropped();
        self.records.clear();
        self.to_validate = None;
        let weights = progress.weights();
        self.stage = Stage::Testing { progress };
        cx.actions.push(Action::Test { job: self.job, weights });
    }

    /// The weights that came of the job have been tried on the validation rows, and on the test rows, if there are some.
    pub(in crate::engine) fn tested(
        &mut self,
        validation: Tested,
        test: Option<Tested>,
        confusion: Option<ObjectRef>,
        cx: &Context<'_>,
    ) {
        let Stage::Testing { progress } = &self.stage else { return };
        let progress = progress.clone();
        if let Some(summary) = self.summary(&progress, cx) {
            let Tested { rows, metrics } = validation;
            self.end(Outcome::Done(Box::new(Summary { rows, metrics, test, confusion, ..summary })));
        }
    }

    /// What came of the job; nothing if no round was done.
    fn summary(&mut self, progress: &Progress, cx: &Context<'_>) -> Option<Summary> {
        let (now, last, weights) = (cx.now, progress.last?, progress.weights());
        let round = progress.best.map_or(last, |best| best.round);
        let mut nodes = progress.nodes.clone();
        let places = cx.fleet.places_by_name();
        nodes.sort_by_key(|share| places.get(share.node.as_str()).copied().unwrap_or(usize::MAX));
        Some(Summary {
            fingerprint: job::fingerprint(&self.semantic, &weights),
            weights,
            rounds: last.round,
            round: round.round,
            rows: round.rows,
            metrics: round.metrics,
            test: None,
            confusion: None,
            loss: round.loss,
            merged: progress.merged,
            skipped: progress.skipped,
            reproducible: progress.reproducible,
            nodes,
            elapsed_us: self.tally.before_us + now.since_us(self.tally.started),
            revivals: self.revival.total(),
            profile: self.profiler.done(now),
            training_us: progress.training_us,
            validating_us: self.tally.validating_us,
        })
    }
}

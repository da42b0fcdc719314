//! What is seen of a job while it runs: its rounds and what the coordinator says. Owns that this takes the same room however many
//! rounds there are: of more than a page draws, each point is the mean of several. Does not know how they are drawn.

use std::ops::RangeInclusive;

use crate::client::score::Measure;
use crate::client::work::Work;
use crate::job::RoundSummary;
use crate::model::Metric;
use crate::wire::message::{Notice, NoticeKind};

/// Points of a curve, at most.
pub(super) const POINTS_MAX: usize = 200;
/// Sentences of the coordinator that are kept, at most: the first ones.
const NOTICES_MAX: usize = 200;

/// The rounds of a job, and what happened meanwhile.
#[derive(Clone, Debug)]
pub(in crate::client) struct History {
    measure: Measure,
    /// Rounds that measure a training loss: the first ones.
    training_rounds: u32,
    /// Rounds of a point.
    stride: u32,
    /// By their rounds; none is without a round.
    points: Vec<Point>,
    /// The best so far, the first of equals, and the last.
    best: Option<RoundSummary>,
    last: Option<RoundSummary>,
    notices: Vec<Happening>,
    notices_left_out: u64,
}

/// Some rounds in a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Point {
    /// Which of them, counted from 0 in steps of as many as a point has.
    index: u32,
    first: u32,
    last: u32,
    rounds: u32,
    /// Sums over the rounds, and how many of them told a number.
    loss: Mean,
    validation_loss: Mean,
    metric: Mean,
    seconds: Mean,
    /// The most of a round.
    pub(super) nodes: u32,
    pub(super) longest_seconds: f64,
    pub(super) merged: u64,
    pub(super) skipped: u64,
}

/// The mean of what there is.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

/// Something that the coordinator has said.
#[derive(Clone, Debug)]
pub(super) struct Happening {
    /// The last round that was done then; 0 before the first.
    pub(super) after_round: u32,
    pub(super) kind: NoticeKind,
    pub(super) text: String,
}

impl Mean {
    fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.sum += value;
            self.count += 1;
        }
    }

    fn join(&mut self, other: Mean) {
        self.sum += other.sum;
        self.count += other.count;
    }

    fn get(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

impl Point {
    pub(super) fn rounds(&self) -> RangeInclusive<u32> {
        self.first..=self.last
    }

    /// Its rounds.
    pub(super) fn in_words(&self) -> String {
        match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{} to {}", self.first, self.last),
        }
    }

    /// Where it stands on an axis of rounds.
    pub(super) fn middle(&self) -> f64 {
        (f64::from(self.first) + f64::from(self.last)) / 2.0
    }

    pub(super) fn loss(&self) -> Option<f64> {
        self.loss.get()
    }

    pub(super) fn validation_loss(&self) -> Option<f64> {
        self.validation_loss.get()
    }

    pub(super) fn metric(&self) -> Option<f64> {
        self.metric.get()
    }

    pub(super) fn seconds(&self) -> Option<f64> {
        self.seconds.get()
    }

    /// Takes in the rounds of another, which are later.
    fn join(&mut self, other: Point) {
        self.last = other.last;
        self.rounds += other.rounds;
        self.loss.join(other.loss);
        self.validation_loss.join(other.validation_loss);
        self.metric.join(other.metric);
        self.seconds.join(other.seconds);
        self.nodes = self.nodes.max(other.nodes);
        self.longest_seconds = self.longest_seconds.max(other.longest_seconds);
        self.merged += other.merged;
        self.skipped += other.skipped;
    }
}

/// The validation loss of a round, by row.
pub(super) fn validation_loss(round: &RoundSummary) -> Option<f64> {
    let loss = round.metrics.get(Metric::Loss)? / round.rows.max(1) as f64;
    loss.is_finite().then_some(loss)
}

impl History {
    /// Of a job.
    pub(in crate::client) fn of(work: &Work) -> History {
        let training_rounds = work.specification.first_round_without_rate().unwrap_or(work.specification.rounds);
        History::new(work.measure(), training_rounds)
    }

    fn new(measure: Measure, training_rounds: u32) -> History {
        History {
            measure,
            training_rounds,
            stride: 1,
            points: Vec::new(),
            best: None,
            last: None,
            notices: Vec::new(),
            notices_left_out: 0,
        }
    }

    /// The next round.
    pub(in crate::client) fn round(&mut self, round: &RoundSummary) {
        let metric = self.measure.score(&round.metrics, round.rows).curve().map(|(_, value)| value);
        let has_loss = round.round <= self.training_rounds;
        if self.last.is_some_and(|last| round.round <= last.round) {
            return;
        }
        let is_best = self.best.is_none_or(|best| round.metrics.is_better_than(&best.metrics));
        self.best = if is_best { Some(*round) } else { self.best };
        self.last = Some(*round);
        let seconds = round.round_us as f64 / 1e6;
        let mut point = Point {
            index: (round.round.saturating_sub(1)) / self.stride,
            first: round.round,
            last: round.round,
            rounds: 1,
            nodes: round.nodes,
            longest_seconds: seconds,
            merged: round.merged.into(),
            skipped: round.skipped.into(),
            ..Point::default()
        };
        if has_loss {
            point.loss.add(round.loss);
        }
        point.seconds.add(seconds);
        validation_loss(round).into_iter().for_each(|loss| point.validation_loss.add(loss));
        metric.into_iter().for_each(|metric| point.metric.add(metric));
        match self.points.last_mut() {
            Some(last) if last.index == point.index => last.join(point),
            _ => self.points.push(point),
        }
        while self.points.len() > POINTS_MAX {
            self.coarsen();
        }
    }

    /// Twice as many rounds a point.
    fn coarsen(&mut self) {
        let Some(stride) = self.stride.checked_mul(2) else { return self.points.truncate(POINTS_MAX) };
        self.stride = stride;
        let mut coarse: Vec<Point> = Vec::new();
        for mut point in self.points.drain(..) {
            point.index /= 2;
            match coarse.last_mut() {
                Some(last) if last.index == point.index => last.join(point),
                _ => coarse.push(point),
            }
        }
        self.points = coarse;
    }

    pub(in crate::client) fn notice(&mut self, notice: &Notice) {
        if self.notices.len() >= NOTICES_MAX {
            self.notices_left_out += 1;
            return;
        }
        let after_round = self.last.map_or(0, |last| last.round);
        self.notices.push(Happening { after_round, kind: notice.kind, text: notice.text.clone() });
    }

    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }

    /// Rounds of a point; the last may have fewer.
    pub(super) fn stride(&self) -> u32 {
        self.stride
    }

    /// What came of this round, if it was the best or the last.
    pub(super) fn of_round(&self, round: u32) -> Option<&RoundSummary> {
        [&self.best, &self.last].into_iter().flatten().find(|summary| summary.round == round)
    }

    /// What was said, and how much of it was not kept.
    pub(super) fn notices(&self) -> (&[Happening], u64) {
        (&self.notices, self.notices_left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metrics;

    fn round(round: u32) -> RoundSummary {
        let errors = if round == 37 { 1.0 } else { 4.0 };
        RoundSummary {
            round,
            rounds: 100_000,
            loss: f64::from(round),
            rows: 10,
            metrics: Metrics::default().with(Metric::Loss, f64::from(round) * 20.0).with(Metric::Errors, errors),
            nodes: 1 + u32::from(round == 9),
            merged: 2,
            skipped: u32::from(round == 5),
            round_us: 1_000,
        }
    }

    fn history() -> History {
        History::new(Measure::default(), 199)
    }

    #[test]
    fn few_rounds_are_kept_as_they_are_and_of_many_each_point_is_the_mean_of_as_many() {
        let mut history = history();
        (1..=200).for_each(|number| history.round(&round(number)));
        assert_eq!((history.stride(), history.points().len()), (1, 200));
        assert_eq!((history.points()[3].loss(), history.points()[199].loss()), (Some(4.0), None));
        assert_eq!((history.points()[3].validation_loss(), history.points()[3].metric()), (Some(8.0), Some(60.0)));
        history.round(&round(201));
        assert_eq!((history.stride(), history.points().len()), (2, 101));
        assert_eq!((history.points()[0].rounds(), history.points()[0].loss()), (1..=2, Some(1.5)));
        (202..=100_000).for_each(|number| history.round(&round(number)));
        assert!((100..=200).contains(&history.points().len()) && history.stride() == 512, "{}", history.stride());
        let merged: u64 = history.points().iter().map(|point| point.merged).sum();
        let skipped: u64 = history.points().iter().map(|point| point.skipped).sum();
        assert_eq!((merged, skipped, history.points()[0].nodes), (200_000, 1, 2));
        assert!(
            history.of_round(37).is_some() && history.of_round(100_000).is_some() && history.of_round(38).is_none()
        );
    }

    #[test]
    fn a_round_that_comes_again_counts_once_and_what_is_no_number_is_in_no_mean() {
        let mut history = history();
        history.round(&RoundSummary { loss: f64::INFINITY, metrics: Metrics::default(), ..round(1) });
        history.round(&round(1));
        let point = &history.points()[0];
        assert_eq!((history.points().len(), point.metric(), point.loss()), (1, None, None));
    }

    #[test]
    fn a_coordinator_that_talks_without_end_fills_no_memory() {
        let mut history = history();
        history.round(&round(1));
        for _ in 0..1_000 {
            history.notice(&Notice { kind: NoticeKind::Other, text: "so it goes".to_owned() });
        }
        let (kept, left_out) = history.notices();
        assert_eq!((kept.len(), left_out, kept[0].after_round), (NOTICES_MAX, 800, 1));
    }
}

//! What a person at a terminal sees below the rounds while a job goes on: a curve of how good each round was, the best one marked,
//! a bar with the time that is left, how far the round under way is, and how the nodes stand. Owns these lines and how they are put
//! over the old ones; does not know what else is printed, but that it is told before anything is.

use std::cell::Cell;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use log::LevelFilter;

use super::score::Headline;
use crate::cli::{self, Paint};
use crate::wire::text::{counted, shown};

/// Columns of the curve and of the bar, at most.
const CURVE_COLUMNS_MAX: usize = 60;
const BAR_COLUMNS_MAX: usize = 24;
const BAR_COLUMNS_MIN: usize = 6;
/// Lines of what is told of nodes, at most, and where all but the first begin.
const FLEET_LINES_MAX: usize = 3;
const FLEET_INDENT: usize = 6;
/// Columns of a terminal below which nothing is shown.
const COLUMNS_MIN: usize = 40;
/// Rounds that are remembered: of longer jobs every second is then let go, again and again.
const POINTS_MAX: usize = 4_096;
/// Levels of the curve, from the worst to the best, where the terminal shows them, and where it may not.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const LETTERS: [char; 8] = ['_', '.', ',', '-', '~', '=', '*', '#'];

/// The lines, if there are any.
pub(super) struct Live {
    is_shown: bool,
    has_blocks: bool,
    rounds: u32,
    patience: Option<u32>,
    last: u32,
    /// When it ended, or was told to have.
    last_at: Instant,
    /// Rounds that were told here, and how long they took.
    seen: u32,
    seen_for: Duration,
    points: Vec<Point>,
    /// Rounds for each point.
    stride: u32,
    best: Option<Point>,
    /// How far the round is and how the nodes stand, as the coordinator told last.
    fleet: String,
    /// Lines that stand on the terminal now.
    lines: Cell<usize>,
}

#[derive(Clone, Debug, PartialEq)]
struct Point {
    round: u32,
    headline: Headline,
}

impl Live {
    /// Lines for a job of so many rounds, if standard output is a terminal that can take lines back, and `is_wanted`.
    pub(super) fn new(is_wanted: bool, rounds: u32, patience: Option<u32>) -> Live {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_dumb = variable("TERM").is_none_or(|terminal| terminal == "dumb");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable).unwrap_or_default().to_lowercase();
        Live {
            // What is logged between would stand in the middle of the lines, and they in the middle of it.
            is_shown: is_wanted && io::stdout().is_terminal() && !is_dumb && log::max_level() <= LevelFilter::Error,
            has_blocks: locale.contains("utf-8") || locale.contains("utf8"),
            rounds,
            patience,
            last: 0,
            last_at: Instant::now(),
            seen: 0,
            seen_for: Duration::ZERO,
            points: Vec::new(),
            stride: 1,
            best: None,
            fleet: String::new(),
            lines: Cell::new(0),
        }
    }

    /// A round has ended after so long, and its line is printed: shows the lines anew. `is_best` says that none before was as good.
    pub(super) fn round(&mut self, round: u32, took: Duration, headline: Option<Headline>, is_best: bool) {
        (self.last, self.last_at) = (round, Instant::now());
        (self.seen, self.seen_for) = (self.seen + 1, self.seen_for.saturating_add(took));
        if let Some(mut headline) = headline {
            // What is not a number is as bad as it gets.
            headline.goodness = if headline.goodness.is_nan() { f64::NEG_INFINITY } else { headline.goodness };
            let point = Point { round, headline };
            if is_best || self.best.is_none() {
                self.best = Some(point.clone());
            }
            if round.is_multiple_of(self.stride) {
                self.points.push(point);
            }
            if self.points.len() > POINTS_MAX {
                self.stride *= 2;
                let stride = self.stride;
                self.points.retain(|point| point.round.is_multiple_of(stride));
            }
        }
        self.draw();
    }

    /// The coordinator has told how far the round is and how the nodes stand.
    pub(super) fn fleet(&mut self, text: &str) {
        self.fleet = shown(text).to_string();
        self.draw();
    }

    /// Shows the lines, in the place of those that stand there.
    pub(super) fn draw(&self) {
        // Before the first round ends there is something to show where that takes a while.
        if !self.is_shown || self.last == 0 && self.fleet.is_empty() {
            return;
        }
        let columns = cli::columns();
        if columns < COLUMNS_MIN {
            return self.erase();
        }
        let mut lines = self.text(columns, self.last_at.elapsed());
        if let ([curve, mark, ..], true) = (&mut lines[..], self.has_curve()) {
            (*curve, *mark) = (Paint::Plot.over(curve), Paint::Good.over(mark));
        }
        self.put(&format!("{}{}\n", self.take_back(), lines.join("\n")));
        self.lines.set(lines.len());
    }

    /// Takes the lines away, so that something else can be printed.
    pub(super) fn erase(&self) {
        if self.lines.get() > 0 {
            self.put(&self.take_back());
            self.lines.set(0);
        }
    }

    /// What takes the lines away: up by so many, and clear to the end of the screen (ECMA-48: CUU, ED).
    fn take_back(&self) -> String {
        match self.lines.get() {
            0 => String::new(),
            lines => format!("\r\x1b[{lines}A\x1b[J"),
        }
    }

    /// A terminal that has gone is noticed by who prints the rounds.
    fn put(&self, text: &str) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// The lines, each narrower than the terminal, so that none is wrapped.
    fn text(&self, columns: usize, since_last: Duration) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(best) = self.best.as_ref().filter(|_| self.has_curve()) {
            let name = best.headline.name;
            let room = (columns - 1).saturating_sub(name.len() + 1).min(CURVE_COLUMNS_MAX);
            let (curve, marked) = self.curve(room, best);
            lines.push(format!("{name} {curve}"));
            lines.push(mark(name.len() + 1 + marked, columns, best));
        }
        lines.push(self.bar(columns, since_last));
        if !self.fleet.is_empty() {
            let mut fleet = String::new();
            cli::wrap(&mut fleet, 0, FLEET_INDENT, columns - 1, &self.fleet);
            // A name may be longer than the terminal is wide.
            let cut = |line: &str| line.chars().take(columns - 1).collect::<String>();
            lines.extend(fleet.lines().take(FLEET_LINES_MAX).map(cut));
        }
        lines
    }

    /// Whether the first two lines are a curve and the mark of its best round: one round is none.
    fn has_curve(&self) -> bool {
        self.best.is_some() && self.points.len() > 1
    }

    /// The rounds so far in at most so many columns, and the column of the best one. Where rounds share a column, the best of them
    /// stands there.
    fn curve(&self, room: usize, best: &Point) -> (String, usize) {
        let columns = self.points.len().min(room).max(1);
        let column_of = |index: usize| index * columns / self.points.len();
        let mut levels = vec![f64::NEG_INFINITY; columns];
        for (index, point) in self.points.iter().enumerate() {
            let level = &mut levels[column_of(index)];
            *level = level.max(point.headline.goodness);
        }
        let index = self.points.partition_point(|point| point.round < best.round).min(self.points.len() - 1);
        let marked = column_of(index);
        levels[marked] = best.headline.goodness;
        let finite = || levels.iter().copied().filter(|level| level.is_finite());
        let (least, most) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        let characters = if self.has_blocks { BLOCKS } else { LETTERS };
        let character = |level: &f64| {
            let share = match level.is_finite() {
                true if most > least => (level - least) / (most - least),
                true => 1.0,
                false => 0.0,
            };
            characters[(share * 7.0).round().clamp(0.0, 7.0) as usize]
        };
        (levels.iter().map(character).collect(), marked)
    }

    /// How far the job is, and for how long it will go on if rounds take as long as those that were told.
    fn bar(&self, columns: usize, since_last: Duration) -> String {
        let done = f64::from(self.last) / f64::from(self.rounds.max(1));
        let mut text = format!("{} of {}", self.last, counted(self.rounds.into(), "round"));
        if self.seen > 0 && self.last < self.rounds {
            let round_s = self.seen_for.as_secs_f64() / f64::from(self.seen);
            let left_s = round_s * f64::from(self.rounds - self.last) - since_last.as_secs_f64().min(round_s);
            // Training may stop by itself.
            let limit = if self.patience.is_some() { "at most " } else { "" };
            text += &format!(", {limit}{} left", duration(left_s));
        }
        let room = (columns - 1).saturating_sub(text.len() + 3).min(BAR_COLUMNS_MAX);
        if room < BAR_COLUMNS_MIN {
            return text.chars().take(columns - 1).collect();
        }
        // Whoever shows this may be told more rounds than there are.
        let full = ((done * room as f64) as usize).min(room);
        let (full_character, empty) = if self.has_blocks { ("█", "░") } else { ("#", "-") };
        format!("[{}{}] {text}", full_character.repeat(full), empty.repeat(room - full))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.erase();
    }
}

/// A mark at a column, and what is marked, on the side where there is room for it.
fn mark(column: usize, columns: usize, best: &Point) -> String {
    let name = format!("best {}", best.headline.text);
    for words in [format!("{name} in round {}", best.round), name] {
        let width = words.chars().count();
        if column + 2 + width < columns {
            return format!("{:column$}^ {words}", "");
        }
        if let Some(before) = column.checked_sub(width + 1) {
            return format!("{:before$}{words} ^", "");
        }
    }
    format!("{:column$}^", "")
}

/// `8 s`, `12 min`, `3 h 20 min`.
fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    match seconds {
        ..1.0 => "1 s".to_owned(),
        ..90.0 => format!("{seconds:.0} s"),
        _ if minutes < 90 => format!("{minutes} min"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(has_blocks: bool, rounds: u32) -> Live {
        let mut live = Live::new(false, rounds, None);
        live.has_blocks = has_blocks;
        live
    }

    fn accuracy(percent: f64) -> Option<Headline> {
        Some(Headline { name: "accuracy", goodness: percent, text: format!("{percent} %") })
    }

    #[test]
    fn the_curve_marks_the_best_round_and_the_bar_says_what_is_left() {
        let mut live = live(true, 20);
        for (round, percent) in (1..).zip([10.0, 50.0, 90.0, 80.0, 90.0]) {
            live.round(round, Duration::from_secs(2), accuracy(percent), round <= 3);
        }
        assert_eq!(
            live.text(80, Duration::ZERO),
            [
                "accuracy ▁▅█▇█",
                "           ^ best 90 % in round 3",
                "[██████░░░░░░░░░░░░░░░░░░] 5 of 20 rounds, 30 s left"
            ]
        );
        assert!(self::live(true, 1).bar(80, Duration::ZERO).ends_with(" 0 of 1 round"));
        live.has_blocks = false;
        live.patience = Some(3);
        assert_eq!(live.text(80, Duration::ZERO)[0], "accuracy _~#*#");
        let ends = |since_last, with| live.text(80, since_last)[2].ends_with(with);
        assert!(ends(Duration::ZERO, "at most 30 s left"));
        assert!(ends(Duration::from_secs(1), "at most 29 s left") && ends(Duration::from_secs(9), "at most 28 s left"));
    }

    #[test]
    fn no_line_is_as_wide_as_the_terminal_however_long_the_job_and_its_best_round_is_never_lost() {
        let mut live = live(true, 100_000);
        for round in 1..=30_000 {
            live.round(
                round,
                Duration::from_secs(9),
                accuracy(if round == 12_345 { 99.0 } else { f64::from(round % 97) }),
                round == 12_345,
            );
            assert!(live.points.len() <= POINTS_MAX);
        }
        for columns in [40, 60, 80, 200] {
            let text = live.text(columns, Duration::ZERO);
            assert!(text.iter().all(|line| line.chars().count() < columns), "{columns}: {text:?}");
            assert!(text[1].contains(if columns < 60 { "best 99 %" } else { "best 99 % in round 12345" }), "{text:?}");
            let marked = text[1].find('^').unwrap();
            assert_eq!(text[0].chars().nth(marked), Some('█'), "{text:?}");
        }
    }

    #[test]
    fn nodes_stand_below_the_bar_in_a_few_lines_that_fit() {
        let mut live = live(true, 4);
        live.round(1, Duration::from_secs(1), accuracy(10.0), true);
        live.fleet(&format!("nodes 40 of 41 active: {}", "10.0.0.1:5106 368k rows/s 1620 tasks, ".repeat(40)));
        for columns in [40, 80, 200] {
            let text = live.text(columns, Duration::ZERO);
            assert_eq!(text.len(), 1 + FLEET_LINES_MAX, "{text:?}");
            assert!(
                text[1].starts_with("nodes 40 of 41 active: 10.0.0.1") && text[2].starts_with("      "),
                "{text:?}"
            );
            assert!(text.iter().all(|line| line.chars().count() < columns), "{columns}: {text:?}");
        }
    }

    #[test]
    fn two_lines_are_a_curve_and_its_mark_from_the_second_round_on() {
        let mut live = live(true, 4);
        live.fleet(&format!("nodes 40 of 41 active: {}", "10.0.0.1:5106 368k rows/s 1620 tasks, ".repeat(40)));
        live.round(1, Duration::from_secs(1), accuracy(10.0), true);
        assert!(live.text(80, Duration::ZERO).len() > 2 && !live.has_curve());
        live.round(2, Duration::from_secs(1), accuracy(20.0), true);
        assert!(live.has_curve() && live.text(80, Duration::ZERO)[1].contains('^'));
    }

    #[test]
    fn more_rounds_than_there_are_fill_the_bar() {
        let mut live = live(false, 4);
        live.round(9, Duration::from_secs(1), None, true);
        let bar = live.text(80, Duration::ZERO).pop().unwrap();
        assert!(bar.starts_with(&format!("[{}] 9 of 4", "#".repeat(BAR_COLUMNS_MAX))), "{bar}");
    }

    #[test]
    fn numbers_that_are_none_are_as_bad_as_it_gets_and_rounds_without_any_leave_the_bar() {
        let mut live = live(true, 4);
        live.round(1, Duration::ZERO, None, true);
        assert_eq!(live.text(80, Duration::ZERO).len(), 1);
        for (round, value) in (2..).zip([f64::NAN, f64::NEG_INFINITY, 3.0]) {
            live.round(round, Duration::ZERO, accuracy(value), round == 4);
        }
        assert!(live.text(80, Duration::ZERO)[0].starts_with("accuracy ▁▁"), "{:?}", live.text(80, Duration::ZERO));
    }

    #[test]
    fn durations_are_in_the_unit_that_people_use() {
        let said = [0.2, 12.4, 89.0, 150.0, 12_000.0].map(duration);
        assert_eq!(said, ["1 s", "12 s", "89 s", "3 min", "3 h 20 min"]);
    }
}

//! Curves and bars in SVG. Owns axes, ticks and marks; does not know what is drawn.

use std::fmt::Write as _;

use crate::page::Html;

/// The picture, in its own units; a page shows it as wide as there is room.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 230.0;
/// Where the curves are.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 390.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 192.0;
/// Ticks of an axis, about.
const TICKS: f64 = 5.0;

/// Something drawn over rounds.
pub(super) struct Chart<'a> {
    /// Its name among the page's.
    pub(super) id: &'static str,
    pub(super) title: &'a str,
    /// What is to be seen, for who cannot.
    pub(super) description: &'a str,
    /// Of the horizontal axis.
    pub(super) from: u32,
    pub(super) to: u32,
    /// The vertical axis ends there at the latest.
    pub(super) most: Option<f64>,
    pub(super) drawn: Drawn<'a>,
    /// A round, and what is said of it.
    pub(super) mark: Option<(u32, String)>,
}

/// What is drawn.
pub(super) enum Drawn<'a> {
    /// Two at most.
    Curves(&'a [Curve]),
    /// From 0; each as wide as its rounds.
    Bars {
        name: &'static str,
        /// First round, last round, height.
        bars: Vec<(u32, u32, f64)>,
    },
}

/// A curve.
pub(super) struct Curve {
    pub(super) name: &'static str,
    /// Round and value; a gap where the value is none.
    pub(super) points: Vec<(f64, Option<f64>)>,
    /// Its value at the mark.
    pub(super) marked: Option<f64>,
}

/// How curves look: with their own colour and their own dashes.
const LOOKS: [(&str, &str); 2] = [("a", "dot a"), ("b", "dot b")];

/// Even steps, each 1, 2 or 5 times a power of ten.
struct Scale {
    low: f64,
    high: f64,
    step: f64,
}

impl Scale {
    /// From at most `low` to at least `high`, in steps that are not below `least`.
    fn over(low: f64, high: f64, least: f64) -> Scale {
        let span = if high > low { high - low } else { high.abs().max(1.0) };
        let rough = (span / TICKS).max(f64::MIN_POSITIVE);
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power).max(least);
        Scale { low: (low / step).floor() * step, high: ((high.max(low + span * 0.001)) / step).ceil() * step, step }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = ((self.high - self.low) / self.step).round().clamp(0.0, 20.0) as u32;
        let (low, step) = (self.low, self.step);
        (0..=count).map(move |tick| low + f64::from(tick) * step)
    }

    /// As many digits as tell the ticks apart.
    fn in_words(&self, value: f64) -> String {
        let value = if value.abs() < self.step * 1e-6 { 0.0 } else { value };
        match self.step {
            step if !(1e-5..1e7).contains(&step) => format!("{value:.1e}"),
            step => format!("{value:.*}", (-step.log10().floor()).max(0.0) as usize),
        }
    }
}

impl Chart<'_> {
    /// Puts it on the page; nothing where there is nothing to draw.
    pub(super) fn draw(&self, html: &mut Html) {
        let values: Vec<f64> = match &self.drawn {
            Drawn::Curves(curves) => {
                let all =
                    curves.iter().flat_map(|curve| curve.points.iter().filter_map(|point| point.1).chain(curve.marked));
                all.collect()
            }
            Drawn::Bars { bars, .. } => bars.iter().map(|bar| bar.2).chain([0.0]).collect(),
        };
        let (low, high) = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)));
        if !(low.is_finite() && (high - low).is_finite()) {
            return;
        }
        // Whatever is never far from 0 begins there.
        let low = if low > 0.0 && low < high / 2.0 { 0.0 } else { low };
        let mut y = Scale::over(low, high, f64::MIN_POSITIVE);
        if let Some(most) = self.most.filter(|most| y.high > *most && high <= *most) {
            y.high = most;
        }
        // Where all values are the greatest that there can be, a step below them is shown.
        if y.high <= y.low {
            y.low = y.high - y.step;
        }
        let (title, description) = (format!("{}-title", self.id), format!("{}-description", self.id));
        let view = format!("0 0 {WIDTH} {HEIGHT}");
        let named = format!("{title} {description}");
        html.element("figure", &[], |html| {
            html.line("figcaption", &[], self.title);
            html.element("svg", &[("viewBox", &view), ("role", &"img"), ("aria-labelledby", &named)], |html| {
                html.line("title", &[("id", &title)], self.title);
                html.line("desc", &[("id", &description)], self.description);
                self.axes(html, &y);
                match &self.drawn {
                    Drawn::Curves(curves) => self.curves(html, &y, curves),
                    Drawn::Bars { bars, .. } => {
                        for (first, last, height) in bars {
                            let (left, right) = (self.x(f64::from(*first) - 0.5), self.x(f64::from(*last) + 0.5));
                            let top = place(&y, *height);
                            let gap = if right - left > 4.0 { 1.0 } else { 0.0 };
                            rectangle(html, "bar", left, top, (right - left - gap).max(0.4), BOTTOM - top);
                        }
                    }
                }
            });
        });
        html.markup("\n");
    }

    /// Where a round stands.
    fn x(&self, round: f64) -> f64 {
        let (from, to) = self.ends();
        LEFT + (round - from) / (to - from) * (RIGHT - LEFT)
    }

    fn ends(&self) -> (f64, f64) {
        let room = if matches!(self.drawn, Drawn::Bars { .. }) || self.to <= self.from { 0.5 } else { 0.0 };
        (f64::from(self.from) - room, f64::from(self.to) + room)
    }

    fn axes(&self, html: &mut Html, y: &Scale) {
        for tick in y.ticks().filter(|tick| *tick <= y.high * (1.0 + 1e-9) || *tick <= y.high) {
            let at = place(y, tick);
            segment(html, "grid", (LEFT, at), (RIGHT, at));
            label(html, "", "end", LEFT - 6.0, at + 4.0, &y.in_words(tick));
        }
        let x = Scale::over(f64::from(self.from), f64::from(self.to), 1.0);
        let inside = |tick: &f64| *tick >= f64::from(self.from) && *tick <= f64::from(self.to);
        for tick in x.ticks().filter(inside) {
            let at = self.x(tick);
            segment(html, "axis", (at, BOTTOM), (at, BOTTOM + 4.0));
            label(html, "", "middle", at, BOTTOM + 16.0, &x.in_words(tick));
        }
        segment(html, "axis", (LEFT, BOTTOM), (RIGHT, BOTTOM));
        label(html, "", "middle", (LEFT + RIGHT) / 2.0, BOTTOM + 32.0, "round");
        let names: Vec<&'static str> = match &self.drawn {
            Drawn::Curves(curves) => curves.iter().map(|curve| curve.name).collect(),
            Drawn::Bars { name, .. } => vec![name],
        };
        let mut at = LEFT;
        for (name, (look, _)) in names.into_iter().zip(LOOKS) {
            if matches!(self.drawn, Drawn::Curves(_)) {
                segment(html, look, (at, 10.0), (at + 22.0, 10.0));
                at += 28.0;
            }
            label(html, "strong", "start", at, 14.0, name);
            at += 7.0 * name.len() as f64 + 22.0;
        }
    }

    fn curves(&self, html: &mut Html, y: &Scale, curves: &[Curve]) {
        if let Some((round, text)) = &self.mark {
            let at = self.x(f64::from(*round));
            segment(html, "mark", (at, TOP), (at, BOTTOM));
            let (anchor, at) = if at > (LEFT + RIGHT) / 2.0 { ("end", at - 5.0) } else { ("start", at + 5.0) };
            label(html, "strong", anchor, at, TOP + 10.0, text);
        }
        for (curve, (look, dot)) in curves.iter().zip(LOOKS) {
            let mut path = String::new();
            let mut goes_on = false;
            for (round, value) in &curve.points {
                if let Some(value) = value {
                    // Writing to a String cannot fail.
                    let _ = write!(
                        path,
                        "{}{:.1} {:.1}",
                        if goes_on { "L" } else { "M" },
                        self.x(*round),
                        place(y, *value)
                    );
                }
                goes_on = value.is_some();
            }
            html.shape("path", &[("class", &look), ("d", &path)]);
            let only = match &curve.points[..] {
                [(round, Some(value))] => Some((*round, *value)),
                _ => None,
            };
            let marked = self.mark.as_ref().zip(curve.marked).map(|((round, _), value)| (f64::from(*round), value));
            if let Some((round, value)) = marked.or(only) {
                let (x, y) = (format!("{:.1}", self.x(round)), format!("{:.1}", place(y, value)));
                html.shape("circle", &[("class", &dot), ("cx", &x), ("cy", &y), ("r", &"4")]);
            }
        }
    }
}

/// Where a value stands.
fn place(y: &Scale, value: f64) -> f64 {
    BOTTOM - (value - y.low) / (y.high - y.low) * (BOTTOM - TOP)
}

fn segment(html: &mut Html, class: &'static str, from: (f64, f64), to: (f64, f64)) {
    let path = format!("M{:.1} {:.1}L{:.1} {:.1}", from.0, from.1, to.0, to.1);
    html.shape("path", &[("class", &class), ("d", &path)]);
}

/// A rectangle, where its place and size are written with a tenth of the picture's unit.
pub(super) fn rectangle(html: &mut Html, class: &'static str, x: f64, y: f64, width: f64, height: f64) {
    let [x, y, width, height] = [x, y, width, height].map(|number| format!("{number:.1}"));
    html.shape("rect", &[("class", &class), ("x", &x), ("y", &y), ("width", &width), ("height", &height)]);
}

/// A text that begins, ends or has its middle there.
pub(super) fn label(html: &mut Html, class: &'static str, anchor: &'static str, x: f64, y: f64, text: &str) {
    let (x, y) = (format!("{x:.1}"), format!("{y:.1}"));
    html.line("text", &[("class", &class), ("text-anchor", &anchor), ("x", &x), ("y", &y)], text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_over_all_of_the_values() {
        let words = |low, high| {
            let scale = Scale::over(low, high, f64::MIN_POSITIVE);
            scale.ticks().map(|tick| scale.in_words(tick)).collect::<Vec<_>>()
        };
        assert_eq!(words(0.0, 1.147), ["0.0", "0.5", "1.0", "1.5"]);
        assert_eq!(words(82.25, 95.8), ["80", "85", "90", "95", "100"]);
        assert_eq!(words(-0.03, 0.04), ["-0.04", "-0.02", "0.00", "0.02", "0.04"]);
        assert_eq!(words(0.0, 0.0), ["0.0", "0.2"]);
        let equal = Scale::over(7.0, 7.0, f64::MIN_POSITIVE);
        assert!(equal.high > 7.0 && equal.low <= 7.0);
        for (low, high) in [(0.0, 1e300), (0.0, 1e-300), (-1e300, 1e300)] {
            let scale = Scale::over(low, high, f64::MIN_POSITIVE);
            assert!(scale.ticks().count() <= 21 && scale.step > 0.0, "{low} {high}");
        }
    }

    fn draw(points: Vec<(f64, Option<f64>)>, to: u32, most: Option<f64>) -> String {
        let curves = [Curve { name: "loss", points, marked: None }];
        let mut html = Html::new();
        let drawn = Drawn::Curves(&curves);
        Chart { id: "x", title: "", description: "", from: 1, to, most, drawn, mark: None }.draw(&mut html);
        html.into_string()
    }

    #[test]
    fn a_curve_that_is_always_at_the_top_is_drawn_there() {
        for level in [100.0, 0.0] {
            let points = vec![(1.0, Some(level)), (2.0, Some(level))];
            let drawn = draw(points, 2, Some(level));
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
            // Beside the line of the grid that is there.
            let top = format!("d=\"M{LEFT:.1} {TOP:.1}L{RIGHT:.1} {TOP:.1}\"");
            assert_eq!(drawn.matches(&top).count(), 2, "{drawn}");
        }
        assert!(draw(vec![(1.0, Some(100.0))], 1, Some(100.0)).contains(">80</text>"));
    }

    #[test]
    fn a_gap_in_a_curve_stays_one_and_a_lonely_point_is_seen() {
        let gap = draw(vec![(1.0, Some(1.0)), (2.0, None), (3.0, Some(2.0)), (4.0, Some(1.0))], 4, None);
        let path = gap.split("class=\"a\" d=\"").nth(2).unwrap().split('"').next().unwrap();
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 1), "{path}");
        assert!(draw(vec![(1.0, Some(1.0))], 1, None).contains("<circle"));
        assert_eq!(draw(vec![(1.0, None)], 1, None), "");
    }
}

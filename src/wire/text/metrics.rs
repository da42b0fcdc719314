//! The Prometheus text format, version 0.0.4: families of samples, each with a help line and a type.

use std::fmt::Write as _;

/// The `Content-Type` of it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the samples of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows for as long as the program runs; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Metrics being written.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    text: String,
    family: &'static str,
}

impl Metrics {
    /// Begins a family; its samples follow. `name` has its unit last.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        debug_assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.family = name;
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample of the family begun last.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(self.family);
        for (index, (name, text)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{name}=\"", if index == 0 { '{' } else { ',' });
            for c in text.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A family of one sample.
    pub fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// All that was written.
    pub fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_below_their_family_with_labels_escaped() {
        let mut metrics = Metrics::default();
        metrics.family("gradwire_nodes", Kind::Gauge, "Nodes by state.");
        metrics.sample(&[("state", "active")], 3.0);
        metrics.sample(&[("state", "a\"\\\n"), ("name", "b")], 0.25);
        metrics.single("gradwire_rounds_total", Kind::Counter, "Rounds.", 18_014_398_509_481_984.0);
        assert_eq!(
            metrics.into_text(),
            "# HELP gradwire_nodes Nodes by state.\n# TYPE gradwire_nodes gauge\n\
             gradwire_nodes{state=\"active\"} 3\ngradwire_nodes{state=\"a\\\"\\\\\\n\",name=\"b\"} 0.25\n\
             # HELP gradwire_rounds_total Rounds.\n# TYPE gradwire_rounds_total counter\n\
             gradwire_rounds_total 18014398509481984\n"
        );
    }
}

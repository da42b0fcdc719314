//! How predictions are written: as CSV or JSON. Owns these forms; does not know how predictions are made, or where they go.

use std::io::Write;

use serde_json::Value;

use crate::dataset::{Place, RawRows};
use crate::model::scaling::{Target, TargetScale};
use crate::wire::text::{misleads, shown};

/// Below this, a probability is written with an exponent.
const PLAIN_LEAST: f32 = 1e-5;

/// What a model tells of a row.
pub(super) enum Told<'a> {
    /// A class; and each class's probability, but for a common factor, where that is wanted.
    Class { class: u32, exponentials: &'a [f32] },
    /// An output for each target.
    Values(&'a [f32]),
    /// Nothing, for this reason.
    Nothing(&'a str),
}

/// How texts are written.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) is_json: bool,
    /// Whether a terminal shows them, whose cursor no text is to move.
    pub(super) is_for_terminal: bool,
}

impl Form {
    /// A field of a CSV file, or a string of JSON.
    fn put(self, text: &[u8], bytes: &mut Vec<u8>) {
        match self {
            Form { is_json: false, is_for_terminal: false } => field(text, bytes),
            Form { is_json: false, is_for_terminal: true } => {
                field(shown(&String::from_utf8_lossy(text)).to_string().as_bytes(), bytes)
            }
            Form { is_json: true, is_for_terminal } => {
                let json = Value::from(String::from_utf8_lossy(text)).to_string();
                if !is_for_terminal {
                    return bytes.extend_from_slice(json.as_bytes());
                }
                for c in json.chars() {
                    match misleads(c) {
                        // All of these have four digits.
                        true => put(bytes, format_args!("\\u{:04x}", u32::from(c))),
                        false => put(bytes, format_args!("{c}")),
                    }
                }
            }
        }
    }
}

/// The lines of predictions.
pub(super) struct Lines<'a> {
    target: &'a Target,
    form: Form,
    with_probabilities: bool,
    /// The names of the columns that are passed on.
    kept: Vec<String>,
    /// The classes' names as they are written.
    classes: Vec<Vec<u8>>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(target: &'a Target, form: Form, with_probabilities: bool, kept: Vec<String>) -> Lines<'a> {
        let names = match target {
            Target::Classes(names) => &names[..],
            Target::Values(_) => &[],
        };
        let written = |name: &String| {
            let mut bytes = Vec::new();
            form.put(name.as_bytes(), &mut bytes);
            bytes
        };
        Lines { target, form, with_probabilities, kept, classes: names.iter().map(written).collect() }
    }

    /// The line of names, which JSON has none of.
    pub(super) fn head(&self) -> Vec<u8> {
        if self.form.is_json {
            return Vec::new();
        }
        let mut names = self.kept.clone();
        match self.target {
            Target::Classes(classes) => {
                names.push("prediction".to_owned());
                if self.with_probabilities {
                    names.extend(classes.iter().map(|name| format!("probability_{name}")));
                }
            }
            Target::Values(scales) if scales.len() == 1 => names.push("prediction".to_owned()),
            Target::Values(scales) => names.extend(scales.iter().map(|scale| format!("prediction_{}", scale.name()))),
        }
        let mut bytes = Vec::new();
        for (index, name) in names.iter().enumerate() {
            if index > 0 {
                bytes.push(b',');
            }
            self.form.put(name.as_bytes(), &mut bytes);
        }
        bytes.push(b'\n');
        bytes
    }

    /// What stands before a row's prediction, while the row is in hand.
    pub(super) fn begin(&self, rows: &RawRows<'_>, place: Place, bytes: &mut Vec<u8>) {
        if !self.form.is_json {
            for kept in rows.kept() {
                self.form.put(&kept, bytes);
                bytes.push(b',');
            }
            return;
        }
        let word = match place {
            Place::Line(_) => "line",
            Place::Row(_) => "row",
        };
        put(bytes, format_args!("{{\"event\":\"prediction\",\"{word}\":{},", place.number()));
        if !self.kept.is_empty() {
            bytes.extend_from_slice(b"\"kept\":{");
            for (index, (name, kept)) in self.kept.iter().zip(rows.kept()).enumerate() {
                bytes.extend_from_slice(if index > 0 { b"," } else { b"" });
                self.form.put(name.as_bytes(), bytes);
                bytes.push(b':');
                self.form.put(&kept, bytes);
            }
            bytes.extend_from_slice(b"},");
        }
    }

    /// The rest of a row.
    pub(super) fn end(&self, told: &Told<'_>, bytes: &mut Vec<u8>) {
        if self.form.is_json {
            bytes.extend_from_slice(b"\"prediction\":");
            self.end_json(told, bytes);
            bytes.extend_from_slice(b"}\n");
            return;
        }
        match (told, self.target) {
            (Told::Class { class, exponentials }, _) => {
                bytes.extend_from_slice(&self.classes[*class as usize]);
                for probability in probabilities(exponentials) {
                    bytes.push(b',');
                    put_probability(bytes, probability);
                }
            }
            (Told::Values(outputs), Target::Values(scales)) => {
                for (index, (output, scale)) in outputs.iter().zip(scales).enumerate() {
                    bytes.extend_from_slice(if index > 0 { b"," } else { b"" });
                    put(bytes, format_args!("{}", scale.value(*output)));
                }
            }
            (Told::Values(_) | Told::Nothing(_), _) => {
                let columns = match self.target {
                    Target::Classes(names) if self.with_probabilities => 1 + names.len(),
                    Target::Classes(_) => 1,
                    Target::Values(scales) => scales.len(),
                };
                // A line without any byte would be no row to whoever reads it.
                let nothing: &[u8] = if self.kept.is_empty() && columns == 1 { b"\"\"" } else { b"" };
                bytes.extend_from_slice(nothing);
                bytes.extend(std::iter::repeat_n(b',', columns - 1));
            }
        }
        bytes.push(b'\n');
    }

    fn end_json(&self, told: &Told<'_>, bytes: &mut Vec<u8>) {
        match (told, self.target) {
            (Told::Class { class, exponentials }, _) => {
                bytes.extend_from_slice(&self.classes[*class as usize]);
                if self.with_probabilities {
                    bytes.extend_from_slice(b",\"probabilities\":{");
                    for (index, (name, probability)) in self.classes.iter().zip(probabilities(exponentials)).enumerate()
                    {
                        bytes.extend_from_slice(if index > 0 { b"," } else { b"" });
                        bytes.extend_from_slice(name);
                        bytes.push(b':');
                        put_probability(bytes, probability);
                    }
                    bytes.push(b'}');
                }
            }
            (Told::Values(outputs), Target::Values(scales)) => {
                let value = |(output, scale): (&f32, &TargetScale)| Value::from(scale.value(*output));
                let mut values = outputs.iter().zip(scales).map(value);
                match (&scales[..], values.next()) {
                    ([_], Some(value)) => put(bytes, format_args!("{value}")),
                    (_, first) => {
                        bytes.push(b'{');
                        for (index, (scale, value)) in scales.iter().zip(first.into_iter().chain(values)).enumerate() {
                            bytes.extend_from_slice(if index > 0 { b"," } else { b"" });
                            self.form.put(scale.name().as_bytes(), bytes);
                            put(bytes, format_args!(":{value}"));
                        }
                        bytes.push(b'}');
                    }
                }
            }
            (Told::Nothing(why), _) => {
                bytes.extend_from_slice(b"null,\"text\":");
                self.form.put(why.as_bytes(), bytes);
            }
            (Told::Values(_), Target::Classes(_)) => bytes.extend_from_slice(b"null"),
        }
    }
}

/// What e to the power of each output comes to as a part of all.
fn probabilities(exponentials: &[f32]) -> impl Iterator<Item = f32> + '_ {
    let total: f32 = exponentials.iter().sum();
    exponentials.iter().map(move |exponential| exponential / total)
}

fn put(bytes: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = bytes.write_fmt(text);
}

fn put_probability(bytes: &mut Vec<u8>, probability: f32) {
    match probability != 0.0 && probability < PLAIN_LEAST {
        true => put(bytes, format_args!("{probability:e}")),
        false => put(bytes, format_args!("{probability}")),
    }
}

/// A field of a CSV file, in quotes where it needs them.
fn field(text: &[u8], bytes: &mut Vec<u8>) {
    if !text.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        return bytes.extend_from_slice(text);
    }
    bytes.push(b'"');
    for &byte in text {
        bytes.extend_from_slice(if byte == b'"' { b"\"\"" } else { std::slice::from_ref(&byte) });
    }
    bytes.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_terminal_no_name_moves_the_cursor_and_elsewhere_every_byte_is_as_it_was() {
        let name = "a\u{1b}[2J\u{9b}\u{202e},\\";
        let target = Target::Classes(vec![name.to_owned(), "b".to_owned()]);
        let written = |is_json, is_for_terminal| {
            let lines = Lines::new(&target, Form { is_json, is_for_terminal }, true, Vec::new());
            let mut bytes = lines.head();
            lines.end(&Told::Class { class: 0, exponentials: &[1.0, 1.0] }, &mut bytes);
            String::from_utf8(bytes).unwrap()
        };
        let csv = |name| format!("prediction,\"probability_{name}\",probability_b\n\"{name}\",0.5,0.5\n");
        assert_eq!(written(false, false), csv(name));
        assert_eq!(written(false, true), csv(r"a\u{1b}[2J\u{9b}\u{202e},\"));
        let [exact, seen] = [false, true].map(|is_for_terminal| format!("{{{}", written(true, is_for_terminal)));
        assert!(exact.contains('\u{9b}') && seen.contains(r#""a\u001b[2J\u009b\u202e,\\""#), "{seen}");
        let [exact, seen] = [exact, seen].map(|json| serde_json::from_str::<Value>(&json).unwrap());
        assert_eq!(exact, seen);
        assert_eq!(seen["prediction"], name);
    }
}

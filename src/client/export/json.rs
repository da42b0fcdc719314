//! A model as one JSON document that any language reads. Owns its keys; docs/export.md says what they mean.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::super::applied::Applied;
use crate::model::Activation;
use crate::model::scaling::{Target, TargetScale};

/// What `format` says.
const FORMAT: &str = "gradwire export 1";

/// Writes it.
pub(super) fn write(applied: &Applied, out: &mut dyn Write) -> io::Result<()> {
    let model = &applied.model;
    let target =
        |scale: &TargetScale| json!({"name": scale.name(), "mean": scale.mean(), "deviation": scale.deviation()});
    let (task, key, told) = match &model.target {
        Target::Classes(names) => ("classify", "classes", json!(names)),
        Target::Values(scales) => ("regress", "targets", scales.iter().map(target).collect()),
    };
    // In the order of their use, a line each.
    let keys = [
        ("format", json!(FORMAT)),
        ("fingerprint", json!(model.fingerprint.to_string())),
        ("network", json!(model.network.to_string())),
        ("task", json!(task)),
        ("schema", applied.schema.to_json()),
        ("activation", json!(activation(model.activation))),
        (key, told),
    ];
    for (place, (key, value)) in keys.iter().enumerate() {
        writeln!(out, "{} \"{key}\": {}", if place == 0 { "{" } else { "," }, harmless(value))?;
    }
    writeln!(out, ", \"layers\": [")?;
    for (place, layer) in model.network.layers().enumerate() {
        writeln!(
            out,
            "{} {{ \"inputs\": {}, \"outputs\": {}, \"weights\": [",
            comma(place),
            layer.inputs,
            layer.outputs
        )?;
        for (place, weights) in model.parameters[layer.offset..layer.bias_offset()].chunks(layer.outputs).enumerate() {
            write!(out, "{} ", comma(place))?;
            numbers(weights, out)?;
        }
        write!(out, "  ], \"biases\": ")?;
        numbers(&model.parameters[layer.bias_offset()..][..layer.outputs], out)?;
        writeln!(out, "  }}")?;
    }
    writeln!(out, "]}}")
}

fn comma(place: usize) -> &'static str {
    if place == 0 { " " } else { "," }
}

/// What the hidden layers do to their sums: the two identities differ in training alone.
fn activation(activation: Activation) -> &'static str {
    match activation {
        Activation::Relu => "relu",
        Activation::Tanh => "tanh",
        Activation::Identity | Activation::MaskedIdentity => "identity",
    }
}

/// JSON without what ends a script or a line where it stands in a page: in JSON `<` occurs in texts alone.
fn harmless(value: &Value) -> String {
    let escape = |text: String, c: char| match text.contains(c) {
        true => text.replace(c, &format!("\\u{:04x}", u32::from(c))),
        false => text,
    };
    ['<', '\u{2028}', '\u{2029}', '\u{7f}'].into_iter().fold(value.to_string(), escape)
}

/// A list of numbers in the digits of f64, which has every f32: whoever reads them as either has the weights to the bit.
fn numbers(numbers: &[f32], out: &mut dyn Write) -> io::Result<()> {
    for (place, &number) in numbers.iter().enumerate() {
        write!(out, "{}{}", if place == 0 { "[" } else { "," }, Value::from(f64::from(number)))?;
    }
    writeln!(out, "]")
}

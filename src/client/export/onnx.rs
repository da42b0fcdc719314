//! A model as an ONNX graph: raw columns in, what the model tells out. Owns which operators that takes; does not know how
//! messages are encoded.
//!
//! Operators of opset 13 and of ai.onnx.ml 2, from the year 2020, on doubles, floats, integers of 64 bits and strings. What is
//! done to a column is what training does, in its order and its precision. Two things are left out, because they cost operators
//! and change nothing that counts: values below 2^-40 stay what they are, and a layer's sum has whatever order the runtime likes.

mod names;

use std::io::{self, Write};

use serde_json::{Value, json};

use super::super::applied::Applied;
use super::columns::{InputColumn, REFUSED, input_columns, place_of_missing, place_of_unknown};
use super::protobuf::Message;
use crate::dataset::{Categories, Encoder, MAGNITUDE_MAX, Numeric};
use crate::model::Activation;
use crate::model::file::ModelFile;
use crate::model::scaling::{CLIPPED_FROM, FeatureScale, Target, TargetScale};
use names::Names;

/// The version of the format that has these opsets.
const IR_VERSION: i64 = 7;
const OPSET: i64 = 13;
/// The domain of what ONNX calls classical machine learning, of which strings to integers is a part.
const ML: &str = "ai.onnx.ml";
const ML_OPSET: i64 = 2;

/// What the outputs are called.
const PREDICTION: &str = "prediction";
const PROBABILITIES: &str = "probabilities";
/// The number of rows, in shapes.
const ROWS: &str = "rows";

/// Types of elements.
#[derive(Clone, Copy)]
enum Element {
    Float = 1,
    Int64 = 7,
    String = 8,
    Double = 11,
}

/// Writes it.
pub(super) fn write(applied: &Applied, out: &mut dyn Write) -> io::Result<()> {
    let model = &applied.model;
    let mut graph = Graph::new(applied.schema.missing.spellings());
    let columns = input_columns(&applied.schema);
    for column in &columns {
        graph.declare(column);
    }
    let inputs = graph.transform(&columns);
    let outputs = graph.forward(model, inputs);
    match &model.target {
        Target::Classes(names) => graph.tell_classes(names, &outputs),
        Target::Values(scales) => graph.tell_values(scales, &outputs),
    }
    graph.into_model(model).write_to(out)
}

/// A graph as it grows: nodes behind those whose results they take.
struct Graph<'a> {
    names: Names,
    /// Texts that stand for a missing category.
    missing: Vec<String>,
    /// What each column's input is called.
    inputs: Vec<String>,
    nodes: Vec<Message<'a>>,
    initializers: Vec<Message<'a>>,
    declared: Vec<Message<'a>>,
    told: Vec<Message<'a>>,
}

impl<'a> Graph<'a> {
    fn new(missing: Vec<String>) -> Graph<'a> {
        let names = Names::taken([PREDICTION, PROBABILITIES]);
        let (inputs, nodes, initializers, declared, told) = Default::default();
        Graph { names, missing, inputs, nodes, initializers, declared, told }
    }

    /// Declares a column's input.
    fn declare(&mut self, column: &InputColumn<'_>) {
        let name = self.names.of_column(column.name, column.number);
        let (element, what) = match column.encoder {
            Encoder::Number(_) => (Element::Double, "a number, NaN where it is missing; 1 and 0 stand for yes and no"),
            Encoder::Categories(_) => (Element::String, "a category, the empty text where it is missing"),
            Encoder::Date { .. } => (Element::Double, "seconds since 1970-01-01 00:00 UTC, NaN where they are missing"),
        };
        self.declared.push(value_info(&name, element, &[1]).bytes(3, what));
        self.inputs.push(name);
    }

    /// All columns as the network's inputs.
    fn transform(&mut self, columns: &[InputColumn<'a>]) -> String {
        let mut parts = Vec::new();
        let mut place = 0;
        while let Some(column) = columns.get(place) {
            // Numbers beside each other are scaled together.
            let plain = |column: &InputColumn<'a>| match column.encoder {
                Encoder::Number(numeric) if !numeric.is_marked => Some(numeric),
                _ => None,
            };
            let run: Vec<&Numeric> = columns[place..].iter().map_while(plain).collect();
            let inputs = self.inputs[place..place + run.len().max(1)].to_vec();
            match column.encoder {
                _ if !run.is_empty() => {
                    let numbers = self.concatenate(inputs, "numbers");
                    parts.push(self.scale(&numbers, &run));
                }
                Encoder::Number(numeric) => {
                    parts.push(self.scale(&inputs[0], &[numeric]));
                    parts.push(self.mark(&inputs[0]));
                }
                Encoder::Categories(categories) => {
                    parts.push(self.one_hot(&inputs[0], categories, column.encoder.width()))
                }
                Encoder::Date { seconds, hour } => self.date(&inputs[0], seconds, hour.as_ref(), &mut parts),
            }
            place += run.len().max(1);
        }
        // What is too far away for a float would be hidden by the activation: a row that cannot be used is told NaN.
        let inputs = self.concatenate(parts, "inputs");
        let (is_infinite, nan) = (self.node("IsInf", &[&inputs], "is infinite"), self.floats("no number", &[f32::NAN]));
        self.node("Where", &[&is_infinite, &nan, &inputs], "finite inputs")
    }

    /// `f32((x - mean) * inverse_deviation)`, clipped or not, with a filling in the place of what is missing.
    fn scale(&mut self, numbers: &str, scales: &[&Numeric]) -> String {
        let mut present = numbers.to_owned();
        if scales.iter().any(|numeric| numeric.fill.is_some()) {
            // What may not be missing stays NaN, and makes NaN of what is told.
            let fills: Vec<f64> = scales.iter().map(|numeric| numeric.fill.unwrap_or(f64::NAN)).collect();
            let (is_missing, fills) = (self.node("IsNaN", &[numbers], "is missing"), self.doubles("fillings", &fills));
            present = self.node("Where", &[&is_missing, &fills, numbers], "present");
        }
        // What is not read from a file either would be scaled, and clipped, as any number that is far off.
        let magnitude = self.node("Abs", &[numbers], "magnitude");
        let [greatest, nan] = [("greatest number", MAGNITUDE_MAX), ("no number", f64::NAN)]
            .map(|(name, value)| self.doubles(name, &[value]));
        let is_refused = self.node("Greater", &[&magnitude, &greatest], "is refused");
        present = self.node("Where", &[&is_refused, &nan, &present], "taken");
        self.standardise(&present, &scales.iter().map(|numeric| numeric.scale).collect::<Vec<_>>())
    }

    fn standardise(&mut self, numbers: &str, scales: &[FeatureScale]) -> String {
        let means = self.doubles("means", &scales.iter().map(FeatureScale::mean).collect::<Vec<_>>());
        let inverse: Vec<f64> = scales.iter().map(FeatureScale::inverse_deviation).collect();
        let inverse = self.doubles("inverse deviations", &inverse);
        let centred = self.node("Sub", &[numbers, &means], "centred");
        let mut scaled = self.node("Mul", &[&centred, &inverse], "scaled");
        if scales.iter().any(FeatureScale::is_clipped) {
            scaled = self.clip(&scaled, scales);
        }
        self.cast(&scaled, Element::Float)
    }

    /// What is clipped of scaled numbers, smoothly, beside those that are not.
    fn clip(&mut self, scaled: &str, scales: &[FeatureScale]) -> String {
        let [greatest, three, one] = [("greatest", CLIPPED_FROM), ("three", 3.0), ("one", 1.0)]
            .map(|(name, value)| self.doubles(name, &[value]));
        // By a comparison, which NaN passes by, and not by Min and Max, which some runtimes lose it in.
        let (magnitude, sign) = (self.node("Abs", &[scaled], "magnitude"), self.node("Sign", &[scaled], "sign"));
        let is_far = self.node("Greater", &[&magnitude, &greatest], "is far");
        let far = self.node("Mul", &[&sign, &greatest], "far");
        let within = self.node("Where", &[&is_far, &far, scaled], "within");
        let part = self.node("Div", &[&within, &three], "part");
        let square = self.node("Mul", &[&part, &part], "square");
        let sum = self.node("Add", &[&one, &square], "sum of squares");
        let root = self.node("Sqrt", &[&sum], "root");
        let clipped = self.node("Div", &[&within, &root], "clipped");
        if scales.iter().all(FeatureScale::is_clipped) {
            return clipped;
        }
        let marks: Vec<f64> = scales.iter().map(|scale| f64::from(u8::from(scale.is_clipped()))).collect();
        let marks = self.doubles("marks", &marks);
        let is_clipped = self.node("Equal", &[&marks, &one], "is clipped");
        self.node("Where", &[&is_clipped, &clipped, scaled], "clipped or not")
    }

    /// 1 where a number is missing, else 0.
    fn mark(&mut self, numbers: &str) -> String {
        let is_missing = self.node("IsNaN", &[numbers], "is missing");
        self.cast(&is_missing, Element::Float)
    }

    /// 1 in the place of a row's own category.
    fn one_hot(&mut self, input: &str, categories: &Categories, width: usize) -> String {
        let missing = self.missing.iter().map(|text| (text, place_of_missing(categories)));
        let levels = categories.levels.iter().zip(0..).filter(|(level, _)| !self.missing.contains(level));
        let (keys, places): (Vec<&String>, Vec<i64>) = missing.chain(levels).unzip();
        let attributes = vec![
            keys.iter().fold(attribute("keys_strings", 8), |message, key| message.bytes(9, key)),
            places.iter().fold(attribute("values_int64s", 7), |message, &place| message.integer(8, place)),
            attribute("default_int64", 2).integer(3, place_of_unknown(categories)),
        ];
        let place = self.node_with("LabelEncoder", &[input], "place", attributes);
        let all = self.integers("places", &(0..width as i64).collect::<Vec<_>>());
        let is_own = self.node("Equal", &[&place, &all], "is own");
        let own = self.cast(&is_own, Element::Float);
        if place_of_missing(categories) != REFUSED {
            return own;
        }
        let refused = self.integers("refused", &[REFUSED]);
        let is_refused = self.node("Equal", &[&place, &refused], "is refused");
        let nan = self.floats("no number", &[f32::NAN]);
        self.node("Where", &[&is_refused, &nan, &own], "own")
    }

    /// Seconds, weekday, hour, mark. The weekday and the hour are those of the clock that wrote the time, of which an input that
    /// may be left out says how far it is from UTC.
    fn date(&mut self, input: &str, seconds: &Numeric, hour: Option<&FeatureScale>, parts: &mut Vec<String>) {
        parts.push(self.scale(input, &[seconds]));
        let mut clock = input.to_owned();
        if hour.is_some() {
            let offset = self.names.of_input(&format!("{input} offset"));
            let what = "seconds by which the clock that wrote the time is ahead of UTC, 0 if this is left out";
            self.declared.push(value_info(&offset, Element::Double, &[1]).bytes(3, what));
            self.initializers.push(tensor(&offset, Element::Double, &[1, 1]).bytes(9, 0f64.to_le_bytes()));
            clock = self.node("Add", &[input, &offset], "clock");
        }
        // In doubles, so that a missing time stays NaN, which equals no day. Floors of quotients are exact: whole seconds of any
        // year that is written in four digits are far apart enough.
        let [day_seconds, week, thursday] =
            [("day", 86_400.0), ("week", 7.0), ("1970-01-01", 3.0)].map(|(name, value)| self.doubles(name, &[value]));
        let day = self.floor_of_quotient(&clock, &day_seconds);
        let from_monday = self.node("Add", &[&day, &thursday], "days from a Monday");
        let weeks = self.floor_of_quotient(&from_monday, &week);
        let days_of_weeks = self.node("Mul", &[&weeks, &week], "days of weeks");
        let weekday = self.node("Sub", &[&from_monday, &days_of_weeks], "weekday");
        let weekdays = self.doubles("weekdays", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let is_day = self.node("Equal", &[&weekday, &weekdays], "is day");
        parts.push(self.cast(&is_day, Element::Float));
        if let Some(scale) = hour {
            let midnight = self.node("Mul", &[&day, &day_seconds], "midnight");
            let of_day = self.node("Sub", &[&clock, &midnight], "seconds of the day");
            let hour_seconds = self.doubles("hour", &[3_600.0]);
            let hour = self.floor_of_quotient(&of_day, &hour_seconds);
            let scaled = self.standardise(&hour, &[*scale]);
            let (is_missing, nothing) = (self.node("IsNaN", &[input], "is missing"), self.floats("nothing", &[0.0]));
            parts.push(self.node("Where", &[&is_missing, &nothing, &scaled], "hour"));
        }
        if seconds.is_marked {
            parts.push(self.mark(input));
        }
    }

    fn floor_of_quotient(&mut self, numerator: &str, denominator: &str) -> String {
        let quotient = self.node("Div", &[numerator, denominator], "quotient");
        self.node("Floor", &[&quotient], "whole")
    }

    /// The network's outputs.
    fn forward(&mut self, model: &'a ModelFile, inputs: String) -> String {
        let mut x = inputs;
        let last = model.network.hidden().len();
        for (place, layer) in model.network.layers().enumerate() {
            let [weights, biases] =
                ["weight", "bias"].map(|what| self.names.of_value(&format!("layer.{place}.{what}")));
            let shape = [layer.inputs as i64, layer.outputs as i64];
            let parameters = &model.parameters[layer.offset..];
            let (of_weights, rest) = parameters.split_at(layer.weights());
            self.initializers.push(tensor(&weights, Element::Float, &shape).floats(9, of_weights));
            self.initializers.push(tensor(&biases, Element::Float, &shape[1..]).floats(9, &rest[..layer.outputs]));
            x = self.node("Gemm", &[&x, &weights, &biases], "sums");
            x = match model.activation {
                Activation::Relu if place < last => self.node("Relu", &[&x], "outputs"),
                Activation::Tanh if place < last => self.node("Tanh", &[&x], "outputs"),
                _ => x,
            };
        }
        x
    }

    /// Probabilities, and the name of the most probable class; the empty name where the probabilities are no numbers.
    fn tell_classes(&mut self, names: &[String], logits: &str) {
        let axis = || attribute("axis", 2).integer(3, 1);
        self.nodes.push(node("Softmax", &[logits], PROBABILITIES, vec![axis()]));
        let best = self.node_with("ArgMax", &[logits], "best", vec![axis(), attribute("keepdims", 2).integer(3, 0)]);
        // Of a row that has one NaN, every probability is NaN.
        let scalar = |name: &str, value: i64| tensor(name, Element::Int64, &[]).bytes(9, value.to_le_bytes());
        let [first, none] = ["first", "none"].map(|what| self.names.of_value(what));
        self.initializers.extend([scalar(&first, 0), scalar(&none, names.len() as i64)]);
        let of_first = self.node_with("Gather", &[PROBABILITIES, &first], "of the first", vec![axis()]);
        let is_nothing = self.node("IsNaN", &[&of_first], "is nothing");
        let place = self.node("Where", &[&is_nothing, &none, &best], "class");
        let classes = self.names.of_value("classes");
        let of_names = tensor(&classes, Element::String, &[names.len() as i64 + 1]);
        let of_names = names.iter().fold(of_names, |tensor, name| tensor.bytes(6, name)).bytes(6, "");
        self.initializers.push(of_names);
        self.nodes.push(node("Gather", &[&classes, &place], PREDICTION, vec![]));
        self.told.push(value_info(PREDICTION, Element::String, &[]));
        self.told.push(value_info(PROBABILITIES, Element::Float, &[names.len() as i64]));
    }

    fn tell_values(&mut self, scales: &[TargetScale], outputs: &str) {
        let deviations = self.doubles("deviations", &scales.iter().map(TargetScale::deviation).collect::<Vec<_>>());
        let means = self.doubles("target means", &scales.iter().map(TargetScale::mean).collect::<Vec<_>>());
        let outputs = self.cast(outputs, Element::Double);
        let from_mean = self.node("Mul", &[&outputs, &deviations], "from the mean");
        self.nodes.push(node("Add", &[&from_mean, &means], PREDICTION, vec![]));
        self.told.push(value_info(PREDICTION, Element::Double, &[scales.len() as i64]));
    }

    /// The graph with what surrounds it.
    fn into_model(self, model: &ModelFile) -> Message<'a> {
        let graph =
            self.nodes.into_iter().fold(Message::new(), |graph, node| graph.message(1, node)).bytes(2, "gradwire");
        let graph = self.initializers.into_iter().fold(graph, |graph, tensor| graph.message(5, tensor));
        let graph = self.declared.into_iter().fold(graph, |graph, input| graph.message(11, input));
        let graph = self.told.into_iter().fold(graph, |graph, output| graph.message(12, output));
        let opset = |domain: &str, version| Message::new().bytes(1, domain).integer(2, version);
        let whole = Message::new()
            .integer(1, IR_VERSION)
            .bytes(2, "gradwire")
            .bytes(3, env!("CARGO_PKG_VERSION"))
            .message(7, graph)
            .message(8, opset("", OPSET))
            .message(8, opset(ML, ML_OPSET));
        let told = match &model.target {
            Target::Classes(names) => ("classes", json!(names)),
            Target::Values(scales) => ("targets", scales.iter().map(TargetScale::name).map(Value::from).collect()),
        };
        let about = [("fingerprint", model.fingerprint.to_string()), (told.0, told.1.to_string())];
        about.iter().fold(whole, |whole, (key, value)| whole.message(14, Message::new().bytes(1, key).bytes(2, value)))
    }

    /// The columns of all of these, side by side.
    fn concatenate(&mut self, mut parts: Vec<String>, what: &str) -> String {
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.node_with("Concat", &parts, what, vec![attribute("axis", 2).integer(3, 1)])
    }

    fn cast(&mut self, value: &str, element: Element) -> String {
        self.node_with("Cast", &[value], "as numbers", vec![attribute("to", 2).integer(3, element as i64)])
    }

    fn node(&mut self, operator: &str, inputs: &[&str], what: &str) -> String {
        self.node_with(operator, inputs, what, vec![])
    }

    /// A node of one result, which is called so, more or less.
    fn node_with(&mut self, operator: &str, inputs: &[&str], what: &str, attributes: Vec<Message<'a>>) -> String {
        let output = self.names.of_value(what);
        self.nodes.push(node(operator, inputs, &output, attributes));
        output
    }

    fn doubles(&mut self, what: &str, values: &[f64]) -> String {
        self.row(what, Element::Double, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn floats(&mut self, what: &str, values: &[f32]) -> String {
        self.row(what, Element::Float, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn integers(&mut self, what: &str, values: &[i64]) -> String {
        self.row(what, Element::Int64, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// Constants, one for each column of what they meet.
    fn row(&mut self, what: &str, element: Element, columns: usize, bytes: Vec<u8>) -> String {
        let name = self.names.of_value(what);
        self.initializers.push(tensor(&name, element, &[1, columns as i64]).bytes(9, bytes));
        name
    }
}

/// NodeProto.
fn node<'a>(operator: &str, inputs: &[&str], output: &str, attributes: Vec<Message<'a>>) -> Message<'a> {
    let node = inputs.iter().fold(Message::new(), |node, input| node.bytes(1, input));
    let node = node.bytes(2, output).bytes(3, output).bytes(4, operator);
    let node = attributes.into_iter().fold(node, |node, attribute| node.message(5, attribute));
    if operator == "LabelEncoder" { node.bytes(7, ML) } else { node }
}

/// AttributeProto, without its value: of kind 2 an integer, in field 3; 7 integers, in field 8; 8 strings, in field 9.
fn attribute<'a>(name: &str, kind: i64) -> Message<'a> {
    Message::new().bytes(1, name).integer(20, kind)
}

/// TensorProto, without its elements: strings in field 6, the bytes of numbers in field 9.
fn tensor<'a>(name: &str, element: Element, shape: &[i64]) -> Message<'a> {
    let tensor = shape.iter().fold(Message::new(), |tensor, &size| tensor.integer(1, size));
    tensor.integer(2, element as i64).bytes(8, name)
}

/// ValueInfoProto of a tensor of any number of rows, and these sizes of a row.
fn value_info<'a>(name: &str, element: Element, row: &[i64]) -> Message<'a> {
    let shape = Message::new().message(1, Message::new().bytes(2, ROWS));
    let shape = row.iter().fold(shape, |shape, &size| shape.message(1, Message::new().integer(1, size)));
    let tensor = Message::new().integer(1, element as i64).message(2, shape);
    Message::new().bytes(1, name).message(2, Message::new().message(1, tensor))
}

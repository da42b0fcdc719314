//! A saved model in forms that other programs run: ONNX, C, JSON. Owns which forms there are and where they go; does not know
//! what they look like.
//!
//! | module | owns |
//! |---|---|
//! | `columns` | which columns become inputs, as every form sees it |
//! | `onnx`, `protobuf` | a graph of ONNX's operators, and its encoding |
//! | `c` | a header in C |
//! | `json` | one JSON document |
//!
//! Every form is written as it is made, without a second copy of the weights. docs/export.md says how each is used.

mod c;
mod columns;
mod json;
mod onnx;
mod protobuf;

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;
use std::str::FromStr;

use super::applied::Applied;
use super::sink::{self, Sink};
use crate::cli::{Exit, Failure};

/// Bytes that are handed on at a time.
const BYTES_AT_A_TIME: usize = 1 << 16;

/// A form of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// A graph of ONNX's operators.
    Onnx,
    /// A header in C.
    C,
    /// A JSON document.
    Json,
}

impl ExportFormat {
    /// All of them.
    pub const ALL: [ExportFormat; 3] = [ExportFormat::Onnx, ExportFormat::C, ExportFormat::Json];
}

impl FromStr for ExportFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<ExportFormat, &'static str> {
        match text {
            "onnx" => Ok(ExportFormat::Onnx),
            "c" => Ok(ExportFormat::C),
            "json" => Ok(ExportFormat::Json),
            _ => Err("a model is exported as onnx, c or json"),
        }
    }
}

/// Writes a saved model in a form that other programs run, to a file or to the standard output.
pub fn export(model: &Path, format: ExportFormat, out: Option<&Path>) -> Result<Exit, Failure> {
    out.iter().try_for_each(|out| sink::check_apart(out, [model]))?;
    let applied = Applied::read(model)?;
    check(&applied, format).map_err(|why| Failure::new(Exit::Usage, format_args!("{}: {why}", model.display())))?;
    if format == ExportFormat::Onnx && out.is_none() && io::stdout().is_terminal() {
        return Err(Failure::new(Exit::Usage, "ONNX is bytes that upset a terminal: name a file with --out"));
    }
    let mut sink = Sink::open(out, "model's bytes")?;
    let mut handed = BufWriter::with_capacity(BYTES_AT_A_TIME, Handed { sink: &mut sink, failure: None });
    let written = write(&applied, format, &mut handed).and_then(|()| handed.flush());
    // What is still in hand after a failure would fail again.
    let (Handed { failure, .. }, _) = handed.into_parts();
    match (failure, written) {
        (Some(failure), _) => return Err(failure),
        (None, Err(error)) => return Err(Failure::new(Exit::Output, error)),
        (None, Ok(())) => {}
    }
    sink.finish()?;
    Ok(Exit::Success)
}

/// That the model has this form; if not, why.
pub(super) fn check(applied: &Applied, format: ExportFormat) -> Result<(), String> {
    match format {
        ExportFormat::C => c::check(applied).map_err(|why| why.to_string()),
        ExportFormat::Onnx | ExportFormat::Json => Ok(()),
    }
}

/// Writes a model that has this form.
pub(super) fn write(applied: &Applied, format: ExportFormat, out: &mut dyn Write) -> io::Result<()> {
    match format {
        ExportFormat::Onnx => onnx::write(applied, out),
        ExportFormat::C => c::write(applied, out),
        ExportFormat::Json => json::write(applied, out),
    }
}

/// A sink as what can be written to; it keeps the sentence that a failure is told with.
struct Handed<'a> {
    sink: &'a mut Sink,
    failure: Option<Failure>,
}

impl Write for Handed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.sink.write(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(failure) => {
                let error = io::Error::other(failure.text.clone());
                self.failure = Some(failure);
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

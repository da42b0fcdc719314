//! What a model tells of the rows of a file. Owns the stream from raw rows to written predictions, a batch at a time; does not
//! know the forms on either side.

use std::path::{Path, PathBuf};

use super::applied::{Applied, OnBadRow, refused};
use super::options::Output;
use super::predictions::{Form, Lines, Told};
use super::render::say;
use super::sink::{self, Sink};
use crate::cli::{Exit, Failure};
use crate::dataset::{BadRow, Place, RawError, RawOptions, RawRow, RawRows};
use crate::model::scaling::Target;
use crate::model::{Kernel, Predictor};
use crate::wire::text::counted;

/// What is asked of a model.
#[derive(Clone, Debug, Default)]
pub struct PredictOptions {
    /// How rows are read.
    pub reading: RawOptions,
    /// What becomes of rows that cannot be.
    pub on_bad_row: OnBadRow,
    /// Whether each class's probability is told.
    pub with_probabilities: bool,
    /// Where predictions go, if not to the standard output.
    pub out: Option<PathBuf>,
}

/// Tells what a model says of each row of a file, in their order.
pub fn predict(model: &Path, data: &Path, options: &PredictOptions, output: Output) -> Result<Exit, Failure> {
    super::proof::prove(Kernel::best())?;
    options.out.iter().try_for_each(|out| sink::check_apart(out, [model, data]))?;
    let applied = Applied::read(model)?;
    if options.with_probabilities && matches!(applied.model.target, Target::Values(_)) {
        let text = format!(
            "{}: this model tells numbers, and only classes have probabilities; leave out --proba",
            model.display()
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    let rows = RawRows::open(data, &applied.schema, &options.reading).map_err(|error| refused(&error, output))?;
    rows.notes().iter().for_each(|note| say(note));
    let mut sink = Sink::open(options.out.as_deref(), "predictions")?;
    let form = Form { is_json: output == Output::Json, is_for_terminal: sink.is_terminal() };
    let lines = Lines::new(&applied.model.target, form, options.with_probabilities, rows.kept_names().collect());
    sink.write(&lines.head())?;
    let mut stream = Stream { applied: &applied, rows, lines, options, batch: Batch::default(), left: Left::default() };
    let told = stream.run(&mut |bytes| sink.write(bytes))?;
    // What was told of the rows before is written all the same.
    told.map_err(|error| refused(&error, output))?;
    sink.finish()?;
    stream.rows.summary().iter().for_each(|line| say(line));
    if let Some((place, bad)) = &stream.left.first {
        say(&format!("{} without a prediction, first {place}: {bad}", counted(stream.left.rows, "row")));
    }
    Ok(Exit::Success)
}

/// Rows on their way to predictions.
struct Stream<'a> {
    applied: &'a Applied,
    rows: RawRows<'a>,
    lines: Lines<'a>,
    options: &'a PredictOptions,
    batch: Batch,
    left: Left,
}

/// Rows without a prediction.
#[derive(Default)]
struct Left {
    rows: u64,
    first: Option<(Place, BadRow)>,
}

/// Some rows, and what is told of them.
#[derive(Default)]
struct Batch {
    /// Of those that have inputs.
    inputs: Vec<f32>,
    rows: Vec<Waiting>,
    /// What stands before each prediction, one behind the other.
    beginnings: Vec<u8>,
    classes: Vec<Option<u32>>,
    outputs: Vec<f32>,
    bytes: Vec<u8>,
}

struct Waiting {
    place: Place,
    beginning_end: usize,
    bad: Option<BadRow>,
}

impl Stream<'_> {
    /// Has predictions written until there are no more rows, or one is refused.
    fn run(&mut self, write: &mut dyn FnMut(&[u8]) -> Result<(), Failure>) -> Result<Result<(), RawError>, Failure> {
        let mut predictor = self.applied.predictor();
        loop {
            let read = self.fill();
            let told = self.tell(&mut predictor)?;
            write(&self.batch.bytes)?;
            match (told, read) {
                (Some(refused), _) => return Ok(Err(refused)),
                (None, Ok(true)) => {}
                (None, Ok(false)) => return Ok(Ok(())),
                (None, Err(refused)) => return Ok(Err(refused)),
            }
        }
    }

    /// Reads as many rows as are taken at a time; whether there may be more.
    fn fill(&mut self) -> Result<bool, RawError> {
        let Stream { applied, rows, lines, options, batch, .. } = self;
        batch.inputs.clear();
        batch.rows.clear();
        batch.beginnings.clear();
        let width = applied.schema.width();
        for _ in 0..applied.batch_rows() {
            let start = batch.inputs.len();
            batch.inputs.resize(start + width, 0.0);
            let read = rows.advance(&mut batch.inputs[start..]);
            let is_usable = matches!(&read, Ok(Some(RawRow { bad: None, .. })));
            if !is_usable {
                batch.inputs.truncate(start);
            }
            let Some(RawRow { place, bad }) = read? else { return Ok(false) };
            if options.on_bad_row == OnBadRow::Refuse
                && let Some(bad) = bad
            {
                return Err(rows.refuse(place, bad));
            }
            lines.begin(rows, place, &mut batch.beginnings);
            batch.rows.push(Waiting { place, beginning_end: batch.beginnings.len(), bad });
        }
        Ok(true)
    }

    /// Writes what the model tells of the rows that were read; the refusal of one of which it tells nothing.
    fn tell(&mut self, predictor: &mut Predictor<'_>) -> Result<Option<RawError>, Failure> {
        let Stream { applied, rows, lines, options, batch, left } = self;
        let of_model = |error| Failure::new(Exit::Fault, error);
        let Batch { inputs, rows: waiting, beginnings, classes, outputs, bytes } = batch;
        bytes.clear();
        let is_class = matches!(applied.model.target, Target::Classes(_));
        if is_class {
            predictor.classes(inputs, classes).map_err(of_model)?;
        }
        outputs.clear();
        if options.with_probabilities {
            predictor.exponentials(inputs, outputs).map_err(of_model)?;
        } else if !is_class {
            predictor.outputs(inputs, outputs).map_err(of_model)?;
        }
        let width = applied.model.network.outputs() as usize;
        let mut usable = 0;
        let mut beginning = 0;
        for Waiting { place, beginning_end, bad } in waiting.drain(..) {
            let mut bad = bad;
            let mut told = Told::Nothing("");
            if bad.is_none() {
                let outputs = outputs.get(usable * width..(usable + 1) * width).unwrap_or_default();
                match classes.get(usable).copied().flatten() {
                    Some(class) if is_class => told = Told::Class { class, exponentials: outputs },
                    None if !is_class && outputs.iter().all(|output| output.is_finite()) => {
                        told = Told::Values(outputs)
                    }
                    _ => bad = Some(BadRow::OutOfReach),
                }
                usable += 1;
            }
            let why = bad.as_ref().map(ToString::to_string);
            if let Some(bad) = bad {
                if options.on_bad_row == OnBadRow::Refuse {
                    return Ok(Some(rows.refuse(place, bad)));
                }
                left.rows += 1;
                left.first.get_or_insert((place, bad));
            }
            bytes.extend_from_slice(&beginnings[beginning..beginning_end]);
            beginning = beginning_end;
            if let Some(why) = &why {
                told = Told::Nothing(why);
            }
            lines.end(&told, bytes);
        }
        Ok(None)
    }
}

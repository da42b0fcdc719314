//! The values of a column, as they are kept until it is known which rows train. Owns how a field is read as a value of its
//! column's kind, and how little room that takes; does not know what becomes of it.
//!
//! A column is kept in pieces of so many rows, of all columns the same ones.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::date::{self, Moment};
use super::delimited::Text;
use super::error::Fault;
use super::hash::OfTexts;
use super::kinds::Kind;
use super::memo::Memo;
use super::missing::MissingTokens;
use super::refusal::Cause;
use super::short;
use super::store::{Store, Stored};
use super::texts::NO_CODE;
use super::value::{self, NumberForm, Reading};

/// Rows of a piece, in a table of so many columns at most; many columns have less each.
const PIECE_ROWS: [(usize, usize); 2] = [(256, 4_096), (usize::MAX, 256)];
/// Hours of a week: the clock of a date that is missing.
const NO_CLOCK: u8 = 7 * 24;

/// A field as a value of its column's kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field<'a> {
    Missing,
    /// A number, or a boolean as 0 and 1.
    Number(f64),
    /// A category.
    Name(&'a str),
    /// A date.
    Moment(Moment),
}

impl<'a> Field<'a> {
    /// What a field is in a column of this kind.
    pub(super) fn read(text: Text<'a>, kind: Kind, missing: &MissingTokens) -> Result<Field<'a>, Cause> {
        // What most fields are goes the shortest way; tokens that are named may be numbers.
        if kind.is_plain()
            && missing.named.is_empty()
            && let Some(short) = short::read(text)
        {
            return Ok(Field::Number(short.value));
        }
        let text = std::str::from_utf8(text.bytes()).map_err(|_| Cause::NotUtf8)?.trim();
        Field::of_text(text, kind, missing)
    }

    /// The same of text without white space around it.
    pub(super) fn of_text(text: &'a str, kind: Kind, missing: &MissingTokens) -> Result<Field<'a>, Cause> {
        if missing.has(text) {
            return Ok(Field::Missing);
        }
        let number = |form: NumberForm| match form.read(text) {
            Reading::Number(number) => Ok(Field::Number(number)),
            Reading::NotFinite => Err(Cause::NotFinite),
            Reading::Not => Err(Cause::NotANumber),
        };
        match kind {
            Kind::Number(form) => number(form),
            Kind::Constant | Kind::RowNumber => number(NumberForm::default()),
            Kind::Boolean => {
                value::boolean(text).map(|value| Field::Number(f64::from(u8::from(value)))).ok_or(Cause::NotABoolean)
            }
            Kind::Date { order, .. } => date::read(text, order).map(Field::Moment).ok_or(Cause::NotADate),
            Kind::Category | Kind::Identifier | Kind::Unusable => Ok(Field::Name(text)),
        }
    }
}

/// Values of a column.
#[derive(Clone, Debug)]
pub(super) enum Cells {
    /// Whole numbers from 0 to 255, none missing.
    Bytes(Vec<u8>),
    /// Numbers; NaN is missing.
    Numbers(Vec<f64>),
    /// Categories by their place in the column's names.
    Names(Vec<u32>),
    /// Seconds, and the hour of the week.
    Moments { seconds: Vec<f64>, clocks: Vec<u8> },
}

impl Cells {
    fn of_kind(kind: Kind) -> Cells {
        match kind {
            Kind::Category | Kind::Identifier | Kind::Unusable => Cells::Names(Vec::new()),
            Kind::Date { .. } => Cells::Moments { seconds: Vec::new(), clocks: Vec::new() },
            _ => Cells::Numbers(Vec::new()),
        }
    }

    /// Number of values.
    pub(super) fn len(&self) -> usize {
        match self {
            Cells::Bytes(values) => values.len(),
            Cells::Numbers(values) => values.len(),
            Cells::Names(codes) => codes.len(),
            Cells::Moments { clocks, .. } => clocks.len(),
        }
    }

    /// The number at this place; nothing where it is missing, or no number.
    #[inline]
    pub(super) fn number(&self, place: usize) -> Option<f64> {
        match self {
            Cells::Bytes(values) => Some(f64::from(values[place])),
            Cells::Numbers(values) => Some(values[place]).filter(|number| !number.is_nan()),
            Cells::Moments { seconds, .. } => Some(seconds[place]).filter(|number| !number.is_nan()),
            Cells::Names(_) => None,
        }
    }

    /// All values, where they are numbers or NaN.
    #[inline]
    pub(super) fn doubles(&self) -> Option<&[f64]> {
        match self {
            Cells::Numbers(values) => Some(values),
            Cells::Moments { seconds, .. } => Some(seconds),
            Cells::Bytes(_) | Cells::Names(_) => None,
        }
    }

    /// The place of a category's name; nothing where it is missing, or no category.
    #[inline]
    pub(super) fn code(&self, place: usize) -> Option<u32> {
        let Cells::Names(codes) = self else { return None };
        Some(codes[place]).filter(|code| *code != NO_CODE)
    }

    /// The point in time at this place; nothing where it is missing, or none.
    pub(super) fn moment(&self, place: usize) -> Option<Moment> {
        let Cells::Moments { seconds, clocks } = self else { return None };
        let clock = Some(clocks[place]).filter(|clock| *clock != NO_CLOCK)?;
        Some(Moment { seconds: seconds[place], weekday: clock / 24, hour: clock % 24, has_time: true })
    }

    /// Puts values that may go to a file there.
    fn put(&mut self, store: &mut Store) -> Piece {
        let stored = match self {
            Cells::Numbers(values) => store.put(bytemuck::cast_slice(values)),
            Cells::Names(codes) => store.put(bytemuck::cast_slice(codes)),
            Cells::Bytes(_) | Cells::Moments { .. } => None,
        };
        if let Some(stored) = stored {
            let rows = self.len();
            match self {
                Cells::Numbers(values) => values.clear(),
                Cells::Names(codes) => codes.clear(),
                Cells::Bytes(_) | Cells::Moments { .. } => {}
            }
            return Piece::Stored { stored, rows };
        }
        let empty = match self {
            Cells::Bytes(_) => Cells::Bytes(Vec::new()),
            Cells::Numbers(_) => Cells::Numbers(Vec::new()),
            Cells::Names(_) => Cells::Names(Vec::new()),
            Cells::Moments { .. } => Cells::Moments { seconds: Vec::new(), clocks: Vec::new() },
        };
        Piece::Memory(std::mem::replace(self, empty))
    }
}

/// Some rows of a column.
#[derive(Clone, Debug)]
enum Piece {
    Memory(Cells),
    Stored { stored: Stored, rows: usize },
}

/// The values of a column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pieces: Vec<Piece>,
    piece_rows: usize,
    /// The last rows.
    open: Cells,
    names: Vec<String>,
    /// The places of the names, while the column is filled.
    places: HashMap<String, u32, BuildHasherDefault<OfTexts>>,
    /// What short texts are in it.
    known: Memo<Known>,
}

/// What a text is in a column.
#[derive(Clone, Copy, Debug)]
enum Known {
    Code(u32),
    Moment { seconds: f64, clock: u8 },
}

/// Rows of a piece in a table of so many columns.
pub(super) fn piece_rows(columns: usize) -> usize {
    PIECE_ROWS.iter().find(|(most, _)| columns <= *most).map_or(1, |(_, rows)| *rows)
}

impl Column {
    /// No values of a kind yet, in a table of so many columns.
    pub(super) fn new(kind: Kind, columns: usize) -> Column {
        Column::of(Cells::of_kind(kind), piece_rows(columns))
    }

    /// No numbers yet, in pieces of so many rows.
    pub(super) fn of_numbers(piece_rows: usize) -> Column {
        Column::of(Cells::Numbers(Vec::new()), piece_rows)
    }

    /// No codes of texts yet, in a table of so many columns.
    pub(super) fn of_codes(columns: usize) -> Column {
        Column::of(Cells::Names(Vec::new()), piece_rows(columns))
    }

    fn of(open: Cells, piece_rows: usize) -> Column {
        Column {
            pieces: Vec::new(),
            piece_rows,
            open,
            names: Vec::new(),
            places: HashMap::default(),
            known: Memo::default(),
        }
    }

    /// Small whole numbers, which stay in memory, in a table of so many columns.
    pub(super) fn of_bytes(bytes: Vec<u8>, columns: usize) -> Column {
        let mut column = Column::of(Cells::Bytes(Vec::new()), piece_rows(columns));
        column.pieces =
            bytes.chunks(column.piece_rows).map(|piece| Piece::Memory(Cells::Bytes(piece.to_vec()))).collect();
        column
    }

    /// Number of values, as long as it is not finished.
    pub(super) fn len(&self) -> usize {
        // All pieces are full.
        self.pieces.len() * self.piece_rows + self.open.len()
    }

    /// The names of its categories.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Takes the numbers of the next rows in, where that is what it holds; NaN is missing.
    pub(super) fn extend(&mut self, mut numbers: &[f64], store: &mut Store) {
        while !numbers.is_empty() {
            let Cells::Numbers(values) = &mut self.open else { return };
            let (now, later) = numbers.split_at(numbers.len().min(self.piece_rows - values.len()));
            values.extend_from_slice(now);
            numbers = later;
            self.close(store);
        }
    }

    /// The same of codes of texts.
    pub(super) fn extend_codes(&mut self, mut codes: &[u32], store: &mut Store) {
        while !codes.is_empty() {
            let Cells::Names(values) = &mut self.open else { return };
            let (now, later) = codes.split_at(codes.len().min(self.piece_rows - values.len()));
            values.extend_from_slice(now);
            codes = later;
            self.close(store);
        }
    }

    /// Puts a code in the place of the first one.
    pub(super) fn set_first_code(&mut self, code: u32) -> Result<(), Fault> {
        let mut read = Cells::default();
        let cells = match self.pieces.is_empty() {
            true => &mut self.open,
            false => {
                let piece = self.piece(0, &mut read)?.clone();
                self.pieces[0] = Piece::Memory(piece);
                let Piece::Memory(cells) = &mut self.pieces[0] else { return Ok(()) };
                cells
            }
        };
        if let Cells::Names(codes) = cells {
            codes[0] = code;
        }
        Ok(())
    }

    /// A column of codes of these texts as one of a kind; nothing where one of them is none of it, or the codes cannot be read.
    pub(super) fn decoded(
        mut self,
        texts: &[String],
        kind: Kind,
        missing: &MissingTokens,
        store: &mut Store,
    ) -> Option<Column> {
        let fields = texts.iter().map(|text| Field::of_text(text, kind, missing));
        let fields = fields.collect::<Result<Vec<Field<'_>>, Cause>>().ok()?;
        let open = Cells::of_kind(kind);
        if let Cells::Names(_) = open {
            self.names = texts.to_vec();
            return Some(self);
        }
        let mut column = Column::of(open, self.piece_rows);
        let mut read = Cells::default();
        let mut take = |cells: &Cells| {
            for value in 0..cells.len() {
                column.push(cells.code(value).map_or(Field::Missing, |code| fields[code as usize]));
                column.close(store);
            }
        };
        for piece in 0..self.pieces.len() {
            take(self.piece(piece, &mut read).ok()?);
        }
        take(&self.open);
        Some(column)
    }

    /// What all values are to a function, as long as the column is not finished.
    pub(super) fn all<T>(&self, with: impl Fn(&Cells, usize) -> T) -> Result<Vec<T>, Fault> {
        let mut all = Vec::with_capacity(self.len());
        let mut read = Cells::default();
        for piece in 0..self.pieces.len() {
            let cells = self.piece(piece, &mut read)?;
            all.extend((0..cells.len()).map(|value| with(cells, value)));
        }
        all.extend((0..self.open.len()).map(|value| with(&self.open, value)));
        Ok(all)
    }

    /// Rows of each piece.
    pub(super) fn piece_rows(&self) -> usize {
        self.piece_rows
    }

    /// Puts a piece away that is full.
    #[inline]
    fn close(&mut self, store: &mut Store) {
        if self.open.len() == self.piece_rows {
            let piece = self.open.put(store);
            self.pieces.push(piece);
        }
    }

    /// Takes the values of many rows in, and tells `refuse` which of them, by their places, are none of the column's kind, or missing.
    pub(super) fn take<'a>(
        &mut self,
        texts: impl Iterator<Item = Text<'a>>,
        kind: Kind,
        missing: &MissingTokens,
        store: &mut Store,
        mut refuse: impl FnMut(usize, Cause),
    ) {
        let are_plain = kind.is_plain() && missing.named.is_empty();
        for (place, text) in texts.enumerate() {
            if !self.take_known(text, are_plain) {
                let field = Field::read(text, kind, missing);
                self.push(field.unwrap_or(Field::Missing));
                match field {
                    Ok(Field::Missing) => refuse(place, Cause::Missing),
                    Ok(_) => self.remember(text),
                    Err(cause) => refuse(place, cause),
                }
            }
            self.close(store);
        }
    }

    /// Takes a value in that is a plain number, or is remembered; whether it is.
    #[inline(always)]
    fn take_known(&mut self, text: Text<'_>, are_plain: bool) -> bool {
        match &mut self.open {
            Cells::Numbers(values) if are_plain => {
                let number = short::read(text);
                values.extend(number.map(|short| short.value));
                number.is_some()
            }
            Cells::Names(codes) => match self.known.get(text) {
                Some(Known::Code(code)) => {
                    codes.push(code);
                    true
                }
                _ => false,
            },
            Cells::Moments { seconds, clocks } => match self.known.get(text) {
                Some(Known::Moment { seconds: second, clock }) => {
                    seconds.push(second);
                    clocks.push(clock);
                    true
                }
                _ => false,
            },
            Cells::Numbers(_) | Cells::Bytes(_) => false,
        }
    }

    /// Remembers that the last value was this text.
    fn remember(&mut self, text: Text<'_>) {
        let known = match &self.open {
            Cells::Names(codes) => codes.last().map(|&code| Known::Code(code)),
            Cells::Moments { seconds, clocks } => {
                seconds.last().zip(clocks.last()).map(|(&seconds, &clock)| Known::Moment { seconds, clock })
            }
            Cells::Bytes(_) | Cells::Numbers(_) => None,
        };
        if let Some(known) = known {
            self.known.put(text, known);
        }
    }

    /// Takes the next row's value in. What is of another kind counts as missing.
    fn push(&mut self, field: Field<'_>) {
        match &mut self.open {
            Cells::Bytes(values) => values.push(if let Field::Number(number) = field { number as u8 } else { 0 }),
            Cells::Numbers(values) => values.push(if let Field::Number(number) = field { number } else { f64::NAN }),
            Cells::Names(codes) => codes.push(match field {
                Field::Name(name) => match self.places.get(name) {
                    Some(&place) => place,
                    None => {
                        let place = self.names.len() as u32;
                        self.names.push(name.to_owned());
                        self.places.insert(name.to_owned(), place);
                        place
                    }
                },
                _ => NO_CODE,
            }),
            Cells::Moments { seconds, clocks } => {
                let (second, clock) = match field {
                    Field::Moment(moment) => (moment.seconds, moment.weekday * 24 + moment.hour),
                    _ => (f64::NAN, NO_CLOCK),
                };
                seconds.push(second);
                clocks.push(clock);
            }
        }
    }

    /// Takes a value in that stands for none.
    pub(super) fn skip(&mut self, store: &mut Store) {
        self.push(Field::Missing);
        self.close(store);
    }

    /// Gives back what is only needed to fill, and puts the last rows to the others.
    pub(super) fn finish(&mut self, store: &mut Store) {
        (self.places, self.known) = (HashMap::default(), Memo::default());
        if self.open.len() > 0 {
            let piece = self.open.put(store);
            self.pieces.push(piece);
        }
    }

    /// Number of pieces of a column that is finished.
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// The values of a piece, which may be read into what there was of another.
    pub(super) fn piece<'a>(&'a self, piece: usize, read: &'a mut Cells) -> Result<&'a Cells, Fault> {
        let (stored, rows) = match &self.pieces[piece] {
            Piece::Memory(cells) => return Ok(cells),
            Piece::Stored { stored, rows } => (stored, *rows),
        };
        match self.open {
            Cells::Names(_) => {
                let mut codes = if let Cells::Names(codes) = read { std::mem::take(codes) } else { Vec::new() };
                codes.resize(rows, NO_CODE);
                stored.read(bytemuck::cast_slice_mut(&mut codes))?;
                *read = Cells::Names(codes);
            }
            _ => {
                let mut values = if let Cells::Numbers(values) = read { std::mem::take(values) } else { Vec::new() };
                values.resize(rows, f64::NAN);
                stored.read(bytemuck::cast_slice_mut(&mut values))?;
                *read = Cells::Numbers(values);
            }
        }
        Ok(read)
    }
}

impl Default for Cells {
    fn default() -> Cells {
        Cells::Numbers(Vec::new())
    }
}

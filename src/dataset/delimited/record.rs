//! The fields of one line of a file. Owns how they are handed out without being copied; does not know how they were told apart.

/// Bytes behind the last field of a record: whatever reads a field may load so many from its first byte on.
pub(in crate::dataset) const PADDING: usize = 64;

/// The text of a field, and what happens to stand behind it in memory, by which short texts are read as whole words.
#[derive(Clone, Copy, Debug)]
pub(in crate::dataset) struct Text<'a> {
    /// Where the text is, with what stands before and behind it.
    bytes: &'a [u8],
    start: usize,
    len: usize,
}

impl<'a> Text<'a> {
    #[inline(always)]
    fn at(bytes: &'a [u8], (start, end): Span) -> Text<'a> {
        Text { bytes, start: start as usize, len: end.wrapping_sub(start) as usize }
    }

    /// The bytes of the text.
    #[inline]
    pub(in crate::dataset) fn bytes(self) -> &'a [u8] {
        &self.bytes[self.start..self.start + self.len]
    }

    /// Number of bytes.
    #[inline]
    pub(in crate::dataset) fn len(self) -> usize {
        self.len
    }

    /// The first byte, if there is any.
    #[inline]
    pub(in crate::dataset) fn first(self) -> Option<u8> {
        self.bytes.get(self.start).copied().filter(|_| self.len > 0)
    }

    /// A part of the text, of so many bytes from this place on.
    pub(in crate::dataset) fn part(self, from: usize, len: usize) -> Text<'a> {
        Text { start: self.start + from, len, ..self }
    }

    /// Sixteen bytes from this place on: what belongs to the text, and then anything.
    #[inline]
    pub(in crate::dataset) fn word(self, from: usize) -> [u8; 16] {
        match self.words(from) {
            Some(word) => *word,
            None => self.copied(from),
        }
    }

    /// The same in place, where so many bytes follow.
    #[inline]
    pub(in crate::dataset) fn words(self, from: usize) -> Option<&'a [u8; 16]> {
        self.bytes.get(self.start + from..).and_then(<[u8]>::first_chunk)
    }

    /// The first half of [`Text::word`].
    #[inline]
    pub(in crate::dataset) fn half_word(self, from: usize) -> [u8; 8] {
        match self.bytes.get(self.start + from..).and_then(<[u8]>::first_chunk) {
            Some(word) => *word,
            None => self.copied(from).first_chunk().copied().unwrap_or_default(),
        }
    }

    /// The same where so many bytes do not follow.
    #[cold]
    fn copied(self, from: usize) -> [u8; 16] {
        let mut word = [0; 16];
        let text = self.bytes.get(self.start + from..).unwrap_or_default();
        let text = &text[..text.len().min(word.len())];
        word[..text.len()].copy_from_slice(text);
        word
    }
}

#[cfg(test)]
impl<'a> Text<'a> {
    /// The first bytes of a text, with the others behind.
    pub(in crate::dataset) fn within(text: &'a str, len: usize) -> Text<'a> {
        Text { bytes: text.as_bytes(), start: 0, len }
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Text<'a> {
        Text { bytes, start: 0, len: bytes.len() }
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Text<'a> {
        text.as_bytes().into()
    }
}

/// Where a field begins and ends.
pub(in crate::dataset) type Span = (u32, u32);

/// The fields of a record, which lie in the reader's buffer.
#[derive(Clone, Copy, Debug)]
pub(in crate::dataset) struct Record<'a> {
    /// Everything that is in the buffer, and [`PADDING`] bytes.
    pub(super) bytes: &'a [u8],
    pub(super) fields: &'a [Span],
}

impl<'a> Record<'a> {
    /// Number of fields.
    #[inline]
    pub(in crate::dataset) fn len(self) -> usize {
        self.fields.len()
    }

    /// The field at this place; an empty one beyond the last.
    #[inline]
    pub(in crate::dataset) fn text(self, place: usize) -> Text<'a> {
        match self.fields.get(place) {
            Some(&span) => Text::at(self.bytes, span),
            None => Text { bytes: &[], start: 0, len: 0 },
        }
    }

    /// The fields in their order.
    pub(in crate::dataset) fn texts(self) -> impl DoubleEndedIterator<Item = Text<'a>> {
        (0..self.len()).map(move |place| self.text(place))
    }

    /// The bytes of the fields in their order.
    pub(in crate::dataset) fn iter(self) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.texts().map(Text::bytes)
    }

    /// The same for longer than the reader stands there.
    pub(in crate::dataset) fn kept(self) -> KeptRecord {
        let mut kept = KeptRecord::default();
        for field in self.iter() {
            let start = kept.bytes.len() as u32;
            kept.bytes.extend_from_slice(field);
            kept.fields.push((start, kept.bytes.len() as u32));
        }
        kept.bytes.extend_from_slice(&[0; PADDING]);
        kept
    }
}

/// A record of a buffer: its fields are those of the buffer from the first one to before the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) first: u32,
    pub(super) end: u32,
    /// The line on which it begins.
    pub(super) line: u64,
}

/// Records that lie in the reader's buffer together.
#[derive(Clone, Copy, Debug)]
pub(in crate::dataset) struct Block<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) fields: &'a [Span],
    pub(super) rows: &'a [Row],
    /// Whether the fields of all records lie one behind the other, as many of each.
    pub(super) are_alike: bool,
}

impl<'a> Block<'a> {
    /// Number of records; never 0.
    pub(in crate::dataset) fn len(self) -> usize {
        self.rows.len()
    }

    /// The records with their places.
    pub(in crate::dataset) fn records(self) -> impl Iterator<Item = (usize, Record<'a>)> {
        (0..self.len()).map(move |row| (row, self.record(row)))
    }

    /// The record at this place.
    pub(in crate::dataset) fn record(self, row: usize) -> Record<'a> {
        let Row { first, end, .. } = self.rows[row];
        Record { bytes: self.bytes, fields: &self.fields[first as usize..end as usize] }
    }

    /// The line on which it begins.
    pub(in crate::dataset) fn line(self, row: usize) -> u64 {
        self.rows[row].line
    }

    /// The fields at a place of all records; `room` is for those of records of different widths.
    #[inline]
    pub(in crate::dataset) fn column<'b>(self, place: usize, room: &'b mut Vec<Span>) -> Column<'b>
    where
        'a: 'b,
    {
        let (bytes, rows) = (self.bytes, self.rows.len());
        let (first, last) = (self.rows[0], self.rows[rows - 1]);
        let step = (first.end - first.first) as usize;
        // What lies behind each other so, has no gaps, as the splitter tells.
        if self.are_alike && place < step {
            let spans = &self.fields[first.first as usize + place..last.end as usize];
            return Column { bytes, spans, step, rows };
        }
        room.clear();
        room.extend(self.rows.iter().map(|row| {
            let field = row.first as usize + place;
            if field < row.end as usize { self.fields[field] } else { (0, 0) }
        }));
        Column { bytes, spans: room, step: 1, rows }
    }

    /// The same of some records alone, by their places.
    pub(in crate::dataset) fn column_of<'b>(self, rows: &[usize], place: usize, room: &'b mut Vec<Span>) -> Column<'b>
    where
        'a: 'b,
    {
        room.clear();
        room.extend(rows.iter().map(|&row| {
            let Row { first, end, .. } = self.rows[row];
            self.fields[first as usize..end as usize].get(place).copied().unwrap_or_default()
        }));
        Column { bytes: self.bytes, spans: room, step: 1, rows: rows.len() }
    }
}

#[cfg(test)]
impl<'a> Column<'a> {
    /// Of fields that lie so in a text.
    pub(in crate::dataset) fn of_spans(bytes: &'a [u8], spans: &'a [Span]) -> Column<'a> {
        Column { bytes, spans, step: 1, rows: spans.len() }
    }
}

/// The fields of some records at one place.
#[derive(Clone, Copy, Debug)]
pub(in crate::dataset) struct Column<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
    /// From a field to that of the next record.
    step: usize,
    rows: usize,
}

impl<'a> Column<'a> {
    /// Of one record.
    #[inline]
    pub(in crate::dataset) fn of_one(text: Text<'a>, room: &'a mut Vec<Span>) -> Column<'a> {
        room.clear();
        room.push((text.start as u32, (text.start + text.len) as u32));
        Column { bytes: text.bytes, spans: room, step: 1, rows: 1 }
    }

    /// Number of records.
    #[inline]
    pub(in crate::dataset) fn len(self) -> usize {
        self.rows
    }

    /// The field of a record.
    #[inline(always)]
    pub(in crate::dataset) fn text(self, row: usize) -> Text<'a> {
        Text::at(self.bytes, self.spans[row * self.step])
    }

    /// The first bytes of a field, so many, with what follows them, and its number of bytes; none where so many do not follow.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(in crate::dataset) fn window<const BYTES: usize>(self, row: usize) -> Option<(&'a [u8; BYTES], usize)> {
        let (start, end) = self.spans[row * self.step];
        let window = self.bytes.get(start as usize..)?.first_chunk()?;
        Some((window, end.wrapping_sub(start) as usize))
    }
}

/// The fields of a record, copied.
#[derive(Clone, Debug, Default)]
pub(in crate::dataset) struct KeptRecord {
    bytes: Vec<u8>,
    fields: Vec<Span>,
}

impl KeptRecord {
    /// Its fields.
    pub(in crate::dataset) fn fields(&self) -> Record<'_> {
        Record { bytes: &self.bytes, fields: &self.fields }
    }
}

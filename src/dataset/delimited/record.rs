//! The fields of one line of a file. Owns how they are handed out without being copied; does not know how they were told apart.

/// Bytes behind the last field of a record: whatever reads a field may load so many from its first byte on.
pub(in crate::dataset) const PADDING: usize = 64;

/// The text of a field, and what happens to stand behind it in memory, by which short texts are read as whole words.
#[derive(Clone, Copy, Debug)]
pub(in crate::dataset) struct Text<'a> {
    /// The text, with what follows it.
    rest: &'a [u8],
    len: usize,
}

impl<'a> Text<'a> {
    /// The bytes of the text.
    #[inline]
    pub(in crate::dataset) fn bytes(self) -> &'a [u8] {
        &self.rest[..self.len]
    }

    /// Number of bytes.
    #[inline]
    pub(in crate::dataset) fn len(self) -> usize {
        self.len
    }

    /// The first byte, if there is any.
    #[inline]
    pub(in crate::dataset) fn first(self) -> Option<u8> {
        self.bytes().first().copied()
    }

    /// Sixteen bytes from this place on: what belongs to the text, and then anything.
    #[inline]
    pub(in crate::dataset) fn word(self, from: usize) -> [u8; 16] {
        match self.rest.get(from..).and_then(<[u8]>::first_chunk) {
            Some(word) => *word,
            None => self.copied(from),
        }
    }

    /// The first half of [`Text::word`].
    #[inline]
    pub(in crate::dataset) fn half_word(self, from: usize) -> [u8; 8] {
        match self.rest.get(from..).and_then(<[u8]>::first_chunk) {
            Some(word) => *word,
            None => self.copied(from).first_chunk().copied().unwrap_or_default(),
        }
    }

    /// The same where so many bytes do not follow.
    #[cold]
    fn copied(self, from: usize) -> [u8; 16] {
        let mut word = [0; 16];
        let text = self.rest.get(from..).unwrap_or_default();
        word[..text.len()].copy_from_slice(text);
        word
    }
}

#[cfg(test)]
impl<'a> Text<'a> {
    /// The first bytes of a text, with the others behind.
    pub(in crate::dataset) fn within(text: &'a str, len: usize) -> Text<'a> {
        Text { rest: text.as_bytes(), len }
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Text<'a> {
        Text { rest: bytes, len: bytes.len() }
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Text<'a> {
        text.as_bytes().into()
    }
}

/// Where a field begins and ends.
pub(super) type Span = (u32, u32);

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
            Some(&(start, end)) => Text { rest: &self.bytes[start as usize..], len: (end - start) as usize },
            None => Text { rest: &[], len: 0 },
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

    /// The field at this place of each record that has one there.
    #[inline]
    pub(in crate::dataset) fn column(self, place: usize) -> impl Iterator<Item = Text<'a>> {
        self.rows.iter().filter(move |row| place < (row.end - row.first) as usize).map(move |row| {
            let (start, end) = self.fields[row.first as usize + place];
            Text { rest: &self.bytes[start as usize..], len: (end - start) as usize }
        })
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

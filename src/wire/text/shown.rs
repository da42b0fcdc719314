//! Text of others as it may be shown. Owns which characters are not shown as they are; does not know where it is shown.

use std::fmt::{self, Write as _};

/// Whether a character moves a cursor, ends a line, or turns the direction of writing (Unicode's `Bidi_Control`): none of
/// these is shown as it is.
pub(crate) fn misleads(c: char) -> bool {
    const TURNS: [char; 3] = ['\u{61c}', '\u{200e}', '\u{200f}'];
    c.is_control() || TURNS.contains(&c) || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text as it may be shown: one line, nothing that moves a cursor or ends a word unseen. Control characters are
/// written as Rust writes them (`\n`, `\u{1b}`), so are those that turn the direction of writing.
pub fn shown(text: &str) -> impl fmt::Display {
    struct Shown<'a>(&'a str);
    impl fmt::Display for Shown<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for c in self.0.chars() {
                if misleads(c) {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    f.write_char(c)?;
                }
            }
            Ok(())
        }
    }
    Shown(text)
}

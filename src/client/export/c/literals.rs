//! Texts in C. Owns how they are escaped; does not know what they say.

use std::io::{self, Write};

/// Bytes of a literal, at most: every compiler takes 4,095.
const LITERAL_BYTES_MAX: usize = 4_000;

/// Literals, and the arrays of those that are too long for one.
#[derive(Default)]
pub(super) struct Literals {
    arrays: usize,
}

impl Literals {
    /// A text as an expression. What is too long for a literal is defined first.
    pub(super) fn of(&mut self, text: &str, out: &mut dyn Write) -> io::Result<String> {
        if text.len() <= LITERAL_BYTES_MAX {
            let escaped: String = text.bytes().map(|byte| escaped(byte, '"')).collect();
            return Ok(format!("\"{escaped}\""));
        }
        self.arrays += 1;
        let name = format!("gradwire_text_{}", self.arrays);
        writeln!(out, "\nstatic const char {name}[] = {{")?;
        for line in text.as_bytes().chunks(16) {
            let characters: Vec<String> = line.iter().map(|&byte| format!("'{}'", escaped(byte, '\''))).collect();
            writeln!(out, "  {},", characters.join(", "))?;
        }
        writeln!(out, "  0}};")?;
        Ok(name)
    }

    /// A table of texts, of which there is at least one.
    pub(super) fn table<'t>(
        &mut self,
        name: &str,
        texts: impl Iterator<Item = &'t str>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let texts: Vec<String> = texts.map(|text| self.of(text, out)).collect::<io::Result<_>>()?;
        writeln!(out, "\nstatic const char *const {name}[] = {{\n  {}}};", texts.join(",\n  "))
    }
}

/// A byte as it stands between quotes. A question mark would begin a trigraph; three digits end by themselves, unlike
/// hexadecimal ones.
fn escaped(byte: u8, quote: char) -> String {
    match char::from(byte) {
        '\\' | '?' => format!("\\{}", char::from(byte)),
        c if c == quote => format!("\\{c}"),
        ' '..='~' => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_printable_ascii_that_nothing_in_a_text_ends() {
        let mut defined = Vec::new();
        let mut of = |text: &str| Literals::default().of(text, &mut defined).unwrap();
        assert_eq!(of("a\"b\\n\n*/ #include"), "\"a\\\"b\\\\n\\012*/ #include\"");
        assert_eq!(of("\u{e9}1'"), "\"\\303\\2511'\"");
        assert_eq!(of("what??/"), "\"what\\?\\?/\"");
        assert_eq!(of(&"x".repeat(LITERAL_BYTES_MAX)).len(), LITERAL_BYTES_MAX + 2);
        assert!(defined.is_empty());
    }

    #[test]
    fn a_text_that_is_too_long_for_a_literal_is_an_array() {
        let mut defined = Vec::new();
        let long = format!("'{}", "\u{e9}".repeat(LITERAL_BYTES_MAX / 2));
        assert_eq!(Literals::default().of(&long, &mut defined).unwrap(), "gradwire_text_1");
        let defined = String::from_utf8(defined).unwrap();
        assert!(
            defined.starts_with("\nstatic const char gradwire_text_1[] = {\n  '\\'', '\\303', '\\251',"),
            "{defined}"
        );
        assert_eq!(defined.matches("'\\303'").count(), LITERAL_BYTES_MAX / 2);
    }
}

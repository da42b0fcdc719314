//! Which texts stand for no value: the usual marks, and those that are named. Owns how a list of them is written; does not know
//! columns, or what takes the place of a missing value.
//!
//! A text is trimmed before it comes here.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// What people write where they have no value, beside an empty field, in exactly these letters; spreadsheets, pandas, dumps of
/// databases and SAS write the last four.
const MISSING: [&str; 8] = ["NA", "None", "?", "-", "#N/A", "<NA>", "\\N", "."];
/// The same in any case.
const MISSING_IN_ANY_CASE: [&str; 3] = ["N/A", "nan", "null"];

/// Which texts stand for no value, beside an empty field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingTokens {
    /// Whether the usual ones do.
    pub usual: bool,
    /// And these.
    pub named: Vec<String>,
}

impl Default for MissingTokens {
    fn default() -> MissingTokens {
        MissingTokens { usual: true, named: Vec::new() }
    }
}

impl MissingTokens {
    /// Every text, trimmed, that stands for no value; the empty one first.
    pub fn spellings(&self) -> Vec<String> {
        let mut texts = vec![String::new()];
        if self.usual {
            texts.extend(MISSING.map(str::to_owned));
            texts.extend(MISSING_IN_ANY_CASE.iter().flat_map(|token| in_any_case(token)));
        }
        texts.extend(self.named.iter().cloned());
        let mut seen = HashSet::new();
        texts.retain(|text| seen.insert(text.clone()));
        texts
    }

    /// Whether this text, trimmed, stands for no value.
    pub fn has(&self, text: &str) -> bool {
        text.is_empty() || (self.usual && is_usually_missing(text)) || self.named.iter().any(|token| token == text)
    }
}

impl FromStr for MissingTokens {
    type Err = Infallible;

    /// Tokens with commas between; `default` among them stands for the usual ones. One with a comma of its own stands in quotes, as a
    /// field of CSV does.
    fn from_str(text: &str) -> Result<MissingTokens, Infallible> {
        let mut tokens = MissingTokens { usual: false, named: Vec::new() };
        for (token, is_quoted) in listed(text) {
            match token.trim() {
                "" => {}
                "default" if !is_quoted => tokens.usual = true,
                token => tokens.named.push(token.to_owned()),
            }
        }
        Ok(tokens)
    }
}

/// The fields of a line of CSV, and whether they are quoted. A quote that is never closed is a character like others.
fn listed(mut text: &str) -> Vec<(String, bool)> {
    let mut fields = Vec::new();
    loop {
        let rest = match text.trim_start().strip_prefix('"').and_then(unquoted) {
            Some((field, rest)) => {
                fields.push((field, true));
                rest
            }
            None => {
                let (field, rest) = text.split_at(text.find(',').unwrap_or(text.len()));
                fields.push((field.to_owned(), false));
                rest
            }
        };
        match rest.strip_prefix(',') {
            Some(rest) => text = rest,
            None => return fields,
        }
    }
}

/// What stands before the quote that closes a field, and what stands behind the field.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut field, mut rest) = (String::new(), text);
    loop {
        let (part, behind) = rest.split_once('"')?;
        field.push_str(part);
        match behind.strip_prefix('"') {
            Some(behind) => {
                field.push('"');
                rest = behind;
            }
            None => {
                let behind = behind.trim_start();
                return (behind.is_empty() || behind.starts_with(',')).then_some((field, behind));
            }
        }
    }
}

impl fmt::Display for MissingTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = self.usual.then(|| "default".to_owned());
        let quoted = |token: &String| match token.contains([',', '"']) || token == "default" {
            true => format!("\"{}\"", token.replace('"', "\"\"")),
            false => token.clone(),
        };
        let tokens: Vec<String> = usual.into_iter().chain(self.named.iter().map(quoted)).collect();
        f.write_str(&tokens.join(","))
    }
}

fn is_usually_missing(text: &str) -> bool {
    // The longest has four letters; and what most fields begin with, none does.
    text.len() <= 4
        && matches!(text.as_bytes().first(), Some(b'N' | b'n' | b'?' | b'-' | b'#' | b'<' | b'\\' | b'.'))
        && (MISSING.contains(&text) || MISSING_IN_ANY_CASE.iter().any(|token| token.eq_ignore_ascii_case(text)))
}

/// A text of ASCII in capitals and small letters, in every mixture.
fn in_any_case(text: &str) -> Vec<String> {
    text.chars().fold(vec![String::new()], |begun, c| {
        let either =
            if c.is_ascii_alphabetic() { vec![c.to_ascii_lowercase(), c.to_ascii_uppercase()] } else { vec![c] };
        begun.iter().flat_map(|text| either.iter().map(move |c| format!("{text}{c}"))).collect()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn missing_values_are_the_usual_marks_or_those_that_are_named() {
        let usual = MissingTokens::default();
        for text in ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "?", "-", "#N/A", "<NA>", "\\N", "."]
        {
            assert!(usual.has(text), "{text:?}");
        }
        for text in ["none", "na", "0", "--", "nil", "unknown"] {
            assert!(!usual.has(text), "{text:?}");
        }
        let spellings = usual.spellings();
        assert_eq!(spellings.len(), 1 + 8 + 4 + 8 + 16);
        assert!(
            spellings.iter().all(|text| usual.has(text))
                && ["", "?", "n/A", "nAN", "NULL"].iter().all(|text| spellings.iter().any(|spelling| spelling == text))
        );
        let named: MissingTokens = "-999".parse().unwrap();
        assert!(named.has("") && named.has("-999") && !named.has("NA"));
        let more: MissingTokens = "default,-999".parse().unwrap();
        assert!(more.has("") && more.has("-999") && more.has("NA"));
        assert_eq!(more.to_string(), "default,-999");
        assert_eq!(named.spellings(), ["", "-999"]);
    }

    #[test]
    fn a_missing_value_with_a_comma_stands_in_quotes_as_a_field_of_csv() {
        let named = |text: &str| text.parse::<MissingTokens>().unwrap().named;
        assert_eq!(named("default, \"-999,0\" ,-9,\"a \"\"b\"\"\""), ["-999,0", "-9", "a \"b\""]);
        assert_eq!(named("-999,0"), ["-999", "0"]);
        assert_eq!(named("12\",\"open,5\" x"), ["12\"", "\"open", "5\" x"]);
    }

    proptest! {
        #[test]
        fn missing_values_that_are_shown_are_read_back(
            usual: bool,
            named in prop::collection::vec("[a-z0-9\",.-]{1,6}|default", 0..5),
        ) {
            let tokens = MissingTokens { usual, named };
            prop_assert_eq!(tokens.to_string().parse::<MissingTokens>().unwrap(), tokens);
        }
    }
}

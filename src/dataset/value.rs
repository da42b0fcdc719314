//! What a field may be: a number in one of the usual notations, a boolean, a date, a UUID. Owns how each is
//! written and what it is worth; does not know columns.
//!
//! A text is trimmed before it comes here. What a notation reads, and to which bits, is in docs/model-file.md.

use std::fmt;

/// The largest magnitude that counts as a number: its square, summed over the rows of a job, is still one of f64.
pub(crate) const MAGNITUDE_MAX: f64 = 1e140;

/// How a column writes its numbers: the decimal mark, and what may stand between groups of three digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Notation {
    /// `1234.5`
    #[default]
    Point,
    /// `1,234.5`
    PointGrouped,
    /// `1234,5`
    Comma,
    /// `1.234,5`
    CommaGrouped,
    /// `1 234.5`, `1'234.5`
    SpacedPoint,
    /// `1 234,5`
    SpacedComma,
}

impl Notation {
    /// All of them, the plainest first.
    pub const ALL: [Notation; 6] = [
        Notation::Point,
        Notation::PointGrouped,
        Notation::Comma,
        Notation::CommaGrouped,
        Notation::SpacedPoint,
        Notation::SpacedComma,
    ];

    /// Its name in a schema: `1234.5` as it would be written.
    pub fn name(self) -> &'static str {
        match self {
            Notation::Point => "1234.5",
            Notation::PointGrouped => "1,234.5",
            Notation::Comma => "1234,5",
            Notation::CommaGrouped => "1.234,5",
            Notation::SpacedPoint => "1 234.5",
            Notation::SpacedComma => "1 234,5",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Notation> {
        Notation::ALL.into_iter().find(|notation| notation.name() == name)
    }

    /// Whether its decimal mark is a comma.
    pub fn has_comma(self) -> bool {
        matches!(self, Notation::Comma | Notation::CommaGrouped | Notation::SpacedComma)
    }

    fn groups(self, mark: char) -> bool {
        match self {
            Notation::Point | Notation::Comma => false,
            Notation::PointGrouped => mark == ',',
            Notation::CommaGrouped => mark == '.',
            Notation::SpacedPoint | Notation::SpacedComma => matches!(mark, ' ' | '\'' | '\u{a0}' | '\u{202f}' | '’'),
        }
    }

    /// Digits with a decimal point, of a text without sign and ornament; none if it is not written so.
    fn plain(self, text: &str) -> Option<String> {
        let decimal = if self.has_comma() { ',' } else { '.' };
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], &text[at..]),
            None => (text, ""),
        };
        if !exponent.is_empty() {
            let digits = exponent[1..].strip_prefix(['+', '-']).unwrap_or(&exponent[1..]);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
        }
        let (whole, part) = match mantissa.split_once(decimal) {
            Some((whole, part)) => (whole, Some(part)),
            None => (mantissa, None),
        };
        if part.is_some_and(|part| !part.bytes().all(|byte| byte.is_ascii_digit())) {
            return None;
        }
        let mut plain = String::with_capacity(text.len() + 1);
        // Nobody writes 875 as 0,875. Of points, all of a column tell.
        let is_part = |mark: char, before: &str| mark != '.' && before.bytes().all(|digit| digit == b'0');
        let mut in_group = 0;
        let mut groups = 0;
        for c in whole.chars() {
            if c.is_ascii_digit() {
                plain.push(c);
                in_group += 1;
            } else if self.groups(c)
                && (1..=3).contains(&in_group)
                && (groups == 0 || in_group == 3)
                && !is_part(c, &plain)
            {
                groups += 1;
                in_group = 0;
            } else {
                return None;
            }
        }
        let is_whole = groups == 0 || in_group == 3;
        if !is_whole || (plain.is_empty() && part.is_none_or(str::is_empty)) {
            return None;
        }
        if let Some(part) = part {
            plain.push('.');
            plain.push_str(part);
        }
        plain.push_str(exponent);
        Some(plain)
    }
}

/// What stands beside every number of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ornament {
    /// `5 %`
    Percent,
    /// `$5`, `5 €`
    Currency(char),
}

const CURRENCIES: [char; 12] = ['$', '€', '£', '¥', '₹', '₽', '₩', '₺', '₫', '₴', '₦', '฿'];

/// What stands for no cents.
const DASHES: [char; 3] = ['-', '–', '—'];

impl fmt::Display for Ornament {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ornament::Percent => f.write_str("%"),
            Ornament::Currency(sign) => write!(f, "{sign}"),
        }
    }
}

impl Ornament {
    /// The one that is written so.
    pub fn named(name: &str) -> Option<Ornament> {
        match name {
            "%" => Some(Ornament::Percent),
            _ => name.parse().ok().filter(|sign| CURRENCIES.contains(sign)).map(Ornament::Currency),
        }
    }
}

/// How a column writes its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NumberForm {
    /// Marks.
    pub notation: Notation,
    /// What stands beside every number.
    pub ornament: Option<Ornament>,
}

/// What a text is as a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    /// This number.
    Number(f64),
    /// Infinite, or beyond what counts as a number.
    NotFinite,
    /// No number in this form.
    Not,
}

impl Reading {
    fn of(value: f64) -> Reading {
        if value.abs() <= MAGNITUDE_MAX { Reading::Number(value) } else { Reading::NotFinite }
    }
}

/// A text as what Rust and most programs write: `-1.5`, `2e3`, `.5`, `inf`.
pub fn plain(text: &str) -> Reading {
    match text.parse::<f64>() {
        Ok(value) => Reading::of(value),
        Err(_) => Reading::Not,
    }
}

/// The same, told of most names by their first letter: only `inf`, `infinity` and `nan` begin with one.
pub fn plain_unless_name(text: &str) -> Reading {
    match text.as_bytes().first() {
        Some(b'I' | b'i' | b'N' | b'n') => plain(text),
        Some(first) if first.is_ascii_alphabetic() => Reading::Not,
        _ => plain(text),
    }
}

/// Whether a plain number with a point may be whole, with a point between thousands: `1.234`.
pub fn may_be_thousands(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
    let Some((whole, [b'.', part @ ..])) = digits.len().checked_sub(4).map(|point| digits.split_at(point)) else {
        return false;
    };
    (1..=3).contains(&whole.len()) && whole.iter().chain(part).all(u8::is_ascii_digit)
}

/// What is inside of a number below 0 as bookkeepers write it: `(5)`, and `5.00-`, which a grade such as `2-` is not, nor a price
/// such as `5.-`.
fn bookkept(text: &str) -> Option<&str> {
    let is_negative = |rest: &&str| {
        let is_price = rest.ends_with(|c: char| ".,".contains(c) || DASHES.contains(&c));
        rest.contains(['.', ',']) && !is_price
    };
    let inside = match text.strip_prefix('(') {
        Some(rest) => rest.strip_suffix(')')?.trim(),
        None => text.strip_suffix('-').map(str::trim_end).filter(is_negative)?,
    };
    (!inside.starts_with(['-', '+', '\u{2212}', '('])).then_some(inside)
}

/// Sign, digits, ornament.
fn parts(text: &str) -> (bool, &str, Option<Ornament>) {
    let negated = bookkept(text);
    let mut rest = negated.unwrap_or(text);
    let mut is_negative = negated.is_some();
    let mut ornament = None;
    // `-$5` and `$-5`.
    for _ in 0..2 {
        if let Some(after) = rest.strip_prefix(['-', '\u{2212}']) {
            (rest, is_negative) = (after, true);
        } else if let Some(after) = rest.strip_prefix('+') {
            rest = after;
        }
        if let (None, Some(sign)) = (ornament, rest.chars().next().filter(|sign| CURRENCIES.contains(sign))) {
            ornament = Some(Ornament::Currency(sign));
            rest = rest[sign.len_utf8()..].trim_start();
        } else {
            break;
        }
    }
    if ornament.is_none()
        && let Some(last) = rest.chars().next_back()
    {
        ornament = match last {
            '%' => Some(Ornament::Percent),
            sign if CURRENCIES.contains(&sign) => Some(Ornament::Currency(sign)),
            _ => None,
        };
        if ornament.is_some() {
            rest = rest[..rest.len() - last.len_utf8()].trim_end();
        }
    }
    // A price without cents: `12,-`.
    let whole = rest.trim_end_matches(DASHES);
    let rest = if whole.ends_with(['.', ',']) { whole } else { rest };
    (is_negative, rest, ornament)
}

impl NumberForm {
    /// What a text is in this form.
    pub fn read(self, text: &str) -> Reading {
        if self.ornament.is_none() && !self.notation.has_comma() {
            match plain(text) {
                Reading::Not => {}
                read => return read,
            }
        }
        let (is_negative, digits, ornament) = parts(text);
        if ornament != self.ornament {
            return Reading::Not;
        }
        let Some(digits) = self.notation.plain(digits) else {
            // `inf` is the same in every notation.
            return if matches!(plain(text), Reading::NotFinite) { Reading::NotFinite } else { Reading::Not };
        };
        match digits.parse::<f64>() {
            Ok(value) => Reading::of(if is_negative { -value } else { value }),
            Err(_) => Reading::Not,
        }
    }
}

/// Which notations read a text that need not be plain, a bit for each of [`Notation::ALL`], and its ornament.
pub fn notations(text: &str) -> (u8, Option<Ornament>) {
    let (_, digits, ornament) = parts(text);
    // None of them begins with anything else, or has a sign elsewhere than in an exponent.
    let bytes = digits.as_bytes();
    let is_sign = |pair: &[u8]| matches!(pair[1], b'-' | b'+') && !matches!(pair[0], b'e' | b'E');
    if !matches!(bytes.first(), Some(b'0'..=b'9' | b'.' | b',')) || bytes.windows(2).any(is_sign) {
        return (0, ornament);
    }
    let reads = |(bit, notation): (usize, &Notation)| u8::from(notation.plain(digits).is_some()) << bit;
    (Notation::ALL.iter().enumerate().map(reads).sum(), ornament)
}

/// What stands behind the sign of a currency, or all where none is in front.
pub fn behind_currency(text: &str) -> &str {
    text.strip_prefix(CURRENCIES).map_or(text, str::trim_start)
}

/// Whether the decimal mark of a number with marks is a comma, where all notations that read it agree.
pub fn decimal_comma(text: &str) -> Option<bool> {
    let bits = notations(text).0;
    let reads = |(bit, _): &(usize, Notation)| bits >> bit & 1 == 1;
    let mut commas = Notation::ALL.into_iter().enumerate().filter(reads).map(|(_, notation)| notation.has_comma());
    let first = commas.next()?;
    commas.all(|has_comma| has_comma == first).then_some(first)
}

/// What names a currency in front of a number, where its sign alone does not: `CHF 4.50`, `R$4.50`, `kr. 4,50`.
pub fn currency_in_front(text: &str) -> Option<&str> {
    let (front, number) = text.split_at(text.find(|c: char| c.is_ascii_digit())?);
    let name = front.trim_end();
    let letters = name.trim_end_matches(CURRENCIES).trim_end_matches('.');
    let is_name = match letters.len() == name.len() {
        // Codes of goods stand so, too, but without a blank.
        true => letters.len() == 3 && letters.bytes().all(|byte| byte.is_ascii_uppercase()) && name.len() < front.len(),
        false => (1..=3).contains(&letters.len()) && letters.bytes().all(|byte| byte.is_ascii_alphabetic()),
    };
    (is_name && notations(number).0 != 0).then_some(name)
}

/// A boolean in words.
pub fn boolean(text: &str) -> Option<bool> {
    match text.len() {
        4 if text.eq_ignore_ascii_case("true") => Some(true),
        3 if text.eq_ignore_ascii_case("yes") => Some(true),
        5 if text.eq_ignore_ascii_case("false") => Some(false),
        2 if text.eq_ignore_ascii_case("no") => Some(false),
        _ => None,
    }
}

/// Whether a text is a UUID: 32 hexadecimal digits in five groups.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Whether a text is two whole numbers with a sign between them: `9/5`, `50-59`.
pub fn is_pair(text: &str) -> bool {
    let is_number = |part: &str| (1..=9).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = text.split_once(['/', '-', '\u{2013}']);
    parts.is_some_and(|(one, other)| is_number(one.trim_end()) && is_number(other.trim_start()))
}

/// Whether a number has two digits between its commas, three behind the last, and perhaps decimals: true where no other notation reads
/// it, false where `12,345` or `12` may be either, none of anything else.
pub fn is_in_lakhs(text: &str) -> Option<bool> {
    let (_, digits, _) = parts(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let is_of_digits =
        |group: &str, most: usize| (1..=most).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_digit());
    if !part.is_empty() && !is_of_digits(part, part.len()) {
        return None;
    }
    let Some((front, last)) = whole.rsplit_once(',') else { return is_of_digits(whole, 3).then_some(false) };
    let mut groups = front.split(',');
    let first = groups.next()?;
    let are_two = groups.clone().all(|group| group.len() == 2 && is_of_digits(group, 2));
    let is_one = last.len() == 3 && is_of_digits(last, 3) && is_of_digits(first, 2) && are_two;
    is_one.then(|| groups.next().is_some())
}

/// Whether a text is a word, such as nobody writes for a number by mistake: three letters or more.
pub fn is_word(text: &str) -> bool {
    text.chars().count() >= 3 && text.chars().all(char::is_alphabetic)
}

/// Whether a text is a code of digits with one letter in front or behind: `136A`, `c168`.
pub fn is_code(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic();
    let digits = text.strip_prefix(is_letter).or_else(|| text.strip_suffix(is_letter));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a text is a code that would lose digits as a number: `00123`.
pub fn has_leading_zero(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(notation: Notation, ornament: Option<Ornament>) -> NumberForm {
        NumberForm { notation, ornament }
    }

    #[test]
    fn numbers_are_read_in_every_notation_and_only_in_theirs() {
        use Notation::*;
        let cases: [(&str, Notation, f64); 23] = [
            ("-1.5", Point, -1.5),
            ("2E3", Point, 2e3),
            (".5", Point, 0.5),
            ("1,234,567.5", PointGrouped, 1_234_567.5),
            ("-12,345", PointGrouped, -12_345.0),
            ("10,000", PointGrouped, 10_000.0),
            ("1,5", Comma, 1.5),
            ("-,5", Comma, -0.5),
            ("1,5e-3", Comma, 1.5e-3),
            ("1.234,5", CommaGrouped, 1_234.5),
            ("1.234", CommaGrouped, 1_234.0),
            ("1 234 567.5", SpacedPoint, 1_234_567.5),
            ("1'234", SpacedPoint, 1_234.0),
            ("1\u{a0}234,5", SpacedComma, 1_234.5),
            ("\u{2212}7", Comma, -7.0),
            ("(1,234.5)", PointGrouped, -1_234.5),
            ("( 7 )", Point, -7.0),
            ("1.234,50-", CommaGrouped, -1_234.5),
            ("12,-", Comma, 12.0),
            ("12,--", Comma, 12.0),
            ("-12.-", Point, -12.0),
            ("1.234,–", CommaGrouped, 1_234.0),
            ("(1'200.-)", SpacedPoint, -1_200.0),
        ];
        for (text, notation, value) in cases {
            assert_eq!(form(notation, None).read(text), Reading::Number(value), "{text}");
        }
        let not = [
            ("1,234", Point),
            ("12,34", PointGrouped),
            ("1234,567", PointGrouped),
            ("1,2345", PointGrouped),
            ("1,,234", PointGrouped),
            (",234", PointGrouped),
            ("0,875", PointGrouped),
            ("00,875", PointGrouped),
            ("-0 875", SpacedPoint),
            ("1.5", Comma),
            ("1,2,3", Comma),
            ("1.5,2", CommaGrouped),
            ("1  234", SpacedPoint),
            ("", Point),
            ("-", Comma),
            ("e5", Point),
            ("1e", Comma),
            ("0x10", Point),
            ("1_000", Point),
            ("2-", Point),
            ("(-5)", Point),
            ("-5.0-", Point),
            ("12,-", PointGrouped),
            ("12, -", Comma),
            ("12-", Comma),
            (",-", Comma),
            (".-", Point),
            ("(5", Point),
            ("()", Comma),
            ("((5))", Point),
        ];
        for (text, notation) in not {
            assert_eq!(form(notation, None).read(text), Reading::Not, "{text}");
        }
    }

    proptest! {
        #[test]
        fn numbers_that_may_have_points_between_thousands_are_those_that_the_notation_reads(
            text in "[-+]?[0-9]{0,9}[.]?[0-9]{0,9}",
            long in any::<f64>(),
        ) {
            for text in [text, long.to_string(), format!("{long:e}"), format!("{:.3}", long % 1e4)] {
                let form = form(Notation::CommaGrouped, None);
                let is_plain = matches!(plain(&text), Reading::Number(_)) && text.contains('.');
                prop_assert!(!is_plain || may_be_thousands(&text) == matches!(form.read(&text), Reading::Number(_)), "{text}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_told_from_what_is_no_number() {
        for text in ["inf", "-Infinity", "1e400", "1e141", "NaN", "INF", "nan"] {
            assert_eq!(plain(text), Reading::NotFinite, "{text}");
            assert_eq!(plain_unless_name(text), Reading::NotFinite, "{text}");
            assert_eq!(form(Notation::Comma, None).read(text), Reading::NotFinite, "{text}");
        }
        assert_eq!(form(Notation::PointGrouped, None).read("infinite"), Reading::Not);
    }

    #[test]
    fn ornaments_belong_to_the_number_and_only_where_the_form_has_them() {
        let dollars = form(Notation::PointGrouped, Some(Ornament::Currency('$')));
        for text in ["$1,234.5", "$ 1,234.5", "1,234.5$", "+$1,234.5"] {
            assert_eq!(dollars.read(text), Reading::Number(1_234.5), "{text}");
        }
        for text in ["$12.-", "12.- $", "12.-$"] {
            assert_eq!((dollars.read(text), notations(text).1), (Reading::Number(12.0), dollars.ornament), "{text}");
        }
        for text in ["-$5", "$-5", "($5)", "($ 5.00)", "(5.0$)", "$5.0-"] {
            assert_eq!(dollars.read(text), Reading::Number(-5.0), "{text}");
        }
        assert_eq!([dollars.read("5"), dollars.read("€5"), dollars.read("5%")], [Reading::Not; 3]);
        let percent = form(Notation::Comma, Some(Ornament::Percent));
        assert_eq!([percent.read("12,5 %"), percent.read("12,5%")], [Reading::Number(12.5); 2]);
        assert_eq!(form(Notation::Point, None).read("5%"), Reading::Not);
    }

    #[test]
    fn names_of_currencies_are_told_from_codes_of_goods() {
        for (text, name) in [("CHF 82'914.47", "CHF"), ("R$ 2.622,65", "R$"), ("US$4", "US$"), ("kr. 936,32", "kr.")] {
            assert_eq!(currency_in_front(text), Some(name), "{text}");
        }
        for text in ["CHF82", "item 3", "$ 5", "CHF", "CHF 1-2", "chf 5", ""] {
            assert_eq!(currency_in_front(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_in_lakhs_and_pairs_are_told_from_others() {
        let found = ["1,39,750", "₹ 12,34,567.50", "79,750", "950"].map(is_in_lakhs);
        assert_eq!(found, [Some(true), Some(true), Some(false), Some(false)]);
        for text in ["139,750", "1,39,75", "1,2,3", "1,39,750x", "", ",", "1,,750", "1234", "1,39,750."] {
            assert!(is_in_lakhs(text) != Some(true) || text.ends_with('.'), "{text}");
        }
        assert!(["9/5", "50-59", "120 / 80", "10–19"].into_iter().all(is_pair));
        assert!(!["9", "9/", "-5", "a/b", "1/2/3", "9-a"].into_iter().any(is_pair));
    }

    #[test]
    fn names_of_notations_and_ornaments_bring_them_back() {
        for notation in Notation::ALL {
            assert_eq!(Notation::named(notation.name()), Some(notation));
        }
        for ornament in [Ornament::Percent, Ornament::Currency('€')] {
            assert_eq!(Ornament::named(&ornament.to_string()), Some(ornament));
        }
        assert_eq!(Ornament::named("x"), None);
    }
}

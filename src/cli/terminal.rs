//! The width of the terminal, and text within it. Owns the wrapping of sentences; does not know what they say.

use std::io::{self, IsTerminal as _};

/// Columns where there is no terminal: what is piped looks the same everywhere.
const PIPED_COLUMNS: usize = 80;

/// Columns of the terminal that stdout is; 80 if it is none.
pub fn columns() -> usize {
    let told = if io::stdout().is_terminal() { told() } else { 0 };
    if told > 0 { told } else { PIPED_COLUMNS }
}

/// What the terminal says of itself; 0 where it says nothing.
#[allow(unsafe_code)]
fn told() -> usize {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: ioctl(2) with TIOCGWINSZ writes one winsize to where it is told, which is one that lives.
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    if result == 0 { size.ws_col.into() } else { 0 }
}

/// Adds a sentence's words to a text whose last line is `column` columns wide: in lines of at most `columns`, all but the
/// first of which begin at `indent`. What stands in brackets at the end, like `[default: 1]`, is not torn.
pub fn wrap(text: &mut String, mut column: usize, indent: usize, columns: usize, sentence: &str) {
    let untorn = sentence.rfind('[').filter(|&at| at > 0 && sentence.ends_with(']'));
    let (words, last) = untorn.map_or((sentence, None), |at| (sentence[..at].trim_end(), Some(&sentence[at..])));
    for (index, word) in words.split(' ').chain(last).enumerate() {
        let width = word.chars().count();
        if index > 0 && column + 1 + width > columns {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if index > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_wrapped_at_the_width_and_its_default_is_not_torn() {
        let mut text = "--lid  ".to_owned();
        wrap(&mut text, 7, 7, 24, "Metal of the lid, not lead [default: tin]");
        assert_eq!(text, "--lid  Metal of the lid,\n       not lead\n       [default: tin]");
        let mut long = String::new();
        wrap(&mut long, 0, 2, 10, "a word-that-is-longer than the line");
        assert_eq!(long, "a\n  word-that-is-longer\n  than the\n  line");
    }
}

//! Tables, as screen readers want them: a caption, and heads that say what they are the heads of. Owns their markup.

use std::fmt::Display;

use super::html::{Attributes, Html};

/// A cell.
pub enum Cell {
    /// What its row is about.
    Head(String),
    /// Words.
    Text(String),
    /// A number.
    Number(String),
}

/// A table with a caption, a head for each column, and rows of as many cells. A head that begins with `#` is of numbers, and is
/// written without. It scrolls by itself where it is too wide.
pub fn table<const N: usize>(
    html: &mut Html,
    caption: impl Display,
    titles: [&'static str; N],
    rows: impl IntoIterator<Item = [Cell; N]>,
) {
    let label = caption.to_string();
    // What scrolls can be reached by keyboard.
    let scroll: Attributes<'_> =
        &[("class", &"scroll"), ("role", &"region"), ("aria-label", &label), ("tabindex", &"0")];
    html.element("div", scroll, |html| {
        html.element("table", &[], |html| {
            html.line("caption", &[], &label);
            html.element("thead", &[], |html| {
                html.element("tr", &[], |html| {
                    for title in titles {
                        match title.strip_prefix('#') {
                            Some(title) => html.line("th", &[("scope", &"col"), ("class", &"n")], title),
                            None => html.line("th", &[("scope", &"col")], title),
                        }
                    }
                });
            });
            html.markup("\n");
            html.element("tbody", &[], |html| {
                for row in rows {
                    html.element("tr", &[], |html| row.iter().for_each(|cell| cell.write(html)));
                    html.markup("\n");
                }
            });
        });
    });
    html.markup("\n");
}

impl Cell {
    fn write(&self, html: &mut Html) {
        match self {
            Cell::Head(text) => html.line("th", &[("scope", &"row")], text),
            Cell::Text(text) => html.line("td", &[], text),
            Cell::Number(text) => html.line("td", &[("class", &"n")], text),
        }
    }
}

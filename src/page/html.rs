//! HTML in the making. Owns the escaping, which has no way around it: markup is written in the source, and whatever is not stands
//! as text. Does not know what a page says.

use std::fmt::{self, Display, Write as _};

use crate::wire::text::shown;

/// Attributes of an element: names from the source, values from anywhere.
pub type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

/// A piece of a page. Names of elements and attributes are `&'static str`; all that comes from data goes through
/// [`Html::text`] or an attribute's value, and is escaped there.
#[derive(Clone, Debug, Default)]
pub struct Html(String);

impl Html {
    /// Nothing yet.
    pub fn new() -> Html {
        Html::default()
    }

    /// A piece of markup as it stands in the source.
    pub fn markup(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Text, whatever it holds.
    pub fn text(&mut self, text: impl Display) {
        // Writing to a String cannot fail.
        let _ = write!(Escaped(&mut self.0), "{text}");
    }

    /// An element with what `inside` puts into it.
    pub fn element(&mut self, name: &'static str, attributes: Attributes<'_>, inside: impl FnOnce(&mut Html)) {
        self.start(name, attributes);
        self.0.push('>');
        inside(self);
        let _ = write!(self.0, "</{name}>");
    }

    /// An element with a text in it.
    pub fn line(&mut self, name: &'static str, attributes: Attributes<'_>, text: impl Display) {
        self.element(name, attributes, |html| html.text(text));
    }

    /// An element of SVG with nothing in it.
    #[cfg(feature = "client")]
    pub fn shape(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.start(name, attributes);
        self.0.push_str("/>");
    }

    /// Another piece behind this one.
    pub fn append(&mut self, piece: Html) {
        self.0.push_str(&piece.0);
    }

    /// The page.
    pub fn into_string(self) -> String {
        self.0
    }

    fn start(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.0.push('<');
        self.0.push_str(name);
        for (name, value) in attributes {
            let _ = write!(self.0, " {name}=\"");
            let _ = write!(Escaped(&mut self.0), "{value}");
            self.0.push('"');
        }
    }
}

/// Takes text and writes it as HTML shows it, between tags and between quotes.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // What turns the direction of writing would do so in a browser too.
        for c in shown(text).to_string().chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// A text of so many characters at most, as it may be shown; what is left out shows.
pub fn cut(text: &str, characters_max: usize) -> String {
    let shown = shown(text).to_string();
    match shown.char_indices().nth(characters_max) {
        // Only this much of a long text is looked at again.
        Some((end, _)) => format!("{}\u{2026}", &shown[..end]),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_text_holds_it_is_neither_a_tag_nor_the_end_of_an_attribute() {
        let mut html = Html::new();
        let name = "</td><script>alert('x')</script>\" onload=\"&amp;\u{202e}\n";
        html.element("td", &[("title", &name)], |html| html.text(name));
        let escaped =
            "&lt;/td&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot; onload=&quot;&amp;amp;\\u{202e}\\n";
        assert_eq!(html.into_string(), format!("<td title=\"{escaped}\">{escaped}</td>"));
    }

    #[test]
    fn texts_are_cut_at_characters_and_short_ones_stay() {
        assert_eq!(cut("\u{e9}\u{e9}\u{e9}", 2), "\u{e9}\u{e9}\u{2026}");
        assert_eq!(cut("ab", 2), "ab");
        assert_eq!(cut("\n", 8), "\\n");
    }
}

//! Pages for browsers: one file each, with nothing from elsewhere, no script, and the same look everywhere. Owns the frame, the
//! style and the escaping; does not know what a page says.
//!
//! | module | owns |
//! |---|---|
//! | `html` | markup in the making, and that no text can become markup |
//! | `table` | tables |

mod html;
mod table;

pub use html::{Html, cut};
pub use table::{Cell, table};

const STYLE: &str = include_str!("style.css");

/// A part of a page that its list of contents leads to.
pub struct Section {
    /// What leads to it; a word.
    pub anchor: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What it holds.
    pub body: Html,
}

/// A whole page: its title, what stands below it, and its parts.
pub fn page(title: &str, lead: Html, sections: Vec<Section>) -> String {
    let mut html = Html::new();
    html.markup(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<style>\n",
    );
    html.markup(STYLE);
    html.markup("</style>\n");
    html.line("title", &[], title);
    html.markup("\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to the content</a>\n<header>\n");
    html.line("h1", &[], title);
    html.append(lead);
    html.markup("\n</header>\n");
    if sections.len() > 2 {
        html.element("nav", &[("aria-label", &"Contents")], |html| {
            html.element("ul", &[], |html| {
                for section in &sections {
                    html.element("li", &[], |html| {
                        html.line("a", &[("href", &format_args!("#{}", section.anchor))], section.title);
                    });
                }
            });
        });
    }
    html.markup("\n<main id=\"main\" tabindex=\"-1\">\n");
    for Section { anchor, title, body } in sections {
        let heading = format!("{anchor}-heading");
        html.element("section", &[("id", &anchor), ("aria-labelledby", &heading)], |html| {
            html.line("h2", &[("id", &heading)], title);
            html.markup("\n");
            html.append(body);
        });
        html.markup("\n");
    }
    html.markup("</main>\n<footer>\n<p>gradwire ");
    html.text(env!("CARGO_PKG_VERSION"));
    html.markup("</p>\n</footer>\n</body>\n</html>\n");
    html.into_string()
}

/// Names and values.
pub fn values(html: &mut Html, values: &[(impl AsRef<str>, impl AsRef<str>)]) {
    html.element("dl", &[], |html| {
        for (name, value) in values {
            html.element("div", &[], |html| {
                html.line("dt", &[], name.as_ref());
                html.line("dd", &[], value.as_ref());
            });
            html.markup("\n");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_asks_for_nothing_and_runs_nothing() {
        let mut body = Html::new();
        values(&mut body, &[("<b>", "&")]);
        let section = Section { anchor: "one", title: "One", body };
        let page = page("</title><script>", Html::new(), vec![section]);
        assert_eq!(page.matches("<script").count(), 0);
        assert!(page.contains("<dt>&lt;b&gt;</dt><dd>&amp;</dd>"));
        assert!(page.contains("<title>&lt;/title&gt;&lt;script&gt;</title>"));
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains('<'));
        assert!(!page.contains("src=") && !page.contains("http://") && !page.contains("https://"));
    }
}

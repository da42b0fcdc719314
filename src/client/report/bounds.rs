//! How much of what comes from elsewhere a report takes.

use crate::page::{Html, cut};

/// Characters of a name, at most.
pub(super) const NAME_MAX: usize = 60;
/// Of a sentence.
pub(super) const SENTENCE_MAX: usize = 300;

/// A sentence that explains something.
pub(super) fn soft(html: &mut Html, text: &str) {
    html.line("p", &[("class", &"soft")], cut(text, SENTENCE_MAX));
}

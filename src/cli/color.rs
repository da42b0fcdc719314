//! Colours of what is printed to a person. Owns whether there are any, and which; does not know what is printed.

use std::io::{self, IsTerminal as _};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this program's output is coloured. Said once, at the start.
static IS_COLOURED: AtomicBool = AtomicBool::new(false);

/// When there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// On a terminal that can show them, unless the environment has a `NO_COLOR`.
    Auto,
    /// In pipes and files too.
    Always,
    /// Nowhere.
    Never,
}

impl FromStr for Color {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Color, &'static str> {
        match text {
            "auto" => Ok(Color::Auto),
            "always" => Ok(Color::Always),
            "never" => Ok(Color::Never),
            _ => Err("there are auto, always and never"),
        }
    }
}

impl Color {
    /// From now on this is how it is.
    pub fn choose(self) {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let (no_color, terminal) = (variable("NO_COLOR").is_some(), variable("TERM"));
        let can_show = io::stdout().is_terminal() && terminal.is_some_and(|terminal| terminal != "dumb");
        IS_COLOURED.store(self.is_shown(no_color, can_show), Ordering::Relaxed);
    }

    fn is_shown(self, no_color: bool, can_show: bool) -> bool {
        match self {
            Color::Auto => can_show && !no_color,
            Color::Always => true,
            Color::Never => false,
        }
    }
}

/// What a colour says; the words say it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// All is well, or as good as it gets.
    Good,
    /// Something is to be done.
    Bad,
    /// What one looks at first.
    Plot,
}

impl Paint {
    /// A text in this colour, where there are colours (ECMA-48: SGR).
    pub fn over(self, text: &str) -> String {
        if !IS_COLOURED.load(Ordering::Relaxed) {
            return text.to_owned();
        }
        let code = match self {
            Paint::Good => 32,
            Paint::Bad => 31,
            Paint::Plot => 36,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_shown_where_they_can_be_and_are_not_unwanted() {
        for (color, no_color, can_show, shown) in [
            (Color::Auto, false, true, true),
            (Color::Auto, true, true, false),
            (Color::Auto, false, false, false),
            (Color::Always, true, false, true),
            (Color::Never, false, true, false),
        ] {
            assert_eq!(color.is_shown(no_color, can_show), shown, "{color:?}");
        }
        assert!("sometimes".parse::<Color>().is_err());
    }
}

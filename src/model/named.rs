//! The names of choices, as people type and read them. Owns how a type gets them, and the error about another; does not know the
//! choices.

use std::fmt;

/// Gives a type the names that people write and read for its members.
macro_rules! named {
    ($type:ident: $($member:ident $name:literal),+ $(,)?) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $($type::$member => $name,)+ })
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::model::named::UnknownName;

            fn from_str(name: &str) -> Result<$type, Self::Err> {
                match name {
                    $($name => Ok($type::$member),)+
                    _ => Err($crate::model::named::UnknownName { known: &[$($name),+] }),
                }
            }
        }
    };
}
pub(super) use named;

/// A text that names no member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// The names that there are.
    pub known: &'static [&'static str],
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "must be one of {}", self.known.join(", "))
    }
}

impl std::error::Error for UnknownName {}

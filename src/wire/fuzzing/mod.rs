//! What the fuzz targets of the wire assert, kept here so that a stable test can replay their inputs. One function for
//! each target under `fuzz/`, which panics when the wire breaks a promise. Owns the assertions; does not know how inputs
//! are found.

mod dialogue;
mod payload;
mod roundtrip;
mod side;
mod stream;
mod text;
mod values;

pub use dialogue::session;
pub use payload::check_payload;
pub use roundtrip::message_roundtrip;
pub use stream::{frame_decode, split_independent};
pub use text::text_line;

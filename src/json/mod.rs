//! The value model: one arena per execution, and a value that is a 16-byte `Copy` record pointing into it.
//!
//! * A scalar is complete in its [`Value`]; a string is a span of the arena's text; an array or object points to a
//!   block of child values. Passing data from state to state copies 16 bytes; aliasing a subtree costs the same.
//! * Values are immutable once made. A builder pushes children on the arena's stack and closes them into a block.
//! * Every container knows its serialized size and its depth, so the 262,144-byte payload limit is one comparison.
//! * The bytes of an input are copied once into the text; strings without escapes, and numbers that are written the way
//!   they were read, stay spans of it. A container that was read in canonical form is written by copying its span.
//!
//! What this is not: it does not know states or executions, and a [`Value`] is only meaningful with the [`Arena`] it
//! was made in.

mod arena;
mod bridge;
mod compact;
mod de;
mod equal;
pub mod explain;
mod growth;
mod held;
#[cfg_attr(not(feature = "api"), allow(dead_code, reason = "only the API has JSON inside of JSON"))]
pub(crate) mod inside;
mod names;
mod number;
mod pace;
mod read;
mod room;
mod ser;
pub mod source;
mod value;
mod write;
#[cfg(feature = "yaml")]
pub mod yaml;

pub use arena::{Arena, Entries, Key, Mark, TextMark};
pub use bridge::{Error, ErrorKind};
pub use compact::Compactor;
pub(crate) use compact::Since;
pub use de::from_value;
pub use equal::{compare_utf16, equal};
#[cfg(feature = "runtime")]
pub(crate) use held::Held;
pub use number::{Number, shortest};
pub(crate) use read::read_in_pieces;
pub use read::{ReadError, ReadErrorKind, read};
pub use ser::to_value;
pub use value::{Kind, Value};
pub(crate) use write::COPIED_AT_ONCE;
#[cfg(feature = "api")]
pub(crate) use write::write_inside;
pub use write::{to_string, write, write_string};

//! JSON text to values.
use super::{Arena, Value};
/// Why a text is not JSON, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// What is wrong.
    pub kind: ReadErrorKind,
    /// Byte offset.
    pub offset: usize,
}
/// What is wrong with a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadErrorKind {
    /// The text ends too early.
    UnexpectedEnd,
}
/// Reads one JSON text into the arena.
pub fn read(_arena: &mut Arena, _text: &[u8]) -> Result<Value, ReadError> {
    Err(ReadError { kind: ReadErrorKind::UnexpectedEnd, offset: 0 })
}

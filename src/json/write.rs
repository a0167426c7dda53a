//! Values to JSON text.
use super::{Arena, Value};
/// Appends the value as compact JSON.
pub fn write(_arena: &Arena, _value: Value, _out: &mut Vec<u8>) {}
/// The value as compact JSON.
pub fn to_string(arena: &Arena, value: Value) -> String {
    let mut out = Vec::new();
    write(arena, value, &mut out);
    String::from_utf8(out).unwrap_or_default()
}
/// Appends `text` as a JSON string, quoted and escaped.
pub fn write_string(_text: &str, _out: &mut Vec<u8>) {}

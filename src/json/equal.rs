//! Equality and order of values.

use super::{Arena, Kind, Value};

/// Deep equality: numbers by value (`1` equals `1.0`), objects without regard to the order of their members.
pub fn equal(arena: &Arena, a: Value, b: Value) -> bool {
    match (a.kind(), b.kind()) {
        (Kind::String, Kind::String) => arena.same_text(a, b),
        (Kind::Array, Kind::Array) => {
            a.len() == b.len()
                && (a.at() == b.at()
                    || arena.items(a).iter().zip(arena.items(b)).all(|(&x, &y)| equal(arena, x, y)))
        }
        (Kind::Object, Kind::Object) => {
            a.len() == b.len()
                && (a.at() == b.at()
                    || arena
                        .entries(a)
                        .all(|(key, x)| arena.get_value(b, key).is_some_and(|y| equal(arena, x, y))))
        }
        _ => match (arena.number(a), arena.number(b)) {
            (Some(x), Some(y)) => x.compare(y) == Some(std::cmp::Ordering::Equal),
            (None, None) => {
                a.kind() == b.kind()
                    && a.count() == b.count()
                    && (a.kind() != Kind::Opaque || a.at() == b.at())
            }
            _ => false,
        },
    }
}

/// The order of two texts by UTF-16 code units, which is how Java and JavaScript compare strings.
pub fn compare_utf16(a: &str, b: &str) -> std::cmp::Ordering {
    // Only characters beyond U+FFFF sort differently from their UTF-8 bytes.
    match a.bytes().chain(b.bytes()).any(|byte| byte >= 0xEE) {
        false => a.as_bytes().cmp(b.as_bytes()),
        true => a.encode_utf16().cmp(b.encode_utf16()),
    }
}

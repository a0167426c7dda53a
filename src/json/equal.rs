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
        (Kind::Decimal, Kind::Decimal) => match (arena.long_integer(a), arena.long_integer(b)) {
            (Some(x), Some(y)) => x == y,
            _ => same_scalar(arena, a, b),
        },
        _ => same_scalar(arena, a, b),
    }
}

fn same_scalar(arena: &Arena, a: Value, b: Value) -> bool {
    match (arena.number(a), arena.number(b)) {
        (Some(x), Some(y)) => x.compare(y) == Some(std::cmp::Ordering::Equal),
        (None, None) => {
            a.kind() == b.kind() && a.count() == b.count() && (a.kind() != Kind::Opaque || a.at() == b.at())
        }
        _ => false,
    }
}

/// The order of two texts by UTF-16 code units, which is how Java and JavaScript compare strings.
pub fn compare_utf16(a: &str, b: &str) -> std::cmp::Ordering {
    // Only where characters beyond U+FFFF meet others do UTF-16 and UTF-8 differ, and only the first difference counts.
    let same = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let at = a.floor_char_boundary(same);
    let next = |text: &str| text[at..].chars().next();
    match (next(a), next(b)) {
        (Some(x), Some(y)) => x.encode_utf16(&mut [0; 2]).cmp(&y.encode_utf16(&mut [0; 2])),
        (x, y) => x.is_some().cmp(&y.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::compare_utf16;

    #[test]
    fn texts_stand_in_the_order_of_their_utf16_code_units() {
        let texts = [
            "",
            "a",
            "ab",
            "b",
            "é",
            "\u{e000}",
            "\u{ffff}",
            "\u{10000}",
            "a\u{10000}",
            "a\u{ffff}",
            "😀",
            "😁",
            "😀a",
            "\u{10ffff}x",
        ];
        for a in texts {
            for b in texts {
                assert_eq!(compare_utf16(a, b), a.encode_utf16().cmp(b.encode_utf16()), "{a:?} {b:?}");
            }
        }
    }
}

//! Java's format of values. AWS's interpreter is written in Java, and the printed form of its collections and numbers
//! appears in the output of `States.Format` and in error causes.

use crate::json::{Arena, Kind, Number, Value};

/// Appends the result of the Java value's `toString`: a text without quotes, `{a=1, b=[x, null]}`, doubles as by
/// `Double.toString`.
///
/// The depth is bounded by the reader and the makers of values.
pub fn write(arena: &Arena, value: Value, out: &mut String) {
    match value.kind() {
        Kind::String => out.push_str(arena.str(value)),
        Kind::Array => {
            out.push('[');
            for (i, &item) in arena.items(value).iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                write(arena, item, out);
            }
            out.push(']');
        }
        Kind::Object => {
            out.push('{');
            for (i, (key, member)) in arena.entries(value).enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                out.push_str(arena.str(key));
                out.push('=');
                write(arena, member, out);
            }
            out.push('}');
        }
        Kind::Bool => out.push_str(if value.as_bool() == Some(true) { "true" } else { "false" }),
        _ => match arena.number(value) {
            Some(Number::Int(int)) => out.push_str(itoa::Buffer::new().format(int)),
            Some(Number::Float(float)) => match arena.long_integer(value) {
                Some(digits) => out.push_str(digits),
                None => write_double(float, out),
            },
            None => out.push_str("null"),
        },
    }
}

/// Appends the result of `Double.toString`: at least one digit behind the point, an exponent outside of 10^-3 … 10^7.
pub fn write_double(float: f64, out: &mut String) {
    if !float.is_finite() {
        let sign = if float < 0.0 { "-" } else { "" };
        out.push_str(if float.is_nan() { "NaN" } else { sign });
        out.push_str(if float.is_nan() { "" } else { "Infinity" });
        return;
    }
    if float == 0.0 || (1e-3..1e7).contains(&float.abs()) {
        let text = float.to_string();
        out.push_str(&text);
        out.push_str(if text.contains('.') { "" } else { ".0" });
        return;
    }
    let text = format!("{float:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => {
            out.push_str(digits);
            out.push_str(".0E");
            out.push_str(exponent);
        }
        _ => out.push_str(&text),
    }
}

/// The `hashCode` of a Java string: over UTF-16 code units.
pub fn hash_text(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The number of buckets of a `HashMap` or `HashSet` after so many insertions.
pub fn buckets(entries: usize) -> usize {
    grown(16, entries)
}

/// The number of buckets of a `HashMap` copied from a map with so many entries.
pub fn buckets_of_copy(entries: usize) -> usize {
    (entries * 4 / 3 + 1).next_power_of_two()
}

/// The number of buckets with so many entries: it doubles when they exceed three quarters of it.
pub fn grown(mut buckets: usize, entries: usize) -> usize {
    while entries > buckets * 3 / 4 {
        buckets *= 2;
    }
    buckets
}

/// The bucket of an entry; iteration goes from bucket to bucket.
pub fn bucket(hash: i32, buckets: usize) -> usize {
    let spread = hash as u32 ^ (hash as u32 >> 16);
    spread as usize & (buckets - 1)
}

/// The `hashCode` of a JSON value's Java object (`null`, `Boolean`, `Integer` or `Long`, `Double`, `String`, `List`,
/// `Map`).
pub fn hash(arena: &Arena, value: Value) -> i32 {
    match value.kind() {
        Kind::String => hash_text(arena.str(value)),
        Kind::Array => arena
            .items(value)
            .iter()
            .fold(1i32, |sum, &item| sum.wrapping_mul(31).wrapping_add(hash(arena, item))),
        Kind::Object => arena.entries(value).fold(0i32, |sum, (key, member)| {
            sum.wrapping_add(hash_text(arena.str(key)) ^ hash(arena, member))
        }),
        Kind::Bool => {
            if value.as_bool() == Some(true) {
                1231
            } else {
                1237
            }
        }
        _ => match arena.number(value) {
            // An integer within 32 bits is its own hash; a long combines its halves.
            Some(Number::Int(int)) => {
                i32::try_from(int).unwrap_or((int ^ ((int as u64) >> 32) as i64) as i32)
            }
            Some(Number::Float(float)) => {
                let bits = float.to_bits();
                (bits ^ (bits >> 32)) as i32
            }
            None => 0,
        },
    }
}

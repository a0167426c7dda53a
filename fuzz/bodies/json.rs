//! Any text, JSON or not: accepted, refused and parsed as by serde_json, and unchanged after every round trip.

use expressway::json::{self, Arena, Compactor, ReadErrorKind};
use serde::de::Deserialize;

pub(crate) fn run(text: &[u8]) {
    let mut arena = Arena::new();
    // serde_json stops at 128 levels by default; beyond our own limit there is nothing to compare.
    let found = json::read(&mut arena, text);
    if matches!(found, Err(error) if error.kind == ReadErrorKind::TooDeep) {
        return;
    }
    let expected = expected(text);
    assert_eq!(found.is_ok(), expected.is_ok(), "{found:?} {expected:?}");
    let (value, expected) = match (found, expected) {
        (Ok(value), Ok(expected)) => (value, expected),
        (Err(error), _) => return assert!(error.offset <= text.len()),
        _ => return,
    };
    let tree: serde_json::Value = json::from_value(&arena, value).unwrap();
    assert!(same(&tree, &expected), "{tree} {expected}");

    let written = json::to_string(&arena, value);
    assert_eq!(written.len(), arena.size(value) as usize, "size");
    let again = json::read(&mut arena, written.as_bytes()).unwrap();
    assert!(json::equal(&arena, value, again), "what is written reads as what was written");
    assert_eq!(json::to_string(&arena, again), written, "what is written is canonical");
    let built = json::to_value(&mut arena, &tree).unwrap();
    assert!(json::equal(&arena, value, built));
    let mut moved = value;
    Compactor::new().compact(&mut arena, |visit| visit(&mut moved));
    assert_eq!(json::to_string(&arena, moved), written, "compaction changes nothing");
}

fn expected(text: &[u8]) -> serde_json::Result<serde_json::Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    deserializer.disable_recursion_limit();
    let value = serde_json::Value::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// The same value, but for the last bits of a double (many of a subnormal one), which serde_json does not get right by
/// default, and `-0`, which is an integer here.
fn same(found: &serde_json::Value, expected: &serde_json::Value) -> bool {
    use serde_json::Value::*;
    match (found, expected) {
        (Number(found), Number(expected)) => match (found.as_f64(), expected.as_f64()) {
            _ if expected.is_i64() => found == expected,
            (Some(found), Some(expected)) => (found - expected).abs() <= expected.abs() * 1e-15 + 1e-307,
            _ => false,
        },
        (Array(found), Array(expected)) => {
            found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| same(a, b))
        }
        (Object(found), Object(expected)) => {
            let keys = found.keys().eq(expected.keys());
            keys && found.values().zip(expected.values()).all(|(a, b)| same(a, b))
        }
        _ => found == expected,
    }
}

//! Data of an `ItemReader` that is read as a whole: a JSON object, or a value in it (developer guide, "ItemReader").

use super::holding::Hold;
use crate::fault::{self, Fault};
use crate::fuel::Fuel;
use crate::json::{self, Arena, Value};

/// Bytes of an item that is read, before `ItemSelector` (AWS: 8 MB).
pub(super) const ITEM_BYTES_MAX: usize = 8 << 20;
/// How many values such data may have, and the bytes of one.
const WHOLE_VALUES_MAX: usize = 12 << 20;
const VALUE_BYTES: usize = size_of::<Value>();
/// Work of reading a byte of JSON.
const JSON_BYTE_WORK: u64 = 8;
/// Bytes that are looked at between two charges.
const PIECE_BYTES: usize = 256 << 10;

fn failed(cause: impl Into<String>) -> Fault {
    Fault::new(fault::ITEM_READER_FAILED, cause)
}

/// The items of an object, or of a nested value.
pub(super) struct Members {
    pub(super) arena: Arena,
    pub(super) of: Value,
    next: usize,
}

impl Members {
    pub(super) fn parse(
        text: &[u8],
        pointer: Option<&str>,
        hold: &Hold,
        fuel: &Fuel<'_>,
    ) -> Result<Members, Fault> {
        let values_max = values_max(text, fuel);
        if values_max > WHOLE_VALUES_MAX {
            return Err(failed("The data has too many values: use a JSON array, or JSONL"));
        }
        hold(2 * text.len() + values_max * VALUE_BYTES)?;
        let mut arena = Arena::new();
        let goes_on = |bytes: usize| fuel.charge(JSON_BYTE_WORK * bytes as u64).is_ok();
        let of = json::read_in_pieces(&mut arena, text, goes_on)
            .map_err(|error| failed(format!("The data {}: {error}", error.verdict())))?;
        let of = match pointer {
            None => Some(of),
            Some(pointer) => pointed(&arena, of, pointer),
        };
        // Measured.
        let nowhere =
            "The provided ReaderConfig.ItemsPointer does not match any valid path in the JSON structure.";
        let of = of.ok_or_else(|| failed(nowhere))?;
        // Recorded.
        if !of.is_container() {
            return Err(failed("Attempting to map over non-iterable node."));
        }
        Ok(Members { arena, of, next: 0 })
    }

    /// Writes the next item as JSON; false at the end.
    pub(super) fn next(&mut self, item: &mut Vec<u8>) -> Result<bool, Fault> {
        let Members { arena, of, next } = self;
        let at = std::mem::replace(next, *next + 1);
        let (key, value) = match (arena.entry(*of, at), arena.item(*of, at)) {
            (Some((key, value)), _) => (Some(key), value),
            (None, Some(value)) => (None, value),
            (None, None) => return Ok(false),
        };
        if arena.size(value) as usize > ITEM_BYTES_MAX {
            return Err(failed("An item is larger than 8 MB"));
        }
        item.clear();
        if let Some(key) = key {
            item.extend_from_slice(b"{\"Key\":");
            json::write(arena, key, item);
            item.extend_from_slice(b",\"Value\":");
        }
        json::write(arena, value, item);
        if key.is_some() {
            item.push(b'}');
        }
        Ok(true)
    }
}

/// How many values a text of JSON has at most.
fn values_max(text: &[u8], fuel: &Fuel<'_>) -> usize {
    let mut values = 1;
    for piece in text.chunks(PIECE_BYTES) {
        // When it is cut, reading ends at once.
        fuel.note(piece.len() as u64);
        values += piece.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count();
    }
    values
}

/// The value to which a JSON pointer (RFC 6901) leads.
fn pointed(arena: &Arena, from: Value, pointer: &str) -> Option<Value> {
    if pointer.is_empty() {
        return Some(from);
    }
    pointer.strip_prefix('/')?.split('/').try_fold(from, |value, token| {
        let token = token.replace("~1", "/").replace("~0", "~");
        if value.is_object() {
            return arena.get_str(value, &token);
        }
        let is_index = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
        let is_plain = token == "0" || !token.starts_with('0');
        token.parse().ok().filter(|_| is_index && is_plain).and_then(|index| arena.item(value, index))
    })
}

//! Reserves room in a large arena, piece by piece. A vector that grows copies all it holds at once, and first touching
//! fresh memory costs as much again: some ten milliseconds for 32 MiB, in which nothing else on the thread runs.

use super::arena::NO_SPAN;
use super::{Arena, Kind, Mark, Value};
use crate::limits;

/// Values, and steps of a loop over values, between two pauses.
pub(super) const AT_ONCE: usize = 16 << 10;
/// Bytes that are copied between two pauses.
pub(super) const AT_ONCE_BYTES: usize = 256 << 10;
/// Smaller lists are copied at once.
const SMALL_BYTES: usize = 1 << 20;

impl Arena {
    /// Makes room for so many values in containers, as many on the stack, and so many bytes of text. `pause` is called
    /// at intervals with the [work](crate::fuel) done since.
    #[inline]
    pub(crate) fn make_room(&mut self, values: usize, text: usize, pause: &mut dyn FnMut(u64)) {
        let has_room = |list: &Vec<Value>| list.capacity() - list.len() >= values;
        if !has_room(&self.nodes) || !has_room(&self.stack) || self.text.capacity() - self.text.len() < text {
            self.grow(values, text, pause);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, values: usize, text: usize, pause: &mut dyn FnMut(u64)) {
        for list in [&mut self.nodes, &mut self.stack] {
            if list.capacity() - list.len() < values && size_of_val(&**list) >= SMALL_BYTES {
                let mut grown = Vec::new();
                // If the system refuses memory now, it is requested again where it is needed.
                if grown.try_reserve_exact((2 * list.capacity()).max(list.len() + values)).is_ok() {
                    push_values(&mut grown, list, pause);
                    *list = grown;
                }
            }
        }
        let old = &mut self.text;
        if old.capacity() - old.len() < text && old.len() >= SMALL_BYTES {
            let mut grown = String::new();
            if grown.try_reserve_exact((2 * old.capacity()).max(old.len() + text)).is_ok() {
                push_text(&mut grown, old, pause);
                *old = grown;
            }
        }
    }

    /// Closes the children pushed since `mark` into an array, or keys that are known to differ and their values into an
    /// object, piece by piece.
    pub(crate) fn close_in_pieces(&mut self, object: bool, mark: Mark, pause: &mut dyn FnMut(u64)) -> Value {
        let count = self.stack.len() - mark.0;
        if count <= AT_ONCE {
            return self.close(object, mark);
        }
        // Two brackets, and a comma or colon between any two children.
        let (mut size, mut depth) = (2 + count - 1, 0);
        for piece in self.stack[mark.0..].chunks(AT_ONCE) {
            let (bytes, deepest) = self.size_and_depth(piece);
            size += bytes - (2 + piece.len() - 1);
            depth = depth.max(deepest);
            pause(2 * AT_ONCE as u64);
        }
        self.make_room(count + 1, 0, pause);
        self.overflowed |= size > limits::VALUE_BYTES_MAX;
        if !self.reserve(16) {
            self.stack.truncate(mark.0);
            return Value::NULL;
        }
        self.nodes.push(Value::new(Kind::Header, 0, size.min(u32::MAX as usize) as u32, NO_SPAN, 0));
        let at = self.nodes.len();
        push_values(&mut self.nodes, &self.stack[mark.0..], pause);
        self.stack.truncate(mark.0);
        let (kind, len) = if object { (Kind::Object, count / 2) } else { (Kind::Array, count) };
        Value::new(kind, depth.saturating_add(1), len as u32, at as u32, 0)
    }

    /// As [`string`](Arena::string), piece by piece.
    pub(crate) fn string_in_pieces(&mut self, text: &str, pause: &mut dyn FnMut(u64)) -> Value {
        if text.len() <= AT_ONCE_BYTES || !self.reserve(text.len()) {
            return self.string(text);
        }
        self.make_room(0, text.len(), pause);
        let mark = self.begin_text();
        push_text(self.text(), text, pause);
        self.end_text(mark)
    }
}

pub(super) fn push_values(to: &mut Vec<Value>, values: &[Value], pause: &mut dyn FnMut(u64)) {
    // Usually the first ones are all of them.
    let (first, rest) = values.split_at(values.len().min(AT_ONCE));
    to.extend_from_slice(first);
    for piece in rest.chunks(AT_ONCE) {
        pause(size_of_val(piece) as u64 / 2);
        to.extend_from_slice(piece);
    }
}

pub(super) fn push_text(to: &mut String, mut text: &str, pause: &mut dyn FnMut(u64)) {
    while text.len() > AT_ONCE_BYTES {
        let (piece, rest) = text.split_at(text.floor_char_boundary(AT_ONCE_BYTES));
        to.push_str(piece);
        pause(piece.len() as u64 / 2);
        text = rest;
    }
    to.push_str(text);
}

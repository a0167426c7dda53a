//! Equality, order and sets of values, with charges.

use super::*;
use crate::json::{Mark, compare_utf16};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

/// Objects with more members are compared with an index of one's keys, if their order differs.
const MEMBERS_SEARCHED_MAX: usize = 16;

/// The first of equal texts and numbers, by hash.
#[derive(Debug, Default)]
pub(in crate::query::jsonata) struct Firsts(HashMap<u64, (Value, u32)>);

impl Eval<'_> {
    /// Whether two strings are equal.
    #[inline]
    pub(in crate::query::jsonata) fn same_text(&self, a: Value, b: Value) -> Outcome<bool> {
        if a.len() == b.len() {
            self.charge(a.len() as u64 / 4)?;
        }
        Ok(crate::json::equal(self.arena, a, b))
    }

    /// The order of two strings by UTF-16 code units.
    pub(in crate::query::jsonata) fn compare_text(&self, a: Value, b: Value) -> Outcome<Ordering> {
        let (mut a, mut b) = (self.arena.str(a), self.arena.str(b));
        while a.len().min(b.len()) > TEXT_PIECE {
            self.charge(TEXT_PIECE as u64)?;
            let at = a.floor_char_boundary(TEXT_PIECE);
            if a.as_bytes()[..at] != b.as_bytes()[..at] {
                break;
            }
            (a, b) = (&a[at..], &b[at..]);
        }
        self.charge(a.len().min(b.len()).min(TEXT_PIECE) as u64)?;
        Ok(compare_utf16(a, b))
    }

    /// Deep equality. Shared subtrees are compared as often as they occur.
    #[inline]
    pub(in crate::query::jsonata) fn equal(&mut self, a: Value, b: Value) -> Outcome<bool> {
        match (a.kind(), b.kind()) {
            (Kind::String, Kind::String) => self.same_text(a, b),
            (Kind::Array, Kind::Array) | (Kind::Object, Kind::Object) => match a.len() == b.len() {
                true if a.is_same_place(b) => Ok(true),
                true => self.nested(|eval| eval.equal_containers(a, b)),
                false => Ok(false),
            },
            _ => Ok(crate::json::equal(self.arena, a, b)),
        }
    }

    #[inline(never)]
    fn equal_containers(&mut self, a: Value, b: Value) -> Outcome<bool> {
        if a.is_array() {
            for index in 0..a.len() {
                self.work(1)?;
                let (x, y) = (self.item_of(a, index), self.item_of(b, index));
                if !self.equal(x, y)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let mut index = None;
        for at in 0..a.len() {
            self.work(2)?;
            let (Some((key, x)), Some((other, y))) = (self.arena.entry(a, at), self.arena.entry(b, at))
            else {
                unreachable!("both have as many members");
            };
            let y = match self.same_text(key, other)? {
                true => Some(y),
                false if a.len() <= MEMBERS_SEARCHED_MAX => self.arena.get_value(b, key),
                false => {
                    let index = match &mut index {
                        Some(index) => index,
                        none => none.insert(self.index_of(b)?),
                    };
                    index.find(self, key)?.and_then(|at| self.arena.entry(b, at as usize)).map(|(_, y)| y)
                }
            };
            match y {
                Some(y) if self.equal(x, y)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The members of an object by key.
    fn index_of(&self, object: Value) -> Outcome<Firsts> {
        let mut index = Firsts::of(object.len());
        for (at, (key, _)) in self.arena.entries(object).enumerate() {
            index.first(self, key, at as u32)?;
        }
        Ok(index)
    }

    /// Moves members pushed since `from` whose keys differ to the front, each with its last value in its first place.
    pub(super) fn drop_twins(&mut self, from: Mark) -> Outcome<()> {
        let count = self.arena.pushed(from).len() / 2;
        let (mut firsts, mut kept) = (Firsts::of(count), 0);
        for at in 0..count {
            let (key, value) = (self.arena.pushed(from)[2 * at], self.arena.pushed(from)[2 * at + 1]);
            let first = firsts.first(self, key, kept)? as usize;
            let members = self.arena.pushed_mut(from);
            members[2 * first + 1] = value;
            if first == kept as usize {
                members[2 * first] = key;
                kept += 1;
            }
        }
        self.arena.cancel_after(from, 2 * kept as usize);
        Ok(())
    }

    /// A hash of a text or a number, the same for equal ones; `None` for other values.
    fn hash(&self, value: Value) -> Outcome<Option<u64>> {
        let mut hasher = DefaultHasher::new();
        if value.is_string() {
            for piece in pieces(self.arena.str(value)) {
                self.charge(piece.len() as u64)?;
                hasher.write(piece.as_bytes());
            }
        } else {
            match self.arena.as_f64(value) {
                Some(float) => hasher.write_u64(if float == 0.0 { 0 } else { float.to_bits() }),
                None => return Ok(None),
            }
        }
        Ok(Some(hasher.finish()))
    }
}

/// Work of a lookup in a hash table that does not fit any cache.
const LOOKUP: u64 = 100;

impl Firsts {
    /// With capacity for so many, so that it never grows in one long step.
    pub(in crate::query::jsonata) fn of(count: usize) -> Firsts {
        Firsts(HashMap::with_capacity(count))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of the first value equal to `value`: `number` if there was none before. Only for texts and numbers;
    /// for other values there is never an earlier one.
    pub(in crate::query::jsonata) fn first(
        &mut self,
        eval: &Eval<'_>,
        value: Value,
        number: u32,
    ) -> Outcome<u32> {
        let Some(mut place) = eval.hash(value)? else { return Ok(number) };
        loop {
            eval.charge(LOOKUP)?;
            match self.0.get(&place) {
                None => {
                    self.0.insert(place, (value, number));
                    return Ok(number);
                }
                Some(&(known, first)) if eval.same_scalar(known, value)? => return Ok(first),
                // Another value with the same hash is here.
                Some(_) => place = place.wrapping_add(1),
            }
        }
    }

    /// The number of `value`, if it is present.
    fn find(&self, eval: &Eval<'_>, value: Value) -> Outcome<Option<u32>> {
        let Some(mut place) = eval.hash(value)? else { return Ok(None) };
        loop {
            eval.charge(LOOKUP)?;
            match self.0.get(&place) {
                None => return Ok(None),
                Some(&(known, number)) if eval.same_scalar(known, value)? => return Ok(Some(number)),
                Some(_) => place = place.wrapping_add(1),
            }
        }
    }
}

impl Eval<'_> {
    fn same_scalar(&self, a: Value, b: Value) -> Outcome<bool> {
        if a.is_string() && b.is_string() {
            self.same_text(a, b)
        } else {
            Ok(crate::json::equal(self.arena, a, b))
        }
    }
}

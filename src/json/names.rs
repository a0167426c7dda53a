//! A cache of names. Consecutive JSON texts mostly have the same names in the same order, and so have the objects in an
//! array.
//!
//! The reader keeps a small table of names, in which each has the one that followed it last time. So the next name is
//! mostly not read but compared, whole words at a time, with the expected one; its end, its first bytes and its colon
//! are then known. The table also shows that the names of an object differ, without comparing them again.
//!
//! The table only saves time: results do not depend on it.

use super::value::Value;

/// How many names are cached; a power of two.
const ENTRIES: usize = 128;

/// Bytes that are compared: a quote, the name, a quote and a colon. Longer names are read each time.
const COMPARED: usize = size_of::<[u64; 2]>();

/// The table, and where the reader is in it.
#[derive(Clone, Debug)]
pub(super) struct Names {
    entries: [Entry; ENTRIES],
    /// The entry of the last name, in the order of the text.
    last: u8,
    /// The next rank.
    rank: u8,
    /// Whether a name was removed from the table since the document began: ranks are meaningless then.
    shaken: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// `"name":` and which of its bits count, as two words each.
    text: [u64; 2],
    mask: [u64; 2],
    /// The name, without its place in the text.
    name: Value,
    /// Bytes of the text; 0 if the entry is empty.
    len: u8,
    /// The entry of the name that followed last time.
    next: u8,
    /// Grows in the order in which the names came into the table.
    rank: u8,
}

/// Its text never matches: the input is UTF-8, which has no such bytes.
const EMPTY: Entry =
    Entry { text: [u64::MAX; 2], mask: [u64::MAX; 2], name: Value::UNDEFINED, len: 0, next: 0, rank: 0 };

/// What is known of the names of one object so far: the rank of the last. As long as ranks grow, no two names are
/// equal.
pub(super) type Order = u8;

/// Before the first name.
pub(super) const ORDER_START: Order = 0;

/// Two names may be the same.
pub(super) const ORDER_UNKNOWN: Order = u8::MAX;

impl Names {
    /// Out of line, because the table is made on the stack, which should stay small in the reader.
    #[cold]
    #[inline(never)]
    pub(super) fn new() -> Box<Names> {
        Box::new(Names { entries: [EMPTY; ENTRIES], last: 0, rank: 1, shaken: false })
    }

    /// Begins a document.
    #[inline(always)]
    pub(super) fn rewind(&mut self) {
        self.last = 0;
        self.shaken = false;
    }

    /// The name that begins with these bytes of the text, if it is the expected one, and its length with the colon.
    #[inline(always)]
    pub(super) fn expected(&mut self, [a, b]: [u64; 2], order: &mut Order) -> Option<(Value, usize)> {
        let place = self.entries[usize::from(self.last) % ENTRIES].next;
        let entry = &self.entries[usize::from(place) % ENTRIES];
        if (a ^ entry.text[0]) & entry.mask[0] | (b ^ entry.text[1]) & entry.mask[1] != 0 {
            return None;
        }
        self.last = place;
        *order = if entry.rank > *order { entry.rank } else { ORDER_UNKNOWN };
        Some((entry.name, usize::from(entry.len)))
    }

    /// Adds the name that begins with these bytes of the text: `len` bytes with its colon.
    #[inline(always)]
    pub(super) fn learn(&mut self, [a, b]: [u64; 2], name: Value, len: usize) {
        if len > COMPARED {
            return;
        }
        let bits = |bytes: usize| if bytes >= 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 };
        let mask = [bits(len), bits(len.saturating_sub(8))];
        let text = [a & mask[0], b & mask[1]];
        let hash = (text[0] ^ text[1].rotate_left(23)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 57;
        // One of four places, so that a name is at most at one place.
        let places = [0, 1, 2, 3].map(|n| (hash as usize + n) % ENTRIES);
        let found = places.into_iter().find(|&place| self.entries[place].text == text);
        let place = match found {
            Some(place) => place,
            None => {
                let free = places.into_iter().find(|&place| place > 0 && self.entries[place].len == 0);
                let place = free.unwrap_or(places[0].max(1));
                self.shaken |= free.is_none();
                if self.rank == ORDER_UNKNOWN {
                    self.entries = [EMPTY; ENTRIES];
                    (self.rank, self.shaken) = (1, true);
                }
                let (next, rank) = (self.entries[place].next, self.rank);
                self.entries[place] = Entry { text, mask, name, len: len as u8, next, rank };
                self.rank += 1;
                place
            }
        };
        self.entries[usize::from(self.last)].next = place as u8;
        self.last = place as u8;
    }

    /// Whether the names of an object are known to differ.
    #[inline(always)]
    pub(super) fn differ(&self, order: Order) -> bool {
        order != ORDER_UNKNOWN && !self.shaken
    }
}

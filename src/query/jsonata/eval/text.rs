//! Texts are searched, counted and copied in pieces, each charged before it is processed.

use super::*;

/// Bytes that are searched first; then twice as many, and so on.
const FIRST_PIECE: usize = 256;

impl Eval<'_> {
    /// The position of `needle` in `text`.
    pub(in crate::query::jsonata) fn find(&self, text: &str, needle: &str) -> Outcome<Option<usize>> {
        if needle.len() > TEXT_PIECE {
            return self.find_long(text.as_bytes(), needle.as_bytes());
        }
        // A match near the beginning is cheap: a text may be split at each of its commas.
        let (mut from, mut piece) = (0, FIRST_PIECE.max(needle.len()));
        loop {
            let to = text.floor_char_boundary(from + piece + needle.len());
            self.charge(10 + 2 * (to - from) as u64)?;
            if let Some(at) = text[from..to].find(needle) {
                return Ok(Some(from + at));
            }
            if to == text.len() {
                return Ok(None);
            }
            // Starts in this piece were searched; the needle may begin before its end.
            from = text.floor_char_boundary(from + piece);
            piece = TEXT_PIECE.min(2 * piece);
        }
    }

    /// Knuth, Morris and Pratt's search, which can stop at any byte.
    fn find_long(&self, text: &[u8], needle: &[u8]) -> Outcome<Option<usize>> {
        if needle.len() > text.len() {
            return Ok(None);
        }
        // How many bytes of the needle still match when the one behind them does not.
        let mut shorter = vec![0u32; needle.len()];
        let mut matched = 0;
        self.charge(needle.len() as u64)?;
        for at in 1..needle.len() {
            self.now_and_then(at, needle.len())?;
            while matched > 0 && needle[matched] != needle[at] {
                matched = shorter[matched - 1] as usize;
            }
            matched += usize::from(needle[matched] == needle[at]);
            shorter[at] = matched as u32;
        }
        matched = 0;
        for (at, byte) in text.iter().enumerate() {
            self.now_and_then(at, text.len())?;
            while matched > 0 && needle[matched] != *byte {
                matched = shorter[matched - 1] as usize;
            }
            matched += usize::from(needle[matched] == *byte);
            if matched == needle.len() {
                return Ok(Some(at + 1 - needle.len()));
            }
        }
        Ok(None)
    }

    /// Charges a loop that does little for each of `len` bytes, at its position `at`.
    #[inline]
    pub(in crate::query::jsonata) fn now_and_then(&self, at: usize, len: usize) -> Outcome<()> {
        if at.is_multiple_of(TEXT_PIECE) { self.charge(6 * TEXT_PIECE.min(len - at) as u64) } else { Ok(()) }
    }

    /// How many characters a text has.
    pub(in crate::query::jsonata) fn char_count(&self, text: &str) -> Outcome<usize> {
        let mut count = 0;
        for piece in pieces(text) {
            self.charge(piece.len() as u64 / 8)?;
            count += piece.chars().count();
        }
        Ok(count)
    }

    /// The byte offset of character `index`; beyond the text, its end.
    pub(in crate::query::jsonata) fn byte_of_char(&self, text: &str, index: usize) -> Outcome<usize> {
        let (mut left, mut at) = (index, 0);
        for piece in pieces(text) {
            self.charge(piece.len().min(4 * left) as u64)?;
            if left < piece.len()
                && let Some((inside, _)) = piece.char_indices().nth(left)
            {
                return Ok(at + inside);
            }
            left -= piece.chars().count();
            at += piece.len();
        }
        Ok(text.len())
    }

    /// How many UTF-16 code units a text has.
    pub(in crate::query::jsonata) fn utf16_len(&self, text: &str) -> Outcome<usize> {
        let mut units = 0;
        for piece in pieces(text) {
            self.charge(piece.len() as u64)?;
            units += if piece.is_ascii() { piece.len() } else { piece.chars().map(char::len_utf16).sum() };
        }
        Ok(units)
    }

    /// The byte offset of a UTF-16 offset, `None` beyond the end.
    pub(in crate::query::jsonata) fn byte_of_utf16(&self, text: &str, offset: f64) -> Outcome<Option<usize>> {
        let (mut units, mut at) = (0.0, 0);
        for piece in pieces(text) {
            self.charge(piece.len() as u64)?;
            for c in piece.chars() {
                if units >= offset {
                    return Ok(Some(at));
                }
                units += c.len_utf16() as f64;
                at += c.len_utf8();
            }
        }
        Ok((units >= offset).then_some(text.len()))
    }

    /// Part of a text, by byte offsets. Copies nothing.
    pub(in crate::query::jsonata) fn part(&self, text: Value, from: usize, to: usize) -> Outcome {
        self.charge((to - from) as u64 / 2)?;
        Ok(self.arena.substring(text, from, to))
    }

    /// Pushes the elements of an array.
    pub(in crate::query::jsonata) fn push_items(&mut self, array: Value) -> Outcome<()> {
        self.push_some(array, 0, array.len())
    }

    /// Pushes the elements `from..end` of an array.
    pub(in crate::query::jsonata) fn push_some(
        &mut self,
        array: Value,
        mut from: usize,
        end: usize,
    ) -> Outcome<()> {
        if end - from > ITEMS_AT_ONCE {
            self.make_room(end - from);
        }
        while from < end {
            let to = end.min(from + ITEMS_AT_ONCE);
            self.work(to - from)?;
            self.arena.push_items(array, from, to);
            from = to;
        }
        Ok(())
    }
}

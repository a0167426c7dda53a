//! Positions in a text, in bytes and in UTF-16.

/// Translates positions of one text. An ASCII text needs no table.
pub(super) struct Places {
    /// By byte, with one more for the end; empty for ASCII.
    units: Vec<u32>,
    bytes: usize,
}

impl Places {
    pub(super) fn of(text: &str) -> Places {
        let mut units = Vec::new();
        if !text.is_ascii() {
            units.reserve_exact(text.len() + 1);
            let mut at = 0;
            for c in text.chars() {
                units.extend(std::iter::repeat_n(at, c.len_utf8()));
                at += c.len_utf16() as u32;
            }
            units.push(at);
        }
        Places { units, bytes: text.len() }
    }

    /// The position of a byte in UTF-16; beyond the text, its end.
    pub(super) fn of_byte(&self, byte: usize) -> u32 {
        let byte = byte.min(self.bytes);
        self.units.get(byte).copied().unwrap_or(byte as u32)
    }
}

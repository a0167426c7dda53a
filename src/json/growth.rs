//! How much longer texts get by the escapes of JSON: each arena value knows the size of its JSON text.

/// Bytes that escaping adds to a text when it is written as JSON.
#[inline]
pub(super) fn escape_growth(bytes: &[u8]) -> usize {
    if bytes.len() > LONG_TEXT { escape_growth_of_long(bytes) } else { escape_growth_of_short(bytes) }
}

/// Texts from this length on are processed many bytes at a time.
const LONG_TEXT: usize = 1_024;

#[inline(never)]
fn escape_growth_of_long(bytes: &[u8]) -> usize {
    let (blocks, rest) = bytes.as_chunks::<256>();
    let growth = |block: &[u8; 256]| if nothing_to_escape(block) { 0 } else { escape_growth_of_block(block) };
    blocks.iter().map(growth).sum::<usize>() + escape_growth_of_block(rest)
}

/// Most blocks of long texts have nothing to escape: looking for that alone takes a third of the time of counting.
fn nothing_to_escape(block: &[u8; 256]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    // Eight bytes at a time: the high bit of a byte stays set as long as no byte in its place has to be escaped. No
    // addition carries into the byte above, because the high bits are left out of it.
    let mut plain = HIGH;
    for word in block.as_chunks::<8>().0 {
        let word = u64::from_le_bytes(*word);
        let low = word & !HIGH;
        let differs_from = |byte: u8| (low ^ (EACH * u64::from(byte))) + 0x7f * EACH;
        plain &= word | ((low + 0x60 * EACH) & differs_from(b'"') & differs_from(b'\\'));
    }
    plain == HIGH
}

fn escape_growth_of_block(bytes: &[u8]) -> usize {
    // Sums of 48 bytes that add at most 5 fit a byte, so the additions are vectorized.
    let growth = |byte: u8| {
        let named = u8::from(matches!(byte, 0x08 | 0x09 | 0x0a | 0x0c | 0x0d));
        u8::from(byte == b'"') + u8::from(byte == b'\\') + 5 * u8::from(byte < 0x20) - 4 * named
    };
    bytes.chunks(48).map(|chunk| chunk.iter().map(|&byte| growth(byte)).sum::<u8>() as usize).sum()
}

fn escape_growth_of_short(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .map(|&byte| match byte {
            b'"' | b'\\' | 0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 1,
            0x00..0x20 => 5,
            _ => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_what_escaping_adds() {
        let mut written = Vec::new();
        for char in (0..=0xffu8).map(char::from).chain(['漢', '\u{1f600}']) {
            // Around the length at which another way of counting begins, with the character in each place of a word.
            for len in [0, 1, 40, LONG_TEXT - 1, LONG_TEXT, LONG_TEXT + 1, LONG_TEXT + 300] {
                for at in (len / 2..=len).take(9) {
                    let mut text = "x".repeat(len);
                    text.insert(at, char);
                    written.clear();
                    super::super::write::write_string(&text, &mut written);
                    assert_eq!(
                        escape_growth(text.as_bytes()),
                        written.len() - 2 - text.len(),
                        "{char:?} at {at} of {len}"
                    );
                }
            }
        }
    }
}

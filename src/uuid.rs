//! UUIDs, version 4 in form, as text.

/// The text of a UUID with these bits, except for those of the version and the variant.
pub(crate) fn text(high: u64, low: u64) -> [u8; 36] {
    let high = high & !0xF000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    let [a, b, c, d] = [(high >> 32) as u32, high as u32, (low >> 32) as u32, low as u32].map(digits);
    let mut text = [b'-'; 36];
    text[..8].copy_from_slice(&a);
    text[9..13].copy_from_slice(&b[..4]);
    text[14..18].copy_from_slice(&b[4..]);
    text[19..23].copy_from_slice(&c[..4]);
    text[24..28].copy_from_slice(&c[4..]);
    text[28..].copy_from_slice(&d);
    text
}

/// Eight hexadecimal digits at once: one by one they were a tenth of `StartSyncExecution`.
fn digits(number: u32) -> [u8; 8] {
    // A nibble in each byte.
    let mut nibbles = u64::from(number);
    nibbles = (nibbles << 16 | nibbles) & 0x0000_FFFF_0000_FFFF;
    nibbles = (nibbles << 8 | nibbles) & 0x00FF_00FF_00FF_00FF;
    nibbles = (nibbles << 4 | nibbles) & 0x0F0F_0F0F_0F0F_0F0F;
    // A one in each byte whose nibble is a letter.
    let letters = ((nibbles + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (nibbles + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [0, 1, 9, 10, 0x1234_5678, 0x9abc_def0, 0xdead_beef, u32::MAX] {
            assert_eq!(digits(number), *format!("{number:08x}").as_bytes(), "{number}");
        }
    }

    #[test]
    fn the_form_is_that_of_version_4() {
        let text = text(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
        assert_eq!(text, *b"01234567-89ab-4def-bedc-ba9876543210");
    }
}

//! JSON text inside of JSON strings, as in the API's `input` and `output`.

use std::ops::ControlFlow::{self, Break, Continue};
use std::ops::Range;

/// The end of the string whose opening quote is before `from`. Escapes in it are not validated.
pub(crate) fn end(text: &[u8], from: usize) -> Option<usize> {
    // With this bit flipped, the quote follows right after the control characters.
    let loud = |word| below(word ^ (ONES * 0x02), 0x21) | equal(word, b'\\');
    let mut look = from;
    each_marked(text, from, loud, |at, byte| match byte {
        _ if at < look => Continue(()),
        b'"' => Break(Some(at)),
        b'\\' => {
            look = at + 2;
            Continue(())
        }
        _ => Break(None),
    })?
}

/// Writes JSON text without control characters, escaped; returns the rest of the room. There must be room for twice as
/// much and [`SPARE`].
pub(super) fn escape<'o>(text: &[u8], out: &'o mut [u8]) -> &'o mut [u8] {
    // What was written, and where to.
    let (mut done, mut to) = (0, 0);
    let mark = |word| equal(word, b'"') | equal(word, b'\\');
    each_marked(text, 0, mark, |at, _| -> ControlFlow<()> {
        copy(text, done..at, out, to);
        to += at - done;
        out[to] = b'\\';
        to += 1;
        // It is copied with what follows.
        done = at;
        Continue(())
    });
    copy(text, done..text.len(), out, to);
    &mut out[to + text.len() - done..]
}

/// Bytes that may be written beyond the result, and are overwritten later.
pub(super) const SPARE: usize = RUN;

/// The position of the string's closing quote, and its length without escapes; the unescaped text is written to `out`,
/// which grows if necessary, but never shrinks. `None` if it does not end, or has what is rare in JSON inside of JSON:
/// a numeric escape.
///
/// In JSON inside of JSON every seventh byte is a quote with a backslash before it. In words with nothing else to
/// handle, the backslashes are removed without branches for each, which would often be mispredicted.
pub(crate) fn unescape(body: &[u8], from: usize, out: &mut Vec<u8>) -> Option<(usize, usize)> {
    if out.len() < body.len() + 8 {
        out.resize(body.len() + 8, 0);
    }
    let out = &mut out[..];
    // In the last word every byte is handled, because a word was read from its end.
    let (mut at, mut to, mut is_escaped) = (from, 0, false);
    let mut controls = 0;
    loop {
        let word = body.get(at..).and_then(|rest| rest.first_chunk::<8>());
        let word = word.map(|word| u64::from_le_bytes(*word));
        match word.and_then(|word| Some((word, escaped_quotes(word, is_escaped)?))) {
            Some((word, backslashes)) => {
                let kept = without(word, backslashes).to_le_bytes();
                *out.get_mut(to..)?.first_chunk_mut()? = kept;
                (at, to) = (at + 8, to + 8 - count(backslashes));
                is_escaped = backslashes >> 63 != 0;
                controls |= maybe_below(word, 0x20);
            }
            None => {
                let until = word.map_or(body.len(), |_| at + 8);
                if unescape_singly(body, &mut at, until, is_escaped, out, &mut to)? {
                    return (controls == 0).then_some((at, to));
                } else {
                    is_escaped = false
                }
            }
        }
    }
}

/// The backslashes of a word, if only they and the quotes behind them have to be handled.
#[inline(always)]
fn escaped_quotes(word: u64, is_escaped: bool) -> Option<u64> {
    // A false positive of one, where `#` follows a quote or `]` a backslash, is excluded by the other.
    let (quotes, backslashes) = (maybe_equal(word, b'"'), maybe_equal(word, b'\\'));
    let expected = (backslashes << 8) | (u64::from(is_escaped) << 7);
    (quotes == expected).then_some(backslashes)
}

/// The word without the marked bytes.
#[inline(always)]
fn without(mut word: u64, mut marks: u64) -> u64 {
    let mut take = || {
        // All bits below the byte of the first mark; all bits if there is no mark.
        let before = ((marks & marks.wrapping_neg()) >> 7).wrapping_sub(1);
        word = (word & before) | ((word >> 8) & !before);
        marks = (marks & marks.wrapping_sub(1)) >> 8;
        marks != 0
    };
    // Usually there are up to two.
    take();
    while take() {}
    word
}

/// How many bytes are marked.
#[inline(always)]
fn count(marks: u64) -> usize {
    ((marks >> 7).wrapping_mul(ONES) >> 56) as usize
}

/// As [`unescape`], byte by byte, up to `until`, or one more to end an escape. Whether the string ended, at `at`.
#[inline(never)]
fn unescape_singly(
    body: &[u8],
    at: &mut usize,
    until: usize,
    mut is_escaped: bool,
    out: &mut [u8],
    to: &mut usize,
) -> Option<bool> {
    while *at < until || is_escaped {
        let byte = *body.get(*at)?;
        let meant = match byte {
            _ if is_escaped => Some(ESCAPES[usize::from(byte)]).filter(|meant| *meant != 0)?,
            b'"' => return Some(true),
            0..0x20 => return None,
            _ => byte,
        };
        *at += 1;
        is_escaped = !is_escaped && byte == b'\\';
        if !is_escaped {
            *out.get_mut(*to)? = meant;
            *to += 1;
        }
    }
    // The end of the body is not part of the string.
    (*at < body.len()).then_some(false)
}

/// The meaning of an escape, by the byte behind the backslash; 0 for none.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let pairs = *b"\"\"\\\\//n\nt\tr\rb\x08f\x0c";
    let mut at = 0;
    while at < pairs.len() {
        escapes[pairs[at] as usize] = pairs[at + 1];
        at += 2;
    }
    escapes
};

/// The usual maximum of bytes between two quotes.
const RUN: usize = 16;

/// Copies some bytes. There is spare room behind them, so that few are copied with a fixed size.
#[inline(always)]
fn copy(from: &[u8], bytes: Range<usize>, out: &mut [u8], to: usize) {
    match (from[bytes.start..].first_chunk(), out[to..].first_chunk_mut::<RUN>()) {
        (Some(short), Some(room)) if bytes.len() <= RUN => *room = *short,
        _ => copy_long(&from[bytes], &mut out[to..]),
    }
}

#[inline(never)]
fn copy_long(from: &[u8], out: &mut [u8]) {
    out[..from.len()].copy_from_slice(from);
}

/// Visits the marked bytes of a text, from a position on, until the callback breaks.
///
/// Eight bytes are searched at once, at positions that do not depend on earlier results: so the processor can work
/// ahead; in JSON inside of JSON a third of all bytes are marked.
#[inline(always)]
fn each_marked<R>(
    text: &[u8],
    from: usize,
    mark: impl Fn(u64) -> u64,
    mut each: impl FnMut(usize, u8) -> ControlFlow<R>,
) -> Option<R> {
    let (words, rest) = text.get(from..)?.as_chunks::<8>();
    for n in 0..=words.len() {
        let word = words.get(n).copied().unwrap_or_else(|| last_word(rest));
        let word = u64::from_le_bytes(word);
        let mut marks = mark(word);
        while marks != 0 {
            let bit = marks.trailing_zeros();
            marks &= marks - 1;
            let at = from + n * 8 + bit as usize / 8;
            if let Break(end) = each(at, (word >> (bit & !7)) as u8) {
                return Some(end);
            }
        }
    }
    None
}

/// Less than eight bytes, padded with spaces.
#[inline(never)]
fn last_word(rest: &[u8]) -> [u8; 8] {
    let mut word = [b' '; 8];
    word[..rest.len()].copy_from_slice(rest);
    word
}

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// The high bits of the bytes that are less than this, which is at most 0x80.
#[inline(always)]
fn below(word: u64, limit: u64) -> u64 {
    // Nothing is carried into the next byte.
    !(((word & !HIGHS) + ONES * (0x80 - limit)) | word) & HIGHS
}

/// The same in fewer steps. Bits above the lowest may be wrong.
#[inline(always)]
fn maybe_below(word: u64, limit: u64) -> u64 {
    word.wrapping_sub(ONES * limit) & !word & HIGHS
}

/// As [`equal`], but bytes behind an equal one may be marked as well if they differ only in the lowest bit.
#[inline(always)]
fn maybe_equal(word: u64, byte: u8) -> u64 {
    maybe_below(word ^ (ONES * u64::from(byte)), 1)
}

/// The high bits of the bytes that are this one, which is ASCII.
#[inline(always)]
fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * u64::from(byte)), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every text of five of these behind up to nine others, so that they cross word boundaries everywhere.
    fn each_text(mut check: impl FnMut(&str)) {
        let pieces = ["\"", "\\", "\n", "#", "]", "é"];
        for number in 0..6usize.pow(5) {
            for before in 0..10 {
                let mut text = "x".repeat(before);
                (0..5).for_each(|n| text.push_str(pieces[number / 6usize.pow(n) % 6]));
                check(&text);
            }
        }
    }

    #[test]
    fn escapes_are_taken_out_wherever_they_stand() {
        each_text(|text| {
            let body = format!("{} ", serde_json::json!(text));
            let (body, last) = (body.as_bytes(), body.len() - 2);
            let mut out = Vec::new();
            assert_eq!(unescape(body, 1, &mut out), Some((last, text.len())), "{text}");
            assert_eq!(&out[..text.len()], text.as_bytes(), "{text}");
            assert_eq!(end(body, 1), Some(last), "{text}");
            assert_eq!(unescape(&body[..last], 1, &mut out), None, "{text} cut");
            assert_eq!(end(&body[..last], 1), None, "{text} cut");
        });
    }

    #[test]
    fn quotes_and_backslashes_are_escaped_wherever_they_stand() {
        each_text(|text| {
            let text = text.replace('\n', " ");
            let quoted = serde_json::json!(text).to_string();
            let mut out = vec![0; 2 * text.len() + SPARE];
            let left = escape(text.as_bytes(), &mut out).len();
            let length = out.len() - left;
            assert_eq!(&out[..length], &quoted.as_bytes()[1..quoted.len() - 1], "{text}");
        });
    }

    #[test]
    fn what_a_string_cannot_hold_is_found_wherever_it_stands() {
        for byte in 0..=255u8 {
            for other in [0x20, 0x23, 0x5b, 0x5d, 0xA2, 0xC3, 0xFF] {
                for at in 0..20 {
                    let mut text = vec![other; 23];
                    text[at] = byte;
                    text.push(b'"');
                    let expected = match byte {
                        b'"' => Some(at),
                        0..0x20 => None,
                        // The last one is escaped by it.
                        _ => Some(23),
                    };
                    assert_eq!(end(&text, 0), expected, "{byte} at {at} among {other}");
                    let unescaped = unescape(&text, 0, &mut Vec::new()).map(|(end, _)| end);
                    // Of what may be escaped there is nothing here.
                    assert_eq!(unescaped, expected.filter(|_| byte != b'\\'), "{byte} at {at} among {other}");
                }
            }
        }
    }
}

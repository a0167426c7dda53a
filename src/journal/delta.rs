//! Deltas: bytes encoded as copies from known bytes (the base, and the earlier output), and literals.
//!
//! A delta is the length of its output, and parts, up to its end. Numbers are LEB128. A part begins with a number whose
//! lowest bit is its kind: with 0, so many literal bytes follow; with 1, so many bytes are copied from the base
//! followed by the output so far; the position is encoded as its distance, zigzag, from the end of the copy before.

/// Bytes that are compared at once, and the shortest worthwhile copy.
const SHORTEST: usize = 8;
const TABLE_BITS: u32 = 13;
/// Failed lookups after which every second position is skipped; after twice as many, two of three.
const MISSES: usize = 16;
/// Positions of a base that are indexed; of a longer one, not all, so that its length costs little.
const PLACES_MAX: usize = 8_192;

/// Writes deltas; its memory serves the next one.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The last position of eight bytes with this hash, after `begin`; smaller ones are of an earlier delta.
    places: Vec<u32>,
    begin: usize,
}

impl Encoder {
    /// Appends the delta of `content`. Base and content have less than 1 GiB together.
    pub fn encode(&mut self, base: &[u8], content: &[u8], out: &mut Vec<u8>) {
        let bytes = base.len() + content.len();
        assert!(bytes < 1 << 30, "a delta of {bytes} bytes");
        if self.places.is_empty() || self.begin + bytes >= u32::MAX as usize {
            self.places.clear();
            self.places.resize(1 << TABLE_BITS, 0);
            self.begin = 1;
        }
        number(content.len() as u64, out);
        let step = (base.len() / PLACES_MAX).max(4);
        for at in (0..base.len().saturating_sub(SHORTEST - 1)).step_by(step) {
            self.places[hash(word(&base[at..]))] = (self.begin + at) as u32;
        }
        let (mut at, mut done, mut misses, mut expected) = (0, 0, 0, 0);
        while at + SHORTEST <= content.len() {
            let place = self.look_up(base, content, at);
            let Some((mut from, mut length)) = place else {
                misses += 1;
                at += 1 + misses / MISSES;
                continue;
            };
            // Skipped bytes before may belong to the copy too, as long as all of it is known by then.
            while at > done
                && from > 0
                && from != base.len()
                && from + length < base.len() + at
                && byte(base, content, from - 1) == content[at - 1]
            {
                (at, from, length) = (at - 1, from - 1, length + 1);
            }
            literal(&content[done..at], out);
            number((length as u64) << 1 | 1, out);
            let distance = from as i64 - expected as i64;
            number((distance << 1 ^ distance >> 63) as u64, out);
            (at, expected, misses) = (at + length, from + length, 0);
            done = at;
        }
        literal(&content[done..], out);
        self.begin += bytes;
    }

    /// The earlier position of the bytes at this position of the content, and how many match; adds this position.
    fn look_up(&mut self, base: &[u8], content: &[u8], at: usize) -> Option<(usize, usize)> {
        let place = &mut self.places[hash(word(&content[at..]))];
        let seen = std::mem::replace(place, (self.begin + base.len() + at) as u32) as usize;
        let from = seen.checked_sub(self.begin)?;
        let length = match from.checked_sub(base.len()) {
            None => common(&base[from..], &content[at..]),
            Some(from) => common(&content[from..at], &content[at..]),
        };
        (length >= SHORTEST).then_some((from, length))
    }
}

/// Appends the output of a delta, which is at most so many bytes. `None` when it is not a delta of this base; the
/// appended bytes are then invalid.
pub fn decode(base: &[u8], delta: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Option<()> {
    let rest = &mut &*delta;
    let bytes = usize::try_from(read_number(rest)?).ok().filter(|&bytes| bytes <= bytes_max)?;
    let (begin, mut expected) = (out.len(), 0i64);
    while !rest.is_empty() {
        let part = read_number(rest)?;
        let length = usize::try_from(part >> 1).ok()?;
        if length > bytes - (out.len() - begin) {
            return None;
        }
        if part & 1 == 0 {
            let (literal, behind) = rest.split_at_checked(length)?;
            *rest = behind;
            out.extend_from_slice(literal);
            continue;
        }
        let distance = read_number(rest)?;
        let from = expected.checked_add((distance >> 1) as i64 ^ -((distance & 1) as i64))?;
        expected = from.checked_add(length as i64)?;
        let from = usize::try_from(from).ok()?;
        match from.checked_sub(base.len()) {
            None => out.extend_from_slice(base.get(from..from.checked_add(length)?)?),
            Some(from) => {
                let (from, to) = (begin.checked_add(from)?, begin.checked_add(from)?.checked_add(length)?);
                if to > out.len() {
                    return None;
                }
                out.extend_from_within(from..to);
            }
        }
    }
    (out.len() - begin == bytes).then_some(())
}

/// Appends a number, seven bits per byte.
pub fn number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads a number from the front.
pub fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn literal(bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        number((bytes.len() as u64) << 1, out);
        out.extend_from_slice(bytes);
    }
}

fn byte(base: &[u8], content: &[u8], at: usize) -> u8 {
    match at.checked_sub(base.len()) {
        None => base[at],
        Some(at) => content[at],
    }
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(*bytes.first_chunk().expect("eight bytes are there"))
}

fn hash(word: u64) -> usize {
    (word.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - TABLE_BITS)) as usize
}

/// The length of the common prefix.
fn common(one: &[u8], other: &[u8]) -> usize {
    let (wide, _) = one.as_chunks::<32>();
    let (other_wide, _) = other.as_chunks::<32>();
    let wide = 32 * wide.iter().zip(other_wide).take_while(|(one, other)| one == other).count();
    let (one, other) = (&one[wide..], &other[wide..]);
    let words = one.chunks_exact(8).zip(other.chunks_exact(8));
    let same = 8 * words.take_while(|(one, other)| one == other).count();
    let rest = one[same..].iter().zip(&other[same..]);
    wide + same + rest.take_while(|(one, other)| one == other).count()
}

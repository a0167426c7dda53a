//! Numbers in arithmetic: integers that fit 64 bits are exact, all others are doubles.

/// A JSON number for arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Fits a signed 64-bit integer and was written without fraction and exponent.
    Int(i64),
    /// Anything else.
    Float(f64),
}

impl Number {
    /// As a double; integers beyond 2^53 lose their last digits.
    pub fn to_f64(self) -> f64 {
        match self {
            Number::Int(int) => int as f64,
            Number::Float(float) => float,
        }
    }

    /// The order of two numbers; exact between integers. `None` with NaN.
    pub fn compare(self, other: Number) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (a, b) => a.to_f64().partial_cmp(&b.to_f64()),
        }
    }
}

/// The double nearest to a number that is kept as its text. A decimal there has at most 15 digits and no exponent: both its
/// digits and the power of ten are exact as doubles, so that one division rounds correctly; the general reader takes three
/// times as long. An integer there does not fit 64 bits.
pub(super) fn as_written(text: &str) -> f64 {
    if is_long_integer(text) { general(text) } else { decimal(text) }
}

/// Whether a number that is kept as its text is an integer.
pub(super) fn is_long_integer(text: &str) -> bool {
    text.len() > DECIMAL_BYTES_MAX
}

/// Bytes of a decimal that is kept as its text: a sign, a zero, a point and 15 digits. An integer has 19 digits at least.
const DECIMAL_BYTES_MAX: usize = 18;

#[cold]
fn general(text: &str) -> f64 {
    match text.parse() {
        Ok(float) => float,
        Err(_) => unreachable!("it was read as a number: {text}"),
    }
}

fn decimal(text: &str) -> f64 {
    const POWERS: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (mut mantissa, mut places, mut point) = (0u64, 0, false);
    for byte in digits.bytes() {
        match byte {
            b'.' => point = true,
            _ => {
                mantissa = mantissa * 10 + u64::from(byte & 15);
                places += usize::from(point);
            }
        }
    }
    let magnitude = mantissa as f64 / POWERS[places & 15];
    if digits.len() < text.len() { -magnitude } else { magnitude }
}

/// Bytes of an integer as text.
pub(super) fn int_len(int: i64) -> u32 {
    let magnitude = int.unsigned_abs();
    let digits = if magnitude == 0 { 1 } else { magnitude.ilog10() + 1 };
    digits + u32::from(int < 0)
}

/// Bytes of a double as text.
pub(super) fn float_len(float: f64) -> u32 {
    FloatText::of(float).as_bytes().len() as u32
}

/// Appends the shortest text that reads back as the same double, an exponent as AWS writes it: `1.0E25`; `null` for NaN
/// and infinities.
pub fn shortest(float: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(FloatText::of(float).as_bytes());
}

/// A double as text, see [`shortest`].
pub(super) struct FloatText {
    bytes: [u8; 32],
    len: usize,
}

impl FloatText {
    pub(super) fn of(float: f64) -> FloatText {
        let mut text = FloatText { bytes: [0; 32], len: 0 };
        let mut buffer = zmij::Buffer::new();
        let printed = if float.is_finite() { buffer.format_finite(float) } else { "null" };
        match printed.split_once('e') {
            None => text.push(printed),
            Some((digits, exponent)) => {
                text.push(digits);
                text.push(if digits.contains('.') { "E" } else { ".0E" });
                text.push(exponent.trim_start_matches('+'));
            }
        }
        text
    }

    /// A double takes 25 bytes at most.
    fn push(&mut self, part: &str) {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part.as_bytes());
        self.len += part.len();
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

//! Numbers as filters compare them: by Java's `BigDecimal`, to which the text of a number is turned. So a double counts
//! as the shortest text that reads back as it, and a literal has all its digits.

use std::cmp::Ordering;

use crate::json::{Number, shortest};

/// Integers below it are exact as doubles, and so are decimals of 15 digits told apart by them.
const EXACT_BELOW: u64 = 1 << 53;
const EXACT_DIGITS: usize = 15;

/// A number that a text in a filter, or in a document, stands for.
#[derive(Clone, Debug)]
pub(super) struct Decimal {
    number: Number,
    /// If neither an integer nor a double tells it from its neighbours.
    digits: Option<Digits>,
}

impl Decimal {
    /// The number of a text; `None` if `BigDecimal` refuses it.
    pub(super) fn parse(text: &str) -> Option<Decimal> {
        if let Ok(int) = text.parse() {
            return Some(Decimal { number: Number::Int(int), digits: None });
        }
        let digits = Digits::parse(text)?;
        let float: f64 = text.parse().ok()?;
        let is_told = digits.text.len() <= EXACT_DIGITS && (float.is_normal() || digits.text.is_empty());
        let digits = if is_told { None } else { Some(digits) };
        Some(Decimal { number: Number::Float(float), digits })
    }

    /// The order of this one and a number of the document.
    pub(super) fn order(&self, found: Number) -> Ordering {
        match &self.digits {
            Some(digits) => digits.compare(&Digits::of(found)),
            None => order(self.number, found),
        }
    }
}

/// The order of two numbers of the document.
pub(super) fn order(a: Number, b: Number) -> Ordering {
    let is_exact = |number| match number {
        Number::Int(int) => int.unsigned_abs() < EXACT_BELOW,
        Number::Float(_) => true,
    };
    let are_ints = matches!((a, b), (Number::Int(_), Number::Int(_)));
    if are_ints || is_exact(a) && is_exact(b) {
        let order = a.compare(b);
        return order.unwrap_or_else(|| unreachable!("JSON has no NaN"));
    }
    Digits::of(a).compare(&Digits::of(b))
}

/// A decimal number: `0.TEXT` times ten to the power of the exponent.
#[derive(Clone, Debug)]
struct Digits {
    is_negative: bool,
    /// Without zeros at either end; empty for zero.
    text: Box<str>,
    exponent: i64,
}

impl Digits {
    fn of(number: Number) -> Digits {
        let mut text = Vec::new();
        match number {
            Number::Int(int) => text.extend_from_slice(itoa::Buffer::new().format(int).as_bytes()),
            Number::Float(float) => shortest(float, &mut text),
        }
        let digits = std::str::from_utf8(&text).ok().and_then(Digits::parse);
        digits.unwrap_or_else(|| unreachable!("a number is written as one: {number:?}"))
    }

    /// Reads what `BigDecimal` reads, in ASCII.
    fn parse(text: &str) -> Option<Digits> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, i64::from(exponent.parse::<i32>().ok()?)),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_number = whole.len() + fraction.len() > 0
            && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
        // As the exponent, the scale is an `int`.
        let scale = i64::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        if !is_number || i32::try_from(scale).is_err() {
            return None;
        }
        let all = [whole, fraction].concat();
        let significant = all.trim_start_matches('0');
        let zeros = all.len() - significant.len();
        let exponent = exponent + whole.len() as i64 - zeros as i64;
        let is_negative = text.starts_with('-') && !significant.is_empty();
        Some(Digits { is_negative, text: significant.trim_end_matches('0').into(), exponent })
    }

    fn compare(&self, other: &Digits) -> Ordering {
        let sign = |it: &Digits| match (it.text.is_empty(), it.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let (this, that) = (sign(self), sign(other));
        if this != that || this == 0 {
            return this.cmp(&that);
        }
        let size = self.exponent.cmp(&other.exponent).then_with(|| self.text.cmp(&other.text));
        if self.is_negative { size.reverse() } else { size }
    }
}

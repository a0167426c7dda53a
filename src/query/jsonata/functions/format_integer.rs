//! `$formatInteger` and `$parseInteger`: the pictures of XPath's `fn:format-integer`, in English.

use super::convert::{number_text, picture_text};
use crate::query::jsonata::eval::{Args, Eval, EvalError, Failure, Frame, Outcome};
use crate::query::jsonata::number::js_text;

/// The format of an integer.
#[derive(Clone, Debug)]
pub(super) struct IntegerPicture {
    pub(super) style: Style,
    pub(super) ordinal: bool,
}

/// Upper case, lower case, or each word with a capital.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Upper,
    Lower,
    Title,
}

#[derive(Clone, Debug)]
pub(super) enum Style {
    Letters(Case),
    Roman(Case),
    Words(Case),
    Decimal(Decimal),
    /// A numbering sequence that is not supported.
    Sequence(String),
}

/// A pattern of digits.
#[derive(Clone, Debug)]
pub(super) struct Decimal {
    /// The character for zero.
    pub(super) zero: u32,
    pub(super) mandatory: usize,
    pub(super) optional: usize,
    /// Whether separators are at every multiple of the first one's position.
    pub(super) regular: bool,
    /// Digits to the right, and the separator.
    pub(super) separators: Vec<(usize, char)>,
    /// Digits to parse when another number follows.
    pub(super) parse_width: Option<usize>,
}

/// Where Unicode's decimal digits begin.
const ZEROS: [u32; 37] = [
    0x30, 0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66,
    0x0DE6, 0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50,
    0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10,
];

fn fail<T>(code: &'static str, message: String) -> Outcome<T> {
    Err(Failure::new(EvalError::new(code, message)))
}

/// Parses a picture.
pub(super) fn picture(text: &str) -> Outcome<IntegerPicture> {
    let (primary, modifier) = text.rsplit_once(';').unwrap_or((text, ""));
    let ordinal = modifier.starts_with('o');
    let style = match primary {
        "A" => Style::Letters(Case::Upper),
        "a" => Style::Letters(Case::Lower),
        "I" => Style::Roman(Case::Upper),
        "i" => Style::Roman(Case::Lower),
        "W" => Style::Words(Case::Upper),
        "w" => Style::Words(Case::Lower),
        "Ww" => Style::Words(Case::Title),
        _ => digits(primary)?,
    };
    Ok(IntegerPicture { style, ordinal })
}

fn digits(primary: &str) -> Outcome<Style> {
    let mut zero = None;
    let (mut mandatory, mut optional, mut separators) = (0, 0, Vec::new());
    for c in primary.chars().rev() {
        let code = c as u32;
        if let Some(&group) = ZEROS.iter().find(|&&group| (group..group + 10).contains(&code)) {
            mandatory += 1;
            if *zero.get_or_insert(group) != group {
                let message =
                    "In a decimal digit pattern, all digits must be from the same decimal group".to_owned();
                return fail("D3131", message);
            }
        } else if c == '#' {
            optional += 1;
        } else {
            separators.push((mandatory + optional, c));
        }
    }
    let Some(zero) = zero else { return Ok(Style::Sequence(primary.to_owned())) };
    let regular = regular(&separators);
    Ok(Style::Decimal(Decimal {
        zero,
        mandatory,
        optional,
        regular: regular.is_some(),
        separators: match regular {
            Some(width) => vec![(width, separators[0].1)],
            None => separators,
        },
        parse_width: None,
    }))
}

/// The distance of separators that are equal and equally spaced.
fn regular(separators: &[(usize, char)]) -> Option<usize> {
    let &(_, first) = separators.first()?;
    if separators.iter().any(|&(_, c)| c != first) {
        return None;
    }
    regular_distance(&separators.iter().map(|&(place, _)| place).collect::<Vec<_>>())
}

/// The distance whose multiples are exactly the positions, if there is one.
pub(super) fn regular_distance(places: &[usize]) -> Option<usize> {
    let factor = places.iter().copied().reduce(gcd).filter(|&factor| factor > 0)?;
    (1..=places.len()).all(|index| places.contains(&(index * factor))).then_some(factor)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

pub(super) fn format(eval: &mut Eval<'_>, [value, pattern, ..]: Args, _: Frame) -> Outcome {
    let Some(value) = eval.arena.as_f64(value) else { return Ok(value) };
    let picture = picture(picture_text(eval, pattern)?)?;
    let text = format_with(value.floor(), &picture, eval.limits.string_chars)?;
    eval.string(&text)
}

/// Formats an integer.
pub(super) fn format_with(value: f64, picture: &IntegerPicture, chars_max: usize) -> Outcome<String> {
    let (negative, value) = (value < 0.0, value.abs());
    let mut text = match &picture.style {
        Style::Letters(case) => letters(value, *case),
        Style::Roman(case) => {
            if value > chars_max as f64 {
                return fail("D3130", "The number is too large for roman numerals".to_owned());
            }
            cased(roman(value), *case)
        }
        Style::Words(case) => cased(words(value, picture.ordinal), *case),
        Style::Decimal(decimal) => decimal_text(value, decimal, picture.ordinal),
        Style::Sequence(token) => {
            let token = crate::query::jsonata::syntax::quote(token);
            let message = format!(
                "Formatting or parsing an integer as a sequence starting with {token} is not supported by this \
                 implementation"
            );
            return fail("D3130", message);
        }
    };
    if negative {
        text.insert(0, '-');
    }
    Ok(text)
}

fn cased(text: String, case: Case) -> String {
    match case {
        Case::Upper => text.to_uppercase(),
        Case::Lower => text.to_lowercase(),
        Case::Title => text,
    }
}

fn letters(mut value: f64, case: Case) -> String {
    let first = if case == Case::Upper { b'A' } else { b'a' };
    let mut out = Vec::new();
    while value > 0.0 && out.len() < 400 {
        out.push(char::from(first + ((value - 1.0) % 26.0) as u8));
        value = ((value - 1.0) / 26.0).floor();
    }
    out.iter().rev().collect()
}

const ROMAN: [(f64, &str); 13] = [
    (1000.0, "m"),
    (900.0, "cm"),
    (500.0, "d"),
    (400.0, "cd"),
    (100.0, "c"),
    (90.0, "xc"),
    (50.0, "l"),
    (40.0, "xl"),
    (10.0, "x"),
    (9.0, "ix"),
    (5.0, "v"),
    (4.0, "iv"),
    (1.0, "i"),
];

fn roman(mut value: f64) -> String {
    let mut out = String::new();
    for (weight, numeral) in ROMAN {
        while value >= weight {
            out.push_str(numeral);
            value -= weight;
        }
    }
    out
}

const FEW: [&str; 20] = [
    "Zero",
    "One",
    "Two",
    "Three",
    "Four",
    "Five",
    "Six",
    "Seven",
    "Eight",
    "Nine",
    "Ten",
    "Eleven",
    "Twelve",
    "Thirteen",
    "Fourteen",
    "Fifteen",
    "Sixteen",
    "Seventeen",
    "Eighteen",
    "Nineteen",
];
const ORDINALS: [&str; 20] = [
    "Zeroth",
    "First",
    "Second",
    "Third",
    "Fourth",
    "Fifth",
    "Sixth",
    "Seventh",
    "Eighth",
    "Ninth",
    "Tenth",
    "Eleventh",
    "Twelfth",
    "Thirteenth",
    "Fourteenth",
    "Fifteenth",
    "Sixteenth",
    "Seventeenth",
    "Eighteenth",
    "Nineteenth",
];
const DECADES: [&str; 8] = ["Twenty", "Thirty", "Forty", "Fifty", "Sixty", "Seventy", "Eighty", "Ninety"];
const MAGNITUDES: [&str; 4] = ["Thousand", "Million", "Billion", "Trillion"];

fn words(value: f64, ordinal: bool) -> String {
    let mut out = String::new();
    push_words(value, false, ordinal, &mut out);
    out
}

fn push_words(value: f64, follows: bool, ordinal: bool, out: &mut String) {
    if value < 100.0 {
        if follows {
            out.push_str(" and ");
        }
        push_tens(value as usize, ordinal, out);
        return;
    }
    if follows {
        out.push_str(", ");
    }
    let rest = if value < 1000.0 {
        out.push_str(FEW[(value / 100.0) as usize]);
        out.push_str(" Hundred");
        value % 100.0
    } else {
        let magnitude = ((value.log10() / 3.0).floor() as usize).clamp(1, MAGNITUDES.len());
        let factor = 10f64.powi(3 * magnitude as i32);
        let count = (value / factor).floor();
        // Beyond the largest word the count is written in words; a double ends after a few rounds.
        push_words(count, false, false, out);
        out.push(' ');
        out.push_str(MAGNITUDES[magnitude - 1]);
        value - count * factor
    };
    match rest > 0.0 {
        true => push_words(rest, true, ordinal, out),
        false if ordinal => out.push_str("th"),
        false => {}
    }
}

fn push_tens(value: usize, ordinal: bool, out: &mut String) {
    let few = if ordinal { &ORDINALS } else { &FEW };
    if let Some(word) = few.get(value) {
        out.push_str(word);
        return;
    }
    let decade = DECADES[(value / 10 - 2).min(7)];
    match value % 10 {
        0 if ordinal => {
            out.push_str(&decade[..decade.len() - 1]);
            out.push_str("ieth");
        }
        0 => out.push_str(decade),
        rest => {
            out.push_str(decade);
            out.push('-');
            out.push_str(few[rest]);
        }
    }
}

fn decimal_text(value: f64, decimal: &Decimal, ordinal: bool) -> String {
    let mut digits = js_text(value);
    if digits.len() < decimal.mandatory {
        digits.insert_str(0, &"0".repeat(decimal.mandatory - digits.len()));
    }
    let suffix = ordinal.then(|| ordinal_suffix(&digits));
    let count = digits.chars().count();
    let mut out = String::new();
    for (index, c) in digits.chars().enumerate() {
        let right = count - index;
        let separator = if decimal.regular {
            decimal.separators.first().filter(|&&(width, _)| right.is_multiple_of(width))
        } else {
            decimal.separators.iter().find(|&&(place, _)| place == right)
        };
        if let (Some(&(_, separator)), true) = (separator, index > 0) {
            out.push(separator);
        }
        out.push(match c.to_digit(10) {
            Some(digit) => char::from_u32(decimal.zero + digit).unwrap_or(c),
            None => c,
        });
    }
    out.push_str(suffix.unwrap_or(""));
    out
}

fn ordinal_suffix(digits: &str) -> &'static str {
    let bytes = digits.as_bytes();
    let teen = bytes.len() > 1 && bytes[bytes.len() - 2] == b'1';
    match bytes.last() {
        Some(b'1') if !teen => "st",
        Some(b'2') if !teen => "nd",
        Some(b'3') if !teen => "rd",
        _ => "th",
    }
}

// ---- parsing ----

pub(super) fn parse(eval: &mut Eval<'_>, [text, pattern, ..]: Args, _: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let picture = picture(picture_text(eval, pattern)?)?;
    let value = parse_with(number_text(eval, text)?, &picture)?;
    Ok(eval.number(value))
}

/// Parses an integer that was formatted with a picture.
pub(super) fn parse_with(text: &str, picture: &IntegerPicture) -> Outcome<f64> {
    Ok(match &picture.style {
        Style::Letters(case) => {
            let first = if *case == Case::Upper { 'A' } else { 'a' } as i64;
            text.chars().fold(0.0, |value, c| value * 26.0 + (c as i64 - first + 1) as f64)
        }
        Style::Roman(_) => parse_roman(&text.to_lowercase()),
        Style::Words(_) => parse_words(&text.to_lowercase()),
        Style::Decimal(decimal) => parse_decimal(text, decimal, picture.ordinal),
        Style::Sequence(token) => {
            let token = crate::query::jsonata::syntax::quote(token);
            let message = format!(
                "Formatting or parsing an integer as a sequence starting with {token} is not supported by this \
                 implementation"
            );
            return fail("D3130", message);
        }
    })
}

fn parse_decimal(text: &str, decimal: &Decimal, ordinal: bool) -> f64 {
    let text = if ordinal { text.get(..text.len().saturating_sub(2)).unwrap_or(text) } else { text };
    let separator = |c: char| {
        if decimal.regular {
            c == ',' || decimal.separators.iter().any(|&(_, known)| known == c)
        } else {
            decimal.separators.iter().any(|&(_, known)| known == c)
        }
    };
    let digits: String = text
        .chars()
        .filter(|&c| !separator(c))
        .map(|c| {
            let digit = (c as u32).checked_sub(decimal.zero).filter(|&digit| digit < 10);
            digit.and_then(|digit| char::from_digit(digit, 10)).unwrap_or(c)
        })
        .collect();
    let sign = usize::from(digits.starts_with(['-', '+']));
    let length = digits[sign..].bytes().take_while(u8::is_ascii_digit).count();
    digits[..sign + length].parse().unwrap_or(f64::NAN)
}

fn parse_roman(text: &str) -> f64 {
    let weight = |c: char| {
        ROMAN
            .iter()
            .find(|(_, numeral)| numeral.len() == 1 && numeral.starts_with(c))
            .map_or(0.0, |&(w, _)| w)
    };
    let (mut total, mut largest) = (0.0, 1.0);
    for c in text.chars().rev() {
        let value = weight(c);
        if value < largest {
            total -= value;
        } else {
            largest = value;
            total += value;
        }
    }
    total
}

fn parse_words(text: &str) -> f64 {
    let mut segments = vec![0.0];
    let normal = text.replace(", ", " ").replace(" and ", " ");
    for word in normal.split([' ', '\t', '\n', '\\', '-']) {
        let Some(value) = word_value(word) else { return f64::NAN };
        let top = segments.pop().unwrap_or(0.0);
        if value >= 100.0 {
            segments.push(top * value);
        } else if top >= 1000.0 {
            segments.push(top);
            segments.push(value);
        } else {
            segments.push(top + value);
        }
    }
    segments.iter().sum()
}

fn word_value(word: &str) -> Option<f64> {
    let find = |words: &[&str]| words.iter().position(|known| known.eq_ignore_ascii_case(word));
    if let Some(value) = find(&FEW).or_else(|| find(&ORDINALS)) {
        return Some(value as f64);
    }
    let decade = DECADES.iter().position(|known| {
        known.eq_ignore_ascii_case(word)
            || word
                .strip_suffix("ieth")
                .is_some_and(|stem| known[..known.len() - 1].eq_ignore_ascii_case(stem))
    });
    if let Some(decade) = decade {
        return Some((decade + 2) as f64 * 10.0);
    }
    let stem = word.strip_suffix("th").unwrap_or(word);
    if stem.eq_ignore_ascii_case("hundred") {
        return Some(100.0);
    }
    let magnitude = MAGNITUDES.iter().position(|known| known.eq_ignore_ascii_case(stem))?;
    Some(10f64.powi(3 * (magnitude as i32 + 1)))
}

/// The words a number may consist of, for parsing dates.
pub(super) fn is_number_word(word: &str) -> bool {
    word_value(word).is_some()
}

//! `$formatNumber`: the pictures of XPath's `fn:format-number`.

use super::convert::{picture_text, round_to};
use super::format_integer::regular_distance;
use crate::json::Value;
use crate::query::jsonata::eval::{Args, Eval, EvalError, Failure, Frame, Outcome};

/// The characters with a meaning in pictures.
struct Symbols {
    decimal: String,
    grouping: String,
    exponent: String,
    minus: String,
    percent: String,
    per_mille: String,
    zero: char,
    digit: String,
    pattern: String,
}

fn fail<T>(code: &'static str) -> Outcome<T> {
    let message = match code {
        "D3080" => "The picture string must only contain a maximum of two sub-pictures",
        "D3081" => {
            "The sub-picture must not contain more than one instance of the 'decimal-separator' character"
        }
        "D3082" => "The sub-picture must not contain more than one instance of the 'percent' character",
        "D3083" => "The sub-picture must not contain more than one instance of the 'per-mille' character",
        "D3084" => "The sub-picture must not contain both a 'percent' and a 'per-mille' character",
        "D3085" => {
            "The mantissa part of a sub-picture must contain at least one character that is either an 'optional \
             digit character' or a member of the 'decimal digit family'"
        }
        "D3086" => {
            "The sub-picture must not contain a passive character that is preceded by an active character and that \
             is followed by another active character"
        }
        "D3087" => {
            "The sub-picture must not contain a 'grouping-separator' character that appears adjacent to a \
             'decimal-separator' character"
        }
        "D3088" => "The sub-picture must not contain a 'grouping-separator' at the end of the integer part",
        "D3089" => {
            "The sub-picture must not contain two adjacent instances of the 'grouping-separator' character"
        }
        "D3090" => {
            "The integer part of the sub-picture must not contain a member of the 'decimal digit family' that is \
             followed by an instance of the 'optional digit character'"
        }
        "D3091" => {
            "The fractional part of the sub-picture must not contain an instance of the 'optional digit character' \
             that is followed by a member of the 'decimal digit family'"
        }
        "D3092" => {
            "A sub-picture that contains a 'percent' or 'per-mille' character must not contain a character treated \
             as an 'exponent-separator'"
        }
        _ => {
            "The exponent part of the sub-picture must comprise only of one or more characters that are members of \
             the 'decimal digit family'"
        }
    };
    Err(Failure::new(EvalError::new(code, message.to_owned())))
}

impl Symbols {
    fn new(eval: &Eval<'_>, options: Value) -> Symbols {
        let symbol = |name: &str, default: &str| {
            let given = eval.arena.get_str(options, name).and_then(|value| eval.arena.as_str(value));
            // A symbol is a character; a longer text could not occur in a picture.
            let given = given.filter(|given| given.len() <= crate::limits::JSONATA_PICTURE_BYTES_MAX);
            given.unwrap_or(default).to_owned()
        };
        Symbols {
            decimal: symbol("decimal-separator", "."),
            grouping: symbol("grouping-separator", ","),
            exponent: symbol("exponent-separator", "e"),
            minus: symbol("minus-sign", "-"),
            percent: symbol("percent", "%"),
            per_mille: symbol("per-mille", "\u{2030}"),
            zero: symbol("zero-digit", "0").chars().next().unwrap_or('0'),
            digit: symbol("digit", "#"),
            pattern: symbol("pattern-separator", ";"),
        }
    }

    fn is_family(&self, c: char) -> bool {
        (c as u32).checked_sub(self.zero as u32).is_some_and(|digit| digit < 10)
    }

    fn is(&self, symbol: &str, c: char) -> bool {
        let mut chars = symbol.chars();
        chars.next() == Some(c) && chars.next().is_none()
    }

    fn is_active(&self, c: char) -> bool {
        self.is_family(c)
            || [&self.decimal, &self.exponent, &self.grouping, &self.digit, &self.pattern]
                .iter()
                .any(|symbol| self.is(symbol, c))
    }

    fn is_place(&self, c: char) -> bool {
        self.is_family(c) || self.is(&self.digit, c)
    }

    fn family_count(&self, text: &str) -> usize {
        text.chars().filter(|&c| self.is_family(c)).count()
    }
}

/// A picture split into its parts.
struct Parts<'p> {
    picture: &'p str,
    prefix: &'p str,
    suffix: &'p str,
    active: &'p str,
    integer: &'p str,
    fraction: &'p str,
    exponent: Option<&'p str>,
}

impl<'p> Parts<'p> {
    fn cut(picture: &'p str, symbols: &Symbols) -> Parts<'p> {
        let begins = |c: char| symbols.is_active(c) && !symbols.is(&symbols.exponent, c);
        // A picture of passive characters only is refused as if they were between active ones.
        let first = picture.find(begins).unwrap_or(0);
        let last = picture
            .rfind(begins)
            .map_or(picture.len(), |at| at + picture[at..].chars().next().map_or(0, char::len_utf8));
        let active = &picture[first..last];
        let (mantissa, exponent) = match active.split_once(symbols.exponent.as_str()) {
            Some((mantissa, exponent)) if !symbols.exponent.is_empty() => (mantissa, Some(exponent)),
            None if picture[last..].starts_with(symbols.exponent.as_str()) => (active, Some("")),
            _ => (active, None),
        };
        let (integer, fraction) = mantissa.split_once(symbols.decimal.as_str()).unwrap_or((mantissa, ""));
        Parts {
            picture,
            prefix: &picture[..first],
            suffix: &picture[last..],
            active,
            integer,
            fraction,
            exponent,
        }
    }

    fn check(&self, symbols: &Symbols) -> Outcome<()> {
        let count = |symbol: &str| if symbol.is_empty() { 0 } else { self.picture.matches(symbol).count() };
        let (percents, per_milles) = (count(&symbols.percent), count(&symbols.per_mille));
        let mantissa_places = self.integer.chars().chain(self.fraction.chars()).any(|c| symbols.is_place(c));
        let grouping = symbols.grouping.as_str();
        let touches = format!("{grouping}{}", symbols.decimal);
        let touched = format!("{}{grouping}", symbols.decimal);
        let has_decimal = count(&symbols.decimal) > 0;
        let doubled = format!("{grouping}{grouping}");
        let digit = symbols.digit.as_str();
        let optional_in_integer = self.integer.find(digit);
        let optional_in_fraction = self.fraction.rfind(digit);
        let checks = [
            (count(&symbols.decimal) > 1, "D3081"),
            (percents > 1, "D3082"),
            (per_milles > 1, "D3083"),
            (percents > 0 && per_milles > 0, "D3084"),
            (!mantissa_places, "D3085"),
            (self.active.chars().any(|c| !symbols.is_active(c)), "D3086"),
            (has_decimal && (self.picture.contains(&touches) || self.picture.contains(&touched)), "D3087"),
            (!has_decimal && !grouping.is_empty() && self.integer.ends_with(grouping), "D3088"),
            (!grouping.is_empty() && self.picture.contains(&doubled), "D3089"),
            (optional_in_integer.is_some_and(|at| symbols.family_count(&self.integer[..at]) > 0), "D3090"),
            (optional_in_fraction.is_some_and(|at| symbols.family_count(&self.fraction[at..]) > 0), "D3091"),
            (self.exponent.is_some_and(|text| !text.is_empty()) && percents + per_milles > 0, "D3092"),
            (
                self.exponent
                    .is_some_and(|text| text.is_empty() || text.chars().any(|c| !symbols.is_family(c))),
                "D3093",
            ),
        ];
        // Of several errors the reference reports the last.
        match checks.iter().rfind(|(wrong, _)| *wrong) {
            Some((_, code)) => fail(code),
            None => Ok(()),
        }
    }
}

/// Sizes and positions of a picture.
struct Layout {
    integer_groups: Vec<usize>,
    regular: Option<usize>,
    fraction_groups: Vec<usize>,
    integer_min: usize,
    fraction_min: usize,
    fraction_max: usize,
    exponent_min: Option<usize>,
    scale: usize,
}

impl Layout {
    fn of(parts: &Parts<'_>, symbols: &Symbols) -> Layout {
        let places = |text: &str| text.chars().filter(|&c| symbols.is_place(c)).count();
        let groups = |text: &str, right: bool| -> Vec<usize> {
            text.match_indices(symbols.grouping.as_str())
                .filter(|_| !symbols.grouping.is_empty())
                .map(|(at, _)| if right { places(&text[at..]) } else { places(&text[..at]) })
                .collect()
        };
        let integer_groups = groups(parts.integer, true);
        let scale = symbols.family_count(parts.integer);
        let mut layout = Layout {
            regular: regular_distance(&integer_groups),
            integer_groups,
            fraction_groups: groups(parts.fraction, false),
            integer_min: scale,
            fraction_min: symbols.family_count(parts.fraction),
            fraction_max: places(parts.fraction),
            exponent_min: parts.exponent.map(|text| symbols.family_count(text)),
            scale,
        };
        let exponent = layout.exponent_min.is_some();
        if layout.integer_min == 0 && layout.fraction_max == 0 {
            if exponent {
                (layout.fraction_min, layout.fraction_max) = (1, 1)
            } else {
                layout.integer_min = 1
            }
        }
        if exponent && layout.integer_min == 0 && parts.integer.contains(symbols.digit.as_str()) {
            layout.integer_min = 1;
        }
        if layout.integer_min == 0 && layout.fraction_min == 0 {
            layout.fraction_min = 1;
        }
        layout
    }
}

pub(super) fn format_number(eval: &mut Eval<'_>, [value, picture, options, _]: Args, _: Frame) -> Outcome {
    let Some(value) = eval.arena.as_f64(value) else { return Ok(Value::UNDEFINED) };
    let symbols = Symbols::new(eval, options);
    let picture = picture_text(eval, picture)?.to_owned();
    let pictures: Vec<&str> = if symbols.pattern.is_empty() {
        vec![picture.as_str()]
    } else {
        picture.split(symbols.pattern.as_str()).collect()
    };
    if pictures.len() > 2 {
        return fail("D3080");
    }
    let parts: Vec<Parts<'_>> = pictures.iter().map(|picture| Parts::cut(picture, &symbols)).collect();
    for part in &parts {
        part.check(&symbols)?;
    }
    let (part, sign) = match (value < 0.0, parts.get(1)) {
        (true, Some(negative)) => (negative, ""),
        (true, None) => (&parts[0], symbols.minus.as_str()),
        (false, _) => (&parts[0], ""),
    };
    let layout = Layout::of(part, &symbols);
    let (scaled, zeros) = match () {
        _ if part.picture.contains(&symbols.percent) => (value * 100.0, 2),
        _ if part.picture.contains(&symbols.per_mille) => (value * 1000.0, 3),
        _ => (value, 0),
    };
    // Beyond the range of a double, the digits are shifted.
    let (scaled, zeros) = if scaled.is_finite() { (scaled, 0) } else { (value, zeros) };
    let number = written((scaled, zeros), &layout, part, &symbols);
    let text = format!("{sign}{}{number}{}", part.prefix, part.suffix);
    eval.string(&text)
}

/// The mantissa and exponent of a number for a picture with an exponent.
fn scientific(value: f64, scale: usize) -> (f64, i32) {
    let (mut mantissa, mut exponent) = (value, 0);
    if value == 0.0 || !value.is_finite() {
        return (value, 0);
    }
    let (max, min) = (10f64.powi(scale as i32), 10f64.powi(scale as i32 - 1));
    while mantissa.abs() < min && exponent > -400 {
        mantissa *= 10.0;
        exponent -= 1;
    }
    while mantissa.abs() > max && exponent < 400 {
        mantissa /= 10.0;
        exponent += 1;
    }
    (mantissa, exponent)
}

fn in_family(digits: &str, symbols: &Symbols) -> String {
    digits
        .chars()
        .map(|c| match c.to_digit(10) {
            Some(digit) => char::from_u32(symbols.zero as u32 + digit).unwrap_or(c),
            None => c,
        })
        .collect()
}

fn written((value, zeros): (f64, usize), layout: &Layout, part: &Parts<'_>, symbols: &Symbols) -> String {
    let (mantissa, exponent) = match layout.exponent_min {
        Some(_) => scientific(value, layout.scale),
        None => (value, 0),
    };
    // More places than a double has digits change nothing.
    let places = layout.fraction_max.min(100);
    let rounded = match round_to(mantissa, places as f64).abs() {
        rounded if rounded.is_finite() => rounded,
        // Too large to have any of these places.
        _ => mantissa.abs(),
    };
    // The shortest decimal of this double, not all the digits of its binary fraction.
    let fixed = rounded.to_string();
    let (integer, fraction) = fixed.split_once('.').unwrap_or((&fixed, ""));
    let mut integer = integer.trim_start_matches('0').to_owned();
    let mut fraction = fraction.trim_end_matches('0').to_owned();
    integer.extend(std::iter::repeat_n('0', zeros));
    while integer.len() < layout.integer_min {
        integer.insert(0, '0');
    }
    while fraction.len() < layout.fraction_min {
        fraction.push('0');
    }
    let mut out = String::new();
    for (index, c) in integer.chars().enumerate() {
        let right = integer.len() - index;
        let separated = match layout.regular {
            Some(distance) => right.is_multiple_of(distance),
            None => layout.integer_groups.contains(&right),
        };
        if separated && index > 0 {
            out.push_str(&symbols.grouping);
        }
        out.push(c);
    }
    let mut out = in_family(&out, symbols);
    if !fraction.is_empty() && part.picture.contains(&symbols.decimal) {
        out.push_str(&symbols.decimal);
        for (index, c) in fraction.chars().enumerate() {
            if index > 0 && layout.fraction_groups.contains(&index) {
                out.push_str(&symbols.grouping);
            }
            out.push_str(&in_family(c.encode_utf8(&mut [0; 4]), symbols));
        }
    }
    if let Some(width) = layout.exponent_min {
        let digits = format!("{:0width$}", exponent.unsigned_abs());
        out.push_str(&symbols.exponent);
        if exponent < 0 {
            out.push_str(&symbols.minus);
        }
        out.push_str(&in_family(&digits, symbols));
    }
    out
}

//! Numbers, booleans, conversions, errors.

use crate::json::{Kind, Value};
use crate::query::jsonata::eval::{Args, Eval, EvalError, Failure, Frame, Outcome};
use crate::query::jsonata::number::{js_text, shift_point, write_js};

fn fail(code: &'static str, message: String) -> Outcome {
    Err(Failure::new(EvalError::new(code, message)))
}

pub(super) fn string(eval: &mut Eval<'_>, [value, pretty, ..]: Args, _: Frame) -> Outcome {
    if value.is_undefined() || value.is_string() {
        return Ok(value);
    }
    let mut text = std::mem::take(&mut eval.scratch.text2);
    text.clear();
    let written = if pretty.as_bool() == Some(true) && value.is_container() {
        eval.write_container(value, &mut text, Some(2))
    } else {
        eval.write_text(value, &mut text)
    };
    let result = written.and_then(|()| eval.string(&text));
    eval.scratch.text2 = text;
    result
}

pub(super) fn number(eval: &mut Eval<'_>, [value, ..]: Args, _: Frame) -> Outcome {
    match value.kind() {
        Kind::Undefined | Kind::Int | Kind::Decimal | Kind::Float => return Ok(value),
        Kind::Bool => return Ok(Value::int(i64::from(value.as_bool() == Some(true)))),
        _ => {}
    }
    let text = number_text(eval, value)?;
    let parsed = if is_decimal(text) { text.parse().ok() } else { radix_number(text) };
    match parsed {
        Some(float) if f64::is_finite(float) => Ok(eval.number(float)),
        _ => fail("D3030", format!("Unable to cast value to a number: {}", eval.quoted(value))),
    }
}

/// A text to be parsed as a number or a date, which is never long.
pub(super) fn number_text<'e>(eval: &'e Eval<'_>, text: Value) -> Outcome<&'e str> {
    short(eval, text, crate::limits::JSONATA_NUMBER_BYTES_MAX, 20)
}

/// The picture of a number or a date.
pub(super) fn picture_text<'e>(eval: &'e Eval<'_>, text: Value) -> Outcome<&'e str> {
    short(eval, text, crate::limits::JSONATA_PICTURE_BYTES_MAX, 200)
}

fn short<'e>(eval: &'e Eval<'_>, text: Value, bytes_max: usize, work: u64) -> Outcome<&'e str> {
    if text.len() > bytes_max {
        return Err(eval.out_of_memory());
    }
    eval.charge(work * text.len() as u64)?;
    Ok(eval.arena.str(text))
}

/// `-?[0-9]+(\.[0-9]+)?([Ee][-+]?[0-9]+)?`
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let exponent_fits = exponent.is_none_or(|text| digits(text.strip_prefix(['+', '-']).unwrap_or(text)));
    let mantissa_fits = match mantissa.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(mantissa),
    };
    exponent_fits && mantissa_fits
}

/// `0x…`, `0o…`, `0b…`
fn radix_number(text: &str) -> Option<f64> {
    let digits = text.get(2..)?;
    let radix = match text.get(..2)? {
        "0x" | "0X" => 16,
        "0o" | "0O" => 8,
        "0b" | "0B" => 2,
        _ => return None,
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0.0;
    for c in digits.chars() {
        value = value * f64::from(radix) + f64::from(c.to_digit(radix)?);
    }
    Some(value)
}

/// A function of one number.
fn unary(eval: &mut Eval<'_>, value: Value, function: impl Fn(f64) -> f64) -> Outcome {
    match eval.arena.as_f64(value) {
        Some(float) => Ok(eval.number(function(float))),
        None => Ok(Value::UNDEFINED),
    }
}

pub(super) fn floor(eval: &mut Eval<'_>, [value, ..]: Args, _: Frame) -> Outcome {
    unary(eval, value, f64::floor)
}

pub(super) fn ceil(eval: &mut Eval<'_>, [value, ..]: Args, _: Frame) -> Outcome {
    unary(eval, value, f64::ceil)
}

pub(super) fn abs(eval: &mut Eval<'_>, [value, ..]: Args, _: Frame) -> Outcome {
    unary(eval, value, f64::abs)
}

pub(super) fn round(eval: &mut Eval<'_>, [value, precision, ..]: Args, _: Frame) -> Outcome {
    let precision = eval.arena.as_f64(precision).unwrap_or(0.0);
    unary(eval, value, |float| round_to(float, precision))
}

/// Rounds half to even at a decimal place.
pub(super) fn round_to(float: f64, precision: f64) -> f64 {
    if precision == 0.0 {
        return float.round_ties_even() + 0.0;
    }
    let rounded = shift_point(float, precision).round_ties_even();
    shift_point(rounded, -precision) + 0.0
}

pub(super) fn sqrt(eval: &mut Eval<'_>, [value, ..]: Args, _: Frame) -> Outcome {
    match eval.arena.as_f64(value) {
        Some(float) if float < 0.0 => fail(
            "D3060",
            format!("The sqrt function cannot be applied to a negative number: {}", eval.quoted(value)),
        ),
        _ => unary(eval, value, f64::sqrt),
    }
}

pub(super) fn power(eval: &mut Eval<'_>, [base, exponent, ..]: Args, _: Frame) -> Outcome {
    let Some(x) = eval.arena.as_f64(base) else { return Ok(Value::UNDEFINED) };
    let result = eval.arena.as_f64(exponent).map_or(f64::NAN, |y| x.powf(y));
    if !result.is_finite() {
        return fail(
            "D3061",
            format!(
                "The power function has resulted in a value that cannot be represented as a JSON number: base={}, \
                 exponent={}",
                eval.quoted(base),
                eval.quoted(exponent)
            ),
        );
    }
    Ok(eval.number(result))
}

/// 0 ≤ n < 1 from 53 random bits.
pub(super) fn random(eval: &mut Eval<'_>, _: Args, _: Frame) -> Outcome {
    let bits = (eval.random)() >> 11;
    Ok(eval.number(bits as f64 / (1u64 << 53) as f64))
}

pub(super) fn format_base(eval: &mut Eval<'_>, [value, radix, ..]: Args, _: Frame) -> Outcome {
    let Some(float) = eval.arena.as_f64(value) else { return Ok(Value::UNDEFINED) };
    let radix = eval.arena.as_f64(radix).map_or(10.0, |radix| round_to(radix, 0.0));
    if !(2.0..=36.0).contains(&radix) {
        let radix = js_text(radix);
        let message =
            format!("The radix of the formatBase function must be between 2 and 36.  It was given {radix}");
        return fail("D3100", message);
    }
    let float = round_to(float, 0.0);
    let mut text = String::new();
    if radix == 10.0 || !float.is_finite() {
        write_js(float, &mut text);
    } else {
        let mut rest = float.abs();
        while rest >= 1.0 {
            text.push(char::from_digit((rest % radix) as u32, radix as u32).unwrap_or('0'));
            rest = (rest / radix).floor();
        }
        if text.is_empty() {
            text.push('0');
        }
        if float < 0.0 {
            text.push('-');
        }
        text = text.chars().rev().collect();
    }
    eval.string(&text)
}

pub(super) fn boolean(eval: &mut Eval<'_>, [value, ..]: Args, _: Frame) -> Outcome {
    if value.is_undefined() {
        return Ok(value);
    }
    Ok(Value::bool(eval.truth(value)?))
}

pub(super) fn not(eval: &mut Eval<'_>, [value, ..]: Args, _: Frame) -> Outcome {
    if value.is_undefined() {
        return Ok(value);
    }
    Ok(Value::bool(!eval.truth(value)?))
}

pub(super) fn exists(_: &mut Eval<'_>, [value, ..]: Args, _: Frame) -> Outcome {
    Ok(Value::bool(!value.is_undefined()))
}

pub(super) fn type_of(eval: &mut Eval<'_>, [value, ..]: Args, _: Frame) -> Outcome {
    let name = match value.kind() {
        Kind::Undefined | Kind::Header => return Ok(Value::UNDEFINED),
        Kind::Null => "null",
        Kind::Bool => "boolean",
        Kind::Int | Kind::Decimal | Kind::Float => "number",
        Kind::String => "string",
        Kind::Array => "array",
        Kind::Object => "object",
        Kind::Opaque => "function",
    };
    eval.string(name)
}

pub(super) fn error(eval: &mut Eval<'_>, [message, ..]: Args, _: Frame) -> Outcome {
    let text = eval.arena.as_str(message).unwrap_or("");
    fail("D3137", if text.is_empty() { "$error() function evaluated" } else { text }.to_owned())
}

pub(super) fn assert(eval: &mut Eval<'_>, [condition, message, ..]: Args, _: Frame) -> Outcome {
    if condition.as_bool() == Some(true) {
        return Ok(Value::UNDEFINED);
    }
    let text = eval.arena.as_str(message).unwrap_or("");
    fail("D3141", if text.is_empty() { "$assert() statement failed" } else { text }.to_owned())
}

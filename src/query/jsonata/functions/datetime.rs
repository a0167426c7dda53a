//! `$now $millis $fromMillis $toMillis`.

use super::convert::{number_text, picture_text};
use super::datetime_parse::{self, EPOCH};
use super::datetime_picture::{DAYS, MONTHS, Marker, Part, fail, not_a_name, picture};
use super::format_integer::{Case, Style, format_with};
use crate::json::Value;
use crate::query::jsonata::eval::{Args, Eval, Frame, Outcome};
use jiff::civil::{Date, DateTime, Weekday};

/// Milliseconds since 1970 as a civil time, moved by an offset. Not by way of an instant, which ends a day before the
/// year 9999 does.
fn civil(millis: f64) -> Option<DateTime> {
    const MILLIS_MAX: f64 = 8.64e15;
    let since = jiff::SignedDuration::from_millis(millis.floor() as i64);
    if millis.abs() <= MILLIS_MAX { EPOCH.checked_add(since).ok() } else { None }
}

pub(super) fn now(eval: &mut Eval<'_>, [picture, zone, ..]: Args, _: Frame) -> Outcome {
    let now = eval.now_ms as f64;
    formatted(eval, now, picture, zone)
}

pub(super) fn millis(eval: &mut Eval<'_>, _: Args, _: Frame) -> Outcome {
    Ok(Value::int(eval.now_ms))
}

pub(super) fn from_millis(eval: &mut Eval<'_>, [millis, picture, zone, _]: Args, _: Frame) -> Outcome {
    match eval.arena.as_f64(millis) {
        Some(millis) => formatted(eval, millis, picture, zone),
        None => Ok(Value::UNDEFINED),
    }
}

pub(super) fn to_millis(eval: &mut Eval<'_>, [text, pattern, ..]: Args, _: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let source = number_text(eval, text)?;
    let millis = match eval.arena.as_str(pattern) {
        None => match datetime_parse::iso(source) {
            Some(millis) => Some(millis),
            None => {
                let quoted = eval.quoted(text);
                let message = format!(
                    "The argument of the toMillis function must be an ISO 8601 formatted timestamp. Given {quoted}"
                );
                return fail("D3110", message);
            }
        },
        Some(_) => {
            let parts = picture(picture_text(eval, pattern)?)?;
            eval.charge(parts.len() as u64 * 200)?;
            datetime_parse::parse(source, &parts, eval.now_ms)?
        }
    };
    Ok(millis.map_or(Value::UNDEFINED, |millis| eval.number(millis)))
}

fn formatted(eval: &mut Eval<'_>, millis: f64, pattern: Value, zone: Value) -> Outcome {
    let default = "[Y0001]-[M01]-[D01]T[H01]:[m01]:[s01].[f001][Z01:01t]";
    // `+hhmm` as a number; hours and minutes are its digits.
    let zone: i64 = eval.arena.as_str(zone).and_then(leading_int).unwrap_or(0);
    let (hours, minutes) = (zone.div_euclid(100), zone % 100);
    let offset_minutes = 60 * hours + minutes;
    let parts = if pattern.is_string() { picture(picture_text(eval, pattern)?)? } else { picture(default)? };
    eval.charge(parts.len() as u64 * 200)?;
    let Some(time) = civil(millis.trunc() + (offset_minutes * 60_000) as f64) else {
        return fail("D3137", "Invalid time value".to_owned());
    };
    let mut out = String::new();
    for part in &parts {
        match part {
            Part::Literal(text) => out.push_str(text),
            Part::Marker(marker) => push_component(time, marker, (hours, minutes), &mut out)?,
        }
    }
    eval.string(&out)
}

fn leading_int(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let sign = usize::from(text.starts_with(['+', '-']));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count().min(9);
    text[..sign + digits].parse().ok()
}

fn push_component(time: DateTime, marker: &Marker, zone: (i64, i64), out: &mut String) -> Outcome<()> {
    let number = match marker.component {
        'Z' | 'z' => return push_zone(marker, zone, out),
        'C' | 'E' => {
            out.push_str("ISO");
            return Ok(());
        }
        'P' => {
            let name = if time.hour() < 12 { "am" } else { "pm" };
            match marker.names {
                Some(Case::Upper) => out.push_str(&name.to_uppercase()),
                _ => out.push_str(name),
            }
            return Ok(());
        }
        component => component_value(time, component),
    };
    if let Some(case) = marker.names {
        let name = match marker.component {
            'M' | 'x' => MONTHS[number as usize - 1],
            'F' => DAYS[number as usize - 1],
            other => return fail("D3133", not_a_name(other)),
        };
        let name = match case {
            Case::Upper => name.to_uppercase(),
            Case::Lower => name.to_lowercase(),
            Case::Title => name.to_owned(),
        };
        out.push_str(&name[..marker.width_max.unwrap_or(name.len()).min(name.len())]);
        return Ok(());
    }
    let number = match marker.digits {
        Some(digits) if marker.component == 'Y' && digits < 9 => number % 10i64.pow(digits as u32),
        _ => number,
    };
    if let Some(picture) = &marker.integer {
        out.push_str(&format_with(number as f64, picture, 10_000)?);
    }
    Ok(())
}

fn component_value(time: DateTime, component: char) -> i64 {
    let date = time.date();
    match component {
        'Y' => date.year().into(),
        'M' => date.month().into(),
        'D' => date.day().into(),
        'd' => date.day_of_year().into(),
        'F' => date.weekday().to_monday_one_offset().into(),
        'W' => date.iso_week_date().week().into(),
        'w' => week_of_month(date).1,
        'X' => date.iso_week_date().year().into(),
        'x' => week_of_month(date).0,
        'H' => time.hour().into(),
        'h' => match i64::from(time.hour()) % 12 {
            0 => 12,
            hour => hour,
        },
        'm' => time.minute().into(),
        's' => time.second().into(),
        _ => time.millisecond().into(),
    }
}

/// The month of a week, and the week's number in it. Weeks begin on Monday and belong to the month of their Thursday.
fn week_of_month(date: Date) -> (i64, i64) {
    let thursday = date
        .checked_sub(jiff::Span::new().days(i64::from(date.weekday().to_monday_zero_offset())))
        .and_then(|monday| monday.checked_add(jiff::Span::new().days(3)))
        .unwrap_or(date);
    debug_assert!(thursday == date || thursday.weekday() == Weekday::Thursday);
    (thursday.month().into(), i64::from((thursday.day() - 1) / 7 + 1))
}

fn push_zone(marker: &Marker, (hours, minutes): (i64, i64), out: &mut String) -> Outcome<()> {
    let offset = hours * 100 + minutes;
    let decimal = match &marker.integer {
        Some(picture) => match &picture.style {
            Style::Decimal(decimal) => Some((picture, decimal)),
            _ => None,
        },
        None => None,
    };
    let text = match decimal {
        Some((picture, decimal)) if decimal.regular => format_with(offset as f64, picture, 100)?,
        Some((picture, decimal)) if matches!(decimal.mandatory, 1 | 2) => {
            let mut text = format_with(hours as f64, picture, 100)?;
            if minutes != 0 {
                text.push_str(&format!(":{:02}", minutes.abs()));
            }
            text
        }
        Some((picture, decimal)) if matches!(decimal.mandatory, 3 | 4) => {
            format_with(offset as f64, picture, 100)?
        }
        _ => {
            let message =
                "The timezone integer format specifier cannot have more than four digits".to_owned();
            return fail("D3134", message);
        }
    };
    if offset == 0 && marker.traditional {
        out.push('Z');
        return Ok(());
    }
    if marker.component == 'z' {
        out.push_str("GMT");
    }
    if offset >= 0 {
        out.push('+');
    }
    out.push_str(&text);
    Ok(())
}

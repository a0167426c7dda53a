//! Parsing of times: ISO 8601, or with a picture.

use super::datetime_picture::{DAYS, MONTHS, Marker, Part, Picture, fail, not_a_name};
use super::format_integer::{Case, IntegerPicture, Style, is_number_word, parse_with};
use crate::query::jsonata::eval::Outcome;
use jiff::civil::{Date, DateTime, Time};

pub(super) const EPOCH: DateTime = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);

/// A civil time in UTC as milliseconds since 1970.
fn millis_of(time: DateTime) -> f64 {
    time.duration_since(EPOCH).as_millis() as f64
}

/// An ISO 8601 time as milliseconds since 1970; without an offset it is UTC.
pub(super) fn iso(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<i64>().ok()
    };
    let at = |index: usize, byte: u8| bytes.get(index) == Some(&byte);
    let year = number(0, 4)?;
    let (mut month, mut day, mut end) = (1, 1, 4);
    if at(4, b'-') {
        (month, end) = (number(5, 7)?, 7);
        if at(7, b'-') {
            (day, end) = (number(8, 10)?, 10);
        }
    }
    let (mut time, mut fraction) = ((0, 0, 0), 0.0);
    if at(end, b'T') {
        let (hour, minute) = (number(end + 1, end + 3)?, number(end + 4, end + 6)?);
        if !at(end + 3, b':') {
            return None;
        }
        time = (hour, minute, number(end + 7, end + 9).filter(|_| at(end + 6, b':'))?);
        end += 9;
        if at(end, b'.') {
            let digits = bytes[end + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            fraction = (text[end..end + 1 + digits].parse::<f64>().ok()? * 1000.0).floor();
            end += 1 + digits;
        }
    }
    let mut offset = 0;
    if at(end, b'Z') {
        end += 1;
    } else if at(end, b'+') || at(end, b'-') {
        let sign = if at(end, b'-') { -1 } else { 1 };
        let colon = usize::from(at(end + 3, b':'));
        offset = sign * (number(end + 1, end + 3)? * 60 + number(end + 3 + colon, end + 5 + colon)?);
        end += 5 + colon;
    }
    if end != text.len() {
        return None;
    }
    let (hour, minute, second) = time;
    // 24:00:00 is the next day's midnight.
    let (next_day, hour) = if (hour, minute, second) == (24, 0, 0) { (1.0, 0) } else { (0.0, hour) };
    let date = Date::new(i16::try_from(year).ok()?, month as i8, day as i8).ok()?;
    let time = Time::new(hour as i8, minute as i8, second as i8, 0).ok()?;
    let millis = millis_of(date.to_datetime(time));
    Some(millis + fraction + next_day * 86_400_000.0 - f64::from(offset as i32) * 60_000.0)
}

/// The parsed components, by their letter.
struct Fields {
    values: [Option<f64>; 128],
    /// Minutes east of UTC.
    zone: Option<f64>,
}

impl Fields {
    fn get(&self, component: char) -> Option<f64> {
        self.values[component as usize & 127]
    }

    fn set(&mut self, component: char, value: f64) {
        self.values[component as usize & 127] = Some(value);
    }
}

/// Parses a time with a picture; `None` when the text does not match it.
pub(super) fn parse(text: &str, parts: &Picture, now_ms: i64) -> Outcome<Option<f64>> {
    if let Some(component) = parts.iter().find_map(unreadable) {
        return fail("D3133", not_a_name(component));
    }
    let mut fields = Fields { values: [None; 128], zone: None };
    // The text is matched case-insensitively, like in the reference.
    if !matches(text, parts, &mut fields)? {
        return Ok(None);
    }
    assemble(&fields, now_ms)
}

/// The component of a marker that can be parsed neither as a number nor as a name.
fn unreadable(part: &Part) -> Option<char> {
    let Part::Marker(marker) = part else { return None };
    let readable = marker.integer.is_some() || matches!(marker.component, 'M' | 'x' | 'F' | 'P' | 'Z' | 'z');
    (!readable).then_some(marker.component)
}

/// Matches the parts in order. Numbers take as many digits as they can, unless another number follows.
fn matches(text: &str, parts: &[Part], fields: &mut Fields) -> Outcome<bool> {
    let mut rest = text;
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Literal(literal) => match strip_ignoring_case(rest, literal) {
                Some(behind) => rest = behind,
                None => return Ok(false),
            },
            Part::Marker(marker) => {
                let next = match parts.get(at + 1) {
                    Some(Part::Literal(literal)) => literal,
                    _ => "",
                };
                match component(rest, marker, next, fields)? {
                    Some(behind) => rest = behind,
                    None => return Ok(false),
                }
            }
        }
    }
    Ok(rest.is_empty())
}

fn strip_ignoring_case<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// Reads a component; `next` is the text that stands behind it in the picture.
fn component<'t>(
    text: &'t str,
    marker: &Marker,
    next: &str,
    fields: &mut Fields,
) -> Outcome<Option<&'t str>> {
    let component = marker.component;
    if matches!(component, 'Z' | 'z') {
        return Ok(zone(text, marker, fields));
    }
    if marker.integer.is_none() {
        let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
        // A word ends where the picture goes on, though that is a letter: `[MNn]T`.
        let end = match next.bytes().next() {
            Some(byte) if byte.is_ascii_alphabetic() => {
                (1..=letters).rev().find(|&end| text[end..].starts_with(next)).unwrap_or(letters)
            }
            _ => letters,
        };
        let (word, rest) = text.split_at(end);
        let named = |names: &[&str]| {
            let width = marker.width_max.filter(|&width| width > 0).unwrap_or(usize::MAX);
            names.iter().position(|name| word == &name[..name.len().min(width)])
        };
        let value = match component {
            'M' | 'x' => named(&MONTHS).map(|month| month + 1),
            'F' => named(&DAYS).map(|day| day + 1),
            'P' => ["am", "AM", "pm", "PM"].iter().position(|&name| word == name).map(|name| name / 2),
            _ => None,
        };
        // A word that is no such name stands for nothing, as if the picture did not have the component.
        if let Some(value) = value {
            fields.set(component, value as f64);
        }
        return Ok((!word.is_empty()).then_some(rest));
    }
    let Some(picture) = &marker.integer else { return Ok(Some(text)) };
    let length = number_length(text, &picture.style, picture.ordinal, marker.digits);
    if length == 0 {
        return Ok(None);
    }
    let digits = &text[..length];
    let mut value = parse_with(digits, picture)?;
    if component == 'f' {
        // A fraction of a second, to milliseconds.
        value = format!("0.{digits}").parse::<f64>().map_or(value, |fraction| (fraction * 1000.0).round());
    }
    if component == 'Y' && (0.0..100.0).contains(&value) {
        // `Date.UTC` of the reference's language.
        value += 1900.0;
    }
    fields.set(component, value);
    Ok(Some(&text[length..]))
}

/// Bytes of the number at the beginning of the text, with so many digits if they are given.
fn number_length(text: &str, style: &Style, ordinal: bool, digits: Option<usize>) -> usize {
    let bytes = |count: usize| text.chars().take(count).map(char::len_utf8).sum();
    match style {
        Style::Letters(Case::Upper) => bytes(text.chars().take_while(char::is_ascii_uppercase).count()),
        Style::Letters(_) => bytes(text.chars().take_while(char::is_ascii_lowercase).count()),
        Style::Roman(_) => {
            bytes(text.chars().take_while(|c| "mdclxvi".contains(c.to_ascii_lowercase())).count())
        }
        Style::Words(_) => words_length(text),
        Style::Sequence(_) => 0,
        Style::Decimal(decimal) => {
            let part = |c: &char| {
                (*c as u32).checked_sub(decimal.zero).is_some_and(|digit| digit < 10)
                    || decimal.separators.iter().any(|(_, separator)| separator == c)
            };
            let (least, most) = match digits {
                Some(digits) => (digits.saturating_sub(decimal.optional), digits),
                None => (1, usize::MAX),
            };
            let width = decimal.parse_width.unwrap_or(usize::MAX).min(most);
            let count = text.chars().take_while(part).take(width).count();
            let length: usize = bytes(count);
            let suffix = text.get(length..length + 2).is_some_and(|suffix| {
                ["st", "nd", "rd", "th"].iter().any(|known| known.eq_ignore_ascii_case(suffix))
            });
            if count < least || (ordinal && !suffix) { 0 } else { length + if ordinal { 2 } else { 0 } }
        }
    }
}

fn words_length(text: &str) -> usize {
    let (mut end, mut at) = (0, 0);
    loop {
        let letters = text[at..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let word = text[at..at + letters].to_lowercase();
        if letters == 0 || (word != "and" && !is_number_word(&word)) {
            return end;
        }
        if word != "and" {
            end = at + letters;
        }
        at += letters;
        let gap = text[at..].bytes().take_while(|byte| b" ,-".contains(byte)).count();
        if gap == 0 {
            return end;
        }
        at += gap;
    }
}

/// Reads an offset from UTC. It has a separator if the picture has one. `Z` is not accepted.
fn zone<'t>(text: &'t str, marker: &Marker, fields: &mut Fields) -> Option<&'t str> {
    let mut rest = text;
    if marker.component == 'z' {
        rest = strip_ignoring_case(rest, "GMT")?;
    }
    let sign = match rest.bytes().next()? {
        b'+' => 1.0,
        b'-' => -1.0,
        _ => return None,
    };
    rest = &rest[1..];
    let separator = match &marker.integer {
        Some(IntegerPicture { style: Style::Decimal(decimal), .. }) if decimal.regular => {
            decimal.separators.first().map(|&(_, separator)| separator)
        }
        _ => None,
    };
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let count = digits(rest);
    let (hours, minutes, behind) = match separator {
        Some(separator) => {
            let after = rest[count..].strip_prefix(separator)?;
            let (minutes, behind) = after.split_at(digits(after));
            (&rest[..count], minutes, behind)
        }
        None if count > 2 => (&rest[..2], &rest[2..count], &rest[count..]),
        None => (&rest[..count], "0", &rest[count..]),
    };
    let value = |text: &str| text.parse::<f64>().ok();
    fields.zone = Some(sign * (value(hours)? * 60.0 + value(minutes)?));
    Some(behind)
}

fn underspecified<T>() -> Outcome<T> {
    let message =
        "The date/time picture string is missing specifiers required to parse the timestamp".to_owned();
    fail("D3136", message)
}

/// Makes a time of its components. Components coarser than the first given one are today's, finer ones are the least.
fn assemble(fields: &Fields, now_ms: i64) -> Outcome<Option<f64>> {
    let has = |component: char| fields.get(component).is_some();
    if !"YXMxWwdDFPHhmsf".chars().any(has) && fields.zone.is_none() {
        return Ok(None);
    }
    let by_day_of_year = has('d') && !has('M') && !has('D');
    let by_week = !by_day_of_year && (has('X') || (has('W') && !has('M'))) && !has('Y');
    if by_week || (has('w') && !has('D')) || (has('x') && !has('M')) {
        return underspecified();
    }
    let date_components: &[char] = if by_day_of_year { &['Y', 'd'] } else { &['Y', 'M', 'D'] };
    let twelve = has('h') || has('P');
    let hour_components: &[char] = if twelve { &['P', 'h'] } else { &['H'] };
    let order: Vec<char> = [date_components, hour_components, &['m', 's', 'f'][..]].concat();
    let today = today(now_ms);
    let (mut started, mut ended) = (false, false);
    let mut values = [0.0; 128];
    for &component in &order {
        let given = fields.get(component);
        values[component as usize] = match given {
            Some(value) => {
                if ended {
                    // A gap between components.
                    return underspecified();
                }
                started = true;
                value
            }
            None if !started => match component {
                'Y' => today.0,
                'M' => today.1,
                'D' => today.2,
                'd' => today.3,
                _ => 0.0,
            },
            None => {
                ended |= started;
                if matches!(component, 'M' | 'D' | 'd') { 1.0 } else { 0.0 }
            }
        };
    }
    let value = |component: char| values[component as usize];
    let mut hour = value('H');
    if twelve {
        hour = if value('h') == 12.0 { 0.0 } else { value('h') } + if value('P') == 1.0 { 12.0 } else { 0.0 };
    }
    let (month, day) = if by_day_of_year { (1.0, value('d')) } else { (value('M'), value('D')) };
    let days = days_from_civil(value('Y'), month - 1.0) + day - 1.0;
    let seconds = ((days * 24.0 + hour) * 60.0 + value('m')) * 60.0 + value('s');
    let millis = seconds * 1000.0 + value('f') - fields.zone.unwrap_or(0.0) * 60_000.0;
    // The language's range of dates.
    Ok((millis.abs() <= 8.64e15).then_some(millis))
}

/// Year, month, day and day of the year of a time.
fn today(now_ms: i64) -> (f64, f64, f64, f64) {
    let date = jiff::Timestamp::from_millisecond(now_ms)
        .map(|timestamp| jiff::tz::Offset::UTC.to_datetime(timestamp).date())
        .unwrap_or_default();
    (date.year().into(), date.month().into(), date.day().into(), date.day_of_year().into())
}

/// Days from 1970 to the first of a month; months beyond the year roll over.
fn days_from_civil(year: f64, month: f64) -> f64 {
    let year = year + (month / 12.0).floor();
    let month = month.rem_euclid(12.0) as usize;
    let before = year - 1.0;
    let leap_days = (before / 4.0).floor() - (before / 100.0).floor() + (before / 400.0).floor();
    let leap = (year % 4.0 == 0.0 && year % 100.0 != 0.0) || year % 400.0 == 0.0;
    const CUMULATIVE: [f64; 12] =
        [0.0, 31.0, 59.0, 90.0, 120.0, 151.0, 181.0, 212.0, 243.0, 273.0, 304.0, 334.0];
    let month_days = CUMULATIVE[month] + if leap && month > 1 { 1.0 } else { 0.0 };
    365.0 * before + leap_days - 719_162.0 + month_days
}

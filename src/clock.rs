//! Timestamps as Amazon States Language writes and reads them. Nothing here asks for the time.

/// A timestamp in nanoseconds since 1970, read as Java's `DateTimeFormatter.ISO_OFFSET_DATE_TIME` reads it, which is what
/// AWS does while executions run: `t` and `z` may be small, seconds may be absent, a fraction has up to nine digits, an
/// offset has a colon and lies within 18 hours, and there is no leap second.
pub fn parse_timestamp(text: &str) -> Option<i128> {
    let mut rest = Rest(text.as_bytes());
    let year = rest.year()?;
    let month = rest.after(b"-")?;
    let day = rest.after(b"-")?;
    let hour = rest.after(b"tT")?;
    let minute = rest.after(b":")?;
    let (mut second, mut nanos) = (0, 0);
    if rest.begins(b":") {
        second = rest.after(b":")?;
        nanos = rest.fraction();
    }
    let offset = rest.offset_seconds()?;
    let in_range = (1..=12).contains(&month) && hour <= 23 && minute <= 59 && second <= 59;
    if !in_range || !(1..=month_days(year, month)).contains(&day) || !rest.0.is_empty() {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

/// What is left to read.
struct Rest<'t>(&'t [u8]);

impl Rest<'_> {
    fn begins(&self, any: &[u8]) -> bool {
        self.0.first().is_some_and(|byte| any.contains(byte))
    }

    /// Takes as many digits as there are, up to `max`.
    fn digits(&mut self, max: usize) -> (usize, i64) {
        let count = self.0.iter().take(max).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        (count, digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    /// Two digits behind one of these characters.
    fn after(&mut self, any: &[u8]) -> Option<i64> {
        if !self.begins(any) {
            return None;
        }
        self.0 = &self.0[1..];
        let (count, number) = self.digits(2);
        (count == 2).then_some(number)
    }

    /// Four digits, or more behind a sign: years of Java have up to nine.
    fn year(&mut self) -> Option<i64> {
        let sign = self.0.first().copied().filter(|byte| matches!(byte, b'+' | b'-'));
        self.0 = &self.0[usize::from(sign.is_some())..];
        let (count, year) = self.digits(if sign.is_some() { 9 } else { 4 });
        match (sign, count) {
            (None, 4) | (Some(b'+'), 5..=9) => Some(year),
            (Some(b'-'), 4..=9) => (year > 0).then_some(-year),
            _ => None,
        }
    }

    /// A fraction of a second in nanoseconds, 0 where there is none.
    fn fraction(&mut self) -> i64 {
        if !self.begins(b".") {
            return 0;
        }
        self.0 = &self.0[1..];
        let (count, number) = self.digits(9);
        number * 10i64.pow(9 - count as u32)
    }

    fn offset_seconds(&mut self) -> Option<i64> {
        if self.begins(b"zZ") {
            self.0 = &self.0[1..];
            return Some(0);
        }
        let sign = if self.begins(b"-") { -1 } else { 1 };
        let hours = self.after(b"+-")?;
        let minutes = self.after(b":")?;
        let seconds = if self.begins(b":") { self.after(b":")? } else { 0 };
        let offset = hours * 3_600 + minutes * 60 + seconds;
        (minutes <= 59 && seconds <= 59 && offset <= 18 * 3_600).then_some(sign * offset)
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1 January 1970 in the Gregorian calendar, which is carried back before it began.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Days of March to February, so that the day that years differ in is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// A timestamp in the data of an execution, in nanoseconds since 1970. AWS reads it with Java's
/// `DateTimeFormatter.ISO_OFFSET_DATE_TIME`, which is strict: `t` and `z` may be small and seconds may be left out, but
/// neither the offset nor its colon, the second 60, and days that a month does not have are not read.
pub fn parse_offset_date_time(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| {
        let digits = bytes.get(range)?;
        let all = digits.iter().all(u8::is_ascii_digit);
        all.then(|| digits.iter().fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0')))
    };
    let at = |i: usize, wanted: u8| bytes.get(i).is_some_and(|byte| byte.eq_ignore_ascii_case(&wanted));
    if !(at(4, b'-') && at(7, b'-') && at(10, b'T') && at(13, b':')) {
        return None;
    }
    let date = jiff::civil::Date::new(
        i16::try_from(number(0..4)?).ok()?,
        i8::try_from(number(5..7)?).ok()?,
        i8::try_from(number(8..10)?).ok()?,
    )
    .ok()?;
    let (hour, minute) = (number(11..13)?, number(14..16)?);
    let (mut second, mut nanos, mut rest) = (0, 0, 16);
    if at(rest, b':') {
        second = number(17..19)?;
        rest = 19;
        if at(rest, b'.') {
            let digits = bytes[20..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits > 9 {
                return None;
            }
            nanos = number(20..20 + digits)? * 10u32.pow(9 - digits as u32);
            rest = 20 + digits;
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = i128::from(date.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() / 24);
    let local = days * 86_400 + i128::from(hour * 3_600 + minute * 60 + second);
    Some((local - offset_seconds(&bytes[rest..])?) * 1_000_000_000 + i128::from(nanos))
}

/// `Z`, or hours, minutes and perhaps seconds, up to 18 hours.
fn offset_seconds(bytes: &[u8]) -> Option<i128> {
    let two = |from: usize| {
        let digits = bytes.get(from..from + 2)?;
        digits
            .iter()
            .all(u8::is_ascii_digit)
            .then(|| i128::from(digits[0] - b'0') * 10 + i128::from(digits[1] - b'0'))
    };
    let sign = match bytes {
        [b'Z' | b'z'] => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let (colons, seconds) = match bytes.len() {
        6 => (bytes[3] == b':', 0),
        9 => (bytes[3] == b':' && bytes[6] == b':', two(7)?),
        _ => return None,
    };
    let (hours, minutes) = (two(1)?, two(4)?);
    let offset = hours * 3_600 + minutes * 60 + seconds;
    (colons && minutes < 60 && seconds < 60 && offset <= 18 * 3_600).then_some(sign * offset)
}

/// Milliseconds since 1970 as ISO 8601 in UTC with as many fractional digits as Java's `Instant` prints: none or three.
pub fn format_millis(millis: u64) -> String {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(timestamp) if millis % 1_000 == 0 => timestamp.to_string(),
        Ok(timestamp) => format!("{timestamp:.3}"),
        Err(_) => String::new(),
    }
}

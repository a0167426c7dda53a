//! Formatting and parsing of timestamps in Amazon States Language. Nothing here reads a clock.

/// A timestamp in nanoseconds since 1970, parsed like Java's `DateTimeFormatter.ISO_OFFSET_DATE_TIME`, which AWS uses
/// at run time: `t` and `z` may be lower case, seconds may be absent, a fraction has up to nine digits, an offset is
/// within 18 hours and has a colon before its minutes, if it has any, and there is no leap second.
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

/// The unread rest.
struct Rest<'t>(&'t [u8]);

impl Rest<'_> {
    fn begins(&self, any: &[u8]) -> bool {
        self.0.first().is_some_and(|byte| any.contains(byte))
    }

    /// Takes as many digits as possible, up to `max`.
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

    /// Four digits, or more behind a sign: Java's years have up to nine.
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

    /// A fraction of a second in nanoseconds; 0 if there is no fraction.
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
        let minutes = if self.begins(b":") { self.after(b":")? } else { 0 };
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

/// Days from 1 January 1970 in the proleptic Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years from March to February, so that the leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// Milliseconds since 1970 as ISO 8601 in UTC with as many fractional digits as Java's `Instant`: none or three.
pub fn format_millis(millis: u64) -> String {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(timestamp) if millis % 1_000 == 0 => timestamp.to_string(),
        Ok(timestamp) => format!("{timestamp:.3}"),
        Err(_) => String::new(),
    }
}

/// Seconds since 1970 in the format of the HTTP header `Date` (RFC 9110).
#[cfg(feature = "service")]
pub fn http_date(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    let timestamp = jiff::Timestamp::from_second(seconds);
    timestamp.and_then(|timestamp| printer.timestamp_to_rfc9110_string(&timestamp)).unwrap_or_default()
}

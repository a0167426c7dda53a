//! Numbers in JavaScript's format and rounding.

use crate::json::Value;
use std::fmt::Write;

/// The value of a computed number: an integer if it is whole and exact.
#[inline]
pub(super) fn number(float: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let int = float as i64;
    if int as f64 == float && float.abs() <= EXACT { Value::int(int) } else { Value::float(float) }
}

/// Appends a number like JavaScript's `String(x)`: the shortest text that reads back as the same double.
pub(super) fn write_js(float: f64, out: &mut String) {
    if !float.is_finite() {
        out.push_str(match float {
            _ if float.is_nan() => "NaN",
            _ if float > 0.0 => "Infinity",
            _ => "-Infinity",
        });
        return;
    }
    if float.fract() == 0.0 && float.abs() < 1e15 {
        out.push_str(itoa::Buffer::new().format(float as i64));
        return;
    }
    if float < 0.0 {
        out.push('-');
    }
    let mut buffer = zmij::Buffer::new();
    let (digits, point) = Digits::of(buffer.format_finite(float.abs()));
    write_digits(digits.as_str(), point, out);
}

/// As [`write_js`], in a new string.
pub(super) fn js_text(float: f64) -> String {
    let mut out = String::new();
    write_js(float, &mut out);
    out
}

/// Decimal digits without leading and trailing zeros.
struct Digits {
    bytes: [u8; 24],
    len: usize,
}

impl Digits {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or("0")
    }

    /// The digits of a text such as `12.5` or `1.25e-7`, and how many of them are before the point.
    fn of(text: &str) -> (Digits, i32) {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = Digits { bytes: [0; 24], len: 0 };
        let mut point = exponent;
        for (place, byte) in whole.bytes().chain(fraction.bytes()).enumerate() {
            let before_point = place < whole.len();
            if digits.len == 0 && byte == b'0' {
                // A leading zero: before the point it does not count, behind it it shifts the point.
                point -= i32::from(!before_point);
                continue;
            }
            point += i32::from(before_point);
            if digits.len < digits.bytes.len() {
                digits.bytes[digits.len] = byte;
                digits.len += 1;
            }
        }
        while digits.len > 1 && digits.bytes[digits.len - 1] == b'0' {
            digits.len -= 1;
        }
        (digits, point)
    }
}

/// Writes `0.digits × 10^point` in JavaScript's layout.
fn write_digits(digits: &str, point: i32, out: &mut String) {
    let count = digits.len() as i32;
    match point {
        _ if (count..=21).contains(&point) => {
            out.push_str(digits);
            out.extend(std::iter::repeat_n('0', (point - count) as usize));
        }
        1..=21 => {
            out.push_str(&digits[..point as usize]);
            out.push('.');
            out.push_str(&digits[point as usize..]);
        }
        -5..=0 => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', -point as usize));
            out.push_str(digits);
        }
        _ => write_exponent(digits, point, out),
    }
}

fn write_exponent(digits: &str, point: i32, out: &mut String) {
    out.push_str(&digits[..1]);
    if digits.len() > 1 {
        out.push('.');
        out.push_str(&digits[1..]);
    }
    // Writing to a String cannot fail.
    let _ = write!(out, "e{}{}", if point > 0 { '+' } else { '-' }, (point - 1).abs());
}

/// `Number(x.toPrecision(15))`, as `$string` prints it.
pub(super) fn to_precision_15(float: f64) -> f64 {
    if !float.is_finite() || (float.fract() == 0.0 && float.abs() < 1e15) {
        return float;
    }
    let mut buffer = zmij::Buffer::new();
    let (digits, _) = Digits::of(buffer.format_finite(float.abs()));
    if digits.len <= 15 {
        return float;
    }
    let mut text = StackText { bytes: [0; 40], len: 0 };
    // The buffer is long enough for any double; a failure would leave a shorter text, never a panic.
    let _ = write!(text, "{float:.14e}");
    text.as_str().parse().unwrap_or(float)
}

/// AWS's `$string` of a number that is not an integer of 64 bits: an integer with all its digits, a fraction truncated
/// to 15 digits, and with an exponent if these end before the point.
pub(super) fn write_java_15(float: f64, out: &mut String) {
    const DIGITS_MAX: usize = 15;
    let mut buffer = zmij::Buffer::new();
    let (mut digits, mut point) = Digits::of(buffer.format_finite(float.abs()));
    if float.fract() == 0.0 || digits.len <= DIGITS_MAX {
        return write_js(float, out);
    }
    digits.len = DIGITS_MAX;
    if float < 0.0 {
        out.push('-');
        // The truncated part is not zero: zeros at the end are not digits.
        while digits.len > 0 && digits.bytes[digits.len - 1] == b'9' {
            digits.len -= 1;
        }
        match digits.len {
            0 => {
                (digits.bytes[0], digits.len) = (b'1', 1);
                point += 1;
            }
            len => digits.bytes[len - 1] += 1,
        }
    }
    while digits.len > 1 && digits.bytes[digits.len - 1] == b'0' {
        digits.len -= 1;
    }
    if point > DIGITS_MAX as i32 {
        write_exponent(digits.as_str(), point, out)
    } else {
        write_digits(digits.as_str(), point, out)
    }
}

/// Shifts the decimal point of a number, in its digits: multiplying would add rounding errors.
pub(super) fn shift_point(float: f64, places: f64) -> f64 {
    if places.fract() != 0.0 || float == 0.0 || !float.is_finite() {
        return if places.fract() != 0.0 { f64::NAN } else { float };
    }
    let mut buffer = zmij::Buffer::new();
    let (digits, point) = Digits::of(buffer.format_finite(float.abs()));
    let exponent = f64::from(point - digits.len as i32) + places.clamp(-1e4, 1e4);
    let mut text = StackText { bytes: [0; 40], len: 0 };
    let _ = write!(text, "{}e{exponent:.0}", digits.as_str());
    text.as_str().parse::<f64>().map_or(f64::NAN, |shifted| shifted.copysign(float))
}

/// A text on the stack, so that printing a number allocates nothing.
struct StackText {
    bytes: [u8; 40],
    len: usize,
}

impl StackText {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }
}

impl Write for StackText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + text.len()).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_javascript_does() {
        let cases: &[(f64, &str)] = &[
            (0.0, "0"),
            (-0.0, "0"),
            (1.5, "1.5"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.25e-7, "1.25e-7"),
            (123456789012345680000.0, "123456789012345680000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (100.0, "100"),
            (12.125, "12.125"),
        ];
        for &(float, text) in cases {
            assert_eq!(js_text(float), text);
        }
        assert_eq!(js_text(to_precision_15(22.0 / 7.0)), "3.14285714285714");
        assert_eq!(js_text(to_precision_15(0.1 + 0.2)), "0.3");
        assert_eq!(js_text(to_precision_15(123456789012345678.0)), "123456789012346000");
    }
}

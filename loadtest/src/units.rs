//! Durations, rates and sizes in human-readable form.

use std::time::Duration;

/// Splits off the number before a unit.
fn split(text: &str) -> Result<(f64, &str), String> {
    let text = text.trim();
    let most = text.find(|c: char| !(c.is_ascii_digit() || "._+-eE".contains(c))).unwrap_or(text.len());
    // An `e` may belong to the number or not.
    let number = (1..=most).rev().find_map(|end| {
        let value = text[..end].replace('_', "").parse::<f64>().ok()?;
        value.is_finite().then(|| (value, text[end..].trim()))
    });
    number.ok_or_else(|| format!("'{text}' does not begin with a number"))
}

/// A duration: `250us`, `1ms`, `2.5s`, `1m`. A bare number is seconds.
///
/// # Errors
/// When it is invalid, or negative.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (value, unit) = split(text)?;
    let seconds = match unit {
        "ns" => value / 1e9,
        "us" | "µs" => value / 1e6,
        "ms" => value / 1e3,
        "" | "s" => value,
        "m" | "min" => value * 60.0,
        "h" => value * 3_600.0,
        _ => return Err(format!("'{text}': the unit is one of ns, us, ms, s, m, h")),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("'{text}' is no duration"))
}

/// A count or a rate: `5000`, `100k`, `2.5M`, each with or without `/s` behind it.
///
/// # Errors
/// When it is invalid, or negative.
pub fn count(text: &str) -> Result<f64, String> {
    let (value, unit) = split(text)?;
    let factor = match unit.trim_end_matches("/s") {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" | "m" => 1e6,
        _ => return Err(format!("'{text}': behind the number may stand k or M")),
    };
    match value * factor {
        value if value >= 0.0 => Ok(value),
        _ => Err(format!("'{text}' is negative")),
    }
}

/// A share: `0.01` or `1%`, from 0 to 1.
///
/// # Errors
/// When it is invalid, or out of range.
pub fn share(text: &str) -> Result<f64, String> {
    let (value, unit) = split(text)?;
    let value = match unit {
        "" => value,
        "%" => value / 100.0,
        _ => return Err(format!("'{text}' is neither a share nor a percentage")),
    };
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(format!("'{text}' does not lie between 0 and 1"))
    }
}

/// Bytes: `200`, `16k`, `256KiB`, `1M`; a k is 1,024.
///
/// # Errors
/// When it is invalid.
pub fn bytes(text: &str) -> Result<usize, String> {
    let (value, unit) = split(text)?;
    let factor = match unit.to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 1.0,
        "k" => 1_024.0,
        "m" => 1_048_576.0,
        _ => return Err(format!("'{text}': behind the number may stand k or M")),
    };
    match value * factor {
        value if (0.0..1e15).contains(&value) => Ok(value as usize),
        _ => Err(format!("'{text}' is no size")),
    }
}

/// Nanoseconds with three digits and a unit that fits.
pub fn show_nanoseconds(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "µs"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    match unit {
        "ns" => format!("{value:.0} ns"),
        _ if value < 10.0 => format!("{value:.2} {unit}"),
        _ if value < 100.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// A share as a percentage, with three digits where it has so many.
pub fn show_share(share: f64) -> String {
    let percent = share * 100.0;
    let digits_before = percent.abs().max(1e-9).log10().floor() as i32;
    let decimals = usize::try_from(2 - digits_before).unwrap_or(0);
    let text = format!("{percent:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}%")
}

/// A whole number with commas between its thousands.
pub fn show_count(count: f64) -> String {
    let digits = format!("{:.0}", count.abs());
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if count < -0.5 { format!("-{text}") } else { text }
}

/// A duration as serde sees it: text with a unit, or a number of seconds.
pub mod as_duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Seconds(f64),
        Text(String),
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Seconds(seconds) => Duration::try_from_secs_f64(seconds).map_err(D::Error::custom),
            Written::Text(text) => super::duration(&text).map_err(D::Error::custom),
        }
    }

    /// Writes one, in seconds.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }
}

/// A count or a rate as serde sees it: text with a unit, or a number.
pub mod as_count {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Text(String),
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it is invalid, or negative.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(number) if number.is_finite() && number >= 0.0 => Ok(number),
            Written::Number(number) => Err(D::Error::custom(format!("{number} is no rate"))),
            Written::Text(text) => super::count(&text).map_err(D::Error::custom),
        }
    }

    /// Writes one.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(count: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(*count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_units_in_many_ways() {
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(duration("1.5 ms"), Ok(Duration::from_micros(1_500)));
        assert_eq!(duration("2"), Ok(Duration::from_secs(2)));
        assert!(duration("-1s").is_err() && duration("soon").is_err() && duration("1 fortnight").is_err());
        assert_eq!(count("100k/s"), Ok(100_000.0));
        assert_eq!(count("1_000"), Ok(1_000.0));
        assert_eq!(count("1e3"), Ok(1_000.0));
        assert!(count("-5").is_err() && count("").is_err() && count("1e999").is_err());
        assert_eq!(share("2.5%"), Ok(0.025));
        assert!(share("101%").is_err());
        assert_eq!(bytes("256KiB"), Ok(262_144));
        assert_eq!(bytes("200"), Ok(200));
    }

    #[test]
    fn numbers_are_shown_short() {
        assert_eq!(show_nanoseconds(312.4), "312 ns");
        assert_eq!(show_nanoseconds(1_234.0), "1.23 µs");
        assert_eq!(show_nanoseconds(45_600_000.0), "45.6 ms");
        assert_eq!(show_count(1_234_567.4), "1,234,567");
        assert_eq!(show_count(-999.0), "-999");
        assert_eq!(show_count(12.0), "12");
        for (share, text) in
            [(0.0, "0%"), (0.1, "10%"), (0.001, "0.1%"), (1.0, "100%"), (0.007120804, "0.712%")]
        {
            assert_eq!(show_share(share), text);
        }
        assert_eq!(show_share(1.0 / 3e8), "0.000000333%");
    }
}

//! Values of columns as JSON: types that JSON lacks become text, except for timestamps, which become milliseconds since
//! 1970.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit};
use parquet::data_type::Decimal;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;

use crate::json;

/// Bytes of a decimal: 38 digits.
const DECIMAL_BYTES_MAX: usize = 16;
const DAY_SECONDS: i64 = 86_400;

/// Checks that values of these columns can be read.
pub(super) fn check(schema: &Type) -> Result<(), String> {
    schema.get_fields().iter().try_for_each(|field| check_field(field, field.name()))
}

fn check_field(field: &Type, path: &str) -> Result<(), String> {
    let refused = |why: &str| Err(format!("The column '{path}' of the Parquet file cannot be read: {why}"));
    let info = field.get_basic_info();
    if field.is_primitive() {
        return match info.converted_type() {
            ConvertedType::INTERVAL => refused("its type is INTERVAL"),
            _ => Ok(()),
        };
    }
    let fields = field.get_fields();
    if fields.is_empty() {
        return refused("it has no fields");
    }
    let is_list = info.converted_type() == ConvertedType::LIST;
    let is_map = matches!(info.converted_type(), ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE);
    if is_list || is_map {
        let repeated = &fields[0];
        let is_repeated = repeated.get_basic_info().repetition() == Repetition::REPEATED;
        if fields.len() != 1 || !is_repeated {
            return refused("it is not a list of anything");
        }
        if repeated.is_group() && repeated.get_fields().is_empty() {
            return refused("it has no fields");
        }
        if is_map && (!repeated.is_group() || repeated.get_fields().len() > 2) {
            return refused("it is not a map of anything");
        }
    }
    fields.iter().try_for_each(|field| check_field(field, &format!("{path}.{}", field.name())))
}

/// Writes a row as an object.
pub(super) fn write_row(row: &Row, of: &Type, to: &mut Vec<u8>) -> Result<(), String> {
    to.push(b'{');
    for (n, ((name, value), of)) in row.get_column_iter().zip(of.get_fields()).enumerate() {
        if n > 0 {
            to.push(b',');
        }
        json::write_string(name, to);
        to.push(b':');
        write(value, of, to)?;
    }
    to.push(b'}');
    Ok(())
}

fn write(value: &Field, of: &Type, to: &mut Vec<u8>) -> Result<(), String> {
    match value {
        Field::Group(row) => return write_row(row, of, to),
        Field::ListInternal(list) => {
            let of = element(of);
            to.push(b'[');
            for (n, value) in list.elements().iter().enumerate() {
                if n > 0 {
                    to.push(b',');
                }
                write(value, of, to)?;
            }
            to.push(b']');
        }
        Field::MapInternal(map) => {
            let [of] = of.get_fields() else { return Err(contradicts(of)) };
            let [key_of, of] = of.get_fields() else { return Err(contradicts(of)) };
            to.push(b'{');
            for (n, (key, value)) in map.entries().iter().enumerate() {
                if n > 0 {
                    to.push(b',');
                }
                write_key(key, key_of, to)?;
                to.push(b':');
                write(value, of, to)?;
            }
            to.push(b'}');
        }
        _ => return write_scalar(value, of, to),
    }
    Ok(())
}

fn contradicts(of: &Type) -> String {
    format!("The column '{}' of the Parquet file contradicts its type", of.name())
}

/// Keys of members are texts.
fn write_key(key: &Field, of: &Type, to: &mut Vec<u8>) -> Result<(), String> {
    let begin = to.len();
    write(key, of, to)?;
    if to[begin..].first() != Some(&b'"') {
        let key = String::from_utf8_lossy(&to[begin..]).into_owned();
        to.truncate(begin);
        json::write_string(&key, to);
    }
    Ok(())
}

/// The type of a list's elements, which older writers do not wrap in a group (Parquet's format, "Lists", "Backward
/// compatibility").
fn element(list: &Type) -> &Type {
    let is_list = |of: &Type| match of.get_basic_info().logical_type_ref() {
        Some(logical) => *logical == LogicalType::List,
        None => of.get_basic_info().converted_type() == ConvertedType::LIST,
    };
    let converted = list.get_basic_info().converted_type();
    let is_annotated =
        matches!(converted, ConvertedType::LIST | ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE);
    if list.is_primitive() || !is_annotated {
        return list;
    }
    let repeated = &list.get_fields()[0];
    if repeated.is_primitive() {
        return repeated;
    }
    let fields = repeated.get_fields();
    let repeats = matches!(fields, [one] if one.get_basic_info().repetition() == Repetition::REPEATED);
    let is_element = !is_list(repeated)
        && !repeats
        && (fields.len() > 1 || repeated.name() == "array" || repeated.name().ends_with("_tuple"));
    if is_element && converted == ConvertedType::LIST { repeated } else { &fields[0] }
}

fn write_scalar(value: &Field, of: &Type, to: &mut Vec<u8>) -> Result<(), String> {
    let logical = of.get_basic_info().logical_type_ref();
    match value {
        Field::Null => to.extend_from_slice(b"null"),
        Field::Bool(value) => show(value, to),
        Field::Byte(value) => show(value, to),
        Field::Short(value) => show(value, to),
        Field::Int(value) => show(value, to),
        Field::Long(value) => match logical {
            Some(LogicalType::Timestamp(time)) if time.unit == TimeUnit::NANOS => {
                show(value.div_euclid(1_000_000), to);
            }
            Some(LogicalType::Time(time)) if time.unit == TimeUnit::NANOS => {
                return write_time(*value, 1_000_000_000, of, to);
            }
            _ => show(value, to),
        },
        Field::UByte(value) => show(value, to),
        Field::UShort(value) => show(value, to),
        Field::UInt(value) => show(value, to),
        Field::ULong(value) => show(value, to),
        Field::Float16(value) => write_number(f64::from(value.to_f32()), &value.to_f32(), to),
        Field::Float(value) => write_number(f64::from(*value), value, to),
        Field::Double(value) => write_number(*value, value, to),
        Field::Decimal(value) => return write_decimal(value, of, to),
        Field::Str(text) => json::write_string(text, to),
        Field::Bytes(bytes) if logical == Some(&LogicalType::Uuid) => write_uuid(bytes.data(), to),
        Field::Bytes(bytes) => json::write_string(&STANDARD.encode(bytes.data()), to),
        Field::Date(days) => {
            let since = jiff::Span::new().try_days(i64::from(*days));
            let day = since.and_then(|since| jiff::civil::date(1970, 1, 1).checked_add(since));
            let day = day.map_err(|_| {
                format!("The column '{}' of the Parquet file has a date out of the calendar", of.name())
            })?;
            json::write_string(&day.to_string(), to);
        }
        Field::TimeMillis(value) => return write_time(i64::from(*value), 1_000, of, to),
        Field::TimeMicros(value) => return write_time(*value, 1_000_000, of, to),
        Field::TimestampMillis(value) => show(value, to),
        Field::TimestampMicros(value) => show(value.div_euclid(1_000), to),
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => return Err(contradicts(of)),
    }
    Ok(())
}

fn show(value: impl std::fmt::Display, to: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(to, "{value}");
}

/// A number that JSON cannot represent is a text, as Java writes it.
fn write_number(value: f64, shown: &impl serde::Serialize, to: &mut Vec<u8>) {
    if value.is_finite() {
        let _ = serde_json::to_writer(to, shown);
    } else {
        let text = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        json::write_string(text, to);
    }
}

fn write_uuid(bytes: &[u8], to: &mut Vec<u8>) {
    to.push(b'"');
    for (n, byte) in bytes.iter().enumerate() {
        let dash = if matches!(n, 4 | 6 | 8 | 10) { "-" } else { "" };
        show(format_args!("{dash}{byte:02x}"), to);
    }
    to.push(b'"');
}

/// A time of day, in units of 1/`parts` second.
fn write_time(value: i64, parts: i64, of: &Type, to: &mut Vec<u8>) -> Result<(), String> {
    let (seconds, part) = (value.div_euclid(parts), value.rem_euclid(parts));
    if !(0..DAY_SECONDS).contains(&seconds) {
        return Err(format!("The column '{}' of the Parquet file has a time out of the day", of.name()));
    }
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let digits = parts.ilog10() as usize;
    show(format_args!("\"{hours:02}:{minutes:02}:{seconds:02}.{part:0digits$}\""), to);
    Ok(())
}

/// A decimal with all its digits, as a text: a JSON number would lose digits after the sixteenth.
fn write_decimal(value: &Decimal, of: &Type, to: &mut Vec<u8>) -> Result<(), String> {
    let bytes = value.data();
    if bytes.len() > DECIMAL_BYTES_MAX || !(0..=38).contains(&value.scale()) {
        return Err(format!("The column '{}' of the Parquet file has decimals of over 38 digits", of.name()));
    }
    let is_negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut whole = [if is_negative { 0xFF } else { 0 }; DECIMAL_BYTES_MAX];
    whole[DECIMAL_BYTES_MAX - bytes.len()..].copy_from_slice(bytes);
    let number = i128::from_be_bytes(whole);
    let scale = value.scale() as usize;
    let digits = format!("{:0width$}", number.unsigned_abs(), width = scale + 1);
    let (before, behind) = digits.split_at(digits.len() - scale);
    let (sign, point) = (if is_negative { "-" } else { "" }, if scale > 0 { "." } else { "" });
    show(format_args!("\"{sign}{before}{point}{behind}\""), to);
    Ok(())
}

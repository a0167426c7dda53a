//! Pictures of times, as XPath's `fn:format-dateTime` has them.

use super::format_integer::{Case, IntegerPicture, Style, picture as integer_picture};
use crate::query::jsonata::eval::{EvalError, Failure, Outcome};

/// A picture, split into literal text and markers.
pub(super) type Picture = Vec<Part>;

#[derive(Clone, Debug)]
pub(super) enum Part {
    Literal(String),
    Marker(Marker),
}

/// `[M01]`: a component and its format.
#[derive(Clone, Debug)]
pub(super) struct Marker {
    pub(super) component: char,
    /// By name.
    pub(super) names: Option<Case>,
    pub(super) integer: Option<IntegerPicture>,
    pub(super) width_max: Option<usize>,
    /// `t`: `Z` for UTC.
    pub(super) traditional: bool,
    /// Digits of a year, month or day: so many are read, and of a year the last ones shown.
    pub(super) digits: Option<usize>,
}

pub(super) fn fail<T>(code: &'static str, message: String) -> Outcome<T> {
    Err(Failure::new(EvalError::new(code, message)))
}

/// Why a component cannot be a name.
pub(super) fn not_a_name(component: char) -> String {
    let quoted = crate::query::jsonata::syntax::quote(&component.to_string());
    format!(
        "The 'name' modifier can only be applied to months and days in the date/time picture string, not {quoted}"
    )
}

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Monday first.
pub(super) const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Parses a picture.
pub(super) fn picture(text: &str) -> Outcome<Picture> {
    let mut parts = Picture::new();
    let mut rest = text;
    let mut literal = String::new();
    while let Some(at) = rest.find('[') {
        literal.push_str(&rest[..at].replace("]]", "]"));
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('[') {
            literal.push('[');
            rest = behind;
            continue;
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        let Some(end) = rest.find(']') else {
            return fail("D3135", "No matching closing bracket ']' in date/time picture string".to_owned());
        };
        let marker = marker(&rest[..end])?;
        if let Some(Part::Marker(Marker { integer: Some(picture), .. })) = parts.last_mut()
            && let Style::Decimal(decimal) = &mut picture.style
        {
            // Another number follows: the picture determines the digits of this one.
            decimal.parse_width = Some(decimal.mandatory);
        }
        parts.push(Part::Marker(marker));
        rest = &rest[end + 1..];
    }
    literal.push_str(&rest.replace("]]", "]"));
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

fn marker(text: &str) -> Outcome<Marker> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let component = text.chars().next().unwrap_or(' ');
    let behind = &text[component.len_utf8().min(text.len())..];
    let (presentation, width) = match behind.rsplit_once(',') {
        Some((presentation, width)) => (presentation, Some(width)),
        None => (behind, None),
    };
    let (mut width_min, mut width_max) = (None, None);
    if let Some(width) = width {
        let number = |text: &str| text.parse::<usize>().ok().map(|width| width.min(1000));
        let (min, max) = width.split_once('-').unwrap_or((width, ""));
        (width_min, width_max) = (number(min), number(max));
    }
    let default = match component {
        'Y' | 'M' | 'D' | 'd' | 'W' | 'w' | 'X' | 'x' | 'H' | 'h' | 'f' => "1",
        'F' | 'P' | 'C' | 'E' => "n",
        'm' | 's' => "01",
        'Z' | 'z' => "01:01",
        _ => {
            let quoted = crate::query::jsonata::syntax::quote(&component.to_string());
            let message = format!("Unknown component specifier {quoted} in date/time picture string");
            return fail("D3132", message);
        }
    };
    let (first, second) = match presentation.chars().last() {
        Some(last @ ('a' | 't' | 'c' | 'o')) if presentation.chars().count() > 1 => {
            (&presentation[..presentation.len() - 1], Some(last))
        }
        Some(_) => (presentation, None),
        None => (default, None),
    };
    let mut marker = Marker {
        component,
        names: None,
        integer: None,
        width_max,
        traditional: second == Some('t'),
        digits: None,
    };
    match first.as_bytes() {
        [b'n', ..] => marker.names = Some(Case::Lower),
        [b'N', b'n', ..] => marker.names = Some(Case::Title),
        [b'N', ..] => marker.names = Some(Case::Upper),
        _ if matches!(component, 'C' | 'E' | 'P') => {}
        _ => {
            let pattern = match second {
                Some(modifier) if !matches!(component, 'Z' | 'z') => format!("{first};{modifier}"),
                _ => first.to_owned(),
            };
            let mut picture = integer_picture(&pattern)?;
            let is_date = matches!(component, 'Y' | 'M' | 'D');
            if is_date {
                marker.digits = width_max;
            }
            if let Style::Decimal(decimal) = &mut picture.style
                && !matches!(component, 'Z' | 'z')
            {
                decimal.mandatory = decimal.mandatory.max(width_min.unwrap_or(0));
                if is_date {
                    let width = decimal.mandatory + decimal.optional;
                    marker.digits = width_max.or((width >= 2).then_some(width));
                    decimal.mandatory = width_max.unwrap_or(decimal.mandatory);
                }
            }
            marker.integer = Some(picture);
        }
    }
    Ok(marker)
}

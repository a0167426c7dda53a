//! Shapes of requests' members, and AWS's messages for invalid ones.
//!
//! Two layers refuse a request before its action sees it. A member of another JSON type is a `SerializationException`;
//! one that is missing, too long, out of range or not among the values of an enumeration is a `ValidationException`,
//! which counts all that is wrong and lists it (recorded: `1 validation error detected: Value '1001' at 'maxResults'
//! failed to satisfy constraint: Member must have value less than or equal to 1000`). Unknown members are ignored.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use crate::service::{Error, Exception, names_resource};

/// The shape of a member.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Text(Text),
    /// One of the values of an enumeration, in the order AWS lists them.
    OneOf(&'static [&'static str]),
    Flag,
    Number {
        min: i64,
        max: i64,
    },
    Fraction {
        min: i64,
        max: i64,
    },
    List {
        of: &'static Shape,
        min: usize,
        max: usize,
    },
    /// A structure, and the name the API gives it.
    Object(&'static str, &'static [Member]),
}

/// Lengths are in UTF-16 code units, as Java counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    min: usize,
    max: usize,
    pattern: Option<Pattern>,
    /// Its value is not shown in messages.
    secret: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Pattern {
    AliasName,
    Ascii,
    Visible,
}

/// A member of a structure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    name: &'static str,
    required: bool,
    shape: Shape,
}

pub(super) const fn required(name: &'static str, shape: Shape) -> Member {
    Member { name, required: true, shape }
}

pub(super) const fn optional(name: &'static str, shape: Shape) -> Member {
    Member { name, required: false, shape }
}

pub(super) const fn text(min: usize, max: usize) -> Shape {
    Shape::Text(Text { min, max, pattern: None, secret: false })
}

pub(super) const fn any_text() -> Shape {
    text(0, usize::MAX)
}

pub(super) const fn one_of(values: &'static [&'static str]) -> Shape {
    Shape::OneOf(values)
}

pub(super) const fn number(min: i64, max: i64) -> Shape {
    Shape::Number { min, max }
}

pub(super) const fn fraction(min: i64, max: i64) -> Shape {
    Shape::Fraction { min, max }
}

pub(super) const fn list(of: &'static Shape, min: usize, max: usize) -> Shape {
    Shape::List { of, min, max }
}

impl Shape {
    pub(super) const fn matching(self, pattern: Pattern) -> Shape {
        match self {
            Shape::Text(text) => Shape::Text(Text { pattern: Some(pattern), ..text }),
            other => other,
        }
    }

    pub(super) const fn secret(self) -> Shape {
        match self {
            Shape::Text(text) => Shape::Text(Text { secret: true, ..text }),
            other => other,
        }
    }
}

impl Pattern {
    /// As in the API model.
    const fn source(self) -> &'static str {
        match self {
            Pattern::AliasName => r"^(?=.*[a-zA-Z_\-\.])[a-zA-Z0-9_\-\.]+$",
            Pattern::Ascii => r"\p{ASCII}*",
            Pattern::Visible => "[!-~]+",
        }
    }

    fn matches(self, text: &str) -> bool {
        match self {
            Pattern::AliasName => {
                let marks = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.');
                !text.is_empty()
                    && text.bytes().all(|byte| byte.is_ascii_digit() || marks(byte))
                    && text.bytes().any(marks)
            }
            Pattern::Ascii => text.is_ascii(),
            Pattern::Visible => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()),
        }
    }
}

/// Checks the members of a request.
pub(super) fn check(members: &Map<String, Json>, shape: &'static [Member]) -> Result<(), Error> {
    types(members, shape)?;
    let mut problems: Vec<Problem> = Vec::new();
    constraints(members, shape, "", &mut problems);
    // AWS lists them by the names of the members.
    problems.sort_by(|a, b| steps(&a.path).cmp(steps(&b.path)));
    let problems: Vec<String> = problems.into_iter().map(|problem| problem.text).collect();
    match problems.len() {
        0 => Ok(()),
        1 => Err(Error::validation(format!("1 validation error detected: {}", problems[0]))),
        n => Err(Error::validation(format!("{n} validation errors detected: {}", problems.join("; ")))),
    }
}

/// The resources of a request, by the members that the operation has. A member of the wrong type means all resources.
pub(super) fn resources<'r>(
    members: &'r Map<String, Json>,
    shape: &'static [Member],
    found: &mut Vec<Cow<'r, str>>,
) {
    for member in shape {
        match (members.get(member.name), member.shape) {
            (None | Some(Json::Null), _) => {}
            (Some(value), _) if names_resource(member.name) => {
                found.push(Cow::Borrowed(value.as_str().unwrap_or("*")));
            }
            (Some(Json::Object(object)), Shape::Object(_, shape)) => resources(object, shape, found),
            (Some(Json::Array(items)), Shape::List { of: Shape::Object(_, shape), .. }) => {
                items.iter().filter_map(Json::as_object).for_each(|item| resources(item, shape, found));
            }
            _ => {}
        }
    }
}

/// A constraint that a member breaks.
struct Problem {
    path: String,
    text: String,
}

/// The names and numbers of a path such as `tags.10.member.key`, for sorting.
fn steps(path: &str) -> impl Iterator<Item = (Option<usize>, &str)> {
    path.split('.').map(|step| (step.parse().ok(), step))
}

// ---- types ----

fn types(members: &Map<String, Json>, shape: &'static [Member]) -> Result<(), Error> {
    for member in shape {
        match members.get(member.name) {
            None | Some(Json::Null) => {}
            Some(value) => typed(value, &member.shape)?,
        }
    }
    Ok(())
}

fn typed(value: &Json, shape: &'static Shape) -> Result<(), Error> {
    match (shape, value) {
        (Shape::Text(_) | Shape::OneOf(_), Json::String(_)) | (Shape::Flag, Json::Bool(_)) => Ok(()),
        (Shape::Number { .. } | Shape::Fraction { .. }, Json::Number(_)) => Ok(()),
        (Shape::List { of, .. }, Json::Array(items)) => items.iter().try_for_each(|item| match item {
            Json::Null => Ok(()),
            item => typed(item, of),
        }),
        (Shape::Object(_, members), Json::Object(object)) => types(object, members),
        (Shape::List { .. }, _) => Err(unreadable("Expected list or null".to_owned())),
        // One ends with a full stop, the other does not: recorded like that.
        (_, Json::Array(_)) => Err(unreadable(LIST.to_owned())),
        (Shape::Object(..), _) => Err(unreadable("Expected null".to_owned())),
        (_, Json::Object(_)) => {
            Err(unreadable("Start of structure or map found where not expected.".to_owned()))
        }
        (shape, scalar) => {
            let found = match scalar {
                Json::Bool(true) => "TRUE_VALUE",
                Json::Bool(false) => "FALSE_VALUE",
                Json::Number(_) => "NUMBER_VALUE",
                _ => "STRING_VALUE",
            };
            let wanted = match shape {
                Shape::Flag => "a Boolean",
                Shape::Number { max, .. } if *max > i64::from(i32::MAX) => "a Long",
                Shape::Number { .. } => "an Integer",
                Shape::Fraction { .. } => "a Float",
                _ => "a String",
            };
            Err(unreadable(format!("{found} can not be converted to {wanted}")))
        }
    }
}

/// AWS's message for an array of the wrong type.
pub(super) const LIST: &str = "Start of list found where not expected";

/// The request cannot be read.
pub(super) fn unreadable(message: String) -> Error {
    Error::new(Exception::SerializationException, message)
}

// ---- constraints ----

fn constraints(
    members: &Map<String, Json>,
    shape: &'static [Member],
    path: &str,
    problems: &mut Vec<Problem>,
) {
    for member in shape {
        let path = format!("{path}{}", member.name);
        match members.get(member.name) {
            None | Some(Json::Null) if member.required => {
                let text =
                    format!("Value null at '{path}' failed to satisfy constraint: Member must not be null");
                problems.push(Problem { path, text });
            }
            None | Some(Json::Null) => {}
            Some(value) => constrained(value, &member.shape, &path, problems),
        }
    }
}

/// Problems that are listed for one request.
const PROBLEMS_MAX: usize = 100;

fn constrained(value: &Json, shape: &'static Shape, path: &str, problems: &mut Vec<Problem>) {
    if problems.len() >= PROBLEMS_MAX {
        return;
    }
    let mut refuse = |secret: bool, must: String| {
        let shown = if secret { String::new() } else { format!(" '{}'", java(value, shape)) };
        let text = format!("Value{shown} at '{path}' failed to satisfy constraint: Member must {must}");
        problems.push(Problem { path: path.to_owned(), text });
    };
    match (shape, value) {
        (Shape::Text(rule), Json::String(text)) => {
            let units = text.encode_utf16().count();
            if units > rule.max {
                refuse(rule.secret, format!("have length less than or equal to {}", rule.max));
            }
            if units < rule.min {
                refuse(rule.secret, format!("have length greater than or equal to {}", rule.min));
            }
            if let Some(pattern) = rule.pattern
                && !pattern.matches(text)
            {
                refuse(rule.secret, format!("satisfy regular expression pattern: {}", pattern.source()));
            }
        }
        (Shape::OneOf(values), Json::String(text)) if !values.contains(&&**text) => {
            refuse(false, format!("satisfy enum value set: [{}]", values.join(", ")));
        }
        (Shape::Number { min, max } | Shape::Fraction { min, max }, Json::Number(number)) => {
            let number = match shape {
                Shape::Number { .. } => whole(number) as f64,
                _ => number.as_f64().unwrap_or(f64::MAX),
            };
            if number > *max as f64 {
                refuse(false, format!("have value less than or equal to {max}"));
            }
            if number < *min as f64 {
                refuse(false, format!("have value greater than or equal to {min}"));
            }
        }
        (Shape::List { of, min, max }, Json::Array(items)) => {
            if items.len() > *max {
                refuse(false, format!("have length less than or equal to {max}"));
            }
            if items.len() < *min {
                refuse(false, format!("have length greater than or equal to {min}"));
            }
            for (n, item) in items.iter().enumerate() {
                // The path of what is inside counts from 1.
                let path = format!("{path}.{}.member", n + 1);
                match (of, item) {
                    (_, Json::Null) => {}
                    (Shape::Object(_, members), Json::Object(object)) => {
                        constraints(object, members, &format!("{path}."), problems);
                    }
                    (of, item) => constrained(item, of, &path, problems),
                }
            }
        }
        (Shape::Object(_, members), Json::Object(object)) => {
            constraints(object, members, &format!("{path}."), problems);
        }
        _ => {}
    }
}

/// A value in Java's format, as AWS shows it.
fn java(value: &Json, shape: &'static Shape) -> String {
    match (value, shape) {
        (Json::String(text), Shape::Text(rule)) if rule.secret => {
            let _: &String = text;
            "***Sensitive Data Redacted***".to_owned()
        }
        (Json::String(text), _) => text.clone(),
        (Json::Array(items), Shape::List { of, .. }) => {
            let items: Vec<String> = items.iter().map(|item| java(item, of)).collect();
            format!("[{}]", items.join(", "))
        }
        (Json::Object(object), Shape::Object(name, members)) => {
            let shown = |member: &'static Member| {
                let value = object.get(member.name)?;
                Some(format!("{}={}", member.name, java(value, &member.shape)))
            };
            let members: Vec<String> = members.iter().filter_map(shown).collect();
            format!("{name}({})", members.join(", "))
        }
        (Json::Number(number), Shape::Number { .. }) => whole(number).to_string(),
        (other, _) => other.to_string(),
    }
}

/// A number as an integer: a fraction is truncated before validation (measured: 59.9 is `Value '59'`).
pub(super) fn whole(number: &serde_json::Number) -> i64 {
    number.as_i64().unwrap_or_else(|| number.as_f64().map_or(i64::MAX, |float| float as i64))
}

//! Redaction: hides values at given paths, in everything that is shown of an execution's data.

use crate::json::{self, Arena, Value};

/// Replaces a hidden value.
const HIDDEN: &[u8] = b"\"***\"";

/// Paths of values to hide: `$.customer.card`, `$.items[*].secret`, `$..password`.
///
/// They apply to every input, output and parameter, and to the object of assigned variables. Causes that the
/// interpreter itself writes (errors that begin with `States.`) quote data; they are hidden as a whole.
///
/// ```
/// use expressway::observe::Redaction;
///
/// assert!(Redaction::new(["$.customer.card", "$.items[*].secret", "$..password"]).is_ok());
/// assert!(Redaction::new(["$.items[?(@.a)]"]).is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    paths: Vec<Vec<Step>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(Box<str>),
    /// `[*]` and `.*`
    Any,
    /// `..name`
    Deep(Box<str>),
}

/// An invalid path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a path of names and `*`, such as $.customer.card, $.items[*].secret or $..password")]
pub struct RedactionError(String);

/// The state of matching at a value: which paths continue here, each with the steps taken.
type Places = Vec<(usize, usize)>;

impl Redaction {
    /// Hides the values at these paths.
    ///
    /// # Errors
    /// The first that is not such a path.
    pub fn new<T: AsRef<str>>(paths: impl IntoIterator<Item = T>) -> Result<Redaction, RedactionError> {
        let parse = |path: T| parse(path.as_ref()).ok_or_else(|| RedactionError(path.as_ref().to_owned()));
        Ok(Redaction { paths: paths.into_iter().map(parse).collect::<Result<_, _>>()? })
    }

    /// Whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Appends the value as compact JSON, with hidden values as `"***"`.
    pub fn write(&self, arena: &Arena, value: Value, out: &mut Vec<u8>) {
        let places = (0..self.paths.len()).map(|path| (path, 0)).collect();
        self.value(arena, value, &places, out);
    }

    /// The JSON text of a member of a value that is an object.
    pub(crate) fn member(&self, arena: &Arena, name: &str, value: Value) -> Vec<u8> {
        let mut out = Vec::with_capacity(arena.size(value) as usize + 16);
        let places = (0..self.paths.len()).map(|path| (path, 0)).collect();
        match self.further(&places, Some(name)) {
            Some(places) => self.value(arena, value, &places, &mut out),
            None => out.extend_from_slice(HIDDEN),
        }
        out
    }

    /// The cause of a failure, hidden if it may quote data.
    pub(crate) fn cause<'c>(&self, error: Option<&str>, cause: &'c str) -> &'c str {
        let quotes = error.is_some_and(|error| error.starts_with("States."));
        if self.is_empty() || !quotes { cause } else { "***" }
    }

    /// Depth is bounded when values are made, so this may recurse.
    fn value(&self, arena: &Arena, value: Value, places: &Places, out: &mut Vec<u8>) {
        if places.is_empty() || !value.is_container() {
            return json::write(arena, value, out);
        }
        let is_array = value.is_array();
        out.push(if is_array { b'[' } else { b'{' });
        for n in 0..value.len() {
            if n > 0 {
                out.push(b',');
            }
            let (key, member) = if is_array {
                (None, arena.item(value, n))
            } else {
                arena.entry(value, n).map_or((None, None), |(key, member)| (Some(key), Some(member)))
            };
            if let Some(key) = key {
                json::write(arena, key, out);
                out.push(b':');
            }
            let name = key.map(|key| arena.str(key));
            match self.further(places, name) {
                None => out.extend_from_slice(HIDDEN),
                Some(places) => self.value(arena, member.unwrap_or_default(), &places, out),
            }
        }
        out.push(if is_array { b']' } else { b'}' });
    }

    /// The paths that continue after one more step; `None` at the end of a path.
    fn further(&self, places: &Places, name: Option<&str>) -> Option<Places> {
        let mut further = Places::new();
        for &(path, step) in places {
            let steps = &self.paths[path];
            let (fits, deep) = match &steps[step] {
                Step::Name(wanted) => (name == Some(wanted), false),
                Step::Any => (true, false),
                Step::Deep(wanted) => (name == Some(wanted), true),
            };
            if deep {
                further.push((path, step));
            }
            if fits {
                if step + 1 == steps.len() {
                    return None;
                }
                further.push((path, step + 1));
            }
        }
        further.dedup();
        Some(further)
    }
}

fn parse(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("[*]") {
            steps.push(Step::Any);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("['") {
            let (name, after) = after.split_once("']")?;
            steps.push(Step::Name(name.into()));
            rest = after;
        } else {
            let (deep, after) = match rest.strip_prefix("..") {
                Some(after) => (true, after),
                None => (false, rest.strip_prefix('.')?),
            };
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            let plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | '@'));
            steps.push(match name {
                "*" if !deep => Step::Any,
                _ if name.is_empty() || !plain => return None,
                _ if deep => Step::Deep(name.into()),
                _ => Step::Name(name.into()),
            });
            rest = after;
        }
    }
    if steps.is_empty() || steps.len() > crate::limits::PATH_STEPS_MAX { None } else { Some(steps) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_what_the_paths_name() {
        let text = r#"{"a":{"b":1,"c":[{"s":2,"t":3},{"s":{"x":4}}]},"pw":5,"d":{"e":{"pw":[6],"f":7}}}"#;
        let mut arena = Arena::new();
        let value = json::read(&mut arena, text.as_bytes()).unwrap();
        for (paths, wanted) in [
            (vec![], text),
            (vec!["$.a"], r#"{"a":"***","pw":5,"d":{"e":{"pw":[6],"f":7}}}"#),
            (
                vec!["$.a.c[*].s", "$..pw"],
                r#"{"a":{"b":1,"c":[{"s":"***","t":3},{"s":"***"}]},"pw":"***","d":{"e":{"pw":"***","f":7}}}"#,
            ),
            (vec!["$['a'].*", "$.x.y"], r#"{"a":{"b":"***","c":"***"},"pw":5,"d":{"e":{"pw":[6],"f":7}}}"#),
            (
                vec!["$..e.f"],
                r#"{"a":{"b":1,"c":[{"s":2,"t":3},{"s":{"x":4}}]},"pw":5,"d":{"e":{"pw":[6],"f":"***"}}}"#,
            ),
        ] {
            let mut out = Vec::new();
            Redaction::new(&paths).unwrap().write(&arena, value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), wanted, "{paths:?}");
        }
        for wrong in ["", "a", "$", "$.", "$.a[0", "$.a[1]", "$.a[?(@.b)]", "$..", "$...a", "$.a b", "$..*"] {
            assert!(Redaction::new([wrong]).is_err(), "{wrong}");
        }
    }
}

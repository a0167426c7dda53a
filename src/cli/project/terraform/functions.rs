//! Functions of Terraform that definitions use. Others are unknown.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use expressway::json::yaml;
use hcl::Expression;
use hcl::expr::FuncCall;
use hcl::template::Template;
use regex::{Captures, Regex};
use serde_json::{Map, Value as Json};

use super::super::text as read_text;
use super::evaluate::{DEPTH_MAX, Variables, number, number_of, truth, written};
use super::{Module, Stop, not_hcl};

/// Files of one `fileset`, and folders in folders.
const FILESET_MAX: usize = 1_000;
const FILESET_DEPTH_MAX: usize = 8;

/// A pattern of `fileset`: `*`, `**`, `?`, `{a,b}` and `[a-z]`.
fn glob(pattern: &str) -> Option<Regex> {
    let mut regex = String::from("^");
    let (mut rest, mut in_braces) = (pattern, false);
    while let Some(first) = rest.chars().next() {
        let (taken, piece) = match first {
            '*' if rest.starts_with("**/") => ("**/", "(?:.*/)?".to_owned()),
            '*' if rest.starts_with("**") => ("**", ".*".to_owned()),
            '*' => ("*", "[^/]*".to_owned()),
            '?' => ("?", "[^/]".to_owned()),
            '{' => ("{", "(?:".to_owned()),
            '}' => ("}", ")".to_owned()),
            ',' if in_braces => (",", "|".to_owned()),
            '[' | ']' | '-' => (&rest[..1], first.to_string()),
            other => (&rest[..other.len_utf8()], regex::escape(&other.to_string())),
        };
        in_braces = (in_braces || taken == "{") && taken != "}";
        regex.push_str(&piece);
        rest = &rest[taken.len()..];
    }
    Regex::new(&(regex + "$")).ok()
}

/// A value as templates write it.
pub(super) fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

impl Module<'_> {
    pub(super) fn call(&self, call: &FuncCall, known: &Variables, depth: usize) -> Option<Json> {
        let value = |n: usize| call.args.get(n).map(|it| self.evaluate(it, known, depth + 1));
        let all = || (0..call.args.len()).filter_map(value).collect::<Vec<Json>>();
        let string = |n: usize| value(n).map(|it| text(&it));
        Some(match call.name.name.as_str() {
            "jsonencode" => Json::from(value(0)?.to_string()),
            "jsondecode" => serde_json::from_str(&string(0)?).ok()?,
            "templatefile" => {
                let path = self.beside(&string(0)?);
                let text = self.content_for(call, &path)?;
                let template: Result<Template, _> = text.parse();
                let template = template.map_err(|error| self.broken(not_hcl(&path, &text, &error))).ok()?;
                self.filled(&template, &value(1)?, depth)?
            }
            "templatestring" => self.filled(&string(0)?.parse().ok()?, &value(1)?, depth)?,
            "file" => Json::from(self.content_for(call, &self.beside(&string(0)?))?),
            "fileset" => self.fileset(&string(0)?, &string(1)?)?,
            "fileexists" => Json::from(self.beside(&string(0)?).is_file()),
            "format" => format(&all())?,
            "join" => {
                let items = value(1)?;
                let items: Vec<String> = items.as_array()?.iter().map(text).collect();
                Json::from(items.join(&string(0)?))
            }
            "split" => string(1)?.split(&string(0)?).map(Json::from).collect(),
            "lower" => Json::from(string(0)?.to_lowercase()),
            "upper" => Json::from(string(0)?.to_uppercase()),
            "trimspace" | "chomp" => Json::from(string(0)?.trim()),
            "replace" => {
                let (text, pattern, with) = (string(0)?, string(1)?, string(2)?);
                match pattern.strip_prefix('/').and_then(|it| it.strip_suffix('/')) {
                    // RE2's syntax, and its `$1` and `${name}`, are those of the crate.
                    Some(pattern) => Json::from(Regex::new(pattern).ok()?.replace_all(&text, with.as_str())),
                    None => Json::from(text.replace(&pattern, &with)),
                }
            }
            "tostring" => Json::from(string(0)?),
            "tonumber" => serde_json::from_str(&string(0)?).ok()?,
            "tobool" => Json::from(string(0)? == "true"),
            "toset" => match value(0)? {
                Json::Array(items) => {
                    let mut items = items;
                    items.sort_by_key(text);
                    items.dedup();
                    Json::Array(items)
                }
                other => other,
            },
            "tolist" | "tomap" | "nonsensitive" | "sensitive" => value(0)?,
            "abspath" => Json::from(string(0)?),
            "coalesce" => all().into_iter().find(|it| !it.is_null() && it.as_str() != Some(""))?,
            "try" => (0..call.args.len()).find_map(|n| self.tried(&call.args[n], known, depth))?,
            "length" => match value(0)? {
                Json::Array(items) => Json::from(items.len()),
                Json::Object(members) => Json::from(members.len()),
                other => Json::from(text(&other).chars().count()),
            },
            "concat" => all().iter().flat_map(|it| it.as_array().cloned().unwrap_or_default()).collect(),
            "merge" => {
                let objects = all();
                Json::Object(objects.iter().filter_map(Json::as_object).flatten().fold(
                    Map::new(),
                    |mut merged, (key, value)| {
                        merged.insert(key.clone(), value.clone());
                        merged
                    },
                ))
            }
            "keys" => value(0)?.as_object()?.keys().map(|key| Json::from(&**key)).collect(),
            "values" => value(0)?.as_object()?.values().cloned().collect(),
            "element" => {
                let (items, at) = (value(0)?, usize::try_from(value(1)?.as_u64()?).ok()?);
                let items = items.as_array()?;
                items.get(at.checked_rem(items.len())?)?.clone()
            }
            "lookup" => value(0)?.get(string(1)?).cloned().or_else(|| value(2))?,
            "can" => Json::from(self.tried(call.args.first()?, known, depth).is_some()),
            name => return of_values(name, &all()),
        })
    }

    /// The files below a folder whose paths match a pattern, ordered by name.
    fn fileset(&self, folder: &str, pattern: &str) -> Option<Json> {
        let (folder, pattern) = (self.beside(folder), glob(pattern)?);
        let (mut found, mut folders) = (Vec::new(), vec![(PathBuf::new(), 0)]);
        while let Some((below, depth)) = folders.pop() {
            for entry in fs::read_dir(folder.join(&below)).ok()?.filter_map(Result::ok) {
                let path = below.join(entry.file_name());
                let kind = fs::metadata(entry.path()).ok()?;
                if kind.is_dir() && depth < FILESET_DEPTH_MAX {
                    folders.push((path, depth + 1));
                } else if kind.is_file() && pattern.is_match(path.to_str()?) {
                    found.push(path.to_str()?.to_owned());
                    if found.len() > FILESET_MAX {
                        return None;
                    }
                }
            }
        }
        found.sort();
        Some(found.into())
    }

    /// A path relative to the folder, as Terraform resolves it.
    pub(super) fn beside(&self, path: &str) -> PathBuf {
        let path = Path::new(path);
        if path.starts_with(&self.folder) { path.to_owned() } else { self.folder.join(path) }
    }

    /// The text of a file that a function reads, unless the command line has a value for the call.
    fn content_for(&self, call: &FuncCall, path: &Path) -> Option<String> {
        if self.given.get(&written(&Expression::from(call.clone()))).is_some() {
            return None;
        }
        self.content(path)
    }

    /// The text of a file. A machine whose definition needs it is broken without.
    pub(super) fn content(&self, path: &Path) -> Option<String> {
        read_text(path).map_err(|stop| self.broken(stop)).ok()
    }

    /// Records why the definition cannot be read. The first reason counts.
    fn broken(&self, stop: Stop) {
        self.broken.borrow_mut().get_or_insert(stop);
    }

    /// The text of a template with these variables.
    pub(super) fn filled(&self, template: &Template, variables: &Json, depth: usize) -> Option<Json> {
        let known: Variables = variables.as_object()?.clone().into_iter().collect();
        Some(self.template(template, &known, depth + 1))
    }

    /// The value of an expression if it is known, without a word about it otherwise.
    fn tried(&self, expression: &Expression, known: &Variables, depth: usize) -> Option<Json> {
        let (told, was_broken) = (self.unresolved.borrow().len(), self.broken.borrow().is_some());
        let value = self.evaluate(expression, known, depth + 1);
        let failed = self.unresolved.borrow().len() > told || (!was_broken && self.broken.borrow().is_some());
        if failed {
            self.unresolved.borrow_mut().truncate(told);
            if !was_broken {
                self.broken.borrow_mut().take();
            }
        }
        (!failed).then_some(value)
    }
}

/// Functions that need nothing but their arguments.
fn of_values(name: &str, values: &[Json]) -> Option<Json> {
    let value = |n: usize| values.get(n);
    let string = |n: usize| value(n).map(text);
    let list = |n: usize| value(n)?.as_array();
    let numbers = || {
        // `max(1, 2)`, and `max([1, 2]...)`, whose list is given as it is.
        let all = match values {
            [Json::Array(items)] => items.as_slice(),
            all => all,
        };
        all.iter().map(number_of).collect::<Option<Vec<f64>>>()
    };
    Some(match name {
        "contains" => Json::from(list(0)?.contains(value(1)?)),
        "index" => Json::from(list(0)?.iter().position(|item| Some(item) == value(1))?),
        "startswith" => Json::from(string(0)?.starts_with(&string(1)?)),
        "endswith" => Json::from(string(0)?.ends_with(&string(1)?)),
        "strcontains" => Json::from(string(0)?.contains(&string(1)?)),
        "trimprefix" => Json::from(string(0)?.strip_prefix(&string(1)?).unwrap_or(&string(0)?)),
        "trimsuffix" => Json::from(string(0)?.strip_suffix(&string(1)?).unwrap_or(&string(0)?)),
        "trim" => {
            let letters = string(1)?;
            Json::from(string(0)?.trim_matches(|c| letters.contains(c)))
        }
        "title" => Json::from(titled(&string(0)?)),
        "substr" => {
            let (offset, length) = (value(1)?.as_u64()?, value(2)?.as_i64()?);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let offset = usize::try_from(offset).ok()?;
            Json::from(string(0)?.chars().skip(offset).take(length).collect::<String>())
        }
        "basename" => Json::from(Path::new(&string(0)?).file_name()?.to_str()?),
        "dirname" => Json::from(Path::new(&string(0)?).parent()?.to_str()?),
        "base64encode" => Json::from(STANDARD.encode(string(0)?)),
        "regex" => {
            let (pattern, text) = (Regex::new(&string(0)?).ok()?, string(1)?);
            matched(&pattern, &pattern.captures(&text)?)
        }
        "regexall" => {
            let (pattern, text) = (Regex::new(&string(0)?).ok()?, string(1)?);
            pattern.captures_iter(&text).map(|found| matched(&pattern, &found)).collect()
        }
        "yamldecode" => {
            let source = yaml::read(&string(0)?).ok()?;
            serde_json::from_str(&yaml::to_json(&source.root)).ok()?
        }
        "range" => {
            let of = |n: usize| value(n)?.as_i64();
            let (from, to, step) = match values.len() {
                1 => (0, of(0)?, 1),
                2 => (of(0)?, of(1)?, 1),
                _ => (of(0)?, of(1)?, of(2)?),
            };
            let step = usize::try_from(step).ok().filter(|step| *step > 0)?;
            (from..to.min(from.saturating_add(ITEMS_MAX))).step_by(step).map(Json::from).collect()
        }
        "sort" => {
            let mut items: Vec<String> = list(0)?.iter().map(text).collect();
            items.sort();
            Json::from(items)
        }
        "reverse" => list(0)?.iter().rev().cloned().collect(),
        "distinct" => {
            let mut items: Vec<&Json> = Vec::new();
            for item in list(0)? {
                if !items.contains(&item) {
                    items.push(item);
                }
            }
            items.into_iter().cloned().collect()
        }
        "compact" => list(0)?.iter().filter(|item| !text(item).is_empty()).cloned().collect(),
        "flatten" => Json::Array(flat(list(0)?, 0)),
        "slice" => {
            let (from, to) =
                (usize::try_from(value(1)?.as_u64()?).ok()?, usize::try_from(value(2)?.as_u64()?).ok()?);
            Json::from(list(0)?.get(from..to)?)
        }
        "zipmap" => {
            let pairs = list(0)?.iter().zip(list(1)?);
            Json::Object(pairs.map(|(key, value)| (text(key), value.clone())).collect())
        }
        "one" => list(0)?.first().cloned().unwrap_or(Json::Null),
        "max" => number(numbers()?.into_iter().reduce(f64::max)?)?,
        "min" => number(numbers()?.into_iter().reduce(f64::min)?)?,
        "sum" => number(list(0)?.iter().map(number_of).sum::<Option<f64>>()?)?,
        "abs" => number(number_of(value(0)?)?.abs())?,
        "ceil" => number(number_of(value(0)?)?.ceil())?,
        "floor" => number(number_of(value(0)?)?.floor())?,
        "alltrue" => Json::from(list(0)?.iter().all(|item| truth(item) == Some(true))),
        "anytrue" => Json::from(list(0)?.iter().any(|item| truth(item) == Some(true))),
        _ => return None,
    })
}

/// What a regular expression matched: the text, or its groups as a list, or named ones as an object.
fn matched(pattern: &Regex, found: &Captures<'_>) -> Json {
    let group = |n: usize| found.get(n).map_or(Json::Null, |it| Json::from(it.as_str()));
    let names: Vec<&str> = pattern.capture_names().flatten().collect();
    if !names.is_empty() {
        let value = |name: &str| found.name(name).map_or(Json::Null, |it| Json::from(it.as_str()));
        return Json::Object(names.into_iter().map(|name| (name.to_owned(), value(name))).collect());
    }
    match pattern.captures_len() {
        1 => group(0),
        groups => (1..groups).map(group).collect(),
    }
}

/// Items of a range.
const ITEMS_MAX: i64 = 10_000;

/// The items of lists inside lists. Nesting is that of the expressions that made them.
fn flat(items: &[Json], depth: usize) -> Vec<Json> {
    let flattened = items.iter().flat_map(|item| match item {
        Json::Array(inner) if depth < DEPTH_MAX => flat(inner, depth + 1),
        item => vec![item.clone()],
    });
    flattened.collect()
}

/// Each word with a capital letter.
fn titled(text: &str) -> String {
    let mut begins = true;
    let letter = |c: char| {
        let c = if begins { c.to_uppercase().next().unwrap_or(c) } else { c };
        begins = c.is_whitespace();
        c
    };
    text.chars().map(letter).collect()
}

/// `%s`, `%d`, `%v`, `%q`, `%t` and `%f`, with a width, zeros before a number, `-` for what stands left, and a precision.
fn format(values: &[Json]) -> Option<Json> {
    let (pattern, mut values) = (values.first()?.as_str()?, values[1..].iter());
    let (mut out, mut rest) = (String::new(), pattern);
    while let Some((before, behind)) = rest.split_once('%') {
        out.push_str(before);
        let at = behind.find(|c: char| !c.is_ascii_digit() && c != '-' && c != '.')?;
        let (asked, verb) = (&behind[..at], behind[at..].chars().next()?);
        rest = &behind[at + verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let (width, precision) = asked.split_once('.').unwrap_or((asked, ""));
        let is_left = width.starts_with('-');
        let digits = width.trim_start_matches('-');
        let wide =
            if digits.is_empty() { 0 } else { digits.parse().ok().filter(|wide| *wide <= WIDTH_MAX)? };
        let value = values.next()?;
        let shown = match verb {
            's' | 'v' | 't' => text(value),
            'd' => text(&number(number_of(value)?)?),
            'q' => Json::from(text(value)).to_string(),
            'f' => {
                let places = if precision.is_empty() { 6 } else { precision.parse().ok()? };
                format!("{:.*}", usize::min(places, WIDTH_MAX), number_of(value)?)
            }
            _ => return None,
        };
        let has_zeros = digits.starts_with('0') && matches!(verb, 'd' | 'f') && !is_left;
        out.push_str(&match (is_left, has_zeros) {
            (true, _) => format!("{shown:<wide$}"),
            (false, true) => match shown.strip_prefix('-') {
                Some(digits) => format!("-{digits:0>width$}", width = wide.saturating_sub(1)),
                None => format!("{shown:0>wide$}"),
            },
            (false, false) => format!("{shown:>wide$}"),
        });
    }
    out.push_str(rest);
    Some(Json::from(out))
}

/// Letters that a value is widened to.
const WIDTH_MAX: usize = 100;

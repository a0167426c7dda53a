//! Functions of Terraform that definitions use. Others are unknown.

use std::path::{Path, PathBuf};

use hcl::Expression;
use hcl::expr::FuncCall;
use hcl::template::Template;
use serde_json::{Map, Value as Json};

use super::super::text as read_text;
use super::Module;
use super::evaluate::{Variables, written};

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
                let template: Template = self
                    .content(call, &path)?
                    .parse()
                    .map_err(|error| {
                        self.broken(format!("{}: {error}", path.display()));
                    })
                    .ok()?;
                self.filled(&template, &value(1)?, depth)?
            }
            "file" => Json::from(self.content(call, &self.beside(&string(0)?))?),
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
            "replace" => Json::from(string(0)?.replace(&string(1)?, &string(2)?)),
            "tostring" => Json::from(string(0)?),
            "tonumber" => serde_json::from_str(&string(0)?).ok()?,
            "tobool" => Json::from(string(0)? == "true"),
            "tolist" | "toset" | "tomap" | "nonsensitive" | "sensitive" => value(0)?,
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
            _ => return None,
        })
    }

    /// A path relative to the folder, as Terraform resolves it.
    fn beside(&self, path: &str) -> PathBuf {
        let path = Path::new(path);
        if path.starts_with(&self.folder) { path.to_owned() } else { self.folder.join(path) }
    }

    /// The text of a file that a function reads. Unless the command line has a value for the call, a machine whose
    /// definition needs it is broken without.
    fn content(&self, call: &FuncCall, path: &Path) -> Option<String> {
        if self.given.get(&written(&Expression::from(call.clone()))).is_some() {
            return None;
        }
        read_text(path).map_err(|stop| self.broken(stop.to_string())).ok()
    }

    /// Records why the definition cannot be read. The first reason counts.
    fn broken(&self, why: String) {
        self.broken.borrow_mut().get_or_insert(why);
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

/// `%s`, `%d`, `%v` and `%q`.
fn format(values: &[Json]) -> Option<Json> {
    let (pattern, mut values) = (values.first()?.as_str()?, values[1..].iter());
    let mut out = String::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        match letters.next()? {
            '%' => out.push('%'),
            's' | 'd' | 'v' => out.push_str(&text(values.next()?)),
            'q' => out.push_str(&Json::from(text(values.next()?)).to_string()),
            _ => return None,
        }
    }
    Some(Json::from(out))
}

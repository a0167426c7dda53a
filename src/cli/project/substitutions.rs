//! `${NAME}` in definitions and templates, and their values from the command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Stop, data};

/// Values for what a project leaves unresolved.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::cli) struct ProjectArguments {
    /// The state machine of a project, by its logical id; may be left out where there is only one
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) machine: Option<String>,
    /// A value for `${NAME}`, for a parameter of a template, or for what could not be resolved
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    substitute: Vec<(String, String)>,
    /// A file of such values: an object in JSON or YAML
    #[arg(long, value_name = "FILE")]
    substitutes: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| "say NAME=VALUE".to_owned())
}

/// Values by name.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Substitutions(BTreeMap<String, String>);

impl ProjectArguments {
    pub(in crate::cli) fn read(&self) -> Result<Substitutions, Stop> {
        let mut values = BTreeMap::new();
        if let Some(file) = &self.substitutes {
            let data = data(file)?;
            let members = data.as_object().ok_or_else(|| {
                Stop::failed(format!(
                    "{}: substitutes are an object of values by name, such as {{\"stage\": \"prod\"}}",
                    file.display()
                ))
            })?;
            for (name, value) in members {
                values.insert(name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            }
        }
        values.extend(self.substitute.iter().cloned());
        Ok(Substitutions(values))
    }
}

impl Substitutions {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(in crate::cli) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces known names in the text by their values; `known` goes before the command line's. Values inside a string
    /// are escaped as in JSON. Returns the names that are left, each with its line.
    pub(in crate::cli) fn apply(
        &self,
        text: &str,
        known: &BTreeMap<String, String>,
    ) -> (String, Vec<(String, usize)>) {
        let mut out = String::with_capacity(text.len());
        let mut left = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let Some(length) = rest[at..].find('}') else { break };
            let name = &rest[at + 2..at + length];
            out.push_str(&rest[..at]);
            match known.get(name).map(String::as_str).or_else(|| self.get(name)) {
                Some(value) => {
                    let quoted = serde_json::Value::from(value).to_string();
                    out.push_str(&quoted[1..quoted.len() - 1]);
                }
                None => {
                    let line = 1 + text[..text.len() - rest.len() + at].matches('\n').count();
                    left.push((name.to_owned(), line));
                    out.push_str(&rest[at..=at + length]);
                }
            }
            rest = &rest[at + length + 1..];
        }
        out.push_str(rest);
        (out, left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_what_is_left_is_named_by_line() {
        let given =
            Substitutions(BTreeMap::from([("A".into(), "say \"a\"".into()), ("B".into(), "2".into())]));
        let known = BTreeMap::from([("B".into(), "1".into())]);
        let (text, left) = given.apply("{\"x\": \"${A}\",\n\"y\": ${B}, \"z\": \"${C}${\"}", &known);
        assert_eq!(text, "{\"x\": \"say \\\"a\\\"\",\n\"y\": 1, \"z\": \"${C}${\"}");
        assert_eq!(left[0], ("C".to_owned(), 2));
    }
}

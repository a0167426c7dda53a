//! `${NAME}` in definitions and templates, and their values from the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use expressway::asl::did_you_mean;

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
pub(in crate::cli) struct Substitutions {
    values: BTreeMap<String, Substitution>,
    /// The names that were asked for; of all clones.
    asked: Arc<Mutex<BTreeSet<String>>>,
    /// What the stacks of the project export. These are no names of the command line.
    exports: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Substitution {
    value: String,
    /// Given by itself, rather than in a file of many.
    is_single: bool,
}

impl Substitution {
    fn new(value: String, is_single: bool) -> Substitution {
        Substitution { value, is_single }
    }
}

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
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                values.insert(name.clone(), Substitution::new(value, false));
            }
        }
        let single = self.substitute.iter().cloned();
        values.extend(single.map(|(name, value)| (name, Substitution::new(value, true))));
        Ok(Substitutions { values, ..Substitutions::default() })
    }

    /// The first argument, as it was given, if there is any; for commands that have nothing to apply it to.
    #[cfg(feature = "cli-serve")]
    pub(in crate::cli) fn first(&self) -> Option<String> {
        let machine = self.machine.as_ref().map(|name| format!("--machine {name}"));
        let single = || self.substitute.first().map(|(name, value)| format!("--substitute {name}={value}"));
        let file = || self.substitutes.as_ref().map(|file| format!("--substitutes {}", file.display()));
        machine.or_else(single).or_else(file)
    }
}

impl Substitutions {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        if self.is_empty() {
            return None;
        }
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        self.values.get(name).map(|found| &*found.value)
    }

    /// The same, and what the stacks of a project export.
    pub(super) fn with_exports(&self, exports: BTreeMap<String, String>) -> Substitutions {
        Substitutions { exports, ..self.clone() }
    }

    /// The value of an export; that of the command line goes before.
    pub(super) fn import(&self, name: &str) -> Option<&str> {
        self.get(name).or_else(|| self.exports.get(name).map(String::as_str))
    }

    pub(super) fn exports(&self) -> &BTreeMap<String, String> {
        &self.exports
    }

    /// The names of `--substitute` that nothing asked for, each with a name that was and is near: they are probably
    /// misspelt.
    pub(in crate::cli) fn unused(&self) -> Vec<(&str, Option<String>)> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = self.values.iter().filter(|(name, it)| it.is_single && !asked.contains(*name));
        let open = || asked.iter().map(String::as_str).filter(|name| !self.values.contains_key(*name));
        unused.map(|(name, _)| (&**name, did_you_mean(name, open()))).collect()
    }

    pub(in crate::cli) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Replaces known names in the text by their values; `known` goes before the command line's. Values inside a string
    /// are escaped as in JSON. Returns the names that are left, each with the byte at
    /// which it stands.
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
                    left.push((name.to_owned(), text.len() - rest.len() + at));
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
    fn names_are_replaced_and_what_is_left_is_named_by_place() {
        let single = |name: &str, value: &str| (name.to_owned(), Substitution::new(value.to_owned(), true));
        let given = [single("A", "say \"a\""), single("Bucket", "2"), single("Stag", "3")];
        let given = Substitutions { values: BTreeMap::from(given), ..Substitutions::default() };
        let known = BTreeMap::from([("Bucket".into(), "1".into())]);
        let (text, left) = given.apply("{\"x\": \"${A}\",\n\"y\": ${Bucket}, \"z\": \"${Stage}${\"}", &known);
        assert_eq!(text, "{\"x\": \"say \\\"a\\\"\",\n\"y\": 1, \"z\": \"${Stage}${\"}");
        assert_eq!(left[0], ("Stage".to_owned(), 36));
        // The template's own value of Bucket goes before.
        assert_eq!(given.unused(), [("Bucket", None), ("Stag", Some("did you mean `Stage`?".to_owned()))]);
    }
}

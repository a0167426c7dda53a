//! AWS's service model: the required form of replies.

use crate::required::not_run;
use std::path::PathBuf;

use serde_json::Value as Json;

pub(crate) struct Model(pub(crate) Json);

/// Errors that any action may return, although no model lists them.
const COMMON: [&str; 5] = [
    "InternalFailure",
    "SerializationException",
    "ThrottlingException",
    "UnknownOperationException",
    "ValidationException",
];

/// Members that stand beside AWS's, which clients ignore.
const BESIDE: [(&str, &str); 1] = [("ValidateStateMachineDefinitionDiagnostic", "suggestion")];

impl Model {
    /// The model; prints a message on stderr when it is missing.
    pub(crate) fn load() -> Option<Model> {
        let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance");
        let corpus = std::env::var_os("EXPRESSWAY_CORPUS").map_or(default, PathBuf::from);
        let path = corpus.join("../aws/stepfunctions.service-2.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            not_run(&format!("replies are not checked, because {} is not there", path.display()));
            return None;
        };
        Some(Model(serde_json::from_str(&text).expect("the model is JSON")))
    }

    pub(crate) fn may_refuse(&self, action: &str, code: &str) -> bool {
        let errors = self.0["operations"][action]["errors"].as_array();
        COMMON.contains(&code)
            || errors.is_none_or(|errors| errors.iter().any(|error| error["shape"] == code))
    }

    pub(crate) fn check_response(&self, action: &str, answer: &Json) -> Result<(), String> {
        let shape = self.0["operations"][action]["output"]["shape"].as_str().ok_or("no such action")?;
        self.check(shape, answer, "reply")
    }

    /// Whether a value has a shape of the model.
    fn check(&self, name: &str, value: &Json, at: &str) -> Result<(), String> {
        let shape = &self.0["shapes"][name];
        let wrong = |what: &str| Err(format!("{at} ({name}) {what}: {value}"));
        let in_range = |n: f64| {
            shape["min"].as_f64().is_none_or(|min| n >= min)
                && shape["max"].as_f64().is_none_or(|max| n <= max)
        };
        match (shape["type"].as_str().unwrap_or_default(), value) {
            ("structure", Json::Object(members)) => {
                for required in shape["required"].as_array().into_iter().flatten() {
                    if !members.contains_key(required.as_str().unwrap_or_default()) {
                        return wrong(&format!("lacks {required}"));
                    }
                }
                members.iter().try_for_each(|(key, member)| match shape["members"][key]["shape"].as_str() {
                    Some(inner) => self.check(inner, member, &format!("{at}.{key}")),
                    None if BESIDE.contains(&(name, key.as_str())) => Ok(()),
                    None => wrong(&format!("has no member {key}")),
                })
            }
            ("list", Json::Array(items)) if in_range(items.len() as f64) => {
                let inner = shape["member"]["shape"].as_str().unwrap_or_default();
                items.iter().try_for_each(|item| self.check(inner, item, &format!("{at}[]")))
            }
            ("map", Json::Object(members)) => {
                let inner = shape["value"]["shape"].as_str().unwrap_or_default();
                members.iter().try_for_each(|(key, value)| self.check(inner, value, &format!("{at}.{key}")))
            }
            ("string", Json::String(text)) => match shape["enum"].as_array() {
                Some(values) if !values.contains(value) => wrong("is not in the enumeration"),
                // METADATA_ONLY leaves a required definition empty.
                _ if name == "Definition" && text.is_empty() => Ok(()),
                _ if !in_range(text.chars().count() as f64) => wrong("has a wrong length"),
                _ => Ok(()),
            },
            ("timestamp" | "float" | "double", Json::Number(_)) | ("boolean", Json::Bool(_)) => Ok(()),
            ("integer" | "long", Json::Number(number)) if number.is_i64() || number.is_u64() => {
                if in_range(number.as_f64().unwrap_or_default()) { Ok(()) } else { wrong("is out of range") }
            }
            _ => wrong("is of another type"),
        }
    }
}

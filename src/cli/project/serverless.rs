//! Configurations of the Serverless Framework with a `stepFunctions` block: resolves its variables, and passes the rest
//! to CloudFormation.

use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::{FoundMachine, Stop, Substitutions, cloudformation, data, text};

/// Nesting of variables.
const DEPTH_MAX: usize = 20;

/// The state machines of a configuration.
pub(super) fn machines(path: &Path, root: Json, given: &Substitutions) -> Result<Vec<FoundMachine>, Stop> {
    let variables = Variables { folder: path.parent().unwrap_or(Path::new(".")), root: &root, given };
    let service = match &root["service"] {
        Json::String(name) => name.clone(),
        service => service["name"].as_str().unwrap_or("service").to_owned(),
    };
    let stage = variables.expand(&Json::from("${opt:stage, self:provider.stage, 'dev'}"), 0)?;
    let stage = stage.as_str().unwrap_or("dev").to_owned();
    let mut resources = Map::new();
    // Functions are referred to by their short names, and by their generated logical ids.
    for (name, function) in root["functions"].as_object().into_iter().flatten() {
        let called = function["name"].as_str().map_or(format!("{service}-{stage}-{name}"), str::to_owned);
        let function = json!({"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": called}});
        resources.insert(logical_id(name), function.clone());
        resources.insert(name.clone(), function);
    }
    let parts = match &root["resources"] {
        Json::Array(parts) => parts.clone(),
        part => vec![part.clone()],
    };
    for part in &parts {
        let part = variables.expand(part, 0)?;
        resources.extend(part["Resources"].as_object().cloned().unwrap_or_default());
    }
    let machines = variables.expand(&root["stepFunctions"]["stateMachines"], 0)?;
    let machines = machines.as_object().ok_or_else(|| {
        Stop::failed(format!("{}: stepFunctions/stateMachines is no mapping", path.display()))
    })?;
    for (name, machine) in machines {
        let mut properties = json!({
            "Definition": machine["definition"],
            "StateMachineType": machine.get("type").cloned().unwrap_or("STANDARD".into()),
        });
        if let Some(called) = machine.get("name") {
            properties["StateMachineName"] = called.clone();
        }
        resources.insert(
            name.clone(),
            json!({"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}),
        );
    }
    cloudformation::machines(path, json!({ "Resources": resources }), given)
}

/// `hello-world` is `HelloDashworldLambdaFunction`.
fn logical_id(name: &str) -> String {
    let name = name.replace('-', "Dash").replace('_', "Underscore");
    let mut letters = name.chars();
    let first: String = letters.next().map(|first| first.to_ascii_uppercase()).into_iter().collect();
    format!("{first}{}LambdaFunction", letters.as_str())
}

struct Variables<'v> {
    folder: &'v Path,
    root: &'v Json,
    given: &'v Substitutions,
}

impl Variables<'_> {
    fn expand(&self, value: &Json, depth: usize) -> Result<Json, Stop> {
        if depth > DEPTH_MAX {
            return Err(Stop::failed("variables of the configuration stand for each other without an end"));
        }
        Ok(match value {
            Json::String(text) => self.string(text, depth)?,
            Json::Array(items) => {
                Json::Array(items.iter().map(|item| self.expand(item, depth)).collect::<Result<_, _>>()?)
            }
            Json::Object(members) => {
                let member = |(name, value): (&String, &Json)| Ok((name.clone(), self.expand(value, depth)?));
                Json::Object(members.iter().map(member).collect::<Result<_, Stop>>()?)
            }
            other => other.clone(),
        })
    }

    /// A text that is a single variable becomes its value; elsewhere variables are replaced in the text.
    fn string(&self, text: &str, depth: usize) -> Result<Json, Stop> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let Some(length) = closing(&rest[at + 2..]) else { break };
            let inside = &rest[at + 2..at + 2 + length];
            let behind = &rest[at + 3 + length..];
            match self.variable(inside, depth + 1)? {
                Some(value) if at == 0 && behind.is_empty() && out.is_empty() => return Ok(value),
                Some(value) => {
                    out.push_str(&rest[..at]);
                    out.push_str(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                }
                // CloudFormation's, or unresolved.
                None => out.push_str(&rest[..at + 3 + length]),
            }
            rest = behind;
        }
        out.push_str(rest);
        // The plugin's syntax of pseudo parameters.
        Ok(if out.contains("#{") { json!({ "Fn::Sub": out.replace("#{", "${") }) } else { Json::String(out) })
    }

    /// `self:a.b`, `opt:stage`, `env:X`, `file(x.yml):key`, `sls:stage`, with alternatives behind commas.
    fn variable(&self, inside: &str, depth: usize) -> Result<Option<Json>, Stop> {
        if let Some(value) = self.given.get(inside.trim()) {
            return Ok(Some(Json::from(value)));
        }
        for alternative in inside.split(',').map(str::trim) {
            let found = if let Some(path) = alternative.strip_prefix("self:") {
                path.split('.').try_fold(self.root, |at, key| at.get(key)).cloned()
            } else if let Some(name) = alternative.strip_prefix("env:") {
                std::env::var(name).ok().filter(|value| !value.is_empty()).map(Json::from)
            } else if let Some(name) = alternative.strip_prefix("opt:") {
                self.given.get(name).map(Json::from)
            } else if alternative == "sls:stage" {
                Some(self.given.get("stage").map_or(Json::from("dev"), Json::from))
            } else if let Some(rest) = alternative.strip_prefix("file(") {
                self.file(rest)?
            } else {
                let quoted =
                    alternative.strip_prefix(['\'', '"']).and_then(|text| text.strip_suffix(['\'', '"']));
                quoted.map(Json::from)
            };
            if let Some(found) = found {
                return self.expand(&found, depth).map(Some);
            }
        }
        Ok(None)
    }

    /// `x.yml)` or `x.yml):a.b`.
    fn file(&self, rest: &str) -> Result<Option<Json>, Stop> {
        let Some((name, behind)) = rest.split_once(')') else { return Ok(None) };
        let path = self.folder.join(name.trim());
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let whole = match extension {
            "json" | "yaml" | "yml" => data(&path)?,
            _ => Json::String(text(&path)?),
        };
        let key = behind.trim_start_matches(':');
        let mut parts = key.split('.').filter(|part| !part.is_empty());
        Ok(parts.try_fold(&whole, |at, part| at.get(part)).cloned())
    }
}

/// The end of a variable, which may have others inside.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

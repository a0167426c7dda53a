//! Configurations of the Serverless Framework with a `stepFunctions` block: resolves its variables, and passes the rest
//! to CloudFormation.

use std::cell::Cell;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::cloudformation::{Template, is_machine};
use super::resources::{ACCOUNT, REGION};
use super::{EXPANDED_BYTES_MAX, Part, Places, Project, Stop, Substitutions, data, text};

/// Nesting of variables.
const DEPTH_MAX: usize = 20;

/// The state machines of a configuration.
pub(super) fn machines(path: &Path, root: Json, given: &Substitutions) -> Project {
    let mut project = Project::default();
    let folder = path.parent().unwrap_or(Path::new("."));
    let variables = Variables { folder, root: &root, given, spent: Cell::default() };
    let places = Places::of(path);
    project.notes = places.duplicates();
    let placed = |names: &str, stop: &Stop| Stop::at(places.place(names), stop);
    // A part that cannot be read is reported: what refers to it is not resolved then.
    let mut part = |names: &str, value: &Json| {
        let expanded = variables.expand(value, 0);
        expanded.unwrap_or_else(|stop| {
            project.failed(Part::File, placed(names, &stop));
            Json::Null
        })
    };
    let service = match part("service", &root["service"]) {
        Json::String(name) => name,
        service => service["name"].as_str().unwrap_or("service").to_owned(),
    };
    let stage = part("provider/stage", &Json::from("${opt:stage, self:provider.stage, 'dev'}"));
    let stage = stage.as_str().unwrap_or("dev").to_owned();
    let mut resources = Map::new();
    // Functions are referred to by their short names, and by their generated logical ids.
    for functions in parts(&part("functions", &root["functions"])) {
        for (name, function) in functions.as_object().into_iter().flatten() {
            let called = function["name"].as_str().map_or(format!("{service}-{stage}-{name}"), str::to_owned);
            let function = json!({"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": called}});
            resources.insert(logical_id(name), function.clone());
            resources.insert(name.clone(), function);
        }
    }
    for (n, resource) in parts(&root["resources"]).into_iter().enumerate() {
        let names =
            if root["resources"].is_array() { format!("resources[{n}]") } else { "resources".to_owned() };
        let part = part(&names, resource);
        resources.extend(part["Resources"].as_object().cloned().unwrap_or_default());
    }
    let at = "stepFunctions/stateMachines";
    // Each state machine is resolved by itself, so that one that cannot be does not concern the others.
    let block = variables.shallow(&root["stepFunctions"]);
    let block = block.and_then(|block| variables.shallow(&block["stateMachines"]));
    let mut written = Map::new();
    for part in block.iter().flat_map(parts).map(|part| variables.shallow(part)) {
        match part {
            Ok(Json::Object(machines)) => written.extend(machines),
            Ok(_) => {
                let stop = Stop::failed("this is no mapping of state machines by name");
                project.failed(Part::File, placed(at, &stop));
            }
            Err(stop) => project.failed(Part::File, placed(at, &stop)),
        }
    }
    if let Err(stop) = &block {
        project.failed(Part::File, placed(at, stop));
    }
    let mut machines = Vec::new();
    for (name, machine) in &written {
        let at = format!("{at}/{name}");
        let machine = variables.expand(machine, 0).and_then(|machine| match machine.get("definition") {
            None | Some(Json::Null) => Err(Stop::failed("there is no `definition`")),
            Some(_) => Ok(machine),
        });
        match machine {
            Ok(machine) => {
                let called =
                    machine.get("name").map_or(json!({}), |name| json!({ "StateMachineName": name }));
                let resource = json!({"Type": "AWS::StepFunctions::StateMachine", "Properties": called});
                resources.insert(name.clone(), resource);
                machines.push((name, at, machine));
            }
            Err(stop) => project.failed(Part::Machine(name.clone()), placed(&at, &stop)),
        }
    }
    let root = json!({ "Resources": resources });
    let template = Template::new(path, &root, given);
    for (name, at, machine) in machines {
        project.add(Part::Machine(name.clone()), template.machine(name, &machine, &at));
    }
    // Those among the resources.
    for (name, resource) in root["Resources"].as_object().into_iter().flatten() {
        if resource["Type"].as_str().is_some_and(is_machine) && !written.contains_key(name) {
            let at = format!("resources/Resources/{name}/Properties");
            let found = template.machine(name, &resource["Properties"], &at);
            project.add(Part::Machine(name.clone()), found);
        }
    }
    project
}

/// A part, or each of a list of parts.
fn parts(value: &Json) -> Vec<&Json> {
    value.as_array().map_or_else(|| vec![value], |parts| parts.iter().collect())
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
    /// Bytes, about, of what variables stood for so far.
    spent: Cell<usize>,
}

/// Work of looking a variable up, as bytes.
const LOOK_BYTES: usize = 1 << 10;

impl Variables<'_> {
    /// What a variable stands for; nothing inside it is resolved.
    fn shallow(&self, value: &Json) -> Result<Json, Stop> {
        let mut value = value.clone();
        for depth in 0..DEPTH_MAX {
            let text = value.as_str().map(str::trim);
            let inside = text.and_then(|text| text.strip_prefix("${")?.strip_suffix('}'));
            match inside.map(|inside| self.found(inside, depth)).transpose()? {
                Some(Some(found)) => value = found,
                Some(None) | None => return Ok(value),
            }
        }
        Err(endless())
    }

    fn expand(&self, value: &Json, depth: usize) -> Result<Json, Stop> {
        if depth > DEPTH_MAX {
            return Err(endless());
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
            self.spend(LOOK_BYTES + out.len() / 16)?;
            let Some(length) = closing(&rest[at + 2..]) else { break };
            let inside = &rest[at + 2..at + 2 + length];
            let behind = &rest[at + 3 + length..];
            match self.variable(inside, depth + 1)? {
                Some(value) if at == 0 && behind.is_empty() && out.is_empty() => return Ok(value),
                Some(value) => {
                    out.push_str(&rest[..at]);
                    out.push_str(&plain(&value));
                }
                // CloudFormation's, or unresolved.
                None => out.push_str(&rest[..at + 3 + length]),
            }
            rest = behind;
        }
        out.push_str(rest);
        self.spend(out.len())?;
        // The plugin's syntax of pseudo parameters.
        Ok(if out.contains("#{") { json!({ "Fn::Sub": out.replace("#{", "${") }) } else { Json::String(out) })
    }

    /// Counts bytes: a few lines may stand for more than any machine has.
    fn spend(&self, bytes: usize) -> Result<(), Stop> {
        self.spent.set(self.spent.get().saturating_add(bytes));
        if self.spent.get() > EXPANDED_BYTES_MAX {
            return Err(Stop::failed(format!(
                "variables stand for more than {} MiB of text",
                EXPANDED_BYTES_MAX >> 20
            )));
        }
        Ok(())
    }

    fn variable(&self, inside: &str, depth: usize) -> Result<Option<Json>, Stop> {
        match self.found(inside, depth)? {
            Some(found) => self.expand(&found, depth).map(Some),
            None => Ok(None),
        }
    }

    /// `self:a.b`, `opt:stage`, `env:X`, `file(x.yml):key`, `sls:stage`, `param:x`, `aws:region`, with alternatives behind
    /// commas. The value is as it is written.
    fn found(&self, inside: &str, depth: usize) -> Result<Option<Json>, Stop> {
        if depth > DEPTH_MAX {
            return Err(endless());
        }
        // Variables inside come first: they may stand for a part of a name.
        let inside =
            if inside.contains("${") { plain(&self.string(inside, depth + 1)?) } else { inside.to_owned() };
        if let Some(value) = self.given.get(inside.trim()) {
            return Ok(Some(Json::from(value)));
        }
        let alternatives: Vec<&str> = inside.split(',').map(str::trim).collect();
        for (n, alternative) in alternatives.iter().enumerate() {
            let is_last = n + 1 == alternatives.len();
            let stage = || self.given.get("stage").map_or(Json::from("dev"), Json::from);
            let found = if let Some(path) = alternative.strip_prefix("self:") {
                self.own(path, depth)?
            } else if let Some(name) = alternative.strip_prefix("env:") {
                std::env::var(name).ok().filter(|value| !value.is_empty()).map(Json::from)
            } else if let Some(name) = alternative.strip_prefix("opt:") {
                self.given.get(name).map(Json::from)
            } else if let Some(name) = alternative.strip_prefix("param:") {
                let stage = plain(&stage());
                let parameters = &self.root["params"];
                let of = |stage: &str| parameters[stage].get(name).cloned();
                self.given.get(name).map(Json::from).or_else(|| of(&stage)).or_else(|| of("default"))
            } else if let Some(rest) = alternative.strip_prefix("file(") {
                match self.file(rest, depth) {
                    // Another alternative may be there.
                    Err(_) if !is_last => None,
                    found => found?,
                }
            } else {
                let quoted =
                    alternative.strip_prefix(['\'', '"']).and_then(|text| text.strip_suffix(['\'', '"']));
                match *alternative {
                    "sls:stage" => Some(stage()),
                    "aws:region" => Some(Json::from(REGION)),
                    "aws:accountId" => Some(Json::from(ACCOUNT)),
                    "null" => Some(Json::Null),
                    "true" | "false" => Some(Json::Bool(*alternative == "true")),
                    other => quoted.map(Json::from).or_else(|| other.parse::<i64>().ok().map(Json::from)),
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// A value of the configuration itself.
    fn own(&self, path: &str, depth: usize) -> Result<Option<Json>, Stop> {
        self.member_at(self.root.clone(), path, depth)
    }

    /// The value at a path such as `a.b`. Values on the way may be variables.
    fn member_at(&self, mut at: Json, path: &str, depth: usize) -> Result<Option<Json>, Stop> {
        for key in path.split('.').filter(|key| !key.is_empty()) {
            if let Json::String(text) = &at {
                at = self.string(text, depth + 1)?;
            }
            match member(&at, key) {
                Some(inner) => at = inner.clone(),
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// `x.yml)` or `x.yml):a.b`.
    fn file(&self, rest: &str, depth: usize) -> Result<Option<Json>, Stop> {
        let Some((name, behind)) = rest.split_once(')') else { return Ok(None) };
        let path = self.folder.join(name.trim());
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let value = match extension {
            "json" | "yaml" | "yml" => data(&path)?,
            "js" | "cjs" | "mjs" | "ts" => {
                return Err(Stop::failed(format!(
                    "{}: programs are not run to resolve variables; say --substitute 'file({rest}=VALUE'",
                    path.display()
                )));
            }
            _ => Json::String(text(&path)?),
        };
        self.member_at(value, behind.trim_start_matches(':'), depth)
    }
}

/// A member of an object by its name, or of a list by its number.
fn member<'v>(value: &'v Json, key: &str) -> Option<&'v Json> {
    match value {
        Json::Array(items) => items.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    }
}

/// As it stands in a text.
fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn endless() -> Stop {
    Stop::failed("variables stand for each other without an end")
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

//! Templates of CloudFormation and SAM, and output of the CDK.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use expressway::json::yaml;
use serde_json::{Map, Value as Json};

use super::resources::{self, Kind};
use super::{FoundMachine, Stop, Substitutions, is_yaml, machine_type, text};

/// Nesting of functions, and of names that refer to names.
const DEPTH_MAX: usize = 100;

/// The state machines of a template.
pub(super) fn machines(path: &Path, root: Json, given: &Substitutions) -> Result<Vec<FoundMachine>, Stop> {
    let template = Template { path, root: &root, given, unresolved: RefCell::default() };
    let Some(resources) = root["Resources"].as_object() else { return Ok(Vec::new()) };
    let mut machines = Vec::new();
    for (name, resource) in resources {
        let kind = resource["Type"].as_str().unwrap_or_default();
        if matches!(kind, "AWS::StepFunctions::StateMachine" | "AWS::Serverless::StateMachine") {
            machines.push(template.machine(name, resource)?);
        }
    }
    Ok(machines)
}

struct Template<'t> {
    path: &'t Path,
    root: &'t Json,
    given: &'t Substitutions,
    unresolved: RefCell<Vec<String>>,
}

impl Template<'_> {
    fn machine(&self, name: &str, resource: &Json) -> Result<FoundMachine, Stop> {
        self.unresolved.borrow_mut().clear();
        let properties = &resource["Properties"];
        let at = |property: &str| format!("Resources/{name}/Properties/{property}");
        let mut known = BTreeMap::new();
        if let Some(substitutions) = properties["DefinitionSubstitutions"].as_object() {
            for (name, value) in substitutions {
                let place = at(&format!("DefinitionSubstitutions/{name}"));
                known.insert(name.clone(), plain(&self.resolve(value, &place, 0)));
            }
        }
        let mut file = None;
        let (place, definition) = if let Some(value) = properties.get("DefinitionString") {
            let place = at("DefinitionString");
            (place.clone(), plain(&self.resolve(value, &place, 0)))
        } else if let Some(value) = properties.get("Definition") {
            let place = at("Definition");
            // Pretty-printed, so that problems are shown at a line.
            (place.clone(), format!("{:#}", self.resolve(value, &place, 0)))
        } else if let Some(Json::String(name)) = properties.get("DefinitionUri") {
            let path = self.path.parent().unwrap_or(Path::new(".")).join(name);
            let read = text(&path).map_err(|stop| {
                Stop::failed(format!("{}: {}: {stop}", self.path.display(), at("DefinitionUri")))
            });
            let definition = (path.display().to_string(), read?);
            file = Some(path);
            definition
        } else {
            return Err(Stop::failed(format!(
                "{}: {}: there is no definition: neither DefinitionString, Definition nor a DefinitionUri that is a file",
                self.path.display(),
                at("")
            )));
        };
        let (definition, left) = self.given.apply(&definition, &known);
        for (name, line) in left {
            // The names in the text were reported already.
            let is_told = format!("--substitute {name}=VALUE");
            if self.unresolved.borrow().iter().any(|told| told.ends_with(&is_told)) {
                continue;
            }
            let advice = format!("nothing is known of `${{{name}}}`; say --substitute {name}=VALUE");
            self.unresolved.borrow_mut().push(format!("{place}, line {line}: {advice}"));
        }
        let definition = if file.as_deref().is_some_and(is_yaml) {
            match yaml::read(&definition) {
                Ok(source) => yaml::to_json(&source.root),
                Err(error) => return Err(Stop::failed(format!("{place}: {error}"))),
            }
        } else {
            definition
        };
        let place = match file {
            Some(file) => file.display().to_string(),
            None => format!("{}#{name}", self.path.display()),
        };
        let kind = properties.get("StateMachineType").or_else(|| properties.get("Type"));
        let kind = kind.map(|kind| plain(&self.resolve(kind, &at("Type"), 0)));
        Ok(FoundMachine {
            name: name.to_owned(),
            // CloudFormation's default.
            machine_type: machine_type(kind.as_deref().or(Some("STANDARD"))),
            place,
            definition,
            unresolved: self.unresolved.take(),
        })
    }

    /// Leaves a value unresolved, as it is written.
    fn open(&self, place: &str, name: &str, why: &str) -> Json {
        let place = format!("{}: {place}: {why}; say --substitute {name}=VALUE", self.path.display());
        let mut unresolved = self.unresolved.borrow_mut();
        if !unresolved.contains(&place) {
            unresolved.push(place);
        }
        Json::String(format!("${{{name}}}"))
    }

    fn resolve(&self, value: &Json, place: &str, depth: usize) -> Json {
        if depth > DEPTH_MAX {
            return self.open(place, "VALUE", "functions refer to each other without an end");
        }
        match value {
            Json::Array(items) => {
                let item = |(n, item)| self.resolve(item, &format!("{place}/{n}"), depth + 1);
                items.iter().enumerate().map(item).filter(|item| !is_no_value(item)).collect()
            }
            Json::Object(members) if members.len() == 1 => {
                let (name, argument) = members.iter().next().unwrap_or_else(|| unreachable!("there is one"));
                match self.function(name, argument, place, depth + 1) {
                    Some(value) => value,
                    None => self.members(members, place, depth),
                }
            }
            Json::Object(members) => self.members(members, place, depth),
            other => other.clone(),
        }
    }

    fn members(&self, members: &Map<String, Json>, place: &str, depth: usize) -> Json {
        let member = |(name, value): (&String, &Json)| {
            (name.clone(), self.resolve(value, &format!("{place}/{name}"), depth + 1))
        };
        Json::Object(members.iter().map(member).filter(|(_, value)| !is_no_value(value)).collect())
    }

    /// The value of an intrinsic function; `None` when `name` is not one.
    fn function(&self, name: &str, argument: &Json, place: &str, depth: usize) -> Option<Json> {
        let resolved = |value: &Json| self.resolve(value, place, depth);
        Some(match name {
            "Ref" => match argument.as_str()? {
                "AWS::NoValue" => no_value(),
                name => self.reference(name, place, depth),
            },
            "Fn::GetAtt" => {
                let (resource, attribute) = match argument {
                    Json::String(text) => text.split_once('.')?,
                    Json::Array(parts) => (parts.first()?.as_str()?, parts.get(1)?.as_str()?),
                    _ => return None,
                };
                self.attribute(resource, attribute, place, depth)
            }
            "Fn::Sub" => {
                let (text, values) = match argument {
                    Json::String(text) => (text.clone(), Json::Null),
                    Json::Array(parts) => (parts.first()?.as_str()?.to_owned(), resolved(parts.get(1)?)),
                    _ => return None,
                };
                Json::String(self.sub(&text, &values, place, depth))
            }
            "Fn::Join" => {
                let (separator, parts) = (argument.get(0)?.as_str()?, resolved(argument.get(1)?));
                let parts: Vec<String> = parts.as_array()?.iter().map(plain).collect();
                Json::String(parts.join(separator))
            }
            "Fn::Split" => {
                let (separator, text) = (argument.get(0)?.as_str()?, plain(&resolved(argument.get(1)?)));
                text.split(separator).map(Json::from).collect()
            }
            "Fn::Select" => {
                let (at, list) = (plain(&resolved(argument.get(0)?)), resolved(argument.get(1)?));
                let item = at.parse::<usize>().ok().and_then(|at| list.get(at).cloned());
                item.unwrap_or_else(|| self.open(place, "VALUE", "Fn::Select finds nothing"))
            }
            "Fn::FindInMap" => {
                let keys: Vec<String> =
                    argument.as_array()?.iter().map(|key| plain(&resolved(key))).collect();
                let found = keys.iter().try_fold(&self.root["Mappings"], |at, key| at.get(key));
                let name = keys.join(".");
                let open = || self.open(place, &name, &format!("there is no mapping {name}"));
                self.given.get(&name).map(Json::from).or(found.cloned()).unwrap_or_else(open)
            }
            "Fn::If" => {
                let holds = self.holds(&serde_json::json!({"Condition": argument.get(0)?}), place, depth);
                resolved(argument.get(if holds { 1 } else { 2 })?)
            }
            "Fn::ImportValue" => {
                let name = plain(&resolved(argument));
                let open = || self.open(place, &name, &format!("`{name}` is exported by another stack"));
                self.given.get(&name).map_or_else(open, Json::from)
            }
            "Fn::ToJsonString" => Json::String(resolved(argument).to_string()),
            name if name.starts_with("Fn::") => {
                let function = name.trim_start_matches("Fn::");
                self.open(place, function, &format!("the function {name} is not resolved here"))
            }
            _ => return None,
        })
    }

    /// `${Name}`, `${Resource.Attribute}` and `${!Literal}`.
    fn sub(&self, text: &str, values: &Json, place: &str, depth: usize) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let Some(length) = rest[at..].find('}') else { break };
            let name = rest[at + 2..at + length].trim();
            out.push_str(&rest[..at]);
            match (name.strip_prefix('!'), values.get(name), name.split_once('.')) {
                (Some(literal), ..) => out.push_str(&format!("${{{literal}}}")),
                (_, Some(value), _) => out.push_str(&plain(value)),
                (.., Some((resource, attribute))) if !name.contains("::") => {
                    out.push_str(&plain(&self.attribute(resource, attribute, place, depth)));
                }
                _ => out.push_str(&plain(&self.reference(name, place, depth))),
            }
            rest = &rest[at + length + 1..];
        }
        out.push_str(rest);
        out
    }

    fn reference(&self, name: &str, place: &str, depth: usize) -> Json {
        if let Some(value) = self.given.get(name) {
            return Json::from(value);
        }
        if let Some(value) = resources::pseudo(name) {
            return Json::from(value);
        }
        if let Some(parameter) = self.root["Parameters"].get(name) {
            let open = || self.open(place, name, &format!("the parameter {name} has no default"));
            return parameter.get("Default").cloned().unwrap_or_else(open);
        }
        match self.resource(name) {
            Some(resource) => {
                let (kind, called) = self.called(name, resource, place, depth);
                Json::String(Kind::of(kind).map_or(called.clone(), |kind| kind.reference(&called)))
            }
            // SAM creates versions and aliases beside its functions.
            None if name.contains('.') => {
                let (function, _) = name.split_once('.').unwrap_or((name, ""));
                self.attribute(function, "Arn", place, depth)
            }
            None => self.open(place, name, &format!("there is no parameter or resource {name}")),
        }
    }

    fn resource(&self, name: &str) -> Option<&Json> {
        self.root["Resources"].get(name)
    }

    /// A resource's type, and its name.
    fn called<'a>(&self, name: &str, resource: &'a Json, place: &str, depth: usize) -> (&'a str, String) {
        let kind = resource["Type"].as_str().unwrap_or_default();
        let property = Kind::of(kind).map_or("Name", |kind| kind.named_by);
        // An alias or a version is represented by its function.
        if let ("AWS::Lambda::Alias" | "AWS::Lambda::Version", Some(function)) =
            (kind, resource["Properties"].get("FunctionName"))
        {
            let function = plain(&self.resolve(function, place, depth + 1));
            return (kind, function.rsplit(':').next().unwrap_or(name).to_owned());
        }
        let called = resource["Properties"].get(property).map(|value| self.resolve(value, place, depth + 1));
        (kind, called.as_ref().map_or(name.to_owned(), plain))
    }

    fn attribute(&self, name: &str, attribute: &str, place: &str, depth: usize) -> Json {
        let whole = format!("{name}.{attribute}");
        if let Some(value) = self.given.get(&whole) {
            return Json::from(value);
        }
        let Some(resource) = self.resource(name) else {
            return self.open(place, &whole, &format!("there is no resource {name}"));
        };
        let (kind, called) = self.called(name, resource, place, depth);
        let arn =
            || Kind::of(kind).map_or_else(|| resources::other_arn(kind, &called), |kind| kind.arn(&called));
        match attribute {
            "Arn" | "TopicArn" | "StateMachineArn" | "FunctionArn" => Json::String(arn()),
            "Name" | "QueueName" | "TopicName" | "TableName" => Json::String(called),
            "QueueUrl" => Json::String(Kind::of(kind).map_or(called.clone(), |kind| kind.reference(&called))),
            _ => self.open(
                place,
                &whole,
                &format!("the attribute {attribute} of {name} is not known before it is deployed"),
            ),
        }
    }

    /// Whether a condition is true. An unresolved one is not.
    fn holds(&self, condition: &Json, place: &str, depth: usize) -> bool {
        if depth > DEPTH_MAX {
            self.open(place, "CONDITION", "conditions refer to each other without an end");
            return false;
        }
        let Some((function, argument)) = condition.as_object().and_then(|members| members.iter().next())
        else {
            return false;
        };
        let all = |argument: &Json| argument.as_array().cloned().unwrap_or_default();
        match function.as_str() {
            "Condition" => {
                let name = argument.as_str().unwrap_or_default();
                match self.root["Conditions"].get(name) {
                    Some(condition) => self.holds(condition, place, depth + 1),
                    None => {
                        self.open(place, name, &format!("there is no condition {name}"));
                        false
                    }
                }
            }
            "Fn::Equals" => {
                let sides: Vec<String> =
                    all(argument).iter().map(|side| plain(&self.resolve(side, place, depth + 1))).collect();
                sides.len() == 2 && sides[0] == sides[1]
            }
            "Fn::Not" => !all(argument).iter().any(|one| self.holds(one, place, depth + 1)),
            "Fn::And" => all(argument).iter().all(|one| self.holds(one, place, depth + 1)),
            "Fn::Or" => all(argument).iter().any(|one| self.holds(one, place, depth + 1)),
            _ => false,
        }
    }
}

/// The value of `AWS::NoValue`: a property with it is removed.
fn no_value() -> Json {
    serde_json::json!({"Ref": "AWS::NoValue"})
}

fn is_no_value(value: &Json) -> bool {
    value.get("Ref").is_some_and(|name| name == "AWS::NoValue")
}

/// Its form inside a text.
fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

//! Templates of CloudFormation and SAM, and output of the CDK.

mod cidr;
mod exports;
mod nested;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use expressway::asl::diagnostic::line_column;
use expressway::asl::did_you_mean;
use expressway::json::yaml;
use serde_json::{Map, Value as Json};

use super::resources::{self, Kind};
use super::{
    FoundMachine, Part, Place, Places, Problem, Project, Stop, Substitutions, data, is_yaml, machine_type,
    text,
};

/// Nesting of functions, and of names that refer to names.
const DEPTH_MAX: usize = 100;
/// Values that one template may take: names that refer to each other twice would double the work with each step.
const VALUES_MAX: u32 = 1_000_000;
/// Nesting of stacks.
const STACKS_DEPTH_MAX: usize = 8;

/// The state machines of a template, and of the templates beside it that it nests.
pub(super) fn machines(path: &Path, root: Json, given: &Substitutions) -> Project {
    let mut project = Project::default();
    stack(path, &root, given, Inputs::default(), 0, &mut project);
    project
}

/// What a nested stack has from the one around it.
#[derive(Default)]
struct Inputs {
    parameters: Parameters,
    /// What the logical ids of its state machines begin with.
    prefix: String,
}

/// Values of a nested stack's parameters, by name, each with what of it could not be resolved.
type Parameters = BTreeMap<String, (Json, Vec<Problem>)>;

fn stack(
    path: &Path,
    root: &Json,
    given: &Substitutions,
    inputs: Inputs,
    depth: usize,
    project: &mut Project,
) {
    let template = Template { inputs: inputs.parameters, ..Template::new(path, root, given) };
    project.templates.push(path.to_owned());
    project.notes.extend(template.places().duplicates());
    for (name, resource) in root["Resources"].as_object().into_iter().flatten() {
        let id = format!("{}{name}", inputs.prefix);
        let at = format!("Resources/{name}/Properties");
        if let Some(condition) = resource["Condition"].as_str().filter(|name| !template.is_wanted(name, &at))
        {
            if resource["Type"].as_str().is_some_and(|kind| is_machine(kind) || is_stack(kind)) {
                let what = format!("it is not created, because the condition {condition} does not hold");
                project
                    .absent
                    .push((id, Problem { place: template.place(&format!("Resources/{name}")), what }));
            }
            continue;
        }
        match resource["Type"].as_str().unwrap_or_default() {
            kind if is_machine(kind) => {
                let found = template.machine(&id, &resource["Properties"], &at);
                project.add(Part::Machine(id), found);
            }
            "AWS::CloudFormation::Stack" => {
                template.nested(&id, resource, "TemplateURL", &at, depth, project);
            }
            "AWS::Serverless::Application" => {
                template.nested(&id, resource, "Location", &at, depth, project);
            }
            // A loop of the transform AWS::LanguageExtensions.
            _ if name.starts_with("Fn::ForEach::") && resource.to_string().contains("::StateMachine\"") => {
                let stop = template.failed(
                    &format!("Resources/{name}"),
                    "state machines of Fn::ForEach are not read; write them out, or take the template that a deployment \
                     has: aws cloudformation get-template --stack-name NAME --template-stage Processed",
                );
                project.failed(Part::File, stop);
            }
            _ => {}
        }
    }
}

/// Whether a type of resource is a template inside a template.
fn is_stack(kind: &str) -> bool {
    matches!(kind, "AWS::CloudFormation::Stack" | "AWS::Serverless::Application")
}

/// Whether a type of resource is a state machine.
pub(super) fn is_machine(kind: &str) -> bool {
    matches!(kind, "AWS::StepFunctions::StateMachine" | "AWS::Serverless::StateMachine")
}

/// A template, and what is known of its values.
pub(super) struct Template<'t> {
    path: &'t Path,
    root: &'t Json,
    given: &'t Substitutions,
    /// Of a nested stack, the values of parameters that the outer one gives.
    inputs: Parameters,
    places: OnceCell<Places<'t>>,
    /// Values that were resolved, those of nested stacks' outputs among them.
    values: Rc<Cell<u32>>,
    /// Outputs that are being resolved, by their templates.
    under_way: Rc<RefCell<Vec<(PathBuf, String)>>>,
    /// The templates of nested stacks whose outputs were asked for.
    nested: RefCell<BTreeMap<PathBuf, Rc<Json>>>,
    /// What could not be resolved since this was last cleared.
    unresolved: RefCell<Vec<Problem>>,
    /// What keeps the definition from being read at all.
    broken: RefCell<Option<Stop>>,
}

/// The properties that have, or name, a definition. `definition` is that of the Serverless Framework.
const DEFINED_BY: [&str; 5] =
    ["DefinitionString", "Definition", "definition", "DefinitionUri", "DefinitionS3Location"];

/// Where a definition is.
enum Definition {
    /// In the template.
    Here(String),
    File(PathBuf),
}

impl<'t> Template<'t> {
    pub(super) fn new(path: &'t Path, root: &'t Json, given: &'t Substitutions) -> Template<'t> {
        Template {
            path,
            root,
            given,
            inputs: Parameters::new(),
            places: OnceCell::new(),
            values: Rc::default(),
            under_way: Rc::default(),
            nested: RefCell::default(),
            unresolved: RefCell::default(),
            broken: RefCell::default(),
        }
    }

    /// A place of the template, for people.
    fn place(&self, names: &str) -> Place {
        self.places().place(names)
    }

    fn places(&self) -> &Places<'t> {
        self.places.get_or_init(|| Places::of(self.path))
    }

    fn failed(&self, at: &str, why: impl std::fmt::Display) -> Stop {
        Stop::at(self.place(at), why)
    }

    /// A file beside the template.
    fn beside(&self, name: &str) -> PathBuf {
        // Without the point of `./nested.yaml`.
        self.path.parent().unwrap_or(Path::new(".")).join(name).components().collect()
    }

    /// Forgets what was said of the value before.
    fn begin(&self) {
        self.unresolved.borrow_mut().clear();
        self.broken.borrow_mut().take();
        self.values.set(0);
    }

    /// The state machine with these properties, which stand at this place.
    pub(super) fn machine(&self, name: &str, properties: &Json, at: &str) -> Result<FoundMachine, Stop> {
        self.begin();
        let (property, given) = DEFINED_BY
            .iter()
            .find_map(|property| properties.get(property).map(|given| (*property, given)))
            .ok_or_else(|| self.undefined(properties, at))?;
        let place = format!("{at}/{property}");
        let definition = match property {
            "DefinitionUri" | "DefinitionS3Location" => self.elsewhere(given, &place)?,
            "DefinitionString" => Definition::Here(plain(&self.resolve(given, &place, 0))),
            // Pretty-printed, so that problems are shown at a line.
            _ => Definition::Here(format!("{:#}", self.resolve(given, &place, 0))),
        };
        let mut known = BTreeMap::new();
        if let Some(substitutions) = properties["DefinitionSubstitutions"].as_object() {
            for (name, value) in substitutions {
                let place = format!("{at}/DefinitionSubstitutions/{name}");
                known.insert(name.clone(), plain(&self.resolve(value, &place, 0)));
            }
        }
        if let Some(stop) = self.broken.borrow_mut().take() {
            return Err(stop);
        }
        let (written, file, shown) = match definition {
            Definition::Here(text) => (text, None, format!("{}#{name}", self.path.display())),
            Definition::File(file) => {
                let written = text(&file).map_err(|stop| {
                    let advice = if file.exists() { "" } else { "; it is looked for beside the template" };
                    self.failed(&place, format!("{stop}{advice}"))
                })?;
                let shown = file.display().to_string();
                (written, Some(file), shown)
            }
        };
        let (definition, left) = self.given.apply(&written, &known);
        for (name, at) in left {
            // The names in the text were reported already.
            let is_told = format!("--substitute {name}=VALUE");
            if self.unresolved.borrow().iter().any(|told| told.what.ends_with(&is_told)) {
                continue;
            }
            let what = format!("nothing is known of `${{{name}}}`; say --substitute {name}=VALUE");
            let place = match &file {
                Some(file) => Place::in_text(file, &written, at),
                None => self.places().place_of(&place, &format!("${{{name}}}")),
            };
            self.unresolved.borrow_mut().push(Problem { place, what });
        }
        // It stays as it is written, so that problems are shown at its lines.
        let is_yaml = file.as_deref().is_some_and(is_yaml);
        if let Some(error) = is_yaml.then(|| yaml::read(&definition).err()).flatten() {
            let (line, _) = line_column(&definition, error.span.start as usize);
            return Err(self.failed(&place, format!("{shown}:{line}: {error}")));
        }
        let kinds = ["StateMachineType", "Type", "type"];
        let kind = kinds.iter().find_map(|kind| properties.get(kind).map(|value| (kind, value)));
        let kind = kind.map(|(kind, value)| plain(&self.resolve(value, &format!("{at}/{kind}"), 0)));
        Ok(FoundMachine {
            name: name.to_owned(),
            // CloudFormation's default.
            machine_type: machine_type(kind.as_deref().or(Some("STANDARD"))),
            place: shown,
            definition,
            is_yaml,
            unresolved: self.unresolved.take(),
        })
    }

    /// Where the definition is that `DefinitionUri` or `DefinitionS3Location` names.
    fn elsewhere(&self, given: &Json, place: &str) -> Result<Definition, Stop> {
        let told = self.unresolved.borrow().len();
        let named = self.resolve(given, place, 0);
        // The bucket does not matter to an asset that is here.
        self.unresolved.borrow_mut().truncate(told);
        let (bucket, key) = match &named {
            Json::String(name) => match name.strip_prefix("s3://") {
                Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
                None if name.contains("${") => {
                    let why =
                        format!("nothing is known of the file `{name}`; say --substitute NAME=VALUE for it");
                    return Err(self.failed(place, why));
                }
                None => return Ok(Definition::File(self.beside(name))),
            },
            named => match (named["Bucket"].as_str(), named["Key"].as_str()) {
                (Some(bucket), Some(key)) => (bucket, key),
                _ => {
                    let why = "this names no definition: it is the name of a file, or an object with Bucket and Key";
                    return Err(self.failed(place, why));
                }
            },
        };
        match self.asset(key) {
            Some(file) => Ok(Definition::File(file)),
            None => Err(self.failed(place, in_s3(bucket, key))),
        }
    }

    /// The file of the CDK's output that a deployment puts into S3 under this key.
    fn asset(&self, key: &str) -> Option<PathBuf> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let entries = fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| name.ends_with(".assets.json")).find_map(|name| {
            let assets = data(&self.beside(&name)).ok()?;
            let asset = assets["files"].as_object()?.values().find(|asset| {
                let destinations = asset["destinations"].as_object();
                destinations.into_iter().flatten().any(|(_, destination)| destination["objectKey"] == key)
            })?;
            Some(self.beside(asset["source"]["path"].as_str()?))
        })
    }

    /// Why there is no definition.
    fn undefined(&self, properties: &Json, at: &str) -> Stop {
        let misspelt = properties
            .as_object()
            .into_iter()
            .flatten()
            .find_map(|(name, _)| did_you_mean(name, DEFINED_BY).map(|advice| (name, advice)));
        match misspelt {
            Some((name, advice)) => {
                self.failed(&format!("{at}/{name}"), format!("there is no definition: {advice}"))
            }
            None => {
                let names = "DefinitionString, Definition, DefinitionUri and DefinitionS3Location";
                self.failed(at, format!("there is no definition: it has none of {names}"))
            }
        }
    }

    /// The content of the file that the transform `AWS::Include` names.
    fn included(&self, location: &Json, place: &str, depth: usize) -> Json {
        let location = plain(&self.resolve(location, place, depth));
        let read = match location.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))
        {
            Some((bucket, key)) => Err(self.failed(place, in_s3(bucket, key))),
            None => data(&self.beside(&location)).map_err(|stop| self.failed(place, stop)),
        };
        match read {
            Ok(content) => self.resolve(&content, place, depth),
            Err(stop) => {
                self.broken.borrow_mut().get_or_insert(stop);
                Json::Null
            }
        }
    }

    /// Leaves a value unresolved, as it is written.
    fn open(&self, place: &str, name: &str, why: &str) -> Json {
        let what = format!("{why}; say --substitute {name}=VALUE");
        let problem = Problem { place: self.place(place), what };
        self.tell(vec![problem]);
        Json::String(format!("${{{name}}}"))
    }

    /// Records what could not be resolved, each problem once.
    fn tell(&self, problems: Vec<Problem>) {
        let mut unresolved = self.unresolved.borrow_mut();
        for problem in problems {
            if !unresolved.contains(&problem) {
                unresolved.push(problem);
            }
        }
    }

    fn resolve(&self, value: &Json, place: &str, depth: usize) -> Json {
        self.values.set(self.values.get().saturating_add(1));
        if depth > DEPTH_MAX || self.values.get() > VALUES_MAX {
            return self.open(place, "VALUE", "functions refer to each other without an end");
        }
        match value {
            Json::String(text) if text.contains("{{resolve:") => Json::String(self.dynamic(text, place)),
            Json::Array(items) => {
                let item = |(n, item)| self.resolve(item, &format!("{place}[{n}]"), depth + 1);
                items.iter().enumerate().map(item).filter(|item| !is_no_value(item)).collect()
            }
            Json::Object(members) if members.len() == 1 => {
                let (name, argument) = members.iter().next().unwrap_or_else(|| unreachable!("there is one"));
                if !name.starts_with("Fn::") && name != "Ref" {
                    return self.members(members, place, depth);
                }
                // If the argument is unresolved, it was reported while the function was evaluated.
                let told = self.unresolved.borrow().len();
                self.function(name, argument, place, depth + 1).unwrap_or_else(|| {
                    let function = name.trim_start_matches("Fn::");
                    if self.unresolved.borrow().len() > told {
                        return Json::String(format!("${{{function}}}"));
                    }
                    self.open(place, function, &format!("{name} does not take what is given to it"))
                })
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
                let all = argument.as_array()?;
                let keys: Vec<String> = all.iter().take(3).map(|key| plain(&resolved(key))).collect();
                let found = keys.iter().try_fold(&self.root["Mappings"], |at, key| at.get(key));
                let name = keys.join(".");
                let otherwise = all.get(3).and_then(|it| it.get("DefaultValue"));
                let open = || match (otherwise, keys.iter().find(|key| key.contains("${"))) {
                    (Some(value), _) => resolved(value),
                    // The key itself is unresolved, and reported where it stands.
                    (None, Some(key)) => Json::from(key.as_str()),
                    (None, None) => self.open(place, &name, &format!("there is no mapping {name}")),
                };
                self.given.get(&name).map(Json::from).or(found.cloned()).unwrap_or_else(open)
            }
            "Fn::Length" => Json::from(resolved(argument).as_array()?.len()),
            "Fn::Base64" => Json::String(STANDARD.encode(plain(&resolved(argument)))),
            "Fn::Cidr" => {
                let of = |n: usize| argument.get(n).map(|it| plain(&resolved(it)));
                cidr::blocks(&of(0)?, &of(1)?, &of(2)?)?.into_iter().map(Json::from).collect()
            }
            "Fn::GetAZs" => {
                let region = plain(&resolved(argument));
                let region = if region.is_empty() { resources::REGION } else { &region };
                ["a", "b", "c"].iter().map(|zone| Json::String(format!("{region}{zone}"))).collect()
            }
            "Fn::If" => {
                let holds = self.holds(&serde_json::json!({"Condition": argument.get(0)?}), place, depth);
                resolved(argument.get(if holds { 1 } else { 2 })?)
            }
            "Fn::ImportValue" => {
                let name = plain(&resolved(argument));
                let open = || self.open(place, &name, &format!("`{name}` is exported by another stack"));
                self.given.import(&name).map_or_else(open, Json::from)
            }
            "Fn::Transform" if argument["Name"] == "AWS::Include" => {
                self.included(&argument["Parameters"]["Location"], place, depth)
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
        let parameter = self.root["Parameters"].get(name);
        let kind = parameter.and_then(|it| it["Type"].as_str()).unwrap_or_default();
        // A list is written with commas.
        let of_kind = |value: Json| match &value {
            Json::String(text) if kind == "CommaDelimitedList" || kind.contains("List<") => {
                text.split(',').map(|item| Json::from(item.trim())).collect()
            }
            _ => value,
        };
        if let Some(value) = self.given.get(name) {
            return of_kind(Json::from(value));
        }
        if let Some(value) = resources::pseudo(name) {
            return Json::from(value);
        }
        if let Some((value, unresolved)) = self.inputs.get(name) {
            self.tell(unresolved.clone());
            return of_kind(value.clone());
        }
        if let Some(parameter) = parameter {
            let default = parameter.get("Default").cloned();
            return match default {
                // The default of such a parameter is a name.
                Some(stored) if kind.starts_with("AWS::SSM::Parameter::Value") => {
                    let why =
                        format!("the parameter {name} has the value that SSM has for {}", plain(&stored));
                    self.open(place, name, &why)
                }
                Some(value) => of_kind(value),
                None => self.open(place, name, &format!("the parameter {name} has no default")),
            };
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

    /// A text with dynamic references, such as `{{resolve:ssm:/shop/key}}`, which only a deployment knows.
    fn dynamic(&self, text: &str, place: &str) -> String {
        let (mut out, mut rest) = (String::new(), text);
        while let Some(at) = rest.find("{{resolve:") {
            let Some(length) = rest[at..].find("}}") else { break };
            let name = &rest[at + 2..at + length];
            out.push_str(&rest[..at]);
            match self.given.get(name) {
                Some(value) => out.push_str(value),
                None => {
                    self.open(place, name, "a dynamic reference is not known before it is deployed");
                    out.push_str(&rest[at..at + length + 2]);
                }
            }
            rest = &rest[at + length + 2..];
        }
        out + rest
    }

    /// Whether a resource with this condition is created: also where that is not known.
    fn is_wanted(&self, condition: &str, place: &str) -> bool {
        self.begin();
        let holds = self.holds(&serde_json::json!({ "Condition": condition }), place, 0);
        let is_known = self.unresolved.borrow_mut().drain(..).count() == 0;
        holds || !is_known
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
        if let Some(output) = attribute.strip_prefix("Outputs.") {
            return self.output(name, resource, output, place, depth);
        }
        let (kind, called) = self.called(name, resource, place, depth);
        let arn =
            || Kind::of(kind).map_or_else(|| resources::other_arn(kind, &called), |kind| kind.arn(&called));
        match attribute {
            "Arn" | "TopicArn" | "StateMachineArn" | "FunctionArn" => Json::String(arn()),
            "Name" | "QueueName" | "TopicName" | "TableName" => Json::String(called),
            "QueueUrl" => Json::String(Kind::of(kind).map_or(called.clone(), |kind| kind.reference(&called))),
            "CidrBlock" if resource["Properties"].get("CidrBlock").is_some() => {
                self.resolve(&resource["Properties"]["CidrBlock"], place, depth + 1)
            }
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

/// That a definition is in S3.
fn in_s3(bucket: &str, key: &str) -> String {
    format!(
        "the definition is in S3 (s3://{bucket}/{key}), which is not read; give the template before it is packaged, or \
         fetch the definition and give its file instead of the project"
    )
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

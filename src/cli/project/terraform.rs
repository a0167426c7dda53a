//! Terraform directories: each `aws_sfn_state_machine`, with the variables, locals, files and resources it names.
//!
//! Terraform itself is not run: values that it would get from AWS, or from a state, are unknown and stay as they are
//! written.

mod evaluate;
mod functions;
mod instances;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hcl::{Block, Body, Expression};
use serde_json::{Map, Value as Json};

use super::resources::{ACCOUNT, Kind, REGION, other_arn};
use super::{
    FoundMachine, Part, Place, Problem, Project, Stop, Substitutions, machine_type, text, unreadable,
};
use evaluate::Variables;
use instances::Instance;

/// Modules of a project, with those nested in others.
const MODULES_MAX: usize = 1_000;
/// Nesting of modules.
const MODULES_DEPTH_MAX: usize = 8;

/// Whether a folder has Terraform files.
pub(super) fn is_there(folder: &Path) -> bool {
    files(folder, ".tf").is_ok_and(|files| !files.is_empty())
}

/// The state machines of a folder and of its modules that are folders.
pub(super) fn machines(folder: &Path, given: &Substitutions) -> Result<Project, Stop> {
    let mut project = Project::default();
    let inputs = assigned(folder, &mut project)?;
    module(folder, given, &inputs, "", 0, &mut project)?;
    Ok(project)
}

fn module(
    folder: &Path,
    given: &Substitutions,
    inputs: &Map<String, Json>,
    prefix: &str,
    depth: usize,
    project: &mut Project,
) -> Result<(), Stop> {
    project.modules += 1;
    if project.modules > MODULES_MAX {
        return Err(Stop::failed(format!(
            "{}: the project has more than {MODULES_MAX} modules",
            folder.display()
        )));
    }
    if depth > MODULES_DEPTH_MAX {
        return Err(Stop::failed(format!("{}: modules are nested too deeply", folder.display())));
    }
    let module = Module::read(folder, given, inputs, project)?;
    for (file, block) in
        module.blocks("resource").filter(|(_, block)| label(block, 0) == "aws_sfn_state_machine")
    {
        let name = label(block, 1);
        let place = file.place(&format!("\"aws_sfn_state_machine\" \"{name}\""));
        let id = format!("{prefix}{name}");
        match module.instances(block, &place) {
            Ok(instances) => {
                for Instance { key, known } in instances {
                    let id = format!("{id}{key}");
                    let found = module.machine(file, block, id.clone(), &place, &known);
                    project.add(Part::Machine(id), found);
                }
            }
            Err(stop) => project.failed(Part::Machine(id), stop),
        }
    }
    for (file, block) in module.blocks("module") {
        let source = attribute(block, "source").map(|source| module.value(source));
        let name = label(block, 0);
        let id = format!("{prefix}{name}");
        let place = file.place(&format!("module \"{name}\""));
        let Some(source) = source.as_ref().and_then(Json::as_str) else { continue };
        // The registry's module of a state machine has its arguments.
        let is_machine = source.contains(REGISTRY_MODULE) && attribute(block, "definition").is_some();
        if !is_machine && !source.starts_with('.') {
            continue;
        }
        let instances = match module.instances(block, &place) {
            Ok(instances) => instances,
            Err(stop) => {
                project.failed(Part::Module(id), stop);
                continue;
            }
        };
        for Instance { key, known } in instances {
            let id = format!("{id}{key}");
            if is_machine {
                let found = module.machine(file, block, id.clone(), &place, &known);
                project.add(Part::Machine(id), found);
                continue;
            }
            let own = block.body().attributes();
            let own = own.map(|it| (it.key().to_owned(), module.evaluate(it.expr(), &known, 0)));
            let (own, prefix) = (own.collect(), format!("{id}."));
            // Without the point of `./modules`.
            let folder: PathBuf = folder.join(source).components().collect();
            if let Err(stop) = self::module(&folder, given, &own, &prefix, depth + 1, project) {
                let stop = Stop::at(place.clone(), format!("source = {source:?}: {stop}"));
                project.failed(Part::Module(id), stop);
            }
        }
    }
    Ok(())
}

/// The module of the registry that makes a state machine of its argument `definition`.
const REGISTRY_MODULE: &str = "terraform-aws-modules/step-functions/aws";

/// Files of a folder with this suffix, ordered by name.
fn files(folder: &Path, suffix: &str) -> Result<Vec<PathBuf>, Stop> {
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(suffix))
        })
        .collect();
    files.sort();
    Ok(files)
}

/// Values from files of variables; later files take precedence.
fn assigned(folder: &Path, project: &mut Project) -> Result<Map<String, Json>, Stop> {
    let (mut values, nothing, none) = (Map::new(), Substitutions::default(), Map::new());
    let named = [folder.join("terraform.tfvars")].into_iter().filter(|file| file.is_file());
    for file in named.chain(files(folder, ".auto.tfvars")?) {
        let read = match File::read(&file) {
            Ok(read) => read,
            Err(stop) => {
                project.failed(Part::File, stop);
                continue;
            }
        };
        let module = Module::of(folder, vec![read], &nothing, &none);
        for attribute in module.files[0].body.attributes() {
            values.insert(attribute.key().to_owned(), module.value(attribute.expr()));
        }
    }
    Ok(values)
}

struct File {
    path: PathBuf,
    text: String,
    body: Body,
}

impl File {
    fn read(path: &Path) -> Result<File, Stop> {
        let text = text(path)?;
        let body = hcl::parse(&text).map_err(|error| not_hcl(path, &text, &error))?;
        Ok(File { path: path.to_owned(), text, body })
    }

    /// The place of a text in it, or of its beginning.
    fn place(&self, wanted: &str) -> Place {
        Place::in_text(&self.path, &self.text, self.text.find(wanted).unwrap_or(0))
    }

    /// The place of a text that stands in this block, or that of the block.
    fn place_in(&self, block: &Place, wanted: &str) -> Place {
        let line = block.at.map_or(0, |(line, _)| line as usize - 1);
        let from = self.text.split_inclusive('\n').take(line).map(str::len).sum();
        match self.text[from..].find(wanted) {
            Some(at) => Place::in_text(&self.path, &self.text, from + at),
            None => block.clone(),
        }
    }
}

/// The place where a text cannot be read as HCL, and why not.
fn not_hcl(path: &Path, text: &str, error: &hcl::Error) -> Stop {
    match error {
        hcl::Error::Parse(error) => {
            let (place, line) = (Place::in_text(path, text, error.location().offset()), error.line().trim());
            let what = if line.is_empty() {
                error.message().to_owned()
            } else {
                format!("{} in `{line}`", error.message())
            };
            Stop::at(place, what)
        }
        error => Stop::failed(format!("{}: {error}", path.display())),
    }
}

/// A folder of Terraform, and its variables.
struct Module<'m> {
    folder: PathBuf,
    files: Vec<File>,
    given: &'m Substitutions,
    inputs: &'m Map<String, Json>,
    /// What could not be resolved since this was last cleared, as it is written.
    unresolved: RefCell<Vec<String>>,
    /// Why a file could not be read since then.
    broken: RefCell<Option<Stop>>,
    /// Bytes, about, of what expressions came to so far.
    spent: Cell<usize>,
}

fn label(block: &Block, n: usize) -> &str {
    block.labels().get(n).map_or("", |label| label.as_str())
}

fn attribute<'b>(block: &'b Block, name: &str) -> Option<&'b Expression> {
    block.body().attributes().find(|it| it.key() == name).map(hcl::Attribute::expr)
}

impl<'m> Module<'m> {
    fn read(
        folder: &Path,
        given: &'m Substitutions,
        inputs: &'m Map<String, Json>,
        project: &mut Project,
    ) -> Result<Module<'m>, Stop> {
        let mut read = Vec::new();
        for path in files(folder, ".tf")? {
            match File::read(&path) {
                Ok(file) => read.push(file),
                Err(stop) => project.failed(Part::File, stop),
            }
        }
        Ok(Module::of(folder, read, given, inputs))
    }

    fn of(
        folder: &Path,
        files: Vec<File>,
        given: &'m Substitutions,
        inputs: &'m Map<String, Json>,
    ) -> Module<'m> {
        let (unresolved, broken, spent) = Default::default();
        Module { folder: folder.to_owned(), files, given, inputs, unresolved, broken, spent }
    }

    fn blocks<'s>(&'s self, kind: &'s str) -> impl Iterator<Item = (&'s File, &'s Block)> {
        self.files.iter().flat_map(move |file| {
            file.body.blocks().filter(move |block| block.identifier() == kind).map(move |block| (file, block))
        })
    }

    fn value(&self, expression: &Expression) -> Json {
        self.evaluate(expression, &BTreeMap::new(), 0)
    }

    /// The state machine of a block that stands at this place of a file, for these values of `each` and `count`.
    fn machine(
        &self,
        file: &File,
        block: &Block,
        name: String,
        place: &Place,
        known: &Variables,
    ) -> Result<FoundMachine, Stop> {
        let definition = attribute(block, "definition")
            .ok_or_else(|| Stop::at(place.clone(), "the block has no `definition`"))?;
        self.unresolved.borrow_mut().clear();
        self.broken.borrow_mut().take();
        let definition = match self.evaluate(definition, known, 0) {
            Json::String(text) => text,
            // `jsonencode` was forgotten.
            other => other.to_string(),
        };
        let unresolved: Vec<String> = self.unresolved.take();
        if let Some(broken) = self.broken.take() {
            return Err(Stop::at(place.clone(), broken));
        }
        if let [whole] = &unresolved[..]
            && definition == evaluate::placeholder(whole)
        {
            let why = format!(
                "nothing is known of its definition, `{whole}`: take its value from `terraform show -json`, and give that \
                 as a file instead of the project"
            );
            return Err(Stop::at(file.place_in(place, whole), why));
        }
        let unresolved = unresolved.into_iter().map(|what| Problem {
            place: file.place_in(place, &what),
            what: format!("nothing is known of `{what}`; say --substitute {what}=VALUE"),
        });
        let kind = attribute(block, "type").map(|kind| self.evaluate(kind, known, 0));
        // A block with `count` or `for_each` gives several machines: the address tells them apart.
        let shown = if name.contains('[') { format!("{place}: {name}") } else { place.to_string() };
        Ok(FoundMachine {
            name,
            machine_type: machine_type(kind.as_ref().and_then(Json::as_str).or(Some("STANDARD"))),
            place: shown,
            definition,
            is_yaml: false,
            unresolved: unresolved.collect(),
        })
    }

    /// The value of `var.NAME`.
    fn variable(&self, name: &str) -> Option<Json> {
        if let Some(value) = self.given.get(name).or_else(|| self.given.get(&format!("var.{name}"))) {
            return Some(evaluate::given(value));
        }
        self.inputs.get(name).cloned().or_else(|| {
            let (_, block) = self.blocks("variable").find(|(_, block)| label(block, 0) == name)?;
            attribute(block, "default").map(|default| self.value(default))
        })
    }

    /// The value of `local.NAME`.
    fn local(&self, name: &str, depth: usize) -> Option<Json> {
        let (_, found) = (self.blocks("locals"))
            .find_map(|(file, block)| attribute(block, name).map(|expression| (file, expression)))?;
        Some(self.evaluate(found, &BTreeMap::new(), depth + 1))
    }

    /// The block of a resource or of a data source.
    fn block(&self, what: &str, kind: &str, name: &str) -> Option<&Block> {
        let mut blocks = self.files.iter().flat_map(|file| file.body.blocks());
        blocks.find(|it| it.identifier() == what && label(it, 0) == kind && label(it, 1) == name)
    }

    /// A resource as a value, or all of a block that makes several: what is known of its attributes.
    fn whole(&self, block: &Block, key: Option<&str>, depth: usize) -> Option<Json> {
        let one = |key: Option<&str>| {
            let attributes = ATTRIBUTES.into_iter();
            let known =
                attributes.filter_map(|it| Some((it.to_owned(), self.resource(block, key, it, depth)?)));
            Json::Object(known.collect())
        };
        if key.is_some() || !Self::has_keys(block) {
            return Some(one(key));
        }
        let keys = self.keys(block, depth)?;
        Some(if attribute(block, "for_each").is_some() {
            Json::Object(keys.into_iter().map(|key| (key.clone(), one(Some(&key)))).collect())
        } else {
            keys.iter().map(|key| one(Some(key))).collect()
        })
    }

    /// An attribute of a resource, which may be one of several by its key: its ARN, or its name.
    fn resource(&self, block: &Block, key: Option<&str>, wanted: &str, depth: usize) -> Option<Json> {
        let (kind, name) = (label(block, 0), label(block, 1));
        let known = self.known_of(block, key, depth + 1);
        let of = |attribute: &Expression| self.evaluate(attribute, &known, depth + 1);
        // An attribute that is set in the block has that value.
        if let Some(own) = attribute(block, wanted) {
            return Some(of(own));
        }
        let named = NAMED_BY.iter().find_map(|by| attribute(block, by)).map(of);
        // A data source is something that is there already: without its name, nothing is known of it.
        let is_data = block.identifier() == "data";
        if is_data && named.is_none() {
            return None;
        }
        let called = named.as_ref().and_then(Json::as_str).unwrap_or(name).to_owned();
        let arn = |called: &str| match KINDS.iter().find(|(terraform, _)| *terraform == kind) {
            Some((_, aws)) => Kind::of(aws).map(|kind| kind.arn(called)),
            None => {
                let (service, what) = kind.strip_prefix("aws_")?.split_once('_')?;
                Some(other_arn(&format!("AWS::{service}::{what}"), called))
            }
        };
        match wanted {
            "arn" | "qualified_arn" | "invoke_arn" => arn(&called).map(Json::from),
            "id" if matches!(kind, "aws_sns_topic" | "aws_sfn_state_machine" | "aws_sfn_activity") => {
                arn(&called).map(Json::from)
            }
            "id" | "url" if kind == "aws_sqs_queue" => {
                Some(Json::from(format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{called}")))
            }
            "id" | "name" | "function_name" | "bucket" if !is_data => Some(Json::from(called)),
            _ => None,
        }
    }
}

/// The attributes that are known of a resource.
const ATTRIBUTES: [&str; 8] =
    ["arn", "qualified_arn", "invoke_arn", "id", "url", "name", "function_name", "bucket"];

/// The attributes with the name of a resource.
const NAMED_BY: [&str; 5] = ["function_name", "name", "bucket", "family", "identifier"];

/// Resources with special ARNs, by their names in CloudFormation.
const KINDS: [(&str, &str); 12] = [
    ("aws_lambda_function", "AWS::Lambda::Function"),
    ("aws_lambda_alias", "AWS::Lambda::Alias"),
    ("aws_sqs_queue", "AWS::SQS::Queue"),
    ("aws_sns_topic", "AWS::SNS::Topic"),
    ("aws_dynamodb_table", "AWS::DynamoDB::Table"),
    ("aws_s3_bucket", "AWS::S3::Bucket"),
    ("aws_cloudwatch_event_bus", "AWS::Events::EventBus"),
    ("aws_cloudwatch_event_connection", "AWS::Events::Connection"),
    ("aws_sfn_state_machine", "AWS::StepFunctions::StateMachine"),
    ("aws_sfn_activity", "AWS::StepFunctions::Activity"),
    ("aws_iam_role", "AWS::IAM::Role"),
    ("aws_ecs_cluster", "AWS::ECS::Cluster"),
];

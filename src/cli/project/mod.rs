//! Projects: the state machines in templates of CloudFormation and SAM, in output of the CDK, in configurations of the
//! Serverless Framework, and in directories of Terraform, each with the resources it names as ARNs of a local account.
//!
//! What cannot be resolved stays as it is written, and is reported with its place. What cannot be read at all, such as a
//! definition in S3, concerns its state machine only: the others of the project are there.

mod cloudformation;
#[cfg(feature = "cli-serve")]
mod destinations;
mod resources;
mod serverless;
mod substitutions;
#[cfg(feature = "cli-terraform")]
mod terraform;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use expressway::asl::{self, MachineType};
use expressway::json::{source, yaml};
use serde_json::Value as Json;

use super::Stop;
use super::definition::{is_yaml, unreadable};
#[cfg(feature = "cli-serve")]
pub(super) use destinations::Destinations;
pub(super) use substitutions::{ProjectArguments, Substitutions};

/// What there is in a project.
#[derive(Debug, Default)]
pub(super) struct Project {
    pub(super) machines: Vec<FoundMachine>,
    /// What cannot be read of it.
    pub(super) unread: Vec<Unread>,
}

/// A part of a project that cannot be read.
#[derive(Debug)]
pub(super) struct Unread {
    part: Part,
    /// Its place, what is wrong there, and what to try.
    why: String,
}

/// What a part of a project is.
#[derive(Debug)]
enum Part {
    /// A state machine, by its logical id.
    Machine(String),
    /// A module or a nested stack: the logical ids of its state machines begin with its name.
    Module(String),
    /// A file that may have state machines, or what they refer to.
    File,
}

/// Says what cannot be read, and why.
impl fmt::Display for Unread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Part::Machine(name) => write!(out, "the state machine {name} cannot be read: {}", self.why),
            Part::Module(name) => write!(out, "the module {name} cannot be read: {}", self.why),
            Part::File => self.why.fmt(out),
        }
    }
}

impl Unread {
    /// Whether a state machine of this name is, or may be, in this part.
    fn has(&self, machine: &str) -> bool {
        match &self.part {
            Part::Machine(name) => name == machine,
            Part::Module(name) => {
                machine.strip_prefix(&**name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }
            Part::File => false,
        }
    }

    fn machine(&self) -> Option<&str> {
        match &self.part {
            Part::Machine(name) => Some(name),
            Part::Module(_) | Part::File => None,
        }
    }
}

impl Project {
    fn add(&mut self, part: Part, found: Result<FoundMachine, Stop>) {
        match found {
            Ok(machine) => self.machines.push(machine),
            Err(stop) => self.failed(part, &stop),
        }
    }

    fn failed(&mut self, part: Part, stop: &Stop) {
        self.unread.push(Unread { part, why: stop.to_string() });
    }

    fn extend(&mut self, other: Project) {
        self.machines.extend(other.machines);
        self.unread.extend(other.unread);
    }

    fn is_empty(&self) -> bool {
        self.machines.is_empty() && self.unread.is_empty()
    }

    /// The selected one, or the only one; and what cannot be read beside it.
    pub(super) fn choose(mut self, name: Option<&str>) -> Result<(FoundMachine, Vec<Unread>), Stop> {
        let machines = self.machines.iter().map(|machine| &*machine.name);
        let names: Vec<&str> = machines.chain(self.unread.iter().filter_map(Unread::machine)).collect();
        let list = names.join(", ");
        let at = match name {
            Some(name) => {
                if let Some(unread) = self.unread.iter().find(|unread| unread.has(name)) {
                    return Err(Stop::failed(unread.to_string()));
                }
                let advice = asl::did_you_mean(name, names.iter().copied());
                let advice = advice.unwrap_or_else(|| match names[..] {
                    [] => "it has none that can be read".to_owned(),
                    _ => format!("there are {list}"),
                });
                self.machines.iter().position(|machine| machine.name == name).ok_or_else(|| {
                    let text = format!("there is no state machine {name} in the project: {advice}");
                    Stop::failed(self.with_unread(text))
                })?
            }
            None => match (names.len(), self.machines.len()) {
                (1, 1) => 0,
                (0, _) if self.unread.is_empty() => {
                    return Err(Stop::failed("there is no state machine in the template"));
                }
                (0 | 1, _) => return Err(Stop::failed(listed(&self.unread))),
                (count, _) => {
                    let text = format!("there are {count} state machines: say which with --machine ({list})");
                    return Err(Stop::failed(self.with_unread(text)));
                }
            },
        };
        Ok((self.machines.swap_remove(at), self.unread))
    }

    /// A text about the machines of the project, and what cannot be read of it.
    fn with_unread(&self, text: String) -> String {
        if self.unread.is_empty() { text } else { format!("{text}\n{}", listed(&self.unread)) }
    }
}

/// One a line.
fn listed(unread: &[Unread]) -> String {
    unread.iter().map(Unread::to_string).collect::<Vec<_>>().join("\n")
}

/// A state machine of a project.
#[derive(Debug)]
pub(super) struct FoundMachine {
    /// Its logical id.
    pub(super) name: String,
    pub(super) machine_type: Option<MachineType>,
    /// Its place, for people.
    pub(super) place: String,
    /// The definition as JSON.
    pub(super) definition: String,
    /// What could not be resolved, each with its place.
    pub(super) unresolved: Vec<String>,
}

/// Bytes that a file of a project may have.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What there is in a project: a folder, or a template. `None` if the file is something else.
pub(super) fn read(path: &Path, given: &Substitutions) -> Result<Option<Project>, Stop> {
    if path.as_os_str() == "-" {
        return Ok(None);
    }
    if path.is_dir() {
        return folder(path, given).map(Some);
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if !matches!(extension, "json" | "yaml" | "yml" | "template") || !path.is_file() {
        return Ok(None);
    }
    // Errors in the data are reported when it is read as a definition.
    let Ok(root) = data(path) else { return Ok(None) };
    Ok(template(path, root, given))
}

fn template(path: &Path, root: Json, given: &Substitutions) -> Option<Project> {
    if root.get("stepFunctions").is_some() {
        return Some(serverless::machines(path, root, given));
    }
    if root.get("Resources").is_some_and(Json::is_object) && root.get("States").is_none() {
        return Some(cloudformation::machines(path, root, given));
    }
    None
}

/// The files that identify projects, in the order in which they are looked for.
const NAMES: [&str; 6] = [
    "template.yaml",
    "template.yml",
    "template.json",
    "serverless.yml",
    "serverless.yaml",
    "serverless.json",
];

/// Whether a folder or a file is a project, rather than definitions.
#[cfg(feature = "cli-serve")]
pub(super) fn is_there(path: &Path) -> Result<bool, Stop> {
    if path.is_dir() {
        return Ok(!files(path)?.is_empty() || has_terraform(path));
    }
    read(path, &Substitutions::default()).map(|machines| machines.is_some())
}

/// The files of a folder that are projects.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Stop> {
    let synthesized = [folder.to_owned(), folder.join("cdk.out")];
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in synthesized.iter().filter(|folder| folder.join("manifest.json").is_file()) {
        let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        files.extend(paths.filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.ends_with(".template.json"))
        }));
    }
    files.sort();
    files.extend(NAMES.iter().map(|name| folder.join(name)).filter(|file| file.is_file()));
    Ok(files)
}

fn folder(folder: &Path, given: &Substitutions) -> Result<Project, Stop> {
    let files = files(folder)?;
    if files.is_empty() && has_terraform(folder) {
        return of_terraform(folder, given);
    }
    if files.is_empty() {
        let name = match first_definition(folder) {
            Some(file) => format!("name one of its definitions, such as {}", file.display()),
            None => "name the file of a definition".to_owned(),
        };
        return Err(Stop::failed(format!(
            "{} is a folder without template.yaml, template.json, cdk.out, serverless.yml or *.tf: {name}",
            folder.display()
        )));
    }
    let mut project = Project::default();
    for file in files {
        match data(&file) {
            Ok(root) => template(&file, root, given).into_iter().for_each(|found| project.extend(found)),
            Err(stop) => project.failed(Part::File, &stop),
        }
    }
    if project.is_empty() {
        Err(Stop::failed(format!("the project in {} has no state machine", folder.display())))
    } else {
        Ok(project)
    }
}

/// The first definition of a folder by name, for a suggestion.
fn first_definition(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_definition = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| [".asl.json", ".asl.yaml", ".asl.yml"].iter().any(|end| name.ends_with(end)))
    };
    entries.filter(is_definition).min()
}

#[cfg(feature = "cli-terraform")]
fn has_terraform(folder: &Path) -> bool {
    terraform::is_there(folder)
}

#[cfg(feature = "cli-terraform")]
fn of_terraform(folder: &Path, given: &Substitutions) -> Result<Project, Stop> {
    let project = terraform::machines(folder, given)?;
    if project.is_empty() {
        return Err(Stop::failed(format!(
            "the project in {} has no aws_sfn_state_machine",
            folder.display()
        )));
    }
    Ok(project)
}

#[cfg(not(feature = "cli-terraform"))]
fn has_terraform(folder: &Path) -> bool {
    folder.join("main.tf").is_file()
}

#[cfg(not(feature = "cli-terraform"))]
fn of_terraform(_: &Path, _: &Substitutions) -> Result<Project, Stop> {
    Err(Stop::failed(super::missing::left_out("reading Terraform", "cli-terraform")))
}

/// The content of a JSON or YAML file; short forms of template functions become long ones.
fn data(path: &Path) -> Result<Json, Stop> {
    let text = text(path)?;
    let wrong = |error: &dyn std::fmt::Display| Stop::failed(format!("{}: {error}", path.display()));
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(&text).map_err(|error| wrong(&error));
    }
    let source = yaml::read_template(&text).map_err(|error| {
        let line = 1 + text.bytes().take(error.span.start as usize).filter(|&byte| byte == b'\n').count();
        Stop::failed(format!("{}:{line}: {error}", path.display()))
    })?;
    serde_json::from_str(&yaml::to_json(&source.root)).map_err(|error| wrong(&error))
}

/// The place of a member of a JSON or YAML file, for people: the file, the line where it can be found, and the names that
/// lead to it, such as `Resources/Orders/Properties`.
struct Places<'p> {
    path: &'p Path,
    tree: Option<source::Source>,
    text: String,
}

impl<'p> Places<'p> {
    fn of(path: &'p Path) -> Places<'p> {
        // The file was read before. If it was deleted since, places in it have no lines.
        let text = text(path).unwrap_or_default();
        let tree = if text.trim_start().starts_with('{') {
            source::read(text.as_bytes(), text.len()).ok()
        } else {
            yaml::read_template(&text).ok()
        };
        Places { path, tree, text }
    }

    fn place(&self, names: &str) -> String {
        self.shown(names, self.begins(names))
    }

    /// The place of a text that stands somewhere below these names.
    fn place_of(&self, names: &str, wanted: &str) -> String {
        let from = self.begins(names);
        let at = from.and_then(|from| Some(from + self.text.get(from..)?.find(wanted)?));
        self.shown(names, at.or(from))
    }

    /// The byte at which the value of these names, or the nearest around it, begins.
    fn begins(&self, names: &str) -> Option<usize> {
        let tree = self.tree.as_ref()?;
        Some(asl::span_at(&tree.root, &format!("/{names}")).start as usize)
    }

    fn shown(&self, names: &str, at: Option<usize>) -> String {
        let file = self.path.display();
        match at {
            Some(at) => format!("{file}:{}: {names}", asl::diagnostic::line_column(&self.text, at).0),
            None => format!("{file}: {names}"),
        }
    }
}

fn text(path: &Path) -> Result<String, Stop> {
    let about = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if about.len() > FILE_BYTES_MAX {
        return Err(Stop::failed(format!("{} has more than {FILE_BYTES_MAX} bytes", path.display())));
    }
    fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

/// `STANDARD` or `EXPRESS`.
fn machine_type(text: Option<&str>) -> Option<MachineType> {
    match text?.to_ascii_uppercase().as_str() {
        "EXPRESS" => Some(MachineType::Express),
        "STANDARD" => Some(MachineType::Standard),
        _ => None,
    }
}

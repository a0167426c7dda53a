//! Projects: the state machines in templates of CloudFormation and SAM, in output of the CDK, in configurations of the
//! Serverless Framework, and in directories of Terraform, each with the resources it names as ARNs of a local account.
//!
//! What cannot be resolved stays as it is written, and is reported with its place. What cannot be read at all, such as a
//! definition in S3, concerns its state machine only: the others of the project are there.

mod cloudformation;
#[cfg(feature = "cli-serve")]
mod destinations;
mod nearby;
mod resources;
mod serverless;
mod substitutions;
#[cfg(feature = "cli-terraform")]
mod terraform;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use expressway::asl::{self, MachineType};
use expressway::json::{source, yaml};
use expressway::os;
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
    /// What the conditions of a template leave out: state machines and stacks, by their logical ids.
    absent: Vec<(String, Problem)>,
    /// The templates that were read, those that others nest among them.
    templates: Vec<PathBuf>,
    /// What is odd about it.
    notes: Vec<Problem>,
    /// How many modules of Terraform were read.
    #[cfg(feature = "cli-terraform")]
    modules: usize,
}

/// A part of a project that cannot be read.
#[derive(Debug)]
pub(super) struct Unread {
    part: Part,
    /// What is wrong, and what to try.
    stop: Stop,
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
            Part::Machine(name) => write!(out, "the state machine {name} cannot be read: {}", self.stop),
            Part::Module(name) => write!(out, "the module {name} cannot be read: {}", self.stop),
            Part::File => self.stop.fmt(out),
        }
    }
}

impl Unread {
    /// Whether a state machine of this name is, or may be, in this part.
    fn has(&self, machine: &str) -> bool {
        match &self.part {
            Part::Machine(name) => name == machine,
            Part::Module(name) => is_in(name, machine),
            Part::File => false,
        }
    }

    /// The logical id, if it is a state machine.
    pub(super) fn machine(&self) -> Option<&str> {
        match &self.part {
            Part::Machine(name) => Some(name),
            Part::Module(_) | Part::File => None,
        }
    }

    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }
}

impl Project {
    /// What is odd about it.
    pub(super) fn notes(&self) -> impl Iterator<Item = &Problem> {
        self.notes.iter()
    }

    /// Lines about what a deployment would leave out.
    pub(super) fn left_out(&self) -> impl Iterator<Item = String> {
        self.absent.iter().map(|(id, why)| format!("note: {id}: {why}"))
    }
}

/// A place in a file of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    /// Line and column, if they are known.
    pub(super) at: Option<(u32, u32)>,
    /// The names that lead to it, such as `Resources/Orders/Properties`; empty where a line says it all.
    pub(super) names: String,
}

impl Place {
    /// The place of a byte of a file.
    pub(super) fn in_text(file: &Path, text: &str, byte: usize) -> Place {
        let at = Some(asl::diagnostic::line_column(text, byte));
        Place { file: file.display().to_string(), at, names: String::new() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.file)?;
        if let Some((line, _)) = self.at {
            write!(out, ":{line}")?;
        }
        if self.names.is_empty() { Ok(()) } else { write!(out, ": {}", self.names) }
    }
}

/// What is wrong at a place of a project, or not known there, and what to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) place: Place,
    pub(super) what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.what)
    }
}

impl Stop {
    /// The stop for what is wrong at a place of a project.
    fn at(place: Place, what: impl fmt::Display) -> Stop {
        Stop::At(Box::new(Problem { place, what: what.to_string() }))
    }
}

impl Project {
    fn add(&mut self, part: Part, found: Result<FoundMachine, Stop>) {
        match found {
            Ok(machine) => self.machines.push(machine),
            Err(stop) => self.failed(part, stop),
        }
    }

    fn failed(&mut self, part: Part, stop: Stop) {
        self.unread.push(Unread { part, stop });
    }

    fn extend(&mut self, other: Project) {
        self.machines.extend(other.machines);
        self.unread.extend(other.unread);
        self.absent.extend(other.absent);
        self.templates.extend(other.templates);
        self.notes.extend(other.notes);
    }

    /// Removes state machines that have the same name, because the name does not identify one of them.
    fn without_twins(mut self) -> Project {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for name in self.names_mut() {
            *count.entry(name.clone()).or_default() += 1;
        }
        let (twins, alone) = self.machines.into_iter().partition(|it| count[&it.name] > 1);
        self.machines = alone;
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for FoundMachine { name, place, .. } in twins {
            places.entry(name).or_default().push(place);
        }
        for (name, mut places) in places {
            places.dedup();
            let stop = Stop::failed(format!("there are several of this name: {}", places.join(", ")));
            self.unread.push(Unread { part: Part::Machine(name), stop });
        }
        self
    }

    /// The logical ids of all state machines, also of those that cannot be read.
    fn names_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let unread = self.unread.iter_mut().filter_map(|unread| match &mut unread.part {
            Part::Machine(name) | Part::Module(name) => Some(name),
            Part::File => None,
        });
        self.machines.iter_mut().map(|machine| &mut machine.name).chain(unread)
    }

    fn is_empty(&self) -> bool {
        self.machines.is_empty() && self.unread.is_empty() && self.absent.is_empty()
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
                if let Some((_, why)) = self.absent.iter().find(|(id, _)| is_in(id, name)) {
                    return Err(Stop::at(why.place.clone(), &why.what));
                }
                let advice = asl::did_you_mean(name, names.iter().copied());
                let advice = advice.unwrap_or_else(|| match names[..] {
                    [] => "it has none that can be read".to_owned(),
                    _ => format!("there are {list}"),
                });
                // Where only one is made of a resource, its key may be left out.
                let only = || {
                    let is_of = |(_, machine): &(usize, &FoundMachine)| without_keys(&machine.name) == name;
                    let mut found = self.machines.iter().enumerate().filter(is_of).map(|(at, _)| at);
                    found.next().filter(|_| found.next().is_none())
                };
                let exact = self.machines.iter().position(|machine| machine.name == name);
                exact.or_else(only).ok_or_else(|| {
                    let text = format!("there is no state machine {name} in the project: {advice}");
                    Stop::failed(self.with_unread(text))
                })?
            }
            None => match (names.len(), self.machines.len()) {
                (1, 1) => 0,
                (0, _) if self.unread.is_empty() => {
                    return Err(match self.absent.first() {
                        Some((_, why)) => Stop::at(why.place.clone(), &why.what),
                        None => Stop::failed("there is no state machine in the template"),
                    });
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

/// An address of Terraform without the keys of `for_each` and the numbers of `count`.
fn without_keys(address: &str) -> String {
    let (mut out, mut rest) = (String::new(), address);
    while let Some((before, inside)) = rest.split_once('[') {
        let Some((_, behind)) = inside.split_once(']') else { break };
        out.push_str(before);
        rest = behind;
    }
    out + rest
}

/// The name of a state machine on a server for its id in a project: `orders["eu"]` is `orders-eu`.
#[cfg(feature = "cli-serve")]
pub(super) fn machine_name(id: &str) -> String {
    let id = id.replace(['"', ']'], "");
    id.replace(|c: char| !c.is_alphanumeric() && !"-_.".contains(c), "-")
}

/// Whether a state machine is this one, or in this module.
fn is_in(id: &str, machine: &str) -> bool {
    machine.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
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
    /// The definition, as JSON or YAML.
    pub(super) definition: String,
    pub(super) is_yaml: bool,
    /// What could not be resolved.
    pub(super) unresolved: Vec<Problem>,
}

/// Bytes that a file of a project may have.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Bytes, about, of what variables and functions of a project stand for.
const EXPANDED_BYTES_MAX: usize = 64 << 20;

/// What there is in a project: a folder, or a template. `None` if the file is something else.
pub(super) fn read(path: &Path, given: &Substitutions) -> Result<Option<Project>, Stop> {
    if path.as_os_str() == "-" {
        return Ok(None);
    }
    if path.is_dir() {
        return folder(path, given).map(Some);
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if extension == "tf" && path.is_file() {
        // Its names are those of the whole folder.
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return of_terraform(folder, given).map(Some);
    }
    if let Some(why) = nearby::not_read(path) {
        return Err(Stop::failed(format!("{}: {why}", path.display())));
    }
    if !matches!(extension, "json" | "yaml" | "yml" | "template") || !path.is_file() {
        return Ok(None);
    }
    // Errors in the data are reported when it is read as a definition.
    let Ok(root) = data(path) else { return Ok(None) };
    Ok(template(path, root, given).map(Project::without_twins))
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

/// The files of a folder that are projects, each with what tells its state machines from those of the others.
fn files(folder: &Path) -> Result<Vec<(PathBuf, String)>, Stop> {
    let mut files = Vec::new();
    for folder in [folder.to_owned(), folder.join("cdk.out")] {
        if folder.join("manifest.json").is_file() {
            assembly(&folder, 0, &mut files)?;
        }
    }
    // Templates that others nest come last: by then they are read.
    files.sort_by_key(|(path, _)| (path.to_string_lossy().ends_with(".nested.template.json"), path.clone()));
    let named: Vec<&str> = NAMES.into_iter().filter(|name| folder.join(name).is_file()).collect();
    let stem = |name: &'static str| name.split('.').next().unwrap_or(name);
    for name in &named {
        let is_alone = named.iter().filter(|other| stem(other) == stem(name)).count() == 1;
        files.push((folder.join(name), if is_alone { stem(name) } else { name }.to_owned()));
    }
    Ok(files)
}

/// Nesting of assemblies: stages may have stages.
const ASSEMBLIES_DEPTH_MAX: usize = 8;

/// The templates of a folder that the CDK wrote, and of the stages in it.
fn assembly(folder: &Path, depth: usize, files: &mut Vec<(PathBuf, String)>) -> Result<(), Stop> {
    // One that cannot be read says nothing of its templates' names.
    let manifest = data(&folder.join("manifest.json")).unwrap_or(Json::Null);
    let artifacts = || manifest["artifacts"].as_object().into_iter().flatten().map(|(_, artifact)| artifact);
    let shown = |template: &str| {
        let artifact = artifacts().find(|it| it["properties"]["templateFile"] == template);
        let name = artifact.and_then(|it| it["displayName"].as_str());
        let name = name.unwrap_or(template.trim_end_matches(".template.json"));
        // As the CDK's own commands show the ids of stacks on construct trees.
        name.split(" (").next().unwrap_or(name).replace('/', "-")
    };
    let stages: Vec<&str> =
        artifacts().filter_map(|artifact| artifact["properties"]["directoryName"].as_str()).collect();
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.ends_with(".template.json") {
            let shown = shown(name);
            files.push((path, shown));
        } else if (name.starts_with("assembly-") || stages.contains(&name))
            && path.join("manifest.json").is_file()
            && depth < ASSEMBLIES_DEPTH_MAX
        {
            assembly(&path, depth + 1, files)?;
        }
    }
    Ok(())
}

fn folder(folder: &Path, given: &Substitutions) -> Result<Project, Stop> {
    fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let files = files(folder)?;
    if files.is_empty() && has_terraform(folder) {
        return of_terraform(folder, given);
    }
    if files.is_empty() {
        let name = nearby::advice(folder);
        return Err(Stop::failed(format!(
            "{} is a folder without template.yaml, template.json, cdk.out, serverless.yml or *.tf: {name}",
            folder.display()
        )));
    }
    let mut all: Vec<(String, Project)> = Vec::new();
    // What cannot be read is reported below.
    let read = |(file, _): &(PathBuf, String)| Some((file.clone(), data(file).ok()?));
    let templates: Vec<(PathBuf, Json)> = files.iter().filter_map(read).collect();
    let given = &given.with_exports_of(&templates);
    for (file, name) in files {
        if all.iter().any(|(_, found)| found.templates.contains(&file)) {
            continue;
        }
        let mut found = Project::default();
        match data(&file) {
            Ok(root) => template(&file, root, given).into_iter().for_each(|it| found.extend(it)),
            Err(stop) => found.failed(Part::File, stop),
        }
        all.push((name, found));
    }
    let mut project = Project::default();
    for (_, found) in tell_apart(all) {
        project.extend(found);
    }
    let project = project.without_twins();
    if project.is_empty() {
        Err(Stop::failed(format!("the project in {} has no state machine", folder.display())))
    } else {
        Ok(project)
    }
}

/// Puts the template's name before a logical id that several templates have, as stages of the CDK do.
fn tell_apart(mut all: Vec<(String, Project)>) -> Vec<(String, Project)> {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for name in all.iter_mut().flat_map(|(_, found)| found.names_mut()) {
        *count.entry(name.clone()).or_default() += 1;
    }
    for (template, found) in &mut all {
        for name in found.names_mut().filter(|name| count[&**name] > 1) {
            name.insert_str(0, &format!("{template}."));
        }
    }
    all
}

#[cfg(feature = "cli-terraform")]
fn has_terraform(folder: &Path) -> bool {
    terraform::is_there(folder)
}

#[cfg(feature = "cli-terraform")]
fn of_terraform(folder: &Path, given: &Substitutions) -> Result<Project, Stop> {
    let project = terraform::machines(folder, given)?.without_twins();
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
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(&text).map_err(|error| {
            // The error's own text ends with its line and column.
            let wrong = error.to_string();
            let wrong = wrong.rsplit_once(" at line ").map_or(&*wrong, |(what, _)| what);
            let before: usize =
                text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
            Stop::at(Place::in_text(path, &text, before + error.column().saturating_sub(1)), wrong)
        });
    }
    let source = yaml::read_template(&text)
        .map_err(|error| Stop::at(Place::in_text(path, &text, error.span.start as usize), error))?;
    serde_json::from_str(&yaml::to_json(&source.root))
        .map_err(|error| Stop::failed(format!("{}: {error}", path.display())))
}

/// The places of members of a JSON or YAML file.
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

    fn place(&self, names: &str) -> Place {
        self.shown(names, self.begins(names))
    }

    /// The place of a text that stands somewhere below these names.
    fn place_of(&self, names: &str, wanted: &str) -> Place {
        let from = self.begins(names);
        let at = from.and_then(|from| Some(from + self.text.get(from..)?.find(wanted)?));
        self.shown(names, at.or(from))
    }

    /// The byte at which the value of these names, or the nearest around it, begins.
    fn begins(&self, names: &str) -> Option<usize> {
        let tree = self.tree.as_ref()?;
        Some(asl::span_at(&tree.root, &format!("/{names}")).start as usize)
    }

    /// Names that stand twice in one object, of which the last one counts.
    fn duplicates(&self) -> Vec<Problem> {
        let found = self.tree.iter().flat_map(|tree| &tree.duplicates);
        let problem = |name: &source::Sourced<Box<str>>| Problem {
            place: Place::in_text(self.path, &self.text, name.span.start as usize),
            what: format!("`{}` stands twice in one object; the last one counts", name.value),
        };
        found.map(problem).collect()
    }

    fn shown(&self, names: &str, at: Option<usize>) -> Place {
        Place {
            file: self.path.display().to_string(),
            at: at.map(|at| asl::diagnostic::line_column(&self.text, at)),
            names: names.to_owned(),
        }
    }
}

fn text(path: &Path) -> Result<String, Stop> {
    let about = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if about.len() > FILE_BYTES_MAX {
        return Err(Stop::failed(format!("{} has more than {FILE_BYTES_MAX} bytes", path.display())));
    }
    os::read_text(path).map_err(|error| unreadable(path, &error))
}

/// `STANDARD` or `EXPRESS`.
fn machine_type(text: Option<&str>) -> Option<MachineType> {
    match text?.to_ascii_uppercase().as_str() {
        "EXPRESS" => Some(MachineType::Express),
        "STANDARD" => Some(MachineType::Standard),
        _ => None,
    }
}

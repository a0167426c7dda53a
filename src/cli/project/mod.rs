//! Projects: the state machines in templates of CloudFormation and SAM, in output of the CDK, in configurations of the
//! Serverless Framework, and in directories of Terraform, each with the resources it names as ARNs of a local account.
//!
//! What cannot be resolved stays as it is written, and is reported with its place.

mod cloudformation;
#[cfg(feature = "cli-serve")]
mod destinations;
mod resources;
mod serverless;
mod substitutions;
#[cfg(feature = "cli-terraform")]
mod terraform;

use std::fs;
use std::path::{Path, PathBuf};

use expressway::asl::MachineType;
use expressway::json::yaml;
use serde_json::Value as Json;

use super::Stop;
use super::definition::{is_yaml, unreadable};
#[cfg(feature = "cli-serve")]
pub(super) use destinations::Destinations;
pub(super) use substitutions::{ProjectArguments, Substitutions};

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

/// The state machines of a project: a folder, or a template. `None` if the file is something else.
pub(super) fn read(path: &Path, given: &Substitutions) -> Result<Option<Vec<FoundMachine>>, Stop> {
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
    template(path, root, given)
}

fn template(path: &Path, root: Json, given: &Substitutions) -> Result<Option<Vec<FoundMachine>>, Stop> {
    if root.get("stepFunctions").is_some() {
        return serverless::machines(path, root, given).map(Some);
    }
    if root.get("Resources").is_some_and(Json::is_object) && root.get("States").is_none() {
        return cloudformation::machines(path, root, given).map(Some);
    }
    Ok(None)
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

fn folder(folder: &Path, given: &Substitutions) -> Result<Vec<FoundMachine>, Stop> {
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
    let mut machines: Vec<FoundMachine> = Vec::new();
    for file in files {
        machines.extend(template(&file, data(&file)?, given)?.unwrap_or_default());
    }
    if machines.is_empty() {
        Err(Stop::failed(format!("the project in {} has no state machine", folder.display())))
    } else {
        Ok(machines)
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
fn of_terraform(folder: &Path, given: &Substitutions) -> Result<Vec<FoundMachine>, Stop> {
    let machines = terraform::machines(folder, given)?;
    if machines.is_empty() {
        return Err(Stop::failed(format!(
            "the project in {} has no aws_sfn_state_machine",
            folder.display()
        )));
    }
    Ok(machines)
}

#[cfg(not(feature = "cli-terraform"))]
fn has_terraform(folder: &Path) -> bool {
    folder.join("main.tf").is_file()
}

#[cfg(not(feature = "cli-terraform"))]
fn of_terraform(_: &Path, _: &Substitutions) -> Result<Vec<FoundMachine>, Stop> {
    Err(Stop::failed(super::missing::left_out("reading Terraform", "cli-terraform")))
}

/// The selected one, or the only one.
pub(super) fn choose(machines: Vec<FoundMachine>, name: Option<&str>) -> Result<FoundMachine, Stop> {
    let names: Vec<String> = machines.iter().map(|machine| machine.name.clone()).collect();
    let mut chosen = machines.into_iter();
    match name {
        Some(name) => chosen.find(|machine| machine.name == name).ok_or_else(|| {
            let advice = expressway::asl::did_you_mean(name, names.iter().map(String::as_str));
            let advice = advice.unwrap_or_else(|| format!("there are {}", names.join(", ")));
            Stop::failed(format!("there is no state machine {name} in the project: {advice}"))
        }),
        None => match (chosen.next(), names.len()) {
            (Some(machine), 1) => Ok(machine),
            (None, _) => Err(Stop::failed("there is no state machine in the template")),
            _ => Err(Stop::failed(format!(
                "there are {} state machines: say which with --machine ({})",
                names.len(),
                names.join(", ")
            ))),
        },
    }
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

//! Projects: the state machines in templates of CloudFormation and SAM, in output of the CDK, in configurations of the
//! Serverless Framework, and in directories of Terraform, each with the resources it names as ARNs of a local account.
//!
//! What cannot be resolved stays as it is written, and is reported with its place. What cannot be read at all, such as a
//! definition in S3, concerns its state machine only: the others of the project are there.

mod cloudformation;
mod data;
#[cfg(feature = "cli-serve")]
mod destinations;
mod found;
mod nearby;
mod resources;
mod serverless;
mod substitutions;
#[cfg(feature = "cli-terraform")]
mod terraform;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::files::{is_yaml, unreadable};
use super::stop::{Place, Problem, Stop};
use data::{EXPANDED_BYTES_MAX, Places, data, text};
#[cfg(feature = "cli-serve")]
pub(super) use destinations::Destinations;
pub(super) use found::{FoundMachine, Project, Unread};
use found::{Part, machine_type};
pub(super) use substitutions::{ProjectArguments, Substitutions};

/// The name of a state machine on a server for its id in a project: `orders["eu"]` is `orders-eu`.
#[cfg(feature = "cli-serve")]
pub(super) fn machine_name(id: &str) -> String {
    let id = id.replace(['"', ']'], "");
    id.replace(|c: char| !c.is_alphanumeric() && !"-_.".contains(c), "-")
}

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
    Err(Stop::failed(super::features::left_out("reading Terraform", "cli-terraform")))
}

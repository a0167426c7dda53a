//! A folder of definitions, or one file: each file is a state machine, created when the server starts and updated when
//! the file changes. A file that is broken is reported and changes nothing.
//!
//! The folder is polled rather than watched: that works on every file system, mounted ones included, and a second is
//! soon enough after saving a file.

use crate::os;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;

use super::Place;
use crate::api::{self, Call};
use crate::asl::MachineType;
use crate::json::yaml;
use crate::limits;
use crate::service::Service;

/// Bytes of the largest file that is read.
const FILE_BYTES_MAX: u64 = limits::DEFINITION_BYTES_MAX as u64;
/// The execution role of machines from files; it grants nothing.
const ROLE: &str = "role/expressway";

/// A folder of definitions, or one file.
#[derive(Debug)]
pub struct Definitions {
    folder: PathBuf,
    /// If it is only this one of the folder.
    file: Option<PathBuf>,
    rewrite: Option<Rewrite>,
    place: Place,
    machine_type: Option<MachineType>,
    seen: BTreeMap<PathBuf, Stamp>,
    /// Files whose state machine is that of another file.
    twins: BTreeSet<PathBuf>,
}

/// Changes the text of a file before it is read.
struct Rewrite(Box<dyn Fn(String) -> String + Send + Sync>);

impl std::fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rewrite")
    }
}

/// Identifies the content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

/// What was done for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The file.
    pub file: PathBuf,
    /// The state machine: the file's name up to its first dot.
    pub machine: String,
    /// What was done.
    pub done: Done,
}

/// What was done for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Done {
    /// The machine was created.
    Created,
    /// The machine was updated; executions under way keep their definition.
    Updated,
    /// Nothing: the file is invalid, and the machine, if there is one, is unchanged.
    Refused(String),
    /// Nothing: the file was removed, and its machine stays until the server ends.
    Gone,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (file, machine) = (self.file.display(), &self.machine);
        match &self.done {
            Done::Created => write!(f, "{machine}: created from {file}"),
            Done::Updated => write!(f, "{machine}: updated from {file}"),
            Done::Refused(reason) => {
                write!(f, "{machine}: {file} is refused, and nothing is changed: {reason}")
            }
            Done::Gone => write!(f, "{machine}: {file} was removed; the machine stays until the server ends"),
        }
    }
}

impl Definitions {
    /// The files `*.asl.json`, `*.asl.yaml` and `*.asl.yml` of a folder, or one file of any name, as machines of a type.
    /// Without a type, each is `EXPRESS`, unless it has what only `STANDARD` machines may have.
    pub fn new(path: impl Into<PathBuf>, place: Place, machine_type: Option<MachineType>) -> Definitions {
        let path = path.into();
        let (folder, file) = if path.is_file() {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            (folder.unwrap_or(Path::new(".")).to_owned(), Some(path))
        } else {
            (path, None)
        };
        Definitions {
            folder,
            file,
            rewrite: None,
            place,
            machine_type,
            seen: BTreeMap::new(),
            twins: BTreeSet::new(),
        }
    }

    /// The folder that is followed.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Has each text changed before it is read, to replace placeholders for instance.
    #[must_use]
    pub fn rewritten(self, by: impl Fn(String) -> String + Send + Sync + 'static) -> Definitions {
        Definitions { rewrite: Some(Rewrite(Box::new(by))), ..self }
    }

    /// Finds files that are new, changed or removed since the last call, and updates the service.
    ///
    /// # Errors
    /// When the folder cannot be read. Errors of a file are in its report.
    pub async fn look(&mut self, service: &Service) -> io::Result<Vec<Report>> {
        let mut reports = Vec::new();
        let mut found = BTreeMap::new();
        let paths = match &self.file {
            Some(file) => vec![file.clone()],
            None => fs::read_dir(&self.folder)?.map(|it| Ok(it?.path())).collect::<io::Result<Vec<_>>>()?,
        };
        for path in paths {
            let Some(machine) = self.machine_name(&path) else { continue };
            // A link's target counts, if it is in the folder. A file that vanishes meanwhile is reported as removed the
            // next time.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_file() {
                let stamp = Stamp { bytes: metadata.len(), modified: metadata.modified().ok() };
                found.insert(path, (stamp, machine));
            }
        }
        // Of several files for one state machine, the one that made it counts, or the first.
        let mut owners: BTreeMap<&str, &PathBuf> = BTreeMap::new();
        let (made, new): (Vec<_>, Vec<_>) = found.iter().partition(|(path, _)| self.seen.contains_key(*path));
        for (path, (_, machine)) in made.into_iter().chain(new) {
            owners.entry(machine).or_insert(path);
        }
        self.twins.retain(|path| found.contains_key(path));
        for (path, (stamp, machine)) in &found {
            let owner = owners[&**machine];
            if owner != path {
                self.seen.remove(path);
                if self.twins.insert(path.clone()) {
                    let why = format!("the state machine {machine} is that of {}", owner.display());
                    let done = Done::Refused(why + ": give the file another name");
                    reports.push(Report { file: path.clone(), machine: machine.clone(), done });
                }
                continue;
            }
            self.twins.remove(path);
            if self.seen.get(path) == Some(stamp) {
                continue;
            }
            let done = self.follow(service, path, machine).await;
            self.seen.insert(path.clone(), *stamp);
            reports.push(Report { file: path.clone(), machine: machine.clone(), done });
        }
        let gone: Vec<PathBuf> =
            self.seen.keys().filter(|path| !found.contains_key(*path)).cloned().collect();
        for file in gone {
            self.seen.remove(&file);
            let machine = self.machine_name(&file).unwrap_or_default();
            reports.push(Report { file, machine, done: Done::Gone });
        }
        Ok(reports)
    }

    async fn follow(&self, service: &Service, path: &Path, machine: &str) -> Done {
        let definition = match text(&self.folder, path, self.rewrite.as_ref()) {
            Ok(definition) => definition,
            Err(reason) => return Done::Refused(reason),
        };
        match put(service, &self.place, machine, self.machine_type, &definition).await {
            // The service takes a definition that it has already.
            Done::Created if self.seen.contains_key(path) => Done::Updated,
            done => done,
        }
    }

    /// The file's name up to its first dot, if the extension is a definition's or only this file is asked for.
    fn machine_name(&self, path: &Path) -> Option<String> {
        let (name, rest) = path.file_name()?.to_str()?.split_once('.')?;
        let is_definition = self.file.is_some() || matches!(rest, "asl.json" | "asl.yaml" | "asl.yml");
        (is_definition && !name.is_empty()).then(|| name.to_owned())
    }
}

/// Creates a state machine in a service, or updates the one of this name. Without a type it is `EXPRESS`, unless it has
/// what only `STANDARD` machines may have.
pub async fn put(
    service: &Service,
    place: &Place,
    machine: &str,
    machine_type: Option<MachineType>,
    definition: &str,
) -> Done {
    match create(service, place, machine, machine_type, definition).await {
        Ok(()) => return Done::Created,
        Err((error, message)) if error != "StateMachineAlreadyExists" => {
            return Done::Refused(format!("{error}: {message}"));
        }
        Err(_) => {}
    }
    let Place { region, account } = place;
    let arn = format!("arn:aws:states:{region}:{account}:stateMachine:{machine}");
    let update = json!({"stateMachineArn": arn, "definition": definition});
    match ask(service, "UpdateStateMachine", &update).await {
        Ok(()) => Done::Updated,
        Err((error, message)) => Done::Refused(format!("{error}: {message}")),
    }
}

async fn create(
    service: &Service,
    place: &Place,
    machine: &str,
    machine_type: Option<MachineType>,
    definition: &str,
) -> Result<(), (String, String)> {
    let create = async |machine_type: MachineType| {
        let create = json!({
            "name": machine,
            "type": machine_type.name(),
            "definition": definition,
            "roleArn": format!("arn:aws:iam::{}:{ROLE}", place.account),
        });
        ask(service, "CreateStateMachine", &create).await
    };
    if let Some(machine_type) = machine_type {
        return create(machine_type).await;
    }
    let as_express = create(MachineType::Express).await;
    if !matches!(&as_express, Err((error, _)) if error == "InvalidDefinition") {
        return as_express;
    }
    match create(MachineType::Standard).await {
        Err((error, _)) if error != "StateMachineAlreadyExists" => as_express,
        as_standard => as_standard,
    }
}

/// The definition as JSON text. JSON files are taken unchanged, so that messages refer to their lines. The text of a
/// file that is not a definition is never shown: it may be a secret.
fn text(folder: &Path, path: &Path, rewrite: Option<&Rewrite>) -> Result<String, String> {
    let inside = |path: &Path| Ok(fs::canonicalize(path)?.starts_with(fs::canonicalize(folder)?));
    match inside(path) {
        Ok(true) => {}
        Ok(false) => return Err("it is a link that leads out of the folder".to_owned()),
        Err(error) => return Err(os::words(&error)),
    }
    let bytes = fs::metadata(path).map_err(|error| os::words(&error))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("it has {bytes} bytes, more than the {FILE_BYTES_MAX} allowed"));
    }
    let text = os::read_text(path).map_err(|error| os::words(&error))?;
    let text = match rewrite {
        Some(Rewrite(rewrite)) => rewrite(text),
        None => text,
    };
    if !path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
        return definition(text);
    }
    match yaml::read(&text) {
        Ok(source) => definition(yaml::to_json(&source.root)),
        Err(error) => {
            let before = text.bytes().take(error.span.start as usize);
            let line = 1 + before.filter(|&byte| byte == b'\n').count();
            Err(format!("it is not YAML, at line {line}"))
        }
    }
}

/// The text, if it looks like a definition: AWS's messages quote a wrong one.
fn definition(text: String) -> Result<String, String> {
    match serde_json::from_str::<BTreeMap<String, serde::de::IgnoredAny>>(&text) {
        Ok(members) if members.contains_key("StartAt") || members.contains_key("States") => Ok(text),
        Ok(_) => Err("not a definition: it has neither StartAt nor States".to_owned()),
        Err(error) if error.is_data() => Err("not a definition: it is not an object".to_owned()),
        Err(error) => Err(format!("it is not JSON, at line {}", error.line())),
    }
}

/// Calls an operation like a client. The error's name and message, if there is one.
async fn ask(
    service: &Service,
    operation: &str,
    request: &serde_json::Value,
) -> Result<(), (String, String)> {
    let body = request.to_string();
    let target = format!("AWSStepFunctions.{operation}");
    let call = Call { target: &target, trace_header: None, body: body.as_bytes() };
    let reply = api::answer(service, call).await;
    if reply.status == 200 {
        return Ok(());
    }
    let said: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let word = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
    let error = word("__type").rsplit('#').next().unwrap_or_default().to_owned();
    Err((error, word("message")))
}

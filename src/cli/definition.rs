//! From a file to a checked definition and a program.

use std::path::{Path, PathBuf};

use expressway::asl::{self, Code, Definition, Diagnostic, MachineType, Options, Severity};
use expressway::compile;
use expressway::json::source::{self, Node, Span};
use expressway::json::yaml;
use expressway::limits;
use expressway::os;
use expressway::picture::Graph;
use expressway::program::{DataResource, Program, StateKind, Task};

use super::files::{bytes, is_yaml, unreadable};
use super::placeholders::{self, Placeholder};
use super::project::{self, FoundMachine, Project, Substitutions, Unread};
use super::reading::{Reading, Type};
use super::report::{self, NotRunHere};
use super::stop::{Place, Problem, Stop};
use super::streams::say;

/// A definition and how it is read.
#[derive(Debug, clap::Args)]
pub(super) struct OneDefinition {
    /// File with the definition in Amazon States Language, or `-` for standard input; or a project: a template of
    /// CloudFormation or SAM, serverless.yml, cdk.out, or a folder with one of these or with Terraform
    #[arg(value_name = "DEFINITION")]
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) reading: Reading,
    #[command(flatten)]
    pub(super) project: project::ProjectArguments,
}

/// What is known about a definition.
pub(super) struct Found {
    /// The file's name, as given.
    pub(super) file: String,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// What is not run here, after all checks passed.
    pub(super) refused: Vec<NotRun>,
    pub(super) definition: Option<Definition>,
    /// What it compiles to, even if some of it is not run here.
    pub(super) program: Option<Program>,
    /// The type it is read as.
    pub(super) machine_type: MachineType,
    /// Another type that would accept it.
    pub(super) other_type: Option<MachineType>,
}

/// A part of a definition that AWS accepts and that is not run here.
pub(super) struct NotRun {
    pub(super) message: String,
    /// Its place in AWS's form, and in the text.
    pub(super) location: String,
    pub(super) span: Span,
}

/// Why a task is not run here, if it is not.
pub(super) type Refuses<'r> = &'r dyn Fn(&Task) -> Option<String>;

/// For commands that answer tasks by mocks, or fail them when they begin.
pub(super) const ANY_TASK: Refuses<'static> = &|_| None;

/// A definition that can be run.
pub(super) struct Loaded {
    pub(super) program: Program,
    pub(super) machine_type: MachineType,
    /// The definition as JSON, in whatever format it is written.
    pub(super) json: String,
    /// The state machine of a project, by its logical id.
    pub(super) machine: Option<String>,
}

impl Found {
    /// Whether AWS would accept it.
    pub(super) fn is_valid(&self) -> bool {
        self.definition.is_some()
    }

    /// Whether it passes, by the requested strictness.
    pub(super) fn passes(&self, not_run: NotRunHere) -> bool {
        self.is_valid() && (self.refused.is_empty() || not_run == NotRunHere::Notice)
    }

    pub(super) fn errors(&self) -> usize {
        self.refused.len() + self.diagnostics.iter().filter(|it| it.severity == Severity::Error).count()
    }

    pub(super) fn warnings(&self) -> usize {
        self.diagnostics.iter().filter(|it| it.severity == Severity::Warning).count()
    }
}

/// The text of a definition, from a file or a template.
pub(super) struct Written {
    /// Its file, or its place in a template.
    pub(super) place: String,
    /// The state machine of a project, by its logical id.
    pub(super) machine: Option<String>,
    pub(super) text: Vec<u8>,
    is_yaml: bool,
    /// Whether the file begins with a byte order mark, which is not in the text.
    has_mark: bool,
    reading: Reading,
    /// What could not be resolved.
    pub(super) unresolved: Vec<Problem>,
    /// What could not be read beside it.
    beside: Vec<Unread>,
}

impl Written {
    /// A machine of a project. The project's type counts unless another is given.
    fn of(machine: FoundMachine, reading: Reading) -> Written {
        let FoundMachine { name, machine_type, place, definition, is_yaml, unresolved } = machine;
        let machine_type = reading.machine_type.or(machine_type.map(|machine_type| match machine_type {
            MachineType::Express => Type::Express,
            MachineType::Standard => Type::Standard,
        }));
        let (text, reading) = (definition.into_bytes(), Reading { machine_type });
        let (machine, beside) = (Some(name), Vec::new());
        Written { place, machine, text, is_yaml, has_mark: false, reading, unresolved, beside }
    }

    /// Reports what could not be resolved, and what beside it could not be read.
    pub(super) fn tell(&self) {
        for unread in &self.beside {
            say(&format!("note: {unread}"));
        }
        for problem in &self.unresolved {
            say(&format!("note: {problem}"));
        }
    }

    /// Adds placeholders that were not replaced to what could not be resolved. For `validate`, and where some were
    /// replaced: without that, a definition with placeholders can be run with mocks.
    pub(super) fn find_placeholders(&mut self) {
        if !self.unresolved.is_empty() {
            return;
        }
        let is_file = self.machine.is_none();
        // Those of a project's files are among the unresolved already.
        let found = match self.read() {
            Some(root) => placeholders::find(&root, is_file),
            None if is_file && !self.is_yaml => {
                placeholders::instead_of_json(&self.text).into_iter().collect()
            }
            None => Vec::new(),
        };
        let text = String::from_utf8_lossy(&self.text);
        let problem = |Placeholder { byte, names, what }| {
            // A project's definition has no lines of its own.
            let at = is_file.then(|| asl::diagnostic::line_column(&text, byte));
            Problem { place: Place { file: self.place.clone(), at, names }, what }
        };
        let found: Vec<Problem> = found.into_iter().map(problem).collect();
        self.unresolved.extend(found);
    }

    /// What AWS would refuse of the file itself.
    pub(super) fn tell_mark(&self) {
        if self.has_mark && !self.is_yaml {
            say(&format!(
                "note: {} begins with a byte order mark, which is left out here: AWS refuses a definition with one",
                self.place
            ));
        }
    }

    pub(super) fn check(&self, refuses: Refuses<'_>) -> Found {
        check_text(self, refuses)
    }

    /// The tree of a valid definition.
    fn root(&self) -> Node {
        self.read().unwrap_or_else(|| unreachable!("it was read to be checked"))
    }

    /// The tree, if the text is one.
    fn read(&self) -> Option<Node> {
        let read = if self.is_yaml {
            std::str::from_utf8(&self.text).ok().and_then(|text| yaml::read(text).ok())
        } else {
            source::read(&self.text, limits::DEFINITION_BYTES_MAX).ok()
        };
        read.map(|source| source.root)
    }

    /// What can be drawn of it, even if it is invalid.
    pub(super) fn sketch(&self) -> Option<Graph> {
        if self.is_yaml {
            Graph::sketch_yaml(&String::from_utf8_lossy(&self.text))
        } else {
            Graph::sketch(&self.text)
        }
    }

    /// The definition as JSON, in whatever format it is written.
    pub(super) fn json(&self) -> Result<String, Stop> {
        let text = String::from_utf8_lossy(&self.text).into_owned();
        if self.is_yaml {
            yaml::read(&text)
                .map(|source| yaml::to_json(&source.root))
                .map_err(|error| Stop::failed(format!("{}: {error}", self.place)))
        } else {
            Ok(text)
        }
    }
}

/// All definitions of a file or a project, and what cannot be read of it.
pub(super) fn all(
    file: &Path,
    arguments: &project::ProjectArguments,
    reading: Reading,
) -> Result<(Vec<Written>, Vec<Unread>), Stop> {
    match file_or_project(file, arguments, reading)? {
        FileOrProject::File(written) => Ok((vec![written], Vec::new())),
        FileOrProject::Project(project) if arguments.machine.is_some() => {
            Ok((vec![chosen(project, arguments, reading)?], Vec::new()))
        }
        FileOrProject::Project(project) => {
            project.left_out().for_each(|line| say(&line));
            let Project { machines, unread, .. } = project;
            Ok((machines.into_iter().map(|machine| Written::of(machine, reading)).collect(), unread))
        }
    }
}

/// The one selected definition.
pub(super) fn one(
    file: &Path,
    arguments: &project::ProjectArguments,
    reading: Reading,
) -> Result<Written, Stop> {
    match file_or_project(file, arguments, reading)? {
        FileOrProject::File(written) => Ok(written),
        FileOrProject::Project(project) => chosen(project, arguments, reading),
    }
}

/// The selected machine of a project, and what cannot be read beside it.
fn chosen(
    project: Project,
    arguments: &project::ProjectArguments,
    reading: Reading,
) -> Result<Written, Stop> {
    let (machine, beside) = project.choose(arguments.machine.as_deref())?;
    Ok(Written { beside, ..Written::of(machine, reading) })
}

enum FileOrProject {
    File(Written),
    Project(Project),
}

fn file_or_project(
    file: &Path,
    arguments: &project::ProjectArguments,
    reading: Reading,
) -> Result<FileOrProject, Stop> {
    let given = arguments.read()?;
    let read = read(file, arguments, reading, &given)?;
    for (name, advice) in given.unused() {
        let advice = advice.map_or_else(String::new, |advice| format!(": {advice}"));
        say(&format!("note: --substitute {name}: no definition of {} asks for it{advice}", file.display()));
    }
    Ok(read)
}

fn read(
    file: &Path,
    arguments: &project::ProjectArguments,
    reading: Reading,
    given: &Substitutions,
) -> Result<FileOrProject, Stop> {
    if let Some(project) = project::read(file, given)? {
        for problem in project.notes() {
            say(&format!("note: {problem}"));
        }
        return Ok(FileOrProject::Project(project));
    }
    if let Some(name) = &arguments.machine {
        let file = file.display();
        return Err(Stop::failed(format!(
            "--machine {name}: {file} is no project, and holds one definition"
        )));
    }
    let bytes = bytes(file)?;
    let has_mark = bytes.starts_with(os::MARK);
    let mut text = os::without_mark(bytes).map_err(|error| unreadable(file, &error))?;
    if !given.is_empty() {
        text = given.apply(&String::from_utf8_lossy(&text), &Default::default()).0.into_bytes();
    }
    let place =
        if file.as_os_str() == "-" { "standard input".to_owned() } else { file.display().to_string() };
    // Standard input has no name that tells.
    let begins = text.iter().find(|byte| !byte.is_ascii_whitespace());
    let is_json = begins.is_none_or(|byte| b"{[\"".contains(byte));
    let is_yaml = is_yaml(file) || (file.as_os_str() == "-" && !is_json);
    let (machine, unresolved, beside) = (None, Vec::new(), Vec::new());
    let mut written = Written { place, machine, text, is_yaml, has_mark, reading, unresolved, beside };
    if !given.is_empty() {
        written.find_placeholders();
    }
    Ok(FileOrProject::File(written))
}

/// Reads, checks and compiles a text. Without a given type, it is inferred from the definition: one that uses what only STANDARD machines may use is
/// STANDARD, any other is EXPRESS.
fn check_text(written: &Written, refuses: Refuses<'_>) -> Found {
    let reading = written.reading;
    let found = check_as(written, reading.options(), refuses);
    if found.errors() == 0 {
        return found;
    }
    let other_type = match found.machine_type {
        MachineType::Express => MachineType::Standard,
        MachineType::Standard => MachineType::Express,
    };
    let other = check_as(written, Options { machine_type: other_type, ..reading.options() }, refuses);
    match reading.is_asked() {
        false if (other.is_valid(), found.errors()) > (found.is_valid(), other.errors()) => other,
        true if other.errors() == 0 => Found { other_type: Some(other_type), ..found },
        _ => found,
    }
}

fn check_as(written: &Written, options: Options, refuses: Refuses<'_>) -> Found {
    let text = &written.text;
    let (definition, diagnostics) =
        if written.is_yaml { asl::read_yaml(text, &options) } else { asl::read(text, &options) };
    let mut found = Found {
        file: written.place.clone(),
        diagnostics,
        refused: Vec::new(),
        definition,
        program: None,
        machine_type: options.machine_type,
        other_type: None,
    };
    let Some(definition) = &found.definition else { return found };
    let refused = match compile::compile(definition) {
        Ok(program) => {
            let mut refused = not_read_here(&program, definition);
            not_done_here(&program, definition, refuses, &mut refused);
            found.program = Some(program);
            refused
        }
        Err(refused) => refused,
    };
    if !refused.is_empty() {
        let root = written.root();
        let placed = |compile::Error { location, message }| NotRun {
            span: asl::span_at(&root, &location),
            message,
            location,
        };
        found.refused = refused.into_iter().map(placed).collect();
    }
    found
}

/// Tasks that are not done here.
fn not_done_here(
    program: &Program,
    definition: &Definition,
    refuses: Refuses<'_>,
    refused: &mut Vec<compile::Error>,
) {
    for (id, state) in program.states.iter() {
        let StateKind::Task(task) = state.kind else { continue };
        let Some(message) = refuses(&program.tasks[task]) else { continue };
        let location = definition.state(program.name(id)).map_or("", |state| &state.location);
        refused.push(compile::Error { location: format!("{location}/Resource"), message });
    }
    for (_, map) in program.maps.iter() {
        if let Some(distributed) = &map.distributed {
            not_done_here(&distributed.child, definition, refuses, refused);
        }
    }
}

/// Distributed Maps that read items from, or write results to, services that only AWS has.
fn not_read_here(program: &Program, definition: &Definition) -> Vec<compile::Error> {
    let is_file = |resource: &str| {
        resource.ends_with(":states:::file:read") || resource.ends_with(":states:::file:write")
    };
    let is_read = |resource: &str| is_file(resource) || (CALLS_S3 && is_s3(resource));
    let resources = program.data_resources().into_iter().filter(|it| !is_read(it.resource));
    resources
        .map(|DataResource { state, field, resource }| {
            let location = definition.state(state).map_or("", |state| &state.location);
            let message =
                format!("{resource} is not supported; a file is: arn:aws:states:::file:read and file:write");
            compile::Error { location: format!("{location}/{field}/Resource"), message }
        })
        .collect()
}

/// Whether this build can call S3.
const CALLS_S3: bool = cfg!(feature = "cli-services");

fn is_s3(resource: &str) -> bool {
    resource.contains(":states:::s3:")
}

/// The first of the resources of distributed Maps that are called with `--services` only.
pub(super) fn in_s3(program: &Program) -> Option<DataResource<'_>> {
    program.data_resources().into_iter().find(|it| is_s3(it.resource))
}

/// The selected definition and its program; problems are printed on standard error.
pub(super) fn load(meant: &OneDefinition) -> Result<Loaded, Stop> {
    let written = one(&meant.file, &meant.project, meant.reading)?;
    written.tell();
    let found = written.check(ANY_TASK);
    // Only `validate` warns of extensions: a user who runs a definition with one has chosen it.
    let is_news = found.diagnostics.iter().any(|it| it.code != Code::Extension);
    if found.errors() > 0 || (found.warnings() > 0 && is_news) {
        let shown = report::text(&found, &written.text, report::Look::stderr(), NotRunHere::Error);
        say(shown.trim_end());
    }
    let (true, Some(program)) = (found.refused.is_empty(), found.program) else {
        return Err(Stop::AlreadySaid);
    };
    let (machine_type, json) = (found.machine_type, written.json()?);
    Ok(Loaded { program, machine_type, json, machine: written.machine })
}

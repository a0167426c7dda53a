//! From a file to a checked definition and a program.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use expressway::asl::{self, Definition, Diagnostic, MachineType, Options, Severity};
use expressway::compile;
use expressway::json::yaml;
use expressway::limits;
use expressway::program::Program;

use super::report::{self, NotRunHere};
use super::{Reading, Stop, say};

/// What is known about a definition.
pub(super) struct Found {
    /// The file's name, as given.
    pub(super) file: String,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// What compiling refused, after everything else was right.
    pub(super) refused: Vec<compile::Error>,
    pub(super) definition: Option<Definition>,
    pub(super) program: Option<Program>,
    /// What it is read as.
    pub(super) machine_type: MachineType,
    /// Another type would accept it.
    pub(super) other_type: Option<MachineType>,
}

/// A definition that can be run.
pub(super) struct Loaded {
    pub(super) definition: Definition,
    pub(super) program: Program,
    pub(super) machine_type: MachineType,
    /// The definition as JSON, whatever it is written in.
    pub(super) json: String,
}

impl Found {
    /// Whether AWS would take it.
    pub(super) fn is_valid(&self) -> bool {
        self.definition.is_some()
    }

    /// Whether it is as good as is asked for.
    pub(super) fn passes(&self, not_run: NotRunHere) -> bool {
        self.program.is_some() || (self.is_valid() && not_run == NotRunHere::Notice)
    }

    pub(super) fn errors(&self) -> usize {
        self.refused.len() + self.diagnostics.iter().filter(|it| it.severity == Severity::Error).count()
    }

    pub(super) fn warnings(&self) -> usize {
        self.diagnostics.iter().filter(|it| it.severity == Severity::Warning).count()
    }
}

/// What the file holds; `-` is standard input. No more is read than a definition may have, and a byte.
pub(super) fn text(file: &Path) -> Result<Vec<u8>, Stop> {
    let bytes_max = limits::DEFINITION_BYTES_MAX as u64 + 1;
    let mut text = Vec::new();
    if file.as_os_str() == "-" {
        let read = io::stdin().lock().take(bytes_max).read_to_end(&mut text);
        read.map_err(|error| Stop::failed(format!("cannot read standard input: {error}")))?;
        return Ok(text);
    }
    open(file)?.take(bytes_max).read_to_end(&mut text).map_err(|error| unreadable(file, &error))?;
    Ok(text)
}

/// Opens a file for reading.
pub(super) fn open(file: &Path) -> Result<File, Stop> {
    let opened = File::open(file).map_err(|error| unreadable(file, &error))?;
    match opened.metadata() {
        Ok(about) if about.is_dir() => {
            Err(Stop::failed(format!("cannot read {}: it is a directory, not a file", file.display())))
        }
        _ => Ok(opened),
    }
}

fn unreadable(file: &Path, error: &io::Error) -> Stop {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    Stop::failed(format!("cannot read {}: {why}", file.display()))
}

/// Whether the file's name says that it is YAML.
pub(super) fn is_yaml(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Reads, checks and compiles. Where no type is asked for, what the definition uses tells it: what only STANDARD machines
/// may use makes it one, and anything else is read as EXPRESS.
pub(super) fn check(file: &Path, text: &[u8], reading: Reading) -> Found {
    let found = check_as(file, text, reading.options());
    if found.program.is_some() {
        return found;
    }
    let other_type = match found.machine_type {
        MachineType::Express => MachineType::Standard,
        MachineType::Standard => MachineType::Express,
    };
    let other = check_as(file, text, Options { machine_type: other_type, ..reading.options() });
    match reading.is_asked() {
        false if (other.is_valid(), found.errors()) > (found.is_valid(), other.errors()) => other,
        true if other.errors() == 0 => Found { other_type: Some(other_type), ..found },
        _ => found,
    }
}

fn check_as(file: &Path, text: &[u8], options: Options) -> Found {
    let (definition, diagnostics) = match is_yaml(file) {
        true => asl::read_yaml(text, &options),
        false => asl::read(text, &options),
    };
    let mut found = Found {
        file: if file.as_os_str() == "-" { "standard input".to_owned() } else { file.display().to_string() },
        diagnostics,
        refused: Vec::new(),
        definition,
        program: None,
        machine_type: options.machine_type,
        other_type: None,
    };
    if let Some(definition) = &found.definition {
        match compile::compile(definition) {
            Ok(program) => found.program = Some(program),
            Err(refused) => found.refused = refused,
        }
    }
    found
}

/// The definition in a file and its program; what is wrong with it is said on standard error.
pub(super) fn load(file: &Path, reading: Reading) -> Result<Loaded, Stop> {
    let text = text(file)?;
    let found = check(file, &text, reading);
    if found.errors() + found.warnings() > 0 {
        say(report::text(&found, &text, report::colours_stderr(), NotRunHere::Error).trim_end());
    }
    let (Some(definition), Some(program)) = (found.definition, found.program) else {
        return Err(Stop::AlreadySaid);
    };
    // What was read as a definition is UTF-8.
    let text = String::from_utf8_lossy(&text).into_owned();
    let json = match is_yaml(file) {
        true => yaml::read(&text).map(|source| yaml::to_json(&source.root)),
        false => Ok(text),
    };
    let json = json.map_err(|error| Stop::failed(format!("{}: {error}", file.display())))?;
    Ok(Loaded { definition, program, machine_type: found.machine_type, json })
}

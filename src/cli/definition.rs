//! From a file to a checked definition and a program.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use expressway::asl::{self, Definition, Diagnostic, Options, Severity};
use expressway::compile;
use expressway::limits;
use expressway::program::Program;

use super::{Stop, report, say};

/// What is known about a definition.
pub(super) struct Found {
    /// The file's name, as given.
    pub(super) file: String,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// What compiling refused, after everything else was right.
    pub(super) refused: Vec<compile::Error>,
    pub(super) definition: Option<Definition>,
    pub(super) program: Option<Program>,
}

impl Found {
    pub(super) fn has_errors(&self) -> bool {
        self.program.is_none()
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

/// Reads, checks and compiles.
pub(super) fn check(file: &Path, text: &[u8], options: Options) -> Found {
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
pub(super) fn load(file: &Path, options: Options) -> Result<(Definition, Program), Stop> {
    let text = text(file)?;
    let found = check(file, &text, options);
    if found.errors() + found.warnings() > 0 {
        say(report::text(&found, &text, report::colours_stderr()).trim_end());
    }
    match (found.definition, found.program) {
        (Some(definition), Some(program)) => Ok((definition, program)),
        _ => Err(Stop::AlreadySaid),
    }
}

/// The program of the definition in a file.
pub(super) fn program(file: &Path, options: Options) -> Result<Program, Stop> {
    load(file, options).map(|(_, program)| program)
}

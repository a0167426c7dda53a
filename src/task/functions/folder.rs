//! Finds the functions in a folder, and how to run them.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::bootstrap;
use super::program::{Program, SetupError};

/// The names of files that are looked for, in this order, after the executable `bootstrap`.
const STEMS: [&str; 5] = ["index", "handler", "app", "main", "lambda_function"];
const EXTENSIONS: [&str; 4] = ["py", "mjs", "js", "cjs"];
const BOOTSTRAP: &str = "bootstrap";

/// The functions of a folder by name, in the order of their names.
pub(super) fn functions(folder: &Path) -> Result<Vec<(String, Program)>, SetupError> {
    let unreadable = |error: io::Error| SetupError::Folder(folder.display().to_string(), error);
    // Processes run in their own folders.
    let folder = fs::canonicalize(folder).map_err(unreadable)?;
    let mut functions = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let Some(file) = file.filter(|file| !file.starts_with(['.', '_'])) else { continue };
        if path.is_dir() {
            functions.push((file, in_folder(&path)?));
        } else if let Some(program) = bootstrap::program(&path, &folder) {
            functions.push((stem(&path), program));
        } else if is_executable(&path) {
            functions.push((stem(&path), executable(&path, &folder)));
        }
    }
    if functions.is_empty() {
        return Err(SetupError::NoFunctions(folder.display().to_string()));
    }
    functions.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(functions)
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).into_iter().collect()
}

fn in_folder(folder: &Path) -> Result<Program, SetupError> {
    let own = folder.join(BOOTSTRAP);
    if is_executable(&own) {
        return Ok(executable(&own, folder));
    }
    let files = STEMS.iter().flat_map(|stem| EXTENSIONS.map(|extension| format!("{stem}.{extension}")));
    files
        .map(|file| folder.join(file))
        .find(|file| file.is_file())
        .and_then(|file| bootstrap::program(&file, folder))
        .ok_or_else(|| {
            let looked_for =
                format!("an executable {BOOTSTRAP}, {} with .{}", STEMS.join(", "), EXTENSIONS.join(", ."));
            SetupError::NotAFunction(folder.display().to_string(), looked_for)
        })
}

fn executable(file: &Path, folder: &Path) -> Program {
    let program = file.to_string_lossy().into_owned();
    Program {
        shown: program.clone(),
        program,
        arguments: Vec::new(),
        variable: None,
        folder: Some(folder.to_owned()),
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

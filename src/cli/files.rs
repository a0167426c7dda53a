//! Files that commands read and write, and what is said when they cannot be.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use expressway::asl;
use expressway::limits;
use expressway::os;
use expressway::task::data::Files;

use super::advice;
use super::stop::Stop;

/// The text of a file; `-` is standard input.
pub(super) fn text(file: &Path) -> Result<Vec<u8>, Stop> {
    os::without_mark(bytes(file)?).map_err(|error| unreadable(file, &error))
}

/// The content of a file or of standard input. At most one byte more than a definition may have is read.
pub(super) fn bytes(file: &Path) -> Result<Vec<u8>, Stop> {
    let bytes_max = limits::DEFINITION_BYTES_MAX as u64 + 1;
    let mut text = Vec::new();
    if file.as_os_str() == "-" {
        let read = io::stdin().lock().take(bytes_max).read_to_end(&mut text);
        read.map_err(|error| unreadable(file, &error))?;
        return Ok(text);
    }
    open(file)?.take(bytes_max).read_to_end(&mut text).map_err(|error| unreadable(file, &error))?;
    Ok(text)
}

/// Opens a file for reading.
pub(super) fn open(file: &Path) -> Result<File, Stop> {
    let opened = File::open(file).map_err(|error| unreadable(file, &error))?;
    match opened.metadata() {
        Ok(about) if about.is_dir() => Err(unreadable(file, &io::ErrorKind::IsADirectory.into())),
        _ => Ok(opened),
    }
}

pub(super) fn unreadable(file: &Path, error: &io::Error) -> Stop {
    let why = match error.kind() {
        io::ErrorKind::NotFound => no_such_file(file),
        io::ErrorKind::NotADirectory => "a part of its path is a file, not a folder".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder, not a file".to_owned(),
        _ => os::words(error),
    };
    let name = if file.as_os_str() == "-" { "standard input".to_owned() } else { file.display().to_string() };
    Stop::failed(format!("cannot read {name}: {why}"))
}

/// Why a file cannot be written, with its name.
pub(super) fn unwritable(file: &Path, error: &io::Error) -> Stop {
    Stop::failed(format!("cannot write {}: {}", file.display(), why_unwritable(file, error)))
}

/// Why a file or a folder cannot be written, and what to try.
pub(super) fn why_unwritable(file: &Path, error: &io::Error) -> String {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir());
    match (folder, error.kind()) {
        (_, io::ErrorKind::PermissionDenied) => {
            advice::with_next_step(os::words(error), "name one in a folder of your own")
        }
        (Some(folder), _) if folder.exists() => format!("{} is a file, not a folder", folder.display()),
        (Some(folder), _) => format!("there is no folder {}; make it, or name another", folder.display()),
        (None, io::ErrorKind::IsADirectory) => "it is a folder: name a file in it".to_owned(),
        (None, io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) => {
            "it, or a part of its path, is a file: name a folder".to_owned()
        }
        (None, _) => advice::with_next_step(os::words(error), "name another place"),
    }
}

/// That a file is not there, and what may have been meant: one beside it.
pub(super) fn no_such_file(file: &Path) -> String {
    nothing_there(file, "file")
}

/// As [`no_such_file`], of a folder.
#[cfg(feature = "cli-services")]
pub(super) fn no_such_folder(folder: &Path) -> String {
    nothing_there(folder, "folder")
}

fn nothing_there(file: &Path, what: &str) -> String {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(folder) else {
        return format!("there is no folder {}", folder.display());
    };
    let names: Vec<String> =
        entries.take(NEIGHBOURS_MAX).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let name = file.file_name().and_then(|name| name.to_str());
    match name.and_then(|name| asl::did_you_mean(name, names.iter().map(String::as_str))) {
        Some(advice) => format!("there is no such {what}: {advice}"),
        None => format!("there is no such {what}"),
    }
}

/// Files of a folder that are considered for a suggestion.
const NEIGHBOURS_MAX: usize = 1_000;

/// Whether the file name is that of a YAML file.
pub(super) fn is_yaml(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// The folder that distributed Maps may read and write.
pub(super) fn below(folder: &Path) -> Result<Files, Stop> {
    Files::below(folder).map_err(|error| {
        let why = if folder.exists() { os::words(&error) } else { nothing_there(folder, "folder") };
        Stop::failed(format!("cannot use the folder {}: {why}", folder.display()))
    })
}

//! The files of a studio: definitions in one folder, or one file.

use crate::os;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::limits;

/// Definitions that the page may read and write.
#[derive(Clone)]
pub struct Files {
    folder: PathBuf,
    /// The single file; without it, those of the folder with a definition's name.
    only: Option<String>,
    /// The secret that the page must send.
    key: String,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files")
            .field("folder", &self.folder)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

/// Files that are listed.
const FILES_MAX: usize = 2_000;

impl Files {
    /// The definitions of a folder, or one file. Only a page with `key` may read or write them.
    ///
    /// # Errors
    /// When there is no such file or folder.
    pub fn at(path: &Path, key: String) -> io::Result<Files> {
        let path = path.canonicalize()?;
        if path.is_dir() {
            return Ok(Files { folder: path, only: None, key });
        }
        let name = path.file_name().and_then(|name| name.to_str());
        match (path.parent(), name) {
            (Some(folder), Some(name)) => {
                Ok(Files { folder: folder.to_owned(), only: Some(name.to_owned()), key })
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8")),
        }
    }

    /// Whether this is the key.
    pub(super) fn opens(&self, key: &str) -> bool {
        // Hashes, so that the duration reveals nothing about the key.
        hash(key.as_bytes()) == hash(self.key.as_bytes())
    }

    pub(super) fn list(&self) -> Result<Json, String> {
        let mut names = Vec::new();
        match &self.only {
            Some(name) => names.push(name.clone()),
            None => {
                let entries = fs::read_dir(&self.folder).map_err(|error| self.cannot("read", "", &error))?;
                for entry in entries.flatten() {
                    let is_file = entry.file_type().is_ok_and(|it| it.is_file());
                    if let Ok(name) = entry.file_name().into_string()
                        && is_file
                        && is_definition(&name)
                    {
                        names.push(name);
                    }
                }
                names.sort();
            }
        }
        let more = names.len().saturating_sub(FILES_MAX);
        names.truncate(FILES_MAX);
        Ok(json!({"folder": self.folder.display().to_string(), "files": names, "more": more}))
    }

    pub(super) fn read(&self, name: &str) -> Result<Json, String> {
        let path = self.path(name)?;
        let bytes_max = limits::DEFINITION_BYTES_MAX as u64 + 1;
        let mut bytes = Vec::new();
        let read = fs::File::open(&path).and_then(|file| file.take(bytes_max).read_to_end(&mut bytes));
        read.map_err(|error| self.cannot("read", name, &error))?;
        if bytes.len() as u64 == bytes_max {
            return Err(format!("{name} is larger than a definition may be"));
        }
        let hash = hash(&bytes);
        // The page counts bytes from the text's first character on.
        let text = os::without_mark(bytes).map_err(|error| self.cannot("read", name, &error))?;
        let text = String::from_utf8(text).map_err(|_| self.cannot("read", name, &os::not_utf8()))?;
        Ok(json!({"name": name, "hash": hash, "text": text}))
    }

    /// Writes a file, if it is still what the page read; `hash` is empty for a new one.
    pub(super) fn write(&self, name: &str, text: &str, known: &str) -> Result<Json, String> {
        let path = self.path(name)?;
        if text.len() > limits::DEFINITION_BYTES_MAX {
            return Err(format!("{name} would be larger than a definition may be"));
        }
        let (now, has_mark) = match fs::read(&path) {
            Ok(bytes) => (hash(&bytes), bytes.starts_with(os::MARK)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), false),
            Err(error) => return Err(self.cannot("read", name, &error)),
        };
        if now != known {
            return Err(format!("{name} changed since it was opened: open it again before saving"));
        }
        // A byte order mark stays where it is.
        let bytes = [if has_mark { os::MARK } else { &[] }, text.as_bytes()].concat();
        let written = fs::File::options().write(true).create(true).truncate(true).open(&path);
        let written = written.and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
        written.map_err(|error| self.cannot("write", name, &error))?;
        Ok(json!({"name": name, "hash": hash(&bytes)}))
    }

    /// The path of a file of this name. Links may lead out of the folder, so none is followed.
    fn path(&self, name: &str) -> Result<PathBuf, String> {
        let is_fine = match &self.only {
            Some(only) => only == name,
            None => is_definition(name),
        };
        let path = self.folder.join(name);
        let is_link = self.only.is_none() && fs::symlink_metadata(&path).is_ok_and(|it| !it.is_file());
        if !is_fine || is_link {
            return Err(format!(
                "{name} is not one of the opened files: names end in .asl.json or .asl.yaml"
            ));
        }
        Ok(path)
    }

    fn cannot(&self, what: &str, name: &str, error: &io::Error) -> String {
        format!("Cannot {what} {}: {}", self.folder.join(name).display(), os::words(error))
    }
}

/// Whether this is a plain name of a definition.
fn is_definition(name: &str) -> bool {
    let ends = [".asl.json", ".asl.yaml", ".asl.yml"]
        .iter()
        .any(|end| name.len() > end.len() && name.ends_with(end));
    ends && !name.contains(['/', '\\', '\0'])
}

pub(super) fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Where the items of distributed Maps come from, and where their results go.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use serde_json::Value as Json;

/// Data by name: what `ItemReader` and `ResultWriter` name with their `Resource`.
pub trait DataStore: Send + Sync {
    /// Opens what these `Parameters` (or `Arguments`) name, for reading.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, arguments: &Json) -> Result<Box<dyn Read + Send>, String>;

    /// Makes a file of this name where these `Parameters` (or `Arguments`) say. Its name may have folders in it.
    ///
    /// # Errors
    /// Why it cannot be written.
    fn write(&self, arguments: &Json, name: &str) -> Result<Box<dyn Write + Send>, String>;

    /// How the Map's result says where a file is, and how a manifest says what the folder of all files is.
    fn place(&self, arguments: &Json, name: &str) -> Json;
}

/// Reads from, and writes to, files below one folder: an extension (`arn:aws:states:::file:read`, `file:write`).
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
}

impl Files {
    /// Files below `root`, which must be a folder.
    ///
    /// # Errors
    /// When it is none.
    pub fn below(root: &Path) -> io::Result<Files> {
        let root = root.canonicalize()?;
        match root.is_dir() {
            true => Ok(Files { root }),
            false => Err(io::Error::new(io::ErrorKind::NotADirectory, "it is no folder")),
        }
    }

    /// The file that `Path` names, with more names behind it. Nothing leads out of the folder.
    fn path(&self, arguments: &Json, name: &str) -> Result<PathBuf, String> {
        let path = arguments.get("Path").and_then(Json::as_str);
        let path = path.ok_or("The field 'Path' must be a string: a path below the folder of files")?;
        // An empty name would say that it is a folder.
        let relative = if name.is_empty() { PathBuf::from(path) } else { Path::new(path).join(name) };
        if relative.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(format!("The path '{path}' leads out of the folder of files"));
        }
        Ok(self.root.join(relative))
    }

    /// Refuses what links lead out of the folder to.
    fn inside(&self, path: &Path, shown: &Json) -> Result<PathBuf, String> {
        let failed = |error: io::Error| format!("The file {} cannot be opened: {error}", shown["Path"]);
        let real = path.canonicalize().map_err(failed)?;
        match real.starts_with(&self.root) {
            true => Ok(real),
            false => Err(format!("The path {} leads out of the folder of files", shown["Path"])),
        }
    }
}

impl DataStore for Files {
    fn read(&self, arguments: &Json) -> Result<Box<dyn Read + Send>, String> {
        let path = self.inside(&self.path(arguments, "")?, arguments)?;
        let failed = |error: io::Error| format!("The file {} cannot be opened: {error}", arguments["Path"]);
        Ok(Box::new(File::open(path).map_err(failed)?))
    }

    fn write(&self, arguments: &Json, name: &str) -> Result<Box<dyn Write + Send>, String> {
        let path = self.path(arguments, name)?;
        let failed = |error: io::Error| format!("The file '{name}' cannot be written: {error}");
        let folder = path.parent().unwrap_or(&self.root);
        // A link in the way would be followed before it could be looked at: the part that exists is looked at first.
        let known = folder.ancestors().find(|folder| folder.exists()).unwrap_or(&self.root);
        self.inside(known, arguments)?;
        fs::create_dir_all(folder).map_err(failed)?;
        Ok(Box::new(File::create_new(path).map_err(failed)?))
    }

    fn place(&self, arguments: &Json, name: &str) -> Json {
        let path = Path::new(arguments["Path"].as_str().unwrap_or("")).join(name);
        Json::Object([("Path".to_owned(), path.to_string_lossy().into())].into_iter().collect())
    }
}

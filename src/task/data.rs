//! Stores of the items and results of distributed Maps.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};
use std::time::UNIX_EPOCH;

use serde_json::Value as Json;

use crate::asl;
use crate::os;

/// A data store by name: the `Resource` of `ItemReader` and `ResultWriter`.
pub trait DataStore: Send + Sync {
    /// Opens the data of these `Parameters` (or `Arguments`) for reading. It is called on the shard of the execution
    /// that has the Map, whose thread also polls the source.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, arguments: &Json) -> Result<Box<dyn Source>, String>;

    /// Creates a file of this name at the place of these `Parameters` (or `Arguments`). Its name may have folders in
    /// it. It is called, and the sink polled, where [`read`](DataStore::read) is.
    ///
    /// # Errors
    /// Why it cannot be written.
    fn write(&self, arguments: &Json, name: &str) -> Result<Box<dyn Sink>, String>;

    /// A file's place in the Map's result, and the folder of all files in a manifest.
    fn place(&self, arguments: &Json, name: &str) -> Json;

    /// A results file's entry in a manifest: an object, to which `Size` is added.
    fn listed(&self, arguments: &Json, name: &str) -> Json {
        self.place(arguments, name)
    }
}

/// A source of bytes. Implementations of [`Read`] never wait.
pub trait Source {
    /// Writes bytes to the beginning of `buffer`, which is not empty, and returns how many; 0 at the end of the data. When
    /// it returns `Pending`, it wakes the task of `context` once there may be more.
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Seeks to a byte of the data, where reading continues, and returns its offset. Data that can only be read from
    /// beginning to end is [not seekable](io::ErrorKind::NotSeekable).
    fn poll_seek(&mut self, _: &mut Context<'_>, _: SeekFrom) -> Poll<io::Result<u64>> {
        Poll::Ready(Err(io::ErrorKind::NotSeekable.into()))
    }

    /// The version of the data, when some of it was read: data of the same version is the same. A Map Run that
    /// continues after a restart refuses another version.
    fn version(&self) -> Option<String> {
        None
    }
}

/// A sink of bytes. Implementations of [`Write`] never wait.
pub trait Sink {
    /// Takes bytes from the beginning of `bytes`, which is not empty, and returns how many. If it takes none yet, the
    /// task of `context` is woken when it may take some.
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Continues pending writes, without taking more.
    ///
    /// # Errors
    /// When it cannot be written.
    fn poll_begun(&mut self, _: &mut Context<'_>) -> io::Result<()> {
        Ok(())
    }

    /// No more is written: when this is ready, all of it can be read at its place.
    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A blocking reader or writer has no waker, so its `WouldBlock` is an error: nothing would poll it again.
fn never_waits<T>(done: io::Result<T>) -> Poll<io::Result<T>> {
    Poll::Ready(done.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::other(error),
        _ => error,
    }))
}

impl<R: Read> Source for R {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        never_waits(self.read(buffer))
    }
}

impl<W: Write> Sink for W {
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        never_waits(self.write(bytes))
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        never_waits(self.flush())
    }
}

/// Why a store does not read or write: becomes the cause of the Map Run's failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> io::Error {
        io::Error::other(refused)
    }
}

/// The cause of an error: that of the store, or the error with the operation.
#[cfg(feature = "runtime")]
pub(crate) fn cause(to_do: &str, error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Refused>()) {
        Some(Refused(cause)) => cause.clone(),
        None => format!("{to_do}: {}", os::words(error)),
    }
}

/// Reads and writes files below one folder: an extension (`arn:aws:states:::file:read`, `file:write`).
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
}

impl Files {
    /// Files below `root`, which must be a folder.
    ///
    /// # Errors
    /// When it is not a folder.
    pub fn below(root: &Path) -> io::Result<Files> {
        let root = root.canonicalize()?;
        if root.is_dir() {
            Ok(Files { root })
        } else {
            Err(io::Error::new(io::ErrorKind::NotADirectory, "it is no folder"))
        }
    }

    /// The file at `Path`, with further names appended. It never leaves the folder.
    fn path(&self, arguments: &Json, name: &str) -> Result<PathBuf, String> {
        let path = arguments.get("Path").and_then(Json::as_str);
        let path = path.ok_or("The field 'Path' must be a string: a path below the folder of files")?;
        // An empty name would denote a folder.
        let relative = if name.is_empty() { PathBuf::from(path) } else { Path::new(path).join(name) };
        if !asl::stays_below(&relative.to_string_lossy()) {
            return Err(format!("The path '{path}' leads out of the folder of files"));
        }
        Ok(self.root.join(relative))
    }

    /// Refuses links that lead out of the folder.
    fn inside(&self, path: &Path, shown: &Json) -> Result<PathBuf, String> {
        let failed =
            |error: io::Error| format!("The file {} cannot be opened: {}", shown["Path"], os::words(&error));
        let real = path.canonicalize().map_err(failed)?;
        if real.starts_with(&self.root) {
            Ok(real)
        } else {
            Err(format!("The path {} leads out of the folder of files", shown["Path"]))
        }
    }
}

/// A file that is read.
struct Opened {
    file: File,
    version: String,
}

impl Source for Opened {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        never_waits(self.file.read(buffer))
    }

    fn poll_seek(&mut self, _: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        never_waits(self.file.seek(to))
    }

    fn version(&self) -> Option<String> {
        Some(self.version.clone())
    }
}

impl DataStore for Files {
    fn read(&self, arguments: &Json) -> Result<Box<dyn Source>, String> {
        let path = self.inside(&self.path(arguments, "")?, arguments)?;
        let failed = |error: io::Error| {
            format!("The file {} cannot be opened: {}", arguments["Path"], os::words(&error))
        };
        let file = File::open(path).map_err(failed)?;
        let known = file.metadata().map_err(failed)?;
        let modified = known.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let version = format!("{} bytes of {}", known.len(), modified.map_or(0, |time| time.as_nanos()));
        Ok(Box::new(Opened { file, version }))
    }

    fn write(&self, arguments: &Json, name: &str) -> Result<Box<dyn Sink>, String> {
        let path = self.path(arguments, name)?;
        let failed = |error: io::Error| format!("The file '{name}' cannot be written: {}", os::words(&error));
        let folder = path.parent().unwrap_or(&self.root);
        // Creating the folder would follow a link on the way: the existing part is checked first.
        let known = folder.ancestors().find(|folder| folder.exists()).unwrap_or(&self.root);
        self.inside(known, arguments)?;
        fs::create_dir_all(folder).map_err(failed)?;
        // An existing file was written by the same Map Run, in an earlier process.
        if path.symlink_metadata().is_ok_and(|known| known.is_file()) {
            fs::remove_file(&path).map_err(failed)?;
        }
        Ok(Box::new(File::create_new(path).map_err(failed)?))
    }

    fn place(&self, arguments: &Json, name: &str) -> Json {
        let path = Path::new(arguments["Path"].as_str().unwrap_or("")).join(name);
        Json::Object([("Path".to_owned(), path.to_string_lossy().into())].into_iter().collect())
    }
}

//! The journal's I/O: files of a folder, by name. [`Folder`] is the real one; [`Model`](super::model::Model) loses what
//! was not synced.

use crate::os;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// How writes become durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// Written to the page cache, then `fdatasync`.
    #[default]
    Data,
    /// Written without the page cache, durable when the write returns (`O_DIRECT | O_DSYNC`, Linux). Not every file
    /// system supports it.
    Direct,
    /// [`SyncMode::Direct`] if the file system supports it, else [`SyncMode::Data`]. That is tested once with a file in
    /// the folder.
    Fastest,
}

/// The files of a folder. Names are plain, without a path.
pub trait Disk: Send + Sync {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Creates a file; it must not exist.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// A file to write to.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// A file to read from.
    fn read(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the folder's entries durable.
    fn sync_folder(&self) -> io::Result<()>;
    /// An error when these files no longer exist, or were replaced.
    fn check(&self, names: &[String]) -> io::Result<()> {
        let _ = names;
        Ok(())
    }
    /// Bytes that can still be written to new files.
    fn free_bytes(&self) -> io::Result<u64>;
    /// A file's description for people.
    fn describe(&self, name: &str) -> String;
}

/// A file. Reads and writes may be short, as the system's are.
pub trait DiskFile: Send + Sync {
    /// Bytes that it has.
    fn bytes(&self) -> io::Result<u64>;
    /// Reads from an offset; nothing at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at an offset.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes durable what was written.
    fn sync(&self) -> io::Result<()>;
}

/// Writes all of some bytes, in as many steps as it takes.
pub(super) fn write_all(file: &dyn DiskFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => (bytes, offset) = (&bytes[written..], offset + written as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends; how many bytes.
pub(super) fn read_full(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut found = 0;
    while found < buffer.len() {
        match file.read_at(&mut buffer[found..], offset + found as u64) {
            Ok(0) => break,
            Ok(read) => found += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// A folder of the file system.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    mode: SyncMode,
    /// The folder's identity, even if its path later leads elsewhere.
    identity: Option<(u64, u64)>,
}

impl Folder {
    /// The folder at a path, which must exist.
    pub fn at(path: impl Into<PathBuf>, mode: SyncMode) -> Folder {
        let path = path.into();
        let identity = identity(&path).ok();
        let mode = match mode {
            SyncMode::Fastest if can_direct(&path) => SyncMode::Direct,
            SyncMode::Fastest => SyncMode::Data,
            mode => mode,
        };
        Folder { path, mode, identity }
    }

    /// How it syncs: never [`SyncMode::Fastest`], but the mode it selected.
    pub fn mode(&self) -> SyncMode {
        self.mode
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn to_write(&self, options: &mut OpenOptions, name: &str) -> io::Result<Box<dyn DiskFile>> {
        if self.mode == SyncMode::Direct {
            direct(options)?;
        }
        let file = options.read(true).write(true).open(self.path.join(name))?;
        Ok(Box::new(RealFile { file, is_synced_by_write: self.mode == SyncMode::Direct }))
    }
}

/// Whether a page can be written without the page cache in a folder.
fn can_direct(folder: &Path) -> bool {
    let path = folder.join("probe");
    let mut options = OpenOptions::new();
    let opened =
        direct(&mut options).and_then(|()| options.write(true).create(true).truncate(true).open(&path));
    let Ok(file) = opened else { return false };
    let mut page = super::block::Batch::with_capacity(0);
    let file = RealFile { file, is_synced_by_write: true };
    let is_written = write_all(&file, page.zeros(super::block::ALIGNMENT), 0).is_ok();
    // If it stays, it is reused by the next test.
    let _ = fs::remove_file(&path);
    is_written
}

/// The device and inode number of a path.
#[cfg(unix)]
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|_| (0, 0))
}

impl Disk for Folder {
    fn check(&self, names: &[String]) -> io::Result<()> {
        if Some(identity(&self.path)?) != self.identity {
            let text = format!("{} is another folder than it was", self.path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        names.iter().try_for_each(|name| {
            let found = fs::metadata(self.path.join(name));
            found
                .map(drop)
                .map_err(|error| io::Error::new(error.kind(), format!("{name}: {}", os::words(&error))))
        })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.to_write(OpenOptions::new().create_new(true), name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.to_write(&mut OpenOptions::new(), name)
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = File::open(self.path.join(name))?;
        Ok(Box::new(RealFile { file, is_synced_by_write: false }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        // If a folder cannot be opened as a file, its entries are durable without a sync.
        if cfg!(unix) { File::open(&self.path)?.sync_all() } else { Ok(()) }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        free_bytes(&self.path)
    }

    fn describe(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn direct(options: &mut OpenOptions) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::DIRECT | rustix::fs::OFlags::DSYNC;
    options.custom_flags(flags.bits() as i32);
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn direct(_: &mut OpenOptions) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "writing past the page cache is for Linux only"))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn free_bytes(path: &Path) -> io::Result<u64> {
    let status = rustix::fs::statvfs(path)?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn free_bytes(_: &Path) -> io::Result<u64> {
    // Not checked on other systems: a segment is written completely before it is used, and refused when that fails.
    Ok(u64::MAX)
}

struct RealFile {
    file: File,
    is_synced_by_write: bool,
}

impl DiskFile for RealFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buffer, offset)
    }

    #[cfg(unix)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(&self.file, bytes, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.file, buffer, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_write(&self.file, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        // The size of a file that grew is made durable by the write as well.
        if self.is_synced_by_write { Ok(()) } else { self.file.sync_data() }
    }
}

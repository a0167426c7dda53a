//! The file of the database: only its owner may read it, and it is checked to be still in its place.

use crate::os;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::state_error::{StateError, database};
use super::tables::{Change, Kind, Tables, Visit};

/// By the ARN.
const MACHINES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state machines");
/// By the ARN and the revision's number.
const REVISIONS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("revisions");
/// By the ARN.
const ACTIVITIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("activities");

/// An open database.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    /// `None` after it could not be opened again.
    database: Option<Database>,
    /// A handle to the same file, to recognize it.
    file: File,
}

const NAME: &str = "expressway.redb";

impl Disk {
    /// Opens the database of a folder; both are created if missing.
    pub(super) fn open(folder: &Path) -> Result<Disk, StateError> {
        let failed = |error| StateError::Folder { path: folder.to_owned(), error };
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(failed)?;
        let file = file(&folder.join(NAME), on_file)?;
        let mut disk = Disk { folder: folder.to_owned(), database: None, file };
        disk.begin()?;
        Ok(disk)
    }

    fn database(&self) -> Result<&Database, StateError> {
        self.database.as_ref().ok_or_else(|| StateError::Database("it is not open".to_owned()))
    }

    /// Opens the database again. A removed folder is not created again, for it may be a disk that is not mounted; if
    /// the folder was created again, a new file is begun in it.
    pub(super) fn reopen(&mut self) -> Result<(), StateError> {
        // After an error the database is unusable.
        self.database = None;
        match self.is_in_place() {
            Ok(()) => {}
            Err(_) if self.folder.is_dir() && !self.path().exists() => {
                self.file = file(&self.path(), on_file)?;
            }
            Err(error) => return Err(error),
        }
        self.begin()
    }

    /// Does a change as one transaction.
    pub(super) fn change(&self, change: Change<'_>) -> Result<(), StateError> {
        let write = self.database()?.begin_write().map_err(database)?;
        change(&mut &write)?;
        write.commit().map_err(database)?;
        // Checked afterwards: what was written to a file that was replaced is not kept.
        self.is_in_place()
    }

    /// Visits all records of a kind.
    pub(super) fn all(&self, kind: Kind, visit: Visit<'_>) -> Result<(), StateError> {
        let read = self.database()?.begin_read().map_err(database)?;
        let table = read.open_table(by_arn(kind)).map_err(database)?;
        for entry in table.iter().map_err(database)? {
            let (arn, bytes) = entry.map_err(database)?;
            visit(arn.value(), bytes.value())?;
        }
        Ok(())
    }

    /// A revision, if it is there.
    pub(super) fn revision(&self, arn: &str, number: u64) -> Result<Option<Vec<u8>>, StateError> {
        let read = self.database()?.begin_read().map_err(database)?;
        let table = read.open_table(REVISIONS).map_err(database)?;
        let found = table.get((arn, number)).map_err(database)?;
        Ok(found.map(|bytes| bytes.value().to_vec()))
    }

    /// Whether the path still leads to this file.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn is_in_place(&self) -> Result<(), StateError> {
        let gone =
            |error: io::Error| StateError::Gone(format!("{}: {}", self.path().display(), os::words(&error)));
        let there = fs::metadata(self.path()).map_err(gone)?;
        let ours = self.file.metadata().map_err(gone)?;
        if is_same(&there, &ours) {
            Ok(())
        } else {
            Err(gone(io::Error::other("another file is there now; a restart would read that one")))
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    fn begin(&mut self) -> Result<(), StateError> {
        let failed = |error| StateError::Folder { path: self.folder.clone(), error };
        let backend = FileBackend::new(self.file.try_clone().map_err(failed)?).map_err(database)?;
        let opened = on_file(backend)?;
        let read = opened.begin_read().map_err(database)?;
        let is_new = read.open_table(MACHINES).is_err()
            || read.open_table(REVISIONS).is_err()
            || read.open_table(ACTIVITIES).is_err();
        if is_new {
            // So that the tables can be read even if nothing was ever written.
            let write = opened.begin_write().map_err(database)?;
            write.open_table(MACHINES).map_err(database)?;
            write.open_table(REVISIONS).map_err(database)?;
            write.open_table(ACTIVITIES).map_err(database)?;
            write.commit().map_err(database)?;
        }
        drop(read);
        self.database = Some(opened);
        Ok(())
    }
}

/// The table of records without numbers.
fn by_arn(kind: Kind) -> TableDefinition<'static, &'static str, &'static [u8]> {
    match kind {
        Kind::Activity => ACTIVITIES,
        Kind::Machine | Kind::Revision => MACHINES,
    }
}

impl Tables for &WriteTransaction {
    fn numbers(&mut self, kind: Kind, arn: &str) -> Result<Vec<u64>, StateError> {
        if kind != Kind::Revision {
            let table = self.open_table(by_arn(kind)).map_err(database)?;
            let is_there = table.get(arn).map_err(database)?.is_some();
            return Ok(if is_there { vec![0] } else { Vec::new() });
        }
        let table = self.open_table(REVISIONS).map_err(database)?;
        let range = table.range((arn, 0)..=(arn, u64::MAX)).map_err(database)?;
        range.map(|entry| Ok(entry.map_err(database)?.0.value().1)).collect()
    }

    fn arns(&mut self, kind: Kind) -> Result<Vec<String>, StateError> {
        let table = self.open_table(by_arn(kind)).map_err(database)?;
        let entries = table.iter().map_err(database)?;
        entries.map(|entry| Ok(entry.map_err(database)?.0.value().to_owned())).collect()
    }

    fn put(&mut self, kind: Kind, arn: &str, number: u64, bytes: &[u8]) -> Result<(), StateError> {
        if kind == Kind::Revision {
            let mut table = self.open_table(REVISIONS).map_err(database)?;
            return table.insert((arn, number), bytes).map(drop).map_err(database);
        }
        let mut table = self.open_table(by_arn(kind)).map_err(database)?;
        table.insert(arn, bytes).map(drop).map_err(database)
    }

    fn remove(&mut self, kind: Kind, arn: &str, number: u64) -> Result<(), StateError> {
        if kind == Kind::Revision {
            let mut table = self.open_table(REVISIONS).map_err(database)?;
            return table.remove((arn, number)).map(drop).map_err(database);
        }
        let mut table = self.open_table(by_arn(kind)).map_err(database)?;
        table.remove(arn).map(drop).map_err(database)
    }
}

/// The database in a file; in an empty file, an empty one.
fn on_file(backend: FileBackend) -> Result<Database, StateError> {
    Builder::new().create_with_backend(backend).map_err(database)
}

/// Opens a database's file, for its owner only. A new one is made under another name and has its own when it is
/// complete: redb does not open a file of which a process that was killed wrote only the beginning.
pub(super) fn file<D>(
    path: &Path,
    complete: impl FnOnce(FileBackend) -> Result<D, StateError>,
) -> Result<File, StateError> {
    let folder = path.parent().unwrap_or(path);
    let failed = |error| StateError::Folder { path: folder.to_owned(), error };
    if !fs::exists(path).map_err(failed)? {
        let begun = path.with_extension("begun");
        let file = own_file(&begun).map_err(failed)?;
        let backend = FileBackend::new(file.try_clone().map_err(failed)?).map_err(database)?;
        // It is locked now, and another process that was faster has renamed its own.
        if fs::exists(path).map_err(failed)? {
            fs::remove_file(&begun).map_err(failed)?;
        } else {
            file.set_len(0).map_err(failed)?;
            let _made = complete(backend)?;
            fs::rename(&begun, path).map_err(failed)?;
        }
    }
    let file = own_file(path).map_err(failed)?;
    // The directory entry must be on the disk as well.
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(file)
}

fn own_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A file of an earlier version may be readable for others.
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(file)
}

#[cfg(unix)]
fn is_same(there: &fs::Metadata, ours: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (there.dev(), there.ino()) == (ours.dev(), ours.ino())
}

#[cfg(not(unix))]
fn is_same(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}

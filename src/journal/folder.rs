//! A journal in a folder: the lock that keeps other processes out, and opening it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::Disk;
use super::{Block, Folder, JournalError, Log, LogJournal, Options, Ownership, Report, SyncMode, Watcher};

const LOCK: &str = "LOCK";
/// Files of other stores in a journal's folder, without which its records are incomplete.
const BESIDE: [&str; 1] = ["cold.redb"];

/// The ownership of a folder: a file lock of the system, which ends with the process in any case.
#[derive(Debug)]
pub struct FolderLock {
    folder: PathBuf,
    file: Option<File>,
}

impl FolderLock {
    /// The lock of a folder, not acquired yet.
    pub fn of(folder: impl Into<PathBuf>) -> FolderLock {
        FolderLock { folder: folder.into(), file: None }
    }
}

impl Ownership for FolderLock {
    fn claim(&mut self) -> Result<(), JournalError> {
        let path = self.folder.join(LOCK);
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(JournalError::io(path.display().to_string()))?;
        match file.try_lock() {
            Ok(()) => {
                self.file = Some(file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => Err(JournalError::Held(self.folder.display().to_string())),
            Err(TryLockError::Error(error)) => Err(JournalError::io(path.display().to_string())(error)),
        }
    }

    fn renew(&mut self) -> Result<(), JournalError> {
        // The system's lock cannot be lost.
        match self.file {
            Some(_) => Ok(()),
            None => Err(JournalError::Held(self.folder.display().to_string())),
        }
    }

    fn release(&mut self) {
        self.file = None;
    }
}

/// Copies the journal of a folder, which must not be in use, into another, which must be new or empty; records that are
/// no longer needed are left out. The copy was read back, and is durable.
pub fn copy(from: &Path, to: &Path) -> Result<Report, JournalError> {
    let at = |path: &Path| JournalError::io(path.display().to_string());
    let mut lock = FolderLock::of(from);
    lock.claim()?;
    let source = Folder::at(from, SyncMode::Data);
    let report = super::scan(&source)?;
    if report.last == super::Lsn(0) {
        return Err(JournalError::Options("there is no journal to copy"));
    }
    fs::create_dir_all(to).map_err(at(to))?;
    if fs::read_dir(to).map_err(at(to))?.next().is_some() {
        return Err(JournalError::Options("the folder to copy to is not empty"));
    }
    for segment in report.segments.iter().filter(|segment| segment.is_live) {
        let (original, copy) = (from.join(&segment.name), to.join(&segment.name));
        fs::copy(&original, &copy).map_err(at(&copy))?;
        File::open(&copy).and_then(|file| file.sync_all()).map_err(at(&copy))?;
    }
    for name in BESIDE.into_iter().filter(|name| from.join(name).exists()) {
        let copy = to.join(name);
        fs::copy(from.join(name), &copy).map_err(at(&copy))?;
        File::open(&copy).and_then(|file| file.sync_all()).map_err(at(&copy))?;
    }
    let target = Folder::at(to, SyncMode::Data);
    target.sync_folder().map_err(at(to))?;
    let copied = super::scan(&target)?;
    let identity =
        |report: &Report| (report.journal, report.first, report.last, report.records, report.bytes);
    if identity(&copied) != identity(&report) {
        let what = "the copy is not what was read".to_owned();
        return Err(JournalError::Damaged { file: to.display().to_string(), offset: 0, what });
    }
    Ok(copied)
}

/// Opens the journal in a folder, which is created if missing: takes the lock, recovers, visits every block that is in
/// use, in order, and begins a new epoch.
pub fn open(
    folder: &Path,
    mode: SyncMode,
    options: Options,
    watchers: Vec<Watcher>,
    visit: &mut dyn FnMut(&Block<'_>),
) -> Result<(LogJournal, Report), JournalError> {
    let what = || JournalError::io(folder.display().to_string());
    let mut builder = fs::DirBuilder::new();
    // Only its owner may read it.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder).map_err(what())?;
    let mut lock = FolderLock::of(folder);
    lock.claim()?;
    open_disk(Arc::new(Folder::at(folder, mode)), options, watchers, Some(Box::new(lock)), visit)
}

/// The same on any disk, whose ownership is the caller's, and is released when the journal has ended.
pub fn open_disk(
    disk: Arc<dyn Disk>,
    options: Options,
    watchers: Vec<Watcher>,
    ownership: Option<Box<dyn Ownership>>,
    visit: &mut dyn FnMut(&Block<'_>),
) -> Result<(LogJournal, Report), JournalError> {
    let mut identity = [0; 8];
    getrandom::fill(&mut identity).expect("the system gives random numbers");
    let (log, report) = Log::open(disk.clone(), options, u64::from_le_bytes(identity))?;
    report.read(&*disk, visit)?;
    Ok((LogJournal::start(log, disk, options, watchers, ownership), report))
}

//! Where a journal is stored.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::Durable;
use super::records::{DurableError, Found};
#[cfg(all(feature = "service", feature = "clustered"))]
use crate::journal::JournalError;
#[cfg(feature = "clustered")]
use crate::journal::cluster::{self, Cluster};
use crate::journal::{self, Block, Disk, Journal, Options, Report, SyncMode, Watcher};

#[derive(Clone)]
pub(super) enum Place {
    Folder(PathBuf),
    Disk(Arc<dyn Disk>),
    #[cfg(feature = "clustered")]
    Cluster(Cluster),
}

/// An open journal.
pub(super) struct Opened {
    pub(super) journal: Box<dyn Journal>,
    pub(super) report: Report,
    /// The disk for temporary files of this process.
    pub(super) temporary: Arc<dyn Disk>,
}

impl Durable {
    /// The options of its journal.
    pub(super) fn options(&self) -> Options {
        let defaults = Options::default();
        Options {
            segment_bytes: self.segment_bytes,
            block_bytes_max: defaults.block_bytes_max.min((self.segment_bytes / 4) as usize),
            partition: Some(0),
            ..defaults
        }
    }
}

impl Place {
    /// The folder, if it is in one.
    pub(super) fn folder(&self) -> Option<&PathBuf> {
        match self {
            Place::Folder(folder) => Some(folder),
            Place::Disk(_) => None,
            #[cfg(feature = "clustered")]
            Place::Cluster(_) => None,
        }
    }

    /// Opens the journal, and visits all its records.
    pub(super) fn open(
        &self,
        options: Options,
        watcher: Watcher,
        found: &mut Found,
    ) -> Result<Opened, DurableError> {
        let (watchers, mut visit) = (vec![watcher], |block: &Block<'_>| found.add(block));
        let opened = |journal, report, temporary| Opened { journal, report, temporary };
        match self {
            Place::Folder(folder) => {
                let folder = folder.join("journal");
                let (journal, report) =
                    journal::open(&folder, SyncMode::Fastest, options, watchers, &mut visit)?;
                Ok(opened(Box::new(journal), report, Arc::new(journal::Folder::at(folder, SyncMode::Data))))
            }
            Place::Disk(disk) => {
                let (journal, report) =
                    journal::open_disk(Arc::clone(disk), options, watchers, None, &mut visit)?;
                Ok(opened(Box::new(journal), report, Arc::clone(disk)))
            }
            #[cfg(feature = "clustered")]
            Place::Cluster(cluster) => {
                if cluster.is_spread()? {
                    // Its partitions are taken one by one.
                    let options = Options { partition: None, ..options };
                    let journal = cluster::PartitionJournal::begin(cluster, options, watchers)?;
                    let report = Report::default();
                    return Ok(opened(Box::new(journal), report, temporary(cluster.node())?));
                }
                let (journal, report) = cluster::open(cluster, options, watchers, &mut visit)?;
                Ok(opened(Box::new(journal), report, temporary(cluster.node())?))
            }
        }
    }

    /// Whether it has partitions that come and go.
    #[cfg(all(feature = "service", feature = "clustered"))]
    pub(super) fn is_spread(&self) -> Result<bool, JournalError> {
        match self {
            Place::Folder(_) | Place::Disk(_) => Ok(false),
            Place::Cluster(cluster) => cluster.is_spread(),
        }
    }

    /// The same for one of its partitions.
    #[cfg(all(feature = "service", feature = "clustered"))]
    pub(super) fn read_partition(&self, partition: u16, found: &mut Found) -> Result<(), DurableError> {
        let Place::Cluster(cluster) = self else { unreachable!("only clusters have partitions") };
        cluster.scan_partition(partition, &mut |block| found.add(block))?;
        Ok(())
    }

    /// Visits all records of the journal, which may be in use.
    pub(super) fn read(&self, found: &mut Found) -> Result<(), DurableError> {
        let disk: Arc<dyn Disk> = match self {
            Place::Folder(folder) => Arc::new(journal::Folder::at(folder.join("journal"), SyncMode::Data)),
            Place::Disk(disk) => Arc::clone(disk),
            #[cfg(feature = "clustered")]
            Place::Cluster(cluster) => {
                cluster.scan(&mut |block| found.add(block))?;
                return Ok(());
            }
        };
        let report = journal::scan(&*disk)?;
        Ok(report.read(&*disk, &mut |block| found.add(block))?)
    }
}

/// A folder of this process for temporary files.
#[cfg(feature = "clustered")]
fn temporary(name: &str) -> Result<Arc<dyn Disk>, DurableError> {
    let path = std::env::temp_dir().join(format!("expressway-{name}"));
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    // An engine of this process may have made it before.
    builder.recursive(true).create(&path).map_err(journal::JournalError::io(path.display().to_string()))?;
    Ok(Arc::new(journal::Folder::at(path, SyncMode::Data)))
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Folder(folder) => folder.fmt(f),
            Place::Disk(_) => f.write_str("a disk"),
            #[cfg(feature = "clustered")]
            Place::Cluster(cluster) => cluster.fmt(f),
        }
    }
}

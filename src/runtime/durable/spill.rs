//! Parked executions out of memory: their states and histories are in a [spill file](crate::journal::spill). Their
//! records in the journal do not change, so a crash at any time finds the same as without it.

use std::sync::Arc;

use super::{Durability, Durable, DurableError};
use crate::fatal;
use crate::journal::{Disk, JournalError, SpillFile, Spilled};
use crate::limits;
use crate::observe;

/// The store of parked executions' states and histories.
pub(super) struct Away {
    pub(super) file: Arc<SpillFile>,
    pub(super) resident_max: usize,
    pub(super) after_ms: u64,
    pub(super) horizon_ms: u64,
}

impl Away {
    /// In the folder of the journal, whose lock is held.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        durable: &Durable,
        disk_free_bytes_min: u64,
    ) -> Result<Away, DurableError> {
        let resident_max = durable.resident_max;
        let (after_ms, horizon_ms) = durable.resident_ms;
        let what = format!("a spill file, {}", disk.describe("spill"));
        let file = SpillFile::create(disk, disk_free_bytes_min).map_err(JournalError::io(what))?;
        Ok(Away { file, resident_max, after_ms, horizon_ms })
    }
}

/// Bytes that are out of memory.
#[derive(Debug)]
struct Out(Spilled);

impl observe::Spilled for Out {
    fn read(&self) -> Vec<u8> {
        self.0.read().unwrap_or_else(|error| {
            // The journal has it: the next process continues from there.
            fatal::end_process(&format_args!("the state of an execution that waits cannot be read: {error}"))
        })
    }
}

impl observe::Spill for Durability {
    fn spill(&self, bytes: &[u8]) -> Option<Box<dyn observe::Spilled>> {
        if bytes.len() > limits::DURABLE_SPILL_BYTES_MAX {
            return None;
        }
        match self.away.file.spill(bytes) {
            Ok(spilled) => Some(Box::new(Out(spilled))),
            Err(error) => {
                tracing::debug!(%error, "executions that wait stay in memory");
                None
            }
        }
    }
}

impl Durability {
    /// Parked executions that stay in memory, of all shards.
    pub(in crate::runtime) fn resident_max(&self) -> usize {
        self.away.resident_max
    }

    /// Milliseconds that an execution is parked before it may leave memory.
    pub(in crate::runtime) fn after_ms(&self) -> u64 {
        self.away.after_ms
    }

    /// Milliseconds that its wait must still be, when it leaves completely.
    pub(in crate::runtime) fn horizon_ms(&self) -> u64 {
        self.away.horizon_ms
    }

    /// States and histories that are out of memory, and bytes of their file.
    pub(in crate::runtime) fn spilled(&self) -> (u64, u64) {
        self.away.file.stats()
    }
}

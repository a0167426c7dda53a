//! Segments: files of one size, filled with zeros and synced before their first block.

use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, write_all};

/// Bytes that are filled with zeros in one write.
const ZEROS_BYTES: usize = 1 << 20;
const PREFIX: &str = "segment-";
const SUFFIX: &str = ".wal";

/// A file for blocks.
pub struct Segment {
    pub(super) name: String,
    pub(super) file: Box<dyn DiskFile>,
    pub(super) bytes: u64,
}

/// The file of a number. The number is only required to be new.
pub(super) fn name(number: u64) -> String {
    format!("{PREFIX}{number:010}{SUFFIX}")
}

/// The number in a segment's file name.
pub(super) fn number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

/// A new segment that is to be made, by any thread.
pub struct Plan {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Bytes that must stay free beside it.
    pub(super) free_bytes_min: u64,
}

impl Plan {
    /// Makes it; when that fails, nothing of it remains.
    pub fn carry_out(self) -> io::Result<Segment> {
        let free = self.disk.free_bytes()?;
        if free < self.bytes.saturating_add(self.free_bytes_min) {
            let text = format!("{free} bytes are free, {} + {} are needed", self.bytes, self.free_bytes_min);
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        match self.fill() {
            Ok(file) => Ok(Segment { name: self.name, file, bytes: self.bytes }),
            Err(error) => {
                // Best effort: what stays is empty, and is removed by the next start.
                let _ = self.disk.remove(&self.name);
                Err(error)
            }
        }
    }

    fn fill(&self) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.create(&self.name)?;
        let mut zeros = super::block::Batch::with_capacity(ZEROS_BYTES.min(self.bytes as usize));
        let mut at = 0;
        while at < self.bytes {
            let step = (self.bytes - at).min(ZEROS_BYTES as u64);
            write_all(&*file, zeros.zeros(step as usize), at)?;
            at += step;
            if at < self.bytes {
                // Blocks wait behind at most so much data.
                file.sync()?;
            }
        }
        file.sync()?;
        self.disk.sync_folder()?;
        Ok(file)
    }
}

//! A spill file: bytes that are moved out of memory for a while. It belongs to one process and does not outlive it; its
//! content is in the journal too, so it is never synced.
//!
//! The file consists of slots with a few sizes per power of two. A freed slot is reused for the next bytes of its size,
//! so the file is as large as its greatest content.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile, read_full, write_all};

/// The file's name. No segment has this name.
const NAME: &str = "spill";
/// Free disk space is checked once per so many bytes.
const GROWTH_BYTES: u64 = 16 << 20;
const SLOT_BYTES_MIN: u64 = 64;

/// A file for bytes that are needed later.
pub struct SpillFile {
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    /// Bytes of the disk that stay free.
    disk_free_bytes_min: u64,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    /// Offsets of the unused ones, by their sizes.
    free: BTreeMap<u64, Vec<u64>>,
    /// The end of the file, and the offset up to which there is certainly room.
    end: u64,
    room: u64,
    used: u64,
}

/// Bytes in a spill file. Their slot is freed when this is dropped.
pub struct Spilled {
    file: Arc<SpillFile>,
    offset: u64,
    bytes: u32,
    crc: u32,
}

impl SpillFile {
    /// Creates the file on a disk, which the caller has locked. A file that an earlier process left is removed.
    ///
    /// # Errors
    /// An error of the disk.
    pub fn create(disk: Arc<dyn Disk>, disk_free_bytes_min: u64) -> io::Result<Arc<SpillFile>> {
        if disk.list()?.iter().any(|name| name == NAME) {
            disk.remove(NAME)?;
        }
        let file = disk.create(NAME)?;
        if cfg!(unix) {
            // It is unlinked from now on, and vanishes with the process.
            disk.remove(NAME)?;
        }
        Ok(Arc::new(SpillFile { disk, file, disk_free_bytes_min, slots: Mutex::default() }))
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // They are consistent between any two statements.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// An error of the disk, or when it has no room; nothing is stored then.
    pub fn spill(self: &Arc<Self>, bytes: &[u8]) -> io::Result<Spilled> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let offset = self.slots().take(slot_bytes(length), || self.grow())?;
        let spilled = Spilled { file: Arc::clone(self), offset, bytes: length, crc: crc32c::crc32c(bytes) };
        write_all(&*self.file, bytes, offset)?;
        Ok(spilled)
    }

    /// Makes sure that the file may grow.
    fn grow(&self) -> io::Result<()> {
        if self.disk.free_bytes()? >= self.disk_free_bytes_min + GROWTH_BYTES {
            Ok(())
        } else {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    /// How many are in the file, and its bytes.
    pub fn stats(&self) -> (u64, u64) {
        let slots = self.slots();
        (slots.used, slots.end)
    }
}

impl Slots {
    fn take(&mut self, bytes: u64, grow: impl Fn() -> io::Result<()>) -> io::Result<u64> {
        let free = self.free.get_mut(&bytes).and_then(Vec::pop);
        let offset = match free {
            Some(offset) => offset,
            None => {
                while self.room < self.end + bytes {
                    grow()?;
                    self.room += GROWTH_BYTES;
                }
                self.end += bytes;
                self.end - bytes
            }
        };
        self.used += 1;
        Ok(offset)
    }
}

/// The size of the slot for so many bytes: at most a quarter more.
fn slot_bytes(bytes: u32) -> u64 {
    let bytes = u64::from(bytes).max(SLOT_BYTES_MIN);
    bytes.next_multiple_of(bytes.next_power_of_two() / 8)
}

impl Spilled {
    /// The bytes.
    ///
    /// # Errors
    /// When the file cannot be read, or its content is not what was written.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.bytes as usize];
        let found = read_full(&*self.file.file, &mut bytes, self.offset)?;
        if found == bytes.len() && crc32c::crc32c(&bytes) == self.crc {
            Ok(bytes)
        } else {
            let place = self.file.disk.describe(NAME);
            let text = format!("{place}, offset {}, is not as it was written", self.offset);
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        let mut slots = self.file.slots();
        slots.free.entry(slot_bytes(self.bytes)).or_default().push(self.offset);
        slots.used -= 1;
    }
}

impl std::fmt::Debug for Spilled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spilled").field("offset", &self.offset).field("bytes", &self.bytes).finish()
    }
}

//! A model of a disk in memory that loses what was not synced, and fails on request: for tests and simulations.
//!
//! After a power loss, of each unsynced write to a sector of 512 bytes, in any order, all, nothing or a beginning
//! remains; of each file that was created or removed since the folder was synced, either state; a file's growth remains
//! or not. A failed sync leaves data in the cache that will never be on the disk. Everything is decided by a seed.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile};

const SECTOR_BYTES: usize = 512;

/// A fault of the disk, by the count of its operations since it was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A write fails, and part of it may have been done.
    Write,
    /// A write finds no room, and part of it may have been done.
    Full,
    /// A sync fails, and its data is lost when it leaves the cache.
    Sync,
    /// A power loss: this operation and all later ones fail, until [`Model::restart`].
    Power,
    /// It blocks until [`Model::let_go`].
    Slow,
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Fault::Full => io::ErrorKind::StorageFull.into(),
            Fault::Power => io::Error::other("the power is off"),
            Fault::Write | Fault::Sync | Fault::Slow => io::Error::other("the disk failed"),
        }
    }
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Mutex<Inner>>,
    /// Notified when a slow operation has begun, or is over.
    turned: Arc<Condvar>,
}

struct Inner {
    random: u64,
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    /// The folder's files after a power loss.
    durable: BTreeMap<String, Arc<Mutex<Content>>>,
    capacity_bytes: u64,
    has_short_writes: bool,
    fault: Option<(u64, Fault)>,
    is_off: bool,
    /// Whether an operation is slow.
    is_slow: bool,
    operations: u64,
}

/// Copied files, by the address of the originals.
type Copies = BTreeMap<usize, Arc<Mutex<Content>>>;

/// A file: what programs see, and what is on the disk.
#[derive(Clone, Default)]
struct Content {
    cache: Vec<u8>,
    disk: Vec<u8>,
    /// Unsynced writes, by sector.
    pending: Vec<(usize, Vec<u8>)>,
    /// Whether a write or a sync failed: the process that saw it no longer uses the file.
    has_failed: bool,
}

/// Makes it at least so long. Not by `resize`, which writes byte after byte where the code is not optimised, and took
/// most of the time of the tests that crash this disk.
fn grow(content: &mut Vec<u8>, bytes: usize) {
    if content.len() < bytes {
        let mut grown = vec![0; bytes];
        grown[..content.len()].copy_from_slice(content);
        *content = grown;
    }
}

impl Model {
    /// An empty disk of so many bytes.
    pub fn new(seed: u64, capacity_bytes: u64) -> Model {
        let inner = Inner {
            random: seed,
            files: BTreeMap::new(),
            durable: BTreeMap::new(),
            capacity_bytes,
            has_short_writes: false,
            fault: None,
            is_off: false,
            is_slow: false,
            operations: 0,
        };
        Model { inner: Arc::new(Mutex::new(inner)), turned: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A random number below a bound, from the disk's seed.
    pub fn random(&self, below: u64) -> u64 {
        self.lock().random(below)
    }

    /// Makes some reads and writes short, and interrupted.
    pub fn short_writes(&self, are_short: bool) {
        self.lock().has_short_writes = are_short;
    }

    /// Sets the fault that happens after so many further writes and syncs.
    pub fn fail_after(&self, operations: u64, fault: Fault) {
        let mut inner = self.lock();
        inner.fault = Some((inner.operations + operations, fault));
    }

    /// Writes and syncs so far.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Waits until a slow operation has begun.
    pub fn wait_slow(&self) {
        let is_fast = |inner: &mut Inner| !inner.is_slow;
        drop(self.turned.wait_while(self.lock(), is_fast).unwrap_or_else(PoisonError::into_inner));
    }

    /// Ends the slow operation.
    pub fn let_go(&self) {
        self.lock().is_slow = false;
        self.turned.notify_all();
    }

    /// Counts a write or sync, and waits if it is slow; returns its fault.
    fn step<'a>(&self, mut inner: MutexGuard<'a, Inner>) -> (MutexGuard<'a, Inner>, Option<Fault>) {
        let mut fault = inner.step();
        if fault == Some(Fault::Slow) {
            (inner.is_slow, fault) = (true, None);
            self.turned.notify_all();
            let is_slow = |inner: &mut Inner| inner.is_slow;
            inner = self.turned.wait_while(inner, is_slow).unwrap_or_else(PoisonError::into_inner);
        }
        (inner, fault)
    }

    /// Sets the capacity.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity_bytes = bytes;
    }

    /// The process ends, and the system continues: no writes are lost, faults are over.
    pub fn kill(&self) {
        let mut inner = self.lock();
        (inner.fault, inner.is_off) = (None, false);
        for file in inner.files.values() {
            file.lock().unwrap_or_else(PoisonError::into_inner).has_failed = false;
        }
    }

    /// A power cycle: what was not synced is lost as decided by the seed.
    pub fn restart(&self) {
        let mut inner = self.lock();
        (inner.fault, inner.is_off) = (None, false);
        let inner = &mut *inner;
        let names: Vec<String> = inner.files.keys().chain(inner.durable.keys()).cloned().collect();
        for name in names {
            let is_same = inner.files.contains_key(&name) == inner.durable.contains_key(&name);
            if !is_same && random(&mut inner.random, 2) == 0 {
                match inner.files.get(&name) {
                    Some(file) => inner.durable.insert(name, file.clone()),
                    None => inner.durable.remove(&name),
                };
            }
        }
        inner.files = inner.durable.clone();
        for file in inner.files.values() {
            lose(&mut inner.random, &mut file.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Changes a file silently, like a failing disk.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let inner = self.lock();
        let mut content = inner.files[name].lock().unwrap_or_else(PoisonError::into_inner);
        assert!(content.pending.is_empty(), "damage is done to what is durable");
        change(&mut content.disk);
        content.cache = content.disk.clone();
    }

    /// The disk as after a power loss now; this one continues.
    pub fn after_power_loss(&self) -> Model {
        let inner = self.lock();
        let copy = Model::new(0, inner.capacity_bytes);
        let copied = |files: &BTreeMap<String, Arc<Mutex<Content>>>, known: &mut Copies| {
            let copy_of = |file: &Arc<Mutex<Content>>| {
                let copied = known.entry(Arc::as_ptr(file) as usize).or_insert_with(|| {
                    let content = file.lock().unwrap_or_else(PoisonError::into_inner);
                    Arc::new(Mutex::new(content.clone()))
                });
                Arc::clone(copied)
            };
            let mut copy_of = copy_of;
            files.iter().map(|(name, file)| (name.clone(), copy_of(file))).collect()
        };
        let mut known = BTreeMap::new();
        {
            let mut copy = copy.lock();
            copy.random = inner.random;
            copy.files = copied(&inner.files, &mut known);
            copy.durable = copied(&inner.durable, &mut known);
        }
        drop(inner);
        copy.restart();
        copy
    }

    /// A disk with the same files, all of it durable.
    pub fn copy(&self) -> Model {
        let copy = Model::new(self.random(u64::MAX), self.lock().capacity_bytes);
        for (name, file) in &self.lock().files {
            let cache = file.lock().unwrap_or_else(PoisonError::into_inner).cache.clone();
            let content = Content { disk: cache.clone(), cache, ..Content::default() };
            copy.lock().files.insert(name.clone(), Arc::new(Mutex::new(content)));
        }
        let files = copy.lock().files.clone();
        copy.lock().durable = files;
        copy
    }
}

/// Applies a power loss to a file.
fn lose(seed: &mut u64, content: &mut Content) {
    let mut pending = std::mem::take(&mut content.pending);
    let mercy = random(seed, 5);
    while !pending.is_empty() {
        let (sector, bytes) = pending.swap_remove(random(seed, pending.len() as u64) as usize);
        let kept = match mercy {
            0 => 0,
            1 => bytes.len(),
            _ => match random(seed, 4) {
                0 => random(seed, bytes.len() as u64 + 1) as usize,
                1 => 0,
                _ => bytes.len(),
            },
        };
        if kept > 0 {
            let (begin, end) = (sector * SECTOR_BYTES, sector * SECTOR_BYTES + kept);
            grow(&mut content.disk, end);
            content.disk[begin..end].copy_from_slice(&bytes[..kept]);
        }
    }
    content.cache = content.disk.clone();
    content.has_failed = false;
}

/// SplitMix64.
fn random(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut x = *seed;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) % below.max(1)
}

impl Inner {
    fn random(&mut self, below: u64) -> u64 {
        random(&mut self.random, below)
    }

    /// Counts a write or sync; the fault that happens now.
    fn step(&mut self) -> Option<Fault> {
        self.operations += 1;
        let (at, fault) = self.fault?;
        if self.operations <= at {
            return None;
        }
        match fault {
            Fault::Power => self.is_off = true,
            Fault::Write | Fault::Full | Fault::Sync | Fault::Slow => self.fault = None,
        }
        Some(fault)
    }

    fn check(&self) -> io::Result<()> {
        if self.is_off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    fn used_bytes(&self) -> u64 {
        let bytes =
            |file: &Arc<Mutex<Content>>| file.lock().unwrap_or_else(PoisonError::into_inner).cache.len();
        self.files.values().map(|file| bytes(file) as u64).sum()
    }
}

impl Disk for Model {
    fn list(&self) -> io::Result<Vec<String>> {
        let inner = self.lock();
        inner.check()?;
        Ok(inner.files.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.lock();
        inner.check()?;
        assert!(!inner.files.contains_key(name), "{name} exists");
        let content = Arc::new(Mutex::new(Content::default()));
        inner.files.insert(name.to_owned(), content.clone());
        drop(inner);
        Ok(Box::new(ModelFile { disk: self.clone(), content }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let inner = self.lock();
        inner.check()?;
        let content = inner.files.get(name).ok_or(io::ErrorKind::NotFound)?.clone();
        Ok(Box::new(ModelFile { disk: self.clone(), content }))
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.check()?;
        inner.files.remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let inner = self.lock();
        inner.check()?;
        let (mut inner, fault) = self.step(inner);
        match fault {
            Some(fault) => Err(fault.error()),
            None => {
                inner.durable = inner.files.clone();
                Ok(())
            }
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let inner = self.lock();
        inner.check()?;
        Ok(inner.capacity_bytes.saturating_sub(inner.used_bytes()))
    }

    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }
}

struct ModelFile {
    disk: Model,
    content: Arc<Mutex<Content>>,
}

impl ModelFile {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for ModelFile {
    fn bytes(&self) -> io::Result<u64> {
        self.disk.lock().check()?;
        Ok(self.lock().cache.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut inner = self.disk.lock();
        inner.check()?;
        let content = self.lock();
        let rest = content.cache.get(offset as usize..).unwrap_or_default();
        let mut bytes = rest.len().min(buffer.len());
        if inner.has_short_writes && bytes > 1 && inner.random(4) == 0 {
            bytes = 1 + inner.random(bytes as u64 - 1) as usize;
        }
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let inner = self.disk.lock();
        inner.check()?;
        let (mut inner, fault) = self.disk.step(inner);
        assert!(!self.lock().has_failed, "what failed is not tried again");
        let mut bytes = bytes;
        if inner.has_short_writes && bytes.len() > SECTOR_BYTES && inner.random(3) == 0 {
            if inner.random(2) == 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            bytes =
                &bytes[..SECTOR_BYTES * (1 + inner.random((bytes.len() / SECTOR_BYTES) as u64 - 1) as usize)];
        }
        if fault.is_some() {
            bytes = &bytes[..SECTOR_BYTES * inner.random((bytes.len() / SECTOR_BYTES) as u64 + 1) as usize];
        }
        let begin = offset as usize;
        let growth = (begin + bytes.len()).saturating_sub(self.lock().cache.len()) as u64;
        if growth > 0 && inner.used_bytes() + growth > inner.capacity_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut content = self.lock();
        assert!(
            begin.is_multiple_of(SECTOR_BYTES) && bytes.len().is_multiple_of(SECTOR_BYTES),
            "writes are whole sectors"
        );
        grow(&mut content.cache, begin + bytes.len());
        content.cache[begin..begin + bytes.len()].copy_from_slice(bytes);
        let sectors = bytes.chunks(SECTOR_BYTES).enumerate();
        content.pending.extend(sectors.map(|(at, sector)| (begin / SECTOR_BYTES + at, sector.to_vec())));
        match fault {
            Some(fault) => {
                content.has_failed = true;
                Err(fault.error())
            }
            None => Ok(bytes.len()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let inner = self.disk.lock();
        inner.check()?;
        let (mut inner, fault) = self.disk.step(inner);
        let mut content = self.lock();
        let content = &mut *content;
        assert!(!content.has_failed, "what failed is not tried again");
        match fault {
            None => {
                content.pending.clear();
                content.disk.clone_from(&content.cache);
                Ok(())
            }
            Some(Fault::Power) => Err(Fault::Power.error()),
            Some(fault) => {
                // As on Linux: clean in the cache, and never written.
                let cache = content.cache.clone();
                lose(&mut inner.random, content);
                (content.cache, content.has_failed) = (cache, true);
                Err(fault.error())
            }
        }
    }
}

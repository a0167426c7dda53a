//! The spill file: its content is read as it was written, its slots are reused, and it leaves disk space for the
//! journal.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use expressway::journal::{Disk, DiskFile, SpillFile};

/// A disk of one file, whose reads and writes are short.
#[derive(Clone, Default)]
struct Memory {
    file: Arc<Mutex<Vec<u8>>>,
    free_bytes: Arc<AtomicU64>,
}

const STEP: usize = 777;

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn create(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.clone()))
    }

    fn open(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.clone()))
    }

    fn read(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.clone()))
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.free_bytes.load(Ordering::Relaxed))
    }

    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }
}

impl DiskFile for Memory {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.lock().expect("nobody panics").len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = self.file.lock().expect("nobody panics");
        let rest = file.get(offset as usize..).unwrap_or_default();
        let bytes = rest.len().min(buffer.len()).min(STEP);
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut file = self.file.lock().expect("nobody panics");
        let (begin, bytes) = (offset as usize, &bytes[..bytes.len().min(STEP)]);
        if file.len() < begin + bytes.len() {
            file.resize(begin + bytes.len(), 0);
        }
        file[begin..begin + bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        unreachable!("nothing of it is to be durable")
    }
}

fn memory(free_bytes: u64) -> Memory {
    Memory { free_bytes: Arc::new(free_bytes.into()), ..Memory::default() }
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n * 37 % 5_000).map(|at| (at * 7 + n) as u8).collect()
}

#[test]
fn bytes_come_back_and_their_room_is_used_again() {
    let file = SpillFile::create(Arc::new(memory(1 << 30)), 0).expect("a file");
    let mut kept = Vec::new();
    for n in 0..1_000 {
        kept.push((n, file.spill(&bytes(n)).expect("room")));
    }
    let (used, size) = file.stats();
    let written: usize = (0..1_000).map(|n| bytes(n).len()).sum();
    assert_eq!(used, 1_000);
    assert!(size as usize <= written * 5 / 4 + 64_000, "{size} bytes for {written}");
    for round in 0..4 {
        kept.retain(|(n, _)| n % 4 != round);
        for n in (0..1_000).filter(|n| n % 4 == round) {
            kept.push((n, file.spill(&bytes(n)).expect("room")));
        }
        assert_eq!(file.stats(), (1_000, size), "round {round}");
        for (n, spilled) in &kept {
            assert!(spilled.read().expect("it is there") == bytes(*n), "entry {n}");
        }
    }
    kept.clear();
    assert_eq!(file.stats(), (0, size));
}

#[test]
fn what_the_disk_has_no_room_for_is_refused() {
    let disk = memory(100 << 20);
    let file = SpillFile::create(Arc::new(disk.clone()), 60 << 20).expect("a file");
    let first = file.spill(&bytes(99)).expect("room");
    disk.free_bytes.store(64 << 20, Ordering::Relaxed);
    let large = vec![1; 17 << 20];
    assert!(file.spill(&large).is_err(), "60 MiB are to stay free, and a file grows by 16");
    assert_eq!(file.stats().0, 1);
    assert_eq!(first.read().expect("it is there"), bytes(99));
    disk.free_bytes.store(200 << 20, Ordering::Relaxed);
    assert!(file.spill(&large).is_ok(), "there is room again");
}

#[test]
fn what_is_not_as_it_was_written_is_refused() {
    let disk = memory(1 << 30);
    let file = SpillFile::create(Arc::new(disk.clone()), 0).expect("a file");
    let spilled = file.spill(b"a state").expect("room");
    disk.file.lock().expect("nobody panics")[3] ^= 1;
    let error = spilled.read().expect_err("a bit is another");
    assert_eq!(error.to_string(), "spill, offset 0, is not as it was written");
    disk.file.lock().expect("nobody panics").truncate(2);
    assert!(spilled.read().is_err(), "its end is missing");
}

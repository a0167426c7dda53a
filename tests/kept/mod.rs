//! Journals as texts, which are kept in `tests/golden/durable`: a record a line, its kind and its bytes in hex.

use std::path::Path;
use std::time::{Duration, Instant};

use expressway::journal::{
    self, Block, FolderLock, Journal, JournalError, Options, Ownership, Record, Refused, Room, SyncMode,
};

/// Removes a folder with a journal when the threads of the engine that had it have ended: until then they may need another
/// file there, and without that they end the process. An engine that is still there keeps it for longer than this waits.
pub(crate) fn remove(folder: &Path) {
    let (begun, mut lock) = (Instant::now(), FolderLock::of(folder.join("journal")));
    while matches!(lock.claim(), Err(JournalError::Held(_))) && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = std::fs::remove_dir_all(folder);
}

/// The records of the journal in this folder.
pub(crate) fn records(folder: &Path) -> String {
    let mut text = String::new();
    let disk = journal::Folder::at(folder.join("journal"), SyncMode::Data);
    let report = journal::scan(&disk).expect("it is whole");
    let mut lines = |block: &Block<'_>| {
        for record in block.records() {
            let hex: String = record.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            text.push_str(&format!("{} {hex}\n", record.kind));
        }
    };
    report.read(&disk, &mut lines).expect("it is read");
    text
}

/// Writes a journal with these records to the folder.
pub(crate) fn write_records(folder: &Path, text: &str) {
    let options = Options {
        segment_bytes: 256 << 10,
        block_bytes_max: 64 << 10,
        partition: Some(0),
        ..Default::default()
    };
    let journal = folder.join("journal");
    let opened = journal::open(&journal, SyncMode::Data, options, Vec::new(), &mut |_| ());
    let (log, _) = opened.expect("a journal");
    for line in text.lines() {
        let (kind, hex) = line.split_once(' ').expect("a kind and bytes");
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let record = Record { kind: kind.parse().expect("a number"), partition: 0, bytes: &bytes };
        // New segments take their time.
        let last = loop {
            match log.append(record, Room::Ordinary) {
                Err(Refused::Busy) => std::thread::yield_now(),
                appended => break appended.expect("room"),
            }
        };
        log.wait(last).expect("a disk");
    }
    log.close().expect("a disk");
}

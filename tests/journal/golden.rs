//! Journals of each version of the format are kept, and read for ever. `EXPRESSWAY_BLESS=1` writes those of the current
//! version anew; that is for a new version only.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use expressway::journal::{Block, Disk, Folder, Log, Lsn, SyncMode, scan};

use super::{IDENTITY, Kept, commit, small};

fn golden(version: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/journal/version-{version}"))
}

/// The content of a journal, one line per block and record.
fn text(disk: &dyn Disk) -> String {
    let report = scan(disk).expect("nothing is damaged");
    let mut text = String::new();
    let mut line = |block: &Block<'_>| {
        let it = &block.header;
        writeln!(
            text,
            "{} {:?} generation {} epoch {} trimmed {} crc {:08x}",
            it.lsn, it.kind, it.generation, it.epoch, it.trimmed, it.crc
        )
        .expect("a string");
        for record in block.records() {
            let crc = crc32c::crc32c(record.bytes);
            writeln!(
                text,
                "  kind {} partition {} bytes {} crc {crc:08x}",
                record.kind,
                record.partition,
                record.bytes.len()
            )
            .expect("a string");
        }
    };
    report.read(disk, &mut line).expect("it is read");
    text
}

/// The stored journal: two owners, every kind of block, a record in a separate block, a change of segment.
fn write(disk: Arc<dyn Disk>) {
    let record = |kind: u16, bytes: usize| Kept {
        kind,
        partition: kind % 64,
        bytes: (0..bytes).map(|at| (at * 7 + usize::from(kind)) as u8).collect(),
    };
    for owner in 0..2u16 {
        let (mut log, _) = Log::open(disk.clone(), small(), IDENTITY).expect("a journal");
        commit(&mut log, &[record(owner, 0), record(100 + owner, 300), record(64_000, 1)], Lsn(0));
        commit(&mut log, &[record(2, 16_000)], Lsn(0));
        commit(&mut log, &[], Lsn(2));
        commit(&mut log, &[record(3, 12_000)], Lsn(2));
        log.seal().expect("the disk is whole");
    }
}

#[test]
fn version_1_is_read() {
    let expected = std::fs::read_to_string(golden(1).join("blocks.txt")).expect("a kept text");
    assert_eq!(text(&Folder::at(golden(1), SyncMode::Data)), expected);
}

#[test]
fn the_current_version_is_written_byte_for_byte() {
    let folder = std::env::temp_dir().join(format!("expressway-journal-golden-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let bless = std::env::var_os("EXPRESSWAY_BLESS").is_some();
    let place = if bless { golden(expressway::journal::block::VERSION) } else { folder.clone() };
    std::fs::create_dir_all(&place).expect("a folder");
    let disk = Arc::new(Folder::at(&place, SyncMode::Data));
    write(disk.clone());
    if bless {
        std::fs::write(place.join("blocks.txt"), text(&*disk)).expect("a file");
        return;
    }
    let kept = Folder::at(golden(expressway::journal::block::VERSION), SyncMode::Data);
    let segments = |disk: &Folder| {
        let mut names = disk.list().expect("files");
        names.retain(|name| name.ends_with(".wal"));
        names.sort();
        let read = |name: &String| std::fs::read(disk.path().join(name)).expect("a file");
        names.iter().map(|name| (name.clone(), read(name))).collect::<Vec<_>>()
    };
    assert!(segments(&disk) == segments(&kept), "the format has changed: it needs a new version");
    std::fs::remove_dir_all(&folder).expect("the folder");
}

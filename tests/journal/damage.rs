//! Damage to durable data: refused with the place, or proved harmless; never taken for the end.

use std::collections::BTreeMap;

use expressway::journal::block::{HEADER_BYTES, VERSION};
use expressway::journal::model::Model;
use expressway::journal::{Block, BlockKind, Disk, JournalError, Log, Lsn, scan};

use super::required::is_all;
use super::{Kept, blocks, commit, open, small};

/// Blocks with one to three records; forty take four segments.
fn journal(blocks: u16, is_sealed: bool) -> Model {
    let disk = Model::new(1, 1 << 20);
    let (mut log, _) = open(&disk);
    for n in 0..blocks {
        let records: Vec<Kept> = (0..n % 3 + 1)
            .map(|it| Kept {
                kind: it,
                partition: n % 64,
                bytes: vec![n as u8 ^ 0x55; 100 + usize::from(n) * 61],
            })
            .collect();
        commit(&mut log, &records, Lsn(0));
    }
    if is_sealed {
        log.seal().expect("the disk is whole");
    }
    disk
}

/// Where the blocks of a disk stand: file, offset, bytes without padding, number.
fn places(disk: &Model) -> Vec<(String, usize, usize, Lsn)> {
    let mut places = Vec::new();
    for found in scan(disk).expect("nothing is damaged yet").segments {
        let file = disk.read(&found.name).expect("a file");
        let mut bytes = vec![0; found.bytes as usize];
        assert_eq!(file.read_at(&mut bytes, 0).expect("bytes"), bytes.len());
        let mut at = 0;
        while at < found.run.map_or(0, |it| it.end as usize) {
            let block = Block::decode(&bytes[at..]).expect("a block");
            let used = HEADER_BYTES + block.header.body_bytes as usize;
            places.push((found.name.clone(), at, used, block.header.lsn));
            at += block.header.block_bytes();
        }
    }
    places
}

fn flipped(disk: &Model, name: &str, bit: usize) -> Model {
    let copy = disk.copy();
    copy.damage(name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
    copy
}

#[test]
fn a_flipped_bit_is_refused_with_its_block() {
    for is_sealed in [true, false] {
        let disk = journal(40, is_sealed);
        let (whole, all) = blocks(&disk).expect("nothing is damaged yet");
        let places = places(&disk);
        assert!(whole.segments.iter().filter(|it| it.is_live).count() > 3);
        for (name, offset, used, lsn) in &places {
            let bits = if is_all() { 7 } else { 29 };
            let header = (offset * 8..(offset + HEADER_BYTES) * 8).step_by(bits);
            let body = ((offset + HEADER_BYTES) * 8..(offset + used) * 8).step_by(1_009);
            for bit in header.chain(body) {
                match blocks(&flipped(&disk, name, bit)) {
                    Err(JournalError::Damaged { file, offset: at, what }) => {
                        let is_place = file == *name && at == *offset as u64;
                        // The first of a segment is missing where the one before ends.
                        assert!(is_place || *offset == 0, "{lsn}: {file} {at} {what}");
                    }
                    Err(error) => panic!("{error}"),
                    // Nothing is behind the last block: it cannot be distinguished from a torn one, but it is reported.
                    Ok((report, found)) => {
                        assert_eq!(*lsn, whole.last, "bit {bit} of block {lsn}");
                        assert_eq!(found[..], all[..all.len() - 1], "the rest is there");
                        assert_eq!(report.torn, Some((name.clone(), *offset as u64)));
                    }
                }
            }
        }
    }
}

#[test]
fn what_a_seal_follows_cannot_be_lost() {
    let disk = journal(40, true);
    let (report, found) = blocks(&disk).expect("nothing is damaged");
    assert!(report.is_sealed && report.torn.is_none());
    assert_eq!(found.len(), 42, "an epoch, forty, a seal");
    assert!(found.last().expect("one").1.is_empty(), "only the seal itself can be dropped");
}

#[test]
fn the_last_block_cut_at_every_byte_is_torn_and_nothing_else_is_lost() {
    let disk = journal(6, false);
    let (whole, all) = blocks(&disk).expect("nothing is damaged yet");
    let (name, offset, used, lsn) = places(&disk).into_iter().max_by_key(|it| it.3).expect("blocks");
    assert_eq!(lsn, whole.last);
    for rest in [0u8, 0xa5] {
        for cut in 0..used {
            let copy = disk.copy();
            copy.damage(&name, |bytes| {
                bytes[offset + cut..offset + used].iter_mut().for_each(|it| *it = rest);
            });
            let (_, found) = blocks(&copy).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            assert_eq!(found[..], all[..all.len() - 1], "cut at {cut}");
            // The next owner continues in its place.
            if cut % 97 == 0 {
                let (mut log, report) = open(&copy);
                assert_eq!((report.last.next(), log.durable()), (lsn, lsn));
                commit(&mut log, &[], Lsn(0));
                assert_eq!(blocks(&copy).expect("whole again").1[..all.len() - 1], all[..all.len() - 1]);
            }
        }
    }
}

#[test]
fn a_segment_that_is_missing_is_missed() {
    let disk = journal(40, true);
    let live: Vec<String> =
        scan(&disk).unwrap().segments.into_iter().filter(|it| it.is_live).map(|it| it.name).collect();
    for name in &live[..live.len() - 1] {
        let copy = disk.copy();
        copy.remove(name).expect("a file");
        let error = scan(&copy).expect_err("a hole");
        assert!(error.to_string().contains("are missing, and were not given up"), "{error}");
    }
    let other = Model::new(2, 1 << 20);
    drop(Log::open(std::sync::Arc::new(other.clone()), small(), 99).expect("a journal"));
    let copy = disk.copy();
    copy.damage(&live[1], |bytes| {
        let file = other.read("segment-0000000000.wal").expect("a file");
        assert_eq!(file.read_at(bytes, 0).expect("bytes"), bytes.len());
    });
    let error = scan(&copy).expect_err("a stranger");
    assert!(error.to_string().contains("belongs to another journal"), "{error}");
}

#[test]
fn a_newer_version_is_named_and_left_alone() {
    for at_end in [true, false] {
        let disk = journal(6, false);
        let (name, offset, used, _) = places(&disk).into_iter().max_by_key(|it| it.3).expect("blocks");
        let at = if at_end { (offset + used).next_multiple_of(4_096) } else { offset };
        disk.damage(&name, |bytes| {
            let mut header = bytes[offset..offset + HEADER_BYTES].to_vec();
            header[4..6].copy_from_slice(&(VERSION + 1).to_le_bytes());
            let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..8]), &header[12..]);
            header[8..12].copy_from_slice(&crc.to_le_bytes());
            bytes[at..at + HEADER_BYTES].copy_from_slice(&header);
        });
        let before = disk.operations();
        let error = Log::open(std::sync::Arc::new(disk.clone()), small(), 1).err().expect("is refused");
        let expected = format!(
            "{name}, offset {at}, is in version 2 of the journal's format; this release reads up to 1"
        );
        assert_eq!(error.to_string(), expected);
        assert_eq!(disk.operations(), before, "nothing was written");
    }
}

#[test]
fn segments_are_used_again_behind_the_mark_only() {
    let disk = Model::new(3, 6 * (64 << 10));
    let (mut log, _) = open(&disk);
    let record = |n: u64| vec![Kept { kind: 1, partition: 0, bytes: n.to_le_bytes().repeat(1_500) }];
    let mut written = BTreeMap::new();
    for n in 2..400u64 {
        if log.wants_spare() {
            log.plan().carry_out().into_iter().for_each(|segment| log.add_spare(segment));
        }
        // The mark is behind by seven blocks, and one old reader never sees a number change.
        let trim = Lsn(n.saturating_sub(7));
        written.insert(commit(&mut log, &record(n), trim), record(n));
        log.clean().expect("files can be taken away");
        let (report, found) = blocks(&disk).expect("nothing is damaged");
        assert_eq!(report.trimmed, trim.max(report.trimmed));
        for (lsn, records) in found.into_iter().filter(|(lsn, _)| *lsn > Lsn(1)) {
            assert_eq!(records, written[&lsn]);
        }
    }
    let (report, _) = blocks(&disk).unwrap();
    assert!(report.generation > 70, "each use has a generation: {}", report.generation);
    assert!(disk.list().unwrap().len() <= 6, "and the disk did not grow");
}

#[test]
fn epochs_and_kinds_are_told() {
    let disk = Model::new(4, 1 << 20);
    for epoch in 1..4 {
        let (mut log, report) = open(&disk);
        assert_eq!((report.epoch, report.is_sealed), (epoch - 1, epoch > 1));
        commit(&mut log, &[], Lsn(0));
        log.seal().unwrap();
    }
    let mut kinds = Vec::new();
    let report = scan(&disk).unwrap();
    report.read(&disk, &mut |block| kinds.push((block.header.epoch, block.header.kind))).unwrap();
    let one = |epoch| [BlockKind::Epoch, BlockKind::Mark, BlockKind::Seal].map(|kind| (epoch, kind));
    assert_eq!(kinds, [1, 2, 3].map(one).concat());
}

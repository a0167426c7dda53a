//! The format of blocks: written blocks can be read, and nothing else is accepted as a block.

use expressway::journal::block::{ALIGNMENT, Batch, HEADER_BYTES, NoBlock, SHARED, VERSION};
use expressway::journal::{Block, BlockKind, Header, Lsn, Record};
use proptest::prelude::*;

#[path = "../../fuzz/bodies/journal_block.rs"]
mod body;

use super::Kept;
use super::required::some_of;

fn header(kind: BlockKind) -> Header {
    Header {
        kind,
        journal: super::IDENTITY,
        lsn: Lsn(7),
        generation: 3,
        epoch: 2,
        trimmed: Lsn(5),
        body_bytes: 0,
        records: 0,
        previous: 0xdead_beef,
        partition: SHARED,
        body_crc: 0,
        crc: 0,
    }
}

fn block(records: &[Kept]) -> Vec<u8> {
    let bytes = records.iter().map(|it| it.bytes.len() + 8).sum();
    let mut batch = Batch::with_capacity(bytes);
    for record in records {
        batch.push(record.record());
    }
    let kind = if records.is_empty() { BlockKind::Mark } else { BlockKind::Records };
    batch.seal(&mut header(kind)).to_vec()
}

fn kept() -> impl Strategy<Value = Vec<Kept>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..3_000);
    let one =
        (any::<u16>(), 0u16..64, bytes).prop_map(|(kind, partition, bytes)| Kept { kind, partition, bytes });
    proptest::collection::vec(one, 0..12)
}

/// A block with its checksums made right after a change.
fn mended(mut bytes: Vec<u8>, body_bytes: usize) -> Vec<u8> {
    let body = crc32c::crc32c(&bytes[HEADER_BYTES..HEADER_BYTES + body_bytes]);
    bytes[12..16].copy_from_slice(&body.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..8]), &bytes[12..HEADER_BYTES]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(some_of(256, 4) as u32))]

    #[test]
    fn what_is_written_is_read(records in kept()) {
        let bytes = block(&records);
        prop_assert_eq!(bytes.len() % ALIGNMENT, 0);
        let found = Block::decode(&bytes).expect("a block");
        prop_assert_eq!(found.header.lsn, Lsn(7));
        prop_assert_eq!(found.header.trimmed, Lsn(5));
        prop_assert_eq!(found.header.block_bytes(), bytes.len());
        prop_assert_eq!(found.records().map(Kept::of).collect::<Vec<_>>(), records);
    }

    #[test]
    fn one_changed_byte_is_found(records in kept(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut bytes = block(&records);
        let used = HEADER_BYTES + records.iter().map(|it| it.bytes.len() + 8).sum::<usize>();
        bytes[at.index(used)] ^= flip;
        prop_assert_eq!(Block::decode(&bytes).err(), Some(NoBlock::Torn));
    }

    #[test]
    fn a_beginning_is_no_block(records in kept(), at in any::<prop::sample::Index>()) {
        let bytes = block(&records);
        let used = HEADER_BYTES + records.iter().map(|it| it.bytes.len() + 8).sum::<usize>();
        prop_assert_eq!(Block::decode(&bytes[..at.index(used)]).err(), Some(NoBlock::Torn));
    }

    #[test]
    fn bytes_of_any_kind_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..9_000)) {
        body::run(&bytes);
    }
}

#[test]
fn lengths_and_counts_that_do_not_agree_are_refused() {
    let whole = block(&[Kept { kind: 1, partition: 63, bytes: b"record".to_vec() }]);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        Block::decode(&mended(bytes, 14)).expect_err("is refused")
    };
    type Damage<'d> = &'d dyn Fn(&mut Vec<u8>);
    let cases: [(&str, Damage); 7] = [
        ("a record is longer than its block", &|it| it[HEADER_BYTES] = 200),
        ("a record is of another partition", &|it| it[HEADER_BYTES + 6] = 64),
        ("the number of records is wrong", &|it| it[60] = 2),
        ("the block's kind is unknown", &|it| it[70] = 9),
        ("the block's partition is out of range", &|it| it[68..70].copy_from_slice(&[64, 0])),
        ("the header does not end in zeros", &|it| it[79] = 1),
        ("sequence numbers begin with 1", &|it| it[24] = 0),
    ];
    for (text, change) in cases {
        assert_eq!(changed(change), NoBlock::Malformed(text));
    }
    let newer = changed(&|it| it[4..6].copy_from_slice(&(VERSION + 1).to_le_bytes()));
    assert_eq!(newer, NoBlock::Version { version: VERSION + 1, journal: super::IDENTITY });
}

#[test]
fn a_record_of_no_bytes_is_a_record() {
    let empty = Kept { kind: 0, partition: 0, bytes: Vec::new() };
    let bytes = block(&[empty.clone(), empty.clone()]);
    let found: Vec<Kept> = Block::decode(&bytes).unwrap().records().map(Kept::of).collect();
    assert_eq!(found, [empty.clone(), empty]);
}

#[test]
fn the_kept_corpus() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/journal_block");
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is kept in the repository") {
        let data = std::fs::read(entry.expect("an entry").path()).expect("a readable file");
        body::run(&data);
        for at in (0..data.len()).take(400) {
            body::run(&data[..at]);
            body::run(&[&data[..at], &data[at + 1..]].concat());
        }
        files += 1;
    }
    assert!(files > 0, "{} is empty", folder.display());
}

#[test]
fn a_batch_holds_what_it_says() {
    let mut batch = Batch::with_capacity(100);
    assert!(batch.fits(ALIGNMENT - HEADER_BYTES - 8), "a page is the least");
    assert!(!batch.fits(ALIGNMENT - HEADER_BYTES - 7));
    batch.push(Record { kind: 1, partition: 2, bytes: &[7; 4_000] });
    assert_eq!((batch.records(), batch.block_bytes()), (1, ALIGNMENT));
    let address = batch.seal(&mut header(BlockKind::Records)).as_ptr();
    assert_eq!(address.align_offset(ALIGNMENT), 0, "for writes past the page cache");
    batch.clear();
    assert_eq!(batch.records(), 0);
}

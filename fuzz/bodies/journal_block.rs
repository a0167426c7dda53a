//! Any bytes: read without a panic; a valid block is the same once written again.

use std::sync::Arc;

use expressway::journal::block::{Batch, HEADER_BYTES};
use expressway::journal::model::Model;
use expressway::journal::{Block, Disk, scan};

pub(crate) fn run(bytes: &[u8]) {
    one(bytes);
    // With a header and checksums that are right, so that what is behind them is reached.
    if bytes.len() >= HEADER_BYTES {
        let mut mended = bytes.to_vec();
        mended[..8].copy_from_slice(&[b'X', b'P', b'J', b'B', 1, 0, HEADER_BYTES as u8, 0]);
        let body = (bytes.len() - HEADER_BYTES) as u32;
        mended[56..60].copy_from_slice(&body.to_le_bytes());
        let body_crc = crc32c::crc32c(&mended[HEADER_BYTES..]);
        mended[12..16].copy_from_slice(&body_crc.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&mended[..8]), &mended[12..HEADER_BYTES]);
        mended[8..12].copy_from_slice(&crc.to_le_bytes());
        one(&mended);
    }
}

fn one(bytes: &[u8]) {
    if let Ok(block) = Block::decode(bytes) {
        let mut batch = Batch::with_capacity(block.header.body_bytes as usize);
        for record in block.records() {
            batch.push(record);
        }
        let mut header = block.header;
        let written = batch.seal(&mut header);
        assert_eq!(header, block.header, "the header says of the block what is true");
        let used = HEADER_BYTES + block.header.body_bytes as usize;
        assert_eq!(written[..used], bytes[..used], "there is one way to write a block");
    }
    // As a segment, whole sectors of it.
    let disk = Arc::new(Model::new(0, u64::MAX));
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(512), 0);
    let file = disk.create("segment-0000000000.wal").expect("a file");
    if !padded.is_empty() {
        file.write_at(&padded, 0).expect("room");
    }
    if let Ok(report) = scan(&*disk) {
        let mut blocks = 0;
        let read = report.read(&*disk, &mut |_| blocks += 1);
        assert!(read.is_err() || blocks <= report.blocks);
    }
}

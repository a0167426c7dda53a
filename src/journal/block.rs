//! The bytes of a block, the same in a folder's segment and in a row or message of a database.
//!
//! A block is a header of [`HEADER_BYTES`], records, and zeros up to a multiple of [`ALIGNMENT`]. All numbers are
//! little-endian.
//!
//! | at | bytes | what |
//! |--:|--:|---|
//! | 0 | 4 | `XPJB` |
//! | 4 | 2 | version of the format |
//! | 6 | 2 | bytes of the header |
//! | 8 | 4 | CRC-32C of the header but for these four bytes |
//! | 12 | 4 | CRC-32C of the body |
//! | 16 | 8 | identity of the journal |
//! | 24 | 8 | sequence number (LSN) |
//! | 32 | 8 | generation of the segment's use |
//! | 40 | 8 | epoch of the owner |
//! | 48 | 8 | sequence number before which blocks may be gone |
//! | 56 | 4 | bytes of the body |
//! | 60 | 4 | number of records |
//! | 64 | 4 | CRC-32C of the header of the block before; 0 in the first |
//! | 68 | 2 | partition, or [`SHARED`] when each record has its own |
//! | 70 | 2 | kind of block |
//! | 72 | 8 | zeros |
//!
//! The first 24 bytes have the same meaning in every version, and each version's header has its CRC there: a reader
//! recognizes a newer block, and stops.
//!
//! A record is its length (4), kind (2), partition (2), and bytes. Kinds of records are defined by the code that writes
//! them.

use super::Lsn;
use crate::limits::JOURNAL_PARTITIONS;

/// Blocks begin at multiples of this: required by a write without the page cache, and the page size of most disks.
pub const ALIGNMENT: usize = 4_096;
/// Bytes before a block's records.
pub const HEADER_BYTES: usize = 80;
/// Bytes before a record's own.
pub const RECORD_HEADER_BYTES: usize = 8;
/// The version that is written.
pub const VERSION: u16 = 1;
/// In place of a block's partition: each record has its own.
pub const SHARED: u16 = u16::MAX;
const MAGIC: [u8; 4] = *b"XPJB";

/// The purpose of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// It has records.
    Records,
    /// The first block of a new owner.
    Epoch,
    /// Only a header: the number before which blocks may be gone.
    Mark,
    /// An owner ended in order.
    Seal,
}

impl BlockKind {
    fn of(code: u16) -> Option<BlockKind> {
        [BlockKind::Records, BlockKind::Epoch, BlockKind::Mark, BlockKind::Seal]
            .get(usize::from(code))
            .copied()
    }
}

/// The content of a block's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The block's purpose.
    pub kind: BlockKind,
    /// The identity of the journal, so that another journal's block is not taken for one of its own.
    pub journal: u64,
    /// The block's sequence number.
    pub lsn: Lsn,
    /// The use of the segment in which the block was written; each use has a higher one.
    pub generation: u64,
    /// The owner that wrote it.
    pub epoch: u64,
    /// Blocks before this one may be gone.
    pub trimmed: Lsn,
    /// Bytes of the records.
    pub body_bytes: u32,
    /// How many records.
    pub records: u32,
    /// The [`Header::crc`] of the block before.
    pub previous: u32,
    /// The partition of all records, or [`SHARED`].
    pub partition: u16,
    /// CRC-32C of the body.
    pub body_crc: u32,
    /// CRC-32C of the header, including the body's CRC: it identifies the whole block.
    pub crc: u32,
}

impl Header {
    /// Bytes that the block takes, its zeros included.
    pub fn block_bytes(&self) -> usize {
        padded(HEADER_BYTES + self.body_bytes as usize)
    }

    /// The header's bytes; `crc` is computed, not taken.
    fn encode(&mut self, bytes: &mut [u8]) {
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6..8].copy_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
        bytes[12..16].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.journal.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.lsn.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.generation.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.trimmed.0.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[60..64].copy_from_slice(&self.records.to_le_bytes());
        bytes[64..68].copy_from_slice(&self.previous.to_le_bytes());
        bytes[68..70].copy_from_slice(&self.partition.to_le_bytes());
        bytes[70..72].copy_from_slice(&(self.kind as u16).to_le_bytes());
        bytes[72..80].fill(0);
        self.crc = header_crc(&bytes[..HEADER_BYTES]);
        bytes[8..12].copy_from_slice(&self.crc.to_le_bytes());
    }

    /// The header at the beginning of some bytes.
    pub fn decode(bytes: &[u8]) -> Result<Header, NoBlock> {
        if bytes.len() < HEADER_BYTES || bytes[..4] != MAGIC {
            return Err(NoBlock::Torn);
        }
        let (version, length) = (u16_at(bytes, 4), usize::from(u16_at(bytes, 6)));
        let is_header =
            (24..=bytes.len()).contains(&length) && u32_at(bytes, 8) == header_crc(&bytes[..length]);
        match (is_header, version) {
            (false, _) => return Err(NoBlock::Torn),
            (true, VERSION) if length == HEADER_BYTES => {}
            (true, _) => return Err(NoBlock::Version { version, journal: u64_at(bytes, 16) }),
        }
        let header = Header {
            kind: BlockKind::of(u16_at(bytes, 70))
                .ok_or(NoBlock::Malformed("the block's kind is unknown"))?,
            journal: u64_at(bytes, 16),
            lsn: Lsn(u64_at(bytes, 24)),
            generation: u64_at(bytes, 32),
            epoch: u64_at(bytes, 40),
            trimmed: Lsn(u64_at(bytes, 48)),
            body_bytes: u32_at(bytes, 56),
            records: u32_at(bytes, 60),
            previous: u32_at(bytes, 64),
            partition: u16_at(bytes, 68),
            body_crc: u32_at(bytes, 12),
            crc: u32_at(bytes, 8),
        };
        match () {
            _ if header.lsn.0 == 0 => Err(NoBlock::Malformed("sequence numbers begin with 1")),
            _ if header.partition >= JOURNAL_PARTITIONS && header.partition != SHARED => {
                Err(NoBlock::Malformed("the block's partition is out of range"))
            }
            _ if u64_at(bytes, 72) != 0 => Err(NoBlock::Malformed("the header does not end in zeros")),
            () => Ok(header),
        }
    }
}

/// Why bytes are not a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBlock {
    /// They never were one, or were not written completely, or have changed since.
    Torn,
    /// A block, but in a format that this code does not know.
    Version {
        /// The version it has.
        version: u16,
        /// The journal it belongs to.
        journal: u64,
    },
    /// A block with correct checksums that no writer writes.
    Malformed(&'static str),
}

/// One record of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its kind, defined by its writer.
    pub kind: u16,
    /// The partition it belongs to.
    pub partition: u16,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// A whole block, checked.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// Its header.
    pub header: Header,
    body: &'a [u8],
}

impl<'a> Block<'a> {
    /// Decodes the block at the beginning of some bytes: checks both checksums, and the form of its records.
    pub fn decode(bytes: &'a [u8]) -> Result<Block<'a>, NoBlock> {
        let header = Header::decode(bytes)?;
        let end = HEADER_BYTES + header.body_bytes as usize;
        let body = bytes.get(HEADER_BYTES..end).ok_or(NoBlock::Torn)?;
        if crc32c::crc32c(body) != header.body_crc {
            return Err(NoBlock::Torn);
        }
        check_records(&header, body)?;
        Ok(Block { header, body })
    }

    /// Its records, in the order in which they were appended.
    pub fn records(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        records(self.body)
    }
}

/// The records of a block whose form was checked, or that is being filled.
fn records(mut rest: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (record, after) = split_record(rest).expect("the form was checked when the block was read");
        rest = after;
        Some(record)
    })
}

fn check_records(header: &Header, body: &[u8]) -> Result<(), NoBlock> {
    let (mut rest, mut found) = (body, 0u32);
    while !rest.is_empty() {
        let (record, after) =
            split_record(rest).ok_or(NoBlock::Malformed("a record is longer than its block"))?;
        let is_right = match header.partition {
            SHARED => record.partition < JOURNAL_PARTITIONS,
            one => record.partition == one,
        };
        if !is_right {
            return Err(NoBlock::Malformed("a record is of another partition"));
        }
        (rest, found) = (after, found + 1);
    }
    if found == header.records && (found > 0) == (header.kind == BlockKind::Records) {
        Ok(())
    } else {
        Err(NoBlock::Malformed("the number of records is wrong"))
    }
}

fn split_record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (head, rest) = bytes.split_at_checked(RECORD_HEADER_BYTES)?;
    let (bytes, rest) = rest.split_at_checked(u32_at(head, 0) as usize)?;
    Some((Record { kind: u16_at(head, 4), partition: u16_at(head, 6), bytes }, rest))
}

/// A block that is being filled: in memory as on disk, so that a record is copied once.
#[derive(Debug)]
pub struct Batch {
    /// The block begins in it at an address that is a multiple of [`ALIGNMENT`].
    memory: Vec<u8>,
    begin: usize,
    /// Bytes from there, header included.
    used: usize,
    records: u32,
}

impl Batch {
    /// An empty block that takes records up to so many bytes, their own headers included.
    pub fn with_capacity(body_bytes: usize) -> Batch {
        let memory = vec![0; padded(HEADER_BYTES + body_bytes) + ALIGNMENT];
        let begin = memory.as_ptr().align_offset(ALIGNMENT);
        assert!(begin < ALIGNMENT, "an address can be aligned");
        Batch { memory, begin, used: HEADER_BYTES, records: 0 }
    }

    /// Removes all records.
    pub fn clear(&mut self) {
        (self.used, self.records) = (HEADER_BYTES, 0);
    }

    /// Bytes that the block will take.
    pub fn block_bytes(&self) -> usize {
        padded(self.used)
    }

    /// How many records it has.
    pub fn records(&self) -> usize {
        self.records as usize
    }

    /// Bytes of header and records with one more record, without padding.
    pub(super) fn bytes_with(&self, bytes: usize) -> usize {
        self.used + RECORD_HEADER_BYTES + bytes
    }

    /// Whether it was made for so many bytes.
    pub(super) fn has_capacity(&self, body_bytes: usize) -> bool {
        self.memory.len() == padded(HEADER_BYTES + body_bytes) + ALIGNMENT
    }

    /// Whether one more record of so many bytes fits.
    pub fn fits(&self, bytes: usize) -> bool {
        self.used + RECORD_HEADER_BYTES + bytes <= self.memory.len() - ALIGNMENT
    }

    /// Appends a record, which has to fit.
    pub fn push(&mut self, record: Record<'_>) {
        assert!(self.fits(record.bytes.len()), "the caller checks that the record fits");
        let at = self.begin + self.used;
        let (head, rest) = self.memory[at..].split_at_mut(RECORD_HEADER_BYTES);
        head[..4].copy_from_slice(&(record.bytes.len() as u32).to_le_bytes());
        head[4..6].copy_from_slice(&record.kind.to_le_bytes());
        head[6..8].copy_from_slice(&record.partition.to_le_bytes());
        rest[..record.bytes.len()].copy_from_slice(record.bytes);
        self.used += RECORD_HEADER_BYTES + record.bytes.len();
        self.records += 1;
    }

    /// Its records, in the order in which they were appended.
    #[cfg(feature = "clustered")]
    pub(super) fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        records(&self.memory[self.begin + HEADER_BYTES..self.begin + self.used])
    }

    /// Bytes of zero, at an aligned address.
    pub(super) fn zeros(&mut self, bytes: usize) -> &[u8] {
        self.clear();
        &self.memory[self.begin..self.begin + bytes]
    }

    /// A block as it was read, at an aligned address.
    pub(super) fn copy(&mut self, block: &[u8]) -> &[u8] {
        let memory = &mut self.memory[self.begin..self.begin + block.len()];
        memory.copy_from_slice(block);
        memory
    }

    /// Writes the header before the records and the padding behind them. The fields that depend on the records are
    /// computed.
    pub fn seal(&mut self, header: &mut Header) -> &[u8] {
        let block = &mut self.memory[self.begin..self.begin + padded(self.used)];
        block[self.used..].fill(0);
        header.body_bytes = (self.used - HEADER_BYTES) as u32;
        header.records = self.records;
        header.body_crc = crc32c::crc32c(&block[HEADER_BYTES..self.used]);
        header.encode(block);
        block
    }
}

/// Whether bytes that are not a block may be the damaged header of one with this number.
pub(super) fn resembles(bytes: &[u8], lsn: Lsn) -> bool {
    u64_at(bytes, 24) == lsn.0 || (bytes[..4] == MAGIC && Header::decode(bytes) == Err(NoBlock::Torn))
}

/// A length, rounded up to the next multiple of [`ALIGNMENT`].
pub(super) fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

fn header_crc(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..8]), &header[12..])
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

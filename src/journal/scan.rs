//! Reading a journal: finds its blocks, the end of the chain, and damage.

use std::io;

use super::block::{ALIGNMENT, Block, BlockKind, HEADER_BYTES, Header, NoBlock, padded};
use super::disk::{Disk, DiskFile, read_full};
use super::{JournalError, Lsn, block, segment};

/// Bytes that are read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// The result of scanning a journal.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Its identity; `None` before the first block.
    pub journal: Option<u64>,
    /// The first existing block.
    pub first: Lsn,
    /// The last block of the chain; 0 when there is none.
    pub last: Lsn,
    /// Blocks before this one may be gone.
    pub trimmed: Lsn,
    /// The last owner's epoch.
    pub epoch: u64,
    /// The highest generation.
    pub generation: u64,
    /// Whether the last owner ended in order.
    pub is_sealed: bool,
    /// Blocks of the chain, and their records and bytes, including padding.
    pub blocks: u64,
    /// See `blocks`.
    pub records: u64,
    /// See `blocks`.
    pub bytes: u64,
    /// A block that was not written completely, and was dropped: the file, the offset.
    pub torn: Option<(String, u64)>,
    /// All segments, those of the chain first and in its order.
    pub segments: Vec<Found>,
    pub(super) last_crc: u32,
}

/// A segment that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The file.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its blocks of one use, from the beginning of the file.
    pub run: Option<Run>,
    /// Whether they are part of the chain.
    pub is_live: bool,
}

/// Blocks that follow each other in one segment.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The header of the first.
    pub first: Header,
    /// The header of the last.
    pub last: Header,
    /// The offset of the last.
    pub last_offset: u64,
    /// The offset of the next one.
    pub end: u64,
    /// How many blocks.
    pub blocks: u64,
    /// How many records in them.
    pub records: u64,
}

/// A remainder behind a run: the highest number of a block that begins there, complete or not.
struct Stray {
    name: String,
    offset: u64,
    lsn: Lsn,
}

/// Reads all of a journal, and nothing else: it may be in use, and then its end may be about to be written. A block
/// that is hidden by damage is an error.
pub fn scan(disk: &dyn Disk) -> Result<Report, JournalError> {
    let (mut segments, mut strays, mut window) = (Vec::new(), Vec::new(), Window::default());
    let mut names = disk.list().map_err(JournalError::io("listing the journal's files"))?;
    names.retain(|name| segment::number(name).is_some());
    names.sort();
    for name in names {
        let file = disk.read(&name).map_err(JournalError::io(disk.describe(&name)))?;
        let bytes = file.bytes().map_err(JournalError::io(disk.describe(&name)))?;
        let mut reader = Reader::new(disk, &name, &*file, bytes, &mut window);
        let run = reader.run()?;
        reader.strays(run.map_or(0, |run| run.end), &mut strays)?;
        segments.push(Found { name, bytes, run, is_live: false });
    }
    let mut report = chain(disk, segments)?;
    check_ends(disk, &mut report, &strays)?;
    Ok(report)
}

/// Orders segments, and finds the chain that ends with the highest number.
fn chain(disk: &dyn Disk, mut segments: Vec<Found>) -> Result<Report, JournalError> {
    segments.sort_by_key(|it| (it.run.is_none(), it.run.map(|run| (run.first.lsn, run.first.generation))));
    let count = segments.iter().filter(|it| it.run.is_some()).count();
    let Some(top) = count.checked_sub(1) else { return Ok(Report { segments, ..Report::default() }) };
    let run = |segments: &[Found], at: usize| segments[at].run.expect("those with blocks are first");
    let journal = run(&segments, top).first.journal;
    if let Some(other) =
        segments[..count].iter().find(|it| it.run.is_some_and(|run| run.first.journal != journal))
    {
        let what = "the segment belongs to another journal".to_owned();
        return Err(JournalError::Damaged { file: disk.describe(&other.name), offset: 0, what });
    }
    let mut begin = top;
    while begin > 0 {
        let (before, after) = (run(&segments, begin - 1).last, run(&segments, begin).first);
        if before.lsn.next() != after.lsn || before.crc != after.previous {
            break;
        }
        begin -= 1;
    }
    let last = run(&segments, top).last;
    let mut report = Report {
        journal: Some(journal),
        first: run(&segments, begin).first.lsn,
        last: last.lsn,
        trimmed: last.trimmed,
        epoch: last.epoch,
        is_sealed: last.kind == BlockKind::Seal,
        last_crc: last.crc,
        ..Report::default()
    };
    if report.first > report.trimmed.max(Lsn(1)) {
        let before = begin.checked_sub(1).map(|at| (&segments[at], run(&segments, at)));
        let (file, offset) = match before {
            Some((segment, run)) => (&segment.name, run.end),
            None => (&segments[begin].name, 0),
        };
        let what = format!("blocks before {} are missing, and were not given up", report.first);
        return Err(JournalError::Damaged { file: disk.describe(file), offset, what });
    }
    for found in &mut segments[begin..count] {
        let run = found.run.expect("those with blocks are first");
        found.is_live = true;
        report.blocks += run.blocks;
        report.records += run.records;
        report.bytes += run.end;
    }
    segments.rotate_left(begin);
    report.segments = segments;
    Ok(report)
}

/// A block more than one number behind the end proves that one before it was durable: it is damaged.
fn check_ends(disk: &dyn Disk, report: &mut Report, strays: &[Stray]) -> Result<(), JournalError> {
    report.generation =
        (report.segments.iter()).filter_map(|it| it.run.map(|run| run.last.generation)).max().unwrap_or(0);
    let tail = report.segments.iter().rfind(|it| it.is_live);
    let end = tail.map(|it| (it.name.clone(), it.run.expect("a live segment has blocks").end));
    if let Some(stray) = strays.iter().find(|it| it.lsn > report.last.next()) {
        let (file, offset) = end.unwrap_or_else(|| (stray.name.clone(), 0));
        let what = format!(
            "block {} is not whole, and block {} stands behind it ({}, offset {})",
            report.last.next(),
            stray.lsn,
            disk.describe(&stray.name),
            stray.offset
        );
        return Err(JournalError::Damaged { file: disk.describe(&file), offset, what });
    }
    let torn = strays.iter().find(|it| it.lsn == report.last.next());
    report.torn = torn.map(|it| (disk.describe(&it.name), it.offset));
    // Its header may be the incomplete part: at the next block's place, behind the last or in another segment.
    let blank = report.segments.iter().filter(|it| it.run.is_none()).map(|it| (it.name.clone(), 0));
    for (name, offset) in end.into_iter().chain(blank) {
        let file = disk.read(&name).map_err(JournalError::io(disk.describe(&name)))?;
        let mut begin = [0; HEADER_BYTES];
        read_full(&*file, &mut begin, offset).map_err(JournalError::io(disk.describe(&name)))?;
        if report.torn.is_none() && block::resembles(&begin, report.last.next()) {
            report.torn = Some((disk.describe(&name), offset));
        }
    }
    Ok(())
}

/// Reads the live blocks of a scanned journal from a number on, in order.
pub(super) fn read(
    disk: &dyn Disk,
    segments: &[String],
    (mut next, last): (Lsn, Lsn),
    visit: &mut dyn FnMut(&Block<'_>),
) -> Result<(), JournalError> {
    let mut window = Window::default();
    for name in segments {
        let file = disk.read(name).map_err(JournalError::io(disk.describe(name)))?;
        let bytes = file.bytes().map_err(JournalError::io(disk.describe(name)))?;
        let mut reader = Reader::new(disk, name, &*file, bytes, &mut window);
        let mut offset = 0;
        while let Some(block) = reader.block(offset)? {
            if block.header.lsn > last {
                return Ok(());
            }
            offset += block.header.block_bytes() as u64;
            match block.header.lsn.cmp(&next) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => {
                    visit(&block);
                    next = next.next();
                }
                std::cmp::Ordering::Greater => break,
            }
        }
    }
    if next > last {
        Ok(())
    } else {
        Err(JournalError::Damaged {
            file: segments.last().map_or_else(String::new, |name| disk.describe(name)),
            offset: 0,
            what: format!("block {next} was there, and cannot be read any more"),
        })
    }
}

impl Report {
    /// The blocks of the chain that are in use, in order.
    pub fn read(&self, disk: &dyn Disk, visit: &mut dyn FnMut(&Block<'_>)) -> Result<(), JournalError> {
        let live: Vec<String> =
            self.segments.iter().filter(|it| it.is_live).map(|it| it.name.clone()).collect();
        match self.last {
            Lsn(0) => Ok(()),
            last => read(disk, &live, (self.first.max(self.trimmed), last), visit),
        }
    }
}

/// A part of a file in memory.
#[derive(Default)]
struct Window {
    memory: Vec<u8>,
    begin: u64,
    bytes: usize,
}

struct Reader<'a> {
    disk: &'a dyn Disk,
    name: &'a str,
    file: &'a dyn DiskFile,
    bytes: u64,
    window: &'a mut Window,
}

impl<'a> Reader<'a> {
    fn new(
        disk: &'a dyn Disk,
        name: &'a str,
        file: &'a dyn DiskFile,
        bytes: u64,
        window: &'a mut Window,
    ) -> Reader<'a> {
        window.bytes = 0;
        Reader { disk, name, file, bytes, window }
    }

    /// Some bytes of the file; fewer at its end.
    fn get(&mut self, offset: u64, bytes: usize) -> Result<&[u8], JournalError> {
        let bytes = bytes.min(self.bytes.saturating_sub(offset) as usize);
        let window = &mut *self.window;
        let is_there = window.bytes > 0
            && window.begin <= offset
            && offset + bytes as u64 <= window.begin + window.bytes as u64;
        if !is_there {
            let rest = self.bytes.saturating_sub(offset);
            let wanted = bytes.max(WINDOW_BYTES.min(rest as usize));
            if window.memory.len() < wanted {
                window.memory = vec![0; wanted];
            }
            let read: io::Result<usize> = read_full(self.file, &mut window.memory[..wanted], offset);
            window.bytes = read.map_err(JournalError::io(self.disk.describe(self.name)))?;
            window.begin = offset;
        }
        let at = (offset - self.window.begin) as usize;
        let end = (at + bytes).min(self.window.bytes);
        Ok(&self.window.memory[at.min(end)..end])
    }

    /// The block at an offset, if a complete one is there.
    fn block(&mut self, offset: u64) -> Result<Option<Block<'_>>, JournalError> {
        let bytes = match Header::decode(self.get(offset, HEADER_BYTES)?) {
            Ok(header) => header.block_bytes(),
            Err(NoBlock::Torn) => return Ok(None),
            Err(other) => return Err(self.refuse(offset, other)),
        };
        let (file, name) = (self.disk, self.name);
        match Block::decode(self.get(offset, bytes)?) {
            Ok(block) => Ok(Some(block)),
            Err(NoBlock::Torn) => Ok(None),
            Err(other) => Err(refuse(file, name, offset, other)),
        }
    }

    fn refuse(&self, offset: u64, why: NoBlock) -> JournalError {
        refuse(self.disk, self.name, offset, why)
    }

    /// The blocks of one use, from the beginning of the file.
    fn run(&mut self) -> Result<Option<Run>, JournalError> {
        let (mut run, mut offset) = (None::<Run>, 0);
        while let Some(block) = self.block(offset)? {
            let header = block.header;
            let end = offset + header.block_bytes() as u64;
            match &mut run {
                None => {
                    let (first, last) = (header, header);
                    let records = u64::from(header.records);
                    run = Some(Run { first, last, last_offset: 0, end, blocks: 1, records });
                }
                Some(run) => {
                    let last = &run.last;
                    let follows = (header.journal, header.generation) == (last.journal, last.generation)
                        && (header.lsn, header.previous) == (last.lsn.next(), last.crc);
                    if !follows {
                        break;
                    }
                    (run.last, run.last_offset, run.end) = (header, offset, end);
                    run.blocks += 1;
                    run.records += u64::from(header.records);
                }
            }
            offset = end;
        }
        Ok(run)
    }

    /// Blocks that begin behind a run: the one with the highest number. A header is enough: it was written after the block
    /// before was durable.
    fn strays(&mut self, begin: u64, found: &mut Vec<Stray>) -> Result<(), JournalError> {
        let (mut offset, mut highest) = (begin, None::<(Lsn, u64)>);
        while offset < self.bytes {
            if let Ok(header) = Header::decode(self.get(offset, HEADER_BYTES)?)
                && highest.is_none_or(|(lsn, _)| lsn < header.lsn)
            {
                highest = Some((header.lsn, offset));
            }
            offset += ALIGNMENT as u64;
        }
        found.extend(highest.map(|(lsn, offset)| Stray { name: self.name.to_owned(), offset, lsn }));
        Ok(())
    }
}

fn refuse(disk: &dyn Disk, name: &str, offset: u64, why: NoBlock) -> JournalError {
    let file = disk.describe(name);
    match why {
        NoBlock::Version { version, .. } => JournalError::Newer { file, offset, version },
        NoBlock::Malformed(what) => JournalError::Damaged { file, offset, what: what.to_owned() },
        NoBlock::Torn => unreachable!("what is torn ends a run, and is no error"),
    }
}

/// The bytes of the last block of a run.
pub(super) fn last_block(disk: &dyn Disk, found: &Found) -> Result<Vec<u8>, JournalError> {
    let run = found.run.expect("asked of a segment with blocks");
    let file = disk.read(&found.name).map_err(JournalError::io(disk.describe(&found.name)))?;
    let mut bytes = vec![0; padded(run.last.block_bytes())];
    read_full(&*file, &mut bytes, run.last_offset).map_err(JournalError::io(disk.describe(&found.name)))?;
    Ok(bytes)
}

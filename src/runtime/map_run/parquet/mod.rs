//! Rows of a Parquet file as items: its footer is read first, then one row group after the other.
//!
//! A row group is in memory as it is stored, and of each of its columns the pages that the next rows take. Bytes are read
//! on the shard; the `unpacker`, which makes rows of them, works elsewhere. Sizes that the file claims are not trusted:
//! `footer` checks the schema before it is decoded, and `pages` checks each page before its values are. If the decoder
//! panics nevertheless, that is an error of the data.

mod delta;
mod footer;
mod levels;
mod pages;
mod unpacker;
mod values;

use std::collections::VecDeque;
use std::io::{self, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::FooterTail;

use self::unpacker::{Next, Step, Unpacker, failed, not_parquet};
use super::holding::Bounds;
use crate::fault::Fault;
use crate::runtime::background::{BackgroundWork, DropsInBackground};
use crate::task::data::{self, Source};

/// Bytes of a footer (AWS: 5 MB).
const FOOTER_BYTES_MAX: u64 = 5 << 20;
/// The bytes at the end of a file that are read first; they contain most footers.
const TAIL_BYTES: u64 = 64 << 10;
/// Bytes read per turn.
const TURN_BYTES: usize = 1 << 20;
/// Work of handing out a row.
const ROW_WORK: u64 = 100;

/// Reads rows.
pub(super) struct Rows {
    bounds: Bounds,
    source: Box<dyn Source>,
    /// The part that is being read, and its size.
    buffer: Vec<u8>,
    wanted: usize,
    /// Rows that were unpacked.
    rows: VecDeque<Vec<u8>>,
    stage: Stage,
    /// Whether the footer was read.
    is_open: bool,
    /// Whether no more rows are wanted.
    is_unwanted: Arc<AtomicBool>,
}

enum Stage {
    /// The size of the file is not known yet.
    Closed,
    /// The source seeks to this byte, then this part is read.
    Seek(u64, Part),
    Read(u64, Part),
    /// The unpacker is at work.
    Away(BackgroundWork<Result<(Box<Unpacker>, Step), Fault>>),
    /// It has done a step.
    Done(DropsInBackground<Box<Unpacker>>, Next),
    Broken,
}

enum Part {
    /// The end of the file.
    Tail,
    /// The data of a row group.
    Group(DropsInBackground<Box<Unpacker>>),
}

fn polled<T>(poll: Poll<io::Result<T>>) -> Poll<Result<T, Fault>> {
    poll.map_err(|error| match error.kind() {
        io::ErrorKind::NotSeekable => {
            failed("This data is read from its beginning to its end only, and PARQUET begins at its end")
        }
        _ => failed(data::cause("The data cannot be read", &error)),
    })
}

impl Rows {
    pub(super) fn new(source: Box<dyn Source>, bounds: Bounds) -> Rows {
        Rows {
            bounds,
            source,
            buffer: Vec::new(),
            wanted: 0,
            rows: VecDeque::new(),
            stage: Stage::Closed,
            is_open: false,
            is_unwanted: Arc::default(),
        }
    }

    /// The version of the data, when some of it was read.
    pub(super) fn version(&self) -> Option<String> {
        if self.is_open { self.source.version() } else { None }
    }

    /// Replaces `item` by the next row, an object. Returns false when there are no more.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        item: &mut Vec<u8>,
    ) -> Poll<Result<bool, Fault>> {
        loop {
            if self.bounds.allowance.is_spent() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(row) = self.rows.pop_front() {
                self.bounds.allowance.charge(ROW_WORK);
                *item = row;
                return Poll::Ready(Ok(true));
            }
            if !ready!(self.poll_stage(context))? {
                return Poll::Ready(Ok(false));
            }
        }
    }

    /// Takes a step towards the next rows. Returns false when there are no more.
    fn poll_stage(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        match std::mem::replace(&mut self.stage, Stage::Broken) {
            Stage::Closed => {
                self.stage = Stage::Closed;
                let size = ready!(polled(self.source.poll_seek(context, SeekFrom::End(0))))?;
                self.want(size.saturating_sub(TAIL_BYTES), size, Part::Tail);
            }
            Stage::Seek(begin, part) => {
                match self.source.poll_seek(context, SeekFrom::Start(begin)) {
                    Poll::Pending => {
                        self.stage = Stage::Seek(begin, part);
                        return Poll::Pending;
                    }
                    sought => drop(ready!(polled(sought))?),
                }
                self.stage = Stage::Read(begin, part);
            }
            Stage::Read(begin, part) => {
                match self.poll_fill(context) {
                    Poll::Pending => {
                        self.stage = Stage::Read(begin, part);
                        return Poll::Pending;
                    }
                    filled => ready!(filled)?,
                }
                match part {
                    Part::Tail => self.read_tail(begin)?,
                    Part::Group(unpacker) => {
                        let data = std::mem::take(&mut self.buffer);
                        self.unpack(unpacker, Some((begin, data)))?;
                    }
                }
            }
            Stage::Away(mut away) => match away.poll(context) {
                Poll::Pending => {
                    self.stage = Stage::Away(away);
                    return Poll::Pending;
                }
                Poll::Ready(done) => {
                    let done = done.unwrap_or_else(|| Err(not_parquet("it contradicts itself")));
                    let (unpacker, Step { rows, next }) = done?;
                    (self.is_open, self.rows) = (true, rows);
                    self.stage = Stage::Done(DropsInBackground::new(unpacker, &self.bounds.background), next);
                }
            },
            Stage::Done(unpacker, next) => match next {
                Next::Rows => self.unpack(unpacker, None)?,
                Next::Data(begin, end) => self.want(begin, end, Part::Group(unpacker)),
                Next::Over => {
                    self.stage = Stage::Done(unpacker, Next::Over);
                    return Poll::Ready(Ok(false));
                }
                Next::Failed(fault) => return Poll::Ready(Err(fault)),
            },
            Stage::Broken => return Poll::Ready(Err(not_parquet("a part before this one cannot be read"))),
        }
        Poll::Ready(Ok(true))
    }

    fn want(&mut self, begin: u64, end: u64, part: Part) {
        self.buffer.clear();
        // The part is inside the file: its size is not merely claimed.
        self.wanted = usize::try_from(end - begin).unwrap_or(usize::MAX);
        self.buffer.reserve_exact(self.wanted);
        self.stage = Stage::Seek(begin, part);
    }

    /// Has more rows unpacked.
    fn unpack(
        &mut self,
        unpacker: DropsInBackground<Box<Unpacker>>,
        data: Option<(u64, Vec<u8>)>,
    ) -> Result<(), Fault> {
        let mut unpacker = unpacker.take();
        let step = move || {
            let step = unpacker.step(data);
            Ok((unpacker, step))
        };
        self.stage = Stage::Away(self.bounds.background.begin(step)?);
        Ok(())
    }

    /// Reads the current part.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let turn = self.buffer.len().saturating_add(TURN_BYTES);
        while self.buffer.len() < self.wanted {
            let begin = self.buffer.len();
            if begin >= turn {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.buffer.resize(self.wanted.min(turn), 0);
            let read = self.source.poll_read(context, &mut self.buffer[begin..]);
            let bytes = if let Poll::Ready(Ok(bytes)) = &read { *bytes } else { 0 };
            self.buffer.truncate(begin + bytes);
            if ready!(polled(read))? == 0 {
                return Poll::Ready(Err(not_parquet("it is cut off")));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Has the footer decoded, or finds that it begins earlier in the file.
    fn read_tail(&mut self, begin: u64) -> Result<(), Fault> {
        let tail = self.buffer.last_chunk::<FOOTER_SIZE>();
        let tail = tail.ok_or_else(|| not_parquet("it is too short"))?;
        let tail = FooterTail::try_new(tail).map_err(not_parquet)?;
        if tail.is_encrypted_footer() {
            return Err(failed("The Parquet file is encrypted: it cannot be read here"));
        }
        let footer_bytes = tail.metadata_length() as u64;
        if footer_bytes > FOOTER_BYTES_MAX {
            return Err(failed("The footer of the Parquet file is larger than 5 MB"));
        }
        let end = begin + self.buffer.len() as u64;
        let data_end = (end - FOOTER_SIZE as u64).checked_sub(footer_bytes);
        let data_end = data_end.ok_or_else(|| not_parquet("its footer is larger than the file"))?;
        if data_end < begin {
            self.want(data_end, end, Part::Tail);
            return Ok(());
        }
        let at = (data_end - begin) as usize;
        let tail = std::mem::take(&mut self.buffer);
        let (hold, is_unwanted) = (Arc::clone(&self.bounds.hold), Arc::clone(&self.is_unwanted));
        let open = move || {
            let mut unpacker = Box::new(Unpacker::open(&tail, at, data_end, hold, is_unwanted)?);
            let step = unpacker.step(None);
            Ok((unpacker, step))
        };
        self.stage = Stage::Away(self.bounds.background.begin(open)?);
        Ok(())
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.is_unwanted.store(true, Ordering::Relaxed);
        if self.buffer.capacity() > TURN_BYTES {
            self.bounds.background.discard(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _, Seek as _};
    use std::path::Path;
    use std::rc::Rc;
    use std::sync::Mutex;
    use std::task::Waker;

    use serde_json::Value as Json;

    use super::super::holding::Hold;
    use super::*;
    use crate::fault;
    use crate::runtime::errand::Allowance;

    /// Returns a few bytes at a time, and, if it is slow, only at every second call.
    struct Data {
        bytes: Cursor<Vec<u8>>,
        is_slow: bool,
        waits: bool,
    }

    impl Source for Data {
        fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            self.waits = self.is_slow && !self.waits;
            if self.waits {
                return Poll::Pending;
            }
            let room = if self.is_slow { buffer.len().min(997) } else { buffer.len() };
            Poll::Ready(self.bytes.read(&mut buffer[..room]))
        }

        fn poll_seek(&mut self, _: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
            self.waits = self.is_slow && !self.waits;
            if self.waits { Poll::Pending } else { Poll::Ready(self.bytes.seek(to)) }
        }
    }

    fn read(bytes: &[u8], is_slow: bool) -> Result<Vec<String>, String> {
        read_within(bytes, is_slow, Arc::new(|_| Ok(())))
    }

    fn read_within(bytes: &[u8], is_slow: bool, hold: Hold) -> Result<Vec<String>, String> {
        let data = Data { bytes: Cursor::new(bytes.to_vec()), is_slow, waits: false };
        let allowance = Rc::<Allowance>::default();
        let bounds = Bounds::of(&allowance, hold);
        let mut rows = Rows::new(Box::new(data), bounds);
        let (mut all, mut item) = (Vec::new(), Vec::new());
        loop {
            allowance.renew();
            match rows.poll_next(&mut Context::from_waker(Waker::noop()), &mut item) {
                Poll::Pending => {}
                Poll::Ready(Ok(false)) => return Ok(all),
                Poll::Ready(Ok(true)) => all.push(String::from_utf8(item.clone()).expect("UTF-8")),
                Poll::Ready(Err(fault)) => {
                    assert_eq!(fault.error.as_deref(), Some(fault::ITEM_READER_FAILED));
                    return Err(fault.cause.unwrap_or_default());
                }
            }
        }
    }

    fn file(name: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parquet").join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn expected() -> Vec<Json> {
        let lines = String::from_utf8(file("kinds.jsonl")).expect("UTF-8");
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// For all pages, encodings and codecs, the rows are equal to those that another implementation wrote.
    #[test]
    fn rows_are_what_was_written() {
        let expected = expected();
        for name in ["plain", "snappy", "gzip", "zstd", "old"] {
            let bytes = file(&format!("{name}.parquet"));
            let rows = read(&bytes, false).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert_eq!(read(&bytes, true).as_ref(), Ok(&rows), "{name}");
            assert_eq!(rows.len(), expected.len(), "{name}");
            for (row, expected) in rows.iter().zip(&expected) {
                let row: Json =
                    serde_json::from_str(row).unwrap_or_else(|error| panic!("{name}: {row}: {error}"));
                for (member, value) in row.as_object().expect("an object") {
                    assert_eq!(value, &expected[member], "{name}: {member} of {}", expected["id"]);
                }
                let members = row.as_object().map(serde_json::Map::len);
                assert!(name == "old" || members == expected.as_object().map(serde_json::Map::len), "{name}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let plain = file("plain.parquet");
        let mut long = plain.clone();
        let at = long.len() - 8;
        long[at..at + 4].copy_from_slice(&(6_u32 << 20).to_le_bytes());
        let mut encrypted = plain.clone();
        encrypted[at + 4..].copy_from_slice(b"PARE");
        let mut ahead = plain.clone();
        ahead[at..at + 4].copy_from_slice(&(1_u32 << 20).to_le_bytes());
        for (bytes, why) in [
            (Vec::new(), "too short"),
            (b"1,2,3\n4,5,6\n".to_vec(), "not a valid Parquet file"),
            (plain[..plain.len() / 2].to_vec(), "not a valid Parquet file"),
            (long, "The footer of the Parquet file is larger than 5 MB"),
            (encrypted, "is encrypted"),
            (ahead, "its footer is larger than the file"),
            (
                file("brotli.parquet"),
                "'id' of the Parquet file is packed by BROTLI: SNAPPY, GZIP and ZSTD are read",
            ),
        ] {
            match read(&bytes, false) {
                Err(cause) => assert!(cause.contains(why), "{cause}"),
                Ok(rows) => panic!("{why}: {} rows", rows.len()),
            }
        }
    }

    /// The memory of pages is taken before they are unpacked, also when it is more than the file says.
    #[test]
    fn what_is_unpacked_is_held_first() {
        for name in ["gzip", "zstd"] {
            let bytes = file(&format!("{name}.parquet"));
            let held = Arc::new(Mutex::new(Vec::new()));
            let hold: Hold = {
                let held = Arc::clone(&held);
                Arc::new(move |bytes| {
                    held.lock().expect("no panic").push(bytes);
                    Ok(())
                })
            };
            read_within(&bytes, false, hold).unwrap_or_else(|why| panic!("{name}: {why}"));
            let held = std::mem::take(&mut *held.lock().expect("no panic"));
            let claimed = held[0];
            assert!(held.len() > 1 && held.iter().any(|&bytes| bytes > claimed), "{name}: {held:?}");
            let hold: Hold = Arc::new(move |bytes| {
                if bytes <= claimed { Ok(()) } else { Err(Fault::new(fault::RUNTIME, "There is no memory")) }
            });
            assert_eq!(read_within(&bytes, false, hold), Err("There is no memory".to_owned()), "{name}");
        }
    }

    /// Files with altered bytes only fail, within the memory and time of valid ones.
    #[test]
    fn damaged_files_fail() {
        let seeds = std::env::var("EXPRESSWAY_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
        let mut random = 7_u64;
        let mut next = move |most: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % most.max(1)
        };
        let mut read_whole = 0;
        for name in ["plain", "snappy", "gzip", "zstd", "old"] {
            let whole = file(&format!("{name}.parquet"));
            for _ in 0..seeds.unwrap_or(60) {
                let mut bytes = whole.clone();
                // Most failures are in the footer.
                let footer =
                    u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().expect("4"));
                let begin = if next(2) == 0 { bytes.len() - 8 - footer as usize } else { 0 };
                for _ in 0..=next(4) {
                    let at = begin + next(bytes.len() - begin);
                    bytes[at] = match next(4) {
                        0 => 0xFF,
                        1 => 0,
                        2 => bytes[at] ^ 1 << next(8),
                        _ => next(256) as u8,
                    };
                }
                if next(8) == 0 {
                    let from = next(bytes.len());
                    bytes.drain(from..(from + 1 + next(16)).min(bytes.len()));
                }
                read_whole += usize::from(read(&bytes, false).is_ok());
            }
        }
        assert!(read_whole > 0, "no file was read");
    }

    /// A structure of a footer whose schema is a list of elements with these numbers of fields.
    fn schema(fields: &[u32]) -> Vec<u8> {
        let mut footer = vec![0x15, 0x02, 0x19, 0xFC];
        varint(fields.len() as u64, &mut footer);
        for &fields in fields {
            footer.extend([0x48, 1, b'a', 0x15]);
            varint(u64::from(fields) << 1, &mut footer);
            footer.push(0);
        }
        footer.push(0);
        footer
    }

    fn varint(mut number: u64, to: &mut Vec<u8>) {
        while number > 0x7F {
            to.push(number as u8 | 0x80);
            number >>= 7;
        }
        to.push(number as u8);
    }

    #[test]
    fn schemas_are_looked_at_before_they_are_decoded() {
        assert_eq!(footer::check(&schema(&[2, 0, 1, 0])), Ok(()));
        let mut deep = vec![1; 1_000_000];
        deep.push(0);
        for (fields, why) in [
            (deep, "nested more than 64 deep"),
            (vec![1_000_000_000, 0], "more fields than there are"),
            (vec![3, 0, 0], "more fields than there are"),
        ] {
            let checked = footer::check(&schema(&fields));
            assert!(checked.is_err_and(|it| it.contains(why)), "{why}: {checked:?}");
        }
        let cut = schema(&[2, 0, 0]);
        for end in 0..cut.len() - 3 {
            assert!(footer::check(&cut[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_record_of_billions_is_refused_and_billions_of_records_are_not() {
        let run = |count: u64, level: u8| {
            let mut levels = Vec::new();
            varint(count << 1, &mut levels);
            levels.push(level);
            levels
        };
        let count = 1 << 31;
        let scan = |levels: &[u8]| levels::Longest::default().scan(levels, 1, count);
        assert!(scan(&run(count, 0)).is_ok());
        assert!(matches!(scan(&run(count, 1)), Err(pages::Broken::Refused(_))));
        // One record in several pages.
        let mut longest = levels::Longest::default();
        let pages = (0..100).try_for_each(|_| longest.scan(&run(100_000, 1), 1, 100_000));
        assert!(matches!(pages, Err(pages::Broken::Refused(_))));
        // Eight values of two bits: 0, 1, 2, 0, 0, 1, 1, 1.
        let mut longest = levels::Longest::default();
        assert!(longest.scan(&[3, 0b0010_0100, 0b0101_0100], 2, 8).is_ok());
    }

    #[test]
    fn lengths_are_no_more_than_values() {
        use parquet::basic::Encoding::{DELTA_BYTE_ARRAY, DELTA_LENGTH_BYTE_ARRAY, PLAIN};
        let head = |count: u64| {
            let mut head = vec![0x80, 1, 4];
            varint(count, &mut head);
            head.push(0);
            head
        };
        for (encoding, values, is_right) in [
            (DELTA_LENGTH_BYTE_ARRAY, head(1), true),
            (DELTA_LENGTH_BYTE_ARRAY, head(2), false),
            (DELTA_LENGTH_BYTE_ARRAY, head(u64::MAX >> 1), false),
            (DELTA_BYTE_ARRAY, [head(1), head(1)].concat(), true),
            (DELTA_BYTE_ARRAY, [head(1), head(1 << 40)].concat(), false),
            (DELTA_BYTE_ARRAY, head(1), false),
            (PLAIN, Vec::new(), true),
        ] {
            assert_eq!(delta::check(encoding, &values, 1).is_ok(), is_right, "{encoding} {values:?}");
        }
    }
}

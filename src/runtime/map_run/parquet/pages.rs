//! Pages of a row group, one after the other: decompressed here, within bounds, and checked before a decoder reserves
//! room for the sizes that they claim.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use flate2::read::MultiGzDecoder;
use parquet::basic::{Compression, Encoding, Type as PhysicalType};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length, RowGroupReader, SerializedPageReader};
use parquet::record::reader::{ReaderIter, RowIter, TreeBuilder};
use parquet::schema::types::Type;

use super::delta;
use super::levels::Longest;
use crate::fault::Fault;
use crate::runtime::map_run::holding::Hold;

/// Bytes of a row group, as stored and as decompressed (AWS: 256 MB).
pub(super) const ROW_GROUP_BYTES_MAX: u64 = 256 << 20;
/// Rows that are read at once, if they have no lists.
const ROWS_AT_ONCE: usize = 1 << 10;
/// Values of all columns that are read at once.
const VALUES_AT_ONCE: usize = 1 << 20;
/// Bytes that pages of a row group, and values of its dictionaries, take in memory.
const MEMORY_BYTES_MAX: u64 = 2 * ROW_GROUP_BYTES_MAX;
/// Bytes that are unpacked at once, at least, before more memory is taken.
const PIECE_BYTES: usize = 256 << 10;
/// The window of zstd.
const WINDOW_LOG_MAX: u32 = 27;

/// Why a page is not read.
#[derive(Debug)]
pub(super) enum Broken {
    /// The file contradicts itself.
    Invalid(&'static str),
    /// The file may be valid, but is not supported here.
    Refused(String),
}

impl Broken {
    pub(super) const CUT_OFF: Broken = Broken::Invalid("a page is cut off");

    fn too_large() -> Broken {
        Broken::Refused("A row group of the Parquet file is larger than 256 MB".to_owned())
    }
}

impl From<Broken> for ParquetError {
    fn from(broken: Broken) -> ParquetError {
        match broken {
            Broken::Invalid(why) => ParquetError::General(why.to_owned()),
            Broken::Refused(why) => ParquetError::External(why.into()),
        }
    }
}

/// Where the data of a row group begins and ends, before `end`, the end of all data.
pub(super) fn range(group: &RowGroupMetaData, end: u64) -> std::result::Result<(u64, u64), &'static str> {
    let mut range = (u64::MAX, 0);
    for column in group.columns() {
        let begin = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let both = (u64::try_from(begin).ok(), u64::try_from(column.compressed_size()).ok());
        let (Some(begin), Some(bytes)) = both else { return Err("a column begins nowhere") };
        let column_end = begin.checked_add(bytes).filter(|&column_end| column_end <= end);
        let column_end = column_end.ok_or("a column ends behind the data")?;
        range = (range.0.min(begin), range.1.max(column_end));
        if column.num_values() < 0 || group.num_rows() < 0 {
            return Err("a column has less than no values");
        }
        let is_flat = column.column_descr().max_rep_level() == 0;
        if is_flat && column.num_values() != group.num_rows() {
            return Err("a column has not as many values as there are rows");
        }
    }
    if range.0 > range.1 { Err("it has rows and no columns") } else { Ok(range) }
}

/// What the pages of a row group take in memory. It is taken before they are unpacked.
pub(super) struct Memory {
    hold: Hold,
    /// Bytes of the row group as it is stored.
    stored: u64,
    /// Bytes of its pages, as the file claims.
    claimed: u64,
    used: AtomicU64,
    /// Bytes that were unpacked since the last look.
    unpacked: AtomicU64,
    /// Whether no more rows are wanted.
    is_unwanted: Arc<AtomicBool>,
}

impl Memory {
    /// Takes the memory that a row group will need according to the file.
    pub(super) fn new(
        hold: Hold,
        is_unwanted: Arc<AtomicBool>,
        stored: u64,
        claimed: u64,
    ) -> std::result::Result<Memory, Fault> {
        let (used, unpacked) = Default::default();
        let memory = Memory { hold, stored, claimed, used, unpacked, is_unwanted };
        memory.set(claimed)?;
        Ok(memory)
    }

    fn set(&self, bytes: u64) -> std::result::Result<(), Fault> {
        (self.hold)(usize::try_from(self.stored.saturating_add(bytes)).unwrap_or(usize::MAX))
    }

    /// Takes `bytes` more, unless the reader has ended.
    fn take(&self, bytes: u64) -> std::result::Result<(), Broken> {
        if self.is_unwanted.load(Ordering::Relaxed) {
            return Err(Broken::Refused("The reader of this file has ended".to_owned()));
        }
        let used = self.used.load(Ordering::Relaxed).saturating_add(bytes);
        if used > MEMORY_BYTES_MAX {
            return Err(Broken::too_large());
        }
        if used > self.claimed {
            let none = || "There is no memory for the Parquet file".to_owned();
            self.set(used).map_err(|fault| Broken::Refused(fault.cause.unwrap_or_else(none)))?;
        }
        self.used.store(used, Ordering::Relaxed);
        self.unpacked.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// What was taken and is not needed.
    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.unpacked.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that were unpacked since the last call.
    pub(super) fn take_unpacked(&self) -> u64 {
        self.unpacked.swap(0, Ordering::Relaxed)
    }
}

/// A row group whose data is in memory.
pub(super) struct RowGroup {
    metadata: RowGroupMetaData,
    data: Arc<Data>,
    memory: Arc<Memory>,
    /// Whether rows are read one by one.
    is_careful: bool,
}

impl RowGroup {
    /// A row group whose data begins at this byte of the file.
    pub(super) fn new(metadata: RowGroupMetaData, begin: u64, data: Bytes, memory: Arc<Memory>) -> RowGroup {
        // The memory of a row of such a column does not follow from its pages.
        let is_long = |column: &ColumnChunkMetaData| {
            column.column_descr().max_rep_level() > 0
                || column.encodings().any(|encoding| encoding == Encoding::DELTA_BYTE_ARRAY)
        };
        let is_careful = metadata.columns().iter().any(is_long);
        let data = Arc::new(Data { begin, bytes: data });
        RowGroup { metadata, data, memory, is_careful }
    }

    pub(super) fn rows(&self) -> Result<ReaderIter> {
        let columns = self.metadata.num_columns().max(1);
        let at_once = if self.is_careful { 1 } else { (VALUES_AT_ONCE / columns).clamp(1, ROWS_AT_ONCE) };
        TreeBuilder::new().with_batch_size(at_once).as_iter(self.metadata.schema_descr_ptr(), self)
    }
}

impl RowGroupReader for RowGroup {
    fn metadata(&self) -> &RowGroupMetaData {
        &self.metadata
    }

    fn num_columns(&self) -> usize {
        self.metadata.num_columns()
    }

    fn get_column_page_reader(&self, i: usize) -> Result<Box<dyn PageReader>> {
        let column = self.metadata.column(i);
        if column.file_path().is_some() {
            return Err(Broken::Refused("The Parquet file has columns in other files".to_owned()).into());
        }
        // As it is stored: `Pages` decompresses it.
        let stored = column.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        let rows = usize::try_from(self.metadata.num_rows())?;
        Ok(Box::new(Pages {
            stored: SerializedPageReader::new(Arc::clone(&self.data), &stored, rows, None)?,
            compression: column.compression(),
            name: column.column_path().string(),
            levels: (column.column_descr().max_rep_level(), column.column_descr().max_def_level()),
            word_bytes: match column.column_type() {
                PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY => 32,
                _ => 16,
            },
            values_left: u64::try_from(column.num_values())?,
            longest: Longest::default(),
            is_careful: self.is_careful,
            memory: Arc::clone(&self.memory),
        }))
    }

    fn get_column_bloom_filter(&self, _: usize) -> Option<&Sbbf> {
        None
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

/// A part of a file.
struct Data {
    begin: u64,
    bytes: Bytes,
}

impl Data {
    fn from(&self, start: u64) -> Result<Bytes> {
        let at = start.checked_sub(self.begin).and_then(|at| usize::try_from(at).ok());
        let at = at.filter(|&at| at <= self.bytes.len()).ok_or(Broken::CUT_OFF)?;
        Ok(self.bytes.slice(at..))
    }
}

impl Length for Data {
    fn len(&self) -> u64 {
        self.begin + self.bytes.len() as u64
    }
}

impl ChunkReader for Data {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() { Err(Broken::CUT_OFF.into()) } else { Ok(bytes.slice(..length)) }
    }
}

/// The pages of a column.
struct Pages {
    stored: SerializedPageReader<Data>,
    compression: Compression,
    /// The name of the column.
    name: String,
    /// The maximum repetition and definition levels.
    levels: (i16, i16),
    /// Bytes that a value of a dictionary takes in memory.
    word_bytes: u64,
    /// Values that the remaining pages must have.
    values_left: u64,
    longest: Longest,
    is_careful: bool,
    memory: Arc<Memory>,
}

impl Pages {
    fn next_page(&mut self) -> Result<Option<Page>> {
        let Some(mut page) = self.stored.get_next_page()? else {
            return match self.values_left {
                0 => Ok(None),
                _ => Err(Broken::Invalid("a column has less values than it says").into()),
            };
        };
        self.unpack(&mut page)?;
        let values = u64::from(page.num_values());
        if page.is_dictionary_page() {
            // Each value takes a byte at least, except for texts of the fixed length 0.
            if values > page.buffer().len() as u64 {
                return Err(Broken::Invalid("a dictionary has more values than bytes").into());
            }
            self.memory.take(values * self.word_bytes)?;
            return Ok(Some(page));
        }
        self.values_left = (self.values_left.checked_sub(values))
            .ok_or(Broken::Invalid("a column has more values than it says"))?;
        self.check(&page)?;
        Ok(Some(page))
    }

    fn unpack(&self, page: &mut Page) -> Result<()> {
        let (buffer, levels) = match page {
            Page::DataPageV2 { buf, is_compressed: false, .. } => {
                return Ok(self.memory.take(buf.len() as u64)?);
            }
            // Levels are never compressed there.
            Page::DataPageV2 { buf, rep_levels_byte_len, def_levels_byte_len, .. } => {
                (buf, *rep_levels_byte_len as usize + *def_levels_byte_len as usize)
            }
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => (buf, 0),
        };
        if matches!(self.compression, Compression::UNCOMPRESSED) {
            return Ok(self.memory.take(buffer.len() as u64)?);
        }
        if levels > buffer.len() {
            return Err(Broken::CUT_OFF.into());
        }
        let (levels, packed) = (buffer.slice(..levels), buffer.slice(levels..));
        self.memory.take(levels.len() as u64)?;
        let mut unpacked = levels.to_vec();
        if !packed.is_empty() {
            self.unpack_to(&packed, &mut unpacked)?;
        }
        *buffer = unpacked.into();
        Ok(())
    }

    fn unpack_to(&self, packed: &[u8], to: &mut Vec<u8>) -> std::result::Result<(), Broken> {
        let invalid = |_: io::Error| Broken::Invalid("a page cannot be unpacked");
        match self.compression {
            Compression::SNAPPY => {
                let bytes = snap::raw::decompress_len(packed)
                    .map_err(|_| Broken::Invalid("a page cannot be unpacked"))?;
                // A compressed byte represents at most 64 bytes.
                if bytes as u64 > packed.len() as u64 * 64 {
                    return Err(Broken::too_large());
                }
                self.memory.take(bytes as u64)?;
                let begin = to.len();
                to.resize(begin + bytes, 0);
                let done = snap::raw::Decoder::new().decompress(packed, &mut to[begin..]);
                done.map(drop).map_err(|_| Broken::Invalid("a page cannot be unpacked"))
            }
            Compression::GZIP(_) => self.read(MultiGzDecoder::new(packed), to),
            Compression::ZSTD(_) => {
                let mut unpacked = zstd::stream::read::Decoder::with_buffer(packed).map_err(invalid)?;
                unpacked.window_log_max(WINDOW_LOG_MAX).map_err(invalid)?;
                self.read(unpacked, to)
            }
            other => {
                let (name, codec) = (&self.name, other.to_string());
                let codec = codec.split('(').next().unwrap_or(&codec);
                Err(Broken::Refused(format!(
                    "The column '{name}' of the Parquet file is packed by {codec}: SNAPPY, GZIP and ZSTD are read"
                )))
            }
        }
    }

    /// Reads what is unpacked to its end, and takes the memory of each piece before it is there.
    fn read(&self, mut unpacked: impl Read, to: &mut Vec<u8>) -> std::result::Result<(), Broken> {
        loop {
            let piece = PIECE_BYTES.max(to.len() / 4);
            self.memory.take(piece as u64)?;
            to.reserve_exact(piece);
            let read = unpacked.by_ref().take(piece as u64).read_to_end(to);
            let read = read.map_err(|_| Broken::Invalid("a page cannot be unpacked"))?;
            if read < piece {
                self.memory.give_back((piece - read) as u64);
                return Ok(());
            }
        }
    }

    /// Checks the sizes that a decoder would trust.
    fn check(&mut self, page: &Page) -> std::result::Result<(), Broken> {
        let (repetition, definition) = self.levels;
        let values = u64::from(page.num_values());
        let bits = |level: i16| 16 - level.leading_zeros();
        let mut rest = &page.buffer()[..];
        let mut part = |bytes: u64| -> std::result::Result<&[u8], Broken> {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            let (part, behind) = rest.split_at_checked(bytes).ok_or(Broken::CUT_OFF)?;
            rest = behind;
            Ok(part)
        };
        let mut levels = |encoding: Encoding, level: i16| -> std::result::Result<Option<&[u8]>, Broken> {
            match encoding {
                _ if level == 0 => Ok(None),
                Encoding::RLE => {
                    let bytes = part(4)?.try_into().map_err(|_| Broken::CUT_OFF)?;
                    part(u64::from(u32::from_le_bytes(bytes))).map(Some)
                }
                // Only old files have them; checking that they exist is enough here.
                _ => part((values * u64::from(bits(level))).div_ceil(8)).map(|_| None),
            }
        };
        let repetitions = match page {
            Page::DataPage { rep_level_encoding, def_level_encoding, .. } => {
                let repetitions = levels(*rep_level_encoding, repetition)?;
                levels(*def_level_encoding, definition)?;
                repetitions
            }
            Page::DataPageV2 { rep_levels_byte_len, def_levels_byte_len, .. } => {
                let repetitions = part(u64::from(*rep_levels_byte_len))?;
                part(u64::from(*def_levels_byte_len))?;
                Some(repetitions)
            }
            Page::DictionaryPage { .. } => return Ok(()),
        };
        match repetitions {
            _ if repetition == 0 => {}
            Some(levels) => self.longest.scan(levels, bits(repetition), values)?,
            None => self.longest.add(values)?,
        }
        if page.encoding() == Encoding::DELTA_BYTE_ARRAY && !self.is_careful {
            return Err(Broken::Invalid("a page is not encoded as its column says"));
        }
        delta::check(page.encoding(), rest, values)
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.next_page()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.stored.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.stored.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.stored.at_record_boundary()
    }
}

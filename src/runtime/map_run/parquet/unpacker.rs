//! What reading a Parquet file computes: its footer, and rows of a group whose data is there. A page is unpacked as a
//! whole, which takes up to seconds, so this is done away from the shard, one step at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::record::reader::ReaderIter;
use parquet::schema::types::TypePtr;

use super::pages::{Memory, ROW_GROUP_BYTES_MAX, RowGroup};
use super::{footer, pages, values};
use crate::fault::{self, Fault};
use crate::runtime::map_run::holding::Hold;
use crate::runtime::map_run::members::ITEM_BYTES_MAX;
use crate::task::panics;

/// Rows of a step, their bytes as JSON, and bytes of pages that are unpacked for them: a step ends with the row that
/// reaches one of these.
const STEP_ROWS_MAX: usize = 1 << 10;
const STEP_BYTES_MAX: usize = 256 << 10;
const STEP_UNPACKED_BYTES_MAX: u64 = 1 << 20;

/// A file whose footer was read.
pub(super) struct Unpacker {
    metadata: ParquetMetaData,
    schema: TypePtr,
    /// The next row group.
    next: usize,
    /// The end of the row groups' data.
    end: u64,
    hold: Hold,
    is_unwanted: Arc<AtomicBool>,
    stage: Stage,
}

enum Stage {
    /// Between row groups.
    Between,
    /// The data of this group is wanted.
    Group(Box<RowGroupMetaData>, Arc<Memory>),
    Rows(ReaderIter, Arc<Memory>),
}

/// What a step came to.
pub(super) struct Step {
    /// JSON texts.
    pub(super) rows: VecDeque<Vec<u8>>,
    pub(super) next: Next,
}

/// What comes after the rows of a step.
pub(super) enum Next {
    /// Another step.
    Rows,
    /// One with the bytes of the file from here to there.
    Data(u64, u64),
    Over,
    Failed(Fault),
}

pub(super) fn failed(cause: impl Into<String>) -> Fault {
    Fault::new(fault::ITEM_READER_FAILED, cause)
}

pub(super) fn not_parquet(why: impl std::fmt::Display) -> Fault {
    failed(format!("The data is not a valid Parquet file: {why}"))
}

/// Runs the decoder, which may panic on invalid data.
fn decoded<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, Fault> {
    match panics::guard(work) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(ParquetError::External(why))) => Err(failed(why.to_string())),
        Ok(Err(error)) => Err(not_parquet(error)),
        Err(_) => Err(not_parquet("it contradicts itself")),
    }
}

impl Unpacker {
    /// Decodes a footer, which is at this place of `tail`, the last bytes of the file. The data of row groups ends at
    /// `end`. When the rows are unwanted, steps end early.
    pub(super) fn open(
        tail: &[u8],
        at: usize,
        end: u64,
        hold: Hold,
        is_unwanted: Arc<AtomicBool>,
    ) -> Result<Unpacker, Fault> {
        let footer = &tail[at..tail.len() - FOOTER_SIZE];
        footer::check(footer).map_err(not_parquet)?;
        let metadata = decoded(|| ParquetMetaDataReader::decode_metadata(footer))?;
        let schema = metadata.file_metadata().schema_descr().root_schema_ptr();
        values::check(&schema).map_err(failed)?;
        Ok(Unpacker { metadata, schema, next: 0, end, hold, is_unwanted, stage: Stage::Between })
    }

    /// Reads more rows, with the data if that was wanted: the bytes of the file from `data.0` on.
    pub(super) fn step(&mut self, data: Option<(u64, Vec<u8>)>) -> Step {
        let mut rows = VecDeque::new();
        let next = self.read(data, &mut rows).unwrap_or_else(Next::Failed);
        Step { rows, next }
    }

    fn read(&mut self, data: Option<(u64, Vec<u8>)>, to: &mut VecDeque<Vec<u8>>) -> Result<Next, Fault> {
        if let Some((begin, bytes)) = data
            && let Stage::Group(group, memory) = std::mem::replace(&mut self.stage, Stage::Between)
        {
            let group = RowGroup::new(*group, begin, Bytes::from(bytes), Arc::clone(&memory));
            self.stage = Stage::Rows(decoded(|| group.rows())?, memory);
        }
        let (mut bytes, mut unpacked) = (0, 0);
        while let Stage::Rows(rows, memory) = &mut self.stage {
            let row = decoded(|| rows.next().transpose());
            unpacked += memory.take_unpacked();
            let Some(row) = row? else {
                self.stage = Stage::Between;
                break;
            };
            let mut text = Vec::with_capacity(to.back().map_or(0, Vec::len));
            values::write_row(&row, &self.schema, &mut text).map_err(failed)?;
            if text.len() > ITEM_BYTES_MAX {
                return Err(failed("An item is larger than 8 MB"));
            }
            bytes += text.len();
            to.push_back(text);
            if to.len() >= STEP_ROWS_MAX || bytes >= STEP_BYTES_MAX || unpacked >= STEP_UNPACKED_BYTES_MAX {
                return Ok(Next::Rows);
            }
        }
        self.next_group()
    }

    /// The next row group that has rows.
    fn next_group(&mut self) -> Result<Next, Fault> {
        let groups = self.metadata.row_groups();
        let Some(next) = groups.iter().skip(self.next).position(|group| group.num_rows() != 0) else {
            return Ok(Next::Over);
        };
        let group = groups[self.next + next].clone();
        self.next += next + 1;
        let (begin, end) = pages::range(&group, self.end).map_err(not_parquet)?;
        let read_bytes = u64::try_from(group.total_byte_size()).unwrap_or(u64::MAX);
        if end - begin > ROW_GROUP_BYTES_MAX || read_bytes > ROW_GROUP_BYTES_MAX {
            return Err(failed("A row group of the Parquet file is larger than 256 MB"));
        }
        let (hold, is_unwanted) = (Arc::clone(&self.hold), Arc::clone(&self.is_unwanted));
        let memory = Memory::new(hold, is_unwanted, end - begin, read_bytes)?;
        self.stage = Stage::Group(Box::new(group), Arc::new(memory));
        Ok(Next::Data(begin, end))
    }
}

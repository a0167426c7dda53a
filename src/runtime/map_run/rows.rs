//! Rows of CSV as items (developer guide, "ItemReader").

use std::task::{Poll, ready};

use csv_core::ReadRecordResult;

use super::members::ITEM_BYTES_MAX;
use super::paced::{Bytes, polled};
use crate::fault::{self, Fault};
use crate::json;

/// Fields of a row.
const FIELDS_MAX: usize = 1 << 20;
/// Bytes of all headers (AWS: 10 KiB). They are compared with each other at once, and written into each item.
const HEADER_BYTES_MAX: usize = 10 << 10;

fn failed(cause: impl Into<String>) -> Fault {
    Fault::new(fault::ITEM_READER_FAILED, cause)
}

/// Rows of CSV.
pub(super) struct Rows {
    bytes: Bytes,
    parser: csv_core::Reader,
    /// Names as members are written; `None` before the first row was read.
    headers: Option<Vec<Box<[u8]>>>,
    /// The fields of the row that is being read, concatenated, and the end of each.
    fields: Vec<u8>,
    ends: Vec<usize>,
    /// How much of both is used.
    field_bytes: usize,
    field_count: usize,
}

impl Rows {
    pub(super) fn new(bytes: Bytes, delimiter: u8, given: Option<&[Box<str>]>) -> Result<Rows, Fault> {
        let parser = csv_core::ReaderBuilder::new().delimiter(delimiter).escape(Some(b'\\')).build();
        let given = given.map(|names| headers(names.iter().map(|name| name.as_bytes())));
        Ok(Rows {
            bytes,
            parser,
            headers: given.transpose()?,
            fields: vec![0; 1 << 10],
            ends: vec![0; 1 << 5],
            field_bytes: 0,
            field_count: 0,
        })
    }

    /// Reads a row; false at the end of the data.
    fn poll_row(&mut self) -> Poll<Result<bool, Fault>> {
        let too_large = || Poll::Ready(Err(failed("An item is larger than 8 MB")));
        loop {
            let input = ready!(polled(self.bytes.fill_buf()))?;
            let (fields, ends) = (&mut self.fields[self.field_bytes..], &mut self.ends[self.field_count..]);
            let (result, read, bytes, count) = self.parser.read_record(input, fields, ends);
            self.bytes.consume(read);
            self.field_bytes += bytes;
            self.field_count += count;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.fields.len() > ITEM_BYTES_MAX => return too_large(),
                ReadRecordResult::OutputFull => self.fields.resize(2 * self.fields.len(), 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= FIELDS_MAX => return too_large(),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record => return Poll::Ready(Ok(true)),
                ReadRecordResult::End => return Poll::Ready(Ok(false)),
            }
        }
    }

    fn field(&self, n: usize) -> &[u8] {
        let begin = if n == 0 { 0 } else { self.ends[n - 1] };
        &self.fields[begin..self.ends[n]]
    }

    /// A row as an object by header: missing fields of a short row are empty, extra fields of a long one are dropped.
    pub(super) fn poll_next(&mut self, item: &mut Vec<u8>) -> Poll<Result<bool, Fault>> {
        if self.headers.is_none() {
            ready!(self.poll_row())?;
            self.headers = Some(headers((0..self.field_count).map(|n| self.field(n)))?);
            (self.field_bytes, self.field_count) = (0, 0);
        }
        if !ready!(self.poll_row())? {
            return Poll::Ready(Ok(false));
        }
        item.clear();
        item.push(b'{');
        for (n, header) in self.headers.iter().flatten().enumerate() {
            if n > 0 {
                item.push(b',');
            }
            item.extend_from_slice(header);
            let field = if n < self.field_count { self.field(n) } else { b"" };
            json::write_string(&String::from_utf8_lossy(field), item);
        }
        item.push(b'}');
        (self.field_bytes, self.field_count) = (0, 0);
        Poll::Ready(if item.len() > ITEM_BYTES_MAX {
            Err(failed("An item is larger than 8 MB"))
        } else {
            Ok(true)
        })
    }
}

/// Names as members are written.
fn headers<'n>(names: impl Iterator<Item = &'n [u8]> + Clone) -> Result<Vec<Box<[u8]>>, Fault> {
    // Each is followed by a delimiter.
    let add =
        |bytes, name: &[u8]| Some(bytes + name.len() + 1).filter(|bytes| *bytes <= HEADER_BYTES_MAX + 1);
    if names.clone().try_fold(0, add).is_none() {
        return Err(failed("CSV headers are larger than 10 KiB"));
    }
    let mut sorted: Vec<&[u8]> = names.clone().collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|two| two[0] == two[1]) {
        return Err(failed("CSV headers cannot contain duplicates."));
    }
    let quoted = |name: &[u8]| {
        let mut key = Vec::new();
        json::write_string(&String::from_utf8_lossy(name), &mut key);
        key.push(b':');
        key.into_boxed_slice()
    };
    Ok(names.map(quoted).collect())
}

//! `ItemReader`: items out of a stream of bytes, one after the other (developer guide, "ItemReader").
//!
//! A stream is never in memory as a whole, but for a JSON object, or an array inside of one.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use serde_json::Value as Json;

use crate::fault::{self, Fault};
use crate::json;
use crate::program::Format;

/// Bytes of an item that is read, before `ItemSelector` (AWS: 8 MB).
const ITEM_BYTES_MAX: usize = 8 << 20;
/// Bytes of a JSON object whose members are the items, or in which `ItemsPointer` points to them.
const WHOLE_BYTES_MAX: u64 = 64 << 20;
/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Reads items.
pub(super) struct Items {
    form: Form,
    /// How many may still be read.
    left: u64,
}

type Bytes = Box<dyn BufRead + Send>;

enum Form {
    Lines(Bytes, Vec<u8>),
    Rows(Box<Rows>),
    Elements(Elements),
    /// Of an object, or inside of one.
    Whole(std::vec::IntoIter<Json>),
}

struct Rows {
    reader: csv::Reader<Bytes>,
    headers: Vec<Box<[u8]>>,
    row: csv::ByteRecord,
}

fn failed(cause: impl Into<String>) -> Fault {
    Fault::new(fault::ITEM_READER_FAILED, cause)
}

fn unreadable(error: &io::Error) -> Fault {
    failed(format!("The data cannot be read: {error}"))
}

impl Items {
    /// Of data in this format; at most so many, where that is not 0.
    pub(super) fn new(
        data: Box<dyn Read + Send>,
        format: &Format,
        pointer: Option<&str>,
        items_max: u64,
    ) -> Result<Items, Fault> {
        let bytes = unpacked(data).map_err(|error| unreadable(&error))?;
        let form = match format {
            Format::JsonLines => Form::Lines(bytes, Vec::new()),
            Format::Csv { delimiter, headers } => {
                Form::Rows(Box::new(rows(bytes, *delimiter, headers.as_deref())?))
            }
            Format::Json => json_items(bytes, pointer)?,
            Format::List | Format::Parquet | Format::Manifest(_) => {
                return Err(failed("Data in this format cannot be read here: use JSON, JSONL or CSV"));
            }
        };
        Ok(Items { form, left: if items_max == 0 { u64::MAX } else { items_max } })
    }

    /// Puts the next item, JSON text that may not be valid, in place of what `item` holds. False when there is none.
    pub(super) fn next(&mut self, item: &mut Vec<u8>) -> Result<bool, Fault> {
        item.clear();
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        match &mut self.form {
            Form::Lines(bytes, line) => next_line(bytes, line, item),
            Form::Rows(rows) => rows.next(item),
            Form::Elements(elements) => elements.next(item),
            Form::Whole(items) => match items.next() {
                None => Ok(false),
                Some(value) => {
                    item.extend_from_slice(value.to_string().as_bytes());
                    Ok(true)
                }
            },
        }
    }
}

/// What is packed by gzip is unpacked.
fn unpacked(data: Box<dyn Read + Send>) -> io::Result<Bytes> {
    let mut bytes = BufReader::with_capacity(BUFFER_BYTES, data);
    let is_gzip = bytes.fill_buf()?.starts_with(&[0x1F, 0x8B]);
    Ok(match is_gzip {
        true => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(bytes))),
        false => Box::new(bytes),
    })
}

/// Lines without anything in them are none.
fn next_line(bytes: &mut Bytes, line: &mut Vec<u8>, item: &mut Vec<u8>) -> Result<bool, Fault> {
    loop {
        line.clear();
        let mut limited = bytes.take(ITEM_BYTES_MAX as u64 + 1);
        let read = limited.read_until(b'\n', line).map_err(|error| unreadable(&error))?;
        if read > ITEM_BYTES_MAX {
            return Err(failed("An item is larger than 8 MB"));
        }
        if read == 0 {
            return Ok(false);
        }
        let text = line.trim_ascii();
        if !text.is_empty() {
            item.extend_from_slice(text);
            return Ok(true);
        }
    }
}

fn rows(bytes: Bytes, delimiter: u8, given: Option<&[Box<str>]>) -> Result<Rows, Fault> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .escape(Some(b'\\'))
        .buffer_capacity(BUFFER_BYTES)
        .from_reader(bytes);
    let mut row = csv::ByteRecord::new();
    let names: Vec<Vec<u8>> = match given {
        Some(names) => names.iter().map(|name| name.as_bytes().to_vec()).collect(),
        None => {
            reader.read_byte_record(&mut row).map_err(|error| failed(error.to_string()))?;
            row.iter().map(<[u8]>::to_vec).collect()
        }
    };
    let mut sorted = names.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|two| two[0] == two[1]) {
        return Err(failed("CSV headers cannot contain duplicates."));
    }
    let quoted = |name: &Vec<u8>| {
        let mut key = Vec::new();
        json::write_string(&String::from_utf8_lossy(name), &mut key);
        key.push(b':');
        key.into_boxed_slice()
    };
    Ok(Rows { reader, headers: names.iter().map(quoted).collect(), row })
}

impl Rows {
    /// A row as an object by header: what a short row lacks is empty, and what a long one has more is dropped.
    fn next(&mut self, item: &mut Vec<u8>) -> Result<bool, Fault> {
        let read = self.reader.read_byte_record(&mut self.row);
        if !read.map_err(|error| failed(format!("The data cannot be read: {error}")))? {
            return Ok(false);
        }
        item.push(b'{');
        for (n, header) in self.headers.iter().enumerate() {
            if n > 0 {
                item.push(b',');
            }
            item.extend_from_slice(header);
            json::write_string(&String::from_utf8_lossy(self.row.get(n).unwrap_or(b"")), item);
        }
        item.push(b'}');
        match item.len() > ITEM_BYTES_MAX {
            true => Err(failed("An item is larger than 8 MB")),
            false => Ok(true),
        }
    }
}

fn json_items(mut bytes: Bytes, pointer: Option<&str>) -> Result<Form, Fault> {
    if pointer.is_none() && first(&mut bytes)? == Some(b'[') {
        bytes.consume(1);
        return Ok(Form::Elements(Elements { bytes, is_first: true }));
    }
    let mut text = Vec::new();
    let read = bytes.take(WHOLE_BYTES_MAX + 1).read_to_end(&mut text).map_err(|error| unreadable(&error))?;
    if read as u64 > WHOLE_BYTES_MAX {
        return Err(failed(
            "A JSON object, or one with an ItemsPointer, may have 64 MiB: use a JSON array, or JSONL",
        ));
    }
    let whole: Json =
        serde_json::from_slice(&text).map_err(|error| failed(format!("The data is not JSON: {error}")))?;
    let found = match pointer {
        None => whole,
        Some(pointer) => whole.pointer(pointer).cloned().ok_or_else(|| {
            // Measured.
            failed(
                "The provided ReaderConfig.ItemsPointer does not match any valid path in the JSON structure.",
            )
        })?,
    };
    match found {
        Json::Array(items) => Ok(Form::Whole(items.into_iter())),
        Json::Object(members) => {
            let pairs =
                members.into_iter().map(|(key, value)| serde_json::json!({"Key": key, "Value": value}));
            Ok(Form::Whole(pairs.collect::<Vec<_>>().into_iter()))
        }
        // Recorded.
        _ => Err(failed("Attempting to map over non-iterable node.")),
    }
}

/// The first byte that is no white space.
fn first(bytes: &mut Bytes) -> Result<Option<u8>, Fault> {
    loop {
        let buffer = bytes.fill_buf().map_err(|error| unreadable(&error))?;
        if buffer.is_empty() {
            return Ok(None);
        }
        match buffer.iter().position(|byte| !byte.is_ascii_whitespace()) {
            Some(at) => {
                let byte = buffer[at];
                bytes.consume(at);
                return Ok(Some(byte));
            }
            None => {
                let all = buffer.len();
                bytes.consume(all);
            }
        }
    }
}

/// The elements of a JSON array. Only where each ends is looked for: whoever reads an element sees whether it is JSON.
struct Elements {
    bytes: Bytes,
    is_first: bool,
}

impl Elements {
    fn next(&mut self, item: &mut Vec<u8>) -> Result<bool, Fault> {
        let cut_off = || failed("The data is not JSON: the array has no end");
        let byte = first(&mut self.bytes)?.ok_or_else(cut_off)?;
        match byte {
            b']' => {
                self.bytes.consume(1);
                return match first(&mut self.bytes)? {
                    None => Ok(false),
                    Some(_) => Err(failed("The data is not JSON: something stands behind the array")),
                };
            }
            b',' if !self.is_first => self.bytes.consume(1),
            _ if self.is_first => {}
            _ => return Err(failed("The data is not JSON: a comma is missing in the array")),
        }
        self.is_first = false;
        first(&mut self.bytes)?.ok_or_else(cut_off)?;
        let (mut depth, mut in_string, mut is_escaped) = (0u32, false, false);
        loop {
            let buffer = self.bytes.fill_buf().map_err(|error| unreadable(&error))?;
            if buffer.is_empty() {
                return Err(cut_off());
            }
            let end = buffer.iter().position(|&byte| {
                match byte {
                    _ if is_escaped => is_escaped = false,
                    b'\\' if in_string => is_escaped = true,
                    b'"' => in_string = !in_string,
                    _ if in_string => {}
                    b',' | b']' if depth == 0 => return true,
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                false
            });
            let taken = end.unwrap_or(buffer.len());
            if item.len() + taken > ITEM_BYTES_MAX {
                return Err(failed("An item is larger than 8 MB"));
            }
            item.extend_from_slice(&buffer[..taken]);
            self.bytes.consume(taken);
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(data: &[u8], format: &Format, pointer: Option<&str>, most: u64) -> Result<Vec<String>, String> {
        let told = |fault: Fault| fault.cause.unwrap_or_default();
        let data = Box::new(io::Cursor::new(data.to_vec()));
        let mut items = Items::new(data, format, pointer, most).map_err(told)?;
        let (mut all, mut item) = (Vec::new(), Vec::new());
        while items.next(&mut item).map_err(told)? {
            all.push(String::from_utf8(item.clone()).expect("UTF-8"));
        }
        Ok(all)
    }

    #[test]
    fn formats_give_items() {
        let csv = |delimiter, headers: Option<&[&str]>| Format::Csv {
            delimiter,
            headers: headers.map(|names| names.iter().map(|name| (*name).into()).collect()),
        };
        for (data, format, pointer, expected) in [
            (
                " [1, \"a,]\\\"\" ,{\"b\": [2,3]}\n]\n",
                Format::Json,
                None,
                vec!["1", "\"a,]\\\"\" ", "{\"b\": [2,3]}\n"],
            ),
            ("[]", Format::Json, None, vec![]),
            ("{\"a\": 1}", Format::Json, None, vec!["{\"Key\":\"a\",\"Value\":1}"]),
            ("{\"a\": {\"b\": [1]}}", Format::Json, Some("/a/b"), vec!["1"]),
            ("1\n\n {\"a\":2} \r\n3", Format::JsonLines, None, vec!["1", "{\"a\":2}", "3"]),
            (
                "a,b\n1\n\"x,\"\"y\",2,3\n\n",
                csv(b',', None),
                None,
                vec!["{\"a\":\"1\",\"b\":\"\"}", "{\"a\":\"x,\\\"y\",\"b\":\"2\"}"],
            ),
            ("1;2\n", csv(b';', Some(&["h", "i"])), None, vec!["{\"h\":\"1\",\"i\":\"2\"}"]),
        ] {
            let told = format!("{data:?}");
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(items(data.as_bytes(), &format, pointer, 0), Ok(expected.clone()), "{told}");
            let one = items(data.as_bytes(), &format, pointer, 1).expect("items");
            assert_eq!(one, expected[..expected.len().min(1)], "{told}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let duplicate = Format::Csv { delimiter: b',', headers: None };
        for (data, format, pointer, cause) in [
            ("[1, 2", Format::Json, None, "the array has no end"),
            ("[1 2]", Format::Json, None, "valid"),
            ("[1] 2", Format::Json, None, "something stands behind"),
            ("7", Format::Json, None, "non-iterable node"),
            ("{", Format::Json, None, "is not JSON"),
            ("{\"a\": 1}", Format::Json, Some("/b"), "does not match any valid path"),
            ("a,a\n1,2", duplicate, None, "CSV headers cannot contain duplicates."),
        ] {
            match items(data.as_bytes(), &format, pointer, 0) {
                Err(why) => assert!(why.contains(cause), "{data:?}: {why}"),
                // Where an element ends is seen; that it is no JSON, by who reads it.
                Ok(found) => assert_eq!((cause, found), ("valid", vec!["1 2".to_owned()]), "{data:?}"),
            }
        }
    }

    #[test]
    fn gzip_is_unpacked_and_a_cut_is_seen() {
        use std::io::Write as _;
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(b"1\n2\n").expect("memory");
        let packed = packer.finish().expect("memory");
        assert_eq!(items(&packed, &Format::JsonLines, None, 0), Ok(vec!["1".to_owned(), "2".to_owned()]));
        let cut = items(&packed[..packed.len() - 6], &Format::JsonLines, None, 0);
        assert!(cut.as_ref().is_err_and(|why| why.contains("cannot be read")), "{cut:?}");
    }
}

//! `ItemReader`: items from a stream of bytes, one after the other (developer guide, "ItemReader").
//!
//! A stream is never completely in memory, except for a JSON object, or an array nested in one.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::super::errand::{Allowance, Errand};
use super::holding::Bounds;
use super::members::{ITEM_BYTES_MAX, Members};
use super::paced::{Bytes, Paced, Packets, polled, unreadable};
use super::rows::Rows;
use crate::fault::{self, Fault};
use crate::fuel::Fuel;
use crate::json::{Arena, Value};
use crate::program::Format;
use crate::task::data::Source;
use flate2::bufread::MultiGzDecoder;

/// Bytes of a JSON object whose members are the items, or into which `ItemsPointer` points.
const WHOLE_BYTES_MAX: usize = 64 << 20;
/// Bytes of one read, and of one of data that is packed.
const BUFFER_BYTES: usize = 256 << 10;
const PACKED_BYTES: usize = 32 << 10;
/// The window of zstd: 32 MiB, four times that of its usual levels.
const WINDOW_LOG_MAX: u32 = 25;
/// What a frame of zstd begins with.
const ZSTD: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD];
/// Bytes that identify a compressed stream.
const MAGIC_BYTES: usize = 4;

/// Reads items.
pub(super) struct Items {
    form: Form,
    format: Format,
    pointer: Option<Box<str>>,
    /// How many may still be read.
    left: u64,
    waker: Rc<RefCell<Waker>>,
    version: Rc<RefCell<Option<String>>>,
    bounds: Bounds,
}

enum Form {
    /// The beginning of the stream is not read yet.
    Packed(Packed),
    Bytes(Bytes),
    Lines(Bytes, Vec<u8>),
    Rows(Box<Rows>),
    Elements(Elements),
    /// An object, or a nested value, as far as it is read.
    Part(Bytes, Vec<u8>),
    /// The same, as it is parsed.
    Parsing(Errand<Result<Members, Fault>>),
    Whole(Members),
    #[cfg(feature = "parquet")]
    Columns(Box<super::parquet::Rows>),
    /// The data cannot be read.
    Broken,
}

/// A polled source as a reader.
struct Stream {
    source: Box<dyn Source>,
    waker: Rc<RefCell<Waker>>,
    /// Of the data, when some of it was read.
    version: Rc<RefCell<Option<String>>>,
    is_begun: bool,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let waker = self.waker.borrow().clone();
        match self.source.poll_read(&mut Context::from_waker(&waker), buffer) {
            Poll::Ready(read) => {
                if !std::mem::replace(&mut self.is_begun, true) {
                    *self.version.borrow_mut() = self.source.version();
                }
                read
            }
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

fn failed(cause: impl Into<String>) -> Fault {
    Fault::new(fault::ITEM_READER_FAILED, cause)
}

impl Items {
    /// Of data in this format.
    pub(super) fn new(
        source: Box<dyn Source>,
        format: &Format,
        pointer: Option<&str>,
        bounds: Bounds,
    ) -> Result<Items, Fault> {
        let waker = Rc::new(RefCell::new(Waker::noop().clone()));
        let version = Rc::new(RefCell::new(None));
        let form = match format {
            #[cfg(feature = "parquet")]
            Format::Parquet => Form::Columns(Box::new(super::parquet::Rows::new(source, bounds.clone()))),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => {
                let cause = "This program was built without the feature parquet, which reads such items";
                return Err(failed(cause));
            }
            Format::Manifest => {
                return Err(failed("A manifest has no items of its own: use JSON, JSONL or CSV"));
            }
            _ => {
                let (waker, version) = (Rc::clone(&waker), Rc::clone(&version));
                let stream = Stream { source, waker, version, is_begun: false };
                Form::Packed(Packed { head: Vec::new(), stream })
            }
        };
        Ok(Items {
            form,
            format: format.clone(),
            pointer: pointer.map(Into::into),
            left: u64::MAX,
            waker,
            version,
            bounds,
        })
    }

    /// Limits the number of items, unless it is 0.
    pub(super) fn at_most(self, items: u64) -> Items {
        Items { left: if items == 0 { u64::MAX } else { items }, ..self }
    }

    /// The version of the data, when some of it was read.
    pub(super) fn version(&self) -> Option<String> {
        match &self.form {
            #[cfg(feature = "parquet")]
            Form::Columns(rows) => rows.version(),
            _ => self.version.borrow().clone(),
        }
    }

    /// Reads the next item into `item`, JSON text that may be invalid. Returns false at the end.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        item: &mut Vec<u8>,
    ) -> Poll<Result<bool, Fault>> {
        if self.left == 0 {
            return Poll::Ready(Ok(false));
        }
        self.waker.borrow_mut().clone_from(context.waker());
        let has_item = loop {
            match &mut self.form {
                Form::Lines(bytes, line) => break ready!(next_line(bytes, line, item))?,
                Form::Rows(rows) => break ready!(rows.poll_next(item))?,
                #[cfg(feature = "parquet")]
                Form::Columns(rows) => break ready!(rows.poll_next(context, item))?,
                Form::Elements(elements) => break ready!(elements.poll_next(item))?,
                Form::Whole(members) => {
                    if self.bounds.allowance.is_spent() {
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    let has_item = members.next(item)?;
                    self.bounds.allowance.charge(item.len() as u64);
                    break has_item;
                }
                Form::Parsing(_) => ready!(self.poll_parsed(context))?,
                _ => ready!(self.poll_form())?,
            }
        };
        self.left -= 1;
        Poll::Ready(Ok(has_item))
    }

    /// Reads the whole data, a JSON object, instead of its items. It is ready again whenever it is asked for.
    pub(super) fn poll_whole(&mut self, context: &mut Context<'_>) -> Poll<Result<(&Arena, Value), Fault>> {
        self.waker.borrow_mut().clone_from(context.waker());
        loop {
            match &mut self.form {
                Form::Whole(_) => break,
                Form::Parsing(_) => ready!(self.poll_parsed(context))?,
                _ => ready!(self.poll_form())?,
            }
        }
        let Form::Whole(members) = &self.form else { unreachable!("it is whole") };
        Poll::Ready(Ok((&members.arena, members.of)))
    }

    /// Goes on with parsing.
    fn poll_parsed(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Form::Parsing(parsing) = &mut self.form else { return Poll::Ready(Ok(())) };
        let Some(members) = parsing.go_on(&self.bounds.allowance) else {
            context.waker().wake_by_ref();
            return Poll::Pending;
        };
        let members = members?;
        (self.bounds.hold)(members.arena.capacity_bytes())?;
        self.form = Form::Whole(members);
        Poll::Ready(Ok(()))
    }

    /// Takes a step towards finding the form of the items in the stream.
    fn poll_form(&mut self) -> Poll<Result<(), Fault>> {
        let json = match &mut self.form {
            Form::Packed(packed) => {
                ready!(packed.poll_head())?;
                false
            }
            Form::Bytes(bytes) if self.format == Format::Json && self.pointer.is_none() => {
                ready!(first(bytes))? == Some(b'[')
            }
            Form::Part(bytes, text) => {
                let read = read_whole(bytes, text);
                (self.bounds.hold)(text.capacity())?;
                ready!(read)?;
                false
            }
            _ => false,
        };
        self.form = match (std::mem::replace(&mut self.form, Form::Broken), &self.format) {
            (Form::Packed(packed), _) => {
                (self.bounds.hold)(packed.bytes())?;
                let (waker, allowance) = (Rc::clone(&self.waker), Rc::clone(&self.bounds.allowance));
                let bytes = packed.unpacked(&waker, &allowance)?;
                Form::Bytes(Box::new(Paced { bytes, waker, allowance }))
            }
            (Form::Bytes(bytes), Format::Csv { delimiter, headers }) => {
                Form::Rows(Box::new(Rows::new(bytes, *delimiter, headers.as_deref())?))
            }
            (Form::Bytes(mut bytes), Format::Json) if json => {
                bytes.consume(1);
                Form::Elements(Elements::new(bytes))
            }
            (Form::Bytes(bytes), Format::Json) => Form::Part(bytes, Vec::new()),
            (Form::Bytes(bytes), _) => Form::Lines(bytes, Vec::new()),
            (Form::Part(_, text), _) => {
                let (pointer, hold) = (self.pointer.clone(), Arc::clone(&self.bounds.hold));
                let parse = move |fuel: &Fuel<'_>| Members::parse(&text, pointer.as_deref(), &hold, fuel);
                Form::Parsing(Errand::new(parse)?)
            }
            _ => return Poll::Ready(Err(failed("The data cannot be read"))),
        };
        Poll::Ready(Ok(()))
    }
}

/// A stream that may be compressed.
struct Packed {
    /// As many bytes as are needed to decide.
    head: Vec<u8>,
    stream: Stream,
}

impl Packed {
    /// Bytes that it takes while it is read.
    fn bytes(&self) -> usize {
        let window = if self.head.starts_with(ZSTD) { 1 << WINDOW_LOG_MAX } else { 0 };
        window + 2 * BUFFER_BYTES
    }

    fn poll_head(&mut self) -> Poll<Result<(), Fault>> {
        while self.head.len() < MAGIC_BYTES {
            let mut bytes = [0; MAGIC_BYTES];
            let room = &mut bytes[self.head.len()..];
            let read = match self.stream.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => ready!(polled(read))?,
            };
            if read == 0 {
                break;
            }
            let begin = self.head.len();
            self.head.extend_from_slice(&bytes[begin..begin + read]);
        }
        Poll::Ready(Ok(()))
    }

    /// Decompresses gzip or zstd.
    fn unpacked(self, waker: &Rc<RefCell<Waker>>, allowance: &Rc<Allowance>) -> Result<Bytes, Fault> {
        let is_zstd = self.head.starts_with(ZSTD);
        let is_gzip = self.head.starts_with(&[0x1F, 0x8B]);
        let bytes = Cursor::new(self.head).chain(self.stream);
        if !(is_zstd || is_gzip) {
            return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, bytes)));
        }
        let bytes = BufReader::with_capacity(PACKED_BYTES, Packets::of(bytes, waker, allowance));
        if is_zstd {
            let unreadable = |error| unreadable(&error);
            let mut unpacked = zstd::stream::read::Decoder::with_buffer(bytes).map_err(unreadable)?;
            unpacked.window_log_max(WINDOW_LOG_MAX).map_err(unreadable)?;
            Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, unpacked)))
        } else {
            Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(bytes))))
        }
    }
}

/// Reads the next line that is not empty into `item`; false at the end. `line` keeps the part of a line that was read
/// before the stream had no more data.
fn next_line(bytes: &mut Bytes, line: &mut Vec<u8>, item: &mut Vec<u8>) -> Poll<Result<bool, Fault>> {
    loop {
        let room = (ITEM_BYTES_MAX + 1).saturating_sub(line.len());
        ready!(polled(bytes.take(room as u64).read_until(b'\n', line)))?;
        if line.len() > ITEM_BYTES_MAX {
            return Poll::Ready(Err(failed("An item is larger than 8 MB")));
        }
        if line.is_empty() {
            return Poll::Ready(Ok(false));
        }
        let text = line.trim_ascii();
        let is_empty = text.is_empty();
        item.clear();
        item.extend_from_slice(text);
        line.clear();
        if !is_empty {
            return Poll::Ready(Ok(true));
        }
    }
}

/// Reads the rest.
fn read_whole(bytes: &mut Bytes, text: &mut Vec<u8>) -> Poll<Result<(), Fault>> {
    let room = (WHOLE_BYTES_MAX + 1).saturating_sub(text.len());
    ready!(polled(bytes.take(room as u64).read_to_end(text)))?;
    if text.len() > WHOLE_BYTES_MAX {
        return Poll::Ready(Err(failed(
            "A JSON object, or one with an ItemsPointer, may have 64 MiB: use a JSON array, or JSONL",
        )));
    }
    Poll::Ready(Ok(()))
}

/// The first byte that is not white space.
fn first(bytes: &mut Bytes) -> Poll<Result<Option<u8>, Fault>> {
    loop {
        let buffer = ready!(polled(bytes.fill_buf()))?;
        if buffer.is_empty() {
            return Poll::Ready(Ok(None));
        }
        match buffer.iter().position(|byte| !byte.is_ascii_whitespace()) {
            Some(at) => {
                let byte = buffer[at];
                bytes.consume(at);
                return Poll::Ready(Ok(Some(byte)));
            }
            None => {
                let all = buffer.len();
                bytes.consume(all);
            }
        }
    }
}

/// The elements of a JSON array. Only the end of each is found: whether it is JSON is checked when it is used.
struct Elements {
    bytes: Bytes,
    is_first: bool,
    next: Expected,
    /// The part of an element that was read.
    element: Vec<u8>,
    depth: u32,
    in_string: bool,
    is_escaped: bool,
}

/// The next token in an array.
enum Expected {
    /// A comma, or the end.
    Comma,
    Element,
    Rest,
    Nothing,
}

impl Elements {
    /// Behind the bracket.
    fn new(bytes: Bytes) -> Elements {
        let (next, element) = (Expected::Comma, Vec::new());
        Elements { bytes, is_first: true, next, element, depth: 0, in_string: false, is_escaped: false }
    }

    fn poll_next(&mut self, item: &mut Vec<u8>) -> Poll<Result<bool, Fault>> {
        let cut_off = || failed("The data is not JSON: the array has no end");
        loop {
            match self.next {
                Expected::Comma => {
                    self.next = match ready!(first(&mut self.bytes))?.ok_or_else(cut_off)? {
                        b']' => {
                            self.bytes.consume(1);
                            Expected::Nothing
                        }
                        b',' if !self.is_first => {
                            self.bytes.consume(1);
                            Expected::Element
                        }
                        _ if self.is_first => Expected::Element,
                        _ => {
                            let cause = "The data is not JSON: a comma is missing in the array";
                            return Poll::Ready(Err(failed(cause)));
                        }
                    };
                    self.is_first = false;
                }
                Expected::Element => {
                    ready!(first(&mut self.bytes))?.ok_or_else(cut_off)?;
                    self.next = Expected::Rest;
                }
                Expected::Rest => {
                    ready!(self.poll_rest(cut_off))?;
                    std::mem::swap(item, &mut self.element);
                    self.element.clear();
                    self.next = Expected::Comma;
                    return Poll::Ready(Ok(true));
                }
                Expected::Nothing => {
                    return Poll::Ready(match ready!(first(&mut self.bytes))? {
                        None => Ok(false),
                        Some(_) => Err(failed("The data is not JSON: something stands behind the array")),
                    });
                }
            }
        }
    }

    /// Reads up to the end of an element.
    fn poll_rest(&mut self, cut_off: impl FnOnce() -> Fault) -> Poll<Result<(), Fault>> {
        let Elements { bytes, element, depth, in_string, is_escaped, .. } = self;
        loop {
            let buffer = ready!(polled(bytes.fill_buf()))?;
            if buffer.is_empty() {
                return Poll::Ready(Err(cut_off()));
            }
            let end = buffer.iter().position(|&byte| {
                match byte {
                    _ if *is_escaped => *is_escaped = false,
                    b'\\' if *in_string => *is_escaped = true,
                    b'"' => *in_string = !*in_string,
                    _ if *in_string => {}
                    b',' | b']' if *depth == 0 => return true,
                    b'[' | b'{' => *depth += 1,
                    b']' | b'}' => *depth = depth.saturating_sub(1),
                    _ => {}
                }
                false
            });
            let taken = end.unwrap_or(buffer.len());
            if element.len() + taken > ITEM_BYTES_MAX {
                return Poll::Ready(Err(failed("An item is larger than 8 MB")));
            }
            element.extend_from_slice(&buffer[..taken]);
            bytes.consume(taken);
            if end.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::errand::Allowance;

    /// Returns a byte at a time, only at every second call.
    struct Slow(Cursor<Vec<u8>>, bool);

    impl Source for Slow {
        fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            self.1 = !self.1;
            if self.1 {
                return Poll::Pending;
            }
            Poll::Ready(self.0.read(&mut buffer[..1]))
        }
    }

    /// They do not depend on how the data is split.
    fn items(data: &[u8], format: &Format, pointer: Option<&str>, most: u64) -> Result<Vec<String>, String> {
        let at_once = read(Box::new(Cursor::new(data.to_vec())), format, pointer, most);
        let slowly = read(Box::new(Slow(Cursor::new(data.to_vec()), false)), format, pointer, most);
        assert_eq!(at_once, slowly, "{data:?}");
        at_once
    }

    fn read(
        source: Box<dyn Source>,
        format: &Format,
        pointer: Option<&str>,
        most: u64,
    ) -> Result<Vec<String>, String> {
        let told = |fault: Fault| fault.cause.unwrap_or_default();
        let allowance = Rc::<Allowance>::default();
        let bounds = Bounds::of(&allowance, Arc::new(|_| Ok(())));
        let items = Items::new(source, format, pointer, bounds);
        let mut items = items.map_err(told)?.at_most(most);
        let (mut all, mut item) = (Vec::new(), Vec::new());
        loop {
            allowance.renew();
            match items.poll_next(&mut Context::from_waker(Waker::noop()), &mut item) {
                Poll::Pending => {}
                Poll::Ready(Ok(false)) => return Ok(all),
                Poll::Ready(Ok(true)) => all.push(String::from_utf8(item.clone()).expect("UTF-8")),
                Poll::Ready(Err(fault)) => return Err(told(fault)),
            }
        }
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
                // The end of an element is found here; that it is not JSON, by its user.
                Ok(found) => assert_eq!((cause, found), ("valid", vec!["1 2".to_owned()]), "{data:?}"),
            }
        }
    }

    #[test]
    fn headers_are_bounded() {
        let csv = Format::Csv { delimiter: b',', headers: None };
        for (bytes, is_read) in [(10 << 10, true), ((10 << 10) + 1, false)] {
            let data = format!("a,{}\n1,2", "b".repeat(bytes - 2));
            match items(data.as_bytes(), &csv, None, 0) {
                Ok(found) => assert!(is_read && found.len() == 1, "{bytes}: {found:?}"),
                Err(why) => assert!(!is_read && why.contains("larger than 10 KiB"), "{bytes}: {why}"),
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

    #[test]
    fn zstd_is_unpacked_and_a_cut_is_seen() {
        use std::io::Write as _;
        let pack = |text: &str| zstd::encode_all(text.as_bytes(), 3).expect("memory");
        // Frames are concatenated.
        let packed = [pack("1\n2"), pack("\n3\n")].concat();
        let all = ["1", "2", "3"].map(str::to_owned).to_vec();
        assert_eq!(items(&packed, &Format::JsonLines, None, 0), Ok(all));
        for cut in [&packed[..packed.len() - 3], b"\x28\xB5\x2F\xFD\n"] {
            let cut = items(cut, &Format::JsonLines, None, 0);
            assert!(cut.as_ref().is_err_and(|why| why.contains("cannot be read")), "{cut:?}");
        }
        let mut wide = zstd::Encoder::new(Vec::new(), 3).expect("memory");
        wide.window_log(27).expect("a window");
        // Flushed data has a header without the content's size.
        wide.write_all(b"1\n").and_then(|()| wide.flush()).expect("memory");
        let wide = wide.finish().expect("memory");
        let wide = items(&wide, &Format::JsonLines, None, 0);
        assert!(wide.as_ref().is_err_and(|why| why.contains("memory")), "{wide:?}");
    }
}

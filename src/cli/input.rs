//! Sources of events, and cutting a stream of bytes into batches of lines.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use expressway::json::{self, Arena, ReadErrorKind};
use expressway::limits;
use expressway::os;
use expressway::runtime::inline::InputError;

use super::{Stop, files};

/// A source of events.
pub(super) enum Source {
    /// One JSON text.
    Text(Vec<u8>),
    /// A file.
    File(File),
    /// Standard input.
    Stdin,
}

impl Source {
    /// The source for `--input`: `-`, a JSON text, or the name of a file. Without it, events come from standard input;
    /// at a terminal, the workflow gets `{}` instead.
    pub(super) fn named(input: Option<&str>) -> Result<Source, Stop> {
        let Some(input) = input else {
            return Ok(if io::stdin().is_terminal() { Source::Text(b"{}".to_vec()) } else { Source::Stdin });
        };
        if input == "-" {
            return Ok(Source::Stdin);
        }
        let looks_like_json = input.trim_start().starts_with(['{', '[', '"']);
        if !looks_like_json && Path::new(input).exists() {
            return files::open(Path::new(input)).map(Source::File);
        }
        match json::read(&mut Arena::new(), input.as_bytes()) {
            Ok(_) => Ok(Source::Text(input.as_bytes().to_vec())),
            // A number beyond a double is JSON, too.
            Err(error) if looks_like_json || error.kind == ReadErrorKind::NumberRange => {
                Err(Stop::failed(format!("the input {}: {error}", error.verdict())))
            }
            Err(_) if input.trim().is_empty() => Err(Stop::failed(
                "--input is empty: it is a JSON text, the name of a file, or - for standard input",
            )),
            Err(_) => {
                let why = files::no_such_file(Path::new(input));
                Err(Stop::failed(format!("cannot read {input}: it is not JSON, and {why}")))
            }
        }
    }
}

impl Source {
    /// How many bytes there are to read, if known.
    pub(super) fn total_bytes(&self) -> Option<u64> {
        match self {
            Source::Text(text) => Some(text.len() as u64),
            Source::File(file) => {
                file.metadata().ok().filter(std::fs::Metadata::is_file).map(|about| about.len())
            }
            Source::Stdin => None,
        }
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Text(text) => {
                let n = text.len().min(into.len());
                into[..n].copy_from_slice(&text[..n]);
                text.drain(..n);
                Ok(n)
            }
            Source::File(file) => file.read(into),
            Source::Stdin => io::stdin().read(into),
        }
    }
}

/// Whole lines, and the number of the first one from 1.
pub(super) struct Batch {
    pub(super) text: Vec<u8>,
    pub(super) first_line: u64,
    /// The whole text is one event, although it has several lines.
    pub(super) is_one_event: bool,
    /// Bytes of the first line that were dropped, because it is longer than any input may be.
    pub(super) dropped: u64,
}

/// The position in a batch.
#[derive(Clone, Copy, Default)]
pub(super) struct Cursor {
    at: usize,
    lines: u64,
}

/// One event of a batch.
pub(super) struct Event<'b> {
    pub(super) line: u64,
    pub(super) input: Result<&'b [u8], InputError>,
    /// Bytes of the input up to its end.
    pub(super) bytes: u64,
}

impl Batch {
    /// The next event. Empty lines are skipped.
    #[inline]
    pub(super) fn next(&self, cursor: &mut Cursor) -> Option<Event<'_>> {
        let mut bytes = 0;
        while let Some(rest) = self.text.get(cursor.at..).filter(|rest| !rest.is_empty() || cursor.lines == 0)
        {
            let line = self.first_line + cursor.lines;
            let end = if self.is_one_event {
                rest.len()
            } else {
                memchr::memchr(b'\n', rest).unwrap_or(rest.len())
            };
            cursor.at += end + 1;
            cursor.lines += 1;
            bytes += end as u64 + 1;
            if self.dropped > 0 && cursor.lines == 1 {
                let length = self.dropped + end as u64;
                let input = Err(InputError::TooLarge(usize::try_from(length).unwrap_or(usize::MAX)));
                return Some(Event { line, input, bytes: bytes + self.dropped });
            }
            let text = rest[..end].trim_ascii();
            if !text.is_empty() {
                return Some(Event { line, input: Ok(text), bytes });
            }
        }
        None
    }
}

/// A batch is never larger than the reader's buffer, which holds the largest input.
const _: () = assert!(BUFFER_BYTES > limits::PAYLOAD_BYTES_MAX as usize);

/// Cuts a stream into batches of whole lines. The buffer is larger than any input may be, so a line that does not fit
/// is dropped, and its bytes counted.
pub(super) struct Batches<R> {
    source: R,
    buffer: Vec<u8>,
    /// Bytes dropped of the present line.
    dropped: u64,
    line: u64,
    begun: bool,
    ended: bool,
}

/// What a reader holds at most.
pub(super) const BUFFER_BYTES: usize = 1 << 19;
/// Bytes of one read: enough that handing it to another thread costs nothing, little enough to stay in the caches.
const READ_BYTES: usize = 1 << 17;

impl<R: Read> Batches<R> {
    pub(super) fn new(source: R) -> Batches<R> {
        Batches {
            source,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            dropped: 0,
            line: 1,
            begun: false,
            ended: false,
        }
    }

    /// The whole lines that the next read completes; `None` at the end of the stream. A stream with a single JSON text
    /// over several lines, as people write it, is one event.
    pub(super) fn next(&mut self) -> io::Result<Option<Batch>> {
        if self.line == 1 && self.dropped == 0 && self.is_one_text()? {
            let text = std::mem::take(&mut self.buffer);
            return Ok(Some(Batch { text, first_line: 1, is_one_event: true, dropped: 0 }));
        }
        loop {
            let whole = match memchr::memrchr(b'\n', &self.buffer) {
                Some(at) => at + 1,
                None if self.ended => self.buffer.len(),
                None => 0,
            };
            if whole > 0 || (self.ended && self.dropped > 0) {
                return Ok(Some(self.cut(whole)));
            }
            if self.ended {
                return Ok(None);
            }
            if self.dropped > 0 || self.buffer.len() > BUFFER_BYTES - READ_BYTES {
                self.dropped += self.buffer.len() as u64;
                self.buffer.clear();
            }
            self.read()?;
        }
    }

    fn cut(&mut self, whole: usize) -> Batch {
        let mut rest = Vec::with_capacity(BUFFER_BYTES);
        rest.extend_from_slice(&self.buffer[whole..]);
        let mut text = std::mem::replace(&mut self.buffer, rest);
        text.truncate(whole);
        let first_line = self.line;
        self.line += memchr::memchr_iter(b'\n', &text).count() as u64;
        Batch { text, first_line, is_one_event: false, dropped: std::mem::take(&mut self.dropped) }
    }

    fn read(&mut self) -> io::Result<()> {
        let from = self.buffer.len();
        self.buffer.resize(from + READ_BYTES, 0);
        let read = loop {
            match self.source.read(&mut self.buffer[from..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(from + read.as_ref().map_or(0, |n| *n));
        self.ended = read? == 0;
        Ok(())
    }

    /// Whether the first line is the beginning of a JSON text that ends with the stream. Only then the reader waits for
    /// more than a line.
    fn is_one_text(&mut self) -> io::Result<bool> {
        let has_room = |buffer: &Vec<u8>| buffer.len() <= BUFFER_BYTES - READ_BYTES;
        while memchr::memchr(b'\n', &self.buffer).is_none() && !self.ended && has_room(&self.buffer) {
            self.read()?;
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.buffer = os::without_mark(std::mem::take(&mut self.buffer))?;
        }
        let Some(end) = memchr::memchr(b'\n', &self.buffer) else { return Ok(false) };
        let first = self.buffer[..end].trim_ascii();
        let is_begun = |error: json::ReadError| error.kind == ReadErrorKind::UnexpectedEnd;
        if first.is_empty() || !json::read(&mut Arena::new(), first).is_err_and(is_begun) {
            return Ok(false);
        }
        while !self.ended && has_room(&self.buffer) {
            self.read()?;
        }
        Ok(self.ended && json::read(&mut Arena::new(), &self.buffer).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a few bytes at a time.
    struct Slowly<'t>(&'t [u8], usize);

    impl Read for Slowly<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(into.len());
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn batches(text: &[u8], step: usize) -> Vec<Batch> {
        let mut batches = Batches::new(Slowly(text, step));
        std::iter::from_fn(|| batches.next().expect("a slice can be read")).collect()
    }

    #[test]
    fn batches_hold_whole_lines_and_know_their_numbers() {
        let text = b"{}\n\n[1]\n2";
        for step in 1..=text.len() {
            let all = batches(text, step);
            assert_eq!(all.iter().flat_map(|it| it.text.clone()).collect::<Vec<u8>>(), text);
            let mut line = 1;
            for batch in &all {
                assert_eq!(batch.first_line, line);
                line += batch.text.iter().filter(|&&byte| byte == b'\n').count() as u64;
            }
        }
        assert!(batches(b"", 1).is_empty());
    }

    #[test]
    fn one_text_over_several_lines_is_one_event_and_other_texts_are_not() {
        assert!(batches(b"{\n  \"a\": 1\n}\n", 3)[0].is_one_event);
        assert!(!batches(b"{\n{}\n", 3)[0].is_one_event);
        assert!(!batches(b"{}\n{}\n", 3)[0].is_one_event);
    }

    #[test]
    fn a_line_that_does_not_fit_is_counted_and_the_next_one_is_whole() {
        let long = 3 * BUFFER_BYTES + 5;
        let mut text = vec![b'x'; long];
        text.extend(b"\nnext\n");
        let all = batches(&text, READ_BYTES);
        let bytes = all[0].dropped + all[0].text.iter().position(|&byte| byte == b'\n').unwrap_or(0) as u64;
        assert_eq!((all.len(), bytes, all[0].first_line), (1, long as u64, 1));
        assert!(all[0].text.ends_with(b"\nnext\n"));
        let all = batches(&vec![b'x'; long], READ_BYTES);
        assert_eq!(all.iter().map(|it| it.dropped + it.text.len() as u64).sum::<u64>(), long as u64);
        assert!(all.len() == 1 && all[0].dropped > 0);
    }
}

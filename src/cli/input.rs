//! Where events come from, and how a stream of bytes becomes lines without an allocation for each.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use expressway::json::{self, Arena, ReadErrorKind};
use expressway::limits;

use super::{Stop, definition};

/// Where events come from.
pub(super) enum Source {
    /// One JSON text.
    Text(Vec<u8>),
    /// A file.
    File(File),
    /// Standard input.
    Stdin,
}

impl Source {
    /// What `--input` means: `-`, a JSON text, or the name of a file. Without it, events come from standard input; at a
    /// terminal nobody is made to type them, and the workflow gets `{}`.
    pub(super) fn named(input: Option<&str>) -> Result<Source, Stop> {
        let Some(input) = input else {
            return Ok(if io::stdin().is_terminal() { Source::Text(b"{}".to_vec()) } else { Source::Stdin });
        };
        if input == "-" {
            return Ok(Source::Stdin);
        }
        let looks_like_json = input.trim_start().starts_with(['{', '[', '"']);
        if !looks_like_json && Path::new(input).exists() {
            return definition::open(Path::new(input)).map(Source::File);
        }
        match json::read(&mut Arena::new(), input.as_bytes()) {
            Ok(_) => Ok(Source::Text(input.as_bytes().to_vec())),
            Err(error) if looks_like_json => Err(Stop::failed(format!("the input is not JSON: {error}"))),
            Err(_) => {
                Err(Stop::failed(format!("cannot read {input}: there is no such file, and it is not JSON")))
            }
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

/// Lines of a stream. The buffer is larger than any input may be, so a line that does not fit is not kept at all: its
/// bytes are counted and dropped.
pub(super) struct Lines<R> {
    source: R,
    buffer: Box<[u8]>,
    /// What is not handed out yet.
    from: usize,
    to: usize,
    /// No line ends before this.
    searched: usize,
    /// Bytes dropped of the line at hand.
    dropped: u64,
    number: u64,
    ended: bool,
}

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'b> {
    Whole(&'b [u8]),
    /// It was longer than the buffer, by how many bytes it had.
    Dropped(u64),
}

const BUFFER_BYTES: usize = 1 << 20;
const _: () = assert!(BUFFER_BYTES > limits::PAYLOAD_BYTES_MAX as usize);

impl<R: Read> Lines<R> {
    pub(super) fn new(source: R) -> Lines<R> {
        Lines {
            source,
            buffer: vec![0; BUFFER_BYTES].into(),
            from: 0,
            to: 0,
            searched: 0,
            dropped: 0,
            number: 0,
            ended: false,
        }
    }

    /// The next line and its number from 1, if it is here already.
    #[inline]
    pub(super) fn take(&mut self) -> Option<(u64, Line<'_>)> {
        let end = match memchr::memchr(b'\n', &self.buffer[self.searched..self.to]) {
            Some(at) => self.searched + at,
            None => {
                self.searched = self.to;
                if !self.ended || (self.from == self.to && self.dropped == 0) {
                    return None;
                }
                self.to
            }
        };
        self.number += 1;
        let text = self.from..end;
        self.from = (end + 1).min(self.to);
        self.searched = self.from;
        let line = match std::mem::take(&mut self.dropped) {
            0 => Line::Whole(&self.buffer[text]),
            dropped => Line::Dropped(dropped + text.len() as u64),
        };
        Some((self.number, line))
    }

    /// Waits for more bytes; whether there may be more lines.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        if self.from > 0 {
            self.buffer.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.searched -= self.from;
            self.from = 0;
        }
        if self.to == self.buffer.len() || self.dropped > 0 {
            self.dropped += self.to as u64;
            (self.to, self.searched) = (0, 0);
        }
        match self.source.read(&mut self.buffer[self.to..]) {
            Ok(0) => self.ended = true,
            Ok(n) => self.to += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// All that comes, when it is one JSON text over several lines, as people write it, rather than one a line.
    pub(super) fn whole(&mut self) -> io::Result<Option<Vec<u8>>> {
        while memchr::memchr(b'\n', self.text_at_hand()).is_none() && !self.is_full() && self.fill()? {}
        let first = self.text_at_hand().split(|&byte| byte == b'\n').next().unwrap_or_default();
        let incomplete = json::read(&mut Arena::new(), first).is_err_and(|error| {
            matches!(error.kind, ReadErrorKind::UnexpectedEnd) && !first.trim_ascii().is_empty()
        });
        if !incomplete {
            return Ok(None);
        }
        while !self.is_full() && self.fill()? {}
        if !self.ended || json::read(&mut Arena::new(), self.text_at_hand()).is_err() {
            return Ok(None);
        }
        let whole = self.text_at_hand().to_vec();
        (self.from, self.searched) = (self.to, self.to);
        Ok(Some(whole))
    }

    fn text_at_hand(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }

    fn is_full(&self) -> bool {
        self.to == self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<(u64, Result<Vec<u8>, u64>)> {
        let mut lines = Lines::new(text);
        let mut all = Vec::new();
        loop {
            while let Some((number, line)) = lines.take() {
                all.push(match line {
                    Line::Whole(text) => (number, Ok(text.to_vec())),
                    Line::Dropped(bytes) => (number, Err(bytes)),
                });
            }
            if !lines.fill().expect("a slice can be read") {
                return all;
            }
        }
    }

    #[test]
    fn lines_end_with_or_without_a_newline() {
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"a\n"), [(1, Ok(b"a".to_vec()))]);
        assert_eq!(lines(b"a\n\nb"), [(1, Ok(b"a".to_vec())), (2, Ok(vec![])), (3, Ok(b"b".to_vec()))]);
    }

    #[test]
    fn a_line_that_does_not_fit_is_counted_and_the_next_one_is_whole() {
        let long = 3 * BUFFER_BYTES + 5;
        let mut text = vec![b'x'; long];
        text.extend(b"\nnext\n");
        text.extend(vec![b'y'; BUFFER_BYTES]);
        let last =
            if lines(&text)[2].1.is_ok() { Ok(vec![b'y'; BUFFER_BYTES]) } else { Err(BUFFER_BYTES as u64) };
        assert_eq!(lines(&text), [(1, Err(long as u64)), (2, Ok(b"next".to_vec())), (3, last)]);
    }
}

//! Reads an object, a range at a time; the next range is requested while one is read.

use std::io::{self, SeekFrom};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::{Ask, Bucket, refusal};
use crate::task::aws::http1::Reply;
use crate::task::data::{Refused, Source};

/// Bytes of a range: with the next one, and the growth of an answer's buffer, some 16 MiB of one object are in memory.
const RANGE_BYTES: u64 = 4 << 20;

/// An object that is being read.
pub(super) struct Object {
    bucket: Arc<Bucket>,
    key: String,
    version: Option<String>,
    /// The tag of all ranges, and the bytes of the whole object, known after the first range.
    known: Option<(Option<String>, u64)>,
    /// The beginning of the range after the next one.
    end: u64,
    range: Vec<u8>,
    /// Its offset in the object.
    begin: u64,
    /// How much of it was read.
    at: usize,
    next: Next,
}

enum Next {
    Asked(super::Asked<Range>),
    There(Result<Range, String>),
    Nothing,
}

/// A part of an object.
struct Range {
    bytes: Vec<u8>,
    tag: Option<String>,
    /// Bytes of the whole object.
    whole: u64,
}

impl Object {
    pub(super) fn new(bucket: Arc<Bucket>, key: &str, version: Option<&str>) -> Object {
        let (key, version) = (key.to_owned(), version.map(str::to_owned));
        let mut object = Object {
            bucket,
            key,
            version,
            known: None,
            end: 0,
            range: Vec::new(),
            begin: 0,
            at: 0,
            next: Next::Nothing,
        };
        object.ask();
        object
    }

    /// Whether the next range has arrived.
    fn poll_ahead(&mut self, context: &mut Context<'_>) {
        if let Next::Asked(answer) = &mut self.next
            && let Poll::Ready(range) = answer.as_mut().poll(context)
        {
            self.next = Next::There(range);
        }
    }

    /// Makes the next range the current one, and requests the one after it. Returns false at the end.
    fn poll_range(&mut self) -> Poll<io::Result<bool>> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => Poll::Ready(Ok(false)),
            asked @ Next::Asked(_) => {
                self.next = asked;
                Poll::Pending
            }
            Next::There(Err(why)) => {
                self.next = Next::There(Err(why.clone()));
                Poll::Ready(Err(Refused(why).into()))
            }
            Next::There(Ok(Range { bytes, tag, whole })) => {
                self.begin = self.end;
                self.end += bytes.len() as u64;
                (self.range, self.at) = (bytes, 0);
                self.known.get_or_insert((tag, whole));
                self.ask();
                Poll::Ready(Ok(true))
            }
        }
    }

    /// Requests the next range, if there is one.
    fn ask(&mut self) {
        let (tag, whole) = match &self.known {
            Some((_, whole)) if self.end >= *whole => return,
            Some((None, _)) => {
                let why = "S3 gives no ETag, so that it cannot be seen whether the object changes".to_owned();
                self.next = Next::There(Err(why));
                return;
            }
            Some((tag, whole)) => (tag.clone(), Some(*whole)),
            None => (None, None),
        };
        let from = self.end;
        let mut headers: Vec<(&str, String)> = Vec::new();
        headers.extend(tag.clone().map(|tag| ("if-match", tag)));
        headers.push(("range", format!("bytes={from}-{}", from + RANGE_BYTES - 1)));
        let query = self.version.clone().map(|version| ("versionId", version)).into_iter().collect();
        let bytes_max = RANGE_BYTES as usize;
        let ask = Ask { method: "GET", key: self.key.clone(), query, headers, bytes_max, ..Ask::default() };
        let bucket = Arc::clone(&self.bucket);
        self.next = Next::Asked(Box::pin(async move { range(bucket.ask(ask).await?, from, whole) }));
    }
}

/// The range that begins at `from`, of an object whose size may be known.
fn range(mut reply: Reply, from: u64, known: Option<u64>) -> Result<Range, String> {
    let whole = match reply.status.as_u16() {
        206 => {
            let told = reply.fields.get("content-range").unwrap_or("none");
            let misshapen = || format!("S3 answers a range that was not asked for: '{told}'");
            let (first, end, whole) = content_range(told).ok_or_else(misshapen)?;
            let bytes = reply.body.len() as u64;
            // The requested bytes, or all remaining ones.
            let asked = RANGE_BYTES.min(whole.saturating_sub(from));
            let is_right = first == from && end.checked_add(1) == Some(from + asked) && bytes == asked;
            if !is_right || known.is_some_and(|known| known != whole) {
                return Err(misshapen());
            }
            whole
        }
        // Ranges are not supported, or the object is empty.
        200 if from == 0 => reply.body.len() as u64,
        416 if from == 0 => {
            reply.body.clear();
            0
        }
        200 => return Err("S3 answers the whole object for a range of it".to_owned()),
        _ => return Err(refusal(&reply)),
    };
    let tag = reply.fields.get("etag").map(str::to_owned);
    Ok(Range { bytes: reply.body, tag, whole })
}

/// `bytes 0-499/1234`
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, end) = range.split_once('-')?;
    Some((first.parse().ok()?, end.parse().ok()?, whole.parse().ok()?))
}

impl Source for Object {
    fn version(&self) -> Option<String> {
        let (tag, whole) = self.known.as_ref()?;
        Some(format!("{} of {whole} bytes", tag.as_deref()?))
    }

    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            self.poll_ahead(context);
            let unread = &self.range[self.at..];
            if !unread.is_empty() {
                let bytes = unread.len().min(buffer.len());
                buffer[..bytes].copy_from_slice(&unread[..bytes]);
                self.at += bytes;
                return Poll::Ready(Ok(bytes));
            }
            if !ready!(self.poll_range())? {
                return Poll::Ready(Ok(0));
            }
        }
    }

    fn poll_seek(&mut self, context: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        let whole = loop {
            match &self.known {
                Some((_, whole)) => break *whole,
                None => {
                    self.poll_ahead(context);
                    ready!(self.poll_range())?;
                }
            }
        };
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => whole.checked_add_signed(by),
            SeekFrom::Current(by) => (self.begin + self.at as u64).checked_add_signed(by),
        };
        let to = to.ok_or(io::ErrorKind::InvalidInput)?;
        match to.checked_sub(self.begin).filter(|&at| at <= self.range.len() as u64) {
            Some(at) => self.at = at as usize,
            // The requested range is not awaited.
            None => {
                (self.range, self.begin, self.at, self.end) = (Vec::new(), to, 0, to);
                self.next = Next::Nothing;
                self.ask();
            }
        }
        Poll::Ready(Ok(to))
    }
}

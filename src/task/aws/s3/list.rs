//! The objects of a bucket, as `ItemReader` passes them to children: one JSON object per line.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use percent_encoding::percent_decode_str;
use serde_json::json;

use super::{Ask, Asked, Bucket};
use crate::task::aws::http1::Reply;
use crate::task::aws::query_protocol::Element;
use crate::task::data::{Refused, Source};

/// Consecutive pages without an object.
const EMPTY_PAGES_MAX: u32 = 1_000;

/// A list that is being read.
pub(super) struct List {
    bucket: Arc<Bucket>,
    prefix: String,
    lines: Vec<u8>,
    /// How much of them was read.
    at: usize,
    /// The token of the page that is being requested.
    token: Option<String>,
    page: Option<Asked<Page>>,
    empty_pages: u32,
}

/// A page of a list.
struct Page {
    lines: Vec<u8>,
    /// Of the next page, if there is one.
    token: Option<String>,
}

impl List {
    pub(super) fn new(bucket: Arc<Bucket>, prefix: &str) -> List {
        let (lines, at, token, page, empty_pages) = (Vec::new(), 0, None, None, 0);
        let mut list = List { bucket, prefix: prefix.to_owned(), lines, at, token, page, empty_pages };
        list.ask();
        list
    }

    fn ask(&mut self) {
        let mut query = Vec::new();
        query.extend(self.token.clone().map(|token| ("continuation-token", token)));
        // Keys may have characters that are invalid in XML.
        query.push(("encoding-type", "url".to_owned()));
        query.push(("list-type", "2".to_owned()));
        if !self.prefix.is_empty() {
            query.push(("prefix", self.prefix.clone()));
        }
        let ask = Ask { method: "GET", query, ..Ask::default() };
        let bucket = Arc::clone(&self.bucket);
        self.page = Some(Box::pin(async move { page(&bucket.get(ask).await?) }));
    }

    fn turn(&mut self, page: Page) -> Result<(), String> {
        self.empty_pages = if page.lines.is_empty() { self.empty_pages + 1 } else { 0 };
        (self.lines, self.at) = (page.lines, 0);
        let Some(token) = page.token else { return Ok(()) };
        if self.token.as_ref() == Some(&token) || self.empty_pages > EMPTY_PAGES_MAX {
            return Err("S3's list comes to no end".to_owned());
        }
        self.token = Some(token);
        self.ask();
        Ok(())
    }
}

fn page(reply: &Reply) -> Result<Page, String> {
    let root = Element::parse(&reply.body).filter(|root| root.name == "ListBucketResult");
    let root = root.ok_or("S3's answer to ListObjectsV2 cannot be read: it is not the XML of a list")?;
    let is_encoded = root.text_of("EncodingType") == "url";
    let mut lines = Vec::new();
    for object in root.children.iter().filter(|child| child.name == "Contents") {
        let wrong = |what: &str| format!("S3's answer to ListObjectsV2 has an object without {what}");
        let key = match object.text_of("Key") {
            "" => return Err(wrong("a Key")),
            key if is_encoded => {
                let key = key.replace('+', " ");
                let key = percent_decode_str(&key).decode_utf8();
                key.map_err(|_| wrong("a Key that is UTF-8"))?.into_owned()
            }
            key => key.to_owned(),
        };
        let modified: jiff::Timestamp =
            object.text_of("LastModified").parse().map_err(|_| wrong("a time in LastModified"))?;
        let size: u64 = object.text_of("Size").parse().map_err(|_| wrong("a number in Size"))?;
        let class = Some(object.text_of("StorageClass")).filter(|class| !class.is_empty());
        let item = json!({"Etag": object.text_of("ETag"), "LastModified": modified.as_second(), "Key": key,
            "Size": size, "StorageClass": class.unwrap_or("STANDARD")});
        lines.extend_from_slice(item.to_string().as_bytes());
        lines.push(b'\n');
    }
    let token = root.text_of("NextContinuationToken");
    match (root.text_of("IsTruncated") == "true", token.is_empty()) {
        (false, _) => Ok(Page { lines, token: None }),
        (true, false) => Ok(Page { lines, token: Some(token.to_owned()) }),
        (true, true) => Err("S3's list is truncated, but has no continuation token".to_owned()),
    }
}

impl Source for List {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let unread = &self.lines[self.at..];
            if !unread.is_empty() {
                let bytes = unread.len().min(buffer.len());
                buffer[..bytes].copy_from_slice(&unread[..bytes]);
                self.at += bytes;
                return Poll::Ready(Ok(bytes));
            }
            let Some(answer) = &mut self.page else { return Poll::Ready(Ok(0)) };
            let page = ready!(answer.as_mut().poll(context));
            self.page = None;
            page.and_then(|page| self.turn(page)).map_err(|why| io::Error::from(Refused(why)))?;
        }
    }
}

//! Writes an object: at once if it is small, in parts if it is not. It exists when it is complete.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::{Ask, Asked, Bucket, error, refusal};
use crate::task::aws::query_protocol::Element;
use crate::task::data::{Refused, Sink};

/// Bytes of a part; S3 refuses parts under 5 MiB except the last.
const PART_BYTES: usize = 5 << 20;
/// Parts of an object (S3: 10,000).
const PARTS_MAX: usize = 10_000;

/// An object that is being written.
pub(super) struct Upload {
    bucket: Arc<Bucket>,
    key: String,
    /// The next part.
    part: Vec<u8>,
    parts: Parts,
    work: Option<Asked<Parts>>,
    is_ending: bool,
    refused: Option<String>,
}

/// Parts that are in S3.
#[derive(Clone, Debug, Default)]
struct Parts {
    /// Of the upload; empty before it has begun.
    id: String,
    /// The tag of each.
    tags: Vec<String>,
}

impl Upload {
    pub(super) fn new(bucket: Arc<Bucket>, key: &str) -> Upload {
        Upload {
            bucket,
            key: key.to_owned(),
            part: Vec::new(),
            parts: Parts::default(),
            work: None,
            is_ending: false,
            refused: None,
        }
    }

    /// Ready when no request is pending.
    fn poll_work(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(why) = &self.refused {
            return Poll::Ready(Err(Refused(why.clone()).into()));
        }
        let Some(work) = &mut self.work else { return Poll::Ready(Ok(())) };
        let done = ready!(work.as_mut().poll(context));
        self.work = None;
        Poll::Ready(match done {
            Ok(parts) => {
                self.parts = parts;
                Ok(())
            }
            Err(why) => {
                self.refused = Some(why.clone());
                Err(Refused(why).into())
            }
        })
    }

    fn send(&mut self, is_last: bool) {
        let (bucket, key) = (Arc::clone(&self.bucket), self.key.clone());
        let (part, parts) = (std::mem::take(&mut self.part), std::mem::take(&mut self.parts));
        self.work = Some(Box::pin(async move {
            if is_last && parts.id.is_empty() {
                put(&bucket, key, part).await
            } else {
                send(&bucket, &key, part, parts, is_last).await
            }
        }));
    }
}

/// Writes an object in one piece.
async fn put(bucket: &Bucket, key: String, body: Vec<u8>) -> Result<Parts, String> {
    bucket.get(Ask { method: "PUT", key, body, ..Ask::default() }).await?;
    Ok(Parts::default())
}

/// Adds a part, and completes the object if it is the last one. An upload that cannot be completed is aborted.
async fn send(
    bucket: &Bucket,
    key: &str,
    part: Vec<u8>,
    mut parts: Parts,
    is_last: bool,
) -> Result<Parts, String> {
    if parts.id.is_empty() {
        parts.id = begin(bucket, key).await?;
    }
    let sent = add(bucket, key, part, &mut parts).await;
    let sent = match sent {
        Ok(()) if is_last => end(bucket, key, &parts).await,
        sent => sent,
    };
    match sent {
        Ok(()) => Ok(parts),
        Err(why) => {
            let query = vec![("uploadId", parts.id)];
            let take_back = Ask { method: "DELETE", key: key.to_owned(), query, ..Ask::default() };
            // The original error is reported, whether or not this fails too.
            let _ = bucket.ask(take_back).await;
            Err(why)
        }
    }
}

async fn begin(bucket: &Bucket, key: &str) -> Result<String, String> {
    let query = vec![("uploads", String::new())];
    let reply = bucket.get(Ask { method: "POST", key: key.to_owned(), query, ..Ask::default() }).await?;
    let root = Element::parse(&reply.body);
    match root.as_ref().map(|root| root.text_of("UploadId")) {
        None | Some("") => Err("S3's answer to CreateMultipartUpload has no UploadId".to_owned()),
        Some(id) => Ok(id.to_owned()),
    }
}

async fn add(bucket: &Bucket, key: &str, body: Vec<u8>, parts: &mut Parts) -> Result<(), String> {
    // The last part may be empty, unless it is the only one.
    if body.is_empty() && !parts.tags.is_empty() {
        return Ok(());
    }
    if parts.tags.len() == PARTS_MAX {
        return Err(format!("The object '{key}' would have more than {PARTS_MAX} parts"));
    }
    let number = parts.tags.len() + 1;
    let query = vec![("partNumber", number.to_string()), ("uploadId", parts.id.clone())];
    let reply = bucket.get(Ask { method: "PUT", key: key.to_owned(), query, body, ..Ask::default() }).await?;
    let tag = reply.fields.get("etag").ok_or("S3's answer to UploadPart has no ETag")?;
    parts.tags.push(tag.to_owned());
    Ok(())
}

async fn end(bucket: &Bucket, key: &str, parts: &Parts) -> Result<(), String> {
    let mut body =
        String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (n, tag) in parts.tags.iter().enumerate() {
        let tag = quick_xml::escape::escape(tag.as_str());
        body.push_str(&format!("<Part><PartNumber>{}</PartNumber><ETag>{tag}</ETag></Part>", n + 1));
    }
    body.push_str("</CompleteMultipartUpload>");
    let (query, body) = (vec![("uploadId", parts.id.clone())], body.into_bytes());
    let headers = vec![("content-type", "application/xml".to_owned())];
    let ask = Ask { method: "POST", key: key.to_owned(), query, headers, body, ..Ask::default() };
    let reply = bucket.get(ask).await?;
    // A refusal may follow a head with success.
    match error(&reply).is_some() {
        true => Err(refusal(&reply)),
        false if Element::parse(&reply.body).is_none_or(|root| root.text_of("ETag").is_empty()) => {
            Err("S3's answer to CompleteMultipartUpload cannot be read".to_owned())
        }
        false => Ok(()),
    }
}

impl Sink for Upload {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Pending requests continue while the next part is collected.
        let work = self.poll_work(context);
        if self.part.len() == PART_BYTES {
            ready!(work)?;
            self.send(false);
            self.poll_begun(context)?;
        } else if let Poll::Ready(done) = work {
            done?;
        }
        let bytes = &bytes[..bytes.len().min(PART_BYTES - self.part.len())];
        self.part.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_begun(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.poll_work(context) {
            Poll::Ready(done) => done,
            Poll::Pending => Ok(()),
        }
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_work(context))?;
        if !self.is_ending {
            self.is_ending = true;
            self.send(true);
        }
        self.poll_work(context)
    }
}

//! Metadata in the results of optimised integrations: `SdkHttpMetadata` and `SdkResponseMetadata`.

use std::ops::Range;

use super::fields::Fields;
use super::http1::Reply;
use crate::json;

/// A header's name in the spelling of AWS's services. HTTP ignores case and the reader drops it, but workflows see it.
pub(super) fn header_name(name: &str) -> &str {
    match name {
        "connection" => "Connection",
        "content-length" => "Content-Length",
        "content-type" => "Content-Type",
        "date" => "Date",
        "server" => "Server",
        "transfer-encoding" => "Transfer-Encoding",
        "vary" => "Vary",
        "via" => "Via",
        "x-amz-cf-id" => "X-Amz-Cf-Id",
        "x-amz-cf-pop" => "X-Amz-Cf-Pop",
        "x-amz-executed-version" => "X-Amz-Executed-Version",
        "x-amzn-remapped-content-length" => "x-amzn-Remapped-Content-Length",
        "x-amzn-requestid" => "x-amzn-RequestId",
        "x-amzn-trace-id" => "X-Amzn-Trace-Id",
        "x-cache" => "X-Cache",
        name => name,
    }
}

/// The request's identifier, given by the service.
pub(super) fn request_id(fields: &Fields) -> &str {
    let names = ["x-amzn-requestid", "x-amz-request-id"];
    names.iter().find_map(|name| fields.get(name)).unwrap_or_default()
}

/// Writes `"SdkHttpMetadata":{…},"SdkResponseMetadata":{…}`.
pub(super) fn write_metadata(reply: &Reply, request_id: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"SdkHttpMetadata\":{\"AllHttpHeaders\":");
    let lists = write_lists(&reply.fields, header_name, out);
    out.extend_from_slice(b",\"HttpHeaders\":{");
    for (n, List { name, first }) in lists.into_iter().enumerate() {
        separate(n, out);
        out.extend_from_within(name);
        out.push(b':');
        out.extend_from_within(first);
    }
    out.extend_from_slice(b"},\"HttpStatusCode\":");
    out.extend_from_slice(reply.status.as_str().as_bytes());
    out.extend_from_slice(b"},\"SdkResponseMetadata\":{\"RequestId\":");
    json::write_string(request_id, out);
    out.push(b'}');
}

/// The position of a name and its first value in the output.
pub(super) struct List {
    name: Range<usize>,
    first: Range<usize>,
}

/// Writes headers as an object of lists.
pub(super) fn write_lists(fields: &Fields, rename: fn(&str) -> &str, out: &mut Vec<u8>) -> Vec<List> {
    let mut lists = Vec::with_capacity(16);
    let mut before = None;
    out.push(b'{');
    for (name, value) in fields.iter() {
        if before == Some(name) {
            out.push(b',');
            json::write_string(value, out);
            continue;
        }
        out.extend_from_slice(if before.is_some() { b"]," } else { b"" });
        let name_at = out.len();
        json::write_string(rename(name), out);
        let name_end = out.len();
        out.extend_from_slice(b":[");
        let first_at = out.len();
        json::write_string(value, out);
        lists.push(List { name: name_at..name_end, first: first_at..out.len() });
        before = Some(name);
    }
    out.extend_from_slice(if before.is_some() { b"]}" } else { b"}" });
    lists
}

pub(super) fn separate(n: usize, out: &mut Vec<u8>) {
    if n > 0 {
        out.push(b',');
    }
}

/// Whether a text is one JSON value, so that it can be put into a result unchanged.
pub(super) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

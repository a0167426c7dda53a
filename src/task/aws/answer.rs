//! What the optimised integrations show of an answer besides its data: `SdkHttpMetadata` and `SdkResponseMetadata`.

use hyper::HeaderMap;

use super::pool::Reply;
use crate::json;

/// Header names as AWS's services write them. HTTP makes no difference between cases and what reads answers forgets
/// them, but workflows see them.
const NAMES: [&str; 16] = [
    "Connection",
    "Content-Length",
    "Content-Type",
    "Date",
    "Server",
    "Transfer-Encoding",
    "Vary",
    "Via",
    "X-Amz-Cf-Id",
    "X-Amz-Cf-Pop",
    "X-Amz-Executed-Version",
    "X-Amzn-Trace-Id",
    "X-Cache",
    "x-amzn-Remapped-Content-Length",
    "x-amzn-RequestId",
    "x-amz-crc32",
];

/// A header's name as a service of AWS writes it.
pub(super) fn header_name(name: &str) -> &str {
    NAMES.iter().find(|known| known.eq_ignore_ascii_case(name)).copied().unwrap_or(name)
}

/// The headers, sorted by name, each with all its values. Bytes above ASCII are read as Latin-1.
pub(super) fn headers(headers: &HeaderMap) -> Vec<(&str, Vec<String>)> {
    let mut sorted: Vec<(&str, Vec<String>)> = (headers.keys())
        .map(|name| {
            let values = headers.get_all(name).iter();
            let values = values.map(|value| value.as_bytes().iter().map(|&byte| char::from(byte)).collect());
            (name.as_str(), values.collect())
        })
        .collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    sorted
}

/// The identifier that a service gave the request.
pub(super) fn request_id(headers: &HeaderMap) -> &str {
    let names = ["x-amzn-requestid", "x-amz-request-id"];
    let found = names.iter().find_map(|name| headers.get(*name)?.to_str().ok());
    found.unwrap_or_default()
}

/// Writes `"SdkHttpMetadata":{…},"SdkResponseMetadata":{…}`.
pub(super) fn write_metadata(reply: &Reply, request_id: &str, out: &mut Vec<u8>) {
    let sorted = headers(&reply.headers);
    out.extend_from_slice(b"\"SdkHttpMetadata\":{\"AllHttpHeaders\":");
    write_lists(&sorted, header_name, out);
    out.extend_from_slice(b",\"HttpHeaders\":{");
    for (n, (name, values)) in sorted.iter().enumerate() {
        separate(n, out);
        json::write_string(header_name(name), out);
        out.push(b':');
        json::write_string(values.first().map_or("", String::as_str), out);
    }
    out.extend_from_slice(b"},\"HttpStatusCode\":");
    out.extend_from_slice(reply.status.as_str().as_bytes());
    out.extend_from_slice(b"},\"SdkResponseMetadata\":{\"RequestId\":");
    json::write_string(request_id, out);
    out.push(b'}');
}

/// Writes headers as an object of lists.
pub(super) fn write_lists(sorted: &[(&str, Vec<String>)], rename: fn(&str) -> &str, out: &mut Vec<u8>) {
    out.push(b'{');
    for (n, (name, values)) in sorted.iter().enumerate() {
        separate(n, out);
        json::write_string(rename(name), out);
        out.extend_from_slice(b":[");
        for (n, value) in values.iter().enumerate() {
            separate(n, out);
            json::write_string(value, out);
        }
        out.push(b']');
    }
    out.push(b'}');
}

pub(super) fn separate(n: usize, out: &mut Vec<u8>) {
    if n > 0 {
        out.push(b',');
    }
}

/// Whether a text is one JSON value, so that it can stand in a result as it is.
pub(super) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

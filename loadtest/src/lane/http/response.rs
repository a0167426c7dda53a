//! Answers: finds the end of one, and parses it.

use memchr::memmem;

use crate::record::End;

/// The most bytes of an answer: the largest output and its envelope, escaped.
pub(super) const ANSWER_BYTES_MAX: usize = 4 << 20;
const HEADERS_MAX: usize = 64;

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Where its body is in the data.
    pub(super) body: std::ops::Range<usize>,
    /// The connection can take another request.
    pub(super) keeps: bool,
    /// Its body comes in pieces.
    chunked: bool,
}

impl Answer {
    /// Whether its body comes in pieces.
    pub(super) fn is_in_pieces(&self) -> bool {
        self.chunked
    }
}

/// How far an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Whole(Answer),
    /// There is more to come; `true` when the end of the connection is the end of the answer.
    More(bool),
    /// It is no HTTP/1.1.
    Garbage(String),
}

/// Looks whether an answer is whole.
pub(super) fn parse(bytes: &[u8]) -> Progress {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() > 64 * 1_024 => {
            return Progress::Garbage("its head has no end".to_owned());
        }
        Ok(httparse::Status::Partial) => return Progress::More(false),
        Err(error) => return Progress::Garbage(error.to_string()),
    };
    let status = response.code.unwrap_or(0);
    let mut keeps = response.version == Some(1);
    let (mut length, mut chunked) = (None, false);
    for header in response.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let value = header.value.trim_ascii();
        if is("content-length") {
            let digits = std::str::from_utf8(value).ok().and_then(|text| text.parse::<usize>().ok());
            match digits {
                Some(bytes) if bytes <= ANSWER_BYTES_MAX => length = Some(bytes),
                _ => return Progress::Garbage("its content-length makes no sense".to_owned()),
            }
        } else if is("transfer-encoding") {
            chunked = value.to_ascii_lowercase().ends_with(b"chunked");
        } else if is("connection") {
            match () {
                () if value.eq_ignore_ascii_case(b"close") => keeps = false,
                () if value.eq_ignore_ascii_case(b"keep-alive") => keeps = true,
                () => {}
            }
        }
    }
    if status < 200 {
        // `100 Continue` and the like come before the answer.
        return match parse(&bytes[head..]) {
            Progress::Whole(answer) => {
                let body = answer.body.start + head..answer.body.end + head;
                Progress::Whole(Answer { body, ..answer })
            }
            other => other,
        };
    }
    let whole = |body| Progress::Whole(Answer { status, body, keeps, chunked });
    if status == 204 || status == 304 {
        return whole(head..head);
    }
    match (chunked, length) {
        (true, _) => match chunks_end(&bytes[head..]) {
            Ok(Some(end)) => whole(head..head + end),
            Ok(None) => Progress::More(false),
            Err(error) => Progress::Garbage(error.to_owned()),
        },
        (false, Some(length)) if bytes.len() >= head + length => whole(head..head + length),
        (false, Some(_)) => Progress::More(false),
        (false, None) => Progress::More(true),
    }
}

/// An answer that ends with the connection, which is closed now.
pub(super) fn parse_closed(bytes: &[u8]) -> Option<Answer> {
    if parse(bytes) != Progress::More(true) {
        return None;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => {
            let status = response.code.unwrap_or(0);
            Some(Answer { status, body: head..bytes.len(), keeps: false, chunked: false })
        }
        _ => None,
    }
}

/// Where a body in chunks ends, if it does.
fn chunks_end(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let mut at = 0;
    loop {
        match httparse::parse_chunk_size(&bytes[at..]) {
            Ok(httparse::Status::Complete((head, size))) => {
                let size = usize::try_from(size).ok().filter(|size| *size <= ANSWER_BYTES_MAX);
                let Some(size) = size else { return Err("a chunk is too large") };
                at += head + size;
                if size == 0 {
                    // Trailers are not expected: an empty line ends it.
                    return Ok(bytes[at..].starts_with(b"\r\n").then_some(at + 2));
                }
                at += 2;
                if at > bytes.len() {
                    return Ok(None);
                }
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err("a chunk has no size"),
        }
    }
}

/// The body, in one piece.
pub(super) fn body(answer: &Answer, bytes: &[u8]) -> Vec<u8> {
    let raw = &bytes[answer.body.clone()];
    if !answer.chunked {
        return raw.to_vec();
    }
    let (mut at, mut body) = (0, Vec::new());
    while let Ok(httparse::Status::Complete((head, size))) = httparse::parse_chunk_size(&raw[at..]) {
        let from = at + head;
        let until = from.saturating_add(usize::try_from(size).unwrap_or(usize::MAX)).min(raw.len());
        if size == 0 {
            break;
        }
        body.extend_from_slice(&raw[from..until]);
        at = (until + 2).min(raw.len());
    }
    body
}

/// The result in an operation's answer.
pub(super) fn end(operation: &str, status: u16, body: &[u8]) -> (End, Option<String>) {
    let is_plain = operation.starts_with('/');
    match status {
        200..300 if is_plain || operation == "StartExecution" && field(body, "executionArn").is_some() => {
            (End::Succeeded, None)
        }
        200..300 => match field(body, "status") {
            Some("SUCCEEDED") => (End::Succeeded, None),
            Some("FAILED") => {
                (End::Failed, Some(field(body, "error").unwrap_or("failed without a name").to_owned()))
            }
            Some("TIMED_OUT") => (End::TimedOut, None),
            _ => (End::Broken, Some("the answer is none that Step Functions gives".to_owned())),
        },
        _ => {
            let error = field(body, "__type").unwrap_or("").rsplit('#').next().unwrap_or_default();
            let error: String = error.chars().take(80).collect();
            let refused = matches!(status, 429 | 503) || error.contains("Throttling");
            let end = if refused { End::Refused } else { End::Broken };
            (end, Some(format!("HTTP {status} {error}").trim_end().to_owned()))
        }
    }
}

/// The text of a field of a JSON object, found without reading it all. Quotes in the texts of other fields are escaped,
/// so a name in quotes is a name.
pub(super) fn field<'b>(body: &'b [u8], name: &str) -> Option<&'b str> {
    let quoted = format!("\"{name}\"");
    for at in memmem::find_iter(body, quoted.as_bytes()) {
        let rest = body[at + quoted.len()..].trim_ascii_start();
        let Some(rest) = rest.strip_prefix(b":") else { continue };
        let Some(text) = rest.trim_ascii_start().strip_prefix(b"\"") else { continue };
        let end = memchr::memchr(b'"', text)?;
        return std::str::from_utf8(&text[..end]).ok();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_last_byte_is_there() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let chunked =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
        let after_continue =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        for text in [&plain[..], chunked, after_continue] {
            for end in 0..text.len() {
                assert_eq!(parse(&text[..end]), Progress::More(false), "{end}");
            }
            let Progress::Whole(answer) = parse(text) else { panic!("not whole") };
            assert_eq!(body(&answer, text), b"hello");
            assert!(answer.keeps);
        }
        let Progress::Whole(answer) = parse(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n") else {
            panic!()
        };
        assert!(!answer.keeps);
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\nhel"), Progress::More(true));
    }

    #[test]
    fn garbage_is_told_from_what_is_not_there_yet() {
        for text in [
            &b"hello, who is there?"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"\x15\x03\x01\x00\x02",
        ] {
            assert!(matches!(parse(text), Progress::Garbage(_)), "{text:?}");
        }
        let huge = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
        assert!(matches!(parse(huge), Progress::Garbage(_)));
        let chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n";
        assert!(matches!(parse(chunk), Progress::Garbage(_)));
    }

    #[test]
    fn what_an_answer_says() {
        let sync = "StartSyncExecution";
        let said = br#"{"output":"{\"status\":\"FAILED\"}","status" : "SUCCEEDED"}"#;
        assert_eq!(end(sync, 200, said), (End::Succeeded, None));
        let failed = br#"{"error":"Mine","status":"FAILED"}"#;
        assert_eq!(end(sync, 200, failed), (End::Failed, Some("Mine".to_owned())));
        assert_eq!(end(sync, 200, b"<html>").0, End::Broken);
        let throttled = br#"{"__type":"com.amazonaws#ThrottlingException"}"#;
        assert_eq!(
            end(sync, 400, throttled),
            (End::Refused, Some("HTTP 400 ThrottlingException".to_owned()))
        );
        assert_eq!(end(sync, 500, b""), (End::Broken, Some("HTTP 500".to_owned())));
        assert_eq!(end("StartExecution", 200, br#"{"executionArn":"a"}"#).0, End::Succeeded);
        assert_eq!(end("/echo", 200, b"").0, End::Succeeded);
    }
}

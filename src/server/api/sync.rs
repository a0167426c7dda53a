//! `StartSyncExecution`, as fast as it goes: the body is scanned once, a pure machine runs where it stands, and what it
//! comes to is written into the reply.
//!
//! Whatever is out of the ordinary is left to the general way, which begins anew: a member that is no string or comes
//! twice, a name, an escape in a name, an input that is not JSON, a machine that waits or calls. So there is nothing to
//! say here about errors.

use std::cell::RefCell;

use super::executions::status_name;
use super::write::time;
use crate::engine::Outcome;
use crate::json::write_string;
use crate::limits;
use crate::runtime::Status;
use crate::service::{Billing, Ended, Service};

/// The members of a request, still escaped; only their quotes are gone.
#[derive(Default)]
struct Members<'b> {
    machine_arn: Option<&'b [u8]>,
    input: Option<&'b [u8]>,
    trace_header: Option<&'b [u8]>,
}

thread_local! {
    /// The input, and the output, without their escapes.
    static TEXT: RefCell<(Vec<u8>, Vec<u8>)> = RefCell::default();
}

/// The body of the reply, unless this is not the way to make it.
pub(super) fn answer(service: &Service, body: &[u8], trace: Option<&str>) -> Option<Vec<u8>> {
    let members = scan(body)?;
    let machine_arn = plain(members.machine_arn?)?;
    let trace_header = match members.trace_header {
        Some(header) => Some(plain(header)?),
        None => trace,
    };
    let escaped = members.input.unwrap_or(b"{}");
    if escaped.len() > limits::PAYLOAD_BYTES_MAX as usize {
        return None;
    }
    TEXT.with_borrow_mut(|(input, output)| {
        unescape(escaped, input)?;
        let show = |ended: Ended<'_>| {
            output.clear();
            ended.ended.write_output(output);
            reply(&ended, escaped, output, trace_header)
        };
        service.start_sync_execution_now(machine_arn, input, show)
    })
}

fn reply(ended: &Ended<'_>, input: &[u8], output: &[u8], trace_header: Option<&str>) -> Vec<u8> {
    let execution = ended.ended.execution();
    let (identity, seed) = (&execution.identity, execution.seed());
    let mut out = Vec::with_capacity(768 + input.len() + output.len() + output.len() / 4);
    out.extend_from_slice(b"{\"executionArn\":\"");
    // Neither ARNs nor names hold what JSON escapes.
    identity.write_execution_arn(seed, &mut out);
    out.extend_from_slice(b"\",\"stateMachineArn\":\"");
    out.extend_from_slice(identity.state_machine_arn.as_bytes());
    out.extend_from_slice(b"\",\"name\":\"");
    identity.write_execution_name(seed, &mut out);
    out.extend_from_slice(b"\",\"startDate\":");
    time(ended.started_ms, &mut out);
    out.extend_from_slice(b",\"stopDate\":");
    time(ended.stopped_ms, &mut out);
    let (status, failed) = match ended.ended.outcome() {
        Outcome::Succeeded(_) => (Status::Succeeded, None),
        Outcome::Failed(fault) => (Status::Failed, Some(fault)),
        Outcome::TimedOut => (Status::TimedOut, None),
        Outcome::Aborted(fault) => (Status::Aborted, Some(fault)),
    };
    out.extend_from_slice(b",\"status\":\"");
    out.extend_from_slice(status_name(status).as_bytes());
    out.extend_from_slice(b"\",\"input\":\"");
    out.extend_from_slice(input);
    out.extend_from_slice(b"\",\"inputDetails\":{\"included\":true}");
    if status == Status::Succeeded {
        out.extend_from_slice(b",\"output\":\"");
        escape(output, &mut out);
        out.extend_from_slice(b"\",\"outputDetails\":{\"included\":true}");
    }
    // One that timed out has neither error nor cause.
    let error = failed.and_then(|fault| fault.error.as_deref());
    let texts = [("error", error), ("cause", failed.and_then(|fault| fault.cause.as_deref()))];
    for (name, text) in texts.into_iter().chain([("traceHeader", trace_header)]) {
        if let Some(text) = text {
            out.push(b',');
            write_string(name, &mut out);
            out.push(b':');
            write_string(text, &mut out);
        }
    }
    let Billing { duration_ms, memory_mb } = ended.billing;
    out.extend_from_slice(b",\"billingDetails\":{\"billedMemoryUsedInMB\":");
    out.extend_from_slice(itoa::Buffer::new().format(memory_mb).as_bytes());
    out.extend_from_slice(b",\"billedDurationInMilliseconds\":");
    out.extend_from_slice(itoa::Buffer::new().format(duration_ms).as_bytes());
    out.extend_from_slice(b"}}");
    out
}

// ---- reading ----

/// The members of a body that is an object of strings.
fn scan(body: &[u8]) -> Option<Members<'_>> {
    let mut members = Members::default();
    let mut at = space(body, 0);
    at = expect(body, at, b'{')?;
    loop {
        let (name, after) = string(body, space(body, at))?;
        at = expect(body, space(body, after), b':')?;
        let (value, after) = string(body, space(body, at))?;
        let member = match name {
            b"stateMachineArn" => &mut members.machine_arn,
            b"input" => &mut members.input,
            b"traceHeader" => &mut members.trace_header,
            _ => return None,
        };
        if member.replace(value).is_some() {
            return None;
        }
        at = space(body, after);
        match body.get(at)? {
            b',' => at += 1,
            b'}' => break,
            _ => return None,
        }
    }
    (space(body, at + 1) == body.len()).then_some(members)
}

fn space(body: &[u8], mut at: usize) -> usize {
    while matches!(body.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

fn expect(body: &[u8], at: usize, byte: u8) -> Option<usize> {
    (body.get(at) == Some(&byte)).then_some(at + 1)
}

/// What stands between the quotes, and where it goes on.
fn string(body: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let from = expect(body, at, b'"')?;
    let mut at = from;
    loop {
        at += quiet(body.get(at..)?);
        match body.get(at)? {
            b'"' => return Some((&body[from..at], at + 1)),
            // Whatever is escaped is looked at later.
            b'\\' => at += 2,
            _ => return None,
        }
    }
}

/// A string without escapes.
fn plain(text: &[u8]) -> Option<&str> {
    match text.contains(&b'\\') {
        true => None,
        false => std::str::from_utf8(text).ok(),
    }
}

/// How many bytes come before the next quote, backslash or control character, or the end.
fn quiet(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let loud = loud(u64::from_le_bytes(*word));
        if loud != 0 {
            return n * 8 + loud.trailing_zeros() as usize / 8;
        }
    }
    let calm = |&byte: &u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    words.len() * 8 + rest.iter().take_while(|byte| calm(byte)).count()
}

/// The high bit of the first byte that is a quote, a backslash or a control character; those above it may be wrong.
fn loud(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero(word ^ (ONES * u64::from(b'"')));
    let backslash = zero(word ^ (ONES * u64::from(b'\\')));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGHS
}

/// Replaces escapes by what they stand for.
fn unescape(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    let mut rest = text;
    loop {
        let run = quiet(rest);
        out.extend_from_slice(&rest[..run]);
        rest = &rest[run..];
        let [b'\\', escape, ..] = *rest else { return rest.is_empty().then_some(()) };
        out.push(match escape {
            b'"' | b'\\' | b'/' => escape,
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            // What is written by number is rare in JSON inside of JSON.
            _ => return None,
        });
        rest = &rest[2..];
    }
}

// ---- writing ----

/// Escapes JSON text, in which there are no control characters but spaces.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let run = quiet(rest);
        out.extend_from_slice(&rest[..run]);
        let Some(&byte) = rest.get(run) else { return };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ => {
                let digit = |n: u8| b"0123456789abcdef"[usize::from(n & 15)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
            }
        }
        rest = &rest[run + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_comes_back() {
        for text in ["", "{}", r#"{"a":"b\\n\"c","d":[1,2,3],"é":"漢字 and more of it"}"#, "[\"a\\tb\"]"] {
            let mut escaped = Vec::new();
            escape(text.as_bytes(), &mut escaped);
            let mut quoted = Vec::new();
            write_string(text, &mut quoted);
            assert_eq!(escaped, quoted[1..quoted.len() - 1]);
            let mut back = Vec::new();
            assert_eq!(unescape(&escaped, &mut back), Some(()));
            assert_eq!(back, text.as_bytes());
        }
    }

    #[test]
    fn loud_bytes_are_found_wherever_they_stand() {
        for byte in 0..=255u8 {
            for at in 0..20 {
                let mut text = vec![0xC3; 23];
                text[at] = byte;
                let is_loud = byte < 0x20 || byte == b'"' || byte == b'\\';
                assert_eq!(quiet(&text), if is_loud { at } else { 23 }, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_left_alone() {
        let odd: [&[u8]; 12] = [
            b"",
            b"{}",
            b"[]",
            b"{\"stateMachineArn\":1}",
            b"{\"stateMachineArn\":\"a\"",
            b"{\"stateMachineArn\":\"a\"} x",
            b"{\"stateMachineArn\":\"a\",}",
            b"{\"stateMachineArn\":\"a\",\"stateMachineArn\":\"b\"}",
            b"{\"name\":\"a\"}",
            b"{\"input\":\"\\\"}",
            b"{\"input\":\"a\nb\"}",
            b"{\"input\" \"a\"}",
        ];
        for body in odd {
            let members = scan(body);
            assert!(members.is_none_or(|members| members.machine_arn.is_none()), "{body:?}");
        }
        let members =
            scan(b" { \"stateMachineArn\" : \"a\" , \"input\":\"{\\\"b\\\":1}\" } ").expect("members");
        assert_eq!((members.machine_arn, members.input), (Some(&b"a"[..]), Some(&b"{\\\"b\\\":1}"[..])));
    }
}

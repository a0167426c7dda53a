//! The fast path of `StartSyncExecution`: the body is scanned once, a pure machine runs on this thread, and its output
//! is written directly into the reply.
//!
//! Everything out of the ordinary is left to the general path, which begins anew: a member that is not a string or is
//! repeated, a name, an escape in a name, an input that is not JSON, a machine that waits or calls. So there are no
//! errors here.

use std::cell::RefCell;

use super::executions::status_name;
use super::write::time;
use crate::engine::Outcome;
use crate::json::{inside, write_string};
use crate::limits;
use crate::runtime::Status;
use crate::service::{Billing, Ended, KnownMachine, Service, ShortMachine};

/// The members of a request, still escaped, without their quotes.
#[derive(Default)]
struct Members<'b> {
    machine_arn: Option<&'b [u8]>,
    input: Option<Input<'b>>,
    trace_header: Option<&'b [u8]>,
    /// Where the last one begins.
    last_at: usize,
}

/// The member `input`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Input<'b> {
    /// Where its opening quote is.
    at: usize,
    /// The text between the quotes.
    escaped: &'b [u8],
    /// Its length without escapes.
    length: usize,
}

impl Input<'_> {
    /// Where reading continues.
    fn end(&self) -> usize {
        self.at + self.escaped.len() + 2
    }
}

/// What a thread keeps between requests.
#[derive(Default)]
struct RequestCache {
    /// The input without its escapes. It only ever grows; the writer tracks how much of it is valid.
    input: Vec<u8>,
    /// The beginning of a recent request, up to its input, and the machine it named: a client writes all of its
    /// requests alike, and mostly to one machine.
    opening: Vec<u8>,
    machine: Option<KnownMachine>,
    /// Where a reply is assembled, with spare room.
    reply: Vec<u8>,
}

thread_local! {
    static REQUEST_CACHE: RefCell<RequestCache> = RefCell::default();
}

/// The body of the reply; `None` if the general path is needed.
pub(super) fn answer(service: &Service, body: &[u8], trace: Option<&str>) -> Option<Vec<u8>> {
    REQUEST_CACHE.with_borrow_mut(|cache| {
        let (machine, input, trace_header) = match cache.alike(service, body) {
            Some((machine, input)) => (machine, input, trace),
            None => cache.anew(service, body, trace)?,
        };
        if input.escaped.len() > limits::PAYLOAD_BYTES_MAX as usize {
            return None;
        }
        let RequestCache { input: text, reply: out, .. } = cache;
        service.start_sync_execution_now(&machine, &text[..input.length], |ended| {
            out.clear();
            reply(&ended, input.escaped, trace_header, out);
            // With the exact size: allocators are fastest for small sizes.
            out.as_slice().to_vec()
        })
    })
}

impl RequestCache {
    /// A request that begins like the recent one, and ends with its input.
    fn alike<'b>(&mut self, service: &Service, body: &'b [u8]) -> Option<(ShortMachine, Input<'b>)> {
        let known = self.machine.as_ref().filter(|_| body.starts_with(&self.opening))?;
        let machine = service.recall(known)?;
        let input = unescaped(body, self.opening.len(), &mut self.input)?;
        (end(body, input.end()) == Some(body.len())).then_some((machine, input))
    }

    /// Any other request.
    fn anew<'b>(
        &mut self,
        service: &Service,
        body: &'b [u8],
        trace: Option<&'b str>,
    ) -> Option<(ShortMachine, Input<'b>, Option<&'b str>)> {
        let Members { machine_arn, input, trace_header, last_at } = scan(body, &mut self.input)?;
        let machine = service.short_machine(plain(machine_arn?)?)?;
        let Some(input) = input else {
            self.input.splice(..0, *b"{}");
            return Some((machine, Input { at: 0, escaped: b"{}", length: 2 }, trace));
        };
        if input.at == last_at && trace_header.is_none() {
            self.opening.clear();
            self.opening.extend_from_slice(&body[..input.at]);
            self.machine = Some(machine.known());
        }
        let trace_header = match trace_header {
            Some(header) => Some(plain(header)?),
            None => trace,
        };
        Some((machine, input, trace_header))
    }
}

fn reply(ended: &Ended<'_>, input: &[u8], trace_header: Option<&str>, out: &mut Vec<u8>) {
    let execution = ended.ended.execution();
    let (identity, seed) = (&execution.identity, execution.seed());
    out.extend_from_slice(b"{\"executionArn\":\"");
    // ARNs and names have no characters that JSON escapes.
    identity.write_execution_arn(seed, out);
    out.extend_from_slice(b"\",\"stateMachineArn\":\"");
    out.extend_from_slice(identity.state_machine_arn.as_bytes());
    out.extend_from_slice(b"\",\"name\":\"");
    identity.write_execution_name(seed, out);
    out.extend_from_slice(b"\",\"startDate\":");
    time(ended.started_ms, out);
    out.extend_from_slice(b",\"stopDate\":");
    time(ended.stopped_ms, out);
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
        ended.ended.write_output_inside(out);
        out.extend_from_slice(b"\",\"outputDetails\":{\"included\":true}");
    }
    // One that timed out has neither error nor cause.
    let error = failed.and_then(|fault| fault.error.as_deref());
    let texts = [("error", error), ("cause", failed.and_then(|fault| fault.cause.as_deref()))];
    for (name, text) in texts.into_iter().chain([("traceHeader", trace_header)]) {
        if let Some(text) = text {
            out.push(b',');
            write_string(name, out);
            out.push(b':');
            write_string(text, out);
        }
    }
    let Billing { duration_ms, memory_mb } = ended.billing;
    out.extend_from_slice(b",\"billingDetails\":{\"billedMemoryUsedInMB\":");
    out.extend_from_slice(itoa::Buffer::new().format(memory_mb).as_bytes());
    out.extend_from_slice(b",\"billedDurationInMilliseconds\":");
    out.extend_from_slice(itoa::Buffer::new().format(duration_ms).as_bytes());
    out.extend_from_slice(b"}}");
}

// ---- reading ----

/// The members of a body that is an object of strings, and in `input` the member of that name, without its escapes.
fn scan<'b>(body: &'b [u8], input: &mut Vec<u8>) -> Option<Members<'b>> {
    let mut members = Members::default();
    let mut at = expect(body, space(body, 0), b'{')?;
    loop {
        let (name, after) = string(body, space(body, at))?;
        at = space(body, expect(body, space(body, after), b':')?);
        members.last_at = at;
        at = match name {
            b"stateMachineArn" => once(&mut members.machine_arn, string(body, at)?)?,
            b"traceHeader" => once(&mut members.trace_header, string(body, at)?)?,
            b"input" => {
                let value = unescaped(body, at, input)?;
                once(&mut members.input, (value, value.end()))?
            }
            _ => return None,
        };
        at = space(body, at);
        match body.get(at)? {
            b',' => at += 1,
            _ => return (end(body, at)? == body.len()).then_some(members),
        }
    }
}

/// Sets a member that is not set yet; returns where reading continues.
fn once<T>(member: &mut Option<T>, (value, after): (T, usize)) -> Option<usize> {
    member.replace(value).is_none().then_some(after)
}

/// Where the body continues behind the object that ends here.
fn end(body: &[u8], at: usize) -> Option<usize> {
    Some(space(body, expect(body, space(body, at), b'}')?))
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

/// The text between the quotes, and where reading continues. Escapes are handled later.
fn string(body: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let from = expect(body, at, b'"')?;
    let end = inside::end(body, from)?;
    Some((&body[from..end], end + 1))
}

/// A string without escapes.
fn plain(text: &[u8]) -> Option<&str> {
    match memchr::memchr(b'\\', text) {
        Some(_) => None,
        None => std::str::from_utf8(text).ok(),
    }
}

/// The string whose opening quote is here. Without its escapes it is written to `out`.
fn unescaped<'b>(body: &'b [u8], at: usize, out: &mut Vec<u8>) -> Option<Input<'b>> {
    let from = expect(body, at, b'"')?;
    let (end, length) = inside::unescape(body, from, out)?;
    Some(Input { at, escaped: &body[from..end], length })
}

// ---- writing ----

#[cfg(test)]
mod tests {
    use super::*;

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
            let members = scan(body, &mut Vec::new());
            assert!(members.is_none_or(|members| members.machine_arn.is_none()), "{body:?}");
        }
        let mut input = Vec::new();
        let body = b" { \"stateMachineArn\" : \"a\" , \"input\":\"{\\\"b\\\":1}\" } ";
        let members = scan(body, &mut input).expect("members");
        let expected = Input { at: 37, escaped: b"{\\\"b\\\":1}", length: 7 };
        assert_eq!((members.machine_arn, members.input), (Some(&b"a"[..]), Some(expected)));
        assert_eq!((&input[..7], members.last_at), (&b"{\"b\":1}"[..], 37));
    }
}

//! `StartSyncExecution`, as fast as it goes: the body is scanned once, a pure machine runs where it stands, and what it
//! comes to is written into the reply.
//!
//! Whatever is out of the ordinary is left to the general way, which begins anew: a member that is no string or comes
//! twice, a name, an escape in a name, an input that is not JSON, a machine that waits or calls. So there is nothing to
//! say here about errors.

use std::cell::RefCell;
use std::ops::ControlFlow::{self, Break, Continue};
use std::ops::Range;

use super::executions::status_name;
use super::write::time;
use crate::engine::Outcome;
use crate::json::write_string;
use crate::limits;
use crate::runtime::Status;
use crate::service::{Billing, Ended, KnownMachine, Service, ShortMachine};

/// The members of a request, still escaped; only their quotes are gone.
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
    /// What stands between the quotes.
    escaped: &'b [u8],
    /// How long it is without its escapes.
    length: usize,
}

impl Input<'_> {
    /// Where it goes on.
    fn end(&self) -> usize {
        self.at + self.escaped.len() + 2
    }
}

/// What a thread keeps between requests.
#[derive(Default)]
struct Desk {
    /// The input without its escapes. It is only ever made longer: what it says is told by whoever wrote to it.
    input: Vec<u8>,
    /// The output without its escapes.
    output: Vec<u8>,
    /// How a request of late began, up to where its input does, and the machine it named: a client writes all of its
    /// requests alike, and mostly to one machine.
    opening: Vec<u8>,
    machine: Option<KnownMachine>,
}

thread_local! {
    static DESK: RefCell<Desk> = RefCell::default();
}

/// The body of the reply, unless this is not the way to make it.
pub(super) fn answer(service: &Service, body: &[u8], trace: Option<&str>) -> Option<Vec<u8>> {
    DESK.with_borrow_mut(|desk| {
        let (machine, input, trace_header) = match desk.alike(service, body) {
            Some((machine, input)) => (machine, input, trace),
            None => desk.anew(service, body, trace)?,
        };
        if input.escaped.len() > limits::PAYLOAD_BYTES_MAX as usize {
            return None;
        }
        let show = |ended: Ended<'_>| {
            desk.output.clear();
            ended.ended.write_output(&mut desk.output);
            reply(&ended, input.escaped, &desk.output, trace_header)
        };
        service.start_sync_execution_now(&machine, &desk.input[..input.length], show)
    })
}

impl Desk {
    /// A request that begins as the one of late, and ends with its input.
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

/// The members of a body that is an object of strings, and in `input` the one of that name, without its escapes.
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

/// Puts a value where there is none yet; where it goes on.
fn once<T>(member: &mut Option<T>, (value, after): (T, usize)) -> Option<usize> {
    member.replace(value).is_none().then_some(after)
}

/// Where the body goes on behind the object that ends here.
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

/// What stands between the quotes, and where it goes on. Whatever is escaped is looked at later.
fn string(body: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let from = expect(body, at, b'"')?;
    let mut look = from;
    let end = each_loud(body, from, |at, byte| match byte {
        _ if at < look => Continue(()),
        b'"' => Break(Some(at)),
        b'\\' => {
            look = at + 2;
            Continue(())
        }
        _ => Break(None),
    })??;
    Some((&body[from..end], end + 1))
}

/// A string without escapes.
fn plain(text: &[u8]) -> Option<&str> {
    match memchr::memchr(b'\\', text) {
        Some(_) => None,
        None => std::str::from_utf8(text).ok(),
    }
}

/// The string whose opening quote is at `quote_at`. Without its escapes it is written to `out`.
///
/// In JSON inside of JSON every seventh byte is a quote with a backslash before it. Words in which there is nothing else to
/// see to have their backslashes taken out without asking where they are: a branch for each would be guessed wrong
/// often.
fn unescaped<'b>(body: &'b [u8], quote_at: usize, out: &mut Vec<u8>) -> Option<Input<'b>> {
    let from = expect(body, quote_at, b'"')?;
    if out.len() < body.len() + 8 {
        out.resize(body.len() + 8, 0);
    }
    let out = &mut out[..];
    // In the last word everything is looked at, because a word was taken from its end.
    let (mut at, mut to, mut is_escaped) = (from, 0, false);
    loop {
        let word = body.get(at..).and_then(|rest| rest.first_chunk::<8>());
        let word = word.map(|word| u64::from_le_bytes(*word));
        match word.and_then(|word| Some((word, escaped_quotes(word, is_escaped)?))) {
            Some((word, backslashes)) => {
                let kept = without(word, backslashes).to_le_bytes();
                *out.get_mut(to..)?.first_chunk_mut()? = kept;
                (at, to) = (at + 8, to + 8 - count(backslashes));
                is_escaped = backslashes >> 63 != 0;
            }
            None => {
                let until = word.map_or(body.len(), |_| at + 8);
                match unescaped_singly(body, &mut at, until, is_escaped, out, &mut to)? {
                    true => return Some(Input { at: quote_at, escaped: &body[from..at], length: to }),
                    false => is_escaped = false,
                }
            }
        }
    }
}

/// The backslashes of a word, if there is nothing but them and the quotes behind them to be seen to.
#[inline(always)]
fn escaped_quotes(word: u64, is_escaped: bool) -> Option<u64> {
    let (quotes, backslashes) = (equal(word, b'"'), equal(word, b'\\'));
    let expected = backslashes << 8 | u64::from(is_escaped) << 7;
    (quotes == expected && below(word, 0x20) == 0).then_some(backslashes)
}

/// The word without the bytes that are marked.
#[inline(always)]
fn without(mut word: u64, mut marks: u64) -> u64 {
    let mut take = || {
        // All bits below the byte of the first mark; all there are if there is none.
        let before = ((marks & marks.wrapping_neg()) >> 7).wrapping_sub(1);
        word = word & before | word >> 8 & !before;
        marks = (marks & marks.wrapping_sub(1)) >> 8;
        marks != 0
    };
    // There mostly are up to two.
    take();
    while take() {}
    word
}

/// How many bytes are marked.
#[inline(always)]
fn count(marks: u64) -> usize {
    ((marks >> 7).wrapping_mul(ONES) >> 56) as usize
}

/// As [`unescaped`], byte by byte, up to `until`, or one more to end an escape. Whether the string ended, at `at`.
#[inline(never)]
fn unescaped_singly(
    body: &[u8],
    at: &mut usize,
    until: usize,
    mut is_escaped: bool,
    out: &mut [u8],
    to: &mut usize,
) -> Option<bool> {
    while *at < until || is_escaped {
        let byte = *body.get(*at)?;
        let meant = match byte {
            // What is written by number is rare in JSON inside of JSON.
            _ if is_escaped => Some(ESCAPES[usize::from(byte)]).filter(|meant| *meant != 0)?,
            b'"' => return Some(true),
            0..0x20 => return None,
            _ => byte,
        };
        *at += 1;
        is_escaped = !is_escaped && byte == b'\\';
        if !is_escaped {
            *out.get_mut(*to)? = meant;
            *to += 1;
        }
    }
    // The end of the body is none of the string.
    (*at < body.len()).then_some(false)
}

/// What an escape stands for, by the byte behind the backslash; 0 for none.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let pairs = *b"\"\"\\\\//n\nt\tr\rb\x08f\x0c";
    let mut at = 0;
    while at < pairs.len() {
        escapes[pairs[at] as usize] = pairs[at + 1];
        at += 2;
    }
    escapes
};

/// As many bytes mostly stand between two quotes, or fewer.
const RUN: usize = 16;

/// Copies some bytes. Behind them there is room for more, so that few are copied as if they were many.
#[inline(always)]
fn copy(from: &[u8], bytes: Range<usize>, out: &mut [u8], to: usize) {
    match (from[bytes.start..].first_chunk(), out[to..].first_chunk_mut::<RUN>()) {
        (Some(short), Some(room)) if bytes.len() <= RUN => *room = *short,
        _ => copy_long(&from[bytes], &mut out[to..]),
    }
}

#[inline(never)]
fn copy_long(from: &[u8], out: &mut [u8]) {
    out[..from.len()].copy_from_slice(from);
}

/// Goes through the quotes, backslashes and control characters of a text, from a place on, until one breaks off.
///
/// They are looked for eight bytes at once, at places that do not depend on what was found before: then the processor
/// looks ahead while those are dealt with, which in JSON inside of JSON are a third of all bytes.
#[inline(always)]
fn each_loud<R>(text: &[u8], from: usize, mut each: impl FnMut(usize, u8) -> ControlFlow<R>) -> Option<R> {
    let (words, rest) = text.get(from..)?.as_chunks::<8>();
    for n in 0..=words.len() {
        let word = words.get(n).copied().unwrap_or_else(|| last_word(rest));
        let word = u64::from_le_bytes(word);
        let mut loud = loud(word);
        while loud != 0 {
            let bit = loud.trailing_zeros();
            loud &= loud - 1;
            let at = from + n * 8 + bit as usize / 8;
            if let Break(end) = each(at, (word >> (bit & !7)) as u8) {
                return Some(end);
            }
        }
    }
    None
}

/// Less than eight bytes as if spaces followed.
#[inline(never)]
fn last_word(rest: &[u8]) -> [u8; 8] {
    let mut word = [b' '; 8];
    word[..rest.len()].copy_from_slice(rest);
    word
}

/// The high bits of the bytes that are a quote, a backslash or a control character.
#[inline(always)]
fn loud(word: u64) -> u64 {
    // With this bit turned over, the quote follows right after the control characters.
    below(word ^ (ONES * 0x02), 0x21) | equal(word, b'\\')
}

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// The high bits of the bytes that are less than this, which is at most 0x80.
#[inline(always)]
fn below(word: u64, limit: u64) -> u64 {
    // Nothing is carried into the next byte.
    !((word & !HIGHS) + ONES * (0x80 - limit) | word) & HIGHS
}

/// The high bits of the bytes that are this one, which is ASCII.
#[inline(always)]
fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * u64::from(byte)), 1)
}

// ---- writing ----

/// Escapes JSON text, in which there are no control characters but spaces.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let (from, mut more) = (out.len(), 0);
    out.resize(from + 2 * text.len() + RUN, 0);
    // What was written, and where to.
    let (mut done, mut to) = (0, from);
    each_loud(text, 0, |at, byte| -> ControlFlow<()> {
        copy(text, done..at, out, to);
        to += at - done;
        out[to] = b'\\';
        to += 1;
        // A quote goes with what follows.
        done = at;
        if byte < 0x20 {
            let digit = |n: u8| b"0123456789abcdef"[usize::from(n & 15)];
            // Of all these there was room for one.
            more += 4;
            out.resize(from + 2 * text.len() + RUN + more, 0);
            out[to..to + 5].copy_from_slice(&[b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
            to += 5;
            done += 1;
        }
        Continue(())
    });
    copy(text, done..text.len(), out, to);
    out.truncate(to + text.len() - done);
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
            let quoted = [b" ".as_slice(), &quoted, b"x"].concat();
            let mut back = Vec::new();
            let input = Input { at: 1, escaped: &escaped, length: text.len() };
            assert_eq!(unescaped(&quoted, 1, &mut back), Some(input));
            assert_eq!(&back[..text.len()], text.as_bytes());
        }
    }

    #[test]
    fn escapes_are_taken_out_wherever_they_stand() {
        // Every text of five of these behind up to nine others, so that they cross words everywhere.
        let pieces = ["\"", "\\", "\n", "a", "é"];
        for number in 0..5usize.pow(5) {
            for before in 0..10 {
                let mut text = "x".repeat(before);
                (0..5).for_each(|n| text.push_str(pieces[number / 5usize.pow(n) % 5]));
                let body = format!("{} ", serde_json::json!(text));
                let mut out = Vec::new();
                let input = unescaped(body.as_bytes(), 0, &mut out).expect("a string");
                assert_eq!(input.end() + 1, body.len(), "{body}");
                assert_eq!(&out[..input.length], text.as_bytes(), "{body}");
                assert_eq!(unescaped(&body.as_bytes()[..body.len() - 2], 0, &mut out), None, "{body} cut");
            }
        }
    }

    #[test]
    fn loud_bytes_are_found_wherever_they_stand() {
        for byte in 0..=255u8 {
            for before in [0x20, 0x23, 0x5b, 0x5d, 0xA2, 0xC3, 0xFF] {
                for at in 0..20 {
                    let mut text = vec![before; 23];
                    text[at] = byte;
                    let is_loud = byte < 0x20 || byte == b'"' || byte == b'\\';
                    let mut found = Vec::new();
                    each_loud(&text, 2, |at, byte| -> ControlFlow<()> {
                        found.push((at, byte));
                        Continue(())
                    });
                    let expected = (is_loud && at >= 2).then_some((at, byte));
                    assert_eq!(found, Vec::from_iter(expected), "{byte} at {at} among {before}");
                }
            }
        }
    }

    #[test]
    fn control_characters_are_escaped_wherever_they_stand() {
        let text: String = (0..200).map(|n| char::from(n % 40)).collect();
        let mut escaped = b"before".to_vec();
        escape(text.as_bytes(), &mut escaped);
        let read: String = serde_json::from_slice(&[b"\"", &escaped[6..], b"\""].concat()).expect("a string");
        assert_eq!(read, text);
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

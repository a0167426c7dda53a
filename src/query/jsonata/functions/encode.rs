//! Base64 and URLs.

use super::*;
use crate::json::Value;
use crate::query::jsonata::eval::{EvalError, Failure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

pub(super) fn base64_encode(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let encoded = STANDARD.encode(eval.arena.str(text));
    eval.string(&encoded)
}

pub(super) fn base64_decode(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    // Forgiving, as decoders of the reference are: white space and the padding do not matter.
    let compact: String = eval.arena.str(text).chars().filter(|c| !c.is_whitespace() && *c != '=').collect();
    let compact = compact.replace('-', "+").replace('_', "/");
    match STANDARD_NO_PAD.decode(&compact) {
        Ok(bytes) => eval.string(&String::from_utf8_lossy(&bytes)),
        Err(_) => Err(Failure::new(EvalError::new(
            "D3137",
            "Attempted to decode a string that is not Base64".to_owned(),
        ))),
    }
}

const COMPONENT: &[u8] = b"-_.!~*'()";
const WHOLE: &[u8] = b"-_.!~*'();/?:@&=+$,#";
/// What decoding a whole URL leaves encoded.
const RESERVED: &[u8] = b";/?:@&=+$,#";

fn encode(eval: &mut Eval<'_>, text: Value, kept: &[u8]) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let mut out = String::with_capacity(text.len());
    for &byte in eval.arena.str(text).as_bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(byte as char);
        } else {
            out.push('%');
            for half in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(half), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    eval.string(&out)
}

fn decode(eval: &mut Eval<'_>, text: Value, reserved: &[u8], name: &str) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let source = eval.arena.str(text).as_bytes();
    let (mut out, mut at, mut wrong) = (Vec::with_capacity(source.len()), 0, false);
    while at < source.len() {
        if source[at] != b'%' {
            out.push(source[at]);
            at += 1;
            continue;
        }
        let digits = source.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match digits.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if reserved.contains(&byte) => out.extend_from_slice(&source[at..at + 3]),
            Some(byte) => out.push(byte),
            None => {
                wrong = true;
                break;
            }
        }
        at += 3;
    }
    match String::from_utf8(out) {
        Ok(text) if !wrong => eval.string(&text),
        _ => {
            let message = format!("Malformed URL passed to ${name}(): {}", eval.quoted(text));
            Err(Failure::new(EvalError::new("D3140", message)))
        }
    }
}

pub(super) fn encode_url_component(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    encode(eval, text, COMPONENT)
}

pub(super) fn encode_url(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    encode(eval, text, WHOLE)
}

pub(super) fn decode_url_component(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    decode(eval, text, b"", "decodeUrlComponent")
}

pub(super) fn decode_url(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    decode(eval, text, RESERVED, "decodeUrl")
}

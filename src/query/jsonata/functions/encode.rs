//! Base64 and URLs.

use crate::json::Value;
use crate::query::jsonata::eval::{Args, Eval, EvalError, Failure, Frame, Outcome, TEXT_PIECE, pieces};
use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD};

/// Unused bits in the last letter are ignored: `YWJ` is `ab`.
const FORGIVING: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

pub(super) fn base64_encode(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let source = eval.arena.str(text).as_bytes();
    let mut out = String::with_capacity(source.len() / 3 * 4 + 4);
    // Whole groups of three bytes give whole groups of four letters.
    for piece in source.chunks(TEXT_PIECE / 3 * 3) {
        eval.charge(3 * piece.len() as u64)?;
        STANDARD.encode_string(piece, &mut out);
    }
    eval.string(&out)
}

pub(super) fn base64_decode(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    // Lenient, like decoders of the reference: white space and padding are ignored.
    let mut compact = Vec::with_capacity(text.len());
    for piece in pieces(eval.arena.str(text)) {
        eval.charge(5 * piece.len() as u64)?;
        for c in piece.chars().filter(|c| !c.is_whitespace() && *c != '=') {
            compact.push(match c {
                '-' => b'+',
                '_' => b'/',
                // Characters beyond ASCII are not in the alphabet, and neither is this.
                c => u8::try_from(c).unwrap_or(b'=').min(0x7f),
            });
        }
    }
    let mut bytes = Vec::with_capacity(compact.len() / 4 * 3 + 3);
    for piece in compact.chunks(TEXT_PIECE / 4 * 4) {
        eval.charge(4 * piece.len() as u64)?;
        if FORGIVING.decode_vec(piece, &mut bytes).is_err() {
            return Err(Failure::new(EvalError::new(
                "D3137",
                "Attempted to decode a string that is not Base64".to_owned(),
            )));
        }
    }
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        eval.charge(10 + chunk.valid().len() as u64)?;
        out.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
    eval.string(&out)
}

const COMPONENT: &[u8] = b"-_.!~*'()";
const WHOLE: &[u8] = b"-_.!~*'();/?:@&=+$,#";
/// Characters that decoding a whole URL leaves encoded.
const RESERVED: &[u8] = b";/?:@&=+$,#";

fn encode(eval: &mut Eval<'_>, text: Value, kept: &[u8]) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let mut out = String::with_capacity(text.len());
    for (at, &byte) in eval.arena.str(text).as_bytes().iter().enumerate() {
        eval.now_and_then(at, text.len())?;
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
    let mut charged = 0;
    while at < source.len() {
        if at >= charged {
            let piece = TEXT_PIECE.min(source.len() - at);
            eval.charge(6 * piece as u64)?;
            charged = at + piece;
        }
        if source[at] != b'%' {
            // AWS decodes like a form.
            out.push(if eval.aws && source[at] == b'+' { b' ' } else { source[at] });
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
        Err(error) if !wrong && eval.aws => eval.string(&String::from_utf8_lossy(error.as_bytes())),
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

//! Function signatures such as `<s-nn?:s>`: which arguments a function takes.

use super::CompileError;

/// The kinds of values that signatures distinguish, as bits.
pub(in crate::query::jsonata) mod kinds {
    pub(in crate::query::jsonata) const STRING: u8 = 1;
    pub(in crate::query::jsonata) const NUMBER: u8 = 2;
    pub(in crate::query::jsonata) const BOOL: u8 = 4;
    pub(in crate::query::jsonata) const NULL: u8 = 8;
    pub(in crate::query::jsonata) const OBJECT: u8 = 16;
    pub(in crate::query::jsonata) const ARRAY: u8 = 32;
    pub(in crate::query::jsonata) const FUNCTION: u8 = 64;
    /// No value.
    pub(in crate::query::jsonata) const MISSING: u8 = 128;
    /// Any JSON value.
    pub(in crate::query::jsonata) const JSON: u8 = STRING | NUMBER | BOOL | NULL | OBJECT | ARRAY | MISSING;
    /// Anything.
    pub(in crate::query::jsonata) const ANY: u8 = JSON | FUNCTION;

    /// The bit of a signature's letter.
    pub(in crate::query::jsonata) const fn of(letter: u8) -> u8 {
        match letter {
            b's' => STRING,
            b'n' => NUMBER,
            b'b' => BOOL,
            b'l' => NULL,
            b'o' => OBJECT,
            b'a' => ARRAY,
            b'f' => FUNCTION,
            b'm' => MISSING,
            _ => 0,
        }
    }
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::query::jsonata) struct ParamKind {
    /// Accepted kinds.
    pub(in crate::query::jsonata) kinds: u8,
    /// May be omitted.
    pub(in crate::query::jsonata) optional: bool,
    /// When omitted, the context is used.
    pub(in crate::query::jsonata) context: bool,
    /// Takes one or more arguments.
    pub(in crate::query::jsonata) many: bool,
    /// Requires an array: any other value becomes an array of one.
    pub(in crate::query::jsonata) array: bool,
    /// The letter of the kind its elements must have, 0 for any.
    pub(in crate::query::jsonata) element: u8,
}

impl ParamKind {
    const NONE: ParamKind =
        ParamKind { kinds: 0, optional: false, context: false, many: false, array: false, element: 0 };
}

/// A signature: its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::query::jsonata) struct Signature {
    params: [ParamKind; Signature::PARAMS_MAX],
    len: u8,
}

impl Signature {
    /// Parameters a signature may have; the largest built-in one has four.
    pub(in crate::query::jsonata) const PARAMS_MAX: usize = 16;

    /// Its parameters.
    pub(in crate::query::jsonata) fn params(&self) -> &[ParamKind] {
        &self.params[..self.len as usize]
    }

    /// Parses a signature. The error is a code and the offset inside the signature.
    pub(in crate::query::jsonata) const fn parse(text: &[u8]) -> Result<Signature, (&'static str, usize)> {
        let mut params = [ParamKind::NONE; Signature::PARAMS_MAX];
        let mut len = 0;
        let mut at = 1;
        while at < text.len() {
            let mut param = ParamKind::NONE;
            match text[at] {
                b':' => break,
                b'-' if len > 0 => {
                    params[len - 1].context = true;
                    params[len - 1].optional = true;
                }
                b'?' if len > 0 => params[len - 1].optional = true,
                b'+' if len > 0 => params[len - 1].many = true,
                letter @ (b's' | b'n' | b'b' | b'l' | b'o') => {
                    param.kinds = kinds::of(letter) | kinds::MISSING;
                }
                b'a' => {
                    param.kinds = kinds::ANY;
                    param.array = true;
                }
                b'f' => param.kinds = kinds::FUNCTION,
                b'j' => param.kinds = kinds::JSON,
                b'x' => param.kinds = kinds::ANY,
                b'(' => {
                    let end = closing(text, at, b'(', b')');
                    param.kinds = kinds::MISSING;
                    at += 1;
                    while at < end {
                        if text[at] == b'<' {
                            return Err(("S0402", at));
                        }
                        param.kinds |= kinds::of(text[at]);
                        at += 1;
                    }
                }
                b'<' => {
                    let takes_type =
                        len > 0 && (params[len - 1].array || params[len - 1].kinds == kinds::FUNCTION);
                    if !takes_type {
                        return Err(("S0401", at));
                    }
                    if at + 1 < text.len() {
                        params[len - 1].element = text[at + 1];
                    }
                    at = closing(text, at, b'<', b'>');
                }
                _ => {}
            }
            if param.kinds != 0 {
                if len == Signature::PARAMS_MAX {
                    return Err(("S0402", at));
                }
                params[len] = param;
                len += 1;
            }
            at += 1;
        }
        Ok(Signature { params, len: len as u8 })
    }
}

/// The end of the bracket opened at `from`, or the end of the text.
const fn closing(text: &[u8], from: usize, open: u8, close: u8) -> usize {
    let (mut at, mut depth) = (from + 1, 1);
    while at < text.len() {
        if text[at] == close {
            depth -= 1;
            if depth == 0 {
                break;
            }
        } else if text[at] == open {
            depth += 1;
        }
        at += 1;
    }
    at
}

/// The error for a signature that [`Signature::parse`] refused.
pub(super) fn signature_error(code: &'static str, offset: usize) -> CompileError {
    let message = match code {
        "S0401" => "Type parameters can only be applied to functions and arrays",
        _ => "Choice groups containing parameterized types are not supported",
    };
    CompileError::new(code, offset, None, message.to_owned())
}

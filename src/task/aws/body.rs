//! The bodies of HTTP Tasks.

use super::answer::is_json;
use super::percent;
use crate::json::{self, Arena, Value};

/// The format of lists in URL-encoded bodies (`Transform.RequestEncodingOptions.ArrayFormat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArrayFormat {
    /// `a[0]=1&a[1]=2`
    Indices,
    /// `a=1&a=2`
    Repeat,
    /// `a=1,2`
    Commas,
    /// `a[]=1&a[]=2`
    Brackets,
}

impl ArrayFormat {
    pub(super) fn named(name: &str) -> Option<ArrayFormat> {
        Some(match name {
            "INDICES" => ArrayFormat::Indices,
            "REPEAT" => ArrayFormat::Repeat,
            "COMMAS" => ArrayFormat::Commas,
            "BRACKETS" => ArrayFormat::Brackets,
            _ => return None,
        })
    }
}

/// Writes a request's body: its content type, and its bytes. `fixed` is from the connection, and goes before the task's
/// values; `kind` is the task's content type.
pub(super) fn write(
    arena: &Arena,
    content: Value,
    fixed: &[(String, String)],
    kind: Option<&str>,
    encoding: Option<ArrayFormat>,
) -> Result<(&'static str, Vec<u8>), &'static str> {
    const NO_OBJECT: &str =
        "RequestBody must be an object to be URL-encoded, or to take the connection's parameters";
    let object = content.is_object() || content.is_undefined();
    let own = || {
        let entries = arena.entries(content).map(|(name, value)| (arena.str(name), value));
        entries.filter(|(name, _)| !fixed.iter().any(|(other, _)| other == name))
    };
    if let Some(format) = encoding {
        if !object {
            return Err(NO_OBJECT);
        }
        let mut text = String::new();
        own().for_each(|(name, value)| encode(arena, value, name, format, &mut text));
        fixed.iter().for_each(|(name, value)| percent::pair(name, value, &mut text));
        return Ok(("application/x-www-form-urlencoded", text.into_bytes()));
    }
    let mut out = Vec::new();
    if !fixed.is_empty() {
        if !object {
            return Err(NO_OBJECT);
        }
        out.push(b'{');
        for (name, value) in own() {
            super::answer::separate(out.len() - 1, &mut out);
            json::write_string(name, &mut out);
            out.push(b':');
            json::write(arena, value, &mut out);
        }
        for (name, value) in fixed {
            super::answer::separate(out.len() - 1, &mut out);
            json::write_string(name, &mut out);
            out.push(b':');
            json::write_string(value, &mut out);
        }
        out.push(b'}');
        return Ok(("application/json", out));
    }
    match arena.as_str(content) {
        // Text of a type other than JSON is sent unchanged.
        Some(text) if kind.is_some_and(|kind| !is_json_type(kind)) => out.extend_from_slice(text.as_bytes()),
        _ => json::write(arena, content, &mut out),
    }
    Ok(("application/json", out))
}

/// The depth is bounded by the arena's reader.
fn encode(arena: &Arena, value: Value, name: &str, format: ArrayFormat, out: &mut String) {
    if value.is_object() {
        for (key, inner) in arena.entries(value) {
            encode(arena, inner, &format!("{name}[{}]", arena.str(key)), format, out);
        }
    } else if value.is_array() {
        let items = arena.items(value);
        if format == ArrayFormat::Commas && !items.iter().any(|item| item.is_container()) {
            let texts: Vec<String> = items.iter().map(|item| super::wire::text(arena, *item)).collect();
            return percent::pair(name, &texts.join(","), out);
        }
        for (n, item) in items.iter().enumerate() {
            let name = match format {
                ArrayFormat::Indices | ArrayFormat::Commas => format!("{name}[{n}]"),
                ArrayFormat::Repeat => name.to_owned(),
                ArrayFormat::Brackets => format!("{name}[]"),
            };
            encode(arena, *item, &name, format, out);
        }
    } else {
        percent::pair(name, &super::wire::text(arena, value), out);
    }
}

fn is_json_type(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.ends_with("/json") || kind.ends_with("+json")
}

/// Content types of binary bodies.
const BINARY: [&str; 10] = [
    "image/",
    "audio/",
    "video/",
    "font/",
    "application/octet-stream",
    "application/pdf",
    "application/zip",
    "application/gzip",
    "application/vnd.ms-",
    "multipart/",
];

/// Writes an answer's body as JSON: unchanged if it is JSON, else as text.
pub(super) fn read(kind: &str, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let lower = kind.to_ascii_lowercase();
    if BINARY.iter().any(|binary| lower.starts_with(binary)) {
        return Err(format!("The response body has the content type '{kind}', which is not supported"));
    }
    if (is_json_type(kind) || kind.is_empty()) && is_json(bytes) {
        out.extend_from_slice(bytes);
        return Ok(());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "The response body is not text in UTF-8".to_owned())?;
    json::write_string(text, out);
    Ok(())
}

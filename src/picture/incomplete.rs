//! JSON that breaks off or has mistakes, as far as it can be read: for pictures of what is still being written.
//!
//! Missing and superfluous commas are overlooked, a member without a value has `null`, a string ends with its line at the
//! latest, and what is still open at the end of the text is closed there.

use crate::json::source::{self, Member, Node, NodeValue, Sourced, Span};
use crate::limits;

/// Reads a text of less than 4 GiB. `None` if it does not begin with a value, or is nested too deeply.
pub(super) fn read(text: &str) -> Option<Node> {
    let mut reader = Reader { text, at: 0 };
    reader.skip(" \t\r\n");
    reader.value(limits::JSON_DEPTH_MAX.into())
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip(&mut self, what: &str) {
        self.at = self.text.len() - self.text[self.at..].trim_start_matches(|c| what.contains(c)).len();
    }

    fn since(&self, start: usize) -> Span {
        Span { start: start as u32, end: self.at as u32 }
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        let depth = depth.checked_sub(1)?;
        let start = self.at;
        let value = match self.peek()? {
            b'{' => NodeValue::Object(self.members(depth)?),
            b'[' => NodeValue::Array(self.items(depth)?),
            b'"' => self.string().map_or(NodeValue::Null, NodeValue::String),
            _ => {
                self.skip_word();
                let word = &self.text[start..self.at];
                source::read(word.as_bytes(), word.len()).map_or(NodeValue::Null, |source| source.root.value)
            }
        };
        Some(Node { value, span: self.since(start) })
    }

    fn members(&mut self, depth: usize) -> Option<Vec<Member>> {
        let mut members = Vec::new();
        self.at += 1;
        loop {
            self.skip(" \t\r\n,:");
            match self.peek() {
                Some(b'"') => {}
                Some(b'}') => {
                    self.at += 1;
                    return Some(members);
                }
                // Its closing bracket is missing.
                None | Some(b']') => return Some(members),
                Some(_) => {
                    // A value without a name is skipped.
                    let _ = self.value(depth)?;
                    continue;
                }
            }
            let start = self.at;
            let Some(name) = self.string() else { continue };
            let key = Sourced::new(name, self.since(start));
            self.skip(" \t\r\n");
            let mut value = Node { value: NodeValue::Null, span: self.since(self.at) };
            if self.peek() == Some(b':') {
                self.skip(" \t\r\n:");
                if !matches!(self.peek(), None | Some(b',' | b'}' | b']')) {
                    value = self.value(depth)?;
                }
            }
            members.push(Member { key, value });
        }
    }

    fn items(&mut self, depth: usize) -> Option<Vec<Node>> {
        let mut items = Vec::new();
        self.at += 1;
        loop {
            self.skip(" \t\r\n,:");
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    return Some(items);
                }
                // Its closing bracket is missing.
                None | Some(b'}') => return Some(items),
                Some(_) => items.push(self.value(depth)?),
            }
        }
    }

    /// A string; `None` if it has no end.
    fn string(&mut self) -> Option<Box<str>> {
        let start = self.at;
        let mut escaped = false;
        for (at, byte) in self.text.bytes().enumerate().skip(start + 1) {
            match byte {
                b'\n' => {
                    self.at = at;
                    return None;
                }
                b'"' if !escaped => {
                    self.at = at + 1;
                    let text = &self.text[start..self.at];
                    let read = source::read(text.as_bytes(), text.len()).ok();
                    // With a wrong escape, as it is written.
                    let decoded = read.and_then(|read| read.root.as_str().map(Box::from));
                    return Some(decoded.unwrap_or_else(|| text[1..text.len() - 1].into()));
                }
                _ => escaped = !escaped && byte == b'\\',
            }
        }
        self.at = self.text.len();
        None
    }

    /// A number, `true`, or whatever else is between signs of JSON: at least one character.
    fn skip_word(&mut self) {
        let rest = &self.text[self.at..];
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let length = rest[first..].find(|c: char| c.is_whitespace() || ",:{}[]\"".contains(c));
        self.at += length.map_or(rest.len(), |length| first + length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: &Node) -> String {
        match &node.value {
            NodeValue::Object(members) => {
                let members: Vec<String> = members
                    .iter()
                    .map(|member| format!("{}={}", member.key.value, shown(&member.value)))
                    .collect();
                format!("{{{}}}", members.join(" "))
            }
            NodeValue::Array(items) => {
                format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" "))
            }
            NodeValue::String(text) => text.to_string(),
            NodeValue::Number(text) => text.to_string(),
            NodeValue::Bool(value) => value.to_string(),
            NodeValue::Null => "-".to_owned(),
        }
    }

    #[test]
    fn as_much_is_read_as_there_is() {
        for (text, expected) in [
            (r#"{"a": 1, "b": [true, {"c": "d\n"}]}"#, "{a=1 b=[true {c=d\n}]}"),
            // It breaks off: in a value, in a name, behind a name.
            (r#"{"a": {"b": "c"#, "{a={b=-}}"),
            (r#"{"a": {"b": 1, "c"#, "{a={b=1}}"),
            (r#"{"a": {"b""#, "{a={b=-}}"),
            // Commas are missing, or are there once more.
            (r#"{"a": 1 "b": 2,, "c": [3 4,],}"#, "{a=1 b=2 c=[3 4]}"),
            // Colons and values are missing.
            (r#"{"a" 1, "b":, "c": }"#, "{a=- b=- c=-}"),
            // A quote is missing: only its line is lost.
            ("{\"a: 1,\n\"b\": 2,\n\"c\": \"d,\n\"e\": 5}", "{b=2 c=- e=5}"),
            // Brackets are mixed up, or words are no JSON.
            (r#"{"a": [1, 2}, "b": tru, "c": 'x'}"#, "{a=[1 2]}"),
            (r#"{"a": tru, "b": 'x', "c": "\q"}"#, r"{a=- b=- c=\q}"),
            ("}", "-"),
        ] {
            assert_eq!(read(text).map(|node| shown(&node)).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(read(" "), None);
        assert_eq!(read(&"[".repeat(100_000)), None);
    }
}

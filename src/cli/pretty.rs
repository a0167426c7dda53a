//! JSON for people at a terminal: over several lines, coloured as `jq` does it.

use std::io::{self, IsTerminal};

use super::streams;

/// How JSON is written on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Unchanged: compact, for programs.
    Compact,
    /// Over several lines.
    Lines { colours: bool },
}

impl Style {
    /// For the present standard output: terminals are read by people.
    pub(super) fn stdout() -> Style {
        if io::stdout().is_terminal() {
            Style::Lines { colours: streams::colours_stdout() }
        } else {
            Style::Compact
        }
    }
}

const NULL: &str = "\x1b[1;90m";
const TEXT: &str = "\x1b[32m";
const NAME: &str = "\x1b[1;34m";
const BRACKET: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Reformats compact JSON texts, one per line. Numbers and strings stay unchanged.
pub(super) fn lines(compact: &[u8], colours: bool) -> Vec<u8> {
    let text = String::from_utf8_lossy(compact);
    let mut out = String::with_capacity(2 * text.len());
    for line in text.lines() {
        one(line, colours, &mut out);
        out.push('\n');
    }
    out.into_bytes()
}

fn one(text: &str, colours: bool, out: &mut String) {
    let paint = |out: &mut String, colour: &str, text: &str| {
        if colours { out.extend([colour, text, PLAIN]) } else { out.push_str(text) }
    };
    let mut depth = 0;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_bytes(rest),
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            _ => rest.find([',', '}', ']']).unwrap_or(rest.len()).max(first.len_utf8()),
        };
        let (token, behind) = rest.split_at(length);
        match first {
            '{' | '[' => {
                paint(out, BRACKET, token);
                // Empty containers stay on their line.
                if !behind.starts_with(['}', ']']) {
                    depth += 1;
                    new_line(out, depth);
                }
            }
            '}' | ']' => {
                if !text[..text.len() - rest.len()].ends_with(['{', '[']) {
                    depth -= 1;
                    new_line(out, depth);
                }
                paint(out, BRACKET, token);
            }
            ',' => {
                out.push(',');
                new_line(out, depth);
            }
            ':' => out.push_str(": "),
            '"' if behind.starts_with(':') => paint(out, NAME, token),
            '"' => paint(out, TEXT, token),
            'n' => paint(out, NULL, token),
            _ => out.push_str(token),
        }
        rest = behind;
    }
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Bytes of the string that a text begins with, its quotes included.
fn string_bytes(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_laid_out_and_keep_their_letters() {
        let compact = br#"{"a":[],"b":{"c":1.50,"\"d\\":"x,]}:"},"e":[true,null,-0.1e+9]}
"\u00e4"
{}
"#;
        let shown = String::from_utf8(lines(compact, false)).expect("UTF-8");
        let expected = "{\n  \"a\": [],\n  \"b\": {\n    \"c\": 1.50,\n    \"\\\"d\\\\\": \"x,]}:\"\n  },\n  \"e\": [\n    true,\n    null,\n    -0.1e+9\n  ]\n}\n\"\\u00e4\"\n{}\n";
        assert_eq!(shown, expected);
        let coloured = String::from_utf8(lines(br#"{"a":null}"#, true)).expect("UTF-8");
        assert_eq!(
            coloured,
            "\x1b[1m{\x1b[0m\n  \x1b[1;34m\"a\"\x1b[0m: \x1b[1;90mnull\x1b[0m\n\x1b[1m}\x1b[0m\n"
        );
    }
}

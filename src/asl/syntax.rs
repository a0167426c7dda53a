//! Whether paths, intrinsic calls and expressions are well formed: the one door from here to [`crate::query`].

use super::diagnostic::Code;

/// What is wrong with a path such as `$.a[*].b`, `$$.Execution.Id` or `$variable.c`.
pub(super) fn path_error(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix('$') else {
        return Some("a path begins with `$`".into());
    };
    let rest = rest.strip_prefix('$').unwrap_or(rest);
    let name = rest.find(|char: char| !is_name(char)).unwrap_or(rest.len());
    path_steps(&rest[name..])
}

fn is_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

fn path_steps(mut rest: &str) -> Option<String> {
    while let Some(first) = rest.chars().next() {
        match first {
            '.' => {
                rest = rest.strip_prefix("..").or(rest.strip_prefix('.')).unwrap_or(rest);
                if rest.starts_with('[') {
                    continue;
                }
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let name = &rest[..end];
                if name.is_empty() || name.contains(char::is_whitespace) {
                    return Some("a name is missing after `.`".into());
                }
                rest = &rest[end..];
            }
            '[' => match bracket_end(rest) {
                Some(end) => rest = &rest[end..],
                None => return Some("`[` is never closed".into()),
            },
            other => return Some(format!("`{other}` is not expected here")),
        }
    }
    None
}

/// The byte after the `]` that closes the `[` `text` begins with.
fn bracket_end(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match (quote, char) {
            (Some(_), '\\') => {
                chars.next();
            }
            (Some(open), _) if open == char => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(char),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    // `[]` holds nothing to select.
                    return (at > 1).then_some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// What is wrong with a path that must lead to one node.
pub(super) fn reference_path_error(text: &str) -> Option<String> {
    if let Some(error) = path_error(text) {
        return Some(error);
    }
    let mut quote = None;
    let mut escaped = false;
    for char in text.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if char == '\\' => escaped = true,
            Some(open) if open == char => quote = None,
            Some(_) => {}
            None if matches!(char, '\'' | '"') => quote = Some(char),
            None if matches!(char, '@' | ',' | ':' | '?' | '*') => {
                return Some(format!("`{char}` is not allowed in a reference path"));
            }
            None => {}
        }
    }
    text.contains("..").then(|| "`..` is not allowed in a reference path".into())
}

/// What is wrong with an intrinsic call such as `States.Format('{}', $.a)`.
pub(super) fn intrinsic_error(text: &str) -> Option<String> {
    let mut call = Call { rest: text, depth: 0 };
    call.call().err().or_else(|| (!call.rest.is_empty()).then(|| "nothing may follow the call".into()))
}

struct Call<'t> {
    rest: &'t str,
    depth: usize,
}

impl Call<'_> {
    fn take(&mut self, char: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(char) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn call(&mut self) -> Result<(), String> {
        let end = self.rest.find('(').ok_or("an intrinsic call has arguments in parentheses")?;
        let name = &self.rest[..end];
        let Some(&(_, min, max)) = FUNCTIONS.iter().find(|row| row.0 == name) else {
            return Err(format!("`{name}` is not an intrinsic function"));
        };
        self.depth += 1;
        if self.depth > crate::limits::INTRINSIC_DEPTH_MAX {
            return Err("calls are nested too deeply".into());
        }
        self.rest = &self.rest[end + 1..];
        let mut count = 0;
        if !self.take(')') {
            loop {
                self.argument()?;
                count += 1;
                if self.take(')') {
                    break;
                }
                if !self.take(',') {
                    return Err("arguments are separated by `,`".into());
                }
            }
        }
        if count < min || count > max {
            return Err(format!("`{name}` does not take {count} arguments"));
        }
        self.depth -= 1;
        Ok(())
    }

    fn argument(&mut self) -> Result<(), String> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with("States.") {
            return self.call();
        }
        if self.take('\'') {
            return self.string();
        }
        let end = argument_end(self.rest);
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let text = text.trim_end();
        if text.starts_with('$') {
            return path_error(text).map_or(Ok(()), Err);
        }
        let is_value = matches!(text, "null" | "true" | "false") || text.parse::<f64>().is_ok();
        if is_value { Ok(()) } else { Err(format!("`{text}` is not an argument")) }
    }

    fn string(&mut self) -> Result<(), String> {
        let mut chars = self.rest.char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '\'' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(());
                }
                // Recorded on AWS: any other escape is refused.
                '\\' if !matches!(chars.next(), Some((_, '\'' | '\\' | '{' | '}'))) => {
                    return Err("only ' { } \\ may follow a backslash".into());
                }
                _ => {}
            }
        }
        Err("a string is never closed".into())
    }
}

/// Where an argument that is no string and no call ends: at a `,` or `)` outside brackets and quotes.
fn argument_end(text: &str) -> usize {
    let mut open = 0_usize;
    let mut quoted = false;
    for (at, char) in text.char_indices() {
        match char {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '[' | '(' => open += 1,
            ')' if open == 0 => return at,
            ']' | ')' => open = open.saturating_sub(1),
            ',' if open == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// Name, fewest and most arguments.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("States.Format", 1, usize::MAX),
    ("States.StringToJson", 1, 1),
    ("States.JsonToString", 1, 1),
    ("States.Array", 0, usize::MAX),
    ("States.ArrayPartition", 2, 2),
    ("States.ArrayContains", 2, 2),
    ("States.ArrayRange", 3, 3),
    ("States.ArrayGetItem", 2, 2),
    ("States.ArrayLength", 1, 1),
    ("States.ArrayUnique", 1, 1),
    ("States.Base64Encode", 1, 1),
    ("States.Base64Decode", 1, 1),
    ("States.Hash", 2, 2),
    ("States.JsonMerge", 3, 3),
    ("States.MathRandom", 2, 3),
    ("States.MathAdd", 2, 2),
    ("States.StringSplit", 2, 2),
    ("States.UUID", 0, 0),
];

/// What an expression may refer to besides `$states.input`, `$states.context` and variables.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bindings {
    /// `$states.result`
    pub(super) result: bool,
    /// `$states.errorOutput`
    pub(super) error_output: bool,
}

/// What is wrong with a JSONata expression (the text between its marks).
pub(super) fn jsonata_error(text: &str, bindings: Bindings) -> Option<(Code, String)> {
    if text.trim().is_empty() {
        return Some((Code::InvalidJsonataExpression, "Unexpected end of expression".into()));
    }
    for (name, allowed) in [("result", bindings.result), ("errorOutput", bindings.error_output)] {
        let field = format!("$states.{name}");
        if !allowed && text.contains(&field) {
            let message = format!("Field '{field}' does not exist.");
            return Some((Code::UnsupportedJsonataExpression, message));
        }
    }
    None
}

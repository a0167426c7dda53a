//! The tokenizer. Whether a `/` begins a regular expression depends on the token before it, so the parser passes with
//! each call whether an operand may begin here.

use super::CompileError;

/// A token and its end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// Byte offset of its end: positions in JSONata's errors point there.
    pub(super) end: u32,
}

/// The kind of a token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    Name(String),
    Variable(String),
    /// An operator or punctuation, and the words `and`, `or`, `in`.
    Operator(&'static str),
    Literal(Literal),
    Regex {
        pattern: String,
        flags: String,
    },
    End,
}

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::query::jsonata) enum Literal {
    String(String),
    Number(f64),
    Bool(bool),
    Null,
}

impl TokenKind {
    /// The token's value, quoted for JSONata's messages.
    pub(super) fn quoted(&self) -> String {
        match self {
            TokenKind::Name(text) | TokenKind::Variable(text) => quote(text),
            TokenKind::Operator(text) => quote(text),
            TokenKind::Literal(Literal::String(text)) => quote(text),
            TokenKind::Literal(Literal::Number(number)) => number_text(*number),
            TokenKind::Literal(Literal::Bool(value)) => value.to_string(),
            TokenKind::Literal(Literal::Null) => "null".to_owned(),
            TokenKind::Regex { .. } => "{}".to_owned(),
            TokenKind::End => quote("(end)"),
        }
    }

    /// The token's value, unquoted.
    pub(super) fn text(&self) -> String {
        match self {
            TokenKind::Name(text) | TokenKind::Variable(text) => text.clone(),
            TokenKind::Literal(Literal::String(text)) => text.clone(),
            other => other.quoted().trim_matches('"').to_owned(),
        }
    }
}

/// `text` as a JSON string.
pub(in crate::query::jsonata) fn quote(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// A number in JavaScript's format.
pub(in crate::query::jsonata) fn number_text(number: f64) -> String {
    let mut out = String::new();
    crate::query::jsonata::number::write_js(number, &mut out);
    out
}

const OPERATORS: [&str; 37] = [
    "..", ":=", "!=", ">=", "<=", "**", "~>", ".", "[", "]", "{", "}", "(", ")", ",", "@", "#", ";", ":",
    "?", "+", "-", "*", "/", "%", "|", "=", "<", ">", "^", "&", "!", "~", "and", "or", "in", "",
];

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b)
}

fn is_operator_byte(byte: u8) -> bool {
    b".[]{}(),@#;:?+-*/%|=<>^&!~".contains(&byte)
}

/// Splits an expression into tokens.
pub(super) struct Tokens<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Tokens<'s> {
    pub(super) fn new(source: &'s str) -> Tokens<'s> {
        Tokens { source, at: 0 }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.source.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn token(&self, kind: TokenKind) -> Token {
        Token { kind, end: self.at as u32 }
    }

    /// The next token; `operand` means that a regular expression may begin here.
    pub(super) fn next(&mut self, operand: bool) -> Result<Token, CompileError> {
        self.skip_space_and_comments()?;
        if self.at >= self.source.len() {
            return Ok(self.token(TokenKind::End));
        }
        if operand && self.peek(0) == b'/' {
            self.at += 1;
            return self.regex();
        }
        let rest = &self.source[self.at..];
        if is_operator_byte(self.peek(0))
            && let Some(operator) = OPERATORS[..33].iter().find(|&&operator| rest.starts_with(operator))
        {
            self.at += operator.len();
            return Ok(self.token(TokenKind::Operator(operator)));
        }
        match self.peek(0) {
            quote @ (b'"' | b'\'') => self.string(quote),
            b'0'..=b'9' => self.number(),
            b'`' => self.quoted_name(),
            _ => Ok(self.word()),
        }
    }

    fn skip_space_and_comments(&mut self) -> Result<(), CompileError> {
        loop {
            while self.at < self.source.len() && is_space(self.peek(0)) {
                self.at += 1;
            }
            if self.peek(0) != b'/' || self.peek(1) != b'*' {
                return Ok(());
            }
            match self.source[self.at + 2..].find("*/") {
                Some(length) => self.at += length + 4,
                None => {
                    return Err(CompileError::new(
                        "S0106",
                        self.at,
                        None,
                        "Comment has no closing tag".into(),
                    ));
                }
            }
        }
    }

    fn string(&mut self, quote: u8) -> Result<Token, CompileError> {
        self.at += 1;
        let mut text = String::new();
        // Halves of surrogate pairs written as two `\u` escapes are combined here.
        let mut high = None;
        loop {
            let Some(c) = self.source[self.at..].chars().next() else {
                let message = "String literal must be terminated by a matching quote".into();
                return Err(CompileError::new("S0101", self.at, None, message));
            };
            if c == '\\' {
                self.at += 1;
                self.escape(&mut text, &mut high)?;
                continue;
            }
            if high.take().is_some() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
            self.at += c.len_utf8();
            if c == quote as char {
                return Ok(self.token(TokenKind::Literal(Literal::String(text))));
            }
            text.push(c);
        }
    }

    /// One escape sequence, behind its backslash.
    fn escape(&mut self, text: &mut String, high: &mut Option<u32>) -> Result<(), CompileError> {
        let c = self.source[self.at..].chars().next();
        if c == Some('u') {
            let unit = self
                .source
                .get(self.at + 1..self.at + 5)
                .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
                .and_then(|hex| u32::from_str_radix(hex, 16).ok());
            let Some(unit) = unit else {
                // The reference takes fewer digits at the end of the source, where the quote is missing as well.
                let rest = &self.source.as_bytes()[self.at + 1..];
                if (1..4).contains(&rest.len()) && rest.iter().all(u8::is_ascii_hexdigit) {
                    self.at = self.source.len();
                    return Ok(());
                }
                let message = "The escape sequence \\u must be followed by 4 hex digits".into();
                return Err(CompileError::new("S0104", self.at, None, message));
            };
            self.at += 5;
            match (high.take(), unit) {
                (Some(first), 0xDC00..0xE000) => {
                    let code = 0x10000 + ((first - 0xD800) << 10) + (unit - 0xDC00);
                    text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                (earlier, _) => {
                    if earlier.is_some() {
                        text.push(char::REPLACEMENT_CHARACTER);
                    }
                    match unit {
                        0xD800..0xDC00 => *high = Some(unit),
                        _ => text.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)),
                    }
                }
            }
            return Ok(());
        }
        if high.take().is_some() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        text.push(match c {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            other => {
                let token = other.map(String::from).unwrap_or_default();
                let message = format!("Unsupported escape sequence: \\{}", quote(&token));
                return Err(CompileError::new("S0103", self.at, Some(&token), message));
            }
        });
        self.at += 1;
        Ok(())
    }

    fn number(&mut self) -> Result<Token, CompileError> {
        let bytes = self.source.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let start = self.at;
        let mut end = if bytes[start] == b'0' { start + 1 } else { digits(start) };
        if bytes.get(end) == Some(&b'.') && digits(end + 1) > end + 1 {
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if digits(end + 1 + sign) > end + 1 + sign {
                end = digits(end + 1 + sign);
            }
        }
        let text = &self.source[start..end];
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => {
                self.at = end;
                Ok(self.token(TokenKind::Literal(Literal::Number(number))))
            }
            _ => {
                let message = format!("Number out of range: {}", quote(text));
                Err(CompileError::new("S0102", start, Some(text), message))
            }
        }
    }

    fn quoted_name(&mut self) -> Result<Token, CompileError> {
        self.at += 1;
        let rest = &self.source[self.at..];
        let Some(length) = rest.find('`') else {
            let message = "Quoted property name must be terminated with a backquote (`)".into();
            return Err(CompileError::new("S0105", self.source.len(), None, message));
        };
        self.at += length + 1;
        Ok(self.token(TokenKind::Name(rest[..length].to_owned())))
    }

    fn word(&mut self) -> Token {
        let rest = &self.source[self.at..];
        let length = rest.bytes().position(|b| is_space(b) || is_operator_byte(b)).unwrap_or(rest.len());
        let word = &rest[..length];
        self.at += length;
        self.token(match word {
            "or" => TokenKind::Operator("or"),
            "in" => TokenKind::Operator("in"),
            "and" => TokenKind::Operator("and"),
            "true" => TokenKind::Literal(Literal::Bool(true)),
            "false" => TokenKind::Literal(Literal::Bool(false)),
            "null" => TokenKind::Literal(Literal::Null),
            _ => match word.strip_prefix('$') {
                Some(name) => TokenKind::Variable(name.to_owned()),
                None => TokenKind::Name(word.to_owned()),
            },
        })
    }

    /// A regular expression, behind its opening slash.
    fn regex(&mut self) -> Result<Token, CompileError> {
        let bytes = self.source.as_bytes();
        // Backslashes right before the byte.
        let (start, mut depth, mut backslashes) = (self.at, 0i64, 0usize);
        while self.at < bytes.len() {
            let byte = bytes[self.at];
            if byte == b'/' && depth == 0 && backslashes % 2 == 0 {
                return self.regex_end(start);
            }
            // As in the reference, one backslash before a bracket hides it, even if that backslash is escaped.
            let hidden = backslashes > 0;
            match byte {
                b'(' | b'[' | b'{' if !hidden => depth += 1,
                b')' | b']' | b'}' if !hidden => depth -= 1,
                _ => {}
            }
            backslashes = if byte == b'\\' { backslashes + 1 } else { 0 };
            self.at += 1;
        }
        Err(CompileError::new("S0302", self.at, None, "No terminating / in regular expression".into()))
    }

    fn regex_end(&mut self, start: usize) -> Result<Token, CompileError> {
        let pattern = self.source[start..self.at].to_owned();
        if pattern.is_empty() {
            let message = "Empty regular expressions are not allowed".into();
            return Err(CompileError::new("S0301", self.at, None, message));
        }
        self.at += 1;
        let flags_at = self.at;
        while matches!(self.peek(0), b'i' | b'm') {
            self.at += 1;
        }
        let flags = self.source[flags_at..self.at].to_owned();
        Ok(self.token(TokenKind::Regex { pattern, flags }))
    }
}

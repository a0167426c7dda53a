//! Explains why a text is not JSON, with the messages of Jackson, the parser AWS uses.
//!
//! AWS passes Jackson's messages on to its callers: an execution input that is not JSON is refused with the message, a
//! definition with the message and the place. So this scans the text like Jackson's character parser and stops where it
//! would.

use crate::limits;

/// Why a text is not JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Jackson's message, without the place.
    pub message: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in UTF-16 code units. As in Jackson it is the one *after* the character or word complained of.
    pub column: u32,
}

impl Explanation {
    /// The place in Jackson's form: `[Source: (String)"not a JSON"; line: 1, column: 4]`.
    pub fn place(&self, text: &str) -> String {
        place(text, self.line, self.column)
    }
}

/// Characters of the text that Jackson shows in a place.
const SHOWN_CHARS_MAX: usize = 500;
/// Characters of an unknown word that Jackson shows.
const WORD_CHARS_MAX: usize = 256;

const VALUES: &str = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')";

fn place(text: &str, line: u32, column: u32) -> String {
    let units = text.encode_utf16().count();
    let first: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let left = units.saturating_sub(first.encode_utf16().count());
    let mut shown = String::with_capacity(first.len());
    for char in first.chars() {
        match char {
            '\n' | '\r' => shown.push(char),
            '\0'..' ' => shown.push_str(&format!("\\u{:04x}", char as u32)),
            _ => shown.push(char),
        }
    }
    let cut = if left > 0 { format!("[truncated {left} chars]") } else { String::new() };
    format!("[Source: (String)\"{shown}\"{cut}; line: {line}, column: {column}]")
}

/// The reason why `text` is not one JSON value; `None` when it is one.
///
/// ```
/// use expressway::json::explain::explain;
/// let why = explain(b"not a JSON").unwrap();
/// assert_eq!(
///     why.message,
///     "Unrecognized token 'not': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
/// );
/// assert_eq!((why.line, why.column), (1, 4));
/// assert_eq!(explain(b"{'a': 1}").unwrap().message,
///     "Unexpected character (''' (code 39)): was expecting double-quote to start field name");
/// ```
pub fn explain(text: &[u8]) -> Option<Explanation> {
    let (valid, broken) = match std::str::from_utf8(text) {
        Ok(valid) => (valid, None),
        Err(error) => {
            let (valid, rest) = text.split_at(error.valid_up_to());
            (std::str::from_utf8(valid).unwrap_or_default(), rest.first().copied())
        }
    };
    let mut scan = Scan { text: valid, at: 0, open: Vec::new(), shows_source: true, at_break: false };
    let message = match (scan.run(), broken) {
        (Ok(()), None) => return None,
        // If the valid part ends too early, the byte after it is the reason.
        (Err(message), None) => message,
        (Err(message), Some(_)) if scan.at < valid.len() => message,
        (_, Some(byte)) => format!("Invalid UTF-8 start byte 0x{byte:x}"),
    };
    let (line, column) = scan.end();
    Some(Explanation { message, line, column })
}

/// The reason why `text` is not JSON, with the place, in the form of a Jackson that does not show the source: a text
/// within an execution's data.
pub fn without_source(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut scan = Scan { text: &text, at: 0, open: Vec::new(), shows_source: false, at_break: false };
    let message = scan.run().err().unwrap_or_else(|| "the value is out of range".to_owned());
    let (line, column) = scan.end();
    // Recorded: this Jackson, which is a newer one, gives the place of an unexpected character itself.
    let column = column - u32::from(message.starts_with("Unexpected character"));
    format!("{message}\n at {}", scan.place(line, column))
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
    /// The open brackets, and their places.
    open: Vec<(u8, usize)>,
    /// Whether places show the text.
    shows_source: bool,
    /// Whether what is complained of is the line break before `at`: its place is the end of that line.
    at_break: bool,
}

type Step<T = ()> = Result<T, String>;

impl Scan<'_> {
    fn run(&mut self) -> Step {
        let mut first = true;
        self.skip_space();
        if self.peek().is_none() {
            return Err("No content to map due to end-of-input".into());
        }
        loop {
            // Before a value, a name, or a closing bracket.
            self.skip_space();
            let Some(char) = self.peek() else { return self.end_of_input() };
            if self.open.is_empty() && matches!(char, '}' | ']') {
                return self.close(char);
            }
            if let Some(&(bracket, _)) = self.open.last() {
                if matches!(char, '}' | ']') && (first || self.closes_after_value()) {
                    self.close(char)?;
                    first = false;
                    if self.after_value()? {
                        return Ok(());
                    }
                    continue;
                }
                if bracket == b'{' {
                    self.name(char)?;
                }
            }
            first = self.value()?;
            if !first && self.after_value()? {
                return Ok(());
            }
        }
    }

    /// Whether the last thing read was a value, so that a closing bracket may follow.
    fn closes_after_value(&self) -> bool {
        let before = self.text[..self.at].trim_end_matches([' ', '\t', '\n', '\r']);
        !before.ends_with(',')
    }

    /// After a value: true at the end of the text, else consumes the comma, or nothing before a closing bracket.
    fn after_value(&mut self) -> Step<bool> {
        self.skip_space();
        let Some(&(bracket, _)) = self.open.last() else {
            return match self.peek() {
                None => Ok(true),
                Some(char) => Err(self.trailing(char)),
            };
        };
        match self.peek() {
            Some(',') => {
                self.at += 1;
                self.skip_space();
                let kind = container(bracket);
                match self.peek() {
                    None => Err(format!("Unexpected end-of-input within/between {kind} entries")),
                    Some(_) => Ok(false),
                }
            }
            Some('}' | ']') | None => Ok(false),
            Some(char) => {
                let kind = container(bracket);
                Err(self.misplaced(char, &format!("was expecting comma to separate {kind} entries")))
            }
        }
    }

    fn trailing(&mut self, char: char) -> String {
        let mut token = match char {
            '{' => "START_OBJECT",
            '[' => "START_ARRAY",
            '"' => "VALUE_STRING",
            't' => "VALUE_TRUE",
            'f' => "VALUE_FALSE",
            'n' => "VALUE_NULL",
            '-' | '0'..='9' => "VALUE_NUMBER_INT",
            '}' | ']' => return self.close(char).err().unwrap_or_default(),
            _ => return self.value().err().unwrap_or_default(),
        };
        // Words and numbers are read before they are refused, texts and containers are not. The place is the token's.
        if !matches!(char, '{' | '[' | '"') {
            let start = self.at;
            if let Err(message) = self.value() {
                return message;
            }
            if token == "VALUE_NUMBER_INT" && self.text[start..self.at].contains(['.', 'e', 'E']) {
                token = "VALUE_NUMBER_FLOAT";
            }
            self.at = start;
        }
        format!(
            "Trailing token (of type {token}) found after value (bound as `com.fasterxml.jackson.databind.JsonNode`): \
             not allowed as per `DeserializationFeature.FAIL_ON_TRAILING_TOKENS`"
        )
    }

    /// Reads a value, or the opening bracket of one; then true.
    fn value(&mut self) -> Step<bool> {
        let Some(char) = self.peek() else {
            let kind = self.open.last().map_or("root", |&(bracket, _)| container(bracket));
            return Err(format!("Unexpected end-of-input within/between {kind} entries"));
        };
        match char {
            '{' | '[' => {
                self.open.push((char as u8, self.at));
                self.at += 1;
                let max = usize::from(limits::JSON_DEPTH_MAX);
                if self.open.len() > max {
                    return Err(format!(
                        "Document nesting depth ({}) exceeds the maximum allowed ({max}, from \
                         `StreamReadConstraints.getMaxNestingDepth()`)",
                        self.open.len()
                    ));
                }
                return Ok(true);
            }
            '"' => self.string(": was expecting closing quote for a string value", "string value")?,
            't' => self.word("true")?,
            'f' => self.word("false")?,
            'n' => self.word("null")?,
            '-' | '0'..='9' => self.number()?,
            '}' if !self.is_in_object() => return Err(self.unexpected(char, "expected a value")),
            'N' | 'I' => {
                let word = if char == 'N' { "NaN" } else { "Infinity" };
                self.word(word)?;
                return Err(format!(
                    "Non-standard token '{word}': enable `JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS` to allow"
                ));
            }
            char if starts_identifier(char) => return Err(self.unknown_word(self.at)),
            _ => return Err(self.misplaced(char, &format!("expected a valid value {VALUES}"))),
        }
        Ok(false)
    }

    /// Reads a member's name and its colon.
    fn name(&mut self, char: char) -> Step {
        if char != '"' {
            return Err(self.misplaced(char, "was expecting double-quote to start field name"));
        }
        self.string(" in field name", "name")?;
        self.skip_space();
        match self.peek() {
            Some(':') => self.at += 1,
            None => return Err("Unexpected end-of-input within/between Object entries".into()),
            Some(char) => {
                return Err(self.misplaced(char, "was expecting a colon to separate field name and value"));
            }
        }
        self.skip_space();
        Ok(())
    }

    fn close(&mut self, char: char) -> Step {
        self.at += 1;
        let matching = if char == '}' { b'{' } else { b'[' };
        match self.open.last() {
            Some(&(bracket, _)) if bracket == matching => {
                self.open.pop();
                Ok(())
            }
            open => {
                let expected = if char == '}' { ']' } else { '}' };
                let (kind, start) = match open {
                    Some(&(bracket, at)) => (container(bracket), self.start_place(at)),
                    None => ("root", self.place(1, 0)),
                };
                Err(format!(
                    "Unexpected close marker '{char}': expected '{expected}' (for {kind} starting at {start})"
                ))
            }
        }
    }

    fn end_of_input(&mut self) -> Step {
        match self.open.last() {
            None => Err("Unexpected end-of-input".into()),
            Some(&(bracket, at)) => Err(format!(
                "Unexpected end-of-input: expected close marker for {} (start marker at {})",
                container(bracket),
                self.start_place(at)
            )),
        }
    }

    fn start_place(&self, at: usize) -> String {
        let (line, column) = self.line_column(at);
        self.place(line, column)
    }

    fn place(&self, line: u32, column: u32) -> String {
        if self.shows_source {
            place(self.text, line, column)
        } else {
            format!(
                "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {line}, \
                 column: {column}]"
            )
        }
    }

    fn word(&mut self, word: &str) -> Step {
        let start = self.at;
        let rest = &self.text[start..];
        if rest.starts_with(word) && !rest[word.len()..].starts_with(continues_identifier) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.unknown_word(start))
    }

    fn unknown_word(&mut self, start: usize) -> String {
        let rest = &self.text[start..];
        let mut word: String = rest.chars().take_while(|&char| continues_identifier(char)).collect();
        self.at = start + word.len();
        if word.chars().count() > WORD_CHARS_MAX {
            word = word.chars().take(WORD_CHARS_MAX).chain("...".chars()).collect();
        }
        format!("Unrecognized token '{word}': was expecting {VALUES}")
    }

    fn number(&mut self) -> Step {
        if self.peek() == Some('-') {
            self.at += 1;
            match self.peek() {
                None => return Err("Unexpected end-of-input in a Number value".into()),
                Some('0'..='9') => {}
                Some(char) => {
                    let why = "expected digit (0-9) to follow minus sign, for valid numeric value";
                    return Err(self.unexpected_in_number(char, why));
                }
            }
        }
        if self.peek() == Some('0') {
            self.at += 1;
            if let Some('0'..='9') = self.peek() {
                return Err("Invalid numeric value: Leading zeroes not allowed".into());
            }
        }
        self.digits();
        if self.peek() == Some('.') {
            self.at += 1;
            if self.digits() == 0 {
                let char = self.peek().unwrap_or('.');
                return Err(self.unexpected_in_number(char, "Decimal point not followed by a digit"));
            }
        }
        if let Some('e' | 'E') = self.peek() {
            self.at += 1;
            if let Some('+' | '-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return match self.peek() {
                    None => Err("Unexpected end-of-input in a Number value".into()),
                    Some(char) => {
                        Err(self.unexpected_in_number(char, "Exponent indicator not followed by a digit"))
                    }
                };
            }
        }
        match self.peek() {
            Some(char) if self.open.is_empty() && !char.is_ascii_whitespace() => {
                Err(self.unexpected(char, "Expected space separating root-level values"))
            }
            _ => Ok(()),
        }
    }

    fn digits(&mut self) -> usize {
        let count = self.text[self.at..].bytes().take_while(u8::is_ascii_digit).count();
        self.at += count;
        count
    }

    fn string(&mut self, at_end: &str, inside: &str) -> Step {
        self.at += 1;
        loop {
            let Some(char) = self.peek() else {
                return Err(format!("Unexpected end-of-input{at_end}"));
            };
            self.step_over(char);
            match char {
                '"' => return Ok(()),
                '\\' => self.escape()?,
                '\0'..' ' => {
                    return Err(format!(
                        "Illegal unquoted character ({}): has to be escaped using backslash to be included in {inside}",
                        describe(char)
                    ));
                }
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Step {
        let Some(char) = self.peek() else {
            return Err("Unexpected end-of-input in character escape sequence".into());
        };
        self.step_over(char);
        match char {
            '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => Ok(()),
            'u' => {
                for _ in 0..4 {
                    match self.peek() {
                        None => return Err("Unexpected end-of-input in character escape sequence".into()),
                        Some(char) if char.is_ascii_hexdigit() => self.at += 1,
                        Some(char) => {
                            let why = "expected a hex-digit for character escape sequence";
                            return Err(self.unexpected(char, why));
                        }
                    }
                }
                Ok(())
            }
            _ => Err(format!("Unrecognized character escape {}", describe(char))),
        }
    }

    /// A character where a token should begin.
    fn misplaced(&mut self, char: char, why: &str) -> String {
        let comment = "maybe a (non-standard) comment? (not recognized as one since Feature 'ALLOW_COMMENTS' not enabled \
                       for parser)";
        self.unexpected(char, if char == '/' { comment } else { why })
    }

    fn unexpected(&mut self, char: char, why: &str) -> String {
        self.step_over(char);
        format!("Unexpected character ({}): {why}", describe(char))
    }

    fn unexpected_in_number(&mut self, char: char, why: &str) -> String {
        self.at = (self.at + char.len_utf8()).min(self.text.len());
        format!("Unexpected character ({}) in numeric value: {why}", describe(char))
    }

    fn step_over(&mut self, char: char) {
        self.at += char.len_utf8();
        self.at_break = matches!(char, '\n' | '\r');
    }

    fn is_in_object(&self) -> bool {
        matches!(self.open.last(), Some(&(b'{', _)))
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn skip_space(&mut self) {
        while let Some(' ' | '\t' | '\n' | '\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Line and column of the place where the scan ended.
    fn end(&self) -> (u32, u32) {
        if !self.at_break {
            return self.line_column(self.at);
        }
        let (line, column) = self.line_column(self.at - 1);
        (line, column + 1)
    }

    /// Line and column of a byte, both from 1; the column in UTF-16 code units.
    fn line_column(&self, at: usize) -> (u32, u32) {
        let before = self.text.get(..at).unwrap_or(self.text);
        // A carriage return ends a line too, unless a line feed follows.
        let lines = before.replace("\r\n", "\n");
        let breaks = lines.bytes().filter(|&byte| byte == b'\n' || byte == b'\r').count();
        let last = before.rsplit(['\n', '\r']).next().unwrap_or_default();
        (breaks as u32 + 1, last.encode_utf16().count() as u32 + 1)
    }
}

fn container(bracket: u8) -> &'static str {
    if bracket == b'{' { "Object" } else { "Array" }
}

/// Java's `Character.isJavaIdentifierStart`, nearly.
fn starts_identifier(char: char) -> bool {
    char.is_alphabetic() || matches!(char, '_' | '$')
}

/// Java's `Character.isJavaIdentifierPart`, nearly.
fn continues_identifier(char: char) -> bool {
    starts_identifier(char) || char.is_numeric()
}

fn describe(char: char) -> String {
    let code = char as u32;
    match code {
        0..0x20 | 0x7f..0xa0 => format!("(CTRL-CHAR, code {code})"),
        0x100.. => {
            // Jackson uses UTF-16, so of a character beyond U+FFFF it shows the first half.
            let unit = u32::from(char.encode_utf16(&mut [0; 2])[0]);
            format!("'{char}' (code {unit} / 0x{unit:x})")
        }
        _ => format!("'{char}' (code {code})"),
    }
}

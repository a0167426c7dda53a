//! Translates JavaScript's regular expressions to the syntax of the `regex` crate, which matches in linear time.
//! Features that need backtracking (look-around, back-references) are refused by name.

use std::collections::HashMap;
use std::sync::Arc;

use super::Profile;
use crate::limits;
use crate::query::pattern::{Pattern, PatternError};

/// Pattern, flags, and the class `\s`, or that it is one of a path.
type Written = (Box<str>, Box<str>, &'static str);

/// The regular expressions of one state machine: each is compiled once, and together they are bounded.
#[derive(Debug, Default)]
pub struct Regexes {
    known: HashMap<Written, Arc<Pattern>>,
    bytes: usize,
}

impl Regexes {
    /// Roughly the bytes of their automata.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A regular expression; the error says what is wrong with it.
    pub(in crate::query::jsonata) fn get(
        &mut self,
        pattern: &str,
        flags: &str,
        profile: Profile,
    ) -> Result<Arc<Pattern>, String> {
        let space = if profile == Profile::Language { SPACE } else { JAVA_SPACE };
        let multi_line = flags.contains('m');
        let (bytes_max, depth_max) = (limits::JSONATA_REGEX_BYTES_MAX, limits::JSONATA_REGEX_DEPTH_MAX);
        self.shared(pattern, flags, space, bytes_max, |bytes_max| {
            let chars = pattern.chars().collect();
            let translated = Translation { chars, at: 0, out: String::new(), multi_line, space }.run();
            let translated = translated.map_err(|why| (PatternError::Syntax, why))?;
            Pattern::new(&translated, flags.contains('i'), bytes_max, depth_max).map_err(|error| {
                let why = match error {
                    PatternError::TooLarge => "Regular expression is too large".to_owned(),
                    PatternError::Syntax => format!("Invalid regular expression: /{pattern}/"),
                };
                (error, why)
            })
        })
    }

    /// One that is known, or compiled within the remaining room; `dialect` tells apart what the same text means.
    pub(in crate::query) fn shared(
        &mut self,
        pattern: &str,
        flags: &str,
        dialect: &'static str,
        bytes_max: usize,
        compile: impl FnOnce(usize) -> Result<Pattern, (PatternError, String)>,
    ) -> Result<Arc<Pattern>, String> {
        let key = (pattern.into(), flags.into(), dialect);
        if let Some(known) = self.known.get(&key) {
            return Ok(Arc::clone(known));
        }
        // Compiling stops when it exceeds the remaining room.
        let left = limits::PROGRAM_REGEX_BYTES_MAX.saturating_sub(self.bytes) / Pattern::AUTOMATA;
        let compiled = compile(bytes_max.min(left)).map_err(|(error, why)| match error {
            PatternError::TooLarge if left < bytes_max => {
                let most = limits::PROGRAM_REGEX_BYTES_MAX >> 20;
                format!("The regular expressions of the state machine take more than {most} MiB together")
            }
            _ => why,
        })?;
        self.bytes += compiled.bytes();
        let compiled = Arc::new(compiled);
        self.known.insert(key, Arc::clone(&compiled));
        Ok(compiled)
    }
}

struct Translation {
    chars: Vec<char>,
    at: usize,
    out: String,
    multi_line: bool,
    /// White space, as the content of a class.
    space: &'static str,
}

/// JavaScript's white space, as the content of a class.
const SPACE: &str =
    r"\t\n\x0b\x0c\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}";
/// That of AWS, which is Java's.
const JAVA_SPACE: &str = r"\t\n\x0b\x0c\r ";

impl Translation {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn run(mut self) -> Result<String, String> {
        while let Some(c) = self.peek(0) {
            self.at += 1;
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '.' => self.out.push_str(r"[^\n\r\u{2028}\u{2029}]"),
                '^' => self.out.push_str(if self.multi_line { "(?m:^)" } else { r"\A" }),
                '$' => self.out.push_str(if self.multi_line { "(?m:$)" } else { r"\z" }),
                '{' => self.brace(),
                '}' | ']' => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                // White space and `#` are literal: the `x` flag is never set.
                _ => self.out.push(c),
            }
        }
        Ok(self.out)
    }

    /// A `{` is a repetition only if it has the syntax of one.
    fn brace(&mut self) {
        let rest = &self.chars[self.at..];
        let counts = rest.iter().take_while(|c| c.is_ascii_digit() || **c == ',').count();
        let length = (rest.get(counts) == Some(&'}')).then_some(counts);
        let repetition = length.map(|length| rest[..length].iter().collect::<String>()).filter(|text| {
            let (low, high) = text.split_once(',').unwrap_or((text, ""));
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            !low.is_empty() && digits(low) && digits(high)
        });
        match repetition {
            Some(text) => {
                self.at += text.chars().count() + 1;
                self.out.push('{');
                self.out.push_str(&text);
                self.out.push('}');
            }
            None => self.out.push_str(r"\{"),
        }
    }

    fn group(&mut self) -> Result<(), String> {
        let refused = |what: &str| Err(format!("Regular expressions with {what} are not supported"));
        match (self.peek(0), self.peek(1), self.peek(2)) {
            (Some('?'), Some('=' | '!'), _) => refused("lookahead"),
            (Some('?'), Some('<'), Some('=' | '!')) => refused("lookbehind"),
            (Some('?'), Some(':' | '<'), _) => {
                self.out.push('(');
                Ok(())
            }
            (Some('?'), _, _) => Err("Invalid regular expression: Invalid group".to_owned()),
            _ => {
                self.out.push('(');
                Ok(())
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        let Some(c) = self.peek(0) else {
            return Err("Invalid regular expression: \\ at end of pattern".into());
        };
        self.at += 1;
        match c {
            'd' => self.out.push_str("[0-9]"),
            'D' => self.out.push_str("[^0-9]"),
            'w' => self.out.push_str("[A-Za-z0-9_]"),
            'W' => self.out.push_str("[^A-Za-z0-9_]"),
            's' => self.out.extend(["[", self.space, "]"]),
            'S' => self.out.extend(["[^", self.space, "]"]),
            'b' => self.out.push_str(r"(?-u:\b)"),
            'B' => self.out.push_str(r"\B"),
            '1'..='9' | 'k' => {
                return Err("Regular expressions with back-references are not supported".to_owned());
            }
            _ => {
                let c = self.escaped_char(c);
                self.literal(c);
            }
        }
        Ok(())
    }

    /// The character of an escape, behind the letter `c`.
    fn escaped_char(&mut self, c: char) -> char {
        let code = match c {
            'n' => return '\n',
            'r' => return '\r',
            't' => return '\t',
            'f' => return '\u{c}',
            'v' => return '\u{b}',
            '0' => return '\0',
            'c' => match self.peek(0) {
                Some(letter) if letter.is_ascii_alphabetic() => {
                    self.at += 1;
                    return char::from(letter as u8 & 0x1f);
                }
                _ => return 'c',
            },
            'x' => self.hex(2),
            'u' => self.hex(4),
            _ => return c,
        };
        match code {
            // Two escapes may be the halves of one character.
            Some(high @ 0xD800..0xDC00) if self.peek(0) == Some('\\') && self.peek(1) == Some('u') => {
                let before = self.at;
                self.at += 2;
                match self.hex(4) {
                    Some(low @ 0xDC00..0xE000) => {
                        char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
                            .unwrap_or('\u{fffd}')
                    }
                    _ => {
                        self.at = before;
                        '\u{fffd}'
                    }
                }
            }
            Some(code) => char::from_u32(code).unwrap_or('\u{fffd}'),
            None => c,
        }
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let text: String = self.chars.get(self.at..self.at + digits)?.iter().collect();
        let code =
            text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(&text, 16).ok())?;
        self.at += digits;
        code
    }

    fn literal(&mut self, c: char) {
        if c.is_ascii_punctuation() {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    /// A class, behind its `[`.
    fn class(&mut self) -> Result<(), String> {
        let negated = self.peek(0) == Some('^');
        self.at += usize::from(negated);
        if self.peek(0) == Some(']') {
            self.at += 1;
            // `[]` matches nothing and `[^]` anything.
            self.out.push_str(if negated { r"(?s:.)" } else { r"[^\s\S]" });
            return Ok(());
        }
        self.out.push_str(if negated { "[^" } else { "[" });
        loop {
            let Some(c) = self.peek(0) else {
                return Err("Invalid regular expression: Unterminated character class".to_owned());
            };
            self.at += 1;
            match c {
                ']' => break,
                '\\' => self.class_escape()?,
                '-' => {
                    // A range only between two characters.
                    let open = self.out.ends_with('[') || self.out.ends_with("[^");
                    if open || self.peek(0) == Some(']') || self.peek(0).is_none() {
                        self.out.push_str(r"\-")
                    } else {
                        self.out.push('-')
                    }
                }
                _ => self.literal(c),
            }
        }
        self.out.push(']');
        Ok(())
    }

    fn class_escape(&mut self) -> Result<(), String> {
        let Some(c) = self.peek(0) else {
            return Err("Invalid regular expression: Unterminated character class".to_owned());
        };
        self.at += 1;
        match c {
            'd' => self.out.push_str("0-9"),
            'D' => self.out.push_str("[^0-9]"),
            'w' => self.out.push_str("A-Za-z0-9_"),
            'W' => self.out.push_str("[^A-Za-z0-9_]"),
            's' => self.out.push_str(self.space),
            'S' => self.out.extend(["[^", self.space, "]"]),
            'b' => self.out.push_str(r"\x08"),
            _ => {
                let c = self.escaped_char(c);
                self.literal(c);
            }
        }
        // A `-` behind a class such as \d is a character.
        if matches!(c, 'd' | 'D' | 'w' | 'W' | 's' | 'S') && self.peek(0) == Some('-') {
            self.at += 1;
            self.out.push_str(r"\-");
        }
        Ok(())
    }
}

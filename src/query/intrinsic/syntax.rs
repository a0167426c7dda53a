//! Parsing of calls.

use super::call::Call;
use super::program::{Function, Node, NodeId, template};
use crate::json::Value;
use crate::limits;
use crate::query::Names;
use crate::query::path::{Path, SyntaxError};

pub(super) fn parse(text: &str, names: &mut dyn Names) -> Result<Call, SyntaxError> {
    let mut reader = Reader { text, at: 0, names, nodes: Vec::new() };
    reader.skip_space();
    let root = reader.call(1)?;
    reader.skip_space();
    if reader.at < text.len() {
        return reader.error("unexpected text behind the call");
    }
    reader.nodes.push(root);
    Ok(Call { text: text.into(), nodes: reader.nodes.into() })
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    names: &'t mut dyn Names,
    nodes: Vec<Node>,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError::new(message, self.at))
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn skip(&mut self, expected: &str) -> bool {
        let found = self.rest().starts_with(expected);
        self.at += if found { expected.len() } else { 0 };
        found
    }

    /// A call; recursion is bounded by the limit on nesting.
    fn call(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        if depth > limits::INTRINSIC_DEPTH_MAX {
            let most = limits::INTRINSIC_DEPTH_MAX;
            return self.error(format!("more than {most} intrinsic functions are nested"));
        }
        if !self.skip("States.") {
            return self.error("expected an intrinsic function such as `States.Format(…)`");
        }
        let rest = self.rest();
        let name = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len())];
        let Some(function) = Function::named(name) else {
            return self.error(format!("there is no intrinsic function `States.{name}`"));
        };
        self.at += name.len();
        self.skip_space();
        if !self.skip("(") {
            return self.error("expected `(`");
        }
        self.skip_space();
        let mut arguments = Vec::new();
        while !(arguments.is_empty() && self.skip(")")) {
            arguments.push(self.argument(depth, function == Function::Format && arguments.is_empty())?);
            self.skip_space();
            if self.skip(")") {
                break;
            }
            if !self.skip(",") {
                return self.error("expected `,` or `)`");
            }
            self.skip_space();
        }
        let from = NodeId(self.nodes.len() as u32);
        self.nodes.extend(arguments);
        let to = NodeId(self.nodes.len() as u32);
        Ok(Node::Call { function, from, to })
    }

    fn argument(&mut self, depth: usize, is_template: bool) -> Result<Node, SyntaxError> {
        match self.rest().bytes().next() {
            Some(b'\'') => self.string(is_template),
            Some(b'$') => self.path(),
            Some(b'S') => self.call(depth + 1),
            _ => self.constant(),
        }
    }

    fn string(&mut self, is_template: bool) -> Result<Node, SyntaxError> {
        self.at += 1;
        let start = self.at;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let Some(end) = rest.find(['\'', '\\']) else {
                self.at = start - 1;
                return self.error("the string is not closed");
            };
            text.push_str(&rest[..end]);
            self.at += end;
            if self.skip("'") {
                break;
            }
            match rest[end + 1..].chars().next() {
                Some(escaped @ ('\'' | '{' | '}' | '\\')) => text.push(escaped),
                _ => return self.error(r"only `\'`, `\{`, `\}` and `\\` are escapes"),
            }
            self.at += 2;
        }
        if !is_template {
            return Ok(Node::Text(text.into()));
        }
        let pieces = template(&self.text[start..self.at - 1], true);
        Ok(Node::Template(pieces.map(|pieces| pieces.into_iter().map(Into::into).collect())))
    }

    /// A path ends before a comma, a parenthesis or a space outside of brackets.
    fn path(&mut self) -> Result<Node, SyntaxError> {
        let rest = self.rest();
        let (mut square, mut quoted) = (0usize, false);
        let end = rest.bytes().position(|byte| {
            match byte {
                b'\'' if square > 0 => quoted = !quoted,
                b'[' if !quoted => square += 1,
                b']' if !quoted => square = square.saturating_sub(1),
                b',' | b')' | b' ' | b'\t' | b'\n' | b'\r' => return square == 0,
                _ => {}
            }
            false
        });
        let path = &rest[..end.unwrap_or(rest.len())];
        match Path::parse(path, self.names) {
            Ok(path) => {
                self.at += end.unwrap_or(rest.len());
                Ok(Node::Path(Box::new(path)))
            }
            Err(error) => Err(SyntaxError::new(error.message, self.at + error.offset)),
        }
    }

    fn constant(&mut self) -> Result<Node, SyntaxError> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.')));
        let word = &rest[..end.unwrap_or(rest.len())];
        let value = match word {
            "null" => Value::NULL,
            "true" => Value::TRUE,
            "false" => Value::FALSE,
            number => match number_value(number) {
                Some(value) => value,
                None => return self.error("expected a path, a string in single quotes, a number or a call"),
            },
        };
        self.at += word.len();
        Ok(Node::Constant(value))
    }
}

/// A number in JSON's syntax.
fn number_value(text: &str) -> Option<Value> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, rest) = digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()));
    let fraction = rest.strip_prefix('.');
    if whole.is_empty() || fraction.is_some_and(|digits| !digits.starts_with(|c: char| c.is_ascii_digit())) {
        return None;
    }
    if rest.is_empty()
        && let Ok(int) = text.parse()
    {
        return Some(Value::int(int));
    }
    // One beyond a double is infinite; AWS accepts it, too.
    text.parse().ok().map(Value::float)
}

//! Operators.

use super::*;
use crate::query::jsonata::number::{to_precision_15, write_java_15, write_js};
use crate::query::jsonata::syntax::BinaryOp;
use std::cmp::Ordering;

/// Work of writing a number as text.
const NUMBER_TEXT: u64 = 100;

impl Eval<'_> {
    /// An error raised by a node.
    #[cold]
    pub(super) fn raise(&self, node: NodeId, code: &'static str, token: &str, message: String) -> Failure {
        let mut error = EvalError::new(code, message);
        error.position = Some(self.program.ends[node.index()] as usize);
        error.token = Some(token.to_owned());
        Failure::new(error)
    }

    /// A value quoted for messages.
    #[cold]
    pub(in crate::query::jsonata) fn quoted(&self, value: Value) -> String {
        const QUOTED_BYTES_MAX: u32 = 1 << 16;
        if self.arena.size(value) > QUOTED_BYTES_MAX {
            return "(a large value)".to_owned();
        }
        let mut out = String::new();
        // As `JSON.stringify` has them: numbers with all their digits, which `$string` rounds.
        if value.is_undefined() {
            return "undefined".to_owned();
        }
        if let Some(float) = self.arena.as_f64(value).filter(|float| float.is_finite()) {
            write_js(float, &mut out);
            return out;
        }
        match self.write_json(value, &mut out, None, 0) {
            Ok(()) => out,
            Err(_) => "(a value)".to_owned(),
        }
    }

    /// The number, `None` if the value is not a number. Infinity is an error wherever a number is used.
    #[inline]
    pub(in crate::query::jsonata) fn numeric(&self, value: Value) -> Outcome<Option<f64>> {
        match self.arena.as_f64(value) {
            Some(float) if float.is_finite() => Ok(Some(float)),
            Some(float) if float.is_infinite() => Err(Failure::new(EvalError::new(
                "D1001",
                format!("Number out of range: {}", self.quoted(value)),
            ))),
            _ => Ok(None),
        }
    }

    /// Whether a value counts as true.
    #[inline]
    pub(in crate::query::jsonata) fn truth(&mut self, value: Value) -> Outcome<bool> {
        Ok(match value.kind() {
            Kind::Bool => value.as_bool() == Some(true),
            Kind::Undefined | Kind::Null | Kind::Opaque | Kind::Header => false,
            Kind::String | Kind::Object => !value.is_empty(),
            Kind::Int | Kind::Decimal | Kind::Float => self.numeric(value)?.is_some_and(|float| float != 0.0),
            Kind::Array => {
                let mut any = false;
                for index in 0..value.len() {
                    self.work(1)?;
                    let item = self.item_of(value, index);
                    any |= self.nested(|eval| eval.truth(item))?;
                }
                any
            }
        })
    }

    pub(super) fn negate(&mut self, node: NodeId, operand: NodeId, input: Value, frame: Frame) -> Outcome {
        let value = self.eval(operand, input, frame)?;
        match (value.kind(), self.numeric(value)?) {
            (Kind::Undefined, _) => Ok(value),
            (_, Some(float)) => Ok(self.number(-float)),
            _ => {
                let message = format!("Cannot negate a non-numeric value: {}", self.quoted(value));
                Err(self.raise(node, "D1002", "-", message))
            }
        }
    }

    pub(super) fn binary(
        &mut self,
        node: NodeId,
        op: BinaryOp,
        (left, right): (NodeId, NodeId),
        input: Value,
        frame: Frame,
    ) -> Outcome {
        use BinaryOp::*;
        if op == Range {
            let from = self.arena.begin();
            return if self.range(node, (left, right), input, frame)? {
                self.end_array(from, mark::SEQUENCE)
            } else {
                Ok(Value::UNDEFINED)
            };
        }
        let a = self.eval(left, input, frame)?;
        if matches!(op, And | Or) {
            let first = self.truth(a).map_err(|error| self.at_operator(error, node, op))?;
            if first == (op == Or) {
                return Ok(Value::bool(first));
            }
            let b = self.eval(right, input, frame).map_err(|error| self.at_operator(error, node, op))?;
            return Ok(Value::bool(self.truth(b)?));
        }
        if let (Equal | NotEqual, Node::Text(text)) = (op, self.program.node(right)) {
            // A constant is compared in place.
            self.charge(8 + self.program.texts[text.index()].len() as u64 / 8)?;
            let same = self.arena.as_str(a).map(|a| *a == *self.program.texts[text.index()]);
            return Ok(Value::bool(!a.is_undefined() && (same == Some(true)) == (op == Equal)));
        }
        let b = self.eval(right, input, frame)?;
        match op {
            Add | Subtract | Multiply | Divide | Remainder => self.arithmetic(node, op, a, b),
            Equal | NotEqual if a.is_undefined() || b.is_undefined() => Ok(Value::FALSE),
            Equal => Ok(Value::bool(self.equal(a, b)?)),
            NotEqual => Ok(Value::bool(!self.equal(a, b)?)),
            Less | LessEqual | Greater | GreaterEqual => self.comparison(node, op, a, b),
            Concat => self.concat(a, b),
            _ => self.is_in(a, b),
        }
    }

    #[cold]
    fn at_operator(&self, mut error: Failure, node: NodeId, op: BinaryOp) -> Failure {
        if error.code.is_some() {
            error.position = Some(self.program.ends[node.index()] as usize);
            error.token = Some(op.text().to_owned());
        }
        error
    }

    fn arithmetic(&mut self, node: NodeId, op: BinaryOp, a: Value, b: Value) -> Outcome {
        let (x, y) = (self.arena.as_f64(a), self.arena.as_f64(b));
        if let (Some(x), Some(y)) = (x, y)
            && x.is_finite()
            && y.is_finite()
        {
            return Ok(self.number(match op {
                BinaryOp::Add => x + y,
                BinaryOp::Subtract => x - y,
                BinaryOp::Multiply => x * y,
                BinaryOp::Divide => x / y,
                _ => x % y,
            }));
        }
        self.not_numbers(node, op, a, b)
    }

    /// The result of arithmetic on values that are not numbers.
    #[cold]
    fn not_numbers(&self, node: NodeId, op: BinaryOp, a: Value, b: Value) -> Outcome {
        let numbers = self.numeric(a).and_then(|x| Ok((x, self.numeric(b)?)));
        let (x, y) = numbers.map_err(|error| self.at_operator(error, node, op))?;
        let (code, side) = match (x, y) {
            (None, _) if !a.is_undefined() => ("T2001", "left"),
            (_, None) if !b.is_undefined() => ("T2002", "right"),
            _ => return Ok(Value::UNDEFINED),
        };
        let message = format!("The {side} side of the \"{}\" operator must evaluate to a number", op.text());
        Err(self.raise(node, code, op.text(), message))
    }

    fn comparison(&mut self, node: NodeId, op: BinaryOp, a: Value, b: Value) -> Outcome {
        let order = match (a.kind(), b.kind()) {
            _ if a.is_number() && b.is_number() => {
                let numbers = self.arena.as_f64(a).zip(self.arena.as_f64(b));
                numbers.and_then(|(x, y)| {
                    if self.aws {
                        // Java's order of doubles: NaN behind all others.
                        x.partial_cmp(&y).or(Some(x.is_nan().cmp(&y.is_nan())))
                    } else {
                        x.partial_cmp(&y)
                    }
                })
            }
            (Kind::String, Kind::String) => Some(self.compare_text(a, b)?),
            _ => {
                let comparable =
                    |value: Value| value.is_undefined() || value.is_number() || value.is_string();
                if !comparable(a) || !comparable(b) {
                    let message = format!(
                        "The expressions either side of operator \"{}\" must evaluate to numeric or string values",
                        op.text()
                    );
                    return Err(self.raise(node, "T2010", op.text(), message));
                }
                if a.is_undefined() || b.is_undefined() {
                    return Ok(Value::UNDEFINED);
                }
                let message = format!(
                    "The values {} and {} either side of operator \"{}\" must be of the same data type",
                    self.quoted(a),
                    self.quoted(b),
                    op.text()
                );
                return Err(self.raise(node, "T2009", op.text(), message));
            }
        };
        Ok(Value::bool(match op {
            BinaryOp::Less => order == Some(Ordering::Less),
            BinaryOp::LessEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            BinaryOp::Greater => order == Some(Ordering::Greater),
            _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }))
    }

    fn concat(&mut self, a: Value, b: Value) -> Outcome {
        let mut text = std::mem::take(&mut self.scratch.text);
        text.clear();
        let written = self.write_text(a, &mut text).and_then(|()| self.write_text(b, &mut text));
        let value = written.and_then(|()| self.string(&text));
        self.scratch.text = text;
        value
    }

    fn is_in(&mut self, a: Value, b: Value) -> Outcome {
        if a.is_undefined() || b.is_undefined() {
            return Ok(Value::FALSE);
        }
        for index in 0..self.count_of(b) {
            self.work(1)?;
            let item = self.item_of(b, index);
            let same = if a.is_container() || item.is_container() {
                // Containers are equal only if they are the same one.
                a.kind() == item.kind() && a.block() == item.block()
            } else {
                self.equal(a, item)?
            };
            if same {
                return Ok(Value::TRUE);
            }
        }
        Ok(Value::FALSE)
    }

    /// Pushes the integers of a range; false when it is empty.
    pub(super) fn range(
        &mut self,
        node: NodeId,
        (left, right): (NodeId, NodeId),
        input: Value,
        frame: Frame,
    ) -> Outcome<bool> {
        let a = self.eval(left, input, frame)?;
        let b = self.eval(right, input, frame)?;
        let integer = |eval: &Self, value: Value| {
            eval.arena.as_f64(value).filter(|float| float.is_finite() && float.fract() == 0.0)
        };
        let (x, y) = (integer(self, a), integer(self, b));
        for (value, float, code, side) in [(a, x, "T2003", "left"), (b, y, "T2004", "right")] {
            if !value.is_undefined() && float.is_none() {
                let message =
                    format!("The {side} side of the range operator (..) must evaluate to an integer");
                return Err(self.raise(node, code, "..", message));
            }
        }
        let (Some(x), Some(y)) = (x, y) else { return Ok(false) };
        if x > y {
            return Ok(false);
        }
        let size = y - x + 1.0;
        if size > limits::JSONATA_RANGE_ITEMS_MAX as f64 {
            let message = format!(
                "The size of the sequence allocated by the range operator (..) must not exceed 1e6.  Attempted to \
                 allocate {}.",
                crate::query::jsonata::number::js_text(size)
            );
            return Err(self.raise(node, "D2014", "..", message));
        }
        let size = size as usize;
        self.check_items(size)?;
        self.make_room(size);
        for offset in 0..size {
            if offset % ITEMS_AT_ONCE == 0 {
                self.work(ITEMS_AT_ONCE.min(size - offset))?;
            }
            let value = crate::query::jsonata::number::number(x + offset as f64);
            self.arena.push(value);
        }
        self.check_bytes()?;
        Ok(true)
    }

    // ---- text ----

    /// Appends the result of `$string` for a value.
    pub(in crate::query::jsonata) fn write_text(&mut self, value: Value, out: &mut String) -> Outcome<()> {
        match value.kind() {
            Kind::Undefined | Kind::Opaque | Kind::Header => {}
            Kind::String => {
                out.reserve(value.len());
                for piece in pieces(self.arena.str(value)) {
                    self.charge(piece.len() as u64 / 2)?;
                    out.push_str(piece);
                }
            }
            Kind::Int | Kind::Decimal | Kind::Float => {
                let float = self.arena.as_f64(value).unwrap_or(f64::NAN);
                if !float.is_finite() {
                    let message = "Attempting to invoke string function on Infinity or NaN".to_owned();
                    return Err(Failure::new(EvalError::new("D3001", message)));
                }
                self.write_number(value, float, out)?;
            }
            _ => self.write_container(value, out, None)?,
        }
        self.check_text(out)
    }

    /// Appends a container as JSON, with `indent` spaces per level where given.
    pub(in crate::query::jsonata) fn write_container(
        &mut self,
        value: Value,
        out: &mut String,
        indent: Option<usize>,
    ) -> Outcome<()> {
        if self.odd {
            self.check_finite(value)?;
        }
        // Shared subtrees are written as often as they occur, so the size is checked before.
        if self.arena.size(value) as usize > self.limits.string_chars.saturating_mul(8) {
            return Err(self.out_of_memory());
        }
        out.reserve((self.arena.size(value) as usize).min(self.limits.string_chars));
        self.write_json(value, out, indent, 0)?;
        self.check_text(out)
    }

    /// Limits a text while it is written.
    pub(in crate::query::jsonata) fn check_text(&self, text: &str) -> Outcome<()> {
        let chars_max = self.limits.string_chars;
        if text.len() > chars_max && self.char_count(text)? > chars_max {
            Err(self.out_of_memory())
        } else {
            Ok(())
        }
    }

    fn check_finite(&mut self, value: Value) -> Outcome<()> {
        self.numeric(value)?;
        if value.is_container() {
            for index in 0..value.len() {
                self.work(1)?;
                let child = match self.arena.entry(value, index) {
                    Some((_, child)) => child,
                    None => self.item_of(value, index),
                };
                self.nested(|eval| eval.check_finite(child))?;
            }
        }
        Ok(())
    }

    /// JSON in the format of `$string`: numbers to 15 digits, functions as empty strings. The depth of values is
    /// bounded.
    fn write_json(&self, value: Value, out: &mut String, indent: Option<usize>, level: usize) -> Outcome<()> {
        self.work(1 + indent.map_or(0, |width| width * level / 8))?;
        let line = |out: &mut String, level: usize| {
            if let Some(width) = indent {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', width * level));
            }
        };
        match value.kind() {
            Kind::Undefined | Kind::Null | Kind::Header => out.push_str("null"),
            Kind::Bool => out.push_str(if value.as_bool() == Some(true) { "true" } else { "false" }),
            Kind::Opaque => out.push_str("\"\""),
            Kind::String => self.write_quoted(value, out)?,
            Kind::Int | Kind::Decimal | Kind::Float => {
                let float = self.arena.as_f64(value).unwrap_or(f64::NAN);
                if float.is_finite() { self.write_number(value, float, out)? } else { out.push_str("null") }
            }
            Kind::Array if value.is_empty() => out.push_str("[]"),
            Kind::Object if value.is_empty() => out.push_str("{}"),
            Kind::Array => {
                out.push('[');
                for (index, &item) in self.arena.items(value).iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    line(out, level + 1);
                    self.write_json(item, out, indent, level + 1)?;
                }
                line(out, level);
                out.push(']');
            }
            Kind::Object => {
                out.push('{');
                for (index, (key, item)) in self.arena.entries(value).enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    line(out, level + 1);
                    self.write_quoted(key, out)?;
                    out.push_str(if indent.is_some() { ": " } else { ":" });
                    self.write_json(item, out, indent, level + 1)?;
                }
                line(out, level);
                out.push('}');
            }
        }
        Ok(())
    }

    /// A finite number in the format of `$string`.
    fn write_number(&self, value: Value, float: f64, out: &mut String) -> Outcome<()> {
        self.charge(NUMBER_TEXT)?;
        match value.as_int() {
            _ if !self.aws => write_js(to_precision_15(float), out),
            Some(int) => out.push_str(itoa::Buffer::new().format(int)),
            None => write_java_15(float, out),
        }
        Ok(())
    }

    fn write_quoted(&self, text: Value, out: &mut String) -> Outcome<()> {
        out.push('"');
        for piece in pieces(self.arena.str(text)) {
            self.charge(4 * piece.len() as u64)?;
            write_escaped(piece, self.aws, out);
        }
        out.push('"');
        Ok(())
    }
}

/// AWS writes none of the other control characters as an escape.
fn write_escaped(text: &str, aws: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' && !aws => {
                out.push_str("\\u00");
                out.push(char::from_digit(c as u32 >> 4, 16).unwrap_or('0'));
                out.push(char::from_digit(c as u32 & 15, 16).unwrap_or('0'));
            }
            c => out.push(c),
        }
    }
}
